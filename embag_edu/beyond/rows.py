"""Short rows: a table is stored in few bits, and added up in many.

    short = pack(weight, "int8")                          # (V, D + 8) bytes where 4 V D were
    output = embedding_bag(input, short, offsets, mode="sum")
    bound = error_bound(input, short, offsets, mode="sum")  # of output, without weight

A packed row is its D numbers, and behind them what is needed to read them:

    format           a number                                              behind them
    float16          IEEE's half                                           nothing
    bfloat16         the upper half of a float32                           nothing
    int8             bias + scale * q, q from 0 to 255                     float32 scale, bias
    int4             the same, q from 0 to 15; the lower half of a byte    float16 scale, bias
                     is the even feature
    float8_e4m3fn    scale * q, q of 1 + 4 + 3 bits, from -448 to 448,     float32 scale
                     without infinities

int8 and int4 are, bit by bit, what `torch.ops.quantized.embedding_bag_byte_prepack` and
`embedding_bag_4bit_prepack` make, and bias + scale * q is rounded once, as there. The bags are
float32, and so are their sums. A packed table does not learn: there is no backward.

Letters: V rows, D features, B bags, N positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.beyond import rows_cuda, rows_loops, rows_numpy
from embag_edu.beyond.rows_format import Rows as Rows
from embag_edu.beyond.rows_format import gap, row_bytes
from embag_edu.spec import Call, make_call

IMPLEMENTATIONS: dict[str, Any] = {
    "loops": rows_loops,
    "vectorized": rows_numpy,
    "cuda": rows_cuda,
}
U = 2.0**-24  # what rounding to float32 may change, in parts of the result


def pack(
    weight: np.ndarray,
    format: str = "int8",
    *,
    align: int = 1,
    implementation: str = "vectorized",
) -> Rows:
    """Pack a table, (V, D) float32 or float16.

    format: see this file's head. align: 1, 2, 4, 8 or 16, see `row_bytes`. implementation: "loops"
    or "vectorized" ("cuda" packs as "vectorized" does: a table is packed once).

    TypeError for another dtype. ValueError for numbers that the format can't hold: NaN, infinities,
    and those that would become one.
    """
    weight = np.asarray(weight)
    if weight.ndim != 2 or weight.dtype.newbyteorder("=") not in (np.float32, np.float16):
        raise TypeError(
            f"weight is {weight.dtype} of shape {weight.shape}; valid: float32 or float16, (V, D)."
            "\n  To mend it: weight.astype(np.float32)."
        )
    rows = Rows(np.zeros((len(weight), row_bytes(format, weight.shape[1], align)), np.uint8),
                weight.shape[1], format)  # fmt: skip
    _refuse(weight, ~np.isfinite(weight).all(axis=1), "is not finite", format)
    wide, numpy = weight.astype(np.float32), rows_numpy
    with np.errstate(over="ignore", invalid="ignore"):  # looked at right below
        _fill(rows, numpy.pack(wide, format))
        lost = ~np.isfinite(numpy.unpack(rows)).all(axis=1)
    _refuse(weight, lost, "is too large, or its numbers are too far apart", format)
    if implementation not in ("vectorized", "cuda"):
        _fill(rows, implementation_of(implementation).pack(wide, format))
    return rows


def _fill(rows: Rows, bits: np.ndarray) -> None:
    rows.packed[:, : bits.shape[1]] = bits


def _refuse(weight: np.ndarray, bad: np.ndarray, why: str, format: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        low, high = weight[row].min(), weight[row].max()
        raise ValueError(
            f"weight can't be packed as {format}: row {row}, from {low:g} to {high:g}, {why}"
        )


def unpack(rows: Rows, *, implementation: str = "vectorized") -> np.ndarray:
    """The table that a packed one stands for, (V, D) float32."""
    return implementation_of(implementation).unpack(rows)  # type: ignore[no-any-return]


def embedding_bag(
    input: np.ndarray,
    rows: Rows,
    offsets: np.ndarray | None = None,
    mode: str = "mean",
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    implementation: str = "vectorized",
) -> np.ndarray:
    """`embag_edu.embedding_bag` over a packed table: (B, D) float32.

    The result is that of the unpacked table, which is never made. mode: "sum", "mean" or "max".
    per_sample_weights: float32. implementation: "loops", "vectorized" or "cuda". Errors are those
    of `embag_edu.spec`.

    >>> table = np.array([[0.0, 255.0], [7.0, 7.0]], np.float32)
    >>> embedding_bag(np.array([[0, 1]]), pack(table, "int8"), mode="sum")
    array([[  7., 262.]], dtype=float32)
    """
    options = mode, per_sample_weights, include_last_offset, padding_idx
    call = checked(input, rows, offsets, *options)
    return implementation_of(implementation).forward(rows, call)  # type: ignore[no-any-return]


def checked(
    input: Any, rows: Any, offsets: Any, mode: Any, psw: Any, last: Any, padding: Any
) -> Call:
    """The call, checked. Its weight has the shape of the unpacked table, but no memory."""
    if not isinstance(rows, Rows):
        kind = type(rows).__name__
        raise TypeError(f"rows must be a packed table, not {kind}.\n  To mend it: pack(weight).")
    table = np.broadcast_to(np.float32(0), (rows.num_embeddings, rows.embedding_dim))
    words = (None, 2.0, False, mode, False, psw, last, padding)
    return make_call(input, table, offsets, *words)


def implementation_of(name: str) -> Any:
    """The module of that name. Raises ValueError for a name that is not there."""
    if name not in IMPLEMENTATIONS:
        valid = ", ".join(IMPLEMENTATIONS)
        raise ValueError(f"implementation must be one of {valid}, but got {name!r}")
    return IMPLEMENTATIONS[name]


# ---- how far off ----------------------------------------------------------------------------


def error_bound(
    input: np.ndarray,
    rows: Rows,
    offsets: np.ndarray | None = None,
    mode: str = "mean",
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> np.ndarray:
    """How far `embedding_bag` may be from the bags of the table that was packed: (B, D) float64.

    A sum: |per_sample_weights| times `row_error`, added up, and what the rounding of the additions
    to float32 may do in any order. It is known from the packed table alone.
    """
    options = mode, per_sample_weights, include_last_offset, padding_idx
    call = checked(input, rows, offsets, *options)
    counts = call.indices != (-1 if call.padding_idx is None else call.padding_idx)
    bag_of = np.repeat(np.arange(call.num_bags), np.diff(call.offsets))[counts]
    used = rows.take(call.indices[counts])
    error = np.broadcast_to(row_error(used), (len(bag_of), rows.embedding_dim))
    bound = np.zeros((call.num_bags, rows.embedding_dim))
    if mode == "max":
        np.maximum.at(bound, bag_of, error)
        return bound
    psw = np.ones(len(counts)) if call.per_sample_weights is None else call.per_sample_weights
    sizes = np.bincount(bag_of, minlength=call.num_bags)
    rounding = (sizes + 3) * U / (1 - (sizes + 3) * U)
    size = np.abs(unpack(used).astype(np.float64))
    share = np.abs(psw[counts].astype(np.float64))[:, None]
    np.add.at(bound, bag_of, share * (error + rounding[bag_of][:, None] * size))
    return bound / np.maximum(sizes, 1)[:, None] if mode == "mean" else bound


def row_error(rows: Rows) -> np.ndarray:
    """How far an unpacked number may be from the one that was packed: (V, 1) or (V, D) float64.

    Half a step, and roundings: (V, 1) where all numbers of a row have the same step, the scale.
    """
    if rows.format == "int8":
        return _error_int8(*rows.tail(np.float32).astype(np.float64).T[:, :, None])
    if rows.format == "int4":
        return _error_int4(*rows.tail(np.float16).astype(np.float64).T[:, :, None])
    value = unpack(rows).astype(np.float64)
    if rows.format == "float8_e4m3fn":
        scale = rows.tail(np.float32).astype(np.float64)
        half: np.ndarray = scale * gap(value / scale, rows.format) / 2
        return half + 4 * U * np.abs(value) + 2.0**-149
    return gap(value, rows.format) / 2


def _error_int8(scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Half a step; the 1e-8 that `pack` adds to the span of a row; three roundings; the fma."""
    span = 255 * scale
    largest = np.maximum(np.abs(bias), np.abs(bias + span))
    shrunk = span * 1e-8 / (span + 1e-8)
    error: np.ndarray = scale / 2 + shrunk + 8 * U * span + U * largest + 2.0**-140
    return error


def _error_int4(scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Half a step; or, if larger, how far scale and bias were rounded: what lies outside is cut."""
    outside = np.maximum(gap(bias, "float16"), 15 * gap(scale, "float16")) / 2
    scale = np.abs(scale)
    largest = np.abs(bias) + 15 * scale
    error: np.ndarray = np.maximum(scale / 2 + 64 * U * scale, outside) + U * largest
    return error
