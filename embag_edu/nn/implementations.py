"""Who computes, and where: the implementations and the two backends behind torch's tensors.

An implementation keeps what its backward needs as a `spec.Saved`. torch keeps it as one int64
tensor, `saved`: in mode max the winners, (B, D); in mode mean the bag sizes, (B,); in mode sum
zeros, (B,).
"""

from __future__ import annotations

import operator
import weakref
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from embag_edu.api import IMPLEMENTATIONS
from embag_edu.nn import on_cpu, on_cuda
from embag_edu.spec import Call, Saved


def names() -> tuple[str, ...]:
    """What `implementation` may be."""
    return (*IMPLEMENTATIONS, "auto")


def resolved(implementation: str, on_gpu: bool) -> str:
    """The implementation of a name; "auto" goes by where weight is. ValueError for other names."""
    if implementation not in names():
        raise ValueError(
            f"implementation must be one of {', '.join(names())}, but got {implementation!r}"
        )
    if implementation == "auto":
        return "cuda" if on_gpu else "vectorized"
    return implementation


def as_array(call: Call, saved: Saved) -> Any:
    """`saved` as one int64 array, of memory of its own."""
    if call.mode == "sum":
        return 0 * call.offsets[1:]  # nothing is needed; the shape is that of a mean's
    array = saved.winners if call.mode == "max" else saved.bag_sizes
    return array.astype(np.int64, copy=False)


def as_saved(call: Call, array: Any) -> Saved:
    """The reverse."""
    return Saved(winners=array) if call.mode == "max" else Saved(bag_sizes=array)


class Kept(NamedTuple):
    """What a forward has made of its arguments: the backward on the same need not do it again."""

    backend: Any
    call: Call
    saved: Saved
    table: tuple[Any, ...]  # V, D and dtype
    arguments: tuple[Any, ...]  # the others


# By the id of `saved`, and gone with it. An attribute of that tensor would be copied and written to
# disk, by hooks that keep saved tensors elsewhere (torch.autograd.graph.saved_tensors_hooks).
_kept: dict[int, tuple[weakref.ref[Tensor], Kept, list[int]]] = {}


def keep(saved: Tensor, what: Kept) -> None:
    """Keep it for as long as the tensor `saved` is there."""
    key = id(saved)
    _kept[key] = weakref.ref(saved, lambda _: _kept.pop(key, None)), what, places(what.arguments)


def kept(saved: Tensor, table: tuple[Any, ...], arguments: tuple[Any, ...]) -> Kept | None:
    """What was kept with `saved`, if it was made of the very same tensors and options."""
    _, what, then = _kept.get(id(saved), (None, None, []))
    if what is None or what.table != table or places(arguments) != then:
        return None
    return what if all(map(operator.is_, what.arguments, arguments)) else None


def places(arguments: tuple[Any, ...]) -> list[int]:
    """Where weights, input and offsets lie: FSDP2 frees a parameter and gathers it elsewhere."""
    return [tensor.data_ptr() for tensor in arguments[:3] if tensor is not None]


def backend_of(weight: Tensor, others: dict[str, Tensor | None], implementation: str) -> Any:
    """The module that turns these tensors into arrays: `on_cpu` or `on_cuda`.

    Raises RuntimeError where tensors lie on several devices, or where the implementation can't
    compute on theirs.
    """
    same_device(weight, others)
    kind = weight.device.type
    if kind == "cuda" and implementation == "cuda":
        return on_cuda
    if kind == "cpu":
        return on_cpu
    fits = "'auto' or 'cuda', or move the tensors to the CPU" if kind == "cuda" else "the CPU"
    raise RuntimeError(
        f"implementation {implementation!r} can't compute on {weight.device}, where weight is."
        f"\n  To mend it: use {fits}."
    )


def same_device(weight: Tensor, others: dict[str, Tensor | None]) -> None:
    """Raise RuntimeError if a tensor is elsewhere. A weight without data (meta) goes with all."""
    device = weight.device
    for name, tensor in others.items():
        if tensor is not None and tensor.device != device and not weight.is_meta:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {name} is on {tensor.device} "
                f"and weight is on {device}.\n  To mend it: {name}.to(weight.device)."
            )
