"""The control of chapter 05: how skewed the ids are, and how many additions hit one row."""

from __future__ import annotations

import numpy as np

from embag_edu.chapters.ch05.figures import segments_picture
from embag_edu.chapters.control import Axis, Control, control
from embag_edu.chapters.style import Picture

SHOWN = 12  # positions in the picture
COUNTED = 1 << 16  # positions of the sum whose error is written below it
HOT = 4  # the row that everybody wants, in the end


def skewed(hot_percent: int, count: int = SHOWN) -> np.ndarray:
    """(count,) ids: this many in a hundred are the hot row, all others differ from each other."""
    random = np.random.default_rng(12)
    ids, places = random.permutation(count), random.permutation(count)
    places = places[np.argsort(ids[places] != HOT, kind="stable")]  # its own place comes first
    ids[places[: round(count * hot_percent / 100)]] = HOT
    return ids


def state_picture(hot_percent: int) -> Picture:
    """One state of the control, for readers without a running kernel."""
    return segments_picture(skewed(hot_percent))


def errors_of(hot_percent: int) -> tuple[int, float, float]:
    """Additions to the hot row among COUNTED, and its float32 error: one by one, and in pairs."""
    ids = skewed(hot_percent, COUNTED)
    shares = np.random.default_rng(5).random(COUNTED).astype(np.float32)
    terms = shares[ids == HOT]
    true = terms.astype(np.float64).sum()
    one_by_one, in_pairs = np.add.accumulate(terms)[-1], np.sum(terms)
    return len(terms), abs(float(one_by_one) - true), abs(float(in_pairs) - true)


def told(hot_percent: int) -> list[str]:
    """The longest chain of additions in the picture, and the error of a longer one."""
    _, counts = np.unique(skewed(hot_percent), return_counts=True)
    terms, one_by_one, in_pairs = errors_of(hot_percent)
    return [
        f"{SHOWN} additions, {counts.max()} of them to the fullest row, one after the other; "
        f"rows that occur: {len(counts)}.",
        f"With {COUNTED:,} positions that row gets {terms:,} additions, and its float32 "
        f"sum is off by {one_by_one:.1e} one by one, by {in_pairs:.1e} in pairs.",
    ]


@control
def skew_control() -> Control:
    """The control: a slider from all ids different to all the same."""
    percent = Axis("hot row, %", range(0, 101, 10), 0)
    title = "From all different to all the same"
    return Control("05-segments", title, [percent], state_picture, told)
