"""The CUDA kernels of the backward, each algorithm on its own, against loops in float64.

Nearly everything runs in checked mode: an access out of bounds or a race fails a test by itself.
New arrays are full of NaN, so that a number that was never written cannot pass.
"""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from embag_edu import loops, spec
from embag_edu.cuda import launch_backward as backward
from embag_edu.cuda import source
from embag_edu.cuda.launcher import kernel, recording
from embag_edu.cuda_on_cpu import Device, device, settings
from embag_edu.spec import Gradients

pytestmark = pytest.mark.skipif(device().kind != "cpu", reason="counts and orders of threads")

ATOMIC = ("add_elements", "add_rows", "add_packs", "add_joined")
SORTED = ("run_sums", "piece_sums", "piece_packs")
MAX = ("add_winners", "sorted_winners")
BESIDE = ("entry_values", "entry_packs", "coalesced", "dot_elements", "dot_packs")
EPS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
TINY = {"float16": 2.0**-25, "bfloat16": 2.0**-134}
OPTIONS: dict[str, dict[str, Any]] = {
    "sum": {"mode": "sum"},
    "mean": {"mode": "mean"},
    "weights": {"mode": "sum", "per_sample_weights": True, "padding_idx": 0},
    "padding": {"mode": "mean", "padding_idx": 1},
    "frequency": {"mode": "mean", "padding_idx": 2, "scale_grad_by_freq": True},
    "all": {
        "mode": "sum",
        "per_sample_weights": True,
        "padding_idx": -1,
        "scale_grad_by_freq": True,
    },
}


@pytest.fixture(autouse=True)
def nothing_is_zero_by_chance(monkeypatch):
    def full_of_rubbish(self, shape, dtype=np.float32):
        kind = np.dtype(dtype)
        return np.full(shape, 0x7F7F if kind.kind in "iu" else np.nan, kind)

    monkeypatch.setattr(Device, "empty", full_of_rubbish)


class Case(NamedTuple):
    """A call, what its forward saved, an upstream gradient, and the gradients in float64."""

    call: Any
    saved: Any
    grad_output: np.ndarray
    truth: Any
    sizes: Any  # the same with absolute values: what an error is measured against


def draw_indices(kind, rng, N, V):
    """uniform; zipf: row 0 the commonest; one: a single row, the hottest there is."""
    if kind == "uniform":
        return rng.integers(0, V, N)
    if kind == "zipf":
        return np.minimum(rng.zipf(1.3, N) - 1, V - 1)
    return np.full(N, V // 2)


def draw_offsets(rng, N, B):
    """Bags of all sizes, the first and some others empty."""
    return np.sort(np.concatenate([[0, 0], rng.integers(0, N + 1, B - 2)]))


def make_case(kind="uniform", N=150, V=40, D=12, B=17, dtype=np.float32, seed=0, **options) -> Case:
    rng = np.random.default_rng(seed)
    index = options.pop("index", np.int64)
    weight = rng.standard_normal((V, D)).astype(dtype)
    indices, offsets = draw_indices(kind, rng, N, V).astype(index), draw_offsets(rng, N, B)
    if options.get("per_sample_weights"):
        options["per_sample_weights"] = rng.standard_normal(N).astype(dtype)
    grad_output = rng.standard_normal((B, D)).astype(dtype)
    call = spec.make_call(indices, weight, offsets, **options)
    return case_of(call, grad_output)


def case_of(call, grad_output) -> Case:
    exact = spec.make_call(
        call.indices,
        call.weight.astype(np.float64),
        call.offsets,
        mode=call.mode,
        include_last_offset=True,
        padding_idx=call.padding_idx,
        scale_grad_by_freq=call.scale_grad_by_freq,
        sparse=call.sparse,
        per_sample_weights=None
        if call.per_sample_weights is None
        else call.per_sample_weights.astype(np.float64),
    )
    _, saved = loops.forward(exact)
    upstream = grad_output.astype(np.float64)
    truth = gradients(loops, exact, saved, upstream)
    sizes = gradients(loops, _absolute(exact), saved, np.abs(upstream))
    if saved.winners is not None:
        saved = saved._replace(winners=saved.winners.astype(np.int32))
    return Case(call, saved, grad_output, truth, sizes)


def gradients(module, call, saved, grad_output):
    weight, psw = module.grad_weight(call, saved, grad_output), None
    if call.per_sample_weights is not None:
        psw = module.grad_per_sample_weights(call, saved, grad_output)
    return Gradients(weight, psw)


def _absolute(call):
    psw = call.per_sample_weights
    values = {**call.__dict__, "weight": np.abs(call.weight)}
    return spec.Call(**{**values, "per_sample_weights": None if psw is None else np.abs(psw)})


def run(case: Case, algorithm: str, **others):
    """The gradient by one algorithm; what it was given must be as before."""
    call = case.call
    given = [call.indices, call.offsets, call.weight, case.grad_output, call.per_sample_weights]
    given = [array for array in (*given, case.saved.winners) if array is not None]
    before = [array.tobytes() for array in given]
    if algorithm.startswith("dot"):
        found = backward.grad_per_sample_weights(
            call, case.saved, case.grad_output, algorithm, **others
        )
    else:
        found = backward.grad_weight(call, case.saved, case.grad_output, algorithm, **others)
    assert [array.tobytes() for array in given] == before
    return found


def assert_near(case: Case, actual, truth=None, sizes=None, terms=None):
    """Within the error bound of a sum of `terms` products in the accumulator, rounded once."""
    truth = case.truth.weight if truth is None else truth
    sizes = case.sizes.weight if sizes is None else sizes
    dtype = case.call.weight.dtype
    assert type(actual) is np.ndarray and actual.dtype == dtype and actual.shape == truth.shape
    terms = case.call.num_positions if terms is None else terms
    bound = (terms + 4) * EPS[case.call.accumulator.name] * sizes
    if dtype.name in TINY:
        bound = bound + 1.01 * EPS[dtype.name] * np.abs(truth) + TINY[dtype.name]
    error = np.abs(actual.astype(np.float64) - truth)
    assert np.all(error <= bound), f"{np.nanmax(error - bound)} above the bound"  # False for NaN
    assert np.all(actual[sizes == 0] == 0)


def same_bits(one, other):
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


# ---- Each algorithm against loops ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uniform", "zipf", "one"])
@pytest.mark.parametrize("algorithm", ATOMIC + SORTED)
def test_dense(algorithm, kind):
    for seed, options in enumerate(OPTIONS.values()):
        case = make_case(kind, seed=seed, **options)
        assert_near(case, run(case, algorithm))


@pytest.mark.parametrize("algorithm", MAX)
@pytest.mark.parametrize("kind", ["uniform", "zipf", "one"])
def test_max(algorithm, kind):
    for padding_idx in (None, 0):
        case = make_case(kind, mode="max", padding_idx=padding_idx)
        assert_near(case, run(case, algorithm), terms=case.call.num_bags)


@pytest.mark.parametrize("algorithm", ["dot_elements", "dot_packs"])
def test_per_sample_weights(algorithm):
    for padding_idx, D in ((None, 12), (0, 132), (None, 37), (0, 1)):
        case = make_case("zipf", D=D, mode="sum", per_sample_weights=True, padding_idx=padding_idx)
        truth, sizes = case.truth.per_sample_weights, case.sizes.per_sample_weights
        assert_near(case, run(case, algorithm), truth, sizes, terms=D)
    two_dimensional = spec.make_call(
        case.call.indices[:6].reshape(2, 3),
        case.call.weight,
        mode="sum",
        per_sample_weights=case.call.per_sample_weights[:6].reshape(2, 3),
    )
    small = case_of(two_dimensional, case.grad_output[:2])
    assert run(small, algorithm).shape == (2, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_dtypes(dtype):
    index = np.int32
    for algorithm in ("add_packs", "piece_packs"):
        case = make_case("zipf", D=16, dtype=dtype, index=index, **OPTIONS["all"])
        assert_near(case, run(case, algorithm))
    for algorithm in MAX:
        case = make_case("zipf", D=16, dtype=dtype, index=index, mode="max")
        assert_near(case, run(case, algorithm))
    case = make_case("zipf", D=16, dtype=dtype, index=index, **OPTIONS["weights"])
    truth, sizes = case.truth.per_sample_weights, case.sizes.per_sample_weights
    assert_near(case, run(case, "dot_packs"), truth, sizes, terms=16)


@pytest.mark.parametrize("D", [1, 2, 3, 33, 40, 132, 1030])
def test_every_number_of_features(D):
    for algorithm in ATOMIC + SORTED:
        case = make_case("zipf", N=70, V=9, B=6, D=D, **OPTIONS["all"])
        assert_near(case, run(case, algorithm))


@pytest.mark.parametrize("algorithm", ["add_packs", "piece_packs", "dot_packs"])
def test_rows_that_start_anywhere(algorithm):
    case = make_case("zipf", D=8, mode="sum", per_sample_weights=True)
    shifted = np.empty(case.grad_output.size + 1, np.float32)[1:].reshape(case.grad_output.shape)
    shifted[:] = case.grad_output
    assert shifted.ctypes.data % 16
    assert np.allclose(run(case._replace(grad_output=shifted), algorithm), run(case, algorithm))
    strided = np.repeat(case.grad_output, 2, axis=1)[:, ::2]
    assert same_bits(run(case._replace(grad_output=strided), algorithm), run(case, algorithm))


@pytest.mark.parametrize("algorithm", ATOMIC + SORTED)
def test_fast_mode_on_more_data(algorithm):
    case = make_case("zipf", N=3000, V=100, B=50, D=4, **OPTIONS["frequency"])
    with settings(mode="fast"):
        assert_near(case, run(case, algorithm))


def test_keys_of_64_bits(monkeypatch):
    narrow = {algorithm: run(make_case("zipf"), algorithm) for algorithm in SORTED}
    monkeypatch.setattr(backward, "smallest_dtype", lambda *sizes: np.int64)
    for algorithm, expected in narrow.items():
        assert same_bits(run(make_case("zipf"), algorithm), expected)
    assert backward.sorted_entries(backward.Work(*make_case()[:3], 256)).dtype == np.int64


@pytest.mark.parametrize("algorithm", ["add_joined", "add_packs", "piece_sums", "piece_packs"])
def test_tables_of_more_than_2_to_the_31_numbers(algorithm):
    V, D = 2**28 + 10, 8  # 8.6 GB of zeros that the system never has to lay out
    try:
        weight = np.zeros((V, D), np.float32)
        call = spec.make_call(np.array([V - 1, 3, V - 1]), weight, np.array([0, 1]), mode="sum")
        grad_output = np.array([[1.0], [2.0]], np.float32).repeat(D, axis=1)
        with settings(mode="fast", cores=1):
            found = backward.grad_weight(call, None, grad_output, algorithm)
    except MemoryError:
        pytest.skip("this system promises no memory that it does not have")
    assert (found[V - 1] == 3).all() and (found[3] == 2).all()
    assert not found[:3].any() and not found[V - 100 : V - 1].any()


def test_keys_of_32_bits_where_numbers_fit():
    assert backward.smallest_dtype(5, 2**31 - 1) is np.int32
    assert backward.smallest_dtype(2**31, 5) is np.int64


@pytest.mark.parametrize("algorithm", ATOMIC + SORTED)
def test_nothing_to_add(algorithm):
    weight, nobody = np.ones((3, 4), np.float32), np.zeros(0, np.int64)
    for indices, offsets in ((nobody, [0, 0]), (nobody, []), (np.array([1, 1]), [0, 1, 1])):
        offsets = np.array(offsets, np.int64)
        call = spec.make_call(indices, weight, offsets, padding_idx=1, mode="mean")
        case = case_of(call, np.full((len(offsets), 4), np.inf, np.float32))
        assert same_bits(run(case, algorithm), np.zeros_like(weight))
    no_feature = spec.make_call(np.array([1]), weight[:, :0], np.array([0]))
    assert run(case_of(no_feature, np.zeros((1, 0), np.float32)), algorithm).shape == (3, 0)


@pytest.mark.parametrize("algorithm", ATOMIC + SORTED)
def test_padding_is_skipped_and_not_multiplied_by_zero(algorithm):
    weight = np.ones((4, 4), np.float32)
    call = spec.make_call(
        np.array([3, 3, 1, 2]), weight, np.array([0, 2, 3]), mode="mean", padding_idx=3
    )
    grad_output = np.array([[np.inf], [np.nan], [1.0]], np.float32).repeat(4, axis=1)
    found = run(Case(call, loops.forward(call)[1], grad_output, None, None), algorithm)
    assert np.isnan(found[1]).all() and (found[2] == 1).all() and (found[[0, 3]] == 0).all()


# ---- Sparse --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uniform", "zipf", "one"])
@pytest.mark.parametrize("options", ["sum", "mean", "weights", "padding"])
@pytest.mark.parametrize("D", [1, 12, 300])
def test_sparse_as_torch_has_it(kind, options, D):
    case = make_case(kind, D=D, sparse=True, **OPTIONS[options])
    found = backward.grad_weight(case.call, case.saved, case.grad_output)
    expected = loops.grad_weight(case.call, case.saved, case.grad_output)
    assert same_bits(found.indices, expected.indices) and found.shape == expected.shape
    assert same_bits(found.values, expected.values) and found.values.shape == expected.values.shape


@pytest.mark.parametrize("kind", ["uniform", "zipf", "one"])
@pytest.mark.parametrize("options", ["sum", "mean", "weights", "padding"])
def test_coalesced(kind, options):
    case = make_case(kind, **OPTIONS[options])
    found = run(case, "coalesced")
    rows = case.call.indices[case.call.indices != case.call.padding_idx]
    assert np.array_equal(found.indices, np.unique(rows)[None])
    dense = np.zeros(found.shape, np.float32)
    dense[found.indices[0]] = found.values
    assert same_bits(dense, run(case, "piece_packs"))  # the same sums, in another place


def test_sparse_without_an_entry():
    weight = np.ones((3, 4), np.float32)
    for indices, D in ((np.zeros(0, np.int64), 4), (np.array([1, 1]), 4), (np.array([2]), 0)):
        call = spec.make_call(
            indices, weight[:, :D], np.array([0]), sparse=True, mode="sum", padding_idx=1
        )
        case = case_of(call, np.ones((1, D), np.float32))
        for algorithm in ("entry_values", "entry_packs", "coalesced"):
            found = run(case, algorithm)
            assert found.indices.shape == (1, 0) and found.indices.dtype == np.int64
            assert found.values.shape == (0, D) and found.values.dtype == np.float32


# ---- Order: what is repeatable and what is not ---------------------------------------------------


def case_for(algorithm, kind="zipf", **size):
    if algorithm in MAX:
        return make_case(kind, mode="max", **size)
    return make_case(kind, **OPTIONS["weights" if algorithm in BESIDE else "all"], **size)


@pytest.mark.parametrize("kind", ["zipf", "one"])
@pytest.mark.parametrize("algorithm", [*SORTED, "sorted_winners", *BESIDE])
def test_the_same_bits_in_20_orders_and_with_other_blocks(algorithm, kind):
    case = case_for(algorithm, kind, N=140, D=5)
    found = set()
    for order in range(20):
        with settings(order=order):
            result = run(case, algorithm, block=(256, 128, 64, 32)[order % 4])
        found.add(getattr(result, "values", result).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("algorithm", [*ATOMIC, "add_winners"])
def test_atomics_in_any_order_no_race_and_near(algorithm):
    case = case_for(algorithm, "one", N=100, D=5)
    for order in range(6):
        with settings(order=order):
            found = run(case, algorithm)
        assert_near(case, found)


def test_the_order_of_atomics_is_seen_in_the_last_bits():
    case = make_case("one", N=100, D=5, mode="sum")
    found = set()
    for order in range(6):
        with settings(order=order):
            found.add(run(case, "add_elements").tobytes())
    assert len(found) > 1


@pytest.mark.parametrize("N", [1, 31, 32, 33, 64, 65, 100, 1100])
@pytest.mark.parametrize("kind", ["uniform", "one"])
def test_runs_that_end_at_the_edges_of_pieces(N, kind):
    case = make_case(kind, N=N, V=3, B=4, D=3, mode="sum")
    for algorithm in SORTED:
        assert_near(case, run(case, algorithm))


def test_runs_cut_and_whole_in_every_position():
    rng = np.random.default_rng(5)
    lengths = [32, 31, 1, 33, 64, 1, 1, 62, 96, 95, 3, 500, 2, 32, 32]
    indices = rng.permutation(np.repeat(np.arange(len(lengths)), lengths))
    call = spec.make_call(indices, np.ones((20, 4), np.float32), np.arange(0, 900, 30), mode="sum")
    case = case_of(call, rng.standard_normal((30, 4)).astype(np.float32))
    for algorithm in SORTED:
        assert_near(case, run(case, algorithm))


@pytest.mark.parametrize("options", OPTIONS)
def test_a_run_is_added_in_the_order_of_its_positions(options):
    """Positions of one row keep their order when they are sorted: the same bits as the loops."""
    case = make_case("zipf", D=3, **OPTIONS[options])
    expected = loops.grad_weight(case.call, loops.forward(case.call)[1], case.grad_output)
    assert same_bits(run(case, "run_sums"), expected)


# ---- 16 bits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "stuck"), [(np.float16, 2048), (ml_dtypes.bfloat16, 256)])
def test_16_bit_sums_are_rounded_once(dtype, stuck):
    n = 2 * stuck
    call = spec.make_call(np.zeros(n, np.int64), np.ones((1, 2), dtype), np.array([0]), mode="sum")
    case = Case(call, loops.Saved([n], None), np.ones((1, 2), dtype), None, None)
    with settings(mode="fast", cores=1):
        for algorithm in ATOMIC + SORTED if stuck == 256 else ("add_packs", "piece_packs"):
            assert (run(case, algorithm) == n).all()
        assert (run(case, "add_pairs") == stuck).all()  # rounded after each addition


def test_pairs_want_16_bits_and_an_even_number_of_features():
    with pytest.raises(ValueError, match="valid: float16 or bfloat16"):
        run(make_case(), "add_pairs")
    with pytest.raises(ValueError, match="even D"):
        run(make_case(dtype=np.float16, D=3), "add_pairs")


# ---- Counts --------------------------------------------------------------------------------------

COUNTED: dict[str, Any] = {"kind": "zipf", "N": 640, "V": 50, "B": 20, "D": 64, "mode": "sum"}
F, I64, I32 = np.float32, np.int64, np.int32


def report_of(case, algorithm, file, *parameters):
    run(case, algorithm)
    return kernel(file, algorithm, *parameters).report


def test_counts_of_atomics():
    case = make_case(**COUNTED)
    N, B, D, w = 640, 20, 64, 4
    indices = case.call.indices
    frequency = np.bincount(indices, minlength=50)
    chunks = indices.reshape(-1, 32)
    joined = sum(len(np.unique(chunk)) for chunk in chunks)
    expected = {  # template parameters, atomics, hits of the hottest address, bytes read
        "add_elements": ((F, F, I64), N * D, frequency.max(), N * D * w),
        "add_rows": ((F, F, I64), N * D, frequency.max(), B * D * w),
        "add_packs": ((F, F, I64, 4), N * D // 4, frequency.max(), B * D * w),
        "add_joined": ((F, F, I64), joined * D, (chunks == 0).any(axis=1).sum(), N * D * w),
    }
    filled = np.count_nonzero(np.diff(case.call.offsets))
    for algorithm, (parameters, atomics, hits, read) in expected.items():
        report = report_of(case, algorithm, "backward", *parameters)
        assert report.total("operations") == atomics
        offset, found_hits = report.hot["grad_weight"]
        assert found_hits == hits
        assert offset < D * w  # row 0 is the hot one
        lines = [line for line in report.lines if line.array == "grad_output"]
        assert sum(line.wanted for line in lines) in (read, read * filled // B)
        writes = [line for line in report.lines if line.kind == "write"]
        assert not writes
    assert expected["add_joined"][1] < N * D / 2 and expected["add_joined"][2] <= N // 32


@pytest.mark.parametrize(
    "dtype, atomic, requests",
    [
        (np.float32, "atomicAdd((float4*)to", 32),
        (ml_dtypes.bfloat16, "atomicAdd((float4*)to", 32),
        (np.float64, "atomicAdd(&to[k]", 4 * 32),
    ],
)
def test_atomics_of_packs_lie_side_by_side(dtype, atomic, requests):
    """A request of all lanes has 512 bytes of sums, or 256 in float64: no sector is touched twice.

    By the kernel that the host takes: 16-bit numbers are loaded eight at a time elsewhere. (Where
    the table begins in the middle of a sector, each request touches one more.)
    """
    case = make_case("uniform", N=32, V=32, B=8, D=128, dtype=dtype, mode="sum")
    with recording() as reports:
        run(case, "add_packs")
    line = next(r for r in reports if "add_packs" in r.launched.kernel).line(atomic)
    assert line.requests == requests
    assert 0 <= line.sectors - 32 * 128 * case.call.accumulator.itemsize // 32 <= requests


def test_the_hot_row_is_seen_in_one_request():
    case = make_case("one", N=64, D=4, B=8, mode="sum")
    report = report_of(case, "add_elements", "backward", F, F, I64)
    atomics = report.line("atomicAdd(&grad_weight", kind="atomic")
    assert atomics.worst == 32 // 4  # eight positions of four features in a warp, all one row
    assert report.hot["grad_weight"][1] == 64
    assert report_of(case, "add_joined", "backward", F, F, I64).hot["grad_weight"][1] == 2


def written(report, array):
    return sum(c.wanted for c in report.lines if c.array == array and c.kind == "write")


def test_counts_of_sorting():
    case = make_case(**COUNTED)
    N, D, w = 640, 64, 4
    keys = np.sort(case.call.indices)
    U = len(np.unique(keys))
    pieces = keys.reshape(-1, 32)
    cut = {a[-1] for a, b in zip(pieces, pieces[1:], strict=False) if a[-1] == b[0]}
    partials = sum(len({*piece} & cut) for piece in pieces)
    report = report_of(case, "run_sums", "segments", F, F, I32)
    assert report.total("operations") == 0 and written(report, "grad_weight") == U * D * w
    filled = sum(  # by one run, from the piece before to the piece after: a tail of zeros, too
        a[-1] == b[0] == b[-1] == c[0]
        for a, b, c in zip(pieces, pieces[1:], pieces[2:], strict=False)
    )
    report = report_of(case, "piece_sums", "segments", F, F, I32)
    join = kernel("segments", "join_pieces", F, F, I32).report
    assert cut and filled and report.total("operations") == join.total("operations") == 0
    assert written(report, "grad_weight") == (U - len(cut)) * D * w
    assert written(report, "partial") == (partials + filled) * D * w
    assert written(join, "grad_weight") == len(cut) * D * w
    assert sum(c.wanted for c in report.lines if c.array == "grad_output") == N * D * w


def test_packs_ask_for_a_quarter_of_the_requests():
    case = make_case("uniform", N=32, V=32, B=8, D=128, mode="sum")
    reads = {}
    for algorithm, parameters in (("run_sums", (F, F, I32)), ("piece_packs", (F, F, F, I32, 4))):
        report = report_of(case, algorithm, "segments", *parameters)
        lines = [line for line in report.lines if line.array == "grad_output"]
        reads[algorithm] = sum(line.requests for line in lines), sum(line.sectors for line in lines)
    assert reads["run_sums"] == (32 * 4, 32 * 16)
    assert reads["piece_packs"] == (32, 32 * 16)


def test_packs_ask_for_a_quarter_of_the_requests_of_a_dot():
    N, D, requests = 32, 128, {}
    case = make_case("uniform", N=N, B=8, D=D, mode="sum", per_sample_weights=True)
    for algorithm, parameters in (("dot_elements", (F, F, I64)), ("dot_packs", (F, F, I64, 4))):
        lines = report_of(case, algorithm, "weights", *parameters).lines
        for array in ("weight", "grad_output"):
            reads = [line for line in lines if line.array == array]
            assert sum(line.sectors for line in reads) == N * D * 4 // 32
            requests[algorithm, array] = sum(line.requests for line in reads)
    assert requests == {
        ("dot_elements", "weight"): 4 * N,
        ("dot_elements", "grad_output"): 4 * N,
        ("dot_packs", "weight"): N,
        ("dot_packs", "grad_output"): N,
    }


# ---- The choice ----------------------------------------------------------------------------------


def test_choice():
    assert backward.choose(make_case(mode="sum").call) == "piece_packs"
    assert backward.choose(make_case(mode="max").call) == "sorted_winners"
    assert backward.choose(make_case(mode="mean", sparse=True).call) == "entry_packs"
    with pytest.raises(
        ValueError, match="algorithm is 'fastest'; there are, in mode mean: add_elem"
    ):
        run(make_case(), "fastest")


def test_run_gives_both_gradients():
    case = make_case("zipf", **OPTIONS["weights"])
    found = gradients(backward, case.call, case.saved, case.grad_output)
    assert_near(case, found.weight)
    assert found.per_sample_weights.shape == case.call.input_shape


def test_pieces_are_as_long_as_the_kernels_say():
    assert f"const int PIECE = {backward.PIECE};" in source("segments")


@pytest.mark.parametrize("kind", ["uniform", "zipf", "one"])
@pytest.mark.parametrize("N", [1, 2, 31, 150, 2048])
def test_few_entries_are_sorted_as_many_are(kind, N):
    """By one block, or by argsort: the same order, so the same bits of everything that follows."""
    case = make_case(kind=kind, N=N, D=2, mode="sum", per_sample_weights=True)
    work = backward.Work(case.call, case.saved, case.grad_output, 256)
    with settings(mode="checked"):
        few = backward.sorted_entries(work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backward, "FEW", 0)
        many = backward.sorted_entries(work)
    for a, b in zip(few, many, strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
    assert (np.diff(few.keys) >= 0).all()
