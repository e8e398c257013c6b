"""Chapter 07's kernels, held against torch's on the same GPU; and what all times are told by.

A kernel joins by one line in FORWARDS, a shape by one in SHAPES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from embag_edu import cuda
from embag_edu.arrays import to_tensor
from embag_edu.bench.stopwatch import OnGpu, median_of, summary
from embag_edu.bench.workloads import Workload, inputs, table
from embag_edu.check import rounding
from embag_edu.cuda_on_cpu import Device
from embag_edu.gpu.facts import torch_with_gpu
from embag_edu.gpu.steps import FAILED, PASSED, SKIPPED, Attempt, Probe

THREADS = 256
TURNS = 15  # of a copy
TORCH = "torch"


@dataclass(frozen=True)
class Forward:
    """A kernel that sums bags, (weight, indices, offsets, output, B, D): a thread per element."""

    file: str
    kernel: str


FORWARDS = (Forward("first", "bag_sum"), Forward("first", "bag_sum_crossed"))

SHAPES = (
    Workload(10, 1, 3, 2),
    Workload(1_000, 33, 64, 20, lengths="uniform"),  # some bags are empty
    Workload(1_000, 64, 100, 30, lengths="heavy-tailed"),
    Workload(500, 1025, 5, 4),
    Workload(20_000, 128, 256, 32, "zipf", 1.15),
    Workload(1_000, 48, 40, 50, "one hot row"),
)


@dataclass
class Bags:
    """The arguments of one workload, on the host and on a device."""

    work: Workload
    weight: np.ndarray
    indices: np.ndarray
    offsets: np.ndarray
    on: Device

    def __post_init__(self) -> None:
        host = (self.weight, self.indices, self.offsets)
        self.there = tuple(self.on.asarray(array) for array in host)
        self.output = self.on.full((self.work.bags, self.work.features), np.nan)

    def launch(self, kernel: Any) -> Callable[[], None]:
        """What starts the kernel on these arguments; it writes `output`."""
        B, D = self.work.bags, self.work.features
        grid = (-(-B * D // THREADS),)
        arguments = (*self.there, self.output, np.int32(B), np.int32(D))
        return lambda: kernel(grid, (THREADS,), arguments)

    def torch_call(self, torch: Any) -> Callable[[], Any]:
        """torch's own forward on the same memory."""
        weight, indices, offsets = map(to_tensor, self.there)
        return lambda: torch.nn.functional.embedding_bag(
            indices, weight, offsets, mode="sum", include_last_offset=True
        )


def bags_of(work: Workload, on: Device) -> Bags:
    """The workload's arguments, drawn from its seed."""
    indices, offsets = inputs(work, 0)
    return Bags(work, table(work), indices, offsets, on)


def kernel_of(probe: Probe, forward: Forward) -> Any:
    """The compiled kernel on the probe's device."""
    if forward.file not in probe.modules:
        probe.modules[forward.file] = probe.gpu.RawModule(
            code=cuda.source(forward.file), options=("-std=c++17",)
        )
    return probe.modules[forward.file].get_function(forward.kernel)


# ---- the step "kernels" ------------------------------------------------------------------------


def kernels(probe: Probe) -> Iterator[Attempt]:
    """Each kernel at each shape: against sums in float64, and against torch on the GPU."""
    torch, why_not = torch_with_gpu(probe.gpu)
    if torch is None:
        yield Attempt(TORCH, SKIPPED, f"compared with NumPy alone: {why_not}")
    for work in SHAPES:
        bags = bags_of(work, probe.gpu)
        exact, bound = sums(bags, range(work.bags))
        for forward in FORWARDS:
            name = f"{forward.kernel}, {work.name}"
            kernel = partial(kernel_of, probe, forward)
            act = partial(judged, name, probe, kernel, bags, exact, bound, torch)
            yield probe.attempt(name, act)


def judged(
    name: str,
    probe: Probe,
    kernel: Callable[..., Any],
    bags: Bags,
    exact: Any,
    bound: Any,
    torch: Any,
) -> Attempt:
    """One kernel at one shape. The output holds NaN before, which shows what is not written."""
    bags.output = probe.gpu.full(exact.shape, np.nan)
    bags.launch(kernel())()
    actual = probe.gpu.asnumpy(bags.output)
    data = {"workload": asdict(bags.work), "from_numpy": largest(actual, exact)}
    problems = [] if within(actual, exact, bound) else ["differs from NumPy's sums"]
    if torch is not None:
        theirs = bags.torch_call(torch)().cpu().numpy()
        data |= {"from_torch": largest(actual, theirs), "torch_from_numpy": largest(theirs, exact)}
        problems += [] if within(actual, theirs, 2 * bound) else ["differs from torch's sums"]
    return Attempt(name, FAILED if problems else PASSED, "; ".join(problems), data)


def sums(bags: Bags, some: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """The sums of n bags in float64, and how far a sum may be off, both (n, D)."""
    rows_of = [bags.weight[bags.indices[slice(*bags.offsets[b : b + 2])]] for b in some]
    wide = [rows.astype(np.float64) for rows in rows_of]
    exact = np.stack([rows.sum(axis=0) for rows in wide])
    scale = np.stack([np.abs(rows).sum(axis=0) for rows in wide])
    terms = np.array([[len(rows)] for rows in wide])
    return exact, rounding.bound(bags.weight.dtype, terms, scale, exact)


def within(actual: np.ndarray, expected: np.ndarray, bound: np.ndarray) -> bool:
    """Whether no element is further off than its bound. NaN is."""
    return bool((np.abs(actual.astype(np.float64) - expected) <= bound).all())


def largest(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference; NaN if there is any NaN."""
    return float(np.abs(actual.astype(np.float64) - expected).max(initial=0.0))


# ---- what all times are told by ------------------------------------------------------------------


def numbers(
    seconds: list[float], of_torch: list[float] | None, logical: int | None, rate: float | None
) -> dict[str, Any]:
    """The numbers of one implementation; those of its bytes where `logical` bytes are counted."""
    told = summary(seconds, of_torch)
    if logical is None:
        return told
    speed = logical / (1e-3 * told["median_ms"])
    share = speed / rate if rate else None
    return told | {"logical_bytes_per_second": speed, "of_copy_rate": share}


def copy_rate(clock: OnGpu, most: int = 1 << 30) -> float:
    """Bytes per second that a copy on the GPU reads and writes, together: the median of some."""
    free, _ = clock.cupy.cuda.Device().mem_info
    size = min(most, int(free) // 4)
    source, target = (clock.cupy.empty((size,), np.uint8) for _ in range(2))
    source.fill(7)
    target.fill(0)
    copy = partial(target.data.copy_from_device_async, source.data, size)
    seconds = median_of(copy, clock, TURNS)
    if int(target[size - 1]) != 7:
        raise RuntimeError("the copy did not copy")
    return 2 * size / seconds
