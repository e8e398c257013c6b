"""A process of its own for each submission, with little to reach and a limit for everything.

In every case: a new home and folder for temporary files, an environment of a few names, limits on
memory, processes, files and output, and an end for whatever is left over.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "EMBAG_CXX", "SYSTEMROOT")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Limits:
    """What one box may take. memory and file_size are in bytes."""

    memory: int = 16 << 30  # of addresses, for each process
    processes: int = 512
    file_size: int = 1 << 30
    open_files: int = 512


class Box:
    """Starts `inside` in a box. `read` and `write` lead to it; `why` says why it was ended."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 (frozen)
        self.folder = Path(tempfile.mkdtemp(prefix="embag_edu_box_"))
        self.why, self._ended, self._lock = "", False, threading.Lock()
        for name in ("home", "tmp", "work"):
            (self.folder / name).mkdir()
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self._command(limits), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, cwd=self.folder / "work", env=self._environment(),
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.write: Any = self.process.stdin
        self.read: Any = self.process.stdout

    def _command(self, limits: Limits) -> list[str]:
        inside = [sys.executable, "-m", "embag_edu.course.inside", json.dumps(asdict(limits))]
        return inside

    def _environment(self) -> dict[str, str]:
        """The box imports the embag_edu that is grading, and no other."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        tmp = str(self.folder / "tmp")
        return kept | dict.fromkeys(THREADS, "1") | {
            "HOME": str(self.folder / "home"), "USERPROFILE": str(self.folder / "home"),
            "TMPDIR": tmp, "TEMP": tmp, "TMP": tmp,
            "PYTHONPATH": str(PACKAGE.parent), "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "EMBAG_DEVICE": "cpu",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }  # fmt: skip

    def said(self) -> str:
        """The last line that the process wrote to stderr before it was ready."""
        self._errors.seek(0)
        lines = self._errors.read(100_000).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self, why: str = "") -> None:
        """End all that runs in the box. The first reason that is given stays."""
        with self._lock:
            self.why = self.why or why
            if not self._ended:  # later, its number may be another process's
                end_family(self.process.pid)
                self.process.wait()
            self._ended = True

    def close(self) -> None:
        """End it, and remove what it has written."""
        self.end()
        for file in (self.read, self.write, self._errors):
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# -------------------------------------------------------------------------- processes


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
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


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
