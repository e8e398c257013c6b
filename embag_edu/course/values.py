"""Values on their way between the grader and an answer, which runs in another process.

To the answer, calls go as pickles: what the grader sends can be trusted. Back come plain values as
JSON, which cannot run code: None, numbers, text, lists, tuples, dicts, sets, NumPy arrays, torch
tensors, names of types. A function goes as a number, and is called where it lives.
"""

from __future__ import annotations

import base64
import builtins
import io
import math
import pickle
import sys
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

import numpy as np

LARGEST = 64 << 20  # characters of one message
_PLAIN = (bool, int, float, str)
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set}
_REBUILD = ("numpy", "torch", "copyreg", "_codecs")  # whose functions pickles call by name
_KINDS = "biufcUS"  # of NumPy's dtypes: no objects


class Opaque:
    """Something that an answer has returned and that is no plain value: only its name is known."""

    def __init__(self, described: str) -> None:
        self.described = described

    def __repr__(self) -> str:
        return self.described


# -------------------------------------------------------------------------- from the answer: JSON


def packed(value: Any, held: list[Any]) -> Any:
    """The value as what json.dumps takes. Functions are appended to `held`."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _packed_array(value)
    if value is ...:
        return {"ellipsis": 0}
    for name, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return {name: [packed(each, held) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[packed(k, held), packed(v, held)] for k, v in value.items()]}
    if isinstance(value, _PLAIN):  # of a class of its own
        return next(kind(value) for kind in _PLAIN if isinstance(value, kind))
    if isinstance(value, type) and issubclass(value, BaseException):
        return {"error": value.__name__}
    if isinstance(value, BaseException):
        return {"raised": packed_error(value)}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).str}
    if "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor):
        return _packed_tensor(value)
    if callable(value):
        held.append(value)
        return {"function": [len(held) - 1, str(getattr(value, "__name__", ""))]}
    return {"opaque": type(value).__name__[:80]}


def _packed_array(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in _KINDS and array.dtype.name != "bfloat16":
        return {"opaque": f"an array of dtype {array.dtype}"[:80]}
    data = base64.b64encode(array.tobytes()).decode()
    name = "array" if isinstance(value, np.ndarray) else "scalar"
    dtype = array.dtype.str if array.dtype.kind in _KINDS else array.dtype.name
    return {name: [dtype, list(array.shape), data]}


def _packed_tensor(value: Any) -> Any:
    if value.is_sparse:
        parts = [_packed_tensor(part) for part in (value._indices(), value._values())]
        return {"sparse": [*parts, list(value.shape)]}
    if value.device.type == "meta":
        return {"meta": [str(value.dtype), list(value.shape)]}
    bits = value.detach().cpu().contiguous().flatten()
    bits = bits.view(sys.modules["torch"].uint8).numpy().tobytes() if len(bits) else b""
    data = base64.b64encode(bits).decode()
    return {"tensor": [str(value.dtype), list(value.shape), data]}


def unpacked(packed_value: Any, function: Callable[[int, str], Any]) -> Any:
    """The value of a message; `function(number, name)` stands for a function of the other side.

    ValueError, KeyError, TypeError or RecursionError for what `packed` never makes.
    """
    if packed_value is None or type(packed_value) in _PLAIN:
        return packed_value
    ((kind, held),) = packed_value.items()
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](unpacked(each, function) for each in held)
    if kind == "dict":
        return {unpacked(key, function): unpacked(value, function) for key, value in held}
    if kind == "function":
        return function(int(held[0]), str(held[1])[:80])
    return _UNPACKED[kind](held)


def _array(held: Any) -> Any:
    dtype, shape = np.dtype(str(held[0])), tuple(int(size) for size in held[1])
    data = base64.b64decode(held[2], validate=True)
    known = dtype.kind in _KINDS or dtype.name == "bfloat16"  # of ml_dtypes, where that is loaded
    if not known or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"no array: {dtype}, {shape}, {len(data)} bytes")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)


def _tensor(held: Any) -> Any:
    import torch

    dtype, shape = _torch_dtype(held[0]), [int(size) for size in held[1]]
    data = bytearray(base64.b64decode(held[2], validate=True))
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"no tensor: {dtype}, {shape}, {len(data)} bytes")
    made = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return made.reshape(shape)


def _sparse(held: Any) -> Any:
    import torch

    indices, values = (_tensor(part["tensor"]) for part in held[:2])
    size = [int(size) for size in held[2]]
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=True)


def _meta(held: Any) -> Any:
    import torch

    return torch.empty([int(size) for size in held[1]], dtype=_torch_dtype(held[0]), device="meta")


def _torch_dtype(name: str) -> Any:
    import torch

    found = getattr(torch, str(name).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"no dtype of torch: {name!r}")
    return found


def error_type(name: str) -> type[BaseException] | None:
    """The error of Python's own that has this name."""
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


_UNPACKED: dict[str, Callable[[Any], Any]] = {
    "array": _array,
    "scalar": lambda held: _array(held)[()],
    "tensor": _tensor,
    "sparse": _sparse,
    "meta": _meta,
    "ellipsis": lambda held: ...,
    "dtype": lambda held: np.dtype(str(held)),
    "error": lambda held: error_type(str(held)) or Opaque(f"the class {held}"),
    "raised": lambda held: unpacked_error(held),
    "opaque": lambda held: Opaque(str(held)),
}


# -------------------------------------------------------------------------- errors


def packed_error(error: BaseException) -> dict[str, Any]:
    """An error by the names of its class and of those above, and its text."""
    names = [each.__name__ for each in type(error).__mro__ if issubclass(each, BaseException)]
    try:
        arguments = [arg if type(arg) in (int, str) else str(arg) for arg in error.args]
        text = str(error)
    except Exception:  # a class of the answer's own may raise here, too
        arguments, text = [], ""
    return {"names": names, "args": arguments, "text": text[:10_000]}


def unpacked_error(held: Any) -> Exception:
    """An error of the same name, of the nearest class of Python's own."""
    names = [str(name)[:80] for name in held["names"]]
    found = (error_type(name) for name in names)
    base = next((f for f in found if f is not None and issubclass(f, Exception)), Exception)
    made = base if base.__name__ == names[0] else type(names[0], (base,), {})
    try:
        error = made(*[arg for arg in held["args"] if isinstance(arg, int | str)])
        assert str(error) == held["text"]
        return error
    except Exception:
        described: Exception = type(names[0], (base,), {"__str__": lambda self: held["text"]})()
        return described


# -------------------------------------------------------------------------- to the answer: pickle


class _Sender(pickle.Pickler):
    """Functions stay here: the other side gets their numbers."""

    def __init__(self, file: io.BytesIO, held: list[Any]) -> None:
        super().__init__(file)
        self.held = held

    def persistent_id(self, value: Any) -> int | None:
        if hasattr(type(value), "save_for_backward"):
            return -1
        by_name = isinstance(value, type | BuiltinFunctionType | np.ufunc)
        home = getattr(value, "__module__", None) or type(value).__module__
        if not callable(value) or by_name or home.split(".")[0] in _REBUILD:
            return None
        self.held.append(value)
        return len(self.held) - 1


class _Receiver(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, function: Callable[[int], Any]) -> None:
        super().__init__(file)
        self.function = function

    def persistent_load(self, number: Any) -> Any:
        return Context() if number < 0 else self.function(number)


class Context:
    """Stands for the ctx of a torch.autograd.Function: keeps what a forward saves in it."""

    _saved: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """As torch's: the last call counts, and what the tensors hold when forward returns."""
        self._saved = tensors

    def packed(self, args: tuple[Any, ...], held: list[Any]) -> Any:
        """What was saved, each by [number of an argument, whether behind autograd's back, value];
        and the attributes."""
        saved = [[*_argument_of(each, args), each] for each in self._saved]
        others = {name: value for name, value in vars(self).items() if name != "_saved"}
        return packed([saved, others], held)

    @staticmethod
    def replay(kept: Any, ctx: Any, args: tuple[Any, ...]) -> None:
        """Save in the real ctx what was saved in the one that stood for it."""
        saved, others = kept
        for name, value in others.items():
            setattr(ctx, name, value)
        ctx.save_for_backward(
            *[
                value if at < 0 else args[at].data if hidden else args[at]
                for at, hidden, value in saved
            ]
        )


def _argument_of(saved: Any, args: tuple[Any, ...]) -> tuple[int, bool]:
    """The argument whose memory a tensor is, or -1; and whether that is hidden (`.data`)."""
    for at, arg in enumerate(args):
        if arg is saved:
            return at, False
        tensors = hasattr(arg, "detach") and hasattr(saved, "detach")
        if tensors and arg.shape == saved.shape and arg.data_ptr() == saved.data_ptr():
            version = saved._version
            arg += 0  # autograd counts this; does it for both?
            return at, bool(saved._version == version)
    return -1, False


def sent(value: Any, held: list[Any]) -> str:
    """A value of the grader's as text. Functions are appended to `held`."""
    file = io.BytesIO()
    _Sender(file, held).dump(value)
    return base64.b64encode(file.getvalue()).decode()


def received(text: str, function: Callable[[int], Any]) -> Any:
    """What `sent` was given. For messages of the grader alone: a pickle can run code."""
    return _Receiver(io.BytesIO(base64.b64decode(text)), function).load()


# -------------------------------------------------------------------------- what a call has changed


def write_back(was: Any, now: Any) -> None:
    """Make arguments that can be changed what the other side's copies of them have become."""
    if isinstance(was, list | dict):
        _in_container(was, now)
    elif isinstance(was, tuple) and isinstance(now, tuple | list):
        for old, new in zip(was, now, strict=False):
            write_back(old, new)
    elif isinstance(was, np.ndarray) and _alike(was, now) and was.flags.writeable:
        was[...] = now
    elif hasattr(was, "detach") and _alike(was, now) and was.layout == now.layout:
        if not was.is_sparse and _packed_tensor(was) != _packed_tensor(now):
            was.detach().copy_(now)


def _in_container(was: Any, now: Any) -> None:
    if isinstance(was, list) and isinstance(now, list):
        kept = zip(was, now, strict=False)
        was[:] = [_kept(old, new) for old, new in kept] + now[len(was) :]
    elif isinstance(was, dict) and isinstance(now, dict):
        for key in was.keys() - now.keys():
            del was[key]
        was.update({key: _kept(was[key], now[key]) for key in was.keys() & now.keys()})
        was.update({key: now[key] for key in now.keys() - was.keys()})


def _kept(old: Any, new: Any) -> Any:
    """The old element, changed, where it could be changed; else the new one."""
    if callable(old) or isinstance(new, Opaque):
        return old
    write_back(old, new)
    container = isinstance(old, list | dict) and type(old) is type(new)
    return old if container or _alike(old, new) else new


def _alike(was: Any, now: Any) -> bool:
    """Are both arrays, or tensors, of one shape and dtype?"""
    if type(was) is not type(now) or not hasattr(was, "shape"):
        return False
    return bool(was.shape == now.shape and was.dtype == now.dtype)
