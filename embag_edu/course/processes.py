"""The processes below one, and an end for all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path


def end_family(pid: int) -> None:
    """Kill a process, its group, and all that descends from it (as far as the system tells)."""
    if not hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)  # Windows: this ends it at once
        return
    for _ in range(20):  # what forks meanwhile is met in the next round
        family = descendants(pid)
        if pid != os.getpid():
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        for each in family:
            with contextlib.suppress(OSError):
                os.kill(each, signal.SIGKILL)
        if not family:
            return


def adopt() -> None:
    """On Linux: let processes whose parents have ended become ours, so that they can be ended."""
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def end_with_parent() -> None:
    """On Linux: let this process be killed when the one that has started it ends."""
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """The processes below a process, by /proc; [] where there is none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def resident(pid: int) -> int:
    """The bytes of memory that a process uses."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
