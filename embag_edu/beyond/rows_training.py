"""Training a table of 16 bits: a step is rounded up or down by chance, and right on average.

    sgd_step(weight, rows, gradient, lr=0.1, seed=7, step=t)

A float16 near 1 has a step of 2^-10. An update of 2^-12 is rounded away, each time, and the table
stands still. Rounded up with probability 1/4, it is right on average: nothing is lost, and noise is
added. The chance is no state: its bits are those of Philox, at (seed, step, element). So a training
that is stopped and resumed rounds as one that was not, on any device, in any order of threads.

What is rounded must be the sum itself, in float32. Rounded to the nearest before, it is a number of
the table, and there is nothing left to round.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.beyond.rows import implementation_of

KINDS = ("float16", "bfloat16")


def stochastic_round(
    numbers: np.ndarray,
    dtype: Any,
    *,
    seed: int,
    step: int,
    first: int = 0,
    implementation: str = "vectorized",
) -> np.ndarray:
    """Numbers, float32 of any shape, as float16 or bfloat16: up or down, with the mean kept.

    Between two neighbors a and b of dtype, a number x becomes b with probability
    (x - a) / (b - a), to 2^-32, subnormal numbers included. A number of dtype stays what it is; NaN
    and infinities do, too. Above the largest number, b is infinite.

    dtype: np.float16, or bfloat16 of ml_dtypes. seed, step: 0 to 2^64 - 1. first: which element of
    the table numbers[0] is; the others follow, in C order.
    """
    dtype, numbers = _sixteen("dtype", np.dtype(dtype)), np.asarray(numbers)
    if numbers.dtype != np.float32:
        raise TypeError(f"numbers is {numbers.dtype}; valid: float32, rounded by nobody before")
    _check_counters(seed=seed, step=step, first=first)
    chosen = implementation_of(implementation)
    elements = np.uint64(first) + np.arange(numbers.size, dtype=np.uint64).reshape(numbers.shape)
    with np.errstate(over="ignore"):  # above the largest number: infinite
        return chosen.stochastic(numbers, elements, dtype, seed, step)  # type: ignore[no-any-return]


def sgd_step(
    weight: np.ndarray,
    rows: np.ndarray,
    gradient: np.ndarray,
    lr: float,
    *,
    seed: int,
    step: int,
    implementation: str = "vectorized",
) -> None:
    """weight[rows] -= lr * gradient, in float32, and one stochastic rounding. In place.

    weight: (V, D) float16 or bfloat16. rows: (U,) integers, each once. gradient: (U, D) float32,
    the sums of rows. Element d of row v has the number v * D + d. The same bits in every
    implementation. A call that raises has changed nothing.
    """
    _sixteen("weight", getattr(weight, "dtype", np.dtype(object)))
    _check_counters(seed=seed, step=step)
    rows, gradient = np.asarray(rows), np.asarray(gradient)
    _check_rows(weight, rows, gradient)
    if not np.isfinite(lr):
        raise ValueError(f"lr is {lr!r}; valid: a finite number, such as 0.1")
    chosen = implementation_of(implementation)
    with np.errstate(over="ignore"):
        chosen.sgd_step(weight, rows, gradient, np.float32(lr), seed, step)


def _sixteen(name: str, dtype: np.dtype) -> np.dtype:
    if dtype.name not in KINDS:
        raise TypeError(f"{name} is {dtype}; valid: {' or '.join(KINDS)}")
    return dtype


def _check_counters(**numbers: Any) -> None:
    for name, value in numbers.items():
        if not isinstance(value, (int, np.integer)) or not 0 <= value < 2**64:
            raise ValueError(f"{name} is {value!r}; valid: a whole number, 0 to 2**64 - 1")


def _check_rows(weight: np.ndarray, rows: np.ndarray, gradient: np.ndarray) -> None:
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"rows is {rows.dtype} of shape {rows.shape}; valid: integers, (U,)")
    if gradient.dtype != np.float32 or gradient.shape != (len(rows), weight.shape[1]):
        raise ValueError(
            f"gradient is {gradient.dtype} of shape {gradient.shape}; valid: float32, "
            f"{(len(rows), weight.shape[1])}, a row for each of rows"
        )
    if len(rows) and not (0 <= rows.min() and rows.max() < len(weight)):
        bad = int(rows.min() if rows.min() < 0 else rows.max())
        raise IndexError(f"rows has {bad}; valid: 0 to {len(weight) - 1}, for {len(weight)} rows")
    once, counts = np.unique(rows, return_counts=True)
    if len(once) < len(rows):
        raise ValueError(
            f"rows has {int(once[counts.argmax()])} more than once: each row takes one step.\n"
            "  To mend it: add up the gradients of equal rows first."
        )
