"""Chapter 02: the whole forward."""
