"""The pages for readers (Markdown): links lead somewhere, and what they list is complete."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), *BOOK.glob("**/*.md"), *(ROOT / "embag_edu").glob("**/*.md")]


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


def test_every_setting_has_its_place_on_the_page_of_settings():
    code = [*(ROOT / "embag_edu").rglob("*.py"), *(ROOT / ".ci").iterdir(), ROOT / "run.py"]
    texts = (path.read_text(encoding="utf-8") for path in code if path.is_file())
    read = {name for text in texts for name in re.findall(r"\bEMBAG_[A-Z_]+", text)}
    page = (BOOK / "pages" / "settings.md").read_text(encoding="utf-8")
    described = re.findall(r"^## `(EMBAG_[A-Z_]+)`$", page, re.M)
    assert sorted(described) == sorted(read)
