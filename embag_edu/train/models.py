"""The classifier: a bag of words and a linear layer.

It takes the name of an implementation: "torch" is torch.nn.EmbeddingBag, the others are ours.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor

from embag_edu import nn
from embag_edu.data import PAD
from embag_edu.nn.implementations import names
from embag_edu.train.examples import Batch

IMPLEMENTATIONS = ("torch", *names())


def check_implementation(name: str) -> None:
    """Raise ValueError where this is no name of IMPLEMENTATIONS and no "module:Class"."""
    if name in IMPLEMENTATIONS:
        return
    if ":" not in name:
        raise ValueError(
            f"implementation is {name!r}; it must be one of {', '.join(IMPLEMENTATIONS)}, or a "
            "module of your own, as my_bag:MyBag"
        )
    try:
        resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"implementation is {name!r}, which could not be found: {error}. Run this in the "
            "folder that holds it"
        ) from error


def bag_of(implementation: str, rows: int, dim: int, **options: Any) -> Any:
    """An EmbeddingBag by torch, by one of ours or by a class of the caller's own ("module:Class").

    Its weights are small, and the same for the same seed.

    The module's own draw from N(0, 1) is for nobody's data: a row that is rare keeps its noise, and
    a review has some. As fastText does, weights are drawn evenly from -1/D to 1/D.
    """
    check_implementation(implementation)
    if ":" in implementation:
        dtype = options.pop("dtype", None)  # not every module of one's own takes a dtype
        bag = resolve_name(implementation)(rows, dim, **options).to(dtype)
    elif implementation == "torch":
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
