"""Marks, as a table to read and as a CSV file that a spreadsheet opens without harm."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO

from embag_edu.text import aligned

NOTHING = "(nothing)"  # in the place of an exercise: no mark for the notebook
TO_READ = "to be read"


@dataclass(frozen=True)
class Mark:
    """The mark for one question of one notebook.

    student   the name from the roster, the folder or the file
    notebook  the path of the file: two of one name are two
    exercise  "03.slope"; the id of a cell that is marked by hand; NOTHING
    points    None where a person has to read the answer
    """

    student: str
    notebook: str
    exercise: str
    points: int | None
    out_of: int
    remark: str = ""

    @property
    def missing(self) -> bool:
        """Was this notebook not marked at all?"""
        return self.exercise == NOTHING


def clean(text: str) -> str:
    """Text of a submission, fit for a terminal: without control, escape and invisible signs."""
    shown = (each if unicodedata.category(each)[0] != "C" else " " for each in text)
    return " ".join("".join(shown).split())


def cell_text(value: object) -> object:
    """A value for a cell of a spreadsheet, which must not take it for a formula."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = clean(value)
    return f"'{text}" if text[:1] in tuple("=+-@＝＋－＠") else text


def plain_text(cell: str) -> str:
    """The text that `cell_text` made a cell of."""
    return cell[1:] if cell[:1] == "'" and cell_text(cell[1:]) == cell else cell


class CsvFile:
    """A CSV file with a row for each mark, which is on the disk as soon as it is written.

    done: marks that it begins with, by notebook: see `read_marks`.
    """

    def __init__(self, path: str | Path, done: Mapping[str, Sequence[Mark]] | None = None) -> None:
        self.file: IO[str] = open(path, "w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.file)
        self.writer.writerow(field.name for field in fields(Mark))
        self.write([mark for own in (done or {}).values() for mark in own])

    def write(self, found: Sequence[Mark]) -> None:
        """Add these marks."""
        self.writer.writerows([cell_text(value) for value in astuple(mark)] for mark in found)
        self.file.flush()


def read_marks(path: str | Path) -> dict[str, list[Mark]]:
    """The marks of a CSV file by notebook, without those of notebooks that were not marked.

    A file that is not there yet holds none. ValueError for a file of another form.
    """
    if not Path(path).exists():
        return {}
    found: dict[str, list[Mark]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if rows and rows[0] != [field.name for field in fields(Mark)]:
        raise ValueError(f"{path}: this is no table of marks; its first row is {rows[0]}")
    for student, notebook, exercise, points, out_of, remark in rows[1:]:
        who, path, what, why = map(plain_text, (student, notebook, exercise, remark))
        mark = Mark(who, path, what, int(points) if points else None, int(out_of), why)
        if not mark.missing:
            found.setdefault(mark.notebook, []).append(mark)
    return found


def table(found: Sequence[Mark]) -> str:
    """The marks as a text table, with a sum for each notebook."""
    rows = [("student", "notebook", "exercise", "points", "remark")]
    for path in dict.fromkeys(mark.notebook for mark in found):
        own = [mark for mark in found if mark.notebook == path]
        who, name = clean(own[0].student), clean(path)
        for mark in own:
            shown = f"{'?' if mark.points is None else mark.points} / {mark.out_of}"
            rows.append((who, name, clean(mark.exercise), shown, clean(mark.remark)))
        total, out_of = sum(m.points or 0 for m in own), sum(m.out_of for m in own)
        unread = sum(m.out_of for m in own if m.points is None)
        rows.append(
            (who, name, "total", f"{total} / {out_of}", f"{unread} {TO_READ}" * bool(unread))
        )
    return aligned(rows)
