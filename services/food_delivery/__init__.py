"""Food orders: four services and one saga that is all-or-nothing."""
