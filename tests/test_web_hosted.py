"""Hosted copies of the chapters, and the buttons that lead to them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from embag_edu import __version__
from embag_edu.web import hosted

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = ROOT / "book" / "01_bags.ipynb"


def test_without_an_address_there_is_no_button_and_no_dead_link():
    assert hosted.repository() == "" and hosted.buttons("book/01_bags") == []


def test_each_notebook_has_four_buttons_and_no_other_page_has():
    found = dict(hosted.buttons("book/exercises/01_bags", "owner/name"))
    end = "owner/name/blob/gh-pages/hosted/exercises/01_bags.ipynb"
    assert found["Open in Colab"] == f"https://colab.research.google.com/github/{end}"
    assert found["Open in Kaggle"].endswith(f"?src=https://github.com/{end}")
    assert f"owner/name/v{__version__}?" in found["Open in Binder"] and len(found) == 4
    for page in ("index", "book/pages/words", "api/embag_edu", "embag_edu/SPEC"):
        assert hosted.buttons(page, "owner/name") == []


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://github.com/owner/na.me", "owner/na.me"),
        ("https://github.com/owner/name.git", "owner/name"),
        ("https://example.org/owner/name", None),
    ],
)
def test_the_setting_is_the_address_of_a_repository(tmp_path, monkeypatch, address, name):
    text = f'[project]\nname = "x"\n[project.urls]\nRepository = "{address}"\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(hosted, "ROOT", tmp_path)
    if name:
        assert hosted.repository() == name
    else:
        with pytest.raises(ValueError, match="OWNER/NAME"):
            hosted.repository()


def test_a_copy_installs_its_own_version_and_the_committed_notebook_stays(tmp_path):
    hosted.copies(tmp_path)
    made = nbformat.read(tmp_path / "hosted" / "01_bags.ipynb", as_version=4)
    nbformat.validate(made)
    title, first, *rest = made.cells
    assert title.source.startswith("# ") and f'"embag_edu[chapters]=={__version__}"' in first.source
    ours = nbformat.read(CHAPTER, as_version=4)
    assert [c.source for c in [title, *rest]] == [c.source for c in ours.cells]
    assert all("gh-pages" not in c.source and "pip" not in c.source for c in ours.cells)
    names = {p.relative_to(tmp_path / "hosted").as_posix() for p in tmp_path.rglob("*.ipynb")}
    book = {p.relative_to(ROOT / "book").as_posix() for p in (ROOT / "book").rglob("[0-9]*.ipynb")}
    assert names == {name for name in book if "solutions/" not in name and "." != name[0]}


def test_links_of_a_copy_lead_to_the_published_site():
    cell = nbformat.v4.new_markdown_cell(
        "[w](../pages/words.md#bag), [r](../../README.md), [c](02.ipynb)"
    )
    made = hosted.hosted(nbformat.v4.new_notebook(cells=[cell]), "exercises", "Owner/name")
    site = "https://owner.github.io/name/"
    wanted = f"[w]({site}book/pages/words.html#bag), [r]({site}index.html), "
    assert made.cells[0].source == f"{wanted}[c]({site}book/exercises/02.html)"


def test_the_first_cell_goes_to_the_readers_copy_and_installs_nothing_that_is_there(tmp_path):
    source = hosted.FIRST.format(version=__version__, folder="exercises")
    ast.parse(source)
    fake = (
        "from importlib import metadata\n"
        f"metadata.version = lambda name: '{__version__}'\n{source}\n"
        "assert os.path.isfile('01_bags.ipynb') and os.path.isfile('../00_start_here.ipynb')"
    )
    environ = {**os.environ, "EMBAG_BOOK": str(tmp_path / "mine"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", fake]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
