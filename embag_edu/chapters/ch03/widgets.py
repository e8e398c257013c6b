"""The control of chapter 03: an upstream gradient to play with, and faults that it may not see."""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.chapters.ch03.figures import gradient_picture
from embag_edu.chapters.control import Axis, Control, control
from embag_edu.chapters.style import Picture
from embag_edu.check import faults

INPUT = np.array([0, 2, 2, 3, 2, 1, 3])
OFFSETS = np.array([0, 2, 5])  # bags of rows 0 2, 2 3 2 and 1 3
WEIGHT = np.array([[1.0, 5.0], [2.0, -4.0], [4.0, 3.0], [0.0, 9.0]])
PADDING_ROW = 3
BAGS, FEATURES, DRAWS = 3, 2, 3

FAULTS: dict[str, type[faults.Fault]] = {
    "the next bag's gradient": faults.NeighborsGradient,
    "features reversed": faults.GradientFeaturesReversed,
    "ones instead of grad_output": faults.GradientOfOnes,
    "= instead of +=": faults.LastWriteWins,
    "mean not divided": faults.MeanGradientNotDivided,
    "padding counts": faults.PaddingCounts,
}


def upstreams() -> dict[str, np.ndarray]:
    """The upstream gradients (3, 2) that can be chosen: all ones, one-hots, random numbers."""
    random, one = np.random.default_rng(3), np.eye(BAGS * FEATURES)
    made = {"all ones": np.ones((BAGS, FEATURES))}
    for k in range(BAGS * FEATURES):
        name = f"one-hot: bag {k // FEATURES}, feature {k % FEATURES}"
        made[name] = one[k].reshape(BAGS, FEATURES)
    for draw in range(1, DRAWS + 1):
        made[f"random {draw}"] = np.round(random.normal(size=(BAGS, FEATURES)) * 2, 1)
    return made


def state_picture(grad_output: Any, fault: str, mode: str = "sum", padding: bool = True) -> Picture:
    """One state of the control, with any upstream gradient.

    grad_output: (3, 2); fault: one of `FAULTS`; padding: whether row 3 is the padding row.
    """
    grad_output = np.asarray(grad_output, np.float64)
    padding_idx = PADDING_ROW if padding else None
    options: dict[str, Any] = {"offsets": OFFSETS, "mode": mode, "padding_idx": padding_idx}
    wrong = FAULTS[fault]().backward(grad_output, INPUT, WEIGHT, **options).weight
    return gradient_picture(
        INPUT, OFFSETS, WEIGHT, grad_output, mode, padding_idx, wrong, FAULTS[fault].mistake()
    )


@control
def upstream_control() -> Control:
    """Choose grad_output, a fault, a mode and padding; the picture shows what the fault changes."""
    known = upstreams()
    axes = (
        Axis("grad_output", tuple(known), "all ones"),
        Axis("fault", tuple(FAULTS), next(iter(FAULTS)), "choice"),
        Axis("mode", ("sum", "mean", "max"), "sum", "choice"),
        Axis(f"row {PADDING_ROW} is padding", (False, True), True),
    )
    return Control("03-upstream", "Which upstream gradient sees the fault", axes,
                   lambda name, *others: state_picture(known[name], *others))  # fmt: skip
