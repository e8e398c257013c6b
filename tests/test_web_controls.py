"""The controls on a page, in a real browser, from a folder: no kernel, no server, no network.

Each has a few values of each axis here; how the others are packed is the same. Needs Chromium (or
Chrome) and the package playwright; without them it is skipped.
"""

import re
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("ipywidgets", reason="the controls are made with ipywidgets")

from test_browser import ARGUMENTS, BROWSER  # noqa: E402
from test_chapters_control import BUNDLES, each, thinned, unpacked  # noqa: E402

from embag_edu.web import controls as web  # noqa: E402

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
sync_api.expect.set_options(timeout=15_000)  # a machine may be busy
STATIC = Path(web.__file__).parent / "static"
HEAD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>All controls</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="_static/colors.css">
<link rel="stylesheet" href="_static/controls.css"><script src="_static/controls.js" defer></script>
<style>body { background: var(--e-paper); color: var(--e-ink); }</style></head><body><main>"""


@pytest.fixture(scope="module")
def packed():
    return {name: thinned(name) for name in BUNDLES}


@pytest.fixture(scope="module")
def address(packed, tmp_path_factory):
    """A folder with one page of all controls, as a site has it."""
    home = tmp_path_factory.mktemp("site")
    (home / "_static" / "controls").mkdir(parents=True)
    for path in STATIC.iterdir():
        (home / "_static" / path.name).write_bytes(path.read_bytes())
    for name, one in packed.items():
        path = home / "_static" / "controls" / f"{name}.js"
        path.write_text(one.script, encoding="utf-8")
    body = "".join(web.figure(one, "") for one in packed.values())
    (home / "all.html").write_text(f"{HEAD}{body}</main></body></html>", encoding="utf-8")
    return (home / "all.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser, address):
    """The page, and what it has asked for and complained of since."""
    page, said, asked = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page, said, asked
    assert said == [] and all(url.startswith("file:") for url in asked)


@pytest.fixture
def page(opened, address):
    opened[0].goto(address)
    return opened[0]


def figure_of(page, name):
    return page.locator(f"[data-control='{name}']")


def moved(made):
    """The first axis that can move on, and the values after one step of it."""
    number = next(k for k, a in enumerate(made.axes) if a.begin < len(a.values) - 1)
    values = [axis.start for axis in made.axes]
    values[number] = made.axes[number].values[made.axes[number].begin + 1]
    for k in made.rising if number in made.rising else ():
        values[k] = max(values[k], values[number]) if k > number else values[k]
    return number, values


def expect(figure, made, values):
    """The picture, its words and the lines below are those that Python draws."""
    state = web.state_of(made, values)
    words = " ".join(state.words)
    sync_api.expect(figure.locator("svg")).to_have_attribute("aria-label", words)
    sync_api.expect(figure.locator(".e-words p")).to_have_text(words)
    if made.told:
        lines = figure.locator("[role=status] span")
        sync_api.expect(lines).to_have_text([re.compile(re.escape(line)) for line in state.told])


@each
def test_moved_by_keyboard(page, packed, name):
    made, figure = packed[name].control, figure_of(page, name)
    number, values = moved(made)
    field = figure.locator(".e-field").nth(number)
    first = field.locator("input:checked, input[type=range], input[type=checkbox]").first
    first.focus()
    page.keyboard.press("Space" if made.axes[number].kind == "switch" else "ArrowRight")
    expect(figure, made, values)
    if made.axes[number].kind == "slider":
        label = made.axes[number].labels[made.axes[number].begin + 1]
        assert first.get_attribute("aria-valuetext") == label
        assert field.locator(".e-value").inner_text() == label


@each
def test_moved_by_mouse(page, packed, name):
    made, figure = packed[name].control, figure_of(page, name)
    number, _ = moved(made)
    field, axis = figure.locator(".e-field").nth(number), made.axes[number]
    if axis.kind == "slider":
        field.locator("input").scroll_into_view_if_needed()
        box = field.locator("input").bounding_box()
        page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    else:
        field.locator("label").last.click()
    values = [axis.start for axis in made.axes]
    values[number] = axis.values[-1]
    for k in made.rising if number in made.rising else ():
        values[k] = max(values[k], values[number]) if k > number else values[k]
    expect(figure, made, values)


COMPARE = """async ([name, states]) => {
  const figure = document.querySelector(`[data-control="${name}"]`), wrong = [];
  const svg = figure.querySelector("svg"), want = svg.cloneNode(false);
  const fields = [...figure.querySelectorAll(".e-field")];
  for (const [places, box, parts, words] of states) {
    const last = fields.map((field, k) => {
      const inputs = field.querySelectorAll("input");
      if (inputs[0].type === "range") inputs[0].value = places[k];
      else if (inputs[0].type === "checkbox") inputs[0].checked = places[k] === 1;
      else inputs[places[k]].checked = true;
      return inputs[0];
    }).pop();
    last.dispatchEvent(new Event("input", { bubbles: true }));
    let waits = 0;
    do await new Promise((ready) => setTimeout(ready));
    while (svg.getAttribute("aria-label") !== words && waits++ < 500);
    want.innerHTML = parts;
    for (const key of svg.getAttributeNames()) want.setAttribute(key, svg.getAttribute(key));
    if (!svg.isEqualNode(want) || svg.getAttribute("viewBox") !== box
        || svg.getAttribute("aria-label") !== words) wrong.push(places);
  }
  return wrong;
}"""


@each
def test_the_page_shows_the_states_of_python(page, packed, name):
    """That its script holds those is tried in tests/test_chapters_control.py."""
    states = []
    for at, state in unpacked(packed[name].script)[1].items():
        box = " ".join(f"{edge:g}" for edge in state.box)
        states.append([at, box, "".join(state.parts), " ".join(state.words)])
    assert page.evaluate(COMPARE, [name, states]) == []


def test_a_sentence_is_said_once_the_reader_rests(page):
    figure = figure_of(page, "08-lanes")
    status = figure.locator("[role=status]")
    status.evaluate("""(told) => { window.changes = 0;
        new MutationObserver(() => window.changes++).observe(told, { childList: true }); }""")
    figure.locator("input").nth(2).focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    sync_api.expect(status).to_contain_text("8 bags of 1.")
    assert page.evaluate("window.changes") == 1
    assert "The 32 lanes of a warp" not in status.inner_text()  # this sentence has not changed
    assert status.evaluate("(told) => told.clientHeight") <= 1  # heard, not seen


def test_lines_that_stay_the_same_step_back(page):
    figure = figure_of(page, "01-cuts")
    figure.locator("input[type=range]").first.focus()
    page.keyboard.press("Home")
    same = figure.locator(".e-same")
    sync_api.expect(same).to_have_text([re.compile("Bag 2: great fit")])


def test_without_a_script_the_start_is_whole_and_nothing_can_be_chosen(browser, address, packed):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    for name in packed:
        figure = figure_of(page, name)
        sync_api.expect(figure.locator("svg")).to_be_visible()
        assert figure.locator("input:visible").count() == 0
    context.close()


def test_touched_on_a_phone(browser, address, packed):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(address)
    for name in ("07-stride", "12-fold"):
        made, figure = packed[name].control, figure_of(page, name)
        number = next(k for k, axis in enumerate(made.axes) if axis.kind == "slider")
        slider = figure.locator("input[type=range]")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
        values = [axis.start for axis in made.axes]
        values[number] = made.axes[number].values[-1]
        expect(figure, made, values)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_a_page_without_its_states_says_so(browser, address, packed, tmp_path):
    one = web.figure(packed["12-fold"], "missing/")
    static = address.removesuffix("all.html") + "_static"
    path = tmp_path / "page.html"
    path.write_text(HEAD.replace("_static", static) + one, encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.locator("input[type=range]").press("ArrowRight")
    told = page.locator("[role=status]")
    sync_api.expect(told).to_contain_text("missing/_static/controls/12-fold.js could not be loaded")
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_are_readable_on_what_lies_below_them(browser, address, theme):
    """4.5 to 1 for all letters of every start, on paper and on cells."""
    page = browser.new_page(color_scheme=theme, viewport={"width": 1280, "height": 900})
    page.goto(address)
    poor = page.evaluate(CONTRAST)
    assert poor == []
    page.close()


CONTRAST = """() => {
  const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const poor = [];
  for (const text of document.querySelectorAll(".embag-control svg text")) {
    text.scrollIntoView({ block: "center", inline: "center" });
    const box = text.getBoundingClientRect(), figure = text.closest(".embag-control");
    const below = document.elementsFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2)
      .map((e) => [getComputedStyle(e), e])
      .map(([look, e]) => e === figure ? look.backgroundColor : e.matches("rect,path") && look.fill)
      .find((color) => color && color !== "none");
    const [a, b] = [getComputedStyle(text).fill, below].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const said = `${figure.dataset.control}: ${text.textContent}, ${ratio.toFixed(2)}`;
    if (ratio < 4.5) poor.push(said);
  }
  return poor;
}"""
