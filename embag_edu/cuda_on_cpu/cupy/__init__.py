"""A stand-in for CuPy on a machine without a GPU, of the size that tests of kernels need.

In conftest.py, before anything imports cupy:

    import embag_edu.cuda_on_cpu.cupy as cupy; cupy.install()

RawKernel, RawModule, ElementwiseKernel and ReductionKernel run by cuda_on_cpu, checked; the rest of
CuPy's names are NumPy's functions, on arrays of CuPy's class, or are refused.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.cupy import cuda
from embag_edu.cuda_on_cpu.cupy.arrays import Lifted, Over, lifted, ndarray, unwrapped, wrapped
from embag_edu.cuda_on_cpu.cupy.cuda import is_available, missing
from embag_edu.cuda_on_cpu.cupy.kernels import ElementwiseKernel, ReductionKernel
from embag_edu.cuda_on_cpu.cupy.raw import RawKernel, RawModule

__all__ = [
    "ElementwiseKernel", "Over", "RawKernel", "RawModule", "ReductionKernel", "array", "asarray",
    "asnumpy", "cuda", "get_array_module", "install", "is_available", "memoize", "ndarray",
]  # fmt: skip
__version__ = "14.2.0"  # of the CuPy that this follows

_NOT_IN_CUPY = """asmatrix block bmat busday_count busday_offset busdaycalendar bytes_ character
    clongdouble complex256 datetime64 datetime_as_string datetime_data einsum_path emath errstate
    flexible float128 frompyfunc fromregex geomspace getbufsize geterr geterrcall info insert
    histogram_bin_edges is_busday isnat longdouble matrix matrixlib matvec memmap nanpercentile
    nanquantile ndenumerate nditer nested_iters object_ polydiv polyint polyder recarray record
    setbufsize seterr seterrcall spacing str_ timedelta64 unstack vecdot vecmat version
    void""".split()


def install() -> None:
    """Let `import cupy`, and `import cupy.cuda` and the like, give this module from now on."""
    own = sys.modules[__name__]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")]:
        del sys.modules[name]
    sys.modules |= {"cupy": own, "cupy.cuda": cuda}
    sys.modules |= {m.__name__: m for m in vars(own).values() if isinstance(m, Over)}
    sys.modules |= {f"cupy.cuda.{name}": cuda for name, m in vars(cuda).items() if m is cuda}


# ---- arrays ----


def array(
    obj: Any, dtype: Any = None, copy: bool = True, order: Any = "K", subok: bool = False,
    ndmin: int = 0, **others: Any,
) -> ndarray:  # fmt: skip
    """A new array; of one that is already here a copy, unless copy=False."""
    new = copy or not isinstance(obj, ndarray) or None
    return wrapped(np.array(unwrapped(obj), dtype, copy=new, order=order, ndmin=ndmin))


def asarray(a: Any, dtype: Any = None, order: Any = None, **others: Any) -> ndarray:
    """The array itself where it is here already; else a copy, as on a GPU."""
    same = isinstance(a, ndarray) and dtype in (None, a.dtype) and order is None
    return a if same else array(a, dtype, False, order or "K")


asanyarray, ascontiguousarray = asarray, functools.partial(asarray, order="C")
asfortranarray = functools.partial(asarray, order="F")


def asnumpy(a: Any, stream: Any = None, order: Any = "C", out: Any = None, **others: Any) -> Any:
    """A copy in NumPy."""
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a, order=order)


def get_array_module(*args: Any) -> Any:
    """This module where one of the arrays is of it, else NumPy."""
    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else np


# ---- what keeps things ----


def memoize(for_each_device: bool = False) -> Callable[[Callable], Callable]:
    """A decorator that keeps the results of a function, by its arguments."""
    return functools.cache


def get_default_memory_pool() -> cuda.MemoryPool:
    """A pool that holds nothing back."""
    return _pool


_pool, clear_memo = cuda.MemoryPool(), cuda.nothing
get_default_pinned_memory_pool = get_default_memory_pool

# ---- the rest, from NumPy ----


random = Over("cupy.random", np.random, typed=True)
linalg = Over("cupy.linalg", np.linalg)
fft = Over("cupy.fft", np.fft)
testing = Over("cupy.testing", np.testing, any_array=True)
exceptions = Over("cupy.exceptions", np.exceptions)
cupyx = Over("cupyx", own={"scatter_add": Lifted(np.add.at)})


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name in _NOT_IN_CUPY or not hasattr(np, name):
        raise missing("cupy", name)
    return lifted(getattr(np, name))
