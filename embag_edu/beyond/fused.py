"""Fused optimizers: the backward takes the step itself, and the gradient never becomes a table.

A call touches U of the V rows. torch's dense gradient has V rows all the same, and a dense
optimizer reads and writes each of them. Here the gradient is a message to U rows: it is summed, row
by row, and used up at once.

    optimizer = RowWiseAdagrad(lr=0.1)
    state = optimizer.state(weight)
    fused_step(G, input, weight, offsets, mode="sum", optimizer=optimizer, state=state)

All optimizers are exact: a row that occurs ten times gets one update by the sum of its ten shares.
All are lazy: a row that no position reads keeps its weights and its state, weight decay included. A
row that is read is touched, though its gradient be zero; a padding position touches nothing.

Letters: V rows in weight, D features, B bags, U rows that are touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np


@dataclass
class State:
    """What an optimizer remembers of a table: arrays by name, and how many steps were taken.

    arrays: (V, D) or (V,), in the dtype that sums are kept in (float64 for a float64 table, else
        float32). They lie where the table does, and steps change them in place.
    """

    arrays: dict[str, Any] = field(default_factory=dict)
    step: int = 0


@dataclass
class Optimizer:
    """What all have. lr, learning rate: more than 0; it may be changed between two steps.

    weight_decay: L2, as in torch's SGD and Adagrad: weight_decay * w is added to the gradient. Of
        touched rows only.
    """

    lr: float
    weight_decay: float = 0.0

    # The arrays of the state: a number for each "element" (V, D), or for each "row" (V,).
    arrays: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raise ValueError for numbers that no step can be taken with."""
        _within("lr", self.lr, self.lr > 0, "more than 0, such as 0.01")
        _within("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")

    def state(self, weight: Any) -> State:
        """The state before the first step, zeros, for a table (V, D) of NumPy."""
        shapes = {"element": weight.shape, "row": weight.shape[:1]}
        dtype = accumulator(weight.dtype)
        return State({name: np.zeros(shapes[of], dtype) for name, of in self.arrays.items()})

    def slots(self, state: State) -> list[Any]:
        """The state's arrays, in the order in which `formula` takes them."""
        return [state.arrays[name] for name in self.arrays]

    def update(self, w: np.ndarray, g: np.ndarray, slots: list[np.ndarray], step: int) -> None:
        """One step of n rows, in place. w, g: (n, D). slots: the rows' parts of the state."""
        if self.weight_decay:
            g = g + self.weight_decay * w
        self.formula(w, g, *slots, step)

    def formula(self, w: np.ndarray, g: np.ndarray, *slots_and_step: Any) -> None:
        """What makes the optimizer."""
        raise NotImplementedError


@dataclass
class SGD(Optimizer):
    """w -= lr g."""

    def formula(self, w, g, step) -> None:  # type: ignore
        w -= self.lr * g


@dataclass
class Adagrad(Optimizer):
    """h += g^2; w -= lr g / (sqrt(h) + eps): torch's, without lr_decay. eps is torch's default."""

    eps: float = 1e-10
    arrays: ClassVar[dict[str, str]] = {"sum": "element"}

    def check(self) -> None:
        """As `Optimizer`; eps must be more than 0: a first gradient of 0 would give 0 / 0."""
        super().check()
        _within("eps", self.eps, self.eps > 0, "more than 0, such as 1e-10")

    def formula(self, w, g, h, step) -> None:  # type: ignore
        h += g * g
        w -= self.lr * g / (np.sqrt(h) + self.eps)


@dataclass
class RowWiseAdagrad(Adagrad):
    """h += mean(g^2) of the row; w -= lr g / (sqrt(h) + eps): FBGEMM's, and its default eps.

    One number of state for a row, where Adagrad has D.
    """

    eps: float = 1e-8
    arrays: ClassVar[dict[str, str]] = {"sum": "row"}

    def formula(self, w, g, h, step) -> None:  # type: ignore
        h += np.einsum("nd,nd->n", g, g) / g.shape[1]  # the mean of g * g, without a (n, D) of it
        w -= (self.lr / (np.sqrt(h) + self.eps))[:, None] * g


@dataclass
class Adam(Optimizer):
    """Lazy Adam: torch's SparseAdam. t counts the steps of the table, not those of a row.

    m += (1 - b1) (g - m); v += (1 - b2) (g^2 - v);
    w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps). (Adam's own eps stands elsewhere: it
    is added after the correction of v.)
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    arrays: ClassVar[dict[str, str]] = {"exp_avg": "element", "exp_avg_sq": "element"}

    def check(self) -> None:
        """As `Optimizer`; betas: two numbers, 0 or more and less than 1; eps: more than 0."""
        super().check()
        fits = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _within("betas", self.betas, fits, "two numbers, 0 or more and less than 1")
        _within("eps", self.eps, self.eps > 0, "more than 0, such as 1e-8")

    def rate(self, step: int) -> float:
        """lr, with the corrections for the zeros that m and v began with."""
        one, two = (1 - beta**step for beta in self.betas)
        return self.lr * math.sqrt(two) / one

    def formula(self, w, g, m, v, step) -> None:  # type: ignore
        one, two = self.betas
        m += (1 - one) * (g - m)
        v += (1 - two) * (g * g - v)
        w -= self.rate(step) * m / (np.sqrt(v) + self.eps)


OPTIMIZERS = (SGD, Adagrad, RowWiseAdagrad, Adam)


def _within(name: str, value: Any, fits: bool, valid: str) -> None:
    if not fits or not np.all(np.isfinite(value)):
        raise ValueError(f"{name} is {value!r}; valid: {valid}")


def accumulator(dtype: Any) -> np.dtype:
    """The dtype that sums and states are kept in."""
    return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
