"""The sort of cuda-cccl in the backward, without a GPU: a stand-in takes its place."""

import types

import numpy as np
import pytest

from embag_edu import cuda, spec
from embag_edu.cuda import launch_backward, launcher, sorting
from embag_edu.cuda_on_cpu import Device, settings

STREAM = object()


class Numpy:
    """numpy, with the one name of CuPy that the sort asks for."""

    cuda = types.SimpleNamespace(get_current_stream=lambda: STREAM)

    def __getattr__(self, name):
        return getattr(np, name)


class StandsForGpu(Device):
    kind = "cuda"

    def __init__(self):
        super().__init__("stands for a GPU")
        self.xp = Numpy()


class Library:
    """cuda.compute, as far as it is used; the parameters are those of versions 1.0 to 1.2."""

    SortOrder = types.SimpleNamespace(ASCENDING="ascending")

    def __init__(self):
        self.calls = []

    def radix_sort(
        self,
        *,
        d_in_keys,
        d_out_keys,
        d_in_values=None,
        d_out_values=None,
        num_items,
        order,
        begin_bit=None,
        end_bit=None,
        stream=None,
    ):
        assert order == "ascending" and begin_bit == 0 and stream is STREAM
        assert {array.dtype.name for array in (d_in_values, d_out_values)} == {"int32"}
        assert d_in_keys.dtype.name == d_out_keys.dtype.name == "uint32"  # -1 comes last
        digits = d_in_keys.astype(np.int64) & (1 << end_bit) - 1
        places = np.argsort(digits, kind="stable")[:num_items]
        d_out_keys[...], d_out_values[...] = d_in_keys[places], d_in_values[places]
        self.calls.append((num_items, end_bit))


@pytest.fixture
def library(monkeypatch):
    gpu, stands = StandsForGpu(), Library()
    monkeypatch.setattr(launcher, "device_of_this_machine", lambda: gpu)
    monkeypatch.setattr(sorting, "library", lambda: stands)
    monkeypatch.setattr(launch_backward, "FEW", 0)  # all are many
    with settings(mode="fast"):
        yield stands


def call_of(mode="sum", V=40, **options):
    random = np.random.default_rng(3)
    weight = random.standard_normal((V, 5)).astype(np.float32)
    indices, offsets = random.integers(0, V, 3000), np.arange(0, 3000, 60)
    indices[:2] = V - 1, 0  # both ends of the table
    return spec.make_call(indices, weight, offsets, mode=mode, **options)


@pytest.mark.parametrize(
    "mode, options, end_bit",
    [
        ("sum", {}, 6),  # V = 40; as 6 bits, -1 is 63
        ("mean", {"padding_idx": 3}, 6),
        ("sum", {"padding_idx": 3, "scale_grad_by_freq": True}, 6),
        ("max", {}, 8),  # V * D = 200
    ],
)
def test_the_gradient_has_the_same_bits(library, monkeypatch, mode, options, end_bit):
    call = call_of(mode, **options)
    upstream = np.random.default_rng(4).standard_normal((50, 5)).astype(np.float32)
    saved = saved_of(call)
    found = launch_backward.grad_weight(call, saved, upstream)
    assert library.calls == [(250 if mode == "max" else 3000, end_bit)]
    monkeypatch.setattr(sorting, "library", lambda: None)
    expected = launch_backward.grad_weight(call, saved, upstream)
    assert found.tobytes() == expected.tobytes() and found.any()


def saved_of(call):
    with cuda.checking("trusted"):
        return cuda.forward(call)[1]


def test_keys_of_64_bits_and_the_processor_sort_as_before(library, monkeypatch):
    keys = np.array([3, 1, 3, 0], np.int64)
    assert sorting.order_of(keys, 3)[0].tolist() == [3, 1, 0, 2] and not library.calls
    monkeypatch.setattr(launcher, "device_of_this_machine", lambda: Device("the processor"))
    order, in_order = sorting.order_of(keys.astype(np.int32), 3)
    assert order.tolist() == [3, 1, 0, 2] and in_order is None and not library.calls


@pytest.mark.parametrize("end, bits", [(0, 1), (1, 1), (2, 2), (255, 8), (256, 9), (None, 32)])
def test_bits_in_use(end, bits):
    assert sorting.bits_of(end) == bits
