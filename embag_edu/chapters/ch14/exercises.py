"""The exercises of chapter 14: fused optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong

EPS = 0.01  # so large that it is seen where it stands

# ---- 14.message -----------------------------------------------------------------------------


def message(indices: np.ndarray, bags: np.ndarray, G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows, ascending, (U,), and the sum of their shares, (U, D)."""
    rows, place = np.unique(indices, return_inverse=True)
    sums = np.zeros((len(rows), G.shape[1]))
    np.add.at(sums, place, G[bags])
    return rows, sums


def _last_share(indices, bags, G):
    rows, place = np.unique(indices, return_inverse=True)
    sums = np.zeros((len(rows), G.shape[1]))
    sums[place] = G[bags]
    return rows, sums


def _rows_of_g(indices, bags, G):
    return message(indices, np.minimum(np.arange(len(indices)), len(G) - 1), G)


def _all_shares(indices, bags, G):
    order = np.argsort(indices, kind="stable")
    return indices[order], G[bags[order]]


def _means(indices, bags, G):
    rows, counts = np.unique(indices, return_counts=True)
    return rows, message(indices, bags, G)[1] / counts[:, None]


def _once_a_bag(indices, bags, G):
    pairs = np.unique(np.stack([indices, bags], 1), axis=0)
    return message(pairs[:, 0], pairs[:, 1], G)


def _first_seen(indices, bags, G):
    rows, sums = message(indices, bags, G)
    _, first = np.unique(indices, return_index=True)
    order = np.argsort(first)
    return rows[order], sums[order]


def _whole_table(indices, bags, G):
    rows = np.arange(indices.max(initial=-1) + 1)
    sums = np.zeros((len(rows), G.shape[1]))
    np.add.at(sums, indices, G[bags])
    return rows, sums


def _message_cases() -> list[Case]:
    random = np.random.default_rng(141)
    some = random.normal(size=(3, 2))
    return [
        Case("two rows", np.array([4, 1]), np.array([0, 1]), some),
        Case("a row in two bags", np.array([5, 2, 5]), np.array([0, 0, 2]), some),
        Case("a row twice in a bag", np.array([3, 3, 1]), np.array([1, 1, 1]), some),
        Case("no position", np.zeros(0, np.int64), np.zeros(0, np.int64), some),
        Case("40 positions", random.integers(0, 9, 40), np.sort(random.integers(0, 6, 40)),
             random.normal(size=(6, 3))),
    ]  # fmt: skip


def _any_message(random):
    B, n = draw.size(random, 1, 5), draw.size(random, 0, 12)
    rows = random.integers(0, draw.size(random, 1, 7), n)
    return rows, np.sort(random.integers(0, B, n)), draw.table(random, B, draw.size(random, 1, 3))


MESSAGE = Exercise(
    "14.message",
    "the gradient as a message",
    message,
    _message_cases,
    random_call=_any_message,
    hints=(
        "How many rows does the answer have: V, n or U?",
        "np.unique gives the rows, with return_inverse also which of them each position is.",
        "Begin with zeros (U, D) and add the share of each position, G[bags], at its place: "
        "np.add.at does not lose a place that comes twice. Or sort, and use np.add.reduceat.",
    ),
    wrong=(
        Wrong(_last_share, "sums[place] += ... keeps one share of a row that comes twice."),
        Wrong(_rows_of_g, "Position i has the share G[bags[i]], not G[i]."),
        Wrong(_all_shares, "Those are the shares, one for each position. Add them up, row by row."),
        Wrong(_means, "You have taken the mean of the shares. The gradient is their sum."),
        Wrong(_once_a_bag, "A row that stands twice in a bag has two shares."),
        Wrong(_first_seen, "The rows should be ascending; yours are in the order of the input."),
        Wrong(_whole_table, "There are rows that no position reads. They are not in the message."),
    ),
    points=2,
    returns=("rows", "sums"),
    unproved="that nothing of size (V, D) was made on the way.",
)

# ---- the three steps: they change their arguments ---------------------------------------------


def adagrad(W, h, rows, sums, lr, eps) -> None:  # type: ignore
    """Adagrad's step of the rows, in place. W, h: (V, D); rows: (U,); sums: (U, D)."""
    h[rows] += sums**2
    W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)


def _step_before_state(W, h, rows, sums, lr, eps):
    W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)
    h[rows] += sums**2


def _eps_inside(W, h, rows, sums, lr, eps):
    h[rows] += sums**2
    W[rows] -= lr * sums / np.sqrt(h[rows] + eps)


def _no_root(W, h, rows, sums, lr, eps):
    h[rows] += sums**2
    W[rows] -= lr * sums / (h[rows] + eps)


def _state_replaced(W, h, rows, sums, lr, eps):
    h[rows] = sums**2
    W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)


def _uphill(W, h, rows, sums, lr, eps):
    h[rows] += sums**2
    W[rows] += lr * sums / (np.sqrt(h[rows]) + eps)


def _first_rows(W, h, rows, sums, lr, eps):
    adagrad(W[: len(rows)], h[: len(rows)], np.arange(len(rows)), sums, lr, eps)


def _copies(W, h, rows, sums, lr, eps):
    adagrad(W.copy(), h.copy(), rows, sums, lr, eps)


def _table(random, V, D, U, row_wise=False):
    rows = np.sort(random.choice(V, U, replace=False))
    W, h = random.normal(size=(V, D)), random.uniform(0, 2, V if row_wise else (V, D))
    return W, h, rows, random.normal(size=(U, D)), 0.5, EPS


def _step_cases(row_wise: bool) -> Callable[[], list[Case]]:
    def cases() -> list[Case]:
        random = np.random.default_rng(142)
        zeros = _table(random, 4, 2, 2, row_wise)
        zeros[1][:] = 0
        return [
            Case("a first step", *zeros),
            Case("a second step", *_table(random, 5, 3, 2, row_wise)),
            Case("no row", *_table(random, 3, 2, 0, row_wise)),
            Case("all rows", *_table(random, 4, 3, 4, row_wise)),
            Case("one feature", *_table(random, 6, 1, 3, row_wise)),
        ]

    return cases


def _any_step(row_wise: bool) -> Callable[[np.random.Generator], tuple[Any, ...]]:
    def call(random):
        V = draw.size(random, 1, 7)
        given = _table(random, V, draw.size(random, 1, 4), draw.size(random, 0, V), row_wise)
        return *given[:4], float(random.choice([0.1, 1.0])), float(random.choice([1e-3, 0.5]))

    return call


COPY = "W and h have not changed: the step must be taken in place."
ADAGRAD = Exercise(
    "14.adagrad",
    "Adagrad's step of U rows",
    adagrad,
    _step_cases(False),
    random_call=_any_step(False),
    hints=(
        "The rows are distinct. What does that allow, which np.add.at was needed for before?",
        "Two lines: the state of these rows grows; then their weights shrink by it.",
        "h[rows] grows by the squares of sums. Then W[rows] loses lr times sums, divided by the "
        "root of the new h[rows], with eps added after the root.",
    ),
    wrong=(
        Wrong(_step_before_state, "The state grows first; the step is by the new state."),
        Wrong(_eps_inside, "eps is added outside the root, as torch does it."),
        Wrong(_no_root, "The step is divided by the root of the state."),
        Wrong(_state_replaced, "The state is the sum of all squares so far: it grows."),
        Wrong(_uphill, "The weights went up the slope. A step goes down."),
        Wrong(_first_rows, "Other rows have changed: sums[k] belongs to row rows[k]."),
        Wrong(_copies, COPY),
    ),
    points=2,
    in_place=True,
    returns="nothing",
    unproved="that only U rows were read: W -= ... on the whole table would pass, too.",
)

# ---- 14.row_wise ----------------------------------------------------------------------------


def row_wise(W, h, rows, sums, lr, eps) -> None:  # type: ignore
    """Row-wise Adagrad's step, in place. W: (V, D); h: (V,); rows: (U,); sums: (U, D)."""
    h[rows] += np.mean(sums**2, axis=1)
    W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)[:, None]


def _row_wise_by(measure: Callable[[np.ndarray], np.ndarray]) -> Any:
    def step(W, h, rows, sums, lr, eps):
        h[rows] += measure(sums)
        W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)[:, None]

    return step


def _row_wise_late(W, h, rows, sums, lr, eps):
    W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)[:, None]
    h[rows] += np.mean(sums**2, axis=1)


def _row_wise_inside(W, h, rows, sums, lr, eps):
    h[rows] += np.mean(sums**2, axis=1)
    W[rows] -= lr * sums / np.sqrt(h[rows] + eps)[:, None]


def _row_wise_all(W, h, rows, sums, lr, eps):
    h[rows] += np.mean(sums**2)
    W[rows] -= lr * sums / (np.sqrt(h[rows]) + eps)[:, None]


def _row_wise_copies(W, h, rows, sums, lr, eps):
    row_wise(W.copy(), h.copy(), rows, sums, lr, eps)


ROW_WISE = Exercise(
    "14.row_wise",
    "row-wise Adagrad",
    row_wise,
    _step_cases(True),
    random_call=_any_step(True),
    hints=(
        "h has one number for a row. Which number of the row's gradient does it add up?",
        "The mean over the D features of the squares. All features of a row then have one divisor.",
        "h[rows] grows by the mean of sums**2 along axis 1. The root of it, plus eps, is a column "
        "of U divisors: [:, None].",
    ),
    wrong=(
        Wrong(_row_wise_by(lambda g: (g**2).sum(axis=1)), "That is the sum of squares; the mean "
              "divides it by D."),
        Wrong(_row_wise_by(lambda g: g.mean(axis=1) ** 2), "You have squared the mean. It is the "
              "mean of the squares."),
        Wrong(_row_wise_by(lambda g: (g**2).max(axis=1, initial=0)), "That is the largest square "
              "of the row."),
        Wrong(_row_wise_all, "Each row has a mean of its own: along axis 1."),
        Wrong(_row_wise_late, "The state grows first; the step is by the new state."),
        Wrong(_row_wise_inside, "eps is added outside the root."),
        Wrong(_row_wise_copies, COPY),
    ),
    points=2,
    in_place=True,
    returns="nothing",
    unproved="how well a model learns with one rate for a row.",
)  # fmt: skip

# ---- 14.adam --------------------------------------------------------------------------------

BETAS = (0.9, 0.999)


def adam(W, m, v, t, rows, sums, lr, eps) -> None:  # type: ignore
    """Lazy Adam's step number t (from 1), in place. W, m, v: (V, D); sums: (U, D)."""
    _adam(W, m, v, t, rows, sums, lr, eps)


def _adam(W, m, v, t, rows, sums, lr, eps, square=True, correct=True, late=False):
    one, two = BETAS
    m[rows] = one * m[rows] + (1 - one) * sums
    v[rows] = two * v[rows] + (1 - two) * (sums**2 if square else np.abs(sums))
    c1, c2 = (1 - one**t, 1 - two**t) if correct else (1.0, 1.0)
    if late:
        W[rows] -= lr * (m[rows] / c1) / (np.sqrt(v[rows] / c2) + eps)
    else:
        W[rows] -= lr * np.sqrt(c2) / c1 * m[rows] / (np.sqrt(v[rows]) + eps)


def _adam_of_all(W, m, v, t, rows, sums, lr, eps):
    g = np.zeros_like(W)
    g[rows] = sums
    _adam(W, m, v, t, np.arange(len(W)), g, lr, eps)


def _adam_from_zero(W, m, v, t, rows, sums, lr, eps):
    _adam(W, m, v, t + 1, rows, sums, lr, eps)


def _adam_uncorrected(*given):
    _adam(*given, **{"correct": False})


def _adam_of_dense(*given):
    _adam(*given, **{"late": True})


def _adam_sizes(*given):
    _adam(*given, **{"square": False})


def _adam_no_momentum(W, m, v, t, rows, sums, lr, eps):
    spare = np.zeros_like(m)
    spare[rows] = sums
    _adam(W, spare, v, t, rows, sums, lr, eps)
    m[rows] = BETAS[0] * m[rows] + (1 - BETAS[0]) * sums


def _adam_copies(W, m, v, *others):
    _adam(W.copy(), m.copy(), v.copy(), *others)


def _adam_call(random, V, D, U, t):
    W, _, rows, sums, lr, eps = _table(random, V, D, U)
    m, v = random.normal(size=(V, D)) / 4, random.uniform(0, 0.1, (V, D))
    return W, m, v, t, rows, sums, lr, eps


def _adam_cases() -> list[Case]:
    random = np.random.default_rng(144)
    first = _adam_call(random, 4, 2, 2, 1)
    first[1][:], first[2][:] = 0, 0
    return [
        Case("a first step", *first),
        Case("a fifth step", *_adam_call(random, 5, 3, 2, 5)),
        Case("no row", *_adam_call(random, 3, 2, 0, 2)),
        Case("all rows", *_adam_call(random, 4, 3, 4, 30)),
    ]


def _any_adam(random):
    V = draw.size(random, 1, 6)
    sizes = V, draw.size(random, 1, 4), draw.size(random, 0, V)
    return _adam_call(random, *sizes, draw.size(random, 1, 40))


ADAM = Exercise(
    "14.adam",
    "lazy Adam",
    adam,
    _adam_cases,
    random_call=_any_adam,
    hints=(
        "Which rows of m and v may change? Only those; a row that is not read keeps its momentum.",
        "First the two moving means, then the step. The corrections, 1 - beta**t, are numbers, not "
        "arrays.",
        "m[rows] becomes 0.9 of itself and 0.1 of sums; v[rows] 0.999 of itself and 0.001 of their "
        "squares. The step is lr * sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (sqrt(v) + eps).",
    ),
    wrong=(
        Wrong(_adam_of_all, "Rows that are not in the message have moved: that is dense Adam, "
              "where momentum goes on."),
        Wrong(_adam_uncorrected, "The corrections are missing: m and v began as zeros."),
        Wrong(_adam_from_zero, "t counts from 1: the first step has 1 - beta**1."),
        Wrong(_adam_of_dense, "Your eps is that of dense Adam, added after v was corrected. Here "
              "it is added to the root of v itself."),
        Wrong(_adam_sizes, "v is the moving mean of the squares, not of the sizes."),
        Wrong(_adam_no_momentum, "The step is along m, the moving mean, not along this gradient."),
        Wrong(_adam_copies, "W, m and v have not changed: the step must be taken in place."),
    ),
    points=2,
    in_place=True,
    returns="nothing",
    unproved="that t goes up for every step of the table, whichever rows it reads.",
)  # fmt: skip

# ---- 14.times_fewer -------------------------------------------------------------------------


def times_fewer(V: int, D: int, n: int, U: int, w: int) -> float:
    """Bytes of a dense SGD step, backward included, in parts of those of a fused one."""
    dense = (V + n + U) * D * w + 3 * V * D * w
    return dense / ((n + 2 * U) * D * w)


def _ratio(dense: Callable[..., float], fused: Callable[..., float]) -> Any:
    return lambda V, D, n, U, w: dense(V, n, U) / fused(V, n, U)


def _times_cases() -> list[Case]:
    return [
        Case("a few rows", 10, 4, 6, 3, 4),
        Case("shape A", 5_000_000, 128, 307_200, 298_021, 4),
        Case("each row once", 8, 2, 8, 8, 8),
        Case("one hot row", 1000, 16, 500, 1, 2),
    ]


def _any_times(random):
    V, n = draw.size(random, 1, 500), draw.size(random, 1, 200)
    sizes = draw.size(random, 1, 64), n, draw.size(random, 1, min(V, n)), 4
    return V, *sizes


TIMES = Exercise(
    "14.times_fewer",
    "how many times fewer bytes",
    times_fewer,
    _times_cases,
    random_call=_any_times,
    hints=(
        "Count numbers first, in rows of D. Which terms have V in them, which n, which U?",
        "Dense: zeros V, shares n, sums U; then the optimizer reads gradient and table, and "
        "writes the table: 3 V. Fused: the shares, and U rows that are read and written.",
        "(4 V + n + U) / (n + 2 U): D and w stand above and below.",
    ),
    wrong=(
        Wrong(_ratio(lambda V, n, U: 3 * V + n + U, lambda V, n, U: n + 2 * U),
              "There are V rows four times: zeros are written; then the optimizer reads the "
              "gradient, reads the table and writes it. One of the four is missing."),
        Wrong(_ratio(lambda V, n, U: V + n + U, lambda V, n, U: n + 2 * U),
              "The optimizer is missing: 3 V rows, read twice and written once."),
        Wrong(_ratio(lambda V, n, U: 4 * V + n + U, lambda V, n, U: n + U),
              "A fused step reads the U rows before it writes them."),
        Wrong(_ratio(lambda V, n, U: 4 * V + n + U, lambda V, n, U: 3 * n),
              "Each row is read and written once, however many shares it has: U, not n."),
        Wrong(_ratio(lambda V, n, U: 4 * V + n, lambda V, n, U: n + 2 * U),
              "The dense backward writes the U sums over its zeros."),
        Wrong(_ratio(lambda V, n, U: n + 2 * U, lambda V, n, U: 4 * V + n + U),
              "Upside down: dense over fused."),
    ),
    points=2,
    returns="times",
    unproved="what a sort moves, which both have, and what a cache saves.",
)  # fmt: skip

# ---- 14.step --------------------------------------------------------------------------------


def step(W, h, indices, offsets, G, padding_idx, lr, eps) -> None:  # type: ignore
    """A whole fused step, mode mean with padding, row-wise Adagrad; W and h in place."""
    _step(W, h, indices, offsets, G, padding_idx, lr, eps)


def _step(W, h, indices, offsets, G, padding_idx, lr, eps, sizes="kept", drop=True, sums="exact"):
    lengths = np.diff(offsets)
    bags = np.repeat(np.arange(len(G)), lengths)
    kept = indices != padding_idx if drop else np.ones(len(indices), bool)
    real = np.bincount(bags[indices != padding_idx], minlength=len(G))
    divisor = {"kept": real, "all": lengths, "none": np.ones(len(G))}[sizes]
    shares = G / np.maximum(divisor, 1)[:, None]
    rows, each = indices[kept], bags[kept]
    if sums == "exact":
        told = message(rows, each, shares)
        row_wise(W, h, told[0], told[1], lr, eps)
    elif sums == "each":
        for row, bag in zip(rows, each, strict=True):
            row_wise(W, h, np.array([row]), shares[[bag]], lr, eps)
    else:
        told = _last_share(rows, each, shares)
        row_wise(W, h, told[0], told[1], lr, eps)


def _step_with(**change: Any) -> Any:
    return lambda *given: _step(*given, **change)


def _step_touches_all(W, h, indices, offsets, G, padding_idx, lr, eps):
    before = W.copy(), h.copy()
    _step(W, h, indices, offsets, G, padding_idx, lr, eps)
    still = np.setdiff1d(np.arange(len(W)), indices[indices != padding_idx])
    W[still] = before[0][still] * (1 - lr * eps)


def _step_copies(W, h, *others):
    _step(W.copy(), h.copy(), *others)


def _step_call(random, V, D, lengths, padding_idx):
    offsets = np.cumsum([0, *lengths])
    W, h = random.normal(size=(V, D)), random.uniform(0, 2, V)
    indices, G = random.integers(0, V, offsets[-1]), random.normal(size=(len(lengths), D))
    return W, h, indices, offsets, G, padding_idx, 0.5, EPS


def _whole_cases() -> list[Case]:
    random = np.random.default_rng(146)
    twice = list(_step_call(random, 5, 3, [3, 2], 0))
    twice[2] = np.array([4, 4, 1, 2, 4])
    padded = list(_step_call(random, 5, 2, [3, 2], 1))
    padded[2] = np.array([1, 3, 2, 1, 1])
    return [
        Case("a row in two bags, and twice in one", *twice),
        Case("padding, and a bag of nothing else", *padded),
        Case("an empty bag", *_step_call(random, 6, 2, [2, 0, 3], 5)),
        Case("ten bags", *_step_call(random, 8, 4, [3, 0, 1, 5, 2, 2, 0, 4, 1, 6], 3)),
    ]


def _any_whole(random):
    V = draw.size(random, 2, 7)
    lengths = [draw.size(random, 0, 4) for _ in range(draw.size(random, 1, 5))]
    return _step_call(random, V, draw.size(random, 1, 3), lengths, draw.size(random, 0, V - 1))


STEP = Exercise(
    "14.step",
    "capstone: a whole fused step",
    step,
    _whole_cases,
    random_call=_any_whole,
    hints=(
        "You have three parts: which positions count and with what share; the message; the step.",
        "The share of a position is its bag's gradient over the size of the bag, padding not "
        "counted. Divide G first: a bag of padding alone has no position left to read it.",
        "Make the bag of every position, drop padding from rows and bags, divide G by the sizes "
        "(at least 1), then message(rows, bags, G) and row_wise(W, h, rows, sums, lr, eps).",
    ),
    wrong=(
        Wrong(_step_with(sums="each"), "You have taken a step for each occurrence. A row that "
              "comes three times has one step, by the sum of its three shares."),
        Wrong(_step_with(sums="last"), "Of a row that comes twice, one share was lost."),
        Wrong(_step_with(sizes="all"), "The mean is over the positions that are not padding."),
        Wrong(_step_with(sizes="none"), "The mode is mean: divide by the size of the bag."),
        Wrong(_step_with(drop=False), "The padding row has changed. Drop its positions first."),
        Wrong(_step_touches_all, "Rows that no position reads have changed."),
        Wrong(_step_copies, COPY),
    ),
    points=4,
    in_place=True,
    returns="nothing",
    unproved="that no array of size (V, D) was made.",
)  # fmt: skip

EXERCISES = (MESSAGE, ADAGRAD, ROW_WISE, ADAM, TIMES, STEP)
