"""As much of CuPy as embag_edu uses, without a GPU: `make()` gives a module to put in sys.modules.

What CuPy refuses is refused here too, after its source (version 14.2): options, grid, block and
arguments that are no tuples, arrays of the host for pointers, a silent conversion to NumPy. Kernels
run by embag_edu.cuda_on_cpu. A cubin holds the source here; its last byte is cut off, as by CuPy,
and a file without that byte does not load. Once `state.broken` is set every call fails, as after an
illegal access.
"""

import ctypes
import hashlib
import json
import time
import types
from pathlib import Path

import numpy as np

from embag_edu.cuda_on_cpu import CompileError, settings
from embag_edu.cuda_on_cpu import RawModule as CpuModule

SCALARS = {np.dtype(c).type for c in "?bhilqBHILQefdFD"}


OWN = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # another fake, other cubins
ELF = b"\x7fELF"


class CUDARuntimeError(RuntimeError):
    pass


class CompileException(Exception):
    pass


class Compiler:
    """cupy.cuda.compiler and cupy._core.core, of NVRTC 13.0. options: of each compilation."""

    CompileException = CompileException

    def __init__(self):
        self.options = []

    def assemble_cupy_compiler_options(self, options):
        if not isinstance(options, tuple):
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        return (f"-I/fake/{OWN}/cccl", *options, f"-I/fake/{OWN}/include")

    def compile_using_nvrtc(
        self,
        source,
        options=(),
        arch=None,
        filename="kern.cu",
        name_expressions=None,
        log_stream=None,
    ):
        self.options.append(options)
        module = CpuModule(source, options=options, name_expressions=name_expressions or None)
        try:
            with settings(mode="fast"):
                module.compile()
        except CompileError as error:
            raise CompileException(f"{filename}: {error}") from error
        if log_stream is not None:
            log_stream.write("compiled")
        names = [f"_Z{k}{name[:5]}" for k, name in enumerate(name_expressions or ())]
        mapping = dict(zip(name_expressions, names, strict=True)) if names else None
        binary = ELF + json.dumps([source, options, mapping or {}]).encode()
        return (binary + bytes(8 - len(binary) % 8))[:-1], mapping


def loaded(path):
    """(source, options, {mangled name: name expression}) of a cubin."""
    binary = Path(path).read_bytes()
    if not binary.startswith(ELF) or len(binary) % 8:
        raise CUDARuntimeError("CUDA_ERROR_INVALID_IMAGE: device kernel image is invalid")
    source, options, mapping = json.loads(binary[len(ELF) :].rstrip(b"\0"))
    return source, tuple(options), {mangled: name for name, mangled in mapping.items()}


class Flags:
    def __init__(self, array):
        self.c_contiguous = array.flags.c_contiguous
        self.f_contiguous = array.flags.f_contiguous


class Array:
    def __init__(self, host, state):
        self._host, self._state = host, state
        self.shape, self.dtype, self.ndim, self.size = host.shape, host.dtype, host.ndim, host.size
        self.strides = host.strides
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

    def copy_to_host_async(self, address, size, stream=None):
        self._state.check()
        ctypes.memmove(address, self._host.ctypes.data, size)


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
        if "max_dynamic_shared_size_bytes" in vars(self):
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
    def __init__(
        self,
        state,
        *,
        code=None,
        path=None,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        enable_cooperative_groups=False,
        name_expressions=None,
        jitify=False,
    ):
        if not isinstance(options, tuple):
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if path is not None and (name_expressions is not None or not isinstance(path, str)):
            raise ValueError("need CUDA C++ code for the requested kernels")
        self._state, self.path, self._names = state, path, {}
        self.enable_cooperative_groups, self._flushes = enable_cooperative_groups, path is None
        if path is not None:
            code, options, self._names = loaded(path)
            name_expressions = list(self._names.values()) or None
        assert any("-std" in option for option in options)
        self._module = CpuModule(code, options=options, name_expressions=name_expressions)

    def compile(self, log_stream=None):
        self._use()

    def get_function(self, name):
        self._use()
        assert name not in self._names.values()  # only mangled names are in a cubin
        return RawKernel(self._module.get_function(self._names.get(name, name)), self._state)

    def get_global(self, name):
        self._use()
        return Pointer(self._module.get_global(name), self._state)

    def _use(self):
        self._state.check()
        if self._flushes:
            self._state.flushed += 1


class State:
    """broken: every call fails. before_launch(name): called with each kernel's name.

    capturing: whether the current stream is. flushed: how often a module was used that CuPy
    compiled itself, with -ftz=true.
    """

    def __init__(self, capability):
        self.capability, self.broken, self.names, self.flushed = capability, False, [], 0
        self.capturing = False
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
    done = False

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        self.at = time.perf_counter()

    def synchronize(self):
        self.done = True


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
        compute_capability = f"{capability[0]}{capability[1]}"

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
    compiler = Compiler()
    cupy._core = types.SimpleNamespace(core=compiler)
    cupy.cuda = types.SimpleNamespace(
        Device=Device,
        compiler=compiler,
        Event=Event,
        alloc_pinned_memory=bytearray,
        get_current_stream=lambda: types.SimpleNamespace(is_capturing=lambda: state.capturing),
        get_elapsed_time=lambda start, end: max(1e-3, 1e3 * (end.at - start.at)),
        get_local_runtime_version=lambda: 13000,
        nvrtc=types.SimpleNamespace(getVersion=lambda: (13, 0)),
        runtime=types.SimpleNamespace(
            is_hip=False,
            getDeviceProperties=lambda number: dict(properties),
            getDeviceCount=lambda: 1,
            driverGetVersion=lambda: 13010,
            runtimeGetVersion=lambda: 13020,
        ),
    )
    return cupy
