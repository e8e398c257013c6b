"""The control of chapter 15: how many tables there are, of how many widths."""

from __future__ import annotations

from embag_edu.chapters.ch15.figures import launches_picture
from embag_edu.chapters.control import Axis, Control, control

TABLES = (1, 2, 4, 8, 16, 26, 64)


@control
def launches_control(tables: int = 26) -> Control:
    """Sliders for the tables and their widths; below, launches and sorts."""
    axes = [Axis("tables", TABLES, tables), Axis("widths", (1, 2, 4), 1)]
    return Control("15-launches", "What one call saves", axes, launches_picture)
