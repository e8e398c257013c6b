"""The cases that a fused step is checked by, against the loops in float64.

    failures = check_fused(my_step)      # my_step has the signature of `fused_step`

What a step must not read is NaN: rows that no position reads, and the gradient of empty bags. What
it must not change is compared bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from embag_edu.beyond.fused import (
    SGD,
    Adagrad,
    Adam,
    Optimizer,
    RowWiseAdagrad,
)
from embag_edu.beyond.fused_api import fused_step

OPTIMIZERS: tuple[Optimizer, ...] = (
    SGD(0.3),
    Adagrad(0.3),
    RowWiseAdagrad(0.3),
    Adam(0.3, betas=(0.8, 0.95)),
)
TOLERANCE = {"float64": 1e-11, "float32": 1e-4, "float16": 4e-3}


@dataclass(frozen=True)
class Case:
    """Some steps of one table. bags: lists of rows, one batch of bags a step."""

    name: str
    batches: Sequence[Sequence[Sequence[int]]]
    D: int = 4
    dtype: str = "float64"
    options: dict[str, Any] = field(default_factory=dict)
    weights: bool = False  # per_sample_weights; the first of each batch is 0
    lrs: Sequence[float] = ()  # of each step
    change: dict[str, Any] = field(default_factory=dict)  # of the optimizer
    scale: float = 1.0  # of the gradients
    V: int = 12


MIXED = [[2, 5, 2], [], [3, 2], [5, 7, 0, 2]]
OTHER = [[3, 3], [5], [0, 9, 9], []]
LONG = [[row % 3 + 1 for row in range(k, k + 9)] for k in range(0, 1300, 9)]
CASES = (
    Case("sum", [MIXED]),
    Case("a row three times", [[[4, 4], [4]]]),
    Case("mean", [MIXED], options={"mode": "mean"}),
    Case("mean with padding", [MIXED, OTHER], options={"mode": "mean", "padding_idx": 2}),
    Case("padding", [MIXED, OTHER], options={"padding_idx": -7}),
    Case("only padding", [[[5], [5, 5]]], options={"padding_idx": 5}),
    Case("weights", [MIXED, OTHER], weights=True),
    Case("a weight of zero touches its row", [OTHER, [[3], [1]]], weights=True),
    Case("frequency", [MIXED], options={"scale_grad_by_freq": True}),
    Case("frequency and mean", [OTHER], options={"scale_grad_by_freq": True, "mode": "mean"}),
    Case("last offset", [MIXED], options={"include_last_offset": True}),
    Case("no position", [[[], []], MIXED]),
    Case("steps", [MIXED, OTHER, MIXED]),
    Case("another lr each step", [MIXED, OTHER, MIXED], lrs=(0.3, 0.1, 0.7)),
    Case("weight decay", [MIXED, OTHER], change={"weight_decay": 0.25}),
    Case("eps", [MIXED, OTHER], change={"eps": 0.05}, scale=0.1),
    Case("one feature", [MIXED, OTHER], D=1),
    Case("seven features", [MIXED, OTHER], D=7),
    Case("long runs", [LONG], D=8, options={"mode": "mean"}),
    Case("float32", [LONG, MIXED], D=8, dtype="float32", change={"weight_decay": 0.25}),
    Case("float16", [MIXED, OTHER], D=8, dtype="float16"),
)
WIDE = (  # more launches and features than every test needs
    Case("130 features", [MIXED, OTHER], D=130, dtype="float32"),
    Case("300 features", [LONG], D=300, dtype="float32"),
    Case("1,100 features", [MIXED, OTHER], D=1100, dtype="float32"),
    Case("many rows", [[[(7 * k) % 1900, k % 5] for k in range(2000)]], V=2000, dtype="float32"),
)


def check_fused(
    step: Callable[..., Any],
    cases: Sequence[Case] = CASES,
    optimizers: Sequence[Optimizer] = OPTIMIZERS,
) -> list[str]:
    """What is wrong with a step: "case, optimizer: what", each; an empty list if nothing is."""
    found = []
    for number, case in enumerate(cases):
        for optimizer in optimizers:
            if not set(case.change) <= set(vars(optimizer)):
                continue  # SGD has no eps
            said = _judge(step, case, replace(optimizer, **case.change), number)
            found += [f"{case.name}, {type(optimizer).__name__}: {said}"] if said else []
    return found


def _judge(step: Callable[..., Any], case: Case, optimizer: Optimizer, seed: int) -> str:
    """Both take the same steps: the candidate in the case's dtype, the loops in float64."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((case.V, case.D)).astype(case.dtype)
    read = {row for batch in case.batches for bag in batch for row in bag}
    unread = [row for row in range(case.V) if row not in read]
    weight[unread] = np.nan
    oracle = weight.astype(np.float64)
    state, true_state = optimizer.state(weight), optimizer.state(oracle)
    for array in (*state.arrays.values(), *true_state.arrays.values()):
        array[unread] = np.nan
    for number, batch in enumerate(case.batches):
        optimizer.lr = case.lrs[number] if case.lrs else optimizer.lr
        words, G = _call(case, batch, random)
        before = [np.copy(array) for array in (G, *_arrays(words))]
        mine = step(G, weight=weight, **words, optimizer=optimizer, state=state)
        exact = {k: v.astype(np.float64) if k == "per_sample_weights" else v
                 for k, v in words.items()}  # fmt: skip
        wide = G.astype(np.float64)
        true = fused_step(wide, weight=oracle, **exact, optimizer=optimizer, state=true_state)
        pairs = zip(before, (G, *_arrays(words)), strict=True)
        if any(old.tobytes() != new.tobytes() for old, new in pairs):
            return f"step {number} changed an argument that it reads"
        said = _differs(case.dtype, (weight, oracle), ("weight", ""), number)
        for name in optimizer.arrays:
            both = state.arrays[name], true_state.arrays[name]
            said = said or _differs(case.dtype, both, ("state", name), number)
        if true is not None:
            said = said or _differs(case.dtype, (mine, true), ("the weights' gradient", ""), number)
        if said or state.step != true_state.step:
            return said or f"step count is {state.step}, not {true_state.step}"
    return ""


def _call(
    case: Case, batch: Sequence[Sequence[int]], random: np.random.Generator
) -> tuple[dict[str, Any], np.ndarray]:
    """The arguments of one step, and grad_output (B, D)."""
    lengths = [len(bag) for bag in batch]
    ends = np.cumsum([0, *lengths])
    words = {"mode": "sum", **case.options}
    words["input"] = np.array([row for bag in batch for row in bag], np.int64)
    words["offsets"] = ends if case.options.get("include_last_offset") else ends[:-1]
    if case.weights:
        psw = random.uniform(0.5, 2, ends[-1])
        psw[:1] = 0
        words["per_sample_weights"] = psw.astype(case.dtype)
    G = (case.scale * random.standard_normal((len(batch), case.D))).astype(case.dtype)
    G[np.array(lengths) == 0] = np.nan
    return words, G


def _arrays(words: dict[str, Any]) -> list[np.ndarray]:
    return [value for value in words.values() if isinstance(value, np.ndarray)]


def _differs(dtype: str, both: tuple[Any, Any], what: tuple[str, str], number: int) -> str:
    """Where they do, in words. Relative to the truth, and NaN equals NaN only."""
    mine, true = both
    if mine is None or mine.shape != true.shape:
        return f"{' '.join(what)} has not the shape {true.shape}"
    tolerance = TOLERANCE[dtype]
    if np.allclose(mine.astype(np.float64), true, tolerance, tolerance, equal_nan=True):
        return ""
    wrong = ~np.isclose(mine.astype(np.float64), true, tolerance, tolerance, equal_nan=True)
    place = tuple(int(k) for k in np.argwhere(wrong)[0])
    return (
        f"after step {number}, {' '.join(what).strip()}{list(place)} is {mine[place]}, "
        f"not {true[place]}"
    )
