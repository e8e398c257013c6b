"""The controls of chapter 07: which thread has which element, and a stride and its sectors."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.chapters.ch07.figures import grid_picture, lanes, strided
from embag_edu.chapters.drawn import drawn_below


def grid_control(n: int = 20, block: int = 8, grid: int = 2) -> widgets.Widget:
    """Sliders for n, the threads of a block and the blocks; below, who has which element."""
    sliders = (
        _slider("n, elements", n, 1, 40),
        _slider("block, threads in a block", block, 1, 16),
        _slider("grid, blocks", grid, 1, 8),
    )
    return drawn_below(grid_picture, *sliders)


def stride_control(stride: int = 1) -> widgets.Widget:
    """A slider for the stride of a copy; below, a warp's lanes and the sectors they move."""
    return drawn_below(lambda value: lanes(strided(value)), _slider("stride", stride, 0, 32))


def _slider(name: str, value: int, low: int, high: int) -> widgets.IntSlider:
    return widgets.IntSlider(
        value=value,
        min=low,
        max=high,
        description=name,
        continuous_update=False,
        style={"description_width": "13em"},
        layout=widgets.Layout(width="34em"),
    )
