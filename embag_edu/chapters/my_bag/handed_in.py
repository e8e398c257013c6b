"""my_bag as an assignment: each stage is an exercise, which earns by the share of its clauses.

The files of a hand-in run in a box. They get calls, and say what came of them; the clauses, the
oracle and the verdict stay here. Each stage has a box of its own, and one that is lost is replaced.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.chapters.my_bag import checking, extras, files
from embag_edu.chapters.my_bag.stages import STAGES, Stage
from embag_edu.check.candidate import Candidate, Outcome, Trouble, run
from embag_edu.check.cases import Arguments
from embag_edu.check.checker import Trial
from embag_edu.check.report import FAILS, NOT_ASKED, NOT_SUPPORTED, ClauseResult
from embag_edu.check.worker import NotLoadable, Runner, Unsendable, make_pair
from embag_edu.course import minutes
from embag_edu.course.exercise import Exercise, ExerciseFailed
from embag_edu.course.notebooks import Cell, Notebook
from embag_edu.course.outside import Gone, Kernel
from embag_edu.course.packages import PackageTask, Texts
from embag_edu.course.values import Opaque
from embag_edu.spec import SparseGradient

EXPLAINED = 3  # failures that are told in full
LONGEST = 2_000  # signs of one text from a box
LATER = 5.0  # seconds for a call once one has hung
HALF = 0.5  # of the points, where the clauses hold and what else a stage asks for does not
SET_UP = "from embag_edu.chapters.my_bag.handed_in import answering, complaint\n"


def exercise(stage: Stage) -> Exercise:
    """The exercise of a stage. It counts a point for each 3 minutes, as all do."""
    name = f"{stage.name}.{files.FOLDER}"
    task = PackageTask(
        files.FOLDER,
        here=lambda mine: here(stage, mine),
        outside=lambda texts, start, until: outside(stage, texts, start, until),
    )
    return Exercise(
        name, stage.title, reference=None, hints=stage.hints, judge=task,
        points=round(stage.minutes / minutes.POINT),
        unproved="calls other than those of its clauses.",
    )  # fmt: skip


def model() -> dict[str, str]:
    """The files of the model answer."""
    return {name: files.model_text(name) for name in files.names()}


TITLE = f"""# {files.FOLDER}: your own EmbeddingBag

Each stage earns its points clause by clause: the share of its clauses that hold. Build in the
files that the chapters have made for you. Where you have none, `python -m embag_edu my_bag --from
STAGE`, in a terminal in this folder, makes them, and takes what comes before from the model. A
part of these stages that is the model's counts as not written.

**Hand in the folder `{files.FOLDER}`**, as a zip file or as its files. This notebook need not be
handed in."""


def notebook() -> Notebook:
    """The assignment: a section for each stage, with its check and its hints."""
    begin = "from embag_edu.course import check, hint"
    cells = [_cell(files.FOLDER, TITLE), _cell(f"{files.FOLDER}-imports", begin)]
    for stage, asked in zip(STAGES, EXERCISES, strict=True):
        cell = f"{files.FOLDER}-{stage.name}"
        head = f"## Stage {stage.name}: {stage.title} ({asked.points} points)"
        cells += [
            _cell(f"{cell}-text", f"{head}\n\n{stage.task}\n\n**{stage.minutes} minutes.**"),
            _cell(cell, f'check("{asked.name}", "{files.FOLDER}")', asked.points),
            _cell(f"{cell}-hint", f'hint("{asked.name}")'),
        ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def _cell(name: str, text: str, points: int = 0) -> Cell:
    """A text where it begins as a heading, else code; with points, a check that counts."""
    check = {"schema_version": 3, "grade_id": name, "grade": True, "solution": False,
             "locked": True, "task": False, "points": points}  # fmt: skip
    made = {"id": name, "metadata": {"nbgrader": check} if points else {}, "source": text}
    if text.startswith("#"):
        return {**made, "cell_type": "markdown"}
    return {**made, "cell_type": "code", "execution_count": None, "outputs": []}


# -------------------------------------------------------------------------- in one's own notebook


def here(stage: Stage, mine: Any) -> str:
    """What `check_my_bag` says of the folder `mine`, or of the reader's own; '' when complete."""
    place = Path(str(mine)).resolve()
    try:
        said, complete = checking.examined(stage, place if place.is_dir() else checking.folder())
    except checking.StageFailed as error:
        raise ExerciseFailed(str(error)) from None
    if not complete:
        raise ExerciseFailed(said)
    return ""


# -------------------------------------------------------------------------- with the grader


def outside(stage: Stage, texts: Texts, start: Callable[[], Kernel], until: float) -> str:
    """'' where all holds. Else ExerciseFailed says what does and what does not, with its share."""
    name = f"{stage.name}.{files.FOLDER}"
    if f"{stage.module}.py" not in texts:
        came = f"only {', '.join(sorted(texts))}" if texts else "no file of it"
        raise ExerciseFailed(f"{name}: {stage.module}.py is missing. Handed in was {came}.")
    try:
        ready = as_asked(texts, stage)
        runner = Boxed(stage, ready, start, until)
    except (files.NotReadable, NotLoadable) as error:
        raise ExerciseFailed(f"{name}: it can't be run.\n\n{error}") from None
    with runner:
        results = _results(stage, runner)
        wrong = runner.complaint() if any(result.held for result in results) else ""
    share = sum(result.held for result in results) / len(results) * (HALF if wrong else 1)
    if share < 1:
        raise ExerciseFailed(_told(name, results, wrong), share)
    return ""


def as_asked(texts: Texts, stage: Stage) -> dict[str, str]:
    """The files that a stage is tried with.

    A file of an earlier stage that is not there is the model's, and so is what is given. A part of
    this stage that was taken from the model is a stub, and so is one that this stage replaces.
    """
    before = f"{int(stage.name) - 1:02d}"
    ready = {name: texts.get(name, files.text_at(name, before)) for name in files.names()} | {
        name: text for name, text in texts.items() if name not in files.names()
    }
    for name in files.names():
        parts = files.parts(name, files.model_text(name))
        own = {part.name for part in parts if part.stage == stage.name}
        replaced = {part.name for part in parts} & {stage.replaces}
        if own | replaced:
            ready[name] = files.without(name, ready[name], stage.name, own, replaced)
    return ready


def _results(stage: Stage, runner: Boxed) -> list[ClauseResult]:
    trial = Trial(runner, runner.names, checking.RULES)
    results = [
        trial.result(clause) if runner.left() > 0
        else ClauseResult(clause, NOT_ASKED, note="there was no time left")
        for clause in checking.clauses_of(stage.name)
    ]  # fmt: skip
    if runner.left() > 0:
        checking.explain(trial, results, EXPLAINED)
    return results


def _told(name: str, results: Sequence[ClauseResult], wrong: str) -> str:
    """What a page of feedback shows: paragraphs, with the failures that are told in full last."""
    by = {status: [r for r in results if r.status == status] for status in (FAILS, NOT_ASKED)}
    but = " But: half of the points, for what else is asked." if wrong else ""
    parts = [f"{name}: {checking.counts(list(results))}{but}", wrong]
    held = [result.clause.name for result in results if result.held]
    parts += [f"Hold: {', '.join(held)}."] if held else []
    missing = [result for result in results if result.status == NOT_SUPPORTED]
    parts += [f"Not built yet:\n{checking.not_built(missing, [])}"] if missing else []
    why = dict.fromkeys(result.note for result in by[NOT_ASKED])
    parts += [f"Not asked: {len(by[NOT_ASKED])}, for {'; '.join(why)}."] if why else []
    full = [r for r in by[FAILS] if r.failure and r.failure.snippet]
    brief = [f"{r.clause.name}: {r.clause.rule}" for r in by[FAILS] if r not in full]
    parts += ["Fail:\n" + "\n".join(brief)] if brief else []
    parts += [checking.in_full(result) for result in full]
    return "\n\n".join(re.sub(r"\n\s*\n", "\n", part) for part in parts if part)


class Boxed(Runner):
    """Calls the functions of a stage in a box; one that dies is replaced, as long as there is time.

    `losses` stays empty: what is lost costs the clause that was asked, and no other.
    """

    def __init__(
        self, stage: Stage, texts: Texts, start: Callable[[], Kernel], until: float
    ) -> None:
        """NotLoadable where the files can't be imported."""
        self.stage, self.texts, self.start, self.until = stage, dict(texts), start, until
        super().__init__()
        self.arrays, self.has_backward = stage.arrays, len(stage.functions) == 2
        self.names = tuple(f"{files.FOLDER}.{stage.module}:{name}" for name in stage.functions)
        self.limit = 2 * checking.limit_of(stage)  # the machine that marks may be busy
        self._set_up()

    def left(self) -> float:
        """Seconds until all must be known."""
        return self.until - time.monotonic()

    def _set_up(self) -> None:
        self.kernel = self.start()
        call = f"answer = answering({self.texts!r}, {self.names!r}, {self.arrays!r})"
        try:
            with self.kernel.within(min(60.0, max(1.0, self.left()))):
                self.kernel.run(SET_UP + call)
                self.answer = self.kernel.value("answer")
        except (Gone, Exception) as error:
            self.close()
            raise NotLoadable(str(error)) from None

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """What became of a call, or of the box."""
        try:
            with self.kernel.within(max(0.1, min(self.limit, self.left()))):
                outcome = _outcome(self.answer(arguments, backward), np.array(arguments["weight"]))
        except TimeoutError:
            outcome = _lost("hung", f"did not return within {self.limit:g} s")
        except Gone as gone:
            outcome = _lost("died", f"gave no answer: {gone}")
        except Exception:
            outcome = _lost("died", "said what cannot be understood")
        if outcome.trouble and outcome.trouble.kinds[:1] == ("OutOfTime",):
            outcome = _lost("hung", f"did not return within {self.limit:g} s")
        if outcome.trouble and outcome.trouble.is_fatal:
            self._after_loss(outcome.trouble)
        return outcome

    def _after_loss(self, trouble: Trouble) -> None:
        self.limit = min(self.limit, LATER) if trouble.kinds == ("hung",) else self.limit
        if self.kernel.gone:
            self.close()
            with contextlib.suppress(NotLoadable):  # then each further call says that it died
                self._set_up()

    def complaint(self) -> str:
        """What else is wrong with a stage: see `extras`. It is seen in the box, by its nature."""
        try:
            with self.kernel.within(max(1.0, min(60.0, self.left()))):
                return str(self.kernel.value(f"complaint({self.stage.name!r})"))[:LONGEST]
        except Gone as gone:
            return f"It ended when it was looked at: {gone}"
        except Exception:  # a part that fails has lost its clauses
            return ""

    def close(self) -> None:
        """End the box."""
        self.kernel.box.close()


def _lost(how: str, text: str) -> Outcome:
    return Outcome(trouble=Trouble("call", (how,), text))


def _outcome(found: Any, weight: np.ndarray) -> Outcome:
    """The outcome that a box tells of. An error for what `_plain` never makes."""
    results = {name: _result(found[name]) for name in ("output", "grad_weight", "grad_psw")}
    words = {name: _words(found[name]) for name in ("changed", "stale", "left")}
    after, trouble = found["weight_after"], found["trouble"]
    if type(after) is not np.ndarray or (after.shape, after.dtype) != (weight.shape, weight.dtype):
        raise ValueError("weight_after is not what a call can leave")
    if trouble is not None:
        stage, text, line = _words([trouble[0], *trouble[2:4]])
        kinds = tuple(_words(trouble[1]))
        trouble = Trouble(stage, kinds, text, line)
        if trouble.is_fatal or not kinds:
            raise ValueError("a box does not say this of itself")
    return Outcome(**results, **words, weight_after=after, trouble=trouble)


def _words(given: Sequence[object]) -> list[str]:
    return [str(each)[:LONGEST] for each in given[:100]]


def _result(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 3:
        return SparseGradient(*map(_result, value))
    return Unsendable(value.described) if isinstance(value, Opaque) else value


# -------------------------------------------------------------------------- in the box


def answering(
    texts: Texts, names: tuple[str, ...], arrays: str
) -> Callable[[Arguments, bool], dict[str, Any]]:
    """A function that makes a call of my_bag, and says what came of it in plain values."""
    folder = Path(files.FOLDER)
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    sys.path.insert(0, str(folder.resolve().parent))
    if arrays == "torch":
        importlib.import_module("torch").set_num_threads(1)
    try:
        pair = make_pair(names)
    except NotLoadable:
        raise
    except Exception as error:
        raise NotLoadable(f"loading it raised {type(error).__name__}: {error}") from None
    if any(".cuda:" in name for name in names):
        checking.compile_kernels(texts["kernels.cu"])
    candidate = Candidate(*pair, arrays)
    return lambda arguments, backward: _plain(run(candidate, arguments, backward))


def _plain(outcome: Outcome) -> dict[str, Any]:
    trouble = outcome.trouble
    said = trouble and [trouble.stage, list(trouble.kinds), trouble.text, trouble.line]
    return vars(outcome) | {"trouble": said}


def complaint(stage: str) -> str:
    """`extras.of`, of the files in the box."""
    return extras.of(stage, Path(files.FOLDER).resolve())


EXERCISES = tuple(map(exercise, STAGES))
