"""python -m embag_edu bench."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

Draw = Callable[[dict[str, Any], Any, str], None]

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def main(words: list[str], draw: Draw) -> int:
    """Exit status: 0, or 1 where an implementation's result was wrong.

    draw: called for --draw with the record, the first measurement and the folder.
    """
    parser = argparse.ArgumentParser(prog="python -m embag_edu bench")
    parser.add_argument("--quick", action="store_true", help="small shapes: seconds, not minutes")
    parser.add_argument("--train", action="store_true", help="training steps as torch modules")
    parser.add_argument("--only", help="only workloads whose name holds this: 'zipf 1.05 sum'")
    parser.add_argument("--json", metavar="FILE", help="write the record there, too")
    parser.add_argument("--draw", metavar="FOLDER", help="draw ladder.svg and roofline.svg there")
    parser.add_argument("--seconds", type=float, help="for each step (2; with --quick 0)")
    given = parser.parse_args(words)
    if any(name not in os.environ for name in ONE_THREAD):
        # The libraries look at these when they are loaded, which they are by now: start again.
        again = [sys.executable, "-m", "embag_edu", "bench", *words]
        return subprocess.run(again, env={**os.environ, **ONE_THREAD}).returncode
    return run(given, draw)


def run(given: argparse.Namespace, draw: Draw) -> int:
    """Measure, print the table, and write the record."""
    import torch

    from embag_edu.bench import measure, report
    from embag_edu.bench.plan import default_plan, quick_plan, training_plan
    from embag_edu.text import progress

    torch.set_num_threads(1)
    full = training_plan() if given.train else default_plan()
    plan = [m for m in (quick_plan(full) if given.quick else full) if wanted(m, given.only)]
    if not plan:
        print(f"--only {given.only!r} leaves nothing to measure", file=sys.stderr)
        return 2
    seconds = given.seconds if given.seconds is not None else (0.0 if given.quick else 2.0)
    megabytes, positions = (16, 500_000) if given.quick else (256, 10_000_000)
    rates, loads = [measure.copy_rate(megabytes)], [report.load()]
    results = []
    try:
        for m in progress(plan, "workload"):
            results += measure.measure(m, seconds, least=2 if given.quick else 9)
    except measure.WrongResult as error:
        print(f"A result was wrong, so no time is told: {error}", file=sys.stderr)
        return 1
    measure.TABLES.clear()
    rates.append(measure.copy_rate(megabytes))
    loads.append(report.load())
    peak = measure.peak_of_forward(positions)
    print(report.table(results, max(rates)))
    print(f"A forward of {positions:,} positions: {peak / 2**20:.1f} MiB beyond its output.")
    machine = {
        "copy_GB_per_s": [rate / 1e9 for rate in rates],  # before and after
        "load": loads,  # before and after: more than the cores means a busy machine
        "forward_memory": {"positions": positions, "features": 64, "peak_bytes": peak},
    }
    record = report.record(results, machine)
    if given.json:
        report.save(given.json, record)
    if given.draw:
        draw(record, plan[0], given.draw)
    return 0


def wanted(measurement: Any, only: str | None) -> bool:
    """Whether all words of --only are in the name."""
    return only is None or only in measurement.name
