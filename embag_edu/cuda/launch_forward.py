"""The host side of the forward: which kernel a call needs, and its launch.

`choose` says in one place which version of forward.cu a sum or mean takes; each can be asked for:

    sum_bags(Work(call), version=3)

Letters: V rows in weight, D features, N positions, B bags.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from embag_edu.cuda.findings import checked
from embag_edu.cuda.launcher import (
    BLOCK,
    WIDEST,
    Launch,
    Many,
    Plan,
    ceil_div,
    device,
    download,
    nothing,
    on_one_device,
    pack_of,
    prepared,
    upload,
)
from embag_edu.spec import Call, Saved

WARPS = 16_384  # so many keep the largest GPUs busy to the end: four times what they run at once
FOLD, GROUPS, RINGS, LOADS = 64, 8, 128, 4  # as in forward.cu
ENOUGH = 4_096  # warps for versions 7 and 8, of which each has more loads under way
FEW, FEW_EACH = 4_096, 64  # positions that are few, in all and for each bag
SHORTEST, LONGEST = 32, 256  # the items in a piece of version 6; no part of version 5 is shorter


class Choice(NamedTuple):
    """A version of forward.cu, and the reason for it."""

    version: int
    why: str


def choose(call: Call | Form) -> Choice:
    """The version of forward.cu for a sum or mean.

    It looks at shapes only. To look at the offsets would be to wait for the GPU.
    """
    if call.dtype.itemsize == 2 and call.embedding_dim % 2:
        return Choice(7, "rows can only be loaded by 2 bytes: too few for an asynchronous copy")
    return Choice(8, "rows come by asynchronous copies; long bags, if there can be any, are cut")


def warps_of(call: Call | Form) -> int:
    """How many warps work if each bag has one team for each tile of its row."""
    pack = max(16 // call.dtype.itemsize, 1)
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
    if call.max_norm is not None:
        renorm(call)
        call = replace(call, max_norm=None)
    work = Work(checked(call))
    looked_at = None if work.call is call else work.call
    if call.mode == "max":
        output, winners = max_bags(work)
        return download(output, call.weight), Saved(None, winners, looked_at)
    output, bag_sizes = sum_bags(work)
    return download(output, call.weight), Saved(bag_sizes, None, looked_at)


class Form(NamedTuple):
    """All of a call that its launches depend on, beside the arrays; `form_of` makes it.

    It has the names of a Call, so that `choose`, `cut_of` and their like take either.
    """

    num_bags: int
    num_embeddings: int
    embedding_dim: int
    input_shape: tuple[int, ...]
    dtype: np.dtype  # of weight and output
    index_dtype: np.dtype
    mode: str
    weighted: bool
    padding_idx: int | None
    pack: int  # neighboring elements of a row in one load

    @property
    def num_positions(self) -> int:
        """N."""
        return math.prod(self.input_shape)

    @property
    def types(self) -> Many:
        """T and I of the kernels' templates."""
        return self.dtype, self.index_dtype

    @property
    def kind(self) -> str:
        """KIND of forward.cu."""
        return "MEAN" if self.mode == "mean" else "WEIGHTED" if self.weighted else "SUM"

    @property
    def options(self) -> Many:
        """T, I, KIND, PADDED: what the templates of sums begin with."""
        return *self.types, self.kind, self.padding_idx is not None

    @property
    def wide(self) -> type:
        """The type of partial sums."""
        return np.float64 if self.dtype.itemsize == 8 else np.float32

    @property
    def lanes(self) -> int:
        """The lanes of a team, where nobody asks for another number."""
        return lanes_of(self.embedding_dim, self.pack)

    def teams(self, items: int, lanes: int) -> int:
        """The threads of teams for so many bags, parts or pieces, and all tiles of their rows."""
        return items * ceil_div(self.embedding_dim, lanes * self.pack) * lanes

    def sizes(self, name: str, *shape: int) -> tuple[str, Any, type]:
        """Room for the counts of a mean; none for a sum."""
        return name, shape if self.kind == "MEAN" else 0, np.int64

    def plan(self, *launches: Launch, room: Many = (), **numbers: Any) -> Plan:
        """A plan; it has the numbers that all calls have."""
        padding_idx = 0 if self.padding_idx is None else self.padding_idx
        sizes = {"B": self.num_bags, "N": self.num_positions, "D": self.embedding_dim}
        return Plan(launches, {**sizes, "padding_idx": padding_idx, **numbers}, room)


class Work:
    """A call with its arrays on the device."""

    def __init__(self, call: Call) -> None:
        weight, indices, psw = upload(call.weight), upload(call.indices), call.per_sample_weights
        self.call, self.form = call, form_of(call, weight, indices)
        self.arrays = {"weight": weight, "indices": indices, "offsets": upload(call.offsets)}
        self.psw = nothing(weight.dtype) if psw is None else upload(psw)


def form_of(call: Call, weight: Any, indices: Any) -> Form:
    """The form of a call. weight, indices: as they lie on the device."""
    return Form(
        call.num_bags,
        weight.shape[0],
        weight.shape[1],
        call.input_shape,
        weight.dtype,
        indices.dtype,
        call.mode,
        call.per_sample_weights is not None,
        call.padding_idx,
        pack_of(weight),
    )


# ---- sum and mean ---------------------------------------------------------------------------


def sum_bags(work: Work, version: int | str | None = None, **tuning: int) -> tuple[Any, Any]:
    """The output (B, D), and for a mean the bag sizes (B,), else None.

    version: of forward.cu, 1 to 8, or one of UNTIMED; by default what `choose` says.
    tuning:  `loads` for version 3, `lanes` for 4 to 8, `parts` for 5, `piece` for 6 to 8; `lanes`
             and `bags` (of a team) for "short".
    """
    version = choose(work.form).version if version is None else version
    check_version(version, work.form)
    check_tuning(tuning)
    found = sum_plan(work.form, version, **tuning).run(**work.arrays, per_sample_weights=work.psw)
    if work.form.mode != "mean":
        return found["output"], None
    if not work.form.embedding_dim:
        found["bag_sizes"].fill(0)  # no feature, no thread that would count
    return found["output"], found["bag_sizes"]


@functools.lru_cache(maxsize=1024)
def sum_plan(form: Form, version: int | str, **tuning: int) -> Plan:
    """The launches of a version for calls of this form."""
    output = "output", (form.num_bags, form.embedding_dim), form.dtype
    plan = EVERY[version](form, **tuning)
    return plan._replace(room=(output, form.sizes("bag_sizes", form.num_bags), *plan.room))


def check_version(version: int | str, form: Form) -> None:
    """Raise ValueError for a version that there is not, or not for calls of this form."""
    if version not in EVERY:
        raise ValueError(f"version is {version!r}; there are: {', '.join(map(str, EVERY))}")
    if version == "short" and len(form.input_shape) != 2:
        raise ValueError(
            f"version is {version!r}, input has the shape {form.input_shape}; valid: (B, L), where "
            "all bags have the length L"
        )
    if version == "bulk":
        check_bulk(form)


def check_bulk(form: Form) -> None:
    """Raise ValueError where the kernel of bulk.cu can't be launched."""
    plain = form.kind != "WEIGHTED" and form.padding_idx is None
    if not (plain and form.pack * form.dtype.itemsize == WIDEST):
        raise ValueError(
            f"version is 'bulk', the kind {form.kind}, padding_idx {form.padding_idx}, a row "
            f"{form.embedding_dim} of {form.dtype}; valid: a sum or mean without weights and "
            "padding, of rows that are multiples of 16 bytes and begin at one"
        )
    gpu = device()
    if gpu.kind == "cuda" and int(gpu.xp.cuda.Device().compute_capability) < 90:
        raise ValueError("version is 'bulk'; valid on GPUs from compute capability 9.0 on")


def check_tuning(tuning: dict[str, int]) -> None:
    """Raise ValueError for a number that no kernel can be launched with; 0 stands for the usual."""
    for name, value in tuning.items():
        valid = "4, 8, 16 or 32" if name == "lanes" else "1 or more"
        fits = value in (4, 8, 16, 32) if name == "lanes" else value >= 1
        if not isinstance(value, int) or not (fits or (value == 0 and name != "loads")):
            raise ValueError(f"{name} is {value!r}; valid: {valid}")


def _per_element(form: Form) -> Plan:
    threads = form.num_bags * form.embedding_dim
    return form.plan(prepared("forward", "bag_sum_1", form.options, threads))


def _warp_per_bag(form: Form) -> Plan:
    return _teams(form, "bag_sum_2", 32)


def _loads_in_flight(form: Form, loads: int = 8) -> Plan:
    return _teams(form, "bag_sum_3", 32, loads)


def _bags_in_a_warp(form: Form, lanes: int = 0) -> Plan:
    lanes = lanes or form.lanes
    return _teams(form, "bag_sum_4", lanes, lanes)


def _teams(form: Form, name: str, lanes: int, *last: int) -> Plan:
    options, threads = (*form.options, form.pack, *last), form.teams(form.num_bags, lanes)
    return form.plan(prepared("forward", name, options, threads))


def _parts_of_bags(form: Form, lanes: int = 0, parts: int = 0) -> Plan:
    B, D, lanes, S = form.num_bags, form.embedding_dim, lanes or form.lanes, parts or parts_of(form)
    options = (*form.options, form.pack, lanes)
    return form.plan(
        prepared("forward", "bag_sum_5", options, form.teams(B * S, lanes)),
        prepared("forward", "add_parts", (form.dtype, form.kind), B * D),
        room=(("parts", (B, S, D), form.wide), form.sizes("part_sizes", B, S)),
        S=S,
    )


def parts_of(call: Call | Form) -> int:
    """S of version 5: enough parts for all warps, but none shorter than SHORTEST."""
    wanted = ceil_div(WARPS, max(warps_of(call), 1))
    return max(min(wanted, call.num_positions // max(call.num_bags * SHORTEST, 1)), 1)


def _pieces_of_work(form: Form, lanes: int = 0, piece: int = 0) -> Plan:
    D, lanes, P = form.embedding_dim, lanes or form.lanes, piece or piece_of(form)
    pieces = ceil_div(form.num_positions + form.num_bags, P)
    groups, types, options = pieces // FOLD, (form.dtype, form.kind), (*form.options, form.pack)
    return form.plan(
        prepared("forward", "bag_sum_6", (*options, lanes), form.teams(pieces, lanes)),
        prepared("forward", "fold_pieces", types, groups * D),
        prepared("forward", "add_pieces", types, pieces * D),
        room=(
            ("parts", (pieces, 2, D), form.wide),
            form.sizes("part_sizes", pieces, 2),
            ("open_bag", pieces, np.int64),
            ("folded", (groups, D), form.wide),
            form.sizes("folded_sizes", groups),
        ),
        **{"P": P, "pieces": pieces, "groups": groups},
    )


def piece_of(call: Call | Form) -> int:
    """P of version 6: a power of two that gives work to all warps, from SHORTEST to LONGEST.

    It depends on the shapes alone, so that a call gives the same bits on every GPU.
    """
    items = (call.num_positions + call.num_bags) * warps_of(call) // max(call.num_bags, 1)
    piece = SHORTEST
    while piece < LONGEST and items >= 2 * piece * WARPS:
        piece *= 2
    return piece


def _copies_in_flight(form: Form, lanes: int = 0, piece: int = 0) -> Plan:
    return _bags_and_pieces(form, lanes, piece, "bag_sum_8", RINGS)


def _bags_and_pieces(
    form: Form,
    lanes: int = 0,
    piece: int = 0,
    name: str = "bag_sum_7",
    block: int = BLOCK,
    file: str = "forward",
) -> Plan:
    D, lanes, P = form.embedding_dim, lanes or form.lanes, piece or cut_of(form)
    pieces = ceil_div(form.num_positions, P) if longest(form) > P else 0
    options, teams = (*form.options, form.pack, lanes), form.teams(form.num_bags + pieces, lanes)
    types, grid = (form.dtype, form.kind), (pieces, ceil_div(D, 32))
    return form.plan(
        prepared(file, name, options, teams, block),
        prepared("forward", "add_long_bags", types, grid, (32, GROUPS)),
        room=(
            ("parts", pieces and (pieces, 2, D), form.wide),
            form.sizes("part_sizes", pieces, 2),
            ("begins", pieces, np.int64),
        ),
        **{"P": P, "pieces": pieces},
    )


def longest(call: Call | Form) -> int:
    """The most positions that a bag of the call can have, as far as its shapes tell."""
    return call.input_shape[1] if len(call.input_shape) == 2 else call.num_positions


def cut_of(call: Call | Form) -> int:
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


def _short_bags(form: Form, lanes: int = 0, bags: int = 0) -> Plan:
    L, lanes = form.input_shape[1], lanes or form.lanes
    bags = bags or max(2 * LOADS // L, 1)
    options, threads = (*form.options, form.pack, lanes), ceil_div(form.num_bags, bags)
    launch = prepared("forward", "bag_sum_short", options, form.teams(threads, lanes))
    return form.plan(launch, room=(), **{"L": L, "bags": bags})


def _by_8_bytes(form: Form, lanes: int = 0, piece: int = 0) -> Plan:
    """Version 8 by copies of 8 bytes: these go through the L1 cache, those of 16 pass it by."""
    pack = min(form.pack, max(8 // form.dtype.itemsize, 1))
    return _copies_in_flight(form._replace(pack=pack), lanes, piece)


def _bulk(form: Form, piece: int = 0) -> Plan:
    """Whole rows by bulk copies, from sm_90 on."""
    return _bags_and_pieces(form, 32, piece, "bag_sum_bulk", RINGS, "bulk")


VERSIONS: dict[int, Callable[..., Plan]] = {
    1: _per_element,
    2: _warp_per_bag,
    3: _loads_in_flight,
    4: _bags_in_a_warp,
    5: _parts_of_bags,
    6: _pieces_of_work,
    7: _bags_and_pieces,
    8: _copies_in_flight,
}

UNTIMED: dict[str, Callable[..., Plan]] = {  # on no GPU so far
    "short": _short_bags,
    "8 bytes": _by_8_bytes,
    "bulk": _bulk,
}
EVERY: dict[Any, Callable[..., Plan]] = {**VERSIONS, **UNTIMED}


# ---- maximum, max_norm ------------------------------------------------


def max_bags(work: Work, version: int = 2) -> tuple[Any, Any]:
    """The output and the winners, (B, D) each, by version 1 or 2 of max.cu."""
    if version not in (1, 2):
        raise ValueError(f"version is {version!r}; there are: 1, 2")
    found = max_plan(work.form, version).run(**work.arrays)
    return found["output"], found["winners"]


@functools.lru_cache(maxsize=1024)
def max_plan(form: Form, version: int) -> Plan:
    """The launch of a version for calls of this form."""
    shape, fits = (form.num_bags, form.embedding_dim), form.num_embeddings <= np.iinfo(np.int32).max
    winner = np.dtype(np.int32 if fits else np.int64)
    types = (*form.types, winner, form.padding_idx is not None)
    types = types if version == 1 else (*types, form.pack, form.lanes)
    threads = math.prod(shape) if version == 1 else form.teams(form.num_bags, form.lanes)
    room = ("output", shape, form.dtype), ("winners", shape, winner)
    return form.plan(prepared("max", f"bag_max_{version}", types, threads), room=room)


@on_one_device
def renorm(call: Call) -> None:
    """max_norm alone, without a forward: rescale, in place and once, each row that is too long.

    A row is too long if it occurs in the call, be it as padding, and its norm is above max_norm.
    """
    work = Work(checked(replace(call, padding_idx=None)))
    call, form, weight = work.call, work.form, work.arrays["weight"]
    claimed = device().zeros(ceil_div(form.num_embeddings, 32), np.uint32)
    threads = 32 * form.num_positions if form.embedding_dim else 0
    plan = form.plan(prepared("renorm", "renorm", form.types, threads))
    norm = {"max_norm": call.max_norm, "norm_type": call.norm_type}
    plan.run(**work.arrays, claimed=claimed, **norm)
    if weight is not call.weight:  # a copy: the caller's own table must change
        call.weight[...] = download(weight, call.weight)
