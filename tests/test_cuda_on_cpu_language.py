"""What people write in CUDA C++ beside the plain kernel, in both modes, and by NVRTC."""

from fractions import Fraction

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.cuda_on_cpu import (
    CompileError,
    KernelFault,
    NotModeled,
    RawModule,
    checked,
    nvrtc,
    settings,
)

pytestmark = needs_compiler

CODE = r"""
#include <cuda_fp8.h>
#include <device_launch_parameters.h>
typedef unsigned long long uint64_t;
namespace a { namespace b {
__constant__ float scale[2] = {3, 4};
__device__ int calls;
template <class T> __global__ void in_space(T* y) { y[threadIdx.x] = scale[threadIdx.x % 2]; atomicAdd(&calls, 1); }
extern "C" __global__ void c_in_space(float* y) { y[threadIdx.x] = scale[1] + uint64_t(1); }
} }
namespace { __device__ float offset = 2; }
template <class T> __constant__ T three = 3;
template <class T> __constant__ T none[2];
extern __shared__ float dynamic[];
__shared__ float fixed[32];
__device__ float seen(int i) { return dynamic[i] + fixed[i]; }
extern "C" __global__ void told_strides(const float* x, float* y, float* mid, int columns, int stride0, long long stride1) {
  y[threadIdx.x] = x[threadIdx.x / columns * stride0 + threadIdx.x % columns * stride1];
  if (mid && threadIdx.x == 0) mid[1] = 7;
}
typedef float (*Change)(float);
__device__ float twice(float x) { return 2 * x; }
__device__ float minus(float x) { return -x; }
__device__ Change changes[2] = {twice, minus};
__constant__ Change fixed_changes[2] = {minus, twice};
__device__ int* counter = &a::b::calls;
extern "C" __global__ void by_table(float* y) {
  int i = threadIdx.x;
  atomicAdd(counter, 1);
  y[i] = changes[i % 2](i + 1.0f) - fixed_changes[i % 2](3.0f);
}
#define SMEM __shared__
#define TILE(T, name, n) __shared__ T name[n]
__device__ int cudaProcess(int x) { return x + 1; }
struct Shape { __device__ virtual float area() const { return 1; } };
struct Square : Shape { float side; __device__ float area() const override { return side * side; } };
union Four { float4 v; float f[4]; };
extern "C" __global__ void language(float* y) {
  __align__(16) __shared__ float aligned[4];
  SMEM float tile[32];
  TILE(float,
       other, 32);
  int t = threadIdx.x, warpSize = 32;
  dynamic[t] = t, fixed[t] = offset, tile[t] = t, other[t] = three<float> + none<float>[0];
  if (t < 4) aligned[t] = t;
  __syncthreads();
  Square square;
  Shape plain, *shape = t % 2 ? (Shape*)&square : &plain;
  square.side = 5;
  Four four;
  four.v = make_float4(1, 2, 3, 4);
  __builtin_assume(t < 64);
  long2 l = make_long2(1, 2);
  __shared__ Four fours[32];
  fours[t] = four, four = fours[t];
  y[8 * t] = seen(31 - t), y[8 * t + 1] = tile[31 - t] + other[0] + aligned[3], y[8 * t + 2] = cudaProcess(t);
  y[8 * t + 3] = shape->area(), y[8 * t + 4] = four.f[t % 4] + l.y, y[8 * t + 5] = warpSize;
  y[8 * t + 6] = __isGlobal(y) + 2 * __isShared(tile) + 4 * __isLocal(&t), y[8 * t + 7] = t ? '=' : 'x';
}
extern "C" __global__ void swaps(int* y) {
  y[2] = __dp4a(make_char4(1, -1, 2, -2), make_char4(3, 4, 5, 6), 1) + __dp2a_hi(make_ushort2(2, 3), make_uchar4(0, 0, 255, 9), 0u);
  y[3] = __fns(22, 0, 2), y[4] = __fns(22, 4, -3), y[5] = __fns(22, 3, 0) + __fns(22, 2, 3), y[6] = __fns(22, 4, 0);
  y[7] = __isConstant(a::b::scale + 1) + 2 * __isGlobal(a::b::scale) + 4 * __isConstant(y) + 8 * __isGlobal(&a::b::calls);
  y[8] = __float_as_int(__fmaf_ieee_rd(1, 1, -1)) + __float_as_int(__fmaf_ieee_rn(1, 1, -1));
  y[1] = atomicCAS_system(y, 0, 1) + atomicCAS_block(y, 1, 2) + 10 * y[0];
}
extern "C" __global__ void eighths(const float* x, unsigned char* y, float* back, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < 256) {
    __nv_fp8_e4m3 p; p.__x = i; back[i] = float(p);
    __nv_fp8_e5m2 q; q.__x = i; back[256 + i] = float(q);
  }
  if (i >= n) return;
  y[i] = __nv_fp8_e4m3(x[i]).__x, y[n + i] = __nv_fp8_e5m2(x[i]).__x;
  y[2 * n + i] = __nv_cvt_float_to_fp8(x[i], __NV_NOSAT, __NV_E4M3), y[3 * n + i] = __nv_cvt_float_to_fp8(x[i], __NV_NOSAT, __NV_E5M2);
}
"""
VIDEO = """add sub addss addus subss subus avgs avgu haddu absdiffs absdiffu maxs maxu mins minu
cmpeq cmpne cmpges cmpgeu cmpgts cmpgtu cmples cmpleu cmplts cmpltu
seteq setne setges setgeu setgts setgtu setles setleu setlts setltu""".split()
DIRECTED = [  # function, its arguments' types, the true value
    ("__fadd", "ff", lambda a, b: a + b),
    ("__fsub", "ff", lambda a, b: a - b),
    ("__fmul", "ff", lambda a, b: a * b),
    ("__fdiv", "ff", lambda a, b: a / b),
    ("__frcp", "f", lambda a: 1 / a),
    ("__fmaf", "fff", lambda a, b, c: a * b + c),
    ("__dadd", "dd", lambda a, b: a + b),
    ("__dsub", "dd", lambda a, b: a - b),
    ("__dmul", "dd", lambda a, b: a * b),
    ("__ddiv", "dd", lambda a, b: a / b),
    ("__drcp", "d", lambda a: 1 / a),
]
BOTH = pytest.mark.parametrize("mode", ["checked", "fast"])


def arithmetic():
    code = [
        'extern "C" __global__ void video(const unsigned* a, const unsigned* b, unsigned* y, int n) {'
    ]
    code.append("  int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return; y += i;")
    code += [f"  *y = __v{f}{k}(a[i], b[i]); y += n;" for k in (2, 4) for f in VIDEO]
    code += [
        f"  *y = __v{f}{k}(a[i]); y += n;" for k in (2, 4) for f in ("abs", "neg", "absss", "negss")
    ]
    code += [f"  *y = __v{f}{k}(a[i], b[i]); y += n;" for k in (2, 4) for f in ("sads", "sadu")]
    code.append("}")
    types = {"f": "float", "d": "double"}
    for letter in "fd":
        T = types[letter]
        code.append(
            f'extern "C" __global__ void directed_{letter}(const {T}* a, const {T}* b, const {T}* c, {T}* y, int n) {{'
            "int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return; y += i;"
        )
        for name, kinds, _ in DIRECTED:
            if kinds[0] == letter:
                given = ", ".join(f"{p}[i]" for p in "abc"[: len(kinds)])
                code += [f"*y = {name}_{end}({given}); y += n;" for end in ("rz", "ru", "rd")]
        root = "__fsqrt" if letter == "f" else "__dsqrt"
        code += [f"*y = {root}_{end}(fabs(a[i])); y += n;" for end in ("rz", "ru", "rd")]
        code.append("}")
    return "\n".join(code)


@pytest.fixture(scope="module")
def module():
    return RawModule(code=CODE, name_expressions=["a::b::in_space<float>"])


@BOTH
def test_the_language(module, mode):
    y, t = np.zeros((32, 8), np.float32), np.arange(32)
    with settings(mode=mode):
        module.get_function("language")((1,), (32,), (y,), shared_mem=128)
        expected = [33 - t, 31 - t + 6, t + 1, np.where(t % 2, 25, 1), t % 4 + 3, 32, 7]
        for column, values in enumerate([*expected, np.where(t, ord("="), ord("x"))]):
            np.testing.assert_array_equal(y[:, column], np.broadcast_to(values, 32), str(column))
        x = np.zeros(4, np.float32)
        module.get_function("a::b::in_space<float>")((1,), (4,), (x,))
        assert x.tolist() == [3, 4, 3, 4]
        module.get_function("c_in_space")((1,), (4,), (x,))
        assert x.tolist() == [5, 5, 5, 5]
        assert module.get_global("a::b::calls").view(np.int32)[0] >= 4
        y = np.zeros(9, np.int32)
        module.get_function("swaps")((1,), (1,), (y,))
        assert y[:3].tolist() == [2, 21, 1 + 3 - 4 + 10 - 12 + 2 * 255 + 3 * 9]
        assert y[3:].tolist() == [2, 1, -2, 4, 1 + 8, -(2**31)]


@BOTH
def test_arrays_of_any_strides_and_addresses(module, mode):
    """As they lie in memory, where the kernel is told strides; bounds are those of the memory."""
    kernel, base = (
        module.get_function("told_strides"),
        np.arange(24, dtype=np.float32).reshape(4, 6),
    )
    with settings(mode=mode):
        for x in (np.asfortranarray(base), base.T, base[:, ::2], base[1:3, 2:5]):
            y, strides = np.zeros(x.shape, np.float32), [n // 4 for n in x.strides]
            middle = y.ctypes.data + 4 if x is base.T else None
            kernel((1,), (x.size,), (x, y, middle, x.shape[1], *strides))
            np.testing.assert_array_equal(y, x)
        y = np.zeros(8, np.float32)
        kernel((1,), (4,), (base[:, 2:4], y, y.ctypes.data + 20, 1, 6, 1))
        assert y.tolist() == [2, 8, 14, 20, 0, 0, 7, 0]
        with pytest.raises(ValueError, match="with strides was given"):
            kernel((1,), (4,), (base[::-1], y, None, 6, 6, 1))
    if mode == "checked":
        with pytest.raises(KernelFault, match="element 24 of `x`, which has 20 elements"):
            kernel((1,), (2,), (base[:, 2:4], y, None, 2, 6, 24))
        with pytest.raises(KernelFault, match="writes element 8 of `y`, which has 8"):
            kernel((1,), (1,), (base, y, y.ctypes.data + 28, 6, 6, 1))


@BOTH
def test_files_of_a_project_are_read_as_its_source_is(tmp_path, mode):
    """Their kernels, variables and shared memory; a fault in one is told with its line there."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "low.h").write_text("#pragma once\n__constant__ float w[2] = {2, 3};\n")
    (tmp_path / "shut.h").write_text("__constant__ float absent; __shared__ float absent_too;")
    (tmp_path / "tile.cuh").write_text(
        """#include "sub/../sub/low.h"
        extern __shared__ float dynamic[];
        #if USE_HIP
        #include "shut.h"
        #endif
        template <class T> __device__ T sum(T v) {
          __shared__ T s[32];
          s[threadIdx.x] = v; __syncthreads();
          T r = 0; for (int i = 0; i < blockDim.x; i++) r += s[i];
          return r; }
        extern "C" __global__ void theirs(float* y) { y[threadIdx.x] = w[1] * sum(1.0f); }"""
    )
    code = """
    #include "tile.cuh"
    #include <sub/low.h>
    #define BOUNDS(n) __launch_bounds__(n)
    #define EACH(F) F(float, mine) F(int, other)
    #define MAKE(T, NAME) extern "C" __global__ void BOUNDS(8) NAME##_##T(T* y) { \\
      dynamic[threadIdx.x] = w[0]; y[threadIdx.x] = dynamic[threadIdx.x] * sum(T(1)); }
    EACH(MAKE)
    """
    module, y = RawModule(code=code, options=(f"-I{tmp_path}",)), np.zeros(8, np.float32)
    with settings(mode=mode):
        module.get_function("theirs")((1,), (8,), (y,))
        assert y.tolist() == [24] * 8
        module.get_global("w").view(np.float32)[0] = 5
        module.get_function("mine_float")((1,), (8,), (y,), shared_mem=32)
        assert (
            y.tolist() == [40] * 8 and module.get_function("other_int").max_threads_per_block == 8
        )
    if mode == "checked":
        with pytest.raises(KernelFault, match=r"line \d+ \(tile.cuh:11\): ext"):
            module.get_function("theirs")((1,), (9,), (y,))
        for wrong, error, said in (
            ("return none;", CompileError, "‘none|'none|identifier 'none"),
            ('asm("trap;");', NotModeled, "inline PTX"),
            ("__shared__ int x = 1;", ValueError, "cannot be given a value"),
        ):
            (tmp_path / "tile.cuh").write_text(f"\n__device__ int f() {{ {wrong} }}")
            with pytest.raises(error, match=rf"line \d+ \(tile.cuh:2\): .*({said})"):
                RawModule(code=code, options=(f"-I{tmp_path}",)).compile()


def test_a_pointer_in_a_variable_is_that_of_its_own_library():
    """Each mode has a library of its own, and a child that is started again loads it elsewhere."""
    module = RawModule(code=CODE, name_expressions=["a::b::in_space<float>"])
    y = np.zeros(2, np.float32)
    with pytest.raises(KernelFault, match="element 2 of `y`"):
        module.get_function("by_table")((1,), (3,), (y,))
    for n, mode in enumerate(["checked", "fast", "checked", "fast"], 1):
        with settings(mode=mode):
            module.get_function("by_table")((1,), (2,), (y,))
        checked._child.close()
        assert y.tolist() == [2 + 3, -2 - 6]
        assert module.get_global("a::b::calls").view(np.int32)[0] == 2 * n
    changes = module.get_global("changes").view(np.uint64)
    changes[:] = changes[::-1].copy()
    module.get_function("by_table")((1,), (2,), (y,))
    assert y.tolist() == [-1 + 3, 4 - 6]


@pytest.mark.skipif(bool(nvrtc.available()), reason=nvrtc.available())
def test_nvidias_compiler_takes_the_same():
    assert nvrtc.compile_check(CODE, ["a::b::in_space<float>"], "compute_90").errors == []
    assert nvrtc.compile_check(arithmetic(), arch="compute_90").errors == []


def around(values):
    """Numbers, those halfway between two of them, and their neighbors on both sides."""
    values = np.unique(values[np.isfinite(values)].astype(np.float64))
    middle = np.concatenate([values, (values[1:] + values[:-1]) / 2]).astype(np.float32)
    return np.concatenate(
        [middle, *(np.nextafter(middle, np.float32(s)) for s in (-np.inf, np.inf))]
    )


def test_eight_bits_exactly(module):
    """All 256 numbers of both kinds to float; to 8 bits every place where the rounding changes."""
    code = np.arange(256)
    fraction, exponent = code & 7, code >> 3 & 15
    e4m3 = np.where(exponent, (8.0 + fraction) * 2.0 ** (exponent - 10), fraction * 2.0**-9)
    e4m3 = np.where(code < 128, e4m3, -e4m3)
    e4m3[[127, 255]] = np.nan
    e5m2 = (code.astype(np.uint16) << 8).view(np.float16).astype(np.float64)
    more = np.float32([448, 464, 480, 57344, 61440, 1e38, -1e38, np.inf, -np.inf, np.nan])
    x = np.concatenate([around(e4m3), around(e5m2), more]).astype(np.float32)
    n = x.size
    y, back = np.zeros((4, n), np.uint8), np.zeros((2, 256), np.float32)
    with settings(mode="fast"):
        module.get_function("eighths")((-(-n // 256),), (256,), (x, y, back, np.int32(n)))
    np.testing.assert_array_equal(back, np.float32([e4m3, e5m2]))
    for row, (numbers, most, beyond) in enumerate(
        [(e4m3, 0x7E, 0x7E), (e5m2, 0x7B, 0x7B), (e4m3, 0x7E, 0x7F), (e5m2, 0x7B, 0x7C)]
    ):
        finite = numbers[: most + 1]
        step = finite[most] + (finite[most] - finite[most - 1]) / 2  # from here on: too large
        size = np.abs(x.astype(np.float64))
        distance = np.abs(size[:, None] - finite)
        least = distance.min(1, keepdims=True)
        tied = (distance == least) & (np.arange(most + 1) % 2 == 0)  # a tie goes to the even code
        near = np.where(tied.any(1), tied.argmax(1), distance.argmin(1))
        large = (size > step) | ((size == step) & (most % 2 == 1))
        wanted = np.where(large, beyond, near) | np.where(np.signbit(x), 128, 0)
        wanted = np.where(np.isnan(x), 0x7F, wanted)
        np.testing.assert_array_equal(y[row], wanted, str(row))


@pytest.fixture(scope="module")
def calculated():
    return RawModule(code=arithmetic())


def parts(word, k, signed):
    return word.view(f"{'<i' if signed else '<u'}{4 // k}").astype(np.int64).reshape(-1, k)


def test_parts_of_a_word(calculated):
    rng = np.random.default_rng(0)
    edges = np.uint32([0, 0x80808080, 0x7F7F7F7F, 0xFFFFFFFF, 0x80008000, 0x7FFF7FFF, 0x01FF0080])
    a = np.concatenate([np.repeat(edges, 7), rng.integers(0, 2**32, 300, np.uint32)])
    b = np.concatenate([np.tile(edges, 7), rng.integers(0, 2**32, 300, np.uint32)])
    rows = 2 * (len(VIDEO) + 4 + 2)
    y = np.zeros((rows, a.size), np.uint32)
    with settings(mode="fast"):
        calculated.get_function("video")((4,), (128,), (a, b, y, np.int32(a.size)))
    found = iter(y)

    def check(name, k, values):
        kind = f"u{4 // k}"
        wanted = np.ascontiguousarray(values.astype(np.int64).astype(kind)).view(np.uint32).ravel()
        np.testing.assert_array_equal(next(found), wanted, f"__v{name}{k}")

    def clip(v, k, signed):
        bits = 32 // k
        return (
            np.clip(v, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            if signed
            else np.clip(v, 0, 2**bits - 1)
        )

    compare = {"eq": np.equal, "ne": np.not_equal, "ge": np.greater_equal, "gt": np.greater}
    compare |= {"le": np.less_equal, "lt": np.less}
    for k in (2, 4):
        for name in VIDEO:
            signed = name.endswith("s") and name not in ("addus", "subus")
            p, q = parts(a, k, signed), parts(b, k, signed)
            if name[:3] in ("cmp", "set"):
                check(name, k, compare[name[3:5]](p, q) * (-1 if name[:3] == "cmp" else 1))
                continue
            values = {"add": p + q, "sub": p - q, "max": np.maximum(p, q), "min": np.minimum(p, q)}
            values |= {"had": (p + q) >> 1, "abs": np.abs(p - q)}
            # the mean of two, a half rounded away from zero
            values["avg"] = np.sign(p + q) * ((np.abs(p + q) + 1) // 2)
            if name == "avgs":
                values["avg"] = (p + q + (p + q >= 0)) >> 1
            value = values[name[:3]]
            check(name, k, clip(value, k, signed) if name[3:] in ("ss", "us") else value)
    for k in (2, 4):
        p = parts(a, k, True)
        for name, value in [("abs", np.abs(p)), ("neg", -p), ("absss", np.abs(p)), ("negss", -p)]:
            check(name, k, clip(value, k, True) if name.endswith("ss") else value)
    for k in (2, 4):
        for signed in (True, False):
            total = np.abs(parts(a, k, signed) - parts(b, k, signed)).sum(1)
            np.testing.assert_array_equal(next(found), total.astype(np.uint32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_in_a_direction(calculated, dtype):
    """Against fractions: no number of the type lies between the true value and the result."""
    rng, info, letter = (
        np.random.default_rng(1),
        np.finfo(dtype),
        "f" if dtype == np.float32 else "d",
    )
    edges = [info.smallest_subnormal, info.tiny, info.max, -info.max, 1, -1, 3, 1 + info.eps]
    drawn = rng.normal(size=(3, 200)) * 2.0 ** rng.integers(-60, 60, (3, 200))
    small = rng.normal(size=(3, 60)) * float(info.tiny) ** 0.5
    pairs = np.array([(p, q, r) for p in edges for q in edges for r in (0.0, 1.0)]).T
    a, b, c = np.concatenate([pairs, drawn, small], axis=1).astype(dtype)
    calls = [row for row in DIRECTED if row[1][0] == letter]
    y = np.zeros((3 * len(calls) + 3, a.size), dtype)
    with settings(mode="fast"):
        calculated.get_function(f"directed_{letter}")(
            (-(-a.size // 128),), (128,), (a, b, c, y, np.int32(a.size))
        )
    compared = 0
    for k, (name, kinds, true) in enumerate([*calls, ("sqrt", letter, None)]):
        for i in range(a.size):
            given = [Fraction(float(v[i])) for v in (a, b, c)[: len(kinds)]]
            zero, up, down = y[3 * k : 3 * k + 3, i]
            if true is None:  # of a root the square is compared
                lower, upper, exact = (
                    Fraction(float(down)) ** 2,
                    Fraction(float(up)) ** 2,
                    abs(given[0]),
                )
                assert lower <= exact <= upper and zero == down
                assert down == up or up == np.nextafter(down, dtype(np.inf))
                continue
            exact = true(*given)
            if np.isinf(up):
                assert exact > Fraction(float(info.max)) and down == info.max, (name, given)
            elif np.isinf(down):
                assert exact < Fraction(float(-info.max)) and up == -info.max, (name, given)
            else:
                assert Fraction(float(down)) <= exact <= Fraction(float(up)), (name, given)
                assert down == up or up == np.nextafter(down, dtype(np.inf)), (name, given)
                assert (down == up) == (Fraction(float(down)) == exact), (name, given)
            assert zero == (up if exact < 0 else down), (name, given)
            compared += 1
    assert compared > 1500


def test_options_of_every_kind():
    """Names of -D may be those of our own headers; options for tuning change nothing."""
    code = """
    #include <cuda_fp16.h>
    #if __cplusplus < 202002L
    #error not C++20
    #endif
    template <class Value> concept Small = sizeof(Value) <= 4;
    extern "C" __global__ void k(float* y) { y[0] = A + Change + Piece + Launch + Held; Small auto z = y[0]; y[1] = z + X(2); y[2] = __hadd(__half(1), __half(2)); }"""
    options = (
        "-DA=5",
        "-DChange=1",
        "-DPiece=2",
        "-D",
        "Launch=3",
        "--define-macro=Held=4",
        "-DX(n)=(n * 2)",
        "-std=c++20",
    )
    options += (
        "-O3",
        "--ftz=true",
        "-use_fast_math",
        "--prec-div=false",
        "-arch",
        "sm_80",
        "-Xptxas",
        "-v",
        "-lineinfo",
    )
    for mode in ("checked", "fast"):
        y = np.zeros(3, np.float32)
        with settings(mode=mode):
            RawModule(code=code, options=options).get_function("k")((1,), (1,), (y,))
        assert y.tolist() == [15, 19, 3]
    with pytest.raises(ValueError, match="--include-everything"):
        RawModule(code=code, options=("--include-everything",)).compile()
