"""The control of chapter 17: how skewed the rows are, and how much each owner has to do."""

from __future__ import annotations

from embag_edu.chapters.ch17.figures import load_picture
from embag_edu.chapters.control import Control, control, skews


@control
def load_control(skew: float = 1.0) -> Control:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the load of each owner."""
    return Control("17-load", "Who has how much to do", [skews(skew)], load_picture)
