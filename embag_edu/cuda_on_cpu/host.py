"""What NVIDIA's compiler refuses in a source because it belongs to the host, and what to write.

NVRTC compiles for the GPU alone: functions without __device__, plain global variables, the host's
headers, types and constants do not exist there. The rules that a C++ compiler knows nothing of are
held here, so that what runs on the CPU runs on a GPU too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from embag_edu.cuda_on_cpu.source import is_function, names_of
from embag_edu.cuda_on_cpu.tokens import WORD, Token, bare, close, tokens

Error = tuple[int, int, str]  # line, column, text
REFUSES = "NVIDIA's compiler refuses"
# Headers that come with NVRTC, of which native/include has what the CPU needs.
_HERE = Path(__file__).parent / "native" / "include"
HEADERS = {file.relative_to(_HERE).as_posix() for file in _HERE.rglob("*") if file.is_file()}
AS_DEVICE = ("-default-device", "--device-as-default-execution-space")
_ON_DEVICE = {"__device__", "__global__", "__constant__", "__managed__", "__shared__"}
_TYPES = {
    "int8_t": "signed char", "int16_t": "short", "int32_t": "int", "int64_t": "long long",
    "uint8_t": "unsigned char", "uint16_t": "unsigned short", "uint32_t": "unsigned int",
    "uint64_t": "unsigned long long", "uint": "unsigned int", "ushort": "unsigned short",
    "ulong": "unsigned long", "uchar": "unsigned char", "ssize_t": "long long",
    "intptr_t": "long long", "uintptr_t": "unsigned long long",
}  # fmt: skip
_CONSTANTS = {
    "INFINITY": "__int_as_float(0x7f800000)", "NAN": "__int_as_float(0x7fffffff)",
    "HUGE_VALF": "__int_as_float(0x7f800000)",
    "HUGE_VAL": "__longlong_as_double(0x7ff0000000000000)",
    "FLT_MAX": "3.402823466e+38f", "FLT_MIN": "1.175494351e-38f", "FLT_EPSILON": "1.192092896e-07f",
    "DBL_MAX": "1.7976931348623157e+308", "DBL_EPSILON": "2.2204460492503131e-16",
    "INT_MAX": "2147483647", "INT_MIN": "(-2147483647 - 1)", "UINT_MAX": "0xffffffffu",
    "LLONG_MAX": "0x7fffffffffffffffll", "M_PI": "3.14159265358979323846",
    "M_PI_2": "1.57079632679489661923", "M_E": "2.71828182845904523536",
    "M_SQRT2": "1.41421356237309504880", "M_LN2": "0.69314718055994530942",
}  # fmt: skip
_BUILTINS = {
    "__builtin_align__", "__builtin_expect", "__builtin_assume", "__builtin_assume_aligned",
    "__builtin_unreachable",
}  # fmt: skip
_NO_VARIABLES = ("using", "typedef", "static_assert", "friend", "enum", "concept", "namespace")
_OLD = {
    name: f"{name.removesuffix('_sync')}_sync(mask, ...)"
    for name in ("__shfl", "__shfl_up", "__shfl_down", "__shfl_xor", "__ballot", "__any", "__all")
}
INSTEAD = {**_TYPES, **_CONSTANTS, **_OLD}
_OF_A_HEADER = re.compile(
    r"__\w+|CUDART_\w+|half2?|nv_bfloat162?|cu(Float|Double)?Complex|"
    r"cub|thrust|cooperative_groups"
)


def refused(code: str, options: Sequence[str], folders: Sequence[Path] = ()) -> list[Error]:
    """What in the source belongs to the host: (line, column, what to write). folders: of -I."""
    found = tokens(code, options)
    errors = _includes(code, found, folders) + _names(code, found)
    if not any(option in AS_DEVICE for option in options):
        visible = [token for token in found if not token.directive]
        errors += _Declarations(visible, _device_macros(found)).errors
    return sorted((token.line, _column(code, token), text) for token, text in errors)


def _names(code: str, found: Sequence[Token]) -> list[tuple[Token, str]]:
    """Names of the host's compiler that NVIDIA's does not know."""
    builtin = [t for t in found if t.text.startswith("__builtin_") and t.text not in _BUILTINS]
    wide = [t for t in found if t.text in ("__int128", "__float128", "thread_local", "__thread")]
    pairs = list(zip(found, found[1:], strict=False))
    short = [
        (a, f"{REFUSES} `?:`: write the value between")
        for a, b in pairs
        if a.text + b.text == "?:" and not code[a.start + 1 : b.start].strip()  # but `? 'a' :`
    ]
    lambdas = [
        (b, f"{REFUSES} {b.text} at a lambda: leave it out")
        for a, b in pairs
        if a.text == "]" and b.text in ("__device__", "__host__") and b.depth and not b.directive
    ]
    own = [(t, f"{REFUSES} {t.text}: it is the host compiler's own") for t in builtin + wide]
    return own + short + lambdas


def _column(code: str, token: Token) -> int:
    return token.start - code.rfind("\n", 0, token.start)


def _includes(
    code: str, found: Sequence[Token], folders: Sequence[Path]
) -> list[tuple[Token, str]]:
    errors = []
    for token in found:
        named = included_name(code, token)
        if named and named not in HEADERS:
            there = Path(named).is_absolute() or any((f / named).is_file() for f in folders)
            if not there:
                errors.append((token, _no_header(named)))
    return errors


def included_name(code: str, token: Token) -> str:
    """ "cuda_fp16.h" of the `include` in `#include <cuda_fp16.h>`; "" of any other token."""
    if token.text != "include" or not token.directive:
        return ""
    named = re.match(r'include\s*[<"]([^>"\n]+)', code[token.start : token.start + 400])
    return named[1] if named else ""


def _no_header(name: str) -> str:
    plain = re.sub(r"^c(?=\w+$)|\.h$", "", name)
    instead = {
        "math": "CUDA's mathematics (sqrtf, fmaxf, ...) needs no header",
        "stdio": "printf needs no header",
        "assert": "assert needs no header",
        "stdint": "write int, unsigned int, long long",
        "inttypes": "write int, unsigned int, long long",
        "limits": "write the number: 2147483647",
        "float": "write the number: 3.402823466e+38f",
        "string": "memcpy and memset need no header",
        "stdlib": "malloc and free need no header",
        "stddef": "size_t needs no header",
        "vector": "take an array of a fixed length",
        "array": "take an array of a fixed length",
        "algorithm": "min and max need no header",
    }.get(plain, "it knows CUDA's own headers and those in the folders of -I")
    return f"{REFUSES} #include <{name}>, a header of the host: {instead}"


def _device_macros(found: Sequence[Token]) -> dict[str, bool]:
    """The macros that the source defines, and whether they may say __device__ or the like."""
    bodies: dict[str, set[str]] = {}
    for i, token in enumerate(found):
        if token.text == "define" and token.directive and i + 1 < len(found):
            line = [t.text for t in found[i + 1 : i + 256] if t.directive == token.directive]
            bodies.setdefault(line[0], set()).update(line[1:])

    def says(name: str, depth: int = 8) -> bool:
        inner = bodies.get(name, set())
        return (
            bool(inner & _ON_DEVICE)
            or depth > 0
            and any(says(word, depth - 1) for word in inner if word in bodies)
        )

    return {name: says(name) for name in bodies}


class _Declarations:
    """Walks along the declarations of a file, of its namespaces and its structs."""

    def __init__(self, found: list[Token], macros: dict[str, bool]):
        self.found, self.macros = found, macros
        self.errors: list[tuple[Token, str]] = []
        self._scope(0, len(found), "")

    def _scope(self, i: int, end: int, struct: str) -> None:
        """struct: the name of the struct whose members these are, "" outside of one."""
        while i < end:
            start = i = self._skipped(i, end)
            depth = 0
            while i < end and not (depth == 0 and self.found[i].text in (";", "{", "}")):
                depth += (self.found[i].text in "([") - (self.found[i].text in ")]")
                i += 1
            if i >= end:
                return
            statement = self.found[start:i]
            i = self._statement(statement, i, struct) if self.found[i].text != "}" else i + 1

    def _skipped(self, i: int, end: int) -> int:
        """Past labels, `template <...>` and lone semicolons."""
        while i < end:
            text = self.found[i].text
            after = self.found[i + 1].text if i + 1 < end else ""
            if text in ("public", "private", "protected") and after == ":":
                i += 2
            elif text == "template" and after == "<":
                i = close(self.found, i + 1) + 1
            elif text == ";":
                i += 1
            else:
                return i
        return i

    def _statement(self, statement: list[Token], i: int, struct: str) -> int:
        """Judge what ends at the `;` or `{` at `i`; where the next one begins."""
        texts = [token.text for token in statement]
        opened = self.found[i].text == "{"
        last = close(self.found, i) if opened else i
        if opened and ("namespace" in texts or texts[-2:] == ["extern", '"C"']):
            self._scope(i + 1, last, "")
            return last + 1
        plain = bare(statement)
        kinds = {"struct", "class", "union"} & {token.text for token in plain}
        function = is_function(plain)
        if opened and kinds and not function:
            named = [t.text for t in plain if WORD.fullmatch(t.text) and t.text not in kinds]
            self._scope(i + 1, last, named[0] if named else "?")
            return self._after(last, texts)
        if opened and "enum" in texts:
            return self._after(last, [*texts, "const"])
        if function:
            self._function(plain, struct)
            return self._body(i) if opened else last + 1
        if texts and texts[0] not in _NO_VARIABLES:
            self._variable(statement, texts, struct)
        return last + 1

    def _after(self, last: int, texts: list[str]) -> int:
        """Past the `;` behind a struct; what is declared there is a variable of this type."""
        i = last + 1
        while i < len(self.found) and self.found[i].text != ";":
            i += 1
        declared = self.found[last + 1 : i]
        if declared and "typedef" not in texts:
            self._variable(declared, [*texts, *(t.text for t in declared)], "")
        return i + 1

    def _body(self, i: int) -> int:
        """Past a function's body; `i` is at its `{`, or at one in its list of initial values."""
        while i < len(self.found):
            if self.found[i].text == "{":
                last = close(self.found, i)
                self._local_structs(i + 1, last)
                after = self.found[last + 1].text if last + 1 < len(self.found) else ""
                if after not in (",", "{"):
                    return last + 1
                i = last
            elif self.found[i].text == ";":
                return i + 1
            i += 1
        return i

    def _local_structs(self, i: int, end: int) -> None:
        """The members of structs that a body declares."""
        for k in range(i, end - 1):
            head = [t.text for t in self.found[k : k + 3]]
            opened = k + head.index("{") if "{" in head else 0
            if head[0] in ("struct", "class", "union") and opened:
                self._scope(opened + 1, close(self.found, opened), head[1])

    def _device(self, texts: Sequence[str]) -> bool:
        """Whether a declaration says __device__, or may say so by a macro that is not known."""
        known = _ON_DEVICE & set(texts) or any(self.macros.get(text) for text in texts)
        unknown = [t for t in texts if t.isupper() and len(t) > 2 and t not in self.macros]
        return bool(known or unknown)

    def _function(self, statement: list[Token], struct: str) -> None:
        texts = [token.text for token in statement]
        at = next(i for i, text in enumerate(texts) if text in ("(", "operator"))
        name = statement[max(at - 1, 0)] if texts[at] == "(" else statement[at]
        shown = "this operator" if texts[at] == "operator" else f"the function `{name.text}`"
        if "__global__" in texts[:at] and not {"void", "auto"} & set(texts[:at]):
            self.errors.append((name, f"{REFUSES} {shown}: a kernel returns nothing. Write void"))
        dots = [i for i, text in enumerate(texts) if text == "..." and texts[i - 1] in ("(", ",")]
        if "__global__" in texts[:at] and dots:
            self.errors.append((name, f"{REFUSES} {shown}: a kernel's parameters are all named"))
        if self._device(texts[: at + 1]) or {"default", "delete", "friend"} & set(texts):
            return
        called = texts[at] == "(" and (at < 2 or not WORD.fullmatch(name.text))
        if (called and not struct) or name.text in self.macros:
            return  # a macro that is called, or what is not understood
        why = "it is __host__" if "__host__" in texts else "it is no __device__ function"
        fix = "so it belongs to the host. Write __device__ before it"
        self.errors.append((name, f"{REFUSES} {shown}: {why}, {fix}"))

    def _variable(self, statement: list[Token], texts: list[str], struct: str) -> None:
        if self._device(texts) or "constexpr" in texts or (struct and "static" not in texts):
            return
        words = [text for text in texts if WORD.fullmatch(text)]
        forward = len(words) == 2 and words[0] in ("struct", "class", "union", "enum")
        head = texts[: texts.index("=")] if "=" in texts else texts
        behind = head[head.index("*") + 1 :] if "*" in head else ["const"]
        fixed = "const" in head and behind[:1] == ["const"]
        names = names_of(statement)
        if forward or fixed or len(words) < 2 or not names or "(" in texts[:2]:
            return
        fix = "Write __device__ before it, or constexpr where its value never changes"
        said = f"{REFUSES} the global variable `{names[0].text}`: it belongs to the host. {fix}"
        self.errors.append((names[0], said))


# ---- what the C++ compiler says, and what is known of it ----

_UNKNOWN = re.compile(
    r"[‘'](\w+)[’'] (?:was not declared|has not been declared|does not name a type)|"
    r"(?:use of undeclared identifier|unknown type name) '(\w+)'"
)
_SAID = [  # a compiler's words, and what to write
    (r"'std'|‘std’", "without its headers std is empty. min, max, sqrtf need no std::"),
    (
        r"constant exceeds range|magnitude of floating.point constant too large",
        "the number is too large for its type",
    ),
    (r"ambiguous", "cast the arguments to one type, as in max(x, 0.0f) for a float x"),
    (r"exception handling|with exceptions disabled", "code of a GPU throws and catches nothing"),
    (
        r"variable.length array|array bound is not|not an integral constant",
        "an array's length is known when it is compiled; the launch may set that of shared memory",
    ),
    (
        r"no matching function for call to [‘']?(atomic\w+|loadable)",
        "this function does not exist for this type",
    ),
    (
        r"no matching function for call to [‘']?(__shfl\w+|__match\w+)",
        "it takes a mask first, and then a number",
    ),
    (
        r"no matching function for call to [‘']?(u?(char|short|int|long)\w*|float|double)[1-4]\b",
        "float4 and its kin are made by make_float4(...) or by {...}",
    ),
]

_WITH_BRACKETS = ("__syncthreads", "__activemask", "__trap")  # macros here
_OF_CUDA = re.compile(r"\b(cub|cg|cooperative_groups|cuda|thrust)(::|['’])")


def _named(code: str) -> list[str]:
    return re.findall(r'#\s*include\s*[<"]([^>"\n]+)', code)


def _header_with(name: str) -> str:
    """The header of CUDA that has the name, where it is clear that CUDA's is meant; else ""."""
    if not _OF_A_HEADER.fullmatch(name):
        return ""
    sixteen = "cuda_bf16.h" if "bfloat" in name else "cuda_fp16.h"  # one file here, and no names
    if "half" in name or "bfloat" in name:
        return sixteen
    theirs = sorted((h for h in HEADERS if "cupy/" not in h), key=lambda h: (h.count("/"), h))
    texts = ((h, (_HERE / h).read_text("utf-8")) for h in theirs)
    header = next((h for h, text in texts if re.search(rf"\b{name}\b", text)), "")
    return sixteen if header.startswith("cuda_on_cpu_") else header


def explained(text: str, code: str) -> str:
    """A compiler's words on a source, with what is known of NVIDIA's compiler behind them."""
    text = re.sub(r"cuda_on_cpu_(own_)?std", "std", re.sub(r" \[-[Wf][\w=+-]+\]", "", text))
    text = re.sub(r"ISO C\+\+ says that these are ambiguous.*", "this call is ambiguous", text)
    plain = re.sub(r"[;,] did you mean .*", "", text).replace("loadable", "__ldg")
    named = _UNKNOWN.search(text)
    name = named and (named[1] or named[2])
    said = (fix for pattern, fix in _SAID if re.search(pattern, text))
    if name in _WITH_BRACKETS:
        return f"{plain}. It is a call: `{name}()`"
    if "<unresolved overloaded function type>" in text or "template' keyword" in text:
        return f"{text}. A C++ compiler wants the word template here: `x.template f<...>()`"
    fix = f"write {INSTEAD[name]}" if name in INSTEAD else next(said, "")
    if not fix and name and (header := _header_with(name)) not in ("", *_named(code)):
        fix = f"write #include <{header}> before it"
    if not fix and ((name or "").startswith("__") or _OF_CUDA.search(text)):
        return f"{text}. Perhaps it is CUDA's, but not modeled on the CPU: then write it out"
    return f"{plain}. {REFUSES} it as well: {fix}" if fix else text
