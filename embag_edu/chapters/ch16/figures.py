"""The pictures of chapter 16: packed rows, error against bytes, a weight that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from embag_edu.beyond.rows import pack, unpack
from embag_edu.beyond.rows_format import FORMATS, row_bytes
from embag_edu.chapters import style

FEATURES, ROWS = 64, 256
SHORT = {"float8_e4m3fn": "fp8", "bfloat16": "bf16", "float16": "fp16"}

# -------------------------------------------------------------------------- packed rows


def packed_picture(numbers: Sequence[float]) -> style.Picture:
    """A row of 2 to 10 numbers, an even number of them, packed as int8 and as int4, byte by byte.

    ValueError for another number of them.
    """
    row = np.asarray(numbers, np.float32)
    if len(row) not in range(2, 11, 2):
        raise ValueError(f"numbers holds {len(row)}; valid: 2, 4, 6, 8 or 10")
    eight, four = (pack(row[None], format) for format in ("int8", "int4"))
    figure, ax = style.board(len(row) + 13.0, 6.2)
    x = 4.4
    style.side_note(ax, x, -1.0, "4 bytes each", mono=False)
    style.cells(ax, [f"{number:.4g}" for number in row], x, -0.5, width=1.0)
    scale, bias = eight.tail(np.float32)[0]
    style.side_note(ax, x, -3.1, "int8", mono=False)
    style.cells(ax, eight.packed[0, : len(row)].tolist(), x, -2.6, fill=style.tint(style.BLUE))
    _tail(ax, x + len(row), -2.6, 4, scale, bias)
    scale4, bias4 = four.tail(np.float16)[0].astype(np.float32)
    halves = four.packed[0, : len(row) // 2]
    style.side_note(ax, x, -5.2, "int4", mono=False)
    labels = [f"{byte >> 4} {byte & 15}" for byte in halves.tolist()]
    style.cells(ax, labels, x, -4.7, fill=style.tint(style.TEAL))
    _tail(ax, x + len(halves), -4.7, 2, scale4, bias4)
    style.side_note(ax, x, -5.9, "upper, lower half", mono=False)
    q4 = np.stack([halves & 15, halves >> 4], axis=1).reshape(-1)
    return style.Picture(
        figure,
        f"The row {', '.join(f'{number:.4g}' for number in row)}. As int8: one byte for each, "
        f"{', '.join(map(str, eight.packed[0, : len(row)].tolist()))}, then 4 bytes of scale, "
        f"{scale:.4g}, and 4 of bias, {bias:.4g}: {eight.packed.shape[1]} bytes. As int4: two in a "
        f"byte, the even feature in the lower half, {', '.join(map(str, q4.tolist()))}, then 2 "
        f"bytes of scale, {scale4:.4g}, and 2 of bias, {bias4:.4g}: {four.packed.shape[1]} bytes.",
    )


def _tail(ax: Any, x: float, y: float, width: int, scale: float, bias: float) -> None:
    for k, (name, value) in enumerate((("scale", scale), ("bias", bias))):
        label = f"{value:.3g}"
        fill = style.tint(style.AMBER, 0.45)
        style.cells(ax, [label], x + k * width, y, width=width, fill=fill)
        style.note(ax, x + (k + 0.5) * width, y + 0.35, name)


# -------------------------------------------------------------------------- error and bytes


class Point(NamedTuple):
    """Bytes of a packed row, and the error of its numbers: rms, in parts of their own rms."""

    bytes: int
    error: float


def drawn_table(outlier: float = 0.0) -> np.ndarray:
    """(256, 64) float32 normal numbers; with an outlier, the first of each row is as large."""
    table = np.random.default_rng(16).normal(size=(ROWS, FEATURES)).astype(np.float32)
    if outlier:
        table[:, 0] = outlier
    return table


def errors(outlier: float = 0.0) -> dict[str, Point]:
    """Each format: bytes of a row, and the error of all numbers but the outlier."""
    table = drawn_table(outlier)
    usual = table[:, 1:].astype(np.float64)
    found = {}
    for format in FORMATS:
        lost = unpack(pack(table, format))[:, 1:] - usual
        error = float(np.sqrt(np.mean(lost**2) / np.mean(usual**2)))
        found[format] = Point(row_bytes(format, FEATURES), error)
    return found


def error_picture(outlier: float = 30.0) -> style.Picture:
    """Error against bytes of a row of 64, for each format, with and without one outlier a row.

    outlier: its size, in standard deviations of the other numbers.
    """
    without, having = errors(), errors(outlier)
    figure, ax = style.figure(7.2, 4.0)
    for format in FORMATS:
        (at, low), (_, high) = without[format], having[format]
        ax.plot([at, at], [low, high], color=style.QUIET, lw=1)
        ax.plot(at, low, "o", color=style.BLUE, ms=6)
        ax.plot(at, high, "s", color=style.dark(style.RED), ms=11, mfc="none", mew=2)
        side = (-12, "right") if format == "float8_e4m3fn" else (12, "left")
        ax.annotate(SHORT.get(format, format), (at, low), (side[0], -4), ha=side[1],
                    textcoords="offset points")  # fmt: skip
    _key(ax, outlier)
    bytes_of = 4 * FEATURES
    ax.set(xscale="log", yscale="log", xlim=(30, 170), ylim=(1e-4, 9))
    ax.set(xticks=[36, 48, 72, 96, 128], xticklabels=["36", "48", "72", "96", "128"])
    ax.minorticks_off()
    ax.set(xlabel=f"bytes of a row (float32: {bytes_of})", ylabel="error, divided by the rms")
    told = "; ".join(
        f"{format}, {p.bytes} bytes, {p.error:.2g} and {having[format].error:.2g}"
        for format, p in without.items()
    )
    return style.Picture(
        figure,
        f"Error against bytes for rows of {FEATURES} numbers. For each format the error without an "
        f"outlier, and with one number of {outlier:g} standard deviations in each row: {told}. "
        "Formats with one step for the whole row lose, those with a point do not.",
    )


def _key(ax: Axes, outlier: float) -> None:
    ax.plot([], [], "o", color=style.BLUE, ms=6, label="no outlier")
    ax.plot([], [], "s", color=style.dark(style.RED), ms=11, mfc="none", mew=2,
            label=f"one of {outlier:g}")  # fmt: skip
    ax.legend(frameon=False, loc="upper right")


# -------------------------------------------------------------------------- rounding by chance


def walk_picture(nearest: np.ndarray, chance: np.ndarray, exact: np.ndarray) -> style.Picture:
    """One weight over steps: rounded to the nearest, by chance (several, and their mean), exactly.

    nearest, exact: (steps,). chance: (walks, steps).
    """
    figure, ax = style.figure(7.2, 3.4)
    steps = np.arange(1, len(exact) + 1)
    for walk in chance[:6]:
        ax.plot(steps, walk, color=style.tint(style.TEAL, 0.6), lw=0.9)
    mean = chance.mean(axis=0)
    ax.plot(steps, nearest, color=style.dark(style.RED), lw=2.5, ls=style.LINES[1])
    ax.plot(steps, exact, color=style.INK, lw=3.5, ls=style.LINES[2])
    ax.plot(steps, mean, color=style.BLUE, lw=1.5)
    ax.text(steps[-1], nearest[-1], " nearest", color=style.dark(style.RED), va="center")
    ax.text(steps[-1], exact[-1], " exact,\n mean", color=style.BLUE, va="center")
    ax.set(xlabel="step", ylabel="weight", xlim=(0, 1.12 * steps[-1]))
    return style.Picture(
        figure,
        f"One weight over {len(steps)} steps. Exactly it goes from {exact[0]:.4f} to "
        f"{exact[-1]:.4f}. Rounded to the nearest it stays at {nearest[-1]:.4f}, a level line. "
        f"Rounded by chance it walks around the exact line: {len(chance)} walks have a mean of "
        f"{mean[-1]:.4f} at the end.",
    )
