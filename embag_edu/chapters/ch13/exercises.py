"""The exercises of chapter 13: training on real reviews."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from embag_edu.course import draw
from embag_edu.course.exercise import Case, Exercise, Wrong
from embag_edu.course.tools import work_of
from embag_edu.course.variants import after, retold
from embag_edu.train.fitting import auc

# ---- 13.collate -----------------------------------------------------------------------------


def collate(examples: Sequence[tuple[np.ndarray, int]]) -> tuple[np.ndarray, ...]:
    """(ids, label) of B examples -> input (N,), offsets (B,), labels (B,), all int64."""
    lengths = [len(ids) for ids, _ in examples]
    begins = np.cumsum([0, *lengths])[:-1]
    return np.concatenate([ids for ids, _ in examples]), begins, np.array([k for _, k in examples])


def _with_offsets(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """A collate whose offsets are made of (the right ones, the lengths) in another way."""

    def wrong(examples):
        input, offsets, labels = collate(examples)
        return input, change(offsets, np.array([len(ids) for ids, _ in examples])), labels

    return wrong


def _labels_of_positions(examples):
    input, offsets, _ = collate(examples)
    return input, offsets, np.concatenate([np.full(len(ids), k, np.int64) for ids, k in examples])


def _empty_dropped(examples):
    return collate([example for example in examples if len(example[0])])


def _by_length(examples):
    order = sorted(range(len(examples)), key=lambda k: len(examples[k][0]))
    by_length = collate([examples[k] for k in order])
    return by_length[0], by_length[1], np.array([label for _, label in examples])


def _distinct(examples):
    return collate([(np.unique(ids), label) for ids, label in examples])


def _collate_cases() -> list[Case]:
    random = np.random.default_rng(131)
    many = [(random.integers(0, 99, n), int(n % 3)) for n in random.integers(0, 6, 12)]

    def lists(*pairs: tuple[list[int], int]) -> list[tuple[np.ndarray, int]]:
        return [(np.array(ids, np.int64), label) for ids, label in pairs]

    return [
        Case("two bags", lists(([7, 2], 1), ([5], 0))),
        Case("an empty bag in the middle", lists(([3, 3, 4], 2), ([], 1), ([9, 1], 0))),
        Case("an empty bag at the end", lists(([8], 0), ([6, 6], 1), ([], 2))),
        Case("one bag", lists(([4, 1, 4], 5))),
        Case("twelve bags", many),
    ]


def _any_collate(random):
    examples = [
        (random.integers(0, 99, draw.size(random, 0, 4)), draw.size(random, 0, 5))
        for _ in range(draw.size(random, 1, 7))
    ]
    return (examples,)


COLLATE = Exercise(
    "13.collate",
    "a collate function that makes offsets",
    collate,
    _collate_cases,
        random_call=_any_collate,
    hints=(
        "A bag begins where all bags before it end. Where does the first one begin?",
        "Sum up the lengths one after the other. Of these sums, which one begins no bag?",
        "Put a 0 before the lengths, take running sums, and leave the last sum out, which is N. "
        "The ids are joined in the order of the examples, and so are the labels.",
    ),
    wrong=(
        Wrong(
            _with_offsets(lambda o, n: np.cumsum(n)),
            "Your offsets are the ends of the bags. They must be the beginnings.",
        ),
        Wrong(
            _with_offsets(lambda o, n: np.append(o, n.sum())),
            "There is one offset too many: the end of the last bag. That is include_last_offset.",
        ),
        Wrong(_with_offsets(lambda o, n: n), "These are lengths. Offsets are their running sum."),
        Wrong(
            _with_offsets(lambda o, n: np.arange(len(n)) * max(int(n.max()), 1)),
            "Your offsets are those of bags that are all as long as the longest one.",
        ),
        Wrong(_with_offsets(lambda o, n: o.astype(float)),
              "The offsets are floats. Name the dtype: np.int64."),
        Wrong(_with_offsets(lambda o, n: o.astype(np.int32)),
              "The task names the dtype of all three: np.int64."),
        Wrong(_labels_of_positions, "There is a label for each bag, not for each position."),
        Wrong(lambda examples: [collate(examples)[k] for k in (0, 2, 1)],
              "The order is input, offsets, labels."),
        Wrong(_empty_dropped, "An empty bag is a bag. Its offset is that of the next one."),
        Wrong(_by_length, "The bags are in another order than the labels."),
        Wrong(_distinct, "Repeated ids were dropped, or ids sorted. A word that stands twice "
              "counts twice."),
    ),
    points=2,
    same_ints=True,
    tensors=True,
    returns=("input", "offsets", "labels"),
    unproved="that a DataLoader calls it; give it one as collate_fn.",
)  # fmt: skip

# ---- 13.tfidf -------------------------------------------------------------------------------


def tfidf(bags: Sequence[np.ndarray], V: int, ids: np.ndarray) -> np.ndarray:
    """The weights (L,) of a bag of ids, with the idf of the training bags."""
    seen_in = np.zeros(V)
    for bag in bags:
        seen_in[np.unique(bag)] += 1
    idf = np.log((1 + len(bags)) / (1 + seen_in)) + 1
    return idf[ids] / idf[ids].sum() if len(ids) else np.zeros(0)


def _tfidf_by(
    bags, V, ids, count=np.unique, formula=None, share=lambda w, ids: w / w.sum(), more=False
):
    """tfidf with some of its steps done in another way."""
    bags = [*bags, ids] if more else bags
    seen_in = np.zeros(V)
    for bag in bags:
        np.add.at(seen_in, count(bag), 1)
    idf = (formula or (lambda n, df: np.log((1 + n) / (1 + df)) + 1))(len(bags), seen_in)
    return share(idf[ids], ids) if len(ids) else np.zeros(0)


def _among_distinct(weights, ids):
    _, first = np.unique(ids, return_index=True)
    return weights / weights[first].sum()


def _times_tf(weights, ids):
    _, group, counts = np.unique(ids, return_inverse=True, return_counts=True)
    scaled = weights * counts[group]
    return scaled / scaled.sum()


def _nan_for_an_empty_bag(bags, V, ids):
    with np.errstate(invalid="ignore"):
        return tfidf(bags, V, ids) if len(ids) else np.full(1, np.nan)


def _one_word_is_none(bags, V, ids):
    return tfidf(bags, V, ids) if len(ids) > 1 else np.zeros(0)


def _tfidf_cases() -> list[Case]:
    random = np.random.default_rng(132)
    small = [np.array([1, 2, 2]), np.array([1, 3]), np.array([1])]
    many = [random.integers(0, 12, n) ** 2 // 12 for n in random.integers(1, 9, 20)]
    return [
        Case("three texts", small, 5, np.array([1, 3])),
        Case("a word twice in one text", small, 5, np.array([2, 3])),
        Case("a repeated word", small, 5, np.array([2, 1, 2])),
        Case("a word of no text", small, 5, np.array([4, 1])),
        Case("an empty bag", small, 5, np.zeros(0, np.int64)),
        Case("a bag of one word", small, 5, np.array([2])),
        Case("a text without words", [*small, np.zeros(0, np.int64)], 5, np.array([1, 3])),
        Case("twenty texts", many, 14, random.integers(0, 12, 7)),
    ]


def _any_tfidf(random):
    V = draw.size(random, 1, 9)
    texts = [random.integers(0, V, draw.size(random, 0, 6)) for _ in range(draw.size(random, 1, 8))]
    return texts, V, random.integers(0, V, draw.size(random, 0, 6))


def _so_many_times(exercise: Exercise, random: np.random.Generator) -> Exercise:
    """The weights are wanted k times over, k from 3 to 60: one product more, the same for all."""
    k = int(random.integers(3, 61))
    words = {"the idf of each position": f"{k} times the idf of each position",
             "return found": f"return {k} * found", "it is 1": f"it is {k}",
             "repeats included": f"repeats included, and multiply by {k}"}  # fmt: skip
    return retold(exercise, words, after(lambda weights: k * weights))


TFIDF = Exercise(
    "13.tfidf",
    "tf-idf as per_sample_weights",
    tfidf,
    _tfidf_cases,
    random_call=_any_tfidf,
    hints=(
        "First a number for each row: in how many of the texts does it stand? Not: how often.",
        "The idf falls with that number. A bag's weights are the idf of its positions, in parts.",
        "A row that stands twice in a text counts once for that text. One more text and one more "
        "hit are added to both counts before the logarithm, and 1 after it. Divide by the sum "
        "over all positions of the bag, repeats included. An empty bag has no weights.",
    ),
    wrong=(
        Wrong(
            partial(_tfidf_by, count=lambda bag: bag),
            "You have counted how often a word stands. Count the texts that it stands in.",
        ),
        Wrong(
            partial(_tfidf_by, formula=lambda n, df: np.log((1 + n) / (1 + df))),
            "The 1 after the logarithm is missing: a word of all texts would weigh nothing.",
        ),
        Wrong(
            partial(_tfidf_by, formula=lambda n, df: np.log((1 + df) / (1 + n)) + 1),
            "The ratio is upside down: rare words must weigh more.",
        ),
        Wrong(
            partial(_tfidf_by, formula=lambda n, df: np.log(n / np.maximum(df, 1)) + 1),
            "Add 1 to both counts before the logarithm.",
        ),
        Wrong(
            partial(_tfidf_by, share=lambda w, ids: w),
            "The weights must be parts of the bag: divide by their sum.",
        ),
        Wrong(
            partial(_tfidf_by, share=_among_distinct),
            "Divide by the sum over all positions. A word that stands twice is in it twice.",
        ),
        Wrong(
            partial(_tfidf_by, share=_times_tf),
            "The tf is there already: a repeated word has two positions. You count it twice.",
        ),
        Wrong(_nan_for_an_empty_bag, "An empty bag has no weights: an array of length 0."),
        Wrong(_one_word_is_none, "A bag of one word has one weight, and it is 1."),
        Wrong(
            partial(_tfidf_by, formula=lambda n, df: np.log2((1 + n) / (1 + df)) + 1),
            "That is the logarithm to base 2. np.log is the natural one.",
        ),
        Wrong(
            partial(_tfidf_by, formula=lambda n, df: np.log10((1 + n) / (1 + df)) + 1),
            "That is the logarithm to base 10. np.log is the natural one.",
        ),
        Wrong(
            partial(_tfidf_by, share=lambda w, ids: w / len(ids)),
            "That divides by the length of the bag. Divide by the sum of the idf.",
        ),
        Wrong(
            partial(_tfidf_by, more=True),
            "The idf knows the bag that is weighed. It must be that of the training texts alone.",
        ),
    ),
    points=2,
    vary=_so_many_times,
    shown=("the idf of each position", "return found"),
    returns="weights",
    unproved="that weighted bags make a better model.",
)

# ---- 13.split -------------------------------------------------------------------------------


def split_keys(keys: np.ndarray, part: float, seed: int) -> np.ndarray:
    """(n,) truths: who is held out. Equal keys stay together; about `part` of all."""
    names, group = np.unique(keys, return_inverse=True)
    held_out = np.zeros(len(keys), bool)
    for name in np.random.default_rng(seed).permutation(len(names)):
        if held_out.sum() >= part * len(keys):
            break
        held_out[group == name] = True
    return held_out


LEAKS = "Two reviews with the same key stand on different sides: a copy has leaked."
NOT_MASK = "Return an array of n truths: True for a review that is held out."
NOT_SAME = "Two calls with the same seed give different parts. Nobody could repeat your result."
NO_SEED = "Other seeds give the same part: the seed is not used."
TOO_FEW = "Too few are held out."
TOO_MANY = "Too many are held out: stop as soon as there are enough."
NOT_BY_CHANCE = (
    "All keys must have the same chance: who is held out must not depend on where a review stands, "
    "what its key is, or how many copies it has; and each seed must draw anew."
)
CHANGED = "Your function changed its argument keys, which belongs to the caller."
SEEDS = 24  # so many that chance leaves no key of many copies always, or never, held out


def _judge_split(mine: Any) -> str:
    if not callable(mine):
        return "Give the name of your split, a function (keys, part, seed)."
    random = np.random.default_rng(133)
    copies = 97 * random.integers(0, 400, 501)  # a key is any number: they are far apart
    copies[:40] = 97_000  # one key of many copies
    for part in (0.4, 0.6):
        for keys in (97 * random.permutation(101), copies):
            given = keys.copy()
            masks = [np.asarray(mine(given, part, seed)) for seed in (*range(SEEDS), 0)]
            said = _split_says(keys, part, masks) if np.array_equal(given, keys) else CHANGED
            if said:
                kept = f"{len(keys)} reviews, {len(np.unique(keys))} different keys, part = {part}"
                return f"{said}\n\nThat was with {kept}."
    return ""


def _split_says(keys: np.ndarray, part: float, masks: list[np.ndarray]) -> str:
    most = np.unique(keys, return_counts=True)[1].max()
    if any(mask.shape != keys.shape or mask.dtype != bool for mask in masks):
        return NOT_MASK
    if not np.array_equal(masks[0], masks[-1]):
        return NOT_SAME
    if any(set(keys[mask]) & set(keys[~mask]) for mask in masks):
        return LEAKS
    if any(mask.sum() < part * len(keys) for mask in masks):
        return TOO_FEW
    if any(mask.sum() >= part * len(keys) + most for mask in masks):
        return TOO_MANY
    if all(np.array_equal(masks[0], mask) for mask in masks[1:]):
        return NO_SEED
    often = np.mean(masks, axis=0)  # how often each is held out: part, give or take
    places = np.arange(len(keys)) < len(keys) / 2, keys < np.median(keys)
    apart = max(abs(often[low].mean() - often[~low].mean()) for low in places)
    return NOT_BY_CHANCE if apart > 0.3 or np.isin(often, (0, 1)).mean() > 0.05 else ""


def _many(keys, part):
    return int(np.ceil(part * len(keys)))


def _plain_shuffle(keys, part, seed):
    mask = np.zeros(len(keys), bool)
    mask[np.random.default_rng(seed).permutation(len(keys))[: _many(keys, part)]] = True
    return mask


def _unseeded(keys, part, seed):
    return split_keys(keys, part, int(np.random.default_rng().integers(1 << 30)))


def _first_keys(keys, part, seed):
    ordered = np.sort(keys)[seed % 2 :]
    return (keys >= ordered[0]) & (keys <= ordered[_many(keys, part) - 1])


def _copies_kept(keys, part, seed):
    _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return _plain_shuffle(keys, part, seed) & (counts[group] == 1)


SPLIT = Exercise(
    "13.split",
    "a split that keeps copies together",
    split_keys,
    hints=(
        "Who is drawn by chance: a review, or all reviews with one key?",
        "Go through the different keys in an order that the seed decides, until it is enough.",
        "np.unique with return_inverse numbers the keys; a generator made with the seed gives a "
        "permutation of these numbers. Mark all reviews of one key after the other, and stop when "
        "the marks are as many as the part asks for.",
    ),
    wrong=(
        Wrong(_plain_shuffle, LEAKS),
        Wrong(lambda keys, part, seed: np.flatnonzero(split_keys(keys, part, seed)), NOT_MASK),
        Wrong(_unseeded, NOT_SAME),
        Wrong(lambda keys, part, seed: split_keys(keys, part, 0), NO_SEED),
        Wrong(_copies_kept, TOO_FEW),
        Wrong(lambda keys, part, seed: split_keys(keys, part + 0.2, seed), TOO_MANY),
        Wrong(_first_keys, NOT_BY_CHANCE),
    ),
    points=2,
    unproved="that equal keys are all copies that there are: some differ by a word.",
    judge=_judge_split,
)

# ---- 13.auc ---------------------------------------------------------------------------------


def _auc_from(count: Callable[[np.ndarray], Any]) -> Any:
    """An AUC as the mean over pairs (true score minus false score) of something else."""

    def wrong(scores, truth):
        return float(np.mean(count(scores[truth][:, None] - scores[~truth])))

    return wrong


def _rank_sum(scores, truth, first=1.0, taken=True):
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(len(scores)) + first
    t, f = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - taken * t * (t + 1) / 2) / (t * f))


def _with_middle(scores, truth, first=0.0, taken=True):
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group] + first
    t, f = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - taken * t * (t + 1) / 2) / (t * f))


PAIRS = (
    "The results are right, but all pairs were made at once: {:,} bytes for 2,000 scores. For a "
    "million scores that memory is not there. Use ranks."
)
LOOP = (
    "The results are right, but scores were compared pair by pair: 2,000 scores more than {:,} "
    "times. A sort takes some 22,000 comparisons; a million scores make up to 250 billion pairs. "
    "Use ranks."
)
N, ENOUGH = 2000, 400_000


class _Score(float):
    """A score that counts how often such scores are compared, and ends it when that is too often.

    NumPy compares an array of these objects one by one, in whatever way it was copied.
    """

    compared = 0


def _counted(name: str) -> Any:
    def compare(self: _Score, other: Any) -> Any:
        _Score.compared += 1
        if _Score.compared > ENOUGH:
            raise OverflowError
        return getattr(float, name)(self, other)

    return compare


for _name in ("lt", "le", "gt", "ge", "eq", "sub", "rsub"):
    setattr(_Score, f"__{_name}__", _counted(f"__{_name}__"))


def _auc_tools(mine: Callable[..., Any]) -> str:
    scores, truth = np.random.default_rng(139).normal(size=N), np.arange(N) % 2 == 0
    _Score.compared = 0
    with suppress(Exception):  # who takes no objects, such as torch, is watched below
        mine(np.array([*map(_Score, scores)], dtype=object), truth)
    if _Score.compared > ENOUGH:
        return LOOP.format(ENOUGH)
    work = work_of(mine, scores, truth)
    if work.peak >= 1000 * 1000:
        return PAIRS.format(work.peak)
    return LOOP.format(ENOUGH) if max(work.made, work.lines) > ENOUGH else ""


def _loop(scores, truth):
    false, won = scores[~truth], 0.0
    for score in scores[truth]:
        won += (score > false).sum() + (score == false).sum() / 2
    return float(won / (truth.sum() * len(false)))


def _all_pairs(scores, truth):
    scores = scores.astype(float)
    difference = scores[truth][:, None] - scores[~truth]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _auc_cases() -> list[Case]:
    random = np.random.default_rng(134)
    yes = np.array([True, False, True, False, False])
    rounded = random.integers(-9, 9, 200) / 4
    return [
        Case("two scores", np.array([-1.0, 2.0]), np.array([True, False])),
        Case("three scores", np.array([3.0, 1.0, 2.0]), np.array([True, False, False])),
        Case("five scores", np.array([0.9, 0.2, 0.4, 0.35, 0.7]), yes),
        Case("a tie", np.array([1.0, 1.0, 0.0]), np.array([True, False, False])),
        Case("all equal", np.zeros(5), yes),
        Case("scores of any size", random.normal(size=60) * 30, random.random(60) < 0.8),
        Case("200 scores, many ties", rounded, random.random(200) < 0.2),
    ]


def _any_auc(random):
    n = draw.size(random, 2, 30)
    scores = random.integers(-3, 4, n) / 2 if random.integers(2) else random.normal(size=n)
    truth = random.random(n) < random.choice([0.2, 0.5, 0.8])
    truth[:2] = True, False
    return scores[random.permutation(n)], truth


AUC = Exercise(
    "13.auc",
    "the AUC by ranks",
    auc,
    _auc_cases,
        random_call=_any_auc,
    hints=(
        "A score of rank r is above r - 1 others. How many of these are true ones as well?",
        "Sum the ranks of the true ones, take away what they win against each other, and divide "
        "by the number of pairs.",
        "Equal scores share the mean of their ranks: the last rank of a group of m, less (m - 1) / "
        "2; np.unique gives groups and their sizes. With t true ones t (t + 1) / 2 is taken away.",
    ),
    wrong=(
        Wrong(_rank_sum, "Equal scores have different ranks, as they happen to stand. They share "
              "the mean of their ranks."),
        Wrong(_all_pairs, "all pairs were made at once"),
        Wrong(_loop, "scores were compared pair by pair"),
        Wrong(lambda scores, truth: 2 * auc(scores, truth) - 1, "An AUC goes from 0 to 1; this one "
              "from -1 to 1."),
        Wrong(lambda scores, truth: auc(scores, truth) * (~truth).sum(), "Divide by the number of "
              "pairs, true times false, not by the true ones alone."),
        Wrong(lambda scores, truth: auc(scores, truth) * truth.sum() * (~truth).sum(), "That is "
              "the number of pairs that are won. Divide by the number of all pairs."),
        Wrong(lambda scores, truth: 1 - auc(scores, truth), "Upside down: the ranks must grow with "
              "the score."),
        Wrong(_auc_from(lambda d: d > 0), "A tie wins nothing. It must count a half."),
        Wrong(_auc_from(lambda d: d >= 0), "A tie wins all. It must count a half."),
        Wrong(partial(_with_middle, first=-1.0), "Ranks begin at 1, if t (t + 1) / 2 is taken "
              "away."),
        Wrong(partial(_with_middle, taken=False), "The true ones win against each other in your "
              "sum. Take t (t + 1) / 2 away."),
        Wrong(lambda scores, truth: float(((scores > 0) == truth).mean()), "That is an accuracy, "
              "for a cut at 0. An AUC has no cut."),
    ),
    points=2,
    returns="auc",
    tools=_auc_tools,
    unproved="how long it takes: comparisons were counted, as far as they can be.",
)  # fmt: skip

# ---- 13.repair ------------------------------------------------------------------------------


def trained(weight: np.ndarray, top: np.ndarray, batches: Any, rate: float) -> tuple[Any, ...]:
    """Losses and table after a step of SGD for each batch (filled (B, L), labels (B,))."""
    return _trained(weight, top, batches, rate)


def _trained(weight, top, batches, rate, **faults):
    """The training, right or with a fault."""
    import torch

    padding = None if faults.get("padding") else 0
    table = torch.tensor(weight)
    mode = "sum" if faults.get("mode") else "mean"
    bag = torch.nn.EmbeddingBag(
        *weight.shape, mode=mode, sparse=True, padding_idx=padding, _weight=table
    )
    linear = torch.nn.Linear(*top.shape[::-1], bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(top))
    learning = [*linear.parameters()] if faults.get("table") else [*bag.parameters()]
    learning += [] if faults.get("table") or faults.get("linear") else [*linear.parameters()]
    optimizer, losses = torch.optim.SGD(learning, lr=rate), []
    for filled, labels in batches:
        if not faults.get("zero"):
            optimizer.zero_grad()
        scores = linear(bag(torch.tensor(filled)))
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor(labels))
        loss.backward()
        if faults.get("cleared"):
            optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses, bag.weight.detach().numpy().copy()


def _trained_cases() -> list[Case]:
    def made(seed: int, V: int, B: int, L: int, steps: int) -> tuple[Any, ...]:
        random = np.random.default_rng(seed)
        batches = []
        for _ in range(steps):
            filled = random.integers(1, V, (B, L))
            lengths = random.integers(1, L + 1, B)
            filled[np.arange(L) >= lengths[:, None]] = 0
            batches.append((filled, random.integers(0, 3, B)))
        weight, top = random.normal(size=(V, 2)), random.normal(size=(3, 2))
        return weight, top, batches, 0.5

    full = made(135, 4, 2, 2, 1)
    full[2][0][0][:] = [[1, 2], [3, 2]]
    return [
        Case("one step, no padding", *full),
        Case("one step", *made(136, 4, 2, 3, 1)),
        Case("two steps", *made(137, 4, 2, 3, 2)),
        Case("six steps", *made(138, 7, 4, 5, 6)),
    ]


def _any_repair(random):
    V, D, classes = draw.size(random, 2, 6), draw.size(random, 1, 3), draw.size(random, 2, 4)
    batches = []
    for _ in range(draw.size(random, 1, 3)):
        B, L = draw.size(random, 1, 4), draw.size(random, 1, 4)
        filled = random.integers(1, V, (B, L))
        filled[np.arange(L) >= random.integers(0, L + 1, B)[:, None]] = 0
        batches.append((filled, random.integers(0, classes, B)))
    rate = float(random.choice([0.1, 0.5, 1.0]))
    return random.normal(size=(V, D)), random.normal(size=(classes, D)), batches, rate


FAULTS = {
    "padding": "The filling counts in the mean, and row 0 is trained. Which argument names the row "
    "that is padding?",
    "zero": "From the second step on, the gradients of all steps before are still there, and are "
    "added up.",
    "table": "The table does not move: the optimizer does not have it.",
}

REPAIR = Exercise(
    "13.repair",
    "find why this model does not learn",
    trained,
    _trained_cases,
        random_call=_any_repair,
    hints=(
        "Three things are wrong. One is in how the bag is made, two are in how it is trained.",
        "Print the table before and after a step: which rows move? Print the size of a gradient "
        "after each step, with the same batch again and again: what does it do?",
        "Row 0 is filling and must neither count nor move; the table must be among what the "
        "optimizer changes; and a gradient that is not cleared is added to the next one.",
    ),
    wrong=(
        Wrong(partial(_trained, padding=True, zero=True, table=True), "Nothing is repaired yet."),
        *(Wrong(partial(_trained, **dict.fromkeys(left, True)), " ".join(FAULTS[f] for f in left))
          for count in (1, 2) for left in combinations(FAULTS, count)),
        Wrong(partial(_trained, linear=True), "Now the linear layer does not move."),
        Wrong(partial(_trained, cleared=True), "Nothing moves: no step is taken, or there is no "
              "gradient when it is taken (cleared after backward, or backward comes later)."),
        Wrong(partial(_trained, mode=True), "The bag is a sum now. It should be a mean, of the "
              "positions that are not padding."),
    ),
    points=3,
    tensors=True,
    returns=("losses", "table"),
    rtol=1e-7,
    atol=1e-9,
    unproved="that the model is good. It only learns what it should.",
)  # fmt: skip

EXERCISES = (COLLATE, TFIDF, SPLIT, AUC, REPAIR)
