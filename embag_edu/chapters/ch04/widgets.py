"""The control of chapter 04: how many rows a block holds, and which bags fall into which piece."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from embag_edu.chapters.ch04.figures import pieces_picture
from embag_edu.chapters.style import SHOWN_DPI


def pieces_control(lengths: Sequence[int], limit: int = 8) -> widgets.Widget:
    """A slider for the rows of a block, a choice of D, and the pieces that the bags are cut into.

    lengths: of each bag, at most 40 positions together.
    """
    wide = {"description_width": "initial"}
    rows = widgets.IntSlider(
        value=limit,
        min=3,
        max=min(max(sum(lengths), 3), 40),
        description="rows in a block",
        continuous_update=False,
        style=wide,
        layout=widgets.Layout(width="30em"),
    )
    features = widgets.Dropdown(
        options=[16, 64, 128, 1024],
        value=64,
        description="D",
        style=wide,
        layout=widgets.Layout(width="8em"),
    )
    picture = widgets.HTML()

    def redraw(_change: Any = None) -> None:
        drawn = pieces_picture(lengths, rows.value, features.value)
        data = base64.b64encode(drawn.svg().encode()).decode("ascii")
        width = round(drawn.figure.get_figwidth() * SHOWN_DPI)
        picture.value = (
            f'<img alt="{html.escape(drawn.alt)}" width="{width}" '
            f'src="data:image/svg+xml;base64,{data}">'
        )

    for control in (rows, features):
        control.observe(redraw, names="value")
    redraw()
    return widgets.VBox([widgets.HBox([rows, features]), picture])
