"""Correct kernels, each near to a faulty one: the checked mode must find nothing in them.

The kernels are in `neighbors.cu`. Inputs are small whole numbers, so that every sum is exact in
any order of the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.conformance.faults import Make, empty, floats, ints, room, rows, zeros

SOURCE = Path(__file__).with_name("neighbors.cu")
Expect = Callable[[tuple[Any, ...]], dict[int, np.ndarray]]


@dataclass(frozen=True)
class Neighbor:
    """One correct launch. expect(arguments before the launch) -> {position: array after it}.

    notes: the kinds of what is noted, and a fault with settings(strict=True).
    fast: False where threads of a block wait for each other in loops: that ends in checked mode only.
    """

    name: str
    about: str
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    make: Make
    expect: Expect
    shared_mem: int = 0
    tolerance: float = 0.0
    notes: tuple[str, ...] = ()
    fast: bool = True


@cache
def source() -> str:
    """The text of neighbors.cu."""
    return SOURCE.read_text(encoding="utf-8")


# ---- what some of them compute -------------------------------------------------------------------


def bag_sums(w: np.ndarray, idx: np.ndarray, off: np.ndarray) -> np.ndarray:
    """The sum of each bag, (B, D)."""
    bags = zip(off[:-1], off[1:], strict=True)
    return np.stack([w[idx[begin:end]].sum(0) for begin, end in bags]).astype(np.float32)


def bag_means(w: np.ndarray, idx: np.ndarray, off: np.ndarray) -> np.ndarray:
    """The mean of each bag, (B, D); an empty bag's is zero."""
    lengths = np.maximum(np.diff(off), 1).astype(np.float32)
    return bag_sums(w, idx, off) / lengths[:, None]


def scattered(grad: np.ndarray, idx: np.ndarray, off: np.ndarray, dw: np.ndarray) -> np.ndarray:
    """dw plus the gradient of a sum, (V, D)."""
    out = dw.copy()
    np.add.at(out, idx, np.repeat(grad, np.diff(off), axis=0))
    return out


def three_neighbors(x: np.ndarray) -> np.ndarray:
    """x[i - 1] + x[i] + x[i + 1], zeros outside."""
    wide = np.pad(x, 1)
    return wide[:-2] + wide[1:-1] + wide[2:]


def halves(x: np.ndarray) -> np.ndarray:
    """The sum of the first 16 for the lower lanes, the maximum of the others for the upper."""
    return np.repeat(np.array([x[:16].sum(), x[16:].max()], x.dtype), 16)


def of_each_warp(x: np.ndarray) -> np.ndarray:
    """The sum of each lane's warp (the last may be shorter)."""
    out = np.empty_like(x)
    for first in range(0, len(x), 32):
        out[first : first + 32] = x[first : first + 32].sum()
    return out


def rounds_of_warps(x: np.ndarray) -> np.ndarray:
    """Warp k adds the mirrored lanes of x + 0, x + 1, ..., x + k."""
    mirrored = x.reshape(4, 32)[:, ::-1]
    return np.stack([(k + 1) * mirrored[k] + k * (k + 1) // 2 for k in range(4)]).ravel()


def mirrored_even_blocks(x: np.ndarray) -> np.ndarray:
    """Blocks 0, 2, ... of 32 elements are mirrored."""
    out = x.reshape(-1, 32).copy()
    out[::2] = out[::2, ::-1]
    return out.ravel()


def largest_and_how_often(idx: np.ndarray) -> np.ndarray:
    """The largest plus the number of times it is there, for every lane."""
    return np.full(len(idx), idx.max() + (idx == idx.max()).sum(), np.int32)


def bits_of(idx: np.ndarray, words: int) -> np.ndarray:
    """A bitmap of the rows in idx."""
    flags = np.zeros(32 * words, np.uint64)
    flags[idx] = 1
    return (flags.reshape(words, 32) << np.arange(32, dtype=np.uint64)).sum(1).astype(np.uint32)


def one_table(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """x times 1, 2, 4, 8, 1, ... plus two elements of a table."""
    n = len(x)
    factors = np.array([1, 2, 4, 8], np.float32)[np.arange(n) % 4]
    return x * factors + table[0] + table[n % 5]


def total(x: np.ndarray, n: int = 1) -> np.ndarray:
    """The sum of x, n times."""
    return np.full(n, x.sum(), np.float32)


i32, u32 = np.int32, np.uint32
BAGS = ints(0, 3, 3, 10)  # the second bag is empty
LONG_BAGS = ints(0, 80, 80, 99)


# ---- the table -----------------------------------------------------------------------------------

BARRIERS = [
    Neighbor("reverse", "a barrier before reading", "reverse", (1,), (64,),
              lambda rng: (floats(64), empty(64)), lambda a: {1: a[0][::-1]}),
    Neighbor("tile used twice", "a barrier before writing again", "tile_used_twice", (1,), (64,),
              lambda rng: (floats(64), floats(128)[64:].copy(), empty(64)),
              lambda a: {2: (a[0] + a[1])[::-1]}),
    Neighbor("staged rows", "two barriers in a loop", "staged_rows", (3,), (40,),
              lambda rng: (floats(10, 40), rows(rng, 10, 99), LONG_BAGS.copy(), empty(3, 40),
                           i32(40)),
              lambda a: {3: bag_sums(*a[:3])}),
    Neighbor("tree", "a barrier at each level", "tree", (1,), (128,),
              lambda rng: (floats(128), empty(1)), lambda a: {1: total(a[0])}),
    Neighbor("sums of warps", "only those written are read", "sums_of_warps", (1,), (128,),
              lambda rng: (floats(128), empty(1)), lambda a: {1: total(a[0])}),
    Neighbor("shared total", "atomics, barrier, plain reads", "shared_total", (1,), (64,),
              lambda rng: (floats(64), empty(64)), lambda a: {1: total(a[0], 64)}),
    Neighbor("maximum and sum", "one array for both", "maximum_and_sum", (1,), (64,),
              lambda rng: (floats(64), empty(64)),
              lambda a: {1: total(a[0].max() - a[0], 64)}),
    Neighbor("guard without barrier", "early return", "guard_without_barrier", (2,), (64,),
              lambda rng: (floats(100), empty(100), i32(100)), lambda a: {1: 2 * a[0]}),
    Neighbor("guard around the barrier", "nobody returns early", "guard_around_the_barrier",
              (2,), (64,), lambda rng: (floats(100), empty(2), i32(100)),
              lambda a: {1: np.array([a[0][:64].sum(), a[0][64:].sum()])}),
    Neighbor("barrier in an even loop", "all go round as often", "barrier_in_an_even_loop",
              (1,), (32, 8), lambda rng: (floats(12, 32), empty(32), i32(12)),
              lambda a: {1: a[0].sum(0)}),
    Neighbor("barrier in an even branch", "a whole block takes it", "barrier_in_an_even_branch",
              (3,), (32,), lambda rng: (floats(96), empty(96)),
              lambda a: {1: mirrored_even_blocks(a[0])}),
    Neighbor("scan", "read, barrier, write, barrier", "scan", (1,), (64,),
              lambda rng: (rows(rng, 10, 64), room(64)), lambda a: {1: np.cumsum(a[0])}),
    Neighbor("barrier that counts", "__syncthreads_count", "barrier_that_counts", (1,), (48,),
              lambda rng: (rows(rng, 10, 48) - 3, room(48)),
              lambda a: {1: np.full(48, (a[0] >= 0).sum())}),
]  # fmt: skip

TILES = [
    Neighbor("halo", "a tile with guards at both ends", "halo", (2,), (32,),
              lambda rng: (floats(50), empty(50), i32(50)),
              lambda a: {1: three_neighbors(a[0])}),
    Neighbor("transpose", "a padded tile", "transpose", (2, 2), (32, 8),
              lambda rng: (floats(40, 50), empty(50, 40), i32(40), i32(50)),
              lambda a: {1: a[0].T}),
    Neighbor("two arrays in dynamic memory", "the wider type first",
              "two_arrays_in_dynamic_memory", (1,), (8,),
              lambda rng: (floats(8, 4), rng.permutation(8).astype(i32), empty(8, 4), i32(8)),
              lambda a: {2: a[0][a[1]]}, shared_mem=8 * 20),
    Neighbor("union used twice", "the same bytes, two types", "union_used_twice", (1,), (64,),
              lambda rng: (floats(64), rows(rng, 10, 64), empty(64)),
              lambda a: {2: a[0][::-1] + np.roll(a[1], -1).astype(np.float32)}),
    Neighbor("two buffers", "asynchronous copies", "two_buffers", (1,), (64,),
              lambda rng: (floats(5, 64), empty(64), i32(5)),
              lambda a: {1: a[0].sum(0)[::-1]}),
]  # fmt: skip

WARPS = [
    Neighbor("part of a warp", "__syncwarp for a warp's own part", "part_of_a_warp", (1,), (128,),
              lambda rng: (floats(128), empty(128)), lambda a: {1: rounds_of_warps(a[0])}),
    Neighbor("tree of a warp", "__syncwarp at each level", "tree_of_a_warp", (1,), (32,),
              lambda rng: (floats(64), empty(1)), lambda a: {1: total(a[0])}),
    Neighbor("rows from hand to hand", "shuffles only", "rows_from_hand_to_hand", (3,), (32,),
              lambda rng: (floats(10, 20), rows(rng, 10, 99), LONG_BAGS.copy(), empty(3, 20),
                           i32(20)),
              lambda a: {3: bag_sums(*a[:3])}),
    Neighbor("mask of those who come", "made before the branch", "mask_of_those_who_come",
              (1,), (32,), lambda rng: (rows(rng, 5, 20), room(20), i32(20)),
              lambda a: {1: largest_and_how_often(a[0])}),
    Neighbor("partial warp", "48 threads", "partial_warp", (1,), (48,),
              lambda rng: (floats(48), empty(48)), lambda a: {1: of_each_warp(a[0])}),
    Neighbor("halves of a warp", "own mask, own width", "halves_of_a_warp", (1,), (32,),
              lambda rng: (floats(32), empty(32)), lambda a: {1: halves(a[0])}),
    Neighbor("one atomic for equal rows", "__match_any_sync", "one_atomic_for_equal_rows",
              (1,), (32,), lambda rng: (rows(rng, 10, 32), zeros(10)),
              lambda a: {1: np.bincount(a[0], minlength=10)}),
]  # fmt: skip

GLOBAL = [
    Neighbor("bag mean", "an empty bag, an empty loop", "bag_mean", (1,), (32,),
              lambda rng: (floats(10, 8), rows(rng, 10, 10), BAGS.copy(), empty(3, 8), i32(3),
                           i32(8)),
              lambda a: {3: bag_means(*a[:3])}, tolerance=1e-6),
    Neighbor("bag sum with float4", "aligned rows", "bag_sum_float4", (3,), (2,),
              lambda rng: (floats(10, 8), rows(rng, 10, 10), BAGS.copy(), empty(3, 8)),
              lambda a: {3: bag_sums(*a[:3])}),
    Neighbor("backward", "atomicAdd", "backward", (3,), (8,),
              lambda rng: (floats(3, 8), rows(rng, 6, 10), BAGS.copy(), empty(6, 8), i32(8)),
              lambda a: {3: scattered(*a[:4])}),
    Neighbor("own rows in place", "blocks with disjoint rows", "own_rows_in_place", (4,), (8,),
              lambda rng: (floats(4, 8), i32(8)), lambda a: {0: 8 * a[0]}),
    Neighbor("one table for all", "read by everybody", "one_table_for_all", (2,), (32,),
              lambda rng: (floats(50), floats(7), empty(50), i32(50)),
              lambda a: {2: one_table(*a[:2])}),
    Neighbor("stride of the grid", "each element once", "stride_of_the_grid", (2,), (32,),
              lambda rng: (floats(150), empty(150), i32(150)), lambda a: {1: a[0] ** 2}),
    Neighbor("bytes and half-words", "neighbors in one word", "bytes_and_half_words",
              (1,), (64,),
              lambda rng: (np.arange(64, dtype=np.uint8), np.arange(64, dtype=np.int16)),
              lambda a: {0: a[0] + 1, 1: a[1] * 2}),
    Neighbor("bytes in a tile", "neighbors in one word", "bytes_in_a_tile", (1,), (64,),
              lambda rng: (np.arange(64, dtype=np.uint8), zeros(64, np.uint8)),
              lambda a: {1: a[0][::-1]}),
    Neighbor("histogram", "all bins cleared", "histogram", (2,), (64,),
              lambda rng: (rows(rng, 100, 300), zeros(100), i32(300)),
              lambda a: {1: np.bincount(a[0], minlength=100)}),
    Neighbor("a place for each", "atomicAdd gives places", "a_place_for_each", (2,), (32,),
              lambda rng: (zeros(1), room(50), i32(50)),
              lambda a: {0: np.array([64]), 1: np.full(50, 7)}),
    Neighbor("count rows once", "atomicExch", "count_rows_once", (2,), (32,),
              lambda rng: (rows(rng, 40, 60), zeros(40), zeros(1), i32(60)),
              lambda a: {1: np.bincount(a[0], minlength=40) > 0,
                         2: np.array([len(set(a[0].tolist()))])}),
    Neighbor("bitmap", "atomicOr", "bitmap", (2,), (32,),
              lambda rng: (rows(rng, 64, 50), zeros(2, u32), i32(50)),
              lambda a: {1: bits_of(a[0], 2)}),
]  # fmt: skip

BETWEEN_BLOCKS = [
    Neighbor("last block adds up", "fence before the ticket", "last_block_adds_up", (4,), (32,),
              lambda rng: (floats(4), empty(4), zeros(1, u32), empty(1)),
              lambda a: {1: 2 * a[0], 2: np.array([4]), 3: total(2 * a[0])}),
    Neighbor("last block adds up rows", "and a barrier", "last_block_adds_up_rows", (3,), (64,),
              lambda rng: (floats(3, 64), empty(3, 64), zeros(1, u32), empty(64)),
              lambda a: {1: a[0], 2: np.array([3]), 3: a[0].sum(0)[::-1]}),
    Neighbor("one fence for the block", "behind the barrier", "one_fence_for_the_block",
              (3,), (64,),
              lambda rng: (floats(3, 64), empty(3, 64), zeros(1, u32), empty(64)),
              lambda a: {1: a[0], 2: np.array([3]), 3: a[0].sum(0)[::-1]}),
    Neighbor("lock with fences", "taken and given back by atomics", "lock_with_fences",
              (3,), (32,), lambda rng: (floats(3), zeros(1), zeros(1, np.float32)),
              lambda a: {1: np.zeros(1), 2: total(a[0])}),
    Neighbor("message and flag", "two warps of a block", "message_and_flag", (1,), (64,),
              lambda rng: (floats(1), empty(1), zeros(1), empty(1)),
              lambda a: {1: a[0], 2: np.ones(1), 3: 2 * a[0]}),
    Neighbor("message within the block", "__threadfence_block", "message_within_the_block",
              (1,), (64,), lambda rng: (floats(1), empty(1)), lambda a: {1: 2 * a[0]}),
    Neighbor("volatile flag", "with fences", "volatile_flag", (3,), (32,),
              lambda rng: (floats(1), empty(1), zeros(1), zeros(1), zeros(3, np.float32)),
              lambda a: {1: a[0], 2: i32(3), 3: np.ones(1), 4: np.array([0, a[0][0], a[0][0]])}),
    Neighbor("volatile flag of a block", "between warps", "volatile_flag_of_a_block", (1,), (64,),
              lambda rng: (floats(32), empty(32)), lambda a: {1: a[0][::-1]}, fast=False),
    Neighbor("scan in one launch", "a chain of flags", "scan_in_one_launch", (6,), (32,),
              lambda rng: (floats(6), empty(6), zeros(1), zeros(6), empty(6)),
              lambda a: {1: np.cumsum(a[0]), 2: i32(6), 3: np.ones(6),
                         4: np.cumsum(a[0]) - a[0]}),
    Neighbor("counter set back", "by the last block", "last_block_sets_its_counter_back",
              (3,), (64,),
              lambda rng: (floats(3, 64), empty(3, 64), zeros(1, u32), empty(64)),
              lambda a: {1: a[0], 3: a[0].sum(0)[::-1]}),
]  # fmt: skip

WARPS += [
    Neighbor("one atomic for active lanes", "aggregated", "one_atomic_for_active_lanes",
              (1,), (32,),
              lambda rng: (np.full(32, 7, np.int32), zeros(1), room(32), i32(32)),
              lambda a: {1: np.array([32]), 2: np.full(32, 7)}),
]  # fmt: skip

NOTED = [
    Neighbor("guard before the barrier", "an early exit", "guard_before_the_barrier", (2,), (64,),
              lambda rng: (floats(100), empty(100), i32(100)),
              lambda a: {1: np.concatenate([a[0][63::-1], a[0][:63:-1]])},
              notes=("divergent barrier",)),
    Neighbor("found by several", "the same value", "found_by_several", (2,), (32,),
              lambda rng: (np.arange(60, dtype=np.int32) % 7, zeros(1), i32(3), i32(60)),
              lambda a: {1: np.ones(1)}, notes=("race",)),
    Neighbor("sum by compare-and-swap", "a first guess", "add_by_compare_and_swap", (2,), (64,),
              lambda rng: (np.arange(100, dtype=np.float64), np.zeros(1), i32(100)),
              lambda a: {1: total(a[0])}, notes=("race",)),
    Neighbor("largest by compare-and-swap", "a look", "largest_by_compare_and_swap", (2,), (64,),
              lambda rng: (np.abs(floats(100)), np.zeros(1, np.float32), i32(100)),
              lambda a: {1: a[0].max(keepdims=True)}, notes=("race",)),
    Neighbor("active lanes of a branch", "and of the other", "active_lanes_of_a_branch",
              (1,), (32,), lambda rng: (floats(32), empty(32)),
              lambda a: {1: np.where(np.arange(32) % 4 == 1, a[0] + a[0][1], a[0] - a[0][2])},
              notes=("warp mask",)),
    Neighbor("two barriers in a line", "of two branches", "two_barriers_in_a_line", (1,), (64,),
              lambda rng: (floats(64), empty(64)),
              lambda a: {1: np.concatenate([-a[0][:31:-1], a[0][31::-1]])},
              notes=("divergent barrier",)),
]  # fmt: skip

NEIGHBORS: list[Neighbor] = [*BARRIERS, *TILES, *WARPS, *GLOBAL, *BETWEEN_BLOCKS, *NOTED]
