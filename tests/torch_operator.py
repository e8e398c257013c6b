"""A fourth implementation: torch's own operator behind `spec.Implementation`."""

from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from embag_edu import loops
from embag_edu.arrays import to_array, to_tensor
from embag_edu.spec import Call, Saved, SparseGradient

renorm = loops.renorm


def forward(call: Call) -> tuple[np.ndarray, Saved]:
    if call.max_norm is not None:
        renorm(call)
    return to_array(_run(call)[0]), Saved()


def grad_weight(call: Call, saved: Saved, grad_output: np.ndarray) -> Any:
    output, weight, _ = _run(call)
    (grad,) = torch.autograd.grad(output, weight, to_tensor(grad_output))
    if not call.sparse:
        return to_array(grad)
    return SparseGradient(
        to_array(grad._indices()), to_array(grad._values()), tuple(call.weight.shape)
    )


def grad_per_sample_weights(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray:
    output, _, psw = _run(call)
    (grad,) = torch.autograd.grad(output, psw, to_tensor(grad_output))
    return to_array(grad).reshape(call.input_shape)


def _run(call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    given = None if call.per_sample_weights is None else to_tensor(call.per_sample_weights)
    weight, psw = to_tensor(call.weight).requires_grad_(), given
    if psw is not None:
        psw = psw.clone().requires_grad_()
    indices, offsets = to_tensor(call.indices), to_tensor(call.offsets)
    output = embedding_bag(
        indices, weight, offsets, scale_grad_by_freq=call.scale_grad_by_freq, mode=call.mode,
        sparse=call.sparse, per_sample_weights=psw, include_last_offset=True,
        padding_idx=call.padding_idx,
    )  # fmt: skip
    return output, weight, psw
