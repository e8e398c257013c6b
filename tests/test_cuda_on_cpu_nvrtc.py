"""NVIDIA's compiler without a GPU: what it says of a source, and of each kernel."""

import pytest

from embag_edu.cuda_on_cpu import nvrtc

needs_nvrtc = pytest.mark.skipif(bool(nvrtc.available()), reason=nvrtc.available())

CODE = """
#include <cuda_fp16.h>
template <typename T, int N> __global__ void turn(const T* x, T* y) {
    __shared__ T tile[N][33];
    tile[threadIdx.x % N][0] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[(threadIdx.x + 1) % N][0];
}
extern "C" __global__ void __launch_bounds__(1024, 2) spill(float* x) {
    float a[200];
    for (int i = 0; i < 200; i++) a[i] = x[i * 3];
    for (int i = 0; i < 200; i++) x[i * 5] = a[i] + a[199 - i] * x[i];
}
__global__ void plain(float* x) { x[0] = 1; }
"""


@needs_nvrtc
@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_resources_by_expression(arch):
    result = nvrtc.compile_check(CODE, ["turn<float, 4>", "turn<__half, 8>", "plain"], arch)
    assert result.ok and result.errors == []
    assert set(result.resources) == {"turn<float, 4>", "turn<__half, 8>", "plain", "spill"}
    turn = result.resources["turn<float, 4>"]
    assert turn.shared_bytes == 4 * 33 * 4 and 4 <= turn.registers <= 64
    assert turn.spill_stores == turn.spill_loads == turn.stack_bytes == 0
    assert result.resources["turn<__half, 8>"].shared_bytes == 8 * 33 * 2
    assert result.resources["spill"].stack_bytes > 0
    assert result.cubin.startswith(b"\x7fELF") and ".entry spill" in (result.ptx or "")


@needs_nvrtc
@pytest.mark.parametrize(
    ("code", "expressions", "error"),
    [
        ("\n\n__global__ void k() { int x = y; }", [], 'line 3: identifier "y" is undefined'),
        ("\n#error no", [], "line 2: #error directive: no"),
        ("#include <absent.h>\n", [], "line 1: cannot open source file"),
        ("__global__ void k() {}", ["absent<int>"], "absent"),
        (
            'extern "C" __global__ void k(int n) { __shared__ volatile int s[16000]; s[n] = n; }',
            [],
            "too much shared data",
        ),
    ],
)
def test_errors_stand_in_the_readers_lines(code, expressions, error):
    result = nvrtc.compile_check(code, expressions)
    assert not result.ok and not result.cubin
    assert error in "\n".join(result.errors)


@needs_nvrtc
def test_options_and_standard():
    code = "__global__ void k(float* x) { if constexpr (N > 3) x[0] = N; }"
    assert nvrtc.compile_check(code, options=("-DN=4",)).ok
    assert not nvrtc.compile_check(code).ok
    concept = "template <typename T> concept C = true; __global__ void k() {}"
    assert nvrtc.compile_check(concept, options=("-std=c++20",)).ok
    assert not nvrtc.compile_check(concept).ok
    only_ptx = nvrtc.compile_check(CODE, arch="compute_80")
    assert only_ptx.ok and only_ptx.ptx and not only_ptx.cubin and not only_ptx.resources


LOG = """ptxas info    : 0 bytes gmem, 64 bytes cmem[3]
ptxas info    : Compiling entry function '_Z1kIfEvv' for 'sm_75'
ptxas info    : Function properties for _Z1kIfEvv
ptxas         .     904 bytes stack frame, 1244 bytes spill stores, 1316 bytes spill loads
ptxas info    : Used 64 registers, 528 bytes smem, 360 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compile time = 53.432 ms
ptxas info    : Compiling entry function 'plain' for 'sm_75'
ptxas info    : Used 4 registers, used 0 barriers
"""


def test_reading_the_log():
    assert nvrtc._resources(LOG, {"_Z1kIfEvv": "k<float>"}) == {
        "k<float>": nvrtc.Resources(64, 528, 1244, 1316, 904, 368),
        "plain": nvrtc.Resources(registers=4),
    }


def test_without_the_wheels(monkeypatch):
    monkeypatch.setattr(nvrtc, "_find", lambda: (None, None))
    monkeypatch.setattr(nvrtc.sys, "platform", "linux")
    assert "pip install nvidia-cuda-nvrtc nvidia-cuda-runtime" in nvrtc.available()
    with pytest.raises(RuntimeError, match="pip install"):
        nvrtc.compile_check(CODE)
    monkeypatch.setattr(nvrtc.sys, "platform", "darwin")
    assert "macOS" in nvrtc.available()
