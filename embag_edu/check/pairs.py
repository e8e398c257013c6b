"""Calls that between them hold every pair of options.

A mistake that needs two options at once is not found by clauses that try them one by one. All
combinations would be thousands of calls; all *pairs* fit into some thirty. They are chosen from a
fixed seed, and greedily: of some calls drawn at random, the next one is that which holds most of
the pairs that no call before it holds.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from embag_edu.check.cases import Case, call

CHOICES: dict[str, tuple[Any, ...]] = {
    "form": ("offsets", "with the end", "2-D"),
    "mode": ("sum", "mean", "max", "weighted"),
    "padding_idx": (None, 0, 5, -1, -6, 2),
    "max_norm": (None, 2.0, 1.0, 3.0),  # with this norm_type
    "gradient": ("dense", "sparse", "by frequency"),
    "dtype": ("float32", "float64"),
    "index_dtype": ("int64", "int32"),
    "layout": ("contiguous", "every second", "turned"),
    "D": (1, 3, 4),
}
Choice = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]
DRAWN = 30  # choices from which the next is taken
SEED = 1


def is_valid(choice: Choice) -> bool:
    """Mode max has a dense gradient only, without frequencies."""
    return bool(choice["mode"] != "max" or choice["gradient"] == "dense")


def pairs_of(choice: Choice) -> set[Pair]:
    """Every two options of a choice, with their values."""
    return set(itertools.combinations(choice.items(), 2))


def all_pairs() -> set[Pair]:
    """Every two options that a valid call can have."""
    found = {
        ((a, one), (b, other))
        for a, b in itertools.combinations(CHOICES, 2)
        for one in CHOICES[a]
        for other in CHOICES[b]
    }
    return {pair for pair in found if is_valid({"mode": "sum", "gradient": "dense"} | dict(pair))}


@functools.cache
def choices() -> tuple[Choice, ...]:
    """As many as it takes to hold all pairs."""
    rng, missing, chosen = np.random.default_rng(SEED), all_pairs(), []
    while missing:
        wanted = dict(min(missing, key=str))
        drawn = [wanted_first(wanted, rng) for _ in range(DRAWN)]
        best = max(filter(is_valid, drawn), key=lambda choice: len(pairs_of(choice) & missing))
        missing -= pairs_of(best)
        chosen.append(best)
    return tuple(chosen)


def wanted_first(wanted: Choice, rng: np.random.Generator) -> Choice:
    """A random choice that has what is wanted."""
    drawn = {name: values[rng.integers(len(values))] for name, values in CHOICES.items()}
    return drawn | wanted


def case_of(choice: Choice) -> Case:
    """The call: six rows, five bags, one of them empty, row 0 and row 5 among others."""
    weight = np.round(np.random.default_rng(2).normal(size=(6, choice["D"])) * 3, 2)
    options: dict[str, Any] = {
        "mode": "sum" if choice["mode"] == "weighted" else choice["mode"],
        "dtype": choice["dtype"],
        "index_dtype": choice["index_dtype"],
    }
    input: Any = [0, 5, 1, 2, 0, 5, 5, 3, 2, 0, 4, 2]
    if choice["form"] == "2-D":
        input = np.reshape(input, (4, 3))
    else:
        options["offsets"] = [0, 3, 3, 7, 8]
    if choice["form"] == "with the end":
        options |= {"offsets": [*options["offsets"], 12], "include_last_offset": True}
    if choice["mode"] == "weighted":
        options["per_sample_weights"] = [2, -1, 0.5, 3, -2, 4, 1.5, -3, 0.25, 5, -0.5, 6]
    if choice["padding_idx"] is not None:
        options["padding_idx"] = choice["padding_idx"]
    if choice["max_norm"] is not None:
        options |= {"max_norm": 1.2345, "norm_type": choice["max_norm"]}
    options |= {"sparse": {"sparse": True}, "by frequency": {"scale_grad_by_freq": True}}.get(
        choice["gradient"], {}
    )
    if choice["layout"] != "contiguous":
        names = ("input", "weight", "offsets", "per_sample_weights", "grad_output")
        options["layout"] = dict.fromkeys(names, choice["layout"])
    name = ", ".join(f"{k} {v}" for k, v in choice.items() if v is not None)
    return call(name, input, weight=weight, **options)
