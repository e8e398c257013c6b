"""cupy.RawModule and cupy.RawKernel: those of cuda_on_cpu, for arrays of this CuPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu import launch
from embag_edu.cuda_on_cpu.arguments import as_it_lies
from embag_edu.cuda_on_cpu.cupy.arrays import ndarray
from embag_edu.cuda_on_cpu.cupy.cuda import MemoryPointer, bytes_at
from embag_edu.cuda_on_cpu.source import Parameter


class RawKernel(launch.RawKernel):
    """A kernel, as cupy.RawKernel."""

    def __call__(self, grid: Any, block: Any, args: Any, **others: Any) -> None:
        """Run the kernel. What a GPU would read wrongly, a float64 as a float, is a TypeError."""
        given, wanted = list(args), self.parameters
        if len(given) == len(wanted):
            given = [_passed(*pair) for pair in zip(given, wanted, strict=True)]
        super().__call__(_from_one(grid), _from_one(block), given, **others)


class RawModule(launch.RawModule):
    """CUDA source, as cupy.RawModule."""

    _kernel_class = RawKernel

    def __init__(self, code: str | None = None, *, options: tuple[str, ...] = (), **others: Any):
        if not isinstance(options, tuple):
            raise TypeError(f"options is a {type(options).__name__}; valid: a tuple, as for CuPy")
        super().__init__(code, options=options, **others)

    def get_function(self, name: str) -> launch.RawKernel:
        """Compile, and return the kernel `name`; CUDADriverError where there is none."""
        self.compile()
        try:
            return super().get_function(name)
        except launch.NotFound as error:
            said = f"CUDA_ERROR_NOT_FOUND: named symbol not found: {error}"
            raise launch.NotFound(said) from None

    def get_global(self, name: str) -> MemoryPointer:  # type: ignore[override]
        """Where a variable lies: cupy.ndarray(shape, dtype, module.get_global(name))."""
        return MemoryPointer(super().get_global(name))


RawKernel._module_class = RawModule


def _from_one(sizes: Any) -> Any:
    """CuPy takes 0 as 1."""
    return tuple(n or 1 for n in sizes) if isinstance(sizes, tuple) else sizes


def _passed(arg: Any, parameter: Parameter) -> Any:
    """An argument as cuda_on_cpu takes it."""
    if isinstance(arg, ndarray):
        return _read_as(arg._host, parameter)
    if isinstance(arg, MemoryPointer):
        return _read_as(arg.bytes, parameter)
    if parameter.pointer and isinstance(arg, np.ndarray):
        raise TypeError(
            f"argument `{parameter.name}` is an array of NumPy, which a GPU cannot read: "
            f"pass cupy.asarray({parameter.name})"
        )
    if parameter.pointer and isinstance(arg, (int, np.integer)):
        there = bytes_at(int(arg))
        return _read_as(there, parameter) if there is not None else arg or None
    if parameter.dtype is None or parameter.lanes > 1:
        return arg
    if isinstance(arg, np.ndarray) and arg.size == 1:
        arg = arg.reshape(-1)[0]
    if isinstance(arg, np.integer) and parameter.dtype.startswith(("int", "uint")):
        low = np.dtype(parameter.dtype)  # a GPU reads the low bytes
        return arg.astype(low) if low.itemsize <= arg.itemsize else arg
    return arg


def _read_as(host: np.ndarray, parameter: Parameter) -> np.ndarray:
    """The array in C order, with the parameter's dtype where its bytes have that sense too.

    Integers of one size, with and without a sign; single bytes; complex numbers and their parts.
    Another mix (a float64 array for a float*) stays as it is, and the launch refuses it. An array
    with strides is passed from where it begins to its end: the kernel counts itself.
    """
    same = parameter.dtype in (None, "void", "bfloat16") or not parameter.pointer
    wanted = host.dtype if same else np.dtype(parameter.dtype)
    kinds, sizes = {host.dtype.kind, wanted.kind}, {host.itemsize, wanted.itemsize}
    fits = kinds <= {"i", "u"} and len(sizes) == 1
    fits |= kinds == {"c", "f"} and sizes in ({4, 8}, {8, 16})
    if host.flags.c_contiguous and wanted == host.dtype:
        return host
    return as_it_lies(host, dtype=wanted if fits or 1 in sizes else host.dtype)
