"""cupy.cuda: one device, on which all is done at once; streams and events wait for nothing."""

from __future__ import annotations

import ctypes
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.arguments import (
    BLOCK,
    GRID,
    RESIDENT,
    SHARED_DEFAULT,
    SHARED_MOST,
    bytes_of,
    owner_of,
)
from embag_edu.cuda_on_cpu.launch import NotFound as CUDADriverError
from embag_edu.cuda_on_cpu.settings import current
from embag_edu.cuda_on_cpu.toolchain import CompileError as CompileException

__all__ = ["CUDADriverError", "CompileException", "Device", "Event", "MemoryPointer", "Stream"]
VERSION = 13000  # of CUDA
MEMORY = 8 << 30  # bytes of a GPU that does not exist


def missing(module: str, name: str) -> AttributeError:
    """The error for a name that is not there."""
    return AttributeError(
        f"{module}.{name} is not in this stand-in for CuPy (embag_edu.cuda_on_cpu.cupy). Where a "
        f"test needs it, set {module}.{name} in conftest.py, or skip the test without a GPU"
    )


def nothing(*args: Any, **options: Any) -> None:
    """What a CPU has no need of."""


# ---- memory ----

# Arrays whose address was asked for, by where they begin: a kernel may be given the number.
_asked: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()


class MemoryPointer:
    """A place in memory. bytes: what lies from there on, as an array of uint8."""

    device_id = 0

    def __init__(self, mem: np.ndarray, offset: int = 0):
        self.mem, self.bytes = mem, mem[offset:]

    @property
    def ptr(self) -> int:
        """Its address, which a kernel may be passed."""
        owner = owner_of(self.bytes)
        _asked[owner.ctypes.data] = owner
        return self.bytes.ctypes.data

    __int__ = __index__ = lambda self: self.ptr

    def __add__(self, n: int) -> MemoryPointer:
        return MemoryPointer(self.bytes, n)

    def copy_from(self, mem: Any, size: int, stream: Any = None) -> None:
        """Take `size` bytes from a MemoryPointer, an address or a ctypes pointer."""
        self.bytes[:size] = _bytes(mem, size)

    def copy_to_host(self, mem: Any, size: int, stream: Any = None) -> None:
        """Write `size` bytes to an address or a ctypes pointer."""
        _bytes(mem, size)[:] = self.bytes[:size]

    def memset(self, value: int, size: int, stream: Any = None) -> None:
        """Fill `size` bytes."""
        self.bytes[:size] = value

    copy_from_host = copy_from_host_async = copy_from_device = copy_from_device_async = copy_from
    copy_from_async, copy_to_host_async, memset_async = copy_from, copy_to_host, memset


def _bytes(place: Any, size: int) -> np.ndarray:
    if isinstance(place, MemoryPointer):
        return place.bytes[:size]
    there = (ctypes.c_uint8 * size).from_address(getattr(place, "value", place))
    return np.ctypeslib.as_array(there)


def bytes_at(address: int) -> np.ndarray | None:
    """The bytes from there to its array's end, where an array has told its address; else None."""
    for start, owner in list(_asked.items()):
        if 0 <= address - start < owner.nbytes:
            return bytes_of(owner)[address - start :]
    return None


def alloc(size: int) -> MemoryPointer:
    """New memory."""
    return MemoryPointer(np.empty(size, np.uint8))


class MemoryPool:
    """A pool that holds nothing back."""

    malloc = staticmethod(alloc)
    __init__ = free_all_blocks = set_limit = nothing
    used_bytes = total_bytes = free_bytes = n_free_blocks = lambda self: 0


PinnedMemoryPool, set_allocator, set_pinned_memory_allocator = MemoryPool, nothing, nothing
alloc_pinned_memory = bytearray

# ---- device, streams, events ----


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""


class Device:
    """The one device, number 0. Raises CUDARuntimeError for another number."""

    mem_info = MEMORY, MEMORY
    attributes = {
        "MaxThreadsPerBlock": BLOCK[0], "MaxGridDimX": GRID[0], "MaxGridDimY": GRID[1],
        "MaxSharedMemoryPerBlock": SHARED_DEFAULT, "MultiProcessorCount": 6, "WarpSize": 32,
    }  # fmt: skip
    use = synchronize = __exit__ = nothing
    compute_capability = property(lambda self: current().arch[3:])
    __int__ = __index__ = lambda self: self.id

    def __init__(self, device: Any = None):
        self.id = int(device or 0)
        if self.id != 0:
            raise CUDARuntimeError(f"cudaErrorInvalidDevice: device {self.id}, where there is one")

    def __enter__(self) -> Device:
        return self


class Event:
    """A moment, for get_elapsed_time."""

    done, time = True, 0.0
    __init__ = synchronize = nothing

    def record(self, stream: Any = None) -> None:
        """Now."""
        self.time = time.perf_counter()


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events: on this machine's processor, not on a GPU."""
    return 1e3 * (end_event.time - start_event.time)


class Stream:
    """An order of launches, of which there is only one here."""

    ptr, done, device_id = 0, True, 0
    null: Stream
    __init__ = synchronize = wait_event = nothing

    def use(self) -> Stream:
        """Make it the current stream."""
        _streams[-1] = self
        return self

    def record(self, event: Event | None = None) -> Event:
        """An event of now."""
        event = event or Event()
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        _streams.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _streams.pop()


ExternalStream = Stream
Stream.null = Stream()
_streams = [Stream.null]


def get_current_stream(device_id: int = 0) -> Stream:
    """That of the innermost `with stream`."""
    return _streams[-1]


# ---- the modules below it ----


def get_compute_capability() -> str:
    """That of settings(arch=): "90"."""
    return current().arch[3:]


def getDeviceProperties(device: int = 0) -> dict[str, Any]:
    """What projects ask for."""
    major, minor = divmod(int(get_compute_capability()), 10)
    return dict(
        name=b"no GPU: embag_edu.cuda_on_cpu", major=major, minor=minor, totalGlobalMem=MEMORY,
        sharedMemPerBlock=SHARED_DEFAULT, sharedMemPerBlockOptin=SHARED_MOST, warpSize=32,
        maxThreadsPerBlock=BLOCK[0], maxThreadsDim=BLOCK, maxGridSize=GRID, multiProcessorCount=6,
        maxThreadsPerMultiProcessor=RESIDENT // 6,
    )  # fmt: skip


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


is_hip, JitifyException = False, CompileException
is_available, getDevice, getDeviceCount = _always(True), _always(0), _always(1)
setDevice, memGetInfo = Device, _always(Device.mem_info)
runtimeGetVersion = driverGetVersion = get_build_version = _always(VERSION)
deviceSynchronize = streamSynchronize = nothing
compiler = device = driver = memory = runtime = stream = sys.modules[__name__]  # one for all


def __getattr__(name: str) -> Any:
    raise missing("cupy.cuda", name)
