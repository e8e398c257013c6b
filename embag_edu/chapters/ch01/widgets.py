"""The control of chapter 01: move the cuts between bags, and see which words change bags."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from embag_edu.chapters import style
from embag_edu.chapters.ch01.figures import CELL, bag_picture

# A slider's handle stands about above the cut that it makes in the picture below.
POSITION = CELL * style.UNIT * style.SHOWN_DPI  # pixels
LABEL = "66px"
MODES = ("sum", "mean", "max")
TOOLTIPS = ("add the rows up", "divide the sum by their number", "the largest of each feature")


class BagControl(widgets.VBox):
    """One slider for each offset but the first, a choice of mode, and the picture of that call.

    input:   (N,) ids; words: N strings, one for each.
    offsets: (B,) the starts at the beginning, 0 first.
    weight:  (V, D).

    Offsets can't decrease: a slider that is moved past its neighbor takes the neighbor along.
    A small call is drawn in about a tenth of a second.
    """

    def __init__(
        self,
        input: np.ndarray,
        offsets: Sequence[int] | np.ndarray,
        weight: np.ndarray,
        words: Sequence[str],
        mode: str = "sum",
    ) -> None:
        self.input, self.weight, self.words = np.asarray(input), weight, list(words)
        self.cuts = [self._slider(bag, int(at)) for bag, at in enumerate(offsets) if bag]
        self.mode = widgets.ToggleButtons(options=MODES, value=mode, tooltips=TOOLTIPS)
        self.mode.style.button_width = "5em"
        named = widgets.HBox([widgets.Label("mode", layout=widgets.Layout(width=LABEL)), self.mode])
        self.told, self.picture = widgets.HTML(), widgets.HTML()
        self._shown, self._pushing = self.offsets, False
        for cut in self.cuts:
            cut.observe(self._moved, "value")
        self.mode.observe(lambda change: self._draw(), "value")
        super().__init__([*self.cuts, named, self.told, self.picture])
        self._draw()

    @property
    def offsets(self) -> list[int]:
        """The offsets (B,) as the sliders stand."""
        return [0, *(cut.value for cut in self.cuts)]

    def _slider(self, bag: int, at: int) -> widgets.IntSlider:
        return widgets.IntSlider(
            at,
            0,
            len(self.input),
            description=f"offsets[{bag}]",
            tooltip=f"The position at which bag {bag} begins",
            style={"description_width": LABEL},
            layout=widgets.Layout(width=f"{len(self.input) * POSITION + 162}px"),
        )

    def _moved(self, change: Any) -> None:
        """A slider was moved: take its neighbors along where it ran into them, then draw once."""
        if self._pushing:
            return
        self._pushing = True
        try:
            moved = self.cuts.index(change["owner"])
            for bag, cut in enumerate(self.cuts):
                push = max if bag > moved else min
                cut.value = push(cut.value, change["new"])
        finally:
            self._pushing = False
        self._draw()

    def _draw(self) -> None:
        offsets, mode = self.offsets, self.mode.value
        call = f'embedding_bag(input, weight, np.array({offsets}), mode="{mode}")'
        told = [*moves(self._shown, offsets, self.words), *empties(offsets, len(self.words))]
        lines = [f"<code>{html.escape(call)}</code>", html.escape(" ".join(told)) or "&nbsp;"]
        self.told.value = "".join(f"<p style='margin: 0.3em 0'>{line}</p>" for line in lines)
        self.picture.value = as_image(
            bag_picture(self.input, offsets, self.weight, mode, self.words, steady=True)
        )
        self._shown = offsets


def moves(before: Sequence[int], after: Sequence[int], words: Sequence[str]) -> list[str]:
    """Which words changed bags: a sentence for each, or the number of them if there are many."""
    owners = [owners_of(offsets, len(words)) for offsets in (before, after)]
    told = [
        f"“{word}” went from bag {old} to bag {new}."
        for word, old, new in zip(words, *owners, strict=True)
        if old != new
    ]
    return told if len(told) <= 3 else [f"{len(told)} words went to other bags."]


def empties(offsets: Sequence[int], n: int) -> list[str]:
    """A sentence for each empty bag, which says what made it empty."""
    ends = [*offsets[1:], n]
    return [
        f"Bag {bag} is empty: it begins and ends at {start}, so its output is zeros."
        for bag, (start, end) in enumerate(zip(offsets, ends, strict=True))
        if start == end
    ]


def owners_of(offsets: Sequence[int], n: int) -> list[int]:
    """The bag of each of n positions: the last bag that begins at it or before it."""
    return [sum(start <= position for start in offsets) - 1 for position in range(n)]


def as_image(picture: style.Picture) -> str:
    """A picture as HTML, by way of SVG: that takes a quarter of the time that a PNG takes."""
    svg = picture.svg()
    points = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)
    width = round(float(points.group(1)) / 72 * style.SHOWN_DPI) if points else 800
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    alt = html.escape(picture.alt)
    return f'<img alt="{alt}" width="{width}" src="data:image/svg+xml;base64,{data}">'
