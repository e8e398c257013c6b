"""The control of chapter 10: how skewed the rows are, and how often the hottest one is hit."""

from __future__ import annotations

import base64
import html
from typing import Any

import ipywidgets as widgets

from embag_edu.figures.atomics import contention_picture
from embag_edu.figures.style import SHOWN_DPI


def contention_control(skew: float = 1.0) -> widgets.Widget:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the hits of the hottest rows."""
    slider = widgets.FloatSlider(
        value=skew,
        min=0.0,
        max=2.0,
        step=0.05,
        description="skew",
        continuous_update=False,
        style={"description_width": "5em"},
        layout=widgets.Layout(width="34em"),
    )
    picture = widgets.HTML()

    def redraw(_change: Any = None) -> None:
        drawn = contention_picture(slider.value)
        data = base64.b64encode(drawn.svg().encode()).decode("ascii")
        width = round(drawn.figure.get_figwidth() * SHOWN_DPI)
        picture.value = (
            f'<img alt="{html.escape(drawn.alt)}" width="{width}" '
            f'src="data:image/svg+xml;base64,{data}">'
        )

    slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([slider, picture])
