"""The control of chapter 02: one bag of a real review, whose options can be switched."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from embag_edu.chapters.ch02.figures import counting_picture
from embag_edu.chapters.style import SHOWN_DPI, Picture

POISONS = {"its own numbers": None, "NaN": np.nan, "+inf": np.inf, "-inf": -np.inf}


def counting_control(
    words: Sequence[str],
    input: Any,
    weight: Any,
    per_sample_weights: Any,
    padding_idx: int = 0,
) -> widgets.Widget:
    """Switch the options of one bag and see which numbers count, and who wins.

    The arguments are those of `figures.counting_picture`. One row of the table can be given NaN or
    infinity in its first feature. `weight` itself is not changed.
    """
    return _Control(words, np.asarray(input), np.array(weight), per_sample_weights, padding_idx).box


class _Control:
    """The widgets, and what happens when one of them changes."""

    def __init__(self, words: Sequence[str], input: np.ndarray, weight: np.ndarray,
                 psw: Any, padding_idx: int) -> None:  # fmt: skip
        self.words, self.input, self.weight = words, input, weight
        self.psw, self.padding_idx = psw, padding_idx
        rows = dict(zip(words, input.tolist(), strict=True))  # a repeated word stands there once
        wide = {"description_width": "initial"}
        self.mode = widgets.ToggleButtons(
            options=["sum", "mean", "max"],
            value="mean",
            description="mode",
            style={"button_width": "5em", "description_width": "initial"},
        )
        self.padding = _switch(f"padding_idx={padding_idx}")
        self.weights = _switch("per_sample_weights")
        self.poison = widgets.Dropdown(
            options=list(POISONS), description="feature 0 holds", style=wide
        )
        self.row = widgets.Dropdown(options=rows, description="in the row of", style=wide)
        self.picture = widgets.HTML()
        switches = (self.mode, self.padding, self.weights, self.poison, self.row)
        for switch in switches:
            switch.observe(self.redraw, names="value")
        self.redraw()
        lines = ([self.mode], [self.padding, self.weights], [self.poison, self.row])
        self.box = widgets.VBox([*(widgets.HBox(line) for line in lines), self.picture])

    def redraw(self, _change: Any = None) -> None:
        """Draw the bag as the switches stand; a refused call shows its error instead."""
        table = self.weight.copy()
        poison = POISONS[self.poison.value]
        if poison is not None:
            table[self.row.value, 0] = poison
        try:
            drawn = counting_picture(
                self.words,
                self.input,
                table,
                self.mode.value,
                self.padding_idx if self.padding.value else None,
                self.psw if self.weights.value else None,
            )
        except NotImplementedError as error:
            self.picture.value = (
                f"<p role='alert'><b>NotImplementedError</b>: {html.escape(str(error))}</p>"
            )
            return
        self.picture.value = _as_image(drawn)


def _switch(label: str) -> widgets.Checkbox:
    return widgets.Checkbox(value=False, description=label, indent=False)


def _as_image(picture: Picture) -> str:
    """The picture as SVG with its alt text: drawn in a quarter of the time of a PNG."""
    data = base64.b64encode(picture.svg().encode()).decode("ascii")
    alt = html.escape(picture.alt)
    width = round(picture.figure.get_figwidth() * SHOWN_DPI)
    return f'<img alt="{alt}" width="{width}" src="data:image/svg+xml;base64,{data}">'
