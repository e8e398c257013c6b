// Whole kernels of many kinds, as one finds them in programs. kinds.py has the launch and the answer.
// instances: block_reduce<int, 128>, block_reduce<float, 256>, warp_tree<int>, warp_tree<double>
// instances: transpose<float, 32>, transpose<unsigned short, 16>, matrix_multiply<int, 16>, matrix_multiply<float, 8>
#define ALL 0xffffffffu
#define LOWEST __int_as_float(0xff800000)  // minus infinity

// Block reduction in shared memory: half of the threads add the other half's numbers, again and again.
template <class T, int N> __global__ void block_reduce(const T* x, T* sums, int n) {
  __shared__ T s[N];
  int t = threadIdx.x, i = blockIdx.x * N + t;
  s[t] = i < n ? x[i] : T(0);
  __syncthreads();
  for (int half = N / 2; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  if (t == 0) sums[blockIdx.x] = s[0];
}

// A tree of shuffles in every warp, then one warp adds the sums of the warps.
template <class T> __global__ void warp_tree(const T* x, T* total, int n) {
  __shared__ T of_warp[32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  T sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(ALL, sum, step);
  if (lane == 0) of_warp[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    sum = lane < warps ? of_warp[lane] : T(0);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(ALL, sum, step);
    if (lane == 0) atomicAdd(total, sum);
  }
}

// The largest element and its place: a shuffle of two values, ties to the lower place.
extern "C" __global__ void warp_argmax(const float* x, float* best, int* place, int columns) {
  int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
  float most = LOWEST;
  int at = columns;
  for (int k = lane; k < columns; k += 32) {
    float v = x[row * columns + k];
    if (v > most) { most = v; at = k; }
  }
  for (int step = 16; step > 0; step /= 2) {
    float v = __shfl_xor_sync(ALL, most, step);
    int k = __shfl_xor_sync(ALL, at, step);
    if (v > most || (v == most && k < at)) { most = v; at = k; }
  }
  if (lane == 0) { best[row] = most; place[row] = at; }
}

// Inclusive scan of a block (Hillis and Steele): log2(n) rounds, two buffers in turn.
extern "C" __global__ void scan_hillis_steele(const int* x, int* y) {
  extern __shared__ int s[];
  int t = threadIdx.x, n = blockDim.x, from = 0;
  s[t] = x[blockIdx.x * n + t];
  __syncthreads();
  for (int step = 1; step < n; step *= 2) {
    int to = n - from;
    s[to + t] = s[from + t] + (t >= step ? s[from + t - step] : 0);
    from = to;
    __syncthreads();
  }
  y[blockIdx.x * n + t] = s[from + t];
}

// Exclusive scan of 256 numbers by 128 threads (Blelloch): up the tree and down again.
extern "C" __global__ void scan_blelloch(const int* x, int* y, int* total) {
  __shared__ int s[256];
  int t = threadIdx.x, base = blockIdx.x * 256;
  s[2 * t] = x[base + 2 * t];
  s[2 * t + 1] = x[base + 2 * t + 1];
  for (int step = 1; step < 256; step *= 2) {
    __syncthreads();
    int right = (t + 1) * 2 * step - 1;
    if (right < 256) s[right] += s[right - step];
  }
  __syncthreads();
  if (t == 0) { total[blockIdx.x] = s[255]; s[255] = 0; }
  for (int step = 128; step > 0; step /= 2) {
    __syncthreads();
    int right = (t + 1) * 2 * step - 1;
    if (right < 256) { int left = s[right - step]; s[right - step] = s[right]; s[right] += left; }
  }
  __syncthreads();
  y[base + 2 * t] = s[2 * t];
  y[base + 2 * t + 1] = s[2 * t + 1];
}

// Inclusive scan with shuffles: in every warp, over the warps, and together.
extern "C" __global__ void scan_shuffles(const int* x, int* y, int n) {
  __shared__ int of_warp[32];
  int t = threadIdx.x, lane = t % 32, warp = t / 32, i = blockIdx.x * blockDim.x + t;
  int v = i < n ? x[i] : 0;
  for (int step = 1; step < 32; step *= 2) {
    int left = __shfl_up_sync(ALL, v, step);
    if (lane >= step) v += left;
  }
  if (lane == 31) of_warp[warp] = v;
  __syncthreads();
  if (warp == 0) {
    int sum = lane < blockDim.x / 32 ? of_warp[lane] : 0;
    for (int step = 1; step < 32; step *= 2) {
      int left = __shfl_up_sync(ALL, sum, step);
      if (lane >= step) sum += left;
    }
    of_warp[lane] = sum;
  }
  __syncthreads();
  if (warp > 0) v += of_warp[warp - 1];
  if (i < n) y[i] = v;
}

// Histogram: every block counts in shared memory and adds its counts to the total at the end.
extern "C" __global__ void histogram(const unsigned char* x, unsigned* counts, int n) {
  __shared__ unsigned mine[256];
  for (int k = threadIdx.x; k < 256; k += blockDim.x) mine[k] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[x[i]], 1);
  __syncthreads();
  for (int k = threadIdx.x; k < 256; k += blockDim.x) if (mine[k]) atomicAdd(&counts[k], mine[k]);
}

// Lanes with the same key join: the first of them adds for all.
extern "C" __global__ void histogram_by_warp(const int* x, int* counts, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned here = __ballot_sync(ALL, i < n);
  if (i >= n) return;
  unsigned same = __match_any_sync(here, x[i]);
  if (__ffs(same) - 1 == threadIdx.x % 32) atomicAdd(&counts[x[i]], __popc(same));
}

// Transpose by tiles; one column of padding keeps the lanes of a column in different banks.
template <class T, int N> __global__ void transpose(const T* x, T* y, int rows, int columns) {
  __shared__ T tile[N][N + 1];
  int column = blockIdx.x * N + threadIdx.x, row = blockIdx.y * N + threadIdx.y;
  for (int k = 0; k < N; k += blockDim.y)
    if (column < columns && row + k < rows) tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * columns + column];
  __syncthreads();
  column = blockIdx.y * N + threadIdx.x, row = blockIdx.x * N + threadIdx.y;
  for (int k = 0; k < N; k += blockDim.y)
    if (column < rows && row + k < columns) y[(row + k) * rows + column] = tile[threadIdx.x][threadIdx.y + k];
}

// Matrix product: tiles of both matrices in shared memory.
template <class T, int N> __global__ void matrix_multiply(const T* a, const T* b, T* c, int m, int n, int inner) {
  __shared__ T left[N][N], right[N][N];
  int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * N + y, column = blockIdx.x * N + x;
  T sum = 0;
  for (int k = 0; k < inner; k += N) {
    left[y][x] = row < m && k + x < inner ? a[row * inner + k + x] : T(0);
    right[y][x] = k + y < inner && column < n ? b[(k + y) * n + column] : T(0);
    __syncthreads();
    for (int j = 0; j < N; j++) sum += left[y][j] * right[j][x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}

// Bitonic sort: every block sorts its segment of keys, and the places go along.
extern "C" __global__ void bitonic_sort(const unsigned* x, unsigned* keys, int* places) {
  __shared__ unsigned key[256];
  __shared__ int place[256];
  int t = threadIdx.x, base = blockIdx.x * 256;
  key[t] = x[base + t];
  place[t] = t;
  for (int size = 2; size <= 256; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      int other = t ^ step;
      if (other < t) continue;  // the lower thread of a pair swaps
      bool up = (t & size) == 0;
      bool less = key[other] < key[t] || (key[other] == key[t] && place[other] < place[t]);
      if (less == up) {
        unsigned k = key[t];
        int p = place[t];
        key[t] = key[other], place[t] = place[other];
        key[other] = k, place[other] = p;
      }
    }
  __syncthreads();
  keys[base + t] = key[t];
  places[base + t] = place[t];
}

// One step of a radix sort: the keys of a block by one bit, in their old order otherwise.
extern "C" __global__ void radix_step(const unsigned* x, unsigned* y, int bit) {
  __shared__ int zeros_of_warp[32];
  int t = threadIdx.x, lane = t % 32, warp = t / 32, warps = blockDim.x / 32;
  unsigned key = x[blockIdx.x * blockDim.x + t], one = key >> bit & 1;
  unsigned zeros = __ballot_sync(ALL, one == 0);
  if (lane == 0) zeros_of_warp[warp] = __popc(zeros);
  __syncthreads();
  int before = 0, all = 0;
  for (int w = 0; w < warps; w++) {
    if (w < warp) before += zeros_of_warp[w];
    all += zeros_of_warp[w];
  }
  int zeros_before_me = before + __popc(zeros & ((1u << lane) - 1));
  y[blockIdx.x * blockDim.x + (one ? all + t - zeros_before_me : zeros_before_me)] = key;
}

// Double-precision atomics: sums of rows that many threads share.
extern "C" __global__ void scatter_add(const double* x, const int* row, double* sums, int n, int columns) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n * columns) atomicAdd(&sums[row[i / columns] * columns + i % columns], x[i]);
}

// Stream compaction: a warp keeps its elements' order, the warps take places as they come.
extern "C" __global__ void compact(const int* x, int* kept, int* count, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
  bool keep = i < n && x[i] > 0;
  unsigned all = __ballot_sync(ALL, keep);
  int start = 0;
  if (lane == 0 && all) start = atomicAdd(count, __popc(all));
  start = __shfl_sync(ALL, start, 0);
  if (keep) kept[start + __popc(all & ((1u << lane) - 1))] = x[i];
}

// Segmented sum by head flags: a scan that does not go over a head, in a block; carried over chunks.
extern "C" __global__ void segmented_sum(const int* x, const int* head, int* y, int n) {
  __shared__ int sum[2][128], flag[2][128], carry;
  int t = threadIdx.x;
  if (t == 0) carry = 0;
  for (int base = 0; base < n; base += 128) {
    int i = base + t, from = 0;
    sum[0][t] = i < n ? x[i] : 0;
    flag[0][t] = i < n ? head[i] : 1;
    __syncthreads();
    for (int step = 1; step < 128; step *= 2) {
      int s = sum[from][t], f = flag[from][t];
      if (t >= step) {
        if (!f) s += sum[from][t - step];
        f |= flag[from][t - step];
      }
      from = 1 - from;
      sum[from][t] = s, flag[from][t] = f;
      __syncthreads();
    }
    int s = sum[from][t] + (flag[from][t] ? 0 : carry);
    if (i < n) y[i] = s;
    __syncthreads();
    if (t == 127) carry = s;
    __syncthreads();
  }
}

// 1-dimensional stencil: a block reads its part and the neighbors on both sides.
extern "C" __global__ void stencil(const float* x, float* y, int n) {
  const int radius = 3;
  extern __shared__ float part[];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  part[t + radius] = i < n ? x[i] : 0.f;
  if (t < radius) {
    int left = i - radius, right = i + (int)blockDim.x;
    part[t] = left >= 0 ? x[left] : 0.f;
    part[t + radius + blockDim.x] = right < n ? x[right] : 0.f;
  }
  __syncthreads();
  float sum = 0.f;
  for (int k = 0; k <= 2 * radius; k++) sum += part[t + k];
  if (i < n) y[i] = sum;
}

// One step of the game of life on a torus, one thread per cell, with halo in shared memory.
extern "C" __global__ void life(const unsigned char* x, unsigned char* y, int height, int width) {
  __shared__ unsigned char cells[10][18];
  int left = blockIdx.x * 16 - 1, top = blockIdx.y * 8 - 1;
  for (int k = threadIdx.y * 16 + threadIdx.x; k < 180; k += 128)
    cells[k / 18][k % 18] = x[(top + k / 18 + height) % height * width + (left + k % 18 + width) % width];
  __syncthreads();
  int r = threadIdx.y + 1, c = threadIdx.x + 1, around = -cells[r][c];
  for (int a = -1; a <= 1; a++) for (int b = -1; b <= 1; b++) around += cells[r + a][c + b];
  int row = top + r, column = left + c;
  if (row < height && column < width) y[row * width + column] = around == 3 || (around == 2 && cells[r][c]);
}

// Every thread looks its value up in a sorted table.
extern "C" __global__ void lower_bound(const float* table, int n, const float* x, int* place, int m) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= m) return;
  int low = 0, high = n;
  while (low < high) {
    int middle = (low + high) / 2;
    if (table[middle] < x[i]) low = middle + 1;
    else high = middle;
  }
  place[i] = low;
}

// Softmax of rows, one block per row: largest, sum, quotient.
extern "C" __global__ void softmax(const float* x, float* y, int columns) {
  __shared__ float s[64];
  int t = threadIdx.x;
  const float* row = x + blockIdx.x * columns;
  float most = LOWEST, sum = 0.f;
  for (int k = t; k < columns; k += 64) most = fmaxf(most, row[k]);
  s[t] = most;
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) s[t] = fmaxf(s[t], s[t + half]);
    __syncthreads();
  }
  most = s[0];
  __syncthreads();
  for (int k = t; k < columns; k += 64) sum += expf(row[k] - most);
  s[t] = sum;
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  for (int k = t; k < columns; k += 64) y[blockIdx.x * columns + k] = expf(row[k] - most) / s[0];
}

// Labels of connected pixels: every pixel takes the smallest label around it until none changes.
extern "C" __global__ void smallest_label(const unsigned char* x, int* label, int width) {
  __shared__ int mine[256];
  int t = threadIdx.x, column = t % width;
  mine[t] = x[t] ? t : -1;
  bool changed = true;
  while (__syncthreads_or(changed)) {
    int best = mine[t];
    if (x[t]) {
      if (column > 0 && x[t - 1]) best = min(best, mine[t - 1]);
      if (column + 1 < width && x[t + 1]) best = min(best, mine[t + 1]);
      if (t >= width && x[t - width]) best = min(best, mine[t - width]);
      if (t + width < (int)blockDim.x && x[t + width]) best = min(best, mine[t + width]);
    }
    changed = best != mine[t];
    __syncthreads();
    mine[t] = best;
  }
  label[t] = mine[t];
}

// Points drawn by a generator of one's own, counted over the whole grid: no table, only arithmetic.
extern "C" __global__ void monte_carlo(unsigned long long* inside, int draws) {
  unsigned long long state = blockIdx.x * blockDim.x + threadIdx.x + 1;
  int hits = 0;
  for (int k = 0; k < draws; k++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    unsigned x = (unsigned)(state >> 48);
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    unsigned y = (unsigned)(state >> 48);
    hits += (unsigned long long)x * x + (unsigned long long)y * y < 4294967296ull;
  }
  for (int step = 16; step > 0; step /= 2) hits += __shfl_xor_sync(ALL, hits, step);
  if (threadIdx.x % 32 == 0) atomicAdd(inside, (unsigned long long)hits);
}
