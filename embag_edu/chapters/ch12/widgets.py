"""The control of chapter 12: a batch of calls, folded into one."""

from __future__ import annotations

import ipywidgets as widgets

from embag_edu.chapters.ch12.figures import DIFFERS, fold_picture
from embag_edu.chapters.drawn import drawn_below


def fold_control(differs: str = "both", members: int = 2) -> widgets.Widget:
    """What differs between the members, and how many they are; below, the one call of them all."""
    choice = widgets.Dropdown(options=DIFFERS, value=differs, description="what differs")
    slider = widgets.IntSlider(value=members, min=1, max=4, description="members")
    return drawn_below(fold_picture, choice, slider)
