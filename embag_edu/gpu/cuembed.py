"""NVIDIA's cuEmbed beside our kernels: forward and backward of a sum, from its own header files.

cuEmbed is header-only CUDA C++ (Apache 2.0, https://github.com/NVIDIA/cuembed). Nothing of it is in
this package: EMBAG_CUEMBED names the folder that holds a copy. Its kernels are launched as its own
host code launches them: 16 bytes a load where rows allow it, as many bags in a block as fit into
256 threads, and in the backward pieces of 8 to 128 entries, the longer the more there is to do.
Its sort is cub's, which C++ on the host calls; here ours takes its place.

Letters: V rows in weight, D features, N positions, B bags.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.cuda import launcher
from embag_edu.cuda.launch_backward import Entries
from embag_edu.cuda.launcher import ceil_div, device
from embag_edu.spec import Call

VARIABLE, HOME = "EMBAG_CUEMBED", "https://github.com/NVIDIA/cuembed"
HEADERS = ("types", "ops", "kernels")  # embedding_lookup_types.cuh and so on
THREADS = 256  # of a block, at most
SHARED = 48 * 1024  # bytes of a block's shared memory
AT_ONCE = 2048 * 132  # threads that an H100 or H200 holds
STANDARD = """
typedef signed char int8_t;
typedef int int32_t;
typedef long long int64_t;
template <typename A, typename B> constexpr bool is_same = false;
template <typename A> constexpr bool is_same<A, A> = true;
"""
LAUNCHES = """
template <typename T, typename I, typename O, int PACK, int UNROLL>
__global__ void __launch_bounds__(1024, 1)
lookup(const T* __restrict__ weight, int D, int B, const I* __restrict__ indices,
       const long long* __restrict__ offsets, int length, T* __restrict__ output) {
  using namespace cuembed;
  typedef typename VecTypeHelper<T, PACK, false>::LoadType Load;
  typedef typename VecTypeHelper<T, PACK, false>::ReduceType Sum;
  EmbeddingLookupImpl<IndexLoader<I, T, O>, Addresser<T, T, I, Load, Load, CombineMode::kSum>,
                      Combiner<Load, Sum, Load, CombineMode::kSum>, false, UNROLL>(
      weight, D, B, indices, (const O*)offsets, length, nullptr, output);
}

template <typename T, typename I, int PACK>
__global__ void add_pieces(const T* __restrict__ grad_output, int D, const I* __restrict__ rows,
                           const I* __restrict__ bags, int n, int piece,
                           T* __restrict__ grad_weight) {
  using namespace cuembed;
  typedef typename VecTypeHelper<T, PACK, false>::LoadType Load;
  EmbeddingBackwardImpl<GradIndexLoader<I, T>, GradAddresser<T, Load>, GradCombiner<T, Load, T>,
                        false>(grad_output, D, rows, bags, nullptr, n, piece, grad_weight);
}
"""


class Missing(RuntimeError):
    """There are no headers of cuEmbed, or not those that are known here."""


def folder() -> Path:
    """The folder of the headers. Raises Missing, with what is to be done."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise Missing(f"{VARIABLE} is not set; it names a folder with a copy of {HOME}")
    for place in (Path(named), Path(named) / "cuembed" / "include", Path(named) / "include"):
        if all((place / f"embedding_lookup_{name}.cuh").is_file() for name in HEADERS):
            return place
    raise Missing(f"{VARIABLE} names no folder with cuembed/include/embedding_lookup_*.cuh")


def source(place: Path) -> str:
    """The kernels' headers as one text that NVRTC takes: without the host's header files."""
    text = "".join(
        (place / f"embedding_lookup_{name}.cuh").read_text(encoding="utf-8") for name in HEADERS
    )
    text = re.sub(r'^#include ("cuembed/.*"|<algorithm>|<cuda/std/.*>)$', "", text, flags=re.M)
    text = text.replace("std::is_same_v", "is_same").replace("std::nullptr_t", "decltype(nullptr)")
    return STANDARD + text + LAUNCHES


@functools.cache
def written(place: Path) -> tuple[Any, str]:
    """A file with that text, as `launcher.kernel` takes it, and the folder that it lives in."""
    there = tempfile.TemporaryDirectory()  # gone when this process ends
    (Path(there.name) / "cuembed.cu").write_text(source(place), encoding="utf-8")
    return there, str(Path(there.name) / "cuembed")


def kernel(name: str, *parameters: Any) -> Any:
    """An instance of one of the templates in LAUNCHES."""
    return launcher.kernel(written(folder())[1], name, *parameters)


# ---- launches, as cuEmbed's own host code makes them ---------------------------------------------


def loads_of(D: int, item: int) -> tuple[int, int]:
    """The elements that one load brings, and the lanes that share a row. item: bytes of an element.

    Raises ValueError for rows that cuEmbed does not take.
    """
    size = D * item
    if size % 4 or not size:
        raise ValueError(f"rows have {size} bytes; cuEmbed takes multiples of 4")
    together = 16 if size % 16 == 0 and size > 64 else 8 if size % 8 == 0 else 4
    return together // item, size // together


def forward(call: Call, known: bool = False) -> Any:
    """The output of a sum, (B, D). known: all bags have one length, and no offset is read."""
    B, D, dtype, index = call.num_bags, call.embedding_dim, call.weight.dtype, call.indices.dtype
    pack, lanes = loads_of(D, dtype.itemsize)
    length = call.num_positions // B if known else 0
    bags, output = max(THREADS // lanes, 1), device().empty((B, D), dtype)
    while bags * length * index.itemsize >= SHARED:
        bags //= 2
    offsets, unroll = "void" if known else np.int64, 8 if length >= 8 else 4
    instance = kernel("lookup", dtype, index, offsets, pack, unroll)
    args = (call.weight, D, B, call.indices, call.offsets, length, output)
    room = bags * length * index.itemsize
    instance((ceil_div(B, bags),), (lanes, bags), args, shared_mem=room)
    return output


def grad_weight(
    call: Call, entries: Entries, grad_output: Any, piece: int = 0, rows: int = 0
) -> Any:
    """The dense gradient of a sum, (V, D). entries: all positions, sorted by row.

    piece: the entries that one team adds up; by default as many as cuEmbed chooses.
    rows: of a compressed gradient, (rows, D); the keys of its entries are the numbers of runs.
    """
    n, D, dtype, index = len(entries.keys), call.embedding_dim, call.weight.dtype, entries.dtype
    pack, lanes = loads_of(D, dtype.itemsize)
    piece = piece or piece_of(n, lanes)
    room = 128 * ceil_div(piece * (2 * index.itemsize + dtype.itemsize + 2), 128)
    room += max(index.itemsize, dtype.itemsize)
    teams = max(THREADS // lanes, 1)
    grad = device().zeros((rows or call.num_embeddings, D), dtype)
    while teams * room >= SHARED:
        teams //= 2
    args = (grad_output, D, entries.keys, entries.sources, n, piece, grad)
    grid, block = (ceil_div(n, piece * teams),), (lanes, teams)
    kernel("add_pieces", dtype, index, pack)(grid, block, args, shared_mem=teams * room)
    return grad


def piece_of(n: int, lanes: int) -> int:
    """The entries of a piece: 128, but fewer where that would leave the GPU without enough threads.

    So the gradient of one call may have other bits on another GPU.
    """
    piece = 128
    while n // piece * lanes < int(0.4 * threads_at_once()) and piece > 8:
        piece //= 2
    return piece


def threads_at_once() -> int:
    """How many threads the GPU holds; where there is none, as many as an H200."""
    gpu = device()
    if gpu.kind != "cuda":
        return AT_ONCE
    about = gpu.xp.cuda.Device().attributes
    return int(about["MaxThreadsPerMultiProcessor"] * about["MultiProcessorCount"])
