"""The exercises of chapter 05: the backward without loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.tools import work_of
from embag_edu.course.variants import reordered


def _returns(value: Any) -> Callable[..., Any]:
    return lambda *_: value


def _answer(mine: Any) -> Any:
    return mine() if callable(mine) else mine


# ---- 1. the whole scatter-add by sorting --------------------------------------------------------


def sorted_backward(
    input: np.ndarray, offsets: np.ndarray, grad_output: np.ndarray, num_embeddings: int
) -> np.ndarray:
    """The gradient of the table, (V, D), for mode sum: sort, then reduceat."""
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]), grad_output.dtype)
    bag_of = np.repeat(np.arange(len(offsets)), np.diff(offsets, append=len(input)))
    order = np.argsort(input, kind="stable")
    rows = input[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    grad_weight[rows[starts]] = np.add.reduceat(grad_output[bag_of[order]], starts, axis=0)
    return grad_weight


def _upstream(bags: int, features: int = 2) -> np.ndarray:
    return np.round(np.random.default_rng(bags).normal(size=(bags, features)) * 9, 1) + 0.25


def _sorted_cases() -> list[Case]:
    random = np.random.default_rng(6)
    ends = np.append(0, np.sort(random.integers(0, 41, 9)))
    return [
        Case("one bag, sorted already", np.array([0, 1]), np.array([0]), _upstream(1), 2),
        Case("one bag", np.array([2, 0]), np.array([0]), _upstream(1), 3),
        Case("two bags", np.array([2, 0, 1]), np.array([0, 1]), _upstream(2), 3),
        Case("rows that do not occur", np.array([3, 1]), np.array([0, 1]), _upstream(2), 6),
        Case("a row twice in a bag", np.array([1, 0, 1]), np.array([0]), _upstream(1), 2),
        Case("a row in two bags", np.array([1, 0, 1, 2]), np.array([0, 2]), _upstream(2), 3),
        Case("an empty bag", np.array([1, 0, 1]), np.array([0, 2, 2]), _upstream(3), 2),
        Case("an empty bag at the end", np.array([1, 0]), np.array([0, 1, 2]), _upstream(3), 2),
        Case("no position at all", np.array([], int), np.array([0, 0]), _upstream(2), 2),
        Case("float32", np.array([1, 0]), np.array([0]), _upstream(1).astype(np.float32), 2),
        Case("three features", np.array([1, 0, 1]), np.array([0, 2]), _upstream(2, 3), 2),
        Case("forty positions", random.integers(0, 7, 40), ends, _upstream(10, 5), 9),
    ]


def _any_sorted_backward(random):
    V = draw.size(random, 1, 7)
    input, offsets = draw.bags(random, V)
    grad = draw.table(random, len(offsets), draw.size(random, 1, 4))
    return input, offsets, draw.spoiled(random, grad), V


def _sorted(
    input: np.ndarray,
    offsets: np.ndarray,
    grad_output: np.ndarray,
    num_embeddings: int,
    mistake: str,
) -> np.ndarray:
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]), grad_output.dtype)
    sizes = np.diff(offsets, append=len(input))
    bag_of = np.repeat(np.arange(len(offsets)), sizes)
    if mistake == "bags without positions":
        bag_of = np.repeat(np.arange(np.count_nonzero(sizes)), sizes[sizes > 0])
    order = np.argsort(input, kind="stable")
    rows = input[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    shares = grad_output[bag_of if mistake == "shares not sorted" else bag_of[order]]
    if mistake == "prepend 0":
        starts = np.flatnonzero(np.diff(rows, prepend=0))
    if mistake == "last bag":
        bag_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        shares = grad_output[bag_of[order]]
    if mistake == "by position":
        shares = grad_output[order]
    if mistake == "float64":
        grad_weight = grad_weight.astype(np.float64)
    if mistake == "first start":
        starts = np.flatnonzero(np.diff(rows))
    if mistake == "all V rows":
        starts = np.minimum(np.searchsorted(rows, np.arange(num_embeddings)), len(rows) - 1)
        return np.asarray(np.add.reduceat(shares, starts, axis=0))
    if mistake == "last wins":
        grad_weight[rows] = shares
    elif mistake == "at the front":
        sums = np.add.reduceat(shares, starts, axis=0)
        grad_weight[: len(sums)] = sums
    else:
        grad_weight[rows[starts]] = np.add.reduceat(shares, starts, axis=0)
    return grad_weight


SAYS_ADD_AT = "The results are right, but np.add.at has done the work: do without it."
SAYS_LOOP = (
    "The results are right, but a loop has done the work: {} lines of Python ran for 500 positions "
    "and 300 rows. Do without a loop."
)
SAYS_NO_REDUCEAT = (
    "The results are right, but np.add.reduceat was not called: this exercise is about sorting the "
    "positions and adding up stretches."
)


def _sorted_tools(mine: Callable[..., Any]) -> str:
    random = np.random.default_rng(65)
    offsets = np.append(0, np.sort(random.integers(0, 500, 99)))
    work = work_of(mine, random.integers(0, 300, 500), offsets, _upstream(100), 300)
    if "add.at" in work.called:
        return SAYS_ADD_AT
    if work.lines > 150:
        return SAYS_LOOP.format(work.lines)
    return "" if "add.reduceat" in work.called else SAYS_NO_REDUCEAT


def _bags_of(input: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(offsets)), np.diff(offsets, append=len(input)))


def _by_add_at(input, offsets, grad_output, num_embeddings):
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]), grad_output.dtype)
    np.add.at(grad_weight, input, grad_output[_bags_of(input, offsets)])
    return grad_weight


def _by_loop(input, offsets, grad_output, num_embeddings):
    shares = grad_output[_bags_of(input, offsets)]
    rows = [shares[input == row].sum(axis=0) for row in range(num_embeddings)]
    return np.array(rows, grad_output.dtype)


def _by_product(input, offsets, grad_output, num_embeddings):
    one_hot = (input == np.arange(num_embeddings)[:, None]).astype(grad_output.dtype)
    return one_hot @ grad_output[_bags_of(input, offsets)]


# ---- 2. shares by frequency ---------------------------------------------------------------------


def frequency_shares(input: np.ndarray, shares: np.ndarray, padding_idx: int) -> tuple[Any, ...]:
    """The rows that count, and their shares, each divided by how often its row occurs."""
    kept = np.flatnonzero(input != padding_idx)
    rows = input[kept]
    return rows, shares[kept] / np.bincount(rows)[rows][:, None]


def _frequency_cases() -> list[Case]:
    random = np.random.default_rng(7)
    return [
        Case("a row twice", np.array([1, 1]), _upstream(2, 1), 0),
        Case("two rows", np.array([2, 1, 2]), _upstream(3, 1), 0),
        Case("padding", np.array([1, 0, 1]), _upstream(3, 1), 0),
        Case("only padding", np.array([2, 2]), _upstream(2, 1), 2),
        Case("padding is no zero", np.array([0, 2, 1, 0]), _upstream(4, 1), 2),
        Case("an infinite share", np.array([1, 0]), np.array([[2.0], [np.inf]]), 0),
        Case("twenty", random.integers(0, 5, 20), _upstream(20), 3),
    ]


def _any_frequency_shares(random):
    V = draw.size(random, 1, 6)
    input, _ = draw.bags(random, V)
    shares = draw.table(random, len(input), draw.size(random, 1, 4))
    shares[random.random(shares.shape) < 0.1] = random.choice([np.inf, np.nan])
    return input, shares, draw.size(random, 0, V)


def _frequency(input: np.ndarray, shares: np.ndarray, padding_idx: int, mistake: str) -> Any:
    kept = np.flatnonzero(input != padding_idx)
    rows, values = input[kept], shares[kept]
    counts = np.bincount(rows, minlength=int(input.max()) + 1)
    if mistake == "not divided":
        return rows, values
    if mistake == "multiplied":
        return rows, values * counts[rows][:, None]
    if mistake == "padding kept":
        return input, shares / np.bincount(input)[input][:, None]
    if mistake == "times zero":
        with np.errstate(invalid="ignore"):
            zeroed = shares * (input != padding_idx)[:, None]
        return input, zeroed / np.bincount(input)[input][:, None]
    if mistake == "all positions":
        return rows, values / len(rows)
    if mistake == "//":
        return rows, values // counts[rows][:, None]
    if mistake == "1 // n":
        return rows, values * (1 // counts[rows])[:, None]
    if mistake == "distinct":
        return rows, values / len(np.unique(rows))
    if mistake == "zero is none" and padding_idx == 0:
        return input, shares / np.bincount(input)[input][:, None]
    if mistake == "zero is none":
        return rows, values / counts[rows][:, None]
    if mistake == "padding is zero":
        return frequency_shares(input, shares, 0)
    if mistake == "positions":
        return rows, values / np.maximum(counts[np.arange(len(rows)) % len(counts)], 1)[:, None]
    return rows, shares[: len(rows)] / counts[rows][:, None]  # "shares not left out"


# ---- 3. coalesce --------------------------------------------------------------------------------


def coalesce(indices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row once, in rising order, with the sum of its entries."""
    rows, place = np.unique(indices[0], return_inverse=True)
    sums = np.zeros((len(rows), values.shape[1]), values.dtype)
    np.add.at(sums, place, values)
    return rows[None], sums


def _coalesce_cases() -> list[Case]:
    random = np.random.default_rng(8)
    return [
        Case("nothing to add", np.array([[1, 2]]), _upstream(2, 1)),
        Case("a row twice", np.array([[1, 1, 4]]), _upstream(3, 1)),
        Case("not in order", np.array([[4, 1]]), _upstream(2, 1)),
        Case("a row in two places", np.array([[5, 2, 5]]), _upstream(3, 1)),
        Case("entries that cancel", np.array([[3, 1, 3]]), np.array([[2.0], [4.0], [-2.0]])),
        Case("float32", np.array([[3, 1, 3]]), _upstream(3).astype(np.float32)),
        Case("many", random.integers(0, 9, (1, 40)), _upstream(40, 3)),
    ]


def _any_coalesce(random):
    N = draw.size(random, 1, 12)
    values = draw.spoiled(random, random.integers(-1, 2, (N, draw.size(random, 1, 4))) / 2)
    rows = random.integers(0, random.choice([3, 9, 5000]), (1, N))
    return rows, values.astype(random.choice([np.float32, np.float64]))


def _coalesce(indices: np.ndarray, values: np.ndarray, mistake: str) -> Any:
    rows, first, place, counts = np.unique(
        indices[0], return_index=True, return_inverse=True, return_counts=True
    )
    sums = coalesce(indices, values)[1]
    if mistake == "dense":
        dense = np.zeros((int(rows.max()) + 1, values.shape[1]), values.dtype)
        dense[rows] = sums
        return rows[None], dense
    if mistake == "first seen":
        seen = np.argsort(first)
        return rows[seen][None], sums[seen]
    if mistake == "first":
        return rows[None], values[first]
    if mistake == "last":
        last = np.zeros_like(sums)
        last[place] = values
        return rows[None], last
    if mistake == "mean":
        return rows[None], sums / counts[:, None]
    if mistake == "without zeros":
        kept = sums.any(axis=1)
        return rows[kept][None], sums[kept]
    if mistake == "float64":
        return rows[None], sums.astype(np.float64)
    if mistake == "neighbors only":
        starts = np.flatnonzero(np.diff(indices[0], prepend=-1))
        return indices[:, starts], np.add.reduceat(values, starts, axis=0)
    if mistake == "falling":
        return rows[::-1][None], sums[::-1]
    if mistake == "flat":
        return rows, sums
    return indices, values  # "as it was"


# ---- 4. float32 sums, by hand -------------------------------------------------------------------

TERMS = {  # added one by one, from the left, in float32
    "A": (2.0**24, 1.0, 1.0, -(2.0**24)),
    "B": (1.0, 1.0, 2.0**24, -(2.0**24)),
    "C": (2.0**24, -(2.0**24), 1.0, 1.0),
    "D": (1.0, 2.0**24, 1.0, -(2.0**24)),
}
SUMS: tuple[float, ...] = (0, 2, 2, 0)


def terms_in(unit: int, order: str) -> dict[str, tuple[float, ...]]:
    """The terms of A, B, C and D in this unit, and in another order: "BACD" begins with B's."""
    return {letter: tuple(unit * term for term in TERMS[taken])
            for letter, taken in zip("ABCD", order, strict=True)}  # fmt: skip


SUM_MISTAKES: dict[tuple[float, ...], str] = {
    (2, 2, 2, 2): "In exact numbers all are 2. In float32, 2**24 + 1 has no place of its own.",
    (0, 0, 0, 0): "Not all lose: two ones that meet first make a 2, and 2**24 + 2 is a float32.",
    (1, 2, 2, 1): "Beyond 2**24 the float32 numbers are 2 apart: no such sum ends in an odd 1.",
    (0, 0, 2, 0): 'In "B" the ones meet before the large number: 2 is added to it, and fits.',
    (0, 2, 0, 0): 'In "C" the large numbers are gone before the ones come; nothing is lost.',
    (2, 2, 2, 0): 'In "A" each 1 comes alone: 2**24 + 1 rounds back to 2**24, and again.',
    (0, 2, 2, 2): 'In "D" the first 1 is lost when 2**24 comes, and then the other.',
}


def _judge_sums(mine: Any) -> str:
    answer = _answer(mine)
    if not isinstance(answer, (tuple, list, np.ndarray)) or len(answer) != 4:
        return f"Return four numbers, for A, B, C and D; found {answer!r}."
    numbers = tuple(float(number) for number in answer)
    if numbers == SUMS:
        return ""
    wrong = [f'"{name}"' for name, a, b in zip(TERMS, numbers, SUMS, strict=True) if a != b]
    return f"Not right yet: {', '.join(wrong)}. {SUM_MISTAKES.get(numbers, '')}".strip()


def _other_terms(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The same four series in another order of their letters, all in a unit that is a power of two,
    or minus one: each step rounds as before."""
    made = reordered("ABCD")(replace(exercise, shown=tuple("ABCD")), random)
    unit = int(random.choice([-1, 1])) * 2 ** int(random.integers(1, 10))
    order = "".join(made.shown[:4])

    def judge(mine: Any) -> str:
        answer = _answer(mine)
        numeric = isinstance(answer, (tuple, list, np.ndarray)) and len(answer) == 4
        assert made.judge is not None
        said = made.judge([number / unit for number in answer] if numeric else answer)
        return f"{said} (Here the unit is {unit}.)" if said else ""

    in_units = [unit * number for number in made.reference]
    wrong = tuple(replace(each, function=[unit * n for n in each.function]) for each in made.wrong)
    shown = f'terms_in({unit}, "{order}")', f"return {', '.join(map(str, in_units))}"
    return replace(made, reference=in_units, wrong=wrong, judge=judge, shown=shown)


# ---- 5. a counter-example -----------------------------------------------------------------------


def broken_bag_of(offsets: np.ndarray, n: int) -> np.ndarray:
    """The bag of each position: a mark where a bag begins, then the running sum of the marks."""
    marks = np.zeros(n, np.int64)
    marks[offsets[1:]] += 1
    return np.cumsum(marks)


def _right_bag_of(offsets: np.ndarray, n: int) -> np.ndarray:
    return np.repeat(np.arange(len(offsets)), np.diff(offsets, append=n))


def _asked_for(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The call has a given number of bags, 4 to 9, and of positions, 20 to 60."""
    bags, positions = int(random.integers(4, 10)), int(random.integers(20, 61))

    def judge(mine: Any) -> str:
        answer = _answer(mine)
        said = _judge_counter_example(answer)
        if said or (len(answer[0]), int(answer[1])) == (bags, positions):
            return said
        return f"That shows the bug. But wanted are {bags} bags and {positions} positions."

    offsets = [0, 2, *range(2, bags)]
    wrong = (*exercise.wrong, Wrong(exercise.reference, f"{positions} positions"))
    shown = f"a call of {bags} bags and {positions} positions on", f"{offsets}, {positions}"
    return replace(exercise, reference=(offsets, positions), judge=judge, wrong=wrong, shown=shown)


SAYS_ONE_EMPTY = (
    "It is right there: an empty bag alone does no harm where no mark falls on another."
)
SAYS_NO_EMPTY = "It is right there. Which bags does this call not have?"
SAYS_RAISES = (
    "It raises there, so everybody notices. Look for a call on which it is silently wrong."
)


def _judge_counter_example(mine: Any) -> str:
    answer = _answer(mine)
    if not (isinstance(answer, (tuple, list)) and len(answer) == 2):
        return f"Return a pair, the offsets and n; found {answer!r}."
    try:
        offsets, n = np.asarray(answer[0], np.int64), int(answer[1])
    except (TypeError, ValueError):
        return f"Return a pair, the offsets and then n, such as ([0, 2], 4); found {answer!r}."
    complaint = _not_a_call(offsets, n)
    if complaint:
        return complaint
    try:
        found = broken_bag_of(offsets, n)
    except IndexError:
        return SAYS_RAISES
    if not np.array_equal(found, _right_bag_of(offsets, n)):
        return ""
    return SAYS_ONE_EMPTY if (np.diff(offsets, append=n) == 0).any() else SAYS_NO_EMPTY


def _not_a_call(offsets: np.ndarray, n: int) -> str:
    if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0:
        return "That is no valid call: the first offset must be 0."
    if (np.diff(offsets) < 0).any():
        return "That is no valid call: offsets must not decrease."
    if n > 1000:
        return f"Find a small call: n is {n}, and 1000 positions are more than enough."
    if offsets[-1] > n:
        return "That is no valid call: an offset lies beyond n."
    return ""


# ---- 6. an order with a smaller error -----------------------------------------------------------


def better_order(terms: np.ndarray) -> np.ndarray:
    """An order in which positive float32 terms are added one by one with a small error."""
    return np.argsort(terms, kind="stable")


def _term_sets() -> list[np.ndarray]:
    random = np.random.default_rng(9)
    big_first = np.append(2.0**24, np.ones(1000)).astype(np.float32)
    steep = (random.random(4000) ** 12 * 1e4).astype(np.float32)
    return [random.permutation(steep), big_first]


def _error(terms: np.ndarray) -> float:
    return abs(float(np.add.accumulate(terms)[-1]) - float(terms.astype(np.float64).sum()))


SAYS_NO_ORDER = (
    "An order holds each place 0 to n - 1 once: it says which term comes first, second..."
)
SAYS_VALUES = "Those are the terms themselves. Return their places, as np.argsort does."
SAYS_TOO_FAR = "Its error is not small enough: what is added to a large sum loses digits."
SAYS_WORST = "Its error is that of the largest term first, the worst there is for positive terms."
SAYS_RANKS = "Those are ranks: where each term should go. Say which term comes first, second..."
SAYS_SAME = "The terms stay where they are, and so does the error."


def _judge_order(mine: Any) -> str:
    if not callable(mine):
        return "Give the function, without parentheses."
    for terms in _term_sets():
        complaint = _judge_one_order(np.asarray(mine(terms.copy())), terms)
        if complaint:
            return complaint
    return ""


def _judge_one_order(order: np.ndarray, terms: np.ndarray) -> str:
    n = len(terms)
    if order.dtype.kind == "f":
        return SAYS_VALUES
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        return SAYS_NO_ORDER
    if _error(terms[order]) <= 2 * _error(np.sort(terms)) + 1e-9:
        return ""
    if np.array_equal(order, np.arange(n)):
        return SAYS_SAME
    if np.array_equal(terms[order], np.sort(terms)[::-1]):
        return SAYS_WORST
    return SAYS_RANKS if np.array_equal(order, _ranks(terms)) else SAYS_TOO_FAR


def _ranks(terms: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(terms, kind="stable"))


def _shuffled(terms: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).permutation(len(terms))


# ---- all of them --------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        "05.sorted_backward", "a scatter-add by sorting", sorted_backward, _sorted_cases,
        random_call=_any_sorted_backward,
        otherwise="It finds the starts with `np.diff(rows, prepend=-1)`, so the first row is no "
        "special case.",
        hints=(
            "Which line of grad_output belongs to which position? Answer that first, before you "
            "sort anything.",
            "One order sorts the positions by row. Apply it to the rows and to the shares, and "
            "find where a row differs from the one before.",
            "Each stretch of equal rows is one sum of np.add.reduceat; write these sums to the "
            "rows at which the stretches begin. Rows that do not occur stay zero.",
        ),
        wrong=(
            Wrong(partial(_sorted, mistake="shares not sorted"),
                  "The rows are sorted and the shares are not: both need the same order."),
            Wrong(partial(_sorted, mistake="first start"),
                  "The first segment is missing: it starts at 0, where no row comes before."),
            Wrong(partial(_sorted, mistake="all V rows"),
                  "There is a segment for each row of the table. A row that does not occur has no "
                  "segment; reduceat gives it its neighbor's."),
            Wrong(partial(_sorted, mistake="last wins"),
                  "A row keeps its last share only: the shares of a segment must be added up."),
            Wrong(partial(_sorted, mistake="at the front"),
                  "The sums stand in the first rows of the table; write them to the rows that they "
                  "belong to."),
            Wrong(partial(_sorted, mistake="prepend 0"),
                  "With prepend=0 the stretch of row 0 has no start: 0 does not differ from 0. Put "
                  "a number in front that is no row, such as -1."),
            Wrong(partial(_sorted, mistake="last bag"),
                  "The last bag has no length yet: it ends where the input ends."),
            Wrong(partial(_sorted, mistake="by position"),
                  "grad_output is asked for a position; it has a line for each bag."),
            Wrong(partial(_sorted, mistake="float64"),
                  "The gradient must have the dtype of grad_output."),
            Wrong(_by_add_at, SAYS_ADD_AT),
            Wrong(_by_loop, "The results are right, but a loop has done the work"),
            Wrong(_by_product, SAYS_NO_REDUCEAT),
            Wrong(partial(_sorted, mistake="bags without positions"),
                  "Empty bags are skipped in the numbering: later bags use the wrong line of "
                  "grad_output."),
        ),
        points=3, returns="grad_weight", tools=_sorted_tools,
        unproved="that your sort is stable, and that it is fast.",
    ),
    Exercise(
        "05.frequency_shares", "shares divided by frequency", frequency_shares, _frequency_cases,
        random_call=_any_frequency_shares,
        otherwise="It leaves padding out before it counts, so nothing infinite is multiplied by "
        "zero.",
        hints=(
            "Padding first: which positions stay? After that, nothing needs to know of it.",
            "np.bincount counts each row. How does a position get the count of its own row?",
            "Index the counts by the rows that stay, and divide each share by what you get, as a "
            "column.",
        ),
        wrong=(
            Wrong(partial(_frequency, mistake="not divided"),
                  "Nothing is divided: a row that occurs k times wants its shares divided by k."),
            Wrong(partial(_frequency, mistake="multiplied"),
                  "The shares are multiplied by the count; divide."),
            Wrong(partial(_frequency, mistake="padding kept"),
                  "Padding positions are still there."),
            Wrong(partial(_frequency, mistake="times zero"),
                  "Padding is multiplied by zero; leave it out, for 0 times infinity is NaN."),
            Wrong(partial(_frequency, mistake="//"), "`//` rounds down. Divide with `/`."),
            Wrong(partial(_frequency, mistake="1 // n"),
                  "1 // n is 0 for every count of two or more. Divide with `/`."),
            Wrong(partial(_frequency, mistake="distinct"),
                  "That divides by the number of different rows, not by how often each occurs."),
            Wrong(partial(_frequency, mistake="zero is none"),
                  "Padding stays where padding_idx is 0. Does a condition ask for `padding_idx` "
                  "alone? 0 counts as False there."),
            Wrong(partial(_frequency, mistake="padding is zero"),
                  "Row 0 is left out, whatever padding_idx is."),
            Wrong(partial(_frequency, mistake="all positions"),
                  "That divides by the number of all positions, not of those of the same row."),
            Wrong(partial(_frequency, mistake="positions"),
                  "counts[i] is the count of row i, not of the row at position i."),
            Wrong(partial(_frequency, mistake="shares not left out"),
                  "The rows lost their padding, the shares did not: they no longer fit together."),
        ),
        points=2, returns=("rows", "shares"), unproved="a table without a padding row.",
    ),
    Exercise(
        "05.coalesce", "a coalesced sparse gradient", coalesce, _coalesce_cases,
        random_call=_any_coalesce,
        otherwise="It lets `np.unique` sort and number the rows, and adds with `np.add.at`.",
        hints=(
            "How many rows does the result have? Not V, and not N.",
            "np.unique gives each row once, in rising order; with return_inverse it also tells "
            "each entry its place among them.",
            "It is a scatter-add once more: the entries go to their places among the distinct "
            "rows. Any of the chapter's ways will do.",
        ),
        wrong=(
            Wrong(partial(_coalesce, mistake="dense"),
                  "values has a line for each row of the table; keep those of rows that occur."),
            Wrong(partial(_coalesce, mistake="first seen"),
                  "The rows stand in the order of their first entry; rising order is asked for."),
            Wrong(partial(_coalesce, mistake="first"),
                  "Only the first entry of each row is kept: add all of them."),
            Wrong(partial(_coalesce, mistake="last"),
                  "Only the last entry of each row is kept: add all of them. (`+=` with an array "
                  "of places keeps the last entry of each; np.add.at adds them all.)"),
            Wrong(partial(_coalesce, mistake="without zeros"),
                  "A row whose entries add up to 0 is missing. It occurs, so it stays."),
            Wrong(partial(_coalesce, mistake="float64"), "values must keep their dtype."),
            Wrong(partial(_coalesce, mistake="neighbors only"),
                  "Only entries that stand next to each other were added up: sort them first."),
            Wrong(partial(_coalesce, mistake="falling"), "The rows fall: rising order is asked."),
            Wrong(partial(_coalesce, mistake="mean"),
                  "The entries of a row are averaged: add them."),
            Wrong(partial(_coalesce, mistake="flat"),
                  "indices is (U,); it should stay two-dimensional, (1, U)."),
            Wrong(partial(_coalesce, mistake="as it was"),
                  "Nothing has been added up: rows that occur twice still stand there twice."),
        ),
        points=2, returns=("indices", "values"), unproved="a gradient without entries.",
    ),
    Exercise(
        "05.float32_sums", "four sums in float32, by hand", SUMS, judge=_judge_sums,
        vary=_other_terms, shown=('terms_in(1, "ABCD")', "return 0, 2, 2, 0"),
        otherwise="Its comments say, for each order, where a 1 is lost.",
        hints=(
            "Which whole numbers does a float32 still hold just above 2**24 = 16,777,216?",
            "Write down the running sum after each term. Only even numbers exist up there; a tie "
            "goes to the one whose last binary digit is 0.",
            "2**24 + 1 falls back to 2**24, but 2**24 + 2 exists. So ask of each order: does a 1 "
            "meet the large sum alone?",
        ),
        wrong=tuple(Wrong(a, s) for a, s in SUM_MISTAKES.items()),
        points=1, unproved="that you did it by hand.",
    ),
    Exercise(
        "05.counter_example", "a call that a function gets wrong", ([0, 2, 2], 4),
        judge=_judge_counter_example, vary=_asked_for, shown=("a call on", "[0, 2, 2], 4"),
        otherwise="It has one empty bag: two marks fall on one place, and `+=` keeps one of them.",
        hints=(
            "The function is right for bags that all hold something. Try it, then break that.",
            "marks[...] += 1 with the same place twice: what did the chapter say about it?",
            "Two marks must fall on one place: two offsets after the first one are equal, and less "
            "than n.",
        ),
        wrong=(
            Wrong(_returns((4, [0, 2, 2])), "the offsets and then n"),
            Wrong(_returns(([0, 2, 3], 4)), SAYS_NO_EMPTY),
            Wrong(_returns(([0, 0, 2], 4)), SAYS_ONE_EMPTY),
            Wrong(_returns(([0, 2, 4], 4)), SAYS_RAISES),
            Wrong(_returns(([1, 2, 2], 4)), "That is no valid call: the first offset must be 0."),
            Wrong(_returns(([0, 3, 2], 4)), "That is no valid call: offsets must not decrease."),
            Wrong(_returns(([0, 5, 5], 4)), "That is no valid call: an offset lies beyond n."),
        ),
        points=2, unproved="how to mend the function; np.repeat does it.",
    ),
    Exercise(
        "05.better_order", "an order with a smaller error", better_order, judge=_judge_order,
        otherwise="It sorts from small to large, and stably, so equal terms stay in their order.",
        hints=(
            "All terms are positive, so the running sum only grows. When does a small term lose "
            "its digits?",
            "A term should meet a running sum that is not much larger than itself. What has to "
            "come early?",
            "Let the sum grow slowly: small terms first. NumPy can tell you the places of the "
            "terms in that order.",
        ),
        wrong=(
            Wrong(lambda terms: np.arange(len(terms)), SAYS_SAME),
            Wrong(lambda terms: np.argsort(-terms, kind="stable"), SAYS_WORST),
            Wrong(_shuffled, SAYS_TOO_FAR),
            Wrong(np.sort, SAYS_VALUES),
            Wrong(lambda terms: np.zeros(len(terms), int), SAYS_NO_ORDER),
            Wrong(_ranks, SAYS_RANKS),
        ),
        points=2, unproved="terms of both signs, for which this order is not always good.",
    ),
)  # fmt: skip
