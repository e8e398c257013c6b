"""The forward for short bags of one length, which no GPU has timed yet: right, and counted."""

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
