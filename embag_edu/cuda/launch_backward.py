"""The host side of the backward: which kernels a call needs, and their launches.

`choose` says in one place which algorithm a call gets. ALGORITHMS has those for a dense gradient of
weight, in the order of the ladder (backward.cu with atomics, then segments.cu by sorting);
MAX_ALGORITHMS those of mode max, SPARSE_ALGORITHMS those of a sparse gradient. Each can be asked
for by name:

    grad_weight(call, saved, grad_output, algorithm="add_elements")

Letters: V rows in weight, D features, N positions, B bags, U rows that occur, n entries to add.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from embag_edu.cuda.findings import SKIPPED, checked, raise_found
from embag_edu.cuda.launcher import (
    BLOCK,
    Launch,
    Many,
    Plan,
    ceil_div,
    device,
    download,
    nothing,
    on_one_device,
    pack_for,
    pack_of,
    prepared,
    upload,
)
from embag_edu.cuda.sorting import order_of
from embag_edu.spec import Call, SparseGradient

PIECE = 32  # as in segments.cu: entries of a piece
FEW = 2048  # as in segments.cu: entries that one block can sort
PAIRS = {"float16": "__half2", "bfloat16": "__nv_bfloat162"}
ADDED_AT_ONCE = {"float32": 4, "float64": 1}  # sums that one atomic of an sm_90 adds to


def choose(call: Call) -> str:
    """The algorithm for the gradient of weight. All that are chosen give the same bits always.

    A dense gradient is summed by sorting: no atomics, and the work is cut into equal pieces, so a
    hot row costs no more than others. Mode max sorts its B * D winners in the same way. The values
    of a sparse gradient are not summed at all.
    """
    if call.sparse:
        return "entry_packs"
    if call.mode == "max":
        return "sorted_winners"
    return "piece_packs"


@on_one_device
def grad_weight(
    call: Call, saved: Any, grad_output: Any, algorithm: str | None = None, block: int = BLOCK
) -> Any:
    """The gradient of weight: (V, D) in weight's dtype, or a SparseGradient where the call says so.

    saved: what the forward returned. A mean needs bag_sizes, a maximum winners; a sum nothing.
    algorithm: a name from the three tables; by default what `choose` says.
    block: the threads of a block, a multiple of 32 up to 256. It changes no bit of a gradient that
        is made by sorting.
    """
    algorithm = choose(call) if algorithm is None else algorithm
    check_algorithm(algorithm, call.mode, block)
    work = Work(checked(call, saved), saved, upload(grad_output), block)
    if algorithm in SPARSE_ALGORITHMS:
        rows, values = SPARSE_ALGORITHMS[algorithm](work)
        rows = download(rows.astype(np.int64)[None], call.weight)
        return SparseGradient(rows, download(values, call.weight), tuple(call.weight.shape))
    if call.num_positions == 0 or call.embedding_dim == 0:
        return download(work.zeros(call.weight.dtype), call.weight)
    add = MAX_ALGORITHMS if call.mode == "max" else ALGORITHMS
    return download(add[algorithm](work), call.weight)


def check_algorithm(algorithm: str, mode: str, block: int) -> None:
    """Raise ValueError for an algorithm that there is not in this mode, or a block of odd size."""
    valid = MAX_ALGORITHMS if mode == "max" else SUM_ALGORITHMS
    if algorithm not in valid:
        names = ", ".join(valid)
        raise ValueError(f"algorithm is {algorithm!r}; there are, in mode {mode}: {names}")
    if block not in range(32, BLOCK + 1, 32):
        raise ValueError(f"block is {block!r}; valid: a multiple of 32 from 32 to {BLOCK}")


class Work(NamedTuple):
    """One backward: what it is asked for, and how it is launched."""

    call: Call
    saved: Any
    upstream: Any  # grad_output on the device, (B, D)
    block: int

    def launch(self, file: str, name: str, types: Many, threads: int, **arguments: Any) -> None:
        """Start so many threads of a kernel, in whole blocks; its arguments by name."""
        Plan((prepared(file, name, types, threads, self.block),), arguments).run()

    def zeros(self, dtype: Any) -> Any:
        """A gradient of weight, full of zeros."""
        return device().zeros(self.call.weight.shape, dtype)

    @property
    def types(self) -> Many:
        """T and A: the type of weight, and the one that sums are kept in."""
        return self.call.weight.dtype, self.call.accumulator


# ---- What each entry reads, and what it multiplies that with -------------------------------------


def bags_and_shares(
    work: Work, dtype: Any, positions: Any = None, keyed: bool = False
) -> tuple[Any, Any, Any]:
    """The bag of each position, its share of the bag's gradient, and its key: the row; (n,) each.

    dtype: of bags and keys, int32 or int64. positions: (n,) int64, or None for all.
    keyed: else there are no keys. The key of padding is -1.
    """
    call, psw, mean = work.call, work.call.per_sample_weights, work.call.mode == "mean"
    n = call.num_positions if positions is None else len(positions)
    indices = upload(call.indices)
    given = {
        "positions": nothing(np.int64) if positions is None else positions,
        "indices": indices,
        "offsets": upload(call.offsets),
        "per_sample_weights": nothing(call.dtype) if psw is None else upload(psw),
        "bag_sizes": upload(work.saved.bag_sizes, np.int64) if mean else nothing(np.int64),
    }
    types = (*work.types, indices.dtype, dtype)
    kind = keyed, positions is not None, psw is not None, mean
    plan = shares_plan(types, n, call.num_bags, call.padding_idx, *kind, work.block)
    found = plan.run(**given)
    return found["bags"], found["shares"], found["keys"]


@functools.lru_cache(maxsize=1024)
def shares_plan(
    types: Many,
    n: int,
    B: int,
    padding_idx: int | None,
    keyed: bool,
    listed: bool,
    weighted: bool,
    mean: bool,
    block: int,
) -> Plan:
    """The launch of `bags_and_shares`."""
    numbers = {"n": n, "B": B, "padding_idx": -1 if padding_idx is None else padding_idx}
    flags = {"keyed": keyed, "listed": listed, "weighted": weighted, "mean": mean}
    launch, room = prepared("backward", "bags_and_shares", types, n, block), n if keyed else 0
    arrays = ("bags", n, types[3]), ("shares", n, types[1]), ("keys", room, types[3])
    return Plan((launch,), numbers | flags, arrays)


class Entries(NamedTuple):
    """What is to be added: for each key, the sum of shares * rows[sources]. Sorted by key, (n,).

    What does not count, padding for instance, comes last with the key -1, and kernels skip it. To
    leave it out would be to wait: how many are left only the device knows.
    """

    keys: Any  # int32 where the numbers fit, else int64
    sources: Any  # of the keys' dtype
    shares: Any

    @property
    def dtype(self) -> np.dtype:
        """The dtype of keys and sources."""
        dtype: np.dtype = self.keys.dtype
        return dtype


def smallest_dtype(*sizes: int) -> type:
    """int32 where numbers up to all of these sizes fit into it: half the bytes to sort."""
    return np.int32 if max(sizes) < 2**31 else np.int64


def sorted_entries(work: Work) -> Entries:
    """All positions, sorted by row; positions of one row keep their order."""
    call = work.call
    dtype = smallest_dtype(call.num_embeddings, call.num_bags, 2 * call.num_positions)
    bags, shares, keys = bags_and_shares(work, np.dtype(dtype), keyed=True)
    entries = sorted_by_key(work, Entries(keys, bags, shares), end=call.num_embeddings)
    if call.scale_grad_by_freq:
        n, types = len(keys), (shares.dtype, keys.dtype)
        given = {"keys": entries.keys, "shares": entries.shares, "n": n}
        work.launch("segments", "divide_by_run_length", types, n, **given)
    return entries


def counted(work: Work, entries: Entries) -> Entries:
    """The entries that count alone. Waits for their number, if there is padding."""
    if work.call.padding_idx is None:
        return entries
    n = int((entries.keys >= 0).sum())
    return Entries(*(array[:n] for array in entries))


def sorted_by_key(work: Work, entries: Entries, end: int | None = None) -> Entries:
    """The entries in the order of their keys; equal keys keep theirs, and -1 comes last.

    end: all keys are smaller; None: that is not known, and all bits of the keys are sorted.
    """
    given, n, share = entries._asdict(), len(entries.keys), entries.shares.dtype
    if n <= FEW and entries.dtype == np.int32:
        found = plan_for_few(n, share).run(**given)
    else:
        order, in_order = order_of(entries.keys, end)
        given |= {"order": order} if in_order is None else {"order": order, "sorted_keys": in_order}
        types = (order.dtype, share, entries.dtype)
        found = plan_for_many(n, types, in_order is None, work.block).run(**given)
    return Entries(found["sorted_keys"], found["sorted_sources"], found["sorted_shares"])


@functools.lru_cache(maxsize=1024)
def plan_for_few(n: int, share: np.dtype) -> Plan:
    """The whole sort of n entries."""
    launch = prepared("segments", "sort_few", (share,), (min(n, 1),), (1024,))
    room = ("sorted_keys", n, np.int32), ("sorted_sources", n, np.int32)
    numbers = {"n": n, "room": 1 << max(n - 1, 0).bit_length()}
    return Plan((launch,), numbers, (*room, ("sorted_shares", n, share)))


@functools.lru_cache(maxsize=1024)
def plan_for_many(n: int, types: tuple[np.dtype, ...], keys_too: bool, block: int) -> Plan:
    """The moves of n entries whose order is known; of the keys, too, or they are in order."""
    _, share, key = types
    room = ("sorted_sources", n, key), ("sorted_shares", n, share)
    launch = prepared("segments", "pick_entries", types, n, block)
    moved = (("sorted_keys", n, key),) if keys_too else ()
    return Plan((launch,), {"n": n, "keys_too": keys_too}, (*moved, *room))


def starts_of_runs(keys: Any) -> Any:
    """Where each run of equal keys begins, (U,). Waits for the number U."""
    xp = device().xp
    begins = xp.ones(len(keys), bool)
    begins[1:] = keys[1:] != keys[:-1]
    return xp.flatnonzero(begins)


# ---- Atomics: backward.cu ------------------------------------------------------------------------


def shares_of_positions(work: Work) -> tuple[Any, Any]:
    """bags and shares of all positions in the order of the input, with frequencies counted."""
    call, indices = work.call, upload(work.call.indices)
    bags, shares, _ = bags_and_shares(work, indices.dtype)
    if call.scale_grad_by_freq:
        n, counts = call.num_positions, device().zeros(call.num_embeddings, np.int32)
        given = {"indices": indices, "counts": counts, "shares": shares, "n": n}
        work.launch("backward", "count_rows", (indices.dtype,), n, **given)
        work.launch("backward", "divide_by_count", (shares.dtype, indices.dtype), n, **given)
    return bags, shares


def inputs_of(work: Work) -> dict[str, Any]:
    """What the kernels read of a call, and its sizes, by name. padding_idx -1 is no row."""
    call = work.call
    return {
        "grad_output": work.upstream,
        "indices": upload(call.indices),
        "offsets": upload(call.offsets),
        "N": call.num_positions,
        "B": call.num_bags,
        "D": call.embedding_dim,
        "padding_idx": -1 if call.padding_idx is None else call.padding_idx,
    }


def rounded(work: Work, sums: Any) -> Any:
    """The sums in weight's dtype: as they are, or for 16 bits rounded once."""
    dtype = work.call.weight.dtype
    if sums.dtype == dtype:
        return sums
    grad_weight = device().empty(sums.shape, dtype)
    given = {"sums": sums, "grad_weight": grad_weight, "n": sums.size}
    work.launch("backward", "rounded", (dtype,), sums.size, **given)
    return grad_weight


def by_position(work: Work, name: str, threads: int) -> Any:
    """Versions 1 and 4: whoever has a position looks up its bag."""
    sums = work.zeros(work.call.accumulator)
    bags, shares = shares_of_positions(work)
    given = {"bags": bags, "shares": shares, "grad_weight": sums, **inputs_of(work)}
    work.launch("backward", name, (*work.types, bags.dtype), threads, **given)
    return rounded(work, sums)


def by_bag(work: Work, name: str, table: Any, parameters: Many) -> Any:
    """Versions 2 and 3: a warp walks through a bag."""
    _, shares = shares_of_positions(work)
    given = {"shares": shares, "grad_weight": table, **inputs_of(work)}
    work.launch("backward", name, parameters, 32 * work.call.num_bags, **given)
    return table


def add_elements(work: Work) -> Any:
    """1: a thread for each (position, d)."""
    return by_position(work, "add_elements", work.call.num_positions * work.call.embedding_dim)


def add_rows(work: Work) -> Any:
    """2: a warp for each bag."""
    parameters = (*work.types, work.call.indices.dtype)
    return rounded(work, by_bag(work, "add_rows", work.zeros(work.call.accumulator), parameters))


def add_packs(work: Work) -> Any:
    """3: neighbors in one atomic.

    A lane takes no more numbers than one atomic adds. With more it would send several, and the
    lanes' addresses in each of them would lie apart: in 16 bits, where a load brings 8 numbers,
    twice the requests and twice the sectors (chapter 10 counts them).
    """
    sums = work.zeros(work.call.accumulator)
    pack = min(pack_of(work.upstream), ADDED_AT_ONCE[sums.dtype.name])
    parameters = (*work.types, work.call.indices.dtype, pack)
    return rounded(work, by_bag(work, "add_packs", sums, parameters))


def add_pairs(work: Work) -> Any:
    """3 in 16 bits, with a rounding after every addition: for the book only. D must be even."""
    call = work.call
    if call.weight.dtype.name not in PAIRS or call.embedding_dim % 2:
        raise ValueError(
            f"algorithm is 'add_pairs', weight is {call.weight.dtype}, D is {call.embedding_dim}; "
            "valid: float16 or bfloat16 with an even D. 'add_packs' takes all"
        )
    parameters = (call.weight.dtype, PAIRS[call.weight.dtype.name], call.indices.dtype)
    return by_bag(work, "add_pairs", work.zeros(call.weight.dtype), parameters)


def add_joined(work: Work) -> Any:
    """4: equal rows of a warp joined before the atomic."""
    return by_position(work, "add_joined", work.call.num_positions)


# ---- Sorting: segments.cu ------------------------------------------------------------------------


def run_sums(work: Work) -> Any:
    """5: a warp for each run. Waits for the number of runs."""
    grad_weight = work.zeros(work.call.weight.dtype)
    entries = counted(work, sorted_entries(work))
    starts = starts_of_runs(entries.keys)
    ends = device().xp.append(starts, len(entries.keys)).astype(np.int64)
    given = {"starts": ends, "U": len(starts), **entries._asdict(), **inputs_of(work)}
    types, threads = (*work.types, entries.dtype), 32 * len(starts)
    work.launch("segments", "run_sums", types, threads, grad_weight=grad_weight, **given)
    return grad_weight


def piece_sums(work: Work) -> Any:
    """6: a warp for each piece of PIECE entries; a second pass joins what was cut."""
    grad_weight = work.zeros(work.call.weight.dtype)
    entries = counted(work, sorted_entries(work))
    n, D = len(entries.keys), grad_weight.shape[1]
    pieces = ceil_div(n, PIECE)
    partial, partial_keys = room_for_partials(work, pieces, D, entries.dtype)
    sums = {"partial": partial, "partial_keys": partial_keys, "grad_weight": grad_weight}
    given = {"n": n, **sums, **entries._asdict(), **inputs_of(work)}
    work.launch("segments", "piece_sums", (*work.types, entries.dtype), 32 * pieces, **given)
    if pieces > 1:  # the second pass: partial sums with the same key are added up, in order
        n, types = 2 * pieces, (*work.types, entries.dtype)
        work.launch("segments", "join_pieces", types, 32 * n, n=n, D=D, **sums)
    return grad_weight


def piece_packs(work: Work) -> Any:
    """7: in packs, several pieces to a warp, and the partial sums are joined by pieces, too."""
    grad_weight = work.zeros(work.call.weight.dtype)
    add_by_pieces(work, work.upstream, sorted_entries(work), grad_weight)
    return grad_weight


def add_by_pieces(work: Work, rows: Any, entries: Entries, grad_weight: Any) -> None:
    """Write the sum of shares * rows[sources] of every key to grad_weight[key]: version 7.

    Each launch leaves a sixteenth of its entries, as partial sums, to the next. The number of
    launches depends on the number of entries alone: 5 for a million.
    """
    types = (rows.dtype, *work.types, entries.dtype)
    packs = pack_of(rows), pack_of(grad_weight)
    plan = pieces_plan(types, len(entries.keys), rows.shape[1], packs, work.block)
    plan.run(grad_output=rows, grad_weight=grad_weight, again=False, **entries._asdict())


@functools.lru_cache(maxsize=1024)
def pieces_plan(types: Many, n: int, D: int, packs: tuple[int, int], block: int) -> Plan:
    """The launches of piece_packs: on the entries, then on the partial sums of the last launch.

    packs: of the rows that are added, and of the gradient. What launch k leaves is named after k.
    """
    launches: list[Launch] = []
    room: list[tuple[str, Any, Any]] = []
    numbers, (S, _, A, K), names = {"D": D, "yes": True}, types, {"n": "n 0"}
    while n > 2 or (n and not launches):
        k, pieces, pack = len(launches), ceil_div(n, PIECE), min(packs)
        team, grid = teams_for(pieces, D, pack, block)
        numbers |= {f"n {k}": n, f"team {k}": team}
        names |= {"team": f"team {k}", "partial": f"sums {k}", "partial_keys": f"keys {k}"}
        one = prepared("segments", "piece_packs", (S, *types[1:], pack), grid, (block,), **names)
        launches.append(one)
        room += [(f"sums {k}", (2 * pieces, D), A), (f"keys {k}", 2 * pieces, K)]
        S, n, packs = A, 2 * pieces, (pack_for(D, A.itemsize), packs[1])
        names = {"grad_output": f"sums {k}", "keys": f"keys {k}", "n": f"n {k + 1}", "again": "yes"}
    return Plan(tuple(launches), numbers, tuple(room))


def lanes_for(packs: int) -> int:
    """The lanes of a team: one for each pack of a row, rounded up to a power of two, from 8 to 32.

    Never fewer than 8: they also read the keys and sources of as many entries at once.
    """
    return min(32, max(8, 1 << (packs - 1).bit_length()))


def teams_for(items: int, D: int, pack: int, block: int) -> tuple[int, tuple[int, int]]:
    """The lanes of a team, and the grid that gives one to each item and each part of its row."""
    team = lanes_for(ceil_div(D, pack))
    return team, (ceil_div(items * team, block), ceil_div(D, team * pack))


def room_for_partials(work: Work, pieces: int, D: int, dtype: Any) -> tuple[Any, Any]:
    """Two partial sums for each piece, and their keys."""
    gpu = device()
    return gpu.empty((2 * pieces, D), work.call.accumulator), gpu.empty(2 * pieces, dtype)


# ---- max -----------------------------------------------------------------------------------------


def add_winners(work: Work) -> Any:
    """Mode max with atomics: a thread for each of the B * D winners."""
    sums, winners = work.zeros(work.call.accumulator), upload(work.saved.winners)
    given = {"winners": winners, "grad_weight": sums, **inputs_of(work)}
    work.launch("backward", "add_winners", (*work.types, winners.dtype), winners.size, **given)
    return rounded(work, sums)


def sorted_winners(work: Work) -> Any:
    """Mode max by sorting: a sum, too, of single numbers. The key of a winner is row * D + d.

    grad_output and the gradient are taken as tables of one feature.
    """
    grad_weight, winners = work.zeros(work.call.weight.dtype), upload(work.saved.winners)
    dtype = np.dtype(smallest_dtype(grad_weight.size, 2 * winners.size))
    types = (winners.dtype, work.call.accumulator, dtype)
    plan = winners_plan(types, winners.size, winners.shape[1], work.block)
    found = plan.run(winners=winners)
    entries = Entries(found["keys"], found["sources"], found["shares"])
    entries = sorted_by_key(work, entries, end=grad_weight.size)
    add_by_pieces(work, work.upstream.reshape(-1, 1), entries, grad_weight.reshape(-1, 1))
    return grad_weight


@functools.lru_cache(maxsize=1024)
def winners_plan(types: Many, n: int, D: int, block: int) -> Plan:
    """The launch of winner_entries."""
    _, A, K = types
    launch = prepared("segments", "winner_entries", types, n, block)
    room = ("keys", n, K), ("sources", n, K), ("shares", n, A)
    return Plan((launch,), {"n": n, "D": D}, room)


# ---- sparse --------------------------------------------------------------------------------------


def entry_rows(work: Work) -> tuple[Any, Any, Any, Any]:
    """rows, sources, shares and room for the values of all entries, in the order of positions.

    With padding_idx it waits for the number of entries, which is the shape of the result. A row
    that was bad and is told later becomes row 0, with a negative source.
    """
    call, rows, positions = work.call, upload(work.call.indices), None
    skipping = call.padding_idx == SKIPPED
    if call.padding_idx is not None and not skipping:
        positions = device().xp.flatnonzero(rows != call.padding_idx)
        raise_found()  # the host has waited
        rows = rows[positions]
    if call.embedding_dim == 0:
        rows = rows[:0]  # torch keeps no entry where there is no feature
    values = device().empty((len(rows), call.embedding_dim), call.weight.dtype)
    if not len(rows):
        return rows, rows, nothing(call.accumulator), values
    sources, shares, _ = bags_and_shares(work, rows.dtype, positions)
    if skipping:
        xp, none = device().xp, rows.dtype.type(0)
        rows, sources = xp.maximum(rows, none), xp.where(rows < 0, rows, sources)
    return rows, sources, shares, values


def entry_values(work: Work) -> tuple[Any, Any]:
    """torch's form: one row of values for each position that counts. A thread for each value."""
    rows, bags, shares, values = entry_rows(work)
    given = {"sources": bags, "shares": shares, "values": values, "n": len(rows)}
    types = (*work.types, bags.dtype)
    work.launch("segments", "entry_values", types, values.size, **given, **inputs_of(work))
    return rows, values


def entry_packs(work: Work) -> tuple[Any, Any]:
    """The same: a team for each entry."""
    rows, bags, shares, values = entry_rows(work)
    if len(rows):
        types, pack = (*work.types, bags.dtype), pack_of(work.upstream, values)
        given = {"grad_output": work.upstream, "sources": bags, "shares": shares, "values": values}
        entries_plan(types, *values.shape, pack, work.block).run(**given)
    return rows, values


@functools.lru_cache(maxsize=1024)
def entries_plan(types: Many, n: int, D: int, pack: int, block: int) -> Plan:
    """The launch of entry_packs."""
    team, grid = teams_for(n, D, pack, block)
    launch = prepared("segments", "entry_packs", (*types, pack), grid, (block,))
    return Plan((launch,), {"n": n, "D": D, "team": team})


def coalesced(work: Work) -> tuple[Any, Any]:
    """One row of values for each of the U rows that occur, in the order of the table.

    The dense kernel, with the number of the run in place of the row. Waits for the number U.
    """
    D = work.call.embedding_dim
    entries = counted(work, sorted_entries(work))
    starts = starts_of_runs(entries.keys) if D else entries.keys[:0].astype(np.int64)
    values = device().empty((len(starts), D), work.call.weight.dtype)
    if len(starts):
        add_by_pieces(work, work.upstream, numbered(entries, starts), values)
    return entries.keys[starts], values


def numbered(entries: Entries, starts: Any) -> Entries:
    """The entries with the numbers of their runs, 0, 1, 2, ..., in place of the rows."""
    begins = device().xp.zeros(len(entries.keys), entries.dtype)
    begins[starts[1:]] = 1
    return entries._replace(keys=device().xp.cumsum(begins, dtype=entries.dtype))


Algorithm = Callable[[Work], Any]
ALGORITHMS: dict[str, Algorithm] = {
    "add_elements": add_elements,
    "add_rows": add_rows,
    "add_packs": add_packs,
    "add_pairs": add_pairs,
    "add_joined": add_joined,
    "run_sums": run_sums,
    "piece_sums": piece_sums,
    "piece_packs": piece_packs,
}
MAX_ALGORITHMS: dict[str, Algorithm] = {
    "add_winners": add_winners,
    "sorted_winners": sorted_winners,
}
SPARSE_ALGORITHMS: dict[str, Algorithm] = {
    "entry_values": entry_values,
    "entry_packs": entry_packs,
    "coalesced": coalesced,
}
SUM_ALGORITHMS = ALGORITHMS | SPARSE_ALGORITHMS  # and those of a mean


# ---- per_sample_weights: weights.cu --------------------------------------------------------------


@on_one_device
def grad_per_sample_weights(
    call: Call, saved: Any, grad_output: Any, algorithm: str = "dot_packs", block: int = BLOCK
) -> Any:
    """The gradient of per_sample_weights, in the shape of the input and weight's dtype.

    algorithm: "dot_elements" or "dot_packs". `call.weight` is the table as the forward left it.
    """
    call = checked(call, saved)
    work = Work(call, saved, upload(grad_output), block)
    weight, indices, n = upload(call.weight), upload(call.indices), call.num_positions
    grad = device().zeros(n, call.weight.dtype)
    if n and call.embedding_dim:
        bags, *_ = bags_and_shares(work, indices.dtype)
        packs = (pack_of(work.upstream, weight),) if algorithm == "dot_packs" else ()
        parameters = (*work.types, indices.dtype, *packs)
        given = {"weight": weight, "bags": bags, "grad": grad, **inputs_of(work)}
        work.launch("weights", algorithm, parameters, 32 * n, **given)
    return download(grad.reshape(call.input_shape), call.weight)
