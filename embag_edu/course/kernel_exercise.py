"""Exercises whose answer is CUDA source: it is run in checked mode, in several orders of threads.

    TASK = KernelTask("scale", launches, faults={"out of bounds": "A thread has no element."})
    Exercise(..., judge=TASK)

Nothing here needs a GPU, only a C++ compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embag_edu.check.compare import difference
from embag_edu.cuda_on_cpu import (
    CompileError,
    KernelFault,
    NotModeled,
    RawKernel,
    Report,
    settings,
)

NOT_SOURCE = 'Give the CUDA source: a string, such as r"""extern "C" __global__ void ...""".'
NO_COMPILE = "The source does not compile yet. The compiler says where it stopped to understand:"
REFUSED = "The launch was refused: the kernel must have the name and the parameters of the task."
NOT_HERE = "CUDA can do this, but a checked launch on a processor cannot."
ENDLESS = "The kernel does not come to an end. Look at what ends its loop."


@dataclass(frozen=True)
class Launch:
    """One launch of the reader's kernel, and what must come of it.

    what      in words, for the message: "n = 300, two blocks and a part of a third"
    args      the arguments, made anew for every launch
    expected  number of an argument -> what it must hold afterwards
    mistakes  what to say -> what that argument holds if the kernel makes this mistake
    """

    what: str
    grid: int
    block: int
    args: tuple[Any, ...]
    expected: tuple[int, np.ndarray]
    mistakes: Mapping[str, np.ndarray] = field(default_factory=dict)


def kinds_of(fault: KernelFault) -> set[str]:
    """The kinds of all faults of a launch: where one thing is wrong, several may be seen."""
    return {fault.kind, *(fault.report.faults if fault.report else ())}


@dataclass(frozen=True)
class KernelTask:
    """A judge for `Exercise`: '' for a source that is right, else a friendly account of why not.

    kernel    the name that the kernel must have
    launches  a function that returns the launches to try, the most telling first
    fault     what to say, in front of the checked launch's own text, about a fault of the source;
              called with the fault and the source, '' to say nothing
    counts    what to say about the report of a launch that gave the right result; '' for nothing
    orders    the orders of threads to try, each launch in all of them
    """

    kernel: str
    launches: Callable[[], Sequence[Launch]]
    fault: Callable[[KernelFault, str], str] = lambda fault, code: ""
    counts: Callable[[Report, Launch, str], str] = lambda report, launch, code: ""
    orders: Sequence[int] = (0, 1, 2)
    atol: float = 1e-5

    def __call__(self, mine: Any) -> str:
        code = mine() if callable(mine) else mine
        if not isinstance(code, str):
            return NOT_SOURCE
        try:
            kernel = RawKernel(code, self.kernel)
            for at in range(len(self.launches())):
                for order in self.orders:
                    said = self._try(kernel, self.launches()[at], order)
                    if said:
                        return said
        except CompileError as error:
            return f"{NO_COMPILE}\n\n{error}"
        except NotModeled as error:
            return f"{NOT_HERE}\n\n{error}"
        except (TypeError, ValueError) as error:
            return f"{REFUSED}\n\n{error}"
        return ""

    def _try(self, kernel: RawKernel, launch: Launch, order: int) -> str:
        """Launch once, in one order; what to say about it."""
        try:
            with settings(mode="checked", order=order, seconds=5.0, raise_faults=True):
                kernel((launch.grid,), (launch.block,), launch.args)
        except KernelFault as fault:
            said = ENDLESS if fault.kind == "endless" else self.fault(fault, kernel.code)
            return f"{said}\n\nOn {launch.what}:\n{fault}".lstrip()
        number, expected = launch.expected
        name = kernel.parameters[number].name
        wrong = difference(expected, launch.args[number], self.atol, 1e-5, name)
        if wrong:
            return f"{self._cause(launch)}\n\nOn {launch.what}: {wrong}".lstrip()
        assert kernel.report is not None
        return self.counts(kernel.report, launch, kernel.code)

    def _cause(self, launch: Launch) -> str:
        """The mistake that gives just this wrong result; '' where none of those listed does."""
        number, expected = launch.expected
        found = launch.args[number]
        for says, result in launch.mistakes.items():
            same = not difference(result, found, self.atol, 1e-5)
            if same and difference(expected, result, self.atol, 1e-5):
                return says
        return ""
