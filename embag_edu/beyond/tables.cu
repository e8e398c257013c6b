// tables.cu: many tables in one launch. Kernels of chapters 08 to 11 with other first lines (which
// table, where does it begin) and other last lines (which columns of the output).
//
//   kernel            parallel over             reads                      writes
//   tables_output     teams (feature, bag,      N (D w + i), offsets,      B W w
//                     tile)                     facts
//   tables_entries    threads (position)        N i, offsets, facts        N (2 k + a)
//   tables_dots       warps (position)          N (2 D w + i), ...         N w
//
// `facts` (F, 8) has what a feature must know of its table, 64 bytes each:
//   0 first: the element of `flat` where it begins   1 D   2 column: where the feature begins in a
//   row of the output   3 mean: 1 or 0   4 base: the global row of its row 0
//   5 peers: the features of this width   6 rank: which of them this is
// All are 64-bit numbers: first + row * D leaves 32 bits in a table of 8 GB.
//
// The gradient has no kernel of its own. With global rows as keys, the entries of all tables are one
// list; it is sorted once, and segments.cu and fused.cu sum its runs, as if there were one table.
//
// Letters: F features, B bags of each, N positions, W numbers of an output row, D features of a row;
// w, i, k, a bytes of a number, an index, a key, a sum. Deterministic, as what they are made of; a
// bag is summed in its order by one team, so a bag longer than all others is waited for.
//
// instances: tables_output<float, long long, SUM, 4, 4>, tables_output<float, int, WEIGHTED, 1, 8>
// instances: tables_output<__half, long long, SUM, 8, 16>
// instances: tables_output<double, long long, WEIGHTED, 2, 32>
// instances: tables_entries<float, float, long long, int>
// instances: tables_entries<double, double, int, long long>
// instances: tables_dots<float, float, long long, 4>, tables_dots<double, double, int, 2>
#include "forward.cu"

enum { FIRST, WIDTH, COLUMN, IS_MEAN, BASE, PEERS, RANK, FACTS = 8 };

// ---- The forward: a team for each (feature, bag), and each tile of the widest row ---------------

template <typename T, typename I, int KIND, int PACK, int LANES>
__global__ void __launch_bounds__(RINGS, 7)
tables_output(const T* flat, const I* values, const long long* offsets, const T* weights,
              const long long* facts, T* output, long long F, long long B, long long W,
              int widest) {
  __shared__ Rings<KIND, false, LANES, T, PACK> rows;
  int tiles = Team<LANES>::tiles(widest, PACK), tile = Team<LANES>::number() % tiles;
  long long bag = Team<LANES>::number() / tiles, feature = bag / B;
  if (bag >= F * B) return;
  const long long* fact = facts + feature * FACTS;
  int D = fact[WIDTH], d = (tile * LANES + Team<LANES>::lane()) * PACK;
  if (tile * LANES * PACK >= D) return;  // a narrower table: nothing to do for the whole team
  typename Wide<T>::Type sum[PACK] = {};
  long long kept = rows.add(sum, flat + fact[FIRST], values, weights, offsets[bag],
                            offsets[bag + 1], d, D, I(0));
  for (int k = 0; fact[IS_MEAN] && k < PACK; k++) sum[k] /= kept > 0 ? kept : 1;
  T* place = output + bag % B * W + fact[COLUMN];
  write_bag<SUM>(sum, kept, place, (long long*)nullptr, 0, d, D);
}

// ---- The backward: what each position hands on, and to which global row -------------------------

// The last bag that begins at or before a position.
__device__ long long bag_of_position(const long long* offsets, long long bags, long long i) {
  long long low = 0, high = bags;
  while (high - low > 1) {
    long long middle = (low + high) / 2;
    (offsets[middle] <= i ? low : high) = middle;
  }
  return low;
}

// keys: global rows. sources: rows of grad_output, where features of one width lie side by side:
// number `rank` of the `peers` in row b of (B, peers, D). shares: what multiplies them.
template <typename T, typename A, typename I, typename K>
__global__ void tables_entries(const I* values, const long long* offsets, const T* weights,
                               const long long* facts, K* keys, K* sources, A* shares,
                               long long N, long long F, long long B, bool weighted) {
  long long i = thread_number();
  if (i >= N) return;
  long long bag = bag_of_position(offsets, F * B, i);
  const long long* fact = facts + bag / B * FACTS;
  A share = weighted ? A(weights[i]) : A(1);
  if (fact[IS_MEAN]) share /= A(offsets[bag + 1] - offsets[bag]);
  keys[i] = K(fact[BASE] + values[i]);
  sources[i] = K(bag % B * fact[PEERS] + fact[RANK]);
  shares[i] = share;
}

// ---- The gradient of the weights: the row, dotted with the upstream gradient of its bag ---------

template <typename T, typename A, typename I, int PACK>
__global__ void tables_dots(const T* flat, const I* values, const long long* offsets,
                            const T* grad_output, const long long* facts, T* grad, long long N,
                            long long F, long long B, long long W) {
  long long i = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (i >= N) return;
  long long bag = bag_of_position(offsets, F * B, i);
  const long long* fact = facts + bag / B * FACTS;
  const T* row = flat + fact[FIRST] + values[i] * fact[WIDTH];
  const T* upstream = grad_output + bag % B * W + fact[COLUMN];
  A sum = 0;
  for (int d = lane * PACK; d < fact[WIDTH]; d += 32 * PACK) {
    Pack<T, PACK> one = *(const Pack<T, PACK>*)(row + d);
    Pack<T, PACK> other = *(const Pack<T, PACK>*)(upstream + d);
#pragma unroll
    for (int k = 0; k < PACK; k++) sum += A(one.element[k]) * A(other.element[k]);
  }
  for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(ALL, sum, apart);
  if (lane == 0) grad[i] = T(sum);
}
