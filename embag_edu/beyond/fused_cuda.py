"""The fused step as CUDA kernels: fused.cu, and which of its versions a table gets.

Entries are sorted as for the dense gradient (chapter 11); a kernel sums runs of equal rows and
updates each row where its sum is finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.beyond.fused import SGD, Adagrad, Adam, Optimizer, RowWiseAdagrad, State
from embag_edu.cuda.findings import checked
from embag_edu.cuda.launch_backward import (
    PIECE,
    Entries,
    Work,
    counted,
    lanes_for,
    room_for_partials,
    sorted_entries,
    starts_of_runs,
)
from embag_edu.cuda.launcher import (
    BLOCK,
    ceil_div,
    device,
    download,
    kernel,
    launch,
    nothing,
    pack_of,
    upload,
)
from embag_edu.spec import Call, Saved

FILE = str(Path(__file__).with_name("fused"))  # fused.cu, wherever the package lies
KINDS = {SGD: "SGD", Adagrad: "ADAGRAD", RowWiseAdagrad: "ROW_WISE", Adam: "ADAM"}
PARTS = (1, 2, 4, 8)  # packs of a row that a lane may hold, with RowWiseAdagrad


class Table:
    """A table and its state on the device, and the numbers of one step, as kernels take them."""

    def __init__(self, weight: Any, optimizer: Optimizer, state: State) -> None:
        self.kind = KINDS[type(optimizer)]
        self.weight = upload(weight)
        self.given = [weight, *optimizer.slots(state)]
        self.slots = [upload(array) for array in self.given[1:]]
        spare = nothing(np.float64 if weight.dtype.itemsize == 8 else np.float32)
        self.arrays = (self.weight, *self.slots, *[spare] * (2 - len(self.slots)))
        lr = optimizer.rate(state.step) if isinstance(optimizer, Adam) else optimizer.lr
        betas = getattr(optimizer, "betas", (0.0, 0.0))
        eps = getattr(optimizer, "eps", 0.0)
        self.numbers = tuple(map(float, (lr, optimizer.weight_decay, eps, *betas)))

    def pack_with(self, rows: Any) -> int:
        """How many neighboring features one load may take, of these rows and of the table."""
        size = self.weight.dtype.itemsize
        wide = [a for a in self.slots if a.ndim == 2]
        fits = (pack_of(a) * a.dtype.itemsize // size for a in wide)
        pack: int = min(pack_of(rows), pack_of(self.weight), *fits)
        return pack

    def write_back(self) -> None:
        """What was uploaded as a copy goes back to where it came from."""
        for given, used in zip(self.given, (self.weight, *self.slots), strict=True):
            if used is not given:
                given[...] = download(used, given)


def step(
    call: Call,
    saved: Saved,
    grad_output: Any,
    optimizer: Optimizer,
    state: State,
    version: int | None = None,
) -> None:
    """One update for each touched row. version: of fused.cu; by default 2 where it fits."""
    work = Work(checked(call), saved, upload(grad_output), BLOCK)
    table = Table(call.weight, optimizer, state)
    update(work, work.upstream, sorted_entries(work), table, version)
    table.write_back()


def update(
    work: Work, rows: Any, entries: Entries, table: Table, version: int | None = None
) -> None:
    """Update row `key` of the table by the sum of shares * rows[sources], for every key."""
    if not len(entries.keys):
        return
    parts = parts_of(table, rows)
    if version == 1 or parts is None:
        by_runs(work, rows, entries, table)
        return
    partial, keys = by_pieces(work, rows, entries, table)
    while len(keys) > 2:  # each launch leaves a sixteenth of its entries, as partial sums
        again = Entries(keys, nothing(keys.dtype), nothing(partial.dtype))
        partial, keys = by_pieces(work, partial, again, table, again=True)


def parts_of(table: Table, rows: Any) -> int | None:
    """PARTS of fused_pieces; None where a row is too long for a team of RowWiseAdagrad."""
    if table.kind != "ROW_WISE":
        return 1
    features = 32 * table.pack_with(rows)
    return next((parts for parts in PARTS if rows.shape[1] <= parts * features), None)


def by_runs(work: Work, rows: Any, entries: Entries, table: Table) -> None:
    """1: a warp for each run. Waits for the number of runs."""
    entries = counted(work, entries)
    starts = starts_of_runs(entries.keys)
    ends = device().xp.append(starts, len(entries.keys)).astype(np.int64)
    args = (rows, *entries, ends, *table.arrays, len(starts), rows.shape[1], *table.numbers)
    parameters = (table.kind, *work.types, entries.dtype)
    launch(kernel(FILE, "fused_runs", *parameters), 32 * len(starts), args, work.block)


def by_pieces(
    work: Work, rows: Any, entries: Entries, table: Table, again: bool = False
) -> tuple[Any, Any]:
    """2: one launch of fused_pieces; returns the partial sums, (2 pieces, D), and their keys."""
    n, D = len(entries.keys), rows.shape[1]
    parts, pack = parts_of(table, rows) or 1, table.pack_with(rows)
    pieces, team = ceil_div(n, PIECE), lanes_for(ceil_div(D, pack))
    partial, partial_keys = room_for_partials(work, pieces, D, entries.dtype)
    grid = ceil_div(pieces * team, work.block), ceil_div(D, team * pack * parts)
    types = (rows.dtype, *work.types, entries.dtype)
    instance = kernel(FILE, "fused_pieces", table.kind, parts, pack, *types)
    args = (rows, *entries, *table.arrays, partial, partial_keys, n, D, team, again)
    instance(grid, (work.block,), (*args, *table.numbers))
    return partial, partial_keys
