"""Chapter 10: backward with atomics."""
