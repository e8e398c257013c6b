"""My EmbeddingBag as loops: chapters 01 to 03.

Each function below is one part. Its text says what goes in and what comes out; steps.py calls it.
Where a function raises NotSupported, put your code in the place of that line.

V rows of D features are the table, N positions hold row numbers (`indices`), and bag b has the
positions starts[b] up to, not including, ends[b]. What you return may be an array or a list.
"""

import sys

import numpy as np

from embag_edu.check import NotSupported

from . import steps

# ======== Stage 01 (chapter 01): sum, mean and max, with loops ========


def ends_of(starts, n):
    """Where each bag ends: at the start of the next one; the last bag ends at n.

    starts: (B,) whole numbers, where each bag starts. B may be 0.
    n: how many positions there are.
    Returns B whole numbers.
    """
    ends = []
    for bag in range(len(starts)):
        is_last = bag == len(starts) - 1
        ends.append(n if is_last else starts[bag + 1])
    return ends


def sum_of_bags(table, indices, starts, ends):
    """The sum of the rows of each bag.

    table: (V, D), float32 or float64. indices: (N,) row numbers. starts, ends: (B,).
    Returns (B, D) in table's dtype. An empty bag gives zeros.
    """
    output = np.zeros((len(starts), table.shape[1]), table.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            output[bag] += table[indices[position]]
    return output


def mean_of_bags(table, indices, starts, ends):
    """The mean of the rows of each bag: their sum, divided by the number of positions.

    A row that occurs twice counts twice, in the sum and in the number. Arguments and result are
    those of sum_of_bags. An empty bag gives zeros: no division by 0.
    """
    output = sum_of_bags(table, indices, starts, ends)
    for bag in range(len(starts)):
        size = ends[bag] - starts[bag]
        if size > 0:
            output[bag] /= size
    return output


def max_of_bags(table, indices, starts, ends):
    """The largest value of each feature over the rows of each bag.

    Arguments and result are those of sum_of_bags. An empty bag gives zeros.
    The first position always enters. A later one wins only if its value is larger (>), so a NaN
    stays where it comes first, and is passed over where it comes later.
    """
    output = np.zeros((len(starts), table.shape[1]), table.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            row = table[indices[position]]
            for feature in range(table.shape[1]):
                if position == starts[bag] or row[feature] > output[bag, feature]:
                    output[bag, feature] = row[feature]
    return output


# ======== Stage 02 (chapter 02): other forms of a call, padding, weights, max_norm ========


def flatten(input, offsets, include_last_offset):
    """Two forms of a call as the first one: flat indices, and where each bag starts.

    input: (B, L), which is B bags of L positions, and offsets is None; include_last_offset then
        means nothing. Or (N,), with include_last_offset=True and offsets of B + 1 entries: the
        starts, and at the end N.
    Returns a pair: indices (N,), and starts (B,).
    """
    if input.ndim == 2:
        bags, length = input.shape
        return input.reshape(-1), [bag * length for bag in range(bags)]
    return input, offsets[:-1]


def drop_padding(indices, starts, ends, padding_idx, V):
    """Leave out the positions that hold the padding row: they count for nothing.

    padding_idx: a row number; a negative one counts from the end of the table, -1 is row V - 1.
    Returns three lists: the positions that are kept, in order; where each bag starts among the
    kept ones; and where it ends. For indices [7, 3, 7, 5] in bags of 3 and 1, and padding_idx 7:
    [1, 3], [0, 1], [1, 2].
    """
    kept, new_starts, new_ends = [], [], []
    for bag in range(len(starts)):
        new_starts.append(len(kept))
        for position in range(starts[bag], ends[bag]):
            if indices[position] != padding_idx % V:
                kept.append(position)
        new_ends.append(len(kept))
    return kept, new_starts, new_ends


def weighted_sum_of_bags(table, indices, starts, ends, psw):
    """The sum of the rows of each bag, each row multiplied by the weight of its position.

    psw: (N,) per_sample_weights, in table's dtype. The rest is as in sum_of_bags.
    """
    output = np.zeros((len(starts), table.shape[1]), table.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            output[bag] += psw[position] * table[indices[position]]
    return output


def rescale_rows(weight, indices, max_norm, norm_type):
    """max_norm: make rows shorter that are too long. Changes weight in place, returns nothing.

    Each row that occurs in indices, once: if its norm is larger than max_norm, it is multiplied by
    max_norm / (norm + 1e-7). The norm is np.linalg.norm of the row, in float64, and norm_type goes
    to it as it is.
    weight: (V, D), the caller's own table, in any of the four dtypes.
    """
    for row in set(indices.tolist()):
        norm = np.linalg.norm(weight[row].astype(np.float64), norm_type)
        if norm > max_norm:
            weight[row] *= weight.dtype.type(max_norm / (norm + 1e-7))


# ======== Stage 03 (chapter 03): the backward, with loops ========


def shares(indices, starts, ends, mode, psw, scale_grad_by_freq):
    """What the gradient of its bag is multiplied by at each position, before its row gets it.

    mode "sum": 1, or with psw (N,) the weight of the position. mode "mean": 1 / the size of the
    bag. With scale_grad_by_freq it is also divided by how often its row occurs in all of indices.
    Returns N numbers.
    """
    counts = {}
    for row in indices:
        counts[row] = counts.get(row, 0) + 1
    found = []
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            share = 1.0 if psw is None else psw[position]
            if mode == "mean":
                share = share / (ends[bag] - starts[bag])
            if scale_grad_by_freq:
                share = share / counts[indices[position]]
            found.append(share)
    return found


def grad_of_rows(upstream, indices, starts, ends, shares, V):
    """The gradient of the table: each row gets, from each of its positions, share * upstream[bag].

    upstream: (B, D), float32 or float64. shares: (N,). Returns (V, D) in upstream's dtype: rows
    that do not occur have zeros.
    """
    grad = np.zeros((V, upstream.shape[1]), upstream.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            grad[indices[position]] += shares[position] * upstream[bag]
    return grad


def grad_of_positions(upstream, indices, starts, ends, shares):
    """For a sparse gradient: what each position hands to its row, (N, D), nothing added up."""
    values = np.zeros((len(indices), upstream.shape[1]), upstream.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            values[position] = shares[position] * upstream[bag]
    return values


def winners(table, indices, starts, ends):
    """Mode max: the row that won each feature of each bag, (B, D) whole numbers.

    As in max_of_bags: of equal values the first position wins. -1 where nobody won: an empty bag.
    """
    won = np.full((len(starts), table.shape[1]), -1)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            row = indices[position]
            for feature in range(table.shape[1]):
                best = won[bag, feature]
                if best == -1 or table[row, feature] > table[best, feature]:
                    won[bag, feature] = row
    return won


def grad_of_winners(upstream, winners, V):
    """Mode max: the gradient of each output value goes to the row that won it, and to no other.

    winners: (B, D), -1 where nobody won. Returns (V, D) in upstream's dtype.
    """
    grad = np.zeros((V, upstream.shape[1]), upstream.dtype)
    for bag in range(len(winners)):
        for feature in range(upstream.shape[1]):
            if winners[bag, feature] != -1:
                grad[winners[bag, feature], feature] += upstream[bag, feature]
    return grad


def grad_of_weights(upstream, table, indices, starts, ends):
    """The gradient of per_sample_weights: at each position upstream[bag], dotted with its row.

    Returns (N,) numbers.
    """
    grad = np.zeros(len(indices), upstream.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            grad[position] = np.sum(upstream[bag] * table[indices[position]])
    return grad


# ======== Given: the parts together, called as torch's embedding_bag is ========


def embedding_bag(input, weight, offsets=None, **options):
    """The output. Arguments: those of torch.nn.functional.embedding_bag, as NumPy arrays."""
    return steps.forward(sys.modules[__name__], input, weight, offsets, **options)


def backward(grad_output, input, weight, offsets=None, **options):
    """The gradients of weight and per_sample_weights."""
    return steps.backward(sys.modules[__name__], grad_output, input, weight, offsets, **options)
