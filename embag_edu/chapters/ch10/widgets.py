"""The control of chapter 10: how skewed the rows are, and how often the hottest one is hit."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.chapters.ch10.figures import contention_picture
from embag_edu.chapters.drawn import drawn_below, skew_slider


def contention_control(skew: float = 1.0) -> widgets.Widget:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the hits of the hottest rows."""
    return drawn_below(contention_picture, skew_slider(skew))
