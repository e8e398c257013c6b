"""Faulty versions of our own kernels: each is rejected, and the table says by what.

A row changes a few words of a kernel or of its host side, and names its catcher:

    cases    results, against loops in float64. In checked mode: there was no KernelFault
    ...      a KernelFault of this kind, from checked mode
    counts   requests, bytes or atomics beyond the prediction. All results are right
    orders   other last bits in another order of threads. All results are near
    bits     other last bits than those of the documented order of additions. All results are near

The unchanged source passes the same catcher. For the last three, the table of cases passes with the
change: that is why the catcher is there.
"""

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
import test_cuda_backward as backward_tests
import test_cuda_forward as forward_tests
import test_cuda_short_bags as short_tests  # noqa: F401 -- `passes` finds it by its name

from embag_edu.cuda import launcher
from embag_edu.cuda_on_cpu import CompileError, Device, KernelFault, device, settings

pytestmark = pytest.mark.skipif(device().kind != "cpu", reason="kernels are checked on the CPU")

RESULTS = ("cases", "counts", "orders", "bits")
FAULTS = (
    "out of bounds",
    "misaligned",
    "race",
    "shuffle source",
    "uninitialized shared memory",
    "async copy",
)
Judge = Callable[[], None]  # raises AssertionError, or KernelFault


@dataclass(frozen=True)
class Change:
    """In a .cu or .py of embag_edu.cuda, `new` takes the place of `old`, which is there `times`."""

    file: str
    old: str
    new: str
    times: int = 1

    def __call__(self, text: str) -> str:
        end = text.find("// ---- Not chosen yet") if self.file == "forward.cu" else len(text)
        chosen, untimed = text[:end], text[end:]  # no judge calls what is not chosen
        found = chosen.count(self.old)
        assert found == self.times, f"{self.file} has {self.old!r} {found} times, not {self.times}"
        return chosen.replace(self.old, self.new) + untimed


@dataclass(frozen=True)
class Wrong:
    """A faulty version, and what rejects it."""

    name: str
    caught: str  # one of RESULTS or FAULTS
    judge: Judge
    changes: tuple[Change, ...]
    blind: tuple[Judge, ...] = ()  # pass in spite of it


# ---- Judges: our own tests of the kernels, and single cases of them ------------------------------


@functools.cache
def sums(version: int, case: str) -> Judge:
    """A version of forward.cu, one of its table of cases."""

    def judge():
        arguments = forward_tests.arguments_of(**forward_tests.CASES[case])
        told, _ = forward_tests.sum_bags(arguments, version, **forward_tests.VERSIONS[version])
        assert not told, told

    return judge


@functools.cache
def gradient(algorithm: str, options: str = "all", kind: str = "zipf", **size) -> Judge:
    """An algorithm of the backward, one of its table of cases."""

    def judge():
        case = backward_tests.make_case(kind, **backward_tests.OPTIONS[options] | size)
        if not algorithm.startswith("dot"):
            return backward_tests.assert_near(case, backward_tests.run(case, algorithm))
        truth, sizes = case.truth.per_sample_weights, case.sizes.per_sample_weights
        found, D = backward_tests.run(case, algorithm), case.call.embedding_dim
        return backward_tests.assert_near(case, found, truth, sizes, terms=D)

    return judge


def passes(test: str, *arguments) -> Judge:
    """A whole test of the two files: passes("forward_tests.test_...", its arguments)."""

    def judge():
        module, name = test.split(".")
        getattr(globals()[module], name)(*arguments)

    return judge


@functools.cache
def in_order(judge: Judge) -> Judge:
    """The judge looks at results only, and threads run one after another."""

    def alone():
        with settings(mode="fast", cores=1, order=0):
            judge()

    return alone


def verdict(judge: Judge) -> str:
    """The kind of the fault that a judge has found; "wrong"; or nothing.

    Everything else is an error of the row: a change that does not compile is not caught, it is bad.
    """
    try:
        judge()
    except KernelFault as fault:
        return fault.kind
    except (AssertionError, pytest.fail.Exception):
        return "wrong"
    return ""


# ---- The table -----------------------------------------------------------------------------------


def wrong(file, name, caught, judge, old, new, times=1, blind=()):
    """A row with one change."""
    return Wrong(name, caught, judge, (Change(file, old, new, times),), tuple(blind))


forward = functools.partial(wrong, "forward.cu")
maximum = functools.partial(wrong, "max.cu")
renorm = functools.partial(wrong, "renorm.cu")
indices = functools.partial(wrong, "indices.cu")
atomics = functools.partial(wrong, "backward.cu")
segments = functools.partial(wrong, "segments.cu")
weights = functools.partial(wrong, "weights.cu")
bulk = functools.partial(wrong, "bulk.cu")
forward_host = functools.partial(wrong, "launch_forward.py")
backward_host = functools.partial(wrong, "launch_backward.py")

FOLDED = passes("forward_tests.test_a_bag_of_many_pieces_is_folded", {})
SIXTEEN = passes("forward_tests.test_sixteen_bits_are_rounded_once")
FEW = ("D = 128", "D = 3, weighted", "D = 31, padded", "D = 1030, mean and padded", "one long bag")
BAG_IS_OUT = "if (bag >= B) return;"
SKIP = "if (PADDED && row == padding_idx) continue;"

LONG_7, CUTS_7 = (
    sums(7, "one long bag"),
    passes("forward_tests.test_cuts_fall_everywhere", 7, "piece"),
)
FORWARD = [
    forward(
        "7: a bag of exactly P positions is nobody's",
        "cases",
        CUTS_7,
        "if (end - begin > P) return;",
        "if (end - begin >= P) return;",
    ),
    forward(
        "7: a piece sums from its first position, though the bag begins later",
        "cases",
        CUTS_7,
        "begin > first ? begin : first, end",
        "first, end",
    ),
    forward(
        "7: the first part of a bag is looked for in the wrong row",
        "cases",
        CUTS_7,
        "(offsets[bag] > piece * P)",
        "(offsets[bag] >= piece * P)",
    ),
    forward(
        "7: one piece too many is added",
        "cases",
        CUTS_7,
        "last = (offsets[bag + 1] - 1) / P, many",
        "last = offsets[bag + 1] / P, many",
    ),
    forward(
        "7: the groups' sums are read before they are all there",
        "uninitialized shared memory",
        LONG_7,
        "sizes[group] = kept;\n  __syncthreads();",
        "sizes[group] = kept;",
    ),
    forward(
        "8: a row is added before it has come",
        "async copy",
        sums(8, "D = 128"),
        "__pipeline_wait_prior(RING - 1);",
        "__pipeline_wait_prior(RING);",
    ),
    forward(
        "8: the last row in the ring is forgotten",
        "cases",
        sums(8, "D = 128"),
        "asked - RING + 1; mine",
        "asked - RING + 2; mine",
    ),
    forward(
        "8: places are not given back in turn",
        "async copy",
        sums(8, "D = 3, weighted"),
        "add_place(sum, asked % RING);",
        "add_place(sum, (asked + 1) % RING);",
    ),
    forward(
        "1, 2, 8: a mean is divided by the length, padding and all",
        "cases",
        sums(1, "D = 1030, mean and padded"),
        SKIP,
        "if (PADDED && row == padding_idx) { kept++; continue; }",
        times=3,
    ),
    forward(
        "1: padding is multiplied by zero, not skipped",
        "cases",
        sums(1, "D = 31, padded"),
        f"{SKIP}\n    A value = A(",
        "A value = A(PADDED && row == padding_idx ? 0 : 1) * A(",
    ),
    forward(
        "1: the last bag is missed",
        "cases",
        sums(1, "D = 128"),
        "if (element >= B * D) return;",
        "if (element >= (B - 1) * D) return;",
        times=2,
    ),
    forward(
        "1: threads beyond the last element work too",
        "out of bounds",
        sums(1, "D = 3, weighted"),
        "if (element >= B * D) return;",
        "",
        times=2,
    ),
    forward(
        "2: two warps have the same tile of a bag",
        "race",
        sums(2, "D = 1030, mean and padded"),
        "warp % tiles * 32 + threadIdx",
        "warp / tiles * 32 + threadIdx",
    ),
    forward(
        "2: the last tile of a row, which is not full, is forgotten",
        "cases",
        sums(2, "D = 1030, mean and padded"),
        "int tiles = (D + 32 * PACK - 1) / (32 * PACK);",
        "int tiles = D > 32 * PACK ? D / (32 * PACK) : 1;",
    ),
    forward(
        "2: lanes beyond the end of the row work too",
        "race",
        sums(2, "D = 5, mean"),
        "|| d >= D) return;",
        ") return;",
    ),
    forward(
        "3 to 6: lanes beyond the end of the row load rows too",
        "out of bounds",
        sums(4, "D = 5, mean"),
        "if (d >= D) live = 0;",
        "",
    ),
    forward(
        "3 to 6: every lane loads an index, also behind the last one",
        "out of bounds",
        sums(4, "D = 128"),
        "lane < count ? indices[base + lane] : I(0)",
        "indices[base + lane]",
    ),
    forward(
        "3: lanes beyond the end of the row leave before the shuffle",
        "shuffle source",
        sums(3, "D = 5, mean"),
        BAG_IS_OUT,
        "if (bag >= B || d >= D) return;",
        times=3,
    ),
    forward(
        "4: a team of 4 goes on by 32 positions",
        "cases",
        sums(4, "one long bag"),
        "base += LANES) {\n    int count",
        "base += 32) {\n    int count",
    ),
    forward(
        "3 to 6: padding counts in a mean",
        "cases",
        sums(4, "D = 1030, mean and padded"),
        "\n    if (PADDED) kept += __popc(live);",
        "\n    if (PADDED) kept += count;",
    ),
    forward(
        "3 to 6: the weight of the next position",
        "cases",
        sums(4, "D = 3, weighted"),
        "A factor = KIND == WEIGHTED ? __shfl_sync(team, my_factor, first + u, LANES)",
        "A factor = KIND == WEIGHTED ? __shfl_sync(team, my_factor, first + u + 1, LANES)",
    ),
    forward(
        "5: parts begin one position early, in the part before",
        "cases",
        sums(5, "one long bag"),
        "begin + length * s / S,",
        "begin + length * s / S - (s > 0 && length > S),",
    ),
    forward(
        "5: parts end early: the remainder of the division is lost",
        "cases",
        sums(5, "one long bag"),
        "begin + length * (s + 1) / S,",
        "begin + length / S * (s + 1),",
    ),
    forward(
        "6: a bag that ends with the piece is taken as finished",
        "cases",
        FOLDED,
        "goes_on = end + bag >= last;",
        "goes_on = end + bag > last;",
    ),
    forward(
        "6: what came from the piece before is kept in the wrong row",
        "cases",
        sums(6, "one long bag"),
        "row = 2 * piece + came_before;",
        "row = 2 * piece;",
    ),
    forward(
        "6: the ends of bags are forgotten when the last piece is looked for",
        "cases",
        passes("forward_tests.test_cuts_fall_everywhere", 6, "piece"),
        "last = (offsets[bag + 1] + bag) / P;",
        "last = offsets[bag + 1] / P;",
    ),
    forward(
        "6: the last piece of a bag is left out",
        "cases",
        FOLDED,
        "for (; next <= last; next++)",
        "for (; next < last; next++)",
    ),
    forward(
        "6: a group of 64 is taken that holds the end of the bag",
        "cases",
        FOLDED,
        "next + FOLD <= last;",
        "next + FOLD <= last + 1;",
    ),
    forward(
        "1 to 4: sums are kept in 16 bits",
        "cases",
        SIXTEEN,
        "template <typename T> struct Wide { typedef float Type; };",
        "template <typename T> struct Wide { typedef T Type; };",
    ),
    forward(
        "3 to 6: sums are rounded to 16 bits after every addition",
        "cases",
        SIXTEEN,
        "sum[k] += factor * A(values[u].element[k]);",
        "sum[k] = A(T(sum[k] + factor * A(values[u].element[k])));",
    ),
    forward(
        "3 to 6: the index is read again for every row",
        "counts",
        passes("forward_tests.test_counts_are_those_of_the_byte_model", 4, 16, 80),
        "long long row = __shfl_sync(team, my_row, first + u, LANES);",
        "long long row = first + u < count ? indices[base + first + u] : I(0);",
        blind=[sums(4, case) for case in FEW],
    ),
    forward_host(
        "2 to 6: every load takes one element, not a pack",
        "counts",
        passes("forward_tests.test_counts_are_those_of_the_byte_model", 2, 320, 320),
        "pack_of(weight),",
        "1,",
        blind=[sums(2, case) for case in FEW],
    ),
    Wrong(
        "5: the parts of a bag are added by atomics, whoever comes first",
        "orders",
        passes("forward_tests.test_twenty_orders_give_the_same_bits", 5),
        (
            Change(
                "forward.cu",
                "write_part(sum, parts + part * D, d, D);",
                "for (int k = 0; k < PACK && d < D; k++) {\n"
                "    atomicAdd(&parts[bag * S * D + d + k], sum[k]);\n  }",
            ),
            Change(
                "launch_forward.py",
                'room=(("parts", (B, S, D), form.wide), form.sizes(',
                'room=(form.sizes("part_sizes", B, S), form.sizes(',
            ),
            Change(
                "launch_forward.py",
                ".run(**work.arrays, per_sample_weights=work.psw)",
                ".run(**work.arrays, per_sample_weights=work.psw, parts=device().zeros("
                "(work.form.num_bags, 3, work.form.embedding_dim), work.form.wide))",
            ),
        ),
        tuple(sums(5, case) for case in FEW),
    ),
]

BEYOND = passes("forward_tests.test_rows_beyond_two_to_the_31st_element", "int32")
FORWARD += [
    forward(
        "1: the place of a row is computed in 32 bits",
        "cases",
        BEYOND,
        "A(weight[(long long)row * D + d])",
        "A(weight[row * D + d])",
    ),
    forward(
        "3 to 6: the place of a row is computed in 32 bits",
        "cases",
        BEYOND,
        "long long row = __shfl_sync(team, my_row, first + u, LANES);",
        "I row = __shfl_sync(team, my_row, first + u, LANES);",
    ),
    forward_host(
        "packs are as wide as the output allows; the table begins elsewhere",
        "misaligned",
        passes("forward_tests.test_a_table_that_does_not_begin_at_16_bytes"),
        "pack_of(weight),",
        "16 // weight.dtype.itemsize,",
    ),
]

MAX_1 = passes("forward_tests.test_maximum_and_winners", 1, 1, "float32")
MAX_2 = passes("forward_tests.test_maximum_and_winners", 2, 1, "float32")
MAX = [
    maximum(
        "1: of equals the last wins",
        "cases",
        MAX_1,
        "value > best)",
        "value >= best)",
    ),
    maximum(
        "2: of equals the last wins",
        "cases",
        MAX_2,
        "value > best[k])",
        "value >= best[k])",
    ),
    maximum(
        "2: a NaN wins wherever it stands",
        "cases",
        MAX_2,
        "value > best[k])",
        "!(value <= best[k]))",
    ),
    maximum(
        "1: row 0 has won before anybody came",
        "cases",
        MAX_1,
        "W winner = -1;",
        "W winner = 0;",
    ),
    maximum(
        "2: a bag of -inf has no winner",
        "cases",
        MAX_2,
        "if (winner[k] < 0 || value > best[k])",
        "if (value > (winner[k] < 0 ? A(__int_as_float(0xff800000)) : best[k]))",
    ),
    maximum(
        "2: padding may win",
        "cases",
        MAX_2,
        "&& !(PADDED && rows[u] == padding_idx)",
        "",
    ),
    maximum(
        "2: the position is saved in place of the row",
        "cases",
        MAX_2,
        "winner[k] = W(rows[u]);",
        "winner[k] = W(base + first + u);",
    ),
]

MAX += [
    maximum(
        "2: the place of a row is computed in 32 bits",
        "cases",
        BEYOND,
        "(long long)rows[u] * D + d",
        "rows[u] * D + d",
    ),
]

FEW_AS_MANY = passes("backward_tests.test_few_entries_are_sorted_as_many_are", "zipf", 150)
RENORM_CASES = passes("forward_tests.test_renorm_is_the_loops", "float32")
SCALED_ONCE = passes("forward_tests.test_a_row_is_scaled_once_in_every_order")
RENORM = [
    renorm(
        "nobody looks whether the row is claimed",
        "race",
        SCALED_ONCE,
        "if (before & bit) return;",
        "",
    ),
    renorm(
        "the claim is read, and then written",
        "race",
        SCALED_ONCE,
        "before = atomicOr(&claimed[index / 32], bit);",
        "{ before = claimed[index / 32]; claimed[index / 32] |= bit; }",
    ),
    renorm("no 1e-7 is added to the norm", "cases", RENORM_CASES, "/ (norm + 1e-7)))", "/ norm))"),
    renorm(
        "p = 0 counts the zeros too", "cases", RENORM_CASES, "if (p == 0) return size != 0;", ""
    ),
    renorm(
        "the norm is summed in float, not in double",
        "cases",
        RENORM_CASES,
        "double norm = isinf(p)",
        "float norm = isinf(p)",
    ),
    renorm(
        "the norm is not rounded to the dtype of weight",
        "cases",
        passes("forward_tests.test_renorm_is_the_loops", "float16"),
        "double(A(T(norm_in_range(row, D, norm_type))))",
        "norm_in_range(row, D, norm_type)",
    ),
    renorm(
        "fmax loses a NaN",
        "cases",
        RENORM_CASES,
        'if (__any_sync(0xffffffffu, has_nan)) return nan("");',
        "",
    ),
    renorm(
        "a row with a NaN is scaled",
        "cases",
        RENORM_CASES,
        "if (!(norm > max_norm)) return;",
        "if (norm <= max_norm) return;",
    ),
    renorm(
        "a row that is short enough is stretched",
        "cases",
        RENORM_CASES,
        "if (!(norm > max_norm)) return;",
        "",
    ),
]


RENORM += [
    forward_host(
        "a strided table is scaled in a copy, and the copy forgotten",
        "cases",
        passes("forward_tests.test_a_strided_table_is_changed_too"),
        "if weight is not call.weight:",
        "if False:",
    ),
]


@functools.cache
def bad_input(case: str) -> Judge:
    """One of our table of bad indices and offsets."""
    test = "forward_tests.test_bad_input_is_reported_as_on_the_host"
    return passes(test, case, "int64")


def two_bad_indices() -> None:
    """The first of the two is named."""
    input, starts = map(np.array, forward_tests.BAD["two bad indices"])
    try:
        forward_tests.check_input(input, np.append(starts, len(input)), 9)
    except RuntimeError as found:
        if isinstance(found, KernelFault):  # pytest.raises would take it as any other RuntimeError
            raise
        assert "found idx to be 12" in str(found)
    else:
        raise AssertionError("nothing was raised")


INDICES = [
    indices("V itself is a row", "cases", bad_input("an index of V"), "row >= V", "row > V"),
    indices("a negative index is a row", "cases", bad_input("an index below 0"), "row < 0 || ", ""),
    indices(
        "offsets may begin late",
        "cases",
        bad_input("offsets that begin late"),
        " || (i == 0 && begin != 0)",
        "",
    ),
    indices(
        "the last offset is not looked at",
        "cases",
        passes("forward_tests.test_an_end_that_is_not_the_number_of_positions", 3),
        "if (i <= B)",
        "if (i < B)",
    ),
    indices(
        "whoever comes last says where",
        "race",
        two_bad_indices,
        "atomicMin(&found[0], i)",
        "found[0] = i",
    ),
    indices(
        "every good index costs an atomic",
        "counts",
        passes("forward_tests.test_a_good_input_costs_its_bytes"),
        "if (row < 0 || row >= V) atomicMin(&found[0], i);",
        "atomicMin(&found[0], row < 0 || row >= V ? i : 0x7fffffffffffffffLL);",
        blind=[bad_input(case) for case in forward_tests.BAD],
    ),
]

ATOMIC_CASES = ("sum", "mean", "weights", "padding", "frequency")
ADD_ELEMENT = "atomicAdd(&grad_weight[row * D + d], part);"
ADD_ROW = "atomicAdd(&grad_weight[row * D + d], shares[i] * upstream);"
COUNTS_OF_ATOMICS = passes("backward_tests.test_counts_of_atomics")
WINNERS = passes("backward_tests.test_max", "add_winners", "one")
ATOMICS = [
    atomics(
        "1: a plain +=",
        "race",
        gradient("add_elements"),
        ADD_ELEMENT,
        "grad_weight[row * D + d] += part;",
        blind=[in_order(gradient("add_elements"))],
    ),
    atomics(
        "frequency: a plain ++",
        "race",
        gradient("add_elements", "frequency"),
        "atomicAdd(&counts[indices[i]], 1);",
        "counts[indices[i]]++;",
        blind=[in_order(gradient("add_elements", "frequency"))],
    ),
    atomics(
        "max: a plain +=",
        "race",
        WINNERS,
        "atomicAdd(&grad_weight[row * D + element % D], A(grad_output[element]));",
        "grad_weight[row * D + element % D] += A(grad_output[element]);",
        blind=[in_order(WINNERS)],
    ),
    atomics(
        "max: a bag without a winner has one",
        "out of bounds",
        WINNERS,
        "if (row < 0) return;",
        "",
    ),
    atomics(
        "2: padding gets a gradient",
        "cases",
        gradient("add_rows", "padding"),
        "if (row == padding_idx) continue;",
        "",
        times=3,
    ),
    atomics(
        "2: per_sample_weights are forgotten",
        "cases",
        gradient("add_rows", "weights"),
        ADD_ROW,
        "atomicAdd(&grad_weight[row * D + d], upstream);",
    ),
    atomics(
        "the first position of a bag goes to the bag before",
        "cases",
        gradient("add_elements", "sum"),
        "if (offsets[middle] <= position)",
        "if (offsets[middle] < position)",
    ),
    atomics(
        "a mean is divided by the size of the next bag",
        "cases",
        gradient("add_elements", "mean"),
        "share /= A(bag_sizes[bag]);",
        "share /= A(bag_sizes[bag + 1 < B ? bag + 1 : bag]);",
    ),
    atomics(
        "4: every lane leads, and adds for all of its row",
        "cases",
        gradient("add_joined", "sum"),
        "counts && lane == __ffs(same) - 1",
        "counts",
    ),
    atomics(
        "4: lanes beyond the last position leave, and their columns with them",
        "cases",
        gradient("add_joined", "sum", D=33),
        "if (position - lane >= N) return;",
        "if (position >= N) return;",
    ),
    atomics(
        "4: nobody looks who else holds the row",
        "counts",
        COUNTS_OF_ATOMICS,
        "unsigned same = __match_any_sync(ALL, row);",
        "unsigned same = 1u << lane;",
        blind=[gradient("add_joined", options) for options in ATOMIC_CASES],
    ),
    atomics(
        "3: four neighbors in four atomics",
        "counts",
        COUNTS_OF_ATOMICS,
        "atomicAdd((float4*)to, make_float4(part[0], part[1], part[2], part[3]));",
        "for (int k = 0; k < 4; k++) atomicAdd(&to[k], part[k]);",
        blind=[gradient("add_packs", options) for options in ATOMIC_CASES],
    ),
    atomics(
        "2: grad_output is read again for every position",
        "counts",
        COUNTS_OF_ATOMICS,
        ADD_ROW,
        "atomicAdd(&grad_weight[row * D + d], shares[i] * A(grad_output[bag * D + d]));",
        blind=[gradient("add_rows", options) for options in ATOMIC_CASES],
    ),
]

ADD_ENTRY = "sum += shares[i] * A(grad_output[source * D + d]);"
BEGINS_HERE = "if (row < 0 || (begin > 0 && partial_keys[begin - 1] == row)) return;"
SEGMENTS = [
    segments(
        "5, 6: sums are rounded to 16 bits after every addition",
        "cases",
        passes("backward_tests.test_16_bit_sums_are_rounded_once", ml_dtypes.bfloat16, 256),
        ADD_ENTRY,
        "sum = A(T(sum + shares[i] * A(grad_output[source * D + d])));",
        times=2,
    ),
    segments(
        "7: a run that fills a piece is kept as its tail, which is then made 0",
        "cases",
        gradient("piece_packs", "sum", "one"),
        "return key == piece.before ? K(-2) : key == piece.after ? K(-3) : key;",
        "return key == piece.after ? K(-3) : key == piece.before ? K(-2) : key;",
    ),
    segments(
        "6: a run that fills a piece is counted as its head and as its tail",
        "cases",
        gradient("piece_sums", "sum", "one"),
        "if (piece.filled()) tail[d] = 0;",
        "if (piece.filled()) tail[d] = head[d];",
    ),
    segments(
        "6: the last run of a piece is not written where it goes on in the next",
        "cases",
        gradient("piece_sums", "sum", "one"),
        "if (i + 1 < piece.end && keys[i + 1] == row) continue;",
        "if (i + 1 < n && keys[i + 1] == row) continue;",
    ),
    segments(
        "6: runs end one entry early",
        "cases",
        gradient("piece_sums", "sum"),
        "if (i + 1 < piece.end && keys[i + 1] == row) continue;",
        "if (i + 2 < piece.end && keys[i + 2] == row) continue;",
    ),
    segments(
        "6: a join begins at every partial sum of a run",
        "race",
        gradient("piece_sums", "sum", "one"),
        BEGINS_HERE,
        "if (row < 0) return;",
    ),
    segments(
        "7: teams behind the last piece look at the key before them",
        "out of bounds",
        gradient("piece_packs", "sum"),
        "0 < begin && begin < n ?",
        "0 < begin ?",
    ),
    segments(
        "frequency: the length of the next run",
        "cases",
        gradient("run_sums", "frequency"),
        "(unsigned long long)keys[middle] < (unsigned long long)key",
        "(unsigned long long)keys[middle] <= (unsigned long long)key",
    ),
    segments(
        "6: partial sums are joined by atomics, whoever comes first",
        "orders",
        passes(
            "backward_tests.test_the_same_bits_in_20_orders_and_with_other_blocks",
            "piece_sums",
            "one",
        ),
        f"{BEGINS_HERE}\n  for (int d = lane; d < D; d += 32) {{\n    A sum = 0;",
        "if (row < 0) return;\n  for (int d = lane; d < D; d += 32) {\n"
        "    atomicAdd(&grad_weight[(long long)row * D + d], T(partial[begin * D + d]));\n"
        "    continue;\n    A sum = 0;",
        blind=[gradient("piece_sums", options) for options in ATOMIC_CASES],
    ),
    segments(
        "5: the sum so far is written after every entry",
        "counts",
        passes("backward_tests.test_counts_of_sorting"),
        f"{ADD_ENTRY}\n    }}\n    grad_weight[row * D + d] = T(sum);",
        f"{ADD_ENTRY}\n      grad_weight[row * D + d] = T(sum);\n    }}",
        blind=[gradient("run_sums", options) for options in ATOMIC_CASES],
    ),
    Wrong(
        "few: entries of one row come in the opposite order, as an unstable sort may leave them",
        "bits",
        passes("backward_tests.test_a_run_is_added_in_the_order_of_its_positions", "sum"),
        (
            Change(
                "segments.cu", "keys[i] << 32 | i : ~0ull", "keys[i] << 32 | (n - 1 - i) : ~0ull"
            ),
            Change("segments.cu", "int from = int(items[i]);", "int from = n - 1 - int(items[i]);"),
        ),
        tuple(gradient("run_sums", options) for options in ATOMIC_CASES),
    ),
    segments(
        "few: pairs are compared before the last swaps are done",
        "race",
        FEW_AS_MANY,
        "        }\n      }\n      __syncthreads();",
        "        }\n      }",
    ),
    segments(
        "few: the last part is sorted downwards, too",
        "out of bounds",
        FEW_AS_MANY,
        "((low & size) == 0)",
        "((low & size / 2) == 0)",
    ),
    segments(
        "many: the source is that of another entry",
        "cases",
        FEW_AS_MANY,
        "sorted_sources[i] = sources[from];\n  sorted",
        "sorted_sources[i] = sources[i];\n  sorted",
    ),
    segments(
        "sparse: values forget their share",
        "cases",
        passes("backward_tests.test_sparse_as_torch_has_it", "zipf", "mean", 12),
        "share = shares[entry];",
        "share = 1;",
    ),
    segments(
        "sparse: a wide row is written by the first part of its packs only",
        "race",
        passes("backward_tests.test_sparse_as_torch_has_it", "zipf", "sum", 300),
        "int d = (blockIdx.y * team + threadIdx.x % team) * PACK;\n  if (entry",
        "int d = threadIdx.x % team * PACK;\n  if (entry",
    ),
    segments(
        "max: row 0 never wins",
        "cases",
        passes("backward_tests.test_max", "sorted_winners", "zipf"),
        "winners[i] < 0 ?",
        "winners[i] <= 0 ?",
    ),
    segments(
        "frequency: -1, the key of padding, is less than all others",
        "cases",
        gradient("piece_packs", "frequency"),
        "(unsigned long long)keys[middle] < (unsigned long long)key",
        "keys[middle] < key",
    ),
    backward_host(
        "coalesced: the first run is number 1",
        "out of bounds",
        passes("backward_tests.test_coalesced", "zipf", "sum"),
        "begins[starts[1:]] = 1",
        "begins[starts] = 1",
    ),
    backward_host(
        "7: packs are as wide as the gradient allows; grad_output begins elsewhere",
        "misaligned",
        passes("backward_tests.test_rows_that_start_anywhere", "piece_packs"),
        "packs = pack_of(rows), pack_of(grad_weight)",
        "packs = pack_of(grad_weight), pack_of(grad_weight)",
    ),
    backward_host(
        "7: partial sums are never added up",
        "cases",
        passes("backward_tests.test_runs_that_end_at_the_edges_of_pieces", 64, "one"),
        "while n > 2 or (n and not launches):",
        "while n and not launches:",
    ),
    backward_host(
        "5: the first run is missed",
        "cases",
        gradient("run_sums", "sum"),
        "begins = xp.ones(len(keys), bool)",
        "begins = xp.zeros(len(keys), bool)",
    ),
]

WEIGHTS = [
    weights(
        "padding has a gradient",
        "cases",
        gradient("dot_packs", "weights"),
        " && row != padding_idx",
        "",
        times=2,
    ),
    weights(
        "the lanes do the last exchange without each other",
        "cases",
        gradient("dot_packs", "weights"),
        "apart > 0;",
        "apart > 1;",
    ),
    weights(
        "2: every load takes one element, not a pack",
        "counts",
        passes("backward_tests.test_packs_ask_for_a_quarter_of_the_requests_of_a_dot"),
        "values = *(const Pack<T, PACK>*)&weight[row * D + d];",
        "values;\n    for (int k = 0; k < PACK; k++) values.element[k] = weight[row * D + d + k];",
        blind=[gradient("dot_packs", "weights", D=D) for D in (1, 12, 128)],
    ),
    backward_host(
        "2: packs are as wide as the table allows; grad_output begins elsewhere",
        "misaligned",
        passes("backward_tests.test_rows_that_start_anywhere", "dot_packs"),
        "pack_of(work.upstream, weight)",
        "pack_of(weight)",
    ),
    weights(
        "every lane writes the result",
        "race",
        gradient("dot_elements", "weights"),
        "if (lane == 0) grad[position]",
        "grad[position]",
        times=2,
        blind=[in_order(gradient("dot_elements", "weights"))],
    ),
]

BULK_CUT = passes(
    "short_tests.test_other_copies_give_the_bits_of_version_8", "bulk", 300, "float32", "mean", 16
)
BULK = [
    bulk(
        "a place is asked for again before all lanes have read it",
        "race",
        BULK_CUT,
        "    __syncwarp();  // all have read: the place is free\n",
        "",
    ),
    bulk(
        "the copy of a row's last part is as long as the others",
        "out of bounds",
        BULK_CUT,
        "(D - first < 32 * PACK ? D - first : 32 * PACK)",
        "(32 * PACK)",
    ),
]

FAMILIES = {
    "forward": FORWARD,
    "max": MAX,
    "renorm": RENORM,
    "indices": INDICES,
    "backward": ATOMICS,
    "segments": SEGMENTS,
    "weights": WEIGHTS,
    "bulk": BULK,
}
TABLE = {f"{family} {row.name}": row for family, rows in FAMILIES.items() for row in rows}


# ---- The tests -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Checked; what a kernel should fill begins as NaN, or as a number that is no row, no bag."""
    monkeypatch.setenv("EMBAG_DEVICE", "cpu")

    def poisoned(self, shape, dtype=np.float32):
        return np.full(shape, 0x7F7F if np.dtype(dtype).kind in "iu" else np.nan, dtype)

    monkeypatch.setattr(Device, "empty", poisoned)
    with settings(mode="checked", order=0, strict=True):
        yield


@contextmanager
def changed(changes: tuple[Change, ...]) -> Iterator[None]:
    """The kernels and their host sides with these changes; each must find its text."""
    with pytest.MonkeyPatch.context() as patch:
        texts = _texts(changes)
        whole = launcher.source
        patch.setattr(launcher, "source", lambda name: texts.get(f"{name}.cu") or whole(name))
        for tests, name, module in HOSTS:
            if name in texts:
                patch.setattr(tests, module, _module(name, texts[name]))
        launcher._instance.cache_clear()
        try:
            yield
        finally:
            launcher._instance.cache_clear()


HOSTS = (
    (forward_tests, "launch_forward.py", "host"),
    (backward_tests, "launch_backward.py", "backward"),
)


def _texts(changes: tuple[Change, ...]) -> dict[str, str]:
    """The changed text of each file."""
    texts: dict[str, str] = {}
    for change in changes:
        file = launcher.HERE / change.file
        own = launcher.source(file.stem) if file.suffix == ".cu" else file.read_text("utf-8")
        texts[change.file] = change(texts.get(change.file, own))
    return texts


def _module(name: str, text: str) -> types.ModuleType:
    """A module of its own, made from a changed text."""
    module = types.ModuleType(f"wrong_{name.removesuffix('.py')}")
    exec(compile(text, name, "exec"), module.__dict__)
    return module


@functools.cache
def verdict_of_ours(judge: Judge) -> str:
    """The verdict of a judge on the unchanged source; asked once for each."""
    return verdict(judge)


def check_row(wrong: Wrong) -> None:
    """The catcher rejects the change and nothing else; those that are blind to it pass."""
    for judge in (wrong.judge, *wrong.blind):
        assert verdict_of_ours(judge) == "", "the unchanged source is rejected"
    with changed(wrong.changes):
        assert verdict(wrong.judge) == ("wrong" if wrong.caught in RESULTS else wrong.caught)
        for judge in wrong.blind:
            assert verdict(judge) == "", "results alone see it"


def rows(*families: str) -> pytest.MarkDecorator:
    names = [name for name in TABLE if name.split()[0] in families]
    return pytest.mark.parametrize("name", names)


class TestForward:  # classes, so that two processes can share the work
    @rows("forward", "max", "renorm", "indices", "bulk")
    def test_a_wrong_kernel_is_rejected_by_its_catcher(self, name):
        check_row(TABLE[name])


class TestBackward:
    @rows("backward", "segments", "weights")
    def test_a_wrong_kernel_is_rejected_by_its_catcher(self, name):
        check_row(TABLE[name])


def test_the_table_is_as_long_and_as_wide_as_promised():
    assert len(TABLE) == sum(map(len, FAMILIES.values())) >= 70  # no two of one name
    caught = [row.caught for row in TABLE.values()]
    assert set(caught) == {*RESULTS, *FAULTS}
    assert caught.count("counts") >= 8 and caught.count("race") >= 8
    for row in TABLE.values():
        assert row.blind or row.caught not in ("counts", "orders", "bits"), row.name
    files = {change.file for row in TABLE.values() for change in row.changes}
    first = "first.cu"  # the kernels of chapter 07, which no call launches
    assert {file.name for file in launcher.HERE.glob("*.cu")} - {first} <= files


def test_a_change_that_finds_nothing_is_an_error():
    with pytest.raises(AssertionError, match=r"max.cu has 'worst' 0 times, not 1"):
        with changed((Change("max.cu", "worst", "best"),)):
            pass


def test_a_change_that_does_not_compile_is_an_error_and_not_a_catch():
    with changed((Change("max.cu", "W winner = -1;", "W winner = nobody;"),)):
        with pytest.raises(CompileError, match="nobody"):
            verdict(MAX_1)
