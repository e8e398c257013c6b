"""The control of chapter 01: move the cuts between bags, and see which words change bags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embag_edu.chapters.ch01.figures import bag_picture
from embag_edu.chapters.control import Axis, Control, control, rows_in_use, table_of
from embag_edu.chapters.style import Picture

MODES = ("sum", "mean", "max")


def bag_control(
    input: Any, offsets: Sequence[int], weight: Any, words: Sequence[str], mode: str = "sum"
) -> Control:
    """One slider for each offset but the first, a choice of mode, and the picture of that call.

    input:   (N,) ids; words: N strings, one for each.
    offsets: (B,) the starts at the beginning, 0 first. weight: (V, D).

    Offsets can't decrease: a slider that is moved past its neighbor takes the neighbor along.
    """
    ids, starts = np.asarray(input).tolist(), np.asarray(offsets).tolist()
    return _bag_control(ids, starts, rows_in_use(weight, ids), list(words), mode)


@control
def _bag_control(ids: list[int], offsets: list[int], rows: Mapping[str, list[float]],
                 words: list[str], mode: str) -> Control:  # fmt: skip
    weight, places = table_of(rows), range(len(ids) + 1)
    cuts = [Axis(f"offsets[{bag}]", places, at) for bag, at in enumerate(offsets) if bag]

    def draw(*state: Any) -> Picture:
        *starts, mode = state
        return bag_picture(ids, [0, *starts], weight, mode, words, steady=True)

    def told(*state: Any) -> list[str]:
        *starts, mode = state
        call = f'embedding_bag(input, weight, np.array({[0, *starts]}), mode="{mode}")'
        return [call, *bags_in_words([0, *starts], words)]

    axes = [*cuts, Axis("mode", MODES, mode, "choice")]
    title = "Move the cuts between the bags"
    return Control("01-cuts", title, axes, draw, told, rising=range(len(cuts)))


def bags_in_words(offsets: Sequence[int], words: Sequence[str]) -> list[str]:
    """A sentence for each bag: its words, or what made it empty."""
    ends = [*offsets[1:], len(words)]
    return [
        f"Bag {bag}: {' '.join(words[start:end])}."
        if start < end
        else f"Bag {bag} is empty: it begins and ends at {start}, so its output is zeros."
        for bag, (start, end) in enumerate(zip(offsets, ends, strict=True))
    ]
