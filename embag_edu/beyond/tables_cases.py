"""The cases that many tables are checked by, against T calls of the loops in float64.

    failures = check_tables(make)    # make(layout, flat) has the methods of `Tables`

What must not be read is NaN: rows that no position reads, and upstream gradients of empty bags.
What must not be changed is compared bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu.beyond.fused import SGD, Adam, Optimizer, RowWiseAdagrad
from embag_edu.beyond.tables import Jagged, Layout, Table
from embag_edu.beyond.tables_api import Tables

OPTIMIZERS: tuple[Optimizer, ...] = (SGD(0.3), RowWiseAdagrad(0.3), Adam(0.3, betas=(0.8, 0.95)))
TOLERANCE = {"float64": 1e-11, "float32": 1e-4, "float16": 4e-3}


@dataclass(frozen=True)
class Case:
    """Two batches of some tables."""

    name: str
    tables: Sequence[tuple[Any, ...]]  # V, D, readers, mode of each; the last two may be left out
    B: int = 4
    longest: int = 4  # the most positions of a bag; bags of none are among them
    dtype: str = "float64"
    index: str = "int64"
    weights: bool = False  # the first of each batch is 0
    without: Sequence[int] = ()  # features of which all bags are empty


CASES = (
    Case("two tables", [(5, 4), (3, 4)]),
    Case("one table", [(5, 4)]),
    Case("one bag", [(5, 4), (3, 4)], B=1),
    Case("no bag", [(5, 4), (3, 4)], B=0),
    Case("five tables", [(2, 2), (7, 2), (1, 2), (3, 2), (4, 2)], B=3),
    Case("a shared table", [(6, 4, 2), (4, 4)], longest=6),
    Case("two shared tables", [(3, 4, 2), (2, 4, 3)], B=5),
    Case("a shared mean", [(4, 4, 1), (4, 4, 2, "mean")], longest=6),
    Case("means", [(5, 4, 1, "mean"), (3, 4, 1, "mean")], longest=5),
    Case("sum and mean", [(5, 4, 1, "sum"), (3, 4, 1, "mean"), (2, 4)]),
    Case("weights", [(5, 4), (3, 4, 2)], weights=True),
    Case("a feature without positions", [(5, 4), (3, 4), (2, 4)], without=(1,)),
    Case("no position at all", [(5, 4), (3, 4)], without=(0, 1)),
    Case("one number in a row", [(5, 1), (3, 1)]),
    Case("widths", [(5, 4), (3, 8), (2, 4)]),
    Case("widths that fall", [(3, 8), (4, 3, 2), (5, 2)]),
    Case("widths, modes, weights", [(3, 8, 2), (4, 4), (2, 8)], weights=True),
    Case("widths and means", [(3, 4, 2, "mean"), (4, 8), (2, 12, 1, "mean")]),
    Case("float32", [(50, 8, 2), (30, 8, 1, "mean")], B=20, longest=30, dtype="float32"),
    Case("float16", [(5, 8), (3, 8)], dtype="float16"),
    Case("int32 rows", [(5, 4), (3, 4)], index="int32"),
    Case("empty bags", [(5, 4), (3, 4, 1, "mean")], B=12, longest=1),
)
WIDE = (  # more launches than every test needs
    Case("many positions", [(900, 8), (70, 8, 2)], B=300, longest=12, dtype="float32"),
    Case("130 features", [(9, 130), (4, 130, 2)], dtype="float32"),
    Case("26 tables", [(3 + t, 16) for t in range(26)], B=8, dtype="float32"),
    Case("many widths", [(9, D) for D in (64, 32, 4, 128, 32)], B=30, dtype="float32"),
)


def fixed(implementation: str) -> Callable[[Layout, Any], Any]:
    """`make` of an implementation."""

    class Fixed:
        def __init__(self, layout: Layout, flat: Any) -> None:
            tables = Tables(layout, flat=flat)
            for name in ("output", "gradient", "grad_weights", "step"):
                setattr(self, name, partial(getattr(tables, name), implementation=implementation))

    return Fixed


def check_tables(
    make: Callable[[Layout, Any], Any],
    cases: Sequence[Case] = CASES,
    optimizers: Sequence[Optimizer] = OPTIMIZERS,
) -> list[str]:
    """What is wrong: "case: what", each; an empty list if nothing is."""
    found = []
    for seed, case in enumerate(cases):
        said = _judge(make, case, seed)
        for optimizer in optimizers if not said else ():
            of_step = _judge_steps(make, case, seed, replace(optimizer))
            found += [f"{case.name}, {type(optimizer).__name__}: {of_step}"] if of_step else []
        found += [f"{case.name}: {said}"] if said else []
    return found


def layout_of(case: Case) -> Layout:
    """Tables t0, t1, ...; features of each t0.0, t0.1, ..."""
    tables = []
    for t, (V, D, *more) in enumerate(case.tables):
        readers, mode = (*more, 1, "sum")[0], (*more, 1, "sum")[1] if len(more) > 1 else "sum"
        tables.append(Table(f"t{t}", V, D, tuple(f"t{t}.{k}" for k in range(readers)), mode))
    return Layout(tables)


def batch_of(case: Case, layout: Layout, random: np.random.Generator) -> tuple[Jagged, np.ndarray]:
    """The bags, and grad_output (B, W)."""
    lengths = random.integers(0, case.longest + 1, (len(layout.features), case.B))
    lengths[list(case.without)] = 0
    limits = np.repeat(layout.limits[layout.table_of], lengths.sum(1))
    values = random.integers(0, np.maximum(limits * 2 // 3, 1)).astype(case.index)
    weights = random.uniform(0.5, 2, len(values)).astype(case.dtype) if case.weights else None
    if weights is not None:
        weights[:1] = 0
    G = random.standard_normal((case.B, layout.columns[-1])).astype(case.dtype)
    for f, b in np.argwhere(lengths == 0):
        G[b, layout.columns[f] : layout.columns[f + 1]] = np.nan
    return Jagged(values, np.append(0, np.cumsum(lengths)), weights), G


def _flat(layout: Layout, bags: Sequence[Jagged], random: Any, dtype: str) -> np.ndarray:
    """Numbers in the rows that are read, NaN elsewhere."""
    tables = Tables(layout, dtype, np.full(layout.size, np.nan, dtype))
    F = len(layout.features)
    for batch in bags:
        B = (len(batch.offsets) - 1) // F
        for f in range(F if B else 0):
            part = slice(batch.offsets[f * B], batch.offsets[(f + 1) * B])
            table = tables.weight(layout.table_of[f])
            rows = np.unique(batch.values[part])
            table[rows] = random.standard_normal((len(rows), table.shape[1]))
    flat: np.ndarray = tables.flat
    return flat


def _widened(bags: Jagged) -> Jagged:
    """A copy for the oracle."""
    weights = None if bags.weights is None else bags.weights.astype(np.float64)
    return bags._replace(values=bags.values.copy(), weights=weights)


def _judge(make: Any, case: Case, seed: int) -> str:
    """Output and gradients of one batch."""
    random, layout = np.random.default_rng(seed), layout_of(case)
    bags, G = batch_of(case, layout, random)
    flat = _flat(layout, [bags], random, case.dtype)
    mine, true = make(layout, flat), Tables(layout, flat=flat.astype(np.float64))
    wide, exact = G.astype(np.float64), _widened(bags)
    before = [np.copy(array) for array in (flat, G, *bags) if array is not None]
    said = _differs(case.dtype, mine.output(bags), true.output(exact, "loops"), "output")
    found = mine.gradient(bags, G)
    said = said or _differs(case.dtype, found, true.gradient(exact, wide, "loops"), "gradient")
    if bags.weights is not None:
        found, expected = mine.grad_weights(bags, G), true.grad_weights(exact, wide, "loops")
        said = said or _differs(case.dtype, found, expected, "weights' gradient")
    after = [array for array in (flat, G, *bags) if array is not None]
    if any(old.tobytes() != new.tobytes() for old, new in zip(before, after, strict=True)):
        said = said or "an argument was changed"
    return said


def _judge_steps(make: Any, case: Case, seed: int, optimizer: Optimizer) -> str:
    """Two fused steps."""
    random, layout = np.random.default_rng(seed), layout_of(case)
    batches = [batch_of(case, layout, random) for _ in range(2)]
    flat = _flat(layout, [bags for bags, _ in batches], random, case.dtype)
    true = Tables(layout, flat=flat.astype(np.float64))
    mine, state = make(layout, flat), Tables(layout, flat=flat).state(optimizer)
    true_state = true.state(optimizer)
    for number, (bags, G) in enumerate(batches):
        mine.step(bags, G, optimizer, state)
        true.step(_widened(bags), G.astype(np.float64), optimizer, true_state, "loops")
        said = _differs(case.dtype, flat, true.flat, f"after step {number}, flat")
        for one, other in zip(state, true_state, strict=True):
            for name in one.arrays:
                what = f"after step {number}, state {name}"
                said = said or _differs(case.dtype, one.arrays[name], other.arrays[name], what)
            if one.step != other.step:
                said = said or f"step count is {one.step}, not {other.step}"
        if said:
            return said
    return ""


def _differs(dtype: str, mine: Any, true: np.ndarray, what: str) -> str:
    """Where they do, in words; NaN equals NaN only."""
    if np.shape(mine) != true.shape:
        return f"{what} has shape {np.shape(mine)}, not {true.shape}"
    tolerance, mine = TOLERANCE[dtype], mine.astype(np.float64)
    wrong = ~np.isclose(mine, true, tolerance, tolerance, equal_nan=True)
    for place in np.argwhere(wrong)[:1]:
        at = tuple(int(k) for k in place)
        return f"{what}{list(at)} is {mine[at]}, not {true[at]}"
    return ""
