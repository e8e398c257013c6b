"""Chapter 11: backward by sorting."""
