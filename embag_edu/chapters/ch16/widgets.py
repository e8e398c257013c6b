"""The control of chapter 16: the size of one outlier, and what it costs each format."""

from __future__ import annotations

from embag_edu.chapters.ch16.figures import error_picture
from embag_edu.chapters.control import Axis, Control, control

OUTLIERS = (3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 300.0, 1000.0)


@control
def outlier_control(outlier: float = 30.0) -> Control:
    """A slider for the outlier, in standard deviations; below, error against bytes."""
    labels = [f"{size:g}" for size in OUTLIERS]
    axes = [Axis("outlier", OUTLIERS, outlier, labels=labels)]
    return Control("16-outlier", "What one outlier costs", axes, error_picture)
