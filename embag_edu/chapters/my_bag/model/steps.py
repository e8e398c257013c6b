"""Given: how the parts make an EmbeddingBag. Read it; there is nothing to write here.

`parts` is one of your files: loops, vectorized or cuda. forward and backward take the arguments of
torch.nn.functional.embedding_bag as NumPy arrays, bring them into one form, and call your parts.

The one form: position i of the input holds the row number indices[i]. Bag b has the positions
starts[b] up to, not including, ends[b]. The letters are those of the book: V rows of D features in
the table, N positions, B bags.
"""

import numpy as np

from embag_edu.spec import SparseGradient, check_backward, make_call


def forward(
    parts, input, weight, offsets=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
    mode="mean", sparse=False, per_sample_weights=None, include_last_offset=False,
    padding_idx=None,
):  # fmt: skip
    """The output, (B, D) in weight's dtype."""
    call = make_call(  # raises every error that torch raises
        input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
        per_sample_weights, include_last_offset, padding_idx,
    )  # fmt: skip
    input, weight = in_todays_order(input, weight)
    indices, starts, ends = one_form(parts, input, offsets, include_last_offset)
    if call.max_norm is not None:  # first of all, and padding too
        parts.rescale_rows(weight, indices, call.max_norm, call.norm_type)
    kept, starts, ends = counted(parts, indices, starts, ends, padding_idx, len(weight))
    table, bags = wide(weight), (indices[kept], starts, ends)
    if mode == "max":
        output = ask(parts.max_of_bags, table, *bags)
    elif per_sample_weights is not None:
        psw = wide(per_sample_weights).reshape(-1)[kept]
        output = ask(parts.weighted_sum_of_bags, table, *bags, psw)
    elif mode == "mean":
        output = ask(parts.mean_of_bags, table, *bags)
    else:
        output = ask(parts.sum_of_bags, table, *bags)
    return np.array(output, weight.dtype)  # a sum of 16-bit numbers is rounded here, once


def backward(
    parts, grad_output, input, weight, offsets=None, max_norm=None, norm_type=2.0,
    scale_grad_by_freq=False, mode="mean", sparse=False, per_sample_weights=None,
    include_last_offset=False, padding_idx=None,
):  # fmt: skip
    """The gradients of weight and of per_sample_weights (None without them).

    weight is the table as the forward left it: nothing is rescaled again.
    """
    call = make_call(
        input, weight, offsets, None, norm_type, scale_grad_by_freq, mode, sparse,
        per_sample_weights, include_last_offset, padding_idx,
    )  # fmt: skip
    upstream = wide(check_backward(call, grad_output))
    input, weight = in_todays_order(input, weight)
    V, D = weight.shape
    indices, starts, ends = one_form(parts, input, offsets, include_last_offset)
    kept, starts, ends = counted(parts, indices, starts, ends, padding_idx, V)
    table, bags = wide(weight), (indices[kept], starts, ends)

    of_psw, psw = None, None
    if per_sample_weights is not None:
        psw = wide(per_sample_weights).reshape(-1)[kept]
        of_psw = np.zeros(len(indices), weight.dtype)  # padding keeps its zero
        of_psw[kept] = ask(parts.grad_of_weights, upstream, table, *bags)
        of_psw = of_psw.reshape(input.shape)
    if mode == "max":
        winners = np.asarray(ask(parts.winners, table, *bags), np.int64)
        of_weight = ask(parts.grad_of_winners, upstream, winners, V)
        return np.array(of_weight, weight.dtype), of_psw

    shares = np.asarray(ask(parts.shares, *bags, mode, psw, scale_grad_by_freq), table.dtype)
    if not sparse:
        of_weight = ask(parts.grad_of_rows, upstream, *bags, shares, V)
        return np.array(of_weight, weight.dtype), of_psw
    values = np.array(ask(parts.grad_of_positions, upstream, *bags, shares), weight.dtype)
    rows = bags[0] if D else bags[0][:0]  # torch keeps no entry where there is no feature
    return SparseGradient(rows.copy()[None], values.reshape(len(rows), D), (V, D)), of_psw


def one_form(parts, input, offsets, include_last_offset):
    """indices (N,), starts (B,) and ends (B,), all int64."""
    starts = offsets
    if input.ndim == 2 or include_last_offset:
        input, starts = ask(parts.flatten, input, offsets, include_last_offset)
    indices = np.array(input, np.int64)
    starts = np.array(starts, np.int64)
    return indices, starts, np.array(ask(parts.ends_of, starts, len(indices)), np.int64)


def counted(parts, indices, starts, ends, padding_idx, V):
    """The positions that are no padding, and the bags among them."""
    if padding_idx is None:
        return np.arange(len(indices)), starts, ends
    found = ask(parts.drop_padding, indices, starts, ends, padding_idx, V)
    return tuple(np.array(each, np.int64) for each in found)


def wide(array):
    """In the dtype that sums are kept in: float64 for float64, float32 for all others."""
    return array.astype(np.float64 if array.dtype.itemsize == 8 else np.float32)


def in_todays_order(input, weight):
    """torch still takes (weight, input), an older order."""
    return (input, weight) if input.dtype.kind in "iu" else (weight, input)


def ask(part, *arguments):
    """Call one of your parts; it has to return something."""
    result = part(*arguments)
    if result is None:
        raise TypeError(f"{part.__name__} returned None (is a `return` missing?)")
    return result
