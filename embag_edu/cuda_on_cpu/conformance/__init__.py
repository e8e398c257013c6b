"""Tables of small kernels with the one right answer of each, for the CPU and for a GPU alike.

    from embag_edu.cuda_on_cpu.conformance import features, run
    module = features.module(RawModule)                # or features.module(cupy.RawModule)
    for case in features.CASES:
        problem = run(case, module, asarray=np.asarray, asnumpy=np.asarray)   # cupy.asarray, ...

features: what each feature of CUDA means. kinds: whole kernels (reductions, scans, sorts, ...).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Out:
    """An array that the kernel only writes: before the launch it holds random bytes."""

    shape: tuple[int, ...] | int
    dtype: Any

    def poisoned(self, rng: np.random.Generator) -> np.ndarray:
        array = np.empty(self.shape, self.dtype)
        array.reshape(-1).view(np.uint8)[:] = rng.integers(0, 256, array.nbytes, dtype=np.uint8)
        return array


@dataclass(frozen=True)
class Case:
    """One launch of a kernel and what must be in its arrays afterwards.

    `make(rng)` gives the arguments in order: NumPy arrays, NumPy scalars, `Out`.
    `expect(*arguments)` gives {position: array} for every array that the kernel writes.
    `order_free` names outputs whose elements may come in any order: they are sorted first.
    Equal means equal bits, unless `rtol` or `atol` says otherwise; NaN never passes then.
    `needs` is the oldest GPU that has the feature ('sm_80'), '' for sm_75.
    """

    name: str
    about: str
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    make: Callable[[np.random.Generator], tuple]
    expect: Callable[..., dict[int, np.ndarray]]
    shared_mem: int = 0
    rtol: float = 0.0
    atol: float = 0.0
    needs: str = ""
    order_free: tuple[int, ...] = ()

    @property
    def exact(self) -> bool:
        return self.rtol == 0.0 and self.atol == 0.0


def run(case: Case, module: Any, asarray: Callable, asnumpy: Callable, seed: int = 0) -> str:
    """Launch `case` with `module.get_function`; '' when all is right, else one sentence."""
    rng = np.random.default_rng(seed)
    before = [a.poisoned(rng) if isinstance(a, Out) else a for a in case.make(rng)]
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in before]
    expected = {k: np.asarray(v) for k, v in case.expect(*copies).items()}
    args = tuple(asarray(a.copy()) if isinstance(a, np.ndarray) else a for a in before)
    kernel = module.get_function(case.kernel)
    kernel(case.grid, case.block, args, shared_mem=case.shared_mem)
    for position, array in enumerate(before):
        if not isinstance(array, np.ndarray):
            continue
        actual = asnumpy(args[position])
        if position in expected:
            problem = _difference(case, position, expected[position], actual)
        else:
            problem = "" if _bits(actual) == _bits(array) else "was changed, but is only an input"
        if problem:
            return f"{case.name}: argument {position} {problem}"
    return ""


def _bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _difference(case: Case, position: int, expected: np.ndarray, actual: np.ndarray) -> str:
    if expected.dtype != actual.dtype or expected.size != actual.size:
        return f"should be {expected.dtype}[{expected.size}], not {actual.dtype}[{actual.size}]"
    expected, actual = expected.reshape(-1), np.ascontiguousarray(actual).reshape(-1)
    if position in case.order_free:
        expected, actual = np.sort(expected), np.sort(actual)
    if case.exact:
        width = expected.dtype.itemsize
        same = (expected.view(np.uint8) == actual.view(np.uint8)).reshape(-1, width).all(1)
    else:  # a comparison with NaN is False: NaN can never pass
        with np.errstate(all="ignore"):
            wide, limit = expected.astype(np.float64), case.atol
            same = np.abs(actual - wide) <= limit + case.rtol * np.abs(wide)
    if same.all():
        return ""
    i = int(np.flatnonzero(~same)[0])
    return (
        f"[{i}] is {actual[i]}, should be {expected[i]}; {(~same).sum()} of {same.size} are wrong"
    )


def instances(source: str) -> list[str]:
    """The template instances that the lines `// instances: ...` of a source name."""
    lines = re.findall(r"^// instances: (.*)$", source, re.M)
    return [n.strip() for line in lines for n in re.split(r",(?![^<]*>)", line)]


def load(name: str) -> SimpleNamespace:
    """The source of `name`.cu, the instances that it names, and a function that compiles it."""
    source = Path(__file__).with_name(f"{name}.cu").read_text(encoding="utf-8")
    names = instances(source)

    def module(make: Callable, **more: Any) -> Any:
        """`make` is RawModule of this package or cupy.RawModule."""
        return make(code=source, options=("-std=c++17",), name_expressions=names, **more)

    return SimpleNamespace(source=source, names=names, module=module)
