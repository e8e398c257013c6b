"""The exercises of chapter 04: vectorized forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu import loops
from embag_edu.api import embedding_bag
from embag_edu.check import rounding
from embag_edu.check.compare import difference
from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong, judge_prediction
from embag_edu.course.variants import in_bag
from embag_edu.spec import make_call

NAN, INF = float("nan"), float("inf")

# ---- 04.predict -----------------------------------------------------------------------------

TERMS = (4, 1, 6, 9, 2)


def _of_terms(x: Sequence[int]) -> dict[str, Any]:
    """What the exercise is for np.add.reduceat(x, [0, 2, 2, 3]), x of five numbers."""
    first, last = x[0] + x[1], x[3] + x[4]
    right = [first, x[2], x[2], last]
    said = {
        (first, 0, x[2], last): "This is what EmbeddingBag gives. reduceat has no zero to give for "
        "an empty bag.",
        (first, first, x[2], last): "An empty bag does not repeat the bag before it. Look at what "
        "lies at its start.",
        (first, x[2] + last, x[2], last): "An empty bag does not take everything to the end; it "
        "takes one position only.",
        (first, x[1], x[2], last): "That is the position before the cut. An offset names the "
        "position after it.",
        (first, x[2], last): "reduceat gives one value for each offset, four here; an empty bag is "
        "not dropped.",
        (first, x[2], 0, last): "Of two equal offsets, the first is the start of the empty bag, "
        "not the second.",
        (*right[:3], x[3]): "The last bag goes on to the end of the array: no further offset stops "
        "it.",
        (x[0], x[2], x[2], x[3]): "These are the values at the offsets. reduceat adds up from "
        "there to the next one.",
    }
    return {
        "reference": right,
        "wrong": tuple(Wrong(list(answer), says) for answer, says in said.items()),
        "judge": partial(_judge_prediction, right=right, said=said),
        "shown": (f"np.add.reduceat({list(x)}", f"return {right}"),
    }


def _judge_prediction(mine: Any, **known: Any) -> str:
    unknown = "For each offset, ask whether the next one is larger."
    return judge_prediction(mine() if callable(mine) else mine, unknown=unknown, **known)


def _other_terms(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The same offsets over five other numbers from 1 to 12, no two alike."""
    x = random.choice(np.arange(1, 13), 5, replace=False).tolist()
    while x[0] + x[1] == x[2] or x == [*TERMS]:
        random.shuffle(x)
    return replace(exercise, **_of_terms(x))


PREDICT = Exercise(
    "04.predict",
    "what reduceat gives",
    **_of_terms(TERMS),
    vary=_other_terms,
    otherwise="It is the list alone: where the next start is not larger, reduceat gives the "
    "one value there.",
    hints=(
        "There is one value for each offset. Mark the four cuts below the five values.",
        "Where the next offset is larger, reduceat adds up to it. What can it do where it is not?",
        "Where two offsets are equal, the first of them gives the single value that stands there.",
    ),
    unproved="that you did not run it first.",
)

# ---- 04.bag_matrix --------------------------------------------------------------------------


def bag_matrix(
    input: np.ndarray, offsets: np.ndarray, per_sample_weights: np.ndarray, padding_idx: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three arrays of the matrix A, with padding left out: data, indices, indptr."""
    kept = input != padding_idx
    kept_before = np.append(0, np.cumsum(kept))
    indptr = kept_before[np.append(offsets, len(input))]
    return per_sample_weights[kept], input[kept], indptr


def _times_zero(input, offsets, per_sample_weights, padding_idx):
    data = per_sample_weights * (input != padding_idx)
    return data.astype(per_sample_weights.dtype), input, np.append(offsets, len(input))


def _old_offsets(input, offsets, per_sample_weights, padding_idx):
    data, indices, _ = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, np.append(offsets, len(input))


def _old_starts(input, offsets, per_sample_weights, padding_idx):
    data, indices, _ = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, np.append(offsets, len(data))


def _offsets_themselves(input, offsets, per_sample_weights, padding_idx):
    data, indices, _ = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, offsets


def _without_the_end(input, offsets, per_sample_weights, padding_idx):
    data, indices, indptr = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, indptr[:-1]


def _empty_bags_lost(input, offsets, per_sample_weights, padding_idx):
    data, indices, indptr = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, np.unique(indptr)


def _all_weights(input, offsets, per_sample_weights, padding_idx):
    _, indices, indptr = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return per_sample_weights, indices, indptr


def _counted_behind(input, offsets, per_sample_weights, padding_idx):
    kept = input != padding_idx
    counts = np.append(np.cumsum(kept), kept.sum())
    indptr = counts[np.append(offsets, len(input))]
    return per_sample_weights[kept], input[kept], indptr


def _end_of_bag_before(input, offsets, per_sample_weights, padding_idx):
    """Right but for an empty first bag: place -1 is the last one."""
    kept = input != padding_idx
    data, indices, indptr = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    if len(input):
        indptr = np.append(0, np.cumsum(kept)[np.append(offsets[1:], len(input)) - 1])
    return data, indices, indptr


def _without_weight_zero(input, offsets, per_sample_weights, padding_idx):
    kept = (input != padding_idx) & (per_sample_weights != 0)
    indptr = np.append(0, np.cumsum(kept))[np.append(offsets, len(input))]
    return per_sample_weights[kept], input[kept], indptr


def _padding_kept(input, offsets, per_sample_weights, padding_idx):
    return per_sample_weights, input, np.append(offsets, len(input))


def _lengths(input, offsets, per_sample_weights, padding_idx):
    data, indices, indptr = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, np.append(np.diff(indptr), len(data))


def _zero_is_none(input, offsets, per_sample_weights, padding_idx):
    done = bag_matrix if padding_idx else _padding_kept
    return done(input, offsets, per_sample_weights, padding_idx)


def _padding_is_zero(input, offsets, per_sample_weights, padding_idx):
    return bag_matrix(input, offsets, per_sample_weights, 0)


def _bag_of_each(input, offsets, per_sample_weights, padding_idx):
    data, indices, indptr = bag_matrix(input, offsets, per_sample_weights, padding_idx)
    return data, indices, np.repeat(np.arange(len(offsets)), np.diff(indptr))


def _drops_repeats(input, offsets, per_sample_weights, padding_idx):
    kept = np.zeros(len(input), bool)
    ends = np.append(offsets, len(input))
    for begin, end in zip(ends[:-1], ends[1:], strict=True):
        _, first = np.unique(input[begin:end], return_index=True)
        kept[begin + first] = True
    kept &= input != padding_idx
    indptr = np.append(0, np.cumsum(kept))[ends]
    return per_sample_weights[kept], input[kept], indptr


def _matrix_cases() -> list[Case]:
    random = np.random.default_rng(4)
    ids = random.integers(0, 6, 60)
    starts = np.append(0, np.sort(random.integers(0, 60, 24)))
    return [
        Case("no padding", np.array([3, 1]), np.array([0, 1]), np.array([0.5, 2.0]), 0),
        Case("padding in front", np.array([0, 3]), np.array([0, 1]), np.array([0.5, 2.0]), 0),
        Case("padding behind", np.array([4, 0, 2]), np.array([0, 2]), np.array([1.0, 2.0, 3.0]), 0),
        Case("an empty bag", np.array([4, 5, 2]), np.array([0, 2, 2]), np.ones(3, np.float32), 0),
        Case("an empty first bag", np.array([4, 5]), np.array([0, 0]), np.array([2.0, 3.0]), 0),
        Case("a weight of 0", np.array([4, 5]), np.array([0, 1]), np.array([0.0, 3.0]), 1),
        Case("padding only", np.array([2, 2]), np.array([0]), np.array([NAN, 1.0]), 2),
        Case("a row twice", np.array([7, 7, 1]), np.array([0]), np.array([0.5, 0.25, 2.0]), 1),
        Case("sixty positions", ids, starts, random.normal(size=60).astype(np.float32), 5),
    ]


def _any_bag_matrix(random):
    V = draw.size(random, 1, 6)
    input, offsets = draw.bags(random, V)
    weights = np.round(random.normal(size=len(input)), 1)
    weights[random.random(len(input)) < 0.2] = random.choice([0, NAN])
    weights = weights.astype(random.choice([np.float32, np.float64]))
    return input, offsets, weights, draw.size(random, 0, V - 1)


MATRIX = Exercise(
    "04.bag_matrix",
    "the three arrays of the sparse matrix, with padding left out",
    bag_matrix,
    _matrix_cases,
    random_call=_any_bag_matrix,
    otherwise="It counts the kept positions with one `np.cumsum`, and looks the new `indptr` "
    "up in it.",
    hints=(
        "Which positions remain? One array of True and False answers it for weights and ids alike.",
        "A bag that lost a position ends earlier, and so does every bag behind it. How many "
        "positions are left before each old offset?",
        "Make a running count of the positions that stay, with a 0 in front of it, and look the "
        "old offsets and the old end up in it.",
    ),
    wrong=(
        Wrong(
            _times_zero,
            "The padding is still in the matrix, with weight 0. Times a NaN in its row that is "
            "NaN. Leave the positions out.",
        ),
        Wrong(
            _old_offsets,
            "These offsets count the padding that is no longer there: the bags begin too late.",
        ),
        Wrong(
            _old_starts,
            "Only the end has moved. The starts count the padding that is no longer there: they "
            "have to move as well.",
        ),
        Wrong(
            _offsets_themselves,
            "These are the offsets as they were. They have to move, for the padding is gone, and "
            "the end of the last bag is missing: indptr has B + 1 numbers.",
        ),
        Wrong(_without_the_end, "indptr has B + 1 numbers: the end of the last bag is missing."),
        Wrong(
            _empty_bags_lost,
            "A bag without a position is still a row of the matrix. Its two ends are equal, and "
            "both stay in indptr.",
        ),
        Wrong(_all_weights, "data and indices must have the same length: the weights go as well."),
        Wrong(
            _counted_behind,
            "The count includes the position itself. What is wanted is how many are left before "
            "it.",
        ),
        Wrong(
            _end_of_bag_before,
            "An empty bag in front goes wrong: the count at place offset - 1 is read, and place -1 "
            "is the last one. Put a 0 in front of the running count, and look up the offsets.",
        ),
        Wrong(
            _without_weight_zero,
            "A word of weight 0 is no padding. It stays in the matrix: times a NaN in its row it "
            "is NaN.",
        ),
        Wrong(_padding_kept, "The padding is still in the matrix."),
        Wrong(_lengths, "indptr holds where each bag begins, and the end; not how long each is."),
        Wrong(
            _zero_is_none,
            "The padding stays where padding_idx is 0. Does a condition ask for `padding_idx` "
            "alone? 0 counts as False there.",
        ),
        Wrong(_padding_is_zero, "Row 0 is left out, whatever padding_idx is."),
        Wrong(
            _bag_of_each,
            "The third array has the bag of each position. indptr has B + 1 numbers: where each "
            "bag begins, and the end.",
        ),
        Wrong(
            _drops_repeats,
            "A row that occurs twice in a bag counts twice: two entries at the same place of the "
            "matrix.",
        ),
    ),
    points=3,
    returns=("data", "indices", "indptr"),
    unproved="a padding_idx that is None or negative.",
)

# ---- 04.running_total -----------------------------------------------------------------------


def running_total_bag(input, weight, offsets):
    """Mode "sum", without reduceat: differences of a running total. With a bug."""
    totals = np.cumsum(weight[input], axis=0)
    totals = np.concatenate([np.zeros_like(weight[:1]), totals])
    ends = np.append(offsets, len(input))
    return totals[ends[1:]] - totals[ends[:-1]]


NOT_A_CALL = "Return a dict of three arrays, with the keys input, weight and offsets."
NOT_FLOAT32 = "The table must be float32: weight.dtype says otherwise."
NOT_FINITE = "NaN and infinity are not allowed here: find ordinary numbers that show the bug."
ONE_BAG = "The first bag is a plain sum from the left, and right. The bug needs a bag behind it."
IN_THE_BAG = (
    "The largest number stands in the last bag. What harms a bag is what the total holds before "
    "the bag begins."
)
TOO_LITTLE = (
    "Something is lost, but no more than rounding may cost. How much larger must a total be than a "
    "number, for the number to vanish when it is added?"
)
EXACT = "Nothing is lost: every total on the way happens to be a float32 number."
NO_BAG = "There is no bag with a position in it."


def _wrong_bags(given: dict[str, Any]) -> np.ndarray:
    """Which bags of a call are off by more than rounding, (B,)."""
    call = make_call(**given, mode="sum")
    exact = loops.forward(make_call(**{**given, "weight": call.weight.astype(float)}, mode="sum"))[
        0
    ]
    sizes = np.abs(call.weight).astype(float)
    scale = loops.forward(make_call(**{**given, "weight": sizes}, mode="sum"))[0]
    allowed = rounding.bound(call.weight.dtype, np.diff(call.offsets)[:, None], scale, exact)
    off = np.abs(running_total_bag(**given) - exact) > allowed
    return np.any(off, axis=1)


def _judge_total(mine: Any) -> str:
    mine = mine() if callable(mine) else mine
    if not isinstance(mine, dict) or sorted(mine) != ["input", "offsets", "weight"]:
        return NOT_A_CALL
    if np.asarray(mine["weight"]).dtype != np.float32:
        return NOT_FLOAT32
    if not np.isfinite(mine["weight"]).all():
        return NOT_FINITE
    try:
        call = make_call(**mine, mode="sum")
    except Exception as error:
        return f"EmbeddingBag refuses this call: {error}"
    if _wrong_bags(mine).any():
        return ""
    why = _why_good(call.weight[call.indices], call.offsets)
    return f"The answer of running_total_bag is good for this call. {why}"


def _why_good(used: np.ndarray, offsets: np.ndarray) -> str:
    """used: the gathered rows; offsets with the end."""
    full = np.diff(offsets) > 0
    if not full.any() or not used.size:
        return NO_BAG
    if full.sum() == 1:
        return ONE_BAG
    if (np.cumsum(used, axis=0) == np.cumsum(used.astype(float), axis=0)).all():
        return EXACT
    begin = offsets[:-1][full][-1]  # of the last bag that holds something
    return IN_THE_BAG if np.abs(used).max(axis=1).argmax() >= begin else TOO_LITTLE


def _total_call(input, weight, offsets, dtype=np.float32):
    return {"input": np.array(input, int), "weight": np.array(weight, dtype),
            "offsets": np.array(offsets)}  # fmt: skip


TOTAL = Exercise(
    "04.running_total",
    "a call that shows the bug of the running total",
    _total_call([0, 1], [[1e8], [1.0]], [0, 1]),
    otherwise="It has a large value in one bag and a small one in the next: the running "
    "total loses the small one.",
    hints=(
        "The total goes through all bags. Which bags can it carry something into?",
        "A float32 has 24 significant bits. A small number that is added to a large total is "
        "rounded away, and the subtraction cannot bring it back.",
        "Two bags of one position each are enough: a very large number first, then a one.",
    ),
    wrong=(
        Wrong([0, 1], NOT_A_CALL),
        Wrong(_total_call([0, 1], [[1e17], [1.0]], [0, 1], float), NOT_FLOAT32),
        Wrong(_total_call([0, 1], [[NAN], [1.0]], [0, 1]), NOT_FINITE),
        Wrong(_total_call([0, 1], [[1e8], [1.0]], [0]), ONE_BAG),
        Wrong(_total_call([0, 1], [[0.1], [1e8]], [0, 1]), IN_THE_BAG),
        Wrong(_total_call([0, 1, 2], [[7], [9], [11]], [0, 1, 1]), EXACT),
        Wrong(_total_call([0, 1], [[0.2], [0.1]], [0, 1]), TOO_LITTLE),
        Wrong(_total_call([], [[0.2], [0.1]], [0, 0]), NO_BAG),
        Wrong(_total_call([9], [[0.2], [0.1]], [0]), "EmbeddingBag refuses this call"),
    ),
    points=2,
    unproved="the other bug: a NaN in one bag reaches all bags behind it.",
    judge=_judge_total,
    vary=in_bag(
        _wrong_bags,
        lambda B, k: [2] * (k - 1) + [0] + [1] * (B - k),
        "np.array([[1e8], [1.0], [0.0]], np.float32)",
    ),
    shown=(
        "to which it gives a wrong answer",
        '"input": np.array([0, 1])',
        '"weight": np.array([[1e8], [1.0]], np.float32)',
        '"offsets": np.array([0, 1])',
    ),
)

# ---- 04.merge -------------------------------------------------------------------------------


def merge(
    best: np.ndarray, winner: np.ndarray, later_best: np.ndarray, later_winner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of a bag from the maxima of its two parts, and the row that won."""
    larger = (winner == -1) | (later_best > best)
    takes = larger & (later_winner != -1)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _ties_to_the_later(best, winner, later_best, later_winner):
    takes = ((winner == -1) | (later_best >= best)) & (later_winner != -1)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _any_nan_wins(best, winner, later_best, later_winner):
    _, found = merge(best, winner, later_best, later_winner)
    spoilt = np.isnan(later_best) & ~np.isnan(best) & (later_winner != -1)
    value, _ = merge(best, winner, later_best, later_winner)
    return np.where(spoilt, later_best, value), np.where(spoilt, later_winner, found)


def _nan_never_wins(best, winner, later_best, later_winner):
    takes = ((winner == -1) | np.isnan(best) | (later_best > best)) & (later_winner != -1)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _first_part_may_be_empty(best, winner, later_best, later_winner):
    takes = (later_best > best) & (later_winner != -1)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _later_part_may_be_empty(best, winner, later_best, later_winner):
    takes = (winner == -1) | (later_best > best)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _and_for_ampersand(best, winner, later_best, later_winner):
    takes = (winner == -1 or later_best > best) and later_winner != -1
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _no_parentheses(best, winner, later_best, later_winner):
    takes = winner == -1 | (later_best > best)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _no_parentheses_at_all(best, winner, later_best, later_winner):
    takes = winner == -1 | later_best > best
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _only_larger(best, winner, later_best, later_winner):
    takes = later_best > best
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _numpys_maximum(best, winner, later_best, later_winner):
    takes = later_best > best
    return np.maximum(best, later_best), np.where(takes, later_winner, winner)


def _into_its_arguments(best, winner, later_best, later_winner):
    takes = ((winner == -1) | (later_best > best)) & (later_winner != -1)
    best[takes], winner[takes] = later_best[takes], later_winner[takes]
    return best, winner


def _row_0_is_nobody(best, winner, later_best, later_winner):
    takes = ((winner == -1) | (later_best > best)) & (later_winner > 0)
    return np.where(takes, later_best, best), np.where(takes, later_winner, winner)


def _all_features_together(best, winner, later_best, later_winner):
    _, found = merge(best, winner, later_best, later_winner)
    if (found == later_winner).any() and (found != winner).any():
        return later_best.copy(), later_winner.copy()
    return best.copy(), winner.copy()


def _merge_cases() -> list[Case]:
    random = np.random.default_rng(14)

    def of(best, winner, later_best, later_winner):
        return (np.array(best, np.float32), np.array(winner), np.array(later_best, np.float32),
                np.array(later_winner))  # fmt: skip

    values = random.integers(-4, 5, (2, 30)).astype(np.float32)
    return [
        Case("each wins one", *of([1, 5], [3, 4], [4, 2], [7, 8])),
        Case("a tie", *of([2], [3], [2], [7])),
        Case("NaN in the later part", *of([2], [3], [NAN], [7])),
        Case("NaN in the first part", *of([NAN], [3], [5], [7])),
        Case("nobody in the first part", *of([0], [-1], [-3], [7])),
        Case("nobody in the first part, NaN", *of([0], [-1], [NAN], [7])),
        Case("nobody in the later part", *of([-3], [3], [0], [-1])),
        Case("nobody at all", *of([0], [-1], [0], [-1])),
        Case("minus infinity", *of([0], [-1], [-INF], [2])),
        Case("row 0 in the later part", *of([1, 5], [3, 4], [4, 2], [0, 0])),
        Case(
            "thirty features",
            values[0],
            random.integers(0, 9, 30),
            values[1],
            random.integers(9, 20, 30),
        ),  # fmt: skip
    ]


def _any_merge(random):
    D = draw.size(random, 1, 6)

    def part(first):
        best = random.choice([-2, -1, 0, 1, 2, NAN, INF, -INF], D)
        winner = random.integers(first, first + 9, D)
        nobody = random.random(D) < 0.25
        return np.where(nobody, 0, best).astype(np.float32), np.where(nobody, -1, winner)

    return (*part(0), *part(0))


MERGE = Exercise(
    "04.merge",
    "the maximum of a bag that was cut in two",
    merge,
    _merge_cases,
    random_call=_any_merge,
    otherwise="It decides once, in a mask, who takes over, and uses the mask for values and "
    "winners alike.",
    hints=(
        "Feature by feature there are two candidates. When does the later one win?",
        "Two questions decide: is there a later candidate at all, and does it beat the first one, "
        "or meet nobody?",
        "Combine three conditions with & and |: the later winner exists; nobody won before; the "
        "later value is strictly larger. Then np.where, twice.",
    ),
    wrong=(
        Wrong(_ties_to_the_later, "A tie stays with the first part: only a larger value wins."),
        Wrong(
            _any_nan_wins,
            "A NaN that is not the first of its bag wins nothing. np.maximum lets it win.",
        ),
        Wrong(
            _nan_never_wins,
            "A NaN that won the first part stays: it was the first of the bag, and nothing is "
            "larger than a NaN.",
        ),
        Wrong(
            _first_part_may_be_empty,
            "Where nobody won the first part, its 0 is no candidate: anything beats nobody.",
        ),
        Wrong(
            _later_part_may_be_empty,
            "Where nobody won the later part, its 0 is no candidate, however small the best is.",
        ),
        Wrong(
            _and_for_ampersand,
            "`and` and `or` want a single truth, and an array has one for each feature. Use & and "
            "|, with parentheses around each comparison.",
        ),
        Wrong(
            _no_parentheses,
            "`winner == -1 | (...)` means `winner == (-1 | (...))`: | binds tighter than ==. Put "
            "parentheses around each comparison.",
        ),
        Wrong(
            _no_parentheses_at_all,
            "| and & bind tighter than == and >. Put parentheses around each comparison.",
        ),
        Wrong(
            _only_larger,
            "Only the values are compared. Where nobody won a part, its 0 is no candidate: look at "
            "the winners as well.",
        ),
        Wrong(
            _numpys_maximum,
            "np.maximum lets any NaN win, and takes the 0 of a part that nobody won.",
        ),
        Wrong(
            _into_its_arguments,
            "The arguments were changed: begin with copies, or use np.where.",
        ),
        Wrong(_row_0_is_nobody, "Row 0 can win, too. Nobody is -1: ask for `!= -1`."),
        Wrong(_all_features_together, "Each feature has its own winner; you took a whole row."),
    ),
    points=3,
    returns=("best", "winner"),
    unproved="that three parts, merged from the left, give the same.",
)

# ---- 04.break_it: the right bags and the faulty ones ----------------------------------------

Bag = Callable[..., np.ndarray]


def _rows(input, weight):
    """The gathered rows, in the accumulator's dtype."""
    return weight[input].astype(np.float64 if weight.dtype == np.float64 else np.float32)


def _by_loops(input, weight, offsets, mode):
    return embedding_bag(input, weight, offsets, mode=mode)


def _in_pieces(input, weight, offsets, mode):
    return embedding_bag(input, weight, offsets, mode=mode, implementation="vectorized")


def _from_the_end(input, weight, offsets, mode):
    """Right, but a bag's rows are added up from the last to the first."""
    if mode == "max":
        return _by_loops(input, weight, offsets, mode)
    output = np.zeros((len(offsets), weight.shape[1]), weight.dtype)
    ends = np.append(offsets, len(input))
    for bag in range(len(offsets)):
        rows = _rows(input, weight)[ends[bag] : ends[bag + 1]][::-1]
        total = np.zeros(weight.shape[1], rows.dtype)
        for row in rows:
            total = total + row
        output[bag] = total / max(len(rows), 1) if mode == "mean" else total
    return output


def _next_row(input, weight, offsets, mode):
    if len(input) == 0:
        return _by_loops(input, weight, offsets, mode)
    output = _by_loops(input, weight, offsets, mode)
    empty = np.diff(np.append(offsets, len(input))) == 0
    output[empty] = weight[input[np.minimum(offsets[empty], len(input) - 1)]]
    return output


def _row_once(input, weight, offsets, mode):
    output = _by_loops(input, weight, offsets, mode)
    ends = np.append(offsets, len(input))
    for bag in range(len(offsets)) if mode == "sum" else ():
        ids = np.unique(input[ends[bag] : ends[bag + 1]])
        output[bag] = _by_loops(ids, weight, np.array([0]), mode)[0]
    return output


def _mean_of_nothing(input, weight, offsets, mode):
    output = _by_loops(input, weight, offsets, mode)
    if mode == "mean":
        output[np.diff(np.append(offsets, len(input))) == 0] = np.nan
    return output


def _mean_length(input, weight, offsets, mode):
    if mode != "mean" or not len(input):
        return _by_loops(input, weight, offsets, mode)
    total = _by_loops(input, weight, offsets, "sum").astype(np.float32)
    return (total / (len(input) / len(offsets))).astype(weight.dtype)


def _max_from_zero(input, weight, offsets, mode):
    output = _by_loops(input, weight, offsets, mode)
    return np.where(output < 0, weight.dtype.type(0), output) if mode == "max" else output


def _max_with_nan(input, weight, offsets, mode):
    output = _by_loops(input, weight, offsets, mode)
    ends = np.append(offsets, len(input))
    for bag in range(len(offsets)) if mode == "max" else ():
        rows = weight[input[ends[bag] : ends[bag + 1]]]
        output[bag, np.isnan(rows).any(axis=0)] = np.nan
    return output


def _cut_at_64(input, weight, offsets, mode):
    ends = np.append(offsets, len(input))
    places = [np.arange(b, min(e, b + 64)) for b, e in zip(ends[:-1], ends[1:], strict=True)]
    starts = np.append(0, np.cumsum([len(p) for p in places], dtype=int))[:-1]
    return _by_loops(input[np.concatenate([*places, []]).astype(int)], weight, starts, mode)


def _row_in_a_byte(input, weight, offsets, mode):
    return _by_loops(input % 256, weight, offsets, mode)


def _leaks(input, weight, offsets, mode):
    output = _by_loops(input, weight, offsets, mode)
    if mode != "max":
        spoilt = np.isnan(np.cumsum(output, axis=0))
        output[spoilt] = np.nan
    return output


def _narrow_total(input, weight, offsets, mode):
    if weight.dtype != np.float16 or mode == "max":
        return _by_loops(input, weight, offsets, mode)
    ends = np.append(offsets, len(input))
    output = np.zeros((len(offsets), weight.shape[1]), weight.dtype)
    for bag in range(len(offsets)):
        for row in input[ends[bag] : ends[bag + 1]]:
            output[bag] = output[bag] + weight[row]
    lengths = np.maximum(np.diff(ends), 1)[:, None].astype(np.float16)
    return output / lengths if mode == "mean" else output


def _sorts_the_input(input, weight, offsets, mode):
    output = _by_loops(input, weight, offsets, mode)
    ends = np.append(offsets, len(input))
    for bag in range(len(offsets)):
        input[ends[bag] : ends[bag + 1]].sort()
    return output


RIGHT: dict[str, Bag] = {
    "the loops": _by_loops,
    "one that adds a bag's rows from the last to the first": _from_the_end,
    "the package's vectorized bag": _in_pieces,
}
FAULTS: tuple[tuple[Bag, str], ...] = (
    (_next_row, "Do all bags of your calls have a position?"),
    (_row_once, "Do your bags look like sentences, in which words come back?"),
    (_mean_of_nothing, "Which mode divides, and what could it divide by?"),
    (_mean_length, "Are all bags of a call equally long in your test?"),
    (_max_from_zero, "Is there always a number above zero in your bags?"),
    (_max_with_nan, "Which numbers are not equal to themselves, and what does max make of them?"),
    (_cut_at_64, "How long is your longest bag? A review may have over a hundred words."),
    (_row_in_a_byte, "How large is the largest row number that you use?"),
    (_leaks, "If one bag of a sum is spoilt, what do you expect of the others?"),
    (_narrow_total, "Which dtypes of weight do you try, and are the totals large enough?"),
    (_sorts_the_input, "The output is not all that a function can get wrong. What else is yours?"),
)
NOT_A_TEST = "Give the function itself, test, which takes one argument: a bag."
REJECTS = "Your test rejects a right bag: "
CRASHES = "A test says no by AssertionError only. Yours raised "


RETURNS = " (It returned a value. Nobody looks at that: write `assert`.)"


class _BagRaised(AssertionError):
    """An error that came up inside a bag: a test that provokes it has found a fault."""


def _run(test: Any, bag: Bag) -> Exception | None:
    def watched(*args: Any, **kwargs: Any) -> np.ndarray:
        try:
            return bag(*args, **kwargs)
        except Exception as error:
            raise _BagRaised(f"the bag raised {type(error).__name__}: {error}") from error

    try:
        with np.errstate(all="ignore"):
            test(watched)
    except NotImplementedError:
        raise
    except Exception as error:
        return error
    return None


def _judge_test(mine: Any) -> str:
    if not callable(mine):
        return NOT_A_TEST
    for name, bag in RIGHT.items():
        error = _run(mine, bag)
        if error is not None:
            said = f"{type(error).__name__.lstrip('_')}: {error}".rstrip(": ").split("\n")[0]
            return f"{REJECTS}{name}. It said {said[:200]}"
    survivors = []
    for number, (bag, question) in enumerate(FAULTS, 1):
        error = _run(mine, bag)
        if error is not None and not isinstance(error, AssertionError):
            return f"{CRASHES}{type(error).__name__}: {error}"
        if error is None:
            survivors.append(f"  faulty bag {number}: {question}")
    if not survivors:
        return ""
    found = len(FAULTS) - len(survivors)
    told = f"Your test finds {found} of {len(FAULTS)} faulty bags. Not found:"
    told += RETURNS if not found and mine(_by_loops) is not None else ""
    return "\n".join([told, *survivors])


def _agrees(bag, input, weight, offsets, modes=("sum", "mean", "max")):
    """Assert that a bag agrees with the loops, and leaves its arguments alone."""
    before = input.copy()
    for mode in modes:
        expected = embedding_bag(before, weight, offsets, mode=mode)
        message = difference(expected, bag(input, weight, offsets, mode), atol=1e-4, rtol=1e-3)
        assert not message, message
        assert (input == before).all(), "the input was changed"


def thorough_test(bag: Bag) -> None:
    """Raise AssertionError if a bag is wrong."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(400, 3)).astype(np.float32)
    input = random.integers(0, 400, 130)
    input[:4] = [9, 7, 7, 8]
    offsets = np.array([0, 2, 2, 5, 6, 30, 130])
    _agrees(bag, input, weight, offsets)
    _agrees(bag, input, -np.abs(weight), offsets)
    weight[input[3], 1] = np.nan
    _agrees(bag, input, weight, offsets)
    ones = np.ones((1, 1), np.float16)
    _agrees(bag, np.zeros(3000, int), ones, np.array([0]))


def _no_assert(bag):
    return bag(np.array([1, 0]), np.ones((2, 1)), np.array([0]), "sum")


def _returns_a_truth(bag):
    found = bag(np.array([1, 0]), np.ones((2, 1)), np.array([0]), "sum")
    return bool((found == 2).all())


def _one_small_call(bag):
    assert bag(np.array([1, 0]), np.array([[1.0], [2.0]]), np.array([0]), "sum") == 3


def _exactly_equal(bag):
    random = np.random.default_rng(1)
    weight, input = random.normal(size=(50, 4)).astype(np.float32), random.integers(0, 50, 40)
    found = bag(input, weight, np.array([0]), "sum")
    equal = found == embedding_bag(input, weight, np.array([0]), mode="sum")
    assert equal.all(), "not equal"  # without words, pytest adds its own


def _nan_makes_it_fail(bag):
    weight = np.array([[1.0], [NAN]])
    assert bag(np.array([0, 1]), weight, np.array([0]), "max")[0, 0] != 1.0, "it is 1"


def _wrong_kind_of_error(bag):
    found = bag(np.array([0]), np.ones((1, 1)), np.array([0, 0, 1]), "sum")
    if found[0, 0] != 0:
        raise ValueError("an empty bag is not zero")


def _no_empty_bags(bag):
    random = np.random.default_rng(0)
    weight = random.normal(size=(400, 3)).astype(np.float32)
    _agrees(bag, random.integers(0, 400, 200), weight, np.array([0, 5, 9]))


def _only_ordinary_numbers(bag):
    _no_empty_bags(bag)
    weight = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    _agrees(bag, np.array([3, 9, 9]), weight, np.array([0, 1, 1]))
    _agrees(bag, np.array([3, 9, 9]), -np.abs(weight), np.array([0, 1, 1]))


def _only_float32(bag):
    _only_ordinary_numbers(bag)
    weight = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    weight[3] = np.nan
    _agrees(bag, np.array([9, 3, 4]), weight, np.array([0, 2]))


BREAK_IT = Exercise(
    "04.break_it",
    "a test that finds eleven faulty bags",
    thorough_test,
    otherwise="It makes one random call with an empty bag, a long bag and a row twice, and "
    "tries it with several tables.",
    hints=(
        "Compare with embag_edu.embedding_bag in all three modes, and let `difference` with a "
        "small tolerance do the comparing: right bags may add in another order.",
        "Then think of calls: empty bags, repeated rows, bags of one and of a hundred positions, "
        "row numbers above 300, tables of negative numbers.",
        "Last the rare things: a NaN behind the first position of a bag, with bags that follow; "
        "thousands of float16 ones; and a copy of input, to compare with after the call.",
    ),
    wrong=(
        Wrong([1, 2], NOT_A_TEST),
        Wrong(_no_assert, f"Your test finds 0 of {len(FAULTS)} faulty bags."),
        Wrong(_returns_a_truth, RETURNS),
        Wrong(_one_small_call, FAULTS[2][1]),
        Wrong(_exactly_equal, f"{REJECTS}one that adds a bag's rows from the last to the first."),
        Wrong(_nan_makes_it_fail, f"{REJECTS}the loops."),
        Wrong(_wrong_kind_of_error, f"{CRASHES}ValueError: an empty bag is not zero"),
        Wrong(_no_empty_bags, FAULTS[0][1]),
        Wrong(_only_ordinary_numbers, FAULTS[8][1]),
        Wrong(_only_float32, f"finds {len(FAULTS) - 1} of {len(FAULTS)} faulty bags"),
    ),
    points=5,
    unproved="faults that nobody has listed. Can you think of a twelfth?",
    judge=_judge_test,
)

EXERCISES = (PREDICT, MATRIX, TOTAL, MERGE, BREAK_IT)
