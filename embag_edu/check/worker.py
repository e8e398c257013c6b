"""Run an implementation in a process of its own, so that a crash or an endless loop stays there.

`Worker` is the parent's side. `main` is the child's: it reads pickled requests from its standard
input and writes pickled outcomes to its standard output. Whatever the implementation itself prints
goes to standard error, whose end is kept: a crash says its last words there. `Local` has the same
methods and runs in this process: quicker, and a debugger can follow, but a crash takes the caller
along.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.api import implementation_of
from embag_edu.check.candidate import OURS, Candidate, Outcome, Trouble, is_lost, is_torch, run
from embag_edu.check.cases import Arguments
from embag_edu.check.compare import kind_of
from embag_edu.text import Short

Source = tuple[Any, ...]  # (forward,) or (forward, backward): functions, or "module:function"

PROBE: Arguments = {  # the first call of a process: it tells which arrays a function takes
    "input": np.array([0, 1]),
    "weight": np.array([[1.0], [2.0]], np.float32),
    "offsets": np.array([0]),
    "mode": "sum",
    "grad_output": np.array([[1.0]], np.float32),
}
SECOND: Arguments = PROBE | {  # then one of another shape: it tells what compiles for each
    "input": np.array([1, 0, 1]),
    "offsets": np.array([0, 2]),
    "grad_output": np.array([[1.0], [2.0]], np.float32),
}
START_LIMIT = 60.0  # seconds for starting Python and importing the implementation, at least
LIMIT, FIRST_LIMIT = 10.0, 120.0  # seconds: see `Worker`
COMPILES = 1.0  # seconds of a call after the first, after which a function seems to compile
TAIL = 4_000  # characters of standard error that are kept, without stacks
WITH_STACKS = 64_000  # bytes


class NotLoadable(Short, ValueError):
    """The implementation could not be imported, or could not be sent to another process."""


class Runner:
    """Something that can call an implementation."""

    arrays = "numpy"
    has_backward = False
    doubt = ""  # why it is not sure which arrays the implementation takes
    stderr = ""  # the end of what the implementation wrote there

    def __init__(self) -> None:
        self.losses: Counter[str] = Counter()  # how often a process was lost, by what was said

    @property
    def has_gradients(self) -> bool:
        """Whether a backward can be asked for."""
        return self.is_torch or self.has_backward

    @property
    def is_torch(self) -> bool:
        """Whether the implementation takes tensors, on whatever device."""
        return is_torch(self.arrays)

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """Call the implementation: see `embag_edu.check.candidate.run`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the runner holds."""

    def take(self, arrays: str | None) -> None:
        """Speak these arrays, or find out which; NotLoadable where there are none."""
        if arrays is None:
            return self.find_arrays()
        place, self.arrays = arrays.partition(":")[0], arrays
        try:
            if place == "torch" and not find_spec(place):
                raise ImportError("it is not installed")
            elif place != "torch":
                _ = importlib.import_module(place).asarray
        except (ImportError, AttributeError) as error:
            raise NotLoadable(
                f"arrays={arrays!r} must be numpy, torch, torch:DEVICE, or a module with asarray, "
                f"such as jax.numpy or cupy ({error})"
            ) from error

    def find_arrays(self) -> None:
        """NumPy if the function takes arrays and returns one, else torch if it takes tensors."""
        answers = {}
        for self.arrays in ("numpy", "torch") if find_spec("torch") else ("numpy",):
            outcome = answers[self.arrays] = self.probe()
            if outcome.trouble is None and isinstance(outcome.output, np.ndarray):
                return
        silent = [name for name, outcome in answers.items() if outcome.trouble is None]
        self.arrays = (silent or ["numpy"])[0]
        told = "; ".join(f"with {name}, {_answered(o)}" for name, o in answers.items())
        if self.losses and answers[self.arrays].trouble is not None:
            raise NotLoadable(
                f"a first call tells which arrays the implementation takes, and none was answered "
                f"({told}). Choose: arrays='numpy' or arrays='torch'"
            )
        self.doubt = (
            f"A first call gave no array ({told}). It is now called with "
            f"{self.arrays}: arrays='numpy' or arrays='torch' chooses."
        )

    def probe(self) -> Outcome:
        """Make a small call that is no part of the table."""
        return self.run(dict(PROBE), backward=False)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _answered(outcome: Outcome) -> str:
    """What a first call gave, in one line."""
    if outcome.trouble is not None:
        return str(outcome.trouble).splitlines()[0]
    return f"{kind_of(outcome.output)} came back"


class Local(Runner):
    """Runs in this process."""

    def __init__(self, source: Source, arrays: str | None = None) -> None:
        super().__init__()
        self._forward, self._backward = make_pair(source)
        self.has_backward = self._backward is not None
        self.take(arrays)

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """Call the implementation here."""
        return run(Candidate(self._forward, self._backward, self.arrays), arguments, backward)


class Worker(Runner):
    """Runs in a child process; one that dies or hangs is replaced.

    limit:       seconds for one call.
    first_limit: seconds for loading, for the first call of a process, which is a small one and no
        part of the table, and for every call of a function that seems to compile: a call after
        the first has taken a second.
    """

    def __init__(
        self,
        source: Source,
        arrays: str | None = None,
        limit: float = LIMIT,
        first_limit: float = FIRST_LIMIT,
    ) -> None:
        super().__init__()
        self.limit, self.first_limit = limit, max(limit, first_limit)
        self._slowest = 0.0  # seconds of the slowest call that was answered
        self._is_cold = True  # the process: no call was made yet
        self._is_known = False  # whether the function compiles
        self._warm_ups = [True, False]  # with the backward, then without: those not lost so far
        self._hello = pickle.dumps({"path": list(sys.path), "source": _pack(source)})
        self._start()
        self.take(arrays)

    def run(self, arguments: Arguments, backward: bool = True) -> Outcome:
        """Call the implementation there; a hang or a crash is an outcome too."""
        self._warm_up()
        compiles = self._slowest > COMPILES
        return self._call(arguments, backward, self.first_limit if compiles else self.limit)

    def _warm_up(self) -> None:
        """Make small calls in a new process; those that were lost once are not made again."""
        slowest = self._slowest
        while self._is_cold and self._warm_ups:
            self._is_cold = False  # until the process is lost
            backward = self._warm_ups[0] and self.has_gradients
            if is_lost(self._call(dict(PROBE), backward, self.first_limit)):
                self._warm_ups = [False] if backward else []
        if self._is_known:
            self._slowest = slowest
        elif self._slowest > COMPILES:  # or has it imported what it needs?
            self._slowest, self._is_known = 0.0, True
            if is_lost(self._call(dict(SECOND), self.has_gradients, self.first_limit)):
                self._warm_up()
        self._is_known = True

    def probe(self) -> Outcome:
        """Make a small call that is no part of the table, and may take its time."""
        return self._call(dict(PROBE), False, self.first_limit)

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        self._listener.join(1)  # what it started may hold the pipe open
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    @property
    def stderr(self) -> str:  # type: ignore[override]
        """The end of what this process and the one before wrote to standard error, no stacks."""
        return f"{self._before}\n{_words(self._tail)}".strip("\n")[-TAIL:]

    _before, _tail = "", b""  # what earlier processes wrote, and this one, with stacks

    def _start(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._before, self._tail, self._is_cold = self.stderr, b"", True
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from embag_edu.check.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=path),
        )
        self._listener = threading.Thread(target=self._listen, args=[self._process.stderr])
        self._listener.daemon = True
        self._listener.start()
        answer = self._ask(self._hello, max(START_LIMIT, self.first_limit))
        if isinstance(answer, Trouble):
            self.close()
            raise NotLoadable(f"loading the implementation {answer.text}")
        if isinstance(answer, Exception):
            self.close()
            raise answer
        self.has_backward = answer

    def _listen(self, pipe: Any) -> None:
        with pipe:
            for written in iter(lambda: pipe.read1(WITH_STACKS), b""):
                self._tail = (self._tail + written)[-WITH_STACKS:]

    def _call(self, arguments: Arguments, backward: bool, limit: float) -> Outcome:
        answer = self._ask(pickle.dumps((self.arrays, arguments, backward, limit)), limit)
        if not isinstance(answer, Trouble):
            self._slowest = max(self._slowest, answer[1])
            outcome: Outcome = answer[0]
            return outcome
        self.close()
        place = _place(self._tail)
        self.losses[answer.text + re.sub(r", line \d+", "", place)] += 1
        answer.text += place
        answer.last_words = "\n".join(_words(self._tail).splitlines()[-LAST_WORDS:])
        self._start()
        return Outcome(trouble=answer)

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
        return Trouble("call", ("died",), f"brought the process down ({_ending(code)})")

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


def _ending(code: int) -> str:
    """How a process ended: its exit status, or the signal that ended it."""
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"exit status {code}"
    return f"{number.name}: {signal.strsignal(number)}"


# What Python's faulthandler writes when a process crashes or hangs: frames and lines around them.
FRAME = re.compile(r'^ *File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
LAST_STACK = re.compile(r"^(?:Timeout \(|Fatal Python error)", re.MULTILINE)
STACK = re.compile(
    r"^( *File |Timeout \(|(Current )?[Tt]hread |Fatal Python error|Extension modules|"
    r"Current thread's C|  Binary file|  <)"
)
LAST_WORDS = 3  # lines


def _place(stderr: bytes) -> str:
    """Where a process was lost: the innermost frame that is not this package's, if one is known."""
    found = FRAME.findall(LAST_STACK.split(stderr.decode(errors="replace"))[-1])
    found = [frame for frame in found if not frame[0].startswith((OURS, "<"))]
    theirs = [f for f in found if not {"site-packages", "lib"} & set(Path(f[0]).parts)] or found
    if not theirs:
        return ""
    file, line, function = theirs[0]
    return f", in {function} ({Path(file).name}, line {line})"


def _words(stderr: bytes) -> str:
    """What was written to standard error, without the stacks."""
    lines = stderr.decode(errors="replace").splitlines()[len(stderr) >= WITH_STACKS :]
    return "\n".join(line for line in lines if line.strip() and not STACK.match(line))


def _pack(source: Source) -> bytes:
    try:
        import cloudpickle as pickler
    except ImportError:  # what has a name in a module is sent by that name
        pickler = pickle
        if any(getattr(function, "__module__", "") == "__main__" for function in source):
            raise NotLoadable(
                "to send this function to another process takes the package cloudpickle: "
                "pip install cloudpickle. Or give it as 'module:function', or set isolate=False"
            ) from None
    try:
        return bytes(pickler.dumps(source))
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
    words = os.fdopen(os.dup(2), "w")  # the implementation may close or replace its own
    faulthandler.enable(words)
    os.dup2(2, 1)  # prints of the implementation must not get between the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # and what it starts must not read the requests
    sys.stdin = io.StringIO()
    try:
        functions = _greet(pickle.loads(_read(requests)))
        implementation_of("cuda")  # what a call needs of ours counts for no limit
        _write(answers, pickle.dumps(functions[1] is not None))
        while True:
            arrays, arguments, backward, limit = pickle.loads(_read(requests))
            if is_torch(arrays):
                importlib.import_module("torch").set_num_threads(1)
            candidate = Candidate(functions[0], functions[1], arrays)
            faulthandler.dump_traceback_later(0.9 * limit, file=words)  # where it is, if it hangs
            began = time.perf_counter()
            outcome = run(candidate, arguments, backward)
            seconds = time.perf_counter() - began
            faulthandler.cancel_dump_traceback_later()
            _write(answers, _packed(outcome, seconds))
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


def _packed(outcome: Outcome, seconds: float) -> bytes:
    try:
        return pickle.dumps((outcome, seconds))
    except Exception:  # a result that can't be sent is described instead
        for name in ("output", "grad_weight", "grad_psw"):
            value = getattr(outcome, name)
            if not isinstance(value, (np.ndarray, type(None))):
                setattr(outcome, name, Unsendable(type(value).__name__))
        return pickle.dumps((outcome, seconds))
