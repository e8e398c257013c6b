// What RawModule(translate_cucomplex=True) makes of the names of cuComplex.h: those of complex.cuh.
#pragma once
#pragma GCC system_header
#include "complex.cuh"
typedef complex<float> cuFloatComplex, cuComplex;
typedef complex<double> cuDoubleComplex;
#define make_cuFloatComplex(re, im) cuFloatComplex(re, im)
#define make_cuComplex(re, im) cuFloatComplex(re, im)
#define make_cuDoubleComplex(re, im) cuDoubleComplex(re, im)
#define cuComplexDoubleToFloat cuFloatComplex
#define cuComplexFloatToDouble cuDoubleComplex
#define cuCrealf real
#define cuCimagf imag
#define cuConjf conj
#define cuCabsf abs
#define cuCaddf(a, b) ((a) + (b))
#define cuCsubf(a, b) ((a) - (b))
#define cuCmulf(a, b) ((a) * (b))
#define cuCdivf(a, b) ((a) / (b))
#define cuCfmaf(a, b, c) ((a) * (b) + (c))
#define cuCreal real
#define cuCimag imag
#define cuConj conj
#define cuCabs abs
#define cuCadd cuCaddf
#define cuCsub cuCsubf
#define cuCmul cuCmulf
#define cuCdiv cuCdivf
#define cuCfma cuCfmaf
