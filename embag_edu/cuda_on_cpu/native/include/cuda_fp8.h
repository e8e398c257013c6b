// cuda_fp8.h: numbers of 8 bits. E4M3 has no infinity and one NaN (0x7f, 0xff), E5M2 is the upper half of
// an fp16. Conversions are exact: to 8 bits a number is rounded once, to the nearest, ties to even.
#pragma once
#pragma GCC system_header
#include "cuda_fp16.h"
#include "cuda_bf16.h"
typedef unsigned char __nv_fp8_storage_t;
typedef unsigned short __nv_fp8x2_storage_t;
typedef unsigned __nv_fp8x4_storage_t;
enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };

inline __nv_fp8_storage_t __nv_cvt_double_to_fp8(double x, __nv_saturation_t saturate, __nv_fp8_interpretation_t kind) {
  const int digits = kind == __NV_E4M3 ? 3 : 2, lowest = kind == __NV_E4M3 ? -6 : -14;
  const unsigned most = kind == __NV_E4M3 ? 0x7e : 0x7b, beyond = kind == __NV_E4M3 ? 0x7f : 0x7c;
  const unsigned long long bits = cuda_on_cpu::same_bits<unsigned long long>(x);
  const unsigned sign = (unsigned)(bits >> 63) << 7;
  if (x != x) return (__nv_fp8_storage_t)(sign | (kind == __NV_E4M3 ? 0x7f : 0x7e | (unsigned)(bits >> 50 & 3)));
  const double size = __builtin_fabs(x);
  if (__builtin_isinf(size)) return (__nv_fp8_storage_t)(sign | (saturate == __NV_SATFINITE ? most : beyond));
  int e = (int)(bits >> 52 & 2047) - 1023;
  if (e < lowest) e = lowest;  // subnormal: a fixed spacing
  const double steps = __builtin_nearbyint(__builtin_ldexp(size, digits - e));
  const double code = steps + __builtin_ldexp((double)(e - lowest), digits);
  if (code > most) return (__nv_fp8_storage_t)(sign | (saturate == __NV_SATFINITE ? most : beyond));
  return (__nv_fp8_storage_t)(sign | (unsigned)code);
}
inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t saturate, __nv_fp8_interpretation_t kind) {
  return x != x ? 0x7f : __nv_cvt_double_to_fp8(x, saturate, kind);
}
inline __nv_fp8_storage_t __nv_cvt_halfraw_to_fp8(__half_raw x, __nv_saturation_t saturate, __nv_fp8_interpretation_t kind) {
  return __nv_cvt_float_to_fp8((float)__half(x), saturate, kind);
}
inline __nv_fp8_storage_t __nv_cvt_bfloat16raw_to_fp8(__nv_bfloat16_raw x, __nv_saturation_t saturate, __nv_fp8_interpretation_t kind) {
  return __nv_cvt_float_to_fp8((float)__nv_bfloat16(x), saturate, kind);
}
inline __half_raw __nv_cvt_fp8_to_halfraw(__nv_fp8_storage_t x, __nv_fp8_interpretation_t kind) {
  if ((x & 0x7f) > (kind == __NV_E4M3 ? 0x7e : 0x7c)) return {0x7fff};
  if (kind == __NV_E5M2) return {(unsigned short)(x << 8)};
  const int e = x >> 3 & 15, m = x & 7;
  const double value = e ? __builtin_ldexp(8.0 + m, e - 10) : __builtin_ldexp((double)m, -9);
  return {(unsigned short)(__half(value).bits | (x & 0x80) << 8)};
}
inline __nv_fp8x2_storage_t __nv_cvt_double2_to_fp8x2(double2 x, __nv_saturation_t s, __nv_fp8_interpretation_t k) { return (__nv_fp8x2_storage_t)(__nv_cvt_double_to_fp8(x.y, s, k) << 8 | __nv_cvt_double_to_fp8(x.x, s, k)); }
inline __nv_fp8x2_storage_t __nv_cvt_float2_to_fp8x2(float2 x, __nv_saturation_t s, __nv_fp8_interpretation_t k) { return (__nv_fp8x2_storage_t)(__nv_cvt_float_to_fp8(x.y, s, k) << 8 | __nv_cvt_float_to_fp8(x.x, s, k)); }

#define CUDA_ON_CPU_FP8(NAME, KIND)                                                                 \
  struct __nv_fp8_##NAME {                                                                          \
    __nv_fp8_storage_t __x;                                                                         \
    __nv_fp8_##NAME() = default;                                                                    \
    explicit __nv_fp8_##NAME(float x) : __x(__nv_cvt_float_to_fp8(x, __NV_SATFINITE, KIND)) {}      \
    explicit __nv_fp8_##NAME(double x) : __x(__nv_cvt_double_to_fp8(x, __NV_SATFINITE, KIND)) {}    \
    explicit __nv_fp8_##NAME(__half x) : __nv_fp8_##NAME((float)x) {}                               \
    explicit __nv_fp8_##NAME(__nv_bfloat16 x) : __nv_fp8_##NAME((float)x) {}                        \
    explicit __nv_fp8_##NAME(int x) : __nv_fp8_##NAME((float)x) {}                                  \
    explicit __nv_fp8_##NAME(unsigned x) : __nv_fp8_##NAME((float)x) {}                             \
    explicit __nv_fp8_##NAME(long long x) : __nv_fp8_##NAME((float)x) {}                            \
    explicit operator __half() const { return __half(__nv_cvt_fp8_to_halfraw(__x, KIND)); }         \
    explicit operator float() const { return (float)(__half)*this; }                                \
    explicit operator double() const { return (float)*this; }                                       \
    explicit operator __nv_bfloat16() const { return __nv_bfloat16((float)*this); }                 \
    explicit operator bool() const { return (__x & 0x7f) != 0; }                                    \
  };                                                                                                \
  struct alignas(2) __nv_fp8x2_##NAME {                                                             \
    __nv_fp8x2_storage_t __x;                                                                       \
    __nv_fp8x2_##NAME() = default;                                                                  \
    explicit __nv_fp8x2_##NAME(float2 x) : __x(__nv_cvt_float2_to_fp8x2(x, __NV_SATFINITE, KIND)) {} \
    explicit __nv_fp8x2_##NAME(__half2 x) : __nv_fp8x2_##NAME(make_float2((float)x.x, (float)x.y)) {} \
    explicit operator __half2() const { return __half2(__nv_cvt_fp8_to_halfraw(__x & 255, KIND), __nv_cvt_fp8_to_halfraw(__x >> 8, KIND)); } \
    explicit operator float2() const { __half2 h = (__half2)*this; return make_float2((float)h.x, (float)h.y); } \
  };                                                                                                \
  struct alignas(4) __nv_fp8x4_##NAME {                                                             \
    __nv_fp8x4_storage_t __x;                                                                       \
    __nv_fp8x4_##NAME() = default;                                                                  \
    explicit __nv_fp8x4_##NAME(float4 x)                                                            \
        : __x((unsigned)__nv_cvt_float2_to_fp8x2(make_float2(x.z, x.w), __NV_SATFINITE, KIND) << 16 | __nv_cvt_float2_to_fp8x2(make_float2(x.x, x.y), __NV_SATFINITE, KIND)) {} \
    explicit __nv_fp8x4_##NAME(__half2 a, __half2 b) : __nv_fp8x4_##NAME(make_float4((float)a.x, (float)a.y, (float)b.x, (float)b.y)) {} \
    explicit __nv_fp8x4_##NAME(__nv_bfloat162 a, __nv_bfloat162 b) : __nv_fp8x4_##NAME(make_float4((float)a.x, (float)a.y, (float)b.x, (float)b.y)) {} \
    explicit operator float4() const {                                                              \
      float f[4];                                                                                   \
      for (int i = 0; i < 4; i++) f[i] = (float)__half(__nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)(__x >> 8 * i), KIND)); \
      return make_float4(f[0], f[1], f[2], f[3]);                                                   \
    }                                                                                               \
  };
CUDA_ON_CPU_FP8(e4m3, __NV_E4M3) CUDA_ON_CPU_FP8(e5m2, __NV_E5M2)
inline __half2_raw __nv_cvt_fp8x2_to_halfraw2(__nv_fp8x2_storage_t x, __nv_fp8_interpretation_t kind) {
  return {__nv_cvt_fp8_to_halfraw(x & 255, kind).x, __nv_cvt_fp8_to_halfraw(x >> 8, kind).x};
}
namespace cuda_on_cpu {  // an array of them is passed as one of bytes
CUDA_ON_CPU_TYPE(__nv_fp8_e4m3, "uint8") CUDA_ON_CPU_TYPE(__nv_fp8_e5m2, "uint8")
CUDA_ON_CPU_TYPE(__nv_fp8x2_e4m3, "uint8/2") CUDA_ON_CPU_TYPE(__nv_fp8x2_e5m2, "uint8/2")
CUDA_ON_CPU_TYPE(__nv_fp8x4_e4m3, "uint8/4") CUDA_ON_CPU_TYPE(__nv_fp8x4_e5m2, "uint8/4")
}
