"""The pictures of chapter 05: who adds to which row, in which order, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from embag_edu.chapters import style

GAP = 3.0  # between the strip of positions and the sorted strip
HOT = style.tint(style.AMBER, 0.75)


def segments_picture(
    input: Any, offsets: Any = None, words: Sequence[str] | None = None
) -> style.Picture:
    """The positions of a call as they stand, and below them sorted by row, cut into segments.

    input:   (N,) row numbers; up to 16 read well.
    offsets: (B,) bag starts: positions get their bag's color and brackets. None: one color, and
             the row that occurs most is marked.
    words:   (V,) the word of each row, written at its segment.
    """
    rows = np.asarray(input)
    order = np.argsort(rows, kind="stable")
    names, counts = np.unique(rows, return_counts=True)
    fills, lines = _looks(rows, offsets)
    figure, ax = style.board(len(rows) + 3.4, 7.4 if offsets is not None else 6.9)
    left, top = 3.2, -1.6 if offsets is not None else -1.0
    style.cells(ax, rows, left, top, fill=fills)
    style.side_note(ax, left, top - 0.5, "input")
    if offsets is None:
        style.positions(ax, len(rows), left, top)
    else:
        _bags_above(ax, offsets, len(rows), left, top)
    low = top - 1 - GAP
    for place, position in enumerate(order):
        start, end = (left + position + 0.5, top - 1.05), (left + place + 0.5, low + 0.08)
        _thread(ax, start, end, lines[position])
    style.cells(ax, rows[order], left, low, fill=[fills[p] for p in order])
    style.side_note(ax, left, low - 0.5, "sorted")
    _segments_below(ax, names, counts, words, left, low - 1)
    return style.Picture(figure, _segments_alt(rows, order, names, counts, words))


def _looks(rows: np.ndarray, offsets: Any) -> tuple[list[Any], list[Any]]:
    """A fill and a line style for each position."""
    if offsets is not None:
        ends = np.append(offsets, len(rows))
        bag = np.repeat(np.arange(len(offsets)), np.diff(ends)).tolist()
        colors = [style.bag_color(b) for b in bag]
        return colors, [(style.bag_color(b), style.bag_line(b)) for b in bag]
    names, counts = np.unique(rows, return_counts=True)
    hot = names[counts.argmax()] if counts.max() > 1 else None
    fills = [HOT if row == hot else style.FAINT for row in rows]
    strong, weak = (style.AMBER, "-"), (style.QUIET, (0, (1.2, 1.2)))
    return fills, [strong if row == hot else weak for row in rows]


def _bags_above(ax: Axes, offsets: Any, count: int, left: float, top: float) -> None:
    ends = np.append(offsets, count)
    for bag, (begin, end) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        middle, color = left + (begin + end) / 2, style.dark(style.bag_color(bag))
        xs = [left + begin + 0.1, left + end - 0.1]
        ax.plot(xs, [top + 0.2] * 2, color=color, lw=2.2, ls=style.bag_line(bag))
        style.note(ax, middle, top + 0.65, f"bag {bag}", color=color, weight="bold")


def _thread(ax: Axes, start: tuple[float, float], end: tuple[float, float], look: Any) -> None:
    (x0, y0), (x1, y1) = start, end
    third = (y1 - y0) / 3
    points = [start, (x0, y0 + third), (x1, y1 - third), end]
    style.curve(ax, points, style.dark(look[0]), look[1])


def _segments_below(
    ax: Axes, names: Any, counts: Any, words: Any, left: float, y: float
) -> None:  # fmt: skip
    """A bracket for each segment: its row, and how many additions that row gets."""
    starts = np.append(0, np.cumsum(counts))
    for row, begin, end in zip(names, starts[:-1], starts[1:], strict=True):
        middle = left + (begin + end) / 2
        xs = np.array([begin + 0.1, begin + 0.1, end - 0.1, end - 0.1]) + left
        ax.plot(xs, [y - 0.12, y - 0.35, y - 0.35, y - 0.12], color=style.INK, lw=1.3)
        style.note(ax, middle, y - 0.68, str(end - begin), size=style.SMALL, weight="bold")
        if words is not None:
            narrow = end - begin == 1
            style.note(ax, middle + 0.3 * narrow, y - 1.0, words[row], size=7.5, vertical="top",
                       rotation=35.0 * narrow, align="right" if narrow else "center")  # fmt: skip
    style.side_note(ax, left, y - 0.68, "additions", mono=False)


def _segments_alt(rows: Any, order: Any, names: Any, counts: Any, words: Any) -> str:
    def called(row: int) -> str:
        return f"row {row}" if words is None else f"row {row} ({words[row]})"

    parts = [f"{called(row)} gets {n}" for row, n in zip(names, counts, strict=True) if n > 1]
    shared = "; ".join(parts) or "none occurs twice"
    return (
        f"Above, the input {' '.join(map(str, rows))}. A line leads from each position to its "
        f"place in the strip below, which is sorted by row: {' '.join(map(str, rows[order]))}. "
        "Lines of the same row do not cross: their order is kept. The sorted strip is cut into "
        f"{len(names)} segments, one for each row that occurs. Rows with more than one addition: "
        f"{shared}."
    )


# ---- errors ---------------------------------------------------------------------------------


def orders_picture(errors: Mapping[str, Any], bound: float, spread: Any = ()) -> style.Picture:
    """How far one float32 sum is off, for several orders of its additions, on a logarithmic axis.

    errors: order -> |sum - true sum|.
    bound:  what the analysis allows for any order.
    spread: errors of many random orders, drawn as ticks in a line of their own.
    """
    names = [*errors, *(["random orders"] if len(spread) else [])]
    figure, ax = style.figure(7.2, 0.36 * len(names) + 1.0)
    for line, error in enumerate(errors.values()):
        ax.plot([error], [line], "o", color=style.BLUE, ms=7)
        ax.axhline(line, color=style.FAINT, lw=1, zorder=0)  # a length means nothing on a log axis
    if len(spread):
        line = len(names) - 1
        ax.plot(spread, [line] * len(spread), "|", color=style.INK, ms=11)
    ax.axvline(bound, color=style.dark(style.RED), ls="--", lw=1.5)
    ax.text(bound / 1.25, len(names) - 0.55, "bound for any order", ha="right", va="center",
            bbox={"facecolor": style.PAPER, "linewidth": 0})  # fmt: skip
    ax.set_xscale("log")
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="error of the float32 sum")
    ax.set(ylim=(len(names) - 0.2, -0.7), xlim=(min(errors.values()) / 3, bound * 3))
    worst, best = max(errors, key=errors.__getitem__), min(errors, key=errors.__getitem__)
    return style.Picture(
        figure,
        "The error of one sum in float32, for several orders of the same additions, on a "
        f"logarithmic axis. The order '{worst}' is the worst and '{best}' the best by far; random "
        "orders lie close together in between. All are left of a dashed line, the bound that "
        "holds for any order.",
    )


def frequency_picture(
    counts: Any, errors: Mapping[str, Any], bound: Any, labels: Mapping[int, str]
) -> style.Picture:
    """The error of each row's gradient against how often the row occurs, both logarithmic.

    counts: (V,); errors: way of adding -> (V,); bound: (V,); labels: row -> word to name.
    """
    counts, bound = np.asarray(counts), np.asarray(bound)
    often = counts > 1
    figure, ax = style.figure(7.2, 3.8)
    looks = ((".", style.MIDDLE, 4), ("x", style.dark(style.AMBER), 3.5))
    floor = 1e-12
    for (name, error), (marker, color, size) in zip(errors.items(), looks, strict=False):
        shown = often & (np.asarray(error) > floor)
        ax.loglog(counts[shown], np.asarray(error)[shown], marker, color=color, ms=size, mew=0.8,
                  label=name, rasterized=True)  # fmt: skip
    order = np.flatnonzero(often)[np.argsort(counts[often])]
    ax.loglog(counts[order], bound[order], ".", color=style.QUIET, ms=1.5,
              rasterized=True)  # fmt: skip
    ax.plot([], [], "s", color=style.QUIET, ms=3, label="the bound of each row")
    first = np.asarray(next(iter(errors.values())))
    for row, word in labels.items():
        ax.annotate(word, (counts[row], first[row]), (-8, 14), textcoords="offset points",
                    ha="right", arrowprops={"arrowstyle": "-", "lw": 0.8})  # fmt: skip
    ax.set(xlabel="times that the word occurs", ylabel="error of its gradient")
    ax.legend(loc="upper left", frameon=False)
    one, *others = errors
    return style.Picture(
        figure,
        "Each word of the reviews as a point: the error of its gradient against how often it "
        f"occurs. Added {one}, the error rises with the count, and the most frequent word "
        f"({', '.join(labels.values())}) has the largest. "
        + (f"Added {others[0]}, those of frequent words stay far lower. " if others else "")
        + "The gray points of the bound lie above all others.",
    )  # fmt: skip


def bytes_picture(
    dense: int, sizes: Any, uncoalesced: Any, coalesced: Any, unit: str = "reviews in the batch"
) -> style.Picture:
    """The bytes of a gradient in three forms, for growing batches; both axes logarithmic."""
    sizes = np.asarray(sizes)
    figure, ax = style.figure(6.8, 3.3)
    ax.loglog(sizes, np.full(len(sizes), dense), color=style.INK, lw=1.6)
    ax.loglog(sizes, uncoalesced, "o-", color=style.BLUE, ms=4)
    ax.loglog(sizes, coalesced, "s--", color=style.dark(style.AMBER), ms=4)
    ax.text(sizes[0], dense * 1.25, "dense: V rows", va="bottom")
    ax.text(sizes[-1], uncoalesced[-1] * 1.2, "sparse: N rows", ha="right", va="bottom",
            color=style.BLUE)  # fmt: skip
    ax.text(sizes[-1], coalesced[-1] / 2.2, "coalesced: U rows", ha="right", va="top",
            color=style.dark(style.AMBER))  # fmt: skip
    ax.set(xlabel=unit, ylabel="bytes")
    ax.set_ylim(top=max(np.max(uncoalesced), dense) * 4)
    return style.Picture(
        figure,
        "Bytes of a gradient against the number of reviews in the batch, on logarithmic axes. The "
        "dense one is a level line. The sparse one, a row for each position, grows in proportion "
        "and soon crosses it. The coalesced one, a row for each distinct word, grows more slowly "
        "and stays below the dense one but for the whole collection, where they meet.",
    )
