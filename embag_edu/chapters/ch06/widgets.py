"""The control of chapter 06: from uniform ids over Zipf's law to one hot row."""

from __future__ import annotations

import numpy as np

from embag_edu.bench import traffic
from embag_edu.bench.workloads import Workload, inputs
from embag_edu.chapters.ch06.figures import skew_picture
from embag_edu.chapters.control import Axis, Control, control
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


def told(state: str) -> list[str]:
    """What the counts mean for rows, additions and bytes."""
    ids, counts, moved = counted(state)
    largest = int(np.bincount(ids).max())
    return [
        f"U = {counts.U} distinct rows of V = {ROWS}, for N = {counts.N:,} positions.",
        f"Largest pile: {largest:,} additions to one row, {100 * largest / counts.N:.1f} % of all.",
        f"Compulsory bytes: {moved.compulsory:,} of {moved.logical:,} logical ones, "
        f"{100 * moved.compulsory / moved.logical:.0f} %.",
    ]


@control
def contention_control() -> Control:
    """A slider over STATES, the counts per row, and what they mean for bytes and additions."""
    axes = [Axis("skew of the ids", STATES, STATES[0])]
    return Control("06-skew", "From uniform ids to one hot row", axes, state_picture, told)
