"""The pictures of chapter 10: rows of a warp joined, hits of hot rows, one sum in many orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu.chapters import style
from embag_edu.cuda.prediction import WARP, contention

MOST_LANES = 16

# -------------------------------------------------------------------------- contention


def skewed(N: int, V: int, skew: float, seed: int = 10) -> np.ndarray:
    """N rows out of V, drawn by Zipf's law: row k has probability in proportion to 1 / (k+1)**skew.

    skew 0: all rows alike. Row 0 is the commonest. (N,) int64; the same for the same arguments.
    """
    if not (N >= 1 and V >= 1 and skew >= 0):
        raise ValueError(f"N is {N!r}, V {V!r}, skew {skew!r}; valid: N and V from 1, skew from 0")
    shares = 1.0 / np.arange(1, V + 1) ** skew
    ends = np.cumsum(shares) / shares.sum()
    drawn = np.searchsorted(ends, np.random.default_rng(seed).random(N), side="right")
    return np.minimum(drawn, V - 1)


def contention_picture(skew: float, N: int = 2048, V: int = 256, most: int = 24) -> style.Picture:
    """Bars: the hits of the `most` hottest rows, of N positions drawn with this skew.

    Wide bars: one atomic for each position. Narrow bars, before them: equal rows of a warp joined.
    """
    plain, joined = contention(skewed(N, V, skew))
    rows = [row for row, _ in plain.most_common(most)]
    figure, ax = style.figure(7.2, 3.3)
    at = np.arange(len(rows))
    ax.bar(at, [plain[r] for r in rows], 0.84, color=style.tint(style.BLUE, 0.45),
           edgecolor=style.dark(style.BLUE), label="an atomic for each position")  # fmt: skip
    ax.bar(at, [joined[r] for r in rows], 0.4, color=style.AMBER, hatch="////",
           edgecolor=style.INK, lw=0.6, label="equal rows of a warp joined")  # fmt: skip
    warps = -(-N // WARP)
    ax.axhline(warps, color=style.dark(style.RED), ls="--", lw=1.2)
    ax.text(len(rows) - 0.4, warps + 0.012 * max(plain.values()), f"{warps} warps", ha="right",
            va="bottom", color=style.dark(style.RED))  # fmt: skip
    top, top_joined = max(plain.values()), max(joined.values())
    ax.set(xlabel=f"the {len(rows)} hottest of {V} rows, hottest first", xticks=[])
    ax.set(ylabel="hits of one address", ylim=(0, 1.45 * max(top, warps)))
    ax.set_title(f"skew {skew:.2f}: the hottest row is hit {top:,} times, joined {top_joined}")
    ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 1))
    return style.Picture(
        figure,
        f"Bars for the {len(rows)} hottest of {V} rows, for {N:,} positions with skew {skew:.2f}. "
        f"With an atomic for each position the hottest address is hit {top:,} times; on average "
        f"a row is hit {N / V:.0f} times. With equal rows of a warp joined it is hit at most "
        f"{top_joined} times, and never more often than there are warps, {warps}: a dashed line.",
    )


# -------------------------------------------------------------------------- one sum, many orders


def orders_picture(sums: Sequence[float], true: float, bound: float, asked: int) -> style.Picture:
    """The results of one float32 sum in many orders, on a line, and how often each came.

    sums: one result for each order. true: the sum of real numbers. bound: the largest error that
    any order may have. asked: how many numbers were added.
    """
    seen = Counter(float(value) - true for value in sums)
    figure, ax = style.figure(7.2, 3.0)
    for error, times in seen.items():
        ax.plot([error, error], [0, times], color=style.BLUE, lw=2)
        ax.plot([error], [times], "o", color=style.BLUE, ms=5)
    widest = max(abs(error) for error in seen) or bound
    ax.axvline(0, color=style.INK, lw=1, ls=(0, (1.2, 1.2)))
    most = max(seen.values())
    ax.text(0.02 * widest, 1.13 * most, "the true sum", ha="left", va="bottom")
    ax.set(xlabel="float32 sum minus true sum", ylabel="orders", ylim=(0, 1.28 * most))
    ax.set(xlim=(-1.35 * widest, 1.35 * widest))
    ax.ticklabel_format(axis="x", style="sci", scilimits=(0, 0), useMathText=False)
    many = f"{len(seen)} different result{'s' * (len(seen) != 1)}"
    told = f"{many} of {len(sums)} orders of one sum of {asked:,} numbers"
    ax.set_title(f"{told}; the bound is {bound / widest:.0f} times wider", fontsize=10)
    return style.Picture(
        figure,
        f"{told}, as pins along an axis of their error; a pin is as high as the number of orders "
        f"that gave it. They lie on both sides of the true sum, at most {widest:.1e} away. The "
        f"bound for any order, {bound:.1e}, is {bound / widest:.0f} times as far.",
    )


# -------------------------------------------------------------------------- joined lanes


def join_picture(rows: Sequence[int]) -> style.Picture:
    """A warp's lanes with their rows, and the atomics that they send: one by one, and joined.

    rows: one for each lane, at most 16 lanes. ValueError above that.
    """
    if not 1 <= len(rows) <= MOST_LANES:
        raise ValueError(f"rows holds {len(rows)}; a picture shows 1 to {MOST_LANES} lanes")
    n, different = len(rows), list(dict.fromkeys(rows))
    figure, ax = style.board(n + 7.2, 10.6)
    x, color = 3.6, {row: style.bag_color(k) for k, row in enumerate(different)}
    fills = [color[row] for row in rows]
    style.side_note(ax, x, -1.5, "row of the lane", mono=False)
    for lane in range(n):
        style.note(ax, x + lane + 0.5, -0.6, str(lane), color=style.QUIET, size=7.5)
    style.cells(ax, list(rows), x, -1.0, fill=fills)
    left = x + (n - len(different)) / 2
    for y, name in ((-5.0, "one by one"), (-10.0, "joined")):
        style.side_note(ax, x, y + 0.5, name, mono=False)
        _draw_rows(ax, left, y, different, color)
    hits = Counter(rows)
    for lane, row in enumerate(rows):
        to = left + different.index(row) + 0.5
        ax.plot([x + lane + 0.5, to], [-2.05, -3.95], color=style.INK, lw=0.9)
    for k, row in enumerate(different):
        lanes = [lane for lane in range(n) if rows[lane] == row]
        at = x + lanes[0] + 0.5
        ax.plot([at, left + k + 0.5], [-7.05, -8.95], color=style.INK, lw=1.8)
    leads = [rows.index(row) == lane for lane, row in enumerate(rows)]
    shares = [hits[row] if first else "" for row, first in zip(rows, leads, strict=True)]
    fills = [fill if first else style.FAINT for fill, first in zip(fills, leads, strict=True)]
    style.cells(ax, shares, x, -6.0, fill=fills)
    style.side_note(ax, x, -6.5, "shares of the leader", mono=False)
    style.note(ax, x + n + 0.3, -3.0, _times(n), align="left")
    style.note(ax, x + n + 0.3, -8.0, _times(len(different)), align="left")
    worst = max(hits.values())
    return style.Picture(
        figure,
        f"{n} lanes of a warp hold the rows {', '.join(map(str, rows))}. One by one they send "
        f"{n} atomics, {worst} of them to one row. Joined, the first lane of each row takes the "
        f"shares of all lanes with that row, and sends one atomic: {len(different)} in all, one "
        "to each row.",
    )


def _draw_rows(ax: Axes, x: float, y: float, rows: Sequence[int], color: dict) -> None:
    style.cells(ax, list(rows), x, y + 1, fill=[color[row] for row in rows])
    ax.add_patch(Rectangle((x, y), len(rows), 1, fill=False, lw=1.4, ec=style.INK, zorder=3))


def _times(n: int) -> str:
    return f"{n} atomic{'s' * (n != 1)}"
