"""Chapter 17: a table on many machines."""
