"""cupy.ElementwiseKernel and cupy.ReductionKernel: they write the source of a RawKernel."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from embag_edu.cuda_on_cpu.cupy.arrays import ndarray, refuse_numpy, unwrapped
from embag_edu.cuda_on_cpu.launch import RawKernel

_C = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short",
    "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int", "int64": "long long",
    "uint64": "unsigned long long", "float16": "float16", "float32": "float", "float64": "double",
    "complex64": "complex<float>", "complex128": "complex<double>",
}  # fmt: skip
_HEADERS = "cupy/complex.cuh", "cupy/carray.cuh", "cupy/float16.cuh", "math_constants.h"
_HEAD = "\n".join(f"#include <{name}>" for name in _HEADERS)


class _Parameter(NamedTuple):
    """`raw float32 x`. A type of one letter stands for any, the same one wherever it stands."""

    name: str
    kind: str
    raw: bool
    const: str


def _parameters(text: str, const: str) -> list[_Parameter]:
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        *words, kind, name = part.split() if " " in part else ("?", "", part)
        if name == "i" or not {*words} <= {"raw", "_non_const"}:
            raise ValueError(f"{part!r}: valid are 'float32 x', 'T x', 'raw T x', but no name i")
        found.append(_Parameter(name, kind, "raw" in words, const * ("_non_const" not in words)))
    return found


class _Launch:
    """What is passed to a kernel, and the lines of its source for that."""

    def __init__(self, sizes: Sequence[int]):
        self.declared, self.values = ["const long long* _sizes"], [np.array(sizes, np.int64)]
        self.before: list[str] = []  # in the kernel, before its loop
        self.copies: list[tuple[np.ndarray, np.ndarray]] = []  # with the arrays to write back to

    def take(self, p: _Parameter, value: Any, index: str) -> str:
        """Pass an array or number. Returns the line of the loop that names its element `index`."""
        c, row = _C[value.dtype.name], np.ascontiguousarray(value).reshape(-1)
        number = not isinstance(value, np.ndarray)
        self.declared.append(f"{c} {p.name}" if number else f"{p.const}{c}* _data_{p.name}")
        self.values.append(value if number else row)
        if number:
            return ""
        if (p.raw or not p.const) and value.size and not np.shares_memory(row, value):
            self.copies.append((value, row))
        if not p.raw:
            return f"{p.const}{c}& {p.name} = _data_{p.name}[{index}];"
        self.declared.append(f"const long long* _shape_{p.name}")
        self.values.append(np.array(value.shape or (1,), np.int64))
        made = f"{p.name}(({c}*)_data_{p.name}, _shape_{p.name});"
        self.before.append(f"{p.const}CArray<{c}, {value.ndim or 1}> {made}")
        return ""


class _UserKernel:
    """What both kinds share: parameters, their types, and the launch."""

    def __init__(self, ins: str, outs: str, name: str, preamble: str, options: Sequence[str]):
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f'Invalid kernel name: "{name}"; valid: a name of C++')
        self.ins, self.outs = _parameters(ins, "const "), _parameters(outs, "")
        self.name = self.__name__ = name
        self.preamble, self.options = preamble, tuple(options)
        self._cached_codes: dict[str, RawKernel] = {}

    def _body(self, each: list[str], last: list[str], ndim: int) -> list[str]:
        """The kernel's, from the lines that name the elements of inputs and outputs."""
        raise NotImplementedError

    def _shapes(self, args: Sequence[Any], parameters: Sequence[_Parameter]) -> list[tuple]:
        """Of the arrays that are not raw. TypeError for NumPy's, and for a wrong number of args."""
        refuse_numpy(args)
        n, most = len(self.ins), len(self.ins) + len(self.outs)
        if len(args) not in (n, most):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}: {len(args)}; valid: {n}, or {most}"
            )
        given = zip(args, parameters, strict=False)
        return [x.shape for x, p in given if isinstance(x, ndarray) and not p.raw]

    def _types(self, hosts: Sequence[Any]) -> dict[str, np.dtype]:
        """Of each kind of parameter. What is no array counts where no array tells the type."""
        both = [*self.ins, *self.outs]
        types = {p.kind: np.dtype(p.kind) for p in both if len(p.kind) > 1}
        given = list(zip(both, hosts, strict=False))
        for p, x in given:
            if isinstance(x, np.ndarray) and types.setdefault(p.kind, x.dtype) != x.dtype:
                raise TypeError(f"Type is mismatched: {p.name} is {x.dtype}, not {types[p.kind]}")
        for p, x in given:
            types.setdefault(p.kind, np.asarray(x).dtype)
        unknown = [p.kind for p in both if p.kind not in types]
        if unknown:
            raise TypeError(f"type {unknown[0]} is not known: pass the output, or name its type")
        return types

    def _run(
        self, args: Sequence[Any], full: tuple, axes: tuple = (), keepdims: bool = False,
        block: int = 128,
    ) -> Any:  # fmt: skip
        """Run a thread for each output, which goes through those axes of the full shape."""
        hosts = list(map(unwrapped, args))
        types = self._types(hosts)
        kept = [i for i in range(len(full)) if i not in axes]
        shape = tuple(1 if i in axes else n for i, n in enumerate(full) if keepdims or i in kept)
        count = math.prod(shape)
        launch = _Launch((count, math.prod(full[i] for i in axes), *(full or (1,))))
        each, last = [], []
        for p, x in zip(self.ins, hosts, strict=False):
            if not isinstance(x, np.ndarray):
                x = np.asarray(x).astype(types[p.kind])[()]
            elif not p.raw:
                x = np.broadcast_to(x, full).transpose(*kept, *axes)
            each.append(launch.take(p, x, "_j"))
        given = args[len(self.ins) :] or [ndarray(shape, types[p.kind]) for p in self.outs]
        for p, x in zip(self.outs, given, strict=True):
            if not p.raw and x.shape != shape:
                raise ValueError(f"Out shape is mismatched: {x.shape}, not {shape}")
            last.append(launch.take(p, unwrapped(x), "_i"))
        if count:
            kernel = self._kernel(types, launch, self._body(each, last, len(full) or 1))
            kernel((-(-count // block),), (block,), launch.values)
        for owner, row in launch.copies:
            owner[...] = row.reshape(owner.shape)
        return tuple(given) if len(given) != 1 else given[0]

    def _kernel(self, types: dict[str, np.dtype], launch: _Launch, body: list[str]) -> RawKernel:
        letters = {kind: _C[dtype.name] for kind, dtype in types.items() if len(kind) == 1}
        typedefs = [f"typedef {c} {letter};" for letter, c in letters.items()]
        head = f'extern "C" __global__ void {self.name}({", ".join(launch.declared)}) {{'
        code = "\n".join([_HEAD, *typedefs, self.preamble, head, *launch.before, *body, "}"])
        if code not in self._cached_codes:
            self._cached_codes[code] = RawKernel(code, self.name, self.options)
        return self._cached_codes[code]


class ElementwiseKernel(_UserKernel):
    """One operation for each element, as cupy.ElementwiseKernel."""

    def __init__(
        self, in_params: str, out_params: str, operation: str, name: str = "kernel",
        reduce_dims: bool = True, preamble: str = "", no_return: bool = False,
        return_tuple: bool = False, doc: str = "", *, options: Sequence[str] = (),
        loop_prep: str = "", after_loop: str = "",
    ):  # fmt: skip
        super().__init__(in_params, out_params, name, preamble, options)
        self.operation, self.around = f"{operation};", (f"{loop_prep};", f"{after_loop};")
        self.no_return, self.return_tuple = no_return, return_tuple

    def __call__(
        self, *args: Any, size: int | None = None, block_size: int = 128, stream: Any = None
    ) -> Any:
        """The outputs. size: of the loop, where all arrays are raw."""
        if not 1 <= block_size <= 1024:
            raise ValueError(f"block_size is {block_size}; valid: 1 to 1024")
        shapes = self._shapes(args, [*self.ins, *self.outs])
        if shapes and size is not None:
            raise ValueError("Specified 'size' can be used only if all arrays are 'raw'")
        if not shapes and size is None:
            raise ValueError("Loop size is undecided. Pass size=: no array says how long it is")
        full = np.broadcast_shapes(*shapes) if shapes else (int(size or 0),)
        found = self._run(args, full, block=block_size)
        one = self.return_tuple and not isinstance(found, tuple)
        return None if self.no_return else (found,) if one else found

    def _body(self, each: list[str], last: list[str], ndim: int) -> list[str]:
        loop = ["CUPY_FOR(i, _sizes[0]) {", "const ptrdiff_t _i = i, _j = i;", "_ind.set(i);"]
        loop += [*each, *last, self.operation, "}"]
        return [f"CIndexer<{ndim}> _ind(_sizes + 2);", self.around[0], *loop, self.around[1]]


class ReductionKernel(_UserKernel):
    """Many elements to one, as cupy.ReductionKernel. One thread makes one output, in order."""

    def __init__(
        self, in_params: str, out_params: str, map_expr: str, reduce_expr: str, post_map_expr: str,
        identity: Any, name: str = "reduce_kernel", reduce_type: str | None = None,
        reduce_dims: bool = True, preamble: str = "", options: Sequence[str] = (),
    ):  # fmt: skip
        super().__init__(in_params, out_params, name, preamble, options)
        self.map, self.reduce, self.post_map = map_expr, reduce_expr, post_map_expr
        self.identity = "" if identity is None else str(identity)
        kind = self.outs[0].kind
        self.reduce_type = reduce_type or (kind if len(kind) == 1 else _C[np.dtype(kind).name])

    def __call__(
        self, *args: Any, out: Any = None, axis: Any = None, keepdims: bool = False,
        stream: Any = None,
    ) -> Any:  # fmt: skip
        """The outputs. axis: one or more, by default all; they are gone unless keepdims."""
        if out is not None and len(args) != len(self.ins):
            raise ValueError("cannot specify 'out' as both a positional and keyword argument")
        args = args if out is None else (*args, out)
        full = np.broadcast_shapes(*self._shapes(args, self.ins))
        axes = normalize_axis_tuple(range(len(full)) if axis is None else axis, len(full))
        if not self.identity and 0 in (full[i] for i in axes):
            raise ValueError(f"zero-size array to reduction operation {self.name}, no identity")
        return self._run(args, full, axes, keepdims)

    def _body(self, each: list[str], last: list[str], ndim: int) -> list[str]:
        return [
            f"typedef {self.reduce_type} _type_reduce;",
            "CUPY_FOR(_i, _sizes[0]) {",
            f"_type_reduce _s = _type_reduce({self.identity});",
            "for (ptrdiff_t _J = 0; _J < _sizes[1]; ++_J) {",
            *("const ptrdiff_t _j = _i * _sizes[1] + _J;", *each),
            f"_type_reduce _a = static_cast<_type_reduce>({self.map});",
            f"{{ _type_reduce a = _s, b = _a; _s = ({self.reduce}); }}",
            *("}", *last),
            f"{{ _type_reduce a = _s; {self.post_map}; }}",
            "}",
        ]
