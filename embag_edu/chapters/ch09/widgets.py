"""The control of chapter 09: which position wins a maximum, with NaN, infinities and ties."""

from __future__ import annotations

from collections.abc import Sequence

from embag_edu.chapters.ch09.figures import PADDING, contest_picture
from embag_edu.chapters.control import Axis, Control, control

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


@control
def contest_control(bag: Sequence[str] = BAG) -> Control:
    """A choice for each position of a bag; below, which one leads after each, and which wins.

    bag: labels of CHOICES, one for each position.
    """
    value = dict(
        CHOICES
    )  # the axes have labels for values: NaN is equal to nothing, itself included
    axes = [Axis(f"position {position}", tuple(value), label) for position, label in enumerate(bag)]
    title = "Who wins the maximum of a bag"
    return Control("09-contest", title, axes,
                   lambda *labels: contest_picture(*map(value.get, labels)))  # fmt: skip
