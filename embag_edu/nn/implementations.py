"""The rungs behind one face: what each calls its pieces, and what it keeps for its backward.

Each rung keeps what suits it. For torch it is one int64 array, `saved`: in mode max the winning row
of each output value, (B, D), or -1; in the other modes the size of each bag without padding, (B,).
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from embag_edu.api import IMPLEMENTATIONS
from embag_edu.spec import Call

NAMES = (*IMPLEMENTATIONS, "auto")
NOBODY = -1


class Saved(NamedTuple):
    """What the rungs' backward functions look at."""

    bag_sizes: Any
    winners: Any


def resolved(implementation: str, on_gpu: bool) -> str:
    """The rung for a name; "auto" goes by where weight is. Raises ValueError for another name."""
    if implementation not in NAMES:
        raise ValueError(
            f"implementation must be one of {', '.join(NAMES)}, but got {implementation!r}"
        )
    if implementation == "auto":
        return "cuda" if on_gpu else "vectorized"
    return implementation


def forward(call: Call, implementation: str) -> tuple[Any, Any]:
    """The output (B, D), and `saved`."""
    output, saved = _rung(implementation).forward(call)
    if call.mode != "max":
        if saved.bag_sizes is None:  # a rung that needs none for a sum
            return output, 0 * call.offsets[1:]
        sizes = saved.bag_sizes
        return output, np.array(sizes, np.int64) if isinstance(sizes, list) else sizes
    winners = saved.winners
    if implementation == "loops":  # which keeps the position that won, where others keep the row
        winners = np.append(call.indices, NOBODY)[winners]
    return output, winners.astype(np.int64, copy=False)


def weight_gradient(call: Call, implementation: str, saved: Any, grad_output: Any) -> Any:
    """The gradient of weight alone: (V, D), or a SparseGradient."""
    kept = Saved(None, saved) if call.mode == "max" else Saved(saved, None)
    if implementation == "cuda":
        from embag_edu.cuda import launch_backward as host

        return host.grad_weight(call, kept, grad_output)
    if call.mode == "max" and implementation == "loops":
        call = replace(call, indices=np.arange(call.num_embeddings))  # its winners are rows here
    rung = _rung(implementation)
    way = rung.backward_max if call.mode == "max" else rung.backward_sum
    way = rung.sparse_gradient if call.sparse else way
    return way(call, kept, grad_output.astype(call.accumulator, copy=False))


def weights_gradient(call: Call, implementation: str, saved: Any, grad_output: Any) -> Any:
    """The gradient of per_sample_weights alone, in input's shape."""
    if implementation == "cuda":
        from embag_edu.cuda import launch_backward as host

        return host.grad_per_sample_weights(call, Saved(saved, None), grad_output)
    upstream = grad_output.astype(call.accumulator, copy=False)
    return _rung(implementation).backward_weights(call, upstream)


def renorm(call: Call, implementation: str) -> None:
    """max_norm: rescale the rows that occur, in place."""
    _rung(implementation).renorm(call)


def _rung(implementation: str) -> Any:
    return importlib.import_module(f"embag_edu.{implementation}")
