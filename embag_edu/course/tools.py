"""With what an answer does its work: for exercises whose task excludes a tool.

An answer is watched while it runs. What counts is what it calls, not how it is written.
"""

from __future__ import annotations

import contextlib
import dis
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType, ModuleType
from typing import Any


@dataclass
class Work:
    """What a call did: the tools that it called, the lines of Python it took, bytes at the peak."""

    called: set[str] = field(default_factory=set)  # "add.at", "add.reduceat", "argsort"
    lines: int = 0
    peak: int = 0
    made: int = 0  # numbers that torch's operators made


def work_of(function: Callable[..., Any], *args: Any, **options: Any) -> Work:
    """Call the function and say what it did. Lines and calls count in the reader's code alone.

    That is the function's module, and where it is in a package, the package's other modules.
    """
    work, home = Work(), getattr(function, "__globals__", None)
    package = (home or {}).get("__package__")

    def is_readers(names: dict[str, Any]) -> bool:
        return names is home or bool(package and names.get("__package__") == package)

    def on_call(frame: FrameType, event: str, tool: Any) -> None:
        if event == "c_call" and is_readers(frame.f_globals):
            owner = getattr(getattr(tool, "__self__", None), "__name__", "")
            work.called.add(f"{owner}.{tool.__name__}".lstrip("."))

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if not is_readers(frame.f_globals):
            return None
        work.lines += event == "line"
        return on_line

    before = sys.getprofile(), sys.gettrace()
    tracemalloc.start()
    sys.setprofile(on_call)
    sys.settrace(on_line)
    try:
        with _torch_watched(work):
            function(*args, **options)
    finally:
        sys.setprofile(before[0])
        sys.settrace(before[1])
        work.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return work


def _torch_watched(work: Work) -> contextlib.AbstractContextManager[Any]:
    """Count what torch's operators make: that is in no memory that Python knows of."""
    if "torch" not in sys.modules:
        return contextlib.nullcontext()
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, op: Any, types: Any, args: Any, kwargs: Any) -> Any:
            found = op(*args, **(kwargs or {}))
            many = found if isinstance(found, (tuple, list)) else (found,)
            work.made += sum(each.numel() for each in many if isinstance(each, Tensor))
            return found

    return Watched()


def uses(function: Callable[..., Any], package: str) -> bool:
    """Does the function, or one of the reader's that it calls, name something of this package?"""
    home = getattr(function, "__globals__", {})
    waiting, seen = [getattr(function, "__code__", None)], set()
    while waiting:
        code = waiting.pop()
        if not isinstance(code, CodeType) or code in seen:
            continue
        seen.add(code)
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME" and step.argval.split(".")[0] == package:
                return True
            value: Any = home.get(step.argval) if step.opname == "LOAD_GLOBAL" else None
            if _package(value) == package:
                return True
            if getattr(value, "__globals__", None) is home:
                waiting.append(value.__code__)
        waiting += code.co_consts
    return False


def _package(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return str(name).split(".")[0]


def without_numpy(function: Callable[..., Any]) -> str:
    """For tasks in plain Python: what to say where NumPy does the work; '' where it does not."""
    used = uses(function, "numpy")
    return "The results are right, but the task asks for plain Python, no NumPy." if used else ""
