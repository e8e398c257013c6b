"""A call of tensors on the CPU as a call of arrays of NumPy, on the same memory.

`on_cuda` has the same three functions for tensors on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from embag_edu import spec
from embag_edu.arrays import to_array
from embag_edu.nn import words
from embag_edu.nn.bags import Bags
from embag_edu.spec import Call


class session(np.errstate):
    """What computing goes on in: like torch, it says nothing about NaN and infinity."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(all="ignore")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        if error is not None:
            words.speak_of_tensors(error)


def call_of(weight: Tensor, psw: Tensor | None, bags: Bags, *renorm: float) -> Call:
    """The checked call: `spec.make_call` on the tensors' memory.

    renorm: nothing, or max_norm and norm_type.
    """
    max_norm, norm_type = renorm or (None, 2.0)
    return spec.make_call(
        to_array(bags.input),
        to_array(weight),
        None if bags.offsets is None else to_array(bags.offsets),
        max_norm,
        norm_type,
        bags.scale_grad_by_freq,
        bags.mode,
        bags.sparse,
        None if psw is None else to_array(psw),
        bags.include_last_offset,
        bags.padding_idx,
    )


def check_upstream(call: Call, grad_output: np.ndarray) -> None:
    """Raise what a backward refuses."""
    spec.check_backward(call, grad_output)
    spec.check_indices(call)
