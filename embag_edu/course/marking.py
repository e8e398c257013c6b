"""Marks for one handed-in notebook.

Its cells are run in a box as they were handed in; the check cells are not run. In their place, and
once more after the last cell, the grader asks the box for the answer and checks it here: a changed
check earns nothing, and one that stands above its answer costs nothing.

`python -m embag_edu.course.marking` takes a `Job` as JSON from stdin and writes marks as JSON.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from embag_edu.course import own, packages, visible
from embag_edu.course.box import Box
from embag_edu.course.exercise import (
    Exercise,
    ExerciseFailed,
    base,
    check,
    find,
    hidden_failure,
    when_passed,
)
from embag_edu.course.kernel_exercise import KernelTask
from embag_edu.course.launches import RemoteKernel
from embag_edu.course.marks import HINT, TO_READ, Mark, total
from embag_edu.course.notebooks import (
    CODE_STUB,
    Cell,
    Notebook,
    checked_names,
    is_check,
    is_manual,
    marks,
    source,
)
from embag_edu.course.outside import Gone, Kernel, NotStarted, Remote
from embag_edu.course.packages import PackageTask
from embag_edu.course.processes import adopt, end_family, end_with_parent

TOLD = 8_000  # signs that are kept of what `check` says
HIDDEN = "right on all cases that you can see, and wrong on one that you cannot."
NOT_REACHED = "right on all cases that you can see; the others were not reached"


@dataclass(frozen=True)
class Job:
    """A handed-in notebook to mark: whose it is, what was handed in, and what was handed out."""

    student: str
    path: str
    submitted: Notebook
    original: Notebook
    seconds: float = 60.0  # for one cell, and for one check
    total: float = 600.0  # for the whole notebook
    protection: str = ""  # one of those of `box`; by default, what this system offers
    own: str = ""  # the instructor's own file


@dataclass(frozen=True)
class Question:
    """One exercise that a check cell asks: the answer is what this expression gives."""

    name: str
    answer: str


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer: nothing where it is right. share: of its points, earned."""

    remark: str = ""
    told: str = ""
    share: float = 0


PASSED = Verdict(share=1)


def questions(cell: Cell) -> list[Question]:
    """The exercises that a check cell of ours asks, in order."""
    found = []
    for node in ast.walk(ast.parse(source(cell))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check":
            name, answer = node.args
            found.append(Question(ast.literal_eval(name), ast.unparse(answer)))
    return found


def mark(job: Job) -> list[Mark]:
    """The marks for all questions of one notebook. RuntimeError where no box can be had."""
    run = _Run(job)
    run.go()
    _try_hidden(run)
    found = []
    for cell in job.original["cells"]:
        if is_check(cell):
            found.append(run.mark_of(cell))
        elif is_manual(cell):
            found.append(_by_hand(job, cell))
    return found


# -------------------------------------------------------------------------- running


class _Run:
    """One notebook on its way through the box."""

    def __init__(
        self,
        job: Job,
        only: Sequence[str] | None = None,
        check: Callable[[Exercise, Any], None] | None = None,
    ) -> None:
        """only: names of exercises, by default all. check: raises where an answer is wrong."""
        self.job, self.ended, self.check = job, "", check or _check
        self.stop = time.monotonic() + job.total
        self.asked = {marks(cell)["grade_id"]: [q for q in questions(cell)
                                                if only is None or q.name in only]
                      for cell in job.original["cells"] if is_check(cell)}  # fmt: skip
        self.said: dict[str, Verdict] = {}  # by the name of an exercise
        self.failed: list[tuple[str, Exception]] = []  # cells that raised an error, and it
        self.boxes: dict[str, Kernel] = {}

    def go(self) -> None:
        """Run all of it, or as far as it comes."""
        try:
            self.all_cells()
        except NotStarted as error:
            raise RuntimeError(str(error)) from None
        except Gone as gone:
            self.ended = str(gone)
        finally:
            for kernel in self.boxes.values():
                kernel.box.close()

    def all_cells(self) -> None:
        """Run the cells in order. A check is asked where it stands, and again at the end."""
        ids = {cell.get("id"): marks(cell).get("grade_id") for cell in self.job.original["cells"]}
        by_name = {base(q.name): q for group in self.asked.values() for q in group}
        for cell in self.job.submitted["cells"]:
            if cell["cell_type"] != "code" or packages.WRITTEN.match(source(cell)):
                continue
            grade_id = marks(cell).get("grade_id") or ids.get(cell.get("id"))
            if grade_id in self.asked:
                self._ask(self.asked[grade_id])
                continue
            self._run(source(cell))
            names = map(base, checked_names(cell))  # whichever variant they name: his own counts
            self._ask([by_name[name] for name in names if name in by_name])
        self._ask(list(by_name.values()))

    def _kernel(self, which: str) -> Kernel:
        if which not in self.boxes or (which == "sources" and self.boxes[which].gone):
            self.boxes[which] = kernel = Kernel(Box(self.job.protection))
            for name, text in visible.files(self.job.original).items():
                kernel.put(name, text)
        return self.boxes[which]

    @contextlib.contextmanager
    def _time(self, kernel: Kernel) -> Iterator[None]:
        left = self.stop - time.monotonic()
        if left <= 0:
            raise Gone(f"the time of {self.job.total:g} s for a notebook was up")
        with kernel.within(min(self.job.seconds, left)):
            yield

    def _run(self, text: str) -> None:
        try:
            with self._time(self._kernel("cells")):
                self._kernel("cells").run(text)
        except Exception as error:
            self.failed.append((text, error))

    def _ask(self, group: list[Question]) -> None:
        for question in group:
            before = self.said.get(question.name, Verdict("not asked"))
            if before == PASSED:
                continue
            try:
                now = self._verdict(question)
            except Gone as gone:
                self.said[question.name] = dataclasses.replace(before, remark=f"no answer: {gone}")
                raise
            self.said[question.name] = max(now, before, key=lambda verdict: verdict.share)

    def _verdict(self, question: Question) -> Verdict:
        exercise = find(question.name)
        if isinstance(exercise.judge, PackageTask):
            return self._of_package(exercise, exercise.judge)
        kernel = self._kernel("cells")
        try:
            with self._time(kernel):
                mine = kernel.value(question.answer)
        except NameError as error:
            return self._why_undefined(question.answer, error)
        except Exception as error:
            return _said(error)
        try:
            if isinstance(exercise.judge, KernelTask):
                return self._of_source(exercise, exercise.judge, mine)
            with self._time(kernel):
                self.check(exercise, mine)
        except Exception as error:
            return _said(error)
        return PASSED

    def _of_source(self, exercise: Exercise, task: KernelTask, mine: Any) -> Verdict:
        """CUDA source is launched in another box, in which nothing of the notebook has run."""
        with self._time(self._kernel("cells")):
            code = mine() if isinstance(mine, Remote) else mine
        try:
            kernel = self._kernel("sources")
            judge = partial(task, kernel=partial(RemoteKernel, kernel.launch))
            with self._time(kernel):
                _check(dataclasses.replace(exercise, judge=judge), code)
        except NotStarted:
            raise
        except Gone as gone:
            return Verdict(f"no answer: {gone}")
        return PASSED

    def _of_package(self, exercise: Exercise, task: PackageTask) -> Verdict:
        """The files of a package run in boxes of their own: it starts them as it needs them."""

        def start() -> Kernel:
            kernel = self.boxes[f"box {len(self.boxes)}"] = Kernel(Box(self.job.protection))
            return kernel

        now, open_ = time.monotonic(), sum(map(len, self.asked.values())) - len(self.said)
        until = now + (self.stop - now) / max(1, open_)  # a fair part of the time that is left
        judged = dataclasses.replace(exercise, judge=lambda mine: task.outside(mine, start, until))
        try:
            _check(judged, packages.texts(self.job.submitted, task.package))
        except Exception as error:
            return _said(error)
        return PASSED

    def _why_undefined(self, name: str, error: Exception) -> Verdict:
        """For an answer that does not exist: the error of the cell that was to define it."""
        wanted = re.compile(rf"\b(def|class)\s+{name}\b|\b{name}\s*[=:,]")
        for text, why in reversed(self.failed):
            if isinstance(why, NotImplementedError) and text.strip() == CODE_STUB:
                return Verdict(f"not done yet ({error})")
            if wanted.search(text) or isinstance(why, TimeoutError):
                return _said(why)
        return _said(error)

    def mark_of(self, cell: Cell) -> Mark:
        """The mark for one check cell: its points, for what it asks that has passed least."""
        names = [question.name for question in self.asked[marks(cell)["grade_id"]]]
        lost = Verdict(f"not reached: {self.ended}" if self.ended else "was not run")
        verdicts = [self.said.get(name, lost) for name in names]
        least = min(verdicts, key=lambda verdict: verdict.share)
        out_of = int(marks(cell)["points"])
        name = "+".join(map(base, names))
        told = _with_hint(least, names[verdicts.index(least)]) if least != PASSED else ""
        points = total([out_of * least.share])
        return Mark(self.job.student, self.job.path, name, points, out_of, least.remark, told)


def _with_hint(verdict: Verdict, name: str) -> str:
    """What is told, and the first hint for the numbers that this student has."""
    parts = (verdict.told or verdict.remark).split("\n\n")
    parts = [part for part in parts if not part.startswith("Stuck?")]
    return "\n\n".join([*parts, f"{HINT} {find(name).hints[0]}"])


# -------------------------------------------------------------------------- hidden cases


def _try_hidden(run: _Run) -> None:
    """Run the notebook again, for the hidden cases of what has passed: these must pass as well.

    In a run of their own, for an answer that has seen them could let them out, as what it returns
    on another case: nothing that comes out of this run is shown.
    """
    passed = [name for name, said in run.said.items() if said == PASSED and find(name).hidden()]
    if not passed:
        return
    again = _Run(run.job, passed, _check_hidden)
    again.stop = run.stop
    again.go()
    for name in passed:
        if again.said.get(name) != PASSED:
            late = f"{NOT_REACHED} ({again.ended})"
            run.said[name] = Verdict(f"{name}: {HIDDEN if name in again.said else late}")


def _check_hidden(exercise: Exercise, mine: Any) -> None:
    if hidden_failure(exercise, mine):
        raise ExerciseFailed(HIDDEN)


# -------------------------------------------------------------------------- what is shown


def _check(exercise: Exercise, mine: Any) -> None:
    """`course.check`, in silence. With what an answer works can only be observed in its box."""
    if exercise.tools is not None and isinstance(mine, Remote):
        tools = partial(Remote.observed, tools=visible.where(exercise.tools))
        exercise = dataclasses.replace(exercise, tools=tools)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(exercise, mine)


def _said(error: Exception) -> Verdict:
    """What came of an answer that raised this, or of which `check` did: in a line, and in full."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    if isinstance(error, ExerciseFailed) and lines[0]:
        short = " ".join(lines[: 2 if lines[0].endswith("not right yet.") else 1])
        return Verdict(short[:300], str(error)[:TOLD], error.share)
    return Verdict(f"{type(error).__name__}: {lines[0]}"[:300].removesuffix(": "))


# -------------------------------------------------------------------------- marked by hand


def _by_hand(job: Job, cell: Cell) -> Mark:
    """A person reads this answer. Where nothing at all was written, there is nothing to read."""
    grade_id = marks(cell)["grade_id"]
    known = {_words(each) for each in job.original["cells"]}
    texts = [each for each in job.submitted["cells"] if each["cell_type"] != "code"]
    new = [each for each in texts if _words(each) and _words(each) not in known]
    points, remark = (None, TO_READ) if new else (0, "nothing was written")
    return Mark(job.student, job.path, grade_id, points, int(marks(cell)["points"]), remark)


def _words(cell: Cell) -> str:
    return " ".join(source(cell).split())


# -------------------------------------------------------------------------- as a process


def main() -> None:
    """Mark one job, and leave no process behind."""
    talk = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing else may be printed between the marks
    when_passed.clear()  # what others pass is not kept in a copy of one's own
    adopt()
    end_with_parent()
    try:
        job = Job(**json.load(sys.stdin))
        if job.own:
            own.use(job.own)
        found = mark(job)
    finally:
        end_family(os.getpid())
    talk.write(json.dumps([dataclasses.asdict(each) for each in found]))
    talk.close()


if __name__ == "__main__":
    main()
