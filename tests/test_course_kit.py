"""A course from the first hand-out to the exported marks."""

import csv
import html
import inspect
import io
import json
import os
import re
import zipfile
from datetime import datetime

import pytest
from test_course_grading import SOLVED, write

from embag_edu.course import (
    assignments,
    by_hand,
    collect,
    command,
    hand_ins,
    marking,
    marks,
    notebooks,
    release,
    similar,
)
from embag_edu.course import export as export_module
from embag_edu.course.exercise import check, find
from embag_edu.course.marks import Mark
from embag_edu.course.notebooks import ReleaseError

# -------------------------------------------------------------------------- list


def test_list(capsys):
    assert command.main(["list", "01", "03"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["01_bags", "12", *lines[1].split()[2:3], "bags"]
    assert "03.slope 2 a slope by central difference" in [" ".join(each.split()) for each in lines]
    assert lines[-1].endswith("In words (marked by hand)")
    assert command.main(["list", "99"]) == 2


def test_every_point_of_the_book_is_listed():
    for path in notebooks.solutions():
        solved = notebooks.read(path)
        points = sum(notebooks.marks(cell).get("points", 0) for cell in solved["cells"])
        assert sum(each.points for each in assignments.questions(solved)) == points > 0
        assert len(assignments.sections(solved)) > 1


# -------------------------------------------------------------------------- release


def test_release_of_the_whole_book_is_what_readers_have(tmp_path, capsys):
    assert command.main(["release", str(tmp_path / "out"), "--solutions"]) == 0
    for path, text in notebooks.copies():
        assert (tmp_path / "out" / "exercises" / path.name).read_text(encoding="utf-8") == text
    record = json.loads((tmp_path / "out" / "release.json").read_text())
    assert record["questions"]["03.slope"] == 2 and record["questions"]["03-ones-answer"] == 2
    solutions = tmp_path / "out.solutions"
    assert len(list(solutions.iterdir())) == len(record["cells"])
    assert not [path for path in (tmp_path / "out").rglob("*") if "solution" in path.name]
    assert command.main(["release", str(tmp_path / "out")]) == 1  # never over another
    assert "is there already" in capsys.readouterr().out
    assert command.main(["release", str(tmp_path / "out.zip"), "--exercises", "01.*"]) == 1
    assert "out.frozen.zip is there already" in capsys.readouterr().out


def test_release_of_some_exercises_as_a_zip(tmp_path):
    out = tmp_path / "week2.zip"
    assert command.main(["release", str(out), "--exercises", "03.slope, 05.*"]) == 0
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist() == [
            "exercises/03_backward.ipynb", "exercises/05_vectorised_backward.ipynb",
            "AGENTS.md", "release.json",
        ]  # fmt: skip
    third, fifth = release.originals(out)
    assert [each.name for each in assignments.questions(third)] == ["03.slope"]
    assert [cell["id"] for cell in third["cells"]][:3] == ["title", "imports", "slope-text"]
    assert "05-words-answer" in [each.name for each in assignments.questions(fifth)]


def test_a_name_that_no_question_has(tmp_path, capsys):
    assert command.main(["release", str(tmp_path / "out"), "--exercises", "03.slope,03.slop"]) == 1
    assert "is called 03.slop" in capsys.readouterr().out and not (tmp_path / "out").exists()


ANSWER = "[sum(lengths[:bag])\n  for bag in range(len(lengths))]"
LEAKS = {  # where a solution is left behind: (cell, what to change there)
    "in a text": ("title", {"source": f"# Bags\nreturn {ANSWER}"}),
    "in a cell that the reader is given": ("imports", {"source": f"  return {ANSWER}"}),
    "in a tag": ("imports", {"metadata": {"tags": [f"return {ANSWER}"]}}),
    "in an attachment": ("title", {"attachments": {"a": {"text/plain": f"return {ANSWER}"}}}),
    "a prediction": ("title", {"source": "my_offsets=[0,2,2,5]"}),
    "hidden cases": ("imports", {"source": "### BEGIN HIDDEN TESTS\n1\n### END HIDDEN TESTS"}),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_solution_is_found_wherever_it_stands(name, tmp_path, capsys):
    id, change = LEAKS[name]
    cells = [{**cell, **change} if cell["id"] == id else cell for cell in SOLVED["cells"]]
    write(tmp_path / "solutions" / "01_bags.ipynb", {**SOLVED, "cells": cells})
    wanted = ["release", str(tmp_path / "out"), "--book", str(tmp_path)]
    assert command.main(wanted) == 1 and not (tmp_path / "out").exists()
    said = capsys.readouterr().out
    assert "Not released." in said and ("HIDDEN" in said or "the solution of cell" in said)
    assert f"'{id}'" in said or "the file as it is" in said


def test_a_release_that_was_changed_is_not_graded_by(tmp_path):
    command.main(["release", str(tmp_path / "out"), "--exercises", "01.*"])
    assert len(release.originals(tmp_path / "out")) == 1
    path = tmp_path / "out" / "exercises" / "01_bags.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("my_offsets", "x"), encoding="utf-8")
    with pytest.raises(ReleaseError, match="not as it was handed out"):
        release.originals(tmp_path / "out")
    with pytest.raises(ReleaseError, match="no release"):
        release.originals(tmp_path)


# -------------------------------------------------------------------------- collect

STUB = notebooks.student_copy(SOLVED)
BAGS = {"01_bags.ipynb": STUB}


def text(answer="", notebook=STUB):
    """A hand-in as bytes; `answer` tells one from another."""
    more = {"cell_type": "markdown", "id": "more", "metadata": {}, "source": answer}
    return json.dumps({**notebook, "cells": [*notebook["cells"], more]}).encode()


def zipped(**entries):
    """A zip file as bytes: name -> bytes, or (bytes, what to set in its ZipInfo)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, given in entries.items():
            data, more = given if isinstance(given, tuple) else (given, {})
            info = zipfile.ZipInfo(name, (2026, 10, 1, 12, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in more.items():
                setattr(info, key, value)
            packed.writestr(info, data)
    return out.getvalue()


def put(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


MOODLE = "Zoë Li_12345_assignsubmission_file_"
FORMS = {  # what came in -> the students
    "folders": ({"alice/03.ipynb": text(), "bob/x.ipynb": text()}, ["alice", "bob"]),
    "folders in a folder": ({"hw/alice/03.ipynb": text(), "hw/bob/a/x.ipynb": text()},
                            ["alice", "bob"]),
    "one folder": ({"alice/03.ipynb": text()}, ["alice"]),
    "files": ({"alice.ipynb": text(), "bob.ipynb": text()}, ["alice", "bob"]),
    "zips": ({"alice.zip": zipped(**{"x.ipynb": text()}), "bob.zip": zipped(**{"x.ipynb": text()})},
             ["alice", "bob"]),
    "a zip of all": ({"all.zip": zipped(**{"alice/x.ipynb": text(), "bob/x.ipynb": text()})},
                     ["alice", "bob"]),
    "Moodle": ({f"{MOODLE}/x.ipynb": text(), "Bob_7_assignsubmission_file_/w.zip":
                zipped(**{"a/x.ipynb": text()})}, ["Bob", "Zoë Li"]),
    "Moodle, without folders": ({f"{MOODLE}x.ipynb": text()}, ["Zoë Li"]),
    "Canvas": ({"doejane_123_456_03_backward.ipynb": text(), "roerob_late_9_8_x.ipynb": text()},
               ["doejane", "roerob"]),
    "Canvas, without names": ({"anon_aB3xY_456_03_x.ipynb": text(),
                               "LATE_anon_Zz9Qq_7_x.ipynb": text()}, ["anon_Zz9Qq", "anon_aB3xY"]),
    "Canvas, a zip of all": ({"submissions.zip": zipped(**{"doejane_123_456_03_x.ipynb": text()})},
                             ["doejane"]),
    "two of one name": ({"Bob_7_assignsubmission_file_/x.ipynb": text(),
                         "Bob_8_assignsubmission_file_/x.ipynb": text()}, ["Bob 7", "Bob 8"]),
    "names that differ in case": ({"a/Bob_7_assignsubmission_file_/x.ipynb": text(),
                                   "b/bob_8_assignsubmission_file_/x.ipynb": text()},
                                  ["Bob 7", "bob 8"]),
    "names that are no folders": ({"=1|calc_1_2_x.ipynb": text(), "nul_2_3_x.ipynb": text()},
                                  ["_1_calc", "nul_"]),
    "files in one folder": ({"hw/alice.ipynb": text("a"), "hw/bob.ipynb": text("b")},
                            ["alice", "bob"]),
    "files in one zip": ({"hw.zip": zipped(**{"alice.ipynb": text("a"), "bob.ipynb": text("b")})},
                         ["alice", "bob"]),
    "Canvas, in a folder": ({"hw/doejane_123_456_x.ipynb": text(), "hw/roerob_9_8_x.ipynb": text()},
                            ["doejane", "roerob"]),
    "no names of Canvas": ({"alice/lab_3_2_x.ipynb": text(), "bob/lab_3_2_x.ipynb": text()},
                           ["alice", "bob"]),
    "no folder of Canvas": ({f"hw_3_2026_x/{n}/x.ipynb": text() for n in ("alice", "bob")},
                            ["alice", "bob"]),
    "signs above letters": ({"Zoe\u0308 \u0915\u093f_7_assignsubmission_file_/x.ipynb": text()},
                            ["Zo\u00eb \u0915\u093f"]),
    "what programs leave": ({"a/x.ipynb": text(), "a/.ipynb_checkpoints/x.ipynb": text(),
                             "__MACOSX/y.ipynb": text(), "a/.DS_Store": b""}, ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_downloads(name, tmp_path):
    files, students = FORMS[name]
    rows = collect.collect([put(tmp_path / "in", files)], tmp_path / "out", BAGS)
    assert sorted(row.student for row in rows) == students
    assert {(row.notebook, row.became) for row in rows} == {("01_bags.ipynb", "taken")}
    assert {row.remark for row in rows if "LATE" in row.came_as.upper()} <= {"late"}
    for student in students:
        assert b"title" in (tmp_path / "out" / student / "01_bags.ipynb").read_bytes()


def test_files_that_are_given_one_by_one(tmp_path):
    put(
        tmp_path, {"a/x.ipynb": text(), "b/x.ipynb": text(), "c.zip": zipped(**{"x.ipynb": text()})}
    )
    given = [tmp_path / "a/x.ipynb", tmp_path / "b/x.ipynb", tmp_path / "c.zip"]
    found = collect.collect(given, tmp_path / "out", BAGS)
    assert sorted(row.student for row in found) == ["a", "b", "c"]


def test_the_newest_is_kept_and_the_others_are_named(tmp_path, capsys):
    names = ["doejane_1_2_x.ipynb", "doejane_LATE_1_3_x-2.ipynb", "doejane_1_4_x-1.ipynb"]
    put(tmp_path / "in", {name: text(name) for name in names})
    roster = tmp_path / "roster.csv"
    roster.write_text("doejane,Jane Doe\n9,Dan\n")
    wanted = ["collect", str(tmp_path / "in"), str(tmp_path / "out"), "--roster", str(roster)]
    assert command.main(wanted) == 0
    assert (tmp_path / "out/Jane Doe/01_bags.ipynb").read_bytes() == text(names[1])
    said = capsys.readouterr().out
    assert f"taken: {names[1]} (Jane Doe). late" in said
    assert f"older: {names[0]} (Jane Doe). another text" in said and names[2] in said
    assert (tmp_path / "out" / "roster.csv").read_text().split("\n")[2] == "Dan,Dan"
    assert command.main(wanted) == 2 and "is not empty" in capsys.readouterr().out


def test_two_students_of_one_name_in_the_roster(tmp_path):
    files = {"liwei_1_5_x.ipynb": text(), "weili_2_6_x.ipynb": text(), "annlee_3_7_x.ipynb": text()}
    roster = {"1": "Li Wei", "2": "Li Wei", "3": "Ann"}
    rows = collect.collect([put(tmp_path / "in", files)], tmp_path / "out", BAGS, roster)
    assert {row.became for row in rows} == {"taken"}
    assert [row.student for row in rows] == ["Ann", "Li Wei 1", "Li Wei 2"]


def test_by_time_where_names_say_nothing(tmp_path):
    put(tmp_path / "in", {"a/one.ipynb": text("old"), "a/two.ipynb": text("new"), "b/x.ipynb": b""})
    os.utime(tmp_path / "in/a/one.ipynb", (1e9, 1e9))
    rows = collect.collect(
        [tmp_path / "in"], tmp_path / "out", BAGS, due=datetime.fromisoformat("2020-01-01")
    )
    assert [(row.came_as, row.became, row.remark) for row in rows if row.student == "a"] == [
        ("a/two.ipynb", "taken", "late"),
        ("a/one.ipynb", "older", "another text"),
    ]


LINK = (b"/etc/passwd", {"external_attr": 0o120777 << 16})
REFUSED = {
    "a name with ..": (zipped(**{"../../x.ipynb": text()}), "leads out"),
    "an absolute name": (zipped(**{"/tmp/x.ipynb": text()}), "is absolute"),
    "a drive": (zipped(**{"C:/x.ipynb": text()}), "is absolute"),
    "a name with .. and \\": (zipped(**{"..\\x.ipynb": text()}), "leads out"),
    "a link": (zipped(**{"x.ipynb": LINK}), "a link"),
    "a device": (zipped(**{"x.ipynb": (b"", {"external_attr": 0o020666 << 16})}), "no plain file"),
    "a bomb": (zipped(**{"x.ipynb": bytes(60 << 20)}), "too large when unpacked"),
    "a bomb in a zip": (zipped(**{"i.zip": zipped(**{"x.ipynb": bytes(60 << 20)})}), "too large"),
    "no zip file": (b"PK\x03\x04 and no more", "cannot be read"),
    "damaged": (zipped(**{"x.ipynb": text()}).replace(b"\x00\x00\x00", b"\x01\x01\x01", 9), ""),
    "no notebook": (zipped(**{"x.pdf": b"%PDF"}), "no notebook"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_and_the_others_are_taken(name, tmp_path):
    data, why = REFUSED[name]
    put(tmp_path / "in", {"alice/x.ipynb": text(), "mallory/x.zip": data})
    rows = collect.collect([tmp_path / "in"], tmp_path / "out" / "a", BAGS)
    taken, refused = sorted(rows, key=lambda row: row.student)
    assert (taken.student, taken.became) == ("alice", "taken")
    assert refused.became == "refused" and why in refused.remark
    assert refused.came_as.startswith("mallory/x.zip")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == [
        "01_bags.ipynb", "a", "alice", "collected.csv", "roster.csv",
    ]  # fmt: skip


def test_links_in_folders_are_not_followed(tmp_path):
    put(tmp_path, {"in/alice/x.ipynb": text(), "secret.ipynb": text("secret")})
    (tmp_path / "in/alice/y.ipynb").symlink_to(tmp_path / "secret.ipynb")
    (tmp_path / "in/alice/z").symlink_to(tmp_path)
    rows = collect.collect([tmp_path / "in"], tmp_path / "out", BAGS)
    assert sorted((row.came_as, row.became, row.remark) for row in rows) == [
        ("alice/x.ipynb", "taken", ""),
        ("alice/y.ipynb", "refused", "a link"),
        ("alice/z", "refused", "a link"),
    ]


def test_a_damaged_notebook_is_kept_beside_the_good_one(tmp_path):
    put(tmp_path / "in", {"a/x.ipynb": text(), "a/y.ipynb": b"[]"})
    rows = collect.collect([tmp_path / "in"], tmp_path / "out", BAGS)
    assert {row.notebook for row in rows} == {"01_bags.ipynb", "y.ipynb"}


# -------------------------------------------------------------------------- marks, out and in

MARKS = [
    Mark("Jane Doe", "in/j.ipynb", "01.offsets", 2, 2),
    Mark("Jane Doe", "in/j.ipynb", "why", None, 3, "to be read"),
    Mark("=Rob()", "in/r.ipynb", "01.offsets", 0, 2, "01.offsets: not right yet"),
    Mark("=Rob()", "in/r.ipynb", "why", 0, 3, "nothing was written"),
    Mark("Mia", "in/m.ipynb", marks.NOTHING, 0, 0, "not marked: damaged"),
    Mark("Dan", "", marks.NOTHING, 0, 0, "nothing was handed in"),
]


@pytest.fixture
def table(tmp_path):
    marks.CsvFile(tmp_path / "marks.csv").write(MARKS)
    return tmp_path / "marks.csv"


def rows(path):
    return list(csv.reader(open(path, newline="", encoding="utf-8-sig")))


def export(table, form, *more):
    out = table.with_name(f"{form}.csv")
    status = command.main(["export", str(table), "--to", form, "--out", str(out), *map(str, more)])
    return status, rows(out) if status < 2 else []


def test_one_row_a_student_and_one_a_question(table):
    assert export(table, "students") == (0, [
        ["student", "01.offsets", "why", "points", "out_of", "open"],
        ["'=Rob()", "0", "0", "0", "5", ""],
        ["Dan", "0", "0", "0", "5", ""],
        ["Jane Doe", "2", "", "2", "5", "to be read: why"],
        ["Mia", "0", "0", "0", "5", "not marked: damaged"],
    ])  # fmt: skip
    assert export(table, "questions")[1][1:] == [
        ["01.offsets", "2", "2", "1", "1.0", "0", "1 x 01.offsets: not right yet"],
        ["why", "3", "2", "0", "0.0", "1", "1 x nothing was written"],
    ]


def test_marks_by_hand_go_out_and_come_in(table, tmp_path):
    write(tmp_path / "in/j.ipynb", {**STUB, "cells": [
        {**c, "source": "Because\n=1"} if c["id"] == "why" else c for c in STUB["cells"]
    ]})  # fmt: skip
    lines = table.read_text().replace("in/j.ipynb", str(tmp_path / "in/j.ipynb"))
    table.write_text(lines)
    out = tmp_path / "hand.csv"
    assert command.main(["by-hand", str(table), str(out)]) == 0
    assert command.main(["by-hand", str(table), str(out)]) == 2  # never over what was filled in
    head, row = rows(out)
    assert (row[0], row[2], row[3], row[4]) == ("Jane Doe", "why", "3", "Because =1")
    for points, total in {"2": "4", "1,5": "3.5", "": ""}.items():
        with open(out, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, [*row[:5], points, "Good."]])
        found = export(table, "canvas", "--by-hand", out)[1]
        assert [each[-1] for each in found if each[0] == "Jane Doe"] == [total]
    for points, why in {"4": "must be 0 to 3", "-1": "must be 0 to 3", "x": "float"}.items():
        with open(out, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, [*row[:5], points, ""]])
        with pytest.raises(ValueError, match=why):
            by_hand.gathered([table], out)


def test_a_zip_file_that_does_not_say_that_its_names_are_utf_8(tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("\u00c9mile_1_assignsubmission_file_/03.ipynb", json.dumps(STUB))
    data = path.read_bytes()
    for head, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):  # the second byte of its flags
        start = data.index(head) + at
        assert data[start] == 0x08
        data = data[:start] + b"\0" + data[start + 1 :]
    path.write_bytes(data)
    assert command.main(["collect", str(path), str(tmp_path / "out")]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == ["\u00c9mile"]


def test_two_who_handed_in_nothing_are_two_in_the_table():
    absent = [Mark(name, "", "(nothing)", 0, 0, "") for name in ("Ann", "Bo")]
    assert [line.split()[0] for line in marks.table(absent).splitlines()[1:]] == [
        "Ann", "Ann", "Bo", "Bo",
    ]  # fmt: skip


def test_canvas(table, tmp_path):
    people = tmp_path / "gradebook.csv"
    people.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Bags (77)\n    Points Possible,,,,,5\n"
        '"Doe, Jane",11,a11,jdoe,A,\nRob,12,a12,rob,A,\nMia,13,a13,mia,A,\nMia,14,,mia2,B,\n'
    )
    status, found = export(table, "canvas", "--people", people, "--assignment", "Bags")
    assert status == 1 and found == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Bags (77)"],
        ["    Points Possible", "", "", "", "", "5"],
        ["Rob", "12", "a12", "rob", "A", "0"],  # Jane has no grade yet; who Mia is, nobody knows
    ]


def test_canvas_may_lack_two_of_its_columns(table, tmp_path):
    people = tmp_path / "gradebook.csv"
    people.write_text("Student,ID,Section\nRob,12,A\n")
    found = export(table, "canvas", "--people", people)[1]
    assert found[2:] == [["Rob", "12", "", "", "A", "0"]]


def test_moodle_with_another_maximum_is_refused(table, tmp_path, capsys):
    """It would skip each grade above its own, and say nothing."""
    people = tmp_path / "worksheet.csv"
    people.write_text("Identifier,Full name,Grade,Maximum Grade\nParticipant 5,Rob,,100.00\n")
    words = ["export", str(table), "--to", "moodle", "--people", str(people)]
    assert command.main(words) == 2
    assert "Maximum Grade is 100.00 in Moodle, and 5 in these marks" in capsys.readouterr().err


def test_moodle(table, tmp_path, capsys):
    people = tmp_path / "worksheet.csv"
    people.write_text(
        "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Feedback comments\n"
        "Participant 5,Rob,rob@x.org,Submitted,,5.00,\nParticipant 6,Dan,d@x.org,,,5.00,\n"
    )
    status, found = export(table, "moodle", "--people", people)
    told = "01.offsets 0/2 (01.offsets: not right yet); why 0/3 (nothing was written)"
    assert found[1] == ["Participant 5", "Rob", "rob@x.org", "Submitted", "0", "5.00", told]
    assert found[2][:5] == ["Participant 6", "Dan", "d@x.org", "", "0"]
    assert found[2][-1] == "nothing was handed in"
    said = capsys.readouterr().err
    assert status == 1 and "Jane Doe: no grade yet (to be read: why)" in said
    assert "Jane Doe: in the list of people, not one fits" in said and "Dan:" not in said


def test_moodle_without_its_worksheet(table, capsys):
    """Moodle takes no table without these three columns, and no row without its Identifier."""
    status, found = export(table, "moodle")
    assert status == 1 and {"Identifier", "Grade", "Last modified (grade)"} <= {*found[0]}
    assert "Moodle imports none of them" in capsys.readouterr().err


PEOPLE = [{"Full name": "Bob", "Identifier": f"Participant {n}"} for n in (7, 8)] + [
    {"Full name": "Lee, Ann Mae", "Identifier": "Participant 9"},
    {"Full name": "Group 7", "Identifier": "Participant 10"},
]


@pytest.mark.parametrize(
    ("student", "number"),
    [("Bob 8", "8"), ("Bob", ""), ("Ann Mae Lee", "9"), ("leeannmae", "9"), ("Group 7", "10"),
     ("Team 9", ""), ("Participant 9", "9"), ("9", "")],
)  # fmt: skip
def test_whose_row_it_is(student, number):
    of = [export_module.Marks(student, {}, {}, [])]
    found = export_module.matched(of, PEOPLE, ["Full name", "Identifier"])
    assert [row["Identifier"] for row in found.values()] == [f"Participant {number}"] * bool(number)


def test_parts_of_points_are_the_same_everywhere(tmp_path, capsys):
    """0.1 + 0.2 + 9.15 is 9.45, and not 9.450000000000001."""
    own = [Mark("Ann", "a.ipynb", f"01.{name}", points, 10)
           for name, points in (("a", 0.1), ("b", 0.2), ("c", 9.15))]  # fmt: skip
    table = tmp_path / "marks.csv"
    marks.CsvFile(table).write([*own, Mark("Bo", "b.ipynb", "01.a", 0.25, 10)])
    assert re.search(r"total +9\.45 / 30$", marks.table(own)) and marks.read_marks(table)[:3] == own
    assert export(table, "students")[1][1:] == [
        ["Ann", "0.1", "0.2", "9.15", "9.45", "30", ""], ["Bo", "0.25", "0", "0", "0.25", "30", ""],
    ]  # fmt: skip
    assert export(table, "questions")[1][1][:5] == ["01.a", "10", "2", "0", "0.17"]
    assert [row[-1] for row in export(table, "canvas")[1][2:]] == ["9.45", "0.25"]
    people = tmp_path / "worksheet.csv"
    people.write_text("Identifier,Full name,Grade,Maximum Grade\nParticipant 5,Ann,,30.00\n")
    assert export(table, "moodle", "--people", people)[1][1][2] == "9.45"
    assert command.main(["feedback", str(table), str(tmp_path / "pages")]) == 0
    assert "<p>9.45 of 30 points.</p>" in (tmp_path / "pages" / "Ann.html").read_text()
    assert marks.total([2, None, 1.5, 0.5]) == 4 and repr(marks.total([2, 2.0])) == "4"


def test_two_marks_for_one_question_are_not_added_up(table):
    table.write_text(table.read_text() + "Jane Doe,other.ipynb,01.offsets,2,2,\n")
    assert export(table, "students")[0] == 2


# -------------------------------------------------------------------------- feedback


def test_pages_of_feedback(tmp_path):
    wrong = find("01.offsets").wrong[0]
    with pytest.raises(AssertionError) as told:
        check("01.offsets", wrong.function)
    lines = str(told.value).splitlines()
    causes = [line for line in lines if line.startswith("Likely cause: ")]
    assert causes == [f"Likely cause: {wrong.message}"]
    marks.CsvFile(tmp_path / "marks.csv").write([
        Mark("<b>Zoë</b>", "z.ipynb", "01.offsets", 0, 2, lines[0], marking._with_hint(
            marking.Verdict(lines[0], str(told.value)), "01.offsets")),
        Mark("<b>Zoë</b>", "z.ipynb", "01.bag_of", 2, 2),
        Mark("<b>Zoë</b>", "z.ipynb", "why", None, 3, "to be read"),
        Mark("a/b", "a.ipynb", marks.NOTHING, 0, 0, "not marked: <script>"),
        Mark("a|b", "", marks.NOTHING, 0, 0, "nothing was handed in"),
    ])  # fmt: skip
    with open(tmp_path / "hand.csv", "w", encoding="utf-8", newline="") as file:
        words = ["<b>Zoë</b>", "z.ipynb", "why", 3, "Be<i>cause", 2, "Good & short."]
        csv.writer(file).writerows([by_hand.COLUMNS, words])
    wanted = ["feedback", tmp_path / "marks.csv", tmp_path / "out", "--by-hand"]
    assert command.main([*map(str, wanted), str(tmp_path / "hand.csv")]) == 0
    pages = {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "out").iterdir()}
    assert sorted(pages) == ["_b_Zoë__b_.html", "a_b (2).html", "a_b.html"]
    mine = html.unescape(pages["_b_Zoë__b_.html"])
    assert "4 of 7 points." in mine and "01.bag_of: the bag of each position (2 of 2)" in mine
    assert "\n".join(lines[2 : lines.index("", 2)]) in mine and f"<strong>{causes[0]}<" in mine
    assert find("01.offsets").hints[0] in mine and "Stuck?" not in mine
    assert "Be<i>cause" in mine and "Comment: Good & short." in mine
    assert not re.search(r"<(b|i|script)>|https?:|src=", "".join(pages.values()))
    assert "0 of 7 points" in pages["a_b.html"] and "nothing was handed in" in pages["a_b (2).html"]
    source = inspect.getsource(find("01.offsets").reference)
    assert source.splitlines()[-1].strip() not in mine and find("01.offsets").hints[2] not in mine


# -------------------------------------------------------------------------- similar

COPIED = """\
def max_backward(input, winners, grad_output, num_embeddings):
    # one row after the other
    table = [[0.0] * grad_output.shape[1] for _ in range(num_embeddings)]
    count = {number: 0 for number in range(num_embeddings)}
    for bag, positions in enumerate(winners.tolist()):
        for feature, position in enumerate(positions):
            if position != -1 and position < len(input):
                table[int(input[position])][feature] += float(grad_output[bag, feature])
    return np.array(table, dtype=grad_output.dtype).reshape(num_embeddings, -1)
"""
NAMES = {"table": "out", "count": "c", "bag": "i", "feature": "k", "positions": "row",
         "_ in": "q in",
         "position ": "p ", "position]": "p]", "# one row": "# mine: each"}  # fmt: skip
RENAMED = COPIED
for old, new in NAMES.items():
    RENAMED = RENAMED.replace(old, new)
LINES = RENAMED.splitlines()
REORDERED = "\n".join([*LINES[:2], LINES[3], LINES[2], "", *LINES[4:]])
HONEST = """\
def max_backward(input, winners, grad_output, num_embeddings):
    gradient = np.zeros((num_embeddings, grad_output.shape[1]), grad_output.dtype)
    bags, features = np.nonzero(winners != NOBODY)
    np.add.at(gradient, (input[winners[bags, features]], features), grad_output[bags, features])
    return gradient
"""
SHORT = ["    there = winners >= 0\n    return table_of(input, winners, there, grad_output)",
         "    ok = winners >= 0\n    return table_of(input, winners, ok, grad_output)"]  # fmt: skip
KERNEL = '''\
def my_axpy():
    return r"""
extern "C" __global__ void axpy(float a, const float* x, float* y, int n) {
  int step = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
  for (int at = first; at < n; at += step) {  // each thread takes several
    float before = y[at], more = a * x[at];
    y[at] = before + more;
  }
}
"""
'''
RENAMED_KERNEL = KERNEL.replace("first", "i").replace("step", "all").replace("at", "k")
RENAMED_KERNEL = RENAMED_KERNEL.replace("flok", "float").replace("// each", "// mine: each")
ALIKE = {  # answers of two students to one question -> are they listed?
    "the same": ("max", COPIED, COPIED, True),
    "with other names": ("max", COPIED, RENAMED, True),
    "with lines in another order": ("max", COPIED, REORDERED, True),
    "of their own": ("max", COPIED, HONEST, False),
    "two short ones": ("max", *(HONEST.splitlines()[0] + "\n" + each for each in SHORT), False),
    "a kernel with other names": ("axpy", KERNEL, RENAMED_KERNEL, True),
    "not Python": ("max", COPIED, "def max_backward(:\n  '''", False),
}


def solved(chapter, **sources):
    """A solutions notebook of the book with other texts in some cells."""
    path = next(path for path in notebooks.solutions() if path.name.startswith(chapter))
    made = notebooks.read(path)
    for one in made["cells"]:
        one["source"] = sources.get(one["id"].replace("-", "_"), one["source"])
    return made


@pytest.mark.parametrize("name", ALIKE)
def test_answers_that_are_alike(name, tmp_path):
    id, one, two, listed = ALIKE[name]
    chapter = {"max": "03", "axpy": "07"}[id]
    for student, answer in {"alice": one, "bob": two}.items():
        write(tmp_path / student / "x.ipynb", solved(chapter, **{id: answer}))
    found = similar.pairs(hand_ins.found([tmp_path]))
    wanted = {"max": "03.max_backward", "axpy": "07.axpy"}[id]
    assert [(pair.question, pair.students) for pair in found] == [
        (wanted, ("alice", "bob"))
    ] * listed


def test_places_and_words(tmp_path, capsys):
    words = (
        "Every row gets the same number, so a swap of two bags or of two rows is not seen at all"
    )
    for student, answer in {"alice": COPIED, "bob": REORDERED, "carol": HONEST}.items():
        text = words if student != "bob" else f"I think: {words.lower()}!"
        made = solved(
            "03", max=answer, ones_answer=text if student != "carol" else "Something else."
        )
        if student == "bob":  # as an editor saves it that knows neither ids nor metadata
            cells = made["cells"][:-1]
            made["cells"] = [{k: c[k] for k in ("cell_type", "source")} for c in cells]
            made["cells"] += solved("03", ones_answer=text)["cells"][-1:]
        write(tmp_path / student / "x.ipynb", made)
    (tmp_path / "damaged.ipynb").write_text("[]")
    assert command.main(["similar", str(tmp_path)]) == 0
    lines = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:-2]] == ["03-ones-answer", "03.max_backward"]
    assert lines[2][2:] == ["alice", "3-9", "bob", "3-4, 6-10"]
    assert lines[-1] == ["This is a hint to look, and no verdict."]
