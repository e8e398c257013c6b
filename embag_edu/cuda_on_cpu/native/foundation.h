// foundation.h: what our headers need of the C++ library, without its headers. A kernel must not see
// what NVIDIA's compiler does not know: int64_t, INFINITY, std::max, fopen. The little that it does
// know of the library (size_t, memcpy, std::move) is here as well.
#pragma once
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef long clock_t;
#undef NULL
#define NULL 0
extern "C" {
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
void* malloc(size_t);
void free(void*);
}

namespace std {  // the language itself asks for it, under this name: what stands in braces
template <class T> class initializer_list {
  const T* first;
  size_t n;
  constexpr initializer_list(const T* first_, size_t n_) : first(first_), n(n_) {}
 public:
  constexpr initializer_list() : first(nullptr), n(0) {}
  constexpr size_t size() const { return n; }
  constexpr const T* begin() const { return first; }
  constexpr const T* end() const { return first + n; }
};
}  // namespace std

namespace cuda_on_cpu {
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
extern "C" int snprintf(char*, size_t, const char*, ...);
extern "C" int memcmp(const void*, const void*, size_t);
}  // namespace cuda_on_cpu

// Our headers write std::, which means this; the source's std:: is cuda_on_cpu_own_std (see below).
namespace cuda_on_cpu_std {
using ::std::initializer_list;
template <class T, T v> struct constant { static constexpr T value = v; };
template <class A, class B> struct is_same : constant<bool, false> {};
template <class A> struct is_same<A, A> : constant<bool, true> {};
template <class T> struct remove_reference { typedef T type; };
template <class T> struct remove_reference<T&> { typedef T type; };
template <class T> struct remove_reference<T&&> { typedef T type; };
template <class T> using remove_reference_t = typename remove_reference<T>::type;
template <class T> struct remove_cv { typedef T type; };
template <class T> struct remove_cv<const T> { typedef T type; };
template <class T> struct remove_cv<volatile T> { typedef T type; };
template <class T> struct remove_cv<const volatile T> { typedef T type; };
template <class T> using remove_cv_t = typename remove_cv<T>::type;
template <class T> struct remove_pointer { typedef T type; };
template <class T> struct remove_pointer<T*> { typedef T type; };
template <class T> using remove_pointer_t = typename remove_pointer<T>::type;
template <class T> struct remove_all_extents { typedef T type; };
template <class T> struct remove_all_extents<T[]> : remove_all_extents<T> {};
template <class T, size_t n> struct remove_all_extents<T[n]> : remove_all_extents<T> {};
template <class T> using remove_all_extents_t = typename remove_all_extents<T>::type;
template <class T> struct is_pointer : constant<bool, false> {};
template <class T> struct is_pointer<T*> : constant<bool, true> {};
template <class T> struct is_const : constant<bool, false> {};
template <class T> struct is_const<const T> : constant<bool, true> {};
template <class T> struct is_floating_point : constant<bool, is_same<T, float>::value || is_same<T, double>::value> {};
template <class T> struct is_signed : constant<bool, (T(-1) < T(0))> {};
template <bool, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> { typedef T type; };
template <bool b, class T = void> using enable_if_t = typename enable_if<b, T>::type;
template <size_t...> struct index_sequence {};
#if defined(__clang__)
template <class T, T... i> struct counted { typedef index_sequence<i...> type; };
template <size_t n> using make_index_sequence = typename __make_integer_seq<counted, size_t, n>::type;
#else
template <size_t n> using make_index_sequence = index_sequence<__integer_pack(n)...>;
#endif
template <class... T> using index_sequence_for = make_index_sequence<sizeof...(T)>;
}  // namespace cuda_on_cpu_std
namespace cuda_on_cpu_own_std {  // what NVIDIA's compiler has in std without any header
template <class T> constexpr cuda_on_cpu_std::remove_reference_t<T>&& move(T&& value) { return (cuda_on_cpu_std::remove_reference_t<T>&&)value; }
template <class T> constexpr T&& forward(cuda_on_cpu_std::remove_reference_t<T>& value) { return (T&&)value; }
typedef decltype(nullptr) nullptr_t;
}  // namespace cuda_on_cpu_own_std
#define std cuda_on_cpu_std
