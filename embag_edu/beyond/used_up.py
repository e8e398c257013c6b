"""What a gradient that was used up can't do, and what can't follow a step in the backward.

A node of autograd that takes a step calls `note_use` in its forward, `check_step` first of all in
its backward, and `note_step` when the step was taken.
"""

from __future__ import annotations

import weakref
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from embag_edu.arrays import to_array
from embag_edu.beyond.fused import Optimizer, State


def hold_state(module: Any, optimizer: Optimizer) -> None:
    """Give a module with a `weight` its optimizer's arrays, zeros, as buffers optimizer_sum, ..."""
    weight = module.weight
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    for name, of in optimizer.arrays.items():
        shape = weight.shape[: 2 if of == "element" else 1]
        zeros = torch.zeros(shape, dtype=wide, device=weight.device)
        module.register_buffer(f"optimizer_{name}", zeros)


class CountsSteps(torch.nn.Module):
    """A module whose count of steps is in its state_dict: Adam's corrections go by it."""

    steps = 0
    optimizer: Optimizer | None = None

    @property
    def state(self) -> State:
        """The optimizer's state, on the memory of the buffers that `hold_state` made."""
        names = self.optimizer.arrays if self.optimizer else ()
        arrays = {name: to_array(getattr(self, f"optimizer_{name}")) for name in names}
        return State(arrays, self.steps)

    def get_extra_state(self) -> Tensor:
        """How many steps were taken."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """The reverse."""
        self.steps = int(state)


_uses: Any = WeakTensorKeyDictionary()  # a table -> the nodes of graphs that read it, while alive


def note_use(ctx: Any, weight: Tensor) -> None:
    """A forward has read the table; its backward will take a step."""
    ctx.spent = False
    _uses.setdefault(weight, weakref.WeakSet()).add(ctx)


def check_step(ctx: Any, weight: Tensor) -> None:
    """Raise RuntimeError where one step would not be the step of the whole gradient."""
    if torch.is_grad_enabled():
        raise RuntimeError("create_graph=True: a fused step has no derivative of its own")
    if ctx.spent:
        raise RuntimeError("a second backward through the same graph would be a second step")
    if ctx not in _uses.get(weight, ()):
        raise RuntimeError(
            "the forward read another table than the module's own (torch.func.functional_call, or "
            "a weight that was replaced since): a fused step updates the module's.\n  To mend it: "
            "embag_edu.nn.EmbeddingBag there."
        )
    others = [node for node in _uses[weight] if node is not ctx and not node.spent]
    if any(torch._C._will_engine_execute_node(node) for node in others):
        raise RuntimeError(
            "the table has several uses in one graph, and the step of the first would come before "
            "the gradient of the next.\n  To mend it: one call with the bags of all uses."
        )
    if weight.grad is not None:
        raise RuntimeError(
            "the table has taken a step, and zero_grad has not been called since: a fused step "
            "can't accumulate gradients.\n  To mend it: model.zero_grad() before each backward (no "
            "optimizer's: none of torch's has the table); one call for a larger batch."
        )


def note_step(ctx: Any, *weights: Tensor) -> None:
    """The tables have changed, and their gradient is gone."""
    ctx.spent = True
    for weight in weights:
        torch.autograd.graph.increment_version(weight)
        weight.grad = UsedUp(weight)


class UsedUp(Tensor):
    """`weight.grad` after a fused step: a shape without numbers. Whatever reads it, raises."""

    @staticmethod
    def __new__(cls, weight: Tensor) -> UsedUp:
        """In the form of weight."""
        made: UsedUp = Tensor._make_wrapper_subclass(
            cls, weight.shape, dtype=weight.dtype, device=weight.device
        )
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"UsedUp(shape={tuple(self.shape)})"

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), given: Any = None
    ) -> Any:
        """As of any tensor; but an optimizer's first question is answered by the error."""
        if function == Tensor.is_sparse.__get__:
            cls.__torch_dispatch__("an optimizer", types)
        return super().__torch_function__(function, types, args, given or {})

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, *_: Any) -> NoReturn:
        raise RuntimeError(
            "the gradient of a fused table was used up in the backward: it can't be clipped, "
            "scaled or given to another optimizer.\n  To mend it: dense_parameters(model) are all "
            "others; zero_grad() sets this gradient to None."
        )
