"""The exercises of chapter 15: many tables in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong

EPS = 0.01

# ---- 15.jagged --------------------------------------------------------------------------------


def jagged(features: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(input, offsets) of each feature, B bags each -> values (N,), offsets (F * B + 1,)."""
    values = np.concatenate([input for input, _ in features])
    lengths = [np.diff(offsets, append=len(input)) for input, offsets in features]
    return values, np.cumsum([0, *np.concatenate(lengths)])


def _as_they_are(features):
    values, offsets = jagged(features)
    return values, np.append(np.concatenate([o for _, o in features]), len(values))


def _without_end(features):
    values, offsets = jagged(features)
    return values, offsets[:-1]


def _each_with_its_end(features):
    values, offsets = jagged(features)
    B = len(features[0][1])
    parts = [offsets[f * B : (f + 1) * B + 1] for f in range(len(features))]
    return values, np.concatenate(parts)


def _lengths(features):
    values, offsets = jagged(features)
    return values, np.diff(offsets)


def _bag_by_bag(features):
    values, lengths = [], []
    for b in range(len(features[0][1])):
        for input, offsets in features:
            bag = np.split(input, offsets[1:])[b]
            values.append(bag)
            lengths.append(len(bag))
    return np.concatenate(values), np.cumsum([0, *lengths])


def _features(random, F, B, longest=3, rows=9):
    made = []
    for _ in range(F):
        lengths = random.integers(0, longest + 1, B)
        starts = np.cumsum([0, *lengths])
        made.append((random.integers(0, rows, starts[-1]), starts[:-1]))
    return made


def _jagged_cases() -> list[Case]:
    random = np.random.default_rng(151)
    two = [(np.array([4, 1, 7]), np.array([0, 2])), (np.array([5, 5]), np.array([0, 1]))]
    gap = [(np.array([2, 3]), np.array([0, 0, 1])), (np.array([8]), np.array([0, 1, 1]))]
    return [
        Case("two features of two bags", two),
        Case("empty bags", gap),
        Case("one feature", two[:1]),
        Case("four features", _features(random, 4, 5)),
    ]


JAGGED = Exercise(
    "15.jagged",
    "features as one jagged list",
    jagged,
    _jagged_cases,
    random_call=lambda random: (
        _features(random, draw.size(random, 1, 4), draw.size(random, 1, 5)),
    ),
    hints=(
        "The values are easy: one feature after the other. What is the same in both forms of the "
        "offsets: starts, or lengths?",
        "Make lengths of each feature's offsets; its last bag ends at len(input).",
        "np.diff(offsets, append=len(input)) are the lengths of a feature. All lengths in a row, "
        "their running sum, and a 0 before it.",
    ),
    wrong=(
        Wrong(_as_they_are, "The offsets of each feature begin at 0 again. In one list they go on "
              "where the feature before has ended."),
        Wrong(_without_end, "The last offset is missing: the end of the last bag, N."),
        Wrong(_each_with_its_end, "Each feature has brought its own end. It is the start of the "
              "next one: it stands there twice."),
        Wrong(_lengths, "These are the lengths. Offsets are their running sum, from 0."),
        Wrong(_bag_by_bag, "Yours go bag by bag. First come all bags of the first feature."),
    ),
    points=2,
    returns=("values", "offsets"),
    unproved="that there is no loop over bags.",
)  # fmt: skip

# ---- 15.global_rows ---------------------------------------------------------------------------


def global_rows(
    values: np.ndarray, offsets: np.ndarray, sizes: np.ndarray, table_of: np.ndarray
) -> np.ndarray:
    """base[table of the feature] + row, (N,). sizes (T,): rows of each table; table_of (F,)."""
    base = np.cumsum(sizes) - sizes
    B = (len(offsets) - 1) // len(table_of)
    return np.repeat(base[table_of], np.diff(offsets[::B])) + values


def _with_base(base_of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """global_rows with another number for each feature."""

    def wrong(values, offsets, sizes, table_of):
        B = (len(offsets) - 1) // len(table_of)
        return np.repeat(base_of(sizes, table_of), np.diff(offsets[::B])) + values

    return wrong


def _base_of_features(sizes, table_of):
    own = sizes[table_of]
    return np.cumsum(own) - own


def _feature_changes_fastest(values, offsets, sizes, table_of):
    base, F = np.cumsum(sizes) - sizes, len(table_of)
    B = (len(offsets) - 1) // F
    return np.repeat(np.tile(base[table_of], B), np.diff(offsets)) + values


def _rows_call(random, F, B, sizes, table_of, longest=3):
    sizes, table_of = np.asarray(sizes), np.asarray(table_of)
    lengths = random.integers(0, longest + 1, (F, B))
    values = random.integers(0, np.repeat(sizes[table_of], lengths.sum(1)))
    return values, np.append(0, np.cumsum(lengths)), sizes, table_of


def _any_rows(random):
    T, F = draw.size(random, 1, 4), draw.size(random, 1, 5)
    sizes, table_of = random.integers(1, 9, T), random.integers(0, T, F)
    return _rows_call(random, F, draw.size(random, 1, 4), sizes, table_of)


def _rows_cases() -> list[Case]:
    random = np.random.default_rng(152)
    by_hand = np.array([1, 0, 2]), np.array([0, 1, 1, 2, 3]), np.array([5, 3]), np.array([0, 1])
    return [
        Case("two tables", *by_hand),
        Case("three tables", *_rows_call(random, 3, 4, [4, 2, 7], [0, 1, 2])),
        Case("a table with two readers", *_rows_call(random, 4, 3, [4, 6, 3], [0, 1, 1, 2])),
        Case("readers in another order", *_rows_call(random, 3, 3, [4, 6, 3], [2, 0, 1])),
        Case("one bag of each", *_rows_call(random, 3, 1, [4, 6, 3], [0, 1, 2])),
    ]


GLOBAL_ROWS = Exercise(
    "15.global_rows",
    "global rows",
    global_rows,
    _rows_cases,
    random_call=_any_rows,
    hints=(
        "Where does table t begin, if all tables stand one below the other?",
        "base is the running sum of the sizes, without the own size. How many positions has "
        "feature f, and where do they begin and end?",
        "offsets[::B] are the borders of the features. np.repeat(base[table_of], "
        "np.diff(offsets[::B])) has the base of each position.",
    ),
    wrong=(
        Wrong(_with_base(lambda sizes, t: np.cumsum(sizes)[t]), "That base is the end of the "
              "table. Table 0 begins at 0."),
        Wrong(_with_base(_base_of_features), "You have made a table for each feature. A table that "
              "two features read has one base."),
        Wrong(_with_base(lambda sizes, t: 0 * t), "Rows of all tables begin at 0 in yours."),
        Wrong(_with_base(lambda sizes, t: t * sizes.max()), "You count as if all tables were as "
              "large as the largest. They stand one below the other, without gaps."),
        Wrong(_with_base(lambda sizes, t: sizes[t]), "You add the size of the table itself. The "
              "base is the sum of the sizes before it."),
        Wrong(_feature_changes_fastest, "Bag f * B + b belongs to feature f: the bags of a feature "
              "stand together."),
    ),
    points=2,
    unproved="that no row lies behind the end of its table. Where must that be looked at?",
)  # fmt: skip

# ---- 15.side_by_side --------------------------------------------------------------------------


def side_by_side(sums: np.ndarray, F: int) -> np.ndarray:
    """Sums (F * B, D), bag f * B + b in a row, as (B, F * D): the features beside each other."""
    D = sums.shape[1]
    return sums.reshape(F, -1, D).transpose(1, 0, 2).reshape(-1, F * D)


def _only_reshaped(sums, F):
    return sums.reshape(-1, F * sums.shape[1])


def _interleaved(sums, F):
    D = sums.shape[1]
    return sums.reshape(F, -1, D).transpose(1, 2, 0).reshape(-1, F * D)


def _three_axes(sums, F):
    return sums.reshape(F, -1, sums.shape[1]).transpose(1, 0, 2)


def _transposed(sums, F):
    return side_by_side(sums, F).T


def _last_first(sums, F):
    D = sums.shape[1]
    return sums.reshape(F, -1, D)[::-1].transpose(1, 0, 2).reshape(-1, F * D)


def _added(sums, F):
    return sums.reshape(F, -1, sums.shape[1]).sum(0)


def _side_cases() -> list[Case]:
    random = np.random.default_rng(153)
    return [
        Case("two features, three bags", np.arange(12.0).reshape(6, 2), 2),
        Case("three features, two bags", random.normal(size=(6, 2)), 3),
        Case("one bag", random.normal(size=(4, 3)), 4),
        Case("five features", random.normal(size=(20, 3)), 5),
    ]


def _any_side(random):
    F = draw.size(random, 1, 4)
    return draw.table(random, F * draw.size(random, 1, 4), draw.size(random, 1, 4)), F


SIDE_BY_SIDE = Exercise(
    "15.side_by_side",
    "features side by side",
    side_by_side,
    _side_cases,
    random_call=_any_side,
    hints=(
        "Name the three axes of sums, in the order in which they change: the last one fastest.",
        "reshape gives an axis its own place, but it moves nothing. What moves?",
        "sums.reshape(F, B, D), then transpose(1, 0, 2), then reshape(B, F * D).",
    ),
    wrong=(
        Wrong(_only_reshaped, "reshape alone moves nothing: a row of yours has the bags of one "
              "feature side by side."),
        Wrong(_interleaved, "Within a row, the numbers of one feature should stand together."),
        Wrong(_three_axes, "The right numbers in three axes: join the last two."),
        Wrong(_transposed, "Yours is the transpose: bags should be rows."),
        Wrong(_last_first, "The features are in the opposite order."),
        Wrong(_added, "The features were added up. They should stand side by side."),
    ),
    points=2,
    unproved="what the transposition costs; a kernel writes to the right place at once.",
)  # fmt: skip

# ---- 15.places --------------------------------------------------------------------------------


def places(sizes: np.ndarray, dims: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """base (T,): the global row, and first (T,): the element where each table begins; int64.

    Tables stand from the narrowest to the widest; those of one width keep their order.
    """
    return _places(sizes, dims, np.argsort(dims, kind="stable"))


def _places(sizes: np.ndarray, dims: np.ndarray, order: np.ndarray, dtype: Any = np.int64) -> Any:
    rows = sizes.astype(dtype)
    with np.errstate(over="ignore"):
        elements = rows * dims.astype(dtype)
    base, first = np.zeros_like(rows), np.zeros_like(rows)
    base[order] = np.cumsum(rows[order], dtype=dtype) - rows[order]
    first[order] = np.cumsum(elements[order], dtype=dtype) - elements[order]
    return base.astype(np.int64), first.astype(np.int64)


def _in_32_bits(sizes, dims):
    return _places(sizes, dims, np.argsort(dims, kind="stable"), np.int32)


def _as_given(sizes, dims):
    return _places(sizes, dims, np.arange(len(dims)))


def _widest_first(sizes, dims):
    return _places(sizes, dims, np.argsort(-dims.astype(np.int64), kind="stable"))


def _ties_turned(sizes, dims):
    return _places(sizes, dims, np.lexsort((-np.arange(len(dims)), dims)))


def _base_times_d(sizes, dims):
    base, _ = places(sizes, dims)
    return base, base * dims


def _in_sorted_order(sizes, dims):
    order = np.argsort(dims, kind="stable")
    base, first = places(sizes, dims)
    return base[order], first[order]


def _ends(sizes, dims):
    base, first = places(sizes, dims)
    return base + sizes, first + sizes.astype(np.int64) * dims


def _places_cases() -> list[Case]:
    def table(*pairs):
        return np.array([V for V, _ in pairs], np.int32), np.array([D for _, D in pairs], np.int32)

    return [
        Case("one width", *table((5, 4), (3, 4), (2, 4))),
        Case("a wide one first", *table((5, 8), (3, 2))),
        Case("widths mixed", *table((5, 8), (3, 2), (4, 8), (6, 2), (1, 4))),
        Case("more than 2^31 numbers", *table((40_000_000, 64), (9, 64), (7, 128))),
    ]


def _any_places(random):
    T = draw.size(random, 1, 6)
    return random.integers(1, 9, T).astype(np.int32), 2 ** random.integers(0, 4, T, np.int32)


PLACES = Exercise(
    "15.places",
    "where each table begins",
    places,
    _places_cases,
    random_call=_any_places,
    hints=(
        "In which order do the tables stand? np.argsort with kind='stable' keeps that of equals.",
        "In that order both answers are running sums: of rows for base, of rows times D for first. "
        "Then each goes back to its table: base[order] = ...",
        "The sizes come as int32. 40,000,000 rows of 64 numbers are more than int32 can hold: make "
        "int64 of them before you multiply.",
    ),
    wrong=(
        Wrong(_in_32_bits, "A product has left 32 bits. Make int64 of the sizes before you "
              "multiply."),
        Wrong(_as_given, "The tables should stand from the narrowest to the widest."),
        Wrong(_widest_first, "Yours begin with the widest."),
        Wrong(_ties_turned, "Tables of one width should keep their order: a stable sort."),
        Wrong(_base_times_d, "base times D would be right if all rows before had this width. Add "
              "up rows times their own D."),
        Wrong(_in_sorted_order, "The numbers are right, but stand in the order of the memory. "
              "Entry t should be that of table t."),
        Wrong(_ends, "Those are the ends of the tables."),
    ),
    points=2,
    returns=("base", "first"),
    same_ints=True,
    unproved="that rows begin where 16 bytes can be read at once.",
)  # fmt: skip

# ---- 15.step ----------------------------------------------------------------------------------


def step(W, h, values, offsets, sizes, table_of, G, lr, eps) -> None:  # type: ignore
    """Exact Adagrad of all tables in one, in place. W, h: (R, D); G: (B, F * D); mode sum."""
    _step(W, h, values, offsets, sizes, table_of, G, lr, eps)


def _step(W, h, values, offsets, sizes, table_of, G, lr, eps, key="row", upstream="b", once=True):
    F, D = len(table_of), W.shape[1]
    B = (len(offsets) - 1) // F
    bag = np.repeat(np.arange(F * B), np.diff(offsets))
    f, b = bag // max(B, 1), bag % max(B, 1)
    rows = values if key == "none" else global_rows(values, offsets, sizes, table_of)
    shares = G.reshape(B, F, D)[b, f] if upstream == "b" else G.reshape(F * B, D)[bag]
    keys = {"feature": f * len(W) + rows, "each": np.arange(len(rows))}.get(key, rows)
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), D))
    if once:
        np.add.at(sums, place, shares)
    else:
        sums[place] = shares
    for k, row in enumerate(rows[first]):
        h[row] += sums[k] ** 2
        W[row] -= lr * sums[k] / (np.sqrt(h[row]) + eps)


def _step_with(**how: Any) -> Any:
    def wrong(*given):
        _step(*given, **how)

    return wrong


def _step_of_squares(W, h, values, offsets, sizes, table_of, G, lr, eps):
    before, old = W.copy(), h.copy()
    _step(W, h, values, offsets, sizes, table_of, G, lr, eps)
    changed = h != old
    W[changed] = before[changed] + (W - before)[changed] * np.sqrt(h[changed]) / h[changed]


def _step_of_copies(W, h, *others):
    _step(W.copy(), h.copy(), *others)


def _step_call(random, sizes, table_of, B, D, longest=3):
    sizes, table_of = np.asarray(sizes), np.asarray(table_of)
    F, R = len(table_of), int(sizes.sum())
    values, offsets, *_ = _rows_call(random, F, B, sizes, table_of, longest)
    W, h = random.normal(size=(R, D)), random.uniform(0, 2, (R, D))
    return W, h, values, offsets, sizes, table_of, random.normal(size=(B, F * D)), 0.5, EPS


def _step_cases() -> list[Case]:
    random = np.random.default_rng(155)
    shared = list(_step_call(random, [3, 2], [0, 1, 1], 2, 2))
    shared[2], shared[3] = np.array([2, 0, 1, 1, 1, 0]), np.array([0, 1, 2, 3, 4, 5, 6])
    return [
        Case("two tables", *_step_call(random, [4, 3], [0, 1], 3, 2)),
        Case("a row that two features read", *shared),
        Case("a row twice in a bag", *_step_call(random, [1, 2], [0, 1], 2, 3, 5)),
        Case("empty bags", *_step_call(random, [4, 3, 2], [0, 1, 2], 4, 2, 1)),
        Case("three tables, five features", *_step_call(random, [4, 3, 5], [0, 0, 1, 2, 2], 4, 3)),
    ]


def _any_step(random):
    T, F = draw.size(random, 1, 3), draw.size(random, 1, 4)
    sizes, table_of = random.integers(1, 5, T), random.integers(0, T, F)
    return _step_call(random, sizes, table_of, draw.size(random, 1, 4), draw.size(random, 1, 3))


STEP = Exercise(
    "15.step",
    "capstone: one step of all tables",
    step,
    _step_cases,
    random_call=_any_step,
    hints=(
        "Three questions for each position: which global row, which feature and bag, and so which "
        "part of G?",
        "G.reshape(B, F, D)[b, f] are the shares of all positions. Then it is a message, as in "
        "chapter 14: by the global row alone, whoever has read it.",
        "bag = np.repeat(np.arange(F * B), np.diff(offsets)); f, b = bag // B, bag % B. "
        "np.unique(global_rows(...), return_inverse=True) and np.add.at make the sums.",
    ),
    wrong=(
        Wrong(_step_with(key="feature"), "A row that two features read had two updates. One row, "
              "one sum, one update, whoever reads it."),
        Wrong(_step_with(key="each"), "You have taken a step for each occurrence of a row."),
        Wrong(_step_with(key="none"), "Rows of all tables begin at 0 in yours: add the base."),
        Wrong(_step_with(upstream="f"), "G is (B, F * D): bag b of feature f has the columns from "
              "f * D on of row b. You have read it as (F * B, D)."),
        Wrong(_step_with(once=False), "Of a row that comes twice, one share was lost."),
        Wrong(_step_of_squares, "The step is divided by the root of the state, not by the state."),
        Wrong(_step_of_copies, "W and h have not changed: the step must be taken in place."),
    ),
    points=4,
    in_place=True,
    returns="nothing",
    unproved="that one sort was enough.",
)  # fmt: skip

EXERCISES = (JAGGED, GLOBAL_ROWS, SIDE_BY_SIDE, PLACES, STEP)
