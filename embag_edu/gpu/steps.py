"""Steps, one after another, under a time limit: what a step finds, and what becomes of its errors.

A step is a function of the `Probe` that yields one `Attempt` after another. Between two results the
time is looked at, so no step needs to do it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from embag_edu.bench.recorded import plain
from embag_edu.cuda_on_cpu import Device

PASSED, FAILED, SKIPPED, NOT_REACHED = "passed", "failed", "skipped", "not reached"
IN_ERROR = "the device is in an error state"
OUT_OF_TIME = "the time is up"


class DeviceInError(RuntimeError):
    """After an illegal access a GPU answers every call of this process with an error."""


@dataclass
class Attempt:
    """One thing that was tried. note: why it failed or was skipped; data: numbers."""

    name: str
    status: str = PASSED
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """For the JSON."""
        about = {"name": self.name, "status": self.status, "note": self.note}
        return {**about, **plain(self.data)}


@dataclass
class Probe:
    """What the steps share. gpu: the device that is tried; `is_gpu` is False where it is the CPU.

    until: the reading of `clock` at which no more is begun.
    """

    gpu: Device
    until: float
    clock: Callable[[], float] = time.monotonic
    modules: dict[str, Any] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        return self.gpu.kind == "cuda"

    @property
    def out_of_time(self) -> bool:
        return self.clock() >= self.until

    def attempt(self, name: str, act: Callable[[], Attempt | str]) -> Attempt:
        """What `act` finds: an Attempt, or a sentence that is '' when all is right.

        An exception is a failed result; but if the device is in an error state DeviceInError is
        raised, since nothing that follows could mean anything.
        """
        try:
            found = act()
            self.gpu.synchronize()  # an error of a kernel shows here at the latest
        except Exception as error:
            if self.in_error_state():
                raise DeviceInError(f"{name}: {last_line(error)}") from error
            return Attempt(name, FAILED, last_line(error))
        if isinstance(found, Attempt):
            return found
        return Attempt(name, FAILED if found else PASSED, found)

    def in_error_state(self) -> bool:
        """Whether the GPU fails at things that cannot fail."""
        if not self.is_gpu:
            return False
        try:
            self.gpu.synchronize()
            return float(self.gpu.asnumpy(self.gpu.full((1,), 7.0))[0]) != 7.0
        except Exception:
            return True


@dataclass(frozen=True)
class Step:
    """One part of the command. gpu_only: times and the like, which mean nothing on a CPU.

    most: seconds after which it begins nothing more, so that the steps after it have their turn.
    """

    name: str
    says: str
    act: Callable[[Probe], Iterator[Attempt]]
    gpu_only: bool = False
    most: float = 100.0


def blank(step: Step) -> dict[str, Any]:
    """The record of a step that has not begun."""
    return {
        "name": step.name,
        "says": step.says,
        "status": NOT_REACHED,
        "note": "",
        "seconds": 0.0,
        "results": [],
    }


def run(
    steps: Iterable[Step],
    probe: Probe,
    records: list[dict[str, Any]],
    tell: Callable[[dict[str, Any]], None],
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Do the steps in order; `records` (by `blank`) are filled in, `tell` hears of each.

    keep: called after every result, so that nothing is lost if this process ends in the next one.
    """
    why_not = ""
    for step, record in zip(steps, records, strict=True):
        why_not = why_not or (OUT_OF_TIME if probe.out_of_time else "")
        if why_not:
            record["note"] = why_not
        elif step.gpu_only and not probe.is_gpu:
            record |= {"status": SKIPPED, "note": "needs a GPU"}
        else:
            why_not = run_step(step, probe, record, keep)
        tell(record)


def run_step(
    step: Step, probe: Probe, record: dict[str, Any], keep: Callable[[], None] = lambda: None
) -> str:
    """Fill in one record. Returns why no other step can follow, or ''."""
    begin, why_not, results = probe.clock(), "", step.act(probe)
    record["note"], own_time = "running", ""
    while True:
        if probe.out_of_time:
            why_not = OUT_OF_TIME
            break
        if probe.clock() - begin > step.most:
            own_time = f"its {step.most:g} seconds are up"
            break
        try:
            record["results"].append(next(results).entry())
            keep()
        except StopIteration:
            break
        except Exception as error:
            record["results"].append(Attempt(step.name, FAILED, last_line(error)).entry())
            why_not = IN_ERROR if isinstance(error, DeviceInError) or probe.in_error_state() else ""
            break
    record["seconds"] = round(probe.clock() - begin, 3)
    stopped = why_not or own_time
    record["status"] = status(record["results"], complete=not stopped)
    record["note"] = f"stopped after {len(record['results'])}: {stopped}" if stopped else ""
    return why_not


def status(results: list[dict[str, Any]], complete: bool) -> str:
    """Of a step: failed if anything failed, passed only if it came to its end and something ran."""
    found = {result["status"] for result in results}
    if FAILED in found:
        return FAILED
    if not complete:
        return NOT_REACHED
    return PASSED if PASSED in found else SKIPPED


def last_line(error: BaseException) -> str:
    """What a traceback ends with, in one line. Folders are left out: they tell who runs this."""
    text = without_folders(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:600]}".removesuffix(": ")


def without_folders(text: str) -> str:
    """The text without the folders of its paths."""
    return re.sub(r"(?<![\w<])(?:[A-Za-z]:)?[\\/](?:[\w.+~-]+[\\/])+", "", text)
