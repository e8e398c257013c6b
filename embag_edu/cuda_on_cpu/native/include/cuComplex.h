// cuComplex.h: a complex number is a float2 or a double2.
#pragma once
#ifdef CUDA_ON_CPU_TRANSLATE_CUCOMPLEX
#include "cupy/cuComplex_bridge.h"
#else
#pragma GCC system_header
#define CUDA_ON_CPU_CUCOMPLEX(C, T, F)                                                              \
  CUDA_ON_CPU_HERE inline T cuCreal##F(C x) { return x.x; }                                         \
  CUDA_ON_CPU_HERE inline T cuCimag##F(C x) { return x.y; }                                         \
  CUDA_ON_CPU_HERE inline C cuConj##F(C x) { return {x.x, -x.y}; }                                  \
  CUDA_ON_CPU_HERE inline C cuCadd##F(C x, C y) { return {x.x + y.x, x.y + y.y}; }                  \
  CUDA_ON_CPU_HERE inline C cuCsub##F(C x, C y) { return {x.x - y.x, x.y - y.y}; }                  \
  CUDA_ON_CPU_HERE inline C cuCmul##F(C x, C y) { return {x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x}; } \
  CUDA_ON_CPU_HERE inline C cuCfma##F(C x, C y, C d) { return {x.x * y.x + d.x - x.y * y.y, x.x * y.y + d.y + x.y * y.x}; } \
  CUDA_ON_CPU_HERE inline C cuCdiv##F(C x, C y) {  /* scaled, so that squares stay finite */        \
    T scale = T(1) / (fabs(y.x) + fabs(y.y)), a = x.x * scale, b = x.y * scale, c = y.x * scale, d = y.y * scale; \
    scale = T(1) / (c * c + d * d);                                                                \
    return {(a * c + b * d) * scale, (b * c - a * d) * scale};                                     \
  }                                                                                                \
  CUDA_ON_CPU_HERE inline T cuCabs##F(C x) { return hypot(x.x, x.y); }
typedef float2 cuFloatComplex;
typedef double2 cuDoubleComplex;
typedef cuFloatComplex cuComplex;
CUDA_ON_CPU_CUCOMPLEX(cuFloatComplex, float, f)
CUDA_ON_CPU_CUCOMPLEX(cuDoubleComplex, double, )
inline cuFloatComplex make_cuFloatComplex(float re, float im) { return {re, im}; }
inline cuFloatComplex make_cuComplex(float re, float im) { return {re, im}; }
inline cuDoubleComplex make_cuDoubleComplex(double re, double im) { return {re, im}; }
inline cuFloatComplex cuComplexDoubleToFloat(cuDoubleComplex x) { return {(float)x.x, (float)x.y}; }
inline cuDoubleComplex cuComplexFloatToDouble(cuFloatComplex x) { return {x.x, x.y}; }
#endif
