"""The control of chapter 11: how skewed the rows are, and what the busiest of each version does."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.chapters.ch11.figures import balance_picture
from embag_edu.chapters.drawn import drawn_below, skew_slider


def balance_control(skew: float = 1.0) -> widgets.Widget:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the work of warps."""
    return drawn_below(balance_picture, skew_slider(skew))
