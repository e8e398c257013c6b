"""Short rows as CUDA kernels: the launches of rows.cu and rows_training.cu, and their bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.beyond.rows_format import FORMATS, Rows
from embag_edu.cuda.launcher import (
    ceil_div,
    device,
    download,
    kernel,
    launch,
    nothing,
    pack_of,
    recording,
    upload,
)
from embag_edu.spec import Call

FILE = str(Path(__file__).with_name("rows"))
TRAINING = str(Path(__file__).with_name("rows_training"))
NAMES = {"float8_e4m3fn": "FLOAT8"}  # the others are those of the format, in capitals


def on_device(rows: Rows) -> Rows:
    """The packed table where the kernels read it; bags over it upload it no more."""
    packed = upload(rows.packed)
    if FORMATS[rows.format].bits == 16 and pack_of(packed) == 1:  # at an odd address
        packed = packed.copy()
    return replace(rows, packed=packed)


def unpack(rows: Rows) -> np.ndarray:
    """(V, D) float32: bags of one row each."""
    V = rows.num_embeddings
    alone = np.arange(V + 1)
    call = Call(alone[:V], alone, np.empty((V, rows.embedding_dim), np.float32), None,
                "sum", None, None, 2.0, False, False, (V,))  # fmt: skip
    return forward(rows, call)


def forward(rows: Rows, call: Call) -> np.ndarray:
    """(B, D) float32."""
    rows = on_device(rows)
    output = device().empty((call.num_bags, call.embedding_dim), np.float32)
    psw = nothing(np.float32) if call.per_sample_weights is None else call.per_sample_weights
    load, tail = loads_of(rows)
    kind = "WEIGHTED" if call.per_sample_weights is not None else call.mode.upper()
    name = NAMES.get(rows.format, rows.format.upper())
    indices = upload(call.indices)
    padding = -1 if call.padding_idx is None else call.padding_idx
    instance = kernel(FILE, "bag_rows", name, kind, load, tail, indices.dtype)
    arrays = rows.packed, indices, upload(call.offsets), upload(psw), output
    sizes = call.num_bags, call.embedding_dim, rows.packed.shape[1], padding
    threads = call.num_bags * loads_of_row(rows, load)
    launch(instance, threads, (*arrays, *sizes))
    return download(output, call.indices)  # type: ignore[no-any-return]


def loads_of(rows: Rows) -> tuple[int, int]:
    """The bytes of a load of numbers, and of a load of scale or bias."""
    together = pack_of(rows.packed)
    most = {"int4": 2, "int8": 4, "float8_e4m3fn": 4}.get(rows.format, 1)
    tail = next(k for k in (4, 2, 1) if k <= most and rows.numbers % k == together % k == 0)
    return together, tail


def loads_of_row(rows: Rows, load: int) -> int:
    """How many loads it takes to read the numbers of a row."""
    return ceil_div(rows.numbers, load)


def stochastic(
    numbers: np.ndarray, elements: np.ndarray, dtype: np.dtype, seed: int, step: int
) -> np.ndarray:
    """float32 numbers, each rounded to a number of dtype, up or down."""
    result = device().empty(numbers.shape, dtype)
    instance = kernel(TRAINING, "round_numbers", dtype)
    arrays = upload(numbers), upload(elements.astype(np.int64)), result
    launch(instance, numbers.size, (*arrays, numbers.size, *counters(seed, step)))
    return download(result, numbers)  # type: ignore[no-any-return]


def sgd_step(
    weight: np.ndarray,
    rows: np.ndarray,
    gradient: np.ndarray,
    lr: np.float32,
    seed: int,
    step: int,
) -> None:
    """weight[rows] -= lr * gradient, in float32, and one rounding by chance."""
    table = upload(weight)
    instance = kernel(TRAINING, "sgd_step", weight.dtype)
    arrays = table, upload(rows, np.int64), upload(gradient)
    sizes = len(rows), weight.shape[1], lr
    launch(instance, gradient.size, (*arrays, *sizes, *counters(seed, step)))
    if table is not weight:
        weight[...] = download(table, weight)


def counters(*numbers: int) -> tuple[np.uint64, ...]:
    """As the kernels take them."""
    return tuple(map(np.uint64, numbers))


# ---- bytes ----------------------------------------------------------------------------------


def modelled(rows: Rows, call: Call) -> int:
    """Bytes of packed rows that a call reads by `forward`: whole loads, and the tail."""
    counts = int((call.indices != call.padding_idx).sum())
    load, _ = loads_of(rows)
    return counts * (loads_of_row(rows, load) * load + FORMATS[rows.format].tail)


def counted(rows: Rows, call: Call) -> int:
    """The same, counted in a checked launch on the processor."""
    with recording() as reports:
        forward(rows, call)
    lines: Any = [line for report in reports for line in report.lines if not line.shared]
    return sum(line.wanted for line in lines if line.array == "packed")
