"""The control of chapter 04: how many rows a block holds, and which bags fall into which piece."""

from __future__ import annotations

from collections.abc import Sequence

from embag_edu.chapters.ch04.figures import pieces_picture
from embag_edu.chapters.control import Axis, Control, control


def pieces_control(lengths: Sequence[int], limit: int = 8) -> Control:
    """A slider for the rows of a block, a choice of D, and the pieces that the bags are cut into.

    lengths: of each bag, at most 40 positions together.
    """
    return _pieces_control([int(length) for length in lengths], limit)


@control
def _pieces_control(lengths: list[int], limit: int) -> Control:
    axes = (
        Axis("rows in a block", range(3, min(max(sum(lengths), 3), 40) + 1), limit),
        Axis("D", (16, 64, 128, 1024), 64, "choice"),
    )
    return Control("04-pieces", "How many rows a block holds", axes,
                   lambda limit, D: pieces_picture(lengths, limit, D))  # fmt: skip
