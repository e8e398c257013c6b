"""The checked mode reports every faulty kernel, and no correct one."""

import os
from functools import cache

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import KernelFault, RawModule, settings
from embag_edu.cuda_on_cpu.conformance import faults, neighbors
from embag_edu.cuda_on_cpu.conformance.faults import FAULTS, Fault, marked_lines
from embag_edu.cuda_on_cpu.conformance.neighbors import NEIGHBORS, Neighbor
from embag_edu.cuda_on_cpu.toolchain import compilers

# Two orders with the compiler that a reader would get, one with every other that is here.
CHOICES = [(name, 0) for name in compilers() if name != "c++"] + [(next(iter(compilers())), 3)]
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


def launch(case: Fault | Neighbor, code: str, arguments: tuple) -> None:
    compiler = os.environ.get("EMBAG_CXX", "")
    kernel = module(code, getattr(case, "options", ()), compiler).get_function(case.kernel)
    kernel(case.grid, case.block, arguments, shared_mem=case.shared_mem)


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
    with settings(mode="checked", order=order, seconds=fault.seconds):
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
@pytest.mark.parametrize("mode", ["checked", "fast"])
def test_a_wrong_launch_is_refused(fault, mode):
    arguments = fault.make(np.random.default_rng(0))
    before = copies(arguments)
    with settings(mode=mode), pytest.raises(fault.error) as caught:
        launch(fault, faults.source(), arguments)
    assert fault.parameter is None or fault.parameter in str(caught.value)
    assert_untouched(arguments, before)


@pytest.mark.parametrize("neighbor", NEIGHBORS, ids=name)
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, None])
def test_a_correct_kernel_is_reported_clean(neighbor, order):
    """order None: fast mode."""
    arguments = neighbor.make(np.random.default_rng(order or 0))
    expected = neighbor.expect(copies(arguments))
    chosen = {"mode": "fast"} if order is None else {"mode": "checked", "order": order}
    before = copies(arguments)
    with settings(**chosen):
        launch(neighbor, neighbors.source(), arguments)
    for position, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            wanted = expected.get(position, before[position])
            np.testing.assert_allclose(
                argument, wanted, rtol=0, atol=neighbor.tolerance, equal_nan=False
            )


@pytest.mark.parametrize("neighbor", NEIGHBORS, ids=name)
@pytest.mark.parametrize("compiler", [name for name, _ in CHOICES[1:-1]], indirect=True)
def test_a_correct_kernel_is_clean_with_every_compiler(neighbor, compiler):
    test_a_correct_kernel_is_reported_clean(neighbor, 0)
