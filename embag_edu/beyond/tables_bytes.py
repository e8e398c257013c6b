"""Launches, sorts and bytes of many tables in one call: the model, and what checked launches count.

    modelled(tables, bags, optimizer) == counted(tables, bags, G, optimizer)
    apart(tables, bags, optimizer).launches        # of T calls

Bytes are logical, as in `fused_bytes`: each read of a row counts. (A checked launch counts what the
lanes of a warp read at once and from one place as one read. So the two are equal to the byte where
a warp works on one row at a time: rows of 512 bytes.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from embag_edu.beyond import fused_bytes, fused_cuda, tables_cuda
from embag_edu.beyond.fused import Optimizer
from embag_edu.beyond.tables import Jagged, Stored, upstream_of
from embag_edu.beyond.tables_loops import parts, saved_of
from embag_edu.beyond.tables_numpy import calls
from embag_edu.cuda import launch_forward
from embag_edu.cuda.launch_backward import PIECE
from embag_edu.cuda.launcher import ceil_div, recording


class Launches(NamedTuple):
    """Of a forward and of a fused step."""

    forward: int
    step: int
    sorts: int


class Counts(NamedTuple):
    """What one call of all tables costs: a forward, and a fused step."""

    launches: Launches
    rows: int  # bytes of the tables, read by the forward
    output: int  # written by the forward
    upstream: int  # grad_output, and sums of runs that were cut: read, or written and read
    weight: int  # read and written by the step
    state: int  # read and written by the step


def series(entries: int) -> int:
    """The launches that sum the runs of so many sorted entries."""
    if not entries:
        return 0
    left = 2 * ceil_div(entries, PIECE)
    return 1 + (series(left) if left > 2 else 0)


def modelled(tables: Stored, bags: Jagged, optimizer: Optimizer) -> Counts:
    """By the formulas. U, and which runs are cut, by the sorted rows."""
    of_widths = [call for _, _, call in calls(tables, bags)]
    moved = [fused_bytes.modelled(call, optimizer) for call in of_widths]
    steps = [series(call.num_positions) for call in of_widths]
    launches = Launches(forward=1, step=2 + sum(steps), sorts=1)
    B = (len(bags.offsets) - 1) // len(tables.layout.features)
    size = tables.flat.dtype.itemsize
    rows = sum(call.num_positions * call.embedding_dim * size for call in of_widths)
    upstream = sum(one.gradient + one.partial for one in moved)
    of_tables = sum(one.weight for one in moved), sum(one.state for one in moved)
    return Counts(launches, rows, B * int(tables.layout.columns[-1]) * size, upstream, *of_tables)


def apart(tables: Stored, bags: Jagged) -> Launches:
    """By the formulas: T calls of chapters 08 and 14, each of a table with all its readers."""
    of_tables = [part.call.num_positions for part in parts(tables, bags)]
    steps = [2 + series(n) for n in of_tables if n]
    return Launches(len(of_tables), sum(steps), len(steps))


def counted(tables: Stored, bags: Jagged, grad_output: Any, optimizer: Optimizer) -> Counts:
    """By checked launches on the processor, on a copy of the tables and a first state."""
    copy = Stored(tables.layout, flat=tables.flat.copy())
    state = [optimizer.state(copy.joined(width)) for width in copy.layout.widths]
    with recording() as forward:
        tables_cuda.output(copy, bags)
    for of_width in state:
        of_width.step += 1
    with recording() as step:
        tables_cuda.step(copy, bags, grad_output, optimizer, state)
    pieces = [r for r in step if r.launched.kernel.startswith("fused_pieces")]
    wanted = fused_bytes.wanted
    return Counts(
        Launches(len(forward), len(step), sorts(step)),
        wanted(forward, "flat"),
        wanted(forward, "output"),
        wanted(pieces, "grad_output", "partial"),
        wanted(pieces, "weight"),
        wanted(pieces, "first", "second"),
    )


def counted_apart(tables: Stored, bags: Jagged, grad_output: Any, optimizer: Optimizer) -> Launches:
    """By checked launches: T forwards, and T fused steps."""
    copy = Stored(tables.layout, flat=tables.flat.copy())
    with recording() as forward:
        for part in parts(copy, bags):
            launch_forward.forward(part.call)
    with recording() as step:
        for part in parts(copy, bags):
            upstream = upstream_of(copy.layout, part.features, grad_output)
            state = optimizer.state(part.call.weight)
            state.step = 1
            fused_cuda.step(part.call, saved_of(part.call), upstream, optimizer, state)
    return Launches(len(forward), len(step), sorts(step))


def sorts(reports: Any) -> int:
    """A sort ends with one of two kernels: it is done by that kernel, or picks what was sorted."""
    names = [report.launched.kernel.split("<")[0] for report in reports]
    return int(np.isin(names, ("sort_few", "pick_entries")).sum())
