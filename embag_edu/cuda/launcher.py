"""Between NumPy and the kernels: which C type a dtype is, kernels made once, grids, arrays moved.

    sum_rows = kernel("forward", "bag_sum_1", weight.dtype, indices.dtype, "SUM", False)
    launch(sum_rows, threads, (weight, indices, ...))

A kernel has up to 15 arguments. In a `Plan` they go by the names that they have in the .cu file:

    sum_rows = prepared("forward", "bag_sum_1", types, threads)
    plan = Plan((sum_rows,), {"B": 64, "D": 128, ...}, (("output", (64, 128), np.float32), ...))
    plan.run(weight=weight, indices=indices, ...)["output"]  # as often as there are arrays

Everything goes through `device()`: with a GPU the arrays are CuPy's, without one they are NumPy's,
and the calls are the same. Nothing in here waits for the GPU but `download` to a NumPy array.

    with recording() as reports:  # what is launched in here is checked, on the CPU, and counted
        sum_bags(Work(call), version=3)
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from embag_edu.cuda_on_cpu import Device, Report, settings
from embag_edu.cuda_on_cpu import device as device_of_this_machine
from embag_edu.cuda_on_cpu.source import kernels

HERE = Path(__file__).parent
C_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "int32": "int",
    "int64": "long long",
}
BLOCK = 256  # threads of a block, where a kernel does not ask for another number
WIDEST = 16  # bytes: the most that one thread loads at once
CPU = Device("here launches are recorded")
P = ParamSpec("P")
R = TypeVar("R")
Many = tuple[Any, ...]  # arguments of a kernel, or of its template
Change = tuple[str, str]  # a text of a .cu file, and what is to stand in its place


def source(name: str) -> str:
    """The text of the file `name`.cu, whole: what it includes stands in the place of its #include.

    name: of a file beside this one, or a path without its ".cu". common.cuh comes in one line, so
    that all lines keep their numbers. ValueError for a name that is not there.
    """
    file = HERE / f"{name}.cu"  # a path that begins at the root stays what it is
    if not file.is_file():
        there = ", ".join(sorted(f.stem for f in HERE.glob("*.cu")))
        raise ValueError(f"name is {name!r}; there are: {there}")
    return _whole(file)


def _whole(file: Path) -> str:
    if file.name == "common.cuh":
        lines = file.read_text(encoding="utf-8").splitlines()
        return " ".join(filter(None, (line.partition("//")[0].strip() for line in lines)))

    def included(found: re.Match[str]) -> str:
        beside = file.with_name(found[1])
        return _whole(beside if beside.is_file() else HERE / found[1])

    return re.sub(r'^#include "(.+)"', included, file.read_text(encoding="utf-8"), flags=re.M)


def kernel(file: str, name: str, *parameters: Any) -> Any:
    """The kernel `name`<parameters...> of `file`.cu, compiled when it is first launched.

    parameters: of the template, in order: dtypes, bools, ints, and names of C++ as strings.
    The same kernel is the same object: after a checked launch, kernel(...).report has its counts.
    """
    return _kernel(device(), file, expression(name, *parameters))


def _kernel(gpu: Device, file: str, name: str) -> Any:
    recorder = _recorder.get()
    if recorder is None:
        return _instance(gpu, file, name, None)
    return recorder.recorded(_instance(gpu, file, name, recorder.change))


def kernel_on_cpu(file: str, name: str, *parameters: Any, change: Change | None = None) -> Any:
    """`kernel` for launches by hand that are checked and counted: on the CPU, GPU or not.

    change: (old, new), another text for one place of the file. ValueError if old does not stand
        there exactly once.
    """
    return _instance(CPU, file, expression(name, *parameters), change)


@functools.lru_cache(maxsize=4096, typed=True)  # typed: else True would be taken for 1
def expression(name: str, *parameters: Any) -> str:
    """The instance as CUDA writes it: "bag_sum_1<float, long long, SUM, false>"."""
    return f"{name}<{', '.join(map(_cpp, parameters))}>" if parameters else name


def _cpp(parameter: Any) -> str:
    if isinstance(parameter, bool):
        return str(parameter).lower()
    if isinstance(parameter, (int, str)):
        return C_TYPES.get(str(parameter), str(parameter))
    return C_TYPES[np.dtype(parameter).name]


@functools.cache
def _instance(gpu: Device, file: str, name: str, change: Change | None) -> Any:
    code = source(file)
    if change and code.count(change[0]) != 1:
        times = code.count(change[0])
        raise ValueError(f"change: {change[0]!r} stands in {file}.cu {times} times, not once")
    code = code.replace(*change) if change else code
    return gpu.RawModule(code=code, name_expressions=[name]).get_function(name)


class Recorder(NamedTuple):
    """What `recording` keeps, and what it changes."""

    reports: list[Report]
    change: Change | None

    def recorded(self, instance: Any) -> Any:
        """The kernel, which puts the report of each launch in the list."""

        def launched(grid: Many, block: Many, args: Many, *, shared_mem: int = 0) -> None:
            instance(grid, block, args, shared_mem=shared_mem)
            self.reports.append(instance.report)

        return launched


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(order: int = 0, change: Change | None = None) -> Iterator[list[Report]]:
    """Within it all launches are checked, on the CPU, GPU or not; the list gets their reports.

    order: of the threads. change: as for `kernel_on_cpu`, of every file that is launched. Faults
    are raised. Arrays must be NumPy's.
    """
    recorder = Recorder([], change)
    token = _recorder.set(recorder)
    try:
        with settings(mode="checked", order=order):
            yield recorder.reports
    finally:
        _recorder.reset(token)


_device: ContextVar[Device | None] = ContextVar("device", default=None)


def device() -> Device:
    """Where the kernels are launched: this machine's device, or within `recording` its CPU."""
    return _device.get() or (CPU if _recorder.get() else device_of_this_machine())


def on_one_device(function: Callable[P, R]) -> Callable[P, R]:
    """A function in which `device()` is looked up once, for all that it does.

    To look it up is to read the environment: a microsecond or two, ten times in a forward.
    """

    @functools.wraps(function)
    def called(*arguments: P.args, **others: P.kwargs) -> R:
        token = _device.set(device())
        try:
            return function(*arguments, **others)
        finally:
            _device.reset(token)

    return called


def launch(kernel: Any, threads: int, args: Sequence[Any], block: int = BLOCK) -> None:
    """Start at least so many threads, in whole blocks; with none to start, nothing happens."""
    blocks = ceil_div(threads, block)
    if blocks:
        kernel((blocks,), (block,), tuple(args))


# ---- plans ----------------------------------------------------------------------------------


class Launch(NamedTuple):
    """A launch that lacks its arguments. It is data: no kernel, no device, no memory."""

    file: str
    kernel: str  # the instance: "bag_sum_1<float, long long, SUM, false>"
    grid: tuple[int, ...]
    block: tuple[int, ...]
    pick: Callable[[Mapping[str, Any]], Many]  # the kernel's arguments, in its order


def prepared(
    file: str, name: str, types: Many, threads: Any, block: Any = BLOCK, **called: str
) -> Launch:
    """A launch of `name`<types...> with at least so many threads, in whole blocks.

    threads, block: or two tuples, the grid and the block. called: parameters whose argument goes
    by another name, as where two launches of a plan write to different arrays.
    """
    if not isinstance(block, tuple):
        threads, block = (ceil_div(threads, block),), (block,)
    pick = operator.itemgetter(*(called.get(p, p) for p in _parameters(file)[name]))
    return Launch(file, expression(name, *types), threads, block, pick)


@functools.cache
def _parameters(file: str) -> dict[str, tuple[str, ...]]:
    """The names of the parameters of all kernels in `file`.cu, in their order."""
    found = kernels(source(file), ())
    return {name: tuple(p.name for p in one.parameters) for name, one in found.items()}


class Plan(NamedTuple):
    """Launches that follow one another, made once for all calls of the same shapes and dtypes."""

    launches: tuple[Launch, ...]
    numbers: Mapping[str, Any]  # arguments by name
    # name, shape, dtype of arrays that a run makes; the shape 0: for a parameter not looked at
    room: tuple[tuple[str, Any, Any], ...] = ()

    def run(self, **arrays: Any) -> dict[str, Any]:
        """All launches. Returns all arguments by name, also the arrays that were made.

        A kernel takes the arguments that it has parameters for; KeyError if one is missing.
        """
        gpu, given = device(), {**self.numbers, **arrays}
        for name, shape, dtype in self.room:
            given[name] = gpu.empty(shape, dtype) if shape else _nothing(gpu, dtype)
        for file, kernel, grid, block, pick in self.launches:
            if 0 not in grid:
                _kernel(gpu, file, kernel)(grid, block, pick(given))
        return given


# ---- arrays ---------------------------------------------------------------------------------


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-int(a) // int(b))


def upload(array: Any, dtype: Any = None) -> Any:
    """The array on the device, as kernels take it; not copied where it is so already.

    C-contiguous, in this machine's byte order, and each element at a multiple of its size.
    """
    if on_host(array) and not (array.flags.aligned and array.dtype.isnative):
        array = array.astype(array.dtype.newbyteorder("="))
    return device().asarray(array, dtype)


def download(array: Any, like: Any) -> Any:
    """A result in the caller's kind of array: NumPy's if `like` is, else left on the device."""
    return device().asnumpy(array) if on_host(like) else array


def on_host(array: Any) -> bool:
    """Whether it is NumPy's; else it is CuPy's."""
    return isinstance(array, np.ndarray)


def nothing(dtype: Any) -> Any:
    """An empty array, for a parameter that a kernel does not look at."""
    return _nothing(device(), dtype)


@functools.cache
def _nothing(gpu: Device, dtype: Any) -> Any:
    return gpu.empty(0, dtype)


def address(array: Any) -> int:
    """Where the array lies on its device, as far as it can matter to a load.

    NumPy takes long to tell. Memory that is the array's own begins where malloc lets it begin, at a
    multiple of WIDEST; and rows of one element are loaded one by one. 0 stands for both.
    """
    if not on_host(array):
        return int(array.data.ptr)
    return 0 if array.flags.owndata or array.shape[-1] == 1 else int(array.ctypes.data)


def pack_of(*arrays: Any) -> int:
    """How many neighboring elements of a row one load may take: 1, 2, 4 or 8.

    A load of k bytes must start at a multiple of k. So k must divide the bytes of a row and the
    address of each array; k is a power of two and at most WIDEST.
    arrays: of one dtype, with rows of one length: weight, output, grad_output.
    """
    return min([pack_for(a.shape[-1], a.dtype.itemsize, address(a)) for a in arrays])


def pack_for(D: int, size: int, begin: int = 0) -> int:
    """The same for rows of D elements of `size` bytes, the first of which is at address `begin`."""
    all_three = D * size | begin | WIDEST
    together = all_three & -all_three  # the lowest bit: the largest power of two that divides them
    return max(together // size, 1)
