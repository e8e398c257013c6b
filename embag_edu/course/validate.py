"""Try a file of your own before it is used: `python -m embag_edu course validate FILE.py`.

For each exercise it says whether the right answer passes, which case refuses each wrong answer, and
whether the notebook has a place for the answer and a check. Where there is no notebook yet, one is
made: a task is the docstring of the right answer. Then a release is made, and two hand-ins of it
are marked as students' are: the model answers must get all points, an untouched notebook none.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from embag_edu.course import marking, notebooks, own, packages, release
from embag_edu.course.assignments import questions
from embag_edu.course.exercise import Exercise, ExerciseFailed, check, find, hidden_failure
from embag_edu.course.marking import Job
from embag_edu.course.marks import clean
from embag_edu.course.notebooks import BEGIN, END, Cell, Notebook
from embag_edu.course.own import Own
from embag_edu.text import aligned


def problems(mine: Own, tell: Callable[[str], None]) -> int:
    """Tell what holds, and what does not, of a file that is in use; how much does not."""
    if mine.exercises and not mine.notebook.exists():
        text = notebooks.written(first_notebook(mine))
        mine.notebook.write_text(text, encoding="utf-8")
        tell(f"{mine.notebook} was not there, and has been made. Its words are yours to change.")
    found = [list(_exercise(each)) for each in mine.exercises]
    found += [list(_hidden_of_the_book(find(name))) for name in mine.hidden]
    found += [[_points(name, points) for name, points in mine.points.items()]]
    rows = [row for each in found for row in each]
    tell(
        aligned(
            [("exercise", "", "what holds"), *((name, OK[ok], told) for name, ok, told in rows)]
        )
    )
    wrong = sum(not ok for _, ok, _ in rows)
    if mine.exercises and not wrong:
        told = list(_as_handed_in(mine))
        tell("\n".join(f"{OK[ok]}  {text}" for ok, text in told))
        wrong += sum(not ok for ok, _ in told)
    return wrong


Row = tuple[str, bool, str]  # of what; does it hold; in words
OK = {True: "ok", False: "NOT"}


# -------------------------------------------------------------------------- one exercise


def _exercise(exercise: Exercise) -> Iterator[Row]:
    said, shown, hidden = refusal(exercise, exercise.reference), exercise.cases, exercise.hidden
    tried = "its judge" if exercise.judge else f"{len(shown())} cases, {len(hidden())} hidden"
    told = f"is refused: {said}" if said else f"passes {tried}"
    yield exercise.name, not said, f"the right answer {told}"
    yield from _cases(exercise)
    if not exercise.wrong:
        yield exercise.name, False, "no wrong answer is listed: what would a check refuse?"
    for number, wrong in enumerate(exercise.wrong, 1):
        said = refusal(exercise, wrong.function)
        named = getattr(wrong.function, "__name__", repr(wrong.function))
        told = f"wrong answer {number} ({named}) "
        yield exercise.name, bool(said), told + (f"is refused: {said}" if said else "passes")
    empty = [number for number, text in enumerate(exercise.hints, 1) if not text.strip()]
    yield exercise.name, not empty, f"hint {empty[0]} is empty" if empty else "three hints"


def refusal(exercise: Exercise, answer: Any) -> str:
    """By what an answer is refused, as an instructor may know it; '' where it passes."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check(exercise, answer)
    except ExerciseFailed as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        short = lines[0].partition("not right yet. ")[2] or " ".join(lines[1:2])
        return clean(short)[:160] or clean(str(error))[:160]
    hidden = "" if exercise.judge else hidden_failure(exercise, answer)
    return hidden and f'the hidden case "{hidden}"'


def _cases(exercise: Exercise) -> Iterator[Row]:
    """Cases are the same each time, and what is hidden is not shown."""
    if exercise.judge:
        return
    seen, hidden = _written(exercise.cases()), _written(exercise.hidden())
    if seen != _written(exercise.cases()) or hidden != _written(exercise.hidden()):
        yield exercise.name, False, "its cases are not the same each time: seed what is random"
    for name in sorted(hidden.keys() & seen.keys()):
        yield exercise.name, False, f'the hidden case "{hidden[name]}" is a case that is shown'
    if exercise.random_call and _written([exercise.random_case(0)]) != _written(
        [exercise.random_case(0)]
    ):
        yield exercise.name, False, "random_call draws from something else than its argument"


def _written(cases: Any) -> dict[str, str]:
    """The arguments of each case as text -> its name."""
    return {repr(_plain([case.args, case.kwargs])): case.name for case in cases}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return f"{value.dtype} {value.tolist()}"
    return value.__name__ if callable(value) and hasattr(value, "__name__") else value


def _hidden_of_the_book(exercise: Exercise) -> Iterator[Row]:
    said, count = hidden_failure(exercise, exercise.reference), len(exercise.hidden())
    yield exercise.name, not said and count > 0, (
        f'the right answer fails the hidden case "{said}"' if said
        else f"the right answer passes {count} hidden cases")  # fmt: skip


def _points(name: str, points: int) -> Row:
    every = [notebooks.read(path) for path in notebooks.solutions()]
    every += [package.notebook() for package in packages.packages()]
    asked = {question.name for notebook in every for question in questions(notebook)}
    there = any(name in each.split("+") for each in asked)
    return name, there, f"counts {points} here" if there else "no notebook asks this question"


# -------------------------------------------------------------------------- as students have it


def _as_handed_in(mine: Own) -> Iterator[tuple[bool, str]]:
    """A release is made, and two hand-ins are marked as all are."""
    try:
        files = release.made(notebooks.BOOK, [each.name for each in mine.exercises])
    except (OSError, ValueError) as error:
        yield False, f"{mine.notebook.name} cannot be handed out: {error}"
        return
    yield True, f"students get {', '.join(files)}"
    solved = notebooks.solved(mine.notebook)
    stub = notebooks.student_copy(solved)
    out_of = sum(each.points for each in questions(solved) if not each.by_hand)
    for what, notebook, wanted in (("the model answers", solved, out_of), ("a stub", stub, 0)):
        marks = marking.mark(
            Job("", "", notebooks.parsed(notebooks.written(notebook).encode()), stub)
        )
        points = sum(mark.points or 0 for mark in marks)
        lost = [f"{mark.exercise}: {mark.told or mark.remark}" for mark in marks
                if mark.points is not None and mark.points < mark.out_of]  # fmt: skip
        why = f" ({'; '.join(lost)})" if points != wanted else ""
        told = f"handed in, {what} would get {points} of {out_of} points{why}"
        yield points == wanted, clean(told)


# -------------------------------------------------------------------------- a first notebook


def first_notebook(mine: Own) -> Notebook:
    """A solutions notebook for the exercises of a file: tasks are the docstrings of the answers."""
    imports = "\n".join([*_imports(mine.path), "", "from embag_edu.course import check, hint"])
    title = _cell("title", f"# Exercises: {mine.path.stem}", "markdown")
    cells = [title, _cell("imports", imports)]
    for number, exercise in enumerate(mine.exercises, 1):
        cells += _cells(number, exercise)
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def _imports(path: Path) -> Iterator[str]:
    """What a file imports, but for what only makes exercises."""
    for node in ast.parse(path.read_bytes()).body:
        ours = isinstance(node, ast.ImportFrom) and str(node.module).startswith("embag_edu.course")
        if isinstance(node, ast.Import | ast.ImportFrom) and not ours:
            yield ast.unparse(node)


def _cells(number: int, exercise: Exercise) -> list[Cell]:
    word = exercise.name.partition(".")[2]
    points = f"{exercise.points} point{'s' * (exercise.points != 1)}"
    head = f"## {number}. {exercise.title[:1].upper()}{exercise.title[1:]} ({points})"
    written = repr(exercise.reference)
    if "\n" in str(exercise.reference):  # CUDA source
        written = f'r"""{exercise.reference}"""'
    task, answer, variable = "", f"{BEGIN}\n{word} = {written}\n{END}", word
    if inspect.isfunction(exercise.reference):
        variable = exercise.reference.__name__
        call = f"{variable}{inspect.signature(exercise.reference)}"
        task = f"Write `{call}`. {inspect.getdoc(exercise.reference) or ''}"
        inner = textwrap.indent(f"{BEGIN}\n{_dedented(exercise.reference)}\n{END}", "    ")
        answer = f"def {call}:\n{inner}"
    return [
        _cell(f"{word}-text", f"{head}\n\n{task}".strip(), "markdown"),
        _cell(word, answer, solution=True),
        _cell(f"{word}-check", f'check("{exercise.name}", {variable})', grade=True, locked=True,
              points=exercise.points),
        _cell(f"{word}-hint", f'hint("{exercise.name}")'),
    ]  # fmt: skip


def _dedented(function: Callable[..., Any]) -> str:
    return textwrap.dedent(release.body(function))


def _cell(name: str, text: str, kind: str = "code", **nbgrader: Any) -> Cell:
    plain = {"schema_version": 3, "task": False, "locked": False, "solution": False, "grade": False}
    given = {"nbgrader": {**plain, "grade_id": name, **nbgrader}} if nbgrader else {}
    cell = {"cell_type": kind, "id": name.replace("_", "-"), "source": text, "metadata": given}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def main(argv: list[str]) -> int:
    """`validate FILE.py`: exit status 0 when all holds, 1 when something does not."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu course validate")
    parser.add_argument("file", help="a Python file of your own, outside the package")
    options = parser.parse_args(argv)
    try:
        mine = own.use(options.file)
    except own.OwnError as error:
        print(f"Not usable. {error}")
        return 1
    wrong = problems(mine, print)
    print(f"\n{options.file}: " + ("all holds." if not wrong else f"{wrong} things do not hold."))
    return 1 if wrong else 0
