"""An order is checked against stock, card and fraud at the same time: parallel steps, which fail fast."""
