"""Chapter 06: measuring."""
