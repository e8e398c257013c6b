"""The stand-in for CuPy: a project's tests run by it, and what CuPy refuses it refuses too."""

import copy
import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import CompileError, KernelFault, settings
from embag_edu.cuda_on_cpu import cupy as cp
from embag_edu.cuda_on_cpu.device import usable_cupy

pytest_plugins = ["pytester"]
PAGE = (Path(__file__).parents[1] / "book" / "pages" / "cupy.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", PAGE, re.S))
LINE, SAID = re.search(r"<!-- without: (.*?) -->\n```text\n(.*?)\n```", PAGE, re.S).groups()

MODULE = r"""
#include <cupy/float16.cuh>
__constant__ float factor[2];
extern "C" __global__ void scale(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor[i % 2];
}
extern "C" __global__ void column(const float* x, float* y, int step) {
  y[threadIdx.x] = x[threadIdx.x * step];
}
extern "C" __global__ void halves(float16* x, unsigned* n) {
  x[threadIdx.x] += float16(0.5f) * x[threadIdx.x];
  n[threadIdx.x] = min(x[threadIdx.x], float16(2)).to_bits();
}
"""
SMALL = 'extern "C" __global__ void one(float* x) { x[0] = 1; }'


@pytest.fixture(scope="module")
def module():
    return cp.RawModule(code=MODULE)


# ---- a project ----


def test_the_project_of_the_page_runs_by_one_line(pytester, monkeypatch):
    for name, text in FILES.items():
        pytester.path.joinpath(name).write_text(text)
    options = ("-p", "no:cacheprovider", "-p", "no:nbval")
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
    assert "cupy" not in sys.modules or sys.modules["cupy"] is not cp  # pytester has put it back
    assert LINE in FILES["rows.py"]
    pytester.path.joinpath("rows.py").write_text(FILES["rows.py"].replace(LINE, ""))
    failed = pytester.runpytest_inprocess(*options)
    failed.assert_outcomes(failed=1)
    assert SAID in failed.stdout.str()


def test_install_gives_every_module(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")]:
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    try:
        cp.install()
        import cupy
        import cupy.linalg as linalg
        import cupyx
        from cupy.cuda import runtime
        from cupy.cuda.memory import alloc

        assert cupy is cp and linalg is cp.linalg and alloc(8).bytes.nbytes == 8
        assert runtime.getDeviceCount() == 1
        x = cp.zeros(3)
        cupyx.scatter_add(x, cp.asarray([0, 0, 2]), 1)
        assert x.tolist() == [2, 0, 1]
        assert "stand-in" in usable_cupy()[1]
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


# ---- arrays ----


def test_arrays_of_cupy_and_of_numpy_do_not_mix():
    x, y = cp.arange(3.0), np.arange(3.0)
    for wrong in (
        lambda: x + y, lambda: y + x, lambda: np.add(x, y), lambda: cp.dot(x, y), lambda: x.dot(y),
        lambda: cp.concatenate([x, y]), lambda: cp.sum(y), lambda: cp.add(y, y),
        lambda: x.__setitem__(slice(2), y[:2]), lambda: np.asarray(x), lambda: cp.add(x, x, out=y),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="do not mix|Implicit conversion"):
            wrong()
    assert x.reshape(np.array([3, 1])).shape == (3, 1)  # a shape may be NumPy's
    assert not isinstance(x, np.ndarray) and cp.get_array_module(x) is cp
    assert cp.get_array_module(y) is np
    assert (cp.asarray(y) + x * np.float64(2)).get().tolist() == [0, 3, 6]


def test_arrays_are_views_and_copies_where_cupys_are():
    x = cp.zeros((2, 3), "f")
    x[0, 1][...] = 5  # an element is a view of no dimension
    assert isinstance(x[0, 1], cp.ndarray) and float(x.sum()) == 5 == x.sum().item()
    assert cp.asarray(x) is x and x.get() is not x.get()
    host = np.ones(3)
    made = cp.asarray(host)
    made += 1
    assert host.tolist() == [1, 1, 1] and made.tolist() == [2, 2, 2]
    made.set(host)
    assert made.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"Shape mismatch: \(2,\)"):
        made.set(np.ones(2))
    out = cp.empty(3)
    assert cp.sqrt(made, out=out) is out and out.tolist() == [1, 1, 1]
    for again in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        again[0, 0] = 7
        assert isinstance(again, cp.ndarray) and x[0, 0] == 0 and again.shape == (2, 3)
    x.shape = 6
    assert x[1] == 5 and f"{x[1]:.1f}" == "5.0" and [float(v) for v in x[:2]] == [0, 5]


def test_functions_are_numpys_and_what_cupy_has_not_is_refused():
    assert cp.linalg.norm(cp.asarray([3.0, 4.0])) == 5
    assert cp.random.uniform(0, 1, 4, dtype="f").dtype == np.float32
    assert isinstance(cp.random.default_rng(0).normal(size=2), cp.ndarray)
    x = cp.zeros(2)
    cp.add.at(x, cp.asarray([1, 1]), 1)
    assert (
        x.tolist() == [0, 2] and bool(cp.allclose(x, x)) and cp.zeros_like(np.ones(2)).shape == (2,)
    )
    cp.testing.assert_array_equal(x, np.asarray([0, 2]))
    windows = cp.lib.stride_tricks.sliding_window_view(cp.arange(4), 3)
    assert windows.sum(axis=1).tolist() == [3, 6]
    for module, name in [(cp, "nditer"), (cp, "fuse"), (cp.cuda, "nccl"), (cp.linalg, "nothing")]:
        assert not hasattr(module, name)
        with pytest.raises(AttributeError, match=rf"{name} is not in this stand-in.*conftest"):
            getattr(module, name)


# ---- kernels ----


@pytest.mark.parametrize("mode", ["checked", "fast"])
def test_a_variable_is_copied_into(module, mode):
    factor = cp.ndarray((2,), "f", module.get_global("factor"))
    factor[...] = cp.asarray([2, 3], "f")
    x = cp.ones(5, "f")
    with settings(mode=mode):
        module.get_function("scale")((1,), (8,), (x, 5))
    assert x.tolist() == [2, 3, 2, 3, 2]
    module.get_global("factor").copy_from_host(np.asarray([1, 1], "f").ctypes.data, 8)
    assert factor.tolist() == [1, 1]


def test_arguments_as_cupy_takes_them(module):
    cp.ndarray((2,), "f", module.get_global("factor"))[...] = 2
    scale, x = module.get_function("scale"), cp.ones(4, "f")
    for pointer, n in [(x, np.int64(4)), (x.data, np.array([4])), (x[1:].data.ptr, 3)]:
        scale((1,), (4, 0), [pointer, n])
    assert x.tolist() == [4, 8, 8, 8]
    column = module.get_function("column")
    whole = cp.asarray(np.arange(6, dtype="f").reshape(2, 3), order="F")
    for step, first in [(2, whole), (4, whole[:, ::2]), (1, whole.T)]:
        y = cp.empty(2, "f")
        column((1,), (2,), (first, y, step))
        assert y.tolist() == np.ravel(whole.get(), "F")[[0, step]].tolist()
    numbers, bits = cp.asarray([1, 4], "e"), cp.zeros(2, "i")  # an int32 array for unsigned*
    module.get_function("halves")((1,), (2,), (numbers, bits))
    assert numbers.tolist() == [1.5, 6] and bits.tolist() == [0x3E00, 0x4000]


def test_what_a_gpu_would_read_wrongly_is_refused(module):
    scale, x = module.get_function("scale"), cp.ones(4, "f")
    for args, word in [
        ((x.get(), 4), r"cupy\.asarray\(x\)"),
        ((x.astype("d"), 4), "float64"),
        ((x, 4.0), "`int n`"),
        ((x, np.int16(4)), "int16"),
        ((12345, 4), "`float"),
    ]:
        with pytest.raises(TypeError, match=word):
            scale((1,), (4,), args)
    with pytest.raises(ValueError, match="negative strides|begins at its end"):
        scale((1,), (4,), (x[::-1], 4))
    with pytest.raises(KernelFault, match="element 2 of `x`"):
        scale((1,), (4,), (x[:2], 4))
    with pytest.raises(TypeError, match="options is a list; valid: a tuple"):
        cp.RawKernel(SMALL, "one", ["-DN=1"])
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="CUDA_ERROR_NOT_FOUND.*'two'"):
        cp.RawModule(code=SMALL).get_function("two")
    with pytest.raises(cp.cuda.compiler.CompileException) as error:
        cp.RawModule(code=SMALL.replace("= 1", "= y")).get_function("one")
    assert error.type is CompileError


def test_kernels_pickle_as_kernels_of_cupy():
    for kernel in (cp.RawKernel(SMALL, "one"), cp.RawModule(code=SMALL).get_function("one")):
        again, x = pickle.loads(pickle.dumps(kernel)), cp.zeros(1, "f")
        again((1,), (1,), (x,))
        assert type(again) is cp.RawKernel and x.tolist() == [1]


# ---- written kernels ----


def test_elementwise_kernels():
    add = cp.ElementwiseKernel("T x, S y", "T z", "z = x * 2 + y", "twice")
    x, y = np.arange(6, dtype="f").reshape(2, 3), np.arange(3)
    np.testing.assert_array_equal(add(cp.asarray(x), cp.asarray(y)).get(), x * 2 + y)
    out = cp.zeros((3, 4), "f")  # strided, and given
    assert add(cp.asarray(x), cp.asarray(y), part := out[:2, 1:]) is part
    np.testing.assert_array_equal(out.get()[:2, 1:], x * 2 + y)
    assert out.get()[2].tolist() == [0] * 4 and out.get()[:, 0].tolist() == [0] * 3
    assert add(cp.asarray(x[0]), 1).dtype == np.float32
    assert add(cp.zeros((0, 3), "f"), 1).shape == (0, 3)
    with pytest.raises(ValueError, match="Out shape is mismatched"):
        add(cp.asarray(x), 1, cp.empty(3, "f"))
    with pytest.raises(TypeError, match="do not mix"):
        add(x, 1)


def test_lines_around_the_loop():
    sines = cp.ElementwiseKernel(
        "", "T y", "y = sin(step * i)", options=("-DN=2",),
        loop_prep="const double step { M_PI / (N * (_ind.size() - 1)) }", after_loop="(void)step",
    )  # fmt: skip
    np.testing.assert_allclose(sines(cp.empty(3)).get(), [0, 0.5**0.5, 1], atol=1e-15)
    first = cp.ElementwiseKernel("T a", "T y", "y = b", loop_prep="T b = a + 1")
    assert first(cp.float32(2), cp.empty(2, "f")).tolist() == [3, 3]


def test_raw_arrays_have_index_shape_and_size():
    source = "ptrdiff_t at[] = {i % 2, i / 2}; z[i] = x[at] + y * x.size() + x.shape()[1] + x[i]"
    mixed = cp.ElementwiseKernel("raw T x, float64 y", "raw T z", source)
    x = np.arange(4.0).reshape(2, 2)
    wanted = x.ravel("F") + 0.5 * 4 + 2 + x.ravel()
    for given in (cp.asarray(x), cp.asarray(x, order="F"), cp.asarray(np.repeat(x, 2, 1))[:, ::2]):
        assert mixed(given, 0.5, size=4).tolist() == wanted.tolist()
    with pytest.raises(ValueError, match="Loop size is undecided"):
        mixed(cp.asarray(x), 0.5)
    with pytest.raises(ValueError, match="can be used only if all arrays are 'raw'"):
        cp.ElementwiseKernel("T x", "T y", "y = x")(cp.asarray(x), size=2)
    for wrong in ("x", "T i", "row T x"):
        with pytest.raises(ValueError, match="valid are 'float32 x'"):
            cp.ElementwiseKernel(wrong, "T y", "")
    with pytest.raises(TypeError, match="Type is mismatched: z is int64, not float64"):
        mixed(cp.asarray(x), 1, cp.zeros(4, int), size=4)
    with pytest.raises(TypeError, match="type T is not known"):
        cp.ElementwiseKernel("", "T y", "y = 1")(size=2)


@pytest.mark.parametrize(
    ("axis", "keepdims"), [(None, False), (0, False), ((0, -1), True), (1, True)]
)
def test_reduction_kernels(axis, keepdims):
    norm = cp.ReductionKernel("T x, T w", "T y", "x * x * w", "a + b", "y = sqrt(a)", "0", "norm")
    x = np.arange(24.0).reshape(2, 4, 3)
    wanted = np.sqrt((x * x * 2).sum(axis=axis, keepdims=keepdims))
    for given in (cp.asarray(x), cp.asarray(x, order="F")):
        found = norm(given, 2, axis=axis, keepdims=keepdims)
        np.testing.assert_allclose(found.get(), wanted, rtol=1e-14, strict=True)


def test_a_reduction_of_nothing_needs_an_identity():
    most = cp.ReductionKernel("T x", "T y", "x", "max(a, b)", "y = a", None, "most")
    with pytest.raises(ValueError, match="zero-size array to reduction operation most"):
        most(cp.zeros(0))
    total = cp.ReductionKernel("T x", "T y", "x", "a + b", "y = a", "0", "total")
    out = cp.ones(2)
    assert total(cp.zeros((2, 0)), axis=1, out=out) is out and out.tolist() == [0, 0]


# ---- cupy.cuda ----


def test_streams_and_events_wait_for_nothing(monkeypatch):
    monkeypatch.setattr(cp.cuda, "time", SimpleNamespace(perf_counter=iter([1.0, 1.5]).__next__))
    outer, inner = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream()
    with outer, inner:
        assert cp.cuda.get_current_stream() is inner
    assert cp.cuda.get_current_stream() is cp.cuda.Stream.null
    start, end = cp.cuda.Event(), cp.cuda.Event()
    start.record()
    end.record(outer)
    outer.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) == 500
    with cp.cuda.Device(0) as device:
        assert device.compute_capability == "90" and cp.zeros(1).device.id == 0
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="device 1"):
        cp.cuda.Device(1).use()
    assert cp.cuda.runtime.getDeviceProperties(0)["major"] == 9
    cp.get_default_memory_pool().free_all_blocks()
    memory = cp.cuda.alloc(8)
    memory.memset(1, 8)
    assert cp.ndarray((2,), "i", memory + 0).tolist() == [0x01010101] * 2
