"""Short rows: named cases against torch and bags in float64, and faults that they refuse."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import torch
from compiler import needs_compiler

from embag_edu import loops, vectorized
from embag_edu.beyond import rows as short
from embag_edu.beyond import rows_cuda, rows_loops, rows_numpy
from embag_edu.beyond.rows import Rows, checked, error_bound, pack, unpack
from embag_edu.beyond.rows_format import FORMATS, fma, gap, row_bytes
from embag_edu.beyond.rows_training import sgd_step, stochastic_round
from embag_edu.cuda import launcher
from embag_edu.cuda.launcher import recording
from embag_edu.cuda_on_cpu import KernelFault, settings

Q = torch.ops.quantized
F = np.float32
WAYS = {"loops": rows_loops, "vectorized": rows_numpy, "cuda": rows_cuda}
SIXTEEN = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def normal(*shape, scale=1.0, seed=0, dtype=F):
    return (np.random.default_rng([seed, *shape]).normal(size=shape) * scale).astype(dtype)


def torchs(name, array):
    return getattr(Q, f"embedding_bag_{name}")(torch.from_numpy(array)).numpy()


# ---- cases: pack and unpack ------------------------------------------------------------------


def packs_as_torch(way, format, tables):
    prepack = {"int8": "byte_prepack", "int4": "4bit_prepack"}[format]
    for table in tables:
        packed = way.pack(table.astype(F), format)
        assert np.array_equal(packed, torchs(prepack, table)), table.shape


def int8_torch(way):
    for dtype in (F, np.float16):
        packs_as_torch(way, "int8", [normal(5, D, dtype=dtype) for D in (1, 7, 16, 33)])
    packs_as_torch(way, "int8", [normal(5, 9, scale=s) for s in (1e-30, 1e20)])


def int8_small_span(way):
    packs_as_torch(way, "int8", [normal(5, 9, scale=s) for s in (1e-9, 1e-7, 1e-6)])


def int8_equal_numbers(way):
    packs_as_torch(way, "int8", [np.repeat(normal(4, 1), 8, axis=1), np.zeros((2, 3), F)])


def int4_torch(way):
    for dtype in (F, np.float16):
        packs_as_torch(way, "int4", [normal(5, D, dtype=dtype) for D in (2, 6, 16, 34)])
    packs_as_torch(way, "int4", [normal(5, 8, scale=s) for s in (1e-9, 1e-5, 100)])


def int4_far_from_zero(way):
    packs_as_torch(way, "int4", [normal(9, 8) + 3000, normal(9, 8, scale=0.01) - 7])


def int4_equal_numbers(way):
    equal = np.repeat(np.array([[0.3], [0.1], [-0.3], [0], [2049]], F), 6, axis=1)
    packs_as_torch(way, "int4", [equal])


def float8_torch(way):
    for D in (1, 6, 33):
        table = normal(5, D, scale=3)
        packed = way.pack(table, "float8_e4m3fn")
        scale = packed[:, D:].copy().view(F)
        assert np.array_equal(scale, np.abs(table).max(axis=1, keepdims=True) / F(448))
        q = torch.from_numpy(table / scale).to(torch.float8_e4m3fn).view(torch.uint8)
        assert np.array_equal(packed[:, :D], q.numpy())


def float8_halfway(way):
    """All 126 places halfway between two sizes, and right beside them; the scale is 1."""
    sizes = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    half = (sizes[1:] + sizes[:-1]) / 2
    table = np.concatenate([half, np.nextafter(half, F(0)), -half, [448, -0.0]]).astype(F)[None]
    packed = way.pack(table, "float8_e4m3fn")[:, :-4]
    q = torch.from_numpy(table).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    assert np.array_equal(packed, q)


def sixteen_bits(way):
    """Ties, too: a number in the middle between two neighbors goes to the even one."""
    table = np.concatenate([normal(3, 8), 1 + np.arange(24, dtype=F).reshape(3, 8) / 2**12])
    table[0] = table[0] * 1e-7
    for format, dtype in SIXTEEN.items():
        packed = way.pack(table.astype(F), format)
        right = torch.from_numpy(table.astype(F)).to(getattr(torch, format)).view(torch.uint8)
        assert np.array_equal(packed, right.numpy()), dtype


def bytes_of(q, *tail):
    """A packed row, by hand."""
    parts = [np.asarray(q, np.uint8).tobytes(), *(number.tobytes() for number in tail)]
    return np.frombuffer(b"".join(parts), np.uint8)[None].copy()


def unpack_int8(way):
    """Bit by bit as torch: with two roundings, only two numbers in five would be."""
    packed = torchs("byte_prepack", normal(20, 16, scale=5))
    found = way.unpack(Rows(packed, 16, "int8"))
    assert found.tobytes() == torchs("byte_unpack", packed).tobytes()


def unpack_int8_tie(way):
    """205 * 5237765 is 2^30 + 1: 1 + 205 scale is right above a tie, by less than float64 sees."""
    packed = bytes_of([205] * 16, F(5237765 * 2.0**-54), F(1))
    assert np.array_equal(torchs("byte_unpack", packed), np.full((1, 16), 1 + 2.0**-23, F))
    assert np.array_equal(way.unpack(Rows(packed, 16, "int8")), np.full((1, 16), 1 + 2.0**-23, F))


def unpack_int4(way):
    packed = torchs("4bit_prepack", normal(20, 16, scale=5))
    found = way.unpack(Rows(packed, 16, "int4"))
    assert found.tobytes() == torchs("4bit_unpack", packed).tobytes()


def unpack_float8(way):
    """All sizes but NaN, of both signs, times a scale."""
    q = np.array([byte for byte in range(256) if byte % 128 != 127])[:252]  # row and tail: 16 bytes
    right = torch.from_numpy(q.astype(np.uint8)).view(torch.float8_e4m3fn).float().numpy()
    found = way.unpack(Rows(bytes_of(q, F(0.3)), len(q), "float8_e4m3fn"))
    assert np.array_equal(found[0], right * F(0.3))


def unpack_aligned(way):
    """What fills rows up is never looked at."""
    rows = pack(normal(5, 16), "int8", align=16)
    rows.packed[:, row_bytes("int8", 16) :] = 255
    assert rows.packed.shape == (5, 32)
    assert np.array_equal(way.unpack(rows), unpack(pack(normal(5, 16), "int8")))


# ---- cases: bags -----------------------------------------------------------------------------

INPUT = np.array([3, 0, 3, 5, 5, 5, 2, 4, 0, 1, 2, 3, 4, 3])
OFFSETS = np.array([0, 0, 3, 9, 9])
D = 16


def bags_are_right(way, format, features=D, align=16, **options):
    """Against loops in float64 over the unpacked table; the arguments are left as they were.

    Rows that nobody may look at, the last one and that of padding, hold NaN (as float8: 480).
    """
    rows = pack(normal(7, features, scale=2) + 1, format, align=align)
    rows.packed[[6, options.get("padding_idx", 6)]] = 255
    psw = options.get("per_sample_weights")
    arguments = INPUT.copy(), rows, OFFSETS, options.get("mode", "sum"), psw, False
    call = checked(*arguments, options.get("padding_idx"))
    before = rows.packed.copy()
    found = way.forward(rows, call)
    assert np.array_equal(call.indices, INPUT) and np.array_equal(rows.packed, before)
    table = unpack(rows).astype(np.float64)
    wide = None if psw is None else psw.astype(np.float64)
    right = loops.forward(replace(call, weight=table, per_sample_weights=wide))[0]
    assert found.dtype == F and found.shape == right.shape
    assert np.abs(found - right).max() <= 1e-5, np.abs(found - right).max()


def bag_sum(way):
    for format in FORMATS:
        bags_are_right(way, format)


def bag_mean(way):
    bags_are_right(way, "int8", mode="mean")


def bag_max(way):
    bags_are_right(way, "int8", mode="max")


def bag_weights(way):
    bags_are_right(way, "int8", per_sample_weights=normal(len(INPUT)))


def bag_padding(way):
    bags_are_right(way, "int8", mode="mean", padding_idx=3)


def bag_unaligned(way):
    """Rows as torch has them, of 13 and 7 bytes; and rows that end within a load of 16."""
    bags_are_right(way, "int8", features=5, align=1)
    bags_are_right(way, "int4", features=6, align=1)
    bags_are_right(way, "int8", features=18)
    bags_are_right(way, "int8", features=20)


def bag_nothing(way):
    rows = pack(normal(6, D), "int8", align=16)
    call = checked(np.zeros(0, np.int64), rows, np.zeros(3, np.int64), "sum", None, False, None)
    assert np.array_equal(way.forward(rows, call), np.zeros((3, D), F))


# ---- cases: rounding by chance ---------------------------------------------------------------


def mean_is_kept(way, numbers, dtype=SIXTEEN["float16"]):
    n = 2048
    for k, number in enumerate(numbers):
        many = np.full(n, number, F)
        found = way.stochastic(many, np.arange(n), dtype, 7, k).astype(float)
        unit = gap(F(number), dtype.name)
        assert len(set(found)) == 2
        assert abs(found.mean() - float(F(number))) < 2.5 * unit / n**0.5, number


def chance_mean(way):
    mean_is_kept(way, (1.0003, -3.14159))
    mean_is_kept(way, (1.003, -1e-20), SIXTEEN["bfloat16"])


def chance_below_normal(way):
    mean_is_kept(way, (2.0**-16 * 1.37, 2.0**-20 * 1.37, -(2.0**-25) * 1.9))


def chance_stays(way):
    """Numbers of the dtype; NaN, infinities; the largest; zeros with their signs."""
    numbers = np.array([0.0, -0.0, 1.5, -(2.0**-24), 65504, np.inf, -np.inf, np.nan], F)
    found = way.stochastic(numbers, np.arange(8), SIXTEEN["float16"], 1, 1)
    assert found[:7].astype(F).tobytes() == numbers[:7].tobytes() and np.isnan(found[7])
    above = way.stochastic(np.full(64, 65520, F), np.arange(64), SIXTEEN["float16"], 1, 1)
    assert set(above.astype(float)) == {65504.0, np.inf}


def chance_counters(way):
    """Other bits for another element, another step, another seed, also beyond 32 bits."""
    numbers = np.full(64, 1 + 2.0**-11, F)  # halfway
    elements = np.arange(64)
    found = [
        way.stochastic(numbers, elements + more, SIXTEEN["float16"], seed, step).tobytes()
        for more, seed, step in (
            (0, 7, 1), (64, 7, 1), (2**32, 7, 1), (0, 8, 1), (0, 2**32 + 7, 1), (0, 7, 2),
            (0, 7, 2**32 + 1),
        )
    ]  # fmt: skip
    assert len(set(found)) == 7
    again = way.stochastic(numbers[10:], elements[10:], SIXTEEN["float16"], 7, 1)
    assert found[0][20:] == again.tobytes()
    by_loops = rows_loops.stochastic(numbers, elements, SIXTEEN["float16"], 7, 1)
    assert found[0] == by_loops.tobytes()


def step_small(way):
    """16 updates of an eighth of what float16 sees: their mean arrives."""
    weight = np.ones((3, 256), np.float16)
    for step in range(16):
        way.sgd_step(weight, np.array([1]), np.full((1, 256), 2.0**-12, F), F(0.5), 3, step)
    moved = 1 - weight.astype(float)
    assert not moved[0].any() and not moved[2].any()
    assert abs(moved[1].mean() - 2.0**-9) < 2.5e-4


CASES = {
    name: function
    for name, function in globals().copy().items()
    if name.startswith(("int", "float8", "sixteen", "unpack_", "bag_", "chance", "step_"))
}
PACKING = ("int", "float8", "sixteen")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["loops", "vectorized"])
def test_case(way, case):
    with np.errstate(over="ignore"):
        CASES[case](WAYS[way])


@needs_compiler
@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith(PACKING)])
def test_case_as_kernels(case):
    with recording() as reports, np.errstate(over="ignore"):
        CASES[case](rows_cuda)
    assert reports or case == "bag_nothing"


@needs_compiler
def test_kernels_run_fast_too():
    with settings(mode="fast"):
        bags_are_right(rows_cuda, "int8")


# ---- faults ----------------------------------------------------------------------------------

N = rows_numpy
ORIGINAL = SimpleNamespace(**vars(N))


def packed_by(format, function):
    return {"pack": lambda w, f: function(w) if f == format else ORIGINAL.pack(w, f)}


def unpacked_by(format, function):
    def unpack(rows):
        q = rows.packed[:, : rows.numbers]
        return function(rows, q) if rows.format == format else ORIGINAL.unpack(rows)

    return {"unpack": unpack} | bags_over(unpack)


def bags_over(unpack):
    def forward(rows, call):
        return vectorized.forward(replace(call, weight=unpack(rows).astype(F)))[0]

    return {"forward": forward}


def affine(weight, bias, span, levels, round=np.rint):
    q = round((weight - bias) * (F(levels) / (span + F(1e-8)))).clip(0, 255)
    return N.joined(q.astype(np.uint8), span / F(levels), bias)


def _span(weight):
    bias = weight.min(axis=1, keepdims=True)
    return bias, weight.max(axis=1, keepdims=True) - bias


def _no_epsilon(weight):
    bias, span = _span(weight)
    with np.errstate(all="ignore"):
        q = np.nan_to_num(np.rint((weight - bias) * (F(255) / span)))
    return N.joined(q.astype(np.uint8), span / F(255), bias)


def _of_the_table(weight):
    bias = np.full((len(weight), 1), weight.min())
    return affine(weight, bias, np.full_like(bias, weight.max() - weight.min()), 255)


def _int4(weight, bias_of=lambda b: b.astype(np.float16).astype(F), clip=True, high_first=False):
    least = weight.min(axis=1, keepdims=True)
    bias = bias_of(least)
    scale = ((weight.max(axis=1, keepdims=True) - bias) / F(15)).astype(np.float16).astype(F)
    scale[scale == 0] = 1
    q = np.rint((weight - bias) * (F(1) / scale))
    q = (q.clip(0, 15) if clip else q.astype(np.int64) & 15).astype(np.uint8)
    low, high = (q[:, 1::2], q[:, ::2]) if high_first else (q[:, ::2], q[:, 1::2])
    return N.joined(low | high << 4, scale.astype(np.float16), least.astype(np.float16))


def _ieee_float8(weight):
    """The other e4m3: infinities take the last sixteenth, and 240 is the largest."""
    scale = np.abs(weight).max(axis=1, keepdims=True) / F(240)
    scale[scale == 0] = 1
    return N.joined(N.encoded_float8(weight / scale), scale)


def _flushed(weight):
    packed = N.pack_float8(weight)
    q = packed[:, :-4]
    q[(q & 127) < 8] &= 128
    return packed


def _away(numbers):
    return np.floor(numbers + F(0.5))


def _two_roundings(rows, q):
    scale, bias = rows.tail(F).T[:, :, None]
    return q.astype(F) * scale + bias


def _by_float64(rows, q):
    scale, bias = rows.tail(F).T[:, :, None].astype(np.float64)
    return (q * scale + bias).astype(F)


def _signed(rows, q):
    scale, bias = rows.tail(F).T[:, :, None]
    return fma(q.view(np.int8), scale, bias)


def _tail_at_the_end(rows, q):
    scale, bias = rows.packed[:, -8:].copy().view(F).T[:, :, None]
    return fma(q, scale, bias)


def _with_call(**changes):
    return {"forward": lambda rows, call: ORIGINAL.forward(rows, replace(call, **changes))}


def _max_of_q(rows, call):
    if call.mode != "max":
        return ORIGINAL.forward(rows, call)
    q = replace(rows, packed=rows.packed.copy())
    q.packed[:, D : D + 8] = np.array([[1, 0]], F).view(np.uint8)
    scale, bias = rows.tail(F)[0]
    return ORIGINAL.forward(q, call) * scale + bias


def _bias_once(rows, call):
    if rows.format != "int8" or not len(call.indices):
        return ORIGINAL.forward(rows, call)
    bias = np.broadcast_to(rows.tail(F)[:, 1:], (len(rows.packed), rows.embedding_dim))
    table = unpack(rows) - bias
    sums = vectorized.forward(replace(call, weight=table))[0]
    return sums + vectorized.forward(replace(call, weight=bias.copy(), mode="mean",
                                             per_sample_weights=None))[0]  # fmt: skip


def _bias_unweighted(rows, call):
    if call.per_sample_weights is None:
        return ORIGINAL.forward(rows, call)
    bias = np.repeat(rows.tail(F)[:, 1:], rows.embedding_dim, axis=1)
    sums = vectorized.forward(replace(call, weight=unpack(rows) - bias))[0]
    return sums + vectorized.forward(replace(call, weight=bias, per_sample_weights=None))[0]


def _padding_counts(rows, call):
    found = ORIGINAL.forward(rows, call)
    if call.mode != "mean" or call.padding_idx is None:
        return found
    bag = np.repeat(np.arange(call.num_bags), np.diff(call.offsets))
    kept = np.bincount(bag[call.indices != call.padding_idx], minlength=call.num_bags)
    return (found * kept[:, None] / np.diff(call.offsets).clip(1)[:, None]).astype(F)


def by_chance(function):
    """A fault of the rounding alone, and of the step that uses it."""

    def step(weight, rows, gradient, lr, seed, step):
        elements = rows[:, None] * weight.shape[1] + np.arange(weight.shape[1])
        moved = weight[rows].astype(F) - lr * gradient
        weight[rows] = function(moved, elements, weight.dtype, seed, step)

    return {"stochastic": function, "sgd_step": step}


def _nearest(numbers, elements, dtype, seed, step):
    return numbers.astype(dtype)


def _rounded_before(weight, rows, gradient, lr, seed, step):
    elements = rows[:, None] * weight.shape[1] + np.arange(weight.shape[1])
    moved = weight[rows] - (lr * gradient).astype(weight.dtype)
    weight[rows] = N.stochastic(moved.astype(F), elements, weight.dtype, seed, step)


def _added_bits(numbers, elements, dtype, seed, step):
    """As for a normal number: 13 bits of chance are added below what float16 keeps."""
    if dtype != np.float16:
        return N.stochastic(numbers, elements, dtype, seed, step)
    chance = (N.random_bits(elements, seed, step) >> 19).astype(np.uint32)
    sum_ = (numbers.view(np.uint32) + chance).view(F)
    with np.errstate(invalid="ignore"):
        half = sum_.astype(np.float16)
        over = np.abs(half.astype(F)) > np.abs(sum_)
    return np.where(over, np.nextafter(half, np.float16(0)), half)


def _without(**fixed):
    def function(numbers, elements, dtype, seed, step):
        given = {"elements": elements, "seed": seed, "step": step}
        given |= {name: given[name] * 0 for name in fixed}
        return N.stochastic(numbers, given["elements"], dtype, given["seed"], given["step"])

    return by_chance(function)


def _always_up(numbers, elements, dtype, seed, step):
    unit = gap(numbers, dtype.name)
    up = N.random_bits(elements, seed, step) < 2**31
    whole = np.floor(np.abs(numbers) / unit)
    return np.copysign((whole + up) * unit, numbers).astype(dtype)


FAULTS = {  # what is wrong, the case that must notice, and the functions that do it
    "a scale of a 256th": ("int8_torch", packed_by("int8", lambda w: affine(w, *_span(w), 256))),
    "cut off, not rounded": (
        "int8_torch", packed_by("int8", lambda w: affine(w, *_span(w), 255, np.floor))),
    "without torch's 1e-8": ("int8_small_span", packed_by("int8", _no_epsilon)),
    "one scale for the whole table": ("int8_torch", packed_by("int8", _of_the_table)),
    "q is signed": ("unpack_int8", unpacked_by("int8", _signed)),
    "two roundings": ("unpack_int8", unpacked_by("int8", _two_roundings)),
    "rounded to float64, then to float32": ("unpack_int8_tie", unpacked_by("int8", _by_float64)),
    "the tail is at the end of the row": ("unpack_aligned", unpacked_by("int8", _tail_at_the_end)),
    "the high half is the even feature": (
        "int4_torch", packed_by("int4", lambda w: _int4(w, high_first=True))),
    "q counts from the least, not from the stored bias": (
        "int4_far_from_zero", packed_by("int4", lambda w: _int4(w, bias_of=lambda b: b))),
    "q is not cut to 15": (
        "int4_far_from_zero", packed_by("int4", lambda w: _int4(w, clip=False))),
    "the largest float8 is 240": ("float8_torch", packed_by("float8_e4m3fn", _ieee_float8)),
    "small float8 are zero": ("float8_halfway", packed_by("float8_e4m3fn", _flushed)),
    "bfloat16 is cut off": (
        "sixteen_bits",
        packed_by("bfloat16", lambda w: N.joined((w.view(np.uint32) >> 16).astype(np.uint16)))),
    "mode is ignored, as torch does": ("bag_mean", _with_call(mode="sum")),
    "the maximum of q": ("bag_max", {"forward": _max_of_q}),
    "padding counts": ("bag_padding", {"forward": _padding_counts}),
    "padding is read": ("bag_padding", _with_call(padding_idx=None)),
    "the bias is added once a bag": ("bag_sum", {"forward": _bias_once}),
    "the bias has no weight": ("bag_weights", {"forward": _bias_unweighted}),
    "weights are dropped": ("bag_weights", _with_call(per_sample_weights=None)),
    "to the nearest": ("chance_mean", by_chance(_nearest)),
    "up and down alike": ("chance_mean", by_chance(_always_up)),
    "13 bits are added, normal or not": ("chance_below_normal", by_chance(_added_bits)),
    "the chance forgets the step": ("chance_counters", _without(step=0)),
    "the chance forgets the element": ("chance_counters", _without(elements=0)),
    "the chance forgets the seed": ("chance_counters", _without(seed=0)),
    "rounded before": ("step_small", {"sgd_step": _rounded_before}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused(fault):
    case, functions = FAULTS[fault]
    with pytest.raises(AssertionError), np.errstate(all="ignore"):
        CASES[case](SimpleNamespace(**(vars(N) | functions)))


# ---- what is Philox ---------------------------------------------------------------------------

ONES, PI = 2**32 - 1, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


@pytest.mark.parametrize(
    "counter_and_key, right",
    [
        ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)
def test_philox_gives_the_published_answers(counter_and_key, right):
    counter, key = counter_and_key[:4], counter_and_key[4:]
    assert rows_loops.philox(counter, key) == right
    wide = tuple(np.array([number], np.uint64) for number in counter)
    assert tuple(int(number[0]) for number in rows_numpy.philox(wide, key)) == right


# ---- the bound --------------------------------------------------------------------------------


def tables():
    """Believable rows, one that is far from zero, one with an outlier, tiny and huge ones."""
    table = normal(40, D)
    table[1] += 3000
    table[2, 3] = 500
    table[3], table[4] = 0.3, 0
    table[5] *= 1e-9
    table[6] *= 1e4
    table[7] *= 1e-5
    return table


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_the_bound_holds(format, mode):
    table, random = tables(), np.random.default_rng(3)
    rows = pack(table, format)
    input, offsets = random.integers(0, 40, 300), np.arange(0, 300, 6)
    options = {"mode": mode, "padding_idx": 9}
    if mode == "sum":
        options["per_sample_weights"] = normal(300)
    bound = error_bound(input, rows, offsets, **options)
    call = checked(input, rows, offsets, mode, options.get("per_sample_weights"), False, 9)
    psw = None if mode != "sum" else options["per_sample_weights"].astype(np.float64)
    wide = replace(call, weight=table.astype(np.float64), per_sample_weights=psw)
    right = loops.forward(wide)[0]
    error = np.abs(short.embedding_bag(input, rows, offsets, **options) - right)
    assert (error <= bound).all()


@pytest.mark.parametrize("format", FORMATS)
def test_the_bound_of_a_row_is_nearly_reached(format):
    table = normal(40, 66, scale=3)
    rows = pack(table, format)
    share = np.abs(unpack(rows) - table.astype(np.float64)) / short.row_error(rows)
    assert 0.9 < share.max() <= 1


def test_the_bound_of_small_and_large_spans(formats=tuple(FORMATS)):
    for scale in (1e-30, 1e-9, 1e-8, 1e-7, 1e-4, 3e2):
        for format in formats:
            for shift in (0, 3, 100):
                table = normal(30, 8, scale=scale) + F(scale * shift)
                rows = pack(table, format)
                error = np.abs(unpack(rows) - table.astype(np.float64))
                assert (error <= short.row_error(rows)).all(), (format, scale, shift)


# ---- bytes ------------------------------------------------------------------------------------


def test_bytes_of_a_row():
    found = {format: row_bytes(format, 64) for format in FORMATS}
    assert found == {"float16": 128, "bfloat16": 128, "int8": 72, "int4": 36, "float8_e4m3fn": 68}
    assert row_bytes("int8", 64, align=16) == 80 and row_bytes("int4", 64, align=16) == 48


@needs_compiler
@pytest.mark.parametrize("format, align", [("int8", 16), ("int4", 1), ("float16", 1)])
def test_bytes_counted_are_those_of_the_model(format, align):
    """Each bag within one warp, so that its threads read scale and bias with one request."""
    rows = pack(normal(96, 64 if format != "float16" else 8), format, align=align)
    input = np.random.default_rng(4).permutation(96)
    call = checked(input, rows, np.arange(0, 97, 6), "sum", None, True, 5)
    assert rows_cuda.counted(rows, call) == rows_cuda.modelled(rows, call) > 0


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, words, call",
    [
        (ValueError, "format is 'int7'; valid: float16", lambda: pack(tables(), "int7")),
        (TypeError, "weight is float64", lambda: pack(tables().astype(float))),
        (TypeError, r"shape \(4,\)", lambda: pack(np.zeros(4, F))),
        (ValueError, "needs an even number", lambda: pack(np.zeros((2, 3), F), "int4")),
        (ValueError, "0 features", lambda: pack(np.zeros((2, 0), F))),
        (ValueError, "align is 3", lambda: pack(tables(), align=3)),
        (ValueError, "row 1, .* is not finite", lambda: pack(np.array([[0], [np.inf]], F))),
        (ValueError, "row 0, .* too large", lambda: pack(np.array([[-3e38, 3e38]], F))),
        (ValueError, "row 0, .* too large",
         lambda: pack(np.array([[-1e5, 1]], F), "int4", implementation="loops")),
        (ValueError, "as float16: row 0", lambda: pack(np.array([[1e5]], F), "float16")),
        (ValueError, "implementation must be one of",
         lambda: unpack(pack(tables()), implementation="x")),
        (TypeError, "rows must be a packed table",
         lambda: short.embedding_bag(INPUT, tables(), OFFSETS)),
        (TypeError, "of uint8, not float32", lambda: Rows(tables(), D, "int8")),
        (ValueError, "int8 with 16 features needs 24",
         lambda: Rows(np.zeros((2, 20), np.uint8), D, "int8")),
        (RuntimeError, "idx to be 102",
         lambda: short.embedding_bag(INPUT + 99, pack(tables()), OFFSETS)),
        (TypeError, "numbers is float16",
         lambda: stochastic_round(np.ones(3, np.float16), np.float16, seed=1, step=1)),
        (TypeError, "dtype is float32", lambda: stochastic_round(np.ones(3, F), F, seed=1, step=1)),
        (ValueError, "seed is -1",
         lambda: stochastic_round(np.ones(3, F), np.float16, seed=-1, step=1)),
        (ValueError, "rows has 2 more than once", lambda: step_of([2, 1, 2])),
        (IndexError, "rows has 7; valid: 0 to 3", lambda: step_of([2, 7])),
        (ValueError, "gradient is float32 of shape", lambda: step_of([2], 2)),
        (ValueError, "lr is nan", lambda: step_of([2], lr=float("nan"))),
        (TypeError, "weight is float32", lambda: step_of([2], weight=np.ones((4, 3), F))),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(error, words, call):
    with pytest.raises(error, match=words):
        call()


def step_of(rows, gradients=None, lr=0.1, weight=None):
    weight = np.ones((4, 3), np.float16) if weight is None else weight
    gradient = np.ones((len(rows) if gradients is None else gradients, 3), F)
    sgd_step(weight, np.array(rows), gradient, lr, seed=1, step=1)


def test_public_functions_in_every_way():
    for way in ("loops", "vectorized"):
        rows = pack(tables(), "int4", implementation=way)
        assert np.array_equal(rows.packed, pack(tables(), "int4").packed)
        found = short.embedding_bag(INPUT, rows, OFFSETS, "sum", implementation=way)
        right = short.embedding_bag(INPUT, rows, OFFSETS, "sum")
        assert np.abs(found - right).max() <= error_bound(INPUT, rows, OFFSETS, "sum").max()
    numbers = normal(4, 3)
    whole = stochastic_round(numbers, np.float16, seed=1, step=2)
    part = stochastic_round(numbers[2:], np.float16, seed=1, step=2, first=6)
    assert np.array_equal(whole[2:], part)
    weight = numbers.astype(np.float16)
    sgd_step(weight, np.array([1]), np.ones((1, 3), F), 0.1, seed=1, step=0)
    assert (weight[1] < numbers[1]).all() and np.array_equal(weight[[0, 2, 3]], whole_of(numbers))


def whole_of(numbers):
    return numbers.astype(np.float16)[[0, 2, 3]]


def test_torchs_bags_agree_where_they_are_right():
    """torch's quantized sums, weights and include_last_offset, over the bytes that we packed."""
    rows = pack(normal(30, 16), "int8")
    input, offsets = np.random.default_rng(5).integers(0, 30, 50), np.array([0, 0, 7, 30, 50])
    for psw in (None, normal(50)):
        found = short.embedding_bag(input, rows, offsets, "sum", psw, True)
        weights = None if psw is None else torch.from_numpy(psw)
        right = Q.embedding_bag_byte_rowwise_offsets(
            torch.from_numpy(rows.packed), torch.from_numpy(input), torch.from_numpy(offsets),
            per_sample_weights=weights, include_last_offset=True,
        ).numpy()  # fmt: skip
        assert np.abs(found - right).max() < 1e-5


def test_the_example_of_the_page_runs():
    page = (Path(__file__).parents[1] / "book" / "pages" / "uses.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"### From a table of few bits\n\n```python\n(.*?)```", page, re.S)
    given = {"np": np, "words": np.array([0, 2, 2, 3]), "starts": np.array([0, 3])}
    exec(example, given)
    exact = [given["table"][rows].mean(axis=0) for rows in ([0, 2, 2], [3])]
    assert (np.abs(given["output"] - exact) <= given["bound"]).all()


# ---- faults of the bound ---------------------------------------------------------------------

BOUNDS = {  # what is wrong, and a bound that is so
    "a quarter of a step": lambda rows: ROW_ERROR(rows) / 2,
    "half a step alone": lambda rows: rows.tail(F if rows.format == "int8" else np.float16)[:, :1]
    .astype(float) / 2,
    "half of the mean step": lambda rows: np.full_like(ROW_ERROR(rows), ROW_ERROR(rows).mean()),
}  # fmt: skip
ROW_ERROR = short.row_error


@pytest.mark.parametrize("fault", BOUNDS)
def test_a_wrong_bound_is_refused(fault, monkeypatch):
    monkeypatch.setattr(short, "row_error", BOUNDS[fault])
    with pytest.raises(AssertionError):
        for format in ("int8", "int4"):
            the_rows_are_within(pack(tables(), format), tables())
        test_the_bound_of_small_and_large_spans(("int8", "int4"))


def the_rows_are_within(rows, table):
    assert (np.abs(unpack(rows) - table.astype(np.float64)) <= short.row_error(rows)).all()


# ---- faults in the kernels: by hand, with the table ------------------------------------------

KERNEL_FAULTS = [  # the case that must notice, a text of a .cu file, and what stands in its place
    ("unpack_int8", "__fmaf_rn(float(bytes.element[k]), tail.scale, tail.bias)",
     "float(bytes.element[k]) * tail.scale + tail.bias"),
    ("unpack_int4", ">> (k % 2 * 4)", ">> ((k + 1) % 2 * 4)"),
    ("unpack_float8", "* 256.0f *", "* 128.0f *"),
    ("unpack_float8", "(q & 128) << 8 | (q & 127) << 7", "(q & 127) << 7"),
    ("unpack_aligned", "tail_at<FORMAT, TAIL>(from + numbers)",
     "tail_at<FORMAT, TAIL>(from + pitch - 8)"),
    ("bag_sum", "(from + mine * LOAD)", "(from)"),
    ("bag_mean", "KIND == MEAN && kept > 0 ?", "false ?"),
    ("bag_padding", "&& row != padding_idx", ""),
    ("bag_max", "kept == 0 || value > sum[k]", "value > sum[k]"),
    ("bag_unaligned", "if (mine * N + k + j < D) to", "to"),
    ("bag_sum", "first + u < end ? (long long)indices[first + u] : padding_idx",
     "(long long)indices[first + u]"),
    ("chance_counters", "__umulhi(0xCD9E8D57u, c)", "0xCD9E8D57u"),
    ("chance_below_normal", "number == 0.0f || exponent - 1 < Kind<T>::LEAST", "number == 0.0f"),
    ("chance_mean", "double(size - whole)", "0.5"),
    ("step_small", "__fmul_rn(lr, gradient[i])", "__fmul_rn(lr, gradient[element])"),
]  # fmt: skip


@needs_compiler
@pytest.mark.adversary
@pytest.mark.parametrize("case, old, new", KERNEL_FAULTS, ids=[old for _, old, _ in KERNEL_FAULTS])
def test_a_wrong_kernel_is_refused(case, old, new, monkeypatch):
    """Cases launch both files; the change is made in the one that has the text."""
    made = launcher.kernel_on_cpu

    def changed(file, name, *parameters):
        change = (old, new) if old in launcher.source(file) else None
        return made(file, name, *parameters, change=change)

    monkeypatch.setattr(rows_cuda, "kernel", changed)
    with settings(mode="checked"), np.errstate(all="ignore"):
        with pytest.raises((AssertionError, KernelFault)):
            CASES[case](rows_cuda)


# ---- the whole table, by hand: pytest -m adversary -s tests/test_beyond_rows.py ----------------


@pytest.mark.adversary
def test_the_table(capsys):
    """Each format and way on many calls: what differs from torch, and how far bags are off."""
    lines = []
    for format in FORMATS:
        found = {"bytes": 0, "numbers": 0, **dict.fromkeys(WAYS, 0.0)}
        for D, scale in [(2, 1), (6, 1e-9), (18, 1e-4), (66, 1), (128, 30)]:
            table = normal(200, D, scale=scale)
            rows = pack(table, format, align=16)
            by_loops = rows_loops.pack(table, format)
            found["bytes"] += int((rows.packed[:, : by_loops.shape[1]] != by_loops).sum())
            if format in ("int8", "int4"):
                name = {"int8": "byte", "int4": "4bit"}[format]
                found["bytes"] += int((by_loops != torchs(f"{name}_prepack", table)).sum())
                right = torchs(f"{name}_unpack", by_loops)
                found["numbers"] += int((unpack(rows) != right).sum())
            for way, module in WAYS.items():
                context = recording() if way == "cuda" else np.errstate()
                with context:
                    found["numbers"] += int((module.unpack(rows) != unpack(rows)).sum())
                    found[way] = max(found[way], largest_difference(module, rows, scale))
        told = ", ".join(f"{way} {found[way]:.1e}" for way in WAYS)
        lines.append(
            f"{format:14} bytes {found['bytes']}, numbers {found['numbers']}; bags: {told}"
        )
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert all("bytes 0, numbers 0;" in line for line in lines)


def largest_difference(module, rows, scale):
    """Of bags in all modes from loops in float64 over the unpacked table, in parts of the sizes."""
    random = np.random.default_rng(9)
    input, offsets = random.integers(0, rows.num_embeddings, 300), np.arange(0, 301, 10)
    table, worst = unpack(rows).astype(np.float64), 0.0
    for mode, weighted in (("sum", False), ("mean", False), ("max", False), ("sum", True)):
        psw = random.normal(size=300).astype(F) if weighted else None
        call = checked(input, rows, offsets, mode, psw, True, 7)
        wide = None if psw is None else psw.astype(np.float64)
        right = loops.forward(replace(call, weight=table, per_sample_weights=wide))[0]
        worst = max(worst, float(np.abs(module.forward(rows, call) - right).max()) / scale)
    assert worst < 3e-5
    return worst
