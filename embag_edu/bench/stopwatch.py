"""The one stopwatch. What makes a time worth quoting is done here, for everybody.

- Jobs take turns, so that a slow minute of the machine hits all of them; the first of a round
  changes from round to round.
- On a CPU the clock is read before and after a job: `on_host`. On a GPU two events are recorded,
  with a cold cache and without the host's time: `OnGpu`.
- A median is told with its quartiles and its least; ratios are of medians of one run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

Job = Callable[[], object]
Run = Callable[[], float]
"""One run of a job; returns its seconds."""

MOST = 500  # turns
FLUSH = 256 << 20  # bytes written, and others read, before each run on a GPU, at least
CACHE = "flushed before every run, with nothing left in it to be written back"
LONGEST_HIDDEN = 0.02  # seconds of the host that a GPU is kept waiting for
SPIN = """
extern "C" __global__ void spin(long long cycles) {
  long long start = clock64();
  while (clock64() - start < cycles) {}
}
"""


def take_turns(
    jobs: Mapping[str, Sequence[Job]],
    clock: Callable[[Job], Run],
    least: int,
    seconds: float = 0.0,
    slow: float = math.inf,
) -> dict[str, list[float]]:
    """The seconds of each turn of each name: `least` turns, and more until `seconds` are over.

    jobs: by name. Where a name has several, each turn takes the next: other inputs, for instance.
    slow: a name whose first turn takes longer than this has three turns only.
    """
    runs = {name: [clock(job) for job in each] for name, each in jobs.items()}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    order, end, turn = list(jobs), time.perf_counter() + seconds, 0
    while turn < least or (time.perf_counter() < end and turn < MOST):
        for name in order:
            if len(times[name]) < 3 or times[name][0] <= slow:
                times[name].append(runs[name][turn % len(runs[name])]())
        order = order[1:] + order[:1]
        turn += 1
    return times


def median_of(job: Job, clock: Callable[[Job], Run], turns: int) -> float:
    """The median seconds of a job that has nothing to be compared with."""
    return float(np.median(take_turns({"": [job]}, clock, turns)[""]))


def summary(seconds: Sequence[float], of_torch: Sequence[float] | None) -> dict[str, Any]:
    """What a record tells of some turns; of_torch: the seconds of torch's, in the same run."""
    ms = 1e3 * np.array(seconds)
    median = float(np.median(ms))
    return {
        "median_ms": median,
        "quartiles_ms": [float(np.quantile(ms, part)) for part in (0.25, 0.75)],
        "least_ms": float(ms.min()),
        "turns": len(ms),
        "of_torch": median / (1e3 * float(np.median(of_torch))) if of_torch else None,
    }


# ---- two clocks -----------------------------------------------------------------------------


def on_host(job: Job) -> Run:
    """Reads the host's clock before a job and after it."""

    def run() -> float:
        begin = time.perf_counter()
        result = job()
        seconds = time.perf_counter() - begin
        del result  # to free a large result is not the job's work
        return seconds

    return run


class OnGpu:
    """Records an event before a job and one after it, on the default stream of CuPy and torch.

    Before that a buffer larger than the L2 cache is written, so that nothing of the last run is in
    the cache; then another is read, so that nothing waits there to be written back while the job
    runs; and a kernel keeps the GPU waiting for as long as the host needs to queue the job, so that
    the host's time does not count.

    reads: False leaves the second buffer out, as in records that were made before it was there.
    """

    def __init__(self, gpu: Any, reads: bool = True) -> None:
        self.cupy, self.reads = gpu.xp, reads
        about = self.cupy.cuda.runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        size = max(4 * int(about["l2CacheSize"]), FLUSH)
        self.buffer = self.cupy.empty((size // 4,), np.float32)
        self.other = self.cupy.full((size // 4 if reads else 0,), 1.0, np.float32)
        self.spin = gpu.RawKernel(SPIN, "spin")

    def __call__(self, job: Job) -> Run:
        job()  # compiled, and memory at hand
        hidden = min(max(self.queueing(job, 3)), LONGEST_HIDDEN) + 2e-4
        return partial(self.once, job, hidden)

    def once(self, job: Job, hidden: float) -> float:
        """The seconds of one run; hidden: seconds that the host may take to queue it."""
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        self.buffer.fill(1.0)
        if self.reads:
            self.other.sum()
        self.spin((1,), (1,), (np.int64(2e9 * hidden),))  # at 2 GHz
        start.record()
        job()
        end.record()
        end.synchronize()
        return 1e-3 * float(self.cupy.cuda.get_elapsed_time(start, end))

    def queueing(self, job: Job, turns: int) -> list[float]:
        """The seconds of the host until a job is queued, each time on a GPU that has nothing to do.

        `job` must have been compiled before.
        """
        run, seconds = on_host(job), []
        self.synchronize()
        for _ in range(turns):
            seconds.append(run())
            self.synchronize()
        return seconds

    def synchronize(self) -> None:
        """Wait for the GPU."""
        self.cupy.cuda.Device().synchronize()
