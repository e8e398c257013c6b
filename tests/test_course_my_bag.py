"""my_bag as an assignment: from a release to exported marks, clause by clause."""

import csv
import io
import json
import re
import zipfile
from functools import partial

import pytest
from my_bag_wrong import WRONG

from embag_edu.chapters.my_bag import checking, extras, files, handed_in
from embag_edu.chapters.my_bag.stages import STAGES, find
from embag_edu.course import (
    box,
    command,
    exercise,
    grading,
    hand_ins,
    marking,
    notebooks,
    packages,
    release,
    similar,
)
from embag_edu.course.exercise import ExerciseFailed, check

pytest.importorskip("IPython", reason="IPython runs the cells of the notebooks that are marked")

(PACKAGE,) = packages.packages()
names = [stage.name for stage in STAGES]
GROUPS = json.loads(checking.GROUPS.read_text(encoding="utf-8"))


def texts(stage, *edits):
    """The model's files as they are when a stage is done, with these edits: (file, old, new)."""
    found = {name: files.text_at(name, stage) for name in files.names()}
    for file, old, new in edits:
        assert found[file].count(old) == 1
        found[file] = found[file].replace(old, new)
    return found


def asked(*stages):
    """What is handed out: these stages."""
    wanted = [f"{stage}.my_bag" for stage in stages]
    return notebooks.student_copy(release.chosen(PACKAGE.notebook(), wanted))


def marked(given, *stages, **options):
    """The marks of a hand-in, by exercise."""
    submitted = notebooks.parsed(notebooks.written(PACKAGE.packed(given)).encode())
    job = marking.Job("ann", "ann/my_bag.ipynb", submitted, asked(*stages),
                      protection=box.available(), **options)  # fmt: skip
    return {mark.exercise[:2]: mark for mark in marking.mark(job)}


# -------------------------------------------------------------------------- what is earned


def test_the_model_earns_all_and_stubs_nothing():
    marks = marked(texts("01"), "01", "02")
    assert [(m.points, m.out_of) for m in marks.values()] == [(12, 12), (0, 13)]
    assert marks["01"].remark == ""
    assert marks["02"].remark == "02.my_bag: 0 of 40 clauses hold, 40 can't be asked yet."


def share(held, of):
    return round(12 * held / of, 2)


def test_a_mistake_costs_its_clauses_and_is_told():
    """The row of the table: an empty bag divides 0 by 0."""
    edit = WRONG["01"][5]
    mark = marked(texts("01", edit[:3]), "01")["01"]
    assert edit.clause in mark.told and edit.tells in mark.told
    held = int(mark.remark.split()[1])
    assert 10 < held < 23 and mark.points == share(held, 23)
    assert f"{held} of 23 clauses hold" in mark.remark
    (hold,) = [line for line in mark.told.splitlines() if line.startswith("Hold: ")]
    assert len(hold.split(", ")) == held and "forward.sum," in hold and edit.clause not in hold
    assert "replay((embedding_bag, backward)" in mark.told and "case: " in mark.told


HOSTILE = """
import embag_edu.check.candidate, embag_edu.check.checker, embag_edu.check.oracle
import embag_edu.chapters.my_bag.handed_in as ours
from embag_edu.check.report import HOLDS

embag_edu.check.checker.Trial._verdict = lambda *_: (HOLDS, "")
embag_edu.check.oracle.judge = embag_edu.check.checker.judge = lambda *_: ""
ours.outside = ours._results = ours._counts = lambda *_: ""
ours.complaint = lambda stage: ""
embag_edu.check.candidate.judge = lambda *_: ""
"""
NONSENSE = """
import numpy as np
import embag_edu.chapters.my_bag.handed_in as ours
ours._plain = lambda outcome: {"output": 1}
"""
MAX = """
    output = np.zeros((len(starts), table.shape[1]), table.dtype)
    for bag in range(len(starts)):
        for position in range(starts[bag], ends[bag]):
            row ="""
STUBS = texts(files.NOTHING)
LOST = {  # what a file does -> how many of 23 clauses still hold, and what is said
    "patches the checker": (
        STUBS | {"loops.py": STUBS["loops.py"] + HOSTILE}, 0, "23 can't be asked yet"),
    "hangs in mode max": (
        texts("01", ("loops.py", MAX, "\n    while True: pass" + MAX)), 9, "did not return"),
    "ends the process at a NaN": (
        texts("01", ("loops.py", "            output[bag] += table[indices[position]]\n",
                     "            output[bag] += table[indices[position]]\n"
                     "            if np.isnan(table).any(): __import__('os')._exit(0)\n")),
        21, "gave no answer: its process ended"),
    "says nonsense": (
        texts("01", ("loops.py", "\nimport numpy as np\n", NONSENSE)),
        0, "said what cannot be understood"),
    "ends the process when it is imported": (
        STUBS | {"loops.py": STUBS["loops.py"] + "\n__import__('os')._exit(0)\n"}, 0,
        "it can't be run"),
    "is no Python": (STUBS | {"loops.py": "def (:"}, 0, "it can't be run"),
    "is not there": ({"steps.py": STUBS["steps.py"]}, 0,
                     "loops.py is missing. Handed in was only steps.py."),
    "nothing is": ({}, 0, "loops.py is missing. Handed in was no file of it."),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_what_a_hand_in_cannot_gain_and_need_not_lose(name, monkeypatch):
    given, held, said = LOST[name]
    monkeypatch.setattr(checking, "LIMIT", 1.0)
    monkeypatch.setattr(handed_in, "LATER", 0.3)
    mark = marked(given, "01")["01"]
    assert (mark.points, mark.out_of) == (share(held, 23), 12)
    assert said in mark.told + mark.remark


# -------------------------------------------------------------------------- the whole way


def zipped(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, text in entries.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 10, 1, 12, 0, 0)), text)
    return out.getvalue()


def download(folder, original):
    """What students hand in: a zipped folder, single files twice, and the notebook alone."""
    edit = WRONG["01"][5]
    right, wrong = texts("01")["loops.py"], texts("01", edit[:3])["loops.py"]
    more = {"my_bag/__pycache__/loops.cpython-311.pyc": "?", "my_bag/checked.json": "{}",
            "my_bag_before_02/loops.py": "raise SystemExit"}  # fmt: skip
    steps = "\ufeff" + texts("01")["steps.py"]
    folder_of = {"my_bag/loops.py": right.replace("\n", "\r\n"), "my_bag/steps.py": steps}
    files_of = {
        "Ann Lee_11_assignsubmission_file_/work.zip": zipped(folder_of | more),
        "bo_12_34_loops.py": right.encode(),
        "bo_LATE_12_35_loops-1.py": wrong.encode(),
        "Cy Fox_13_assignsubmission_file_/my_bag.ipynb": notebooks.written(original).encode(),
        "Di Orr_14_assignsubmission_file_/loops.py": b"\xff",
        "Di Orr_14_assignsubmission_file_/steps.py": b"",
    }
    for name, data in files_of.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def course(*words, status=0):
    assert command.main([str(word) for word in words]) == status, words


def rows(path):
    return list(csv.DictReader(open(path, newline="", encoding="utf-8-sig")))


def test_from_release_to_export(tmp_path, capsys):
    out, came, sorted_, table = (tmp_path / n for n in ("hw.zip", "came", "in", "marks.csv"))
    course("release", out, "--exercises", "01.my_bag")
    (original,) = release.originals(out)
    assert [cell["id"] for cell in original["cells"]][2:] == [
        "my_bag-01-text", "my_bag-01", "my_bag-01-hint",
    ]  # fmt: skip
    download(came, original)
    course("collect", came, sorted_, "--release", out, status=1)
    said = capsys.readouterr().out
    assert "4 notebooks of 4 students" in said and "not text in UTF-8" in said
    assert "checked.json" not in said and "before_02" not in said and "pyc" not in said
    became = {row["came_as"]: row["became"] for row in rows(sorted_ / "collected.csv")}
    assert became["bo_12_34_loops.py"] == "older" and len(became) == 9
    in_this_process(sorted_, out, table)
    found = {row["student"]: row for row in rows(table)}
    points = {name: row["points"] for name, row in found.items()}
    assert points == {"Ann Lee": "12", "bo": found["bo"]["points"], "Cy Fox": "0", "Di Orr": "0"}
    assert 0 < float(points["bo"]) < 12 and "." in points["bo"]
    assert "loops.py is missing" in found["Cy Fox"]["remark"]
    course("feedback", table, tmp_path / "pages")
    page = (tmp_path / "pages" / "bo.html").read_text(encoding="utf-8")
    assert f"{points['bo']} of 12 points" in page and "01.my_bag: sum, mean and max" in page
    assert "Hold: forward.sum," in page and "0 / 0 = NaN in mode mean" in page
    course("export", table, "--to", "students", "--out", tmp_path / "students.csv")
    assert {row["student"]: row["points"] for row in rows(tmp_path / "students.csv")} == points
    course("export", table, "--to", "canvas", "--out", tmp_path / "canvas.csv", status=1)
    canvas = {row["Student"]: row["embag_edu"] for row in rows(tmp_path / "canvas.csv")}
    assert canvas == points | {"    Points Possible": "12"}


def in_this_process(folder, given, table):
    """As `course grade` does it, without a new Python for each notebook."""
    job = partial(marking.Job, protection=box.available())
    out, roster = grading.CsvFile(table), hand_ins.read_roster(folder / "roster.csv")
    for each in hand_ins.found([folder], roster):
        out.write(grading.marked(each, lambda _: release.originals(given), job, marking.mark))


def test_a_package_is_handed_out_only_by_its_name(tmp_path):
    assert all("my_bag" not in name for name in release.made(notebooks.BOOK, ["05.*"]))
    made = release.made(notebooks.BOOK, ["05.coalesce", "*.my_bag"])
    record = json.loads(made[release.RECORD])
    assert list(record["questions"])[1:] == [f"{name}.my_bag" for name in names]
    with pytest.raises(notebooks.ReleaseError, match=r"is called 06\.my_bag"):
        release.made(notebooks.BOOK, ["06.my_bag"])


def test_in_ones_own_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = exercise.find("01.my_bag")
    assert asked.points == 12 and asked.hints == find("01").hints
    with pytest.raises(ExerciseFailed, match="not started"):
        check("01.my_bag", "my_bag")
    files.write_model(tmp_path / "my_bag", "01", WRONG["01"][5][:3])
    with pytest.raises(ExerciseFailed, match="0 / 0 = NaN in mode mean"):
        check("01.my_bag", "my_bag")
    files.write_model(tmp_path / "my_bag", "01")
    check("01.my_bag", "my_bag")
    assert "01.my_bag: right." in capsys.readouterr().out


COPIED = """    found = np.zeros((len(starts), table.shape[1]), dtype=table.dtype)
    for number, (first, end) in enumerate(zip(starts, ends, strict=True)):
        rows = [table[indices[place]] for place in range(int(first), int(end))]
        found[number] = functools.reduce(np.add, rows) if len(rows) > 0 else found[number] * 0
    return found
"""


def test_files_that_are_alike(tmp_path):
    """A copy with other names, in Python; and what the model has, which is nobody's own."""
    own = {"ann": COPIED, "bo": re.sub(r"\b(found|number|rows|place)\b", r"\1_x", COPIED)}
    for name, body in (own | {"cy": "    return 0\n", "di": "    return 1\n"}).items():
        given = texts("03")
        (part,) = [p for p in files.parts("loops.py", given["loops.py"]) if p.name == "sum_of_bags"]
        lines = given["loops.py"].splitlines()
        lines[part.body : part.end] = body.splitlines()
        given["loops.py"] = "\n".join(lines)
        (tmp_path / name).mkdir()
        path = tmp_path / name / PACKAGE.file
        path.write_text(notebooks.written(PACKAGE.packed(given)), encoding="utf-8")
    (pair,) = similar.pairs(hand_ins.found([tmp_path]))
    assert (pair.question, pair.students) == ("my_bag/loops.py", ("ann", "bo"))
    assert pair.share == 1 and set(pair.lines[0]) <= set(range(part.body, part.end + 1))


def test_the_list_of_stages(capsys):
    course("list", "my_bag")
    lines = capsys.readouterr().out.splitlines()
    total = sum(each.points for each in PACKAGE.exercises())
    assert lines[1].split()[:2] == ["my_bag", str(total)] and len(lines) == 2 + len(names)


def test_what_a_stage_is_tried_with():
    """What was taken from the model does not count; what comes before it may be the model's."""
    own = texts("04")
    body = "    kept = np.flatnonzero"
    own["vectorized.py"] = own["vectorized.py"].replace(body, f"    # {files.NOT_OWN}\n{body}")
    ready = handed_in.as_asked({"vectorized.py": own["vectorized.py"], "mine.py": "x"}, find("04"))
    assert ready["loops.py"] == files.text_at("loops.py", "03") and ready["mine.py"] == "x"
    assert 'raise NotSupported("stage 04: drop_padding")' in ready["vectorized.py"]
    assert ready["vectorized.py"].count("stage 04:") == 1
    ready = handed_in.as_asked(texts("11"), find("11"))
    assert 'raise NotSupported("stage 11: grad_with_atomics")' in ready["cuda.py"]


# -------------------------------------------------------------------------- the whole table

ROWS = [(stage, row) for stage, edits in WRONG.items() for row in range(len(edits))]


def by_the_check(given, stage, tmp_path):
    """The share that `check_my_bag` gives, and what else it complains of, in a process apart."""
    place = tmp_path / files.FOLDER
    place.mkdir()
    for name, text in handed_in.as_asked(given, find(stage)).items():
        (place / name).write_text(text, encoding="utf-8")
    results = checking.run(find(stage), place)
    held = sum(result.held for result in results)
    try:
        wrong = extras.of(stage, place) if held else ""
    except Exception:
        wrong = ""
    return held / len(results) * (0.5 if wrong else 1), wrong


@pytest.mark.parametrize(
    ("stage", "row"),
    [row if row == ("04", 14) else pytest.param(*row, marks=pytest.mark.adversary) for row in ROWS],
)
def test_a_wrong_version_earns_what_its_clauses_say(stage, row, tmp_path):
    edit = WRONG[stage][row]
    given = texts(stage, edit[:3])
    expected, wrong = by_the_check(given, stage, tmp_path)
    mark = marked(given, stage)[stage]
    print(f"\n{stage} {row}: {mark.points} of {mark.out_of}. {mark.remark}")
    assert mark.points == pytest.approx(round(mark.out_of * expected, 2)) and expected < 1
    assert bool(wrong) == ("half of the points" in mark.remark)
    assert wrong.partition("\n")[0] in mark.told  # below it, random numbers may follow


@pytest.mark.adversary
@pytest.mark.parametrize("stage", names)
def test_the_model_of_each_stage_earns_all_of_it_and_the_stage_before_nothing(stage):
    (mark,) = marked(texts(stage), stage).values()
    assert (mark.points, mark.remark) == (mark.out_of, "")
    (mark,) = marked(texts(f"{int(stage) - 1:02d}"), stage).values()
    assert (mark.points, mark.told.count("Hold: ")) == (0, 0)
