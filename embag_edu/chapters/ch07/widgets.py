"""The controls of chapter 07: which thread has which element, and a stride and its sectors."""

from __future__ import annotations

from embag_edu.chapters.ch07.figures import grid_picture, lanes, strided
from embag_edu.chapters.control import Axis, Control, control


@control
def grid_control(n: int = 20, block: int = 8, grid: int = 2) -> Control:
    """Sliders for n, the threads of a block and the blocks; below, who has which element."""
    axes = (
        Axis("n, elements", range(1, 41), n),
        Axis("block, threads in a block", range(1, 17), block),
        Axis("grid, blocks", range(1, 9), grid),
    )
    return Control("07-grid", "Which thread has which element", axes, grid_picture)


@control
def stride_control(stride: int = 1) -> Control:
    """A slider for the stride of a copy; below, a warp's lanes and the sectors they move."""
    return Control("07-stride", "A stride, and the sectors that it moves",
                   [Axis("stride", range(33), stride)],
                   lambda value: lanes(strided(value)))  # fmt: skip
