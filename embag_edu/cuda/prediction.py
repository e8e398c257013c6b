"""What the kernels will ask for, by arithmetic, without a launch.

planned(4, D=16, L=20)               -> LanePlan: who reads what in a version of forward.cu
contention([2, 5, 2, 2])             -> how often each row's address is hit by atomics
loads([2, 5, 2, 2], piece=32)        -> Loads: how much the busiest of each backward has to do
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from embag_edu.cuda.launch_backward import PIECE
from embag_edu.cuda.launch_forward import lanes_of
from embag_edu.cuda.launcher import ceil_div, pack_for

SECTOR = 32  # bytes that memory moves at a time
WARP = 32  # lanes

# ---- the forward ----------------------------------------------------------------------------


class LanePlan(NamedTuple):
    """Who does what, and what that asks for, where all bags have L positions and no row is twice.

    bag, d: (warps, 32), of each lane; d is -1 where a lane has no feature.
    rows, indices: (requests, sectors) of the reads of weight and of indices, over all bags.
    """

    bag: np.ndarray
    d: np.ndarray
    pack: int
    team: int
    rows: tuple[int, int]
    indices: tuple[int, int]


def planned(version: int, D: int, L: int, B: int = 8, w: int = 4, i: int = 8) -> LanePlan:
    """Versions 1 to 4 on B bags of L positions; rows 0, 1, 2, ... of a table that begins a sector.

    w, i: bytes of an element of weight and of an index. ValueError for another version.
    """
    if version not in (1, 2, 3, 4):
        raise ValueError(f"version is {version!r}; the lanes of versions 1 to 4 can be planned")
    pack = 1 if version == 1 else pack_for(D, w)
    team = lanes_of(D, pack) if version == 4 else WARP
    bag, d = _elements(B, D) if version == 1 else _teams(B, D, pack, team)
    k = np.arange(L)
    has_row = (d >= 0)[..., None] & (k >= 0)
    row_at = ((bag[..., None] * L + k) * D + d[..., None]) * w
    if version <= 2:  # each lane reads the index itself, one for each row
        index_at, has_index = (bag[..., None] * L + k) * i, has_row
    else:  # lane l of a team reads the indices l, l + team, ...
        mine = np.arange(WARP)[:, None] % team + np.arange(ceil_div(L, team)) * team
        index_at = (bag[..., None] * L + mine) * i
        has_index = (bag < B)[..., None] & (mine < L)
    return LanePlan(bag, d, pack, team, _asked(row_at, has_row), _asked(index_at, has_index))


def _elements(B: int, D: int) -> tuple[np.ndarray, np.ndarray]:
    warps = ceil_div(B * D, WARP)
    element = np.arange(warps * WARP).reshape(warps, WARP)
    return element // D, np.where(element < B * D, element % D, -1)


def _teams(B: int, D: int, pack: int, team: int) -> tuple[np.ndarray, np.ndarray]:
    tiles = ceil_div(D, team * pack)
    warps = ceil_div(B * tiles * team, WARP)
    thread = np.arange(warps * WARP).reshape(warps, WARP)
    number = thread // team
    bag, d = number // tiles, (number % tiles * team + thread % team) * pack
    return bag, np.where((d < D) & (bag < B), d, -1)


def _asked(at: np.ndarray, takes_part: np.ndarray) -> tuple[int, int]:
    """(requests, sectors) of warps (first axis) and steps (last axis)."""
    warp, _, step = np.nonzero(takes_part)
    request = warp * at.shape[2] + step
    sectors = at[takes_part] // SECTOR
    both = request * (1 + sectors.max(initial=0)) + sectors  # one number: sorted far sooner
    return len(np.unique(request)), len(np.unique(both))


# ---- the backward ---------------------------------------------------------------------------


def contention(indices: Any, warp: int = WARP) -> tuple[Counter[int], Counter[int]]:
    """How often each row's address is hit: an atomic for each position, and joined in each warp.

    indices: (N,). Returns two Counters, row -> hits.
    """
    rows = np.asarray(indices).tolist()
    plain: Counter[int] = Counter(rows)
    joined: Counter[int] = Counter()
    for begin in range(0, len(rows), warp):
        joined.update(set(rows[begin : begin + warp]))
    return plain, joined


class Loads(NamedTuple):
    """How much there is to do, and how much of it the busiest has; from the rows alone.

    hits, joined: atomics at the hottest address: one for each position; equal rows joined.
    runs, longest: warps of version 5, and the entries of the busiest one.
    pieces, cuts: warps of version 6, and the borders of pieces that lie within a run.
    walk: the partial sums that the busiest warp of the second pass adds.
    """

    hits: int
    joined: int
    runs: int
    longest: int
    pieces: int
    cuts: int
    walk: int


def loads(indices: Any, piece: int = PIECE) -> Loads:
    """What the versions have to do for these rows, (N,) with N from 1; none of them is padding."""
    keys = np.sort(np.asarray(indices))
    if not len(keys):
        raise ValueError("indices holds 0 rows; valid: one or more")
    plain, joined = contention(indices)
    lengths = np.unique(keys, return_counts=True)[1]
    borders = np.arange(piece, len(keys), piece)
    cut = keys[borders[keys[borders] == keys[borders - 1]]]
    walks = np.unique(cut, return_counts=True)[1]
    return Loads(
        hits=max(plain.values()),
        joined=max(joined.values()),
        runs=len(lengths),
        longest=int(lengths.max()),
        pieces=len(borders) + 1,
        cuts=len(cut),
        walk=2 * int(walks.max(initial=0)),
    )
