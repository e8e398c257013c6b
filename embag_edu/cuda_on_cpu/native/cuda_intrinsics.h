// cuda_intrinsics.h: CUDA's functions that are seldom called: results rounded in a given direction, and
// the arithmetic of four bytes or two halves of a word.
#pragma once
#define CUDA_ON_CPU_CALL CUDA_ON_CPU_HERE inline

// ---- rounding: the nearest number, and on which side of it the true one lies -----------------------------
namespace cuda_on_cpu {
enum Direction { TO_NEAREST, TO_ZERO, UPWARD, DOWNWARD };
template <class T> inline T next_after(T from, bool up) {
  if constexpr (sizeof(T) == 4) return __builtin_nextafterf(from, up ? __builtin_inff() : -__builtin_inff());
  else return __builtin_nextafter(from, up ? __builtin_inf() : -__builtin_inf());
}
// near: what rounding to nearest gave; side: of the true value, above it (1), below (-1), the same (0).
template <class T> inline T rounded(T near, int side, Direction how) {
  if (how == TO_ZERO) how = near < 0 || (near == 0 && side < 0) ? UPWARD : DOWNWARD;
  if (how == UPWARD && side > 0) return next_after(near, true);
  return how == DOWNWARD && side < 0 ? next_after(near, false) : near;
}
inline int sign_of(double x) { return (x > 0) - (x < 0); }
inline int side_of_sum(double a, double b, double sum) {  // of a + b, as doubles, against a third number
  double s = a + b, t = s - a, error = (a - (s - t)) + (b - t);  // a + b is s + error
  return s == sum ? sign_of(error) : s > sum ? 1 : -1;
}
template <class T> inline T zero_down(T sum, bool a_negative, bool b_negative, Direction how) {  // 1 - 1 is -0 downward
  return how == DOWNWARD && sum == 0 && (a_negative || b_negative) ? -(T)0 : sum;
}
template <class T> inline T add(T a, T b, Direction how) {
  T near = a + b;
  int side = side_of_sum(a, b, near);
  if (sizeof(T) == 8 && __builtin_isinf(near)) side = __builtin_isinf(a) || __builtin_isinf(b) ? 0 : near > 0 ? -1 : 1;
  return side || near != near ? rounded(near, side, how) : zero_down(near, __builtin_signbit(a), __builtin_signbit(b), how);
}
inline float multiply(float a, float b, Direction how) {
  float near = a * b;
  double exact = (double)a * b;
  return rounded(near, (exact > near) - (exact < near), how);
}
inline double multiply(double a, double b, Direction how) {
  double near = a * b, x = a, y = b, scaled = near;
  if (__builtin_isinf(near)) return rounded(near, __builtin_isinf(a) || __builtin_isinf(b) ? 0 : near > 0 ? -1 : 1, how);
  if (__builtin_fabs(near) < 1e-250) {  // the rest would be too small for a double
    x *= 0x1p700, y *= 0x1p700, scaled = near * 0x1p700 * 0x1p700;
  }
  return rounded(near, sign_of(__builtin_fma(x, y, -scaled)), how);
}
template <class T> inline T divide(T a, T b, Direction how) {
  T near = a / b;
  if (near != near || __builtin_isinf(a) || __builtin_isinf(b) || b == 0) return near;
  if (__builtin_isinf(near)) return rounded(near, near > 0 ? -1 : 1, how);
  double x = a, y = b, q = near;
  if (sizeof(T) == 8 && __builtin_fabs(a) < 1e-250) x *= 0x1p600, q = near * 0x1p600, q = near == 0 ? 0 : q;
  if (sizeof(T) == 8 && __builtin_fabs(near) < 1e-250 && __builtin_fabs(a) >= 1e-250) y *= 0x1p-400, q = near * 0x1p400;
  int side = sign_of(__builtin_fma(-q, y, x));  // a - q * b
  return rounded(near, b < 0 ? -side : side, how);
}
template <class T> inline T root(T a, Direction how) {
  T near = sizeof(T) == 4 ? (T)__builtin_sqrtf((float)a) : (T)__builtin_sqrt((double)a);
  if (!(a > 0) || __builtin_isinf(a)) return near;
  double x = a, q = near;
  if (sizeof(T) == 8 && a < 1e-250) x *= 0x1p600, q *= 0x1p300;
  return rounded(near, sign_of(__builtin_fma(-q, q, x)), how);
}
inline float multiply_add(float a, float b, float c, Direction how) {
  double product = (double)a * b;
  float near = __builtin_fmaf(a, b, c);
  int side = __builtin_isinf(product) || __builtin_isinf(c) ? 0 : side_of_sum(product, c, near);
  return side || near != near ? rounded(near, side, how) : zero_down(near, __builtin_signbit(product), __builtin_signbit(c), how);
}
template <class To, class From> inline To convert(From from, Direction how) {
  To near = (To)from;
  int side = 0;
  if constexpr (std::is_floating_point<From>::value) side = (from > (From)near) - (from < (From)near);
  else side = ((__int128)from > (__int128)near) - ((__int128)from < (__int128)near);
  return rounded(near, side, how);
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_DIRECTED(END, HOW)                                                              \
  CUDA_ON_CPU_CALL float __fadd_##END(float a, float b) { return cuda_on_cpu::add(a, b, HOW); }     \
  CUDA_ON_CPU_CALL float __fsub_##END(float a, float b) { return cuda_on_cpu::add(a, -b, HOW); }    \
  CUDA_ON_CPU_CALL float __fmul_##END(float a, float b) { return cuda_on_cpu::multiply(a, b, HOW); } \
  CUDA_ON_CPU_CALL float __fdiv_##END(float a, float b) { return cuda_on_cpu::divide(a, b, HOW); }  \
  CUDA_ON_CPU_CALL float __frcp_##END(float a) { return cuda_on_cpu::divide(1.0f, a, HOW); }        \
  CUDA_ON_CPU_CALL float __fsqrt_##END(float a) { return cuda_on_cpu::root(a, HOW); }               \
  CUDA_ON_CPU_CALL float __fmaf_##END(float a, float b, float c) { return cuda_on_cpu::multiply_add(a, b, c, HOW); } \
  CUDA_ON_CPU_CALL double __dadd_##END(double a, double b) { return cuda_on_cpu::add(a, b, HOW); }  \
  CUDA_ON_CPU_CALL double __dsub_##END(double a, double b) { return cuda_on_cpu::add(a, -b, HOW); } \
  CUDA_ON_CPU_CALL double __dmul_##END(double a, double b) { return cuda_on_cpu::multiply(a, b, HOW); } \
  CUDA_ON_CPU_CALL double __ddiv_##END(double a, double b) { return cuda_on_cpu::divide(a, b, HOW); } \
  CUDA_ON_CPU_CALL double __drcp_##END(double a) { return cuda_on_cpu::divide(1.0, a, HOW); }       \
  CUDA_ON_CPU_CALL double __dsqrt_##END(double a) { return cuda_on_cpu::root(a, HOW); }
CUDA_ON_CPU_DIRECTED(rz, cuda_on_cpu::TO_ZERO) CUDA_ON_CPU_DIRECTED(ru, cuda_on_cpu::UPWARD) CUDA_ON_CPU_DIRECTED(rd, cuda_on_cpu::DOWNWARD)
CUDA_ON_CPU_CALL double __dsub_rn(double a, double b) { return a - b; }
CUDA_ON_CPU_CALL double __ddiv_rn(double a, double b) { return a / b; }
CUDA_ON_CPU_CALL double __drcp_rn(double a) { return 1.0 / a; }
CUDA_ON_CPU_CALL double __dsqrt_rn(double a) { return __builtin_sqrt(a); }
#define CUDA_ON_CPU_IEEE(END)  /* it is always so here: subnormal numbers are kept */ \
  CUDA_ON_CPU_CALL float __fmaf_ieee_##END(float a, float b, float c) { return __fmaf_##END(a, b, c); }
CUDA_ON_CPU_IEEE(rn) CUDA_ON_CPU_IEEE(rz) CUDA_ON_CPU_IEEE(ru) CUDA_ON_CPU_IEEE(rd)
#define CUDA_ON_CPU_CONVERT(NAME, FROM, TO)                                                         \
  CUDA_ON_CPU_CALL TO NAME##_rn(FROM x) { return (TO)x; }                                           \
  CUDA_ON_CPU_CALL TO NAME##_rz(FROM x) { return cuda_on_cpu::convert<TO>(x, cuda_on_cpu::TO_ZERO); } \
  CUDA_ON_CPU_CALL TO NAME##_ru(FROM x) { return cuda_on_cpu::convert<TO>(x, cuda_on_cpu::UPWARD); } \
  CUDA_ON_CPU_CALL TO NAME##_rd(FROM x) { return cuda_on_cpu::convert<TO>(x, cuda_on_cpu::DOWNWARD); }
CUDA_ON_CPU_CONVERT(__int2float, int, float) CUDA_ON_CPU_CONVERT(__uint2float, unsigned, float)
CUDA_ON_CPU_CONVERT(__ll2float, long long, float) CUDA_ON_CPU_CONVERT(__ull2float, unsigned long long, float)
CUDA_ON_CPU_CONVERT(__ll2double, long long, double) CUDA_ON_CPU_CONVERT(__ull2double, unsigned long long, double)
CUDA_ON_CPU_CONVERT(__double2float, double, float)
CUDA_ON_CPU_CALL double __int2double_rn(int i) { return i; }
CUDA_ON_CPU_CALL double __uint2double_rn(unsigned i) { return i; }

// ---- two halves or four bytes of a word -------------------------------------------------------------------
namespace cuda_on_cpu {
template <int bits> inline int part_of(unsigned word, int k, bool is_signed) {
  int value = (int)(word >> bits * k & ((1u << bits) - 1));
  return is_signed && value >> (bits - 1) ? value - (1 << bits) : value;
}
template <int bits> inline int saturated(int value, bool is_signed) {
  int low = is_signed ? -(1 << (bits - 1)) : 0, high = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  return value < low ? low : value > high ? high : value;
}
template <int bits, class F> CUDA_ON_CPU_CALL unsigned each_part(unsigned a, unsigned b, bool is_signed, F f) {
  unsigned result = 0;
  for (int k = 0; k < 32 / bits; k++) result |= ((unsigned)f(part_of<bits>(a, k, is_signed), part_of<bits>(b, k, is_signed)) & ((1u << bits) - 1)) << bits * k;
  return result;
}
template <int bits> inline unsigned distances(unsigned a, unsigned b, bool is_signed) {
  unsigned sum = 0;
  for (int k = 0; k < 32 / bits; k++) sum += (unsigned)__builtin_abs(part_of<bits>(a, k, is_signed) - part_of<bits>(b, k, is_signed));
  return sum;
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_TWO_PARTS(NAME, N, SIGNED, RESULT)                                              \
  CUDA_ON_CPU_CALL unsigned __v##NAME##N(unsigned a, unsigned b) {                                  \
    return cuda_on_cpu::each_part<32 / N>(a, b, SIGNED, [](int x, int y) { (void)y; return RESULT; }); \
  }
#define CUDA_ON_CPU_ONE_PART(NAME, N, RESULT)                                                       \
  CUDA_ON_CPU_CALL unsigned __v##NAME##N(unsigned a) {                                              \
    return cuda_on_cpu::each_part<32 / N>(a, 0, true, [](int x, int) { return RESULT; });           \
  }
#define CUDA_ON_CPU_COMPARE_PARTS(NAME, N, SIGNED, SIGN)                                            \
  CUDA_ON_CPU_TWO_PARTS(cmp##NAME, N, SIGNED, x SIGN y ? -1 : 0) CUDA_ON_CPU_TWO_PARTS(set##NAME, N, SIGNED, x SIGN y)
#define CUDA_ON_CPU_PARTS_OF_WORD(N)                                                                \
  CUDA_ON_CPU_TWO_PARTS(add, N, false, x + y) CUDA_ON_CPU_TWO_PARTS(sub, N, false, x - y)           \
  CUDA_ON_CPU_TWO_PARTS(addss, N, true, cuda_on_cpu::saturated<32 / N>(x + y, true)) CUDA_ON_CPU_TWO_PARTS(addus, N, false, cuda_on_cpu::saturated<32 / N>(x + y, false)) \
  CUDA_ON_CPU_TWO_PARTS(subss, N, true, cuda_on_cpu::saturated<32 / N>(x - y, true)) CUDA_ON_CPU_TWO_PARTS(subus, N, false, cuda_on_cpu::saturated<32 / N>(x - y, false)) \
  CUDA_ON_CPU_TWO_PARTS(avgs, N, true, (x + y + (x + y >= 0)) >> 1) CUDA_ON_CPU_TWO_PARTS(avgu, N, false, (x + y + 1) / 2) CUDA_ON_CPU_TWO_PARTS(haddu, N, false, (x + y) / 2) \
  CUDA_ON_CPU_TWO_PARTS(absdiffs, N, true, x < y ? y - x : x - y) CUDA_ON_CPU_TWO_PARTS(absdiffu, N, false, x < y ? y - x : x - y) \
  CUDA_ON_CPU_TWO_PARTS(maxs, N, true, x < y ? y : x) CUDA_ON_CPU_TWO_PARTS(maxu, N, false, x < y ? y : x) \
  CUDA_ON_CPU_TWO_PARTS(mins, N, true, y < x ? y : x) CUDA_ON_CPU_TWO_PARTS(minu, N, false, y < x ? y : x) \
  CUDA_ON_CPU_ONE_PART(abs, N, x < 0 ? -x : x) CUDA_ON_CPU_ONE_PART(neg, N, -x)                     \
  CUDA_ON_CPU_ONE_PART(absss, N, cuda_on_cpu::saturated<32 / N>(x < 0 ? -x : x, true)) CUDA_ON_CPU_ONE_PART(negss, N, cuda_on_cpu::saturated<32 / N>(-x, true)) \
  CUDA_ON_CPU_COMPARE_PARTS(eq, N, false, ==) CUDA_ON_CPU_COMPARE_PARTS(ne, N, false, !=)           \
  CUDA_ON_CPU_COMPARE_PARTS(ges, N, true, >=) CUDA_ON_CPU_COMPARE_PARTS(geu, N, false, >=)          \
  CUDA_ON_CPU_COMPARE_PARTS(gts, N, true, >) CUDA_ON_CPU_COMPARE_PARTS(gtu, N, false, >)            \
  CUDA_ON_CPU_COMPARE_PARTS(les, N, true, <=) CUDA_ON_CPU_COMPARE_PARTS(leu, N, false, <=)          \
  CUDA_ON_CPU_COMPARE_PARTS(lts, N, true, <) CUDA_ON_CPU_COMPARE_PARTS(ltu, N, false, <)            \
  CUDA_ON_CPU_CALL unsigned __vsads##N(unsigned a, unsigned b) { return cuda_on_cpu::distances<32 / N>(a, b, true); } \
  CUDA_ON_CPU_CALL unsigned __vsadu##N(unsigned a, unsigned b) { return cuda_on_cpu::distances<32 / N>(a, b, false); }
CUDA_ON_CPU_PARTS_OF_WORD(2) CUDA_ON_CPU_PARTS_OF_WORD(4)
#define CUDA_ON_CPU_DOT2(T, SIGNED)                                                                 \
  CUDA_ON_CPU_CALL T __dp2a_lo(T a, T b, T c) { return c + (T)(cuda_on_cpu::part_of<16>((unsigned)a, 0, SIGNED) * cuda_on_cpu::part_of<8>((unsigned)b, 0, SIGNED)) + (T)(cuda_on_cpu::part_of<16>((unsigned)a, 1, SIGNED) * cuda_on_cpu::part_of<8>((unsigned)b, 1, SIGNED)); } \
  CUDA_ON_CPU_CALL T __dp2a_hi(T a, T b, T c) { return c + (T)(cuda_on_cpu::part_of<16>((unsigned)a, 0, SIGNED) * cuda_on_cpu::part_of<8>((unsigned)b, 2, SIGNED)) + (T)(cuda_on_cpu::part_of<16>((unsigned)a, 1, SIGNED) * cuda_on_cpu::part_of<8>((unsigned)b, 3, SIGNED)); }
CUDA_ON_CPU_DOT2(int, true) CUDA_ON_CPU_DOT2(unsigned, false)
namespace cuda_on_cpu {
template <class V> CUDA_ON_CPU_CALL int word_of(const V& v) { return same_bits<int>(v); }
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_DOT_VECTORS(T, S, B)                                                            \
  CUDA_ON_CPU_CALL T __dp4a(B##4 a, B##4 b, T c) { return __dp4a((T)cuda_on_cpu::word_of(a), (T)cuda_on_cpu::word_of(b), c); } \
  CUDA_ON_CPU_CALL T __dp2a_lo(S##2 a, B##4 b, T c) { return __dp2a_lo((T)cuda_on_cpu::word_of(a), (T)cuda_on_cpu::word_of(b), c); } \
  CUDA_ON_CPU_CALL T __dp2a_hi(S##2 a, B##4 b, T c) { return __dp2a_hi((T)cuda_on_cpu::word_of(a), (T)cuda_on_cpu::word_of(b), c); }
CUDA_ON_CPU_DOT_VECTORS(int, short, char) CUDA_ON_CPU_DOT_VECTORS(unsigned, ushort, uchar)

// ---- where memory lies -------------------------------------------------------------------------------------
namespace cuda_on_cpu {
enum Space { GLOBAL_SPACE, SHARED_SPACE, LOCAL_SPACE };
Space space_of(const void* address);
template <class... T> CUDA_ON_CPU_CALL bool within(const void* p, const volatile T&... v) {  // one of these variables
  return (((uint64_t)p - (uint64_t)__builtin_addressof(v) < sizeof(T)) || ...);
}
}  // namespace cuda_on_cpu
bool cuda_on_cpu_is_constant(const void* p);  // stands behind the source, where its variables are known
CUDA_ON_CPU_CALL unsigned __isShared(const void* p) { return cuda_on_cpu::space_of(p) == cuda_on_cpu::SHARED_SPACE; }
CUDA_ON_CPU_CALL unsigned __isLocal(const void* p) { return cuda_on_cpu::space_of(p) == cuda_on_cpu::LOCAL_SPACE; }
CUDA_ON_CPU_CALL unsigned __isGlobal(const void* p) { return cuda_on_cpu::space_of(p) == cuda_on_cpu::GLOBAL_SPACE && !cuda_on_cpu_is_constant(p); }
CUDA_ON_CPU_CALL unsigned __isConstant(const void* p) { return cuda_on_cpu_is_constant(p); }
#ifndef __clang__
#define __builtin_assume(condition) ((void)0)
#endif
