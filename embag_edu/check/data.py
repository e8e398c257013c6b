"""Cases as data, for an implementation that Python can't call, and the verdict on its answers.

`export_cases` writes what the table asks into two files: `cases.npz`, not compressed, with the
arguments, expected values and tolerances; and `index.json`. `check_answers` judges a folder of
answers as `check` judges an implementation. `book/pages/cases.md` describes both folders.
"""

from __future__ import annotations

import builtins
import functools
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.check.candidate import NotSupported, Outcome, Trouble
from embag_edu.check.cases import DEFAULTS, Arguments, Case, floats, laid_out
from embag_edu.check.checker import Rules, Trial, expected_of
from embag_edu.check.clauses import VERSION, Clause, all_clauses, find
from embag_edu.check.oracle import Expected, table_tolerance
from embag_edu.check.report import NOT_ASKED, ClauseResult, Report, versions
from embag_edu.check.worker import Runner
from embag_edu.spec import SparseGradient
from embag_edu.text import Short

SCHEMA = 1  # of both folders
# The file of an answer that each part of the table looks at.
FILES = {
    "output": "output",
    "grad_weight": "grad_weight",
    "grad_psw": "grad_per_sample_weights",
    "table": "weight_after",
    "untouched": "weight_after",
    "refused": "output",
}


class WrongAnswers(Short, ValueError):
    """A folder holds no answers to cases that this version of the package knows."""


# ---- what can be data -----------------------------------------------------------------------


def as_data(clause: Clause) -> tuple[Clause, str]:
    """The clause with those of its cases that a file can hold, and why others are left out."""
    if clause.for_torch:
        return replace(clause, cases=()), "for torch functions only"
    if clause.for_every_call:
        return replace(clause, cases=()), "about what a call does beside its results"
    found = {case: _arguments(case) for case in clause.cases}
    cases = tuple(case for case, arguments in found.items() if not isinstance(arguments, str))
    if cases and all(case.make().get("layout") for case in cases):
        return replace(clause, cases=()), "about strides: a file holds the numbers alone"
    reasons = dict.fromkeys(why for why in found.values() if isinstance(why, str))
    return replace(clause, cases=cases), "; ".join(reasons)


@functools.cache
def _arguments(case: Case) -> dict[str, np.ndarray] | str:
    """All arguments as arrays in C order, single values as 0-d arrays; or why that can't be."""
    try:
        arguments = case.make()
    except ImportError as error:
        return f"needs the package {error.name}"
    if "protocol" in arguments:
        return "about calls in a row: an answer does not show that they were made"
    given = {n: v for n, v in laid_out(arguments).items() if v is not DEFAULTS.get(n, case)}
    odd = [n for n, v in given.items() if not isinstance(v, (np.ndarray, bool, int, float, str))]
    if odd:
        return f"{odd[0]} is a {type(given[odd[0]]).__name__}, which has no form in a file"
    bare = {n: v.encode() if isinstance(v, str) else v for n, v in given.items()}
    return {name: np.array(value, order="C") for name, value in bare.items()}


@functools.cache
def names() -> dict[Case, str]:
    """The name of every case: its first clause and its place there, "forward.sum.1".

    What a later version of the table adds comes last, so that no name changes.
    """
    found: dict[Case, str] = {}
    for clause in sorted(all_clauses(), key=lambda clause: clause.since):
        for number, case in enumerate(sorted(clause.cases, key=lambda case: case.since), 1):
            found.setdefault(case, f"{clause.name}.{number}")
    return found


def _checksum(arguments: Mapping[str, np.ndarray]) -> int:
    parts = (f"{n} {a.dtype} {a.shape}".encode() + a.tobytes() for n, a in arguments.items())
    return functools.reduce(lambda so_far, part: zlib.crc32(part, so_far), parts, 0)


# ---- export ---------------------------------------------------------------------------------


def export_cases(
    folder: str | Path, only: str | Iterable[str] | None = None, table: int = VERSION
) -> dict[str, Any]:
    """Write the cases of these clauses to `folder`, and return what `index.json` there holds.

    only, table: as in `check`. Clauses that can't be data are named in the index, with the reason.
    """
    arrays: dict[str, np.ndarray] = {}
    cases: dict[str, Any] = {}
    clauses: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for clause in find(only, table):
        asked, reason = as_data(clause)
        left_out |= {clause.name: reason} if reason else {}
        ids = [names()[case] for case in asked.cases]
        about = {"rule": clause.rule, "source": clause.source, "part": clause.part, "cases": ids}
        clauses |= {clause.name: about} if ids else {}
        for name, case in zip(ids, asked.cases, strict=True):
            arguments, expected = _arguments(case), expected_of(clause, case)
            assert not isinstance(arguments, str)
            cases.setdefault(name, _record(case, arguments, expected))
            found = arguments | _results(clause.part, expected)
            arrays |= {f"{name}/{key}": array for key, array in found.items()}
    index = {
        "schema": SCHEMA,
        "table": table,
        "versions": versions(),
        "clauses": clauses,
        "left_out": left_out,
        "cases": cases,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    np.savez(Path(folder, "cases.npz"), **arrays)  # type: ignore[arg-type]
    Path(folder, "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return index


def _record(case: Case, arguments: Mapping[str, np.ndarray], expected: Expected) -> dict[str, Any]:
    record: dict[str, Any] = {"name": case.name, "checksum": _checksum(arguments)}
    if expected.trouble is None:
        return record | {"dtype": expected.dtype.name}
    due = expected.trouble
    known = next(kind for kind in due.kinds if hasattr(builtins, kind))
    return record | {"refused": {"by": due.stage, "error": known, "words": due.text}}


def _results(part: str, expected: Expected) -> dict[str, np.ndarray]:
    """What the part should be, and how far off it may be: no tolerance where it is exact."""
    if part == "refused" or (expected.trouble and part != "untouched"):
        return {}
    wanted: Any = expected.weight_after
    if part in ("table", "untouched"):
        tolerance = table_tolerance(expected) if part == "table" else np.zeros(1)
    else:
        wanted, tolerance = getattr(expected, part), np.asarray(expected.tolerance(part))
    name = FILES[part]
    off = {f"tolerance.{name}": tolerance.astype(np.float32)} if tolerance.any() else {}
    if isinstance(wanted, SparseGradient):
        found = {"indices": wanted.indices, "values": wanted.values}
        return {f"expected.{name}.{key}": array for key, array in found.items()} | off
    return {f"expected.{name}": wanted} | off


# ---- import ---------------------------------------------------------------------------------


def check_answers(
    folder: str | Path,
    only: str | Iterable[str] | None = None,
    *,
    raises: bool = True,
    progress: Callable[[Iterable[Clause]], Iterable[Clause]] = iter,
    **rules: Any,
) -> Report:
    """Judge the answers in a folder as `check` judges an implementation; see there.

    folder: a folder for each case, and a copy of the cases' `index.json`. A case without an answer
        fails, as the program may have ended early.
    rules:  supports, expected_failures, same_errors, ulps, explain.

    Raises WrongAnswers where the index is missing or of another schema, where no case is answered,
    and where a case is another one now than when it was exported.
    """
    report = Answers(Path(folder), Rules(only, **rules)).report(progress)
    return report.raise_if_failed() if raises else report


def _index(folder: Path) -> dict[str, Any]:
    file = folder / "index.json"
    if not file.exists():
        raise WrongAnswers(f"{folder} has no index.json. Copy that of the cases into it")
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        schema = index["schema"]
        found = {key: index.get(key) for key in ("table", "clauses", "left_out", "cases")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongAnswers(f"{file} is no index of cases: {error!r}") from error
    if schema != SCHEMA:
        raise WrongAnswers(
            f"{file} has schema {schema!r}; this version of embag_edu takes {SCHEMA}. "
            "Export the cases with this version, and answer those"
        )
    lacking = [key for key, value in found.items() if value is None]
    if lacking:
        raise WrongAnswers(f"{file} is no index of cases: {', '.join(lacking)} missing")
    return found


class Answers(Trial):
    """A folder of answers before the table."""

    can_ask_more = False

    def __init__(self, folder: Path, rules: Rules) -> None:
        """Raises WrongAnswers: see `check_answers`."""
        index = _index(folder)
        runner = Runner()
        runner.has_backward = True
        super().__init__(runner, (folder.resolve().name,), replace(rules, table=index["table"]))
        self.folder, self.exported = folder, index["cases"]
        in_index = index["clauses"].keys() | index["left_out"].keys()
        self.clauses = tuple(clause for clause in self.clauses if clause.name in in_index)
        if not self.clauses:
            raise WrongAnswers(f"none of these clauses is in {folder / 'index.json'}")
        answered = {path.name for path in folder.iterdir() if path.is_dir()}
        if not answered & self.exported.keys():
            raise WrongAnswers(
                f"{folder} answers no case: there is no folder such as forward.sum.1"
            )
        lost = sorted(answered - self.exported.keys())
        self.notes = [f"no case has the name {', '.join(lost[:3])}"] if lost else []

    def _result(self, clause: Clause) -> ClauseResult:
        asked, reason = as_data(clause)
        return super()._result(asked) if asked.cases else ClauseResult(clause, NOT_ASKED, 0, reason)

    def _lacking(self, clause: Clause, case: Case) -> list[str]:
        """Nothing lacks strided arrays: in a file all are in C order."""
        return [word for word in super()._lacking(clause, case) if word != "strided"]

    def explained(self, found: ClauseResult) -> ClauseResult:
        """A failed clause again, with the name of its case and the likely cause."""
        result = super().explained(found)
        assert result.failure is not None
        case = next(c for c in found.clause.cases if c.name == result.failure.case)
        result.failure.case, result.failure.snippet = f"{names()[case]}, {case.name}", ""
        return result

    def _outcome(self, clause: Clause, case: Case) -> Outcome:
        """What the files of a case say of one part of it."""
        name, part = names()[case], clause.part
        self._check_that_it_is_the_exported(name, case)
        folder = self.folder / name
        found: Arguments = {}
        for path in folder.glob("*.npy"):
            try:
                found[path.stem] = _read(path)
            except Exception as error:  # NumPy raises whatever comes up in such a file
                words = f"left a file that can't be read, {path.name}: {error}"
                return Outcome(trouble=Trouble("forward", ("died",), words))
        if {"grad_weight.indices", "grad_weight.values"} <= found.keys():
            pair = found["grad_weight.indices"], found["grad_weight.values"]
            found["grad_weight"] = (*pair, case.make()["weight"].shape)
        stage = "backward" if "output" in found else "forward"
        trouble = _refusal(folder / "refused.txt", stage)
        needed = "grad_weight" if part == "refused" and clause.needs_backward else FILES[part]
        if needed in found and part != "untouched":
            trouble = None  # it is another part that was refused
        elif needed not in found and (trouble is None or part == "untouched" and not trouble.lacks):
            words = f"left no answer\n  there is no {name}/{needed}.npy"
            trouble = Trouble(stage, ("died",), words)
        psw = found.get(FILES["grad_psw"])
        return Outcome(
            found.get("output"),
            found.get("grad_weight"),
            psw,
            found.get("weight_after"),
            trouble=trouble,
        )

    def _check_that_it_is_the_exported(self, name: str, case: Case) -> None:
        """Random calls may differ between versions of NumPy."""
        arguments, was = _arguments(case), self.exported.get(name)
        if was and not isinstance(arguments, str) and was["checksum"] != _checksum(arguments):
            raise WrongAnswers(
                f"{name} is another call here than where it was exported. "
                "Export the cases with this version of embag_edu and NumPy, and answer those"
            )


def _read(path: Path) -> np.ndarray:
    with open(path, "rb") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return array.view(floats("bfloat16")) if array.dtype == "V2" else array


def _refusal(file: Path, stage: str) -> Trouble | None:
    """From "ValueError: words", or from words alone; None where there is no such file.

    "NotSupported: words" says so of the case.
    """
    if not file.exists():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    kind, colon, words = text.partition(":")
    known = vars(builtins) | {"NotSupported": NotSupported}
    error = known.get(kind.strip()) if colon else None
    if not (isinstance(error, type) and issubclass(error, Exception)):
        return Trouble(stage, ("Exception",), text.strip())
    kinds = tuple(c.__name__ for c in error.__mro__ if c is not object)
    return Trouble(stage, kinds, words.strip())
