"""Who is timed. Each makes a job of a call: a forward and a backward without arguments.

Ours, torch's, and the steps in between that the book goes through: they are not the whole operator,
but sum it up (mode "sum", no options) by one algorithm each. All work on the same arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from embag_edu import vectorized
from embag_edu.spec import Call, make_call


@dataclass
class Job:
    """One call, ready to be made. Results are arrays, a SparseGradient, or tensors."""

    forward: Callable[[], Any] | None
    backward: Callable[[], Any] | None = None
    both: Callable[[], Any] | None = None  # one after the other; returns the gradient
    train: Callable[[], Any] | None = None  # these and a step of SGD, as a torch module; the same


def ours(call: Call, grad_output: np.ndarray) -> Job:
    """embag_edu.vectorized: the forward with its check of the arguments, as a caller has it."""
    _, saved = vectorized.forward(call)

    def forward() -> Any:
        return vectorized.forward(again(call))[0]

    def backward() -> Any:
        return vectorized.grad_weight(call, saved, grad_output)

    def both() -> Any:
        checked = again(call)
        _, kept = vectorized.forward(checked)
        return vectorized.grad_weight(checked, kept, grad_output)

    def module(rows: int, features: int, **options: Any) -> Any:
        from embag_edu import nn

        return nn.EmbeddingBag(rows, features, implementation="vectorized", **options)

    return Job(forward, backward, both, training(module, call, grad_output))


def training(make: Callable[..., Any], call: Call, grad_output: np.ndarray) -> Callable[[], Any]:
    """A training step of a module that `make` makes: it has a table of its own, made when first
    asked for, and returns the table's gradient."""

    @functools.cache
    def made() -> tuple[Any, Any]:
        import torch

        table = torch.from_numpy(call.weight.copy())
        options = {"mode": call.mode, "sparse": call.sparse, "include_last_offset": True}
        module = make(*call.weight.shape, _weight=table, **options)
        return module, torch.optim.SGD(module.parameters(), lr=1e-3)

    def train() -> Any:
        import torch

        module, stepper = made()
        stepper.zero_grad()
        output = module(torch.from_numpy(call.indices), torch.from_numpy(call.offsets))
        output.backward(torch.from_numpy(grad_output))
        stepper.step()
        return module.weight.grad

    return train


def again(call: Call) -> Call:
    """Check the arguments of a call once more."""
    return make_call(
        call.indices,
        call.weight,
        call.offsets,
        mode=call.mode,
        sparse=call.sparse,
        include_last_offset=True,
        per_sample_weights=call.per_sample_weights,
    )


def torchs(call: Call, grad_output: np.ndarray) -> Job:
    """torch.nn.functional.embedding_bag, and its backward by autograd alone."""
    import torch

    weight = torch.from_numpy(call.weight).requires_grad_()
    words = (torch.from_numpy(call.indices), weight, torch.from_numpy(call.offsets))
    options = {"mode": call.mode, "sparse": call.sparse, "include_last_offset": True}
    bag, upstream = torch.nn.functional.embedding_bag, torch.from_numpy(grad_output)
    output = bag(*words, **options)

    def forward() -> Any:
        return bag(*words, **options)

    def backward() -> Any:
        return torch.autograd.grad(output, weight, upstream, retain_graph=True)[0]

    def both() -> Any:
        return torch.autograd.grad(bag(*words, **options), weight, upstream)[0]

    train = training(torch.nn.EmbeddingBag, call, grad_output)
    return Job(forward, backward, both, train)


def segment_reduce(call: Call, grad_output: np.ndarray) -> Job:
    """torch.segment_reduce of the gathered rows: what one has where there is no fused bag."""
    import torch

    rows, weight = torch.from_numpy(call.indices), torch.from_numpy(call.weight)
    offsets = torch.from_numpy(call.offsets)

    def forward() -> Any:
        return torch.segment_reduce(weight[rows], call.mode, offsets=offsets, axis=0, initial=0)

    return Job(forward)


def fbgemm(call: Call, grad_output: np.ndarray) -> Job:
    """FBGEMM's table-batched bag on the CPU, one table: forward only."""
    import torch
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        DenseTableBatchedEmbeddingBagsCodegen,
    )

    pooling = {"sum": PoolingMode.SUM, "mean": PoolingMode.MEAN}[call.mode]
    tables = [(call.num_embeddings, call.embedding_dim)]
    module = DenseTableBatchedEmbeddingBagsCodegen(tables, use_cpu=True, pooling_mode=pooling)
    module.weights = torch.nn.Parameter(torch.from_numpy(call.weight).view(-1))
    words = torch.from_numpy(call.indices), torch.from_numpy(call.offsets)
    return Job(lambda: module(*words))


def gather_reduceat(call: Call, grad_output: np.ndarray) -> Job:
    """Gather all rows, then np.add.reduceat; backward: sort by row, gather, np.add.reduceat."""
    filled = np.flatnonzero(np.diff(call.offsets))
    bag_of_position = np.repeat(np.arange(call.num_bags), np.diff(call.offsets))

    def forward() -> Any:
        output = np.zeros((call.num_bags, call.embedding_dim), call.weight.dtype)
        output[filled] = np.add.reduceat(call.weight[call.indices], call.offsets[filled], axis=0)
        return output

    def backward() -> Any:
        order = np.argsort(call.indices, kind="stable")
        rows, starts = np.unique(call.indices[order], return_index=True)
        gathered = grad_output[bag_of_position[order]]
        grad_weight = np.zeros_like(call.weight)
        grad_weight[rows] = np.add.reduceat(gathered, starts, axis=0)
        return grad_weight

    return Job(forward, backward)


def add_at(call: Call, grad_output: np.ndarray) -> Job:
    """np.add.at, in both directions."""
    bag_of_position = np.repeat(np.arange(call.num_bags), np.diff(call.offsets))

    def forward() -> Any:
        output = np.zeros((call.num_bags, call.embedding_dim), call.weight.dtype)
        np.add.at(output, bag_of_position, call.weight[call.indices])
        return output

    def backward() -> Any:
        grad_weight = np.zeros_like(call.weight)
        np.add.at(grad_weight, call.indices, grad_output[bag_of_position])
        return grad_weight

    return Job(forward, backward)


def sparse_product(call: Call, grad_output: np.ndarray) -> Job:
    """A @ weight and A.T @ grad_output, as SciPy does them."""

    def matrix() -> Any:
        ones = np.ones(call.num_positions, call.weight.dtype)
        return csr_array((ones, call.indices, call.offsets), shape=shape)

    shape = (call.num_bags, call.num_embeddings)
    return Job(lambda: matrix() @ call.weight, lambda: matrix().T @ grad_output)


OURS, TORCH = "vectorized", "torch"
IMPLEMENTATIONS: dict[str, Callable[[Call, np.ndarray], Job]] = {
    OURS: ours,
    TORCH: torchs,
    "torch.segment_reduce": segment_reduce,
    "FBGEMM": fbgemm,
    "np.add.at": add_at,
    "gather, reduceat": gather_reduceat,
    "sparse product": sparse_product,
}
STEPS_OF_THE_BOOK = ("np.add.at", "gather, reduceat", "sparse product")


def able(name: str, call: Call, step: str) -> bool:
    """Whether an implementation does this step of this call at all, and is installed."""
    if name in (OURS, TORCH):
        return True
    if call.mode == "max" or call.sparse or call.weight.dtype != np.float32:
        return False
    if name in STEPS_OF_THE_BOOK:
        return call.mode == "sum" and step in ("forward", "backward")
    return step == "forward" and (name != "FBGEMM" or (installed() and call.embedding_dim % 4 == 0))


def installed() -> bool:
    """Whether FBGEMM can be imported: its build must fit the installed torch."""
    try:
        import fbgemm_gpu  # noqa: F401
    except (ImportError, OSError):
        return False
    return True
