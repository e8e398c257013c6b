"""The control of chapter 06: from uniform ids over Zipf's law to one hot row."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import numpy as np

from embag_edu.bench import traffic
from embag_edu.bench.workloads import Workload, inputs
from embag_edu.chapters.ch06.figures import skew_picture
from embag_edu.chapters.style import Picture
from embag_edu.spec import make_call

ROWS, FEATURES, BAGS, LENGTH = 1000, 16, 64, 32
EXPONENTS = (0.25, 0.5, 0.75, 1.0, 1.05, 1.25, 1.5, 2.0, 3.0)
STATES = ("uniform", *(f"zipf {exponent:g}" for exponent in EXPONENTS), "one hot row")


def workload(state: str) -> Workload:
    """The drawn workload of a state: one of STATES."""
    if state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}; found {state!r}")
    if state.startswith("zipf"):
        return Workload(ROWS, FEATURES, BAGS, LENGTH, "zipf", float(state.split()[1]))
    return Workload(ROWS, FEATURES, BAGS, LENGTH, state)


def counted(state: str) -> tuple[np.ndarray, traffic.Counts, traffic.Traffic]:
    """The ids (N,) of a state, and the counts and the bytes of a forward with them."""
    ids, offsets = inputs(workload(state), 0)
    weight = np.zeros((ROWS, FEATURES), np.float32)
    call = make_call(ids, weight, offsets, mode="sum", include_last_offset=True)
    counts = traffic.counts(call)
    return ids, counts, traffic.forward(counts)


def state_picture(state: str) -> Picture:
    """One state of the control, for readers without a running kernel."""
    ids, _, moved = counted(state)
    return skew_picture(ids, ROWS, state, moved.logical, moved.compulsory, 2 * BAGS * LENGTH)


def contention_control() -> widgets.VBox:
    """A slider over STATES, the counts per row, and what they mean for bytes and additions."""
    slider = widgets.SelectionSlider(
        options=STATES,
        value="uniform",
        description="skew of the ids",
        continuous_update=False,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="34em"),
    )
    picture, told = widgets.HTML(), widgets.HTML()

    def draw(_: Any = None) -> None:
        ids, counts, moved = counted(slider.value)
        largest = int(np.bincount(ids).max())
        picture.value = state_picture(slider.value)._repr_mimebundle_()["text/html"]
        told.value = (
            f"U = {counts.U} distinct rows of V = {ROWS}, for N = {counts.N:,} positions.<br>"
            f"Largest pile: {largest:,} additions to one row, {100 * largest / counts.N:.1f} % "
            f"of all.<br>Compulsory bytes: {moved.compulsory:,} of {moved.logical:,} logical "
            f"ones, {100 * moved.compulsory / moved.logical:.0f} %."
        )

    slider.observe(draw, "value")
    draw()
    return widgets.VBox([slider, picture, told])
