"""python -m embag_edu gpu. Its GPU is a fake CuPy here: that CuPy is called rightly is tested, and
what becomes of errors; not one number of a GPU."""

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace

import fake_cupy
import numpy as np
import pytest
import torch

import embag_edu.__main__ as entrance
from embag_edu import cuda
from embag_edu.bench import recorded, stopwatch
from embag_edu.beyond import fused_api, fused_cases, rows_cuda
from embag_edu.cuda_on_cpu import CompilerMissing, device
from embag_edu.cuda_on_cpu.device import Gpu
from embag_edu.gpu import beyond, command, conformance, facts, first_kernel, programs
from embag_edu.gpu import steps as module
from embag_edu.gpu.steps import Attempt, Probe, Step


@pytest.fixture
def small(monkeypatch):
    """A few cases of each table, small shapes, few launches."""
    some = tuple(replace(table, cases=table.cases[::12]) for table in conformance.tables())
    monkeypatch.setattr(conformance, "tables", lambda: some)
    monkeypatch.setattr(conformance, "TIMES", 3)
    monkeypatch.setattr(stopwatch, "FLUSH", 1 << 20)
    monkeypatch.setattr(first_kernel, "TURNS", 3)


@pytest.fixture
def cupy(monkeypatch, small):
    made = fake_cupy.make()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


def call(*words, folder):
    """(exit status, the record)."""
    file = folder / "gpu.json"
    status = entrance.main(["gpu", "--json", str(file), *words])
    return status, json.loads(file.read_text(encoding="utf-8"))


def statuses(record):
    return {step["name"]: step["status"] for step in record["steps"]}


def step_of(record, name):
    return next(step for step in record["steps"] if step["name"] == name)


# ---- all of it ----


OF_KERNELS = ("conformance", "kernels", "determinism", "side-by-side", "resources")


def test_everything_passes_and_is_recorded(cupy, tmp_path, capsys, monkeypatch):
    """What the stand-in for CuPy can do: launches of kernels. The operator sorts, too."""
    some = [replace(s, most=1e9) for s in command.STEPS if s.name in OF_KERNELS]
    monkeypatch.setattr(command, "STEPS", some)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # its tensors are on the CPU
    status, record = call("--minutes", "60", folder=tmp_path)
    assert status == 0 and record["passed"] is True
    assert list(statuses(record)) == [step.name for step in command.STEPS]
    assert set(statuses(record).values()) == {"passed"}
    assert record["device"]["name"] == "NVIDIA Fake" and record["device"]["kind"] == "cuda"
    assert record["device"]["compute capability"] == "9.0"
    assert record["versions"]["CUDA runtime"] == "13.0"
    assert record["versions"]["CUDA of the driver"] == "13.1"
    assert record["versions"]["NVRTC"] == "13.0" and record["versions"]["cupy"] == "14.2.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", record["date"])
    for step in record["steps"]:
        assert step["results"] and step["note"] == ""
        assert all({"name", "status", "note"} <= set(result) for result in step["results"])
    out = capsys.readouterr().out
    assert "conformance    passed" in out and "nothing failed" in out
    assert "NVIDIA Fake" in out and "not a GPU" not in out


def test_the_record_names_no_path_of_this_machine(cupy, tmp_path):
    _, record = call("--only", "kernels", folder=tmp_path)
    text = json.dumps(record)
    assert sys.prefix not in text and os.getcwd() not in text and str(tmp_path) not in text


def test_resources_stand_beside_those_stored(cupy, tmp_path):
    _, record = call("--only", "resources", folder=tmp_path)
    found = {r["name"]: r for r in step_of(record, "resources")["results"]}
    row = found["first: bag_sum"]
    assert row["registers"] == 32 and row["shared_bytes"] == 128
    assert row["stored"]["registers"] > 0


def test_a_copy_and_two_jobs_are_timed_in_turns(cupy):
    clock, done = stopwatch.OnGpu(Gpu(cupy)), []
    assert first_kernel.copy_rate(clock, most=1 << 12) > 0
    jobs = {name: [lambda name=name: done.append(name)] for name in ("ours", "torch")}
    times = stopwatch.take_turns(jobs, clock, 3)
    assert {name: len(seconds) for name, seconds in times.items()} == {"ours": 3, "torch": 3}
    assert min(done.count(name) for name in jobs) >= 3
    told = command.times_of({"name": "copy", "bytes_per_second": 2e9})
    assert told == ["    copy: 2 GB/s, read and written"]
    numbers = first_kernel.numbers(times["ours"], times["torch"], 1 << 20, 1e9)
    (line,) = command.times_of({"name": "forward A", "implementations": {"ours": numbers}})
    assert line.startswith("    forward A: ours ") and line.endswith(" GB/s")


@pytest.mark.parametrize("reads", [True, False])
def test_before_a_run_the_cache_is_written_then_read(cupy, monkeypatch, reads):
    """What was written last is read out of the cache before the GPU is kept waiting."""
    clock, done = stopwatch.OnGpu(Gpu(cupy), reads), []
    sized = {"fill": clock.buffer, "sum": clock.other}
    assert clock.buffer.nbytes >= stopwatch.FLUSH and clock.other.nbytes == reads * 4 * (1 << 20)
    for name, array in sized.items():
        monkeypatch.setattr(array, name, lambda *given, n=name: done.append(n))
    monkeypatch.setattr(clock, "spin", lambda *given: done.append("spin"))
    monkeypatch.setattr(
        cupy.cuda.Event, "record", lambda self: done.append("event") or setattr(self, "at", 0.0)
    )
    clock.once(lambda: done.append("job"), 0.0)
    assert done == ["fill", *["sum"] * reads, "spin", "event", "job", "event"]


def test_the_numbers_of_a_implementation():
    found = first_kernel.numbers([4.0, 1.0, 2.0], [4.0], logical=6_000_000, rate=6e6)
    assert found["median_ms"] == 2000 and found["least_ms"] == 1000 and found["of_torch"] == 0.5
    assert found["logical_bytes_per_second"] == 3e6 and found["of_copy_rate"] == 0.5
    alone = first_kernel.numbers([1.0], None, 1, None)
    assert alone["of_torch"] is None and alone["of_copy_rate"] is None
    assert "of_copy_rate" not in first_kernel.numbers([1.0], None, None, 1e9)


# ---- without torch, without a compiler, on an older GPU ----


def test_without_torch_the_kernels_are_held_against_numpy(cupy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, record = call("--only", "kernels", folder=tmp_path)
    first, *others = step_of(record, "kernels")["results"]
    assert status == 0 and record["versions"]["torch"] == "not installed"
    assert first["status"] == "skipped" and "NumPy alone" in first["note"]
    assert len(others) == len(first_kernel.FORWARDS) * len(first_kernel.SHAPES)
    assert all("from_torch" not in result for result in others)


def test_without_a_compiler_only_the_gpu_is_judged(cupy, monkeypatch):
    def missing():
        raise CompilerMissing("there is no compiler: install one")

    monkeypatch.setattr(conformance.compilers, "find_compiler", missing)
    (result,) = conformance.side_by_side(Probe(Gpu(cupy), np.inf))
    assert result.status == "skipped" and "only the GPU is judged: there is no" in result.note
    assert "there is no compiler" in facts.compiler()


def test_a_gpu_too_old_for_a_case_skips_it(cupy, monkeypatch):
    table = conformance.tables()[0]
    case = replace(table.cases[0], needs="sm_80")
    monkeypatch.setattr(conformance, "tables", lambda: (replace(table, cases=(case,)),))
    old = Probe(Gpu(fake_cupy.make((7, 5))), np.inf)
    _, result = conformance.conformance(old)
    assert result.status == "skipped" and result.note == "needs sm_80, the GPU is sm_75"
    new = Probe(Gpu(cupy), np.inf)
    assert (
        conformance.too_new(new, case)
        == ""
        == conformance.too_new(Probe(device("cpu"), np.inf), case)
    )


def test_kernels_that_begin_with_a_newer_gpu_are_skipped(monkeypatch, small):
    here = Probe(Gpu(fake_cupy.make((7, 5))), np.inf)
    rows = {"bag_sum": {"sm_80": {"registers": 1}}, "scale": {"sm_75": {"registers": 1}}}
    monkeypatch.setattr(conformance, "read_stored", lambda: {"files": {"cuda/first.cu": rows}})
    found = {r.name: r for r in conformance.resources(here)}
    assert found["first: bag_sum"].status == "skipped"
    assert found["first: scale"].status == "passed"


# ---- errors ----


def test_no_gpu_is_one_clear_sentence_and_2(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert entrance.main(["gpu"]) == 2
    told = capsys.readouterr().err
    assert "needs a machine with an NVIDIA GPU, and CuPy is not installed" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--minutes", "0"]])
def test_wrong_calls(words, capsys):
    assert entrance.main(["gpu", *words]) == 2
    assert "--only one of conformance" in capsys.readouterr().err


def test_the_list(capsys):
    assert entrance.main(["gpu", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        step.name for step in command.STEPS
    ]


def test_a_wrong_kernel_fails(cupy, tmp_path, monkeypatch, capsys):
    correct = cuda.source("first")
    wrong = correct.replace("i < end; i++", "i < end - 1; i++")
    monkeypatch.setattr(cuda, "source", lambda name: wrong)
    status, record = call("--only", "kernels", folder=tmp_path)
    assert status == 1 and record["passed"] is False
    assert "differs from NumPy" in capsys.readouterr().out


def test_one_failing_launch_does_not_stop_the_others(cupy, tmp_path, monkeypatch):
    def before(name):
        if name == "bag_sum":
            raise fake_cupy.CUDARuntimeError("cudaErrorLaunchOutOfResources: too many resources")

    cupy.state.before_launch = before
    some = [step for step in command.STEPS if step.name in ("kernels", "determinism", "resources")]
    monkeypatch.setattr(command, "STEPS", some)
    status, record = call(folder=tmp_path)
    found = statuses(record)
    assert status == 1 and found["kernels"] == "failed"
    assert found["determinism"] == found["resources"] == "passed"
    failed = [r for r in step_of(record, "kernels")["results"] if r["status"] == "failed"]
    assert len(failed) == len(first_kernel.SHAPES)
    assert failed[0]["note"].startswith("CUDARuntimeError: cudaErrorLaunchOutOfResources")


def test_after_an_illegal_access_nothing_more_is_reached(cupy, tmp_path, capsys):
    def before(name):
        if name == "bag_sum":
            cupy.state.broken = True
            cupy.state.check()

    cupy.state.before_launch = before
    status, record = call(folder=tmp_path)
    found = statuses(record)
    assert status == 1 and found["conformance"] == "passed" and found["kernels"] == "failed"
    rest = record["steps"][2:]
    assert {step["status"] for step in rest} == {"not reached"}
    assert {step["note"] for step in rest} == {"the device is in an error state"}
    last = step_of(record, "kernels")["results"][-1]
    assert "bag_sum" in last["note"] and "cudaErrorIllegalAddress" in last["note"]
    assert "not reached: determinism, side-by-side" in capsys.readouterr().out


def test_a_source_that_does_not_compile_is_one_failure(cupy, monkeypatch):
    table = replace(conformance.tables()[0])

    def fails(self, on):
        raise RuntimeError('/tmp/x/kern.cu(3): error: cannot open source file "cuda_fp16.h"')

    monkeypatch.setattr(conformance, "tables", lambda: (table,))
    monkeypatch.setattr(conformance.Table, "module", fails)
    (result,) = conformance.conformance(Probe(Gpu(cupy), np.inf))
    assert result.status == "failed" and "pip install nvidia-cuda-runtime" in result.note
    assert result.note.startswith("RuntimeError: kern.cu(3)")


def test_results_that_are_not_the_same_every_time_are_found(cupy, monkeypatch):
    case, bits = conformance.tables()[0].cases[0], iter(range(10))
    monkeypatch.setattr(conformance, "launched", lambda *given: ("", {0: np.array([next(bits)])}))
    told = conformance.repeated(Probe(Gpu(cupy), np.inf), case, None)
    assert told == "launch 2 of 3 gave other bits than the first"


def test_side_by_side_tells_how_far_apart_two_results_are(cupy, monkeypatch):
    exact = conformance.tables()[0].cases[0]
    close = replace(exact, rtol=0.0, atol=0.1)
    monkeypatch.setattr(
        conformance,
        "launched",
        lambda case, module, on: ("", {2: np.float32([1, 1 + 0.125 * (on.kind == "cuda")])}),
    )
    here = Probe(Gpu(cupy), np.inf)
    result = conformance.compared(here, "name", exact, None, None)
    assert result.status == "failed" and result.data["largest_difference"] == 0.125
    assert result.note == "argument 2 differs from the CPU's (fast); " + (
        "argument 2 differs from the CPU's (checked)"
    )
    assert conformance.compared(here, "name", close, None, None).status == "passed"
    a, b = np.float32([1, np.nan, np.inf]), np.float32([1.5, np.nan, np.inf])
    assert conformance.distance(a, b) == 0.5 and conformance.distance(a, a) == 0
    assert not conformance.alike(close, a, b)  # NaN never passes a tolerance


# ---- time ----


def some_steps(*acts):
    steps = [Step(f"step{i}", "", act) for i, act in enumerate(acts)]
    return steps, [module.blank(step) for step in steps]


def test_the_deadline_is_looked_at_between_results(cupy):
    now = [0.0]

    def slow(here):
        for i in range(5):
            now[0] += 10
            yield Attempt(str(i))

    steps, records = some_steps(slow, slow)
    told = []
    module.run(steps, Probe(Gpu(cupy), 25.0, clock=lambda: now[0]), records, told.append)
    assert [r["status"] for r in records] == ["not reached", "not reached"] and told == records
    assert records[0]["note"] == "stopped after 3: the time is up" and records[0]["seconds"] == 30
    assert records[1]["note"] == "the time is up" and records[1]["results"] == []


def test_a_step_that_fails_is_not_excused_by_the_time(cupy):
    now = [0.0]

    def fails(here):
        yield Attempt("a", "failed", "wrong")
        now[0] = 9.0
        yield Attempt("b")

    steps, records = some_steps(fails)
    here = Probe(Gpu(cupy), 5.0, clock=lambda: now[0])
    module.run(steps, here, records, lambda record: None)
    assert records[0]["status"] == "failed"
    assert command.exit_status({"steps": records}) == 1


def test_an_error_between_results_is_recorded_and_the_next_step_runs(cupy):
    def breaks(here):
        yield Attempt("first")
        raise KeyError("gone")

    steps, records = some_steps(breaks, lambda here: iter([Attempt("second")]))
    module.run(steps, Probe(Gpu(cupy), np.inf), records, lambda record: None)
    assert [r["status"] for r in records] == ["failed", "passed"]
    assert records[0]["results"][1]["note"] == "KeyError: 'gone'"


def test_nothing_that_ran_is_no_success():
    assert command.exit_status({"steps": [{"status": "skipped"}, {"status": "not reached"}]}) == 1


def test_a_kernel_that_never_ends_is_given_up(cupy, tmp_path, monkeypatch, capsys):
    ended, left = threading.Event(), []

    def hangs(here):
        assert ended.wait(60)
        yield Attempt("late")

    monkeypatch.setattr(command, "leave", lambda status: (left.append(status), ended.set()))
    file = tmp_path / "gpu.json"
    written = []
    write = command.write
    monkeypatch.setattr(
        command, "write", lambda r, p: (write(r, p), written.append(file.read_text()))
    )
    command.carry_out([Step("hangs", "", hangs)], Gpu(cupy), 0.01, str(file))
    assert left == [1] and "did not come back in time" in capsys.readouterr().err
    (step,) = json.loads(written[0])["steps"]
    assert step["status"] == "failed" and step["note"] == "did not come back in 0.01 minutes"


def test_a_step_has_seconds_of_its_own_and_the_next_its_turn(cupy):
    now = [0.0]

    def slow(here):
        for i in range(5):
            now[0] += 10
            yield Attempt(str(i))

    records = [module.blank(Step("slow", "", slow)), module.blank(Step("next", "", slow))]
    steps = [Step("slow", "", slow, most=25.0), Step("next", "", slow)]
    here = Probe(Gpu(cupy), np.inf, clock=lambda: now[0])
    module.run(steps, here, records, lambda record: None)
    assert [r["status"] for r in records] == ["not reached", "passed"]
    assert records[0]["note"] == "stopped after 3: its 25 seconds are up"
    assert len(records[0]["results"]) == 3 and len(records[1]["results"]) == 5


def test_what_is_found_is_written_before_the_next_begins(cupy, tmp_path, monkeypatch):
    file, seen = tmp_path / "gpu.json", []

    def two(here):
        yield Attempt("first", data={"ms": 3})
        seen.append(json.loads(file.read_text())["steps"][0]["results"])
        yield Attempt("second")

    monkeypatch.setattr(command, "EVERY", 0.0)
    command.carry_out([Step("two", "", two)], Gpu(cupy), 1.0, str(file))
    ((first,),) = seen
    assert first["name"] == "first" and first["ms"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["gpu.json"]


def test_a_record_is_the_old_one_or_the_new(tmp_path, monkeypatch):
    file = tmp_path / "gpu.json"
    recorded.write(file, {"made by": "me"})

    def half(path, text, **others):
        with path.open("w") as opened:
            opened.write(text[:9])
        raise KeyboardInterrupt

    monkeypatch.setattr(type(file), "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        recorded.write(file, {"made by": "me", "more": list(range(99))})
    assert json.loads(file.read_text()) == {"made by": "me"}


# ---- the parts beyond torch, and whole programs ----


def test_a_program_passes_fails_or_takes_too_long(cupy, monkeypatch):
    here = Probe(Gpu(cupy), np.inf)
    told = "import os; print('x'); print(os.environ['EMBAG_DEVICE'], '/home/me/file')"
    passed = programs.run(here, "good", ("-c", told))
    assert passed.status == "passed" and passed.data["told"] == ["x", "cuda file"]
    failed = programs.run(here, "bad", ("-c", "raise ValueError('wrong')"))
    assert failed.status == "failed" and failed.note.endswith("ValueError: wrong")
    monkeypatch.setattr(programs, "LIMIT", 0.2)
    late = programs.run(here, "late", ("-c", "import time; time.sleep(60)"))
    assert late.status == "failed" and late.note.startswith("not done after 0")


def test_programs_of_a_checkout_are_skipped_without_one(cupy, tmp_path, monkeypatch):
    words = [word for words in programs.PROGRAMS.values() for word in words]
    files = [word for word in words if word.startswith(tuple(programs.NEEDS))]
    assert len(files) == 2 and not any(map(programs.missing_for, files))
    monkeypatch.setattr(programs, "ROOT", tmp_path)
    found = programs.run(
        Probe(Gpu(cupy), np.inf), "tests", ("-m", "pytest", "tests/test_nn_cuda.py")
    )
    assert found.status == "skipped"
    assert found.note == "needs a checkout, with tests/test_nn_cuda.py"


def test_every_chapter_of_kernels_is_there():
    for number in programs.CHAPTERS:
        assert len(list(programs.ROOT.glob(f"book/{number}_*.ipynb"))) == 1


def test_a_sharded_table_of_one_process():
    """As by NCCL on a GPU, by gloo."""
    programs.one_shard("gloo", "cpu")


def test_what_is_wrong_beyond_torch_is_told(fast_on_the_cpu, monkeypatch):
    assert beyond.rows("int8") == ""
    monkeypatch.setattr(rows_cuda, "forward", lambda rows, call: np.full((50, 48), np.nan))
    assert beyond.rows("int8") == "differs from vectorized: sum, mean, max"
    monkeypatch.setattr(fused_api, "fused_step", lambda *args, **others: None)  # not the oracle's
    assert beyond.fused(fused_cases.CASES[0]).startswith("sum, SGD: after step 0, weight[")


def test_words_for_the_record():
    assert module.plain({"a": (np.float32(0.1), np.nan, -np.inf, np.int32(3), None, True)}) == {
        "a": [0.1, "nan", "-inf", 3, None, True]
    }
    error = OSError("no such file: /home/somebody/lib/cuda.so, C:\\Users\\me\\x.dll, a/b, <int>/2")
    assert module.last_line(error) == "OSError: no such file: cuda.so, x.dll, a/b, <int>/2"
    assert module.last_line(ValueError()) == "ValueError"


# ---- as an engineer calls it ----


@pytest.mark.adversary  # each of its steps has a test of its own
def test_on_a_cpu_the_command_itself_is_tried(tmp_path):
    words = ["gpu", "--on", "cpu", "--json", "gpu.json", "--minutes", "60"]
    done = subprocess.run(
        [sys.executable, "-m", "embag_edu", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "device: CPU, not a GPU" in done.stdout and "proves nothing of GPUs" in done.stdout
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert record["device"]["name"] == "CPU, not a GPU"
    assert statuses(record) == {
        "conformance": "passed",
        "kernels": "passed",
        "determinism": "passed",
        "side-by-side": "passed",
        "clauses": "passed",
        "bits": "passed",
        "streams": "skipped",
        "large": "skipped",
        "resources": "skipped",
        "stopwatch": "skipped",
        "ladder": "skipped",
        "peers": "skipped",
        "sweep": "skipped",
        "check": "skipped",
        "beyond": "passed",
        "programs": "skipped",
        "candidates": "skipped",
    }
    assert len(step_of(record, "conformance")["results"]) > 190


def test_it_needs_numpy_alone():
    code = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'matplotlib', 'IPython', 'pytest', 'ml_dtypes', 'cupy'):\n"
        "    sys.modules[name] = None\n"
        "from embag_edu.__main__ import main\n"
        "sys.exit(main(['gpu', '--on', 'cpu', '--only', 'kernels', '--json', '-']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["versions"]["torch"] == "not installed"
