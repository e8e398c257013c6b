// Correct kernels, each the neighbor of a faulty one in faults.cu: nothing may be reported here.
// neighbors.py has their inputs and what they must compute. Names as in faults.cu.
#include <cuda_pipeline.h>

// ==== Barriers ===================================================================================

extern "C" __global__ void reverse(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncthreads();
  out[t] = tile[63 - t];
}

extern "C" __global__ void tile_used_twice(const float* x, const float* y, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncthreads();
  float a = tile[63 - t];
  __syncthreads();
  tile[t] = y[t];
  __syncthreads();
  out[t] = a + tile[63 - t];
}

// Two barriers in the loop: before the tile is read, and before it is filled again.
extern "C" __global__ void staged_rows(const float* w, const int* idx, const int* off, float* out,
                                       int D) {
  __shared__ int rows[32];
  int b = blockIdx.x, d = threadIdx.x;
  float s = 0.0f;
  for (int base = off[b]; base < off[b + 1]; base += 32) {
    int n = min(32, off[b + 1] - base);
    if (d < n) rows[d] = idx[base + d];
    __syncthreads();
    for (int j = 0; j < n; j++) s += w[rows[j] * D + d];
    __syncthreads();
  }
  out[b * D + d] = s;
}

// The barrier is outside of the if.
extern "C" __global__ void tree(const float* x, float* out) {
  __shared__ float part[128];
  int t = threadIdx.x;
  part[t] = x[t];
  __syncthreads();
  for (int h = 64; h > 0; h /= 2) {
    if (t < h) part[t] += part[t + h];
    __syncthreads();
  }
  if (t == 0) *out = part[0];
}

// As many sums are read as warps have written.
extern "C" __global__ void sums_of_warps(const float* x, float* out) {
  __shared__ float part[32];
  int t = threadIdx.x, lane = t % 32, warps = blockDim.x / 32;
  float s = x[t];
  for (int h = 16; h > 0; h /= 2) s += __shfl_down_sync(0xffffffffu, s, h);
  if (lane == 0) part[t / 32] = s;
  __syncthreads();
  if (t < 32) {
    s = lane < warps ? part[lane] : 0.0f;
    for (int h = 16; h > 0; h /= 2) s += __shfl_down_sync(0xffffffffu, s, h);
    if (t == 0) *out = s;
  }
}

// Zero, barrier, atomics, barrier, plain reads.
extern "C" __global__ void shared_total(const float* x, float* out) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0.0f;
  __syncthreads();
  atomicAdd(&total, x[threadIdx.x]);
  __syncthreads();
  out[threadIdx.x] = total;
}

// One array for the maximum and for the sum, a barrier between them.
extern "C" __global__ void maximum_and_sum(const float* x, float* out) {
  __shared__ float part[64];
  int t = threadIdx.x;
  part[t] = x[t];
  __syncthreads();
  for (int h = 32; h > 0; h /= 2) {
    if (t < h) part[t] = fmaxf(part[t], part[t + h]);
    __syncthreads();
  }
  float largest = part[0];
  __syncthreads();
  part[t] = largest - x[t];
  __syncthreads();
  for (int h = 32; h > 0; h /= 2) {
    if (t < h) part[t] += part[t + h];
    __syncthreads();
  }
  out[t] = part[0];
}

// Threads behind the end go home. Nobody waits for them.
extern "C" __global__ void guard_without_barrier(const float* x, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = 2.0f * x[i];
}

// Threads behind the end stay for the barrier, and the rest of the tile is filled with zeros.
extern "C" __global__ void guard_around_the_barrier(const float* x, float* sums, int n) {
  __shared__ float tile[64];
  int i = blockIdx.x * 64 + threadIdx.x;
  tile[threadIdx.x] = i < n ? x[i] : 0.0f;
  __syncthreads();
  if (threadIdx.x == 0) {
    float s = 0.0f;
    for (int j = 0; j < 64; j++) s += tile[j];
    sums[blockIdx.x] = s;
  }
}

// All threads go round as often, whether they have a row or not.
extern "C" __global__ void barrier_in_an_even_loop(const float* w, float* out, int rows) {
  __shared__ float part[8][32];
  int d = threadIdx.x, y = threadIdx.y;
  float s = 0.0f;
  for (int first = 0; first < rows; first += 8) {
    part[y][d] = first + y < rows ? w[(first + y) * 32 + d] : 0.0f;
    __syncthreads();
    for (int j = 0; j < 8; j++) s += part[j][d];
    __syncthreads();
  }
  if (y == 0) out[d] = s;
}

// A branch that all threads of the block take alike.
extern "C" __global__ void barrier_in_an_even_branch(const float* x, float* out) {
  __shared__ float tile[32];
  int t = threadIdx.x, i = blockIdx.x * 32 + t;
  if (blockIdx.x % 2 == 0) {
    tile[t] = x[i];
    __syncthreads();
    out[i] = tile[31 - t];
  } else {
    out[i] = x[i];
  }
}

// A scan: everybody reads, barrier, everybody writes, barrier.
extern "C" __global__ void scan(const int* x, int* out) {
  __shared__ int sums[64];
  int t = threadIdx.x;
  sums[t] = x[t];
  __syncthreads();
  for (int h = 1; h < 64; h *= 2) {
    int below = t >= h ? sums[t - h] : 0;
    __syncthreads();
    sums[t] += below;
    __syncthreads();
  }
  out[t] = sums[t];
}

// How many rows are valid: the barrier that counts.
extern "C" __global__ void barrier_that_counts(const int* idx, int* out) {
  out[threadIdx.x] = __syncthreads_count(idx[threadIdx.x] >= 0);
}

// ==== Tiles ======================================================================================

// Each thread brings its own element, the first and the last thread bring the halo too.
extern "C" __global__ void halo(const float* x, float* out, int n) {
  __shared__ float tile[34];
  int i = blockIdx.x * 32 + threadIdx.x, at = threadIdx.x + 1;
  tile[at] = i < n ? x[i] : 0.0f;
  if (threadIdx.x == 0) tile[0] = i > 0 && i - 1 < n ? x[i - 1] : 0.0f;
  if (threadIdx.x == 31) tile[33] = i + 1 < n ? x[i + 1] : 0.0f;
  __syncthreads();
  if (i < n) out[i] = tile[at - 1] + tile[at] + tile[at + 1];
}

// A padded tile: the column 32 is never written and never read.
extern "C" __global__ void transpose(const float* x, float* out, int rows, int columns) {
  __shared__ float tile[32][33];
  int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 32 + threadIdx.y;
  for (int j = 0; j < 32; j += 8)
    if (r + j < rows && c < columns) tile[threadIdx.y + j][threadIdx.x] = x[(r + j) * columns + c];
  __syncthreads();
  r = blockIdx.y * 32 + threadIdx.x;
  c = blockIdx.x * 32 + threadIdx.y;
  for (int j = 0; j < 32; j += 8)
    if (r < rows && c + j < columns) out[(c + j) * rows + r] = tile[threadIdx.x][threadIdx.y + j];
}

// Two arrays in one dynamic memory: the float4 first, so that both are aligned.
extern "C" __global__ void two_arrays_in_dynamic_memory(const float* x, const int* from, float* out,
                                                        int n) {
  extern __shared__ float4 vectors[];
  int* order = reinterpret_cast<int*>(vectors + n);
  int t = threadIdx.x;
  vectors[t] = reinterpret_cast<const float4*>(x)[t];
  order[t] = from[t];
  __syncthreads();
  reinterpret_cast<float4*>(out)[t] = vectors[order[t]];
}

// The same bytes as floats and, behind a barrier, as whole numbers.
extern "C" __global__ void union_used_twice(const float* x, const int* y, float* out) {
  __shared__ union {
    float f[64];
    int i[64];
  } tile;
  int t = threadIdx.x;
  tile.f[t] = x[t];
  __syncthreads();
  float a = tile.f[63 - t];
  __syncthreads();
  tile.i[t] = y[t];
  __syncthreads();
  out[t] = a + tile.i[(t + 1) % 64];
}

// While one buffer is used, the other one is on its way.
extern "C" __global__ void two_buffers(const float* x, float* out, int steps) {
  __shared__ float tile[2][64];
  int t = threadIdx.x;
  float s = 0.0f;
  __pipeline_memcpy_async(&tile[0][t], &x[t], 4);
  __pipeline_commit();
  for (int step = 0; step < steps; step++) {
    if (step + 1 < steps)
      __pipeline_memcpy_async(&tile[(step + 1) % 2][t], &x[64 * (step + 1) + t], 4);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    s += tile[step % 2][63 - t];
    __syncthreads();
  }
  out[t] = s;
}

// ==== Warps ======================================================================================

// Each warp has its own part of the array and its own pace.
extern "C" __global__ void part_of_a_warp(const float* x, float* out) {
  __shared__ float part[4][32];
  int t = threadIdx.x, lane = t % 32, warp = t / 32;
  float s = 0.0f;
  for (int round = 0; round <= warp; round++) {
    part[warp][lane] = x[t] + round;
    __syncwarp();
    s += part[warp][31 - lane];
    __syncwarp();
  }
  out[t] = s;
}

// The tree of the last warp: read, wait, write, wait.
extern "C" __global__ void tree_of_a_warp(const float* x, float* out) {
  __shared__ float part[64];
  int lane = threadIdx.x;
  part[lane] = x[lane];
  part[lane + 32] = x[lane + 32];
  __syncwarp();
  for (int h = 32; h > 0; h /= 2) {
    float other = lane < h ? part[lane + h] : 0.0f;
    __syncwarp();
    part[lane] += other;
    __syncwarp();
  }
  if (lane == 0) *out = part[0];
}

// Values go from hand to hand, no memory is used: one warp for each bag, of any length.
extern "C" __global__ void rows_from_hand_to_hand(const float* w, const int* idx, const int* off,
                                                  float* out, int D) {
  int b = blockIdx.x, lane = threadIdx.x;
  float s = 0.0f;
  for (int base = off[b]; base < off[b + 1]; base += 32) {
    int n = min(32, off[b + 1] - base);
    int mine = lane < n ? idx[base + lane] : 0;
    for (int j = 0; j < n; j++) {
      int row = __shfl_sync(0xffffffffu, mine, j);
      if (lane < D) s += w[row * D + lane];
    }
  }
  if (lane < D) out[b * D + lane] = s;
}

// A mask of the lanes that come, made before the branch in which it is used.
extern "C" __global__ void mask_of_those_who_come(const int* idx, int* out, int n) {
  int lane = threadIdx.x;
  unsigned mask = __ballot_sync(0xffffffffu, lane < n);
  if (lane >= n) return;
  int largest = idx[lane];
  for (int from = 0; from < n; from++)
    largest = max(largest, __shfl_sync(mask, idx[lane], from));
  out[lane] = largest + __popc(__ballot_sync(mask, idx[lane] == largest));
}

// The last warp has 16 lanes: the full mask may name lanes that are not, but none may be read.
extern "C" __global__ void partial_warp(const float* x, float* out) {
  int t = threadIdx.x, width = min(32, (int)blockDim.x - t / 32 * 32);
  float s = x[t];
  for (int h = 16; h > 0; h /= 2) {
    float other = __shfl_xor_sync(0xffffffffu, s, h < width ? h : 0);
    if (h < width) s += other;
  }
  out[t] = s;
}

// Each half of the warp has its own mask and width, in its own branch.
extern "C" __global__ void halves_of_a_warp(const float* x, float* out) {
  int lane = threadIdx.x;
  float s = x[lane];
  if (lane < 16) {
    for (int h = 8; h > 0; h /= 2) s += __shfl_down_sync(0x0000ffffu, s, h, 16);
  } else {
    for (int h = 8; h > 0; h /= 2) s = fmaxf(s, __shfl_xor_sync(0xffff0000u, s, h, 16));
  }
  __syncwarp();
  out[lane] = __shfl_sync(0xffffffffu, s, lane / 16 * 16);
}

// Lanes with the same row send their sum by one atomic.
extern "C" __global__ void one_atomic_for_equal_rows(const int* idx, int* counts) {
  int lane = threadIdx.x, row = idx[lane];
  unsigned same = __match_any_sync(0xffffffffu, row);
  if (lane == __ffs(same) - 1) atomicAdd(&counts[row], __popc(same));
}

// ==== Global memory ==============================================================================

// One thread for each element; bags may be empty, and their loop then is.
extern "C" __global__ void bag_mean(const float* w, const int* idx, const int* off, float* out,
                                    int B, int D) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= B * D) return;
  int b = i / D, d = i % D, n = off[b + 1] - off[b];
  float s = 0.0f;
  for (int k = off[b]; k < off[b + 1]; k++) s += w[idx[k] * D + d];
  out[i] = n > 0 ? s / n : 0.0f;
}

// Rows of eight floats are two float4 each.
extern "C" __global__ void bag_sum_float4(const float* w, const int* idx, const int* off,
                                          float* out) {
  int b = blockIdx.x, j = threadIdx.x;
  float4 s = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  for (int k = off[b]; k < off[b + 1]; k++) {
    float4 v = reinterpret_cast<const float4*>(w + idx[k] * 8)[j];
    s.x += v.x;
    s.y += v.y;
    s.z += v.z;
    s.w += v.w;
  }
  reinterpret_cast<float4*>(out + b * 8)[j] = s;
}

extern "C" __global__ void backward(const float* grad, const int* idx, const int* off, float* dw,
                                    int D) {
  int b = blockIdx.x, d = threadIdx.x;
  for (int k = off[b]; k < off[b + 1]; k++) atomicAdd(&dw[idx[k] * D + d], grad[b * D + d]);
}

// Each block changes its own rows in place, as often as it likes.
extern "C" __global__ void own_rows_in_place(float* w, int D) {
  for (int step = 0; step < 3; step++) w[blockIdx.x * D + threadIdx.x] *= 2.0f;
}

// The table of factors is read by everybody, and written by nobody.
__constant__ float factors[4] = {1.0f, 2.0f, 4.0f, 8.0f};
extern "C" __global__ void one_table_for_all(const float* x, const float* table, float* out,
                                             int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = x[i] * factors[i % 4] + __ldg(&table[0]) + table[n % 5];
}

// A stride of the whole grid.
extern "C" __global__ void stride_of_the_grid(const float* x, float* out, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    out[i] = x[i] * x[i];
}

// Neighboring bytes and half-words belong to different threads: no race.
extern "C" __global__ void bytes_and_half_words(unsigned char* bytes, short* halves) {
  int t = threadIdx.x;
  bytes[t] = bytes[t] + 1;
  halves[t] = halves[t] * 2;
}

// In shared memory too.
extern "C" __global__ void bytes_in_a_tile(const unsigned char* x, unsigned char* out) {
  __shared__ unsigned char tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncthreads();
  out[t] = tile[63 - t];
}

// A bin for each thread of the block; one atomic for each bin and block.
extern "C" __global__ void histogram(const int* ids, int* counts, int n) {
  __shared__ int bins[100];
  for (int j = threadIdx.x; j < 100; j += blockDim.x) bins[j] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&bins[ids[i]], 1);
  __syncthreads();
  for (int j = threadIdx.x; j < 100; j += blockDim.x)
    if (bins[j] > 0) atomicAdd(&counts[j], bins[j]);
}

// Who gets which place is open; that each place has one owner is not.
extern "C" __global__ void a_place_for_each(int* count, int* list, int room) {
  int slot = atomicAdd(count, 1);
  if (slot < room) list[slot] = 7;
}

// The first to set the mark, and nobody else, counts the row.
extern "C" __global__ void count_rows_once(const int* idx, int* seen, int* count, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && atomicExch(&seen[idx[i]], 1) == 0) atomicAdd(count, 1);
}

extern "C" __global__ void bitmap(const int* idx, unsigned* bits, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicOr(&bits[idx[i] / 32], 1u << idx[i] % 32);
}

// ==== Between blocks =============================================================================

// One thread for each block: sum, fence, ticket; ticket, fence, sums.
extern "C" __global__ void last_block_adds_up(const float* x, float* part, unsigned* ticket,
                                              float* out) {
  if (threadIdx.x != 0) return;
  part[blockIdx.x] = 2.0f * x[blockIdx.x];
  __threadfence();
  if (atomicAdd(ticket, 1u) == gridDim.x - 1) {
    __threadfence();
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++) s += part[j];
    *out = s;
  }
}

// All threads write; each has its fence, and the barrier stands before the ticket.
extern "C" __global__ void last_block_adds_up_rows(const float* x, float* part, unsigned* ticket,
                                                   float* out) {
  __shared__ bool last;
  int t = threadIdx.x, n = blockDim.x;
  part[blockIdx.x * n + t] = x[blockIdx.x * n + t];
  __threadfence();
  __syncthreads();
  if (t == 0) last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (last) {
    __threadfence();
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++) s += part[j * n + n - 1 - t];
    out[t] = s;
  }
}

// All threads write, and after the barrier one fence stands for all of them; so too when reading.
extern "C" __global__ void one_fence_for_the_block(const float* x, float* part, unsigned* ticket,
                                                   float* out) {
  __shared__ bool last;
  int t = threadIdx.x, n = blockDim.x;
  part[blockIdx.x * n + t] = x[blockIdx.x * n + t];
  __syncthreads();
  if (t == 0) {
    __threadfence();
    last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (last) {
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++) s += part[j * n + n - 1 - t];
    out[t] = s;
  }
}

// A lock with fences on both sides.
extern "C" __global__ void lock_with_fences(const float* x, int* lock, float* total) {
  if (threadIdx.x != 0) return;
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  __threadfence();
  *total += x[blockIdx.x];
  __threadfence();
  atomicExch(lock, 0);
}

// Threads of one block too: a message, a fence, a flag.
extern "C" __global__ void message_and_flag(const float* x, float* message, int* flag, float* out) {
  if (threadIdx.x == 0) {
    *message = x[0];
    __threadfence();
    atomicExch(flag, 1);
  } else if (threadIdx.x == 32) {
    while (atomicAdd(flag, 0) == 0) {
    }
    __threadfence();
    *out = 2.0f * *message;
  }
}

// A fence for the block is enough for a thread of the block.
extern "C" __global__ void message_within_the_block(const float* x, float* out) {
  __shared__ float message;
  __shared__ int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x == 0) {
    message = x[0];
    __threadfence_block();
    atomicExch_block(&flag, 1);
  } else if (threadIdx.x == 32) {
    while (atomicAdd_block(&flag, 0) == 0) {
    }
    *out = 2.0f * message;
  }
}

// A volatile flag: write, fence, flag; flag, fence, read.
extern "C" __global__ void volatile_flag(const float* x, volatile float* message, int* ticket,
                                         volatile int* flag, float* out) {
  if (threadIdx.x != 0) return;
  int b = atomicAdd(ticket, 1);
  if (b == 0) {
    *message = x[0];
    __threadfence();
    *flag = 1;
  } else {
    while (*flag == 0) {
    }
    __threadfence();
    out[b] = *message;
  }
}

// The same between two warps of a block.
extern "C" __global__ void volatile_flag_of_a_block(const float* x, float* out) {
  __shared__ float message[32];
  __shared__ volatile int flag;
  int t = threadIdx.x;
  if (t == 0) flag = 0;
  __syncthreads();
  if (t >= 32) {
    message[t - 32] = x[t - 32];
    __syncwarp();
    __threadfence_block();
    if (t == 32) flag = 1;
  } else {
    while (flag == 0) {
    }
    __threadfence_block();
    out[t] = message[31 - t];
  }
}

// A scan in one launch: each block waits for the sum of those that began before it.
extern "C" __global__ void scan_in_one_launch(const float* x, volatile float* sums, int* ticket,
                                              volatile int* flags, float* out) {
  if (threadIdx.x != 0) return;
  int b = atomicAdd(ticket, 1);
  float before = 0.0f;
  if (b > 0) {
    while (flags[b - 1] == 0) {
    }
    __threadfence();
    before = sums[b - 1];
  }
  sums[b] = before + x[b];
  __threadfence();
  flags[b] = 1;
  out[b] = before;
}

// The last block sets the counter back, so that the next launch finds it at zero.
extern "C" __global__ void last_block_sets_its_counter_back(const float* x, float* part,
                                                            unsigned* ticket, float* out) {
  __shared__ bool last;
  int t = threadIdx.x, n = blockDim.x;
  part[blockIdx.x * n + t] = x[blockIdx.x * n + t];
  __threadfence();
  __syncthreads();
  if (t == 0) last = atomicInc(ticket, gridDim.x) == gridDim.x - 1;
  __syncthreads();
  if (last) {
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++) s += part[j * n + n - 1 - t];
    out[t] = s;
    if (t == 0) *ticket = 0;
  }
}

// ==== Right, and noted: with settings(strict=True) these are faults ==============================

// A barrier waits for the threads that have not ended.
extern "C" __global__ void guard_before_the_barrier(const float* x, float* out, int n) {
  __shared__ float tile[64];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  tile[threadIdx.x] = x[i];
  __syncthreads();
  int last = min(63, n - 1 - (int)(blockIdx.x * blockDim.x));
  out[i] = tile[last - threadIdx.x];
}

// Whoever finds it writes the same value.
extern "C" __global__ void found_by_several(const int* x, int* found, int wanted, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && x[i] == wanted) *found = 1;
}

// The compare-and-swap loop of CUDA's guide; the first look is a plain read.
extern "C" __global__ void add_by_compare_and_swap(const double* x, double* total, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  unsigned long long* address = (unsigned long long*)total;
  unsigned long long old = *address, assumed;
  do {
    assumed = old;
    old = atomicCAS(address, assumed,
                    (unsigned long long)__double_as_longlong(x[i] + __longlong_as_double(assumed)));
  } while (assumed != old);
}

// Nothing to do for those who look and see a larger number.
extern "C" __global__ void largest_by_compare_and_swap(const float* x, float* largest, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int* address = (int*)largest;
  int old = *address;
  while (x[i] > __int_as_float(old)) {
    int assumed = old;
    old = atomicCAS(address, assumed, __float_as_int(x[i]));
    if (old == assumed) break;
  }
}

// The lanes of a branch shuffle among themselves.
extern "C" __global__ void active_lanes_of_a_branch(const float* x, float* out) {
  int lane = threadIdx.x;
  float v = x[lane];
  if (lane % 4 == 1) {
    unsigned mask = __activemask();
    v += __shfl_sync(mask, v, 1);
  } else {
    unsigned mask = __activemask();
    v -= __shfl_sync(mask, v, 2);
  }
  __syncwarp();
  out[lane] = v;
}

// One atomic for all lanes that come to it.
extern "C" __global__ void one_atomic_for_active_lanes(const int* x, int* count, int* kept, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
  if (i >= n || x[i] <= 0) return;
  unsigned mask = __activemask();
  int leader = __ffs(mask) - 1, first = 0;
  if (lane == leader) first = atomicAdd(count, __popc(mask));
  first = __shfl_sync(mask, first, leader);
  kept[first + __popc(mask & ((1u << lane) - 1))] = x[i];
}

// Two barriers of two branches: all threads wait at one of them.
extern "C" __global__ void two_barriers_in_a_line(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  // clang-format off
  if (t < 32) { tile[t] = x[t]; __syncthreads(); } else { tile[t] = -x[t]; __syncthreads(); }
  // clang-format on
  out[t] = tile[63 - t];
}
