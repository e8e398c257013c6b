"""The instructor's own file: exercises, hidden cases, points. The example of the page is run."""

import csv
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from embag_edu.course import (
    ExerciseFailed,
    assignments,
    box,
    check,
    command,
    frozen,
    hint,
    marking,
    notebooks,
    own,
    release,
    validate,
    visible,
)
from embag_edu.course.by_hand import Full
from embag_edu.course.exercise import UnknownExercise, exercises, find
from embag_edu.course.feedback import page
from embag_edu.course.marks import read_marks

pytest.importorskip("IPython", reason="IPython runs the cells of the notebooks that are marked")

PAGE = notebooks.BOOK / "teaching" / "own.md"
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
HIDDEN = ("two of one length", "0, 3, 4, 7", "an empty input")
ANSWERS = {  # student -> the answer
    "right": "def longest(offsets, length):\n    ends = [*offsets, length][1:]\n"
    "    lengths = [b - a for a, b in zip(offsets, ends)]\n"
    "    return lengths.index(max(lengths)) if lengths else -1",
    "wrong": "def longest(offsets, length):\n"
    "    return int(np.diff([*offsets, offsets[-1]]).argmax()) if offsets else -1",
    # It keeps what it is asked, and would tell on any call after: right on what can be seen.
    "last": "asked = []\ndef longest(offsets, length):\n    asked.append((offsets, length))\n"
    "    lengths = [b - a for a, b in zip(offsets, [*offsets, length][1:])]\n"
    "    if (3, 4) in zip(offsets, offsets[1:]): raise ValueError(str(asked))\n"
    "    return max(range(len(lengths)), key=lambda k: (lengths[k], k), default=-1)",
}


@pytest.fixture(autouse=True)
def none_in_use():
    yield
    own.leave()


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The file of the page, tried by `validate`, and the notebook that this has made."""
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(EXAMPLE, encoding="utf-8")
    assert command.main(["validate", str(path)]) == 0
    own.leave()
    return path


@pytest.fixture(scope="module")
def handed_out(mine):
    out = mine.with_name("week5.zip")
    words = ["release", str(out), "--own", str(mine), "--exercises", "90.*,03.slope", "--solutions"]
    assert command.main(words) == 0
    own.leave()
    return out


def answered(notebook, answer):
    cells = [{**c, "source": answer if notebooks.is_solution(c) else c["source"]}
             for c in notebook["cells"]]  # fmt: skip
    return {**notebook, "cells": cells}


# -------------------------------------------------------------------------- the whole way


def test_what_students_get(mine, handed_out):
    files = {"exercises/03_backward.ipynb", "exercises/mine.ipynb", "exercises/90.longest.json",
             "AGENTS.md", "release.json"}  # fmt: skip
    at = release.zipfile.Path(handed_out)
    texts = {name: (at / name).read_text(encoding="utf-8") for name in files}
    with release.zipfile.ZipFile(handed_out) as packed:
        assert set(packed.namelist()) == files
    for name, text in texts.items():
        secret = [*HIDDEN, "four old oaks", "np.diff([*offsets", "The last bag ends"]
        assert not [words for words in secret if words in text], name
    assert "slope by hand (3 points)" in texts["exercises/03_backward.ipynb"]
    assert json.loads(texts["release.json"])["questions"] == {"03.slope": 3, "90.longest": 2}
    notebook = json.loads(texts["exercises/mine.ipynb"])
    task = "".join(notebook["cells"][2]["source"])
    assert task.startswith("## 1. The longest bag (2 points)\n\nWrite `longest(offsets: list[int]")
    assert "Of several longest bags the first counts" in task
    solutions = sorted(path.name for path in handed_out.with_name("week5.solutions").iterdir())
    assert solutions == ["03_backward.ipynb", "mine.ipynb"]


def test_from_the_hand_in_to_the_exported_points(mine, handed_out, tmp_path, capsys):
    """Marked by the file as it was handed out, though it is another one by then."""
    given = release.named(handed_out)["mine.ipynb"]
    for number, (student, answer) in enumerate(ANSWERS.items(), 10):
        path = tmp_path / "came" / f"{student}_{number}_1{number}_mine.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(answered(given, answer)), encoding="utf-8")
    came, sorted_, table = tmp_path / "came", tmp_path / "in", tmp_path / "marks.csv"
    at = [str(handed_out)]
    assert command.main(["collect", str(came), str(sorted_), "--release", *at]) == 0
    kept = mine.read_text(encoding="utf-8")
    mine.write_text("POINTS = {'03.slope': 5}", encoding="utf-8")  # next term's
    words = ["grade", str(sorted_), "--release", *at, "--csv", str(table)]
    try:
        assert command.main([*words, "--roster", str(sorted_ / "roster.csv")]) == 0
    finally:
        mine.write_text(kept, encoding="utf-8")
    marks = {mark.student: mark for mark in read_marks(table)}
    assert {name: mark.points for name, mark in marks.items()} == {
        "right": 2,
        "wrong": 0,
        "last": 0,
    }
    assert marks["last"].remark == f"90.longest: {marking.HIDDEN}"
    assert command.main(["feedback", str(table), str(tmp_path / "pages"), "--own", str(mine)]) == 0
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "pages").iterdir()}
    assert "Likely cause: The last bag ends where the input ends." in pages["wrong"]
    assert (
        "offsets = [0, 2, 2]" in pages["wrong"] and "A hint: How long is bag k?" in pages["wrong"]
    )
    assert "wrong on one that you cannot" in pages["last"] and "Likely cause" not in pages["last"]
    for text in [*pages.values(), table.read_text(encoding="utf-8")]:
        assert not [words for words in HIDDEN if words in text]
    words = ["export", str(table), "--to", "students", "--out", str(tmp_path / "points.csv")]
    assert command.main(words) == 0
    with open(tmp_path / "points.csv", newline="", encoding="utf-8") as file:
        rows = {row["student"]: row["points"] for row in csv.DictReader(file)}
    assert rows == {"right": "2", "wrong": "0", "last": "0"}


def test_another_file_than_the_one_handed_out(mine, handed_out):
    """Then `grade` marks by the copy as well, and names what is other."""
    wanted = release.package_of(handed_out)
    assert not frozen.stands_for(wanted, False)
    with frozen.own_of(handed_out):
        assert own.in_use().path.name == "mine.py" != own.in_use().path
        assert find("90.longest").points == 2 and find("03.slope").points == 3
        assert frozen.stands_for(wanted, False)
    assert own.in_use() is None and find("03.slope").points == 2
    with pytest.raises(UnknownExercise):
        find("90.longest")
    words = ["x", "--own", "a.py", "--jobs", "2", "--own=b.py"]
    assert own.without_option(words) == ["x", "--jobs", "2"]


# -------------------------------------------------------------------------- at the student's


def test_a_students_check_knows_what_can_be_seen(handed_out, tmp_path, monkeypatch, capsys):
    at = release.zipfile.Path(handed_out) / "exercises" / "90.longest.json"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownExercise, match="90.longest.json"):
        check("90.longest", len)
    Path("90.longest.json").write_text(at.read_text(encoding="utf-8"), encoding="utf-8")
    made = {}
    for student, answer in ANSWERS.items():
        exec(answer, made.setdefault(student, {"np": np}))
    for student in ("right", "last"):
        check("90.longest", made[student]["longest"])
        assert "90.longest: right. 2 cases passed." in capsys.readouterr().out
    with pytest.raises(
        ExerciseFailed, match="(?s)three bags.*offsets = .*expected  2\nfound     0"
    ):
        check("90.longest", made["wrong"]["longest"])
    hint("90.longest")
    assert "hint 1 of 3: How long is bag k?" in capsys.readouterr().out
    Path("90.longest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnknownExercise, match="damaged"):
        check("90.longest", len)


KINDS = '''
from embag_edu.course import Case, Exercise, Wrong
from embag_edu.course.kernel_exercise import KernelTask, Launch
from embag_edu.course.tools import without_numpy
import numpy as np, torch
def into(out, *, by=1):
    if by < 0: raise ValueError("by is negative")
    out += by
    return out, torch.ones(2) * by
def cases():
    return [Case("a", np.ones(2, np.float32)), Case("b", np.zeros((2, 2)), by=np.float32(3)),
            Case("c", np.ones(1), by=-1)]
more = dict(hints=("a", "b", "c"), wrong=(Wrong(len, "no"),))
SCALE = r"""extern "C" __global__ void scale(float* x, int n) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < n) x[at] *= 2;
}"""
def launches():
    x = np.arange(5, dtype=np.float32)
    return [Launch("five", 2, 4, (x, np.int32(5)), (0, 2 * x))]
EXERCISES = [
    Exercise("93.scale", "t", SCALE, judge=KernelTask("93.scale", "scale", launches), **more),
    Exercise("91.into", "t", into, cases, in_place=True, returns=("out", "two"),
             tools=without_numpy, **more),
    Exercise("92.guess", "t", [1, 2], judge=lambda mine: "" if mine == [1, 2] else "no", **more),
]
'''


def test_every_kind_of_value_goes_to_students_and_judges_stay(tmp_path, monkeypatch, capsys):
    path = tmp_path / "kinds.py"
    path.write_text(KINDS, encoding="utf-8")
    used = own.use(path)
    for name in ("91.into", "92.guess", "93.scale"):
        (tmp_path / f"{name}.json").write_text(visible.text(find(name)), encoding="utf-8")
    own.leave()
    monkeypatch.chdir(tmp_path)
    check("91.into", used.exercises[1].reference)
    with pytest.raises(ExerciseFailed, match="arguments are not as they should be"):
        check("91.into", lambda out, by=1: used.exercises[1].reference(out.copy(), by=by))
    check("93.scale", used.exercises[0].reference)
    with pytest.raises(ExerciseFailed, match="On five: x: 4 of 5 values differ"):
        check("93.scale", used.exercises[0].reference.replace("2;", "3;"))
    check("92.guess", [7])
    assert "noted" in capsys.readouterr().out and "[1, 2]" not in Path("92.guess.json").read_text(
        encoding="utf-8"
    )


# -------------------------------------------------------------------------- what is refused

BAD = {  # what is other in the example -> what `validate` says
    "a word of Python": ("def longest(", "def longest((", "SyntaxError"),
    "an error": ("EXERCISES =", "1 / 0\nEXERCISES =", "line 22: ZeroDivisionError"),
    "a chapter of the book": ('"90.longest"', '"03.longest"', "chapter 03 is the book's"),
    "no such exercise": ('{"03.slope": 3}', '{"03.slop": 3}', "did you mean '03.slope'"),
    "no such question": ('{"03.slope": 3}', '{"03-slop": 3}', "no notebook asks this question"),
    "no points": ('{"03.slope": 3}', '{"03.slope": 0}', "POINTS: 03.slope has 0"),
    "its own points": ('{"03.slope": 3}', '{"90.longest": 3}', "is your own"),
    "a wrong answer passes": ("Wrong(without_the_last", "Wrong(longest", "wrong answer 1"),
    "no wrong answer": ("wrong=(", "wrong=0 * (", "no wrong answer is listed"),
    "an empty hint": ('"np.diff")', '" ")', "hint 3 is empty"),
    "a hidden case that is seen": ('input", [], 0', 'input", [0], 3', "that is shown"),
    "other cases each time": ("[0], 3", "[0], np.random.randint(1, 9999)", "each time"),
    "nothing in it": ("\n", "\n#", "has none of EXERCISES"),
    "a tool of its own": ("points=2,", "points=2, tools=lambda mine: '',", "tools must be"),
    "a judge with hidden cases": ("points=2,", "points=2, judge=len,", "a judge has its own"),
    "what cannot be written down": ("[0], 3)]", "[0], 3), Case('f', [], len)]", "plain values"),
}  # fmt: skip


def quick_mark(job):
    """In the place of the real one, which is slow, and tried above: full points for the model."""
    text = "".join(cell["source"] for cell in job.submitted["cells"])
    return [marking.Mark("", "", "90.longest", 2 * (notebooks.BEGIN in text), 2)]


NOTEBOOKS = {  # what is other -> the exit status of `validate`, and what it says
    "nothing": (0, "all holds"),
    "another exercise": (1, "is called 90.two"),
    "another answer": (1, "NOT  handed in, the model answers would get 0 of 2 points"),
}


@pytest.mark.parametrize("what", NOTEBOOKS)
def test_validate_reads_the_notebook(what, mine, tmp_path, capsys, monkeypatch):
    more = "from dataclasses import replace\nEXERCISES += [replace(EXERCISES[0], name='90.two')]"
    text = f"{EXAMPLE}{more if what == 'another exercise' else ''}\n"
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    solved = mine.with_suffix(".ipynb").read_text(encoding="utf-8")
    if what == "another answer":
        solved = solved.replace("np.diff([*offsets, length])", "np.diff([*offsets, 0])")
    else:
        monkeypatch.setattr(marking, "mark", quick_mark)
    (tmp_path / "mine.ipynb").write_text(solved, encoding="utf-8")
    status, told = NOTEBOOKS[what]
    assert command.main(["validate", str(tmp_path / "mine.py")]) == status
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("name", BAD)
def test_validate_refuses(name, tmp_path, capsys, monkeypatch):
    old, new, why = BAD[name]
    assert old in EXAMPLE
    path = tmp_path / "mine.py"
    text = EXAMPLE.replace(old, new) if name == "nothing in it" else EXAMPLE.replace(old, new, 1)
    path.write_text(f"#{text}" if name == "nothing in it" else text, encoding="utf-8")
    monkeypatch.setattr(marking, "mark", quick_mark)
    assert command.main(["validate", str(path)]) == 1
    assert why in capsys.readouterr().out


LEAKS = {  # what is written into the notebook by mistake
    "the right answer": "    return int(np.diff([*offsets, length]).argmax()) if offsets else -1",
    "a hidden case": "Look at bags such as [0, 3,   4, 7, 9, 9].",
    "what a wrong answer": "Of several longest bags, the first counts.",
    "SEED": "My seed is: four old oaks",
}


@pytest.mark.parametrize("name", LEAKS)
def test_what_must_not_be_handed_out_is_found(name, mine, tmp_path):
    text = mine.read_text(encoding="utf-8").replace("[0, 3, 4, 7], 8", "[0, 3, 4, 7, 9, 9], 9")
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    solved = notebooks.read(mine.with_suffix(".ipynb"))
    solved["cells"][0]["source"] = LEAKS[name]
    (tmp_path / "mine.ipynb").write_text(notebooks.written(solved), encoding="utf-8")
    own.use(tmp_path / "mine.py")
    with pytest.raises(release.ReleaseError, match=name):
        release.made(notebooks.BOOK, ["90.*"])


def test_two_notebooks_of_one_name_are_refused(tmp_path):
    (tmp_path / "03_backward.py").write_text(EXAMPLE, encoding="utf-8")
    used = own.use(tmp_path / "03_backward.py")
    used.notebook.write_text(notebooks.written(validate.first_notebook(used)), encoding="utf-8")
    with pytest.raises(release.ReleaseError, match="two notebooks are called 03_backward.ipynb"):
        release.models(notebooks.BOOK, [])


def test_a_hand_in_cannot_read_the_file(mine):
    if box.available() != box.NAMESPACES:
        pytest.skip("this system has no namespaces: what is said of that stands in the guide")
    own.use(mine)
    stub = notebooks.student_copy(notebooks.solved(mine.with_suffix(".ipynb")))
    steal = f"import pathlib\nexec(pathlib.Path({str(mine)!r}).read_text())"
    job = partial(marking.Job, "s", "p", original=stub)
    (mark,) = marking.mark(job(answered(stub, steal)))
    assert mark.points == 0 and "is not defined" in mark.remark
    with pytest.raises(own.OwnError, match="handed-in code can read it"):
        own.use(notebooks.BOOK.parent / "embag_edu" / "loops.py")


# -------------------------------------------------------------------------- the book's exercises

MORE = """
from embag_edu.course import Case
HIDDEN = {"01.offsets": lambda: [Case("one long bag", [7_000])]}
POINTS = {"07.axpy": 5, "07-why": 1, "03.my_bag": 7}
SEED = "another"
"""


def test_hidden_cases_points_and_seed_for_the_book(tmp_path):
    before, path = find("01.offsets"), tmp_path / "more.py"
    path.write_text(MORE, encoding="utf-8")
    own.use(path)
    after = find("01.offsets")
    assert [case.name for case in after.hidden()] == ["one long bag"] and not before.hidden()
    assert after.random_case(3).args != before.random_case(3).args
    assert len(exercises()) == len({each.name for each in exercises()})
    solved = notebooks.solved(next(p for p in notebooks.solutions() if p.name[:2] == "07"))
    texts = "\n".join(map(notebooks.source, solved["cells"]))
    assert "checks (26 points), and one question to be answered in words (1 point)" in texts
    assert "leaves y = `[12, 24]`. (5 points)" in texts
    assert sum(notebooks.marks(cell).get("points", 0) for cell in solved["cells"]) == 27
    (stages,) = release.models(notebooks.BOOK, ["03.my_bag"]).values()
    assert [each.points for each in assignments.questions(stages)] == [7]
    assert any("points)" in (text := notebooks.source(c)) and "(7 points)" in text
               for c in notebooks.student_copy(stages)["cells"])  # fmt: skip
    own.leave()
    assert find("01.offsets") is before


def test_a_student_has_the_hint_of_the_own_variant(tmp_path):
    """Of feedback: it once gave the book's, whose numbers may be others."""
    name = next(each.name for each in exercises() if each.vary and "#" not in each.name
                and find(f"{each.name}#1").hints[0] != each.hints[0])  # fmt: skip
    told = marking._with_hint(marking.Verdict("no", "no\n\nStuck? hint"), f"{name}#1")
    assert told == f"no\n\nA hint: {find(f'{name}#1').hints[0]}"
    full = [marking.Mark("s", "n", name, 0, 1, "no", told)]
    text = page("s", [Full(each) for each in full], 1)
    assert find(name).hints[0] not in text and text.count("A hint: ") == 1
