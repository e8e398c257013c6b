"""The exercises of chapter 06: measuring."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.variants import items, reordered

# ---- 06.bytes -------------------------------------------------------------------------------


def forward_bytes(
    input: np.ndarray, offsets: np.ndarray, weight: np.ndarray, per_sample_weights: Any = None
) -> tuple[int, int]:
    """The logical and the compulsory bytes of a forward, mode sum. offsets: (B + 1,)."""
    row = weight.shape[1] * weight.itemsize
    rest = (len(offsets) - 1) * row + input.nbytes + offsets.nbytes
    if per_sample_weights is not None:
        rest += per_sample_weights.nbytes
    return len(input) * row + rest, len(np.unique(input)) * row + rest


def _no_output(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    output = (len(offsets) - 1) * weight.shape[1] * weight.itemsize
    return logical - output, compulsory - output


def _no_indices(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    return logical - input.nbytes, compulsory - input.nbytes


def _whole_table(input, offsets, weight, per_sample_weights=None):
    logical, _ = forward_bytes(input, offsets, weight, per_sample_weights)
    row = weight.shape[1] * weight.itemsize
    return logical, logical + (len(weight) - len(input)) * row


def _always_four(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    bags, features = len(offsets) - 1, weight.shape[1]
    more = (4 - weight.itemsize) * features
    return (
        logical + (len(input) + bags) * more,
        compulsory + (len(np.unique(input)) + bags) * more,
    )


def _no_weights(input, offsets, weight, per_sample_weights=None):
    return forward_bytes(input, offsets, weight)


def _one_bag_more(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    row = weight.shape[1] * weight.itemsize
    return logical + row, compulsory + row


def _itemsize_of_offsets(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    more = len(input) * (offsets.itemsize - input.itemsize)
    return logical + more, compulsory + more


def _itemsize_of_input(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    more = len(offsets) * (input.itemsize - offsets.itemsize)
    return logical + more, compulsory + more


def _weights_like_the_table(input, offsets, weight, per_sample_weights=None):
    if per_sample_weights is not None:
        per_sample_weights = per_sample_weights.astype(weight.dtype)
    return forward_bytes(input, offsets, weight, per_sample_weights)


def _no_offsets(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    return logical - offsets.nbytes, compulsory - offsets.nbytes


def _the_other_way_round(input, offsets, weight, per_sample_weights=None):
    return forward_bytes(input, offsets, weight, per_sample_weights)[::-1]


def _distinct_output(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    row, empty = weight.shape[1] * weight.itemsize, int((np.diff(offsets) == 0).sum())
    return logical - empty * row, compulsory - empty * row


def _distinct_indices(input, offsets, weight, per_sample_weights=None):
    logical, compulsory = forward_bytes(input, offsets, weight, per_sample_weights)
    again = len(input) - len(np.unique(input))
    return logical, compulsory - again * input.itemsize


def _bytes_cases() -> list[Case]:
    random = np.random.default_rng(6)
    table = np.zeros((5, 2), np.float32)
    ids = random.integers(0, 9, 40)
    ends = np.array([0, 10, 25, 40])
    return [
        Case("one position", np.array([3]), np.array([0, 1]), table),
        Case("a row twice", np.array([3, 3, 1]), np.array([0, 1, 3]), table),
        Case("an empty bag", np.array([3, 1]), np.array([0, 2, 2]), table),
        Case("float64", np.array([3, 3]), np.array([0, 2]), table.astype(np.float64)),
        Case("16 bits", np.array([3, 1]), np.array([0, 2]), table.astype(np.float16)),
        Case("int32 ids", np.array([3, 1], np.int32), np.array([0, 2], np.int32), table),
        Case("int32 ids, int64 offsets", np.array([3, 1], np.int32), np.array([0, 2]), table),
        Case("float64 weights", np.array([3, 1]), np.array([0, 2]), table, np.ones(2)),
        Case(
            "weights",
            np.array([3, 1, 4]),
            np.array([0, 3]),
            table,
            np.array([1, 2, 0.5], np.float32),
        ),
        Case("forty positions", ids, ends, np.zeros((9, 16), np.float32)),
    ]


def _any_forward_bytes(random):
    V = draw.size(random, 1, 8)
    input, offsets = draw.bags(random, V, random.choice([np.int32, np.int64]))
    ends = np.append(offsets, len(input)).astype(random.choice([np.int32, np.int64]))
    floats = [np.float16, np.float32, np.float64]
    weight = np.zeros((V, draw.size(random, 1, 9)), random.choice(floats))
    if random.random() < 0.5:
        return input, ends, weight
    return input, ends, weight, random.integers(0, 2, len(input)).astype(random.choice(floats))


BYTES = Exercise(
    "06.forward_bytes",
    "the bytes of a forward",
    forward_bytes,
    _bytes_cases,
    random_call=_any_forward_bytes,
    otherwise="It takes the sizes from `nbytes` and `itemsize`, so it names no dtype.",
    hints=(
        "List the arrays that are read, and the one that is written.",
        "Logical and compulsory bytes differ in one term only: how often the rows are read.",
        "A row has D times the table's itemsize. Read N of them, or as many as there are different "
        "ids; write B; add the nbytes of all small arrays.",
    ),
    wrong=(
        Wrong(_no_output, "The output is missing: B rows are written, and writing costs bytes."),
        Wrong(_no_indices, "The ids themselves must be read: N numbers of 4 or 8 bytes."),
        Wrong(
            _whole_table,
            "You charged for the whole table. Rows that no position names are never read.",
        ),
        Wrong(_always_four, "A number has not always 4 bytes: ask the table for its itemsize."),
        Wrong(_no_weights, "per_sample_weights are read, too: one for each position."),
        Wrong(_one_bag_more, "offsets holds the end as well: there are len(offsets) - 1 bags."),
        Wrong(
            _itemsize_of_offsets,
            "The ids are counted with the itemsize of offsets. Each array has a dtype of its own: "
            "ask it for its nbytes.",
        ),
        Wrong(
            _itemsize_of_input,
            "The offsets are counted with the itemsize of input. Each array has a dtype of its "
            "own: ask it for its nbytes.",
        ),
        Wrong(
            _weights_like_the_table,
            "per_sample_weights are counted with the itemsize of the table. Ask them for their "
            "nbytes.",
        ),
        Wrong(_no_offsets, "offsets are read, too."),
        Wrong(_the_other_way_round, "The two are in the other order: logical first."),
        Wrong(_distinct_output, "An empty bag has a row in the output, too: zeros are written."),
        Wrong(
            _distinct_indices,
            "Only rows repeat. Every place of the array of ids is read once, whatever stands "
            "there.",
        ),
    ),
    points=2,
    returns=("logical", "compulsory"),
    unproved="that a machine moves just as many bytes: it moves whole cache lines.",
)

# ---- 06.distinct ----------------------------------------------------------------------------


def expected_distinct(probabilities: np.ndarray, n: int) -> float:
    """How many distinct rows n independent draws hit, on average. probabilities: (V,)."""
    return float((1 - (1 - probabilities) ** n).sum())


def _all_draws(probabilities, n):
    return float(n)


def _as_many_as_fit(probabilities, n):
    return float(min(n, (probabilities > 0).sum()))


def _as_if_uniform(probabilities, n):
    rows = len(probabilities)
    return float(rows * (1 - (1 - 1 / rows) ** n))


def _one_miss_less(probabilities, n):
    return float((1 - (1 - probabilities) ** (n + 1)).sum())


def _a_mean_chance(probabilities, n):
    return float((1 - (1 - probabilities) ** n).mean())


def _missed(probabilities, n):
    return float(((1 - probabilities) ** n).sum())


def _hits_every_time(probabilities, n):
    return float((1 - probabilities**n).sum())


def _poisson(probabilities, n):
    return float((1 - np.exp(-n * probabilities)).sum())


def _linear(probabilities, n):
    return float(np.minimum(n * probabilities, 1).sum())


def _distinct_cases() -> list[Case]:
    zipf = np.arange(1.0, 21) ** -1.05
    return [
        Case("one draw", np.array([0.5, 0.5]), 1),
        Case("two draws, two rows", np.array([0.5, 0.5]), 2),
        Case("no draw", np.array([0.5, 0.5]), 0),
        Case("one hot row", np.array([0.0, 1.0, 0.0]), 5),
        Case("skewed", np.array([0.75, 0.25]), 3),
        Case("twenty rows, Zipf", zipf / zipf.sum(), 30),
    ]


def _any_expected_distinct(random):
    chances = random.random(draw.size(random, 1, 9)) ** random.choice([1, 4])
    chances[random.random(len(chances)) < 0.2] = 0
    chances[0] += 0.01
    return chances / chances.sum(), draw.size(random, 0, 12)


DISTINCT = Exercise(
    "06.expected_distinct",
    "predict U",
    expected_distinct,
    _distinct_cases,
    random_call=_any_expected_distinct,
    otherwise="It adds up the chances that all n draws miss a row, and takes the sum away from V.",
    hints=(
        "Look at a single row first. What is the chance that one draw misses it?",
        "n draws miss it with that chance to the n-th power. When is the row counted in U?",
        "The mean of U is the sum, over the rows, of the chance that a row is not missed by all.",
    ),
    wrong=(
        Wrong(_all_draws, "That is N. Two draws may hit the same row, which counts once."),
        Wrong(
            _as_many_as_fit,
            "That is the largest U that can be. Draws repeat rows long before all rows are used.",
        ),
        Wrong(
            _as_if_uniform,
            "You treat all rows as equally likely. With skewed probabilities U is smaller.",
        ),
        Wrong(_one_miss_less, "That is the U of n + 1 draws."),
        Wrong(
            _a_mean_chance,
            "That is the mean chance of a row to be hit. U is the sum of these chances.",
        ),
        Wrong(_missed, "These are the rows that were never drawn. U counts the others."),
        Wrong(
            _hits_every_time,
            "p to the n-th power is the chance to be hit by every draw. You want: missed by every "
            "one.",
        ),
        Wrong(
            _poisson,
            "A good approximation for many rows and small p, but not exact: the chance to miss "
            "once is 1 - p, not exp(-p).",
        ),
        Wrong(
            _linear,
            "n times p is the mean number of hits of a row. A row with two hits counts once, and "
            "that makes up for no row with none.",
        ),
    ),
    points=2,
    unproved="draws that depend on each other, like the words of one review.",
)

# ---- 06.lies: five benchmarks, and what is wrong with each ----------------------------------

LIES = ("unchecked", "warm-up", "lazy", "same ids", "unlike")


def times_of(functions, inputs, clock):
    """The times of two functions that take turns. There is nothing wrong with this one."""
    times: list[list[float]] = [[], []]
    for input in inputs:
        for function, taken in zip(functions, times, strict=True):
            begin = clock()
            function(input)
            taken.append(clock() - begin)
    return times


def bench_a(ours, theirs, draw, clock):
    """20 turns each, fresh inputs, checked."""
    inputs = [draw(seed) for seed in range(20)]
    assert ours(inputs[0]).shape == theirs(inputs[0]).shape
    first, second = times_of((ours, theirs), inputs, clock)
    return np.median(first) / np.median(second)


def bench_b(ours, theirs, draw, clock):
    """20 turns each, checked."""
    inputs = [draw(0)] * 20
    assert np.allclose(ours(inputs[0]), theirs(inputs[0]))
    first, second = times_of((ours, theirs), inputs, clock)
    return np.median(first) / np.median(second)


def bench_c(ours, theirs, draw, clock):
    """20 turns each, fresh inputs, checked. ours is a generator: it yields bag by bag."""
    inputs = [draw(seed) for seed in range(20)]
    assert np.allclose(list(ours(inputs[0])), theirs(inputs[0]))
    first, second = times_of((ours, theirs), inputs, clock)
    return np.median(first) / np.median(second)


def bench_d(ours, theirs, draw, clock):
    """20 turns each, fresh inputs, checked."""
    inputs = [draw(seed) for seed in range(20)]
    assert np.allclose(ours(inputs[0]), theirs(inputs[0]))
    first, second = times_of((ours, theirs), inputs, clock)
    return np.min(first) / np.mean(second)


def bench_e(load_ours, load_theirs, draw, clock):
    """Checked. Loading a function compiles it, or builds its tables: once in a program's life."""
    begin = clock()
    first = load_ours()(draw(0))
    middle = clock()
    second = load_theirs()(draw(0))
    end = clock()
    assert np.allclose(first, second)
    return (middle - begin) / (end - middle)


BENCHMARKS = {"A": bench_a, "B": bench_b, "C": bench_c, "D": bench_d, "E": bench_e}
ANSWERS = {"A": "unchecked", "B": "same ids", "C": "lazy", "D": "unlike", "E": "warm-up"}
_LOOK = {
    "A": 'Look at "A" again: what exactly does its assert compare? Zeros have a shape, too.',
    "B": 'Look at "B" again: what do all 20 turns have in common?',
    "C": 'Look at "C" again: when does a function that yields begin to work?',
    "D": 'Look at "D" again: its loop is good. Read the last line twice.',
    "E": 'Look at "E" again: what else happens between the two readings of the clock?',
}


def _judge_lies(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    if not isinstance(mine, dict) or set(mine) != set(ANSWERS):
        return "Return a dict with the keys A to E, one lie for each."
    for letter, lie in mine.items():
        if lie not in LIES:
            return f"{letter!r}: {lie!r} is none of {', '.join(map(repr, LIES))}."
    if len(set(mine.values())) == 1:
        return "Not all five tell the same lie. Each lie occurs once."
    for letter, lie in ANSWERS.items():
        if mine[letter] != lie:
            return _LOOK[letter]
    return ""


FIND = Exercise(
    "06.lies",
    "the lie in each of five benchmarks",
    ANSWERS,
    otherwise="Its comments say, for each benchmark, where the lie is.",
    hints=(
        "Read each one with three questions: what is checked, what is timed, what is compared?",
        "Four of them differ in a single line each. Where something yields, or loads, ask what is "
        "done while the clock runs, and what is not.",
        "One compares shapes; one draws once; one times the making of a generator; one sets a "
        "least time against a mean; one includes loading.",
    ),
    wrong=(
        Wrong({**ANSWERS, "A": "warm-up", "E": "unchecked"}, _LOOK["A"]),
        Wrong({**ANSWERS, "B": "unlike", "D": "same ids"}, _LOOK["B"]),
        Wrong({**ANSWERS, "C": "warm-up", "E": "lazy"}, _LOOK["C"]),
        Wrong({**ANSWERS, "D": "warm-up", "E": "unlike"}, _LOOK["D"]),
        Wrong({**ANSWERS, "E": "unlike"}, _LOOK["E"]),
        Wrong(dict.fromkeys(ANSWERS, "unchecked"), "Each lie occurs once."),
        Wrong({"A": "unchecked"}, "Return a dict with the keys A to E"),
    ),
    points=2,
    unproved="that these five are all the ways in which a benchmark can lie.",
    judge=_judge_lies,
    vary=reordered("ABCDE"),
    shown=items([f'BENCHMARKS["{letter}"]' for letter in BENCHMARKS], ANSWERS),
)

# ---- 06.ratio -------------------------------------------------------------------------------


def ratio(times: np.ndarray, warm: int) -> tuple[float, float]:
    """The ratio of medians, and how much ours spreads: (q3 - q1) / median.

    times: (turns, 2), ours and theirs in each turn; the first `warm` turns do not count.
    """
    first, middle, third = np.quantile(times[warm:, 0], [0.25, 0.5, 0.75])
    return float(middle / np.median(times[warm:, 1])), float((third - first) / middle)


def _of_means(times, warm):
    ours, theirs = times[warm:].mean(axis=0)
    return float(ours / theirs), ratio(times, warm)[1]


def _of_minima(times, warm):
    ours, theirs = times[warm:].min(axis=0)
    return float(ours / theirs), ratio(times, warm)[1]


def _warm_too(times, warm):
    return ratio(times, 0)


def _upside_down(times, warm):
    found, spread = ratio(times, warm)
    return 1 / found, spread


def _median_of_ratios(times, warm):
    return float(np.median(times[warm:, 0] / times[warm:, 1])), ratio(times, warm)[1]


def _whole_range(times, warm):
    ours = times[warm:, 0]
    return ratio(times, warm)[0], float((ours.max() - ours.min()) / np.median(ours))


def _not_divided(times, warm):
    first, third = np.quantile(times[warm:, 0], [0.25, 0.75])
    return ratio(times, warm)[0], float(third - first)


def _between_the_times(times, warm):
    first, _, third = statistics.quantiles(times[warm:, 0])
    return ratio(times, warm)[0], float((third - first) / np.median(times[warm:, 0]))


def _medians_of_halves(times, warm):
    ours = np.sort(times[warm:, 0])
    half = len(ours) // 2
    between = np.median(ours[len(ours) - half :]) - np.median(ours[:half])
    return ratio(times, warm)[0], float(between / np.median(ours))


def _standard_deviation(times, warm):
    ours = times[warm:, 0]
    return ratio(times, warm)[0], float(ours.std() / ours.mean())


def _in_parts_of_theirs(times, warm):
    first, third = np.quantile(times[warm:, 0], [0.25, 0.75])
    return ratio(times, warm)[0], float((third - first) / np.median(times[warm:, 1]))


def _spread_of_theirs(times, warm):
    return ratio(times, warm)[0], ratio(times[:, ::-1], warm)[1]


def _warm_at_the_end(times, warm):
    return ratio(times[: len(times) - warm], 0)


def _ratio_cases() -> list[Case]:
    random = np.random.default_rng(66)
    steady = np.array([[2.0, 4], [3, 4], [4, 5], [5, 7], [9, 4]])
    slow_start = np.concatenate([[[80.0, 5], [40, 5]], steady])
    noisy = random.lognormal(0, 0.3, (30, 2)) * [2, 5]
    return [
        Case("five turns", steady, 0),
        Case("two warm-up turns before them", slow_start, 2),
        Case("one interrupted turn", np.array([[2.0, 4], [2, 5], [90, 4], [3, 6]]), 0),
        Case("thirty turns, the first four to warm up", noisy, 4),
    ]


def _any_ratio(random):
    warm = draw.size(random, 0, 3)
    times = random.lognormal(0, 0.5, (warm + draw.size(random, 2, 9), 2))
    return times * random.uniform(0.1, 9, 2), warm


RATIO = Exercise(
    "06.ratio",
    "the ratio of two interleaved series of times",
    ratio,
    _ratio_cases,
    random_call=_any_ratio,
    otherwise="It asks `np.percentile` for the three quartiles at once; the middle one is "
    "the median.",
    hints=(
        "Drop what does not count first. What is left has a row for each turn.",
        "One median for each column. The ratio is ours over theirs: below 1 means ours is faster.",
        "For the spread, take the quantiles a quarter and three quarters of our times, by "
        "np.quantile; their distance is told in parts of the median.",
    ),
    wrong=(
        Wrong(_of_means, "That is the ratio of means: one interrupted turn moves it a lot."),
        Wrong(_of_minima, "That is the ratio of the least times: one lucky turn decides it."),
        Wrong(_warm_too, "The warm-up turns are still among the times."),
        Wrong(_upside_down, "Ours divided by theirs, please. Yours is upside down."),
        Wrong(
            _median_of_ratios,
            "You took the median of each turn's ratio. That can be useful, but it is not the "
            "ratio of the two medians.",
        ),
        Wrong(_whole_range, "The spread is between the quartiles. The range grows with each turn."),
        Wrong(
            _between_the_times,
            "Quartiles have several definitions, and yours is another one (statistics.quantiles "
            "has it). Take np.quantile's here.",
        ),
        Wrong(
            _medians_of_halves,
            "Quartiles have several definitions. Yours are the medians of the two halves; take "
            "np.quantile's here.",
        ),
        Wrong(_standard_deviation, "That is the standard deviation; the quartiles are asked for."),
        Wrong(_in_parts_of_theirs, "The spread of ours is told in parts of the median of ours."),
        Wrong(_spread_of_theirs, "That is the spread of theirs. Ours is asked for."),
        Wrong(_not_divided, "Tell the spread in parts of the median: divide by it."),
        Wrong(_warm_at_the_end, "You dropped the last turns. One warms up at the start."),
    ),
    points=2,
    returns=("ratio", "spread"),
    unproved="that the times were taken well: see exercise 3.",
)

# ---- 06.peak --------------------------------------------------------------------------------


def peaks(N: int, D: int, itemsize: int, block: int) -> tuple[int, int]:
    """The bytes of the gathered rows: all at once, and with pieces of `block` bytes."""
    rows = min(max(block // (D * itemsize), 1), N)
    return N * D * itemsize, rows * D * itemsize


def _block_itself(N, D, itemsize, block):
    return N * D * itemsize, block


def _never_more_than_n(N, D, itemsize, block):
    return N * D * itemsize, max(block // (D * itemsize), 1) * D * itemsize


def _no_row_fits(N, D, itemsize, block):
    return N * D * itemsize, min(block // (D * itemsize), N) * D * itemsize


def _rounded_up(N, D, itemsize, block):
    return N * D * itemsize, min(-(-block // (D * itemsize)), N) * D * itemsize


def _numbers(N, D, itemsize, block):
    full, pieces = peaks(N, D, itemsize, block)
    return full // itemsize, pieces // itemsize


def _not_whole(N, D, itemsize, block):
    row = D * itemsize
    return N * row, min(max(block / row, 1), N) * row


def _one_row(N, D, itemsize, block):
    return N * D * itemsize, min(N, 1) * D * itemsize


def _of_all_pieces(N, D, itemsize, block):
    return N * D * itemsize, N * D * itemsize


def _peak_cases() -> list[Case]:
    return [
        Case("two rows fit", 5, 3, 4, 24),
        Case("a block that no whole row fills", 5, 3, 4, 30),
        Case("a row larger than the block", 5, 3, 4, 8),
        Case("all fits", 2, 3, 4, 1000),
        Case("ten million positions", 10_000_000, 64, 4, 8 << 20),
        Case("float64", 1000, 16, 8, 4096),
        Case("no position", 0, 3, 4, 24),
    ]


def _any_peaks(random):
    block = int(random.choice([1, 24, 30, 64, 1000]))
    return draw.size(random, 0, 9), draw.size(random, 1, 7), int(random.choice([2, 4, 8])), block


PEAK = Exercise(
    "06.peaks",
    "the memory of a gather, whole and in pieces",
    peaks,
    _peak_cases,
    random_call=_any_peaks,
    otherwise="It takes the smaller of N and the rows that fit, once at least one row fits.",
    hints=(
        "How many bytes has one row? How many rows live at the same time, in either way?",
        "A block holds whole rows only, and at least one, or nothing would get done.",
        "Divide the block by the bytes of a row, rounding down; keep the result between one row "
        "and all of them.",
    ),
    wrong=(
        Wrong(
            _block_itself, "A block of whole rows is a little smaller, if a row does not divide it."
        ),
        Wrong(_never_more_than_n, "There are only N rows: a large block is not filled."),
        Wrong(_no_row_fits, "A row that is larger than the block must be gathered all the same."),
        Wrong(_rounded_up, "Rounded up, the last row goes over the limit. Round down."),
        Wrong(_numbers, "These are numbers, not bytes: each has itemsize bytes."),
        Wrong(_not_whole, "A block holds whole rows: divide with `//`."),
        Wrong(_one_row, "A block holds as many rows as fit, not one row only."),
        Wrong(
            _of_all_pieces,
            "That is what all pieces have together. They use the same block, one after another.",
        ),
    ),
    returns=("whole", "in_pieces"),
    unproved="that nothing else takes memory: the output does, and so do a library's own buffers.",
)

EXERCISES = (BYTES, DISTINCT, FIND, RATIO, PEAK)
