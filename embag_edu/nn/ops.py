"""The operators as torch's dispatcher knows them: `torch.ops.embag_edu.*`. Nothing on gradients.

Each has an implementation for real tensors, which asks a rung, and one for tensors without data
("fake"), which says what shape comes out: `torch.compile` and `torch.export` ask that one. Wrong
arguments are found by the real one, so a compiled call raises what an eager call raises.

Letters: V rows in weight, D features, N positions, B bags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from embag_edu.nn import implementations, versions
from embag_edu.nn.on_cpu import Bags, same_device, world_of

# "bag_mode", for torch's own machinery has an argument "mode" that an operator's may not be called.
BAGS = (
    "Tensor input, Tensor? offsets, bool include_last_offset, int? padding_idx, str bag_mode, "
    "bool scale_grad_by_freq, bool sparse, str implementation"
)
GRADIENT = "Tensor grad_output, Tensor? per_sample_weights, Tensor saved, SymInt num_embeddings"


def _operator(name: str, takes: str, gives: str, mutates: tuple[str, ...] = ()) -> Callable:
    schema = f"({takes}, {BAGS}) -> {gives}"
    return torch.library.custom_op(f"embag_edu::{name}", mutates_args=mutates, schema=schema)


# ---- output ---------------------------------------------------------------------------------


@_operator("embedding_bag", "Tensor weight, Tensor? per_sample_weights", "(Tensor, Tensor)")
def embedding_bag(weight: Tensor, psw: Tensor | None, *options: Any) -> tuple[Tensor, Tensor]:
    """The output (B, D), and `saved`: see `implementations`."""
    bags = Bags(*options)
    world = _world(weight, bags, per_sample_weights=psw)
    with world.session(weight):
        call = world.call_of(weight, psw, bags)
        output, saved = implementations.forward(call, bags.implementation)
        return world.to_tensor(output), world.to_tensor(saved)


@embedding_bag.register_fake
def _(weight: Tensor, psw: Tensor | None, *options: Any) -> tuple[Tensor, Tensor]:
    bags = Bags(*options)
    same_device(weight, _others(bags, per_sample_weights=psw))
    B, D = _num_bags(bags), weight.shape[-1]
    shape = (B, D) if bags.mode == "max" else (B,)
    return weight.new_empty(B, D), weight.new_empty(shape, dtype=torch.int64)


def _num_bags(bags: Bags) -> Any:
    if bags.offsets is None or bags.input.dim() == 2:
        return bags.input.shape[0]
    return bags.offsets.shape[0] - int(bags.include_last_offset)


# ---- gradients ------------------------------------------------------------------------------


@_operator("embedding_bag_weight_gradient", GRADIENT, "Tensor")
def weight_gradient(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any
) -> Tensor:
    """The dense gradient of weight, (V, D)."""
    bags = Bags(*options)._replace(sparse=False)
    return _weight_gradient(grad_output, psw, saved, V, bags)[0]


@weight_gradient.register_fake
def _(grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any) -> Tensor:
    return grad_output.new_empty(V, grad_output.shape[1])


@_operator("embedding_bag_sparse_gradient", GRADIENT, "(Tensor, Tensor)")
def sparse_gradient(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any
) -> tuple[Tensor, Tensor]:
    """Indices (1, nnz) and values (nnz, D): an entry for each position that is not padding."""
    indices, values = _weight_gradient(grad_output, psw, saved, V, Bags(*options))
    return indices, values


@sparse_gradient.register_fake
def _(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any
) -> tuple[Tensor, Tensor]:
    bags, D = Bags(*options), grad_output.shape[1]
    nnz = bags.input.numel() if D else 0
    if bags.padding_idx is not None and D:  # how many are padding, only the data can tell
        nnz = versions.size_from_data()
    return grad_output.new_empty(1, nnz, dtype=torch.int64), grad_output.new_empty(nnz, D)


def _weight_gradient(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, bags: Bags
) -> list[Tensor]:
    """[dense], or [indices, values]."""
    # The gradient takes weight's shape and dtype only: a blank of one number stands in for it.
    weight = grad_output.new_zeros(()).expand(V, grad_output.shape[-1])
    world = _world(weight, bags, per_sample_weights=psw, saved=saved)
    with world.session(weight):
        call, upstream = world.call_of(weight, psw, bags), world.to_array(grad_output)
        world.check_upstream(call, upstream)
        found = implementations.weight_gradient(
            call, bags.implementation, world.to_array(saved), upstream
        )
        return [world.to_tensor(array) for array in (found[:2] if bags.sparse else [found])]


@_operator("embedding_bag_weights_gradient", "Tensor grad_output, Tensor weight, Tensor saved",
           "Tensor")  # fmt: skip
def weights_gradient(grad_output: Tensor, weight: Tensor, saved: Tensor, *options: Any) -> Tensor:
    """The gradient of per_sample_weights, in input's shape."""
    bags = Bags(*options)
    world = _world(weight, bags, grad_output=grad_output, saved=saved)
    with world.session(weight):
        call, upstream = world.call_of(weight, None, bags), world.to_array(grad_output)
        world.check_upstream(call, upstream)
        kept = world.to_array(saved)
        return world.to_tensor(
            implementations.weights_gradient(call, bags.implementation, kept, upstream)
        )


@weights_gradient.register_fake
def _(grad_output: Tensor, weight: Tensor, saved: Tensor, *options: Any) -> Tensor:
    return weight.new_empty(Bags(*options).input.shape)


# ---- max_norm -------------------------------------------------------------------------------


@_operator(
    "embedding_bag_renorm_",
    "Tensor(a!) weight, Tensor? per_sample_weights, float max_norm, float norm_type",
    "()",
    ("weight",),
)
def renorm_(
    weight: Tensor, psw: Tensor | None, max_norm: float, norm_type: float, *options: Any
) -> None:
    """Rescale in place the rows that occur and are too long: after every check of the call."""
    bags = Bags(*options)
    world = _world(weight, bags, per_sample_weights=psw)
    with world.session(weight):
        implementations.renorm(
            world.call_of(weight, psw, bags, max_norm, norm_type), bags.implementation
        )


@renorm_.register_fake
def _(weight: Tensor, psw: Tensor | None, *options: Any) -> None:
    return None


def _world(weight: Tensor, bags: Bags, **others: Tensor | None) -> Any:
    return world_of(weight, _others(bags, **others), bags.implementation)


def _others(bags: Bags, **others: Tensor | None) -> dict[str, Tensor | None]:
    return {"input": bags.input, "offsets": bags.offsets, **others}
