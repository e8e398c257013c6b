"""What is timed, and whether it is correct. The stopwatch is in `stopwatch`.

- The turns go through a few inputs, over and over; none of them is an implementation's own.
- Each result is checked against float64 before and after the timed turns.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from embag_edu.arrays import on_host
from embag_edu.bench import stopwatch, traffic, workloads
from embag_edu.bench.implementations import (
    IMPLEMENTATIONS,
    OURS,
    STEPS_OF_THE_BOOK,
    TORCH,
    Job,
    able,
)
from embag_edu.bench.workloads import Workload
from embag_edu.check import rounding
from embag_edu.check.compare import difference
from embag_edu.spec import Call, SparseGradient, make_call

STEPS = ("forward", "backward", "both")
INPUTS = 3  # that the turns go through: fresh only where their rows are more than a cache holds
SAMPLE = 24  # bags, or rows of the gradient, that a check looks at


@dataclass(frozen=True)
class Measurement:
    """A workload, what is done with it, and how large ours may be in parts of torch's time."""

    work: Workload
    mode: str = "sum"
    sparse: bool = False
    steps: tuple[str, ...] = STEPS
    targets: dict[str, float] = field(default_factory=dict, hash=False)
    with_steps_of_the_book: bool = False

    @property
    def name(self) -> str:
        """The workload and the mode in one line."""
        return f"{self.work.name} {self.mode}{' sparse' if self.sparse else ''}"


@dataclass
class Timed:
    """One step of one measurement: the times of all implementations, and the bytes of the work."""

    measurement: Measurement
    step: str
    counts: traffic.Counts
    bytes: traffic.Traffic
    seconds: dict[str, list[float]]  # of each implementation, in turns

    def median(self, implementation: str) -> float:
        """In seconds."""
        return float(np.median(self.seconds[implementation]))

    def ratio(self, implementation: str = OURS) -> float:
        """The median in parts of torch's."""
        return self.median(implementation) / self.median(TORCH)


def measure(measurement: Measurement, seconds: float = 2.0, least: int = 9) -> list[Timed]:
    """Time each step of a measurement: for about `seconds`, but `least` turns or more."""
    entered = [call_and_upstream(measurement, seed) for seed in range(INPUTS)]
    results = []
    for step in measurement.steps:
        call = entered[0][0]
        names = [name for name in IMPLEMENTATIONS if takes_part(name, measurement, call, step)]
        jobs = {name: [IMPLEMENTATIONS[name](*pair) for pair in entered] for name in names}
        check_all(jobs, entered, step, turn=0)
        acts = {name: [getattr(job, step) for job in of_name] for name, of_name in jobs.items()}
        times = stopwatch.take_turns(acts, stopwatch.on_host, least, seconds)
        check_all(jobs, entered, step, turn=INPUTS - 1)
        results.append(
            Timed(measurement, step, traffic.counts(call), traffic.of(call, step), times)
        )
    return results


def takes_part(name: str, measurement: Measurement, call: Call, step: str) -> bool:
    """The steps of the book are slow: they are timed where the measurement asks for them."""
    wanted = measurement.with_steps_of_the_book or name not in STEPS_OF_THE_BOOK
    return wanted and able(name, call, step)


def call_and_upstream(measurement: Measurement, seed: int) -> tuple[Call, np.ndarray]:
    """A checked call with inputs of their own, and a grad_output for it."""
    work = measurement.work
    indices, offsets = workloads.inputs(work, seed)
    call = make_call(
        indices,
        shared_table(work),
        offsets,
        mode=measurement.mode,
        sparse=measurement.sparse,
        include_last_offset=True,
    )
    random = np.random.default_rng([seed, 4])
    return call, random.standard_normal((call.num_bags, work.features)).astype(work.dtype)


TABLES: dict[tuple[int, int, str], np.ndarray] = {}


def shared_table(work: Workload) -> np.ndarray:
    """The table of a workload. The last one is kept: it may be large, and the next may want it."""
    key = (work.rows, work.features, work.dtype)
    if key not in TABLES:
        TABLES.clear()
        TABLES[key] = workloads.table(work)
    return TABLES[key]


# ---- checks ---------------------------------------------------------------------------------


class WrongResult(AssertionError):
    """An implementation's result is not what float64 says: its time would mean nothing."""


def check_all(
    jobs: dict[str, list[Job]], entered: list[tuple[Call, np.ndarray]], step: str, turn: int
) -> None:
    """Run each implementation once, untimed, and compare a sample of its result with float64."""
    call, grad_output = entered[turn]
    departs = expected_output(call) if step == "forward" else expected_gradient(call, grad_output)
    for name, of_turns in jobs.items():
        job = of_turns[turn]
        message = departs(on_host(getattr(job, step)()))
        if message:
            raise WrongResult(f"{name}, {step}: {message}")


def expected_output(call: Call) -> Callable[[Any], str]:
    """What says how an output departs from the sums of some bags in float64; '' if it does not."""
    bags = np.unique(np.linspace(0, call.num_bags - 1, SAMPLE).astype(int))
    exact = np.zeros((len(bags), call.embedding_dim))
    scale, lengths = np.zeros_like(exact), np.ones((len(bags), 1))
    for k, bag in enumerate(bags):
        rows = call.weight[call.indices[call.offsets[bag] : call.offsets[bag + 1]]]
        if len(rows):
            rows = rows.astype(np.float64)
            exact[k] = getattr(rows, call.mode)(axis=0)  # rows.sum, rows.mean or rows.max
            scale[k] = np.abs(rows).sum(axis=0)
            lengths[k] = len(rows)
    if call.mode == "mean":
        scale = scale / lengths
    return compare(call, exact, lengths, scale, lambda out: out[bags])


def expected_gradient(call: Call, grad_output: np.ndarray) -> Callable[[Any], str]:
    """The same for a gradient: some rows that occur, and some that may not."""
    if call.sparse:
        return expected_entries(call, grad_output)
    occurring = np.unique(call.indices)
    some = occurring[np.linspace(0, len(occurring) - 1, SAMPLE).astype(int)]
    rows = np.unique(np.append(some, np.linspace(0, call.num_embeddings - 1, 8).astype(int)))
    parts = [parts_of_row(call, grad_output, row) for row in rows]
    exact = np.array([part.sum(axis=0) for part in parts])
    scale = np.array([np.abs(part).sum(axis=0) for part in parts])
    terms = np.array([[len(part)] for part in parts])
    return compare(call, exact, terms, scale, lambda out: out[rows])


def parts_of_row(call: Call, grad_output: np.ndarray, row: int) -> np.ndarray:
    """What each position of a row contributes to its gradient, (n, D) float64."""
    positions = np.flatnonzero(call.indices == row)
    bags = np.searchsorted(call.offsets, positions, "right") - 1
    lengths = np.diff(call.offsets)
    if call.mode != "max":
        parts = grad_output[bags].astype(np.float64)
        return parts / lengths[bags][:, None] if call.mode == "mean" else parts
    won_parts = []
    for bag in np.unique(bags):
        rows = call.indices[call.offsets[bag] : call.offsets[bag + 1]]
        won = rows[np.argmax(call.weight[rows], axis=0)] == row
        won_parts.append(np.where(won, grad_output[bag], 0))
    return np.array(won_parts, np.float64).reshape(-1, call.embedding_dim)


def expected_entries(call: Call, grad_output: np.ndarray) -> Callable[[Any], str]:
    """The same for a sparse gradient: the rows of all entries, the values of some."""
    some = np.linspace(0, call.num_positions - 1, SAMPLE).astype(int)
    bags = np.searchsorted(call.offsets, some, "right") - 1
    exact = grad_output[bags].astype(np.float64)
    if call.mode == "mean":
        exact = exact / np.diff(call.offsets)[bags][:, None]
    values = compare(call, exact, 1, np.abs(exact), lambda out: out[some])

    def both(actual: SparseGradient) -> str:
        return difference(call.indices[None], actual.indices, name="indices") or values(
            actual.values
        )

    return both


def compare(
    call: Call, exact: np.ndarray, terms: Any, scale: np.ndarray, pick: Callable[[Any], Any]
) -> Callable[[Any], str]:
    """A check of the part of a result that `pick` takes out of it; for terms, scale see `bound`."""
    dtype = call.weight.dtype
    bound = rounding.bound(dtype, terms, scale, exact)
    return lambda result: difference(exact, pick(result), bound, name="result", dtype=dtype)


# ---- the machine, and memory ----------------------------------------------------------------


def copy_rate(megabytes: int = 256, turns: int = 7) -> float:
    """Bytes per second that np.copyto reads and writes, together: the median of some turns."""
    source = np.ones(megabytes << 17)
    target = np.zeros_like(source)
    copy = partial(np.copyto, target, source)
    return 2 * source.nbytes / stopwatch.median_of(copy, stopwatch.on_host, turns)


def peak_of_forward(positions: int, features: int = 64, length: int = 50) -> int:
    """Bytes that a forward takes up at its peak, beyond its arguments and its results.

    The whole public call is in it. tracemalloc is told by NumPy of each array's memory; what a
    library allocates behind NumPy's back is not seen.
    """
    import embag_edu

    work = Workload(100_000, features, positions // length, length)
    indices, offsets = workloads.inputs(work, 0)
    weight = workloads.table(work)
    tracemalloc.start()
    try:
        output = embag_edu.embedding_bag(
            indices, weight, offsets[:-1], mode="sum", implementation=OURS
        )
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept >= output.nbytes
    return peak - kept
