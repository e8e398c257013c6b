"""Run an implementation in a process of its own, so that a crash or an endless loop stays there.

`Worker` is the parent's side. `main` is the child's: it reads pickled requests from its standard
input and writes pickled outcomes to its standard output. Whatever the implementation itself prints
goes to standard error. `Local` has the same methods and runs in this
process: quicker, and a debugger can follow, but a crash takes the caller along.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.check.candidate import Candidate, Outcome, Trouble, run
from embag_edu.check.cases import Arguments
from embag_edu.text import Short

Source = tuple[Any, ...]  # (forward,) or (forward, backward): functions, or "module:function"

PROBE: Arguments = {  # the first call: it tells whether a function speaks NumPy or torch
    "input": np.array([0, 1]),
    "weight": np.array([[1.0], [2.0]], np.float32),
    "offsets": np.array([0]),
    "mode": "sum",
}
START_LIMIT = 60.0  # seconds for starting Python and importing the implementation
LATER_LIMIT = 2.0  # seconds for a call once one has hung


class NotLoadable(Short, ValueError):
    """The implementation could not be imported, or could not be sent to another process."""


class Runner:
    """Something that can call an implementation."""

    arrays = "numpy"
    has_backward = False
    doubt = ""  # why it is not sure which arrays the implementation takes
    fatal = 0  # how often the process was lost

    @property
    def has_gradients(self) -> bool:
        """Whether a backward can be asked for."""
        return self.arrays == "torch" or self.has_backward

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """Call the implementation: see `embag_edu.check.candidate.run`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the runner holds."""

    def find_arrays(self) -> None:
        """NumPy if the function takes arrays and returns one, else torch if it takes tensors."""
        answers = {}
        for self.arrays in ("numpy", "torch"):
            outcome = answers[self.arrays] = self.run(dict(PROBE), backward=False)
            if outcome.trouble is None and isinstance(outcome.output, np.ndarray):
                return
        self.arrays = "torch" if answers["torch"].trouble is None else "numpy"
        reasons = (
            f"with {name}, {o.trouble or 'no array came back'}" for name, o in answers.items()
        )
        self.doubt = (
            f"A first call gave no array ({'; '.join(reasons)}). It is now called with "
            f"{self.arrays}: arrays='numpy' or arrays='torch' chooses."
        )

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Local(Runner):
    """Runs in this process."""

    def __init__(self, source: Source, arrays: str | None = None) -> None:
        self._forward, self._backward = make_pair(source)
        self.has_backward = self._backward is not None
        if arrays is None:
            self.find_arrays()
        else:
            self.arrays = arrays

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """Call the implementation here."""
        return run(Candidate(self._forward, self._backward, self.arrays), arguments, backward)


class Worker(Runner):
    """Runs in a child process; one that dies or hangs is replaced.

    limit: seconds for one call.
    """

    def __init__(self, source: Source, arrays: str | None = None, limit: float = 10.0) -> None:
        self.limit = limit
        self._hello = pickle.dumps({"path": list(sys.path), "source": _pack(source)})
        self._start()
        if arrays is None:
            self.find_arrays()
        else:
            self.arrays = arrays

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """Call the implementation there; a hang or a crash is an outcome too."""
        answer: Outcome | Trouble = self._ask(
            pickle.dumps((self.arrays, arguments, backward)), self.limit
        )
        if not isinstance(answer, Trouble):
            return answer
        self.fatal += 1
        if answer.kinds == ("hung",):
            self.limit = min(self.limit, LATER_LIMIT)
        self.close()
        self._start()
        return Outcome(trouble=answer)

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _start(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from embag_edu.check.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, PYTHONPATH=path),
        )
        answer = self._ask(self._hello, START_LIMIT)
        if isinstance(answer, Trouble):
            self.close()
            raise NotLoadable(f"loading the implementation {answer.text}")
        if isinstance(answer, Exception):
            self.close()
            raise answer
        self.has_backward = answer

    def _ask(self, request: bytes, limit: float) -> Any:
        answers: list[Any] = []
        asking = threading.Thread(target=self._exchange, args=(request, answers), daemon=True)
        asking.start()
        asking.join(limit)
        if asking.is_alive():
            self._process.kill()
            asking.join()
            return Trouble("call", ("hung",), f"did not return within {limit:g} s")
        if answers:
            return answers[0]
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it lives, and has closed its end of the pipe
            self._process.kill()
            return Trouble("call", ("died",), "gave no answer")
        return Trouble("call", ("died",), f"brought the process down (exit status {code})")

    def _exchange(self, request: bytes, answers: list[Any]) -> None:
        try:
            _write(self._process.stdin, request)
            answer = _read(self._process.stdout)
        except (OSError, EOFError, ValueError):  # the child is gone: no answer
            return
        try:
            answers.append(pickle.loads(answer))
        except Exception:
            words = "gave results that can't be sent between processes"
            answers.append(Trouble("call", ("died",), words))


def _pack(source: Source) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(source))
    except Exception as error:
        raise NotLoadable(
            f"the function can't be sent to another process ({type(error).__name__}: {error}). "
            "Give it as 'module:function', or check it in this process with isolate=False"
        ) from error


def _write(pipe: Any, data: bytes) -> None:
    pipe.write(len(data).to_bytes(8, "little") + data)
    pipe.flush()


def _read(pipe: Any) -> bytes:
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    return bytes(pipe.read(int.from_bytes(head, "little")))


# ---- both sides -----------------------------------------------------------------------------


def make_pair(source: Source) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """Import what is given by name, and add the backward that the package's own function has."""
    import embag_edu

    functions = [load(f) if isinstance(f, str) else f for f in source]
    if functions == [embag_edu.embedding_bag]:
        functions.append(embag_edu.embedding_bag_backward)
    return functions[0], functions[1] if len(functions) > 1 else None


def load(name: str) -> Callable[..., Any]:
    """The function named "module:function"."""
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise NotLoadable(f"{name!r} names no function: write it as module:function")
    try:
        target: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise NotLoadable(f"{name!r} could not be found: {error}") from error
    if not callable(target):
        raise NotLoadable(f"{name!r} is a {type(target).__name__}, not a function")
    found: Callable[..., Any] = target
    return found


class Unsendable:
    """Stands for a result that can't be pickled."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


# ---- the child's side -----------------------------------------------------------------------


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of the implementation must not get between the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # and what it starts must not read the requests
    sys.stdin = io.StringIO()
    try:
        functions = _greet(pickle.loads(_read(requests)))
        _write(answers, pickle.dumps(functions[1] is not None))
        while True:
            arrays, arguments, backward = pickle.loads(_read(requests))
            if arrays == "torch":
                importlib.import_module("torch").set_num_threads(1)
            candidate = Candidate(functions[0], functions[1], arrays)
            _write(answers, _packed(run(candidate, arguments, backward)))
    except NotLoadable as error:
        _write(answers, pickle.dumps(error))
    except EOFError:
        pass  # the parent is done


def _greet(hello: dict[str, Any]) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    sys.path[:] = hello["path"] + [p for p in sys.path if p not in hello["path"]]
    try:
        return make_pair(pickle.loads(hello["source"]))
    except NotLoadable:
        raise
    except Exception as error:
        raise NotLoadable(f"loading it raised {type(error).__name__}: {error}") from error


def _packed(outcome: Outcome) -> bytes:
    try:
        return pickle.dumps(outcome)
    except Exception:  # a result that can't be sent is described instead
        for name in ("output", "grad_weight", "grad_psw"):
            value = getattr(outcome, name)
            if not isinstance(value, (np.ndarray, type(None))):
                setattr(outcome, name, Unsendable(type(value).__name__))
        return pickle.dumps(outcome)
