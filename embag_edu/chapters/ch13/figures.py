"""The pictures of chapter 13: losses of several implementations, and what a trained table holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from embag_edu.chapters import style

SMOOTH = 20  # steps whose mean a curve shows
FLOOR = 1e-9  # where a difference of zero is drawn


def smoothed(losses: Any, width: int = SMOOTH) -> np.ndarray:
    """(n,) the mean of each loss and those before it, `width` at most."""
    sums = np.cumsum(np.append(0.0, np.asarray(losses, np.float64)))
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def live_picture(losses: Sequence[float], steps: int, top: float | None = None) -> style.Picture:
    """The losses so far of a training of `steps` steps: a dot for each, and their running mean.

    top: where the axis of the loss ends; by default a little above the largest loss.
    """
    if not losses:
        raise ValueError("losses is empty; take a step first")
    figure, ax = style.figure(6.4, 2.6)
    ax.plot(range(1, len(losses) + 1), losses, ".", color=style.QUIET, ms=3)
    ax.plot(range(1, len(losses) + 1), smoothed(losses), color=style.BLUE, lw=2)
    ax.set(xlim=(0, steps + 1), ylim=(0, top or 1.08 * max(losses)), xlabel="step", ylabel="loss")
    lowest = smoothed(losses)[-1]
    return style.Picture(
        figure,
        f"The loss after {len(losses)} of {steps} steps: it began at {losses[0]:.2f}, and the mean "
        f"of the last {min(SMOOTH, len(losses))} is {lowest:.2f}. A dot is a step, the line the "
        "running mean.",
    )


def curves_picture(runs: Mapping[str, Sequence[float]], tolerance: float) -> style.Picture:
    """The losses of several implementations, and below how far each is from the first one's.

    runs: name -> its losses, the first (torch) is what the others are compared with. A run may be
    shorter than the first.
    """
    figure, (above, below) = style.figure(7.2, 5.0, 2, 1, sharex=True)
    (first, reference), *others = runs.items()
    steps = np.arange(1, len(reference) + 1)
    above.plot(steps, reference, color=style.PALE, lw=7, label=first, solid_capstyle="round")
    looks = zip((style.BLUE, style.AMBER, style.RED, style.TEAL), style.MARKERS, strict=False)
    apart = {}
    for at, ((name, losses), (color, marker)) in enumerate(zip(others, looks, strict=False)):
        n, shade = len(losses), style.dark(color)
        found = np.abs(np.asarray(losses) - np.asarray(reference)[:n])
        apart[name] = float(found.max())
        marks = slice(8 * at, None, 8 * len(others))
        above.plot(steps[:n], losses, color=shade, lw=0.8)
        above.plot(steps[:n][marks], losses[marks], marker, color=shade, ms=5, label=name)
        below.plot(steps[:n], np.maximum(found, FLOOR), marker, color=shade, ms=2.5, label=name)
    below.axhline(tolerance, color=style.dark(style.RED), ls="--", lw=1.4)
    below.text(1, FLOOR * 1.4, "equal bits", va="bottom", color=style.QUIET)
    below.text(1, tolerance * 1.5, "bound of rounding for one step", va="bottom")
    below.set(yscale="log", xlabel="step", ylabel=f"apart from {first}", ylim=(FLOOR / 2, 1e-2))
    above.set(ylabel="loss", ylim=(0, None))
    above.legend(frameon=False, ncols=len(runs))
    inside = "All are" if max(apart.values()) < tolerance else "Not all are"
    told = ", ".join(f"{name} by {value:.1e}" for name, value in apart.items())
    return style.Picture(
        figure,
        f"Above, the losses of {len(reference)} steps: the curves of {', '.join(runs)} lie on each "
        f"other. Below, on a logarithmic axis, how far each is from {first}'s at each step; at "
        f"most {told}. {inside} below a dashed line at {tolerance:.1e}, the bound of rounding.",
    )


# ---- what the table holds -------------------------------------------------------------------


def map_picture(
    flat: np.ndarray, words: Sequence[str], groups: Sequence[str], kept: float
) -> style.Picture:
    """Words in the plane, each with a mark of its group.

    flat: (n, 2); words, groups: (n,) names; kept: the part of the variance that the plane keeps.
    """
    figure, ax = style.figure(7.2, 5.2)
    names = list(dict.fromkeys(groups))
    for name, color, marker in zip(names, style.COLORS, style.MARKERS, strict=False):
        mine = np.array([group == name for group in groups])
        ax.plot(*flat[mine].T, marker, color=style.dark(color), ms=6, label=name,
                mfc=color)  # fmt: skip
    for (x, y), height, word in zip(flat, _apart(flat, words), words, strict=True):
        arrow = {"arrowstyle": "-", "lw": 0.6, "color": style.QUIET, "shrinkB": 3}
        ax.annotate(word, (x, y), (x + 0.015 * np.ptp(flat), height), fontsize=style.SMALL,
                    va="center", arrowprops=arrow)  # fmt: skip
    ax.set(xlabel="first component", ylabel="second component", aspect="equal")
    ax.legend(frameon=False, loc="best")
    members = "; ".join(
        f"{name}: {', '.join(w for w, g in zip(words, groups, strict=True) if g == name)}"
        for name in names
    )
    return style.Picture(
        figure,
        f"{len(words)} words as points in the plane in which their rows spread most, which keeps "
        f"{kept:.0%} of the variance. Words that speak for one department lie near each "
        f"other. {members}.",
    )


def _apart(flat: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """(n,) heights of the words' labels: each is moved up until it covers no lower one."""
    unit = np.ptp(flat)  # the width of the picture, nearly
    heights = flat[:, 1].copy()
    placed: list[int] = []
    for at in np.argsort(heights, kind="stable"):
        for other in placed:
            left, right = sorted((at, other), key=lambda k: flat[k, 0])
            meets = flat[right, 0] - flat[left, 0] < unit * (0.03 + 0.015 * len(words[left]))
            if meets and abs(heights[at] - heights[other]) < 0.03 * unit:
                heights[at] = heights[other] + 0.03 * unit
        placed = sorted([*placed, at], key=lambda k: heights[k])
    return heights


def effects_picture(words: Sequence[str], values: Any, title: str) -> style.Picture:
    """A bar for each word, from the lowest value to the highest; those below zero are hatched."""
    order = np.argsort(values, kind="stable")
    values = np.asarray(values, np.float64)[order]
    names = [words[k] for k in order]
    figure, ax = style.figure(6.4, 0.25 * len(names) + 0.9)
    below = values < 0
    rows = np.arange(len(names))
    ax.barh(rows[below], values[below], color=style.tint(style.RED, 0.5), hatch="////",
            edgecolor=style.RED, lw=0.6)  # fmt: skip
    ax.barh(rows[~below], values[~below], color=style.BLUE)
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        ax.text(0, row, f" {name} ", ha="left" if value < 0 else "right", va="center")
    ax.axvline(0, color=style.INK, lw=1)
    ax.set(yticks=[], xlabel=title, ylim=(-0.7, len(names) - 0.3))
    ax.spines["left"].set_visible(False)
    return style.Picture(
        figure,
        f"{title}, a bar for each of {len(names)} words. Lowest: {', '.join(names[:3])}, at "
        f"{values[0]:.0f}. Highest: {', '.join(names[:-4:-1])}, at {values[-1]:.0f}. Bars below "
        "zero are hatched.",
    )


def nearest_picture(found: Mapping[str, Sequence[tuple[str, float]]]) -> style.Picture:
    """For each word its neighbors, nearest first, with their cosines."""
    longest = max(len(near) for near in found.values())
    figure, ax = style.board(4 * longest + 3.4, 1.6 * len(found) + 0.4, 0.36)
    for line, (word, near) in enumerate(found.items()):
        y = -1.1 - 1.6 * line
        style.note(ax, 2.6, y, word, weight="bold", align="right")
        for at, (name, cosine) in enumerate(near):
            _neighbor(ax, 3.2 + 4 * at, y, name, cosine)
    told = "; ".join(f"{w}: {', '.join(name for name, _ in near)}" for w, near in found.items())
    return style.Picture(
        figure,
        f"For each of {len(found)} words, the words whose rows point most nearly the same way, "
        f"nearest first, with the cosine. {told}.",
    )


def _neighbor(ax: Axes, x: float, y: float, name: str, cosine: float) -> None:
    style.cells(ax, [name], x, y + 0.5, width=3.8, size=style.SMALL)
    style.note(ax, x + 1.9, y - 0.75, f"{cosine:.2f}", size=7.5, color=style.QUIET)


def ranks_picture(scores: Any, truth: Any) -> style.Picture:
    """A few scores in their order, true ones filled; below each its rank."""
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, bool)
    order = np.argsort(scores, kind="stable")
    figure, ax = style.board(len(scores) * 1.5 + 2.6, 3.4)
    looks = [style.BLUE if true else style.FAINT for true in truth[order]]
    named = ["yes" if true else "no" for true in truth[order]]
    style.cells(ax, scores[order], 2.2, -0.5, width=1.5, fill=looks, decimals=2)
    for at, name in enumerate(named):
        style.note(ax, 2.95 + 1.5 * at, -1.95, name, size=style.SMALL)
        style.note(ax, 2.95 + 1.5 * at, -2.6, str(at + 1), weight="bold")
    for y, text in ((-1.0, "score"), (-1.95, "truth"), (-2.6, "rank")):
        style.side_note(ax, 2.2, y, text, mono=False)
    ranks = np.flatnonzero(truth[order]) + 1
    return style.Picture(
        figure,
        f"{len(scores)} scores, sorted. The ranks of the true ones are "
        f"{', '.join(map(str, ranks))}: their sum is {ranks.sum()}. A true one beats each false "
        "one at its left.",
    )
