"""The control of chapter 17: how skewed the rows are, and how much each owner has to do."""

from __future__ import annotations

from embag_edu.chapters.ch17.figures import load_picture
from embag_edu.chapters.control import Axis, Control, control, skews


@control
def load_control(skew: float = 1.0, world: int = 4) -> Control:
    """A slider for the skew and one for the processes; below, the load of each owner."""
    processes = Axis("processes", (2, 4, 8), world)
    return Control("17-load", "Who has how much to do", [skews(skew), processes], load_picture)
