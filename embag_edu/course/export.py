"""Marks for others to read: `python -m embag_edu course export MARKS.csv --to FORM`.

students   one row a student: the points of each question, their sum, what is still open
questions  one row a question: how many have it right, the mean, the most frequent remark
canvas     for Canvas's gradebook: --people is the gradebook that Canvas exports
moodle     for Moodle's grading worksheet: --people is the worksheet

In the last two, who has an answer that is still to be read, or a notebook that was not marked, gets
no grade yet, and is named.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embag_edu.course.by_hand import Full, gathered
from embag_edu.course.marks import Mark, cell_text, clean, number, rows_of, total

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE = ("Identifier", "Full name", "Email address", "Grade", "Maximum Grade",
          "Last modified (grade)", "Feedback comments")  # fmt: skip
NEEDED = {"canvas": ("Student", "ID", "Section"), "moodle": ("Identifier", "Grade")}
NAMES_ONLY = {
    "canvas": "Without --people, the rows have names only: an import may not know them.",
    "moodle": "Without --people, the rows have names only, and Moodle imports none of them: it "
    "wants the Identifier of each, from the worksheet that it exports.",
}
Table = list[list[object]]


@dataclass(frozen=True)
class Marks:
    """The marks of one student, and the questions of all."""

    student: str
    own: dict[str, Mark]
    out_of: dict[str, int]
    missing: list[str]  # why a notebook was not marked

    @property
    def points(self) -> float:
        return total(mark.points for mark in self.own.values())

    @property
    def open(self) -> str:
        """What there is still to do before the points count."""
        unread = [name for name, mark in self.own.items() if mark.points is None]
        return "; ".join([f"to be read: {name}" for name in unread] + self.missing)

    @property
    def grade(self) -> float | str:
        return "" if self.open else self.points

    @property
    def in_words(self) -> str:
        if not self.own:
            return "; ".join(self.missing) or "nothing was handed in"
        shown = ((name, self.own.get(name), n) for name, n in self.out_of.items())
        return "; ".join(
            f"{name} {'?' if not m or m.points is None else m.points}/{n}"
            + (f" ({m.remark})" if m and m.remark else "") for name, m, n in shown
        )  # fmt: skip


def by_student(found: Sequence[Full]) -> list[Marks]:
    """The marks of each student, by name. Nothing handed in is 0 of all."""
    given = [full.mark for full in found]
    out_of = {mark.exercise: mark.out_of for mark in given if not mark.missing}
    return [
        Marks(
            name,
            {m.exercise: m for m in given if m.student == name and not m.missing},
            out_of,
            [m.remark for m in given if m.student == name and m.missing and m.notebook],
        )
        for name in sorted({mark.student for mark in given})
    ]


def students(of: Sequence[Marks]) -> Table:
    """One row a student."""
    names = list(of[0].out_of) if of else []
    rows: Table = [["student", *names, "points", "out_of", "open"]]
    for each in of:
        points = [each.own[name].points if name in each.own else 0 for name in names]
        total = sum(each.out_of.values())
        rows.append([each.student, *points, each.points, total, each.open])
    return rows


def questions(of: Sequence[Marks]) -> Table:
    """One row a question."""
    rows: Table = [["exercise", "out_of", "students", "full_points", "mean", "to_read", "remark"]]
    for name, out_of in (of[0].out_of if of else {}).items():
        own = [each.own[name] for each in of if name in each.own]
        points = [mark.points for mark in own if mark.points is not None]
        remarks = Counter(mark.remark for mark in own if mark.remark and mark.points is not None)
        mean = round(sum(points) / len(points), 2) if points else ""
        often = next((f"{n} x {text}" for text, n in remarks.most_common(1)), "")
        full = sum(number == out_of for number in points)
        rows.append([name, out_of, len(own), full, mean, len(own) - len(points), often])
    return rows


# -------------------------------------------------------------------------- other people's tables


def _keys(text: str) -> set[str]:
    """What a name or a number is known by: "Doe, Jane" is "Jane Doe" and Canvas's "doejane"."""
    parts = re.findall(r"\w+", text.casefold())
    turned = {"".join(parts), "".join(parts[1:] + parts[:1]), "".join(parts[-1:] + parts[:-1])}
    return turned - {""}


def _fits(student: str, row: dict[str, str], columns: Sequence[str]) -> bool:
    """Is this the student's row? "Bob 7", as `collect` tells two apart, is Bob, Participant 7."""
    known = [row.get(column, "") for column in columns]
    names = set().union(*map(_keys, known))
    name, _, number = student.rpartition(" ")
    numbers = {each.rpartition(" ")[2] for each in known}
    return bool(_keys(student) & names or (number in numbers and _keys(name) & names))


def matched(
    of: Sequence[Marks], people: Sequence[dict[str, str]], columns: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Student -> their row of another table. Only where exactly one row fits, and fits only one."""
    found = {}
    for each in of:
        rows = [row for row in people if _fits(each.student, row, columns)]
        if len(rows) == 1:
            found[each.student] = rows[0]
    taken = Counter(id(row) for row in found.values())
    return {student: row for student, row in found.items() if taken[id(row)] == 1}


def _sure(of: Sequence[Marks], rows: dict[str, dict[str, str]]) -> list[Marks]:
    return [each for each in of if each.student in rows and not each.open]


def canvas(of: Sequence[Marks], people: Sequence[dict[str, str]], name: str) -> Table:
    """For Canvas's gradebook. A column of this name in `people` keeps the number behind it.

    With `people`, only who has a grade: Canvas takes a blank for the removal of an older one.
    """
    header = next((key for key in (people or [{}])[0] if re.fullmatch(
        rf"{re.escape(name)} \(\d+\)", key)), name)  # fmt: skip
    rows = matched(of, people, CANVAS[:4])
    possible = sum(of[0].out_of.values()) if of else 0
    table: Table = [[*CANVAS, header], ["    Points Possible", "", "", "", "", possible]]
    for each in _sure(of, rows) if people else of:
        row = rows.get(each.student, {"Student": each.student})
        table.append([*(row.get(column, "") for column in CANVAS), each.grade])
    return table


def moodle(of: Sequence[Marks], people: Sequence[dict[str, str]], name: str) -> Table:
    """For Moodle's grading worksheet, with the columns that it has; with it, only who has a grade.

    ValueError where the worksheet's maximum is another: Moodle skips grades above it, unsaid.
    """
    columns = list(people[0]) if people else list(MOODLE)
    rows = matched(of, people, MOODLE[:3])
    table: Table = [list(columns)]
    for each in _sure(of, rows) if people else of:
        out_of = sum(each.out_of.values())
        row = {"Full name": each.student, "Maximum Grade": out_of} | rows.get(each.student, {})
        if number(str(row["Maximum Grade"]) or str(out_of)) != out_of:
            raise ValueError(
                f"Maximum Grade is {row['Maximum Grade']} in Moodle, and {out_of} in these marks: "
                "set it to that in the assignment, and download the worksheet again"
            )
        row |= {"Grade": each.grade, "Feedback comments": each.in_words}
        table.append([row.get(column, "") for column in columns])
    return table


FORMS: dict[str, Callable[..., Table]] = {
    "students": lambda of, people, name: students(of),
    "questions": lambda of, people, name: questions(of),
    "canvas": canvas,
    "moodle": moodle,
}


def main(argv: list[str]) -> int:
    """`export MARKS.csv... --to FORM [--out FILE] [--by-hand TABLE] [--people FILE]`.

    Exit status 1: in a form for Canvas or Moodle someone has no grade yet, or is not in `people`.
    """
    parser = argparse.ArgumentParser(prog="python -m embag_edu course export")
    parser.add_argument("marks", nargs="+", help="tables that `grade --csv` wrote")
    parser.add_argument("--to", required=True, choices=FORMS)
    parser.add_argument("--out", help="write this file (by default, the table is printed)")
    parser.add_argument("--by-hand", help="the table of `by-hand`, filled in")
    parser.add_argument("--people", help="what Canvas or Moodle exported, for its numbers")
    parser.add_argument("--assignment", default="embag_edu", help="its name in Canvas")
    options = parser.parse_args(argv)
    try:
        of = by_student(gathered(options.marks, options.by_hand))
        known = NEEDED.get(options.to, ())
        people = list(rows_of(options.people, known)) if options.people else []
        table = FORMS[options.to](of, people, options.assignment)
        file = open(options.out, "w", newline="", encoding="utf-8") if options.out else sys.stdout
        points_possible = "    Points Possible"  # its blanks belong to it
        csv.writer(file, lineterminator="\n").writerows(
            [c if c == points_possible else cell_text(c) for c in row] for row in table
        )
        if options.out:
            file.close()
    except (OSError, ValueError) as error:
        print(f"Not exported. {clean(str(error))}", file=sys.stderr)
        return 2
    return _told(of, people, options.to)


def _told(of: Sequence[Marks], people: Sequence[dict[str, str]], form: str) -> int:
    if form not in ("canvas", "moodle"):
        return 0
    there = matched(of, people, [*CANVAS[:4], *MOODLE[:3]])
    said = [f"{each.student}: no grade yet ({each.open})" for each in of if each.open]
    if people:
        said += [f"{m.student}: in the list of people, not one fits" for m in of
                 if m.student not in there]  # fmt: skip
    else:
        said.append(NAMES_ONLY[form])
    print("\n".join(map(clean, said)), file=sys.stderr)
    return 1 if said else 0
