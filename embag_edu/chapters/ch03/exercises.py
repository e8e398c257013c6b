"""The exercises of chapter 03: the whole backward."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu.check import faults
from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.spec import NOBODY

Loss = Callable[[np.ndarray], float]
NAN = float("nan")


# ---- 1. a slope by hand -------------------------------------------------------------------------


def slope(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    """The central difference of loss(table) for one value of the table."""
    kept = table[row, feature]
    table[row, feature] = kept + h
    above = loss(table)
    table[row, feature] = kept - h
    below = loss(table)
    table[row, feature] = kept
    return (above - below) / (2 * h)


def bowl(table: np.ndarray) -> float:
    """The sum of squares."""
    return float(np.sum(table**2))


def cubes(table: np.ndarray) -> float:
    """The sum of cubes of a bag of rows 0, 2 and 2."""
    return float(np.sum((table[0] + 2 * table[2]) ** 3))


def product(table: np.ndarray) -> float:
    """Two values of one row, multiplied."""
    return float(table[1, 0] * table[1, 1] ** 2)


def _slope_cases() -> list[Case]:
    return [
        Case("a bowl", bowl, np.array([[1.5, -2.0]]), 0, 1, 0.01),
        Case("a product", product, np.array([[1.0, 2.0], [3.0, -4.0]]), 1, 1, 0.5),
        Case("cubes", cubes, np.array([[1.0, 2.0], [7.0, 7.0], [-0.5, 3.0]]), 2, 0, 0.25),
        Case("a row that does not occur", cubes, np.ones((3, 2)), 1, 1, 0.25),
    ]


def _any_slope(random):
    loss = [bowl, cubes, product][draw.size(random, 0, 2)]
    values = draw.table(random, draw.size(random, 3, 5), draw.size(random, 2, 4))
    row, feature = random.integers(0, values.shape)
    return loss, values, int(row), int(feature), float(random.choice([0.5, 0.25, 0.01, 2.0]))


def _one_sided(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    moved = table.copy()
    moved[row, feature] += h
    return (loss(moved) - loss(table)) / h


def _half(*arguments: Any) -> float:
    return 2 * slope(*arguments)


def _not_divided(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    return slope(loss, table, row, feature, h) * 2 * h


def _turned(*arguments: Any) -> float:
    return -slope(*arguments)


def _whole_row(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    above, below = table.copy(), table.copy()
    above[row] += h
    below[row] -= h
    return (loss(above) - loss(below)) / (2 * h)


def _times_h(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    return slope(loss, table, row, feature, h) * 2 * h / 2 * h


def _no_copy(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    kept = table[row, feature]
    above, below = table, table
    above[row, feature] += h
    below[row, feature] -= h
    found = (loss(above) - loss(below)) / (2 * h)
    table[row, feature] = kept
    return found


def _copied_late(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    table[row, feature] += h
    below = table.copy()
    below[row, feature] -= h
    return (loss(table) - loss(below)) / (2 * h)


def _own_step(step: float) -> Any:
    def wrong(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
        return slope(loss, table, row, feature, step)

    return wrong


def _undone_by_steps(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    found = slope(loss, table, row, feature, h)
    for step in (h, -2 * h, h):
        table[row, feature] += step
    return found


def _backward_difference(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    return 2 * slope(loss, table, row, feature, h) - _one_sided(loss, table, row, feature, h)


def _left_moved(loss: Loss, table: np.ndarray, row: int, feature: int, h: float) -> float:
    found = slope(loss, table, row, feature, h)
    table[row, feature] -= h
    return found


# ---- 2. mean with padding -----------------------------------------------------------------------


def mean_backward(
    input: np.ndarray,
    offsets: np.ndarray,
    grad_output: np.ndarray,
    num_embeddings: int,
    padding_idx: int,
) -> np.ndarray:
    """The gradient of the table, (V, D), for mode mean with a padding row."""
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]))
    ends = [*offsets, len(input)]
    for bag in range(len(offsets)):
        rows = [row for row in input[ends[bag] : ends[bag + 1]] if row != padding_idx]
        for row in rows:
            grad_weight[row] += grad_output[bag] / len(rows)
    return grad_weight


def _mean_cases() -> list[Case]:
    random = np.random.default_rng(3)
    ends = np.sort(random.integers(0, 41, 9))
    return [
        Case("one bag of two", np.array([0, 1]), np.array([0]), np.array([[6.0, -4.0]]), 2, 1),
        Case("two bags", np.array([0, 2, 1, 2]), np.array([0, 3]), _upstream(2), 4, 3),
        Case("padding in the middle", np.array([0, 1, 2]), np.array([0]), _upstream(1), 3, 1),
        Case("a row in two bags", np.array([2, 0, 2]), np.array([0, 2]), _upstream(2), 3, 1),
        Case("a row twice in a bag", np.array([1, 1, 0]), np.array([0]), _upstream(1), 3, 2),
        Case("a bag of padding only", np.array([2, 2, 0]), np.array([0, 2]), _upstream(2), 3, 2),
        Case("empty bags", np.array([1, 0]), np.array([0, 0, 2]), _upstream(3), 3, 2),
        Case("row 0 is padding", np.array([0, 2, 1]), np.array([0]), _upstream(1), 3, 0),
        Case("NaN for a bag of padding only", np.array([1, 1, 2, 0]), np.array([0, 2]),
             np.array([[NAN, 5.0, 7.0], [8.0, 4.0, 2.0]]), 3, 1),
        Case("forty positions", random.integers(0, 6, 40), np.append(0, ends), _upstream(10, 4), 6,
             4),
    ]  # fmt: skip


def _any_mean_backward(random):
    V = draw.size(random, 1, 6)
    input, offsets = draw.bags(random, V)
    grad = draw.table(random, len(offsets), draw.size(random, 1, 4))
    if random.random() < 0.3:
        grad[draw.size(random, 0, len(grad) - 1)] = random.choice([NAN, np.inf])
    return input, offsets, grad, V, draw.size(random, 0, V - 1)


def _upstream(bags: int, features: int = 2) -> np.ndarray:
    return np.round(np.random.default_rng(bags).normal(size=(bags, features)) * 9, 1) + 0.25


def _mean(
    input: np.ndarray,
    offsets: np.ndarray,
    grad_output: np.ndarray,
    num_embeddings: int,
    padding_idx: int,
    mistake: str,
) -> np.ndarray:
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]))
    ends = [*offsets] if mistake == "last bag" else [*offsets, len(input)]
    for bag in range(min(len(ends) - 1, 1 if mistake == "first bag" else len(ends))):
        everything = list(input[ends[bag] : ends[bag + 1]])
        counted = [row for row in everything if row != padding_idx]
        size = {"length": len(everything), "sum": 1, "distinct": len(set(counted))}
        if mistake == "zero is none" and padding_idx == 0:
            counted = everything
        if mistake == "times zero":
            for row in everything:
                factor = float(row != padding_idx) / max(len(counted), 1)
                grad_weight[row] += factor * grad_output[bag]
            continue
        rows = everything if mistake == "padding row" else counted
        for row in sorted(set(rows)) if mistake == "buffered" else rows:
            source = (bag + 1) % len(grad_output) if mistake == "neighbor" else bag
            share = grad_output[source] / max(size.get(mistake, len(counted)), 1)
            if mistake == "//":
                share = grad_output[source] // len(counted)
            if mistake == "1 // n":
                share = grad_output[source] * (1 // len(counted))
            grad_weight[row] = share if mistake == "=" else grad_weight[row] + share
    return grad_weight


# ---- 3. max, from its winners -------------------------------------------------------------------


def max_backward(
    input: np.ndarray, winners: np.ndarray, grad_output: np.ndarray, num_embeddings: int
) -> np.ndarray:
    """The gradient of the table, (V, D), for mode max; winners (B, D) holds positions."""
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]))
    for bag, feature in np.ndindex(winners.shape):
        if winners[bag, feature] != NOBODY:
            row = input[winners[bag, feature]]
            grad_weight[row, feature] += grad_output[bag, feature]
    return grad_weight


def _max_cases() -> list[Case]:
    random = np.random.default_rng(4)
    many = random.integers(0, 30, (9, 4))
    many[[2, 5]] = NOBODY
    return [
        Case("one bag", np.array([1, 0]), np.array([[1, 0]]), _upstream(1), 2),
        Case("another order", np.array([3, 1, 0]), np.array([[0, 2]]), _upstream(1), 5),
        Case("two bags", np.array([3, 1, 3]), np.array([[0, 1], [2, 2]]), _upstream(2), 4),
        Case("an empty bag", np.array([2, 1]), np.array([[0, 1], [-1, -1]]), _upstream(2), 3),
        Case("an empty bag in front, NaN for it", np.array([2, 1]), np.array([[-1], [1]]),
             np.array([[NAN], [3.0]]), 3),
        Case("nine bags", random.integers(0, 5, 30), many, _upstream(9, 4), 40),
    ]  # fmt: skip


def _any_max_backward(random):
    V, N = draw.size(random, 1, 8), draw.size(random, 1, 9)
    winners = random.integers(-1, N, (draw.size(random, 1, 5), draw.size(random, 1, 4)))
    grad = draw.table(random, *winners.shape)
    if random.random() < 0.3:
        grad[winners == -1] = NAN
    return random.integers(0, V, N), winners, draw.spoiled(random, grad), V


def _max(
    input: np.ndarray,
    winners: np.ndarray,
    grad_output: np.ndarray,
    num_embeddings: int,
    mistake: str,
) -> np.ndarray:
    grad_weight = np.zeros((num_embeddings, grad_output.shape[1]))
    last = grad_output.shape[1] - 1
    rounds = winners[:1] if mistake == "first bag" else winners
    for bag, feature in np.ndindex(rounds.shape):
        winner = winners[bag, 0 if mistake == "first feature" else feature]
        if winner == NOBODY and mistake not in ("nobody", "times zero"):
            continue
        if winner == 0 and mistake == "zero is nobody":
            continue
        if winner == NOBODY and mistake == "times zero":
            grad_weight[input[0], feature] += 0 * grad_output[bag, feature]
            continue
        row = winner if mistake == "position" else input[winner]
        share = grad_output[bag, last - feature if mistake == "reversed" else feature]
        if mistake == "=":
            grad_weight[row, feature] = share
        elif mistake == "whole row":
            grad_weight[row] += grad_output[bag]
        else:
            grad_weight[row, feature] += share
    return grad_weight


# ---- 4. a function to mend ----------------------------------------------------------------------


def weights_gradient(
    input: np.ndarray,
    offsets: np.ndarray,
    weight: np.ndarray,
    grad_output: np.ndarray,
    padding_idx: int,
) -> np.ndarray:
    """The gradient of per_sample_weights, (N,)."""
    gradient = np.zeros(len(input))
    for position, row in enumerate(input):
        if row != padding_idx:
            bag = np.searchsorted(offsets, position, side="right") - 1
            gradient[position] = grad_output[bag] @ weight[row]
    return gradient


def _weights_cases() -> list[Case]:
    random = np.random.default_rng(5)
    table = np.array([[1.0, 20.0], [2.0, -40.0], [4.0, 80.0], [8.0, 10.0]])
    ends = np.sort(random.integers(0, 31, 7))
    spoilt = table.copy()
    spoilt[2] = NAN
    big = random.normal(size=(6, 3))
    return [
        Case("one bag", np.array([0, 1]), np.array([0]), table, _upstream(1), 3),
        Case("two bags", np.array([0, 1, 2]), np.array([0, 1]), table, _upstream(2), 3),
        Case("padding", np.array([3, 1, 3]), np.array([0, 1]), table, _upstream(2), 3),
        Case("an empty bag", np.array([2, 0]), np.array([0, 1, 1]), table, _upstream(3), 3),
        Case("row 0 is padding", np.array([0, 2, 1]), np.array([0]), table, _upstream(1), 0),
        Case("NaN in the padding row", np.array([2, 1, 2]), np.array([0, 1]), spoilt,
             _upstream(2), 2),
        Case("thirty positions", random.integers(0, 6, 30), np.append(0, ends), big,
             _upstream(8, 3), 4),
    ]  # fmt: skip


def _any_weights_gradient(random):
    V, D = draw.size(random, 1, 6), draw.size(random, 1, 4)
    input, offsets = draw.bags(random, V)
    weight, padding = draw.table(random, V, D), draw.size(random, 0, V - 1)
    if random.random() < 0.3:
        weight[padding] = NAN
    grad = draw.spoiled(random, draw.table(random, len(offsets), D))
    return input, offsets, weight, grad, padding


def _weights(
    input: np.ndarray,
    offsets: np.ndarray,
    weight: np.ndarray,
    grad_output: np.ndarray,
    padding_idx: int,
    mistake: str,
) -> np.ndarray:
    gradient = np.zeros(len(input))
    side: Any = "left" if mistake in ("given", "cut") else "right"
    for position, row in enumerate(input):
        zero = mistake == "zero is none" and padding_idx == 0
        if row == padding_idx and mistake not in ("given", "padding", "times zero") and not zero:
            continue
        bag = max(int(np.searchsorted(offsets, position, side=side)) - 1, 0)
        if mistake == "cut, no max":
            bag = int(np.searchsorted(offsets, position)) - 1
        if mistake == "no minus":
            bag += 1
        if mistake == "row only":
            gradient[position] = weight[row].sum()
        elif mistake == "upstream only":
            gradient[position] = grad_output[bag].sum()
        elif mistake == "position":
            gradient[position] = grad_output[bag] @ weight[position % len(weight)]
        elif mistake == "reversed":
            gradient[position] = grad_output[bag] @ weight[row][::-1]
        else:
            gradient[position] = grad_output[bag] @ weight[row]
        if mistake == "times zero":
            gradient[position] *= row != padding_idx
        if mistake == "return":
            break
    return gradient


# ---- 5. frequencies, by hand --------------------------------------------------------------------


def _of_upstream(a: int, b: int) -> dict[str, Any]:
    """What the exercise is for the upstream gradients of these two bags."""
    right = (0, (2 * a + b) / 3, (a + b) / 2, b)
    mistakes: dict[tuple[float, ...], str] = {
        (0, 2 * a + b, a + b, b): "Nothing was divided. A row that occurs k times has its gradient "
        "divided by k.",
        (0, a + b, a + b, b): "The count is that of the whole input, not of one bag.",
        (b, *right[1:]): "Row 0 is the padding row: its gradient is zero whatever its count is.",
        (0, 3 * (2 * a + b), 2 * (a + b), b): "You multiplied by the count; the option divides by "
        "it.",
        (0, (a + b) / 3, *right[2:]): "Row 1 occurs twice in bag 0: it gets that bag's gradient "
        "twice.",
        (0, right[1], (a + b) / 3, b / 3): "That is what torch 2.13 answers on the CPU. The "
        "definition is asked for.",
    }
    return {
        "reference": right,
        "judge": partial(_judge_frequency, expected=right, mistakes=mistakes),
        "wrong": tuple(Wrong(answer, says) for answer, says in mistakes.items()),
        "shown": (
            f"[[{a}], [{b}]]", f"return 0, ({a} + {a} + {b}) / 3, ({a} + {b}) / 2, {b}",
        ),
    }  # fmt: skip


def _other_upstream(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The same call with two other upstream gradients: different multiples of 6, up to 90, so that
    every division comes out even."""
    a, b = 6 * random.choice(np.arange(1, 16), 2, replace=False)
    return replace(exercise, **_of_upstream(int(a), int(b)))


def _judge_frequency(
    mine: Any, expected: tuple[float, ...], mistakes: Mapping[tuple[float, ...], str]
) -> str:
    answer = mine() if callable(mine) else mine
    if not isinstance(answer, (tuple, list, np.ndarray)) or len(answer) != 4:
        return f"Return four numbers, for the rows 0, 1, 2 and 3; found {answer!r}."
    numbers = tuple(float(number) for number in answer)
    wrong = [row for row in range(4) if not abs(numbers[row] - expected[row]) < 1e-6]
    if not wrong:
        return ""
    rows = ", ".join(map(str, wrong))
    said = f"Not right yet: row{'s' if len(wrong) > 1 else ''} {rows}."
    return f"{said} {mistakes.get(numbers, '')}".strip()


def _returns(value: Any) -> Callable[[], Any]:
    return lambda: value


# ---- 6. the gradient detective ------------------------------------------------------------------

SCENE: dict[str, Any] = {  # the one call that all four pieces of evidence come from
    "input": np.array([2, 0, 2, 1, 3, 2]),
    "offsets": np.array([0, 3]),
    "mode": "mean",
    "padding_idx": 3,
}
SCENE_UPSTREAM = np.array([[6.0, 60.0], [12.0, -24.0]])

SUSPECTS: dict[str, tuple[str, type[faults.Steps]]] = {
    "a": ("each bag uses the gradient of the next bag", faults.NeighborsGradient),
    "b": ("the features of grad_output are reversed", faults.GradientFeaturesReversed),
    "c": ("a repeated row keeps only its last gradient", faults.LastWriteWins),
    "d": ("the mean's gradient is not divided", faults.MeanGradientNotDivided),
    "e": ("the mean's gradient is divided by a number that counts padding",
          faults.MeanGradientWithPadding),
    "f": ("the padding row gets a gradient", faults.PaddingGetsGradient),
    "g": ("grad_output is taken to be all ones", faults.GradientOfOnes),
}  # fmt: skip
CULPRITS = ("c", "e", "a", "b")


def evidence(number: int, scene: int = 0) -> np.ndarray:
    """A wrong gradient, (4, 2), number 1 to 4, of the scene's call.

    Each scene has other culprits, behind number 0, the book's.
    """
    if number not in (1, 2, 3, 4):
        raise ValueError(f"number is {number!r}; there are pieces of evidence 1 to 4")
    return _answer_of(_culprits(scene)[number - 1])


def _culprits(scene: int) -> tuple[str, ...]:
    letters = np.random.default_rng([3, scene]).choice(list(SUSPECTS), 4, replace=False)
    return tuple(map(str, letters)) if scene else CULPRITS


def _of_scene(scene: int) -> dict[str, Any]:
    """What the exercise is for the culprits of this scene."""
    culprits = _culprits(scene)
    accused = ((at, letter) for at in range(4) for letter in SUSPECTS if letter != culprits[at])
    return {
        "reference": culprits,
        "judge": partial(_judge_detective, culprits=culprits),
        "wrong": tuple(_accuse(culprits, *each) for each in [*accused][::3]),
        "shown": (f"evidence(number{f', {scene}' * bool(scene)})",
                  f"return {', '.join(map(json.dumps, culprits))}"),
    }  # fmt: skip


def _other_scene(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The same call and the same seven suspects, of whom four others have made the evidence, or the
    same four in another order."""
    scene = int(random.integers(1, 10**6))
    while _culprits(scene) == CULPRITS:
        scene += 1
    return replace(exercise, **_of_scene(scene))


def _answer_of(letter: str) -> np.ndarray:
    culprit = SUSPECTS[letter][1]()
    gradients = culprit.backward(SCENE_UPSTREAM, weight=np.zeros((4, 2)), **SCENE)
    return np.asarray(gradients.weight)


def _alibi(number: int, letter: str) -> str:
    """Why a suspect did not do it: what its answer would have been."""
    answer = str(_answer_of(letter).tolist())
    return f"Evidence {number} is not ({letter}): that fault would have left {answer}."


def _judge_detective(mine: Any, culprits: tuple[str, ...]) -> str:
    answer = mine() if callable(mine) else mine
    letters = answer if isinstance(answer, (tuple, list, str)) else ()
    if len(letters) != 4 or any(letter not in SUSPECTS for letter in letters):
        return f"Return four letters from a to g, one for each piece of evidence; found {answer!r}."
    pairs = zip(letters, culprits, strict=True)
    wrong = [number for number, (said, did) in enumerate(pairs, 1) if said != did]
    return "\n".join(_alibi(number, letters[number - 1]) for number in wrong)


def _accuse(culprits: tuple[str, ...], at: int, letter: str) -> Wrong:
    letters = (*culprits[:at], letter, *culprits[at + 1 :])
    return Wrong(letters, _alibi(at + 1, letter))


# ---- all of them --------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        "03.slope", "a slope by central difference", slope, _slope_cases,
        random_call=_any_slope,
        otherwise="It puts back the value that it has kept. Adding and subtracting h would leave "
        "a rounding error in the table.",
        hints=(
            "Which single number of the table do you have to move, and in which two directions?",
            "Call the loss twice: once with that number a little larger, once a little smaller. "
            "How far apart are the two places?",
            "Rise over run: the difference of the two losses, over twice the step. Remember the "
            "number first, and put it back at the end.",
        ),
        wrong=(
            Wrong(_one_sided, "That is a one-sided difference. Step to both sides of the value."),
            Wrong(_half, "The two places are 2 h apart, not h."),
            Wrong(_not_divided, "A difference is no slope yet: divide it by the distance."),
            Wrong(_turned, "The sign is turned: take the loss above minus the loss below."),
            Wrong(_whole_row, "The whole row was moved. Move one feature of it only."),
            Wrong(_left_moved, "The table stays moved. Put the number back as it was."),
            Wrong(
                _times_h,
                "`/ 2 * h` divides by 2 and then multiplies by h. Write `/ (2 * h)`.",
            ),
            Wrong(
                _no_copy,
                "Both losses are taken of the same table, so they do not differ. `above = table` "
                "is no copy.",
            ),
            Wrong(
                _copied_late,
                "The copy was made after the table had been moved. Then it is one-sided, and the "
                "table stays moved.",
            ),
            *(
                Wrong(_own_step(step), f"The step is {said} here, whatever h is. Take h.")
                for step, said in ((0.01, "0.01"), (1e-3, "0.001"), (1e-5, "a tiny number"))
            ),
            Wrong(
                _undone_by_steps,
                "Adding h and taking it away again rounds: the number is a little off what it was. "
                "Remember it first, and put it back.",
            ),
            Wrong(
                _backward_difference,
                "That is a one-sided difference, to the lower side. Step to both sides.",
            ),
        ),
        points=2, returns="slope", unproved="steps so small that rounding takes over.",
    ),
    Exercise(
        "03.mean_backward", "the gradient of a mean with padding", mean_backward, _mean_cases,
        random_call=_any_mean_backward,
        otherwise="It adds with `np.add.at`, so no row that comes twice is lost, and divides by "
        "1 at least.",
        hints=(
            "How many positions of a bag share its gradient?",
            "For each bag, collect the rows that are not padding first. Their number is what you "
            "divide by; the last bag ends with the input.",
            "Every row collected for a bag gets an equal part of that bag's line of grad_output, "
            "added to what it has already.",
        ),
        wrong=(
            Wrong(partial(_mean, mistake="length"),
                  "Padding is counted in the number that you divide by."),
            Wrong(partial(_mean, mistake="padding row"),
                  "The padding row gets a gradient. It must stay at zero."),
            Wrong(partial(_mean, mistake="sum"),
                  "That is the gradient of a sum: a mean divides by the positions of the bag."),
            Wrong(partial(_mean, mistake="="),
                  "A row that occurs again loses what it had: add up all its shares. (`+=` with "
                  "an array of rows keeps one share of each row; np.add.at adds them all.)"),
            Wrong(partial(_mean, mistake="buffered"),
                  "A row that occurs twice in one bag gets one share only. (`+=` with an array of "
                  "rows keeps one share of each row; np.add.at adds them all.)"),
            Wrong(partial(_mean, mistake="zero is none"),
                  "Row 0 is not taken for padding when padding_idx is 0. Does a condition ask for "
                  "`padding_idx` alone? 0 counts as False there."),
            Wrong(partial(_mean, mistake="times zero"),
                  "A NaN has leaked into the padding row: NaN times 0 is NaN. Leave padding out."),
            Wrong(partial(_mean, mistake="//"), "`//` rounds down. Divide with `/`."),
            Wrong(partial(_mean, mistake="1 // n"),
                  "1 // n is 0 for every bag of two or more. Divide with `/`."),
            Wrong(partial(_mean, mistake="first bag"),
                  "Only the first bag is there. Is the `return` inside the loop?"),
            Wrong(partial(_mean, mistake="neighbor"),
                  "Each bag uses the upstream gradient of the bag after it."),
            Wrong(partial(_mean, mistake="last bag"),
                  "The last bag is missing: it ends where the input ends."),
            Wrong(partial(_mean, mistake="distinct"),
                  "A row that occurs twice counts twice in the number that you divide by."),
        ),
        points=2, returns="grad_weight", unproved="negative padding_idx, and other dtypes.",
    ),
    Exercise(
        "03.max_backward", "the gradient of a maximum", max_backward, _max_cases,
        random_call=_any_max_backward,
        otherwise="It has no loop: `np.nonzero` finds the winners that exist, and `np.add.at` "
        "adds at all of them.",
        hints=(
            "Each value of the output has one winner. How many values of the table does one value "
            "of grad_output reach?",
            "winners holds positions of the input. Which row stands at a position?",
            "Go through all bags and features. Where somebody won, add that one value of "
            "grad_output to that feature of the winner's row.",
        ),
        wrong=(
            Wrong(partial(_max, mistake="nobody"),
                  "Where nobody won, the winner is -1, and input[-1] is the last position: skip "
                  "those."),
            Wrong(partial(_max, mistake="position"),
                  "A winner is a position of the input, not a row of the table."),
            Wrong(partial(_max, mistake="="),
                  "A row can win in several bags, and keeps only one of its gradients here: add up "
                  "all. (`+=` with arrays of places keeps one of each; np.add.at adds them all.)"),
            Wrong(partial(_max, mistake="zero is nobody"),
                  "Position 0 can win, too. Nobody is -1: ask for `winner != NOBODY`, not for "
                  "`winner > 0`."),
            Wrong(partial(_max, mistake="times zero"),
                  "A NaN has leaked: where nobody won, its gradient was multiplied by 0, and NaN "
                  "times 0 is NaN. Skip it."),
            Wrong(partial(_max, mistake="first bag"),
                  "Only the first bag is there. Is the `return` inside the loop?"),
            Wrong(partial(_max, mistake="whole row"),
                  "A winner gets the gradient of the feature that it won, not of the whole bag."),
            Wrong(partial(_max, mistake="first feature"),
                  "Each feature has its own winner; you use that of feature 0 for all."),
            Wrong(partial(_max, mistake="reversed"),
                  "The features of grad_output are read in reverse order."),
        ),
        points=2, returns="grad_weight", unproved="that the winners themselves are right.",
    ),
    Exercise(
        "03.weights_gradient", "two mistakes in a gradient of weights",
        weights_gradient, _weights_cases,
        random_call=_any_weights_gradient,
        otherwise="It takes `side=\"right\"`, which steps over empty bags too, so it needs no "
        "`max(..., 0)`.",
        hints=(
            "Print what the broken function gives for two bags of one position each. Which bag's "
            "gradient does position 1 use?",
            "One mistake is about a position at which a bag begins, the other about a position "
            "that holds the padding row.",
            "np.searchsorted has a `side`. A position equal to an offset belongs to the bag that "
            "begins there; and padding has a gradient of zero.",
        ),
        wrong=(
            Wrong(partial(_weights, mistake="given"),
                  "Both mistakes are still there: where a bag begins, and at padding."),
            Wrong(partial(_weights, mistake="padding"),
                  "At a padding position the gradient is zero."),
            Wrong(partial(_weights, mistake="cut"),
                  "The first position of a bag still uses the gradient of the bag before it."),
            Wrong(partial(_weights, mistake="cut, no max"),
                  "The first position of a bag uses the gradient of the bag before it, and "
                  "position 0 that of the last bag. np.searchsorted has a `side`."),
            Wrong(partial(_weights, mistake="no minus"),
                  "The bag is the one before the place that np.searchsorted finds: subtract 1."),
            Wrong(partial(_weights, mistake="row only"),
                  "grad_output is missing: the gradient is its dot product with the row."),
            Wrong(partial(_weights, mistake="upstream only"),
                  "The row is missing: the gradient is its dot product with grad_output."),
            Wrong(partial(_weights, mistake="position"),
                  "weight is asked for the position's own number; ask for the row that stands "
                  "there."),
            Wrong(partial(_weights, mistake="zero is none"),
                  "Padding gets a gradient when padding_idx is 0. Does a condition ask for "
                  "`padding_idx` alone? 0 counts as False there."),
            Wrong(partial(_weights, mistake="times zero"),
                  "A NaN has leaked: at padding the product was multiplied by 0, and NaN times 0 "
                  "is NaN. Write the 0 itself."),
            Wrong(partial(_weights, mistake="return"),
                  "Only the first position has a gradient. Is the `return` inside the loop?"),
            Wrong(partial(_weights, mistake="reversed"),
                  "The row's features are read in reverse order."),
        ),
        points=2, returns="gradient", unproved="2-D inputs, whose gradient is 2-D too.",
    ),
    Exercise(
        "03.frequency", "gradients by frequency, with pencil and paper", **_of_upstream(12, 24),
        vary=_other_upstream,
        otherwise="It counts each row over both bags together, and leaves the padding row at 0.",
        hints=(
            "First write down the gradient as if the option were off. Then count.",
            "Count each row over all seven positions, whichever bag they are in.",
            "A row's gradient is a sum over its positions; the option divides that sum by how many "
            "positions there were. Padding stays out of it.",
        ),
        unproved="that you did it by hand.",
    ),
    Exercise(
        "03.detective", "four wrong gradients, four faults", **_of_scene(0), vary=_other_scene,
        otherwise="Its comments say which row gives each piece of evidence away.",
        hints=(
            "Write down the right gradient first. It is short work: three rows, two features.",
            "Ask of each piece: which rows are wrong, and only those? One bag's rows, a repeated "
            "row, or all of them?",
            "Look at the sizes: with which division does a wrong value come from grad_output, and "
            "from which line and column of it?",
        ),
        points=2, unproved="faults that are not among the seven.",
    ),
)  # fmt: skip
