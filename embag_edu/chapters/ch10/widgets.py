"""The control of chapter 10: how skewed the rows are, and how often the hottest one is hit."""

from __future__ import annotations

from embag_edu.chapters.ch10.figures import contention_picture
from embag_edu.chapters.control import Control, control, skews


@control
def contention_control(skew: float = 1.0) -> Control:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the hits of the hottest rows."""
    title = "How often the hottest rows are hit"
    return Control("10-contention", title, [skews(skew)], contention_picture)
