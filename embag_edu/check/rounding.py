"""How far rounding may lead a result away from the exact one. The one bound of the project.

The bound is not chosen, it is derived. Let u be half the spacing of 1.0 in the dtype that adds up,
and gamma(n) = n u / (1 - n u).

1. A sum of n terms, added in any order, is off by at most gamma(n - 1) * sum(|terms|). A term that
   was rounded k times before makes that gamma(n - 1 + k). (Higham, Accuracy and Stability of
   Numerical Algorithms, 2nd ed., lemma 3.1 and section 4.2.)
2. To store a sum s in a dtype of roundoff v rounds it once more, by v |s| at most, or by half of
   the smallest positive number where |s| is very small.
3. The exact value is a sum in float64: it is off as well, by step 1 with the u of float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

TERM_ROUNDINGS = 6  # psw, mean, frequency, each twice: as a product and as a rounded factor


class Units(NamedTuple):
    """What a dtype rounds by."""

    adding: float  # unit roundoff of what adds up: float32, or float64 for float64
    stored: float  # unit roundoff of the dtype itself
    smallest: float  # its smallest positive number


UNITS = {
    "float64": Units(2.0**-53, 2.0**-53, 5e-324),
    "float32": Units(2.0**-24, 2.0**-24, 1.5e-45),
    "float16": Units(2.0**-24, 2.0**-11, 6e-8),
    "bfloat16": Units(2.0**-24, 2.0**-8, 9.3e-41),
}
EXACT = UNITS["float64"].adding


def units(dtype: Any) -> Units:
    """Of a dtype of NumPy or torch, or of its name."""
    return UNITS[getattr(dtype, "name", str(dtype).removeprefix("torch."))]


def gamma(n: Any, u: float) -> Any:
    """The relative error of n roundings by u each: n u / (1 - n u). n u must be below 1."""
    return n * u / (1 - n * u)


def bound(dtype: Any, terms: Any, scale: Any, exact: Any, of_terms: float = 0.0) -> np.ndarray:
    """How far a sum may be from `exact`: an array of the shape that the arguments broadcast to.

    dtype     of the result (`units`)
    terms     how many numbers are added
    scale     sum(|terms|), without rounding: float64
    exact     the exact sum, float64
    of_terms  the relative error that each term has already, beside its TERM_ROUNDINGS

    It is 0 where the bound is not finite: infinity and NaN must come out as they are.
    """
    adding, stored, smallest = units(dtype)
    n = np.asarray(terms) + TERM_ROUNDINGS
    relative = gamma(n, adding) + gamma(n, EXACT)
    off = (relative + of_terms + relative * of_terms) * scale
    off = off + stored * (np.abs(exact) + off) + smallest
    return np.where(np.isfinite(off), off, 0.0)


def of_rescaled(dtype: Any, features: int) -> float:
    """The relative error of a row that max_norm has rescaled.

    The norm is a sum of D powers, and its root; then come + 1e-7, the quotient and the product:
    D + 8 roundings, if a power and a root are right to three roundings each. Norm, quotient, scale
    and product may each be stored in the row's own dtype.
    """
    adding, stored, _ = units(dtype)
    return (features + 8) * adding + 4 * stored
