"""Many tables as CUDA kernels: tables.cu, and after one sort the kernels of chapters 11 and 14.

One launch makes the output of all features, of whatever width. One sort serves the gradient or the
step of all tables; the sums of its runs are one series of launches for each width.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.beyond import fused_cuda
from embag_edu.beyond.fused import Optimizer, State
from embag_edu.beyond.tables import Jagged, Layout, Stored, Width, call_of
from embag_edu.cuda.launch_backward import (
    Entries,
    Work,
    add_by_pieces,
    smallest_dtype,
    sorted_by_key,
)
from embag_edu.cuda.launch_forward import RINGS, lanes_of
from embag_edu.cuda.launcher import (
    BLOCK,
    device,
    download,
    kernel,
    launch,
    nothing,
    pack_of,
    upload,
)
from embag_edu.spec import Saved

FILE = str(Path(__file__).with_name("tables"))  # tables.cu, wherever the package lies


def facts_of(layout: Layout) -> np.ndarray:
    """(F, 8) int64: what the kernels must know of each feature's table, as tables.cu has it."""
    t, facts = layout.table_of, np.zeros((len(layout.features), 8), np.int64)
    facts[:, :5] = np.stack(
        [layout.first[t], layout.dims[t], layout.columns[:-1], layout.means, layout.base[t]], 1
    )
    for width in layout.widths:
        facts[width.features, 5] = len(width.features)
        facts[width.features, 6] = np.arange(len(width.features))
    return facts


class Arguments:
    """The tables and bags on the device, and the numbers that kernels take."""

    def __init__(self, tables: Stored, bags: Jagged) -> None:
        self.layout, self.on_device = tables.layout, Stored(tables.layout, flat=upload(tables.flat))
        self.flat = self.on_device.flat
        self.values, self.offsets = upload(bags.values), upload(bags.offsets)
        self.weighted = bags.weights is not None
        self.weights = upload(bags.weights) if self.weighted else nothing(self.flat.dtype)
        self.facts = upload(facts_of(tables.layout))
        self.N, self.F = len(bags.values), len(tables.layout.features)
        self.B, self.W = (len(bags.offsets) - 1) // self.F, int(tables.layout.columns[-1])
        self.wide = call_of(self.flat[:1].reshape(1, 1)).accumulator

    def pack_with(self, rows: Any) -> int:
        """How many neighboring numbers one load may take: of every table, and of rows (B, W)."""
        widths = self.layout.widths
        joined = [self.on_device.joined(width) for width in widths]
        pack: int = min(pack_of(rows), *map(pack_of, joined))
        return pack


def output(tables: Stored, bags: Jagged) -> Any:
    """One launch."""
    given = Arguments(tables, bags)
    found = device().empty((given.B, given.W), given.flat.dtype)
    widest = tables.layout.widths[-1].D
    pack = given.pack_with(found)
    lanes = lanes_of(widest, pack)
    kind = "WEIGHTED" if given.weighted else "SUM"
    types = (given.flat.dtype, given.values.dtype, kind, pack, lanes)
    args = (given.flat, given.values, given.offsets, given.weights, given.facts, found)
    teams = given.F * given.B * -(-widest // (lanes * pack))
    numbers = (given.F, given.B, given.W, widest)
    launch(kernel(FILE, "tables_output", *types), teams * lanes, (*args, *numbers), RINGS)
    return download(found, tables.flat)


def entries_of(given: Arguments) -> Entries:
    """All positions, sorted once by their global row."""
    rows = sum(width.rows for width in given.layout.widths)
    dtype = smallest_dtype(rows, given.B * given.F, 2 * given.N)
    gpu, N = device(), given.N
    keys, sources, shares = gpu.empty(N, dtype), gpu.empty(N, dtype), gpu.empty(N, given.wide)
    args = (given.values, given.offsets, given.weights, given.facts, keys, sources, shares)
    types = (given.flat.dtype, given.wide, given.values.dtype, dtype)
    numbers = (N, given.F, given.B, given.weighted)
    launch(kernel(FILE, "tables_entries", *types), N, (*args, *numbers))
    work = Work(call_of(given.on_device.joined(given.layout.widths[0])), Saved(), None, BLOCK)
    return sorted_by_key(work, Entries(keys, sources, shares))


def by_width(given: Arguments, grad_output: Any) -> Iterator[tuple[int, Work, Any, Entries]]:
    """For each width: its number, and the work, rows of grad_output and entries of one table.

    The entries of a width are neighbors, for its tables are.
    """
    entries, upstream, layout = entries_of(given), upload(grad_output), given.layout
    for k, width in enumerate(layout.widths):
        of_width = entries
        if len(layout.widths) > 1:  # waits for two numbers
            ends = device().xp.searchsorted(
                entries.keys, upload(np.array([width.row, width.row + width.rows]))
            )
            begin, end = (int(at) for at in ends)
            parts = (array[begin:end] for array in entries)
            of_width = Entries(*(upload(part) for part in parts))
            of_width = of_width._replace(keys=of_width.keys - of_width.dtype.type(width.row))
        rows = rows_of(layout, width, upstream)
        work = Work(call_of(given.on_device.joined(width)), Saved(), rows, BLOCK)
        if len(of_width.keys):
            yield k, work, rows, of_width


def rows_of(layout: Layout, width: Width, upstream: Any) -> Any:
    """grad_output as rows of a width, (B * peers, D): as it lies, if all features have that."""
    if len(layout.widths) == 1:
        return upstream.reshape(-1, width.D)
    columns = [np.arange(*layout.columns[f : f + 2]) for f in width.features]
    at = upload(np.concatenate([*columns, np.zeros(0, np.int64)]).astype(np.int64))
    return upload(upstream[:, at]).reshape(-1, width.D)


def gradient(tables: Stored, bags: Jagged, grad_output: Any) -> Any:
    """One sort, and the sums of its runs."""
    given = Arguments(tables, bags)
    grads = Stored(tables.layout, flat=device().zeros(len(tables.flat), tables.flat.dtype))
    for k, work, rows, entries in by_width(given, grad_output) if given.N else ():
        add_by_pieces(work, rows, entries, grads.joined(tables.layout.widths[k]))
    return download(grads.flat, tables.flat)


def grad_weights(tables: Stored, bags: Jagged, grad_output: Any) -> Any:
    """One launch."""
    given, upstream = Arguments(tables, bags), upload(grad_output)
    found = device().zeros(given.N, given.flat.dtype)
    types = (given.flat.dtype, given.wide, given.values.dtype, given.pack_with(upstream))
    args = (given.flat, given.values, given.offsets, upstream, given.facts, found)
    numbers = (given.N, given.F, given.B, given.W)
    launch(kernel(FILE, "tables_dots", *types), 32 * given.N, (*args, *numbers))
    return download(found, tables.flat)


def step(
    tables: Stored, bags: Jagged, grad_output: Any, optimizer: Optimizer, state: list[State]
) -> None:
    """One sort, and the sums of its runs with the optimizer as their last lines."""
    given = Arguments(tables, bags)
    for k, work, rows, entries in by_width(given, grad_output) if given.N else ():
        joined = given.on_device.joined(tables.layout.widths[k])
        table = fused_cuda.Table(joined, optimizer, state[k])
        fused_cuda.update(work, rows, entries, table)
        table.write_back()
    if given.flat is not tables.flat:
        tables.flat[...] = download(given.flat, tables.flat)
