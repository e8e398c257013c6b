"""Chapter 13: training on real reviews."""
