"""Chapter 04: the vectorized forward."""
