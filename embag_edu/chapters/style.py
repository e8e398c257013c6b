"""What all pictures share: the Picture with its alt text, the colors, and the drawn parts.

The parts (`cells`, `bag_brackets`, `arrow`, ...) draw on a `board` in plain units: a cell
is 1 wide and 1 high unless told otherwise, x grows to the right and y grows upwards. A grid is
placed by its top left corner, because arrays are read from there.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

try:
    import matplotlib
except ImportError:
    raise ImportError(
        "The pictures of embag_edu are drawn with matplotlib, which is not installed here: "
        "run `python -m pip install matplotlib`."
    ) from None
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex as to_hex
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path as Way
from PIL import Image

from embag_edu.chapters.board import FAINT as FAINT
from embag_edu.chapters.board import FAMILY, Board
from embag_edu.chapters.board import INK as INK
from embag_edu.chapters.board import PAPER as PAPER
from embag_edu.chapters.board import QUIET as QUIET

# Colors that stay apart for the color-blind, and in gray: their lightness (CIE L*) is, in this
# order, 31, 45, 63, 78, 88 and 42. A color never stands alone: what it says is also said by a
# label, a hatch or a line style.
BLUE, RED, TEAL, AMBER, PALE, PLUM = (
    "#0b4a7f",
    "#b3472a",
    "#47a99f",
    "#f0b541",
    "#dcdcef",
    "#8a4a8f",
)
MIDDLE = "#3b82c4"  # of points stored as pixels, which no page can swap: seen on light and on dark
COLORS = (BLUE, AMBER, TEAL, RED, PALE, PLUM)
LINES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.4, 1.2, 1.4)), (0, (3, 2)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")
HATCHES = ("", "////", "....", "xx", "\\\\\\\\", "++")

FONT = {"family": "DejaVu Sans"}  # comes with matplotlib, so a picture is the same everywhere
SIZE = 10  # points: the text in cells and beside them
SMALL = 8.5
RC = {
    "font.family": "DejaVu Sans",
    "font.size": SIZE,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "embag_edu",  # ids inside an SVG are else random
    "svg.fonttype": "path",  # letters as outlines: looks the same without our font
}
UNDATED = {"Date": None, "Creator": None}  # an SVG with the same bytes each time
LETTERS = {"svg.fonttype": "none"}  # an SVG with letters, not with their outlines
UNIT = 0.42  # inches: the side of a cell on a drawing board
DPI = 160
SHOWN_DPI = 80  # pixels of the page for an inch of the figure: half of DPI, sharp on fine screens


class Picture:
    """A figure together with the text that says what it shows, for a reader who cannot see it.

    figure: a matplotlib Figure (`style.figure` makes one), or a Board (`style.board`).
    alt:    at least one sentence that tells what is to be learnt from the picture, not only what
            kind of picture it is. ValueError when it is missing or shorter than that.

    A notebook shows a Picture that is the last value of a cell. It shows it as an HTML image,
    because JupyterLab gives a bare image/svg+xml no alt text. The plain text of it is the alt text.
    """

    def __init__(self, figure: Figure | Board, alt: str) -> None:
        words = alt.split()
        if len(words) < 5 or not alt.rstrip().endswith((".", "!", "?")):
            raise ValueError(
                f"alt is {alt!r}; it must be a whole sentence (5 words or more, with its full "
                "stop) that says what the picture shows"
            )
        self.figure = figure
        self.alt = " ".join(words)

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.image(), "text/plain": self.alt}

    def image(self) -> str:
        """The picture as an HTML image, as the notebook shows it."""
        svg, alt = self.svg(), html.escape(self.alt)
        width = _pixels(_box_of(svg)[2])
        data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
        return f'<img alt="{alt}" width="{width}" src="data:image/svg+xml;base64,{data}">'

    def png(self) -> bytes:
        """The picture as a PNG file on white, cut close to what is drawn."""
        drawn = Image.open(io.BytesIO(self._render("png", dpi=DPI))).convert("RGB")
        file = io.BytesIO()
        drawn.quantize(128).save(file, "png", optimize=True)  # a fifth of the bytes, looks the same
        return file.getvalue()

    def svg(self) -> str:
        """The picture as SVG: the same bytes each time, with the alt text as its title.

        Letters are letters, in the reader's own font where DejaVu Sans is missing.
        """
        if isinstance(self.figure, Board):
            box, parts = self.figure.parts()
            return wrapped(box, parts, f"<title>{html.escape(self.alt, quote=False)}</title>")
        return self._render("svg", LETTERS, metadata={**UNDATED, "Title": self.alt}).decode("utf-8")

    def parts(self) -> tuple[tuple[float, ...], list[str]]:
        """The viewBox (left, top, width, height in points), and the elements of the SVG in it.

        Letters are letters. Of a matplotlib figure an element may be a part of one: only all of
        them together, in their order, are SVG.
        """
        if isinstance(self.figure, Board):
            return self.figure.parts()
        svg = self._render("svg", LETTERS, metadata=UNDATED).decode("utf-8")
        body = svg[svg.index("<svg") :].partition(">\n")[2].replace("xlink:href", "href")
        body = re.sub('<g id="[^"]*"', "<g", body)  # several may stand on one page
        return _box_of(svg), body.removesuffix("</svg>\n").splitlines()

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file, by the name's ending: .svg or .png. Returns the path.

        Letters of an SVG file are outlines: it looks the same without our font.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".png"):
            raise ValueError(f"path is {str(path)!r}; its name must end in .svg or .png")
        svg = path.suffix == ".svg"
        path.write_bytes(
            self._render("svg", metadata={**UNDATED, "Title": self.alt}) if svg else self.png()
        )
        return path

    def _drawn(self) -> Figure:
        with matplotlib.rc_context(RC):
            return self.figure.figure() if isinstance(self.figure, Board) else self.figure

    def _render(
        self, kind: str, look: Mapping[str, Any] = MappingProxyType({}), **options: Any
    ) -> bytes:
        file = io.BytesIO()
        figure = self._drawn()
        with matplotlib.rc_context({**RC, **look}):
            figure.savefig(
                file,
                format=kind,
                bbox_inches="tight",
                pad_inches=0.08,
                facecolor=PAPER,
                **options,
            )
        return file.getvalue()


def _pixels(points: float) -> int:
    return round(points / 72 * SHOWN_DPI)


def _box_of(svg: str) -> tuple[float, ...]:
    """The viewBox: left, top, width, height."""
    numbers = svg.partition('viewBox="')[2].partition('"')[0].split()
    return tuple(round(float(number), 1) for number in numbers)


def wrapped(box: Sequence[float], parts: Sequence[str], more: str = "", look: str = "") -> str:
    """An SVG of a viewBox and its elements, as `Board.parts` gives them."""
    width, height = map(_pixels, box[2:])
    place = " ".join(f"{edge:g}" for edge in box)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{place}" font-family="{FAMILY}"{look}>{more}{"".join(parts)}</svg>'
    )


def figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches and its axes, for curves and bars.

    Returns (figure, axes) as `matplotlib.pyplot.subplots` does, but nothing is shown twice and
    nothing has to be closed: pyplot does not know of it.
    """
    with matplotlib.rc_context(RC):
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        return made, made.subplots(rows, columns, **options)


def board(width: float, height: float, unit: float = UNIT) -> tuple[Board, Any]:
    """A Board for drawings: x from 0 to width, y from -height up to 0. Returns (board, board).

    A unit is `unit` inches in both directions, so a cell of 1 by 1 is a square. The board takes
    what a matplotlib Axes takes, and is the figure as well: see `embag_edu.chapters.board`.
    """
    made = Board(width, height, unit)
    return made, made


def ink_on(color: Any) -> str:
    """The text color, dark or white, that is read best on `color`."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)
    )
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.22 else PAPER


def tint(color: Any, strength: float = 0.25) -> tuple[float, float, float]:
    """`color` mixed with white: strength 1 is the color itself, 0 is white."""
    red, green, blue = (1 - strength * (1 - c) for c in to_rgb(color))
    return red, green, blue


def dark(color: Any) -> tuple[float, float, float]:
    """`color`, darkened where it is too light for thin lines and letters on white."""
    red, green, blue = to_rgb(color)
    while 0.3 * red + 0.6 * green + 0.1 * blue > 0.48:
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return red, green, blue


def bag_color(bag: int) -> str:
    """The color of a bag, the same in every picture of the book."""
    return COLORS[bag % len(COLORS)]


def bag_line(bag: int) -> Any:
    """The line style of a bag, which tells bags apart without color."""
    return LINES[bag % len(LINES)]


def cells(
    ax: Any,
    values: Any,
    x: float = 0.0,
    y: float = 0.0,
    *,
    width: float = 1.0,
    height: float = 1.0,
    fill: Any = FAINT,
    hatch: Any = "",
    size: float = SIZE,
    decimals: int = 1,
    weight: str = "normal",
) -> np.ndarray:
    """Draw an array as boxes with its values in them. Returns the centers (rows, columns, 2).

    values: (columns,) for one row of boxes, or (rows, columns); numbers or strings. None is an
            empty box. Numbers that are not whole get `decimals` digits.
    x, y:   the top left corner.
    fill:   one color, or an array of colors of the shape of values, or one color for each row.
    hatch:  one hatch, or as fill.
    """
    grid = np.atleast_2d(np.asarray(values, dtype=object))
    fills, hatches = _spread(fill, grid.shape), _spread(hatch, grid.shape)
    centers = np.empty((*grid.shape, 2))
    for row, column in np.ndindex(grid.shape):
        color, pattern = fills[row][column], hatches[row][column]
        corner = (x + column * width, y - (row + 1) * height)
        ax.rectangle(corner, width, height, facecolor=color, edgecolor=PAPER, linewidth=1.8)
        if pattern:
            ax.rectangle(corner, width, height, hatch=pattern, edgecolor=QUIET, linewidth=0)
        center = (corner[0] + width / 2, corner[1] + height / 2)
        centers[row, column] = center
        text = show(grid[row, column], decimals)
        box = {"boxstyle": "round,pad=0.15", "facecolor": color, "linewidth": 0}
        note(ax, *center, text, color=ink_on(color), size=size, weight=weight,
             box=box if pattern and text else None)  # fmt: skip
    return centers


def _spread(what: Any, shape: tuple[int, ...]) -> list[list[Any]]:
    """One thing, one for each row (or each cell of a single row), or one for each cell."""
    rows, columns = shape
    if isinstance(what, str) or (isinstance(what, tuple) and len(what) in (3, 4)
                                 and all(isinstance(c, float) for c in what)):  # fmt: skip
        return [[what] * columns] * rows
    what = list(what)
    if rows == 1 and len(what) == columns:
        return [what]
    return [[w] * columns if isinstance(w, (str, tuple)) else list(w) for w in what]


def show(value: Any, decimals: int = 1) -> str:
    """A value as a short text for a box: 3, 0.5, -inf, a word; None is ''."""
    if value is None:
        return ""
    if isinstance(value, (int, np.integer, str)):
        return str(value).replace("-", "−") if not isinstance(value, str) else value
    text = f"{float(value):.{decimals}f}"
    text = text.replace("inf", "∞") if "inf" in text else text
    zero = f"{0.0:.{decimals}f}"
    return zero if text == "-" + zero else text.replace("-", "−")


def note(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    *,
    color: Any = INK,
    size: float = SIZE,
    weight: str = "normal",
    align: str = "center",
    vertical: str = "center",
    rotation: float = 0.0,
    box: dict[str, Any] | None = None,
    mono: bool = False,
) -> None:
    """A text at (x, y), centered there unless `align` ("left", "right") says otherwise."""
    family = "DejaVu Sans Mono" if mono else FONT["family"]
    ax.text(x, y, text, color=color, fontsize=size, fontweight=weight, ha=align, va=vertical,
            rotation=rotation, bbox=box, family=family, zorder=4, parse_math=False)  # fmt: skip


def bag_brackets(
    ax: Axes,
    offsets: Sequence[int] | np.ndarray,
    x: float = 0.0,
    y: float = 0.0,
    *,
    width: float = 1.0,
    depth: float = 0.28,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """Brackets below a strip of positions, one for each bag. Returns each bracket's foot (B, 2).

    offsets: (B + 1,), with the end included: bag b is the positions offsets[b] to offsets[b+1]-1.
    x, y:    the lower left corner of the strip; a position is `width` wide.

    An empty bag has no positions to bracket: a small ring marks the cut where it lies, one step
    lower, so that its name does not run into its neighbors'.
    """
    names = [f"bag {bag}" for bag in range(len(offsets) - 1)] if names is None else names
    feet = np.empty((len(names), 2))
    for bag, name in enumerate(names):
        begin, end = int(offsets[bag]), int(offsets[bag + 1])
        left, right = x + begin * width, x + end * width
        middle, foot = (left + right) / 2, y - depth - 0.1
        color = dark(bag_color(bag))
        if begin == end:
            foot -= 0.85 + 0.45 * sum(int(o) == begin for o in offsets[:bag])
            ax.plot([middle, middle], [y + 1.0, foot + 0.14], color=color, lw=1.2, ls=":")
            ax.plot(middle, foot, "o", mec=color, mfc=PAPER, ms=6, mew=1.5)
            note(ax, middle + 0.22, foot, f"{name}: empty", color=color, align="left")
        else:
            inset = 0.09
            xs = [left + inset, left + inset, right - inset, right - inset]
            ax.plot(xs, [y - 0.1, foot, foot, y - 0.1], color=color, lw=2.2,
                    solid_joinstyle="round", ls=bag_line(bag))  # fmt: skip
            note(ax, middle, foot - 0.28, name, color=color, weight="bold")
            foot -= 0.5
        feet[bag] = middle, foot
    return feet


def positions(ax: Axes, count: int, x: float, y: float, *, width: float = 1.0) -> None:
    """Small position numbers 0, 1, 2, ... above a strip whose top left corner is (x, y)."""
    for position in range(count):
        middle = x + (position + 0.5) * width
        note(ax, middle, y + 0.24, str(position), color=QUIET, size=7.5)
    side_note(ax, x, y + 0.24, "position", color=QUIET, size=7.5, mono=False)


def side_note(ax: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """The name of a strip, at the left of it; in code letters, as most are names of arguments."""
    note(ax, x - 0.25, y, text, **{"align": "right", "mono": True, **options})


def offset_marks(
    ax: Axes,
    offsets: Sequence[int] | np.ndarray,
    x: float,
    top: float,
    y: float,
    *,
    width: float = 1.0,
) -> None:
    """The offsets as numbers, each below the cut that it makes. Equal offsets stand side by side.

    The strip's lower left corner is (x, top); the numbers are written at the height y.
    """
    at_zero = sum(int(o) == 0 for o in offsets)
    side_note(ax, x - 0.3 * max(at_zero, 1), y, "offsets")
    for cut in sorted({int(o) for o in offsets}):
        place = x + cut * width
        ax.plot([place, place], [top, y + 0.3], color=QUIET, lw=0.8, zorder=1)
        times = sum(int(o) == cut for o in offsets)
        note(ax, place, y, ", ".join([str(cut)] * times), weight="bold")


def digits(*arrays: Any) -> int:
    """How many decimals, 1 or 2, show these numbers best: 1 where that shows them exactly."""
    for array in arrays:
        values = np.asarray(array, dtype=np.float64)
        values = values[np.isfinite(values)]
        if not np.allclose(values, np.round(values, 1), rtol=0, atol=1e-6):
            return 2
    return 1


def arrow(
    ax: Axes,
    start: Sequence[float],
    end: Sequence[float],
    *,
    color: Any = INK,
    line: Any = "-",
    lw: float = 1.6,
) -> None:
    """A straight arrow from start (x, y) to end (x, y)."""
    tip, tail = np.asarray(end, float), np.asarray(start, float)
    along = (tip - tail) / np.hypot(*(tip - tail)) * 0.3
    across = 0.45 * np.array([-along[1], along[0]])
    neck = tip - along
    ax.plot([tail[0], neck[0]], [tail[1], neck[1]], color=color, ls=line, lw=lw, zorder=3)
    head = [tip, neck + across, neck - across]
    ax.add_patch(Polygon(head, facecolor=color, lw=0, zorder=3))


def flow(
    ax: Axes,
    start: Sequence[float],
    end: Sequence[float],
    *,
    color: Any = INK,
    line: Any = "-",
    lw: float = 1.6,
) -> None:
    """A smooth S from a thing at the left to a thing at the right, with an arrow's head."""
    (x0, y0), (x1, y1) = start, end
    tip = x1 - 0.22
    third = (tip - x0) / 3
    curve(ax, [(x0, y0), (x0 + third, y0), (tip - third, y1), (tip, y1)], color, line, lw)
    head = [(x1, y1), (tip - 0.06, y1 + 0.13), (tip - 0.06, y1 - 0.13)]
    ax.add_patch(Polygon(head, facecolor=color, lw=0, zorder=3))


def curve(
    ax: Axes, points: Sequence[Sequence[float]], color: Any, line: Any = "-", lw: float = 1.5
) -> None:
    """A cubic curve (Bézier's): from the first of four points to the last, drawn to the others."""
    way = Way(points, [Way.MOVETO, Way.CURVE4, Way.CURVE4, Way.CURVE4])
    ax.add_patch(PathPatch(way, fill=False, ec=color, ls=line, lw=lw, zorder=2))
