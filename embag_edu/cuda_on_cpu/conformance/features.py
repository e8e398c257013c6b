"""The launch and the right answer of every kernel in features.cu: CUDA's meaning, in NumPy.

Not modeled, so not in the table: a plain cast `(int)x` of a float that does not fit. A GPU gives
the nearest int, C++ leaves it undefined; __float2int_rz and its kin are right in both.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.conformance import Case, Out, load

_file = load("features")
SOURCE, NAMES, module = _file.source, _file.names, _file.module
CASES: list[Case] = []
I32, U32, F32, F64, I64, U64 = np.int32, np.uint32, np.float32, np.float64, np.int64, np.uint64
F16, U16 = np.float16, np.uint16
_dtype: Any  # of the loops below
HALF, BFLOAT16 = (10, -14), (7, -126)  # digits of the fraction, exponent of the smallest normal


def row(
    name: str,
    about: str,
    kernel: str,
    grid: Any,
    block: Any,
    make: Callable,
    expect: Callable,
    **more: Any,
) -> None:
    """Add one row to the table."""
    grid, block = (g if isinstance(g, tuple) else (g,) for g in (grid, block))
    CASES.append(Case(name, about, kernel, grid, block, make, expect, **more))


# ---- 16-bit numbers by whole-number arithmetic ---------------------------------------------------


def narrow(x: np.ndarray, form: tuple[int, int], how: Callable = np.rint) -> np.ndarray:
    """Numbers -> the 16 bits of HALF or BFLOAT16; `how`: np.rint, np.trunc, np.ceil or np.floor."""
    digits, lowest = form
    with np.errstate(invalid="ignore"):  # of a signaling NaN
        x = np.asarray(x, F64)
    infinity = (0x7FFF >> digits) << digits
    finite = np.where(np.isfinite(x), x, 0.0)
    exponent = np.where(finite == 0, lowest, np.maximum(np.frexp(finite)[1] - 1, lowest))
    units = np.abs(how(np.ldexp(finite, digits - exponent))).astype(I64)
    bits = units + (exponent.astype(I64) - lowest << digits)
    away = how is np.rint or (how is np.ceil and x > 0) | (how is np.floor and x < 0)
    bits = np.where(bits >= infinity, np.where(away, infinity, infinity - 1), bits)
    bits = np.where(np.isinf(x), infinity, bits) | np.where(np.signbit(x), 0x8000, 0)
    return np.where(np.isnan(x), 0x7FFF, bits).astype(U16)


def of_double(x: np.ndarray, form: tuple[int, int]) -> np.ndarray:
    """float64 -> the 16 bits of HALF or BFLOAT16. A NaN keeps its sign and its first bits.

    On a GPU only the usual NaN was seen: it becomes 0x7E00 or 0x7FC0, not the 0x7FFF of other
    conversions.
    """
    digits, infinity = form[0], narrow(np.array([np.inf]), form).astype(U64)[0]
    bits, quiet = np.asarray(x, F64).view(U64), U64(1 << (digits - 1))
    nan = (bits >> U64(48) & U64(0x8000)) | infinity | quiet
    nan |= bits >> U64(52 - digits) & (quiet - U64(1))
    return np.where(np.isnan(x), nan.astype(U16), narrow(x, form))


def widen(bits: np.ndarray, form: tuple[int, int]) -> np.ndarray:
    """The 16 bits of HALF or BFLOAT16 -> float64, always exact."""
    digits, lowest = form
    b = np.asarray(bits, I64)
    exponent, fraction = (b & 0x7FFF) >> digits, b & ((1 << digits) - 1)
    units = np.where(exponent > 0, fraction + (1 << digits), fraction).astype(F64)
    value = np.ldexp(units, np.maximum(exponent, 1) - 1 + lowest - digits)
    top = exponent == 0x7FFF >> digits
    value = np.where(top, np.where(fraction > 0, np.nan, np.inf), value)
    return np.where(b & 0x8000, -value, value)


def _float_bits(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), U32(0x7FC00000), x.astype(F32).view(U32))


def some_floats(rng: np.random.Generator, form: tuple[int, int], n: int) -> np.ndarray:
    """float32: random bits, 16-bit numbers, the middles between them and their neighbors."""
    near = widen(rng.integers(0, 1 << 16, n), form).astype(F32).view(U32)
    half_step = U32(1) << U32(22 - form[0])
    middle = near + half_step
    parts = [near, middle, middle - U32(1), middle + U32(1), rng.integers(0, 1 << 32, n, dtype=U32)]
    small = (rng.standard_normal(n) * 2.0 ** rng.uniform(-30, 17, n)).astype(F32).view(U32)
    edge = [0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.996, 65520, -65520, 65536]
    edge += [2**-24, 2**-25, -(2**-25), 1.5 * 2**-24, 2**-14, 2**-133, 2**-134, 1e-45, 3.4e38]
    return np.concatenate([*parts, small, np.array(edge, F32).view(U32)]).view(F32)


# ---- where a thread is ---------------------------------------------------------------------------


def _indices_1d(out):
    i = np.arange(5 * 48)
    return {0: np.stack([i % 48, i // 48, i * 0 + 48, i * 0 + 5], 1).astype(I32)}


def _indices_2d(out, width, height):
    y, x = np.mgrid[:height, :width]
    return {0: (1000 * y + x).astype(I32)}


def _indices_3d(out):
    grid, block = (2, 3, 2), (4, 3, 2)
    places = []
    for b in range(12):
        for t in range(24):
            thread = (t % 4, t // 4 % 3, t // 12)
            places.append((*thread, b % 2, b // 2 % 3, b // 6, *block, *grid))
    return {0: np.array(places, I32)}


row(
    "indices in 1 dimension",
    "threadIdx, blockIdx, blockDim and gridDim tell where a thread is",
    "indices_1d", 5, 48, lambda r: (Out((5 * 48, 4), I32),), _indices_1d,
)  # fmt: skip
row(
    "indices in 2 dimensions",
    "x and y, with threads beyond the edge that do nothing",
    "indices_2d", (3, 3), (16, 8), lambda r: (Out((20, 37), I32), I32(37), I32(20)), _indices_2d,
)  # fmt: skip
row(
    "indices in 3 dimensions",
    "all twelve numbers, in a grid of 2 x 3 x 2 blocks of 4 x 3 x 2 threads",
    "indices_3d", (2, 3, 2), (4, 3, 2), lambda r: (Out((288, 12), I32),), _indices_3d,
)  # fmt: skip
row(
    "warps of a 2-dimensional block",
    "a warp is 32 threads in a row of the linear thread id, x fastest",
    "warps_2d", 1, (8, 12), lambda r: (Out(96, I32),),
    lambda out: {0: (np.arange(96) // 32 * 32).astype(I32)},
)  # fmt: skip


def _partial_warp(out):
    i = np.arange(50)
    votes = [sum(1 << j % 32 for j in i if j // 32 == w and j % 3 == 0) for w in (0, 1)]
    return {0: np.array(votes, U32)[i // 32]}


row(
    "last warp not full",
    "50 threads make a warp of 32 lanes and one of 18",
    "partial_warp", 1, 50, lambda r: (Out(50, U32),), _partial_warp,
)  # fmt: skip
row(
    "warpSize",
    "is 32",
    "warp_size", 1, 96, lambda r: (Out(96, I32),),
    lambda out: {0: (32 + np.arange(96) % 32).astype(I32)},
)  # fmt: skip

# ---- shared memory -------------------------------------------------------------------------------


def ints(rng, n, low=-1000, high=1000, dtype=I32):
    """Random whole numbers, low <= x < high."""
    return rng.integers(low, high, n).astype(dtype)


def _turned(size):
    return lambda x, y: {1: x.reshape(-1, size)[:, ::-1].copy()}


def _shared_several(x, y):
    i = np.arange(32)
    return {1: x[31 - i] + 0.5 * x[(i + 1) % 32] + x[(i + 5) % 32].astype(np.uint8) + 99.0}


def _shared_in_function(x, y):
    once = int(x.sum())
    return {1: np.full(64, once + 64 * once + 64 * 63 // 2, I32)}


row(
    "shared memory, static",
    "all threads of a block see the same array, every block has its own",
    "shared_static", 3, 64, lambda r: (ints(r, 192), Out(192, I32)), _turned(64),
)  # fmt: skip
row(
    "shared memory, dynamic",
    "extern __shared__: the size is given at launch",
    "shared_dynamic", 3, 80, lambda r: (ints(r, 240), Out(240, I32)), _turned(80), shared_mem=320,
)  # fmt: skip
row(
    "dynamic shared memory cut in two",
    "doubles and ints in one piece of shared memory",
    "shared_cut", 1, 40,
    lambda r: (r.standard_normal(40), r.permutation(40).astype(I32), Out(40, F64)),
    lambda x, k, y: {2: x[k[k]]}, shared_mem=40 * 12,
)  # fmt: skip
row(
    "shared memory, 2 dimensions",
    "tile[y][x], turned on its diagonal",
    "shared_2d", 1, (16, 16), lambda r: (r.standard_normal(256, F32), Out(256, F32)),
    lambda x, y: {1: x.reshape(16, 16).T.copy()},
)  # fmt: skip
row(
    "several shared arrays",
    "of different types: none overlaps another",
    "shared_several", 1, 32, lambda r: (ints(r, 32, 0, 256), Out(32, F64)), _shared_several,
)  # fmt: skip
for _type, _n, _dtype in (
    ("float", 64, F32),
    ("double", 32, F64),
    ("unsigned char", 128, np.uint8),
):
    row(
        f"shared memory in a template, {_type}",
        "every instance has an array of its own type and size",
        f"shared_template<{_type}, {_n}>", 2, _n,
        lambda r, n=_n, d=_dtype: (ints(r, 2 * n, 0, 200, d), Out(2 * n, d)),
        lambda x, y, n=_n: {1: np.roll(x.reshape(2, n), -1, 1)},
    )  # fmt: skip
row(
    "shared memory in a __device__ function",
    "may be used twice in one kernel, with barriers between",
    "shared_in_function", 1, 64, lambda r: (ints(r, 64), Out(64, I32)), _shared_in_function,
)  # fmt: skip

# ---- barriers ------------------------------------------------------------------------------------


def _votes_input(rng, rounds=6, threads=75):
    x = (rng.random((rounds, threads)) < 0.3) * rng.integers(1, 9, (rounds, threads))
    x[1], x[2], x[3, :-1], x[3, -1] = 0, 5, 0, 3
    return x.astype(I32), Out((rounds, threads, 3), I32), I32(rounds)


def _barrier_votes(x, out, rounds):
    p = (x != 0).sum(1)[:, None] + 0 * x
    return {1: np.stack([p, p == 75, p > 0], 2).astype(I32)}


def _barrier_in_loop(x, y, rounds):
    for _ in range(rounds):
        x = np.roll(x, -1) + np.roll(x, 1)
    return {1: x.astype(I32)}


def _syncwarp(x, y):
    return {1: np.roll(x.reshape(2, 32)[:, ::-1] + 1, -7, 1).astype(I32)}


row(
    "__syncthreads_count, _and, _or",
    "a barrier that counts, over a last warp that is not full",
    "barrier_votes", 1, 75, _votes_input, _barrier_votes,
)  # fmt: skip
row(
    "barrier in a loop",
    "all threads run it equally often",
    "barrier_in_loop", 1, 96, lambda r: (ints(r, 96), Out(96, I32), I32(9)), _barrier_in_loop,
)  # fmt: skip
row(
    "__syncwarp",
    "orders the shared memory of one warp",
    "syncwarp", 1, 64, lambda r: (ints(r, 64), Out(64, I32)), _syncwarp,
)  # fmt: skip

# ---- warps ---------------------------------------------------------------------------------------


def _shuffle_width(width):
    def expect(x, out):
        i = np.arange(64)
        first = i - i % width
        rows = []
        for step in (0, 1, width // 2, width - 1, width):
            up, down, xor = i - step, i + step, i - i % 32 + (i % 32 ^ step)
            rows.append(x[first + step % width])
            rows.append(np.where(up >= first, x[np.maximum(up, 0)], x))
            rows.append(np.where(down < first + width, x[np.minimum(down, 63)], x))
            rows.append(np.where(xor < first + width, x[np.minimum(xor, 63)], x))
        return {1: np.stack(rows)}

    return expect


for _w in (2, 4, 8, 16, 32):
    row(
        f"shuffles, width {_w}",
        "__shfl_sync, _up, _down, _xor: a source outside the group gives the lane's own value",
        f"shuffle_width<{_w}>", 1, 64, lambda r: (ints(r, 64), Out((20, 64), I32)),
        _shuffle_width(_w),
    )  # fmt: skip


def _shuffle_type(x, out):
    i = np.arange(64)
    lane, warp = i % 32, i - i % 32
    up, down = np.where(lane >= 3, i - 3, i), np.where(lane < 27, np.minimum(i + 5, 63), i)
    return {1: x[np.stack([warp + 31 - lane, up, down, i ^ 6])]}


for _type, _dtype in (
    ("double", F64), ("long long", I64), ("unsigned long long", U64), ("float", F32),
    ("__half", F16),
):  # fmt: skip
    row(
        f"shuffles of {_type}",
        "values of 2, 4 and 8 bytes arrive whole",
        f"shuffle_type<{_type}>", 1, 64,
        lambda r, d=_dtype: ((r.standard_normal(64) * 1e4).astype(d), Out((4, 64), d)),
        _shuffle_type,
    )  # fmt: skip


def _shuffle_wraps(out):
    i = np.arange(32)
    rows = []
    for source in (-1, 33, 100, -37):
        rows += [i * 0 + 10 * (source % 32), 10 * (i - i % 8 + source % 8)]
    return {0: np.stack(rows).astype(I32)}


def _half_warps(x, y):
    rows = x.reshape(-1, 2, 16)
    y = np.stack([rows[:, 0].sum(1), rows[:, 1].max(1)], 1)
    return {1: np.repeat(y.reshape(-1), 16).astype(I32)}


def _votes(x, out):
    rows = x.reshape(2, 32)
    power = 1 << np.arange(32, dtype=U64)
    greater2, even5 = (rows > 2) @ power, ((rows > 5) & (np.arange(32) % 2 == 0)) @ power
    answers = [greater2[:, None], (rows > 8).any(1)[:, None], (rows > 0).all(1)[:, None]]
    answers.append(np.where(np.arange(32) % 2 == 0, even5[:, None], 0))
    return {1: np.stack([np.broadcast_to(a, (2, 32)) for a in answers]).astype(U32)}


def _votes_make(rng):
    x = rng.integers(0, 9, 64)
    x[40], x[:32] = 9, np.maximum(x[:32], 1)
    return x.astype(I32), Out((4, 64), U32)


def _same_lanes(x, groups):
    """For every lane the bits of the lanes of its group (32 or 16 lanes) with the same value."""
    answer = []
    for i, v in enumerate(x):
        lanes = [j for j in range(64) if j // groups == i // groups and x[j] == v]
        answer.append(sum(1 << j % 32 for j in lanes))
    return np.array(answer, U32)


def _match_all(x, out):
    same = _same_lanes(x, 16)
    all_ = np.array([bin(s).count("1") == 16 for s in same])
    return {1: np.stack([np.where(all_, same, 0), all_]).astype(U32)}


def _match_all_make(dtype):
    def make(rng):
        x = np.repeat(rng.integers(0, 1 << 30, 4), 16)
        x[37] += 1
        return x.astype(dtype) << dtype(1 if dtype == U32 else 31), Out((2, 64), U32)

    return make


def _reduce_sync(x, out):
    rows = x.reshape(2, 32)
    u = rows.view(U32)
    answers = [rows.sum(1), rows.min(1), rows.max(1), u.sum(1), u.min(1), u.max(1)]
    answers += [f.reduce(u, 1) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)]
    nine = np.stack([a.astype(I64).astype(U32) for a in answers], 1).view(I32)
    return {1: np.repeat(nine, 32, 0)}


row(
    "shuffle source out of range",
    "a lane number counts modulo the width, also a negative one",
    "shuffle_wraps", 1, 32, lambda r: (Out((8, 32), I32),), _shuffle_wraps,
)  # fmt: skip
row(
    "shuffle as a gather",
    "every lane may name a different source",
    "shuffle_gather", 1, 64,
    lambda r: (ints(r, 64), ints(r, 64, 0, 32), Out(64, I32)),
    lambda x, source, y: {2: x[np.arange(64) // 32 * 32 + source]},
)  # fmt: skip
row(
    "masks of half a warp",
    "two branches at once, each with the lanes that take it",
    "half_warps", 1, 96, lambda r: (ints(r, 96), Out(96, I32)), _half_warps,
)  # fmt: skip
row(
    "votes",
    "__ballot_sync, __any_sync, __all_sync, for all lanes and for the even ones",
    "votes", 1, 64, _votes_make, _votes,
)  # fmt: skip
row(
    "lanes that have returned",
    "are not asked, the others vote; of __activemask only my own lane is promised",
    "exited_lanes", 1, 32, lambda r: (Out(40, U32),),
    lambda out: {0: np.array([1] * 20 + [0xAAAAA] * 20, U32)},
)  # fmt: skip
for _type, _dtype, _shift in (("int", I32, 0), ("unsigned long long", U64, 40)):
    row(
        f"__match_any_sync, {_type}",
        "the lanes with the same value as mine, 32 and 64 bits wide",
        f"match_any<{_type}>", 1, 64,
        lambda r, d=_dtype, s=_shift: ((r.integers(0, 6, 64) << s).astype(d), Out(64, U32)),
        lambda x, out: {1: _same_lanes(x, 32)},
    )  # fmt: skip
for _type, _dtype in (("unsigned", U32), ("long long", I64)):
    row(
        f"__match_all_sync, {_type}",
        "all lanes named in the mask, or 0",
        f"match_all<{_type}>", 1, 64, _match_all_make(_dtype), _match_all,
    )  # fmt: skip
row(
    "__reduce_add_sync and its kin",
    "add, min, max (signed and unsigned), and, or, xor over a warp",
    "reduce_sync", 1, 64,
    lambda r: (r.integers(-(2**31), 2**31, 64).astype(I32), Out((64, 9), I32)), _reduce_sync,
    needs="sm_80",
)  # fmt: skip

# ---- atomics -------------------------------------------------------------------------------------

C_TYPES = {
    "int": I32, "unsigned": U32, "unsigned long long": U64, "long long": I64, "float": F32,
    "double": F64, "unsigned short": U16, "__half": F16, "__half2": F16,
}  # fmt: skip


def _cells_of_3(change):
    """total[i % 3] = change(total[i % 3], x[i]) in any order."""

    def expect(total, x, n):
        total = total.copy()
        for c in range(3):
            total[c] = change(total[c], x[c::3])
        return {0: total}

    return expect


for _type in ("int", "unsigned", "unsigned long long", "float", "double", "__half"):
    row(
        f"atomicAdd, {_type}",
        "no addition is lost",
        f"atomic_add<{_type}>", 4, 96,
        lambda r,
        d=C_TYPES[_type]: (np.array([0, 5, 9], d), r.integers(0, 10, 300).astype(d), I32(300)),
        _cells_of_3(lambda t, x: t + x.sum(dtype=x.dtype)),
    )  # fmt: skip
row(
    "atomicAdd, __nv_bfloat16",
    "exact up to 256",
    "atomic_add<__nv_bfloat16>", 4, 96,
    lambda r: (narrow(np.zeros(3), BFLOAT16), narrow(r.integers(0, 3, 300), BFLOAT16), I32(300)),
    lambda t, x, n: {0: narrow(widen(x, BFLOAT16).reshape(-1, 3).sum(0), BFLOAT16)},
)  # fmt: skip
row(
    "atomicAdd, __half2",
    "two sums at once",
    "atomic_add<__half2>", 4, 96,
    lambda r: (np.zeros((3, 2), F16), r.integers(0, 10, (300, 2)).astype(F16), I32(300)),
    lambda t, x, n: {0: x.reshape(-1, 3, 2).astype(F64).sum(0).astype(F16)},
)  # fmt: skip
row(
    "atomicAdd, __nv_bfloat162",
    "two sums at once",
    "atomic_add<__nv_bfloat162>", 4, 96,
    lambda r: (np.zeros((3, 2), U16), narrow(r.integers(0, 3, (300, 2)), BFLOAT16), I32(300)),
    lambda t, x, n: {0: narrow(widen(x, BFLOAT16).reshape(-1, 3, 2).sum(0), BFLOAT16)},
)  # fmt: skip
for _type in ("int", "unsigned"):
    row(
        f"atomicSub, {_type}",
        "wraps round below zero when unsigned",
        f"atomic_sub<{_type}>", 4, 96,
        lambda r,
        d=C_TYPES[_type]: (np.array([0, 500, 9], d), r.integers(0, 10, 300).astype(d), I32(300)),
        _cells_of_3(lambda t, x: (np.array([t]) - x.sum(dtype=x.dtype))[0]),
    )  # fmt: skip


def _exch_make(dtype):
    def make(rng):
        x = (rng.permutation(300) * 7).astype(dtype)
        return np.concatenate([np.zeros(299, dtype), x[-1:]]), x[:299].copy(), I32(299)

    return make


for _type in ("int", "unsigned long long", "float"):
    row(
        f"atomicExch, {_type}",
        "gives back what was there: nothing is lost or doubled",
        f"atomic_exch<{_type}>", 4, 96, _exch_make(C_TYPES[_type]),
        lambda out, x, n: {0: np.append(x, out[-1])}, order_free=(0,),
    )  # fmt: skip


def _whole_range(rng, n, dtype):
    """Whole numbers with random bits, negative ones too where the type has them."""
    return rng.integers(0, 256, n * np.dtype(dtype).itemsize, dtype=np.uint8).view(dtype)


for _type in ("int", "unsigned", "long long", "unsigned long long"):
    row(
        f"atomicMin, atomicMax, {_type}",
        "signed and unsigned numbers compare as such",
        f"atomic_min_max<{_type}>", 4, 96,
        lambda r, d=C_TYPES[_type]: (np.array([9, 9], d), _whole_range(r, 300, d), I32(300)),
        lambda ends, x, n: {0: np.array([min(9, x.min()), max(9, x.max())], x.dtype)},
    )  # fmt: skip


def _atomic_bits(cells, x, n):
    operations = (np.bitwise_and, np.bitwise_or, np.bitwise_xor)
    return {
        0: np.array(
            [f.reduce(np.append(x, c)) for f, c in zip(operations, cells, strict=True)], x.dtype
        )
    }


def _atomic_bits_make(dtype):
    def make(rng):
        x, y = _whole_range(rng, 300, dtype), _whole_range(rng, 300, dtype)
        keep = dtype(0x10F0) | (x & y & dtype(0x7F00))
        return (
            np.array([-1 if dtype == I32 else np.iinfo(dtype).max, 0, 77], dtype),
            x & keep,
            I32(300),
        )

    return make


for _type in ("int", "unsigned", "unsigned long long"):
    row(
        f"atomicAnd, atomicOr, atomicXor, {_type}",
        "bit by bit",
        f"atomic_bits<{_type}>", 4, 96, _atomic_bits_make(C_TYPES[_type]), _atomic_bits,
    )  # fmt: skip


def _atomic_inc_dec(cells, up, down, limit):
    counts = np.arange(192)
    ups, downs = (counts + 2) % 7, (3 - counts) % 7
    return {
        0: np.array([(192 + 2) % 7, (3 - 192) % 7], U32),
        1: ups.astype(U32),
        2: downs.astype(U32),
    }


row(
    "atomicInc, atomicDec",
    "up to the limit and then 0; down to 0 and then the limit",
    "atomic_inc_dec", 2, 96,
    lambda r: (np.array([2, 3], U32), Out(192, U32), Out(192, U32), U32(6)), _atomic_inc_dec,
    order_free=(1, 2),
)  # fmt: skip


def _atomic_cas(cells, n):
    cells = cells.copy()
    with np.errstate(over="ignore"):
        for i in range(n):
            cells[i % 5] = cells[i % 5] * cells.dtype.type(5) + cells.dtype.type(1)
    return {0: cells}


for _type in ("int", "unsigned", "unsigned long long", "unsigned short"):
    row(
        f"atomicCAS, {_type}",
        "any update made of compare-and-swap; neighbors stay whole",
        f"atomic_cas<{_type}>", 4, 64,
        lambda r, d=C_TYPES[_type]: (np.array([0, 1, 2, 3, 40], d), I32(250)), _atomic_cas,
    )  # fmt: skip
row(
    "old values of atomicAdd",
    "every thread draws a number, each number is drawn once",
    "atomic_tickets", 5, 64, lambda r: (np.array([7], I32), Out(320, I32)),
    lambda counter, ticket: {0: np.array([327], I32), 1: np.arange(7, 327, dtype=I32)},
    order_free=(1,),
)  # fmt: skip
row(
    "atomics on shared memory",
    "int and float, each block for itself, then on global memory",
    "atomic_shared", 4, 96,
    lambda r: (ints(r, 300, 0, 8), np.zeros(9, I32), I32(300)),
    lambda x, counts, n: {1: np.append(np.bincount(x, minlength=8), 300).astype(I32)},
)  # fmt: skip

# ---- vector types --------------------------------------------------------------------------------

for _type, _dtype in (
    ("float", F32), ("int", I32), ("uint", U32), ("double", F64), ("longlong", I64),
    ("ulonglong", U64),
    ("char", np.int8), ("uchar", np.uint8), ("short", np.int16), ("ushort", U16), ("__half", F16),
    ("__nv_bfloat16", U16),
):  # fmt: skip
    for _k in (2, 4):
        if (name := f"reverse<{_type}{_k}>") in NAMES:
            row(
                f"vector {_type}{_k}",
                "is read and written as one value",
                name, 2, 64,
                lambda r, d=_dtype, k=_k: (
                    r.integers(0, 127, (100, k)).astype(d), Out((100, k), d), I32(100),
                ),
                lambda x, y, n: {1: x[::-1].copy()},
            )  # fmt: skip


def _make_vectors(out):
    i = np.arange(32)
    columns = [
        3 * i,
        i + 4,
        i + 4,
        2 * i,
        i + 3,
        i + 3,
        i + 7,
        3 * i + 1,
        256 + i,
        i - 5,
        i + 1,
        i + 4,
    ]
    columns += [0 * i + s for s in (8 + 12 + 16, 4 + 4, 16 + 16, 16 + 4 + 8)]
    return {0: np.stack(columns, 1).astype(I32)}


row(
    "make_float4 and its kin",
    "members, braces, sizes and alignment of vector types",
    "make_vectors", 1, 32, lambda r: (Out((32, 16), I32),), _make_vectors,
)  # fmt: skip
row(
    "float4 through a cast pointer",
    "a row of floats read four at a time",
    "cast_to_float4", 2, 32, lambda r: (r.standard_normal(200, F32), Out(200, F32), I32(200)),
    lambda x, y, n: {1: x.reshape(-1, 4)[:, ::-1].copy()},
)  # fmt: skip

# ---- 16-bit numbers ------------------------------------------------------------------------------

ROUNDINGS = (np.rint, np.trunc, np.ceil, np.floor)
ALL_16 = np.arange(1 << 16).astype(U16)


def _to_16_make(form):
    def make(rng):
        x = some_floats(rng, form, 4000)
        return x, Out((4, x.size), U16), I32(x.size)

    return make


def _double_make(rng):
    middle = widen(rng.integers(0, 0x7C00, 4000), HALF) + np.ldexp(1.0, rng.integers(-25, 5, 4000))
    x = np.concatenate([rng.standard_normal(4000) * 2.0 ** rng.uniform(-140, 140, 4000), middle])
    x = np.concatenate(
        [x, np.nextafter(x, 0), np.nextafter(x, np.inf), [np.nan, np.inf, 0.0, -0.0]]
    )
    return x, Out((2, x.size), U16), I32(x.size)


def _integer_make(rng):
    x = np.concatenate([np.arange(-5000, 5000), rng.integers(-(2**31), 2**31, 3000)])
    x = np.concatenate([x, rng.integers(-70000, 70000, 3000)]).astype(I32)
    return x, Out((4, x.size), U16), Out((2, x.size), I32), I32(x.size)


def _integer_to_half(x, out, back, n):
    wide = x.astype(F64)
    rows = [narrow(wide, HALF), narrow(x.view(U32).astype(F64), HALF)]
    rows += [narrow(wide * 1000003, HALF), narrow(x.astype(np.int16), HALF)]
    quarter = np.clip(
        widen(narrow(widen(rows[0], HALF) * 0.25, HALF), HALF), -(2.0**31), 2.0**31 - 1
    )
    return {1: np.stack(rows), 2: np.stack([np.trunc(quarter), np.rint(quarter)]).astype(I32)}


def _finite_halves(rng, n):
    """Finite halves, a third of them small enough to be subnormal."""
    bits = rng.integers(0, 0x7C00, n) >> rng.integers(0, 3, n) * 3 | rng.integers(0, 2, n) << 15
    return bits.astype(U16).view(F16)


def _arithmetic_make(rng, n=3000):
    a, b, c = (_finite_halves(rng, n) for _ in range(3))
    b[b == 0] = 3
    return a, b, c, Out((8, n), F16), I32(n)


def round_exact(whole: int, exponent: int, form: tuple[int, int]) -> int:
    """The bits of whole * 2^exponent, rounded to nearest, ties to even; whole is not 0."""
    digits, lowest = form
    size = abs(whole)
    leading = max(size.bit_length() - 1 + exponent, lowest)
    shift = leading - digits - exponent
    units = size << max(-shift, 0)
    if shift > 0:
        units, rest = divmod(size, 1 << shift)
        units += 2 * rest + units % 2 > 1 << shift
    bits = min(units + (leading - lowest << digits), (0x7FFF >> digits) << digits)
    return bits | (0x8000 if whole < 0 else 0)


def fma_16(a: np.ndarray, b: np.ndarray, c: np.ndarray, form: tuple[int, int]) -> np.ndarray:
    """The bits of a * b + c rounded once, for finite numbers, by exact whole-number arithmetic."""
    places = form[0] - form[1]  # every number is a multiple of 2^-places
    bits = []
    for x, y, z in zip(*(np.asarray(v, F64).tolist() for v in (a, b, c)), strict=True):
        whole = [int(np.ldexp(v, places)) for v in (x, y, z)]
        exact = whole[0] * whole[1] + (whole[2] << places)
        signs = [bool(np.signbit(v)) for v in (x, y, z)]
        zero = 0x8000 if (signs[0] != signs[1]) and signs[2] else 0
        bits.append(round_exact(exact, -2 * places, form) if exact else zero)
    return np.array(bits, U16)


def larger(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The larger of two float16 numbers; +0 is larger than -0."""
    both = (a.view(U16) & b.view(U16)).view(F16)
    return np.where(a == b, both, np.where(a > b, a, b))


def _half_arithmetic(a, b, c, out, n):
    with np.errstate(over="ignore"):
        x, y, z = (v.astype(F64) for v in (a, b, c))
        rows = [(x + y), x - y, x * y, x / y]
        rows = [narrow(r, HALF).view(F16) for r in rows] + [fma_16(a, b, c, HALF).view(F16)]
        rows.append(narrow(-z + y, HALF).view(F16))
    rows += [larger(a, b), -larger(-np.abs(a), -c)]
    return {3: np.stack(rows)}


def _half2_make(rng, n=1000):
    a, b, c = (_finite_halves(rng, 2 * n).reshape(n, 2) for _ in range(3))
    return a, b, c, Out((5, n, 2), F16), I32(n)


def _half2_arithmetic(a, b, c, out, n):
    with np.errstate(over="ignore"):
        rows = [
            a + b,
            a * b,
            fma_16(a.ravel(), b.ravel(), c.ravel(), HALF).view(F16).reshape(-1, 2),
        ]
    return {3: np.stack([*rows, larger(a, b[:, ::-1].copy()), c[:, ::-1]])}


def _compare_make(rng):
    a = np.concatenate([ALL_16[:: 1 << 5], [0x8000, 0, 0x7E00, 0xFE00, 0x7C00, 0xFC00]]).astype(U16)
    b = np.where(rng.random(a.size) < 0.3, a, rng.integers(0, 1 << 16, a.size)).astype(U16)
    b[-6:] = [0, 0x8000, 0x7E00, 0x3C00, 0x7C00, 0x7C00]
    return a.view(F16), b.view(F16), Out(a.size, I32), I32(a.size)


def _half_compare(a, b, out, n):
    with np.errstate(invalid="ignore"):
        columns = [a == b, a != b, a < b, a <= b, a > b, a >= b, np.isnan(a), np.isinf(a)]
    return {2: sum(c.astype(I32) << k for k, c in enumerate(columns))}


row(
    "half to float, all 65536",
    "every half is a float exactly",
    "half_to_float", 256, 256, lambda r: (ALL_16.view(F16), Out(65536, U32), I32(65536)),
    lambda h, bits, n: {1: _float_bits(widen(h.view(U16), HALF))},
)  # fmt: skip
row(
    "bfloat16 to float, all 65536",
    "every bfloat16 is a float exactly",
    "bfloat16_to_float", 256, 256, lambda r: (ALL_16.copy(), Out(65536, U32), I32(65536)),
    lambda h, bits, n: {1: _float_bits(widen(h, BFLOAT16))},
)  # fmt: skip
for _kernel, _form in (("half", HALF), ("bfloat16", BFLOAT16)):
    row(
        f"float to {_kernel}",
        "to nearest (ties to even), to zero, up, down; subnormal numbers, overflow, NaN",
        f"float_to_{_kernel}", 94, 256, _to_16_make(_form),
        lambda x, out, n, f=_form: {1: np.stack([narrow(x, f, how) for how in ROUNDINGS])},
    )  # fmt: skip
row(
    "double to half and bfloat16",
    "rounded once, not by way of float",
    "double_to_16", 94, 256, _double_make,
    lambda x, out, n: {1: np.stack([of_double(x, HALF), of_double(x, BFLOAT16)])},
)  # fmt: skip
row(
    "whole numbers to half and back",
    "rounded to nearest; 65520 and more become infinity, which becomes the largest int",
    "integer_to_half", 64, 256, _integer_make, _integer_to_half,
)  # fmt: skip
row(
    "arithmetic of half",
    "+ - * / and the fused multiply-add are rounded once; min and max",
    "half_arithmetic", 24, 128, _arithmetic_make, _half_arithmetic,
)  # fmt: skip
row(
    "arithmetic of half2",
    "two numbers at a time",
    "half2_arithmetic", 8, 128, _half2_make, _half2_arithmetic,
)  # fmt: skip
row(
    "comparisons of half",
    "NaN is not equal to anything; -0 equals 0",
    "half_compare", 17, 128, _compare_make, _half_compare,
)  # fmt: skip

# ---- templates, constants, functions -------------------------------------------------------------


def _polynomial(terms):
    def expect(x, y, n):
        total = np.zeros_like(x)
        for k in range(terms):
            total = total * x + x.dtype.type(k + 1)
        return {1: total}

    return expect


def _constants(out):
    primes, quarters = np.array([2, 3, 5, 7, 11, 13, 17, 19]), np.array([0.25, 0.5, 0.75, 1.0])
    i = np.arange(64)
    return {0: (primes[i % 8] * quarters[i % 4]).astype(F32)}


def _device_functions(x, y):
    return {1: (2 * np.gcd(x, np.roll(x, -1)) + np.maximum(x, np.roll(x, -1))).astype(I32)}


SCALARS = (
    np.int8(-100), np.uint8(200), np.int16(-30000), I32(-(2**31)), U32(2**32 - 1), I64(-(2**40)),
    U64(2**60), F32(0.1), F64(0.1), np.bool_(True),
)  # fmt: skip

for _type, _terms, _dtype in (("float", 3, F32), ("int", 5, I32)):
    row(
        f"template with a type and a number, {_type}",
        "an instance for each pair",
        f"polynomial<{_type}, {_terms}>", 2, 64,
        lambda r, d=_dtype: (r.integers(-9, 10, 100).astype(d), Out(100, d), I32(100)),
        _polynomial(_terms),
    )  # fmt: skip
for _flag in ("true", "false"):
    row(
        f"if constexpr, {_flag}",
        "a template parameter chooses the branch",
        f"pick<{_flag}>", 1, 64, lambda r: (ints(r, 64), Out(64, I32)),
        lambda x, y, f=_flag: {1: x * x if f == "true" else -x},
    )  # fmt: skip
row(
    "__constant__ tables",
    "with values given in the source",
    "constants", 1, 64, lambda r: (Out(64, F32),), _constants,
)  # fmt: skip
row(
    "__device__ functions",
    "recursion, references, __noinline__, templates",
    "device_functions", 1, 64, lambda r: (ints(r, 64, 1, 5000), Out(64, I32)), _device_functions,
)  # fmt: skip
row(
    "__device__ table",
    "in global memory, with values given in the source",
    "device_variable", 1, 64, lambda r: (Out(64, I32),),
    lambda out: {0: (np.arange(64) % 4 * 100 + 100 + np.arange(64)).astype(I32)},
)  # fmt: skip
row(
    "scalar parameters",
    "of 1, 2, 4 and 8 bytes, signed, unsigned, floating and bool",
    "scalars", 1, 1, lambda r: (Out(10, F64), *SCALARS),
    lambda out, *scalars: {0: np.array([float(s) for s in scalars])},
)  # fmt: skip

# ---- memory --------------------------------------------------------------------------------------


def _staged_zfill(x, y):
    rows = x.reshape(32, 4).copy()
    for i in range(32):
        rows[i, 4 - i % 5 :] = 0
    return {1: rows[::-1].ravel()}


def _spin_lock(lock, value):
    state = 0
    for _ in range(9):
        state = state * 3 + 1
    return {0: np.zeros(1, I32), 1: np.array([9, state], I32)}


for _type, _dtype, _k in (
    ("float", F32, 1), ("int", I32, 1), ("float4", F32, 4), ("__half", F16, 1), ("double2", F64, 2),
):  # fmt: skip
    row(
        f"loads and stores with cache hints, {_type}",
        "__ldg, __ldcg, __ldcs, __ldca, __stcs, __stcg move the same values",
        f"cached<{_type}>", 2, 64,
        lambda r, d=_dtype, k=_k: (ints(r, (100, k), dtype=d), Out((4, 100, k), d), I32(100)),
        lambda x, y, n: {1: np.stack([x, x[::-1], np.roll(x, -1, 0), np.roll(x, -2, 0)])},
    )  # fmt: skip
for _type, _rounds, _k in (("float", 5, 1), ("float2", 4, 2), ("float4", 7, 4)):
    row(
        f"asynchronous copies of {4 * _k} bytes",
        "one row on its way while another is in use",
        f"staged<{_type}, {_rounds}>", 2, 64,
        lambda r, n=2 * _rounds, k=_k: (r.standard_normal((n, 64, k), F32), Out((n, 64, k), F32)),
        lambda x, y: {1: x[:, ::-1].copy()},
    )  # fmt: skip
row(
    "asynchronous copies with zeros",
    "the last bytes are filled with zeros instead",
    "staged_zfill", 1, 32, lambda r: (ints(r, 128, 1), Out(128, I32)), _staged_zfill,
)  # fmt: skip
row(
    "the last block",
    "__threadfence and an atomic counter: one block sees what all wrote",
    "last_block", 6, 64, lambda r: (ints(r, 384), Out(6, I32), Out(1, I32)),
    lambda x, part, total: {
        1: x.reshape(6, 64).sum(1).astype(I32), 2: np.array([x.sum()], I32),
    },
)  # fmt: skip
row(
    "a lock",
    "one thread per block waits until it is free",
    "spin_lock", 9, 32, lambda r: (np.zeros(1, I32), np.zeros(2, I32)), _spin_lock,
)  # fmt: skip

# ---- whole numbers -------------------------------------------------------------------------------

MASK32 = (1 << 32) - 1


def signed(x: int, bits: int = 32) -> int:
    """The lowest bits of x as a signed number."""
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) else x


def _reverse_bits(x: int, bits: int) -> int:
    return int(format(x, f"0{bits}b")[::-1], 2)


def _bytes(x: int, y: int, selector: int) -> int:
    all_ = x | y << 32
    return sum((all_ >> 8 * (selector >> 4 * k & 7) & 255) << 8 * k for k in range(4))


def _bit_functions(x, w, out, n):
    x, w, rows = x.tolist(), w.tolist(), []
    for i, (v, wide) in enumerate(zip(x, w, strict=True)):
        u, n = x[(i + 1) % len(x)], i & 31
        mine = [
            bin(v).count("1"),
            bin(wide).count("1"),
            32 - v.bit_length(),
            64 - wide.bit_length(),
        ]
        mine += [(v & -v).bit_length(), (wide & -wide).bit_length()]
        mine += [_reverse_bits(v, 32), _reverse_bits(wide, 64) >> 20]
        mine += [_bytes(v, u, 0x5140), _bytes(v, u, u & 0x7777)]
        mine += [(u << 32 | v) << n >> 32, (u << 32 | v) >> n, (v << 32 | v) << n >> 32]
        mine += [(u << 32 | v) >> min(i, 32)]
        rows.append([m & MASK32 for m in mine])
    return {2: np.array(rows, U32)}


def _multiply(a, b, out, n):
    rows = []
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        u, v = x & MASK32, y & MASK32
        mine = [
            x * y >> 32,
            u * v >> 32,
            signed(x, 24) * signed(y, 24),
            (u & 0xFFFFFF) * (v & 0xFFFFFF),
        ]
        mine += [abs(x - y) + 5, abs(u - v) + 5, x * y << 40 >> 64, (x + y) >> 1]
        rows.append([signed(m) for m in mine])
    return {2: np.array(rows, I32)}


def _integer_rules(a, b, out, n):
    rows = []
    for i, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        u, v = x & MASK32, y & MASK32
        mine = [quotient, x - quotient * y, x >> i % 32, (u * v + 3) & MASK32, (u - v) & MASK32]
        mine += [x * 3000000000 + i, (u * 5000000000) % (1 << 64) % 1000003]
        rows.append(mine)
    return {2: np.array(rows, I64)}


def _min_max(a, b, out, n):
    unsigned = np.minimum(a.view(U32), b.view(U32)).astype(I64)
    a = a.astype(I64)
    return {2: np.stack([np.minimum(a, b), np.maximum(a, 3), unsigned, np.maximum(a << 33, 5)], 1)}


def _pairs(columns, dtype):
    """a, b: whole numbers of all sizes, b never 0."""

    def make(rng):
        a, b = (
            ints(rng, 200, -(2**31), 2**31) >> rng.integers(0, 31, 200).astype(I32) for _ in "ab"
        )
        a[:4], b[:4] = [0, -1, 2**31 - 1, -(2**31)], [7, 1, 2**31 - 1, 3]
        b[b == 0] = -7
        return a, b, Out((200, columns), dtype), I32(200)

    return make


def _bits_make(rng):
    x = rng.integers(0, 1 << 32, 200, dtype=U32) >> rng.integers(0, 32, 200).astype(U32)
    w = rng.integers(0, 1 << 64, 200, dtype=U64) >> rng.integers(0, 64, 200).astype(U64)
    x[:3], w[:3] = [0, 1, MASK32], [0, 1, 2**64 - 1]
    return x, w, Out((200, 14), U32), I32(200)


row(
    "bits",
    "__popc, __clz, __ffs (32 and 64 bits), __brev, __byte_perm, __funnelshift, rotation",
    "bit_functions", 2, 128, _bits_make, _bit_functions,
)  # fmt: skip
row(
    "products",
    "__mulhi, __umulhi, __mul64hi, __mul24, __umul24, __sad, __usad, __hadd",
    "multiply", 2, 128, _pairs(8, I32), _multiply,
)  # fmt: skip
row(
    "rules of whole numbers",
    "division towards zero, signed shifts, unsigned numbers wrap round, 64-bit products",
    "integer_rules", 2, 128, _pairs(7, I64), _integer_rules,
)  # fmt: skip
row(
    "min and max of whole numbers",
    "signed, unsigned and 64 bits wide",
    "min_max", 2, 128, _pairs(4, I64), _min_max,
)  # fmt: skip

# ---- floating point ------------------------------------------------------------------------------


def _reinterpret_bits(x, d, out, wide, back):
    bits = x.view(U32)
    flipped = bits ^ U32(0x80000000)
    rows = [flipped.view(F32), (bits + U32(1)).view(F32), d.astype(F32)]
    return {2: np.stack([flipped, bits]), 3: d.view(I64), 4: np.stack(rows)}


def _fused(out):
    e = np.arange(64) * 2.0**-12
    exact = (-e * e + 0.0).astype(F32)
    return {0: np.stack([exact, exact, (1 - e * e).astype(F32) - F32(1)])}


def _nan_loses(a, b, out, n):
    low, high = np.fmin(a, b), np.fmax(a, b)
    return {2: np.stack([low, high, low, high])}


def _nan_make(rng):
    a, b = (rng.standard_normal(200).astype(F32) for _ in "ab")
    a[:50], b[50:100], b[100:110] = np.nan, np.nan, -np.inf
    return a, b, Out((4, 200), F32), I32(200)


def _float_to_integer(x, out, n):
    wide = np.nan_to_num(x.astype(F64), nan=0.0, posinf=1e30, neginf=-1e30)
    rows = [np.clip(f(wide), -(2**31), 2**31 - 1) for f in (np.trunc, np.rint, np.ceil, np.floor)]
    unsigned = np.clip(np.trunc(wide), 0, MASK32).astype(U32).view(I32)
    return {1: np.stack([*(r.astype(I32) for r in rows), unsigned])}


def _float_make(rng):
    x = (rng.standard_normal(200) * 2.0 ** rng.uniform(-3, 35, 200)).astype(F32)
    x[:12] = [0.5, 1.5, 2.5, -0.5, -1.5, 1e10, -1e10, np.inf, -np.inf, np.nan, 2**31, -(2.0**31)]
    return x, Out((5, 200), I32), I32(200)


def _rounded_floats(a, b, out, n):
    total = (a.astype(F64) + b).astype(F32)
    return {2: np.stack([a / b, np.sqrt(a), F32(1) / b, total, np.clip(a - b, F32(0), F32(1))])}


def _approximate(a, b, out, n):
    a, b = a.astype(F64), b.astype(F64)
    rows = [1 / np.sqrt(a), a / b, np.exp(-b), np.tanh(b), np.exp(-b), np.log(a)]
    return {2: np.stack(rows).astype(F32)}


def _positive(rows):
    def make(rng):
        a, b = (rng.uniform(0.05, 9, 200).astype(F32) for _ in "ab")
        return a, b, Out((rows, 200), F32), I32(200)

    return make


row(
    "bits of floats",
    "__float_as_uint, __double_as_longlong and back",
    "reinterpret_bits", 1, 64,
    lambda r: (r.standard_normal(64).astype(F32), r.standard_normal(64), Out((2, 64), U32),
        Out(64, I64), Out((3, 64), F32)),
    _reinterpret_bits,
)  # fmt: skip
row(
    "fused multiply-add",
    "fmaf and __fmaf_rn round once, __fmul_rn and __fadd_rn twice",
    "fused", 1, 64, lambda r: (Out((3, 64), F32),), _fused,
)  # fmt: skip
row(
    "min and max with NaN",
    "a number wins over NaN",
    "nan_loses", 2, 128, _nan_make, _nan_loses,
)  # fmt: skip
row(
    "float to int",
    "__float2int_rz, _rn, _ru, _rd: what does not fit becomes the nearest end, NaN becomes 0",
    "float_to_integer", 2, 128, _float_make, _float_to_integer,
)  # fmt: skip
row(
    "correctly rounded floats",
    "__fdiv_rn, __fsqrt_rn, __frcp_rn, __double2float_rn, __saturatef",
    "rounded_floats", 2, 128, _positive(5), _rounded_floats,
)  # fmt: skip
row(
    "approximate floats",
    "rsqrtf, __fdividef, __expf, tanhf, expf, logf within a few units of the last place",
    "approximate", 2, 128, _positive(6), _approximate, rtol=2e-6, atol=1e-6,
)  # fmt: skip

# ---- control -------------------------------------------------------------------------------------


def _collatz(x, steps, limit):
    answer = []
    for v in x.tolist():
        k = 0
        while v != 1 and k < limit:
            v, k = (v // 2 if v % 2 == 0 else 3 * v + 1), k + 1
        answer.append(k)
    return {1: np.array(answer, I32)}


def _local_array(x, y):
    answer = []
    for counts in (np.bincount(r, minlength=5) for r in x):
        best = int(counts.argmax())
        answer.append((100, 200, 2000, 3000, 4000)[best] + counts[best])
    return {1: np.array(answer, I32)}


row(
    "__launch_bounds__",
    "changes no result",
    "bounded", 3, 128, lambda r: (ints(r, 384), Out(384, I32)), lambda x, y: {1: x + 1},
)  # fmt: skip
row(
    "early return",
    "threads without work return, others return from a branch",
    "early_return", 3, 64, lambda r: (ints(r, 150), Out(150, I32), I32(150)),
    lambda x, y, n: {1: np.where(x % 2 != 0, -1, x).astype(I32)},
)  # fmt: skip
row(
    "loops with break and continue",
    "of different length in every lane",
    "collatz", 2, 64, lambda r: (ints(r, 128, 1, 9999), Out(128, I32), I32(100)), _collatz,
)  # fmt: skip
row(
    "private arrays",
    "with an index known only at run time, and a switch",
    "local_array", 1, 64, lambda r: (ints(r, (64, 8), 0, 5), Out(64, I32)), _local_array,
)  # fmt: skip
row(
    "grid-stride loop",
    "few threads, many elements",
    "grid_stride", 3, 32, lambda r: (ints(r, 1000), Out(1000, I32), I32(1000)), lambda x, y,
    n: {1: 3 * x},
)  # fmt: skip
