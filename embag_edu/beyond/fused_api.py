"""`fused_step`: the fused backward by any of the three ways, its arguments checked first."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from embag_edu.api import implementation_of
from embag_edu.beyond.fused import OPTIMIZERS, Optimizer, State
from embag_edu.spec import Call, Saved, bag_sizes, check_backward, make_call

STEPS = {
    "loops": "embag_edu.beyond.fused_loops",
    "vectorized": "embag_edu.beyond.fused_numpy",
    "cuda": "embag_edu.beyond.fused_cuda",
}


def fused_step(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None = None,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    per_sample_weights: np.ndarray | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    optimizer: Optimizer,
    state: State,
    implementation: str = "loops",
) -> np.ndarray | None:
    """The backward of `embedding_bag` and the step of its optimizer, in one.

    grad_output: (B, D), the upstream gradient. weight: (V, D), as the forward left it. The other
    arguments of the call are those of `embag_edu.embedding_bag`; mode is "sum" or "mean".
    state: that of `optimizer.state(weight)`.
    implementation: "loops", "vectorized" or "cuda".

    Changes the touched rows of weight and of state, in place. Returns the gradient of
    per_sample_weights, for the table before the step, in input's shape; None without weights.
    Errors are those of `embag_edu.spec`, and ValueError for what `check_step` says. A call that
    raises has changed nothing.

    >>> weight = np.ones((4, 2))
    >>> from embag_edu.beyond import SGD
    >>> sgd = SGD(lr=0.5)
    >>> fused_step(np.array([[1.0, 2.0]]), np.array([[3, 3]]), weight, mode="sum",
    ...            optimizer=sgd, state=sgd.state(weight))
    >>> weight[3]
    array([ 0., -1.])
    """
    if isinstance(weight, np.ndarray) and not weight.dtype.isnative:
        raise ValueError(
            f"weight has dtype {weight.dtype}, in another byte order than this machine's; a fused "
            f"step changes it in place.\n  To mend it: weight.astype('{weight.dtype.name}')."
        )
    words = (None, 2.0, scale_grad_by_freq, mode, False, per_sample_weights)
    call = make_call(input, weight, offsets, *words, include_last_offset, padding_idx)
    grad_output = check_backward(call, grad_output)
    saved = Saved(bag_sizes=bag_sizes(call))
    gradient: np.ndarray | None
    gradient = backward(call, saved, grad_output, optimizer, state, implementation)
    return gradient


def backward(
    call: Call,
    saved: Saved,
    grad_output: Any,
    optimizer: Optimizer,
    state: State,
    implementation: str = "vectorized",
) -> Any:
    """`fused_step` of a checked call; grad_output has been checked, too."""
    check_step(call, optimizer, state, implementation)
    gradient = None
    if call.per_sample_weights is not None:  # first of all: it reads the table before the step
        chosen = implementation_of(implementation)
        gradient = chosen.grad_per_sample_weights(call, saved, grad_output)
    state.step += 1
    if not (call.num_positions and call.embedding_dim):
        return gradient
    module = importlib.import_module(STEPS[implementation])
    module.step(call, saved, grad_output, optimizer, state)
    return gradient


def check_step(call: Call, optimizer: Optimizer, state: State, implementation: str) -> None:
    """Raise ValueError for what no fused step can be taken with: nothing has been changed then."""
    if implementation not in STEPS:
        valid = ", ".join(STEPS)
        raise ValueError(f"implementation must be one of {valid}, but got {implementation!r}")
    if call.mode == "max":
        raise ValueError(
            "mode is 'max'; a fused step takes 'sum' or 'mean'.\n  To mend it: a dense gradient, "
            "and an optimizer of torch's."
        )
    if type(optimizer) not in OPTIMIZERS:
        names = ", ".join(one.__name__ for one in OPTIMIZERS)
        raise ValueError(f"optimizer is a {type(optimizer).__name__}; valid: {names}")
    optimizer.check()
    if getattr(getattr(call.weight, "flags", None), "writeable", True) is False:
        raise ValueError("weight is read-only; a fused step changes it in place")
    dtype, shapes = call.accumulator, {"element": call.weight.shape, "row": call.weight.shape[:1]}
    expected = {name: shapes[of] for name, of in optimizer.arrays.items()}
    found = {name: tuple(array.shape) for name, array in state.arrays.items()}
    dtypes = {array.dtype for array in state.arrays.values()}
    if found != expected or dtypes - {dtype}:
        kind = type(optimizer).__name__
        raise ValueError(
            f"state has {found} in {sorted(map(str, dtypes))}; {kind} of this table needs "
            f"{expected} in {dtype}.\n  To mend it: optimizer.state(weight)."
        )
