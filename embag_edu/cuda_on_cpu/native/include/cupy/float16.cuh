// CuPy's float16: a __half that is a float whenever one computes with it.
#pragma once
#include "../cuda_fp16.h"
#pragma GCC system_header
#include "carray.cuh"
class float16 {
  __half data_;

 public:
  float16() = default;
  float16(float v) : data_(v) {}
  template <class T, class = decltype(float(T()))> explicit float16(const T& v) : data_(float(v)) {}
  template <class T> float16& operator=(const T& v) { return *this = float16(float(v)); }
  operator float() const { return __half2float(data_); }
  template <class T> float16& operator+=(const T& v) { return *this = *this + v; }
  template <class T> float16& operator-=(const T& v) { return *this = *this - v; }
  template <class T> float16& operator*=(const T& v) { return *this = *this * v; }
  template <class T> float16& operator/=(const T& v) { return *this = *this / v; }
  unsigned short to_bits() const { return __half_as_ushort(data_); }
  static float16 from_bits(unsigned short v) { return float16(__ushort_as_half(v)); }
};
inline float16 min(float16 x, float16 y) { return fminf(x, y); }
inline float16 max(float16 x, float16 y) { return fmaxf(x, y); }
inline int isnan(float16 x) { return isnan((float)x); }
inline int isinf(float16 x) { return isinf((float)x); }
inline int isfinite(float16 x) { return isfinite((float)x); }
namespace cuda_on_cpu {
CUDA_ON_CPU_TYPE(float16, "float16")
}  // namespace cuda_on_cpu
