"""cuda_fp16.h and cuda_bf16.h give the bits that the formats' definitions give.

The reference is whole-number arithmetic (conformance/features.py), not another library. A passing
test does not say how a GPU rounds a division or hexp: those are compared on a GPU.
"""

from fractions import Fraction

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import CompileError, NotModeled, RawModule, settings
from embag_edu.cuda_on_cpu.conformance import features as ref

SOURCE = r"""
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#define EACH int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return;

// H: the type; the names with the type in them are chosen by overloading on it.
__device__ void convert(float f, unsigned short* o, __half) {
  o[0] = __half_as_ushort(__float2half(f)); o[1] = __half_as_ushort(__float2half_rz(f));
  o[2] = __half_as_ushort(__float2half_ru(f)); o[3] = __half_as_ushort(__float2half_rd(f));
}
__device__ void convert(float f, unsigned short* o, __nv_bfloat16) {
  o[0] = __bfloat16_as_ushort(__float2bfloat16(f));
  o[1] = __bfloat16_as_ushort(__float2bfloat16_rz(f));
  o[2] = __bfloat16_as_ushort(__float2bfloat16_ru(f));
  o[3] = __bfloat16_as_ushort(__float2bfloat16_rd(f));
}
template <class H> __global__ void from_float(const float* x, unsigned short* out, int n) {
  EACH
  unsigned short o[4];
  convert(x[i], o, H());
  for (int k = 0; k < 4; k++) out[k * n + i] = o[k];
}
template <class H> __global__ void nearest(const float* x, H* out, int n) {
  EACH out[i] = x[i];
}
template <class H> __global__ void from_double(const double* x, H* out, int n) {
  EACH out[i] = x[i];
}
template <class H> __global__ void to_float(const H* x, float* out, int n) {
  EACH out[i] = x[i];
}
template <class H> __global__ void from_long(const long long* x, H* out, int n) {
  EACH out[i] = H(x[i]);
}
template <class H> __global__ void arithmetic(const H* a, const H* b, const H* c, H* out, int n) {
  EACH
  out[i] = a[i] + b[i]; out[n + i] = a[i] - b[i]; out[2 * n + i] = a[i] * b[i];
  out[3 * n + i] = a[i] / b[i];
  out[4 * n + i] = __hfma(a[i], b[i], c[i]); out[5 * n + i] = hsqrt(__habs(a[i]));
}
template <class H> __global__ void extremes(const H* a, const H* b, H* out, int n) {
  EACH
  out[i] = __hmax(a[i], b[i]); out[n + i] = __hmin(a[i], b[i]);
  out[2 * n + i] = __hmax_nan(a[i], b[i]); out[3 * n + i] = __hmin_nan(a[i], b[i]);
}
template <class H> __global__ void compare(const H* a, const H* b, int* out, int n) {
  EACH
  H x = a[i], y = b[i];
  out[i] = (x == y) | (x != y) << 1 | (x < y) << 2 | (x <= y) << 3 | (x > y) << 4 | (x >= y) << 5
         | __heq(x, y) << 6 | __hne(x, y) << 7 | __hltu(x, y) << 8 | __hgeu(x, y) << 9
         | __hisnan(x) << 10;
  out[n + i] = __hisinf(x);
}
extern "C" __global__ void half_to_integers(const __half* h, long long* out, int n) {
  EACH
  out[i] = __half2int_rz(h[i]); out[n + i] = __half2int_rn(h[i]);
  out[2 * n + i] = __half2int_ru(h[i]);
  out[3 * n + i] = __half2int_rd(h[i]); out[4 * n + i] = __half2uint_rz(h[i]);
  out[5 * n + i] = __half2short_rn(h[i]);
  out[6 * n + i] = __half2ushort_rz(h[i]); out[7 * n + i] = __half2ll_rz(h[i]);
  out[8 * n + i] = (long long)__half2ull_rz(h[i]); out[9 * n + i] = __half2char_rz(h[i]);
  out[10 * n + i] = __half2uchar_rz(h[i]);
}
extern "C" __global__ void everyday(float* out) {  // what kernels write without a thought
  __half h = 1.0f;
  h = 0;
  h += __float2half(2.5f);
  float f = h;
  int k = h;
  __nv_bfloat16 b = 3;
  b = b * b - b / b;
  out[0] = f, out[1] = k, out[2] = b, out[3] = h ? 1.f : 0.f;
  half2 p = __floats2half2_rn(1.5f, -2.f), q = p;
  q = __hfma2(p, q, __half2half2(h));
  out[4] = __low2float(q), out[5] = __high2float(q);
  float2 r = __half22float2(__lowhigh2highlow(p));
  out[6] = r.x, out[7] = r.y;
  __nv_bfloat162 t = __float22bfloat162_rn(r);
  t += __bfloat162bfloat162(b);
  out[8] = t.x, out[9] = __bfloat1622float2(t).y;
  out[10] = __heq2_mask(p, __halves2half2(p.x, h)) == 0xffffu, out[11] = __hbeq2(p, p);
}
"""
FORMS = {"__half": ref.HALF, "__nv_bfloat16": ref.BFLOAT16}
PER_FORM = "from_float nearest from_double to_float from_long arithmetic extremes compare".split()
BOTH = pytest.mark.parametrize("name", FORMS)


@pytest.fixture(scope="module")
def launch():
    names = [f"{k}<{name}>" for k in PER_FORM for name in FORMS]
    module = RawModule(code=SOURCE, options=("-std=c++17",), name_expressions=names)

    def call(kernel, *args):
        n = args[0].size
        with settings(mode="fast"):
            module.get_function(kernel)((-(-n // 256),), (256,), (*args, np.int32(n)))

    call.module = module
    return call


def typed(bits, name):
    """The array that a kernel's parameter of this type takes: float16, or the bits of bfloat16."""
    return bits.view(np.float16) if name == "__half" else bits


def random_16(rng, n, form, finite=True):
    """Bits of 16-bit numbers, many of them near the smallest and near one."""
    infinity = (0x7FFF >> form[0]) << form[0]
    one = -form[1] + (0 if form is ref.HALF else 1)
    near_one = (rng.integers(-3, 4, n) + one << form[0]) + rng.integers(0, 1 << form[0], n)
    every = rng.integers(0, infinity if finite else 0x8000, n)
    small = rng.integers(0, 4 << form[0], n)
    bits = np.choose(rng.integers(0, 3, n), [near_one % infinity, every, small])
    return (bits | rng.integers(0, 2, n) << 15).astype(np.uint16)


@BOTH
def test_every_16_bit_number_to_float_and_back(launch, name):
    back, wide = np.empty(65536, np.uint16), np.empty(65536, np.float32)
    launch(f"to_float<{name}>", typed(ref.ALL_16.copy(), name), wide)
    expected = ref.widen(ref.ALL_16, FORMS[name]).astype(np.float32)
    nan = np.isnan(expected)
    assert (nan == np.isnan(wide)).all()
    assert (expected.view(np.uint32) == wide.view(np.uint32))[~nan].all()
    launch(f"nearest<{name}>", wide, typed(back, name))
    assert (back == np.where(nan, 0x7FFF, ref.ALL_16)).all()


@BOTH
def test_millions_of_floats_in_four_roundings(launch, name):
    rng = np.random.default_rng(5)
    x = ref.some_floats(rng, FORMS[name], 400_000)
    out = np.empty((4, x.size), np.uint16)
    launch(f"from_float<{name}>", x, out)
    for found, how in zip(out, ref.ROUNDINGS, strict=True):
        assert (found == ref.narrow(x, FORMS[name], how)).all(), how


@BOTH
def test_doubles_are_rounded_once(launch, name):
    form, rng = FORMS[name], np.random.default_rng(6)
    middle = (ref.widen(random_16(rng, 20_000, form), form).astype(np.float64)) * (
        1 + 2.0 ** -(form[0] + 1)
    )
    x = np.concatenate(
        [middle, middle * (1 + 2.0**-40), middle * (1 - 2.0**-40), [5e-324, -1e308, np.nan]]
    )
    out = np.empty(x.size, np.uint16)
    launch(f"from_double<{name}>", x, typed(out, name))
    expected = ref.of_double(x, form)
    assert (out == expected).all()
    by_float = np.empty(x.size, np.uint16)
    with np.errstate(over="ignore"):
        launch(f"nearest<{name}>", x.astype(np.float32), typed(by_float, name))
    assert (out != by_float).any()  # else this test could not tell


@BOTH
def test_what_becomes_of_a_nan(launch, name):
    """Of a double, a NaN's sign and first bits are kept; all other ways give 0x7FFF."""
    bits = [0x7FF8 << 48, 0xFFF8 << 48, (0x7FF8 << 48) + (5 << 42), (0x7FF0 << 48) + 1]
    x = np.array(bits, np.uint64).view(np.float64)
    out = np.zeros(x.size, np.uint16)
    launch(f"from_double<{name}>", x, typed(out, name))
    of_half, of_bfloat16 = [0x7E00, 0xFE00, 0x7E05, 0x7E00], [0x7FC0, 0xFFC0, 0x7FC0, 0x7FC0]
    assert out.tolist() == (of_half if name == "__half" else of_bfloat16)
    with np.errstate(invalid="ignore"):
        launch(f"nearest<{name}>", x.astype(np.float32), typed(out, name))
    assert (out == 0x7FFF).all()
    nan, results = np.full(2, 0xFFFF, np.uint16), np.zeros((6, 2), np.uint16)
    launch(f"arithmetic<{name}>", *(typed(nan, name),) * 3, typed(results, name))
    assert (results == 0x7FFF).all()


@BOTH
def test_whole_numbers_are_rounded_once(launch, name):
    rng = np.random.default_rng(7)
    x = rng.integers(-(2**63), 2**63, 5000) >> rng.integers(0, 63, 5000)
    x = np.concatenate([x, [0, 1, -1, 65519, 65520, 2**63 - 1, -(2**63), 2**31 - 1]])
    out = np.empty(x.size, np.uint16)
    launch(f"from_long<{name}>", x, typed(out, name))
    expected = [ref.round_exact(int(v), 0, FORMS[name]) if v else 0 for v in x]
    assert (out == np.array(expected)).all()


@BOTH
def test_arithmetic_is_rounded_once(launch, name):
    form, rng = FORMS[name], np.random.default_rng(8)
    a, b, c = (random_16(rng, 6000, form) for _ in range(3))
    b[b & 0x7FFF == 0] = 1
    c[::3] = ref.narrow(-ref.widen(a, form) * ref.widen(b, form), form)[::3]  # sums that cancel
    c[(c & 0x7FFF) >= (0x7FFF >> form[0]) << form[0]] = 0
    half = (form[0] + 1) // 2  # a product halfway between two numbers, and a little more
    tie = [1 + 2.0**-half, 1 + 2.0 ** (half - form[0] - 1), 2.0**-24]
    a[1], b[1], c[1] = ref.narrow(np.array(tie), form)
    out = np.empty((6, a.size), np.uint16)
    launch(f"arithmetic<{name}>", *(typed(v, name) for v in (a, b, c)), typed(out, name))
    x, y, z = (ref.widen(v, form) for v in (a, b, c))
    places = 200
    for k, (p, q) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        p, q = Fraction(p), Fraction(q)
        for r, exact in enumerate((p + q, p - q, p * q)):
            if exact:
                whole, exponent = exact.numerator, 1 - exact.denominator.bit_length()
                assert out[r, k] == ref.round_exact(whole, exponent, form), (r, a[k], b[k])
        if p:  # a quotient: enough places, and a last bit for what is cut off
            size, rest = divmod(abs(p / q).numerator << 2 * places, abs(p / q).denominator)
            whole = (2 * size + (rest != 0)) * (1 if (p > 0) == (q > 0) else -1)
            assert out[3, k] == ref.round_exact(whole, -2 * places - 1, form), ("/", a[k], b[k])
    assert (out[4] == ref.fma_16(x, y, z, form)).all()
    # fmaf and then a second rounding would be wrong: a triple tells the two apart
    with np.errstate(over="ignore"):
        twice = ref.narrow((x * y + z).astype(np.float32).astype(np.float64), form)
    assert (twice != out[4]).any()
    assert (out[5] == ref.narrow(np.sqrt(np.abs(x)), form)).all()


@BOTH
def test_nan_never_wins_a_maximum_unless_asked(launch, name):
    form, rng = FORMS[name], np.random.default_rng(9)
    a, b = (random_16(rng, 5000, form, finite=False) for _ in range(2))
    a[:4], b[:4] = [0, 0x8000, 0x7FFF, 0], [0x8000, 0, 0x7FFF, 0x7FFF]
    out = np.empty((4, a.size), np.uint16)
    launch(f"extremes<{name}>", typed(a, name), typed(b, name), typed(out, name))
    x, y = ref.widen(a, form), ref.widen(b, form)
    either, both = np.isnan(x) | np.isnan(y), np.isnan(x) & np.isnan(y)
    for r, (wins, join) in enumerate([(x > y, a & b), (x < y, a | b)]):
        number = np.where(np.isnan(x), b, np.where(np.isnan(y), a, np.where(wins, a, b)))
        number = np.where(x == y, join, number)
        assert (out[r] == np.where(both, 0x7FFF, number)).all()
        assert (out[r + 2] == np.where(either, 0x7FFF, number)).all()


@BOTH
def test_comparisons(launch, name):
    form, rng = FORMS[name], np.random.default_rng(10)
    a = random_16(rng, 5000, form, finite=False)
    b = np.where(rng.random(a.size) < 0.3, a, random_16(rng, a.size, form, finite=False))
    a[:2], b[:2] = [0, 0x7FFF], [0x8000, 0x7FFF]
    out = np.empty((2, a.size), np.int32)
    launch(f"compare<{name}>", typed(a, name), typed(b, name), out)
    x, y = ref.widen(a, form), ref.widen(b, form)
    nan = np.isnan(x) | np.isnan(y)
    bits = [x == y, x != y, x < y, x <= y, x > y, x >= y, x == y, (x != y) & ~nan]
    bits += [(x < y) | nan, (x >= y) | nan, np.isnan(x)]
    assert (out[0] == sum(b.astype(np.int32) << k for k, b in enumerate(bits))).all()
    assert (out[1] == np.where(np.isinf(x), np.sign(x), 0)).all()


def test_every_half_to_integers(launch):
    out = np.empty((11, 65536), np.int64)
    launch("half_to_integers", ref.ALL_16.view(np.float16).copy(), out)
    x = ref.widen(ref.ALL_16, ref.HALF)
    wide = np.clip(np.nan_to_num(x, nan=0.0), -1e30, 1e30)
    i32, u32, i16, u16 = (-(2**31), 2**31 - 1), (0, 2**32 - 1), (-(2**15), 2**15 - 1), (0, 65535)
    ways = [(np.trunc, i32), (np.rint, i32), (np.ceil, i32), (np.floor, i32), (np.trunc, u32)]
    ways += [(np.rint, i16), (np.trunc, u16)]
    for found, (how, ends) in zip(out, ways, strict=False):
        assert (found == np.clip(how(wide), *ends).astype(np.int64)).all()
    finite = np.isfinite(x)
    assert (out[7] == np.trunc(wide))[finite].all()
    assert (out[8] == np.maximum(np.trunc(wide), 0))[finite].all()
    assert (out[7][np.isnan(x)] == -(2**63)).all() and (out[8][np.isnan(x)] == -(2**63)).all()
    assert out[7, 0x7C00] == 2**63 - 1 and out[7, 0xFC00] == -(2**63)
    assert out[8, 0x7C00] == -1 and out[8, 0xFC00] == 0  # 2^64 - 1 as a signed number
    assert (out[9] == np.clip(np.trunc(wide), -128, 127)).all()
    assert (out[10] == np.clip(np.trunc(wide), 0, 255)).all()


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_everyday_code(launch, mode):
    out = np.zeros(12, np.float32)
    with settings(mode=mode):
        launch.module.get_function("everyday")((1,), (1,), (out,))
    assert out.tolist() == [2.5, 2, 8, 1, 4.75, 6.5, -2, 1.5, 6, 9.5, 1, 1]


@pytest.mark.parametrize(
    "header", ["cuda_fp4.h", "mma.h", "curand_kernel.h", "cub/device/device_scan.cuh"]
)
def test_headers_that_are_not_modeled_say_so(header):
    code = f'#include <{header}>\nextern "C" __global__ void k(float* x) {{ x[0] = 1; }}\n'
    with pytest.raises((NotModeled, CompileError), match="not modeled|CUB only"):
        RawModule(code=code).compile()
