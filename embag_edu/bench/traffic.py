"""The byte model: how many bytes a step has to move, at least.

Two counts, both without the operator's own temporaries. "logical": each read of a row counts, as if
there were no cache. "compulsory": each byte counts once, as if the cache held everything; U is the
number of distinct rows. A memory-bound step can be faster than its logical bytes allow, by its
cache, but never faster than its compulsory ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embag_edu.spec import Call


class Traffic(NamedTuple):
    """Bytes of one step."""

    logical: int
    compulsory: int


class Counts(NamedTuple):
    """The numbers that the formulas take; `w`, `i` and `p` are bytes of one element."""

    V: int
    D: int
    N: int
    B: int
    U: int
    w: int  # of weight, output and gradients
    i: int  # of indices and offsets
    p: int  # of per_sample_weights; 0 without


def counts(call: Call) -> Counts:
    """Count a call. U leaves padding out; N does not."""
    rows = np.unique(call.indices)
    psw = call.per_sample_weights
    return Counts(
        V=call.num_embeddings,
        D=call.embedding_dim,
        N=call.num_positions,
        B=call.num_bags,
        U=int((rows != call.padding_idx).sum()) if call.padding_idx is not None else len(rows),
        w=call.weight.dtype.itemsize,
        i=call.indices.dtype.itemsize,
        p=0 if psw is None else psw.dtype.itemsize,
    )


def forward(c: Counts) -> Traffic:
    """Read the rows, the indices, the offsets and the weights; write the output."""
    rest = c.B * c.D * c.w + c.i * (c.N + c.B + 1) + c.p * c.N
    return Traffic(c.N * c.D * c.w + rest, c.U * c.D * c.w + rest)


def forward_logical(D: int, N: int, B: int, w: int, i: int = 8) -> int:
    """The logical bytes of a forward without per_sample_weights, of which V and U are no part."""
    return forward(Counts(V=0, D=D, N=N, B=B, U=0, w=w, i=i, p=0)).logical


def backward_dense(c: Counts) -> Traffic:
    """Sum and mean: write zeros to (V, D), read grad_output for each position, write U rows.

    The indices are read, too; the sort that some implementations need is not counted.
    """
    zeros, rows = c.V * c.D * c.w, c.U * c.D * c.w
    rest = zeros + rows + c.i * (c.N + c.B + 1) + c.p * c.N
    return Traffic(c.N * c.D * c.w + rest, c.B * c.D * c.w + rest)


def backward_sparse(c: Counts) -> Traffic:
    """Sum and mean: read grad_output for each position, write (N, D) values and N indices."""
    rest = c.N * c.D * c.w + c.i * (c.N + c.B + 1) + c.p * c.N + 8 * c.N
    return Traffic(c.N * c.D * c.w + rest, c.B * c.D * c.w + rest)


def backward_max(c: Counts) -> Traffic:
    """Max: write zeros to (V, D), read grad_output and the winners, add to B * D places.

    There is no N in it. Each addition reads and writes its place.
    """
    total = c.V * c.D * c.w + c.B * c.D * (c.w + c.i + 2 * c.w)
    return Traffic(total, total)


def of(call: Call, step: str) -> Traffic:
    """The traffic of a step of a call: "forward", "backward", "both", or "train", which is both
    and plain SGD: read the gradient and the table, write the table."""
    c = counts(call)
    if call.mode == "max":
        back = backward_max(c)
    else:
        back = backward_sparse(c) if call.sparse else backward_dense(c)
    if step in ("both", "train"):
        update = 3 * c.V * c.D * c.w if step == "train" else 0
        return Traffic(*(f + b + update for f, b in zip(forward(c), back, strict=True)))
    return {"forward": forward(c), "backward": back}[step]
