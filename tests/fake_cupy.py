"""As much of CuPy as embag_edu uses, without a GPU: `make()` gives a module to put in sys.modules.

What CuPy refuses is refused here too, after its source (version 14.2): options, grid, block and
arguments that are no tuples, arrays of the host for pointers, a silent conversion to NumPy. Kernels
run by embag_edu.cuda_on_cpu. Once `state.broken` is set every call fails, as after an illegal
access.
"""

import time
import types

import numpy as np

from embag_edu.cuda_on_cpu import RawModule as CpuModule
from embag_edu.cuda_on_cpu import settings

SCALARS = {np.dtype(c).type for c in "?bhilqBHILQefdFD"}


class CUDARuntimeError(RuntimeError):
    pass


class Flags:
    def __init__(self, array):
        self.c_contiguous = array.flags.c_contiguous
        self.f_contiguous = array.flags.f_contiguous


class Array:
    def __init__(self, host, state):
        self._host, self._state = host, state
        self.shape, self.dtype, self.ndim, self.size = host.shape, host.dtype, host.ndim, host.size
        self.nbytes, self.flags, self.data = host.nbytes, Flags(host), Pointer(host, state)

    def __array__(self, *args, **others):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __dlpack__(self, **others):
        return self._host.__dlpack__(**others)

    def __dlpack_device__(self):
        return self._host.__dlpack_device__()

    def __getitem__(self, key):
        return Array(np.asarray(self._host[key]), self._state)

    def __setitem__(self, key, value):
        self._state.check()
        self._host[key] = value.get() if isinstance(value, Array) else value

    def __int__(self):
        return int(self._host)

    def fill(self, value):
        self._state.check()
        self._host.fill(value)

    def get(self):
        self._state.check()
        return self._host.copy()

    def sum(self):
        return Array(np.asarray(self._host.sum()), self._state)

    def item(self):
        return self._host.item()


class Pointer:
    def __init__(self, host, state):
        self._host, self._state = host, state

    def copy_from_device_async(self, source, size, stream=None):
        self._state.check()
        assert isinstance(source, Pointer)
        to, begin = (a._host.reshape(-1).view(np.uint8) for a in (self, source))
        to[:size] = begin[:size]


class RawKernel:
    num_regs, local_size_bytes, shared_size_bytes = 32, 0, 128
    max_dynamic_shared_size_bytes = 49152

    def __init__(self, kernel, state):
        self._kernel, self._state = kernel, state

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        for given in (grid, block, args):
            if not isinstance(given, tuple):
                raise TypeError(f"Expected tuple, got {type(given).__name__}")
        values = [self._value(a) for a in args]
        self._state.launched(self._kernel.name)
        self._kernel.max_dynamic_shared_size_bytes = self.max_dynamic_shared_size_bytes
        with settings(mode="fast"):
            self._kernel(grid, block, values, shared_mem=shared_mem)

    def _value(self, arg):
        if isinstance(arg, Array):
            return arg._host
        if isinstance(arg, np.ndarray) and arg.size == 1:
            return arg[()]  # by value, whatever the kernel wanted
        if type(arg) in SCALARS or isinstance(arg, (bool, int, float)):
            return arg
        raise TypeError(f"Unsupported type {type(arg)}")


class RawModule:
    def __init__(self, state, code=None, *, path=None, options=(), name_expressions=None):
        if not isinstance(options, tuple):
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        assert path is None and any("-std" in option for option in options)
        self._state = state
        self._module = CpuModule(code, options=options, name_expressions=name_expressions)

    def compile(self, log_stream=None):
        self._state.check()

    def get_function(self, name):
        self._state.check()
        return RawKernel(self._module.get_function(name), self._state)

    def get_global(self, name):
        return Pointer(self._module.get_global(name), self._state)


class State:
    """broken: every call fails. before_launch(name): called with each kernel's name."""

    def __init__(self, capability):
        self.capability, self.broken, self.names = capability, False, []
        self.before_launch = lambda name: None

    def check(self):
        if self.broken:
            raise CUDARuntimeError(
                "cudaErrorIllegalAddress: an illegal memory access was encountered"
            )

    def launched(self, name):
        self.check()
        self.before_launch(name)
        self.names.append(name)


class Event:
    def record(self, stream=None):
        self.at = time.perf_counter()

    def synchronize(self):
        pass


def make(capability=(9, 0)):
    """The module; its `state` is the State."""
    state = State(capability)

    def wrap(function):
        def wrapped(*args, **options):
            state.check()
            return Array(function(*args, **options), state)

        return wrapped

    def asarray(a, dtype=None):
        state.check()
        if isinstance(a, Array):
            return a if dtype in (None, a.dtype) else Array(a._host.astype(dtype), state)
        return Array(np.array(a, dtype=dtype), state)

    def ndarray(shape, dtype=float, memptr=None):
        raw = memptr._host.reshape(-1).view(np.uint8)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return Array(raw[:size].view(dtype).reshape(shape), state)

    class Device:
        id, mem_info = 0, (64 << 20, 80 << 30)

        def synchronize(self):
            state.check()

    properties = {
        "name": b"NVIDIA Fake",
        "major": capability[0],
        "minor": capability[1],
        "totalGlobalMem": 80 << 30,
        "l2CacheSize": 1 << 20,
        "multiProcessorCount": 132,
        "sharedMemPerBlock": 49152,
    }
    cupy = types.ModuleType("cupy")
    cupy.__version__, cupy.state = "14.2.0", state
    cupy.zeros, cupy.empty, cupy.full = wrap(np.zeros), wrap(np.empty), wrap(np.full)
    cupy.asarray, cupy.ndarray = asarray, ndarray
    cupy.ascontiguousarray = lambda a: Array(np.ascontiguousarray(a._host), state)
    cupy.asnumpy = lambda a: a.get() if isinstance(a, Array) else np.asarray(a)
    cupy.RawModule = lambda *args, **options: RawModule(state, *args, **options)
    cupy.cuda = types.SimpleNamespace(
        Device=Device,
        Event=Event,
        get_elapsed_time=lambda start, end: max(1e-3, 1e3 * (end.at - start.at)),
        get_local_runtime_version=lambda: 13000,
        nvrtc=types.SimpleNamespace(getVersion=lambda: (13, 0)),
        runtime=types.SimpleNamespace(
            getDeviceProperties=lambda number: dict(properties),
            getDeviceCount=lambda: 1,
            driverGetVersion=lambda: 13010,
            runtimeGetVersion=lambda: 13020,
        ),
    )
    return cupy
