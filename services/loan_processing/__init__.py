"""A loan: three checks side by side, a person who decides, another one when nobody does, and the money."""
