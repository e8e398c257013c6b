// The two 16-bit number types behind cuda_fp16.h and cuda_bf16.h, written once as templates.
// Conversions are bit-exact; a NaN result is 0x7fff, as on NVIDIA's GPUs, but of a double: nearest().
// +, -, * and / go through float: float has 24 bits, at least 2 * 11 + 2, so rounding twice gives
// the same 16 bits as rounding once. A fused multiply-add needs more care: see fused().
#pragma once
#undef std
#define std cuda_on_cpu_std

struct __half_raw { unsigned short x; };
struct __half2_raw { unsigned short x, y; };
struct __nv_bfloat162_raw { unsigned short x, y; };
struct __nv_bfloat16_raw { unsigned short x; };

namespace cuda_on_cpu {
enum Rounding { NEAREST, ZERO, UP, DOWN };
struct Fp16 { enum { digits = 10, lowest = -14 }; typedef __half_raw Raw; };
struct Bf16 { enum { digits = 7, lowest = -126 }; typedef __nv_bfloat16_raw Raw; };
template <class F> constexpr uint16_t infinity() { return (uint16_t)(0x7fff >> F::digits << F::digits); }

// ---- to 16 bits: the number m * 2^e, rounded once ----------------------------------------------
template <class F> uint16_t narrow(bool negative, uint64_t m, int e, Rounding how) {
  const uint16_t sign = negative ? 0x8000 : 0;
  if (m == 0) return sign;
  int leading = 63 - __builtin_clzll(m) + e;                   // 2^leading <= number
  if (leading < F::lowest) leading = F::lowest;                // subnormal: a fixed spacing
  const int shift = leading - F::digits - e;                   // spacing = 2^(e + shift)
  uint64_t kept, rest = 0;                                     // rest: what is cut off
  int half = 0;                                                // rest against half a spacing: -1, 0, 1
  if (shift <= 0) {
    kept = m << -shift;
  } else {
    kept = shift < 64 ? m >> shift : 0;
    rest = shift < 64 ? m & ((1ull << shift) - 1) : m;
    const uint64_t middle = shift <= 64 ? 1ull << (shift - 1) : 0;
    half = shift > 64 || rest < middle ? -1 : rest > middle;
  }
  const bool away = how == UP ? !negative : how == DOWN && negative;
  if (how == NEAREST ? half > 0 || (rest && half == 0 && (kept & 1)) : rest && away) kept++;
  const uint64_t bits = kept + ((uint64_t)(leading - F::lowest) << F::digits);
  if (bits < infinity<F>()) return (uint16_t)(sign | bits);
  return (uint16_t)(sign | (how == NEAREST || away ? infinity<F>() : infinity<F>() - 1));
}
template <class F> uint16_t from_double(double value, Rounding how = NEAREST) {
  uint64_t u;
  memcpy(&u, &value, 8);
  const int e = (int)(u >> 52 & 2047);
  const uint64_t m = u & 0xfffffffffffffull;
  if (e == 2047) return m ? 0x7fff : (uint16_t)(u >> 63 << 15 | infinity<F>());
  return narrow<F>(u >> 63, e ? m | 1ull << 52 : m, e ? e - 1075 : -1074, how);
}
template <class F, class T> uint16_t from_integer(T value, Rounding how = NEAREST) {
  const bool negative = value < 0;
  return narrow<F>(negative, negative ? 0ull - (uint64_t)value : (uint64_t)value, 0, how);
}
// Round to nearest, the conversion of every step of arithmetic, has a fast way for each format.
inline uint16_t nearest(float f, Fp16) {
  const uint32_t u = __float_as_uint(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
  if (a >= 0x7f800000) return a > 0x7f800000 ? 0x7fff : (uint16_t)(sign | 0x7c00);
  if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00);       // 65520 and more: infinity
  if (a < 0x38800000)                                          // subnormal: adding 0.5 rounds it
    return (uint16_t)(sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000));
  return (uint16_t)(sign | ((a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13));
}
inline uint16_t nearest(float f, Bf16) {
  const uint32_t u = __float_as_uint(f);
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
// Of a double: a GPU has one instruction for half (F2F.F16.F64, also before sm_90), and from sm_90 on
// one for bfloat16. They turn the usual NaN into 0x7e00 and 0x7fc0: the fraction is cut. (Seen on an
// H200.) That another NaN is cut too, and that the sign stays, is concluded from this.
template <class F> uint16_t nearest(double d, F) {
  if (d == d) return from_double<F>(d);
  uint64_t u;
  memcpy(&u, &d, 8);
  const uint16_t quiet = 1 << (F::digits - 1), fraction = (uint16_t)(u >> (52 - F::digits)) & (quiet - 1);
  return (uint16_t)((u >> 48 & 0x8000) | infinity<F>() | quiet | fraction);
}

// ---- from 16 bits: always exact ----------------------------------------------------------------
inline float widen(uint16_t h, Fp16) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
  if (e == 31) return __uint_as_float(m ? 0x7fffffff : sign | 0x7f800000);
  if (e) return __uint_as_float(sign | (e + 112) << 23 | m << 13);
  const float f = (float)m * 5.9604644775390625e-08f;          // subnormal: m * 2^-24
  return sign ? -f : f;
}
inline float widen(uint16_t h, Bf16) { return __uint_as_float((uint32_t)h << 16); }

// To an integer: what does not fit becomes the nearest end; NaN becomes 0 (64 bits: 2^63).
template <class T> T to_integer(float f, Rounding how) {
  constexpr bool is_signed = T(-1) < T(0);
  constexpr T highest = is_signed ? T((1ull << (8 * sizeof(T) - 1)) - 1) : T(-1);
  constexpr T lowest = is_signed ? T(-highest - 1) : T(0);
  if (f != f) return sizeof(T) == 8 ? T(1ull << 63) : T(0);
  f = how == NEAREST ? rintf(f) : how == ZERO ? truncf(f) : how == UP ? ceilf(f) : floorf(f);
  const float end = is_signed ? -(float)lowest : 2.0f * (float)(1ull << (8 * sizeof(T) - 1));
  return f >= end ? highest : f <= (float)lowest ? lowest : (T)f;
}

// ---- one number --------------------------------------------------------------------------------
// H is the type itself: struct __half : Float16<__half, Fp16>.
template <class H, class F> struct Float16 {
  uint16_t bits;
  typedef F Format;
  // From and to these types, and no template for all: where NVIDIA's compiler has to choose between
  // half + half and float + float, and cannot, ours cannot either.
  constexpr Float16() : bits() {}
  constexpr Float16(const typename F::Raw& raw) : bits(raw.x) {}
  Float16(float f) : bits(nearest(f, F())) {}
  Float16(double d) : bits(nearest(d, F())) {}
#define CUDA_ON_CPU_FROM(T) Float16(T i) : bits(from_integer<F>(i)) {}
#define CUDA_ON_CPU_TO(T) operator T() const { return to_integer<T>(wide(), ZERO); }
  CUDA_ON_CPU_FROM(short) CUDA_ON_CPU_FROM(unsigned short) CUDA_ON_CPU_FROM(int) CUDA_ON_CPU_FROM(unsigned)
  CUDA_ON_CPU_FROM(long) CUDA_ON_CPU_FROM(unsigned long) CUDA_ON_CPU_FROM(long long) CUDA_ON_CPU_FROM(unsigned long long)
  CUDA_ON_CPU_TO(char) CUDA_ON_CPU_TO(signed char) CUDA_ON_CPU_TO(unsigned char)
  CUDA_ON_CPU_TO(short) CUDA_ON_CPU_TO(unsigned short) CUDA_ON_CPU_TO(int) CUDA_ON_CPU_TO(unsigned)
  CUDA_ON_CPU_TO(long) CUDA_ON_CPU_TO(unsigned long) CUDA_ON_CPU_TO(long long) CUDA_ON_CPU_TO(unsigned long long)
#undef CUDA_ON_CPU_FROM
#undef CUDA_ON_CPU_TO
  operator float() const { return wide(); }
  operator bool() const { return wide() != 0; }
  operator typename F::Raw() const { return {bits}; }
  friend H shuffled(H h) { return h; }  // a lane may hand it to another
  static H from_bits(unsigned b) { H h; h.bits = (uint16_t)b; return h; }
  bool is_nan() const { return (bits & 0x7fff) > infinity<F>(); }
  float wide() const { return widen(bits, F()); }
  H& self() { return static_cast<H&>(*this); }

  friend H operator+(H a, H b) { return H(a.wide() + b.wide()); }
  friend H operator-(H a, H b) { return H(a.wide() - b.wide()); }
  friend H operator*(H a, H b) { return H(a.wide() * b.wide()); }
  friend H operator/(H a, H b) { return H(a.wide() / b.wide()); }
  friend H operator-(H a) { return from_bits(a.bits ^ 0x8000); }
  friend H operator+(H a) { return a; }
  H& operator+=(H o) { return self() = self() + o; }
  H& operator-=(H o) { return self() = self() - o; }
  H& operator*=(H o) { return self() = self() * o; }
  H& operator/=(H o) { return self() = self() / o; }
  H& operator++() { return self() += H(1.0f); }
  H& operator--() { return self() -= H(1.0f); }
  H operator++(int) { H old = self(); ++*this; return old; }
  H operator--(int) { H old = self(); --*this; return old; }

  // a * b + c rounded once. The product is exact in double; the sum is rounded to odd (its last
  // bit says "something was cut off"), so that the rounding to 16 bits is the only one.
  static H fused(H a, H b, H c) {
    const double p = (double)a.wide() * (double)b.wide(), q = (double)c.wide();
    double sum = p + q;
    const double t = sum - p, error = (p - (sum - t)) + (q - t);   // sum + error = p + q exactly
    uint64_t u;
    memcpy(&u, &sum, 8);
    if (error == error && error != 0 && !(u & 1)) u += (error > 0) == (sum > 0) ? 1 : -1;
    memcpy(&sum, &u, 8);
    return from_bits(from_double<F>(sum));
  }
  static H saturated(H a) {  // to [0, 1]; NaN becomes 0
    return a.wide() > 0 ? (a.wide() < 1 ? a : H(1.0f)) : H(0.0f);
  }
  friend H __hfma(H a, H b, H c) { return fused(a, b, c); }
  friend H __hfma_sat(H a, H b, H c) { return saturated(fused(a, b, c)); }
  friend H __hfma_relu(H a, H b, H c) { return __hmax_nan(fused(a, b, c), H(0.0f)); }
  friend H __hneg(H a) { return -a; }
  friend H __habs(H a) { return from_bits(a.bits & 0x7fff); }
  friend bool __hisnan(H a) { return a.is_nan(); }
  friend int __hisinf(H a) {
    return (a.bits & 0x7fff) != infinity<F>() ? 0 : a.bits & 0x8000 ? -1 : 1;
  }
  // Largest and smallest: the number wins over a NaN (in the _nan forms the NaN wins); +0 > -0.
  friend H __hmax(H a, H b) {
    if (a.is_nan() || b.is_nan()) return a.is_nan() ? (b.is_nan() ? from_bits(0x7fff) : b) : a;
    return a == b ? from_bits(a.bits & b.bits) : a > b ? a : b;
  }
  friend H __hmin(H a, H b) {
    if (a.is_nan() || b.is_nan()) return a.is_nan() ? (b.is_nan() ? from_bits(0x7fff) : b) : a;
    return a == b ? from_bits(a.bits | b.bits) : a < b ? a : b;
  }
  friend H __hmax_nan(H a, H b) {
    return a.is_nan() || b.is_nan() ? from_bits(0x7fff) : __hmax(a, b);
  }
  friend H __hmin_nan(H a, H b) {
    return a.is_nan() || b.is_nan() ? from_bits(0x7fff) : __hmin(a, b);
  }

#define CUDA_ON_CPU_OPERATION(NAME, OP)                                                             \
  friend H __h##NAME(H a, H b) { return a OP b; }                                                   \
  friend H __h##NAME##_rn(H a, H b) { return a OP b; }                                              \
  friend H __h##NAME##_sat(H a, H b) { return saturated(a OP b); }
  CUDA_ON_CPU_OPERATION(add, +)
  CUDA_ON_CPU_OPERATION(sub, -)
  CUDA_ON_CPU_OPERATION(mul, *)
#undef CUDA_ON_CPU_OPERATION
  friend H __hdiv(H a, H b) { return a / b; }
#define CUDA_ON_CPU_COMPARE(NAME, OP)                                                               \
  friend bool operator OP(H a, H b) { return a.wide() OP b.wide(); }                                \
  friend bool __h##NAME(H a, H b) { return a OP b; }                                                \
  friend bool __h##NAME##u(H a, H b) { return a.is_nan() || b.is_nan() || a OP b; }
  CUDA_ON_CPU_COMPARE(eq, ==)
  CUDA_ON_CPU_COMPARE(lt, <)
  CUDA_ON_CPU_COMPARE(le, <=)
  CUDA_ON_CPU_COMPARE(gt, >)
  CUDA_ON_CPU_COMPARE(ge, >=)
#undef CUDA_ON_CPU_COMPARE
  friend bool operator!=(H a, H b) { return a.wide() != b.wide(); }
  friend bool __hne(H a, H b) { return !a.is_nan() && !b.is_nan() && a != b; }
  friend bool __hneu(H a, H b) { return a != b; }
#define CUDA_ON_CPU_FUNCTION(NAME, RESULT)                                                          \
  friend H NAME(H a) { const float x = a.wide(); return H((float)(RESULT)); }
  CUDA_ON_CPU_FUNCTION(hsqrt, sqrtf(x))
  CUDA_ON_CPU_FUNCTION(hrsqrt, 1.0 / sqrt((double)x))
  CUDA_ON_CPU_FUNCTION(hrcp, 1.0f / x)
  CUDA_ON_CPU_FUNCTION(hexp, expf(x))
  CUDA_ON_CPU_FUNCTION(hexp2, exp2f(x))
  CUDA_ON_CPU_FUNCTION(hexp10, powf(10.0f, x))
  CUDA_ON_CPU_FUNCTION(hlog, logf(x))
  CUDA_ON_CPU_FUNCTION(hlog2, log2f(x))
  CUDA_ON_CPU_FUNCTION(hlog10, log10f(x))
  CUDA_ON_CPU_FUNCTION(hsin, sinf(x))
  CUDA_ON_CPU_FUNCTION(hcos, cosf(x))
  CUDA_ON_CPU_FUNCTION(htanh, tanhf(x))
  CUDA_ON_CPU_FUNCTION(htrunc, truncf(x))
  CUDA_ON_CPU_FUNCTION(hceil, ceilf(x))
  CUDA_ON_CPU_FUNCTION(hfloor, floorf(x))
  CUDA_ON_CPU_FUNCTION(hrint, rintf(x))
#undef CUDA_ON_CPU_FUNCTION
};

// ---- two numbers, copied as one 4-byte value ---------------------------------------------------
template <class P, class H> struct alignas(4) Float16x2 {
  H x, y;
  constexpr Float16x2() : x(), y() {}
  constexpr Float16x2(H x_, H y_) : x(x_), y(y_) {}
  CUDA_ON_CPU_HERE Float16x2(const Float16x2& o) { copy(o); }
  CUDA_ON_CPU_HERE Float16x2& operator=(const Float16x2& o) { copy(o); return *this; }
  P& self() { return static_cast<P&>(*this); }
  friend P shuffled(P p) { return p; }
  CUDA_ON_CPU_HERE void copy(const Float16x2& o) {
    typedef uint32_t Word __attribute__((may_alias));
    *(Word*)(void*)this = *(const Word*)(const void*)&o;
  }
  P& operator+=(P o) { return self() = self() + o; }
  P& operator-=(P o) { return self() = self() - o; }
  P& operator*=(P o) { return self() = self() * o; }
  P& operator/=(P o) { return self() = self() / o; }
  friend P operator-(P a) { return P(-a.x, -a.y); }
  friend P __hneg2(P a) { return -a; }
  friend P __habs2(P a) { return P(__habs(a.x), __habs(a.y)); }

#define CUDA_ON_CPU_BOTH(NAME, ONE)                                                                 \
  friend P NAME(P a, P b) { return P(ONE(a.x, b.x), ONE(a.y, b.y)); }
  CUDA_ON_CPU_BOTH(operator+, __hadd)
  CUDA_ON_CPU_BOTH(operator-, __hsub)
  CUDA_ON_CPU_BOTH(operator*, __hmul)
  CUDA_ON_CPU_BOTH(operator/, __hdiv)
  CUDA_ON_CPU_BOTH(__h2div, __hdiv)
  CUDA_ON_CPU_BOTH(__hadd2, __hadd)
  CUDA_ON_CPU_BOTH(__hsub2, __hsub)
  CUDA_ON_CPU_BOTH(__hmul2, __hmul)
  CUDA_ON_CPU_BOTH(__hadd2_rn, __hadd)
  CUDA_ON_CPU_BOTH(__hsub2_rn, __hsub)
  CUDA_ON_CPU_BOTH(__hmul2_rn, __hmul)
  CUDA_ON_CPU_BOTH(__hadd2_sat, __hadd_sat)
  CUDA_ON_CPU_BOTH(__hsub2_sat, __hsub_sat)
  CUDA_ON_CPU_BOTH(__hmul2_sat, __hmul_sat)
  CUDA_ON_CPU_BOTH(__hmax2, __hmax)
  CUDA_ON_CPU_BOTH(__hmin2, __hmin)
  CUDA_ON_CPU_BOTH(__hmax2_nan, __hmax_nan)
  CUDA_ON_CPU_BOTH(__hmin2_nan, __hmin_nan)
#undef CUDA_ON_CPU_BOTH
#define CUDA_ON_CPU_FUSED(NAME, ONE)                                                                \
  friend P NAME(P a, P b, P c) {                                                                    \
    return P(ONE(a.x, b.x, c.x), ONE(a.y, b.y, c.y));                                               \
  }
  CUDA_ON_CPU_FUSED(__hfma2, __hfma)
  CUDA_ON_CPU_FUSED(__hfma2_sat, __hfma_sat)
  CUDA_ON_CPU_FUSED(__hfma2_relu, __hfma_relu)
#undef CUDA_ON_CPU_FUSED
  // Comparisons: 1.0 or 0.0 for each (__heq2), all bits or none (__heq2_mask), both (__hbeq2).
#define CUDA_ON_CPU_COMPARE2(NAME)                                                                  \
  friend P __h##NAME##2(P a, P b) {                                                                 \
    return P(H(__h##NAME(a.x, b.x) ? 1.0f : 0.0f), H(__h##NAME(a.y, b.y) ? 1.0f : 0.0f));           \
  }                                                                                                 \
  friend unsigned __h##NAME##2_mask(P a, P b) {                                                     \
    return (__h##NAME(a.x, b.x) ? 0xffffu : 0) | (__h##NAME(a.y, b.y) ? 0xffff0000u : 0);           \
  }                                                                                                 \
  friend bool __hb##NAME##2(P a, P b) {                                                             \
    return __h##NAME(a.x, b.x) && __h##NAME(a.y, b.y);                                              \
  }
  CUDA_ON_CPU_COMPARE2(eq) CUDA_ON_CPU_COMPARE2(equ)
  CUDA_ON_CPU_COMPARE2(ne) CUDA_ON_CPU_COMPARE2(neu)
  CUDA_ON_CPU_COMPARE2(lt) CUDA_ON_CPU_COMPARE2(ltu)
  CUDA_ON_CPU_COMPARE2(le) CUDA_ON_CPU_COMPARE2(leu)
  CUDA_ON_CPU_COMPARE2(gt) CUDA_ON_CPU_COMPARE2(gtu)
  CUDA_ON_CPU_COMPARE2(ge) CUDA_ON_CPU_COMPARE2(geu)
#undef CUDA_ON_CPU_COMPARE2
  friend bool operator==(P a, P b) { return __hbeq2(a, b); }
  friend bool operator!=(P a, P b) { return __hbneu2(a, b); }
  friend bool operator<(P a, P b) { return __hblt2(a, b); }
  friend bool operator<=(P a, P b) { return __hble2(a, b); }
  friend bool operator>(P a, P b) { return __hbgt2(a, b); }
  friend bool operator>=(P a, P b) { return __hbge2(a, b); }
  friend P __hisnan2(P a) {
    return P(H(a.x.is_nan() ? 1.0f : 0.0f), H(a.y.is_nan() ? 1.0f : 0.0f));
  }
#define CUDA_ON_CPU_FUNCTION2(NAME)                                                                 \
  friend P h2##NAME(P a) { return P(h##NAME(a.x), h##NAME(a.y)); }
  CUDA_ON_CPU_FUNCTION2(sqrt) CUDA_ON_CPU_FUNCTION2(rsqrt) CUDA_ON_CPU_FUNCTION2(rcp)
  CUDA_ON_CPU_FUNCTION2(exp) CUDA_ON_CPU_FUNCTION2(exp2) CUDA_ON_CPU_FUNCTION2(exp10)
  CUDA_ON_CPU_FUNCTION2(log) CUDA_ON_CPU_FUNCTION2(log2) CUDA_ON_CPU_FUNCTION2(log10)
  CUDA_ON_CPU_FUNCTION2(sin) CUDA_ON_CPU_FUNCTION2(cos) CUDA_ON_CPU_FUNCTION2(tanh)
  CUDA_ON_CPU_FUNCTION2(trunc) CUDA_ON_CPU_FUNCTION2(ceil) CUDA_ON_CPU_FUNCTION2(floor)
  CUDA_ON_CPU_FUNCTION2(rint)
#undef CUDA_ON_CPU_FUNCTION2
  friend float __low2float(P a) { return a.x.wide(); }
  friend float __high2float(P a) { return a.y.wide(); }
  friend P __lowhigh2highlow(P a) { return P(a.y, a.x); }
  // Each of the two is added atomically, the pair is not: the GPU says the same.
  friend P atomicAdd(P* address, P v, int line = __builtin_LINE()) {
    touch_atomic(address, sizeof(P), line);
    const H first = add_to(&address->x, v.x), second = add_to(&address->y, v.y);
    return P(first, second);
  }
};
}  // namespace cuda_on_cpu

// ---- the functions that have the type in their name: __float2half, __float2bfloat16, ... -------
#define CUDA_ON_CPU_INTEGER(NAME, H, INT, T)                                                        \
  CUDA_ON_CPU_INTEGER_ROUNDED(NAME, H, INT, T, rn, NEAREST)                                         \
  CUDA_ON_CPU_INTEGER_ROUNDED(NAME, H, INT, T, rz, ZERO)                                            \
  CUDA_ON_CPU_INTEGER_ROUNDED(NAME, H, INT, T, ru, UP)                                              \
  CUDA_ON_CPU_INTEGER_ROUNDED(NAME, H, INT, T, rd, DOWN)
#define CUDA_ON_CPU_INTEGER_ROUNDED(NAME, H, INT, T, HOW, ROUNDING)                                 \
  inline H __##INT##2##NAME##_##HOW(T i) {                                                          \
    return H::from_bits(cuda_on_cpu::from_integer<H::Format>(i, cuda_on_cpu::ROUNDING));            \
  }                                                                                                 \
  inline T __##NAME##2##INT##_##HOW(H h) {                                                          \
    return cuda_on_cpu::to_integer<T>(h.wide(), cuda_on_cpu::ROUNDING);                             \
  }
#define CUDA_ON_CPU_ROUNDED(NAME, H, HOW, ROUNDING)                                                 \
  inline H __float2##NAME##_##HOW(float f) {                                                        \
    return H::from_bits(cuda_on_cpu::from_double<H::Format>((double)f, cuda_on_cpu::ROUNDING));     \
  }
#define CUDA_ON_CPU_NAMES(NAME, H, H2)                                                              \
  inline float __##NAME##2float(H h) { return h.wide(); }                                           \
  inline H __float2##NAME(float f) { return H(f); }                                                 \
  inline H __float2##NAME##_rn(float f) { return H(f); }                                            \
  CUDA_ON_CPU_ROUNDED(NAME, H, rz, ZERO)                                                            \
  CUDA_ON_CPU_ROUNDED(NAME, H, ru, UP)                                                              \
  CUDA_ON_CPU_ROUNDED(NAME, H, rd, DOWN)                                                            \
  inline H __double2##NAME(double d) { return H(d); }                                               \
  CUDA_ON_CPU_INTEGER(NAME, H, int, int)                                                            \
  CUDA_ON_CPU_INTEGER(NAME, H, uint, unsigned int)                                                  \
  CUDA_ON_CPU_INTEGER(NAME, H, short, short)                                                        \
  CUDA_ON_CPU_INTEGER(NAME, H, ushort, unsigned short)                                              \
  CUDA_ON_CPU_INTEGER(NAME, H, ll, long long)                                                       \
  CUDA_ON_CPU_INTEGER(NAME, H, ull, unsigned long long)                                             \
  inline signed char __##NAME##2char_rz(H h) {                                                      \
    return cuda_on_cpu::to_integer<signed char>(h.wide(), cuda_on_cpu::ZERO);                       \
  }                                                                                                 \
  inline unsigned char __##NAME##2uchar_rz(H h) {                                                   \
    return cuda_on_cpu::to_integer<unsigned char>(h.wide(), cuda_on_cpu::ZERO);                     \
  }                                                                                                 \
  inline short __##NAME##_as_short(H h) { return (short)h.bits; }                                   \
  inline unsigned short __##NAME##_as_ushort(H h) { return h.bits; }                                \
  inline H __short_as_##NAME(short i) { return H::from_bits((unsigned short)i); }                   \
  inline H __ushort_as_##NAME(unsigned short i) { return H::from_bits(i); }                         \
  inline H2 make_##NAME##2(H x, H y) { return H2(x, y); }                                           \
  inline H2 __halves2##NAME##2(H x, H y) { return H2(x, y); }                                       \
  inline H2 __##NAME##2##NAME##2(H h) { return H2(h, h); }                                          \
  inline H2 __float2##NAME##2_rn(float f) { return H2(H(f), H(f)); }                                \
  inline H2 __floats2##NAME##2_rn(float x, float y) { return H2(H(x), H(y)); }                      \
  inline H2 __float22##NAME##2_rn(float2 f) { return H2(H(f.x), H(f.y)); }                          \
  inline float2 __##NAME##22float2(H2 h) { return make_float2(h.x.wide(), h.y.wide()); }            \
  inline H __low2##NAME(H2 h) { return h.x; }                                                       \
  inline H __high2##NAME(H2 h) { return h.y; }                                                      \
  inline H2 __low2##NAME##2(H2 h) { return H2(h.x, h.x); }                                          \
  inline H2 __high2##NAME##2(H2 h) { return H2(h.y, h.y); }                                         \
  inline H2 __lows2##NAME##2(H2 a, H2 b) { return H2(a.x, b.x); }                                   \
  inline H2 __highs2##NAME##2(H2 a, H2 b) { return H2(a.y, b.y); }
#undef std
#define std cuda_on_cpu_own_std
