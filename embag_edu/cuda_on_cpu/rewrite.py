"""Makes of CUDA C++ what a C++ compiler takes, and what it loads as a GPU does."""

from __future__ import annotations

import re
from collections.abc import Sequence

from embag_edu.cuda_on_cpu.refuse import NotModeled
from embag_edu.cuda_on_cpu.source import is_function, names_of
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

Edit = tuple[int, int, str]  # start, end, the new text


def rewrite(code: str, options: Sequence[str] | None = None) -> str:
    """The source as a C++ compiler takes it.

    `extern __shared__ T x[];` becomes a pointer to the launch's dynamic shared memory. Any other
    becomes a struct of its variables, which `cuda_on_cpu::place` puts into the block's memory, and
    a reference for each of them. A struct with an alignment of its own is copied whole, as a GPU
    does. Line numbers stay. Raises SourceError where CUDA has an error too.
    """
    code = expanded(code, options)
    visible = [token for token in tokens(code, options) if not token.directive]
    shared = [i for i, token in enumerate(visible) if token.text == "__shared__"]
    edits: list[Edit] = []
    for count, i in enumerate(shared):
        edits += _shared(code, visible, i, count)
    for i in range(len(visible)):
        edits += _copied_whole(visible, i) + _fixed(visible, i)
    return _edited(code, edits)


def _edited(code: str, edits: list[Edit]) -> str:
    for start, end, text in sorted(edits, reverse=True):
        code = code[:start] + text + code[end:]
    return code


def expanded(code: str, options: Sequence[str] | None = None) -> str:
    """The source without macros that say __shared__: where one is used, its body is written."""
    for _ in range(8):  # one may stand in the body of another
        found = tokens(code, options)
        said = next(
            (i for i, t in enumerate(found) if t.directive and t.text == "__shared__"), None
        )
        if said is None:
            return code
        line = [t for t in found if t.directive == found[said].directive]
        if [t.text for t in line[:2]] != ["#", "define"]:
            raise SourceError(line[0].line, "__shared__ in a directive that is no #define")
        code = _without_macro(code, found, line)
    raise SourceError(line[0].line, "__shared__ in a macro that names itself")


def _without_macro(code: str, found: Sequence[Token], line: list[Token]) -> str:
    name, end = line[2].text, line[-1].start + len(line[-1].text)
    takes = len(line) > 3 and line[3].text == "(" and line[3].start == line[2].start + len(name)
    last = close(line, 3) if takes else 2
    names = [part[0].text for part in split(line[4:last])] if takes else []
    begin = line[last].start + len(line[last].text)
    body = re.sub(r"\\\n", " ", code[begin:end])
    if re.search("(?<!#)#(?!#)", body) or "..." in names:
        raise SourceError(line[0].line, "__shared__ in a macro with #: write the declaration out")
    edits = [(line[0].start, end, "\n" * code.count("\n", line[0].start, end))]
    for i, token in enumerate(found):
        if token.text != name or token.directive == line[0].directive:
            continue
        given: list[str] = []
        stop = i
        if takes:
            if [t.text for t in found[i + 1 : i + 2]] != ["("]:
                continue
            stop = close(found, i + 1)
            parts = split(found[i + 2 : stop])
            given = [
                " ".join(code[p[0].start : p[-1].start + len(p[-1].text)].split())
                for p in parts
                if p
            ]
        values = dict(zip(names, given, strict=False))
        words = re.split(r"\b([A-Za-z_]\w*)", body.strip())
        text = re.sub(r"\s*##\s*", "", "".join(values.get(word, word) for word in words))
        end = found[stop].start + len(found[stop].text)
        edits.append((token.start, end, text + "\n" * code.count("\n", token.start, end)))
    return _edited(code, edits)


def _fixed(found: list[Token], i: int) -> list[Edit]:
    """A template of a __constant__ variable is constexpr here: its instances have no place."""
    if found[i].text not in ("__constant__", "__device__") or found[i].depth:
        return []
    statement = found[begin_of(found, i) : end_of(found, i)]
    if len(statement) < 4 or statement[0].text != "template":
        return []
    declared = bare(statement[close(statement, 1) + 1 :])
    if is_function(declared):
        return []
    texts = [t.text for t in declared]
    if "struct" in texts or "class" in texts or "const" in texts or "constexpr" in texts:
        return []
    if found[i].text == "__device__":
        why = "a template of a __device__ variable is not modeled: declare one for each type"
        raise NotModeled(found[i].line, why)
    zero = not {"=", "{"} & set(texts)
    end = found[end_of(found, i)].start
    edits = [(found[i].start, found[i].start + len("__constant__"), "constexpr")]
    return [*edits, (end, end, " = {}")] if zero else edits


def _shared(code: str, found: list[Token], i: int, count: int) -> list[Edit]:
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
    outside = found[i].depth == 0
    if "extern" in [t.text for t in dropped]:
        text, gap = _dynamic(kept, line), "\n" * code.count("\n", begin, end)
        if not outside:
            return [(begin, end + 1, text + gap)]
        return [(begin, end + 1, gap), *_in_bodies(found, last, kept, text)]
    _check_no_value(kept, line)
    edits = [(begin, begin, f"struct cuda_shared_{count} {{ ")]
    edits += [(t.start, t.start + len(t.text), "") for t in dropped]
    text = _references(kept, count, line)
    if not outside:
        return [*edits, (end, end + 1, "; };" + text)]
    return [*edits, (end, end + 1, "; };"), *_in_bodies(found, last, kept, text)]


def _in_bodies(found: list[Token], i: int, statement: list[Token], text: str) -> list[Edit]:
    """`text`, which declares the variables of a statement, in the functions that use them."""
    names = {name.text for name in names_of(statement)}
    edits: list[Edit] = []
    while i < len(found):
        head = [t.text for t in found[max(i - 3, 0) : i] if t.text not in ("const", "noexcept")]
        if found[i].text == "{" and head[-1:] == [")"]:
            last = close(found, i)
            parameters = {t.text for t in found[begin_of(found, i) : i]}
            used = {t.text for t in found[i:last]} & names - parameters
            if used:  # in braces of their own: what the function declares itself comes first
                edits += [(found[i].start + 1, found[i].start + 1, f" {text} {{")]
                edits += [(found[last].start, found[last].start, "} ")]
            i = last
        i += 1
    return edits


_ALIGNED = ("alignas", "__align__", "__builtin_align__")


def _copied_whole(found: list[Token], i: int) -> list[Edit]:
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
