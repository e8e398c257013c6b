"""The bench in small: workloads, the byte model by hand, checks that reject, a run, a record.

No test looks at a time.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import embag_edu.__main__ as command
from embag_edu.arrays import on_host
from embag_edu.bench import implementations, measure, plan, report, stopwatch, traffic, workloads
from embag_edu.bench.command import ONE_THREAD
from embag_edu.bench.measure import Measurement
from embag_edu.bench.recorded import plain
from embag_edu.bench.workloads import LENGTHS, Workload
from embag_edu.spec import SparseGradient, make_call

TINY = Workload(rows=50, features=8, bags=6, length=4)
RECORDS = Path(__file__).parents[1] / "book" / "results"


# ---- the byte model -------------------------------------------------------------------------


def call_by_hand(**options):
    """Two bags, rows 1, 3, 3 and 0; a table of 5 rows of 2 float32."""
    weight = np.zeros((5, 2), np.float32)
    return make_call(np.array([1, 3, 3, 0]), weight, np.array([0, 3]), **options)


def test_bytes_of_a_forward_by_hand():
    # 4 rows of 8 bytes are read, 3 of them different; 2 rows written; 4 indices, 3 offsets.
    assert traffic.of(call_by_hand(mode="sum"), "forward") == (
        4 * 8 + 2 * 8 + (4 + 3) * 8,
        3 * 8 + 2 * 8 + (4 + 3) * 8,
    )
    weighted = call_by_hand(mode="sum", per_sample_weights=np.ones(4, np.float32))
    assert traffic.of(weighted, "forward").logical == 104 + 4 * 4


def test_bytes_of_the_backwards_by_hand():
    # 5 rows of zeros, 4 rows of grad_output read (of 2 different bags), 3 rows written.
    assert traffic.of(call_by_hand(mode="sum"), "backward") == (
        5 * 8 + 4 * 8 + 3 * 8 + 7 * 8,
        5 * 8 + 2 * 8 + 3 * 8 + 7 * 8,
    )
    # 4 rows of grad_output read, 4 rows and 4 indices written, and the input read.
    assert traffic.of(call_by_hand(mode="sum", sparse=True), "backward").logical == (
        4 * 8 + 4 * 8 + 4 * 8 + 7 * 8
    )
    # zeros; 4 values of grad_output, 4 winners, 4 places read and written
    assert traffic.of(call_by_hand(mode="max"), "backward").logical == 5 * 8 + 4 * (4 + 8 + 8)


def test_both_steps_are_the_sum_of_the_two():
    call = call_by_hand(mode="mean", padding_idx=3)
    parts = [traffic.of(call, step) for step in ("forward", "backward")]
    assert traffic.of(call, "both") == tuple(map(sum, zip(*parts, strict=True)))
    assert traffic.counts(call).U == 2


# ---- workloads ------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("skew", ["uniform", "zipf", "one hot row"])
def test_inputs_are_as_the_workload_says(skew, lengths):
    work = Workload(1000, 8, 2000, 10, skew, lengths=lengths)
    rows, offsets = workloads.inputs(work, 0)
    make_call(rows, workloads.table(work), offsets, include_last_offset=True)  # all in range
    found = np.diff(offsets)
    assert len(found) == 2000 and abs(found.mean() - 10) < 2
    assert (found.min() == found.max()) == (lengths == "constant")
    share = np.bincount(rows).max() / len(rows)
    assert {"uniform": share < 0.005, "zipf": 0.1 < share < 0.3, "one hot row": share == 1}[skew]
    again, _ = workloads.inputs(work, 0)
    other, _ = workloads.inputs(work, 1)
    assert (again == rows).all()
    assert skew == "one hot row" or len(other) != len(rows) or (other != rows).any()


def test_zipf_follows_its_exponent():
    work = Workload(1000, 1, 100_000, 1, "zipf", exponent=1.5)
    counts = np.sort(np.bincount(workloads.inputs(work, 0)[0]))[::-1]
    assert counts[0] / counts[3] == pytest.approx(4**1.5, rel=0.1)


def test_the_reviews_are_the_real_ones():
    work = plan.of_reviews(bags=20)
    rows, offsets = workloads.inputs(work, 0)
    assert work.rows == 6356 and len(offsets) == 21 and rows.max() < work.rows


def test_names_and_wrong_words():
    assert plan.LARGE.name == "V=1M D=128 B=2048 L=50 uniform"
    with pytest.raises(ValueError, match="skew must be one of uniform, zipf"):
        Workload(1, 1, 1, 1, "normal")


# ---- implementations and their checks -----------------------------------------------------------


MODES = [("sum", False), ("mean", False), ("max", False), ("sum", True), ("mean", True)]


@pytest.mark.parametrize("mode, sparse", MODES)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_implementation_is_right(mode, sparse, lengths):
    work = Workload(30, 8, 40, 4, "zipf", lengths=lengths)
    asked = Measurement(work, mode, sparse, with_steps_of_the_book=True)
    results = measure.measure(asked, seconds=0, least=1)  # raises WrongResult if one is not
    assert [result.step for result in results] == list(measure.STEPS)
    for result in results:
        names = set(result.seconds)
        assert {implementations.OURS, implementations.TORCH} <= names
        if (mode, sparse) == ("sum", False) and result.step != "both":
            assert set(implementations.STEPS_OF_THE_BOOK) <= names


@pytest.mark.parametrize("step", [*measure.STEPS, "train"])
@pytest.mark.parametrize("mode, sparse", MODES)
def test_a_wrong_result_gets_no_time(mode, sparse, step, monkeypatch):
    """One value off by a hundredth, a NaN: the result is not timed."""
    ours = implementations.ours

    def spoil(result, value):
        result = on_host(result)
        if isinstance(result, SparseGradient):
            return result._replace(values=result.values + value)
        return result + value

    for value in (np.float32(0.01), np.float32(np.nan)):

        def wrong(call, grad_output, value=value):
            job = ours(call, grad_output)
            act = getattr(job, step)
            setattr(job, step, lambda: spoil(act(), value))
            return job

        monkeypatch.setitem(measure.IMPLEMENTATIONS, implementations.OURS, wrong)
        with pytest.raises(measure.WrongResult, match=f"vectorized, {step}"):
            measure.measure(Measurement(TINY, mode, sparse, steps=(step,)), seconds=0, least=1)


def test_a_training_step_changes_a_table_of_its_own():
    call, grad_output = measure.call_and_upstream(Measurement(TINY), seed=0)
    kept = call.weight.copy()
    grads = []
    for name in (implementations.OURS, implementations.TORCH):
        job = implementations.IMPLEMENTATIONS[name](call, grad_output)
        grads.append(on_host(job.train()))
        np.testing.assert_array_equal(call.weight, kept)
    np.testing.assert_allclose(*grads, rtol=1e-5, atol=1e-5)
    both, train = traffic.of(call, "both"), traffic.of(call, "train")
    assert [t - b for t, b in zip(train, both, strict=True)] == [3 * kept.nbytes] * 2


def test_each_turn_has_the_next_input_and_another_beginner():
    seen = []

    def job(name, turn):
        return lambda: seen.append((name, turn))

    jobs = {name: [job(name, turn) for turn in range(3)] for name in "ab"}
    times = stopwatch.take_turns(jobs, stopwatch.on_host, least=4)
    assert seen == [(n, t) for n, t in zip("abbaabba", (0, 0, 1, 1, 2, 2, 0, 0), strict=True)]
    assert list(times) == ["a", "b"] and {len(seconds) for seconds in times.values()} == {4}


def clock(job):
    """In place of a clock: a job says itself how long it takes."""
    return job


def test_a_slow_job_has_three_turns():
    jobs = {"slow": [lambda: 2.0], "fast": [lambda: 1.0]}
    times = stopwatch.take_turns(jobs, clock, least=5, slow=1.5)
    assert times == {"slow": [2.0] * 3, "fast": [1.0] * 5}
    readings = iter([5.0, 1.0, 2.0])
    assert stopwatch.median_of(lambda: next(readings), clock, 3) == 2


def test_what_is_told_of_some_turns():
    told = stopwatch.summary([4.0, 1.0, 2.0], of_torch=[8.0, 4.0, 1.0])
    assert told == {
        "median_ms": 2000,
        "quartiles_ms": [1500, 3000],
        "least_ms": 1000,
        "turns": 3,
        "of_torch": 0.5,
    }
    assert stopwatch.summary([1.0], None)["of_torch"] is None


# ---- runs and records -----------------------------------------------------------------------


def test_a_quick_run_of_one_workload(tmp_path, monkeypatch, capsys):
    for name in ONE_THREAD:  # so that it runs in this process
        monkeypatch.setenv(name, "1")
    path = tmp_path / "record.json"
    words = ["bench", "--quick", "--only", "B=64 L=4 uniform sum", "--json", str(path)]
    assert command.main(words) == 0
    told = capsys.readouterr().out
    assert "to reach" in told and "This machine copies" in told
    recorded = json.loads(path.read_text(encoding="utf-8"))
    check_record(recorded)
    assert set(recorded["device"]) == set(report.device()) and len(recorded["load"]) == 2
    assert command.main(["bench", "--quick", "--only", "no such workload"]) == 2
    assert command.main(["bench", "--quick", "--train", "--only", "zipf"]) == 0
    assert " train " in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(RECORDS.glob("cpu*.json")), ids=lambda path: path.name)
def test_recorded_runs_are_complete_and_tell_no_path(path):
    text = path.read_text(encoding="utf-8")
    recorded = json.loads(text)
    check_record(recorded)
    names = {(entry["name"], entry["step"]) for entry in recorded["results"]}
    assert {(m.name, step) for m in plan.default_plan() for step in m.steps} <= names


def check_record(recorded):
    assert {"device", "versions", "threads", "copy_GB_per_s", "forward_memory"} <= set(recorded)
    assert {"cpu", "cores", "system"} <= set(recorded["device"]) <= {*report.device()}
    assert "/" not in recorded["device"]["cpu"] + recorded["device"]["system"]
    for entry in recorded["results"]:
        least, median = entry["least_ms"], entry["median_ms"]
        assert 0 < least <= entry["quartiles_ms"][0] <= median <= entry["quartiles_ms"][1]
        assert entry["bytes"]["compulsory"] <= entry["bytes"]["logical"]
        assert entry["turns"] >= 2 and entry["of_torch"] > 0


def test_the_peak_of_a_forward_does_not_grow_with_n():
    some, more = measure.peak_of_forward(200_000), measure.peak_of_forward(800_000)
    assert some < 8 << 20 and more < some + (1 << 20)


def test_rounding_of_a_record():
    given = {"a": [1.23456, 7], "b": "x"}
    assert plain(given, digits=4) == {"a": [1.235, 7], "b": "x"} and plain(given) == given


def test_the_command_draws_the_ladder_and_the_roofline(tmp_path, capsys):
    words = ["bench", "--quick", "--only", "uniform sum", "--draw", str(tmp_path)]
    assert command.main(words) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"ladder.svg", "roofline.svg"}


def test_the_command_says_when_there_is_nothing_to_draw(tmp_path, capfd, monkeypatch):
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "1")  # or it starts again, in a process that has them
    words = ["bench", "--quick", "--only", "max", "--draw", str(tmp_path)]
    assert command.main(words) == 0
    assert "Nothing is drawn" in capfd.readouterr().err and not list(tmp_path.iterdir())
