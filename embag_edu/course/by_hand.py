"""Answers that a person marks: out into a table beside the students' words, and in again.

`python -m embag_edu course by-hand MARKS.csv... TABLE.csv` makes the table; its columns points and
comment are for the person. `gathered` reads all marks, with those of such a table in their places.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from embag_edu.course import notebooks, own
from embag_edu.course.grading import handed_out
from embag_edu.course.marks import Mark, cell_text, clean, number, read_marks, rows_of
from embag_edu.course.notebooks import Notebook, marks, source

COLUMNS = ("student", "notebook", "exercise", "out_of", "words", "points", "comment")


@dataclasses.dataclass(frozen=True)
class Full:
    """A mark with what else there is to say: the student's words, a person's comment."""

    mark: Mark
    words: str = ""
    comment: str = ""


def gathered(paths: Sequence[str | Path], by_hand: str | Path | None = None) -> list[Full]:
    """All marks of these tables. ValueError for two marks of one student for one question."""
    found: dict[tuple[str, str], Full] = {}
    for path in paths:
        for mark in read_marks(path):
            key = mark.student, mark.notebook if mark.missing else mark.exercise
            if key in found:
                raise ValueError(
                    f"{path}: {key[0]} has two marks for {key[1]}; `collect` keeps one"
                )
            found[key] = Full(mark)
    if by_hand:
        for row_number, row in enumerate(rows_of(by_hand, COLUMNS), 2):
            _put_in(found, row, f"{by_hand}, row {row_number}")
    return list(found.values())


def _put_in(found: dict[tuple[str, str], Full], row: Mapping[str, str], place: str) -> None:
    key = row["student"], row["exercise"]
    if key not in found:
        raise ValueError(f"{place}: there is no mark of {key[0]!r} for {key[1]!r}")
    full = dataclasses.replace(found[key], words=row["words"], comment=row["comment"])
    if row["points"].strip():
        points = number(row["points"])
        if not 0 <= points <= full.mark.out_of:
            raise ValueError(f"{place}: points is {points}; it must be 0 to {full.mark.out_of}")
        mark = dataclasses.replace(full.mark, points=points, remark="marked by hand")
        full = dataclasses.replace(full, mark=mark)
    found[key] = full


def words(mark: Mark, originals: Sequence[Notebook]) -> str:
    """What the student wrote: the cell of this question, or else all texts not handed out."""
    known = {_squeezed(source(cell)) for each in originals for cell in each["cells"]}
    try:
        cells = notebooks.read_handed_in(Path(mark.notebook))["cells"]
    except (OSError, ValueError) as error:
        return f"(not read: {error})"
    texts = [cell for cell in cells if cell["cell_type"] != "code"]
    new = [cell for cell in texts if _squeezed(source(cell)) not in known]
    own = [cell for cell in new if marks(cell).get("grade_id") == mark.exercise]
    return " ... ".join(source(cell).strip() for cell in own or new)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def main(argv: list[str]) -> int:
    """`by-hand MARKS.csv... TABLE.csv`: write the table of all answers that are to be read."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu course by-hand")
    parser.add_argument("marks", nargs="+", help="tables that `grade --csv` wrote")
    parser.add_argument("table", type=Path, help="a new CSV file, to be filled in")
    own.add_option(parser)
    options = parser.parse_args(argv)
    try:
        asked = [full.mark for full in gathered(options.marks) if full.mark.points is None]
        originals = handed_out(notebooks.BOOK)
        with open(options.table, "x", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for m in sorted(asked, key=lambda mark: (mark.exercise, mark.student)):
                row = (m.student, m.notebook, m.exercise, m.out_of, words(m, originals), "", "")
                writer.writerow(map(cell_text, row))
    except (OSError, ValueError) as error:
        print(f"Not written. {clean(str(error))}")
        return 2
    print(f"{options.table}: answers to read: {len(asked)}. Fill in points and comment.")
    return 0
