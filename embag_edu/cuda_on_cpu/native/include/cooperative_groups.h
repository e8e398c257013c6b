// cooperative_groups.h: groups of threads as objects. A block waits in __syncthreads(), a part of a warp in
// __syncwarp(mask), and they shuffle and vote by the functions of a warp: what checked mode asks of those,
// it asks of these. Not here, and refused by name (refuse.py): clusters, tiles of more than a warp.
#pragma once
#pragma GCC system_header
#define CUDA_ON_CPU_GROUP CUDA_ON_CPU_HERE inline
namespace cuda_on_cpu {
// Of any type, in words: a lane may hand a struct to another.
template <class T> CUDA_ON_CPU_HERE inline T shuffle_any(unsigned mask, const T& value, int from, int line) {
  constexpr unsigned words = (sizeof(T) + 7) / 8;
  uint64_t bits[words] = {};
  T result = value;
  memcpy((void*)bits, (const void*)&result, sizeof(T));
  for (unsigned i = 0; i < words; i++) bits[i] = warp(SHUFFLE, mask, bits[i], from, line);
  memcpy((void*)&result, (const void*)bits, sizeof(T));
  return result;
}
inline unsigned thread_in_block() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
inline unsigned nth_lane(unsigned mask, unsigned n) {
  while (n-- && mask) mask &= mask - 1;
  return mask ? (unsigned)__builtin_ctz(mask) : 32;
}
inline unsigned lanes_below() { return (1u << lane()) - 1; }
}  // namespace cuda_on_cpu

namespace cooperative_groups {
// ---- groups that may be told apart only while the kernel runs ------------------------------------------
// mask: the lanes of one warp; 0: the whole block.
class thread_group {
 protected:
  unsigned mask, parts, part;  // part of parts: which piece of its parent it is
 public:
  explicit thread_group(unsigned mask_ = 0, unsigned parts_ = 1, unsigned part_ = 0) : mask(mask_), parts(parts_), part(part_) {}
  unsigned cuda_on_cpu_mask() const { return mask; }
  unsigned long long size() const { return mask ? (unsigned)__builtin_popcount(mask) : blockDim.x * blockDim.y * blockDim.z; }
  unsigned long long num_threads() const { return size(); }
  unsigned long long thread_rank() const {
    return mask ? (unsigned)__builtin_popcount(mask & cuda_on_cpu::lanes_below()) : cuda_on_cpu::thread_in_block();
  }
  bool is_valid() const { return true; }
  CUDA_ON_CPU_HERE void sync(line_now) const {
    if (mask) cuda_on_cpu::warp(cuda_on_cpu::SYNC, mask, 0, 0, line);
    else cuda_on_cpu::barrier(cuda_on_cpu::NONE, 0, line);
  }
};
class thread_block : public thread_group {
 public:
  static unsigned size() { return blockDim.x * blockDim.y * blockDim.z; }
  static unsigned num_threads() { return size(); }
  static unsigned thread_rank() { return cuda_on_cpu::thread_in_block(); }
  static dim3 group_index() { return dim3(blockIdx); }
  static dim3 thread_index() { return dim3(threadIdx); }
  static dim3 group_dim() { return blockDim; }
  static dim3 dim_threads() { return blockDim; }
  CUDA_ON_CPU_HERE static void sync(line_now) { cuda_on_cpu::barrier(cuda_on_cpu::NONE, 0, line); }
};
inline thread_block this_thread_block() { return thread_block(); }

class grid_group {
 public:
  static unsigned long long num_blocks() { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; }
  static unsigned long long size() { return num_blocks() * thread_block::size(); }
  static unsigned long long num_threads() { return size(); }
  static unsigned long long block_rank() { return ((unsigned long long)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x; }
  static unsigned long long thread_rank() { return block_rank() * thread_block::size() + thread_block::thread_rank(); }
  static dim3 group_dim() { return gridDim; }
  static dim3 dim_blocks() { return gridDim; }
  static dim3 block_index() { return dim3(blockIdx); }
  static bool is_valid() { return cuda_on_cpu::cooperative(); }
  CUDA_ON_CPU_HERE static void sync(line_now) { cuda_on_cpu::barrier(cuda_on_cpu::GRID, 0, line); }
};
inline grid_group this_grid() { return grid_group(); }

// ---- a warp, or an equal part of it --------------------------------------------------------------------
template <unsigned N, class Parent = void> class thread_block_tile {
  static_assert(N > 0 && N <= 32 && (N & (N - 1)) == 0, "on the CPU a tile has 1, 2, 4, 8, 16 or 32 threads");
  unsigned parts, part;
  static int first() { return (int)(cuda_on_cpu::lane() & ~(N - 1)); }

 public:
  thread_block_tile(unsigned parts_, unsigned part_) : parts(parts_), part(part_) {}
  template <class P> thread_block_tile(const thread_block_tile<N, P>& other) : parts(other.meta_group_size()), part(other.meta_group_rank()) {}
  operator thread_group() const { return thread_group(cuda_on_cpu_mask(), parts, part); }
  static unsigned cuda_on_cpu_mask() { return (N == 32 ? ~0u : ((1u << N % 32) - 1)) << first(); }
  static constexpr unsigned size() { return N; }
  static constexpr unsigned num_threads() { return N; }
  static unsigned thread_rank() { return cuda_on_cpu::lane() % N; }
  unsigned meta_group_size() const { return parts; }
  unsigned meta_group_rank() const { return part; }
  CUDA_ON_CPU_HERE static void sync(line_now) { cuda_on_cpu::warp(cuda_on_cpu::SYNC, cuda_on_cpu_mask(), 0, 0, line); }
  template <class T> CUDA_ON_CPU_HERE T shfl(T value, int rank, line_now) const {
    return cuda_on_cpu::shuffle_any(cuda_on_cpu_mask(), value, first() + (int)((unsigned)rank % N), line);
  }
  template <class T> CUDA_ON_CPU_HERE T shfl_up(T value, unsigned n, line_now) const {
    return cuda_on_cpu::shuffle_any(cuda_on_cpu_mask(), value, n <= thread_rank() ? (int)(cuda_on_cpu::lane() - n) : (int)cuda_on_cpu::lane(), line);
  }
  template <class T> CUDA_ON_CPU_HERE T shfl_down(T value, unsigned n, line_now) const {
    return cuda_on_cpu::shuffle_any(cuda_on_cpu_mask(), value, thread_rank() + n < N ? (int)(cuda_on_cpu::lane() + n) : (int)cuda_on_cpu::lane(), line);
  }
  template <class T> CUDA_ON_CPU_HERE T shfl_xor(T value, unsigned lanes, line_now) const {
    return cuda_on_cpu::shuffle_any(cuda_on_cpu_mask(), value, (thread_rank() ^ lanes) < N ? first() + (int)(thread_rank() ^ lanes) : (int)cuda_on_cpu::lane(), line);
  }
  CUDA_ON_CPU_HERE unsigned ballot(int p, line_now) const { return __ballot_sync(cuda_on_cpu_mask(), p, line) >> first(); }
  CUDA_ON_CPU_HERE int any(int p, line_now) const { return __any_sync(cuda_on_cpu_mask(), p, line); }
  CUDA_ON_CPU_HERE int all(int p, line_now) const { return __all_sync(cuda_on_cpu_mask(), p, line); }
  template <class T> CUDA_ON_CPU_HERE unsigned match_any(T value, line_now) const { return __match_any_sync(cuda_on_cpu_mask(), value, line) >> first(); }
  template <class T> CUDA_ON_CPU_HERE unsigned match_all(T value, int& all, line_now) const { return __match_all_sync(cuda_on_cpu_mask(), value, &all, line) >> first(); }
};
template <unsigned N> CUDA_ON_CPU_GROUP thread_block_tile<N, thread_block> tiled_partition(const thread_block&) {
  return {(thread_block::size() + N - 1) / N, thread_block::thread_rank() / N};
}
template <unsigned N, unsigned M, class P> CUDA_ON_CPU_GROUP thread_block_tile<N, thread_block_tile<M, P>> tiled_partition(const thread_block_tile<M, P>& parent) {
  static_assert(N <= M, "a tile has no more threads than what it is a part of");
  return {M / N, parent.thread_rank() / N};
}
inline thread_group tiled_partition(const thread_group& parent, unsigned n) {
  unsigned rank = (unsigned)parent.thread_rank(), mask = parent.cuda_on_cpu_mask(), mine = 0;
  if (!mask) mine = (n == 32 ? ~0u : ((1u << n % 32) - 1)) << (cuda_on_cpu::lane() & ~(n - 1));
  for (unsigned i = 0; mask && i < n && rank / n * n + i < parent.size(); i++) mine |= 1u << cuda_on_cpu::nth_lane(mask, rank / n * n + i);
  return thread_group(mine, (unsigned)(parent.size() + n - 1) / n, rank / n);
}

// ---- any lanes of a warp ----------------------------------------------------------------------------------
class coalesced_group : public thread_group {
  int from(unsigned rank) const { return (int)cuda_on_cpu::nth_lane(mask, rank); }
  unsigned packed(unsigned lanes) const {  // bit k: of the group's k-th thread
    unsigned result = 0, n = 0;
    for (unsigned l = 0; l < 32; l++)
      if (mask >> l & 1) result |= (lanes >> l & 1) << n++;
    return result;
  }

 public:
  using thread_group::thread_group;
  unsigned meta_group_size() const { return parts; }
  unsigned meta_group_rank() const { return part; }
  template <class T> CUDA_ON_CPU_HERE T shfl(T value, unsigned rank, line_now) const { return cuda_on_cpu::shuffle_any(mask, value, from(rank % (unsigned)size()), line); }
  template <class T> CUDA_ON_CPU_HERE T shfl_up(T value, int n, line_now) const {
    int rank = (int)thread_rank();
    return cuda_on_cpu::shuffle_any(mask, value, from((unsigned)(rank - n >= 0 ? rank - n : rank)), line);
  }
  template <class T> CUDA_ON_CPU_HERE T shfl_down(T value, int n, line_now) const {
    int rank = (int)thread_rank();
    return cuda_on_cpu::shuffle_any(mask, value, from((unsigned)(rank + n < (int)size() ? rank + n : rank)), line);
  }
  CUDA_ON_CPU_HERE unsigned ballot(int p, line_now) const { return packed(__ballot_sync(mask, p, line)); }
  CUDA_ON_CPU_HERE int any(int p, line_now) const { return __any_sync(mask, p, line); }
  CUDA_ON_CPU_HERE int all(int p, line_now) const { return __all_sync(mask, p, line); }
  template <class T> CUDA_ON_CPU_HERE unsigned match_any(T value, line_now) const { return packed(__match_any_sync(mask, value, line)); }
  template <class T> CUDA_ON_CPU_HERE unsigned match_all(T value, int& all, line_now) const { return packed(__match_all_sync(mask, value, &all, line)); }
};
CUDA_ON_CPU_GROUP coalesced_group coalesced_threads(line_now) { return coalesced_group(cuda_on_cpu::active_lanes(line, 1 << 24 | line)); }
// The threads of the group that come with one value.
template <class Group> CUDA_ON_CPU_GROUP coalesced_group labeled_partition(const Group& group, int label, line_now) {
  return coalesced_group(__match_any_sync(group.cuda_on_cpu_mask(), label, line));
}
template <class Group> CUDA_ON_CPU_GROUP coalesced_group binary_partition(const Group& group, bool p, line_now) {
  unsigned yes = __ballot_sync(group.cuda_on_cpu_mask(), p, line), no = __ballot_sync(group.cuda_on_cpu_mask(), !p, line);
  return coalesced_group(p ? yes : no, 2, p);
}

template <class Group> CUDA_ON_CPU_GROUP void sync(const Group& group, line_now) { group.sync(line); }
template <class Group> CUDA_ON_CPU_GROUP unsigned thread_rank(const Group& group) { return (unsigned)group.thread_rank(); }
template <class Group> CUDA_ON_CPU_GROUP unsigned group_size(const Group& group) { return (unsigned)group.size(); }
}  // namespace cooperative_groups
