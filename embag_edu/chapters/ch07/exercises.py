"""The exercises of chapter 07: a first kernel. Most answers are CUDA source."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import (
    NO_COMPILE,
    NOT_SOURCE,
    REFUSED,
    KernelTask,
    Launch,
    kinds_of,
)
from embag_edu.cuda_on_cpu import KernelFault, RawKernel, Report, settings

NAN = float("nan")

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


GRID = Exercise(
    "07.grid",
    "the number of blocks for n elements",
    blocks_for,
    _grid_cases,
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
    missed = [says for (*_, says), f, e in zip(PATTERNS, found, SECTORS, strict=True) if f != e]
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
)

# ---- 07.axpy --------------------------------------------------------------------------------

AXPY = r"""
extern "C" __global__ void axpy(float a, const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
"""
NO_ADD = "y[i] is overwritten: the old y[i] must be added."
SWAPPED = "The factor stands at the wrong array: a times x, and not a times y."
UNGUARDED = "There are more threads than elements, and one without an element goes on all the same."
OFF_BY_ONE = "The guard lets i = n pass, but the last element is n - 1."
SAME_INDEX = (
    "Two threads have the same i. threadIdx.x starts from 0 in every block: the number of the "
    "block must be in the index."
)
EACH_DOES_ALL = (
    "Each thread does all elements, and they get into each other's way. The loop is gone: a thread "
    "does the one element that is its own."
)
SERIAL = (
    "The result is right, but one thread does many elements in a loop. Each has its own thread."
)


def _axpy_launches() -> list[Launch]:
    random = np.random.default_rng(7)
    made = []
    for what, n in (("n = 1", 1), ("n = 256, two whole blocks", 256), ("n = 300", 300)):
        x, y = random.normal(size=(2, n)).astype(np.float32)
        a = np.float32(1.5)
        made.append(
            Launch(
                what,
                -(-n // 128),
                128,
                (a, x, y.copy(), n),
                (2, a * x + y),
                {NO_ADD: a * x, SWAPPED: x + a * y},
            )
        )
    return made


def _axpy_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "race":
        return EACH_DOES_ALL if _has_loop(code) else SAME_INDEX
    if fault.kind == "out of bounds":
        return OFF_BY_ONE if "<=" in code else UNGUARDED
    return ""


def _axpy_counts(report: Report, launch: Launch, code: str) -> str:
    n = launch.args[3]
    reads = sum(line.requests for line in report.lines if line.array == "x")
    return SERIAL if n > 1 and reads >= n else ""


def _has_loop(code: str) -> bool:
    return bool(re.search(r"\b(for|while)\s*\(", code))


AXPY_TASK = KernelTask("axpy", _axpy_launches, _axpy_fault, _axpy_counts)
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
        Wrong(AXPY.replace(" + y[i]", ""), NO_ADD),
        Wrong(AXPY.replace("a * x[i] + y[i]", "x[i] + a * y[i]"), SWAPPED),
        Wrong(AXPY.replace(_AXPY_BODY, _AXPY_LOOP), EACH_DOES_ALL),
        Wrong(AXPY.replace(_AXPY_BODY, f"if (i == 0) {_AXPY_LOOP}"), SERIAL),
        Wrong(AXPY.replace("y[i];", "y[i]"), NO_COMPILE),
        Wrong(AXPY.replace("float a", "double a"), REFUSED),
    ),
    points=2,
    unproved="that it is fast, or right for more than 2**31 elements: int ends there.",
    judge=AXPY_TASK,
)

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


def _differences_launches() -> list[Launch]:
    random = np.random.default_rng(17)
    made = []
    for what, n in (
        ("n = 128, one block", 128),
        ("n = 200", 200),
        ("n = 2, one difference", 2),  # at the end: there, the first one is the last one, too
    ):
        x = random.normal(size=n).astype(np.float32)
        right = np.diff(x)
        last, first = right.copy(), right.copy()
        last[-1] = first[0] = NAN
        made.append(
            Launch(
                what,
                -(-n // 128),
                128,
                (x, np.full(n - 1, NAN, np.float32), n),
                (1, right),
                {FIRST_LOST: first, LAST_LOST: last, SIGN: -right},
            )
        )
    return made


def _differences_fault(fault: KernelFault, code: str) -> str:
    if fault.kind != "out of bounds":
        return ""
    if fault.array == "output":
        return WRITES_PAST
    return BEFORE if fault.thread[0] == fault.block[0] == 0 else READS_PAST


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
    ),
    points=1,
    unproved="n = 0 and n = 1, where there is no difference at all.",
    judge=KernelTask("differences", _differences_launches, _differences_fault),
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
EXCHANGE = "atomicExch writes in one step, but total[0] was read before, in a step of its own."
ADDS_LENGTH = "The lengths were added up. Each long bag counts 1."
NOT_LONGER = "Bags of exactly `limit` were counted: longer means more than limit."
ALONE = "One thread does all the work. The result is right, but a grid of one thread is a loop."


def _count_launches() -> list[Launch]:
    random = np.random.default_rng(27)
    made = []
    for B in (40, 300):
        lengths = random.integers(0, 50, B).astype(np.int32)
        lengths[:4] = 20

        def of(value: Any) -> np.ndarray:
            return np.array([value], np.int32)

        mistakes = {
            ADDS_LENGTH: of(lengths[lengths > 20].sum()),
            NOT_LONGER: of((lengths >= 20).sum()),
        }
        made.append(
            Launch(
                f"{B} bags, limit 20",
                -(-B // 128),
                128,
                (lengths, np.zeros(1, np.int32), 20, B),
                (1, of((lengths > 20).sum())),
                mistakes,
            )
        )
    return made


def _count_fault(fault: KernelFault, code: str) -> str:
    if kinds_of(fault) & {"divergent barrier", "deadlock"}:
        return BARRIER_ONLY
    if fault.kind != "race":
        return ""
    marks = {"atomicExch": EXCHANGE, "atomic": HALF_ATOMIC, "__sync": BARRIER_ONLY}
    return next((says for mark, says in marks.items() if mark in code), LOST)


def _count_alone(report: Report, launch: Launch, code: str) -> str:
    reads = [line for line in report.lines if line.array == "lengths"]
    return ALONE if sum(line.requests for line in reads) >= launch.args[3] else ""


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
        Wrong(COUNT_LONG.replace(_UPDATE, "atomicExch(&total[0], total[0] + 1);"), EXCHANGE),
        Wrong(COUNT_RIGHT.replace("[0], 1)", "[0], lengths[bag])"), ADDS_LENGTH),
        Wrong(COUNT_RIGHT.replace("> limit", ">= limit"), NOT_LONGER),
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
    judge=KernelTask("count_long", _count_launches, _count_fault, _count_alone),
)

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
NOT_A_CALL = "Without its parentheses, `__syncthreads;` does nothing: call it, `__syncthreads();`."
IN_A_BRANCH = "Not all threads of the block come to the barrier: it stands in a branch."
NOT_TURNED = "The numbers are copied, not turned round."
PAST_PART = "part has elements 0 to 63: which one does thread 0 ask for?"


def _reverse_launches() -> list[Launch]:
    made = []
    for blocks in (1, 3):
        x = np.arange(64 * blocks, dtype=np.float32)
        right = np.ascontiguousarray(x.reshape(blocks, 64)[:, ::-1]).ravel()
        made.append(
            Launch(
                f"{blocks} blocks of 64" if blocks > 1 else "one block of 64",
                blocks,
                64,
                (x, np.full_like(x, NAN)),
                (1, right),
                {NOT_TURNED: x},
            )
        )
    return made


def _reverse_fault(fault: KernelFault, code: str) -> str:
    if kinds_of(fault) & {"divergent barrier", "deadlock"}:
        return IN_A_BRANCH
    if fault.kind in ("array index", "out of bounds"):
        return PAST_PART
    if "__syncwarp" in code:
        return WARP_ONLY
    if re.search(r"__syncthreads\s*;", code):
        return NOT_A_CALL
    barrier, write = code.find("__syncthreads"), code.find("part[t] =")
    return TOO_EARLY if 0 <= barrier < write else NO_BARRIER


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
    ),
    points=1,
    unproved="blocks of another size: the 64 stands in the source.",
    judge=KernelTask("reverse_blocks", _reverse_launches, _reverse_fault),
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
WRONG_SIZE = (
    "r and c leave the matrix: divide by the number of columns, for that is how many elements a "
    "row has."
)
WRONG_ROW = (
    "matrix and output go along well, but row[c] is that of another column: c has to be the column "
    "of the same element."
)
NO_GUARD = "There are more threads than elements; those left over must do nothing."
ONE_ROW = "Only the first row was done, or some elements were never written: look at r."


def _add_row_launches() -> list[Launch]:
    R, C = 48, 64
    random = np.random.default_rng(37)
    matrix = random.normal(size=(R, C)).astype(np.float32)
    row = random.normal(size=C).astype(np.float32)
    flat = np.arange(R * C)
    other = (matrix.ravel() + row[flat // R]).reshape(R, C).astype(np.float32)
    first = np.full_like(matrix, NAN)
    first[0] = matrix[0] + row
    made = [
        Launch(
            "48 rows of 64",
            25,
            128,
            (matrix, row, np.full_like(matrix, NAN), R, C),
            (2, matrix + row),
            {WRONG_ROW: other, ONE_ROW: first},
        )
    ]
    return made


def _add_row_fault(fault: KernelFault, code: str) -> str:
    if fault.kind != "out of bounds":
        return WRONG_SIZE if fault.kind == "race" else ""
    i = fault.block[0] * 128 + fault.thread[0]
    return NO_GUARD if i >= 48 * 64 else WRONG_SIZE


def _add_row_counts(report: Report, launch: Launch, code: str) -> str:
    sectors = report.total("sectors")
    if sectors <= BUDGET:
        return ""
    told = "\n".join(
        f"    line {c.line}: {c.kind} {c.array}, {c.sectors_per_request:.1f} sectors a request"
        for c in report.lines
    )
    says = LOOPS if _has_loop(code) else SCATTERED
    return f"{says}\n\nOn {launch.what}: {sectors:,} sectors; the budget is {BUDGET:,}.\n{told}"


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
        Wrong(ADD_ROW.replace("r * C + c", "c * R + r"), WRONG_ROW),
        Wrong(ADD_ROW_RIGHT.replace("if (i >= R * C) return;", ""), NO_GUARD),
        Wrong(
            ADD_ROW.replace("if (i >= R * C)", "if (i >= R)").replace(
                _MAPPING, "int r = i;\n  for (int c = 0; c < C; c++)"
            ),
            LOOPS,
        ),
        Wrong(ADD_ROW_RIGHT.replace("if (i >= R * C)", "if (i >= C)"), ONE_ROW),
    ),
    points=2,
    unproved="that fewer sectors are faster on your GPU; chapter 08 is about that.",
    judge=KernelTask("add_row", _add_row_launches, _add_row_fault, _add_row_counts),
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
LAST_MISSING = "The last position of each bag is missing: a bag ends before offsets[bag + 1]."
ONE_TOO_MANY = "The loop takes one position too many: offsets[bag + 1] belongs to the next bag."
COMMA = (
    "An index with a comma, such as output[bag, d], is not what it is in NumPy: C++ takes only "
    "what stands behind the comma. Compute the place: output[bag * D + d]."
)
COMMA_READ = (
    "Only the first row of weight was read. If you wrote weight[row, d]: C++ takes only what "
    "stands behind the comma. Compute the place: weight[row * D + d]."
)
BY_POSITION = "The position was taken as the row. The row's number is what indices holds there."
TOO_MANY_THREADS = "There are more threads than elements of the output: a guard is missing."


def _mean_launches() -> list[Launch]:
    random = np.random.default_rng(47)
    weight = random.normal(size=(30, 5)).astype(np.float32)
    made = []
    for what, ends in (
        ("two bags", [0, 2, 5]),
        ("bags 0, 2 and 5 are empty", [0, 0, 3, 3, 4, 9, 9]),
        ("forty bags", np.sort(np.append([0, 120], random.integers(0, 120, 39)))),
    ):
        ends = np.array(ends, np.int64)
        ids = random.integers(0, 30, ends[-1])
        B, D = len(ends) - 1, weight.shape[1]
        right, mistakes = _means(weight, ids, ends)
        made.append(
            Launch(
                what,
                -(-B * D // 64),
                64,
                (weight, ids, ends, np.full((B, D), NAN, np.float32), B, D),
                (3, right),
                mistakes,
            )
        )
    return made


def _means(
    weight: np.ndarray, ids: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    def sums(less: int, ids: np.ndarray = ids) -> np.ndarray:
        pairs = zip(ends[:-1], ends[1:], strict=True)
        rows = [weight[ids[b : max(e - less, b)]].sum(axis=0, dtype=np.float32) for b, e in pairs]
        return np.array(rows, np.float32)

    lengths = np.diff(ends)[:, None].astype(np.float32)
    some = np.maximum(lengths, 1)
    right = sums(0) / some
    empty = np.where(lengths == 0, np.float32(NAN), right)
    mistakes = {
        EMPTY_LEFT: empty,
        NOT_DIVIDED: sums(0),
        BY_D: sums(0) / np.float32(weight.shape[1]),
        LAST_MISSING: sums(1) / some,
        COMMA_READ: np.where(lengths == 0, np.float32(0), weight[0]),
        BY_POSITION: sums(0, np.arange(len(ids)) % len(weight)) / some,
    }
    return right, mistakes


class _MeanTask(KernelTask):
    """As KernelTask; a NaN at an empty bag may be written (0 / 0) or left, which looks the same."""

    def __call__(self, mine: Any) -> str:
        said = super().__call__(mine)
        code = mine() if callable(mine) else mine
        if said.startswith(EMPTY_LEFT) and not _leaves_empty(code):
            return said.replace(EMPTY_LEFT, EMPTY_NAN, 1)
        return said


def _leaves_empty(code: str) -> bool:
    """Does the kernel leave the output of an empty bag as it was? Asked with a mark in it."""
    output = np.full((1, 1), 7, np.float32)
    with settings(mode="checked", order=0):
        RawKernel(code, "bag_mean")(
            (1,),
            (1,),
            (
                np.ones((1, 1), np.float32),
                np.zeros(1, np.int64),
                np.zeros(2, np.int64),
                output,
                1,
                1,
            ),
        )
    return bool(output[0, 0] == 7)


def _mean_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "race" and re.search(r",\s*\w+\s*\]", code):
        return COMMA
    if fault.kind != "out of bounds":
        return ""
    return ONE_TOO_MANY if fault.array in ("indices", "weight") else TOO_MANY_THREADS


_DIVIDE = "output[element] = end > begin ? sum / (end - begin) : 0.0f;"
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
        Wrong(BAG_MEAN.replace("sum / (end - begin)", "sum"), NOT_DIVIDED),
        Wrong(BAG_MEAN.replace("(end - begin)", "D"), BY_D),
        Wrong(BAG_MEAN.replace("i < end;", "i < end - 1;"), LAST_MISSING),
        Wrong(BAG_MEAN.replace("i < end;", "i <= end;"), ONE_TOO_MANY),
        Wrong(BAG_MEAN.replace("if (element >= B * D) return;", ""), TOO_MANY_THREADS),
        Wrong(BAG_MEAN.replace("output[element]", "output[bag, d]"), COMMA),
        Wrong(BAG_MEAN.replace("[indices[i] * D + d]", "[indices[i], d]"), COMMA_READ),
        Wrong(BAG_MEAN.replace("indices[i] * D", "i * D"), BY_POSITION),
    ),
    points=3,
    unproved="padding, weights and 16-bit tables: chapter 09.",
    judge=_MeanTask("bag_mean", _mean_launches, _mean_fault),
)

EXERCISES = (GRID, PREDICT, AXPY_EXERCISE, BOUNDS, LOST_UPDATE, BARRIER, COALESCE, MEAN)
