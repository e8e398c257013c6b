"""The exercises of chapter 09: the whole forward on the GPU."""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import (
    FIXED_BLOCK,
    NOT_SOURCE,
    KernelTask,
    Launch,
    by_line,
    kinds_of,
    unwritten,
)
from embag_edu.course.variants import retold
from embag_edu.cuda_on_cpu import KernelFault, Report

NAN, INF = float("nan"), float("inf")

# ---- 09.winner ------------------------------------------------------------------------------


def winner(values, rows, padding_idx):
    """(maximum, row) of one feature of a bag."""
    best, won = 0.0, -1
    for value, row in zip(values, rows, strict=True):
        if row != padding_idx and (won < 0 or value > best):
            best, won = value, row
    return best, won


def _last_of_equals(values, rows, padding_idx):
    best, won = 0.0, -1
    for value, row in zip(values, rows, strict=True):
        if row != padding_idx and (won < 0 or value >= best):
            best, won = value, row
    return best, won


def _from_zero(values, rows, padding_idx):
    best, won = 0.0, -1
    for value, row in zip(values, rows, strict=True):
        if row != padding_idx and value > best:
            best, won = value, row
    return best, won


def _from_minus_infinity(values, rows, padding_idx):
    best, won = -INF, -1
    for value, row in zip(values, rows, strict=True):
        if row != padding_idx and value > best:
            best, won = value, row
    return (best, won) if any(r != padding_idx for r in rows) else (0.0, -1)


def _from_minus_infinity_or_none(values, rows, padding_idx):
    best, won = _from_minus_infinity(values, rows, padding_idx)
    return (best, won) if won >= 0 else (0.0, -1)


def _any_nan(values, rows, padding_idx):
    kept = [(v, r) for v, r in zip(values, rows, strict=True) if r != padding_idx]
    bad = [pair for pair in kept if np.isnan(pair[0])]
    return bad[0] if bad else winner(values, rows, padding_idx)


def _no_nan(values, rows, padding_idx):
    kept = [(v, r) for v, r in zip(values, rows, strict=True) if not np.isnan(v)]
    return winner([v for v, _ in kept], [r for _, r in kept], padding_idx)


def _padding_enters(values, rows, padding_idx):
    return winner(values, rows, None)


def _position(values, rows, padding_idx):
    best, won = 0.0, -1
    for position, (value, row) in enumerate(zip(values, rows, strict=True)):
        if row != padding_idx and (won < 0 or value > best):
            best, won = value, position
    return best, won


def _row_zero_for_none(values, rows, padding_idx):
    best, won = winner(values, rows, padding_idx)
    return best, max(won, 0)


def _winner_cases() -> list[Case]:
    return [
        Case("two values", [1.0, 3.0], [4, 9], padding_idx=0),
        Case("a tie", [1.0, 2.0, 2.0], [4, 5, 6], padding_idx=0),
        Case("only negative numbers", [-3.0, -1.0], [4, 5], padding_idx=0),
        Case("NaN first", [NAN, 2.0], [4, 5], padding_idx=0),
        Case("NaN later", [1.0, NAN, 0.5], [4, 5, 6], padding_idx=0),
        Case("only -inf", [-INF, -INF], [7, 8], padding_idx=0),
        Case("the padding has the largest value", [9.0, 2.0], [0, 5], padding_idx=0),
        Case("NaN after padding", [1.0, NAN, 2.0], [3, 4, 5], padding_idx=3),
        Case("an empty bag", [], [], padding_idx=0),
        Case("only padding", [5.0, 5.0], [2, 2], padding_idx=2),
        Case("row 0 may win", [1.0, -2.0], [0, 6], padding_idx=6),
    ]


def _any_winner(random):
    n, V = draw.size(random, 0, 7), draw.size(random, 1, 5)
    values = random.choice([-INF, -2.0, -0.5, 0.0, 3.0, INF, NAN], n)
    return values.tolist(), random.integers(0, V, n).tolist(), draw.size(random, 0, V)


WINNER = Exercise(
    "09.winner",
    "who wins a maximum",
    winner,
    _winner_cases,
    random_call=_any_winner,
    hints=(
        "Read bag_max_1. Which comparison is it, and what happens before anybody leads?",
        "The first position that counts always enters; a later one needs to be larger.",
        "Keep two things: the best value, and who holds it, -1 at first. A position that is not "
        "padding takes over if nobody leads yet, or if its value is larger.",
    ),
    wrong=(
        Wrong(_last_of_equals, "Of equals the first wins: a later one must be larger."),
        Wrong(_no_nan, "A NaN that comes first does win: it enters, and nothing is larger."),
        Wrong(  # before _from_zero: where both fit a reader's answer, the first is told
            _from_minus_infinity_or_none,
            "-inf is no start for a maximum: a NaN that comes first, and -inf itself, are not "
            "larger, but do win. The first position that counts always enters.",
        ),
        Wrong(_from_zero, "0 is no start for a maximum: a bag may hold only negative numbers."),
        Wrong(
            _from_minus_infinity,
            "-inf is no start either: it is not larger than itself, and nothing is larger than a "
            "NaN that comes first. The first position that counts always enters.",
        ),
        Wrong(_any_nan, "A NaN that comes later does not win: it is not larger than anything."),
        Wrong(_padding_enters, "A position that holds padding_idx does not take part."),
        Wrong(_position, "The row is asked for, not the position that holds it."),
        Wrong(_row_zero_for_none, "Row 0 has not won where nobody has: that is said by -1."),
    ),
    points=2,
    returns=("maximum", "row"),
    unproved="that a GPU does the same; the chapter's checks of max.cu are about that.",
)

# ---- 09.rescaled ----------------------------------------------------------------------------


def rescaled(row, max_norm, p):
    """The row as max_norm leaves it, in its own dtype."""
    dtype = row.dtype.type
    norm = float(dtype(_norm(row, p)))
    if not norm > max_norm:
        return row.copy()
    return row * dtype(max_norm / (norm + 1e-7))


def _norm(row, p, size=abs):
    sizes = size(row.astype(np.float64))
    if np.isnan(sizes).any():
        return NAN
    if p == 0:
        return float((sizes != 0).sum())
    if np.isinf(p):
        return float(sizes.max() if p > 0 else sizes.min())
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((sizes**p).sum() ** (1 / p))


def _signed(row, max_norm, p):
    dtype = row.dtype.type
    norm = float(dtype(_norm(row, p, size=lambda x: x)))
    return row * dtype(max_norm / (norm + 1e-7)) if norm > max_norm else row.copy()


def _no_epsilon(row, max_norm, p):
    dtype = row.dtype.type
    norm = float(dtype(_norm(row, p)))
    return row * dtype(max_norm / norm) if norm > max_norm else row.copy()


def _norm_unrounded(row, max_norm, p):
    norm = _norm(row, p)
    return row * row.dtype.type(max_norm / (norm + 1e-7)) if norm > max_norm else row.copy()


def _scale_unrounded(row, max_norm, p):
    norm = float(row.dtype.type(_norm(row, p)))
    if not norm > max_norm:
        return row.copy()
    return (row.astype(np.float64) * (max_norm / (norm + 1e-7))).astype(row.dtype)


def _always_two(row, max_norm, p):
    return rescaled(row, max_norm, 2)


def _power_zero(row, max_norm, p):
    return rescaled(np.ones_like(row), max_norm, 0) * row if p == 0 else rescaled(row, max_norm, p)


def _one_infinity(row, max_norm, p):
    return rescaled(row, max_norm, abs(p) if np.isinf(p) else p)


def _short_rows_too(row, max_norm, p):
    dtype = row.dtype.type
    norm = float(dtype(_norm(row, p)))
    return row.copy() if np.isnan(norm) else row * dtype(max_norm / (norm + 1e-7))


def _equal_too(row, max_norm, p):
    dtype = row.dtype.type
    norm = float(dtype(_norm(row, p)))
    return row * dtype(max_norm / (norm + 1e-7)) if norm >= max_norm else row.copy()


def _rescaled_cases() -> list[Case]:
    def row(*values, dtype=np.float64):
        return np.array(values, dtype)

    return [
        Case("3 and 4: the norm is 5", row(3, 4), 1.0, 2),
        Case("short enough", row(0.3, 0.4), 1.0, 2),
        Case("just as long", row(3, 4), 5.0, 2),
        Case("p = 1, signs", row(3, -4), 1.0, 1),
        Case("p = 3.5", row(1, 2, 2, dtype=np.float32), 1.0, 3.5),
        Case("p = 0, a zero in it", row(0, 2, 5), 1.0, 0),
        Case("p = inf", row(1, -8), 2.0, INF),
        Case("p = -inf", row(3, -8), 2.0, -INF),
        Case("float16: the norm is rounded", row(2048, 40, dtype=np.float16), 2048.0, 2),
        Case("float16: the scale is, too", row(3, 5, 7, 11, dtype=np.float16), 1.0, 2),
        Case("a NaN", row(NAN, 9), 1.0, 2),
        Case("max_norm 0", row(3, 4), 0.0, 2),
    ]


EXACT = [[3, 4], [-5, 12], [1, -2, 2], [8, 0, -15], [-7], [2, 3, 6], [0, 0], [1, 1, -1, 1]]


def _any_rescaled(random):
    """Norms that float64 holds exactly, or, for the narrower dtypes, any."""
    dtype = random.choice([np.float16, np.float32, np.float64])
    p = float(random.choice([0, 1, 2, INF, -INF]))
    row = np.array(EXACT[draw.size(random, 0, len(EXACT) - 1)]) * 2.0 ** random.integers(-3, 4)
    if dtype is not np.float64 and random.random() < 0.6:
        row = random.normal(size=draw.size(random, 1, 9)) * 8
        p = float(random.choice([p, 3.5, 0.5, -1.0]))
    if p and random.random() < 0.1:
        row[draw.size(random, 0, len(row) - 1)] = random.choice([NAN, INF])
    norm = float(dtype(_norm(row.astype(dtype), p)))
    limit = norm if np.isfinite(norm) and random.random() < 0.4 else 5.0
    return row.astype(dtype), limit * float(random.choice([0, 0.125, 0.5, 1, 2])), p


RESCALED = Exercise(
    "09.rescaled",
    "a row under max_norm, to the last bit",
    rescaled,
    _rescaled_cases,
    random_call=_any_rescaled,
    hints=(
        "Three steps: the norm, the comparison, the scale. Which of them are rounded, and to what?",
        "Sizes are |x|. Three kinds of p are not a sum of powers: 0, inf and -inf. NaN is not "
        "larger than anything.",
        "Norm in float64, then rounded to the row's dtype; if that is larger than max_norm, the "
        "scale max_norm / (norm + 1e-7) in float64, rounded to the row's dtype, times the row.",
    ),
    wrong=(
        Wrong(_signed, "A norm is of sizes: take |x| before the power."),
        Wrong(_no_epsilon, "The scale has norm + 1e-7 below the line: the row ends a bit shorter."),
        Wrong(_norm_unrounded, "The norm is rounded to the row's dtype before it is compared."),
        Wrong(_scale_unrounded, "The scale is rounded to the row's dtype before it multiplies."),
        Wrong(_always_two, "p says which norm. This is always the one with squares."),
        Wrong(_power_zero, "0 to the power of 0 is 1, but p = 0 counts numbers that are not 0."),
        Wrong(_one_infinity, "p = -inf is the smallest |x|, p = inf the largest."),
        Wrong(_equal_too, "Only a norm that is larger than max_norm counts, not one that equals."),
        Wrong(_short_rows_too, "A row that is short enough stays as it is; it is not made longer."),
    ),
    points=2,
    atol=0.0,
    rtol=0.0,  # the norms of the cases are exact in float64, so that every way to them gives one
    unproved="rows so long that |x|**p overflows even in float64.",
)

# ---- 09.traffic -----------------------------------------------------------------------------


def traffic(indices, norms, max_norm, D, w):
    """(atomics, bytes of rows read, bytes of rows written) of renorm.cu."""
    rows = set(indices.tolist())
    long = sum(norms[row] > max_norm for row in rows)
    return len(indices), (len(rows) + long) * D * w, long * D * w


def _one_atomic_a_row(indices, norms, max_norm, D, w):
    atomics, read, written = traffic(indices, norms, max_norm, D, w)
    return len(set(indices.tolist())), read, written


def _each_position(indices, norms, max_norm, D, w):
    long = sum(norms[row] > max_norm for row in indices)
    return len(indices), int(len(indices) + long) * D * w, int(long) * D * w


def _read_once(indices, norms, max_norm, D, w):
    atomics, read, written = traffic(indices, norms, max_norm, D, w)
    return atomics, read - written, written


def _read_twice(indices, norms, max_norm, D, w):
    atomics, read, written = traffic(indices, norms, max_norm, D, w)
    return atomics, 2 * len(set(indices.tolist())) * D * w, written


def _all_written(indices, norms, max_norm, D, w):
    atomics, read, written = traffic(indices, norms, max_norm, D, w)
    return atomics, read, len(set(indices.tolist())) * D * w


def _whole_table(indices, norms, max_norm, D, w):
    long = int((norms > max_norm).sum())
    return len(indices), (len(norms) + long) * D * w, long * D * w


def _four_bytes(indices, norms, max_norm, D, w):
    return traffic(indices, norms, max_norm, D, 4)


def _every_lane(indices, norms, max_norm, D, w):
    atomics, read, written = traffic(indices, norms, max_norm, D, w)
    return 32 * atomics, read, written


def _traffic_cases() -> list[Case]:
    random = np.random.default_rng(9)
    norms = np.array([1.0, 9.0, 2.0, 5.0, 9.0, 0.0])
    many = random.integers(0, 40, 300)
    return [
        Case("each row once", np.array([0, 1, 3]), norms, 3.0, 8, 4),
        Case("a row three times", np.array([1, 1, 2, 1]), norms, 3.0, 8, 4),
        Case("all short", np.array([0, 2]), norms, 3.0, 16, 4),
        Case("just as long as max_norm", np.array([3, 4]), norms, 5.0, 8, 4),
        Case("16 bits", np.array([4, 3, 0]), norms, 3.0, 64, 2),
        Case("no position", np.zeros(0, np.int64), norms, 3.0, 8, 4),
        Case("300 positions", many, random.random(50) * 10, 4.0, 128, 4),
    ]


def _any_traffic(random):
    V = draw.size(random, 1, 9)
    indices = random.integers(0, V, draw.size(random, 0, 12))
    norms, limit = random.integers(0, 5, V) / 2, float(random.choice([0.0, 0.5, 1.0, 1.7]))
    return indices, norms, limit, draw.size(random, 1, 99), int(random.choice([1, 2, 4, 8]))


TRAFFIC = Exercise(
    "09.traffic",
    "what max_norm costs in memory",
    traffic,
    _traffic_cases,
    random_call=_any_traffic,
    hints=(
        "Follow one warp through renorm. Which line does every warp reach, and which only some?",
        "Every warp makes one atomic. One warp for each different row goes on, and measures it.",
        "U rows are read to be measured; those that are too long are read again, and written. A "
        "row is D * w bytes. Rows that do not occur are not touched.",
    ),
    wrong=(
        Wrong(_one_atomic_a_row, "Each position asks for the claim, also one that comes too late."),
        Wrong(_each_position, "Only the warp that has claimed the row reads it: once for a row."),
        Wrong(_read_once, "A row that is too long is read twice: measured, then multiplied."),
        Wrong(_read_twice, "A row that is short enough is measured, and not read again."),
        Wrong(_all_written, "A row that is short enough is not written."),
        Wrong(_whole_table, "Rows that do not occur are not touched, however long they are."),
        Wrong(_four_bytes, "An element has w bytes, which is not always 4."),
        Wrong(_every_lane, "One lane of the warp asks, and tells the others."),
    ),
    points=2,
    returns=("atomics", "read", "written"),
    unproved="how much of the second reading a cache serves.",
)

# ---- 09.find_the_race -----------------------------------------------------------------------

RESCALE = r"""
// Rows that occur and whose norm is larger than max_norm are rescaled, each once. A warp for each
// of N positions; `claimed` has a bit for each row, all 0 at the start.
extern "C" __global__ void rescale(float* weight, const int* indices, unsigned* claimed, int N,
                                   int D, float max_norm) {
  int position = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (position >= N) return;
  int row = indices[position];
  unsigned bit = 1u << (row % 32), before = 0;
  if (lane == 0) {
    before = claimed[row / 32];
    claimed[row / 32] = before | bit;
  }
  before = __shfl_sync(0xffffffffu, before, 0);
  if (before & bit) return;
  float squares = 0.0f;
  for (int d = lane; d < D; d += 32) squares += weight[row * D + d] * weight[row * D + d];
  for (int distance = 16; distance > 0; distance /= 2) {
    squares += __shfl_xor_sync(0xffffffffu, squares, distance);
  }
  float norm = sqrtf(squares);
  if (!(norm > max_norm)) return;
  float scale = max_norm / (norm + 1e-7f);
  for (int d = lane; d < D; d += 32) weight[row * D + d] *= scale;
}
"""
_LOOK = RESCALE[RESCALE.index("  if (lane == 0) {") : RESCALE.index("  before = __shfl")]
_ASK = "  if (lane == 0) before = atomicOr(&claimed[row / 32], bit);\n"
_TELL = "  before = __shfl_sync(0xffffffffu, before, 0);\n"
_SCALE = "  for (int d = lane; d < D; d += 32) weight[row * D + d] *= scale;\n"
RESCALE_RIGHT = RESCALE.replace(_LOOK, _ASK)
_NO_CLAIM = RESCALE.replace(f"{_LOOK}{_TELL}  if (before & bit) return;\n", "")
TWO_STEPS = (
    "The bit is looked at in one step and set in another: two warps may both find it unset. Nobody "
    "may come in between."
)
PLAIN_LOOK = (
    "The bit is now set by an atomic, but it is looked at by a plain read. The atomic itself "
    "returns what was there before: ask that."
)
EXCHANGED = "A word holds the bits of 32 rows. An exchange writes over those of the other 31."
ALL_ASK = (
    "All 32 lanes ask for the claim. The first of them gets it, and the other 31 leave, as if "
    "another warp had been faster."
)
NOT_TOLD = "Lane 0 knows whether the row was claimed. The other 31 lanes must be told."
LATE = (
    "The row is claimed when it has been rescaled already. Until then others find the bit unset: "
    "the claim must come first."
)
UNCLAIMED = "Nothing keeps two warps from the same row: both measure it, and both multiply."
CARRIED = (
    "An addition sets the bit once; where the bit is set already, it is cleared again, and the "
    "next one changes. Set it with atomicOr."
)
NO_WORD = "There is a word for 32 rows, so row r is in word r / 32, and its bit is r % 32."
NOBODY = (
    "In some order of threads rows are left as they were: no warp believes that it was first. If "
    "all 32 lanes ask, one of them is the first, and it need not be lane 0, whose answer the "
    "shuffle hands round."
)
WHOLE_WORD = (
    "A warp leaves although nobody has claimed its row, but another row of the same word. Look at "
    "the one bit."
)
ONE_EACH = (
    "Only the first 32 features of a row are rescaled: a row may have more than there are lanes, "
    "so that a lane takes every 32nd of them."
)


def _rescale_launch(
    pool: list[int], N: int, D: int, max_norm: float, block: int = 128, size: float = 1.0
) -> Launch:
    """N positions that hold the rows of `pool`; every fourth row of the table is short."""
    random = np.random.default_rng([94, N, D])
    rows = np.concatenate([pool, random.choice(pool, N - len(pool))]).astype(np.int32)
    weight = (random.normal(size=(70, D)) + 3).astype(np.float32) * np.float32(size)
    weight[::4] *= np.float32(0.1) * np.float32(max_norm) / abs(weight[::4]).sum(1, keepdims=True)
    args = (weight, rows, np.zeros(3, np.uint32), N, D, np.float32(max_norm))
    words: dict[int, int] = {}  # the first row that occurs of each word of 32 rows
    for row in rows.tolist():
        words.setdefault(row // 32, row)
    mistakes = {
        WHOLE_WORD: _shortened(weight, list(words.values()), max_norm),
        NOBODY: weight.copy(),
        ONE_EACH: _shortened(weight, pool, max_norm, features=32),
    }
    what = f"{N} positions of {len(pool)} rows, D = {D}, max_norm {max_norm:g}, blocks of {block}"
    right = _shortened(weight, pool, max_norm)
    return Launch(what, -(-32 * N // block), block, args, (0, right), mistakes)


def _rescale_launches() -> list[Launch]:
    pool = [2, 35, 69, 1, 3, 33, 34, 36, 64, 65, 66, 67]
    return [
        _rescale_launch(pool[:3], 8, 5, 1.0),
        _rescale_launch(pool, 40, 5, 2.5),
        _rescale_launch(pool[:5], 9, 70, 1.0, block=64),
        _rescale_launch(pool[:4], 5, 33, 7.0, block=32),
        _rescale_launch([0, 31, 32, 63, 62, 64], 30, 6, 1.0),  # the last bit of a word, too
        _rescale_launch(pool[:6], 8, 8, 2e-7, block=96, size=1e-7),
    ]


def _shortened(
    weight: np.ndarray, rows: list[int], max_norm: float, features: int | None = None
) -> np.ndarray:
    """What becomes of these rows; `features`: if only so many of them are looked at."""
    result, some = weight.copy(), weight[rows, :features].astype(np.float64)
    norms = np.linalg.norm(some, axis=1)[:, None]
    scales = np.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    result[rows, :features] = some * scales
    return result


def _rescale_fault(fault: KernelFault, code: str) -> str:
    kinds = kinds_of(fault)
    if "out of bounds" in kinds and fault.array == "claimed":
        return NO_WORD
    if "atomicExch" in code:
        return EXCHANGED
    if kinds & {"warp mask", "shuffle source", "deadlock"} and "__shfl_sync" not in code:
        return NOT_TOLD if "if (lane == 0) before" in code else ALL_ASK
    if "race" not in kinds:
        return ""
    if fault.array == "claimed":
        return PLAIN_LOOK if "atomically" in str(fault) else TWO_STEPS
    if "claimed" not in code.partition("{")[2]:
        return UNCLAIMED
    if "atomicAdd" in code:
        return CARRIED
    late = re.search(r"weight\s*\[[^]]*\]\s*\*?=[^=].*atomic", code, flags=re.DOTALL)
    return LATE if late else ""


RACE = Exercise(
    "09.find_the_race",
    "a max_norm that rescales a row twice",
    RESCALE_RIGHT,
    hints=(
        "Let two warps with the same row go through the kernel line by line, side by side.",
        "To look and to set must be one step, done by one lane of the warp; the others must learn "
        "what it found.",
        "atomicOr sets a bit and returns the word as it was. Lane 0 calls it; a shuffle from lane "
        "0 tells the other lanes.",
    ),
    wrong=(
        Wrong(3, NOT_SOURCE),
        Wrong(RESCALE, TWO_STEPS),
        Wrong(RESCALE.replace("claimed[row / 32] = before | bit",
                              "atomicOr(&claimed[row / 32], bit)"), PLAIN_LOOK),
        Wrong(RESCALE_RIGHT.replace("atomicOr", "atomicExch"), EXCHANGED),
        Wrong(RESCALE_RIGHT.replace("atomicOr", "atomicAdd"), CARRIED),
        Wrong(RESCALE_RIGHT.replace(_TELL, "").replace("if (lane == 0) before", "before"), ALL_ASK),
        Wrong(RESCALE_RIGHT.replace("if (lane == 0) before", "before"), NOBODY),
        Wrong(RESCALE_RIGHT.replace(_TELL, ""), NOT_TOLD),
        Wrong(_NO_CLAIM.replace(_SCALE, _SCALE + _ASK), LATE),
        Wrong(_NO_CLAIM, UNCLAIMED),
        Wrong(RESCALE_RIGHT.replace("row % 32", "row / 32").replace("[row / 32]", "[row % 32]"),
              NO_WORD),
        Wrong(RESCALE_RIGHT.replace("(before & bit)", "(before)"), WHOLE_WORD),
        Wrong(RESCALE_RIGHT.replace("for (int d = lane; d < D; d += 32)",
                                    "if (int d = lane; d < D)"), ONE_EACH),
        Wrong(RESCALE_RIGHT.replace("blockDim.x", "128"), FIXED_BLOCK),
    ),
    points=2,
    unproved="norm types other than 2, and rows of 16 bits.",
    judge=KernelTask("09.find_the_race", "rescale", _rescale_launches, _rescale_fault, atol=1e-12),
)  # fmt: skip

# ---- 09.budget ------------------------------------------------------------------------------

SLOW = r"""
// The maximum and the winning row, for D = 64. A block is one warp and has one bag; row 0 is the
// padding. Winners are -1 where nobody has won.
extern "C" __global__ void bag_max(const float* weight, const int* indices, const int* offsets,
                                   float* output, int* winners) {
  int bag = blockIdx.x, lane = threadIdx.x, end = offsets[bag + 1];
  for (int d = 2 * lane; d < 2 * lane + 2; d++) {
    int winner = -1;
    for (int i = offsets[bag]; i < end; i++) {
      float value = weight[indices[i] * 64 + d];
      if (indices[i] == 0) continue;
      if (winner < 0 || value > weight[winner * 64 + d]) winner = indices[i];
    }
    output[bag * 64 + d] = winner < 0 ? 0.0f : weight[winner * 64 + d];
    winners[bag * 64 + d] = winner;
  }
}
"""
THRIFTY = r"""
// The maximum and the winning row, for D = 64. A lane has features lane and lane + 32.
extern "C" __global__ void bag_max(const float* weight, const int* indices, const int* offsets,
                                   float* output, int* winners) {
  int bag = blockIdx.x, lane = threadIdx.x, end = offsets[bag + 1];
  float best[2] = {0.0f, 0.0f};
  int winner[2] = {-1, -1};
  for (int i = offsets[bag]; i < end; i++) {
    int row = indices[i];
    if (row == 0) continue;
    for (int k = 0; k < 2; k++) {
      float value = weight[row * 64 + lane + 32 * k];
      if (winner[k] < 0 || value > best[k]) {
        best[k] = value;
        winner[k] = row;
      }
    }
  }
  for (int k = 0; k < 2; k++) {
    output[bag * 64 + lane + 32 * k] = best[k];
    winners[bag * 64 + lane + 32 * k] = winner[k];
  }
}
"""
LENGTHS = (30, 4, 0, 25, 16, 5)  # 80 positions; every fifth is padding
SECTORS = 740
AGAIN = (
    "The result is right, but rows are read again and again: the best value so far is fetched from "
    "the table each time. Keep it in a variable, beside its row."
)
SPREAD = (
    "The result is right. But neighboring lanes ask for floats that are not neighbors, so that a "
    "request touches twice the sectors that it needs, and the row is asked for twice."
)
PADDING_READ = (
    "The result is right, but rows of padding are read, and then left out. Look at the index, and "
    "then read the row."
)
RUNNING = (
    "The result is right, and so are the reads. But output and winners are written for each "
    "position. Keep both in variables, and write them once, at the end."
)
PADDING_WINS = "Padding takes part: positions that hold row 0 must be left out."
EMPTY = "The maximum of a bag without a position that counts is 0, whatever the loop began with."
INDICES = (
    "The result is right, and rows are read once. But indices and offsets are read again for each "
    "feature of a lane, or in each turn of the loop: read them once."
)
LAST_WINS = "Of equals the last has won, but the first should: a later one must be larger."
FROM_ZERO = "The maximum began at 0: a bag of negative numbers has none that is larger."
NO_FIRST_NAN = (
    "A NaN that comes first must stay. The first position that counts enters, whatever it holds."
)
POSITIONS = "The winner is the row, not the position that holds it."
OVERLAP = (
    "Two lanes write the same feature. Each of the 64 belongs to one lane: lane and lane + 32."
)


def _bags(lengths: tuple[int, ...], padding: int) -> tuple[np.ndarray, ...]:
    """A table with ties, NaN and 9 in the padding; rows; where the bags end."""
    random = np.random.default_rng([95, len(lengths)])
    N = sum(lengths)
    weight = random.integers(-9, 4, (60, 64)).astype(np.float32)  # whole numbers: many ties
    weight[7, ::3], weight[padding] = NAN, 9
    ids = random.integers(1, 60, N).astype(np.int32)
    ids[ids == padding] = 0
    ends = np.cumsum([0, *lengths]).astype(np.int32)
    ids[::5], ids[ends[1] + 1], ids[1] = (
        padding,
        7,
        7,
    )  # two bags begin with the NaNs
    return weight, ids, ends


def _contest(weight, ids, ends, takes, padding, best=0.0):
    """(output, winners, positions) if a position takes over where takes(winner, value, best)."""
    output = np.full((len(ends) - 1, weight.shape[1]), best, np.float32)
    winners = np.full(output.shape, -1, np.int32)
    positions = winners.copy()
    for bag in range(len(output)):
        for i in range(ends[bag], ends[bag + 1]):
            if ids[i] != padding:
                new = takes(winners[bag], weight[ids[i]], output[bag])
                output[bag][new], winners[bag][new] = weight[ids[i]][new], ids[i]
                positions[bag][new] = i
    return output, winners, positions


def _larger(winner, value, best):
    return (winner < 0) | (value > best)


def _max_launch(lengths: tuple[int, ...], which: int, padding: int) -> Launch:
    """which: 0, the output is compared; 1, the winners are."""
    weight, ids, ends = _bags(lengths, padding)
    right = _contest(weight, ids, ends, _larger, padding)
    last = _contest(weight, ids, ends, lambda w, v, b: (w < 0) | (v >= b), padding)
    zero = _contest(weight, ids, ends, lambda w, v, b: v > b, padding)
    low = _contest(weight, ids, ends, lambda w, v, b: v > b, padding, best=-INF)
    padded = _contest(weight, ids, ends, _larger, None)
    nobody = low[0].copy()
    low[0][low[1] < 0] = 0
    mistakes = {FROM_ZERO: zero, NO_FIRST_NAN: low, PADDING_WINS: padded}
    mistakes |= {EMPTY: (nobody, low[1])} | ({LAST_WINS: last} if which else {})
    wrong = {message: result[which] for message, result in mistakes.items()}
    if which:
        wrong[POSITIONS] = right[2]
    places = unwritten(*right[0].shape), np.full(right[0].shape, -7, np.int32)
    wrong[OVERLAP] = np.where(np.arange(64) < 33, right[which], places[which])
    told = f"bags of {', '.join(map(str, lengths))} ({('output', 'winners')[which]})"
    args = (weight, ids, ends, *places)
    return Launch(told, len(lengths), 32, args, (3 + which, right[which]), wrong)


def _budget_launches(padding: int = 0) -> list[Launch]:
    return [_max_launch(lengths, which, padding)
            for lengths in (LENGTHS, (3, 2, 40, 0, 1)) for which in (0, 1)]  # fmt: skip


def _budget_fault(fault: KernelFault, code: str) -> str:
    return OVERLAP if "race" in kinds_of(fault) else ""


def _budget_counts(report: Report, launch: Launch, code: str, padding: int = 0) -> str:
    moved = report.total("sectors")
    if moved <= SECTORS or launch.grid != len(LENGTHS):
        return ""

    def of(array: str) -> int:
        return sum(line.sectors for line in report.lines if line.array == array)

    ids, rows = launch.args[1], of("weight") / 8
    N, kept = len(ids), int((ids != padding).sum())
    spare = RUNNING if of("output") + of("winners") > 2 * 16 * len(LENGTHS) else INDICES
    most = ((kept, spare), (N + len(LENGTHS), PADDING_READ), (2 * kept, SPREAD), (np.inf, AGAIN))
    message = next(message for limit, message in most if rows <= limit)
    told = f"On {launch.what}: {moved:,} sectors; the budget is {SECTORS:,}.\n{by_line(report)}"
    return f"{message}\n\n{told}"


_READ = "      float value = weight[row * 64 + lane + 32 * k];\n"
_LOAD = "for (int k = 0; k < 2; k++) coming[k] = weight[next * 64 + lane + 32 * k];\n"
AHEAD = (  # loads the next row before it looks at this one
    THRIFTY.replace(
        "  for (int i",
        f"  int next = indices[offsets[bag]];\n  float coming[2];\n  {_LOAD}  for (int i",
    )
    .replace(
        "    int row = indices[i];\n",
        "    int row = next;\n    float values[2] = {coming[0], coming[1]};\n"
        f"    if (i + 1 < end) {{\n      next = indices[i + 1];\n      {_LOAD}    }}\n",
    )
    .replace(_READ, "      float value = values[k];\n")
)
_KEEP = "    output[bag * 64 + lane + 32 * k] = best[k];\n"
_WINS = "    winners[bag * 64 + lane + 32 * k] = winner[k];\n"
WRITES = THRIFTY.replace(
    "        winner[k] = row;\n      }\n", (f"        winner[k] = row;\n      }}\n{_KEEP}{_WINS}")
)
ONE_BY_ONE = (
    SLOW.replace("int winner = -1;", "int winner = -1;\n    float best = 0.0f;")
    .replace(
        "      float value = weight[indices[i] * 64 + d];\n      if (indices[i] == 0) continue;\n",
        "      int row = indices[i];\n      if (row == 0) continue;\n"
        "      float value = weight[row * 64 + d];\n",
    )
    .replace(
        "value > weight[winner * 64 + d]) winner = indices[i];",
        "value > best) {\n        best = value;\n        winner = row;\n      }",
    )
    .replace("winner < 0 ? 0.0f : weight[winner * 64 + d]", "best")
)


def _other_padding(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """Another row, 8 to 59, is the padding: as many positions hold it as before."""
    row = int(random.integers(8, 60))
    words = {"row 0": f"row {row}", "== 0) continue": f"== {row}) continue"}
    return retold(exercise, words, launches=partial(_budget_launches, row),
                  counts=partial(_budget_counts, padding=row))  # fmt: skip


BUDGET = Exercise(
    "09.budget",
    "a maximum that keeps to a budget of sectors",
    THRIFTY,
    hints=(
        "64 rows of 8 sectors each must be read, and 6 bags written: that is 608. What else is "
        "read, and how often?",
        "Three wastes: the best value is fetched again, padding is read, and the lanes of one "
        "request are two features apart, so that it takes 8 sectors for half of their bytes.",
        "Keep two best values and two winners in each lane, for features lane and lane + 32. Look "
        "at the index, leave out padding, and only then read the row.",
    ),
    wrong=(
        Wrong(SLOW, AGAIN),
        Wrong(ONE_BY_ONE, SPREAD),
        Wrong(AHEAD, PADDING_READ),
        Wrong(WRITES, RUNNING),
        Wrong(ONE_BY_ONE.replace("d = 2 * lane; d < 2 * lane + 2; d++",
                                 "d = lane; d < 64; d += 32"), INDICES),
        Wrong(THRIFTY.replace("> best", ">= best"), LAST_WINS),
        Wrong(THRIFTY.replace("winner[k] < 0 || ", ""), FROM_ZERO),
        Wrong(THRIFTY.replace("winner[k] < 0 || ", "").replace("{0.0f, 0.0f}",
              "{-1.0f / 0.0f, -1.0f / 0.0f}").replace("= best[k];\n    win",
              "= winner[k] < 0 ? 0.0f : best[k];\n    win"), NO_FIRST_NAN),
        Wrong(THRIFTY.replace("winner[k] < 0 || ", "").replace(
            "{0.0f, 0.0f}", "{-1.0f / 0.0f, -1.0f / 0.0f}"), EMPTY),
        Wrong(THRIFTY.replace("    if (row == 0) continue;\n", ""), PADDING_WINS),
        Wrong(THRIFTY.replace("winner[k] = row", "winner[k] = i"), POSITIONS),
        Wrong(THRIFTY.replace("lane + 32 * k", "lane + k"), OVERLAP),
    ),
    points=3,
    unproved="that it is faster; and no two rows are under way at once.",
    judge=KernelTask("09.budget", "bag_max", _budget_launches, _budget_fault, _budget_counts),
    vary=_other_padding,
    shown=("row 0", "== 0) continue"),
)  # fmt: skip

EXERCISES = (WINNER, RESCALED, TRAFFIC, RACE, BUDGET)
