"""CUDA's functions and CUDA's types: which calls NVIDIA's compiler takes, and what they give.

Each function is called with each combination of types, once by NVRTC and once here. A call that is
refused by one must be refused by the other, and the results must have the same type.
"""

import itertools
import re

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.cuda_on_cpu import RawModule, nvrtc, settings

needs_both = pytest.mark.skipif(bool(nvrtc.available()), reason=nvrtc.available())
pytestmark = [needs_compiler, needs_both]

INTEGERS = ["int", "unsigned", "long", "unsigned long", "long long", "unsigned long long"]
NUMBERS = [*INTEGERS, "float", "double", "short", "char", "bool"]
FEW = ["int", "unsigned", "long long", "float", "double"]
HALVES = ["__half", "__nv_bfloat16", "__half2", "__nv_bfloat162"]
OTHERS = ["float2", "float4", "float*", "unsigned char", "signed char", "unsigned short"]
TYPES = ["void", *NUMBERS, *HALVES, *OTHERS]
BOTH = """acos acosh asin asinh atan atanh cbrt ceil cos cosh cospi cyl_bessel_i0
cyl_bessel_i1 erf erfc erfcinv erfcx erfinv exp exp10 exp2 expm1
fabs floor ilogb j0 j1 lgamma llrint llround log log10 log1p log2 logb lrint lround nearbyint
normcdf normcdfinv rcbrt rint round rsqrt sin sinh sinpi sqrt tan tanh tgamma trunc y0 y1""".split()
BOTH_OF_TWO = """atan2 copysign fdim fdivide fmod hypot nextafter remainder rhypot scalbn scalbln
jn yn""".split()
ONE = """abs labs llabs isnan isinf isfinite signbit __popc __popcll __clz __clzll __ffs __ffsll
__brev __brevll __float_as_int __int_as_float __float_as_uint __uint_as_float __expf __logf __log2f
__log10f __sinf __cosf __tanf __exp10f __frsqrt_rn __saturatef __float2int_rn""".split()
TWO = "__powf __fdividef __fadd_rn __fmul_rn __mulhi __umulhi __mul24 __hadd umin llmax".split()
ATOMIC = "Add Sub Exch Min Max Inc Dec And Or Xor".split()
SHUFFLES = "__shfl_sync __shfl_up_sync __shfl_down_sync __shfl_xor_sync".split()
MATCHES = "__match_any_sync __reduce_add_sync __reduce_max_sync __reduce_and_sync".split()


def calls():
    """(function, types of its arguments), of each call that is tried."""
    pairs = list(itertools.product(["int", "float", "double"], repeat=2))
    for name in [*BOTH, *(f"{n}f" for n in BOTH), *ONE]:
        yield from ((name, (kind,)) for kind in NUMBERS)
    for name in [*BOTH_OF_TWO, *(f"{n}f" for n in BOTH_OF_TWO), *TWO]:
        yield from ((name, pair) for pair in pairs)
    for name in ["max", "min", "pow", "fmax", "fmin", "ldexp"]:
        yield from ((name, pair) for pair in itertools.product(NUMBERS, NUMBERS))
    for name in ["fma", "fmaf", "norm3d"]:
        yield from (
            (name, three) for three in itertools.product(["int", "float", "double"], repeat=3)
        )
    for name in [f"atomic{n}{scope}" for n in ATOMIC for scope in ("", "_block")]:
        kinds = [*NUMBERS, "unsigned short", "volatile int", "const int", "void"]
        yield from ((name, (f"{kind}*", v)) for kind in kinds for v in ("int", "double"))
    for kind in [*NUMBERS, "unsigned short"]:
        yield "atomicCAS", (f"{kind}*", "int", "float")
    for kind in [*NUMBERS, *OTHERS]:
        yield from ((name, ("unsigned", kind, "int")) for name in SHUFFLES)
        yield from ((name, ("unsigned", kind)) for name in MATCHES)
    yield from (("__ldg", (f"const {kind}*",)) for kind in [*NUMBERS, *HALVES, *OTHERS[:2]])


OPERATORS = "+ - * / < == != && +=".split()


def operations():
    """(operator, two types), of numbers of 16 bits with each other and with all others."""
    for operator in OPERATORS:
        for pair in itertools.product([*HALVES, *FEW, "bool"], repeat=2):
            if set(pair) & set(HALVES):
                yield operator, pair


def source(questions):
    """The questions as CUDA: `answers` holds for each the number of the type, 0 where refused."""
    code = ["#include <cuda_fp16.h>\n#include <cuda_bf16.h>\ntemplate <class T> struct id {};"]
    for number, kind in enumerate(TYPES, 1):
        code.append(f"__device__ constexpr int of(id<{kind}>) {{ return {number}; }}")
    code.append("template <class T> __device__ constexpr int of(id<T&>) { return of(id<T>()); }")
    code.append(
        "template <class T> __device__ constexpr int of(id<const T&>) { return of(id<T>()); }"
    )
    code.append("template <class T> __device__ constexpr int of(id<T>) { return 99; }")
    code.append("template <class T> T v(); template <class T> T& r();")
    asked, made = [], {}
    for name, kinds in questions:
        if (name, len(kinds)) not in made:
            space = made[name, len(kinds)] = f"question_{len(made)}"
            letters = "ABC"[: len(kinds)]
            values = [f"v<{letter}>()" for letter in letters]
            if name in OPERATORS:
                left = "r<A>()" if name == "+=" else "v<A>()"
                call = f"{left} {name} {values[1]}"
            else:
                call = f"{name}({', '.join(values)})"
            classes = ", ".join(f"class {letter}" for letter in letters)
            code.append(
                f"namespace {space} {{ template <{classes}> __device__ constexpr auto q(int) -> "
                f"decltype({call}, 0) {{ return of(id<decltype({call})>()); }}\n"
                f"template <{classes}> __device__ constexpr int q(...) {{ return 0; }} }}"
            )
        asked.append(f"{made[name, len(kinds)]}::q<{', '.join(kinds)}>(0)")
    answers = ", ".join(asked)
    code.append(f"__constant__ int answers[] = {{{answers}}};")
    code.append('extern "C" __global__ void ask(int* y) {')
    code.append("  for (int i = threadIdx.x; i < N; i += blockDim.x) y[i] = answers[i]; }")
    return "\n".join(code), len(asked)


def by_nvrtc(code, n):
    options = ("-default-device", f"-DN={n}")
    result = nvrtc.compile_check(code, arch="compute_90", options=options)
    assert result.ok, result.errors[:3]
    table = re.search(r"answers\[\d+\] = \{([^}]*)\}", result.ptx)
    found = [int(byte) for byte in table[1].split(",")]
    return (found + [0] * (4 * n - len(found)))[::4]


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.adversary)])
def test_the_same_calls_are_taken_and_give_the_same_types(every):
    questions = [*calls(), *operations()][::every]  # 7 has no factor in common with the lists
    code, n = source(questions)
    here = np.zeros(n, np.int32)
    with settings(mode="fast"):
        options = ("-default-device", f"-DN={n}")
        RawModule(code=code, options=options).get_function("ask")((1,), (256,), (here,))
    names = ["refused", *TYPES, *["another"] * 99]
    differ = [
        f"{name}({', '.join(kinds)}): {names[there]} by NVRTC, {names[ours]} here"
        for (name, kinds), there, ours in zip(
            questions, by_nvrtc(code, n), here.tolist(), strict=True
        )
        if there != ours
    ]
    assert n * every > 2500 and differ == []
