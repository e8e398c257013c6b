"""The controls of chapter 07: which thread has which element, and a stride and its sectors."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from embag_edu.figures.kernels import grid_picture, lanes, strided
from embag_edu.figures.style import SHOWN_DPI, Picture


def grid_control(n: int = 20, block: int = 8, grid: int = 2) -> widgets.Widget:
    """Sliders for n, the threads of a block and the blocks; below, who has which element."""
    sliders = (
        _slider("n, elements", n, 1, 40),
        _slider("block, threads in a block", block, 1, 16),
        _slider("grid, blocks", grid, 1, 8),
    )
    return _drawn(grid_picture, *sliders)


def stride_control(stride: int = 1) -> widgets.Widget:
    """A slider for the stride of a copy; below, a warp's lanes and the sectors they move."""
    return _drawn(lambda value: lanes(strided(value)), _slider("stride", stride, 0, 32))


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


def _drawn(draw: Callable[..., Picture], *sliders: widgets.IntSlider) -> widgets.Widget:
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
