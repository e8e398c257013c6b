"""Call an implementation, whatever its form, and write down all that it did.

An implementation is a function of torch's signature, on torch tensors (its gradients then come from
autograd) or on NumPy arrays, or a pair (forward, backward), where backward takes grad_output first
and then the forward's arguments, and returns (grad_weight, grad_per_sample_weights).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embag_edu.check.cases import Arguments, laid_out
from embag_edu.spec import SparseGradient


@dataclass(frozen=True)
class Subject:
    """The implementation under test, and which arrays it speaks."""

    forward: Callable[..., Any]
    backward: Callable[..., Any] | None
    arrays: str  # "numpy" or "torch"


@dataclass
class Trouble:
    """An exception, a hang or a crash."""

    stage: str  # "forward" or "backward"
    kinds: tuple[str, ...]  # the exception's class and its bases; ("hung",), ("died",)
    text: str

    @property
    def is_fatal(self) -> bool:
        """The process was lost, not just the call."""
        return self.kinds in (("hung",), ("died",))

    def __str__(self) -> str:
        if self.is_fatal:
            return f"the {self.stage} {self.text}"
        return f"the {self.stage} raised {self.kinds[0]}: {self.text}"


@dataclass
class Outcome:
    """What one call did: results, exceptions, and what became of the arguments."""

    output: Any = None
    grad_weight: Any = None
    grad_psw: Any = None
    weight_after: Any = None
    changed: list[str] = field(default_factory=list)  # arguments that are no longer what they were
    stale: list[str] = field(default_factory=list)  # why the output is not a fresh array
    trouble: Trouble | None = None


def run(subject: Subject, arguments: Arguments, backward: bool = True) -> Outcome:
    """Call the subject on fresh copies of the arguments; never raises an Exception itself."""
    given = laid_out(arguments)
    before = {name: np.array(v) for name, v in given.items() if isinstance(v, np.ndarray)}
    outcome = Outcome()
    steps = _run_torch if subject.arrays == "torch" else _run_numpy
    grad_output = given.pop("grad_output", None)
    _poison(before)
    stage = ["forward"]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            steps(subject, given, grad_output if backward else None, outcome, stage)
    except (Exception, SystemExit) as error:
        kinds = tuple(c.__name__ for c in type(error).__mro__[:-1])
        outcome.trouble = Trouble(stage[0], kinds, str(error))
    after = dict(given, grad_output=grad_output)
    outcome.weight_after = np.array(given["weight"])
    outcome.changed = [n for n in before if n != "weight" and not _same(before[n], after[n])]
    return outcome


def _poison(arrays: Arguments) -> None:
    """Leave NaN in the memory that the next np.empty of these sizes will likely get."""
    for name in ("weight", "grad_output", "per_sample_weights"):
        if name in arrays and arrays[name].dtype.kind != "i":
            blocks = [np.full(arrays[name].shape, np.nan, arrays[name].dtype) for _ in range(3)]
            del blocks


def _same(one: np.ndarray, other: Any) -> bool:
    """Equal to the last bit, NaN included."""
    return np.array(one).tobytes() == np.array(other).tobytes()


def _split(given: Arguments) -> tuple[Any, Any, Arguments]:
    rest = {name: value for name, value in given.items() if name not in ("input", "weight")}
    return given["input"], given["weight"], rest


# ---- NumPy ----------------------------------------------------------------------------------


def _run_numpy(
    subject: Subject, given: Arguments, grad_output: Any, outcome: Outcome, stage: list[str]
) -> None:
    input, weight, rest = _split(given)
    output = subject.forward(input, weight, **rest)
    outcome.stale = _stale(output, given)
    outcome.output = np.array(output) if isinstance(output, np.ndarray) else output
    if grad_output is None or subject.backward is None:
        return
    stage[0] = "backward"
    gradients = subject.backward(grad_output, input, weight, **rest)
    pair = gradients if isinstance(gradients, tuple) and len(gradients) == 2 else (gradients, None)
    outcome.grad_weight, outcome.grad_psw = pair


def _stale(output: Any, given: Arguments) -> list[str]:
    if not isinstance(output, np.ndarray):
        return []
    arrays = {n: v for n, v in given.items() if isinstance(v, np.ndarray)}
    reasons = [
        f"it shares memory with {n}" for n, v in arrays.items() if np.shares_memory(output, v)
    ]
    return reasons + ([] if output.flags.c_contiguous else ["it is not contiguous"])


# ---- torch ----------------------------------------------------------------------------------


def _run_torch(
    subject: Subject, given: Arguments, grad_output: Any, outcome: Outcome, stage: list[str]
) -> None:
    tensors = {n: to_tensor(v) if isinstance(v, np.ndarray) else v for n, v in given.items()}
    leaves = [tensors[n] for n in ("weight", "per_sample_weights") if _is_floating(tensors.get(n))]
    for leaf in leaves if grad_output is not None else []:
        leaf.requires_grad_()
    input, weight, rest = _split(tensors)
    output = subject.forward(input, weight, **rest)
    outcome.stale = _stale_tensor(output, tensors)
    outcome.output = to_array(output)
    if grad_output is None:
        return
    stage[0] = "backward"
    if subject.backward is not None:
        found = subject.backward(to_tensor(grad_output), input, weight, **rest)
        found = tuple(found) if isinstance(found, tuple) else (found, None)
    else:
        found = _autograd(output, leaves, to_tensor(grad_output))
    outcome.grad_weight, outcome.grad_psw = (to_array(g) for g in (*found, None)[:2])


def _autograd(output: Any, leaves: list[Any], grad_output: Any) -> tuple[Any, ...]:
    import torch

    if not output.requires_grad:
        raise RuntimeError(
            "no gradient: the output does not require grad, so autograd cannot reach weight. "
            "Give a pair (forward, backward), or check only 'forward'"
        )
    return torch.autograd.grad(output, leaves, grad_output, allow_unused=True)


def _is_floating(value: Any) -> bool:
    return hasattr(value, "is_floating_point") and value.is_floating_point()


def _stale_tensor(output: Any, tensors: Arguments) -> list[str]:
    import torch

    if not isinstance(output, torch.Tensor) or output.numel() == 0:
        return []
    mine = output.untyped_storage().data_ptr()
    reasons = [
        f"it shares memory with {name}"
        for name, value in tensors.items()
        if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() == mine
    ]
    return reasons + ([] if output.is_contiguous() else ["it is not contiguous"])


def to_tensor(array: np.ndarray) -> Any:
    """A tensor that shares the array's memory and strides; bfloat16 too."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_array(tensor: Any) -> Any:
    """The NumPy form of a result: an array, a SparseGradient, or the thing itself."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        return tensor
    tensor = tensor.detach().cpu()
    if tensor.layout == torch.sparse_coo:
        indices, values = to_array(tensor._indices()), to_array(tensor._values())
        return SparseGradient(indices, values, tuple(tensor.shape))
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return np.array(tensor.numpy())
