// first.cu: the first kernels of the book (chapter 07). One thread does one small thing.
// run a version: python -m embag_edu.cuda first bag_sum

// output[i] = factor * input[i]. One thread for each of the n elements.
extern "C" __global__ void scale(const float* input, float* output, float factor, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    output[i] = factor * input[i];
  }
}

// Counts how often each row occurs among n indices. One thread for each position.
// counts (V,) begins as zeros.
extern "C" __global__ void count_rows(const long long* indices, int* counts, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    atomicAdd(&counts[indices[i]], 1);
  }
}

// sums[b] = the sum of the 128 elements of block b. Launch with blocks of 128 threads.
extern "C" __global__ void block_sum(const float* input, float* sums, int n) {
  __shared__ float part[128];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = i < n ? input[i] : 0.0f;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int k = 0; k < 128; k++) {
      sum += part[k];
    }
    sums[blockIdx.x] = sum;
  }
}

// output[i] = input[i * stride] for n elements of the output.
extern "C" __global__ void copy_strided(const float* input, float* output, int stride, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    output[i] = input[i * stride];
  }
}

// The sum of every bag. One thread for each element (bag, d) of the output (B, D) walks its bag.
// offsets (B + 1,) hold the end too. Neighboring threads have neighboring d.
// Deterministic: a thread adds in the order of the bag, and nobody else writes its element.
extern "C" __global__ void bag_sum(const float* weight, const long long* indices,
                                   const long long* offsets, float* output, int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element / D, d = element % D;
  long long begin = offsets[bag], end = offsets[bag + 1];
  float sum = 0.0f;
  for (long long i = begin; i < end; i++) {
    long long row = indices[i];
    sum += weight[row * D + d];
  }
  output[bag * D + d] = sum;
}

// The same sums; only the mapping differs: neighboring threads have neighboring bags.
// Kept to be counted: its reads of weight and its writes are scattered.
extern "C" __global__ void bag_sum_crossed(const float* weight, const long long* indices,
                                           const long long* offsets, float* output, int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element % B, d = element / B;
  long long begin = offsets[bag], end = offsets[bag + 1];
  float sum = 0.0f;
  for (long long i = begin; i < end; i++) {
    long long row = indices[i];
    sum += weight[row * D + d];
  }
  output[bag * D + d] = sum;
}
