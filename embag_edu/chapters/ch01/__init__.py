"""Chapter 01: bags."""
