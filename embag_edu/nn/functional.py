"""`embedding_bag` with torch's signature, and a choice of implementations.

    from embag_edu.nn import functional as F

`with_loops`, `with_vectorized` and `with_cuda` are the same function with that implementation, so
that each has a name: `python -m embag_edu check embag_edu.nn.functional:with_loops`.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType
from torch.nn.functional import embedding_bag as torchs  # a program may put ours in its place
from torch.overrides import handle_torch_function, has_torch_function

from embag_edu import spec
from embag_edu.nn import autograd, implementations, versions
from embag_edu.nn.bags import Bags

__all__ = ["embedding_bag", "with_cuda", "with_loops", "with_vectorized"]


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    implementation: str = "auto",
) -> Tensor:
    """Sum, average or maximum of the rows of each bag: `torch.nn.functional.embedding_bag`.

    input:   (N,) row numbers with offsets, or (B, L): B bags of L; int32 or int64. Or a jagged
        nested tensor, which brings its own offsets.
    weight:  (V, D), the table; float16, bfloat16, float32 or float64.
    offsets: (B,) where each bag starts; (B + 1,), its end too, with include_last_offset.
    max_norm, norm_type: rows that occur and whose norm_type-norm is larger than max_norm are
        rescaled in `weight` itself before they are read; gradients do not see it.
    scale_grad_by_freq: divide the gradient of each row by how often it occurs in input.
    mode:    "sum", "mean" or "max". An empty bag gives zeros in each.
    sparse:  the gradient of weight is a sparse tensor.
    per_sample_weights: input's shape, weight's dtype; mode "sum" only.
    padding_idx: a row (negative: counted from the end) whose positions count for nothing.
    implementation: "loops", "vectorized", "cuda" or "auto": "cuda" for a weight on a GPU, else
        "vectorized". Without a GPU, "cuda" runs its kernels on the processor.

    Returns a new tensor (B, D) in weight's dtype. Beyond torch's own function, it has derivatives
    of every order, forward-mode ones, and a rule for vmap. Errors are those of
    `embag_edu.spec.make_call`: ValueError, RuntimeError, IndexError, NotImplementedError or
    TypeError, as torch's; a call that raises has changed nothing. What is wrong with indices or
    offsets on a GPU is raised by a later call: see `embag_edu.cuda.checking`.

    >>> weight = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> embedding_bag(torch.tensor([0, 2, 1]), weight, torch.tensor([0, 2]), mode="sum")
    tensor([[ 4., 40.],
            [ 2., 20.]])
    """
    tensors = (input, weight, offsets, per_sample_weights)
    options = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights)
    words = (input, weight, offsets, *options, include_last_offset, padding_idx)
    if has_torch_function(tensors):
        return handle_torch_function(embedding_bag, tensors, *words, implementation=implementation)
    if versions.is_exporting() or torch.jit.is_tracing() or _is_functionalized():
        # What leaves Python runs where this package is not: torch's own operator is written down.
        return torchs(*words)
    _check_tensors(*tensors)
    input, weight = _in_todays_order(input, weight)
    if input.is_nested or (per_sample_weights is not None and per_sample_weights.is_nested):
        input, offsets, per_sample_weights = _unnested(input, per_sample_weights)
        include_last_offset = True
    bags = Bags(
        input, offsets, include_last_offset, padding_idx, mode, scale_grad_by_freq, sparse,
        implementations.resolved(implementation, weight.is_cuda),
    )  # fmt: skip
    if not _plain(bags, max_norm, norm_type):
        renorm = max_norm, norm_type
        bags, max_norm, norm_type = _as_spec_reads(bags, weight, per_sample_weights, *renorm)
    if max_norm is not None:
        torch.ops.embag_edu.embedding_bag_renorm_(
            weight.detach(), per_sample_weights, float(max_norm), float(norm_type), *bags
        )
    return autograd.output(weight, per_sample_weights, bags)[0]


with_loops = functools.partial(embedding_bag, implementation="loops")
with_vectorized = functools.partial(embedding_bag, implementation="vectorized")
with_cuda = functools.partial(embedding_bag, implementation="cuda")


def _check_tensors(*tensors: Any) -> None:
    names = ("input", "weight", "offsets", "per_sample_weights")
    for name, value in zip(names, tensors, strict=True):
        if value is None and name in names[2:]:
            continue
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise spec.NotAnArray(
                f"'{kind}' object has no attribute 'dim': {name} must be a torch.Tensor, not a "
                f"{kind}\n  To mend it: torch.as_tensor({name})."
            )
        if (value.layout != torch.strided or value.is_quantized) and not value.is_nested:
            layout = "quantized" if value.is_quantized else str(value.layout).removeprefix("torch.")
            raise NotImplementedError(
                f"Could not run embedding_bag: {name} is a {layout} tensor, and must be a dense one"
                f"\n  To mend it: {name}.{'dequantize' if value.is_quantized else 'to_dense'}()."
            )


def _in_todays_order(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Swap the deprecated order (weight, input), which torch still takes with a warning."""
    if not (weight.dtype == torch.int64 and input.is_floating_point()):
        return input, weight
    warnings.warn(
        "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, "
        "input, ...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`.",
        stacklevel=3,
    )
    return weight, input


def _unnested(input: Tensor, psw: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values, offsets (B + 1,) and weights of a jagged input."""
    if psw is not None and (input.size() != psw.size() or input.is_nested != psw.is_nested):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({psw.shape}) is not None, then it must have "
            f"the same shape as the input ({input.shape})\n  To mend it: make both jagged, with "
            "the same offsets, or neither."
        )
    if input.dim() != 2:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    input = input.contiguous()  # without holes, which torch.nested.narrow leaves and torch reads
    weights = None if psw is None else psw.contiguous().values()
    return input.values(), input.offsets(), weights


def _is_functionalized() -> bool:
    """Whether torch.func.functionalize is at work, which has no rule for an autograd.Function."""
    if torch.compiler.is_compiling():
        return False  # what is compiled can't ask
    transforms = torch._C._functorch.get_interpreter_stack() or ()
    return any(one.key() == TransformType.Functionalize for one in transforms)


def _plain(bags: Bags, max_norm: Any, norm_type: Any) -> bool:
    """Whether the options have the types that an operator takes; what they say is not looked at."""
    return (
        type(bags.mode) is str
        and type(bags.include_last_offset) is bool
        and type(bags.scale_grad_by_freq) is bool
        and type(bags.sparse) is bool
        and (bags.padding_idx is None or _fits(bags.padding_idx))
        and (max_norm is None or (spec._is_number(max_norm) and spec._is_number(norm_type)))
    )


def _fits(padding_idx: Any) -> bool:
    return type(padding_idx) is int and -(2**63) <= padding_idx < 2**63


def _as_spec_reads(
    bags: Bags, weight: Tensor, psw: Tensor | None, max_norm: Any, norm_type: Any
) -> tuple[Bags, float | None, float]:
    """The options as spec has read them, such as NumPy's integers; or what spec raises."""
    others = {"input": bags.input, "offsets": bags.offsets, "per_sample_weights": psw}
    backend = implementations.backend_of(weight, others, bags.implementation)
    bags = bags._replace(padding_idx=_number(bags.padding_idx))
    with backend.session(weight):
        renorm = () if max_norm is None else (_number(max_norm), _number(norm_type))
        call = backend.call_of(weight, psw, bags, *renorm)
    bags = bags._replace(mode=str(call.mode), padding_idx=call.padding_idx)
    return bags, call.max_norm, call.norm_type


def _number(value: Any) -> Any:
    """What a tensor of no dimension holds, which torch takes for a number; else the value."""
    held = isinstance(value, Tensor) and value.dim() == 0 and not value.requires_grad
    return value.item() if held else value
