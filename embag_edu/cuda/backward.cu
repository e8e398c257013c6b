// backward.cu: the gradient of weight with atomics (chapter 10).
// run a version: python -m embag_edu.cuda backward add_packs
//
// Position i stands in bag b and holds row r. The backward adds, for each position,
//     grad_weight[r] += shares[i] * grad_output[b]
// Many positions hold the same row, so many threads add to the same addresses. An atomicAdd loses
// none of these additions, but their order is the order in which the threads happen to come: with
// floating-point numbers the last bits of the sum change from run to run.
//
// Letters: N positions, B bags, V rows, D features; w bytes of a number in grad_output, a bytes of
// a number in grad_weight: 4, or 8 for double. 16-bit gradients are summed in a float table and
// rounded once, by `rounded`; grad_weight begins as zeros. "hot": the positions that hold the
// commonest row.
//
//   version           a thread or warp takes    reads of grad_output   atomics    at one address
//   1 add_elements    a thread: (position, d)   N D w                  N D        hot
//   2 add_rows        a warp: a bag             B D w                  N D        hot
//   3 add_packs       a warp: a bag             B D w                  N D / PACK hot
//   4 add_joined      a warp: 32 positions      N D w                  J D        at most N / 32
//
// J: in every 32 neighboring positions the different rows, added up. None of them is
// deterministic. 2 fixes the repeated reads of 1, 3 the number of atomics (PACK neighbors in one,
// on sm_90), 4 the queue before the hot row: equal rows of a warp are added up before anybody goes
// to memory. PACK is no more than one atomic adds: 4 floats, 1 double.
//
// instances: bags_and_shares<float, float, long long, int>
// instances: bags_and_shares<__half, float, int, int>
// instances: bags_and_shares<double, double, int, long long>
// instances: count_rows<int>, count_rows<long long>
// instances: divide_by_count<float, int>, divide_by_count<double, long long>
// instances: add_elements<float, float, int>, add_elements<float, float, long long>
// instances: add_elements<double, double, long long>, add_elements<__half, float, int>
// instances: add_elements<__nv_bfloat16, float, int>
// instances: add_rows<float, float, int>, add_rows<float, float, long long>
// instances: add_rows<double, double, long long>, add_rows<__half, float, int>
// instances: add_packs<float, float, int, 4>, add_packs<float, float, long long, 4>
// instances: add_packs<float, float, int, 2>, add_packs<float, float, int, 1>
// instances: add_packs<double, double, long long, 1>, add_packs<__half, float, int, 4>
// instances: add_packs<__nv_bfloat16, float, int, 4>
// instances: add_pairs<__half, __half2, int>, add_pairs<__nv_bfloat16, __nv_bfloat162, int>
// instances: add_joined<float, float, int>, add_joined<float, float, long long>
// instances: add_joined<double, double, long long>, add_joined<__half, float, int>
// instances: add_winners<float, float, int>, add_winners<__half, float, long long>
// instances: add_winners<double, double, long long>
// instances: rounded<__half>, rounded<__nv_bfloat16>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

// ---- Before: what each position hands on --------------------------------------------------------

// The last bag that begins at or before a position: empty bags begin there too, but end there.
__device__ long long bag_of(const long long* offsets, long long B, long long position) {
  long long low = 0, high = B;  // offsets[low] <= position < offsets[high]
  while (high - low > 1) {
    long long middle = (low + high) / 2;
    if (offsets[middle] <= position) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// bags[i], shares[i] of n entries, one thread for each: the bag of a position, and what its row
// gets of the bag's gradient: 1, or its weight; in a mean, that divided by the size of the bag.
// listed: entry i is position positions[i] (those that are not padding); else it is i.
// keyed: keys[i] is its row, by which chapter 11 sorts, or -1 for padding.
// Reads N (8 + w + 8 log2 B, mostly from the cache), writes N (k + a), k bytes in a bag's number.
// Deterministic.
template <class T, class A, class I, class K>
__global__ void bags_and_shares(const long long* positions, const I* indices,
                                const long long* offsets, const T* per_sample_weights,
                                const long long* bag_sizes, K* keys, K* bags, A* shares,
                                long long n, long long B, long long padding_idx, bool listed,
                                bool keyed, bool weighted, bool mean) {
  long long i = thread_number();
  if (i >= n) return;
  long long position = listed ? positions[i] : i;
  long long bag = bag_of(offsets, B, position);
  A share = weighted ? A(per_sample_weights[position]) : A(1);
  if (mean && bag_sizes[bag] > 0) share /= A(bag_sizes[bag]);  // size 0: only padding, never used
  if (keyed) keys[i] = indices[position] == padding_idx ? K(-1) : K(indices[position]);
  bags[i] = K(bag);
  shares[i] = share;
}

// scale_grad_by_freq: how often each row occurs. counts (V,) begins as zeros. Whole numbers have
// one sum in every order: atomics on them are deterministic.
template <class I>
__global__ void count_rows(const I* indices, int* counts, long long n) {
  long long i = thread_number();
  if (i < n) atomicAdd(&counts[indices[i]], 1);
}

template <class A, class I>
__global__ void divide_by_count(const I* indices, const int* counts, A* shares, long long n) {
  long long i = thread_number();
  if (i < n) shares[i] /= A(counts[indices[i]]);
}

// ---- 1: one thread for each (position, d) -------------------------------------------------------

template <class T, class A, class I>
__global__ void add_elements(const T* grad_output, const I* indices, const I* bags,
                             const A* shares, A* grad_weight, long long N, int D,
                             long long padding_idx) {
  long long element = thread_number();
  if (element >= N * D) return;
  long long position = element / D, d = element % D;
  long long row = indices[position];
  if (row == padding_idx) return;  // skipped, never multiplied by zero: 0 * inf is NaN
  long long bag = bags[position];
  A part = shares[position] * A(grad_output[bag * D + d]);
  atomicAdd(&grad_weight[row * D + d], part);
}

// ---- 2: one warp for each bag -------------------------------------------------------------------

// The bag's gradient is read once, and handed to one row after another.
template <class T, class A, class I>
__global__ void add_rows(const T* grad_output, const I* indices, const long long* offsets,
                         const A* shares, A* grad_weight, long long B, int D,
                         long long padding_idx) {
  long long bag = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (bag >= B) return;
  long long begin = offsets[bag], end = offsets[bag + 1];
  for (int d = lane; d < D; d += 32) {
    A upstream = A(grad_output[bag * D + d]);
    for (long long i = begin; i < end; i++) {
      long long row = indices[i];
      if (row == padding_idx) continue;
      atomicAdd(&grad_weight[row * D + d], shares[i] * upstream);
    }
  }
}

// ---- 3: PACK neighbors in one atomic -----------------------------------------------------------

// From sm_90 on a GPU adds two or four floats in one atomic; each of them is atomic, the four
// together are not. An older one adds them one by one.
__device__ void add_four(float* to, const float* part) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  atomicAdd((float4*)to, make_float4(part[0], part[1], part[2], part[3]));
#else
  for (int k = 0; k < 4; k++) atomicAdd(&to[k], part[k]);
#endif
}

__device__ void add_two(float* to, const float* part) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  atomicAdd((float2*)to, make_float2(part[0], part[1]));
#else
  for (int k = 0; k < 2; k++) atomicAdd(&to[k], part[k]);
#endif
}

template <int PACK>
__device__ void add_pack(float* to, const float* part) {
  if (PACK % 4 == 0) {
#pragma unroll
    for (int k = 0; k < PACK; k += 4) add_four(to + k, part + k);
  } else if (PACK == 2) {
    add_two(to, part);
  } else {
    atomicAdd(to, part[0]);
  }
}

template <int PACK>
__device__ void add_pack(double* to, const double* part) {  // no GPU adds two doubles at once
#pragma unroll
  for (int k = 0; k < PACK; k++) atomicAdd(&to[k], part[k]);
}

template <class T, class A, class I, int PACK>
__global__ void add_packs(const T* grad_output, const I* indices, const long long* offsets,
                          const A* shares, A* grad_weight, long long B, int D,
                          long long padding_idx) {
  long long bag = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (bag >= B) return;
  long long begin = offsets[bag], end = offsets[bag + 1];
  for (int d = lane * PACK; d < D; d += 32 * PACK) {
    Pack<T, PACK> upstream = *(const Pack<T, PACK>*)&grad_output[bag * D + d];
    for (long long i = begin; i < end; i++) {
      long long row = indices[i];
      if (row == padding_idx) continue;
      A part[PACK];
#pragma unroll
      for (int k = 0; k < PACK; k++) part[k] = shares[i] * A(upstream.element[k]);
      add_pack<PACK>(&grad_weight[row * D + d], part);
    }
  }
}

// The same with two 16-bit numbers in an atomic, added to a 16-bit table: half the bytes, no
// scratch, and a rounding after every addition. From 256 on a bfloat16 does not grow by adding 1 (a
// float16 from 2048 on). Kept to show that; `choose` never takes it. D must be even. T2: a pair of
// T.
template <class T, class T2, class I>
__global__ void add_pairs(const T* grad_output, const I* indices, const long long* offsets,
                          const float* shares, T* grad_weight, long long B, int D,
                          long long padding_idx) {
  long long bag = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (bag >= B) return;
  for (int d = lane * 2; d < D; d += 64) {
    float x = float(grad_output[bag * D + d]), y = float(grad_output[bag * D + d + 1]);
    for (long long i = offsets[bag]; i < offsets[bag + 1]; i++) {
      long long row = indices[i];
      if (row == padding_idx) continue;
      T2 part;
      part.x = T(shares[i] * x);
      part.y = T(shares[i] * y);
      atomicAdd((T2*)&grad_weight[row * D + d], part);
    }
  }
}

// ---- 4: equal rows of a warp joined before the atomic -------------------------------------------

// A lane holds one of 32 neighboring positions. __match_any_sync tells each lane which lanes hold
// the same row; the first of them leads. Row after row, all lanes together add up the parts of the
// leader's row, a column each, and send one atomic.
template <class T, class A, class I>
__global__ void add_joined(const T* grad_output, const I* indices, const I* bags, const A* shares,
                           A* grad_weight, long long N, int D, long long padding_idx) {
  long long position = thread_number();
  int lane = threadIdx.x % 32;
  if (position - lane >= N) return;  // the whole warp stands past the end
  bool counts = position < N && indices[position] != padding_idx;
  I row = counts ? indices[position] : I(-1);
  I bag = counts ? bags[position] : I(0);
  A share = counts ? shares[position] : A(0);
  unsigned same = __match_any_sync(ALL, row);
  unsigned leaders = __ballot_sync(ALL, counts && lane == __ffs(same) - 1);
  for (; leaders; leaders &= leaders - 1) {  // takes the lowest bit away
    int leader = __ffs(leaders) - 1;
    unsigned members = __shfl_sync(ALL, same, leader);
    long long joined_row = __shfl_sync(ALL, row, leader);
    for (int first = 0; first < D; first += 32) {
      int d = first + lane;
      A sum = 0;
      for (unsigned left = members; left; left &= left - 1) {
        long long from = __shfl_sync(ALL, bag, __ffs(left) - 1);
        A factor = __shfl_sync(ALL, share, __ffs(left) - 1);
        if (d < D) sum += factor * A(grad_output[from * D + d]);
      }
      if (d < D) atomicAdd(&grad_weight[joined_row * D + d], sum);
    }
  }
}

// ---- max, and the rounding ----------------------------------------------------------------------

// Mode max: each value of the output hands its gradient to the row that won it. One thread for each
// of the B * D values; winners (B, D) holds rows, or something negative where nobody won.
template <class T, class A, class I>
__global__ void add_winners(const T* grad_output, const I* winners, A* grad_weight, long long B,
                            int D) {
  long long element = thread_number();
  if (element >= B * D) return;
  long long row = winners[element];
  if (row < 0) return;
  atomicAdd(&grad_weight[row * D + element % D], A(grad_output[element]));
}

// The float table of a 16-bit gradient, rounded once. One thread for each of its n numbers.
template <class T>
__global__ void rounded(const float* sums, T* grad_weight, long long n) {
  long long i = thread_number();
  if (i < n) grad_weight[i] = T(sums[i]);
}
