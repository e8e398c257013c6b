"""Many tables as plain loops: a call for each table, with the bags of all its readers.

Not a call for each feature: the step of one reader would come before the gradient of the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embag_edu import loops
from embag_edu.beyond import fused_loops
from embag_edu.beyond.fused import Optimizer, State
from embag_edu.beyond.tables import Jagged, Stored, upstream_of
from embag_edu.spec import Call, Saved, bag_sizes, make_call


class Part(NamedTuple):
    """The call of one table."""

    table: int
    features: list[int]  # its readers
    positions: np.ndarray  # of their bags, reader after reader
    call: Call


def parts(tables: Stored, bags: Jagged) -> Iterator[Part]:
    """A call for each table that has readers; the bags of each reader stand together."""
    layout = tables.layout
    B = (len(bags.offsets) - 1) // len(layout.features)
    for t, table in enumerate(layout.tables):
        features = [f for f in range(len(layout.features)) if layout.table_of[f] == t]
        lengths, positions = [], []
        for f in features:
            starts = bags.offsets[f * B : (f + 1) * B + 1]
            lengths += list(np.diff(starts))
            positions += list(range(starts[0], starts[-1]))
        at = np.array(positions, np.int64)
        psw = None if bags.weights is None else bags.weights[at]
        ends = np.append(0, np.cumsum(lengths)).astype(np.int64)
        words: dict[str, Any] = {"mode": table.mode, "per_sample_weights": psw}
        words |= {"include_last_offset": True}
        yield Part(t, features, at, make_call(bags.values[at], tables.weight(t), ends, **words))


def output(tables: Stored, bags: Jagged) -> np.ndarray:
    """T forwards; feature f goes to its columns."""
    columns = tables.layout.columns
    B = (len(bags.offsets) - 1) // len(tables.layout.features)
    found = np.zeros((B, columns[-1]), tables.flat.dtype)
    for part in parts(tables, bags):
        rows, _ = loops.forward(part.call)
        for k, f in enumerate(part.features):
            found[:, columns[f] : columns[f + 1]] = rows[k * B : (k + 1) * B]
    return found


def gradient(tables: Stored, bags: Jagged, grad_output: np.ndarray) -> np.ndarray:
    """T backwards."""
    grads = Stored(tables.layout, flat=np.zeros_like(tables.flat))
    for part in parts(tables, bags):
        upstream, saved = (
            upstream_of(tables.layout, part.features, grad_output),
            saved_of(part.call),
        )
        grads.weight(part.table)[...] = loops.grad_weight(part.call, saved, upstream)
    flat: np.ndarray = grads.flat
    return flat


def grad_weights(tables: Stored, bags: Jagged, grad_output: np.ndarray) -> np.ndarray:
    """T of them."""
    found: np.ndarray = np.zeros_like(bags.weights)
    for part in parts(tables, bags):
        upstream, saved = (
            upstream_of(tables.layout, part.features, grad_output),
            saved_of(part.call),
        )
        of_part = loops.grad_per_sample_weights(part.call, saved, upstream)
        found[part.positions] = of_part
    return found


def step(
    tables: Stored, bags: Jagged, grad_output: np.ndarray, optimizer: Optimizer, state: list[State]
) -> None:
    """T fused steps."""
    layout = tables.layout
    for part in parts(tables, bags):
        number = layout.width_of[part.table]
        begin = layout.base[part.table] - layout.widths[number].row
        rows = slice(begin, begin + layout.limits[part.table])
        arrays = {name: array[rows] for name, array in state[number].arrays.items()}
        of_table = State(arrays, state[number].step)
        upstream = upstream_of(tables.layout, part.features, grad_output)
        fused_loops.step(part.call, saved_of(part.call), upstream, optimizer, of_table)


def saved_of(call: Call) -> Saved:
    """What the backward needs."""
    return Saved(bag_sizes=bag_sizes(call))
