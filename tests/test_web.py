"""The site: what is changed on the way to a page, what the proof of a built site finds.

The last tests build the whole site and read every page in a browser, with axe: `pytest -m adversary
-s tests/test_web.py`. They need Chromium and `pip install axe-playwright-python`.
"""

import shutil
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("myst_nb", reason="the extra web is not installed")

from embag_edu.course.exercise import find
from embag_edu.web import build, copied, made, proof

BOOK = build.ROOT / "book"


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", sorted(BOOK.glob("exercises/*.ipynb")), ids=lambda p: p.stem)
def test_exercises_have_their_hints_and_no_solutions(path):
    cells = copied.exercises(read(path), path)["cells"]
    text = "\n".join(cell.source for cell in cells)
    names = {name for cell in cells for name in copied.checked_names(cell)}
    assert text.count('<details class="hint">') == sum(len(find(name).hints) for name in names)
    assert all(hint in text for name in names for hint in find(name).hints)
    assert "BEGIN SOLUTION" not in text and not any(c.source.startswith("hint(") for c in cells)
    for cell in cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            assert "NotImplementedError" in cell.source or "Your answer here" in cell.source


def test_each_shown_cell_names_its_place_in_the_sources():
    places = {}
    for path in sorted(BOOK.glob("[0-9]*.ipynb")):
        for cell in read(path).cells:
            if shown := cell.metadata.get("embag_edu", {}).get("shows"):
                file, name = copied.place_of(shown)
                source = build.ROOT / file
                text = source.read_text(encoding="utf-8")
                places.setdefault(file, {n for _, n in made.parts_of(text, source.suffix)})
                assert name in places[file], shown
    assert len(places) > 15


def test_the_start_page_says_where_the_book_begins():
    page = copied.page(
        (build.ROOT / "README.md").read_text(encoding="utf-8"), build.ROOT / "README.md"
    )
    before, told, _ = page.partition(copied.HERE_FIRST)
    assert told and before.count("\n\n") == 3  # a title, and two paragraphs that say what it is


def test_a_page_of_source_holds_every_line_once():
    for path in (BOOK.parent / "embag_edu" / name for name in ("loops.py", "cuda/forward.cu")):
        page = made.source(path).splitlines()
        for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
            assert line in page
        assert page.count("import numpy as np") <= 1


def test_links_lead_to_the_pages_of_files():
    path = BOOK / "01_bags.ipynb"
    text = (
        "[a](../README.md), [b](02_forward.ipynb#x), [c](../embag_edu/loops.py), [d](https://e.f)"
    )
    assert copied.relinked(text, path) == (
        "[a](../index.md), [b](02_forward.ipynb#x), [c](../embag_edu/loops.py.md), [d](https://e.f)"
    )


FAULTS = {
    '<a href="other.html">x</a>': "other.html leads nowhere",
    '<a href="#nowhere">x</a>': "#nowhere leads nowhere",
    '<a href="two.html#nowhere">x</a>': "two.html#nowhere leads nowhere",
    '<img src="none.svg" alt="A picture.">': "none.svg leads nowhere",
    '<img src="two.html">': "a picture without words",
    '<svg role="img"></svg>': "a picture without words",
    '<img src="two.html" alt="/two.html">': "a picture without words",
    '<img src="data:image/png;base64,x" alt="A picture.">': "a picture in pixels",
    '<script src="https://example.org/x.js"></script>': "asks another host",
    '<svg><image xlink:href="dta:image/png;base64,x"/></svg>': "leads nowhere",
    '<link rel="stylesheet" href="//example.org/x.css">': "asks another host",
}


@pytest.mark.parametrize("html", FAULTS)
def test_the_proof_finds(html, tmp_path):
    (tmp_path / "one.html").write_text(f'<p id="here">{html}</p>', encoding="utf-8")
    (tmp_path / "two.html").write_text('<p id="there"></p>', encoding="utf-8")
    (fault,) = proof.faults(tmp_path, proof.read(tmp_path))
    assert fault.startswith("one.html: ") and FAULTS[html] in fault


def test_the_proof_accepts_what_leads_somewhere(tmp_path):
    text = (
        '<p id="here"><a href="#here">x</a> <a href="two.html#there">y</a> <a href="https://e.f">'
    )
    (tmp_path / "one.html").write_text(text, encoding="utf-8")
    (tmp_path / "two.html").write_text('<p id="there"></p>', encoding="utf-8")
    pages = proof.read(tmp_path)
    assert proof.faults(tmp_path, pages) == []
    assert proof.outside(pages) == ["https://e.f"]
    (tmp_path / "a.css").write_text("@import url(https://e.f/g.css)", encoding="utf-8")
    assert len(proof.faults(tmp_path, pages)) == 1


def test_a_few_pages_are_built_without_a_warning(tmp_path):
    source = tmp_path / "source"
    build.copy_page(BOOK / "exercises" / "01_bags.ipynb", source, tmp_path)
    build.write(source / "ledger.md", made.ledger())
    build.write(source / "api.md", dict(made.api())["embag_edu.nn"])
    tree = "```{toctree}\n:caption: All\nledger\napi\nbook/exercises/01_bags\n```"
    text = "$x_i \\le \\dots$ `forward.sum` [`backward.frequency`](ledger.md)"
    build.write(source / "index.md", f"# Title\n\n{text}\n\n{tree}\n")
    assert build.sphinx("html", source, tmp_path / "site") == 0
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<math" in page and 'role="heading" aria-level="2"' in page
    assert 'href="clauses.html#clause-forward-sum"' in page
    assert 'href="clauses.html#clause-backward-frequency"' not in page  # no link in a link
    styles = (tmp_path / "site" / "_static" / "pygments.css").read_text(encoding="utf-8")
    for theme, color in (("\n", "#1E1E1E"), ('dark"] ', "#D0D0D0")):  # of text: no mark needed
        for kind in "np":
            assert f"{theme}.highlight .{kind} {{ color: {color} }}" in styles
    api = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    code = (tmp_path / "site" / "ledger.html").read_text(encoding="utf-8")
    assert '<span class="n">' not in code and '<span class="kn">import' in code
    assert "nn/modules.py.html#embeddingbag" in api


def test_a_warning_fails(tmp_path, capfd):
    build.write(tmp_path / "source" / "index.md", "# Title\n\n```{nonsense}\n```\n")
    assert build.sphinx("html", tmp_path / "source", tmp_path / "site") != 0
    assert "nonsense" in capfd.readouterr().err


def test_a_folder_that_is_no_site_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").touch()
    assert build.build(tmp_path) == 1
    assert "mine.txt" in str(list(tmp_path.iterdir())) and "site" in capsys.readouterr().out


def test_links_to_other_sites_are_asked_only_where_there_is_a_network(monkeypatch, capsys):
    answers = {"https://a.b": "", "https://c.d": "HTTP Error 404: Not Found"}
    monkeypatch.setattr(proof, "_reason", answers.get)
    assert build.ask(list(answers)) == 1
    assert capsys.readouterr().out == "https://c.d: HTTP Error 404: Not Found\n"
    assert build.ask(["https://a.b"]) == 0
    assert build.ask(["https://c.d"]) == 0 and "is there a network?" in capsys.readouterr().out


# ---- Every page, in a browser ----

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
LOOKS = [("light", 1280), ("dark", 1280), ("light", 360)]  # colors, width in pixels
TAGS = [f"wcag{level}" for level in ("2a", "2aa", "21a", "21aa", "22aa")]
AXE = f"axe.run(document, {{runOnly: {TAGS}, resultTypes: ['violations']}})"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The whole site, built anew."""
    made = tmp_path_factory.mktemp("web") / "site"
    assert build.build(made) == 0
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB, {len(list(made.rglob('*.html')))} pages")
    assert size < 25e6
    return made


@pytest.fixture
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)


@pytest.mark.adversary
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_page_by_axe(site, browser, look):
    """No violation of WCAG 2.2 A and AA, and nothing wider than the page. Without network."""
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    axe = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    colors, width = look
    view = {"width": width, "height": 900}
    page = browser.new_context(viewport=view, color_scheme=colors, offline=True).new_page()
    found = []
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        page.add_style_tag(content="* { background-image: none !important }")  # axe skips shadows
        page.evaluate(axe)
        name = path.relative_to(site)
        for violation in page.evaluate(AXE)["violations"]:
            found += [f"{name}: {violation['id']}: {n['html'][:90]}" for n in violation["nodes"]]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{name}: wider than {width}")
    print("\n".join(found))
    assert found == []


@pytest.mark.adversary
def test_search_and_hints_from_a_file(site, browser):
    page = browser.new_context(offline=True).new_page()
    page.goto((site / "search.html").as_uri() + "?q=padding")
    page.locator("ul.search li a").first.wait_for(timeout=20_000)
    page.goto((site / "book" / "exercises" / "01_bags.html").as_uri())
    hints = page.locator("details.hint")
    assert [hints.nth(k).is_visible() for k in range(3)] == [True, False, False]
    hints.first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert [hints.nth(k).is_visible() for k in range(3)] == [True, True, False]


FOCUS = """() => {
  const at = document.activeElement, look = getComputedStyle(at), [box] = at.getClientRects();
  const x = Math.min(box.left + box.width / 2, innerWidth - 1);
  const y = box.top + Math.min(9, box.height / 2);
  const there = document.elementFromPoint(x, y);
  const seen = look.outlineStyle !== "none" && there && (at.contains(there) || there.contains(at));
  return [`${at.tagName} ${at.type || ""}`, seen ? "" : at.outerHTML.slice(0, 90)];
}"""


def stop(page):
    """What the next Tab leads to; None at the end of the page."""
    page.keyboard.press("Tab")
    ended = page.evaluate("document.activeElement === document.body")
    return None if ended else page.evaluate(FOCUS)


@pytest.mark.adversary
@pytest.mark.parametrize("width", [1280, 360])
def test_a_chapter_by_keyboard(site, browser, width):
    """Past the navigation, then from place to place to the end; each is seen."""
    view = {"width": width, "height": 800}
    page = browser.new_context(viewport=view, offline=True, reduced_motion="reduce").new_page()
    page.goto((site / "book" / "01_bags.html").as_uri())
    page.wait_for_timeout(500)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    stops = list(iter(lambda: stop(page), None))
    assert [unseen for _, unseen in stops if unseen] == []
    kinds = [kind for kind, _ in stops]
    assert "INPUT text" not in kinds  # the navigation, with its field of search, was passed by
    assert {"INPUT range", "INPUT radio", "BUTTON submit", "SUMMARY ", "PRE "} < set(kinds)
    page.locator(".sidebar-search").focus()
    page.keyboard.type("offsets")
    page.keyboard.press("Enter")
    page.locator("ul.search li a").first.wait_for(timeout=20_000)


@pytest.mark.adversary
def test_a_picture_is_whole_on_a_phone_until_a_touch_enlarges_it(site, browser):
    phone = {"width": 360, "height": 740}
    page = browser.new_context(viewport=phone, has_touch=True, offline=True).new_page()
    page.goto((site / "book" / "01_bags.html").as_uri())
    pictures = page.locator(".picture, .e-picture")
    assert pictures.count() == page.locator(".enlarge").count() == 3

    def whole(number):
        return pictures.nth(number).evaluate("box => box.scrollWidth <= box.clientWidth")

    for number in range(3):
        button = page.locator(".enlarge").nth(number)
        assert whole(number)
        button.tap()
        assert not whole(number) and button.text_content() == "Show the whole picture"
        pictures.nth(number).tap()
        assert whole(number)


@pytest.mark.adversary
def test_nothing_moves_for_who_asks_for_less_motion(site, browser):
    page = browser.new_context(reduced_motion="reduce", offline=True).new_page()
    page.goto((site / "book" / "01_bags.html").as_uri())
    assert page.evaluate(MOVING) == []


MOVING = """() => [...document.querySelectorAll("*")].flatMap((e) => ["", "::before", "::after"]
  .map((part) => [e, getComputedStyle(e, part || null)])
  .filter(([_, look]) => look.animationName !== "none" || look.scrollBehavior === "smooth"
    || look.transitionProperty !== "none" && look.transitionDuration !== "0s")
  .map(([e]) => e.tagName + "." + e.className))"""
