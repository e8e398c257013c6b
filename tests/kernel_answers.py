"""Answers that readers might give to the kernel exercises, each with its name.

RIGHT: exercise -> name -> source; other shapes of a right kernel, which must pass.
WRONG: exercise -> name -> (source, words of the advice that must be told).
"""

# ruff: noqa: E501 (a table of sources)

import re

from embag_edu.chapters.ch07 import exercises as ch07
from embag_edu.chapters.ch08 import exercises as ch08
from embag_edu.chapters.ch09 import exercises as ch09
from embag_edu.chapters.ch10 import exercises as ch10
from embag_edu.chapters.ch11 import exercises as ch11

GLOBAL = 'extern "C" __global__ void '


def changed(source: str, *pairs: str) -> str:
    """The source with pairs of texts replaced, each of which must be there."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, old
        source = source.replace(old, new)
    return source


AXPY = GLOBAL + "axpy(float a, const float* x, float* y, int n) {\n%s\n}"
I = "int i = blockIdx.x * blockDim.x + threadIdx.x;"  # noqa: E741
DIFF = GLOBAL + "differences(const float* input, float* output, int n) {\n%s\n}"
COUNT = GLOBAL + "count_long(const int* lengths, int* total, int limit, int B) {\n%s\n}"
BAG = "int bag = blockIdx.x * blockDim.x + threadIdx.x;"
REVERSE = GLOBAL + "reverse_blocks(const float* input, float* output) {\n%s\n}"
ADD_ROW = (
    GLOBAL + "add_row(const float* matrix, const float* row, float* output, int R, int C) {\n%s\n}"
)
MEAN = (
    GLOBAL + "bag_mean(const float* weight, const long long* indices, const long long* offsets, "
    "float* output, int B, int D) {\n%s\n}"
)
E = "int e = blockIdx.x * blockDim.x + threadIdx.x;\n  if (e < B * D) {\n%s\n  }"
SUM_MEAN = (
    "int bag = e / D, d = e % D; float sum = 0; int count = 0;\n"
    "for (long long i = offsets[bag]; i < offsets[bag + 1]; ++i) {"
    " sum += weight[indices[i] * D + d]; count++; }\n"
)
SUM = (
    GLOBAL + "bag_sum(const float* weight, const int* indices, const int* offsets, "
    "float* output, int D) {\n%s\n}"
)
SUM_128 = SUM.replace(", int D", "")
RING = "#include <cuda_pipeline.h>\n" + SUM
RING_SHARED = (
    "  __shared__ float ring[%d][32];\n"
    "  int bag = blockIdx.x, d = threadIdx.x, begin = offsets[bag], end = offsets[bag + 1];\n"
    "  float sum = 0.0f;\n"
)
RESCALE = ch09.RESCALE_RIGHT
MAX = (
    GLOBAL + "bag_max(const float* weight, const int* indices, const int* offsets, "
    "float* output, int* winners) {\n%s\n}"
)
ADD_BAGS = ch10.ADD_BAGS_RIGHT
JOIN = ch10.ADD_SCORES_JOINED
JOIN_HEAD = GLOBAL + "add_scores(const int* rows, const float* scores, float* sums, int n) {\n%s\n}"
RUNS = ch11.SUM_RUNS_RIGHT
LAST = ch11.TWO_PASSES_RIGHT
FIX = "  __threadfence();\n  __syncthreads();\n"

RIGHT: dict[str, dict[str, str]] = {
    "07.axpy": {
        "early return": AXPY % (I + " if (i >= n) return; y[i] += a * x[i];"),
        "grid-stride loop": AXPY
        % (I + " for (; i < n; i += gridDim.x * blockDim.x) y[i] = a * x[i] + y[i];"),
        "unsigned index": AXPY
        % "unsigned i = threadIdx.x + blockDim.x * blockIdx.x; if (i < (unsigned)n) y[i] += x[i] * a;",
        "size_t, fmaf": AXPY % "size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;\n"
        "  if (i < n) y[i] = fmaf(a, x[i], y[i]);",
        "from the end": AXPY % (I + " int k = n - 1 - i; if (k >= 0) y[k] = y[k] + a * x[k];"),
        "a device function": "__device__ float f(float a, float x, float y) { return a * x + y; }\n"
        + AXPY % (I + " if (!(i >= n)) { float v = f(a, x[i], y[i]); y[i] = v; }"),
        "pointers": AXPY % (I + " if (i < n) { float* p = y + i; *p = a * *(x + i) + *p; }"),
        "atomic": AXPY % (I + " if (i < n) atomicAdd(&y[i], a * x[i]);"),
    },
    "07.repair_bounds": {
        "i + 1 < n": DIFF % (I + " if (i + 1 < n) output[i] = input[i + 1] - input[i];"),
        "i <= n - 2": DIFF % (I + " if (i <= n - 2) { output[i] = input[i + 1] - input[i]; }"),
        "early return": DIFF
        % (I + " if (i >= n - 1) return; output[i] = input[i + 1] - input[i];"),
        "from the right": DIFF
        % (I + " if (i > 0 && i < n) output[i - 1] = input[i] - input[i - 1];"),
        "shifted": DIFF % (I + " i++; if (i < n) output[i - 1] = -(input[i - 1] - input[i]);"),
        "grid-stride": DIFF
        % (
            I
            + " for (; i < n - 1; i += gridDim.x * blockDim.x) output[i] = input[i + 1] - input[i];"
        ),
        "long long": DIFF % "long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;\n"
        "  if (i < n - 1) output[i] = input[i + 1] - input[i];",
    },
    "07.lost_update": {
        "total itself": changed(ch07.COUNT_RIGHT, "&total[0]", "total"),
        "adds the truth": COUNT % (BAG + " if (bag < B) atomicAdd(total, lengths[bag] > limit);"),
        "early return": COUNT
        % (BAG + " if (bag >= B || lengths[bag] <= limit) return; atomicAdd(&total[0], 1);"),
        "subtracts -1": changed(
            ch07.COUNT_RIGHT, "atomicAdd(&total[0], 1)", "atomicSub(total, -1)"
        ),
        "a count for each block": COUNT
        % (
            "__shared__ int part; if (threadIdx.x == 0) part = 0; __syncthreads();\n"
            + BAG
            + "\nif (bag < B && lengths[bag] > limit) atomicAdd(&part, 1);\n__syncthreads();\n"
            "if (threadIdx.x == 0) atomicAdd(total, part);"
        ),
        "a ballot": COUNT
        % (
            BAG + " int is = bag < B && lengths[bag] > limit;\n"
            "unsigned all = __ballot_sync(0xffffffffu, is);\n"
            "if (threadIdx.x % 32 == 0) atomicAdd(total, __popc(all));"
        ),
        "grid-stride": COUNT
        % (
            BAG + " for (; bag < B; bag += blockDim.x * gridDim.x)"
            " if (lengths[bag] > limit) atomicAdd(&total[0], 1);"
        ),
        "compare and swap": COUNT
        % (
            BAG + " if (bag >= B || lengths[bag] <= limit) return;\n"
            "int old = atomicAdd(total, 0), seen;\n"
            "do { seen = old; old = atomicCAS(total, seen, seen + 1); } while (old != seen);"
        ),
    },
    "07.barrier": {
        "turned at the write": REVERSE
        % "__shared__ float part[64]; int t = threadIdx.x, i = blockIdx.x * 64 + t;\n"
        "part[63 - t] = input[i]; __syncthreads(); output[i] = part[t];",
        "blockDim": REVERSE
        % "__shared__ float part[64]; int t = threadIdx.x, n = blockDim.x, i = blockIdx.x * n + t;\n"
        "part[t] = input[i]; __syncthreads(); output[i] = part[n - 1 - t];",
        "two barriers": changed(
            ch07.REVERSE_RIGHT, "__syncthreads();", "__syncthreads(); __syncthreads();"
        ),
        "a variable": changed(
            ch07.REVERSE_RIGHT,
            "output[i] = part[63 - t];",
            "float v = part[63 - t];\n  output[i] = v;",
        ),
        "turned output": REVERSE
        % "__shared__ float part[64]; int t = threadIdx.x, i = blockIdx.x * 64;\n"
        "part[t] = input[i + t]; __syncthreads(); output[i + 63 - t] = part[t];",
        "one thread reads for all": changed(
            ch07.REVERSE_RIGHT,
            "part[t] = input[i];",
            "if (t == 0) for (int k = 0; k < 64; k++) part[k] = input[i + k];",
        ),
    },
    "07.coalesce": {
        "one index": ADD_ROW % (I + " if (i < R * C) output[i] = matrix[i] + row[i % C];"),
        "remainder first": ADD_ROW
        % (
            I + " if (i >= R * C) return; int c = i % C; int r = (i - c) / C;\n"
            "int at = r * C + c; output[at] = matrix[at] + row[c];"
        ),
        "grid-stride": ADD_ROW
        % (
            I
            + " for (; i < R * C; i += gridDim.x * blockDim.x) output[i] = row[i % C] + matrix[i];"
        ),
        "unsigned": ADD_ROW % "unsigned i = blockIdx.x * blockDim.x + threadIdx.x, n = R * C;\n"
        "if (i < n) { unsigned r = i / C; output[i] = matrix[i] + row[i - r * C]; }",
        "rows as pointers": ADD_ROW
        % (
            I + " int r = i / C, c = i - r * C; if (r >= R) return;\n"
            "const float* mine = matrix + r * C; float* out = output + r * C; out[c] = mine[c] + row[c];"
        ),
        "__ldg": ADD_ROW
        % (I + " if (i < R * C) output[i] = __ldg(&matrix[i]) + __ldg(&row[i % C]);"),
    },
    "07.bag_mean": {
        "a count": MEAN % (E % (SUM_MEAN + "output[e] = count ? sum / count : 0.0f;")),
        "fmaxf": MEAN % (E % (SUM_MEAN + "output[bag * D + d] = sum / fmaxf(count, 1.0f);")),
        "max": MEAN % (E % (SUM_MEAN + "output[e] = sum / max(count, 1);")),
        "scaled": MEAN % (E % (SUM_MEAN + "output[e] = count > 0 ? sum * (1.0f / count) : 0.0f;")),
        "zero first": MEAN
        % (E % (SUM_MEAN + "output[e] = 0.0f; if (count != 0) output[e] = sum / (float)count;")),
        "return for an empty bag": MEAN
        % (E % (SUM_MEAN + "if (count == 0) { output[e] = 0; return; } output[e] = sum / count;")),
        "double": MEAN
        % (
            E
            % (
                changed(SUM_MEAN, "float sum", "double sum")
                + "output[e] = count ? (float)(sum / count) : 0.0f;"
            )
        ),
        "while": changed(
            ch07.BAG_MEAN,
            "for (long long i = begin; i < end; i++) {",
            "long long i = begin;\n  while (i < end) {",
            "* D + d];",
            "* D + d];\n    i++;",
        ),
        "grid-stride": changed(
            ch07.BAG_MEAN,
            "if (element >= B * D) return;",
            "for (; element < B * D; element += gridDim.x * blockDim.x) {",
            ": 0.0f;\n",
            ": 0.0f;\n  }\n",
        ),
        "ints": changed(ch07.BAG_MEAN, "long long begin", "int begin", "long long i =", "int i ="),
        "divided on the way": changed(
            ch07.BAG_MEAN,
            "weight[indices[i] * D + d]",
            "weight[indices[i] * D + d] / (end - begin)",
            "end > begin ? sum / (end - begin) : 0.0f",
            "sum",
        ),
    },
    "07.reduce": {
        "other names": re.sub(r"\bsums\b", "out", re.sub(r"\bx\[", "in[", ch07.REDUCE)).replace(
            "* x,", "* in,"
        ),
        "from below": changed(
            ch07.REDUCE,
            "int half = blockDim.x / 2; half > 0; half /= 2",
            "int apart = 1; apart < blockDim.x; apart *= 2",
            "if (t < half) part[t] += part[t + half]",
            "if (t % (2 * apart) == 0) part[t] += part[t + apart]",
        ),
        "dynamic size by the block": changed(ch07.REDUCE, "half /= 2", "half >>= 1"),
        "sum = sum + x": changed(ch07.REDUCE, "sum += x[i]", "sum = sum + x[i]"),
        "a variable for the place": changed(
            ch07.REDUCE, "part[t] += part[t + half]", "part[t] = part[t] + part[half + t]"
        ),
        "while": changed(
            ch07.REDUCE,
            "for (int half = blockDim.x / 2; half > 0; half /= 2) {",
            "int half = blockDim.x;\n  while (half > 1) {\n    half /= 2;",
        ),
        "long long": changed(ch07.REDUCE, "int i = blockIdx.x", "long long i = blockIdx.x"),
        "warps first": GLOBAL
        + """block_sums(const float* x, float* sums, int n) {
  __shared__ float part[8];
  float sum = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
  int lanes = min(32, (int)blockDim.x);
  unsigned mask = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
  for (int k = lanes / 2; k > 0; k /= 2) sum += __shfl_down_sync(mask, sum, k);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < blockDim.x / 32; w++) sum += part[w];
    sums[blockIdx.x] = sum;
  }
}
""",
    },
    "07.histogram": {
        "other names": re.sub(r"\bcounts\b", "out", re.sub(r"\bbins_of\b", "x", ch07.HISTOGRAM)),
        "one thread clears": changed(
            ch07.HISTOGRAM,
            "for (int b = threadIdx.x; b < bins; b += blockDim.x) {\n    mine[b] = 0;\n  }",
            "if (threadIdx.x == 0) {\n    for (int b = 0; b < bins; b++) mine[b] = 0;\n  }",
        ),
        "all 256 cleared": changed(
            ch07.HISTOGRAM,
            "b < bins; b += blockDim.x) {\n    mine",
            "b < 256; b += blockDim.x) {\n    mine",
        ),
        "pointers": changed(ch07.HISTOGRAM, "&mine[bins_of[i]]", "mine + bins_of[i]"),
        "only what is there": changed(
            ch07.HISTOGRAM,
            "    atomicAdd(&counts[b], mine[b]);",
            "    if (mine[b] > 0) atomicAdd(&counts[b], mine[b]);",
        ),
        "atomicInc": changed(
            ch07.HISTOGRAM,
            "__shared__ int mine",
            "__shared__ unsigned mine",
            "atomicAdd(&mine[bins_of[i]], 1)",
            "atomicInc(&mine[bins_of[i]], 0xffffffffu)",
            "mine[b]);",
            "(int)mine[b]);",
        ),
        "from the end": changed(ch07.HISTOGRAM, "bins_of[i]", "bins_of[n - 1 - i]"),
    },
    "07.transpose": {
        "other names": re.sub(
            r"\binput\b", "a", re.sub(r"\boutput\b", "b", re.sub(r"\bR\b", "rows", ch07.TRANSPOSE))
        ),
        "no padding": changed(ch07.TRANSPOSE, "tile[32][33]", "tile[32][32]"),
        "turned at the read": changed(
            ch07.TRANSPOSE, "tile[y][x] =", "tile[x][y] =", "= tile[x][y]", "= tile[y][x]"
        ),
        "one index": changed(
            ch07.TRANSPOSE,
            "tile[32][33]",
            "tile[32 * 33]",
            "tile[y][x]",
            "tile[y * 33 + x]",
            "tile[x][y]",
            "tile[x * 33 + y]",
        ),
        "names of rows and columns": changed(
            ch07.TRANSPOSE,
            "if (top + y < R && left + x < C) tile[y][x] = input[(top + y) * C + left + x];",
            "int r = top + y, c = left + x;\n    if (r < R && c < C) tile[y][x] = input[r * C + c];",
        ),
        "continue": changed(
            ch07.TRANSPOSE,
            "if (top + y < R && left + x < C) tile",
            "if (top + y >= R || left + x >= C) continue;\n    tile",
        ),
        "zeros outside": changed(
            ch07.TRANSPOSE,
            "if (top + y < R && left + x < C) tile[y][x] = input[(top + y) * C + left + x];",
            "tile[y][x] = top + y < R && left + x < C ? input[(top + y) * C + left + x] : 0.0f;",
        ),
    },
    "08.repair_shuffle": {
        "reads row 0 else": changed(
            ch08.SHUFFLE_RIGHT,
            "if (lane < D) sum += weight[row * D + lane]",
            "sum += lane < D ? weight[row * D + lane] : 0.0f",
        ),
        "ballot mask": changed(ch08.SHUFFLE_RIGHT, "0xffffffffu", "~0u"),
        "continue": changed(
            ch08.SHUFFLE_RIGHT, "if (lane < D) sum", "if (lane >= D) continue;\n      sum"
        ),
        "return at the end": changed(
            ch08.SHUFFLE_RIGHT, "if (lane < D) output", "if (lane >= D) return;\n  output"
        ),
        "a lane past D reads the last": changed(
            ch08.SHUFFLE_RIGHT,
            "if (lane < D) sum += weight[row * D + lane]",
            "sum += weight[row * D + min(lane, D - 1)]",
        ),
        "all 32 rounds": changed(
            ch08.SHUFFLE_RIGHT,
            "k < count",
            "k < 32",
            "if (lane < D) sum",
            "if (k < count && lane < D) sum",
        ),
        "through shared memory": changed(
            ch08.SHUFFLE_RIGHT,
            "float sum",
            "__shared__ int rows[32];\n  float sum",
            "int my_row = lane < count ? indices[base + lane] : 0;",
            "__syncwarp();\n    if (lane < count) rows[lane] = indices[base + lane];\n    __syncwarp();",
            "__shfl_sync(0xffffffffu, my_row, k)",
            "rows[k]",
        ),
    },
    "08.budget": {
        "four sums": changed(
            ch08.FAST,
            "float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);",
            "float a = 0, b = 0, c = 0, e = 0;",
            "sum.x +=",
            "a +=",
            "sum.y +=",
            "b +=",
            "sum.z +=",
            "c +=",
            "sum.w +=",
            "e +=",
            "4 * lane) = sum;",
            "4 * lane) = make_float4(a, b, c, e);",
        ),
        "unrolled": changed(
            ch08.FAST, "    for (int k = 0;", "#pragma unroll 4\n    for (int k = 0;"
        ),
        "shuffled rows": changed(
            ch08.FAST,
            "int row = __shfl_sync(0xffffffffu, my_row, k);\n",
            "",
            "row * 128",
            "__shfl_sync(0xffffffffu, my_row, k) * 128",
        ),
        "float4 arrays": SUM_128
        % """
  const float4* rows = (const float4*)weight;
  int lane = threadIdx.x, end = offsets[blockIdx.x + 1];
  float4 s = {0, 0, 0, 0};
  for (int base = offsets[blockIdx.x]; base < end; base += 32) {
    int left = min(32, end - base), mine = lane < left ? indices[base + lane] : -1;
    for (int k = 0; k < left; ++k) {
      float4 v = rows[__shfl_sync(~0u, mine, k) * 32 + lane];
      s = make_float4(s.x + v.x, s.y + v.y, s.z + v.z, s.w + v.w);
    }
  }
  ((float4*)output)[blockIdx.x * 32 + lane] = s;""",
        "through shared memory": SUM_128
        % """
  __shared__ int rows[32];
  int bag = blockIdx.x, lane = threadIdx.x, begin = offsets[bag], end = offsets[bag + 1];
  float4 s = make_float4(0, 0, 0, 0);
  for (int base = begin; base < end; base += 32) {
    if (base + lane < end) rows[lane] = indices[base + lane];
    __syncthreads();
    for (int k = 0; k < 32 && base + k < end; k++) {
      float4 v = *(const float4*)&weight[rows[k] * 128 + lane * 4];
      s.x += v.x; s.y += v.y; s.z += v.z; s.w += v.w;
    }
    __syncthreads();
  }
  *(float4*)&output[bag * 128 + lane * 4] = s;""",
    },
    "08.repair_ring": {
        "a longer ring": changed(ch08.RING_RIGHT, "RING = 4", "RING = 8"),
        "filled before": RING
        % (
            RING_SHARED % 4
            + """
  if (d >= D) return;
  for (int k = 0; k < 3; k++) {
    if (begin + k < end) __pipeline_memcpy_async(&ring[k][d], weight + indices[begin + k] * D + d, 4);
    __pipeline_commit();
  }
  for (int i = begin; i < end; i++) {
    if (i + 3 < end) __pipeline_memcpy_async(&ring[(i - begin + 3) % 4][d], weight + indices[i + 3] * D + d, 4);
    __pipeline_commit();
    __pipeline_wait_prior(3);
    sum += ring[(i - begin) % 4][d];
  }
  output[bag * D + d] = sum;"""
        ),
        "loop of both": RING
        % (
            RING_SHARED % 4
            + """
  if (d < D) {
    for (int i = begin; i < end + 3; i++) {
      if (i < end) __pipeline_memcpy_async(&ring[i % 4][d], weight + indices[i] * D + d, 4);
      __pipeline_commit();
      __pipeline_wait_prior(3);
      int old = i - 3;
      if (old >= begin) sum += ring[old % 4][d];
    }
    output[bag * D + d] = sum;
  }"""
        ),
        "continue": changed(
            ch08.RING_RIGHT,
            "if (i - begin >= RING - 1) sum",
            "if (i - begin < RING - 1) continue;\n    sum",
        ),
        "if, not max": changed(
            ch08.RING_RIGHT,
            "int i = max(begin, end - RING + 1); i < end; i++)",
            "int i = end - RING + 1; i < end; i++) if (i >= begin)",
        ),
        "rows from 0": changed(
            ch08.RING_RIGHT,
            "&ring[i % RING][d]",
            "&ring[(i - begin) % RING][d]",
            "ring[(i - RING + 1) % RING][d]",
            "ring[(i - begin - RING + 1) % RING][d]",
            "sum += ring[i % RING][d]",
            "sum += ring[(i - begin) % RING][d]",
        ),
    },
    "09.find_the_race": {
        "address": changed(RESCALE, "&claimed[row / 32]", "claimed + row / 32"),
        "shifts": changed(RESCALE, "row / 32", "row >> 5", "row % 32", "row & 31"),
        "claimed once": changed(RESCALE, "before & bit", "(before & bit) != 0"),
        "__shfl_down": changed(
            RESCALE,
            "__shfl_xor_sync(0xffffffffu, squares, distance);\n  }",
            "__shfl_down_sync(0xffffffffu, squares, distance);\n  }\n"
            "  squares = __shfl_sync(0xffffffffu, squares, 0);",
        ),
        "an int is told": changed(
            RESCALE,
            "  before = __shfl_sync(0xffffffffu, before, 0);\n  if (before & bit) return;",
            "  int late = __shfl_sync(0xffffffffu, (int)((before & bit) != 0), 0);\n  if (late) return;",
        ),
        "compare and swap": changed(
            RESCALE,
            "if (lane == 0) before = atomicOr(&claimed[row / 32], bit);",
            "if (lane == 0) {\n    unsigned seen;\n    before = atomicOr(&claimed[row / 32], 0u);\n"
            "    do {\n      seen = before;\n      before = atomicCAS(&claimed[row / 32], seen, seen | bit);\n"
            "    } while (before != seen);\n  }",
        ),
        "kept if long": changed(
            RESCALE,
            "  if (!(norm > max_norm)) return;\n",
            "",
            "float scale = max_norm / (norm + 1e-7f);",
            "float scale = norm > max_norm ? max_norm / (norm + 1e-7f) : 1.0f;",
        ),
    },
    "09.budget": {
        "two names": MAX
        % """
  int bag = blockIdx.x, lane = threadIdx.x, first = -1, second = -1;
  float a = 0, b = 0;
  for (int i = offsets[bag]; i < offsets[bag + 1]; i++) {
    int row = indices[i];
    if (row != 0) {
      float x = weight[row * 64 + lane], y = weight[row * 64 + lane + 32];
      if (first == -1 || x > a) { a = x; first = row; }
      if (second == -1 || y > b) { b = y; second = row; }
    }
  }
  output[bag * 64 + lane] = a; output[bag * 64 + lane + 32] = b;
  winners[bag * 64 + lane] = first; winners[bag * 64 + lane + 32] = second;""",
        "a pointer to the row": changed(
            ch09.THRIFTY,
            "    for (int k = 0; k < 2; k++) {\n      float value = weight[row * 64 + lane + 32 * k];",
            "    const float* mine = weight + row * 64 + lane;\n"
            "    for (int k = 0; k < 2; k++) {\n      float value = mine[32 * k];",
        ),
        "not larger": changed(
            ch09.THRIFTY,
            "if (winner[k] < 0 || value > best[k]) {",
            "if (winner[k] >= 0 && !(value > best[k])) continue;\n      {",
        ),
        "-1 asked for": changed(ch09.THRIFTY, "winner[k] < 0", "winner[k] == -1"),
        "float2": MAX
        % """
  int bag = blockIdx.x, lane = threadIdx.x, end = offsets[bag + 1];
  float2 best = make_float2(0, 0); int2 won = make_int2(-1, -1);
  for (int i = offsets[bag]; i < end; i++) {
    int row = indices[i];
    if (row == 0) continue;
    float2 v = ((const float2*)weight)[row * 32 + lane];
    if (won.x < 0 || v.x > best.x) { best.x = v.x; won.x = row; }
    if (won.y < 0 || v.y > best.y) { best.y = v.y; won.y = row; }
  }
  ((float2*)output)[bag * 32 + lane] = best; ((int2*)winners)[bag * 32 + lane] = won;""",
        "a flag": changed(
            ch09.THRIFTY,
            "int winner[2] = {-1, -1};",
            "int winner[2] = {-1, -1};\n  bool any = false;",
            "winner[k] < 0 ||",
            "!any ||",
            "        winner[k] = row;\n      }\n    }\n",
            "        winner[k] = row;\n      }\n    }\n    any = true;\n",
        ),
    },
    "10.lost_update": {
        "place": changed(
            ADD_BAGS, "atomicAdd(sum, part)", "atomicAdd(&grad_weight[rows[i] * D + d], part)"
        ),
        "&*": changed(ADD_BAGS, "atomicAdd(sum,", "atomicAdd(&*sum,"),
        "guarded": changed(
            ADD_BAGS,
            "  if (element >= n * D) return;\n",
            "",
            "int i =",
            "if (element < n * D) {\n  int i =",
            "part);",
            "part);\n  }",
        ),
        "grid-stride": changed(
            ADD_BAGS,
            "if (element >= n * D) return;",
            "for (; element < n * D; element += gridDim.x * blockDim.x) {",
            "part);",
            "part);\n  }",
        ),
        "compare and swap": changed(
            ADD_BAGS,
            "atomicAdd(sum, part);",
            "unsigned* word = (unsigned*)sum;\n  unsigned old = atomicAdd(word, 0u), seen;\n"
            "  do {\n    seen = old;\n    float more = __uint_as_float(seen) + part;\n"
            "    old = atomicCAS(word, seen, __float_as_uint(more));\n  } while (old != seen);",
        ),
    },
    "10.join": {
        "leader shifts": changed(
            JOIN, "lane == __ffs(same) - 1", "(same & ((1u << lane) - 1)) == 0"
        ),
        "walks over its group": JOIN_HEAD
        % """
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31;
  int row = i < n ? rows[i] : -1;
  float score = i < n ? scores[i] : 0, sum = 0;
  unsigned same = __match_any_sync(~0u, row);
  for (int k = 0; k < 32; ++k) {
    float other = __shfl_sync(~0u, score, k);
    sum += (same & (1u << k)) ? other : 0;
  }
  if (row >= 0 && lane == __ffs(same) - 1) atomicAdd(sums + row, sum);""",
        "leaves late": changed(JOIN, "  if (i < n && lane", "  if (i >= n) return;\n  if (lane"),
        "rows by shuffle": JOIN_HEAD
        % """
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, first = -1;
  int row = i < n ? rows[i] : -1;
  float score = i < n ? scores[i] : 0, sum = 0;
  for (int k = 0; k < 32; k++) {
    int other_row = __shfl_sync(0xffffffffu, row, k);
    float other = __shfl_sync(0xffffffffu, score, k);
    if (other_row == row) { sum += other; if (first < 0) first = k; }
  }
  if (i < n && first == lane) atomicAdd(&sums[row], sum);""",
        "shared memory": JOIN_HEAD
        % """
  __shared__ int all_rows[64];
  __shared__ float all[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t, base = t / 32 * 32;
  all_rows[t] = i < n ? rows[i] : -1;
  all[t] = i < n ? scores[i] : 0;
  __syncthreads();
  if (i >= n) return;
  float sum = 0;
  for (int k = base; k < base + 32; k++) {
    if (all_rows[k] != all_rows[t]) continue;
    if (k < t) return;
    sum += all[k];
  }
  atomicAdd(&sums[all_rows[t]], sum);""",
    },
    "11.deterministic": {
        "+= by the owner": changed(RUNS, "d] = sum;", "d] += sum;"),
        "while": changed(
            RUNS,
            "for (int k = i; k < n && keys[k] == keys[i]; k++) sum += grad_output[sources[k] * D + d];",
            "int k = i;\n  while (k < n && keys[k] == keys[i]) {\n"
            "    sum += grad_output[sources[k] * D + d];\n    k++;\n  }",
        ),
        "from the last entry": changed(
            RUNS,
            "if (i > 0 && keys[i - 1] == keys[i]) return;  // somebody before me owns this run",
            "if (i < n - 1 && keys[i + 1] == keys[i]) return;",
            "for (int k = i; k < n && keys[k] == keys[i]; k++)",
            "for (int k = i; k >= 0 && keys[k] == keys[i]; k--)",
        ),
        "break": changed(
            RUNS,
            "k < n && keys[k] == keys[i]; k++) sum",
            "k < n; k++) {\n    if (keys[k] != keys[i]) break;\n    sum",
            "* D + d];\n",
            "* D + d];\n  }\n",
        ),
        "only the first goes on": changed(
            RUNS,
            "if (i > 0 && keys[i - 1] == keys[i]) return;  // somebody before me owns this run",
            "bool first = i == 0 || keys[i - 1] != keys[i];\n  if (!first) return;",
        ),
        "an owner of all features": changed(
            RUNS,
            "int i = element / D, d = element % D;",
            "int i = element;\n  if (i >= n) return;",
            "  float sum = 0.0f;",
            "  for (int d = 0; d < D; d++) {\n  float sum = 0.0f;",
            "d] = sum;",
            "d] = sum;\n  }",
        ),
        "in double": changed(RUNS, "float sum = 0.0f", "double sum = 0.0"),
        "all search": changed(
            RUNS,
            "for (int k = i; k < n && keys[k] == keys[i]; k++) sum",
            "for (int k = 0; k < n; k++) if (keys[k] == keys[i]) sum",
        ),
    },
    "11.last_block": {
        "barrier first, then all fence and meet": changed(
            LAST, FIX, "  __syncthreads();\n  __threadfence();\n  __syncthreads();\n"
        ),
        "fence by everybody who wrote": changed(
            LAST,
            FIX,
            "  __syncthreads();\n",
            "      sum = 0.0f;\n    }\n",
            "      sum = 0.0f;\n    }\n    __threadfence();\n",
        ),
        "if (last)": changed(
            LAST,
            "if (!last) return;",
            "if (last) {",
            "    sums[row] = sum;\n  }\n",
            "    sums[row] = sum;\n  }\n  }\n",
        ),
        "the number in a variable": changed(
            LAST,
            "if (threadIdx.x == 0) last = atomicAdd(ticket, 1) == gridDim.x - 1;",
            "if (threadIdx.x == 0) {\n    int mine = atomicAdd(&ticket[0], 1);\n    last = mine + 1 == (int)gridDim.x;\n  }",
        ),
        "fence by thread 0, for its block": changed(
            LAST, FIX, "  __syncthreads();\n  if (threadIdx.x == 0) __threadfence();\n"
        ),
        "fence behind the barrier": changed(LAST, FIX, "  __syncthreads();\n  __threadfence();\n"),
        "atomicInc": changed(LAST, "atomicAdd(ticket, 1)", "atomicInc((unsigned*)ticket, 0xffffu)"),
        "a fence behind the ticket, too": changed(
            LAST, "  if (!last) return;", "  __threadfence();\n  if (!last) return;"
        ),
    },
}


def wrong(source: str, *changes: tuple) -> dict[str, tuple[str, str]]:
    """name, words of the advice, and pairs of texts: what was changed in the right source."""
    return {name: (changed(source, *pairs), advice) for name, advice, *pairs in changes}


WRONG: dict[str, dict[str, tuple[str, str]]] = {
    "07.axpy": wrong(
        ch07.AXPY,
        ("gridDim for blockDim", ch07.SAME_INDEX, "blockDim.x", "gridDim.x"),
        ("only the block", ch07.SAME_INDEX, "blockIdx.x * blockDim.x + threadIdx.x", "blockIdx.x"),
        ("guarded by a number", "the parameter n is never used", "i < n", "i < 300"),
        ("a fixed factor", "the parameter a is never used", "a * x", "1.5f * x"),
        ("guarded by the block", "", "i < n", "i < n && threadIdx.x < 64"),
        ("past the end", ch07.UNGUARDED, "if (i < n)", "if (i >= 0)"),
        ("subtracts", "values differ", "+ y[i]", "- y[i]"),
        ("i > n", ch07.OFF_BY_ONE, "if (i < n) y", "if (i > n) return;\n  y"),
        (
            "a stride of the block",
            "values differ",
            "if (i < n)",
            "for (; i < n; i += n)",
            "a * x[i] + y[i]",
            "a * x[i]",
        ),
        ("no such name", "was not declared", "a * x", "alpha * x"),
    ),
    "07.repair_bounds": wrong(
        ch07.DIFFERENCES,
        (
            "a guard of the read",
            ch07.WRITES_PAST,
            "input[i + 1] - input[i]",
            "(i + 1 < n ? input[i + 1] : 0.0f) - input[i]",
        ),
        ("no guard", ch07.READS_PAST, "if (i < n) {", "{"),
        ("i < 199", "the parameter n is never used", "i < n", "i < 199"),
        ("starts at 1", ch07.FIRST_LOST, "if (i < n) {", "if (i >= 1 && i < n - 1) {"),
        (
            "absolute",
            "values differ",
            "if (i < n) {",
            "if (i < n - 1) {",
            "input[i + 1] - input[i]",
            "fabsf(input[i + 1] - input[i])",
        ),
        (
            "added to",
            "The output does not begin as zeros",
            "if (i < n) {",
            "if (i < n - 1) {",
            "output[i] =",
            "output[i] +=",
        ),
        ("too narrow", ch07.LAST_LOST, "i < n", "i + 2 < n"),
    ),
    "07.lost_update": wrong(
        ch07.COUNT_RIGHT,
        (
            "reads, adds, exchanges",
            ch07.EXCHANGE,
            "atomicAdd(&total[0], 1)",
            "int old = total[0];\n    atomicExch(&total[0], old + 1)",
        ),
        ("volatile", ch07.LOST, "atomicAdd(&total[0], 1)", "*(volatile int*)total = total[0] + 1"),
        ("a fence", ch07.LOST, "atomicAdd(&total[0], 1)", "total[0] += 1; __threadfence()"),
        (
            "result kept",
            ch07.HALF_ATOMIC,
            "atomicAdd(&total[0], 1)",
            "total[0] = atomicAdd(&total[0], 1)",
        ),
        ("a fixed limit", "the parameter limit is never used", "> limit", "> 20"),
        ("the maximum", "values differ", "atomicAdd(&total[0], 1)", "atomicMax(&total[0], 1)"),
        ("by value", ch07.NO_AMPERSAND, "&total[0]", "*total"),
        (
            "barrier after",
            ch07.BARRIER_ONLY,
            "atomicAdd(&total[0], 1);",
            "total[0] += 1;\n    __syncthreads();",
        ),
        ("one past", ch07.OFF_BY_ONE, "bag < B", "bag <= B"),
    ),
    "07.barrier": wrong(
        ch07.REVERSE_RIGHT,
        (
            "behind the read",
            ch07.NO_BARRIER,
            "  __syncthreads();\n",
            "",
            "[63 - t];",
            "[63 - t];\n  __syncthreads();",
        ),
        ("one off", "values differ", "part[63 - t]", "part[t ^ 1]"),
        ("part too small", ch07.PAST_PART, "float part[64]", "float part[63]"),
        (
            "half of them",
            "never written",
            "__syncthreads();",
            "if (t >= 32) return;\n  __syncthreads();",
        ),
        ("a fence", ch07.NO_BARRIER, "__syncthreads()", "__threadfence_block()"),
        ("not shared", "values differ", "__shared__ float part[64];", "float part[64] = {0};"),
    ),
    "07.coalesce": wrong(
        ch07.ADD_ROW_RIGHT,
        ("turned", ch07.SCATTERED, "r = i / C, c = i % C", "r = i % R, c = i / R"),
        ("guard too wide", ch07.NO_GUARD, "i >= R * C", "i > R * C"),
        ("by R", ch07.WRONG_SIZE, "i / C", "i / R"),
        ("matrix with a comma", ch07.COMMA, "matrix[r * C + c]", "matrix[r, c]"),
        (
            "64 columns",
            "the parameter C is never used",
            "R * C",
            "R * 64",
            "i / C, c = i % C",
            "i / 64, c = i % 64",
            "r * C",
            "r * 64",
        ),
        ("no row", "values differ", " + row[c]", ""),
        ("row for column", "", "row[c]", "row[r]"),
    ),
    "07.bag_mean": wrong(
        ch07.BAG_MEAN,
        (
            "one too few to divide",
            "values differ",
            "sum / (end - begin)",
            "sum / (end - begin + 1)",
        ),
        (
            "return in the loop",
            ch07.FIRST_ONLY,
            "d];\n  }",
            "d];\n    output[element] = sum / (end - begin);\n    return;\n  }",
        ),
        ("empty statement", "", "i++) {", "i++); {\n    long long i = begin;"),
        ("D = 5", "the parameter D is never used", "* D", "* 5", "/ D", "/ 5", "% D", "% 5"),
        ("d forgotten", "values differ", "* D + d", "* D"),
        ("index of the row alone", "values differ", "indices[i] * D + d", "indices[i] + d"),
        ("means of int", "values differ", "float sum = 0.0f", "int sum = 0"),
        ("B for D", "", "bag = element / D, d = element % D", "bag = element / B, d = element % B"),
        ("guarded by B", "never written", "element >= B * D", "element >= B"),
    ),
    "07.reduce": wrong(
        ch07.REDUCE,
        (
            "other names, all write",
            ch07.ALL_WRITE,
            "* sums",
            "* out",
            "  if (t == 0) sums[",
            "  out[",
        ),
        (
            "no barrier before the rounds",
            ch07.NO_HALF_BARRIER,
            "part[t] = sum;\n  __syncthreads();",
            "part[t] = sum;",
        ),
        ("a barrier of the warp", ch07.NO_HALF_BARRIER, "__syncthreads", "__syncwarp"),
        ("one element past", "", "i < n", "i <= n"),
        ("too few places", ch07.PAST_HALF, "part[256]", "part[64]"),
        ("a sum for all blocks", ch07.ALL_WRITE, "sums[blockIdx.x]", "sums[0]"),
        ("half of it", "values differ", "blockDim.x / 2; half > 0", "blockDim.x / 4; half > 0"),
        ("fixed block", "blockDim.x tells it", "blockIdx.x * blockDim.x", "blockIdx.x * 64"),
        ("n is 700", "the parameter n is never used", "i < n", "i < 700"),
    ),
    "07.histogram": wrong(
        ch07.HISTOGRAM,
        (
            "only some are cleared",
            ch07.NOT_CLEARED,
            "for (int b = threadIdx.x; b < bins; b += blockDim.x) {\n    mine",
            "int b = threadIdx.x;\n  if (b < bins) {\n    mine",
        ),
        ("not shared", "values differ", "__shared__ int mine[256]", "int mine[256] = {0}"),
        ("a barrier of the warp", "", "__syncthreads", "__syncwarp"),
        ("everybody takes every bin", ch07.NOT_CLEARED, "b = threadIdx.x; b", "b = 0; b"),
        ("one past", "", "i < n", "i <= n"),
        ("counts in twos", "values differ", "bins_of[i]], 1", "bins_of[i]], 2"),
        ("40 bins", "the parameter bins is never used", "b < bins", "b < 40"),
    ),
    "07.transpose": wrong(
        ch07.TRANSPOSE,
        (
            "other names, not moved",
            ch07.TILE_STAYS,
            "output",
            "b",
            "R",
            "rows",
            "b[(left + y) * rows + top + x]",
            "b[(top + y) * rows + left + x]",
        ),
        ("writes past", ch07.NO_GUARD_TILE, "if (left + y < C && top + x < R) ", ""),
        (
            "a copy",
            "",
            "output[(left + y) * R + top + x] = tile[x][y]",
            "output[(top + x) * C + left + y] = tile[x][y]",
        ),
        ("rows of 16", "", "y < 32", "y < 16"),
        (
            "x and y of the grid",
            "",
            "blockIdx.x * 32, top = blockIdx.y",
            "blockIdx.y * 32, top = blockIdx.x",
        ),
        ("tile too small", "", "tile[32][33]", "tile[16][33]"),
        ("steps of 4", ch07.FIXED_ROWS, "y += blockDim.y", "y += 4"),
    ),
    "08.repair_shuffle": wrong(
        ch08.SHUFFLE_RIGHT,
        ("still leaves", ch08.LEFT, "  int end", "  if (lane >= D) return;\n  int end"),
        (
            "mask of the active",
            ch08.MASKED,
            "  int end",
            "  if (lane >= D) return;\n  int end",
            "0xffffffffu",
            "__activemask()",
        ),
        ("plain", ch08.NOT_HANDED, "__shfl_sync(0xffffffffu, my_row, k)", "indices[base + k]"),
        ("writes past", ch08.NO_OUTPUT, "if (lane < D) output", "output"),
        (
            "positions as rows",
            "values differ",
            "lane < count ? indices[base + lane] : 0",
            "lane < count ? base + lane : 0",
        ),
        ("the own row", "values differ", "my_row, k)", "my_row, lane)"),
    ),
    "08.budget": wrong(
        ch08.FAST,
        (
            "every lane its index",
            ch08.ONE_INDEX,
            "int row = __shfl_sync(0xffffffffu, my_row, k);",
            "int row = indices[base + k];",
        ),
        (
            "four loads",
            ch08.SPREAD,
            ch08._LOAD,
            "make_float4(weight[row * 128 + 4 * lane], weight[row * 128 + 4 * lane + 1], weight[row * 128 + 4 * lane + 2], weight[row * 128 + 4 * lane + 3])",
        ),
        ("unaligned", ch08.UNALIGNED, "row * 128 + 4 * lane", "row * 128 + lane"),
        ("past the bag", ch08.ROW_ZERO, "k < count", "k < 32"),
        ("x for w", "values differ", "sum.w += value.w", "sum.w += value.x"),
        ("the last stretch", "values differ", "base += 32", "base += 64"),
        (
            "not zero",
            "values differ",
            "make_float4(0.0f, 0.0f, 0.0f, 0.0f)",
            "make_float4(1, 0, 0, 0)",
        ),
    ),
    "08.repair_ring": wrong(
        ch08.RING_RIGHT,
        (
            "plain copies",
            ch08.NO_RING,
            "__pipeline_memcpy_async(&ring[i % RING][d], weight + indices[i] * D + d, 4);",
            "ring[i % RING][d] = weight[indices[i] * D + d];",
        ),
        ("waits for all", ch08.ONE_AT_A_TIME, "wait_prior(RING - 1)", "wait_prior(RING - RING)"),
        ("waits for one", ch08.TOO_FEW, "wait_prior(RING - 1)", "wait_prior(1)"),
        (
            "one commit at the end",
            ch08.ON_ITS_WAY,
            "    __pipeline_commit();\n",
            "",
            "  __pipeline_wait_prior(0);",
            "  __pipeline_commit();\n  __pipeline_wait_prior(0);",
        ),
        ("a ring of three", ch08.TOO_FEW, "RING = 4", "RING = 3"),
        ("no max", ch08.NEVER_PUT, "max(begin, end - RING + 1)", "end - RING + 1"),
    ),
    "09.find_the_race": wrong(
        RESCALE,
        ("max_norm 1", "values differ", "max_norm / (norm + 1e-7f)", "1.0f / (norm + 1e-7f)"),
        ("from 8", "values differ", "distance = 16", "distance = 8"),
        ("from 4", "values differ", "distance = 16", "distance = 4"),
        ("no 1e-7", "values differ", "(norm + 1e-7f)", "norm"),
        ("all are rescaled", "values differ", "if (!(norm > max_norm)) return;", ""),
        (
            "32 features",
            ch09.ONE_EACH,
            "for (int d = lane; d < D; d += 32)",
            "if (int d = lane; d < D)",
        ),
        ("a word for a row", ch09.NO_WORD, "claimed[row / 32]", "claimed[row]"),
        ("add for or", ch09.CARRIED, "atomicOr(", "atomicAdd("),
        ("no root", "values differ", "sqrtf(squares)", "squares"),
    ),
    "09.budget": wrong(
        ch09.THRIFTY,
        ("not padded", ch09.PADDING_WINS, "    if (row == 0) continue;\n", ""),
        ("breaks", "values differ", "row == 0) continue", "row == 0) break"),
        (
            "the first is read",
            "values differ",
            "float best[2] = {0.0f, 0.0f};",
            "float best[2] = {-1e9f, -1e9f};",
        ),
        ("minimum", "values differ", "value > best", "value < best"),
        ("a winner of 0", "values differ", "winner[2] = {-1, -1}", "winner[2] = {0, 0}"),
        ("one feature", "values differ", "k < 2", "k < 1"),
    ),
    "10.lost_update": wrong(
        ADD_BAGS,
        ("position for row", "", "rows[i] * D", "i * D"),
        ("doubled", "values differ", "part);", "2 * part);"),
        ("no guard", "", "if (element >= n * D) return;", ""),
        ("D = 3", "", "element / D, d = element % D", "element / 3, d = element % 3"),
        ("block of 64", ch10.FIXED_BLOCK, "blockDim.x", "64"),
        ("fenced", ch10.LOST, "atomicAdd(sum, part)", "*sum += part; __threadfence()"),
        ("kept", ch10.HALF, "atomicAdd(sum, part)", "*sum = atomicAdd(sum, part)"),
    ),
    "10.join": wrong(
        JOIN,
        ("one for a warp", ch10.ONE_GROUP, "lane == __ffs(same) - 1", "lane == 0"),
        (
            "not joined",
            ch10.OVER,
            "lane == __ffs(same) - 1",
            "true",
            "atomicAdd(&sums[row], sum)",
            "atomicAdd(&sums[row], score)",
        ),
        ("too few lanes", "values differ", "k < 32", "k < 16"),
        (
            "half a mask",
            ch10.LANES_MISSING,
            "__match_any_sync(0xffffffffu",
            "__match_any_sync(0xffffu",
        ),
        ("lane of the block", ch10.FIRST_WARP, "threadIdx.x % 32", "threadIdx.x"),
        ("rows unlike", "values differ", "if (same >> k & 1)", "if (!(same >> k & 1))"),
        ("the highest", "", "__ffs(same) - 1", "__popc(same)"),
    ),
    "11.deterministic": wrong(
        RUNS,
        ("every entry owns", ch11.OWNERS, "if (i > 0 && keys[i - 1] == keys[i]) return;", ""),
        ("past the first", ch11.BEFORE_FIRST, "i > 0 && ", ""),
        ("one too far", ch11.PAST_END, "k < n", "k <= n"),
        (
            "atomics",
            ch11.NOT_SAME,
            "if (i > 0 && keys[i - 1] == keys[i]) return;",
            "if (i < 0) return;",
            "for (int k = i; k < n && keys[k] == keys[i]; k++) sum",
            "sum",
            "sources[k]",
            "sources[i]",
            "grad_weight[keys[i] * D + d] = sum;",
            "atomicAdd(&grad_weight[keys[i] * D + d], sum);",
        ),
        (
            "all features",
            ch11.ONE_FEATURE,
            "grad_weight[keys[i] * D + d]",
            "grad_weight[keys[i] * D]",
        ),
        ("key as source", "values differ", "sources[k]", "keys[k]"),
        ("the first is left out", "values differ", "int k = i;", "int k = i + 1;"),
    ),
    "11.last_block": wrong(
        LAST,
        ("fence only", ch11.NO_BARRIER, FIX, "  __threadfence();\n"),
        ("barrier only", ch11.NO_FENCE, FIX, "  __syncthreads();\n"),
        ("not the last", ch11.NOT_LAST, "== gridDim.x - 1", "== 0"),
        ("highest", ch11.HIGHEST, ch11._TICKET, "blockIdx.x == gridDim.x - 1"),
        ("no ticket", ch11.PLAIN_TICKET, "atomicAdd(ticket, 1)", "ticket[0]++"),
        ("two draw", "", "if (threadIdx.x == 0) last", "if (threadIdx.x < 2) last"),
        ("no barrier behind", ch11.NOT_TOLD, "  __syncthreads();\n  if (!last)", "  if (!last)"),
    ),
}
