"""The order of keys: by NVIDIA's own library where cuda-cccl is installed, else by CuPy or NumPy.

`cupy.argsort` carries positions of 8 bytes over all bits of a key. The radix sort of cuda-cccl
(the extra `gpu-sort`) carries what it is given, over the bits that it is told: here positions of
4 bytes, over the bits in use. Both are stable, so both give the same order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from embag_edu.cuda.launcher import device


@functools.cache
def library() -> Any:
    """The module cuda.compute; None where cuda-cccl is not installed, or finds no driver."""
    try:
        import cuda.compute
    except ImportError:
        return None
    return cuda.compute if hasattr(cuda.compute, "radix_sort") else None


def order_of(keys: Any, end: int | None = None) -> tuple[Any, Any | None]:
    """The positions (n,) in the order of the keys, equal keys in theirs; and the sorted keys.

    keys: (n,) int32 or int64; -1 comes last. end: all keys are smaller; None: unknown. The sorted
    keys are None where the sort does not leave them behind.
    """
    gpu, unsigned = device(), keys.view(f"u{keys.dtype}")
    if gpu.kind != "cuda" or keys.dtype != np.int32 or library() is None:
        return argsort(gpu.xp, unsigned), None
    places = gpu.xp.arange(len(keys), dtype=np.int32)
    ordered, order = gpu.empty(len(keys), np.int32), gpu.empty(len(keys), np.int32)
    library().radix_sort(
        d_in_keys=unsigned,
        d_out_keys=ordered.view(unsigned.dtype),
        d_in_values=places,
        d_out_values=order,
        num_items=len(keys),
        order=library().SortOrder.ASCENDING,
        begin_bit=0,
        end_bit=bits_of(end),
        stream=gpu.xp.cuda.get_current_stream(),
    )
    return order, ordered


def argsort(xp: Any, keys: Any) -> Any:
    """xp.argsort. CuPy's waits for the GPU before version 14, so no CUDA graph can hold it."""
    try:
        return xp.argsort(keys, kind="stable")
    except Exception as error:
        if "captur" in str(error).lower():
            error.add_note(
                f"So many positions ({len(keys):,}) are sorted by CuPy, and this CuPy's sort can't "
                "be captured in a CUDA graph (from version 14 on it should be).\n  To mend it: "
                "install 'embag_edu[gpu-sort]'; or ask embag_edu.cuda.grad_weight for "
                "algorithm='add_packs', which sorts nothing; or leave the backward out of it."
            )
        raise


def bits_of(end: int | None) -> int:
    """The bits in use of keys below `end`, and of -1, all of whose bits are 1; 32: unknown."""
    return 32 if end is None else max(int(end).bit_length(), 1)
