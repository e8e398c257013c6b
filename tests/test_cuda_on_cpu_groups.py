"""Cooperative groups, CUB, cuda::atomic_ref: by value, and by a fault that they must not hide."""

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.cuda_on_cpu import KernelFault, RawModule, settings

pytestmark = needs_compiler

HEAD = r"""
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cub/cub.cuh>
#include <cuda/atomic>
#include <cuda/std/limits>
namespace cg = cooperative_groups;
"""
RIGHT = (
    HEAD
    + r"""
struct Pair { double a; int b; };
extern "C" __global__ void groups(const int* x, int* y) {
  cg::thread_block block = cg::this_thread_block();
  auto t8 = cg::tiled_partition<8>(block);
  cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
  auto t4 = cg::tiled_partition<4>(t8);
  int t = block.thread_rank(), v = x[t];
  int* out = y + 24 * t;
  out[0] = t8.shfl(v, 3), out[1] = t8.shfl_up(v, 2), out[2] = t8.shfl_down(v, 1), out[3] = warp.shfl_xor(v, 5);
  out[4] = t8.ballot(v % 3 == 0), out[5] = t8.any(v == 7), out[6] = t4.all(v > 5);
  out[7] = cg::reduce(t8, v, cg::plus<int>()), out[8] = cg::inclusive_scan(t8, v);
  out[9] = cg::exclusive_scan(warp, v, cg::plus<int>());
  out[10] = t8.meta_group_rank() * 100 + t8.meta_group_size(), out[11] = t4.meta_group_rank() * 10 + t4.thread_rank();
  if (v % 2) {
    cg::coalesced_group g = cg::coalesced_threads();
    out[12] = g.size() * 100 + g.thread_rank(), out[13] = g.shfl(v, 0), out[14] = cg::reduce(g, v, cg::greater<int>());
  }
  cg::thread_group dynamic = cg::tiled_partition(block, 16);
  out[15] = dynamic.size() * 100 + dynamic.thread_rank();
  block.sync(), cg::sync(warp), dynamic.sync();
  out[16] = cg::this_grid().thread_rank(), out[17] = block.group_index().x * 10 + block.size();
  out[18] = cg::labeled_partition(warp, v % 3).size(), out[19] = cg::binary_partition(warp, v % 3 == 1).size();
  out[20] = t8.match_any(v / 8), out[21] = (int)t8.shfl(Pair{v / 2.0, v}, 1).b;
}
extern "C" __global__ void collectives(const int* x, int* y, float* f) {
  typedef cub::BlockReduce<int, 64> Reduce;
  typedef cub::BlockScan<int, 64> Scan;
  typedef cub::WarpReduce<int> Warp;
  using Part = cub::WarpScan<int, 8>;
  typedef cub::BlockRadixSort<int, 64, 2, short> Sort;
  typedef cub::BlockRadixSort<float, 64, 1> SortFloats;
  __shared__ union {
    typename Reduce::TempStorage reduce; Scan::TempStorage scan; Warp::TempStorage warp[2];
    Sort::TempStorage sort; SortFloats::TempStorage floats; Part::TempStorage part;
  } t;
  int i = threadIdx.x, v = x[i], two[2] = {v, 2 * v}, sc[2], total;
  int* out = y + 16 * i;
  int sum = Reduce(t.reduce).Sum(v); __syncthreads();
  int top = Reduce(t.reduce).Reduce(v, cub::Max()); __syncthreads();
  int part = Reduce(t.reduce).Sum(v, 40); __syncthreads();
  int all = Reduce(t.reduce).Sum(two); __syncthreads();
  if (i == 0) out[0] = sum, out[1] = top, out[2] = part, out[3] = all;
  Scan(t.scan).ExclusiveSum(v, out[4], total); out[5] = total; __syncthreads();
  Scan(t.scan).InclusiveSum(v, out[6]); __syncthreads();
  Scan(t.scan).InclusiveScan(two, sc, cub::Max()); out[7] = sc[1]; __syncthreads();
  Scan(t.scan).ExclusiveSum(two, sc); out[8] = sc[1]; __syncthreads();
  int w = Warp(t.warp[i / 32]).Sum(v);
  if (i % 32 == 0) out[9] = w;
  Part(t.part).InclusiveSum(v, out[10]), Part(t.part).ExclusiveSum(v, out[11]);
  Part(t.part).Scan(v, out[14], out[15], 5, cub::Sum());
  __syncthreads();
  int keys[2] = {v * 37 % 64 - 20, v * 11 % 64};
  short values[2] = {short(2 * i), short(2 * i + 1)};
  Sort(t.sort).Sort(keys, values); out[12] = keys[0], out[13] = values[1]; __syncthreads();
  float key[1] = {float(v * 29 % 64) - 31.5f};
  SortFloats(t.floats).SortDescending(key), f[i] = key[0];
}
extern "C" __global__ void atomics(int* y, float* f) {
  cuda::atomic_ref<int, cuda::thread_scope_device> a(y[0]);
  a.fetch_add(2, cuda::memory_order_relaxed), a++;
  cuda::atomic_ref<float>(f[0]).fetch_add(1.5f);
  cuda::atomic_ref<int>(y[1]).fetch_max(threadIdx.x);
  int expected = threadIdx.x;
  cuda::atomic_ref<int>(y[2]).compare_exchange_strong(expected, expected + 1, cuda::std::memory_order_seq_cst);
  cuda::atomic_ref<int> g(y[5]);
  g += 3, g -= 1, --g, g--, g |= 1, g ^= 0;
  if (threadIdx.x || blockIdx.x) return;
  f[1] = cuda::std::numeric_limits<float>::infinity(), f[2] = cuda::std::numeric_limits<float>::lowest();
  y[6] = cuda::std::is_trivially_copyable_v<cuda::std::make_unsigned_t<signed char>> && cuda::std::make_unsigned_t<int>(-1) > 0;
  y[3] = cuda::std::numeric_limits<int>::max(), y[4] = cuda::std::numeric_limits<short>::lowest();
}
// Each block's sums in its own shared memory; then, behind a barrier of the grid, those of all blocks.
extern "C" __global__ void whole_grid(const int* x, int* part, int* y) {
  extern __shared__ int doubled[];
  __shared__ int sum;
  cg::grid_group grid = cg::this_grid();
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, x[grid.thread_rank()]), doubled[threadIdx.x] = 2 * x[grid.thread_rank()];
  __syncthreads();
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
  grid.sync();
  int all = 0;
  for (int b = 0; b < gridDim.x; b++) all += part[b];
  cg::sync(grid);
  part[blockIdx.x] = doubled[7] + sum;
  cg::this_grid().sync();
  y[grid.thread_rank()] = all * 1000 + part[(blockIdx.x + 1) % gridDim.x];
}
"""
)
X = np.random.default_rng(0).permutation(64).astype(np.int32)
BOTH = pytest.mark.parametrize("mode", ["checked", "fast"])


@pytest.fixture(scope="module")
def module():
    return RawModule(code=RIGHT, enable_cooperative_groups=True)


@BOTH
def test_cooperative_groups(module, mode):
    y = np.full((64, 24), -1, np.int32)
    with settings(mode=mode):
        module.get_function("groups")((1,), (64,), (X, y))
    by8, warps = X.reshape(8, 8), X.reshape(2, 32)
    lane, t = np.arange(32), np.arange(64)
    bits = (by8 % 3 == 0) << np.arange(8)
    same = by8[:, :, None] // 8 == by8[:, None, :] // 8
    odd = [w[w % 2 == 1] for w in warps]
    rank = np.concatenate([np.cumsum(w % 2) - 1 for w in warps])
    thirds = np.array([[(w % 3 == v % 3).sum() for v in w] for w in warps])
    expected = {
        0: by8[:, [3] * 8],
        1: by8[:, [0, 1, 0, 1, 2, 3, 4, 5]],
        2: by8[:, [1, 2, 3, 4, 5, 6, 7, 7]],
        3: warps[:, lane ^ 5],
        4: np.repeat(bits.sum(1), 8),
        5: np.repeat((by8 == 7).any(1), 8),
        6: np.repeat((X.reshape(16, 4) > 5).all(1), 4),
        7: np.repeat(by8.sum(1), 8),
        8: by8.cumsum(1),
        9: warps.cumsum(1) - warps,
        10: t // 8 * 100 + 8,
        11: t % 8 // 4 * 10 + t % 4,
        12: np.where(X % 2, [100 * len(odd[i // 32]) + rank[i] for i in t], -1),
        13: np.where(X % 2, [odd[i // 32][0] for i in t], -1),
        14: np.where(X % 2, [odd[i // 32].max() for i in t], -1),
        15: 1600 + t % 16,
        16: t,
        17: 64,
        18: thirds,
        19: [((w % 3 == 1) == (v % 3 == 1)).sum() for w in warps for v in w],
        20: (same << np.arange(8)).sum(2),
        21: by8[:, [1] * 8],
    }
    for column, values in expected.items():
        wanted = np.broadcast_to(np.ravel(values).astype(int), 64)
        np.testing.assert_array_equal(y[:, column], wanted, str(column))


@pytest.mark.parametrize("chosen", [{"mode": "fast"}, {"order": 0}, {"order": 3}])
def test_the_whole_grid_waits(module, chosen):
    part, y = np.zeros(8, np.int32), np.zeros(64, np.int32)
    kernel = module.get_function("whole_grid")
    with settings(**chosen):
        kernel((8,), (8,), (X, part, y), shared_mem=32)
        blocks = X.reshape(8, 8)
        wanted = blocks.sum(1) + 2 * blocks[:, 7]
        np.testing.assert_array_equal(part, wanted)
        np.testing.assert_array_equal(y, X.sum() * 1000 + np.repeat(np.roll(wanted, -1), 8))
        with pytest.raises(KernelFault, match="(?s)not cooperative.*_groups=True"):
            alone = RawModule(code=RIGHT).get_function("whole_grid")
            alone((8,), (8,), (X, part, y), shared_mem=32)
        with pytest.raises(ValueError, match=r"grid is \(13, 1, 1\), 13312 threads.* up to 12288"):
            kernel((13,), (1024,), (X, part, y))


@BOTH
def test_cub(module, mode):
    y, f = np.full((64, 16), -1, np.int32), np.zeros(64, np.float32)
    with settings(mode=mode):
        module.get_function("collectives")((1,), (64,), (X, y, f))
    by8, two = X.reshape(8, 8), np.stack([X, 2 * X], 1).ravel()
    assert y[0, :4].tolist() == [X.sum(), 63, X[:40].sum(), 3 * X.sum()]
    keys = np.stack([X * 37 % 64 - 20, X * 11 % 64], 1).ravel()
    order = np.argsort(keys, kind="stable")
    expected = {
        4: X.cumsum() - X,
        5: np.full(64, X.sum()),
        6: X.cumsum(),
        7: np.maximum.accumulate(two)[1::2],
        8: (two.cumsum() - two)[1::2],
        10: by8.cumsum(1).ravel(),
        11: (by8.cumsum(1) - by8).ravel(),
        14: by8.cumsum(1).ravel() + 5,
        15: (by8.cumsum(1) - by8).ravel() + 5,
        12: keys[order][::2],
        13: order[1::2],
    }
    for column, values in expected.items():
        np.testing.assert_array_equal(y[:, column], values, str(column))
    assert y[::32, 9].tolist() == X.reshape(2, 32).sum(1).tolist()
    np.testing.assert_array_equal(f, np.sort(X * 29 % 64 - 31.5)[::-1])


@BOTH
def test_atomic_ref(module, mode):
    y, f = np.array([0, 0, 5, 0, 0, 0, 0], np.int32), np.zeros(3, np.float32)
    with settings(mode=mode):
        module.get_function("atomics")((2,), (32,), (y, f))
    assert y.tolist() == [192, 31, 32, 2**31 - 1, -(2**15), 1, 1]
    assert f.tolist() == [96, np.inf, np.finfo(np.float32).min]


WRONG = {  # kernels with one fault each, and what it is called
    "grid_early": (
        "race",
        "if (t == 0) y[blockIdx.x] = 1; int other = y[1 - blockIdx.x]; cg::this_grid().sync(); y[t] = other;",
    ),
    "grid_in_time": (
        "",
        "if (t == 0) y[blockIdx.x] = 1; cg::this_grid().sync(); if (t == 0) y[2 + blockIdx.x] = y[1 - blockIdx.x];",
    ),
    "grid_without_one": ("grid barrier", "if (blockIdx.x == 0) cg::this_grid().sync();"),
    "tile_sync": (
        "race",
        """auto tile = cg::tiled_partition<8>(cg::this_thread_block());
        s[t] = x[t]; tile.sync(); y[t] = s[(t + 8) % 64];""",
    ),
    "shuffle_orders_nothing": (
        "race",
        """auto tile = cg::tiled_partition<8>(cg::this_thread_block());
        s[t] = x[t]; int d = tile.shfl(t, 0); y[t] = s[t ^ 1] + d;""",
    ),
    "branch": (
        "divergent barrier",
        """auto block = cg::this_thread_block();
        if (t < 32) block.sync();
        else
        block.sync();""",
    ),
    "half_a_tile": (
        "shuffle source",
        """auto tile = cg::tiled_partition<32>(cg::this_thread_block());
        if (t % 32 < 16) y[t] = tile.shfl(x[t], 20);""",
    ),
    "storage_again": (
        "race",
        """typedef cub::BlockReduce<int, 64> Reduce; __shared__ Reduce::TempStorage temp;
        int a = Reduce(temp).Sum(x[t]), b = Reduce(temp).Sum(2 * x[t]); if (t == 0) y[0] = a + b;""",
    ),
    "relaxed": (
        "race",
        """cuda::atomic_ref<int> flag(y[1]); if (t == 0) { y[0] = 7; flag.store(1, cuda::memory_order_relaxed); }
        else if (t == 63 && flag.load() == 1) y[2] = y[0];""",
    ),
    "released": (
        "",
        """cuda::atomic_ref<int> flag(y[1]); if (t == 0) { y[0] = 7; flag.store(1, cuda::memory_order_release); }
        else if (t == 63 && flag.load(cuda::memory_order_acquire) == 1) y[2] = y[0];""",
    ),
}


@pytest.fixture(scope="module")
def wrong():
    head = 'extern "C" __global__ void {}(const int* x, int* y) {{ __shared__ int s[64]; s[threadIdx.x] = 0; __syncthreads(); int t = threadIdx.x;\n{}\n}}'
    return RawModule(
        code=HEAD + "\n".join(head.format(k, v[1]) for k, v in WRONG.items()),
        enable_cooperative_groups=True,
    )


@pytest.mark.parametrize("name", WRONG)
def test_no_group_hides_a_fault(wrong, name):
    kind, _ = WRONG[name]
    y = np.zeros(64, np.int32)
    found = set()
    for order in range(3):
        with settings(order=order):
            try:
                wrong.get_function(name)((1 + name.startswith("grid"),), (64,), (X, y))
            except KernelFault as fault:
                found.add(str(fault).split(": ")[1])
    assert found == ({kind} if kind else set())
