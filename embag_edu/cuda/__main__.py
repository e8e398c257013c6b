"""Run one version of a kernel on a small call, and print what it asks of memory.

    python -m embag_edu.cuda forward 3
    python -m embag_edu.cuda segments piece_packs

The launches are checked, on the CPU, also where there is a GPU: a fault is raised.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embag_edu.cuda import counting
from embag_edu.cuda.counting import Counted
from embag_edu.cuda.launch_backward import (
    ALGORITHMS,
    MAX_ALGORITHMS,
    SPARSE_ALGORITHMS,
    grad_per_sample_weights,
)
from embag_edu.cuda.launch_forward import EVERY
from embag_edu.cuda.launcher import kernel_on_cpu, launch, recording
from embag_edu.cuda_on_cpu import settings
from embag_edu.spec import Call, Saved, make_call

B, L, V, D = 16, 8, 100, 64
GRADIENTS = ALGORITHMS | MAX_ALGORITHMS | SPARSE_ALGORITHMS


def example(mode: str = "sum", dtype: str = "float32", **options: Any) -> Call:
    """B bags of L rows out of V, with D features each."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(V, D)).astype(dtype)
    return make_call(random.integers(0, V, (B, L)), weight, mode=mode, **options)


def bag_sum(name: str) -> Counted:
    """A sum of chapter 07."""
    call, output, kernel = example(), np.empty((B, D), np.float32), kernel_on_cpu("first", name)
    with settings(mode="checked"):
        launch(kernel, B * D, (call.weight, call.indices, call.offsets, output, B, D))
    return Counted(output, [kernel.report])


def forward(version: str) -> Counted:
    """A version of forward.cu."""
    return counting.count_sum(example(), int(version) if version.isdigit() else version)


def gradient(algorithm: str) -> Counted:
    """The gradient of weight by an algorithm of backward.cu or segments.cu."""
    mode = "max" if algorithm in MAX_ALGORITHMS else "mean"
    dtype = "float16" if algorithm == "add_pairs" else "float32"
    call = example(mode, dtype, sparse=algorithm in SPARSE_ALGORITHMS)
    return counting.count_gradient(call, np.ones((B, D), dtype), algorithm)


def dots(algorithm: str) -> Counted:
    """The gradient of per_sample_weights by an algorithm of weights.cu."""
    upstream = np.ones((B, D), np.float32)
    with recording() as reports:
        grad = grad_per_sample_weights(example(), Saved(None, None), upstream, algorithm)
    return Counted(grad, reports)


def check(_: str) -> Counted:
    """The check of the indices and offsets of a good call."""
    call = example()
    return counting.count_check(call.indices, call.offsets, V)


RUNS: dict[str, tuple[Sequence[str], Callable[[str], Counted]]] = {  # file: versions, a run
    "first": (("bag_sum", "bag_sum_crossed"), bag_sum),
    "forward": ([str(v) for v in EVERY], forward),
    "max": (("1", "2"), lambda v: counting.count_max(example("max"), int(v))),
    "renorm": (("renorm",), lambda _: counting.count_renorm(example(max_norm=1.0))),
    "indices": (("check_input",), check),
    "backward": ([name for name in GRADIENTS if name.startswith("add_")], gradient),
    "segments": ([name for name in GRADIENTS if not name.startswith("add_")], gradient),
    "weights": (("dot_elements", "dot_packs"), dots),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when the version ran without a fault."""
    parser = argparse.ArgumentParser("python -m embag_edu.cuda", description=__doc__)
    files = parser.add_subparsers(dest="file", required=True)
    for file, (versions, _) in RUNS.items():
        files.add_parser(file).add_argument("version", choices=versions)
    asked = parser.parse_args(arguments)
    for report in RUNS[asked.file][1](asked.version).reports:
        print(report, end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
