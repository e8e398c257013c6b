"""cupy.ndarray over NumPy's memory, and NumPy's functions for such arrays."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.arguments import bytes_of
from embag_edu.cuda_on_cpu.cupy.cuda import Device, MemoryPointer, missing

# Functions that look at an array's shape or type only: CuPy gives them one of NumPy as well.
_ANY_ARRAY = {"empty_like", "full_like", "ones_like", "zeros_like", "ndim", "shape", "size", "take"}


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # CuPy's name
    """An array "of the GPU". NumPy computes; as in CuPy, it does not mix with NumPy's arrays.

    Everything that an array of NumPy has is there as well, with arrays of this class as results.
    """

    _host: np.ndarray

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: MemoryPointer | None = None,
        strides: Any = None, order: Any = "C",
    ):  # fmt: skip
        memory = None if memptr is None else memptr.bytes
        self._host = np.ndarray(shape, dtype, memory, 0, strides, order)

    def get(self, stream: Any = None, order: Any = "C", out: Any = None, **others: Any) -> Any:
        """A copy in NumPy."""
        if out is None:
            return self._host.copy(order)
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Take the numbers of an array of NumPy of the same shape; ValueError for another."""
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch: {arr.shape} for an array of {self.shape}")
        self._host[...] = arr

    data = property(lambda self: MemoryPointer(bytes_of(self._host)))
    device = property(lambda self: Device())

    def __array__(self, *args: Any, **others: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return Lifted(getattr(ufunc, method))(*inputs, **options)

    def __array_function__(self, function: Any, kinds: Any, args: Any, options: Any) -> Any:
        return Lifted(function)(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise missing("cupy.ndarray", name)
        return lifted(getattr(self._host, name))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_host":
            super().__setattr__(name, value)
        else:
            setattr(self._host, name, unwrapped(value))

    def __getitem__(self, key: Any) -> Any:
        key = unwrapped(key)
        found = self._host[key]
        if isinstance(found, np.generic) and not isinstance(key, str):  # a view, as in CuPy
            found = self._host[(*key, ...) if isinstance(key, tuple) else (key, ...)]
        return wrapped(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_numpy([value])
        self._host[unwrapped(key)] = unwrapped(value)

    def __iter__(self) -> Iterator:
        return (self[i] for i in range(len(self)))

    def __reduce__(self) -> tuple:
        return wrapped, (self._host,)


def _of_host(name: str) -> Callable:
    return lambda self, *args, **options: wrapped(getattr(self._host, name)(*args, **options))


for _name in "len bool int float complex index repr str format copy dlpack dlpack_device".split():
    setattr(ndarray, f"__{_name}__", _of_host(f"__{_name}__"))


def wrapped(x: Any) -> Any:
    """NumPy's arrays and numbers as arrays of CuPy, in tuples and lists too; the rest as it is."""
    if isinstance(x, (np.ndarray, np.generic)):
        made = ndarray.__new__(ndarray)
        made._host = np.asarray(x)
        return made
    if isinstance(x, tuple):
        return x._make(map(wrapped, x)) if hasattr(x, "_make") else tuple(map(wrapped, x))
    if isinstance(x, (np.random.Generator, np.random.RandomState)):
        return Lifted(x)
    return list(map(wrapped, x)) if isinstance(x, list) else x


def unwrapped(x: Any) -> Any:
    """The other way."""
    if isinstance(x, ndarray):
        return x._host
    return type(x)(map(unwrapped, x)) if type(x) in (tuple, list) else x


def refuse_numpy(args: Any, indices: bool = False) -> None:
    """TypeError for an array of NumPy among the arguments, as CuPy raises it.

    indices: one row of integers may be NumPy's: a shape, axes, where to split.
    """
    for x in args:
        row = indices and isinstance(x, np.ndarray) and x.ndim == 1 and x.dtype.kind in "iu"
        if isinstance(x, np.ndarray) and x.ndim and not row:
            raise TypeError(
                f"Unsupported type {np.ndarray}: NumPy's arrays and CuPy's do not mix. Make both "
                "one kind, by cupy.asarray(x) or x.get()"
            )
        if isinstance(x, (list, tuple)):
            refuse_numpy(x, indices)


class Lifted:
    """A function of NumPy for arrays of CuPy, and what belongs to it: add.at, generator.normal.

    any_array: it takes NumPy's arrays too. typed: it takes a dtype for its result.
    """

    def __init__(self, function: Any, any_array: bool = False, typed: bool = False):
        functools.update_wrapper(self, function)
        self._any_array = any_array or getattr(function, "__name__", "") in _ANY_ARRAY
        self._typed = typed

    def __call__(self, *args: Any, **options: Any) -> Any:
        if not self._any_array:
            ufunc = getattr(self.__wrapped__, "__self__", self.__wrapped__)  # itself, or add.at's
            refuse_numpy((*args, *options.values()), indices=not isinstance(ufunc, np.ufunc))
        dtype = options.pop("dtype", None) if self._typed else None
        found = self.__wrapped__(*unwrapped(args), **{k: unwrapped(v) for k, v in options.items()})
        out = options.get("out")
        if out is None:
            found = np.bool_(found) if isinstance(found, bool) else found
            return wrapped(found if dtype is None else np.asarray(found, dtype))
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lifted(getattr(self.__wrapped__, name))


def lifted(value: Any, **options: bool) -> Any:
    """What NumPy has, for CuPy: functions lifted, arrays wrapped, types as they are."""
    if isinstance(value, types.ModuleType):
        return Over(value.__name__.replace("numpy", "cupy"), value, **options)
    function = callable(value) and not isinstance(value, type)
    return Lifted(value, **options) if function else wrapped(value)


class Over(types.ModuleType):
    """A module of CuPy, with the names of `others`, a module for NumPy's arrays, and its own."""

    def __init__(self, module: str, others: Any = None, own: Any = (), **options: bool):
        super().__init__(module)
        self.__dict__.update(own, _others=others, _options=options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(self._others, name):
            raise missing(self.__name__, name)
        return lifted(getattr(self._others, name), **self._options)
