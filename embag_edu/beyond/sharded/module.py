"""ShardedEmbeddingBag: torch's module over a table that no process has whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embag_edu.arrays import to_array
from embag_edu.beyond import used_up
from embag_edu.beyond.fused import Optimizer, RowWiseAdagrad
from embag_edu.beyond.sharded import table
from embag_edu.beyond.sharded.shards import cut
from embag_edu.beyond.sharded.wire import Wire
from embag_edu.spec import Call, bag_sizes, make_call

DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


class ShardedEmbeddingBag(used_up.CountsSteps):
    """EmbeddingBag whose table is cut over all processes of a `Wire`.

    Every process makes it with the same arguments, and calls it with bags of its own, as many as it
    likes. What it returns is what `torch.nn.EmbeddingBag` with the whole table would: to rounding
    where rows are cut, and bit by bit column- and table-wise. A forward and a backward are calls
    that all processes make together; one with no bags gives an empty input.

    sharding: "row", "column" or "table" (then `owner` is the process that has it all).
    weight:   (V, D), the whole table, of which each process keeps its part; None draws one.
    name:     names the table in errors.
    optimizer: one of `embag_edu.beyond`; then the backward takes its step, each owner on its own
              rows, as `FusedEmbeddingBag` does, with what that refuses. On the CPU; modes "sum" and
              "mean".
    The others are those of torch's module; frequencies are counted in the global batch.

    `weight` is a parameter, this process's rectangle. Its gradient is the SUM over all homes: what
    one process would have for the global batch, if its loss is the sum of theirs. (DDP takes the
    mean; divide the losses by the number of processes for that.) Keep the module out of what DDP
    wraps: DDP would mix the rectangles of all processes.

    dtypes: float32 or float64; indices int64 or int32. Raises what `torch.nn.EmbeddingBag` raises
    for bad arguments, before anything is sent, and then PeerError in the other processes.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        sharding: str = "row",
        owner: int = 0,
        wire: Wire | None = None,
        weight: Tensor | None = None,
        optimizer: Optimizer | None = None,
        dtype: torch.dtype = torch.float32,
        name: str = "table",
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.include_last_offset = include_last_offset
        dtype = dtype if weight is None else weight.dtype
        self.weight = torch.nn.Parameter(torch.empty(0, dtype=dtype))  # until the options are known
        self._check_table(weight)
        self.wire = Wire() if wire is None else wire
        self.sharding, self.owner = sharding, owner
        self.options = table.Options(
            name=name,
            V=num_embeddings,
            D=embedding_dim,
            shards=tuple(cut(num_embeddings, embedding_dim, self.wire.world, sharding, owner)),
            mode=mode,
            padding_idx=padding_idx,
            max_norm=None if max_norm is None else float(max_norm),
            norm_type=float(norm_type),
            scale_grad_by_freq=scale_grad_by_freq,
            optimizer=type(optimizer).__name__ if optimizer else "no optimizer",
        )
        nothing = torch.zeros(1, dtype=torch.int64)
        call = self._checked(nothing[:0], nothing, None)  # raises for wrong options
        self.options = dataclasses.replace(self.options, padding_idx=call.padding_idx)
        self.weight = torch.nn.Parameter(self._part(weight).to(self.wire.device))
        self._take(optimizer)

    def _take(self, optimizer: Optimizer | None) -> None:
        """State of the optimizer, for this process's rectangle."""
        if optimizer is not None and (self.options.mode == "max" or self.weight.is_cuda):
            raise ValueError(
                f"optimizer is {self.options.optimizer}, mode {self.options.mode!r}, device "
                f"{self.weight.device}; valid: mode 'sum' or 'mean', on the CPU\n  To mend it: "
                "optimizer=None, and one of torch's on module.parameters()."
            )
        if self.sharding == "column" and isinstance(optimizer, RowWiseAdagrad):
            optimizer = across_columns(optimizer, self.options, self.wire)
        self.optimizer, self.steps = optimizer, 0
        if optimizer is not None:
            used_up.hold_state(self, optimizer)

    def _check_table(self, weight: Tensor | None) -> None:
        V, D = self.num_embeddings, self.embedding_dim
        for name, value in (("num_embeddings", V), ("embedding_dim", D)):
            if value < 1:
                raise ValueError(f"{name} is {value}; valid: 1 or more")
        self._numpy_dtype()
        if weight is not None and weight.shape != (V, D):
            raise ValueError(
                f"weight has shape {tuple(weight.shape)}; valid: the whole table, ({V}, {D})"
            )

    def _numpy_dtype(self) -> type:
        if self.weight.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.weight.dtype}; valid: torch.float32, torch.float64")
        return DTYPES[self.weight.dtype]

    def _part(self, weight: Tensor | None) -> Tensor:
        mine, padding = self.options.shards[self.wire.rank], self.options.padding_idx
        rows, columns = (slice(r.start, r.stop) for r in (mine.rows, mine.columns))
        if weight is not None:
            return weight.detach()[rows, columns].clone(memory_format=torch.contiguous_format)
        # Processes that were seeded alike would otherwise draw the same rows.
        random = torch.Generator().manual_seed(torch.initial_seed() + self.wire.rank)
        part = torch.randn(
            len(mine.rows), len(mine.columns), generator=random, dtype=self.weight.dtype
        )
        if padding is not None and padding in mine.rows:
            part[padding - mine.rows.start] = 0
        return part

    @torch.compiler.disable
    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        """(B, D): the bags of this process. The arguments are those of `torch.nn.EmbeddingBag`."""
        try:
            home = self._home(input, offsets, per_sample_weights)
        except Exception as error:
            self.wire.agree("", [[]] * self.wire.world, refused=error)
            raise
        output: Tensor = _Bag.apply(self.weight, home.weights, self, home)
        return output

    def _home(self, input: Tensor, offsets: Tensor | None, psw: Tensor | None) -> table.Bags:
        call = self._checked(input, offsets, psw)
        kept = torch.from_numpy(np.flatnonzero(call.indices != call.padding_idx))
        kept = kept.to(self.wire.device)
        return table.Bags(
            rows=input.reshape(-1)[kept].long(),
            lengths=torch.from_numpy(bag_sizes(call)).to(self.wire.device),
            weights=None if psw is None else psw.reshape(-1)[kept],
            wants_grad=psw is not None and psw.requires_grad and torch.is_grad_enabled(),
            padding=len(kept) < call.num_positions,
        )

    def _checked(self, input: Tensor, offsets: Tensor | None, psw: Tensor | None) -> Call:
        """The call, checked by `spec` as in one process; the table is only a shape there."""
        shape = (self.num_embeddings, self.embedding_dim)
        given: dict[str, Any] = {"input": input, "offsets": offsets, "per_sample_weights": psw}
        for name, value in given.items():
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"{name} must be a Tensor, not {type(value).__name__}")
            given[name] = None if value is None else to_array(value.detach().cpu())
        return make_call(
            weight=np.broadcast_to(np.zeros((), self._numpy_dtype()), shape),
            scale_grad_by_freq=self.options.scale_grad_by_freq,
            mode=self.options.mode,
            include_last_offset=self.include_last_offset,
            padding_idx=self.options.padding_idx,
            **given,
        )

    def step(self, gradient: table.Rows) -> None:
        """One step of the optimizer on the rows of this owner that were touched, in place."""
        assert self.optimizer is not None
        self.steps += 1
        if len(gradient.rows):
            rows, weight, state = to_array(gradient.rows), to_array(self.weight), self.state
            w, slots = weight[rows], [array[rows] for array in state.arrays.values()]
            self.optimizer.update(w, to_array(gradient.sums), slots, self.steps)
            weight[rows] = w
            for array, slot in zip(state.arrays.values(), slots, strict=True):
                array[rows] = slot

    def agree_on_backward(self, ctx: Any) -> None:
        """Open the call; or tell all others that this process can't take a step, and raise."""
        refused = None
        try:
            if torch.is_grad_enabled():
                raise RuntimeError("create_graph=True: a sharded backward has no derivative")
            if self.optimizer is not None:
                self.optimizer.check()
                used_up.check_step(ctx, self.weight)
        except (RuntimeError, ValueError) as error:
            refused = error
        words = f"backward of {self.options.words(self.weight.dtype)}"
        self.wire.agree(words, [[]] * self.wire.world, refused)

    def extra_repr(self) -> str:
        """What `print` shows."""
        mine = self.options.shards[self.wire.rank]
        return (
            f"{self.num_embeddings}, {self.embedding_dim}, mode={self.options.mode}, "
            f"sharding={self.sharding}, rows {mine.rows.start} to {mine.rows.stop}, columns "
            f"{mine.columns.start} to {mine.columns.stop}"
        )


class _Bag(torch.autograd.Function):
    """The forward and backward of `table`, as autograd wants them."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, weights: Tensor | None, module: ShardedEmbeddingBag, home: Any
    ) -> Tensor:
        if weights is not None:
            home = home._replace(weights=weights.detach())
        output, ctx.trip = table.forward(module.options, weight.detach(), module.wire, home)
        ctx.module = module
        ctx.save_for_backward(weight)
        if module.optimizer is not None:
            used_up.note_use(ctx, weight)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        module, (weight,) = ctx.module, ctx.saved_tensors
        module.agree_on_backward(ctx)
        gradient, grad_weights = table.backward(
            module.options, weight.detach(), module.wire, ctx.trip, grad_output.detach()
        )
        if module.optimizer is not None:
            module.step(gradient)
            used_up.note_step(ctx, module.weight)
            return None, grad_weights, None, None
        grad = torch.zeros_like(weight)
        grad[gradient.rows] = gradient.sums
        return grad, grad_weights, None, None


def across_columns(optimizer: RowWiseAdagrad, options: table.Options, wire: Wire) -> RowWiseAdagrad:
    """Row-wise Adagrad column-wise: the mean of squares is of the whole row, so owners add up.

    Without that each owner takes the mean over its own columns; that is another optimizer.
    """

    class AcrossColumns(RowWiseAdagrad):
        def formula(self, w, g, h, step) -> None:  # type: ignore
            squares = torch.from_numpy(np.square(g).sum(axis=1))
            parts = [squares[: 0 if shard.empty else None] for shard in options.shards]
            parts = wire.swap("squares", parts, parts)
            h += sum(to_array(part) for part in parts if len(part)) / options.D
            w -= (self.lr / (np.sqrt(h) + self.eps))[:, None] * g

    return AcrossColumns(optimizer.lr, optimizer.weight_decay, optimizer.eps)
