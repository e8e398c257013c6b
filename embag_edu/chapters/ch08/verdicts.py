"""The predictions of chapter 08, and what a record of times says to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from embag_edu.bench.recorded import DTYPES, SHAPES, SKEWS, TORCH, Recorded

VERSIONS = tuple("12345678")
Ratios = Callable[[Recorded], list[float]]


@dataclass(frozen=True)
class Prediction:
    """A prediction about a ratio of recorded times: it holds where low < ratio < high.

    said     the prediction, in words
    ratios   the ratios that a record has for it, one for each skew, say
    unit     what the ratios are parts of
    why      why it came out as it did, on an H200: our guess, where it does not say "known"
    detail   what else to say of the recorded ratios
    """

    said: str
    ratios: Ratios
    unit: str
    why: str
    low: float = 0.0
    high: float = float("inf")
    detail: Callable[[Recorded], str] = lambda times: ""

    @property
    def right_if(self) -> str:
        """Where the prediction holds: "below 1", "0.97 to 1.03"."""
        if self.low and self.high < float("inf"):
            return f"{self.low:g} to {self.high:g}"
        return f"above {self.low:g}" if self.low else f"below {self.high:g}"

    def recorded(self, times: Recorded) -> str:
        """The smallest and the largest ratio: "0.49 to 0.87 of version 1's time"."""
        found = sorted(self.ratios(times))
        if not found:
            return "not recorded"
        span = f"{found[0]:.2f}" if len(found) == 1 else f"{found[0]:.2f} to {found[-1]:.2f}"
        return f"{span} {self.unit}{self.detail(times)}"

    def verdict(self, times: Recorded) -> str:
        """ "right", "wrong", "partly right" where some ratios agree, "not judged" without any."""
        held = [self.low < ratio < self.high for ratio in self.ratios(times)]
        if not held:
            return "not judged"
        return "right" if all(held) else "partly right" if any(held) else "wrong"


def milliseconds(
    times: Recorded, shape: str, skew: str = "uniform", dtype: str = "float32"
) -> dict[str, float]:
    """The median of each forward: milliseconds(times, "A")["2"] is version 2's."""
    found = times.times("forward", shape, skew, dtype)
    return {name.removeprefix("version "): one["median_ms"] for name, one in found.items()}


HEAD = "prediction", "right if", "recorded", "verdict", "you", "why (our guess, if not *known*)"


def table(times: Recorded, mine: Mapping[str, str] | None = None) -> str:
    """All predictions in Markdown: what was said, what was recorded, the verdict, and why.

    mine: what the reader expects of each, by its number: {"1a": "right", "1b": "wrong"}.
    """
    yours = mine or {}
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for one in PREDICTIONS:
        number = one.said.partition(".")[0]
        cells = (
            one.said,
            one.right_if if one.ratios(times) else "",
            one.recorded(times),
            f"**{one.verdict(times)}**",
            yours.get(number) or "–",
            one.why,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(times: Recorded) -> Iterator[str]:
    """The verdict of each prediction, in the order of the table."""
    return (one.verdict(times) for one in PREDICTIONS)


# ---- the ratios ------------------------------------------------------------------------------


def _of(version: str, other: str, shape: str, times: Recorded) -> list[float]:
    """A version's time in parts of another's, at each skew."""
    each = (milliseconds(times, shape, skew) for skew in SKEWS)
    return [t[version] / t[other] for t in each]


def _skewed(skew: str, than: str, versions: tuple[str, ...], times: Recorded) -> list[float]:
    """The time of versions at one skew in parts of that at another."""
    pairs = ((milliseconds(times, s, skew), milliseconds(times, s, than)) for s in SHAPES)
    return [more[v] / less[v] for more, less in pairs for v in versions]


def _saved(times: Recorded) -> list[float]:
    """What version 8 saves of version 7's time, at each shape."""
    return [1 - milliseconds(times, s)["8"] / milliseconds(times, s)["7"] for s in SHAPES]


def _gain_on_b(times: Recorded) -> list[float]:
    """What version 8 saves of version 7's time on B, as a fraction of what it saves on A."""
    saved = _saved(times)
    return [saved[1] / saved[0]]


def _gains(times: Recorded) -> str:
    """ ": it saves 18 % of version 7's time on A, and 9 % on B"."""
    a, b = _saved(times)
    return f": it saves {a:.0%} of version 7's time on A, and {b:.0%} on B".replace("%", " %")


def _halved(times: Recorded) -> list[float]:
    """The time in bfloat16 in parts of that in float32."""
    pairs = ((milliseconds(times, s, dtype="bfloat16"), milliseconds(times, s)) for s in SHAPES)
    return [two[v] / four[v] for two, four in pairs for v in VERSIONS]


def _chosen(skews: tuple[str, ...], times: Recorded) -> list[float]:
    """Version 8 in parts of the best version that does not know L."""
    each = (milliseconds(times, s, skew, d) for s in SHAPES for skew in skews for d in DTYPES)
    return [t["8"] / min(t[v] for v in VERSIONS) for t in each]


def _of_torch(times: Recorded) -> list[float]:
    """Each version in parts of torch's time."""
    each = (milliseconds(times, s, skew) for s in SHAPES for skew in SKEWS)
    return [t[v] / t[TORCH] for t in each for v in VERSIONS]


PREDICTIONS = (
    Prediction(
        "1a. Many short bags: version 2 beats version 1",
        partial(_of, "2", "1", "B"),
        "of version 1's time",
        "a quarter of the requests",
        high=1,
    ),
    Prediction(
        "1b. Many short bags: version 3 gains some more",
        partial(_of, "3", "2", "B"),
        "of version 2's time",
        "there is no lack of warps, so no warp needs several rows of its own under way; version 2 "
        "has the fewest registers, so the most warps fit",
        high=1,
    ),
    Prediction(
        "2a. Few long bags: version 2 may be slower than version 1",
        partial(_of, "2", "1", "A"),
        "of version 1's time",
        "a quarter of the warps, and each of them waits as long",
        low=1,
    ),
    Prediction(
        "2b. Few long bags: version 3 repairs that",
        partial(_of, "3", "1", "A"),
        "of version 1's time",
        "a warp asks for eight rows before it waits",
        high=1,
    ),
    Prediction(
        "2c. Few long bags: four rows under way are enough, so version 4 keeps up with 3",
        partial(_of, "4", "3", "A"),
        "of version 3's time",
        "a batch is waited for whole, so fewer than four are under way on average. By Little's law "
        "as in 08a, these would still be enough: see section 4",
        high=1.05,
    ),
    Prediction(
        "3. Rows of 16 features: version 4 beats 3 by far. 100 bags of 10,000: 5 beats 4 by far",
        lambda times: [],
        "",
        "*known*: the record has no such shapes",
    ),
    Prediction(
        "4a. Skewed ids: all get faster",
        lambda times: [r for s in SKEWS[1:] for r in _skewed(s, "uniform", VERSIONS, times)],
        "of the time with uniform ids",
        "hot rows come from a cache",
        high=1,
    ),
    Prediction(
        "4b. More skew, faster still: versions 1 to 7",
        partial(_skewed, "zipf 1.15", "zipf 1.05", VERSIONS[:-1]),
        "of the time at Zipf 1.05",
        "more of the reads are of hot rows",
        high=1,
    ),
    Prediction(
        "4c. More skew, faster still: version 8",
        partial(_skewed, "zipf 1.15", "zipf 1.05", VERSIONS[-1:]),
        "of the time at Zipf 1.05",
        "its copies bypass the L1 cache, and all ask for the same sectors of L2",
        high=1,
    ),
    Prediction(
        "5a. Many short bags: version 6 loses to 4",
        partial(_of, "6", "4", "B"),
        "of version 4's time",
        "a team walks through its bags one after another, with three waits for each",
        low=1,
    ),
    Prediction(
        "5b. Many short bags: version 7 takes as long as 4",
        partial(_of, "7", "4", "B"),
        "of version 4's time",
        "*known*, by version 8 with L known: looking for long bags costs that much",
        low=0.97,
        high=1.03,
    ),
    Prediction(
        "6. Version 8 gains more on A, with few warps, than on B",
        _gain_on_b,
        "of the gain on A",
        "where many warps take turns, there is less waiting to save",
        high=1,
        detail=_gains,
    ),
    Prediction(
        "7. In 16 bits: half the bytes, half the time",
        _halved,
        "of the time in float32",
        "a row of 256 bytes is waited for as long as one of 512, and no more rows are under way",
        low=0.45,
        high=0.6,
    ),
    Prediction(
        "8a. The package's choice, version 8, is the best or close to it: uniform ids",
        partial(_chosen, SKEWS[:1]),
        "of the best version's time",
        "it never runs out of rows under way",
        high=1.05,
    ),
    Prediction(
        "8b. The same: skewed ids",
        partial(_chosen, SKEWS[1:]),
        "of the best version's time",
        "see 4c. *Known*: the host cannot see the skew without waiting for the GPU",
        high=1.05,
    ),
    Prediction(
        "9. Each of the eight is faster than torch's kernel",
        _of_torch,
        "of torch's time",
        "we have none: the record has times of torch's kernel, and no counts",
        high=1,
    ),
)
