"""Refuses what does not exist on the CPU, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from embag_edu.cuda_on_cpu.preprocessor import MACRO
from embag_edu.cuda_on_cpu.tokens import WORD, SourceError, Token, tokens

INCLUDE = Path(__file__).parent / "native" / "include"


class NotModeled(SourceError):
    """The source is valid CUDA, but uses a part of it that does not exist on the CPU."""


_RUNTIME = "is a call of the host's side: do it in Python, before or after the launch"
_TEXTURE = "textures and surfaces are not modeled: read a plain array, with __ldg if you like"
_TENSOR = "tensor cores are not modeled: multiply with plain loops over shared memory"
_GROUPS = (
    "of cooperative groups only blocks, and tiles and coalesced threads of one warp are modeled"
)
_COPIES = "cooperative copies are not modeled: use __pipeline_memcpy_async, or load and store"
_HALVES = "a barrier in two halves, arrive and wait, is not modeled: write sync(), __syncthreads()"
_CURAND = "cuRAND is not modeled: draw the numbers with NumPy and pass an array"
_CLUSTERS = "clusters of blocks are not modeled: use single blocks"
_THRUST = "Thrust is not modeled: write the step as a kernel, or do it in NumPy"
_CUB = "of CUB only the operations of a warp and of a block in cub/cub.cuh are modeled"
_LIBCUDA = "of the library cuda:: only atomic_ref and the traits of cuda::std are modeled"
_PTX = f"inline PTX is not modeled: write CUDA C++, or keep it for the GPU by #ifndef {MACRO}"
_HEADERS = {
    "cub/": _CUB,
    "thrust/": _THRUST,
    "curand": _CURAND,
    "cooperative_groups/memcpy_async.h": _COPIES,
    "mma.h": _TENSOR,
    "cuda/": _LIBCUDA,
    "nv/": _LIBCUDA,
    **dict.fromkeys(
        ("cuda_fp8.h", "cuda_fp6.h", "cuda_fp4.h", "cuda_awbarrier", "cuda_barrier"),
        "this header of CUDA is not modeled: write what you need of it, or run it on a GPU",
    ),
}
_NAMES = {
    **dict.fromkeys(("asm", "__asm__", "__asm"), _PTX),
    **dict.fromkeys(("cudaTextureObject_t", "cudaSurfaceObject_t"), _TEXTURE),
    **dict.fromkeys(("nvcuda", "wmma", "mma_sync", "load_matrix_sync"), _TENSOR),
    "__pipeline_arrive_on": _HALVES,
    "<<<": "a kernel cannot launch another: launch it from Python",
    **dict.fromkeys(
        ("block_tile_memory", "this_cluster", "cluster_group", "this_multi_grid"), _GROUPS
    ),
    **dict.fromkeys(
        ("__fma_rz", "__fma_ru", "__fma_rd"),
        "a double's multiply-add rounded in a direction is not modeled: write __fma_rn",
    ),
    **dict.fromkeys(
        ("__cvta_generic_to_shared", "__cvta_generic_to_global", "__cvta_shared_to_generic"),
        "this address is for inline PTX, which is not modeled: pass the pointer itself",
    ),
    "__managed__": "managed memory is not modeled: pass an array to the kernel",
    "__cluster_dims__": _CLUSTERS,
}
_CURAND_CALL = re.compile(r"curand(State|_)\w*")
_KINDS = [  # names of one kind
    (_CURAND_CALL, _CURAND),
    (re.compile(r"__cluster[A-Z_]\w*"), _CLUSTERS),
    (
        re.compile(r"__vi(add|bm|m)(max|min|ax|in)\w*"),
        "these functions of three integers are not modeled: write min, max and +",
    ),
]
_MEMBERS = ("barrier_arrive", "barrier_wait")  # a name with its member is one token
_TILES = ("tiled_partition", "thread_block_tile")
_LIBRARIES = {"cub": ("cub/cub.cuh", _CUB), "thrust": ("thrust/complex.h", _THRUST)}
_TEXTURE_CALL = re.compile(r"(tex|surf)(1D|2D|3D|Cubemap)\w*|texture")
_OF_LIBCUDA = re.compile(r"::|std|atomic_ref|atomic_thread_fence|memory_order\w*|thread_scope\w*")
_TYPE_ENDS = re.compile(r"(?!return|else|do|case\b)[A-Za-z_]\w*|[*&>]")
_RUNTIME_CALL = re.compile(r"cuda[A-Z]\w*")


def refuse(code: str, options: Sequence[str] | None = None) -> None:
    """Raise NotModeled for the first thing in the source that does not exist on the CPU."""
    found = tokens(code, options)
    own = _own_functions(found)
    for i, token in enumerate(found):
        after = [t.text for t in found[i + 1 : i + 3]]
        sentence = "" if token.text in own else _refusal(token.text, "".join(after[:1]))
        if token.text == "cuda" and after[:1] == ["::"] and not _OF_LIBCUDA.fullmatch(after[-1]):
            sentence = _LIBCUDA
        if token.text == "include" and token.directive:
            named = re.match(r'include\s*[<"]([^>"]+)', code[token.start :])
            header = named[1] if named else ""
            refused = (s for h, s in _HEADERS.items() if header.startswith(h))
            there = (INCLUDE / header).is_file()
            sentence = next(refused, "") if header and not there else ""
        if after[:1] == ["::"] and not sentence:
            sentence = _of_library(token.text, after[-1])
        if token.text in _TILES and after[:1] == ["<"] and _too_large(after[-1]):
            sentence = _GROUPS
        if sentence:
            raise NotModeled(token.line, sentence)


def _own_functions(found: Sequence[Token]) -> set[str]:
    """Functions that the source declares itself: `int cudaProcess(`."""
    threes = zip(found, found[1:], found[2:], strict=False)
    declared = (b.text for a, b, c in threes if c.text == "(" and _TYPE_ENDS.fullmatch(a.text))
    kinds = (_RUNTIME_CALL, _CURAND_CALL)
    called = {name for name in declared if any(kind.fullmatch(name) for kind in kinds)}
    return called | {name for name in declared if _TEXTURE_CALL.match(name)}


def _of_library(space: str, name: str) -> str:
    """What is said of a name of CUB or Thrust that the header here does not have."""
    if space not in _LIBRARIES or not WORD.fullmatch(name):
        return ""
    header, sentence = _LIBRARIES[space]
    return "" if re.search(rf"\b{name}\b", (INCLUDE / header).read_text("utf-8")) else sentence


def _too_large(threads: str) -> bool:
    return threads.isdecimal() and int(threads) > 32


def _refusal(text: str, after: str) -> str:
    if text in _NAMES or text.split(".")[-1] in _MEMBERS:
        return _NAMES.get(text, _HALVES)
    kind = next((sentence for pattern, sentence in _KINDS if pattern.fullmatch(text)), "")
    if kind:
        return kind
    if _TEXTURE_CALL.fullmatch(text) and after in ("(", "<"):
        return _TEXTURE
    if _RUNTIME_CALL.fullmatch(text) and after in ("(", "<"):
        return f"{text} {_RUNTIME}"
    return ""
