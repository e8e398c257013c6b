"""The exercises of chapter 11: backward by sorting, and a second case for the gradient detective.

puzzle = mystery(7)          # a wrong gradient, made by one named fault; any seed
accuse(puzzle, "tail lost")
"""

from __future__ import annotations

import re

import numpy as np

from embag_edu.bench import traffic
from embag_edu.chapters.detective import Detective, Setting, draw, row_text
from embag_edu.course.draw import bags, size
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import (
    FIXED_BLOCK,
    NO_COMPILE,
    NOT_SOURCE,
    KernelTask,
    Launch,
    element_of,
    kinds_of,
    threads,
)
from embag_edu.cuda_on_cpu import KernelFault, RawKernel, Report, settings

# ---- 11.entries -----------------------------------------------------------------------------


def entries(
    indices: np.ndarray, offsets: np.ndarray, padding_idx: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows that count, sorted; the bag of each; where each run begins, and the end."""
    kept = np.flatnonzero(indices != padding_idx)
    bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[kept]
    return _sorted_entries(indices[kept], bags, np.argsort(indices[kept], kind="stable"))


def _sorted_entries(
    rows: np.ndarray, bags: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys = rows[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    return keys, bags[order], np.append(starts, len(keys))


def _padding_sorted(indices, offsets, padding_idx):
    bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return _sorted_entries(indices, bags, np.argsort(indices, kind="stable"))


def _no_end(indices, offsets, padding_idx):
    keys, bags, starts = entries(indices, offsets, padding_idx)
    return keys, bags, starts[:-1]


def _plain_argsort(indices, offsets, padding_idx):
    kept = np.flatnonzero(indices != padding_idx)
    bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[kept]
    return _sorted_entries(indices[kept], bags, np.argsort(indices[kept]))


def _equals_turned(indices, offsets, padding_idx):
    kept = np.flatnonzero(indices != padding_idx)
    bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[kept]
    order = np.lexsort((-np.arange(len(kept)), indices[kept]))
    return _sorted_entries(indices[kept], bags, order)


def _bags_as_they_stood(indices, offsets, padding_idx):
    keys, _, starts = entries(indices, offsets, padding_idx)
    bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return keys, bags[indices != padding_idx], starts


def _bags_of_kept_only(indices, offsets, padding_idx):
    kept = indices[indices != padding_idx]
    bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[: len(kept)]
    return _sorted_entries(kept, bags, np.argsort(kept, kind="stable"))


def _lengths(indices, offsets, padding_idx):
    keys, bags, starts = entries(indices, offsets, padding_idx)
    return keys, bags, np.diff(starts)


def _first_run_missing(indices, offsets, padding_idx):
    keys, bags, starts = entries(indices, offsets, padding_idx)
    return keys, bags, starts[1:] if len(keys) else starts


def _empty_bags_skipped(indices, offsets, padding_idx):
    ends = np.unique(offsets)
    return entries(indices, ends if len(ends) > 1 else offsets, padding_idx)


def _entries_cases() -> list[Case]:
    random = np.random.default_rng(111)
    words = np.minimum(random.zipf(1.4, 80), 20) - 1
    cuts = np.sort(random.integers(0, 81, 12))
    many = random.integers(0, 9, 600)
    return [
        Case("two bags", np.array([2, 5, 2, 3]), np.array([0, 2, 4]), padding_idx=9),
        Case("padding", np.array([4, 0, 4, 0, 1]), np.array([0, 2, 5]), padding_idx=0),
        Case("an empty bag", np.array([3, 1, 3]), np.array([0, 1, 1, 3]), padding_idx=0),
        Case("one row", np.array([6, 6, 6]), np.array([0, 1, 2, 3]), padding_idx=0),
        Case("only padding", np.array([7, 7]), np.array([0, 2]), padding_idx=7),
        Case("80 words in 13 bags", words, np.array([0, *cuts, 80]), padding_idx=2),
        Case("600 positions of 9 rows", many, np.arange(0, 601, 4), padding_idx=4),
    ]


def _any_entries(random):
    V = size(random, 1, 6)
    indices, offsets = bags(random, V)
    return indices, np.append(offsets, len(indices)), size(random, 0, V)


ENTRIES = Exercise(
    "11.entries",
    "keys, bags and starts",
    entries,
    _entries_cases,
    random_call=_any_entries,
    hints=(
        "Three steps: which positions count; in which order; where does a row differ from the one "
        "before?",
        "Make the bag of every position first. Then what happens to the rows must happen to the "
        "bags: the same choice, the same order.",
        "np.flatnonzero picks positions, np.argsort with kind='stable' orders them, and np.diff "
        "finds where the sorted rows change. The first entry begins a run, too; the number of "
        "entries is the last of the starts.",
    ),
    wrong=(
        Wrong(_padding_sorted, "Padding was sorted along. It must be dropped before the sort."),
        Wrong(_no_end, "The end is missing: the last run must know where it stops."),
        Wrong(
            _plain_argsort,
            "np.argsort alone may change the order of positions that hold the same row: "
            "kind='stable' keeps it.",
        ),
        Wrong(
            _equals_turned,
            "Positions of one row have lost their order: the sort must be stable.",
        ),
        Wrong(
            _bags_as_they_stood,
            "The rows were sorted, and the bags stayed as they were: each entry needs its own bag.",
        ),
        Wrong(
            _bags_of_kept_only,
            "After padding was dropped, the bags were cut to length. Pick those of the positions "
            "that were kept.",
        ),
        Wrong(_lengths, "Those are the lengths of the runs. Asked for is where each begins."),
        Wrong(_first_run_missing, "The first entry begins a run, though nothing differs before."),
        Wrong(_empty_bags_skipped, "An empty bag has a number, too: the bags after it moved up."),
    ),
    points=2,
    returns=("keys", "bags", "starts"),
    unproved="that the sort is stable for every input: NumPy promises that of kind='stable'.",
)

# ---- 11.partials ----------------------------------------------------------------------------


def partials(keys: np.ndarray, piece: int) -> tuple[int, int, int]:
    """Rows finished in the first pass, partial sums left, the longest walk of the second pass."""
    borders = np.arange(piece, len(keys), piece)
    cut = keys[borders[keys[borders] == keys[borders - 1]]]
    walks = np.unique(cut, return_counts=True)[1]
    return len(np.unique(keys)) - len(walks), 2 * len(cut), 2 * int(walks.max(initial=0))


def _room(keys, piece):
    return partials(keys, piece)[0], 2 * -(-len(keys) // piece), partials(keys, piece)[2]


def _one_for_a_border(keys, piece):
    finished, left, walk = partials(keys, piece)
    return finished, left // 2, walk // 2


def _all_rows(keys, piece):
    return len(np.unique(keys)), *partials(keys, piece)[1:]


def _full_pieces_leave_one(keys, piece):
    parts = [keys[k : k + piece].tolist() for k in range(0, len(keys), piece)]
    rows = np.unique(keys)
    pieces_of = {row: sum(row in part for part in parts) for row in rows.tolist()}
    cut = [n for n in pieces_of.values() if n > 1]
    return len(rows) - len(cut), sum(cut), max(cut, default=0)


def _every_border(keys, piece):
    finished, _, walk = partials(keys, piece)
    return finished, 2 * max(-(-len(keys) // piece) - 1, 0), walk


def _walk_in_entries(keys, piece):
    finished, left, walk = partials(keys, piece)
    longest = int(np.unique(keys, return_counts=True)[1].max(initial=0))
    return finished, left, longest if walk else 0


def _all_in_one_walk(keys, piece):
    finished, left, _ = partials(keys, piece)
    return finished, left, left


def _by_length(keys, piece):
    lengths = np.unique(keys, return_counts=True)[1]
    cut = (lengths - 1) // piece
    return int((cut == 0).sum()), 2 * int(cut.sum()), 2 * int(cut.max(initial=0))


def _partials_cases() -> list[Case]:
    random = np.random.default_rng(112)
    words = np.sort(np.minimum(random.zipf(1.3, 300), 60) - 1)
    return [
        Case("nothing is cut", np.array([1, 1, 2, 2]), piece=2),
        Case("one run is cut", np.array([1, 4, 4, 6]), piece=2),
        Case("a run fills a piece", np.array([3, 5, 5, 5, 5, 7]), piece=2),
        Case("two runs are cut", np.array([1, 1, 2, 2, 2, 4, 4, 5]), piece=3),
        Case("one row only", np.full(9, 8), piece=3),
        Case("fewer entries than a piece", np.array([2, 2, 3]), piece=4),
        Case("no entry", np.zeros(0, np.int64), piece=4),
        Case("300 words", words, piece=32),
    ]


def _any_partials(random):
    keys = np.sort(random.integers(0, size(random, 1, 8), size(random, 0, 30)))
    return keys + size(random, 0, 3), size(random, 1, 7)


PARTIALS = Exercise(
    "11.partials",
    "predict the partial sums of version 6",
    partials,
    _partials_cases,
    random_call=_any_partials,
    hints=(
        "Look at the borders between pieces. What stands left and right of a border that matters?",
        "A border within a run leaves two partial sums: a tail on its left, a head on its right.",
        "Compare each key at a border with the one before it. Those that are equal name the rows "
        "that are cut, once for each cut; count each row, and all of them, and double.",
    ),
    wrong=(
        Wrong(_room, "That is the room for partial sums. Asked for are those that are used."),
        Wrong(_one_for_a_border, "A cut leaves two partial sums, one in each of its two pieces."),
        Wrong(_all_rows, "The first pass finishes only the rows whose run was not cut."),
        Wrong(
            _full_pieces_leave_one,
            "A piece that one run fills leaves a head and a tail, too: the tail is 0.",
        ),
        Wrong(_every_border, "Not every border cuts a run: the keys around it must be equal."),
        Wrong(_walk_in_entries, "The second pass walks over partial sums, not over entries."),
        Wrong(_all_in_one_walk, "Those are the partial sums of all rows. A warp adds one row."),
        Wrong(
            _by_length,
            "The length of a run does not tell: also a short run is cut where a border lies in it.",
        ),
    ),
    points=2,
    returns=("finished", "left", "walk"),
    unproved="what the second pass costs in time.",
)

# ---- 11.deterministic -----------------------------------------------------------------------

SUM_RUNS = r"""
// grad_weight[keys[i]] += grad_output[sources[i]], for n entries, sorted by key, and D features.
extern "C" __global__ void sum_runs(const float* grad_output, const int* keys, const int* sources,
                                    float* grad_weight, int n, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= n * D) return;
  int i = element / D, d = element % D;
  atomicAdd(&grad_weight[keys[i] * D + d], grad_output[sources[i] * D + d]);
}
"""
_ATOMIC = "atomicAdd(&grad_weight[keys[i] * D + d], grad_output[sources[i] * D + d]);"
_FIRST = "if (i > 0 && keys[i - 1] == keys[i]) return;  // somebody before me owns this run"
_LOOP = "for (int k = i; k < n && keys[k] == keys[i]; k++) sum += grad_output[sources[k] * D + d];"
SUM_RUNS_RIGHT = SUM_RUNS.replace(
    _ATOMIC,
    f"{_FIRST}\n  float sum = 0.0f;\n  {_LOOP}\n  grad_weight[keys[i] * D + d] = sum;",
)
NOT_SAME = (
    "The sums are right, but not the same in all bits: their order depends on the order of threads."
)
PLAIN_ADD = (
    "Without the atomic, two threads add to one place at the same time, and gradient is lost."
)
OWNERS = (
    "Several threads write one row. It must have one owner: the thread of the run's first entry."
)
BEFORE_FIRST = "The first entry of all has no entry before it: ask for i > 0 first."
PAST_END = "The last run walks past the last entry: it must stop at n as well."
ONLY_FIRST = "Only the first entry of each run was added: the owner must add the others as well."
ONE_SHORT = "The last entry of each run is missing."
ONE_FEATURE = "All features were added to the first one of the row: d belongs in the place."
SERIAL = (
    "The result is right, but a thread does the work of several runs, one after another. Each run "
    "has an owner of its own."
)
ROUNDED = "Rounding each share makes the bits equal, and the sums wrong. Fix the order instead."


def _sum_runs_launch(n: int, D: int, block: int, spare: int = 0, R: int = 5) -> Launch:
    random = np.random.default_rng([113, n, D])
    keys = np.sort(random.integers(0, R - 1, n)).astype(np.int32)
    sources = random.integers(0, 20, n).astype(np.int32)
    G = random.normal(size=(20, D)).astype(np.float32)
    args = (G, keys, sources, np.zeros((R, D), np.float32), n, D)
    right, mistakes = _runs(G[sources], keys, R)
    what = f"{n} entries, D = {D}, blocks of {block}"
    return Launch(what, -(-n * D // block) + spare, block, args, (3, right), mistakes)


def _sum_runs_launches() -> list[Launch]:
    return [
        _sum_runs_launch(40, 3, 64),
        _sum_runs_launch(300, 2, 64),
        _sum_runs_launch(90, 5, 32, spare=1, R=40),
        _sum_runs_launch(70, 1, 128, R=12),
    ]


def _runs(shares: np.ndarray, keys: np.ndarray, R: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The right sums (R, D), and those of four mistakes."""
    right, first, short, one, coarse = (np.zeros((R, shares.shape[1])) for _ in range(5))
    for row in np.unique(keys):
        mine = shares[keys == row].astype(np.float64)
        right[row], first[row], short[row] = mine.sum(axis=0), mine[0], mine[:-1].sum(axis=0)
        one[row, 0] = mine.sum()
        coarse[row] = (np.round(64 * mine) / 64).sum(axis=0)
    wrong = {ONLY_FIRST: first, ONE_SHORT: short, ONE_FEATURE: one, ROUNDED: coarse}
    narrow = {message: sums.astype(np.float32) for message, sums in wrong.items()}
    return right.astype(np.float32), narrow


def _sum_runs_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "out of bounds" and fault.array == "keys":
        return BEFORE_FIRST if element_of(fault) < 0 else PAST_END
    if "race" not in kinds_of(fault):
        return ""
    if not re.search(r"grad_weight\s*\[.*\bd\b.*\]", code):
        return ONE_FEATURE
    return OWNERS if re.search(r"\b(for|while)\s*\(", code) else PLAIN_ADD


def _sum_runs_counts(report: Report, launch: Launch, code: str) -> str:
    runs = len(np.unique(launch.args[1]))
    return SERIAL if threads(report, "grad_output", "read") < runs else ""


ORDERS = range(12)


class _SameBits(KernelTask):
    """Right sums, no fault, and then: the same bits in all orders."""

    def judge(self, kernel: RawKernel, code: str) -> str:
        said = super().judge(kernel, code)
        if said:
            return said
        for at in range(len(self.launches())):
            results = set()
            for order in ORDERS:
                launch = self.launches()[at]
                with settings(mode="checked", order=order, seconds=5.0):
                    kernel((launch.grid,), (launch.block,), launch.args)
                results.add(launch.args[3].tobytes())
            if len(results) > 1:
                many = f"{len(results)} results in {len(ORDERS)} orders."
                return f"{NOT_SAME}\n\nOn {launch.what}: {many}"
        return ""


SUM_RUNS_TASK = _SameBits(
    "11.deterministic",
    "sum_runs",
    _sum_runs_launches,
    _sum_runs_fault,
    _sum_runs_counts,
    atol=5e-5,
)


DETERMINISTIC = Exercise(
    "11.deterministic",
    "the same bits in every order of threads",
    SUM_RUNS_RIGHT,
    hints=(
        "An atomic leaves the order open. Who could add all shares of a row, alone?",
        "The entries are sorted: a run's first entry is one whose key differs from the one before. "
        "Its thread owns the run; all other threads leave.",
        "The owner walks from its own entry on, as long as the key stays the same and there are "
        "entries left, adds up in a variable of its own, and writes once.",
    ),
    wrong=(
        Wrong(SUM_RUNS, NOT_SAME),
        Wrong(SUM_RUNS.replace(_ATOMIC, _ATOMIC.replace("atomicAdd(&", "").replace(
            "d], ", "d] += ").replace("]);", "];")), PLAIN_ADD),
        Wrong(SUM_RUNS_RIGHT.replace(_FIRST, ""), OWNERS),
        Wrong(SUM_RUNS_RIGHT.replace("i > 0 && ", ""), BEFORE_FIRST),
        Wrong(SUM_RUNS_RIGHT.replace("k < n && ", ""), PAST_END),
        Wrong(SUM_RUNS_RIGHT.replace(_LOOP, "sum += grad_output[sources[i] * D + d];"), ONLY_FIRST),
        Wrong(
            SUM_RUNS_RIGHT.replace("k < n && keys[k] == keys[i]",
                                   "k + 1 < n && keys[k + 1] == keys[i]"),
            ONE_SHORT,
        ),
        Wrong(SUM_RUNS.replace("keys[i] * D + d]", "keys[i] * D]"), ONE_FEATURE),
        Wrong(
            SUM_RUNS.replace("grad_output[sources[i] * D + d])",
                             "rintf(64.0f * grad_output[sources[i] * D + d]) / 64.0f)"),
            ROUNDED,
        ),
        Wrong(
            SUM_RUNS.replace("if (element >= n * D) return;", "if (element > 0) return;")
            .replace("int i = element / D, d = element % D;",
                     "for (int i = 0; i < n; i++) for (int d = 0; d < D; d++)"),
            SERIAL,
        ),
        Wrong(SUM_RUNS_RIGHT.replace("blockDim.x", "64"), FIXED_BLOCK),
        Wrong(SUM_RUNS_RIGHT.replace("= sum;", "= sum"), NO_COMPILE),
        Wrong(7, NOT_SOURCE),
    ),
    points=3,
    unproved="other orders than the twelve that were tried; and that no run is too long for one "
    "thread.",
    judge=SUM_RUNS_TASK,
)  # fmt: skip

# ---- 11.last_block --------------------------------------------------------------------------

TWO_PASSES = r"""
// The sums of runs, in pieces of 4 entries, both passes in one launch. A thread has a piece.
extern "C" __global__ void two_passes(const int* keys, const float* values, float* sums,
                                      float* partial, int* partial_keys, int* ticket, int n) {
  __shared__ bool last;
  int piece = blockIdx.x * blockDim.x + threadIdx.x, pieces = (n + 3) / 4;
  if (piece < pieces) {  // the first pass
    int begin = 4 * piece, end = min(begin + 4, n);
    int before = begin > 0 ? keys[begin - 1] : -2, after = end < n ? keys[end] : -2;
    partial_keys[2 * piece] = keys[begin] == before ? before : -1;
    partial_keys[2 * piece + 1] = keys[end - 1] == after ? after : -1;
    partial[2 * piece + 1] = 0.0f;
    float sum = 0.0f;
    for (int i = begin; i < end; i++) {
      sum += values[i];
      if (i + 1 < end && keys[i + 1] == keys[i]) continue;
      float* to = &sums[keys[i]];
      if (keys[i] == before) to = &partial[2 * piece];
      else if (keys[i] == after) to = &partial[2 * piece + 1];
      *to = sum;
      sum = 0.0f;
    }
  }
  // the block that comes here last does the second pass
  if (threadIdx.x == 0) last = atomicAdd(ticket, 1) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  for (int k = threadIdx.x; k < 2 * pieces; k += blockDim.x) {
    int row = partial_keys[k];
    if (row < 0 || (k > 0 && partial_keys[k - 1] == row)) continue;
    float sum = 0.0f;
    for (int j = k; j < 2 * pieces && partial_keys[j] == row; j++) sum += partial[j];
    sums[row] = sum;
  }
}
"""
_COMES = "  // the block that comes here last does the second pass\n"
TWO_PASSES_RIGHT = TWO_PASSES.replace(_COMES, f"{_COMES}  __threadfence();\n  __syncthreads();\n")
UNORDERED = (
    "The last block reads partial sums that other blocks have written. Nothing orders the writes "
    "before the ticket: neither for the other blocks, nor for the other threads of a block."
)
NO_FENCE = (
    "A barrier waits for the threads of one block. It does not make their writes seen by other "
    "blocks before the ticket is."
)
NO_BARRIER = (
    "Thread 0 takes the ticket when it is done itself. The other threads of its block may not be."
)
TOO_LATE = "What was written must be on its way before the ticket is taken, not after."
PLAIN_TICKET = "The ticket is taken without an atomic: two blocks may draw the same number."
NOBODY = (
    "No block ever is the last: atomicAdd returns the number before the addition, so the last "
    "block sees one less than there are blocks."
)
BLOCK_FENCE = (
    "__threadfence_block() orders writes for the threads of the own block only. Other blocks read "
    "them here: that takes __threadfence()."
)
NOT_LAST = (
    "Perhaps the block that goes on is not the last one: atomicAdd returns the number before the "
    "addition, so that the last block of all sees gridDim.x - 1."
)
NOT_TOLD = "Thread 0 writes `last`, and the others read it: a barrier belongs between the two."
HIGHEST = "The block with the highest number need not be the one that comes last."
EVERYBODY = "Every block does the second pass: the early ones read what is not there yet."


def _two_passes_launch(n: int, block: int, spare: int = 0, R: int = 31) -> Launch:
    random = np.random.default_rng([114, n])
    keys = np.sort(np.minimum(random.zipf(1.3, n), R) - 1).astype(np.int32)
    values = random.normal(size=n).astype(np.float32) + np.float32(2)
    pieces = -(-n // 4)
    right = np.zeros(R, np.float32)
    np.add.at(right, keys, values)
    borders = np.arange(4, n, 4)
    unjoined = right.copy()
    unjoined[keys[borders[keys[borders] == keys[borders - 1]]]] = 0
    scratch = np.full(2 * pieces, np.nan, np.float32), np.full(2 * pieces, -1, np.int32)
    args = (keys, values, np.zeros(R, np.float32), *scratch, np.zeros(1, np.int32), n)
    what = f"{n} entries, blocks of {block}"
    return Launch(what, -(-pieces // block) + spare, block, args, (2, right), {NOBODY: unjoined})


def _two_passes_launches() -> list[Launch]:
    return [
        _two_passes_launch(90, 8),
        _two_passes_launch(400, 32),
        _two_passes_launch(301, 64, spare=1, R=120),
        _two_passes_launch(61, 16, R=3),
        _two_passes_launch(461, 8, R=120),  # more blocks than a block has threads
        _two_passes_launch(8, 32, R=36),  # a piece of several rows
        _two_passes_launch(3, 32),
    ]


def _two_passes_fault(fault: KernelFault, code: str) -> str:
    if fault.array == "last":
        return NOT_TOLD if "reads" in str(fault) else ""
    if fault.kind != "race":
        return ""
    if fault.array == "ticket":
        return PLAIN_TICKET
    ticket = re.search(r"atomic\w+\s*\(\s*&?\s*ticket", code)
    if not ticket:
        return HIGHEST if "blockIdx.x ==" in code else ""
    if not re.search(r"(if|while)\s*\(\s*!?\s*last\b", code):
        return EVERYBODY
    before = code[: ticket.start()]
    if "__threadfence_block" in code and "__threadfence()" not in before:
        return BLOCK_FENCE
    if "__threadfence" not in before and "__threadfence" in code:
        return TOO_LATE
    fence, barrier = "__threadfence" in before, "__syncthreads" in before
    if fence and barrier:
        return NOT_LAST
    return NO_BARRIER if fence else NO_FENCE if barrier else UNORDERED


_FIX = "  __threadfence();\n  __syncthreads();\n"
_TICKET = "atomicAdd(ticket, 1) == gridDim.x - 1"
LAST_BLOCK = Exercise(
    "11.last_block",
    "find the race between two passes",
    TWO_PASSES_RIGHT,
    hints=(
        "Who reads what another block has written? Follow one partial sum from its writer to its "
        "reader.",
        "Between blocks, a write is ordered before a read by: the write, __threadfence(), an "
        "atomic; the same atomic by the other block, the read. And within a block?",
        "Before thread 0 takes the ticket, every thread of its block must have made its writes "
        "seen by all (a fence), and all must have come so far (a barrier).",
    ),
    wrong=(
        Wrong(TWO_PASSES, UNORDERED),
        Wrong(TWO_PASSES_RIGHT.replace("  __threadfence();\n", ""), NO_FENCE),
        Wrong(TWO_PASSES_RIGHT.replace(_FIX, "  __threadfence();\n"), NO_BARRIER),
        Wrong(TWO_PASSES_RIGHT.replace("__threadfence", "__threadfence_block"), BLOCK_FENCE),
        Wrong(
            TWO_PASSES.replace("  __syncthreads();\n  if (!last)",
                               "  __threadfence();\n  __syncthreads();\n  if (!last)"),
            TOO_LATE,
        ),
        Wrong(TWO_PASSES_RIGHT.replace("atomicAdd(ticket, 1)", "(*ticket)++"), PLAIN_TICKET),
        Wrong(TWO_PASSES_RIGHT.replace("== gridDim.x - 1", "== gridDim.x"), NOBODY),
        Wrong(TWO_PASSES_RIGHT.replace(_TICKET, "blockIdx.x == gridDim.x - 1"), HIGHEST),
        Wrong(TWO_PASSES_RIGHT.replace("== gridDim.x - 1", "== 0"), NOT_LAST),
        Wrong(TWO_PASSES_RIGHT.replace("  __syncthreads();\n  if (!last)", "  if (!last)"),
              NOT_TOLD),
        Wrong(TWO_PASSES_RIGHT.replace("  if (!last) return;\n", ""), EVERYBODY),
        Wrong(TWO_PASSES_RIGHT.replace("__threadfence();", "__threadfence()"), NO_COMPILE),
    ),
    points=2,
    unproved="that one launch is faster than two: a second launch orders everything by itself.",
    judge=KernelTask("11.last_block", "two_passes", _two_passes_launches, _two_passes_fault),
)  # fmt: skip

# ---- 11.detective ---------------------------------------------------------------------------

PIECE = 3
FAULTS = {
    "tail lost": "Only rows whose run is cut are wrong: what a piece had of a run that goes on in "
    "the next piece is missing.",
    "head added twice": "Only rows whose run is cut are wrong: what came in from the piece before "
    "is there twice.",
    "run one too long": "Every row but the last has too much: the first share of the next row.",
    "frequency of the piece": "Only rows whose run is cut are wrong: each of its parts was divided "
    "by the part's own length.",
    "bags not sorted along": "Rows have gradients of bags that they do not stand in: the rows were "
    "sorted, and the bags stayed.",
    "size with padding": "Only shares of bags that hold padding are wrong, too near to zero: they "
    "were divided by all positions of the bag.",
}


def _draw(random: np.random.Generator) -> Setting:
    return draw(random, N=10, B=3, V=5)


def _kept(call: Setting) -> np.ndarray:
    """The positions that are not padding, sorted by row."""
    kept = np.flatnonzero(call.indices != call.padding_idx)
    return kept[np.argsort(call.indices[kept], kind="stable")]


def _lines(call: Setting) -> list[str]:
    keys = call.indices[_kept(call)]
    parts = [row_text(keys[k : k + PIECE], 0) for k in range(0, len(keys), PIECE)]
    return [*call.lines(), f"  sorted rows, in pieces of {PIECE}: {' | '.join(parts)}"]


def _gradient(call: Setting, fault: str = "") -> np.ndarray:
    """The gradient of weight by sorting, right or with one fault."""
    kept = _kept(call)
    keys, sizes = call.indices[kept], np.diff(call.offsets)
    bag_of = np.repeat(np.arange(len(sizes)), sizes)
    terms = _shares(call, kept, fault)[:, None] * call.grad_output[bag_of[kept]]
    if fault == "bags not sorted along":
        terms = _shares(call, kept, fault)[:, None] * call.grad_output[bag_of[np.sort(kept)]]
    grad = np.zeros((5, 2))
    for i, times in enumerate(_times(keys, fault)):
        grad[keys[i]] += times * terms[i]
        if fault == "run one too long" and i > 0 and keys[i - 1] != keys[i]:
            grad[keys[i - 1]] += terms[i]
    return grad


def _shares(call: Setting, kept: np.ndarray, fault: str) -> np.ndarray:
    """What each sorted entry multiplies its bag's gradient with, (n,)."""
    keys, bags = call.indices[kept], len(call.offsets) - 1
    bag_of = np.repeat(np.arange(bags), np.diff(call.offsets))
    weights = call.per_sample_weights
    shares = np.ones(len(kept)) if weights is None else weights[kept]
    if call.mode == "mean":
        counts = bag_of if fault == "size with padding" else bag_of[kept]
        shares = shares / np.bincount(counts, minlength=bags)[bag_of[kept]]
    lengths = np.bincount(keys, minlength=5)[keys]
    if fault == "frequency of the piece":
        parts = [keys[i // PIECE * PIECE :][:PIECE] for i in range(len(keys))]
        lengths = np.array([(part == key).sum() for part, key in zip(parts, keys, strict=True)])
    return shares / lengths


def _times(keys: np.ndarray, fault: str) -> np.ndarray:
    """How often each entry is added: once, but in a tail that is lost, or in a head added twice."""
    times, n = np.ones(len(keys)), len(keys)
    for begin in range(0, n, PIECE):
        end = min(begin + PIECE, n)
        part = keys[begin:end]
        head = (part == keys[begin - 1]) if begin > 0 else np.zeros(len(part), bool)
        tail = (part == keys[end]) & ~head if end < n else np.zeros(len(part), bool)
        if fault == "head added twice":
            times[begin:end][head] = 2
        elif fault == "tail lost":
            times[begin:end][tail] = 0
    return times


def _wrong_gradients(call: Setting) -> dict[str, list[np.ndarray]]:
    """What each fault that this call can have makes of its gradient."""
    keys = call.indices[_kept(call)]
    borders = np.arange(PIECE, len(keys), PIECE)
    names = ["bags not sorted along", "run one too long"]
    if (keys[borders] == keys[borders - 1]).any():
        names += ["tail lost", "head added twice", "frequency of the piece"]
    if call.mode == "mean" and len(keys) < len(call.indices):
        names += ["size with padding"]
    return {name: [_gradient(call, name)] for name in names}


CASES = Detective(
    chapter=11,
    faults=FAULTS,
    draw=_draw,
    expected=_gradient,
    wrong=_wrong_gradients,
    round=(12, 4, 8, 2, 5, 9),  # each fault once
    lines=_lines,
)
mystery, accuse, verdict = CASES.mystery, CASES.accuse, CASES.verdict

DETECTIVE = Exercise(
    "11.detective",
    "six wrong gradients by sorting, six faults",
    CASES.solved,
    hints=(
        "Which rows are wrong? Look where the borders of pieces lie, and which runs they cut.",
        "Only cut rows wrong: too much, too little, or another divisor? All rows wrong: is the "
        "difference a share of a neighbor, or does nothing fit the bags?",
        "Too little in cut rows: a tail. Too much: a head counted twice, or each part divided by "
        "its own length; compute both. Bags with padding give too little: the size. A row has "
        "the first share of the next one: a run too long. Else the bags were not sorted along.",
    ),
    wrong=CASES.wrong_answers(),
    points=3,
    unproved="that you would see it in 1.35 million numbers. mystery(seed) has more, without end.",
    judge=CASES.judge,
    vary=CASES.vary,
    shown=CASES.shown,
)

# ---- 11.least_ms ----------------------------------------------------------------------------


def least_ms(V: int, D: int, N: int, B: int, U: int, w: int, rate: float) -> float:
    """Milliseconds of the compulsory bytes of a dense backward, at `rate` bytes a second."""
    counts = traffic.Counts(V, D, N, B, U, w, i=8, p=0)
    return 1e3 * traffic.backward_dense(counts).compulsory / rate


def _no_zeros(V, D, N, B, U, w, rate):
    return least_ms(0, D, N, B, U, w, rate)


def _zeros_only(V, D, N, B, U, w, rate):
    return 1e3 * V * D * w / rate


def _row_a_position(V, D, N, B, U, w, rate):
    counts = traffic.Counts(V, D, N, B, U, w, i=8, p=0)
    return 1e3 * traffic.backward_dense(counts).logical / rate


def _written_a_position(V, D, N, B, U, w, rate):
    return least_ms(V, D, N, B, N, w, rate)


def _sums_not_written(V, D, N, B, U, w, rate):
    return least_ms(V, D, N, B, 0, w, rate)


def _always_four(V, D, N, B, U, w, rate):
    return least_ms(V, D, N, B, U, 4, rate)


def _no_indices(V, D, N, B, U, w, rate):
    return 1e3 * (V + U + B) * D * w / rate


def _narrow_indices(V, D, N, B, U, w, rate):
    return 1e3 * ((V + U + B) * D * w + w * (N + B + 1)) / rate


def _seconds(V, D, N, B, U, w, rate):
    return least_ms(V, D, N, B, U, w, rate) / 1e3


def _least_cases() -> list[Case]:
    return [
        Case("two bags over four rows", V=4, D=2, N=3, B=2, U=2, w=4, rate=1e6),
        Case("bags of one row each", V=1_000, D=8, N=64, B=64, U=60, w=4, rate=1e9),
        Case("one hot row", V=2_000, D=16, N=500, B=20, U=1, w=4, rate=1e9),
        Case("16 bits", V=3_000, D=32, N=700, B=25, U=300, w=2, rate=1e9),
        Case("one feature", V=500, D=1, N=10_000, B=100, U=400, w=8, rate=1e9),
        Case("no position", V=700, D=4, N=0, B=3, U=0, w=4, rate=1e9),
        Case("a large table", V=5_000_000, D=128, N=307_200, B=2_048, U=90_299, w=4, rate=4e12),
    ]


def _any_least(random):
    V, N = size(random, 1, 900), size(random, 0, 900)
    U = size(random, min(N, 1), min(V, N))
    rate = 10.0 ** size(random, 3, 12)
    return V, size(random, 1, 130), N, size(random, 1, 90), U, 2 ** size(random, 0, 3), rate


LEAST = Exercise(
    "11.least_ms",
    "the least time of a dense backward",
    least_ms,
    _least_cases,
    random_call=_any_least,
    hints=(
        "Which arrays are read, which are written, and which of them is larger than it looks?",
        "Read: grad_output, indices, offsets. Written: the whole gradient, as zeros; then those "
        "rows again that occur. With a perfect cache, each byte is moved once.",
        "Three tables have rows of D numbers: V of them, U of them and B of them. indices has N "
        "numbers of 8 bytes, offsets has one more than there are bags. A second has 1,000 ms.",
    ),
    wrong=(
        Wrong(_no_zeros, "A dense gradient has V rows. Each of them is written, as zeros."),
        Wrong(_zeros_only, "The zeros are not all: grad_output is read, and sums are written."),
        Wrong(
            _row_a_position,
            "grad_output has B rows. Compulsory bytes count each of them once, and not once for "
            "each position.",
        ),
        Wrong(_written_a_position, "A row's sum is written once, however many positions it has."),
        Wrong(_sums_not_written, "The rows that occur are written twice: zeros, then their sums."),
        Wrong(_always_four, "Not every number has 4 bytes: reckon with w."),
        Wrong(_no_indices, "indices and offsets are read, too."),
        Wrong(_narrow_indices, "indices and offsets are int64, 8 bytes, whatever the rows are."),
        Wrong(_seconds, "Those are seconds."),
    ),
    points=2,
    returns="milliseconds",
    unproved="that any kernel reaches it. It is the byte model, held against no clock.",
)

EXERCISES = (ENTRIES, PARTIALS, DETERMINISTIC, LAST_BLOCK, DETECTIVE, LEAST)
