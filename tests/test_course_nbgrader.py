"""nbgrader's whole way beside ours: generate, autograde, feedback, and the same marks.

One chapter in every run of the tests that has nbgrader; all of them with `pytest -m adversary`.
"""

import json
import os
import shutil
import sysconfig

import pytest
from test_course_dry_run import CHAPTERS, answered, half, wrong

from embag_edu.course import box, marking, notebooks

apps = pytest.importorskip("nbgrader.apps", reason="pip install '.[nbgrader]' brings nbgrader")

# As the guide says it (book/pages/instructors.md).
SETTINGS = """\
c = get_config()
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("your code here")'}
c.ClearSolutions.text_stub = "*Your answer here.*"
c.ExecutePreprocessor.timeout = 120
"""


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory):
    from traitlets.config import PyFileConfigLoader

    folder = tmp_path_factory.mktemp("course")
    (folder / "nbgrader_config.py").write_text(SETTINGS)
    config = PyFileConfigLoader("nbgrader_config.py", str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    with pytest.MonkeyPatch.context() as patch:  # nbgrader starts alembic by its name
        patch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)
        yield apps.NbGraderAPI(config=config)


def done(result):
    assert result["success"], result.get("error") or result["log"]


def marked_by_nbgrader(api, name, answers):
    """Student -> grade id -> points (None: a person reads it). answers: student -> answer."""
    folder = notebooks.Path(api.coursedir.root)
    solved = notebooks.BOOK / "solutions" / f"{name}.ipynb"
    (folder / "source" / name).mkdir(parents=True)
    shutil.copy(solved, folder / "source" / name)
    done(api.generate_assignment(name))
    original = json.loads((folder / "release" / name / solved.name).read_text(encoding="utf-8"))
    handed_in = {}
    for student, answer in answers.items():
        path = folder / "submitted" / student / name / solved.name
        path.parent.mkdir(parents=True)
        handed_in[student] = answered(original, notebooks.read(solved), answer)
        path.write_text(json.dumps(handed_in[student]), encoding="utf-8")
        done(api.autograde(name, student))
    done(api.generate_feedback(name))
    with api.gradebook as book:
        points = {
            student: {
                grade.name: None if grade.needs_manual_grade else grade.auto_score or 0
                for grade in book.find_submission_notebook(name, name, student).grades
            }
            for student in answers
        }
    return handed_in, points


def marked_by_us(student, submitted, original):
    """The same of `course grade`."""
    asked = [c for c in original["cells"] if notebooks.is_check(c) or notebooks.is_manual(c)]
    found = marking.mark(
        marking.Job(student, student, submitted, original, protection=box.available())
    )
    return {
        notebooks.marks(cell)["grade_id"]: mark.points
        for cell, mark in zip(asked, found, strict=True)
    }


@pytest.mark.parametrize(
    "name",
    [n if n == "01_bags" else pytest.param(n, marks=pytest.mark.adversary) for n in CHAPTERS],
)
def test_the_same_marks(nbgrader, name):
    original = notebooks.student_copy(
        notebooks.read(notebooks.BOOK / "solutions" / f"{name}.ipynb")
    )
    answers = {
        "right": lambda stub, solution, *_: solution,
        "half": half(original),
        "wrong": wrong(0),
    }
    handed_in, points = marked_by_nbgrader(nbgrader, name, answers)
    out_of = sum(notebooks.marks(cell).get("points", 0) for cell in original["cells"])
    for student, submitted in handed_in.items():
        assert points[student] == marked_by_us(student, submitted, original), student
        page = notebooks.Path(nbgrader.coursedir.root, "feedback", student, name, f"{name}.html")
        got = sum(filter(None, points[student].values()))
        score = f"{name} (Score: {float(got)} / {float(out_of)})"
        assert score in page.read_text(encoding="utf-8")
        print(f"{score}: {student}, {len(points[student])} marks")
