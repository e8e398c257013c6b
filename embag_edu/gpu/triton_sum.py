"""A sum of bags in Triton, to be measured beside ours. Importing this file needs Triton."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit
def bag_sum(weight, indices, offsets, output, D, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program for each bag; WIDTH is D, rounded up to a power of two."""
    bag, d = tl.program_id(0).to(tl.int64), tl.arange(0, WIDTH)
    sums = tl.zeros((WIDTH,), tl.float32)
    for i in range(tl.load(offsets + bag), tl.load(offsets + bag + 1)):
        row = tl.load(indices + i)
        sums += tl.load(weight + row * D + d, mask=d < D, other=0.0)
    tl.store(output + bag * D + d, sums, mask=d < D)


def sum_bags(torch: Any, weight: Any, indices: Any, offsets: Any) -> Any:
    """The output (B, D) of tensors on a GPU; offsets are B + 1."""
    B, D = len(offsets) - 1, weight.shape[1]
    output = torch.empty(B, D, dtype=weight.dtype, device=weight.device)
    bag_sum[(B,)](weight, indices, offsets, output, D, WIDTH=triton.next_power_of_2(D))
    return output
