"""The picture of chapter 00: the whole ladder that the book climbs."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from embag_edu.chapters import style

# (what, chapters, how, is it here now?), from the ground up
STEPS = (
    ("loops", "chapters 01 to 03", "anyone can read them", True),
    ("arrays", "chapters 04 to 06", "NumPy: no loop in sight", True),
    ("the GPU", "chapters 07 to 11", "CUDA kernels, step by step", True),
    ("at work", "chapters 12 and 13", "a torch module, trained", True),
    ("beyond torch", "from chapter 14", "fused steps, many tables", True),
)
WIDE, RISE = 4.7, 1.0


def ladder_picture() -> style.Picture:
    """The steps of the book as a staircase: solid where the chapters exist, dashed where not."""
    width, height = len(STEPS) * WIDE + 0.4, len(STEPS) * RISE + 4.6
    figure, ax = style.board(width, height, unit=0.4)
    ground = -height + 1.6
    for at, step in enumerate(STEPS):
        _draw_step(ax, 0.2 + at * WIDE, ground, 2.4 + at * RISE, *step)
    ax.add_patch(Rectangle((0.2, ground - 1.1), len(STEPS) * WIDE, 1.0, color=style.FAINT))
    footing = "one meaning of a call, and one checker that compares every step with torch"
    style.note(ax, width / 2, ground - 0.6, footing)
    return style.Picture(figure, _alt())


def _draw_step(
    ax: Axes, x: float, ground: float, tall: float, what: str, chapters: str, how: str, here: bool
) -> None:
    fill, line = (style.BLUE, "-") if here else (style.PAPER, (0, (5, 3)))
    ink = style.ink_on(fill)
    box = Rectangle((x + 0.06, ground), WIDE - 0.12, tall, facecolor=fill, edgecolor=style.QUIET,
                    linestyle=line, linewidth=1.2)  # fmt: skip
    ax.add_patch(box)
    middle, top = x + WIDE / 2, ground + tall
    style.note(ax, middle, top - 0.5, what, weight="bold", color=ink, size=12)
    style.note(ax, middle, top - 1.15, how, color=ink, size=style.SMALL)
    style.note(ax, middle, top - 1.75, chapters, color=ink, size=style.SMALL)
    if not here:
        style.note(ax, middle, top + 0.35, "planned", color=style.QUIET)


def _alt() -> str:
    steps = "; ".join(
        f"{what} ({chapters}{'' if here else ', planned'}): {how}"
        for what, chapters, how, here in STEPS
    )
    return (
        f"A staircase of five steps, from the lowest up. {steps}. All five stand on one ground: "
        "one meaning of a call, and one checker that compares every step with torch."
    )
