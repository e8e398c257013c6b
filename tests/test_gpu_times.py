"""The times of python -m embag_edu gpu, without a GPU: who takes part, and who is found wrong.

Everything runs on the CPU here, on torch's CPU tensors; the stopwatch is a stand-in. Not one time.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from embag_edu.bench.workloads import Workload
from embag_edu.cuda import launch_forward
from embag_edu.cuda.launch_forward import UNTIMED
from embag_edu.cuda_on_cpu import device
from embag_edu.gpu import command, conformance, operator, peers, times
from embag_edu.gpu.steps import Probe

pytestmark = pytest.mark.usefixtures("fast_on_the_cpu")
WORK = Workload(60, 16, 12, 5, "zipf", 1.15)
RATES = {"copy": 1e9}
STEPS = ("forward", "backward", "sparse")


@pytest.fixture
def loaded():
    return times.load(WORK, torch, "cpu")


@pytest.fixture
def clock():
    """In place of a clock: the first job takes 1 ms, the second 2 ms, and so on."""
    jobs = []

    def stand(job):
        jobs.append(job)
        job()
        seconds = 1e-3 * len(jobs)
        return lambda: seconds

    return stand


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("step, many", [("forward", 10), ("backward", 8), ("sparse", 3)])
def test_all_that_take_part_are_right(step, many, dtype):
    loaded = times.load(Workload(60, 16, 12, 5, dtype=dtype), torch, "cpu")
    jobs, wrong = times.correct_ones(loaded, step)
    # torch's CPU adds up a 16-bit gradient in 16 bits, and so does index_add_
    assert set(wrong) <= {"torch", "index_add_"} and len(jobs) >= many
    if dtype == "float32":
        assert not wrong and "torch" in jobs


def test_tensors_and_arrays_are_the_same_memory(loaded):
    assert np.shares_memory(loaded.call.weight, loaded.weight.numpy())
    loaded.weight[3, 4] = 77.0
    assert loaded.call.weight[3, 4] == 77


@pytest.mark.parametrize("spoil", [np.nan, 1e-2, -np.inf])
def test_a_wrong_output_is_found(loaded, spoil):
    output = times.summed(loaded.call)
    assert not times.wrong_forward(loaded, output)
    output[11, 7] += spoil
    assert times.wrong_forward(loaded, output)


@pytest.mark.parametrize("spoil", [np.nan, 1e-2])
def test_a_wrong_gradient_is_found(loaded, spoil):
    gradient = times.backwards(loaded)["piece_packs"]()
    assert not times.wrong_backward(loaded, gradient)
    hottest = int(torch.mode(loaded.indices).values)
    gradient[hottest, 2] += spoil
    assert times.wrong_backward(loaded, gradient)


def test_a_row_too_many_is_found(loaded):
    gradient = times.backwards(loaded)["piece_packs"]()
    absent = next(row for row in range(WORK.rows) if row not in loaded.indices.tolist())
    gradient[absent] = 1
    assert times.wrong_backward(loaded, gradient)


def test_a_wrong_sparse_gradient_is_found(loaded):
    gradient = times.sparse_steps(loaded)["ours"]()
    assert not times.wrong_sparse(loaded, gradient)
    gradient.values[0, 0] = np.nan
    assert times.wrong_sparse(loaded, gradient)


def test_what_is_recorded(monkeypatch, clock):
    on_cpu = times.load
    monkeypatch.setattr(times, "load", lambda work, torch: on_cpu(work, torch, "cpu"))
    found = times.compared(clock, "forward", WORK, torch, RATES)
    assert found.status == "passed" and found.data["logical_bytes"] == 16 * 4 * 72 + 8 * 60 + 8 * 13
    second = found.data["implementations"]["version 2"]
    assert second["median_ms"] == 2 and second["of_torch"] == 2 / 10  # torch is the tenth
    assert second["turns"] == times.TURNS
    assert second["of_copy_rate"] == pytest.approx(found.data["logical_bytes"] / 2e-3 / 1e9)


def test_who_is_wrong_has_no_time_and_fails_the_result(monkeypatch, clock):
    on_cpu = times.load
    monkeypatch.setattr(times, "load", lambda work, torch: on_cpu(work, torch, "cpu"))
    summed = times.summed
    spoil = lambda call, version=None: summed(call, version) + (version == 3)  # noqa: E731
    monkeypatch.setattr(times, "summed", spoil)
    found = times.compared(clock, "forward", WORK, torch, RATES)
    assert found.status == "failed" and "version 3" in found.note
    assert "version 3" not in found.data["implementations"]


def test_both_stopwatches_time_the_same_jobs(monkeypatch, clock):
    on_cpu = times.load
    monkeypatch.setattr(times, "load", lambda work, torch: on_cpu(work, torch, "cpu"))
    monkeypatch.setattr(times.first_kernel, "copy_rate", lambda clock: 1e9)
    found = times.both_ways({"reads": clock, "does not read": clock}, WORK, torch)
    assert found.status == "passed"
    for name, ours in (("reads", 1), ("does not read", 3)):  # the stand-in counts its jobs
        told = found.data[name]
        assert told["ours"]["median_ms"] == pytest.approx(ours)
        assert told["torch"]["median_ms"] == pytest.approx(ours + 1)
        assert told["copy_bytes_per_second"] == 1e9


def test_other_bits_in_another_run_are_found():
    class Here:
        is_gpu, gpu = False, type("gpu", (), {"kind": "cpu"})

    found = operator.repeated(Here, "x", lambda run: bytes([run]))
    assert found.status == "failed" and found.data["different"] == operator.TIMES_ON_CPU
    atomic = operator.repeated(Here, "x", lambda run: bytes([run]), repeatable=False)
    assert atomic.status == "passed" and atomic.data["different"] == operator.TIMES_ON_CPU


def test_the_page_names_results_that_are_recorded():
    """Where in the file the answers are: book/pages/gpu.md."""
    page = (Path(__file__).parents[1] / "book" / "pages" / "gpu.md").read_text(encoding="utf-8")
    _, _, table = page.partition("Where in the file the answers are:")
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")][2:]
    sizes = [(D, times.SWEEP_N // L, L) for D in times.SWEEP_D for L in times.SWEEP_L]
    swept = [
        Workload(100_000, *size, dtype=dtype) for size in sizes for dtype in times.SWEEP_DTYPES
    ]
    cases = [case.name for table in conformance.tables() for case in table.cases]
    names = {
        "ladder": [f"{step} {w.name}" for step in STEPS for w in times.workloads()],
        "peers": [f"{step} {w.name}" for step in STEPS for w in times.workloads(peers.DTYPES)],
        "candidates": [f"forward {w.name}" for w in times.workloads()],
        "check": [f"check {w.name}" for w in (times.TINY, times.SMALL[1])],
        "stopwatch": [f"stopwatch {Workload(*shape).name}" for shape in times.SHAPES.values()],
        "sweep": [f"sweep {w.name}" for w in swept],
        "conformance": [f"features: {name}" for name in cases],
    }
    assert {step for _, step, *_ in rows} <= {step.name for step in command.STEPS}
    told = [(step, name) for _, step, results, _ in rows for name in results.split("`")[1::2]]
    assert len(told) > 10 and all(name in names[step] for step, name in told), told


@pytest.fixture
def dry(monkeypatch, clock):
    """Whole steps on the processor: small shapes, and a stopwatch that is none."""
    on_cpu = times.load
    clock.queueing = lambda job, times: [1e-6]
    monkeypatch.setattr(times, "load", lambda work, torch: on_cpu(work, torch, "cpu"))
    monkeypatch.setattr(times, "torch_with_gpu", lambda gpu: (torch, ""))
    monkeypatch.setattr(times, "OnGpu", lambda gpu: clock)
    monkeypatch.setattr(times, "copy_rates", lambda clock: RATES)
    monkeypatch.setattr(times, "give_memory_back", lambda probe, torch: None)
    monkeypatch.setattr(times, "looped", lambda clock, job: (job(), 1.0)[1])
    monkeypatch.setattr(times, "workloads", lambda dtypes: [WORK])
    for name, value in {
        "SWEEP_D": (8,),
        "SWEEP_L": (4,),
        "SWEEP_N": 64,
        "SMALL": (WORK, WORK),
    }.items():
        monkeypatch.setattr(times, name, value)
    monkeypatch.setattr(times, "TINY", WORK)
    monkeypatch.setattr(times, "SHAPES", {"B": (60, 16, 12, 5)})
    return Probe(device("cpu"), np.inf)


def test_candidates_are_held_against_float64_and_timed(dry):
    """Every untimed forward that takes any bags; who is wrong has no time."""
    copy, found = times.candidates(dry)
    ours = [name for name in found.data["implementations"] if name != "torch"]
    assert ours == ["version 8", "version 8 bytes", "version bulk"]
    assert set(UNTIMED) == {"short", "8 bytes", "bulk"}  # "short" is in the sweep


def test_one_that_raises_costs_the_others_nothing(monkeypatch, dry):
    def fails(*_, **__):
        raise RuntimeError("it does not compile")

    for version in ("bulk", "short"):
        monkeypatch.setitem(launch_forward.EVERY, version, fails)
    launch_forward.sum_plan.cache_clear()
    _, found = times.candidates(dry)
    assert list(found.data["implementations"]) == ["version 8", "version 8 bytes", "torch"]
    told = "version bulk (RuntimeError: it does not compile)"
    assert found.status == "failed" and found.note == f"wrong results: {told}"
    swept = next(times.sweep(dry))
    assert swept.status == "failed" and "ours, short bags (RuntimeError" in swept.note
    assert {"ours_ms", "ours, L known_ms", "torch_ms"} <= set(swept.data["forward"])
    monkeypatch.setattr(times, "torch_forward", fails)
    _, found = times.candidates(dry)
    assert "version 8" in found.data["implementations"] and "torch (RuntimeError" in found.note


def test_the_sweep_and_the_check_record_what_the_page_says(dry):
    swept = [found for found in times.sweep(dry) if found.status == "passed"]
    assert [found.data["dtype"] for found in swept] == 3 * ["float32"] + 3 * ["bfloat16"]
    for found in swept:
        assert {"ours_ms", "torch_ms", "of_torch", "host_us"} <= set(found.data["backward"])
        assert "ours, short bags_ms" in found.data["forward"]
    checked = list(times.check_costs(dry))
    assert [found.status for found in checked] == 3 * ["passed"]
    assert set(checked[0].data["ms_a_call"]) == {"checked", "checked later", "trusted", "torch"}
    assert "ours, checked later" in checked[0].data["ms_forward_and_sparse_backward"]
