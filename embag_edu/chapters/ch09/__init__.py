"""Chapter 09: the whole forward on the GPU."""
