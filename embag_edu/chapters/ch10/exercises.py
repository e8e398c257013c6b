"""The exercises of chapter 10: backward with atomics, and the gradient detective.

puzzle = mystery(7)          # a wrong gradient, made by one named fault; any seed
accuse(puzzle, "lost update")
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from embag_edu.chapters.detective import Detective, Setting, draw
from embag_edu.course.draw import size
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import (
    FIXED_BLOCK,
    NO_AMPERSAND,
    NO_COMPILE,
    NOT_SOURCE,
    KernelTask,
    Launch,
    kinds_of,
    threads,
)
from embag_edu.course.variants import items, reordered
from embag_edu.cuda_on_cpu import KernelFault, Report

# ---- 10.hits --------------------------------------------------------------------------------


def hits(indices: np.ndarray, padding_idx: int, warp: int) -> tuple[int, int]:
    """How often the hottest address is hit: an atomic for each position; equal rows joined."""
    plain: Counter[int] = Counter()
    joined: Counter[int] = Counter()
    for begin in range(0, len(indices), warp):
        rows = [int(row) for row in indices[begin : begin + warp] if row != padding_idx]
        plain.update(rows)
        joined.update(set(rows))
    return max(plain.values(), default=0), max(joined.values(), default=0)


def _with_padding(indices, padding_idx, warp):
    return hits(indices, -1, warp)


def _all_atomics(indices, padding_idx, warp):
    parts = [indices[k : k + warp] for k in range(0, len(indices), warp)]
    return len(indices), sum(len(set(part.tolist()) - {padding_idx}) for part in parts)


def _padding_taken_out_first(indices, padding_idx, warp):
    return hits(indices[indices != padding_idx], -1, warp)


def _best_possible(indices, padding_idx, warp):
    plain, _ = hits(indices, padding_idx, warp)
    return plain, -(-plain // warp)


def _whole_warps_only(indices, padding_idx, warp):
    plain, _ = hits(indices, padding_idx, warp)
    return plain, hits(indices[: len(indices) // warp * warp], padding_idx, warp)[1]


def _all_warps(indices, padding_idx, warp):
    return hits(indices, padding_idx, warp)[0], -(-len(indices) // warp)


def _of_the_hottest_only(indices, padding_idx, warp):
    rows = indices[indices != padding_idx]
    if not len(rows):
        return 0, 0
    hot = int(np.bincount(rows).argmax())
    starts = range(0, len(indices), warp)
    return int((rows == hot).sum()), sum(hot in indices[k : k + warp] for k in starts)


def _hits_cases() -> list[Case]:
    random = np.random.default_rng(101)
    words = np.minimum(random.zipf(1.3, 300), 50) - 1
    return [
        Case("two warps of 4", np.array([2, 5, 2, 2, 5, 1, 3, 2]), padding_idx=9, warp=4),
        Case("padding", np.array([0, 0, 3, 0, 0, 3, 0, 1]), padding_idx=0, warp=4),
        Case("the last warp is not full", np.array([1, 1, 7, 4, 7, 7]), padding_idx=0, warp=4),
        Case("hot in fewer warps", np.array([6, 6, 8, 1, 6, 6, 8, 3, 8, 5, 4, 7]), 0, warp=4),
        Case("no position", np.zeros(0, np.int64), padding_idx=0, warp=4),
        Case("only padding", np.array([3, 3, 3]), padding_idx=3, warp=4),
        Case("300 words, warps of 32", words, padding_idx=0, warp=32),
    ]


def _any_hits(random):
    V = size(random, 1, 6)
    indices = random.integers(0, V, size(random, 0, 30))
    return indices, size(random, 0, V), size(random, 1, 9)


HITS = Exercise(
    "10.hits",
    "the hits of the hottest address",
    hits,
    _hits_cases,
    random_call=_any_hits,
    hints=(
        "Take one feature of one row: an address. Which positions send an atomic to it?",
        "Joined: a warp sends one atomic for a row, whether the row stands in it once or 32 times.",
        "Cut the positions into warps as they stand, then leave the padding out. Count each row "
        "once for each position, and, in a second count, once for each warp that it stands in; "
        "take the largest of each count.",
    ),
    wrong=(
        Wrong(_with_padding, "Padding was counted: those positions send nothing."),
        Wrong(
            _all_atomics,
            "That is the number of all atomics. Asked for are those at the one hottest address.",
        ),
        Wrong(
            _padding_taken_out_first,
            "A padded position still has a lane: cut into warps first, then leave padding out.",
        ),
        Wrong(
            _best_possible,
            "That would be right if equal rows stood side by side. A warp joins what it holds.",
        ),
        Wrong(
            _whole_warps_only,
            "The last warp is missing: it is not full, but its lanes add too.",
        ),
        Wrong(
            _all_warps,
            "That counts all warps. Only warps that hold the row hit its address.",
        ),
        Wrong(
            _of_the_hottest_only,
            "The row that is hottest without joining need not be the hottest with it.",
        ),
    ),
    points=2,
    returns=("plain", "joined"),
    unproved="how long anybody waits at that address.",
)

# ---- 10.repeatable --------------------------------------------------------------------------

SUMS = (  # (the same bits in every order?, what to say to who is wrong)
    (True, '"a": whole numbers have one sum in every order; no int is rounded.'),
    (False, '"b": three floats can give two sums, because each addition is rounded.'),
    (True, '"c": 0 + x + y is rounded once, and x + y = y + x: two shares have one sum.'),
    (True, '"d": whole numbers up to 2**24 are exact in float32, so nothing is ever rounded.'),
    (True, '"e": the largest of some numbers is the same in every order; nothing is rounded.'),
    (False, '"f": the tickets are the same, but who gets which depends on who comes first.'),
    (False, '"g": float64 rounds too, only later: other orders give other last bits.'),
)
REPEATABLE = [same for same, _ in SUMS]
NOT_SEVEN = "Return a list of seven: True where every order gives the same bits, else False."


def _judge_repeatable(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    if not isinstance(mine, (list, tuple)) or len(mine) != len(SUMS):
        return NOT_SEVEN
    if any(not isinstance(value, (bool, np.bool_)) for value in mine):
        return NOT_SEVEN
    missed = [
        message for (same, message), value in zip(SUMS, mine, strict=True) if same != bool(value)
    ]
    return "\n".join([f"{len(missed)} of {len(SUMS)} are not right.", *missed]) if missed else ""


def _turned(at: int) -> list[bool]:
    return [same != (k == at) for k, same in enumerate(REPEATABLE)]


REPEATABLE_EXERCISE = Exercise(
    "10.repeatable",
    "which sums are the same in every order",
    REPEATABLE,
    hints=(
        "Order matters where something is rounded, or where somebody asks who was first.",
        "Ask of each: is any intermediate result rounded? If so, can an order change which?",
        "Whole numbers that fit are never rounded. With two shares there is only one addition that "
        "rounds. Wider floats round as well, only further to the right.",
    ),
    wrong=(
        Wrong("all of them", NOT_SEVEN),
        *(Wrong(_turned(k), message) for k, (_, message) in enumerate(SUMS)),
    ),
    points=2,
    unproved="that a sum that may differ does so on your machine today.",
    judge=_judge_repeatable,
    vary=reordered("abcdefg"),
    shown=items(
        (
            "`atomicAdd` of 1 to `int` counts, many times",
            "`atomicAdd` of three arbitrary `float`s to one place",
            "`atomicAdd` of two arbitrary `float`s to one place",
            "`atomicAdd` of 1.0 to a `float`, a thousand times",
            "`atomicMax` of many `int`s at one place",
            "`place[thread] = atomicAdd(ticket, 1)`: the whole array `place`",
            "`atomicAdd` of a thousand arbitrary `double`s to one place",
        ),
        REPEATABLE,
    ),
)

# ---- 10.lost_update -------------------------------------------------------------------------

ADD_BAGS = r"""
// grad_weight[rows[i]] += grad_output[bags[i]], for n positions and D features.
extern "C" __global__ void add_bags(const float* grad_output, const int* rows, const int* bags,
                                    float* grad_weight, int n, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= n * D) return;
  int i = element / D, d = element % D;
  float* sum = &grad_weight[rows[i] * D + d];
  float part = grad_output[bags[i] * D + d];
  *sum += part;
}
"""
LOST = "Two positions hold the same row: one of them writes over what the other has added."
NO_BARRIER_HELPS = (
    "A barrier orders what stands before it and after it. The threads still read and write the "
    "same place at the same time, and other blocks do not wait at all."
)
HALF = "The read is atomic and the write is not: another thread comes in between."
EXCHANGED = "The exchange is atomic, but the sum that it writes was read before, by a plain read."
OVERWRITTEN = "The row holds the last share that came. Shares must be added up."
ONE_FEATURE = "All features were added to the first one of the row: d belongs in the place."
BY_POSITION = "grad_output has one row for each bag: ask which bag the position stands in."
SERIAL = (
    "The result is right, but a thread does many additions in a loop. Each (position, d) has its "
    "own thread."
)


def _add_bags_launch(n: int, D: int, block: int, spare: int = 0, R: int = 5) -> Launch:
    random = np.random.default_rng([103, n, D])
    rows = random.integers(0, R - 1, n).astype(np.int32)
    bags = np.sort(random.integers(0, n // 2 + 1, n)).astype(np.int32)
    G = random.normal(size=(n, D)).astype(np.float32)
    right, first, straight, last = (np.zeros((R, D), np.float32) for _ in range(4))
    np.add.at(right, rows, G[bags])
    first[:, 0] = right.sum(axis=1)
    np.add.at(straight, rows, G)
    last[rows] = G[bags]
    args = (G, rows, bags, np.zeros((R, D), np.float32), n, D)
    mistakes = {ONE_FEATURE: first, BY_POSITION: straight, OVERWRITTEN: last}
    what = f"{n} positions, D = {D}, blocks of {block}"
    return Launch(what, -(-n * D // block) + spare, block, args, (3, right), mistakes)


def _add_bags_launches() -> list[Launch]:
    return [
        _add_bags_launch(40, 3, 64),
        _add_bags_launch(300, 2, 64),
        _add_bags_launch(50, 5, 32, spare=1),
        _add_bags_launch(130, 1, 128, R=9),
    ]


def _add_bags_fault(fault: KernelFault, code: str) -> str:
    kinds = kinds_of(fault)
    if "race" in kinds and "atomicExch" in code:
        return EXCHANGED
    if "race" in kinds and "atomicAdd" in code:
        return HALF if "atomically" in str(fault) else LOST
    if "__sync" in code and kinds & {"race", "divergent barrier", "deadlock"}:
        return NO_BARRIER_HELPS
    return LOST if "race" in kinds else ""


def _add_bags_counts(report: Report, launch: Launch, code: str) -> str:
    n, D = launch.args[4:]
    return SERIAL if threads(report, "grad_output", "read") < n * D else ""


_PLAIN = "*sum += part;"
ADD_BAGS_RIGHT = ADD_BAGS.replace(_PLAIN, "atomicAdd(sum, part);")
LOST_UPDATE = Exercise(
    "10.lost_update",
    "repair a backward that loses gradient",
    ADD_BAGS_RIGHT,
    hints=(
        "Which line is three steps, though it looks like one?",
        "Read, add and write must be one step that nobody comes between.",
        "One function does it. It takes the place, which `sum` is already, and what to add.",
    ),
    wrong=(
        Wrong(ADD_BAGS, LOST),
        Wrong(ADD_BAGS.replace(_PLAIN, f"__syncthreads();\n  {_PLAIN}"), NO_BARRIER_HELPS),
        Wrong(ADD_BAGS.replace(_PLAIN, "*sum = atomicAdd(sum, 0.0f) + part;"), HALF),
        Wrong(ADD_BAGS.replace(_PLAIN, "atomicExch(sum, *sum + part);"), EXCHANGED),
        Wrong(ADD_BAGS.replace(_PLAIN, "atomicExch(sum, part);"), OVERWRITTEN),
        Wrong(ADD_BAGS_RIGHT.replace("rows[i] * D + d", "rows[i] * D"), ONE_FEATURE),
        Wrong(ADD_BAGS_RIGHT.replace("bags[i] * D", "i * D"), BY_POSITION),
        Wrong(
            ADD_BAGS.replace("if (element >= n * D) return;", "if (element > 0) return;")
            .replace(
                "int i = element / D, d = element % D;",
                "for (int i = 0; i < n; i++) for (int d = 0; d < D; d++) {",
            )
            .replace(_PLAIN, f"{_PLAIN} }}"),
            SERIAL,
        ),
        Wrong(ADD_BAGS_RIGHT.replace("part);", "part)"), NO_COMPILE),
        Wrong(ADD_BAGS_RIGHT.replace("(sum,", "(*sum,"), NO_AMPERSAND),
        Wrong(ADD_BAGS_RIGHT.replace("blockDim.x", "64"), FIXED_BLOCK),
    ),
    points=1,
    unproved="that two runs give the same bits: with atomics they may not.",
    judge=KernelTask(
        "10.lost_update", "add_bags", _add_bags_launches, _add_bags_fault, _add_bags_counts
    ),
)

# ---- 10.join --------------------------------------------------------------------------------

ADD_SCORES = r"""
// sums[rows[i]] += scores[i] for n positions. One thread for each; blocks of 64 threads.
extern "C" __global__ void add_scores(const int* rows, const float* scores, float* sums, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&sums[rows[i]], scores[i]);
}
"""
ADD_SCORES_JOINED = r"""
extern "C" __global__ void add_scores(const int* rows, const float* scores, float* sums, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int lane = threadIdx.x % 32;
  int row = i < n ? rows[i] : -1;
  float score = i < n ? scores[i] : 0.0f;
  unsigned same = __match_any_sync(0xffffffffu, row);
  float sum = 0.0f;
  for (int k = 0; k < 32; k++) {
    float other = __shfl_sync(0xffffffffu, score, k);
    if (same >> k & 1) sum += other;
  }
  if (i < n && lane == __ffs(same) - 1) atomicAdd(&sums[row], sum);
}
"""
OVER = "The sums are right, but there are too many atomics: equal rows of a warp were not joined."
ALL_ADD = (
    "Every lane of a group adds the whole sum of the group. One of them is enough: its leader."
)
LEADER_ONLY = "The leader adds its own score only; those of the other lanes of its group are lost."
ALL_LANES = "The sum of all 32 lanes went to a row. Only lanes with the same row belong together."
LANES_MISSING = (
    "Lanes that are named in the mask do not take part. No lane may leave, or stand aside in a "
    "branch, before the last warp operation."
)
NOT_ATOMIC = "Within the warp there is one writer now. Other warps hold the same row: still a race."
FIRST_WARP = "Only the first warp of each block was added: a lane's number is threadIdx.x % 32."
ONE_GROUP = "Only the group of lane 0 was added. Every group has a leader of its own."


def _add_scores_launch(n: int, R: int, spare: int = 0) -> Launch:
    random = np.random.default_rng([107, n])
    rows = np.minimum(random.integers(0, R, n), random.integers(0, R, n)).astype(np.int32)
    scores = random.normal(size=n).astype(np.float32) + np.float32(2)
    right, mistakes = _scores(rows, scores, R)
    args = (rows, scores, np.zeros(R, np.float32), n)
    what = f"{n} positions of {R} rows"
    return Launch(what, -(-n // 64) + spare, 64, args, (2, right), mistakes)


def _add_scores_launches() -> list[Launch]:
    return [
        _add_scores_launch(64, 8),
        _add_scores_launch(200, 8),
        _add_scores_launch(33, 3, spare=1),
        _add_scores_launch(96, 60),
        _add_scores_launch(128, 1),
    ]


def _scores(
    rows: np.ndarray, scores: np.ndarray, R: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The right sums, and those of five mistakes."""
    right, every, alone, mixed, one, early = (np.zeros(R, np.float32) for _ in range(6))
    np.add.at(right, rows, scores)
    first = np.arange(len(rows)) % 64 < 32
    np.add.at(early, rows[first], scores[first])
    for begin in range(0, len(rows), 32):
        mine, told = rows[begin : begin + 32], scores[begin : begin + 32]
        for row in np.unique(mine):
            group = told[mine == row]
            every[row] += len(group) * group.sum()
            alone[row] += group[0]
            mixed[row] += told.sum()
            one[row] += group.sum() if mine[0] == row else 0
    mistakes = {ALL_ADD: every, LEADER_ONLY: alone, ALL_LANES: mixed, ONE_GROUP: one}
    return right, mistakes | {FIRST_WARP: early}


def _add_scores_fault(fault: KernelFault, code: str) -> str:
    if kinds_of(fault) & {"warp mask", "shuffle source", "deadlock"}:
        return LANES_MISSING
    return NOT_ATOMIC if fault.kind == "race" else ""


def _add_scores_counts(report: Report, launch: Launch, code: str) -> str:
    rows = launch.args[0]
    budget = sum(len(set(rows[k : k + 32].tolist())) for k in range(0, len(rows), 32))
    used = report.total("operations")
    told = f"On {launch.what}: {used} atomics; the budget is {budget}."
    return f"{OVER}\n\n{told}" if used > budget else ""


_LEADER = "if (i < n && lane == __ffs(same) - 1) atomicAdd(&sums[row], sum);"
_FETCH = "int row = i < n ? rows[i] : -1;\n  float score = i < n ? scores[i] : 0.0f;"
JOIN = Exercise(
    "10.join",
    "join equal rows of a warp under a budget of atomics",
    ADD_SCORES_JOINED,
    hints=(
        "Read version 4 of the chapter. With one feature, a lane holds all that its position has.",
        "Each lane learns which lanes hold its row; then it needs their scores; then one speaks.",
        "All 32 lanes hand round all 32 scores, and each adds up those of its own group; the "
        "lowest lane of a group sends the sum. Lanes past the end take part with a row of -1.",
    ),
    wrong=(
        Wrong(3, NOT_SOURCE),
        Wrong(ADD_SCORES, OVER),
        Wrong(ADD_SCORES_JOINED.replace(" && lane == __ffs(same) - 1", ""), ALL_ADD),
        Wrong(ADD_SCORES_JOINED.replace("[row], sum)", "[row], score)"), LEADER_ONLY),
        Wrong(ADD_SCORES_JOINED.replace("if (same >> k & 1) ", ""), ALL_LANES),
        Wrong(
            ADD_SCORES_JOINED.replace(_FETCH, "if (i >= n) return;\n  int row = rows[i];\n"
                                      "  float score = scores[i];"),
            LANES_MISSING,
        ),
        Wrong(
            ADD_SCORES_JOINED.replace(_LEADER, _LEADER.replace(
                "atomicAdd(&sums[row], sum)", "sums[row] += sum")),
            NOT_ATOMIC,
        ),
        Wrong(ADD_SCORES_JOINED.replace("lane == __ffs(same) - 1", "lane == 0"), ONE_GROUP),
        Wrong(ADD_SCORES_JOINED.replace("threadIdx.x % 32", "threadIdx.x"), FIRST_WARP),
        Wrong(ADD_SCORES_JOINED.replace("&sums[row]", "sums[row]"), NO_AMPERSAND),
    ),
    points=3,
    unproved="that it is faster: joining costs 32 shuffles, whether rows are equal or not.",
    judge=KernelTask("10.join", "add_scores", _add_scores_launches, _add_scores_fault,
                     _add_scores_counts),
)  # fmt: skip

# ---- 10.detective ---------------------------------------------------------------------------

FAULTS = {
    "lost update": "One row lacks one share of its sum, and every other row is right.",
    "mean not divided": "Every share is as many times too large as its bag has words: a sum, where "
    "the mode is mean.",
    "padding not skipped": "Only the row of the padding is wrong: it has a gradient, and must have "
    "none.",
    "weight forgotten": "Every share is what it would be with a weight of 1.",
    "row shifted": "The right numbers stand in the wrong rows, one too far.",
    "frequency inverted": "Rows that occur once are right. The others were multiplied by their "
    "count, and should have been divided by it.",
}


def _gradient(call: Setting, fault: str = "", lost: int = -1) -> np.ndarray:
    """The gradient of weight, right or with one fault. lost: the position whose share is lost."""
    mode, indices, offsets, weights, padding_idx, grad_output = call
    grad, counts = np.zeros((5, 2)), np.bincount(indices, minlength=5)
    for b, (begin, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        size = max(int((indices[begin:end] != padding_idx).sum()), 1)
        for i in range(begin, end):
            row, share = indices[i], 1.0
            if i == lost or (row == padding_idx and fault != "padding not skipped"):
                continue
            if weights is not None and fault != "weight forgotten":
                share *= weights[i]
            if mode == "mean" and fault != "mean not divided":
                share /= size
            share *= counts[row] if fault == "frequency inverted" else 1 / counts[row]
            grad[(row + (fault == "row shifted")) % 5] += share * grad_output[b]
    return grad


def _wrong_gradients(call: Setting) -> dict[str, list[np.ndarray]]:
    """What each fault that this call can have makes of its gradient; a lost update has many."""
    mode, indices, _, weights, padding_idx, _ = call
    counts = np.bincount(indices, minlength=5)
    lost = [i for i, row in enumerate(indices) if counts[row] > 1 and row != padding_idx]
    ways = {"lost update": [_gradient(call, lost=i) for i in lost]} if lost else {}
    names = ["row shifted", "frequency inverted"]
    names += ["mean not divided"] if mode == "mean" else []
    names += ["weight forgotten"] if weights is not None else []
    names += ["padding not skipped"] if counts[padding_idx] else []
    return ways | {name: [_gradient(call, fault=name)] for name in names}


CASES = Detective(
    chapter=10,
    faults=FAULTS,
    draw=draw,
    expected=_gradient,
    wrong=_wrong_gradients,
    round=(10, 4, 14, 7, 3, 18),  # each fault once
    instead={"lost update": "No single share that is left out gives these numbers."},
)
mystery, accuse, verdict = CASES.mystery, CASES.accuse, CASES.verdict

DETECTIVE = Exercise(
    "10.detective",
    "six wrong gradients, six faults",
    CASES.solved,
    hints=(
        "Which rows are wrong: one, some, or all? Rows that are right tell as much.",
        "Divide actual by expected in a wrong row. One factor for a row, for a bag, or neither?",
        "One wrong row: a share is lost, or the padding was let in. A factor that is the square "
        "of the row's count: frequency. The right rows one place off: shifted. Else look at what "
        "was multiplied into the shares: a weight, or one over the size of a bag.",
    ),
    wrong=CASES.wrong_answers(),
    points=3,
    unproved="that you would find two faults at once. mystery(seed) has more, without end.",
    judge=CASES.judge,
    vary=CASES.vary,
    shown=CASES.shown,
)

EXERCISES = (HITS, REPEATABLE_EXERCISE, LOST_UPDATE, JOIN, DETECTIVE)
