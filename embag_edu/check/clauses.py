"""The conformance table: every clause of the operator's meaning, and the calls that stand for it.

A clause has a name, a sentence, the section of the specification that it comes from, the part of a
call's outcome that it looks at, and cases. Each clause looks at one part only, so that a fault
makes the clauses fail that name it and leaves the others alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embag_edu.check import edges
from embag_edu.check.cases import NEVER, TABLE, Case, call, random_calls, raw
from embag_edu.check.edges import INF, MODES, NAN, Row
from embag_edu.check.refusals import REFUSALS
from embag_edu.text import Short

# The version of this table. No verdict may change under somebody: whoever adds a clause or a
# case, or takes one out, makes VERSION one larger, sets `since` or `until` to it, and names the
# clause in CHANGELOG.md. A changed case, or tolerance, is an old case taken out and a new one.
VERSION = 1
FLOATS16 = ("float16", "bfloat16")
STOPS = {"float16": 2500, "bfloat16": 600}  # a sum of so many ones stops before, if kept in 16 bits


@dataclass(frozen=True)
class Clause:
    """One rule about EmbeddingBag, in a sentence, with the calls that try it."""

    name: str
    rule: str
    source: str  # where the rule is stated
    part: str  # what is looked at: see `embag_edu.check.oracle.judge`
    cases: tuple[Case, ...]
    since: int = 1  # the first version of the table that has it
    until: int = NEVER  # the first that has it no more

    @property
    def needs_gradients(self) -> bool:
        """Whether the oracle's gradients, or what its backward refuses, are looked at."""
        return self.part.startswith("grad") or self.part == "refused"

    @property
    def needs_backward(self) -> bool:
        """Whether a function without gradients can be asked."""
        of_output = ".backward" in self.name or "with_gradients" in self.name
        return of_output or self.part.startswith("grad")

    @property
    def for_every_call(self) -> bool:
        """Whether it is about what no call may do, whatever the call is for."""
        return self.name.startswith("always") and self.part != "untouched"

    @property
    def needs(self) -> frozenset[str]:
        """What a promise must hold for this clause to be asked, whichever the call."""
        refusals = {"refusals"} if self.part in ("refused", "untouched") else set()
        return frozenset(refusals | ({"gradients"} if self.needs_backward else set()))

    @property
    def for_torch(self) -> bool:
        """Whether it is about autograd, which arrays do not have."""
        return self.name.startswith("autograd")


@functools.cache
def all_clauses() -> tuple[Clause, ...]:
    """All clauses, in the order in which an implementation is best built."""
    groups = (
        _forward, _layouts, _padding, _weights, _max_norm, _numbers, _backward,
        _backward_weights, _sparse, edges.rows, _refusals,
    )  # fmt: skip
    table = [_clause(*row) for group in groups for row in group()]
    return (*table, *(_clause(*row) for row in _always(table)))


class UnknownClause(Short, ValueError):
    """There is no clause and no group of that name."""


def of_version(version: int, clauses: Iterable[Clause] | None = None) -> tuple[Clause, ...]:
    """The clauses and cases that the table had in a version: 1 to VERSION.

    Raises UnknownClause where there was no such version.
    """
    if version not in range(1, VERSION + 1):
        raise UnknownClause(f"the table has the versions 1 to {VERSION}; found {version}")

    def there(what: Clause | Case) -> bool:
        return what.since <= version < what.until

    kept = [clause for clause in clauses or all_clauses() if there(clause)]
    return tuple(
        c if all(map(there, c.cases)) else replace(c, cases=tuple(filter(there, c.cases)))
        for c in kept
    )


def find(only: str | Iterable[str] | None, version: int = VERSION) -> tuple[Clause, ...]:
    """The clauses of that name or below it: "forward" finds "forward.sum" and all others.

    only: one name, or several; None finds all. They come in the order of the table.
    version: of the table.
    """
    table = of_version(version)
    if only is None:
        return table
    names = [only] if isinstance(only, str) else list(only)
    found = {name: [c for c in table if f"{c.name}.".startswith(f"{name}.")] for name in names}
    for pattern in (name for name in names if not found[name]):
        groups = sorted({c.name.split(".")[0] for c in table})
        raise UnknownClause(
            f"there is no clause {pattern!r}. Groups: {', '.join(groups)}. "
            "`python -m embag_edu check --list` shows all names"
        )
    return tuple(c for c in table if any(c in clauses for clauses in found.values()))


def _clause(name: str, rule: str, source: str, part: str, cases: Iterable[Any]) -> Clause:
    """Of a row; among its cases may be lists of cases."""
    flat = [c for case in cases for c in ([case] if isinstance(case, Case) else case)]
    return Clause(name, rule, source, part, tuple(flat))


# ---- forward --------------------------------------------------------------------------------


def _forward() -> list[Row]:
    return [
        ("forward.sum", "Mode sum adds up the rows of each bag.", "spec 1", "output", [
            call("one bag of two rows", [0, 2], [0], mode="sum"),
            call("two bags", [0, 1, 3, 2], [0, 3], mode="sum"),
            call("bags of one row each", [4, 0, 2], [0, 1, 2], mode="sum"),
            random_calls("sum", 8, mode="sum"),
        ]),
        ("forward.sum.repeated_row", "A row that occurs k times in a bag counts k times.",
         "spec 1", "output", [
            call("the same row three times", [1, 1, 1], [0], mode="sum"),
            call("repeated and not adjacent", [3, 0, 3, 1, 3], [0, 4], mode="sum"),
        ]),
        ("forward.sum.nan_and_inf",
         "NaN and infinity in a row reach every bag that holds the row, and no other.",
         "spec 1", "output", [
            call("a NaN row in one of two bags", [0, 1, 2, 0], [0, 2], [[1, 2], [NAN, 3], [INF, 4]],
                 mode="sum"),
            call("inf minus inf is NaN", [0, 1], [0], [[INF, 1], [-INF, 1]], mode="sum"),
        ]),
        ("forward.mean", "Mode mean divides the sum of a bag by the number of its positions.",
         "spec 1", "output", [
            call("mean of two rows", [0, 2], [0], mode="mean"),
            call("bags of 3 and 1", [0, 1, 3, 2], [0, 3], mode="mean"),
            call("a repeated row counts in the number too", [1, 1, 4], [0], mode="mean"),
            random_calls("mean", 8, mode="mean"),
        ]),
        ("forward.mean.is_the_default", "Without a mode, the mode is mean.",
         "spec 2", "output", [call("no mode given", [0, 1, 3, 2], [0, 3])]),
        ("forward.max", "Mode max takes the largest value of each feature over the rows of a bag.",
         "spec 1", "output", [
            call("max of two rows", [1, 2], [0], mode="max"),
            call("features won by different rows", [0, 4, 3, 2], [0, 2], mode="max"),
            random_calls("max", 8, mode="max"),
        ]),
        ("forward.max.negative",
         "A maximum of negative values is negative: it does not start at zero.",
         "spec 5", "output", [
            call("only negative rows", [4, 5], [0], mode="max"),
            call("one negative row in each bag", [5, 4], [0, 1], mode="max"),
        ]),
        ("forward.max.neg_inf",
         "A row of -inf is a value like any other: its bag is not an empty bag.",
         "spec 5", "output", [
            call("-inf alone", [0], [0], [[-INF, -INF]], mode="max"),
            call("-inf and a number", [0, 1], [0], [[-INF, 1], [-5, -INF]], mode="max"),
        ]),
        ("forward.max.nan_first",
         "A NaN that comes first in its bag stays: nothing is larger than a NaN.",
         "spec 5", "output", [
            call("NaN first", [1, 0], [0], [[1, 2], [NAN, 3]], mode="max"),
            call("NaN alone", [1], [0], [[1, 2], [NAN, 3]], mode="max"),
        ]),
        ("forward.max.nan_later",
         "A NaN that comes later is passed over (torch.max would return it).",
         "spec 5, 12", "output", [
            call("NaN second", [0, 1], [0], [[1, 2], [NAN, 3]], mode="max"),
            call("NaN in the middle", [0, 1, 2], [0], [[1, 2], [NAN, NAN], [0, 5]], mode="max"),
        ]),
    ]  # fmt: skip


def _layouts() -> list[Row]:
    return [
        ("bags.empty", "An empty bag gives a row of zeros in every mode, wherever it stands.",
         "spec 1", "output", [
            [call(f"between two full bags, {m}", [1, 5], [0, 1, 1], mode=m) for m in MODES],
            [call(f"first, {m}", [1, 5], [0, 0, 1], mode=m) for m in MODES],
            [call(f"last, {m}", [4, 5], [0, 1, 2], mode=m) for m in MODES],
            [call(f"several in a row, {m}", [4], [0, 0, 0, 1, 1], mode=m) for m in MODES],
            [call(f"all of them, {m}", [], [0, 0, 0], mode=m) for m in MODES],
        ]),
        ("bags.offsets", "offsets are the starts of the bags; the last bag ends with the input.",
         "spec 2", "output", [
            [call(f"lengths 1, 3, 2, {m}", [0, 1, 2, 3, 4, 5], [0, 1, 4], mode=m) for m in MODES],
            call("one bag of everything", [5, 4, 3, 2, 1, 0], [0], mode="sum"),
        ]),
        ("bags.include_last_offset",
         "With include_last_offset, offsets has B + 1 entries and the output B rows.",
         "spec 2", "output", [
            [call(m, [0, 1, 2, 3], [0, 1, 4], mode=m, include_last_offset=True) for m in MODES],
            call("last bag empty", [0, 1], [0, 2, 2], mode="sum", include_last_offset=True),
            random_calls("include_last_offset", 6, include_last_offset=True),
        ]),
        ("bags.two_dimensional", "A 2-D input (B, L) is B bags of L positions.",
         "spec 2", "output", [
            [call(f"2 bags of 3, {m}", [[0, 1, 2], [3, 4, 5]], mode=m) for m in MODES],
            [call(f"3 bags of 1, {m}", [[4], [1], [0]], mode=m) for m in MODES],
            random_calls("two_dimensional", 6, two_dimensional=True),
        ]),
        ("bags.two_dimensional.include_last_offset",
         "A 2-D input takes no notice of include_last_offset.", "spec 2", "output", [
            call("2 bags of 3", [[0, 1, 2], [3, 4, 5]], mode="sum", include_last_offset=True),
        ]),
        ("bags.nothing",
         "No bags, no positions, no features and no rows give arrays of size zero, or zeros.",
         "spec 2, 5", "output", [
            call("no position and no bag", [], [], mode="sum"),
            call("no bag, offsets with the end", [], [0], mode="sum", include_last_offset=True),
            call("2-D input of no row", np.zeros((0, 3)), mode="mean"),
            call("no features", [0, 1], [0, 1], np.zeros((2, 0)), mode="sum"),
            call("no features, max", [0, 1], [0], np.zeros((2, 0)), mode="max"),
            call("an empty table", [], [0, 0], np.zeros((0, 3)), mode="mean"),
        ]),
        ("bags.index_dtypes",
         "input and offsets are int32 or int64, in any mix; small offsets are promoted.",
         "spec 2, 12", "output", [
            call("both int32", [3, 1, 2], [0, 2], mode="sum", index_dtype="int32"),
            call("int32 input", [3, 1], [0, 1], index_dtype="int32", offsets_dtype="int64"),
            call("int32 offsets", [3, 1], [0, 1], index_dtype="int64", offsets_dtype="int32"),
            call("int16 offsets", [3, 1], [0, 1], index_dtype="int64", offsets_dtype="int16"),
            call("2-D int32", [[3, 1], [2, 2]], mode="max", index_dtype="int32"),
        ]),
        ("bags.strides", "Arrays may have any strides.", "spec 2", "output", [
            call("weight", [3, 1, 2], [0, 2], mode="sum", layout={"weight": "every second"}),
            call("weight, turned", [3, 1, 2], [0, 2], mode="max", layout={"weight": "turned"}),
            call("input", [3, 1, 2], [0, 2], mode="mean", layout={"input": "every second"}),
            call("2-D input", [[3, 1, 2], [0, 4, 5]], mode="sum", layout={"input": "turned"}),
            call("offsets", [3, 1, 2], [0, 1, 2], mode="sum", layout={"offsets": "every second"}),
            call("per_sample_weights", [3, 1, 2], [0, 2], mode="sum",
                 per_sample_weights=[0.5, -2, 4], layout={"per_sample_weights": "every second"}),
            random_calls("strides", 6, layout=True),
        ]),
        ("bags.old_order", "The deprecated order embedding_bag(weight, input) is still understood.",
         "spec 2", "output", [
            raw("weight first", input=np.array(TABLE, np.float32),
                weight=np.array([[0, 1], [2, 3]]), mode="sum"),
        ]),
    ]  # fmt: skip


def _padding() -> list[Row]:
    poison = [[1, 20], [2, 40], [NAN, INF], [4, 80]]
    return [
        ("padding.sum", "Positions that hold padding_idx add nothing to a sum.",
         "spec 5", "output", [
            call("one of three", [0, 2, 1], [0], mode="sum", padding_idx=2),
            call("row 0 is padding", [0, 3, 0, 1], [0, 2], mode="sum", padding_idx=0),
            call("2-D", [[0, 1, 5], [2, 5, 5]], mode="sum", padding_idx=5),
            random_calls("padding, sum", 6, mode="sum", padding_idx=True),
        ]),
        ("padding.mean",
         "Positions that hold padding_idx do not count in the mean's number either.",
         "spec 5", "output", [
            call("one of three", [0, 2, 1], [0], mode="mean", padding_idx=2),
            call("row 0 is padding", [0, 3, 0, 1], [0, 2], mode="mean", padding_idx=0),
            call("2-D", [[0, 1, 5], [2, 5, 5]], mode="mean", padding_idx=5),
            random_calls("padding, mean", 6, mode="mean", padding_idx=True),
        ]),
        ("padding.max", "Positions that hold padding_idx can't win a maximum.",
         "spec 5", "output", [
            call("the largest row is padding", [0, 3, 1], [0], mode="max", padding_idx=3),
            call("all others are negative", [4, 0, 5], [0], mode="max", padding_idx=0),
            random_calls("padding, max", 6, mode="max", padding_idx=True),
        ]),
        ("padding.negative", "A negative padding_idx counts from the end of the table.",
         "spec 5", "output", [
            call("-1 is the last row", [0, 5, 1], [0], mode="sum", padding_idx=-1),
            call("-6 is row 0 of 6", [0, 5, 1], [0], mode="mean", padding_idx=-6),
        ]),
        ("padding.only", "A bag of padding only gives zeros in every mode.",
         "spec 5", "output", [[call(m, [2, 2, 0], [0, 2], mode=m, padding_idx=2) for m in MODES]]),
        ("padding.poison", "NaN and infinity in the padding row leak nowhere.",
         "spec 5", "output", [
            [call(m, [0, 2, 1, 2], [0, 3], poison, mode=m, padding_idx=2) for m in MODES],
        ]),
    ]  # fmt: skip


def _weights() -> list[Row]:
    return [
        ("weights.sum", "per_sample_weights multiply the row of each position before it is added.",
         "spec 1", "output", [
            call("two bags", [0, 1, 2], [0, 2], mode="sum", per_sample_weights=[2, -1, 0.5]),
            call("zero weight", [0, 1], [0], mode="sum", per_sample_weights=[0, 3]),
            call("same row twice", [1, 1], [0], mode="sum", per_sample_weights=[2, 5]),
            random_calls("weights", 8, mode="sum", per_sample_weights=True),
        ]),
        ("weights.two_dimensional", "With a 2-D input, per_sample_weights is 2-D too.",
         "spec 2", "output", [
            call("2 by 2", [[0, 1], [2, 3]], mode="sum", per_sample_weights=[2, -1, 0.5, 4]),
            call("one row", [[0, 1, 2]], mode="sum", per_sample_weights=[2, -1, 0.5]),
        ]),
        ("weights.padding",
         "The weight of a padding position is not looked at, NaN and infinity included.",
         "spec 5", "output", [
            call("NaN weight at padding", [0, 2, 1, 2], [0, 2], mode="sum",
                 per_sample_weights=[2, NAN, 3, INF], padding_idx=2),
        ]),
    ]  # fmt: skip


def _max_norm() -> list[Row]:
    pythagoras = [[3, 4], [0.3, 0.4], [-6, 8], [5, 12]]
    return [
        ("max_norm.output", "Rows longer than max_norm are rescaled before they are read.",
         "spec 6", "output", [
            call("[3, 4] to length 1", [0, 1], [0], pythagoras, mode="sum", max_norm=1.0),
            random_calls("max_norm", 8, max_norm=True),
        ]),
        ("max_norm.in_place",
         "The rescaled rows stay in weight: exactly the rows that occur and are too long.",
         "spec 6", "table", [
            call("rows 0 and 1 of 4", [0, 1], [0], pythagoras, mode="sum", max_norm=1.0),
            call("each row once", [2, 2, 0, 2], [0], pythagoras, mode="mean", max_norm=1.0),
            call("max", [3, 2], [0], pythagoras, mode="max", max_norm=2.0),
            random_calls("max_norm in place", 8, max_norm=True),
        ]),
        ("max_norm.formula",
         "The scale is max_norm / (norm + 1e-7): [3, 4] ends a little below length 1.",
         "spec 6", "table", [
            call("float64", [0], [0], pythagoras, mode="sum", max_norm=1.0, dtype="float64"),
            call("short rows", [0], [0], [[3e-6, 4e-6]], max_norm=1e-6, dtype="float64"),
        ]),
        ("max_norm.large",
         "The norm of a row of large numbers is right, though its squares overflow.",
         "spec 6", "table", [
            call("3e20 and 4e20", [0], [0], [[3e20, 4e20]], mode="sum", max_norm=1.0),
        ]),
        ("max_norm.edge", "A row exactly as long as max_norm stays as it is.", "spec 6", "table", [
            call("5 of 5", [0, 2], [0], pythagoras, mode="sum", max_norm=5.0, dtype="float64"),
        ]),
        ("max_norm.padding_row", "A padding row that occurs is rescaled too.", "spec 6", "table", [
            call("padding", [2, 1], [0], pythagoras, mode="sum", max_norm=1.0, padding_idx=2),
        ]),
        ("max_norm.norm_type",
         "norm_type p is any number: inf, 1, 3, 0.5, 0 (non-zeros) and negative ones too.",
         "spec 6", "table", [
            [call(f"p = {p}", [0, 1, 2, 3], [0], pythagoras, max_norm=1.23, norm_type=p)
             for p in (1.0, 3.0, INF, 0.5)],
            [call(f"p = {p}", [0, 1], [0], [[3, 4, 8], [0, 5, 0]], max_norm=1.5, norm_type=p)
             for p in (0.0, -INF, -1.0)],
        ]),
        ("max_norm.special",
         "max_norm 0 gives zeros, a negative one turns rows round; NaN and inf never act.",
         "spec 6", "table", [
            [call(f"max_norm = {n}", [0, 1], [0], pythagoras, mode="sum", max_norm=n)
             for n in (0.0, -1.0, NAN, INF)],
            call("a NaN in a row", [0], [0], [[NAN, 9]], mode="sum", max_norm=1.0),
        ]),
    ]  # fmt: skip


def _numbers() -> list[Row]:
    long: dict[str, Any] = {"weight": [[1.0, 0.25], [3.0, -0.5]], "mode": "sum"}
    return [
        ("numbers.float64", "float64 is computed in float64.", "spec 7", "output", [
            call("a third", [0, 1], [0], [[1 / 3], [1e-9]], mode="sum", dtype="float64"),
            random_calls("float64", 6, ("float64",)),
        ]),
        *((f"numbers.{dtype}", f"{dtype} is added up in float32 and rounded once, at the end.",
           "spec 7, 14", "output", [
              call("many small numbers", [0] * STOPS[dtype] + [1], [0], dtype=dtype, **long),
              call("1 and 300 thirds", [0] + [1] * 300, [0], [[1.0], [1 / 3]], dtype=dtype),
              random_calls(dtype, 12, (dtype,)),
          ]) for dtype in FLOATS16),
        ("numbers.long_bag",
         "A long bag keeps float32 accuracy: the error stays within n roundings.",
         "spec 7", "output", [
            call("3001 rows", [0, 1] * 1500 + [0], [0], [[0.1, -7], [0.3, 7]], mode="sum"),
            call("mean", [0, 1] * 1500 + [0], [0], [[0.1, -7], [0.3, 7]], mode="mean"),
        ]),
    ]  # fmt: skip


# ---- backward -------------------------------------------------------------------------------


def _backward() -> list[Row]:
    freq: dict[str, Any] = {"scale_grad_by_freq": True}
    return [
        ("backward.sum", "Each position hands the upstream gradient of its own bag to its row.",
         "spec 1", "grad_weight", [
            call("two bags", [0, 1, 3, 2], [0, 3], mode="sum"),
            call("three bags of one", [4, 0, 2], [0, 1, 2], mode="sum"),
            random_calls("backward, sum", 8, mode="sum"),
        ]),
        ("backward.mean",
         "In mode mean, the gradient is divided by the number of positions of the bag.",
         "spec 1", "grad_weight", [
            call("bags of 3 and 1", [0, 1, 3, 2], [0, 3], mode="mean"),
            random_calls("backward, mean", 8, mode="mean"),
        ]),
        ("backward.repeated_row",
         "A row that occurs in several positions gets the sum of their gradients.",
         "spec 1", "grad_weight", [
            call("twice in one bag", [1, 1, 0], [0], mode="sum"),
            call("in two bags", [1, 0, 1, 1], [0, 2], mode="mean"),
            call("one row everywhere", [3] * 9, [0, 2, 2, 5], mode="sum"),
        ]),
        ("backward.untouched_rows", "Rows that do not occur get a gradient of exactly zero.",
         "spec 1", "grad_weight", [
            [call(f"one row of six, {m}", [2], [0], mode=m) for m in MODES],
            [call(f"no position at all, {m}", [], [0, 0], mode=m) for m in MODES],
        ]),
        ("backward.empty_bags", "Empty bags pass no gradient, in every mode.",
         "spec 1", "grad_weight", [
            [call(f"first, middle and last, {m}", [1, 5], [0, 0, 1, 1, 2], mode=m) for m in MODES],
        ]),
        ("backward.include_last_offset",
         "include_last_offset and 2-D inputs change the form of a call, not its gradient.",
         "spec 2", "grad_weight", [
            [call(m, [0, 1, 1, 3], [0, 1, 4], mode=m, include_last_offset=True) for m in MODES],
            [call(f"2-D, {m}", [[0, 1, 1], [3, 0, 5]], mode=m) for m in MODES],
            random_calls("backward, 2-D", 6, two_dimensional=True),
        ]),
        ("backward.nan_and_inf",
         "NaN and infinity in grad_output reach the rows of their bag, and no other.",
         "spec 1", "grad_weight", [
            [call(f"NaN and inf, {m}", [0, 1, 2], [0, 1, 1], mode=m,
                  grad_output=[[1, 2, 3], [NAN, NAN, NAN], [INF, 5, NAN]])
             for m in ("sum", "mean")],
        ]),
        ("backward.strides", "grad_output may have any strides.", "spec 10", "grad_weight", [
            call("turned", [0, 1, 1], [0, 2], mode="sum", layout={"grad_output": "turned"}),
            call("one row expanded", [0, 1, 1], [0, 2], mode="mean",
                 grad_output=[[1, -2, 3], [1, -2, 3]], layout={"grad_output": "expanded"}),
            random_calls("backward, strides", 6, layout=True),
        ]),
        *((f"backward.{dtype}", f"{dtype} gradients are added up in float32 and rounded once.",
           "spec 7, 14", "grad_weight", [
              call("many times", [0] * STOPS[dtype], [0], [[1.0]], mode="sum", dtype=dtype),
              random_calls(f"backward, {dtype}", 10, (dtype,)),
          ]) for dtype in FLOATS16),
        ("backward.padding",
         "The padding row's gradient is zero, and the mean is divided without it.",
         "spec 5", "grad_weight", [
            [call(m, [0, 2, 1, 2, 2], [0, 3], mode=m, padding_idx=2) for m in MODES],
            [call(f"2-D, {m}", [[0, 5, 1], [5, 5, 5]], mode=m, padding_idx=-1) for m in MODES],
            random_calls("backward, padding", 9, padding_idx=True),
        ]),
        ("backward.padding.nan", "NaN in grad_output at a bag of padding only reaches nothing.",
         "spec 5", "grad_weight", [
            [call(m, [2, 2, 0], [0, 2], mode=m, padding_idx=2,
                  grad_output=[[NAN, INF, NAN], [1, 2, 3]]) for m in MODES],
        ]),
        ("backward.weights",
         "The gradient of a row is multiplied by the weight of each of its positions.",
         "spec 1", "grad_weight", [
            call("two bags", [0, 1, 1], [0, 2], mode="sum", per_sample_weights=[2, -1, 0.5]),
            random_calls("backward, weights", 8, mode="sum", per_sample_weights=True),
        ]),
        ("backward.frequency",
         "scale_grad_by_freq divides a row's gradient by its count in the whole input.",
         "spec 1, 5", "grad_weight", [
            call("counts 2 and 1", [0, 0, 3], [0, 1], mode="sum", **freq),
            call("counts over two bags", [1, 0, 1, 1], [0, 2], mode="mean", **freq),
            call("all counts equal", [1, 0, 1, 0], [0, 3], mode="sum", **freq),
            random_calls("frequency", 6, mode="sum", **freq),
            random_calls("frequency, mean", 4, mode="mean", **freq),
        ]),
        ("backward.frequency.padding",
         "Padding counts for the padding row only: it changes no other row's count.",
         "spec 5", "grad_weight", [
            call("padding first", [0, 0, 1, 2], [0], mode="sum", padding_idx=0, **freq),
            random_calls("frequency, padding", 4, mode="mean", padding_idx=True, **freq),
        ]),
        ("backward.max_norm", "The gradient takes no notice of max_norm's rescaling.",
         "spec 6", "grad_weight", [
            call("sum", [0, 1], [0], [[3, 4], [0.3, 0.4]], mode="sum", max_norm=1.0),
            call("max", [0, 1], [0], [[3, 4], [0.3, 4.4]], mode="max", max_norm=1.0),
        ]),
        ("backward.max",
         "In mode max, the gradient of each feature goes to the one row that won it.",
         "spec 1", "grad_weight", [
            call("won by different rows", [0, 4, 3, 2], [0, 2], mode="max"),
            random_calls("backward, max", 8, mode="max", ties=False),
        ]),
        ("backward.max.ties", "Ties go to the first position of the bag, whole.",
         "spec 5", "grad_weight", [
            call("two rows alike", [1, 0], [0], [[1, 2], [1, 2]], mode="max"),
            call("0.0 and -0.0 tie", [1, 0], [0], [[0.0], [-0.0]], mode="max"),
            random_calls("ties", 8, mode="max", ties=True),
        ]),
        ("backward.max.repeated_row",
         "A winning row that occurs twice in its bag gets the gradient once.",
         "spec 5", "grad_weight", [
            call("twice", [3, 3, 0], [0], mode="max"),
            call("in two bags", [3, 0, 3, 1], [0, 2], mode="max"),
        ]),
        ("backward.max.empty_bags",
         "Where nobody won, nobody gets a gradient: row 0 does not, nor does the padding row.",
         "spec 5, 8", "grad_weight", [
            call("an empty bag", [1], [0, 0], mode="max"),
            call("padding only", [2, 2, 1], [0, 2], mode="max", padding_idx=2),
        ]),
        ("backward.max.nan", "The winner of the first-NaN rule gets the gradient.",
         "spec 5", "grad_weight", [
            call("NaN first", [1, 0], [0], [[1, 2], [NAN, 3]], mode="max"),
            call("NaN later", [0, 1], [0], [[1, 2], [NAN, 3]], mode="max"),
            call("-inf only", [1, 0], [0], [[-INF], [-INF]], mode="max"),
        ]),
    ]  # fmt: skip


def _backward_weights() -> list[Row]:
    psw: dict[str, Any] = {"mode": "sum", "per_sample_weights": [2, -1, 0.5, 3]}
    return [
        ("backward.psw",
         "The gradient of a per_sample_weight is grad_output of its bag, dotted with its row.",
         "spec 1", "grad_psw", [
            call("two bags", [0, 1, 1, 4], [0, 3], **psw),
            call("empty bag between", [0, 1, 1, 4], [0, 2, 2], **psw),
            call("2-D", [[0, 1], [3, 4]], **psw),
            random_calls("psw", 8, mode="sum", per_sample_weights=True),
        ]),
        ("backward.psw.padding", "At a padding position it is exactly zero.",
         "spec 5", "grad_psw", [
            call("padding", [0, 2, 1, 2], [0, 3], padding_idx=2, **psw),
            random_calls("psw, padding", 6, mode="sum", per_sample_weights=True, padding_idx=True),
        ]),
        ("backward.psw.frequency", "It is never divided by the row's count.",
         "spec 1", "grad_psw", [
            call("repeated row", [0, 1, 1, 1], [0, 3], scale_grad_by_freq=True, **psw),
        ]),
        ("backward.psw.max_norm", "It uses the rescaled rows.",
         "spec 6", "grad_psw", [call("rescaled", [0, 1, 1, 4], [0, 3], max_norm=10.0, **psw)]),
    ]  # fmt: skip


def _sparse() -> list[Row]:
    sparse: dict[str, Any] = {"sparse": True}
    return [
        ("sparse.sum",
         "A sparse gradient has one entry per position, in order, repeated rows not added up.",
         "spec 5", "grad_weight", [
            call("repeated rows", [3, 1, 3, 0], [0, 2], mode="sum", **sparse),
            call("int32 input, int64 indices", [3, 1], [0], index_dtype="int32", **sparse),
            random_calls("sparse, sum", 6, mode="sum", **sparse),
        ]),
        ("sparse.mean",
         "Its values are divided by the number of positions, or multiplied by the weights.",
         "spec 5, 7", "grad_weight", [
            call("mean", [3, 1, 3, 0], [0, 3], mode="mean", **sparse),
            call("weights", [3, 1], [0], mode="sum", per_sample_weights=[2, -3], **sparse),
            random_calls("sparse, mean", 6, mode="mean", **sparse),
        ]),
        ("sparse.padding", "Padding positions have no entry.", "spec 5", "grad_weight", [
            call("mean", [3, 1, 3, 0], [0, 3], mode="mean", padding_idx=3, **sparse),
            random_calls("sparse, padding", 6, mode="sum", padding_idx=True, **sparse),
        ]),
        ("sparse.nothing",
         "Where nothing is left there are no entries: indices (1, 0), values (0, D).",
         "spec 5", "grad_weight", [
            call("no positions", [], [0, 0], mode="sum", **sparse),
            call("only padding", [2, 2], [0], mode="mean", padding_idx=2, **sparse),
            call("no features", [0, 1], [0], np.zeros((2, 0)), mode="sum", **sparse),
        ]),
    ]  # fmt: skip


# ---- refusals -------------------------------------------------------------------------------


def _refusals() -> list[Row]:
    """Of the forward, in the order of the checks; then the one of the backward."""
    table: list[Row] = [
        (f"errors.{refusal.name}", refusal.rule, refusal.source, "refused",
         [raw(case, **refusal.arguments(case)) for case in refusal.calls])
        for refusal in REFUSALS
    ]  # fmt: skip
    both: dict[str, Any] = {"sparse": True, "scale_grad_by_freq": True}
    return [
        *table,
        ("errors.backward.sparse_frequency",
         "A backward with sparse and scale_grad_by_freq is refused; its forward is not.",
         "spec 3, row 15", "refused",
         [call(m, [0, 1, 1], [0, 2], mode=m, **both) for m in ("sum", "mean")]),
    ]  # fmt: skip


# ---- what holds for every call --------------------------------------------------------------


def _always(table: Iterable[Clause]) -> list[Row]:
    accepted = [c for clause in table if clause.part != "refused" for c in clause.cases]
    given = {case: _argument_names(case) for case in accepted if not (case.shrinks or case.large)}
    few = [case for case, names in given.items() if "grad_output" in names]
    w = np.array([[3.0, 4.0], [0.3, 0.4]], np.float32)
    late = {"input": np.array([0, 1]), "weight": w, "offsets": np.array([0]), "max_norm": 1.0}
    psw = np.ones(2, np.float32)
    return [
        ("always.inputs_unchanged",
         "input, offsets, per_sample_weights and grad_output are not changed.",
         "spec 2", "inputs", few),
        ("always.weight_unchanged", "weight is changed by max_norm only.",
         "spec 6", "table", [c for c in few if "max_norm" not in given[c]]),
        ("always.fresh_output", "The output and the gradients are new, contiguous arrays.",
         "spec 2", "fresh", few),
        ("always.output_with_gradients", "The output is the same when gradients are wanted.",
         "spec 10", "output", [c for c in few if "protocol" not in given[c]]),
        ("always.settings_unchanged",
         "torch's default dtype, threads and modes are left as they were.",
         "spec 10", "settings", few[:20]),
        ("always.refused_unchanged", "A call that is refused has changed nothing.",
         "spec 3, 6", "untouched", [
            raw("max_norm, then a bad index", **(late | {"input": np.array([0, -1])})),
            raw("max_norm, then weights in mode mean", **late, per_sample_weights=psw),
        ]),
    ]  # fmt: skip


def _argument_names(case: Case) -> set[str]:
    """What a case gives; nothing where bfloat16 can't be made (no ml_dtypes)."""
    try:
        return set(case.make())
    except ImportError:
        return set()
