// fused.cu: the backward by sorting (segments.cu, chapter 11) with an optimizer as its last lines.
//
// Where segments.cu writes the sum of a row to grad_weight, these kernels update the row. No
// gradient of size (V, D) is written or read, nor zeros for it. A run of equal keys has one owner
// at its end, so each touched row is updated once, and by all of its entries: exact, deterministic.
//
//   version          a warp takes    its trouble
//   1 fused_runs     a run           the longest run; with ROW_WISE, reads each entry twice
//   2 fused_pieces   32 / team       with ROW_WISE, a row must fit into a team's registers
//                    pieces
//
// Letters: n entries, U runs, D features. T: of grad_output and weight; A: of sums and states.
//
// instances: fused_runs<SGD, float, float, int>, fused_runs<ROW_WISE, double, double, long long>
// instances: fused_pieces<SGD, 1, 4, float, float, float, int>
// instances: fused_pieces<ADAGRAD, 1, 4, float, float, float, int>
// instances: fused_pieces<ROW_WISE, 1, 4, float, float, float, int>
// instances: fused_pieces<ROW_WISE, 4, 4, float, float, float, int>
// instances: fused_pieces<ADAM, 1, 4, float, float, float, int>
// instances: fused_pieces<ADAM, 1, 2, double, double, double, long long>
// instances: fused_pieces<ROW_WISE, 1, 8, __half, __half, float, int>
#include "segments.cu"

#include "fused_update.cuh"

// ---- 1: one warp for each run -------------------------------------------------------------------

// Entry by entry, in order: element d of the run's gradient, with the weight decay.
template <class T, class A, class K>
__device__ A gradient_of(const T* grad_output, const K* sources, const A* shares, long long begin,
                         long long end, int d, int D, A decay, T w) {
  A sum = 0;
  for (long long i = begin; i < end; i++) {
    long long source = sources[i];
    sum += shares[i] * A(grad_output[source * D + d]);
  }
  return decay != 0 ? sum + decay * A(w) : sum;
}

// starts (U + 1,): where each run begins, and n.
template <int OPTIMIZER, class T, class A, class K>
__global__ void fused_runs(const T* grad_output, const K* keys, const K* sources, const A* shares,
                           const long long* starts, T* weight, A* first, A* second, long long U,
                           int D, double lr, double decay, double eps, double beta1,
                           double beta2) {
  Step<A> step = {A(lr), A(decay), A(eps), A(1 - beta1), A(1 - beta2)};
  long long run = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (run >= U) return;
  long long begin = starts[run], end = starts[run + 1], row = keys[begin];
  A squares = 0, scale = 0, none = 0;
  for (int d = lane; OPTIMIZER == ROW_WISE && d < D; d += 32) {
    T w = weight[row * D + d];
    A g = gradient_of(grad_output, sources, shares, begin, end, d, D, step.decay, w);
    squares += g * g;
  }
  if (OPTIMIZER == ROW_WISE) scale = scale_of_row(first + row, squares, D, 32, step);
  for (int d = lane; d < D; d += 32) {
    long long at = row * D + d;
    T w = weight[at];
    A g = gradient_of(grad_output, sources, shares, begin, end, d, D, step.decay, w);
    A* one = OPTIMIZER == ADAGRAD || OPTIMIZER == ADAM ? first + at : &none;
    A* two = OPTIMIZER == ADAM ? second + at : &none;
    weight[at] = T(updated<OPTIMIZER, A>(A(w), g, one, two, scale, step));
  }
}

// ---- 2: pieces, as version 7 of segments.cu -----------------------------------------------------

// A run that is cut leaves partial sums, and is joined by the next launch, whose entries they are
// (again). A lane has PARTS packs of each row: one, but for ROW_WISE, whose rows stay in one team.
// For its one part the compiler would take 63 registers, and spill; told that 3 blocks are enough, it
// takes more. (0: it may choose.)
template <int OPTIMIZER, int PARTS, int PACK, class S, class T, class A, class K>
__global__ void __launch_bounds__(256, OPTIMIZER == ROW_WISE && PARTS == 1 ? 3 : 0)
fused_pieces(const S* grad_output, const K* keys, const K* sources, const A* shares, T* weight,
             A* first, A* second, A* partial, K* partial_keys, long long n, int D, int team,
             bool again, double lr, double decay, double eps, double beta1, double beta2) {
  const int FLIGHT = PARTS == 1 ? 4 : 1;
  Step<A> step = {A(lr), A(decay), A(eps), A(1 - beta1), A(1 - beta2)};
  Piece<K> piece(keys, thread_number() / team, n);
  int lane = threadIdx.x % team, stride = team * PACK;
  int d = blockIdx.y * PARTS * stride + lane * PACK;
  if (d == 0 && piece.begin < n) piece.write_keys(keys, partial_keys);
  A sum[PARTS][PACK] = {};
  for (int begin = 0; begin < PIECE; begin += team) {
    long long i = piece.begin + begin + lane;
    K key = i < piece.end ? keys[i] : K(-1);
    K target = i < piece.end ? target_of(piece, keys, i, key) : K(-1);
    K source = key < 0 ? K(-1) : again ? K(i) : sources[i];
    A share = key < 0 || again ? A(1) : shares[i];
    for (int j = 0; j < team; j += FLIGHT) {
      Pack<S, PACK> rows[FLIGHT][PARTS];
#pragma unroll
      for (int u = 0; u < FLIGHT; u++) {
        long long from = __shfl_sync(ALL, source, j + u, team);
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
          int at = d + p * stride;
          if (from >= 0 && at < D) rows[u][p] = *(const Pack<S, PACK>*)&grad_output[from * D + at];
        }
      }
#pragma unroll
      for (int u = 0; u < FLIGHT; u++) {
        bool there = __shfl_sync(ALL, source, j + u, team) >= 0;
        A factor = __shfl_sync(ALL, share, j + u, team);
        K to = __shfl_sync(ALL, target, j + u, team);
        if (!there) continue;
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
          if (d + p * stride >= D) continue;
#pragma unroll
          for (int k = 0; k < PACK; k++) sum[p][k] += factor * A(rows[u][p].element[k]);
        }
        if (to == -1) continue;
        if (to >= 0) {
          update_row<OPTIMIZER, PARTS, PACK>(weight, first, second, (long long)to, d, stride, D,
                                             team, sum, step);
        }
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
          int at = d + p * stride;
          // (Chosen by ? :, the address would make four stores of 4 bytes of this one.)
          A* cut = partial + (2 * piece.number + (to == -3)) * D + at;
          if (to < 0 && at < D) write_pack<A, PACK>(cut, sum[p]);
#pragma unroll
          for (int k = 0; k < PACK; k++) sum[p][k] = 0;
        }
      }
    }
  }
#pragma unroll
  for (int p = 0; p < PARTS; p++) {
    int at = d + p * stride;  // the tail of a filled piece: 0, for the sum went to the head
    A* tail = partial + (2 * piece.number + 1) * D + at;
    if (piece.begin < n && piece.filled() && at < D) write_pack<A, PACK>(tail, sum[p]);
  }
}
