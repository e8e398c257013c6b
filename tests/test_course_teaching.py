"""The pages for instructors in book/teaching: complete, up to date, and true to the rule."""

import re
import runpy
from types import SimpleNamespace

import pytest

from embag_edu.__main__ import COMMANDS
from embag_edu.chapters import style
from embag_edu.course import assignments, command, minutes, notebooks
from embag_edu.course.exercise import exercises
from embag_edu.course.guide import minutes_of, text

TEACHING = notebooks.BOOK / "teaching"
GUIDE = TEACHING / "exercises.md"
SOLUTIONS = notebooks.solutions()


def read(path):
    return path.read_text(encoding="utf-8")


# -------------------------------------------------------------------------- exercises.md


def test_the_guide_is_what_the_command_prints(capsys):
    """Else: python -m embag_edu course guide > book/teaching/exercises.md"""
    assert command.main(["guide"]) == 0
    assert capsys.readouterr().out == read(GUIDE)


def test_the_guide_names_every_question_and_no_answer():
    page = read(GUIDE)
    for path in SOLUTIONS:
        solved = notebooks.read(path)
        for asked in assignments.questions(solved):
            assert f"\n### {asked.name}: " in page
        for cell in solved["cells"]:
            for region in minutes.REGION.findall(notebooks.source(cell)):
                for line in region.splitlines()[1:-1]:
                    assert len(line.strip()) < 25 or line.strip() not in page, line
    for exercise in exercises():
        assert f"\n### {exercise.name}: " in page
        assert all(f"\n- {text(wrong.message)}\n" in page for wrong in exercise.wrong)


@pytest.mark.parametrize(
    "plain, markdown",
    [
        ("a_b * __c", r"a_b \* \_\_c"),
        ("`a*b` < c[0](1)", r"`a*b` &lt; c[0\](1)"),
        ("two\n  lines | one", r"two lines \| one"),
    ],
)
def test_signs_of_markdown_stand_for_themselves(plain, markdown):
    assert text(plain) == markdown


# -------------------------------------------------------------------------- the other pages

ROW = re.compile(r"^\| \d+ \| (\d\d[^|]*) \| (\d+) \| ([^|]+) \| (\d+) \| (\d+) \| [^|]+ \|$", re.M)
ASKED = {path.stem.partition("_")[0]: path for path in SOLUTIONS}


def test_syllabi_state_the_points_and_minutes_of_the_rule():
    rows = ROW.findall(read(TEACHING / "syllabi.md"))
    assert len(rows) == 1 + 3 + 8 + 14 + 4
    for chapters, to_read, names, points, time in rows:
        paths = [ASKED[number] for number in chapters.split(", ")]
        found = [minutes.minutes_of(notebooks.BOOK / path.name) for path in paths]
        wanted = sum(each.exercises for each in found), sum(each.points for each in found)
        if names != "all":
            solved = notebooks.read(paths[0])
            asked = {each.name: each for each in assignments.questions(solved)}
            chosen = re.findall(r"`([^`]+)`", names)
            times = minutes_of(solved)
            wanted = sum(times[n] for n in chosen), sum(asked[n].points for n in chosen)
        assert abs(int(to_read) - sum(each.reading for each in found)) <= 5 * len(paths), chapters
        assert abs(int(time) - wanted[0]) <= 5 and int(points) == wanted[1], (chapters, names)


@pytest.mark.parametrize("path", sorted(TEACHING.glob("*.md")), ids=lambda path: path.name)
def test_pages_name_exercises_and_commands_that_exist(path):
    page = read(path)
    known = {each.name for each in exercises()}
    assert set(re.findall(r'\bhint\("([^"]+)"\)', page)) <= known
    assert set(re.findall(r"`(\d\d\.[a-z]\w*)`", page)) <= known
    assert set(re.findall(r"python -m embag_edu course (\w[\w-]*)", page)) <= {*command.COMMANDS}
    assert set(re.findall(r"python -m embag_edu (\w+)", page)) <= {*COMMANDS}


def test_every_page_is_named_in_the_readme_of_the_folder():
    linked = re.findall(r"\]\(([\w.]+)\)", read(TEACHING / "README.md"))
    assert {*linked, "README.md", "slides.py"} == {path.name for path in TEACHING.iterdir()}


def test_which_cells_become_slides():
    exporter = SimpleNamespace()
    settings = {"c": SimpleNamespace(SlidesExporter=exporter)}
    runpy.run_path(str(TEACHING / "slides.py"), settings)
    cells = [
        cell("# Title", "slide"),
        cell("import numpy", "skip", "code"),
        cell("## Part", "slide"),
        cell("a = 1", "-", "code"),
        cell("b = 1", "subslide", "code"),
        cell("Said by the speaker.", "notes"),
        cell("c = 1", "subslide", "code"),
        cell("### A step", "subslide"),
        cell("d = 1", "skip", "code", tags=["hide-input"]),
        cell("e = 1", "fragment", "code", slideshow={"slide_type": "fragment"}),
    ]
    (preprocessor,) = exporter.preprocessors
    preprocessor().preprocess(SimpleNamespace(cells=cells), {})
    for each in cells:
        assert each.metadata["slideshow"]["slide_type"] == each.expected, each.source


def cell(source, expected, cell_type="markdown", **metadata):
    return SimpleNamespace(source=source, cell_type=cell_type, metadata=metadata, expected=expected)


def test_the_container_takes_what_is_there_and_names_no_index():
    root = notebooks.BOOK.parent
    file = read(root / ".devcontainer" / "Dockerfile")
    assert (root / "constraints.txt").is_file() and "constraints.txt" in file
    assert "://" not in file and file.index("USER reader") < file.index("CMD")


def test_text_on_colors_can_be_read():
    """As the page on accessibility says."""

    def light(color):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05

    pairs = [(style.ink_on(color), color) for color in style.COLORS]
    for pair in [*pairs, (style.QUIET, style.PAPER)]:
        dim, bright = sorted(light(style.to_rgb(color)) for color in pair)
        assert bright / dim >= 4.5, pair
