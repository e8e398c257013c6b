"""The control of chapter 14: how skewed the rows are, and what a step moves."""

from __future__ import annotations

from embag_edu.chapters.ch14.figures import bytes_picture
from embag_edu.chapters.control import Control, control, skews


@control
def bytes_control(skew: float = 1.05) -> Control:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the bytes of each optimizer."""
    return Control("14-bytes", "The bytes of a step", [skews(skew)], bytes_picture)
