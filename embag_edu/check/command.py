"""python -m embag_edu check."""

from __future__ import annotations

import argparse
import sys

from embag_edu.check.checker import check
from embag_edu.check.clauses import find
from embag_edu.check.report import Report
from embag_edu.text import aligned, progress


def main(words: list[str]) -> int:
    """Exit status: 0 no clause fails, 1 some fail, 2 the call was wrong."""
    given = _parse(words)
    try:
        if given.list or not given.implementation:
            print(aligned((clause.name, clause.rule) for clause in find(given.only)))
            return 0 if given.list else 2
        pair = [f for f in (given.implementation, given.backward) if f]
        report = check(
            pair[0] if len(pair) == 1 else tuple(pair),
            given.only,
            arrays=given.arrays,
            limit=given.limit,
            raises=False,
            progress=progress,
        )
    except ValueError as error:  # no such clause, or no such function
        print(error, file=sys.stderr)
        return 2
    _write(report, given.json)
    return 0 if report.passed else 1


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embag_edu check")
    parser.add_argument("implementation", nargs="?", help="module:function, or loops")
    parser.add_argument("backward", nargs="?", help="module:function of its backward, if separate")
    parser.add_argument("--only", help="one clause or group: forward.sum, backward")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON ('-': print it)")
    parser.add_argument("--arrays", choices=["numpy", "torch"], help="what the function takes")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for one call (10)")
    parser.add_argument("--list", action="store_true", help="list the clauses and end")
    return parser.parse_args(words)


def _write(report: Report, file: str | None) -> None:
    if file == "-":
        print(report.to_json())
        return
    if file:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(report.to_json())
    print(report)
