"""An incident: somebody must look at it, and the longer nobody does, the more important they are."""
