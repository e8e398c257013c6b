"""device(): the one place where the book says "give me a device".

Where CuPy finds a usable NVIDIA GPU, it is CuPy; where not, kernels run on the CPU (cuda_on_cpu).
The code that uses it is the same. EMBAG_DEVICE=cpu or cuda makes the choice, "auto" leaves it open.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu import compilers, cubin, launch
from embag_edu.cuda_on_cpu.arguments import (
    SHARED_DEFAULT,
    SHARED_MOST,
    check_arguments,
    check_shape,
    quick,
)
from embag_edu.cuda_on_cpu.counts import Report
from embag_edu.cuda_on_cpu.members import with_struct
from embag_edu.cuda_on_cpu.settings import settings
from embag_edu.cuda_on_cpu.signature import parameters
from embag_edu.cuda_on_cpu.source import Parameter


class Device:
    """A CPU that runs CUDA kernels on NumPy arrays.

    kind: "cpu" or "cuda"; reason: why this one was taken; xp: the module of its arrays.
    """

    kind = "cpu"
    RawModule: Any = launch.RawModule
    RawKernel: Any = launch.RawKernel

    def __init__(self, reason: str):
        self.reason, self.xp = reason, np

    def __str__(self) -> str:
        try:
            compiler = compilers.version(tuple(compilers.find_compiler()))
        except compilers.CompilerMissing as missing:
            compiler = str(missing)
        return (
            f"CPU ({self.reason}): CUDA kernels are compiled by {compiler} and run on this "
            "machine's processor. They compute what a GPU computes; "
            "their time says nothing about a GPU."
        )

    __repr__ = __str__

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """The array on this device; a copy only where it is needed."""
        return self.xp.ascontiguousarray(self.xp.asarray(array, dtype=dtype))

    def asnumpy(self, array: Any) -> np.ndarray:
        """The array as a NumPy array."""
        return np.asarray(array)

    def coming(self, array: Any) -> tuple[np.ndarray, Any] | None:
        """A copy that is on its way to the host, and its event: `done`, `synchronize()`.

        Nobody waits. None while a graph is captured: a copy of what is not yet computed.
        """
        return self.asnumpy(array).copy(), Arrived()

    def empty(self, shape: Any, dtype: Any = np.float32) -> Any:
        """An array with arbitrary content."""
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: Any, dtype: Any = np.float32) -> Any:
        """An array of zeros."""
        return self.xp.zeros(shape, dtype)

    def full(self, shape: Any, value: Any, dtype: Any = np.float32) -> Any:
        """An array full of one value: NaN finds elements that a kernel forgets."""
        return self.xp.full(shape, value, dtype)

    def synchronize(self) -> None:
        """Wait until all kernels have ended."""

    def variable(self, module: Any, name: str, dtype: Any, shape: Any = None) -> Any:
        """The memory of a __constant__ or __device__ variable, as an array to read or write.

        shape: as declared in the source; by default one dimension.
        """
        array = module.get_global(name).view(dtype)
        return array if shape is None else array.reshape(shape)

    def count(
        self, kernel: Any, grid: tuple, block: tuple, args: Sequence, *, shared_mem: int = 0
    ) -> Report:
        """What the kernel asks memory for: a checked launch on the CPU, on copies of the arrays.

        Faults are raised as in any checked launch.
        """
        copies = [self.asnumpy(a).copy() if hasattr(a, "shape") and a.shape else a for a in args]
        twin = launch.RawModule(
            kernel.code,
            options=kernel.options,
            name_expressions=[kernel.name],
            enable_cooperative_groups=getattr(kernel, "enable_cooperative_groups", False),
        ).get_function(kernel.name)
        limit = kernel.max_dynamic_shared_size_bytes
        if getattr(kernel, "shared_limit", None) is not None or limit > SHARED_DEFAULT:
            twin.max_dynamic_shared_size_bytes = limit
        with settings(mode="checked"):
            twin(grid, block, copies, shared_mem=shared_mem)
        assert twin.report is not None
        return twin.report


class Arrived:
    """The event of a copy that took no time."""

    done = True

    def synchronize(self) -> None:
        """Nothing to wait for."""


class Gpu(Device):
    """An NVIDIA GPU through CuPy, with the typed launch that CuPy has not."""

    kind = "cuda"

    def __init__(self, cupy: Any, reason: str = ""):
        self.xp = self.cupy = cupy
        self.reason = reason
        self.RawModule = functools.partial(TypedModule, cupy)
        self.RawKernel = functools.partial(_typed_kernel, cupy)

    def __str__(self) -> str:
        properties = self.cupy.cuda.runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        name = properties["name"].decode()
        capability = f"{properties['major']}.{properties['minor']}"
        return f"GPU: {name}, compute capability {capability}, CuPy {self.cupy.__version__}"

    __repr__ = __str__

    def asnumpy(self, array: Any) -> np.ndarray:
        """The array as a NumPy array; waits for the GPU."""
        return self.cupy.asnumpy(array)

    def coming(self, array: Any) -> tuple[np.ndarray, Any] | None:
        """A copy that is on its way to the host, in the current stream, and its event."""
        cuda = self.cupy.cuda
        if cuda.get_current_stream().is_capturing():
            return None
        memory = cuda.alloc_pinned_memory(array.nbytes)  # from any other the copy would wait
        copy = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
        array.data.copy_to_host_async(copy.ctypes.data, array.nbytes)
        event = cuda.Event(disable_timing=True)
        event.record()
        return copy, event

    def synchronize(self) -> None:
        """Wait until all kernels have ended."""
        self.cupy.cuda.Device().synchronize()

    def variable(self, module: Any, name: str, dtype: Any, shape: Any = None) -> Any:
        """The memory of a __constant__ or __device__ variable, as an array to read or write.

        shape: as declared in the source; needed here, for CuPy does not tell the size.
        """
        if shape is None:
            raise ValueError(
                "shape: give the shape of the variable; on a GPU its size is not known"
            )
        return self.cupy.ndarray(shape, dtype, module.get_global(name))


class TypedModule:
    """cupy.RawModule whose kernels compare their arguments with their parameters.

    Float32 numbers below 2**-126 are kept, as by torch; where they are not is told by cubin.Module.
    """

    def __init__(
        self,
        cupy: Any,
        code: str,
        *,
        options: Sequence[str] = (),
        name_expressions: Sequence[str] | None = None,
        **others: Any,
    ):
        self.code, self.options, self._array = code, tuple(options), cupy.ndarray
        standard = () if any("-std" in o for o in options) else ("-std=c++17",)
        self._module = cubin.Module(
            cupy,
            code,
            options=(*self.options, *standard),
            name_expressions=name_expressions,
            **others,
        )

    def get_function(self, name: str) -> TypedKernel:
        """The kernel `name`."""
        function = self._module.get_function(name)
        return TypedKernel(function, self.code, name, self.options, self._array)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class TypedKernel:
    """A CuPy kernel that checks its arguments before it starts. Everything else is CuPy's."""

    report = None  # a GPU counts nothing: Device.count does

    def __init__(
        self, kernel: Any, code: str, name: str, options: Sequence[str] = (), array: type = object
    ):
        self._kernel, self.code, self.name, self.options = kernel, code, name, tuple(options)
        self.parameters = _parameters(code, name, self.options)
        self._quick = quick(self.parameters, array)

    def __call__(
        self, grid: tuple, block: tuple, args: Sequence, *, shared_mem: int = 0, **others: Any
    ) -> None:
        """Launch; raises TypeError or ValueError with the parameter's name."""
        check_shape(self.name, grid, block, shared_mem, shared_limit=SHARED_MOST)
        usual = self._quick(args)
        if usual is not None:
            self._kernel(grid, block, tuple(usual), shared_mem=shared_mem, **others)
            return
        values = check_arguments(self.name, self.parameters, args)
        passed = tuple(self._for_cupy(i, value) for i, value in enumerate(values))
        self._kernel(grid, block, passed, shared_mem=shared_mem, **others)

    def _for_cupy(self, position: int, value: Any) -> Any:
        """A value in a form that CuPy takes.

        CuPy passes a NumPy array of one element by value: as a pointer it would be a wild one.
        That is how it takes a struct, though; and it knows nothing of ml_dtypes' scalars.
        """
        parameter = self.parameters[position]
        if isinstance(value, np.ndarray) and parameter.pointer:
            raise TypeError(
                f"kernel {self.name}, argument {position + 1} of {len(self.parameters)} "
                f"(`{parameter.type} {parameter.name}`): a NumPy array was given, which lies "
                f"where the GPU cannot read it. Pass device().asarray({parameter.name})."
            )
        if isinstance(value, np.void):
            return np.array(value)
        if isinstance(value, np.generic) and value.dtype.name == "bfloat16":
            return value.view(np.uint16)
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("max_dynamic_shared_size_bytes", "preferred_shared_memory_carveout"):
            setattr(self._kernel, name, value)
        else:
            super().__setattr__(name, value)


@functools.lru_cache(maxsize=512)
def _parameters(code: str, name: str, options: tuple[str, ...]) -> list[Parameter]:
    """To read a long source takes longer than to launch a kernel of it."""
    return [with_struct(code, p, options) for p in parameters(code, name, options)]


def _typed_kernel(
    cupy: Any, code: str, name: str, options: Sequence[str] = (), **others: Any
) -> TypedKernel:
    expressions = [name] if "<" in name else None
    return TypedModule(
        cupy, code, options=options, name_expressions=expressions, **others
    ).get_function(name)


def usable_cupy() -> tuple[Any, str]:
    """(cupy, "") where it has a GPU that works; else (None, why not)."""
    try:
        import cupy
    except ImportError:
        return None, "CuPy is not installed"
    except Exception as error:  # a broken installation must not stop the reader
        return None, f"CuPy does not load: {error}"
    if getattr(cupy, "__name__", "cupy") != "cupy":
        return None, f"the CuPy here is a stand-in, {cupy.__name__}"
    try:
        cupy.zeros(1).sum().item()
        return cupy, ""
    except Exception as error:
        said = str(error).partition("\n")[0].partition(": ")[0]
        return None, f"CuPy finds no usable GPU: {said or type(error).__name__}"


@functools.cache
def _choose(wanted: str) -> Device:
    if wanted not in ("auto", "cpu", "cuda"):
        raise ValueError(f"EMBAG_DEVICE is {wanted!r}; valid: 'auto', 'cpu', 'cuda'")
    if wanted == "cpu":
        return Device("asked for by EMBAG_DEVICE=cpu")
    cupy, why_not = usable_cupy()
    if cupy is not None:
        return Gpu(cupy)
    if wanted == "cuda":
        raise RuntimeError(
            f"EMBAG_DEVICE is 'cuda', but {why_not}. On a machine with an NVIDIA driver: "
            "pip install 'embag_edu[gpu]'; else set EMBAG_DEVICE=auto"
        )
    return Device(why_not)


def device(kind: str | None = None) -> Device:
    """The device for kernels: a GPU through CuPy, or this machine's CPU.

    kind: "cpu", "cuda" or "auto"; by default EMBAG_DEVICE, else "auto".
    Raises RuntimeError where "cuda" is asked for and no GPU can be used, ValueError otherwise.
    """
    return _choose(kind or os.environ.get("EMBAG_DEVICE") or "auto")
