"""Chapter 12: a torch module."""
