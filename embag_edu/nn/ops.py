"""The operators as torch's dispatcher knows them: `torch.ops.embag_edu.*`. Nothing on gradients.

Each has a kernel for real tensors, which asks an implementation, and one for tensors without data
("fake"), which says what shape comes out: `torch.compile` and `torch.export` ask that one. Wrong
arguments are found by the real one, so a compiled call raises what an eager call raises.

Letters: V rows in weight, D features, N positions, B bags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from embag_edu.api import implementation_of
from embag_edu.arrays import to_array, to_tensor
from embag_edu.nn import versions
from embag_edu.nn.bags import Bags
from embag_edu.nn.implementations import (
    Kept,
    as_array,
    as_saved,
    backend_of,
    keep,
    kept,
    same_device,
)

# "bag_mode", for torch's own machinery has an argument "mode" that an operator's may not be called.
BAGS = (
    "Tensor input, Tensor? offsets, bool include_last_offset, int? padding_idx, str bag_mode, "
    "bool scale_grad_by_freq, bool sparse, str implementation"
)
GRADIENT = "Tensor grad_output, Tensor? per_sample_weights, Tensor saved, SymInt num_embeddings"


def _operator(name: str, takes: str, gives: str, mutates: tuple[str, ...] = ()) -> Callable:
    schema = f"({takes}, {BAGS}) -> {gives}"
    register = torch.library.custom_op(f"embag_edu::{name}", mutates_args=mutates, schema=schema)

    def with_kernel(kernel: Callable) -> Any:
        operator = register(kernel)
        operator.kernel = kernel
        return operator

    return with_kernel


def call(operator: Any, *arguments: Any) -> Any:
    """What the operator gives; from its kernel, if nobody else would hear of the call.

    torch's dispatcher takes longer than a small call does. It is there for tensors of other kinds
    (batched, without data, in a graph), for modes, profilers and gradients.
    """
    if torch.is_grad_enabled() or is_in_torch_dispatch_mode() or torch.autograd._profiler_enabled():
        return operator(*arguments)
    for value in arguments[:-OPTIONS]:
        if isinstance(value, Tensor) and _dispatch_keys(value).raw_repr() != PLAIN:
            return operator(*arguments)
    return operator.kernel(*arguments)


_dispatch_keys = torch._C._dispatch_keys  # what the dispatcher goes by
PLAIN = _dispatch_keys(torch.empty(0)).raw_repr()  # on the CPU
OPTIONS = len(Bags._fields) - 2  # so many arguments, the last, are no tensors


# ---- output ---------------------------------------------------------------------------------


@_operator("embedding_bag", "Tensor weight, Tensor? per_sample_weights", "(Tensor, Tensor)")
def embedding_bag(weight: Tensor, psw: Tensor | None, *options: Any) -> tuple[Tensor, Tensor]:
    """The output (B, D), and `saved`: see `implementations`."""
    bags = Bags(*options)
    backend = _backend(weight, bags, per_sample_weights=psw)
    with backend.session(weight):
        call = backend.call_of(weight, psw, bags)
        output, known = implementation_of(bags.implementation).forward(call)
        saved = to_tensor(as_array(call, known))
        if weight.is_leaf:  # one that was computed may be let go before the backward
            keep(saved, Kept(backend, call, known, (*weight.shape, weight.dtype), (psw, *bags)))
        return to_tensor(output), saved


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


@_operator("embedding_bag_grad_weight", GRADIENT, "Tensor")
def grad_weight(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any
) -> Tensor:
    """The dense gradient of weight, (V, D)."""
    bags = Bags(*options)
    if bags.sparse:
        bags = bags._replace(sparse=False)
    return _grad_weight(grad_output, psw, saved, V, bags)[0]


@grad_weight.register_fake
def _(grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any) -> Tensor:
    return grad_output.new_empty(V, grad_output.shape[1])


@_operator("embedding_bag_grad_weight_sparse", GRADIENT, "(Tensor, Tensor)")
def grad_weight_sparse(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any
) -> tuple[Tensor, Tensor]:
    """Indices (1, nnz) and values (nnz, D): an entry for each position that is not padding."""
    indices, values = _grad_weight(grad_output, psw, saved, V, Bags(*options))
    return indices, values


@grad_weight_sparse.register_fake
def _(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, *options: Any
) -> tuple[Tensor, Tensor]:
    bags, D = Bags(*options), grad_output.shape[1]
    nnz = bags.input.numel() if D else 0
    if bags.padding_idx is not None and D:  # how many are padding, only the data can tell
        nnz = versions.size_from_data()
    return grad_output.new_empty(1, nnz, dtype=torch.int64), grad_output.new_empty(nnz, D)


def _grad_weight(
    grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, bags: Bags
) -> list[Tensor]:
    """[dense], or [indices, values]."""
    table = (V, grad_output.shape[-1], grad_output.dtype)
    made = kept(saved, table, (psw, *bags)) or _made_again(grad_output, psw, saved, V, bags)
    backend, call, known, *_ = made
    with backend.session(grad_output):
        upstream = to_array(grad_output)
        backend.check_upstream(call, upstream)
        grad = implementation_of(bags.implementation).grad_weight(call, known, upstream)
        return [to_tensor(array) for array in (grad[:2] if bags.sparse else [grad])]


def _made_again(grad_output: Tensor, psw: Tensor | None, saved: Tensor, V: int, bags: Bags) -> Kept:
    # The gradient takes weight's shape and dtype only: a blank of one number stands in for it.
    weight = grad_output.new_empty_strided((V, grad_output.shape[-1]), (0, 0))
    backend = _backend(weight, bags, per_sample_weights=psw, saved=saved)
    with backend.session(weight):
        call = backend.call_of(weight, psw, bags)
        return Kept(backend, call, as_saved(call, to_array(saved)), (), ())


@_operator(
    "embedding_bag_grad_per_sample_weights",
    "Tensor grad_output, Tensor weight, Tensor saved",
    "Tensor",
)
def grad_per_sample_weights(
    grad_output: Tensor, weight: Tensor, saved: Tensor, *options: Any
) -> Tensor:
    """The gradient of per_sample_weights, in input's shape."""
    bags = Bags(*options)
    backend = _backend(weight, bags, grad_output=grad_output, saved=saved)
    with backend.session(weight):
        call, upstream = backend.call_of(weight, None, bags), to_array(grad_output)
        backend.check_upstream(call, upstream)
        chosen = implementation_of(bags.implementation)
        kept = as_saved(call, to_array(saved))
        return to_tensor(chosen.grad_per_sample_weights(call, kept, upstream))


@grad_per_sample_weights.register_fake
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
    backend = _backend(weight, bags, per_sample_weights=psw)
    with backend.session(weight):
        call = backend.call_of(weight, psw, bags, max_norm, norm_type)
        implementation_of(bags.implementation).renorm(call)


@renorm_.register_fake
def _(weight: Tensor, psw: Tensor | None, *options: Any) -> None:
    return None


def _backend(weight: Tensor, bags: Bags, **others: Tensor | None) -> Any:
    return backend_of(weight, _others(bags, **others), bags.implementation)


def _others(bags: Bags, **others: Tensor | None) -> dict[str, Tensor | None]:
    return {"input": bags.input, "offsets": bags.offsets, **others}
