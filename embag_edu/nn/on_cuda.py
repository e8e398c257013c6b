"""Tensors on a GPU as CuPy's arrays, and back: the same five functions as `on_cpu`.

Arrays and tensors share memory by DLPack. Everything is put on torch's current stream, so it runs
in the order in which it is written, and nobody waits. As with any array of CuPy's: a result that is
used on a second stream must be kept until that stream is done with it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embag_edu import spec
from embag_edu.arrays import numpy_dtype, to_array
from embag_edu.cuda_on_cpu import device
from embag_edu.nn import words
from embag_edu.nn.bags import Bags
from embag_edu.spec import Call


@contextmanager
def session(tensor: Tensor) -> Iterator[None]:
    """torch's current device and stream, for CuPy as well."""
    gpu = device()
    if gpu.kind != "cuda":
        raise RuntimeError(
            f"weight is on {tensor.device}, but kernels do not run on a GPU here: {gpu.reason}.\n"
            "  To mend it: install CuPy and leave EMBAG_DEVICE unset, or move tensors to the CPU."
        )
    cupy = gpu.xp
    number = tensor.device.index
    stream = torch.cuda.current_stream(number).cuda_stream
    with torch.cuda.device(number), cupy.cuda.Device(number), cupy.cuda.ExternalStream(stream):
        try:
            yield
        except Exception as error:
            words.speak_of_tensors(error)
            raise


def call_of(weight: Tensor, psw: Tensor | None, bags: Bags, *renorm: float) -> Call:
    """The call on the GPU's arrays.

    spec looks at shapes, dtypes and options here. What the arrays hold is looked at by a kernel, as
    `embag_edu.cuda.checking` says: by default an error comes with a later call.
    """
    offsets = bags.offsets
    form = _form(_look(bags.input), _look(weight), _look(offsets), _look(psw), bags[2:7], renorm)
    indices = to_array(bags.input).reshape(-1).astype(form.indices.dtype, copy=False)
    return replace(
        form,
        indices=indices,
        offsets=_with_end(offsets, form, bags.include_last_offset),
        weight=to_array(weight),
        per_sample_weights=None if psw is None else to_array(psw).reshape(-1),
    )


def check_upstream(call: Call, grad_output: Any) -> None:
    """Raise what a backward refuses."""
    form = replace(call, weight=_blank(call.weight.shape, call.weight.dtype))
    spec.check_backward(form, _blank(grad_output.shape, grad_output.dtype))


def _with_end(offsets: Tensor | None, form: Call, include_last_offset: bool) -> Any:
    """Offsets (B + 1,) on the GPU, whichever of the forms they came in."""
    import cupy

    if offsets is None:
        return cupy.arange(form.num_bags + 1, dtype=np.int64) * form.input_shape[1]
    starts = to_array(offsets).astype(np.int64, copy=False)
    return starts if include_last_offset else cupy.append(starts, form.num_positions)


def _look(tensor: Tensor | None) -> tuple[tuple[int, ...], np.dtype] | None:
    """All that spec sees of an array on the GPU."""
    if tensor is None:
        return None
    return tuple(tensor.shape), numpy_dtype(tensor.dtype)


def _blank(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros that takes no memory: one zero, shown at every place."""
    return np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, (0,) * len(shape))


@functools.lru_cache(maxsize=1024)
def _form(input: Any, weight: Any, offsets: Any, psw: Any, options: tuple, renorm: tuple) -> Call:
    """The call that spec makes of blank arrays of these shapes and dtypes."""
    include_last_offset, padding_idx, mode, scale_grad_by_freq, sparse = options
    max_norm, norm_type = renorm or (None, 2.0)
    blank_offsets = None if offsets is None else _blank(*offsets)
    if blank_offsets is not None and include_last_offset and blank_offsets.ndim == 1:
        blank_offsets = blank_offsets.copy()
        blank_offsets[-1:] = input[0][0] if len(input[0]) == 1 else 0  # spec looks at the last
    return spec.make_call(
        _blank(*input),
        _blank(*weight),
        blank_offsets,
        max_norm,
        norm_type,
        scale_grad_by_freq,
        mode,
        sparse,
        None if psw is None else _blank(*psw),
        include_last_offset,
        padding_idx,
    )
