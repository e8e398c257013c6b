"""More of the conformance table: sizes, special numbers, options together, calls in a row.

Each of these cases stands for a mistake that small, plain calls do not show: a block size, a byte,
a mask that multiplies instead of selecting, an option that is lost when another is given, a buffer
that is used twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.check.cases import Case, call, random_calls

NAN, INF = float("nan"), float("inf")
MODES = ("sum", "mean", "max")
Row = tuple[str, str, str, str, list[Any]]  # what makes a Clause: see `clauses`


def sizes() -> list[Row]:
    """Beyond a block, a warp, a byte, a short integer."""
    wide = np.round(np.random.default_rng(0).normal(size=(7, 130)), 2)
    tall = np.arange(1, 301)[:, None] * [1.0, -2.0]
    far = [299, 0, 128, 255, 256]
    three_hundred = [0, 1, 2] * 100 + [1, 3, 0] * 99 + [5, 5]
    return [
        (
            "sizes.features",
            "Rows may be wide: all 130 features are computed.",
            "spec 1",
            "output",
            [call(f"130 features, {m}", [0, 4, 3, 2], [0, 2], wide, mode=m) for m in MODES],
        ),
        (
            "sizes.bags",
            "There may be many bags, and bags of very different lengths.",
            "spec 1",
            "output",
            [
                *(call(f"300 bags, {m}", [b % 6 for b in range(300)], list(range(300)), mode=m)
                  for m in MODES),
                call("winner first of 1100", [0] + [1] * 1099, [0], [[5, -1], [3, 7]], mode="max"),
                call("6000 and 1001", [0] * 6000 + [1] * 1001, [0], [[1.0], [5.0]], mode="mean"),
                call("250 of 300 count", [0, 1, 2, 3, 4, 5] * 50, [0], mode="mean", padding_idx=5),
            ],
        ),
        (
            "sizes.rows",
            "Row numbers may be larger than 8 or 16 bits hold.",
            "spec 1",
            "output",
            [
                call("300 rows", far, [0, 2], tall, mode="sum"),
                call("70000 rows", [69999, 0, 32768, 65536, 1000], [0, 2],
                     np.arange(70000.0)[:, None], mode="sum"),
            ],
        ),
        (
            "sizes.backward",
            "The same holds for the gradients.",
            "spec 1",
            "grad_weight",
            [
                call("300 rows", far, [0, 2], tall, mode="sum"),
                call("a winner at place 40", [4] * 40 + [3] + [4] * 9, [0], mode="max"),
                *(call(f"130 features, {m}", [0, 4, 3, 2], [0, 2], wide, mode=m) for m in MODES),
                *(call(f"bags of 300 and 299, {m}", three_hundred, [0, 300], mode=m)
                  for m in MODES),
            ],
        ),
        (
            "sizes.backward.frequency",
            "A row may occur more often than a byte can count.",
            "spec 1, 5",
            "grad_weight",
            [call("300 times", [0] * 300 + [1], [0], mode="sum", scale_grad_by_freq=True)],
        ),
        (
            "sizes.max_norm",
            "The norm of a wide row takes in all its features.",
            "spec 6",
            "table",
            [call("130 features", [0, 4], [0], wide, mode="sum", max_norm=3.0123)],
        ),
    ]  # fmt: skip


def special() -> list[Row]:
    """NaN, infinity, numbers that are too large or too small, and a last bit."""
    nan_row = [[1, 2], [NAN, INF], [3, 4]]
    return [
        (
            "special.mean",
            "NaN and infinity are not replaced in a mean.",
            "spec 1",
            "output",
            [call("a NaN row in two bags", [0, 1, 2], [0, 2], nan_row, mode="mean")],
        ),
        (
            "special.max",
            "A maximum may be any number, +inf and the very small ones included.",
            "spec 5",
            "output",
            [
                call("+inf", [0, 1], [0], [[INF, 1], [2, INF]], mode="max"),
                call("-inf in float16", [0], [0], [[-INF, 1]], mode="max", dtype="float16"),
                call("near the smallest", [0], [0], [[-3e38, -1e35]], mode="max"),
                call("the same in float64", [0], [0], [[-1e300, -1e200]], mode="max",
                     dtype="float64"),
                call("NaN first, behind padding", [2, 1, 0], [0], [[1, 2], [NAN, 3], [9, 9]],
                     mode="max", padding_idx=2),
                call("a last bit apart", [0, 1], [0], [[1.0], [1 + 2**-20]], mode="max"),
                call("a last bit of float64", [0, 1], [0], [[1.0], [1 + 2**-50]], mode="max",
                     dtype="float64"),
            ],
        ),
        (
            "special.weights",
            "Zero, NaN and infinite weights are multiplied like others: 0 times inf is NaN.",
            "spec 1",
            "output",
            [
                call("zero times inf", [0, 1], [0], [[1, INF], [2, 3]], mode="sum",
                     per_sample_weights=[0, 3]),
                call("a NaN weight", [0, 1, 1], [0, 2], mode="sum", per_sample_weights=[NAN, 3, 2]),
                call("an infinite one", [0, 1, 1], [0, 2], mode="sum",
                     per_sample_weights=[INF, 3, 2]),
            ],
        ),
        (
            "special.range",
            "Sums too large for float16 are infinite, and tiny numbers are kept.",
            "spec 7",
            "output",
            [
                call("60000 twice", [0, 0], [0], [[60000.0]], mode="sum", dtype="float16"),
                call("there and back", [0, 0, 1], [0], [[60000.0], [-60000.0]], mode="sum",
                     dtype="float16"),
                call("tiny, float16", [0, 1], [0], [[2e-5], [1e-5]], mode="sum", dtype="float16"),
                call("tiny, float32", [0, 1], [0], [[2e-40], [1e-40]], mode="sum"),
                call("products are not rounded", [0, 0], [0], [[1.5]], mode="sum",
                     dtype="float16", per_sample_weights=[1 + 2**-10, -1.0]),
            ],
        ),
        (
            "special.backward",
            "NaN and infinity in grad_output reach the positions of their bag, and no others.",
            "spec 1",
            "grad_weight",
            [
                call("losers of a maximum get zero", [0, 1, 2], [0, 2], mode="max",
                     grad_output=[[INF, NAN, 3], [1, 2, 3]]),
                call("zero weight times inf", [0, 1], [0], mode="sum", per_sample_weights=[0, 3],
                     grad_output=[[1, INF, NAN]]),
                call("sparse", [0, 1], [0], mode="sum", sparse=True, grad_output=[[NAN, INF, 1]]),
                call("ties of +inf", [1, 0], [0], [[INF], [INF]], mode="max"),
                call("ties of NaN", [1, 0], [0], [[NAN], [NAN]], mode="max"),
                call("tiny", [0, 1], [0], [[1.0], [1.0]], mode="sum", dtype="float16",
                     grad_output=[[2e-5]]),
            ],
        ),
        (
            "special.backward.psw",
            "A NaN row reaches the gradients of its own positions' weights, padding none.",
            "spec 5",
            "grad_psw",
            [
                call("one position", [0, 1, 0], [0, 2], nan_row, mode="sum",
                     per_sample_weights=[2, 3, 4]),
                call("a padding row", [0, 2, 1, 2], [0, 3], [[1, 20], [2, 40], [NAN, INF]],
                     mode="sum", padding_idx=2, per_sample_weights=[2, -1, 0.5, 3],
                     grad_output=[[1, 2], [NAN, INF]]),
                call("400 features in float16", [0, 0], [0, 1], [[1.0] + [0.01] * 399], mode="sum",
                     dtype="float16", per_sample_weights=[1, 2],
                     grad_output=[[1.0] * 400, [3.0] * 400]),
            ],
        ),
        (
            "special.max_norm",
            "float16 norms are added up in float32.",
            "spec 6",
            "table",
            [
                call("a large one among small", [0], [0], [[0.3] * 60 + [20.0] + [0.3] * 60],
                     mode="sum", dtype="float16", max_norm=1.0123),
                call("squares too large", [0], [0], [[300.0, 400.0]], mode="sum", dtype="float16",
                     max_norm=10.0),
            ],
        ),
    ]  # fmt: skip


def together() -> list[Row]:
    """Options that are given together."""
    freq: dict[str, Any] = {"scale_grad_by_freq": True}
    long_rows = [[3, 4], [0.3, 0.4], [6, 8]]
    psw4: dict[str, Any] = {"mode": "sum", "per_sample_weights": [2, 3, 4, 5]}
    return [
        (
            "together.output",
            "Options keep their meaning when others are given.",
            "spec 1",
            "output",
            [
                call("2-D, weights, last row padding", [[0, 5], [5, 1]], padding_idx=5, **psw4),
                call("weights expanded", [0, 1, 1], [0, 2], mode="sum",
                     per_sample_weights=[2, 2, 2], layout={"per_sample_weights": "expanded"}),
                call("weights turned", [[0, 1], [2, 3], [4, 5]], mode="sum",
                     per_sample_weights=[1, 2, 3, 4, 5, 6],
                     layout={"per_sample_weights": "turned"}),
                *(call(f"input turned, {m}", [[3, 1], [2, 0], [4, 5]], mode=m,
                       layout={"input": "turned"}) for m in MODES),
                random_calls("together, max_norm", 4, mode="sum", max_norm=True, padding_idx=True,
                             per_sample_weights=True),
            ],
        ),
        (
            "together.backward",
            "So do they in the backward.",
            "spec 1",
            "grad_weight",
            [
                *(call(f"grad_output expanded, {m}", [0, 1, 1], [0, 2], mode=m,
                       grad_output=[[1, -2, 3], [1, -2, 3]], layout={"grad_output": "expanded"})
                  for m in MODES),
                call("max_norm and mean", [0, 1], [0], long_rows, mode="mean", max_norm=1.0),
                call("max_norm and padding", [0, 1, 2], [0], long_rows, mode="sum", max_norm=1.0,
                     padding_idx=2),
                call("2-D, weights, padding", [[0, 5], [5, 1]], padding_idx=-1, **psw4),
                call("sparse, mean, 2-D, padding", [[0, 1, 5], [5, 3, 5]], mode="mean",
                     padding_idx=-1, sparse=True),
                call("sparse in float16", [3, 1], [0], mode="sum", dtype="float16", sparse=True),
                random_calls("together, sparse", 4, sparse=True, mode="mean", padding_idx=True,
                             two_dimensional=True),
            ],
        ),
        (
            "together.backward.frequency",
            "scale_grad_by_freq goes with weights, padding, 2-D inputs and include_last_offset.",
            "spec 1, 5",
            "grad_weight",
            [
                call("weights and padding", [0, 0, 1, 2], [0, 2], padding_idx=0, **psw4, **freq),
                call("2-D mean", [[1, 0], [1, 1]], mode="mean", **freq),
                call("offsets with the end", [1, 0, 1, 1, 2], [0, 2, 5], mode="mean",
                     include_last_offset=True, padding_idx=2, **freq),
            ],
        ),
        (
            "together.backward.psw",
            "per_sample_weights get their gradient with sparse=True too.",
            "spec 1",
            "grad_psw",
            [call("sparse", [3, 1, 3, 0], [0, 2], sparse=True, **psw4)],
        ),
        (
            "together.max_norm",
            "max_norm is applied whatever else is asked for.",
            "spec 6",
            "table",
            [
                call("sparse", [0, 1], [0], long_rows, mode="sum", max_norm=1.0, sparse=True),
                call("frequency", [0, 1], [0], long_rows, mode="sum", max_norm=1.0, **freq),
                *(call(f"p = {p}", [0, 1], [0], [[3, 4, 8], [1, 5, 2]], max_norm=0.123, norm_type=p)
                  for p in (-0.5, 1.5, 4.0)),
            ],
        ),
    ]  # fmt: skip


def in_a_row() -> list[Row]:
    """What a single call does not show."""

    def calls(protocol: str, modes: tuple[str, ...] = MODES, **options: Any) -> list[Case]:
        # "updated" has an input of its own: what is remembered must not be right by chance.
        input = [4, 2, 2, 5] if protocol == "updated" else [0, 1, 1, 3]
        return [
            call(f"{protocol}, {mode}", input, [0, 3], mode=mode, protocol=protocol, **options)
            for mode in modes
        ]  # fmt: skip

    psw: dict[str, Any] = {"per_sample_weights": [2, -1, 0.5, 3]}
    alone: tuple[str, ...] = ("sum",)
    return [
        ("again.same_call", "A call gives the same result when it is made again.", "spec 1",
         "output", calls("twice")),
        ("again.results_stay", "A later call does not change the results of an earlier one.",
         "spec 2", "output", calls("kept")),
        ("again.weight_updated", "A call sees what weight is now, not what it was.", "spec 1",
         "output", calls("updated")),
        ("again.backward.same_call", "Gradients are the same when the call is made again.",
         "spec 1", "grad_weight", [*calls("twice"), *calls("backward twice")]),
        ("again.backward.results_stay", "A later call does not change earlier gradients.",
         "spec 2", "grad_weight", calls("kept")),
        ("again.backward.between", "A backward belongs to its own forward, not to the last one.",
         "spec 8", "grad_weight", calls("between")),
        ("autograd.frozen_weight", "per_sample_weights get a gradient where weight needs none.",
         "spec 5", "grad_psw", calls("frozen weight", alone, **psw)),
        ("autograd.constant_weights", "weight gets a gradient where per_sample_weights need none.",
         "spec 5", "grad_weight", calls("constant weights", alone, **psw)),
        ("autograd.no_grad", "Under torch.no_grad() the output is the same.", "spec 10", "output",
         calls("no grad", padding_idx=3)),
    ]  # fmt: skip


def rows() -> list[Row]:
    """All of these."""
    return [*sizes(), *special(), *together(), *in_a_row()]
