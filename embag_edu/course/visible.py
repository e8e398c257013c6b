"""What students get of an instructor's own exercise: NAME.json, beside the notebook.

It holds the hints, and the cases with what the right answer makes of them, or the launches of a
kernel with what must come of each: no right answer, no hidden case, no other judge.
`check("90.longest", mine)` finds it in the folder in which the notebook runs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from embag_edu.course import own, values
from embag_edu.course.exercise import (
    Case,
    Exercise,
    UnknownExercise,
    at_hand_in,
    base,
    by_place,
    find,
)
from embag_edu.course.notebooks import Notebook, ReleaseError, exercise_names

PLAIN = ("name", "title", "points", "atol", "rtol", "steps", "in_place", "same_ints", "unproved")


def files(notebook: Notebook) -> dict[str, str]:
    """Name of a file -> its text, for the instructor's own exercises that a notebook asks."""
    names = filter(own.is_own, exercise_names(notebook))
    return {f"{base(name)}.json": text(find(name)) for name in names}


def text(exercise: Exercise) -> str:
    """What a student's check has to know of an exercise, as JSON."""
    told: dict[str, Any] = {name: getattr(exercise, name) for name in PLAIN}
    told |= {"hints": exercise.hints, "returns": exercise.returns, "tools": where(exercise.tools)}
    if exercise.judge is None:
        told["cases"] = [_case(exercise, at) for at in range(len(exercise.cases()))]
        parameters = inspect.signature(exercise.reference).parameters.values()
        told["parameters"] = [[each.name, each.kind] for each in parameters]
    elif hasattr(exercise.judge, "launches"):
        told["kernel"] = _kernel(exercise.judge)
    return json.dumps(told, indent=1) + "\n"


def where(tools: Callable[..., Any] | None) -> str:
    """Where a function of the package stands, "module:name"; '' for none."""
    return f"{tools.__module__}:{tools.__qualname__}" if tools else ""


def _kernel(task: Any) -> dict[str, Any]:
    """Of a KernelTask: all but what it says of faults, counts and mistakes."""
    launches = [[e.what, e.grid, e.block, e.args, e.expected] for e in task.launches()]
    told = {"name": task.kernel, "orders": list(task.orders), "atol": task.atol}
    return told | {"launches": values.packed(launches, [])}


def _case(exercise: Exercise, at: int) -> dict[str, Any]:
    case, held = by_place(exercise, exercise.cases, at), list[Any]()
    told = {"name": case.name, "given": values.packed([case.args, case.kwargs], held)}
    try:
        told["result"] = values.packed(exercise.reference(*case.args, **case.kwargs), held)
    except Exception as error:
        told["raised"] = values.packed_error(error)
    told["after"] = values.packed([case.args, case.kwargs], held)
    if held or '"opaque"' in json.dumps(told):
        raise ReleaseError(
            f"{exercise.name}, case {case.name!r}: only plain values, arrays and tensors can be "
            "handed out; make it a hidden case"
        )
    return told


# -------------------------------------------------------------------------- at the student's


def beside(name: str) -> Exercise | None:
    """The exercise of this name, by a file in the current folder. None where there is no file."""
    path = Path(f"{base(name)}.json")
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return _exercise(told) if told["name"] == name else None
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UnknownExercise(
            f"{path.absolute()} is damaged ({error!r}): take it from the hand-out again"
        ) from None


def _exercise(told: dict[str, Any]) -> Exercise:
    plain = {name: told[name] for name in PLAIN}
    returns, tools = told["returns"], str(told["tools"])
    plain["returns"] = tuple(returns) if isinstance(returns, list) else returns
    if tools.startswith("embag_edu."):
        plain["tools"] = resolve_name(tools)
    known = told.get("cases")
    judge = _task(told["name"], told["kernel"]) if "kernel" in told else at_hand_in
    return Exercise(
        **plain,
        reference=_Known(known or (), told.get("parameters", ())),
        hints=tuple(told["hints"]),
        cases=lambda: [Case(each["name"], *args, **kwargs) for each in known or ()
                       for args, kwargs in [_unpacked(each["given"])]],
        judge=None if known else judge,
    )  # fmt: skip


def _task(name: str, told: dict[str, Any]) -> Callable[[Any], str]:
    from embag_edu.course.kernel_exercise import KernelTask, Launch  # slow, and seldom wanted

    def launches() -> list[Launch]:
        return [Launch(*each) for each in _unpacked(told["launches"])]

    return KernelTask(name, told["name"], launches, orders=told["orders"], atol=told["atol"])


def _unpacked(message: Any) -> Any:
    return values.unpacked(message, _no_function)


def _no_function(*_: Any) -> Any:
    raise ValueError("no case holds a function")


class _Known:
    """Stands for the right answer: what it makes of the cases is known."""

    def __init__(self, cases: Any, parameters: Any) -> None:
        self.of = {json.dumps(each["given"]): each for each in cases}
        kinds: Any = type(inspect.Parameter.KEYWORD_ONLY)
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(name, kinds(kind)) for name, kind in parameters]
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        told = self.of[json.dumps(values.packed([args, kwargs], []))]
        values.write_back((args, kwargs), _unpacked(told["after"]))
        if "raised" in told:
            raise values.unpacked_error(told["raised"])
        return _unpacked(told["result"])
