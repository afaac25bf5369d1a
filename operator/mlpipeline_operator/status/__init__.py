"""Pure functions from what was observed to the status that is written."""
