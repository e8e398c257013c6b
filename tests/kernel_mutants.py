"""The adversary's engine for CUDA source, and random launches for each kernel exercise.

`mutants(source, values)` makes every source that differs by one small mistake: a comparison, a
constant, an index, a dropped barrier or guard, x and y, a scalar replaced by a value that it has
in the exercise's launches, a dtype, a dropped statement.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from mutants import Mutant

from embag_edu.chapters.ch07 import exercises as ch07
from embag_edu.chapters.ch08 import exercises as ch08
from embag_edu.chapters.ch09 import exercises as ch09
from embag_edu.chapters.ch10 import exercises as ch10
from embag_edu.chapters.ch11 import exercises as ch11
from embag_edu.course.kernel_exercise import Launch

TOKEN = re.compile(
    r"#[^\n]*|//[^\n]*|\s+|\"[^\"]*\"|0[xX][0-9a-fA-F]+u?|\d+\.\d*(?:e-?\d+)?f?|\d+e-?\d+f?|\d+u?"
    r"|\w+|<<|>>|[-+*/%&|^!=<>]=|&&|\|\||\+\+|--|.",
    re.DOTALL,
)
SWAPS = {
    "<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=", "<="),
    "!=": ("==",), "&&": ("||",), "||": ("&&",), "+": ("-",), "-": ("+",), "*": ("/", "+"),
    "/": ("*",), "%": ("/",), "+=": ("=", "-="), "*=": ("=", "/="), "&": ("|",), "|": ("&",),
    "<<": (">>",), ">>": ("<<",), "!": ("",), "min": ("max",), "max": ("min",),
    "threadIdx": ("blockIdx",), "blockIdx": ("threadIdx",), "blockDim": ("gridDim",),
    "gridDim": ("blockDim",), "float": ("double", "int"), "int": ("unsigned",),
    "long": ("",), "float4": ("float2",), "continue": ("break", ""), "return": ("",),
    "atomicAdd": ("atomicExch", "atomicMax"), "atomicOr": ("atomicExch", "atomicAdd", "atomicAnd"),
    "__syncthreads": ("__syncwarp",), "__threadfence": ("__threadfence_block",),
    "__shfl_sync": ("__shfl_xor_sync", "__shfl_down_sync"),
    "__shfl_xor_sync": ("__shfl_down_sync",),
    "__ffs": ("__popc", "__clz"), "sqrtf": ("",), "__shared__": ("",), "?": ("|| 1 ?", "&& 0 ?"),
}  # fmt: skip


def mutants(source: str, values: Mapping[str, Sequence[str]]) -> Iterator[Mutant]:
    """values: of each scalar parameter, and of blockDim.x and gridDim.x: those in the launches."""
    seen = {"".join(_code(source))}
    for what, tokens in _all(TOKEN.findall(source), values):
        changed = "".join(tokens)
        key = "".join(_code(changed))
        if key not in seen:
            seen.add(key)
            yield Mutant(what, changed)


def _code(source: str) -> list[str]:
    return [token for token in TOKEN.findall(source) if not token.isspace() and token[:2] != "//"]


def _all(tokens: list[str], values: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """(what is changed, the tokens) of each mutant."""
    body = tokens.index("{", tokens.index("__global__"))
    for at, token in enumerate(tokens):
        for other in _others(tokens, at, values if at > body else {}):
            what = f"line {_line(tokens, at)}: `{token}` -> `{other}`"
            yield what, [*tokens[:at], other, *tokens[at + 1 :]]
    for begin, end, other in _spans(tokens, body, values):
        text = " ".join("".join(tokens[begin:end]).split())
        what = f"line {_line(tokens, begin)}: `{text}` -> `{other}`"
        yield what, [*tokens[:begin], other, *tokens[end:]]


def _line(tokens: list[str], at: int) -> int:
    return "".join(tokens[:at]).count("\n") + 1


def _others(tokens: list[str], at: int, values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What may stand in the place of one token."""
    token = tokens[at]
    yield from SWAPS.get(token, ())
    if re.fullmatch(r"0x\w+", token):
        yield from ("0x0000ffffu", "0xfffffffeu")
    elif re.fullmatch(r"\d+u?", token):
        number = int(token.rstrip("u"))
        yield from (str(n) for n in (number + 1, number - 1, 0, 2 * number))
    elif re.fullmatch(r"[\d.]+(e-?\d+)?f", token):
        yield from ("1.0f",) if token == "0.0f" else ("0.0f", "1.0f", f"(2 * {token})")
    if token in "xyzw" and tokens[at - 1] == ".":
        yield from (other for other in "xyzw" if other != token)
    yield from values.get(token, ())
    yield from (other for other in values if token in values and other.isidentifier())


def _spans(
    tokens: list[str], body: int, values: Mapping[str, Sequence[str]]
) -> Iterator[tuple[int, int, str]]:
    """(begin, end, what stands there instead): statements, conditions, indices, dimensions."""
    start, headers = body + 1, []
    for at in range(body + 1, len(tokens)):
        token = tokens[at]
        if token in ("if", "for", "while"):
            open_, close = _pair(tokens, at, "(", ")")
            headers.append(close)
            if token == "if":
                yield from _conditions(tokens, open_, close)
        elif token == "[":
            _, close = _pair(tokens, at, "[", "]")
            inside = "".join(tokens[at + 1 : close])
            for other in (f"{inside} + 1", f"{inside} - 1", "0"):
                yield at + 1, close, other
        elif "".join(tokens[at : at + 3]) in ("blockDim.x", "gridDim.x"):
            yield from ((at, at + 3, number) for number in values[f"{token}.x"])
        in_header = headers and at < headers[-1]
        if token == ";" and not in_header:
            yield start, at, " "
        if (token in ";{}" and not in_header) or (headers and at == headers[-1]):
            start = at + 1


def _conditions(tokens: list[str], open_: int, close: int) -> Iterator[tuple[int, int, str]]:
    yield from ((open_ + 1, close, constant) for constant in ("true", "false"))
    depth = 0
    for at in range(open_ + 1, close):
        depth += (tokens[at] == "(") - (tokens[at] == ")")
        if tokens[at] in ("&&", "||") and depth == 0:
            yield at, close, " "
            yield open_ + 1, at + 1, " "


def _pair(tokens: list[str], at: int, left: str, right: str) -> tuple[int, int]:
    """Where the next pair of brackets opens and closes."""
    open_, depth = tokens.index(left, at), 0
    for k in itertools.count(open_):
        depth += (tokens[k] == left) - (tokens[k] == right)
        if depth == 0:
            return open_, k
    raise AssertionError


# -------------------------------------------------------------------------- random launches


def _ends(random: np.random.Generator, B: int, longest: int) -> np.ndarray:
    lengths = random.integers(0, longest, B) * (random.random(B) < 0.8)
    lengths[random.integers(B)] += 1
    return np.append(0, np.cumsum(lengths))


def _lengths(random: np.random.Generator, longest: int) -> list[int]:
    return np.diff(_ends(random, int(random.integers(1, 7)), longest)).tolist()


def _block(random: np.random.Generator, whole_warps: bool = False) -> int:
    return int(random.choice([32, 64, 96, 128, 256] if whole_warps else [8, 32, 50, 64, 128, 256]))


def _n(random: np.random.Generator, least: int, most: int) -> int:
    """Small ones as often as large ones."""
    return int(least * (most / least) ** random.random())


def _mean(random: np.random.Generator) -> Launch:
    B = _n(random, 1, 60)
    ends = _ends(random, B, 3 if B > 10 else 12)
    return ch07._mean_launch("random bags", ends, _n(random, 1, 20), _block(random), _spare(random),
                             V=200)  # fmt: skip


def _spare(random: np.random.Generator) -> int:
    return int(random.integers(3))


def _rescale(random: np.random.Generator) -> Launch:
    pool = random.choice(70, _n(random, 1, 30), replace=False).tolist()
    return ch09._rescale_launch(pool, len(pool) + _n(random, 1, 30), _n(random, 1, 100),
                                float(random.choice([0.3, 1.0, 3.7, 9.0, 1e-6])),
                                _block(random, True),
                                float(random.choice([1.0, 0.5, 1e-6])))  # fmt: skip


def _max(random: np.random.Generator) -> Launch:
    lengths = _lengths(random, 40)
    return ch09._max_launch((2 + lengths[0], 2, *lengths[1:]), int(random.integers(2)), 0)


def _power(random: np.random.Generator, most: int) -> int:
    return int(random.choice([size for size in (4, 8, 16, 32, 64, 128, 256) if size <= most]))


DOMAINS = {
    "07.axpy": lambda r: ch07._axpy_launch(_n(r, 1, 900), _block(r), float(r.normal()), _spare(r)),
    "07.repair_bounds": lambda r: ch07._differences_launch(_n(r, 2, 900), _block(r), _spare(r)),
    "07.lost_update": lambda r: ch07._count_launch(
        _n(r, 1, 900), int(r.integers(0, 60)), _block(r), _spare(r)
    ),
    "07.barrier": lambda r: ch07._reverse_launch(_n(r, 1, 9), 64),
    "07.coalesce": lambda r: ch07._add_row_launch(_n(r, 1, 50), _n(r, 1, 50), _block(r), _spare(r)),
    "07.bag_mean": _mean,
    "07.reduce": lambda r: ch07._reduce_launch(_n(r, 1, 900), _n(r, 1, 5), _power(r, 256)),
    "07.histogram": lambda r: ch07._histogram_launch(
        _n(r, 1, 256), _n(r, 1, 700), _n(r, 1, 5), _block(r)
    ),
    "07.transpose": lambda r: ch07._transpose_launch(_n(r, 1, 90), _n(r, 1, 90), _power(r, 32)),
    "08.repair_shuffle": lambda r: ch08._shuffle_launch(_lengths(r, 100), int(r.integers(1, 33))),
    "08.budget": lambda r: ch08._budget_launch(tuple(_lengths(r, 100))),
    "08.repair_ring": lambda r: ch08._ring_launch(_lengths(r, 30), int(r.integers(1, 33))),
    "09.find_the_race": _rescale,
    "09.budget": _max,
    "10.lost_update": lambda r: ch10._add_bags_launch(
        _n(r, 1, 200), _n(r, 1, 9), _block(r), _spare(r), int(r.integers(2, 30))
    ),
    "10.join": lambda r: ch10._add_scores_launch(_n(r, 1, 400), _n(r, 1, 90), _spare(r)),
    "11.deterministic": lambda r: ch11._sum_runs_launch(
        _n(r, 1, 200), _n(r, 1, 9), _block(r), _spare(r), int(r.integers(2, 60))
    ),
    "11.last_block": lambda r: ch11._two_passes_launch(
        _n(r, 1, 700), _block(r), _spare(r), int(r.integers(2, 200))
    ),
}
