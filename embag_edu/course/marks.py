"""Marks, as a table to read and as a CSV file that a spreadsheet opens without harm."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO

from embag_edu.text import aligned

NOTHING = "(nothing)"  # in the place of an exercise: no mark for the notebook
TO_READ = "to be read"
HINT = "A hint:"  # begins the last part of what is told
LONGEST = 32_000  # signs: a cell of a spreadsheet holds no more


@dataclass(frozen=True)
class Mark:
    """The mark for one question of one notebook.

    student   the name from the roster, the folder or the file
    notebook  the path of the file: two of one name are two
    exercise  "03.slope"; the id of a cell that is marked by hand; NOTHING
    points    None where a person has to read the answer
    told      all lines of what `check` says of the answer; the remark is the first of them
    """

    student: str
    notebook: str
    exercise: str
    points: float | None
    out_of: int
    remark: str = ""
    told: str = ""

    @property
    def missing(self) -> bool:
        """Was this notebook not marked at all?"""
        return self.exercise == NOTHING


def printable(text: str) -> str:
    """Text of a submission without control, escape and invisible signs; lines stay lines."""
    keep = (each == "\n" or unicodedata.category(each)[0] != "C" for each in text)
    return "".join(each if kept else " " for each, kept in zip(text, keep, strict=True))


def clean(text: str) -> str:
    """The same on one line, for a terminal."""
    return " ".join(printable(text).split())


def cell_text(value: object, lines: bool = False) -> object:
    """A value for a cell of a spreadsheet, which must not take it for a formula."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = (printable(value) if lines else clean(value))[:LONGEST]
    return f"'{text}" if text[:1] in tuple("=+-@＝＋－＠") else text


def plain_text(cell: str) -> str:
    """The text that `cell_text` made a cell of."""
    return cell[1:] if cell[:1] == "'" and cell_text(cell[1:], "\n" in cell) == cell else cell


def total(points: Iterable[float | None]) -> float:
    """The sum of these points, to two places; what is still to be read counts as 0."""
    found = round(float(sum(each or 0 for each in points)), 2)
    return int(found) if found.is_integer() else found


def number(text: str) -> float:
    """Points: whole, or with a part, as a spreadsheet may write them ("2", "1.5", "1,5")."""
    found = float(text.replace(",", "."))
    return int(found) if found.is_integer() else found


class CsvFile:
    """A CSV file with a row for each mark, which is on the disk as soon as it is written.

    done: marks that it begins with.
    """

    def __init__(self, path: str | Path, done: Sequence[Mark] = ()) -> None:
        self.file: IO[str] = open(path, "w", 1 << 20, newline="", encoding="utf-8")  # whole rows
        self.writer = csv.writer(self.file)
        self.writer.writerow(field.name for field in fields(Mark))
        self.write(done)

    def write(self, found: Sequence[Mark]) -> None:
        """Add these marks."""
        for mark in found:
            *short, told = astuple(mark)
            self.writer.writerow([*map(cell_text, short), cell_text(told, lines=True)])
        self.file.flush()


def rows_of(path: str | Path, wanted: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with these columns (others are kept). ValueError for another form."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        delimiter = ";" if first.count(";") > first.count(",") else ","  # as some countries save it
        reader = csv.DictReader(file, delimiter=delimiter)
        lacking = [name for name in wanted if name not in (reader.fieldnames or ())]
        if lacking:
            raise ValueError(f"{path}: the column {', '.join(lacking)} is missing")
        for row in reader:
            yield {
                key: plain_text(value or "") for key, value in row.items() if isinstance(key, str)
            }


def read_marks(path: str | Path) -> list[Mark]:
    """The marks of a table that `grade --csv` wrote. ValueError for a file of another form."""
    return [
        Mark(row["student"], row["notebook"], row["exercise"],
             number(row["points"]) if row["points"] else None,
             int(row["out_of"]), row["remark"], row.get("told", ""))
        for row in rows_of(path, [field.name for field in fields(Mark)][:-1])
    ]  # fmt: skip


def table(found: Sequence[Mark]) -> str:
    """The marks as a text table, with a sum for each notebook."""
    rows = [("student", "notebook", "exercise", "points", "remark")]
    for student, path in dict.fromkeys((mark.student, mark.notebook) for mark in found):
        own = [mark for mark in found if (mark.student, mark.notebook) == (student, path)]
        who, name = clean(student), clean(path)
        for mark in own:
            shown = f"{'?' if mark.points is None else mark.points} / {mark.out_of}"
            rows.append((who, name, clean(mark.exercise), shown, clean(mark.remark)))
        out_of = sum(m.out_of for m in own)
        unread = sum(m.out_of for m in own if m.points is None)
        rows.append(
            (who, name, "total", f"{total(m.points for m in own)} / {out_of}",
             f"{unread} {TO_READ}" * bool(unread))
        )  # fmt: skip
    return aligned(rows)
