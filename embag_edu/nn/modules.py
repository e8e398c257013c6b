"""`EmbeddingBag`: torch's module over the implementations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from embag_edu.nn import functional, implementations


class EmbeddingBag(torch.nn.EmbeddingBag):
    """`torch.nn.EmbeddingBag` with a choice of implementation; everything else is torch's.

    num_embeddings, embedding_dim: V and D.
    The other arguments are torch's, in torch's order; those that the function has are explained at
    `embag_edu.nn.functional.embedding_bag`. `_weight`: (V, D), used as it is and not copied.
    implementation: "loops", "vectorized", "cuda" or "auto". Raises ValueError for another name.

    `weight` is drawn from N(0, 1): the same numbers as torch's under the same seed.

    >>> bag = EmbeddingBag(10, 3, mode="sum", padding_idx=0)
    >>> bag(torch.tensor([[1, 2, 0], [4, 0, 0]])).shape
    torch.Size([2, 3])
    """

    # A subclass, because a program may ask isinstance(module, torch.nn.EmbeddingBag): to choose how
    # to initialize, to shard or not to decay a table. And what is inherited can't drift: the
    # parameters, their draws, the checks of padding_idx, state_dict, attributes.

    implementation: str = "auto"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        implementation: str = "auto",
    ) -> None:
        implementations.resolved(implementation, on_gpu=False)
        super().__init__(
            num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            _weight, include_last_offset, padding_idx, device, dtype,
        )  # fmt: skip
        self.implementation = implementation

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """The bags of input, (B, D)."""
        return functional.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.mode, self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
            implementation=self.implementation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """As torch's; the implementation is shown where it was chosen."""
        chosen = self.implementation
        return super().extra_repr() + (f", implementation={chosen!r}" if chosen != "auto" else "")

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        implementation: str = "auto",
    ) -> EmbeddingBag:
        """A module on a given table (V, D), which is shared, not copied.

        freeze: the table gets no gradient. The other arguments are those of the class.
        """
        implementations.resolved(implementation, on_gpu=False)
        module: EmbeddingBag = super().from_pretrained(
            embeddings, freeze, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            include_last_offset, padding_idx,
        )  # fmt: skip
        module.implementation = implementation
        return module
