"""Call an implementation, whatever its form, and write down all that it did.

An implementation is a function of torch's signature, on torch tensors (its gradients then come from
autograd) or on NumPy arrays, or a pair (forward, backward), where backward takes grad_output first
and then the forward's arguments, and returns (grad_weight, grad_per_sample_weights).
"""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.api import implementation_of
from embag_edu.arrays import on_host, to_tensor
from embag_edu.check.cases import Arguments, laid_out
from embag_edu.spec import SparseGradient

OURS = str(Path(__file__).resolve().parents[1])  # this package


class NotSupported(NotImplementedError):
    """Raised by an implementation that lacks what a call asks for: a mode, an option, a dtype.

    The check then says "not supported" of the clause, which is no failure and no pass. A plain
    NotImplementedError counts as one too, but only where no refusal is expected.
    """


@dataclass(frozen=True)
class Candidate:
    """The implementation under test, and which arrays it speaks."""

    forward: Callable[..., Any]
    backward: Callable[..., Any] | None
    arrays: str  # "numpy", "torch", "torch:cuda", or a module that makes arrays of NumPy's

    @property
    def shares(self) -> bool:
        """Whether its arrays lie in the memory of the arguments."""
        return self.arrays in ("numpy", "torch")


def is_torch(arrays: str) -> bool:
    """Whether `arrays` are tensors, on whatever device."""
    return arrays.partition(":")[0] == "torch"


@dataclass
class Trouble:
    """An exception, a hang or a crash."""

    stage: str  # "forward" or "backward"
    kinds: tuple[str, ...]  # the exception's class and its bases; ("hung",), ("died",)
    text: str
    line: str = ""  # where it came up: "loops.py, line 12: total += row"
    last_words: str = ""  # of a process that was lost: the end of its standard error

    @property
    def is_fatal(self) -> bool:
        """The process was lost, not just the call."""
        return self.kinds in (("hung",), ("died",))

    @property
    def lacks(self) -> bool:
        """The implementation says that it lacks what the call asks for."""
        return {"NotSupported", "NotImplementedError"} <= set(self.kinds)

    def __str__(self) -> str:
        if self.is_fatal:
            words = "".join(f"\n  it wrote: {line}" for line in self.last_words.splitlines())
            return f"the {self.stage} {self.text}{words}"
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
    left: list[str] = field(default_factory=list)  # global settings that are no longer the same
    trouble: Trouble | None = None


def is_lost(outcome: Outcome) -> bool:
    """Whether the process was lost in a call: it hung, or it died."""
    return outcome.trouble is not None and outcome.trouble.is_fatal


# How a call is made, if not simply once: `arguments["protocol"]`.
PROTOCOLS = {
    "twice": "the same call was made before",
    "kept": "results are looked at after another call was made",
    "between": "another forward comes between forward and backward",
    "updated": "an earlier call had the same arrays, with what `before` says in them",
    "backward twice": "the same backward was made before",
    "frozen weight": "torch: only per_sample_weights need a gradient",
    "constant weights": "torch: only weight needs a gradient",
    "no grad": "torch: under torch.no_grad()",
}


def run(candidate: Candidate, arguments: Arguments, backward: bool = True) -> Outcome:
    """Call the candidate on fresh copies of the arguments; raises nothing but KeyboardInterrupt."""
    protocol = arguments.get("protocol", "")
    given = laid_out(arguments)
    before = {name: np.array(v) for name, v in given.items() if isinstance(v, np.ndarray)}
    callers = _settings()
    _set(callers | ({"torch's number of threads": 1} if callers else {}))
    settings = _settings()
    prepared = _prepared(candidate, given)
    other = _prepared(candidate, _another(given)) if protocol in ("kept", "between") else {}
    if protocol in ("twice", "updated"):
        _earlier_call(candidate, prepared, arguments.get("before", {}), backward)
    _poison(before)
    attempt = _Attempt(candidate, backward, protocol, other)
    with implementation_of("cuda").checking("wait"):  # type: ignore[attr-defined]  # errors at once
        outcome = attempt.make(prepared)
    if protocol == "kept":
        _Attempt(candidate, backward).make(other)
    outcome.left = [name for name, value in settings.items() if _settings()[name] != value]
    _set(callers)
    attempt.finish()
    after = (
        given if candidate.shares else {n: to_host(candidate.arrays, prepared[n]) for n in before}
    )
    outcome.weight_after = np.array(after["weight"])
    outcome.changed = [n for n in before if n != "weight" and not _same(before[n], after[n])]
    return outcome


def _prepared(candidate: Candidate, given: Arguments) -> Arguments:
    """The arguments as the candidate takes them; tensors of the CPU share the arrays' memory."""
    if candidate.arrays == "numpy":
        return given
    place, _, device = candidate.arrays.partition(":")

    def make(array: np.ndarray) -> Any:
        if place != "torch":
            return importlib.import_module(place).asarray(array)
        return to_tensor(array).to(device) if device else to_tensor(array)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an expanded array can't be written to: torch warns
        return {n: make(v) if isinstance(v, np.ndarray) else v for n, v in given.items()}


def to_host(arrays: str, result: Any) -> Any:
    """A result as NumPy has it; what is no array of a kind that `arrays` names stays as it is."""
    if is_torch(arrays):
        return on_host(result)
    if isinstance(result, tuple):
        return tuple(to_host(arrays, part) for part in result)
    if isinstance(result, np.ndarray) or not hasattr(result, "__dlpack__"):
        return result
    if hasattr(result, "get"):  # CuPy's
        return result.get()
    with suppress(BufferError, RuntimeError, TypeError):  # NumPy has no bfloat16, and no GPU
        return np.from_dlpack(result)
    return np.asarray(result)


def _earlier_call(
    candidate: Candidate, prepared: Arguments, before: Arguments, backward: bool
) -> None:
    """A call on the same arrays that hold other numbers, with other options; then put all back."""
    if not candidate.shares:  # such arrays may not be written to
        values = _prepared(candidate, {n: v for n, v in before.items()})
        _Attempt(candidate, backward).make(prepared | values)
        return
    names = {"weight", *before}
    kept = {n: _copy(v) for n, v in prepared.items() if n in names and _is_array(v)}
    for name in kept.keys() & before.keys():
        _overwrite(prepared[name], before[name])
    options = {n: v for n, v in before.items() if n not in kept}
    _Attempt(candidate, backward).make(prepared | options)
    for name, values in kept.items():
        _overwrite(prepared[name], values)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "copy_")


def _copy(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value.detach().clone()


def _overwrite(place: Any, values: Any) -> None:
    """Write into an array; into a tensor so that torch takes note of it."""
    if isinstance(place, np.ndarray):
        place[...] = values
        return
    import torch

    with torch.no_grad():
        place.copy_(to_tensor(values) if isinstance(values, np.ndarray) else values)


def _another(given: Arguments) -> Arguments:
    """A call of the same shapes with other numbers."""
    other = {n: np.array(v) if isinstance(v, np.ndarray) else v for n, v in given.items()}
    other["input"] = other["input"][::-1].copy()
    other["weight"] = 1 - other["weight"]
    if "grad_output" in other:
        other["grad_output"] = other["grad_output"] * 2
    return other


class _Attempt:
    """One call of a candidate, forward and then backward."""

    def __init__(
        self,
        candidate: Candidate,
        backward: bool,
        protocol: str = "",
        other: Arguments | None = None,  # the call that comes between forward and backward
    ) -> None:
        self.candidate, self.backward, self.protocol = candidate, backward, protocol
        self.other = other or {}
        self.outcome = Outcome()
        self.stage = "forward"

    def make(self, given: Arguments) -> Outcome:
        """Make the call; the results in the outcome are still the candidate's own arrays."""
        rest = {name: value for name, value in given.items() if name != "grad_output"}
        grad_output = given.get("grad_output") if self.backward else None
        steps = self._torch if is_torch(self.candidate.arrays) else self._numpy
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                steps(rest, grad_output)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.outcome.trouble = trouble_of(self.stage, error)
        return self.outcome

    def finish(self) -> None:
        """Copy the results; that one can't be read is an exception of its stage."""
        for name in ("output", "grad_weight", "grad_psw"):
            result = getattr(self.outcome, name)
            try:
                result = _copied(to_host(self.candidate.arrays, result))
            except Exception as error:
                stage, result = "forward" if name == "output" else "backward", None
                self.outcome.trouble = self.outcome.trouble or trouble_of(stage, error)
            setattr(self.outcome, name, result)

    def _between(self) -> None:
        if self.protocol == "between":
            _Attempt(self.candidate, False).make(self.other)

    # ---- NumPy ----

    def _numpy(self, rest: Arguments, grad_output: Any) -> None:
        outcome, backward = self.outcome, self.candidate.backward
        options = {n: v for n, v in rest.items() if n not in ("input", "weight")}
        outcome.output = self.candidate.forward(rest["input"], rest["weight"], **options)
        outcome.stale = _stale(outcome.output, rest)
        if grad_output is None or backward is None:
            return
        self._between()
        self.stage = "backward"
        for _ in range(2 if self.protocol == "backward twice" else 1):
            gradients = backward(grad_output, rest["input"], rest["weight"], **options)
        is_pair = isinstance(gradients, tuple) and len(gradients) == 2
        pair = gradients if is_pair else (gradients, None)
        outcome.grad_weight, outcome.grad_psw = pair
        values = pair[0][1] if isinstance(pair[0], tuple) and len(pair[0]) == 3 else pair[0]
        given = dict(rest, grad_output=grad_output)
        outcome.stale += [f"grad_weight: {reason}" for reason in _stale(values, given)]
        outcome.stale += [f"grad_psw: {reason}" for reason in _stale(pair[1], given)]

    # ---- torch ----

    def _torch(self, tensors: Arguments, grad_output: Any) -> None:
        import torch

        leaves = self._leaves(tensors) if grad_output is not None else {}
        options = {n: v for n, v in tensors.items() if n not in ("input", "weight")}
        with torch.set_grad_enabled(self.protocol != "no grad"):
            output = self.candidate.forward(tensors["input"], tensors["weight"], **options)
        self.outcome.output = output
        self.outcome.stale = _stale_tensor(output, tensors)
        if grad_output is None or self.protocol == "no grad":
            return
        self._between()
        self.stage = "backward"
        for _ in range(2 if self.protocol == "backward twice" else 1):
            gradients = self._gradients(output, leaves, grad_output, tensors, options)
        self.outcome.grad_weight = gradients.get("weight")
        self.outcome.grad_psw = gradients.get("per_sample_weights")

    def _leaves(self, tensors: Arguments) -> Arguments:
        skipped = {"frozen weight": "weight", "constant weights": "per_sample_weights"}
        names = [n for n in ("weight", "per_sample_weights") if n != skipped.get(self.protocol)]
        leaves = {n: tensors[n] for n in names if _is_floating(tensors.get(n))}
        for leaf in leaves.values():
            leaf.requires_grad_()
        return leaves

    def _gradients(
        self, output: Any, leaves: Arguments, grad_output: Any, tensors: Arguments, rest: Arguments
    ) -> Arguments:
        import torch

        if self.candidate.backward is not None:
            input, weight = tensors["input"], tensors["weight"]
            gradients = self.candidate.backward(grad_output, input, weight, **rest)
            pair = tuple(gradients) if isinstance(gradients, tuple) else (gradients, None)
            return dict(zip(("weight", "per_sample_weights"), pair, strict=False))
        if not output.requires_grad:
            raise RuntimeError(
                "no gradient: the output does not require grad, so autograd cannot reach weight. "
                "Give a pair (forward, backward), or promise no 'gradients' among the forms"
            )
        gradients = torch.autograd.grad(
            output, list(leaves.values()), grad_output, retain_graph=True, allow_unused=True
        )
        return dict(zip(leaves, gradients, strict=True))


def trouble_of(stage: str, error: BaseException) -> Trouble:
    """An exception, written down."""
    kinds = tuple(c.__name__ for c in type(error).__mro__ if c is not object)
    try:
        text = str(error)
    except Exception:
        text = "(its text could not be made)"
    return Trouble(stage, kinds, text, _line_of(error))


def _line_of(error: BaseException) -> str:
    """The innermost line that belongs neither to this package nor to an installed one."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith((OURS, "<")) and f.line]
    theirs = [f for f in theirs if "site-packages" not in Path(f.filename).parts]
    if not theirs:
        return ""
    return f"{Path(theirs[-1].filename).name}, line {theirs[-1].lineno}: {theirs[-1].line}"


def _copied(result: Any) -> Any:
    """Results of NumPy as they are now; a triple is a sparse gradient."""
    if type(result) is np.ndarray:
        return np.array(result)
    if isinstance(result, tuple) and len(result) == 3:
        return SparseGradient(*(_copied(part) for part in result))
    return result


# ---- global settings ------------------------------------------------------------------------


def _settings() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def _set(settings: dict[str, Any]) -> None:
    """Set what differs only: torch's deterministic mode takes a second to be set."""
    if not settings:
        return
    torch, now = sys.modules["torch"], _settings()
    setters = {
        "torch's default dtype": torch.set_default_dtype,
        "torch's number of threads": torch.set_num_threads,
        "torch's grad mode": torch.set_grad_enabled,
        "torch's deterministic mode": torch.use_deterministic_algorithms,
    }
    for name, value in settings.items():
        if now[name] != value:
            setters[name](value)


# ---- arrays ---------------------------------------------------------------------------------


def _poison(arrays: Arguments) -> None:
    """Leave NaN in the memory that the next np.empty of these sizes will likely get."""
    for name in ("weight", "grad_output", "per_sample_weights"):
        if name in arrays and arrays[name].dtype.kind != "i":
            blocks = [np.full(arrays[name].shape, np.nan, arrays[name].dtype) for _ in range(3)]
            del blocks


def _same(one: np.ndarray, other: Any) -> bool:
    """Equal to the last bit, NaN included."""
    return np.array(one).tobytes() == np.array(other).tobytes()


def _stale(output: Any, given: Arguments) -> list[str]:
    if not isinstance(output, np.ndarray):
        return []
    reasons = [] if output.flags.c_contiguous else ["it is not contiguous"]
    return reasons + [
        f"it shares memory with {name}"
        for name, value in given.items()
        if isinstance(value, np.ndarray) and np.shares_memory(output, value)
    ]


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
