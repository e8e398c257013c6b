"""`EmbeddingBag`: torch's module over the implementations."""

from __future__ import annotations

import copy
import warnings
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

    implementation = "auto"

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
        if is_leaf(self, input):
            return as_leaf(self, input, offsets, per_sample_weights)
        return functional.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.mode, self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
            implementation=self.implementation,
        )  # fmt: skip

    def __prepare_scriptable__(self) -> torch.nn.EmbeddingBag:
        """What torch.jit.script compiles in its place: torch's module on the same table."""
        if type(self) is not EmbeddingBag:
            return self  # a forward of its own must not get lost
        torchs = copy.copy(self)
        torchs.__class__ = EmbeddingBag.__base__  # a program may put ours in torch.nn's place
        return torchs

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "qconfig":  # what torch.ao.quantization gives each module, before anything else
            _refuse_quantization(value)
        super().__setattr__(name, value)

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


def is_leaf(module: EmbeddingBag, input: Any) -> bool:
    """Whether torch.fx traces a model that has this module: it looks into all but torch's own."""
    traced = isinstance(input, torch.fx.Proxy) and type(module) is EmbeddingBag
    return traced and input.tracer.root is not module


def as_leaf(module: EmbeddingBag, input: Any, *others: Any) -> Any:
    """The call as one node of torch.fx's graph."""
    name = input.tracer.path_of_module(module)
    return input.tracer.create_proxy("call_module", name, (input, *others), {})


def _refuse_quantization(qconfig: Any) -> None:
    """torch.ao.quantization goes by a module's exact class, and would pass over ours in silence."""
    said = (
        "torch.ao.quantization quantizes torch.nn.EmbeddingBag, not embag_edu.nn.EmbeddingBag"
        "{}.\n  To mend it: quantize a model that has torch's, and loads this one's state_dict{}."
    )
    if qconfig is not None:
        own = ", or give this module the qconfig None, to leave it in floating point"
        raise NotImplementedError(said.format("", own))
    warnings.warn(said.format(", which stays in floating point", ""), stacklevel=4)
