"""How kernels are run: the settings, and the `with` block that changes them."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

from embag_edu.cuda_on_cpu.faults import told_in_short


@dataclass(frozen=True)
class Settings:
    """How kernels are run.

    mode:         "checked", or "fast" (EMBAG_CUDA_MODE sets the default).
    order:        0: threads and blocks one after another, in order. k > 0: the order of seed k; in
                  checked mode threads are also interrupted at their accesses to memory.
    seconds:      a kernel that takes longer is ended, and a fault tells how far it got.
    cores:        fast mode: how many cores share the blocks.
    strict:       what is otherwise a note beside the result (right, but not by the letter of CUDA's
                  guide, or only by luck) is a fault.
    raise_faults: False: races are only listed in `kernel.report`, and what was written is kept.
    arch:         the GPU that __CUDA_ARCH__ speaks of, in modules made from now on: "sm_90".
    log:          so many accesses are kept one by one, in `kernel.report.accesses`.
    """

    mode: str = os.environ.get("EMBAG_CUDA_MODE", "checked")
    order: int = 0
    seconds: float = float(os.environ.get("EMBAG_CUDA_SECONDS", 60))
    cores: int = min(os.cpu_count() or 1, 8)
    strict: bool = False
    raise_faults: bool = True
    log: int = 0
    arch: str = "sm_90"

    def __post_init__(self):
        if self.mode not in ("checked", "fast"):
            raise ValueError(f"mode is {self.mode!r}; valid: 'checked', 'fast'")
        if not 0 <= self.order < 2**32:
            raise ValueError(
                f"order is {self.order!r}; valid: 0 (in order), or a seed up to 2**32 - 1"
            )
        if not re.fullmatch(r"sm_\d{2,3}", str(self.arch)):
            raise ValueError(f"arch is {self.arch!r}; valid: 'sm_80', 'sm_90' and so on")
        if not self.seconds > 0 or not self.cores >= 1 or not 0 <= self.log <= 1_000_000:
            raise ValueError(
                f"seconds is {self.seconds!r}, cores {self.cores!r}, log {self.log!r}; valid: "
                "seconds above 0, cores from 1, log from 0 to 1,000,000"
            )


_DEFAULT = Settings()
_current: ContextVar[Settings | None] = ContextVar("settings", default=None)
_everywhere = _DEFAULT  # what the main thread has set: it holds in threads that set nothing


@contextlib.contextmanager
def settings(**changes: Any) -> Iterator[Settings]:
    """Run the kernels of a `with` block with other `Settings`: settings(mode="fast", order=3).

    A block of the main thread holds in all threads that have none of their own.
    """
    global _everywhere
    known = [f.name for f in fields(Settings)]
    with told_in_short():
        for name in changes:
            if name not in known:
                raise TypeError(f"there is no setting {name!r}; there are {', '.join(known)}")
        before, made = _everywhere, replace(current(), **changes)
    token, main = _current.set(made), threading.current_thread() is threading.main_thread()
    if main:
        _everywhere = made
    try:
        yield made
    finally:
        _current.reset(token)
        if main:
            _everywhere = before


def current() -> Settings:
    """The settings of the innermost `with settings(...)` block."""
    return _current.get() or _everywhere
