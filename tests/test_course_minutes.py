"""Honest minutes: what each chapter states, and how long it may be, by embag_edu.course.minutes."""

import re

import pytest

from embag_edu.course import minutes, notebooks

ROOT = notebooks.BOOK.parent
CHAPTERS = list(minutes.chapters())

each = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def text(cell_type, source, **metadata):
    return {"cell_type": cell_type, "source": source, "metadata": metadata}


@pytest.mark.parametrize(
    "cells, reading",
    [
        pytest.param([text("markdown", "word " * 300)], 2, id="words"),
        pytest.param([text("code", "a = 1\n\n" * 14)], 2, id="lines that are not blank"),
        pytest.param([text("code", "a = 1\n" * 14, tags=["hide-input"])], 0, id="folded"),
        pytest.param([text("code", "a = 1\n" * 14, tags=["other"])], 2, id="another tag"),
        pytest.param(
            [text("code", "### BEGIN SOLUTION\nb = 1\nc = 1\n### END SOLUTION\n" + "a\n" * 7)],
            1,
            id="a solution is not read",
        ),
        pytest.param(
            [text("markdown", "word " * 150), text("code", "a = 1\n" * 7)], 2, id="the sum"
        ),
    ],
)
def test_the_rule(cells, reading):
    assert minutes.reading_of({"cells": cells}) == pytest.approx(reading)


@each
def test_the_head_and_the_readme_state_the_minutes_of_the_rule(path):
    """By fives; five more or less, since a word more is no reason to change a table."""
    found = minutes.minutes_of(path)
    head = "\n".join(map(notebooks.source, notebooks.read(path)["cells"][:3]))
    time = r"\*\*Time:?\*\*:? (\d+) minutes, and (\d+) for the exercises\b"
    match = re.search(time, head)
    assert match, f"the head states no time as {time}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = rf"^\| \[?{found.chapter} .* \| {match[1]} \+ {match[2]} \|$"
    assert re.search(row, readme, re.M), f"README has no row {row}"
    assert abs(int(match[1]) - found.reading) <= 5, found
    assert abs(int(match[2]) - found.exercises) <= 5, found
    assert int(match[1]) % 5 == int(match[2]) % 5 == 0


@each
def test_no_chapter_is_too_long(path):
    found = minutes.minutes_of(path)
    assert found.reading <= minutes.LONGEST, found
    assert found.stretch <= minutes.SITTING, f"a break is missing: {found}"


@each
def test_the_exercises_state_their_minutes_and_the_points_of_each(path):
    """As "About 45 minutes" and, with the task, "(2 points)": what its check counts."""
    task = ""
    found = minutes.minutes_of(path)
    cells = notebooks.read(path.parent / "solutions" / path.name)["cells"]
    about = re.search(r"\bAbout (\d+) minutes\b", notebooks.source(cells[0]))
    assert about and abs(int(about[1]) - found.exercises) <= 5, found
    for cell in cells:
        if cell["cell_type"] == "markdown":
            new = re.match(r"## ", notebooks.source(cell))
            task = notebooks.source(cell) if new else task + notebooks.source(cell)
        if "points" in notebooks.marks(cell):
            stated = re.findall(r"\((\d+) points?\b", task)
            assert stated == [str(notebooks.marks(cell)["points"])], task[:80]


def test_the_command_prints_a_row_for_each_chapter(capsys):
    assert minutes.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [p.stem.partition("_")[0] for p in CHAPTERS]
    assert minutes.main(["nowhere"]) == 2


@each
def test_what_is_folded_in_jupyter_is_folded_on_the_web_page(path):
    """The tag is for the page, source_hidden for JupyterLab."""
    for cell in notebooks.read(path)["cells"]:
        tagged = "hide-input" in cell["metadata"].get("tags", ())
        hidden = cell["metadata"].get("jupyter", {}).get("source_hidden", False)
        assert tagged == hidden, cell["id"]
