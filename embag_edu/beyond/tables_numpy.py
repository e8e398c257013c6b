"""Many tables in NumPy: base and concatenate. The tables of one width are one table, and one call.

One sparse product makes the output of all features, one sort serves the gradient of all tables.
Terms are added in the order in which T calls add them: the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from embag_edu import vectorized
from embag_edu.beyond import fused_numpy
from embag_edu.beyond.fused import Optimizer, State
from embag_edu.beyond.tables import Jagged, Stored, call_of, shares, upstream_of
from embag_edu.spec import Call, Saved


def global_rows(tables: Stored, bags: Jagged) -> np.ndarray:
    """base[table] + row of each position, (N,) int64."""
    layout = tables.layout
    counts = np.diff(bags.offsets[:: (len(bags.offsets) - 1) // len(layout.features) or 1])
    rows: np.ndarray = np.repeat(layout.base[layout.table_of], counts) + bags.values
    return rows


def calls(tables: Stored, bags: Jagged) -> Iterator[tuple[int, slice | np.ndarray, Call]]:
    """For each width: its number, its positions, and the call of all its bags.

    Features stand one after the other. The call is a sum; in a mean, the weights of the positions
    are 1 / the size of their bag.
    """
    if len(bags.offsets) == 1:
        return
    layout, rows = tables.layout, global_rows(tables, bags)
    B = (len(bags.offsets) - 1) // len(layout.features)
    of_position, lengths = shares(layout, bags, tables.flat.dtype), np.diff(bags.offsets)
    feature = np.repeat(np.arange(len(layout.features)), np.diff(bags.offsets[::B]))
    for k, width in enumerate(layout.widths):
        of_width = np.isin(feature, width.features)
        at = slice(None) if len(layout.widths) == 1 else np.flatnonzero(of_width)
        of_bags = lengths.reshape(-1, B)[width.features].reshape(-1)
        psw = None if of_position is None else of_position[at]
        ends = np.append(0, np.cumsum(of_bags))
        yield k, at, call_of(tables.joined(width), rows[at] - width.row, ends, psw)


def output(tables: Stored, bags: Jagged) -> np.ndarray:
    """One product of (bags, R) with (R, D) for each width; a mean is divided at last."""
    layout, columns = tables.layout, tables.layout.columns
    B = (len(bags.offsets) - 1) // len(layout.features)
    found = np.zeros((B, columns[-1]), tables.flat.dtype)
    for k, at, call in calls(tables, bags):
        psw = np.ones(call.num_positions) if bags.weights is None else bags.weights[at]
        sums = bag_sums(call, psw).reshape(-1, B, call.embedding_dim)
        sizes = np.maximum(np.diff(call.offsets), 1).astype(call.accumulator).reshape(-1, B, 1)
        for total, size, f in zip(sums, sizes, layout.widths[k].features, strict=True):
            total = total / size if layout.means[f] else total
            found[:, columns[f] : columns[f + 1]] = total
    return found


def bag_sums(call: Call, psw: np.ndarray) -> np.ndarray:
    """(bags, D) in the accumulator's dtype. Of a table in 16 bits, rows that occur are widened."""
    table, rows = call.weight, call.indices
    if table.dtype != call.accumulator:
        occur, rows = np.unique(rows, return_inverse=True)
        table = table[occur].astype(call.accumulator)
    psw = psw.astype(call.accumulator, copy=False)
    matrix = csr_array((psw, rows, call.offsets), shape=(call.num_bags, len(table)))
    sums: np.ndarray = matrix @ table
    return sums


def gradient(tables: Stored, bags: Jagged, grad_output: np.ndarray) -> np.ndarray:
    """One transposed product for each width."""
    grads = Stored(tables.layout, flat=np.zeros_like(tables.flat))
    for k, _, call in calls(tables, bags):
        width = tables.layout.widths[k]
        upstream = upstream_of(tables.layout, width.features, grad_output)
        upstream = upstream.astype(call.accumulator, copy=False)
        grads.joined(width)[...] = vectorized.grad_weight_sum(call, upstream)
    flat: np.ndarray = grads.flat
    return flat


def grad_weights(tables: Stored, bags: Jagged, grad_output: np.ndarray) -> np.ndarray:
    """The upstream gradient of each position's bag, dotted with its row."""
    found: np.ndarray = np.zeros_like(bags.weights)
    for k, at, call in calls(tables, bags):
        upstream = upstream_of(tables.layout, tables.layout.widths[k].features, grad_output)
        found[at] = vectorized.grad_per_sample_weights(call, Saved(), upstream)
    return found


def step(
    tables: Stored, bags: Jagged, grad_output: np.ndarray, optimizer: Optimizer, state: list[State]
) -> None:
    """One fused step for each width: one sort of the global rows, one update of each."""
    for k, _, call in calls(tables, bags):
        upstream = upstream_of(tables.layout, tables.layout.widths[k].features, grad_output)
        fused_numpy.step(call, Saved(), upstream, optimizer, state[k])
