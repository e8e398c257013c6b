"""The arguments: each refusal in torch's order, with torch's type and words, and more help."""

import re

import numpy as np
import pytest
import torch

import embag_edu
from embag_edu.check.refusals import REFUSALS
from embag_edu.spec import Call, NotAnArray, make_call

W = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS, STARTS, PSW = np.array([0, 1, 2]), np.array([0, 2]), np.ones(3, np.float32)
PLANE = np.array([[0, 1], [2, 3]])


def bad(**changes):
    """A good call with some arguments changed; None leaves an optional one out."""
    arguments = {"input": IDS, "weight": W, "offsets": STARTS, "mode": "sum"} | changes
    return {name: value for name, value in arguments.items() if value is not None}


def on_torch(arguments):
    tensors = {
        name: torch.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v
        for name, v in arguments.items()
    }
    return torch.nn.functional.embedding_bag(**tensors)


REFUSED = [(refusal, case) for refusal in REFUSALS for case in refusal.calls]


@pytest.mark.parametrize("refusal, case", REFUSED, ids=lambda v: getattr(v, "name", v))
def test_refusals_have_torchs_type_and_words_and_a_mend(refusal, case):
    error, either = refusal.error, (refusal.words, refusal.or_words or refusal.words)
    if refusal.torch_takes_it:
        on_torch(refusal.arguments(case))
    else:
        with pytest.raises(error, match="|".join(map(re.escape, either))) as torchs:
            on_torch(refusal.arguments(case))
        assert type(torchs.value) is error
    with pytest.raises(error, match=re.escape(refusal.words)) as ours:
        embag_edu.embedding_bag(**refusal.arguments(case))
    assert type(ours.value) in (error, NotAnArray)
    assert "To mend it: " in str(ours.value)


# Where a call has two faults, torch reports the first of this order; so do we.
FAULTS_IN_ORDER = [
    {"per_sample_weights": PSW[:2]},
    {"weight": W[0]},
    {"offsets": STARTS[None]},
    {"mode": "Sum"},
    {"input": np.array([0, 1, 9]), "max_norm": 1.0},
    {"mode": "mean", "per_sample_weights": PSW},
    {"padding_idx": 9},
    {"offsets": STARTS.astype(np.float32)},
    {"weight": W.astype(np.int64)[:, ::-1].astype(np.int32)},
    {"offsets": np.array([1, 2])},
    {"offsets": np.array([0, 9])},
    {"per_sample_weights": PSW.astype(np.float64)},
    {"input": np.array([0, 1, 9])},
]


def test_the_order_of_the_checks_is_torchs():
    tried = 0
    for number, first in enumerate(FAULTS_IN_ORDER):
        for second in FAULTS_IN_ORDER[number + 1 :]:
            if first.keys() & second.keys():
                continue
            arguments = bad(**first, **second)
            with pytest.raises(Exception) as torchs:
                on_torch(arguments)
            with pytest.raises(Exception) as ours:
                make_call(**arguments)
            assert type(ours.value) is type(torchs.value), (first, second)
            assert str(ours.value)[:25] == str(torchs.value)[:25], (first, second)
            tried += 1
    assert tried >= 45


def test_a_refused_call_changes_nothing():
    weight = W.copy()
    for arguments in (
        bad(weight=weight, max_norm=1.0, input=np.array([3, -1, 0])),
        bad(weight=weight, max_norm=1.0, mode="mean", per_sample_weights=PSW),
        bad(weight=weight, max_norm=1.0, offsets=np.array([0, 2, 1])),
    ):
        with pytest.raises((RuntimeError, NotImplementedError)):
            embag_edu.embedding_bag(**arguments)
        assert np.array_equal(weight, W)


def test_messages_name_value_and_range():
    with pytest.raises(RuntimeError, match=r"position 1 of input must be .* \[0, 4\)"):
        make_call(np.array([0, -1, 2]), W, STARTS)
    with pytest.raises(TypeError, match="weight must be a NumPy array, not a Tensor"):
        make_call(IDS, torch.zeros(4, 3), STARTS)
    with pytest.raises(AttributeError, match="object has no attribute 'dim'"):
        make_call([0, 1], W, STARTS)  # type: ignore[arg-type]


def test_the_backward_is_checked_too():
    with pytest.raises(
        RuntimeError, match=r"Mismatch in shape: grad_output has a shape of \(3, 3\)"
    ):
        embag_edu.embedding_bag_backward(np.zeros((3, 3), np.float32), IDS, W, STARTS)
    with pytest.raises(RuntimeError, match="grad_output has dtype float64"):
        embag_edu.embedding_bag_backward(np.zeros((2, 3)), IDS, W, STARTS)
    with pytest.raises(TypeError, match="grad_output must be a NumPy array"):
        embag_edu.embedding_bag_backward([[0.0] * 3] * 2, IDS, W, STARTS)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not supported with sparse gradients"):
        embag_edu.embedding_bag_backward(
            np.zeros((2, 3), np.float32),
            IDS,
            W,
            STARTS,
            mode="sum",
            sparse=True,
            scale_grad_by_freq=True,
        )


def test_unknown_implementations_are_named():
    with pytest.raises(ValueError, match="implementation must be one of loops, vectorized"):
        embag_edu.embedding_bag(IDS, W, STARTS, implementation="loop")


# ---- the checked form -----------------------------------------------------------------------


def ends(call: Call):
    return call.offsets.tolist()


def test_every_form_of_bags_becomes_offsets_with_their_end():
    assert ends(make_call(IDS, W, STARTS)) == [0, 2, 3]
    assert ends(make_call(IDS, W, np.array([0, 3]))) == [0, 3, 3]
    assert ends(make_call(IDS, W, np.array([0, 2, 3]), include_last_offset=True)) == [0, 2, 3]
    assert ends(make_call(PLANE, W)) == [0, 2, 4]
    assert ends(make_call(PLANE, W, include_last_offset=True)) == [0, 2, 4]
    assert ends(make_call(PLANE[:0], W)) == [0]
    assert ends(make_call(IDS[:0], W, IDS[:0])) == [0]


def test_the_call_keeps_the_callers_weight():
    assert make_call(IDS, W, STARTS).weight is W


def test_padding_is_counted_from_the_front():
    assert make_call(IDS, W, STARTS, padding_idx=-1).padding_idx == 3
    assert make_call(IDS, W, STARTS, padding_idx=0).padding_idx == 0
    assert make_call(IDS, W, STARTS).padding_idx is None


def test_the_old_order_is_taken_with_torchs_warning():
    with pytest.warns(UserWarning, match="Argument order of nn.functional.embedding_bag was"):
        swapped = embag_edu.embedding_bag(W, PLANE, mode="sum")
    assert np.array_equal(swapped, embag_edu.embedding_bag(PLANE, W, mode="sum"))


def test_accumulators():
    for name, accumulator in [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ]:
        assert make_call(IDS, W.astype(name), STARTS).accumulator == accumulator
