// CuPy's names for thrust::complex<T>, and what it adds of NumPy's functions.
#pragma once
#pragma GCC system_header
#include "../thrust/complex.h"
using thrust::complex, thrust::conj, thrust::real, thrust::imag, thrust::arg, thrust::exp, thrust::log, thrust::log10;
using thrust::sin, thrust::cos, thrust::tan, thrust::sinh, thrust::cosh, thrust::tanh;
using thrust::asin, thrust::acos, thrust::atan, thrust::asinh, thrust::acosh, thrust::atanh;
template <class T> bool isnan(complex<T> x) { return isnan(x.real()) || isnan(x.imag()); }
template <class T> bool isinf(complex<T> x) { return isinf(x.real()) || isinf(x.imag()); }
template <class T> bool isfinite(complex<T> x) { return isfinite(x.real()) && isfinite(x.imag()); }
template <class T> complex<T> log1p(complex<T> x) { return log(x + T(1)); }
template <class T> complex<T> log2(complex<T> x) { return log(x) / complex<T>(log(T(2))); }
template <class T> complex<T> expm1(complex<T> x) { return exp(x) - T(1); }
template <class T> complex<T> rint(complex<T> x) { return complex<T>(rint(x.real()), rint(x.imag())); }
template <class T> complex<T> min(complex<T> x, complex<T> y) { return isnan(x) ? y : isnan(y) || x < y ? x : y; }
template <class T> complex<T> max(complex<T> x, complex<T> y) { return isnan(x) ? y : isnan(y) || y < x ? x : y; }
