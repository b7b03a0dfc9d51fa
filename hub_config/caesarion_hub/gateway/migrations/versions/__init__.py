"""One module for each migration, in the order of its number."""
