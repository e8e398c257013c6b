"""My EmbeddingBag on whole arrays: chapters 04 and 05.

The parts of loops.py once more, with the same arguments and the same results. Here no loop of
Python runs over positions, bags or features: each step is one operation of NumPy on whole arrays.

starts, ends and indices are int64 arrays. Bags lie one behind the other: ends[b] == starts[b + 1].
"""

import sys

import numpy as np

from embag_edu.check import NotSupported

from . import loops, steps

# ======== Stage 04 (chapter 04): the forward without loops ========


def drop_padding(indices, starts, ends, padding_idx, V):
    """As in loops.py: the kept positions, and where each bag starts and ends among them."""
    kept = np.flatnonzero(indices != padding_idx % V)
    return kept, np.searchsorted(kept, starts), np.searchsorted(kept, ends)


def sum_of_bags(table, indices, starts, ends):
    """As in loops.py: the sum of the rows of each bag, (B, D); zeros for an empty bag."""
    output = np.zeros((len(starts), table.shape[1]), table.dtype)
    filled = np.flatnonzero(starts < ends)  # reduceat takes no empty bags
    output[filled] = np.add.reduceat(table[indices], starts[filled], axis=0)
    return output


def mean_of_bags(table, indices, starts, ends):
    """As in loops.py: the mean of the rows of each bag, (B, D); zeros for an empty bag."""
    sizes = np.maximum(ends - starts, 1)
    return sum_of_bags(table, indices, starts, ends) / sizes[:, None]


def max_of_bags(table, indices, starts, ends):
    """As in loops.py: the largest value of each feature, (B, D); zeros for an empty bag.

    A NaN stays where it is the first of its bag, and is passed over where it comes later.
    """
    output = np.zeros((len(starts), table.shape[1]), table.dtype)
    filled = np.flatnonzero(starts < ends)
    rows = table[indices]
    later = np.ones(len(rows), bool)
    later[starts[filled]] = False
    rows[np.isnan(rows) & later[:, None]] = -np.inf
    output[filled] = np.maximum.reduceat(rows, starts[filled], axis=0)
    return output


def weighted_sum_of_bags(table, indices, starts, ends, psw):
    """As in loops.py: the sum of psw[position] * row, (B, D)."""
    weighted = table[indices] * psw[:, None]
    return sum_of_bags(weighted, np.arange(len(indices)), starts, ends)


def rescale_rows(weight, indices, max_norm, norm_type):
    """As in loops.py: rescale, in place and once, each row that occurs and is too long."""
    rows = np.unique(indices)
    norms = np.linalg.norm(weight[rows].astype(np.float64), norm_type, axis=1)
    long = norms > max_norm
    scales = max_norm / (norms[long] + 1e-7)
    weight[rows[long]] *= scales.astype(weight.dtype)[:, None]


# ======== Stage 05 (chapter 05): the backward without loops ========


def shares(indices, starts, ends, mode, psw, scale_grad_by_freq):
    """As in loops.py: what upstream[bag] is multiplied by at each position, (N,)."""
    found = np.ones(len(indices)) if psw is None else psw
    sizes = ends - starts
    if mode == "mean":
        found = found / np.repeat(sizes, sizes)
    if scale_grad_by_freq:
        found = found / np.bincount(indices)[indices]
    return found


def grad_of_rows(upstream, indices, starts, ends, shares, V):
    """As in loops.py: the gradient of the table, (V, D)."""
    grad = np.zeros((V, upstream.shape[1]), upstream.dtype)
    np.add.at(grad, indices, grad_of_positions(upstream, indices, starts, ends, shares))
    return grad


def grad_of_positions(upstream, indices, starts, ends, shares):
    """As in loops.py: what each position hands to its row, (N, D)."""
    return np.repeat(upstream, ends - starts, axis=0) * shares[:, None]


def winners(table, indices, starts, ends):
    """As in loops.py: the row that won each feature of each bag, (B, D); -1 where nobody won."""
    won = np.full((len(starts), table.shape[1]), -1)
    filled = np.flatnonzero(starts < ends)
    rows = table[indices]
    best = np.repeat(max_of_bags(table, indices, starts, ends), ends - starts, axis=0)
    first = np.zeros(len(rows), bool)
    first[starts[filled]] = True
    equal = (rows == best) | (np.isnan(rows) & first[:, None])
    places = np.where(equal, np.arange(len(rows))[:, None], len(rows))
    won[filled] = indices[np.minimum.reduceat(places, starts[filled], axis=0)]
    return won


def grad_of_winners(upstream, winners, V):
    """As in loops.py: the gradient of the table in mode max, (V, D)."""
    grad = np.zeros((V, upstream.shape[1]), upstream.dtype)
    bags, features = np.nonzero(winners != -1)
    np.add.at(grad, (winners[bags, features], features), upstream[bags, features])
    return grad


def grad_of_weights(upstream, table, indices, starts, ends):
    """As in loops.py: at each position upstream[bag], dotted with its row, (N,)."""
    return np.sum(np.repeat(upstream, ends - starts, axis=0) * table[indices], axis=1)


# ======== Given: the parts together, called as torch's embedding_bag is ========

ends_of = loops.ends_of
flatten = loops.flatten


def embedding_bag(input, weight, offsets=None, **options):
    """The output. Arguments: those of torch.nn.functional.embedding_bag, as NumPy arrays."""
    return steps.forward(sys.modules[__name__], input, weight, offsets, **options)


def backward(grad_output, input, weight, offsets=None, **options):
    """The gradients of weight and per_sample_weights."""
    return steps.backward(sys.modules[__name__], grad_output, input, weight, offsets, **options)
