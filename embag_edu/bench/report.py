"""The table of a run, and its record as JSON: books and figures are made from the record alone."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from embag_edu import __version__
from embag_edu.bench import stopwatch
from embag_edu.bench.implementations import OURS, TORCH
from embag_edu.bench.measure import Timed
from embag_edu.bench.recorded import plain, write
from embag_edu.text import aligned

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
    head = ("workload", "step", "torch ms", "ours ms", "ratio", "to reach", "GB/s")
    rows: list[Sequence[object]] = [(*head, "others, in parts of torch")]
    for result in results:
        ours = result.median(OURS)
        others = [name for name in result.seconds if name not in (OURS, TORCH)]
        row = (
            result.measurement.name,
            result.step,
            f"{1e3 * result.median(TORCH):.3f}",
            f"{1e3 * ours:.3f}",
            f"{result.ratio():.2f}",
            result.measurement.targets.get(result.step, ""),
            f"{result.bytes.logical / ours / 1e9:.1f}",
            ", ".join(f"{name} {result.ratio(name):.2f}" for name in others),
        )
        rows.append(row)
    copied = f"This machine copies {rate / 1e9:.1f} GB/s, read and written bytes together."
    return f"{aligned(rows, '<<>>>>><')}\n\n{copied}"


def device() -> dict[str, Any]:
    """The processor in words, how many cores there are for this process, and its last cache."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": processor(),
        "cores": usable,
        "system": platform.system(),
        "L3_MiB": last_cache(),
    }


def last_cache() -> float | None:
    """The size of the L3 cache in MiB, where Linux tells it."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text(encoding="ascii")
        return int(size.strip().removesuffix("K")) / 1024
    except (OSError, ValueError):
        return None


def load() -> float | None:
    """How many programs have wanted a processor in the last minute, on average: ours is one."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


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


def save(path: str, record: dict[str, Any]) -> None:
    """Write the record. The numbers are rounded to what a timing can mean."""
    write(path, plain(record, digits=4))
