"""What the kernels ask of memory, counted: checked launches on the CPU, also where there is a GPU.

    counted = count_sum(call, version=3)
    counted.total("sectors", "weight")
    counted.result

Faults are raised. order: of the threads, 0 or the seed of a random one. change: (old, new), another
text for one place of the .cu file, to see what goes wrong without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from embag_edu.cuda.findings import check_input
from embag_edu.cuda.launch_backward import grad_weight
from embag_edu.cuda.launch_forward import Work, forward, max_bags, renorm, sum_bags
from embag_edu.cuda.launcher import BLOCK, Change, recording
from embag_edu.cuda_on_cpu import Report
from embag_edu.spec import Call


class Counted(NamedTuple):
    """What launches gave, and their reports, in the order of the launches."""

    result: Any
    reports: Sequence[Report]

    def total(
        self,
        name: str,
        array: str | None = None,
        kind: str | None = None,
        shared: bool = False,
    ) -> int:
        """The sum of a count over all launches: "requests", "sectors", "moved", "wanted", ...

        array: of this one alone. kind: "read", "write" or "atomic" alone. shared: of shared memory,
        where "passes" are counted and sectors are not.
        """
        return sum(
            getattr(line, name)
            for report in self.reports
            for line in report.lines
            if line.shared == shared and array in (None, line.array) and kind in (None, line.kind)
        )

    @property
    def kernels(self) -> list[str]:
        """The instances that were launched: "bag_sum_1<float, long long, SUM, false>"."""
        return [report.launched.kernel for report in self.reports]


def count_sum(
    call: Call, version: int | str, order: int = 0, change: Change | None = None, **tuning: int
) -> Counted:
    """A version of forward.cu; the result is the output. tuning: as for `sum_bags`."""
    with recording(order, change) as reports:
        output, _ = sum_bags(Work(call), version, **tuning)
    return Counted(output, reports)


def count_max(call: Call, version: int, order: int = 0) -> Counted:
    """A version of max.cu; the result is (output, winners)."""
    with recording(order) as reports:
        return Counted(max_bags(Work(call), version), reports)


def count_renorm(call: Call, order: int = 0) -> Counted:
    """renorm.cu, on a copy of the table; the result is the rescaled copy."""
    weight = call.weight.copy()
    with recording(order) as reports:
        renorm(replace(call, weight=weight))
    return Counted(weight, reports)


def count_check(indices: np.ndarray, offsets: np.ndarray, V: int) -> Counted:
    """indices.cu, without a result. offsets: (B + 1,). Raises what `check_input` raises."""
    with recording() as reports:
        check_input(indices, offsets, V)
    return Counted(None, reports)


def count_gradient(
    call: Call, grad_output: np.ndarray, algorithm: str, order: int = 0, block: int = BLOCK
) -> Counted:
    """An algorithm for the gradient of weight, as for `grad_weight`; the result is the gradient.

    The forward, which the backward needs first, is launched as well, and not counted.
    """
    with recording(order) as reports:
        _, saved = forward(call)
        reports.clear()
        return Counted(grad_weight(call, saved, grad_output, algorithm, block), reports)
