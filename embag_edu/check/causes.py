"""The likely cause of a failure: the mistake of `faults` that gives the very same answers.

A mistake is named only where nothing speaks against it: it gives the answers to all calls of the
clause, the right ones too, and of every clause that must notice it. Such calls are made, if they
were not. Where two mistakes remain, both are told, with "perhaps"; where more remain, none is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from embag_edu.check.candidate import Candidate, Outcome, run
from embag_edu.check.cases import Arguments
from embag_edu.check.clauses import Clause, all_clauses
from embag_edu.check.compare import difference
from embag_edu.check.faults import FAULTS, Fault
from embag_edu.check.oracle import Expected, judge
from embag_edu.spec import SparseGradient

# Numbers in a call: beyond the first, only the mistakes that its clause is for are tried on it;
# beyond the second, none. They are plain loops: on 66,000 bags they took 41 s.
MANY, MOST = 2_000, 20_000
LOOKED_AT = {
    "output": "output",
    "grad_weight": "grad_weight",
    "grad_psw": "grad_psw",
    "table": "weight_after",
    "refused": "output",
    "untouched": "weight_after",
}
REFUSED = ("refused", "untouched")
RESULTS = ("output", "grad_weight", "grad_psw", "table")


class Seen(NamedTuple):
    """A call that was made, what came of it, and what is right."""

    arguments: Arguments
    outcome: Outcome
    expected: Expected


class Causes:
    """Looks for causes; remembers what it found in one implementation.

    ask: the calls of a clause, all of them made. Those of the clause that failed, and of the ones
        that must notice a mistake which may be the cause.
    """

    def __init__(self, ask: Callable[[Clause], Sequence[Seen]]) -> None:
        self.ask = ask
        self.found: list[type[Fault]] = []
        self._known: dict[tuple[type[Fault], str], bool] = {}

    def of(self, clause: Clause, failed: Seen) -> list[type[Fault]]:
        """The mistakes that may be the cause of a failure: one that is likely, or two, or none."""
        if clause.part not in LOOKED_AT:
            return []
        left = self._left(self.found, clause, failed) or self._left(FAULTS, clause, failed)
        if len(left) == 1 and left[0] not in self.found:
            self.found.append(left[0])
        return left if len(left) <= 2 else []

    def _left(
        self, faults: Sequence[type[Fault]], clause: Clause, failed: Seen
    ) -> list[type[Fault]]:
        size, part = _numbers(failed.arguments), clause.part
        raised = failed.outcome.trouble is not None and part not in REFUSED
        most = -1 if raised else MANY  # few mistakes raise
        tried = [
            fault
            for fault in faults
            if size <= (MOST if clause.name in fault.caught_by or fault in self.found else most)
            and fault.touches(part, failed.arguments)
            and False not in [self._known.get((fault, name)) for name in fault.caught_by]
        ]
        fitting = [f for f in tried if fits(f, part, failed) and _is_wrong(f, part, failed)]
        left = [f for f in fitting if self._explains(f, clause) and self._explains_its_own(f)]
        left = [f for f in left if clause.name in f.caught_by] or left
        if len(left) < 2:
            return left
        alike = {f: _alike_parts(f, failed) for f in left}
        return [f for f in left if alike[f] == max(alike.values())]

    def _explains_its_own(self, fault: type[Fault]) -> bool:
        """Whether it gives the answers to all clauses that must notice it."""
        return all(self._explains(fault, by_name()[name]) for name in fault.caught_by)

    def _explains(self, fault: type[Fault], clause: Clause) -> bool:
        key = fault, clause.name
        if clause.part not in LOOKED_AT:  # it tells its cause itself: "changed in place: input"
            return False
        if key not in self._known:
            calls = [call for call in self.ask(clause) if _numbers(call.arguments) <= MANY]
            if clause.part not in REFUSED:  # where it raises, more may be wrong
                calls = [call for call in calls if call.outcome.trouble is None]
            self._known[key] = all(fits(fault, clause.part, call) for call in calls)
        return self._known[key]


@functools.cache
def by_name() -> dict[str, Clause]:
    """Every clause of every version."""
    return {clause.name: clause for clause in all_clauses()}


def _numbers(arguments: Arguments) -> int:
    return sum(np.size(value) for value in arguments.values())


def fits(fault: type[Fault], part: str, call: Seen) -> bool:
    """Whether a bag with this mistake gives this part of the outcome, within rounding."""
    mistaken = _mistaken(fault, part, call.arguments)
    if _kind(mistaken) != _kind(call.outcome):
        return False
    sums = part in ("output", "grad_weight", "grad_psw") and call.expected.trouble is None
    return _alike(part, mistaken, call.outcome, call.expected.tolerance(part) if sums else 0.0)


def _is_wrong(fault: type[Fault], part: str, call: Seen) -> bool:
    return bool(judge(part, call.expected, _mistaken(fault, part, call.arguments)))


def _alike_parts(fault: type[Fault], call: Seen) -> int:
    mistaken = _mistaken(fault, "grad_weight", call.arguments)
    return sum(_alike(part, mistaken, call.outcome) for part in RESULTS)


def _mistaken(fault: type[Fault], part: str, arguments: Arguments) -> Outcome:
    pair = fault()
    backward = part.startswith("grad") or part == "refused"
    return run(Candidate(pair.forward, pair.backward, "numpy"), arguments, backward)


def _kind(outcome: Outcome) -> str | None:
    return None if outcome.trouble is None else outcome.trouble.kinds[0]


def _alike(part: str, one: Outcome, other: Outcome, tolerance: Any = 0.0) -> bool:
    a, b = (getattr(outcome, LOOKED_AT[part]) for outcome in (one, other))
    if isinstance(a, SparseGradient) and isinstance(b, tuple) and len(b) == 3:
        return not difference(a.indices, b[0]) and _close(a.values, b[1], tolerance)
    if isinstance(a, np.ndarray):
        return _close(a, b, tolerance)
    return a is None and b is None


def _close(a: np.ndarray, b: Any, tolerance: Any) -> bool:
    if np.shape(tolerance) != a.shape:  # the mistake is one of shape
        tolerance = np.max(tolerance, initial=0.0)
    rtol = {8: 1e-11, 4: 1e-5}.get(a.dtype.itemsize, 1e-2)
    return not difference(a, b, 2 * tolerance + 1e-12, rtol)
