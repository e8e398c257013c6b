// cuda_on_cpu.h: what a CUDA kernel sees when an ordinary C++17 compiler compiles it.
//
// Every CUDA thread is a fiber: a function call with a stack of its own. One CPU core runs one block
// at a time. It runs a thread until the thread must wait (__syncthreads, a warp shuffle) or ends,
// then another one. When the last thread has reached the barrier, all of them go on.
// The scheduler is in scheduler.cpp; what checked mode adds is in recorder.cpp.
// A function that may wait, fail or be counted knows the line it was called from (line_now).
#pragma once
#pragma GCC system_header  // a compiler's warnings are about the source
#ifndef CUDA_ON_CPU_RUNTIME  // the scheduler and the recorder are ordinary C++
#include "foundation.h"
#endif

// ---- keywords ----------------------------------------------------------------------------------
#define CUDA_ON_CPU 1
#ifdef CUDA_ON_CPU_CHECKED
#define __global__ __attribute__((noinline))  // or it would be taken into a function that is not watched
#else
#define __global__
#endif
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __grid_constant__
#define line_now int line = __builtin_LINE()
// These functions have no lines of their own: what they do happens in the line that they stand on.
#ifdef __clang__
#define CUDA_ON_CPU_HERE __attribute__((always_inline, nodebug))
#else
#define CUDA_ON_CPU_HERE __attribute__((always_inline))
#endif
#if defined(CUDA_ON_CPU_CHECKED) && defined(__clang__)
#define CUDA_ON_CPU_UNSEEN inline __attribute__((no_sanitize("thread"), no_sanitize("coverage"), noinline))
#elif defined(CUDA_ON_CPU_CHECKED)
#define CUDA_ON_CPU_UNSEEN inline __attribute__((no_sanitize("thread"), no_sanitize_coverage, noinline))
#else
#define CUDA_ON_CPU_UNSEEN inline
#endif

// ---- vector types ------------------------------------------------------------------------------
// A float4 is copied as one value of 16 bytes, as the GPU's 128-bit load does, not as four floats.
namespace cuda_on_cpu {
template <int bytes> struct whole { typedef void type; };
template <> struct whole<1> { typedef uint8_t type __attribute__((may_alias)); };
#ifdef __clang__  // it takes the load of an integer apart, and not that of a vector
template <> struct whole<2> { typedef uint8_t type __attribute__((vector_size(2), may_alias)); };
template <> struct whole<4> { typedef uint16_t type __attribute__((vector_size(4), may_alias)); };
template <> struct whole<8> { typedef uint32_t type __attribute__((vector_size(8), may_alias)); };
#else
template <> struct whole<2> { typedef uint16_t type __attribute__((may_alias)); };
template <> struct whole<4> { typedef uint32_t type __attribute__((may_alias)); };
template <> struct whole<8> { typedef uint64_t type __attribute__((may_alias)); };
#endif
template <> struct whole<16> { typedef uint32_t type __attribute__((vector_size(16), may_alias)); };
template <class T> CUDA_ON_CPU_HERE inline void copy_whole(T& to, const T& from) {
  constexpr int bytes = alignof(T) < 16 ? alignof(T) : 16;  // of one load; more of them if need be
  using Piece = typename whole<bytes>::type;
  if constexpr (sizeof(T) == bytes) *(Piece*)(void*)&to = *(const Piece*)(const void*)&from;  // a loop has no line
  else for (unsigned i = 0; i < sizeof(T) / bytes; i++) ((Piece*)(void*)&to)[i] = ((const Piece*)(const void*)&from)[i];
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_COPY_WHOLE(NAME)                                                              \
  CUDA_ON_CPU_HERE NAME(const NAME& other) { cuda_on_cpu::copy_whole(*this, other); }             \
  CUDA_ON_CPU_HERE NAME& operator=(const NAME& other) { cuda_on_cpu::copy_whole(*this, other); return *this; }
// rewrite.py puts this into every aligned struct of a source: clang would copy it member by member.
// g++ copies it whole as it is. Where a source does not compile with it, it is compiled without.
#if defined(__clang__) && defined(CUDA_ON_CPU_CHECKED) && !defined(CUDA_ON_CPU_IN_PARTS)
#define CUDA_ON_CPU_WHOLE(NAME) CUDA_ON_CPU_COPY_WHOLE(NAME)
#else
#define CUDA_ON_CPU_WHOLE(NAME)
#endif
// float4{1, 2, 3, 4} and = {1, 2} are CUDA, float4(1, 2, 3, 4) is not: there they are plain structs.
namespace cuda_on_cpu {
struct Parts {};
template <class T> constexpr T part(std::initializer_list<T> list, size_t i) { return i < list.size() ? list.begin()[i] : T(); }
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_VECTORS(NAME, T)                                                              \
  struct NAME##1 { T x; };                                                                        \
  struct alignas(2 * sizeof(T)) NAME##2 {                                                         \
    T x, y;                                                                                       \
    NAME##2() = default;                                                                          \
    CUDA_ON_CPU_HERE constexpr NAME##2(cuda_on_cpu::Parts, T x_, T y_) : x(x_), y(y_) {}          \
    CUDA_ON_CPU_HERE constexpr NAME##2(std::initializer_list<T> v) : x(cuda_on_cpu::part(v, 0)), y(cuda_on_cpu::part(v, 1)) {} \
    CUDA_ON_CPU_WHOLE(NAME##2)                                                               \
  };                                                                                              \
  struct NAME##3 { T x, y, z; };                                                                  \
  inline NAME##1 make_##NAME##1(T x) { return {x}; }                                              \
  inline NAME##2 make_##NAME##2(T x, T y) { return NAME##2(cuda_on_cpu::Parts(), x, y); }         \
  inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }
#define CUDA_ON_CPU_VECTOR4(NAME, T)                                                              \
  struct alignas(4 * sizeof(T)) NAME##4 {                                                         \
    T x, y, z, w;                                                                                 \
    NAME##4() = default;                                                                          \
    CUDA_ON_CPU_HERE constexpr NAME##4(cuda_on_cpu::Parts, T x_, T y_, T z_, T w_) : x(x_), y(y_), z(z_), w(w_) {} \
    CUDA_ON_CPU_HERE constexpr NAME##4(std::initializer_list<T> v)                                \
        : x(cuda_on_cpu::part(v, 0)), y(cuda_on_cpu::part(v, 1)), z(cuda_on_cpu::part(v, 2)), w(cuda_on_cpu::part(v, 3)) {} \
    CUDA_ON_CPU_WHOLE(NAME##4)                                                               \
  };                                                                                              \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return NAME##4(cuda_on_cpu::Parts(), x, y, z, w); }
#define CUDA_ON_CPU_WIDE4(NAME, T) /* 32 bytes: two loads, on a GPU as here */                    \
  struct alignas(16) NAME##4 { T x, y, z, w; };                                                   \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTORS(char, signed char)             CUDA_ON_CPU_VECTOR4(char, signed char)
CUDA_ON_CPU_VECTORS(uchar, unsigned char)          CUDA_ON_CPU_VECTOR4(uchar, unsigned char)
CUDA_ON_CPU_VECTORS(short, short)                  CUDA_ON_CPU_VECTOR4(short, short)
CUDA_ON_CPU_VECTORS(ushort, unsigned short)        CUDA_ON_CPU_VECTOR4(ushort, unsigned short)
CUDA_ON_CPU_VECTORS(int, int)                      CUDA_ON_CPU_VECTOR4(int, int)
CUDA_ON_CPU_VECTORS(uint, unsigned)                CUDA_ON_CPU_VECTOR4(uint, unsigned)
CUDA_ON_CPU_VECTORS(long, long)                    CUDA_ON_CPU_WIDE4(long, long)
CUDA_ON_CPU_VECTORS(ulong, unsigned long)          CUDA_ON_CPU_WIDE4(ulong, unsigned long)
CUDA_ON_CPU_VECTORS(longlong, long long)           CUDA_ON_CPU_WIDE4(longlong, long long)
CUDA_ON_CPU_VECTORS(ulonglong, unsigned long long) CUDA_ON_CPU_WIDE4(ulonglong, unsigned long long)
CUDA_ON_CPU_VECTORS(float, float)                  CUDA_ON_CPU_VECTOR4(float, float)
CUDA_ON_CPU_VECTORS(double, double)                CUDA_ON_CPU_WIDE4(double, double)
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

// ---- threadIdx, blockIdx, blockDim, gridDim ------------------------------------------------------
namespace cuda_on_cpu {
struct Here {  // where a thread is
  uint3 threadIdx, blockIdx;
  dim3 blockDim, gridDim;
  char *shared, *dynamic_shared;  // its block's shared memory
};
extern Here* here;  // set by the scheduler whenever a thread goes on
// As long as no thread of a block has waited, threads run in order, one after another: then the
// next one is a step in an array, and nothing is written down about those that have ended.
struct Queue { Here *next, *end; size_t stride; };  // next == end: nobody is left, or somebody waits
extern Queue unwaited;
CUDA_ON_CPU_UNSEEN bool next_thread() {
  if (unwaited.next == unwaited.end) return false;
  here = unwaited.next;
  unwaited.next = (Here*)((char*)unwaited.next + unwaited.stride);
  return true;
}
#ifdef CUDA_ON_CPU_CHECKED
// Out of line, so that a look at threadIdx is not taken for an access to memory.
uint3 thread_index() __attribute__((const));
uint3 block_index() __attribute__((const));
dim3 block_size() __attribute__((const));
dim3 grid_size() __attribute__((const));
#else
inline const uint3& thread_index() { return here->threadIdx; }
inline const uint3& block_index() { return here->blockIdx; }
inline const dim3& block_size() { return here->blockDim; }
inline const dim3& grid_size() { return here->gridDim; }
#endif
}  // namespace cuda_on_cpu
#define threadIdx (cuda_on_cpu::thread_index())
#define blockIdx (cuda_on_cpu::block_index())
#define blockDim (cuda_on_cpu::block_size())
#define gridDim (cuda_on_cpu::grid_size())
CUDA_ON_CPU_HERE inline int cuda_on_cpu_warp_size() { return 32; }  // as on a GPU no constant of the language
#define warpSize (cuda_on_cpu_warp_size())

// ---- shared memory --------------------------------------------------------------------------------
// `__shared__ float a[4];` is rewritten (source.py) to a struct with that member, placed in the
// block's shared memory when a thread of the launch first comes by.
namespace cuda_on_cpu {
extern unsigned launch_number;
unsigned reserve_shared(size_t bytes, const char* names, int line);
template <class T> struct Slot { static inline unsigned launch = 0, offset = 0; };
template <class T> CUDA_ON_CPU_UNSEEN T& place(const char* names, int line) {
  if (Slot<T>::launch != launch_number) {
    Slot<T>::offset = reserve_shared(sizeof(T), names, line);
    Slot<T>::launch = launch_number;
  }
  return *(T*)(void*)(here->shared + Slot<T>::offset);
}
CUDA_ON_CPU_UNSEEN char* dynamic_shared() { return here->dynamic_shared; }
}  // namespace cuda_on_cpu

// ---- barriers -------------------------------------------------------------------------------------
namespace cuda_on_cpu {
enum Vote { COUNT, AND, OR, NONE, GRID };  // GRID: and of all other blocks
enum Scope { IN_BLOCK, ON_DEVICE };
int barrier(Vote vote, int predicate, int line, int place = 0);
bool cooperative();  // the launch may wait for all its blocks
inline void barrier_at(int line, int place) { barrier(NONE, 0, line, place); }
void fence(Scope scope);
void yield();  // let the other threads run
int print(const char* format, ...);
[[noreturn]] void assertion_failed(const char* text, int line);
long long steps();
}  // namespace cuda_on_cpu
#define __syncthreads() cuda_on_cpu::barrier_at(__LINE__, __COUNTER__ + 1)  // a line may hold two
CUDA_ON_CPU_HERE inline int __syncthreads_count(int p, line_now) { return cuda_on_cpu::barrier(cuda_on_cpu::COUNT, p, line); }
CUDA_ON_CPU_HERE inline int __syncthreads_and(int p, line_now) { return cuda_on_cpu::barrier(cuda_on_cpu::AND, p, line); }
CUDA_ON_CPU_HERE inline int __syncthreads_or(int p, line_now) { return cuda_on_cpu::barrier(cuda_on_cpu::OR, p, line); }
inline void __threadfence() { cuda_on_cpu::fence(cuda_on_cpu::ON_DEVICE); }
inline void __threadfence_block() { cuda_on_cpu::fence(cuda_on_cpu::IN_BLOCK); }
inline void __threadfence_system() { cuda_on_cpu::fence(cuda_on_cpu::ON_DEVICE); }
inline void __nanosleep(unsigned) { cuda_on_cpu::yield(); }
inline long long clock64() { return cuda_on_cpu::steps(); }
inline int clock() { return (int)cuda_on_cpu::steps(); }
#define printf cuda_on_cpu::print
#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) ((condition) ? (void)0 : cuda_on_cpu::assertion_failed(#condition, __LINE__))
#endif
#define __brkpt() __trap()
#define __prof_trigger(n) ((void)0)
#define __trap() cuda_on_cpu::assertion_failed("__trap()", __LINE__)

// ---- warps: all lanes named in the mask come together, then every one gets its result ---------------
namespace cuda_on_cpu {
enum WarpOp { SYNC, SHUFFLE, BALLOT, MATCH_ANY, MATCH_ALL, ADD, MIN, MAX, UMIN, UMAX, BIT_AND, BIT_OR, BIT_XOR, ACTIVE };
uint64_t warp(WarpOp op, unsigned mask, uint64_t in, int from, int line);
unsigned active_lanes(int line, int place);
#ifdef CUDA_ON_CPU_CHECKED
unsigned lane() __attribute__((const));
#else
unsigned lane();
#endif
template <class T> uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= 8, "a warp operation takes values of at most 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T> CUDA_ON_CPU_HERE T shuffle(unsigned mask, T value, int from, int line) {
  uint64_t bits = warp(SHUFFLE, mask, bits_of(value), from, line);
  memcpy((void*)&value, &bits, sizeof(T));
  return value;
}
// The types that a lane may hand to another; what is shorter than an int is handed on as an int.
#define CUDA_ON_CPU_LANES(NAME)                                                                   \
  int NAME(int); unsigned NAME(unsigned); long NAME(long); unsigned long NAME(unsigned long);     \
  long long NAME(long long); unsigned long long NAME(unsigned long long); float NAME(float); double NAME(double);
CUDA_ON_CPU_LANES(shuffled) CUDA_ON_CPU_LANES(matched)
template <class T> using Shuffled = decltype(shuffled(*(T*)nullptr));
template <class T> using Matched = decltype(matched(*(T*)nullptr));
inline int group(int width) { return (int)lane() & ~(width - 1); }  // the first lane of my group
}  // namespace cuda_on_cpu
CUDA_ON_CPU_HERE inline void __syncwarp(unsigned mask = ~0u, line_now) { cuda_on_cpu::warp(cuda_on_cpu::SYNC, mask, 0, 0, line); }
CUDA_ON_CPU_HERE inline unsigned __ballot_sync(unsigned mask, int p, line_now) { return (unsigned)cuda_on_cpu::warp(cuda_on_cpu::BALLOT, mask, p != 0, 0, line); }
CUDA_ON_CPU_HERE inline int __any_sync(unsigned mask, int p, line_now) { return __ballot_sync(mask, p, line) != 0; }
CUDA_ON_CPU_HERE inline int __all_sync(unsigned mask, int p, line_now) { return __ballot_sync(mask, !p, line) == 0; }
// The lanes that come to this place together: when no lane of the warp can go on without them.
#define __activemask() (cuda_on_cpu::active_lanes(__LINE__, __COUNTER__ + 1))
template <class T, class R = cuda_on_cpu::Shuffled<T>> CUDA_ON_CPU_HERE R __shfl_sync(unsigned mask, T value, int from, int width = 32, line_now) {
  return cuda_on_cpu::shuffle(mask, (R)value, cuda_on_cpu::group(width) + (from & (width - 1)), line);
}
template <class T, class R = cuda_on_cpu::Shuffled<T>> CUDA_ON_CPU_HERE R __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, line_now) {
  int me = (int)cuda_on_cpu::lane(), from = me - (int)delta;
  return cuda_on_cpu::shuffle(mask, (R)value, from >= cuda_on_cpu::group(width) ? from : me, line);
}
template <class T, class R = cuda_on_cpu::Shuffled<T>> CUDA_ON_CPU_HERE R __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, line_now) {
  int me = (int)cuda_on_cpu::lane(), from = me + (int)delta;
  return cuda_on_cpu::shuffle(mask, (R)value, from < cuda_on_cpu::group(width) + width ? from : me, line);
}
template <class T, class R = cuda_on_cpu::Shuffled<T>> CUDA_ON_CPU_HERE R __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, line_now) {
  int me = (int)cuda_on_cpu::lane(), from = me ^ lanes;
  return cuda_on_cpu::shuffle(mask, (R)value, from < cuda_on_cpu::group(width) + width ? from : me, line);
}
template <class T, class R = cuda_on_cpu::Matched<T>> CUDA_ON_CPU_HERE unsigned __match_any_sync(unsigned mask, T value, line_now) {
  return (unsigned)cuda_on_cpu::warp(cuda_on_cpu::MATCH_ANY, mask, cuda_on_cpu::bits_of((R)value), 0, line);
}
template <class T, class R = cuda_on_cpu::Matched<T>> CUDA_ON_CPU_HERE unsigned __match_all_sync(unsigned mask, T value, int* all, line_now) {
  unsigned same = (unsigned)cuda_on_cpu::warp(cuda_on_cpu::MATCH_ALL, mask, cuda_on_cpu::bits_of((R)value), 0, line);
  *all = same != 0;
  return same;
}
#define CUDA_ON_CPU_REDUCE(NAME, T, OP)                                                           \
  CUDA_ON_CPU_HERE inline T NAME(unsigned mask, T value, line_now) {                                               \
    return (T)cuda_on_cpu::warp(cuda_on_cpu::OP, mask, (unsigned)value, 0, line);                 \
  }
CUDA_ON_CPU_REDUCE(__reduce_add_sync, int, ADD)
CUDA_ON_CPU_REDUCE(__reduce_add_sync, unsigned, ADD)
CUDA_ON_CPU_REDUCE(__reduce_min_sync, int, MIN)
CUDA_ON_CPU_REDUCE(__reduce_min_sync, unsigned, UMIN)
CUDA_ON_CPU_REDUCE(__reduce_max_sync, int, MAX)
CUDA_ON_CPU_REDUCE(__reduce_max_sync, unsigned, UMAX)
CUDA_ON_CPU_REDUCE(__reduce_and_sync, unsigned, BIT_AND)
CUDA_ON_CPU_REDUCE(__reduce_or_sync, unsigned, BIT_OR)
CUDA_ON_CPU_REDUCE(__reduce_xor_sync, unsigned, BIT_XOR)

struct __half;
struct __half2;
struct __nv_bfloat16;
struct __nv_bfloat162;

// ---- atomics --------------------------------------------------------------------------------------
// Fast mode: a compare-and-swap loop, since several cores run. Checked mode: one core, and no other
// thread goes on between touch_atomic, which checks and counts, and the update.
namespace cuda_on_cpu {
#ifdef CUDA_ON_CPU_CHECKED
void touch_atomic(const volatile void* address, unsigned bytes, int line, Scope scope = ON_DEVICE);
void compares(const volatile void* address, unsigned bytes, const void* expected);  // what atomicCAS is told
extern bool in_atomic;  // nothing is recorded and nobody else goes on
#else
extern uint16_t atomics_in_a_row;
inline void compares(const volatile void*, unsigned, const void*) {}
inline void touch_atomic(const volatile void*, unsigned, int, Scope = ON_DEVICE) {
  if (++atomics_in_a_row == 0) yield();  // every 65,536: it may be waiting for another thread
}
#endif
template <int bytes> struct word;
template <> struct word<2> { typedef uint16_t type; };
template <> struct word<4> { typedef uint32_t type; };
template <> struct word<8> { typedef uint64_t type; };
template <class T, class Change> CUDA_ON_CPU_UNSEEN T atomic_update(T* address, Change change) {
#ifdef CUDA_ON_CPU_CHECKED
  in_atomic = true;
  T old = *address;
  *address = change(old);
  in_atomic = false;
  return old;
#else
  using Word = typename word<sizeof(T)>::type;
  Word before = __atomic_load_n((Word*)(void*)address, __ATOMIC_RELAXED), after;
  T old, now;
  do {
    memcpy((void*)&old, &before, sizeof(T));
    now = change(old);
    memcpy(&after, (void*)&now, sizeof(T));
  } while (!__atomic_compare_exchange_n((Word*)(void*)address, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
#endif
}
// The types that an atomic takes: no others exist on a GPU.
template <class T, class... Types> using OneOf = std::enable_if_t<(std::is_same<T, Types>::value || ...), int>;
template <class T> struct same { typedef T type; };  // so that atomicAdd(float*, 1) takes the int
template <class T> using Same = typename same<T>::type;
template <class T> bool equal_bits(T a, T b) { return memcmp((void*)&a, (void*)&b, sizeof(T)) == 0; }
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_ATOMIC(NAME, NEW, ...)                                                             \
  template <class T, cuda_on_cpu::OneOf<T, __VA_ARGS__> = 0> CUDA_ON_CPU_HERE std::remove_cv_t<T> NAME(T* address, cuda_on_cpu::Same<std::remove_cv_t<T>> v, line_now) { \
    using U = std::remove_cv_t<T>;                                                                \
    cuda_on_cpu::touch_atomic(address, sizeof(T), line);                                          \
    return cuda_on_cpu::atomic_update((U*)address, [v](U old) -> U { (void)old; return NEW; });   \
  }                                                                                               \
  template <class T, cuda_on_cpu::OneOf<T, __VA_ARGS__> = 0> CUDA_ON_CPU_HERE std::remove_cv_t<T> NAME##_block(T* address, cuda_on_cpu::Same<std::remove_cv_t<T>> v, line_now) { \
    using U = std::remove_cv_t<T>;                                                                \
    cuda_on_cpu::touch_atomic(address, sizeof(T), line, cuda_on_cpu::IN_BLOCK);                   \
    return cuda_on_cpu::atomic_update((U*)address, [v](U old) -> U { (void)old; return NEW; });   \
  }                                                                                               \
  template <class T, cuda_on_cpu::OneOf<T, __VA_ARGS__> = 0> CUDA_ON_CPU_HERE std::remove_cv_t<T> NAME##_system(T* address, cuda_on_cpu::Same<std::remove_cv_t<T>> v, line_now) { return NAME(address, v, line); }
CUDA_ON_CPU_ATOMIC(atomicAdd, U(old + v), int, unsigned, unsigned long long, float, double, __half, __nv_bfloat16)
CUDA_ON_CPU_ATOMIC(atomicSub, U(old - v), int, unsigned)
CUDA_ON_CPU_ATOMIC(atomicExch, v, int, unsigned, unsigned long long, float)
CUDA_ON_CPU_ATOMIC(atomicMax, old < v ? v : old, int, unsigned, unsigned long long, long long)
CUDA_ON_CPU_ATOMIC(atomicMin, v < old ? v : old, int, unsigned, unsigned long long, long long)
CUDA_ON_CPU_ATOMIC(atomicAnd, U(old & v), int, unsigned, unsigned long long, long long)
CUDA_ON_CPU_ATOMIC(atomicOr, U(old | v), int, unsigned, unsigned long long, long long)
CUDA_ON_CPU_ATOMIC(atomicXor, U(old ^ v), int, unsigned, unsigned long long, long long)
CUDA_ON_CPU_ATOMIC(atomicInc, old >= v ? U(0) : U(old + 1), unsigned)
CUDA_ON_CPU_ATOMIC(atomicDec, old == U(0) || old > v ? v : U(old - 1), unsigned)
namespace cuda_on_cpu {
template <class T, class U> CUDA_ON_CPU_HERE inline U compare_and_swap(T* address, U compare, U v, Scope scope, int line) {
  compares(address, sizeof(T), &compare);
  touch_atomic(address, sizeof(T), line, scope);
  U old = atomic_update((U*)address, [=](U o) -> U { return equal_bits<U>(o, compare) ? v : o; });
  if (!equal_bits<U>(old, compare)) yield();  // so that a spin lock ends
  return old;
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_CAS(NAME, SCOPE)                                                               \
  template <class T, cuda_on_cpu::OneOf<T, int, unsigned, unsigned long long, unsigned short> = 0> \
  CUDA_ON_CPU_HERE std::remove_cv_t<T> NAME(T* address, cuda_on_cpu::Same<std::remove_cv_t<T>> compare, cuda_on_cpu::Same<std::remove_cv_t<T>> v, line_now) { \
    return cuda_on_cpu::compare_and_swap(address, compare, v, cuda_on_cpu::SCOPE, line);           \
  }
CUDA_ON_CPU_CAS(atomicCAS, ON_DEVICE) CUDA_ON_CPU_CAS(atomicCAS_block, IN_BLOCK) CUDA_ON_CPU_CAS(atomicCAS_system, ON_DEVICE)
// Of two or four values each is added atomically, the whole is not: the GPU says the same.
namespace cuda_on_cpu {
template <class T> T add_to(T* address, T v) { return atomic_update(address, [v](T old) -> T { return T(old + v); }); }
}
CUDA_ON_CPU_HERE inline float2 atomicAdd(float2* p, float2 v, line_now) {
  cuda_on_cpu::touch_atomic(p, sizeof(float2), line);
  float x = cuda_on_cpu::add_to(&p->x, v.x), y = cuda_on_cpu::add_to(&p->y, v.y);
  return make_float2(x, y);
}
CUDA_ON_CPU_HERE inline float4 atomicAdd(float4* p, float4 v, line_now) {
  cuda_on_cpu::touch_atomic(p, sizeof(float4), line);
  float x = cuda_on_cpu::add_to(&p->x, v.x), y = cuda_on_cpu::add_to(&p->y, v.y);
  float z = cuda_on_cpu::add_to(&p->z, v.z), w = cuda_on_cpu::add_to(&p->w, v.w);
  return make_float4(x, y, z, w);
}

// ---- loads and stores with cache hints: macros, so that they happen on the line that they stand on -----
namespace cuda_on_cpu {
template <class T, OneOf<std::remove_cv_t<T>, char, signed char, unsigned char, short, unsigned short, int, unsigned, long, unsigned long, long long,
                         unsigned long long, float, double, char2, char4, uchar2, uchar4, short2, short4, ushort2, ushort4, int2, int4, uint2, uint4,
                         long2, ulong2, longlong2, ulonglong2, float2, float4, double2, __half, __half2, __nv_bfloat16, __nv_bfloat162> = 0>
CUDA_ON_CPU_HERE constexpr const T* loadable(const T* p) { return p; }
}  // namespace cuda_on_cpu
#define __ldg(p) (*cuda_on_cpu::loadable(p))
#define __ldca(p) (*(p))
#define __ldcg(p) (*(p))
#define __ldcs(p) (*(p))
#define __ldlu(p) (*(p))
#define __ldcv(p) (*(p))
#define __stcs(p, v) (*(p) = (v))
#define __stcg(p, v) (*(p) = (v))
#define __stwb(p, v) (*(p) = (v))
#define __stwt(p, v) (*(p) = (v))

// ---- bits --------------------------------------------------------------------------------------------
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline unsigned __fns(unsigned mask, unsigned base, int n) {  // the place of the n-th bit that is set, from base on or back
  if (n == 0) return mask >> (base & 31) & 1 ? base : ~0u;
  for (int i = (int)base; i >= 0 && i < 32; i += n > 0 ? 1 : -1)
    if ((mask >> i & 1) && (n < 0 ? -n : n) == 1) return (unsigned)i;
    else if (mask >> i & 1) n -= n > 0 ? 1 : -1;
  return ~0u;
}
inline unsigned __brev(unsigned v) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= (v >> i & 1u) << (31 - i);
  return r;
}
inline unsigned long long __brevll(unsigned long long v) { return (unsigned long long)__brev((unsigned)v) << 32 | __brev((unsigned)(v >> 32)); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  unsigned long long all = (unsigned long long)b << 32 | a;
  unsigned r = 0;
  for (int i = 0; i < 4; i++) {
    unsigned s = selector >> 4 * i & 15, byte = (unsigned)(all >> 8 * (s & 7)) & 255;
    r |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
  }
  return r;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) { return (unsigned)((((unsigned long long)high << 32 | low) << (n & 31)) >> 32); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) { return (unsigned)(((unsigned long long)high << 32 | low) >> (n & 31)); }
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned n) { return n >= 32 ? low : __funnelshift_l(low, high, n); }
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned n) { return n >= 32 ? high : __funnelshift_r(low, high, n); }
inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
inline int __mul24(int a, int b) { return (int)((long long)((int)((unsigned)a << 8) >> 8) * ((int)((unsigned)b << 8) >> 8)); }
inline unsigned __umul24(unsigned a, unsigned b) { return (unsigned)((unsigned long long)(a & 0xffffff) * (b & 0xffffff)); }
inline unsigned __sad(int a, int b, unsigned c) { return (unsigned)(a > b ? (long long)a - b : (long long)b - a) + c; }
inline unsigned __usad(unsigned a, unsigned b, unsigned c) { return (a > b ? a - b : b - a) + c; }
inline unsigned __uhadd(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a + b) >> 1); }
inline unsigned __urhadd(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a + b + 1) >> 1); }
inline int __rhadd(int a, int b) { return (int)(((long long)a + b + 1) >> 1); }
inline int __hadd(int a, int b) { return (int)(((long long)a + b) >> 1); }
namespace cuda_on_cpu {
template <class To, class From> To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same number of bytes");
  To to;
  memcpy((void*)&to, (void*)&from, sizeof to);
  return to;
}
}  // namespace cuda_on_cpu
inline unsigned __float_as_uint(float f) { return cuda_on_cpu::same_bits<unsigned>(f); }
inline float __uint_as_float(unsigned u) { return cuda_on_cpu::same_bits<float>(u); }
inline int __float_as_int(float f) { return cuda_on_cpu::same_bits<int>(f); }
inline float __int_as_float(int i) { return cuda_on_cpu::same_bits<float>(i); }
inline long long __double_as_longlong(double d) { return cuda_on_cpu::same_bits<long long>(d); }
inline double __longlong_as_double(long long l) { return cuda_on_cpu::same_bits<double>(l); }
inline int __double2hiint(double d) { return (int)(__double_as_longlong(d) >> 32); }
inline int __double2loint(double d) { return (int)__double_as_longlong(d); }
inline double __hiloint2double(int high, int low) { return __longlong_as_double((long long)((unsigned long long)(unsigned)high << 32 | (unsigned)low)); }

#ifndef CUDA_ON_CPU_RUNTIME
#include "cuda_math.h"
#endif

// ---- arithmetic ----------------------------------------------------------------------------------------
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __saturatef(float x) { return x > 1.0f ? 1.0f : x > 0.0f ? x : 0.0f; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __expf(float x) { return expf(x); }
inline float __exp2f(float x) { return exp2f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __exp10f(float x) { return (float)pow(10.0, (double)x); }
inline float __tanf(float x) { return tanf(x); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
inline float __frsqrt_rn(float x) { return (float)(1.0 / sqrt((double)x)); }
// A float that does not fit an int becomes the nearest int; NaN becomes 0; 0x80... where
// one of the two has 64 bits. C++ leaves all of it undefined.
#define CUDA_ON_CPU_TO_INTEGER(NAME, FROM, TO, ROUND)                                              \
  inline TO NAME(FROM x) {                                                                         \
    double y = ROUND((double)x), low = std::is_signed<TO>::value ? -ldexp(1.0, 8 * sizeof(TO) - 1) : 0.0; \
    double high = ldexp(1.0, 8 * sizeof(TO) - (std::is_signed<TO>::value ? 1 : 0));                \
    TO largest = std::is_signed<TO>::value ? (TO)(~(TO)0 ^ (TO)((TO)1 << (8 * sizeof(TO) - 1))) : (TO)~(TO)0; \
    return y != y ? (sizeof(TO) == 8 || sizeof(FROM) == 8 ? (TO)((TO)1 << (8 * sizeof(TO) - 1)) : (TO)0) : y < low ? (TO)low : y >= high ? largest : (TO)y;                       \
  }
#define CUDA_ON_CPU_TO_INTEGERS(NAME, FROM, TO)                                                     \
  CUDA_ON_CPU_TO_INTEGER(NAME##_rn, FROM, TO, nearbyint) CUDA_ON_CPU_TO_INTEGER(NAME##_rz, FROM, TO, trunc) \
  CUDA_ON_CPU_TO_INTEGER(NAME##_rd, FROM, TO, floor) CUDA_ON_CPU_TO_INTEGER(NAME##_ru, FROM, TO, ceil)
#define CUDA_ON_CPU_TO_ALL(NAME, FROM)                                                              \
  CUDA_ON_CPU_TO_INTEGERS(NAME##int, FROM, int) CUDA_ON_CPU_TO_INTEGERS(NAME##uint, FROM, unsigned) \
  CUDA_ON_CPU_TO_INTEGERS(NAME##ll, FROM, long long) CUDA_ON_CPU_TO_INTEGERS(NAME##ull, FROM, unsigned long long)
CUDA_ON_CPU_TO_ALL(__float2, float)
CUDA_ON_CPU_TO_ALL(__double2, double)
template <class T> CUDA_ON_CPU_HERE T cuda_on_cpu_dot(unsigned a, unsigned b, T sum) {
  for (int i = 0; i < 32; i += 8) sum += std::is_signed<T>::value ? (T)(signed char)(a >> i) * (signed char)(b >> i) : (a >> i & 255) * (b >> i & 255);
  return sum;
}
inline int __dp4a(int a, int b, int c) { return cuda_on_cpu_dot((unsigned)a, (unsigned)b, c); }
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) { return cuda_on_cpu_dot(a, b, c); }
#ifndef CUDA_ON_CPU_RUNTIME
#include "cuda_intrinsics.h"
#endif
// ---- asynchronous copies (cuda_pipeline.h): nothing arrives before the wait that waits for it --------------
namespace cuda_on_cpu {
void copy_later(void* shared, const void* global, size_t bytes, size_t zeros, int line);
void commit_copies();
void finish_copies(unsigned batches_left, int line);
}
CUDA_ON_CPU_HERE inline void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes, size_t zeros = 0, line_now) {
  cuda_on_cpu::copy_later(shared, global, bytes, zeros, line);
}
inline void __pipeline_commit() { cuda_on_cpu::commit_copies(); }
CUDA_ON_CPU_HERE inline void __pipeline_wait_prior(unsigned batches, line_now) { cuda_on_cpu::finish_copies(batches, line); }

// ---- launch: kernel(*args[0], *args[1], ...) in every thread --------------------------------------------
namespace cuda_on_cpu {
template <class T> struct Type { static const char* name() { return "?"; } };
#define CUDA_ON_CPU_TYPE(T, NAME) template <> struct Type<T> { static const char* name() { return NAME; } };
#define CUDA_ON_CPU_TYPES(NAME, TEXT) CUDA_ON_CPU_TYPE(NAME##2, TEXT "/2") CUDA_ON_CPU_TYPE(NAME##4, TEXT "/4")
CUDA_ON_CPU_TYPE(void, "void") CUDA_ON_CPU_TYPE(bool, "bool") CUDA_ON_CPU_TYPE(char, "int8")
CUDA_ON_CPU_TYPE(signed char, "int8") CUDA_ON_CPU_TYPE(unsigned char, "uint8")
CUDA_ON_CPU_TYPE(short, "int16") CUDA_ON_CPU_TYPE(unsigned short, "uint16")
CUDA_ON_CPU_TYPE(int, "int32") CUDA_ON_CPU_TYPE(unsigned, "uint32")
template <> struct Type<long> { static const char* name() { return sizeof(long) == 8 ? "int64" : "int32"; } };
template <> struct Type<unsigned long> { static const char* name() { return sizeof(long) == 8 ? "uint64" : "uint32"; } };
CUDA_ON_CPU_TYPE(long long, "int64") CUDA_ON_CPU_TYPE(unsigned long long, "uint64")
CUDA_ON_CPU_TYPE(float, "float32") CUDA_ON_CPU_TYPE(double, "float64")
CUDA_ON_CPU_TYPE(__half, "float16") CUDA_ON_CPU_TYPE(__nv_bfloat16, "bfloat16")
CUDA_ON_CPU_TYPES(char, "int8") CUDA_ON_CPU_TYPES(uchar, "uint8") CUDA_ON_CPU_TYPES(short, "int16")
CUDA_ON_CPU_TYPES(ushort, "uint16") CUDA_ON_CPU_TYPES(int, "int32") CUDA_ON_CPU_TYPES(uint, "uint32")
#if __SIZEOF_LONG__ == 8
CUDA_ON_CPU_TYPES(long, "int64") CUDA_ON_CPU_TYPES(ulong, "uint64")
#else
CUDA_ON_CPU_TYPES(long, "int32") CUDA_ON_CPU_TYPES(ulong, "uint32")
#endif
CUDA_ON_CPU_TYPES(longlong, "int64") CUDA_ON_CPU_TYPES(ulonglong, "uint64")
CUDA_ON_CPU_TYPES(float, "float32") CUDA_ON_CPU_TYPES(double, "float64")

typedef void (*Call)(void** args);
struct Control {        // of one core, made by Python: stacks that all libraries use, and how to end a launch
  char* stacks[1024];
  void (*leave)();      // to be called in a signal handler of the thread that runs the kernel
  uint64_t thread;
  bool (*overrun)(uint64_t);  // told of an access that the system refuses; whether it is the kernel's
  uint64_t interrupt;         // the number of the signal that Ctrl-C sends, in the thread that gets it; else 0
};
struct Launch {
  Call call;
  void** args;
  unsigned grid[3], block[3];
  unsigned long long first, last;  // the blocks to run, counted x first
  unsigned long long dynamic_bytes, shared_most;  // shared_most: of static and dynamic memory together
  unsigned order;                  // 0: threads in order, else the seed of an order
  unsigned cooperative;            // whether threads may wait for the whole grid
  Control* control;
};
int run_blocks(const Launch& launch);
// An argument's bytes on the thread's own stack: a copy constructor of the source may read them there.
template <class T> struct Held {
  alignas(T) char bytes[sizeof(T)];
  CUDA_ON_CPU_UNSEEN Held(const void* from) {
    for (size_t i = 0; i < sizeof(T); i++) bytes[i] = ((const volatile char*)from)[i];
  }
  CUDA_ON_CPU_UNSEEN T& value() { return *(T*)(void*)bytes; }
};
template <auto kernel> struct Kernel;
template <class... A, void (*kernel)(A...)> struct Kernel<kernel> {
  CUDA_ON_CPU_UNSEEN static void run(A... values) {
    do kernel(values...);
    while (next_thread());
  }
  template <size_t... i> CUDA_ON_CPU_UNSEEN static void apply(void** args, std::index_sequence<i...>) {
    (void)args;
    run(Held<std::remove_cv_t<std::remove_reference_t<A>>>(args[i]).value()...);
  }
  CUDA_ON_CPU_UNSEEN static void call(void** args) { apply(args, std::index_sequence_for<A...>()); }
  template <class P> static char* describe(char* text) {  // "const*float32/4:16 ", "int32:4 "
    using Pointee = std::remove_pointer_t<std::remove_cv_t<P>>;
    using Bare = std::remove_cv_t<Pointee>;
    bool pointer = std::is_pointer<P>::value, constant = pointer && std::is_const<Pointee>::value;
    return text + snprintf(text, 40, "%s%s%s:%d ", constant ? "const" : "", pointer ? "*" : "", Type<Bare>::name(), (int)sizeof(P));
  }
  static const char* signature() {
    static char text[40 * sizeof...(A) + 1];
    char* end = text;
    (void)end;
    ((end = describe<A>(end)), ...);
    return text;
  }
};
}  // namespace cuda_on_cpu
#ifdef _WIN32
#define CUDA_ON_CPU_EXPORT extern "C" __declspec(dllexport)
#else
#define CUDA_ON_CPU_EXPORT extern "C" __attribute__((visibility("default")))
#endif
// A kernel may have any name, `Kernel` and `launch` too: behind its source stand only names like these.
template <auto kernel> const char* cuda_on_cpu_signature() { return cuda_on_cpu::Kernel<kernel>::signature(); }
template <auto kernel> int cuda_on_cpu_launch(void* given) {
  cuda_on_cpu::Launch* launch = (cuda_on_cpu::Launch*)given;
  launch->call = cuda_on_cpu::Kernel<kernel>::call;
  return cuda_on_cpu::run_blocks(*launch);
}
#define CUDA_ON_CPU_KERNEL(ID, ...)                                                                \
  CUDA_ON_CPU_EXPORT const char* signature_##ID() { return cuda_on_cpu_signature<&__VA_ARGS__>(); } \
  CUDA_ON_CPU_EXPORT int launch_##ID(void* cuda_on_cpu_given) { return cuda_on_cpu_launch<&__VA_ARGS__>(cuda_on_cpu_given); }
#define CUDA_ON_CPU_GLOBAL(ID, NAME)                                                               \
  CUDA_ON_CPU_EXPORT void* global_##ID() { return (void*)&NAME; }                                  \
  CUDA_ON_CPU_EXPORT unsigned long long global_size_##ID() { return sizeof(NAME); }                \
  CUDA_ON_CPU_EXPORT int global_fixed_##ID() { return std::is_const<std::remove_all_extents_t<decltype(NAME)>>::value; }
#define CUDA_ON_CPU_CONSTANT(...) bool cuda_on_cpu_is_constant(const void* cuda_on_cpu_p) { return cuda_on_cpu::within(__VA_ARGS__); }
