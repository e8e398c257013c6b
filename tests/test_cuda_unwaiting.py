"""Nothing waits: forward and backward of every mode and option, on a device that allows no wait."""

import dataclasses
import itertools

import numpy as np
import pytest
from unwaiting import NotCaptured, Unwaiting, Waited, in_numpy, on_device, on_host

from embag_edu import cuda, spec
from embag_edu.cuda import findings, launch_backward, launch_forward, launcher
from embag_edu.cuda_on_cpu import device, settings

pytestmark = pytest.mark.skipif(device().kind != "cpu", reason="a device that stands in for a GPU")

V, D, N, B = 40, 12, 150, 17
HOW = [("sum", False), ("sum", True), ("mean", False), ("max", False)]  # mode, weighted?
PADDED, BY_FREQUENCY, SPARSE = {"padding_idx": 1}, {"scale_grad_by_freq": True}, {"sparse": True}
OPTIONS = [
    {**padding, **other}
    for padding, other in itertools.product(({}, PADDED), ({}, BY_FREQUENCY, SPARSE))
]


STAND_IN = Unwaiting()  # one for all tests: kernels are looked up by device


@pytest.fixture
def unwaiting(monkeypatch):
    monkeypatch.setattr(launcher, "device_of_this_machine", lambda: STAND_IN)
    for module in (launcher, findings):
        monkeypatch.setattr(module, "on_host", on_host)
    yield
    findings._findings.clear()


def drawn(mode, weighted, max_norm=None, **options):
    """A call and an upstream gradient, both of NumPy. Bags of all sizes, some of padding alone."""
    random = np.random.default_rng(3)
    indices, offsets = random.integers(0, V, N), np.sort(random.integers(0, N, B))
    indices[: offsets[2]], offsets[0] = 1, 0
    call = spec.make_call(
        indices,
        random.standard_normal((V, D)).astype(np.float32),
        offsets,
        mode=mode,
        max_norm=max_norm,
        per_sample_weights=random.standard_normal(N).astype(np.float32) if weighted else None,
        **options,
    )
    return call, random.standard_normal((B, D)).astype(np.float32)


def moved(call):
    """The call with its arrays on the device."""
    arrays = {k: v.copy() for k, v in vars(call).items() if isinstance(v, np.ndarray)}
    return dataclasses.replace(call, **{k: on_device(v) for k, v in arrays.items()})


def results(call, upstream, read=lambda array: array):
    """Output and gradients, as a list of arrays of NumPy, each by `read`."""
    output, saved = launch_forward.forward(call)
    found = launch_backward.grad_weight(call, saved, upstream)
    arrays = [output, *((found.indices, found.values) if call.sparse else (found,))]
    if call.per_sample_weights is not None:
        arrays.append(launch_backward.grad_per_sample_weights(call, saved, upstream))
    return [read(array) for array in arrays]


def allowed(mode, weighted, options):
    """Whether the call is one: max knows no sparse gradient and no weights or frequencies."""
    return mode != "max" or not {"sparse", "scale_grad_by_freq"} & set(options)


CASES = [(*how, options) for how in HOW for options in OPTIONS if allowed(*how, options)]


@pytest.mark.parametrize("mode, weighted, options", CASES)
@pytest.mark.parametrize("few", [launch_backward.FEW, 0])
@pytest.mark.parametrize("how", ["later", "trusted"])
def test_no_mode_or_option_waits(unwaiting, monkeypatch, how, mode, weighted, options, few):
    monkeypatch.setattr(launch_backward, "FEW", few)  # 0: many entries, which argsort puts in order
    call, upstream = drawn(mode, weighted, **options)
    given = moved(call), on_device(upstream)
    with settings(mode="fast"), cuda.checking(how):
        if "sparse" in options and "padding_idx" in options:
            with pytest.raises(Waited, match=r"xp\.flatnonzero"):  # for the shape of the result
                results(*given)
            return
        found = results(*given, in_numpy)
    monkeypatch.undo()
    with settings(mode="fast"):
        expected = results(call, upstream)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes()


DENSE = [case for case in CASES if "sparse" not in case[2]]


@pytest.mark.parametrize("mode, weighted, options", DENSE)
def test_forward_and_dense_backward_can_be_captured(unwaiting, mode, weighted, options):
    call, upstream = drawn(mode, weighted, max_norm=0.5, **options)
    with settings(mode="fast"), cuda.checking("trusted"):
        expected = results(moved(call), on_device(upstream), in_numpy)  # kernels are loaded
        given = moved(call), on_device(upstream)
        with STAND_IN.capture():
            found = results(*given)
    for one, other in zip(map(in_numpy, found), expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_stand_in_sees_what_a_graph_can_not_hold(unwaiting, monkeypatch):
    call, upstream = drawn("sum", False)
    given = moved(call), on_device(upstream)
    with settings(mode="fast"), cuda.checking("trusted"):
        results(*given)
        with STAND_IN.capture():
            with pytest.raises(NotCaptured, match="the host's memory"):
                results(given[0], upstream)
            with pytest.raises(NotCaptured, match="a kernel is compiled"):
                launcher.kernel("forward", "bag_sum_1", np.float32, np.int32, "MEAN", True)
            monkeypatch.setattr(launch_backward, "FEW", 0)  # as for many entries
            with pytest.raises(NotCaptured, match=r"xp\.argsort") as raised:
                results(*given)
    assert (
        "positions (150)" in raised.value.__notes__[0] and "add_packs" in raised.value.__notes__[0]
    )


def test_what_the_advice_names_can_be_captured(unwaiting, monkeypatch):
    """Of a backward of many positions: atomics, which sort nothing."""
    call, upstream = drawn("mean", False, padding_idx=1)
    given = moved(call), on_device(upstream)
    monkeypatch.setattr(launch_backward, "FEW", 0)
    with settings(mode="fast", cores=1), cuda.checking("trusted"):
        _, saved = cuda.forward(given[0])
        expected = cuda.grad_weight(given[0], saved, given[1], "add_packs")
        with STAND_IN.capture():
            found = cuda.grad_weight(given[0], saved, given[1], "add_packs")
    np.testing.assert_allclose(in_numpy(found), in_numpy(expected), rtol=1e-5, atol=1e-5)


def test_max_norm_does_not_wait(unwaiting):
    call, _ = drawn("sum", False, max_norm=0.5)
    given = moved(call)
    with settings(mode="fast"), cuda.checking("trusted"):
        launch_forward.forward(given)
    assert not np.array_equal(in_numpy(given.weight), call.weight)


def test_a_call_looks_up_its_device_once(monkeypatch):
    """And the next call does so again, even after an error: EMBAG_DEVICE may have changed."""
    found, here = [], device()
    monkeypatch.setattr(launcher, "device_of_this_machine", lambda: found.append(1) or here)
    call, upstream = drawn("sum", True)
    with settings(mode="fast"):
        _, saved = launch_forward.forward(call)
        assert len(found) == 1
        launch_backward.grad_weight(call, saved, upstream)
        assert len(found) == 2
        launch_backward.grad_per_sample_weights(call, saved, upstream)
        assert len(found) == 3
        with pytest.raises(ValueError, match="algorithm is 'none'"):
            launch_backward.grad_weight(call, saved, upstream, "none")
    assert launcher.device() is here and len(found) == 5


def test_the_stand_in_sees_a_wait(unwaiting):
    call, upstream = drawn("mean", False, padding_idx=1)
    given = moved(call)
    with settings(mode="fast"):
        with cuda.checking("wait"), pytest.raises(Waited):  # the check of indices
            launch_forward.forward(given)
        with cuda.checking("trusted"):
            _, saved = launch_forward.forward(given)
            for algorithm in ("run_sums", "piece_sums", "coalesced"):
                with pytest.raises(Waited):
                    launch_backward.grad_weight(given, saved, on_device(upstream), algorithm)
    array = on_device(np.arange(3))
    for ask in (lambda: bool(array[0]), lambda: int(array.sum()), lambda: array[array > 1]):
        with pytest.raises(Waited):
            ask()
    assert len(array) == 3 and in_numpy(array[1:]).tolist() == [1, 2]


# ---- plans ----------------------------------------------------------------------------------


def test_a_plan_is_made_once_for_calls_of_one_form(monkeypatch):
    """And holds no array: the next call has others. The place of a table is part of the form."""
    launch_forward.sum_plan.cache_clear()
    call, _ = drawn("mean", False, padding_idx=1)
    other, off = call.weight * 2, np.zeros(V * D + 1, np.float32)[1:].reshape(V, D)
    with settings(mode="fast"):
        once, _ = launch_forward.forward(call)
        twice, _ = launch_forward.forward(dataclasses.replace(call, weight=other))
        assert launch_forward.sum_plan.cache_info()[:2] == (1, 1)  # hits, misses
        np.testing.assert_array_equal(twice, 2 * once)
        off[...] = call.weight
        moved_by_four_bytes, _ = launch_forward.forward(dataclasses.replace(call, weight=off))
    assert launch_forward.sum_plan.cache_info()[:2] == (1, 2)
    np.testing.assert_allclose(moved_by_four_bytes, once, rtol=1e-6)


def test_arguments_go_by_the_names_of_the_source():
    """In the kernel's order; one that is missing is named, one that it has not is left out."""
    step = launcher.prepared("weights", "dot_elements", (np.float32, np.float32, np.int32), 32)
    names = ("grad_output", "weight", "indices", "bags", "grad", "N", "D", "padding_idx")
    assert step.pick({name: name for name in (*names, "B")}) == names
    with pytest.raises(KeyError, match="grad_output"):
        launcher.Plan((step,), {"N": 1}).run(weight=None)
