"""Fast mode: the parts of a launch on several cores, with a limit of time, and Ctrl-C."""

from __future__ import annotations

import ctypes
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from embag_edu.cuda_on_cpu.worker import Control

SIGNAL = getattr(signal, "SIGURG", None)  # does nothing where nobody asked for it; not on Windows
MOST_STACKS = 16_384  # of one launch, on all cores
MOST = 64  # parts that run at the same time, in all threads of this process

_controls = (Control * MOST)()
# The one that was used last comes first: each has stacks for up to 1,024 threads, which stay, and
# two mappings for each of them. Linux gives a process 65,530.
_free: queue.LifoQueue[Control] = queue.LifoQueue()
for _control in _controls:
    _free.put(_control)
_pool: ThreadPoolExecutor | None = None
_listening = False


def run_parts(
    parts: Sequence[Callable[[Control], Any]], library: ctypes.CDLL, seconds: float
) -> list[Any]:
    """The results of the parts, each in a thread of its own.

    A part that takes longer than `seconds` is told to leave: its launch then returns with a fault.
    So it is where the wait is interrupted (Ctrl-C), and the interrupt is raised. library: any one.
    """
    _listen(library)
    running = [_threads(len(parts)).submit(_part, part) for part in parts]
    try:
        if wait(running, seconds).not_done:
            _end(running)
    except BaseException:
        _end(running)
        raise
    return [part.result() for part in running]


def _threads(n: int) -> ThreadPoolExecutor:
    global _pool
    if _pool is None or _pool._max_workers < n:
        _pool = ThreadPoolExecutor(n)
    return _pool


def _part(part: Callable[[Control], Any]) -> Any:
    control = _free.get()
    control.thread = threading.get_ident()
    try:
        return part(control)
    finally:
        control.thread = 0
        _free.put(control)


def _listen(library: ctypes.CDLL) -> None:
    global _listening
    if SIGNAL is not None and not _listening:
        library.cuda_on_cpu_listen(ctypes.byref(_controls), MOST, int(SIGNAL))
        _listening = True


def _end(running: Sequence[Future]) -> None:
    """Send the signal until all have left: one that comes between two launches is lost."""
    mine = {control.thread for control in _controls} - {0}
    while SIGNAL is not None and wait(running, 0.02).not_done:
        for thread in mine & {control.thread for control in _controls}:
            signal.pthread_kill(thread, SIGNAL)
