"""Cases as data: what the files hold, right and wrong answers to them, a backend in C++."""

import builtins
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compiler import find_compiler, needs_compiler

import embag_edu
from embag_edu.check import all_clauses, check_answers, export_cases
from embag_edu.check.command import main
from embag_edu.check.data import as_data
from embag_edu.check.report import (
    FAILS,
    HOLDS,
    KNOWN,
    NOT_ASKED,
    NOT_PROMISED,
    NOT_SUPPORTED,
    REFUSES,
)
from embag_edu.spec import SparseGradient

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "pages" / "cases.md").read_text(encoding="utf-8")
BAGS = ROOT / "tests" / "backends" / "bags.cpp"
ONLY = (  # of every part, every dtype, a refusal of each kind
    "forward.sum,bags.nothing,bags.old_order,bags.index_dtypes,numbers.bfloat16,special.range,"
    "special.weights,max_norm.formula,backward.mean,backward.psw,sparse.sum,errors,"
    "always.refused_unchanged,again.same_call,bags.strides"
).split(",")


def code(name):
    """A block of code of the page."""
    return re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)[1]


def read_cases(folder, monkeypatch):
    """By the reader of the page."""
    monkeypatch.chdir(folder)
    names = {}
    exec(code("python"), names)
    return names["cases"]


def save(folder, name, value):
    if isinstance(value, SparseGradient):
        save(folder, f"{name}.indices", value.indices)
        save(folder, f"{name}.values", value.values)
    elif value is not None:
        np.save(folder / f"{name}.npy", value)


@np.errstate(all="ignore")
def answer(case, folder):
    """One case, from its arrays alone."""
    found = {n: v for n, v in case.items() if "." not in n}
    singles = {n: v.item() for n, v in found.items() if n in OPTIONS and not v.ndim}
    given = found | {n: v.decode() if isinstance(v, bytes) else v for n, v in singles.items()}
    for name, value in given.items():
        if getattr(value, "dtype", None) == "V2":
            ml_dtypes = pytest.importorskip("ml_dtypes")
            given[name] = value.view(ml_dtypes.bfloat16)
    grad_output = given.pop("grad_output", None)
    folder.mkdir(parents=True)
    try:
        save(folder, "output", embag_edu.embedding_bag(**given))
        if grad_output is not None:
            gradients = embag_edu.embedding_bag_backward(grad_output, **given)
            save(folder, "grad_weight", gradients[0])
            save(folder, "grad_per_sample_weights", gradients[1])
    except Exception as error:
        kind = next(c.__name__ for c in type(error).__mro__ if hasattr(builtins, c.__name__))
        (folder / "refused.txt").write_text(f"{kind}: {error}", encoding="utf-8")
    np.save(folder / "weight_after.npy", given["weight"])


OPTIONS = {
    *("mode", "padding_idx", "max_norm", "norm_type", "sparse", "scale_grad_by_freq"),
    "include_last_offset",
}


def answered(folder, only, monkeypatch):
    export_cases(folder / "cases", only)
    answers = folder / "answers"
    for name, case in read_cases(folder, monkeypatch).items():
        answer(case, answers / name)
    shutil.copy(folder / "cases" / "index.json", answers)
    return answers


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Right answers to the cases of ONLY."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return answered(tmp_path_factory.mktemp("right"), ONLY, monkeypatch)


def test_right_answers_hold(right):
    report = check_answers(right)
    expected = {
        c.name for c in all_clauses() if any(f"{c.name}.".startswith(f"{o}.") for o in ONLY)
    }
    results = {r.clause.name: r.status for r in report.results}
    assert results.keys() == expected
    no_data = {name for name, status in results.items() if status != HOLDS}
    assert no_data == {"again.same_call", "bags.strides", "errors.not_arrays", "bags.old_order"}
    assert results["bags.strides"] == NOT_ASKED


def test_the_expected_values_and_tolerances_are_those_of_right_answers(right, monkeypatch):
    compared = 0
    for name, case in read_cases(right.parent, monkeypatch).items():
        for key in (k for k in case if k.startswith("expected.")):
            file = key.removeprefix("expected.")
            expected, found = case[key], np.load(right / name / f"{file}.npy")
            if found.dtype == "V2":
                found = found.view(pytest.importorskip("ml_dtypes").bfloat16)
            found = found.astype(np.float64)
            off = case.get(f"tolerance.{file.removesuffix('.values')}", 0.0)
            assert found.shape == expected.shape, (name, key)
            with np.errstate(invalid="ignore"):
                close = np.abs(found - expected) <= off
            same = (found == expected) | (np.isnan(found) & np.isnan(expected))
            huge = np.isinf(found) & (np.abs(expected) > 65504)
            assert (close | same | huge).all(), (name, key)
            compared += expected.size
    assert compared > 3000


def test_every_clause_is_data_or_says_why_not():
    reasons = {}
    for clause in all_clauses():
        asked, reason = as_data(clause)
        assert asked.cases or reason, clause.name
        reasons |= {clause.name: reason} if not asked.cases else {}
    groups = {"again", "autograd", "always"}
    others = {name for name in reasons if name.split(".")[0] not in groups}
    assert others == {"bags.strides", "backward.strides", "errors.not_arrays"}
    assert "always.refused_unchanged" not in reasons


# ---- wrong answers --------------------------------------------------------------------------


def changed(answers, file, change):
    array = np.load(answers / file)
    np.save(answers / file, change(array))


def flipped(array):
    """One bit of one number, high enough to be no rounding."""
    wrong = array.copy()
    wrong.reshape(-1).view(np.uint32)[-1] ^= 1 << 15
    return wrong


def with_nan(array):
    wrong = array.copy()
    wrong.reshape(-1)[0] = np.nan
    return wrong


def swap(answers):
    one, other = answers / "forward.sum.1", answers / "forward.sum.2"
    one.rename(answers / "x")
    other.rename(one)
    (answers / "x").rename(other)


def refused(case, words):
    (case / "refused.txt").write_text(words, encoding="utf-8")


SUM, SPARSE = "forward.sum.2/output.npy", "sparse.sum.1/grad_weight"
WRONG = {
    "a bit": (lambda a: changed(a, SUM, flipped), FAILS, "1 of 6 values differ"),
    "a NaN": (lambda a: changed(a, SUM, with_nan), FAILS, "found nan"),
    "all NaN": (lambda a: changed(a, SUM, lambda x: x * np.nan), FAILS, "found nan"),
    "dtype": (lambda a: changed(a, SUM, np.float64), FAILS, "found dtype float64"),
    "shape": (lambda a: changed(a, SUM, np.ravel), FAILS, "found shape (6,)"),
    "big-endian": (lambda a: changed(a, SUM, lambda x: x.astype(">f4")), FAILS, "dtype >f4"),
    "swapped": (swap, FAILS, "expected shape (1, 3), found shape (2, 3)"),
    "cut off": (lambda a: (a / SUM).write_bytes((a / SUM).read_bytes()[:-3]), FAILS, "output.npy"),
    "empty": (lambda a: (a / SUM).write_bytes(b""), FAILS, "can't be read, output.npy"),
    "no array": (lambda a: (a / SUM).write_bytes(b"PK\3\4" * 40), FAILS, "output.npy"),
    "objects": (
        lambda a: np.save(a / SUM, np.array([None, {}]), allow_pickle=True), FAILS, "output.npy"),
    "refused": (
        lambda a: ((a / SUM).unlink(), refused(a / "forward.sum.2", "no")),
        FAILS, "raised Exception: no"),
    "missing": (lambda a: (a / SUM).unlink(), FAILS, "the forward left no answer"),
    "a folder less": (
        lambda a: shutil.rmtree(a / "forward.sum.2"), FAILS, f"there is no {SUM}"),
    "not supported": (
        lambda a: ((a / SUM).unlink(), refused(a / "forward.sum.2", "NotSupported: to come")),
        NOT_SUPPORTED, "to come"),
    "a backward that is not supported": (
        lambda a: refused(a / "forward.sum.2", "NotSupported: to come"), HOLDS, ""),
}  # fmt: skip
ELSEWHERE = {
    "an index": (
        lambda a: changed(a, f"{SPARSE}.indices.npy", lambda x: x[:, ::-1].copy()),
        "sparse.sum", FAILS, "grad_weight.indices"),
    "no values": (
        lambda a: (a / f"{SPARSE}.values.npy").unlink(),
        "sparse.sum", FAILS, "the backward left no answer"),
    "dense": (
        lambda a: changed(a, "backward.mean.1/output.npy", np.copy)
        or shutil.copy(a / "backward.mean.1/output.npy", a / f"{SPARSE}.npy")
        and (a / f"{SPARSE}.values.npy").unlink(),
        "sparse.sum", FAILS, "expected a sparse gradient"),
    "weight left": (
        lambda a: shutil.copy(a / "forward.sum.1/weight_after.npy",
                              a / "max_norm.formula.1/weight_after.npy"),
        "max_norm.formula", FAILS, "shape"),
    "not refused": (
        lambda a: (a / "errors.mode.1/refused.txt").unlink()
        or shutil.copy(a / "forward.sum.1/output.npy", a / "errors.mode.1/output.npy"),
        "errors.mode", FAILS, "nothing was raised"),
    "other class": (
        lambda a: (a / "errors.mode.1/refused.txt").write_text("RuntimeError: no such mode"),
        "errors.mode", REFUSES, "as RuntimeError, torch as ValueError"),
    "no class": (
        lambda a: (a / "errors.mode.1/refused.txt").write_text("no such mode"),
        "errors.mode", REFUSES, "as Exception, torch as ValueError"),
    "neither": (
        lambda a: (a / "errors.mode.1/refused.txt").unlink(),
        "errors.mode", FAILS, "the forward left no answer"),
    "refused, and not supported": (
        lambda a: ((a / "always.refused_unchanged.1/weight_after.npy").unlink(),
                   refused(a / "always.refused_unchanged.1", "NotSupported: max_norm")),
        "always.refused_unchanged", NOT_SUPPORTED, "max_norm"),
    "refused, and unfinished": (
        lambda a: (a / "always.refused_unchanged.1/weight_after.npy").unlink(),
        "always.refused_unchanged", FAILS, "there is no always.refused_unchanged.1/weight_after"),
    "refused, but changed": (
        lambda a: changed(a, "always.refused_unchanged.1/weight_after.npy", lambda x: x + 1),
        "always.refused_unchanged", FAILS, "weight after a refused call"),
}  # fmt: skip
ALL = {name: (row[0], "forward.sum", *row[1:]) for name, row in WRONG.items()} | ELSEWHERE


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_answer_is_told(name, right, tmp_path):
    change, clause, status, words = ALL[name]
    answers = tmp_path / "answers"
    names = {*json.loads((right / "index.json").read_text())["clauses"][clause]["cases"]}
    for case in names | {"forward.sum.1", "backward.mean.1"}:
        shutil.copytree(right / case, answers / case)
    shutil.copy(right / "index.json", answers)
    assert change(answers) or True
    result = check_answers(answers, clause, raises=False, explain=False).results[0]
    assert result.status == status
    assert words in (result.failure.message if result.failure else result.note)


def test_a_failure_names_the_case_and_the_likely_cause(right, tmp_path):
    answers = tmp_path / "answers"
    shutil.copytree(right, answers)
    for case in (right / "index.json", *right.glob("backward.mean.*")):
        if case.is_dir():
            changed(answers, f"{case.name}/grad_weight.npy", np.zeros_like)
    result = check_answers(answers, "backward.mean", raises=False).results[0]
    assert result.status == FAILS
    assert result.failure.case.startswith("backward.mean.1, ")
    assert result.failure.snippet == ""


def index_of(answers, **changes):
    index = json.loads((answers / "index.json").read_text())
    (answers / "index.json").write_text(json.dumps(index | changes))


def other_call(answers):
    index_of(answers, cases={"forward.sum.1": {"checksum": 1}})


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: index_of(a, schema=2), "has schema 2; this version of embag_edu takes 1"),
        (lambda a: index_of(a, table=99), "the table has the versions 1 to"),
        (lambda a: (a / "index.json").unlink(), "has no index.json. Copy that of the cases"),
        (lambda a: (a / "index.json").write_text("{"), "is no index of cases"),
        (lambda a: (a / "index.json").write_text("[]"), "is no index of cases"),
        (lambda a: (a / "index.json").write_text('{"schema": 1}'), "is no index of cases"),
        (lambda a: index_of(a, clauses={}, left_out={}), "none of these clauses is in"),
        (lambda a: (a / "forward.sum.1").rename(a / "sum"), "answers no case"),
        (other_call, "forward.sum.1 is another call here than where it was exported"),
    ],
)
def test_what_is_no_folder_of_answers_is_refused(change, words, right, tmp_path, capsys):
    answers = tmp_path / "answers"
    shutil.copytree(right / "forward.sum.1", answers / "forward.sum.1")
    shutil.copy(right / "index.json", answers)
    change(answers)
    with pytest.raises(ValueError, match=words):
        check_answers(answers)
    assert main(["--import", str(answers)]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_of_another_name_is_told(right, tmp_path):
    shutil.copytree(right / "forward.sum.1", tmp_path / "forward.sum.1")
    shutil.copytree(right / "forward.sum.2", tmp_path / "forward.sum_2")
    shutil.copy(right / "index.json", tmp_path)
    report = check_answers(tmp_path, "forward.sum", raises=False)
    assert "no case has the name forward.sum_2" in report.notes


def test_the_command_and_what_is_expected_to_fail(right, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--export", "cases", "--only", "forward.sum"]) == 0
    assert "cases of 3 clauses are in cases; 0 clauses can't be data" in capsys.readouterr().out
    assert json.loads(Path("cases/index.json").read_text(encoding="utf-8"))["schema"] == 1
    for case in right.glob("forward.sum.*"):
        shutil.copytree(case, tmp_path / "answers" / case.name)
    shutil.copy("cases/index.json", "answers")
    words = ["--import", "answers", "--expected-failures", "known.toml", "--only", "forward.sum"]
    changed(tmp_path / "answers", SUM, with_nan)
    assert main(words[:2]) == 1
    assert main([*words, "--update"]) == 0
    assert main(words) == 0
    statuses = {r.status for r in check_answers("answers", expected_failures="known.toml").results}
    assert KNOWN in statuses
    shutil.copy(right / SUM, tmp_path / "answers" / SUM)
    assert main(words) == 1
    assert "HOLDS NOW" in capsys.readouterr().out


# ---- a backend in C++ -----------------------------------------------------------------------

PROMISE = {
    "dtypes": ["float32"],
    "index_dtypes": ["int64"],
    "options": ["include_last_offset", "per_sample_weights"],
    "forms": ["two_dimensional", "zero_sizes", "gradients", "refusals"],
}
CPP = ["forward.sum", "forward.max", "bags.empty", "backward.mean", "backward.max", "backward.psw"]


def bags_in_cpp(folder, only):
    """Compile the backend with the reader of the page, and let it answer."""
    (folder / "npz.hpp").write_text(code("npz.hpp"))
    flags = ["-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror"]
    command = [*find_compiler(), *flags, f"-I{folder}", str(BAGS), "-o", str(folder / "bags")]
    subprocess.run(command, check=True, timeout=120)
    export_cases(folder / "cases", only)
    subprocess.run([folder / "bags", "cases", "answers"], check=True, cwd=folder, timeout=60)
    return folder / "answers"


@needs_compiler
def test_a_backend_in_cpp_is_judged_by_its_answers(tmp_path):
    answers = bags_in_cpp(tmp_path, CPP)
    report = check_answers(answers, supports=PROMISE)
    assert report.counts()[HOLDS] >= 10
    assert not {FAILS, NOT_SUPPORTED} & report.counts().keys(), str(report)
    changed(answers, "backward.max.1/grad_weight.npy", flipped)
    assert [r.clause.name for r in check_answers(answers, raises=False).failed] == ["backward.max"]


# ---- the whole table ------------------------------------------------------------------------


@pytest.mark.adversary
@needs_compiler
def test_the_whole_table(tmp_path, monkeypatch):
    report = check_answers(answered(tmp_path, None, monkeypatch))
    print(report)
    assert report.counts().keys() == {HOLDS, NOT_ASKED, NOT_PROMISED}
    assert report.counts()[HOLDS] >= 122
    (tmp_path / "cpp").mkdir()
    report = check_answers(bags_in_cpp(tmp_path / "cpp", None), supports=PROMISE)
    print(report)
    assert report.passed
