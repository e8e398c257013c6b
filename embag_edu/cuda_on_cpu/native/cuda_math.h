// cuda_math.h: CUDA's mathematical functions, with CUDA's overloads: sqrt takes a float or a double, and
// no int; max has no form for a float and an int. NVIDIA's compiler finds such a call ambiguous.
#pragma once
#define CUDA_ON_CPU_MATH CUDA_ON_CPU_HERE inline
// sinf(float), sin(float), sin(double) of what the float and the double form give.
#define CUDA_ON_CPU_ONE(R, NAME, FLOAT, DOUBLE)                                                     \
  CUDA_ON_CPU_MATH R(float) NAME##f(float x) { return (R(float))(FLOAT); }                          \
  CUDA_ON_CPU_MATH R(float) NAME(float x) { return (R(float))(FLOAT); }                             \
  CUDA_ON_CPU_MATH R(double) NAME(double x) { return (R(double))(DOUBLE); }
#define CUDA_ON_CPU_TWO(NAME, FLOAT, DOUBLE, F, D)  /* F, D: the second argument's types */          \
  CUDA_ON_CPU_MATH float NAME##f(float x, F y) { return FLOAT; }                                    \
  CUDA_ON_CPU_MATH float NAME(float x, F y) { return FLOAT; }                                       \
  CUDA_ON_CPU_MATH double NAME(double x, D y) { return DOUBLE; }
#define CUDA_ON_CPU_SAME(T) T
#define CUDA_ON_CPU_INT(T) int
#define CUDA_ON_CPU_LONG(T) long
#define CUDA_ON_CPU_LONGLONG(T) long long
#define CUDA_ON_CPU_C1(NAME) CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, NAME, __builtin_##NAME##f(x), __builtin_##NAME(x))
#define CUDA_ON_CPU_C2(NAME) CUDA_ON_CPU_TWO(NAME, __builtin_##NAME##f(x, y), __builtin_##NAME(x, y), float, double)
CUDA_ON_CPU_C1(acos) CUDA_ON_CPU_C1(acosh) CUDA_ON_CPU_C1(asin) CUDA_ON_CPU_C1(asinh) CUDA_ON_CPU_C1(atan) CUDA_ON_CPU_C1(atanh)
CUDA_ON_CPU_C1(cbrt) CUDA_ON_CPU_C1(ceil) CUDA_ON_CPU_C1(cos) CUDA_ON_CPU_C1(cosh) CUDA_ON_CPU_C1(erf) CUDA_ON_CPU_C1(erfc)
CUDA_ON_CPU_C1(exp) CUDA_ON_CPU_C1(exp2) CUDA_ON_CPU_C1(expm1) CUDA_ON_CPU_C1(fabs) CUDA_ON_CPU_C1(floor)
CUDA_ON_CPU_C1(lgamma) CUDA_ON_CPU_C1(log) CUDA_ON_CPU_C1(log10) CUDA_ON_CPU_C1(log1p) CUDA_ON_CPU_C1(log2)
CUDA_ON_CPU_C1(logb) CUDA_ON_CPU_C1(nearbyint) CUDA_ON_CPU_C1(rint) CUDA_ON_CPU_C1(round) CUDA_ON_CPU_C1(sin) CUDA_ON_CPU_C1(sinh)
CUDA_ON_CPU_C1(sqrt) CUDA_ON_CPU_C1(tan) CUDA_ON_CPU_C1(tanh) CUDA_ON_CPU_C1(tgamma) CUDA_ON_CPU_C1(trunc)
CUDA_ON_CPU_ONE(CUDA_ON_CPU_INT, ilogb, __builtin_ilogbf(x), __builtin_ilogb(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_LONG, lrint, __builtin_lrintf(x), __builtin_lrint(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_LONG, lround, __builtin_lroundf(x), __builtin_lround(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_LONGLONG, llrint, __builtin_llrintf(x), __builtin_llrint(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_LONGLONG, llround, __builtin_llroundf(x), __builtin_llround(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, rsqrt, 1.0 / __builtin_sqrt((double)x), 1.0 / __builtin_sqrt(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, rcbrt, 1.0 / __builtin_cbrt((double)x), 1.0 / __builtin_cbrt(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, exp10, __builtin_pow(10.0, (double)x), __builtin_pow(10.0, x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, normcdf, 0.5 * __builtin_erfc(-(double)x * 0.70710678118654752440), 0.5 * __builtin_erfc(-x * 0.70710678118654752440))
namespace cuda_on_cpu {
inline double sin_pi(double x) {  // exact where x is a multiple of a half, as CUDA's
  double r = __builtin_fmod(x, 2.0), a = __builtin_fabs(r);
  if (a > 1.0) a -= 2.0;  // sin(pi a) has the period 2
  double s = a > 0.5 ? __builtin_sin(3.14159265358979323846 * (1.0 - a)) : a < -0.5 ? -__builtin_sin(3.14159265358979323846 * (1.0 + a)) : __builtin_sin(3.14159265358979323846 * a);
  return __builtin_signbit(x) ? -s : s;
}
inline double cos_pi(double x) {
  double a = __builtin_fabs(__builtin_fmod(x, 2.0));
  if (a > 1.0) a = 2.0 - a;
  return a == 0.5 ? 0.0 : a < 0.5 ? __builtin_cos(3.14159265358979323846 * a) : -__builtin_cos(3.14159265358979323846 * (1.0 - a));
}
}  // namespace cuda_on_cpu
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, sinpi, cuda_on_cpu::sin_pi(x), cuda_on_cpu::sin_pi(x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, cospi, cuda_on_cpu::cos_pi(x), cuda_on_cpu::cos_pi(x))
CUDA_ON_CPU_C2(atan2) CUDA_ON_CPU_C2(copysign) CUDA_ON_CPU_C2(fdim) CUDA_ON_CPU_C2(fmax) CUDA_ON_CPU_C2(fmin) CUDA_ON_CPU_C2(fmod)
CUDA_ON_CPU_C2(hypot) CUDA_ON_CPU_C2(nextafter) CUDA_ON_CPU_C2(remainder) CUDA_ON_CPU_C2(pow)
CUDA_ON_CPU_MATH double copysign(float x, double y) { return __builtin_copysign((double)x, y); }
CUDA_ON_CPU_MATH double copysign(double x, float y) { return __builtin_copysign(x, (double)y); }
CUDA_ON_CPU_MATH float pow(float x, int y) { return __builtin_powf(x, (float)y); }
CUDA_ON_CPU_MATH double pow(double x, int y) { return __builtin_pow(x, (double)y); }
CUDA_ON_CPU_MATH float rhypotf(float x, float y) { return (float)(1.0 / __builtin_hypot((double)x, (double)y)); }
CUDA_ON_CPU_MATH double rhypot(double x, double y) { return 1.0 / __builtin_hypot(x, y); }
CUDA_ON_CPU_TWO(ldexp, __builtin_ldexpf(x, y), __builtin_ldexp(x, y), int, int)
CUDA_ON_CPU_TWO(scalbn, __builtin_scalbnf(x, y), __builtin_scalbn(x, y), int, int)
CUDA_ON_CPU_TWO(scalbln, __builtin_scalblnf(x, y), __builtin_scalbln(x, y), long, long)
namespace cuda_on_cpu {  // clang has no names of its own for the C library's Bessel functions
extern "C" { double j0(double); double j1(double); double jn(int, double); double y0(double); double y1(double); double yn(int, double); }
}
#define CUDA_ON_CPU_BESSEL(LETTER)                                                                  \
  CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, LETTER##0, cuda_on_cpu::LETTER##0((double)x), cuda_on_cpu::LETTER##0(x)) \
  CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, LETTER##1, cuda_on_cpu::LETTER##1((double)x), cuda_on_cpu::LETTER##1(x)) \
  CUDA_ON_CPU_MATH float LETTER##nf(int n, float x) { return (float)cuda_on_cpu::LETTER##n(n, (double)x); } \
  CUDA_ON_CPU_MATH float LETTER##n(int n, float x) { return (float)cuda_on_cpu::LETTER##n(n, (double)x); } \
  CUDA_ON_CPU_MATH double LETTER##n(int n, double x) { return cuda_on_cpu::LETTER##n(n, x); }
CUDA_ON_CPU_BESSEL(j)
CUDA_ON_CPU_BESSEL(y)
namespace cuda_on_cpu {  // what the C library has not: to a few units in the last place of a double
inline double erfc_scaled(double x) {  // exp(x * x) * erfc(x)
  if (x < 25.0) {  // x * x is taken in two parts: exp would enlarge the error of one
    double square = x * x, rest = __builtin_fma(x, x, -square), e = __builtin_exp(square);
    return x < -26.7 ? __builtin_inf() : (e + e * rest) * __builtin_erfc(x);
  }
  double sum = 1.0, term = 1.0;
  for (int n = 1; n < 9; n++) sum += term *= (0.5 - n) / x / x;
  return 0.56418958354775628695 / x * sum;
}
inline double erf_inverse(double x) {
  double a = __builtin_fabs(x);
  if (!(a < 1.0)) return a == 1.0 ? x * __builtin_inf() : __builtin_nan("");
  double z, w = __builtin_log1p(-a * a), t = 4.3307467508 + 0.5 * w;  // Winitzki's formula to begin with
  z = __builtin_sqrt(__builtin_sqrt(t * t - w * 6.8027210884) - t);
  if (a < 1e-8) return 0.88622692545275801365 * x;
  for (int n = 0; n < 4; n++)
    if (a < 0.5) z -= (__builtin_erf(z) - a) * 0.88622692545275801365 * __builtin_exp(z * z);
    else z += __builtin_log(__builtin_erfc(z) / (1.0 - a)) * erfc_scaled(z) * 0.88622692545275801365;
  return __builtin_copysign(z, x);
}
inline double erfc_inverse(double y) {
  if (!(y > 0.0 && y < 2.0)) return y == 0.0 ? __builtin_inf() : y == 2.0 ? -__builtin_inf() : __builtin_nan("");
  if (y >= 0.5) return y > 1.5 ? -erfc_inverse(2.0 - y) : erf_inverse(1.0 - y);
  double l = __builtin_log(y), z = __builtin_sqrt(__builtin_fmax(-l - 0.5 * __builtin_log(-3.1 * l + 1.0), 0.05));
  for (int n = 0; n < 6; n++) z += (__builtin_log(erfc_scaled(z)) - z * z - l) * erfc_scaled(z) * 0.88622692545275801365;
  return z;
}
inline double bessel_i(int n, double x) {  // n: 0 or 1
  double a = __builtin_fabs(x), sum = 1.0, term = 1.0;
  if (a < 20.0) {
    for (int k = 1; k < 60; k++) sum += term *= 0.25 * a * a / k / (k + n);
    return n ? 0.5 * x * sum : sum;
  }
  for (int k = 1; k < 40; k++) sum += term *= ((2 * k - 1.0) * (2 * k - 1.0) - 4.0 * n) / (8.0 * k) / a;
  double e = __builtin_exp(0.5 * a), value = e * (sum / __builtin_sqrt(6.28318530717958647693 * a)) * e;
  return n && x < 0 ? -value : value;
}
template <class T> CUDA_ON_CPU_HERE inline double length(int n, const T* p) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum = __builtin_hypot(sum, (double)p[i]);
  return sum;
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_WIDE(NAME, FUNCTION) CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, NAME, cuda_on_cpu::FUNCTION, cuda_on_cpu::FUNCTION)
CUDA_ON_CPU_WIDE(erfcx, erfc_scaled(x)) CUDA_ON_CPU_WIDE(erfinv, erf_inverse(x)) CUDA_ON_CPU_WIDE(erfcinv, erfc_inverse(x))
CUDA_ON_CPU_WIDE(cyl_bessel_i0, bessel_i(0, x)) CUDA_ON_CPU_WIDE(cyl_bessel_i1, bessel_i(1, x))
CUDA_ON_CPU_ONE(CUDA_ON_CPU_SAME, normcdfinv, -1.41421356237309504880 * cuda_on_cpu::erfc_inverse(2.0 * (double)x), -1.41421356237309504880 * cuda_on_cpu::erfc_inverse(2.0 * x))
CUDA_ON_CPU_MATH float norm4df(float x, float y, float z, float w) { return (float)__builtin_sqrt((double)x * x + (double)y * y + (double)z * z + (double)w * w); }
CUDA_ON_CPU_MATH double norm4d(double x, double y, double z, double w) { return __builtin_hypot(__builtin_hypot(x, y), __builtin_hypot(z, w)); }
CUDA_ON_CPU_MATH float rnorm4df(float x, float y, float z, float w) { return (float)(1.0 / norm4d(x, y, z, w)); }
CUDA_ON_CPU_MATH double rnorm4d(double x, double y, double z, double w) { return 1.0 / norm4d(x, y, z, w); }
CUDA_ON_CPU_MATH float normf(int n, const float* p) { return (float)cuda_on_cpu::length(n, p); }
CUDA_ON_CPU_MATH double norm(int n, const double* p) { return cuda_on_cpu::length(n, p); }
CUDA_ON_CPU_MATH float rnormf(int n, const float* p) { return (float)(1.0 / cuda_on_cpu::length(n, p)); }
CUDA_ON_CPU_MATH double rnorm(int n, const double* p) { return 1.0 / cuda_on_cpu::length(n, p); }
CUDA_ON_CPU_MATH float fdividef(float x, float y) { return x / y; }
CUDA_ON_CPU_MATH double fdivide(double x, double y) { return x / y; }
CUDA_ON_CPU_MATH float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
CUDA_ON_CPU_MATH float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
CUDA_ON_CPU_MATH double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
CUDA_ON_CPU_MATH float norm3df(float x, float y, float z) { return (float)__builtin_sqrt((double)x * x + (double)y * y + (double)z * z); }
CUDA_ON_CPU_MATH double norm3d(double x, double y, double z) { return __builtin_hypot(__builtin_hypot(x, y), z); }
CUDA_ON_CPU_MATH float rnorm3df(float x, float y, float z) { return (float)(1.0 / __builtin_sqrt((double)x * x + (double)y * y + (double)z * z)); }
CUDA_ON_CPU_MATH double rnorm3d(double x, double y, double z) { return 1.0 / norm3d(x, y, z); }
#define CUDA_ON_CPU_PARTS(T, F)                                                                     \
  CUDA_ON_CPU_MATH void sincos##F(T x, T* s, T* c) { *s = __builtin_sin##F(x); *c = __builtin_cos##F(x); } \
  CUDA_ON_CPU_MATH void sincospi##F(T x, T* s, T* c) { *s = sinpi##F(x); *c = cospi##F(x); }        \
  CUDA_ON_CPU_MATH T modf##F(T x, T* whole) { T t = __builtin_trunc##F(x); *whole = t; return __builtin_isinf(x) ? __builtin_copysign##F((T)0, x) : __builtin_copysign##F(x - t, x); } \
  CUDA_ON_CPU_MATH T frexp##F(T x, int* e) { int n; T m = __builtin_frexp##F(x, &n); *e = n; return m; } \
  CUDA_ON_CPU_MATH T remquo##F(T x, T y, int* q) { int n; T r = __builtin_remquo##F(x, y, &n); *q = n; return r; } \
  CUDA_ON_CPU_MATH T nan##F(const char*) { return __builtin_nan##F(""); }
CUDA_ON_CPU_PARTS(float, f)
CUDA_ON_CPU_PARTS(double, )
CUDA_ON_CPU_MATH void sincos(float x, float* s, float* c) { sincosf(x, s, c); }
CUDA_ON_CPU_MATH float modf(float x, float* whole) { return modff(x, whole); }
CUDA_ON_CPU_MATH float frexp(float x, int* e) { return frexpf(x, e); }
CUDA_ON_CPU_MATH float remquo(float x, float y, int* q) { return remquof(x, y, q); }
#define CUDA_ON_CPU_IS(NAME)                                                                        \
  CUDA_ON_CPU_MATH int NAME(float x) { return __builtin_##NAME(x) != 0; }                           \
  CUDA_ON_CPU_MATH int NAME(double x) { return __builtin_##NAME(x) != 0; }
CUDA_ON_CPU_IS(isnan) CUDA_ON_CPU_IS(isinf) CUDA_ON_CPU_IS(isfinite) CUDA_ON_CPU_IS(signbit)
CUDA_ON_CPU_MATH int abs(int x) { return x < 0 ? -x : x; }
CUDA_ON_CPU_MATH long abs(long x) { return x < 0 ? -x : x; }
CUDA_ON_CPU_MATH long long abs(long long x) { return x < 0 ? -x : x; }
CUDA_ON_CPU_MATH float abs(float x) { return __builtin_fabsf(x); }
CUDA_ON_CPU_MATH double abs(double x) { return __builtin_fabs(x); }
CUDA_ON_CPU_MATH long labs(long x) { return x < 0 ? -x : x; }
CUDA_ON_CPU_MATH long long llabs(long long x) { return x < 0 ? -x : x; }

// ---- min and max: NaN loses, as in fmin and fmax -------------------------------------------------
#define CUDA_ON_CPU_MINMAX(R, A, B)                                                                 \
  CUDA_ON_CPU_MATH R min(A a, B b) { return (R)b < (R)a ? (R)b : (R)a; }                            \
  CUDA_ON_CPU_MATH R max(A a, B b) { return (R)a < (R)b ? (R)b : (R)a; }
#define CUDA_ON_CPU_MINMAX_OF(T)                                                                    \
  CUDA_ON_CPU_MINMAX(T, T, T) CUDA_ON_CPU_MINMAX(unsigned T, unsigned T, unsigned T)                \
  CUDA_ON_CPU_MINMAX(unsigned T, T, unsigned T) CUDA_ON_CPU_MINMAX(unsigned T, unsigned T, T)
CUDA_ON_CPU_MINMAX_OF(int) CUDA_ON_CPU_MINMAX_OF(long) CUDA_ON_CPU_MINMAX_OF(long long)
#define CUDA_ON_CPU_FMINMAX(T, A, B)                                                                \
  CUDA_ON_CPU_MATH T min(A a, B b) { return a != a || (T)b < (T)a ? (T)b : (T)a; }                  \
  CUDA_ON_CPU_MATH T max(A a, B b) { return a != a || (T)a < (T)b ? (T)b : (T)a; }
CUDA_ON_CPU_FMINMAX(float, float, float) CUDA_ON_CPU_FMINMAX(double, double, double)
CUDA_ON_CPU_FMINMAX(double, float, double) CUDA_ON_CPU_FMINMAX(double, double, float)
#define CUDA_ON_CPU_NAMED(PREFIX, T)                                                                \
  CUDA_ON_CPU_MATH T PREFIX##min(T a, T b) { return b < a ? b : a; }                                \
  CUDA_ON_CPU_MATH T PREFIX##max(T a, T b) { return a < b ? b : a; }
CUDA_ON_CPU_NAMED(u, unsigned) CUDA_ON_CPU_NAMED(ll, long long) CUDA_ON_CPU_NAMED(ull, unsigned long long)
