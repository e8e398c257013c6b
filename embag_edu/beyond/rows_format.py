"""What a packed row is: its formats, and the arithmetic that NumPy lacks.

The formats are described in rows.py, which has the functions to call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class Format(NamedTuple):
    """How a number is stored: its bits, and the bytes behind the numbers of a row."""

    bits: int
    tail: int


FORMATS = {
    "float16": Format(16, 0),
    "bfloat16": Format(16, 0),
    "int8": Format(8, 8),
    "int4": Format(4, 4),
    "float8_e4m3fn": Format(8, 4),
}
FLOATS = {"float16": (10, -14), "bfloat16": (7, -126), "float8_e4m3fn": (3, -6)}  # see `gap`


@dataclass(frozen=True, eq=False)
class Rows:
    """A packed table.

    packed: (V, row_bytes(format, D, align)) uint8, of NumPy, or of CuPy for "cuda".
    """

    packed: Any
    embedding_dim: int
    format: str

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError for bytes that are no rows of this format."""
        least, packed = row_bytes(self.format, self.embedding_dim), self.packed
        if getattr(packed, "dtype", None) != np.uint8 or packed.ndim != 2:
            found = getattr(packed, "dtype", type(packed).__name__)
            raise TypeError(f"packed must be an array (V, bytes of a row) of uint8, not {found}")
        if packed.shape[1] < least:
            raise ValueError(
                f"packed has rows of {packed.shape[1]} bytes; {self.format} with "
                f"{self.embedding_dim} features needs {least} or more"
            )

    @property
    def num_embeddings(self) -> int:
        """V."""
        return len(self.packed)

    @property
    def numbers(self) -> int:
        """Bytes of the D numbers of a row; the tail begins there."""
        return self.embedding_dim * FORMATS[self.format].bits // 8

    def tail(self, dtype: Any) -> np.ndarray:
        """What stands behind the numbers, (V, 2) or (V, 1) of dtype: scale, and bias."""
        begin = self.numbers
        tail = self.packed[:, begin : begin + FORMATS[self.format].tail]
        return np.ascontiguousarray(tail).view(dtype)

    def take(self, rows: Any) -> Rows:
        """The packed table of these rows, (n,) integers, in their order."""
        return replace(self, packed=self.packed[rows])


def row_bytes(format: str, embedding_dim: int, align: int = 1) -> int:
    """Bytes of a packed row, filled up to a multiple of `align`.

    A GPU loads 16 bytes at once where rows begin at multiples of 16: align=16.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; valid: {', '.join(FORMATS)}")
    if align not in (1, 2, 4, 8, 16):
        raise ValueError(f"align is {align!r}; valid: 1, 2, 4, 8 or 16")
    if embedding_dim < 1:
        raise ValueError(f"a row of {embedding_dim} features can't be packed; valid: 1 or more")
    if format == "int4" and embedding_dim % 2:
        raise ValueError(
            f"embedding_dim is {embedding_dim}; int4 needs an even number, two to a byte.\n"
            "  To mend it: one more column, of zeros."
        )
    bits, tail = FORMATS[format]
    return -(-(embedding_dim * bits // 8 + tail) // align) * align


def gap(value: Any, format: str) -> np.ndarray:
    """From |value|, rounded down to a number of the format, to the next larger: a power of 2."""
    digits, least = FLOATS[format]
    exponent = np.frexp(value)[1] - 1
    lowest = np.maximum(np.where(value == 0, least, exponent), least)
    return np.ldexp(1.0, lowest - digits)  # type: ignore[no-any-return]


def fma(a: Any, b: Any, c: Any) -> np.ndarray:
    """a * b + c of float32 numbers, rounded once, as a processor's fma does.

    In float64 the product is exact, and the sum is not always: rounded there and then to float32,
    it would be rounded twice. So it is made odd where it is not exact. Then 29 more bits
    make no tie, and the second rounding is that of the true sum.
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    back = total - product
    lost = (product - (total - back)) + (c - back)  # total + lost is the true sum
    even = np.asarray(total).view(np.int64) % 2 == 0
    toward = np.where(lost > 0, np.inf, -np.inf)
    total = np.where((lost != 0) & even, np.nextafter(total, toward), total)
    return total.astype(np.float32)[()]  # type: ignore[no-any-return]
