"""Between NumPy and the kernels: which C type a dtype is, kernels made once, grids, arrays moved.

    sum_rows = kernel("forward", "bag_sum_1", weight.dtype, indices.dtype, "SUM", False)
    launch(sum_rows, threads, (weight, indices, ...))

Everything goes through `device()`: with a GPU the arrays are CuPy's, without one they are NumPy's,
and the calls are the same. Nothing in here waits for the GPU but `download` to a NumPy array.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu import Device, device

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


def source(name: str) -> str:
    """The text of the file `name`.cu. Raises ValueError for a name that is not there."""
    file = HERE / f"{name}.cu"
    if not file.is_file():
        there = ", ".join(sorted(f.stem for f in HERE.glob("*.cu")))
        raise ValueError(f"name is {name!r}; there are: {there}")
    return file.read_text(encoding="utf-8")


def kernel(file: str, name: str, *parameters: Any) -> Any:
    """The kernel `name`<parameters...> of `file`.cu, compiled when it is first launched.

    parameters: of the template, in order: dtypes, bools, ints, and names of C++ as strings.
    The same kernel is the same object: after a checked launch, kernel(...).report has its counts.
    """
    return _instance(device(), file, expression(name, *parameters))


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
def _instance(gpu: Device, file: str, name: str) -> Any:
    module = gpu.RawModule(code=source(file), name_expressions=[name])
    return module.get_function(name)


def launch(kernel: Any, threads: int, args: Sequence[Any], block: int = BLOCK) -> None:
    """Start at least so many threads, in whole blocks; with none to start, nothing happens."""
    blocks = ceil_div(threads, block)
    if blocks:
        kernel((blocks,), (block,), tuple(args))


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
    return device().empty(0, dtype)


def address(array: Any) -> int:
    """Where the array lies on its device."""
    return array.ctypes.data if on_host(array) else array.data.ptr


def pack_of(*arrays: Any) -> int:
    """How many neighboring elements of a row one load may take: 1, 2, 4 or 8.

    A load of k bytes must start at a multiple of k. So k must divide the bytes of a row and the
    address of each array; k is a power of two and at most WIDEST.
    arrays: of one dtype, with rows of one length: weight, output, grad_output.
    """
    size = arrays[0].dtype.itemsize
    together = WIDEST
    for array in arrays:
        while array.shape[-1] * size % together or address(array) % together:
            together //= 2
            if together <= size:
                return 1
    return together // size
