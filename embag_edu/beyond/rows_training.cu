// rows_training.cu: a step of SGD in a table of 16 bits, rounded by chance. A thread a number.
//
// The chance of a number depends on (seed, step, element) alone: Philox 4x32-10, of whose four
// results one is used. All threads compute, none shares a state; any order gives the same bits.
// __fmul_rn and __fsub_rn: the compiler is not to join them to an fma, which would round otherwise
// than NumPy.
//
// instances: round_numbers<__half>, round_numbers<__nv_bfloat16>
// instances: sgd_step<__half>, sgd_step<__nv_bfloat16>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

typedef unsigned long long Counter;

__device__ unsigned random_bits(Counter element, Counter seed, Counter step) {
  unsigned a = element, b = element >> 32, c = step, d = step >> 32;
  unsigned one = seed, two = seed >> 32;
  for (int round = 0; round < 10; round++) {
    unsigned high_a = __umulhi(0xD2511F53u, a), low_a = 0xD2511F53u * a;
    unsigned high_c = __umulhi(0xCD9E8D57u, c), low_c = 0xCD9E8D57u * c;
    a = high_c ^ b ^ one;
    b = low_c;
    c = high_a ^ d ^ two;
    d = low_a;
    one += 0x9E3779B9u;
    two += 0xBB67AE85u;
  }
  return a;
}

// Bits of fraction, and the exponent of the least number that has them all.
template <class T> struct Kind;
template <> struct Kind<__half> { enum { DIGITS = 10, LEAST = -14 }; };
template <> struct Kind<__nv_bfloat16> { enum { DIGITS = 7, LEAST = -126 }; };

// Scaled so that a step of T is 1. What is cut off is exact, also below LEAST.
template <class T> __device__ T rounded(float number, unsigned bits) {
  if (!isfinite(number)) return T(number);
  int exponent;
  frexpf(number, &exponent);  // number = +-0.5 ... 1 times 2^exponent
  if (number == 0.0f || exponent - 1 < Kind<T>::LEAST) exponent = Kind<T>::LEAST + 1;
  exponent -= 1 + Kind<T>::DIGITS;
  float size = ldexpf(fabsf(number), -exponent), whole = floorf(size);
  if (double(bits) < double(size - whole) * 4294967296.0) whole += 1.0f;
  return T(copysignf(ldexpf(whole, exponent), number));
}

template <class T>
__global__ void round_numbers(const float* numbers, const long long* elements, T* result,
                              long long n, Counter seed, Counter step) {
  long long i = thread_number();
  if (i < n) result[i] = rounded<T>(numbers[i], random_bits(elements[i], seed, step));
}

// weight[rows] -= lr * gradient; rows (U,), each once; gradient (U, D).
template <class T>
__global__ void sgd_step(T* weight, const long long* rows, const float* gradient, long long U,
                         int D, float lr, Counter seed, Counter step) {
  long long i = thread_number();
  if (i >= U * D) return;
  long long element = rows[i / D] * D + i % D;
  float moved = __fsub_rn(float(weight[element]), __fmul_rn(lr, gradient[i]));
  weight[element] = rounded<T>(moved, random_bits(element, seed, step));
}
