"""Short rows on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from embag_edu import vectorized
from embag_edu.beyond.rows_format import Rows, fma, gap
from embag_edu.spec import Call

F = np.float32


def pack(weight: np.ndarray, format: str) -> np.ndarray:
    """(V, bytes of a row) uint8 for weight (V, D) float32."""
    return PACK[format](weight)


def unpack(rows: Rows) -> np.ndarray:
    """(V, D) float32."""
    return UNPACK[rows.format](rows, rows.packed[:, : rows.numbers])


def forward(rows: Rows, call: Call) -> np.ndarray:
    """(B, D) float32: bags over a small table, the rows that occur, unpacked once each."""
    occur, where = np.unique(call.indices, return_inverse=True)
    padding = None
    if call.padding_idx is not None and call.padding_idx in occur:
        padding = int(np.searchsorted(occur, call.padding_idx))
    table = unpack(rows.take(occur))
    small = replace(call, weight=table, indices=where.reshape(-1), padding_idx=padding)
    return vectorized.forward(small)[0]


def joined(*parts: np.ndarray) -> np.ndarray:
    """The bytes of arrays (V, n) side by side."""
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=1)


# ---- 8 and 4 bits: bias + scale * q ---------------------------------------------------------


def pack_int8(weight: np.ndarray) -> np.ndarray:
    """q, scale, bias."""
    bias = weight.min(axis=1, keepdims=True)
    span = weight.max(axis=1, keepdims=True) - bias
    q = np.rint((weight - bias) * (F(255) / (span + F(1e-8))))
    return joined(q.astype(np.uint8), span / F(255), bias)


def unpack_int8(rows: Rows, q: np.ndarray) -> np.ndarray:
    """One fma for each number."""
    scale, bias = rows.tail(F).T[:, :, None]
    return fma(q, scale, bias)


def pack_int4(weight: np.ndarray) -> np.ndarray:
    """Pairs of q, scale, bias."""
    stored = weight.min(axis=1, keepdims=True).astype(np.float16)
    bias = stored.astype(F)
    scale = ((weight.max(axis=1, keepdims=True) - bias) / F(15)).astype(np.float16).astype(F)
    scale[scale == 0] = 1
    q = np.clip(np.rint((weight - bias) * (F(1) / scale)), 0, 15).astype(np.uint8)
    return joined(q[:, ::2] | q[:, 1::2] << 4, scale.astype(np.float16), stored)


def unpack_int4(rows: Rows, pairs: np.ndarray) -> np.ndarray:
    """One fma for each number."""
    scale, bias = rows.tail(np.float16).astype(F).T[:, :, None]
    q = np.stack([pairs & 15, pairs >> 4], axis=2).reshape(len(pairs), rows.embedding_dim)
    return fma(q, scale, bias)


# ---- 8 bits with a point: scale * q ---------------------------------------------------------


def pack_float8(weight: np.ndarray) -> np.ndarray:
    """q, scale."""
    scale = np.abs(weight).max(axis=1, keepdims=True) / F(448)
    scale[scale < np.finfo(F).tiny] = 1
    return joined(encoded_float8(weight / scale), scale)


def unpack_float8(rows: Rows, q: np.ndarray) -> np.ndarray:
    """One product for each number."""
    return decoded_float8(q) * rows.tail(F)  # type: ignore[no-any-return]


def encoded_float8(numbers: np.ndarray) -> np.ndarray:
    """The nearest of the sizes, ties to even; more than 448 is 448. uint8 in numbers' shape."""
    step = gap(numbers, "float8_e4m3fn")
    size = np.minimum(np.rint(np.abs(numbers) / step) * step, 448)
    # The bytes of growing sizes grow by one: the same bits in float16, 256 times smaller.
    byte = (size / 256).astype(np.float16).view(np.uint16) >> 7
    return (byte | np.signbit(numbers) * 128).astype(np.uint8)  # type: ignore[no-any-return]


def decoded_float8(q: np.ndarray) -> np.ndarray:
    """What bytes mean, float32. A float16 has one bit of exponent more, and seven of fraction."""
    sign, size = q.astype(np.uint16) >> 7 << 15, (q.astype(np.uint16) & 127) << 7
    return (sign | size).view(np.float16).astype(F) * F(256)


# ---- 16 bits --------------------------------------------------------------------------------


def pack_float16(weight: np.ndarray) -> np.ndarray:
    """Rounded to the nearest."""
    return joined(weight.astype(np.float16))


def unpack_float16(rows: Rows, numbers: np.ndarray) -> np.ndarray:
    """Exact."""
    return np.ascontiguousarray(numbers).view(np.float16).astype(F)


def pack_bfloat16(weight: np.ndarray) -> np.ndarray:
    """The upper 16 of 32 bits, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(weight).view(np.uint32)
    return joined((bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16))


def unpack_bfloat16(rows: Rows, numbers: np.ndarray) -> np.ndarray:
    """Sixteen zeros behind."""
    upper = np.ascontiguousarray(numbers).view(np.uint16)
    return (upper.astype(np.uint32) << 16).view(F)


PACK: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float16": pack_float16,
    "bfloat16": pack_bfloat16,
    "int8": pack_int8,
    "int4": pack_int4,
    "float8_e4m3fn": pack_float8,
}
UNPACK: dict[str, Callable[[Rows, np.ndarray], np.ndarray]] = {
    "float16": unpack_float16,
    "bfloat16": unpack_bfloat16,
    "int8": unpack_int8,
    "int4": unpack_int4,
    "float8_e4m3fn": unpack_float8,
}


# ---- rounding by chance ---------------------------------------------------------------------


def stochastic(
    numbers: np.ndarray, elements: np.ndarray, dtype: np.dtype, seed: int, step: int
) -> np.ndarray:
    """float32 numbers, each rounded to a number of dtype, up or down."""
    unit = gap(numbers, dtype.name)
    with np.errstate(invalid="ignore"):  # NaN and infinities
        size = np.abs(numbers) / unit  # exact: unit is a power of 2, in float64
        whole = np.floor(size)
        up = random_bits(elements, seed, step) < (size - whole) * 2.0**32
        rounded = np.copysign((whole + up) * unit, numbers)
        return np.where(np.isfinite(numbers), rounded, numbers).astype(F).astype(dtype)


def sgd_step(
    weight: np.ndarray,
    rows: np.ndarray,
    gradient: np.ndarray,
    lr: np.float32,
    seed: int,
    step: int,
) -> None:
    """weight[rows] -= lr * gradient, in float32, and one rounding by chance."""
    D = weight.shape[1]
    elements = rows.astype(np.int64)[:, None] * D + np.arange(D)
    moved = weight[rows].astype(F) - lr * gradient
    weight[rows] = stochastic(moved, elements, weight.dtype, seed, step)


def random_bits(elements: np.ndarray, seed: int, step: int) -> np.ndarray:
    """32 bits for each element, uint64: the first of Philox's four numbers."""
    low, elements = 2**32 - 1, elements.astype(np.uint64)
    counter = elements & low, elements >> 32, np.uint64(step & low), np.uint64(step >> 32)
    return philox(counter, (seed & low, seed >> 32))[0]  # type: ignore[no-any-return]


def philox(counter: tuple[Any, ...], key: tuple[int, int]) -> tuple[Any, ...]:
    """Philox 4x32-10, as in rows_loops.py, on four uint64 below 2^32."""
    a, b, c, d = counter
    one, two = key
    for _ in range(10):
        left, right = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b = right >> 32 ^ b ^ np.uint64(one), right & 0xFFFFFFFF
        c, d = left >> 32 ^ d ^ np.uint64(two), left & 0xFFFFFFFF
        one, two = (one + 0x9E3779B9) % 2**32, (two + 0xBB67AE85) % 2**32
    return a, b, c, d
