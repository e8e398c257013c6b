"""The pictures of chapter 14: what a step moves, and what one update for each occurrence does."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from embag_edu.beyond import fused_bytes as model
from embag_edu.beyond.fused import SGD, Adagrad, Adam, Optimizer, RowWiseAdagrad
from embag_edu.chapters import style

OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": SGD(0.1),
    "row-wise Adagrad": RowWiseAdagrad(0.1),
    "Adagrad": Adagrad(0.1),
    "Adam": Adam(0.1),
}
V, D, N = 1_000_000, 128, 61_440  # a fifth of shape A


@lru_cache(maxsize=64)
def touched(skew: float, rows: int = V, positions: int = N) -> int:
    """How many distinct rows are to be expected: row k with probability as 1 / (k + 1)**skew."""
    shares = np.arange(1, rows + 1, dtype=float) ** -skew
    shares /= shares.sum()
    return round(-np.expm1(positions * np.log1p(-shares)).sum())


def bytes_picture(skew: float) -> style.Picture:
    """Bytes of a dense and of a fused step, by optimizer."""
    U = touched(skew)
    shape = model.Shape(V, D, N, U)
    moved = {name: (model.dense(shape, one), model.fused(shape, one))
             for name, one in OPTIMIZERS.items()}  # fmt: skip
    figure, ax = style.figure(8.4, 3.4, 1, 1)
    for at, (name, (dense, fused)) in enumerate(moved.items()):
        style_of = {"edgecolor": style.INK, "lw": 0.6}
        ax.barh(-at + 0.19, dense / 1e6, 0.36, color=style.AMBER, hatch="////", **style_of)
        ax.barh(-at - 0.19, fused / 1e6, 0.36, color=style.BLUE, **style_of)
        ax.text(dense / 1e6, -at + 0.19, f" dense: {dense / 1e6:,.0f}", va="center")
        ax.text(fused / 1e6, -at - 0.19, f" fused: {fused / 1e6:,.0f}", va="center")
        ax.text(-0.02, -at, name, va="center", ha="right", transform=ax.get_yaxis_transform())
    ax.set(yticks=[], xscale="log", xlim=(10, 2e4), xlabel="MB of one step, without the forward")
    ax.spines["left"].set_visible(False)
    ratio = moved["SGD"][0] / moved["SGD"][1]
    figure.suptitle(f"skew {skew:.2f}: U = {U:,} of {V:,} rows; with SGD {ratio:.0f} times fewer",
                    x=0.01, ha="left", fontsize=11)  # fmt: skip
    told = "; ".join(f"{name} {a / 1e6:,.0f} and {b / 1e6:,.0f}" for name, (a, b) in moved.items())
    return style.Picture(
        figure,
        f"Bars of the megabytes that one step moves, dense and fused, for a table of {V:,} rows of "
        f"{D} features and {N:,} positions with skew {skew:.2f}, of which {U:,} distinct rows are "
        f"to be expected: {told}. With SGD the fused step moves {ratio:.0f} times fewer.",
    )


def steps_picture(hits: int = 8) -> style.Picture:
    """How far one step goes when a row occurs k times with a gradient of 1 each."""
    k = np.arange(1, hits + 1)
    exact, each = np.ones(hits), np.cumsum(1 / np.sqrt(k))
    figure, ax = style.figure(6.4, 3.2, 1, 1)
    ax.plot(k, each, color=style.dark(style.RED), marker="s", ls=(0, (5, 1.6)))
    ax.plot(k, exact, color=style.BLUE, marker="o")
    ax.text(hits - 0.25, each[-1], "one update for each occurrence", ha="right", va="bottom")
    ax.text(hits, 1.1, "one update by the sum", ha="right", va="bottom")
    ax.set(xlabel="how often the row occurs", ylabel="first step of Adagrad, in lr", ylim=(0, 5.5))
    return style.Picture(
        figure,
        "Two lines over how often a row occurs, each time with gradient 1: the first step of "
        f"Adagrad by the sum is lr throughout; with one update for each occurrence it grows to "
        f"{each[-1]:.2f} lr for {hits} occurrences.",
    )
