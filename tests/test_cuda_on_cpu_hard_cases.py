"""Kernels that checked mode once missed, or once reported although they are right."""

# ruff: noqa: E501  (a table of kernels: a row stays on its lines)

import os
import pickle
import re
from functools import cache

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import KernelFault, RawKernel, RawModule, settings
from embag_edu.cuda_on_cpu.compilers import compilers

F32, I32 = np.float32, np.int32
COMPILERS = [name for name in compilers() if name != "c++"]


def kernel(body, parameters="float* x, float* y, int n", before=""):
    code = f'{before}\nextern "C" __global__ void k({parameters}) {{\n{body}\n}}'
    return RawKernel(code, "k")


@cache
def kernels(table, parameters, before, compiler):
    """The kernels of a table, k0, k1, ..., compiled together, once for each compiler."""
    assert os.environ["EMBAG_CXX"] == compiler
    code = "".join(
        f'extern "C" __global__ void k{i}({parameters}) {{\n{body}\n}}\n'
        for i, body in enumerate(table)
    )
    return RawModule(code=f"{before}\n{code}")


def arrays(n=64, m=64):
    return np.arange(n, dtype=F32), np.zeros(m, F32), I32(n)


# (what it does, body, grid, block, kind)
MISSED = [
    ("a loop that a compiler turns into memset",
     "if (threadIdx.x == 0) for (int i = 0; i < n; i++) y[i] = 0.0f;", 1, 32, "out of bounds"),
    ("memset", "if (threadIdx.x == 0) memset(y, 0, 4 * n);", 1, 32, "out of bounds"),
    ("an index far beyond its array", "y[0] = x[400 * 128 + threadIdx.x];", 1, 32, "out of bounds"),
    ("bytes of one word by four threads, and a reader",
     "char* b = (char*)y; int t = threadIdx.x;\n"
     "if (t < 4) b[t] = 1; else if (t == 4) x[0] = b[0];", 1, 32, "race"),
    ("an earlier reader in another block",
     "if (blockIdx.x == 0) { if (threadIdx.x == 0) y[1] = x[0]; }\n"
     "else { if (x[0] < -1.0f) y[2] = 1.0f; __syncthreads(); if (threadIdx.x == 0) x[0] = 3.0f; }",
     2, 64, "race"),
    ("a source of a copy that is still on its way is overwritten",
     "__shared__ float s[32]; int t = threadIdx.x;\n"
     "__pipeline_memcpy_async(&s[t], &x[t], 4);\ns[t] = 1.0f;\n__pipeline_commit();\n"
     "__pipeline_wait_prior(0);\ny[t] = s[t];", 1, 32, "async copy"),
    ("other numbers that two warps copy to one place, 16 bytes at once",
     "int t = threadIdx.x;\n((float4*)y)[t % 32 / 4] = ((float4*)x)[t / 4];", 1, 64, "race"),
    ("the same of a struct",
     "struct Pair { float a, b; };\nint t = threadIdx.x;\n((Pair*)y)[t % 8] = ((Pair*)x)[t];",
     1, 32, "race"),
    ("two barriers in two lines of a branch",
     "if (threadIdx.x < 32) {\n __syncthreads();\n} else {\n __syncthreads();\n}", 1, 64,
     "divergent barrier"),
]  # fmt: skip


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("about, body, grid, block, kind", MISSED, ids=[m[0] for m in MISSED])
def test_a_fault_once_missed(about, body, grid, block, kind, compiler, monkeypatch):
    monkeypatch.setenv("EMBAG_CXX", compiler)
    x, y, n = arrays(64, 32)
    bodies = tuple(row[1] for row in MISSED)
    include = "#include <cuda_pipeline.h>"
    module = kernels(bodies, "float* x, float* y, int n", include, compiler)
    for order in (0, 2):
        with settings(order=order), pytest.raises(KernelFault) as caught:
            module.get_function(f"k{bodies.index(body)}")((grid,), (block,), (x, y, n))
        assert caught.value.kind == kind, str(caught.value)


def test_a_parameter_that_is_const_is_not_written():
    with pytest.raises(KernelFault, match="read-only.*`x`"):
        kernel("((float*)x)[0] = 1.0f;", "const float* x")((1,), (1,), (np.zeros(4, F32),))


STATIC, MOST = 1024, 227 * 1024  # bytes of the arrays below; of a block at compute capability 9.0
SHARED_MEMORY = [  # (case, static, dynamic, the raised limit or None, what the message says or None)
    ("both together at 48 KiB", STATIC, 49_152 - STATIC, None, None),
    ("one word beyond", STATIC, 49_156 - STATIC, None, "take 1024 bytes.*48132 more: 49156.*= 48132"),
    ("all of it static", 49_152, 0, None, None),
    ("all of it dynamic", 0, 49_152, None, None),
    ("dynamic beyond", 0, 49_156, None, "shared_mem is 49156.*0 to 49152. Set kernel.max_dynamic"),
    ("dynamic beyond, with static", STATIC, 49_156, None, "shared_mem is 49156.*0 to 49152"),
    ("raised to what is the default", STATIC, 49_152, 49_152, None),
    ("raised", STATIC, 49_156, 60_000, None),
    ("beyond what was raised", STATIC, 60_004, 60_000, "shared_mem is 60004.*0 to 60000. Set"),
    ("lowered", STATIC, 1028, 1024, "shared_mem is 1028.*0 to 1024"),
    ("both together at 227 KiB", STATIC, MOST - STATIC, MOST, None),
    ("one word beyond 227 KiB", STATIC, MOST - STATIC + 4, MOST, "take 1024 .*at most 231424"),
    ("227 KiB, and static", STATIC, MOST, MOST, "1024 bytes.*232448 more: 233472.*up to 232448"),
    ("dynamic beyond 227 KiB", 0, MOST + 4, MOST, "shared_mem is 232452.*0 to 232448$"),
    ("static beyond 48 KiB", 49_156, 0, None, "take 49156 bytes; valid: up to 49152.*smaller"),
    ("static beyond, raised", 49_156, 16, MOST, "take 49156 bytes; valid: up to 49152.*smaller"),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["checked", "fast"])
def test_shared_memory_at_its_limits(mode):
    code = """template <int words> __global__ void k(float* x, float* y, int n) {
      if constexpr (words != 0) { __shared__ float s[words]; s[words - 1] = x[0]; }
      extern __shared__ float d[];
      if (n) { d[n - 1] = x[0]; y[0] = d[n - 1]; }
    }"""
    names = {row[1]: f"k<{row[1] // 4}>" for row in SHARED_MEMORY}
    module = RawModule(code=code, name_expressions=list(names.values()))
    for case, static, dynamic, limit, message in SHARED_MEMORY:
        k, (x, y, _) = module.get_function(names[static]), arrays()
        if limit is not None:
            k.max_dynamic_shared_size_bytes = limit
        with settings(mode=mode):
            told = ""
            try:
                k((1,), (1,), (x + 7, y, I32(dynamic // 4)), shared_mem=dynamic)
            except (KernelFault, ValueError) as error:
                told = str(error)
        assert bool(told) == bool(message) and re.search(message or "^$", told, re.S), (case, told)
        assert told or dynamic == 0 or y[0] == 7, case
    with pytest.raises(ValueError, match="is 232449; valid: 0 to 232448"):
        k.max_dynamic_shared_size_bytes = MOST + 1


RIGHT = [
    ("lanes write, __syncwarp, one lane fences and counts",
     "__shared__ bool last; int t = threadIdx.x, b = blockIdx.x;\n"
     "part[b * 32 + t] = x[t];\n__syncwarp();\n"
     "if (t == 0) { __threadfence(); last = atomicAdd(&count[0], 1) == gridDim.x - 1; }\n"
     "__syncwarp();\nif (last) {\n float s = 0;\n"
     " for (unsigned k = 0; k < gridDim.x; k++) s += part[k * 32 + t];\n y[t] = s; }", 4, 32, lambda x: 4 * x),
    ("a chain of blocks, each handing on what it was handed",
     "if (threadIdx.x) return;\nint me = atomicAdd(&count[0], 1);\n"
     "while (atomicAdd(&count[1], 0) != me) {}\n__threadfence();\n"
     "part[me] = x[me]; float s = 0; for (int i = 0; i <= me; i++) s += part[i];\n"
     "y[me] = s;\n__threadfence();\natomicAdd(&count[1], 1);", 8, 1, None),
    ("a constant table that is passed on",
     "int t = threadIdx.x; y[t] = pick(SQUARES, t % 8) + x[t] * 0;", 1, 32, lambda x: (np.arange(32) % 8) ** 2),
    ("structs of 12 bytes, copied whole",
     "struct P { float a, b, c; };\nint t = threadIdx.x; if (t < 10) ((P*)y)[t] = ((P*)x)[t];", 1, 32, lambda x: np.where(np.arange(32) < 30, x, 0)),
    ("the same numbers that eight lanes copy to one place, 8, 12, 16 and 20 bytes at once",
     "struct Five { float a, b, c, d, e; };\nint t = threadIdx.x;\n"
     "((float2*)y)[t / 8 % 2] = ((float2*)x)[t / 8 % 2];\n((float3*)y)[t / 8 % 2 + 2] = ((float3*)x)[t / 8 % 2 + 2];\n"
     "((float4*)y)[t / 8 % 2 + 3] = ((float4*)x)[t / 8 % 2 + 3];\n((Five*)y)[4 + t / 8 % 2] = ((Five*)x)[4 + t / 8 % 2];",
     1, 32, lambda x: np.where((np.arange(32) < 4) | (np.abs(np.arange(32) - 17.5) < 12), x, 0)),
    ("float4 from fewer numbers",
     "float4 v = {1.0f}; float2 w = {2.0f};\ny[threadIdx.x] = v.x + v.w + w.x + w.y;", 1, 32, lambda x: np.full(32, 3)),
]  # fmt: skip


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("about, body, grid, block, expect", RIGHT, ids=[r[0] for r in RIGHT])
def test_a_kernel_once_reported_is_right(about, body, grid, block, expect, compiler, monkeypatch):
    monkeypatch.setenv("EMBAG_CXX", compiler)
    before = "constexpr float SQUARES[8] = {0, 1, 4, 9, 16, 25, 36, 49};\n"
    before += "__noinline__ __device__ float pick(const float* t, int i) { return t[i]; }"
    parameters, bodies = "float* x, float* y, float* part, int* count", tuple(r[1] for r in RIGHT)
    module = kernels(bodies, parameters, before, compiler)
    for chosen in ({"order": 0}, {"order": 2}, {"mode": "fast"}):
        x, y = np.arange(32, dtype=F32), np.zeros(32, F32)
        part, count = np.zeros(256, F32), np.zeros(2, I32)
        with settings(**chosen):
            k = module.get_function(f"k{bodies.index(body)}")
            k((grid,), (block,), (x, y, part, count))
        if expect:
            np.testing.assert_array_equal(y, expect(np.arange(32, dtype=F32)))
        else:
            np.testing.assert_array_equal(y[:8], np.cumsum(np.arange(8)))


@pytest.mark.parametrize("name", ["index", "div", "gamma", "y1", "remove", "Kernel", "launch"])
def test_a_kernel_may_be_called_as_functions_of_ours_and_of_c_are(name):
    x = np.zeros(4, F32)
    RawKernel(f'extern "C" __global__ void {name}(float* x) {{ x[0] = 7.0f; }}', name)(
        (1,), (1,), (x,)
    )
    assert x[0] == 7.0


MATH = {  # computed with 120 digits
    "erfinv": {0.5: 0.4769362762044699, 0.9: 1.1630871536766743, 0.999999: 3.458910737275499,
               1e-5: 8.86226925475959406e-06, -0.1: -0.0888559904942576861, 0.0: 0.0, 1.0: np.inf},
    "erfcinv": {1e-10: 4.572824967389486, 0.1: 1.163087153676674, 0.3: 0.7328690779592169,
                1e-18: 6.247366043746464, 1.5: -0.4769362762044699, 2.0: -np.inf},
    "normcdfinv": {0.975: 1.9599639845400538, 0.3: -0.5244005127080408, 0.0: -np.inf},
    "erfcx": {0.5: 0.6156903441929259, 3: 0.17900115118138996, -2: 108.94090438997797,
              10: 0.05614099274382259, 5: 0.11070463773306863, 30: 0.01879588886141675},
    "cyl_bessel_i0": {0.5: 1.0634833707413236, 3: 4.8807925858650245, 12.5: 30596.335155785153,
                      -19.9: 39513376.52006682, 25: 5774560606.4663105,
                      100: 1.0737517071310738e42, 700: 1.5295933476718737e302},
    "cyl_bessel_i1": {0.5: 0.2578943053908963, 3: 3.9533702174026093, 12.5: 29345.74964207113,
                      -19.9: -38507423.87486228, 25: 5657865129.878701,
                      100: 1.0683693903381625e42, 700: 1.5285003902339006e302},
    "__double2ll_rd": {-1.5: -2, 1e30: 2.0**63}, "__double2ull_ru": {0.1: 1, -3.0: 0},
    "__double2int_rn": {2.5: 2, -1e30: -(2.0**31), np.nan: -(2.0**31)},
}  # fmt: skip


def test_functions_that_the_c_library_has_not():
    rows = [(name, x, y) for name in MATH for x, y in MATH[name].items()]
    calls = "".join(f"y[{i}] = {name}(x[{i}]);" for i, (name, _, _) in enumerate(rows))
    calls += "z[0] = rnorm4df(1, 2, 3, 4); z[1] = rnormf(3, z + 2); z[2] = erfinvf(0.5f);"
    calls += "z[3] = __dp4a(0x01ff03, 0x020304, 100);"
    x, y = np.array([row[1] for row in rows], float), np.zeros(len(rows))
    z = np.array([0, 0, 2, 3, 6], F32)
    with settings(mode="fast"):
        kernel(calls, "double* x, double* y, float* z")((1,), (1,), (x, y, z))
    for (name, at, wanted), got in zip(rows, y, strict=True):
        assert got == wanted or abs(got - wanted) <= 1e-15 * 4 * abs(wanted), (name, at, got)
    wanted = [30**-0.5, 1 / 7, 0.47693628, 100 + 2 - 3 + 12]
    np.testing.assert_allclose(z[:4], wanted, rtol=2e-7, equal_nan=False)


def test_the_element_of_a_race_in_a_shared_array():
    body = "__shared__ float a[100]; __shared__ float s[32];\na[threadIdx.x] = 0; s[5] = threadIdx.x; y[0] = a[0];"
    with pytest.raises(KernelFault, match="element 5 of `s`"):
        kernel(body)((1,), (2,), arrays())


def test_sizes_are_whole_numbers_and_faults_can_be_pickled():
    with pytest.raises(TypeError, match="grid is.*whole numbers.*//"):
        kernel("y[0] = x[0];")((4.9,), (32,), arrays())
    with pytest.raises(KernelFault) as caught:
        kernel("y[n] = x[0];")((1,), (1,), arrays())
    assert pickle.loads(pickle.dumps(caught.value)).kind == "out of bounds"


def test_shared_atomics_on_one_word():
    k = kernel("__shared__ int s; if (threadIdx.x == 0) s = 0; __syncthreads(); atomicAdd(&s, 1);")
    k((1,), (32,), arrays())
    assert k.report.line("atomicAdd", kind="atomic").worst == 32
