"""The result of a check, clause by clause: as text, as a table in a notebook, as JSON.

The report holds no times and no paths, so that the same check prints the same words every time.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embag_edu.check.cases import Arguments
from embag_edu.check.clauses import Clause

HOLDS, AS_TORCH, FAILS, NOT_ASKED = "holds", "as torch", "FAILS", "not asked"
NOT_SUPPORTED = "not supported"  # the implementation itself says so: see `candidate.NotSupported`
# In HTML alone: where text goes, there may be no such characters (a pipe or a file on Windows).
SYMBOLS = {HOLDS: "✓", AS_TORCH: "≈", FAILS: "✗", NOT_SUPPORTED: "○", NOT_ASKED: "–"}
IN_FULL = 3  # failures that are shown in full


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
    cause: str | None = None
    snippet: str = ""
    likely: bool = True  # no clause that holds speaks against the cause

    def __str__(self) -> str:
        lines = [f"case: {self.case}", *self.message.splitlines()]
        if self.cause:
            how = "likely cause" if self.likely else "perhaps"
            lines.append(f"{how}: the answer equals that of a bag where {self.cause}")
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

    @property
    def failed(self) -> list[ClauseResult]:
        """The clauses that fail."""
        return [r for r in self.results if r.status == FAILS]

    @property
    def passed(self) -> bool:
        """Whether no clause fails. One that is not supported, or not asked, does not fail."""
        return not self.failed

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
        lines = [self.headline(), *("  " + note for note in self.notes)]
        many = len(self.results) > 12
        for result in self.results:
            if result.status == AS_TORCH or (result.status != FAILS and not many):
                lines.append("  " + result.line())
        lines += _grouped(self.results) if many else []
        for number, result in enumerate(self.failed):
            lines.append("  " + result.line())
            if result.failure and number < IN_FULL:
                lines += ["      " + line for line in str(result.failure).splitlines()]
        return "\n".join(lines + ["  " + line for line in self._caution()])

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
            f"<p><b>{html.escape(r.clause.name)}</b></p><pre>{html.escape(str(r.failure))}</pre>"
            for r in self.failed[:IN_FULL]
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes + self._caution())
        return f"<p><b>{html.escape(self.headline())}</b></p>{table}{details}{notes}"

    def to_json(self) -> str:
        """Everything, for a machine."""
        return json.dumps(
            {
                "implementation": self.implementation,
                "passed": self.passed,
                "counts": self.counts(),
                "notes": self.notes,
                "results": [_json_result(r) for r in self.results],
            },
            indent=1,
        )


def _told(number: int, status: str) -> str:
    """A status after its number: 1 holds, 3 hold; 1 FAILS, 2 FAIL."""
    plural = {HOLDS: "hold", FAILS: "FAIL"}
    return f"{number} {status if number == 1 else plural.get(status, status)}"


def _grouped(results: list[ClauseResult]) -> list[str]:
    """One line for each group of clauses of a long report."""
    groups: dict[str, list[ClauseResult]] = {}
    for result in results:
        groups.setdefault(result.clause.name.split(".")[0], []).append(result)
    lines = []
    for name, members in groups.items():
        number = Counter(r.status for r in members)
        told = (AS_TORCH, FAILS, NOT_SUPPORTED, NOT_ASKED)
        others = [f", {number[s]} {s}" for s in told if number[s]]
        held = f"{number[HOLDS]} of {len(members)} clauses hold"
        lines.append(f"  {name}: {held}{''.join(others)}")
    return lines


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
            "likely_cause": result.failure.cause,
            "snippet": result.failure.snippet,
        }
    return record


# ---- a call as code -------------------------------------------------------------------------


def snippet(names: tuple[str, ...], part: str, arguments: Arguments) -> str:
    """Code to paste that makes the call again and shows where it goes wrong.

    names: the implementation's functions, each "module:function" or a name of the caller's own.
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
