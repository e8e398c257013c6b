"""Refuses what does not exist on the CPU, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence

from embag_edu.cuda_on_cpu.preprocessor import MACRO
from embag_edu.cuda_on_cpu.tokens import SourceError, tokens


class NotModeled(SourceError):
    """The source is valid CUDA, but uses a part of it that does not exist on the CPU."""


_RUNTIME = "is a call of the host's side: do it in Python, before or after the launch"
_TEXTURE = "textures and surfaces are not modeled: read a plain array, with __ldg if you like"
_TENSOR = "tensor cores are not modeled: multiply with plain loops over shared memory"
_GROUPS = "cooperative groups are not modeled: use __syncthreads, __syncwarp and the shuffles"
_LIBCUDA = "the library cuda:: is not modeled: use the built-in atomics, fences and barriers"
_PTX = f"inline PTX is not modeled: write CUDA C++, or keep it for the GPU by #ifndef {MACRO}"
_HEADERS = {
    "cub/": "CUB is not modeled: write the step with shared memory and warp shuffles",
    "thrust/": "Thrust is not modeled: write the step as a kernel, or do it in NumPy",
    "curand": "cuRAND is not modeled: draw the numbers with NumPy and pass an array",
    "cooperative_groups": _GROUPS,
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
    "<<<": "a kernel cannot launch another: launch it from Python",
    "cooperative_groups": _GROUPS,
    "__managed__": "managed memory is not modeled: pass an array to the kernel",
    "__cluster_dims__": "clusters of blocks are not modeled: use single blocks",
}
_TEXTURE_CALL = re.compile(r"(tex|surf)(1D|2D|3D|Cubemap)\w*|texture")
_RUNTIME_CALL = re.compile(r"cuda[A-Z]\w*")


def refuse(code: str, options: Sequence[str] | None = None) -> None:
    """Raise NotModeled for the first thing in the source that does not exist on the CPU."""
    found = tokens(code, options)
    for token, after in zip(found, [*found[1:], None], strict=False):
        sentence = _refusal(token.text, after.text if after else "")
        if token.text == "include" and token.directive:
            named = re.match(r'include\s*[<"]([^>"]+)', code[token.start :])
            header = named[1] if named else ""
            refused = (s for h, s in _HEADERS.items() if header.startswith(h))
            sentence = "" if header == "thrust/complex.h" else next(refused, "")
        if sentence:
            raise NotModeled(token.line, sentence)


def _refusal(text: str, after: str) -> str:
    if text in _NAMES:
        return _NAMES[text]
    if _TEXTURE_CALL.fullmatch(text) and after in ("(", "<"):
        return _TEXTURE
    if _RUNTIME_CALL.fullmatch(text) and after in ("(", "<"):
        return f"{text} {_RUNTIME}"
    return _LIBCUDA if (text, after) == ("cuda", "::") else ""
