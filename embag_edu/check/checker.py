"""`check`: an implementation against the conformance table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.api import IMPLEMENTATIONS, embedding_bag
from embag_edu.check import ledger
from embag_edu.check.candidate import Candidate, Outcome, is_lost, run
from embag_edu.check.cases import Arguments, Case
from embag_edu.check.causes import Causes, Seen, fits
from embag_edu.check.clauses import VERSION, Clause, find
from embag_edu.check.faults import Fault
from embag_edu.check.known import apply, read
from embag_edu.check.oracle import Expected, expect, judge, lack, other_class
from embag_edu.check.promise import EVERYTHING, Promise, needed, needs, promise
from embag_edu.check.report import (
    AS_TORCH,
    FAILS,
    HOLDS,
    NOT_ASKED,
    NOT_PROMISED,
    NOT_SUPPORTED,
    REFUSES,
    CheckFailed,
    ClauseResult,
    Failure,
    Report,
    snippet,
)
from embag_edu.check.shrink import shrink
from embag_edu.check.worker import FIRST_LIMIT, LIMIT, Local, NotLoadable, Runner, Worker
from embag_edu.spec import SparseGradient
from embag_edu.text import Short

ELSEWHERE = "told elsewhere"  # of a case: it fails the clause that it is for
OTHERWISE = "(made again, it is answered otherwise: by chance, or for what earlier calls left)"
LOSSES = 10  # equal ones, after which no further clause is asked: each costs a restart


def check(
    implementation: Any,
    only: str | Iterable[str] | None = None,
    *,
    supports: Promise | Mapping[str, Iterable[str]] | None = None,
    expected_failures: str | Path | None = None,
    same_errors: bool = False,
    ulps: float = 0.0,
    table: int = VERSION,
    arrays: str | None = None,
    isolate: bool = True,
    limit: float = LIMIT,
    first_limit: float = FIRST_LIMIT,
    losses: int = LOSSES,
    explain: bool = True,
    raises: bool = True,
    progress: Callable[[Iterable[Clause]], Iterable[Clause]] = iter,
) -> Report:
    """Hold an implementation of `embedding_bag` against every clause of the table.

    implementation: a function of torch's signature, on NumPy arrays or torch tensors (autograd then
        gives its gradients); or a pair (forward, backward), with backward(grad_output, *the
        forward's arguments) -> (grad_weight, grad_per_sample_weights); or the name of either,
        "module:function"; or one of `embag_edu.IMPLEMENTATIONS`.
    only:     a clause or a group of clauses, "forward.sum" or "backward"; or several.
    supports: what is promised, by groups: {"modes": ["sum", "mean"], "options": []}. A group that
        is left out is promised whole. See `embag_edu.check.promise.Promise` for all words. Calls
        that need more are not made, and a clause without a call is "not promised".
    expected_failures: a file, see `embag_edu.check.known`. Such a failure fails nothing; that such
        a clause holds does.
    same_errors: fail what is refused by an exception of another class than torch's.
    ulps:     how many units in the last place of sum(|terms|) a sum may be off beyond the rounding
        of its additions, for results in lower precision.
    table:    the version of the table of clauses.
    arrays:   "numpy" or "torch", found out by a first call if not given; "torch:cuda" for tensors
        on that device; or a module with asarray, such as "jax.numpy" or "cupy", for its arrays.
    isolate:  run it in another process, so that a crash or an endless loop fails one clause only.
    limit:    seconds that one call may take there.
    first_limit: seconds for loading it and for its first call; for every call, if it seems to
        compile: one after the first has taken a second.
    losses:   after so many losses of the process in one and the same way no more is asked.
    explain:  look for the smallest failing call and the likely cause of each failure.
    raises:   raise CheckFailed if a clause fails; with False the report is only returned.

    Returns the Report. A clause holds if every result lies within the rounding that its sums may
    have, whatever the order of additions. A result that departs from the oracle exactly as the
    installed torch does is accepted where the ledger has an entry, and the report says so. A clause
    is not supported, which is neither, if none of its calls fails and one raises NotSupported.

    embag_edu.course.check is another function: it checks an exercise, whose name comes first.
    """
    if callable(only):
        raise WrongCall(_swapped(implementation, only))
    rules = Rules(
        only, supports, expected_failures, same_errors, ulps, table, arrays, isolate, limit,
        first_limit, losses, explain,
    )  # fmt: skip
    report = open_trial(implementation, rules).report(progress)
    return report.raise_if_failed() if raises else report


@dataclass
class Rules:
    """What is asked of an implementation, and how strictly: options of `check`, which see.

    Raises ValueError or OSError where they can't be meant.
    """

    only: str | Iterable[str] | None = None
    supports: Promise | Mapping[str, Iterable[str]] | None = None
    expected_failures: str | Path | None = None
    same_errors: bool = False
    ulps: float = 0.0
    table: int = VERSION
    arrays: str | None = None
    isolate: bool = True
    limit: float = LIMIT
    first_limit: float = FIRST_LIMIT
    losses: int = LOSSES
    explain: bool = True

    def __post_init__(self) -> None:
        self.clauses = find(self.only, self.table)
        self.promise = promise(self.supports)
        self.known = read(self.expected_failures) if self.expected_failures else {}


def open_trial(implementation: Any, rules: Rules) -> Trial:
    """Start an implementation, to ask it clause by clause; the caller closes the `runner`."""
    source, names = _source(implementation)
    if rules.supports is None and (names[0] in IMPLEMENTATIONS or source[0] is embedding_bag):
        rules = replace(rules, supports=EVERYTHING)  # they are this package's own
    notes: list[str] = []
    runner = _runner(source, rules, notes)
    notes += [runner.doubt] if runner.doubt else []
    return Trial(runner, names, rules, notes)


class WrongCall(Short, TypeError):
    """What was given is no implementation, or stands in the place of another argument."""


def _swapped(implementation: Any, only: Any) -> str:
    """For check("forward.sum", mine), and for an exercise that was meant for the other check."""
    if not isinstance(implementation, str):
        return f"only must be the name of a clause or of a group, as a string; found {only!r}"
    name = getattr(only, "__name__", "mine")
    if implementation[:1].isdigit():
        return (
            f"{implementation!r} is an exercise, perhaps; this check takes an implementation and "
            f'a clause. The other one: embag_edu.course.check("{implementation}", {name})'
        )
    return (
        f'the implementation comes first here, then the clause: check({name}, "{implementation}"). '
        "(embag_edu.course.check, another function, takes the name of an exercise first.)"
    )


def replay(implementation: Any, part: str, arguments: Arguments) -> None:
    """Make one call in this process and raise AssertionError if that part of it is wrong.

    part: "output", "grad_weight", "grad_psw", "table", "inputs", "fresh", "settings", "refused",
        "untouched": see `embag_edu.check.oracle.judge`.
    arguments: torch's, by name, with grad_output; as the snippet of a report gives them.
    """
    source, _ = _source(implementation)
    outcome = Local(source).run(arguments)
    message = judge(part, expect(arguments), outcome)
    if message:
        raise AssertionError(_located(message, outcome))


def _source(implementation: Any) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """What a Runner takes, and the names for the report."""
    if isinstance(implementation, tuple) and len(implementation) == 1:
        implementation = implementation[0]
    if isinstance(implementation, str) and implementation in IMPLEMENTATIONS:
        import embag_edu

        pair = (embag_edu.embedding_bag, embag_edu.embedding_bag_backward)
        functions = tuple(functools.partial(f, implementation=implementation) for f in pair)
        return functions, (implementation,)
    parts = implementation if isinstance(implementation, (tuple, list)) else (implementation,)
    if not 1 <= len(parts) <= 2 or not all(isinstance(p, str) or callable(p) for p in parts):
        raise WrongCall(
            "implementation must be a function, a pair (forward, backward), 'module:function' or "
            f"one of {', '.join(IMPLEMENTATIONS)}; found {implementation!r}"
        )
    names = (p if isinstance(p, str) else getattr(p, "__name__", type(p).__name__) for p in parts)
    return tuple(parts), tuple(names)


def _runner(source: tuple[Any, ...], rules: Rules, notes: list[str]) -> Runner:
    if not rules.isolate:
        return Local(source, rules.arrays)
    try:
        return Worker(source, rules.arrays, rules.limit, rules.first_limit)
    except NotLoadable as error:
        if all(isinstance(part, str) for part in source):
            raise
        notes.append(f"Run in this process, without protection from crashes: {error}")
        return Local(source, rules.arrays)


class Trial:
    """One implementation before the table. Each call is made once, whichever clauses look at it."""

    can_ask_more = True  # than the calls of the table: smaller ones

    def __init__(
        self,
        runner: Runner,
        names: tuple[str, ...],
        rules: Rules | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.runner = runner
        self.names = names
        self.rules = rules or Rules()
        self.clauses = self.rules.clauses
        self.notes = list(notes)  # what is to be told beside the results
        self._outcomes: dict[tuple[int, bool], Outcome] = {}
        self._causes = Causes(self._calls)

    def report(self, progress: Callable[..., Iterable[Clause]] = iter) -> Report:
        """Ask every clause, and close the runner."""
        with self.runner:
            results = [self.result(clause) for clause in progress(self.clauses)]
        rules, name = self.rules, " and ".join(self.names)
        stderr = self.runner.stderr
        report = Report(name, results, self.notes, rules.promise, stderr, rules.ulps, rules.table)
        apply(rules.known, report)
        return report

    def result(self, clause: Clause) -> ClauseResult:
        """Try one clause: all its cases, up to the first that fails."""
        found = self._result(clause)
        silent = found.status != FAILS or not self.rules.explain or clause.name in self.rules.known
        return found if silent else self.explained(found)

    def _result(self, clause: Clause) -> ClauseResult:
        reason = self._not_asked(clause)
        if reason:
            return ClauseResult(clause, NOT_ASKED, note=reason)
        cases = self._promised(clause)
        if not cases:
            needed = ", ".join(self._lacking(clause, clause.cases[0]))
            return ClauseResult(clause, NOT_PROMISED, note=f"needs {needed}")
        notes: dict[str, str] = {}  # what was found in one case or more, and the first words for it
        for tried, case in enumerate(cases, 1):
            try:
                status, words = self._verdict(clause, case)
            except ImportError as error:
                return ClauseResult(clause, NOT_ASKED, tried - 1, f"needs the package {error.name}")
            if status == FAILS:
                failure = Failure(case.name, case.make(), words)
                return ClauseResult(clause, FAILS, tried, failure=failure)
            notes.setdefault(status, words)
        found = (NOT_SUPPORTED, REFUSES, AS_TORCH, HOLDS)
        worst = next((s for s in found if s in notes), NOT_ASKED)
        return ClauseResult(clause, worst, len(cases), notes.get(worst, "no call was right"))

    def _lacking(self, clause: Clause, case: Case) -> list[str]:
        return self.rules.promise.lacking(clause.needs | needs(case))

    def _verdict(self, clause: Clause, case: Case) -> tuple[str, str]:
        """The status of one case, and words for it: what departs, or why it is no failure."""
        outcome = self._outcome(clause, case)
        if lack(None, outcome):  # what the call should give need not be known
            return NOT_SUPPORTED, lack(None, outcome)
        expected = replace(expected_of(clause, case), ulps=self.rules.ulps)
        message = judge(clause.part, expected, outcome)
        entry = ledger.covering(clause.name) if message else None
        if entry and _equals_torch(clause, case, expected, outcome):
            return AS_TORCH, f'ledger: "{entry.name}"'
        if lack(expected, outcome):
            return NOT_SUPPORTED, lack(expected, outcome)
        if clause.for_every_call and message:
            plain = clause.part == "output" and self._made(case, backward=False)
            if message == str(outcome.trouble) or plain and judge("output", expected, plain):
                return ELSEWHERE, ""
        other = other_class(clause.part, expected, outcome) if message else ""
        if other and not self.rules.same_errors:
            return REFUSES, other
        return (FAILS, message) if message else (HOLDS, "")

    def _not_asked(self, clause: Clause) -> str:
        words, times = next(iter(self.runner.losses.most_common(1)), ("", 0))
        if times >= self.rules.losses:
            return f"{times} times, a call {words}"
        if clause.for_torch and not self.runner.is_torch:
            return "for torch functions only"
        if clause.needs_backward and not self.runner.has_gradients:
            return "no backward was given"
        return ""

    def _outcome(self, clause: Clause, case: Case) -> Outcome:
        return self._made(case, self._wants_backward(clause))

    def _made(self, case: Case, backward: bool) -> Outcome:
        key = id(case), backward
        if key not in self._outcomes:
            self._outcomes[key] = self.runner.run(case.make(), backward)
        return self._outcomes[key]

    def _wants_backward(self, clause: Clause) -> bool:
        has_gradients = self.runner.has_gradients and "gradients" in self.rules.promise.forms
        return has_gradients and (clause.needs_backward or clause.for_every_call)

    def explained(self, found: ClauseResult) -> ClauseResult:
        """A failed clause again, with a call as small as it can be made and the likely cause."""
        clause, failure = found.clause, found.failure
        assert failure is not None
        case = self._promised(clause)[found.tried - 1]
        seen = self._seen(clause, case)
        causes = self._causes.of(clause, seen)
        arguments, message = failure.arguments, failure.message
        silent = case.large or is_lost(seen.outcome) or seen.expected.trouble is not None
        if self.can_ask_more and not silent:
            complaint = partial(self._complaint, clause, causes, _raised(seen.outcome))
            if case.shrinks:
                arguments = shrink(arguments, lambda less: bool(complaint(less)))
            message = complaint(arguments) or f"{message}\n{OTHERWISE}"
        else:
            message = _located(message, seen.outcome)
        told = ", or where ".join(cause.mistake() for cause in causes)
        code = snippet(self.names, clause.part, arguments, clause.name if case.large else "")
        failure = Failure(failure.case, arguments, message, told, code, len(causes) == 1)
        return replace(found, failure=failure)

    def _seen(self, clause: Clause, case: Case) -> Seen:
        expected = replace(expected_of(clause, case), ulps=self.rules.ulps)
        return Seen(case.make(), self._outcome(clause, case), expected)

    def _calls(self, clause: Clause) -> list[Seen]:
        """Those of a clause, made now if they were not; if a process was lost, those that were."""
        if self._not_asked(clause):
            return []
        cases = [case for case in self._promised(clause) if not case.large]
        if self.runner.losses:
            backward = self._wants_backward(clause)
            cases = [case for case in cases if (id(case), backward) in self._outcomes]
        with suppress(ImportError):
            return [c for c in (self._seen(clause, x) for x in cases) if not lack(None, c.outcome)]
        return []

    def _promised(self, clause: Clause) -> list[Case]:
        return [case for case in clause.cases if not self._lacking(clause, case)]

    def _complaint(
        self, clause: Clause, causes: list[type[Fault]], raised: Sequence[str], less: Arguments
    ) -> str:
        """What is wrong with a smaller call; '' where it is another kind of call, or of mistake."""
        if self.rules.promise.lacking(needed(less)):
            return ""
        expected = replace(expect(less), ulps=self.rules.ulps)
        if expected.trouble is not None or (
            clause.part == "grad_psw" and expected.grad_psw is None
        ):
            return ""  # made smaller than a call of this clause can be
        outcome = self.runner.run(less, self._wants_backward(clause))
        if lack(expected, outcome) or _raised(outcome) != raised:
            return ""
        seen = Seen(less, outcome, expected)
        alike = all(fits(cause, clause.part, seen) for cause in causes)
        return _located(judge(clause.part, expected, outcome), outcome) if alike else ""


def _located(message: str, outcome: Outcome) -> str:
    """A message about an exception, with the implementation's line where it came up."""
    trouble = outcome.trouble
    told = trouble is not None and trouble.line and str(trouble) in message
    return f"{message}\n  in {trouble.line}" if trouble and told else message


def _raised(outcome: Outcome) -> Sequence[str]:
    """The class of what was raised, and its bases; empty where nothing was."""
    return outcome.trouble.kinds if outcome.trouble else ()


def expected_of(clause: Clause, case: Case) -> Expected:
    """What the oracle says of a case of a clause."""
    return _expected(case, clause.needs_gradients or case in _of_gradients())


@functools.cache
def _expected(case: Case, gradients: bool) -> Expected:
    arguments = case.make()
    if not gradients:
        arguments.pop("grad_output", None)  # the oracle takes its time for them
    return expect(arguments)


@functools.cache
def _of_gradients() -> frozenset[Case]:
    """The cases that some clause looks at the gradients of."""
    return frozenset(c for clause in find(None) if clause.needs_gradients for c in clause.cases)


@functools.cache
def _torchs(case: Case) -> Outcome:
    """What the installed torch makes of a case."""
    import torch

    function = Candidate(torch.nn.functional.embedding_bag, None, "torch")
    return run(function, case.make())


def _equals_torch(clause: Clause, case: Case, expected: Expected, outcome: Outcome) -> bool:
    """Whether torch departs from the oracle in this call, and the outcome departs as torch does."""
    if not find_spec("torch"):
        return False
    torchs = _torchs(case)
    if not judge(clause.part, expected, torchs):
        return False
    return not judge(clause.part, as_expected(expected, torchs), outcome)


def as_expected(expected: Expected, outcome: Outcome) -> Expected:
    """An outcome in the place of the oracle's results, with their tolerances."""
    changes: dict[str, Any] = {"trouble": outcome.trouble}
    if isinstance(outcome.output, np.ndarray):
        changes |= {"output": _exact(outcome.output), "dtype": outcome.output.dtype}
    if expected.trouble is None:
        changes |= {
            "grad_weight": _exact(outcome.grad_weight),
            "grad_psw": _exact(outcome.grad_psw),
            "weight_after": _exact(outcome.weight_after),
        }
    else:
        changes["weight_before"] = outcome.weight_after  # what a refused call leaves
    return replace(expected, **changes)


def _exact(result: Any) -> Any:
    if isinstance(result, SparseGradient):
        return result._replace(values=_exact(result.values))
    return result.astype(np.float64) if isinstance(result, np.ndarray) else result


__all__ = ["CheckFailed", "check", "replay"]
