"""A recommender with several tables, DLRM in miniature: will this buyer recommend this piece?

    found = compare(Plan("recommended"))   # name of a model -> its held-out AUC

The features of a review are its item, the item's class, the age of the buyer and the words. The
rating is none of them: it says what is to be predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from embag_edu.data import Review, bags, reviews
from embag_edu.train.examples import Reader, read_with, split
from embag_edu.train.fitting import History, Plan, auc, fit
from embag_edu.train.models import bag_of

FEATURES = ("item", "class", "age", "words")
UNSEEN = 0  # the row of an item that nobody has trained on


def feature_of(record: Review, name: str) -> int | str:
    """What a review has for a feature other than its words; ages by tens."""
    values: dict[str, int | str]
    values = {"item": record.item, "class": record.class_, "age": record.age // 10}
    return values[name]


class Tables(NamedTuple):
    """Which value of which feature has which row; learnt from the training reviews alone."""

    reader: Reader
    numbers: dict[str, dict[int | str, int]]  # feature -> value -> row, from 1 on

    def rows(self, names: Sequence[str] = FEATURES) -> dict[str, int]:
        """The rows that the table of each feature needs."""
        sizes = {name: len(numbers) + 1 for name, numbers in self.numbers.items()}
        sizes["words"] = self.reader.rows
        return {name: sizes[name] for name in names}


def tables_for(records: Sequence[Review], buckets: int) -> Tables:
    """Number the values of each feature that occur in some reviews."""
    numbers = {}
    for name in FEATURES[:-1]:
        values = sorted({feature_of(record, name) for record in records}, key=str)
        numbers[name] = {value: row for row, value in enumerate(values, 1)}
    return Tables(read_with([record.text for record in records], buckets), numbers)


class Batch(NamedTuple):
    """B reviews: for each feature the bags (input, offsets), and the labels (B,)."""

    bags: dict[str, tuple[Tensor, Tensor]]
    labels: Tensor


class Examples(torch.utils.data.Dataset):
    """Reviews as (ids of each feature, label); most bags hold one id, those of words many."""

    def __init__(self, tables: Tables, records: Sequence[Review]) -> None:
        self.examples = []
        for record in records:
            ids = {
                n: [rows.get(feature_of(record, n), UNSEEN)] for n, rows in tables.numbers.items()
            }
            ids["words"] = tables.reader.ids(record.text).tolist()
            self.examples.append((ids, int(record.recommended)))
        self.labels = np.array([label for _, label in self.examples], np.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, at: int) -> tuple[dict[str, list[int]], int]:
        return self.examples[at]


def collate(batch: Sequence[tuple[dict[str, list[int]], int]]) -> Batch:
    """Join examples to a batch, feature by feature."""
    joined = {}
    for name in FEATURES:
        input, offsets = bags([ids[name] for ids, _ in batch])
        joined[name] = torch.from_numpy(input), torch.from_numpy(offsets)
    return Batch(joined, torch.tensor([label for _, label in batch]))


def with_products(vectors: Tensor) -> Tensor:
    """Vectors (B, F, D), and the dot product of each pair: (B, F D + F (F - 1) / 2)."""
    products = vectors @ vectors.transpose(1, 2)
    one, other = torch.triu_indices(vectors.shape[1], vectors.shape[1], 1)
    return torch.cat([vectors.flatten(1), products[:, one, other]], 1)


class Recommender(torch.nn.Module):
    """A table for each feature, the dot products of their vectors, and two layers on top.

    rows: name of a feature -> rows of its table; a batch brings a bag of each.
    The vectors of a review, one of D numbers for each feature, meet in pairs: a dot product for
    each. Vectors and products go through a hidden layer to two scores.
    Source: Naumov et al., Deep Learning Recommendation Model (2019), section 2.
    """

    def __init__(
        self,
        rows: Mapping[str, int],
        dim: int = 16,
        hidden: int = 32,
        *,
        implementation: str = "torch",
        **options: Any,
    ) -> None:
        super().__init__()
        tables = {name: bag_of(implementation, V, dim, **options) for name, V in rows.items()}
        self.tables = torch.nn.ModuleDict(tables)
        pairs = len(rows) * (len(rows) - 1) // 2
        self.top = torch.nn.Sequential(
            torch.nn.Linear(len(rows) * dim + pairs, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, 2),
        )

    def forward(self, batch: Batch) -> Tensor:
        """The scores (B, 2) of a batch."""
        vectors = torch.stack([bag(*batch.bags[name]) for name, bag in self.tables.items()], 1)
        return self.top(with_products(vectors))


SETS = {"words alone": ("words",), "no words": FEATURES[:-1], "all": FEATURES}
"""The models that are compared: the same architecture, over some of the features."""


class Outcome(NamedTuple):
    """A recommender, how its training went, and its held-out AUC."""

    model: Recommender
    history: History
    auc: float


def compare(
    plan: Plan, records: Sequence[Review] | None = None, names: Sequence[str] = tuple(SETS)
) -> dict[str, Outcome]:
    """Train a recommender over each set of features, all on the same split."""
    records = reviews() if records is None else records
    train, held_out = ([records[k] for k in part] for part in split(records, seed=plan.seed))
    train = train[: plan.limit]
    tables = tables_for(train, plan.buckets)
    sets = Examples(tables, train), Examples(tables, held_out)
    return {name: _outcome(plan, tables.rows(SETS[name]), *sets) for name in names}


def _outcome(plan: Plan, rows: dict[str, int], train: Examples, held_out: Examples) -> Outcome:
    torch.manual_seed(plan.seed)
    model = Recommender(rows, plan.dim, implementation=plan.implementation, mode="mean")
    order = torch.Generator().manual_seed(plan.seed)
    batches: Any = DataLoader(train, plan.batch_size, True, generator=order, collate_fn=collate)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=plan.rate)
    history = fit(model, batches, optimizer, plan.epochs)
    with torch.no_grad():
        scores = torch.cat([model(b) for b in DataLoader(held_out, 1024, collate_fn=collate)])
    return Outcome(model, history, auc((scores[:, 1] - scores[:, 0]).numpy(), held_out.labels == 1))
