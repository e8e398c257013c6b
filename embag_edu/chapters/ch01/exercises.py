"""The exercises of chapter 01: bags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong, judge_prediction
from embag_edu.course.tools import without_numpy

# -------------------------------------------------------------------------- 01.offsets


def offsets(lengths: list[int]) -> list[int]:
    """The position at which each bag begins, from the length of each."""
    starts, position = [], 0
    for length in lengths:
        starts.append(position)
        position += length
    return starts


def _the_ends(lengths):
    return np.cumsum(lengths).astype(int).tolist()


def _with_the_end(lengths):
    return [0, *_the_ends(lengths)]


def _lengths_themselves(lengths):
    return list(lengths)


def _without_empty_bags(lengths):
    return offsets([length for length in lengths if length])


def _empty_bags_take_a_place(lengths):
    return offsets([max(length, 1) for length in lengths])


def _one_too_many_each(lengths):
    return [start + bag for bag, start in enumerate(offsets(lengths))]


def _zero_for_no_bag(lengths):
    return offsets(lengths) or [0]


def _by_numpy(lengths):
    return (np.cumsum(lengths, dtype=int) - np.array(lengths, int)).tolist()


def _offset_of_the_first(lengths):
    return offsets(lengths)[:1] if lengths else None


def _differences(lengths):
    return [0, *(abs(b - a) for a, b in zip(lengths, lengths[1:], strict=False))][: len(lengths)]


def _offsets_cases() -> list[Case]:
    random = np.random.default_rng(1)
    return [
        Case("two bags", [3, 2]),
        Case("an empty bag in the middle", [2, 0, 4]),
        Case("an empty bag at the start", [0, 3]),
        Case("an empty bag at the end", [3, 0]),
        Case("no bag", []),
        Case("fifty bags", random.integers(0, 6, 50).tolist()),
    ]


def _any_offsets(random):
    return (random.integers(0, 4, draw.size(random, 0, 7)).tolist(),)


OFFSETS = Exercise(
    "01.offsets",
    "from lengths to offsets",
    offsets,
    _offsets_cases,
    random_call=_any_offsets,
    otherwise="It notes the position first and adds the length afterwards, so no bag is a "
    "special case.",
    hints=(
        "Where does the first bag begin? Where does the second?",
        "A bag begins where the one before it ends. Walk through the bags and keep count of the "
        "positions that you have passed.",
        "Keep a running total. At each bag, write the total down first, and only then add the "
        "bag's length to it.",
    ),
    wrong=(
        Wrong(_the_ends, "These are the ends of the bags; offsets are their starts."),
        Wrong(
            _with_the_end,
            "There is one offset too many: the end of the last bag is in the list. That is the "
            "form of include_last_offset=True; here one start for each bag is wanted.",
        ),
        Wrong(_lengths_themselves, "These are the lengths. An offset is a position in input."),
        Wrong(
            _without_empty_bags,
            "An empty bag is missing. It has an offset too: the same as the next bag's.",
        ),
        Wrong(
            _empty_bags_take_a_place,
            "An empty bag has taken up a position. It has none: the next bag begins at the same "
            "place.",
        ),
        Wrong(_one_too_many_each, "Each bag begins too far to the right, by one for each bag."),
        Wrong(
            _zero_for_no_bag,
            "Without a bag there is no offset, not even a 0: one offset for each bag.",
        ),
        Wrong(
            _offset_of_the_first,
            "Only the first offset comes out. Is the `return` inside the loop?",
        ),
        Wrong(
            _differences,
            "These are differences of neighboring lengths. An offset is the sum of all lengths "
            "before it.",
        ),
        Wrong(_by_numpy, "the task asks for plain Python"),
    ),
    points=2,
    tools=without_numpy,
    returns="offsets",
    unproved="lengths that are negative: nothing asks your function to refuse them.",
)

# -------------------------------------------------------------------------- 01.bag_of


def bag_of(offsets: np.ndarray, n: int) -> np.ndarray:
    """The bag of each of n positions, (n,)."""
    lengths = np.diff(np.append(offsets, n))
    return np.repeat(np.arange(len(offsets)), lengths)


def _a_bag_too_many(offsets, n):
    return bag_of(offsets, n) + 1


def _empty_bags_have_no_number(offsets, n):
    return bag_of(np.unique(offsets), n)


def _first_of_equal_offsets(offsets, n):
    found = bag_of(offsets, n)
    return np.array([np.flatnonzero(offsets == offsets[bag])[0] for bag in found], dtype=int)


def _cut_belongs_to_the_left(offsets, n):
    return np.maximum(np.searchsorted(offsets, np.arange(n), side="left") - 1, 0)


def _cut_and_minus_one(offsets, n):
    return np.searchsorted(offsets, np.arange(n), side="left") - 1


def _how_many_before(offsets, n):
    return np.searchsorted(offsets, np.arange(n))


def _last_bag_lost(offsets, n):
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _length_of_its_bag(offsets, n):
    lengths = np.diff(np.append(offsets, n))
    return np.repeat(lengths, lengths)


def _if_for_while(offsets, n):
    bag, found = 0, []
    for position in range(n):
        if bag + 1 < len(offsets) and position >= offsets[bag + 1]:
            bag += 1
        found.append(bag)
    return np.array(found, int)


def _no_offset_behind_the_last(offsets, n):
    bag, found = 0, np.zeros(n, int)
    for position in range(n):
        while position >= offsets[bag + 1]:
            bag += 1
        found[position] = bag
    return found


def _marked_once(offsets, n):
    marks = np.zeros(n + 1, int)
    marks[offsets[1:]] += 1
    return np.cumsum(marks)[:n]


def _marks_at_n(offsets, n):
    marks = np.zeros(n, int)
    np.add.at(marks, offsets[1:], 1)
    return np.cumsum(marks)


def _lengths_for_positions(offsets, n):
    return np.arange(len(offsets))


def _bag_of_cases() -> list[Case]:
    random = np.random.default_rng(2)
    return [
        Case("two bags", np.array([0, 2]), 5),
        Case("an empty bag in the middle", np.array([0, 2, 2]), 4),
        Case("two empty bags at the start", np.array([0, 0, 0]), 3),
        Case("an empty bag at the end", np.array([0, 3]), 3),
        Case("int32", np.array([0, 1, 1], np.int32), 3),
        Case("only empty bags", np.array([0, 0]), 0),
        Case("forty bags", np.append(0, np.sort(random.integers(0, 60, 39))), 60),
    ]


def _any_bag_of(random):
    input, offsets = draw.bags(random, 5)
    return offsets, len(input)


BAG_OF = Exercise(
    "01.bag_of",
    "the bag of each position",
    bag_of,
    _bag_of_cases,
    random_call=_any_bag_of,
    otherwise="It has no loop: `np.repeat` repeats the number of each bag as often as the "
    "bag is long.",
    hints=(
        "Draw the cuts below the positions. What changes at a cut?",
        "Each bag's number stands there as often as the bag is long. How long is a bag, seen from "
        "its offset and the next one? The last bag ends at n.",
        "Find the length of each bag, then repeat each bag's number by its length: np.repeat does "
        "that. An empty bag is repeated zero times, and still has a number.",
    ),
    wrong=(
        Wrong(_a_bag_too_many, "The bags are counted from 1; the first bag is bag 0."),
        Wrong(
            _empty_bags_have_no_number,
            "The bags behind an empty bag have too small a number: an empty bag has a number too.",
        ),
        Wrong(
            _first_of_equal_offsets,
            "Where offsets are equal, the positions belong to the last of these bags. The others "
            "are empty.",
        ),
        Wrong(
            _cut_belongs_to_the_left,
            "The first position of each bag went to the bag before it. A bag begins at its offset, "
            "with that position.",
        ),
        Wrong(
            _cut_and_minus_one,
            "The first position of each bag went to the bag before it, and position 0 to bag -1. "
            "np.searchsorted has a `side`.",
        ),
        Wrong(
            _how_many_before,
            "np.searchsorted counts the offsets before a position. The bag is one less than the "
            "offsets up to it, its own included: there is a `side` for that.",
        ),
        Wrong(
            _last_bag_lost,
            "The positions of the last bag are missing: no offset says where it ends. It ends at "
            "n.",
        ),
        Wrong(
            _length_of_its_bag,
            "These are the lengths of the bags, one for each position. The number of the bag is "
            "wanted.",
        ),
        Wrong(
            _if_for_while,
            "Several bags may begin at one position. An `if` moves on by one bag only; a `while` "
            "moves on as often as it must.",
        ),
        Wrong(
            _no_offset_behind_the_last,
            "offsets[bag + 1] does not exist for the last bag: it ends at n.",
        ),
        Wrong(
            _marked_once,
            "Bags that begin at one position are counted once. `marks[offsets] += 1` adds only "
            "one 1 to a place, however often the place is named; np.add.at adds them all.",
        ),
        Wrong(
            _marks_at_n,
            "An empty bag at the end begins at n, and there is no position n to mark.",
        ),
        Wrong(
            _lengths_for_positions,
            "These are the numbers of the bags, each once. Repeat each by the length of its bag.",
        ),
    ),
    points=2,
    returns="bag_of",
    unproved="offsets that decrease, or that do not begin with 0. Those are no bags.",
)

# -------------------------------------------------------------------------- 01.flatten


def flatten(padded: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """The bags of a 2-D input without its padding: (input (N,), offsets (B,))."""
    ids: list[int] = []
    starts: list[int] = []
    for row in padded:
        starts.append(len(ids))
        ids += [i for i in row.tolist() if i != pad]
    return np.array(ids, np.int64), np.array(starts, np.int64)


def _padding_kept(padded, pad):
    bags, length = padded.shape
    return padded.reshape(-1).astype(np.int64), np.arange(bags, dtype=np.int64) * length


def _starts_as_if_padded(padded, pad):
    return flatten(padded, pad)[0], _padding_kept(padded, pad)[1]


def _ends_for_starts(padded, pad):
    return flatten(padded, pad)[0], np.cumsum((padded != pad).sum(axis=1)).astype(np.int64)


def _lengths_for_starts(padded, pad):
    return flatten(padded, pad)[0], (padded != pad).sum(axis=1).astype(np.int64)


def _zero_is_the_padding(padded, pad):
    return flatten(padded, 0)


def _empty_rows_dropped(padded, pad):
    return flatten(padded[(padded != pad).any(axis=1)], pad)


def _column_by_column(padded, pad):
    turned = padded.T.reshape(-1)
    return turned[turned != pad].astype(np.int64), flatten(padded, pad)[1]


def _no_dtype_for_nothing(padded, pad):
    input, offsets = flatten(padded, pad)
    return (input if len(input) else np.array([])), offsets


def _offsets_without_the_first(padded, pad):
    return flatten(padded, pad)[0], _ends_for_starts(padded, pad)[1][:-1]


def _first_row_only(padded, pad):
    return flatten(padded[:1], pad)


def _zero_pad_is_none(padded, pad):
    return flatten(padded, pad) if pad else _padding_kept(padded, pad)


def _in_rising_order(padded, pad):
    return flatten(np.sort(padded, axis=1), pad)


def _stops_at_the_first_padding(padded, pad):
    rows = [np.append(row, pad) for row in padded]
    kept = [row[: int(np.argmax(row == pad))] for row in rows]
    lengths = np.array([len(row) for row in kept], np.int64)
    return np.concatenate(kept).astype(np.int64), np.cumsum(lengths) - lengths


def _flatten_cases() -> list[Case]:
    random = np.random.default_rng(3)
    many = random.integers(1, 9, (20, 6))
    many[random.random(many.shape) < 0.3] = 8
    return [
        Case("two bags", np.array([[5, 7, 2], [3, 0, 0]]), 0),
        Case("a row of padding only", np.array([[4, 0], [0, 0], [6, 5]]), 0),
        Case("padding that is not 0", np.array([[0, 9, 9], [2, 0, 9]]), 9),
        Case("no padding at all", np.array([[1, 2], [3, 4]]), 0),
        Case("nothing but padding", np.array([[0, 0], [0, 0]]), 0),
        Case("pad = -1", np.array([[3, -1, 0], [-1, 2, 5]]), -1),
        Case("padding between words", np.array([[5, 0, 6], [0, 3, 0]]), 0),
        Case("twenty bags", many, 8),
    ]


def _any_flatten(random):
    padded = random.integers(0, 5, (draw.size(random, 1), draw.size(random, 1)))
    return padded, int(random.integers(0, 6))


FLATTEN = Exercise(
    "01.flatten",
    "from a padded 2-D input to input and offsets",
    flatten,
    _flatten_cases,
    random_call=_any_flatten,
    otherwise="It takes the number of ids so far as a bag's start, before the bag's own ids "
    "are added.",
    hints=(
        "Go through the array row by row. What has to be noted when a row begins?",
        "A bag's offset is the number of ids that stand before it. How many are there in your list "
        "when the row begins?",
        "Keep one growing list of ids. For each row, first note how long that list is, then append "
        "the row's ids that are not pad. At the end make two arrays of type np.int64.",
    ),
    wrong=(
        Wrong(_padding_kept, "The padding is still in input. Only the words belong there."),
        Wrong(
            _starts_as_if_padded,
            "The padding is gone from input, but offsets still count it. Count the ids you kept.",
        ),
        Wrong(_ends_for_starts, "The second array holds the ends of the bags, not their starts."),
        Wrong(_lengths_for_starts, "The second array holds the lengths of the bags, not starts."),
        Wrong(
            _zero_is_the_padding,
            "This takes 0 for the padding, whatever pad says. Here 0 may be a word.",
        ),
        Wrong(
            _empty_rows_dropped,
            "A row of padding only is an empty bag, and has an offset. One bag was lost.",
        ),
        Wrong(_column_by_column, "The ids are taken column by column; a bag is a row."),
        Wrong(
            _stops_at_the_first_padding,
            "Words behind a padding are lost. Padding may stand anywhere in a row.",
        ),
        Wrong(
            _no_dtype_for_nothing,
            "np.array of an empty list holds floats. Name the dtype: np.array(ids, np.int64).",
        ),
        Wrong(
            _offsets_without_the_first, "The first offset is missing: the first bag begins at 0."
        ),
        Wrong(_first_row_only, "Only the first row is there. Is the `return` inside the loop?"),
        Wrong(
            _zero_pad_is_none,
            "The padding stays where pad is 0, and is taken out elsewhere. Is there an `if pad`? "
            "A pad of 0 counts as False there.",
        ),
        Wrong(_in_rising_order, "The ids of a bag are in another order. Keep theirs."),
    ),
    points=2,
    same_ints=True,
    returns=("input", "offsets"),
    unproved="what happens for an array without rows, or of the dtype int32.",
)

# -------------------------------------------------------------------------- 01.empty_bug


def bag_sums(input: np.ndarray, offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The sum of each bag, (B, D); zeros for an empty one."""
    ends = np.append(offsets[1:], len(input))
    output = np.zeros((len(offsets), weight.shape[1]), weight.dtype)
    for bag, (start, end) in enumerate(zip(offsets, ends, strict=True)):
        for row in input[start:end]:
            output[bag] += weight[row]
    return output


def bag_sums_with_bug(input: np.ndarray, offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What the reader is given: quick, short, and wrong for an empty bag."""
    return np.add.reduceat(weight[input], offsets, axis=0)


def _guarded_at_the_end(input, offsets, weight):
    begun = offsets[offsets < len(input)]
    output = np.zeros((len(offsets), weight.shape[1]), weight.dtype)
    output[: len(begun)] = np.add.reduceat(weight[input], begun, axis=0)
    return output


def _empty_bags_left_out(input, offsets, weight):
    full = np.diff(np.append(offsets, len(input))) > 0
    return bag_sums(input, offsets, weight)[full]


def _empty_bags_at_the_end_of_the_output(input, offsets, weight):
    kept = _empty_bags_left_out(input, offsets, weight)
    return np.concatenate([kept, np.zeros((len(offsets) - len(kept), weight.shape[1]))])


def _empty_bag_repeats_the_one_before(input, offsets, weight):
    output, full = bag_sums(input, offsets, weight), np.diff(np.append(offsets, len(input))) > 0
    for bag in np.flatnonzero(~full):
        output[bag] = output[bag - 1] if bag else 0
    return output


def _empty_bags_are_nan(input, offsets, weight):
    output = bag_sums(input, offsets, weight)
    output[np.diff(np.append(offsets, len(input))) == 0] = np.nan
    return output


def _times_zero(input, offsets, weight):
    full = np.diff(np.append(offsets, len(input))) > 0
    rows = np.concatenate([weight[input], np.zeros((1, weight.shape[1]))])
    return np.add.reduceat(rows, offsets, axis=0) * full[:, None]


def _raises_at_the_end(input, offsets, weight):
    output = np.add.reduceat(weight[input], offsets, axis=0)
    output[np.diff(np.append(offsets, len(input))) == 0] = 0
    return output


def _last_bag_left_out(input, offsets, weight):
    return bag_sums(input, offsets, weight)[:-1]


def _last_bag_to_its_offset(input, offsets, weight):
    output = bag_sums(input, offsets, weight)
    output[-1:] = 0 if offsets[-1] == len(input) else weight[input[offsets[-1]]]
    return output


def _only_empty_bags_mended(input, offsets, weight):
    output = bag_sums(input, offsets, weight)
    output[-1] = 0
    return output


def _empty_bug_cases() -> list[Case]:
    random = np.random.default_rng(4)
    table = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    offsets = np.append(0, np.sort(random.integers(0, 40, 29)))
    spoilt = table.copy()
    spoilt[2] = np.nan
    return [
        Case("no empty bag", np.array([0, 2, 1]), np.array([0, 2]), table),
        Case("an empty bag in the middle", np.array([1, 3]), np.array([0, 1, 1]), table.copy()),
        Case(
            "an empty bag, and NaN behind it", np.array([0, 2, 1]), np.array([0, 1, 1, 2]), spoilt
        ),
        Case("an empty bag at the start", np.array([1, 3]), np.array([0, 0]), table.copy()),
        Case("an empty bag at the end", np.array([1, 3]), np.array([0, 2]), table.copy()),
        Case("only empty bags", np.array([], np.int64), np.array([0, 0]), table.copy()),
        Case("thirty bags", random.integers(0, 9, 40), offsets, random.standard_normal((9, 3))),
    ]


def _any_empty_bug(random):
    V = draw.size(random, 1, 7)
    input, offsets = draw.bags(random, V)
    weight = draw.spoiled(random, draw.table(random, V, draw.size(random, 1, 4)))
    return input, offsets, weight


EMPTY_BUG = Exercise(
    "01.empty_bug",
    "mend a function that goes wrong for empty bags",
    bag_sums,
    _empty_bug_cases,
    random_call=_any_empty_bug,
    otherwise="It gives up `reduceat` and loops over the bags. Chapter 04 keeps `reduceat`, "
    "and leaves empty bags out.",
    hints=(
        "Call the function on input [1, 3] and offsets [0, 1, 1]. What should bag 1 be, and what "
        "is it?",
        "np.add.reduceat does not add up nothing: where two offsets are equal, it copies the one "
        "row that stands there. And it raises for an offset that is len(input).",
        "Begin with an output of zeros, one row for each bag. Then add rows only where there are "
        "some: a loop over the positions of each bag does it, and does nothing for an empty one.",
    ),
    wrong=(
        Wrong(
            _guarded_at_the_end,
            "Empty bags at the end are right now, but one in the middle or at the start still "
            "takes its neighbor's row.",
        ),
        Wrong(
            bag_sums_with_bug,
            "An empty bag has taken a row that belongs to its neighbor (or the call has "
            "raised). Nothing is mended yet.",
        ),
        Wrong(
            _empty_bags_left_out,
            "An empty bag has no row in your output. It must have one: B bags, B rows.",
        ),
        Wrong(
            _empty_bags_at_the_end_of_the_output,
            "The number of rows is right, but the bags behind an empty one have moved up into its "
            "place.",
        ),
        Wrong(
            _empty_bag_repeats_the_one_before,
            "An empty bag repeats the row of the bag before it. It holds nothing: zeros.",
        ),
        Wrong(_empty_bags_are_nan, "An empty bag gives NaN here. A sum of nothing is zero."),
        Wrong(_only_empty_bags_mended, "The last bag is zero, although it holds something."),
        Wrong(
            _times_zero,
            "A NaN has leaked: an empty bag's row was multiplied by 0, and NaN times 0 is NaN. "
            "Set the row to 0, or never read one.",
        ),
        Wrong(
            _raises_at_the_end,
            "Empty bags between others are zeros now. But np.add.reduceat raises for an offset "
            "that is len(input): that of an empty bag at the end.",
        ),
        Wrong(
            _last_bag_left_out,
            "The last bag is missing: no offset says where it ends. It ends at len(input).",
        ),
        Wrong(_last_bag_to_its_offset, "Of the last bag, only the first position is there."),
    ),
    points=3,
    unproved="tables of other dtypes, and an input that has no bag at all.",
)

# -------------------------------------------------------------------------- 01.means


def means(bags: list[list[int]], weight: list[list[float]]) -> list[list[float]]:
    """The mean of each bag in plain Python; zeros for an empty one."""
    output = []
    for bag in bags:
        total = [0.0] * len(weight[0])
        for row in bag:
            for feature, value in enumerate(weight[row]):
                total[feature] += value
        output.append([value / max(len(bag), 1) for value in total])
    return output


def _sums(bags, weight):
    return [[value * max(len(bag), 1) for value in mean]
            for bag, mean in zip(bags, means(bags, weight), strict=True)]  # fmt: skip


def _distinct_rows(bags, weight):
    return means([sorted(set(bag)) for bag in bags], weight)


def _divided_by_distinct(bags, weight):
    return [[value / max(len(set(bag)), 1) for value in total]
            for bag, total in zip(bags, _sums(bags, weight), strict=True)]  # fmt: skip


def _nan_for_empty(bags, weight):
    return [mean if bag else [float("nan")] * len(mean)
            for bag, mean in zip(bags, means(bags, weight), strict=True)]  # fmt: skip


def _raises_for_empty(bags, weight):
    return [[value / len(bag) for value in total]
            for bag, total in zip(bags, _sums(bags, weight), strict=True)]  # fmt: skip


def _skips_empty(bags, weight):
    return means([bag for bag in bags if bag], weight)


def _same_divisor_for_all(bags, weight):
    longest = max(map(len, bags))
    return [[value / longest for value in total] for total in _sums(bags, weight)]


def _divided_by(number):
    """Means that are divided by the wrong number."""

    def wrong(bags, weight):
        return [[value / number(bags, weight) for value in total] for total in _sums(bags, weight)]

    return wrong


def _one_list_for_all(bags, weight):
    output = [[0.0] * len(weight[0])] * len(bags)
    for at, bag in enumerate(bags):
        for row in bag:
            for feature, value in enumerate(weight[row]):
                output[at][feature] += value / len(bag)
    return output


def _return_in_the_loop(bags, weight):
    return means(bags[:1], weight)


def _last_row_kept(bags, weight):
    return means([bag[-1:] for bag in bags], weight)


def _first_row_changed(bags, weight):
    output = []
    for bag in bags:
        total = weight[bag[0]] if bag else [0.0] * len(weight[0])
        for row in bag[1:]:
            for feature, value in enumerate(weight[row]):
                total[feature] += value
        output.append([value / max(len(bag), 1) for value in total])
    return output


def _means_by_numpy(bags, weight):
    table = np.array(weight)
    return [table[bag].mean(axis=0).tolist() if bag else [0.0] * len(table[0]) for bag in bags]


def _total_never_reset(bags, weight):
    running = [sum(column) for column in zip(*_sums(bags[:1], weight), strict=True)]
    output = [[value / max(len(bags[0]), 1) for value in running]]
    for bag, total in zip(bags[1:], _sums(bags[1:], weight), strict=True):
        running = [a + b for a, b in zip(running, total, strict=True)]
        output.append([value / max(len(bag), 1) for value in running])
    return output


def _means_cases() -> list[Case]:
    random = np.random.default_rng(5)
    table = [[1.0, 10.0], [2.0, 20.0], [4.0, 80.0]]
    many = [random.integers(0, 7, length).tolist() for length in random.integers(0, 6, 25)]
    return [
        Case("one bag", [[0, 2]], table),
        Case("bags of 1 and 3", [[1], [0, 1, 2]], table),
        Case("a repeated row", [[2, 0, 2, 2]], table),
        Case("an empty bag", [[1], [], [2]], table),
        Case("a table of one row", [[0, 0], []], [[3.0, 5.0, 8.0, 13.0]]),
        Case("25 bags", many, random.standard_normal((7, 3)).tolist()),
    ]


def _any_means(random):
    V = draw.size(random, 1, 7)
    members = [
        random.integers(0, V, draw.size(random, 0, 5)).tolist() for _ in range(draw.size(random, 0))
    ]
    weight = draw.spoiled(random, draw.table(random, V, draw.size(random, 1, 4)))
    return members, weight.tolist()


MEANS = Exercise(
    "01.means",
    "the mean of each bag, without NumPy",
    means,
    _means_cases,
    random_call=_any_means,
    otherwise="It divides by `max(len(bag), 1)`, so an empty bag needs no `if`.",
    hints=(
        "Three loops stand inside each other: over bags, over the rows of a bag, over features.",
        "Begin each bag with a total of zeros, one for each feature. By what do you divide, and "
        "what if that is 0?",
        "Add up the rows of the bag feature by feature, then divide by the bag's length, or by 1 "
        "where the bag is empty: its total is zero, and stays zero.",
    ),
    wrong=(
        Wrong(_sums, "These are sums. Divide each by the length of its bag."),
        Wrong(_distinct_rows, "A row that comes k times in a bag counts once here, not k times."),
        Wrong(
            _divided_by_distinct,
            "The sum is right, but it is divided by the number of different rows. Divide by the "
            "length of the bag.",
        ),
        Wrong(_nan_for_empty, "The mean of an empty bag is NaN here. EmbeddingBag says zeros."),
        Wrong(_raises_for_empty, "An empty bag divides by zero. EmbeddingBag says zeros for it."),
        Wrong(_skips_empty, "An empty bag has no row in your output; it must be a row of zeros."),
        Wrong(_same_divisor_for_all, "All bags are divided by the same number, the longest one's."),
        Wrong(_total_never_reset, "A bag still holds the total of the bags before it."),
        Wrong(
            _divided_by(lambda bags, weight: len(weight[0])),
            "The totals are divided by D, the number of features. Divide by the length of the bag.",
        ),
        Wrong(
            _divided_by(lambda bags, weight: len(weight)),
            "The totals are divided by V, the rows of the table. Divide by the length of the bag.",
        ),
        Wrong(
            _divided_by(lambda bags, weight: len(bags)),
            "The totals are divided by B, the number of bags. Divide by the length of the bag.",
        ),
        Wrong(
            _one_list_for_all,
            "All bags share one list: `[[0] * D] * B` holds the same row B times. Make a new row "
            "for each bag.",
        ),
        Wrong(
            _return_in_the_loop,
            "Only the first bag is there. Is the `return` inside the loop?",
        ),
        Wrong(_last_row_kept, "Only the last row of a bag counts. Add up all of them."),
        Wrong(
            _first_row_changed,
            "The table was changed: a total that begins as weight[row] is that row, no copy.",
        ),
        Wrong(_means_by_numpy, "the task asks for plain Python"),
    ),
    points=2,
    tools=without_numpy,
    returns="means",
    unproved="how fast it is. Chapter 04 is about that.",
)

# -------------------------------------------------------------------------- 01.predict

UNKNOWN = "Write input down and count where each bag begins."
BAGS: tuple[list[int], ...] = ([7, 1], [], [4, 4, 7], [2])


def _of_bags(bags: Sequence[list[int]]) -> dict[str, Any]:
    """What the exercise is for these bags: one is empty, and in one an id comes twice."""
    lengths = [len(bag) for bag in bags]
    right, N, empty = offsets(lengths), sum(lengths), lengths.index(0)
    at = next(at for at, bag in enumerate(bags) if len(set(bag)) < len(bag))
    twice = max(bags[at], key=bags[at].count)
    said = {
        tuple(lengths): "These are the lengths of the bags. Offsets say where each begins.",
        tuple(_the_ends(lengths)): "These are the ends of the bags. Offsets say where each begins.",
        (*right, N): f"The end of the last bag, {N}, is there as well. Without "
        "include_last_offset there is one offset for each bag, four here.",
        tuple(_without_empty_bags(lengths)): "One offset is missing: the empty bag has one too.",
        tuple(_empty_bags_take_a_place(lengths)): "The empty bag has taken up a position. It "
        "begins where the next bag begins.",
        (*right[: empty + 1], 0, *right[empty + 2 :]): f"The empty bag is bag {empty}, not bag "
        f"{empty + 1}, and offsets never decrease.",
        tuple(offsets([len(set(bag)) for bag in bags])): f"Bag {at} holds {lengths[at]} ids: "
        f"{twice} stands in it twice, and counts twice.",
        tuple(start + 1 for start in right): "Positions are counted from 0.",
    }
    first, second, third, last = (f"`{bag}`" for bag in bags)
    return {
        "reference": right,
        "wrong": tuple(Wrong(list(answer), says) for answer, says in said.items()),
        "judge": partial(judge_prediction, right=right, said=said, unknown=UNKNOWN),
        "shown": (f"{first}, {second}, {third} and {last}", f"my_offsets = {right}"),
    }


def _other_bags(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """Four bags: bag 1 or 2 is empty, the others have three lengths from 1 to 5, and the longer one
    of those before the last holds an id twice."""
    while True:
        lengths = random.choice(np.arange(1, 6), 3, replace=False).tolist()
        lengths.insert(int(random.integers(1, 3)), 0)
        ids = random.permutation(10).tolist()
        bags = [[ids.pop() for _ in range(length)] for length in lengths[:-1]] + [[]]
        bags[-1] = random.permutation(10)[: lengths[-1]].tolist()
        longest = max(bags[:3], key=len)
        longest[:2] = longest[:1] * 2
        made = _of_bags(bags)
        if len(longest) > 1 and len(made["wrong"]) == len(exercise.wrong):
            return replace(exercise, **made)


PREDICT = Exercise(
    "01.predict",
    "predict the offsets of four bags",
    **_of_bags(BAGS),
    vary=_other_bags,
    otherwise="It is the list alone: the empty bag begins where the next one does.",
    hints=(
        "Write the ids of all bags in one line. Number the positions from 0.",
        "Four bags have four offsets. Which position does the empty bag begin at?",
        "A bag begins where the bag before it ends. An empty bag begins and ends at the same "
        "place, so the bag behind it has the same offset.",
    ),
    unproved="that you did not run it first.",
)

EXERCISES = (PREDICT, OFFSETS, BAG_OF, MEANS, FLATTEN, EMPTY_BUG)
