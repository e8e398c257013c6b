// indices.cu: are the indices and offsets such that no kernel can read outside of the arrays?
// run a version: python -m embag_edu.cuda indices check_input
//
//   V rows in weight, N positions, B bags, i bytes in an index.
//   A thread for each position and each bag, in one pass. Reads N i + 8 (B + 1) bytes and writes
//   nothing: only a thread that finds something wrong does an atomic. found (2,) begins as a number
//   larger than all; it ends as the first position with a bad index, and the first bag with bad
//   offsets.
//   Deterministic: the smallest number is the smallest in every order.
//   skip_bad, below, is for who does not wait for the answer.
//
// The check has a kernel of its own. An `assert` in the loop of the forward would ask the question
// again for each feature of a row, and on a GPU a failed assert makes the whole process useless.
//
// instances: check_input<int>, check_input<long long>, skip_bad<int>, skip_bad<long long>

// Bag 0 is bad too where offsets does not begin at 0, and bag B where it does not end at N.
template <typename I>
__global__ void check_input(const I* indices, const long long* offsets, long long* found,
                            long long N, long long B, long long V) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < N) {
    I row = indices[i];
    if (row < 0 || row >= V) atomicMin(&found[0], i);
  }
  if (i <= B) {
    long long begin = offsets[i], end = i < B ? offsets[i + 1] : N;
    bool wrong = i < B ? begin > end : begin != end;
    if (wrong || (i == 0 && begin != 0)) atomicMin(&found[1], i);
  }
}

// For calls whose error is raised later, after check_input: rows (N,) and starts (B + 1,) are what
// the other kernels read in place of indices and offsets. A bad index has become `skipped`, which
// they pass over. Where an offset is bad, all indices are skipped, and the last bag has them all.
// What an error will say is written to found: see Found in findings.py. Reads and writes N i and
// 8 (B + 1) bytes, and reads one number of found in each thread, the same in all.
template <typename I>
__global__ void skip_bad(const I* indices, const long long* offsets, long long* found, I* rows,
                         long long* starts, long long N, long long B, long long V, I skipped) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x, bad_bag = found[1];
  if (i < N) {
    I row = indices[i];
    bool good = row >= 0 && row < V;
    rows[i] = good && bad_bag > B ? row : skipped;
    if (!good && i == found[0]) found[2] = row;
    if (!good && (row < -V || row >= 0)) atomicMin(&found[3], (long long)row);
  }
  if (i > B) return;
  starts[i] = bad_bag > B ? offsets[i] : i < B ? 0 : N;
  if (i == bad_bag) {
    found[4] = offsets[0];
    found[5] = offsets[B > 0 ? B - 1 : 0];
    found[6] = offsets[B];
    found[7] = offsets[i];
    found[8] = offsets[i < B ? i + 1 : B];
  }
}
