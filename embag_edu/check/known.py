"""Failures that are expected: a file in the repository of the implementation that is checked.

One table for each clause, with a reason and perhaps a link:

    ["forward.max.nan_later"]
    reason = "our kernel passes NaN on, as torch.max does"
    link = "https://example.org/issues/12"

A failure that the file does not name, and a clause that it names and that holds, both fail the run.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from embag_edu.check.clauses import find
from embag_edu.check.report import FAILS, HOLDS_NOW, KNOWN, NOT_ASKED, NOT_PROMISED, Report
from embag_edu.text import Short

Known = Mapping[str, Mapping[str, str]]  # a clause: its reason and its link
NO_REASON = "not looked into yet"


class WrongFile(Short, ValueError):
    """A file of expected failures can't be read, or names what is no clause."""


def read(path: str | Path) -> Known:
    """The clauses of a file, each with "reason" and perhaps "link"; WrongFile where it has none."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WrongFile(
            f"no such file: {path}. `python -m embag_edu check --update` writes it"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongFile(f"{path} is no TOML: {error}") from error
    names = {clause.name for clause in find(None)}
    for name, about in table.items():
        if name not in names:
            raise WrongFile(
                f'{path}: there is no clause {name!r}. A clause stands there as ["forward.sum"]; '
                "`python -m embag_edu check --list` shows all names"
            )
        wrong = [key for key in about if key not in ("reason", "link")] if about else []
        if not isinstance(about, dict) or wrong or "reason" not in about:
            raise WrongFile(f"{path}: {name} takes a reason and a link; found {about!r}")
    return table


def apply(known: Known, report: Report) -> None:
    """Set the status of the clauses that a file names: failed as expected, or held though not."""
    for result in report.results:
        about = known.get(result.clause.name)
        if about is None:
            continue
        if result.status == FAILS:
            words = ", ".join(filter(None, (about["reason"], about.get("link"))))
            result.status, result.note = KNOWN, words
        elif result.held:
            result.status, result.note = HOLDS_NOW, f"expected to fail: {about['reason']}"


def write(path: str | Path, known: Known, report: Report) -> None:
    """The failures of a report as a file; a reason that was there stays.

    Clauses that were not asked this time stay as they are.
    """
    silent = (NOT_ASKED, NOT_PROMISED)
    asked = {r.clause.name for r in report.results if r.status not in silent}
    failing = {r.clause.name for r in report.results if r.status in (FAILS, KNOWN)}
    kept = {name: about for name, about in known.items() if name not in asked}
    kept |= {name: known.get(name, {"reason": NO_REASON}) for name in failing}
    tables = [
        "\n".join([f"[{json.dumps(c.name)}]", *_lines(kept[c.name])])
        for c in find(None)
        if c.name in kept
    ]
    Path(path).write_text("\n\n".join([*tables, ""]).lstrip("\n"), encoding="utf-8")


def _lines(about: Mapping[str, str]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in about.items()]
