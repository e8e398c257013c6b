"""The members of a struct, where the source shows them: a value's dtype is compared with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from embag_edu.cuda_on_cpu.signature import TypeRead, aliases, resolve
from embag_edu.cuda_on_cpu.source import Parameter, type_and_name
from embag_edu.cuda_on_cpu.tokens import ATTRIBUTES, Token, before, close, cut, split, visible

_MOST = 4096  # bytes of a struct that a kernel takes by value
_SAME = ({"bool", "int8", "uint8"}, {"float16", "uint16"}, {"bfloat16", "uint16"})


class _Laid(NamedTuple):
    """What a type is in NumPy, and its alignment in bytes."""

    dtype: np.dtype
    align: int


def struct_dtype(code: str, kind: str, options: Sequence[str] | None = None) -> np.dtype | None:
    """The dtype of a struct or vector with plain members, whose type is written as `kind`.

    None where the members cannot be read: templates, base classes, functions, bit fields, macros.
    """
    found = visible(code, options)
    if any(token.text == "pack" for token in found) or "#pragma pack" in code:
        return None
    laid = _Reader(found, aliases(code, options)).laid(cut(kind.rstrip("*& ")))
    return laid.dtype if laid and laid.dtype.names else None


def with_struct(code: str, parameter: Parameter, options: Sequence[str]) -> Parameter:
    """The parameter, with the dtype of its struct where it has one."""
    of_numbers = parameter.pointer and parameter.dtype is not None
    if of_numbers or (parameter.dtype is not None and parameter.lanes == 1):
        return parameter
    struct = struct_dtype(code, parameter.type, options)
    fits = parameter.pointer or parameter.size in (0, struct.itemsize if struct else 0)
    return replace(parameter, struct=struct) if fits else parameter


class _Reader:
    def __init__(self, found: list[Token], scope: Mapping[str, TypeRead]):
        self.found, self.scope = found, scope

    def laid(self, part: Sequence[Token], depth: int = 8) -> _Laid | None:
        """A scalar, a vector, a pointer, or a struct of them; None for another thing."""
        read = resolve(part, dict(self.scope))
        dtype, lanes = read.element
        if read.stars:
            return _Laid(np.dtype(np.uint64), 8)
        if dtype is not None or read.base == "dim3":
            one = np.dtype("uint16" if dtype == "bfloat16" else dtype or "uint32")
            lanes = 3 if dtype is None else lanes
            fields = [(name, one) for name in "xyzw"[:lanes]]
            align = one.itemsize * (lanes if lanes in (2, 4) else 1)
            return _Laid(np.dtype(fields) if lanes > 1 else one, min(align, 16))
        names = {read.base, part[-1].text} if part else set()
        bodies = list(self._structs(names))
        return self._struct(*bodies[0], depth - 1) if len(bodies) == 1 and depth else None

    def _structs(self, names: set[str]) -> Iterator[tuple[list[Token], int]]:
        """The body, and the alignment, of each struct that has one of the names."""
        for i, token in enumerate(self.found[:-2]):
            at, align = i + 1, 1
            while token.text == "struct" and self.found[at].text in ATTRIBUTES:
                inside = self.found[at + 2 : close(self.found, at + 1)]
                align = _number(inside, align) if self.found[at].text != "__attribute__" else 0
                at = close(self.found, at + 1) + 1
            head = self.found[at] if self.found[at].text != "{" else None
            opened = at + (head is not None)
            if token.text != "struct" or self.found[opened].text != "{":
                continue
            last, outer = close(self.found, opened), self.found[i - 1].text if i else ""
            behind = self.found[last + 1].text if outer == "typedef" else ""
            if names & {head.text if head else "", behind} and outer != ">" and align:
                yield self.found[opened + 1 : last], align

    def _struct(self, body: list[Token], align: int, depth: int) -> _Laid | None:
        fields: dict[str, tuple[np.dtype, int]] = {}
        end = 0
        for statement in _statements(body):
            for name, kind, shape in _declared(statement):
                laid = self.laid(kind, depth) if shape is not None else None
                if laid is None:
                    return None
                begin, align = -(-end // laid.align) * laid.align, max(align, laid.align)
                fields[name] = np.dtype((laid.dtype, shape)), begin
                end = begin + fields[name][0].itemsize
        if not 0 < end <= _MOST:
            return None
        formats, offsets = zip(*fields.values(), strict=True)
        size = -(-end // align) * align
        names = list(fields)
        made: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
        return _Laid(np.dtype(made), align)


def _statements(body: list[Token]) -> Iterator[list[Token]]:
    start = 0
    for i, token in enumerate(body):
        if token.text == ";":
            yield body[start:i]
            start = i + 1


def _declared(statement: list[Token]) -> Iterator[tuple[str, list[Token], tuple | None]]:
    """Name, type and shape of each member; shape is None where they cannot be read."""
    parts = split(statement)
    plain = not {"(", "{", ":", "=", "&", "static", "using", "typedef"} & {
        token.text for token in statement
    }
    kind, _ = type_and_name(before(parts[0], "[")) if parts else ([], "")
    for k, part in enumerate(parts):
        declared = before(part, "[")
        bounds = part[len(declared) :]
        lengths = [_number(bounds[i : i + 1], 0) for i in range(1, len(bounds), 3)]
        stars = [t for t in kind if t.text != "*"] + declared[:-1]
        shape = tuple(lengths) if plain and all(lengths) and len(bounds) % 3 == 0 else None
        yield (declared[-1].text if declared else ""), (stars if k else kind), shape


def _number(found: Sequence[Token], least: int) -> int:
    """The whole number that stands there, at least `least`; 0 where it is none."""
    text = found[0].text.rstrip("uU") if len(found) == 1 else ""
    return max(int(text), least) if text.isdecimal() else 0


# ---- comparing ----


def _scalars(dtype: np.dtype, at: int = 0, name: str = "") -> Iterator[tuple[int, str, np.dtype]]:
    """Byte, name and dtype of each number in it; raw bytes are none."""
    if dtype.fields:
        for field, (inner, offset, *_) in dtype.fields.items():
            yield from _scalars(inner, at + offset, f"{name}.{field}".lstrip("."))
    elif dtype.subdtype:
        inner, shape = dtype.subdtype
        for i in range(math.prod(shape)):
            index = f"{name}[{i}]" if math.prod(shape) > 1 else name
            yield from _scalars(inner, at + i * inner.itemsize, index)
    elif dtype.kind == "c":
        half = np.dtype(f"{dtype.byteorder}f{dtype.itemsize // 2}")
        yield from ((at, name, half), (at + half.itemsize, name, half))
    elif dtype.kind != "V" or dtype.name == "bfloat16":
        yield at, name, dtype


def misfit(struct: np.dtype, given: np.dtype) -> str:
    """The first member of the struct that the given dtype has not, in words; '' where all fit."""
    found = list(_scalars(given))
    if not found or {dtype.itemsize for _, _, dtype in found} == {1} and not given.fields:
        return ""  # bytes
    at = {byte: (name, dtype) for byte, name, dtype in found}
    where = {name: byte for byte, name, _ in found}
    for byte, name, dtype in _scalars(struct):
        member = f"member `{name}` is {dtype.name} at byte {byte}"
        if byte not in at:
            return f"{member}, where none of the dtype's fields begins"
        field, actual = at[byte]
        same = actual.name == dtype.name or any({actual.name, dtype.name} <= s for s in _SAME)
        if not same or not actual.isnative:
            order = "" if actual.isnative else " in foreign byte order"
            return f"{member}, the dtype's field `{field}` there is {actual.name}{order}"
        if where.get(name, byte) != byte:
            return f"{member}, the dtype's field `{name}` at byte {where[name]}"
    return ""
