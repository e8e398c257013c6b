"""A course from the first hand-out to the exported marks."""

import json
import zipfile

import pytest
from test_course_grading import SOLVED, write

from embag_edu.course import assignments, command, notebooks, release
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
    for path in assignments.solutions():
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
    assert len(list((tmp_path / "out" / "solutions").iterdir())) == len(record["cells"])
    assert command.main(["release", str(tmp_path / "out")]) == 1  # never over another
    assert "is there already" in capsys.readouterr().out


def test_release_of_some_exercises_as_a_zip(tmp_path):
    out = tmp_path / "week2.zip"
    assert command.main(["release", str(out), "--exercises", "03.slope, 05.*"]) == 0
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist() == [
            "exercises/03_backward.ipynb", "exercises/05_vectorised_backward.ipynb", "release.json",
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
