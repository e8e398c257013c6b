"""More of the conformance table: sizes, special numbers, options together, calls in a row.

Each of these cases stands for a mistake that small, plain calls do not show: a block size, a byte,
a mask that multiplies instead of selecting, an option that is lost when another is given, a buffer
that is used twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from embag_edu.check.cases import TABLE, Case, call, random_calls
from embag_edu.check.pairs import case_of, choices

NAN, INF = float("nan"), float("inf")
MODES = ("sum", "mean", "max")
BOTH = ("float32", "float64")
Row = tuple[
    str, str, str, str, list[Any]
]  # name, rule, source, part and cases of a `clauses.Clause`


def sizes() -> list[Row]:
    """Beyond a block, a warp, a byte, a short integer."""
    wide, far = _table(7, 130), [299, 0, 128, 255, 256]
    tall = np.arange(1, 301)[:, None] * [1.0, -2.0]
    three_hundred = [0, 1, 2] * 100 + [1, 3, 0] * 99 + [5, 5]
    features = [
        *(_features(D, m) for D in (32, 64) for m in MODES),
        _features(256, "sum"),
        _features(1030, "max"),
        _features(1030, "sum", psw=True),
    ]
    columns = [
        *(_columns(2, 300, m) for m in MODES),
        _columns(1, 1100, "sum"),
        _columns(2, 300, "sum", psw=True),
    ]
    lengths = [_lengths(m) for m in MODES]
    many = [
        _many(3001, "sum"),
        _many(3001, "mean"),
        _many(70000, "max"),
        _many(70000, "sum", psw=True),
    ]
    sparse = [_many(70000, "mean", sparse=True), _columns(2, 300, "sum", psw=True, sparse=True)]
    return [
        ("sizes.features",
         "Rows may be wide: all features are computed, and a full block is no special case.",
         "spec 1", "output", [
            *(call(f"130 features, {m}", [0, 4, 3, 2], [0, 2], wide, mode=m) for m in MODES),
            *features,
        ]),
        ("sizes.columns", "A 2-D input may have many columns.", "spec 2", "output", columns),
        ("sizes.bags", "There may be many bags, and bags of very different lengths.",
         "spec 1", "output", [
            *(call(f"300 bags, {m}", [b % 6 for b in range(300)], list(range(300)), mode=m)
              for m in MODES),
            call("winner first of 1100", [0] + [1] * 1099, [0], [[5, -1], [3, 7]], mode="max"),
            call("600 and 101", [0] * 600 + [1] * 101, [0], [[1.0], [5.0]], mode="mean"),
            call("250 of 300 count", [0, 1, 2, 3, 4, 5] * 50, [0], mode="mean", padding_idx=5),
            *lengths,
            *many,
        ]),
        ("sizes.rows", "Row numbers, padding_idx too, may be larger than 8 or 16 bits hold.",
         "spec 1", "output", [
            call("300 rows", far, [0, 2], tall, mode="sum"),
            large("70000 rows", [69999, 0, 32768, 65536, 1000], [0, 2], np.arange(70000.0)[:, None],
                  mode="sum"),
            *(large(f"padding_idx {p}", [p, 0, p & 0xFF, p & 0xFFFF, 4], [0, 2],
                    np.arange(1, 70001.0)[:, None], mode="mean", padding_idx=p)
              for p in (299, 69999)),
        ]),
        ("sizes.large", "Positions and bags may be more than 16 bits count.", "spec 1", "output", [
            large("33000 positions in a bag", [0] * 32999 + [1] * 3, [0, 33000], [[1.0], [5.0]],
                  mode="mean"),
            large("66000 bags", list(range(40)), [0] * 65960 + list(range(40)),
                  np.arange(1, 41.0)[:, None], mode="max"),
        ]),
        ("sizes.backward", "The same holds for the gradients.", "spec 1", "grad_weight", [
            call("300 rows", far, [0, 2], tall, mode="sum"),
            call("a winner at place 40", [4] * 40 + [3] + [4] * 9, [0], mode="max"),
            *(call(f"130 features, {m}", [0, 4, 3, 2], [0, 2], wide, mode=m) for m in MODES),
            *(call(f"bags of 300 and 299, {m}", three_hundred, [0, 300], mode=m) for m in MODES),
            *features,
            *columns,
            *lengths,
            *many,
            *sparse,
        ]),
        ("sizes.backward.large", "A winner may stand at a place that 16 bits do not hold.",
         "spec 1", "grad_weight", [
            large("a winner at place 33000", [0] * 33000 + [1], [0], [[1.0], [5.0]], mode="max"),
        ]),
        ("sizes.backward.frequency", "A row may occur more often than a byte can count.",
         "spec 1, 5", "grad_weight", [
            call("300 times", [0] * 300 + [1], [0], mode="sum", scale_grad_by_freq=True),
        ]),
        ("sizes.backward.psw",
         "And for the gradients of per_sample_weights: all features, all positions.", "spec 1",
         "grad_psw", [case for case in (*features, *columns, *many) if "weighted" in case.name]),
        ("sizes.max_norm",
         "The norm of a wide row takes in all its features, and many rows may be rescaled.",
         "spec 6", "table", [
            call("130 features", [0, 4], [0], wide, mode="sum", max_norm=3.0123),
            call("1030 features", [0, 2], [0], _table(3, 1030), mode="sum", max_norm=3.0123),
            large("600 rows of 70000", np.arange(600) * 116, [0, 5], np.arange(1, 70001.0)[:, None],
                  mode="mean", max_norm=3.0123),
        ]),
    ]  # fmt: skip


def large(name: str, *arguments: Any, **options: Any) -> Case:
    """A call so large that only its own clause asks it."""
    return replace(call(name, *arguments, **options), large=True)


def _table(V: int, D: int) -> np.ndarray:
    return np.round(np.random.default_rng(0).normal(size=(V, D)), 2)


def _weights(N: int, psw: bool) -> dict[str, Any]:
    """per_sample_weights for N positions, no two neighbors alike."""
    return {"per_sample_weights": [(7 * i) % 11 - 4.5 for i in range(N)]} if psw else {}


def _features(D: int, mode: str, psw: bool = False) -> Case:
    name = f"{D} features, {'weighted' if psw else mode}"
    return large(name, [0, 4, 3, 2], [0, 3], _table(7, D), mode=mode, **_weights(4, psw))


def _columns(B: int, L: int, mode: str, psw: bool = False, **options: Any) -> Case:
    """B bags of L positions each, as a 2-D input; the largest row comes last."""
    input = np.arange(B * L).reshape(B, L) % 37
    input[:, -1] = 40
    table = np.append(_table(40, 1), [[9.0]], axis=0)
    name = f"{B} by {L}, {'weighted' if psw else mode}"
    return large(name, input, None, table, mode=mode, **_weights(B * L, psw), **options)


def _lengths(mode: str) -> Case:
    """Bags as long as a warp, a block, and one more or less; rows occur as often."""
    lengths = [length + more for length in (32, 64, 128, 256) for more in (-1, 0, 1)]
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    input = np.random.default_rng(0).permutation(rows)
    return large(f"32, 64, 128, 256, {mode}", input, ends - lengths, _table(12, 1), mode=mode)


def _many(V: int, mode: str, psw: bool = False, **options: Any) -> Case:
    """A bag of 300 positions, then 1100 bags of one; rows from all over the table."""
    N = 1400
    input = np.append(np.full(300, V - 1), np.arange(1100) * 63 % V)
    input[[7, 299]] = V // 2, V - 2
    table = np.arange(V)[:, None] % 97 - 50.0
    table[V - 2] = 99
    name = f"1101 bags, {V} rows, {'weighted' if psw else mode}"
    starts = np.append(0, np.arange(300, N))
    return large(name, input, starts, table, mode=mode, **_weights(N, psw), **options)


def special() -> list[Row]:
    """NaN, infinity, numbers that are too large or too small, and a last bit."""
    nan_row = [[1, 2], [NAN, INF], [3, 4]]
    return [
        ("special.mean", "NaN and infinity are not replaced in a mean.", "spec 1", "output", [
            call("a NaN row in two bags", [0, 1, 2], [0, 2], nan_row, mode="mean"),
        ]),
        ("special.max", "A maximum may be any number, +inf and the very small ones included.",
         "spec 5", "output", [
            call("+inf", [0, 1], [0], [[INF, 1], [2, INF]], mode="max"),
            call("-inf in float16", [0], [0], [[-INF, 1]], mode="max", dtype="float16"),
            call("near the smallest", [0], [0], [[-3e38, -1e35]], mode="max"),
            call("the same in float64", [0], [0], [[-1e300, -1e200]], mode="max", dtype="float64"),
            call("NaN first, behind padding", [2, 1, 0], [0], [[1, 2], [NAN, 3], [9, 9]],
                 mode="max", padding_idx=2),
            call("zero, then less", [0, 1], [0], [[0, 3], [-1, 0]], mode="max"),
            call("NaN after less than zero", [0, 1], [0], [[-1, -2], [NAN, -3]], mode="max"),
            call("a last bit apart", [0, 1], [0], [[1.0], [1 + 2**-20]], mode="max"),
            call("a last bit of float64", [0, 1], [0], [[1.0], [1 + 2**-50]], mode="max",
                 dtype="float64"),
        ]),
        ("special.weights",
         "Zero, NaN and infinite weights are multiplied like others: 0 times inf is NaN.",
         "spec 1", "output", [
            call("zero times inf", [0, 1], [0], [[1, INF], [2, 3]], mode="sum",
                 per_sample_weights=[0, 3]),
            call("a NaN weight", [0, 1, 1], [0, 2], mode="sum", per_sample_weights=[NAN, 3, 2]),
            call("an infinite one", [0, 1, 1], [0, 2], mode="sum", per_sample_weights=[INF, 3, 2]),
        ]),
        ("special.range", "Sums too large for float16 are infinite, and tiny numbers are kept.",
         "spec 7", "output", [
            call("60000 twice", [0, 0], [0], [[60000.0]], mode="sum", dtype="float16"),
            call("there and back", [0, 0, 1], [0], [[60000.0], [-60000.0]], mode="sum",
                 dtype="float16"),
            call("tiny, float16", [0, 1], [0], [[2e-5], [1e-5]], mode="sum", dtype="float16"),
            call("tiny, float32", [0, 1], [0], [[2e-40], [1e-40]], mode="sum"),
            call("products are not rounded", [0, 0], [0], [[1.5]], mode="sum", dtype="float16",
                 per_sample_weights=[1 + 2**-10, -1.0]),
        ]),
        ("special.backward",
         "NaN and infinity in grad_output reach the positions of their bag, and no others.",
         "spec 1", "grad_weight", [
            call("losers of a maximum get zero", [0, 1, 2], [0, 2], mode="max",
                 grad_output=[[INF, NAN, 3], [1, 2, 3]]),
            call("zero weight times inf", [0, 1], [0], mode="sum", per_sample_weights=[0, 3],
                 grad_output=[[1, INF, NAN]]),
            call("sparse", [0, 1], [0], mode="sum", sparse=True, grad_output=[[NAN, INF, 1]]),
            call("ties of +inf", [1, 0], [0], [[INF], [INF]], mode="max"),
            call("ties of NaN", [1, 0], [0], [[NAN], [NAN]], mode="max"),
            call("tiny", [0, 1], [0], [[1.0], [1.0]], mode="sum", dtype="float16",
                 grad_output=[[2e-5]]),
        ]),
        ("special.backward.psw",
         "A NaN row reaches the gradients of its own positions' weights, padding none.",
         "spec 5", "grad_psw", [
            call("one position", [0, 1, 0], [0, 2], nan_row, mode="sum",
                 per_sample_weights=[2, 3, 4]),
            call("a padding row", [0, 2, 1, 2], [0, 3], [[1, 20], [2, 40], [NAN, INF]], mode="sum",
                 padding_idx=2, per_sample_weights=[2, -1, 0.5, 3],
                 grad_output=[[1, 2], [NAN, INF]]),
            call("400 features in float16", [0, 0], [0, 1], [[1.0] + [0.01] * 399], mode="sum",
                 dtype="float16", per_sample_weights=[1, 2],
                 grad_output=[[1.0] * 400, [3.0] * 400]),
        ]),
        ("special.max_norm", "float16 norms are added up in float32.", "spec 6", "table", [
            call("a large one among small", [0], [0], [[0.3] * 60 + [20.0] + [0.3] * 60],
                 mode="sum", dtype="float16", max_norm=1.0123),
            call("squares too large", [0], [0], [[300.0, 400.0]], mode="sum", dtype="float16",
                 max_norm=10.0),
        ]),
    ]  # fmt: skip


def together() -> list[Row]:
    """Options that are given together."""
    freq: dict[str, Any] = {"scale_grad_by_freq": True}
    long_rows = [[3, 4], [0.3, 0.4], [6, 8]]
    pairs = [case_of(choice) for choice in choices()]
    psw4: dict[str, Any] = {"mode": "sum", "per_sample_weights": [2, 3, 4, 5]}
    return [
        ("together.output", "Options keep their meaning when others are given.",
         "spec 1", "output", [
            call("2-D, weights, last row padding", [[0, 5], [5, 1]], padding_idx=5, **psw4),
            call("weights expanded", [0, 1, 1], [0, 2], mode="sum", per_sample_weights=[2, 2, 2],
                 layout={"per_sample_weights": "expanded"}),
            call("weights turned", [[0, 1], [2, 3], [4, 5]], mode="sum",
                 per_sample_weights=[1, 2, 3, 4, 5, 6], layout={"per_sample_weights": "turned"}),
            *(call(f"input turned, {m}", [[3, 1], [2, 0], [4, 5]], mode=m,
                   layout={"input": "turned"}) for m in MODES),
            random_calls("together, max_norm", 4, mode="sum", max_norm=True, padding_idx=True,
                         per_sample_weights=True),
            random_calls("together, anything", 16, BOTH, everything=True),
        ]),
        ("together.backward", "So do they in the backward.", "spec 1", "grad_weight", [
            *(call(f"grad_output expanded, {m}", [0, 1, 1], [0, 2], mode=m,
                   grad_output=[[1, -2, 3], [1, -2, 3]], layout={"grad_output": "expanded"})
              for m in MODES),
            call("max_norm and mean", [0, 1], [0], long_rows, mode="mean", max_norm=1.0),
            call("max_norm and padding", [0, 1, 2], [0], long_rows, mode="sum", max_norm=1.0,
                 padding_idx=2),
            call("2-D, weights, padding", [[0, 5], [5, 1]], padding_idx=-1, **psw4),
            call("sparse, mean, 2-D, padding", [[0, 1, 5], [5, 3, 5]], mode="mean", padding_idx=-1,
                 sparse=True),
            call("sparse in float16", [3, 1], [0], mode="sum", dtype="float16", sparse=True),
            random_calls("together, sparse", 4, sparse=True, mode="mean", padding_idx=True,
                         two_dimensional=True),
            random_calls("together, any gradient", 16, BOTH, everything=True),
        ]),
        ("together.backward.padding",
         "The first row and the last may be the padding row, counted from either end.",
         "spec 5", "grad_weight",
         [call(f"{m}, padding_idx {p}", [0, 5, 1, 0, 5], [0, 3], mode=m, padding_idx=p)
          for m in MODES for p in (0, 5, -1, -6)]),
        ("together.backward.frequency",
         "scale_grad_by_freq goes with weights, padding, 2-D inputs and include_last_offset.",
         "spec 1, 5", "grad_weight", [
            call("weights and padding", [0, 0, 1, 2], [0, 2], padding_idx=0, **psw4, **freq),
            call("2-D mean", [[1, 0], [1, 1]], mode="mean", **freq),
            call("offsets with the end", [1, 0, 1, 1, 2], [0, 2, 5], mode="mean",
                 include_last_offset=True, padding_idx=2, **freq),
        ]),
        ("together.pairs", "Every two options go together: each pair is in one of these calls.",
         "spec 1", "output", pairs),
        ("together.pairs.table", "What max_norm rescales depends on no other option.",
         "spec 6", "table", [
            *(case for case in pairs if "max_norm" in case.name),
            random_calls("together, any table", 8, BOTH, everything=True, max_norm=True),
        ]),
        ("together.pairs.backward", "Every two options go together in the backward.", "spec 1",
         "grad_weight", [case for case in pairs if "by frequency" not in case.name]),
        ("together.pairs.backward.frequency",
         "What scale_grad_by_freq does depends on no other option.", "spec 1", "grad_weight",
         [case for case in pairs if "by frequency" in case.name]),
        ("together.pairs.backward.psw",
         "The gradient of per_sample_weights depends on no other option.", "spec 1", "grad_psw",
         [case for case in pairs if "weighted" in case.name]),
        ("together.backward.psw", "per_sample_weights get their gradient with sparse=True too.",
         "spec 1", "grad_psw", [call("sparse", [3, 1, 3, 0], [0, 2], sparse=True, **psw4)]),
        ("together.max_norm", "max_norm is applied whatever else is asked for.",
         "spec 6", "table", [
            call("sparse", [0, 1], [0], long_rows, mode="sum", max_norm=1.0, sparse=True),
            call("frequency", [0, 1], [0], long_rows, mode="sum", max_norm=1.0, **freq),
            *(call(f"p = {p}", [0, 1], [0], [[3, 4, 8], [1, 5, 2]], max_norm=0.123, norm_type=p)
              for p in (-0.5, 1.5, 4.0)),
        ]),
    ]  # fmt: skip


def in_a_row() -> list[Row]:
    """What a single call does not show."""

    def calls(protocol: str, modes: tuple[str, ...] = MODES, **options: Any) -> list[Case]:
        return [
            call(f"{protocol}, {m}", [0, 1, 1, 3], [0, 3], mode=m, protocol=protocol, **options)
            for m in modes
        ]  # fmt: skip

    psw: dict[str, Any] = {"per_sample_weights": [2, -1, 0.5, 3]}
    alone: tuple[str, ...] = ("sum",)
    return [
        ("again.same_call", "A call gives the same result when it is made again.", "spec 1",
         "output", calls("twice")),
        ("again.results_stay", "A later call does not change the results of an earlier one.",
         "spec 2", "output", calls("kept")),
        ("again.backward.same_call", "Gradients are the same when the call is made again.",
         "spec 1", "grad_weight", [
            *calls("twice"),
            *calls("backward twice"),
        ]),
        ("again.backward.results_stay", "A later call does not change earlier gradients.",
         "spec 2", "grad_weight", [
            *calls("kept"),
            *calls("kept", alone, sparse=True),
        ]),
        ("again.backward.psw_stay", "Nor does it change those of per_sample_weights.", "spec 2",
         "grad_psw", calls("kept", alone, **psw)),
        ("again.backward.between", "A backward belongs to its own forward, not to the last one.",
         "spec 8", "grad_weight", calls("between")),
        ("autograd.frozen_weight", "per_sample_weights get a gradient where weight needs none.",
         "spec 5", "grad_psw", calls("frozen weight", alone, **psw)),
        ("autograd.constant_weights", "weight gets a gradient where per_sample_weights need none.",
         "spec 5", "grad_weight", calls("constant weights", alone, **psw)),
        ("autograd.no_grad", "Under torch.no_grad() the output is the same.", "spec 10", "output",
         calls("no grad", padding_idx=3)),
    ]  # fmt: skip


# A call after one on the same arrays that held other contents. Of each array the contents differ
# in the middle only, with the same ends and the same sum: a cache that looks at the array's
# identity, at its first numbers or at their sum does not see it.
SIX: dict[str, Any] = {"input": [4, 2, 0, 3, 1, 5], "offsets": [0, 1, 3, 5]}
UPSTREAM = [[1, 2, -3], [4, -5, 6], [-7, 8, 9], [10, 11, -12]]
PSW = [2, -1, 0.5, 3, -2, 4]
EARLIER: dict[str, Any] = {
    "input": [4, 2, 3, 0, 1, 5],
    "offsets": [0, 2, 2, 5],
    "weight": [TABLE[row] for row in (0, 1, 3, 2, 4, 5)],
    "grad_output": [UPSTREAM[bag] for bag in (0, 2, 1, 3)],
    "per_sample_weights": [2, -1, 3, 0.5, -2, 4],
}


def updated() -> list[Row]:
    """A call sees what its arguments are now, not what they were in an earlier call."""

    def after(*names: str, **options: Any) -> list[Case]:
        """For each name, a call before which that array was changed."""
        given = ", ".join(f"{k} = {v}" for k, v in options.items())
        if "per_sample_weights" in names:
            options["per_sample_weights"] = PSW
        return [
            call(f"{name}, {given}", **SIX, grad_output=UPSTREAM, protocol="updated",
                 before={name: EARLIER[name]}, **options)
            for name in names
        ]  # fmt: skip

    def instead(name: str, now: Any, before: Any, **options: Any) -> Case:
        """A call before which an option was another one."""
        options = SIX | {"mode": "sum", "grad_output": UPSTREAM} | options | {name: now}
        title = f"{name} was {before}, is {now}"
        return call(title, protocol="updated", before={name: before}, **options)

    padding = [instead("padding_idx", 2, 4), instead("padding_idx", None, 2)]
    psw: dict[str, Any] = {"mode": "sum", "per_sample_weights": PSW}
    short: dict[str, Any] = {"max_norm": 30.0123}
    return [
        ("again.weight_updated", "A call sees what weight is now, not what it was.", "spec 1",
         "output", [c for m in MODES for c in after("weight", mode=m)]),
        ("again.indices_updated", "A call sees what input, offsets and per_sample_weights are now.",
         "spec 1", "output", [
            *(c for m in MODES for c in after("input", "offsets", mode=m)),
            *after("per_sample_weights", mode="sum"),
        ]),
        ("again.options_changed", "An option is that of this call, not of an earlier one.",
         "spec 1", "output", [
            *padding,
            *(instead("mode", m, n) for m, n in zip(MODES, MODES[1:] + MODES[:1], strict=True)),
        ]),
        ("again.max_norm", "max_norm acts on the rows as they are now, by today's norm.",
         "spec 6", "table", [
            *after("weight", mode="sum", **short),
            instead("max_norm", 30.0123, 300.0123),
            instead("norm_type", 1.0, 2.0, **short),
        ]),
        ("again.refused", "A call after one that was refused is like any other.",
         "spec 1", "output", [instead("input", SIX["input"], [4, 2, 9, 3, 1, 5])]),
        ("again.backward.updated", "Gradients see what all arrays are now.",
         "spec 1", "grad_weight", [
            *(c for m in MODES for c in after("input", "offsets", "grad_output", mode=m)),
            *after("weight", mode="max"),
            *after("per_sample_weights", mode="sum"),
            *after("input", "offsets", "grad_output", mode="mean", sparse=True),
        ]),
        ("again.backward.options_changed", "An option of the backward is that of this call.",
         "spec 1", "grad_weight", [
            *padding,
            instead("mode", "mean", "sum"),
            instead("sparse", True, False),
            instead("scale_grad_by_freq", False, True),
        ]),
        ("again.backward.psw_updated",
         "The gradients of per_sample_weights see what all arrays are now.", "spec 1", "grad_psw",
         [call(name, **SIX, **psw, grad_output=UPSTREAM, protocol="updated",
               before={name: EARLIER[name]}) for name in EARLIER]),
    ]  # fmt: skip


def rows() -> list[Row]:
    """All of these."""
    return [*sizes(), *special(), *together(), *in_a_row(), *updated()]
