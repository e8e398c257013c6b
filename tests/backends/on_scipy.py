"""SciPy: the bags as rows of a sparse matrix, times the table."""

import numpy as np
from scipy.sparse import csr_array


def forward(input, weight, offsets=None, **options):
    return bags(input, weight, offsets, **options) @ weight


def backward(grad_output, input, weight, offsets=None, **options):
    matrix = bags(input, weight, offsets, **options)
    grad_weight = matrix.T @ grad_output
    if options.get("per_sample_weights") is None:
        return grad_weight, None
    bag = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    dots = np.einsum("ij,ij->i", grad_output[bag], weight[matrix.indices])
    return grad_weight, dots.reshape(input.shape)


def bags(input, weight, offsets, mode="mean", per_sample_weights=None, include_last_offset=False):
    if input.ndim == 2:
        ends = np.arange(len(input) + 1) * input.shape[1]
    else:
        ends = offsets if include_last_offset else np.append(offsets, input.size)
    lengths = np.diff(ends)
    values = np.ones(input.size, weight.dtype)
    if per_sample_weights is not None:
        values = per_sample_weights.ravel()
    if mode == "mean":
        values = values / np.repeat(lengths, lengths).astype(weight.dtype)
    return csr_array((values, input.ravel(), ends), shape=(len(lengths), len(weight)))
