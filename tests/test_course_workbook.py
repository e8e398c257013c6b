"""The reader's own copy of the book: nothing that a reader writes in it is lost.

The table plays a reader of one notebook and a text; the last test plays one with git and run.py.
"""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from embag_edu.course import workbook
from embag_edu.course.workbook import RECORD, NotCopied, folder, renew

ROOT = Path(__file__).resolve().parents[1]
PAGE, ANSWERS, BESIDE = "03.ipynb", "exercises/03.ipynb", "exercises/03_new.ipynb"


def notebook(*sources, outputs=()):
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
    for cell in cells:
        cell.outputs = [nbformat.v4.new_output("stream", text=text) for text in outputs]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def sources(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


class Reader:
    """A book of three files, and the copy that a reader has of it."""

    def __init__(self, home):
        self.book, self.copy = home / "book", home / "my_book"
        self.publish("1")

    def publish(self, version):
        """A new version of the book: every file of it is another one."""
        write(self.book / PAGE, notebook(f"page {version}", outputs=[version]))
        write(self.book / ANSWERS, notebook("def f(): ...", f"check {version}"))
        write(self.book / "pages" / "words.md", f"words {version}\n")

    def start(self):
        return renew(self.book, self.copy)

    def answer(self, text, name=ANSWERS):
        path = self.copy / name
        write(path, path.read_text().replace("def f(): ...", text))

    def files(self):
        paths = (p.relative_to(self.copy).as_posix() for p in self.copy.rglob("*") if p.is_file())
        return {name for name in paths if name != RECORD}

    def same(self, name, place=None):
        return (self.copy / (place or name)).read_bytes() == (self.book / name).read_bytes()


@pytest.fixture
def reader(tmp_path):
    return Reader(tmp_path)


# ---- One start after another ----


def test_the_first_start_copies_all_and_the_second_nothing(reader):
    assert str(reader.copy) in reader.start()[0]
    names = {PAGE, ANSWERS, "pages/words.md"}
    assert reader.files() == names and all(map(reader.same, names))
    times = {name: (reader.copy / name).stat().st_mtime_ns for name in names}
    assert reader.start() == []
    assert times == {name: (reader.copy / name).stat().st_mtime_ns for name in names}


def test_what_is_untouched_is_renewed(reader):
    reader.start()
    reader.publish("2")
    assert reader.start() == ["New in your copy: 3 files."]
    assert reader.files() == {PAGE, ANSWERS, "pages/words.md"} and reader.same(ANSWERS)
    reader.answer("def f(): return 2")
    assert reader.start() == [] and BESIDE not in reader.files()


def test_change_and_update_and_change_again(reader):
    reader.start()
    reader.answer("def f(): return 1")
    for version in "123":  # in 1 the book is as it was: nothing is to be told
        reader.publish(version)
        told = reader.start()
        assert sources(reader.copy / ANSWERS) == ["def f(): return 1", "check 1"]
        assert (ANSWERS in reader.files()) and (BESIDE in reader.files()) == (version != "1")
        assert any(BESIDE in line for line in told) == (version != "1")
        assert version == "1" or reader.same(ANSWERS, BESIDE)
    assert reader.start() == []


def test_both_versions_changed_by_the_reader(reader):
    reader.start()
    reader.answer("def f(): return 1")
    reader.publish("2")
    reader.start()
    reader.answer("def f(): return 2", BESIDE)
    reader.publish("3")
    reader.start()
    assert sources(reader.copy / ANSWERS)[0] == "def f(): return 1"
    assert sources(reader.copy / BESIDE)[0] == "def f(): return 2"
    assert reader.same(ANSWERS, "exercises/03_new2.ipynb")


def test_a_new_version_beside_that_was_deleted_stays_away(reader):
    reader.start()
    reader.answer("def f(): return 1")
    reader.publish("2")
    reader.start()
    (reader.copy / BESIDE).unlink()
    assert reader.start() == [] and BESIDE not in reader.files()
    reader.publish("3")
    reader.start()
    assert reader.same(ANSWERS, BESIDE)


def test_a_page_that_is_missing_comes_back(reader):
    reader.start()
    (reader.copy / ANSWERS).rename(reader.copy / "exercises" / "old.ipynb")
    reader.start()
    assert reader.same(ANSWERS) and "exercises/old.ipynb" in reader.files()


def test_a_reader_who_takes_the_new_version_goes_on_with_it(reader):
    reader.start()
    reader.answer("def f(): return 1")
    reader.publish("2")
    reader.start()
    os.replace(reader.copy / BESIDE, reader.copy / ANSWERS)
    assert reader.start() == []
    reader.answer("def f(): return 2")
    reader.publish("3")
    reader.start()
    assert sources(reader.copy / ANSWERS)[0] == "def f(): return 2" and reader.same(ANSWERS, BESIDE)


def test_a_file_of_the_readers_own_is_not_touched(reader):
    reader.start()
    write(reader.copy / "pages" / "colours.md", "mine")
    write(reader.book / "pages" / "colours.md", "the book's")
    write(reader.copy / "my_bag.py", "mine")
    reader.start()
    assert (reader.copy / "pages" / "colours.md").read_text() == "mine"
    assert (reader.copy / "pages" / "colours_new.md").read_text() == "the book's"
    assert (reader.copy / "my_bag.py").read_text() == "mine"


# ---- What counts as changed ----


def run(nb):
    for count, cell in enumerate(nb.cells):
        cell.outputs = [nbformat.v4.new_output("stream", text="mine")]
        cell.execution_count = count + 1
        cell.metadata["execution"] = {"iopub.status.busy": "now"}
    nb.metadata["widgets"] = {"state": {}}


def add_empty_cell(nb):  # as JupyterLab does where the last cell is run
    nb.cells.append(nbformat.v4.new_code_cell(""))


def drop_ids(nb):
    nb.nbformat_minor = 4
    for cell in nb.cells:
        del cell["id"]


def edit(nb):
    nb.cells[0].source += " "


def delete(nb):
    del nb.cells[0]


def swap(nb):
    nb.cells.reverse()


def note(nb):
    nb.cells.append(nbformat.v4.new_markdown_cell("my note"))


def picture(nb):
    nb.cells.append(nbformat.v4.new_markdown_cell("a", attachments={"a.png": {"image/png": "AA"}}))


def turn_into_text(nb):
    nb.cells[0] = nbformat.v4.new_markdown_cell(nb.cells[0].source)


@pytest.mark.parametrize("change", [run, add_empty_cell, drop_ids])
def test_a_page_that_was_only_run_is_renewed(reader, change):
    reader.start()
    change_file(reader.copy / ANSWERS, change)
    reader.publish("2")
    reader.start()
    assert reader.same(ANSWERS) and BESIDE not in reader.files()


@pytest.mark.parametrize("change", [edit, delete, swap, note, picture, turn_into_text])
def test_a_page_that_was_written_in_is_kept(reader, change):
    reader.start()
    change_file(reader.copy / ANSWERS, change)
    before = (reader.copy / ANSWERS).read_bytes()
    reader.publish("2")
    reader.start()
    assert (reader.copy / ANSWERS).read_bytes() == before and reader.same(ANSWERS, BESIDE)


def change_file(path, change):
    nb = nbformat.read(path, as_version=4)
    change(nb)
    path.write_text(nbformat.writes(nb), encoding="utf-8")


def test_outputs_stay_as_long_as_the_book_does(reader):
    reader.start()
    change_file(reader.copy / PAGE, run)
    before = (reader.copy / PAGE).read_bytes()
    reader.start()
    assert (reader.copy / PAGE).read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": [1]}', '{"cells": null}', "\x00"])
def test_a_page_that_is_no_notebook_is_kept(reader, text):
    reader.start()
    write(reader.copy / PAGE, text)
    reader.publish("2")
    reader.start()
    assert (reader.copy / PAGE).read_text() == text and reader.same(PAGE, "03_new.ipynb")


# ---- What may come between ----


def test_a_notebook_that_is_open_meanwhile(reader):
    """Its page is renewed on disk; then the reader, who has the old one open, saves an answer."""
    reader.start()
    opened = nbformat.read(reader.copy / ANSWERS, as_version=4)
    reader.publish("2")
    reader.start()
    opened.cells[0].source = "def f(): return 1"
    nbformat.write(opened, reader.copy / ANSWERS)
    for version in "223":
        reader.publish(version)
        reader.start()
        assert sources(reader.copy / ANSWERS) == ["def f(): return 1", "check 1"]
        assert reader.same(ANSWERS, BESIDE), "the new version is not lost either"


def test_an_answer_that_is_saved_while_the_copy_is_renewed(reader, monkeypatch):
    reader.start()
    reader.publish("2")
    deliver = workbook._deliver

    def saved_just_before(source, copy, place, record):
        if place == ANSWERS:
            reader.answer("def f(): return 1")
        return deliver(source, copy, place, record)

    monkeypatch.setattr(workbook, "_deliver", saved_just_before)
    reader.start()
    monkeypatch.undo()
    reader.start()
    assert sources(reader.copy / ANSWERS)[0] == "def f(): return 1"
    assert reader.same(ANSWERS, BESIDE) and reader.same(PAGE)


@pytest.mark.parametrize("first", [True, False], ids=["making", "renewing"])
@pytest.mark.parametrize("done", range(5))  # the record, three files, the record
def test_a_copy_that_was_broken_off_goes_on(reader, monkeypatch, first, done):
    if not first:
        reader.start()
        reader.publish("2")
    replace, calls = os.replace, []

    def broken_off(source, target):
        calls.append(target)
        if len(calls) > done:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(workbook.os, "replace", broken_off)
        reader.start()
    for name in reader.files():
        assert not first or reader.same(name), "a file is there whole, or not at all"
    reader.publish("3")
    reader.start()
    assert reader.files() == {PAGE, ANSWERS, "pages/words.md"}
    assert all(map(reader.same, reader.files()))


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"files": [1]}', '{"files": {"a": 1}}'])
def test_without_a_record_nothing_is_lost(reader, text):
    reader.start()
    reader.answer("def f(): return 1")
    (reader.copy / RECORD).unlink()
    if text is not None:
        write(reader.copy / RECORD, text)
    reader.start()
    reader.publish("2")
    reader.start()
    assert sources(reader.copy / ANSWERS)[0] == "def f(): return 1" and reader.same(ANSWERS, BESIDE)
    assert reader.same(PAGE), "it was the book's when the record was made again"


# ---- What stands in the way ----


def refuse(*_):
    raise PermissionError(13, "Permission denied", "my_book")


@pytest.mark.parametrize("function", ["mkdir", "write_bytes", "read_bytes"])
def test_no_rights_are_told_in_one_line_with_the_fix(reader, monkeypatch, function):
    with monkeypatch.context() as patch, pytest.raises(NotCopied) as told:
        patch.setattr(Path, function, lambda *_, **__: refuse())
        reader.start()
    assert "EMBAG_BOOK" in str(told.value) and "\n" not in str(told.value)


def test_one_file_that_cannot_be_replaced_does_not_stop_the_others(reader, monkeypatch):
    reader.start()
    reader.publish("2")
    replace = os.replace

    def in_use(source, target):
        return refuse() if Path(target) == reader.copy / PAGE else replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(NotCopied, match=r"1 of 3 files.*03\.ipynb"):
        patch.setattr(workbook.os, "replace", in_use)
        reader.start()
    assert sources(reader.copy / PAGE) == ["page 1"]
    reader.start()
    assert all(map(reader.same, reader.files()))
    assert not list(reader.copy.rglob("*.part"))


@pytest.mark.parametrize("place", ["my_book", "my_book/exercises"])
def test_a_file_where_a_folder_should_be(reader, place):
    write(reader.copy.parent / place, "mine")
    with pytest.raises(NotCopied):
        reader.start()
    assert (reader.copy.parent / place).read_text() == "mine"


def test_a_folder_where_a_file_should_be(reader):
    (reader.copy / PAGE).mkdir(parents=True)
    reader.start()
    assert (reader.copy / PAGE).is_dir() and reader.same(PAGE, "03_new.ipynb")


@pytest.mark.parametrize("place", [".", "exercises"])
def test_the_copy_may_not_lie_in_the_book(reader, place):
    with pytest.raises(NotCopied, match="in the book itself"):
        renew(reader.book, reader.book / place)


def test_links_stay_links(reader, tmp_path):
    """The folder, or a notebook in it, may really lie elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    try:
        reader.copy.symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("links need a right here")
    reader.start()
    (elsewhere / PAGE).rename(tmp_path / "page.ipynb")
    (elsewhere / PAGE).symlink_to(tmp_path / "page.ipynb")
    (elsewhere / "pages" / "words.md").unlink()
    (elsewhere / "pages" / "words.md").symlink_to(tmp_path / "a disk that is not here")
    reader.publish("2")
    reader.start()
    assert (elsewhere / PAGE).is_symlink() and reader.same(PAGE)
    assert (elsewhere / "pages" / "words.md").is_symlink()
    assert reader.same("pages/words.md", "pages/words_new.md")


# ---- Which folder it is ----


def test_the_folder_of_a_notebook_is_found(reader, monkeypatch, tmp_path):
    reader.start()
    monkeypatch.delenv("EMBAG_BOOK", raising=False)
    monkeypatch.chdir(reader.copy / "exercises")
    assert folder() == reader.copy
    monkeypatch.chdir(reader.book)
    assert folder() is None
    monkeypatch.setenv("EMBAG_BOOK", str(reader.copy))
    assert folder() == reader.copy
    monkeypatch.setenv("EMBAG_BOOK", str(tmp_path / "no copy"))
    assert folder() is None


def test_the_command_prints_the_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("EMBAG_BOOK", str(tmp_path / "mine"))
    assert workbook.main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "mine") and "never overwritten" in printed.err
    assert (tmp_path / "mine" / "00_start_here.ipynb").is_file()
    assert not list((tmp_path / "mine").rglob(".ipynb_checkpoints"))
    assert workbook.main(["what"]) == 2
    monkeypatch.setenv("EMBAG_BOOK", str(ROOT / "book"))
    assert workbook.main([]) == 1 and capsys.readouterr().err.count("\n") >= 1


# ---- A reader with a clone ----


def git(folder, *words):
    who = ["-c", "user.name=Reader", "-c", "user.email=reader@example.org"]
    command = ["git", *who, "-c", "commit.gpgsign=false", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def upstream(tmp_path):
    """A repository that holds the book as it is here, and what opens it."""
    home = tmp_path / "upstream"
    hidden = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(ROOT / "book", home / "book", ignore=hidden)
    for name in (".gitignore", ".gitattributes", "run.py", "embag_edu/course/workbook.py"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, home / name)
    git(home, "init", "-q")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "The book")
    return home


def open_book(clone, monkeypatch):
    """`python run.py book` of a clone, without the environment and without JupyterLab."""
    spec = importlib.util.spec_from_file_location("run_of_the_clone", clone / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("set_up", "sign_notebooks"):
        monkeypatch.setattr(module, name, lambda *_: None)
    opened = []
    monkeypatch.setattr(module, "call", lambda words, **_: opened.append(words) or 0)
    assert module.main(["book"]) == 0
    assert f"--ServerApp.root_dir={clone / 'my_book'}" in opened[0]


def set_source(path, find, put):
    """Change a cell as JupyterLab does: the source, an output, a checkpoint beside it."""
    text = path.read_text(encoding="utf-8")
    assert find in text
    path.write_text(text.replace(find, put), encoding="utf-8")
    (path.parent / ".ipynb_checkpoints").mkdir(exist_ok=True)
    shutil.copy(path, path.parent / ".ipynb_checkpoints")


def test_a_reader_with_a_clone_loses_nothing(upstream, tmp_path, monkeypatch):
    monkeypatch.delenv("EMBAG_BOOK", raising=False)
    clone, stub = (
        tmp_path / "clone",
        json.dumps('raise NotImplementedError("your code here")')[1:-1],
    )
    git(tmp_path, "clone", "-q", str(upstream), str(clone))
    open_book(clone, monkeypatch)
    first, second = sorted((clone / "my_book" / "exercises").glob("0[12]_*.ipynb"))
    set_source(first, stub, "return 'my first answer'")
    assert git(clone, "status", "--porcelain") == ""

    for name in ("01_bags", "02_forward"):
        set_source(
            upstream / "book" / "exercises" / f"{name}.ipynb", "# Exercises", "# The exercises"
        )
    git(upstream, "commit", "-q", "-a", "-m", "A new version of the book")
    git(clone, "pull", "-q")
    open_book(clone, monkeypatch)
    assert "my first answer" in first.read_text() and "# The exercises" not in first.read_text()
    assert "# The exercises" in first.with_name("01_bags_new.ipynb").read_text()
    assert "# The exercises" in second.read_text()

    set_source(second, stub, "return 'my second answer'")
    assert git(clone, "status", "--porcelain") == ""
    git(clone, "pull", "-q")
    open_book(clone, monkeypatch)
    assert "my first answer" in first.read_text() and "my second answer" in second.read_text()
    assert git(clone, "status", "--porcelain") == ""


def test_what_a_reader_wrote_in_the_book_itself_is_not_lost(upstream, tmp_path, monkeypatch):
    """By an older habit, in book/: it goes into the copy, and counts as the reader's there."""
    monkeypatch.delenv("EMBAG_BOOK", raising=False)
    stub = json.dumps('raise NotImplementedError("your code here")')[1:-1]
    answered = upstream / "book" / "exercises" / "01_bags.ipynb"
    set_source(answered, stub, "return 'my answer'")
    open_book(upstream, monkeypatch)
    git(upstream, "checkout", "-q", "book")
    open_book(upstream, monkeypatch)
    copy = upstream / "my_book" / "exercises" / "01_bags.ipynb"
    assert "my answer" in copy.read_text()
    assert "my answer" not in copy.with_name("01_bags_new.ipynb").read_text()
