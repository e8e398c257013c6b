"""pytest --embedding-bag: each clause a test, in an empty project."""

import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import embag_edu.check.command  # noqa: F401 (pytester takes out what its sessions import, NumPy too)
from embag_edu.check import export_cases
from embag_edu.check.worker import Local

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[1]
MODULE = """
import numpy as np
import embag_edu
from embag_edu.check import NotSupported

with open("starts.txt", "a") as starts:
    starts.write("started ")

def good(input, weight, offsets=None, **options):
    return embag_edu.embedding_bag(input, weight, offsets, **options)

def no_nan(input, weight, offsets=None, **options):
    if options.get("mode") == "max" and np.isnan(weight).any():
        raise RuntimeError("no NaN")
    return good(input, weight, offsets, **options)

def no_max(input, weight, offsets=None, **options):
    if options.get("mode") == "max":
        raise NotSupported("max is to come")
    return good(input, weight, offsets, **options)

def hangs(input, weight, offsets=None, **options):
    while list(input) != [0, 1]:  # not in a first call
        pass
    return "no array"
"""
TABLE = """
[tool.embag_edu.check]
only = ["forward"]
"""
EXPECTED = """
["forward.max.nan_first"]
reason = "the kernel takes no NaN"
link = "https://example.org/12"

["forward.max.nan_later"]
reason = "the same"
"""
FAILING = {"forward.max.nan_first", "forward.max.nan_later"}


@pytest.fixture
def project(pytester, monkeypatch):
    """(function, words of the command line) -> the counts, the lines, and the cases of JUnit."""
    pytester.makepyfile(my_bags=MODULE)
    monkeypatch.syspath_prepend(pytester.path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others take seconds to import

    def ask(function, *words, table="", isolate=False):
        if not isolate:  # a process of its own takes a second to start
            monkeypatch.setattr("embag_edu.check.checker.Worker", lambda given, *_: Local(given))
        pytester.makepyprojecttoml(TABLE + table)
        words = ("-p", "pytest_embedding_bag", "--junitxml=j.xml", "-rA", *words)
        what = function if Path(function).is_dir() else f"my_bags:{function}"
        result = pytester.runpytest_inprocess(f"--embedding-bag={what}", *words)
        cases = {}
        if Path("j.xml").exists():
            for case in ElementTree.parse("j.xml").iter("testcase"):
                cases[case.get("name")] = [child for child in case if child.tag != "properties"]
        return result, cases

    return ask


def test_each_clause_is_a_test_and_one_process_answers_them(project):
    from embag_edu.check.clauses import find

    result, cases = project("good", isolate=True)
    assert result.ret == 0 and result.parseoutcomes() == {"passed": len(cases)}
    assert list(cases) == [clause.name for clause in find("forward")]
    assert Path("starts.txt").read_text(encoding="utf-8") == "started "


def test_a_failure_says_what_the_report_says(project):
    result, cases = project("no_nan")
    assert result.ret == 1 and result.parseoutcomes()["failed"] == len(FAILING)
    assert {name for name, found in cases.items() if found} == FAILING
    result.stdout.fnmatch_lines(["*clause forward.max.nan_first*", "case: NaN first", "*no NaN"])
    assert "replay(no_nan" in cases["forward.max.nan_first"][0].text


def test_expected_failures_are_strict(project):
    Path("known.toml").write_text(EXPECTED, encoding="utf-8")
    table = 'expected_failures = "known.toml"'
    result, cases = project("no_nan", table=table)
    assert result.ret == 0 and result.parseoutcomes()["xfailed"] == len(FAILING)
    told = cases["forward.max.nan_first"][0]
    assert told.get("type") == "pytest.xfail"
    assert told.get("message") == "the kernel takes no NaN, https://example.org/12"
    result, _ = project("good", table=table)  # both hold now
    assert result.ret == 1 and result.parseoutcomes()["failed"] == len(FAILING)
    result.stdout.fnmatch_lines(["*XPASS(strict)* the kernel takes no NaN*"])


def test_what_is_not_promised_or_not_supported_is_skipped_with_its_reason(project):
    result, cases = project("no_max", table='modes = ["sum", "max"]')
    assert result.ret == 0 and set(result.parseoutcomes()) == {"passed", "skipped"}
    assert cases["forward.mean"][0].get("message") == "not promised: needs mean"
    assert "max is to come" in cases["forward.max"][0].get("message")
    assert cases["forward.sum"] == []


def test_a_hang_is_a_failure_after_the_limit_of_the_table_and_a_doubt_is_a_warning(
    project, monkeypatch
):
    monkeypatch.setattr("embag_edu.check.worker.find_spec", lambda name: None)  # torch: seconds
    result, cases = project("hangs", "-k", "forward.mean.is", table="limit = 0.3", isolate=True)
    assert result.parseoutcomes() == {"failed": 1, "deselected": 9, "warnings": 1}
    assert "did not return within 0.3 s" in cases["forward.mean.is_the_default"][0].text
    result.stdout.fnmatch_lines(["collected 10 items / 9 deselected / 1 selected"])
    result.stdout.fnmatch_lines(["*A first call gave no array*"])


def test_what_does_not_start_fails_once_even_where_failures_are_expected(project):
    Path("known.toml").write_text(EXPECTED.replace("max.nan_first", "sum"), encoding="utf-8")
    result, cases = project("gone", table='expected_failures = "known.toml"')
    assert result.ret == 1 and result.parseoutcomes() == {"failed": 1, "skipped": len(cases) - 1}
    assert "has no attribute 'gone'" in cases["forward.sum"][0].text


def test_answers_that_were_imported_are_judged_clause_by_clause(project):
    export_cases("cases", "forward.mean")
    answers = Path("answers")
    for case in ("forward.mean.1", "forward.mean.is_the_default.1"):
        (answers / case).mkdir(parents=True)
        arrays = np.load("cases/cases.npz")
        np.save(answers / case / "output.npy", arrays[f"{case}/expected.output"].astype("f4") + 1)
    Path("cases/index.json").rename(answers / "index.json")
    result, cases = project("answers")
    assert result.parseoutcomes() == {"failed": 2} and len(cases) == 2
    assert "case: forward.mean.1, mean of two rows" in cases["forward.mean"][0].text


WRONG = [
    ("expected_failures = 'none.toml'", "my_bags:good", "*no such file: *none.toml. *--update*"),
    ("modes = ['som']", "my_bags:good", "*modes has no 'som'*"),
    ("mode = ['sum']", "my_bags:good", "*has no 'mode'*"),
    ("", "my_bags:good my_bags:good my_bags:good", "*does not take*"),
]


@pytest.mark.parametrize("table, words, told", WRONG)
def test_a_mistake_in_what_is_asked_ends_the_session_in_a_line(pytester, table, words, told):
    pytester.makepyprojecttoml(TABLE + table)
    words = ["-p", "pytest_embedding_bag", "-p", "no:nbval", f"--embedding-bag={words}"]
    result = pytester.runpytest_inprocess(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: " + told])


def test_under_xdist_each_clause_is_asked_once(project):
    words = ("-p", "xdist.plugin", "-n", "2", "-k", "negative or neg_inf or repeated or nan_and")
    result, cases = project("no_max", *words)
    assert result.ret == 0 and result.parseoutcomes() == {"passed": 2, "skipped": 2}
    assert len(cases) == 4
    assert Path("starts.txt").read_text(encoding="utf-8") == 2 * "started "


def test_it_is_an_entry_point_and_brings_nothing_into_other_sessions(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["pytest11"]
    # -p and the entry point must give one name, or pytest takes them for two plugins.
    assert points == {"pytest_embedding_bag": "pytest_embedding_bag"}
    assert project["tool"]["setuptools"]["py-modules"] == list(points)
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "pytest.main(['-q', '-p', 'pytest_embedding_bag', '-p', 'no:cacheprovider'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "pytest_embedding_bag" in loaded and not loaded & {"embag_edu", "numpy", "torch"}
