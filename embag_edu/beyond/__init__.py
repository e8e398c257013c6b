"""Beyond torch's operator: fused optimizers, many tables, short rows, a table on many machines."""
