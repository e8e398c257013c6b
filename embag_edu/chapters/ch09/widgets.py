"""The control of chapter 09: which position wins a maximum, with NaN, infinities and ties."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from embag_edu.chapters.ch09.figures import PADDING, contest_picture
from embag_edu.chapters.drawn import drawn_below

CHOICES = (
    ("padding", PADDING),
    ("NaN", float("nan")),
    ("−∞", -float("inf")),
    ("−1", -1.0),
    ("0", 0.0),
    ("2", 2.0),
    ("3", 3.0),
    ("∞", float("inf")),
)
BAG = ("−1", "2", "NaN", "2", "padding")


def contest_control(bag: Sequence[str] = BAG) -> widgets.Widget:
    """A choice for each position of a bag; below, which one leads after each, and which wins.

    bag: labels of CHOICES, one for each position.
    """
    value = dict(CHOICES)
    parts = [
        widgets.SelectionSlider(
            # by label: a slider looks its value up by ==, and NaN is equal to nothing
            options=[label for label, _ in CHOICES],
            value=label,
            description=f"position {position}",
            continuous_update=False,
            style={"description_width": "6em"},
            layout=widgets.Layout(width="28em"),
        )
        for position, label in enumerate(bag)
    ]
    return drawn_below(lambda *labels: contest_picture(*(value[k] for k in labels)), *parts)
