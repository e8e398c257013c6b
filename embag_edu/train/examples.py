"""From reviews to batches: the split, the ids of words and n-grams, tf-idf, the collate function.

    parts = split(reviews())                     which reviews are trained on, which are held out
    reader = read_with(texts)                    words and hashed n-grams -> row numbers
    Examples(reader, some_reviews, "department") a data set for torch's DataLoader
    DataLoader(examples, 256, collate_fn=collate)

Nothing here looks at a held-out review before it is asked to: vocabulary and tf-idf are those of
the texts that `read_with` is given.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from embag_edu.data import Review, Vocabulary, tokenize, vocabulary

DEPARTMENTS = ("Tops", "Dresses", "Bottoms", "Intimate", "Jackets", "Trend")
LABELS = {"department": DEPARTMENTS, "recommended": ("no", "yes")}
"""The classes of each task, in the order of their numbers."""

OPENING = 8  # words: reviews that begin with the same ones are taken for copies of each other


class Split(NamedTuple):
    """Row numbers of reviews, sorted: those to train on, and those to judge by."""

    train: np.ndarray
    held_out: np.ndarray


def split(records: Sequence[Review], part: float = 0.2, seed: int = 0) -> Split:
    """Put about `part` of the reviews aside, by chance, the same ones for the same seed.

    Reviews with the same first eight words stay together: the data has copies, and a copy of a
    review that was trained on proves nothing. Raises ValueError unless 0 < part < 1.
    """
    if not 0 < part < 1:
        raise ValueError(f"part is {part}; it must lie between 0 and 1, such as 0.2")
    groups: dict[tuple[str, ...], list[int]] = {}
    for at, record in enumerate(records):
        groups.setdefault(tuple(tokenize(record.text)[:OPENING]), []).append(at)
    members = list(groups.values())
    held_out: list[int] = []
    for group in np.random.default_rng(seed).permutation(len(members)):
        if len(held_out) >= part * len(records):
            break
        held_out += members[group]
    train = np.setdiff1d(np.arange(len(records)), held_out)
    return Split(train, np.sort(np.array(held_out, np.int64)))


# ---- words and n-grams ----------------------------------------------------------------------


def hashed_ngrams(words: Sequence[str], n: int, buckets: int) -> list[int]:
    """A bucket, 0 <= bucket < buckets, for each run of n neighboring words.

    There are too many pairs of words to give each a row: a hash chooses it, and some share one.
    CRC-32, since Python's own hash() of a string differs from one process to the next.

    >>> hashed_ngrams(["too", "tight", "too", "tight"], 2, 1000)
    [811, 823, 811]
    """
    runs = zip(*(words[k:] for k in range(n)), strict=False)
    return [zlib.crc32(" ".join(run).encode()) % buckets for run in runs]


@dataclass(frozen=True)
class Reader:
    """Turns a text into row numbers: those of its words, then those of its hashed pairs of words.

    known:   the vocabulary; its ids are rows 0 to len(known) - 1
    buckets: the rows after them, shared by all pairs of words; 0: no pairs
    idf:     (rows,) float32, how rare a row is: ln((1 + n) / (1 + n with the row)) + 1
    """

    known: Vocabulary
    buckets: int
    idf: np.ndarray

    @property
    def rows(self) -> int:
        """V, the number of rows that a table needs."""
        return len(self.known) + self.buckets

    def ids(self, text: str) -> np.ndarray:
        """(L,) int64, the row numbers of a text."""
        return _ids(self.known, self.buckets, text)

    def weights(self, ids: np.ndarray) -> np.ndarray:
        """(L,) float32, tf-idf: a row's idf in parts of the bag's; repeats make the tf."""
        idf: np.ndarray = self.idf[ids]
        return idf / max(float(idf.sum()), 1e-30)


def read_with(texts: Sequence[str], buckets: int = 1 << 16, min_count: int = 3) -> Reader:
    """The reader of some texts: its vocabulary and its idf are theirs and nobody else's."""
    if buckets < 0:
        raise ValueError(f"buckets is {buckets}; it must be 0 (no pairs of words) or more")
    known = vocabulary(texts, min_count)
    seen_in = np.zeros(len(known) + buckets, np.int64)
    for text in texts:
        seen_in[np.unique(_ids(known, buckets, text))] += 1
    idf = np.log((1 + len(texts)) / (1 + seen_in)) + 1
    return Reader(known, buckets, idf.astype(np.float32))


def _ids(known: Vocabulary, buckets: int, text: str) -> np.ndarray:
    words = tokenize(text)
    pairs = hashed_ngrams(words, 2, buckets) if buckets else []
    return np.array([*known.encode(words), *(len(known) + pair for pair in pairs)], np.int64)


# ---- a data set, and its batches ------------------------------------------------------------


class Example(NamedTuple):
    """One review: the ids of its bag (L,), their weights (L,) or None, its label."""

    ids: np.ndarray
    weights: np.ndarray | None
    label: int


class Batch(NamedTuple):
    """B reviews as the arguments of EmbeddingBag, and their labels (B,)."""

    input: Tensor  # (N,) int64
    offsets: Tensor  # (B,) int64
    weights: Tensor | None  # (N,)
    labels: Tensor  # (B,) int64

    def to(self, device: Any, dtype: torch.dtype = torch.float32) -> Batch:
        """The batch where a model is, the weights in its dtype."""
        weights = None if self.weights is None else self.weights.to(device, dtype)
        return Batch(
            self.input.to(device), self.offsets.to(device), weights, self.labels.to(device)
        )


def collate(batch: Sequence[Example]) -> Batch:
    """Join examples to a batch: all ids end to end, and where each bag begins."""
    lengths = [len(example.ids) for example in batch]
    offsets = np.cumsum([0, *lengths[:-1]])
    input = np.concatenate([example.ids for example in batch])
    weights = [example.weights for example in batch if example.weights is not None]
    return Batch(
        torch.from_numpy(input),
        torch.from_numpy(offsets),
        torch.from_numpy(np.concatenate(weights)) if weights else None,
        torch.tensor([example.label for example in batch]),
    )


class Examples(torch.utils.data.Dataset):
    """Reviews as examples of a task, for a DataLoader with `collate_fn=collate`.

    task: "department" (6 classes) or "recommended" (2); weighted: with tf-idf weights.
    """

    def __init__(
        self, reader: Reader, records: Sequence[Review], task: str, weighted: bool = False
    ) -> None:
        number = {name: k for k, name in enumerate(labels_of(task))}
        self.examples = []
        for record in records:
            ids = reader.ids(record.text)
            weights = reader.weights(ids) if weighted else None
            self.examples.append(Example(ids, weights, number[label_name(record, task)]))
        self.labels = np.array([example.label for example in self.examples], np.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, at: int) -> Example:
        return self.examples[at]


def labels_of(task: str) -> tuple[str, ...]:
    """The names of a task's classes. Raises ValueError for another task."""
    if task not in LABELS:
        raise ValueError(f"task is {task!r}; it must be one of {', '.join(LABELS)}")
    return LABELS[task]


def label_name(record: Review, task: str) -> str:
    """What there is to predict about a review."""
    if task == "department":
        return record.department
    return LABELS["recommended"][record.recommended]
