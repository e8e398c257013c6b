"""Derivatives of every order, forward and reverse, from one observation.

Modes sum and mean are linear in the table W and in the weights s. Take any upstream gradient g:

    T(W, s, g) = sum over positions i of  share_i * s_i * (W[x_i] . g[bag(i)])

share_i is 1, or 1 / n_b in mode mean. T is linear in each of its three arguments, and its three
partial derivatives are the operator and its two gradients:

    output(W, s) = dT/dg    grad_weight(g, s) = dT/dW    grad_per_sample_weights(g, W) = dT/ds

So the derivatives of each of the three are the other two, without end. Mode max is linear too once
the winners are known: `pick` and its transpose.

Each of the three is an autograd.Function that calls an operator of `ops`, with a rule for reverse
mode (`backward`), for forward mode (`jvp`) and for batches (`vmap`). torch.compile does not look
inside ("allow_in_graph"): it would refuse a Function that has a jvp. What it compiles calls the
Function, so that a compiled call has the same rules as an eager one.

The operators themselves are registered with the same rules, as far as torch.library takes them: it
takes no jvp, and forward-mode tangents are silently lost there. So call the functions.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import Function, forward_ad

from embag_edu.nn import batching, ops
from embag_edu.nn.bags import Bags

NO_OPTIONS = (None,) * len(Bags._fields)  # options have no gradient
Grad: TypeAlias = "Tensor | None"


@torch.compiler.allow_in_graph
def output(weight: Tensor, psw: Grad, bags: Bags) -> tuple[Tensor, Tensor]:
    """The output (B, D), and `saved`."""
    return Output.apply(weight, psw, *bags)


@torch.compiler.allow_in_graph
def grad_weight(g: Tensor, psw: Grad, saved: Tensor, V: int, bags: Bags) -> Tensor:
    """The gradient of weight, (V, D). A sparse one has no derivative of its own."""
    if not bags.sparse:
        return GradWeight.apply(g, psw, saved, V, *bags)
    indices, values = ops.call(ops.grad_weight_sparse, g, psw, saved, V, *bags)
    return torch.sparse_coo_tensor(indices, values, (V, g.shape[1]), check_invariants=False)


@torch.compiler.allow_in_graph
def grad_per_sample_weights(g: Tensor, weight: Tensor, saved: Tensor, bags: Bags) -> Tensor:
    """The gradient of per_sample_weights, in input's shape."""
    return GradPerSampleWeights.apply(g, weight, saved, *bags)


class Rules(Function):
    """A Function that is applied without delay, as long as nobody transforms it."""

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """As Function's, which looks up at each call what the arguments are called."""
        if torch._C._are_functorch_transforms_active():
            return super().apply(*arguments)
        if not torch.is_grad_enabled() and forward_ad._current_level < 0:
            return cls.forward(*arguments)
        tensors, options = arguments[: -ops.OPTIONS], arguments[-ops.OPTIONS :]
        return super(Function, cls).apply(*unwrap_dead_wrappers(tensors), *options)


class Output(Rules):
    """output(W, s)."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        return ops.call(ops.embedding_bag, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        weight, psw, *options = inputs
        bags = Bags(*options)
        ctx.mark_non_differentiable(output[1])
        ctx.num_embeddings = weight.shape[0]
        # As in torch, the table may change before the backward unless the weights' gradient,
        # which reads it, is wanted.
        needed = weight if ctx.needs_input_grad[1] else None
        keep(ctx, bags, needed, psw, output[1])
        keep_for_jvp(ctx, bags, weight, psw, output[1])

    @staticmethod
    def backward(ctx: Any, g: Grad, _: Any) -> tuple:
        bags, weight, psw, saved = kept(ctx)
        of_weight = of_psw = None
        if g is not None and ctx.needs_input_grad[0]:
            of_weight = grad_weight(g, psw, saved, ctx.num_embeddings, bags)
        if g is not None and ctx.needs_input_grad[1]:
            of_psw = grad_per_sample_weights(g, weight, saved, bags)
        return of_weight, of_psw, *NO_OPTIONS

    @staticmethod
    def jvp(ctx: Any, weight_t: Grad, psw_t: Grad, *_: Any) -> tuple[Grad, None]:
        bags, weight, psw, saved = kept(ctx)
        if bags.mode == "max":
            return None if weight_t is None else pick(weight_t, saved), None
        by_weight = None if weight_t is None else output(weight_t, psw, bags.plain())[0]
        by_psw = None if psw_t is None else output(weight, psw_t, bags.plain())[0]
        return total(by_weight, by_psw), None

    vmap = staticmethod(partial(batching.output, output))


class GradWeight(Rules):
    """grad_weight(g, s), dense."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return ops.call(ops.grad_weight, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        g, psw, saved, ctx.num_embeddings, *options = inputs
        keep(ctx, Bags(*options), g, psw, saved)
        keep_for_jvp(ctx, Bags(*options), g, psw, saved)

    @staticmethod
    def backward(ctx: Any, table: Grad) -> tuple:
        """table: the upstream gradient, (V, D): it takes the place of W in T."""
        bags, g, psw, saved = kept(ctx)
        of_g = of_psw = None
        if table is not None and bags.mode == "max":
            of_g = pick(table, saved)
        elif table is not None:
            if bags.scale_grad_by_freq:
                table = divided_by_frequency(table, bags.input)
            if ctx.needs_input_grad[0]:
                of_g = output(table, psw, bags.plain())[0]
            if ctx.needs_input_grad[1]:
                of_psw = grad_per_sample_weights(g, table, saved, bags.plain())
        return of_g, of_psw, None, None, *NO_OPTIONS

    @staticmethod
    def jvp(ctx: Any, g_t: Grad, psw_t: Grad, *_: Any) -> Grad:
        bags, g, psw, saved = kept(ctx)
        V = ctx.num_embeddings
        by_g = None if g_t is None else grad_weight(g_t, psw, saved, V, bags)
        by_psw = None if psw_t is None else grad_weight(g, psw_t, saved, V, bags)
        return total(by_g, by_psw)

    vmap = staticmethod(partial(batching.grad_weight, grad_weight))


class GradPerSampleWeights(Rules):
    """grad_per_sample_weights(g, W)."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return ops.call(ops.grad_per_sample_weights, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        g, weight, saved, *options = inputs
        keep(ctx, Bags(*options), g, weight, saved)
        keep_for_jvp(ctx, Bags(*options), g, weight, saved)

    @staticmethod
    def backward(ctx: Any, psw: Grad) -> tuple:
        """psw: the upstream gradient, in input's shape: it takes the place of s in T."""
        bags, g, weight, saved = kept(ctx)
        of_g = of_weight = None
        if psw is not None and ctx.needs_input_grad[0]:
            of_g = output(weight, psw, bags.plain())[0]
        if psw is not None and ctx.needs_input_grad[1]:
            of_weight = grad_weight(g, psw, saved, weight.shape[0], bags.plain())
        return of_g, of_weight, None, *NO_OPTIONS

    @staticmethod
    def jvp(ctx: Any, g_t: Grad, weight_t: Grad, *_: Any) -> Grad:
        bags, g, weight, saved = kept(ctx)
        by_g = None if g_t is None else grad_per_sample_weights(g_t, weight, saved, bags)
        by_weight = None if weight_t is None else grad_per_sample_weights(g, weight_t, saved, bags)
        return total(by_g, by_weight)

    vmap = staticmethod(partial(batching.grad_per_sample_weights, grad_per_sample_weights))


for operator, function in (
    (ops.embedding_bag, Output),
    (ops.grad_weight, GradWeight),
    (ops.grad_per_sample_weights, GradPerSampleWeights),
):
    operator.register_autograd(function.backward, setup_context=function.setup_context)
    operator.register_vmap(function.vmap)


@ops.grad_weight_sparse.register_autograd
def no_derivative(*_: Any) -> NoReturn:
    """What create_graph=True leads to, where the gradient of a sparse one is wanted."""
    raise NotImplementedError(
        "embedding_bag: a sparse gradient has no derivative.\n  To mend it: sparse=False."
    )


ops.grad_weight_sparse.register_vmap(batching.grad_weight_sparse)
ops.renorm_.register_vmap(partial(batching.renorm_, torch.ops.embag_edu.embedding_bag_renorm_))


# ---- what the rules are made of -------------------------------------------------------------


def keep(ctx: Any, bags: Bags, *tensors: Grad) -> None:
    """Save tensors and bags; a tensor that is changed before it is read again is noticed."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(bags.input, bags.offsets, *tensors)
    ctx.options = bags[2:]


def keep_for_jvp(ctx: Any, bags: Bags, *tensors: Grad) -> None:
    """The same for forward mode, which comes at once."""
    ctx.save_for_forward(bags.input, bags.offsets, *tensors)


def kept(ctx: Any) -> tuple[Any, ...]:
    """The bags, and what else was saved."""
    input, offsets, *tensors = ctx.saved_tensors
    return Bags(input, offsets, *ctx.options), *tensors


def total(one: Grad, other: Grad) -> Grad:
    """Their sum; None counts as zero."""
    if one is None or other is None:
        return one if other is None else other
    return one + other


def pick(table: Tensor, winners: Tensor) -> Tensor:
    """The element table[winners[b, d], d] for each (b, d), and zero where nobody won."""
    if table.shape[0] == 0:
        return table.new_zeros(winners.shape)
    return table.gather(0, winners.clamp(min=0)).masked_fill(winners < 0, 0)


def divided_by_frequency(table: Tensor, input: Tensor) -> Tensor:
    """Each row divided by how often it occurs in the whole input."""
    ones = torch.ones_like(input, dtype=torch.float32).flatten()
    counts = torch.zeros_like(table[:, 0], dtype=torch.float32).index_add(0, input.flatten(), ones)
    return (table / counts.clamp(min=1)[:, None]).to(table.dtype)
