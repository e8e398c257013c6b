"""The launch and the right answer (by NumPy) of every kernel in kinds.cu."""

from collections.abc import Callable
from typing import Any

import numpy as np

from embag_edu.cuda_on_cpu.conformance import Case, Out, load

_file = load("kinds")
SOURCE, NAMES, module = _file.source, _file.names, _file.module
CASES: list[Case] = []
I32, U32, F32, F64, U64 = np.int32, np.uint32, np.float32, np.float64, np.uint64
_dtype: Any  # of the loops below


def row(
    name: str,
    about: str,
    kernel: str,
    grid: Any,
    block: Any,
    make: Callable,
    expect: Callable,
    **more: Any,
) -> None:
    """Add one row to the table."""
    grid, block = (g if isinstance(g, tuple) else (g,) for g in (grid, block))
    CASES.append(Case(name, about, kernel, grid, block, make, expect, **more))


def ints(rng, n, low=-1000, high=1000, dtype=I32):
    """Random whole numbers, low <= x < high."""
    return rng.integers(low, high, n).astype(dtype)


# ---- reductions ----------------------------------------------------------------------------------


def _block_sums(size):
    def expect(x, sums, n):
        padded = np.zeros(sums.size * size, x.dtype)
        padded[:n] = x
        return {1: padded.reshape(-1, size).sum(1, dtype=x.dtype)}

    return expect


def _argmax(x, best, place, columns):
    return {1: x.max(1), 2: x.argmax(1).astype(I32)}


for _type, _size, _dtype in (("int", 128, I32), ("float", 256, F32)):
    row(
        f"block reduction, {_type}",
        "a tree in shared memory",
        f"block_reduce<{_type}, {_size}>", 5, _size,
        lambda r, d=_dtype, s=_size: (ints(r, 5 * s - 37, dtype=d), Out(5, d), I32(5 * s - 37)),
        _block_sums(_size),
    )  # fmt: skip
for _type, _dtype in (("int", I32), ("double", F64)):
    row(
        f"tree of shuffles, {_type}",
        "in every warp, over the warps, and one atomic per block",
        f"warp_tree<{_type}>", 3, 160,
        lambda r, d=_dtype: (ints(r, 1999, dtype=d), np.array([11], d), I32(1999)),
        lambda x, total, n: {1: total + x.sum(dtype=x.dtype)},
    )  # fmt: skip
row(
    "argmax of rows",
    "two values shuffled together; the first of equal ones",
    "warp_argmax", 3, (32, 4),
    lambda r: (r.integers(0, 40, (12, 75)).astype(F32), Out(12, F32), Out(12, I32), I32(75)),
    _argmax,
)  # fmt: skip

# ---- scans ---------------------------------------------------------------------------------------


def _scan(size):
    return lambda x, y, *more: {1: np.cumsum(x.reshape(-1, size), 1, dtype=I32)}


def _scan_blelloch(x, y, total):
    inclusive = np.cumsum(x.reshape(-1, 256), 1, dtype=I32)
    return {1: inclusive - x.reshape(-1, 256), 2: inclusive[:, -1].copy()}


def _scan_shuffles(x, y, n):
    return {
        1: np.concatenate([np.cumsum(x[b : b + 224], dtype=I32) for b in range(0, int(n), 224)])
    }


def _segmented_sum(x, head, y, n):
    total, answer = 0, []
    for value, first in zip(x.tolist(), head.tolist(), strict=True):
        total = value if first else total + value
        answer.append(total)
    return {2: np.array(answer, I32)}


row(
    "scan, Hillis and Steele",
    "log2(n) rounds between two buffers",
    "scan_hillis_steele", 3, 100, lambda r: (ints(r, 300), Out(300, I32)), _scan(100),
    shared_mem=800,
)  # fmt: skip
row(
    "scan, Blelloch",
    "up a tree and down again",
    "scan_blelloch", 3, 128, lambda r: (ints(r, 768), Out(768, I32), Out(3, I32)), _scan_blelloch,
)  # fmt: skip
row(
    "scan with shuffles",
    "in every warp, over the warps, together",
    "scan_shuffles", 3, 224, lambda r: (ints(r, 600), Out(600, I32), I32(600)), _scan_shuffles,
)  # fmt: skip
row(
    "segmented sum by head flags",
    "a scan that stops at heads, carried from chunk to chunk",
    "segmented_sum", 1, 128,
    lambda r: (ints(r, 700), (r.random(700) < 0.05).astype(I32), Out(700, I32), I32(700)),
    _segmented_sum,
)  # fmt: skip

# ---- counting, sorting, selecting ----------------------------------------------------------------


def _bitonic(x, keys, places):
    order = np.argsort(x.reshape(-1, 256), axis=1, kind="stable")
    return {1: np.take_along_axis(x.reshape(-1, 256), order, 1), 2: order.astype(I32)}


def _radix_step(x, y, bit):
    rows = x.reshape(-1, 160)
    order = np.argsort(rows >> U32(bit) & U32(1), axis=1, kind="stable")
    return {1: np.take_along_axis(rows, order, 1)}


def _compact(x, kept, count, n):
    chosen = x[x > 0]
    return {
        1: np.append(chosen, np.zeros(kept.size - chosen.size, I32)),
        2: np.array([chosen.size], I32),
    }


row(
    "histogram, private to a block",
    "counted in shared memory, added at the end",
    "histogram", 4, 96,
    lambda r: ((r.standard_normal(5000) * 30 + 128).astype(np.uint8), np.zeros(256, U32),
        I32(5000)),
    lambda x, counts, n: {1: np.bincount(x, minlength=256).astype(U32)},
)  # fmt: skip
row(
    "histogram, equal lanes joined",
    "__match_any_sync: one atomic for all lanes with the same key",
    "histogram_by_warp", 5, 64,
    lambda r: (ints(r, 300, 0, 6), np.zeros(6, I32), I32(300)),
    lambda x, counts, n: {1: np.bincount(x, minlength=6).astype(I32)},
)  # fmt: skip
row(
    "bitonic sort of segments",
    "keys with their places; equal keys keep their order",
    "bitonic_sort", 3, 256,
    lambda r: (ints(r, 768, 0, 200, U32), Out(768, U32), Out(768, I32)), _bitonic,
)  # fmt: skip
row(
    "one step of a radix sort",
    "ballots and counts give every key its place",
    "radix_step", 3, 160, lambda r: (ints(r, 480, 0, 2**31, U32), Out(480, U32), I32(7)),
    _radix_step,
)  # fmt: skip
row(
    "stream compaction",
    "a ballot gives every kept element its place",
    "compact", 5, 96, lambda r: (ints(r, 450), np.zeros(450, I32), np.zeros(1, I32), I32(450)),
    _compact,
    order_free=(1,),
)  # fmt: skip
row(
    "search in a sorted table",
    "loops of different length in every lane",
    "lower_bound", 3, 64,
    lambda r: (np.sort(r.random(100, F32)), I32(100), r.random(170, F32), Out(170, I32), I32(170)),
    lambda table, n, x, place, m: {3: np.searchsorted(table, x).astype(I32)},
)  # fmt: skip

# ---- matrices and pictures -----------------------------------------------------------------------


def _softmax(x, y, columns):
    e = np.exp(x.astype(F64) - x.max(1, keepdims=True))
    return {1: (e / e.sum(1, keepdims=True)).astype(F32)}


def _scatter_add(x, index, sums, n, columns):
    sums = sums.copy()
    np.add.at(sums, index, x)
    return {2: sums}


def _stencil(x, y, n):
    padded = np.pad(x, 3)
    total = padded[: x.size].copy()
    for k in range(1, 7):  # in the kernel's order, so that the bits agree
        total = total + padded[k : k + x.size]
    return {1: total}


def _life(x, y, height, width):
    around = sum(np.roll(x, (a, b), (0, 1)).astype(int) for a in (-1, 0, 1) for b in (-1, 0, 1)) - x
    return {1: ((around == 3) | (around == 2) & (x == 1)).astype(np.uint8)}


def _labels(x, label, width):
    label = np.where(x.ravel() > 0, np.arange(x.size), -1)
    for _ in range(x.size):
        for i in np.flatnonzero(x.ravel()):
            r, c = divmod(int(i), 16)
            near = [(r, c - 1), (r, c + 1), (r - 1, c), (r + 1, c)]
            same = [16 * a + b for a, b in near if 0 <= a < 16 and 0 <= b < 16 and x[a, b]]
            label[i] = min([label[i], *label[same]])
        if _settled(x, label):
            break
    return {1: label.astype(I32)}


def _settled(x, label):
    label = label.reshape(x.shape)
    across = (x[:, 1:] & x[:, :-1]) * (label[:, 1:] - label[:, :-1])
    down = (x[1:] & x[:-1]) * (label[1:] - label[:-1])
    return not across.any() and not down.any()


def _monte_carlo(inside, draws):
    state, hits = np.arange(1, 193, dtype=U64), 0
    for _ in range(int(draws)):
        state = state * U64(6364136223846793005) + U64(1442695040888963407)
        x = state >> U64(48)
        state = state * U64(6364136223846793005) + U64(1442695040888963407)
        y = state >> U64(48)
        hits += int((x * x + y * y < U64(2**32)).sum())
    return {0: inside + U64(hits)}


for _type, _size, _dtype in (("float", 32, F32), ("unsigned short", 16, np.uint16)):
    row(
        f"tiled transpose, {_type}",
        "padded tiles; the edges of the matrix are not full tiles",
        f"transpose<{_type}, {_size}>", (-(-75 // _size), -(-50 // _size)), (_size, 8),
        lambda r, d=_dtype: (ints(r, (50, 75), 0, dtype=d), Out((75, 50), d), I32(50), I32(75)),
        lambda x, y, rows, columns: {1: x.T.copy()},
    )  # fmt: skip
for _type, _size, _dtype in (("int", 16, I32), ("float", 8, F32)):
    row(
        f"tiled matrix product, {_type}",
        "tiles of both matrices in shared memory",
        f"matrix_multiply<{_type}, {_size}>", (-(-29 // _size), -(-37 // _size)), (_size, _size),
        lambda r, d=_dtype: (
            ints(r, (37, 45), -9, 9, d), ints(r, (45, 29), -9, 9, d), Out((37, 29), d),
            I32(37), I32(29), I32(45),
        ),
        lambda a, b, c, *sizes: {2: a @ b},
    )  # fmt: skip
row(
    "double-precision atomics",
    "rows added to rows that many threads share",
    "scatter_add", 12, 64,
    lambda r: (
        ints(r, (90, 8), dtype=F64) / 8, ints(r, 90, 0, 7), np.zeros((7, 8)), I32(90), I32(8),
    ),
    _scatter_add,
)  # fmt: skip
row(
    "stencil with halo",
    "a block reads its neighbors' edges",
    "stencil", 4, 64, lambda r: (r.standard_normal(230).astype(F32), Out(230, F32), I32(230)),
    _stencil,
    shared_mem=4 * 70,
)  # fmt: skip
row(
    "game of life",
    "a 2-dimensional stencil with halo, of bytes",
    "life", (3, 4), (16, 8),
    lambda r: (ints(r, (29, 41), 0, 2, np.uint8), Out((29, 41), np.uint8), I32(29), I32(41)), _life,
)  # fmt: skip
row(
    "softmax of rows",
    "two reductions and expf: within a few units of the last place",
    "softmax", 4, 64,
    lambda r: (r.standard_normal((4, 150)).astype(F32), Out((4, 150), F32), I32(150)),
    _softmax, rtol=3e-6,
)  # fmt: skip
row(
    "labels of connected pixels",
    "until no thread of the block changes anything: __syncthreads_or",
    "smallest_label", 1, 256,
    lambda r: (ints(r, (16, 16), 0, 8, np.uint8).clip(0, 3) // 2, Out(256, I32), I32(16)), _labels,
)  # fmt: skip
row(
    "random draws",
    "a generator in 64-bit arithmetic, a warp's hits added by shuffles",
    "monte_carlo", 3, 64, lambda r: (np.array([5], U64), I32(25)), _monte_carlo,
)  # fmt: skip
