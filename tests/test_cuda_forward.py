"""The forward in CUDA: every version of every kernel, checked, counted, in any order."""

import functools
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

import embag_edu
from embag_edu import loops, spec
from embag_edu.check.candidate import Candidate, run
from embag_edu.check.cases import random_calls
from embag_edu.check.compare import difference
from embag_edu.check.oracle import expect, judge
from embag_edu.cuda import launch_forward as host
from embag_edu.cuda import launcher, source
from embag_edu.cuda.findings import check_input
from embag_edu.cuda_on_cpu import Device, device, nvrtc, settings
from embag_edu.spec import make_call

VERSIONS = {
    1: {},
    2: {},
    3: {"loads": 8},
    4: {},
    5: {"parts": 3},
    6: {"piece": 16},
    7: {"piece": 16},
    8: {"piece": 16},
}
SAME_BITS = (1, 2, 3, 4)  # these add in the order of the bag
NAN, INF = np.nan, np.inf


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Watched, and with a trap: all memory that a kernel should fill begins as NaN or as -7."""
    monkeypatch.setenv("EMBAG_DEVICE", "cpu")

    def poisoned(self, shape, dtype=np.float32):
        return np.full(shape, -7 if np.dtype(dtype).kind in "iu" else NAN, dtype)

    monkeypatch.setattr(Device, "empty", poisoned)
    with settings(mode="checked", order=0):
        yield


def arguments_of(
    D, lengths=(0, 3, 40, 0, 1, 17, 0), V=9, dtype="float32", index="int64", **options
):
    """Bags of unequal length; rows in proportion to 1/r; where there is padding, its row is NaN."""
    random = np.random.default_rng(D)
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    weight = random.normal(size=(V, D)).astype(dtype)
    N = sum(lengths)
    chance = 1 / np.arange(1, V + 1)
    input = random.choice(V, N, p=chance / chance.sum()).astype(index)
    if options.get("padding_idx") is not None:
        weight[options["padding_idx"]] = NAN
    if options.pop("weighted", False):
        options["per_sample_weights"] = random.normal(size=N).astype(dtype)
    offsets = (np.cumsum([0, *lengths])[:-1]).astype(index)
    return {"input": input, "weight": weight, "offsets": offsets, "mode": "sum"} | options


CASES = {
    "D = 128": {"D": 128},
    "D = 1": {"D": 1},
    "D = 3, weighted": {"D": 3, "weighted": True},
    "D = 5, mean": {"D": 5, "mode": "mean"},
    "D = 31, padded": {"D": 31, "padding_idx": 0},
    "D = 33, int32": {"D": 33, "index": "int32"},
    "D = 130, weighted and padded": {"D": 130, "weighted": True, "padding_idx": 1},
    "D = 1030, mean and padded": {
        "D": 1030,
        "mode": "mean",
        "padding_idx": 0,
        "lengths": (4, 0, 2),
    },
    "float64": {"D": 6, "dtype": "float64", "mode": "mean"},
    "float16": {"D": 40, "dtype": "float16", "mode": "mean", "padding_idx": 0},
    "bfloat16": {"D": 7, "dtype": "bfloat16", "weighted": True},
    "bags of padding only": {"D": 4, "mode": "mean", "padding_idx": 0, "V": 1},
    "empty bags only": {"D": 4, "mode": "mean", "lengths": (0, 0, 0)},
    "no bag": {"D": 4, "lengths": ()},
    "D = 0": {"D": 0, "mode": "mean"},
    "one long bag": {"D": 4, "lengths": (1, 200, 0, 2)},
}


def sum_bags(arguments, version, **tuning):
    """One version; tells how its output departs from the loops in float64, and the output."""
    call = make_call(**{n: v.copy() if hasattr(v, "copy") else v for n, v in arguments.items()})
    output, bag_sizes = host.sum_bags(host.Work(call), version, **tuning)
    expected = expect(dict(arguments))
    told = difference(
        expected.output,
        output,
        expected.output_tolerance,
        name="output",
        dtype=expected.dtype,
    )
    if call.mode == "mean" and call.embedding_dim:
        told = told or difference(np.array(loops.forward(call)[1].bag_sizes, int), bag_sizes)
    for name in ("input", "weight", "offsets"):
        given = {"input": call.indices, "weight": call.weight, "offsets": call.offsets[:-1]}[name]
        np.testing.assert_array_equal(given, arguments[name])
    return told, output


@pytest.mark.parametrize("case", CASES)
def test_every_version_against_the_loops(case):
    arguments, outputs = arguments_of(**CASES[case]), {}
    for version, tuning in VERSIONS.items():
        told, outputs[version] = sum_bags(arguments, version, **tuning)
        assert not told, (version, told)
    for version in SAME_BITS:
        assert outputs[version].tobytes() == outputs[1].tobytes(), version


@pytest.mark.parametrize("version", VERSIONS)
def test_no_order_of_threads_is_a_fault_or_changes_a_bit(version):
    for case in ("D = 1030, mean and padded", "D = 130, weighted and padded"):
        arguments = arguments_of(**CASES[case] | {"lengths": (3, 0, 20)})
        outputs = set()
        for order in range(6):
            with settings(order=order):
                told, output = sum_bags(arguments, version, **VERSIONS[version])
            assert not told, (order, told)
            outputs.add(output.tobytes())
        assert len(outputs) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_twenty_orders_give_the_same_bits(version):
    """Also where one row is hot and one bag is far longer than all others."""
    arguments = arguments_of(D=20, lengths=(2, 300, 0, 1), V=2)
    outputs = set()
    for order in range(20):
        with settings(mode="fast", order=order):
            outputs.add(sum_bags(arguments, version, **VERSIONS[version])[1].tobytes())
    assert len(outputs) == 1


@pytest.mark.parametrize("version, name", [(v, "lanes") for v in (4, 5, 6, 7, 8)])
@pytest.mark.parametrize("value", [4, 8, 32])
def test_teams_of_every_size(version, name, value):
    told, _ = sum_bags(arguments_of(D=36), version, **VERSIONS[version] | {name: value})
    assert not told


@pytest.mark.parametrize("version, name", [(5, "parts"), (6, "piece"), (7, "piece"), (8, "piece")])
def test_cuts_fall_everywhere(version, name):
    """Also between two bags, in a bag of one position, and behind the last position."""
    with settings(mode="fast"):
        for value in range(1, 14):
            for lengths in ((5, 0, 0, 9, 1, 1, 0), (0, 0, 0, 30), (1, 1, 1, 1), (12, 0)):
                arguments = arguments_of(D=3, lengths=lengths, mode="mean", padding_idx=1)
                told, _ = sum_bags(arguments, version, **{name: value})
                assert not told, (value, lengths, told)


def test_nan_and_infinity_pass_where_they_must_and_nowhere_else():
    arguments = arguments_of(D=4, lengths=(2, 2, 0, 1), V=3, padding_idx=2)
    arguments["input"][:] = [0, 2, 1, 1, 2]
    arguments["weight"][0] = [INF, -INF, NAN, 1]
    arguments["per_sample_weights"] = np.array([1, NAN, 1, 2, INF], np.float32)
    for version, tuning in VERSIONS.items():
        told, output = sum_bags(arguments, version, **tuning)
        assert not told, (version, told)
        np.testing.assert_array_equal(output[0], [INF, -INF, NAN, 1])
        assert np.isfinite(output[1]).all() and not output[2:].any()


def test_sixteen_bits_are_rounded_once():
    zeros, weight = np.zeros(4097, np.int64), np.ones((1, 64), np.float16)
    call = make_call(zeros, weight, np.array([0]), mode="sum")
    with settings(mode="fast"):
        for version, tuning in VERSIONS.items():
            output, _ = host.sum_bags(host.Work(call), version, **tuning)
            assert (output == 4096).all()  # a sum kept in 16 bits stops at 2048


@pytest.mark.parametrize("options", [{}, {"mode": "mean", "padding_idx": 1}], ids=str)
def test_a_bag_of_many_pieces_is_folded(options):
    """Bags of 64 to 200 pieces, which begin and end anywhere in a group of 64, and at its end."""
    ends = (512, 3), (896, 1)  # the end of bag 0 is the first item of piece 128
    for lengths in ((0, 3, 900, 0, 1), (515, 516, 2), (129, 700), (252, 1, 253, 259), *ends):
        arguments = arguments_of(D=3, lengths=lengths, **options)
        for piece in (4, 7):
            told, _ = sum_bags(arguments, 6, piece=piece)
            assert not told, (lengths, piece, told)
    call = make_call(**arguments_of(D=3, lengths=(3, 900), **options))
    reports = counted(lambda: host.sum_bags(host.Work(call), 6, piece=4))
    assert total(reports["fold_pieces"], "requests", "folded", "write") > 0
    singles = total(reports["add_pieces"], "lanes", "parts", "read")
    assert singles == 3 * (1 + 62 + 35)  # up to piece 63, then two groups, then from piece 192


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_rows_beyond_two_to_the_31st_element(index):
    """A table of 4 GB that is not there: only the pages that are touched are real.

    As many zeros lie before it: there a product that overflows finds a wrong number, and no fault.
    """
    V, D = 2**25 + 8, 64
    try:
        weight = np.zeros((2 * V, D), np.float16)[V:]
    except MemoryError:
        pytest.skip("no room for the addresses of 8 GB")
    weight[[0, V - 1]] = [[1], [3]]
    indices = np.array([V - 1, V - 1, 0], index)
    call = make_call(indices, weight, np.array([0, 2], index), mode="sum")
    with settings(mode="fast", cores=1):
        for version, tuning in VERSIONS.items():
            output, _ = host.sum_bags(host.Work(call), version, **tuning)
            assert (output == [[6], [1]]).all(), version
        for version in (1, 2):
            output, winners = host.max_bags(host.Work(replace(call, mode="max")), version)
            assert (output == [[3], [1]]).all() and (winners == [[V - 1], [0]]).all()


CUDA = Candidate(
    functools.partial(embag_edu.embedding_bag, implementation="cuda"),
    None,
    "numpy",
)
GRIDS = [
    {},
    {"max_norm": True},
    {"mode": "max", "ties": True},
    {"mode": "mean", "padding_idx": True},
]


@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_random_calls_in_an_order_each(options):
    """Through the public function: all dtypes, layouts and options, as `choose` takes them."""
    for order, case in enumerate(random_calls(f"cuda {options}", 6, **options)):
        arguments = case.make()
        with settings(order=order):
            expected, outcome = expect(arguments), run(CUDA, arguments, backward=False)
        for part in ("output", "table", "inputs", "fresh"):
            assert not judge(part, expected, outcome), (case.name, judge(part, expected, outcome))


# ---- what is counted ------------------------------------------------------------------------


def counted(run):
    """The reports of all kernels that `run` starts, by the kernel's name."""
    with launcher.recording() as reports:
        run()
    return {report.launched.kernel.split("<")[0]: report for report in reports}


def total(report, count, array, kind):
    return sum(getattr(c, count) for c in report.lines if c.array == array and c.kind == kind)


B, L, D = 16, 20, 128
N = B * L


@pytest.mark.parametrize(
    "version, requests, sectors",  # of indices: int64, 4 in a sector; a bag of 20 is 5 of them
    [
        (1, 4 * N, 4 * N),  # each of the 4 warps of a row asks for every index
        (2, N, N),
        (3, B, 5 * B),  # one request brings all indices of the bag
        (4, B, 5 * B),
    ],
)
def test_counts_are_those_of_the_byte_model(version, requests, sectors):
    call = make_call(**arguments_of(D=D, lengths=[L] * B))
    reports = counted(lambda: host.sum_bags(host.Work(call), version))
    report = reports[f"bag_sum_{version}"]
    assert total(report, "sectors", "weight", "read") == N * D * 4 // 32
    assert total(report, "requests", "weight", "read") == (4 * N if version == 1 else N)
    assert total(report, "sectors", "output", "write") == B * D * 4 // 32
    assert total(report, "requests", "indices", "read") == requests
    assert total(report, "sectors", "indices", "read") == sectors
    assert report.total("operations") == 0  # no atomics


def test_teams_ask_for_several_rows_at_once():
    """A row of 16 floats is 4 loads: version 3 asks for one row at a time, version 4 for eight."""
    arguments = arguments_of(D=16, lengths=[L] * B, V=N)
    arguments["input"] = np.random.default_rng(1).permutation(N)  # no row twice in a request
    call, requests = make_call(**arguments), {}
    for version in (3, 4):
        reports = counted(lambda v=version: host.sum_bags(host.Work(call), v))
        report = reports[f"bag_sum_{version}"]
        requests[version] = total(report, "requests", "weight", "read")
        assert total(report, "sectors", "weight", "read") == N * 16 * 4 // 32
    assert requests == {3: N, 4: N // 8}


def test_counts_of_partial_sums():
    call, S = make_call(**arguments_of(D=D, lengths=[L] * B)), 2
    reports = counted(lambda: host.sum_bags(host.Work(call), 5, parts=S))
    assert total(reports["bag_sum_5"], "sectors", "weight", "read") == N * D * 4 // 32
    assert total(reports["bag_sum_5"], "sectors", "parts", "write") == B * S * D * 4 // 32
    assert total(reports["add_parts"], "sectors", "parts", "read") == B * S * D * 4 // 32
    assert total(reports["add_parts"], "sectors", "output", "write") == B * D * 4 // 32


def test_pieces_write_partial_sums_only_where_they_cut_a_bag():
    call = make_call(**arguments_of(D=D, lengths=[L] * B))
    for P, cuts in ((L + 1, 0), (2 * (L + 1), 0), (7, 2 * B), ((L + 1) * B // 2 - 5, 2)):
        run = lambda P=P: host.sum_bags(host.Work(call), 6, piece=P)  # noqa: E731
        reports = counted(run)
        row = D * 4 // 32
        assert total(reports["bag_sum_6"], "sectors", "weight", "read") == N * row
        written = total(reports["bag_sum_6"], "sectors", "parts", "write")
        assert written == total(reports["add_pieces"], "sectors", "parts", "read")
        direct = total(reports["bag_sum_6"], "sectors", "output", "write")
        late = total(reports["add_pieces"], "sectors", "output", "write")
        assert direct + late == B * row
        cut_bags = late // row
        assert written == (cuts + cut_bags) * row


def test_pieces_are_equal_where_bags_are_not():
    """The most indices that a team of version 4 and of version 6 has: 300, and not more than P."""
    arguments = arguments_of(D=16, lengths=(1, 300, 0, 2, 1))
    call, most = make_call(**arguments), {}
    for version, tuning in ((4, {}), (6, {"piece": 16})):
        run = lambda v=version, t=tuning: host.sum_bags(host.Work(call), v, **t)  # noqa: E731
        with settings(log=100_000):
            report = counted(run)[f"bag_sum_{version}"]
        reads = [(a.block, a.thread[0] // 4) for a in report.accesses if a.array == "indices"]
        most[version] = max(reads.count(team) for team in set(reads))
    assert most == {4: 300, 6: 16}


# ---- which version --------------------------------------------------------------------------


def call_of(input_shape, D=128):
    N = int(np.prod(input_shape))
    B = input_shape[0] if len(input_shape) == 2 else 10
    offsets = np.linspace(0, N, B + 1).astype(np.int64)
    weight, indices = np.zeros((1, D), np.float32), np.broadcast_to(np.int64(0), N)
    return spec.Call(
        indices, offsets, weight, None, "sum", None, None, 2.0, False, False, input_shape
    )


@pytest.mark.parametrize(
    "dtype, D, version", [("float32", 3, 8), ("float16", 3, 7), ("float16", 6, 8)]
)
def test_the_choice(dtype, D, version):
    """An asynchronous copy takes 4 bytes at least."""
    call = make_call(**arguments_of(D, dtype=dtype))
    assert host.choose(call).version == version and host.choose(call).why


@pytest.mark.parametrize(
    "shape, cut",
    [
        ((2048, 150), 1024),  # bags enough: few of them are longer than four times the mean
        ((65_536, 20), 512),
        ((1_000_000,), 256),  # ten bags: 4,096 pieces
        ((1_000,), 64),  # ten bags of 100 in the mean, but one may have nearly all
        ((256, 4), 4096),  # so few positions that no bag is worth a second kernel
    ],
)
def test_where_long_bags_are_cut_depends_on_shapes_only(shape, cut):
    assert host.cut_of(call_of(shape)) == cut


def test_no_second_kernel_where_no_bag_can_be_long():
    for shape, kernels in (((4, 9), 1), ((36,), 2)):
        arguments = arguments_of(D=4, lengths=(9, 9, 9, 9))
        if len(shape) == 2:
            arguments["input"] = arguments["input"].reshape(shape)
            arguments["offsets"] = None
        with launcher.recording() as reports:
            host.sum_bags(host.Work(make_call(**arguments)), 8, piece=9 if len(shape) == 2 else 8)
        assert len(reports) == kernels


def test_parts_and_pieces_depend_on_shapes_only():
    assert host.parts_of(call_of((2048, 150))) == 4  # as many as 150 positions have room for
    assert host.parts_of(call_of((8192, 150))) == 2
    assert host.parts_of(call_of((4, 1))) == 1
    assert host.piece_of(call_of((100,))) == 32
    assert host.piece_of(call_of((10_000_000,))) == 256
    assert host.piece_of(call_of((16_384 * 100,))) == 64


def test_an_unknown_version_is_named():
    with pytest.raises(ValueError, match="version is 9; there are: 1, 2, 3, 4, 5, 6, 7, 8"):
        host.sum_bags(host.Work(make_call(**arguments_of(D=1))), 9)


@pytest.mark.parametrize(
    "version, tuning",
    [(3, {"loads": 0}), (4, {"lanes": 3}), (6, {"piece": -1}), (5, {"parts": 1.5})],
)
def test_a_tuning_that_cannot_be_is_refused(version, tuning):
    (name,) = tuning
    with pytest.raises(ValueError, match=f"{name} is .*; valid: "):
        host.sum_bags(host.Work(make_call(**arguments_of(D=4))), version, **tuning)


def test_arrays_in_another_byte_order_or_off_their_places():
    """Kernels are given a form of their own; the table that changes is still the caller's."""
    arguments = arguments_of(D=6, max_norm=1.0)
    expected = arguments["weight"].copy()
    loops.forward(make_call(**arguments | {"weight": expected}))
    bytes_ = np.zeros(expected.nbytes + 1, np.uint8)
    off = bytes_[1:].view(np.float32).reshape(expected.shape)
    for weight in (off, arguments["weight"].astype(">f4")):
        weight[...] = arguments["weight"]
        output = host.forward(make_call(**arguments | {"weight": weight}))[0]
        assert not difference(expected, weight.astype(np.float32), atol=1e-6)
        assert output.dtype.isnative and np.isfinite(output).all()


# ---- maximum --------------------------------------------------------------------------------

MAX_BAGS = [
    [0, 4, 5],
    [1, 0, 0],
    [2, 3, 0, 4, 4],
    [],
    [5, 5, 0],
    [1, 1],
    [3, 2],
    [0, 0],
    [6, 7],
    [7, 6],
    [2] * 40 + [4],
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "D, dtype", [(1, "float32"), (12, "float32"), (8, "float16"), (3, "float64")]
)
def test_maximum_and_winners(version, D, dtype):
    """NaN first and later, -inf, ties, zeros of both signs, padding first, an empty bag."""
    column = np.array([NAN, -INF, 1, 1, 5, INF, 0.0, -0.0])
    weight = (column[:, None] + np.zeros(D)).astype(dtype)
    weight[2:4, 1::2] *= -1
    weight[7] = -0.0
    input = np.concatenate(MAX_BAGS).astype(int)
    offsets = np.cumsum([0] + [len(bag) for bag in MAX_BAGS])[:-1]
    for order, padding_idx in enumerate((None, 0, 1, 2, 4)):
        call = make_call(input, weight, offsets, mode="max", padding_idx=padding_idx)
        expected, saved = loops.forward(call)
        with settings(order=order):
            output, winners = host.max_bags(host.Work(call), version)
        np.testing.assert_array_equal(output, expected)
        np.testing.assert_array_equal(np.signbit(output), np.signbit(expected))
        np.testing.assert_array_equal(winners, saved.winners)
        assert winners.dtype == np.int32  # torch's are as wide as its indices: 8 bytes


def test_maximum_of_long_rows_and_its_counts():
    arguments = arguments_of(D=D, lengths=[L] * B, mode="max")
    call, outputs = make_call(**arguments), {}
    for version, requests in ((1, 4 * N), (2, N)):
        run = lambda v=version: outputs.update({v: host.max_bags(host.Work(call), v)})  # noqa: E731
        report = counted(run)[f"bag_max_{version}"]
        assert total(report, "sectors", "weight", "read") == N * D * 4 // 32
        assert total(report, "requests", "weight", "read") == requests
        assert total(report, "sectors", "winners", "write") == B * D * 4 // 32
    for one, other in zip(outputs[1], outputs[2], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(outputs[1][0], loops.forward(call)[0])


# ---- max_norm -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_renorm_is_the_loops(dtype):
    """Every norm_type; rows with NaN, inf and zeros; a hot row; rows that do not occur."""
    arguments = arguments_of(D=37, dtype=dtype)
    weight = arguments["weight"]
    weight[1, 2], weight[2, 3], weight[3] = NAN, INF, 0
    weight[4, ::2] = 0
    arguments["input"][arguments["input"] == 5] = 0
    for order, p in enumerate((2.0, 1.0, 0.0, 0.5, 3.0, -1.0, INF, -INF, NAN)):
        for max_norm in (1.0, 0.0, -1.0, NAN):
            call = make_call(**arguments | {"max_norm": max_norm, "norm_type": p})
            table = weight.copy()
            with settings(mode="checked" if max_norm == 1 else "fast", order=order):
                host.renorm(replace(call, weight=table))
            expected = weight.copy()
            with np.errstate(all="ignore"):
                loops.renorm(replace(call, weight=expected))
            rtol = 1e-15 if dtype == "float64" else 0  # its norm is itself a sum in float64
            np.testing.assert_allclose(
                table.astype(float), expected.astype(float), rtol=rtol, atol=0, err_msg=str(p)
            )
            assert table[5].tobytes() == weight[5].tobytes()


def test_a_row_is_scaled_once_in_every_order():
    weight = np.full((3, 40), 3, np.float32)
    call = make_call(np.array([1] * 50 + [2]), weight, np.array([0]), max_norm=2.0, norm_type=INF)
    tables = set()
    for order in range(6):
        table = weight.copy()
        with settings(order=order):
            host.renorm(replace(call, weight=table))
        tables.add(table.tobytes())
    assert len(tables) == 1 and (table[1:] < 2).all() and (table[1:] > 1.99).all()


def test_a_strided_table_is_changed_too():
    table = np.full((4, 6), 3.0)[:, ::2]
    call = make_call(np.array([1]), table, np.array([0]), max_norm=1.0, mode="sum")
    output, _ = host.forward(call)
    assert (table[1] < 1).all() and (table[0] == 3).all()
    np.testing.assert_array_equal(output[0], table[1])


# ---- the check of indices and offsets -------------------------------------------------------

BAD = {
    "an index of V": ([0, 9, 2, 3], [0, 2]),
    "an index below 0": ([0, 1, -1, 3], [0, 2]),
    "two bad indices": ([0, 1, 12, -5], [0, 2]),
    "offsets that decrease": ([0, 1, 2, 3], [0, 3, 2]),
    "an offset beyond the end": ([0, 1, 2, 3], [0, 5]),
    "offsets that begin late": ([0, 1, 2, 3], [1, 2]),
    "an index and an offset": ([0, 1, 2, 30], [0, 3, 1]),
}


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_reported_as_on_the_host(case, index):
    input, starts = (np.array(values, index) for values in BAD[case])
    weight = np.zeros((9, 2), np.float32)
    with pytest.raises(RuntimeError) as expected:
        make_call(input, weight, starts)
    for order in range(3):
        with settings(order=order), pytest.raises(RuntimeError) as raised:
            check_input(input, np.append(starts, len(input)).astype(np.int64), len(weight))
        assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("end", [3, 5])
def test_an_end_that_is_not_the_number_of_positions(end):
    """As with include_last_offset, where the caller says the end too."""
    input, offsets = np.array([0, 1, 2, 3]), np.array([0, 2, end])
    with pytest.raises(RuntimeError) as expected:
        make_call(input, np.zeros((9, 2), np.float32), offsets, include_last_offset=True)
    with pytest.raises(RuntimeError) as raised:
        check_input(input, offsets, 9)
    assert str(raised.value) == str(expected.value)


def test_a_bad_index_of_a_call_with_max_norm_is_an_index_error():
    """As on the host, where rows are rescaled before anything else is looked at."""
    input, offsets = np.array([0, 9]), np.array([0, 2])
    for bad in (9, -10):
        input[1] = bad
        with pytest.raises(
            IndexError, match=rf"index {bad} out of range for tensor of size \[9, 4\]"
        ):
            check_input(input, offsets, 9, 4)
    input[1] = -1
    with pytest.raises(RuntimeError, match="found idx to be -1"):
        check_input(input, offsets, 9, 4)


def test_a_good_input_costs_its_bytes():
    call = make_call(**arguments_of(D=1, lengths=[L] * B))
    run = lambda: check_input(call.indices, call.offsets, 9)  # noqa: E731
    report = counted(run)["check_input"]
    assert total(report, "sectors", "indices", "read") == N * 8 // 32
    assert total(report, "operations", "found", "atomic") == 0
    for offsets in ([0], [0, 0]):
        check_input(call.indices[:0], np.array(offsets), 9)


# ---- the launcher, and what NVIDIA's compiler says ------------------------------------------


def test_the_widest_load_that_rows_allow():
    for D, dtype, pack in [
        (128, "f4", 4),
        (130, "f4", 2),
        (33, "f4", 1),
        (8, "f2", 8),
        (6, "f2", 2),
    ]:
        assert launcher.pack_of(np.zeros((2, D), dtype)) == pack
    assert launcher.pack_of(np.zeros((2, 4), "f8")) == 2
    shifted = np.zeros(9, np.float32)[1:].reshape(2, 4)
    assert launcher.pack_of(np.zeros((2, 4), np.float32), shifted) == 1


def test_a_table_that_does_not_begin_at_16_bytes():
    arguments = arguments_of(D=8)
    room = np.zeros(arguments["weight"].size + 1, np.float32)
    shifted = room[1:].reshape(arguments["weight"].shape)
    shifted[...] = arguments["weight"]
    for version, tuning in VERSIONS.items():
        call = replace(make_call(**arguments), weight=shifted)
        output, _ = host.sum_bags(host.Work(call), version, **tuning)
        expected = expect(dict(arguments))
        assert not difference(
            expected.output, output, expected.output_tolerance, dtype=expected.dtype
        )


def test_instances_are_written_as_cuda_writes_them():
    words = launcher.expression("f", np.float16, "int64", ml_dtypes.bfloat16, True, 3, "MEAN")
    assert words == "f<__half, long long, __nv_bfloat16, true, 3, MEAN>"
    one = launcher.kernel("indices", "check_input", "int32")
    assert launcher.kernel("indices", "check_input", np.int32) is one
    assert launcher.ceil_div(7, 2) == 4 and launcher.ceil_div(0, 2) == 0
    assert device().asnumpy(launcher.nothing(np.int32)).shape == (0,)
    with pytest.raises(ValueError, match="name is 'nothing'; there are: .*forward"):
        source("nothing")


@pytest.mark.skipif(bool(nvrtc.available()), reason="needs NVRTC")
def test_more_loads_take_more_registers():
    """Loads that are really under way at once are in registers of their own."""
    names = [f"bag_sum_3<float, long long, SUM, false, 4, {loads}>" for loads in (1, 2, 4, 8)]
    for arch in ("sm_80", "sm_90"):
        found = nvrtc.compile_check(source("forward"), names, arch).resources
        registers = [found[name].registers for name in names]
        assert registers == sorted(set(registers)), registers
        assert registers[3] >= registers[0] + 24 and not found[names[3]].spill_stores
