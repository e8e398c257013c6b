"""The controls of chapter 08: the lanes of a warp, the pieces of a bag, and recorded times."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.bench.recorded import DTYPES, SKEWS, Recorded
from embag_edu.chapters.ch08.figures import cut_picture, lanes_picture
from embag_edu.chapters.drawn import drawn_below
from embag_edu.chapters.recorded import forward_bars

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


def cut_control(P: int = 4) -> widgets.Widget:
    """Choose P and the lengths of four bags; below, what version 7 cuts.

    P: 2 to 8.
    """
    kept = {
        "continuous_update": False,
        "style": {"description_width": "10em"},
        "layout": widgets.Layout(width="34em"),
    }
    size = widgets.IntSlider(P, min=2, max=8, description="P", **kept)
    lengths = [
        widgets.IntSlider(length, min=0, max=5 if bag != 1 else 9, description=name, **kept)
        for bag, (length, name) in enumerate(
            zip((3, 9, 0, 5), [f"length of bag {bag}" for bag in range(4)], strict=True)
        )
    ]
    lengths[0].min = 1  # a picture of no position would be empty
    return drawn_below(lambda P, *lengths: cut_picture(lengths, P), size, *lengths)


def times_control(times: Recorded) -> widgets.Widget:
    """Choose a skew and a dtype; below, each version's share of the copy rate."""
    named = {"style": {"description_width": "10em"}, "layout": widgets.Layout(width="34em")}
    parts = (
        widgets.SelectionSlider(options=SKEWS, description="ids", **named),
        widgets.SelectionSlider(options=DTYPES, description="dtype", **named),
    )
    return drawn_below(lambda skew, dtype: forward_bars(times, dtype, skew), *parts)
