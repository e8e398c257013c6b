// bulk.cu: what could become version 9 of the forward: whole rows by Hopper's bulk copies.
// run a version: python -m embag_edu.cuda forward bulk
//
// In version 8 each lane asks for its own 16 bytes of a row, so a row of 512 bytes takes a warp one
// instruction of 32 addresses. Here one lane asks for the whole row with one address, and the GPU's
// copy engine (TMA) brings it. Whether that is faster no GPU has said yet: `choose` takes it if so.
//
// A warp has DEEP places in shared memory, and a barrier for each: lane 0 tells it how many bytes
// will come, and all lanes wait until they have. Sums and means, without padding; rows that are
// multiples of 16 bytes. The order of the additions is that of version 8, and so are the bits.
// Reads, writes: as version 8.
//
// instances: bag_sum_bulk<float, long long, SUM, false, 4, 32>
// instances: bag_sum_bulk<__nv_bfloat16, long long, SUM, false, 8, 32>
// instances: bag_sum_bulk<__half, int, MEAN, false, 8, 32>
// instances: bag_sum_bulk<double, int, SUM, false, 2, 32>
#include "forward.cu"

constexpr int DEEP = 8;   // rows under way for each warp
constexpr int WARPS = 4;  // of a block

// ---- The four steps that begin with sm_90 -------------------------------------------------------
// cuda_on_cpu has no inline PTX: there lane 0 copies the bytes itself, a wait is for lane 0, and the
// barrier counts the rows that came to its place: round r must be the one that has come last.

typedef unsigned long long Barrier;

#ifdef CUDA_ON_CPU
__device__ void begin_barrier(Barrier* barrier) { *barrier = 0; }
__device__ void make_known() {}
__device__ void ask_for_row(Barrier* barrier, void* to, const void* from, int bytes) {
  for (int k = 0; k < bytes / 16; k++) ((float4*)to)[k] = ((const float4*)from)[k];
  ++*barrier;
}
__device__ void wait_for_row(Barrier* barrier, unsigned round) {
  __syncwarp();
  assert(*barrier == round + 1);
}
#elif __CUDA_ARCH__ >= 900
__device__ unsigned place_of(const void* shared) {
  return (unsigned)__cvta_generic_to_shared(shared);
}
__device__ void begin_barrier(Barrier* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(place_of(barrier)) : "memory");
}
__device__ void make_known() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ void ask_for_row(Barrier* barrier, void* to, const void* from, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(place_of(barrier)),
               "r"(bytes)
               : "memory");
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
               "[%3];" ::"r"(place_of(to)),
               "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(place_of(barrier))
               : "memory");
}
__device__ void wait_for_row(Barrier* barrier, unsigned round) {
  unsigned come = 0;
  while (!come) {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; "
                 "selp.u32 %0, 1, 0, p; }"
                 : "=r"(come)
                 : "r"(place_of(barrier)), "r"(round % 2)
                 : "memory");
  }
}
#else
#define TOO_OLD
#endif

// ---- The kernel ---------------------------------------------------------------------------------

#ifndef TOO_OLD
template <typename T, int PACK> struct Bulk {
  typedef typename Wide<T>::Type A;
  Pack<T, PACK> rows[WARPS][DEEP][32];
  Barrier come[WARPS][DEEP];
  unsigned before[WARPS];  // rows that the warp has asked for in earlier sums

  __device__ void begin() {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < DEEP) begin_barrier(&come[warp][lane]);
    if (lane == 0) before[warp] = 0;
    make_known();
    __syncwarp();
  }

  __device__ void add_place(A (&sum)[PACK], unsigned row, bool mine) {
    int warp = threadIdx.x / 32, place = row % DEEP;
    wait_for_row(&come[warp][place], row / DEEP);
    if (mine) {
      const Pack<T, PACK> values = rows[warp][place][threadIdx.x % 32];
#pragma unroll
      for (int k = 0; k < PACK; k++) sum[k] += A(values.element[k]);
    }
    __syncwarp();  // all have read: the place is free
  }

  template <typename I>
  __device__ long long add(A (&sum)[PACK], const T* weight, const I* indices, const T*,
                           long long begin, long long end, int d, int D, I) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = d - lane * PACK;
    int bytes = (D - first < 32 * PACK ? D - first : 32 * PACK) * sizeof(T);
    unsigned old = before[warp], asked = old;
    for (long long base = begin; base < end; base += 32) {
      int count = end - base < 32 ? int(end - base) : 32;
      I my_row = lane < count ? indices[base + lane] : I(0);
      for (int k = 0; k < count; k++) {
        long long row = __shfl_sync(ALL, my_row, k);
        int place = asked++ % DEEP;
        const T* from = weight + row * D + first;
        if (lane == 0) ask_for_row(&come[warp][place], rows[warp][place], from, bytes);
        if (asked - old >= DEEP) add_place(sum, asked - DEEP, d < D);
      }
    }
    unsigned rest = asked - old < DEEP ? old : asked - DEEP + 1;
    for (unsigned row = rest; row != asked; row++) add_place(sum, row, d < D);
    __syncwarp();  // all have read `before`
    if (lane == 0) before[warp] = asked;
    __syncwarp();
    return end - begin;
  }
};
#endif

template <typename T, typename I, int KIND, bool PADDED, int PACK, int LANES>
__global__ void __launch_bounds__(WARPS * 32)
bag_sum_bulk(const T* weight, const I* indices, const long long* offsets, T* output,
             long long* bag_sizes, typename Wide<T>::Type* parts, long long* part_sizes,
             long long* begins, long long B, long long pieces, long long P, int D, I padding_idx) {
#ifndef TOO_OLD
  static_assert(KIND != WEIGHTED && !PADDED && LANES == 32 && PACK * sizeof(T) == 16, "see above");
  __shared__ Bulk<T, PACK> rows;
  rows.begin();
  bags_and_pieces<KIND, PACK, LANES>(rows, weight, indices, offsets, (const T*)nullptr, output,
                                     bag_sizes, parts, part_sizes, begins, B, pieces, P, D,
                                     padding_idx);
#endif
}
