// forward.cu: the sum or mean of every bag, in eight versions. Each mends what the last one lacks.
// run a version: python -m embag_edu.cuda forward 3
//
//   V rows in weight, D features in a row, N positions in indices, B bags, w bytes in an element.
//   All versions must read the rows, N D w bytes, and write the output, B D w bytes. Nearly all of
//   the time goes there, and it can't be helped. They differ in how they ask for it.
//
// version  parallel over              mends
//   1      elements (bag, d)          -
//   2      warps: (bag, tile)         4 bytes a load become 16; the index is read once for 4
//   3      the same                   a row is waited for before the next is asked for: U at once
//   4      teams of 4 to 32 lanes     lanes without work where a row is shorter than 512 bytes
//   5      teams: (bag, part, tile)   few long bags leave most of the GPU idle: S teams for a bag
//   6      teams: (piece, tile)       one bag longer than all others: pieces of equal work
//   7      teams: (bag or piece,      short bags one after another, each waited for: only long ones
//          tile)                      are cut
//   8      the same                   loads that take registers, and are waited for all together
//
// Indices have i bytes and are read once for each tile of a row: 32 features in version 1,
// 32 * PACK in 2 and 3, LANES * PACK from 4 on. Versions 1 and 2 ask for one index at a time: for
// each tile N requests of 32 bytes. From 3 on, one request brings up to 32 indices: N i bytes.
// All read the offsets, 8 (B + 1) bytes, once for each tile; 6 reads some more to find its bag.
// Partial sums, of a bytes each, are written and read once more: B S D a bytes in version 5; in 6
// D a bytes for each place where a piece ends within a bag, and as many for what comes after; in 7
// and 8 D a bytes for each piece of a long bag.
//
// All are deterministic: no atomics, and a place has one writer. Order of the additions:
//   1 to 4   the order of the bag, one after another: all four give the same bits. So do 7 and 8
//            for bags of up to P positions.
//   5        part after part, each in its order. Other bits than 1 to 4; the same in every run.
//   6        piece after piece (64 within one bag are first added to one), each in its order.
//   7, 8     of a long bag: the pieces after the first in eight groups, side by side; then the
//            first piece, and group after group.
// Nothing depends on the grid, or on the order in which threads run; only on S and P.
//
// T is the type of weight. Sums of __half and __nv_bfloat16 are kept in float, and rounded once.
// KIND says what is asked for. PADDED: positions that hold padding_idx count for nothing; they are
// skipped, not multiplied by zero, for 0 * NaN is NaN.
//
// instances: bag_sum_1<float, long long, SUM, false>, bag_sum_1<double, int, MEAN, true>
// instances: bag_sum_2<float, long long, SUM, false, 4>, bag_sum_2<__half, int, WEIGHTED, true, 8>
// instances: bag_sum_3<float, long long, SUM, false, 4, 1>
// instances: bag_sum_3<float, long long, SUM, false, 4, 2>
// instances: bag_sum_3<float, long long, SUM, false, 4, 4>
// instances: bag_sum_3<float, long long, SUM, false, 4, 8>
// instances: bag_sum_3<float, int, SUM, false, 4, 8>, bag_sum_3<float, int, WEIGHTED, true, 4, 8>
// instances: bag_sum_4<float, long long, SUM, false, 4, 32>
// instances: bag_sum_4<float, int, MEAN, true, 1, 8>
// instances: bag_sum_4<__nv_bfloat16, long long, SUM, false, 8, 16>
// instances: bag_sum_4<__half, int, SUM, false, 8, 16>
// instances: bag_sum_4<double, long long, WEIGHTED, false, 2, 32>
// instances: bag_sum_5<float, long long, SUM, false, 4, 32>
// instances: bag_sum_5<__half, int, MEAN, true, 8, 16>
// instances: add_parts<float, SUM>, add_parts<__half, MEAN>
// instances: bag_sum_6<float, long long, SUM, false, 4, 32>
// instances: bag_sum_6<__half, int, MEAN, true, 8, 16>
// instances: fold_pieces<float, SUM>, fold_pieces<__half, MEAN>
// instances: bag_sum_7<float, long long, SUM, false, 4, 32>
// instances: bag_sum_7<__nv_bfloat16, int, MEAN, true, 1, 8>
// instances: add_long_bags<float, SUM>, add_long_bags<__half, MEAN>
// instances: bag_sum_8<float, long long, SUM, false, 4, 32>
// instances: bag_sum_8<float, int, WEIGHTED, true, 4, 32>
// instances: bag_sum_8<float, long long, SUM, false, 2, 32>
// instances: bag_sum_8<float, int, MEAN, true, 1, 8>
// instances: bag_sum_8<__nv_bfloat16, long long, SUM, false, 8, 16>
// instances: bag_sum_8<__half, int, MEAN, true, 8, 16>
// instances: bag_sum_8<double, long long, WEIGHTED, false, 2, 32>
// instances: bag_sum_short<float, long long, SUM, false, 4, 32>
// instances: bag_sum_short<float, int, WEIGHTED, true, 4, 32>
// instances: bag_sum_short<__nv_bfloat16, long long, SUM, false, 8, 16>
// instances: bag_sum_short<__half, int, MEAN, true, 8, 16>
// instances: add_pieces<float, SUM>, add_pieces<__half, MEAN>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>

#include "common.cuh"

enum { SUM, WEIGHTED, MEAN };  // KIND; WEIGHTED is a sum with per_sample_weights

// ---- Version 1: a thread for each element of the output -----------------------------------------
// Neighboring threads have neighboring features, so a warp reads 32 neighboring elements of a
// row: 4 full sectors. But each thread reads the index for itself, and waits for it before each
// row.

template <typename T, typename I, int KIND, bool PADDED>
__global__ void bag_sum_1(const T* weight, const I* indices, const long long* offsets,
                          const T* per_sample_weights, T* output, long long* bag_sizes,
                          long long B, int D, I padding_idx) {
  typedef typename Wide<T>::Type A;
  long long element = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  long long bag = element / D;
  int d = element % D;
  long long end = offsets[bag + 1], kept = 0;
  A sum = 0;
  for (long long i = offsets[bag]; i < end; i++) {
    I row = indices[i];
    if (PADDED && row == padding_idx) continue;
    A value = A(weight[(long long)row * D + d]);
    sum += KIND == WEIGHTED ? A(per_sample_weights[i]) * value : value;
    kept++;
  }
  if (KIND == MEAN) {
    sum /= A(kept > 0 ? kept : 1);
    if (d == 0) bag_sizes[bag] = kept;  // the backward needs it
  }
  output[element] = T(sum);
}

// ---- Version 2: a warp for each bag, 16 bytes a load --------------------------------------------
// A lane holds PACK neighboring features: 4 floats are 16 bytes, the most that one load brings. A
// warp then covers a tile of 32 * PACK features; a longer row takes several warps, one for each
// tile. Where rows do not start at multiples of 16 bytes, the host takes a smaller PACK, down to 1.

template <typename T, typename I, int KIND, bool PADDED, int PACK>
__global__ void bag_sum_2(const T* weight, const I* indices, const long long* offsets,
                          const T* per_sample_weights, T* output, long long* bag_sizes,
                          long long B, int D, I padding_idx) {
  typedef typename Wide<T>::Type A;
  typedef Pack<T, PACK> Row;
  int tiles = (D + 32 * PACK - 1) / (32 * PACK);
  long long warp = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  long long bag = warp / tiles;
  int d = (warp % tiles * 32 + threadIdx.x % 32) * PACK;
  if (bag >= B || d >= D) return;
  long long end = offsets[bag + 1], kept = 0;
  A sum[PACK] = {};
  for (long long i = offsets[bag]; i < end; i++) {
    I row = indices[i];
    if (PADDED && row == padding_idx) continue;
    Row values = *(const Row*)(weight + (long long)row * D + d);
    A factor = KIND == WEIGHTED ? A(per_sample_weights[i]) : A(1);
    for (int k = 0; k < PACK; k++) sum[k] += factor * A(values.element[k]);
    kept++;
  }
  if (KIND == MEAN && d == 0) bag_sizes[bag] = kept;
  Row result;
  for (int k = 0; k < PACK; k++) {
    result.element[k] = T(KIND == MEAN ? sum[k] / A(kept > 0 ? kept : 1) : sum[k]);
  }
  *(Row*)(output + bag * D + d) = result;
}

// ---- What versions 3 to 7 share -----------------------------------------------------------------

// LANES neighboring lanes of a warp, a team, work on one bag; each has its own PACK features, d.
template <int LANES> struct Team {
  static __device__ int lane() { return threadIdx.x % LANES; }
  static __device__ long long number() {
    return ((long long)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
  }
  static __device__ unsigned mask() {  // the team's lanes among the 32 of its warp
    return (0xffffffffu >> (32 - LANES)) << (threadIdx.x % 32 / LANES * LANES);
  }
  // Bit k: what lane k of the team says.
  static __device__ unsigned votes(bool yes) {
    return (__ballot_sync(mask(), yes) & mask()) >> (threadIdx.x % 32 / LANES * LANES);
  }
  static __device__ int tiles(int D, int pack) { return (D + LANES * pack - 1) / (LANES * pack); }
};

// Adds the rows of the positions begin to end to `sum`, in their order. Returns how many counted.
// The team's lanes load LANES indices with one request and hand them round by shuffles, so that no
// row waits for its own index. U rows are loaded before the first of them is added: U loads of 16
// bytes are under way at once, in registers of their own. All lanes of the team must come here,
// also those behind the end of the row (d >= D): they load indices for the others.
template <int KIND, bool PADDED, int LANES, int U, typename T, typename I, typename A, int PACK>
__device__ long long add_rows(A (&sum)[PACK], const T* weight, const I* indices,
                              const T* per_sample_weights, long long begin, long long end, int d,
                              int D, I padding_idx) {
  const unsigned team = Team<LANES>::mask();
  const int lane = Team<LANES>::lane();
  long long kept = PADDED ? 0 : end - begin;
  for (long long base = begin; base < end; base += LANES) {
    int count = end - base < LANES ? int(end - base) : LANES;
    I my_row = lane < count ? indices[base + lane] : I(0);
    A my_factor = KIND == WEIGHTED && lane < count ? A(per_sample_weights[base + lane]) : A(1);
    // Bit k of `live`: position base + k is to be added. One register holds the answer for all.
    bool is_live = lane < count && !(PADDED && my_row == padding_idx);
    unsigned live = Team<LANES>::votes(is_live);
    if (PADDED) kept += __popc(live);
    if (d >= D) live = 0;
#pragma unroll 1  // the compiler is not to take more rows at once than U
    for (int first = 0; first < count; first += U) {
      Pack<T, PACK> values[U];
#pragma unroll
      for (int u = 0; u < U; u++) {
        long long row = __shfl_sync(team, my_row, first + u, LANES);
        if (live >> (first + u) & 1) values[u] = *(const Pack<T, PACK>*)(weight + row * D + d);
      }
#pragma unroll
      for (int u = 0; u < U; u++) {
        A factor = KIND == WEIGHTED ? __shfl_sync(team, my_factor, first + u, LANES) : A(1);
        if (live >> (first + u) & 1) {
#pragma unroll
          for (int k = 0; k < PACK; k++) sum[k] += factor * A(values[u].element[k]);
        }
      }
    }
  }
  return kept;
}

// Writes the features d, d + 1, ... of a bag, once all its rows are in `sum`.
template <int KIND, typename T, typename A, int PACK>
__device__ void write_bag(const A (&sum)[PACK], long long kept, T* output, long long* bag_sizes,
                          long long bag, int d, int D) {
  if (d >= D) return;
  if (KIND == MEAN && d == 0) bag_sizes[bag] = kept;
  Pack<T, PACK> result;
#pragma unroll
  for (int k = 0; k < PACK; k++) {
    result.element[k] = T(KIND == MEAN ? sum[k] / A(kept > 0 ? kept : 1) : sum[k]);
  }
  *(Pack<T, PACK>*)(output + bag * D + d) = result;
}

// Writes a partial sum, in the type of sums, 16 bytes at once where PACK of them are as many.
template <typename A, int PACK>
__device__ void write_part(const A (&sum)[PACK], A* part, int d, int D) {
  constexpr int MOST = 16 / sizeof(A), WIDTH = PACK < MOST ? PACK : MOST;
  if (d >= D) return;
#pragma unroll
  for (int k = 0; k < PACK; k += WIDTH) {
    Pack<A, WIDTH> piece;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) piece.element[j] = sum[k + j];
    *(Pack<A, WIDTH>*)(part + d + k) = piece;
  }
}

constexpr int LOADS = 4;  // U of versions 4 to 7: more warps fit on a GPU than with 8

// ---- Version 3: U loads under way at once -------------------------------------------------------
// A load from the GPU's memory takes hundreds of cycles. With one row at a time, a warp has 512
// bytes under way, and waits. `#pragma unroll` alone does not help: a compiler that wants to save
// registers puts each addition right behind its load. __launch_bounds__(256, 2) lets a thread have
// 128 registers; U = 8 rows of 4 floats take 32 of them. (With 80 registers some did not fit, and
// on an H200 rows of 16-bit numbers took up to twice the time.)

template <typename T, typename I, int KIND, bool PADDED, int PACK, int U>
__global__ void __launch_bounds__(256, 2)
bag_sum_3(const T* weight, const I* indices, const long long* offsets, const T* per_sample_weights,
          T* output, long long* bag_sizes, long long B, int D, I padding_idx) {
  int tiles = Team<32>::tiles(D, PACK);
  long long warp = Team<32>::number(), bag = warp / tiles;
  int d = (warp % tiles * 32 + Team<32>::lane()) * PACK;
  if (bag >= B) return;
  typename Wide<T>::Type sum[PACK] = {};
  long long kept = add_rows<KIND, PADDED, 32, U>(sum, weight, indices, per_sample_weights,
                                                 offsets[bag], offsets[bag + 1], d, D, padding_idx);
  write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
}

// ---- Version 4: several bags in a warp ----------------------------------------------------------
// A row of 16 floats is 4 loads of 16 bytes: 28 of 32 lanes would look on. Here LANES lanes are a
// team with a bag of its own, and a warp works on 32 / LANES bags. (A warp takes as long as its
// longest bag.)


template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(256, sizeof(T) == 2 ? 3 : 4)
bag_sum_4(const T* weight, const I* indices, const long long* offsets, const T* per_sample_weights,
          T* output, long long* bag_sizes, long long B, int D, I padding_idx) {
  int tiles = Team<LANES>::tiles(D, PACK);
  long long team = Team<LANES>::number(), bag = team / tiles;
  int d = (team % tiles * LANES + Team<LANES>::lane()) * PACK;
  if (bag >= B) return;
  typename Wide<T>::Type sum[PACK] = {};
  long long kept = add_rows<KIND, PADDED, LANES, LOADS>(
      sum, weight, indices, per_sample_weights, offsets[bag], offsets[bag + 1], d, D, padding_idx);
  write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
}

// ---- Version 5: S teams for each bag, and a second kernel ---------------------------------------
// With 100 bags of 10,000 positions a warp for each bag is 100 warps, on a GPU that runs 4,000.
// Every bag is cut into S parts of (nearly) the same length. parts is (B, S, D), part_sizes (B, S).

template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(256, sizeof(T) == 2 ? 3 : 4)
bag_sum_5(const T* weight, const I* indices, const long long* offsets, const T* per_sample_weights,
          typename Wide<T>::Type* parts, long long* part_sizes, long long B, int S, int D,
          I padding_idx) {
  int tiles = Team<LANES>::tiles(D, PACK);
  long long team = Team<LANES>::number(), part = team / tiles, bag = part / S;
  int d = (team % tiles * LANES + Team<LANES>::lane()) * PACK, s = part % S;
  if (bag >= B) return;
  long long begin = offsets[bag], length = offsets[bag + 1] - begin;
  typename Wide<T>::Type sum[PACK] = {};
  long long kept = add_rows<KIND, PADDED, LANES, LOADS>(
      sum, weight, indices, per_sample_weights, begin + length * s / S,
      begin + length * (s + 1) / S, d, D, padding_idx);
  write_part(sum, parts + part * D, d, D);
  if (KIND == MEAN && d == 0) part_sizes[part] = kept;
}

// The second kernel: a thread for each element adds its S parts, in their order.
template <typename T, int KIND>
__global__ void add_parts(const typename Wide<T>::Type* parts, const long long* part_sizes,
                          T* output, long long* bag_sizes, long long B, int S, int D) {
  typedef typename Wide<T>::Type A;
  long long element = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  long long bag = element / D, kept = 0;
  int d = element % D;
  A sum[1] = {};
  for (int s = 0; s < S; s++) {
    sum[0] += parts[(bag * S + s) * D + d];
    if (KIND == MEAN) kept += part_sizes[bag * S + s];
  }
  write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
}

// ---- Version 6: pieces of equal work, whatever the bags -----------------------------------------
// Bags of unequal length: one of a million positions keeps one team busy while all others are done.
// So the work is cut, not the bags. The items of work are the N positions and the B ends of bags,
// in order: position i of bag b is item i + b, and the end of bag b is item offsets[b + 1] + b.
// (Without the ends, a million empty bags would be no work at all, and yet all be written by one
// team.) Team after team gets P items. It sums bag after bag. A bag that lies within the piece is
// written at once. Of a bag that goes on in the next piece, the sum so far is kept in row 0 of
// `parts` (pieces, 2, D) and the bag's number in open_bag; of one that came from the piece before,
// in row 1. A piece that lies within one bag, from before it to behind it, says WITHIN.

constexpr int NONE = -1, WITHIN = -2;  // in place of a bag's number
constexpr int FOLD = 64;               // pieces that are added up before the others

// The bag that item belongs to: the last one with offsets[bag] + ends * bag <= item. ends is 1
// where the ends of bags are items, else 0. Each lane of the team tries another place, so that a
// step divides the range by LANES and not by 2.
template <int LANES>
__device__ long long bag_of(long long item, const long long* offsets, long long B, int ends) {
  long long low = 0, size = B;  // it is one of low, low + 1, ..., low + size - 1
  while (size > 1) {
    long long step = (size + LANES - 1) / LANES, tried = Team<LANES>::lane() * step;
    bool fits = tried < size && offsets[low + tried] + ends * (low + tried) <= item;
    int lanes = __popc(Team<LANES>::votes(fits));
    low += (lanes - 1) * step;
    size = size - (lanes - 1) * step < step ? size - (lanes - 1) * step : step;
  }
  return low;
}

template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(256, sizeof(T) == 2 ? 3 : 4)
bag_sum_6(const T* weight, const I* indices, const long long* offsets, const T* per_sample_weights,
          T* output, long long* bag_sizes, typename Wide<T>::Type* parts, long long* part_sizes,
          long long* open_bag, long long N, long long B, int P, int D, I padding_idx) {
  int tiles = Team<LANES>::tiles(D, PACK);
  long long team = Team<LANES>::number(), piece = team / tiles;
  int d = (team % tiles * LANES + Team<LANES>::lane()) * PACK;
  long long item = piece * P, last = item + P < N + B ? item + P : N + B;
  if (item >= last) return;
  long long bag = bag_of<LANES>(item, offsets, B, 1), begin = offsets[bag], open = NONE;
  bool came_before = begin + bag < item;
  while (item < last) {
    long long position = item - bag, end = offsets[bag + 1];
    bool goes_on = end + bag >= last;
    typename Wide<T>::Type sum[PACK] = {};
    long long kept = add_rows<KIND, PADDED, LANES, LOADS>(
        sum, weight, indices, per_sample_weights, position, goes_on ? last - bag : end, d, D,
        padding_idx);
    if (came_before || goes_on) {
      long long row = 2 * piece + came_before;
      write_part(sum, parts + row * D, d, D);
      if (KIND == MEAN && d == 0) part_sizes[row] = kept;
      if (goes_on) open = came_before ? WITHIN : bag;
    } else {
      write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
    }
    came_before = false;
    item = end + bag + 1;
    bag++;
  }
  if (d == 0) open_bag[piece] = open;
}

// Before the pieces of a bag are added, 64 neighbors that lie within it are added to one. A bag of
// a million positions in 4,000 pieces is then 64 of these and a few single ones: no long wait at
// the end. A thread for each (group of 64, d); most find a piece that is not within a bag, and
// leave.
template <typename T, int KIND>
__global__ void fold_pieces(const typename Wide<T>::Type* parts, const long long* part_sizes,
                            const long long* open_bag, typename Wide<T>::Type* folded,
                            long long* folded_sizes, long long groups, int D) {
  long long element = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= groups * D) return;
  long long first = element / D * FOLD, kept = 0;
  int d = element % D;
  for (int k = 0; k < FOLD; k++) {
    if (open_bag[first + k] != WITHIN) return;
  }
  typename Wide<T>::Type sum = 0;
#pragma unroll 8
  for (int k = 0; k < FOLD; k++) {
    sum += parts[(2 * (first + k) + 1) * D + d];
    if (KIND == MEAN) kept += part_sizes[2 * (first + k) + 1];
  }
  folded[element] = sum;
  if (KIND == MEAN && d == 0) folded_sizes[first / FOLD] = kept;
}

// The last kernel: a thread for each (piece, d). If a bag was left open at the end of the piece, it
// adds what the following pieces have of that bag, in their order; whole groups of 64 come folded.
template <typename T, int KIND>
__global__ void add_pieces(const typename Wide<T>::Type* parts, const long long* part_sizes,
                           const long long* open_bag, const typename Wide<T>::Type* folded,
                           const long long* folded_sizes, const long long* offsets, T* output,
                           long long* bag_sizes, long long pieces, int P, int D) {
  long long element = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= pieces * D) return;
  long long piece = element / D, bag = open_bag[piece];
  int d = element % D;
  if (bag < 0) return;
  long long last = (offsets[bag + 1] + bag) / P;  // the piece that holds the end of the bag
  typename Wide<T>::Type sum[1] = {parts[2 * piece * D + d]};
  long long kept = KIND == MEAN ? part_sizes[2 * piece] : 0, next = piece + 1;
#pragma unroll 4
  for (; next <= last && next % FOLD != 0; next++) {
    sum[0] += parts[(2 * next + 1) * D + d];
    if (KIND == MEAN) kept += part_sizes[2 * next + 1];
  }
#pragma unroll 4
  for (; next + FOLD <= last; next += FOLD) {
    sum[0] += folded[next / FOLD * D + d];
    if (KIND == MEAN) kept += folded_sizes[next / FOLD];
  }
#pragma unroll 4
  for (; next <= last; next++) {
    sum[0] += parts[(2 * next + 1) * D + d];
    if (KIND == MEAN) kept += part_sizes[2 * next + 1];
  }
  write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
}

// ---- Version 7: a team for each bag again, and pieces only of long bags -------------------------
// In version 6 a team walks through the bags of its piece, and waits three times for each: for its
// offset, its indices, its rows. Where bags are short, that is most of the time. So every bag of up
// to P positions has a team of its own, as in version 4. Of the longer ones, the positions are cut
// at the multiples of P, and each piece is one more team. A piece meets two long bags at most: the
// one of its first position and the one of its last. Their sums go to rows 0 and 1 of its place in
// `parts` (pieces, 2, D). The bag that begins in it is named in begins; NONE: there is none.

// How the rows of some positions are added up: with LOADS loads to registers, as before.
template <int KIND, bool PADDED, int LANES> struct ByLoads {
  template <typename T, typename I, typename A, int PACK>
  __device__ long long add(A (&sum)[PACK], const T* weight, const I* indices,
                           const T* per_sample_weights, long long begin, long long end, int d,
                           int D, I padding_idx) {
    return add_rows<KIND, PADDED, LANES, LOADS>(sum, weight, indices, per_sample_weights, begin,
                                                end, d, D, padding_idx);
  }
};

template <int KIND, int PACK, int LANES, typename Rows, typename T, typename I>
__device__ void bags_and_pieces(Rows& rows, const T* weight, const I* indices,
                                const long long* offsets, const T* per_sample_weights, T* output,
                                long long* bag_sizes, typename Wide<T>::Type* parts,
                                long long* part_sizes, long long* begins, long long B,
                                long long pieces, long long P, int D, I padding_idx) {
  int tiles = Team<LANES>::tiles(D, PACK);
  long long team = Team<LANES>::number(), bag = team / tiles, piece = bag - B;
  int d = (team % tiles * LANES + Team<LANES>::lane()) * PACK;
  if (bag < B) {
    long long begin = offsets[bag], end = offsets[bag + 1];
    if (end - begin > P) return;
    typename Wide<T>::Type sum[PACK] = {};
    long long kept = rows.add(sum, weight, indices, per_sample_weights, begin, end, d, D,
                              padding_idx);
    write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
    return;
  }
  if (piece >= pieces) return;
  long long first = piece * P, N = offsets[B], last = first + P < N ? first + P : N, begun = NONE;
  for (int row = 0; row < 2; row++) {
    long long met = bag_of<LANES>(row == 0 ? first : last - 1, offsets, B, 0);
    long long begin = offsets[met], end = offsets[met + 1];
    if (end - begin <= P || (row == 1 && begin <= first)) continue;  // short, or met before
    typename Wide<T>::Type sum[PACK] = {};
    long long kept = rows.add(sum, weight, indices, per_sample_weights,
                              begin > first ? begin : first, end < last ? end : last, d, D,
                              padding_idx);
    write_part(sum, parts + (2 * piece + row) * D, d, D);
    if (KIND == MEAN && d == 0) part_sizes[2 * piece + row] = kept;
    if (begin >= first) begun = met;
  }
  if (d == 0) begins[piece] = begun;
}

template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(256, sizeof(T) == 2 ? 3 : 4)
bag_sum_7(const T* weight, const I* indices, const long long* offsets, const T* per_sample_weights,
          T* output, long long* bag_sizes, typename Wide<T>::Type* parts, long long* part_sizes,
          long long* begins, long long B, long long pieces, long long P, int D, I padding_idx) {
  ByLoads<KIND, PADDED, LANES> rows;
  bags_and_pieces<KIND, PACK, LANES>(rows, weight, indices, offsets, per_sample_weights, output,
                                     bag_sizes, parts, part_sizes, begins, B, pieces, P, D,
                                     padding_idx);
}

// The second kernel: a block of 32 x GROUPS threads for each piece and 32 features. Where a long
// bag begins, GROUPS rows of threads add up the pieces that follow, a GROUPS-th each, side by side;
// then the first thread adds these sums, in order.
constexpr int GROUPS = 8;

template <typename T, int KIND>
__global__ void add_long_bags(const typename Wide<T>::Type* parts, const long long* part_sizes,
                              const long long* begins, const long long* offsets, T* output,
                              long long* bag_sizes, long long P, int D) {
  typedef typename Wide<T>::Type A;
  __shared__ A sums[GROUPS][32];
  __shared__ long long sizes[GROUPS];
  long long piece = blockIdx.x, bag = begins[piece];
  int d = blockIdx.y * 32 + threadIdx.x, group = threadIdx.y;
  if (bag == NONE) return;
  long long last = (offsets[bag + 1] - 1) / P, many = (last - piece + GROUPS - 1) / GROUPS;
  long long from = piece + 1 + group * many, to = from + many < last + 1 ? from + many : last + 1;
  A sum[1] = {};
  long long kept = 0;
#pragma unroll 8
  for (long long next = from; next < to; next++) {
    if (d < D) sum[0] += parts[2 * next * D + d];
    if (KIND == MEAN) kept += part_sizes[2 * next];
  }
  sums[group][threadIdx.x] = sum[0];
  if (threadIdx.x == 0) sizes[group] = kept;
  __syncthreads();
  if (group > 0) return;
  long long own = 2 * piece + (offsets[bag] > piece * P);  // row 0 if the bag begins with the piece
  sum[0] = d < D ? parts[own * D + d] : A(0);
  kept = KIND == MEAN ? part_sizes[own] : 0;
  for (int k = 0; k < GROUPS; k++) {
    sum[0] += sums[k][threadIdx.x];
    kept += sizes[k];
  }
  write_bag<KIND>(sum, kept, output, bag_sizes, bag, d, D);
}

// ---- Version 8: rows that come by themselves ----------------------------------------------------
// In versions 3 to 7 U rows are asked for, and all of them are waited for before the next is asked
// for: again and again there is a moment with nothing under way. And each row under way takes
// registers. An asynchronous copy brings 4, 8 or 16 bytes from the GPU's memory into shared memory,
// and takes no register. There each lane has a ring of RING places. As soon as the oldest row has
// come and is added, its place is free for a new one: RING rows are under way at any moment.
// A lane reads what it has asked for itself, so nobody waits for anybody else. The indices of the
// next LANES rows are asked for before those of the last are used.
// Same sums in the same order as in version 7: the same bits.

constexpr int RING = 8;     // places in a ring. (16 places were no faster on an H200.)
constexpr int RINGS = 128;  // rings, and threads, in a block

// The block's shared memory: place after place, one of each ring. (16 KB for packs of 16 bytes.)
template <int KIND, bool PADDED, int LANES, typename T, int PACK> struct Rings {
  typedef typename Wide<T>::Type A;
  Pack<T, PACK> rows[RING][RINGS];
  A factors[KIND == WEIGHTED ? RING : 1][RINGS];

  __device__ void ask(int place, const T* from, A factor) {
    Pack<T, PACK>* to = &rows[place][threadIdx.x];
    if (sizeof(*to) >= 4) {
      __pipeline_memcpy_async(to, from, sizeof(*to) >= 4 ? sizeof(*to) : 4);
    } else {
      *to = *(const Pack<T, PACK>*)from;  // 2 bytes are too few for an asynchronous copy
    }
    if (KIND == WEIGHTED) factors[place][threadIdx.x] = factor;
  }

  __device__ void add_place(A (&sum)[PACK], int place) const {
    const Pack<T, PACK> values = rows[place][threadIdx.x];
    A factor = KIND == WEIGHTED ? factors[place][threadIdx.x] : A(1);
#pragma unroll
    for (int k = 0; k < PACK; k++) sum[k] += factor * A(values.element[k]);
  }

  template <typename I>
  __device__ long long add(A (&sum)[PACK], const T* weight, const I* indices,
                           const T* per_sample_weights, long long begin, long long end, int d,
                           int D, I padding_idx) {
    const unsigned team = Team<LANES>::mask();
    const int lane = Team<LANES>::lane();
    const bool mine = d < D;  // the others only load indices
    long long kept = PADDED ? 0 : end - begin;
    unsigned asked = 0;  // rows
    I next_row = begin + lane < end ? indices[begin + lane] : I(0);
    for (long long base = begin; base < end; base += LANES) {
      int count = end - base < LANES ? int(end - base) : LANES;
      I my_row = next_row;
      A my_factor = KIND == WEIGHTED && lane < count ? A(per_sample_weights[base + lane]) : A(1);
      long long next = base + LANES + lane;
      if (next < end) next_row = indices[next];
      for (int k = 0; k < count; k++) {
        long long row = __shfl_sync(team, my_row, k, LANES);
        A factor = KIND == WEIGHTED ? __shfl_sync(team, my_factor, k, LANES) : A(1);
        if (PADDED && row == padding_idx) continue;
        if (PADDED) kept++;
        if (mine) ask(asked % RING, weight + row * D + d, factor);
        __pipeline_commit();
        asked++;
        __pipeline_wait_prior(RING - 1);  // all but the last RING - 1 have come
        if (mine && asked >= RING) add_place(sum, asked % RING);
      }
    }
    __pipeline_wait_prior(0);
    for (unsigned r = asked < RING ? 0 : asked - RING + 1; mine && r < asked; r++) {
      add_place(sum, r % RING);
    }
    return kept;
  }
};

template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(RINGS, 7)
bag_sum_8(const T* weight, const I* indices, const long long* offsets, const T* per_sample_weights,
          T* output, long long* bag_sizes, typename Wide<T>::Type* parts, long long* part_sizes,
          long long* begins, long long B, long long pieces, long long P, int D, I padding_idx) {
  __shared__ Rings<KIND, PADDED, LANES, T, PACK> rows;
  bags_and_pieces<KIND, PACK, LANES>(rows, weight, indices, offsets, per_sample_weights, output,
                                     bag_sizes, parts, part_sizes, begins, B, pieces, P, D,
                                     padding_idx);
}

// ---- Not chosen yet: short bags of one known length ---------------------------------------------
// A team of version 8 waits three times for a bag: for its offsets, its indices, its rows. Where all
// bags have L positions, a team here takes several neighboring bags, reads no offsets, loads their
// indices with one request, and has U rows under way even if these belong to U bags: two waits for
// all of them. A sum is written where its bag ends. The order of the additions is that of versions
// 1 to 4, and so are the bits. No GPU has timed it yet: `choose` takes it once one says that it wins.

template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(256, sizeof(T) == 2 ? 3 : 4)
bag_sum_short(const T* weight, const I* indices, const T* per_sample_weights, T* output,
              long long* bag_sizes, long long B, int L, int bags, int D, I padding_idx) {
  typedef typename Wide<T>::Type A;
  constexpr int U = LOADS;
  const unsigned team = Team<LANES>::mask();
  int tiles = Team<LANES>::tiles(D, PACK), lane = Team<LANES>::lane(), left = L;
  long long number = Team<LANES>::number(), bag = number / tiles * bags, kept = 0;
  int d = (number % tiles * LANES + lane) * PACK;
  if (bag >= B) return;
  long long end = (bag + bags < B ? bag + bags : B) * L;
  A sum[PACK] = {};
  for (long long base = bag * L; base < end; base += LANES) {
    int count = end - base < LANES ? int(end - base) : LANES;
    I my_row = lane < count ? indices[base + lane] : I(0);
    A my_factor = KIND == WEIGHTED && lane < count ? A(per_sample_weights[base + lane]) : A(1);
    unsigned live = Team<LANES>::votes(lane < count && !(PADDED && my_row == padding_idx));
#pragma unroll 1
    for (int first = 0; first < count; first += U) {
      Pack<T, PACK> values[U];
#pragma unroll
      for (int u = 0; u < U; u++) {
        long long row = __shfl_sync(team, my_row, first + u, LANES);
        if (d < D && live >> (first + u) & 1) {
          values[u] = *(const Pack<T, PACK>*)(weight + row * D + d);
        }
      }
#pragma unroll
      for (int u = 0; u < U; u++) {
        A factor = KIND == WEIGHTED ? __shfl_sync(team, my_factor, first + u, LANES) : A(1);
        if (first + u >= count) continue;
        if (live >> (first + u) & 1) {
#pragma unroll
          for (int k = 0; k < PACK; k++) sum[k] += factor * A(values[u].element[k]);
          kept++;
        }
        if (--left) continue;
        write_bag<KIND>(sum, kept, output, bag_sizes, bag++, d, D);
#pragma unroll
        for (int k = 0; k < PACK; k++) sum[k] = 0;
        kept = 0;
        left = L;
      }
    }
  }
}
