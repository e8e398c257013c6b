"""Chapter 07: a first kernel."""
