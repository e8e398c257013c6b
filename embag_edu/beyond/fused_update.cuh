// fused_update.cuh: what each optimizer does with the summed gradient of a row. The last lines of a
// kernel that sums gradients; they know nothing of how it found them.
//
//   optimizer   first             second       in place of the gradient's write, each element
//   SGD         -                 -            reads w, writes w
//   ADAGRAD     sum (V, D)        -            reads and writes w and sum
//   ROW_WISE    sum (V,)          -            reads w, writes w; for each row reads, writes sum
//   ADAM        exp_avg (V, D)    exp_avg_sq   reads and writes w, exp_avg and exp_avg_sq
//
// A row has one owner: a team of lanes, each with PARTS packs of PACK features, `stride` apart. All
// arithmetic is in A; w is rounded to T once, when it is written.
enum Optimizer { SGD, ADAGRAD, ROW_WISE, ADAM };

template <class A>
struct Step {
  A lr, decay, eps;  // for ADAM, lr holds the corrections of this step
  A gain1, gain2;    // 1 - beta1, 1 - beta2: subtracted in double, for 1 - 0.999f has 5 digits
};

// The new w of one element. scale: of ROW_WISE, lr / (sqrt(sum of the row) + eps).
template <int OPTIMIZER, class A>
__device__ A updated(A w, A g, A* first, A* second, A scale, const Step<A>& step) {
  if (OPTIMIZER == SGD) return w - step.lr * g;
  if (OPTIMIZER == ROW_WISE) return w - scale * g;
  if (OPTIMIZER == ADAGRAD) {
    *first += g * g;
    return w - step.lr * g / (sqrt(*first) + step.eps);
  }
  *first += step.gain1 * (g - *first);
  *second += step.gain2 * (g * g - *second);
  return w - step.lr * *first / (sqrt(*second) + step.eps);
}

// ROW_WISE: the scale of a row, by the squares that each lane of the team has added up. All lanes
// of the team come here; one of them reads and writes the row's sum.
template <class A>
__device__ A scale_of_row(A* sum, A squares, int D, int team, const Step<A>& step) {
  int lane = threadIdx.x % 32;
  unsigned mask = team == 32 ? 0xffffffffu : ((1u << team) - 1) << (lane / team * team);
  for (int apart = team / 2; apart > 0; apart /= 2) {
    squares += __shfl_xor_sync(mask, squares, apart, team);
  }
  A total = 0;
  if (lane % team == 0) {
    total = *sum + squares / A(D);
    *sum = total;
  }
  total = __shfl_sync(mask, total, 0, team);
  return step.lr / (sqrt(total) + step.eps);
}

// The step of one row. All lanes of its team come here. g: the lane's part of the gradient; d: its
// first feature. Lanes whose features end before d have none.
template <int OPTIMIZER, int PARTS, int PACK, class T, class A>
__device__ void update_row(T* weight, A* first, A* second, long long row, int d, int stride, int D,
                           int team, A (*g)[PACK], const Step<A>& step) {
  Pack<T, PACK> w[PARTS];
  A squares = 0, scale = 0;
#pragma unroll
  for (int p = 0; p < PARTS; p++) {
    if (d + p * stride >= D) continue;
    w[p] = *(const Pack<T, PACK>*)&weight[row * D + d + p * stride];
#pragma unroll
    for (int k = 0; k < PACK; k++) {
      if (step.decay != 0) g[p][k] += step.decay * A(w[p].element[k]);
      squares += g[p][k] * g[p][k];
    }
  }
  if (OPTIMIZER == ROW_WISE) scale = scale_of_row(first + row, squares, D, team, step);
#pragma unroll
  for (int p = 0; p < PARTS; p++) {
    long long at = row * D + d + p * stride;
    if (d + p * stride >= D) continue;
    Pack<A, PACK> one = {}, two = {};
    if (OPTIMIZER == ADAGRAD || OPTIMIZER == ADAM) one = *(const Pack<A, PACK>*)&first[at];
    if (OPTIMIZER == ADAM) two = *(const Pack<A, PACK>*)&second[at];
#pragma unroll
    for (int k = 0; k < PACK; k++) {
      A old = A(w[p].element[k]);
      A *a = &one.element[k], *b = &two.element[k];
      w[p].element[k] = T(updated<OPTIMIZER, A>(old, g[p][k], a, b, scale, step));
    }
    *(Pack<T, PACK>*)&weight[at] = w[p];
    if (OPTIMIZER == ADAGRAD || OPTIMIZER == ADAM) *(Pack<A, PACK>*)&first[at] = one;
    if (OPTIMIZER == ADAM) *(Pack<A, PACK>*)&second[at] = two;
  }
}
