"""Bad indices and offsets on a GPU: what is skipped, when the error comes, and in which words.

The device is a stand-in that fails on any wait. Kernels run checked: one that reads or writes out
of bounds is a fault.
"""

import dataclasses
import threading

import numpy as np
import pytest
from test_cuda_forward import BAD, VERSIONS
from test_cuda_unwaiting import CASES, STAND_IN, B, D, N, V, drawn, moved, results
from test_cuda_unwaiting import unwaiting as unwaiting
from unwaiting import Array, in_numpy, on_device

from embag_edu import cuda, spec
from embag_edu.cuda import findings, launch_backward, launch_forward, launcher
from embag_edu.cuda_on_cpu import device, settings

pytestmark = [
    pytest.mark.skipif(device().kind != "cpu", reason="a device that stands in for a GPU"),
    pytest.mark.usefixtures("unwaiting"),
]
UNWAITING = [case for case in CASES if not {"sparse", "padding_idx"} <= set(case[2])]
GRADIENTS = (
    [name for name in launch_backward.ALGORITHMS if name != "add_pairs"]  # 16 bits; as add_rows
    + [*launch_backward.MAX_ALGORITHMS, "coalesced"]
)
HERE, LARGEST = [3, 77, 140], 2**40 + 5  # bad positions; as 32 bits, LARGEST is row 5


def spoiled(call):
    """The call, moved, with three bad indices; and a good one that skips just these as padding.

    The good one has a table with one more row, or its own padding_idx.
    """
    extra = np.full((1, D), np.nan, np.float32)
    skip = V if call.padding_idx is None else call.padding_idx
    bad, good = call.indices.copy(), call.indices.copy()
    bad[HERE], good[HERE] = [V, -1, LARGEST], skip
    weight = call.weight if skip < V else np.concatenate([call.weight, extra])
    good = dataclasses.replace(call, indices=good, weight=weight, padding_idx=skip)
    return moved(dataclasses.replace(call, indices=bad)), moved(good)


def let_it_wait(monkeypatch):
    """From here on the stand-in tells numbers."""
    for name in ("__int__", "__bool__", "__getitem__", "nonzero"):
        monkeypatch.setattr(Array, name, getattr(np.ndarray, name))
    monkeypatch.setattr(STAND_IN.xp, "sized_by_numbers", ())


def error_of(act, *arguments, **options):
    with pytest.raises((RuntimeError, IndexError)) as raised:
        act(*arguments, **options)
    return raised.value


@pytest.mark.parametrize("mode, weighted, options", UNWAITING)
def test_bad_rows_are_skipped_in_forward_and_backward(monkeypatch, mode, weighted, options):
    """The bits are those of a call in which these positions are padding."""
    call, upstream = drawn(mode, weighted, **options)
    bad, good = spoiled(call)
    upstream[0, 0] = np.inf  # skipped, not multiplied by zero
    with settings(mode="checked"):
        found = results(bad, on_device(upstream), in_numpy)
    let_it_wait(monkeypatch)  # the good call has padding, for the sake of comparison
    with settings(mode="fast"), cuda.checking("trusted"):
        expected = results(good, on_device(upstream), in_numpy)
    if "sparse" in options:  # one entry for each position; those of bad ones are zeros of row 0
        rows, values = found[1], found[2]
        assert rows.shape == (1, N) and not rows[0, HERE].any() and not values[HERE].any()
        kept = np.delete(np.arange(N), HERE)
        found[1], found[2] = rows[:, kept], values[kept]
    else:
        expected[1] = expected[1][:V]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes()
    assert "position 3 " in str(error_of(cuda.check_now))


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_skips_bad_rows_and_bad_offsets(version, mode):
    call, _ = drawn(mode, False)
    bad, good = spoiled(call)
    lost = dataclasses.replace(bad, offsets=on_device(call.offsets[::-1].copy()))

    def summed(call):
        work = launch_forward.Work(findings.checked(call))
        output, sizes = launch_forward.sum_bags(work, version, **VERSIONS[version])
        return in_numpy(output), None if sizes is None else in_numpy(sizes)

    with settings(mode="checked"):
        (output, sizes), (nothing, none) = summed(bad), summed(lost)
        with cuda.checking("trusted"):
            expected, counted = summed(good)
    assert output.tobytes() == expected.tobytes() and not nothing.any()
    if mode == "mean":
        assert sizes.tolist() == counted.tolist() and not none.any()
        assert sizes.sum() == N - len(HERE)
    error_of(cuda.check_now)


@pytest.mark.parametrize("algorithm", GRADIENTS)
def test_every_algorithm_skips_bad_rows_and_bad_offsets(algorithm, monkeypatch):
    """Also those that wait: the same bits as with padding there, but for the order of atomics."""
    let_it_wait(monkeypatch)
    mode = "max" if algorithm in launch_backward.MAX_ALGORITHMS else "mean"
    call, upstream = drawn(mode, False, sparse=algorithm == "coalesced")
    bad, good = spoiled(call)
    lost = dataclasses.replace(bad, offsets=on_device(call.offsets[::-1].copy()))

    def gradient(call):
        _, saved = launch_forward.forward(call)
        found = launch_backward.grad_weight(call, saved, on_device(upstream), algorithm)
        return in_numpy(found.values if call.sparse else found)

    with settings(mode="checked"):
        found, nothing = gradient(bad), gradient(lost)
        with cuda.checking("trusted"):
            expected = gradient(good)
    assert not nothing.any()
    np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-6, atol=1e-6)
    findings._findings.clear()


@pytest.mark.parametrize("case", BAD)
def test_the_error_comes_with_a_later_call_in_the_same_words(case):
    input, starts = map(np.array, BAD[case])
    weight = np.zeros((9, 2), np.float32)
    expected = error_of(spec.make_call, input, weight, starts)
    call, _ = drawn("sum", False)
    bad = moved(call_of(input, weight, starts))
    with settings(mode="fast"):
        cuda.forward(bad)
        bad.indices[...] = 0  # what is told is what was there
        cuda.forward(moved(call))  # nobody knows yet, and nobody waits
        STAND_IN.arrive()
        raised = error_of(cuda.forward, moved(call))
        cuda.forward(moved(call))  # told once
    assert type(raised) is type(expected) and str(raised) == str(expected)
    assert "an earlier call" in raised.__notes__[0] and "skipped" in raised.__notes__[0]
    cuda.check_now()


def call_of(input, weight, starts, **others):
    """A call that nobody has looked at."""
    good = spec.make_call(input[:0], weight, np.array([0]), mode="sum", **others)
    offsets = np.append(starts, len(input)).astype(np.int64)
    return dataclasses.replace(good, indices=input, offsets=offsets, input_shape=input.shape)


@pytest.mark.parametrize("end", [3, 5])
def test_a_wrong_end_and_no_bag(end):
    input, weight = np.array([0, 1, 2, 3]), np.zeros((9, 2), np.float32)
    given = input, weight, np.array([0, 2, end])
    expected = error_of(spec.make_call, *given, include_last_offset=True)
    bad = call_of(input, weight, np.array([0, 2]))
    bad.offsets[-1] = end
    with settings(mode="checked"):
        assert not in_numpy(cuda.forward(moved(bad))[0]).any()
        assert str(error_of(cuda.check_now)) == str(expected)
        empty = moved(call_of(input[:0], weight, np.array([], np.int64)))
        assert cuda.forward(empty)[0].shape == (0, 2)
    cuda.check_now()


def test_max_norm_rescales_no_bad_row_and_has_its_own_error():
    for bad_row, kind in ((9, IndexError), (-10, IndexError), (-1, RuntimeError)):
        weight = np.arange(18, dtype=np.float32).reshape(9, 2)
        input, starts = np.array([0, 8, bad_row]), np.array([0, 2])
        expected = error_of(spec.make_call, input, weight.copy(), starts, max_norm=1.0)
        for padding_idx in (None, 3):
            others = {"max_norm": 1.0, "padding_idx": padding_idx}
            bad = moved(call_of(input, weight, starts, **others))
            with settings(mode="checked"):
                cuda.forward(bad)
            changed = (in_numpy(bad.weight) != weight).any(1)
            assert np.flatnonzero(changed).tolist() == [8]  # not row 3, which does not occur
            raised = error_of(cuda.check_now)
            assert type(raised) is kind is type(expected) and str(raised) == str(expected)


def test_what_is_computed_in_between_goes_on_and_one_error_tells_of_all():
    call, upstream = drawn("sum", False)
    bad, _ = spoiled(call)
    with settings(mode="fast"):
        for _ in range(3):
            _, saved = cuda.forward(bad)
            cuda.grad_weight(bad, saved, on_device(upstream))
        raised = error_of(cuda.check_now)
        assert "in others after it" in raised.__notes__[0]
        cuda.check_now()
        cuda.forward(moved(call))
    cuda.check_now()


def test_the_modes(monkeypatch):
    call, _ = drawn("sum", False)
    bad, _ = spoiled(call)
    with pytest.raises(ValueError, match="mode is 'never'; valid: 'wait', 'later', 'trusted'"):
        with cuda.checking("never"):
            pass
    with settings(mode="fast"):
        with cuda.checking("trusted"):
            cuda.forward(moved(call))
            with cuda.checking("later"):
                cuda.forward(bad)
            cuda.forward(moved(call))
        assert len(findings._findings) == 1
        error_of(cuda.check_now)
        monkeypatch.setattr(STAND_IN, "asnumpy", in_numpy)
        with cuda.checking("wait"):
            raised = error_of(cuda.forward, bad)
            cuda.forward(moved(call))
    assert "position 3 " in str(raised) and not hasattr(raised, "__notes__")
    assert not findings._findings


def test_a_finding_is_told_once_whatever_the_thread():
    """One list for all threads, streams and devices: who calls next is told, and nobody twice."""
    call, _ = drawn("sum", False)
    bad, _ = spoiled(call)
    told, begin = [], threading.Barrier(8)

    def next_call():
        begin.wait()
        try:
            findings.raise_found()
        except RuntimeError as error:
            told.append(error)

    with settings(mode="fast"):
        other = threading.Thread(target=cuda.forward, args=(bad,))
        other.start()
        other.join()
    STAND_IN.arrive()
    threads = [threading.Thread(target=next_call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1


def test_a_later_call_may_be_done_first():
    """On another stream; on the same one while the host looks from the first to the second."""
    call, _ = drawn("sum", False)
    bad, _ = spoiled(call)
    with settings(mode="fast"):
        cuda.forward(moved(call))
        cuda.forward(bad)
        first, second = findings._findings
        second.arrived.done = True
        cuda.forward(moved(call))
        first.arrived.done = True
        raised = error_of(cuda.forward, moved(call))
    assert "position 3 " in str(raised) and len(findings._findings) == 1


def test_in_a_graph_rows_are_skipped_and_nobody_is_told():
    call, _ = drawn("sum", False)
    bad, good = spoiled(call)
    with settings(mode="fast"):
        cuda.forward(bad)
        error_of(cuda.check_now)
        with STAND_IN.capture():
            output, _ = cuda.forward(bad)
        with cuda.checking("trusted"):
            expected = cuda.forward(good)[0]
    assert in_numpy(output).tobytes() == in_numpy(expected).tobytes()
    assert not findings._findings


def test_good_input_costs_the_check_and_nothing_else(monkeypatch):
    """Requests and sectors of all other kernels are those of a trusted call, array by array."""
    counts = {}
    for how in ("trusted", "later"):
        call, upstream = drawn("mean", False)
        with monkeypatch.context() as patch, cuda.checking(how):
            patch.undo()
            patch.setattr(findings, "on_host", lambda array: False)
            with launcher.recording() as reports:
                output, saved = launch_forward.forward(call)
                launch_backward.grad_weight(call, saved, upstream)
        names = {"rows": "indices", "starts": "offsets"}
        counts[how] = [
            sorted((names.get(c.array, c.array), c.kind, c.requests, c.sectors) for c in r.lines)
            for r in reports
            if r.launched.kernel.split("<")[0] not in ("check_input", "skip_bad")
        ]
        launched = [r.launched.kernel.split("<")[0] for r in reports]
        assert launched.count("skip_bad") == launched.count("check_input") == (how == "later")
    assert counts["later"] == counts["trusted"] and B < N
    cuda.check_now()
