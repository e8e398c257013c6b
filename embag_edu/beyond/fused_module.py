"""`FusedEmbeddingBag`: a torch module whose table is updated in the backward.

    model.bag = FusedEmbeddingBag(V, D, mode="sum", optimizer=RowWiseAdagrad(lr=0.1))
    others = torch.optim.Adagrad(dense_parameters(model), lr=0.1)
    for batch in batches:
        model.zero_grad()
        loss_of(model, batch).backward()  # the tables take their step here
        others.step()

A gradient that is used up at once can't be added to, divided or clipped later. So `weight.grad` is
a tensor without numbers after a backward, until `zero_grad`; whoever reads it gets an error that
says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from embag_edu import nn
from embag_edu.arrays import to_array, to_tensor
from embag_edu.beyond import used_up
from embag_edu.beyond.fused import OPTIMIZERS, Optimizer
from embag_edu.beyond.fused_api import backward
from embag_edu.nn.bags import Bags
from embag_edu.nn.implementations import backend_of, resolved
from embag_edu.spec import Saved, bag_sizes


class FusedEmbeddingBag(used_up.CountsSteps, nn.EmbeddingBag):
    """`EmbeddingBag` in modes sum and mean, with an optimizer that steps in the backward.

    optimizer: what `embag_edu.beyond` has; its lr is read at the backward, so a schedule is
        `bag.optimizer.lr = ...`. Tables may share one.
    The other arguments are those of `embag_edu.nn.EmbeddingBag`; ValueError for mode "max" and for
    sparse=True. max_norm rescales rows in the forward, before and apart from any step.

    Every backward that reaches the output is a step; so is one by torch.autograd.grad. In the
    state_dict: weight, the optimizer's arrays (optimizer_sum, ...), the count of steps.

    RuntimeError at the backward, before anything has changed: if the table has another use in the
    same graph; if there was a backward since the last `zero_grad`, for gradients can't be
    accumulated; with create_graph=True. Clipping, or an optimizer of torch's on the table, raises
    when it reads `weight.grad`. A scaled loss (torch.amp.GradScaler) is not noticed: the step would
    be by the scaled gradient.
    """

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
        optimizer: Optimizer,
        implementation: str = "auto",
    ) -> None:
        if mode not in ("sum", "mean") or sparse:
            raise ValueError(
                f"mode is {mode!r}, sparse is {sparse!r}; a fused step takes mode 'sum' or 'mean', "
                "and has no gradient that could be sparse.\n  To mend it: embag_edu.nn.EmbeddingBag"
            )
        if type(optimizer) not in OPTIMIZERS:
            raise ValueError(
                f"optimizer is a {type(optimizer).__name__}; valid: SGD, Adagrad, RowWiseAdagrad "
                "or Adam of embag_edu.beyond, as SGD(lr=0.1)"
            )
        super().__init__(
            num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            _weight, include_last_offset, padding_idx, device, dtype, implementation=implementation,
        )  # fmt: skip
        self.optimizer, self.steps = optimizer, 0
        used_up.hold_state(self, optimizer)

    @torch.compiler.disable
    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """The bags of input, (B, D)."""
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input, offsets, per_sample_weights)
        if isinstance(input, Tensor) and input.is_nested:
            raise NotImplementedError(
                "input is nested; a fused step takes values and offsets.\n  To mend it: "
                "bag(input.values(), input.offsets()), with include_last_offset=True."
            )
        return _Step.apply(self.weight, per_sample_weights, self, input, offsets)

    def output_of(self, input: Tensor, offsets: Tensor | None, psw: Tensor | None) -> Tensor:
        """The forward, without a graph."""
        return super().forward(input, offsets, psw)

    def fused_tables(self) -> list[torch.nn.Parameter]:
        """What no optimizer of torch's has to update."""
        return [self.weight]

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, embeddings: Tensor, freeze: bool = True, **options: Any
    ) -> FusedEmbeddingBag:
        """A module on a given table (V, D), shared, not copied; a frozen one takes no step.

        options: those of the class, `optimizer` among them.
        """
        rows, dim = embeddings.shape
        module = cls(rows, dim, _weight=embeddings, **options)
        module.weight.requires_grad_(not freeze)
        return module

    def extra_repr(self) -> str:
        """As `EmbeddingBag`'s, with the optimizer."""
        return f"{super().extra_repr()}, optimizer={self.optimizer}"


def dense_parameters(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """The parameters that an optimizer of torch's has to update: all but the fused tables."""
    fused: Any = (getattr(module, "fused_tables", tuple)() for module in model.modules())
    tables = {id(table) for of_module in fused for table in of_module}
    return (parameter for parameter in model.parameters() if id(parameter) not in tables)


class _Step(torch.autograd.Function):
    """The forward, and the step in place of a gradient."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, psw: Tensor | None, module: FusedEmbeddingBag, *bags: Any
    ) -> Tensor:
        input, offsets = bags
        output = module.output_of(input, offsets, psw)
        ctx.module = module
        ctx.save_for_backward(psw, input, offsets, weight if ctx.needs_input_grad[1] else None)
        used_up.note_use(ctx, weight)
        return output

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        module, weight = ctx.module, ctx.module.weight
        psw, input, offsets, _ = ctx.saved_tensors
        used_up.check_step(ctx, weight)
        bags = Bags(
            input, offsets, module.include_last_offset, module.padding_idx, module.mode,
            module.scale_grad_by_freq, False, resolved(module.implementation, weight.is_cuda),
        )  # fmt: skip
        backend = backend_of(weight, {"grad_output": g}, bags.implementation)
        with backend.session(weight):
            call, upstream = backend.call_of(weight, psw, bags), to_array(g)
            backend.check_upstream(call, upstream)
            saved, state = Saved(bag_sizes=bag_sizes(call)), module.state
            words = (module.optimizer, state, bags.implementation)
            of_psw = backward(call, saved, upstream, *words)
        module.steps = state.step
        used_up.note_step(ctx, weight)
        return None, None if of_psw is None else to_tensor(of_psw), None, None, None
