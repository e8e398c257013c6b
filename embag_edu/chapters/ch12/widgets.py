"""The control of chapter 12: a batch of calls, folded into one."""

from __future__ import annotations

from embag_edu.chapters.ch12.figures import DIFFERS, fold_picture
from embag_edu.chapters.control import Axis, Control, control


@control
def fold_control(differs: str = "both", members: int = 2) -> Control:
    """What differs between the members, and how many they are; below, the one call of them all."""
    axes = Axis("what differs", DIFFERS, differs, "choice"), Axis("members", range(1, 5), members)
    return Control("12-fold", "Fold a batch into one call", axes, fold_picture)
