"""The table of a run, and its record as JSON: books and figures are made from the record alone."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from embag_edu import __version__
from embag_edu.bench import stopwatch
from embag_edu.bench.implementations import OURS, TORCH
from embag_edu.bench.measure import Timed

PACKAGES = ("numpy", "scipy", "torch", "fbgemm-gpu-cpu")


def record(results: list[Timed], machine: dict[str, Any]) -> dict[str, Any]:
    """All of a run, ready for JSON. No path and no name of a host is in it."""
    return {
        "made by": "python -m embag_edu bench",
        "device": device(),
        "versions": versions(),
        "threads": 1,
        **machine,
        "results": [entry for result in results for entry in entries(result)],
    }


def entries(result: Timed) -> list[dict[str, Any]]:
    """One entry for each implementation of a step."""
    m = result.measurement
    shared = {
        "workload": asdict(m.work),
        "name": m.name,
        "mode": m.mode,
        "sparse": m.sparse,
        "step": result.step,
        "counts": result.counts._asdict(),
        "bytes": result.bytes._asdict(),
    }
    return [
        shared
        | {
            "implementation": name,
            **stopwatch.summary(seconds, result.seconds[TORCH]),
            "target": m.targets.get(result.step) if name == OURS else None,
        }
        for name, seconds in result.seconds.items()
    ]


def table(results: list[Timed], rate: float) -> str:
    """One line for each step: torch's time, ours, ours in parts of torch's, GB/s, the others."""
    head = f"{'workload':50} {'step':8} {'torch ms':>9} {'ours ms':>9} {'ratio':>6} {'to reach':>8}"
    lines = [f"{head} {'GB/s':>6} {'others, in parts of torch':26}"]
    for result in results:
        target = result.measurement.targets.get(result.step)
        others = [name for name in result.seconds if name not in (OURS, TORCH)]
        lines.append(
            f"{result.measurement.name:50} {result.step:8} {1e3 * result.median(TORCH):9.3f} "
            f"{1e3 * result.median(OURS):9.3f} {result.ratio():6.2f} "
            f"{target if target is not None else '':>8} "
            f"{result.bytes.logical / result.median(OURS) / 1e9:6.1f} "
            + ", ".join(f"{name} {result.ratio(name):.2f}" for name in others)
        )
    lines.append(f"\nThis machine copies {rate / 1e9:.1f} GB/s, read and written bytes together.")
    return "\n".join(line.rstrip() for line in lines)


def device() -> dict[str, Any]:
    """The processor in words, and how many cores there are for this process."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": processor(), "cores": usable, "system": platform.system()}


def processor() -> str:
    """What the maker calls the processor; the kind of machine where that can't be found out."""
    try:
        if platform.system() == "Linux":
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
            return names[0] if names else platform.machine()
        if platform.system() == "Darwin":
            words = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python, of the package, and of what was timed."""
    found = {"python": platform.python_version(), "embag_edu": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def save(path: str, recorded: dict[str, Any]) -> None:
    """Write the record. The numbers are rounded to what a timing can mean."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rounded(recorded), file, indent=1)
        file.write("\n")


def rounded(value: Any) -> Any:
    """Floats to four digits, in whatever they are nested."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    return value
