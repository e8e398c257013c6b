// rows.cu: bags over packed rows. The bytes of a row are loaded, unpacked in registers, added up.
//
// A thread has LOAD bytes of a row, N numbers: 16 of 8 bits where rows begin at multiples of 16
// bytes. Neighbors have the next ones of the same bag. No thread is idle, and a warp of 32 serves
// several bags where rows are short. Row after row is added in the order of the bag: all formats
// are deterministic. U rows are loaded before the first of them is added (chapter 08a). Long bags
// are not cut into pieces, as in chapter 08b: one of a million positions keeps few threads busy.
//
// A row is its numbers, and `tail` bytes: scale, or scale and bias. Scale and bias are read once by
// each thread: the same bytes for all threads of a bag, so one request.
//
// Letters: B bags, D features. pitch: bytes from one row to the next. TAIL: bytes of a load of the
// tail, 4 where it begins at a multiple of 4. padding_idx: -1 for none.
//
// instances: bag_rows<INT8, SUM, 16, 4, long long>, bag_rows<INT8, WEIGHTED, 8, 4, int>
// instances: bag_rows<INT8, MAX, 1, 1, long long>, bag_rows<INT4, SUM, 16, 2, long long>
// instances: bag_rows<FLOAT8, MEAN, 16, 4, long long>, bag_rows<FLOAT16, SUM, 16, 1, long long>
// instances: bag_rows<BFLOAT16, SUM, 16, 1, long long>

#include <cuda_fp16.h>

#include "common.cuh"

enum { FLOAT16, BFLOAT16, INT8, INT4, FLOAT8 };
enum { SUM, WEIGHTED, MEAN, MAX };
constexpr int U = 4;

__device__ constexpr int bits_of(int format) {
  return format == INT4 ? 4 : format == INT8 || format == FLOAT8 ? 8 : 16;
}

// The 2 or 4 bytes that begin at `from`, in loads of UNIT bytes.
template <int UNIT> __device__ unsigned bits_at(const unsigned char* from, int bytes) {
  unsigned bits = 0;
  for (int k = 0; k < bytes; k += UNIT) {
    Pack<unsigned char, UNIT> piece = *(const Pack<unsigned char, UNIT>*)(from + k);
    for (int j = 0; j < UNIT; j++) bits |= (unsigned)piece.element[j] << 8 * (k + j);
  }
  return bits;
}

struct Tail { float scale, bias; };

template <int FORMAT, int TAIL> __device__ Tail tail_at(const unsigned char* from) {
  Tail tail = {1.0f, 0.0f};
  if (FORMAT == INT4) {
    tail.scale = __half2float(__ushort_as_half((unsigned short)bits_at<TAIL>(from, 2)));
    tail.bias = __half2float(__ushort_as_half((unsigned short)bits_at<TAIL>(from + 2, 2)));
  }
  if (FORMAT == INT8 || FORMAT == FLOAT8) tail.scale = __uint_as_float(bits_at<TAIL>(from, 4));
  if (FORMAT == INT8) tail.bias = __uint_as_float(bits_at<TAIL>(from + 4, 4));
  return tail;
}

// Number k of these bytes.
template <int FORMAT, int LOAD>
__device__ float number(const Pack<unsigned char, LOAD>& bytes, int k, Tail tail) {
  if (FORMAT == INT8) return __fmaf_rn(float(bytes.element[k]), tail.scale, tail.bias);
  if (FORMAT == INT4) {
    int q = bytes.element[k / 2] >> (k % 2 * 4) & 15;
    return __fmaf_rn(float(q), tail.scale, tail.bias);
  }
  if (FORMAT == FLOAT8) {  // in a __half the same bits, further up, mean 256 times less
    unsigned q = bytes.element[k];
    float size = __half2float(__ushort_as_half((unsigned short)((q & 128) << 8 | (q & 127) << 7)));
    return size * 256.0f * tail.scale;
  }
  unsigned bits = bytes.element[2 * k] | (unsigned)bytes.element[2 * k + 1] << 8;
  if (FORMAT == FLOAT16) return __half2float(__ushort_as_half((unsigned short)bits));
  return __uint_as_float(bits << 16);
}

template <int FORMAT, int KIND, int LOAD, int TAIL, class I>
__global__ void __launch_bounds__(256)
bag_rows(const unsigned char* packed, const I* indices, const long long* offsets,
         const float* per_sample_weights, float* output, long long B, int D, long long pitch,
         long long padding_idx) {
  constexpr int N = LOAD * 8 / bits_of(FORMAT);
  const int loads = (D + N - 1) / N, numbers = D * bits_of(FORMAT) / 8;
  long long bag = thread_number() / loads;
  int mine = thread_number() % loads;
  if (bag >= B) return;
  float sum[N] = {};
  long long kept = 0, end = offsets[bag + 1];
  for (long long first = offsets[bag]; first < end; first += U) {
    Pack<unsigned char, LOAD> loaded[U];
    Tail tails[U];
    bool live[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
      long long row = first + u < end ? (long long)indices[first + u] : padding_idx;
      live[u] = first + u < end && row != padding_idx;
      if (!live[u]) continue;
      const unsigned char* from = packed + row * pitch;
      loaded[u] = *(const Pack<unsigned char, LOAD>*)(from + mine * LOAD);
      tails[u] = tail_at<FORMAT, TAIL>(from + numbers);
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      if (!live[u]) continue;
      float factor = KIND == WEIGHTED ? per_sample_weights[first + u] : 1.0f;
#pragma unroll
      for (int k = 0; k < N; k++) {
        float value = number<FORMAT, LOAD>(loaded[u], k, tails[u]);
        if (KIND == MAX) sum[k] = kept == 0 || value > sum[k] ? value : sum[k];
        else sum[k] += factor * value;
      }
      kept++;
    }
  }
  constexpr int WIDE = N % 4 ? 1 : 4;  // floats of a store, where rows of output allow it
  float* to = output + bag * D + mine * N;
#pragma unroll
  for (int k = 0; k < N; k += WIDE) {
    Pack<float, WIDE> result;
#pragma unroll
    for (int j = 0; j < WIDE; j++) {
      result.element[j] = KIND == MEAN && kept > 0 ? sum[k + j] / kept : sum[k + j];
    }
    if (D % WIDE == 0 && mine * N + k < D) {
      *(Pack<float, WIDE>*)(to + k) = result;
      continue;
    }
#pragma unroll
    for (int j = 0; j < WIDE; j++) {
      if (mine * N + k + j < D) to[k + j] = result.element[j];
    }
  }
}
