"""Calls to try an implementation on: small ones made by hand, and seeded random ones.

A call is a plain dictionary of arguments under torch's names, with additions: `grad_output`,
the upstream gradient of the backward, and `layout`, which says how arrays lie in memory (so that a
call can be stored, shrunk and sent to another process without losing its strides). A third,
`protocol`, says how the call is made if not simply once: see `embag_edu.check.candidate.PROTOCOLS`;
`before` goes with it, and holds what differs in an earlier call.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arguments = dict[str, Any]

# Torch's names and defaults, in torch's order. A call leaves out what it does not change.
DEFAULTS: Arguments = {
    "offsets": None,
    "max_norm": None,
    "norm_type": 2.0,
    "scale_grad_by_freq": False,
    "mode": "mean",
    "sparse": False,
    "per_sample_weights": None,
    "include_last_offset": False,
    "padding_idx": None,
}

# Every sum of rows of this table can be told from every other by its digits, and no column is the
# mirror of another. Negative numbers come last, for those who start a maximum at zero.
TABLE = [
    [1, 20, 300],
    [2, -40, 600],
    [4, 80, -1200],
    [8, 160, 2400],
    [-16, -320, -4800],
    [-32, -640, -9600],
]


NEVER = 1_000_000  # a version of the table that won't come


@dataclass(frozen=True)
class Case:
    """A named call. `make` returns fresh arguments at each call of it."""

    name: str
    make: Callable[[], Arguments]
    shrinks: bool = False  # random calls are made smaller before they are shown
    large: bool = False  # asked by its own clause only, not by those that hold for every call
    since: int = 1  # of the table: see `embag_edu.check.clauses.VERSION`
    until: int = NEVER


def floats(name: str) -> np.dtype:
    """The dtype of that name; bfloat16 needs the package ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    return np.dtype(name)


def call(
    name: str,
    input: Any,
    offsets: Any = None,
    weight: Any = None,
    *,
    dtype: str = "float32",
    index_dtype: str = "int64",
    offsets_dtype: str | None = None,
    **options: Any,
) -> Case:
    """A case made by hand. Lists become arrays; grad_output is random, from the case's name."""

    def make() -> Arguments:
        table = np.array(TABLE if weight is None else weight, floats(dtype))
        arguments: Arguments = {"input": np.array(input, index_dtype), "weight": table}
        if offsets is not None:
            arguments["offsets"] = np.array(offsets, offsets_dtype or index_dtype)
        arguments.update(options)
        if isinstance(arguments.get("per_sample_weights"), list):
            psw = np.array(arguments["per_sample_weights"], floats(dtype))
            arguments["per_sample_weights"] = psw.reshape(arguments["input"].shape)
        arguments.setdefault("grad_output", upstream(name, arguments))
        if isinstance(arguments["grad_output"], list):
            arguments["grad_output"] = np.array(arguments["grad_output"], floats(dtype))
        if "before" in arguments:
            arguments["before"] = {
                n: np.array(v, arguments[n].dtype) if isinstance(v, list) else v
                for n, v in arguments["before"].items()
            }
        return arguments

    return Case(name, make)


def raw(name: str, **arguments: Any) -> Case:
    """A case with exactly these arguments, for calls that must be refused."""
    return Case(name, lambda: {k: np.copy(v) if _is_array(v) else v for k, v in arguments.items()})


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def upstream(seed: str, arguments: Arguments) -> np.ndarray:
    """A random upstream gradient, (B, D): never ones, which hide which bag and which feature."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    shape = (count_bags(arguments), np.shape(arguments["weight"])[-1])
    values = np.round(rng.normal(size=shape), 2) + np.where(rng.random(shape) < 0.5, 3, -3)
    return values.astype(arguments["weight"].dtype)


def count_bags(arguments: Arguments) -> int:
    """B of a call."""
    if np.ndim(arguments["input"]) == 2:
        return len(arguments["input"])
    return len(arguments["offsets"]) - bool(arguments.get("include_last_offset"))


# ---- random calls ---------------------------------------------------------------------------

WIDTHS = (1, 2, 3, 5, 8, 16, 33, 130)
SKEWS = ("uniform", "zipf", "one hot row")


def random_calls(
    seed: str, count: int, dtypes: Sequence[str] = ("float32",), **fixed: Any
) -> tuple[Case, ...]:
    """`count` seeded random calls, plain ones but for what is in `fixed`.

    fixed: a mode, which is drawn otherwise; True for an option of torch's to have it in every call,
    and for `two_dimensional`, `index_dtype` (int32 too), `layout`, `ties`; or `everything=True` to
    have it drawn by chance which of them a call has, those in `fixed` held.
    """

    def one(number: int) -> Case:
        name = f"random {number} of {seed}"
        return Case(name, lambda: random_arguments(name, dtypes, **fixed), shrinks=True)

    return tuple(one(number) for number in range(count))


def random_arguments(seed: str, dtypes: Sequence[str], **fixed: Any) -> Arguments:
    """One random call. Bags are of uneven length, some empty, and indices are often skewed."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    mode = fixed.get("mode") or str(rng.choice(["sum", "mean", "max"]))
    dtype = floats(str(rng.choice(list(dtypes))))
    rows, width = int(rng.integers(1, 20)), int(rng.choice(WIDTHS))
    rows = rows * 30 if rng.random() < 0.2 else rows  # indices beyond a byte
    if mode == "max" and fixed.get("max_norm"):
        width = max(width, 2)  # a single feature is max_norm in each long row: near-ties, too
    arguments = _random_bags(rng, rows, fixed)
    size = arguments["input"].shape
    arguments["weight"] = _random_values(rng, (rows, width), _wants(rng, fixed, "ties"), dtype)
    arguments["mode"] = mode
    if mode == "sum" and _wants(rng, fixed, "per_sample_weights"):
        arguments["per_sample_weights"] = _random_values(rng, size, False, dtype)
    if _wants(rng, fixed, "padding_idx"):
        used = arguments["input"].ravel()
        row = int(rng.choice(used)) if len(used) else int(rng.integers(rows))
        arguments["padding_idx"] = row - rows if rng.random() < 0.3 else row
    if fixed.get("max_norm"):
        arguments["max_norm"] = _random_norm(rng)
        kinds = [2.0, 1.0, 3.0] if mode == "max" else [2.0, 1.0, 3.0, np.inf]
        arguments["norm_type"] = float(rng.choice(kinds))  # inf would make near-ties for a maximum
    for flag in ("scale_grad_by_freq", "sparse"):
        if fixed.get(flag):
            arguments[flag] = True
    arguments["grad_output"] = _random_values(rng, (count_bags(arguments), width), False, dtype)
    if _wants(rng, fixed, "layout", chance=0.2):
        arguments["layout"] = _random_layout(rng, arguments)
    return arguments


def _wants(rng: np.random.Generator, fixed: Arguments, name: str, chance: float = 0.4) -> bool:
    drawn = rng.random() < chance  # drawn always, so that fixing one option moves no other
    return bool(fixed.get(name, drawn and fixed.get("everything")))


def _random_bags(rng: np.random.Generator, rows: int, fixed: Arguments) -> Arguments:
    bags = int(rng.integers(1, 8)) * (9 if rng.random() < 0.15 else 1)
    index_dtype = str(rng.choice(["int64", "int64", "int32"]))
    if not fixed.get("index_dtype", fixed.get("everything")):
        index_dtype = "int64"
    if _wants(rng, fixed, "two_dimensional", chance=0.25):
        shape: Any = (bags, int(rng.integers(1, 7)))
        return {"input": _random_indices(rng, rows, shape).astype(index_dtype)}
    lengths = rng.geometric(0.3, bags) - 1
    lengths[rng.random(bags) < 0.25] = 0
    if not (lengths.any() or fixed.get("everything")):
        lengths[0] = 1  # a call without a position is a form of its own
    ends = np.cumsum(lengths)
    arguments: Arguments = {
        "input": _random_indices(rng, rows, (int(ends[-1]),)).astype(index_dtype),
        "offsets": (ends - lengths).astype(index_dtype),
    }
    if _wants(rng, fixed, "include_last_offset", chance=0.3):
        arguments["offsets"] = np.append(0, ends).astype(index_dtype)
        arguments["include_last_offset"] = True
    return arguments


def _random_indices(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    skew = rng.choice(SKEWS)
    if skew == "uniform":
        return rng.integers(rows, size=shape)
    if skew == "zipf":
        chances = 1.0 / np.arange(1, rows + 1)
        return rng.choice(rng.permutation(rows), size=shape, p=chances / chances.sum())
    hot = np.full(shape, rng.integers(rows))
    return np.where(rng.random(shape) < 0.8, hot, rng.integers(rows, size=shape))


def _random_values(
    rng: np.random.Generator, shape: tuple[int, ...], ties: bool, dtype: np.dtype
) -> np.ndarray:
    values = rng.integers(-2, 3, shape) if ties else rng.normal(size=shape) * 2
    return np.asarray(values).astype(dtype)


def _random_norm(rng: np.random.Generator) -> float:
    """A max_norm that is nobody's norm: a value on the edge would test luck, not the rule."""
    return float(np.round(rng.uniform(0.5, 1.5), 1) + 0.0123)


def _random_layout(rng: np.random.Generator, arguments: Arguments) -> dict[str, str]:
    names = [n for n in ("input", "weight", "offsets", "per_sample_weights") if n in arguments]
    chosen = [n for n in names if rng.random() < 0.6]
    return {name: "every second" for name in chosen} | {"grad_output": "turned"}


# ---- memory layout --------------------------------------------------------------------------


def laid_out(arguments: Arguments) -> Arguments:
    """Fresh copies of all arrays, with the strides that `layout` asks for, and no `layout`."""
    layout = arguments.get("layout", {})
    return {
        name: _lay(value, layout.get(name, "")) if _is_array(value) else value
        for name, value in arguments.items()
        if name not in ("layout", "protocol", "before")
    }


def _lay(values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "every second":  # the numbers between are wrong ones, not zeros
        spread = np.repeat(values, 2, axis=-1)
        spread[..., 1::2] = values[..., ::-1] if values.dtype.kind in "iu" else 77
        return spread[..., ::2]
    if kind == "turned":
        return np.asfortranarray(values)
    if kind == "expanded":  # one row (or number) shown many times, as torch's expand does
        return np.broadcast_to(values[:1].copy(), values.shape)
    return np.array(values, order="C")
