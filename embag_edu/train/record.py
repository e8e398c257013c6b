"""All implementations trained by the same plan, in one run; its record is a JSON file.

    found = compare([Plan("department"), Plan("recommended")])
    bench.recorded.write("book/results/train.json", found)
    recorded("book/results/train.json")["tasks"]["department"]["runs"]["loops"]["accuracy"]

What the book and README.md say of seconds, accuracy and AUC is read from such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embag_edu.bench.recorded import read
from embag_edu.bench.report import device, versions
from embag_edu.check import rounding
from embag_edu.cuda_on_cpu import device as cuda_device
from embag_edu.text import aligned
from embag_edu.train.fitting import Data, Plan, Trained, data_of, train

MADE_BY = "python -m embag_edu train --compare"
COMPARED = ("torch", "vectorized", "cuda", "loops")


def tolerance(data: Data, dtype: torch.dtype = torch.float32) -> float:
    """How far two losses may be apart by rounding: gamma(n), n the positions of the longest bag.

    A sum of n numbers, added in any order, is off by no more than that, in parts of the sum of
    their sizes (see `check.rounding`). This is for one step. Later steps start from weights that
    differ by rounding; a training that goes well forgets such differences, and does not let them
    grow. That part is observed, not proved: in float64 the same runs must be closer by the ratio of
    the two u.
    """
    longest = max(len(example.ids) for example in data.train.examples)
    return float(rounding.gamma(longest, rounding.units(dtype).adding))


def compare(plans: Sequence[Plan], names: Sequence[str] = COMPARED, progress: Any = None) -> Any:
    """Train each plan with each implementation, torch first; returns the record."""
    return {
        "made by": MADE_BY,
        "device": device(),
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "cuda runs on": str(cuda_device()),
        "tasks": {plan.task: _task(plan, names, progress) for plan in plans},
    }


def _task(plan: Plan, names: Sequence[str], progress: bool | None) -> dict[str, Any]:
    data = data_of(plan)
    runs = {name: train(replace(plan, implementation=name), data, None, progress) for name in names}
    labels = data.held_out.labels
    settings = asdict(plan) | {"lr": plan.rate}
    settings.pop("implementation")
    return {
        "plan": settings,
        "shapes": shapes(plan, data),
        "majority": float(np.bincount(labels).max() / len(labels)),
        "tolerance": tolerance(data, plan.dtype),
        "runs": {name: _run(found, runs["torch"]) for name, found in runs.items()},
    }


def shapes(plan: Plan, data: Data) -> dict[str, int]:
    """The sizes of a training, in the letters of the book."""
    return {
        "V": data.reader.rows,
        "words": len(data.reader.known),
        "D": plan.dim,
        "B": plan.batch_size,
        "train": len(data.train),
        "held_out": len(data.held_out),
        "positions_of_an_epoch": sum(len(example.ids) for example in data.train.examples),
    }


def _run(found: Trained, torchs: Trained) -> dict[str, Any]:
    told = {
        "losses": found.history.losses,
        "seconds_per_epoch": found.history.seconds,
        "accuracy": found.accuracy,
        "largest_difference": largest_difference(found, torchs),
    }
    return told | ({"auc": found.auc} if found.plan.task == "recommended" else {})


def largest_difference(one: Trained, other: Trained) -> float:
    """The largest |difference| of two runs' losses, step by step. NaN where one is NaN."""
    a, b = (np.array(run.history.losses) for run in (one, other))
    return float(np.abs(a - b).max())


def recorded(path: str | Path) -> dict[str, Any]:
    """Read a record. Raises FileNotFoundError, and ValueError for a file of another kind."""
    return read(path, MADE_BY)


def table(record: dict[str, Any]) -> str:
    """A record in lines: each implementation of each task."""
    rows = [("task", "implementation", "s/epoch", "accuracy", "AUC", "apart")]
    for task, of_task in record["tasks"].items():
        for name, run in of_task["runs"].items():
            seconds = f"{np.median(run['seconds_per_epoch']):.2f}"
            auc = f"{run['auc']:.4f}" if "auc" in run else "-"
            apart = f"{run['largest_difference']:.1e}" if name != "torch" else "-"
            rows.append((task, name, seconds, f"{run['accuracy']:.4f}", auc, apart))
    return aligned(rows, "<<>>><")
