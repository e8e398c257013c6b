"""The control of chapter 02: one bag of a real review, whose options can be switched."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embag_edu.chapters import style
from embag_edu.chapters.ch02.figures import counting_picture
from embag_edu.chapters.control import Axis, Control, control, exactly, rows_in_use, table_of

POISONS = {"its own numbers": None, "NaN": np.nan, "+inf": np.inf, "-inf": -np.inf}


def counting_control(
    words: Sequence[str],
    input: Any,
    weight: Any,
    per_sample_weights: Any,
    padding_idx: int = 0,
) -> Control:
    """Switch the options of one bag and see which numbers count, and who wins.

    The arguments are those of `figures.counting_picture`. One row of the table can be given NaN or
    infinity in its first feature. `weight` itself is not changed.
    """
    ids = np.asarray(input).tolist()
    rows, psw = rows_in_use(weight, ids), exactly(per_sample_weights)
    return _counting_control(list(words), ids, rows, psw, padding_idx)


@control
def _counting_control(words: list[str], ids: list[int], rows: Mapping[str, list[float]],
                      psw: list[float], padding_idx: int) -> Control:  # fmt: skip
    row_of = dict(zip(words, ids, strict=True))  # a repeated word stands there once

    def draw(mode: str, padding: bool, weighted: bool, poison: str, word: str) -> style.Picture:
        table = table_of(rows)
        if POISONS[poison] is not None:
            table[row_of[word], 0] = POISONS[poison]
        try:
            return counting_picture(words, ids, table, mode, padding_idx if padding else None,
                                    np.array(psw, np.float32) if weighted else None)  # fmt: skip
        except NotImplementedError as error:
            return refusal_picture(error)

    axes = (
        Axis("mode", ("sum", "mean", "max"), "mean", "choice"),
        Axis(f"padding_idx={padding_idx}", (False, True), False),
        Axis("per_sample_weights", (False, True), False),
        Axis("feature 0 holds", tuple(POISONS), "its own numbers", "choice"),
        Axis("in the row of", tuple(row_of), words[0], "choice"),
    )
    return Control("02-counting", "Which numbers of a bag count", axes, draw)


def refusal_picture(error: Exception) -> style.Picture:
    """The error of a call that is refused, in place of its picture."""
    name, lines = type(error).__name__, textwrap.wrap(str(error), 76)
    figure, ax = style.board(22, 1.2 + 0.6 * len(lines))
    style.note(ax, 0.2, -0.5, name, align="left", weight="bold", color=style.RED)
    for number, line in enumerate(lines):
        style.note(ax, 0.2, -1.2 - 0.6 * number, line, align="left")
    return style.Picture(figure, f"This call is refused. {name}: {error}".rstrip(".") + ".")
