"""Forwards that no GPU has timed yet, for short bags and by other copies: right, and counted."""

import numpy as np
import pytest

from embag_edu.cuda import launch_forward
from embag_edu.cuda.counting import count_sum
from embag_edu.cuda_on_cpu import device
from embag_edu.spec import make_call

pytestmark = pytest.mark.skipif(device().kind != "cpu", reason="launches are counted on the CPU")


def call_of(L, B, D=128, dtype="float32", mode="sum", weighted=False, padding_idx=None):
    random = np.random.default_rng(L)
    weight = random.normal(size=(50, D)).astype(dtype)
    psw = random.normal(size=(B, L)).astype(dtype) if weighted else None
    indices = random.integers(0, 50, (B, L))
    return make_call(indices, weight, mode=mode, per_sample_weights=psw, padding_idx=padding_idx)


@pytest.mark.parametrize(
    "L, B, options",
    [
        (1, 64, {}),
        (3, 61, {"dtype": "float16", "mode": "mean", "padding_idx": 3}),  # bags end within a batch
        (7, 13, {"D": 33, "weighted": True, "padding_idx": 5}),
        (40, 3, {"D": 16}),  # more indices than lanes
    ],
)
def test_the_bits_are_those_of_version_2_in_any_order(L, B, options):
    call = call_of(L, B, **options)
    expected = count_sum(call, 2)
    for order in (0, 3):
        assert count_sum(call, "short", order).result.tobytes() == expected.result.tobytes()
    work = launch_forward.Work(call)
    sizes = [launch_forward.sum_bags(work, version)[1] for version in (2, "short")]
    assert call.mode != "mean" or sizes[0].tolist() == sizes[1].tolist() != [L] * B


@pytest.mark.parametrize("L, bags", [(1, 8), (4, 2)])
def test_no_offsets_and_one_request_for_the_indices_of_several_bags(L, bags):
    call, B = call_of(L, 64), 64
    short, eight = count_sum(call, "short"), count_sum(call, 8)
    assert short.total("requests", "offsets") == 0 < eight.total("requests", "offsets") == 2 * B
    assert short.total("requests", "indices") == B // bags
    assert short.total("requests", "weight") == B * L == eight.total("requests", "weight")
    assert short.total("requests") == B * L + B + B // bags
    assert short.total("sectors") < eight.total("sectors")


def test_it_is_refused_without_a_length_and_never_chosen():
    flat = make_call(np.arange(6), np.ones((6, 4), np.float32), np.array([0, 2]), mode="sum")
    with pytest.raises(ValueError, match=r"input has the shape \(6,\); valid: \(B, L\)"):
        launch_forward.sum_bags(launch_forward.Work(flat), "short")
    assert launch_forward.choose(call_of(1, 64)).version in launch_forward.VERSIONS
    text = (launch_forward.__file__).replace("launch_forward.py", "forward.cu")
    with open(text, encoding="utf-8") as file:
        assert f"constexpr int LOADS = {launch_forward.LOADS};" in file.read()


# ---- by copies of 8 bytes, and of whole rows -----------------------------------------------------


def ragged(D, dtype, mode="sum", longest=40, bags=9):
    """Bags of all lengths, none and many, of which some are cut into pieces of 16."""
    random = np.random.default_rng(D)
    lengths = np.r_[0, 1, 8, 9, random.integers(0, longest, bags)]
    offsets = np.append(0, np.cumsum(lengths))
    weight = random.normal(size=(50, D)).astype(dtype)
    indices = random.integers(0, 50, offsets[-1])
    return make_call(indices, weight, offsets, mode=mode, include_last_offset=True)


@pytest.mark.parametrize(
    "version, D, dtype, mode",
    [
        ("bulk", 128, "float32", "sum"),
        ("bulk", 300, "float32", "mean"),  # three tiles, the last of 44 features
        ("bulk", 8, "float16", "mean"),
        ("bulk", 2, "float64", "sum"),
        ("8 bytes", 128, "float32", "sum"),
        ("8 bytes", 33, "float16", "mean"),
        ("8 bytes", 5, "float64", "sum"),
    ],
)
@pytest.mark.parametrize("piece", [0, 16])
def test_other_copies_give_the_bits_of_version_8(version, D, dtype, mode, piece):
    call = ragged(D, dtype, mode)
    expected = count_sum(call, 8, piece=piece)
    for order in (0, 3):
        found = count_sum(call, version, order, piece=piece)
        assert found.result.tobytes() == expected.result.tobytes()
    work = launch_forward.Work(call)
    sizes = [launch_forward.sum_bags(work, one, piece=piece)[1] for one in (8, version)]
    assert call.mode != "mean" or sizes[0].tolist() == sizes[1].tolist()


def test_a_bulk_copy_asks_for_a_row_with_one_lane():
    """On the processor, where lane 0 reads it by 16 bytes: as many bytes as version 8."""
    call = ragged(128, "float32")
    N, bulk, eight = call.num_positions, count_sum(call, "bulk"), count_sum(call, 8)
    assert bulk.total("wanted", "weight") == eight.total("wanted", "weight") == 512 * N
    assert bulk.total("requests", "weight") == 32 * N == 32 * eight.total("requests", "weight")


def test_bulk_copies_are_refused_where_they_can_not_be():
    valid = "valid: a sum or mean without weights and padding, of rows that are multiples of 16"
    for options in ({"D": 33}, {"weighted": True}, {"padding_idx": 3}):
        work = launch_forward.Work(call_of(4, 8, **options))
        with pytest.raises(ValueError, match=valid):
            launch_forward.sum_bags(work, "bulk")
