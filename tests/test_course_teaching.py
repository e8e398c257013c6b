"""The pages for instructors in book/teaching: complete, up to date, and true to the rule."""

import pytest

from embag_edu.course import assignments, command, minutes, notebooks
from embag_edu.course.exercise import exercises
from embag_edu.course.guide import text

TEACHING = notebooks.BOOK / "teaching"
GUIDE = TEACHING / "exercises.md"
SOLUTIONS = assignments.solutions()


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
