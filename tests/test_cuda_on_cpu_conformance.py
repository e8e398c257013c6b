"""What CUDA means, row by row, and whole kernels of many kinds: under many thread orders, checked
and fast, with the compiler that a reader would get. The marker `adversary` adds more orders, and
every compiler that this machine has."""

from dataclasses import replace

import numpy as np
import pytest

from embag_edu.cuda_on_cpu import RawModule, settings
from embag_edu.cuda_on_cpu.compilers import compilers
from embag_edu.cuda_on_cpu.conformance import features, kinds, run

TABLES = {"features": features, "kinds": kinds}
CASES = [
    pytest.param(table, case, id=case.name) for table in TABLES for case in TABLES[table].CASES
]
OTHERS = [name for name in compilers() if name != "c++"][1:]


def wrong(table, case, module):
    return run(case, module, np.asarray, np.asarray)


@pytest.fixture(scope="module")
def modules():
    return {name: table.module(RawModule) for name, table in TABLES.items()}


@pytest.mark.parametrize("more", [False, pytest.param(True, marks=pytest.mark.adversary)])
@pytest.mark.parametrize("table, case", CASES)
def test_a_row_under_many_thread_orders(table, case, more, modules):
    few, all_orders = (6, 20) if table == "kinds" else (3, 6)
    for order in range(few, all_orders) if more else range(few):
        for mode in ("fast", "checked"):
            with settings(mode=mode, order=order, cores=1 + order % 2):
                assert wrong(table, case, modules[table]) == "", f"{mode}, order {order}"


@pytest.mark.adversary
@pytest.mark.parametrize("compiler", OTHERS)
@pytest.mark.parametrize("table", TABLES)
def test_every_compiler_means_the_same(table, compiler, monkeypatch):
    monkeypatch.setenv("EMBAG_CXX", compiler)
    module = TABLES[table].module(RawModule)
    for case in TABLES[table].CASES:
        for mode, order in (("fast", 0), ("checked", 0), ("checked", 3)):
            with settings(mode=mode, order=order):
                assert wrong(table, case, module) == "", f"{case.name}, {mode}, order {order}"


def test_the_tables_are_as_large_as_they_say():
    assert len(features.CASES) >= 100 and len(kinds.CASES) >= 20
    assert len({case.name for table in TABLES.values() for case in table.CASES}) == len(CASES)


def test_a_wrong_result_is_not_accepted(modules):
    """The comparison of the tables itself: a wrong value, a changed input, a NaN."""
    case = next(c for c in kinds.CASES if c.name == "scan, Blelloch")
    off_by_one = replace(case, expect=lambda *a: {k: v + 1 for k, v in case.expect(*a).items()})
    nan = replace(case, expect=lambda *a: {k: v * np.nan for k, v in case.expect(*a).items()})
    nothing = replace(case, expect=lambda *a: {})
    for faulty in (off_by_one, nan, nothing):
        assert wrong("kinds", faulty, modules["kinds"])
