"""What is read from a source: a table of plain declarations, and of easily misread ones."""

import sys

import numpy as np
import pytest

from embag_edu.cuda_on_cpu.preprocessor import predefined
from embag_edu.cuda_on_cpu.refuse import NotModeled, refuse
from embag_edu.cuda_on_cpu.rewrite import rewrite
from embag_edu.cuda_on_cpu.signature import parameters
from embag_edu.cuda_on_cpu.source import TemplateParameter, global_variables, instances, kernels
from embag_edu.cuda_on_cpu.tokens import SourceError, strip

LONG = "int32" if sys.platform == "win32" else "int64"

# what is written between the brackets -> (name, type, pointer, const, dtype, lanes)
PARAMETERS = [
    ("const float* __restrict__ x", ("x", "const float*", True, True, "float32", 1)),
    ("float const *x", ("x", "const float*", True, True, "float32", 1)),
    ("float *const x", ("x", "float* const", True, False, "float32", 1)),
    ("const int n", ("n", "const int", False, False, "int32", 1)),
    ("int", ("", "int", False, False, "int32", 1)),
    ("unsigned", ("", "unsigned", False, False, "uint32", 1)),
    ("const float*", ("", "const float*", True, True, "float32", 1)),
    ("unsigned n", ("n", "unsigned", False, False, "uint32", 1)),
    ("unsigned long long int n", ("n", "unsigned long long int", False, False, "uint64", 1)),
    ("long n", ("n", "long", False, False, LONG, 1)),
    ("long unsigned int n", ("n", "long unsigned int", False, False, "u" + LONG, 1)),
    ("signed char c", ("c", "signed char", False, False, "int8", 1)),
    ("char c", ("c", "char", False, False, "int8", 1)),
    ("std::int64_t n", ("n", "int64_t", False, False, "int64", 1)),
    ("const size_t n", ("n", "const size_t", False, False, "uint64", 1)),
    ("ptrdiff_t n", ("n", "ptrdiff_t", False, False, "int64", 1)),
    ("float x[]", ("x", "float*", True, False, "float32", 1)),
    ("const float x[32]", ("x", "const float*", True, True, "float32", 1)),
    ("const float x[][32]", ("x", "const float*", True, True, "float32", 1)),
    ("float (*x)[32]", ("x", "float*", True, False, "float32", 1)),
    ("float** x", ("x", "float**", True, False, None, 1)),
    ("const float* const* x", ("x", "const float* const*", True, True, None, 1)),
    ("float4* __restrict__ x", ("x", "float4*", True, False, "float32", 4)),
    ("const uchar4 *x", ("x", "const uchar4*", True, True, "uint8", 4)),
    ("double2 x", ("x", "double2", False, False, "float64", 2)),
    ("float3 x", ("x", "float3", False, False, "float32", 3)),
    ("const __half* x", ("x", "const __half*", True, True, "float16", 1)),
    ("half2* x", ("x", "half2*", True, False, "float16", 2)),
    ("__nv_bfloat16* x", ("x", "__nv_bfloat16*", True, False, "bfloat16", 1)),
    ("const void* x", ("x", "const void*", True, True, "void", 1)),
    ("volatile int* x", ("x", "int*", True, False, "int32", 1)),
    ("bool b", ("b", "bool", False, False, "bool", 1)),
    ("long double x", ("x", "long double", False, False, None, 1)),
    ("struct Pair p", ("p", "Pair", False, False, None, 1)),
    ("const __grid_constant__ Pair p", ("p", "const Pair", False, False, None, 1)),
    ("Pair* p", ("p", "Pair*", True, False, None, 1)),
    ("A<B<int>> a", ("a", "A<B<int>>", False, False, None, 1)),
    ("A<B<int>, 3>* a", ("a", "A<B<int>, 3>*", True, False, None, 1)),
    ("A<float*> a", ("a", "A<float*>", False, False, None, 1)),
    ("typename A<int>::type a", ("a", "A<int>::type", False, False, None, 1)),
    ("float (*f)(float, int)", ("f", "float (*) (float, int)", False, False, None, 1)),
    ("const float& x", ("x", "const float&", False, False, None, 1)),
    ("int n = (1, 2)", ("n", "int", False, False, "int32", 1)),
    ("alignas(16) float4 v", ("v", "float4", False, False, "float32", 4)),
    ("real* x", ("x", "double*", True, False, "float64", 1)),
    ("const index_t* i", ("i", "const long long*", True, True, "int64", 1)),
    ("WORD w", ("w", "unsigned int", False, False, "uint32", 1)),
    ("pointer p", ("p", "float*", True, False, "float32", 1)),
    ("const pointer p", ("p", "float* const", True, False, "float32", 1)),
    ("pointer* p", ("p", "float**", True, False, None, 1)),
    ("both x", ("x", "?", False, False, None, 1)),
]
ALIASES = """
using real = double;
typedef long long index_t;   // typedef float index_t;
#define WORD unsigned int
typedef float* pointer;
typedef void (*callback)(int);
#if __CUDA_ARCH__ > 800
using both = float;
#else
using both = double;
#endif
"""


@pytest.mark.parametrize(("written", "wanted"), PARAMETERS, ids=[row[0] for row in PARAMETERS])
def test_parameter(written, wanted):
    code = ALIASES + f"__global__ void k(int first, {written}) {{ }}"
    found = parameters(code, "k")
    assert [p.name for p in found][0] == "first"
    p = found[1]
    assert (p.name, p.type, p.pointer, p.const, p.dtype, p.lanes) == wanted
    assert p.dtype in (None, "void", "bfloat16") or np.dtype(p.dtype)


KERNELS = [
    # source, [(name, number of parameters, line, extern_c, max_threads)]
    ("__global__ void k() {}", [("k", 0, 1, False, "")]),
    ("__global__ void k(void) {}", [("k", 0, 1, False, "")]),
    ('extern "C" __global__ void k(int a, A<int, 2> b) {}', [("k", 2, 1, True, "")]),
    ('extern "C" {\n__global__ void k() {}\n}\n__global__ void l(){}', None),
    ("__global__ void __launch_bounds__(128) k(int n) {}", [("k", 1, 1, False, "128")]),
    ("__global__ __launch_bounds__(N, 2) void k(int n) {}", [("k", 1, 1, False, "N")]),
    ("__global__ void __launch_bounds__(16*16) k() {}", [("k", 0, 1, False, "16 * 16")]),
    ("__launch_bounds__(64, 2) __global__ static void k(int n) {}", [("k", 1, 1, False, "64")]),
    ("// __global__ void no() {}\n/* __global__ void no(){} */ __global__ void k(){}", None),
    ('auto s = "__global__ void no() {}"; __global__ void k(){}', [("k", 0, 1, False, "")]),
    ("#define K __global__ void no()\n__global__ void k(){}", [("k", 0, 2, False, "")]),
    ("#if 0\n__global__ void no(){}\n#else\n__global__ void k(){}\n#endif", None),
    ("#ifndef CUDA_ON_CPU\n__global__ void no(){}\n#endif\n__global__ void k(){}", None),
    ("__global__ void k(int n);\n__global__ void k(int n) {}", [("k", 1, 2, False, "")]),
    ("template <class T> __global__ void k(T* x) {}\ntemplate __global__ void k<int>(int*);", None),
    ("template <class T> __global__ void k(T* x){}\ntemplate <> __global__ void k<int>(int*){}",
     None),
    ("namespace a { __global__ void k() {} }", [("k", 0, 1, False, "")]),
    ("#ifdef A\n__global__ void k(int a) {\n#else\n__global__ void k(float a) {\n#endif\n}\n"
     "__global__ void l() {}", None),
    ("char c = '{'; int n = 1'000; __global__ void k() {}", [("k", 0, 1, False, "")]),
    ("__device__ void f() { }\n__global__\nvoid\nk(\n  int a,\n  int b)\n{}", None),
    ("", []),
    ("__global__ void", []),
]  # fmt: skip
FOUND = {  # of the rows above that say None
    3: [("k", 0, 2, True, ""), ("l", 0, 4, False, "")],
    8: [("k", 0, 2, False, "")],
    11: [("k", 0, 4, False, "")],
    12: [("k", 0, 4, False, "")],
    14: [("k", 1, 1, False, "")],
    15: [("k", 1, 1, False, "")],
    17: [("k", 1, 4, False, ""), ("l", 0, 7, False, "")],
    19: [("k", 2, 4, False, "")],
}


@pytest.mark.parametrize("row", range(len(KERNELS)))
def test_kernels(row):
    code, wanted = KERNELS[row]
    found = kernels(code)
    short = [(k.name, len(k.parameters), k.line, k.extern_c, k.max_threads) for k in found.values()]
    assert short == (FOUND[row] if wanted is None else wanted)
    assert list(found) == [k.name for k in found.values()]


TEMPLATE = """
template <typename T, typename I = int, int N = 4, bool FULL = (N > 2), class = A<B<int>>>
__global__ void forward(const T* weight, const I* input, T* output, I n, X<T, N> x) {}
template <int N> __global__ void fixed(float* x) {}
template <typename A, typename B> __global__ void swap(A a, B b) {}
template <typename... Ts> __global__ void pack(Ts... x) {}
__global__ void plain(float* x) {}
typedef float A;
"""
INSTANCES = [
    ("forward<float, long long, 4>", ["float32", "int64", "float32", "int64", None]),
    ("forward<__half>", ["float16", "int32", "float16", "int32", None]),
    ("forward<const float, int>", ["float32", "int32", "float32", "int32", None]),
    ("&forward< double , unsigned char >", ["float64", "uint8", "float64", "uint8", None]),
    ("forward<float*>", [None, "int32", None, "int32", None]),
    ("forward<A>", ["float32", "int32", "float32", "int32", None]),
    ("fixed<(3 > 2) ? 1 : 2>", ["float32"]),
    ("swap<int, A>", ["int32", "float32"]),
    ("swap<A, REAL>", ["float32", "float64"]),
    ("plain", ["float32"]),
]


@pytest.mark.parametrize(("expression", "dtypes"), INSTANCES, ids=[row[0] for row in INSTANCES])
def test_instances_of_templates(expression, dtypes):
    found = parameters(TEMPLATE, expression, ("-std=c++17", "-DREAL=double", "-D", "N=3"))
    assert [p.dtype for p in found] == dtypes


def test_template_parameters():
    found = kernels(TEMPLATE)["forward"].template_parameters
    assert found[:3] == (
        TemplateParameter("T", "typename", ""),
        TemplateParameter("I", "typename", "int"),
        TemplateParameter("N", "int", "4"),
    )
    assert found[4] == TemplateParameter("", "typename", "A<B<int>>")
    raw = kernels(TEMPLATE)["forward"].parameters
    assert [p.type for p in raw] == ["const T*", "const I*", "T*", "I", "X<T, N>"]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("forward", "forward<float, int, 4, "),
        ("swap<int>", "typename A, typename B"),
        ("swap<int, int, int>", "swap<float, float>"),
        ("plain<float>", "not a template"),
        ("pack<int>", "parameter pack"),
        ("absent", "it has forward, fixed, swap, pack, plain"),
    ],
)
def test_wrong_expressions(expression, says):
    with pytest.raises(ValueError, match=says):
        parameters(TEMPLATE, expression)


def test_strip_keeps_length_and_lines():
    code = 'int a; // "x\n/* b\n c */ char d = \'"\'; s = "a\\"b";'
    code += ' r = R"x(one\n)" two)x"; extern "C" k'
    found = strip(code)
    assert len(found) == len(code)
    assert [i for i, c in enumerate(code) if c == "\n"] == [
        i for i, c in enumerate(found) if c == "\n"
    ]
    assert found.split() == 'int a; char d = ; s = ; r = ; extern "C" k'.split()
    assert strip("int n = 1'000'000; char c = 'a';").split()[3] == "1'000'000;"


VARIABLES = [
    ("__constant__ float t[16];", [("t", True)]),
    ("__device__ __constant__ int a, b[2] = {1, 2};", [("a", True), ("b", True)]),
    ("__device__ int counter = 0;", [("counter", False)]),
    ("static __device__ unsigned long long n;", [("n", False)]),
    ("__device__ float (*table[2])(float) = {f, g};", [("table", False)]),
    ("__constant__ struct { int a; float b[3]; } p;", [("p", True)]),
    ("__constant__ Pair<int, float> p;", [("p", True)]),
    ("__constant__ alignas(16) float4 t[4];", [("t", True)]),
    ("__device__ float f(float x) { return x; }", []),
    ("__device__ __forceinline__ float f(float x);", []),
    ("template <typename T> __device__ T f(T x) { __device__ int y; return x; }", []),
    ("__device__ float4 operator+(float4 a, float4 b) { return a; }", []),
    ("struct S { __device__ int f() { return 1; } };", []),
    ("// __constant__ float t;\n", []),
    ("__device__ int f() { return 1; } __device__ int x;", [("x", False)]),
]


@pytest.mark.parametrize(("code", "wanted"), VARIABLES, ids=[row[0] for row in VARIABLES])
def test_global_variables(code, wanted):
    assert [(v.name, v.constant) for v in global_variables(code)] == wanted


def _static(declaration, names, line=2, count=0):
    references = "".join(f" auto& {n} = cuda_shared_at_{count}.{n};" for n in names)
    place = f'cuda_on_cpu::place<cuda_shared_{count}>("{", ".join(names)}", {line})'
    return (
        f"struct cuda_shared_{count} {{  {declaration}; }}; auto& cuda_shared_at_{count} = {place};"
        + references
    )


SHARED = [
    ("extern __shared__ float x[];", "float* x = (float*)cuda_on_cpu::dynamic_shared();"),
    ("extern __shared__ __align__(16) unsigned char raw[];",
     "unsigned char* raw = (unsigned char*)cuda_on_cpu::dynamic_shared();"),
    ("__shared__ extern alignas(8) T x[];", "T* x = (T*)cuda_on_cpu::dynamic_shared();"),
    ("extern __shared__ volatile X<T, 2> x [ ] ;",
     "volatile X<T, 2>* x = (volatile X<T, 2>*)cuda_on_cpu::dynamic_shared();"),
    ("extern __shared__ float x[][32];",
     "float (*x)[32] = (float (*)[32])cuda_on_cpu::dynamic_shared();"),
    ("extern\n__shared__\nfloat x[];", "float* x = (float*)cuda_on_cpu::dynamic_shared();\n\n"),
    ("__shared__ float a[32][33], b[4];", _static("float a[32][33], b[4]", ["a", "b"])),
    ("__shared__ alignas(16) float4 t[8];", _static("alignas(16) float4 t[8]", ["t"])),
    ("__shared__ __align__(16) float4 t[8];", _static("__align__(16) float4 t[8]", ["t"])),
    ("__shared__ typename X<T>::type s;", _static("typename X<T>::type s", ["s"])),
    ("__shared__ Pair<int, N> s, t;", _static("Pair<int, N> s, t", ["s", "t"])),
    ("__shared__ union { float f[32]; int i[32]; } u;",
     _static("union { float f[32]; int i[32]; } u", ["u"])),
    ("__shared__ volatile int flag;", _static("volatile int flag", ["flag"])),
    ("__shared__ float* p;", _static("float* p", ["p"])),
    ("__shared__ float (*p)[4];", _static("float (*p)[4]", ["p"])),
    ("static __shared__ int n;", _static(" int n", ["n"])),
    ("__shared__ static int n;", _static(" int n", ["n"])),
    ("alignas(16) __shared__ float a[4];", "struct cuda_shared_0 { alignas(16)  float a[4]; };"),
    ("unsigned long __shared__ a[4];", "struct cuda_shared_0 { unsigned long  a[4]; };"),
    ("float4 volatile __shared__ a;", "struct cuda_shared_0 { float4 volatile  a; };"),
    ("X<T, 2> __shared__ a;", "struct cuda_shared_0 { X<T, 2>  a; };"),
    ("float extern __shared__ a[];", "float* a = (float*)cuda_on_cpu::dynamic_shared();"),
    ("alignas(8) extern __shared__ T a[];", "T* a = (T*)cuda_on_cpu::dynamic_shared();"),
    ("volatile __shared__ int n;", "struct cuda_shared_0 { volatile  int n; };"),
    ("__shared__ int a[2], // rows\n  b[2];", _static("int a[2], // rows\n  b[2]", ["a", "b"])),
    ("__shared__ float a[N < 4 ? 1 : 2], b;", _static("float a[N < 4 ? 1 : 2], b", ["a", "b"])),
    ("// __shared__ float a;\n", "// __shared__ float a;\n"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "wanted"), SHARED, ids=[row[0] for row in SHARED])
def test_rewrite_shared(written, wanted):
    code = f"__global__ void k() {{\n  {written}\n  a[0] = 1; }}"
    found = rewrite(code)
    assert wanted in found
    assert found.count("\n") == code.count("\n")


WHOLE_COPIES = [
    (
        "struct alignas(16) Pack {\n  float x[4];\n};",
        "{ Pack() = default; CUDA_ON_CPU_WHOLE(Pack)\n",
    ),
    (
        "struct __align__(sizeof(T) * N) Pack { T x[N]; };",
        "{ Pack() = default; CUDA_ON_CPU_WHOLE(P",
    ),
    ("template <> struct alignas(4) Pack<half, 2> { half x[2]; };", "{ Pack() = default; CUDA_O"),
    (
        "struct alignas(8) P { float a, b; __device__ P(float x) {} };",
        "{ CUDA_ON_CPU_WHOLE(P) float",
    ),
    ("struct Plain { float x[4]; };", None),
    ("struct alignas(16) Later;", None),
    ("__constant__ struct alignas(16) { float x[4]; } unnamed;", None),
]


@pytest.mark.parametrize(("code", "wanted"), WHOLE_COPIES, ids=[row[0] for row in WHOLE_COPIES])
def test_rewrite_aligned_structs(code, wanted):
    found = rewrite(code)
    assert found == code if wanted is None else wanted in found
    assert found.count("\n") == code.count("\n")


def test_rewrite_counts_declarations_and_keeps_all_else():
    code = "__device__ void f() { __shared__ int a; }\n"
    code += "__global__ void k() {\n__shared__ int b; /* é */ }"
    found = rewrite(code)
    assert _static("int a", ["a"], line=1, count=0) in found
    assert _static("int b", ["b"], line=3, count=1) + " /* é */ }" in found
    assert rewrite("__global__ void k() { x(); }") == "__global__ void k() { x(); }"


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        ("__global__ void k() {\n\n__shared__ int n = 0; }", 3, "one thread store it"),
        ("__global__ void k() {\n __shared__ int n[2]{1, 2}; }", 2, "one thread store it"),
        ("__global__ void k() {\n __shared__ Box n(1); }", 2, "one thread store it"),
        ("__device__ void f(__shared__ float* p) {}", 1, "plain pointer"),
        ("__global__ void k() { if (1) __shared__ float x; }", 1, "stands before"),
        ("__global__ void k() { const __shared__ float x[4]; }", 1, "take const away"),
        ("__global__ void k() { extern __shared__ float x[4]; }", 1, "without a size"),
        ("__global__ void k() { extern __shared__ float x; }", 1, "without a size"),
        ("__global__ void k() { __shared__ float x[4] }", 1, "semicolon"),
        ("__global__ void k() { __shared__ ; }", 1, "no variable"),
        ("#define TILE(x) \\\n __shared__ char x[4] = #x\n", 1, "macro"),
        ("#if __shared__\n#endif\n", 1, "directive"),
    ],
)
def test_shared_that_cuda_refuses_too(code, line, says):
    with pytest.raises(SourceError, match=says) as error:
        rewrite(code)
    assert error.value.line == line


REFUSED = [
    ('\nasm volatile("mov.u32 %0, %smid;" : "=r"(x));', 2, "PTX"),
    ("f<<<1, 2>>>();", 1, "launch it from Python"),
    ("\nauto all = cg::this_multi_grid();", 2, "cooperative groups"),
    ("__shared__ cg::block_tile_memory<128> m;", 1, "cooperative groups"),
    ("#include <cooperative_groups/memcpy_async.h>", 1, "__pipeline_memcpy_async"),
    ("float r = __fma_rz(a, b, c);", 1, "__fma_rn"),
    ("unsigned a = __cvta_generic_to_shared(p);", 1, "PTX"),
    ("\ntemplate <class T> __device__ T x;", 2, "one for each type"),
    ("\n\nfloat a = tex2D<float>(t, x, y);", 3, "__ldg"),
    ("float a = tex1Dfetch(t, x);", 1, "__ldg"),
    ("void k(cudaTextureObject_t t);", 1, "__ldg"),
    ("using namespace nvcuda;", 1, "tensor cores"),
    ("wmma::mma_sync(c, a, b, c);", 1, "tensor cores"),
    ("cudaMalloc(&p, 4);", 1, "in Python"),
    ("cudaDeviceSynchronize();", 1, "in Python"),
    ("cuda::atomic<int> r;", 1, "cuda::"),
    ("cuda::barrier<cuda::thread_scope_block> b;", 1, "cuda::"),
    ("#include <cuda/barrier>", 1, "cuda::"),
    ("#  include <cub/device/device_reduce.cuh>", 1, "CUB"),
    ('#include "thrust/sort.h"', 1, "Thrust"),
    ("#include <curand_kernel.h>", 1, "NumPy"),
    ("#define F asm()", 1, "PTX"),
    ("__managed__ int x;", 1, "managed"),
    ("__global__ void __cluster_dims__(2, 1, 1) k() {}", 1, "single blocks"),
    ("unsigned n = __clusterDim().x;", 1, "single blocks"),
    ("curandState s; curand_init(1, 0, 0, &s);", 1, "NumPy"),
    ("thrust::reduce(y, y + 3);", 1, "Thrust"),
    ("typedef cub::BlockHistogram<int, 32, 1, 4> H;", 1, "CUB"),
    ("auto token = block.barrier_arrive();", 1, "__syncthreads"),
    ("auto g = cg::tiled_partition<64>(block);", 1, "one warp"),
    ("int a = __vimax3_s32(1, 2, 3);", 1, "write min, max"),
]
ALLOWED = [
    '#include <cuda_fp16.h>\n#include "cuda_runtime.h"',
    "// asm, tex2D(x), cudaMalloc(x)",
    'printf("cudaMalloc(%d)", 1);',
    "#ifndef CUDA_ON_CPU\nasm();\n#endif",
    "#if 0\n#include <cub/device/device_reduce.cuh>\n#endif",
    "#include <cub/cub.cuh>\n#include <cuda/atomic>",
    "thrust::complex<float> z; cub::BlockReduce<int, 32> r; cg::tiled_partition<32>(block);",
    "float curand_like(int s) { return s; } float f() { return curand_like(3); }",
    "int cudaProcess(int x) { return cudaProcess(x); }",
    "auto grid = cg::this_grid(); grid.sync(); grid.thread_rank(); warp.sync();",
    "float* p = new float[3]; malloc(3); int texture = 1; cuda_on_cpu::x(); a << b;",
]


@pytest.mark.parametrize(("code", "line", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refuse(code, line, says):
    with pytest.raises(NotModeled, match=says) as error:
        refuse(code), rewrite(code)
    assert error.value.line == line
    assert str(error.value).startswith(f"line {line}: ")


@pytest.mark.parametrize("code", ALLOWED)
def test_what_is_modeled_is_not_refused(code):
    refuse(code)


def test_instances_in_comments():
    code = "// instances: f<float, 4>,f<A<int>>\n  // instances: g<1>\n// instance: h<2>\n"
    assert instances(code) == ["f<float, 4>", "f<A<int>>", "g<1>"]


WHOLE = ALIASES + TEMPLATE + "".join(f"__device__ void f() {{ {row[0]} }}\n" for row in SHARED)


def test_half_a_source_is_no_surprise():
    """A source that somebody is still writing gives a SourceError at most."""
    for end in range(0, len(WHOLE), 7):
        code = WHOLE[:end]
        kernels(code), global_variables(code), refuse(code)
        try:
            assert rewrite(code).count("\n") == code.count("\n")
        except SourceError as error:
            assert error.line


SM_80 = tuple(f"-D{name}={value}" for name, value in predefined("sm_80").items())
CHOICES = """
#define BIG 1
#ifdef BIG
__global__ void big(int n) {}
#endif
#undef BIG
#if defined(BIG)
__global__ void no(int n) {}
#endif
#ifndef DOUBLE
typedef float real;
__device__ real sum;
#else
typedef double real;
__constant__ real sum;
#if ! defined ( TINY )
__global__ void tiny(real x) {}
#endif
#endif
#if X(3)
__global__ void asked(real x) {}
#endif
#ifdef __CUDA_ARCH__
__global__ void device(real x) {}
#endif
"""


@pytest.mark.parametrize(
    ("options", "names", "dtype", "constant"),
    [
        (None, ["big", "no", "tiny", "asked", "device"], None, [False, True]),
        ((), ["big", "asked", "device"], "float32", [False]),
        (("-DDOUBLE",), ["big", "tiny", "asked", "device"], "float64", [True]),
        (["-D", "DOUBLE=1", "-DTINY"], ["big", "asked", "device"], "float64", [True]),
    ],
)
def test_options_answer_ifdef(options, names, dtype, constant):
    assert list(kernels(CHOICES, options)) == names
    assert parameters(CHOICES, "asked", options)[0].dtype == dtype
    assert [v.constant for v in global_variables(CHOICES, options)] == constant


QUESTIONS = [
    # the question, the options, the answer: None where both branches are read
    ("#if 0", None, False),
    ("#if 2 - 1", None, True),
    ("#ifdef CUDA_ON_CPU", None, True),
    ("#if !defined(CUDA_ON_CPU) || 0", None, False),
    ("#ifdef A", None, None),
    ("#if A > 3", None, None),
    ("#if A > 3", (), False),
    ("#if A > 3 && defined A", ("-DA=4",), True),
    ("#if A == B", ("-DA=B", "-DB=0x10u"), True),
    ("#if A != 16", ("-DA=B", "-DB=0x10u"), False),
    ("#if (A >= 700) && !(A % 100)", ("-DA=800",), True),
    ("#if A", ("-DA",), True),
    ("#if A(3)", (), None),
    ("#if A(3)", ("-DA=1",), None),
    ("#if A", ("-DA=A",), None),
    ("#if 1 / 0", (), None),
    ("#if 1 +", (), None),
    ("#ifdef __GNUC__", (), None),
    ("#if __CUDA_ARCH__ >= 700", (), None),
    ("#if __CUDA_ARCH__ >= 700", SM_80, True),
    ("#if __CUDA_ARCH__ >= 900 || defined(__NVCC__)", SM_80, False),
    ("#if defined(__CUDACC_RTC__) && __CUDACC_VER_MAJOR__ > 10", SM_80, True),
    ("#ifdef __GNUC__", SM_80, False),
]


@pytest.mark.parametrize(("question", "options", "answer"), QUESTIONS)
def test_questions_of_the_preprocessor(question, options, answer):
    code = f"{question}\n__global__ void yes() {{}}\n#else\n__global__ void no() {{}}\n#endif"
    assert (
        list(kernels(code, options)) == {None: ["yes", "no"], True: ["yes"], False: ["no"]}[answer]
    )


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (("1", "1"), "a"),
        (("0", "1"), "b"),
        (("0", "0"), "c"),
        (("1", "X(1)"), "a"),
        (("0", "X(1)"), "bc"),
        (("X(1)", "1"), "ab"),
        (("X(1)", "0"), "ac"),
        (("X(1)", "X(1)"), "abc"),
    ],
)
def test_elif(conditions, names):
    code = "#if {}\n__global__ void a() {{}}\n#elif {}\n__global__ void b() {{}}\n"
    code = code.format(*conditions) + "#else\n__global__ void c() {}\n#endif\n"
    assert "".join(kernels(code, ())) == names


def test_what_the_source_defines():
    code = (
        "#define N 4\n#if N > 3\n__global__ void k() {}\n#endif\n#undef N\n#ifdef N\nasm();\n#endif"
    )
    assert list(kernels(code, ())) == ["k"]
    refuse(code, ())


def test_options_and_what_is_left_out():
    code = "#ifdef A\n__global__ void k() { __shared__ int x; asm(); }\n#endif\n"
    assert rewrite(code, ()) == code and "struct" in rewrite(code, ("-DA",))
    refuse(code, ())
    with pytest.raises(NotModeled):
        refuse(code, ("-DA",))
    assert list(kernels('#include "mine.h"\n' + code, ())) == ["k"]  # mine.h may define A
