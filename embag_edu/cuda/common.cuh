// common.cuh: what several files of kernels share. `source()` puts it in place of its #include.

const unsigned ALL = 0xffffffffu;  // the 32 lanes of a warp

__device__ long long thread_number() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

// The type that sums are kept in, and values compared in: nothing is lost on the way there.
template <typename T> struct Wide { typedef float Type; };
template <> struct Wide<double> { typedef double Type; };

// PACK neighboring elements of a row. Up to 16 bytes are moved at once, from an address that is a
// multiple of their number.
template <typename T, int PACK>
struct alignas(sizeof(T) * PACK < 16 ? sizeof(T) * PACK : 16) Pack {
  T element[PACK];
};
