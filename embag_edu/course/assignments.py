"""The assignments of the book and their questions: `python -m embag_edu course list`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embag_edu.course import minutes, notebooks, own, packages
from embag_edu.course.exercise import base, find
from embag_edu.course.notebooks import Cell, Notebook, checked_names, is_check, is_manual, marks
from embag_edu.course.packages import Package
from embag_edu.text import aligned

HEADING = re.compile(r"^## (?:\d+\. )?(.+?)(?: \(\d+ points?\))?$", re.M)


@dataclass(frozen=True)
class Question:
    """One thing that counts points, by the name that it has among the marks.

    name     "03.slope"; for an answer that a person marks, the id of its cell: "03-why"
    title    what is to be done, in a few words
    by_hand  does a person mark it?
    """

    name: str
    points: int
    title: str
    by_hand: bool


def question(cell: Cell) -> str:
    """The name of the question that this cell asks, without a variant; '' where it asks none."""
    if is_check(cell):
        return "+".join(map(base, checked_names(cell)))
    return str(marks(cell)["grade_id"]) if is_manual(cell) else ""


def sections(notebook: Notebook) -> list[list[Cell]]:
    """The cells, cut before each "## " heading. The first section is what stands above them all."""
    found: list[list[Cell]] = [[]]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and notebooks.source(cell).startswith("## "):
            found.append([])
        found[-1].append(cell)
    return found


def questions(notebook: Notebook) -> list[Question]:
    """The questions of a notebook, in order."""
    found = []
    for section in sections(notebook):
        heading = HEADING.search(notebooks.source(section[0])) if section else None
        title = heading[1] if heading else ""
        for cell in section:
            name = question(cell)
            if name:
                told = find(name).title if is_check(cell) and "+" not in name else title
                found.append(Question(name, int(marks(cell)["points"]), told, is_manual(cell)))
    return found


def listed(paths: Sequence[Path], more: Sequence[Package] = ()) -> str:
    """The table of assignments and their questions: of notebooks, and of packages."""
    rows: list[Sequence[object]] = [("assignment", "points", "minutes", "what it teaches")]
    of = [(path.stem, notebooks.solved(path)) for path in paths]
    of += [(package.name, package.notebook()) for package in more]
    for name, notebook in of:
        asked = questions(notebook)
        points = sum(each.points for each in asked)
        time = minutes.by_fives(minutes.reading_of(notebook) + minutes.POINT * points)
        title = notebooks.source(notebook["cells"][0]).partition("\n")[0]
        rows.append((name, points, time, re.sub(r"^# (Exercises \w+: )?", "", title)))
        for each in asked:
            by_hand = " (marked by hand)" * each.by_hand
            rows.append((f"  {each.name}", each.points, "", each.title + by_hand))
    return aligned(rows, "<>><")


Page = Callable[[Sequence[Path], Sequence[Package]], str]


def main(argv: list[str], command: str = "list", page: Page = listed) -> int:
    """`list [CHAPTER...] [--book FOLDER]`: the table, or another page on them."""
    parser = argparse.ArgumentParser(prog=f"python -m embag_edu course {command}")
    parser.add_argument("chapter", nargs="*", help='only these: "03", "08a", "08"')
    parser.add_argument("--book", default=str(notebooks.BOOK), help="the folder with solutions/")
    own.add_option(parser)
    options = parser.parse_args(argv)
    paths = notebooks.solutions(options.book)
    chosen = tuple(options.chapter) or ("",)
    paths = [path for path in paths if path.name.startswith(chosen)]
    more = [package for package in packages.packages() if package.name.startswith(chosen)]
    if not (paths or (options.chapter and more)):
        print(f"There is no assignment {options.chapter or ''} in {options.book}/solutions.")
        return 2
    print(page(paths, more))
    return 0
