"""What runs in the box: a handed-in notebook's cells, and then its functions, when they are asked.

    python -m embag_edu.course.inside LIMITS

Each line of stdin is a request of the grader's, each line of stdout an answer to it: JSON. LIMITS
is JSON, too: those of `box.Limits`. What this process says may be forged by the code that it runs,
and the grader (`outside.py`) reads it as such.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from embag_edu.course import values
from embag_edu.course.processes import end_with_parent


class OutOfTime(BaseException):
    """A cell or a call has taken longer than it may."""


class _Clock:
    """Raises OutOfTime in the code that runs, and again each second while it goes on."""

    armed = False

    def __call__(self, seconds: float, work: Callable[[], Any]) -> Any:
        if not hasattr(signal, "setitimer"):  # Windows: the grader ends us
            return work()
        signal.signal(signal.SIGALRM, self._ring)
        try:
            self.armed = True
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 1.0)
            return work()
        finally:
            self.armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: Any) -> None:
        if self.armed:
            raise OutOfTime


class _Forgotten(dict[int, list[Any]]):
    """Keeps nothing: what one prints into an endless loop had 4 GiB in 20 seconds."""

    def __missing__(self, key: int) -> list[Any]:
        return []


def make_shell() -> Any:
    """IPython without a terminal and without a history on disk."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui: Any = None) -> None:
            """For %matplotlib: there is no screen."""

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    shell = Shell.instance(config=config)
    shell.history_manager.outputs = _Forgotten()  # IPython 9 keeps all that is printed or shown
    return shell


class Inside:
    """The box's side of the talk."""

    def __init__(self, read: Any, write: Any) -> None:
        self.read, self.write = read, write
        self.shell = make_shell()
        self.held: list[Any] = []  # functions whose numbers the grader has
        self.clock = _Clock()

    def serve(self) -> None:
        """Answer request after request, until the grader closes the line."""
        say, do = self._say, {"run": self._run, "value": self._value, "call": self._call,
                              "observe": self._observe, "launch": self._launch,
                              "put": self._put}  # fmt: skip
        say({"ready": True})
        for line in self.read:
            request = json.loads(line)
            try:
                work = do[request["do"]]
                answer = self.clock(request["seconds"], lambda: work(request))  # noqa: B023
            except OutOfTime:
                answer = {"late": True}
            except BaseException as error:
                answer = {"raised": values.packed_error(error)}
            say(answer)

    def _say(self, message: Any) -> None:
        text = json.dumps(message)
        if len(text) >= values.LARGEST:
            error = MemoryError("the result is too large to hand over")
            text = json.dumps({"raised": values.packed_error(error)})
        self.write.write(text + "\n")
        self.write.flush()

    def _run(self, request: Any) -> Any:
        done = self.shell.run_cell(request["source"], store_history=True)
        error = done.error_before_exec or done.error_in_exec
        if isinstance(error, OutOfTime):
            return {"late": True}
        return {"raised": _located(error, request["source"])} if error else {"value": None}

    def _value(self, request: Any) -> Any:
        space = self.shell.user_ns
        return self._packed(eval(request["source"], space))

    def _packed(self, value: Any, **more: Any) -> Any:
        return {"value": values.packed(value, self.held), **more}

    def _call(self, request: Any) -> Any:
        args, kwargs = values.received(request["arguments"], self._outer)
        function, ctx = self.held[request["function"]], args[0] if args else None
        try:
            if isinstance(ctx, values.Context):
                with sys.modules["torch"].no_grad():  # as autograd calls a forward
                    result = values.packed(function(*args, **kwargs), self.held)
                    saved = ctx.packed(args, self.held)
                after = values.packed([args, kwargs], [])
                return {"value": result, "saved": saved, "after": after}
            answer = {"value": values.packed(function(*args, **kwargs), self.held)}
        except Exception as error:
            answer = {"raised": values.packed_error(error)}
        return {**answer, "after": values.packed([args, kwargs], [])}

    def _observe(self, request: Any) -> Any:
        """What `Exercise.tools` says: how an answer works can only be seen here."""
        return {"value": resolve_name(request["tools"])(self.held[request["function"]])}

    def _put(self, request: Any) -> Any:
        Path(request["name"]).write_text(request["text"], encoding="utf-8")
        return {"value": None}

    def _launch(self, request: Any) -> Any:
        from embag_edu.course.launches import launch

        return {"value": None, "launched": launch(request)}

    def _outer(self, number: int) -> Callable[..., Any]:
        """A function of the grader's, such as the faulty bag that a test is to find."""

        def function(*args: Any, **kwargs: Any) -> Any:
            self._say({"back": number, "arguments": values.packed([args, kwargs], self.held)})
            answer = json.loads(self.read.readline())
            values.write_back((args, kwargs), values.received(answer["after"], self._outer))
            if "raised" in answer:
                raise values.unpacked_error(answer["raised"])
            return values.received(answer["value"], self._outer)

        return function


def _located(error: BaseException, source: str) -> dict[str, Any]:
    """An error of a cell, with its line where Python has not understood the text."""
    found = values.packed_error(error)
    if isinstance(error, SyntaxError):
        blank = len(source) - len(source.lstrip("\n"))  # lines that IPython leaves out
        line = f"line {(error.lineno or 1) + blank} of the cell"
        found["text"] = f"{error.msg}, in {line}: {(error.text or '').strip()}"
        found["args"] = [found["text"]]
    return found


def main() -> None:
    """Take the lines to the grader out of the answers' reach, then serve."""
    read = os.fdopen(os.dup(0), "r", encoding="utf-8")
    write = os.fdopen(os.dup(1), "w", encoding="utf-8")
    end_with_parent()
    limit(**json.loads(sys.argv[1]))
    sys.argv, sys.path[0] = ["notebook"], ""
    served = Inside(read, write)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what a notebook prints is nobody's to read
        os.dup2(nothing, number)
    served.serve()


def limit(memory: int, processes: int, file_size: int, open_files: int) -> None:
    """What this process and its children may take; where the system knows no limits, nothing."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {"RLIMIT_AS": memory, "RLIMIT_NPROC": processes, "RLIMIT_FSIZE": file_size,
              "RLIMIT_NOFILE": open_files, "RLIMIT_CORE": 0}  # fmt: skip
    for name, most in wanted.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


if __name__ == "__main__":
    main()
