"""What a step moves, dense and fused: the model, and what checked launches count.

The model is that of `embag_edu.bench.traffic`, logical: each read of a row counts, as if there were
no cache. A step is the backward and the optimizer, without the forward. Sums and states are of a
bytes, numbers of the table of w bytes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from embag_edu import vectorized
from embag_edu.beyond.fused import Optimizer
from embag_edu.beyond.fused_cuda import step
from embag_edu.cuda.launch_backward import PIECE
from embag_edu.cuda.launcher import recording
from embag_edu.spec import Call, Saved, bag_sizes


class Shape(NamedTuple):
    """The numbers that the formulas take."""

    V: int
    D: int
    n: int  # entries: positions that count
    U: int  # distinct rows among them
    w: int = 4
    a: int = 4


def shape_of(call: Call) -> Shape:
    """Count a call."""
    _, rows, _ = vectorized.counted(call)
    V, D = call.weight.shape
    sizes = call.weight.dtype.itemsize, call.accumulator.itemsize
    return Shape(V, D, len(rows), len(np.unique(rows)), *sizes)


def state_numbers(optimizer: Optimizer, rows: int, D: int) -> int:
    """The numbers of state that so many rows have."""
    return sum(rows * (D if of == "element" else 1) for of in optimizer.arrays.values())


def sort(shape: Shape) -> int:
    """A radix sort of pairs of 4 bytes, read and written once for each 8 bits of a row's number;
    and 4 bytes for each entry to see where a run begins."""
    passes = math.ceil((shape.V - 1).bit_length() / 8)
    return (2 * 8 * passes + 4) * shape.n


def fused(shape: Shape, optimizer: Optimizer) -> int:
    """Bytes of a fused step: the sort, the gradients of all entries, U rows read and written."""
    V, D, n, U, w, a = shape
    return sort(shape) + n * D * w + 2 * U * D * w + 2 * a * state_numbers(optimizer, U, D)


def dense(shape: Shape, optimizer: Optimizer) -> int:
    """Bytes of a dense backward by sorting and a dense step that reads and writes all once.

    Zeros (V, D), gradients of all entries, U sums; then the optimizer reads the gradient, and reads
    and writes table and state. (torch's optimizers make temporary arrays on top of that.)
    """
    V, D, n, U, w, a = shape
    backward = sort(shape) + (V + n + U) * D * w
    return backward + 3 * V * D * w + 2 * a * state_numbers(optimizer, V, D)


class Moved(NamedTuple):
    """Bytes that the kernel of a fused step moves, without the lists of keys and sources."""

    gradient: int  # of grad_output, read
    weight: int  # read and written
    state: int  # read and written
    partial: int  # sums of runs that a border of pieces cuts, written and read


def modelled(call: Call, optimizer: Optimizer) -> Moved:
    """By the formulas; what is cut, by the sorted rows."""
    V, D, n, U, w, a = shape_of(call)
    _, rows, _ = vectorized.counted(call)
    state = 2 * a * state_numbers(optimizer, U, D)
    return Moved(n * D * w, 2 * U * D * w, state, 2 * D * a * partials(np.sort(rows)))


def partials(keys: np.ndarray) -> int:
    """How many partial sums fused_pieces writes and reads again, of sorted keys: all launches."""
    total = 0
    while True:
        pieces = np.append(np.arange(0, len(keys), PIECE), len(keys))
        left = np.full((len(pieces) - 1, 2), -1)
        for k, (begin, end) in enumerate(zip(pieces[:-1], pieces[1:], strict=True)):
            before = keys[begin - 1] if begin > 0 else -2
            after = keys[end] if end < len(keys) else -2
            left[k] = (
                before if keys[begin] == before else -1,
                after if keys[end - 1] == after else -1,
            )
        keys = left.reshape(-1)
        total += int((keys >= 0).sum())
        if len(keys) <= 2:
            return total


def counted(call: Call, grad_output: Any, optimizer: Optimizer) -> Moved:
    """By checked launches on the processor, on copies of the table and of a first state."""
    weight = call.weight.copy()
    call, state = replace(call, weight=weight), optimizer.state(weight)
    state.step = 1
    with recording() as reports:
        step(call, Saved(bag_sizes=bag_sizes(call)), grad_output, optimizer, state)
    launches = [r for r in reports if r.launched.kernel.startswith("fused_pieces")]
    return Moved(
        wanted(launches[:1], "grad_output"),
        wanted(launches, "weight"),
        wanted(launches, "first", "second"),
        wanted(launches, "partial") + wanted(launches[1:], "grad_output"),
    )


def wanted(reports: Any, *arrays: str) -> int:
    """The bytes that launches asked of these arrays: `wanted` of their lines."""
    lines = [line for report in reports for line in report.lines]
    return sum(line.wanted for line in lines if line.array in arrays and not line.shared)
