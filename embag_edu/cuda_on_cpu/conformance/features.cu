// CUDA features, one small kernel each. features.py has the launch and the right answer of every one.
// The same file is compiled by a C++ compiler for the CPU and by NVRTC for a GPU.
// instances: shared_template<float, 64>, shared_template<double, 32>, shared_template<unsigned char, 128>
// instances: shuffle_width<2>, shuffle_width<4>, shuffle_width<8>, shuffle_width<16>, shuffle_width<32>
// instances: shuffle_type<double>, shuffle_type<long long>, shuffle_type<unsigned long long>, shuffle_type<float>, shuffle_type<__half>
// instances: match_any<int>, match_any<unsigned long long>, match_all<unsigned>, match_all<long long>
// instances: atomic_add<int>, atomic_add<unsigned>, atomic_add<unsigned long long>, atomic_add<float>, atomic_add<double>
// instances: atomic_add<__half>, atomic_add<__nv_bfloat16>, atomic_add<__half2>, atomic_add<__nv_bfloat162>
// instances: atomic_sub<int>, atomic_sub<unsigned>, atomic_exch<int>, atomic_exch<unsigned long long>, atomic_exch<float>
// instances: atomic_min_max<int>, atomic_min_max<unsigned>, atomic_min_max<long long>, atomic_min_max<unsigned long long>
// instances: atomic_bits<int>, atomic_bits<unsigned>, atomic_bits<unsigned long long>
// instances: atomic_cas<int>, atomic_cas<unsigned>, atomic_cas<unsigned long long>, atomic_cas<unsigned short>
// instances: reverse<float2>, reverse<float4>, reverse<int2>, reverse<int4>, reverse<uint2>, reverse<uint4>, reverse<double2>
// instances: reverse<longlong2>, reverse<ulonglong2>, reverse<char2>, reverse<char4>, reverse<uchar2>, reverse<uchar4>
// instances: reverse<short2>, reverse<short4>, reverse<ushort2>, reverse<ushort4>, reverse<__half2>, reverse<__nv_bfloat162>
// instances: polynomial<float, 3>, polynomial<int, 5>, pick<true>, pick<false>
// instances: cached<float>, cached<int>, cached<float4>, cached<__half>, cached<double2>
// instances: staged<float, 5>, staged<float2, 4>, staged<float4, 7>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda_pipeline.h>

#define ALL 0xffffffffu

// ---- where a thread is -----------------------------------------------------------------------

// Every thread writes the four numbers that tell where it is.
extern "C" __global__ void indices_1d(int* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[4 * i] = threadIdx.x;
  out[4 * i + 1] = blockIdx.x;
  out[4 * i + 2] = blockDim.x;
  out[4 * i + 3] = gridDim.x;
}

// In two dimensions: the place of a thread in a picture.
extern "C" __global__ void indices_2d(int* out, int width, int height) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < width && y < height) out[y * width + x] = 1000 * y + x;
}

// In three dimensions: all twelve numbers, at the thread's own place.
extern "C" __global__ void indices_3d(int* out) {
  int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  int* mine = out + 12 * (block * (blockDim.x * blockDim.y * blockDim.z) + thread);
  mine[0] = threadIdx.x, mine[1] = threadIdx.y, mine[2] = threadIdx.z;
  mine[3] = blockIdx.x, mine[4] = blockIdx.y, mine[5] = blockIdx.z;
  mine[6] = blockDim.x, mine[7] = blockDim.y, mine[8] = blockDim.z;
  mine[9] = gridDim.x, mine[10] = gridDim.y, mine[11] = gridDim.z;
}

// Warps follow the linear thread id, x fastest: lane 0 tells all its number.
extern "C" __global__ void warps_2d(int* out) {
  int thread = threadIdx.y * blockDim.x + threadIdx.x;
  out[thread] = __shfl_sync(ALL, thread, 0);
}

// 50 threads: the second warp has 18 lanes, and its mask names only these.
extern "C" __global__ void partial_warp(unsigned* out) {
  unsigned mask = threadIdx.x < 32 ? ALL : (1u << (blockDim.x - 32)) - 1;
  out[threadIdx.x] = __ballot_sync(mask, threadIdx.x % 3 == 0);
}

// warpSize is 32, and the lane is the linear thread id modulo 32.
extern "C" __global__ void warp_size(int* out) { out[threadIdx.x] = warpSize + threadIdx.x % warpSize; }

// ---- shared memory -----------------------------------------------------------------------------

// A block turns its 64 numbers round.
extern "C" __global__ void shared_static(const int* x, int* y) {
  __shared__ int s[64];
  int i = threadIdx.x, base = blockIdx.x * 64;
  s[i] = x[base + i];
  __syncthreads();
  y[base + i] = s[63 - i];
}

// The same with a size that is given at launch.
extern "C" __global__ void shared_dynamic(const int* x, int* y) {
  extern __shared__ int dynamic[];
  int i = threadIdx.x, base = blockIdx.x * blockDim.x;
  dynamic[i] = x[base + i];
  __syncthreads();
  y[base + i] = dynamic[blockDim.x - 1 - i];
}

// Dynamic shared memory cut in two by hand: doubles first, then ints.
extern "C" __global__ void shared_cut(const double* x, const int* k, double* y) {
  extern __shared__ double both[];
  double* values = both;
  int* where = (int*)(both + blockDim.x);
  int i = threadIdx.x;
  values[i] = x[i];
  where[i] = k[i];
  __syncthreads();
  y[i] = values[where[where[i]]];
}

// A square of shared memory, turned on its diagonal.
extern "C" __global__ void shared_2d(const float* x, float* y) {
  __shared__ float tile[16][17];
  int i = threadIdx.y * 16 + threadIdx.x;
  tile[threadIdx.y][threadIdx.x] = x[i];
  __syncthreads();
  y[i] = tile[threadIdx.x][threadIdx.y];
}

// Four arrays of different types side by side: none overlaps another.
extern "C" __global__ void shared_several(const int* x, double* y) {
  __shared__ int a[32];
  __shared__ double b[32];
  __shared__ unsigned char c[32], d;
  int i = threadIdx.x;
  a[i] = x[i], b[i] = 0.5 * x[i], c[i] = (unsigned char)x[i];
  if (i == 7) d = 99;
  __syncthreads();
  y[i] = a[31 - i] + b[(i + 1) % 32] + c[(i + 5) % 32] + d;
}

// Every instance of a template has shared memory of its own type and size.
template <class T, int N> __global__ void shared_template(const T* x, T* y) {
  __shared__ T s[N];
  s[threadIdx.x] = x[blockIdx.x * N + threadIdx.x];
  __syncthreads();
  y[blockIdx.x * N + threadIdx.x] = s[(threadIdx.x + 1) % N];
}

// A __device__ function may have shared memory of its own.
__device__ int sum_of_block(int x) {
  __shared__ int sums[64];
  sums[threadIdx.x] = x;
  __syncthreads();
  int total = 0;
  for (int i = 0; i < 64; i++) total += sums[i];
  __syncthreads();
  return total;
}
extern "C" __global__ void shared_in_function(const int* x, int* y) {
  int once = sum_of_block(x[threadIdx.x]);
  y[threadIdx.x] = once + sum_of_block(once + (int)threadIdx.x);
}

// ---- barriers --------------------------------------------------------------------------------------

// __syncthreads_count, _and, _or over several rounds, with a last warp that is not full.
extern "C" __global__ void barrier_votes(const int* x, int* out, int rounds) {
  for (int r = 0; r < rounds; r++) {
    int p = x[r * blockDim.x + threadIdx.x];
    int* mine = out + 3 * (r * blockDim.x + threadIdx.x);
    mine[0] = __syncthreads_count(p);
    mine[1] = __syncthreads_and(p) != 0;
    mine[2] = __syncthreads_or(p) != 0;
  }
}

// A barrier in a loop that all threads of the block run equally often; two buffers in turn.
extern "C" __global__ void barrier_in_loop(const int* x, int* y, int rounds) {
  __shared__ int s[2][96];
  int i = threadIdx.x;
  s[0][i] = x[i];
  for (int r = 0; r < rounds; r++) {
    __syncthreads();
    s[(r + 1) % 2][i] = s[r % 2][(i + 1) % 96] + s[r % 2][(i + 95) % 96];
  }
  y[i] = s[rounds % 2][i];
}

// __syncwarp orders the shared memory of one warp.
extern "C" __global__ void syncwarp(const int* x, int* y) {
  __shared__ int s[64];
  int i = threadIdx.x, warp = i / 32 * 32;
  s[i] = x[i];
  __syncwarp();
  int v = s[warp + 31 - i % 32];
  __syncwarp();
  s[i] = v + 1;
  __syncwarp();
  y[i] = s[warp + (i + 7) % 32];
}

// ---- warps -----------------------------------------------------------------------------------------

// Every shuffle with groups of `width` lanes: a source outside the group gives a lane its own value.
template <int width> __global__ void shuffle_width(const int* x, int* out) {
  int i = threadIdx.x, v = x[i];
  const int steps[5] = {0, 1, width / 2, width - 1, width};
  for (int k = 0; k < 5; k++) {
    int step = steps[k];
    out[(4 * k + 0) * 64 + i] = __shfl_sync(ALL, v, step, width);
    out[(4 * k + 1) * 64 + i] = __shfl_up_sync(ALL, v, step, width);
    out[(4 * k + 2) * 64 + i] = __shfl_down_sync(ALL, v, step, width);
    out[(4 * k + 3) * 64 + i] = __shfl_xor_sync(ALL, v, step, width);
  }
}

// Values of 2, 4 and 8 bytes.
template <class T> __global__ void shuffle_type(const T* x, T* out) {
  int i = threadIdx.x;
  out[i] = __shfl_sync(ALL, x[i], 31 - i % 32);
  out[64 + i] = __shfl_up_sync(ALL, x[i], 3);
  out[128 + i] = __shfl_down_sync(ALL, x[i], 5);
  out[192 + i] = __shfl_xor_sync(ALL, x[i], 6);
}

// A source lane that is negative or too large counts modulo the width.
extern "C" __global__ void shuffle_wraps(int* out) {
  const int from[4] = {-1, 33, 100, -37};
  int i = threadIdx.x;
  for (int k = 0; k < 4; k++) {
    out[64 * k + i] = __shfl_sync(ALL, 10 * i, from[k]);
    out[64 * k + 32 + i] = __shfl_sync(ALL, 10 * i, from[k], 8);
  }
}

// Every lane may ask for a different lane.
extern "C" __global__ void shuffle_gather(const int* x, const int* from, int* y) {
  y[threadIdx.x] = __shfl_sync(ALL, x[threadIdx.x], from[threadIdx.x]);
}

// The two halves of a warp take different branches, each with its own mask.
extern "C" __global__ void half_warps(const int* x, int* y) {
  int lane = threadIdx.x % 32, v = x[threadIdx.x];
  if (lane < 16) {
    for (int step = 8; step > 0; step /= 2) v += __shfl_xor_sync(0x0000ffffu, v, step);
  } else {
    for (int step = 8; step > 0; step /= 2) v = max(v, __shfl_xor_sync(0xffff0000u, v, step));
  }
  y[threadIdx.x] = v;
}

// Ballot, any and all, for all lanes and for the even ones alone.
extern "C" __global__ void votes(const int* x, unsigned* out) {
  int i = threadIdx.x, lane = i % 32;
  out[i] = __ballot_sync(ALL, x[i] > 2);
  out[64 + i] = __any_sync(ALL, x[i] > 8) != 0;
  out[128 + i] = __all_sync(ALL, x[i] > 0) != 0;
  out[192 + i] = 0;
  if (lane % 2 == 0) out[192 + i] = __ballot_sync(0x55555555u, x[i] > 5);
}

// Lanes that have returned are no longer asked: those that stay vote without them.
extern "C" __global__ void exited_lanes(unsigned* out) {
  int lane = threadIdx.x;
  if (lane >= 20) return;
  __syncwarp(0x000fffffu);
  out[lane] = __activemask() >> lane & 1;  // which others are with me is not promised
  out[20 + lane] = __ballot_sync(0x000fffffu, lane % 2);
}

// The lanes that hold the same value as I do.
template <class T> __global__ void match_any(const T* x, unsigned* out) {
  out[threadIdx.x] = __match_any_sync(ALL, x[threadIdx.x]);
}

// Do all lanes of my half warp hold the same value?
template <class T> __global__ void match_all(const T* x, unsigned* out) {
  int i = threadIdx.x, same = -1;
  unsigned mask = i % 32 < 16 ? 0x0000ffffu : 0xffff0000u, found;
  if (i % 32 < 16) found = __match_all_sync(mask, x[i], &same);
  else found = __match_all_sync(mask, x[i], &same);
  out[i] = found;
  out[64 + i] = same != 0;
}

// One instruction that reduces over a warp (from sm_80 on).
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
extern "C" __global__ void reduce_sync(const int* x, int* out) {
  int i = threadIdx.x, v = x[i];
  unsigned u = (unsigned)v;
  int* mine = out + 9 * i;
  mine[0] = __reduce_add_sync(ALL, v);
  mine[1] = __reduce_min_sync(ALL, v);
  mine[2] = __reduce_max_sync(ALL, v);
  mine[3] = (int)__reduce_add_sync(ALL, u);
  mine[4] = (int)__reduce_min_sync(ALL, u);
  mine[5] = (int)__reduce_max_sync(ALL, u);
  mine[6] = (int)__reduce_and_sync(ALL, u);
  mine[7] = (int)__reduce_or_sync(ALL, u);
  mine[8] = (int)__reduce_xor_sync(ALL, u);
}
#endif

// ---- atomics ---------------------------------------------------------------------------------------

// Three cells, many threads: no addition is lost.
template <class T> __global__ void atomic_add(T* total, const T* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&total[i % 3], x[i]);
}

template <class T> __global__ void atomic_sub(T* total, const T* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicSub(&total[i % 3], x[i]);
}

// The value that was in the cell out[n] comes back: sorted, they are what went in.
template <class T> __global__ void atomic_exch(T* out, const T* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = atomicExch(&out[n], x[i]);
}

template <class T> __global__ void atomic_min_max(T* ends, const T* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  atomicMin(&ends[0], x[i]);
  atomicMax(&ends[1], x[i]);
}

template <class T> __global__ void atomic_bits(T* cells, const T* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  atomicAnd(&cells[0], x[i]);
  atomicOr(&cells[1], x[i]);
  atomicXor(&cells[2], x[i]);
}

// Up to a limit and round, down and round.
extern "C" __global__ void atomic_inc_dec(unsigned* cells, unsigned* up, unsigned* down, unsigned limit) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  up[i] = atomicInc(&cells[0], limit);
  down[i] = atomicDec(&cells[1], limit);
}

// Any update can be made of compare-and-swap: here x * 5 + 1 on small neighboring cells.
template <class T> __global__ void atomic_cas(T* cells, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  T seen = 0, old;
  do {
    old = seen;
    seen = atomicCAS(&cells[i % 5], old, (T)(old * 5 + 1));
  } while (seen != old);
}

// Every thread draws a number: each number is drawn once.
extern "C" __global__ void atomic_tickets(int* counter, int* ticket) {
  ticket[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(counter, 1);
}

// Atomics on shared memory: what a block counts, it adds to the total.
extern "C" __global__ void atomic_shared(const int* x, int* counts, int n) {
  __shared__ int mine[8];
  __shared__ float weight;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x < 8) mine[threadIdx.x] = 0;
  if (threadIdx.x == 8) weight = 0.f;
  __syncthreads();
  if (i < n) {
    atomicAdd(&mine[x[i]], 1);
    atomicAdd(&weight, 0.25f);
  }
  __syncthreads();
  if (threadIdx.x < 8) atomicAdd(&counts[threadIdx.x], mine[threadIdx.x]);
  if (threadIdx.x == 8) atomicAdd(&counts[8], (int)(4.f * weight));
}

// ---- vector types ----------------------------------------------------------------------------------

// A vector is read and written as one value.
template <class V> __global__ void reverse(const V* x, V* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[n - 1 - i] = x[i];
}

// make_*, braces and members; the sizes of the types.
extern "C" __global__ void make_vectors(int* out) {
  int i = threadIdx.x;
  float2 a = make_float2(i, 2 * i);
  float3 b = make_float3(1.f, i, 3.f);
  float4 c = {1.f, 2.f, 3.f, (float)i}, d = make_float4(i, 0.f, 0.f, 1.f);
  int2 e = make_int2(i, -i);
  int3 f = make_int3(1, 2, i);
  int4 g = make_int4(i, 1, 2, 3);
  uint2 h = make_uint2(i, 7);
  uint4 k = make_uint4(i, i, i, 1);
  uchar4 l = make_uchar4(250, 5, i, 1);
  short2 m = make_short2(-5, i);
  double2 o = make_double2(0.5, i);
  longlong2 p = make_longlong2(1ll << 40, i);
  d.w += c.z;
  c = d;
  int* mine = out + 16 * i;
  mine[0] = (int)(a.x + a.y), mine[1] = (int)(b.x + b.y + b.z), mine[2] = (int)(c.x + c.w);
  mine[3] = e.x - e.y, mine[4] = f.x + f.y + f.z, mine[5] = g.x + g.w, mine[6] = h.x + h.y;
  mine[7] = k.x + k.y + k.z + k.w, mine[8] = l.x + l.y + l.z + l.w, mine[9] = m.x + m.y;
  mine[10] = (int)(2 * o.x + o.y), mine[11] = (int)(p.x >> 38) + (int)p.y;
  mine[12] = sizeof(float2) + sizeof(float3) + sizeof(float4), mine[13] = sizeof(uchar4) + sizeof(short2);
  mine[14] = sizeof(double2) + sizeof(longlong2), mine[15] = alignof(float4) + alignof(float3) + alignof(int2);
}

// One row of floats read as float4 through a cast pointer.
extern "C" __global__ void cast_to_float4(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n / 4) return;
  float4 v = reinterpret_cast<const float4*>(x)[i];
  reinterpret_cast<float4*>(y)[i] = make_float4(v.w, v.z, v.y, v.x);
}

// ---- 16-bit numbers --------------------------------------------------------------------------------

// A NaN is written as 0x7fc00000, whatever its bits are.
__device__ unsigned float_bits(float f) { return f != f ? 0x7fc00000u : __float_as_uint(f); }

extern "C" __global__ void half_to_float(const __half* h, unsigned* bits, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) bits[i] = float_bits(__half2float(h[i]));
}

extern "C" __global__ void bfloat16_to_float(const __nv_bfloat16* h, unsigned* bits, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) bits[i] = float_bits(__bfloat162float(h[i]));
}

// To nearest, to zero, up and down.
extern "C" __global__ void float_to_half(const float* x, unsigned short* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = __half_as_ushort(__float2half(x[i]));
  out[n + i] = __half_as_ushort(__float2half_rz(x[i]));
  out[2 * n + i] = __half_as_ushort(__float2half_ru(x[i]));
  out[3 * n + i] = __half_as_ushort(__float2half_rd(x[i]));
}

extern "C" __global__ void float_to_bfloat16(const float* x, unsigned short* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = __bfloat16_as_ushort(__float2bfloat16(x[i]));
  out[n + i] = __bfloat16_as_ushort(__float2bfloat16_rz(x[i]));
  out[2 * n + i] = __bfloat16_as_ushort(__float2bfloat16_ru(x[i]));
  out[3 * n + i] = __bfloat16_as_ushort(__float2bfloat16_rd(x[i]));
}

// From double without a stop at float: rounded once.
extern "C" __global__ void double_to_16(const double* x, unsigned short* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = __half_as_ushort(__double2half(x[i]));
  out[n + i] = __bfloat16_as_ushort(__double2bfloat16(x[i]));
}

// From whole numbers, and back to them (to nearest and to zero).
extern "C" __global__ void integer_to_half(const int* x, unsigned short* out, int* back, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  __half h = __int2half_rn(x[i]);
  out[i] = __half_as_ushort(h);
  out[n + i] = __half_as_ushort(__uint2half_rn((unsigned)x[i]));
  out[2 * n + i] = __half_as_ushort(__ll2half_rn(1000003ll * x[i]));
  out[3 * n + i] = __half_as_ushort(__short2half_rn((short)x[i]));
  back[i] = __half2int_rz(__hmul(h, __float2half(0.25f)));
  back[n + i] = __half2int_rn(__hmul(h, __float2half(0.25f)));
}

// + - * / and the fused multiply-add, each rounded once.
extern "C" __global__ void half_arithmetic(const __half* a, const __half* b, const __half* c, __half* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = a[i] + b[i];
  out[n + i] = __hsub(a[i], b[i]);
  out[2 * n + i] = a[i] * b[i];
  out[3 * n + i] = __hdiv(a[i], b[i]);
  out[4 * n + i] = __hfma(a[i], b[i], c[i]);
  __half s = -c[i];
  s += b[i];
  out[5 * n + i] = s;
  out[6 * n + i] = __hmax(a[i], b[i]);
  out[7 * n + i] = __hmin(__habs(a[i]), c[i]);
}

// Two at a time.
extern "C" __global__ void half2_arithmetic(const __half2* a, const __half2* b, const __half2* c, __half2* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = __hadd2(a[i], b[i]);
  out[n + i] = __hmul2(a[i], b[i]);
  out[2 * n + i] = __hfma2(a[i], b[i], c[i]);
  out[3 * n + i] = __hmax2(a[i], __halves2half2(__high2half(b[i]), __low2half(b[i])));
  float2 f = __half22float2(c[i]);
  out[4 * n + i] = __floats2half2_rn(f.y, f.x);
}

// NaN is not equal to anything, not even to itself; the bits of ==, !=, <, <=, >, >=, isnan, isinf.
extern "C" __global__ void half_compare(const __half* a, const __half* b, int* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  __half x = a[i], y = b[i];
  out[i] = (x == y) | (x != y) << 1 | (x < y) << 2 | (x <= y) << 3 | (x > y) << 4 | (x >= y) << 5
         | (__hisnan(x) ? 64 : 0) | (__hisinf(x) != 0 ? 128 : 0);
}

// ---- templates, constants, functions -------------------------------------------------------------

// A type and a number as template parameters.
template <class T, int N> __global__ void polynomial(const T* x, T* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  T sum = 0;
  for (int k = 0; k < N; k++) sum = sum * x[i] + T(k + 1);
  y[i] = sum;
}

// A template parameter that chooses a branch when the kernel is compiled.
template <bool squared> __global__ void pick(const int* x, int* y) {
  int v = x[threadIdx.x];
  if constexpr (squared) y[threadIdx.x] = v * v;
  else y[threadIdx.x] = -v;
}

__constant__ int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};
__constant__ float quarters[2][2] = {{0.25f, 0.5f}, {0.75f, 1.0f}};

// Constant tables, with values given in the source.
extern "C" __global__ void constants(float* out) {
  int i = threadIdx.x;
  out[i] = primes[i % 8] * quarters[i / 2 % 2][i % 2];
}

__device__ int greatest_divisor(int a, int b) { return b == 0 ? a : greatest_divisor(b, a % b); }
__device__ __noinline__ void swap_if(bool really, int& a, int& b) {
  if (really) { int t = a; a = b; b = t; }
}
template <class T> __device__ __forceinline__ T twice(T x) { return x + x; }

// __device__ functions: recursion, references, templates.
extern "C" __global__ void device_functions(const int* x, int* y) {
  int i = threadIdx.x, a = x[i], b = x[(i + 1) % 64];
  swap_if(a < b, a, b);
  y[i] = twice(greatest_divisor(a, b)) + (int)twice(0.5f * a);
}

__device__ const int offsets[4] = {100, 200, 300, 400};
__device__ unsigned int blocks_done = 0;

// A table in global memory with values given in the source.
extern "C" __global__ void device_variable(int* out) { out[threadIdx.x] = offsets[threadIdx.x % 4] + threadIdx.x; }

// Scalars of every width come in unharmed.
extern "C" __global__ void scalars(double* out, signed char c, unsigned char uc, short s, int i, unsigned u,
                                   long long l, unsigned long long ul, float f, double d, bool b) {
  out[0] = c, out[1] = uc, out[2] = s, out[3] = i, out[4] = u;
  out[5] = (double)l, out[6] = (double)ul, out[7] = f, out[8] = d, out[9] = b;
}

// ---- memory ----------------------------------------------------------------------------------------

// Loads and stores with a hint for the cache give the same values as plain ones.
template <class T> __global__ void cached(const T* x, T* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  y[i] = __ldg(&x[i]);
  y[n + i] = __ldcg(&x[n - 1 - i]);
  __stcs(&y[2 * n + i], __ldcs(x + (i + 1) % n));
  __stcg(y + 3 * n + i, __ldca(x + (i + 2) % n));
}

// Rows come into shared memory by asynchronous copies of 4, 8 or 16 bytes: one on its way, one in use.
template <class T, int rounds> __global__ void staged(const T* x, T* y) {
  __shared__ T buffer[2][64];
  int i = threadIdx.x, base = blockIdx.x * 64 * rounds;
  __pipeline_memcpy_async(&buffer[0][i], &x[base + i], sizeof(T));
  __pipeline_commit();
  for (int r = 0; r < rounds; r++) {
    if (r + 1 < rounds) __pipeline_memcpy_async(&buffer[(r + 1) % 2][i], &x[base + (r + 1) * 64 + i], sizeof(T));
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    y[base + r * 64 + i] = buffer[r % 2][63 - i];
    __syncthreads();
  }
}

// The last bytes of a copy may be filled with zeros instead.
extern "C" __global__ void staged_zfill(const int* x, int* y) {
  __shared__ int4 rows[32];
  int i = threadIdx.x;
  __pipeline_memcpy_async(&rows[i], &x[4 * i], 16, 4 * (i % 5));
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  int4 v = rows[31 - i];
  y[4 * i] = v.x, y[4 * i + 1] = v.y, y[4 * i + 2] = v.z, y[4 * i + 3] = v.w;
}

// The last block to end, found by an atomic counter, adds up what all blocks left behind.
extern "C" __global__ void last_block(const int* x, int* part, int* total) {
  __shared__ int sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, x[blockIdx.x * blockDim.x + threadIdx.x]);
  __syncthreads();
  if (threadIdx.x == 0) {
    part[blockIdx.x] = sum;
    __threadfence();
    unsigned before = atomicInc(&blocks_done, gridDim.x - 1);   // wraps to 0 for the next launch
    __threadfence();
    if (before == gridDim.x - 1) {
      int all = 0;
      for (int b = 0; b < (int)gridDim.x; b++) all += part[b];
      *total = all;
    }
  }
}

// A lock around a place that only one thread at a time may enter; one thread per block asks for it.
extern "C" __global__ void spin_lock(int* lock, int* value) {
  if (threadIdx.x == 0) {
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    value[0] = value[0] + 1;
    value[1] = value[1] * 3 + 1;
    __threadfence();
    atomicExch(lock, 0);
  }
}

// ---- whole numbers ---------------------------------------------------------------------------------

// Counting, turning and picking bits.
extern "C" __global__ void bit_functions(const unsigned* x, const unsigned long long* w, unsigned* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  unsigned v = x[i], u = x[(i + 1) % n], *mine = out + 14 * i;
  mine[0] = __popc(v), mine[1] = __popcll(w[i]);
  mine[2] = __clz(v), mine[3] = __clzll(w[i]);
  mine[4] = __ffs(v), mine[5] = __ffsll(w[i]);
  mine[6] = __brev(v), mine[7] = (unsigned)(__brevll(w[i]) >> 20);
  mine[8] = __byte_perm(v, u, 0x5140), mine[9] = __byte_perm(v, u, u & 0x7777);
  mine[10] = __funnelshift_l(v, u, i), mine[11] = __funnelshift_r(v, u, i);
  mine[12] = __funnelshift_l(v, v, i);  // a rotation
  mine[13] = __funnelshift_rc(v, u, i);
}

// The upper half of a product, 24-bit products, sums of differences, averages.
extern "C" __global__ void multiply(const int* a, const int* b, int* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int *mine = out + 8 * i, x = a[i], y = b[i];
  mine[0] = __mulhi(x, y);
  mine[1] = (int)__umulhi((unsigned)x, (unsigned)y);
  mine[2] = __mul24(x, y);
  mine[3] = (int)__umul24((unsigned)x, (unsigned)y);
  mine[4] = (int)__sad(x, y, 5u);
  mine[5] = (int)__usad((unsigned)x, (unsigned)y, 5u);
  mine[6] = (int)__mul64hi((long long)x << 20, (long long)y << 20);
  mine[7] = __hadd(x, y);
}

// Division goes towards zero, the remainder has the sign of the dividend; a signed shift keeps the
// sign; unsigned numbers wrap round; 64-bit products do not.
extern "C" __global__ void integer_rules(const int* a, const int* b, long long* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  long long* mine = out + 7 * i;
  int x = a[i], y = b[i];
  unsigned u = (unsigned)x, v = (unsigned)y;
  mine[0] = x / y, mine[1] = x % y;
  mine[2] = x >> (i % 32);
  mine[3] = u * v + 3u;
  mine[4] = u - v;
  mine[5] = (long long)x * 3000000000ll + i;
  mine[6] = (size_t)u * 5000000000ull % 1000003ull;
}

// min and max of whole numbers, also of mixed types.
extern "C" __global__ void min_max(const int* a, const int* b, long long* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  long long* mine = out + 4 * i;
  mine[0] = min(a[i], b[i]), mine[1] = max(a[i], 3);
  mine[2] = min((unsigned)a[i], (unsigned)b[i]), mine[3] = max((long long)a[i] << 33, 5ll);
}

// ---- floating point --------------------------------------------------------------------------------

// The bits of a number, looked at and put back.
extern "C" __global__ void reinterpret_bits(const float* x, const double* d, unsigned* out, long long* wide, float* back) {
  int i = threadIdx.x;
  out[i] = __float_as_uint(x[i]) ^ 0x80000000u;
  out[64 + i] = (unsigned)__float_as_int(x[i]);
  wide[i] = __double_as_longlong(d[i]);
  back[i] = __uint_as_float(out[i]);
  back[64 + i] = __int_as_float(__float_as_int(x[i]) + 1);
  back[128 + i] = (float)__longlong_as_double(wide[i]);
}

// A fused multiply-add rounds once: (1 + e)(1 - e) - 1 is -e * e, not 0.
extern "C" __global__ void fused(float* out) {
  int i = threadIdx.x;
  float e = i * 0.000244140625f;
  out[i] = fmaf(1.f + e, 1.f - e, -1.f);
  out[64 + i] = __fmaf_rn(1.f + e, 1.f - e, -1.f);
  out[128 + i] = __fadd_rn(__fmul_rn(1.f + e, 1.f - e), -1.f);
}

// In fminf, fmaxf, min and max a number wins over NaN.
extern "C" __global__ void nan_loses(const float* a, const float* b, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = fminf(a[i], b[i]);
  out[n + i] = fmaxf(a[i], b[i]);
  out[2 * n + i] = min(a[i], b[i]);
  out[3 * n + i] = max(a[i], b[i]);
}

// To a whole number with a chosen rounding; what does not fit becomes the nearest end, NaN becomes 0.
extern "C" __global__ void float_to_integer(const float* x, int* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = __float2int_rz(x[i]);
  out[n + i] = __float2int_rn(x[i]);
  out[2 * n + i] = __float2int_ru(x[i]);
  out[3 * n + i] = __float2int_rd(x[i]);
  out[4 * n + i] = (int)__float2uint_rz(x[i]);
}

// Correctly rounded: division, square root and 1/x of floats, sums of doubles.
extern "C" __global__ void rounded_floats(const float* a, const float* b, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = __fdiv_rn(a[i], b[i]);
  out[n + i] = __fsqrt_rn(a[i]);
  out[2 * n + i] = __frcp_rn(b[i]);
  out[3 * n + i] = __double2float_rn((double)a[i] + (double)b[i]);
  out[4 * n + i] = __saturatef(a[i] - b[i]);
}

// Fast and approximate functions: within a few units of the last place.
extern "C" __global__ void approximate(const float* a, const float* b, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = rsqrtf(a[i]);
  out[n + i] = __fdividef(a[i], b[i]);
  out[2 * n + i] = __expf(-b[i]);
  out[3 * n + i] = tanhf(b[i]);
  out[4 * n + i] = expf(-b[i]);
  out[5 * n + i] = logf(a[i]);
}

// ---- control ---------------------------------------------------------------------------------------

// A bound for the compiler changes no result.
extern "C" __global__ void __launch_bounds__(128) bounded(const int* x, int* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i] + 1;
}

// Threads that have nothing to do return; no barrier follows.
extern "C" __global__ void early_return(const int* x, int* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  if (x[i] % 2) {
    y[i] = -1;
    return;
  }
  y[i] = x[i];
}

// Loops of different lengths in the lanes of a warp, with break and continue.
extern "C" __global__ void collatz(const int* x, int* steps, int limit) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  long long v = x[i];
  int k = 0;
  for (;; k++) {
    if (v == 1 || k == limit) break;
    if (v % 2 == 0) { v /= 2; continue; }
    v = 3 * v + 1;
  }
  steps[i] = k;
}

// A private array with an index known only at run time, and a switch.
extern "C" __global__ void local_array(const int* x, int* y) {
  int counts[5] = {0, 0, 0, 0, 0}, i = threadIdx.x;
  for (int k = 0; k < 8; k++) counts[x[8 * i + k]]++;
  int best = 0;
  for (int k = 1; k < 5; k++) if (counts[k] > counts[best]) best = k;
  switch (best) {
    case 0: y[i] = 100 + counts[0]; break;
    case 1: y[i] = 200 + counts[1]; break;
    default: y[i] = 1000 * best + counts[best];
  }
}

// Few threads, many elements: every thread takes each n-th element.
extern "C" __global__ void grid_stride(const int* x, int* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = 3 * x[i];
}
