"""In what an answer's result differs from the expected one, in words; and values as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embag_edu.check.compare import difference

LONG = 300  # characters of a value that are still shown whole


@dataclass(frozen=True)
class Allowed:
    """What two results may differ by: |actual - expected| <= atol + rtol * |expected|.

    steps:     a float may be so many steps of its dtype off in any case, whatever rtol says.
    same_ints: whole numbers must have the expected dtype, not only the expected values.
    tensors:   where an array is expected, a torch tensor with its numbers will do.
    """

    atol: float = 0.0
    rtol: float = 0.0
    steps: int = 0
    same_ints: bool = False
    tensors: bool = False

    def relative(self, dtype: np.dtype) -> float:
        """The relative tolerance for numbers of this dtype."""
        step = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
        return max(self.rtol, self.steps * step)


EXACTLY = Allowed()


def differ(
    expected: Any, actual: Any, allowed: Allowed = EXACTLY, name: str | tuple[str, ...] = ""
) -> str:
    """Say in words how `actual` departs from `expected`; '' when it does not.

    Arrays, torch tensors, numbers, and tuples, lists and dicts of them at any depth. A list or
    tuple may be answered by the other one or by an array; a Python number by a NumPy number.
    """
    label = name if isinstance(name, str) else "output"
    if actual is None and expected is not None:
        return f"{label}: expected {kind(expected)}, found None"
    if isinstance(expected, (tuple, list)):
        return _in_sequence(expected, actual, allowed, name)
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or set(expected) != set(actual):
            return f"{label}: expected {text(expected)}, found {text(actual)}"
        parts = (differ(expected[k], actual[k], allowed, f"{label}[{k!r}]") for k in expected)
        return next((part for part in parts if part), "")
    if allowed.tensors and isinstance(expected, np.ndarray) and _is_plain(actual):
        actual = actual.detach().numpy()
    if hasattr(expected, "detach") or hasattr(actual, "detach"):
        return _in_tensor(expected, actual, allowed, label)
    if isinstance(expected, np.ndarray):
        return _in_array(expected, actual, allowed, label)
    return _in_scalar(expected, actual, allowed, label)


def _in_array(expected: np.ndarray, actual: Any, allowed: Allowed, label: str) -> str:
    if isinstance(actual, (tuple, list)):
        made = f"a {type(actual).__name__}; np.array(...) makes an array of it"
        return f"{label}: expected an array of shape {expected.shape}, found {made}"
    whole = expected.dtype.kind in "iu" and getattr(actual, "dtype", np.dtype(bool)).kind in "iu"
    dtype = actual.dtype if whole and not allowed.same_ints else expected.dtype
    rtol = allowed.relative(expected.dtype)
    return difference(expected, actual, allowed.atol, rtol, label, dtype)


def _in_tensor(expected: Any, actual: Any, allowed: Allowed, label: str) -> str:
    if expected is None:
        return f"{label}: expected None, found {kind(actual)}"
    if not (hasattr(expected, "detach") and hasattr(actual, "detach")):
        return f"{label}: expected {kind(expected)}, found {kind(actual)}"
    if actual.layout != expected.layout:
        wanted, found = (_LAYOUTS.get(str(t.layout), str(t.layout)) for t in (expected, actual))
        return f"{label}: expected a {wanted} tensor, found a {found} one"
    whole = not (expected.is_floating_point() or actual.is_floating_point() or allowed.same_ints)
    if actual.dtype != expected.dtype and not whole:
        return f"{label}: expected dtype {expected.dtype}, found dtype {actual.dtype}"
    arrays = [tensor.detach().to_dense().cpu().numpy() for tensor in (expected, actual)]
    return _in_array(arrays[0], arrays[1], allowed, label)


_LAYOUTS = {"torch.strided": "dense", "torch.sparse_coo": "sparse"}


def _is_plain(value: Any) -> bool:
    """Whether a value is a torch tensor that has the same numbers as an array."""
    layout = str(getattr(value, "layout", ""))
    return layout == "torch.strided" and value.device.type == "cpu"


def _in_sequence(
    expected: Sequence[Any], actual: Any, allowed: Allowed, name: str | tuple[str, ...]
) -> str:
    label = name if isinstance(name, str) else "output"
    if isinstance(actual, np.ndarray) and actual.ndim:
        actual = list(actual)
    if not isinstance(actual, (tuple, list)):
        wanted = f"a {type(expected).__name__} of {len(expected)}"
        return f"{label}: expected {wanted}, found {kind(actual)}"
    if len(actual) != len(expected):
        return f"{label}: expected {len(expected)} of them, found {len(actual)}"
    labels = name if isinstance(name, tuple) else [f"{label}[{i}]" for i in range(len(expected))]
    rows = zip(expected, actual, labels, strict=True)
    return next((part for e, a, at in rows if (part := differ(e, a, allowed, at))), "")


def _in_scalar(expected: Any, actual: Any, allowed: Allowed, label: str) -> str:
    if isinstance(actual, np.ndarray) and actual.ndim == 0:
        actual = actual[()]
    if isinstance(expected, (bool, np.bool_)):
        same = isinstance(actual, (bool, np.bool_)) and bool(actual) == bool(expected)
    elif isinstance(expected, (int, float, np.number)):
        return _in_number(expected, actual, allowed, label)
    else:
        same = isinstance(actual, type(expected)) and bool(expected == actual)
    return "" if same else f"{label}: expected {text(expected)}, found {text(actual)}"


def _in_number(expected: Any, actual: Any, allowed: Allowed, label: str) -> str:
    whole = isinstance(expected, (int, np.integer))
    if isinstance(actual, (bool, np.bool_)) or not isinstance(actual, (int, float, np.number)):
        return f"{label}: expected the number {text(expected)}, found {kind(actual)}"
    if whole and not isinstance(actual, (int, np.integer)):
        return f"{label}: expected the whole number {text(expected)}, found {text(actual)}"
    if whole:
        same = int(actual) == int(expected)
    else:
        same = not difference(np.float64(expected), float(actual), allowed.atol, allowed.rtol)
    return "" if same else f"{label}: expected {text(expected)}, found {text(actual)}"


# -------------------------------------------------------------------------- values as text


def entry(label: str, value: Any) -> str:
    """`label` and a value; the further lines of a long value are set in under its first one."""
    return label + text(value).replace("\n", "\n" + " " * len(label))


def text(value: Any) -> str:
    """A value as a reader can take it in: short ones whole, long ones by their shape and ends."""
    if isinstance(value, np.ndarray):
        return _array_text(value)
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    if hasattr(value, "_fields") and len(repr(value)) > LONG:  # a named tuple
        fields = [entry(f"  {n}=", v) for n, v in zip(value._fields, value, strict=True)]
        return f"{type(value).__name__}(\n" + ",\n".join(fields) + ")"
    if isinstance(value, (tuple, list)) and any(hasattr(v, "shape") and v.shape for v in value):
        return "(" + ",\n ".join(map(text, value)) + ")"
    written = repr(_plain(value))
    return written if len(written) <= LONG else f"{written[:280]} ... ({type(value).__name__})"


def _array_text(value: np.ndarray) -> str:
    short = np.array2string(value, separator=", ", threshold=60, edgeitems=3, precision=6)
    whole = f"dtype={value.dtype}" if value.size else f"shape={value.shape}, dtype={value.dtype}"
    kind = whole if value.size <= 60 else f"{value.dtype} {value.shape}"
    return f"array({short}, {kind})".replace("\n", "\n" + " " * 6)


def _plain(value: Any) -> Any:
    """The value with Python's numbers for NumPy's: 96 reads better than np.int64(96)."""
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(key): _plain(held) for key, held in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def kind(value: Any) -> str:
    """What sort of thing a value is: "an array of shape (2,)"."""
    if value is None:
        return "None"
    if hasattr(value, "detach"):
        return f"a torch tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, (bool, int, float, complex, str, np.generic)):
        return f"the {type(value).__name__} {text(value)}"
    return f"{'an' if type(value).__name__[:1] in 'aeiou' else 'a'} {type(value).__name__}"
