"""The runtime itself: launches, counts by hand, the cache, compile errors; and nothing escapes."""

import copy
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from compiler import cache_with_runtimes

from embag_edu.cuda_on_cpu import (
    CompileError,
    CompilerMissing,
    KernelFault,
    NotModeled,
    RawKernel,
    RawModule,
    checked,
    compare,
    settings,
    toolchain,
)
from embag_edu.cuda_on_cpu import compilers as compilers_here
from embag_edu.cuda_on_cpu.compilers import compilers
from embag_edu.cuda_on_cpu.settings import current

COMPILERS = [name for name in compilers() if name != "c++"]

SCALE = """
extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = factor * x[i];
}
"""


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal(100).astype(np.float32)


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    return cache_with_runtimes(monkeypatch, tmp_path / "cache")


def scaled(x, **changes):
    y = np.full_like(x, np.nan)
    with settings(**changes):
        RawKernel(SCALE, "scale")((4,), (32,), (x, y, np.float32(2), x.size))
    return y


# ---- launches ----


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("order", [0, 1, 5])
def test_a_launch(x, mode, order):
    np.testing.assert_array_equal(scaled(x, mode=mode, order=order), 2 * x)


def test_cupys_two_ways_to_a_kernel(x):
    module = RawModule(code=SCALE)
    assert module.get_function("scale").name == RawKernel(SCALE, "scale").name == "scale"
    with pytest.raises(ValueError, match="'other'.*scale"):
        module.get_function("other")
    with pytest.raises(ValueError, match="scale"):
        RawKernel(SCALE, "sclae")


def test_templates_by_name_expressions():
    code = """
    template <typename T, int N> __global__ void fill(T* x, T value) {
      for (int i = threadIdx.x; i < N; i += blockDim.x) x[i] = value;
    }"""
    module = RawModule(code=code, name_expressions=["fill<float, 5>", "fill<long long, 3>"])
    a, b = np.zeros(5, np.float32), np.zeros(3, np.int64)
    module.get_function("fill<float, 5>")((1,), (2,), (a, np.float32(1.5)))
    module.get_function("fill<long long, 3>")((1,), (2,), (b, 7))
    assert a.tolist() == [1.5] * 5 and b.tolist() == [7] * 3


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_options_and_variables_of_the_module(mode):
    code = """
    __constant__ int table[4];
    __device__ int launches = 10;
    extern "C" __global__ void use(int* y) {
      if (threadIdx.x == 0) launches += 1;
      y[threadIdx.x] = table[threadIdx.x] + MORE;
    }"""
    module, y = RawModule(code=code, options=("-DMORE=100", "-std=c++17")), np.zeros(4, np.int32)
    with settings(mode=mode):
        module.get_global("table").view(np.int32)[:] = [1, 2, 3, 4]
        for _ in range(2):
            module.get_function("use")((1,), (4,), (y,))
    assert y.tolist() == [101, 102, 103, 104]
    assert module.get_global("launches").view(np.int32).tolist() == [12]
    with pytest.raises(ValueError, match="'tabel'.*table"):
        module.get_global("tabel")


def test_printf_and_views_that_overlap(capsys):
    code = """
    extern "C" __global__ void shift(const int* from, int* to, int n) {
      int i = threadIdx.x;
      int value = i < n ? from[i] : 0;
      __syncthreads();
      if (i < n) to[i] = value;
      if (i == 0) printf("moved %d numbers, \\"%s\\"\\n", n, "by one");
    }"""
    a = np.arange(8, dtype=np.int32)
    RawKernel(code, "shift")((1,), (8,), (a[:7], a[1:], 7))
    assert a.tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert capsys.readouterr().out == 'moved 7 numbers, "by one"\n'


def test_memory_of_a_block_is_limited_as_on_a_gpu(x):
    code = """
    extern "C" __global__ void dynamic(float* y) {
      extern __shared__ float tile[];
      tile[threadIdx.x] = 1.0f;
      y[threadIdx.x] = tile[threadIdx.x];
    }"""
    kernel = RawKernel(code, "dynamic")
    with pytest.raises(ValueError, match="shared_mem is 60000.*max_dynamic_shared_size_bytes"):
        kernel((1,), (32,), (x,), shared_mem=60000)
    kernel.max_dynamic_shared_size_bytes = 100_000
    kernel((1,), (32,), (x,), shared_mem=60000)
    with pytest.raises(AttributeError, match="num_regs.*compile_check"):
        _ = kernel.num_regs


@pytest.mark.parametrize(
    "changes, error, word",
    [
        ({"mode": "quick"}, ValueError, "mode is 'quick'"),
        ({"order": -1}, ValueError, "order is -1"),
        ({"seconds": 0}, ValueError, "seconds is 0"),
        ({"workers": 3}, TypeError, "workers.*cores"),
    ],
)
def test_settings_say_what_is_wrong(changes, error, word):
    with pytest.raises(error, match=word), settings(**changes):
        pass


def test_settings_end_with_their_block(x):
    with pytest.raises(ZeroDivisionError), settings(mode="fast"):
        raise ZeroDivisionError
    kernel, y = RawKernel(SCALE, "scale"), np.zeros_like(x)
    kernel((4,), (32,), (x, y, np.float32(2), x.size))
    assert kernel.report is not None  # checked again


def test_settings_of_the_main_thread_reach_others():
    def in_a_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(current).result().order

    with settings(order=2):
        with settings(order=3):
            assert in_a_thread() == 3
        assert in_a_thread() == 2
    assert in_a_thread() == 0


def test_settings_of_another_thread_are_its_own():
    both = threading.Barrier(2, timeout=60)

    def in_a_block():
        with settings(order=3):
            both.wait()
            both.wait()

    thread = threading.Thread(target=in_a_block)
    thread.start()
    both.wait()
    assert current().order == 0
    both.wait()
    thread.join()


def test_pickle_and_copy(x):
    module = RawModule(SCALE, options=("-DK=3",))
    kernel = module.get_function("scale")
    kernel.max_dynamic_shared_size_bytes = 100_000
    for again in (pickle.loads(pickle.dumps(kernel)), copy.copy(kernel), copy.deepcopy(kernel)):
        y = np.zeros_like(x)
        again((4,), (32,), (x, y, np.float32(2), x.size))
        assert np.array_equal(y, 2 * x) and again.max_dynamic_shared_size_bytes == 100_000
        assert again.options == ("-DK=3",)
    assert pickle.loads(pickle.dumps(module)).get_function("scale").code == SCALE


def test_what_is_not_modeled_says_so():
    for code, word in [
        ('extern "C" __global__ void k(int* x) { asm("mov.u32 %0, 1;" : "=r"(x[0])); }', "PTX"),
        ("#include <cooperative_groups/memcpy_async.h>\n" + SCALE, "cooperative"),
    ]:
        with pytest.raises(NotModeled, match=word):
            RawKernel(code, "k" if "void k" in code else "scale").compile()
    RawModule(code=SCALE, jitify=True)
    with pytest.raises(NotModeled, match="code="):
        RawModule(path="scale.cubin")


# ---- counts, against the arithmetic by hand ----

STRIDED = """
extern "C" __global__ void strided(const float* x, float* y, int stride) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i * stride];
}
extern "C" __global__ void rows(const float4* w, float4* y) {
  y[blockIdx.x * 32 + threadIdx.x] = w[(3 - blockIdx.x) * 32 + threadIdx.x];
}
template <int COLUMNS> __global__ void transpose(const float* x, float* y) {
  __shared__ float tile[32][COLUMNS];
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}
extern "C" __global__ void histogram(const int* rows, int* counts) {
  atomicAdd(&counts[rows[threadIdx.x]], 1);
}
extern "C" __global__ void half_a_warp(const float* x, float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = x[threadIdx.x];
}
"""


def counted(name, grid, block, args, module=None, **others):
    module = module or RawModule(code=STRIDED)
    kernel = module.get_function(name)
    with settings(**others):
        kernel(grid, block, args)
    return kernel.report


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("stride, sectors", [(1, 4), (2, 8), (8, 32), (32, 32)])
def test_sectors_of_strides(stride, sectors, compiler, monkeypatch):
    """32 lanes x 4 bytes, stride s: min(4 s, 32) sectors of 32 bytes; 4 bytes of each are used."""
    monkeypatch.setenv("EMBAG_CXX", compiler)
    x, y = np.arange(4096, dtype=np.float32), np.zeros(128, np.float32)
    report = counted("strided", (4,), (32,), (x, y, stride))
    read, write = report.line("y[i] = x", array="x"), report.line("y[i] = x", array="y")
    assert (read.requests, read.sectors) == (4, 4 * sectors)
    assert read.used == 128 / (32 * sectors) and read.moved == 4 * 32 * sectors
    assert (write.requests, write.sectors, write.used) == (4, 16, 1.0)
    assert read.example == tuple(4 * stride * lane for lane in range(32))
    np.testing.assert_array_equal(y, x[: 128 * stride : stride])


@pytest.mark.parametrize("compiler", COMPILERS)
def test_sectors_of_float4_rows(compiler, monkeypatch):
    """A row of 128 floats is 512 bytes: 16 sectors in one request of a warp."""
    monkeypatch.setenv("EMBAG_CXX", compiler)
    w, y = np.arange(512, dtype=np.float32), np.zeros(512, np.float32)
    report = counted("rows", (4,), (32,), (w, y))
    read = report.line("w[(3", array="w")
    assert (read.bytes, read.requests, read.sectors, read.used) == (16, 4, 64, 1.0)
    np.testing.assert_array_equal(y, w.reshape(4, 128)[::-1].reshape(-1))


@pytest.mark.parametrize("columns, passes", [(32, 32), (33, 1)])
def test_bank_passes_of_a_tile(columns, passes):
    """A column of a 32 x 32 tile lies in one bank: 32 passes. With 33 columns it lies in all."""
    name = f"transpose<{columns}>"
    x, y = np.arange(1024, dtype=np.float32), np.zeros(1024, np.float32)
    module = RawModule(code=STRIDED, name_expressions=[name])
    report = counted(name, (1,), (32, 32), (x, y), module)
    column = report.line("= tile", array="tile")
    row = report.line("tile[threadIdx.y][threadIdx.x] =", array="tile")
    assert (column.requests, column.passes, column.best) == (32, 32 * passes, 32)
    assert (row.passes, row.best) == (32, 32)
    np.testing.assert_array_equal(y.reshape(32, 32), x.reshape(32, 32).T)


def test_atomics_on_one_address():
    rows = np.array([5] * 24 + list(range(8)), np.int32)
    report = counted("histogram", (1,), (32,), (rows, np.zeros(8, np.int32)))
    atomics = report.line("atomicAdd", kind="atomic")
    assert (atomics.operations, atomics.addresses, atomics.worst) == (32, 8, 25)
    assert report.hot == {"counts": (20, 25)}  # row 5 lies at byte 20


def test_lanes_that_do_not_take_part():
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    report = counted("half_a_warp", (1,), (32,), (x, y))
    read = report.line("x[threadIdx.x]", array="x")
    assert (read.lanes, read.partial, read.sectors) == (16, 1, 2)
    assert read.example[16:] == (-1,) * 16
    assert report.branches and report.branches[0].lanes == 16


@pytest.mark.parametrize("order", range(8))
def test_counts_do_not_depend_on_the_order_of_threads(order):
    x, y = np.arange(4096, dtype=np.float32), np.zeros(128, np.float32)
    report = counted("strided", (4,), (32,), (x, y, 2), order=order)
    assert report.total("sectors") == 4 * 8 + 16 and report.total("requests") == 8


def test_single_accesses_on_request():
    x, y = np.arange(64, dtype=np.float32), np.zeros(32, np.float32)
    report = counted("strided", (1,), (32,), (x, y, 2), log=10)
    assert len(report.accesses) == 10
    first = report.accesses[0]
    assert (first.array, first.kind, first.offset, first.thread) == ("x", "read", 0, (0, 0, 0))


def test_two_kernels_side_by_side():
    x, y = np.arange(4096, dtype=np.float32), np.zeros(128, np.float32)
    one = counted("strided", (4,), (32,), (x, y, 1))
    eight = counted("strided", (4,), (32,), (x, y, 8))
    told = compare(one, eight)
    assert told.source() == [] and ("sectors of 32 bytes (global)", 32, 144) in told.totals()
    other = counted("half_a_warp", (1,), (32,), (x, y))
    assert any("threadIdx.x < 16" in right for _, right in compare(one, other).source())
    assert "4.5 times" in str(told) and "<table>" in told._repr_html_()
    with pytest.raises(ValueError, match="b: .*no report"):
        compare(one, RawKernel(SCALE, "scale"))


def test_the_table_has_a_row_for_every_line(x):
    report = counted("strided", (1,), (32,), (x, x.copy(), 1))
    assert len(report.table()) == 3 and "y[i] = x[i * stride];" in str(report)
    assert "<td>" in report._repr_html_()
    with pytest.raises(LookupError, match="2 counts fit"):
        report.line("y[i]")


# ---- nothing escapes ----

WILD = """
extern "C" __global__ void wild(float* x, long long where) { *(float*)where = x[0]; }
extern "C" __global__ void endless(volatile int* x) { while (true) x[0]++; }
extern "C" __global__ void deep(int* x, int n);
__device__ int down(int n) { return n < 0 ? 0 : down(n + 1) + n; }
extern "C" __global__ void deep(int* x, int n) { x[0] = down(n); }
"""


@pytest.mark.parametrize(
    "name, args, kind",
    [
        ("wild", (np.zeros(1, np.float32), 64), "wild pointer"),
        ("endless", (np.zeros(1, np.int32),), "endless"),
        ("deep", (np.zeros(1, np.int32), 1), "crash"),
    ],
)
def test_a_kernel_that_goes_wild_takes_nothing_with_it(name, args, kind, x):
    with settings(seconds=2.0), pytest.raises(KernelFault) as caught:
        RawModule(code=WILD).get_function(name)((1,), (1,), args)
    assert caught.value.kind == kind
    np.testing.assert_array_equal(scaled(x), 2 * x)  # and the next launch is well


MUCH = """
extern "C" __global__ void stacked(float* x) {
  int a[SIZE];
  for (int i = 0; i < SIZE; i += 100) a[i] = i + threadIdx.x;
  __syncthreads();
  int sum = 0;
  for (int i = 0; i < SIZE; i += 100) sum += a[i] == i + threadIdx.x;
  x[threadIdx.x] = sum;
}
extern "C" __global__ void waits(volatile int* flag) { while (flag[0] == 0); }
extern "C" __global__ void prints(volatile int* flag) {
  while (flag[0] == 0)
    if (flag[1]++ < 3) printf("wait ");
}
extern "C" __global__ void slow(float* x) {
  float sum = 0.0f;
  for (int i = 0; i < 300; i++) sum += x[(i * threadIdx.x) % 64];
  if (sum < 0) x[0] = sum;
}
"""


@pytest.mark.parametrize("size", [40_000, 130_000])
@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_a_thread_has_512_kib_of_local_memory(mode, size):
    x, module = np.zeros(64, np.float32), RawModule(code=MUCH, options=(f"-DSIZE={size}",))
    with settings(mode=mode):
        module.get_function("stacked")((1,), (64,), (x,))
    np.testing.assert_array_equal(x, np.full(64, size // 100, np.float32))


@pytest.mark.skipif(os.name != "posix", reason="a launch is ended by a signal")
@pytest.mark.parametrize("name, cores, order", [("waits", 1, 0), ("waits", 2, 1), ("prints", 1, 0)])
def test_fast_mode_has_a_time_limit(name, cores, order, x):
    kernel = RawModule(code=MUCH, options=("-DSIZE=4",)).get_function(name)
    with settings(mode="fast", seconds=0.5, cores=cores, order=order):
        with pytest.raises(KernelFault, match="0.5 seconds.*\n.*settings.seconds=") as caught:
            kernel((4,), (32,), (np.zeros(2, np.int32),))
    assert caught.value.kind == "endless"
    np.testing.assert_array_equal(scaled(x, mode="fast"), 2 * x)  # and the next launch is well


CRASHES = """
__device__ int deep(int n, volatile int* p) {
  volatile int a[100];
  a[n % 100] = n;
  return n > 0 ? deep(n - 1, a) + a[3] : p[0];
}
extern "C" __global__ void k(float* x, int what) {
  if (what == 1) x[1ll << 40] = 1;
  if (what == 3) __syncthreads();
  x[threadIdx.x] = what ? deep(1 << 20, &what) : 7;
}
"""


@pytest.mark.skipif(os.name != "posix", reason="a launch is ended by a signal")
@pytest.mark.parametrize("what, told", [(1, "wild pointer"), (2, "its stack"), (3, "its stack")])
@pytest.mark.parametrize("cores", [1, 2])
def test_what_the_system_refuses_is_a_fault_in_fast_mode(what, told, cores):
    kernel, x = RawKernel(CRASHES, "k"), np.zeros(32, np.float32)
    with settings(mode="fast", cores=cores):
        with pytest.raises(KernelFault, match=told) as caught:
            kernel((2,), (32,), (x, what))
        assert caught.value.kind == "crash"
        kernel((2,), (32,), (x, 0))
    assert x.tolist() == [7] * 32


@pytest.mark.skipif(os.name != "posix", reason="a launch is ended by a signal")
@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_an_interrupt_ends_a_launch(mode, x):
    kernel = RawModule(code=MUCH, options=("-DSIZE=4",)).get_function("waits")
    with settings(mode=mode):
        kernel((1,), (1,), (np.ones(1, np.int32),))  # compiled
        interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            kernel((1,), (1,), (np.zeros(1, np.int32),))
        interrupt.join()
        np.testing.assert_array_equal(scaled(x, mode=mode), 2 * x)


def test_a_right_launch_that_is_cut_off_is_told_how_far_it_got(x):
    kernel = RawModule(code=MUCH, options=("-DSIZE=4",)).get_function("slow")
    with settings(seconds=2), pytest.raises(KernelFault) as caught:
        kernel((1_000_000,), (64,), (np.zeros(64, np.float32),))
    assert caught.value.kind == "time limit"
    told = r"after 2 seconds, when [1-9][\d,]* of 1,000,000 blocks"
    assert re.search(told, str(caught.value)) and "settings(seconds=" in str(caught.value)


def test_where_races_are_not_looked_for_is_said(monkeypatch):
    monkeypatch.setattr(checked, "SHADOW_LIMIT", 60 * 64)  # notes for 64 numbers
    code = 'extern "C" __global__ void k(float* x, int at) { x[at] += threadIdx.x; }'
    kernel, x = RawKernel(code, "k"), np.zeros(256, np.float32)
    with pytest.warns(UserWarning, match="not looked for in the last 75 % of `x`"):
        kernel((1,), (32,), (x, np.int32(200)))
    assert kernel.report.unchecked and "not looked for" in kernel.report.verdict
    assert "not looked for" in str(kernel.report)
    with pytest.raises(KernelFault, match="race"):
        kernel((1,), (32,), (x, np.int32(0)))


def test_faults_that_are_only_listed():
    code = """
    extern "C" __global__ void lost(int* counter) { counter[0] = counter[0] + 1; }"""
    counter, kernel = np.zeros(1, np.int32), RawKernel(code, "lost")
    with settings(raise_faults=False, order=1):
        kernel((1,), (32,), (counter,))
    assert kernel.report.faults and set(kernel.report.faults) == {"race"}
    assert 0 < counter[0] < 32  # what was written is kept: updates are lost
    with settings(order=1), pytest.raises(KernelFault, match="nothing that puts the two in order"):
        kernel((1,), (32,), (counter,))


def test_inputs_are_left_alone(x):
    before = x.copy()
    scaled(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(scaled(x), 2 * before)
    np.testing.assert_array_equal(x, before)


def test_launches_from_several_threads(x):
    wrong = []

    def work(mode):
        for _ in range(5):
            if not np.array_equal(scaled(x, mode=mode), 2 * x):
                wrong.append(mode)

    threads = [threading.Thread(target=work, args=(m,)) for m in ("fast", "checked") * 2]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# ---- compilers and the cache ----


def test_a_compile_error_shows_the_line_of_the_reader():
    code = SCALE.replace("factor * x[i]", "faktor * x[i]")
    with pytest.raises(CompileError) as caught:
        RawKernel(code, "scale").compile()
    assert caught.value.errors[0][0] == 4 and "faktor" in caught.value.errors[0][2]
    assert "line 4" in str(caught.value) and "if (i < n) y[i] = faktor" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "line", "word"),
    [
        (("factor * x[i];", "factor * x[i]; {"), 2, "this bracket is never closed"),
        (("\nextern", "\n#if 1\nextern"), 2, "#if"),
        (("}\n", '}\nextern "C" __global__ void scale() {}\n'), 6, "conflicting"),
        (('extern "C"', "template <class T>"), 2, "`scale<3>` of a kernel cannot be made: it does"),
        (("if (i", "__syncthreads; if (i"), 4, "It is a call: `__syncthreads()`"),
    ],
)
def test_an_error_behind_the_source_is_told_in_its_lines(change, line, word):
    names = ["scale<3>"] if "template" in change[1] else None
    with pytest.raises(CompileError) as caught, settings(mode="fast"):
        RawModule(SCALE.replace(*change), name_expressions=names).compile()
    told = str(caught.value)
    assert caught.value.errors[0][0] == line and word in told and "kernel.cpp" not in told


def test_an_option_that_is_not_known():
    with pytest.raises(ValueError, match="'--magic'"):
        RawKernel(SCALE, "scale", ("--magic",)).compile()


def test_no_compiler_is_one_clear_sentence(monkeypatch, fresh_cache):
    monkeypatch.delenv("EMBAG_CXX", raising=False)
    monkeypatch.setattr(compilers_here, "compilers", dict)
    with pytest.raises(CompilerMissing, match=r"pip install 'embag_edu\[compiler\]'"):
        RawKernel(SCALE, "scale").compile()


def test_the_command_of_a_compiler_may_hold_a_space(monkeypatch, tmp_path):
    named = tmp_path / "my compiler.exe"
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)
    monkeypatch.setenv("EMBAG_CXX", str(named))
    assert compilers_here.find_compiler() == [str(named)]
    monkeypatch.setenv("EMBAG_CXX", "ccache g++")
    assert compilers_here.find_compiler() == ["ccache", "g++"]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_compiler(compiler, monkeypatch, x, tmp_path):
    monkeypatch.setenv("EMBAG_CXX", compiler)
    cache_with_runtimes(monkeypatch, tmp_path)
    for mode in ("fast", "checked"):
        np.testing.assert_array_equal(scaled(x, mode=mode), 2 * x)


@pytest.mark.parametrize("damage", ["cut short", "empty", "no digest", "other bytes", "no library"])
def test_a_damaged_cache_entry_heals(x, fresh_cache, damage):
    scaled(x)
    for library in fresh_cache.glob(f"*/kernel{toolchain.SUFFIX}"):
        content = library.read_bytes()
        library.unlink()  # a mapped file is not changed in place
        if damage == "no digest":
            library.write_bytes(content)
            library.with_name("digest").unlink()
        elif damage != "no library":
            bad = {"cut short": content[:1000], "empty": b"", "other bytes": content[::-1]}
            library.write_bytes(bad[damage])
    np.testing.assert_array_equal(scaled(x), 2 * x)


def test_a_kernel_is_compiled_once(x, fresh_cache, monkeypatch):
    scaled(x)
    monkeypatch.setattr(toolchain, "_make", None)  # would fail if it were called
    np.testing.assert_array_equal(scaled(x), 2 * x)


def _scaled_elsewhere(seed):
    x = np.random.default_rng(seed).standard_normal(100).astype(np.float32)
    return bool(np.array_equal(scaled(x), 2 * x))


def test_two_processes_at_once(fresh_cache):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_scaled_elsewhere, range(4), chunksize=2) == [True] * 4


def test_it_stands_alone(tmp_path):
    """cuda_on_cpu imports NumPy and the standard library, and nothing else of this package."""
    code = (
        "import sys, embag_edu.cuda_on_cpu as c; bad = [m for m in sys.modules if m.split('.')[0] "
        "in ('torch', 'cupy', 'matplotlib', 'scipy') or m in ('embag_edu.loops', 'embag_edu.check')"
        "]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=dict(os.environ))


PACK = """
template <typename T, int N> struct __align__(sizeof(T) * N) Pack {
  T element[N];
};
template <typename T, int N> __global__ void add_one(const T* x, T* y) {
  int i = threadIdx.x * N;
  Pack<T, N> v = *(const Pack<T, N>*)&x[i];
  for (int j = 0; j < N; j++) v.element[j] += 1;
  *(Pack<T, N>*)&y[i] = v;
}
"""
FILL = """
__global__ void fill(float* y) {
  Pack<float, 4> v = {1, 2, 3, 4};
  *(Pack<float, 4>*)&y[4 * threadIdx.x] = v;
}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_aligned_struct_of_the_source_is_copied_whole(compiler, monkeypatch):
    monkeypatch.setenv("EMBAG_CXX", compiler)
    for n in (1, 2, 4):
        kernel = RawKernel(PACK, f"add_one<float, {n}>")
        x, y = np.arange(32 * n, dtype=np.float32), np.zeros(32 * n, np.float32)
        kernel((1,), (32,), (x, y))
        assert y.tolist() == (x + 1).tolist()
        found = [(line.line, line.kind, line.requests) for line in kernel.report.lines]
        assert found == [(7, "read", 1), (9, "write", 1)], n
    module, y = RawModule(code=PACK + FILL, name_expressions=["fill"]), np.zeros(8, np.float32)
    module.get_function("fill")((1,), (2,), (y,))  # an aggregate stays one
    assert y.tolist() == [1, 2, 3, 4] * 2


ARCH = """
#if __CUDA_ARCH__ >= 700 && defined(__CUDACC__) && defined(__CUDACC_RTC__)
__device__ int from_a_new_gpu = 1;
#else
#error an old GPU
#endif
#if defined(__GNUC__) || defined(__clang__) || defined(linux) || defined(__NVCC__)
#error the host's compiler
#endif
__constant__ int limits[__CUDA_ARCH__ / 100] = {};
extern "C" __global__ void arch(int* y) {
#if __CUDA_ARCH__ >= 900
  __shared__ int only_there;
  only_there = 90;
  y[0] = only_there + sizeof(limits) / 4;
#else
  y[0] = __CUDA_ARCH__;
#endif
}"""


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_a_source_sees_the_macros_of_nvidias_compiler(mode):
    def run(options=(), **changes):
        y = np.zeros(1, np.int32)
        with settings(mode=mode, **changes):
            RawModule(code=ARCH, options=options).get_function("arch")((1,), (1,), (y,))
        return int(y[0])

    assert run() == 99 and run(arch="sm_75") == 750
    assert run(arch="sm_90") == 99 and run(("-arch=sm_100",)) == 100
    with pytest.raises(CompileError, match="an old GPU"):
        run(arch="sm_60")
    with pytest.raises(ValueError, match="'sm_80'"):
        run(arch=80)


BOUNDS = """
#define BLOCK 64
constexpr int HALF = BLOCK / 2;
extern "C" __global__ void __launch_bounds__(16*16) product(int* y) {}
extern "C" __global__ void __launch_bounds__(BLOCK, 4) name(int* y) {}
extern "C" __launch_bounds__(HALF + (1 << 3)) __global__ void sum(int* y) {}
template <typename T, int N = 8> __global__ void __launch_bounds__(2 * N) instance(T* y) {}
extern "C" __global__ void unbounded(int* y) {}
"""


@pytest.mark.parametrize(
    ("name", "threads"),
    [
        ("product", 256),
        ("name", 64),
        ("sum", 40),
        ("instance<int>", 16),
        ("instance<int, (4 > 3) ? 32 : 1>", 64),
        ("unbounded", 1024),
    ],
)
def test_launch_bounds(name, threads):
    module, y = RawModule(code=BOUNDS, name_expressions=[name]), np.zeros(1, np.int32)
    kernel = module.get_function(name)
    assert kernel.max_threads_per_block == kernel.attributes["max_threads_per_block"] == threads
    kernel((1,), (threads,), (y,))
    if threads < 1024:
        with pytest.raises(ValueError, match=f"up to {threads} "):
            kernel((1,), (threads + 1,), (y,))


COMMA = """
extern "C" __global__ void pick(const float* matrix, float* y, int r, int c) {
  float sum;
  if (r > 100) sum = 1;
  y[0] = matrix[r, c] + sum;
}"""


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_the_compilers_warnings_are_kept(mode):
    """Also when the library comes from the cache."""
    for _ in range(2):
        kernel = RawKernel(COMMA, "pick")
        with settings(mode=mode):
            kernel.compile()
        assert any("line 5" in text and "comma" in text for text in kernel.warnings), (
            kernel.warnings
        )
    with settings(mode=mode):
        clean = RawKernel(SCALE, "scale")
        clean.compile()
    assert clean.warnings == []


@pytest.mark.skipif(bool(toolchain.nvrtc.available()), reason=toolchain.nvrtc.available())
def test_a_gpus_compiler_adds_its_words(monkeypatch, fresh_cache):
    code = 'extern "C" __global__ void k(unsigned* y) { y[0] = __unknown4(y[0], y[1]); }'
    monkeypatch.setattr(toolchain.host, "refused", lambda *_: [])
    helper = "float plain(float x) { return x; }\n" + SCALE  # a function of the host
    kernel = RawKernel(helper, "scale")
    kernel.compile()
    assert len(kernel.warnings) == 1
    assert kernel.warnings[0].startswith(
        "a GPU's compiler refuses this: line 1: A function without"
    )
    x = np.ones(4, np.float32)
    with pytest.warns(UserWarning, match="a GPU's compiler refuses this: line 1"):
        kernel((1,), (4,), (x, x.copy(), np.float32(2), 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        kernel((1,), (4,), (x, x.copy(), np.float32(2), 4))
    with pytest.raises(CompileError, match="__unknown4"):
        RawKernel(code, "k").compile()


@pytest.mark.skipif(sys.platform != "linux", reason="counts the mappings of a process on Linux")
def test_stacks_of_many_threads_are_used_again():
    """Each stack takes two mappings, and a process has 65,530: launches may not add up."""
    kernel = RawKernel(
        'extern "C" __global__ void k(int* x) { x[threadIdx.x] = threadIdx.x; }', "k"
    )
    x = np.zeros(1024, np.int32)
    mappings = lambda: len(open("/proc/self/maps", encoding="utf-8").readlines())  # noqa: E731, SIM115
    with settings(mode="fast", cores=2):
        kernel((2,), (1024,), (x,))
        before = mappings()
        for _ in range(20):
            kernel((2,), (1024,), (x,))
    assert (x == np.arange(1024)).all() and mappings() < before + 2 * 2 * 1024 + 100
