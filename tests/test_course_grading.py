"""Marks for handed-in notebooks: right ones, broken ones, and names, files and tables."""

import copy
import csv
import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from embag_edu.course import (
    Case,
    Exercise,
    ExerciseFailed,
    box,
    by_hand,
    check,
    command,
    exercises,
    frozen,
    grading,
    hand_ins,
    marking,
    marks,
    notebooks,
    outside,
    release,
)  # fmt: skip
from embag_edu.course.kernel_exercise import KernelTask
from embag_edu.course.launches import RemoteKernel

pytest.importorskip("IPython", reason="IPython runs the cells of the notebooks that are marked")

# -------------------------------------------------------------------------- a small book


def cell(id, text, kind="code", **nbgrader):
    given = {"schema_version": 3, "grade_id": id, "task": False, "locked": False}
    given |= {"solution": False, "grade": False} | nbgrader
    made = {"cell_type": kind, "id": id, "source": text}
    made["metadata"] = {"nbgrader": given} if nbgrader else {}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


PREDICT = "### BEGIN SOLUTION\nmy_offsets = [0, 2, 2, 5]\n### END SOLUTION"
OFFSETS = """\
def offsets(lengths):
    ### BEGIN SOLUTION
    return [sum(lengths[:bag]) for bag in range(len(lengths))]
    ### END SOLUTION"""
WHY = "<!-- ### BEGIN SOLUTION -->\nBecause.\n<!-- ### END SOLUTION -->"
SOLVED = {
    "cells": [
        cell("title", "# Bags", "markdown"),
        cell("imports", "from embag_edu.course import check"),
        cell("my-offsets", PREDICT, solution=True),
        cell("predict", 'check("01.predict", my_offsets)', grade=True, locked=True, points=1),
        cell("answer", OFFSETS, solution=True),
        cell("offsets", 'check("01.offsets", offsets)', grade=True, locked=True, points=2),
        cell("why", WHY, "markdown", solution=True, grade=True, points=3),
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
STUB = notebooks.student_copy(SOLVED)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    write(folder / "solutions" / "01_bags.ipynb", SOLVED)
    return folder


def write(path, notebook):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def handed_in(notebook=SOLVED, before=(), after=(), **sources):
    """The solved notebook with other texts in some cells, and further cells around."""
    made = copy.deepcopy(notebook)
    for one in made["cells"]:
        one["source"] = sources.get(one["id"].replace("-", "_"), one["source"])
    more = [
        [cell(f"more-{at}", text) for at, text in enumerate(texts)] for texts in (before, after)
    ]
    made["cells"] = [*more[0], *made["cells"], *more[1]]
    return made


def plain(notebook):
    """As an editor saves it that knows neither ids nor metadata."""
    cells = [{"cell_type": c["cell_type"], "source": c["source"]} for c in notebook["cells"]]
    return {**notebook, "cells": cells}


# -------------------------------------------------------------------------- what is marked

RAISES = "raise SystemError"
ENDLESS = "while True:\n    try:\n        while True: sum(range(1000))\n    except: pass"
JUNK = """
import os
for number in range(3, 64):
    try: os.write(number, b'{"value": []}\\n')
    except OSError: pass
"""
NAMELESS = """
class Odd(Exception):
    def __str__(self): raise RuntimeError
Odd.__name__ = ""
def offsets(lengths): raise Odd
"""
CHECKS = [SOLVED["cells"][3], SOLVED["cells"][5]]
NOT_REACHED = "not reached"
# What was handed in: points for 01.predict and 01.offsets (None: to be read, for `why`), remarks.
HANDED_IN = {
    "right": (SOLVED, 1, 2, None, ("", "", "to be read")),
    "as handed out": (STUB, 0, 0, 0, ("not done yet", "not done yet", "nothing was written")),
    "wrong": (handed_in(answer="def offsets(lengths): return lengths"), 1, 0, None,
              ("", "01.offsets: not right yet")),
    "an edited check, and a check of their own": (
        handed_in(answer="def check(name, mine): pass\noffsets = 5", offsets="pass"), 1, 0, None,
        ("", "wants your function")),
    "checks deleted": ({**SOLVED, "cells": [c for c in SOLVED["cells"] if c not in CHECKS]},
                       1, 2, None, ()),
    "a check above its answer": (handed_in(before=[c["source"] for c in CHECKS]), 1, 2, None, ()),
    "neither ids nor metadata": (plain(SOLVED), 1, 2, None, ()),
    "the text elsewhere": (handed_in(STUB, title="# Bags\nBecause!"), 0, 0, None, ()),
    "a syntax error": (handed_in(answer="\ndef offsets(a b):\n  pass"), 1, 0, None,
                       ("", "in line 2 of the cell: def offsets(a b):")),
    "an error without a name": (handed_in(answer=NAMELESS), 1, 0, None, ("", "not right yet")),
    "odd cells around": (
        handed_in(before=["x = '\ud800'", RAISES], after=["del offsets", RAISES]), 1, 2, None, ()),
    "endless": (handed_in(answer="while True: pass"), 1, 0, None, ("", "TimeoutError: over 2 s")),
    "endless in a check": (handed_in(answer="def offsets(lengths):\n  while True: pass"), 1, 0,
                           None, ("", "not right yet")),
    # From here on the process does not stop by itself: what follows is not reached.
    "deaf": (handed_in(before=["sum(range(10**12))"]), 0, 0, None, (NOT_REACHED, NOT_REACHED)),
    "endless, and nothing stops it": (handed_in(imports=ENDLESS), 0, 0, None, (NOT_REACHED,) * 2),
    "killed in a check": (
        handed_in(answer="import os\ndef offsets(lengths): os.kill(os.getpid(), 9)"), 1, 0, None,
        ("", "no answer: its process ended")),
    "a segmentation fault": (handed_in(before=["import ctypes; ctypes.string_at(0)"]), 0, 0, None,
                             (NOT_REACHED, NOT_REACHED)),
    "forged messages": (handed_in(before=[JUNK]), 0, 0, None, ()),
}  # fmt: skip


@pytest.fixture
def seconds(name, monkeypatch):
    """For a cell: few where it will not end, and half of one to stop in."""
    monkeypatch.setattr(outside, "GRACE", 0.5)
    return 2 if "endless" in name or "deaf" in name else 60


@pytest.mark.parametrize("name", HANDED_IN)
def test_marks(name, book, seconds, tmp_path):
    notebook, *points, remarks = HANDED_IN[name]
    path = write(tmp_path / "hand_in.ipynb", notebook)
    found = grading.grade([path], book, seconds=seconds)
    assert [(m.exercise, m.out_of) for m in found] == [
        ("01.predict", 1), ("01.offsets", 2), ("why", 3),
    ]  # fmt: skip
    assert [m.points for m in found] == points
    assert {(m.student, m.notebook) for m in found} == {("hand_in", str(path))}
    for mark, remark in zip(found, remarks, strict=False):
        assert remark in mark.remark and bool(mark.remark) == bool(remark)


def test_an_answer_earns_for_the_parts_that_are_right(book, tmp_path, monkeypatch):
    def judge(mine):
        raise ExerciseFailed("01.offsets: 2 of 3 parts hold.", share=2 / 3)

    parts = dataclasses.replace(marking.find("01.offsets"), judge=judge)
    known = marking.find
    monkeypatch.setattr(
        marking, "find", lambda name: parts if name == "01.offsets" else known(name)
    )
    found = grading.grade([write(tmp_path / "hand_in.ipynb", SOLVED)], book)
    assert [mark.points for mark in found] == [1, 1.33, None]
    assert found[1].remark == "01.offsets: 2 of 3 parts hold."


def test_a_right_answer_that_warns_writes_nothing_to_stderr(capfd):
    def logarithm(x):
        with np.errstate(divide="ignore"):
            return np.log(x)

    cases = lambda: [Case("with a zero", np.array([0.0, 1.0]))]  # noqa: E731
    exercise = Exercise("01.log", "logarithms", logarithm, cases, hints=("a", "b", "c"))
    check(exercise, lambda x: np.log(x))
    judged = Exercise("01.log", "a judge", logarithm, hints=("a", "b", "c"),
                      judge=lambda mine: str(mine(np.zeros(1)) + np.inf)[:0])  # fmt: skip
    check(judged, lambda x: np.log(x))
    out, err = capfd.readouterr()
    assert err == ""
    assert out.count("Your answer warns: RuntimeWarning: divide by zero encountered in log") == 2


# -------------------------------------------------------------------------- verdicts outside


@pytest.fixture(scope="module")
def kernels():
    """A box for functions and one for CUDA source."""
    made = [outside.Kernel(box.Box()) for _ in range(2)]
    with made[0].within(60):
        made[0].run("from embag_edu.course.exercise import find")
    yield made
    for kernel in made:
        kernel.box.close()


def said(verdict, *args):
    """What an answer is told, '' where it passes. Lines of source cannot be shown from outside."""
    try:
        verdict(*args)
    except ExerciseFailed as failed:
        return [line for line in str(failed).splitlines() if "in your line: " not in line]
    return []


def from_outside(exercise, expression, kernels):
    """The verdict on an answer that lives in a box."""
    functions, sources = kernels
    with functions.within(100), sources.within(100):
        mine = functions.value(expression)
        if isinstance(exercise.judge, KernelTask):
            judge = partial(exercise.judge, kernel=partial(RemoteKernel, sources.launch))
            exercise = dataclasses.replace(exercise, judge=judge)
            mine = mine() if callable(mine) else mine
        return said(marking._check, exercise, mine)


# What goes over: lists, types, callables both ways, a ctx, tensors, tensors on "meta", CUDA source.
SAMPLE = "01.offsets 02.refusals 03.slope 04.break_it 12.asked 12.saved 12.fake 07.repair_bounds"
EACH = [pytest.param(e, id=e.name, marks=[] if e.name in SAMPLE else [pytest.mark.adversary])
        for e in exercises()]  # fmt: skip


@pytest.mark.parametrize("exercise", EACH)
def test_the_verdict_from_outside_is_that_of_check(exercise, kernels, capsys):
    wrong = range(len(exercise.wrong))
    answers = {f"wrong[{at}].function": exercise.wrong[at].function for at in wrong}
    for name, mine in {"reference": exercise.reference, **answers}.items():
        there = from_outside(exercise, f"find({exercise.name!r}).{name}", kernels)
        here = said(check, exercise, mine)
        if exercise.name == "13.auc":  # tells bytes, which are not always the same
            there, here = bool(there), bool(here)
        assert there == here, name


@pytest.mark.parametrize("line", ["print('x' * 10**6)", "display('x' * 10**6)"])
def test_what_a_notebook_prints_takes_no_memory(line, kernels):
    """Else an endless loop of it ends the box for its memory, before an answer is reached."""
    pytest.importorskip("resource", reason="Windows does not tell a process's peak")
    unit = 1 if sys.platform == "darwin" else 1024
    with kernels[0].within(60):
        kernels[0].run("import os, resource\nused = resource.getrusage(0).ru_maxrss")
        kernels[0].run(f"from IPython.display import display\nfor _ in range(300): {line}")
        assert kernels[0].value("resource.getrusage(0).ru_maxrss - used") * unit < 10**8


# -------------------------------------------------------------------------- a machine at fault


def test_where_no_box_starts_nobody_has_no_points(book, tmp_path, monkeypatch):
    """It is not marked: that is no answer's fault."""
    broken = {**os.environ, "PYTHONHOME": str(tmp_path)}
    monkeypatch.setattr(box, "_environment", lambda *_: broken)
    monkeypatch.setattr(box, "available", lambda: box.PLAIN)
    path = write(tmp_path / "alice.ipynb", SOLVED)
    (mark,) = grading.grade([path], book)
    assert mark.missing and mark.remark.startswith("not marked: its process did not start.")


def test_a_box_sees_packages_that_lie_elsewhere(tmp_path, monkeypatch):
    place = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(place)
    assert str(place) in box._apart(tmp_path, [])


# -------------------------------------------------------------------------- damaged files

DEEP = "[" * 200_000
DAMAGED = {
    "a list": ("[]", "no list of cells"),
    "null": ("null", "no list of cells"),
    "nothing": ("", "no notebook"),
    "brackets": (DEEP, "nested too deeply"),
    "deep inside": ('{"cells": ' + DEEP, "nested too deeply"),
    "bytes": (b"\xff\xfe\x00", "UTF-8"),
    "cells are a number": ('{"nbformat": 4, "cells": 5}', "no list of cells"),
    "format 3": ('{"nbformat": 3, "worksheets": []}', "no list of cells"),
    "a cell is text": ('{"cells": ["x"]}', "cell 1 is damaged"),
    "no cell_type": ('{"cells": [{"source": ""}]}', "cell 1 is damaged: it has no cell_type"),
    "source is 5": ('{"cells": [{"cell_type": "code", "source": 5}]}', "its source is no text"),
    "metadata is 5": (
        '{"cells": [{"cell_type": "code", "metadata": 5, "id": 5, "source": "x"}]}',
        "belongs to no notebook",
    ),
    "an infinite number": ('{"cells": [{"cell_type": 1e999}]}', "cell 1 is damaged"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_gets_a_row_and_the_batch_goes_on(name, book, tmp_path):
    text, said = DAMAGED[name]
    path = tmp_path / "damaged.ipynb"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = grading.grade([path, tmp_path / "missing.ipynb"], book)
    assert [(m.exercise, m.points, m.out_of, m.missing) for m in found] == [
        (marks.NOTHING, 0, 0, True)
    ] * 2
    assert found[0].remark.startswith("not marked: ") and said in found[0].remark
    assert "No such file" in found[1].remark


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "bom.ipynb"
    path.write_text(json.dumps(SOLVED), encoding="utf-8-sig")
    assert len(notebooks.read_handed_in(path)["cells"]) == 7


# -------------------------------------------------------------------------- files and names


def touch(folder, *names):
    for name in names:
        write(folder / name, STUB)
    return folder


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["alice/03.ipynb", "bob/03.ipynb"], ["alice", "bob"]),
        (["alice/hw1/03.ipynb", "bob/hw1/03.ipynb"], ["alice", "bob"]),
        (["hw1/alice/03.ipynb", "hw1/bob/03.ipynb"], ["alice", "bob"]),
        (["alice.ipynb", "bob.ipynb"], ["alice", "bob"]),
        (["alice/03.ipynb", "bob/03.ipynb", "carol.ipynb"], ["alice", "bob", "carol"]),
        (["alice/03.ipynb", "alice/.ipynb_checkpoints/03-checkpoint.ipynb"], ["03"]),
    ],
)
def test_names_come_from_files_or_folders(files, names, tmp_path):
    touch(tmp_path, *files)
    assert [each.student for each in hand_ins.found([tmp_path])] == names


def test_a_roster_names_students(tmp_path):
    touch(tmp_path, "4711/03.ipynb", "4712/03.ipynb", "x_4713.ipynb")
    roster = tmp_path / "roster.csv"
    roster.write_text("folder,student\n4711,Alice\n4712,Bob\nx_4713,Carol\n4714,Dan\n")
    named = hand_ins.read_roster(roster)
    found = hand_ins.found([tmp_path], named)
    assert [each.student for each in found] == ["Alice", "Bob", "Carol"]
    assert hand_ins.without_hand_in(found, named) == ["Dan"]
    roster.write_text("4711\n")
    with pytest.raises(ValueError, match="row 1.*two columns"):
        hand_ins.read_roster(roster)


def test_patterns_that_no_shell_has_expanded(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a.ipynb", "b.ipynb", "c/c.ipynb"))
    assert [each.student for each in hand_ins.found(["*.ipynb"])] == ["a", "b"]
    assert [each.student for each in hand_ins.found(["**/*.ipynb"])] == ["a", "b", "c"]


# -------------------------------------------------------------------------- tables

ODD_NAMES = {
    '=HYPERLINK("http://127.0.0.1")': '\'=HYPERLINK("http://127.0.0.1")',
    "+1": "'+1",
    "-1": "'-1",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'=1",
    "\x1b[31mred\x1b[0m\x07": "[31mred [0m",
    "a\u202eb\ud800c\r\nd": "a b c d",
    "Zoë, 李": "Zoë, 李",
}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_name_or_remark_is_a_formula_or_moves_the_cursor(name, tmp_path):
    mark = marks.Mark(name, name, "01.offsets", 0, 2, name)
    out = marks.CsvFile(tmp_path / "marks.csv")
    out.write([mark])
    rows = list(csv.reader(open(tmp_path / "marks.csv", encoding="utf-8", newline="")))
    assert rows[0] == ["student", "notebook", "exercise", "points", "out_of", "remark", "told"]
    wanted = ODD_NAMES[name]
    assert rows[1] == [wanted, wanted, "01.offsets", "0", "2", wanted, ""]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", marks.table([mark]))


def test_what_check_told_comes_back_line_by_line(tmp_path):
    told = "01.offsets: not right yet.\n\ncalled with\n    lengths = [1]\n=1\x1b[0m"
    given = [marks.Mark("a", "a.ipynb", "01.offsets", 0, 2, "=1", told),
             marks.Mark("b", "b.ipynb", "why", None, 2, "to be read")]  # fmt: skip
    marks.CsvFile(tmp_path / "marks.csv").write(given)
    back = marks.read_marks(tmp_path / "marks.csv")
    assert back == [dataclasses.replace(given[0], told=told.replace("\x1b", " ")), given[1]]


def test_two_notebooks_of_one_name_are_added_up_apart():
    found = [marks.Mark(who, f"{who}/03.ipynb", "03.slope", points, 2)
             for who, points in (("alice", 2), ("bob", 0))]  # fmt: skip
    found.append(marks.Mark("bob", "bob/03.ipynb", "03-why", None, 3, "to be read"))
    shown = marks.table(found)
    assert re.search(r"alice +alice/03.ipynb +total +2 / 2\n", shown)
    assert re.search(r"bob +bob/03.ipynb +total +0 / 5 +3 to be read$", shown)


# -------------------------------------------------------------------------- the command


def test_the_command_writes_rows_as_they_come_and_says_what_was_not_marked(
    book, tmp_path, monkeypatch, capsys
):
    """One process for each: one that is ended by its notebook ends nothing else."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "-bad.ipynb", [])
    kills = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"
    write(tmp_path / "all" / "kills.ipynb", handed_in(before=[kills]))
    write(tmp_path / "all" / "right.ipynb", SOLVED)
    words = ["-bad.ipynb", "all", "--csv", "marks.csv", "--book", str(book)]
    assert grading.main(words) == 1
    said = capsys.readouterr()
    assert "2 of 3: " in said.err and "3 of 3: all/right.ipynb: 3 of 6" in said.err
    rows = list(csv.reader(open("marks.csv", encoding="utf-8", newline="")))
    assert [row[:5] for row in rows if row[0] == "right"] == [
        ["right", "all/right.ipynb", "01.predict", "1", "1"],
        ["right", "all/right.ipynb", "01.offsets", "2", "2"],
        ["right", "all/right.ipynb", "why", "", "3"],
    ]
    assert rows[1][0] == "'-bad" and "not marked" in rows[1][5]
    assert "right" in said.out
    assert grading.main([*words, "--resume"]) == 1
    said = capsys.readouterr().err
    assert "right.ipynb" not in said and "-bad.ipynb" in said
    again = list(csv.reader(open("marks.csv", encoding="utf-8", newline="")))
    assert sorted(again) == sorted(rows)
    assert grading.main(["all/right.ipynb", "--book", str(book)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.ipynb", "--book", "nowhere"], "no notebook in nowhere"),
        (["x.ipynb", "--csv", "nowhere/marks.csv"], "Not started: "),
        (["x.ipynb", "--roster", "nowhere.csv"], "Not started: "),
        (["x.ipynb", "--csv", "roster.csv", "--resume"], "the column notebook, exercise"),
    ],
)
def test_wrong_calls_of_the_command(words, said, book, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("roster.csv").write_text("folder,student\n", encoding="utf-8")
    words = words if "--book" in words else [*words, "--book", str(book)]
    assert grading.main(words) == 2
    assert said in capsys.readouterr().err


def test_marks_by_what_was_handed_out(tmp_path, monkeypatch, capsys):
    """A release of one question: the others do not count."""
    monkeypatch.setattr(release, "refuse_solutions", lambda *_: None)  # which knows all chapters
    title, *cells = SOLVED["cells"]
    heads = [cell("one", "## Predict", "markdown"), cell("two", "## Offsets", "markdown")]
    cells = [title, cells[0], heads[0], *cells[1:3], heads[1], *cells[3:5]]
    write(tmp_path / "book" / "solutions" / "01_bags.ipynb", {**SOLVED, "cells": cells})
    out, right = tmp_path / "out", write(tmp_path / "right.ipynb", SOLVED)
    words = ["release", str(out), "--exercises", "01.offsets", "--book", str(tmp_path / "book")]
    assert command.main(words) == 0
    capsys.readouterr()
    assert grading.main([str(right), "--release", str(out)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"total +2 / 2", shown) and "01.predict" not in shown
    assert grading.main([str(right), "--release", str(tmp_path)]) == 2
    assert "no release" in capsys.readouterr().err


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """A release by a package in which offsets began at 1, and its copy beside it."""
    monkeypatch.setattr(release, "refuse_solutions", lambda *_: None)  # which knows all chapters
    write(tmp_path / "book" / "solutions" / "01_bags.ipynb", SOLVED)
    files, name = frozen.package(), "embag_edu/chapters/ch01/exercises.py"
    old, new = b"starts, position = [], 0", b"starts, position = [], 1"
    assert files[name].count(old) == 1
    files[name] = files[name].replace(old, new)
    made = release.made(tmp_path / "book", [])
    record = json.loads(made[release.RECORD]) | {"package": frozen.digest(files)}
    made[release.RECORD] = json.dumps(record).encode()
    release.write(made, tmp_path / "week1.zip")
    frozen.write(files, tmp_path / "week1.frozen.zip")
    return tmp_path / "week1.zip"


def test_a_term_is_stable(changed, tmp_path, capfd):
    """The check of the hand-out counts; what a newer one changes is named, and set by hand."""
    at_one = "def offsets(lengths):\n    return [1 + sum(lengths[:b]) for b in range(len(lengths))]"
    write(tmp_path / "in" / "ann.ipynb", handed_in(answer=at_one))
    write(tmp_path / "in" / "bob.ipynb", SOLVED)
    out, hand = tmp_path / "marks.csv", tmp_path / "hand.csv"
    words = [str(tmp_path / "in"), "--release", str(changed), "--csv", str(out), "--jobs", "2"]
    assert grading.main(words) == 0
    points = {m.student: m.points for m in marks.read_marks(out) if m.exercise == "01.offsets"}
    assert points == {"ann": 2, "bob": 0}
    said = capfd.readouterr().out.partition(grading.CHANGED)[2].splitlines()[2:]
    said = [line for line in said if "01.offsets" in line]  # 01.predict goes by its reference
    assert [re.split(r"\s{2,}", line)[:4] for line in said] == [
        ["ann", "01.offsets", "2 of 2", "0"], ["bob", "01.offsets", "0 of 2", "2"],
    ]  # fmt: skip
    assert command.main(["by-hand", str(out), str(hand)]) == 0
    with open(hand, "a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["bob", "", "01.offsets", "2", "", "2", "By today's check."])
    full = {f.mark.student: f for f in by_hand.gathered([out], hand) if f.mark.out_of == 2}
    assert full["bob"].mark.points == 2 and full["bob"].comment == "By today's check."
    assert full["ann"].mark.points == 2


@pytest.mark.parametrize("what", ["missing", "another", "no zip"])
def test_nothing_is_marked_by_another_package_than_that_of_the_release(what, changed, capsys):
    copy = frozen.beside(changed)
    copy.unlink()
    if what == "another":
        frozen.write({"embag_edu/__init__.py": b""}, copy)
    elif what == "no zip":
        copy.write_bytes(b"PK")
    assert grading.main(["x.ipynb", "--release", str(changed)]) == 2
    said = capsys.readouterr().err
    assert "is not the copy" in said if what == "another" else "Put week1.frozen.zip back" in said


def test_a_copy_that_is_not_the_package_starts_no_other(changed, monkeypatch, capsys):
    """It once did: 500 processes, each the child of the one before."""
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: pytest.fail("one more is started"))
    assert grading.main(["x.ipynb", "--release", str(changed), frozen.COPY]) == 2
    assert "the copy of the package was not started" in capsys.readouterr().err


def test_course_grade_is_the_same_command(capsys):
    assert command.main([]) == 2 and "marks for notebooks" in capsys.readouterr().out
    assert command.main(["grade", "x.ipynb", "--book", "nowhere"]) == 2
    assert "no notebook in nowhere" in capsys.readouterr().err


def test_the_wheel_holds_the_book(monkeypatch, tmp_path):
    pytest.importorskip("setuptools", reason="setuptools makes the wheel")
    root = Path(__file__).parents[1]
    backend = importlib.util.spec_from_file_location("backend", root / ".ci" / "backend.py")
    made = importlib.util.module_from_spec(backend)
    backend.loader.exec_module(made)
    touch(tmp_path, "book/solutions/01_bags.ipynb", "book/01_bags.ipynb", "embag_edu/x.ipynb")
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(made.build_meta, "build_wheel",
                        lambda *_: seen.extend(Path("embag_edu").rglob("*.ipynb")))  # fmt: skip
    made.build_wheel(".")
    assert {str(path.relative_to("embag_edu")) for path in seen} == {
        "x.ipynb", "_book/01_bags.ipynb", "_book/solutions/01_bags.ipynb",
    }  # fmt: skip
    assert not Path("embag_edu/_book").exists() and notebooks.BOOK == root / "book"


def test_help_says_what_protects(capsys):
    with pytest.raises(SystemExit):
        grading.main(["--help"])
    assert "virtual machine that holds nothing else" in " ".join(capsys.readouterr().out.split())
