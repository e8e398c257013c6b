"""The typed launch: the arguments of a kernel are compared with its parameters before it starts.

CUDA checks nothing here: it copies as many bytes as the parameter wants from wherever the argument
is, and a double for a float becomes a wrong number without a word. This check serves the CPU and
CuPy alike, so it asks an array only for what NumPy's and CuPy's have in common.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.members import misfit
from embag_edu.cuda_on_cpu.source import Parameter

_BYTES = {"bool", "int8", "uint8"}  # one byte each, and used for one another in C
_COMPLEX = {"float32": "complex64", "float64": "complex128"}  # a float2 is one of these
_SIXTEEN = {"float16", "bfloat16"}  # may be passed as uint16: their bits
# What a kernel calls the strides that it is told: lda, x_stride, pitch, incx, s0.
_STRIDE = re.compile(r"(?i)strid|pitch|(^|_)ld[a-z]?(_|$)|^inc[a-z]$|^s[0-9xyzij]$")


GRID, BLOCK = (2**31 - 1, 65535, 65535), (1024, 1024, 64)  # the most along x, y, z
SHARED_DEFAULT = 48 * 1024  # bytes of a block's shared memory, where nothing else is asked
RESIDENT = 12_288  # threads of a cooperative launch: runtime.h's MAX_RESIDENT
SHARED_MOST = 227 * 1024  # and the most that may be asked for (compute capability 9.0)


def check_shape(
    name: str,
    grid: tuple,
    block: tuple,
    shared_mem: int,
    max_threads: int = 1024,
    shared_limit: int | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Grid and block of a launch, checked, with three sizes each.

    shared_mem: bytes of dynamic shared memory; shared_limit: the most, where it was raised.
    Raises TypeError where one is no tuple, ValueError for a size that no GPU takes.
    """
    full_grid, full_block = _sizes(name, "grid", grid, GRID), _sizes(name, "block", block, BLOCK)
    threads = full_block[0] * full_block[1] * full_block[2]
    if threads > max_threads:
        why = " (__launch_bounds__)" if max_threads < 1024 else ""
        raise ValueError(
            f"kernel {name}: block is {block!r}, {threads} threads; valid: up to {max_threads}{why}"
        )
    most = SHARED_DEFAULT if shared_limit is None else shared_limit
    if not isinstance(shared_mem, (int, np.integer)) or not 0 <= shared_mem <= most:
        fix = (
            "Set kernel.max_dynamic_shared_size_bytes first; static and dynamic memory may then "
            f"have {SHARED_MOST} bytes together"
        )
        can_grow = isinstance(shared_mem, (int, np.integer)) and most < shared_mem <= SHARED_MOST
        raise ValueError(
            f"kernel {name}: shared_mem is {shared_mem!r} bytes of dynamic shared memory; "
            f"valid: 0 to {most}" + (f". {fix}" if can_grow else "")
        )
    return full_grid, full_block


def check_together(name: str, grid: Sequence[int], block: Sequence[int]) -> bool:
    """True. Raises ValueError where a cooperative launch has more threads than run together."""
    threads = math.prod((*grid, *block))
    if threads > RESIDENT:
        raise ValueError(
            f"kernel {name}: grid is {tuple(grid)}, {threads} threads in all; valid with "
            f"enable_cooperative_groups, which runs all blocks together: up to {RESIDENT}. Take "
            "fewer blocks, and let each thread take several elements (CUDA's error would be "
            "cudaErrorCooperativeLaunchTooLarge)"
        )
    return True


def _sizes(name: str, which: str, given: tuple, limits: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(given, tuple) or not 1 <= len(given) <= 3:
        raise TypeError(
            f"kernel {name}: {which} is {given!r}; valid: a tuple of 1 to 3 sizes, as in (4,)"
        )
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given):
        raise TypeError(
            f"kernel {name}: {which} is {given!r}; valid: whole numbers. Divide with //, rounded up"
        )
    full = (*map(int, given), 1, 1)[:3]
    for n, limit, axis in zip(full, limits, "xyz", strict=True):
        if not 1 <= n <= limit:
            raise ValueError(
                f"kernel {name}: {which} is {given!r}; valid along {axis}: 1 to {limit}"
            )
    return full


class _Place:
    """Where an argument stands, for the messages."""

    def __init__(self, kernel: str, index: int, count: int, parameter: Parameter, strides: bool):
        self.kernel, self.index, self.count, self.parameter = kernel, index, count, parameter
        self.strides = strides  # whether the kernel is told strides

    @property
    def name(self) -> str:
        return self.parameter.name or f"argument{self.index + 1}"

    def error(self, kind: type[Exception], given: str, wanted: str, fix: str) -> Exception:
        what = f"{self.parameter.type} {self.parameter.name}".strip()
        which = f"kernel {self.kernel}, argument {self.index + 1} of {self.count} (`{what}`)"
        return kind(f"{which}: {given} was given, but it takes {wanted}. {fix}")


def check_arguments(
    name: str, parameters: Sequence[Parameter], args: Sequence[Any], bf16_ok: bool = True
) -> list[Any]:
    """The arguments of a launch, checked, with Python's numbers in the parameters' exact types.

    name:       of the kernel, for messages.
    parameters: of the kernel, from signature.parameters.
    args:       NumPy or CuPy arrays for pointers, C-contiguous unless a parameter's name tells
                that the kernel is given strides; None or 0 for null, or an address in another of
                the launch's NumPy arrays; NumPy scalars, Python ints, bools and (for a double)
                floats for values.
    bf16_ok:    whether ml_dtypes' bfloat16 is accepted; without it, only uint16 bits are.
    Raises TypeError for a wrong number, kind or dtype; ValueError for a value that does not fit, a
    wrong size, and an array that is strided or read-only.
    """
    args = list(args)
    if len(args) != len(parameters):
        listed = ", ".join(f"{p.type} {p.name}".strip() for p in parameters) or "none"
        raise TypeError(
            f"kernel {name}: {len(args)} arguments were given, but it takes {len(parameters)}: "
            f"({listed}). Pass one argument for each, in this order."
        )
    strides = any(_STRIDE.search(p.name) and str(p.dtype)[-2:] in ("32", "64") for p in parameters)
    places = [_Place(name, i, len(args), p, strides) for i, p in enumerate(parameters)]
    args = [_at_address(p, arg, args) for p, arg in zip(parameters, args, strict=True)]
    return [_checked(place, arg, bf16_ok) for place, arg in zip(places, args, strict=True)]


def _at_address(parameter: Parameter, arg: Any, args: Sequence[Any]) -> Any:
    """For an address within an array of the launch, the array from there to its end."""
    if parameter.pointer and isinstance(arg, (int, np.integer)):
        for whole in (owner_of(a) for a in args if isinstance(a, np.ndarray)):
            if 0 <= int(arg) - whole.ctypes.data < whole.nbytes:
                return as_it_lies(whole, int(arg) - whole.ctypes.data)
    return arg


def owner_of(array: np.ndarray) -> np.ndarray:
    """The array that an array is a view of, however many views lie between."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def as_it_lies(array: np.ndarray, start: int = 0, dtype: Any = None) -> np.ndarray:
    """The memory of an array from a byte on, as one row: see bytes_of. dtype: another than its."""
    memory, wanted = bytes_of(array)[start:], np.dtype(dtype or array.dtype)
    return memory[: len(memory) // wanted.itemsize * wanted.itemsize].view(wanted)


def bytes_of(host: np.ndarray) -> np.ndarray:
    """The bytes from the first element of an array to its last. ValueError for negative strides."""
    if host.flags.c_contiguous:
        return host.reshape(-1).view(np.uint8)
    if min(host.strides) < 0:
        raise ValueError(f"an array with strides {host.strides} begins at its end: pass a copy")
    last = sum((n - 1) * step for n, step in zip(host.shape, host.strides, strict=True))
    first = np.lib.stride_tricks.as_strided(host, (1,), (host.itemsize,)).view(np.uint8)
    return np.lib.stride_tricks.as_strided(first, (last + host.itemsize,), (1,))


def _checked(place: _Place, arg: Any, bf16_ok: bool) -> Any:
    parameter = place.parameter
    if _is_array(arg):
        if not parameter.pointer and (parameter.dtype is None or parameter.lanes > 1):
            return _struct(place, arg)
        if not parameter.pointer:
            fix = f"Pass one number: {_numpy(parameter)}({place.name}.item())."
            raise place.error(TypeError, _array(arg), _wanted(parameter), fix)
        _check_memory(place, arg)
        if parameter.dtype not in (None, "void"):
            _check_elements(place, arg, bf16_ok)
        elif arg.dtype.fields:
            _check_members(place, arg, arg.dtype)
        return arg if arg.flags.c_contiguous or not place.strides else as_it_lies(arg)
    if parameter.pointer:
        if arg is None or (type(arg) is int and arg == 0):
            return np.uint64(0)  # the null pointer
        raise place.error(TypeError, _given(arg), _wanted(parameter), _fix_for_pointer(place, arg))
    if isinstance(arg, np.generic):
        _check_scalar(place, arg, bf16_ok)
        return arg
    return _converted(place, arg)


# ---- The usual arguments, quickly ----


def quick(parameters: Sequence[Parameter], array: type) -> Callable[[Sequence[Any]], list | None]:
    """What does as check_arguments does for the usual arguments; it returns None for all others.

    A launch by CuPy takes some 10 us on the host, and check_arguments as much for each argument.
    array: the class of arrays that are usual.
    """
    takers = [_taker(parameter, array) for parameter in parameters]

    def values(args: Sequence[Any]) -> list | None:
        if len(args) != len(takers):
            return None
        taken = [take(arg) for take, arg in zip(takers, args, strict=True)]
        return None if any(value is None for value in taken) else taken

    return values


def _taker(parameter: Parameter, array: Any) -> Callable[[Any], Any]:
    """What gives back a usual argument, in the parameter's exact type, or None."""
    if parameter.pointer:
        anything, const = parameter.dtype in (None, "void"), parameter.const
        dtypes = set() if anything or parameter.lanes > 1 else _dtypes(parameter)

        def take(arg: Any) -> Any:
            if type(arg) is not array or not arg.flags.c_contiguous:
                return None
            fits = arg.dtype.kind not in "OV" if anything else arg.dtype in dtypes
            return arg if fits and (const or getattr(arg.flags, "writeable", True)) else None

        return take
    if parameter.dtype in ("int32", "int64") and parameter.lanes == 1:
        kind: Any = np.int32 if parameter.dtype == "int32" else np.int64
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        return lambda arg: kind(arg) if type(arg) in (int, kind) and low <= arg <= high else None
    usual: dict = {"float64": (float, np.float64), "bool": (bool, np.bool_)}
    usual["float32"] = (np.float32,)
    kinds: tuple = usual.get(str(parameter.dtype), ()) if parameter.lanes == 1 else ()
    return lambda arg: kinds[-1](arg) if type(arg) in kinds else None


def _dtypes(parameter: Parameter) -> set[np.dtype]:
    """The dtypes that fit. (The name of a dtype takes NumPy microseconds to put together.)"""
    names = _names(parameter, bf16_ok=False)
    found = {np.dtype(name) for name in names}
    if parameter.dtype == "bfloat16":
        with contextlib.suppress(ImportError):
            import ml_dtypes

            found.add(np.dtype(ml_dtypes.bfloat16))
    return found


# ---- Arrays ----


def _is_array(arg: Any) -> bool:
    return all(hasattr(arg, name) for name in ("dtype", "ndim", "flags")) and (
        hasattr(arg.flags, "c_contiguous") and not isinstance(arg, np.generic)
    )


def _check_memory(place: _Place, array: Any) -> None:
    """Its bytes must lie as the kernel counts them, and be ones that the kernel may write."""
    wanted = _wanted(place.parameter)
    if array.dtype.kind == "O":
        fix = "Its elements are Python objects: make it an array of numbers by .astype."
        raise place.error(TypeError, _array(array), wanted, fix)
    if not array.flags.c_contiguous and not (place.strides and min(array.strides) >= 0):
        order = "Fortran order" if array.flags.f_contiguous else "strides"
        fix = (
            f"Pass a copy, {place.name}.copy(order='C') or np.ascontiguousarray({place.name}): "
            "what the kernel writes is then in the copy."
        )
        if array.flags.f_contiguous:
            fix += f" Or {place.name}.T, the same memory, where the kernel counts columns first."
        elif min(array.strides) >= 0:
            fix += (
                " A kernel that is told strides takes it, where a parameter's name says `stride`."
            )
        raise place.error(ValueError, f"{_array(array)} with {order}", "a C-contiguous array", fix)
    if not getattr(array.flags, "writeable", True) and not place.parameter.const:
        fix = f"Pass {place.name}.copy(), or write `const` in the kernel if it only reads."
        raise place.error(ValueError, f"{_array(array)}, read-only", "an array to write to", fix)


def _check_elements(place: _Place, array: Any, bf16_ok: bool) -> None:
    parameter = place.parameter
    if array.dtype.name not in _names(parameter, bf16_ok) or not array.dtype.isnative:
        fix = _fix_for_dtype(place, array, _numpy(parameter, bf16_ok))
        raise place.error(TypeError, _array(array), _wanted(parameter), fix)
    if array.size % parameter.lanes:
        fix = f"Its size, {array.size}, must be a multiple of {parameter.lanes}: pad it."
        raise place.error(ValueError, _array(array), _wanted(parameter), fix)


def _fix_for_dtype(place: _Place, array: Any, dtype: str) -> str:
    wanted = place.parameter.dtype
    if array.dtype.isnative and wanted in (
        array.dtype.name.removeprefix("u"),
        f"u{array.dtype.name}",
    ):
        return f"Pass {place.name}.view({dtype}), the same bytes read as {wanted}."
    if array.dtype.kind == "c" and wanted in _COMPLEX:
        part = _COMPLEX[str(wanted)]
        whole = place.name if array.dtype.name == part else f"{place.name}.astype(np.{part})"
        return f"Pass {whole}.view({dtype}): its real and imaginary parts, one after another."
    if array.dtype.kind == "c":
        return f"Pass {place.name}.real or {place.name}.imag, or change the kernel."
    lossy = array.dtype.kind == "f" and str(wanted).startswith(("int", "uint"))
    if lossy:
        return f"Perhaps pass {place.name}.astype({dtype}), which cuts off fractions."
    fix = f"Pass {place.name}.astype({dtype}), or change the kernel"
    return f"{fix}." if place.parameter.const else f"{fix}: what it writes is then in the copy."


def _names(parameter: Parameter, bf16_ok: bool) -> set[str]:
    """The names of the dtypes that fit."""
    dtype = str(parameter.dtype)
    if dtype in _BYTES:
        return _BYTES if parameter.pointer else {dtype}
    if parameter.lanes == 2 and dtype in _COMPLEX:
        return {dtype, _COMPLEX[dtype]}
    if dtype in _SIXTEEN:
        return {"uint16"} | ({dtype} if bf16_ok or dtype != "bfloat16" else set())
    return {dtype}


def _fix_for_pointer(place: _Place, arg: Any) -> str:
    if isinstance(arg, (int, np.integer)) and abs(int(arg)) >= 4096:
        return "If it is an array's address: pass the array itself, for its bounds are checked."
    if isinstance(arg, (int, float, complex, np.generic)):
        return f"Pass an array, of one element if need be: {_numpy_array(place.parameter)}."
    if isinstance(arg, (list, tuple)):
        return f"Make it an array: np.array({place.name}, {_numpy(place.parameter)})."
    return "Pass an array of NumPy (on a GPU, of CuPy); of a torch tensor, tensor.numpy()."


# ---- Values ----


def _struct(place: _Place, array: Any) -> Any:
    """A struct by value, as CuPy takes it: an array of one element with the struct's bytes."""
    if not isinstance(array, np.ndarray):
        fix = f"Pass a value of NumPy, such as {place.name}.get()[0]."
        raise place.error(TypeError, _array(array), _wanted(place.parameter), fix)
    _check_members(place, array, np.dtype((array.dtype, array.shape)))
    if not place.parameter.size:
        return array  # a GPU: CuPy passes its bytes
    _check_size(place, array)
    return np.frombuffer(array.tobytes(), f"V{array.nbytes}")[0]


def _check_members(place: _Place, value: Any, dtype: np.dtype) -> None:
    """Fields of a dtype and members of a struct: at the same bytes, of the same types."""
    struct = place.parameter.struct
    if struct is None or (not place.parameter.pointer and dtype.itemsize != struct.itemsize):
        return
    said = misfit(struct, dtype)
    if not said and dtype.itemsize != struct.itemsize:
        said = f"the struct has {struct.itemsize} bytes, the dtype {dtype.itemsize}"
    if said:
        given = _array(value) if isinstance(value, np.ndarray) else _given(value)
        wanted = f"{_wanted(place.parameter)}: {said}"
        raise place.error(TypeError, given, wanted, f"A dtype that fits: np.{struct!r}.")


def _check_size(place: _Place, value: Any) -> None:
    """A struct, or a type that NumPy has not: it must have the bytes that the compiler gives it."""
    size = place.parameter.size
    if size and value.nbytes != size:
        fix = (
            f"The compiler's sizeof is {size}. A struct has the bytes of C with "
            "np.dtype([...], align=True); one element of it is passed."
        )
        given = _array(value) if isinstance(value, np.ndarray) else _given(value)
        raise place.error(TypeError, f"{given} of {value.nbytes} bytes", f"{size} bytes", fix)


def _check_scalar(place: _Place, arg: np.generic, bf16_ok: bool) -> None:
    parameter = place.parameter
    if parameter.dtype is None or parameter.lanes > 1:
        _check_members(place, arg, arg.dtype)
    if parameter.dtype is None:
        _check_size(place, arg)
        return
    if parameter.lanes > 1:
        size = parameter.lanes * (2 if parameter.dtype == "bfloat16" else _size(parameter.dtype))
        complex_too = parameter.lanes == 2 and arg.dtype.name == _COMPLEX.get(parameter.dtype)
        if complex_too or (arg.dtype.kind == "V" and arg.dtype.itemsize == size):
            return
        fix = f"Pass a np.void of {size} bytes, or a pointer to an array."
        raise place.error(TypeError, _given(arg), _wanted(parameter), fix)
    if arg.dtype.name not in _names(parameter, bf16_ok):
        fix = f"Pass {_numpy(parameter, bf16_ok)}({place.name})."
        if parameter.dtype == "bfloat16" and not bf16_ok:
            fix = "Pass its 16 bits as a np.uint16."
        raise place.error(TypeError, _given(arg), _wanted(parameter), fix)


def _converted(place: _Place, arg: Any) -> Any:
    """A Python number as a NumPy scalar of the parameter's type, where that changes nothing."""
    parameter = place.parameter
    dtype = parameter.dtype if parameter.lanes == 1 else None
    if (parameter.dtype, parameter.lanes) == ("float64", 2):
        dtype = "complex128"
    fits = (
        (isinstance(arg, bool) and dtype == "bool")
        or (isinstance(arg, int) and dtype is not None and dtype.startswith(("int", "uint")))
        or (isinstance(arg, float) and dtype == "float64")
        or (isinstance(arg, complex) and dtype == "complex128")
    )
    if not fits:
        raise place.error(TypeError, _given(arg), _wanted(parameter), _fix_for_value(place, arg))
    kind = np.dtype(dtype)
    if kind.kind in "iu" and not np.iinfo(kind).min <= arg <= np.iinfo(kind).max:
        limits = f"{np.iinfo(kind).min} to {np.iinfo(kind).max}"
        fix = "Pass a smaller number, or give the kernel a wider type."
        raise place.error(ValueError, _given(arg), f"{_wanted(parameter)} from {limits}", fix)
    return kind.type(arg)


def _fix_for_value(place: _Place, arg: Any) -> str:
    parameter = place.parameter
    if arg is None:
        return "Pass a number."
    if parameter.dtype is None or parameter.lanes > 1:
        return "Pass a NumPy scalar of exactly this type (for a struct, a np.void)."
    if isinstance(arg, float) and parameter.dtype.startswith(("int", "uint")):
        return f"Round it first: int({place.name})."
    if isinstance(arg, (float, complex)):
        double = "double" if isinstance(arg, float) else "complex of doubles"
        return f"CUDA would get a {double}: pass {_numpy(parameter)}({arg!r})."
    if isinstance(arg, int):
        return f"Its bytes would be read as another type: pass {_numpy(parameter)}({arg!r})."
    return f"Pass {_numpy(parameter)}(...), a NumPy scalar."


# ---- Words for the messages ----


def _size(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def _numpy(parameter: Parameter, bf16_ok: bool = True) -> str:
    dtype = parameter.dtype
    if dtype == "bfloat16":
        return "ml_dtypes.bfloat16" if bf16_ok else "np.uint16"
    return "np.float32" if dtype in (None, "void") else f"np.{dtype}".replace("np.bool", "bool")


def _numpy_array(parameter: Parameter) -> str:
    return f"np.zeros({parameter.lanes}, {_numpy(parameter)})"


def _array(array: Any) -> str:
    order = "" if array.dtype.isnative else " in foreign byte order"
    return f"an array of {array.dtype.name}{order}, shape {tuple(array.shape)}"


def _given(arg: Any) -> str:
    if arg is None:
        return "None"
    if isinstance(arg, np.generic):
        return f"np.{arg.dtype.name}({arg})"
    if isinstance(arg, (bool, int, float, complex)):
        return f"the Python {type(arg).__name__} {arg!r}"
    return f"a {type(arg).__name__}"


def _wanted(parameter: Parameter) -> str:
    dtype = parameter.dtype
    many = f", {parameter.lanes} for each element" if parameter.lanes > 1 else ""
    if parameter.pointer:
        return "an array" if dtype in (None, "void") else f"an array of {dtype}{many}"
    if dtype is None:
        return f"a value of type {parameter.type}"
    return f"{'an' if dtype[0] in 'i' else 'a'} {dtype} value{many}"
