"""The control of chapter 08: which lanes of a warp work, and what that asks of memory."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.chapters.ch08.figures import lanes_picture
from embag_edu.chapters.drawn import drawn_below

WIDTHS = (1, 3, 4, 8, 12, 16, 20, 32, 33, 50, 64, 100, 128, 200, 256)


def lanes_control(version: int = 2, D: int = 16, L: int = 20) -> widgets.Widget:
    """Choose a version (1 to 4), D and L; below, the lanes of a warp with the counts for 8 bags.

    D: one of WIDTHS; L: 1 to 64.
    """
    named = {"style": {"description_width": "10em"}, "layout": widgets.Layout(width="34em")}
    kept = {"continuous_update": False} | named
    parts = (
        widgets.IntSlider(version, min=1, max=4, description="version", **kept),
        widgets.SelectionSlider(value=D, options=WIDTHS, description="D, features", **kept),
        widgets.IntSlider(L, min=1, max=64, description="L, length of bags", **kept),
    )
    return drawn_below(lanes_picture, *parts)
