"""Chapter 15: many tables."""
