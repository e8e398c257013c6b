"""Faulty kernels, one fault each, and what the checked mode must say about them.

The kernels are in `faults.cu`, where the lines concerned are marked "// FAULT". Each row of
`FAULTS` tells how a kernel is launched and what must come of it: either a `KernelFault` of one of
the kinds named, at one of the marked lines (for a race or a deadlock: naming all of them), or, if
the launch itself is wrong, a TypeError or ValueError before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Make = Callable[[np.random.Generator], tuple[Any, ...]]
SOURCE = Path(__file__).with_name("faults.cu")

# A missing barrier is a race. But if the reader happens to come first there is nothing yet to race
# with: the memory it reads was never written, which is as good a report.
RACE_OR_TOO_EARLY = ("race", "uninitialized shared memory")
BEHIND_A_SHARED_ARRAY = ("array index", "out of bounds")
OUTSIDE = ("out of bounds", "wild pointer")
NOT_ALL_LANES = ("warp mask", "deadlock")
FOR_EVER = ("endless", "deadlock")


@dataclass(frozen=True)
class Fault:
    """One faulty launch.

    kind: the kinds of KernelFault, any of which is right; () if `error` is raised instead.
    array: the kernel's parameter that the report must name, or None where none is concerned.
    error: for what is found before launch, the exception; then `parameter` is in its message.
    options: for the compiler. seconds: the time limit to set, for kernels that never end.
    strict: a fault with settings(strict=True) only, else a note.
    """

    name: str
    about: str
    kind: tuple[str, ...]
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    make: Make
    shared_mem: int = 0
    array: str | None = None
    error: tuple[type[Exception], ...] | None = None
    parameter: str | None = None
    options: tuple[str, ...] = ()
    seconds: float = 10.0
    strict: bool = False


@cache
def source() -> str:
    """The text of faults.cu."""
    return SOURCE.read_text(encoding="utf-8")


def marked_lines(kernel: str) -> tuple[int, ...]:
    """The numbers of the marked lines of a kernel, from its head to the next one's."""
    lines = source().splitlines()
    heads = [i for i, line in enumerate(lines) if "__global__" in line]
    begin = next(i for i in heads if re.search(rf"\b{kernel}\(", lines[i]))
    end = min((i for i in heads if i > begin), default=len(lines))
    return tuple(i + 1 for i in range(begin, end) if "// FAULT" in lines[i])


# ---- arguments -----------------------------------------------------------------------------------


def floats(*shape: int) -> np.ndarray:
    """Small whole numbers as float32: every sum of them is exact."""
    return (np.arange(np.prod(shape)) % 7 - 3).reshape(shape).astype(np.float32)


def empty(*shape: int) -> np.ndarray:
    """Room for a float32 result, filled with -1 so that a change shows."""
    return np.full(shape, -1, np.float32)


def ints(*values: int) -> np.ndarray:
    """An int32 array."""
    return np.array(values, np.int32)


def room(n: int) -> np.ndarray:
    """Room for an int32 result, filled with -1."""
    return np.full(n, -1, np.int32)


def zeros(n: int, dtype: Any = np.int32) -> np.ndarray:
    """Counters."""
    return np.zeros(n, dtype)


def rows(rng: np.random.Generator, V: int, n: int) -> np.ndarray:
    """n rows of a table of V rows."""
    return rng.integers(0, V, n).astype(np.int32)


i32, u32, f32 = np.int32, np.uint32, np.float32


def bag_sum_arguments(rng: np.random.Generator) -> list[Any]:
    """Right arguments for bag_sum: w, idx, off, out, factor, D."""
    return [floats(10, 8), rows(rng, 10, 6), ints(0, 2, 2, 6), empty(3, 8), f32(2), i32(8)]


def bag_sum_but(position: int, value: Callable[[Any], Any]) -> Make:
    """The right arguments for bag_sum, but one is replaced by value(what it was)."""

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        arguments = bag_sum_arguments(rng)
        arguments[position] = value(arguments[position])
        return tuple(arguments)

    return make


def strided(array: np.ndarray) -> np.ndarray:
    """The same values, as every second column of a wider array."""
    wide = np.repeat(array, 2, axis=1)
    return wide[:, ::2]


# ---- the table -----------------------------------------------------------------------------------

OUT_OF_BOUNDS = [
    Fault("last bag has no end", "off[B] does not exist", ("out of bounds",),
          "last_bag_has_no_end", (1,), (32,),
          lambda rng: (ints(0, 3, 4, 6), room(4), i32(4)), array="off"),
    Fault("one column too many", "d <= D", ("out of bounds",),
          "one_column_too_many", (1,), (32,),
          lambda rng: (empty(1, 40), i32(40)), array="out"),
    Fault("missing guard", "no `if (i < n)`", ("out of bounds",),
          "missing_guard", (2,), (64,),
          lambda rng: (floats(100), empty(100), i32(100)), array="x"),
    Fault("padding taken for a row", "row -1", ("out of bounds",),
          "padding_taken_for_a_row", (1,), (8,),
          lambda rng: (floats(10, 8), ints(3, 7, -1, 2), empty(8), i32(4), i32(8)), array="w"),
    Fault("row behind the table", "row V in idx", ("out of bounds",),
          "row_behind_the_table", (2,), (8,),
          lambda rng: (floats(10, 8), ints(3, 9, 10, 2), ints(0, 2, 4), empty(2, 8), i32(8)),
          array="w"),
    Fault("dimensions swapped", "out[d * D + b]", ("out of bounds",),
          "dimensions_swapped", (1, 3), (4, 8),
          lambda rng: (empty(3, 20), i32(3), i32(20)), array="out"),
    Fault("row * D in 32 bits", "the product wraps round", OUTSIDE,
          "row_times_d_in_32_bits", (2,), (16,),
          lambda rng: (floats(4, 128), np.array([40_000_001, 40_000_003], u32), empty(2, 128),
                       u32(40_000_000), u32(128))),
    Fault("bytes counted twice", "sizeof in pointer arithmetic", ("out of bounds",),
          "bytes_counted_twice", (3,), (8,),
          lambda rng: (floats(10, 8), ints(1, 2, 9), empty(3, 8), i32(8)), array="w"),
    Fault("countdown without a sign", "unsigned k >= 0", OUTSIDE,
          "countdown_without_a_sign", (1,), (32,),
          lambda rng: (ints(4, 1, 3), room(1), i32(3), i32(7))),
    Fault("length without a sign", "offsets that decrease", ("out of bounds",),
          "length_without_a_sign", (2,), (1,),
          lambda rng: (ints(1, 2, 3, 4), ints(0, 3, 2), room(2)), array="idx"),
    Fault("no left neighbor", "ids[-1]", ("out of bounds",),
          "no_left_neighbor", (1,), (32,),
          lambda rng: (ints(1, 1, 2, 2, 2), room(5), i32(5)), array="ids"),
    Fault("last float4 hangs over", "n is no multiple of 4", ("out of bounds",),
          "last_float4_hangs_over", (1,), (32,),
          lambda rng: (floats(10), empty(3), i32(10)), array="x"),
    Fault("histogram from one", "an atomic behind the end", ("out of bounds",),
          "histogram_from_one", (1,), (32,),
          lambda rng: (ints(1, 2, 3, 3, 2), zeros(3), i32(5)), array="bins"),
    Fault("offsets read as 64 bit", "int32 offsets, read as int64", ("out of bounds",),
          "offsets_read_as_64_bit", (1,), (32,),
          lambda rng: (ints(0, 2, 4, 6, 8), room(4), i32(4)), array="off"),
]  # fmt: skip

MISALIGNED = [
    Fault("float4 on rows of six", "every second row is misaligned", ("misaligned",),
          "float4_on_rows_of_six", (2,), (1,),
          lambda rng: (floats(4, 6), ints(2, 1), empty(2), i32(6)), array="w"),
    Fault("float4 of a shifted view", "x[1:] begins four bytes late", ("misaligned",),
          "float4_of_a_shifted_view", (1,), (32,),
          lambda rng: (floats(33)[1:], empty(8), i32(32)), array="x"),
    Fault("begin and end in one load", "int2 at an odd offset", ("misaligned",),
          "begin_and_end_in_one_load", (1,), (32,),
          lambda rng: (ints(0, 2, 5, 6), room(3), i32(3)), array="off"),
    Fault("double in a row of floats", "rows of three floats", ("misaligned",),
          "double_in_a_row_of_floats", (2,), (1,),
          lambda rng: (empty(2, 3), floats(2, 3), i32(3)), array="work"),
    Fault("tile behind six ints", "float4 in dynamic shared memory", ("misaligned",),
          "tile_behind_six_ints", (1,), (8,),
          lambda rng: (floats(32), empty(8), i32(6)), shared_mem=24 + 8 * 16),
]  # fmt: skip

TOO_SMALL = [
    Fault("tile for 32 threads", "static array, 64 threads", BEHIND_A_SHARED_ARRAY,
          "tile_for_32_threads", (1,), (64,), lambda rng: (floats(64), empty(64))),
    Fault("tile index swapped", "tile[8][32] read as [x][y]", BEHIND_A_SHARED_ARRAY,
          "tile_index_swapped", (1,), (32, 8), lambda rng: (floats(8, 32), empty(8, 32))),
    Fault("room for four columns", "local array, six columns", BEHIND_A_SHARED_ARRAY,
          "room_for_four_columns", (1,), (32,), lambda rng: (floats(192), empty(32), i32(192))),
    Fault("dynamic memory forgotten", "shared_mem=0", BEHIND_A_SHARED_ARRAY,
          "reverse_in_dynamic_memory", (1,), (64,), lambda rng: (floats(64), empty(64))),
    Fault("dynamic memory in elements", "shared_mem counts bytes", BEHIND_A_SHARED_ARRAY,
          "reverse_in_dynamic_memory", (1,), (64,), lambda rng: (floats(64), empty(64)),
          shared_mem=64),
    Fault("too much static memory", "64 KB, the limit is 48", ("shared memory",),
          "rows_in_static_memory", (1,), (128,), lambda rng: (floats(128), empty(128)),
          options=("-DROWS=128",)),
]  # fmt: skip

UNINITIALIZED = [
    Fault("half-filled tile", "the last block has 36 elements", ("uninitialized shared memory",),
          "half_filled_tile", (2,), (64,), lambda rng: (floats(100), empty(2), i32(100))),
    Fault("sum without a zero", "nobody writes the zero", ("uninitialized shared memory",),
          "sum_without_a_zero", (1,), (64,), lambda rng: (floats(64), empty(1))),
    Fault("thirty-two sums of four warps", "part[4:] is never written",
          ("uninitialized shared memory",),
          "thirty_two_sums_of_four_warps", (1,), (128,), lambda rng: (floats(128), empty(1))),
    Fault("bins half cleared", "100 bins, 64 threads", ("uninitialized shared memory",),
          "bins_half_cleared", (1,), (64,),
          lambda rng: (np.arange(100, dtype=i32), room(1), i32(100))),
]  # fmt: skip

NO_BARRIER = [
    Fault("reverse without barrier", "before reading", RACE_OR_TOO_EARLY,
          "reverse_without_barrier", (1,), (64,), lambda rng: (floats(64), empty(64))),
    Fault("tile used again too soon", "before writing again", ("race",),
          "tile_used_again_too_soon", (1,), (64,),
          lambda rng: (floats(64), floats(64), empty(64))),
    Fault("no barrier at the end of the loop", "rows of the next round", ("race",),
          "no_barrier_at_the_end_of_the_loop", (1,), (40,),
          lambda rng: (floats(10, 40), rows(rng, 10, 80), ints(0, 80), empty(1, 40), i32(40))),
    Fault("tree without barriers", "one barrier before the loop, none inside", ("race",),
          "tree_without_barriers", (1,), (128,), lambda rng: (floats(128), empty(1))),
    Fault("warp sums read at once", "before all warps have written", RACE_OR_TOO_EARLY,
          "warp_sums_read_at_once", (1,), (128,), lambda rng: (floats(128), empty(1))),
    Fault("zero without barrier", "others add before the zero is there", RACE_OR_TOO_EARLY,
          "zero_without_barrier", (1,), (64,), lambda rng: (floats(64), empty(1))),
    Fault("result taken too soon", "plain read while others add", ("race",),
          "result_taken_too_soon", (1,), (64,), lambda rng: (floats(64), empty(1))),
    Fault("two reductions in one array", "softmax: between maximum and sum", ("race",),
          "two_reductions_in_one_array", (1,), (64,), lambda rng: (floats(64), empty(64))),
    Fault("cursor moved too soon", "before all have read it", ("race",),
          "cursor_moved_too_soon", (1,), (64,), lambda rng: (room(192), room(64), i32(3))),
    Fault("shuffle taken for a barrier", "a shuffle orders no memory", ("race",),
          "shuffle_taken_for_a_barrier", (1,), (32,), lambda rng: (floats(32), empty(32))),
    Fault("ballot taken for a barrier", "nor does a ballot", ("race",),
          "ballot_taken_for_a_barrier", (1,), (32,),
          lambda rng: (np.arange(32, dtype=i32), room(32))),
    Fault("warp in step", "no __syncwarp in the last five steps", ("race",),
          "warp_in_step", (1,), (32,), lambda rng: (floats(64), empty(1))),
    Fault("syncwarp for two warps", "the tile belongs to two warps", RACE_OR_TOO_EARLY,
          "syncwarp_for_two_warps", (1,), (64,), lambda rng: (floats(64), empty(64))),
]  # fmt: skip

DIVERGENT = [
    Fault("barrier in a branch", "half of the block has gone", ("divergent barrier",),
          "barrier_in_a_branch", (1,), (64,), lambda rng: (floats(128), empty(64)), strict=True),
    Fault("barrier after the guard", "some threads have returned", ("divergent barrier",),
          "barrier_after_the_guard", (2,), (64,),
          lambda rng: (floats(100), empty(100), i32(100)), strict=True),
    Fault("a barrier on each side", "of an if", ("divergent barrier",),
          "a_barrier_on_each_side", (1,), (64,), lambda rng: (floats(64), empty(64))),
    Fault("barrier in an uneven loop", "12 rows, 8 threads", ("divergent barrier",),
          "barrier_in_an_uneven_loop", (1,), (32, 8),
          lambda rng: (floats(12, 32), empty(32), i32(12)), strict=True),
]  # fmt: skip

RACES = [
    Fault("lost update", "two bags, one row", ("race",),
          "lost_update", (2,), (8,),
          lambda rng: (floats(2, 8), ints(1, 4, 4, 0), ints(0, 2, 4), empty(6, 8), i32(8)),
          array="dw"),
    Fault("shared +=", "one sum for all threads", ("race",),
          "shared_plus_equals", (1,), (64,), lambda rng: (floats(64), empty(1))),
    Fault("one element for all", "each thread its own value", ("race",),
          "one_element_for_all", (1,), (32,), lambda rng: (floats(32), empty(1)), array="out"),
    Fault("plain look at a counter", "others increase it atomically", ("race",),
          "plain_look_at_a_counter", (2,), (32,),
          lambda rng: (rows(rng, 10, 64), zeros(1), room(8), i32(8)), array="count"),
    Fault("index of the block only", "threadIdx.x for the index in the grid", ("race",),
          "index_of_the_block_only", (2,), (32,),
          lambda rng: (floats(64), empty(64), i32(64)), array="out"),
    Fault("stride of one block", "each block writes everything", ("race",),
          "stride_of_one_block", (2,), (32,),
          lambda rng: (floats(64), empty(64), i32(64)), array="out", strict=True),
    Fault("barrier taken for the grid", "__syncthreads waits for one block", ("race",),
          "barrier_taken_for_the_grid", (4,), (32,),
          lambda rng: (floats(128), np.zeros(4, f32), empty(1)), array="part"),
    Fault("last block without fence", "the ticket overtakes the sum", ("race",),
          "last_block_without_fence", (4,), (32,),
          lambda rng: (floats(4), empty(4), zeros(1, u32), empty(1)), array="part"),
    Fault("fence for the block", "and readers in other blocks", ("race",),
          "last_block_with_a_fence_for_the_block", (4,), (32,),
          lambda rng: (floats(4), empty(4), zeros(1, u32), empty(1)), array="part"),
    Fault("counted for the block", "atomicAdd_block, and two blocks", ("race",),
          "counted_for_the_block", (2,), (32,), lambda rng: (zeros(1),), array="count"),
    Fault("volatile flag without fence", "nothing orders the message", ("race",),
          "volatile_flag_without_fence", (2,), (32,),
          lambda rng: (floats(1), empty(1), zeros(1), zeros(1), empty(1)), array="flag"),
    Fault("warp in step with fences", "a fence is no barrier", ("race",),
          "warp_in_step_with_fences", (1,), (32,), lambda rng: (floats(64), empty(1))),
    Fault("ticket before the barrier", "the others have not written yet", ("race",),
          "ticket_before_the_barrier", (3,), (64,),
          lambda rng: (floats(3, 64), empty(3, 64), zeros(1, u32), empty(64)), array="part"),
    Fault("two columns of the next bag", "rows of six, four columns a thread", ("race",),
          "two_columns_of_the_next_bag", (3,), (2,),
          lambda rng: (empty(4, 6), i32(6)), array="out"),
    Fault("lock without fence", "the next owner sees the old total", ("race",),
          "lock_without_fence", (3,), (32,),
          lambda rng: (floats(3), zeros(1), zeros(1, f32)), array="total"),
    Fault("lock given back by a store", "plain against atomic", ("race",),
          "lock_given_back_by_a_store", (3,), (32,),
          lambda rng: (floats(3), zeros(1), zeros(1, f32)), array="lock"),
    Fault("shift in place", "the neighbor may be overwritten", ("race",),
          "shift_in_place", (1,), (32,), lambda rng: (floats(20), i32(20)), array="x"),
    Fault("table changed while read", "one block writes, another reads", ("race",),
          "table_changed_while_read", (2,), (8,),
          lambda rng: (floats(4, 8), ints(2), empty(8), i32(8)), array="w"),
    Fault("seen, then set", "two steps", ("race",),
          "seen_then_set", (1,), (32,),
          lambda rng: (ints(3, 1, 3, 3, 2, 1), zeros(5), i32(6)), array="seen"),
    Fault("bitmap without atomics", "|= writes all 32 bits", ("race",),
          "bitmap_without_atomics", (1,), (32,),
          lambda rng: (ints(3, 1, 40, 33), zeros(2, u32), i32(4)), array="bits"),
]  # fmt: skip

WARPS = [
    Fault("lane not in its mask", "the upper half uses the lower's", ("warp mask",),
          "lane_not_in_its_mask", (1,), (32,), lambda rng: (floats(32), empty(32))),
    Fault("full mask in half a warp", "the others wait at a barrier", NOT_ALL_LANES,
          "full_mask_in_half_a_warp", (1,), (32,), lambda rng: (floats(32), empty(32))),
    Fault("lanes disagree", "two masks that overlap", NOT_ALL_LANES,
          "lanes_disagree", (1,), (32,), lambda rng: (floats(32), empty(32))),
    Fault("ballot among some", "full mask in a branch", NOT_ALL_LANES,
          "ballot_among_some", (1,), (32,),
          lambda rng: (np.arange(32, dtype=i32) % 5 - 1, room(32))),
    Fault("shuffle in an uneven loop", "lanes leave the loop one by one", NOT_ALL_LANES,
          "shuffle_in_an_uneven_loop", (1,), (32,),
          lambda rng: (np.cumsum(np.arange(33) % 4).astype(i32), room(32))),
    Fault("shuffle from those who left", "n = 20, a full tree", ("shuffle source",),
          "shuffle_from_those_who_left", (1,), (32,),
          lambda rng: (floats(20), empty(1), i32(20))),
    Fault("shuffle without a width", "lane 8 reads lane 16", ("shuffle source",),
          "shuffle_without_a_width", (1,), (32,), lambda rng: (floats(32), empty(32))),
    Fault("total of a lane that is not", "48 threads, lane 31", ("shuffle source",),
          "total_of_a_lane_that_is_not", (1,), (48,), lambda rng: (room(48), room(48))),
]  # fmt: skip

COPIES = [
    Fault("copy not waited for", "no wait at all", ("async copy",),
          "copy_not_waited_for", (1,), (64,), lambda rng: (floats(64), empty(64))),
    Fault("waited for the other copy", "wait_prior(1) for the last copy", ("async copy",),
          "waited_for_the_other_copy", (1,), (64,), lambda rng: (floats(128), empty(64))),
    Fault("waited but no barrier", "own copy waited for, another's read",
          ("race", "async copy", "uninitialized shared memory"),
          "waited_but_no_barrier", (1,), (64,), lambda rng: (floats(64), empty(64))),
]  # fmt: skip

NO_END = [
    Fault("padding is never passed", "continue skips k++", ("endless",),
          "padding_is_never_passed", (1,), (1,),
          lambda rng: (ints(4, 0, 2), room(1), i32(3), i32(0)), seconds=1.0),
    Fault("halving for ever", "h >= 0", ("endless",),
          "halving_for_ever", (1,), (64,), lambda rng: (floats(64), empty(1)), seconds=1.0),
    Fault("flag behind the barrier", "each waits for the other", FOR_EVER,
          "flag_behind_the_barrier", (1,), (32,), lambda rng: (zeros(1), room(32)), seconds=1.0),
    Fault("lock taken home", "an empty bag returns with the lock", FOR_EVER,
          "lock_taken_home", (3,), (1,),
          lambda rng: (ints(2, 0, 0), zeros(1), zeros(1)), seconds=1.0),
]  # fmt: skip

REST = [
    Fault("table at address zero", "never filled in", ("wild pointer",),
          "table_at_address_zero", (2,), (8,), lambda rng: (zeros(2, np.uint64), empty(2))),
    Fault("pointer never set", "a __device__ pointer", ("wild pointer",),
          "pointer_never_set", (1,), (8,), lambda rng: (empty(8),)),
    Fault("index taken for a pointer", "row 40 as an address", ("wild pointer",),
          "index_taken_for_a_pointer", (2,), (8,),
          lambda rng: (np.array([40, 80], np.int64), empty(8))),
    Fault("mean of an empty bag", "in whole numbers", ("division by zero",),
          "mean_of_an_empty_bag", (1,), (32,),
          lambda rng: (ints(4, 2, 6), ints(0, 2, 2, 3), room(3), i32(3))),
    Fault("no groups", "remainder by zero", ("division by zero",),
          "no_groups", (1,), (32,), lambda rng: (room(32), i32(0))),
    Fault("assertion fails", "row 12 of 10", ("assertion",),
          "assertion_fails", (1,), (4,), lambda rng: (ints(3, 9, 12, 0), empty(4), i32(10))),
]  # fmt: skip


def _launch(
    name: str,
    about: str,
    position: int,
    value: Callable[[Any], Any],
    parameter: str,
    *error: type[Exception],
) -> Fault:
    """bag_sum with one wrong argument."""
    return Fault(name, about, (), "bag_sum", (3,), (8,), bag_sum_but(position, value),
                 error=error or (TypeError,), parameter=parameter)  # fmt: skip


AT_LAUNCH = [
    _launch("int64 for int*", "torch's indices are int64", 1,
            lambda a: a.astype(np.int64), "idx"),
    _launch("float64 for float*", "NumPy's floats are float64", 0,
            lambda a: a.astype(np.float64), "w"),
    _launch("float16 for float*", "half the width", 0, lambda a: a.astype(np.float16), "w"),
    _launch("int32 for float*", "the same width, other bits", 3,
            lambda a: a.astype(np.int32), "out"),
    _launch("Python float for float", "CuPy passes it as a double", 4, float, "factor"),
    _launch("float for int", "a size as a float32", 5, np.float32, "D"),
    _launch("list for a pointer", "not an array", 2, list, "off"),
    _launch("array for a scalar", "D in an array", 5, lambda a: ints(8), "D"),
    _launch("strided view", "every second column", 0, strided, "w", TypeError, ValueError),
    _launch("transposed view", "columns first in memory", 3,
            lambda a: empty(8, 3).T, "out", TypeError, ValueError),
    Fault("too few arguments", "D is missing", (), "bag_sum", (3,), (8,),
          lambda rng: tuple(bag_sum_arguments(rng)[:-1]), error=(TypeError,), parameter="D"),
    Fault("too many arguments", "one more", (), "bag_sum", (3,), (8,),
          lambda rng: (*bag_sum_arguments(rng), i32(3)), error=(TypeError,)),
    Fault("block of 2048", "1024 is the limit", (), "bag_sum", (3,), (2048,),
          lambda rng: tuple(bag_sum_arguments(rng)), error=(ValueError,)),
    Fault("block of 32 x 64", "1024 is the limit of the product", (), "bag_sum", (3,), (32, 64),
          lambda rng: tuple(bag_sum_arguments(rng)), error=(ValueError,)),
    Fault("too much dynamic memory", "a block gets 48 KB unless it asks", (),
          "reverse_in_dynamic_memory", (1,), (64,), lambda rng: (floats(64), empty(64)),
          shared_mem=60_000, error=(ValueError,), parameter="shared_mem"),
    Fault("empty grid", "a grid has at least one block", (), "bag_sum", (0,), (8,),
          lambda rng: tuple(bag_sum_arguments(rng)), error=(ValueError,)),
    Fault("more threads than promised", "__launch_bounds__(128), 256 threads", (),
          "promises_128_threads", (1,), (256,), lambda rng: (floats(256), empty(256)),
          error=(ValueError,)),
]  # fmt: skip

FAULTS: list[Fault] = [
    *OUT_OF_BOUNDS, *MISALIGNED, *TOO_SMALL, *UNINITIALIZED, *NO_BARRIER, *DIVERGENT, *RACES,
    *WARPS, *COPIES, *NO_END, *REST, *AT_LAUNCH,
]  # fmt: skip
