// __half and __half2: 1 sign bit, 5 bits of exponent, 10 bits of fraction.
#pragma once
#include "cuda_on_cpu_float16.h"

struct __half : cuda_on_cpu::Float16<__half, cuda_on_cpu::Fp16> {
  constexpr __half() : Float16() {}
  using Float16::Float16;
};
struct __half2 : cuda_on_cpu::Float16x2<__half2, __half> {
  constexpr __half2() : Float16x2() {}
  using Float16x2::Float16x2;
};
typedef __half half;
typedef __half2 half2;
CUDA_ON_CPU_NAMES(half, __half, __half2)
namespace cuda_on_cpu {
CUDA_ON_CPU_TYPE(__half2, "float16/2")  // an array of float16, two by two
}
