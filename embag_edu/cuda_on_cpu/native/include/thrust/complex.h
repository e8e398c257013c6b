// thrust::complex<T>, as CuPy bundles it: complex numbers of two floats or two doubles, loaded whole.
#pragma once
#pragma GCC system_header
namespace thrust {
template <class T> struct alignas(2 * sizeof(T)) complex {
  typedef T value_type;
  complex() = default;
  CUDA_ON_CPU_HERE constexpr complex(const T& re, const T& im = T()) : parts{re, im} {}
  template <class U> CUDA_ON_CPU_HERE complex(const complex<U>& z) : parts{(T)z.real(), (T)z.imag()} {}
  CUDA_ON_CPU_WHOLE(complex)
  CUDA_ON_CPU_HERE T real() const { return parts[0]; }
  CUDA_ON_CPU_HERE T imag() const { return parts[1]; }
  CUDA_ON_CPU_HERE T real() const volatile { return parts[0]; }
  CUDA_ON_CPU_HERE T imag() const volatile { return parts[1]; }
  CUDA_ON_CPU_HERE void real(T re) { parts[0] = re; }
  CUDA_ON_CPU_HERE void imag(T im) { parts[1] = im; }
  CUDA_ON_CPU_HERE complex& operator+=(complex z) { return *this = *this + z; }
  CUDA_ON_CPU_HERE complex& operator-=(complex z) { return *this = *this - z; }
  CUDA_ON_CPU_HERE complex& operator*=(complex z) { return *this = *this * z; }
  CUDA_ON_CPU_HERE complex& operator/=(complex z) { return *this = *this / z; }
 private:
  T parts[2];
};
#define CUDA_ON_CPU_C template <class T> CUDA_ON_CPU_HERE inline
CUDA_ON_CPU_C complex<T> operator+(complex<T> a) { return a; }
CUDA_ON_CPU_C complex<T> operator-(complex<T> a) { return complex<T>(-a.real(), -a.imag()); }
CUDA_ON_CPU_C complex<T> operator+(complex<T> a, complex<T> b) { return complex<T>(a.real() + b.real(), a.imag() + b.imag()); }
CUDA_ON_CPU_C complex<T> operator+(complex<T> a, const T& b) { return complex<T>(a.real() + b, a.imag()); }
CUDA_ON_CPU_C complex<T> operator+(const T& a, complex<T> b) { return complex<T>(a + b.real(), b.imag()); }
CUDA_ON_CPU_C complex<T> operator-(complex<T> a, complex<T> b) { return complex<T>(a.real() - b.real(), a.imag() - b.imag()); }
CUDA_ON_CPU_C complex<T> operator-(complex<T> a, const T& b) { return complex<T>(a.real() - b, a.imag()); }
CUDA_ON_CPU_C complex<T> operator-(const T& a, complex<T> b) { return complex<T>(a - b.real(), -b.imag()); }
CUDA_ON_CPU_C complex<T> operator*(complex<T> a, complex<T> b) {
  return complex<T>(a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real());
}
CUDA_ON_CPU_C complex<T> operator*(complex<T> a, const T& b) { return complex<T>(a.real() * b, a.imag() * b); }
CUDA_ON_CPU_C complex<T> operator*(const T& a, complex<T> b) { return b * a; }
CUDA_ON_CPU_C complex<T> operator/(complex<T> a, complex<T> b) {  // scaled, so that squares stay finite
  T scale = T(1) / (fabs(b.real()) + fabs(b.imag()));
  a = a * scale, b = b * scale;
  T whole = T(1) / (b.real() * b.real() + b.imag() * b.imag());
  return complex<T>((a.real() * b.real() + a.imag() * b.imag()) * whole, (a.imag() * b.real() - a.real() * b.imag()) * whole);
}
CUDA_ON_CPU_C complex<T> operator/(complex<T> a, const T& b) { return complex<T>(a.real() / b, a.imag() / b); }
CUDA_ON_CPU_C complex<T> operator/(const T& a, complex<T> b) { return complex<T>(a) / b; }
namespace cuda_on_cpu_order {  // NumPy's order: by real parts, among equals by imaginary parts
CUDA_ON_CPU_C bool equal(complex<T> a, complex<T> b) { return a.real() == b.real() && a.imag() == b.imag(); }
CUDA_ON_CPU_C bool less(complex<T> a, complex<T> b) { return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag()); }
}  // namespace cuda_on_cpu_order
#define CUDA_ON_CPU_COMPARED(OP, RESULT)                                                           \
  CUDA_ON_CPU_C bool operator OP(complex<T> a, complex<T> b) { using namespace cuda_on_cpu_order; return RESULT; } \
  CUDA_ON_CPU_C bool operator OP(complex<T> a, const T& b) { return a OP complex<T>(b); }           \
  CUDA_ON_CPU_C bool operator OP(const T& a, complex<T> b) { return complex<T>(a) OP b; }
CUDA_ON_CPU_COMPARED(==, equal(a, b))
CUDA_ON_CPU_COMPARED(!=, !equal(a, b))
CUDA_ON_CPU_COMPARED(<, less(a, b))
CUDA_ON_CPU_COMPARED(>, less(b, a))
CUDA_ON_CPU_COMPARED(<=, less(a, b) || equal(a, b))
CUDA_ON_CPU_COMPARED(>=, less(b, a) || equal(a, b))
CUDA_ON_CPU_C T real(const complex<T>& z) { return z.real(); }
CUDA_ON_CPU_C T imag(const complex<T>& z) { return z.imag(); }
CUDA_ON_CPU_C T abs(const complex<T>& z) { return hypot(z.real(), z.imag()); }
CUDA_ON_CPU_C T arg(const complex<T>& z) { return atan2(z.imag(), z.real()); }
CUDA_ON_CPU_C T norm(const complex<T>& z) { return z.real() * z.real() + z.imag() * z.imag(); }
CUDA_ON_CPU_C complex<T> conj(const complex<T>& z) { return complex<T>(z.real(), -z.imag()); }
CUDA_ON_CPU_C complex<T> polar(const T& m, const T& theta = T()) { return complex<T>(m * cos(theta), m * sin(theta)); }
// The others are the C library's, of its own complex numbers.
#define CUDA_ON_CPU_COMPLEX(NAME, T, F)                                                             \
  inline complex<T> NAME(const complex<T>& z) {                                                    \
    T _Complex c;                                                                                  \
    __real__ c = z.real(), __imag__ c = z.imag();                                                  \
    c = __builtin_c##NAME##F(c);                                                                   \
    return complex<T>(__real__ c, __imag__ c);                                                     \
  }
#define CUDA_ON_CPU_COMPLEXES(NAME) CUDA_ON_CPU_COMPLEX(NAME, float, f) CUDA_ON_CPU_COMPLEX(NAME, double, )
CUDA_ON_CPU_COMPLEXES(exp) CUDA_ON_CPU_COMPLEXES(log) CUDA_ON_CPU_COMPLEXES(sqrt) CUDA_ON_CPU_COMPLEXES(proj)
CUDA_ON_CPU_COMPLEXES(sin) CUDA_ON_CPU_COMPLEXES(cos) CUDA_ON_CPU_COMPLEXES(tan)
CUDA_ON_CPU_COMPLEXES(sinh) CUDA_ON_CPU_COMPLEXES(cosh) CUDA_ON_CPU_COMPLEXES(tanh)
CUDA_ON_CPU_COMPLEXES(asin) CUDA_ON_CPU_COMPLEXES(acos) CUDA_ON_CPU_COMPLEXES(atan)
CUDA_ON_CPU_COMPLEXES(asinh) CUDA_ON_CPU_COMPLEXES(acosh) CUDA_ON_CPU_COMPLEXES(atanh)
CUDA_ON_CPU_C complex<T> log10(const complex<T>& z) { return log(z) / T(2.30258509299404568402); }
template <class T, class U> using cuda_on_cpu_wider = decltype(T() + U());
template <class T, class U> inline complex<cuda_on_cpu_wider<T, U>> pow(const complex<T>& x, const complex<U>& y) {
  typedef complex<cuda_on_cpu_wider<T, U>> C;
  return exp(log(C(x)) * C(y));
}
template <class T, class U> inline complex<cuda_on_cpu_wider<T, U>> pow(const complex<T>& x, const U& y) {
  return exp(log(complex<cuda_on_cpu_wider<T, U>>(x)) * (cuda_on_cpu_wider<T, U>)y);
}
template <class T, class U> inline complex<cuda_on_cpu_wider<T, U>> pow(const T& x, const complex<U>& y) {
  return exp((cuda_on_cpu_wider<T, U>)log((cuda_on_cpu_wider<T, U>)x) * complex<cuda_on_cpu_wider<T, U>>(y));
}
#undef CUDA_ON_CPU_C
}  // namespace thrust
namespace cuda_on_cpu {
CUDA_ON_CPU_TYPE(thrust::complex<float>, "complex64") CUDA_ON_CPU_TYPE(thrust::complex<double>, "complex128")
}  // namespace cuda_on_cpu
