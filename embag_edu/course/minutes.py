"""How many minutes a chapter takes, by one rule: `python -m embag_edu minutes` prints them.

    reading    words / 150 + lines of code / 7, and the time that the cells run
    exercises  the same for what is given, and 3 minutes for each point

Words are all of a text cell, folded answers included. Lines are those of code cells that are not
blank; what stands in the reader's place, between the two lines of a solution, is not read. A cell
with the tag "hide-input" is folded away and need not be read: its lines do not count. The running
time is what .ci/execute.py recorded in the notebook, in whole minutes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embag_edu.course.notebooks import BEGIN, BOOK, END, Notebook, marks, read, source
from embag_edu.text import aligned

WORDS, LINES, POINT = 150, 7, 3  # words and lines that are read in a minute; minutes of a point
SITTING, LONGEST = 60, 90  # minutes: more than the first needs a break, more than the second is cut
BREAK = "**A good place for a break.**"  # how a text cell marks one
REGION = re.compile(rf"{BEGIN}.*?{END}", re.S)


@dataclass(frozen=True)
class Minutes:
    """A chapter by the rule: to read it all, its longest stretch without a break, its exercises."""

    chapter: str
    reading: float
    stretch: float
    exercises: float
    points: int

    @property
    def stated(self) -> str:
        """As the table of chapters says it: "45 + 40", reading and exercises, by fives."""
        return f"{by_fives(self.reading)} + {by_fives(self.exercises)}"


def by_fives(minutes: float) -> int:
    """Minutes as a page states them: by fives, and at least five."""
    return max(5, 5 * round(minutes / 5))


def reading_of(notebook: Notebook) -> float:
    """Minutes to read a notebook, without the time that its cells run."""
    return sum(_stretches(notebook))


def _stretches(notebook: Notebook) -> list[float]:
    """Minutes to read it from break to break."""
    stretches = [0.0]
    for cell in notebook["cells"]:
        text = source(cell)
        if cell["cell_type"] == "code":
            folded = "hide-input" in cell.get("metadata", {}).get("tags", ())
            lines = [line for line in REGION.sub("", text).splitlines() if line.strip()]
            stretches[-1] += 0 if folded else len(lines) / LINES
            continue
        before, mark, after = text.partition(BREAK)
        stretches[-1] += len(before.split()) / WORDS
        if mark:
            stretches.append(len(after.split()) / WORDS)
    return stretches


def minutes_of(path: Path) -> Minutes:
    """One chapter: its notebook in the book, and the notebook of its exercises' solutions."""
    chapter, exercises = read(path), read(path.parent / "solutions" / path.name)
    running = chapter["metadata"].get("embag_edu", {}).get("running_minutes", 0)
    points = sum(marks(cell).get("points", 0) for cell in exercises["cells"])
    return Minutes(
        path.stem.partition("_")[0],
        reading_of(chapter) + running,
        max(_stretches(chapter)),
        reading_of(exercises) + POINT * points,
        points,
    )


def chapters(book: Path = BOOK) -> Iterator[Path]:
    """The notebooks of the chapters, in order."""
    yield from sorted(book.glob("[0-9][0-9]*_*.ipynb"))


def main(argv: list[str] | None = None) -> int:
    """`minutes [BOOK_FOLDER]`: print the table."""
    folders = sys.argv[1:] if argv is None else argv
    book = Path(folders[0]) if folders else BOOK
    if len(folders) > 1 or not list(chapters(book)):
        print("usage: python -m embag_edu minutes [BOOK_FOLDER]    (a folder with chapters)")
        return 2
    heads = ("chapter", "reading", "longest stretch", "exercises", "points", "stated")
    rows: list[tuple[str, ...]] = [heads]
    for m in map(minutes_of, chapters(book)):
        each = (m.reading, m.stretch, m.exercises)
        rows.append((m.chapter, *(f"{number:.0f}" for number in each), f"{m.points}", m.stated))
    print(aligned(rows, "<>"))
    return 0
