"""What the three parts of chapter 08 share: two calls, and how many warps fit."""

from __future__ import annotations

import numpy as np

from embag_edu.data import bags, reviews, vocabulary
from embag_edu.spec import Call, make_call


def even(B: int, L: int, D: int) -> Call:
    """B bags of L positions each; every row of the table is looked up once."""
    random = np.random.default_rng(8)
    weight = random.normal(size=(B * L, D)).astype(np.float32)
    return make_call(random.permutation(B * L), weight, np.arange(0, B * L, L), mode="sum")


def of_reviews(D: int, mode: str = "sum") -> Call:
    """The first 64 reviews, one bag each; a random table with D features."""
    texts = [review.text for review in reviews()]
    known = vocabulary(texts)
    ids, offsets = bags([known.encode(text) for text in texts[:64]], include_last_offset=True)
    table = np.random.default_rng(8).normal(size=(len(known), D)).astype(np.float32)
    return make_call(ids, table, offsets, mode=mode, include_last_offset=True)


def resident(registers: int, threads: int = 256) -> int:
    """Warps that fit on a multiprocessor of 65,536 registers and 64 warps."""
    rounded = -(-registers // 8) * 8  # they are handed out by eights
    return min(65_536 // (rounded * threads), 64 * 32 // threads) * threads // 32
