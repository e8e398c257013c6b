// segments.cu: the gradient of weight by sorting, the same bits in every run (chapter 11).
// run a version: python -m embag_edu.cuda segments piece_packs
//
// The positions are sorted by their row; positions of one row keep their order. Then each row of
// the gradient is a sum over neighbors, a "run". With the runs as bags, backward is a forward:
//     the table is grad_output, the indices are `sources`, the weights are `shares`.
//
// keys[i], sources[i], shares[i]: entry i in sorted order: its row, the row of grad_output that it
// reads, and what it multiplies that with. A negative key counts for nothing, and comes last, for
// keys are sorted as unsigned numbers. Rows that do not occur are not written: a dense gradient
// begins as zeros. With the numbers of the runs, 0, 1, 2, ..., as keys, the same kernels write the U
// rows of a coalesced sparse gradient.
//
// Letters: n entries, U runs, D features; w bytes of a number in grad_output and grad_weight, a
// bytes of a sum (4, or 8 for double), P pieces of PIECE entries; k bytes of a key, 4 or 8.
//
//   version          a warp takes    reads                  writes              its trouble
//   5 run_sums       a run           n (D w + k + a)        U D w               the longest run
//   6 piece_sums     PIECE entries   n (D w + 2 k + a)      U D w + 2 P D a     4-byte reads, one
//                                                                               under way at a time
//   7 piece_packs    32 / team       the same, in packs     the same
//                    pieces          of up to 16 bytes
//
// join_pieces, the second pass of 6, reads the partial sums (2 P D a at most) and writes the rows
// that were cut. 7 has no such kernel: it runs again on its own partial sums, a 16th as many each
// time, until one piece is left. (A hot row with 10 % of a million entries left 480 partial sums
// after two passes. On an H200 one warp took longer to join them than all the rest took.)
//
// All are deterministic: who adds what, and in which order, depends on the keys and on PIECE alone.
//
// instances: divide_by_run_length<float, int>, divide_by_run_length<double, long long>
// instances: winner_entries<int, float, int>, winner_entries<int, double, long long>
// instances: pick_entries<long long, float, int>, pick_entries<int, float, int>
// instances: pick_entries<long long, double, long long>
// instances: sort_few<float>, sort_few<double>
// instances: run_sums<float, float, int>, run_sums<float, float, long long>
// instances: run_sums<double, double, int>, run_sums<__half, float, int>
// instances: run_sums<__nv_bfloat16, float, int>
// instances: piece_sums<float, float, int>, piece_sums<double, double, int>
// instances: piece_sums<__half, float, int>, piece_sums<__nv_bfloat16, float, long long>
// instances: join_pieces<float, float, int>, join_pieces<double, double, long long>
// instances: join_pieces<__half, float, int>, join_pieces<__nv_bfloat16, float, int>
// instances: piece_packs<float, float, float, int, 4>, piece_packs<float, float, float, int, 2>
// instances: piece_packs<float, float, float, int, 1>
// instances: piece_packs<float, float, float, long long, 4>
// instances: piece_packs<double, double, double, int, 2>
// instances: piece_packs<__half, __half, float, int, 8>, piece_packs<float, __half, float, int, 4>
// instances: piece_packs<__nv_bfloat16, __nv_bfloat16, float, int, 8>
// instances: entry_values<float, float, int>, entry_values<double, double, long long>
// instances: entry_values<__half, float, int>, entry_values<__nv_bfloat16, float, int>
// instances: entry_packs<float, float, int, 4>, entry_packs<double, double, long long, 2>
// instances: entry_packs<__half, float, int, 8>, entry_packs<__nv_bfloat16, float, int, 8>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

const int PIECE = 32;  // entries of a piece. Part of the result: another number, other roundings.

// ---- scale_grad_by_freq: the length of a run is the frequency of its row ------------------------

// How many of the n sorted keys are smaller than `key`. As an unsigned number -1 is the largest.
template <class K>
__device__ long long smaller(const K* keys, long long n, K key) {
  long long low = 0, high = n;
  while (low < high) {
    long long middle = (low + high) / 2;
    if ((unsigned long long)keys[middle] < (unsigned long long)key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class A, class K>
__global__ void divide_by_run_length(const K* keys, A* shares, long long n) {
  long long i = thread_number();
  if (i >= n || keys[i] < 0) return;
  long long length = smaller(keys, n, K(keys[i] + 1)) - smaller(keys, n, keys[i]);
  shares[i] /= A(length);
}

// ---- Before 5: the entries of a maximum, and what the sort has put in order ---------------------

// A maximum has n = B D winners. Its gradient is a sum, too, in a table of V D rows of one feature.
// A winner gets all of its upstream gradient: its share is 1. Where nobody won, the key is -1.
template <class W, class A, class K>
__global__ void winner_entries(const W* winners, K* keys, K* sources, A* shares, long long n,
                               int D) {
  long long i = thread_number();
  if (i >= n) return;
  keys[i] = winners[i] < 0 ? K(-1) : K(winners[i] * (long long)D + i % D);
  sources[i] = K(i);
  shares[i] = A(1);
}

// Entry i of the sorted list is number order[i] of the list before. keys_too: the sort has not left
// the sorted keys behind.
template <class O, class A, class K>
__global__ void pick_entries(const O* order, const K* keys, const K* sources, const A* shares,
                             K* sorted_keys, K* sorted_sources, A* sorted_shares, long long n,
                             bool keys_too) {
  long long i = thread_number();
  if (i >= n) return;
  long long from = order[i];
  if (keys_too) sorted_keys[i] = keys[from];
  sorted_sources[i] = sources[from];
  sorted_shares[i] = shares[from];
}

// The same for few entries: one block sorts them in its shared memory. A sort of many entries takes
// a dozen launches; for a thousand entries these are all of the time. The network of Batcher's
// bitonic sort compares and swaps pairs, all of them at once, in fixed places. Key and number make
// one item of 64 bits, so no two items are equal, and entries of one key keep their order.
// room: the least power of two that is not less than n; up to FEW. A negative key comes last.
const int FEW = 2048;

template <class A>
__global__ void __launch_bounds__(1024)
sort_few(const int* keys, const int* sources, const A* shares, int* sorted_keys,
         int* sorted_sources, A* sorted_shares, int n, int room) {
  __shared__ unsigned long long items[FEW];
  for (int i = threadIdx.x; i < room; i += blockDim.x) {
    items[i] = i < n ? (unsigned long long)keys[i] << 32 | i : ~0ull;
  }
  __syncthreads();
  for (int size = 2; size <= room; size *= 2) {
    for (int apart = size / 2; apart > 0; apart /= 2) {
      for (int pair = threadIdx.x; pair < room / 2; pair += blockDim.x) {
        int low = 2 * pair - (pair & (apart - 1)), high = low + apart;  // apart is a power of two
        unsigned long long a = items[low], b = items[high];
        if ((a > b) == ((low & size) == 0)) {  // every other part of `size` is sorted downwards
          items[low] = b;
          items[high] = a;
        }
      }
      __syncthreads();
    }
  }
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    int from = int(items[i]);  // the lower 32 bits
    sorted_keys[i] = keys[from];
    sorted_sources[i] = sources[from];
    sorted_shares[i] = shares[from];
  }
}

// ---- 5: one warp for each run -------------------------------------------------------------------

// starts (U + 1,): where each run begins, and n. The warp adds the entries of its run in their
// order.
template <class T, class A, class K>
__global__ void run_sums(const T* grad_output, const K* keys, const K* sources, const A* shares,
                         const long long* starts, T* grad_weight, long long U, int D) {
  long long run = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (run >= U) return;
  long long begin = starts[run], end = starts[run + 1];
  long long row = keys[begin];
  for (int d = lane; d < D; d += 32) {
    A sum = 0;
    for (long long i = begin; i < end; i++) {
      long long source = sources[i];
      sum += shares[i] * A(grad_output[source * D + d]);
    }
    grad_weight[row * D + d] = T(sum);
  }
}

// ---- 6: one warp for each piece of PIECE entries ------------------------------------------------

// Pieces are cut without a look at the runs: all warps have the same work, however hot a row is. A
// run inside a piece is finished here. A run that is cut leaves a partial sum in each of its
// pieces: partial[2 * piece] for the run that came in from the piece before (the head), and
// partial[2 * piece + 1] for the run that goes on in the next one (the tail). partial_keys has
// their rows, -1 where there is none. Where one run fills a whole piece, the head is its sum, the
// tail 0: so the partial sums are entries sorted by their keys, too.
template <class K>
struct Piece {
  long long number, begin, end;  // its entries: begin up to, not including, end
  K before, after;               // the keys around it; -2 where the list ends: no entry has that

  __device__ Piece(const K* keys, long long number, long long n) : number(number) {
    begin = number * PIECE;
    end = begin + PIECE < n ? begin + PIECE : n;
    before = 0 < begin && begin < n ? keys[begin - 1] : K(-2);
    after = end < n ? keys[end] : K(-2);
  }

  // One run that came in, fills the piece and goes on. (Keys are sorted: all between are equal.)
  __device__ bool filled() const { return before >= 0 && before == after; }

  __device__ void write_keys(const K* keys, K* partial_keys) const {
    partial_keys[2 * number] = keys[begin] == before ? before : K(-1);
    partial_keys[2 * number + 1] = keys[end - 1] == after ? after : K(-1);
  }
};

template <class T, class A, class K>
__global__ void piece_sums(const T* grad_output, const K* keys, const K* sources, const A* shares,
                           T* grad_weight, A* partial, K* partial_keys, long long n, int D) {
  Piece<K> piece(keys, thread_number() / 32, n);
  int lane = threadIdx.x % 32;
  if (piece.begin >= n) return;
  if (lane == 0) piece.write_keys(keys, partial_keys);
  A *head = partial + 2 * piece.number * D, *tail = head + D;
  for (int d = lane; d < D; d += 32) {
    A sum = 0;
    for (long long i = piece.begin; i < piece.end; i++) {
      K row = keys[i];
      long long source = sources[i];
      sum += shares[i] * A(grad_output[source * D + d]);
      if (i + 1 < piece.end && keys[i + 1] == row) continue;  // the run is not at its end
      if (row == piece.before) {
        head[d] = sum;
      } else if (row == piece.after) {
        tail[d] = sum;
      } else {
        grad_weight[(long long)row * D + d] = T(sum);
      }
      sum = 0;
    }
    if (piece.filled()) tail[d] = 0;
  }
}

// The second pass: a warp for each of the n partial sums looks whether a run begins there, and if
// so adds it up to its end, in order.
template <class T, class A, class K>
__global__ void join_pieces(const A* partial, const K* partial_keys, T* grad_weight, long long n,
                            int D) {
  long long begin = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (begin >= n) return;
  K row = partial_keys[begin];
  if (row < 0 || (begin > 0 && partial_keys[begin - 1] == row)) return;
  for (int d = lane; d < D; d += 32) {
    A sum = 0;
    for (long long i = begin; i < n && partial_keys[i] == row; i++) sum += partial[i * D + d];
    grad_weight[(long long)row * D + d] = T(sum);
  }
}

// ---- 7: packs, several pieces to a warp, four reads in flight -----------------------------------

// 16 bytes at once: of a larger pack the compiler would write each element by itself.
template <class T, int PACK, class A>
__device__ void write_pack(T* to, const A* sum) {
  constexpr int MOST = 16 / sizeof(T), WIDTH = PACK < MOST ? PACK : MOST;
#pragma unroll
  for (int k = 0; k < PACK; k += WIDTH) {
    Pack<T, WIDTH> pack;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) pack.element[j] = T(sum[k + j]);
    *(Pack<T, WIDTH>*)(to + k) = pack;
  }
}

// What an entry does with the sum when it has been added: nothing (-1), or the run ends here, and
// the sum goes to the head (-2), to the tail (-3), or to a row of grad_weight (0 and up).
template <class K>
__device__ K target_of(const Piece<K>& piece, const K* keys, long long i, K key) {
  if (key < 0 || (i + 1 < piece.end && keys[i + 1] == key)) return K(-1);
  return key == piece.before ? K(-2) : key == piece.after ? K(-3) : key;
}

// A piece belongs to `team` neighboring lanes, a power of two up to 32: as many as a row has
// packs, so that rows of few features leave no lane idle. blockIdx.y counts the parts of a longer
// row. The lanes read the keys, sources and shares of `team` entries, one each, and hand them
// round. Rows of grad_output are read four at a time, before the first is added: that keeps the
// memory busy. again: the entries are partial sums of a first launch: entry i is row i, and its
// share is 1.
template <class S, class T, class A, class K, int PACK>
__global__ void __launch_bounds__(256, sizeof(S) == 2 ? 3 : 4)
piece_packs(const S* grad_output, const K* keys, const K* sources, const A* shares, T* grad_weight,
            A* partial, K* partial_keys, long long n, int D, int team, bool again) {
  const int FLIGHT = 4;
  Piece<K> piece(keys, thread_number() / team, n);
  int lane = threadIdx.x % team;
  int d = (blockIdx.y * team + lane) * PACK;
  bool mine = d < D && piece.begin < n;  // others only come along for the shuffles
  if (mine && d == 0) piece.write_keys(keys, partial_keys);
  A* head = partial + 2 * piece.number * D + d;
  A sum[PACK] = {};
  for (int first = 0; first < PIECE; first += team) {
    long long i = piece.begin + first + lane;
    K key = i < piece.end ? keys[i] : K(-1);
    K target = i < piece.end ? target_of(piece, keys, i, key) : K(-1);
    K source = key < 0 ? K(-1) : again ? K(i) : sources[i];
    A share = key < 0 || again ? A(1) : shares[i];
    for (int j = 0; j < team; j += FLIGHT) {
      Pack<S, PACK> rows[FLIGHT];
      bool there[FLIGHT];
#pragma unroll
      for (int u = 0; u < FLIGHT; u++) {
        long long from = __shfl_sync(ALL, source, j + u, team);
        there[u] = mine && from >= 0 && j + u < team;
        if (there[u]) rows[u] = *(const Pack<S, PACK>*)&grad_output[from * D + d];
      }
#pragma unroll
      for (int u = 0; u < FLIGHT; u++) {
        A factor = __shfl_sync(ALL, share, j + u, team);
        K to = __shfl_sync(ALL, target, j + u, team);
        if (!there[u]) continue;
#pragma unroll
        for (int k = 0; k < PACK; k++) sum[k] += factor * A(rows[u].element[k]);
        if (to == -1) continue;
        if (to >= 0) {
          write_pack<T, PACK>(&grad_weight[(long long)to * D + d], sum);
        } else {
          // (Written as head + (to == -2 ? 0 : D), this became four stores of 4 bytes each.)
          write_pack<A, PACK>(partial + (2 * piece.number + (to == -3)) * D + d, sum);
        }
#pragma unroll
        for (int k = 0; k < PACK; k++) sum[k] = 0;
      }
    }
  }
  if (mine && piece.filled()) write_pack<A, PACK>(head + D, sum);  // 0 again: it went to the head
}

// ---- sparse: one row of values for each entry, none added up ------------------------------------

// torch's form, in the order of the positions. One thread for each of the n * D values. An entry
// with a negative source has zeros.
// Reads n (k + a) + n D w (of B D w different ones), writes n D w. Deterministic.
template <class T, class A, class K>
__global__ void entry_values(const T* grad_output, const K* sources, const A* shares, T* values,
                             long long n, int D) {
  long long element = thread_number();
  if (element >= n * D) return;
  long long entry = element / D, source = sources[entry];
  A value = source < 0 ? A(0) : shares[entry] * A(grad_output[source * D + element % D]);
  values[element] = T(value);
}

// The same in packs: a team for each entry, as in version 7. A division of 64 bits costs a GPU some
// 100 instructions; here there is none, and a quarter or an eighth of the threads.
template <class T, class A, class K, int PACK>
__global__ void entry_packs(const T* grad_output, const K* sources, const A* shares, T* values,
                            long long n, int D, int team) {
  long long entry = (long long)blockIdx.x * (blockDim.x / team) + threadIdx.x / team;
  int d = (blockIdx.y * team + threadIdx.x % team) * PACK;
  if (entry >= n || d >= D) return;
  long long source = sources[entry];
  Pack<T, PACK> row;
  if (source >= 0) row = *(const Pack<T, PACK>*)&grad_output[source * D + d];
  A value[PACK], share = shares[entry];
#pragma unroll
  for (int k = 0; k < PACK; k++) value[k] = source < 0 ? A(0) : share * A(row.element[k]);
  write_pack<T, PACK>(&values[entry * D + d], value);
}
