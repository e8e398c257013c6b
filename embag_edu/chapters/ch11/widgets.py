"""The control of chapter 11: how skewed the rows are, and what the busiest of each version does."""

from __future__ import annotations

from embag_edu.chapters.ch11.figures import balance_picture
from embag_edu.chapters.control import Control, control, skews


@control
def balance_control(skew: float = 1.0) -> Control:
    """A slider for the skew, from 0 (all rows alike) to 2; below, the work of warps."""
    return Control("11-balance", "The work of the busiest", [skews(skew)], balance_picture)
