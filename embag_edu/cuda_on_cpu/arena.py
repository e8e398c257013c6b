"""The arena: one piece of memory for all arrays of a checked launch, with empty pages between."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embag_edu.cuda_on_cpu.arguments import owner_of
from embag_edu.cuda_on_cpu.launched import Launched

PAGE = 1 << 16  # recorder.cpp's PAGE: no page holds parts of two arrays
MAX_ARENA = PAGE * (1 << 16)
MIN_GAP, MAX_GAP = 1 << 22, 1 << 26  # empty memory before every array, so that far misses are seen


class Span(NamedTuple):
    """A piece of the arena: where it begins, its bytes, and whether the kernel may write there."""

    start: int
    size: int
    writable: bool


class Layout:
    """Where in the arena every array of a launch goes.

    Arrays that overlap in memory (x and x[1:]) overlap in the arena too. An array keeps its place
    modulo 256 bytes within the array that it is a view of, as it would on a GPU.
    """

    def __init__(self, launched: Launched):
        self.spans: list[Span] = []
        self.names: list[list[int]] = []  # the arguments that lie in each span
        self.places: dict[int, int] = {}  # argument -> offset in the arena
        self.size = PAGE
        arrays = [(i, v) for i, v in enumerate(launched.values) if isinstance(v, np.ndarray)]
        for group in _overlapping(arrays):
            low = min(_start(a) for _, a in group)
            high = max(_start(a) + a.nbytes for _, a in group)
            gap = min(max(MIN_GAP, high - low), MAX_GAP) // PAGE * PAGE
            start = self.size + gap + _within_owner(min(group, key=lambda g: _start(g[1]))[1])
            writable = any(not launched.parameters[i].const for i, _ in group)
            self.spans.append(Span(start, high - low, writable))
            self.names.append([i for i, _ in group])
            for i, a in group:
                self.places[i] = start + _start(a) - low
            self.size = -(-(start + high - low) // PAGE) * PAGE
        self.size += MIN_GAP


def _start(array: np.ndarray) -> int:
    return array.ctypes.data


def _within_owner(array: np.ndarray) -> int:
    return (_start(array) - _start(owner_of(array))) % 256


def _overlapping(arrays: list[tuple[int, np.ndarray]]) -> list[list[tuple[int, np.ndarray]]]:
    groups: list[list[tuple[int, np.ndarray]]] = []
    end = -1
    for i, a in sorted(arrays, key=lambda pair: (_start(pair[1]), pair[0])):
        if groups and _start(a) < end:
            groups[-1].append((i, a))
        else:
            groups.append([(i, a)])
        end = max(end, _start(a) + a.nbytes)
    return groups


class Arena:
    """A file in memory that both processes have mapped."""

    def __init__(self, size: int):
        self.size = size
        handle, self.path = tempfile.mkstemp(prefix="cuda_on_cpu_", dir=_memory_folder(size))
        os.ftruncate(handle, size)
        self.memory = mmap.mmap(handle, size)
        os.close(handle)
        self.bytes = np.frombuffer(self.memory, np.uint8)

    def forget_name(self) -> None:
        """Both processes have mapped it: without a name it ends with them, however they end."""
        if os.name == "posix":
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def close(self) -> None:
        """Give the memory back."""
        del self.bytes
        with contextlib.suppress(BufferError):
            self.memory.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def _memory_folder(size: int) -> str:
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2 * size:
        return str(shared)
    return tempfile.gettempdir()
