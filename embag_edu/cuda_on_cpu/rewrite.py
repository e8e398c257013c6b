"""Makes of CUDA C++ what a C++ compiler takes, and what it loads as a GPU does."""

from __future__ import annotations

from collections.abc import Sequence

from embag_edu.cuda_on_cpu.source import names_of
from embag_edu.cuda_on_cpu.tokens import (
    WORD,
    SourceError,
    Token,
    bare,
    before,
    begin_of,
    close,
    end_of,
    nesting,
    split,
    tokens,
    written,
)


def rewrite(code: str, options: Sequence[str] | None = None) -> str:
    """The source as a C++ compiler takes it.

    `extern __shared__ T x[];` becomes a pointer to the launch's dynamic shared memory. Any other
    becomes a struct of its variables, which `cuda_on_cpu::place` puts into the block's memory, and
    a reference for each of them. A struct with an alignment of its own is copied whole, as a GPU
    does. Line numbers stay. Raises SourceError where CUDA has an error too.
    """
    found = tokens(code, options)
    for token in found:
        if token.directive and token.text == "__shared__":
            raise SourceError(token.line, "__shared__ in a macro: write the declaration out")
    visible = [token for token in found if not token.directive]
    shared = [i for i, token in enumerate(visible) if token.text == "__shared__"]
    edits: list[tuple[int, int, str]] = []
    for count, i in enumerate(shared):
        edits += _shared(code, visible, i, count)
    for i in range(len(visible)):
        edits += _copied_whole(visible, i)
    for start, end, text in sorted(edits, reverse=True):
        code = code[:start] + text + code[end:]
    return code


def _shared(code: str, found: list[Token], i: int, count: int) -> list[tuple[int, int, str]]:
    """The edits (start, end, new text) of the declaration around the `__shared__` at `i`."""
    first, last, line = begin_of(found, i), end_of(found, i), found[i].line
    labels = [k for k in range(first, i) if found[k].text == ":"]
    first = labels[-1] + 1 if labels else first  # `case 1: __shared__ float a;`
    statement = found[first:last]
    _check_place(found[i], found[first:i])
    if found[last].text != ";":
        raise SourceError(line, "this __shared__ declaration has no end: is a semicolon missing?")
    begin, end = found[first].start, found[last].start
    dropped = [t for t in statement if t.text in ("__shared__", "static", "extern")]
    kept = [t for t in statement if t not in dropped]
    if "extern" in [t.text for t in dropped]:
        return [(begin, end + 1, _dynamic(kept, line) + "\n" * code.count("\n", begin, end))]
    _check_no_value(kept, line)
    edits = [(begin, begin, f"struct cuda_shared_{count} {{ ")]
    edits += [(t.start, t.start + len(t.text), "") for t in dropped]
    return [*edits, (end, end + 1, "; };" + _references(kept, count, line))]


_ALIGNED = ("alignas", "__align__", "__builtin_align__")


def _copied_whole(found: list[Token], i: int) -> list[tuple[int, int, str]]:
    """The edit of an aligned struct that begins at `i`; none where another thing does."""
    if found[i].text != "struct" or i + 2 >= len(found) or found[i + 1].text not in _ALIGNED:
        return []
    at = close(found, i + 2) + 1
    name = found[min(at, len(found) - 1)].text
    while at < len(found) - 1 and found[at].text not in ("{", ";"):
        at += 1
    if found[at].text != "{" or not WORD.fullmatch(name):
        return []
    body = [token.text for token in found[at : close(found, at)]]
    constructed = any(pair == (name, "(") for pair in zip(body, body[1:], strict=False))
    default = "" if constructed else f" {name}() = default;"
    end = found[at].start + 1
    return [(end, end, f"{default} CUDA_ON_CPU_WHOLE({name})")]


def _references(statement: list[Token], count: int, line: int) -> str:
    """Where the struct lies in the block's memory, and a reference to each of its variables."""
    names = [name.text for name in names_of(statement)]
    if not names:
        raise SourceError(
            line, "this __shared__ declares no variable: `__shared__ float tile[32];`"
        )
    at = f"cuda_shared_at_{count}"
    place = f'cuda_on_cpu::place<cuda_shared_{count}>("{", ".join(names)}", {line})'
    return f" auto& {at} = {place};" + "".join(f" auto& {name} = {at}.{name};" for name in names)


def _check_place(token: Token, before_it: list[Token]) -> None:
    prefix = [t.text for t in before_it]
    if prefix.count("(") > prefix.count(")"):
        raise SourceError(
            token.line,
            "__shared__ belongs to a variable, not to a parameter or a type: "
            "a function takes shared memory as a plain pointer, `float* tile`",
        )
    if token.depth == 0:
        raise SourceError(
            token.line, "__shared__ outside of a function: declare it inside the kernel"
        )
    texts = {t.text for t in bare(before_it)}
    if texts & _NO_TYPES or {"(", ")", "=", "["} & texts:
        raise SourceError(
            token.line, "__shared__ stands before a declaration: `__shared__ float tile[32];`"
        )


_NO_TYPES = {"if", "else", "for", "while", "do", "return", "goto", "new", "delete", "using"}


def _check_no_value(statement: list[Token], line: int) -> None:
    plain = bare(statement)
    head = [t.text for t in before(split(plain)[0], "[")] if plain else []
    behind = head[len(head) - head[::-1].index("*") :] if "*" in head else head
    if "const" in behind and not {"<", "("} & set(head):
        raise SourceError(
            line, "a __shared__ variable that is const has no value for ever: take const away"
        )
    for i, (token, level) in enumerate(zip(plain, nesting(plain), strict=True)):
        function = (
            token.text == "(" and plain[i - 1].text != "decltype" and plain[i + 1].text != "*"
        )
        if level == 0 and (token.text in ("=", "{") or function):
            raise SourceError(
                line,
                "a __shared__ variable cannot be given a value where it is declared, in CUDA "
                "neither: let one thread store it, then call __syncthreads()",
            )


def _dynamic(statement: list[Token], line: int) -> str:
    """`TYPE name[]` or `TYPE name[][32]` as a pointer to the dynamic shared memory."""
    made = []
    kind: list[Token] = []
    for part in split(bare(statement)):
        declared = before(part, "[")
        shape = [t.text for t in part[len(declared) :]]
        if shape[:2] != ["[", "]"] or len(declared) < (1 if kind else 2):
            raise SourceError(
                line, "`extern __shared__` declares an array without a size: `tile[]`"
            )
        kind = kind or declared[:-1]
        name, text = declared[-1].text, written(kind)
        bounds = "".join(shape[2:])
        pointer = f"{text} (*{name}){bounds}" if bounds else f"{text}* {name}"
        cast = f"({text} (*){bounds})" if bounds else f"({text}*)"
        made.append(f"{pointer} = {cast}cuda_on_cpu::dynamic_shared();")
    return " ".join(made)
