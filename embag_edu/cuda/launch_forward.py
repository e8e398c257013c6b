"""The host side of the forward: which kernel a call needs, and its launch.

`choose` says in one place which version of forward.cu a sum or mean takes; each can be asked for:

    sum_bags(Work(call), version=3)

Letters: V rows in weight, D features, N positions, B bags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from embag_edu import spec
from embag_edu.cuda.launcher import (
    BLOCK,
    ceil_div,
    device,
    download,
    kernel,
    launch,
    nothing,
    on_host,
    on_one_device,
    pack_of,
    upload,
)
from embag_edu.spec import Call, Saved

WARPS = 16_384  # so many keep the largest GPUs busy to the end: four times what they run at once
FOLD, GROUPS, RINGS = 64, 8, 128  # as in forward.cu
ENOUGH = 4_096  # warps for versions 7 and 8, of which each has more loads under way
FEW, FEW_EACH = 4_096, 64  # positions that are few, in all and for each bag
SHORTEST, LONGEST = 32, 256  # the items in a piece of version 6; no part of version 5 is shorter


class Choice(NamedTuple):
    """A version of forward.cu, and the reason for it."""

    version: int
    why: str


def choose(call: Call) -> Choice:
    """The version of forward.cu for a sum or mean.

    It looks at shapes only. To look at the offsets would be to wait for the GPU.
    """
    if call.weight.dtype.itemsize == 2 and call.embedding_dim % 2:
        return Choice(7, "rows can only be loaded by 2 bytes: too few for an asynchronous copy")
    return Choice(8, "rows come by asynchronous copies; long bags, if there can be any, are cut")


def warps_of(call: Call) -> int:
    """How many warps work if each bag has one team for each tile of its row."""
    pack = max(16 // call.weight.dtype.itemsize, 1)
    lanes = lanes_of(call.embedding_dim, pack)
    return ceil_div(call.num_bags * ceil_div(call.embedding_dim, lanes * pack) * lanes, 32)


def lanes_of(D: int, pack: int) -> int:
    """The lanes of a team: as many as a row has loads, but a power of two from 4 to 32."""
    return next((lanes for lanes in (4, 8, 16) if lanes * pack >= D), 32)


@on_one_device
def forward(call: Call) -> tuple[Any, Saved]:
    """The output, (B, D) in weight's dtype, and what the backward needs.

    With max_norm, the rows that the call touches are first rescaled in place. Arrays of NumPy give
    an array of NumPy, arrays of CuPy one of CuPy.
    """
    work = Work(call)
    check(work)
    if call.max_norm is not None:
        rescale(work)
    if call.mode == "max":
        output, winners = max_bags(work)
        return download(output, call.weight), Saved(winners=winners)
    output, bag_sizes = sum_bags(work)
    return download(output, call.weight), Saved(bag_sizes=bag_sizes)


_checked = ContextVar("checked", default=True)


@contextmanager
def trusted() -> Iterator[None]:
    """Within it, nothing looks at indices and offsets on a GPU, and forward waits for nothing.

        with embag_edu.cuda.trusted():
            output, saved = embag_edu.cuda.forward(call)

    The check reads little; but the host must wait for its answer, and cannot prepare what follows
    meanwhile. A bad index that nobody looked at reads, and in the backward
    writes, memory of others. Arrays of NumPy are checked in any case, by `spec.make_call`.
    """
    token = _checked.set(False)
    try:
        yield
    finally:
        _checked.reset(token)


class Work:
    """A call with its arrays on the device, and what the kernels' templates ask for."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.weight, self.indices = upload(call.weight), upload(call.indices)
        self.offsets = upload(call.offsets)
        self.B, self.D, self.N = call.num_bags, call.embedding_dim, call.num_positions
        psw = call.per_sample_weights
        self.psw = nothing(self.weight.dtype) if psw is None else upload(psw)
        self.kind = "MEAN" if call.mode == "mean" else "SUM" if psw is None else "WEIGHTED"
        self.wide = call.accumulator
        self.padded = call.padding_idx is not None
        self.padding = call.padding_idx if self.padded else 0
        self.types = (self.weight.dtype, self.indices.dtype)
        self.output = device().empty((self.B, self.D), self.weight.dtype)
        self.pack = pack_of(self.weight, self.output)
        self.lanes = lanes_of(self.D, self.pack)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arguments that kernels of sums begin with."""
        return self.weight, self.indices, self.offsets, self.psw

    def sizes(self, *shape: int) -> Any:
        """Room for the counts of a mean; nothing for a sum."""
        return device().empty(shape if self.kind == "MEAN" else 0, np.int64)

    def tiles(self, lanes: int) -> int:
        """How many teams it takes for one row."""
        return ceil_div(self.D, lanes * self.pack)


# ---- sum and mean ---------------------------------------------------------------------------


def sum_bags(work: Work, version: int | None = None, **tuning: int) -> tuple[Any, Any]:
    """The output (B, D), and for a mean the bag sizes (B,), else None.

    version: of forward.cu, 1 to 8; by default what `choose` says.
    tuning:  `loads` for version 3, `lanes` for 4 to 8, `parts` for 5, `piece` for 6 to 8.
    """
    version = choose(work.call).version if version is None else version
    if version not in VERSIONS:
        raise ValueError(f"version is {version!r}; there are: {', '.join(map(str, VERSIONS))}")
    check_tuning(tuning)
    bag_sizes = work.sizes(work.B)
    if work.D:
        VERSIONS[version](work, bag_sizes, **tuning)
    elif work.kind == "MEAN":
        bag_sizes.fill(0)  # no feature, no thread that would count
    return work.output, bag_sizes if work.kind == "MEAN" else None


def check_tuning(tuning: dict[str, int]) -> None:
    """Raise ValueError for a number that no kernel can be launched with; 0 stands for the usual."""
    for name, value in tuning.items():
        valid = "4, 8, 16 or 32" if name == "lanes" else "1 or more"
        fits = value in (4, 8, 16, 32) if name == "lanes" else value >= 1
        if not isinstance(value, int) or not (fits or (value == 0 and name != "loads")):
            raise ValueError(f"{name} is {value!r}; valid: {valid}")


def _per_element(work: Work, bag_sizes: Any) -> None:
    instance = kernel("forward", "bag_sum_1", *work.types, work.kind, work.padded)
    launch(instance, work.B * work.D, _arguments(work, bag_sizes))


def _arguments(work: Work, bag_sizes: Any) -> tuple[Any, ...]:
    return (*work.inputs, work.output, bag_sizes, work.B, work.D, work.padding)


def _warp_per_bag(work: Work, bag_sizes: Any) -> None:
    _teams(work, bag_sizes, "bag_sum_2", 32)


def _loads_in_flight(work: Work, bag_sizes: Any, loads: int = 8) -> None:
    _teams(work, bag_sizes, "bag_sum_3", 32, loads)


def _bags_in_a_warp(work: Work, bag_sizes: Any, lanes: int = 0) -> None:
    lanes = lanes or work.lanes
    _teams(work, bag_sizes, "bag_sum_4", lanes, lanes)


def _teams(work: Work, bag_sizes: Any, name: str, lanes: int, *last: int) -> None:
    instance = kernel("forward", name, *work.types, work.kind, work.padded, work.pack, *last)
    launch(instance, work.B * work.tiles(lanes) * lanes, _arguments(work, bag_sizes))


def _parts_of_bags(work: Work, bag_sizes: Any, lanes: int = 0, parts: int = 0) -> None:
    lanes, parts = lanes or work.lanes, parts or parts_of(work.call)
    sums = device().empty((work.B, parts, work.D), work.wide)
    counts = work.sizes(work.B, parts)
    types = (*work.types, work.kind, work.padded, work.pack, lanes)
    args = (*work.inputs, sums, counts, work.B, parts, work.D, work.padding)
    launch(kernel("forward", "bag_sum_5", *types), work.B * parts * work.tiles(lanes) * lanes, args)
    args = (sums, counts, work.output, bag_sizes, work.B, parts, work.D)
    add = kernel("forward", "add_parts", work.weight.dtype, work.kind)
    launch(add, work.B * work.D, args)


def parts_of(call: Call) -> int:
    """S of version 5: enough parts for all warps, but none shorter than SHORTEST."""
    wanted = ceil_div(WARPS, max(warps_of(call), 1))
    return max(min(wanted, call.num_positions // max(call.num_bags * SHORTEST, 1)), 1)


def _pieces_of_work(work: Work, bag_sizes: Any, lanes: int = 0, piece: int = 0) -> None:
    lanes, piece = lanes or work.lanes, piece or piece_of(work.call)
    pieces, gpu = ceil_div(work.N + work.B, piece), device()
    sums = gpu.empty((pieces, 2, work.D), work.wide)
    counts, open_bag = work.sizes(pieces, 2), gpu.empty(pieces, np.int64)
    types = (*work.types, work.kind, work.padded, work.pack, lanes)
    args = (*work.inputs, work.output, bag_sizes, sums, counts, open_bag)
    args = (*args, work.N, work.B, piece, work.D, work.padding)
    launch(kernel("forward", "bag_sum_6", *types), pieces * work.tiles(lanes) * lanes, args)
    _join_pieces(work, bag_sizes, (sums, counts, open_bag), pieces, piece)


def _join_pieces(
    work: Work, bag_sizes: Any, parts: tuple[Any, ...], pieces: int, piece: int
) -> None:
    """Version 6 after its first kernel: bags that were cut."""
    groups, types = pieces // FOLD, (work.weight.dtype, work.kind)
    folded = (device().empty((groups, work.D), work.wide), work.sizes(groups))
    args = (*parts, *folded, groups, work.D)
    launch(kernel("forward", "fold_pieces", *types), groups * work.D, args)
    args = (*parts, *folded, work.offsets, work.output, bag_sizes, pieces, piece, work.D)
    launch(kernel("forward", "add_pieces", *types), pieces * work.D, args)


def piece_of(call: Call) -> int:
    """P of version 6: a power of two that gives work to all warps, from SHORTEST to LONGEST.

    It depends on the shapes alone, so that a call gives the same bits on every GPU.
    """
    items = (call.num_positions + call.num_bags) * warps_of(call) // max(call.num_bags, 1)
    piece = SHORTEST
    while piece < LONGEST and items >= 2 * piece * WARPS:
        piece *= 2
    return piece


def _copies_in_flight(work: Work, bag_sizes: Any, lanes: int = 0, piece: int = 0) -> None:
    _bags_and_pieces(work, bag_sizes, lanes, piece, "bag_sum_8", RINGS)


def _bags_and_pieces(
    work: Work,
    bag_sizes: Any,
    lanes: int = 0,
    piece: int = 0,
    name: str = "bag_sum_7",
    block: int = BLOCK,
) -> None:
    lanes, piece, gpu = lanes or work.lanes, piece or cut_of(work.call), device()
    pieces = ceil_div(work.N, piece) if longest(work.call) > piece else 0
    sums = gpu.empty((pieces, 2, work.D), work.wide)
    counts, begins = work.sizes(pieces, 2), gpu.empty(pieces, np.int64)
    types = (*work.types, work.kind, work.padded, work.pack, lanes)
    args = (*work.inputs, work.output, bag_sizes, sums, counts, begins)
    args = (*args, work.B, pieces, piece, work.D, work.padding)
    threads = (work.B + pieces) * work.tiles(lanes) * lanes
    launch(kernel("forward", name, *types), threads, args, block)
    if pieces:
        add = kernel("forward", "add_long_bags", work.weight.dtype, work.kind)
        args = (sums, counts, begins, work.offsets, work.output, bag_sizes, piece, work.D)
        add((pieces, ceil_div(work.D, 32)), (32, GROUPS), args)


def longest(call: Call) -> int:
    """The most positions that a bag of the call can have, as far as its shapes tell."""
    return call.input_shape[1] if len(call.input_shape) == 2 else call.num_positions


def cut_of(call: Call) -> int:
    """P of versions 7 and 8, by shapes alone: bags longer than P positions are cut into pieces.

    A power of two. So large that there are no more pieces than a GPU has use for; and where there
    are bags enough to keep it busy, that a bag of four times the mean length is not cut.
    """
    B, N, warps = max(call.num_bags, 1), call.num_positions, warps_of(call)
    if N <= FEW and N <= FEW_EACH * B:
        return FEW  # no bag is longer, and a second kernel would take longer than the first
    wanted = max(ceil_div(N * warps, B * ENOUGH), FEW_EACH)
    if warps >= ENOUGH // 4:
        wanted = max(wanted, 4 * N // B)
    return 1 << (wanted - 1).bit_length()


VERSIONS: dict[int, Callable[..., None]] = {
    1: _per_element,
    2: _warp_per_bag,
    3: _loads_in_flight,
    4: _bags_in_a_warp,
    5: _parts_of_bags,
    6: _pieces_of_work,
    7: _bags_and_pieces,
    8: _copies_in_flight,
}


# ---- maximum, max_norm, the check of indices ------------------------------------------------


def max_bags(work: Work, version: int = 2) -> tuple[Any, Any]:
    """The output and the winners, (B, D) each, by version 1 or 2 of max.cu."""
    if version not in (1, 2):
        raise ValueError(f"version is {version!r}; there are: 1, 2")
    fits = work.call.num_embeddings <= np.iinfo(np.int32).max
    winners = device().empty((work.B, work.D), np.int32 if fits else np.int64)
    types = (*work.types, winners.dtype, work.padded)
    arrays = (work.weight, work.indices, work.offsets, work.output, winners)
    args = (*arrays, work.B, work.D, work.padding)
    if version == 1:
        launch(kernel("max", "bag_max_1", *types), work.B * work.D, args)
    elif work.D:
        threads = work.B * work.tiles(work.lanes) * work.lanes
        launch(kernel("max", "bag_max_2", *types, work.pack, work.lanes), threads, args)
    return work.output, winners


def renorm(call: Call) -> None:
    """max_norm alone, without a forward: rescale, in place and once, each row that is too long.

    A row is too long if it occurs in the call and its norm is greater than max_norm.
    """
    work = Work(call)
    check(work)
    rescale(work)


def rescale(work: Work) -> None:
    """Launch renorm.cu, on indices that somebody has looked at."""
    call = work.call
    claimed = device().zeros(ceil_div(call.num_embeddings, 32), np.uint32)
    args = (work.weight, work.indices, claimed, work.N, work.D, call.max_norm, call.norm_type)
    if work.D:
        launch(kernel("renorm", "renorm", *work.types), 32 * work.N, args)
    if work.weight is not call.weight:  # a copy: the caller's own table must change
        call.weight[...] = download(work.weight, call.weight)


def check(work: Work) -> None:
    """check_input for arrays on a GPU, unless the caller trusts them. `spec` looked at NumPy's."""
    call = work.call
    if not on_host(call.indices) and _checked.get():
        features = None if call.max_norm is None else call.embedding_dim
        check_input(work.indices, work.offsets, call.num_embeddings, features)


def check_input(indices: Any, offsets: Any, V: int, D: int | None = None) -> None:
    """Raise RuntimeError, as `spec.make_call` does, for bad indices or offsets (B + 1,).

    D: of a call with max_norm, for which a bad index is an IndexError.
    The arrays are looked at where they are. The host waits for two numbers, and for the arrays
    only if something is wrong.
    """
    gpu, nobody = device(), np.iinfo(np.int64).max
    indices, offsets = upload(indices), upload(offsets)
    found = gpu.full(2, nobody, np.int64)
    N, B = len(indices), len(offsets) - 1
    args = (indices, offsets, found, N, B, V)
    launch(kernel("indices", "check_input", indices.dtype), max(N, B + 1), args)
    if (gpu.asnumpy(found) == nobody).all():
        return
    if D is not None:
        spec._check_renorm_range(gpu.asnumpy(indices), V, D)
    starts = gpu.asnumpy(offsets)
    spec._check_ends(starts[:-1] if starts[-1] == N else starts, N)
    spec._with_end(starts, N, include_last_offset=True)
    spec._check_order(starts)
    spec._check_range(gpu.asnumpy(indices), V)
