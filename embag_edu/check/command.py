"""python -m embag_edu check."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from embag_edu.check.checker import Rules, Trial, open_trial
from embag_edu.check.clauses import find
from embag_edu.check.data import Answers, export_cases
from embag_edu.check.known import write
from embag_edu.check.promise import WORDS
from embag_edu.check.report import Report
from embag_edu.text import Short, aligned, progress


def main(words: list[str]) -> int:
    """Exit status: 0 no clause fails, 1 some fail, 2 the call was wrong."""
    try:
        given = parse(words)
        if given.export:
            print(_exported(export_cases(given.export, given.only, given.table), given.export))
            return 0
        if given.list or not (given.implementation or given.answers):
            print(aligned((clause.name, clause.rule) for clause in find(given.only, given.table)))
            return 0 if given.list else 2
        rules = rules_of(given)
        report = trial_of(given, rules).report(progress)
    except (ValueError, OSError) as error:  # no such clause, no such function, no such file
        print(error, file=sys.stderr)
        return 2
    _write(report, given.json)
    if given.update:
        write(given.expected_failures, rules.known, report)
        print(f"the expected failures are written to {given.expected_failures}", file=sys.stderr)
    return 0 if report.passed or given.update else 1


def rules_of(given: argparse.Namespace) -> Rules:
    """What is to be asked, of the command line and of the configuration."""
    said: dict[str, Any] = {n: getattr(given, n) for n in vars(given) if n in Rules.__match_args__}
    promised = {group: getattr(given, group) for group in WORDS}
    said["supports"] = {g: words for g, words in promised.items() if words is not None} or None
    if given.update and not Path(given.expected_failures).exists():
        said["expected_failures"] = None
    return Rules(**said)


def trial_of(given: argparse.Namespace, rules: Rules) -> Trial:
    """The implementation, started, or the folder of answers."""
    if given.answers:
        return Answers(Path(given.answers), rules)
    return open_trial(tuple(filter(None, (given.implementation, given.backward))), rules)


def parse(words: list[str]) -> argparse.Namespace:
    """What the command line says, and where it does not, the table of a configuration."""
    parser = _parser()
    given, _ = parser.parse_known_args(words)
    # What is said twice adds up, but not to what the table says.
    said = [name for name in ("only", *WORDS) if getattr(given, name) is not None]
    parser.set_defaults(**_configured(given.config, parser) | dict.fromkeys(said))
    given = parser.parse_args(words)
    if given.update and not given.expected_failures:
        parser.error("--update needs --expected-failures FILE")
    return given


def _configured(path: str | None, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """[tool.embag_edu.check] of a TOML file: the options of this command, by their names."""
    file = Path(path or "pyproject.toml")
    if not (path or file.exists()):
        return {}
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise WrongConfiguration(f"{file} is no TOML: {error}") from error
    table = {n.replace("-", "_"): v for n, v in tool.get("embag_edu", {}).get("check", {}).items()}
    never = {"config", "update", "list", "json", "export", "answers"}
    known = set(vars(parser.parse_args([]))) - never
    for name in table.keys() - known:
        raise WrongConfiguration(
            f"{file}: [tool.embag_edu.check] has no {name!r}; it takes {', '.join(sorted(known))}"
        )
    if "expected_failures" in table:  # beside the file that names it
        table["expected_failures"] = str(file.parent / table["expected_failures"])
    return table


class WrongConfiguration(Short, ValueError):
    """The table for this command in a TOML file can't be taken."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embag_edu check",
        epilog="Each of these may also stand in [tool.embag_edu.check] of ./pyproject.toml.",
    )
    parser.add_argument("implementation", nargs="?", help="module:function, or loops")
    parser.add_argument("backward", nargs="?", help="module:function of its backward, if separate")
    words = "clauses or groups: forward.sum,backward"
    parser.add_argument("--only", type=_listed, action="extend", help=words)
    for group, known in WORDS.items():
        words = f"what is promised, with commas between: {', '.join(known)}; or none"
        name = f"--{group.replace('_', '-')}"
        parser.add_argument(name, type=_listed, action="extend", help=words)
    parser.add_argument("--expected-failures", metavar="FILE", help="TOML: clause, reason, link")
    parser.add_argument("--update", action="store_true", help="write that file, keeping reasons")
    parser.add_argument(
        "--same-errors", action="store_true", help="fail a refusal of another class than torch's"
    )
    _number(parser, "--table", "the version of the clauses")
    _number(parser, "--ulps", "units in the last place that a sum may be off beyond rounding")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON ('-': print it)")
    parser.add_argument("--arrays", help="numpy, torch, torch:cuda, or a module: jax.numpy, cupy")
    _number(parser, "--limit", "seconds for one call")
    _number(parser, "--first-limit", "the same for loading, and for what compiles")
    _number(parser, "--losses", "stop when calls have hung or crashed so often, alike")
    parser.add_argument("--export", metavar="FOLDER", help="write the cases as data, and end")
    parser.add_argument(
        "--import", dest="answers", metavar="FOLDER", help="judge the answers to such cases"
    )
    parser.add_argument("--list", action="store_true", help="list the clauses and end")
    parser.add_argument(
        "--config", metavar="FILE", help="a TOML file in the place of pyproject.toml"
    )
    return parser


def _listed(words: str) -> list[str]:
    return [] if words == "none" else words.split(",")


def _number(parser: argparse.ArgumentParser, name: str, words: str) -> None:
    default = getattr(Rules, name.strip("-").replace("-", "_"))
    words = f"{words} ({default:g})"
    parser.add_argument(name, metavar="N", type=type(default), default=default, help=words)


def _exported(index: dict[str, Any], folder: str) -> str:
    left_out = len(index["left_out"].keys() - index["clauses"].keys())
    return (
        f"{len(index['cases'])} cases of {len(index['clauses'])} clauses are in {folder}; "
        f"{left_out} clauses can't be data, and index.json says why"
    )


def _write(report: Report, file: str | None) -> None:
    if file == "-":
        print(report.to_json())
        return
    if file:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(report.to_json())
    print(report)
