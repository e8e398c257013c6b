"""The grader's side of the talk with a box: `Kernel` asks, and trusts nothing that comes back.

An answer's function is called through `Remote`: arguments go in, the result comes out. So cases,
right answers and the verdict are never where the answer could reach them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from embag_edu.course import values
from embag_edu.course.box import Box

GRACE = 5.0  # seconds in which a cell that is out of time must stop


class Gone(BaseException):
    """The box has ended, or was ended because it did not stop or spoke nonsense. No Exception:
    no check may take it for an error of the answer's."""


class NotStarted(Gone):
    """The box never began: the fault of this machine, and of no answer."""


class Kernel:
    """Runs cells in a box, gets values out of it, calls its functions."""

    def __init__(self, box: Box) -> None:
        self.box, self.gone = box, ""
        self.limit, self.until = 60.0, time.monotonic() + 60
        self._held: list[Any] = []  # the grader's functions of the call that runs
        try:
            started = self._read() == {"ready": True}
        except Gone:
            started = False
        if not started:
            box.end()
            why = f"its process did not start. {box.said()}".strip()
            box.close()
            raise NotStarted(why)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is asked here may take so long, all together."""
        self.limit, self.until = seconds, time.monotonic() + seconds
        yield

    def run(self, source: str) -> None:
        """Run a cell; its error, if it raises one."""
        self._ask(do="run", source=source)

    def value(self, expression: str) -> Any:
        """What an expression is in the notebook."""
        return self._ask(do="value", source=expression)

    def call(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of the notebook's. What it does to its arguments is done to ours."""
        self._held = []
        arguments = values.sent((args, kwargs), self._held)
        more: dict[str, Any] = {}
        try:
            return self._ask(more, do="call", function=number, arguments=arguments)
        finally:
            values.write_back((args, kwargs), more.get("after"))
            if "saved" in more:
                values.Context.replay(more["saved"], args[0], args)

    def observe(self, number: int, tools: str) -> str:
        """With what a function does its work. tools: where `Exercise.tools` is: "module:name"."""
        return str(self._ask(do="observe", function=number, tools=tools))

    def put(self, name: str, text: str) -> None:
        """Write a file into the folder in which the notebook runs."""
        self._ask(do="put", name=name, text=text)

    def launch(self, **request: Any) -> dict[str, Any]:
        """Launch a CUDA kernel: see `launches`."""
        more: dict[str, Any] = {}
        self._ask(more, do="launch", **request)
        return dict(more["launched"])

    # ---- the talk ----

    def _ask(self, more: dict[str, Any] | None = None, **request: Any) -> Any:
        more = {} if more is None else more
        if self.gone:
            raise Gone(self.gone)
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"over {self.limit:g} s")
        request["seconds"] = left
        killer = threading.Timer(
            left + GRACE, self.box.end, ["it did not stop when its time was up"]
        )
        killer.daemon = True
        killer.start()
        try:
            self._write(request)
            answer = self._read()
            while "back" in answer:
                self._write(self._called_back(answer))
                answer = self._read()
        finally:
            killer.cancel()
        if "late" in answer:
            raise TimeoutError(f"over {self.limit:g} s")
        with self._reading():
            for name in {"after", "saved"} & answer.keys():
                more[name] = self._unpacked(answer[name])
            more["launched"] = answer.get("launched")
            if "raised" not in answer:
                return self._unpacked(answer["value"])
            error = values.unpacked_error(answer["raised"])
        raise error

    def _called_back(self, answer: dict[str, Any]) -> dict[str, Any]:
        with self._reading():
            function = self._held[int(answer["back"])]
            args, kwargs = self._unpacked(answer["arguments"])
        try:
            reply: dict[str, Any] = {"value": values.sent(function(*args, **kwargs), self._held)}
        except Exception as error:
            reply = {"raised": values.packed_error(error)}
        return reply | {"after": values.sent((args, kwargs), self._held)}

    def _unpacked(self, message: Any) -> Any:
        return values.unpacked(message, lambda number, name: Remote(self, number, name))

    def _write(self, message: dict[str, Any]) -> None:
        try:
            self.box.write.write(json.dumps(message).encode() + b"\n")
            self.box.write.flush()
        except OSError:
            self._end("its process ended")

    def _read(self) -> dict[str, Any]:
        line = self.box.read.readline(values.LARGEST)
        if not line:
            self._end("its process ended")
        with self._reading():
            if not line.endswith(b"\n"):
                raise ValueError("too long")
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("no message")
        return answer

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # whatever a forged message may lead to
            self._end("its process said what cannot be understood")

    def _end(self, why: str) -> None:
        self.box.end(why)
        self.gone = self.box.why
        raise Gone(self.gone)


class Remote:
    """A function that lives in a box."""

    def __init__(self, kernel: Kernel, number: int, name: str) -> None:
        self.kernel, self.number = kernel, number
        self.__name__ = name or "function"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.kernel.call(self.number, args, kwargs)

    def observed(self, tools: str) -> str:
        """See `Kernel.observe`."""
        return self.kernel.observe(self.number, tools)
