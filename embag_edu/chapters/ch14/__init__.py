"""Chapter 14: fused optimizers."""
