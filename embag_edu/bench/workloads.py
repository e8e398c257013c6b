"""What is measured. A workload is a few numbers and words; its inputs are drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SKEWS = ("uniform", "zipf", "one hot row", "reviews")
LENGTHS = ("constant", "uniform", "heavy-tailed")


@dataclass(frozen=True)
class Workload:
    """One table and the bags that are looked up in it.

    skew:     how rows are drawn: "uniform", "zipf" (the r-th most frequent row in proportion to
              r ** -exponent), "one hot row" (each position the same row), "reviews" (the words of
              real reviews: V is then their vocabulary and L their own mean)
    lengths:  how long bags are: "constant" L, "uniform" from 0 to 2 L, "heavy-tailed" (lognormal)
    """

    rows: int  # V
    features: int  # D
    bags: int  # B
    length: int  # L, the mean
    skew: str = "uniform"
    exponent: float = 1.05
    lengths: str = "constant"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("skew", self.skew, SKEWS),
            ("lengths", self.lengths, LENGTHS),
        ):
            if value not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}; found {value!r}")

    @property
    def name(self) -> str:
        """In one line: V=100k D=64 B=4096 L=32 zipf 1.05."""
        skew = f"zipf {self.exponent:g}" if self.skew == "zipf" else self.skew
        more = [skew, self.lengths + " lengths" if self.lengths != "constant" else ""]
        more += [self.dtype if self.dtype != "float32" else ""]
        shape = f"V={short(self.rows)} D={self.features} B={self.bags} L={self.length}"
        return " ".join([shape, *(word for word in more if word)])


def short(count: int) -> str:
    """1000000 as 1M, 100000 as 100k."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit and count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)


def table(work: Workload, seed: int = 0) -> np.ndarray:
    """The weight, (V, D): standard normal numbers."""
    random = np.random.default_rng([seed, 1])
    values = random.standard_normal((work.rows, work.features), dtype=np.float32)
    return values.astype(work.dtype, copy=False)


def inputs(work: Workload, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions' rows, (N,), and the offsets with the end, (B + 1,), both int64."""
    random = np.random.default_rng([seed, 2])
    if work.skew == "reviews":
        return inputs_of_reviews(work, random)
    lengths = draw_lengths(work, random)
    offsets = np.append(0, np.cumsum(lengths))
    return draw_rows(work, int(offsets[-1]), random), offsets


def draw_lengths(work: Workload, random: np.random.Generator) -> np.ndarray:
    """How many positions each bag has, (B,)."""
    if work.lengths == "constant":
        return np.full(work.bags, work.length)
    if work.lengths == "uniform":
        return random.integers(0, 2 * work.length + 1, work.bags)
    sigma = 1.5  # the mean of a lognormal is exp(mu + sigma ** 2 / 2)
    mu = np.log(work.length) - sigma**2 / 2
    return np.rint(random.lognormal(mu, sigma, work.bags)).astype(np.int64)


def draw_rows(work: Workload, count: int, random: np.random.Generator) -> np.ndarray:
    """The row of each position, (count,) int64."""
    if work.skew == "uniform":
        return random.integers(0, work.rows, count)
    if work.skew == "one hot row":
        return np.full(count, work.rows // 2)
    reached = zipf(work.rows, work.exponent)
    ranks = np.searchsorted(reached, random.random(count) * reached[-1], "right")
    places = np.random.default_rng(3).permutation(work.rows)  # frequent rows are no neighbors
    return np.asarray(places[np.minimum(ranks, work.rows - 1)])


@lru_cache(maxsize=4)
def zipf(rows: int, exponent: float) -> np.ndarray:
    """The running sum of 1, 2 ** -s, 3 ** -s, ...: (rows,) float64."""
    return np.cumsum(np.arange(1.0, rows + 1) ** -exponent)


def inputs_of_reviews(work: Workload, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The words of B reviews, drawn at random."""
    from embag_edu.data import bags

    _, encoded = encoded_reviews()
    drawn = random.integers(0, len(encoded), work.bags)
    return bags([encoded[i] for i in drawn], include_last_offset=True)


@lru_cache(maxsize=1)
def encoded_reviews() -> tuple[int, tuple[list[int], ...]]:
    """The size of the vocabulary, and the ids of each review."""
    from embag_edu.data import reviews, vocabulary

    texts = [review.text for review in reviews()]
    words = vocabulary(texts)
    return len(words), tuple(words.encode(text) for text in texts)


def of_reviews(features: int = 64, bags: int = 1024) -> Workload:
    """The workload of real reviews: V and L are theirs."""
    rows, encoded = encoded_reviews()
    mean = round(sum(map(len, encoded)) / len(encoded))
    return Workload(rows, features, bags, mean, "reviews")
