"""The exercises of chapter 02: the whole forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu import embedding_bag
from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.tools import without_numpy
from embag_edu.course.variants import in_bag, items, reordered

NAN, INF = float("nan"), float("inf")

# ---- 02.padded_mean -------------------------------------------------------------------------


def padded_mean(input, weight, padding_idx):
    """The mean row of each bag of a padded 2-D input; lists of lists in and out."""
    padding_idx = padding_idx % len(weight)
    output = []
    for ids in input:
        rows = [weight[i] for i in ids if i != padding_idx]
        columns = range(len(weight[0]))
        output.append([sum(row[f] for row in rows) / max(len(rows), 1) for f in columns])
    return output


def _mean_of(input, weight, members, count):
    """The faulty means below: which positions are added, and by what is divided."""
    output = []
    for ids in input:
        rows = [weight[i] for i in members(ids)]
        columns = range(len(weight[0]))
        output.append([sum(row[f] for row in rows) / count(ids) for f in columns])
    return output


def _mean_with_padding(input, weight, padding_idx):
    return _mean_of(input, weight, lambda ids: ids, len)


def _mean_over_all(input, weight, padding_idx):
    padding_idx = padding_idx % len(weight)
    return _mean_of(input, weight, lambda ids: [i for i in ids if i != padding_idx], len)


def _mean_divides_by_zero(input, weight, padding_idx):
    padding_idx = padding_idx % len(weight)

    def words(ids):
        return [i for i in ids if i != padding_idx]

    return _mean_of(input, weight, words, lambda ids: len(words(ids)))


def _mean_not_wrapped(input, weight, padding_idx):
    def words(ids):
        return [i for i in ids if i != padding_idx]

    return _mean_of(input, weight, words, lambda ids: max(len(words(ids)), 1))


def _mean_only_minus_one(input, weight, padding_idx):
    return (
        padded_mean(input, weight, padding_idx)
        if padding_idx >= -1
        else _mean_not_wrapped(input, weight, padding_idx)
    )


def _mean_zero_is_none(input, weight, padding_idx):
    return (padded_mean if padding_idx else _mean_with_padding)(input, weight, padding_idx)


def _mean_sign_lost(input, weight, padding_idx):
    return padded_mean(input, weight, abs(padding_idx))


def _mean_nothing_for_padding(input, weight, padding_idx):
    means = padded_mean(input, weight, padding_idx)
    wrapped = padding_idx % len(weight)
    return [
        mean if any(i != wrapped for i in ids) else []
        for ids, mean in zip(input, means, strict=True)
    ]


def _mean_return_in_the_loop(input, weight, padding_idx):
    return padded_mean(input[:1], weight, padding_idx)


def _mean_is_sum(input, weight, padding_idx):
    return _mean_of(
        input, weight, lambda ids: [i for i in ids if i != padding_idx % len(weight)], lambda ids: 1
    )


def _mean_by_numpy(input, weight, padding_idx):
    table = np.array(weight)
    rows = [table[[i for i in ids if i != padding_idx % len(weight)]] for ids in input]
    return [(part.sum(axis=0) / max(len(part), 1)).tolist() for part in rows]


def _mean_padding_zero(input, weight, padding_idx):
    return padded_mean(input, weight, 0)


def _mean_times_zero(input, weight, padding_idx):
    padding_idx = padding_idx % len(weight)
    output = []
    for ids in input:
        counts = [float(i != padding_idx) for i in ids]
        row = [0.0] * len(weight[0])
        for i, factor in zip(ids, counts, strict=True):
            row = [total + factor * value for total, value in zip(row, weight[i], strict=True)]
        output.append([total / max(sum(counts), 1) for total in row])
    return output


def _mean_empty_dropped(input, weight, padding_idx):
    wrapped = padding_idx % len(weight)
    kept = [ids for ids in input if any(i != wrapped for i in ids)]
    return padded_mean(kept, weight, padding_idx)


def _mean_cases():
    table = [[9.0, 9.0], [1.0, 10.0], [2.0, 20.0], [4.0, 80.0]]
    random = np.random.default_rng(2)
    ids = random.integers(0, 6, (7, 5)).tolist()
    wide = (random.integers(-8, 9, (6, 3)) / 4).tolist()
    return [
        Case("no padding at all", [[1, 2], [3, 2]], table, 0),
        Case("one short review", [[1, 3, 3], [2, 0, 0]], table, 0),
        Case("padding in front", [[0, 0, 2, 3]], table, 0),
        Case("a bag of padding only", [[0, 0], [1, 3]], table, 0),
        Case("another row is padding", [[1, 2, 2], [0, 3, 2]], table, 2),
        Case("padding_idx = -1", [[1, 3, 3], [0, 2, 3]], table, -1),
        Case("NaN in the padding row", [[1, 2, 0]], [[NAN, NAN], *table[1:]], 0),
        Case("seven bags of five", ids, wide, 4),
        Case("a table of one row", [[0], [0]], [[7.0]], 0),
        Case("padding_idx = -2", [[1, 2, 3], [2, 2, 0]], table, -2),
        Case("padding_idx = -4", [[1, 0, 3], [2, 2, 0]], table, -4),
    ]


def _any_padded_mean(random):
    V = draw.size(random, 1, 6)
    input = random.integers(0, V, (draw.size(random, 1), draw.size(random, 1)))
    weight, padding = draw.table(random, V, draw.size(random, 1, 4)), int(random.integers(-V, V))
    if random.random() < 0.4:
        weight[padding] = NAN
    return input.tolist(), draw.spoiled(random, weight).tolist(), padding


# ---- 02.tfidf -------------------------------------------------------------------------------


def tfidf(input, offsets, review_counts, num_reviews):
    """per_sample_weights, (N,) float32, that make mode "sum" a tf-idf average of each bag."""
    lengths = np.diff(np.append(offsets, len(input)))
    idf = np.log(num_reviews / review_counts[input])
    return (idf / np.repeat(lengths, lengths)).astype(np.float32)


def _tfidf_double(input, offsets, review_counts, num_reviews):
    lengths = np.diff(np.append(offsets, len(input)))
    return np.log(num_reviews / review_counts[input]) / np.repeat(lengths, lengths)


def _tfidf_not_divided(input, offsets, review_counts, num_reviews):
    return np.log(num_reviews / review_counts[input]).astype(np.float32)


def _tfidf_double_not_divided(input, offsets, review_counts, num_reviews):
    return np.log(num_reviews / review_counts[input])


def _tfidf_over_everything(input, offsets, review_counts, num_reviews):
    idf = np.log(num_reviews / review_counts[input])
    return (idf / max(len(input), 1)).astype(np.float32)


def _tfidf_upside_down(input, offsets, review_counts, num_reviews):
    return -tfidf(input, offsets, review_counts, num_reviews)


def _tfidf_twice(input, offsets, review_counts, num_reviews):
    found = tfidf(input, offsets, review_counts, num_reviews)
    ends = np.append(offsets, len(input))
    for begin, end in zip(ends[:-1], ends[1:], strict=True):
        inside = input[begin:end]
        found[begin:end] *= (inside[:, None] == inside[None]).sum(0)
    return found


def _tfidf_of_places(input, offsets, review_counts, num_reviews):
    lengths = np.diff(np.append(offsets, len(input)))
    idf = np.log(num_reviews / review_counts[: len(input)])
    return (idf / np.repeat(lengths, lengths)).astype(np.float32)


def _tfidf_of_the_largest(input, offsets, review_counts, num_reviews):
    return tfidf(input, offsets, review_counts, review_counts.max())


def _tfidf_of_all_counts(input, offsets, review_counts, num_reviews):
    return tfidf(input, offsets, review_counts, review_counts.sum())


def _tfidf_whole_numbers(input, offsets, review_counts, num_reviews):
    lengths = np.diff(np.append(offsets, len(input)))
    idf = np.log(num_reviews // review_counts[input])
    return (idf / np.repeat(lengths, lengths)).astype(np.float32)


def _tfidf_log2(input, offsets, review_counts, num_reviews):
    return tfidf(input, offsets, review_counts, num_reviews) / np.log(2, dtype=np.float32)


def _tfidf_log10(input, offsets, review_counts, num_reviews):
    return tfidf(input, offsets, review_counts, num_reviews) / np.log(10, dtype=np.float32)


def _tfidf_last_bag(input, offsets, review_counts, num_reviews):
    lengths = np.diff(offsets)
    idf = np.log(num_reviews / review_counts[input])
    return (idf / np.repeat(lengths, lengths)).astype(np.float32)


def _tfidf_plus_one(input, offsets, review_counts, num_reviews):
    return tfidf(input, offsets, review_counts + 1, num_reviews)


def _tfidf_without_log(input, offsets, review_counts, num_reviews):
    lengths = np.diff(np.append(offsets, len(input)))
    found = num_reviews / review_counts[input] / np.repeat(lengths, lengths)
    return found.astype(np.float32)


def _tfidf_cases():
    counts = np.array([1, 50, 100, 20, 2, 10, 4, 80])
    random = np.random.default_rng(3)
    many = np.sort(random.integers(0, 40, 12))
    return [
        Case("one bag", np.array([3, 1]), np.array([0]), counts, 100),
        Case("lengths 1 and 2", np.array([3, 1, 4]), np.array([0, 1]), counts, 100),
        Case("a word in every review", np.array([2, 5]), np.array([0]), counts, 100),
        Case("a word twice in its bag", np.array([5, 5, 1]), np.array([0]), counts, 100),
        Case("more reviews", np.array([2, 4]), np.array([0]), counts, 250),
        Case("an empty bag", np.array([6, 1, 4]), np.array([0, 2, 2]), counts, 100),
        Case("thirteen bags", random.integers(0, 8, 40), np.append(0, many), counts, 100),
    ]


def _any_tfidf(random):
    V, reviews = draw.size(random, 2, 8), draw.size(random, 9, 300)
    input, offsets = draw.bags(random, V)
    return input, offsets, random.integers(1, reviews + 1, V), reviews


# ---- 02.winners -----------------------------------------------------------------------------


def winners(rows):
    """Which row of a bag wins each feature, by torch's rules; -1 where the bag has no rows."""
    won = [-1] * rows.shape[1]
    for number, row in enumerate(rows):
        for feature, value in enumerate(row):
            if won[feature] == -1 or value > rows[won[feature], feature]:
                won[feature] = number
    return won


def _winners_argmax(rows):
    return rows.argmax(axis=0).tolist() if len(rows) else [-1] * rows.shape[1]


def _winners_plain_argmax(rows):
    return rows.argmax(axis=0)


def _winners_nanargmax(rows):
    return np.nanargmax(rows, axis=0)


def _winners_values(rows):
    return rows.max(axis=0) if len(rows) else np.full(rows.shape[1], -1.0)


def _winners_zero_is_nobody(rows):
    won = [0] * rows.shape[1] if len(rows) else [-1] * rows.shape[1]
    for number, row in enumerate(rows):
        for feature, value in enumerate(row):
            if won[feature] == 0 or value > rows[won[feature], feature]:
                won[feature] = number
    return won


def _winners_return_in_the_loop(rows):
    return [0] * rows.shape[1] if len(rows) else None


def _winners_axis(rows):
    return winners(rows.T)


def _winners_smallest(rows):
    return winners(-rows)


def _winners_skip_nan(rows):
    plain = np.where(np.isnan(rows), -INF, rows)
    return plain.argmax(axis=0).tolist() if len(rows) else [-1] * rows.shape[1]


def _winners_last(rows):
    won = [-1] * rows.shape[1]
    for number, row in enumerate(rows):
        for feature, value in enumerate(row):
            if won[feature] == -1 or value >= rows[won[feature], feature]:
                won[feature] = number
    return won


def _winners_above(start):
    def winners_from_a_start(rows):
        best, won = [start] * rows.shape[1], [-1] * rows.shape[1]
        for number, row in enumerate(rows):
            for feature, value in enumerate(row):
                if value > best[feature]:
                    best[feature], won[feature] = value, number
        return won

    return winners_from_a_start


def _winners_not_larger(rows):
    won = [-1] * rows.shape[1]
    for number, row in enumerate(rows):
        for feature, value in enumerate(row):
            if won[feature] == -1 or not value <= rows[won[feature], feature]:
                won[feature] = number
    return won


def _winners_empty_zero(rows):
    return [max(number, 0) for number in winners(rows)]


def _winners_whole_row(rows):
    if not len(rows):
        return [-1] * rows.shape[1]
    return [int(np.argmax(rows.sum(axis=1)))] * rows.shape[1]


def _winners_cases():
    random = np.random.default_rng(4)
    mixed = random.integers(-3, 4, (9, 5)).astype(np.float32)
    mixed[random.random(mixed.shape) < 0.2] = NAN
    return [
        Case("won by different rows", np.array([[1.0, 5.0], [4.0, 2.0]])),
        Case("only negative numbers", np.array([[-3.0, -1.0], [-2.0, -4.0]])),
        Case("zero beats a negative number", np.array([[-1.0], [0.0]])),
        Case("a tie", np.array([[1.0, 0.0], [7.0, -0.0], [7.0, 0.0]])),
        Case("NaN later", np.array([[1.0], [NAN], [0.0]])),
        Case("NaN first", np.array([[NAN], [5.0], [NAN]])),
        Case("-inf alone", np.array([[-INF, -INF]])),
        Case("no rows", np.zeros((0, 3))),
        Case("nine rows with NaNs", mixed),
    ]


def _any_winners(random):
    rows = random.integers(-2, 3, (draw.size(random, 0), draw.size(random, 1, 5))).astype(
        random.choice([np.float32, np.float64, np.float16])
    )
    rows[random.random(rows.shape) < random.choice([0, 0.3])] = NAN
    rows[random.random(rows.shape) < random.choice([0, 0.3])] = -INF
    rows[random.random(rows.shape) < random.choice([0, 0.1])] = INF
    return (rows,)


# ---- 02.rescaled ----------------------------------------------------------------------------


def rescaled(row, max_norm):
    """One row as max_norm leaves it, by torch's formula, in the row's own dtype."""
    to_dtype = row.dtype.type
    norm = float(to_dtype(np.sqrt(np.sum(row.astype(np.float64) ** 2))))
    if norm > max_norm:
        return row * to_dtype(max_norm / (norm + 1e-7))
    return row


def _norm(row):
    return float(row.dtype.type(np.sqrt(np.sum(row.astype(np.float64) ** 2))))


def _rescaled_exactly(row, max_norm):
    norm = _norm(row)
    return row * row.dtype.type(max_norm / norm) if norm > max_norm else row


def _rescaled_always_exactly(row, max_norm):
    return row * row.dtype.type(max_norm / _norm(row))


def _rescaled_in_half_exactly(row, max_norm):
    with np.errstate(over="ignore"):
        norm = np.sqrt((row**2).sum())
    return row * (max_norm / norm) if norm >= max_norm else row


def _rescaled_at_the_edge(row, max_norm):
    norm = _norm(row)
    return row * row.dtype.type(max_norm / (norm + 1e-7)) if norm >= max_norm else row


def _rescaled_always(row, max_norm):
    return row * row.dtype.type(max_norm / (_norm(row) + 1e-7))


def _rescaled_squared(row, max_norm):
    norm = float(np.sum(row.astype(np.float64) ** 2))
    return row * row.dtype.type(max_norm / (norm + 1e-7)) if norm > max_norm else row


def _rescaled_in_half(row, max_norm):
    with np.errstate(over="ignore"):
        norm = float(np.sqrt(np.sum(row * row, dtype=row.dtype)))
    return row * row.dtype.type(max_norm / (norm + 1e-7)) if norm > max_norm else row


def _rescaled_in_place(row, max_norm):
    row[:] = rescaled(row, max_norm)
    return row


def _rescaled_double(row, max_norm):
    return rescaled(row, max_norm).astype(np.float64)


def _rescaled_largest(row, max_norm):
    norm = float(np.abs(row).max())
    return row * row.dtype.type(max_norm / (norm + 1e-7)) if norm > max_norm else row


def _rescaled_cases():
    small = np.array([3.0, 4.0]) / 1024  # exact, and small enough for 1e-7 to be seen
    random = np.random.default_rng(5)
    return [
        Case("[3, 4] to length 1", np.array([3.0, 4.0], np.float32), 1.0),
        Case("short enough", np.array([0.3, 0.4], np.float32), 1.0),
        Case("a small row, float64", small, 2.0 / 1024),
        Case("exactly max_norm long", small, 5.0 / 1024),
        Case("large float16 values", np.array([240.0, -180.0, 40.0], np.float16), 2.0),
        Case("float16", np.array(HALF, np.float16), 1.0),
        Case("a float32 row of eight", random.normal(size=8).astype(np.float32), 0.5),
        Case("a float64 row of eight", random.normal(size=8), 0.5),
    ]


def _any_rescaled(random):
    dtype = random.choice([np.float16, np.float32, np.float64])
    scale = random.choice([1.0, 64.0, 1.0 if dtype is np.float16 else 1 / 1024])
    if random.random() < 0.3:  # a length without rounding: the edge itself is in the domain
        return (np.array([3, 4]) * scale).astype(dtype), 5 * scale
    row = (random.normal(size=draw.size(random, 1, 9)) * scale).astype(dtype)
    norm = float(np.sqrt(np.sum(row.astype(np.float64) ** 2)))
    return row, float(norm * random.choice([0.25, 0.5, 2]))


HALF = [-3.8, -1.9, 0.1]  # its norm falls between two float16 numbers


# ---- 02.refusals ----------------------------------------------------------------------------


def _refused_calls() -> dict[str, Callable[[], Any]]:
    weight = np.zeros((4, 2), np.float32)
    ids, start, ones = np.array([0, 1]), np.array([0]), np.ones(2, np.float32)

    def bag(input, *args, **options):
        return lambda: embedding_bag(input, weight, *args, **options)

    return {
        "a": bag(np.array([0, 4]), start),
        "b": bag(np.array([0, -1]), start, padding_idx=-1),
        "c": bag(ids, start, mode="mean", per_sample_weights=ones),
        "d": bag(np.array([[0, 1], [2, 3]]), np.array([0, 2])),
        "e": bag(np.array([0, 4]), start, max_norm=1.0),
        "f": bag(ids, np.array([0, 0, 2, 2])),
        "g": bag(ids, start, mode="median", padding_idx=4),
    }


CALLS = (  # the same, as the notebook shows them
    "`np.array([0, 4]), weight, start`",
    "`np.array([0, -1]), weight, start, padding_idx=-1`",
    '`ids, weight, start, mode="mean", per_sample_weights=np.ones(2, np.float32)`',
    "`np.array([[0, 1], [2, 3]]), weight, np.array([0, 2])`",
    "`np.array([0, 4]), weight, start, max_norm=1.0`",
    "`ids, weight, np.array([0, 0, 2, 2])`",
    '`ids, weight, start, mode="median", padding_idx=4`',
)


def _error_of(function: Callable[[], Any]) -> type[Exception] | None:
    try:
        function()
    except Exception as error:
        return type(error)
    return None


def _refusals() -> dict[str, type[Exception] | None]:
    """The right answer, found by making the calls."""
    return {letter: _error_of(function) for letter, function in _refused_calls().items()}


WHY = {
    "a": "The table has rows 0 to 3. An index outside is refused with the type that torch uses.",
    "b": "Only padding_idx may be negative. An index never counts from the end.",
    "c": "The combination is one that could exist and does not: Python has an error for that.",
    "d": "A 2-D input already says where its bags end. Offsets beside it are a wrong value.",
    "e": "With max_norm, torch reads the rows earlier, in order to measure them, and stumbles "
    "there: over an index, in Python's sense of the word.",
    "f": "Equal neighbors among the offsets make an empty bag, also at the very end.",
    "g": "Two arguments are wrong here. Which of the two does torch look at first?",
}


def _judge_refusals(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    expected = _refusals()
    if not isinstance(mine, dict) or set(mine) != set(expected):
        return f"The answer is a dict with the keys {', '.join(expected)}."
    for letter in expected:
        message = _no_type(mine[letter])
        if message or mine[letter] is not expected[letter]:
            return f'Call "{letter}": {message or WHY[letter]}'
    return ""


def _no_type(answer: Any) -> str:
    """What to say to an answer that is neither None nor a type of error; '' to one that is."""
    if answer is None or (isinstance(answer, type) and issubclass(answer, BaseException)):
        return ""
    if isinstance(answer, str):
        return f"give the type itself, without quotes: {answer.strip()}, not {answer!r}."
    if isinstance(answer, BaseException):
        name = type(answer).__name__
        return f"give the type itself, without parentheses: {name}, not {name}(...)."
    return f"{answer!r} is no type of error. Give one, such as TypeError, or None."


def _wrong_refusals() -> tuple[Wrong, ...]:
    guesses = {
        "a": IndexError,
        "b": None,
        "c": ValueError,
        "d": None,
        "e": RuntimeError,
        "f": RuntimeError,
        "g": RuntimeError,
    }
    told = [Wrong(_refusals() | {k: guess}, WHY[k]) for k, guess in guesses.items()]
    return (
        *told,
        Wrong(_refusals() | {"a": "RuntimeError"}, "give the type itself, without quotes"),
        Wrong(_refusals() | {"c": NotImplementedError("no")}, "without parentheses"),
        Wrong(_refusals() | {"f": False}, "False is no type of error"),
    )


# ---- 02.bug_in_max --------------------------------------------------------------------------


def broken_max(input, weight, offsets):
    """Mode "max", with a bug."""
    output = np.full((len(offsets), weight.shape[1]), -np.inf, weight.dtype)
    ends = np.append(offsets, len(input))
    for bag in range(len(offsets)):
        for row in input[ends[bag] : ends[bag + 1]]:
            output[bag] = np.maximum(output[bag], weight[row])
    output[output == -np.inf] = 0  # an empty bag gives zeros
    return output


NOT_A_CALL = "Answer with a dict of the three arrays: input, weight and offsets."
HAS_NAN = "A NaN goes wrong too, but that is another bug. Find a call without any NaN."
HAS_EMPTY = "Empty bags are what its last line is for: the zeros are right there."
ALL_FINITE = "Every finite number is above -inf, so the loop is right about finite rows."
INF_LOSES = "-inf is there, but another row wins against it, as it should."
HAS_INF = "+inf is larger than all, and the function finds that."


def _wrong_bags(call: dict[str, Any]) -> np.ndarray:
    return np.any(embedding_bag(**call, mode="max") != broken_max(**call), axis=1)


def _judge_bug(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    if not isinstance(mine, dict) or sorted(mine) != ["input", "offsets", "weight"]:
        return NOT_A_CALL
    mine = {name: np.asarray(array) for name, array in mine.items()}
    if np.isnan(mine["weight"]).any():
        return HAS_NAN
    try:
        if _wrong_bags(mine).any():
            return ""
    except Exception as error:
        return f"EmbeddingBag refuses this call: {error}"
    return f"The broken function gives the right answer to this call. {_why_right(mine)}"


def _why_right(call: dict[str, Any]) -> str:
    used = call["weight"][call["input"]]
    if np.isneginf(used).any():
        return INF_LOSES
    if np.isposinf(used).any():
        return HAS_INF
    ends = np.append(call["offsets"], len(call["input"]))
    return HAS_EMPTY if (np.diff(ends) == 0).any() else ALL_FINITE


def _bug_call(input, weight, offsets=(0,)):
    return {"input": np.array(input, int), "weight": np.array(weight),
            "offsets": np.array(offsets)}  # fmt: skip


BUG_WRONG = (
    Wrong(_bug_call([0, 1], [[-1.0], [-2.0]]), ALL_FINITE),
    Wrong(_bug_call([0], [[-1.0], [-2.0]], (0, 1)), HAS_EMPTY),
    Wrong(_bug_call([0, 1], [[1.0], [NAN]]), HAS_NAN),
    Wrong(_bug_call([0, 1], [[-INF], [2.0]]), INF_LOSES),
    Wrong(_bug_call([0, 1], [[INF], [2.0]]), HAS_INF),
    Wrong(([0], [[-INF]], [0]), NOT_A_CALL),
    Wrong(_bug_call([5], [[-INF]]), "EmbeddingBag refuses this call"),
)

# ---- 02.roundings ---------------------------------------------------------------------------

ROUNDINGS = {"a": 2048, "b": 5000, "c": 2048, "d": 1.0, "e": 2.0}
TOTALS = (
    "total of 5000 ones, kept in float16",
    "total of 5000 ones, kept in float32",
    "total of 2049 ones, kept in float32",
    "mean of 4096 twos: their total kept in float16, then divided by 4096",
    "mean of 4096 twos: their total kept in float32, divided there, then rounded",
)

GRID = {
    "a": "From 2048 on, float16 has only every second whole number; 2049 lies halfway between two "
    "and is rounded to 2048, again and again.",
    "b": "float32 counts to 5000 without rounding. Does the float16 grid hold 5000? From 4096 on "
    "it has every fourth whole number.",
    "c": "The total is 2049 in float32. The one rounding at the end goes to the nearest float16, "
    "and from halfway to the one whose last bit is 0.",
    "d": "The total sticks where adding 2.0 is half a step of the grid. Divide that by the number "
    "of rows.",
    "e": "float32 holds the total without rounding; then divide, then round.",
}


def _judge_roundings(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    if not isinstance(mine, dict) or sorted(mine) != sorted(ROUNDINGS):
        return f"The answer is a dict with the keys {', '.join(ROUNDINGS)}."
    wrong = [key for key, expected in ROUNDINGS.items() if not _is(mine[key], expected)]
    return f'Number "{wrong[0]}": {GRID[wrong[0]]}' if wrong else ""


def _is(actual: Any, expected: float) -> bool:
    return isinstance(actual, (int, float, np.number)) and abs(float(actual) - expected) < 1e-3


ROUNDINGS_WRONG = tuple(
    Wrong(ROUNDINGS | {key: guess}, GRID[key])
    for key, guess in {"a": 5000, "b": 2048, "c": 2049, "d": 2.0, "e": 1.0}.items()
)


EXERCISES = (
    Exercise(
        "02.padded_mean",
        "the mean of padded bags, in plain Python",
        padded_mean,
        _mean_cases,
        random_call=_any_padded_mean,
        otherwise="It turns a negative `padding_idx` round once, with `%`, before it looks at "
        "any bag.",
        hints=(
            "Which positions belong in the sum, and which in the number it is divided by?",
            "Make the list of the rows that count first; then the number is its length.",
            "Wrap padding_idx with %, keep the rows of the other ids, add them up column by "
            "column, and divide by their number, or by 1 if there are none.",
        ),
        wrong=(
            Wrong(
                _mean_over_all,
                "The sum leaves padding out, but it is divided by all positions of the bag.",
            ),
            Wrong(
                _mean_divides_by_zero,
                "A bag of padding only has no rows: its mean is zeros, not 0 / 0.",
            ),
            Wrong(_mean_not_wrapped, "A negative padding_idx counts from the end of the table."),
            Wrong(_mean_padding_zero, "Here row 0 is taken for the padding, whatever is asked."),
            Wrong(
                _mean_times_zero,
                "The padding row is multiplied by zero, and NaN times zero is NaN: skip it.",
            ),
            Wrong(_mean_with_padding, "The padding row is added and counted like any other."),
            Wrong(_mean_empty_dropped, "A bag of padding only still has a row in the output."),
            Wrong(
                _mean_only_minus_one,
                "-1 is understood, other negative numbers are not: -2 is the row before the last.",
            ),
            Wrong(
                _mean_zero_is_none,
                "Row 0 is not taken for padding when padding_idx is 0. Does a condition ask for "
                "`padding_idx` alone? 0 counts as False there.",
            ),
            Wrong(
                _mean_sign_lost,
                "A negative padding_idx lost its sign. It counts from the end: -1 is the last row.",
            ),
            Wrong(
                _mean_nothing_for_padding,
                "A bag of padding only gives a row of D zeros, not an empty one.",
            ),
            Wrong(
                _mean_return_in_the_loop,
                "Only the first bag is there. Is the `return` inside the loop?",
            ),
            Wrong(_mean_is_sum, "These are sums: nothing is divided."),
            Wrong(_mean_by_numpy, "the task asks for plain Python"),
        ),
        tools=without_numpy,
        points=2,
        unproved="tables of a million rows, or inputs that are not rectangles.",
    ),
    Exercise(
        "02.tfidf",
        "tf-idf weights for per_sample_weights",
        tfidf,
        _tfidf_cases,
        random_call=_any_tfidf,
        otherwise="It has no loop: `np.repeat(lengths, lengths)` gives each position the length "
        "of its bag.",
        hints=(
            "A weight belongs to a position. What do you know of position i? Its word, input[i], "
            "and its bag.",
            "review_counts[input] gives each position its word's count. np.repeat gives each "
            "position the length of its bag.",
            "Take the logarithm of num_reviews over the count of each position's word, divide by "
            "the length of its bag, and turn the result into float32.",
        ),
        wrong=(
            Wrong(_tfidf_double, "The weights must have the dtype of the table: float32."),
            Wrong(_tfidf_not_divided, "The weights are not divided by the length of the bag."),
            Wrong(
                _tfidf_double_not_divided,
                "Two things: the weights are not divided by the length of the bag, and their dtype "
                "must be the table's, float32.",
            ),
            Wrong(
                _tfidf_over_everything,
                "They are divided by the length of the whole input, not of the position's bag.",
            ),
            Wrong(
                _tfidf_upside_down,
                "The fraction stands on its head: a rare word must weigh more than a common one.",
            ),
            Wrong(
                _tfidf_twice,
                "A word that occurs twice is two positions already. Do not count it again.",
            ),
            Wrong(
                _tfidf_of_places,
                "review_counts is indexed by the position, and must be by the word there.",
            ),
            Wrong(_tfidf_without_log, "The logarithm is missing."),
            Wrong(
                _tfidf_of_the_largest,
                "The largest of the counts stands for the number of reviews. It is num_reviews.",
            ),
            Wrong(
                _tfidf_of_all_counts,
                "The sum of the counts stands for the number of reviews. It is num_reviews.",
            ),
            Wrong(_tfidf_whole_numbers, "`//` rounds the fraction down. Divide with `/`."),
            Wrong(_tfidf_log2, "That is the logarithm to base 2. np.log is the natural one."),
            Wrong(_tfidf_log10, "That is the logarithm to base 10. np.log is the natural one."),
            Wrong(_tfidf_last_bag, "The last bag has no length yet: it ends where input ends."),
            Wrong(_tfidf_plus_one, "Nothing is added to the counts here."),
        ),
        points=2,
        returns="weights",
        unproved="ids that no review holds (a count of 0), and padding.",
    ),
    Exercise(
        "02.winners",
        "who wins in mode max",
        winners,
        _winners_cases,
        random_call=_any_winners,
        otherwise="It compares with `>` alone, which is false for NaN, so ties and NaN need no "
        "lines of their own.",
        hints=(
            "The first row of the bag always enters, whatever it holds.",
            "Go through the rows in order and remember, for each feature, the row that leads. "
            "When does a later row take the lead?",
            "A later row takes the lead only if its value is strictly larger (>). With NaN on "
            "either side, > is False: that gives both NaN rules by itself.",
        ),
        wrong=(
            Wrong(_winners_argmax, "np.argmax lets any NaN win. In a bag, only a NaN in front."),
            Wrong(_winners_skip_nan, "A NaN in the first row keeps its feature."),
            Wrong(_winners_last, "Ties go to the first row, not to the last."),
            Wrong(
                _winners_above(-INF),
                "A search that starts at -inf finds nobody where the first value is -inf or NaN.",
            ),
            Wrong(
                _winners_above(0.0), "A maximum that starts at zero never sees negative numbers."
            ),
            Wrong(_winners_not_larger, "`not value <= best` is True for NaN. Ask `value > best`."),
            Wrong(_winners_empty_zero, "In a bag of no rows nobody wins: -1. Row 0 is a row."),
            Wrong(_winners_whole_row, "Each feature has a winner of its own, not the whole row."),
            Wrong(
                _winners_plain_argmax,
                "argmax raises where there are no rows, and lets any NaN win: in a bag, only a NaN "
                "in front does.",
            ),
            Wrong(
                _winners_nanargmax,
                "nanargmax raises where there are no rows, or only NaN, and never lets a NaN win: "
                "in a bag, a NaN in front does.",
            ),
            Wrong(
                _winners_values, "These are the largest values. The number of their row is asked."
            ),
            Wrong(
                _winners_zero_is_nobody,
                "Row 0 counts as nobody: whoever comes next takes its feature. Begin with -1.",
            ),
            Wrong(
                _winners_return_in_the_loop,
                "Only the first row was looked at. Is the `return` inside the loop?",
            ),
            Wrong(_winners_axis, "Rows and features are mixed up: there is one winner a column."),
            Wrong(_winners_smallest, "The smallest wins here. In mode max it is the largest."),
        ),
        points=3,
        returns="winners",
        unproved="that padding is left out before: here it already is.",
    ),
    Exercise(
        "02.rescaled",
        "one row as max_norm leaves it",
        rescaled,
        _rescaled_cases,
        random_call=_any_rescaled,
        otherwise="It rounds the norm and the factor to the dtype of the row on the way, as "
        "torch does.",
        hints=(
            "In which dtype do you add up the squares? float16 ends at 65504.",
            "Measure in float64 and compare with >. A row that is not longer than max_norm comes "
            "back as it is.",
            "The scale is max_norm over (norm plus 1e-7). torch rounds norm and scale to the "
            "row's dtype on the way: row.dtype.type(...) does that.",
        ),
        wrong=(
            Wrong(_rescaled_exactly, "The 1e-7 in the denominator is missing."),
            Wrong(_rescaled_at_the_edge, "A row exactly as long as max_norm is left alone."),
            Wrong(_rescaled_always, "A row that is short enough is left alone, not made longer."),
            Wrong(
                _rescaled_always_exactly,
                "Two things: a row that is short enough is left alone, and the 1e-7 in the "
                "denominator is missing.",
            ),
            Wrong(
                _rescaled_in_half_exactly,
                "Two things: the squares are added in the row's own dtype, where float16 overflows "
                "at 65504, and the 1e-7 in the denominator is missing.",
            ),
            Wrong(_rescaled_squared, "The square root is missing: this is the norm squared."),
            Wrong(
                _rescaled_in_half,
                "The squares are added in the row's own dtype; in float16 they overflow at 65504.",
            ),
            Wrong(_rescaled_in_place, "This exercise wants a new row; the old one must stay."),
            Wrong(_rescaled_double, "The row must keep its dtype."),
            Wrong(_rescaled_largest, "This is the largest value, the norm of p = inf."),
        ),
        points=3,
        atol=0.0,
        rtol=1e-12,
        steps=2,  # who rounds on the way as torch does, or once at the end, differs by so much
        returns="row",
        unproved="norm_type other than 2, and the last bit, which torch's two roundings decide.",
    ),
    Exercise(
        "02.refusals",
        "what does each call raise?",
        _refusals(),
        otherwise="Two calls have an index too large, and get two answers: `max_norm` looks at "
        "the rows first.",
        hints=(
            "Section 7 of the chapter lists the order in which arguments are looked at.",
            "Equal offsets: draw the bags. Where there are two faults, the one that is looked at "
            "first is named. One call is fine: its answer is None.",
            "Shapes and modes are ValueErrors, what does not exist yet is NotImplementedError, "
            "and most of what depends on the numbers is a RuntimeError; max_norm is special.",
        ),
        wrong=_wrong_refusals(),
        points=2,
        unproved="the words of the messages.",
        judge=_judge_refusals,
        vary=reordered("abcdefg"),
        shown=items(CALLS, _refusals()),
    ),
    Exercise(
        "02.bug_in_max",
        "a call that shows the bug in a given max",
        _bug_call([0], [[-INF]]),
        otherwise="It is one bag of one row that holds -inf: the smallest call there is.",
        hints=(
            "Look at the last line before return. How does it know that a bag is empty?",
            "It takes a value for a sign: wherever the output holds -inf, it concludes that "
            "nothing was there.",
            "Put a row into the table whose value is that sign, and a bag of this row alone.",
        ),
        wrong=BUG_WRONG,
        points=2,
        unproved="that this is its only bug: what does it do with NaN?",
        judge=_judge_bug,
        vary=in_bag(
            _wrong_bags,
            lambda B, k: [0 if bag == k else 1 for bag in range(B)],
            "np.array([[-np.inf], [1.0]])",
        ),
        shown=(
            "to which it gives a wrong answer",
            '"input": np.array([0])',
            '"weight": np.array([[-np.inf]])',
            '"offsets": np.array([0])',
        ),
    ),
    Exercise(
        "02.roundings",
        "five totals in float16",
        ROUNDINGS,
        otherwise="It needs one fact: from 2048 on, float16 goes in steps of 2.",
        hints=(
            "np.spacing(np.float16(x)) is the distance from x to the next float16.",
            "Where the total itself is a float16, ask where an addition is no longer seen. Where "
            "it is a float32, only the last step rounds.",
            "An addition is lost when it is half of the spacing or less (and half rounds to the "
            "even neighbor). For ones that is at 2048; for twos, at twice that.",
        ),
        wrong=ROUNDINGS_WRONG,
        points=2,
        unproved="bfloat16, whose steps are eight times as wide.",
        judge=_judge_roundings,
        vary=reordered("abcde"),
        shown=items(TOTALS, ROUNDINGS),
    ),
)
