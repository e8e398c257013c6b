"""The parts beyond torch on a GPU, against the loops: fused optimizers, many tables, short rows.

On a CPU only the command is tried: two cases of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from embag_edu.gpu.operator import chosen
from embag_edu.gpu.steps import SKIPPED, Attempt, Probe


def beyond(probe: Probe) -> Iterator[Attempt]:
    """Every case of a fused step and of many tables; every format of short rows."""
    try:
        from embag_edu.beyond import fused_cases, rows_format, tables_cases
    except ImportError as missing:
        yield Attempt("beyond", SKIPPED, f"not installed: {missing}")
        return
    few = None if probe.is_gpu else 2
    with chosen(probe.gpu.kind):
        for case in (*fused_cases.CASES, *fused_cases.WIDE)[:few]:
            yield probe.attempt(f"fused, {case.name}", partial(fused, case))
        for tables_case in (*tables_cases.CASES, *tables_cases.WIDE)[:few]:
            yield probe.attempt(f"tables, {tables_case.name}", partial(tables, tables_case))
        for format in list(rows_format.FORMATS)[:few]:
            yield probe.attempt(f"rows, {format}", partial(rows, format))


def fused(case: Any) -> str:
    """What is wrong with the fused steps of a case; '' if nothing is."""
    from embag_edu.beyond import fused_api, fused_cases

    step = partial(fused_api.fused_step, implementation="cuda")
    return "; ".join(fused_cases.check_fused(step, [case]))


def tables(case: Any) -> str:
    """The same of many tables: output, gradients, fused steps."""
    from embag_edu.beyond import tables_cases

    return "; ".join(tables_cases.check_tables(tables_cases.fixed("cuda"), [case]))


def rows(format: str) -> str:
    """Which modes over a packed table differ from the vectorized ones by more than rounding."""
    from embag_edu.beyond.rows import embedding_bag, pack, unpack

    random = np.random.default_rng(0)
    packed = pack(random.standard_normal((200, 48)).astype(np.float32), format)
    input, offsets = random.integers(0, 200, 3000), np.arange(0, 3000, 60)
    most, wrong = 60 * float(np.abs(unpack(packed)).max()), []
    for mode in ("sum", "mean", "max"):
        mine, other = (
            embedding_bag(input, packed, offsets, mode, padding_idx=3, implementation=name)
            for name in ("cuda", "vectorized")
        )
        wrong += [] if np.allclose(mine, other, rtol=0, atol=1e-6 * most) else [mode]
    return f"differs from vectorized: {', '.join(wrong)}" if wrong else ""
