"""Chapter 16: short rows."""
