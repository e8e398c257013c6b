"""What a call should give: the loops in float64, and how far rounding may lead away from it.

How far is derived in `rounding`, from the sum of |terms|: to get that sum, the loops run a second
time, on absolute values.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from embag_edu import loops
from embag_edu.check import rounding
from embag_edu.check.candidate import Outcome, Trouble, trouble_of
from embag_edu.check.cases import Arguments, laid_out
from embag_edu.check.compare import difference
from embag_edu.spec import Call, SparseGradient, check_backward, make_call


@dataclass
class Expected:
    """The correct results in float64, a tolerance for each value; or the exception that is due."""

    dtype: Any = None
    output: Any = None
    output_tolerance: Any = 0.0
    grad_weight: Any = None
    grad_weight_tolerance: Any = 0.0
    grad_psw: Any = None
    grad_psw_tolerance: Any = 0.0
    weight_after: Any = None
    weight_before: Any = None
    trouble: Trouble | None = None
    sizes: dict[str, Any] = field(default_factory=dict)  # sum(|terms|) of each value, by its part
    ulps: float = 0.0  # of it, that a value may be off beyond its tolerance

    def tolerance(self, part: str) -> Any:
        """How far "output", "grad_weight" or "grad_psw" may be off."""
        tolerance = getattr(self, f"{part}_tolerance")
        if not self.ulps or part not in self.sizes:  # a maximum of the table's own rows is exact
            return tolerance
        return tolerance + self.slack * np.nan_to_num(self.sizes[part], posinf=0.0)

    @property
    def slack(self) -> float:
        """The ulps as a part of a number."""
        return 2 * self.ulps * rounding.units(self.dtype).stored if self.ulps else 0.0


def expect(arguments: Arguments) -> Expected:
    """The correct results of a call: output, gradients, and the table as it is left."""
    given = laid_out(arguments)
    grad_output = given.pop("grad_output", None)
    before = np.array(given["weight"]) if isinstance(given["weight"], np.ndarray) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the deprecated order is taken with a warning
            call = make_call(**given)
    except Exception as error:
        return _refused("forward", error, before)
    result = Expected(dtype=call.weight.dtype, weight_before=before)
    try:
        if grad_output is not None:
            check_backward(call, grad_output)
    except Exception as error:
        result.trouble = trouble_of("backward", error)
        grad_output = None
    with np.errstate(all="ignore"):
        _fill(result, call, grad_output)
    return result


def _refused(stage: str, error: Exception, before: Any) -> Expected:
    return Expected(trouble=trouble_of(stage, error), weight_before=before, weight_after=before)


def _fill(result: Expected, call: Call, grad_output: np.ndarray | None) -> None:
    exact = _in_float64(call, call.weight.astype(np.float64), call.per_sample_weights)
    result.output, saved = loops.forward(exact)
    result.weight_after = exact.weight
    psw = call.per_sample_weights
    psw_sizes = None if psw is None else np.abs(psw)
    sizes = _in_float64(call, np.abs(exact.weight), psw_sizes, max_norm=None)
    if call.mode != "max":  # a maximum is one of its values: no rounding at all
        scale, _ = loops.forward(replace(sizes, mode="sum"))
        counts = saved.bag_sizes[:, None]
        per_term = scale / np.maximum(counts, 1) if call.mode == "mean" else scale
        result.sizes["output"] = per_term
        result.output_tolerance = _tolerance(call, counts, per_term, result.output)
    elif call.max_norm is not None:
        result.sizes["output"] = np.abs(result.output)
        result.output_tolerance = _tolerance(call, 1, np.abs(result.output), result.output)
    if grad_output is None:
        return
    upstream = grad_output.astype(np.float64)
    result.grad_weight = loops.grad_weight(exact, saved, upstream)
    terms_size = loops.grad_weight(sizes, saved, np.abs(upstream))
    terms = np.array(loops.frequencies(call))[:, None] if not call.sparse else 1
    result.grad_weight_tolerance = _tolerance_of(call, terms, terms_size, result.grad_weight)
    result.sizes["grad_weight"] = getattr(terms_size, "values", terms_size)
    if psw is not None:
        result.grad_psw = loops.grad_per_sample_weights(exact, saved, upstream)
        scale = loops.grad_per_sample_weights(sizes, saved, np.abs(upstream))
        result.sizes["grad_psw"] = scale
        result.grad_psw_tolerance = _tolerance(call, call.embedding_dim, scale, result.grad_psw)


def _in_float64(call: Call, weight: np.ndarray, psw: np.ndarray | None, **changes: Any) -> Call:
    psw = None if psw is None else psw.astype(np.float64)
    return replace(call, weight=weight, per_sample_weights=psw, **changes)


def _tolerance_of(call: Call, terms: Any, scale: Any, value: Any) -> Any:
    if isinstance(value, SparseGradient):
        return _tolerance(call, terms, scale.values, value.values)
    return _tolerance(call, terms, scale, value)


def _tolerance(call: Call, terms: Any, scale: np.ndarray, value: np.ndarray) -> np.ndarray:
    """How far a result of `terms` additions may be from `value`; scale is sum(|terms|)."""
    dtype, of_rows = call.weight.dtype, 0.0
    if call.max_norm is not None:
        of_rows = rounding.of_rescaled(dtype, call.embedding_dim)
    return rounding.bound(dtype, terms, scale, value, of_rows)


# ---- what an implementation lacks -----------------------------------------------------------


def lack(expected: Expected | None, outcome: Outcome) -> str:
    """Why a call is "not supported": what was raised, in one line; '' where it is supported.

    expected: None where it is not known; then only a `NotSupported` counts. A NotImplementedError
        counts where the call should go through, and in a forward whose backward is to be refused.
    """
    trouble = outcome.trouble
    if trouble is None or "NotImplementedError" not in trouble.kinds:
        return ""
    due = expected.trouble if expected else None
    stages = (trouble.stage, due.stage) if due else ()
    plain = expected is not None and stages in ((), ("forward", "backward"))
    text = next(iter(trouble.text.splitlines()), "") or f"a {trouble.kinds[0]} without words"
    return text if trouble.lacks or plain else ""


# ---- one part of an outcome against the oracle ----------------------------------------------


def judge(part: str, expected: Expected, outcome: Outcome) -> str:
    """Say how one part of an outcome departs from what is expected; '' when it does not.

    part: "output", "grad_weight", "grad_psw", "table" (what became of weight), "inputs", "fresh",
    "settings" (of NumPy and torch), "refused" (the exception that is due), "untouched" (a refused
    call has changed nothing).
    """
    if part == "refused":
        return _judge_refusal(expected, outcome)
    if part == "untouched":
        return _judge_untouched(expected, outcome)
    stages = ("forward", "backward") if part.startswith("grad") else ("forward",)
    if outcome.trouble is not None and (
        outcome.trouble.stage in stages or outcome.trouble.is_fatal
    ):
        return str(outcome.trouble)
    return PARTS[part](expected, outcome)


def _judge_values(name: str, expected: Expected, outcome: Outcome) -> str:
    """Of "output", "grad_weight" or "grad_psw"."""
    wanted, actual = getattr(expected, name), getattr(outcome, name)
    tolerance, dtype = expected.tolerance(name), expected.dtype
    if not isinstance(wanted, SparseGradient):
        if isinstance(actual, SparseGradient):
            return f"{name}: expected one array, found three, as of a sparse gradient"
        return difference(wanted, actual, tolerance, name=name, dtype=dtype)
    if not (isinstance(actual, tuple) and len(actual) == 3):
        return f"{name}: expected a sparse gradient, found a {type(actual).__name__}"
    indices, values, shape = actual
    return (
        difference(wanted.indices, indices, name=f"{name}.indices")
        or difference(wanted.values, values, tolerance, name=f"{name}.values", dtype=dtype)
        or _judge_size(wanted.shape, tuple(shape))
    )


def _judge_size(expected: tuple[int, ...], actual: tuple[int, ...]) -> str:
    return "" if expected == actual else f"grad_weight: expected size {expected}, found {actual}"


def _judge_table(expected: Expected, outcome: Outcome) -> str:
    """Rows that max_norm rescales: as the formula says. All others: to the last bit as before."""
    before, actual = expected.weight_before, outcome.weight_after
    if np.shape(actual) != before.shape:
        return difference(before, actual, name="weight")
    rescaled = _rescaled(expected)
    changed = difference(before[~rescaled], actual[~rescaled], name="weight")
    if changed:
        rows = np.flatnonzero(~rescaled).tolist()
        return f"weight was changed where it should not be (rows {rows} should stay)\n{changed}"
    wanted, atol = expected.weight_after[rescaled], table_tolerance(expected)[rescaled]
    name = "weight (rescaled rows)"
    return difference(wanted, actual[rescaled], atol, name=name, dtype=before.dtype)


def table_tolerance(expected: Expected) -> np.ndarray:
    """How far each number of the table may be off: 0 in the rows that max_norm leaves alone."""
    before = expected.weight_before
    rtol = rounding.of_rescaled(before.dtype, before.shape[1]) + expected.slack
    sizes = np.nan_to_num(np.abs(expected.weight_after), nan=0.0, posinf=0.0)
    return np.where(_rescaled(expected)[:, None], rtol * sizes, 0.0)


def _rescaled(expected: Expected) -> np.ndarray:
    before = expected.weight_before.astype(np.float64)
    return np.asarray(np.any(~_same_numbers(expected.weight_after, before), axis=1))


def _same_numbers(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def _judge_inputs(expected: Expected, outcome: Outcome) -> str:
    return f"changed in place: {', '.join(outcome.changed)}" if outcome.changed else ""


def _judge_fresh(expected: Expected, outcome: Outcome) -> str:
    return f"the output is not a fresh array: {outcome.stale[0]}" if outcome.stale else ""


def _judge_settings(expected: Expected, outcome: Outcome) -> str:
    return f"left changed: {', '.join(outcome.left)}" if outcome.left else ""


def _judge_refusal(expected: Expected, outcome: Outcome) -> str:
    if expected.trouble is None:
        trouble = outcome.trouble
        return str(trouble) if trouble else _judge_values("output", expected, outcome)
    wanted = _built_in(expected.trouble)
    if outcome.trouble is None:
        return f"expected {wanted[0]} from the {expected.trouble.stage}, but nothing was raised"
    if outcome.trouble.is_fatal or outcome.trouble.stage != expected.trouble.stage:
        return f"expected {wanted[0]} from the {expected.trouble.stage}, but {outcome.trouble}"
    if not set(wanted) & set(_built_in(outcome.trouble)):
        return f"expected {wanted[0]}, but {outcome.trouble}"
    return ""


# What a program may refuse a call by. Others (a NameError, a RecursionError) are its own mistakes.
REFUSALS = {
    *("ValueError", "TypeError", "IndexError", "RuntimeError", "NotImplementedError"),
    *("AttributeError", "OverflowError", "AssertionError", "Exception"),
}


def other_class(part: str, expected: Expected, outcome: Outcome) -> str:
    """Say how a call that must be refused is refused, where only the class is not torch's."""
    due, came = expected.trouble, outcome.trouble
    if part != "refused" or due is None or came is None or came.stage != due.stage:
        return ""
    kind, wanted = _built_in(came)[:1], _built_in(due)[0]
    return f"as {kind[0]}, torch as {wanted}" if set(kind) & REFUSALS else ""


def _judge_untouched(expected: Expected, outcome: Outcome) -> str:
    if outcome.trouble is not None and outcome.trouble.is_fatal:
        return str(outcome.trouble)
    return difference(
        expected.weight_before, outcome.weight_after, name="weight after a refused call"
    ) or _judge_inputs(expected, outcome)


def _built_in(trouble: Trouble) -> list[str]:
    """The most specific of Python's own exceptions that it is; two for `NotAnArray`."""
    known = [kind for kind in trouble.kinds if hasattr(builtins, kind)]
    return known[:2] if known[:2] == ["TypeError", "AttributeError"] else known[:1]


PARTS: dict[str, Callable[[Expected, Outcome], str]] = {
    "output": partial(_judge_values, "output"),
    "grad_weight": partial(_judge_values, "grad_weight"),
    "grad_psw": partial(_judge_values, "grad_psw"),
    "table": _judge_table,
    "inputs": _judge_inputs,
    "fresh": _judge_fresh,
    "settings": _judge_settings,
}
