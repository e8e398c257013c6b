"""The likely cause of a failure: the mistake of `faults` that gives the very same answers.

A mistake is named only where nothing speaks against it. It gives the answers to all calls of the
clause that were made, the right ones too, and no clause that must notice it holds; such clauses are
asked, if they were not. Where two mistakes remain, both are told, with "perhaps"; where more
remain, none is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from embag_edu.check.candidate import Candidate, Outcome, run
from embag_edu.check.cases import Arguments
from embag_edu.check.clauses import Clause
from embag_edu.check.compare import difference
from embag_edu.check.faults import FAULTS, Fault
from embag_edu.check.oracle import Expected, expect, judge
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
    """A call that was made, and what came of it."""

    arguments: Arguments
    outcome: Outcome


class Causes:
    """Looks for causes; remembers what it found in one implementation.

    holds: name of a clause, and whether it may be asked for this -> whether it is known to hold.
    """

    def __init__(self, holds: Callable[[str, bool], bool]) -> None:
        self.holds = holds
        self.found: list[type[Fault]] = []

    def of(self, clause: Clause, calls: Sequence[Seen]) -> list[type[Fault]]:
        """The mistakes that may be the cause of a failure; the last of the calls has failed."""
        trouble = calls[-1].outcome.trouble
        if clause.part not in (REFUSED if trouble else LOOKED_AT):
            return []
        known = self._left(self.found, clause, calls)
        left = known or self._left(FAULTS, clause, calls)
        if len(left) == 1 and left[0] not in self.found:
            self.found.append(left[0])
        return left if len(left) <= 2 else []

    def _left(
        self, faults: Sequence[type[Fault]], clause: Clause, calls: Sequence[Seen]
    ) -> list[type[Fault]]:
        *before, failed = calls
        size = _numbers(failed.arguments)
        tried = [
            fault
            for fault in faults
            if size <= (MOST if clause.name in fault.caught_by or fault in self.found else MANY)
            and fault.touches(clause.part, failed.arguments)
            and not self._contradicted(fault, ask=False)
        ]
        fitting = [fault for fault in tried if fits(fault, clause.part, failed)]
        right = expect(failed.arguments) if fitting else Expected()
        fitting = [
            f
            for f in fitting
            if judge(clause.part, right, _mistaken(f, clause.part, failed.arguments))
        ]
        small = [call for call in before if _numbers(call.arguments) <= MANY]
        agreeing = [f for f in fitting if all(fits(f, clause.part, call) for call in small)]
        left = [f for f in agreeing if not self._contradicted(f, ask=True)]
        left = [f for f in left if clause.name in f.caught_by] or left
        if len(left) < 2:
            return left
        alike = {f: _alike_parts(f, failed) for f in left}
        return [f for f in left if alike[f] == max(alike.values())]

    def _contradicted(self, fault: type[Fault], ask: bool) -> bool:
        """Whether a clause holds that must notice this mistake."""
        return any(self.holds(name, ask) for name in fault.caught_by)


def _numbers(arguments: Arguments) -> int:
    return sum(np.size(value) for value in arguments.values())


def fits(fault: type[Fault], part: str, call: Seen) -> bool:
    """Whether a bag with this mistake gives this part of the outcome."""
    return _same_answer(part, _mistaken(fault, part, call.arguments), call.outcome)


def _alike_parts(fault: type[Fault], call: Seen) -> int:
    mistaken = _mistaken(fault, "grad_weight", call.arguments)
    return sum(_alike(part, mistaken, call.outcome) for part in RESULTS)


def _mistaken(fault: type[Fault], part: str, arguments: Arguments) -> Outcome:
    pair = fault()
    backward = part.startswith("grad") or part == "refused"
    return run(Candidate(pair.forward, pair.backward, "numpy"), arguments, backward)


def _same_answer(part: str, one: Outcome, other: Outcome) -> bool:
    if part in REFUSED:
        return _kind(one) == _kind(other) and _alike(part, one, other)
    return one.trouble is None and other.trouble is None and _alike(part, one, other)


def _kind(outcome: Outcome) -> str | None:
    return None if outcome.trouble is None else outcome.trouble.kinds[0]


def _alike(part: str, one: Outcome, other: Outcome) -> bool:
    a, b = (getattr(outcome, LOOKED_AT[part]) for outcome in (one, other))
    if isinstance(a, SparseGradient) and isinstance(b, tuple) and len(b) == 3:
        return not difference(a.indices, b[0]) and not difference(a.values, b[1], rtol=1e-5)
    if isinstance(a, np.ndarray):
        rtol = {8: 1e-11, 4: 1e-5}.get(a.dtype.itemsize, 1e-2)
        return not difference(a, b, rtol=rtol, atol=1e-12)
    return a is None and b is None
