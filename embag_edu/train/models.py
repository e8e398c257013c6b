"""The classifier: a bag of words and a linear layer.

It takes the name of an implementation: "torch" is torch.nn.EmbeddingBag, the others are ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from embag_edu import nn
from embag_edu.data import PAD
from embag_edu.nn.implementations import names
from embag_edu.train.examples import Batch

IMPLEMENTATIONS = ("torch", *names())


def bag_of(implementation: str, rows: int, dim: int, **options: Any) -> torch.nn.EmbeddingBag:
    """An EmbeddingBag by torch or by one of ours, with small weights, the same for the same seed.

    The module's own draw from N(0, 1) is for nobody's data: a row that is rare keeps its noise, and
    a review has some. As fastText does, weights are drawn evenly from -1/D to 1/D.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation is {implementation!r}; it must be one of {', '.join(IMPLEMENTATIONS)}"
        )
    if implementation == "torch":
        bag = torch.nn.EmbeddingBag(rows, dim, **options)
    else:
        bag = nn.EmbeddingBag(rows, dim, implementation=implementation, **options)
    torch.nn.init.uniform_(bag.weight, -1 / dim, 1 / dim)
    if bag.padding_idx is not None:
        with torch.no_grad():
            bag.weight[bag.padding_idx] = 0
    return bag


class TextClassifier(torch.nn.Module):
    """fastText's classifier: the mean of a text's rows in a table (V, D), and a linear layer."""

    # weighted: batches have weights, and a bag is their weighted sum. options: EmbeddingBag's.
    def __init__(
        self,
        rows: int,
        dim: int,
        classes: int,
        weighted: bool = False,
        implementation: str = "torch",
        **options: Any,
    ) -> None:
        super().__init__()
        options = {"mode": "sum" if weighted else "mean", "padding_idx": PAD, **options}
        self.bag = bag_of(implementation, rows, dim, **options)
        self.linear = torch.nn.Linear(dim, classes, dtype=options.get("dtype"))

    def forward(self, batch: Batch) -> Tensor:
        """The scores (B, classes) of a batch."""
        return self.linear(self.bag(batch.input, batch.offsets, batch.weights))
