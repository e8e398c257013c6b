"""How far a reader is: the exercises that are passed, and what comes next.

    progress()                        in a notebook
    python -m embag_edu progress      in a terminal

Whenever `check` passes in a reader's own copy of the book (course/workbook.py), the answer is kept
there, in `passed/`: one small JSON file for each answer, so that two notebooks at work at the same
time never write to the same file. Anywhere else (in the book itself, in tests, where marks are
given) nothing is kept and nothing more is printed.

Another part of the book that has steps to show, such as `my_bag`, registers them with `source`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from embag_edu.course import exercise as exercises
from embag_edu.course import notebooks, workbook
from embag_edu.course.exercise import Exercise, base
from embag_edu.text import aligned

PASSED = "passed"  # the folder of answers, in the reader's copy
TASK = re.compile(r"^## (\d+\. .+?)(?: \(\d+ points?\))?$", re.M)
NOT_A_COPY = (
    "Nothing is kept here, for this is not your own copy of the book. `python run.py book` opens it"
    " (and makes it the first time)."
)


@dataclass(frozen=True)
class Row:
    """How much of one thing is done in one chapter: a cell of the table.

    chapter     its number, as in the names of the notebooks: "01", "08a"
    what        the column: "exercises", "clauses of my_bag"
    done, total of how many
    next        what to do next there, in a few words; "" where all is done
    page        the file to do it in, from the folder of the book: "exercises/01_bags.ipynb"
    """

    chapter: str
    what: str
    done: int
    total: int
    next: str = ""
    page: str = ""


Source = Callable[[Path | None], Iterable[Row]]
_sources: list[Source] = []


def source(rows: Source) -> Source:
    """Show more than exercises: `rows` is called with the reader's copy (None where there is none)
    each time that progress is shown, and gives a Row for each chapter that it knows.
    """
    _sources.append(rows)
    return rows


# -------------------------------------------------------------------------- what is kept


def keep(exercise: Exercise, mine: Any) -> None:
    """Keep an answer that has passed, and point to the model answer; in a reader's copy only.

    A chapter itself, which lies in the folder of the copy, only shows how a check works.
    """
    home = workbook.folder()
    here = Path.cwd()
    if home is None or here == home.resolve() or home / "solutions" in (here, *here.parents):
        return  # nobody's copy, a chapter, or the model answers themselves
    answer = source_of(mine)
    exercise = replace(exercise, name=base(exercise.name))
    name = f"{exercise.name}-{hashlib.sha256(answer.encode()).hexdigest()[:8]}.json"
    when = datetime.now(UTC).isoformat(timespec="seconds")
    kept = {"exercise": exercise.name, "answer": answer, "when": when}
    try:
        (home / PASSED).mkdir(exist_ok=True)
        text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
        workbook.replace(home / PASSED / name, text.encode())
    except OSError as error:
        print(f"(This could not be kept in {home / PASSED}: {error.strerror or error}.)")
    _show_model_answer(exercise, home)


def source_of(mine: Any) -> str:
    """The text of an answer: a function's source, a kernel's text, or a value as text."""
    if isinstance(mine, str):
        return mine
    try:
        return textwrap.dedent(inspect.getsource(mine))
    except (OSError, TypeError):
        return _in_history(getattr(mine, "__name__", "")) or repr(mine)


def _in_history(name: str) -> str:
    """The last cell that has defined this name; "" outside of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    cells = shell.user_ns.get("In", []) if shell and name else []
    defines = re.compile(rf"^(?:def|class) {re.escape(name)}\b|^{re.escape(name)}\s*=", re.M)
    return next((str(cell) for cell in reversed(cells) if defines.search(str(cell))), "")


def passed(home: Path | None) -> dict[str, str]:
    """The exercises that are passed in a reader's copy, each with the time of the last pass."""
    last: dict[str, str] = {}
    for path in sorted((home / PASSED).glob("*.json")) if home else []:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            name, when = str(kept["exercise"]), str(kept["when"])
        except (OSError, ValueError, TypeError, LookupError):
            continue  # no file of ours
        last[name] = max(when, last.get(name, ""))
    return last


def _show_model_answer(exercise: Exercise, home: Path) -> None:
    for task in tasks():
        if task.name == exercise.name:
            file, says = f"solutions/{task.file}", f"{task.title}. {exercise.otherwise}".rstrip()
            linked = f"[{file}]({link(home / file)})"
            show(f"The model answer: {file}, {says}", f"The model answer: {linked}, {says}")


def show(text: str, markdown: str) -> None:
    """Markdown in a notebook, text elsewhere."""
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        ipython.display.display({"text/plain": text, "text/markdown": markdown}, raw=True)
    else:
        print(text)


def link(path: Path) -> str:
    """A file as a link in a notebook's output: from the notebook's folder."""
    try:
        return quote(Path(os.path.relpath(path)).as_posix())
    except ValueError:  # on another drive of Windows
        return path.as_uri()


# -------------------------------------------------------------------------- what there is to do


@dataclass(frozen=True)
class Task:
    """An exercise as a notebook has it: "01.offsets", "2. From lengths to offsets", its file."""

    name: str
    title: str
    file: str

    @property
    def chapter(self) -> str:
        return self.file.partition("_")[0]


def tasks() -> list[Task]:
    """All exercises that are checked, in the order of the book, from its solutions.

    Of the book itself: a reader's copy may hold chapters that have got another name since.
    """
    found = []
    for path in notebooks.solutions(notebooks.BOOK):
        try:
            cells = notebooks.read(path)["cells"]
        except (OSError, ValueError, LookupError):
            continue
        title = ""
        for cell in cells:
            heads = TASK.findall(notebooks.source(cell)) if cell["cell_type"] == "markdown" else []
            title = heads[-1] if heads else title
            names = notebooks.checked_names(cell) if notebooks.is_check(cell) else []
            found += [Task(name, title, path.name) for name in names]
    return found


@source
def _exercises(home: Path | None) -> Iterable[Row]:
    every, done = tasks(), passed(home)
    for chapter in dict.fromkeys(task.chapter for task in every):
        own = [task for task in every if task.chapter == chapter]
        open_ = [task for task in own if task.name not in done]
        title, file = (f"exercise {open_[0].title}", own[0].file) if open_ else ("", "")
        page = f"exercises/{file}" if file else ""
        yield Row(chapter, "exercises", len(own) - len(open_), len(own), title, page)


# -------------------------------------------------------------------------- what is shown


class Progress:
    """How far the reader is. Shows itself as a table, in a notebook and in a terminal."""

    def __init__(self, home: Path | None) -> None:
        exercises.import_chapters()
        self.home = home
        self.rows = [row for rows in _sources for row in rows(home)]

    def next(self) -> list[Row]:
        """What is open, one row of each kind: in the chapter of the last pass, or after it."""
        chapters = sorted({row.chapter for row in self.rows})
        here = self._last_chapter()
        order = sorted(chapters, key=lambda chapter: (chapter < here, chapter))
        open_ = [
            row for chapter in order for row in self.rows if row.chapter == chapter and row.next
        ]
        return [
            next(r for r in open_ if r.what == what)
            for what in dict.fromkeys(r.what for r in open_)
        ]

    def _last_chapter(self) -> str:
        done = passed(self.home)
        last = max(done, key=done.__getitem__, default="")
        return next((task.chapter for task in tasks() if task.name == last), "")

    def _cells(self) -> list[list[str]]:
        kinds = list(dict.fromkeys(row.what for row in self.rows))
        by = {(row.chapter, row.what): row for row in self.rows}
        lines = [["chapter", *kinds]]
        for chapter in sorted({row.chapter for row in self.rows}):
            lines.append([chapter, *(_share(by.get((chapter, kind))) for kind in kinds)])
        sums = ([row for row in self.rows if row.what == kind] for kind in kinds)
        lines.append(
            ["all", *(f"{sum(r.done for r in s)} of {sum(r.total for r in s)}" for s in sums)]
        )
        return lines

    def __repr__(self) -> str:
        lines = [aligned(self._cells(), "<>")]
        lines += [f"Next: {row.next}{row.page and f', in {row.page}'}" for row in self.next()]
        return "\n".join(lines if self.home else [*lines, NOT_A_COPY])

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        said = "".join(f"<p>Next: {self._next_html(row)}</p>" for row in self.next())
        note = "" if self.home else f"<p>{escape(NOT_A_COPY)}</p>"
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{table}</tbody></table>{said}{note}"

    def _next_html(self, row: Row) -> str:
        if not row.page:
            return escape(row.next)
        address = link((self.home or notebooks.BOOK) / row.page)
        return f'{escape(row.next)}, in <a href="{escape(address)}">{escape(row.page)}</a>'


def _share(row: Row | None) -> str:
    """ "3 of 6"; "done: 6 of 6"."""
    if row is None:
        return ""
    return f"{'done: ' * (row.done == row.total)}{row.done} of {row.total}"


def progress() -> Progress:
    """How far you are: exercises passed, chapter by chapter, and what comes next."""
    return Progress(workbook.folder())


def main(words: list[str]) -> int:
    """`progress`: of the copy that the current folder lies in, else of my_book."""
    if words:
        print("usage: python -m embag_edu progress")
        return 0 if words in (["-h"], ["--help"]) else 2
    usual = workbook.own_copy()
    print(Progress(workbook.folder() or (usual if (usual / workbook.RECORD).is_file() else None)))
    return 0


exercises.when_passed.append(keep)
