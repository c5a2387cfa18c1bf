"""Files of weather observations are checked, parsed, enriched and loaded: a sequential flow."""
