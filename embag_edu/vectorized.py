"""EmbeddingBag in NumPy and SciPy: the whole specification on arrays, without a loop over numbers.

`embag_edu.loops` touches one number at a time, in Python. Here each step is one operation on whole
arrays, and the loop runs inside NumPy or SciPy. Four ideas carry it:

- A bag is a row of a sparse matrix A, (B, V), that holds a 1 (or a weight) for each position. The
  forward is A @ weight; the backward is its transpose, A.T @ grad_output.
- The forward works in pieces. It gathers the rows of some bags into a block that stays in the
  cache, reduces them, and goes on: memory does not grow with N.
- What does not count is left out, never multiplied by zero: 0 * inf is NaN.
- A maximum is a reduction over neighbors; its winner is the first position that equals it.

The only Python loops run over pieces. Beyond its result, the forward and the gradient of
per_sample_weights take up BLOCK_BYTES of memory, whatever N is; the sums of a 16-bit table stand in
float32 until they are rounded. The gradient of weight takes some numbers for each position, but
never (N, D) of them, unless sparse=True asks for just that.

Letters: V rows in `weight`, D features, N positions, B bags; n positions and b bags in a piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_array, csr_array

from embag_edu.spec import NOBODY, Call, Saved, SparseGradient, bag_sizes

BLOCK_BYTES = 8 << 20  # what the arrays of one piece may take up, whatever N is
CACHED_BYTES = 4 << 20  # a gradient of weight up to this size is added to in any order of rows


class Piece(NamedTuple):
    """Neighboring positions that fit into a block, padding left out: whole bags or part of one."""

    bags: slice  # whose positions they are: b neighboring bags
    positions: slice | np.ndarray  # where they stand in the input: n of them
    rows: np.ndarray  # (n,) the row of each
    ends: np.ndarray  # (b + 1,) bag k of the piece holds rows[ends[k] : ends[k + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """How many positions each bag of the piece has, (b,)."""
        return self.ends[1:] - self.ends[:-1]


def forward(call: Call) -> tuple[np.ndarray, Saved]:
    """The output, (B, D) in weight's dtype, and what the backward needs.

    With max_norm, the rows that the call touches are first rescaled in place.
    """
    if call.max_norm is not None:
        renorm(call)
    if call.mode == "max":
        return forward_max(call)
    return forward_sum(call)


def grad_weight(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray | SparseGradient:
    """The gradient of weight, from grad_output (B, D): dense, (V, D), or as a SparseGradient."""
    upstream = grad_output.astype(call.accumulator, copy=False)
    if call.mode == "max":
        return grad_weight_max(call, saved, upstream)
    if call.mode == "mean":
        upstream = upstream / divisors(call, saved.bag_sizes)
    return grad_weight_sparse(call, upstream) if call.sparse else grad_weight_sum(call, upstream)


# ---- pieces: memory that does not grow with N -----------------------------------------------


def positions_per_piece(call: Call) -> int:
    """How many positions are worked on at a time: as many as BLOCK_BYTES has room for."""
    arrays = 16 if call.mode == "max" else 4  # of (n, D) float32, all that are alive at a time
    bytes_of_one = arrays * call.embedding_dim * call.accumulator.itemsize + 64
    return max(BLOCK_BYTES // bytes_of_one, 1)


def runs_of_bags(call: Call) -> Iterator[slice]:
    """Cut the bags into runs that make one piece each. A longer bag is a run of its own."""
    limit = positions_per_piece(call)
    first = 0
    while first < call.num_bags:
        stop = int(np.searchsorted(call.offsets, call.offsets[first] + limit, "right")) - 1
        stop = min(max(stop, first + 1), first + limit)
        yield slice(first, stop)
        first = stop


def pieces(call: Call) -> Iterator[Piece]:
    """All positions, in pieces: one for each run of bags, or for a long bag several."""
    limit = positions_per_piece(call)
    for bags in runs_of_bags(call):
        offsets = call.offsets[bags.start : bags.stop + 1]
        for begin in range(offsets[0], offsets[-1], limit):
            end = min(begin + limit, offsets[-1])
            rows = call.indices[begin:end]
            ends = np.minimum(np.maximum(offsets, begin), end) - begin
            if call.padding_idx is None:
                yield Piece(bags, slice(begin, end), rows, ends)
            else:
                kept = np.flatnonzero(rows != call.padding_idx)
                yield Piece(bags, begin + kept, rows[kept], np.searchsorted(kept, ends))


def new_block(call: Call) -> np.ndarray:
    """Room for the rows of any piece: made once, filled again and again."""
    count = min(positions_per_piece(call), call.num_positions)
    return np.empty((count, call.embedding_dim), call.weight.dtype)


def gather(call: Call, rows: np.ndarray, block: np.ndarray) -> np.ndarray:
    """The rows of the table, (n, D), in the dtype that sums are kept in; `block` is overwritten."""
    gathered = block[: len(rows)]
    if call.weight.flags.c_contiguous and call.weight.flags.aligned:
        # "clip" makes NumPy write into the block directly: the range has been checked by spec.
        np.take(call.weight, rows, axis=0, out=gathered, mode="clip")
    else:
        gathered[:] = call.weight[rows]  # np.take would copy such a table, whole, at each call
    return gathered.astype(call.accumulator, copy=False)


def weights_of(call: Call, positions: slice | np.ndarray, count: int) -> np.ndarray:
    """per_sample_weights of some positions, (count,), in the accumulator's dtype; or ones."""
    if call.per_sample_weights is None:
        return np.ones(count, call.accumulator)
    return call.per_sample_weights[positions].astype(call.accumulator, copy=False)


# ---- sum and mean ---------------------------------------------------------------------------


def forward_sum(call: Call) -> tuple[np.ndarray, Saved]:
    """Mode "sum", weighted or not, and mode "mean": add up the rows of each bag."""
    sums = np.zeros((call.num_bags, call.embedding_dim), call.accumulator)
    block = new_block(call)
    for piece in pieces(call):
        sums[piece.bags] += sum_of_piece(call, piece, block)
    sizes = bag_sizes(call)
    if call.mode == "mean":
        sums /= divisors(call, sizes)
    output = sums.astype(call.weight.dtype, copy=False)  # the only rounding to weight's dtype
    return output, Saved(bag_sizes=sizes)


def sum_of_piece(call: Call, piece: Piece, block: np.ndarray) -> np.ndarray:
    """The (weighted) sum of each bag of a piece, (b, D)."""
    rows = gather(call, piece.rows, block)
    weights = weights_of(call, piece.positions, len(rows))
    lengths = piece.lengths
    bags, length = len(lengths), lengths[0]
    if length > 0 and (lengths == length).all():
        # All bags are equally long: b products of (1, length) with (length, D).
        cube = rows.reshape(bags, length, call.embedding_dim)
        return np.matmul(weights.reshape(bags, 1, length), cube)[:, 0]
    local = csr_array((weights, np.arange(len(rows)), piece.ends), shape=(bags, len(rows)))
    return local @ rows


def divisors(call: Call, sizes: np.ndarray) -> np.ndarray:
    """What a mean divides by, as a column (b, 1). An empty bag stays zero: 0 / 1."""
    return np.maximum(sizes, 1).astype(call.accumulator)[:, None]


def grad_weight_sum(call: Call, upstream: np.ndarray) -> np.ndarray:
    """Modes "sum" and "mean": the transposed sparse product A.T @ grad_output, (V, D).

    A bag is a column of A.T. `tocsr` sorts the positions by row, so that each row of the gradient
    is written once; one that fits into the cache needs no sort. The terms of a row are added up in
    the order of the input either way.
    """
    kept, rows, ends = counted(call)
    shares = weights_of(call, kept, len(rows))
    if call.scale_grad_by_freq:
        shares = shares / np.bincount(rows)[rows].astype(call.accumulator)
    transposed = csc_array((shares, rows, ends), shape=(call.num_embeddings, call.num_bags))
    if call.num_embeddings * upstream[:1].nbytes > CACHED_BYTES:
        transposed = transposed.tocsr()
    return (transposed @ upstream).astype(call.weight.dtype, copy=False)


def counted(call: Call) -> tuple[slice | np.ndarray, np.ndarray, np.ndarray]:
    """The positions that are not padding, (n,); the row of each; and the bags of them.

    Bag b has those from ends[b] up to ends[b + 1], (B + 1,).
    """
    if call.padding_idx is None:
        return slice(None), call.indices, call.offsets
    kept = np.flatnonzero(call.indices != call.padding_idx)
    return kept, call.indices[kept], np.searchsorted(kept, call.offsets)


def grad_weight_sparse(call: Call, upstream: np.ndarray) -> SparseGradient:
    """Modes "sum" and "mean": one entry per position that counts, in order, none added up."""
    kept, rows, ends = counted(call)
    values = np.repeat(upstream, np.diff(ends), axis=0)
    if call.per_sample_weights is not None:
        values *= weights_of(call, kept, len(rows))[:, None]
    if call.embedding_dim == 0:
        rows, values = rows[:0], values[:0]  # torch keeps no entry where there is no feature
    return SparseGradient(
        indices=rows.astype(np.int64)[None],
        values=values.astype(call.weight.dtype, copy=False),
        shape=(call.num_embeddings, call.embedding_dim),
    )


def grad_per_sample_weights(call: Call, saved: Saved, grad_output: np.ndarray) -> np.ndarray:
    """The gradient of per_sample_weights: grad_output of the bag, dotted with the row.

    Zero at padding. In the shape of the input, in weight's dtype.
    """
    grad = np.zeros(call.num_positions, call.weight.dtype)
    upstream = grad_output.astype(call.accumulator, copy=False)
    block = new_block(call)
    for piece in pieces(call):
        rows = gather(call, piece.rows, block)
        of_each = np.repeat(upstream[piece.bags], piece.lengths, axis=0)
        grad[piece.positions] = np.einsum("nd,nd->n", of_each, rows)
    return grad.reshape(call.input_shape)


# ---- max ------------------------------------------------------------------------------------


def forward_max(call: Call) -> tuple[np.ndarray, Saved]:
    """Mode "max": the largest value of each feature, and the row it came from.

    The first position of a bag always enters; a later one wins only if it is strictly larger. So
    ties go to the first, and a NaN wins only where it is first.
    """
    output = np.zeros((call.num_bags, call.embedding_dim), call.weight.dtype)
    winners = np.full((call.num_bags, call.embedding_dim), NOBODY, np.int64)
    sizes = np.zeros(call.num_bags, np.int64)
    block = new_block(call)
    for piece in pieces(call):
        filled = np.flatnonzero(piece.lengths)
        here = filled + piece.bags.start
        unseen = sizes[here] == 0
        values = gather(call, piece.rows, block)
        best, rows = max_of_piece(values, piece, filled, unseen)
        better = unseen[:, None] | (best > output[here])
        output[here] = np.where(better, best, output[here])
        winners[here] = np.where(better, rows, winners[here])
        sizes[piece.bags] += piece.lengths
    return output, Saved(winners=winners)


def max_of_piece(
    values: np.ndarray, piece: Piece, filled: np.ndarray, unseen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each bag that has a position in the piece, and the row that won, (b', D).

    values: (n, D), overwritten. filled: (b',) those bags. unseen: (b',) whether this is the first
    piece of the bag that holds a position of it.
    """
    starts = piece.ends[filled]
    drop_later_nans(values, starts[unseen])
    best = np.maximum.reduceat(values, starts, axis=0)
    equal = (values == np.repeat(best, piece.lengths[filled], axis=0)) | np.isnan(values)
    places = np.where(equal, np.arange(len(values))[:, None], len(values))
    return best, piece.rows[np.minimum.reduceat(places, starts, axis=0)]


def drop_later_nans(values: np.ndarray, first: np.ndarray) -> None:
    """A NaN that is not the first of its bag never wins: -inf stands in for it, in place.

    first: the places in `values`, (n, D), where a bag begins.
    """
    drop = np.isnan(values)
    drop[first] = False
    np.copyto(values, -np.inf, where=drop)


def grad_weight_max(call: Call, saved: Saved, upstream: np.ndarray) -> np.ndarray:
    """Mode "max": the gradient of an output value goes to the one row that won it, (V, D).

    `np.add.at` adds one number after another, in the order of the bags; with `grad[...] += ...`
    only the last of several bags that share a winner would be kept.
    """
    grad = np.zeros(call.num_embeddings * call.embedding_dim, call.accumulator)
    won = saved.winners != NOBODY
    places = saved.winners * call.embedding_dim + np.arange(call.embedding_dim)
    np.add.at(grad, places[won], upstream[won])
    return grad.reshape(call.weight.shape).astype(call.weight.dtype, copy=False)


# ---- max_norm -------------------------------------------------------------------------------


def renorm(call: Call) -> None:
    """max_norm: rescale, in place and once, each row that occurs and is longer than max_norm.

    torch's formula: norm and scale are both rounded to weight's dtype, and the scale is
    max_norm / (norm + 1e-7), so that a rescaled row ends a little below max_norm.
    """
    limit = max(positions_per_piece(call) // 2, 1)  # norms are float64
    occurs = np.zeros(call.num_embeddings, bool)
    for begin in range(0, call.num_positions, limit):
        occurs[call.indices[begin : begin + limit]] = True
    for begin in range(0, call.num_embeddings, limit):
        rows = begin + np.flatnonzero(occurs[begin : begin + limit])
        norms = norms_of(call.weight[rows], call.norm_type)
        norms = norms.astype(call.weight.dtype).astype(np.float64)
        long = norms > call.max_norm
        scales = (call.max_norm / (norms[long] + 1e-7)).astype(call.weight.dtype)
        call.weight[rows[long]] *= scales[:, None]


def norms_by_powers(sizes: np.ndarray, p: float) -> np.ndarray:
    """(sum of size ** p) ** (1 / p) for each row of sizes, (n,); p is finite and not 0."""
    tops = sizes.max(axis=1, initial=0.0) if p > 0 else sizes.min(axis=1, initial=np.inf)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        norms = np.sum(np.power(sizes, p), axis=1) ** (1 / p)
        # Where powers left the range of float64: in units of the largest (smallest) they do not.
        lost = np.isin(norms, (0, np.inf)) & (0 < tops) & (tops < np.inf)
        scaled = sizes[lost] / tops[lost, None]
        norms[lost] = tops[lost] * np.sum(np.power(scaled, p), axis=1) ** (1 / p)
    return norms


def norms_of(rows: np.ndarray, p: float) -> np.ndarray:
    """The p-norm of each row, (n,) float64, for any p: inf the largest |x|, 0 the non-zeros."""
    sizes = np.abs(rows.astype(np.float64))
    if p == 0:
        norms = np.count_nonzero(sizes, axis=1).astype(np.float64)
    elif p == np.inf:
        norms = np.max(sizes, axis=1, initial=0.0)
    elif p == -np.inf:
        norms = np.min(sizes, axis=1, initial=np.inf)
    else:
        norms = norms_by_powers(sizes, p)
    return np.where(np.isnan(sizes).any(axis=1) | np.isnan(p), np.nan, norms)
