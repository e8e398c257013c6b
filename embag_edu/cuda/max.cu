// max.cu: the maximum of every bag, feature by feature, and the row that won it, in two versions.
// run a version: python -m embag_edu.cuda max 2
//
//   V rows, D features, N positions, B bags, w bytes in an element, i in an index, k in a winner.
//   Both read N D w of rows and write B D (w + k). A winner is a row's number, in int (k = 4) where
//   V fits, else in long long; torch's are as wide as its index, mostly 8 bytes. With the row, and
//   not the position, the backward knows where to add without another look at indices.
//
// version  parallel over                mends
//   1      elements (bag, d)            -
//   2      teams of lanes: (bag, tile)  16 bytes a load; 32 indices at once; U rows under way
//
// Both are deterministic: nothing is rounded, a place has one writer, of equals the first wins.
//
// The first position that counts always enters, so a bag of -inf gives -inf. A later one wins only
// if it is larger. So a NaN wins only where it is the first: nothing is larger than a NaN, and a
// NaN is larger than nothing. A bag without a position that counts gives 0, and its winner is -1.
//
// instances: bag_max_1<float, long long, int, false>, bag_max_1<double, int, int, true>
// instances: bag_max_2<float, long long, int, false, 4, 32>
// instances: bag_max_2<float, int, int, true, 4, 32>
// instances: bag_max_2<__half, int, int, false, 8, 16>
// instances: bag_max_2<__nv_bfloat16, long long, int, true, 8, 16>
// instances: bag_max_2<double, long long, long long, false, 2, 32>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

// ---- Version 1: a thread for each element of the output -----------------------------------------

template <typename T, typename I, typename W, bool PADDED>
__global__ void bag_max_1(const T* weight, const I* indices, const long long* offsets, T* output,
                          W* winners, long long B, int D, I padding_idx) {
  typedef typename Wide<T>::Type A;
  long long element = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  long long bag = element / D, end = offsets[bag + 1];
  int d = element % D;
  A best = 0;
  W winner = -1;
  for (long long i = offsets[bag]; i < end; i++) {
    I row = indices[i];
    if (PADDED && row == padding_idx) continue;
    A value = A(weight[(long long)row * D + d]);
    if (winner < 0 || value > best) {
      best = value;
      winner = W(row);
    }
  }
  output[element] = T(best);
  winners[element] = winner;
}

// ---- Version 2: teams, 16 bytes a load, U rows under way ----------------------------------------
// The ideas of versions 2 to 4 of forward.cu at once: LANES lanes are a team and have a bag; each
// lane has PACK features; indices are loaded LANES at a time and handed round by shuffles.

template <typename T, typename I, typename W, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(256, 3)
bag_max_2(const T* weight, const I* indices, const long long* offsets, T* output, W* winners,
          long long B, int D, I padding_idx) {
  typedef typename Wide<T>::Type A;
  constexpr int U = 4;  // fewer than for a sum: a winner for each feature takes registers too
  constexpr int WINNERS = PACK * sizeof(W) < 16 ? PACK : 16 / sizeof(W);  // stored at once
  const unsigned team = (0xffffffffu >> (32 - LANES)) << (threadIdx.x % 32 / LANES * LANES);
  const int lane = threadIdx.x % LANES, tiles = (D + LANES * PACK - 1) / (LANES * PACK);
  long long number = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
  long long bag = number / tiles;
  int d = (number % tiles * LANES + lane) * PACK;
  if (bag >= B) return;
  A best[PACK] = {};
  W winner[PACK];
  for (int k = 0; k < PACK; k++) winner[k] = -1;
  long long end = offsets[bag + 1];
  for (long long base = offsets[bag]; base < end; base += LANES) {
    int count = end - base < LANES ? int(end - base) : LANES;
    I my_row = lane < count ? indices[base + lane] : I(0);
    for (int first = 0; first < count; first += U) {
      Pack<T, PACK> values[U];
      I rows[U];
      bool counts[U];
#pragma unroll
      for (int u = 0; u < U; u++) {
        rows[u] = __shfl_sync(team, my_row, first + u, LANES);
        counts[u] = first + u < count && d < D && !(PADDED && rows[u] == padding_idx);
        if (counts[u]) {
          values[u] = *(const Pack<T, PACK>*)(weight + (long long)rows[u] * D + d);
        }
      }
#pragma unroll
      for (int u = 0; u < U; u++) {
#pragma unroll
        for (int k = 0; k < PACK; k++) {
          if (!counts[u]) continue;
          A value = A(values[u].element[k]);
          if (winner[k] < 0 || value > best[k]) {
            best[k] = value;
            winner[k] = W(rows[u]);
          }
        }
      }
    }
  }
  if (d >= D) return;
  Pack<T, PACK> result;
#pragma unroll
  for (int k = 0; k < PACK; k++) result.element[k] = T(best[k]);
  *(Pack<T, PACK>*)(output + bag * D + d) = result;
#pragma unroll
  for (int k = 0; k < PACK; k += WINNERS) {
    Pack<W, WINNERS> some;
#pragma unroll
    for (int j = 0; j < WINNERS; j++) some.element[j] = winner[k + j];
    *(Pack<W, WINNERS>*)(winners + bag * D + d + k) = some;
  }
}
