// renorm.cu: max_norm. Every row that occurs and is longer than max_norm is scaled in place, once.
// run a version: python -m embag_edu.cuda renorm renorm
//
//   V rows, D features, N positions, U different rows among them, w bytes in an element.
//   A warp for each position. Which warp may scale a row that occurs many times? The first to come:
//   it claims the row by setting its bit in `claimed`, V bits that begin as zeros. All later ones
//   find the bit set, and leave. So no row is scaled twice, and no two warps write one row.
//   Sets V / 8 bytes to zero, does N atomics on them, reads U D w bytes of rows twice, the second
//   time from the cache, and writes at most U D w.
//   Deterministic, though it is not known which warp claims a row: each would do the same.
//
// The formula, for every norm_type p:
//   norm  = (sum of |x|^p)^(1/p) in double, rounded to T.  p = 0: how many x are not 0.
//           p = inf: the largest |x|; p = -inf: the smallest. NaN if any x is, or p.
//           Where the powers leave the range of double, in units of the largest (smallest) |x|.
//   scale = max_norm / (norm + 1e-7) in double, rounded to T.  x = x * scale, rounded to T.
// A lane adds up its features in order; then neighbors at distance 16, 8, 4, 2, 1 add theirs. That
// is done in double, so that norm is the same number, to the last bit of a float, as in any order.
//
// instances: renorm<float, long long>, renorm<double, int>, renorm<__half, int>
// instances: renorm<__nv_bfloat16, long long>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

// What one |x| gives to the norm, and how two such numbers are joined.
__device__ inline double share_of(double size, double p) {
  if (p == 0) return size != 0;
  if (isinf(p)) return size;
  return p == 2 ? size * size : p == 1 ? size : pow(size, p);
}
__device__ inline double joined(double a, double b, double p) {
  if (isinf(p)) return p > 0 ? fmax(a, b) : fmin(a, b);
  return a + b;
}

// The norm of a row / unit, known to all 32 lanes. NaN is looked for apart: fmax, pow can lose it.
template <typename T> __device__ double norm_of(const T* row, int D, double p, double unit) {
  typedef typename Wide<T>::Type A;
  double norm = isinf(p) && p < 0 ? -p : 0.0;  // what changes nothing when joined
  bool has_nan = isnan(p);
  for (int d = threadIdx.x % 32; d < D; d += 32) {
    double size = fabs(double(A(row[d]))) / unit;
    has_nan = has_nan || isnan(size);
    norm = joined(norm, share_of(size, p), p);
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    norm = joined(norm, __shfl_xor_sync(0xffffffffu, norm, distance), p);
  }
  if (__any_sync(0xffffffffu, has_nan)) return nan("");
  if (p == 0 || p == 1 || isinf(p)) return norm;
  return p == 2 ? sqrt(norm) : pow(norm, 1 / p);
}

// The norm, also where |x|^p is too large or too small for a double.
template <typename T> __device__ double norm_in_range(const T* row, int D, double p) {
  double norm = norm_of(row, D, p, 1);
  if (p == 0 || isinf(p) || (norm != 0 && !isinf(norm))) return norm;
  double top = norm_of(row, D, p / 0.0, 1);  // p = inf or -inf
  return top > 0 && !isinf(top) ? top * norm_of(row, D, p, top) : norm;
}

template <typename T, typename I>
__global__ void renorm(T* weight, const I* indices, unsigned* claimed, long long N, int D,
                       double max_norm, double norm_type) {
  typedef typename Wide<T>::Type A;
  long long position = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (position >= N) return;
  int lane = threadIdx.x % 32;
  long long index = indices[position];
  if (index < 0) return;  // stands for a bad one, of which the host will hear
  unsigned bit = 1u << (index % 32), before = 0;
  if (lane == 0) before = atomicOr(&claimed[index / 32], bit);
  before = __shfl_sync(0xffffffffu, before, 0);
  if (before & bit) return;  // another position holds the same row, and came first
  T* row = weight + index * D;
  double norm = double(A(T(norm_in_range(row, D, norm_type))));
  if (!(norm > max_norm)) return;  // NaN is not larger
  A scale = A(T(max_norm / (norm + 1e-7)));
  for (int d = lane; d < D; d += 32) row[d] = T(A(row[d]) * scale);
}
