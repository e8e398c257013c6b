// My kernels: chapters 07 to 11. cuda.py launches them.
//
// T is float or double: cuda.py says which, before this file is compiled. In all of them: table
// (V, D), indices (N,), starts and ends (B,), output and upstream (B, D), and everything lies row
// after row: feature d of row r of the table is table[r * D + d].

// ======== Stage 07 (chapter 07): a first kernel, the sum ========

// output[b, d] = the sum of feature d over the rows of bag b. One thread for each element (b, d).
extern "C" __global__ void sum_of_bags(const T* table, const long long* indices,
                                       const long long* starts, const long long* ends, T* output,
                                       int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element / D, d = element % D;
  T sum = 0;
  for (long long i = starts[bag]; i < ends[bag]; i++) {
    sum += table[indices[i] * D + d];
  }
  output[element] = sum;
}

// ======== Stage 08 (chapter 08): mean and weighted sum ========

// output[b, d] = the mean; 0 for an empty bag. One thread for each element (b, d).
extern "C" __global__ void mean_of_bags(const T* table, const long long* indices,
                                        const long long* starts, const long long* ends, T* output,
                                        int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element / D, d = element % D;
  T sum = 0;
  for (long long i = starts[bag]; i < ends[bag]; i++) {
    sum += table[indices[i] * D + d];
  }
  long long size = ends[bag] - starts[bag];
  output[element] = size > 0 ? sum / size : 0;
}

// output[b, d] = the sum of psw[i] * feature d of the row of i. One thread for each element (b, d).
extern "C" __global__ void weighted_sum_of_bags(const T* table, const long long* indices,
                                                const long long* starts, const long long* ends,
                                                const T* psw, T* output, int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element / D, d = element % D;
  T sum = 0;
  for (long long i = starts[bag]; i < ends[bag]; i++) {
    sum += psw[i] * table[indices[i] * D + d];
  }
  output[element] = sum;
}

// ======== Stage 09 (chapter 09): the maximum and its winners ========

// output[b, d] = the largest value, won[b, d] = the row that it comes from; 0 and -1 for an empty
// bag. The first position enters, a later one wins if it is larger. One thread for each (b, d).
extern "C" __global__ void max_of_bags(const T* table, const long long* indices,
                                       const long long* starts, const long long* ends, T* output,
                                       long long* won, int B, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int bag = element / D, d = element % D;
  T best = 0;
  long long winner = -1;
  for (long long i = starts[bag]; i < ends[bag]; i++) {
    T value = table[indices[i] * D + d];
    if (winner == -1 || value > best) {
      best = value;
      winner = indices[i];
    }
  }
  output[element] = best;
  won[element] = winner;
}

// ======== Stage 10 (chapter 10): the backward with atomics ========

// values[i, d] = shares[i] * upstream[bags[i], d]: what position i hands to its row. bags (N,) has
// the bag of each position. One thread for each (i, d).
extern "C" __global__ void grad_of_positions(const T* upstream, const long long* bags,
                                             const T* shares, T* values, int N, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= N * D) return;
  int i = element / D, d = element % D;
  values[element] = shares[i] * upstream[bags[i] * D + d];
}

// The same, added to the gradient of the table: grad (V, D), zeros at first. Several positions may
// hold one row, so their threads must add with atomicAdd.
extern "C" __global__ void add_to_rows(const T* upstream, const long long* indices,
                                       const long long* bags, const T* shares, T* grad, int N,
                                       int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= N * D) return;
  int i = element / D, d = element % D;
  atomicAdd(&grad[indices[i] * D + d], shares[i] * upstream[bags[i] * D + d]);
}

// Mode max: upstream[b, d] is added to feature d of the row that won it. grad (V, D), zeros at
// first; won (B, D), -1 where nobody won. One thread for each (b, d).
extern "C" __global__ void add_to_winners(const T* upstream, const long long* won, T* grad, int B,
                                          int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= B * D) return;
  int d = element % D;
  if (won[element] != -1) {
    atomicAdd(&grad[won[element] * D + d], upstream[element]);
  }
}

// grad[i] = upstream[bags[i]], dotted with the row of position i. One thread for each i.
extern "C" __global__ void grad_of_weights(const T* upstream, const T* table,
                                           const long long* indices, const long long* bags,
                                           T* grad, int N, int D) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= N) return;
  T sum = 0;
  for (int d = 0; d < D; d++) {
    sum += upstream[bags[i] * D + d] * table[indices[i] * D + d];
  }
  grad[i] = sum;
}

// ======== Stage 11 (chapter 11): the backward by sorting ========

// order (N,) has the positions, sorted by their rows. Row rows[u] is held by the positions
// order[first[u]] up to, not including, order[last[u]]. One thread for each (u, d) of the U rows
// that occur adds up what these positions hand over, in this order: the same bits every time.
extern "C" __global__ void add_sorted(const T* upstream, const long long* bags, const T* shares,
                                      const long long* order, const long long* rows,
                                      const long long* first, const long long* last, T* grad,
                                      int U, int D) {
  int element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= U * D) return;
  int u = element / D, d = element % D;
  T sum = 0;
  for (long long k = first[u]; k < last[u]; k++) {
    long long i = order[k];
    sum += shares[i] * upstream[bags[i] * D + d];
  }
  grad[rows[u] * D + d] = sum;
}
