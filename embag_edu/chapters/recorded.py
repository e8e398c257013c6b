"""Pictures of what was recorded on a GPU: the ladder as bars, the sweep as a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from embag_edu.bench.recorded import SKEWS, TORCH, Recorded
from embag_edu.chapters import style
from embag_edu.chapters.board import Board


def forward_bars(times: Recorded, dtype: str = "float32", skew: str = "uniform") -> style.Picture:
    """Each version's share of the copy rate at shapes A and B."""
    figure, axes = style.figure(9.0, 4.2, 1, 2)
    both = [times.times("forward", shape, skew, dtype).values() for shape in ("A", "B")]
    most = max(row["of_copy_rate"] for rows in both for row in rows)
    said = []
    for ax, shape in zip(axes, ("A", "B"), strict=True):
        found = times.times("forward", shape, skew, dtype)
        shares = {name: row["of_copy_rate"] for name, row in found.items()}
        ceiling = times.copy_rate_at(shape, dtype) / times.copy_rate
        _bars(ax, shares, column=1.16 * max(most, 1.0))
        ax.axvline(ceiling, color=style.INK, lw=1.2, ls=(0, (4, 2)))
        ax.set_xlim(0, 1.18 * max(most, 1.0))
        ax.set_title(f"shape {shape}: share of the copy rate")
        said.append(
            f"shape {shape}: "
            + ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            + f"; a copy of as many bytes {ceiling:.2f}"
        )
    kind = f"{dtype}, {skew} ids"
    alt = f"Bars: logical bytes a second as a share of the copy rate, {kind}. " + "; ".join(said)
    return style.Picture(figure, alt + ". The dashed line: a copy that moves as many bytes.")


def backward_bars(times: Recorded, shape: str = "B", dtype: str = "float32") -> style.Picture:
    """Each algorithm's time, in parts of torch's, at the three skews."""
    figure, axes = style.figure(9.0, 3.8, 1, 3)
    said = []
    for ax, skew in zip(axes, SKEWS, strict=True):
        found = times.times("backward", shape, skew, dtype)
        parts = {name: row["of_torch"] for name, row in found.items()}
        _bars(ax, parts, most=2.0)
        ax.axvline(1.0, color=style.INK, lw=1.2, ls=(0, (4, 2)))
        ax.set_title(skew)
        if ax is not axes[0]:
            ax.set_yticklabels([])
        said.append(f"{skew}: " + ", ".join(f"{n} {part:.2f}" for n, part in parts.items()))
    alt = f"Bars: time of the dense backward at shape {shape} in parts of torch's, {dtype}. "
    return style.Picture(figure, alt + "; ".join(said) + ". The dashed line is torch.")


def _bars(
    ax: Axes, values: dict[str, float], most: float | None = None, column: float | None = None
) -> None:
    """column: where the numbers end, one below the other; else each stands behind its bar."""
    names = list(values)
    for place, (name, value) in enumerate(values.items()):
        shown = value if most is None else min(value, most)
        theirs = name in (TORCH, "index_add_", "gather, segment_reduce")
        ax.barh(
            place,
            shown,
            color=style.PALE if theirs else style.TEAL,
            edgecolor=style.INK,
            hatch="////" if theirs else "",
            lw=0.8,
        )
        past = " (longer)" if shown < value else ""
        paper = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.8}
        label = f"{value:.2f}{past}"
        ax.annotate(
            label,
            (column or shown, place),
            (0 if column else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if column else "left",
            bbox=paper,
            fontsize=style.SMALL,
            zorder=5,
        )
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25 * min(max(values.values()), most or np.inf))


def sweep_map(times: Recorded, steps: Sequence[str] = ("forward", "backward")) -> style.Picture:
    """Ours in parts of torch's time over D and L, each number in its cell."""
    found = {step: times.sweep(step) for step in steps}
    panels = {f"{step}: ours in parts of torch's time": parts for step, parts in found.items()}
    said = [f"{s} from {min(p.values()):.2f} to {max(p.values()):.2f}" for s, p in found.items()]
    alt = "Two maps of ours in parts of torch's time over D and L: " + "; ".join(said)
    return style.Picture(_maps(panels), alt + ". Below 1 is faster than torch.")


def share_map(times: Recorded) -> style.Picture:
    """Our forward's share of the copy rate over D and L, each number in its cell."""
    found = times.shares()
    by_length: dict[int, list[float]] = {}
    for (_, L), share in found.items():
        by_length.setdefault(L, []).append(share)
    said = [f"L = {L} from {min(s):.2f} to {max(s):.2f}" for L, s in sorted(by_length.items())]
    alt = "A map of our forward's share of the copy rate over D and L: " + "; ".join(said)
    board = _maps({"forward: share of the copy rate": found}, most=1.6)
    return style.Picture(board, alt + ". A copy is a yardstick, no limit.")


def _maps(panels: dict[str, dict[tuple[int, int], float]], most: float = 1.6) -> Board:
    """Numbers by (D, L), one grid for each title; the fuller the color, the nearer to `most`."""
    first = next(iter(panels.values()))
    features, lengths = (sorted({key[i] for key in first}) for i in (0, 1))
    wide = len(lengths) + 2.5
    figure, ax = style.board(wide * len(panels), len(features) + 3)
    for number, (title, parts) in enumerate(panels.items()):
        values = np.array([[parts[D, L] for L in lengths] for D in features])
        fills = [[style.tint(style.BLUE, min(value / most, 1)) for value in row] for row in values]
        left = 2 + number * wide
        centers = style.cells(ax, values, left, -1.2, fill=fills, decimals=2, size=style.SMALL)
        for D, (_, y) in zip(features, centers[:, 0], strict=True):
            style.note(ax, left - 0.2, y, str(D), size=style.SMALL, align="right")
        for L, (x, y) in zip(lengths, centers[-1], strict=True):
            style.note(ax, x, y - 0.9, str(L), size=style.SMALL)
        middle = centers[:, :, 0].mean()
        style.note(ax, middle, -0.6, title, weight="bold")
        style.note(ax, middle, centers[-1, 0, 1] - 1.6, "mean length L")
        style.note(ax, left - 1.6, centers[:, 0, 1].mean(), "features D", rotation=90)
    return figure
