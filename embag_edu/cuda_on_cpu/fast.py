"""Fast mode: the parts of a launch on several cores, with a limit of time, and Ctrl-C."""

from __future__ import annotations

import ctypes
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from embag_edu.cuda_on_cpu.worker import Control

SIGNAL: Any = getattr(
    signal, "SIGURG", None
)  # does nothing where nobody asked for it; not on Windows
MOST_STACKS = 16_384  # of one launch, on all cores
MOST = 64  # parts that run at the same time, in all threads of this process

_controls = (Control * MOST)()
# The one that was used last comes first: each has stacks for up to 1,024 threads, which stay, and
# two mappings for each of them. Linux gives a process 65,530.
_free: queue.LifoQueue[Control] = queue.LifoQueue()
for _control in _controls:
    _free.put(_control)
_pool: ThreadPoolExecutor | None = None
_watch = threading.Lock()
_ends: dict[int, float] = {}  # of the threads in which a launch runs: when it must have ended
_watchman: threading.Thread | None = None
_listening = False


def run_parts(
    parts: Sequence[Callable[[Control], Any]], library: ctypes.CDLL, seconds: float
) -> list[Any]:
    """The results of the parts, each in a thread of its own.

    A part that takes longer than `seconds` is told to leave: its launch then returns with a fault.
    So it is where the wait is interrupted (Ctrl-C), and the interrupt is raised. library: any one.
    """
    _listen(library)
    if len(parts) == 1 and SIGNAL is not None:
        return [_here(parts[0], seconds)]
    running = [_threads(len(parts)).submit(_part, part) for part in parts]
    try:
        if wait(running, seconds).not_done:
            _end(running)
    except BaseException:
        _end(running)
        raise
    return [part.result() for part in running]


def _here(part: Callable[[Control], Any], seconds: float) -> Any:
    """The result of a part that runs in this thread: nothing is handed over for a small launch."""
    global _watchman
    thread, main = threading.get_ident(), threading.current_thread() is threading.main_thread()
    with _watch:
        _ends[thread] = time.monotonic() + seconds
        if _watchman is None:
            _watchman = threading.Thread(target=_watch_time, daemon=True)
            _watchman.start()
    try:
        return _part(part, int(signal.SIGINT) if main else 0)
    finally:
        with _watch:
            del _ends[thread]


def _watch_time() -> None:
    """End what runs too long; go when nothing runs."""
    global _watchman
    while True:
        time.sleep(0.05)
        with _watch:
            if not _ends:
                _watchman = None
                return
            late = [thread for thread, end in _ends.items() if time.monotonic() > end]
            for thread in set(late) & {control.thread for control in _controls}:
                signal.pthread_kill(thread, SIGNAL)


def _threads(n: int) -> ThreadPoolExecutor:
    global _pool
    if _pool is None or _pool._max_workers < n:
        _pool = ThreadPoolExecutor(n)
    return _pool


def _part(part: Callable[[Control], Any], interrupt: int = 0) -> Any:
    control = _free.get()
    control.interrupt, control.overrun = interrupt, None
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
