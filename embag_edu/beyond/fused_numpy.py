"""The fused step in NumPy: one sort, sums over runs, and one update of the touched rows.

The positions are sorted by row. With the runs of equal rows as bags, the sums are a sparse product
of (U, B) with grad_output (B, D). Rows are worked on in blocks that fit into the cache: the sums of
a block are used up before the next are made, so that nothing of size (U, D) is ever in memory.

Letters: n entries (positions that count), U runs of equal rows, B bags, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from embag_edu.beyond.fused import Optimizer, State
from embag_edu.spec import Call, Saved
from embag_edu.vectorized import counted, divisors, gather, weights_of

BLOCK_BYTES = 1 << 19  # of the gradients of a block


class Runs(NamedTuple):
    """The entries in the order of their rows; entries of one row keep theirs."""

    rows: np.ndarray  # (U,) int64, ascending
    starts: np.ndarray  # (U + 1,) run k has the entries starts[k] : starts[k + 1]
    bags: np.ndarray  # (n,) the bag of each entry
    shares: np.ndarray  # (n,) what it multiplies the bag's gradient with


def step(
    call: Call, saved: Saved, grad_output: np.ndarray, optimizer: Optimizer, state: State
) -> None:
    """One update for each touched row, by the sum of its shares."""
    arrays, upstream = optimizer.slots(state), grad_output.astype(call.accumulator, copy=False)
    if call.mode == "mean":
        upstream = upstream / divisors(call, saved.bag_sizes)
    block = np.empty((rows_of_block(upstream), call.embedding_dim), call.weight.dtype)
    for rows, gradient in sums(runs(call), upstream):
        w = gather(call, rows, block)
        slots = [array[rows] for array in arrays]
        optimizer.update(w, gradient, slots, state.step)
        call.weight[rows] = w
        for array, slot in zip(arrays, slots, strict=True):
            array[rows] = slot


def runs(call: Call) -> Runs:
    """Sort the positions that count."""
    kept, rows, ends = counted(call)
    order = stable_order(rows, call.num_embeddings)
    keys = rows[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1, append=-1)) if len(keys) else np.zeros(1, int)
    bags = np.repeat(np.arange(call.num_bags), np.diff(ends))[order]
    shares = weights_of(call, kept, len(rows))[order]
    if call.scale_grad_by_freq:
        lengths = np.diff(starts)
        shares = shares / np.repeat(lengths, lengths).astype(call.accumulator)
    return Runs(keys[starts[:-1]], starts, bags, shares)


def stable_order(rows: np.ndarray, V: int) -> np.ndarray:
    """np.argsort(rows, kind="stable"), by one sort of whole numbers: NumPy has a fast one.

    The row stands in the upper bits of a number, the position in the lower ones; so no two numbers
    are equal, and of equal rows the first position comes first.
    """
    bits = max(len(rows) - 1, 0).bit_length()
    if V << bits >= 1 << 63:
        return np.argsort(rows, kind="stable")
    both = rows.astype(np.int64) << bits
    both |= np.arange(len(rows))
    both.sort()
    both &= (1 << bits) - 1
    return both


def rows_of_block(upstream: np.ndarray) -> int:
    """How many rows are worked on at a time."""
    return int(max(BLOCK_BYTES // max(upstream.shape[1] * upstream.itemsize, 1), 1))


def sums(runs: Runs, upstream: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows (k,) and their gradients (k, D), block by block."""
    size = rows_of_block(upstream)
    for first in range(0, len(runs.rows), size):
        rows = runs.rows[first : first + size]
        starts = runs.starts[first : first + size + 1]
        entries = slice(starts[0], starts[-1])
        of_block = (runs.shares[entries], runs.bags[entries], starts - starts[0])
        yield rows, csr_array(of_block, shape=(len(rows), len(upstream))) @ upstream
