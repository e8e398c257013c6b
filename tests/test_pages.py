"""The pages for readers (Markdown): links lead somewhere, and what they list is complete."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
README = ROOT / "README.md"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]*_*.ipynb"))
PAGES = [*ROOT.glob("*.md"), *BOOK.glob("**/*.md"), *(ROOT / "embag_edu").glob("**/*.md")]


def number_of(path):
    """Of 08a_fast_forward.ipynb, 08a."""
    return path.stem.partition("_")[0]


def name(path):
    return path.relative_to(ROOT).as_posix()


def places(path):
    """What a link to a page may name after #: its headings, as GitHub writes them, and its ids."""
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
    return {*slugs, *re.findall(r'<a id="([^"]+)">', text)}


def links(path):
    """The links of a page to other files of the project, without examples of code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]+`", "code", text))
    return [target for target in targets if not re.match(r"\w+:", target)]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path):
    for target in links(path):
        file, _, place = target.partition("#")
        page = (path.parent / file).resolve() if file else path
        assert page.exists(), target
        assert not place or place in places(page), target


def test_readme_leads_to_every_page():
    reached = {(ROOT / target).resolve() for target in links(README)}
    assert {*BOOK.glob("pages/*.md"), *ROOT.glob("*.md")} - {README} <= reached


def test_the_messages_of_the_readme_are_those_of_the_code():
    spec = importlib.util.spec_from_file_location("readme", ROOT / ".ci" / "readme.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = README.read_text(encoding="utf-8")
    assert made.rewritten(text) == text, "python .ci/readme.py --write"
    assert len(text.splitlines()) <= 120


def test_every_setting_has_its_place_on_the_page_of_settings():
    code = [*(ROOT / "embag_edu").rglob("*.py"), *(ROOT / ".ci").iterdir(), ROOT / "run.py"]
    texts = (path.read_text(encoding="utf-8") for path in code if path.is_file())
    read = {name for text in texts for name in re.findall(r"\bEMBAG_[A-Z_]+", text)}
    page = (BOOK / "pages" / "settings.md").read_text(encoding="utf-8")
    described = re.findall(r"^## `(EMBAG_[A-Z_]+)`$", page, re.M)
    assert sorted(described) == sorted(read)


# ---- The page of words ----

WORDS = BOOK / "pages" / "words.md"
WORD = re.compile(r'^\| <a id="([^"]+)"></a>([^|(]+?) (?:\([^|]*\) )?\| .+ \| \[(\d\d\w?)\]', re.M)
TEXT_OF = {
    number_of(path): "\n".join(
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
    )
    for path in CHAPTERS
}


def test_each_word_is_linked_from_the_chapter_where_it_is_first_explained():
    words = WORD.findall(WORDS.read_text(encoding="utf-8"))
    assert len(words) > 50
    for place, word, chapter in words:
        link = rf"\]\(pages/words\.md#{place}\)"
        linked = [number for number, text in TEXT_OF.items() if re.search(link, text)]
        assert linked[:1] == [chapter], place
        text = re.sub(r"[*`\[\]]", "", TEXT_OF[chapter]).lower()
        stem = word.removesuffix(" bytes").removesuffix(" gradient").lower()
        assert re.search(rf"\b{re.escape(stem)}", text), f"{word} does not occur in {chapter}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_links_to_words_lead_to_a_word(path):
    known = {place for place, _, _ in WORD.findall(WORDS.read_text(encoding="utf-8"))}
    assert set(re.findall(r"\]\(pages/words\.md#([^)]*)\)", TEXT_OF[number_of(path)])) <= known


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=lambda path: path.stem)
def test_each_exercise_stands_where_it_can_be_done(path):
    """Said once in the chapter, by its number, with a link."""
    solutions = nbformat.read(path.parent / "solutions" / path.name, as_version=4)
    tasks = "\n".join(cell.source for cell in solutions.cells if cell.cell_type == "markdown")
    numbers = re.findall(r"^## (\d+)\. ", tasks, re.M)
    turns = re.findall(r"^\*\*Your turn:\*\* exercises? (.*)$", TEXT_OF[number_of(path)], re.M)
    assert all(f"](exercises/{path.name})" in turn for turn in turns)
    assert sorted(re.findall(r"\b(\d+) \(", "\n".join(turns)), key=int) == numbers
