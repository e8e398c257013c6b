"""A checked launch: the arrays go to an arena in shared memory, a child process runs the kernel.

The arrays come back only when the launch went well, so that a fault leaves them as they were.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.arena import MAX_ARENA, Arena, Layout
from embag_edu.cuda_on_cpu.counts import Report, fault_of
from embag_edu.cuda_on_cpu.faults import KernelFault, Touch, shown_alone
from embag_edu.cuda_on_cpu.launched import Launched
from embag_edu.cuda_on_cpu.settings import Settings
from embag_edu.cuda_on_cpu.source import GlobalVariable
from embag_edu.cuda_on_cpu.worker import Variable

SHADOW_LIMIT = 3 << 30  # bytes of notes on who touched what
STUDY_SECONDS = 10  # for the second run of a launch that has a race


class Child:
    """The process that runs kernels. It is started when it is needed and again when it died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self.arena: Arena | None = None
        self.lock = threading.Lock()
        atexit.register(self.close)

    def room(self, size: int) -> Arena:
        """An arena of at least this size, and a process that has mapped it or will."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            self._start()
        if size > MAX_ARENA:
            too_large = MemoryError(
                f"the arrays of this launch take {size / 2**30:.1f} GiB with their guard pages; "
                "checked mode takes up to 4 GiB. Launch on less data, or with settings(mode='fast')"
            )
            raise shown_alone(too_large)
        if self.arena is None or self.arena.size < size:
            if self.arena is not None:
                self.arena.close()
            self.arena = Arena(max(size, 1 << 24))
        return self.arena

    def ask(self, request: dict, seconds: float) -> dict | None:
        """The answer; None when it took too long. Raises ChildDied."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.kill()
            return None
        except BaseException:  # an interrupt: this answer must not meet a later question
            self.kill()
            raise
        if not line:
            code = self.process.wait()
            self.process = None
            raise ChildDied(code)
        if self.arena is not None:
            self.arena.forget_name()
        return json.loads(line.decode(errors="replace"))

    def _start(self) -> None:
        worker = Path(__file__).with_name("worker.py")
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt is the parent's business
        )
        self.answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(
            target=_read_lines, args=(self.process.stdout, self.answers), daemon=True
        ).start()
        self.answers.get(timeout=60)  # its start is not the kernel's time

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End the process and give the memory back."""
        self.kill()
        if self.arena is not None:
            self.arena.close()
            self.arena = None


def _read_lines(stream: Any, answers: queue.Queue) -> None:
    for line in stream:
        answers.put(line)
    answers.put(b"")  # the process is gone


class ChildDied(RuntimeError):
    """The child process ended in the middle of a launch."""


_child = Child()


def run(
    file: Path,
    number: int,
    launched: Launched,
    now: Settings,
    shared: tuple[int, int],
    own: Sequence[tuple[GlobalVariable, Variable]],
    values: dict[str, np.ndarray],
) -> dict:
    """Launch kernel `number` of the library; the recorder's report as a dict.

    shared: bytes of dynamic shared memory, and the most with static arrays.
    own, values: the module's variables, as declared, and their values; the launch changes these.
    Raises KernelFault where the launch did not come to an end.
    """
    layout = Layout(launched)
    launched.spans = layout.names
    with _child.lock:
        variables = _variables(own, layout)
        launched.variables = [v["name"] for v in variables]
        arena = _child.room(layout.size)
        _copy_in(arena, layout, launched, variables, values)
        request = {
            "library": str(file),
            "kernel": number,
            "arena": arena.path,
            "size": arena.size,
            "grid": launched.grid,
            "block": launched.block,
            "shared": shared,
            "order": now.order,
            "cooperative": launched.cooperative,
            "spans": [(s.start, s.start + s.size, s.writable) for s in layout.spans],
            "args": [_argument(i, v, layout) for i, v in enumerate(launched.values)],
            "variables": variables,
            "log": now.log,
            "shadow_limit": SHADOW_LIMIT,
            "studied": [],
            "interrupt": 1 << 2 * ((now.order - 1) % 4),  # at every access, every 4th, 16th, 64th
        }
        found = _answer(request, now.seconds, arena, launched)
        if now.strict:
            found["faults"], found["notes"] = found["faults"] + found["notes"], []
        if not found["faults"] or not (now.raise_faults or found["stopped"]):
            _copy_out(arena, layout, launched, variables, values)
        else:
            _study(found, request, lambda: _copy_in(arena, layout, launched, variables, values))
        return found


def _answer(request: dict, seconds: float, arena: Arena, launched: Launched) -> dict:
    try:
        found = _child.ask(request, seconds)
    except ChildDied as died:
        raise _lost("crash", arena, launched, f"exit status {died}") from None
    if found is None:
        raise _cut_off(arena, launched, seconds)
    if "error" in found:
        raise RuntimeError(f"cuda_on_cpu: {found['error']}")
    return found


def _study(found: dict, request: dict, copy_in: Callable[[], None]) -> None:
    """Run the launch once more for its races within a block: who else touches the element?"""
    races = [f for f in found["faults"] if f["kind"] == "race" and f["block"] == f["other_block"]]
    asked = [(f["span"], f["block"], f["bytes"], f["offset"]) for f in races[:4]]
    if not asked or _child.process is None:
        return
    copy_in()
    with contextlib.suppress(ChildDied):  # then the advice is more careful
        again = _child.ask(request | {"studied": asked, "log": 0}, STUDY_SECONDS)
        for i, fault in enumerate(races[:4]):
            told = (again or {}).get("studied", [])
            fault["studied"] = [Touch(*row) for element, *row in told if element == i]


def _cut_off(arena: Arena, launched: Launched, seconds: float) -> KernelFault:
    """Endless; or out of time, where blocks have been ending until now."""
    done, began = (int(n) for n in arena.bytes[24:40].view(np.uint64))
    total, now = math.prod(launched.grid), time.monotonic()  # the clock of the child, too
    age = now - began / 1e9  # of the block that was running; the others took the rest of the time
    going_on = done and age < max(4 * (seconds - age) / done, seconds / 4)
    text = f"{seconds:g} {done} {total}"
    return _lost("time limit" if going_on else "endless", arena, launched, text)


def _lost(kind: str, arena: Arena, launched: Launched, text: str) -> KernelFault:
    """A fault made of the little that a dead process left in the arena: where it last was."""
    line, thread, block = (int(n) for n in arena.bytes[:24].view(np.uint64))
    numbers = "other_line other_thread other_block access other_access offset bytes".split()
    fault = {"kind": kind, "line": line, "thread": thread, "block": block, "text": text}
    fault |= dict.fromkeys(numbers, 0) | {"span": -2, "count": 1}
    return fault_of(Report(launched, {"faults": [fault], "sites": [], "stopped": True}))


def _argument(i: int, value: Any, layout: Layout) -> int | str:
    return layout.places[i] if i in layout.places else np.atleast_1d(value).tobytes().hex()


def _variables(own: Sequence[tuple[GlobalVariable, Variable]], layout: Layout) -> list[dict]:
    """The module's own variables, with a place in the arena for their values."""
    found = []
    for v, declared in own:
        place = {"name": v.name, "size": declared.size, "offset": layout.size}
        found.append(place | {"writable": not v.constant, "pointers": declared.pointers})
        layout.size += -(-declared.size // 256) * 256
    return found


def _copy_in(
    arena: Arena,
    layout: Layout,
    launched: Launched,
    variables: list[dict],
    values: dict[str, np.ndarray],
) -> None:
    arena.bytes[:40] = 0
    for i, at in layout.places.items():
        array = launched.values[i]
        arena.bytes[at : at + array.nbytes] = _bytes(array)
    for v in variables:
        arena.bytes[v["offset"] : v["offset"] + v["size"]] = values[v["name"]]


def _copy_out(
    arena: Arena,
    layout: Layout,
    launched: Launched,
    variables: list[dict],
    values: dict[str, np.ndarray],
) -> None:
    for i, at in layout.places.items():
        array = launched.values[i]
        if not launched.parameters[i].const and array.nbytes:
            _bytes(array)[:] = arena.bytes[at : at + array.nbytes]
    for v in variables:
        values[v["name"]][:] = arena.bytes[v["offset"] : v["offset"] + v["size"]]


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)
