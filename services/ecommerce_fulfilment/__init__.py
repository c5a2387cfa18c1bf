"""An order is picked, billed and shipped: by an old version of the flow and a new one, side by side."""
