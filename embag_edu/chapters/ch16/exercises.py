"""The exercises of chapter 16: short rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.course.draw import bags, size
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.tools import work_of

# ---- 16.table_bytes -------------------------------------------------------------------------


def table_bytes(V: int, D: int, bits: int, tail: int, align: int) -> int:
    """Bytes of V packed rows: D numbers, a tail, each row filled up to a multiple of align."""
    return V * (-(-(D * bits // 8 + tail) // align) * align)


def _whole_aligned(V, D, bits, tail, align):
    return -(-V * (D * bits // 8 + tail) // align) * align


def _cut_off(V, D, bits, tail, align):
    return V * ((D * bits // 8 + tail) // align * align)


def _always_more(V, D, bits, tail, align):
    return V * ((D * bits // 8 + tail) // align + 1) * align


def _numbers_aligned(V, D, bits, tail, align):
    return V * (-(-D * bits // 8 // align) * align + tail)


def _table_bytes_cases() -> list[Case]:
    return [
        Case("float32", V=5, D=3, bits=32, tail=0, align=1),
        Case("int8 as torch has it", V=10, D=64, bits=8, tail=8, align=1),
        Case("int8, 16 bytes a load", V=10, D=64, bits=8, tail=8, align=16),
        Case("int4, 16 bytes a load", V=7, D=24, bits=4, tail=4, align=16),
        Case("a row that fits", V=3, D=120, bits=8, tail=8, align=16),
        Case("no row", V=0, D=8, bits=8, tail=8, align=4),
        Case("a large table", V=5_000_000, D=128, bits=4, tail=4, align=16),
    ]


def _any_table_bytes(random):
    bits, tail = [(32, 0), (16, 0), (8, 8), (8, 4), (4, 4)][random.integers(5)]
    return size(random, 0, 50), 2 * size(random, 1, 60), bits, tail, 2 ** size(random, 0, 4)


TABLE_BYTES = Exercise(
    "16.table_bytes",
    "bytes of a packed table",
    table_bytes,
    _table_bytes_cases,
    random_call=_any_table_bytes,
    hints=(
        "Begin with one row. What stands in it, and in which unit is each part given?",
        "Numbers are counted in bits, the tail in bytes. The sum is rounded up, for each row.",
        "D * bits // 8 + tail are the bytes of a row. Rounded up to a multiple of align: "
        "-(-n // align) * align. Then V times that.",
    ),
    wrong=(
        Wrong(lambda V, D, bits, tail, align: V * (-(-(D * bits + tail) // align) * align),
              "D * bits are bits. A byte has 8."),
        Wrong(lambda V, D, bits, tail, align: table_bytes(V, D, bits, 0, align),
              "Scale and bias stand in each row, too: the tail."),
        Wrong(lambda V, D, bits, tail, align: table_bytes(V, D, bits, 0, align) + tail,
              "Each row has a tail of its own."),
        Wrong(_whole_aligned, "Not the table is filled up: each row is, so that the next begins "
              "at a multiple of align."),
        Wrong(lambda V, D, bits, tail, align: V * (D * bits // 8 + tail),
              "Rows are filled up to a multiple of align."),
        Wrong(_cut_off, "Rounded down, the end of a row would be cut off. Round up."),
        Wrong(_always_more, "A row whose bytes are a multiple of align is not filled up further."),
        Wrong(_numbers_aligned, "The tail stands right behind the numbers; what is filled up is "
              "the row with its tail."),
    ),
    returns="bytes",
    unproved="that fewer bytes are less time.",
)  # fmt: skip

# ---- 16.pack8 -------------------------------------------------------------------------------


def pack8(row: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(q, scale, bias) of one row: q whole numbers from 0 to 255, bias + scale * q near row."""
    bias, span = row.min(), row.max() - row.min()
    scale = span / 255
    q = np.rint((row - bias) / scale) if span else np.zeros(len(row))
    return q.astype(np.uint8), float(scale), float(bias)


def _pack_with(row, scale, bias, round=np.rint):
    q = round((row - bias) / (scale or 1))
    return q.clip(0, 255).astype(np.uint8), float(scale), float(bias)


def _of_256(row):
    return _pack_with(row, (row.max() - row.min()) / 256, row.min())


def _floor(row):
    return _pack_with(row, (row.max() - row.min()) / 255, row.min(), np.floor)


def _around_zero(row):
    return _pack_with(row, np.abs(row).max() / 255, 0.0)


def _from_the_largest(row):
    return _pack_with(-row, (row.max() - row.min()) / 255, -row.max())


def _from_the_mean(row):
    return _pack_with(row, (row.max() - row.min()) / 255, row.mean())


def _nan_for_equals(row):
    q, scale, bias = pack8(row)
    return (np.full(len(row), np.nan) if scale == 0 else q), scale, bias


def _signed(row):
    q, scale, bias = pack8(row)
    return q.astype(np.int64) - 128, scale, bias


def _not_whole(row):
    span = row.max() - row.min()
    return (row - row.min()) / (span / 255 or 1), float(span / 255), float(row.min())


def _inverse(row):
    q, scale, bias = pack8(row)
    return q, 1 / scale if scale else 0.0, bias


def _pack8_cases() -> list[Case]:
    random = np.random.default_rng(161)
    outlier = random.normal(size=16)
    outlier[3] = 40.0
    return [
        Case("a scale of 1", np.array([0.0, 3.2, 7.6, 255.0])),
        Case("below zero", np.array([-7.0, -2.0, -5.1, -4.03])),
        Case("equal numbers", np.array([2.5, 2.5, 2.5])),
        Case("one number", np.array([-3.0])),
        Case("zeros", np.zeros(4)),
        Case("a row of a table", random.normal(size=24)),
        Case("with an outlier", outlier),
    ]


def _any_pack8(random):
    row = random.normal(size=size(random, 1, 12)) * 10.0 ** size(random, -3, 3)
    return (np.full_like(row, row[0]) if random.random() < 0.1 else row,)


PACK8 = Exercise(
    "16.pack8",
    "a row in 8 bits",
    pack8,
    _pack8_cases,
    random_call=_any_pack8,
    hints=(
        "Which number of the row gets q = 0, and which gets 255? That fixes scale and bias.",
        "bias is the least number; from the least to the largest there are 255 steps. And a row of "
        "equal numbers?",
        "q = np.rint((row - bias) / scale) as uint8, with scale = (largest - least) / 255. Where "
        "scale is 0, all q are 0, and nothing is divided.",
    ),
    wrong=(
        Wrong(_of_256, "From 0 to 255 there are 255 steps, not 256: the largest would become 256."),
        Wrong(_floor, "Cut off, a number may be a whole step away. Round to the nearest."),
        Wrong(_around_zero, "The row's own range is from its least number to its largest: bias is "
              "the least."),
        Wrong(_from_the_largest, "q counts upward, from the least number."),
        Wrong(_from_the_mean, "With the mean as bias, half of the numbers would be negative."),
        Wrong(_nan_for_equals, "A row of equal numbers has the scale 0: do not divide by it. q is "
              "0, and bias says all."),
        Wrong(_signed, "q is a byte without a sign, from 0 to 255."),
        Wrong(_not_whole, "q must be whole: it is stored in a byte."),
        Wrong(_inverse, "That is 1 / scale. scale is the size of one step."),
    ),
    points=2,
    returns=("q", "scale", "bias"),
    same_ints=True,
    unproved="torch's bits: it divides by the span plus 1e-8, all in float32.",
)  # fmt: skip

# ---- 16.unpack4 -----------------------------------------------------------------------------


def unpack4(packed: np.ndarray, scale: float, bias: float) -> np.ndarray:
    """The numbers of a row, (D,), from its D/2 bytes: the low half of a byte comes first."""
    q = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    return bias + scale * q


def _high_first(packed, scale, bias):
    return bias + scale * np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)


def _side_by_side(packed, scale, bias):
    return bias + scale * np.concatenate([packed & 15, packed >> 4])


def _signed_halves(packed, scale, bias):
    q = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1).astype(int)
    return bias + scale * np.where(q > 7, q - 16, q)


def _low_with_high(packed, scale, bias):
    return bias + scale * np.stack([packed, packed >> 4], axis=1).reshape(-1)


def _not_shifted(packed, scale, bias):
    return bias + scale * np.stack([packed & 15, packed & 240], axis=1).reshape(-1)


def _no_bias(packed, scale, bias):
    return unpack4(packed, scale, 0.0)


def _bias_in_steps(packed, scale, bias):
    return unpack4(packed, scale, scale * bias)


def _whole_bytes(packed, scale, bias):
    return bias + scale * packed.astype(float)


def _unpack4_cases() -> list[Case]:
    random = np.random.default_rng(162)
    return [
        Case("one byte", np.array([0x21], np.uint8), 1.0, 0.0),
        Case("two bytes", np.array([0xF0, 0x0F], np.uint8), 0.5, -1.0),
        Case("all halves", np.arange(16, dtype=np.uint8) * 17, 2.0, 3.0),
        Case("a row", random.integers(0, 256, 12).astype(np.uint8), 0.125, -0.875),
        Case("nothing", np.zeros(0, np.uint8), 1.0, 2.0),
    ]


def _any_unpack4(random):
    packed = random.integers(0, 256, size(random, 0, 9)).astype(np.uint8)
    return packed, float(random.normal()), float(random.normal())


UNPACK4 = Exercise(
    "16.unpack4",
    "two numbers from a byte",
    unpack4,
    _unpack4_cases,
    random_call=_any_unpack4,
    hints=(
        "0x21 is one byte. Which two numbers are in it, and which of them is feature 0?",
        "& 15 keeps the lower four bits; >> 4 brings the upper four down. The lower is the even "
        "feature, so low and high take turns.",
        "np.stack([low, high], axis=1).reshape(-1) lets them take turns. Then bias + scale * q.",
    ),
    wrong=(
        Wrong(_high_first, "The lower half of a byte is the even feature: it comes first."),
        Wrong(_side_by_side, "Low and high halves take turns: features 0 and 1 are in one byte."),
        Wrong(_signed_halves, "q has no sign: it goes from 0 to 15."),
        Wrong(_low_with_high, "The even feature still has the upper half in it: & 15."),
        Wrong(_not_shifted, "The upper half must be brought down, by >> 4: 16 is 1 there."),
        Wrong(_no_bias, "The bias is missing."),
        Wrong(_bias_in_steps, "bias is a number, not a number of steps: do not multiply it."),
        Wrong(_whole_bytes, "A byte holds two numbers. D is twice the number of bytes."),
    ),
    returns="row",
    unproved="that bias + scale * q is rounded once.",
)

# ---- 16.half_steps --------------------------------------------------------------------------


def half_steps(
    scale: np.ndarray, indices: np.ndarray, offsets: np.ndarray, psw: np.ndarray
) -> np.ndarray:
    """How far each bag may be off by half steps alone: (B,). offsets has the end."""
    shares = np.abs(psw) * scale[indices] / 2
    bag_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    bounds = np.zeros(len(offsets) - 1)
    np.add.at(bounds, bag_of, shares)
    return bounds


def _signed_weights(scale, indices, offsets, psw):
    return half_steps(scale, indices, offsets, np.maximum(psw, 0)) - half_steps(
        scale, indices, offsets, np.minimum(psw, 0)
    )


def _outer_sign(scale, indices, offsets, psw):
    return np.abs(_signed_weights(scale, indices, offsets, psw))


def _whole_steps(scale, indices, offsets, psw):
    return 2 * half_steps(scale, indices, offsets, psw)


def _unweighted(scale, indices, offsets, psw):
    return half_steps(scale, indices, offsets, np.ones_like(psw))


def _by_position(scale, indices, offsets, psw):
    return half_steps(np.resize(scale, len(indices)), np.arange(len(indices)), offsets, psw)


def _worst_of_the_bag(scale, indices, offsets, psw):
    shares = np.abs(psw) * scale[indices] / 2
    return np.array(
        [shares[a:b].max(initial=0) for a, b in zip(offsets, offsets[1:], strict=False)]
    )


def _by_chance_alone(scale, indices, offsets, psw):
    return np.sqrt(half_steps(scale**2 / 2, indices, offsets, psw**2))


def _rows_once(scale, indices, offsets, psw):
    spans = zip(offsets, offsets[1:], strict=False)
    firsts = [a + np.unique(indices[a:b], return_index=True)[1] for a, b in spans]
    shares = np.abs(psw) * scale[indices] / 2
    return np.array([shares[first].sum() for first in firsts])


def _empty_left_out(scale, indices, offsets, psw):
    found = half_steps(scale, indices, offsets, psw)
    return found[np.diff(offsets) > 0]


def _empty_takes_a_share(scale, indices, offsets, psw):
    return np.add.reduceat(np.abs(psw) * scale[indices] / 2, offsets[:-1])


def _signed_and_empty(scale, indices, offsets, psw):
    return np.add.reduceat(psw * scale[indices] / 2, offsets[:-1])


def _half_steps_cases() -> list[Case]:
    random = np.random.default_rng(163)
    scale = np.array([1.0, 0.5, 4.0, 0.25])
    ones = np.ones(4)
    return [
        Case("two bags", scale, np.array([0, 1, 2, 3]), np.array([0, 2, 4]), ones),
        Case("a row twice", scale, np.array([2, 2, 1]), np.array([0, 3]), ones[:3]),
        Case("weights", scale, np.array([0, 3, 2]), np.array([0, 2, 3]), np.array([2.0, 1.0, 0.5])),
        Case("signs", scale, np.array([0, 0]), np.array([0, 2]), np.array([1.0, -1.0])),
        Case("empty bags", scale, np.array([1]), np.array([0, 0, 1, 1]), np.array([3.0])),
        Case(
            "12 bags",
            random.random(9),
            random.integers(0, 9, 60),
            np.array([0, *np.sort(random.integers(0, 61, 11)), 60]),
            random.normal(size=60),
        ),
    ]


def _any_half_steps(random):
    V = size(random, 1, 6)
    indices, offsets = bags(random, V)
    return (
        random.random(V),
        indices,
        np.append(offsets, len(indices)),
        random.normal(size=len(indices)),
    )


HALF_STEPS = Exercise(
    "16.half_steps",
    "a bound for a bag",
    half_steps,
    _half_steps_cases,
    random_call=_any_half_steps,
    hints=(
        "How far may one number of an unpacked row be off? And the product with its weight?",
        "A position adds |weight| * scale / 2, with the scale of its row. In the worst case all "
        "errors of a bag have one sign.",
        "Index scale by indices: then it has a number for each position, as psw has. Take half of "
        "it, times |psw|; then the sums over bags, by np.add.at or a loop.",
    ),
    wrong=(
        Wrong(_signed_weights, "An error has no known sign, so weights of both signs can't cancel "
              "it: take |weight|."),
        Wrong(_outer_sign, "The sizes must be taken before the sum: take |weight|."),
        Wrong(_whole_steps, "A rounded number is at most half a step away."),
        Wrong(_unweighted, "A weight of 3 makes the error of its row 3 times as large."),
        Wrong(_by_position, "scale belongs to rows: position i reads row indices[i]."),
        Wrong(_worst_of_the_bag, "The errors of all rows of a bag add up; the largest alone is "
              "the bound for mode max."),
        Wrong(_by_chance_alone, "That is how far a bag is off typically. A bound holds for the "
              "worst signs."),
        Wrong(_rows_once, "A row that occurs twice in a bag brings its error twice."),
        Wrong(_empty_left_out, "An empty bag has a bound, too: 0."),
        Wrong(_empty_takes_a_share, "np.add.reduceat gives an empty bag the share that follows, "
              "and raises where none does."),
        Wrong(_signed_and_empty, "An error has no known sign: take |weight|. And np.add.reduceat "
              "gives an empty bag the share that follows."),
    ),
    points=2,
    returns="bound",
    unproved="the part of rounding: `error_bound` of the package has it as well.",
)  # fmt: skip

# ---- 16.bag8 --------------------------------------------------------------------------------


def bag8(
    q: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    indices: np.ndarray,
    offsets: np.ndarray,
    psw: np.ndarray,
) -> np.ndarray:
    """Weighted sums over a packed table, (B, D) float64; offsets has the end."""
    output = np.zeros((len(offsets) - 1, q.shape[1]))
    for bag in range(len(offsets) - 1):
        for i in range(offsets[bag], offsets[bag + 1]):
            row = indices[i]
            output[bag] += psw[i] * (bias[row] + scale[row] * q[row])
    return output


def _summed(rows, offsets):
    return np.array(
        [rows[a:b].sum(axis=0) for a, b in zip(offsets, offsets[1:], strict=False)]
    ).reshape(len(offsets) - 1, rows.shape[1])


def _bias_once(q, scale, bias, indices, offsets, psw):
    found = bag8(q, scale, 0 * bias, indices, offsets, psw)
    for bag, first in enumerate(offsets[:-1]):
        found[bag] += bias[indices[first]] if first < offsets[bag + 1] else 0
    return found


def _bias_unweighted(q, scale, bias, indices, offsets, psw):
    rows = psw[:, None] * (scale[indices, None] * q[indices]) + bias[indices, None]
    return _summed(rows, offsets)


def _in_bytes(q, scale, bias, indices, offsets, psw):
    found = bag8(q, 0 * scale, bias, indices, offsets, psw)
    spans = list(zip(offsets, offsets[1:], strict=False))
    for bag, (a, b) in enumerate(spans):
        if b > a:
            q_sum = q[indices[a:b]].sum(axis=0, dtype=np.uint8)
            found[bag] += scale[indices[a]] * psw[a] * q_sum
    return found


def _one_scale(q, scale, bias, indices, offsets, psw):
    return bag8(q, np.full_like(scale, scale.max(initial=0)), bias, indices, offsets, psw)


def _of_positions(q, scale, bias, indices, offsets, psw):
    n = len(indices)
    rows = np.resize(bias, n)[:, None] + np.resize(scale, n)[:, None] * q[indices]
    return _summed(psw[:, None] * rows, offsets)


def _no_weights(q, scale, bias, indices, offsets, psw):
    return bag8(q, scale, bias, indices, offsets, np.ones_like(psw))


def _mean_of_it(q, scale, bias, indices, offsets, psw):
    lengths = np.maximum(np.diff(offsets), 1)
    return bag8(q, scale, bias, indices, offsets, psw) / lengths[:, None]


def _turned_round(q, scale, bias, indices, offsets, psw):
    rows = (bias[indices, None] + q[indices]) * scale[indices, None]
    return _summed(psw[:, None] * rows, offsets)


def _empty_takes_the_next(q, scale, bias, indices, offsets, psw):
    rows = psw[:, None] * (bias[indices, None] + scale[indices, None] * q[indices])
    if not len(rows):
        return np.zeros((len(offsets) - 1, q.shape[1]))
    return np.add.reduceat(rows, np.minimum(offsets[:-1], len(rows) - 1))


def _bag8_call(random, V, D, indices, offsets):
    q = random.integers(0, 256, (V, D)).astype(np.uint8)
    psw = np.round(random.normal(size=len(indices)), 2)
    return q, random.random(V), random.normal(size=V), indices, offsets, psw


def _bag8_cases() -> list[Case]:
    random = np.random.default_rng(164)
    two = np.array([[10, 20], [200, 250]], np.uint8), np.array([0.5, 2.0]), np.array([1.0, -3.0])
    ones = np.ones(2)
    cuts = np.array([0, *np.sort(random.integers(0, 51, 9)), 50])
    return [
        Case("a bag of one", *two, np.array([1]), np.array([0, 1]), ones[:1]),
        Case("two rows", *two, np.array([0, 1]), np.array([0, 2]), ones),
        Case("a row twice", *two, np.array([1, 1]), np.array([0, 2]), ones),
        Case("weights", *two, np.array([1, 0]), np.array([0, 2]), np.array([3.0, -1.0])),
        Case("empty bags", *two, np.array([1, 0]), np.array([0, 0, 1, 1, 2, 2]), ones),
        Case("nothing", *two, np.zeros(0, int), np.array([0, 0]), np.zeros(0)),
        Case("10 bags", *_bag8_call(random, 12, 5, random.integers(0, 12, 50), cuts)),
    ]


def _any_bag8(random):
    V = size(random, 1, 6)
    indices, offsets = bags(random, V)
    offsets = np.append(offsets, len(indices))
    return _bag8_call(random, V, size(random, 1, 4), indices, offsets)


UNPACKED = "The results are right, but the whole table was unpacked, for a bag of one position."


def _unpacked(mine: Any) -> str:
    q, ones = np.zeros((100_000, 8), np.uint8), np.ones(100_000)
    work = work_of(mine, q, ones, ones, np.array([7]), np.array([0, 1]), ones[:1])
    return UNPACKED if work.peak > q.nbytes else ""


BAG8 = Exercise(
    "16.bag8",
    "bags over a packed table",
    bag8,
    _bag8_cases,
    random_call=_any_bag8,
    hints=(
        "Begin with what one position adds: which row, which scale, which bias, which weight?",
        "A position adds psw[i] * (bias[row] + scale[row] * q[row]). The weight counts for both "
        "parts, and q must become wider than a byte before anything is added up.",
        "Unpack only the rows of the positions: (bias[indices] + scale[indices] * q[indices]) with "
        "[:, None] where needed; multiply by psw[:, None]; add up bag by bag, in a loop.",
    ),
    wrong=(
        Wrong(_bias_once, "Each position brings the bias of its row, not only the first."),
        Wrong(_bias_unweighted, "The weight counts for the bias, too."),
        Wrong(_in_bytes, "Bytes were added up as bytes: above 255 they begin again at 0, and rows "
              "have scales of their own."),
        Wrong(_one_scale, "Each row has a scale of its own."),
        Wrong(_of_positions, "scale and bias belong to rows: position i reads row indices[i]."),
        Wrong(_no_weights, "The weights are missing."),
        Wrong(_mean_of_it, "Asked for is a sum, not a mean."),
        Wrong(_turned_round, "First the scale, then the bias: bias + scale * q."),
        Wrong(_empty_takes_the_next, "np.add.reduceat gives an empty bag the row that follows."),
        Wrong(lambda q, *others: bag8(q.astype(float), *others), UNPACKED),
    ),
    points=3,
    returns="output",
    tools=_unpacked,
    unproved="that it is fast: a loop over positions is right as well.",
)  # fmt: skip

# ---- 16.by_chance ---------------------------------------------------------------------------


def by_chance(x: np.ndarray, unit: float, chance: np.ndarray) -> np.ndarray:
    """Each x as a multiple of unit: away from zero where chance is below the part cut off."""
    steps = np.abs(x) / unit
    whole = np.floor(steps)
    return np.copysign((whole + (chance < steps - whole)) * unit, x)


def _to_the_nearest(x, unit, chance):
    return np.rint(x / unit) * unit


def _or_equal(x, unit, chance):
    steps = np.abs(x) / unit
    whole = np.floor(steps)
    return np.copysign((whole + (chance <= steps - whole)) * unit, x)


def _like_a_coin(x, unit, chance):
    steps = np.abs(x) / unit
    whole = np.floor(steps)
    return np.copysign((whole + ((chance < 0.5) & (steps > whole))) * unit, x)


def _the_other_way(x, unit, chance):
    return by_chance(x, unit, np.nextafter(1.0, 0) - chance)


def _part_not_scaled(x, unit, chance):
    whole = np.floor(np.abs(x) / unit)
    return np.copysign((whole + (chance < np.abs(x) - whole * unit)) * unit, x)


def _up_on_the_line(x, unit, chance):
    whole = np.floor(x / unit)
    return (whole + (chance < x / unit - whole)) * unit


def _in_units(x, unit, chance):
    return by_chance(x, unit, chance) / unit


def _one_chance(x, unit, chance):
    return by_chance(x, unit, np.full_like(chance, chance[0] if len(chance) else 0))


def _by_chance_cases() -> list[Case]:
    random = np.random.default_rng(165)
    return [
        Case("a quarter", np.full(4, 1.25), 1.0, np.array([0.1, 0.2, 0.3, 0.9])),
        Case("below zero", np.full(3, -1.25), 1.0, np.array([0.1, 0.3, 0.8])),
        Case("multiples stay", np.array([2.0, 0.0, -3.0]), 0.5, np.array([0.0, 0.0, 0.0])),
        Case("a small unit", np.array([1.01, 0.99]), 2.0**-6, np.array([0.5, 0.7])),
        Case("less than a unit", np.array([0.125, 0.125]), 1.0, np.array([0.1, 0.2])),
        Case("many", random.normal(size=60), 2.0**-3, random.random(60)),
    ]


def _any_by_chance(random):
    n = size(random, 0, 8)
    x = np.round(random.normal(size=n) * 3, size(random, 0, 4))
    return x, 2.0 ** size(random, -6, 3), random.random(n)


BY_CHANCE = Exercise(
    "16.by_chance",
    "round by chance",
    by_chance,
    _by_chance_cases,
    random_call=_any_by_chance,
    hints=(
        "How many units are in x? There is a whole part, and a part that is cut off.",
        "The part that is cut off, from 0 to 1, is the probability of one unit more. A number "
        "between 0 and 1 is below p with probability p.",
        "steps = |x| / unit; whole = floor(steps); one more where chance < steps - whole; times "
        "unit, and the sign of x: np.copysign.",
    ),
    wrong=(
        Wrong(_to_the_nearest, "That is rounding to the nearest: chance has no say."),
        Wrong(_or_equal, "A multiple of unit must stay what it is, also where chance is 0: <."),
        Wrong(_like_a_coin, "1.25 goes up in one case of four, not of two: compare with the part."),
        Wrong(_the_other_way, "1.25 must go up rarely: where chance is below the part that is cut "
              "off, not above."),
        Wrong(_part_not_scaled, "The part must be counted in units: from 0 to 1."),
        Wrong(_up_on_the_line, "Right on average, too; but the task asks for away from zero, with "
              "the part of |x|."),
        Wrong(_in_units, "That is the number of units. Multiply by unit."),
        Wrong(_one_chance, "Each number has a chance of its own."),
    ),
    points=2,
    returns="rounded",
    unproved="that chance is random; and numbers whose units differ.",
)  # fmt: skip

EXERCISES = (TABLE_BYTES, PACK8, UNPACK4, HALF_STEPS, BAG8, BY_CHANCE)
