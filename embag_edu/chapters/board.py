"""A drawing board: what a figure draws on it becomes light SVG at once, or a matplotlib figure.

It takes the few calls that our drawings make on a matplotlib Axes (`add_patch`, `plot`, `text`), in
the same units, and notes them down. SVG is written from the notes in a hundredth of the time that
matplotlib takes, with letters as letters; `figure` replays the notes on a real Axes, for PNG.

A page that has a dark mode swaps the colors of this SVG. One that may be swapped is written in
lower case, #1f2328; one that must stay, a cell's own color and the text on it, in capitals.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch, Polygon, Rectangle

FAINT = "#eceff3"  # cells that belong to nobody
PAPER = "#ffffff"
QUIET = "#6b7280"  # what may be overlooked: position numbers, notes
INK = "#1f2328"  # text and outlines
PLAIN = (PAPER, FAINT, "none")  # what has no color of its own

MARGIN = 5.8  # points of paper around what is drawn
FAMILY = "DejaVu Sans,Verdana,sans-serif"
MONO = "DejaVu Sans Mono,monospace"
ASCENT, DESCENT = 0.76, 0.236  # of the letters l and p, in parts of the font size
DASHES: dict[str, tuple[float, ...]] = {
    "-": (),
    "solid": (),
    ":": (1.0, 1.65),
    "--": (3.7, 1.6),
}  # in widths of the line, as matplotlib has
HATCH_STEP = 20.0  # points between the lines of a hatch of one letter; more letters, more lines
Box = tuple[float, float, float, float]  # left, top, right, bottom in points; y grows downwards


class Board:
    """A bare Axes of `width` x `height` units, x from 0 to width, y from -height up to 0.

    unit: inches. `parts` and `svg` say what was drawn, `figure` draws it with matplotlib.
    """

    def __init__(self, width: float, height: float, unit: float) -> None:
        self.width, self.height, self.unit = width, height, unit
        self.calls: list[tuple[str, tuple, dict[str, Any]]] = []
        self._figure: Figure | None = None

    def rectangle(self, *place: Any, **look: Any) -> None:
        """Adds a Rectangle, without the time that it takes to make one."""
        self.calls.append(("rectangle", place, look))

    def add_patch(self, patch: Patch) -> None:
        """A Rectangle, a Polygon, or a PathPatch of lines and cubic curves."""
        self.calls.append(("add_patch", (patch,), {}))

    def plot(self, *points: Any, **look: Any) -> None:
        """A line through points, or with the format "o" a ring at each; as Axes.plot."""
        self.calls.append(("plot", points, look))

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """One line of text; as Axes.text."""
        self.calls.append(("text", (x, y, text), look))

    def figure(self) -> Figure:
        """The same, drawn by matplotlib."""
        if self._figure is None:
            made = Figure(figsize=(self.width * self.unit, self.height * self.unit))
            FigureCanvasAgg(made)
            ax: Axes = made.add_axes((0.0, 0.0, 1.0, 1.0))
            ax.set(xlim=(0, self.width), ylim=(-self.height, 0), aspect="equal")
            ax.set_axis_off()
            for name, given, look in self.calls:
                if name == "rectangle":
                    ax.add_patch(Rectangle(*given, **{"facecolor": "none", **look}))
                else:
                    getattr(ax, name)(*given, **look)
            self._figure = made
        return self._figure

    def parts(self) -> tuple[Box, list[str]]:
        """The viewBox (left, top, width, height), and the elements of the SVG from the back."""
        pen = _Pen(self.unit * 72)
        for name, given, look in self.calls:
            getattr(pen, name)(*given, **look)
        left, top, right, bottom = pen.bounds
        box = (left - MARGIN, top - MARGIN, right - left + 2 * MARGIN, bottom - top + 2 * MARGIN)
        elements = sorted(pen.elements, key=lambda element: element[0])
        return _tenths(*box), [text for _, text in elements]


class _Pen:
    """Writes elements of SVG, in points, with their place from back to front."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.elements: list[tuple[float, str]] = []
        self.filled: list[tuple[Box, str]] = []  # what was painted, in its order
        self.bounds: Box = (math.inf, math.inf, -math.inf, -math.inf)

    def add(self, zorder: float, element: str, *points: tuple[float, float]) -> None:
        xs, ys = zip(*points, strict=True)
        left, top, right, bottom = self.bounds
        self.bounds = min(left, *xs), min(top, *ys), max(right, *xs), max(bottom, *ys)
        self.elements.append((zorder, element))

    def color(self, color: Any, x: float, y: float) -> str:
        """A color of a line or a text at a place: it may be swapped, unless a color lies below."""
        for (left, top, right, bottom), fill in reversed(self.filled):
            if left <= x <= right and top <= y <= bottom:
                return _hex(color) if fill in PLAIN else _hex(color).upper()
        return _hex(color)

    def add_patch(self, patch: Any) -> None:
        if isinstance(patch, Rectangle):
            self.rectangle(
                patch.get_xy(),
                patch.get_width(),
                patch.get_height(),
                facecolor=patch.get_facecolor() if patch.get_fill() else "none",
                edgecolor=patch.get_edgecolor(),
                linewidth=patch.get_linewidth(),
                linestyle=patch.get_linestyle(),
                hatch=patch.get_hatch(),
                zorder=patch.get_zorder(),
            )
            return
        path = patch.get_path()
        points = [(x * self.scale, -y * self.scale) for x, y in path.vertices]
        closed = isinstance(patch, Polygon)
        codes = [1, *[2] * (len(points) - 2)] if closed else path.codes.tolist()
        letters = [" MLQC"[code] for code in codes]
        # A letter stands for the points after it as well.
        steps = zip(letters, ["", *letters], points, strict=False)
        drawn = "".join(f"{a if a != b else ' '}{_pair(point)}" for a, b, point in steps)
        fill = _hex(patch.get_facecolor()) if patch.get_fill() else "none"
        stroke = _stroke(_hex(patch.get_edgecolor()), patch.get_linewidth(), patch.get_linestyle())
        element = f'<path d="{drawn}{"Z" * closed}" fill="{fill}"{stroke}/>'
        self.add(patch.get_zorder(), element, *points)

    def rectangle(
        self, corner: Sequence[float], width: float, height: float, *, facecolor: Any = "none",
        edgecolor: Any = "none", linewidth: float = 1, linestyle: Any = "-", zorder: float = 1,
        hatch: str | None = None,
    ) -> None:  # fmt: skip
        left, bottom = corner[0] * self.scale, -corner[1] * self.scale
        right, top = left + width * self.scale, bottom - height * self.scale
        place, corners = ((left + right) / 2, (top + bottom) / 2), ((left, top), (right, bottom))
        fill = _cell(facecolor)
        stroke = _stroke(self.color(edgecolor, *place), linewidth, linestyle)
        size = f'width="{_short(right - left)}" height="{_short(bottom - top)}"'
        if fill != "none" or stroke:
            element = f'<rect x="{_short(left)}" y="{_short(top)}" {size} fill="{fill}"{stroke}/>'
            self.add(zorder, element, *corners)
        if fill != "none":
            self.filled.append(((left, top, right, bottom), fill))
        if hatch:
            drawn = "".join(_hatch(hatch, left, top, right, bottom))
            dots = ' stroke-linecap="round"' if "." in hatch else ""
            look = _stroke(self.color(QUIET, *place), 1.6 if dots else 0.6, "-")
            self.add(zorder, f'<path d="{drawn}"{look}{dots}/>', *corners)

    def plot(
        self, xs: Any, ys: Any, form: str = "", *, color: Any = INK, lw: float = 1.5,
        ls: Any = "-", zorder: float = 2, alpha: float = 1, mec: Any = INK, mfc: Any = PAPER,
        ms: float = 6, mew: float = 1, solid_joinstyle: str = "",
    ) -> None:  # fmt: skip
        xs, ys = ([each] if isinstance(each, (int, float)) else each for each in (xs, ys))
        points = [(float(x) * self.scale, -float(y) * self.scale)
                  for x, y in zip(xs, ys, strict=True)]  # fmt: skip
        if form == "o":
            look = f'r="{_short(ms / 2)}" fill="{_hex(mfc)}"{_stroke(_hex(mec), mew, "-")}'
            for x, y in points:
                self.add(zorder, f'<circle cx="{_short(x)}" cy="{_short(y)}" {look}/>', (x, y))
            return
        look = _stroke(_hex(color), lw, ls) + f' stroke-opacity="{_short(alpha)}"' * (alpha < 1)
        drawn = f"M{_pair(points[0])}L{' '.join(map(_pair, points[1:]))}"
        self.add(zorder, f'<path d="{drawn}" fill="none"{look}/>', *points)

    def text(
        self, x: float, y: float, text: str, *, color: Any = INK, fontsize: float = 10,
        fontweight: str = "normal", ha: str = "center", va: str = "center", rotation: float = 0,
        bbox: dict[str, Any] | None = None, family: str = "", zorder: float = 3,
        parse_math: bool = False,
    ) -> None:  # fmt: skip
        if not text:
            return
        text = text.replace("  ", "\u00a0 ")  # SVG else shows one space for two
        bold, mono = fontweight == "bold", "Mono" in family
        width = fontsize * sum(_advance(letter, bold, mono) for letter in text)
        at = x * self.scale, -y * self.scale
        x, y = _begin(at, width, fontsize, ha, va, rotation)
        turned = _turned(width, fontsize, rotation)
        corners = [(x + dx, y + dy) for dx, dy in turned]
        if bbox is not None:
            pad, height = 0.15 * fontsize, (ASCENT + DESCENT) * fontsize
            size = f'width="{_short(width + 2 * pad)}" height="{_short(height + 2 * pad)}"'
            place = f'x="{_short(x - pad)}" y="{_short(y - ASCENT * fontsize - pad)}"'
            fill = _cell(bbox["facecolor"])
            self.add(zorder, f'<rect {place} {size} rx="2" fill="{fill}"/>', *corners)
        middle = [sum(each) / 4 for each in zip(*corners, strict=True)]
        anchor = {"left": "", "center": ' text-anchor="middle"', "right": ' text-anchor="end"'}[ha]
        place = f'x="{_short(at[0])}" y="{_short(y)}"{anchor}'
        if rotation:
            place = f'transform="translate({_pair((x, y))}) rotate({_short(-rotation)})"'
        look = ' font-weight="bold"' * bold + f' font-family="{MONO}"' * mono
        color = self.color(color, *middle)
        self.add(
            zorder,
            f'<text {place} font-size="{_short(fontsize)}"{look} fill="{color}">'
            f"{html.escape(text, quote=False)}</text>",
            *corners,
        )


def _short(number: float) -> str:
    """To a tenth of a point: what nobody sees need not be stored."""
    return f"{round(number, 1) + 0.0:g}"


def _tenths(*numbers: float) -> Box:
    left, top, width, height = (round(number, 1) for number in numbers)
    return left, top, width, height


def _pair(point: Sequence[float]) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _stroke(color: str, width: float, line: Any) -> str:
    if not width or color == "none":
        return ""
    pattern = line[1] or () if isinstance(line, tuple) else DASHES[line]
    dashes = " ".join(_short(width * dash) for dash in pattern)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f' stroke="{color}" stroke-width="{_short(width)}"{dashed}'


def _hex(color: Any) -> str:
    return _to_hex(color if isinstance(color, str) else tuple(color))


def _cell(color: Any) -> str:
    """A color of what is painted: in capitals, unless it is paper or nobody's."""
    found = _hex(color)
    return found if found in PLAIN else found.upper()


@cache
def _to_hex(color: Any) -> str:
    return "none" if to_rgba(color)[3] == 0 else to_hex(color)


@cache
def _font(bold: bool, mono: bool) -> FT2Font:
    family = "DejaVu Sans Mono" if mono else "DejaVu Sans"
    font = FT2Font(findfont(FontProperties(family=family, weight="bold" if bold else "normal")))
    font.set_size(100, 72)
    return font


@cache
def _advance(letter: str, bold: bool, mono: bool) -> float:
    """The width of a letter, in parts of the font size."""
    return float(_font(bold, mono).load_char(ord(letter)).linearHoriAdvance / 6553600)


def _turned(width: float, size: float, rotation: float) -> list[tuple[float, float]]:
    """The corners of a turned text, from the point where its first letter begins."""
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    corners = [(x, y) for x in (0, width) for y in (-ASCENT * size, DESCENT * size)]
    return [(x * cos + y * sin, y * cos - x * sin) for x, y in corners]


def _begin(at: tuple[float, float], width: float, size: float, ha: str, va: str,
           rotation: float) -> tuple[float, float]:  # fmt: skip
    """Where the first letter begins: matplotlib aligns the box around the turned text."""
    xs, ys = zip(*_turned(width, size, rotation), strict=True)
    x = {"left": min(xs), "center": (min(xs) + max(xs)) / 2, "right": max(xs)}[ha]
    y = {"top": min(ys), "center": (min(ys) + max(ys)) / 2, "bottom": max(ys), "baseline": 0}[va]
    return at[0] - x, at[1] - y


def _hatch(hatch: str, left: float, top: float, right: float, bottom: float) -> Iterator[str]:
    """The lines of a hatch in a rectangle, or its dots, on a grid that all hatches share."""
    step = HATCH_STEP / len(hatch)
    kind = {"x": "/\\", "+": "-|"}.get(hatch[0], hatch[0])
    for sign in [{"/": 1, "\\": -1}[letter] for letter in kind if letter in "/\\"]:
        low, high = sorted((sign * left, sign * right))  # lines on which sign * x + y is the same
        for k in range(math.ceil((low + top) / step), math.floor((high + bottom) / step) + 1):
            a, b = max(low, k * step - bottom), min(high, k * step - top)
            yield f"M{_pair((sign * a, k * step - a))}L{_pair((sign * b, k * step - b))}"
    rows = range(math.ceil(top / step), math.floor(bottom / step) + 1)
    columns = range(math.ceil(left / step), math.floor(right / step) + 1)
    if "." in kind:
        yield from (f"M{_pair((x * step, y * step))}h0" for y in rows for x in columns)
    if "-" in kind:
        yield from (f"M{_pair((left, y * step))}H{_short(right)}" for y in rows)
    if "|" in kind:
        yield from (f"M{_pair((x * step, top))}V{_short(bottom)}" for x in columns)
