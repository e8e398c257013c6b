"""Parts of random calls: what the `random_call` of an exercise is made of.

A random call is any that the task allows, and nearly always small. Sizes may be 0 or 1, values
repeat, bags are empty at all places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Random = np.random.Generator


def size(random: Random, least: int = 0, most: int = 6) -> int:
    """A whole number from `least` to `most`."""
    return int(random.integers(least, most + 1))


def table(random: Random, V: int, D: int, dtype: Any = np.float64) -> np.ndarray:
    """(V, D) numbers with two digits behind the point."""
    return np.round(random.normal(size=(V, D)) * 4, 2).astype(dtype)


def spoiled(random: Random, values: np.ndarray) -> np.ndarray:
    """The same array; in three of ten calls, one of its numbers is now NaN or infinite."""
    if values.size and random.random() < 0.3:
        values.flat[random.integers(values.size)] = random.choice([np.nan, np.nan, np.inf, -np.inf])
    return values


def bags(random: Random, V: int, dtype: Any = np.int64) -> tuple[np.ndarray, np.ndarray]:
    """input (N,) of rows below V, and offsets (B,) without the end.

    One to six bags, and in one of ten calls some hundred: their numbers do not fit into 8 bits.
    """
    n, b = size(random, 0, 12), size(random, 1, 6)
    if random.random() < 0.1:
        n, b = size(random, 200, 300), size(random, 130, 200)
    cuts = np.sort(random.integers(0, n + 1, b - 1))
    return random.integers(0, V, n).astype(dtype), np.append(0, cuts).astype(dtype)
