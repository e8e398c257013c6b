"""The result of a check, clause by clause: as text, as a table in a notebook, as JSON.

The report holds no times and no paths, so that the same check prints the same words every time.
"""

from __future__ import annotations

import html
import json
import platform
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from embag_edu.check.cases import Arguments
from embag_edu.check.clauses import VERSION, Clause
from embag_edu.check.promise import EVERYTHING, Promise

HOLDS, AS_TORCH, FAILS, NOT_ASKED = "holds", "as torch", "FAILS", "not asked"
NOT_SUPPORTED = "not supported"  # the implementation itself says so: see `candidate.NotSupported`
NOT_PROMISED = "not promised"  # no call of it is: see `promise`
REFUSES = "refuses"  # what must be refused, by an exception of another class than torch's
KNOWN, HOLDS_NOW = "known failure", "HOLDS NOW"  # of the clauses that are expected to fail
# In HTML alone: where text goes, there may be no such characters (a pipe or a file on Windows).
SYMBOLS = {
    HOLDS: "✓",
    AS_TORCH: "≈",
    REFUSES: "≈",
    FAILS: "✗",
    KNOWN: "×",
    HOLDS_NOW: "✗",
    NOT_SUPPORTED: "○",
    NOT_PROMISED: "○",
    NOT_ASKED: "–",
}
PLURAL = {
    HOLDS: "hold",
    FAILS: "FAIL",
    REFUSES: "refuse otherwise",
    HOLDS_NOW: "HOLD NOW",
    KNOWN: "known failures",
}
ALONE = re.compile("values differ|found shape|should stay|nothing was raised")  # may differ in why
IN_FULL = 3  # failures that are shown in full
WRITTEN = 8  # lines of what an implementation prints that are shown
SCHEMA = 2  # of the JSON


class CheckFailed(AssertionError):
    """Raised when a clause fails. `report` has everything; a notebook shows it as a table."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
        self._shown = False

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a long traceback: the table, and a line."""
        from IPython.display import display

        if not self._shown:  # IPython asks twice
            display(self.report)
            self._shown = True
        return [f"CheckFailed: {self.report.headline()}"]


@dataclass
class Failure:
    """One failing call, as small as it could be made."""

    case: str
    arguments: Arguments
    message: str
    cause: str = ""
    snippet: str = ""
    likely: bool = True  # the cause is one mistake, not one of two

    @property
    def why(self) -> str:
        """Equal for failures that are likely one: the cause, or all words but those of numbers."""
        words = re.sub(r" of shape \(.*?\)", "", self.message.splitlines()[0])
        return self.cause or ("" if ALONE.search(words) else words)

    def brief(self) -> str:
        """In a few lines; all of it comes with --only."""
        return "\n".join([*self.message.splitlines()[:2], *self._told_cause()])

    def _told_cause(self) -> list[str]:
        how = "likely cause" if self.likely else "perhaps"
        told = f"{how}: the answer equals that of an EmbeddingBag where {self.cause}"
        return [told] if self.cause else []

    def __str__(self) -> str:
        lines = [f"case: {self.case}", *self.message.splitlines(), *self._told_cause()]
        if self.snippet:
            lines += ["to see it again:", *("    " + line for line in self.snippet.splitlines())]
        return "\n".join(lines)


@dataclass
class ClauseResult:
    """How one clause went."""

    clause: Clause
    status: str
    tried: int = 0
    note: str = ""  # the ledger entry, what is not supported, or why the clause was not asked
    failure: Failure | None = None

    @property
    def held(self) -> bool:
        """Whether no call of it departs from the specification, or only as torch's does."""
        return self.status in (HOLDS, AS_TORCH)

    def line(self) -> str:
        """One line of the report."""
        note = f" ({self.note})" if self.note else ""
        return f"{self.status:9} {self.clause.name}: {self.clause.rule}{note}"


@dataclass
class Report:
    """All results of a check, in the order of the table."""

    implementation: str
    results: list[ClauseResult]
    notes: list[str] = field(default_factory=list)
    promise: Promise = field(default_factory=Promise)
    stderr: str = ""  # the end of what the implementation wrote there, or printed
    ulps: float = 0.0  # added to the tolerance
    table: int = VERSION  # the version of the clauses

    @property
    def failed(self) -> list[ClauseResult]:
        """The clauses that fail, and those that hold though they are expected to fail."""
        return [r for r in self.results if r.status in (FAILS, HOLDS_NOW)]

    @property
    def passed(self) -> bool:
        """Whether no clause fails. One that is not supported, or not asked, does not fail."""
        return not self.failed

    @property
    def promised(self) -> list[ClauseResult]:
        """The clauses of what was promised."""
        return [r for r in self.results if r.status not in (NOT_PROMISED, NOT_ASKED)]

    def percent(self) -> float:
        """How many per cent of the promised clauses hold; NaN where none was promised."""
        held = sum(r.held or r.status == HOLDS_NOW for r in self.promised)
        return 100 * held / len(self.promised) if self.promised else float("nan")

    def raise_if_failed(self) -> Report:
        """Raise CheckFailed if a clause fails; else return the report."""
        if self.failed:
            raise CheckFailed(self)
        return self

    def counts(self) -> dict[str, int]:
        """How many clauses have each status."""
        number = Counter(r.status for r in self.results)
        return {status: number[status] for status in SYMBOLS if number[status]}

    def headline(self) -> str:
        """The whole in one line."""
        calls = sum(r.tried for r in self.results)
        counts = ", ".join(_told(number, status) for status, number in self.counts().items())
        clauses = _told(len(self.results), "clauses" if len(self.results) != 1 else "clause")
        return f"{self.implementation}: {clauses}, {calls} call{'s' * (calls != 1)}: {counts}"

    def __str__(self) -> str:
        lines = [self.headline(), *("  " + note for note in self._notes())]
        many = len(self.results) > 12
        for result in self.results:
            told = result.status in (AS_TORCH, REFUSES, KNOWN)
            if told or (result not in self.failed and not many):
                lines.append("  " + result.line())
        lines += _grouped(self.results) if many else []
        for number, alike in enumerate(self.alike()):
            lines.append("  " + alike[0].line())
            if failure := alike[0].failure:
                words = str(failure) if number < IN_FULL else failure.brief()
                lines += ["      " + line for line in words.splitlines()]
            if alike[1:]:
                others = ", ".join(result.clause.name for result in alike[1:])
                lines.append(f"      the same in {others}")
        return "\n".join(lines + ["  " + line for line in self._end()])

    def alike(self) -> list[list[ClauseResult]]:
        """The failed clauses, those together that fail for one cause, or in the same words."""
        groups: dict[str, list[ClauseResult]] = {}
        for result in self.failed:
            words = result.failure.why if result.failure else result.note
            groups.setdefault(words or result.clause.name, []).append(result)
        return list(groups.values())

    def _notes(self) -> list[str]:
        """What this check was, if it was not the usual one."""
        notes = list(self.notes)
        if self.promise not in (Promise(), EVERYTHING):
            told = f"{self.percent():.0f} % of its {len(self.promised)} clauses hold"
            notes += [f"promised: {self.promise}", f"of this promise, {told}"]
        if self.ulps:
            notes.append(f"each sum may be off by {self.ulps:g} units in the last place more")
        return notes

    def _end(self) -> list[str]:
        rest = [alike[0].clause.name for alike in self.alike()[IN_FULL:] if alike[0].failure]
        lines = [f"More about one of them: --only {rest[0]}"] if rest else []
        written = ["    " + line for line in self.stderr.splitlines()[-WRITTEN:]]
        lines += self._caution()
        return lines + (["The end of what it printed:", *written] if written else [])

    def _caution(self) -> list[str]:
        words = "A check shows what these calls show: it is evidence, not a proof."
        return [words] if self.passed else []

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(_html_row(r) for r in self.results)
        table = f"<table><thead><tr>{_html_heads()}</tr></thead><tbody>{rows}</tbody></table>"
        if len(self.results) > 12:
            table = f"<details><summary>all clauses</summary>{table}</details>"
        details = "".join(
            f"<p><b>{html.escape(', '.join(r.clause.name for r in alike))}</b></p>"
            f"<pre>{html.escape(str(alike[0].failure))}</pre>"
            for alike in self.alike()[:IN_FULL]
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes() + self._caution())
        return f"<p><b>{html.escape(self.headline())}</b></p>{table}{details}{notes}"

    def to_json(self) -> str:
        """Everything, for a machine."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "versions": {"table": self.table} | versions(),
                "implementation": self.implementation,
                "passed": self.passed,
                "counts": self.counts(),
                "promised": vars(self.promise),
                "percent_of_promised": round(self.percent(), 1) if self.promised else None,
                "ulps": self.ulps,
                "notes": self.notes,
                "stderr": self.stderr,
                "results": [_json_result(r) for r in self.results],
            },
            indent=1,
        )


def _told(number: int, status: str) -> str:
    """A status after its number: 1 holds, 3 hold; 1 FAILS, 2 FAIL."""
    singular = {REFUSES: "refuses otherwise"}.get(status, status)
    return f"{number} {singular if number == 1 else PLURAL.get(status, status)}"


def versions() -> dict[str, str]:
    """What a verdict may depend on: Python, this package, NumPy, and torch if it is there."""
    found = {"python": platform.python_version()}
    for name in ("embag_edu", "numpy", "torch"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _grouped(results: list[ClauseResult]) -> list[str]:
    """One line for each group of clauses of a long report, and for each reason of silence."""
    groups: dict[str, list[ClauseResult]] = {}
    for result in results:
        groups.setdefault(result.clause.name.split(".")[0], []).append(result)
    lines = []
    for name, members in groups.items():
        number = Counter(r.status for r in members)
        others = [f", {_told(number[s], s)}" for s in SYMBOLS if s != HOLDS and number[s]]
        held = f"{number[HOLDS]} of {len(members)} clauses hold"
        lines.append(f"  {name}: {held}{''.join(others)}")
    silent = Counter((r.status, r.note) for r in results if r.status in (NOT_ASKED, NOT_SUPPORTED))
    return lines + [f"  {count} {status}: {note}" for (status, note), count in silent.items()]


def _html_heads() -> str:
    names = ("result", "clause", "what it says", "calls")
    return "".join(f'<th style="text-align: left">{name}</th>' for name in names)


def _html_row(result: ClauseResult) -> str:
    cells = [
        f"{SYMBOLS[result.status]} {result.status}",
        result.clause.name,
        result.clause.rule + (f" ({result.note})" if result.note else ""),
        str(result.tried),
    ]
    left = 'style="text-align: left"'
    return "<tr>" + "".join(f"<td {left}>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _json_result(result: ClauseResult) -> dict[str, Any]:
    record = {
        "clause": result.clause.name,
        "rule": result.clause.rule,
        "source": result.clause.source,
        "status": result.status.lower(),
        "calls": result.tried,
        "note": result.note,
    }
    if result.failure:
        record["failure"] = {
            "case": result.failure.case,
            "message": result.failure.message,
            "likely_cause": result.failure.likely and result.failure.cause or None,
            "snippet": result.failure.snippet,
        }
    return record


# ---- a call as code -------------------------------------------------------------------------


def snippet(names: tuple[str, ...], part: str, arguments: Arguments, too_large: str = "") -> str:
    """Code to paste that makes the call again and shows where it goes wrong.

    names: the implementation's functions, each "module:function" or a name of the caller's own.
    too_large: the clause of a call that is too large to be printed.
    """
    from embag_edu import IMPLEMENTATIONS

    lines, functions = ["import numpy as np"], []
    for name in names:
        if name in IMPLEMENTATIONS:
            functions.append(repr(name))
            continue
        module, colon, function = name.partition(":")
        lines.append(f"from {module} import {function}" if colon else f"# {name} is your own")
        functions.append(function or name)
    implementation = functions[0] if len(functions) == 1 else f"({', '.join(functions)})"
    if too_large:
        call = f'check({implementation}, "{too_large}")'
        return "\n".join([*lines, "from embag_edu.check import check", "", call])
    lines += ["from embag_edu.check import replay", "", f'replay({implementation}, "{part}", {{']
    lines += [f'    "{key}": {_code(value)},' for key, value in _needed(part, arguments).items()]
    lines += ["})"]
    if any(getattr(v, "dtype", None) == "bfloat16" for v in arguments.values()):
        lines.insert(0, "import ml_dtypes")
    return "\n".join(lines)


def _needed(part: str, arguments: Arguments) -> Arguments:
    if part in ("grad_weight", "grad_psw", "inputs", "refused"):
        return arguments
    return {k: v for k, v in arguments.items() if k != "grad_output"}


def _code(value: Any) -> str:
    if isinstance(value, np.ndarray):
        shape = "" if value.size else f".reshape{value.shape}"
        listed = str(_shortest(value)).replace("nan", "np.nan").replace("inf", "np.inf")
        dtype = "ml_dtypes.bfloat16" if value.dtype.name == "bfloat16" else f'"{value.dtype}"'
        return f"np.array({listed}, {dtype}){shape}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_code(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and not np.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _shortest(values: np.ndarray) -> Any:
    """Nested lists of the shortest numbers that give these values back in their own dtype."""
    if values.dtype.kind in "biu":
        return values.tolist()
    return np.array([float(str(v)) for v in values.ravel()]).reshape(values.shape).tolist()
