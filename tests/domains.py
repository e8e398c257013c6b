"""A wide random domain of valid inputs for each exercise whose answer is a function.

`draw(name, seed)` gives the same call for the same seed, with new arguments. A domain holds what
the task allows, and no more: sizes of 0 where it allows them, other dtypes, values that repeat,
NaN where a row must not be touched.
"""

from collections.abc import Callable

import numpy as np
import torch

from embag_edu.chapters.ch03 import exercises as ch03
from embag_edu.chapters.ch12.exercises import Context
from embag_edu.course import Case

NAN, INF = np.nan, np.inf
DOMAINS: dict[str, Callable[[np.random.Generator], tuple]] = {}


def draw(name: str, seed: int) -> Case:
    """Call number `seed` of an exercise's domain."""
    return Case(f"random call {seed}", *DOMAINS[name](np.random.default_rng([seed, 77])))


def domain(name):
    def keep(function):
        DOMAINS[name] = function
        return function

    return keep


def size(random, least=0, most=6):
    return int(random.integers(least, most + 1))


def table(random, V, D, dtype=np.float64):
    return np.round(random.normal(size=(V, D)) * 4, 2).astype(dtype)


def bags(random, V, most=12, least_bags=1, ints=np.int64):
    """input (N,), offsets (B,): empty bags at all places, and rows that repeat."""
    n, b = size(random, 0, most), size(random, least_bags, 6)
    cuts = np.sort(random.integers(0, n + 1, max(b - 1, 0)))
    return random.integers(0, V, n).astype(ints), np.append(0, cuts)[:b].astype(ints)


def lists(array):
    return array.tolist()


@domain("00.first_mean")
def first_mean(random):
    V = size(random, 1, 9)
    return lists(random.integers(0, V, size(random, 1, 7))), table(random, V, size(random, 1, 5))


@domain("01.offsets")
def offsets(random):
    return (lists(random.integers(0, 4, size(random, 0, 7))),)


@domain("01.bag_of")
def bag_of(random):
    input, offsets = bags(random, 5)
    return offsets, len(input)


@domain("01.flatten")
def flatten(random):
    padded = random.integers(0, 5, (size(random, 1), size(random, 1)))
    return padded, int(random.integers(0, 6))


@domain("01.empty_bug")
def empty_bug(random):
    V = size(random, 1, 7)
    input, offsets = bags(random, V)
    weight = table(random, V, size(random, 1, 4))
    if random.random() < 0.3:
        weight[size(random, 0, V - 1)] = NAN
    return input, offsets, weight


@domain("01.means")
def means(random):
    V = size(random, 1, 7)
    members = [lists(random.integers(0, V, size(random, 0, 5))) for _ in range(size(random, 0))]
    return members, lists(table(random, V, size(random, 1, 4)))


@domain("02.padded_mean")
def padded_mean(random):
    V = size(random, 1, 6)
    input = random.integers(0, V, (size(random, 1), size(random, 1)))
    weight, padding = table(random, V, size(random, 1, 4)), int(random.integers(-V, V))
    if random.random() < 0.4:
        weight[padding] = NAN
    return lists(input), lists(weight), padding


@domain("02.tfidf")
def tfidf_02(random):
    V, reviews = size(random, 2, 8), size(random, 9, 300)
    input, offsets = bags(random, V)
    return input, offsets, random.integers(1, reviews + 1, V), reviews


@domain("02.winners")
def winners(random):
    rows = random.integers(-2, 3, (size(random, 0), size(random, 1, 5))).astype(
        random.choice([np.float32, np.float64, np.float16])
    )
    rows[random.random(rows.shape) < random.choice([0, 0.3])] = NAN
    rows[random.random(rows.shape) < random.choice([0, 0.3])] = -INF
    rows[random.random(rows.shape) < random.choice([0, 0.1])] = INF
    return (rows,)


@domain("02.rescaled")
def rescaled(random):
    dtype = random.choice([np.float16, np.float32, np.float64])
    scale = random.choice([1.0, 64.0, 1.0 if dtype is np.float16 else 1 / 1024])
    if random.random() < 0.3:  # a length without rounding: the edge itself is in the domain
        return (np.array([3, 4]) * scale).astype(dtype), 5 * scale
    row = (random.normal(size=size(random, 1, 9)) * scale).astype(dtype)
    norm = float(np.sqrt(np.sum(row.astype(np.float64) ** 2)))
    return row, float(norm * random.choice([0.25, 0.5, 2]))


@domain("03.slope")
def slope(random):
    loss = [ch03.bowl, ch03.cubes, ch03.product][size(random, 0, 2)]
    values = table(random, size(random, 3, 5), size(random, 2, 4))
    row, feature = random.integers(0, values.shape)
    return loss, values, int(row), int(feature), float(random.choice([0.5, 0.25, 0.01, 2.0]))


@domain("03.mean_backward")
def mean_backward(random):
    V = size(random, 1, 6)
    input, offsets = bags(random, V)
    grad = table(random, len(offsets), size(random, 1, 4))
    if random.random() < 0.3:
        grad[size(random, 0, len(grad) - 1)] = random.choice([NAN, INF])
    return input, offsets, grad, V, size(random, 0, V - 1)


@domain("03.max_backward")
def max_backward(random):
    V, N = size(random, 1, 8), size(random, 1, 9)
    winners = random.integers(-1, N, (size(random, 1, 5), size(random, 1, 4)))
    grad = table(random, *winners.shape)
    if random.random() < 0.3:
        grad[winners == -1] = NAN
    return random.integers(0, V, N), winners, grad, V


@domain("03.weights_gradient")
def weights_gradient(random):
    V, D = size(random, 1, 6), size(random, 1, 4)
    input, offsets = bags(random, V)
    weight, padding = table(random, V, D), size(random, 0, V - 1)
    if random.random() < 0.3:
        weight[padding] = NAN
    return input, offsets, weight, table(random, len(offsets), D), padding


@domain("04.bag_matrix")
def bag_matrix(random):
    V = size(random, 1, 6)
    input, offsets = bags(random, V)
    weights = np.round(random.normal(size=len(input)), 1)
    weights[random.random(len(input)) < 0.2] = random.choice([0, NAN])
    weights = weights.astype(random.choice([np.float32, np.float64]))
    return input, offsets, weights, size(random, 0, V - 1)


@domain("04.merge")
def merge(random):
    D = size(random, 1, 6)

    def part(first):
        best = random.choice([-2, -1, 0, 1, 2, NAN, INF, -INF], D)
        winner = random.integers(first, first + 9, D)
        nobody = random.random(D) < 0.25
        return np.where(nobody, 0, best).astype(np.float32), np.where(nobody, -1, winner)

    return (*part(0), *part(9))


@domain("05.sorted_backward")
def sorted_backward(random):
    V = size(random, 1, 7)
    input, offsets = bags(random, V)
    return input, offsets, table(random, len(offsets), size(random, 1, 4)), V


@domain("05.frequency_shares")
def frequency_shares(random):
    V = size(random, 1, 6)
    input, _ = bags(random, V)
    shares = table(random, len(input), size(random, 1, 4))
    shares[random.random(shares.shape) < 0.1] = INF
    return input, shares, size(random, 0, V)


@domain("05.coalesce")
def coalesce(random):
    N = size(random, 1, 12)
    values = random.integers(-1, 2, (N, size(random, 1, 4))) / 2
    return random.integers(0, 9, (1, N)), values.astype(random.choice([np.float32, np.float64]))


@domain("05.better_order")
def better_order(random):
    terms = (random.random(size(random, 1, 3000)) ** 9 * 1e4 + 1e-3).astype(np.float32)
    return (terms,)


@domain("06.forward_bytes")
def forward_bytes(random):
    V = size(random, 1, 8)
    input, offsets = bags(random, V, ints=random.choice([np.int32, np.int64]))
    ends = np.append(offsets, len(input)).astype(random.choice([np.int32, np.int64]))
    floats = [np.float16, np.float32, np.float64]
    weight = np.zeros((V, size(random, 1, 9)), random.choice(floats))
    if random.random() < 0.5:
        return input, ends, weight
    return input, ends, weight, np.ones(len(input), random.choice(floats))


@domain("06.expected_distinct")
def expected_distinct(random):
    chances = random.random(size(random, 1, 9)) ** random.choice([1, 4])
    chances[random.random(len(chances)) < 0.2] = 0
    chances[0] += 0.01
    return chances / chances.sum(), size(random, 0, 12)


@domain("06.ratio")
def ratio(random):
    warm = size(random, 0, 3)
    times = random.lognormal(0, 0.5, (warm + size(random, 2, 9), 2))
    return times * random.uniform(0.1, 9, 2), warm


@domain("06.peaks")
def peaks(random):
    block = int(random.choice([1, 24, 30, 64, 1000]))
    return size(random, 0, 9), size(random, 1, 7), int(random.choice([2, 4, 8])), block


def tensors(random, *shape):
    return torch.from_numpy(random.normal(size=shape))


@domain("12.asked")
def asked(random):
    V, D, N, B = size(random, 1, 6), size(random, 1, 4), size(random, 0, 8), size(random, 1, 5)
    rows = torch.from_numpy(random.integers(0, V, N))
    places = torch.from_numpy(np.sort(random.integers(0, B, N)))
    needs = bool(random.integers(2)), bool(random.integers(2))
    weight, psw = tensors(random, V, D), tensors(random, N)
    if N:
        psw[random.integers(N)] = 0
    saved = weight if needs[1] else None, psw if needs[0] else None, rows, places
    g = tensors(random, D, B).t() if random.integers(2) else tensors(random, B, D)
    return Context(saved, (*needs, False, False), (V, D)), g


@domain("12.saved")
def saved(random):
    V, D, N = size(random, 1, 6), size(random, 1, 4), size(random, 1, 8)
    psw = tensors(random, N)
    psw[random.integers(N)] = 0
    rows = torch.from_numpy(random.integers(0, V, N))
    return tensors(random, V, D), psw, rows, torch.from_numpy(np.sort(random.integers(0, 4, N)))


@domain("12.jvp")
def jvp(random):
    V, D, N, B = size(random, 1, 6), size(random, 1, 4), size(random, 1, 8), size(random, 1, 5)
    moves = [(1, 0), (0, 1), (1, 1)][size(random, 0, 2)]
    rows = torch.from_numpy(random.integers(0, V, N))
    places = torch.from_numpy(np.sort(random.integers(0, B, N)))
    return (
        tensors(random, V, D),
        tensors(random, N).abs() + 0.1,
        tensors(random, V, D) if moves[0] else None,
        tensors(random, N) if moves[1] else None,
        rows,
        places,
        B,
    )


@domain("12.fold")
def fold(random):
    n, N, V = size(random, 1, 4), size(random, 1, 6), size(random, 1, 5)
    inputs = torch.from_numpy(random.integers(-1 if random.random() < 0.5 else 0, V + 1, (n, N)))
    starts = np.sort(random.integers(0, N + 1, (n, size(random, 1, 4))), axis=1)
    starts[:, 0] = 0
    return inputs, torch.from_numpy(starts), V


@domain("12.fake")
def fake(random):
    ints = random.choice([torch.int32, torch.int64])
    floats = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

    def of(*shape, dtype):
        return torch.empty(*shape, dtype=dtype, device="meta")

    weight = of(size(random, 1), size(random, 1), dtype=floats[size(random, 0, 3)])
    mode = str(random.choice(["sum", "mean", "max"]))
    if random.integers(2):
        return weight, of(size(random), size(random), dtype=ints), None, False, mode
    end = bool(random.integers(2))
    return weight, of(size(random), dtype=ints), of(size(random, 1), dtype=ints), end, mode


@domain("13.collate")
def collate(random):
    examples = [
        (random.integers(0, 99, size(random, 0, 4)), size(random, 0, 5))
        for _ in range(size(random, 1, 7))
    ]
    return (examples,)


@domain("13.tfidf")
def tfidf_13(random):
    V = size(random, 1, 9)
    texts = [random.integers(0, V, size(random, 0, 6)) for _ in range(size(random, 1, 8))]
    return texts, V, random.integers(0, V, size(random, 0, 6))


@domain("13.split")
def split(random):
    keys = random.integers(0, size(random, 20, 300), size(random, 200, 400))
    return keys, float(random.choice([0.1, 0.2, 0.5, 0.7])), size(random, 0, 99)


@domain("13.auc")
def auc(random):
    n = size(random, 2, 30)
    scores = random.integers(-3, 4, n) / 2 if random.integers(2) else random.normal(size=n)
    truth = random.random(n) < random.choice([0.2, 0.5, 0.8])
    truth[:2] = True, False
    return scores[random.permutation(n)], truth


@domain("13.repair")
def repair(random):
    V, D, classes = size(random, 2, 6), size(random, 1, 3), size(random, 2, 4)
    batches = []
    for _ in range(size(random, 1, 3)):
        B, L = size(random, 1, 4), size(random, 1, 4)
        filled = random.integers(1, V, (B, L))
        filled[np.arange(L) >= random.integers(0, L + 1, B)[:, None]] = 0
        batches.append((filled, random.integers(0, classes, B)))
    rate = float(random.choice([0.1, 0.5, 1.0]))
    return random.normal(size=(V, D)), random.normal(size=(classes, D)), batches, rate
