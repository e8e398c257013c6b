"""The one comparison of the project: shape, then dtype, then NaN and infinity, then values.

Every comparison of the package, the checker, the book and the exercises ends here, so that there
is one place where a NaN could slip through, and it does not: a value passes only if it is *known*
to be close (`difference <= tolerance`), never because it is not known to be far.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SHOWN = 5  # mismatches listed in a message


def difference(
    expected: Any,
    actual: Any,
    atol: Any = 0.0,
    rtol: float = 0.0,
    name: str = "output",
    dtype: Any = None,
) -> str:
    """Say in words how `actual` departs from `expected`; an empty string when it does not.

    expected: array of any shape, in any dtype at least as exact as `dtype`.
    actual:   what the implementation returned.
    atol:     absolute tolerance, a number or an array that broadcasts to expected's shape.
    rtol:     relative tolerance, a multiple of |expected|.
    dtype:    the dtype that `actual` must have; expected's own by default.
    """
    expected = np.asarray(expected)
    dtype = np.dtype(expected.dtype if dtype is None else dtype)
    if not isinstance(actual, (np.generic, int, float)) and type(actual) is not np.ndarray:
        return f"{name}: expected an array of shape {expected.shape}, found {kind_of(actual)}"
    actual = np.asarray(actual, dtype) if isinstance(actual, (int, float)) else np.asarray(actual)
    if actual.shape != expected.shape:
        return f"{name}: expected shape {expected.shape}, found shape {actual.shape}"
    if actual.dtype != dtype:
        return f"{name}: expected dtype {dtype}, found dtype {actual.dtype}"
    wrong = ~_close(expected, actual, atol, rtol)
    if not wrong.any():
        return ""
    return _describe(expected, actual, wrong, name)


def assert_equal(
    expected: Any,
    actual: Any,
    atol: Any = 0.0,
    rtol: float = 0.0,
    name: str = "",
    dtype: Any = None,
) -> None:
    """Print how many numbers are equal, such as "equal: 9 numbers"; raise where they differ.

    The arguments are those of `difference`; the name, where there is one, is printed first. Raises
    AssertionError, with the text of `difference`.
    """
    told = difference(expected, actual, atol, rtol, name or "output", dtype)
    if told:
        raise AssertionError(told)
    within = (
        " within the tolerance" if rtol or np.ndim(atol) else f" within {atol:.2g}" if atol else ""
    )
    count = f"{np.size(expected):,} number{'s' * (np.size(expected) != 1)}"
    print(f"{name + ': ' if name else ''}equal{within}: {count}")


def kind_of(actual: Any) -> str:
    """What a thing is that should be an array."""
    if actual is None:
        return "None (is a `return` missing?)"
    return f"a {getattr(actual, 'kind', type(actual).__name__)}"


def _close(expected: np.ndarray, actual: np.ndarray, atol: Any, rtol: float) -> np.ndarray:
    """True where `actual` is known to be correct (so False wherever a NaN stands for a number)."""
    if expected.dtype.kind in "biuUSO":
        return np.asarray(expected == actual)
    with np.errstate(over="ignore", invalid="ignore"):
        # What is too large for the dtype must come out as an infinity there: round it first.
        rounded = expected.astype(actual.dtype).astype(np.float64)
        wanted, value = expected.astype(np.float64), actual.astype(np.float64)
        near = np.abs(value - wanted) <= atol + rtol * np.abs(wanted)
    special = ~np.isfinite(rounded) | ~np.isfinite(value)
    same_special = (rounded == value) | (np.isnan(rounded) & np.isnan(value))
    return np.asarray(np.where(special, same_special, near))


def _describe(expected: np.ndarray, actual: np.ndarray, wrong: np.ndarray, name: str) -> str:
    places = np.argwhere(wrong)
    lines = [f"{name}: {len(places)} of {wrong.size} values differ"]
    for place in places[:SHOWN]:
        at = tuple(int(i) for i in place)
        index = ", ".join(map(str, at))
        right, came = _show(expected[at], actual[at])
        lines.append(f"  {name}[{index}]: expected {right}, found {came}")
    if len(places) > SHOWN:
        lines.append(f"  ... and {len(places) - SHOWN} more")
    return "\n".join(lines)


def _show(*values: Any) -> tuple[str, ...]:
    """The values as text, with as many digits as it takes to tell them apart."""
    kinds = {np.asarray(value).dtype.kind for value in values}
    if kinds & set("USO"):
        return tuple(repr(getattr(value, "item", lambda v=value: v)()) for value in values)
    if kinds & set("biu"):
        return tuple(map(str, values))
    short, whole = (tuple(f"{float(v):.{digits}g}" for v in values) for digits in (9, 17))
    return short if len(set(short)) == len(values) else whole
