"""The public functions: torch's signature, NumPy arrays, a choice of implementation."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu.spec import (
    Call,
    Gradients,
    Implementation,
    Saved,
    bag_sizes,
    check_backward,
    make_call,
)

# Each of them satisfies `spec.Implementation`. One more is a module that does, and a line here.
IMPLEMENTATIONS = {
    "loops": "embag_edu.loops",
    "vectorized": "embag_edu.vectorized",
    "cuda": "embag_edu.cuda",
}


def embedding_bag(
    input: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    implementation: str = "loops",
) -> np.ndarray:
    """Sum, average or maximum of the rows of each bag: `torch.nn.functional.embedding_bag`.

    input:   (N,) row numbers with offsets, or (B, L): B bags of L. int32 or int64.
    weight:  (V, D), the table; float16, bfloat16, float32 or float64.
    offsets: (B,) where each bag starts; (B + 1,), its end too, with include_last_offset.
    max_norm, norm_type: rows that occur and whose norm_type-norm is larger than max_norm are
        rescaled in `weight` itself before they are read.
    scale_grad_by_freq, sparse: matter for the backward only.
    mode:    "sum", "mean" or "max". An empty bag gives zeros in each.
    per_sample_weights: input's shape, weight's dtype; mode "sum" only.
    padding_idx: a row (negative: counted from the end) whose positions count for nothing.
    implementation: one of `IMPLEMENTATIONS`.

    Returns a new array (B, D) in weight's dtype. Errors: see `embag_edu.spec.make_call`.

    >>> weight = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> embedding_bag(np.array([0, 2, 1]), weight, np.array([0, 2]), mode="sum")
    array([[ 4., 40.],
           [ 2., 20.]])
    """
    chosen = implementation_of(implementation)
    call = make_call(
        input,
        weight,
        offsets,
        max_norm,
        norm_type,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )
    output: np.ndarray = chosen.forward(call)[0]
    return output


def embedding_bag_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    implementation: str = "loops",
) -> Gradients:
    """The gradients of `embedding_bag` for an upstream gradient grad_output, (B, D).

    The other arguments are those of the forward. `weight` is the table as the forward left it:
    max_norm is not applied again, and, as in torch, the gradient does not see the rescaling.

    Returns Gradients(weight, per_sample_weights): weight (V, D), or with sparse=True a
    `SparseGradient`; per_sample_weights in input's shape, None if the call has none.

    >>> weight = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> grad_output = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> embedding_bag_backward(
    ...     grad_output, np.array([0, 2, 2]), weight, np.array([0, 2]), mode="sum"
    ... ).weight
    array([[1., 2.],
           [0., 0.],
           [4., 6.]])
    """
    chosen = implementation_of(implementation)
    call = make_call(
        input,
        weight,
        offsets,
        None,
        norm_type,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )
    grad_output = check_backward(call, grad_output)
    # Only a forward can tell who won; the rest is known without one, and it takes half the time.
    saved = chosen.forward(call)[1] if mode == "max" else Saved(bag_sizes=bag_sizes(call))
    return _gradients(chosen, call, saved, grad_output)


def embedding_bag_vjp(
    input: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    implementation: str = "loops",
) -> tuple[np.ndarray, Callable[[np.ndarray], Gradients]]:
    """The output, and a function from grad_output (B, D) to `Gradients`: as `torch.func.vjp`.

    The backward takes over what the forward has found out, and the arguments, those of
    `embedding_bag`, are checked once. It reads them again: leave them as they are until then.

    >>> weight = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> output, backward = embedding_bag_vjp(np.array([[0, 2]]), weight, mode="max")
    >>> output, backward(np.array([[1.0, 2.0]])).weight
    (array([[ 3., 30.]]), array([[0., 0.],
           [0., 0.],
           [1., 2.]]))
    """
    chosen = implementation_of(implementation)
    call = make_call(
        input,
        weight,
        offsets,
        max_norm,
        norm_type,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )
    output, saved = chosen.forward(call)

    def backward(grad_output: np.ndarray) -> Gradients:
        return _gradients(chosen, call, saved, check_backward(call, grad_output))

    return output, backward


def _gradients(
    chosen: Implementation, call: Call, saved: Saved, grad_output: np.ndarray
) -> Gradients:
    weight = chosen.grad_weight(call, saved, grad_output)
    if call.per_sample_weights is None:
        return Gradients(weight, None)
    return Gradients(weight, chosen.grad_per_sample_weights(call, saved, grad_output))


def implementation_of(name: str) -> Implementation:
    """The module of this name. Raises ValueError for another name than one of IMPLEMENTATIONS."""
    if name not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation must be one of {', '.join(IMPLEMENTATIONS)}, but got {name!r}"
        )
    path = IMPLEMENTATIONS[name]
    module: Any = sys.modules.get(path) or importlib.import_module(path)
    found: Implementation = module
    return found
