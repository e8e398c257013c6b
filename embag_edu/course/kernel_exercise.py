"""Exercises whose answer is CUDA source: it is run in checked mode, in several orders of threads.

    TASK = KernelTask("07.scale", "scale", launches, fault=why)
    Exercise(..., judge=TASK)

Nothing here needs a GPU, only a C++ compiler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embag_edu.check.compare import difference
from embag_edu.course.exercise import WrongArgument, find
from embag_edu.cuda_on_cpu import (
    CompileError,
    KernelFault,
    NotModeled,
    RawKernel,
    Report,
    settings,
)
from embag_edu.cuda_on_cpu.faults import tell_note

NOT_SOURCE = 'Give the CUDA source: a string, such as r"""extern "C" __global__ void ...""".'
NO_COMPILE = "The source does not compile yet. The compiler says where it stopped to understand:"
REFUSED = "The launch was refused: the kernel must have the name and the parameters of the task."
NOT_HERE = "CUDA can do this, but a checked launch on a processor cannot."
ENDLESS = "The kernel does not come to an end. Look at what ends its loop."
FIXED_BLOCK = (
    "The number of threads of a block is written into the source, and this launch has another one: "
    "blockDim.x tells it."
)
NOT_WRITTEN = "The elements that differ were never written: no thread has come to them."
ADDED_TO = "The output does not begin as zeros: write it (=), and do not add to it (+=)."
COMMA = (
    "An index with a comma, such as output[bag, d], is not what it is in NumPy: C++ takes only "
    "what stands behind the comma. Compute the place: output[bag * D + d]."
)
NO_AMPERSAND = (
    "An atomic wants the place, and not the number that is there: write & in front, as in "
    "atomicAdd(&total[0], 1)."
)
NOT_A_CALL = "Without its parentheses, `__syncthreads;` is no call: write `__syncthreads();`."
UNUSED_ARRAY = "The array {} is never used."
UNUSED = "Perhaps this is why: the parameter {} is never used."
_MARK = 0x7FC00BAD  # the bits of one NaN among many: nobody computes it
_ACCESSES = 200_000  # that are kept one by one
SECONDS = 5.0  # for one launch; then it counts as endless


@dataclass(frozen=True)
class Launch:
    """One launch of the reader's kernel, and what must come of it.

    what      in words, for the message: "n = 300, two blocks and a part of a third"
    grid      of blocks: a number, or (x, y)
    block     of threads: likewise
    args      the arguments, made anew for every launch
    expected  number of an argument -> what it must hold afterwards
    mistakes  what to say -> what that argument holds if the kernel makes this mistake
    """

    what: str
    grid: int | tuple[int, int]
    block: int | tuple[int, int]
    args: tuple[Any, ...]
    expected: tuple[int, np.ndarray]
    mistakes: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """What came of one launch: a fault, or how the result departs ('' if it does not).

    order   the order of threads in which it failed, 0 if it did not
    report  of the launch in order 0, if that gave no fault; with all accesses, one by one
    """

    at: int
    launch: Launch
    order: int = 0
    fault: KernelFault | None = None
    problem: str = ""
    report: Report | None = None

    @property
    def failed(self) -> bool:
        return bool(self.fault or self.problem)


def dimensions(size: int | tuple[int, int]) -> tuple[int, ...]:
    """A grid or a block as a launch takes it: a tuple."""
    return size if isinstance(size, tuple) else (size,)


def kinds_of(fault: KernelFault) -> set[str]:
    """The kinds of all faults of a launch: where one thing is wrong, several may be seen."""
    return {fault.kind, *(fault.report.faults if fault.report else ())}


def element_of(fault: KernelFault) -> int:
    """The number of the element at which a fault came; 0 where the fault names none."""
    found = re.search(r"element (-?\d+)", str(fault))
    return int(found[1]) if found else 0


def thread_number(fault: KernelFault) -> int:
    """The number in the whole grid of the thread that made a fault."""
    assert fault.report is not None
    return fault.block[0] * fault.report.launched.block[0] + fault.thread[0]


def threads(report: Report, array: str, kind: str = "") -> int:
    """How many threads have written an array (or updated it by an atomic), or read it ("read")."""
    kinds = (kind,) if kind else ("write", "atomic")
    return len(
        {(a.block, a.thread) for a in report.accesses if a.array == array and a.kind in kinds}
    )


def requests(report: Report, array: str) -> int:
    """How often warps have asked for an array: reads, writes and atomics."""
    return sum(line.requests for line in report.lines if line.array == array)


def by_line(report: Report) -> str:
    """The requests and sectors of each line, to stand below a budget."""
    return "\n".join(
        f"    line {c.line}: {c.kind} {c.array}, {c.requests} requests, {c.sectors} sectors"
        for c in report.lines
        if not c.shared
    )


def unwritten(*shape: int) -> np.ndarray:
    """A float32 array of NaNs that can be told from any that a kernel computes."""
    return np.full(shape, _MARK, np.uint32).view(np.float32)


def plain(code: str) -> str:
    """The source without comments, for a look at its words."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", code, flags=re.DOTALL)


@dataclass(frozen=True)
class KernelTask:
    """A judge for `Exercise`: '' for a source that is right, else a friendly account of why not.

    exercise  its name, "07.axpy"
    kernel    the name that the kernel must have
    launches  a function that returns the launches to try, the most telling first
    fault     what to say, in front of the checked launch's own text, about a fault of the source;
              called with the fault and the source, '' to say nothing
    counts    what to say about the report of a launch, once all results are right; '' for nothing
    orders    the orders of threads to try, each launch in all of them
    """

    exercise: str
    kernel: str
    launches: Callable[[], Sequence[Launch]]
    fault: Callable[[KernelFault, str], str] = lambda fault, code: ""
    counts: Callable[[Report, Launch, str], str] = lambda report, launch, code: ""
    orders: Sequence[int] = (0, 1, 2)
    atol: float = 1e-5

    def __call__(self, mine: Any, kernel: Callable[[str, str], Any] = RawKernel) -> str:
        """What to say to an answer; `kernel` makes what is launched of a source and a name."""
        code = mine() if callable(mine) else mine
        if not isinstance(code, str):
            return NOT_SOURCE
        try:
            message = self.judge(kernel(code, self.kernel), code)
        except CompileError as error:
            why = NO_AMPERSAND if _atomic_of_a_value(error, code) else ""
            why = NOT_A_CALL if re.search(r"\b__syncthreads\s*;", plain(code)) else why
            return f"{why}\n\n{NO_COMPILE}\n\n{error}".lstrip()
        except NotModeled as error:
            return f"{NOT_HERE}\n\n{error}"
        except (TypeError, ValueError) as error:
            return f"{REFUSED}\n\n{error}"
        return message.replace("YOUR_SOURCE", _called(mine))

    def judge(self, kernel: RawKernel, code: str) -> str:
        """What to say to a kernel whose source is `code`."""
        tried: list[Attempt] = []
        for at in range(len(self.launches())):
            tried.append(self._attempt(kernel, at))
            if tried[-1].fault and tried[-1].fault.kind == "endless":
                break  # the others would take as long
        failing = [attempt for attempt in tried if attempt.failed]
        if failing:
            return self._account(failing, tried, kernel, code)
        for attempt in tried:
            assert attempt.report is not None
            message = self.counts(attempt.report, attempt.launch, code)
            if message:
                return f"{message}\n\n{self._again(attempt)}"
        print(_noted(tried), end="")
        return ""

    def _attempt(self, kernel: RawKernel, at: int) -> Attempt:
        """Launch once in each order, until it fails."""
        report = None
        for order in self.orders:
            launch, log = self.launches()[at], 0 if order else _ACCESSES
            try:
                with settings(
                    mode="checked", order=order, seconds=SECONDS, raise_faults=True, log=log
                ):
                    kernel(dimensions(launch.grid), dimensions(launch.block), launch.args)
            except KernelFault as fault:
                return Attempt(at, launch, order, fault)
            report = report or kernel.report
            number, expected = launch.expected
            name = kernel.parameters[number].name
            problem = difference(expected, launch.args[number], self.atol, 1e-5, name)
            if problem:
                return Attempt(at, launch, order, problem=problem, report=report)
        return Attempt(at, launch, report=report)

    def _account(
        self, failing: list[Attempt], tried: list[Attempt], kernel: RawKernel, code: str
    ) -> str:
        shown = failing[0]
        what = f"On {shown.launch.what}:"
        what += f"\n{shown.fault}" if shown.fault else f" {shown.problem}"
        cause = self._cause(failing, tried, kernel, code)
        warned = "\n".join(f"The compiler warns: {text}" for text in kernel.warnings[:3])
        parts = [cause, _unused(kernel, code), what, warned, self._again(shown)]
        return "\n\n".join(filter(None, parts))

    def _again(self, attempt: Attempt) -> str:
        """The launch, with its grid, block and scalars, as code to paste."""
        launch = attempt.launch
        grid, block = dimensions(launch.grid), dimensions(launch.block)
        call = f'RawKernel(YOUR_SOURCE, "{self.kernel}")({grid}, {block}, args)'
        names, order = "RawKernel", attempt.order
        if order:
            names, call = f"{names}, settings", f"with settings(order={order}):\n        {call}"
        sizes = ", ".join(_short(value) for value in launch.args)
        return (
            "To launch it yourself:\n"
            "    from embag_edu.course.kernel_exercise import arguments\n"
            f"    from embag_edu.cuda_on_cpu import {names}\n"
            f'    args = arguments("{self.exercise}", {attempt.at})  # {sizes}\n'
            f"    {call}"
        )

    def _cause(
        self, failing: list[Attempt], tried: list[Attempt], kernel: RawKernel, code: str
    ) -> str:
        """What explains the failure that is shown, and contradicts no success.

        A wrong result can have many reasons: "perhaps", where this one explains only some failures.
        """
        told = [self._explanations(attempt, kernel, code) for attempt in failing]
        wrong_here = {message for a in tried if not a.failed for message in self._refuted(a, code)}
        possible = [message for message in told[0] if message not in wrong_here]
        for message in possible:
            if failing[0].fault or all(message in others for others in told):
                return message
        return f"Perhaps: {possible[0]}" if possible else ""

    def _explanations(self, attempt: Attempt, kernel: RawKernel, code: str) -> list[str]:
        """All that would explain this failure."""
        fixed = [FIXED_BLOCK] * self._fixed_block(attempt.launch, code)
        general = [COMMA] * _comma_in_index(code) + fixed
        if attempt.fault:
            endless = attempt.fault.kind == "endless"
            message = ENDLESS if endless else self.fault(attempt.fault, plain(code))
            return [*general, *filter(None, [message])]
        assert attempt.report is not None
        number, expected = attempt.launch.expected
        actual, mistakes = attempt.launch.args[number], attempt.launch.mistakes.items()
        told = [
            message
            for message, result in mistakes
            if self._differ(expected, result)
            and not self._differ(result, actual)
            and (_marked(result) == _marked(actual)).all()
        ]
        told += general
        if _untouched(expected, actual, self.atol):
            read = threads(attempt.report, kernel.parameters[number].name, "read")
            told.append(ADDED_TO if read else NOT_WRITTEN)
        return told

    def _refuted(self, attempt: Attempt, code: str) -> list[str]:
        """What would have failed here, where the answer passed."""
        launch = attempt.launch
        told = [
            message
            for message, result in launch.mistakes.items()
            if self._differ(launch.expected[1], result)
        ]
        fixed = dimensions(launch.grid)[0] > 1 and self._fixed_block(launch, code)
        return [*told, FIXED_BLOCK] if fixed else told

    def _fixed_block(self, launch: Launch, code: str) -> bool:
        """Is the index made with another size of a block, in an exercise where sizes differ?"""
        differ = len({dimensions(each.block)[0] for each in self.launches()}) > 1
        return differ and bool(_fixed_blocks(code) - {dimensions(launch.block)[0]})

    def _differ(self, one: np.ndarray, other: np.ndarray) -> str:
        return difference(one, other, self.atol, 1e-5)


def _noted(tried: Sequence[Attempt]) -> str:
    """The first note of checked mode about an answer that is right; '' if there is none."""
    for attempt in tried:
        report = attempt.report
        if report and report.notes:
            note = tell_note(report.found["notes"][0], report.launched)
            return f"On {attempt.launch.what}:\n{note}\n\n"
    return ""


def arguments(exercise: str, at: int = 0) -> tuple[Any, ...]:
    """The arguments, made anew, of one launch of an exercise: arguments("07.axpy", 2)."""
    task = find(exercise).judge
    if not isinstance(task, KernelTask):
        raise WrongArgument(
            f"exercise is {exercise!r}; its answer is no kernel, so it has no launch"
        )
    launches = task.launches()
    if not 0 <= at < len(launches):
        raise WrongArgument(
            f"at is {at!r}; the launches of {exercise} are 0 to {len(launches) - 1}"
        )
    return launches[at].args


def _called(mine: Any) -> str:
    """How the reader's source is written: a call of their function."""
    name = getattr(mine, "__name__", "")
    return f"{name}()" if name.isidentifier() else "source"


def _unused(kernel: RawKernel, code: str) -> str:
    """A parameter that the kernel does not use."""
    body = plain(code).partition(kernel.name)[2].partition("{")[2]
    for parameter in kernel.parameters:
        if parameter.name and not re.search(rf"\b{parameter.name}\b", body):
            return (UNUSED_ARRAY if parameter.pointer else UNUSED).format(parameter.name)
    return ""


def _short(value: Any) -> str:
    """An argument in a word: a scalar's value, an array's dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"{value}"


def _fixed_blocks(code: str) -> set[int]:
    """The numbers by which blockIdx.x is multiplied in the source."""
    number = r"\(?\s*(\d+)\b"
    pattern = rf"blockIdx\.x\s*\*\s*{number}|\b(\d+)\s*\*\s*blockIdx\.x"
    return {int(a or b) for a, b in re.findall(pattern, plain(code))}


def _comma_in_index(code: str) -> bool:
    return bool(re.search(r"\w\s*\[[^\]\[(){}]*,[^\]\[(){}]*\]", plain(code)))


def _atomic_of_a_value(error: CompileError, code: str) -> bool:
    """Does a line that does not compile give an atomic a value in place of a pointer?"""
    lines = code.split("\n")
    wrong = [lines[line - 1] for line, _, _ in error.errors if 0 < line <= len(lines)]
    return any(re.search(r"\batomic\w+\s*\(\s*(\*|\w+\s*\[)", line) for line in wrong)


def _marked(array: np.ndarray) -> np.ndarray:
    """Where an array still holds what `unwritten` gave it."""
    return array.view(np.uint32) == _MARK if array.dtype == np.float32 else array != array


def _untouched(expected: np.ndarray, actual: np.ndarray, atol: float) -> bool:
    """Does every element that differs hold what it held before the launch?"""
    marked = _marked(actual)
    return bool(marked.any()) and not difference(expected[~marked], actual[~marked], atol, 1e-5)
