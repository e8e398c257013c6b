"""What `python -m embag_edu bench` measures, and what it should come to."""

from __future__ import annotations

from dataclasses import replace

from embag_edu.bench.measure import Measurement
from embag_edu.bench.workloads import Workload, of_reviews

MIDDLE = Workload(rows=100_000, features=64, bags=4096, length=32)
LARGE = Workload(rows=1_000_000, features=128, bags=2048, length=50)
SMALL = Workload(rows=10_000, features=16, bags=1024, length=4)


def default_plan() -> list[Measurement]:
    """The shapes with targets, then one change of the middle one at a time.

    The steps of the book are timed at the large one: its table fits no cache.
    """
    plan = []
    for work in (LARGE, MIDDLE):
        targets = {"forward": 2.5, "backward": 0.45}
        for skewed in (work, replace(work, skew="zipf")):
            ladder = work == LARGE
            plan.append(
                Measurement(
                    skewed,
                    "sum",
                    targets=targets | {"both": 0.6},
                    with_steps_of_the_book=ladder,
                )
            )
            plan.append(Measurement(skewed, "mean", steps=("forward", "backward"), targets=targets))
    plan += targets_of_one_shape()
    return plan + other_conditions()


def targets_of_one_shape() -> list[Measurement]:
    """The small shape, the maximum and the sparse gradient."""
    apart = ("forward", "backward")
    small = {"backward": 0.6, "both": 0.6}
    plan = [Measurement(w, "sum", targets=small) for w in (SMALL, replace(SMALL, skew="zipf"))]
    plan.append(Measurement(SMALL, "mean", steps=("backward",), targets={"backward": 0.6}))
    for work in (MIDDLE, replace(MIDDLE, skew="zipf")):
        plan.append(Measurement(work, "max", steps=apart, targets=dict.fromkeys(apart, 8.0)))
        for mode in ("sum", "mean"):
            plan.append(
                Measurement(work, mode, True, steps=("backward",), targets={"backward": 1.0})
            )
    return plan


def other_conditions() -> list[Measurement]:
    """Without targets: other skews, lengths and dtypes, and the real reviews."""
    apart = ("forward", "backward")
    changes = [
        {"skew": "zipf", "exponent": 1.5},
        {"skew": "one hot row"},
        {"lengths": "uniform"},
        {"lengths": "heavy-tailed"},
        {"dtype": "float64"},
    ]
    works = [replace(MIDDLE, **change) for change in changes]  # type: ignore[arg-type]
    return [Measurement(work, steps=apart) for work in [*works, of_reviews()]]


def training_plan() -> list[Measurement]:
    """A training step as torch modules: forward, backward, and plain SGD on the dense gradient.

    Its parts are timed beside it, so that one record tells where the time goes.
    """
    works, steps = (MIDDLE, replace(MIDDLE, skew="zipf")), ("forward", "backward", "both", "train")
    return [Measurement(work, steps=steps, targets={"train": 0.8}) for work in works]


def quick_plan(plan: list[Measurement]) -> list[Measurement]:
    """The same in small, to see that everything runs; its times mean little."""
    return [
        replace(m, work=replace(m.work, rows=max(m.work.rows // 20, 50), bags=m.work.bags // 16))
        if m.work.skew != "reviews"
        else replace(m, work=replace(m.work, bags=64))
        for m in plan
    ]
