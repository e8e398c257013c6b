"""The checked mode reports every faulty kernel, and no correct one."""

import os
from functools import cache

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import KernelFault, RawKernel, RawModule, Report, settings
from embag_edu.cuda_on_cpu.compilers import compilers
from embag_edu.cuda_on_cpu.conformance import faults, neighbors
from embag_edu.cuda_on_cpu.conformance.faults import FAULTS, Fault, marked_lines
from embag_edu.cuda_on_cpu.conformance.neighbors import NEIGHBORS, Neighbor

# Two orders with the compiler that a reader would get; the adversary tries every other one.
FIRST, *OTHERS = [name for name in compilers() if name != "c++"]
ADVERSARY = pytest.mark.adversary
CHOICES = [(FIRST, 0), (FIRST, 3), *(pytest.param(name, 0, marks=ADVERSARY) for name in OTHERS)]
AT_LAUNCH = [fault for fault in FAULTS if fault.error]
RUNNING = [fault for fault in FAULTS if not fault.error]


@cache
def module(code: str, options: tuple[str, ...], compiler: str) -> RawModule:
    """One module for each table and compiler, compiled once."""
    return RawModule(code=code, options=options)


@pytest.fixture
def compiler(request, monkeypatch):
    monkeypatch.setenv("EMBAG_CXX", request.param)


def name(case: Fault | Neighbor) -> str:
    return case.name


def copies(arguments: tuple) -> tuple:
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in arguments)


def launch(case: Fault | Neighbor, code: str, arguments: tuple) -> Report | None:
    compiler = os.environ.get("EMBAG_CXX", "")
    kernel = module(code, getattr(case, "options", ()), compiler).get_function(case.kernel)
    kernel(case.grid, case.block, arguments, shared_mem=case.shared_mem)
    return kernel.report


def assert_untouched(arguments: tuple, before: tuple) -> None:
    for now, then in zip(arguments, before, strict=True):
        if isinstance(then, np.ndarray):
            np.testing.assert_array_equal(now, then, "a launch that fails leaves the arrays alone")


def test_the_tables_are_as_long_as_promised():
    assert len({fault.kernel for fault in RUNNING}) >= 40
    assert len({(fault.kind, fault.kernel) for fault in RUNNING}) >= 25
    assert len({neighbor.kernel for neighbor in NEIGHBORS}) >= 20
    assert len({kind for fault in FAULTS for kind in fault.kind}) >= 15
    for table in (FAULTS, NEIGHBORS):
        assert len({case.name for case in table}) == len(table)


@pytest.mark.parametrize("fault", RUNNING, ids=name)
@pytest.mark.parametrize("compiler, order", CHOICES, indirect=["compiler"])
def test_a_fault_is_reported_at_its_line(fault, compiler, order):
    arguments = fault.make(np.random.default_rng(order))
    before = copies(arguments)
    with settings(mode="checked", order=order, seconds=fault.seconds, strict=fault.strict):
        with pytest.raises(KernelFault) as caught:
            launch(fault, faults.source(), arguments)
    found, marked = caught.value, marked_lines(fault.kernel)
    assert found.kind in fault.kind, found
    if found.kind in ("race", "deadlock"):
        assert set(marked) <= set(found.lines), (marked, found.lines, found)
    assert found.line in marked, (marked, found)
    if fault.array is not None:
        assert found.array == fault.array, found
    assert_untouched(arguments, before)


@pytest.mark.parametrize("fault", AT_LAUNCH, ids=name)
@pytest.mark.parametrize("mode", ["checked", pytest.param("fast", marks=ADVERSARY)])
def test_a_wrong_launch_is_refused(fault, mode):
    arguments = fault.make(np.random.default_rng(0))
    before = copies(arguments)
    with settings(mode=mode), pytest.raises(fault.error) as caught:
        launch(fault, faults.source(), arguments)
    assert fault.parameter is None or fault.parameter in str(caught.value)
    assert_untouched(arguments, before)


@pytest.mark.parametrize("neighbor", NEIGHBORS, ids=name)
@pytest.mark.parametrize(
    "order", [0, 3, None, *(pytest.param(k, marks=ADVERSARY) for k in (1, 2, 4))]
)
def test_a_correct_kernel_is_reported_clean(neighbor, order):
    """order None: fast mode. A note is no fault, and stands in the report."""
    if order is None and not neighbor.fast:
        pytest.skip("not in fast mode")
    arguments = neighbor.make(np.random.default_rng(order or 0))
    expected = neighbor.expect(copies(arguments))
    chosen = {"mode": "fast"} if order is None else {"mode": "checked", "order": order}
    before = copies(arguments)
    with settings(**chosen):
        report = launch(neighbor, neighbors.source(), arguments)
    if order == 0:
        assert set(report.notes) == set(neighbor.notes) and report.faults == []
        assert str(report).count("note, ") == len(report.notes)
    for position, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            wanted = expected.get(position, before[position])
            np.testing.assert_allclose(
                argument, wanted, rtol=0, atol=neighbor.tolerance, equal_nan=False
            )


@ADVERSARY
@pytest.mark.parametrize("neighbor", NEIGHBORS, ids=name)
@pytest.mark.parametrize("compiler", OTHERS, indirect=True)
def test_a_correct_kernel_is_clean_with_every_compiler(neighbor, compiler):
    test_a_correct_kernel_is_reported_clean(neighbor, 0)


@pytest.mark.parametrize("neighbor", [n for n in NEIGHBORS if n.notes], ids=name)
def test_what_is_noted_is_a_fault_with_strict(neighbor):
    arguments = neighbor.make(np.random.default_rng(0))
    before = copies(arguments)
    with settings(strict=True), pytest.raises(KernelFault) as caught:
        launch(neighbor, neighbors.source(), arguments)
    assert caught.value.kind in neighbor.notes
    assert_untouched(arguments, before)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.strict], ids=name)
def test_a_strict_fault_is_else_a_note(fault):
    report = launch(fault, faults.source(), fault.make(np.random.default_rng(0)))
    assert report.faults == [] and set(report.notes) == set(fault.kind)


# ---- advice on races -----------------------------------------------------------------------------

WITHIN, ROUND, TOGETHER = (
    "then __syncthreads(), then write",
    "end of each round",
    "no barrier helps",
)
BETWEEN = "put __syncthreads() between the two lines"
START = "__shared__ float s[128]; int t = threadIdx.x; s[t] = x[t]; __syncthreads();\n"

# (what races, body, what would put it in order)
ADVICE = [
    ("tree", "for (int h = 64; h > 0; h /= 2)\n if (t < h) s[t] += s[t + h];", ROUND),
    ("tree with growing steps",
     "for (int h = 1; h < 128; h *= 2) { int i = 2 * h * t;\n if (i < 128) s[i] += s[i + h]; }",
     ROUND),
    ("tree with a remainder",
     "for (int h = 1; h < 128; h *= 2)\n if (t % (2 * h) == 0) s[t] += s[t + h];", ROUND),
    ("down a tree",
     "for (int d = 1, h = 64; d < 128; d *= 2, h /= 2)\n"
     " if (t < d) { int i = h * (2 * t + 1) - 1;\n"
     "  float a = s[i];\n  s[i] = s[i + h];\n  s[i + h] += a; }", ROUND),
    ("scan", "for (int h = 1; h < 128; h *= 2)\n if (t >= h) s[t] += s[t - h];", WITHIN),
    ("shift", "x[t] = x[t + 1];", WITHIN),
    ("neighbor in a tile", "s[t] = y[t];\ny[t] = s[127 - t];", BETWEEN),
    ("two reductions in one array",
     "for (int h = 64; h > 0; h /= 2) {\n if (t < h) s[t] += s[t + h];\n __syncthreads();\n}\n"
     "float a = s[0];\nfor (int h = 0; h < 3; h++) a += h;\ns[t] = a;", BETWEEN),
    ("tile filled again",
     "float a = 0;\nfor (int k = 0; k < 3; k++) {\n s[t] = y[t] + k;\n __syncthreads();\n"
     " a += s[127 - t];\n}\ny[t] = a;", ROUND),
    ("sort, odd and even",
     "for (int k = 0; k < 128; k++) { int i = 2 * t + k % 2;\n"
     " if (i < 127 && s[i] < s[i + 1]) {\n"
     "  float a = s[i]; s[i] = s[i + 1]; s[i + 1] = a; } }", ROUND),
    ("count", "y[t / 8] += x[t];", TOGETHER),
    ("count in three steps", "float a = y[t / 8];\na += x[t];\ny[t / 8] = a;", TOGETHER),
    ("count in a loop", "for (int k = 0; k < 4; k++)\n y[(t + k) / 8] += 1;", TOGETHER),
    ("sum of all", "s[0] += x[t];", TOGETHER),
    ("all write one", "y[0] = x[t];", TOGETHER),
]  # fmt: skip
ADVISED = "".join(
    f'extern "C" __global__ void k{i}(float* x, float* y) {{\n{START}{body}\n}}\n'
    for i, (_, body, _) in enumerate(ADVICE)
)


@pytest.mark.parametrize("about, body, advice", ADVICE, ids=[row[0] for row in ADVICE])
@pytest.mark.parametrize("order", [0, 2, 5])
def test_the_advice_on_a_race_would_mend_it(about, body, advice, order):
    x, y = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    kernel = module(ADVISED, (), "").get_function(f"k{[row[1] for row in ADVICE].index(body)}")
    with settings(order=order), pytest.raises(KernelFault) as caught:
        kernel((1,), (128,), (x, y))
    fixes = [text for text in str(caught.value).split("\n") if text.startswith("Likely fix")]
    assert all(advice in fix for fix in fixes), str(caught.value)
    assert advice == TOGETHER or not any("atomic" in fix for fix in fixes if "perhaps" not in fix)
    assert about == "down a tree" or not any("perhaps" in fix for fix in fixes), str(caught.value)


def test_the_advice_on_a_race_of_two_blocks():
    code = 'extern "C" __global__ void k(float* x) { x[threadIdx.x] += 1.0f + blockIdx.x; }'
    with pytest.raises(KernelFault, match="blocks run in any order: use an atomic"):
        RawKernel(code, "k")((2,), (32,), (np.zeros(32, np.float32),))
