"""The exercises of chapter 07: a first kernel. Most answers are CUDA source."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import (
    ADDED_TO,
    COMMA,
    FIXED_BLOCK,
    NO_AMPERSAND,
    NO_COMPILE,
    NOT_A_CALL,
    NOT_SOURCE,
    NOT_WRITTEN,
    REFUSED,
    KernelTask,
    Launch,
    by_line,
    element_of,
    kinds_of,
    thread_number,
    threads,
    unwritten,
)
from embag_edu.course.variants import items, reordered, retold
from embag_edu.cuda_on_cpu import KernelFault, Report

# ---- 07.grid --------------------------------------------------------------------------------


def blocks_for(n: int, block: int) -> int:
    """How many blocks give every one of n elements a thread."""
    return max(-(-n // block), 1)


def _rounded(n, block):
    return max(round(n / block), 1) if n != 1 else 1


def _floor(n, block):
    return max(n // block, 1)


def _one_more(n, block):
    return n // block + 1


def _none_for_nothing(n, block):
    return -(-n // block)


def _a_block_for_each(n, block):
    return max(n, 1)


def _always_32(n, block):
    return max(-(-n // 32), 1)


def _a_float(n, block):
    return float(max(np.ceil(n / block), 1))


def _grid_cases() -> list[Case]:
    return [
        Case("the last block is not full", 1000, 128),
        Case("it fits", 1024, 128),
        Case("one element", 1, 128),
        Case("one more than a block", 129, 128),
        Case("one thread in a block", 5, 1),
        Case("no element", 0, 64),
        Case("many elements", 10**9, 256),
    ]


def _any_grid(random):
    block = int(random.choice([1, 2, 7, 32, 128, 1024]))
    full = draw.size(random, 0, 5) * block
    return max(full + draw.size(random, -1, 1), 0), block


GRID = Exercise(
    "07.grid",
    "the number of blocks for n elements",
    blocks_for,
    _grid_cases,
    random_call=_any_grid,
    hints=(
        "Every element needs a thread. Threads that are left over do no harm: the kernel guards.",
        "Divide and round up, in whole numbers. And what does a launch say to a grid of 0 blocks?",
        "Rounding up is rounding down with both signs turned; take the larger one of that and 1.",
    ),
    wrong=(
        Wrong(
            _rounded,
            "Rounded to the nearest: if the last block is less than half full, it is "
            "missing. Round up.",
        ),
        Wrong(
            _floor,
            "Rounded down: the elements of the last block, which is not full, have no thread.",
        ),
        Wrong(
            _one_more,
            "Where it fits exactly, this is one block too many. It does no harm to "
            "the result, but a whole block of threads does nothing.",
        ),
        Wrong(_none_for_nothing, "A launch needs at least one block: a grid of 0 is refused."),
        Wrong(_a_block_for_each, "That is a block for each element. A block has many threads."),
        Wrong(
            _always_32, "A block is as large as the argument block says; 32 is the size of a warp."
        ),
        Wrong(_a_float, "A grid is a whole number: float division has crept in."),
    ),
    unproved="that the kernel guards against the threads left over.",
)

# ---- 07.sectors -----------------------------------------------------------------------------

_LANE = np.arange(32)
PATTERNS = (  # what lane i reads, the bytes of an element, the elements; what to say if missed
    ("x[i]", 4, _LANE, "x[i]: 32 numbers of 4 bytes in a row are 128 bytes."),
    (
        "x[i + 1]",
        4,
        _LANE + 1,
        "x[i + 1]: the bytes go from 4 to 131. Mark every multiple of 32 on the way: how many "
        "sectors does that touch?",
    ),
    ("x[0]", 4, 0 * _LANE, "x[0]: all lanes want the same number. It is moved once."),
    ("y[i], of doubles", 8, _LANE, "y[i]: a double has 8 bytes, so a sector holds only 4."),
    (
        "x[31 - i]",
        4,
        31 - _LANE,
        "x[31 - i]: the lanes go backwards. Does a sector care who asks for which of its bytes?",
    ),
    ("x[i / 4]", 4, _LANE // 4, "x[i / 4]: four lanes share each number; how many numbers?"),
    ("x[4 * i]", 4, 4 * _LANE, "x[4 * i]: neighbors are 16 bytes apart, two in a sector."),
)
SECTORS = [len(np.unique(size * at // 32)) for _, size, at, _ in PATTERNS]
NOT_SECTORS = f"A list of {len(PATTERNS)} whole numbers is wanted, one for each pattern."


def _judge_sectors(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    try:
        found = [int(value) for value in mine]
    except (TypeError, ValueError):
        return NOT_SECTORS
    if len(found) != len(SECTORS):
        return NOT_SECTORS
    missed = [
        message for (*_, message), f, e in zip(PATTERNS, found, SECTORS, strict=True) if f != e
    ]
    told = [f"{len(missed)} of {len(SECTORS)} are not right yet.", *missed]
    return "\n".join(told) if missed else ""


def _with(at: int, value: int) -> list[int]:
    return [*SECTORS[:at], value, *SECTORS[at + 1 :]]


PREDICT = Exercise(
    "07.sectors",
    "the sectors that a request moves",
    SECTORS,
    hints=(
        "Write down the first and the last byte that the lanes ask for, and the distance between "
        "neighbors.",
        "A sector begins at a multiple of 32. Count the sectors that hold at least one byte that "
        "is asked for, each once.",
        "If the bytes lie without gaps from a to b, the sectors are those of a // 32 to b // 32. "
        "With gaps of less than 32 bytes it is the same; the order of the lanes never matters.",
    ),
    wrong=(
        Wrong([1, 2], NOT_SECTORS),
        Wrong(_with(0, 32), PATTERNS[0][3]),
        Wrong(_with(1, 4), PATTERNS[1][3]),
        Wrong(_with(2, 32), PATTERNS[2][3]),
        Wrong(_with(3, 4), PATTERNS[3][3]),
        Wrong(_with(4, 32), PATTERNS[4][3]),
        Wrong(_with(5, 8), PATTERNS[5][3]),
        Wrong(_with(6, 32), PATTERNS[6][3]),
    ),
    points=2,
    unproved="how fast any of them is: caches and time are not in the count.",
    judge=_judge_sectors,
    vary=reordered("1234567"),
    shown=items(
        (
            "`x[i]`",
            "`x[i + 1]`",
            "`x[0]`",
            "`y[i]`",
            "`x[31 - i]`",
            "`x[i / 4]` (whole numbers: 0, 0, 0, 0, 1, ...)",
            "`x[4 * i]`",
        ),
        SECTORS,
    ),
)

# ---- 07.axpy --------------------------------------------------------------------------------

AXPY = r"""
extern "C" __global__ void axpy(float a, const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
"""
NO_ADD = "y[i] is overwritten: the old y[i] must be added."
NO_FACTOR = "x is added as it is: a, the factor, is missing."
SWAPPED = "The factor stands at the wrong array: a times x, and not a times y."
BOTH_TIMES = (
    "The old y is multiplied by a as well. Only x is: C++ reckons * before +, as Python does."
)
UNGUARDED = "There are more threads than elements, and one without an element goes on all the same."
OFF_BY_ONE = "The guard lets i = n pass, but the last element is n - 1."
SAME_INDEX = (
    "Two threads have the same i. threadIdx.x starts from 0 in every block: add the number of the "
    "block, times the threads of a block."
)
TURNED_INDEX = (
    "Thread and block have changed places in the index: the number of the block is multiplied by "
    "the size of a block, and the number of the thread is added."
)
EACH_DOES_ALL = (
    "Each thread does all elements, and they get into each other's way. The loop is gone: a thread "
    "does the one element that is its own."
)
SERIAL = (
    "The result is right, but a thread does several elements in a loop. Each has its own thread."
)


def _axpy_launch(n: int, block: int, a: float, spare: int = 0) -> Launch:
    """spare: blocks without an element."""
    x, y = np.random.default_rng([7, n]).normal(size=(2, n)).astype(np.float32)
    factor, grid = np.float32(a), -(-n // block) + spare
    i = np.arange(block)[:, None] * block + np.arange(grid)
    turned = y.copy()
    turned[i[i < n]] = (factor * x + y)[i[i < n]]
    mistakes = {
        NO_ADD: factor * x,
        NO_FACTOR: x + y,
        SWAPPED: x + factor * y,
        BOTH_TIMES: factor * (x + y),
        TURNED_INDEX: turned,
    }
    what = f"n = {n}, blocks of {block}"
    return Launch(what, grid, block, (factor, x, y.copy(), n), (2, factor * x + y), mistakes)


def _axpy_launches() -> list[Launch]:
    return [
        _axpy_launch(1, 128, 1.5),
        _axpy_launch(256, 128, 1.5),
        _axpy_launch(300, 128, 1.5),
        _axpy_launch(300, 64, -0.25),
        _axpy_launch(70, 32, 3.0, spare=2),
    ]


def _axpy_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "race":
        return EACH_DOES_ALL if re.search(r"for\s*\(\s*\w+\s+\w+\s*=\s*0\s*;", code) else SAME_INDEX
    if fault.kind == "out of bounds":
        return _past_end(fault, code, "n")
    return ""


def _past_end(fault: KernelFault, code: str, n: str) -> str:
    """Why an index leaves its array at the end: no guard at all, or one that is one too wide."""
    wide = rf"<=\s*{n}\b(?!\s*[-+*/])|\b{n}\s*>=|>\s*{n}\s*\)\s*return"
    if re.search(wide, code):
        return OFF_BY_ONE
    compares = rf"[<>=]\s*{n}\b|\b{n}\s*[<>=]|\b(min|max)\s*\("
    return "" if re.search(compares, code) else UNGUARDED


def _axpy_counts(report: Report, launch: Launch, code: str) -> str:
    return SERIAL if threads(report, "y") < launch.args[3] else ""


AXPY_TASK = KernelTask("07.axpy", "axpy", _axpy_launches, _axpy_fault, _axpy_counts)
_AXPY_BODY = "if (i < n) y[i] = a * x[i] + y[i];"
_AXPY_LOOP = "for (int k = 0; k < n; k++) y[k] = a * x[k] + y[k];"
AXPY_EXERCISE = Exercise(
    "07.axpy",
    "a kernel that adds a times x to y",
    AXPY,
    hints=(
        "Take the kernel `scale` of the chapter as a start. Which parameters does this one have?",
        "Three lines: which element is mine, do I have one at all, and what happens to it.",
        "The index is the one of every kernel in the chapter; the guard compares it with n; the "
        "new value is the product plus the old value.",
    ),
    wrong=(
        Wrong(3, NOT_SOURCE),
        Wrong(AXPY.replace("if (i < n) ", ""), UNGUARDED),
        Wrong(AXPY.replace("i < n", "i <= n"), OFF_BY_ONE),
        Wrong(AXPY.replace("blockIdx.x * blockDim.x + ", ""), SAME_INDEX),
        Wrong(AXPY.replace("blockDim.x", "128"), FIXED_BLOCK),
        Wrong(
            AXPY.replace("blockIdx.x * blockDim.x + threadIdx.x",
                         "threadIdx.x * blockDim.x + blockIdx.x"),
            TURNED_INDEX,
        ),
        Wrong(AXPY.replace(" + y[i]", ""), NO_ADD),
        Wrong(AXPY.replace("a * x[i]", "x[i]"), NO_FACTOR),
        Wrong(AXPY.replace("a * x[i] + y[i]", "x[i] + a * y[i]"), SWAPPED),
        Wrong(AXPY.replace("a * x[i] + y[i]", "a * (x[i] + y[i])"), BOTH_TIMES),
        Wrong(AXPY.replace(_AXPY_BODY, _AXPY_LOOP), EACH_DOES_ALL),
        Wrong(AXPY.replace(_AXPY_BODY, f"if (i == 0) {_AXPY_LOOP}"), SERIAL),
        Wrong(AXPY.replace("y[i];", "y[i]"), NO_COMPILE),
        Wrong(AXPY.replace("float a", "double a"), REFUSED),
    ),
    points=2,
    unproved="that it is fast, or right for more than 2**31 elements: int ends there.",
    judge=AXPY_TASK,
)  # fmt: skip

# ---- 07.repair_bounds -----------------------------------------------------------------------

DIFFERENCES = r"""
// output[i] = input[i + 1] - input[i]: n elements in, n - 1 out.
extern "C" __global__ void differences(const float* input, float* output, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    output[i] = input[i + 1] - input[i];
  }
}
"""
READS_PAST = "The last thread still reads one element behind input: i + 1 must be an element, too."
WRITES_PAST = "A thread writes behind output, which has one element less than input."
BEFORE = "A thread reads before the first element: i - 1 is negative for thread 0."
LAST_LOST = "The last difference was not written: the guard is one too narrow."
FIRST_LOST = "The first difference was not written: thread 0 has work to do, too."
SIGN = "The sign is turned: a difference is the next element minus this one."


def _differences_launch(n: int, block: int, spare: int = 0, apart: int = 1) -> Launch:
    """apart: how far the two elements of a difference stand apart."""
    n += apart - 1  # so there are as many differences
    x = np.random.default_rng([17, n]).normal(size=n).astype(np.float32)
    right = x[apart:] - x[:-apart]
    last, first = right.copy(), right.copy()
    last[-1:] = first[:1] = unwritten(1)
    return Launch(
        f"n = {n}, blocks of {block}", -(-n // block) + spare, block,
        (x, unwritten(n - apart), n),
        (1, right),
        {FIRST_LOST: first, LAST_LOST: last, SIGN: -right},
    )  # fmt: skip


def _differences_launches(apart: int = 1) -> list[Launch]:
    return [
        _differences_launch(128, 128, apart=apart),
        _differences_launch(200, 128, apart=apart),
        _differences_launch(200, 64, apart=apart),
        _differences_launch(65, 32, spare=1, apart=apart),
        _differences_launch(
            2, 128, apart=apart
        ),  # at the end: there, the first one is the last one, too
    ]


def _differences_fault(fault: KernelFault, code: str) -> str:
    if fault.kind != "out of bounds":
        return SAME_INDEX if fault.kind == "race" else ""
    if fault.array == "output":
        return WRITES_PAST
    return BEFORE if element_of(fault) < 0 else READS_PAST


def _further_apart(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The two elements of a difference stand 2 to 12 apart, in the place of 1."""
    k = int(random.integers(2, 13))
    words = {"i + 1": f"i + {k}", "n - 1": f"n - {k}", "n - 2": f"n - {k + 1}",
             "i - 1": f"i - {k}", "one element": f"{k} elements", "next element": "later element",
             "[1, 4, 6]": [1, 4, *[0] * (k - 2), 6, 5], "[3, 2]": [5, 1]}  # fmt: skip
    return retold(exercise, words, launches=partial(_differences_launches, k))


_GUARD = "if (i < n)"
BOUNDS = Exercise(
    "07.repair_bounds",
    "repair a kernel that leaves its array",
    DIFFERENCES.replace(_GUARD, "if (i < n - 1)"),
    hints=(
        "Launch it: the fault names the array, the thread and the block. Which i is that?",
        "Which i is the last one that has a neighbor to its right?",
        "The guard is right for a kernel that touches element i only. This one touches i + 1 too, "
        "so the bound must be lower, by as much.",
    ),
    wrong=(
        Wrong(DIFFERENCES, READS_PAST),
        Wrong(
            DIFFERENCES.replace("input[i + 1]", "input[i + 1 < n ? i + 1 : i]"),
            WRITES_PAST,
        ),
        Wrong(DIFFERENCES.replace(_GUARD, "if (i < n - 2)"), LAST_LOST),
        Wrong(DIFFERENCES.replace(_GUARD, "if (i > 0 && i < n - 1)"), FIRST_LOST),
        Wrong(
            DIFFERENCES.replace(_GUARD, "if (i < n - 1)").replace(
                "input[i + 1] - input[i]", "input[i] - input[i + 1]"
            ),
            SIGN,
        ),
        Wrong(
            DIFFERENCES.replace(
                "output[i] = input[i + 1] - input[i]", "output[i] = input[i] - input[i - 1]"
            ),
            BEFORE,
        ),
        Wrong(
            DIFFERENCES.replace(_GUARD, "if (i < n - 1)").replace("blockDim.x", "128"),
            FIXED_BLOCK,
        ),
    ),
    points=1,
    unproved="n = 0 and n = 1, where there is no difference at all.",
    judge=KernelTask("07.repair_bounds", "differences", _differences_launches, _differences_fault),
    vary=_further_apart,
    shown=("i + 1", "n - 1", "[1, 4, 6]", "[3, 2]"),
)

# ---- 07.lost_update -------------------------------------------------------------------------

COUNT_LONG = r"""
// total[0] counts the bags that are longer than limit. It begins as 0.
extern "C" __global__ void count_long(const int* lengths, int* total, int limit, int B) {
  int bag = blockIdx.x * blockDim.x + threadIdx.x;
  if (bag < B && lengths[bag] > limit) {
    total[0] += 1;
  }
}
"""
LOST = "The update can still be lost: two threads may read the same total, and both write it."
BARRIER_ONLY = (
    "A barrier lets threads wait for each other; then all of them update at once, as before. And "
    "blocks do not wait at all."
)
HALF_ATOMIC = (
    "Half of it is atomic. Reading, adding and writing must be one step: an atomic read, followed "
    "by a plain write, can lose an update as before."
)
ELSEWHERE = "There is an atomic now, but this update is still a plain one, in three steps."
EXCHANGE = "atomicExch writes in one step, but total[0] was read before, in a step of its own."
ADDS_LENGTH = "The lengths were added up. Each long bag counts 1."
NOT_LONGER = "Bags of exactly `limit` were counted: longer means more than limit."
SHORTER = "The bags that are shorter than `limit` were counted."
ALL_BAGS = "All bags were counted, and only the long ones should be."
ONE_PLACE = "total has one element, and every thread adds to that one: total[0]."
ALONE = (
    "The result is right, but a thread does the work of many bags in a loop. Each bag has a thread "
    "of its own."
)


def _count_launch(B: int, limit: int, block: int, spare: int = 0, each: int = 1) -> Launch:
    """each: what a long bag counts."""
    lengths = np.random.default_rng([27, B]).integers(0, 2 * limit + 10, B).astype(np.int32)
    lengths[: B // 8 + 1] = limit

    def of(value: Any) -> np.ndarray:
        return np.array([value], np.int32)

    return Launch(
        f"{B} bags, limit {limit}, blocks of {block}", -(-B // block) + spare, block,
        (lengths, of(0), limit, B),
        (1, of(each * (lengths > limit).sum())),
        {
            ADDS_LENGTH: of(lengths[lengths > limit].sum()),
            NOT_LONGER: of(each * (lengths >= limit).sum()),
            SHORTER: of(each * (lengths < limit).sum()),
            ALL_BAGS: of(each * B),
        },
    )  # fmt: skip


def _count_launches(each: int = 1) -> list[Launch]:
    return [
        _count_launch(40, 20, 128, each=each),
        _count_launch(300, 20, 128, each=each),
        _count_launch(130, 7, 64, each=each),
        _count_launch(70, 0, 32, spare=2, each=each),
    ]


def _count_fault(fault: KernelFault, code: str) -> str:
    if kinds_of(fault) & {"divergent barrier", "deadlock"}:
        return BARRIER_ONLY
    if fault.kind == "out of bounds":
        return ONE_PLACE if fault.array == "total" else _past_end(fault, code, "B")
    if fault.kind != "race":
        return ""
    if "atomicExch" in code:
        return EXCHANGE
    if "atomic" in code:
        return HALF_ATOMIC if "atomically" in str(fault) else ELSEWHERE
    return BARRIER_ONLY if "__sync" in code else LOST


def _count_alone(report: Report, launch: Launch, code: str) -> str:
    return ALONE if threads(report, "lengths", "read") < launch.args[3] else ""


def _counts_more(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """A long bag counts k, from 2 to 40, in the place of 1."""
    k = int(random.integers(2, 41))
    words = {"total[0] += 1": f"total[0] += {k}", "total[0] + 1": f"total[0] + {k}",
             "&total[0], 1": f"&total[0], {k}", "&total[bag], 1": f"&total[bag], {k}",
             "total[0], 1": f"total[0], {k}", "&part, 1": f"&part, {k}", ", 0) + 1": f", 0) + {k}",
             "counts 1": f"counts {k}",
             "counts the bags that are": f"counts {k} for each bag that is",
             "limit 3 give 2": f"limit 3 give {2 * k}",
             "How many bags are longer than `limit`?": f"A bag that is longer than `limit` counts "
             f"{k}. What is the sum?"}  # fmt: skip
    return retold(exercise, words, launches=partial(_count_launches, k))


_UPDATE = "total[0] += 1;"
COUNT_RIGHT = COUNT_LONG.replace(_UPDATE, "atomicAdd(&total[0], 1);")
LOST_UPDATE = Exercise(
    "07.lost_update",
    "repair a race: a count that loses updates",
    COUNT_RIGHT,
    hints=(
        "Which place do many threads write, and into how many steps does the update fall?",
        "The whole update has to be one step that nobody can come between.",
        "There is one function for it in the chapter: it takes the place (with &) and the number "
        "to add.",
    ),
    wrong=(
        Wrong(COUNT_LONG, LOST),
        Wrong(
            COUNT_LONG.replace("  if (bag", "  __syncthreads();\n  if (bag"),
            BARRIER_ONLY,
        ),
        Wrong(
            COUNT_LONG.replace(_UPDATE, "total[0] = atomicAdd(&total[0], 0) + 1;"),
            HALF_ATOMIC,
        ),
        Wrong(
            COUNT_LONG.replace("  if (bag", "  __shared__ int part;\n"
                               "  if (threadIdx.x == 0) part = 0;\n  __syncthreads();\n  if (bag")
            .replace(_UPDATE, "atomicAdd(&part, 1);")
            .replace("  }\n}", "  }\n  __syncthreads();\n"
                     "  if (threadIdx.x == 0) total[0] += part;\n}"),
            ELSEWHERE,
        ),
        Wrong(COUNT_LONG.replace(_UPDATE, "atomicExch(&total[0], total[0] + 1);"), EXCHANGE),
        Wrong(COUNT_RIGHT.replace("&total[0]", "total[0]"), NO_AMPERSAND),
        Wrong(COUNT_RIGHT.replace("&total[0]", "&total[bag]"), ONE_PLACE),
        Wrong(COUNT_RIGHT.replace("bag < B && ", ""), UNGUARDED),
        Wrong(COUNT_RIGHT.replace("[0], 1)", "[0], lengths[bag])"), ADDS_LENGTH),
        Wrong(COUNT_RIGHT.replace("> limit", ">= limit"), NOT_LONGER),
        Wrong(COUNT_RIGHT.replace("> limit", "< limit"), SHORTER),
        Wrong(COUNT_RIGHT.replace(" && lengths[bag] > limit", ""), ALL_BAGS),
        Wrong(COUNT_RIGHT.replace("blockDim.x", "128"), FIXED_BLOCK),
        Wrong(
            COUNT_LONG.replace(
                "if (bag < B && lengths[bag] > limit) {",
                "if (bag == 0) for (int b = 0; b < B; b++) if (lengths[b] > limit) {",
            ),
            ALONE,
        ),
    ),
    points=2,
    unproved="how long threads wait for each other at that one place.",
    judge=KernelTask("07.lost_update", "count_long", _count_launches, _count_fault, _count_alone),
    vary=_counts_more,
    shown=("counts the bags that are", "total[0] += 1", "&total[0], 1", "limit 3 give 2",
           "How many bags are longer than `limit`?"),
)  # fmt: skip

# ---- 07.barrier -----------------------------------------------------------------------------

REVERSE = r"""
// Each block of 64 threads turns its 64 numbers round.
extern "C" __global__ void reverse_blocks(const float* input, float* output) {
  __shared__ float part[64];
  int t = threadIdx.x;
  int i = blockIdx.x * 64 + t;
  part[t] = input[i];
  output[i] = part[63 - t];
}
"""
NO_BARRIER = "A thread reads what another one of its block has perhaps not written yet."
TOO_EARLY = (
    "The barrier stands in front of the write. Threads must wait after they have written, and "
    "before they read."
)
WARP_ONLY = (
    "__syncwarp() waits for the 32 threads of a warp only; the number that a thread wants was "
    "written by the other warp of the block."
)
IN_A_BRANCH = "Not all threads of the block come to the barrier: it stands in a branch."
NOT_TURNED = "The numbers are copied, not turned round."
PAST_PART = "part has elements 0 to 63, and a thread asks for another one."
NOT_SHARED = (
    "The result is right, but nothing goes through shared memory any more. Keep `part`, and put "
    "the threads in order."
)


def _reverse_launch(blocks: int, size: int) -> Launch:
    x = np.random.default_rng([37, blocks]).normal(size=(blocks, size)).astype(np.float32)
    return Launch(
        f"{blocks} blocks of {size}" if blocks > 1 else f"one block of {size}", blocks, size,
        (x.ravel(), unwritten(size * blocks)),
        (1, np.ascontiguousarray(x[:, ::-1]).ravel()),
        {NOT_TURNED: x.ravel()},
    )  # fmt: skip


def _reverse_launches(size: int = 64) -> list[Launch]:
    return [_reverse_launch(1, size), _reverse_launch(3, size)]


def _reverse_fault(fault: KernelFault, code: str) -> str:
    if kinds_of(fault) & {"divergent barrier", "deadlock"}:
        return IN_A_BRANCH
    if fault.kind == "array index" or (fault.kind == "out of bounds" and fault.array == "part"):
        return PAST_PART
    if fault.kind not in ("race", "uninitialized shared memory") or fault.array != "part":
        return ""
    if re.search(r"\b(if|else)\b[^;{]*__syncthreads", code):
        return IN_A_BRANCH
    barrier, write = code.find("__syncthreads"), re.search(r"\bpart\s*\[[^]]*\]\s*=[^=]", code)
    if barrier < 0:
        return WARP_ONLY if "__syncwarp" in code else NO_BARRIER
    return TOO_EARLY if write and barrier < write.start() else NO_BARRIER


def _reverse_counts(report: Report, launch: Launch, code: str) -> str:
    return "" if report.total("requests", shared=True) else NOT_SHARED


def _other_size(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """Blocks of 96 to 512 threads, of three warps or more, in the place of 64."""
    size = 32 * int(random.integers(3, 17))
    words = {"64": size, "63": size - 1, "62": size - 2, "the other warp": "another warp"}
    return retold(exercise, words, launches=partial(_reverse_launches, size))


_WRITE = "part[t] = input[i];"
REVERSE_RIGHT = REVERSE.replace(_WRITE, f"{_WRITE}\n  __syncthreads();")
BARRIER = Exercise(
    "07.barrier",
    "repair a race: a barrier is missing",
    REVERSE_RIGHT,
    hints=(
        "Thread 0 reads a number that thread 63 writes. What makes sure that it is there?",
        "All threads of the block must have written before the first one reads.",
        "One line is missing between the two lines that touch `part`.",
    ),
    wrong=(
        Wrong(REVERSE, NO_BARRIER),
        Wrong(REVERSE.replace(_WRITE, f"__syncthreads();\n  {_WRITE}"), TOO_EARLY),
        Wrong(REVERSE.replace(_WRITE, f"{_WRITE}\n  __syncwarp();"), WARP_ONLY),
        Wrong(REVERSE.replace(_WRITE, f"{_WRITE}\n  __syncthreads;"), NOT_A_CALL),
        Wrong(REVERSE.replace(_WRITE, f"{_WRITE}\n  if (t < 32) __syncthreads();"), IN_A_BRANCH),
        Wrong(REVERSE_RIGHT.replace("63 - t", "t"), NOT_TURNED),
        Wrong(REVERSE_RIGHT.replace("63 - t", "64 - t"), PAST_PART),
        Wrong(
            REVERSE.replace(f"  {_WRITE}\n", "").replace("part[63 - t]", "input[i - t + 63 - t]"),
            NOT_SHARED,
        ),
    ),
    points=1,
    unproved="blocks of another size: the 64 stands in the source.",
    judge=KernelTask(
        "07.barrier", "reverse_blocks", _reverse_launches, _reverse_fault, _reverse_counts
    ),
    vary=_other_size,
    shown=(
        "64 threads",
        "its 64 numbers",
        "part[64]",
        "* 64 + t",
        "63 - t",
        "0, 1, ..., 63 writes 63, 62, ..., 0",
    ),
)

# ---- 07.coalesce ----------------------------------------------------------------------------

ADD_ROW = r"""
// output[r, c] = matrix[r, c] + row[c], for R rows and C columns. One thread for each element.
extern "C" __global__ void add_row(const float* matrix, const float* row, float* output, int R,
                                   int C) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= R * C) return;
  int r = i % R, c = i / R;
  output[r * C + c] = matrix[r * C + c] + row[c];
}
"""
BUDGET = 1200  # sectors, for 48 x 64 numbers
SCATTERED = (
    "The result is right, and the warps' addresses are scattered: too many sectors. Which of r and "
    "c must change from one thread to the next?"
)
LOOPS = "One thread walks along a row: at each step, neighbors are a whole row apart."
COLUMNS = (
    "The result is right, and it keeps to the budget. But a thread does many elements in a loop, "
    "and the task is one thread for each."
)
WRONG_SIZE = (
    "r and c leave the matrix, or two threads have the same ones: divide by the number of columns, "
    "for that is how many elements a row has."
)
TURNED_MAPPING = (
    "r and c have changed places: a row has C elements, so i / C is the row and i % C the column."
)
WRONG_ROW = (
    "matrix and output go along well, but row[c] is that of another column: c has to be the column "
    "of the same element."
)
NO_GUARD = "There are more threads than elements; those left over must do nothing."
ONE_ROW = "Only the first row was done: the guard must let all R * C elements pass."
SAME_ROW = "The first number of `row` was added everywhere: each column has its own."


def _add_row_launch(R: int, C: int, block: int, spare: int = 0) -> Launch:
    random = np.random.default_rng([47, R, C])
    matrix = random.normal(size=(R, C)).astype(np.float32)
    row = random.normal(size=C).astype(np.float32)
    first = unwritten(R, C)
    first[0] = matrix[0] + row
    other = (matrix.ravel() + row[np.arange(R * C) // R]).reshape(R, C)
    return Launch(
        f"{R} rows of {C}, blocks of {block}", -(-R * C // block) + spare, block,
        (matrix, row, unwritten(R, C), R, C),
        (2, matrix + row),
        {WRONG_ROW: other, ONE_ROW: first, SAME_ROW: matrix + row[0]},
    )  # fmt: skip


def _add_row_launches() -> list[Launch]:
    return [
        _add_row_launch(48, 64, 128, spare=1),
        _add_row_launch(5, 7, 32),
        _add_row_launch(33, 3, 64, spare=1),
    ]


def _add_row_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "out of bounds":
        R, C = fault.report.launched.values[-2:]
        if thread_number(fault) >= R * C:
            return NO_GUARD
    turned = r"\br\s*=\s*\w+\s*%\s*C\b", r"\bc\s*=\s*\w+\s*/\s*C\b"
    if all(re.search(each, code) for each in turned):
        return TURNED_MAPPING
    wrong = re.search(r"[%/]\s*R\b", code) and fault.kind in ("out of bounds", "race")
    return WRONG_SIZE if wrong else ""


def _add_row_counts(report: Report, launch: Launch, code: str) -> str:
    R, C = launch.args[3:]
    few = threads(report, "output") < R * C
    sectors = report.total("sectors")
    if sectors <= BUDGET or (R, C) != (48, 64):
        return COLUMNS if few else ""
    message = LOOPS if few else SCATTERED
    told = f"On {launch.what}: {sectors:,} sectors; the budget is {BUDGET:,}."
    return f"{message}\n\n{told}\n{by_line(report)}"


_MAPPING = "int r = i % R, c = i / R;"
ADD_ROW_RIGHT = ADD_ROW.replace(_MAPPING, "int r = i / C, c = i % C;")
COALESCE = Exercise(
    "07.coalesce",
    "a mapping that keeps to a budget of sectors",
    ADD_ROW_RIGHT,
    hints=(
        "Write down r and c for threads 0, 1 and 2, and the addresses that they touch.",
        "Neighboring threads should touch neighboring addresses. In memory, c runs fastest.",
        "Let the remainder give the column and the quotient the row; both by the length of a row.",
    ),
    wrong=(
        Wrong(ADD_ROW, SCATTERED),
        Wrong(ADD_ROW.replace(_MAPPING, "int r = i / R, c = i % R;"), WRONG_SIZE),
        Wrong(ADD_ROW.replace(_MAPPING, "int r = i % C, c = i / C;"), TURNED_MAPPING),
        Wrong(ADD_ROW.replace("r * C + c", "c * R + r"), WRONG_ROW),
        Wrong(ADD_ROW_RIGHT.replace("if (i >= R * C) return;", ""), NO_GUARD),
        Wrong(
            ADD_ROW.replace("if (i >= R * C)", "if (i >= R)").replace(
                _MAPPING, "int r = i;\n  for (int c = 0; c < C; c++)"
            ),
            LOOPS,
        ),
        Wrong(
            ADD_ROW.replace("if (i >= R * C)", "if (i >= C)").replace(
                _MAPPING, "int c = i;\n  for (int r = 0; r < R; r++)"
            ),
            COLUMNS,
        ),
        Wrong(ADD_ROW_RIGHT.replace("if (i >= R * C)", "if (i >= C)"), ONE_ROW),
        Wrong(ADD_ROW_RIGHT.replace("row[c]", "row[0]"), SAME_ROW),
        Wrong(ADD_ROW_RIGHT.replace("blockDim.x", "128"), FIXED_BLOCK),
        Wrong(ADD_ROW_RIGHT.replace("output[r * C + c]", "output[r, c]"), COMMA),
    ),
    points=2,
    unproved="that fewer sectors are faster on your GPU; chapter 08 is about that.",
    judge=KernelTask("07.coalesce", "add_row", _add_row_launches, _add_row_fault, _add_row_counts),
)

# ---- 07.bag_mean ----------------------------------------------------------------------------

BAG_MEAN = r"""
extern "C" __global__ void bag_mean(const float* weight, const long long* indices,
                                    const long long* offsets, float* output, int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element / D, d = element % D;
  long long begin = offsets[bag], end = offsets[bag + 1];
  float sum = 0.0f;
  for (long long i = begin; i < end; i++) {
    sum += weight[indices[i] * D + d];
  }
  output[element] = end > begin ? sum / (end - begin) : 0.0f;
}
"""
EMPTY_NAN = "An empty bag gave 0 / 0. Its mean is 0, by definition."
EMPTY_LEFT = "Nobody has written the output of an empty bag: it must become 0."
NOT_DIVIDED = "That is the sum: it has not been divided by the length of the bag."
BY_D = "The sum was divided by D, the length of a row. Divide by the length of the bag."
WHOLE = (
    "The length of the bag divides a whole number: 1 / (end - begin) is 0 where the bag has more "
    "than one position, and not defined where it is empty. Divide the sum, which is a float."
)
FIRST_ONLY = (
    "Only the first position of each bag was added: something ends the loop after one turn, such "
    "as a return, a break, or a ; behind for (...)."
)
LAST_ONLY = "Only the last position of each bag was taken: in the loop, add it (+=)."
LAST_MISSING = "The last position of each bag is missing: a bag ends before offsets[bag + 1]."
ONE_TOO_MANY = "The loop takes one position too many: offsets[bag + 1] belongs to the next bag."
COMMA_READ = (
    "Only the first row of weight was read. If you wrote weight[row, d]: C++ takes only what "
    "stands behind the comma. Compute the place: weight[row * D + d]."
)
BY_POSITION = "The position was taken as the row. The row's number is what indices holds there."
TOO_MANY_THREADS = "There are more threads than elements of the output: a guard is missing."
A_BAG_EACH = (
    "The result is right, but a thread does several elements in a loop. The task is one thread for "
    "each element of the output."
)


def _mean_launch(what: str, ends: Any, D: int, block: int, spare: int = 0, V: int = 130) -> Launch:
    ends = np.array(ends, np.int64)
    random = np.random.default_rng([57, len(ends), D])
    weight = random.normal(size=(V, D)).astype(np.float32)
    ids, B = random.integers(0, V, ends[-1]), len(ends) - 1
    right, mistakes = _means(weight, ids, ends)
    return Launch(
        f"{what}, D = {D}, blocks of {block}", -(-B * D // block) + spare, block,
        (weight, ids, ends, unwritten(B, D), B, D),
        (3, right),
        mistakes,
    )  # fmt: skip


def _mean_launches() -> list[Launch]:
    forty = np.sort(np.append([0, 120], np.random.default_rng(47).integers(0, 120, 39)))
    return [
        _mean_launch("two bags", [0, 2, 5], 5, 64),
        _mean_launch("bags 0, 2 and 5 are empty", [0, 0, 3, 3, 4, 9, 9], 5, 64),
        _mean_launch("forty bags", forty, 5, 64),
        _mean_launch("forty bags", forty, 8, 32, spare=2),
        _mean_launch("six bags", [0, 4, 5, 5, 9, 12, 30], 1, 128),
    ]


def _means(
    weight: np.ndarray, ids: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    def sums(first: int | None, stop: int | None, ids: np.ndarray = ids) -> np.ndarray:
        """Of the positions of each bag from its `first` to before its `stop`."""
        pairs = zip(ends[:-1], ends[1:], strict=True)
        rows = [weight[ids[b:e][first:stop]].sum(axis=0, dtype=np.float32) for b, e in pairs]
        return np.array(rows, np.float32)

    lengths = np.diff(ends)[:, None].astype(np.float32)
    some, total = np.maximum(lengths, 1), sums(0, None)
    nan = np.where(lengths == 0, np.float32(np.nan), total / some)
    left = np.where(lengths == 0, unwritten(1), total / some)
    mistakes = {
        EMPTY_LEFT: left,
        EMPTY_NAN: nan,
        NOT_DIVIDED: total,
        BY_D: total / np.float32(weight.shape[1]),
        WHOLE: np.where(lengths == 1, total, np.float32(0)),
        FIRST_ONLY: sums(0, 1) / some,
        LAST_ONLY: sums(-1, None) / some,
        LAST_MISSING: sums(0, -1) / some,
        COMMA_READ: np.where(lengths == 0, np.float32(0), weight[0]),
        BY_POSITION: sums(0, None, np.arange(len(ids))) / some,
    }
    return total / some, mistakes


def _mean_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "division by zero":
        return WHOLE
    if fault.kind != "out of bounds":
        return SAME_INDEX if fault.kind == "race" and "threadIdx" in code else ""
    values = fault.report.launched.values
    if thread_number(fault) >= values[4] * values[5]:
        return TOO_MANY_THREADS
    past = fault.array == "indices" and element_of(fault) == len(values[1])
    return ONE_TOO_MANY if past else ""


def _mean_counts(report: Report, launch: Launch, code: str) -> str:
    return A_BAG_EACH if threads(report, "output") < launch.expected[1].size else ""


_DIVIDE = "output[element] = end > begin ? sum / (end - begin) : 0.0f;"
_EACH_D = "for (int d = 0; d < D; d++) {\n  float sum = 0.0f;"
MEAN = Exercise(
    "07.bag_mean",
    "the forward of mode mean, one thread for each element",
    BAG_MEAN,
    hints=(
        "Take bag_sum as a start. What is different is only the line that writes.",
        "How many positions does the bag have? And what should be written if there are none?",
        "Divide the sum by the distance of the bag's two offsets; ask first whether it is 0, and "
        "write 0 then.",
    ),
    wrong=(
        Wrong(BAG_MEAN.replace(_DIVIDE, "output[element] = sum / (end - begin);"), EMPTY_NAN),
        Wrong(
            BAG_MEAN.replace(_DIVIDE, "if (end > begin) output[element] = sum / (end - begin);"),
            EMPTY_LEFT,
        ),
        Wrong(BAG_MEAN.replace("sum / (end - begin)", "sum * (1 / (end - begin))"), WHOLE),
        Wrong(BAG_MEAN.replace("sum / (end - begin)", "sum"), NOT_DIVIDED),
        Wrong(BAG_MEAN.replace("(end - begin)", "D"), BY_D),
        Wrong(BAG_MEAN.replace("d];\n  }", "d];\n    break;\n  }"), FIRST_ONLY),
        Wrong(BAG_MEAN.replace("sum +=", "sum ="), LAST_ONLY),
        Wrong(BAG_MEAN.replace("i < end;", "i < end - 1;"), LAST_MISSING),
        Wrong(BAG_MEAN.replace("i < end;", "i <= end;"), ONE_TOO_MANY),
        Wrong(BAG_MEAN.replace("if (element >= B * D) return;", ""), TOO_MANY_THREADS),
        Wrong(BAG_MEAN.replace("output[element]", "output[bag, d]"), COMMA),
        Wrong(BAG_MEAN.replace("[indices[i] * D + d]", "[indices[i], d]"), COMMA_READ),
        Wrong(BAG_MEAN.replace("indices[i] * D", "i * D"), BY_POSITION),
        Wrong(BAG_MEAN.replace("output[element] =", "output[element] +="), ADDED_TO),
        Wrong(BAG_MEAN.replace("element >= B * D", "element >= B"), NOT_WRITTEN),
        Wrong(BAG_MEAN.replace("blockDim.x", "64"), FIXED_BLOCK),
        Wrong(
            BAG_MEAN.replace("element >= B * D", "element >= B")
            .replace("bag = element / D, d = element % D", "bag = element")
            .replace("float sum = 0.0f;", _EACH_D)
            .replace("output[element]", "output[bag * D + d]")
            .replace(": 0.0f;\n", ": 0.0f;\n  }\n"),
            A_BAG_EACH,
        ),
    ),
    points=3,
    unproved="padding, weights and 16-bit tables: chapter 09.",
    judge=KernelTask("07.bag_mean", "bag_mean", _mean_launches, _mean_fault, _mean_counts),
)

# ---- 07.reduce ------------------------------------------------------------------------------

REDUCE = r"""
extern "C" __global__ void block_sums(const float* x, float* sums, int n) {
  __shared__ float part[256];
  int t = threadIdx.x;
  float sum = 0.0f;
  for (int i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x) {
    sum += x[i];
  }
  part[t] = sum;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();
  }
  if (t == 0) sums[blockIdx.x] = part[0];
}
"""
NO_STRIDE = (
    "There may be more elements than threads in the grid: each thread must go on, in steps of "
    "gridDim.x * blockDim.x, as long as its i is below n."
)
STRIDE_OF_BLOCK = (
    "A thread goes on in steps of blockDim.x, so all blocks take the same elements. The threads of "
    "the whole grid are gridDim.x * blockDim.x."
)
NO_HALF_BARRIER = (
    "A thread reads a partial sum that another thread may not have written yet. In every round, "
    "all must have written before anybody reads."
)
HALF_IN_A_BRANCH = (
    "Not all threads of the block come to the barrier. Those that have nothing to add in a round "
    "must come to it, too."
)
PAST_HALF = "A thread reads past the numbers that are there: the first half is blockDim.x / 2."
STOPS_EARLY = "The last round is missing: it adds part[1] to part[0], so half goes down to 1."
ONE_ADDS_ALL = (
    "The result is right, but one thread adds up nearly all numbers of its block while the others "
    "wait. Halve: in each round, half of the numbers are added to the other half."
)
NOT_TOGETHER = (
    "The result is right, but nothing goes through shared memory: the threads of a block do not "
    "work together."
)
ALL_WRITE = "All threads of a block write its sum to the same place. One is enough: thread 0."
LEFT_EARLY = (
    "A thread without an element has nothing to add, but its place in shared memory is read: it "
    "must put a 0 there, and come to every barrier."
)
QUEUE_FOR_ONE = (
    "The result is right, but all threads of a block queue at one place, by atomics. Halve instead."
)
WRONG_SUMS = "Each block has one sum: it belongs to sums[blockIdx.x]."


def _names(report: Report | None) -> list[str]:
    """The reader's names of the parameters, in their order."""
    return [p.name for p in report.launched.parameters] if report else []


def _argument(fault: KernelFault) -> int:
    """The number of the argument that a fault is in; -1 for shared memory, or for nothing."""
    names = _names(fault.report)
    return names.index(fault.array) if fault.array in names else -1


def _reduce_launch(n: int, grid: int, block: int) -> Launch:
    """Whole numbers, so that no order of additions is rounded."""
    x = np.random.default_rng([67, n]).integers(1, 9, n).astype(np.float32)
    place, threads_of = np.arange(n), grid * block

    def sums(owner: np.ndarray) -> np.ndarray:
        return np.bincount(owner[owner < grid], x[: len(owner)][owner < grid], grid).astype(
            np.float32
        )

    thread = place % threads_of
    even = np.where(thread % block % 2 == 0, thread // block, grid)
    overlapped = [x[b * block :].sum(dtype=np.float32) for b in range(grid)]
    return Launch(
        f"n = {n}, {grid} block{'s' * (grid > 1)} of {block}", grid, block,
        (x, unwritten(grid), n),
        (1, sums(thread // block)),
        {
            NO_STRIDE: sums(place // block),
            STRIDE_OF_BLOCK: np.array(overlapped, np.float32),
            STOPS_EARLY: sums(even),
        },
    )  # fmt: skip


def _reduce_launches() -> list[Launch]:
    return [
        _reduce_launch(128, 2, 64),
        _reduce_launch(700, 3, 64),
        _reduce_launch(300, 2, 256),
        _reduce_launch(500, 4, 32),
        _reduce_launch(1, 1, 128),
    ]


def _reduce_fault(fault: KernelFault, code: str) -> str:
    kinds, argument = kinds_of(fault), _argument(fault)
    if argument == 1:
        return ALL_WRITE if fault.kind == "race" else WRONG_SUMS
    if re.search(r"if\s*\([^;{]*\)\s*return\b", code.partition("__syncthreads")[0]):
        return LEFT_EARLY
    if kinds & {"divergent barrier", "deadlock"}:
        return HALF_IN_A_BRANCH
    if fault.kind in ("array index", "out of bounds"):
        return "" if argument == 0 else PAST_HALF
    if fault.kind == "race":
        return NO_HALF_BARRIER
    if fault.kind == "uninitialized shared memory":
        past = element_of(fault) >= fault.report.launched.block[0]
        return PAST_HALF if past else NO_HALF_BARRIER
    return ""


def _reduce_counts(report: Report, launch: Launch, code: str) -> str:
    own = [a for a in report.accesses if a.array not in _names(report)]
    if not own:
        return NOT_TOGETHER
    if any(a.kind == "atomic" for a in own):
        return QUEUE_FOR_ONE
    writers = {(a.block, a.thread) for a in report.accesses if a.array == _names(report)[1]}
    if len(writers) > report.launched.grid[0]:
        return ALL_WRITE
    reads = Counter((a.block, a.thread) for a in own if a.kind == "read")
    rounds = report.launched.block[0].bit_length() - 1
    return ONE_ADDS_ALL if max(reads.values(), default=0) > 4 * rounds + 4 else ""


_ROUNDS = REDUCE[REDUCE.index("  for (int half") : REDUCE.index("  if (t == 0)")]
_ROUND = "    if (t < half) part[t] += part[t + half];\n    __syncthreads();\n"
_SHARE = REDUCE[REDUCE.index("  for (int i") : REDUCE.index("  part[t] = sum;")]
_IN_BRANCHES = (
    "    if (t < half) {\n      part[t] += part[t + half];\n      __syncthreads();\n"
    "    } else {\n      __syncthreads();\n    }\n"
)
_ONE_LOOP = "  if (t == 0) {\n    for (int k = 1; k < blockDim.x; k++) part[0] += part[k];\n  }\n"
REDUCE_EXERCISE = Exercise(
    "07.reduce",
    "a reduction in shared memory, by halving",
    REDUCE,
    hints=(
        "Three parts: each thread adds up its own elements; the block halves its numbers until one "
        "is left; thread 0 writes it.",
        "Thread t of block b begins with i = b * blockDim.x + t and goes on by all threads of the "
        "grid. Put its sum into a shared array, then a barrier.",
        "In a round, thread t < half adds part[t + half] to part[t]; half is blockDim.x / 2, then "
        "half of that, down to 1. All threads come to a barrier after every round.",
    ),
    wrong=(
        Wrong(REDUCE.replace(_SHARE, "  int i = blockIdx.x * blockDim.x + t;\n"
                             "  if (i < n) sum = x[i];\n"), NO_STRIDE),
        Wrong(REDUCE.replace("i += gridDim.x * blockDim.x", "i += blockDim.x"), STRIDE_OF_BLOCK),
        Wrong(REDUCE.replace(_ROUND, _ROUND.split("\n")[0] + "\n"), NO_HALF_BARRIER),
        Wrong(REDUCE.replace(_ROUND, _IN_BRANCHES), HALF_IN_A_BRANCH),
        Wrong(REDUCE.replace("half = blockDim.x / 2", "half = blockDim.x"), PAST_HALF),
        Wrong(REDUCE.replace("half > 0", "half > 1"), STOPS_EARLY),
        Wrong(REDUCE.replace(_ROUNDS, _ONE_LOOP), ONE_ADDS_ALL),
        Wrong(REDUCE.replace("if (t == 0) sums", "sums"), ALL_WRITE),
        Wrong(REDUCE.replace("  float sum = 0.0f;\n", "  float sum = 0.0f;\n"
                             "  if (blockIdx.x * blockDim.x + t >= n) return;\n"), LEFT_EARLY),
        Wrong(REDUCE.replace("part[256]", "part").replace("part[t] = sum;", "if (t == 0) part = 0;"
              "\n  __syncthreads();\n  atomicAdd(&part, sum);").replace(_ROUNDS, "")
              .replace("part[0]", "part"), QUEUE_FOR_ONE),
        Wrong(REDUCE.replace("sums[blockIdx.x] =", "sums[blockIdx.x] +="), ADDED_TO),
    ),
    points=3,
    unproved="blocks whose size is no power of two, and floats that are rounded: their last bits "
    "depend on the order of the additions.",
    judge=KernelTask("07.reduce", "block_sums", _reduce_launches, _reduce_fault, _reduce_counts),
)  # fmt: skip

# ---- 07.histogram ---------------------------------------------------------------------------

HISTOGRAM = r"""
extern "C" __global__ void histogram(const int* bins_of, int* counts, int bins, int n) {
  __shared__ int mine[256];
  for (int b = threadIdx.x; b < bins; b += blockDim.x) {
    mine[b] = 0;
  }
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    atomicAdd(&mine[bins_of[i]], 1);
  }
  __syncthreads();
  for (int b = threadIdx.x; b < bins; b += blockDim.x) {
    atomicAdd(&counts[b], mine[b]);
  }
}
"""
NO_COPY = (
    "The result is right, but the elements are counted in global memory, one atomic each. Let "
    "each block count in a copy of its own in shared memory, and add that to counts at the end."
)
NOT_CLEARED = (
    "Shared memory does not begin as zeros: clear all bins of the copy first. (There may be more "
    "bins than threads in a block, so each thread clears several.)"
)
CLEAR_BARRIER = (
    "A thread counts in the copy before another one has cleared it: all must have cleared before "
    "anybody counts."
)
ADD_BARRIER = (
    "The copy is added to counts while others still count in it: a barrier is missing in between."
)
COPY_LOST = (
    "Two threads of a block count in one bin at the same time, and one count is lost: the copy "
    "needs atomics, too."
)
COUNTS_LOST = (
    "The blocks come to counts in any order, and at the same time: add the copy by atomics."
)
OVERWRITTEN = "counts holds the counts of earlier launches: add to it, and do not overwrite it."
SOME_BINS = "Only the first blockDim.x bins are added to counts: there may be more than that."
ELEMENTS_LEFT = (
    "Only as many elements are counted as there are threads: each thread must go on, in steps of "
    "gridDim.x * blockDim.x."
)
COUNTED_TWICE = (
    "A thread goes on in steps of blockDim.x, so the blocks count the same elements again. The "
    "threads of the whole grid are gridDim.x * blockDim.x."
)
COPY_SMALL = "The copy has too few bins: there may be up to 256."


def _histogram_launch(bins: int, n: int, grid: int, block: int) -> Launch:
    random = np.random.default_rng([71, bins, n])
    bins_of = np.minimum(random.geometric(min(1.0, 4 / bins), n) - 1, bins - 1).astype(np.int32)
    bins_of[: min(bins, n)] = np.arange(bins)[::-1][:n]  # the last bins, too
    before = random.integers(0, 9, bins).astype(np.int32)

    def counted(elements: np.ndarray) -> np.ndarray:
        return np.bincount(elements, minlength=bins).astype(np.int32)

    some = counted(bins_of) * (np.arange(bins) < block)
    again = sum(counted(bins_of[b * block :]) for b in range(grid))
    return Launch(
        f"{bins} bins, n = {n}, {grid} block{'s' * (grid > 1)} of {block}", grid, block,
        (bins_of, before.copy(), bins, n),
        (1, before + counted(bins_of)),
        {
            ELEMENTS_LEFT: before + counted(bins_of[: grid * block]),
            COUNTED_TWICE: before + again,
            SOME_BINS: before + some,
            OVERWRITTEN: counted(bins_of),
        },
    )  # fmt: skip


def _histogram_launches() -> list[Launch]:
    return [
        _histogram_launch(40, 200, 1, 64),
        _histogram_launch(40, 600, 3, 64),
        _histogram_launch(50, 700, 2, 32),
        _histogram_launch(7, 300, 2, 128),
        _histogram_launch(256, 300, 2, 96),
        _histogram_launch(20, 60, 2, 8),
    ]


def _histogram_fault(fault: KernelFault, code: str) -> str:
    argument = _argument(fault)
    if argument >= 0:
        return COUNTS_LOST if fault.kind == "race" and argument == 1 else ""
    if fault.kind in ("array index", "out of bounds"):
        return COPY_SMALL if re.search(r"__shared__\s+int\s+\w+\s*\[", code) else ""
    if fault.kind == "uninitialized shared memory":
        first = re.split(r"\batomicAdd\b", code)[0]
        cleared = re.search(r"\]\s*=\s*0\s*;", first) and "__syncthreads" not in first
        return CLEAR_BARRIER if cleared else NOT_CLEARED
    return _histogram_race(code, _names(fault.report)[1]) if fault.kind == "race" else ""


def _histogram_race(code: str, counts: str) -> str:
    """Of a race in the copy: what is not put in order."""
    body = code.partition("{")[2]
    added = re.search(rf"atomicAdd\s*\(\s*(?:&\s*{counts}\b|{counts}\s*\+)|\b{counts}\s*\[", body)
    counts_in_copy = re.search(rf"atomicAdd\s*\(\s*(?:&\s*)?(?!{counts}\b)\w+", body)
    if not counts_in_copy or (added and counts_in_copy.start() > added.start()):
        return COPY_LOST
    between = body[counts_in_copy.start() : added.start() if added else None]
    return CLEAR_BARRIER if "__syncthreads" in between else ADD_BARRIER


def _histogram_counts(report: Report, launch: Launch, code: str) -> str:
    bins, n = launch.args[2:]
    updates = sum(c.operations for c in report.lines if not c.shared)
    if updates <= launch.grid * bins or bins >= n:
        return ""
    most = f"{launch.grid * bins:,}, one for each block and bin, are enough"
    return f"{NO_COPY}\n\nOn {launch.what}: {updates:,} atomics in global memory, where {most}."


_CLEAR = HISTOGRAM[HISTOGRAM.index("  for (int b") : HISTOGRAM.index("  for (int i")]
_COUNT_ONE = "atomicAdd(&mine[bins_of[i]], 1);"
_ADD_COPY = HISTOGRAM[HISTOGRAM.rindex("  for (int b") : HISTOGRAM.rindex("}\n")]
_NEXT = "; i += gridDim.x * blockDim.x"
_I = "  int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < n) {\n"
_LOOP = HISTOGRAM[HISTOGRAM.index("  for (int i") : HISTOGRAM.index("    atomicAdd(&mine")]
HISTOGRAM_EXERCISE = Exercise(
    "07.histogram",
    "a histogram with a private copy for each block",
    HISTOGRAM,
    hints=(
        "Three parts: the block clears its copy; its threads count in it; the block adds it to "
        "counts. Which of them must not overlap?",
        "The first and the last part are loops over bins: thread t takes bins t, t + blockDim.x, "
        "... The middle part is a loop over elements, in steps of all threads of the grid.",
        "In the copy, threads of one block meet: atomicAdd in shared memory. In counts, blocks "
        "meet: atomicAdd again. A barrier after the first part, and one after the second.",
    ),
    wrong=(
        Wrong(HISTOGRAM.replace(_COUNT_ONE, "atomicAdd(&counts[bins_of[i]], 1);")
              .replace("&counts[b], mine[b]", "&counts[b], 0"), NO_COPY),
        Wrong(HISTOGRAM.replace("for (int b = threadIdx.x; b < bins; b += blockDim.x) {\n"
                                "    mine", "int b = threadIdx.x;\n  if (b < bins) {\n    mine"),
              NOT_CLEARED),
        Wrong(HISTOGRAM.replace(_CLEAR, _CLEAR.replace("  __syncthreads();\n", "")),
              CLEAR_BARRIER),
        Wrong(HISTOGRAM.replace(f"  __syncthreads();\n{_ADD_COPY}", _ADD_COPY), ADD_BARRIER),
        Wrong(HISTOGRAM.replace(_COUNT_ONE, "mine[bins_of[i]] += 1;"), COPY_LOST),
        Wrong(HISTOGRAM.replace("atomicAdd(&counts[b], mine[b])", "counts[b] += mine[b]"),
              COUNTS_LOST),
        Wrong(HISTOGRAM.replace("atomicAdd(&counts", "atomicExch(&counts"), OVERWRITTEN),
        Wrong(HISTOGRAM.replace(_ADD_COPY, "  int b = threadIdx.x;\n  if (b < bins) "
                                "atomicAdd(&counts[b], mine[b]);\n"), SOME_BINS),
        Wrong(HISTOGRAM.replace(_LOOP, _I), ELEMENTS_LEFT),
        Wrong(HISTOGRAM.replace(_NEXT, "; i += blockDim.x"), COUNTED_TWICE),
        Wrong(HISTOGRAM.replace("mine[256]", "mine[64]"), COPY_SMALL),
        Wrong(HISTOGRAM.replace("&mine[bins_of[i]]", "mine[bins_of[i]]"), NO_AMPERSAND),
    ),
    points=3,
    unproved="that it is faster; where few elements share a bin, a copy may not be worth its "
    "clearing.",
    judge=KernelTask(
        "07.histogram", "histogram", _histogram_launches, _histogram_fault, _histogram_counts
    ),
)  # fmt: skip

# ---- 07.transpose ---------------------------------------------------------------------------

TRANSPOSE = r"""
extern "C" __global__ void transpose(const float* input, float* output, int R, int C) {
  __shared__ float tile[32][33];
  int left = blockIdx.x * 32, top = blockIdx.y * 32, x = threadIdx.x;
  for (int y = threadIdx.y; y < 32; y += blockDim.y) {
    if (top + y < R && left + x < C) tile[y][x] = input[(top + y) * C + left + x];
  }
  __syncthreads();
  for (int y = threadIdx.y; y < 32; y += blockDim.y) {
    if (left + y < C && top + x < R) output[(left + y) * R + top + x] = tile[x][y];
  }
}
"""
TRANSPOSE_SECTORS = 1700  # for 64 x 96 numbers
TURNED_IN_MEMORY = (
    "The result is right, and one of the two arrays is touched down its columns: too many sectors. "
    "Read a tile along the rows of input, and write it along the rows of output; turn it between."
)
TOO_OFTEN = "The result is right, but some numbers are read or written more than once."
TILE_BARRIER = (
    "A thread reads a number of the tile that another one has perhaps not put there yet: all must "
    "have read their part of input before anybody writes output."
)
LEFT_TILE = (
    "A thread that has nothing to read may have something to write, since the tile is turned in "
    "between: guard the read, and do not return."
)
NOT_TURNED_TILE = (
    "The tiles are in their new places, but each of them is not turned: what is written along a "
    "row of output stands in a column of the tile."
)
TILE_STAYS = (
    "Each tile is turned, but it stays at its place: the tile at column `left` of input belongs to "
    "row `left` of output."
)
NO_GUARD_TILE = (
    "Tiles at the right and at the lower edge reach past the matrix: guard both the reads and the "
    "writes."
)
GUARD_OF_INPUT = (
    "The write has the guard of the read. In the second part, x runs along the rows of input and y "
    "along its columns: the guard must be turned, too."
)
ROWS_LEFT = (
    "A block has fewer than 32 rows of threads: each thread does several rows of the tile, in "
    "steps of blockDim.y."
)
FIXED_ROWS = "The step is a number, and blocks differ: blockDim.y tells how many rows they have."
WRONG_WIDTH = "A row of input has C numbers, a row of output R: one of the two is mistaken here."


def _transpose_launch(R: int, C: int, rows: int) -> Launch:
    matrix = np.random.default_rng([73, R, C]).normal(size=(R, C)).astype(np.float32)
    mistakes = {}
    if R % 32 == C % 32 == 0:
        tiles = matrix.reshape(R // 32, 32, C // 32, 32)
        mistakes[NOT_TURNED_TILE] = tiles.transpose(2, 1, 0, 3).reshape(C, R)
        if R == C:
            mistakes[TILE_STAYS] = tiles.transpose(0, 3, 2, 1).reshape(C, R)
        if R < C:
            places = np.arange(R)[:, None] * R + np.arange(C)
            mistakes[WRONG_WIDTH] = np.ascontiguousarray(matrix.ravel()[places].T)
    if C % 32:
        left = matrix.T.copy()
        left[C // 32 * 32 :, np.arange(R) % 32 >= C % 32] = unwritten(1)
        mistakes[LEFT_TILE] = left
    return Launch(
        f"{R} rows of {C}, blocks of 32 x {rows}", (-(-C // 32), -(-R // 32)), (32, rows),
        (matrix, unwritten(C, R), R, C),
        (1, np.ascontiguousarray(matrix.T)),
        mistakes,
    )  # fmt: skip


def _transpose_launches() -> list[Launch]:
    return [
        _transpose_launch(64, 96, 8),
        _transpose_launch(64, 64, 8),
        _transpose_launch(32, 64, 32),
        _transpose_launch(40, 7, 4),
        _transpose_launch(1, 70, 16),
    ]


def _transpose_fault(fault: KernelFault, code: str) -> str:
    R, C = fault.report.launched.values[-2:] if fault.report else (0, 0)
    whole = R % 32 == C % 32 == 0
    if re.search(r"\+=\s*\d", code):
        return FIXED_ROWS
    argument, names = _argument(fault), _names(fault.report) or ["input", "output", "R", "C"]
    if argument >= 0:
        wrong = rf"\b{names[0]}\s*\[[^]]*\*\s*{names[2]}\b|\b{names[1]}\s*\[[^]]*\*\s*{names[3]}\b"
        if re.search(wrong, code):
            return WRONG_WIDTH
        if fault.kind == "out of bounds":
            return "" if whole else NO_GUARD_TILE
        return TILE_STAYS if fault.kind == "race" and argument == 1 else ""
    if fault.kind == "race" or ("uninitialized" in fault.kind and "__syncthreads" not in code):
        return TILE_BARRIER
    if fault.kind != "uninitialized shared memory":
        return ""
    if whole:
        return ROWS_LEFT
    guards = len(re.findall(rf"[<>]=?\s*(?:{names[2]}|{names[3]})\b", code))
    return GUARD_OF_INPUT if guards > 2 else NO_GUARD_TILE


def _transpose_counts(report: Report, launch: Launch, code: str) -> str:
    sectors = report.total("sectors")
    if launch.args[2:] != (64, 96) or sectors <= TRANSPOSE_SECTORS:
        return ""
    told = f"On {launch.what}: {sectors:,} sectors; the budget is {TRANSPOSE_SECTORS:,}."
    spread = max(line.sectors_per_request for line in report.lines if not line.shared) > 8
    message = TURNED_IN_MEMORY if spread else TOO_OFTEN
    message = FIXED_ROWS if re.search(r"\+=\s*\d", code) else message
    return f"{message}\n\n{told}\n{by_line(report)}"


_READ_TILE = TRANSPOSE[TRANSPOSE.index("  for (int y") : TRANSPOSE.index("  __syncthreads")]
_WRITE_GUARD = "if (left + y < C && top + x < R) output"
_EACH_ROW = "for (int y = threadIdx.y; y < 32; y += blockDim.y) {"
TRANSPOSE_EXERCISE = Exercise(
    "07.transpose",
    "a transpose through tiles in shared memory",
    TRANSPOSE,
    hints=(
        "Take one tile of 32 x 32 numbers on paper. Its rows are rows of input; which rows of "
        "output does it become, and where do they begin?",
        "Two parts with a barrier between them. In both, neighboring threads (threadIdx.x) touch "
        "neighboring addresses in global memory; so in one of them they go down the tile.",
        "Read tile[y][x] from input at (top + y, left + x); write tile[x][y] to output at "
        "(left + y, top + x). Each part is a loop over y in steps of blockDim.y, with a guard.",
    ),
    wrong=(
        Wrong(TRANSPOSE.replace("output[(left + y) * R + top + x] = tile[x][y]", "(void)0").replace(
            "tile[y][x] = input", "output[(left + x) * R + top + y] = input"), TURNED_IN_MEMORY),
        Wrong(TRANSPOSE.replace("  __syncthreads();\n", ""), TILE_BARRIER),
        Wrong(TRANSPOSE.replace("tile[x][y]", "tile[y][x]"), NOT_TURNED_TILE),
        Wrong(TRANSPOSE.replace("output[(left + y) * R + top + x]",
                                "output[(top + y) * R + left + x]"), TILE_STAYS),
        Wrong(TRANSPOSE.replace("if (top + y < R && left + x < C) ", ""), NO_GUARD_TILE),
        Wrong(TRANSPOSE.replace(_WRITE_GUARD, "if (top + y < R && left + x < C) output"),
              GUARD_OF_INPUT),
        Wrong(TRANSPOSE.replace(_EACH_ROW, "int y = threadIdx.y;\n  {", 1), ROWS_LEFT),
        Wrong(TRANSPOSE.replace(_READ_TILE, "  if (left + x >= C) return;\n" + _READ_TILE),
              LEFT_TILE),
        Wrong(TRANSPOSE.replace("y += blockDim.y", "y += 8"), FIXED_ROWS),
        Wrong(TRANSPOSE.replace("(top + y) * C", "(top + y) * R"), WRONG_WIDTH),
    ),
    points=3,
    unproved="that the banks of shared memory are used evenly: look at the passes of a report with "
    "tile[32][32] and with tile[32][33].",
    judge=KernelTask(
        "07.transpose", "transpose", _transpose_launches, _transpose_fault, _transpose_counts
    ),
)  # fmt: skip

EXERCISES = (
    GRID, PREDICT, AXPY_EXERCISE, BOUNDS, LOST_UPDATE, BARRIER, COALESCE, MEAN, REDUCE_EXERCISE,
    HISTOGRAM_EXERCISE, TRANSPOSE_EXERCISE,
)  # fmt: skip
