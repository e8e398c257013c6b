// cooperative_groups/reduce.h, scan.h: a value of each thread of a tile or of coalesced threads, joined in the
// order in which NVIDIA's own functions join them, so that a sum of floats has the same bits.
#pragma once
#pragma GCC system_header
#include "../cooperative_groups.h"
namespace cooperative_groups {
#define CUDA_ON_CPU_JOIN(NAME, RESULT)                                                             \
  template <class T = void> struct NAME { CUDA_ON_CPU_HERE T operator()(T a, T b) const { return RESULT; } };
CUDA_ON_CPU_JOIN(plus, T(a + b)) CUDA_ON_CPU_JOIN(less, b < a ? b : a) CUDA_ON_CPU_JOIN(greater, a < b ? b : a)
CUDA_ON_CPU_JOIN(bit_and, T(a & b)) CUDA_ON_CPU_JOIN(bit_or, T(a | b)) CUDA_ON_CPU_JOIN(bit_xor, T(a ^ b))
template <class Group, class T, class Join> CUDA_ON_CPU_GROUP T inclusive_scan(const Group& group, T value, Join join, line_now) {
  for (unsigned n = 1; n < group.size(); n *= 2) {
    T before = group.shfl_up(value, n, line);
    if (group.thread_rank() >= n) value = join(value, before);
  }
  return value;
}
template <class Group, class T> CUDA_ON_CPU_GROUP T inclusive_scan(const Group& group, T value, line_now) { return inclusive_scan(group, value, plus<T>(), line); }
template <class Group, class T, class Join> CUDA_ON_CPU_GROUP T exclusive_scan(const Group& group, T value, Join join, line_now) {
  T up_to_me = inclusive_scan(group, value, join, line), before_me = group.shfl_up(up_to_me, 1, line);
  return group.thread_rank() ? before_me : T();
}
template <class Group, class T> CUDA_ON_CPU_GROUP T exclusive_scan(const Group& group, T value, line_now) { return exclusive_scan(group, value, plus<T>(), line); }
template <unsigned N, class P, class T, class Join> CUDA_ON_CPU_GROUP T reduce(const thread_block_tile<N, P>& tile, T value, Join join, line_now) {
  for (unsigned lanes = N / 2; lanes; lanes /= 2) value = join(value, tile.shfl_xor(value, lanes, line));
  return value;
}
template <class T, class Join> CUDA_ON_CPU_GROUP T reduce(const coalesced_group& group, T value, Join join, line_now) {
  if (group.size() == 32) return reduce(thread_block_tile<32>(1, 0), value, join, line);
  return group.shfl(inclusive_scan(group, value, join, line), (unsigned)group.size() - 1, line);
}
}  // namespace cooperative_groups
