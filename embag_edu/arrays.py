"""Tensors of torch as arrays of NumPy or CuPy, and back: the one bridge between them.

Memory is shared, never copied, and strides stay. torch, CuPy and ml_dtypes are imported where they
are needed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from embag_edu.spec import SparseGradient

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IN_NUMPY = ("float16", "float32", "float64")  # the other floats come from ml_dtypes
BITS = {1: "uint8", 2: "int16"}  # a dtype that both sides know, by its bytes


def to_array(tensor: Tensor) -> Any:
    """An array on a tensor's memory: of CuPy where the tensor is on a GPU, else of NumPy.

    Raises ImportError where bfloat16 is wanted and the package ml_dtypes is missing.
    """
    tensor = tensor.detach().resolve_neg()
    if tensor.is_floating_point() and dtype_name(tensor.dtype) not in IN_NUMPY:
        import torch

        bits = to_array(tensor.view(getattr(torch, BITS[tensor.itemsize])))
        return bits.view(numpy_dtype(tensor.dtype))
    if not tensor.is_cuda:
        # tensor.numpy() forbids for good that the tensor's memory is resized, which FSDP2 does with
        # parameters. But NumPy before 2.3, or an older torch, gives arrays that can't be written.
        array = np.from_dlpack(_Memory(tensor))
        return array if array.flags.writeable else tensor.numpy()
    import cupy

    return cupy.from_dlpack(tensor)


class _Memory:
    """A tensor on the CPU for `np.from_dlpack`. Tensor's own `__dlpack__` has GPUs to think of."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, max_version: Any = None, **others: Any) -> Any:
        return _exporter(versioned=max_version is not None)(self.tensor)


@functools.cache
def _exporter(versioned: bool) -> Any:
    import torch

    newer = getattr(torch._C, "_to_dlpack_versioned", None) if versioned else None
    return newer or torch._C._to_dlpack


def to_tensor(array: Any) -> Tensor:
    """A tensor on an array's memory, on the GPU where the array is one of CuPy's."""
    import torch

    dtype, host = array.dtype, isinstance(array, np.ndarray)
    if dtype.kind == "V" and hasattr(torch, dtype.name):  # a dtype of ml_dtypes
        bits = getattr(np, BITS[dtype.itemsize])
        return to_tensor(array.view(bits)).view(getattr(torch, dtype.name))
    return torch.from_numpy(array) if host else torch.from_dlpack(array)


def on_host(result: Any) -> Any:
    """A tensor as an array of NumPy, a sparse one as a SparseGradient; anything else as it is."""
    import torch

    if not isinstance(result, torch.Tensor):
        return result
    result = result.detach().cpu()
    if result.layout == torch.sparse_coo:
        indices, values = to_array(result._indices()), to_array(result._values())
        return SparseGradient(indices, values, tuple(result.shape))
    return to_array(result)


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """The dtype of NumPy, or of ml_dtypes, that has the same name."""
    name = dtype_name(dtype)
    if name in IN_NUMPY or not dtype.is_floating_point:
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            f"{dtype} in NumPy needs the package ml_dtypes: pip install ml_dtypes",
            name="ml_dtypes",
        ) from error
    found: np.dtype = np.dtype(getattr(ml_dtypes, name))
    return found


@functools.cache
def dtype_name(dtype: torch.dtype) -> str:
    """torch.float32 -> "float32"."""
    return str(dtype).removeprefix("torch.")
