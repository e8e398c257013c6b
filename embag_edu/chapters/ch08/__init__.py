"""Chapter 08: a fast forward."""
