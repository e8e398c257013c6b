"""Chapter 05: the vectorized backward."""
