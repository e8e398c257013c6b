"""The warm-up exercise of chapter 00: the mean of one bag."""

from __future__ import annotations

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.variants import after, retold


def first_mean(ids: list[int], weight: np.ndarray) -> np.ndarray:
    """The mean of the rows that one bag holds, (D,)."""
    total = np.zeros(weight.shape[1], weight.dtype)
    for row in ids:
        total += weight[row]
    return total / len(ids)


def _only_the_sum(ids, weight):
    return first_mean(ids, weight) * len(ids)


def _divided_by_features(ids, weight):
    return _only_the_sum(ids, weight) / weight.shape[1]


def _divided_by_rows_of_the_table(ids, weight):
    return _only_the_sum(ids, weight) / len(weight)


def _each_row_once(ids, weight):
    return weight[sorted(set(ids))].mean(axis=0)


def _over_everything(ids, weight):
    return weight[ids].mean()


def _mean_of_ids(ids, weight):
    return weight[sum(ids) // len(ids)]


def _from_one(ids, weight):
    return weight[np.array(ids) - 1].mean(axis=0)


def _last_row(ids, weight):
    return weight[ids[-1]] / len(ids)


def _return_in_the_loop(ids, weight):
    return weight[ids[0]] / len(ids)


def _distinct_counted(ids, weight):
    return _only_the_sum(ids, weight) / len(set(ids))


def _whole_division(ids, weight):
    return _only_the_sum(ids, weight) // len(ids)


def _no_copy(ids, weight):
    total = weight[ids[0]]
    for row in ids[1:]:
        total += weight[row]
    return total / len(ids)


def _cases() -> list[Case]:
    random = np.random.default_rng(0)
    small = np.array([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0], [3.0, 70.0, 500.0], [4.0, 40.0, 0.0]])
    return [
        Case("two words", [1, 2], small),
        Case("one word", [3], small.copy()),
        Case("a word that comes three times", [0, 2, 2, 2], small.copy()),
        Case("sixty words", random.integers(0, 20, 60).tolist(), random.standard_normal((20, 5))),
    ]


def _any_first_mean(random):
    V = draw.size(random, 1, 9)
    ids = random.integers(0, V, draw.size(random, 1, 7)).tolist()
    return ids, draw.spoiled(random, draw.table(random, V, draw.size(random, 1, 5)))


def _so_many_times(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The mean is wanted k times over, k from 3 to 30: one product more, the same for every k."""
    k = int(random.integers(3, 31))
    words = {"the mean of the rows that": f"{k} times the mean of the rows that",
             "[2.0, 20.0]": [2.0 * k, 20.0 * k], "[2.5, 25.0]": [2.5 * k, 25.0 * k],
             "return total": f"return {k} * total"}  # fmt: skip
    return retold(exercise, words, after(lambda mean: k * mean))


EXERCISES = (
    Exercise(
        "00.first_mean",
        "the mean of one bag",
        first_mean,
        _cases,
        random_call=_any_first_mean,
        otherwise="It adds whole rows, `total += weight[row]`, so it needs no loop over features.",
        hints=(
            "The tour in chapter 00 adds up the rows of a bag. A mean is one step more.",
            "Add up the rows as in the tour. By what number do you divide the total?",
            "Divide the total by the number of words in the bag. A word that comes three times "
            "counts three times.",
        ),
        wrong=(
            Wrong(_only_the_sum, "This is the sum. A mean is the sum, divided by how many it has."),
            Wrong(
                _divided_by_features,
                "The total is divided by the number of features of a row; divide it by the number "
                "of words in the bag.",
            ),
            Wrong(
                _divided_by_rows_of_the_table,
                "The total is divided by the number of rows of the table; divide it by the number "
                "of words in the bag.",
            ),
            Wrong(
                _each_row_once,
                "A word that comes three times counts only once here. In a bag it counts each "
                "time.",
            ),
            Wrong(
                _over_everything,
                "All numbers went into one mean. Each feature (each column) has a mean of its own: "
                "the answer has as many numbers as a row.",
            ),
            Wrong(
                _mean_of_ids,
                "This takes the mean of the ids. Ids are only row numbers: look up the rows first, "
                "then take the mean of the rows.",
            ),
            Wrong(_from_one, "The rows are off by one: id 0 is the first row of the table."),
            Wrong(_last_row, "Only the last row is in the total. Add every row to it."),
            Wrong(
                _return_in_the_loop,
                "Only the first row is in the total. Is the `return` inside the loop?",
            ),
            Wrong(
                _distinct_counted,
                "The total is divided by the number of different words; divide it by the number of "
                "all words in the bag.",
            ),
            Wrong(_whole_division, "`//` rounds down. A mean may lie between: divide with `/`."),
            Wrong(
                _no_copy,
                "The table was changed: weight[row] is no copy, and `+=` writes into it. Begin "
                "with zeros, or with weight[row].copy().",
            ),
        ),
        vary=_so_many_times,
        shown=("the mean of the rows that", "[2.0, 20.0]", "[2.5, 25.0]", "return total"),
        returns="mean",
        unproved="a bag with no words at all. Chapter 01 comes to that.",
    ),
)
