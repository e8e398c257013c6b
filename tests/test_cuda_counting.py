"""What launches are counted to ask for, what was predicted, and what the compiler gave."""

import re

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu import loops
from embag_edu.chapters.ch10.figures import skewed
from embag_edu.check.compare import difference
from embag_edu.cuda import launcher
from embag_edu.cuda.__main__ import RUNS, main
from embag_edu.cuda.counting import count_check, count_gradient, count_max, count_renorm, count_sum
from embag_edu.cuda.launch_forward import VERSIONS, Work, sum_bags
from embag_edu.cuda.launcher import (
    CPU,
    HERE,
    device,
    kernel,
    kernel_on_cpu,
    recording,
    source,
)
from embag_edu.cuda.prediction import loads, planned
from embag_edu.cuda.resources import registers, shared_bytes
from embag_edu.cuda_on_cpu import KernelFault, Report, settings
from embag_edu.spec import make_call


def even(D, L, B=8, **options):
    """Bags of L positions, which look up rows 0, 1, 2, ..."""
    weight = np.random.default_rng(D).normal(size=(B * L, D)).astype(np.float32)
    return make_call(np.arange(B * L), weight, np.arange(0, B * L, L), mode="sum", **options)


# ---- recorded ---------------------------------------------------------------------------------


@needs_compiler
def test_a_gpu_is_not_asked_while_launches_are_recorded(monkeypatch):
    monkeypatch.setattr(launcher, "device_of_this_machine", lambda: pytest.fail("a GPU is asked"))
    counted = count_sum(even(4, 3), 6, piece=4)
    assert type(counted.result) is np.ndarray and len(counted.reports) == 2


@needs_compiler
def test_what_is_recorded_is_checked_and_nothing_else_is():
    """Also where fast mode is on; the recorder ends with its block, after a fault too."""
    call = even(4, 3)
    with settings(mode="fast"):
        with recording(order=2) as reports:
            assert device() is CPU
            sum_bags(Work(call), 5, parts=2)
        assert [r.launched.kernel.split("<")[0] for r in reports] == ["bag_sum_5", "add_parts"]
        with pytest.raises(ValueError, match="change: 'no such text' stands in forward.cu 0 times"):
            with recording(change=("no such text", "")):
                sum_bags(Work(call), 1)
        sum_bags(Work(call), 1)
        assert len(reports) == 2 and device() is not CPU


def test_a_changed_kernel_is_another_and_the_same_is_the_same():
    name = "segments", "piece_sums", "float", "float", "int"
    change = "const int PIECE = 32;", "const int PIECE = 16;"
    assert kernel_on_cpu(*name) is kernel_on_cpu(*name)
    assert kernel_on_cpu(*name, change=change) is not kernel_on_cpu(*name)
    assert kernel(*name) is kernel(*name)


# ---- the forward ------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("D", "L"), [(128, 20), (16, 20), (16, 33), (100, 20), (3, 7), (256, 40), (64, 3)]
)
def test_what_is_planned_is_what_is_counted(version, D, L):
    counted, plan = count_sum(even(D, L), version), planned(version, D, L)
    for array, expected in (("weight", plan.rows), ("indices", plan.indices)):
        actual = counted.total("requests", array), counted.total("sectors", array)
        assert actual == expected, array


@pytest.mark.parametrize(("D", "pack", "team"), [(128, 4, 32), (16, 4, 4), (6, 2, 4), (33, 1, 32)])
def test_a_plan_gives_every_feature_to_one_lane(D, pack, team):
    for version in (1, 2, 3, 4):
        plan = planned(version, D, L=3, B=5)
        has = plan.d >= 0
        pairs = set(zip(plan.bag[has].tolist(), plan.d[has].tolist(), strict=True))
        assert len(pairs) == has.sum() == 5 * D // plan.pack
        assert plan.pack == (1 if version == 1 else pack)
    assert plan.team == team


def test_only_versions_with_fixed_lanes_are_planned():
    with pytest.raises(ValueError, match="version is 5; the lanes of versions 1 to 4"):
        planned(5, 16, 20)


@needs_compiler
@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_a_report_of_each_launch_and_the_output(version):
    call = even(20, 7)
    counted = count_sum(call, version, order=3)
    assert all(isinstance(report, Report) for report in counted.reports)
    assert len(counted.kernels) == (2 if version in (5, 6) else 1)  # no bag is cut in 7 and 8
    assert counted.kernels[0].startswith(f"bag_sum_{version}<")
    np.testing.assert_allclose(counted.result, loops.forward(call)[0], rtol=1e-5, atol=1e-5)
    assert (
        counted.total("moved") == 32 * counted.total("sectors") > counted.total("moved", "weight")
    )


def test_registers_that_are_not_stored_are_not_invented():
    assert registers("no_such_kernel<float>") is None


@needs_compiler
def test_shared_memory_is_counted_by_itself():
    """Version 8 reads from its rings what it has asked for: each row once."""
    loads, copies = count_sum(even(128, 7), 4), count_sum(even(128, 7), 8)
    assert loads.total("requests", shared=True) == 0
    assert copies.total("requests", "rows", "read", shared=True) == 7 * 8
    assert copies.total("passes", "rows", "read", shared=True) == 4 * 7 * 8
    assert copies.total("requests") == loads.total("requests")


@needs_compiler
def test_a_change_of_the_source_is_launched_and_leaves_no_trace():
    call = even(16, 7)
    expected = count_sum(call, 4).result
    firsts = count_sum(
        call, 4, change=("is_live = lane < count &&", "is_live = lane < 1 &&")
    ).result
    np.testing.assert_array_equal(firsts, call.weight[::7] + call.weight[4::7])  # teams of 4
    np.testing.assert_array_equal(count_sum(call, 4).result, expected)
    early = "__pipeline_wait_prior(RING - 1)", "__pipeline_wait_prior(RING)"
    with pytest.raises(KernelFault, match="async copy"):
        count_sum(even(16, 20), 8, change=early)


@pytest.mark.parametrize("old, times", [("no such text", 0), ("typename", "[0-9]+")])
def test_a_change_must_name_one_place(old, times):
    with pytest.raises(ValueError, match=f"'{old}' stands in forward.cu {times} times, not once"):
        count_sum(even(16, 7), 1, change=(old, ""))


def test_shared_bytes_are_those_of_the_rings():
    assert shared_bytes("no_such_kernel<float>") is None
    assert shared_bytes("bag_sum_1<float, long long, SUM, false>") == 0
    rows, factors = 8 * 128 * 16, 128 * 4
    assert shared_bytes("bag_sum_8<float, long long, SUM, false, 4, 32>") == rows + factors


@needs_compiler
def test_counts_leave_the_callers_table_alone_and_give_results():
    random = np.random.default_rng(9)
    weight = random.normal(size=(20, 6)).astype(np.float32)
    before = weight.copy()
    ids = random.integers(0, 20, 30)
    call = make_call(ids, weight, np.array([0, 7]), mode="max", max_norm=1.0)
    rescaled = count_renorm(call)
    assert (weight == before).all() and rescaled.total("operations") == 30
    loops.renorm(call)
    assert not difference(call.weight, rescaled.result, rtol=1e-6)
    for version in (1, 2):
        counted = count_max(call, version, order=2)
        output, winners = counted.result
        assert not difference(loops.forward(call)[0], output)
        assert counted.total("sectors", "winners") > 0 and winners.dtype == np.int32
        assert len(counted.reports) == 1


@needs_compiler
def test_a_counted_check_raises_what_it_finds():
    fine = count_check(np.array([0, 4]), np.array([0, 2]), 5)
    assert fine.total("operations") == 0 < fine.total("sectors")
    with pytest.raises(RuntimeError, match="found idx to be 5"):
        count_check(np.array([0, 5]), np.array([0, 2]), 5)


# ---- the backward -----------------------------------------------------------------------------


def reviews_like(skew, N=1000, V=64, D=3, B=9, **options):
    """A call with skewed rows, and a random upstream gradient."""
    random = np.random.default_rng(11)
    weight = random.normal(size=(V, D)).astype(np.float32)
    offsets = np.sort(random.integers(0, N + 1, B - 1))
    call = make_call(skewed(N, V, skew), weight, np.append(0, offsets), **options)
    return call, random.normal(size=(B, D)).astype(np.float32)


@needs_compiler
@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_loads_are_what_launches_count_gradient(skew):
    call, G = reviews_like(skew, mode="sum")
    load, D = loads(call.indices), call.embedding_dim
    atomic = count_gradient(call, G, "add_elements").reports[-1]
    assert atomic.hot["grad_weight"][1] == load.hits == load.longest
    assert count_gradient(call, G, "add_joined").reports[-1].hot["grad_weight"][1] == load.joined
    cut = count_gradient(call, G, "piece_sums")
    assert cut.total("wanted", "partial", "write") == 2 * load.cuts * D * 4
    assert cut.total("wanted", "grad_weight", "write") == load.runs * D * 4
    walks = [line.requests for line in cut.reports[-1].lines if line.array == "partial"]
    assert sum(walks) == 2 * load.cuts >= load.walk


@needs_compiler
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_count_gives_the_gradient_of_loops_in_any_order(mode):
    call, G = reviews_like(1.0, mode=mode)
    expected = loops.grad_weight(call, loops.forward(call)[1], G)
    algorithms = ("run_sums", "piece_sums", "piece_packs") if mode != "max" else ("sorted_winners",)
    for algorithm in algorithms:
        one, other = (count_gradient(call, G, algorithm, *run) for run in ((0, 256), (3, 64)))
        assert not difference(expected, one.result, atol=1e-3)
        assert one.result.tobytes() == other.result.tobytes()
        assert one.total("operations") == 0 and one.reports


# ---- the text of the kernels ------------------------------------------------------------------

DEFINITIONS = ("const unsigned ALL", " thread_number() {", "struct Wide {", ") Pack {")


def test_what_files_share_is_defined_in_one_place():
    """In common.cuh; it takes one line, so that each line of a file keeps its number."""
    shared = (HERE / "common.cuh").read_text(encoding="utf-8")
    assert [shared.count(definition) for definition in DEFINITIONS] == [1, 1, 1, 1]
    for file in HERE.glob("*.cu"):
        own, whole = file.read_text(encoding="utf-8"), source(file.stem)
        assert not [definition for definition in DEFINITIONS if definition in own], file.name
        assert '#include "' not in whole
        if '.cu"' not in own:  # bulk.cu includes a file that has many lines
            assert len(whole.splitlines()) == len(own.splitlines())


@needs_compiler
@pytest.mark.parametrize("file", sorted(file.stem for file in HERE.glob("*.cu")))
def test_the_line_that_says_how_to_run_a_version_runs_it(file, capsys):
    text = (HERE / f"{file}.cu").read_text(encoding="utf-8")
    (command,) = re.findall(r"^// run a version: python -m embag_edu.cuda (.*)$", text, re.M)
    assert main(command.split()) == 0
    assert file in command and "sectors" in capsys.readouterr().out


@needs_compiler
@pytest.mark.parametrize("file", RUNS)
def test_every_version_is_run_under_its_name(file, capsys):
    versions, run = RUNS[file]
    for version in versions:
        assert run(version).reports
    with pytest.raises(SystemExit):
        main([file, "fastest"])
    assert "invalid choice: 'fastest'" in capsys.readouterr().err
