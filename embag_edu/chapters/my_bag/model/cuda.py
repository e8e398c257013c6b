"""My EmbeddingBag as CUDA kernels: chapters 07 to 11. The kernels stand in kernels.cu.

The parts of loops.py once more, with the same arguments and results, in NumPy arrays. Each part
makes room for its result, launches a kernel, and returns the result. Without a GPU the kernels run
on the CPU, and are checked. Dropping padding, rescaling and the shares are those of vectorized.py.
"""

import functools
import sys
from pathlib import Path

import numpy as np

from embag_edu.check import NotSupported
from embag_edu.cuda_on_cpu import device

from . import loops, steps, vectorized

# ======== Given: launching ========

BLOCK = 128  # threads of a block


@functools.lru_cache(maxsize=4)
def module(code):
    """The kernels of a source, compiled when one of them is first launched."""
    return device().RawModule(code=code)


def launch(name, threads, T, *arguments):
    """Start the kernel `name` of kernels.cu with at least `threads` threads, in whole blocks.

    T: the dtype that stands for T in the kernels, float32 or float64.
    arguments: those of the kernel, in order: arrays (NumPy's go to the device), whole numbers.
    """
    if threads == 0:
        return
    kind = {"float32": "float", "float64": "double"}[np.dtype(T).name]
    code = Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")
    kernel = module(f"typedef {kind} T; {code}").get_function(name)
    on_device = [device().asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    blocks = -(-threads // BLOCK)  # rounded up
    kernel((blocks,), (BLOCK,), tuple(on_device))


def full(shape, value, T):
    """A new array on the device, full of one value."""
    return device().full(shape, value, T)


def back(array):
    """An array of the device as a NumPy array."""
    return device().asnumpy(array)


# ======== Stage 07 (chapter 07): a first kernel, the sum ========


def sum_of_bags(table, indices, starts, ends):
    """As in loops.py, by the kernel sum_of_bags: one thread for each of the B * D elements."""
    B, D = len(starts), table.shape[1]
    output = full((B, D), 0, table.dtype)
    launch("sum_of_bags", B * D, table.dtype, table, indices, starts, ends, output, B, D)
    return back(output)


# ======== Stage 08 (chapter 08): mean and weighted sum ========


def mean_of_bags(table, indices, starts, ends):
    """As in loops.py, by the kernel mean_of_bags."""
    B, D = len(starts), table.shape[1]
    output = full((B, D), 0, table.dtype)
    launch("mean_of_bags", B * D, table.dtype, table, indices, starts, ends, output, B, D)
    return back(output)


def weighted_sum_of_bags(table, indices, starts, ends, psw):
    """As in loops.py, by the kernel weighted_sum_of_bags."""
    B, D = len(starts), table.shape[1]
    output = full((B, D), 0, table.dtype)
    bags = (table, indices, starts, ends, psw)
    launch("weighted_sum_of_bags", B * D, table.dtype, *bags, output, B, D)
    return back(output)


# ======== Stage 09 (chapter 09): the maximum and its winners ========


def max_and_winners(table, indices, starts, ends):
    """max_of_bags and winners of loops.py at once, by one kernel: a pair of arrays (B, D)."""
    B, D = len(starts), table.shape[1]
    output, won = full((B, D), 0, table.dtype), full((B, D), -1, np.int64)
    launch("max_of_bags", B * D, table.dtype, table, indices, starts, ends, output, won, B, D)
    return back(output), back(won)


# ======== Stage 10 (chapter 10): the backward with atomics ========


def grad_of_positions(upstream, indices, starts, ends, shares):
    """As in loops.py, by the kernel grad_of_positions: one thread for each of N * D elements.

    bag_of_each(starts, ends) below gives the kernel the bag of each position.
    """
    N, D = len(indices), upstream.shape[1]
    values = full((N, D), 0, upstream.dtype)
    bags = bag_of_each(starts, ends)
    launch("grad_of_positions", N * D, upstream.dtype, upstream, bags, shares, values, N, D)
    return back(values)


def grad_with_atomics(upstream, indices, starts, ends, shares, V):
    """grad_of_rows of loops.py, by the kernel add_to_rows: threads add with atomicAdd."""
    N, D = len(indices), upstream.shape[1]
    grad = full((V, D), 0, upstream.dtype)
    bags = bag_of_each(starts, ends)
    launch("add_to_rows", N * D, upstream.dtype, upstream, indices, bags, shares, grad, N, D)
    return back(grad)


def grad_of_winners(upstream, winners, V):
    """As in loops.py, by the kernel add_to_winners."""
    B, D = upstream.shape
    grad = full((V, D), 0, upstream.dtype)
    launch("add_to_winners", B * D, upstream.dtype, upstream, winners, grad, B, D)
    return back(grad)


def grad_of_weights(upstream, table, indices, starts, ends):
    """As in loops.py, by the kernel grad_of_weights: one thread for each of the N positions."""
    N, D = len(indices), upstream.shape[1]
    grad = full(N, 0, upstream.dtype)
    bags = bag_of_each(starts, ends)
    launch("grad_of_weights", N, upstream.dtype, upstream, table, indices, bags, grad, N, D)
    return back(grad)


# ======== Stage 11 (chapter 11): the backward by sorting ========


def grad_by_sorting(upstream, indices, starts, ends, shares, V):
    """grad_of_rows of loops.py, by the kernel add_sorted: no atomics, the same bits every time.

    np.argsort(indices, kind="stable") sorts the positions; np.unique(indices, return_counts=True)
    says which rows occur, and how often.
    """
    D = upstream.shape[1]
    grad = full((V, D), 0, upstream.dtype)
    order = np.argsort(indices, kind="stable")
    rows, counts = np.unique(indices, return_counts=True)
    last = np.cumsum(counts)
    sorted_bags = (bag_of_each(starts, ends), shares, order, rows, last - counts, last)
    U = len(rows)
    launch("add_sorted", U * D, upstream.dtype, upstream, *sorted_bags, grad, U, D)
    return back(grad)


# ======== Given: the parts together, called as torch's embedding_bag is ========


ends_of = loops.ends_of
flatten = loops.flatten
drop_padding = vectorized.drop_padding
rescale_rows = vectorized.rescale_rows
shares = vectorized.shares


def bag_of_each(starts, ends):
    """The bag of each position, (N,) int64."""
    return np.repeat(np.arange(len(starts)), ends - starts)


def max_of_bags(table, indices, starts, ends):
    """The first of the pair."""
    return max_and_winners(table, indices, starts, ends)[0]


def winners(table, indices, starts, ends):
    """The second of the pair."""
    return max_and_winners(table, indices, starts, ends)[1]


def grad_of_rows(upstream, indices, starts, ends, shares, V):
    """By sorting; as long as stage 11 is not built, with atomics."""
    try:
        return grad_by_sorting(upstream, indices, starts, ends, shares, V)
    except NotSupported:
        return grad_with_atomics(upstream, indices, starts, ends, shares, V)


def embedding_bag(input, weight, offsets=None, **options):
    """The output. Arguments: those of torch.nn.functional.embedding_bag, as NumPy arrays."""
    return steps.forward(sys.modules[__name__], input, weight, offsets, **options)


def backward(grad_output, input, weight, offsets=None, **options):
    """The gradients of weight and per_sample_weights."""
    return steps.backward(sys.modules[__name__], grad_output, input, weight, offsets, **options)
