"""The exercises of chapter 08: a fast forward."""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import (
    ADDED_TO,
    NOT_WRITTEN,
    KernelTask,
    Launch,
    by_line,
    kinds_of,
    requests,
    unwritten,
)
from embag_edu.course.variants import retold
from embag_edu.cuda_on_cpu import KernelFault, Report

# ---- 08.pack --------------------------------------------------------------------------------


def pack_for(D, w, address):
    """How many neighboring elements one load may take."""
    size = 16
    while size > w and (D * w % size or address % size):
        size //= 2
    return size // w


def _no_address(D, w, address):
    return pack_for(D, w, 0)


def _no_rows(D, w, address):
    return pack_for(16, w, address)


def _always_16(D, w, address):
    return 16 // w


def _always_4(D, w, address):
    return next(p for p in (4, 2, 1) if D % p == 0 and address % (p * w) == 0)


def _too_wide(D, w, address):
    return next(p for p in (32, 16, 8, 4, 2, 1) if D % p == 0 and address % (p * w) == 0)


def _all_or_one(D, w, address):
    whole = D * w % 16 == 0 and address % 16 == 0
    return 16 // w if whole else 1


def _bytes(D, w, address):
    return pack_for(D, w, address) * w


def _pack_cases() -> list[Case]:
    return [
        Case("rows of 32 bytes", 8, 4, 0),
        Case("6 floats: 24 bytes, a multiple of 8", 6, 4, 0),
        Case("an odd D", 5, 4, 0),
        Case("a table that begins at byte 4", 8, 4, 4),
        Case("a table that begins at byte 8", 8, 4, 1024 + 8),
        Case("16 bits: 8 elements are 16 bytes", 40, 2, 0),
        Case("16 bits, rows of 12 bytes", 6, 2, 0),
        Case("double", 64, 8, 256),
        Case("double, an odd D", 33, 8, 256),
        Case("128 floats", 128, 4, 4096),
    ]


def _any_pack(random):
    w = int(random.choice([2, 4, 8]))
    return draw.size(random, 1, 70), w, draw.size(random, 0, 40) * w


PACK = Exercise(
    "08.pack",
    "how many elements one load may take",
    pack_for,
    _pack_cases,
    random_call=_any_pack,
    hints=(
        "A load of k bytes must start at a multiple of k; k is 16 at most. Where do rows start?",
        "Row r starts at address + r * D * w. Try 16 bytes first, then half, then half of that.",
        "k fits all rows if it divides the address and the bytes of a row. The answer is k / w, "
        "and never below 1.",
    ),
    wrong=(
        Wrong(
            _no_address,
            "The table itself may begin at an odd place (a slice of another array does): its "
            "address counts, too.",
        ),
        Wrong(
            _no_rows,
            "Row 0 may be fine and row 1 not: the bytes of a row must be a multiple of the load.",
        ),
        Wrong(
            _always_16,
            "Not every row starts at a multiple of 16 bytes. A load that does not is a fault.",
        ),
        Wrong(_always_4, "4 elements are 16 bytes for float32 only. Reckon in bytes."),
        Wrong(_too_wide, "One load of a thread brings 16 bytes at most."),
        Wrong(
            _all_or_one,
            "Between 16 bytes and one element there is a middle: 8 bytes, and for 16-bit types 4.",
        ),
        Wrong(_bytes, "Those are bytes. Elements are wanted: divide by w."),
    ),
    points=2,
    unproved="that a wide load is faster; the counts of the chapter show fewer requests.",
)

# ---- 08.loads -------------------------------------------------------------------------------


def loads_of_row(D, w, row):
    """(requests, sectors) of version 2 for one row."""
    tile = 32 * pack_for(D, w, 0) * w
    begin, end = row * D * w, (row + 1) * D * w
    starts = range(begin, end, tile)
    return len(starts), sum(_touched(s, min(s + tile, end)) for s in starts)


def _touched(begin, end):
    return (end - 1) // 32 - begin // 32 + 1


def _floor(D, w, row):
    return loads_of_row(D, w, row)[0], D * w // 32


def _each_once(D, w, row):
    return loads_of_row(D, w, row)[0], _touched(row * D * w, (row + 1) * D * w)


def _row_zero(D, w, row):
    return loads_of_row(D, w, 0)


def _one_request(D, w, row):
    return 1, loads_of_row(D, w, row)[1]


def _always_512(D, w, row):
    begin, end = row * D * w, (row + 1) * D * w
    starts = range(begin, end, 512)
    return len(starts), sum(_touched(s, min(s + 512, end)) for s in starts)


def _idle_lanes_too(D, w, row):
    tile = 32 * pack_for(D, w, 0) * w
    starts = range(row * D * w, (row + 1) * D * w, tile)
    return len(starts), sum(_touched(s, s + tile) for s in starts)


def _per_element(D, w, row):
    begin, end = row * D * w, (row + 1) * D * w
    starts = range(begin, end, 32 * w)
    return len(starts), sum(_touched(s, min(s + 32 * w, end)) for s in starts)


def _loads_cases() -> list[Case]:
    return [
        Case("128 floats: one whole tile", 128, 4, 0),
        Case("8 floats, a row of one sector", 8, 4, 3),
        Case("64 floats: half of the lanes", 64, 4, 2),
        Case("256 floats: two tiles", 256, 4, 1),
        Case("12 floats, row 1 starts in the middle of a sector", 12, 4, 1),
        Case("14 floats, row 1", 14, 4, 1),
        Case("100 floats", 100, 4, 7),
        Case("an odd D: a float at a time", 99, 4, 5),
        Case("132 floats, whose second tile is one lane", 132, 4, 3),
        Case("16 bits: 8 in a load", 256, 2, 1),
        Case("double: 2 in a load", 128, 8, 2),
    ]


def _any_loads(random):
    return draw.size(random, 1, 300), int(random.choice([2, 4, 8])), draw.size(random, 0, 9)


LOADS = Exercise(
    "08.loads",
    "requests and sectors of version 2 for one row",
    loads_of_row,
    _loads_cases,
    random_call=_any_loads,
    hints=(
        "First PACK, for that D and w. Then: how many bytes does a warp bring with one request?",
        "A row longer than a tile takes several requests. A request from byte a to byte b touches "
        "the sectors a // 32 to b // 32.",
        "Row r begins at r * D * w. Go over it in steps of a tile; the last tile ends with the "
        "row. Add up the sectors of the tiles.",
    ),
    wrong=(
        Wrong(_floor, "A part of a sector is moved as a whole: nothing is rounded down."),
        Wrong(
            _each_once,
            "Where two tiles meet in a sector, both requests move it: count it twice.",
        ),
        Wrong(
            _row_zero,
            "Bytes over 32, rounded up, holds for row 0. This row may begin in the middle of a "
            "sector, and touch one more.",
        ),
        Wrong(_one_request, "A row longer than 32 loads takes several requests, one for a tile."),
        Wrong(_always_512, "A tile is 512 bytes only if PACK elements are 16 bytes."),
        Wrong(
            _idle_lanes_too,
            "Lanes behind the end of the row have left: they ask for nothing, and no sector is "
            "moved for them.",
        ),
        Wrong(_per_element, "That is version 1, an element a lane. Version 2 takes PACK at once."),
    ),
    points=2,
    returns=("requests", "sectors"),
    unproved="how fast it is: neither latency nor caches are in it.",
)

# ---- 08.two_pass ----------------------------------------------------------------------------


def two_pass(rows, S):
    """The sum of one bag, with the additions of version 5: the same bits."""
    L, total = len(rows), np.zeros(rows.shape[1], np.float32)
    for s in range(S):
        total = total + _in_order(rows[L * s // S : L * (s + 1) // S])
    return total


def _in_order(rows):
    total = np.zeros(rows.shape[1], np.float32)
    for row in rows:
        total = total + row
    return total


def _straight(rows, S):
    return _in_order(rows)


def _in_double(rows, S):
    return rows.astype(np.float64).sum(axis=0).astype(np.float32)


def _last_part_first(rows, S):
    L, total = len(rows), np.zeros(rows.shape[1], np.float32)
    for s in reversed(range(S)):
        total = total + _in_order(rows[L * s // S : L * (s + 1) // S])
    return total


def _rest_lost(rows, S):
    short, total = len(rows) // S, np.zeros(rows.shape[1], np.float32)
    for s in range(S):
        total = total + _in_order(rows[short * s : short * (s + 1)])
    return total


def _rest_last(rows, S):
    short, total = len(rows) // S, np.zeros(rows.shape[1], np.float32)
    for s in range(S):
        end = len(rows) if s == S - 1 else short * (s + 1)
        total = total + _in_order(rows[short * s : end])
    return total


def _in_turns(rows, S):
    total = np.zeros(rows.shape[1], np.float32)
    for s in range(S):
        total = total + _in_order(rows[s::S])
    return total


def _split_by_numpy(rows, S):
    total = np.zeros(rows.shape[1], np.float32)
    for part in np.array_split(rows, S):
        total = total + _in_order(part)
    return total


def _summed_by_numpy(rows, S):
    L, total = len(rows), np.zeros(rows.shape[1], np.float32)
    for s in range(S):
        total = total + rows[L * s // S : L * (s + 1) // S].sum(axis=0)
    return total


def _parts_summed_by_numpy(rows, S):
    L = len(rows)
    parts = [_in_order(rows[L * s // S : L * (s + 1) // S]) for s in range(S)]
    return np.stack(parts).sum(axis=0)


def _two_pass_cases() -> list[Case]:
    random = np.random.default_rng(8)
    cases = [
        ("two parts of two, where order shows", np.array([[1], [1e8], [-1e8], [3]]), 2),
        ("seven rows in three parts", random.normal(size=(7, 2)) * [1, 1e6], 3),
        ("a part without a row", random.normal(size=(3, 2)), 5),
        ("one part", random.normal(size=(9, 2)), 1),
        ("a long bag", random.normal(size=(1001, 4)), 16),
        ("one feature", random.normal(size=(90, 1)), 3),
        ("one feature, a long bag", random.normal(size=(2000, 1)), 7),
        ("one feature, many parts", np.random.default_rng(8).normal(size=(900, 1)), 300),
        ("no row", np.zeros((0, 2)), 4),
    ]
    return [Case(what, rows.astype(np.float32), S) for what, rows, S in cases]


def _any_two_pass(random):
    shape = draw.size(random, 0, 40), draw.size(random, 1, 4)
    rows = random.normal(size=shape) * 10.0 ** random.integers(0, 8, shape)
    return rows.astype(np.float32), draw.size(random, 1, 9)


TWO_PASS = Exercise(
    "08.two_pass",
    "the additions of version 5, bit by bit",
    two_pass,
    _two_pass_cases,
    random_call=_any_two_pass,
    hints=(
        "Two loops: over the parts, and in each part over its rows. Both go forward.",
        "Part s ends where part s + 1 begins: before row L * (s + 1) // S. Read bag_sum_5.",
        "Sum every part by itself, from zero and in float32, row after row; then add these sums, "
        "part 0 first.",
    ),
    wrong=(
        Wrong(_straight, "That is the order of versions 1 to 4: other bits than part after part."),
        Wrong(
            _in_double,
            "More exact than asked: version 5 keeps its sums in float32. Bits are compared.",
        ),
        Wrong(_last_part_first, "The second kernel begins with part 0."),
        Wrong(_rest_lost, "If S does not divide L, some rows have no part."),
        Wrong(
            _rest_last,
            "The parts cover the bag, but not as in bag_sum_5: there, the rest is spread over all "
            "parts, and the last is not longer by it.",
        ),
        Wrong(
            _split_by_numpy,
            "np.array_split makes the first parts the longer ones. Here part s ends before row "
            "L * (s + 1) // S.",
        ),
        Wrong(
            _summed_by_numpy,
            "NumPy's sum of one column does not go from row to row: it adds eight sums of its own, "
            "side by side. Add row after row.",
        ),
        Wrong(
            _parts_summed_by_numpy,
            "The parts are right. Their sums were added by NumPy, which for many of them does not "
            "go from part to part.",
        ),
        Wrong(_in_turns, "A part is a stretch of neighbors, not every S-th row."),
    ),
    atol=0.0,
    rtol=0.0,
    points=2,
    unproved="that these bits are better. They are the same every time.",
)

# ---- 08.repair_shuffle ----------------------------------------------------------------------

SHUFFLED = r"""
// The sums of bags, for D <= 32. A block is one warp and has one bag; lane d has feature d.
extern "C" __global__ void bag_sum(const float* weight, const int* indices, const int* offsets,
                                   float* output, int D) {
  int bag = blockIdx.x, lane = threadIdx.x;
  if (lane >= D) return;
  int end = offsets[bag + 1];
  float sum = 0.0f;
  for (int base = offsets[bag]; base < end; base += 32) {
    int count = min(end - base, 32);
    int my_row = lane < count ? indices[base + lane] : 0;
    for (int k = 0; k < count; k++) {
      int row = __shfl_sync(0xffffffffu, my_row, k);
      sum += weight[row * D + lane];
    }
  }
  output[bag * D + lane] = sum;
}
"""
LEFT = (
    "A shuffle asks a lane that is not there. Lanes without a feature have left, and with them the "
    "indices that they should load for the others."
)
HALF_OF_THEM = (
    "Not all lanes that the mask names come to the shuffle. It must not stand in a branch that "
    "some of them skip: first the shuffle, for all; then, for some, the work."
)
MASKED = (
    "The mask now names only the lanes that are left. But the indices of the others are missing: "
    "nobody has loaded them. Who is asked must be there."
)
NO_FEATURE = "Lanes without a feature must stay for the shuffles, but they must not read weight."
NO_OUTPUT = "Lanes without a feature must stay for the shuffles, but they must not write output."
PAST_BAG = "A lane loads an index behind the end of the bag's positions."
ROW_ZERO = "Positions behind the end of the bag were added, as row 0."
ONLY_FIRST = "Each position needs its own row: shuffle from lane k."
NOT_HANDED = (
    "The result is right, but the indices are not passed around any more: each is asked for on its "
    "own. Let the lanes load 32 of them at once."
)


def _shuffle_launch(lengths: list[int], D: int) -> Launch:
    ends = np.cumsum([0, *lengths]).astype(np.int32)
    random = np.random.default_rng([88, D, len(lengths)])
    weight = random.normal(size=(50, D)).astype(np.float32)
    ids = random.integers(0, 50, ends[-1]).astype(np.int32)
    position = np.arange(ends[-1])
    begins = np.repeat(ends[:-1], lengths)
    zeros = np.array([-L % 32 for L in lengths])[:, None] * weight[0]
    right = _sums(weight, ids, ends)
    return Launch(
        f"bags of {', '.join(map(str, lengths))}, D = {D}", len(lengths), 32,
        (weight, ids, ends, unwritten(*right.shape), D),
        (3, right),
        {
            ROW_ZERO: right + zeros.astype(np.float32),
            ONLY_FIRST: _sums(weight, ids[position - (position - begins) % 32], ends),
        },
    )  # fmt: skip


def _shuffle_launches() -> list[Launch]:
    return [
        _shuffle_launch([25], 20),
        _shuffle_launch([3, 0, 70, 32], 20),
        _shuffle_launch([40, 33, 1], 32),
        _shuffle_launch([0, 5, 64, 2, 31], 7),
    ]


def _sums(weight: np.ndarray, ids: np.ndarray, ends: np.ndarray) -> np.ndarray:
    pairs = zip(ends[:-1], ends[1:], strict=True)
    return np.array([weight[ids[a:b]].sum(axis=0, dtype=np.float32) for a, b in pairs], np.float32)


def _shuffle_fault(fault: KernelFault, code: str) -> str:
    kinds = kinds_of(fault)
    if "out of bounds" in kinds or "race" in kinds:
        message = {"indices": PAST_BAG, "output": NO_OUTPUT}
        return message.get(fault.array or "", NO_FEATURE)
    if "return" in code and kinds & {"shuffle source", "warp mask"}:
        return LEFT if re.search(r"__shfl_sync\(\s*(0[xX][fF]{8}|~0|-1)", code) else MASKED
    return HALF_OF_THEM if kinds & {"warp mask", "shuffle source", "deadlock"} else ""


def _shuffle_counts(report: Report, launch: Launch, code: str) -> str:
    stretches = sum(-(-int(L) // 32) for L in np.diff(launch.args[2]))
    return NOT_HANDED if requests(report, "indices") > 2 * stretches else ""


_LEAVE = "  if (lane >= D) return;\n"
_ADD = "sum += weight[row * D + lane];"
_WRITE = "output[bag * D + lane] = sum;"
SHUFFLE_RIGHT = (
    SHUFFLED.replace(_LEAVE, "")
    .replace(_ADD, f"if (lane < D) {_ADD}")
    .replace(_WRITE, f"if (lane < D) {_WRITE}")
)
_BRANCH = """if (lane < D) {
        int row = __shfl_sync(0xffffffffu, my_row, k);
        sum += weight[row * D + lane];
      }"""
_SHUFFLE = """int row = __shfl_sync(0xffffffffu, my_row, k);
      if (lane < D) sum += weight[row * D + lane];"""
REPAIR = Exercise(
    "08.repair_shuffle",
    "lanes that leave, and are asked all the same",
    SHUFFLE_RIGHT,
    hints=(
        "With D = 20, lanes 20 to 31 leave in the third line. Which indices should they have "
        "loaded?",
        "All 32 lanes must come to every shuffle: keep them, and let only some of them work.",
        "Take the early exit out. Put the condition before the addition and before the write, "
        "and leave the shuffle outside of it.",
    ),
    wrong=(
        Wrong(SHUFFLED, LEFT),
        Wrong(SHUFFLED.replace("0xffffffffu", "(1u << D) - 1"), MASKED),
        Wrong(SHUFFLE_RIGHT.replace(f"if (lane < D) {_ADD}", _ADD), NO_FEATURE),
        Wrong(SHUFFLE_RIGHT.replace(f"if (lane < D) {_WRITE}", _WRITE), NO_OUTPUT),
        Wrong(SHUFFLE_RIGHT.replace(_SHUFFLE, _BRANCH), HALF_OF_THEM),
        Wrong(SHUFFLE_RIGHT.replace("lane < count ? indices[base + lane] : 0",
                                    "indices[base + lane]"), PAST_BAG),
        Wrong(SHUFFLE_RIGHT.replace("k < count", "k < 32"), ROW_ZERO),
        Wrong(SHUFFLE_RIGHT.replace("my_row, k)", "my_row, 0)"), ONLY_FIRST),
        Wrong(SHUFFLED.replace("__shfl_sync(0xffffffffu, my_row, k)", "indices[base + k]"),
              NOT_HANDED),
        Wrong(SHUFFLE_RIGHT.replace("bag * D + lane] =", "bag * D + lane] +="), ADDED_TO),
        Wrong(SHUFFLE_RIGHT.replace("if (lane < D) output", "if (lane == 0) output"), NOT_WRITTEN),
    ),
    points=2,
    unproved="that it is right for D > 32; a lane has one feature here.",
    judge=KernelTask("08.repair_shuffle", "bag_sum", _shuffle_launches, _shuffle_fault,
                     _shuffle_counts),
)  # fmt: skip

# ---- 08.budget ------------------------------------------------------------------------------

SLOW = r"""
// The sums of bags, for D = 128. A block is one warp and has one bag.
extern "C" __global__ void bag_sum(const float* weight, const int* indices, const int* offsets,
                                   float* output) {
  int bag = blockIdx.x, lane = threadIdx.x, end = offsets[bag + 1];
  for (int d = lane; d < 128; d += 32) {
    float sum = 0.0f;
    for (int i = offsets[bag]; i < end; i++) {
      sum += weight[indices[i] * 128 + d];
    }
    output[bag * 128 + d] = sum;
  }
}
"""
FAST = r"""
// The sums of bags, for D = 128. A block is one warp and has one bag; a lane has 4 features.
extern "C" __global__ void bag_sum(const float* weight, const int* indices, const int* offsets,
                                   float* output) {
  int bag = blockIdx.x, lane = threadIdx.x, end = offsets[bag + 1];
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  for (int base = offsets[bag]; base < end; base += 32) {
    int count = min(end - base, 32);
    int my_row = lane < count ? indices[base + lane] : 0;
    for (int k = 0; k < count; k++) {
      int row = __shfl_sync(0xffffffffu, my_row, k);
      float4 value = *(const float4*)(weight + row * 128 + 4 * lane);
      sum.x += value.x;
      sum.y += value.y;
      sum.z += value.z;
      sum.w += value.w;
    }
  }
  *(float4*)(output + bag * 128 + 4 * lane) = sum;
}
"""
LENGTHS = (40, 3, 0, 32, 20, 1)
REQUESTS, SECTORS = 130, 1700  # for 96 positions in 6 bags
NARROW = (
    "The result is right. But the warp asks for a row more than once: 512 bytes are 32 loads of "
    "16. Let a lane take 4 neighboring features, as a float4."
)
ONE_INDEX = (
    "The result is right, and the rows cost one request each. But so do the indices: let the lanes "
    "load 32 of them at once, and pass them around by shuffles."
)
STILL_NARROW = (
    "The result is right, and the indices are passed around. But a row still takes more than one "
    "request: load 16 bytes in each lane."
)
SPREAD = "The result is right, but the lanes' addresses are spread: too many sectors of weight."
UNALIGNED = (
    "A float4 starts at a multiple of 16 bytes: lane l begins with feature 4 * l, and not l."
)
WRONG_FEATURES = "The features are mixed up: what is read at 4 * lane belongs there in output, too."
TOO_MUCH = "The result is right, and it asks too often. What did you read or write that is spare?"


def _budget_launch(lengths: tuple[int, ...]) -> Launch:
    N = sum(lengths)
    random = np.random.default_rng([188, N])
    weight = random.normal(size=(N, 128)).astype(np.float32)
    ids = random.permutation(N).astype(np.int32)
    ends = np.cumsum([0, *lengths]).astype(np.int32)
    right = _sums(weight, ids, ends)
    mixed = right.reshape(-1, 32, 4).transpose(0, 2, 1).reshape(right.shape)
    zeros = np.array([-L % 32 for L in lengths])[:, None] * weight[0]
    return Launch(
        f"bags of {', '.join(map(str, lengths))}", len(lengths), 32,
        (weight, ids, ends, unwritten(*right.shape)),
        (3, right),
        {WRONG_FEATURES: mixed, ROW_ZERO: right + zeros.astype(np.float32)},
    )  # fmt: skip


def _budget_launches() -> list[Launch]:
    return [_budget_launch(LENGTHS), _budget_launch((70, 5, 64)), _budget_launch((33,))]


def _budget_fault(fault: KernelFault, code: str) -> str:
    if fault.kind == "misaligned":
        return UNALIGNED
    if fault.kind == "out of bounds" and fault.array == "indices":
        return PAST_BAG
    return HALF_OF_THEM if kinds_of(fault) & {"warp mask", "shuffle source"} else ""


def _budget_counts(report: Report, launch: Launch, code: str) -> str:
    asked, sectors = report.total("requests"), report.total("sectors")
    if launch.grid != len(LENGTHS) or (asked <= REQUESTS and sectors <= SECTORS):
        return ""
    N = sum(LENGTHS)
    handed = requests(report, "indices") <= N // 2
    message = TOO_MUCH
    if sum(line.sectors for line in report.lines if line.array == "weight") > 16 * N:
        message = SPREAD
    elif requests(report, "weight") > N:
        message = STILL_NARROW if handed else NARROW
    elif not handed:
        message = ONE_INDEX
    return (
        f"{message}\n\nOn {launch.what}: {asked} requests and {sectors:,} sectors; the budget is "
        f"{REQUESTS} and {SECTORS:,}.\n{by_line(report)}"
    )


_LOAD = "*(const float4*)(weight + row * 128 + 4 * lane)"
_HANDED = FAST[FAST.index("    int count") : FAST.index("      float4 value")]
WIDE_ONLY = FAST.replace("base += 32", "base++").replace(
    _HANDED, "    {\n      int row = indices[base];\n"
)
HANDED_ONLY = SLOW.replace(
    "    for (int i = offsets[bag]; i < end; i++) {\n"
    "      sum += weight[indices[i] * 128 + d];\n    }",
    "    for (int base = offsets[bag]; base < end; base += 32) {\n"
    "      int count = min(end - base, 32);\n"
    "      int my_row = lane < count ? indices[base + lane] : 0;\n"
    "      for (int k = 0; k < count; k++) {\n"
    "        sum += weight[__shfl_sync(0xffffffffu, my_row, k) * 128 + d];\n      }\n    }",
)
SPREAD_OUT = SLOW.replace("d = lane; d < 128; d += 32", "d = 4 * lane; d < 4 * lane + 4; d++")
MIXED = FAST.replace(
    "*(float4*)(output + bag * 128 + 4 * lane) = sum;",
    "float* o = output + bag * 128 + lane;\n"
    "  o[0] = sum.x; o[32] = sum.y; o[64] = sum.z; o[96] = sum.w;",
)
BUDGET = Exercise(
    "08.budget",
    "a forward that keeps to a budget of requests and sectors",
    FAST,
    hints=(
        "96 rows of 512 bytes are 1,536 sectors, and nothing can be saved there. How many requests "
        "must they be, at least?",
        "Step 2 of the chapter: 16 bytes a lane, so one request a row. Step 3: one request for the "
        "indices of 32 positions.",
        "Four sums in a lane (a float4). Around the loop over positions put one over stretches of "
        "32: each lane loads one index, and a shuffle tells all lanes the one whose turn it is.",
    ),
    wrong=(
        Wrong(SLOW, NARROW),
        Wrong(WIDE_ONLY, ONE_INDEX),
        Wrong(HANDED_ONLY, STILL_NARROW),
        Wrong(SPREAD_OUT, SPREAD),
        Wrong(FAST.replace(_LOAD, "*(const float4*)(weight + row * 128 + lane)"), UNALIGNED),
        Wrong(MIXED, WRONG_FEATURES),
        Wrong(FAST.replace("k < count", "k < 32"), ROW_ZERO),
        Wrong(FAST.replace("lane < count ? indices[base + lane] : 0", "indices[base + lane]"),
              PAST_BAG),
        Wrong(FAST.replace("int row = __shfl_sync(0xffffffffu, my_row, k);", "int row = 0;\n"
                           "      if (lane < 16) row = __shfl_sync(0xffffffffu, my_row, k);"),
              HALF_OF_THEM),
    ),
    points=3,
    unproved="that it is faster; and it still has one row of a bag under way at a time.",
    judge=KernelTask("08.budget", "bag_sum", _budget_launches, _budget_fault, _budget_counts),
)  # fmt: skip

# ---- 08.repair_ring -------------------------------------------------------------------------

EARLY = r"""
#include <cuda_pipeline.h>
const int RING = 4;  // places

// The sums of bags, for D <= 32. A block is one warp and has one bag; lane d has feature d.
extern "C" __global__ void bag_sum(const float* weight, const int* indices, const int* offsets,
                                   float* output, int D) {
  __shared__ float ring[RING][32];
  int bag = blockIdx.x, d = threadIdx.x, begin = offsets[bag], end = offsets[bag + 1];
  if (d >= D) return;
  float sum = 0.0f;
  for (int i = begin; i < end; i++) {
    __pipeline_memcpy_async(&ring[i % RING][d], weight + indices[i] * D + d, 4);
    __pipeline_commit();
    __pipeline_wait_prior(RING);
    if (i - begin >= RING - 1) sum += ring[(i - RING + 1) % RING][d];
  }
  __pipeline_wait_prior(0);
  for (int i = end - RING + 1; i < end; i++) sum += ring[i % RING][d];
  output[bag * D + d] = sum;
}
"""
ON_ITS_WAY = (
    "A row is added while the copy that brings it is still on its way. Count at that line: how "
    "many batches have been closed after the one that is to be added?"
)
AT_THE_END = (
    "When the loop ends, some rows are still on their way, and nobody waits for them: "
    "__pipeline_wait_prior(0) waits for all."
)
NO_BATCH = (
    "No batch is ever closed, so there is none to wait for: __pipeline_commit() belongs behind "
    "each copy."
)
NEVER_PUT = (
    "A place of the ring is read into which nothing was copied. A bag may have fewer rows than "
    "the ring has places."
)
ONE_AT_A_TIME = (
    "The result is right. But each row is waited for as soon as it has been asked for: one row is "
    "under way at a time, and three places of the ring are for nothing."
)
TOO_FEW = (
    "The result is right, but fewer than three rows are still under way when one is added: more is "
    "waited for than that one."
)
NO_RING = (
    "The result is right, but the rows do not all come by asynchronous copies any more, each into "
    "a place of the ring."
)
LAST_ROWS = (
    "The last rows of a bag are missing: those that are still in the ring when the loop ends."
)
TWICE = "A row is added twice: once in the loop, and once more behind it."


def _ring_launch(lengths: list[int], D: int) -> Launch:
    ends = np.cumsum([0, *lengths]).astype(np.int32)
    random = np.random.default_rng([808, D, len(lengths)])
    weight = random.normal(size=(50, D)).astype(np.float32)
    ids = random.integers(0, 50, ends[-1]).astype(np.int32)
    right = _sums(weight, ids, ends)
    spans = list(zip(ends[:-1], ends[1:], strict=True))
    in_loop = [weight[ids[a : max(b - 3, a)]].sum(axis=0) for a, b in spans]
    again = [weight[ids[max(b - 4, 0)]] * (b - a >= 4) for a, b in spans]
    return Launch(
        f"bags of {', '.join(map(str, lengths))}, D = {D}", len(lengths), 32,
        (weight, ids, ends, unwritten(*right.shape), D),
        (3, right),
        {LAST_ROWS: np.array(in_loop), TWICE: right + np.array(again)},
    )  # fmt: skip


def _ring_launches() -> list[Launch]:
    return [
        _ring_launch([9, 4], 20),
        _ring_launch([2, 0, 30, 1, 3], 20),
        _ring_launch([7, 12, 5], 32),
        _ring_launch([0, 6, 2], 5),
    ]


def _ring_fault(fault: KernelFault, code: str) -> str:
    if "__pipeline_commit" not in code:
        return NO_BATCH
    if fault.kind == "async copy":
        return AT_THE_END if _behind_the_loop(fault.line, code) else ON_ITS_WAY
    outside = "array index", "uninitialized shared memory"
    return NEVER_PUT if fault.kind in outside else ""


def _behind_the_loop(line: int, code: str) -> bool:
    """Does the loop that closes batches end before this line?"""
    depth = 0
    for text in code.split("\n")[:line]:
        if "__pipeline_commit" in text:
            depth = 1
        elif depth:
            depth += text.count("{") - text.count("}")
            if depth <= 0:
                return True
    return False


def _ring_counts(report: Report, launch: Launch, code: str) -> str:
    """Each thread must add its rows while three others are under way, but for the last three."""
    copies = [_copies(steps) for steps in _steps(report).values()]
    if any(read != len(under_way) for read, under_way in copies):
        return NO_RING
    most = [sum(n >= 3 for n in under_way) - max(len(under_way) - 3, 0) for _, under_way in copies]
    if min(most) >= 0:
        return ""
    return (
        TOO_FEW if any(n > 0 for _, under_way in copies for n in under_way[:1]) else ONE_AT_A_TIME
    )


def _steps(report: Report) -> dict[object, list[str]]:
    """What each thread does with rows: "read weight", "write ring" (a shared array), ..."""
    steps: dict[object, list[str]] = {}
    for a in report.accesses:
        mine = steps.setdefault((a.block, a.thread), [])
        if a.array == "weight" or (a.array not in GLOBAL and a.kind == "write"):
            mine.append("read" if a.array == "weight" else "put")
    return steps


def _copies(steps: list[str]) -> tuple[int, list[int]]:
    """Rows read, and for each that arrived by an asynchronous copy how many were still under way.

    A copy is a read and a put where it is asked for, and a second put at the wait for it.
    """
    under_way, left = 0, []
    for before, step in zip(["", *steps], steps, strict=False):
        if step == "read":
            under_way += 1
        elif before != "read":
            under_way -= 1
            left.append(under_way)
    return steps.count("read"), left


GLOBAL = "weight", "indices", "offsets", "output"
_WAIT = "__pipeline_wait_prior(RING)"
_DRAIN = "int i = end - RING + 1; i"
RING_RIGHT = EARLY.replace(_WAIT, "__pipeline_wait_prior(RING - 1)").replace(
    _DRAIN, "int i = max(begin, end - RING + 1); i"
)
_BEHIND = RING_RIGHT[RING_RIGHT.index("  for (int i = max") : RING_RIGHT.index("  output[bag")]
_NO_COPIES = (
    RING_RIGHT[: RING_RIGHT.index("  for (int i = begin")]
    + "  for (int i = begin; i < end; i++) sum += weight[indices[i] * D + d];\n"
    + RING_RIGHT[RING_RIGHT.index("  output[bag") :]
)
RING = Exercise(
    "08.repair_ring",
    "rows that are added before they have come",
    RING_RIGHT,
    hints=(
        "In the turn that asks for row i, row i - 3 is added. How many rows have been asked for "
        "after that one? They may still be on their way; it may not.",
        "__pipeline_wait_prior(n) waits until all batches but the last n have come. And then look "
        "at the loop behind: where does it begin for a bag of two rows?",
        "One batch fewer may be left. The loop behind must not begin before the bag does: take the "
        "larger of two numbers.",
    ),
    wrong=(
        Wrong(EARLY, ON_ITS_WAY),
        Wrong(RING_RIGHT.replace("  __pipeline_wait_prior(0);\n", ""), AT_THE_END),
        Wrong(RING_RIGHT.replace("    __pipeline_commit();\n", ""), NO_BATCH),
        Wrong(EARLY.replace(_WAIT, "__pipeline_wait_prior(RING - 1)"), NEVER_PUT),
        Wrong(RING_RIGHT.replace("wait_prior(RING - 1)", "wait_prior(0)"), ONE_AT_A_TIME),
        Wrong(RING_RIGHT.replace("wait_prior(RING - 1)", "wait_prior(RING - 2)"), TOO_FEW),
        Wrong(_NO_COPIES, NO_RING),
        Wrong(RING_RIGHT.replace(_BEHIND, ""), LAST_ROWS),
        Wrong(RING_RIGHT.replace("max(begin, end - RING + 1)", "max(begin, end - RING)"), TWICE),
    ),
    points=2,
    unproved="that it is faster: how many rows are under way at a time, only a GPU knows.",
    judge=KernelTask("08.repair_ring", "bag_sum", _ring_launches, _ring_fault, _ring_counts),
)

# ---- 08.under_way ---------------------------------------------------------------------------


def rows_needed(rate, latency, bags, processors, row, fit=64):
    """How many rows each warp must have under way, by Little's law."""
    warps = min(bags, fit * processors)
    return -(-rate * latency // (warps * row))


def _rounded_down(rate, latency, bags, processors, row, fit=64):
    warps = min(bags, fit * processors)
    return max(rate * latency // (warps * row), 1)


def _one_more(rate, latency, bags, processors, row, fit=64):
    warps = min(bags, fit * processors)
    return rate * latency // (warps * row) + 1


def _all_bags(rate, latency, bags, processors, row, fit=64):
    return -(-rate * latency // (bags * row))


def _always_full(rate, latency, bags, processors, row, fit=64):
    return -(-rate * latency // (fit * processors * row))


def _one_processor(rate, latency, bags, processors, row, fit=64):
    return -(-rate * latency // (min(bags, fit) * row))


def _in_bytes(rate, latency, bags, processors, row, fit=64):
    return -(-rate * latency // min(bags, fit * processors))


def _under_way_cases(fit: int = 64) -> list[Case]:
    return [
        Case("an H200, 2,048 bags, rows of 512 bytes", 4800, 500, 2048, 132, 512),
        Case("the same with rows of 256 bytes", 4800, 500, 2048, 132, 256),
        Case("more bags than warps fit", 4800, 500, 65_536, 132, 512),
        Case("one bag", 4800, 500, 1, 132, 512),
        Case(f"100 bags, and {fit} warps fit", 64, 100, 100, 1, 10),
        Case("it comes out even", 512, 100, 100, 10, 256),
        Case("a small GPU", 300, 400, 500, 20, 64),
        Case("just as many bags as warps fit", 1000, 640, 10 * fit, 10, 100),
        Case("one row each is more than enough", 100, 100, 6400, 100, 512),
    ]


def _any_under_way(random):
    rate, latency = draw.size(random, 1, 5000), draw.size(random, 1, 900)
    bags, processors = draw.size(random, 1, 12_000), draw.size(random, 1, 150)
    return rate, latency, bags, processors, 16 * draw.size(random, 1, 64)


def _other_gpu(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """A GPU on whose multiprocessors 16 to 63 warps fit, in the place of 64."""
    fit = int(random.integers(16, 64))
    cases = partial(_under_way_cases, fit)
    return retold(exercise, {"64": fit}, lambda rows: partial(rows, fit=fit), cases=cases)


UNDER_WAY = Exercise(
    "08.under_way",
    "how many rows each warp must have under way",
    rows_needed,
    _under_way_cases,
    random_call=_any_under_way,
    hints=(
        "Little's law: what is under way = what comes in a unit of time * the time of waiting.",
        "rate * latency bytes must be under way on the whole GPU. How many warps share that?",
        "There are as many warps as bags, but no more than 64 * processors. Divide the bytes by "
        "those warps and by the bytes of a row, and round up.",
    ),
    wrong=(
        Wrong(_rounded_down, "Rounded down, a little less is under way than needed. Round up."),
        Wrong(_one_more, "Where the division comes out even, that is one row too many."),
        Wrong(
            _all_bags,
            "No more than 64 warps fit on a multiprocessor at a time; the other bags wait their "
            "turn, and have nothing under way.",
        ),
        Wrong(_always_full, "With few bags there are fewer warps than fit: a warp for each bag."),
        Wrong(_one_processor, "rate is that of the whole GPU, so all its multiprocessors count."),
        Wrong(_in_bytes, "Those are bytes for each warp. How many rows are they?"),
    ),
    points=1,
    vary=_other_gpu,
    shown=("at most 64 warps", "64 * processors"),
    unproved="that a real GPU waits as long as you have put in; the record of the chapter says so.",
)


EXERCISES = (PACK, LOADS, TWO_PASS, REPAIR, BUDGET, RING, UNDER_WAY)
