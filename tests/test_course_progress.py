"""What a reader has passed is kept in the copy of the reader, nowhere else; and how it is shown."""

import json
import shutil
import subprocess
import sys
import textwrap

import pytest

from embag_edu.course import check, exercises, notebooks, progress, workbook
from embag_edu.course.progress import NOT_A_COPY, PASSED, Row, main, passed, source_of, tasks

room = sys.modules["embag_edu.course.progress"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A reader's copy of two chapters, and the folder of the notebook that the reader has open."""
    room.exercises.import_chapters()
    monkeypatch.setattr(room, "_sources", room._sources[:1])  # the exercises alone
    copy = tmp_path / "my_book"
    for folder in ("solutions", "exercises"):
        (copy / folder).mkdir(parents=True)
        for path in (notebooks.BOOK / folder).glob("0[01]_*.ipynb"):
            shutil.copy(path, copy / folder)
    shutil.copytree(copy, tmp_path / "book")
    monkeypatch.setattr(notebooks, "BOOK", tmp_path / "book")
    (copy / workbook.RECORD).write_text("{}", encoding="utf-8")
    monkeypatch.delenv("EMBAG_BOOK", raising=False)
    monkeypatch.chdir(copy / "exercises")
    return copy


def kept(home):
    files = sorted((home / PASSED).glob("*")) if (home / PASSED).exists() else []
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def offsets(lengths):
    starts, position = [], 0
    for length in lengths:
        starts, position = [*starts, position], position + length
    return starts


# ---- What is kept ----


def test_an_answer_that_passes_is_kept_with_its_text(home, capsys):
    check("01.offsets", offsets)
    check("01.offsets", offsets)
    (only,) = kept(home)
    assert only["exercise"] == "01.offsets" and only["answer"].startswith("def offsets(lengths):")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("01.offsets: right.") and len(printed) == 4
    assert printed[1].startswith(
        "The model answer: solutions/01_bags.ipynb, 2. From lengths to off"
    )
    assert "It notes the position first" in printed[1]


def test_another_answer_is_kept_beside_it(home):
    check("01.predict", [0, 2, 2, 5])
    check("01.predict", (0, 2, 2, 5))
    assert [one["answer"] for one in kept(home)].count("[0, 2, 2, 5]") == 1
    assert len(kept(home)) == 2 and list(passed(home)) == ["01.predict"]


def test_a_wrong_answer_is_not_kept(home):
    with pytest.raises(AssertionError):
        check("01.predict", [0, 2, 2])
    assert kept(home) == []


def test_outside_of_a_copy_nothing_is_kept_and_nothing_more_is_said(home, monkeypatch, capsys):
    monkeypatch.chdir(home.parent)
    check("01.offsets", offsets)
    assert kept(home) == [] and len(capsys.readouterr().out.splitlines()) == 1
    monkeypatch.setenv("EMBAG_BOOK", str(home))
    check("01.offsets", offsets)
    assert len(kept(home)) == 1


def test_running_the_model_answers_is_no_pass(home, monkeypatch, capsys):
    monkeypatch.chdir(home / "solutions")
    check("01.offsets", offsets)
    assert kept(home) == [] and len(capsys.readouterr().out.splitlines()) == 1


def test_running_a_chapter_is_no_pass(home, monkeypatch, capsys):
    """Chapter 00 shows what a check says to a right answer. Nobody has answered there."""
    monkeypatch.chdir(home)
    check("01.offsets", offsets)
    assert kept(home) == [] and len(capsys.readouterr().out.splitlines()) == 1


def test_a_pass_stays_a_pass_where_nothing_can_be_kept(home, monkeypatch, capsys):
    (home / PASSED).touch()  # a file, where the folder should be
    check("01.offsets", offsets)
    assert "could not be kept" in capsys.readouterr().out and passed(home) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"exercise": "01.predict"}', "\xff"])
def test_a_file_that_cannot_be_read_counts_for_nothing(home, text):
    check("01.offsets", offsets)
    (home / PASSED / "broken.json").write_bytes(text.encode("latin-1"))
    assert list(passed(home)) == ["01.offsets"]


def test_several_kernels_at_once(home):
    code = "from embag_edu.course import check\nfor i in range(20): check('01.predict', {} * 1)"
    answers = ["[0, 2, 2, 5]", "(0, 2, 2, 5)", "[0, 2, 2, 5.0]"]
    command = [sys.executable, "-c"]
    kernels = [
        subprocess.Popen([*command, code.format(a)], stdout=subprocess.DEVNULL) for a in answers
    ]
    assert [kernel.wait(timeout=120) for kernel in kernels] == [0, 0, 0]
    assert sorted(one["answer"] for one in kept(home)) == sorted(answers)
    assert not list((home / PASSED).glob(".*"))


# ---- The text of an answer ----


def test_the_text_of_an_answer():
    assert source_of("__global__ void f()") == "__global__ void f()"
    assert source_of([1, 2]) == "[1, 2]"
    assert source_of(lambda x: x).startswith("assert source_of(lambda x: x)")

    def inner():
        return 1

    assert source_of(inner) == "def inner():\n    return 1\n"
    assert source_of(len) == "<built-in function len>"


def test_the_text_of_an_answer_in_a_notebook(home):
    code = """
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    shell.run_cell("from embag_edu.course.progress import source_of", store_history=True)
    shell.run_cell("def mine(x):\\n    return x + 1", store_history=True)
    shell.run_cell("class Mine:\\n    answer = 42", store_history=True)
    shell.run_cell("print(source_of(mine), source_of(Mine))", store_history=True)
    shell.run_cell("from embag_edu.course import check")
    shell.run_cell("check('01.predict', [0, 2, 2, 5])")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert "return x + 1" in done.stdout and "answer = 42" in done.stdout, done.stderr
    assert "The model answer: solutions/01_bags.ipynb" in done.stdout


# ---- What is shown ----


def test_how_far_a_reader_is(home):
    check("00.first_mean", lambda ids, weight: weight[ids].mean(axis=0))
    check("01.offsets", offsets)
    assert repr(progress()) == textwrap.dedent("""\
        chapter     exercises
        00       done: 1 of 1
        01             1 of 6
        all            2 of 7
        Next: exercise 1. Predict the offsets, in exercises/01_bags.ipynb""")


def test_the_next_exercise_is_in_the_chapter_of_the_last_pass(home):
    check("01.predict", [0, 2, 2, 5])
    (row,) = progress().next()
    assert row.next == "exercise 2. From lengths to offsets"
    for task in tasks():
        if task.chapter == "01":
            answer = {"exercise": task.name, "answer": "", "when": "2100"}
            (home / PASSED / f"{task.name}.json").write_text(json.dumps(answer), encoding="utf-8")
    (row,) = progress().next()
    assert row.chapter == "00", "what was left out before comes last"


def test_in_a_notebook_the_next_exercise_is_a_link(home, monkeypatch):
    assert 'href="00_start_here.ipynb"' in progress()._repr_html_()
    monkeypatch.chdir(home)
    assert 'href="exercises/00_start_here.ipynb"' in progress()._repr_html_()


def test_outside_of_a_copy_it_says_how_to_come_by_one(home, monkeypatch):
    monkeypatch.chdir(home.parent)
    shown = progress()
    assert NOT_A_COPY in repr(shown) and "run.py book" in shown._repr_html_()
    assert {row.done for row in shown.rows} == {0}


def test_other_steps_can_be_shown_beside_the_exercises(home, monkeypatch):
    def stages(copy):
        assert copy == home
        return [Row("01", "my_bag", 3, 9, "my_bag, stage 01", "my_bag.py")]

    monkeypatch.setattr(room, "_sources", [*room._sources, stages])
    lines = repr(progress()).splitlines()
    assert lines[0].split() == ["chapter", "exercises", "my_bag"]
    assert lines[2].split() == ["01", "0", "of", "6", "3", "of", "9"]
    assert lines[-1] == "Next: my_bag, stage 01, in my_bag.py"


def test_the_command(home, monkeypatch, capsys):
    assert main([]) == 0 and "0 of 7" in capsys.readouterr().out
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("EMBAG_BOOK", str(home))
    assert main([]) == 0 and "0 of 7" in capsys.readouterr().out
    assert main(["what"]) == 2 and main(["--help"]) == 0


# ---- The book ----


def test_every_exercise_has_its_place_in_a_notebook():
    assert sorted(task.name for task in tasks()) == sorted(e.name for e in exercises())
    assert all(task.title[0].isdigit() for task in tasks())


@pytest.mark.parametrize("chapter", range(7))
def test_after_a_pass_there_is_a_sentence_on_the_model_answer(chapter):
    for exercise in exercises(chapter):
        assert exercise.otherwise.endswith("."), exercise.name
