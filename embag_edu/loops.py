"""EmbeddingBag as plain loops: bag by bag, position by position, feature by feature.

This is the specification in code. Nothing here is clever and nothing is fast: each function can be
read aloud. Run on float64 arrays it is the truth that every other implementation is held against.

The letters: V rows in the table `weight`, D features in a row, N positions in `indices`, B bags.
"""

from __future__ import annotations

import numpy as np

from embag_edu.spec import NOBODY, Call, Saved, SparseGradient


def forward(call: Call) -> tuple[np.ndarray, Saved]:
    """The output, (B, D) in weight's dtype, and what the backward needs.

    With max_norm, the rows that the call touches are first rescaled in place.
    """
    if call.max_norm is not None:
        renorm(call)
    if call.mode == "max":
        return forward_max(call)
    return forward_sum(call)


def positions_of(call: Call, bag: int) -> list[int]:
    """The positions of a bag that count: all but those that hold the padding row."""
    everything = range(call.offsets[bag], call.offsets[bag + 1])
    return [position for position in everything if call.indices[position] != call.padding_idx]


def forward_sum(call: Call) -> tuple[np.ndarray, Saved]:
    """Mode "sum", weighted or not, and mode "mean": add up the rows of each bag."""
    output = np.zeros((call.num_bags, call.embedding_dim), call.weight.dtype)
    table = call.weight.astype(call.accumulator, copy=False)
    psw = weights_of_positions(call)
    sizes = np.zeros(call.num_bags, np.int64)
    for bag in range(call.num_bags):
        total = np.zeros(call.embedding_dim, call.accumulator)
        positions = positions_of(call, bag)
        for position in positions:
            row = call.indices[position]
            for feature in range(call.embedding_dim):
                total[feature] += psw[position] * table[row, feature]
        if call.mode == "mean":
            total /= max(len(positions), 1)  # an empty bag stays zero
        output[bag] = total  # the only rounding to weight's dtype
        sizes[bag] = len(positions)
    return output, Saved(bag_sizes=sizes)


def weights_of_positions(call: Call) -> np.ndarray:
    """per_sample_weights, (N,) in the accumulator's dtype; ones where the call has none."""
    if call.per_sample_weights is None:
        return np.ones(call.num_positions, call.accumulator)
    return call.per_sample_weights.astype(call.accumulator, copy=False)


def forward_max(call: Call) -> tuple[np.ndarray, Saved]:
    """Mode "max": the largest value of each feature, and the row it came from.

    The first position of a bag always enters; a later one wins only if it is strictly larger. So
    ties go to the first. A NaN wins only where it is first: no number is larger than a NaN, and a
    NaN is larger than no number.
    """
    output = np.zeros((call.num_bags, call.embedding_dim), call.weight.dtype)
    winners = np.full((call.num_bags, call.embedding_dim), NOBODY)
    for bag in range(call.num_bags):
        for position in positions_of(call, bag):
            row = call.indices[position]
            for feature in range(call.embedding_dim):
                value = call.weight[row, feature]
                if winners[bag, feature] == NOBODY or value > output[bag, feature]:
                    output[bag, feature] = value
                    winners[bag, feature] = row
    return output, Saved(winners=winners)


def grad_weight(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray | SparseGradient:
    """The gradient of weight, from grad_output (B, D): dense, (V, D), or as a SparseGradient."""
    if call.sparse:
        return grad_weight_sparse(call, saved, grad_output)
    if call.mode == "max":
        return grad_weight_max(call, saved, grad_output)
    return grad_weight_sum(call, saved, grad_output)


def grad_weight_sum(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray:
    """Modes "sum" and "mean": each position hands its bag's gradient to its row, (V, D)."""
    grad = np.zeros(call.weight.shape, call.accumulator)
    upstream = grad_output.astype(call.accumulator, copy=False)
    psw = weights_of_positions(call)
    counts = frequencies(call)
    for bag in range(call.num_bags):
        for position in positions_of(call, bag):
            row = call.indices[position]
            share = psw[position]
            if call.mode == "mean":
                share = share / int(saved.bag_sizes[bag])
            if call.scale_grad_by_freq:
                share = share / counts[row]
            for feature in range(call.embedding_dim):
                grad[row, feature] += share * upstream[bag, feature]
    return grad.astype(call.weight.dtype)


def frequencies(call: Call) -> list[int]:
    """How often each row occurs in the whole input, all bags together."""
    counts = [0] * call.num_embeddings
    for row in call.indices:
        counts[row] += 1
    return counts


def grad_weight_max(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray:
    """Mode "max": the gradient of an output value goes to the one row that won it, (V, D)."""
    grad = np.zeros(call.weight.shape, call.accumulator)
    upstream = grad_output.astype(call.accumulator, copy=False)
    for bag in range(call.num_bags):
        for feature in range(call.embedding_dim):
            row = saved.winners[bag, feature]
            if row != NOBODY:
                grad[row, feature] += upstream[bag, feature]
    return grad.astype(call.weight.dtype)


def grad_per_sample_weights(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray:
    """The gradient of per_sample_weights: grad_output of the bag, dotted with the row.

    Zero at padding. In the shape of the input, in weight's dtype.
    """
    grad = np.zeros(call.num_positions, call.accumulator)
    upstream = grad_output.astype(call.accumulator, copy=False)
    table = call.weight.astype(call.accumulator, copy=False)
    for bag in range(call.num_bags):
        for position in positions_of(call, bag):
            row = call.indices[position]
            for feature in range(call.embedding_dim):
                grad[position] += upstream[bag, feature] * table[row, feature]
    return grad.astype(call.weight.dtype).reshape(call.input_shape)


def grad_weight_sparse(call: Call, saved: Saved, grad_output: np.ndarray) -> SparseGradient:
    """Modes "sum" and "mean": one entry per position that counts, in order, none added up."""
    upstream = grad_output.astype(call.accumulator, copy=False)
    psw = weights_of_positions(call)
    rows, values = [], []
    for bag in range(call.num_bags):
        for position in positions_of(call, bag):
            share = psw[position]
            if call.mode == "mean":
                share = share / int(saved.bag_sizes[bag])
            rows.append(call.indices[position])
            values.append(share * upstream[bag])
    if call.embedding_dim == 0:
        rows, values = [], []  # torch keeps no entry where there is no feature
    return SparseGradient(
        indices=np.array(rows, np.int64).reshape(1, -1),
        values=np.array(values).reshape(len(rows), call.embedding_dim).astype(call.weight.dtype),
        shape=(call.num_embeddings, call.embedding_dim),
    )


def renorm(call: Call) -> None:
    """max_norm: rescale, in place and once, each row that occurs and is longer than max_norm.

    torch's formula: norm and scale are both rounded to weight's dtype, and the scale is
    max_norm / (norm + 1e-7), so that a rescaled row ends a little below max_norm.
    """
    to_dtype = call.weight.dtype.type
    for row in sorted(set(call.indices.tolist())):
        norm = float(to_dtype(norm_of(call.weight[row], call.norm_type)))
        if norm > call.max_norm:
            scale = to_dtype(call.max_norm / (norm + 1e-7))
            for feature in range(call.embedding_dim):
                call.weight[row, feature] *= scale


def norm_of(row: np.ndarray, p: float) -> float:
    """The p-norm of a row, for any p: inf the largest |x|, 0 the number of non-zeros."""
    sizes = [abs(float(value)) for value in row]
    if not sizes:
        return 0.0
    if np.isnan(p) or any(np.isnan(size) for size in sizes):
        return float("nan")
    if p == 0:
        return float(sum(size != 0 for size in sizes))
    top = max(sizes) if p > 0 else min(sizes)
    if np.isinf(p):
        return top
    with np.errstate(over="ignore", divide="ignore"):
        norm = np.sum(np.power(sizes, p)) ** (1 / p)
        if norm in (0, np.inf) and 0 < top < np.inf:  # the powers left the range of float64
            norm = top * np.sum(np.power(np.divide(sizes, top), p)) ** (1 / p)
    return float(norm)
