"""The control of chapter 11: how skewed the rows are, and what the busiest of each version does."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.figures.sorting import balance_picture
from embag_edu.widgets.drawn import drawn_below


def balance_control(skew: float = 1.0) -> widgets.Widget:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the work of warps."""
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
    return drawn_below(balance_picture, slider)
