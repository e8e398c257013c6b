"""Tensors on the CPU as the arrays that a rung takes, and back. Memory is shared, never copied.

`world_of` says where a call is computed: this module for tensors on the CPU, `on_cuda`, which has
the same five functions, for tensors on a GPU.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from embag_edu import spec
from embag_edu.spec import Call

IN_NUMPY = (torch.float16, torch.float32, torch.float64)  # the others come from ml_dtypes
BITS = {1: torch.uint8, 2: torch.int16}  # a dtype that both sides know, by its bytes


class Bags(NamedTuple):
    """What cuts positions into bags, and the options: every operator's last arguments."""

    input: Tensor
    offsets: Tensor | None
    include_last_offset: bool
    padding_idx: int | None
    mode: str
    scale_grad_by_freq: bool
    sparse: bool
    implementation: str  # "loops", "vectorized" or "cuda"

    def plain(self) -> Bags:
        """The same bags without the two options that change a gradient, not the operator."""
        return self._replace(scale_grad_by_freq=False, sparse=False)


def world_of(weight: Tensor, others: dict[str, Tensor | None], implementation: str) -> Any:
    """The module that turns these tensors into arrays.

    Raises RuntimeError where tensors lie on several devices, or where the implementation can't
    compute on theirs.
    """
    same_device(weight, others)
    kind = weight.device.type
    if kind == "cuda" and implementation == "cuda":
        from embag_edu.nn import on_cuda

        return on_cuda
    if kind != "cpu":
        fits = "'auto' or 'cuda', or move the tensors to the CPU" if kind == "cuda" else "the CPU"
        raise RuntimeError(
            f"implementation {implementation!r} can't compute on {weight.device}, where weight is."
            f"\n  To mend it: use {fits}."
        )
    import embag_edu.nn.on_cpu as on_cpu

    return on_cpu


def same_device(weight: Tensor, others: dict[str, Tensor | None]) -> None:
    """Raise RuntimeError if a tensor is elsewhere. A weight without data (meta) goes with all."""
    for name, tensor in others.items():
        if tensor is not None and tensor.device != weight.device and not weight.is_meta:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {name} is on {tensor.device} "
                f"and weight is on {weight.device}.\n  To mend it: {name}.to(weight.device)."
            )


# ---- the five functions, for the CPU --------------------------------------------------------


def session(tensor: Tensor) -> AbstractContextManager:
    """What computing goes on in: like torch, it says nothing about NaN and infinity."""
    return np.errstate(all="ignore")


def to_array(tensor: Tensor) -> np.ndarray:
    """An array of the tensor's memory and strides; bfloat16 needs the package ml_dtypes."""
    tensor = tensor.detach().resolve_neg()
    if not tensor.is_floating_point() or tensor.dtype in IN_NUMPY:
        return tensor.numpy()
    return tensor.view(BITS[tensor.itemsize]).numpy().view(dtype_of_ml_dtypes(tensor.dtype))


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor of the array's memory."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


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


def dtype_of_ml_dtypes(dtype: torch.dtype) -> np.dtype:
    """The NumPy form of a dtype that NumPy itself lacks."""
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            f"{dtype} in NumPy needs the package ml_dtypes: pip install ml_dtypes",
            name="ml_dtypes",
        ) from error
    return np.dtype(getattr(ml_dtypes, str(dtype).removeprefix("torch.")))
