"""The controls of chapter 08: the lanes of a warp, the pieces of a bag, and recorded times."""

from __future__ import annotations

import json
from collections.abc import Mapping

from embag_edu.bench.recorded import DTYPES, SKEWS, Recorded
from embag_edu.chapters.ch08.figures import cut_picture, lanes_picture
from embag_edu.chapters.control import Axis, Control, control
from embag_edu.chapters.recorded import forward_bars

WIDTHS = (1, 3, 4, 8, 12, 16, 20, 32, 33, 50, 64, 100, 128, 200, 256)
LENGTHS = (3, 9, 0, 5)


@control
def lanes_control(version: int = 2, D: int = 16, L: int = 20) -> Control:
    """Choose a version (1 to 4), D and L; below, the lanes of a warp with the counts for 8 bags.

    D: one of WIDTHS; L: 1 to 64.
    """
    axes = (
        Axis("version", range(1, 5), version),
        Axis("D, features", WIDTHS, D),
        Axis("L, length of bags", range(1, 65), L),
    )
    return Control("08-lanes", "Which lanes of a warp work", axes, lanes_picture)


@control
def cut_control(P: int = 4) -> Control:
    """Choose P and the lengths of four bags; below, what version 7 cuts.

    P: 2 to 8.
    """
    most, least = (5, 9, 5, 5), (1, 0, 0, 0)  # a picture of no position would be empty
    bags = [
        Axis(f"length of bag {bag}", range(low, high + 1), length)
        for bag, (length, low, high) in enumerate(zip(LENGTHS, least, most, strict=True))
    ]
    return Control("08-cuts", "Which bags are cut, and where", [Axis("P", range(2, 9), P), *bags],
                   lambda P, *lengths: cut_picture(lengths, P))  # fmt: skip


def times_control(times: Recorded) -> Control:
    """Choose a skew and a dtype; below, each version's share of the copy rate."""
    shares = [
        one | {"implementations": _shares(one["implementations"])}
        for one in times.step("ladder")
        if one.get("step") == "forward"
    ]
    found = [times.result("ladder", "copy"), *shares]
    kept = [{key: one[key] for key in KEPT if key in one} for one in found]
    return _times_control(json.dumps(kept, separators=(",", ":")))


KEPT = ("name", "bytes_per_second", "rates", "step", "dtype", "workload", "implementations")


def _shares(implementations: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {"of_copy_rate": row["of_copy_rate"]} for name, row in implementations.items()}


@control
def _times_control(results: str) -> Control:
    """results: JSON, what the bars need of a record. (As a text it is one line of a notebook.)"""
    times = Recorded({"steps": [{"name": "ladder", "results": json.loads(results)}]})
    axes = Axis("ids", SKEWS, SKEWS[0], "choice"), Axis("dtype", DTYPES, DTYPES[0], "choice")
    return Control("08-times", "Each version's share of the copy rate", axes,
                   lambda skew, dtype: forward_bars(times, dtype, skew))  # fmt: skip
