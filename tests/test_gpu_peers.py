"""Ours beside cuEmbed, Triton and torch.compile, without a GPU and without any of them.

Where EMBAG_CUEMBED names cuEmbed, its kernels run as well; else stand-ins with the same names do.
"""

import os

import numpy as np
import pytest
import torch

from embag_edu.bench.recorded import SHAPES
from embag_edu.bench.workloads import Workload
from embag_edu.gpu import cuembed, peers, times

pytestmark = pytest.mark.usefixtures("fast_on_the_cpu")
ALL_ABSENT = dict.fromkeys((peers.CUEMBED, peers.TRITON, peers.COMPILED), "not here")
REAL = os.environ.get(cuembed.VARIABLE)
WORK = Workload(60, 32, 12, 5, "zipf", 1.15)
TYPES = """
#include <cuda_fp16.h>
namespace cuembed {
enum class CombineMode { kSum };
template <typename T, int PACK, bool> struct VecTypeHelper {
  struct LoadType { T x[PACK]; };
  struct ReduceType { float x[PACK]; };
};
}
"""
OPS = """
#include <cuda/std/type_traits>
#include <algorithm>
#include "cuembed/include/embedding_lookup_types.cuh"
namespace cuembed {
template <typename I, typename W, typename O> struct IndexLoader {};
template <typename T, typename R, typename I, typename L, typename S, CombineMode M>
struct Addresser {};
template <typename L, typename S, typename R, CombineMode M> struct Combiner {};
template <typename I, typename W> struct GradIndexLoader {};
template <typename T, typename L> struct GradAddresser {};
template <typename T, typename L, typename W> struct GradCombiner {};
}
"""
KERNELS = """
#include "cuembed/include/embedding_lookup_ops.cuh"
namespace cuembed {
static_assert(std::is_same_v<float, float>, "");
template <class I, class A, class C, bool W, int U, class T, class J, class O>
__device__ void EmbeddingLookupImpl(const T* weight, int D, int B, const J* indices,
                                    const O* offsets, int length, std::nullptr_t, T* output) {
  int bag = blockIdx.x * blockDim.y + threadIdx.y, share = D / blockDim.x;
  if (bag >= B) return;
  const long long* starts = (const long long*)offsets;
  J begin = length ? bag * length : starts[bag], end = length ? begin + length : starts[bag + 1];
  for (int d = threadIdx.x * share; d < (threadIdx.x + 1) * share; d++) {
    float sum = 0;
    for (J i = begin; i < end; i++) sum += float(weight[indices[i] * D + d]);
    output[bag * D + d] = T(sum);
  }
}
template <class I, class A, class C, bool W, class T, class J>
__device__ void EmbeddingBackwardImpl(const T* grad_output, int D, const J* rows, const J* bags,
                                      std::nullptr_t, int n, int piece, T* grad_weight) {
  int first = (blockIdx.x * blockDim.y + threadIdx.y) * piece, share = D / blockDim.x;
  for (int i = first; i < first + piece && i < n; i++) {
    for (int d = threadIdx.x * share; d < (threadIdx.x + 1) * share; d++) {
      atomicAdd(&grad_weight[rows[i] * D + d], grad_output[bags[i] * D + d]);
    }
  }
}
}
"""


@pytest.fixture(params=["stand-in", "cuEmbed"])
def headers(request, monkeypatch, tmp_path):
    if request.param == "stand-in":
        folder = tmp_path / "cuembed" / "include"
        folder.mkdir(parents=True)
        for name, text in (("types", TYPES), ("ops", OPS), ("kernels", KERNELS)):
            (folder / f"embedding_lookup_{name}.cuh").write_text(text)
        monkeypatch.setenv(cuembed.VARIABLE, str(tmp_path))
    elif not REAL:
        pytest.skip(f"{cuembed.VARIABLE} is not set")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_cuembed_takes_part_and_is_right(headers, dtype):
    loaded = times.load(Workload(60, 32, 12, 5, dtype=dtype), torch, "cpu")
    absent = ALL_ABSENT | {peers.CUEMBED: ""}
    jobs, wrong = peers.correct_ones(loaded, "forward", absent)
    assert list(jobs) == ["ours", "ours, L known", "torch", "cuEmbed", "cuEmbed, L known"]
    jobs, more = peers.correct_ones(loaded, "backward", absent)
    narrow = peers.IN_16_BITS if dtype == "float16" else ""
    for compressed in ("", ", compressed"):
        assert f"cuEmbed, entries sorted before{compressed}{narrow}" in jobs
        assert f"ours, entries sorted before{compressed}" in jobs and "ours" in jobs
    assert set(wrong + more) <= ({"torch"} if dtype == "float16" else set())  # on the CPU


@pytest.mark.parametrize("step", ["forward", "backward"])
def test_a_wrong_peer_is_found_and_named(monkeypatch, step):
    loaded = times.load(WORK, torch, "cpu")
    job = lambda *_, **__: torch.full_like(  # noqa: E731
        loaded.weight if step == "backward" else loaded.upstream, np.nan
    )
    monkeypatch.setattr(peers.cuembed, "forward", job)
    monkeypatch.setattr(peers.cuembed, "grad_weight", job)
    jobs, wrong = peers.correct_ones(loaded, step, ALL_ABSENT | {peers.CUEMBED: ""})
    assert wrong and all("cuEmbed" in name for name in wrong) and "ours" in jobs


def test_who_is_absent_is_skipped_and_says_why(monkeypatch):
    monkeypatch.delenv(cuembed.VARIABLE, raising=False)
    assert "EMBAG_CUEMBED is not set" in peers.reason(cuembed.folder)
    monkeypatch.setenv(cuembed.VARIABLE, os.curdir)
    assert "names no folder with" in peers.reason(cuembed.folder)
    loaded = times.load(WORK, torch, "cpu")
    assert set(peers.forwards(loaded, ALL_ABSENT)) == {"ours", "ours, L known", "torch"}
    jobs, wrong = peers.correct_ones(loaded, "backward", ALL_ABSENT)
    assert len(jobs) == 4 and not wrong


def test_a_compressed_gradient_is_judged_row_by_row():
    loaded = times.load(WORK, torch, "cpu")
    values = peers.gradients(loaded, ALL_ABSENT)["ours, entries sorted before, compressed"]()
    assert len(values) == len(loaded.indices.unique()) < WORK.rows
    assert not times.wrong_backward(loaded, peers.spread(loaded, values))
    values[[0, 1]] = values[[1, 0]]
    assert times.wrong_backward(loaded, peers.spread(loaded, values))


def test_loads_and_pieces_are_those_of_cuembed():
    # by hand, from its host code: 16 bytes for rows of more than 64 bytes, 8 bytes up to these
    assert cuembed.loads_of(128, 4) == (4, 32) and cuembed.loads_of(128, 2) == (8, 16)
    assert cuembed.loads_of(16, 4) == (2, 8) and cuembed.loads_of(33, 4) == (1, 33)
    with pytest.raises(ValueError, match="rows have 66 bytes"):
        cuembed.loads_of(33, 2)
    pieces = {shape: cuembed.piece_of(B * L, 32) for shape, (_, _, B, L) in SHAPES.items()}
    assert pieces == {"A": 64, "B": 128} and cuembed.piece_of(1000, 32) == 8


def test_sums_in_16_bits_have_a_wider_bound_and_it_can_fail():
    loaded = times.load(Workload(60, 32, 12, 5, "one hot row", dtype="float16"), torch, "cpu")
    right = torch.zeros_like(loaded.weight)
    right[30] = 5 * loaded.upstream.double().sum(0).half()
    right[30, 0] += 0.05 * float(loaded.upstream.abs().sum())
    assert times.wrong_backward(loaded, right)
    right[30, 0] = np.inf
    assert times.wrong_backward(loaded, right, narrow=True)
