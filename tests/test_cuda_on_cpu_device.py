"""device(): which one is taken and why, and that a GPU's launch is typed as the CPU's is.

The GPU here is a fake CuPy (fake_cupy.py). It shows that CuPy is called rightly, and no more.
"""

import io
import json
import sys
import types

import fake_cupy
import ml_dtypes
import numpy as np
import pytest
from compiler import cache_with_runtimes

from embag_edu.cuda_on_cpu import Device, KernelFault, cubin, device

module = sys.modules["embag_edu.cuda_on_cpu.device"]  # its name is the function's too

SOURCE = """
extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = factor * x[i];
}
template <class T> __global__ void twice(T* x) { x[threadIdx.x] += x[threadIdx.x]; }
__global__ void plain(int* x) { x[threadIdx.x] = 5; }
__constant__ float table[4];
extern "C" __global__ void look_up(float* y) { y[threadIdx.x] = table[threadIdx.x]; }
struct Pair { float a; int b; };
extern "C" __global__ void take(Pair pair, float* y) { y[0] = pair.a + pair.b; }
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("EMBAG_DEVICE", raising=False)
    module._choose.cache_clear()
    yield
    module._choose.cache_clear()


@pytest.fixture
def cupy(monkeypatch):
    made = fake_cupy.make()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


def both():
    return [device("cpu"), device("cuda")]


# ---- the choice ----


def test_without_cupy_it_is_the_cpu_and_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert device().kind == "cpu"
    assert "CPU (CuPy is not installed)" in str(device())
    with pytest.raises(RuntimeError, match="'cuda', but CuPy is not installed.*pip install"):
        device("cuda")


def test_a_broken_cupy_does_not_stop_the_reader(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise OSError("libcudart is from another world")

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert device().reason == "CuPy does not load: libcudart is from another world"


@pytest.mark.parametrize(
    "said, told",
    [
        ("cudaErrorNoDevice: no CUDA-capable device is detected", "cudaErrorNoDevice"),
        ("", "RuntimeError"),
    ],
)
def test_cupy_without_a_gpu(said, told, monkeypatch):
    def fails(shape):
        raise RuntimeError(said)

    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(zeros=fails))
    assert device().kind == "cpu" and device().reason == f"CuPy finds no usable GPU: {told}"


def test_the_environment_chooses(monkeypatch, cupy):
    assert device().kind == "cuda" and "NVIDIA Fake, compute capability 9.0" in str(device())
    monkeypatch.setenv("EMBAG_DEVICE", "cpu")
    assert device().kind == "cpu" and "EMBAG_DEVICE=cpu" in device().reason
    assert device("cuda").kind == "cuda"  # what is said in the code goes first
    monkeypatch.setenv("EMBAG_DEVICE", "gpu")
    with pytest.raises(ValueError, match="'gpu'; valid: 'auto', 'cpu', 'cuda'"):
        device()
    monkeypatch.setenv("EMBAG_DEVICE", "")
    assert device() is device("auto")


# ---- the same code on both ----


def test_arrays_of_both(cupy):
    for on in both():
        x = on.asarray(np.arange(6).reshape(2, 3).T, np.float32)
        assert x.flags.c_contiguous and x.dtype == np.float32
        np.testing.assert_array_equal(on.asnumpy(x), [[0, 3], [1, 4], [2, 5]])
        assert on.asnumpy(on.zeros((2, 2))).sum() == 0 and on.empty((3,)).dtype == np.float32
        assert np.isnan(on.asnumpy(on.full((2,), np.nan))).all()
        on.synchronize()


def launch_everything(on):
    made = on.RawModule(code=SOURCE, name_expressions=["twice<int>", "plain"])
    x, y = on.asarray(np.arange(8, dtype=np.float32)), on.full((8,), np.nan)
    kernel = made.get_function("scale")
    kernel((2,), (4,), (x, y, np.float32(3), 8), shared_mem=0)  # a Python int for an int
    table = on.variable(made, "table", np.float32, (4,))
    table[...] = on.asarray(np.float32([4, 3, 2, 1]))
    looked, taken = on.zeros((4,)), on.zeros((1,))
    made.get_function("look_up")((1,), (4,), (looked,))
    numbers = on.asarray(np.arange(4, dtype=np.int32))
    made.get_function("twice<int>")((1,), (2,), (numbers,))
    fives = on.zeros((3,), np.int32)
    made.get_function("plain")((1,), (3,), (fives,))
    pair = np.zeros(1, [("a", "f4"), ("b", "i4")])[0]
    pair["a"], pair["b"] = 1.5, 2
    on.RawKernel(SOURCE, "take")((1,), (1,), (pair, taken))
    return [on.asnumpy(a).tolist() for a in (y, looked, numbers, fives, taken)]


def test_both_devices_take_the_same_arguments(cupy):
    on_cpu, on_gpu = (launch_everything(on) for on in both())
    assert on_cpu == on_gpu
    assert on_gpu[0] == [0, 3, 6, 9, 12, 15, 18, 21] and on_gpu[1] == [4, 3, 2, 1]
    assert on_gpu[2:] == [[0, 2, 2, 3], [5, 5, 5], [3.5]]


X = np.zeros(8, np.float32)
WRONG = [
    # position, what is given there, the error, what it says
    (2, 2.0, TypeError, "`float factor`.*np.float32"),
    (3, np.int64(8), TypeError, "`int n`.*np.int32"),
    (0, "strided", ValueError, r"`const float\* x`.*strides"),
    (1, "float64", TypeError, r"`float\* y`.*float64"),
]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("position, given, error, says", WRONG)
def test_a_wrong_argument_never_reaches_the_kernel(kind, position, given, error, says, cupy):
    on = device(kind)
    y = on.full((8,), 7.0)
    args = [on.asarray(X), y, np.float32(1), np.int32(8)]
    if given == "strided":
        given = on.asarray(np.zeros(16, np.float32))[::2]
    elif given == "float64":
        given = on.zeros((8,), np.float64)
    args[position] = given
    with pytest.raises(error, match=says):
        on.RawKernel(SOURCE, "scale")((1,), (8,), tuple(args))
    assert cupy.state.names == [] and (on.asnumpy(y) == 7).all()


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_wrong_shapes_and_too_few_arguments(kind, cupy):
    on = device(kind)
    kernel = on.RawKernel(SOURCE, "scale")
    args = (on.asarray(X), on.asarray(X), np.float32(1), np.int32(8))
    with pytest.raises(TypeError, match="3 arguments.*takes 4"):
        kernel((1,), (8,), args[:3])
    with pytest.raises(TypeError, match="grid is 1; valid: a tuple"):
        kernel(1, (8,), args)
    with pytest.raises(ValueError, match=r"grid is \(0,\)"):  # CuPy would make it 1
        kernel((0,), (8,), args)
    assert cupy.state.names == []


def test_an_array_of_the_host_is_no_pointer_for_a_gpu(cupy):
    on = device("cuda")
    for size in (1, 8):  # one element would be passed by value: a wild pointer
        args = (np.zeros(size, np.float32), on.asarray(X), np.float32(1), np.int32(1))
        with pytest.raises(TypeError, match=r"1 of 4 \(`const float\* x`\): a NumPy array.*asarr"):
            on.RawKernel(SOURCE, "scale")((1,), (1,), args)
    assert cupy.state.names == []


def test_scalars_that_cupy_does_not_know_are_passed_by_their_bits(cupy):
    code = """#include <cuda_bf16.h>
    extern "C" __global__ void f(__nv_bfloat16 x, float* y) { y[0] = __bfloat162float(x); }"""
    for on in both():
        y = on.zeros((1,))
        on.RawKernel(code, "f")((1,), (1,), (ml_dtypes.bfloat16(1.5), y))
        assert on.asnumpy(y)[0] == 1.5


def test_a_kernels_attributes_are_cupys(cupy):
    kernel = device("cuda").RawKernel(SOURCE, "scale")
    assert kernel.num_regs == 32 and kernel.report is None
    kernel.max_dynamic_shared_size_bytes = 100_000
    assert kernel._kernel.max_dynamic_shared_size_bytes == 100_000


def test_counts_on_both(cupy):
    for on in both():
        x, y = on.asarray(np.arange(64, dtype=np.float32)), on.zeros((64,))
        args = (x, y, np.float32(2), np.int32(64))
        report = on.count(on.RawKernel(SOURCE, "scale"), (2,), (32,), args)
        assert [(c.kind, c.requests, c.sectors) for c in report.lines] == [
            ("read", 2, 8),
            ("write", 2, 8),
        ]
        assert not on.asnumpy(y).any()  # on copies
        made = on.RawModule(code=SOURCE, name_expressions=["plain"])
        fives = on.zeros((3,), np.int32)
        assert on.count(made.get_function("plain"), (1,), (3,), (fives,)).lines[0].kind == "write"
        with pytest.raises(KernelFault):
            on.count(made.get_function("plain"), (1,), (4,), (fives,))


def test_a_variable_needs_its_shape_on_a_gpu(cupy):
    cpu, gpu = (on.RawModule(code=SOURCE) for on in both())
    assert device("cpu").variable(cpu, "table", np.float32).shape == (4,)
    with pytest.raises(ValueError, match="shape"):
        device("cuda").variable(gpu, "table", np.float32)


def test_a_device_tells_what_it_is():
    assert isinstance(device("cpu"), Device) and "says nothing about a GPU" in repr(device("cpu"))


# ---- compiled without -ftz=true ----


@pytest.fixture
def cache(monkeypatch, tmp_path):
    return cache_with_runtimes(monkeypatch, tmp_path)


def twice(**others):
    """A module made anew, and what its kernel makes of 1 and 2."""
    on = device("cuda")
    made = on.RawModule(code=SOURCE, name_expressions=["twice<int>"], **others)
    x = on.asarray(np.array([1, 2], np.int32))
    made.get_function("twice<int>")((1,), (2,), (x,))
    return made, on.asnumpy(x).tolist()


def test_cupy_is_given_a_file_that_was_compiled_without_its_ftz(cupy, cache):
    device("cuda").RawModule(code=SOURCE)
    assert not cupy.cuda.compiler.options  # nothing is compiled before it is asked for
    made, found = twice(options=("-DANSWER=42",))
    assert found == [2, 4] and cupy.state.flushed == 0
    (options,) = cupy.cuda.compiler.options
    assert options[0].endswith("/cccl") and options[1:3] == ("-DANSWER=42", "-std=c++17")
    assert not any("ftz" in option for option in options)
    assert made.path.startswith(str(cache)) and made.path.endswith("kernel.cubin")


def test_a_cubin_is_compiled_once_for_all_that_it_depends_on(cupy, cache, monkeypatch):
    compilations = cupy.cuda.compiler.options
    twice()
    made, found = twice()
    assert found == [2, 4] and len(compilations) == 1
    made.get_function("scale"), made.compile(), made.get_global("table")
    assert len(compilations) == 1
    twice(options=("-DANSWER=42",))
    device("cuda").RawModule(code=SOURCE, name_expressions=["twice<float>"]).compile()
    device("cuda").RawModule(code=SOURCE + "// more", name_expressions=["twice<int>"]).compile()
    assert len(compilations) == 4
    for name, value in [("__version__", "14.3.0"), ("cuda.nvrtc.getVersion", lambda: (13, 1))]:
        with monkeypatch.context() as there:
            *way, last = name.split(".")
            owner = cupy
            for step in way:
                owner = getattr(owner, step)
            there.setattr(owner, last, value)
            twice()
    monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "80")
    twice()
    assert len(compilations) == 7 and twice()[1] == [2, 4] and len(compilations) == 7


@pytest.mark.parametrize("file", ["kernel.cubin", "names.json", "digest"])
@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "other bytes"])
def test_a_damaged_cubin_heals(file, damage, cupy, cache):
    twice()
    (entry,) = cache.glob("cubin-*")
    content = (entry / file).read_bytes()
    bad = {"cut short": content[:-5], "empty": b"", "other bytes": content[::-1]}
    if damage == "gone":
        (entry / file).unlink()
    else:
        (entry / file).write_bytes(bad[damage])
    assert twice()[1] == [2, 4] and len(cupy.cuda.compiler.options) == 2
    assert (entry / file).read_bytes() == content
    assert not list(cache.glob("new-*"))


def test_the_byte_that_cupy_cuts_off_is_put_back(cupy, cache):
    made, _ = twice()
    with open(made.path, "rb") as file:
        assert len(file.read()) % 8 == 0
    with open(made.path, "r+b") as file:
        file.truncate(len(file.read()) - 1)
    with pytest.raises(fake_cupy.CUDARuntimeError, match="INVALID_IMAGE"):
        cupy.RawModule(path=made.path)  # so the fake would have told


MISSING = ["_core", "_core.core.assemble_cupy_compiler_options", "cuda.compiler"]


@pytest.mark.parametrize("missing", [*MISSING, "cuda.compiler.compile_using_nvrtc"])
def test_where_cupy_lacks_a_function_its_own_module_is_used(missing, cupy, cache, monkeypatch):
    *way, last = missing.split(".")
    owner = cupy
    for step in way:
        owner = getattr(owner, step)
    monkeypatch.delattr(type(owner) if last in vars(type(owner)) else owner, last)
    assert twice()[1] == [2, 4] and cupy.state.flushed == 1
    assert not list(cache.glob("cubin-*"))


@pytest.mark.parametrize(
    "others, exact",
    [
        ({"jitify": True}, False),
        ({"translate_cucomplex": True}, False),
        ({"backend": "nvcc"}, False),
        ({"options": ("-rdc=true",)}, False),
        ({"jitify": False, "backend": "nvrtc", "enable_cooperative_groups": False}, True),
        ({"enable_cooperative_groups": True}, True),
    ],
)
def test_what_a_file_cannot_do_takes_cupys_own_way(others, exact, cupy):
    made = device("cuda").RawModule(code=SOURCE, **others)
    assert (made.path is not None) is exact
    assert made.enable_cooperative_groups is others.get("enable_cooperative_groups", False)


def test_a_wrong_word_is_told_at_once(cupy):
    with pytest.raises(TypeError, match="magic"):
        device("cuda").RawModule(code=SOURCE, magic=True)


def test_a_compile_error_is_cupys(cupy, cache):
    broken = device("cuda").RawModule(code=SOURCE.replace("factor *", "faktor *"))
    for ask in (broken.compile, lambda: broken.get_function("scale")):
        with pytest.raises(fake_cupy.CompileException, match="faktor"):
            ask()
    assert not list(cache.glob("cubin-*")) and not list(cache.glob("new-*"))


def test_the_compilers_words_go_where_they_are_wanted(cupy, cache):
    said = io.StringIO()
    device("cuda").RawModule(code=SOURCE).compile(said)
    assert said.getvalue() == "compiled"


def test_the_names_beside_a_cubin_are_those_that_nvrtc_made(cupy, cache):
    made, _ = twice()
    code, options = SOURCE, ("-std=c++17",)
    entry = cubin.compiled(cupy, code, options, ("twice<int>",))
    assert made.path == str(entry / "kernel.cubin")
    assert json.loads((entry / "names.json").read_text()) == {"twice<int>": "_Z0twice"}


# ---- a copy that is on its way ----


def test_a_copy_that_nobody_waits_for(cupy, monkeypatch):
    """It lies in memory that a GPU can write to, and its event says when it has come."""
    for gpu in both():
        array = gpu.asarray(np.arange(6).reshape(2, 3))
        monkeypatch.setattr(gpu, "synchronize", None)
        monkeypatch.setattr(gpu, "asnumpy", gpu.asnumpy if gpu.kind == "cpu" else None)
        copy, event = gpu.coming(array)
        assert event.done == (gpu.kind == "cpu")
        event.synchronize()
        array[0, 0] = 7
        assert event.done and copy.tolist() == [[0, 1, 2], [3, 4, 5]]
    cupy.state.capturing = True
    assert device("cuda").coming(array) is None  # a graph can't tell
