"""Chapter 03: the whole backward."""
