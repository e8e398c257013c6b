"""One launch, as much of it as is needed to speak of it: names of arrays, lines, threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.source import Parameter

DYNAMIC, STATIC = -1, -10  # runtime.h: spans that are no arrays


@dataclass
class Launched:
    """One launch: its source, kernel, arguments and sizes; what lies where in its memory."""

    code: str
    kernel: str
    parameters: Sequence[Parameter]
    values: Sequence[Any]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    cooperative: bool = False
    spans: list[list[int]] = field(default_factory=list)  # the arguments in each piece of memory
    variables: list[str] = field(default_factory=list)
    shared_arrays: list[list] = field(default_factory=list)  # [names, bytes, line]

    def text(self, line: int) -> str:
        """A line of the source, without the spaces around it."""
        lines = self.code.split("\n")
        return lines[line - 1].strip() if 0 < line <= len(lines) else ""

    def place(self, span: int) -> str:
        """The name of an array: a parameter's, a variable's, or that of a shared array."""
        if 0 <= span < len(self.spans):
            return self.parameters[self.spans[span][0]].name
        if 0 <= span - len(self.spans) < len(self.variables):
            return self.variables[span - len(self.spans)]
        if span <= STATIC and STATIC - span < len(self.shared_arrays):
            return self.shared_arrays[STATIC - span][0]
        return "dynamic shared memory" if span == DYNAMIC else ""

    def array(self, span: int) -> np.ndarray | None:
        """The array of a span, where it is an argument."""
        return self.values[self.spans[span][0]] if 0 <= span < len(self.spans) else None

    def thread(self, index: int) -> tuple[int, int, int]:
        """threadIdx of the thread with this number in its block."""
        return unravel(index, self.block)

    def at(self, thread: int, block: int) -> str:
        """ "thread (3, 0, 0) of block (1, 0, 0)"."""
        return f"thread {self.thread(thread)} of block {unravel(block, self.grid)}"


def unravel(i: int, sizes: Sequence[int]) -> tuple[int, int, int]:
    """The three indices of number `i`, counted x first."""
    return i % sizes[0], i // sizes[0] % sizes[1], i // sizes[0] // sizes[1]
