// __nv_bfloat16 and __nv_bfloat162: 1 sign bit, 8 bits of exponent, 7 bits of fraction.
#pragma once
#include "cuda_on_cpu_float16.h"

struct __nv_bfloat16 : cuda_on_cpu::Float16<__nv_bfloat16, cuda_on_cpu::Bf16> {
  constexpr __nv_bfloat16() : Float16() {}
  using Float16::Float16;
};
struct __nv_bfloat162 : cuda_on_cpu::Float16x2<__nv_bfloat162, __nv_bfloat16> {
  constexpr __nv_bfloat162() : Float16x2() {}
  using Float16x2::Float16x2;
};
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;
CUDA_ON_CPU_NAMES(bfloat16, __nv_bfloat16, __nv_bfloat162)
namespace cuda_on_cpu {
CUDA_ON_CPU_TYPE(__nv_bfloat162, "bfloat16/2")  // an array of bfloat16, two by two
}
