"""Every control of the book: its states, as a notebook draws them and as a page holds them."""

import itertools
import json
import re
import sys
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the controls are made with ipywidgets")

from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.patches import Polygon, Rectangle  # noqa: E402

from embag_edu.chapters import style  # noqa: E402
from embag_edu.chapters.board import ASCENT, DESCENT, Board  # noqa: E402
from embag_edu.chapters.control import (  # noqa: E402
    MIME,
    Axis,
    Control,
    control,
    rows_in_use,
    table_of,
)
from embag_edu.web import controls as web  # noqa: E402

BOOK = Path(__file__).parents[1] / "book"


def bundles():
    """What the notebooks say of their controls."""
    for path in sorted(BOOK.glob("[0-9]*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            for output in cell.get("outputs", []):
                if MIME in output.get("data", {}):
                    yield json.loads(json.dumps(output.data[MIME]))


BUNDLES = {bundle["name"]: bundle for bundle in bundles()}
each = pytest.mark.parametrize("name", BUNDLES)
CURVES = (  # matplotlib's: slow
    "06-skew", "08-times", "10-contention", "11-balance", "13-rate", "14-bytes", "15-launches",
    "16-outlier", "17-load",
)  # fmt: skip


def some_states(made, count=4):
    """The start, and a few more, the same each time, as values."""
    found = list(web.places(made))
    picked = np.random.default_rng(0).choice(len(found), min(count, len(found)), replace=False)
    places = [tuple(axis.begin for axis in made.axes), *(found[k] for k in picked)]
    return [web.values_at(made, at) for at in places[: 2 if made.name in CURVES else None]]


@cache
def thinned(name):
    """A control, packed, with a few values of each axis only: the first, the last, the start."""
    made = web.control_of(BUNDLES[name])
    axes = []
    for axis in made.axes:
        keep = sorted({0, axis.begin, len(axis.values) - 1})
        keep = [axis.begin] if made.name in CURVES and axis is not made.axes[-1] else keep
        values, labels = ([each[k] for k in keep] for each in (axis.values, axis.labels))
        axes.append(Axis(axis.name, values, axis.start, axis.kind, labels))
    return web.pack(replace(made, axes=axes))


def test_each_chapter_has_its_control():
    """All but the first, and each control has a name of its own."""
    every = [bundle["name"] for bundle in bundles()]
    chapters = {path.stem[:2] for path in BOOK.glob("[0-9][0-9]*_*.ipynb")}
    assert len(every) == len(set(every)) and {name[:2] for name in every} == chapters - {"00"}


@each
def test_the_view_follows_its_choices(name):
    made = web.control_of(BUNDLES[name])
    *fields, picture = made.widget.children
    fields = fields[: len(made.axes)]
    ends = [(0, len(axis.values) - 1) for axis in made.axes]
    for k, (field, axis) in enumerate(zip(fields, made.axes, strict=True)):
        assert field.description == axis.name
        for end in ends[k][:: 1 if name not in CURVES else 2]:
            field.value = axis.values[end]
            values = [one.value for one in fields]
            assert f'alt="{escape(made.draw(*values).alt)}"' in picture.value


@each
def test_a_notebook_holds_what_a_page_is_made_from(name):
    """The call in a notebook's output makes the same control again."""
    again = web.control_of(BUNDLES[name])
    assert {"name": again.name, **again.made_by} == BUNDLES[name]
    assert len(json.dumps(BUNDLES[name])) < 10_000


# ---- the light surface and matplotlib ----------------------------------------------------------


def light(board):
    """What the SVG has: rectangles, texts, outlines, each with its place in points."""
    _, parts = board.parts()
    found = {"rectangles": [], "texts": [], "outlines": []}
    for one in ElementTree.fromstring(f"<svg>{''.join(parts)}</svg>"):
        look = one.attrib
        if one.tag == "rect" and "rx" not in look:
            at = [float(look[key]) for key in ("x", "y", "width", "height")]
            found["rectangles"].append((at, look["fill"].lower()))
        elif one.tag == "text":
            x, y = float(look.get("x", "nan")), float(look.get("y", "nan"))
            size = float(look["font-size"])
            place = [x, y - (ASCENT - DESCENT) / 2 * size]
            anchor = look.get("text-anchor", "start")
            found["texts"].append(
                (place, one.text.replace("\u00a0", " "), anchor, look["fill"].lower())
            )
        elif one.tag == "circle":
            found["outlines"].append(
                ([float(look["cx"]), float(look["cy"])], look["stroke"].lower())
            )
        elif one.tag == "path" and "stroke-linecap" not in look and look["d"].count("M") == 1:
            at = [float(number) for number in re.findall(r"-?[\d.]+", look["d"])]
            color = look["stroke"] if look.get("fill", "none") == "none" else look["fill"]
            found["outlines"].append((at, color.lower()))
    return found


def heavy(board):
    """The same of the matplotlib figure, as its own renderer places it."""
    figure = board.figure()
    (ax,) = figure.axes
    renderer, scale, high = figure.canvas.get_renderer(), 72 / figure.dpi, figure.bbox.height

    def points(vertices):
        at = ax.transData.transform(vertices)
        return [float(v) for x, y in at for v in (x * scale, (high - y) * scale)]

    found = {"rectangles": [], "texts": [], "outlines": []}
    for patch in ax.patches:
        seen = patch.get_fill() and patch.get_facecolor()[3] > 0
        fill = to_hex(patch.get_facecolor()) if seen else "none"
        if isinstance(patch, Rectangle):
            x, y, wide, tall = points(patch.get_corners()[[3, 1]])
            drawn = fill != "none" or patch.get_linewidth()
            found["rectangles"] += [([x, y, wide - x, tall - y], fill)] if drawn else []
        elif isinstance(patch, Polygon):
            found["outlines"].append((points(patch.get_xy()[:-1]), fill))
        else:
            way, color = patch.get_path().vertices, to_hex(patch.get_edgecolor())
            found["outlines"].append((points(way), color))
    for line in ax.lines:
        ring = line.get_marker() == "o"
        color = line.get_markeredgecolor() if ring else line.get_color()
        found["outlines"].append((points(line.get_xydata()), to_hex(color)))
    for text in ax.texts:
        if text.get_text():
            box = text.get_window_extent(renderer)
            side = {"left": box.x0, "center": (box.x0 + box.x1) / 2, "right": box.x1}
            anchor = {"left": "start", "center": "middle", "right": "end"}[text.get_ha()]
            at = [side[text.get_ha()] * scale, (high - (box.y0 + box.y1) / 2) * scale]
            found["texts"].append((at, text.get_text(), anchor, to_hex(text.get_color())))
    return found


@each
def test_the_light_surface_and_matplotlib_agree(name):
    """The same rectangles, texts and outlines, at the same places, in the same colors."""
    made = web.control_of(BUNDLES[name])
    for values in some_states(made):
        board = made.draw(*values).figure
        if not isinstance(board, Board):
            assert name in CURVES
            continue
        surfaces_agree(board, f"{name} {values}")


@pytest.mark.adversary
@pytest.mark.parametrize("name", [name for name in BUNDLES if name not in CURVES])
def test_every_part_of_all_states_agrees(name):
    """Each rectangle, text and outline that any state has is compared in one state at least."""
    made, seen, compared = web.control_of(BUNDLES[name]), set(), 0
    states = list(web.places(made))
    for at in states:
        board = made.draw(*web.values_at(made, at)).figure
        parts = set(board.parts()[1])
        if not parts <= seen:
            seen |= parts
            compared += 1
            surfaces_agree(board, f"{name} {at}")
    print(f"{name}: {len(seen):,} parts of {len(states):,} states, compared in {compared:,}")
    assert compared > 1


def surfaces_agree(board, where):
    ours, theirs = light(board), heavy(board)
    for kind, near in (("rectangles", 0.11), ("outlines", 0.06), ("texts", 1.0)):
        agree(ours[kind], theirs[kind], near, f"{where}: {kind}")


def agree(ours, theirs, near, where):
    """Each of one list is near one of the other list that looks the same."""
    assert len(ours) == len(theirs), where
    left = list(theirs)
    for at, *look in ours:
        for other in left:
            same = list(other[1:]) == look and len(other[0]) == len(at)
            if same and np.abs(np.subtract(at, other[0])).max() <= near:
                left.remove(other)
                break
        else:
            raise AssertionError(f"{where}: {look} at {at} is not in {left[:9]}")


def test_the_comparison_of_surfaces_sees_a_cell_that_has_moved():
    figure, ax = style.board(4, 2)
    style.cells(ax, [1, 2], 0.5, -0.5)
    ours = light(figure)["rectangles"]
    moved = [([x + 0.3, *rest], fill) for (x, *rest), fill in ours]
    with pytest.raises(AssertionError, match="is not in"):
        agree(ours, moved, 0.11, "moved")


# ---- what a page holds -------------------------------------------------------------------------


def unpacked(script):
    """{places: State} of a page's script, as static/controls.js reads it."""
    name, data = json.loads(
        f"[{script.removeprefix('embagControl(').removesuffix(');' + chr(10))}]"
    )
    found, lists, states = {}, [[], [], []], iter(data["states"])
    for at in itertools.product(*map(range, data["sizes"])):
        rising = [at[k] for k in data["rising"]]
        if rising == sorted(rising):
            box, *changes = next(states)
            for k, (front, end, *between) in enumerate(changes):
                lists[k] = [*lists[k][:front], *between, *lists[k][len(lists[k]) - end :]]
            parts = [[data["parts"][number] for number in numbers] for numbers in lists]
            found[at] = web.State(tuple(data["boxes"][box]), *parts)
    assert next(states, None) is None
    return name, found


@each
def test_the_states_of_a_page_are_those_of_the_notebook(name):
    """Of a few values of each axis, a dozen states; `test_all_states` has them all."""
    hold(thinned(name), 12)


@pytest.mark.adversary
@each
def test_all_states(name):
    states, size = hold(web.pack(web.control_of(BUNDLES[name])))
    print(f"{name}: {states:,} states, {size:,} bytes, {states} equal")


def hold(packed, at_most=None):
    made = packed.control
    name, found = unpacked(packed.script)
    places = list(web.places(made))
    assert name == made.name and list(found) == places and len(found) == packed.states
    order = np.random.default_rng(0).permutation(len(places))
    for at in (places[k] for k in order[:at_most]):
        assert found[at] == web.state_of(made, web.values_at(made, at)), at
    return packed.states, len(packed.script.encode())


@each
def test_the_page_is_whole_without_a_script(name):
    """Its start has the picture, its words, and a label for each input; the text is well-formed."""
    packed = thinned(name)
    made, page = packed.control, ElementTree.fromstring(web.figure(packed))
    (picture,) = page.iter("{http://www.w3.org/2000/svg}svg")
    start = made.draw(*(axis.start for axis in made.axes))
    assert picture.get("role") == "img" and picture.get("aria-label") == start.alt
    assert page.find(".//details/p").text == start.alt
    assert [one.text for one in page.findall(".//p[@role='status']/span")] == made.lines(
        *(axis.start for axis in made.axes)
    )
    named = {one.get("for") for one in page.iter("label")}
    inputs = list(page.iter("input"))
    for one in inputs:
        assert one.get("id") in named if one.get("type") == "range" else one.get("type") in BOXES
    kinds = [axis.kind for axis in made.axes]
    assert kinds.count("slider") == sum(one.get("type") == "range" for one in inputs)
    assert kinds.count("choice") == len(page.findall(".//fieldset/legend"))


BOXES = ("radio", "checkbox")


def test_colors_flip_on_paper_and_stay_on_a_cell():
    figure, ax = style.board(4, 3)
    style.cells(ax, [1], 0.5, -0.5, fill=style.AMBER)
    style.cells(ax, [2], 2.5, -0.5)
    style.note(ax, 2, -2.5, "below", color=style.dark(style.TEAL))
    one, two, below = re.findall(r"<text[^>]*>", web.themed("".join(figure.parts()[1])))
    assert f'fill="{style.INK.upper()}"' in one
    assert 'fill="var(--e-ink)"' in two and 'fill="var(--e-l2)"' in below
    assert web.themed(style.AMBER.upper()) == style.AMBER.upper()
    for bar in ('style="fill: {}"', '<rect width="9" fill="{}"', '<text style="fill: {}">'):
        variable = "var(--e-l2)" if "text" in bar else "var(--e-f2)"
        assert web.themed(bar.format(style.TEAL)) == bar.format(variable)
    colors = (BOOK.parent / "embag_edu/web/static/colors.css").read_text(encoding="utf-8")
    for variable in {*web.VARIABLES.values(), *web.PAINTS.values(), "edge"}:
        assert colors.count(f"--e-{variable}:") == 3  # light, dark, dark by the system


# ---- a control ---------------------------------------------------------------------------------


@control
def example(start=2, names=("a", "b")):
    def draw(*values):
        figure, ax = style.board(3, 2)
        style.note(ax, 1, -1, str(values))
        return style.Picture(figure, f"The values of all axes are {values}.")

    axes = [
        Axis("low", range(4), 1),
        Axis("high", range(4), start),
        Axis("name", names, names[0], "choice"),
    ]
    return Control("00-example", "Try it", axes, draw, lambda *v: [f"Now {v}."], rising=(0, 1))


def test_a_control_says_what_it_is():
    bundle = example(3)._repr_mimebundle_()
    assert bundle[MIME]["arguments"] == {"start": 3, "names": ("a", "b")}
    assert bundle["text/plain"].splitlines()[:2] == [
        "A control: Try it. Run this cell to move it.",
        "  low: 1  (of 0, 1, 2, 3)",
    ]
    with pytest.raises(ValueError, match="high is 7; valid: 0, 1, 2, 3"):
        example(7)


def test_without_ipywidgets_the_start_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert "The values of all axes are (1, 2" in example()._repr_mimebundle_()["text/html"]


def test_states_that_would_decrease_are_left_out():
    assert len(list(web.places(example()))) == 10 * 2
    with pytest.raises(ValueError, match="rising"):
        web.pack(example(0))


def test_a_page_refuses_what_is_no_control_of_ours(tmp_path):
    for of in ("os:system", "embag_edu.chapters.ch01", "embag_edu.data:reviews"):
        with pytest.raises(ValueError, match="valid: a function of embag_edu.chapters"):
            web.control_of({"of": of, "arguments": {}})


def test_a_page_refuses_two_controls_of_one_name(tmp_path):
    few = {"of": "embag_edu.chapters.ch04.widgets:_pieces_control"}
    for _ in range(2):  # the same one twice is no harm
        path = web.write(few | {"arguments": {"lengths": [1, 2], "limit": 3}}, tmp_path)
    assert path.name == "04-pieces.js"
    with pytest.raises(ValueError, match="two controls have the name '04-pieces'"):
        web.write(few | {"arguments": {"lengths": [2, 1], "limit": 3}}, tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_go_through_json_unchanged(dtype):
    weight = np.random.default_rng(1).standard_normal((9, 3)).astype(np.float32).astype(dtype)
    rows = json.loads(json.dumps(rows_in_use(weight, [7, 2, 7])))
    assert list(rows) == ["2", "7"]
    assert (table_of(rows)[[2, 7]] == weight[[2, 7]]).all() and not table_of(rows)[3].any()
