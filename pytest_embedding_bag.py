"""`pytest --embedding-bag module:function`: a test for each clause of embag_edu's table.

pytest loads this file in each session where embag_edu is installed. So it stands outside the
package, which brings in NumPy, and imports nothing of it before the option is there. The promise,
the limits and the file of expected failures stand in [tool.embag_edu.check] of pyproject.toml.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

NAME = "embedding_bag"  # of the marker, and of the file that the tests seem to be in


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    words = "test it clause by clause; the rest stands in [tool.embag_edu.check] of pyproject.toml"
    group = parser.getgroup("embag_edu")
    group.addoption("--embedding-bag", metavar="MODULE:FUNCTION", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """With the option, read what is to be asked; a mistake there ends the session in one line."""
    config.addinivalue_line("markers", f"{NAME}: a clause that --embedding-bag asks")
    words = config.getoption("embedding_bag")
    try:
        if words:
            config.pluginmanager.register(Clauses(config, words.split()), "embag_edu clauses")
    except (ValueError, OSError) as error:  # in pyproject.toml, or in the file of failures
        raise pytest.UsageError(str(error)) from error
    except SystemExit as error:  # argparse has said why
        raise pytest.UsageError(f"--embedding-bag does not take {words!r}") from error


class Clauses:
    """What one process of pytest asks: the clauses, and the worker that answers them."""

    def __init__(self, config: pytest.Config, words: list[str]) -> None:
        from embag_edu.check.command import parse, rules_of, trial_of

        file = config.rootpath / "pyproject.toml"
        what = ["--import", *words] if Path(words[0]).is_dir() else ["--", *words]
        given = parse([*(["--config", str(file)] if file.exists() else []), *what])
        rules = rules_of(given)
        self.known = rules.known
        self._start = partial(trial_of, given, rules)
        self._trial: Any = self._start() if given.answers else None  # starting those takes no time
        self.wanted = self._trial.clauses if self._trial else rules.clauses

    @pytest.hookimpl(tryfirst=True)  # so that -k, -m and --last-failed choose among them
    def pytest_collection_modifyitems(self, session: Any, items: list[pytest.Item]) -> None:
        """Add a test for each clause."""
        tests: list[Any] = [Clause.from_parent(session, clause=c, asks=self) for c in self.wanted]
        items += tests
        report = pytest.CollectReport(NAME, "passed", None, tests)  # they count as collected
        session.config.hook.pytest_collectreport(report=report)

    def trial(self) -> Any:
        """The implementation, started by the first test that asks; nothing more if that failed."""
        if self._trial is None:
            try:
                self._trial = self._start()
            except ValueError as error:
                self._trial = False
                raise pytest.fail.Exception(str(error), pytrace=False) from None
            for note in self._trial.notes:
                warnings.warn(pytest.PytestWarning(note), stacklevel=1)
        return self._trial or pytest.skip("the implementation could not be started")

    def pytest_sessionfinish(self) -> None:
        """End the worker."""
        if self._trial:
            self._trial.runner.close()


class Departs(pytest.fail.Exception):  # type: ignore[name-defined]
    """A clause fails: of all that may go wrong in a test, this alone can be expected."""

    __module__, __qualname__ = "builtins", "Failed"  # what pytest prints


class Clause(pytest.Item):
    """A clause as a test."""

    def __init__(self, *, parent: Any, clause: Any, asks: Clauses) -> None:
        super().__init__(clause.name, parent, nodeid=f"{NAME}::{clause.name}")
        self.clause, self.asks = clause, asks
        self.known = asks.known.get(clause.name)
        self.add_marker(NAME)
        if self.known:
            reason = ", ".join(filter(None, (self.known["reason"], self.known.get("link"))))
            self.add_marker(pytest.mark.xfail(reason=reason, raises=Departs, strict=True))

    def runtest(self) -> None:
        """Ask it."""
        from embag_edu.check.report import FAILS, REFUSES

        result = self.asks.trial().result(self.clause)
        if result.note:
            self.user_properties.append((result.status, result.note))  # for JUnit
        if result.status == FAILS:
            raise Departs(f"{self.clause.rule}\n{result.failure}", pytrace=False)
        if not result.held and (self.known or result.status != REFUSES):
            pytest.skip(f"{result.status}: {result.note}")

    def reportinfo(self) -> tuple[Any, None, str]:
        """Where it stands, and the headline of a failure."""
        return self.path, None, f"clause {self.name}"
