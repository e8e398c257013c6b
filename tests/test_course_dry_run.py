"""A course in one go: release, collect, grade, by hand, feedback, export; the marks are right.

Of two chapters some questions, in every run of the tests; of all chapters all questions and every
listed wrong answer with `pytest -m adversary`.
"""

import copy
import csv
import json
from functools import partial
from pathlib import Path

import pytest

from embag_edu.course import (
    assignments,
    box,
    by_hand,
    command,
    grading,
    marking,
    notebooks,
    release,
)
from embag_edu.course.exercise import find

pytest.importorskip("IPython", reason="IPython runs the cells of the notebooks that are marked")

WORDS = "In my own words: see the table of the chapter."
FIND = "from embag_edu.course.exercise import find\n"


def answered(original, solved, answer):
    """What was handed out, with answer(stub, solution, name, variable) in the reader's cells."""
    made, right = copy.deepcopy(original), {cell["id"]: cell for cell in solved["cells"]}
    name = variable = ""
    for cell in reversed(made["cells"]):
        if notebooks.is_check(cell):
            ((name, variable),) = [(q.name, q.answer) for q in marking.questions(cell)]
        elif notebooks.is_solution(cell):
            by_hand = notebooks.is_manual(cell)
            solution = WORDS if by_hand else notebooks.source(right[cell["id"]])
            given = ("", "") if by_hand else (name, variable)
            cell["source"] = answer(notebooks.source(cell), solution, *given)
    return made


def wrong(number):
    """The listed wrong answer of this number to each exercise; where there are fewer, the last."""

    def answer(stub, solution, name, variable):
        at = min(number, len(find(name).wrong) - 1) if name else 0
        return f"{FIND}{variable} = find({name!r}).wrong[{at}].function" if name else WORDS

    return answer


def half(original):
    """The first half of the exercises solved, the others as handed out."""
    names = [each.name for each in assignments.questions(original) if not each.by_hand]
    done = names[: len(names) // 2]
    return lambda stub, solution, name, variable: solution if name in done else stub


def expected(original, student):
    """The points of each question, in order; None is an answer that a person reads."""
    asked = assignments.questions(original)
    names = [each.name for each in asked if not each.by_hand]
    passed = {"right": names, "half": names[: len(names) // 2]}.get(student, [])
    read = student == "right" or student.startswith("wrong")
    return {q.name: (None if read else 0) if q.by_hand else q.points * (q.name in passed)
            for q in asked}  # fmt: skip


def rows(path):
    return list(csv.DictReader(open(path, newline="", encoding="utf-8-sig")))


def hand_in(folder, original, solved, wrongs):
    """A download as Canvas gives it. Returns the students."""
    made = {
        "right": answered(original, solved, lambda stub, solution, *_: solution),
        "half": answered(original, solved, half(original)),
        "stub": original,
        "empty": {**original, "cells": [{**cell, "source": ""} for cell in original["cells"]]},
        **{f"wrong{n}": answered(original, solved, wrong(n)) for n in range(wrongs)},
    }
    folder.mkdir()
    for number, (student, notebook) in enumerate(made.items(), 10):
        path = folder / f"{student}_{number}_1{number}_homework.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
    return list(made)


def dry_run(chapter, patterns, wrongs, tmp_path, grade):
    """The whole way; each step by its command, but for `grade`, which writes marks.csv."""
    out, came, sorted_, table = (tmp_path / n for n in ("hw.zip", "came", "in", "marks.csv"))

    def course(*words, status=0):
        assert command.main([str(word) for word in words]) == status, words

    course("release", out, "--exercises", patterns)
    ((name, original),) = release.named(out).items()
    students = hand_in(came, original, notebooks.read(notebooks.BOOK / "solutions" / name), wrongs)
    course("collect", came, sorted_, "--release", out)
    grade(sorted_, out, table)
    for student in students:
        wanted = expected(original, student)
        actual = {r["exercise"]: r["points"] for r in rows(table) if r["student"] == student}
        shown = {name: "" if points is None else str(points) for name, points in wanted.items()}
        assert actual == shown, student
    course("by-hand", table, tmp_path / "hand.csv")
    read = [{**row, "points": row["out_of"]} for row in rows(tmp_path / "hand.csv")]
    assert {row["words"] for row in read} <= {WORDS}
    with open(tmp_path / "hand.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([by_hand.COLUMNS, *(list(row.values()) for row in read)])
    filled = ("--by-hand", tmp_path / "hand.csv")
    course("feedback", table, tmp_path / "pages", *filled)
    course("export", table, "--to", "students", "--out", tmp_path / "students.csv", *filled)
    course("export", table, "--to", "canvas", "--out", tmp_path / "canvas.csv", *filled, status=1)
    given = {row["student"]: int(row["points"]) for row in rows(tmp_path / "students.csv")}
    out_of = {each.name: each.points for each in assignments.questions(original)}
    for student in students:
        wanted = expected(original, student)
        points = sum(out_of[name] if p is None else p for name, p in wanted.items())
        page = (tmp_path / "pages" / f"{student}.html").read_text(encoding="utf-8")
        assert given[student] == points and f"{points} of {sum(out_of.values())} points" in page
        for cell in notebooks.read(notebooks.BOOK / "solutions" / name)["cells"]:
            assert all(
                region not in page for region in release.REGION.findall(notebooks.source(cell))
            )
    assert len(rows(tmp_path / "canvas.csv")) == len(students) + 1


def in_this_process(folder, given, table):
    """As `course grade` does it, without a new Python for each notebook."""
    job = partial(marking.Job, protection=box.available())
    out = grading.CsvFile(table)
    for each in grading.hand_ins.found(
        [folder], grading.hand_ins.read_roster(folder / "roster.csv")
    ):
        out.write(grading.marked(each, lambda _: release.originals(given), job, marking.mark))


def by_the_command(folder, given, table):
    words = ["grade", folder, "--csv", table, "--release", given, "--roster", folder / "roster.csv"]
    assert command.main([*map(str, words)]) == 0


@pytest.mark.parametrize(
    "patterns", ["03.slope,03.max_backward,03.ones-answer", "10.hits,10.lost_update,10.why"]
)
def test_from_release_to_export(patterns, tmp_path):
    dry_run(patterns[:2], patterns, 3, tmp_path, in_this_process)


CHAPTERS = [path.stem for path in notebooks.solutions()]


@pytest.mark.adversary
@pytest.mark.parametrize("name", CHAPTERS)
def test_all_of_a_chapter_with_every_wrong_answer(name, tmp_path):
    solved = notebooks.read(Path(notebooks.BOOK) / "solutions" / f"{name}.ipynb")
    asked = [each.name for each in assignments.questions(solved)]
    wrongs = max(len(find(each).wrong) for each in asked if "." in each)
    dry_run(name, ",".join(asked), wrongs, tmp_path, by_the_command)
