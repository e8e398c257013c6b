"""The fused step as plain loops: the text to read, and in float64 the truth for the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from embag_edu.beyond.fused import SGD, Adagrad, Adam, Optimizer, RowWiseAdagrad, State
from embag_edu.loops import frequencies, positions_of, weights_of_positions
from embag_edu.spec import Call, Saved


def step(
    call: Call, saved: Saved, grad_output: np.ndarray, optimizer: Optimizer, state: State
) -> None:
    """One update for each touched row, by the sum of its shares."""
    for row, gradient in sums_of_rows(call, saved, grad_output).items():
        decayed(call.weight[row], gradient, optimizer)
        w, arrays = call.weight[row], state.arrays
        if isinstance(optimizer, SGD):
            step_sgd(w, gradient, optimizer)
        elif isinstance(optimizer, RowWiseAdagrad):
            step_row_wise(w, gradient, optimizer, arrays["sum"], row)
        elif isinstance(optimizer, Adagrad):
            step_adagrad(w, gradient, optimizer, arrays["sum"][row])
        elif isinstance(optimizer, Adam):
            m, v = arrays["exp_avg"][row], arrays["exp_avg_sq"][row]
            step_adam(w, gradient, optimizer, m, v, state.step)


def sums_of_rows(call: Call, saved: Saved, grad_output: np.ndarray) -> dict[int, np.ndarray]:
    """The gradient as a message: row -> (D,). Only rows that some position reads are in it."""
    sums: dict[int, np.ndarray] = {}
    upstream = grad_output.astype(call.accumulator, copy=False)
    psw, counts = weights_of_positions(call), frequencies(call)
    for bag in range(call.num_bags):
        for position in positions_of(call, bag):
            row, share = int(call.indices[position]), psw[position]
            if call.mode == "mean":
                share = share / int(saved.bag_sizes[bag])
            if call.scale_grad_by_freq:
                share = share / counts[row]
            gradient = sums.setdefault(row, np.zeros(call.embedding_dim, call.accumulator))
            for d in range(call.embedding_dim):
                gradient[d] += share * upstream[bag, d]
    return sums


def decayed(w: np.ndarray, g: np.ndarray, optimizer: Optimizer) -> None:
    """Weight decay is a part of the gradient."""
    for d in range(len(w)):
        if optimizer.weight_decay:
            g[d] += optimizer.weight_decay * wide(w[d], g)


def wide(number: Any, like: np.ndarray) -> Any:
    """A weight in the dtype that sums are kept in."""
    return like.dtype.type(number)


def step_sgd(w: np.ndarray, g: np.ndarray, optimizer: SGD) -> None:
    """w: (D,), a row of the table. g: (D,), its gradient."""
    for d in range(len(w)):
        w[d] = wide(w[d], g) - optimizer.lr * g[d]


def step_adagrad(w: np.ndarray, g: np.ndarray, optimizer: Adagrad, h: np.ndarray) -> None:
    """h: (D,), the sum of all squares so far, for each number."""
    for d in range(len(w)):
        h[d] += g[d] * g[d]
        w[d] = wide(w[d], g) - optimizer.lr * g[d] / (np.sqrt(h[d]) + optimizer.eps)


def step_row_wise(
    w: np.ndarray, g: np.ndarray, optimizer: RowWiseAdagrad, h: np.ndarray, row: int
) -> None:
    """h: (V,), the sum of the mean squares so far, one number for the whole row."""
    squares = g.dtype.type(0)
    for d in range(len(w)):
        squares += g[d] * g[d]
    if len(w):
        h[row] += squares / len(w)
    for d in range(len(w)):
        w[d] = wide(w[d], g) - optimizer.lr / (np.sqrt(h[row]) + optimizer.eps) * g[d]


def step_adam(
    w: np.ndarray, g: np.ndarray, optimizer: Adam, m: np.ndarray, v: np.ndarray, t: int
) -> None:
    """m, v: (D,), moving means of the gradient and of its square. t: the steps of the table."""
    one, two = optimizer.betas
    for d in range(len(w)):
        m[d] += (1 - one) * (g[d] - m[d])
        v[d] += (1 - two) * (g[d] * g[d] - v[d])
        w[d] = wide(w[d], g) - optimizer.rate(t) * m[d] / (np.sqrt(v[d]) + optimizer.eps)
