"""A picture under its sliders, drawn anew when one of them is moved."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from embag_edu.chapters.style import SHOWN_DPI, Picture


def drawn_below(draw: Callable[..., Picture], *sliders: widgets.ValueWidget) -> widgets.Widget:
    """The sliders with the picture of their values, which is drawn anew when one is moved."""
    picture = widgets.HTML()

    def redraw(_change: Any = None) -> None:
        drawn = draw(*(slider.value for slider in sliders))
        data = base64.b64encode(drawn.svg().encode()).decode("ascii")
        width = round(drawn.figure.get_figwidth() * SHOWN_DPI)
        picture.value = (
            f'<img alt="{html.escape(drawn.alt)}" width="{width}" '
            f'src="data:image/svg+xml;base64,{data}">'
        )

    for slider in sliders:
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*sliders, picture])


def skew_slider(skew: float) -> widgets.FloatSlider:
    """From 0, all rows alike, to 2; the picture follows when it is let go."""
    return widgets.FloatSlider(
        value=skew,
        min=0.0,
        max=2.0,
        step=0.05,
        description="skew",
        continuous_update=False,
        style={"description_width": "5em"},
        layout=widgets.Layout(width="34em"),
    )
