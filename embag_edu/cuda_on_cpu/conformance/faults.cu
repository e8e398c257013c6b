// Faulty kernels: each has ONE fault, of the kind that a learner, or an engineer late in the day,
// really writes. The lines concerned are marked "FAULT"; faults.py tells how each kernel is launched
// and what the checked mode must say. Names: w the table (V, D), idx the rows of all bags, off the
// B + 1 offsets, b a bag, d a column, k a position in idx, t a thread of the block.
#include <cuda_pipeline.h>

// ==== Out of bounds ==============================================================================

// The host's offsets have no end of the last bag (include_last_offset=False): off[B] does not exist.
extern "C" __global__ void last_bag_has_no_end(const int* off, int* lengths, int B) {
  int b = blockIdx.x * blockDim.x + threadIdx.x;
  if (b < B) lengths[b] = off[b + 1] - off[b];  // FAULT
}

// "<=": one column too many.
extern "C" __global__ void one_column_too_many(float* out, int D) {
  for (int d = threadIdx.x; d <= D; d += blockDim.x)
    out[blockIdx.x * D + d] = 0.0f;  // FAULT
}

// The grid is rounded up to whole blocks, and nothing stops the threads behind the end.
extern "C" __global__ void missing_guard(const float* x, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = 2.0f * x[i];  // FAULT
}

// -1 marks padding in idx, and nobody asks.
extern "C" __global__ void padding_taken_for_a_row(const float* w, const int* idx, float* out,
                                                   int n, int D) {
  int d = threadIdx.x;
  float s = 0.0f;
  for (int k = 0; k < n; k++)
    s += w[idx[k] * D + d];  // FAULT
  out[d] = s;
}

// idx holds a row V: the vocabulary has grown, the table has not.
extern "C" __global__ void row_behind_the_table(const float* w, const int* idx, const int* off,
                                                float* out, int D) {
  int b = blockIdx.x, d = threadIdx.x;
  float s = 0.0f;
  for (int k = off[b]; k < off[b + 1]; k++) {
    const float* row = w + (size_t)idx[k] * D;
    s += row[d];  // FAULT
  }
  out[b * D + d] = s;
}

// x runs over the bags and y over the columns, the index has it the other way round.
extern "C" __global__ void dimensions_swapped(float* out, int B, int D) {
  int b = blockIdx.x * blockDim.x + threadIdx.x;
  int d = blockIdx.y * blockDim.y + threadIdx.y;
  if (b < B && d < D)
    out[d * D + b] = 1.0f;  // FAULT
}

// w is the shard of a large table that begins at row `first`. row * D leaves 32 bits.
extern "C" __global__ void row_times_d_in_32_bits(const float* w, const unsigned* idx, float* out,
                                                  unsigned first, unsigned D) {
  unsigned row = idx[blockIdx.x], d = threadIdx.x;
  long long at = (long long)(row * D) - (long long)first * D;
  out[blockIdx.x * D + d] = w[at + d];  // FAULT
}

// Pointer arithmetic counts elements already: sizeof is one factor too many.
extern "C" __global__ void bytes_counted_twice(const float* w, const int* idx, float* out, int D) {
  const float* row = w + idx[blockIdx.x] * D * sizeof(float);
  out[blockIdx.x * D + threadIdx.x] = row[threadIdx.x];  // FAULT
}

// Counting down without a sign: k >= 0 is always true.
extern "C" __global__ void countdown_without_a_sign(const int* idx, int* last, int n, int row) {
  if (threadIdx.x != 0) return;
  for (unsigned k = n - 1; k >= 0; k--)
    if (idx[k] == row) {  // FAULT
      *last = k;
      return;
    }
}

// Offsets that decrease: the length, without a sign, is about four thousand million.
extern "C" __global__ void length_without_a_sign(const int* idx, const int* off, int* sums) {
  unsigned n = off[blockIdx.x + 1] - off[blockIdx.x];
  int s = 0;
  for (unsigned k = 0; k < n; k++)
    s += idx[off[blockIdx.x] + k];  // FAULT
  sums[blockIdx.x] = s;
}

// Element 0 has no left neighbor.
extern "C" __global__ void no_left_neighbor(const int* ids, int* begins, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    begins[i] = ids[i] != ids[i - 1];  // FAULT
}

// n is no multiple of four: the last float4 hangs over the end.
extern "C" __global__ void last_float4_hangs_over(const float* x, float* sums, int n) {
  int i = threadIdx.x;
  if (4 * i < n) {
    float4 v = reinterpret_cast<const float4*>(x)[i];  // FAULT
    sums[i] = v.x + v.y;
  }
}

// ids count from 1, bins from 0.
extern "C" __global__ void histogram_from_one(const int* ids, int* bins, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    atomicAdd(&bins[ids[i]], 1);  // FAULT
}

// The offsets are int32, the kernel reads them as int64.
extern "C" __global__ void offsets_read_as_64_bit(const int* off, int* lengths, int B) {
  const long long* wide = reinterpret_cast<const long long*>(off);
  int b = threadIdx.x;
  if (b < B)
    lengths[b] = (int)(wide[b + 1] - wide[b]);  // FAULT
}

// ==== Misaligned =================================================================================

// Rows of six floats: every second row begins in the middle of a float4.
extern "C" __global__ void float4_on_rows_of_six(const float* w, const int* idx, float* out,
                                                 int D) {
  const float* row = w + idx[blockIdx.x] * D;
  float4 v = *reinterpret_cast<const float4*>(row);  // FAULT
  out[blockIdx.x] = v.x + v.y + v.z + v.w;
}

// Right by itself, but the host passes x[1:], which begins four bytes late.
extern "C" __global__ void float4_of_a_shifted_view(const float* x, float* sums, int n) {
  int i = threadIdx.x;
  if (4 * i + 3 < n) {
    float4 v = reinterpret_cast<const float4*>(x)[i];  // FAULT
    sums[i] = v.x + v.y + v.z + v.w;
  }
}

// Begin and end in one load: it works for even bags.
extern "C" __global__ void begin_and_end_in_one_load(const int* off, int* lengths, int B) {
  int b = threadIdx.x;
  if (b < B) {
    int2 range = *reinterpret_cast<const int2*>(off + b);  // FAULT
    lengths[b] = range.y - range.x;
  }
}

// Room for two floats is not yet a place for a double.
extern "C" __global__ void double_in_a_row_of_floats(float* work, const float* x, int D) {
  double* sum = reinterpret_cast<double*>(work + blockIdx.x * D);
  double s = 0.0;
  for (int d = 0; d < D; d++) s += x[blockIdx.x * D + d];
  *sum = s;  // FAULT
}

// The tile of float4 begins behind six ints.
extern "C" __global__ void tile_behind_six_ints(const float* x, float* out, int n) {
  extern __shared__ int buffer[];
  float4* tile = reinterpret_cast<float4*>(buffer + n);
  float4 v = reinterpret_cast<const float4*>(x)[threadIdx.x];
  tile[threadIdx.x] = v;  // FAULT
  out[threadIdx.x] = tile[threadIdx.x].x;
}

// ==== Arrays that are too small ==================================================================

// A tile for 32 threads, launched with 64.
extern "C" __global__ void tile_for_32_threads(const float* x, float* out) {
  __shared__ float tile[32];
  int t = threadIdx.x;
  tile[t] = x[t];  // FAULT
  __syncthreads();
  out[t] = tile[t ^ 1];
}

// The tile has 8 rows of 32, the index has columns first.
extern "C" __global__ void tile_index_swapped(const float* x, float* out) {
  __shared__ float tile[8][32];
  int i = threadIdx.y * 32 + threadIdx.x;
  tile[threadIdx.x][threadIdx.y] = x[i];  // FAULT
  __syncthreads();
  out[i] = tile[threadIdx.x][threadIdx.y];
}

// Every lane has room for four columns; with D = 192 it gets six.
extern "C" __global__ void room_for_four_columns(const float* w, float* out, int D) {
  float mine[4];
  for (int d = threadIdx.x; d < D; d += 32)
    mine[d / 32] = w[d];  // FAULT
  float s = 0.0f;
  for (int j = 0; j < 4; j++) s += mine[j];
  out[threadIdx.x] = s;
}

// Right by itself, but launched with no, or with too little, dynamic shared memory.
extern "C" __global__ void reverse_in_dynamic_memory(const float* x, float* out) {
  extern __shared__ float dynamic_tile[];
  int t = threadIdx.x, n = blockDim.x;
  dynamic_tile[t] = x[t];  // FAULT
  __syncthreads();
  out[t] = dynamic_tile[n - 1 - t];
}

// Right with 64 rows; with 128 they take 64 KB of static shared memory, and 48 KB is the limit.
#ifndef ROWS
#define ROWS 64
#endif
extern "C" __global__ void rows_in_static_memory(const float* x, float* out) {
  __shared__ float table[ROWS][128];  // FAULT
  int t = threadIdx.x;
  for (int row = 0; row < ROWS; row++) table[row][t] = x[t];
  __syncthreads();
  out[t] = table[t % ROWS][t ^ 1];
}

// Right by itself, but launched with 256 threads.
extern "C" __global__ void __launch_bounds__(128) promises_128_threads(const float* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = x[i];
}

// ==== Shared memory that nobody has written ======================================================

// The last tile is only partly filled, and all of it is read.
extern "C" __global__ void half_filled_tile(const float* x, float* sums, int n) {
  __shared__ float tile[64];
  int i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) tile[threadIdx.x] = x[i];
  __syncthreads();
  if (threadIdx.x == 0) {
    float s = 0.0f;
    for (int j = 0; j < 64; j++)
      s += tile[j];  // FAULT
    sums[blockIdx.x] = s;
  }
}

// A sum begins at zero only if somebody writes the zero.
extern "C" __global__ void sum_without_a_zero(const float* x, float* out) {
  __shared__ float total;
  atomicAdd(&total, x[threadIdx.x]);  // FAULT
  __syncthreads();
  if (threadIdx.x == 0) out[0] = total;
}

// Four warps write four sums, thirty-two are read.
extern "C" __global__ void thirty_two_sums_of_four_warps(const float* x, float* out) {
  __shared__ float part[32];
  int t = threadIdx.x, lane = t % 32;
  float s = x[t];
  for (int h = 16; h > 0; h /= 2) s += __shfl_down_sync(0xffffffffu, s, h);
  if (lane == 0) part[t / 32] = s;
  __syncthreads();
  if (t < 32) {
    s = part[lane];  // FAULT
    for (int h = 16; h > 0; h /= 2) s += __shfl_down_sync(0xffffffffu, s, h);
    if (t == 0) *out = s;
  }
}

// Each thread clears one bin, and there are more bins than threads.
extern "C" __global__ void bins_half_cleared(const int* ids, int* counts, int n) {
  __shared__ int bins[100];
  int t = threadIdx.x;
  if (t < 100) bins[t] = 0;
  __syncthreads();
  for (int i = t; i < n; i += blockDim.x)
    atomicAdd(&bins[ids[i]], 1);  // FAULT
  __syncthreads();
  if (t == 0) counts[0] = bins[0];
}

// ==== A barrier is missing =======================================================================

// Between writing the tile and reading what another thread wrote.
extern "C" __global__ void reverse_without_barrier(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];        // FAULT
  out[t] = tile[63 - t]; // FAULT
}

// The tile is used twice; before its second use somebody may still read the first.
extern "C" __global__ void tile_used_again_too_soon(const float* x, const float* y, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncthreads();
  float a = tile[63 - t];  // FAULT
  tile[t] = y[t];          // FAULT
  __syncthreads();
  float c = tile[63 - t];
  out[t] = a + c;
}

// At the end of an iteration: a fast thread fetches the next rows while a slow one reads these.
extern "C" __global__ void no_barrier_at_the_end_of_the_loop(const float* w, const int* idx,
                                                             const int* off, float* out, int D) {
  __shared__ int rows[32];
  int b = blockIdx.x, d = threadIdx.x;
  float s = 0.0f;
  for (int base = off[b]; base < off[b + 1]; base += 32) {
    int n = min(32, off[b + 1] - base);
    if (d < n) rows[d] = idx[base + d];  // FAULT
    __syncthreads();
    for (int j = 0; j < n; j++)
      s += w[rows[j] * D + d];  // FAULT
  }
  out[b * D + d] = s;
}

// A tree in shared memory: one barrier before the loop, none inside.
extern "C" __global__ void tree_without_barriers(const float* x, float* out) {
  __shared__ float part[128];
  int t = threadIdx.x;
  part[t] = x[t];
  __syncthreads();
  for (int h = 64; h > 0; h /= 2)
    if (t < h) part[t] += part[t + h];  // FAULT
  if (t == 0) *out = part[0];
}

// The sums of the warps are read before all warps have written theirs.
extern "C" __global__ void warp_sums_read_at_once(const float* x, float* out) {
  __shared__ float part[4];
  int t = threadIdx.x;
  float s = x[t];
  for (int h = 16; h > 0; h /= 2) s += __shfl_down_sync(0xffffffffu, s, h);
  if (t % 32 == 0) part[t / 32] = s;  // FAULT
  if (t == 0) {
    s = 0.0f;
    for (int j = 0; j < 4; j++)
      s += part[j];  // FAULT
    *out = s;
  }
}

// Thread 0 writes the zero, the others do not wait for it.
extern "C" __global__ void zero_without_barrier(const float* x, float* out) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0.0f;  // FAULT
  atomicAdd(&total, x[threadIdx.x]);   // FAULT
  __syncthreads();
  if (threadIdx.x == 0) *out = total;
}

// Thread 0 takes the sum while the others still add.
extern "C" __global__ void result_taken_too_soon(const float* x, float* out) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0.0f;
  __syncthreads();
  atomicAdd(&total, x[threadIdx.x]);      // FAULT
  if (threadIdx.x == 0) out[0] = total;   // FAULT
}

// Softmax: the second reduction takes the array while others still read the result of the first.
extern "C" __global__ void two_reductions_in_one_array(const float* x, float* out) {
  __shared__ float part[64];
  int t = threadIdx.x;
  part[t] = x[t];
  __syncthreads();
  for (int h = 32; h > 0; h /= 2) {
    if (t < h) part[t] = fmaxf(part[t], part[t + h]);
    __syncthreads();
  }
  float largest = part[0];          // FAULT
  part[t] = expf(x[t] - largest);   // FAULT
  __syncthreads();
  for (int h = 32; h > 0; h /= 2) {
    if (t < h) part[t] += part[t + h];
    __syncthreads();
  }
  out[t] = expf(x[t] - largest) / part[0];
}

// The cursor of the block is moved on before all threads have looked at it.
extern "C" __global__ void cursor_moved_too_soon(const int* idx, int* out, int n) {
  __shared__ int cursor;
  int t = threadIdx.x, s = 0;
  if (t == 0) cursor = 0;
  __syncthreads();
  for (int step = 0; step < n; step++) {
    s += idx[cursor + t];       // FAULT
    if (t == 0) cursor += 64;   // FAULT
    __syncthreads();
  }
  out[t] = s;
}

// ==== A warp that is not synchronized ============================================================

// A shuffle hands over a register. It orders no memory.
extern "C" __global__ void shuffle_taken_for_a_barrier(const float* x, float* out) {
  __shared__ float mine[32];
  int lane = threadIdx.x;
  float v = x[lane];
  mine[lane] = v;  // FAULT
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  out[lane] = v + mine[lane ^ 2];  // FAULT
}

// A ballot is none either.
extern "C" __global__ void ballot_taken_for_a_barrier(const int* idx, int* out) {
  __shared__ int mine[32];
  int lane = threadIdx.x;
  mine[lane] = idx[lane];  // FAULT
  unsigned valid = __ballot_sync(0xffffffffu, idx[lane] >= 0);
  out[lane] = mine[31 - lane] + __popc(valid);  // FAULT
}

// From a book of 2010: "a warp runs in step". Since 2017 it need not.
extern "C" __global__ void warp_in_step(const float* x, float* out) {
  __shared__ float part[64];
  volatile float* p = part;
  int lane = threadIdx.x;
  p[lane] = x[lane];
  p[lane + 32] = x[lane + 32];
  __syncwarp();
  for (int h = 32; h > 0; h /= 2)
    if (lane < h) p[lane] += p[lane + h];  // FAULT
  if (lane == 0) *out = p[0];
}

// __syncwarp orders one warp, the tile belongs to two.
extern "C" __global__ void syncwarp_for_two_warps(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];  // FAULT
  __syncwarp();
  out[t] = tile[(t + 32) % 64];  // FAULT
}

// ==== Barriers that not all threads reach ========================================================

// Inside a branch.
extern "C" __global__ void barrier_in_a_branch(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t] + x[t + 64];
  if (t < 32) {
    __syncthreads();  // FAULT
    out[t] = tile[t] + tile[t + 32];
  }
}

// After the guard has sent some threads home.
extern "C" __global__ void barrier_after_the_guard(const float* x, float* out, int n) {
  __shared__ float tile[64];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  tile[threadIdx.x] = x[i];
  __syncthreads();  // FAULT
  out[i] = tile[threadIdx.x ^ 1];
}

// A barrier on each side of an if: two barriers, not one.
extern "C" __global__ void a_barrier_on_each_side(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  if (t < 32) {
    tile[t] = x[t];
    __syncthreads();  // FAULT
  } else {
    tile[t] = -x[t];
    __syncthreads();  // FAULT
  }
  out[t] = tile[63 - t];
}

// In a loop whose length depends on the thread.
extern "C" __global__ void barrier_in_an_uneven_loop(const float* w, float* out, int rows) {
  __shared__ float part[32];
  int d = threadIdx.x, y = threadIdx.y;
  if (y == 0) part[d] = 0.0f;
  __syncthreads();
  for (int row = y; row < rows; row += blockDim.y) {
    atomicAdd(&part[d], w[row * 32 + d]);
    __syncthreads();  // FAULT
  }
  if (y == 0) out[d] = part[d];
}

// ==== Races in global memory =====================================================================

// Backward: two bags share a row, and one of the two additions is lost.
extern "C" __global__ void lost_update(const float* grad, const int* idx, const int* off, float* dw,
                                       int D) {
  int b = blockIdx.x, d = threadIdx.x;
  for (int k = off[b]; k < off[b + 1]; k++)
    dw[idx[k] * D + d] += grad[b * D + d];  // FAULT
}

// The same in shared memory.
extern "C" __global__ void shared_plus_equals(const float* x, float* out) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0.0f;
  __syncthreads();
  total += x[threadIdx.x];  // FAULT
  __syncthreads();
  if (threadIdx.x == 0) *out = total;
}

// All threads write one element, each its own value.
extern "C" __global__ void one_element_for_all(const float* x, float* out) {
  *out = x[threadIdx.x];  // FAULT
}

// A plain look at a counter that the others increase atomically.
extern "C" __global__ void plain_look_at_a_counter(const int* idx, int* count, int* list,
                                                   int room) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (*count < room) {               // FAULT
    int slot = atomicAdd(count, 1);  // FAULT
    if (slot < room) list[slot] = idx[i];
  }
}

// threadIdx.x where the index in the grid was meant: all blocks write the same elements.
extern "C" __global__ void index_of_the_block_only(const float* x, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    out[threadIdx.x] = x[i];  // FAULT
}

// A stride of one block in a grid of many: each block does everything.
extern "C" __global__ void stride_of_one_block(const float* x, float* out, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    out[i] = x[i] * x[i];  // FAULT
}

// __syncthreads does not wait for other blocks.
extern "C" __global__ void barrier_taken_for_the_grid(const float* x, float* part, float* out) {
  int t = threadIdx.x;
  if (t == 0) part[blockIdx.x] = x[blockIdx.x * blockDim.x];  // FAULT
  __syncthreads();
  if (t == 1 && blockIdx.x == gridDim.x - 1) {
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++)
      s += part[j];  // FAULT
    *out = s;
  }
}

// The last block adds up, but nothing says that the others' sums arrive before their tickets.
extern "C" __global__ void last_block_without_fence(const float* x, float* part, unsigned* ticket,
                                                    float* out) {
  if (threadIdx.x != 0) return;
  part[blockIdx.x] = 2.0f * x[blockIdx.x];  // FAULT
  if (atomicAdd(ticket, 1u) == gridDim.x - 1) {
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++)
      s += part[j];  // FAULT
    *out = s;
  }
}

// With a fence, but thread 0 takes the ticket before the other threads have written.
extern "C" __global__ void ticket_before_the_barrier(const float* x, float* part, unsigned* ticket,
                                                     float* out) {
  __shared__ bool last;
  int t = threadIdx.x, n = blockDim.x;
  part[blockIdx.x * n + t] = x[blockIdx.x * n + t];  // FAULT
  __threadfence();
  if (t == 0) last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  __threadfence();
  if (last) {
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++)
      s += part[j * n + t];  // FAULT
    out[t] = s;
  }
}

// A fence for the block does not order what other blocks see.
extern "C" __global__ void last_block_with_a_fence_for_the_block(const float* x, float* part,
                                                                 unsigned* ticket, float* out) {
  if (threadIdx.x != 0) return;
  part[blockIdx.x] = 2.0f * x[blockIdx.x];  // FAULT
  __threadfence_block();
  if (atomicAdd(ticket, 1u) == gridDim.x - 1) {
    float s = 0.0f;
    for (unsigned j = 0; j < gridDim.x; j++)
      s += part[j];  // FAULT
    *out = s;
  }
}

// An atomic for the block is none for other blocks.
extern "C" __global__ void counted_for_the_block(int* count) {
  atomicAdd_block(count, 1);  // FAULT
}

// A volatile flag, and no fence before it.
extern "C" __global__ void volatile_flag_without_fence(const float* x, float* message, int* ticket,
                                                       volatile int* flag, float* out) {
  if (threadIdx.x != 0) return;
  if (atomicAdd(ticket, 1) == 0) {
    *message = x[0];
    *flag = 1;  // FAULT
  } else {
    while (*flag == 0) {  // FAULT
    }
    *out = 2.0f;
  }
}

// A fence tells when others may see a write, not when it is made: a warp does not run in step.
extern "C" __global__ void warp_in_step_with_fences(const float* x, float* out) {
  __shared__ volatile float part[64];
  int lane = threadIdx.x;
  part[lane] = x[lane];
  part[lane + 32] = x[lane + 32];
  __syncwarp();
  for (int h = 32; h > 0; h /= 2) {
    if (lane < h) part[lane] += part[lane + h];  // FAULT
    __threadfence_block();
  }
  if (lane == 0) *out = part[0];
}

// Each thread writes four columns; a row of six gives the last thread two of the next bag's.
extern "C" __global__ void two_columns_of_the_next_bag(float* out, int D) {
  int b = blockIdx.x, d = 4 * threadIdx.x;
  for (int j = 0; j < 4; j++)
    out[b * D + d + j] = (float)b;  // FAULT
}

// A lock without fences: who gets it next may still see the old total.
extern "C" __global__ void lock_without_fence(const float* x, int* lock, float* total) {
  if (threadIdx.x != 0) return;
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  *total += x[blockIdx.x];  // FAULT
  atomicExch(lock, 0);
}

// The lock is taken atomically, and given back by a plain store.
extern "C" __global__ void lock_given_back_by_a_store(const float* x, int* lock, float* total) {
  if (threadIdx.x != 0) return;
  while (atomicCAS(lock, 0, 1) != 0) {  // FAULT
  }
  __threadfence();
  *total += x[blockIdx.x];
  __threadfence();
  *lock = 0;  // FAULT
}

// Shifting in place: the neighbor may have been overwritten already.
extern "C" __global__ void shift_in_place(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i + 1 < n)
    x[i] = x[i + 1];  // FAULT
}

// Sequence: the halves of one launch are not one after the other.
extern "C" __global__ void table_changed_while_read(float* w, const int* idx, float* out, int D) {
  int d = threadIdx.x;
  if (blockIdx.x == 0)
    w[idx[0] * D + d] *= 0.5f;  // FAULT
  else
    out[d] = w[idx[0] * D + d];  // FAULT
}

// "Seen before?" and "now it is" are two steps.
extern "C" __global__ void seen_then_set(const int* idx, int* seen, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && seen[idx[i]] == 0) seen[idx[i]] = 1;  // FAULT
}

// One bit for each row, and 32 rows in a word: |= writes all 32.
extern "C" __global__ void bitmap_without_atomics(const int* idx, unsigned* bits, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    bits[idx[i] / 32] |= 1u << idx[i] % 32;  // FAULT
}

// ==== Masks and shuffles =========================================================================

// The upper half calls with the mask of the lower.
extern "C" __global__ void lane_not_in_its_mask(const float* x, float* out) {
  float s = x[threadIdx.x];
  s += __shfl_xor_sync(0x0000ffffu, s, 8);  // FAULT
  out[threadIdx.x] = s;
}

// The full mask inside a branch of half a warp: the other half waits at the barrier, for ever.
extern "C" __global__ void full_mask_in_half_a_warp(const float* x, float* out) {
  int lane = threadIdx.x;
  float s = x[lane];
  if (lane < 16)
    s += __shfl_xor_sync(0xffffffffu, s, 8);  // FAULT
  __syncthreads();
  out[lane] = s;
}

// Each half names itself and two lanes more.
extern "C" __global__ void lanes_disagree(const float* x, float* out) {
  int lane = threadIdx.x;
  unsigned mask = lane < 16 ? 0x0003ffffu : 0xffff0000u;
  float s = x[lane];
  s += __shfl_xor_sync(mask, s, 1);  // FAULT
  __syncwarp();  // FAULT: here lanes 16 and 17 wait for those that wait for them above
  out[lane] = s;
}

// A ballot with the full mask, where only the lanes with a valid row come.
extern "C" __global__ void ballot_among_some(const int* idx, int* out) {
  int lane = threadIdx.x;
  unsigned valid = 0;
  if (idx[lane] >= 0)
    valid = __ballot_sync(0xffffffffu, idx[lane] > 4);  // FAULT
  __syncwarp();  // FAULT: the others wait here
  out[lane] = (int)valid;
}

// One lane for each bag, and shuffles inside a loop as long as the lane's own bag.
extern "C" __global__ void shuffle_in_an_uneven_loop(const int* off, int* out) {
  int lane = threadIdx.x, s = 0;
  for (int k = off[lane]; k < off[lane + 1]; k++)
    s += __shfl_xor_sync(0xffffffffu, k, 1);  // FAULT
  __syncwarp();
  out[lane] = s;
}

// Twelve lanes have returned, and their values are asked for.
extern "C" __global__ void shuffle_from_those_who_left(const float* x, float* out, int n) {
  int lane = threadIdx.x;
  if (lane >= n) return;
  float s = x[lane];
  for (int h = 16; h > 0; h /= 2)
    s += __shfl_down_sync(0xffffffffu, s, h);  // FAULT
  if (lane == 0) *out = s;
}

// Half a warp with its own mask, but without width 16: lane 8 reads lane 16.
extern "C" __global__ void shuffle_without_a_width(const float* x, float* out) {
  int lane = threadIdx.x;
  if (lane < 16) {
    float s = x[lane];
    s += __shfl_down_sync(0x0000ffffu, s, 8);  // FAULT
    out[lane] = s;
  }
}

// Lane 31 holds the total of a scan, if there is a lane 31: the block has 48 threads.
extern "C" __global__ void total_of_a_lane_that_is_not(const int* x, int* out) {
  int t = threadIdx.x, lane = t % 32, s = x[t];
  for (int h = 1; h < 32; h *= 2) {
    int below = __shfl_up_sync(0xffffffffu, s, h);
    if (lane >= h) s += below;
  }
  int total = __shfl_sync(0xffffffffu, s, 31);  // FAULT
  out[t] = total - s;
}

// ==== Asynchronous copies ========================================================================

// The copy is on its way, and nobody waits for it.
extern "C" __global__ void copy_not_waited_for(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  __pipeline_memcpy_async(&tile[t], &x[t], 4);
  __pipeline_commit();
  out[t] = tile[t];  // FAULT
}

// Two copies: wait_prior(1) waits for all but the last one, and the last one is read.
extern "C" __global__ void waited_for_the_other_copy(const float* x, float* out) {
  __shared__ float tile[2][64];
  int t = threadIdx.x;
  for (int stage = 0; stage < 2; stage++) {
    __pipeline_memcpy_async(&tile[stage][t], &x[64 * stage + t], 4);
    __pipeline_commit();
  }
  __pipeline_wait_prior(1);
  out[t] = tile[1][t];  // FAULT
  __pipeline_wait_prior(0);
}

// Each thread waits for its own copy, and reads another thread's.
extern "C" __global__ void waited_but_no_barrier(const float* x, float* out) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  __pipeline_memcpy_async(&tile[t], &x[t], 4);  // FAULT
  __pipeline_commit();
  __pipeline_wait_prior(0);
  out[t] = tile[63 - t];  // FAULT
}

// ==== No end =====================================================================================

// "continue" skips the k++ too.
extern "C" __global__ void padding_is_never_passed(const int* idx, int* out, int n, int padding) {
  int k = 0, s = 0;
  while (k < n) {                   // FAULT
    if (idx[k] == padding) continue;  // FAULT
    s += idx[k];
    k++;
  }
  *out = s;
}

// Half of zero is zero, and zero is >= 0.
extern "C" __global__ void halving_for_ever(const float* x, float* out) {
  __shared__ float part[64];
  int t = threadIdx.x;
  part[t] = x[t];
  __syncthreads();
  for (int h = 32; h >= 0; h /= 2) {         // FAULT
    if (t < h) part[t] += part[t + h];       // FAULT
    __syncthreads();                         // FAULT
  }
  if (t == 0) *out = part[0];
}

// Thread 0 waits for a flag that thread 1 sets behind the barrier, where it waits for thread 0.
extern "C" __global__ void flag_behind_the_barrier(int* flag, int* out) {
  int t = threadIdx.x;
  if (t == 0)
    while (atomicAdd(flag, 0) == 0) {  // FAULT
    }
  __syncthreads();  // FAULT
  if (t == 1) atomicExch(flag, 1);
  out[t] = t;
}

// Whoever finds an empty bag goes home with the lock.
extern "C" __global__ void lock_taken_home(const int* lengths, int* lock, int* total) {
  if (threadIdx.x != 0) return;
  while (atomicCAS(lock, 0, 1) != 0) {  // FAULT
  }
  __threadfence();
  if (lengths[blockIdx.x] == 0) return;
  *total += lengths[blockIdx.x];
  __threadfence();
  atomicExch(lock, 0);
}

// ==== Pointers from nowhere ======================================================================

// An array for the addresses of several tables, and nobody has filled it in.
extern "C" __global__ void table_at_address_zero(const unsigned long long* tables, float* out) {
  const float* w = reinterpret_cast<const float*>(tables[blockIdx.x]);
  out[blockIdx.x] = w[threadIdx.x];  // FAULT
}

// A pointer in device memory that the host never sets.
__device__ const float* the_table;
extern "C" __global__ void pointer_never_set(float* out) {
  out[threadIdx.x] = the_table[threadIdx.x];  // FAULT
}

// An index is taken for a pointer.
extern "C" __global__ void index_taken_for_a_pointer(const long long* rows, float* out) {
  const float* row = (const float*)rows[blockIdx.x];
  out[threadIdx.x] = row[threadIdx.x];  // FAULT
}

// ==== Division by zero, assertions ===============================================================

// The mean of an empty bag, in whole numbers.
extern "C" __global__ void mean_of_an_empty_bag(const int* x, const int* off, int* out, int B) {
  int b = threadIdx.x;
  if (b >= B) return;
  int s = 0;
  for (int k = off[b]; k < off[b + 1]; k++) s += x[k];
  out[b] = s / (off[b + 1] - off[b]);  // FAULT
}

// Which of the groups? There is none.
extern "C" __global__ void no_groups(int* out, int groups) {
  out[threadIdx.x] = threadIdx.x % groups;  // FAULT
}

// An assertion that does its work.
extern "C" __global__ void assertion_fails(const int* idx, float* out, int V) {
  int row = idx[threadIdx.x];
  assert(row >= 0 && row < V);  // FAULT
  out[threadIdx.x] = (float)row;
}

// ==== Right, to be launched wrongly ==============================================================

// The sum of each bag, times a factor; one block for each bag, one thread for each column.
extern "C" __global__ void bag_sum(const float* w, const int* idx, const int* off, float* out,
                                   float factor, int D) {
  int b = blockIdx.x, d = threadIdx.x;
  float s = 0.0f;
  for (int k = off[b]; k < off[b + 1]; k++) s += w[idx[k] * D + d];
  out[b * D + d] = factor * s;
}
