"""The pictures of chapter 11: runs, pieces and partial sums, and the busiest of each version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from embag_edu.chapters import style
from embag_edu.chapters.ch10.figures import skewed
from embag_edu.cuda.launch_backward import PIECE
from embag_edu.cuda.prediction import Loads, loads

MOST_ENTRIES = 24

# -------------------------------------------------------------------------- the busiest


def balance_picture(skew: float, N: int = 4096, V: int = 512) -> style.Picture:
    """The entries of each warp in versions 5 and 6, and the busiest of all versions.

    N positions are drawn out of V rows with this skew: see `skewed`.
    """
    rows = skewed(N, V, skew)
    load = loads(rows)
    figure, (left, right) = style.figure(9.2, 3.5, 1, 2, width_ratios=(1.15, 1))
    _draw_warps(left, rows, load)
    _draw_busiest(right, load)
    figure.suptitle(
        f"skew {skew:.2f}: the longest run has {load.longest:,} of {N:,} entries",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    return style.Picture(
        figure,
        f"Two panels for {N:,} positions in {V} rows, drawn with skew {skew:.2f}. Left, the "
        f"entries of each warp, busiest first: version 5 has {load.runs} warps, and the busiest "
        f"adds {load.longest:,} entries, where the mean is {N / load.runs:.0f}; version 6 has "
        f"{load.pieces} warps of {PIECE} entries each, a level line. Right, bars for the busiest: "
        f"{load.hits:,} atomics at one address in version 1, {load.joined} in version 4, "
        f"{load.longest:,} entries in one warp of version 5, {PIECE} in one of version 6, whose "
        f"second pass adds at most {load.walk} partial sums in a warp.",
    )


def _draw_warps(ax: Axes, rows: np.ndarray, load: Loads) -> None:
    lengths = np.sort(np.unique(rows, return_counts=True)[1])[::-1]
    ax.step(np.arange(load.runs) + 1, lengths, where="mid", color=style.BLUE, lw=2)
    ax.plot([1, load.pieces], [PIECE, PIECE], color=style.dark(style.RED), lw=3, ls=(0, (3, 1)))
    ax.set(xscale="log", yscale="log", ylim=(0.8, 3 * max(load.longest, PIECE)))
    ax.set(xlabel="warps, busiest first", ylabel="entries of the warp")
    ax.set(xlim=(0.9, 1.2 * max(load.runs, load.pieces)))
    ax.text(1.0, 1.35 * load.longest, f"version 5: {load.runs} runs", color=style.BLUE)
    below = PIECE / 1.5 if load.longest > PIECE else PIECE * 1.5
    ax.text(1.0, below, f"version 6: {load.pieces} pieces", color=style.dark(style.RED),
            va="top" if below < PIECE else "bottom")  # fmt: skip


def _draw_busiest(ax: Axes, load: Loads) -> None:
    bars = {
        "1: atomics at one address": (load.hits, style.AMBER, "////"),
        "4: the same, joined": (load.joined, style.tint(style.AMBER, 0.5), "////"),
        "5: entries of a warp": (load.longest, style.tint(style.BLUE, 0.6), ""),
        "6: entries of a warp": (PIECE, style.tint(style.RED, 0.7), "xx"),
        "6: partial sums of a warp": (load.walk, style.tint(style.RED, 0.35), "xx"),
    }
    for at, (name, (value, color, hatch)) in enumerate(bars.items()):
        ax.barh(-at, value, 0.7, color=color, hatch=hatch, edgecolor=style.INK, lw=0.6)
        ax.text(value, -at, f" {value:,}", va="center", ha="left")
        ax.text(-0.02, -at, name, va="center", ha="right", transform=ax.get_yaxis_transform())
    ax.set(yticks=[], xlim=(0, 1.25 * max(load.hits, PIECE)), xlabel="the busiest has to do")
    ax.spines["left"].set_visible(False)


# -------------------------------------------------------------------------- runs and pieces


def pieces_picture(rows: Sequence[int], piece: int = 4) -> style.Picture:
    """Sorted rows, cut in two ways: into runs (version 5), and into pieces of equal length (6).

    Below a piece stand its two places for partial sums, head and tail, with the row that uses them.
    rows: sorted, at most 24; ValueError else.
    """
    keys = [int(row) for row in rows]
    if not 1 <= len(keys) <= MOST_ENTRIES or keys != sorted(keys):
        raise ValueError(f"rows is {keys}; valid: 1 to {MOST_ENTRIES} rows, sorted")
    names = list(dict.fromkeys(keys))
    color = {row: style.bag_color(k) for k, row in enumerate(names)}
    figure, ax = style.board(len(keys) + 5.6, 8.0)
    x, y = 5.0, -2.3
    style.side_note(ax, x, y + 0.9, "version 5: a warp a run", mono=False)
    _brackets(ax, _runs(keys), x, y + 0.15, 1)
    style.cells(ax, keys, x, y, fill=[color[row] for row in keys])
    style.side_note(ax, x, y - 0.5, "sorted rows", mono=False)
    spans = [(k, min(k + piece, len(keys))) for k in range(0, len(keys), piece)]
    style.side_note(ax, x, y - 1.9, "version 6: a warp a piece", mono=False)
    _brackets(ax, spans, x, y - 1.15, -1)
    style.side_note(ax, x, y - 4.0, "head and tail", mono=False)
    used = [_draw_partials(ax, keys, span, x, y - 3.5, color) for span in spans]
    return style.Picture(figure, _pieces_alt(keys, names, spans, used))


def _runs(keys: list[int]) -> list[tuple[int, int]]:
    starts = [k for k in range(len(keys)) if k == 0 or keys[k] != keys[k - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


def _brackets(ax: Axes, spans: list[tuple[int, int]], x: float, y: float, side: int) -> None:
    """A bracket for each warp, above (side 1) or below (-1), with how many entries it adds."""
    for begin, end in spans:
        xs = np.array([begin + 0.1, begin + 0.1, end - 0.1, end - 0.1]) + x
        ax.plot(xs, [y, y + 0.3 * side, y + 0.3 * side, y], color=style.INK, lw=1.3)
        style.note(ax, x + (begin + end) / 2, y + 0.75 * side, str(end - begin), weight="bold")


def _draw_partials(
    ax: Axes, keys: list[int], span: tuple[int, int], x: float, y: float, color: dict
) -> list[int]:
    """The two places of a piece; returns the rows that leave a partial sum there."""
    begin, end = span
    head = begin > 0 and keys[begin] == keys[begin - 1]
    tail = end < len(keys) and keys[end - 1] == keys[end]
    filled = head and tail and keys[begin - 1] == keys[end]
    places = ((head, keys[begin], ""), (tail, keys[end - 1], ": 0" if filled else ""))
    middle = x + (begin + end) / 2
    for k, (used, row, more) in enumerate(places):
        fill = color[row] if used else style.FAINT
        label = f"{row}{more}" if used else "–"
        style.cells(ax, [label], middle - 1.3 + 1.3 * k, y, width=1.3, fill=[fill])
    return [row for used, row, _ in places if used]


def _pieces_alt(keys: list[int], names: list[int], spans: list, used: list[list[int]]) -> str:
    told = [f"piece {k} for {_listed(rows)}" for k, rows in enumerate(used) if rows]
    longest = max(end - begin for begin, end in _runs(keys))
    return (
        f"{len(keys)} sorted rows, {' '.join(map(str, keys))}, cut in two ways. Above, version 5: "
        f"{len(names)} runs, one for each row, and the longest has {longest} entries. Below, "
        f"version 6: {len(spans)} pieces of equal length. A run that is cut leaves a partial sum "
        f"at the head or the tail of its pieces: {'; '.join(told) or 'no run is cut'}. Where one "
        "run fills a piece, the tail is 0."
    )


def _listed(rows: list[int]) -> str:
    rows = list(dict.fromkeys(rows))
    return f"row{'s' * (len(rows) > 1)} {' and '.join(map(str, rows))}"
