"""What belongs to the host is refused here as by NVIDIA's compiler, with what to write instead."""

import pytest
from compiler import needs_compiler

from embag_edu.cuda_on_cpu import CompileError, RawModule, nvrtc, settings

pytestmark = needs_compiler
KERNEL = 'extern "C" __global__ void k(float* f, int* i, long long* l, size_t n) {{ {} }}'
INSIDE = [  # of a kernel: what NVIDIA's compiler refuses, and what is said
    ("l[0] = max(l[0], i[0]);", "cast the arguments to one type"),
    ("f[0] = max(f[0], 0);", "cast the arguments"),
    ("i[0] = max(i[0], n);", "cast the arguments"),
    ("f[0] = pow(f[0], 2.0);", "cast the arguments"),
    ("f[0] = sqrt(i[0]);", "cast the arguments"),
    ("float4 a(1, 2, 3, 4); f[0] = a.x;", "make_float4"),
    ("int64_t x = 0; l[0] = x;", "write long long"),
    ("uint x = 0; i[0] = x;", "write unsigned int"),
    ("atomicMax(f, 1.0f);", "does not exist for this type"),
    ("atomicSub(f, 1.0f);", "does not exist for this type"),
    ("atomicAdd(l, 1);", "does not exist for this type"),
    ("f[0] = __shfl_down_sync(f[0], 1);", "it takes a mask first"),
    ("throw 1;", "throws and catches nothing"),
    ("half h = 1;", "write #include <cuda_fp16.h> before it"),
    ("l[0] = cub::Sum()(1, 2);", "write #include <cub/cub.cuh> before it"),
    ("int m = i[0]; float a[m]; a[0] = 1; f[0] = a[0];", "an array's length"),
    ("f[0] = INFINITY;", "__int_as_float(0x7f800000)"),
    ("f[0] = NAN;", "__int_as_float(0x7fffffff)"),
    ("f[0] = M_PI;", "3.14159"),
    ("f[0] = std::max(f[0], f[1]);", "need no std::"),
    ("i[0] = __builtin_popcount(3);", "host compiler's own"),
    ("thread_local int a; i[0] = a;", "host compiler's own"),
    ("auto g = [=] __device__ (int a) { return f[a]; }; f[0] = g(1);", "leave it out"),
    ("i[0] = i[1] ?: 3;", "write the value between"),
    ("f[0] = 1e40f;", "too large for its type"),
    ("struct P { int a; int g() { return a; } } p{3}; i[0] = p.g();", "`g`"),
    ("struct P { virtual int g() { return 1; } } p; i[0] = p.g();", "`g`"),
]
OUTSIDE = [
    ("float f(float a) { return a; }", "`f`"),
    ("struct P { float a; float f() { return a; } };", "`f`"),
    ("template <class T> T f(T a) { return a; }", "`f`"),
    ("__host__ void f() {}", "__host__"),
    ("int g = 3;", "global variable `g`"),
    ("const int* g = (int const*)3;", "global variable `g`"),
    ("namespace a { static float g[3]; }", "global variable `g`"),
    ("__global__ void f(int a, ...) {}", "all named"),
    ("#include <cmath>", "needs no header"),
    ("#include <cstdio>", "printf needs no header"),
    ("#include <vector>", "a header of the host"),
]
TAKEN = [
    "int const g = sizeof(int) * 8;\n#if true && !false\n#else\nint n;\n#endif",
    "const int g = 3; constexpr float h[2] = {1, 2}; __constant__ float c[2] = {1, 2};",
    "__host__ __device__ float f(float a) { return a; }",
    "#define DEVICE __device__ __forceinline__\nDEVICE float f(float a) { return a; }",
    "struct P { float a, b; __device__ P(float x) : a(x), b{x} {} P() = default; };",
    "struct Later; enum Kind { SUM, MEAN }; typedef struct { int a; } Old; using Real = float;",
    "typedef long long int64_t; __device__ int64_t f(int64_t a) { return a; }",
    "#define INFINITY __int_as_float(0x7f800000)\n__device__ float f() { return INFINITY; }",
    "namespace std { template <class T> __device__ T max(T a, T b) { return a < b ? b : a; } }",
    "union U { float4 v; float a[4]; }; template <int N> struct S { int x[N]; };",
    "struct P { static __device__ int f() { struct Q { int a; } q{3}; return q.a; } };",
    "template <class... T> __global__ void f(T... values) {}",
    "#include <math_constants.h>\n__device__ float f() { return CUDART_INF_F; }",
]
CODES = [(KERNEL.format(code), says) for code, says in INSIDE]
CODES += [(f"{code}\n{KERNEL.format('')}", says) for code, says in OUTSIDE]


@pytest.mark.parametrize(("code", "says"), CODES)
def test_refused_as_by_a_gpus_compiler(code, says):
    with pytest.raises(CompileError) as caught, settings(mode="fast"):
        RawModule(code=code).compile()
    assert "NVIDIA's compiler refuses" in str(caught.value) and says in str(caught.value)
    if not nvrtc.available():
        assert not nvrtc.compile_check(code, arch="compute_90").ok


@pytest.mark.parametrize("code", TAKEN)
def test_taken_as_by_a_gpus_compiler(code):
    code = f"{code}\n{KERNEL.format('f[0] = 1;')}"
    with settings(mode="fast"):
        RawModule(code=code).compile()
    if not nvrtc.available():
        assert nvrtc.compile_check(code, arch="compute_90").ok
