// cub/cub.cuh: the collective operations of CUB that a kernel calls: of a warp and of a block. Lanes exchange
// values by shuffles, warps by the block's TempStorage with barriers around it, as CUB does by itself: who
// uses one TempStorage twice without __syncthreads() between has a race, here as there. What is undefined
// in CUB (a sum in any thread but the first) is the thread's own part here.
#pragma once
#pragma GCC system_header
#include "../cooperative_groups.h"
#define CUDA_ON_CPU_CUB CUDA_ON_CPU_HERE inline
namespace cuda_on_cpu {
struct Line {  // of the caller; no int, of which the overloads take several
  int number;
  operator int() const { return number; }
};
}  // namespace cuda_on_cpu
#define told_line cuda_on_cpu::Line line = cuda_on_cpu::Line{__builtin_LINE()}
namespace cub {
struct Sum { template <class T> CUDA_ON_CPU_HERE T operator()(const T& a, const T& b) const { return T(a + b); } };
struct Max { template <class T> CUDA_ON_CPU_HERE T operator()(const T& a, const T& b) const { return a < b ? b : a; } };
struct Min { template <class T> CUDA_ON_CPU_HERE T operator()(const T& a, const T& b) const { return b < a ? b : a; } };
struct NullType {};
template <class K, class V> struct KeyValuePair { typedef K Key; typedef V Value; K key; V value; };
struct ArgMax { template <class P> CUDA_ON_CPU_HERE P operator()(const P& a, const P& b) const { return a.value < b.value || (a.value == b.value && b.key < a.key) ? b : a; } };
struct ArgMin { template <class P> CUDA_ON_CPU_HERE P operator()(const P& a, const P& b) const { return b.value < a.value || (a.value == b.value && b.key < a.key) ? b : a; } };
enum BlockReduceAlgorithm { BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY, BLOCK_REDUCE_RAKING, BLOCK_REDUCE_WARP_REDUCTIONS };
enum BlockScanAlgorithm { BLOCK_SCAN_RAKING, BLOCK_SCAN_RAKING_MEMOIZE, BLOCK_SCAN_WARP_SCANS };
enum BlockLoadAlgorithm { BLOCK_LOAD_DIRECT, BLOCK_LOAD_STRIPED, BLOCK_LOAD_VECTORIZE, BLOCK_LOAD_TRANSPOSE, BLOCK_LOAD_WARP_TRANSPOSE };
enum BlockStoreAlgorithm { BLOCK_STORE_DIRECT, BLOCK_STORE_STRIPED, BLOCK_STORE_VECTORIZE, BLOCK_STORE_TRANSPOSE, BLOCK_STORE_WARP_TRANSPOSE };
inline unsigned LaneId() { return cuda_on_cpu::lane(); }

// ---- a warp, or a part of N lanes ----------------------------------------------------------------------
template <class T, int N = 32> class CudaOnCpuWarp {  // N: 1 to 32; parts of it begin where N divides
 protected:
  static unsigned me() { return cuda_on_cpu::lane() % N; }
  static unsigned mask() { return (N == 32 ? ~0u : ((1u << N % 32) - 1)) << (cuda_on_cpu::lane() - me()); }
  CUDA_ON_CPU_HERE static T from(const T& value, int lane, bool there, int line) {
    return cuda_on_cpu::shuffle_any(mask(), value, there ? (int)cuda_on_cpu::lane() - (int)me() + lane : (int)cuda_on_cpu::lane(), line);
  }
  template <class Join> CUDA_ON_CPU_HERE static T reduced(T value, Join join, int n, int line) {
    for (int away = 1; away < N; away *= 2) {
      bool there = (int)me() + away < n;
      T other = from(value, (int)me() + away, there, line);
      if (there) value = join(value, other);
    }
    return value;
  }
  template <class Join> CUDA_ON_CPU_HERE static T scanned(T value, Join join, int line) {
    for (int away = 1; away < N; away *= 2) {
      bool there = (int)me() >= away;
      T other = from(value, (int)me() - away, there, line);
      if (there) value = join(other, value);
    }
    return value;
  }

 public:
  struct TempStorage {};
  CUDA_ON_CPU_HERE CudaOnCpuWarp(TempStorage&) {}
};
template <class T, int N = 32, int = 0> class WarpReduce : public CudaOnCpuWarp<T, N> {
  typedef CudaOnCpuWarp<T, N> Base;

 public:
  using Base::Base;
  template <class Join> CUDA_ON_CPU_HERE T Reduce(T value, Join join, told_line) { return Base::reduced(value, join, N, line); }
  template <class Join> CUDA_ON_CPU_HERE T Reduce(T value, Join join, int n, told_line) { return Base::reduced(value, join, n, line); }
  CUDA_ON_CPU_HERE T Sum(T value, told_line) { return Base::reduced(value, cub::Sum(), N, line); }
  CUDA_ON_CPU_HERE T Sum(T value, int n, told_line) { return Base::reduced(value, cub::Sum(), n, line); }
};
template <class T, int N = 32, int = 0> class WarpScan : public CudaOnCpuWarp<T, N> {
  typedef CudaOnCpuWarp<T, N> Base;

 public:
  using Base::Base;
  template <class Join> CUDA_ON_CPU_HERE void InclusiveScan(T value, T& out, Join join, told_line) { out = Base::scanned(value, join, line); }
  template <class Join> CUDA_ON_CPU_HERE void InclusiveScan(T value, T& out, Join join, T& total, told_line) {
    out = Base::scanned(value, join, line);
    total = Base::from(out, N - 1, true, line);
  }
  template <class Join> CUDA_ON_CPU_HERE void ExclusiveScan(T value, T& out, T first, Join join, told_line) {
    T up_to_me = Base::scanned(value, join, line), before = Base::from(up_to_me, (int)Base::me() - 1, Base::me() > 0, line);
    out = Base::me() ? join(first, before) : first;
  }
  template <class Join> CUDA_ON_CPU_HERE void ExclusiveScan(T value, T& out, T first, Join join, T& total, told_line) {
    T up_to_me = Base::scanned(value, join, line), before = Base::from(up_to_me, (int)Base::me() - 1, Base::me() > 0, line);
    out = Base::me() ? join(first, before) : first;
    total = Base::from(up_to_me, N - 1, true, line);
  }
  CUDA_ON_CPU_HERE void InclusiveSum(T value, T& out, told_line) { InclusiveScan(value, out, cub::Sum(), line); }
  CUDA_ON_CPU_HERE void InclusiveSum(T value, T& out, T& total, told_line) { InclusiveScan(value, out, cub::Sum(), total, line); }
  CUDA_ON_CPU_HERE void ExclusiveSum(T value, T& out, told_line) { ExclusiveScan(value, out, T(), cub::Sum(), line); }
  CUDA_ON_CPU_HERE void ExclusiveSum(T value, T& out, T& total, told_line) { ExclusiveScan(value, out, T(), cub::Sum(), total, line); }
  template <class Join> CUDA_ON_CPU_HERE void Scan(T value, T& in, T& ex, T first, Join join, told_line) {
    T up_to_me = Base::scanned(value, join, line), before = Base::from(up_to_me, (int)Base::me() - 1, Base::me() > 0, line);
    in = join(first, up_to_me), ex = Base::me() ? join(first, before) : first;
  }
  template <class Join> CUDA_ON_CPU_HERE void Scan(T value, T& in, T& ex, Join join, told_line) {
    in = Base::scanned(value, join, line), ex = Base::from(in, (int)Base::me() - 1, Base::me() > 0, line);
  }
  CUDA_ON_CPU_HERE T Broadcast(T value, unsigned lane, told_line) { return Base::from(value, (int)lane, true, line); }
};

// ---- a block -------------------------------------------------------------------------------------------
template <class T, int X, int Y, int Z> class CudaOnCpuBlock : protected CudaOnCpuWarp<T, 32> {
 protected:
  enum { THREADS = X * Y * Z, WARPS = (THREADS + 31) / 32 };
  typedef CudaOnCpuWarp<T, 32> Warp;
  static unsigned me() { return cuda_on_cpu::thread_in_block(); }
  static int lanes() { return THREADS - (int)(me() / 32 * 32) < 32 ? THREADS - (int)(me() / 32 * 32) : 32; }

 public:
  struct TempStorage { T of_warp[WARPS], total; };

 protected:
  TempStorage& temp;
  CUDA_ON_CPU_HERE CudaOnCpuBlock(TempStorage& t) : Warp(*(typename Warp::TempStorage*)(void*)&t), temp(t) {}
  // The sum of a block's first n values, in thread 0.
  template <class Join> CUDA_ON_CPU_HERE T reduced(T value, Join join, int n, int line) {
    unsigned warp = me() / 32;
    int here = n - (int)(32 * warp);
    value = Warp::reduced(value, join, here < lanes() ? here : lanes(), line);
    if (me() % 32 == 0) temp.of_warp[warp] = value;
    cuda_on_cpu::barrier(cuda_on_cpu::NONE, 0, line);
    for (int w = 1; me() == 0 && w < WARPS && 32 * w < n; w++) value = join(value, temp.of_warp[w]);
    return value;
  }
  // All before me, joined; `any`: whether there are some. `total`: of the block.
  template <class Join> CUDA_ON_CPU_HERE T before(T value, Join join, bool& any, T& total, int line) {
    unsigned warp = me() / 32;
    T up_to_me = Warp::scanned(value, join, line);
    T result = Warp::from(up_to_me, (int)(me() % 32) - 1, me() % 32 > 0, line);
    if ((int)(me() % 32) == lanes() - 1) temp.of_warp[warp] = up_to_me;
    cuda_on_cpu::barrier(cuda_on_cpu::NONE, 0, line);
    T warps = temp.of_warp[0];
    for (unsigned w = 1; w < warp; w++) warps = join(warps, temp.of_warp[w]);
    any = me() > 0;
    if (warp) result = me() % 32 ? join(warps, result) : warps;
    total = temp.of_warp[0];
    for (int w = 1; w < WARPS; w++) total = join(total, temp.of_warp[w]);
    return result;
  }
};
template <class T, int X, BlockReduceAlgorithm = BLOCK_REDUCE_WARP_REDUCTIONS, int Y = 1, int Z = 1, int = 0>
class BlockReduce : public CudaOnCpuBlock<T, X, Y, Z> {
  typedef CudaOnCpuBlock<T, X, Y, Z> Base;
  template <int N, class Join> CUDA_ON_CPU_HERE static T joined(T (&items)[N], Join join) {
    T value = items[0];
    for (int i = 1; i < N; i++) value = join(value, items[i]);
    return value;
  }

 public:
  typedef typename Base::TempStorage TempStorage;
  CUDA_ON_CPU_HERE BlockReduce(TempStorage& temp) : Base(temp) {}
  template <class Join> CUDA_ON_CPU_HERE T Reduce(T value, Join join, told_line) { return Base::reduced(value, join, Base::THREADS, line); }
  template <class Join> CUDA_ON_CPU_HERE T Reduce(T value, Join join, int n, told_line) { return Base::reduced(value, join, n, line); }
  template <int N, class Join> CUDA_ON_CPU_HERE T Reduce(T (&items)[N], Join join, told_line) { return Base::reduced(joined(items, join), join, Base::THREADS, line); }
  CUDA_ON_CPU_HERE T Sum(T value, told_line) { return Base::reduced(value, cub::Sum(), Base::THREADS, line); }
  CUDA_ON_CPU_HERE T Sum(T value, int n, told_line) { return Base::reduced(value, cub::Sum(), n, line); }
  template <int N> CUDA_ON_CPU_HERE T Sum(T (&items)[N], told_line) { return Base::reduced(joined(items, cub::Sum()), cub::Sum(), Base::THREADS, line); }
};
template <class T, int X, BlockScanAlgorithm = BLOCK_SCAN_RAKING, int Y = 1, int Z = 1, int = 0>
class BlockScan : public CudaOnCpuBlock<T, X, Y, Z> {
  typedef CudaOnCpuBlock<T, X, Y, Z> Base;
  template <int N, class Join> CUDA_ON_CPU_HERE void scan(const T* in, T* out, bool inclusive, bool has_first, T first, Join join, T& total, int line) {
    T mine = in[0], next;
    for (int i = 1; i < N; i++) mine = join(mine, in[i]);
    bool any;
    T sum = Base::before(mine, join, any, total, line);
    if (has_first) sum = any ? join(first, sum) : first;
    any |= has_first;
    for (int i = 0; i < N; i++, sum = next, any = true) {
      T value = in[i];
      next = any ? join(sum, value) : value;
      out[i] = inclusive ? next : sum;
    }
  }

 public:
  typedef typename Base::TempStorage TempStorage;
  CUDA_ON_CPU_HERE BlockScan(TempStorage& temp) : Base(temp) {}
#define CUDA_ON_CPU_SCANS(ITEM, N, HEAD)                                                            \
  HEAD class Join> CUDA_ON_CPU_HERE void InclusiveScan(const T ITEM(in), T ITEM(out), Join join, T& total, told_line) { scan<N>((const T*)&in, (T*)&out, true, false, T(), join, total, line); } \
  HEAD class Join> CUDA_ON_CPU_HERE void InclusiveScan(const T ITEM(in), T ITEM(out), Join join, told_line) { T t; scan<N>((const T*)&in, (T*)&out, true, false, T(), join, t, line); } \
  HEAD class Join> CUDA_ON_CPU_HERE void ExclusiveScan(const T ITEM(in), T ITEM(out), T first, Join join, T& total, told_line) { scan<N>((const T*)&in, (T*)&out, false, true, first, join, total, line); } \
  HEAD class Join> CUDA_ON_CPU_HERE void ExclusiveScan(const T ITEM(in), T ITEM(out), T first, Join join, told_line) { T t; scan<N>((const T*)&in, (T*)&out, false, true, first, join, t, line); } \
  HEAD class S = cub::Sum> CUDA_ON_CPU_HERE void InclusiveSum(const T ITEM(in), T ITEM(out), T& total, told_line) { scan<N>((const T*)&in, (T*)&out, true, false, T(), S(), total, line); } \
  HEAD class S = cub::Sum> CUDA_ON_CPU_HERE void InclusiveSum(const T ITEM(in), T ITEM(out), told_line) { T t; scan<N>((const T*)&in, (T*)&out, true, false, T(), S(), t, line); } \
  HEAD class S = cub::Sum> CUDA_ON_CPU_HERE void ExclusiveSum(const T ITEM(in), T ITEM(out), T& total, told_line) { scan<N>((const T*)&in, (T*)&out, false, true, T(), S(), total, line); } \
  HEAD class S = cub::Sum> CUDA_ON_CPU_HERE void ExclusiveSum(const T ITEM(in), T ITEM(out), told_line) { T t; scan<N>((const T*)&in, (T*)&out, false, true, T(), S(), t, line); }
#define CUDA_ON_CPU_ONE_ITEM(NAME) &NAME
#define CUDA_ON_CPU_ITEMS(NAME) (&NAME)[N]
  CUDA_ON_CPU_SCANS(CUDA_ON_CPU_ONE_ITEM, 1, template <)
#define CUDA_ON_CPU_COMMA ,
  CUDA_ON_CPU_SCANS(CUDA_ON_CPU_ITEMS, N, template <int N CUDA_ON_CPU_COMMA)
};
template <class T, int X, int ITEMS, BlockLoadAlgorithm how = BLOCK_LOAD_DIRECT, int Y = 1, int Z = 1, int = 0> struct BlockLoad {
  struct TempStorage {};
  CUDA_ON_CPU_HERE BlockLoad(TempStorage&) {}
  CUDA_ON_CPU_HERE BlockLoad() {}
  static unsigned at(int i) { return how == BLOCK_LOAD_STRIPED ? cuda_on_cpu::thread_in_block() + i * X * Y * Z : cuda_on_cpu::thread_in_block() * ITEMS + i; }
  template <class In> CUDA_ON_CPU_HERE void Load(In in, T (&items)[ITEMS]) { for (int i = 0; i < ITEMS; i++) items[i] = in[at(i)]; }
  template <class In> CUDA_ON_CPU_HERE void Load(In in, T (&items)[ITEMS], int n) { for (int i = 0; i < ITEMS; i++) if ((int)at(i) < n) items[i] = in[at(i)]; }
  template <class In, class D> CUDA_ON_CPU_HERE void Load(In in, T (&items)[ITEMS], int n, D other) { for (int i = 0; i < ITEMS; i++) if ((int)at(i) < n) items[i] = in[at(i)]; else items[i] = T(other); }
};
template <class T, int X, int ITEMS, BlockStoreAlgorithm how = BLOCK_STORE_DIRECT, int Y = 1, int Z = 1, int = 0> struct BlockStore {
  struct TempStorage {};
  CUDA_ON_CPU_HERE BlockStore(TempStorage&) {}
  CUDA_ON_CPU_HERE BlockStore() {}
  static unsigned at(int i) { return how == BLOCK_STORE_STRIPED ? cuda_on_cpu::thread_in_block() + i * X * Y * Z : cuda_on_cpu::thread_in_block() * ITEMS + i; }
  template <class Out> CUDA_ON_CPU_HERE void Store(Out out, T (&items)[ITEMS]) { for (int i = 0; i < ITEMS; i++) out[at(i)] = items[i]; }
  template <class Out> CUDA_ON_CPU_HERE void Store(Out out, T (&items)[ITEMS], int n) { for (int i = 0; i < ITEMS; i++) if ((int)at(i) < n) out[at(i)] = items[i]; }
};

// ---- sorting: the keys meet in TempStorage, thread 0 finds their order ----------------------------------
template <class K> CUDA_ON_CPU_UNSEEN unsigned long long cuda_on_cpu_radix(K key) {  // grows with the key
  unsigned long long bits = 0, sign = 1ull << (8 * sizeof(K) - 1);
  memcpy(&bits, (const void*)&key, sizeof(K));
  if (cuda_on_cpu_std::is_floating_point<K>::value) {
    if (bits == sign) bits = 0;  // -0 and +0 are one key
    return bits & sign ? ~bits & (sign | (sign - 1)) : bits | sign;
  }
  return cuda_on_cpu_std::is_signed<K>::value ? bits ^ sign : bits;
}
template <class K> CUDA_ON_CPU_UNSEEN void cuda_on_cpu_order(const K* keys, unsigned short* order, int n, bool down, int first_bit, int end_bit) {
  unsigned long long kept = (end_bit >= 64 ? ~0ull : (1ull << end_bit) - 1) & ~((1ull << first_bit) - 1);
  auto before = [&](int a, int b) {  // stable: of equal keys the first stays first
    unsigned long long x = cuda_on_cpu_radix(keys[a]) & kept, y = cuda_on_cpu_radix(keys[b]) & kept;
    return x == y ? a < b : down ? x > y : x < y;
  };
  for (int i = 0; i < n; i++) order[i] = (unsigned short)i;
  for (int end = n, start = n / 2; end > 1;) {  // heapsort
    if (start > 0) start--;
    else { end--; unsigned short t = order[end]; order[end] = order[0], order[0] = t; }
    for (int root = start, child; (child = 2 * root + 1) < end; root = child) {
      if (child + 1 < end && before(order[child], order[child + 1])) child++;
      if (!before(order[root], order[child])) break;
      unsigned short t = order[root];
      order[root] = order[child], order[child] = t;
    }
  }
}
template <class K, int X, int ITEMS, class V = NullType, int = 4, bool = true, BlockScanAlgorithm = BLOCK_SCAN_WARP_SCANS, int = 0, int Y = 1, int Z = 1, int = 0>
class BlockRadixSort {
  enum { N = X * Y * Z * ITEMS, T = X * Y * Z };

 public:
  struct TempStorage { K keys[N]; V values[N]; unsigned short order[N]; };

 private:
  TempStorage& temp;
  CUDA_ON_CPU_HERE void sort(K (&keys)[ITEMS], V* values, bool down, bool striped, int first_bit, int end_bit, int line) {
    int me = (int)cuda_on_cpu::thread_in_block();
    for (int i = 0; i < ITEMS; i++) temp.keys[me * ITEMS + i] = keys[i];
    for (int i = 0; values && i < ITEMS; i++) temp.values[me * ITEMS + i] = values[i];
    for (int i = 0; i < ITEMS; i++) temp.order[me * ITEMS + i] = 0;
    cuda_on_cpu::barrier(cuda_on_cpu::NONE, 0, line);
    if (me == 0) cuda_on_cpu_order(temp.keys, temp.order, N, down, first_bit, end_bit);
    cuda_on_cpu::barrier(cuda_on_cpu::NONE, 0, line);
    for (int i = 0; i < ITEMS; i++) {
      int from = temp.order[striped ? me + i * T : me * ITEMS + i];
      keys[i] = temp.keys[from];
      if (values) values[i] = temp.values[from];
    }
  }

 public:
  CUDA_ON_CPU_HERE BlockRadixSort(TempStorage& t) : temp(t) {}
#define CUDA_ON_CPU_SORT(NAME, DOWN, STRIPED)                                                       \
  CUDA_ON_CPU_HERE void NAME(K (&keys)[ITEMS], int first_bit = 0, int end_bit = 8 * sizeof(K), told_line) { sort(keys, nullptr, DOWN, STRIPED, first_bit, end_bit, line); } \
  CUDA_ON_CPU_HERE void NAME(K (&keys)[ITEMS], V (&values)[ITEMS], int first_bit = 0, int end_bit = 8 * sizeof(K), told_line) { sort(keys, values, DOWN, STRIPED, first_bit, end_bit, line); }
  CUDA_ON_CPU_SORT(Sort, false, false) CUDA_ON_CPU_SORT(SortDescending, true, false)
  CUDA_ON_CPU_SORT(SortBlockedToStriped, false, true) CUDA_ON_CPU_SORT(SortDescendingBlockedToStriped, true, true)
};
}  // namespace cub
