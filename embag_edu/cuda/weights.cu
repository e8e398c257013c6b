// weights.cu: the gradient of per_sample_weights (mode sum only; chapter 11).
// run a version: python -m embag_edu.cuda weights dot_packs
//
// Position i of bag b holds row r: grad[i] = the dot product of grad_output[b] and weight[r].
// Positions of padding get 0.
//
//   version          a warp takes   reads                       writes   fixes
//   1 dot_elements   a position     N (2 D w + i + k)           N w
//   2 dot_packs      a position     the same, in packs of up    N w      few bytes for each read
//                                   to 16 bytes
//
// Letters: N positions, D features, w bytes of a number, i of an index, k of a bag's number.
// Both are deterministic: the lanes' sums are added in a tree of fixed shape.
//
// instances: dot_elements<float, float, int>, dot_elements<float, float, long long>
// instances: dot_elements<double, double, long long>, dot_elements<__half, float, int>
// instances: dot_packs<float, float, int, 4>, dot_packs<float, float, long long, 4>
// instances: dot_packs<float, float, int, 1>, dot_packs<double, double, long long, 2>
// instances: dot_packs<__half, float, int, 8>, dot_packs<__nv_bfloat16, float, int, 8>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

// The sum of what the 32 lanes hold, in each lane: after 5 exchanges everybody has met everybody.
template <class A>
__device__ A sum_of_lanes(A value) {
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(ALL, value, apart);
  return value;
}

template <class T, class A, class I>
__global__ void dot_elements(const T* grad_output, const T* weight, const I* indices,
                             const I* bags, T* grad, long long N, int D, long long padding_idx) {
  long long position = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (position >= N) return;
  long long row = indices[position], bag = bags[position];
  A sum = 0;
  for (int d = lane; d < D && row != padding_idx; d += 32) {
    sum += A(grad_output[bag * D + d]) * A(weight[row * D + d]);
  }
  sum = sum_of_lanes(sum);
  if (lane == 0) grad[position] = T(sum);
}

template <class T, class A, class I, int PACK>
__global__ void dot_packs(const T* grad_output, const T* weight, const I* indices, const I* bags,
                          T* grad, long long N, int D, long long padding_idx) {
  long long position = thread_number() / 32;
  int lane = threadIdx.x % 32;
  if (position >= N) return;
  long long row = indices[position], bag = bags[position];
  A sum = 0;
  for (int d = lane * PACK; d < D && row != padding_idx; d += 32 * PACK) {
    Pack<T, PACK> upstream = *(const Pack<T, PACK>*)&grad_output[bag * D + d];
    Pack<T, PACK> values = *(const Pack<T, PACK>*)&weight[row * D + d];
#pragma unroll
    for (int k = 0; k < PACK; k++) sum += A(upstream.element[k]) * A(values.element[k]);
  }
  sum = sum_of_lanes(sum);
  if (lane == 0) grad[position] = T(sum);
}
