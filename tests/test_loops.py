"""The loops beyond the table: against torch, against finite differences, on more calls."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import embag_edu
from embag_edu import loops
from embag_edu.check.candidate import Candidate, run
from embag_edu.check.cases import random_calls
from embag_edu.check.compare import difference
from embag_edu.check.oracle import expect, judge
from embag_edu.spec import NOBODY, make_call

LOOPS = Candidate(embag_edu.embedding_bag, embag_edu.embedding_bag_backward, "numpy")
TORCH = Candidate(torch.nn.functional.embedding_bag, None, "torch")
GRIDS = [
    {},
    {"max_norm": True},
    {"sparse": True, "mode": "sum"},
    {"sparse": True, "mode": "mean"},
    {"mode": "max", "ties": True},
    {"mode": "sum", "per_sample_weights": True, "padding_idx": True},
]


@pytest.mark.parametrize("options", GRIDS, ids=str)
@pytest.mark.parametrize("subject", [LOOPS, TORCH], ids=["loops", "torch"])
def test_random_calls_of_the_whole_grid(subject, options):
    """torch is held against the same truth: if the two differ, the loops are in doubt too."""
    parts = ["output", "grad_weight", "table", "inputs", "fresh"]
    for case in random_calls(f"grid {options}", 60, **options):
        arguments = case.make()
        right, outcome = expect(arguments), run(subject, arguments)
        for part in parts + ["grad_psw"] * ("per_sample_weights" in arguments):
            assert not judge(part, right, outcome), (case.name, judge(part, right, outcome))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_gradients_are_finite_differences(mode):
    random = np.random.default_rng(3)
    weight = random.normal(size=(6, 3))
    input, offsets = random.integers(6, size=11), np.array([0, 0, 4, 5])
    options = {"mode": mode, "padding_idx": 2}
    if mode == "sum":
        options["per_sample_weights"] = random.normal(size=11)
    grad_output = random.normal(size=(4, 3))
    found = embag_edu.embedding_bag_backward(grad_output, input, weight, offsets, **options)

    def loss():
        return (embag_edu.embedding_bag(input, weight, offsets, **options) * grad_output).sum()

    check_slope(loss, weight, found.weight)
    if mode == "sum":
        check_slope(loss, options["per_sample_weights"], found.per_sample_weights)


def check_slope(loss, values, gradient, step=1e-6):
    for place in np.ndindex(values.shape):
        kept = values[place]
        values[place] = kept + step
        above = loss()
        values[place] = kept - step
        below = loss()
        values[place] = kept
        assert abs((above - below) / (2 * step) - gradient[place]) <= 1e-7, place


def test_renorm_is_torchs_but_for_the_last_bit_of_the_norm():
    random = np.random.default_rng(5)
    for dtype in (np.float32, np.float64, np.float16):
        weight = random.normal(size=(200, 7)).astype(dtype)
        for p in (2.0, 1.0, np.inf):
            ours, theirs = weight.copy(), torch.from_numpy(weight.copy())
            rows = np.arange(200)
            embag_edu.embedding_bag(rows, ours, np.array([0]), max_norm=1.1, norm_type=p)
            torch.nn.functional.embedding_bag(
                torch.from_numpy(rows), theirs, torch.tensor([0]), max_norm=1.1, norm_type=p
            )
            # The norms are added up in another order, and may differ in their last bit.
            rtol = 3 * float(np.finfo(dtype).eps)
            assert not difference(theirs.numpy(), ours, rtol=rtol), (dtype, p)
            assert ((ours == weight) == (theirs.numpy() == weight)).all(), (dtype, p)


def test_winners_are_rows_and_nobody_where_nobody_won():
    weight = np.array([[1.0, 5.0], [3.0, 2.0], [0.0, 9.0]])
    call = make_call(np.array([2, 0, 1]), weight, np.array([0, 2]), mode="max", padding_idx=1)
    output, saved = loops.forward(call)
    assert saved.winners.tolist() == [[0, 2], [NOBODY] * 2] and saved.bag_sizes is None
    assert output.tolist() == [[1, 9], [0, 0]]
    assert loops.forward(replace(call, mode="mean"))[1].bag_sizes.tolist() == [2, 0]


def test_sixteen_bits_are_rounded_once():
    ones = np.zeros(4097, np.int64)
    weight = np.ones((1, 1), np.float16)
    assert embag_edu.embedding_bag(ones, weight, np.array([0]), mode="sum").item() == 4096
    gradient = embag_edu.embedding_bag_backward(
        np.ones((1, 1), np.float16), ones, weight, np.array([0]), mode="sum"
    )
    assert gradient.weight.item() == 4096  # 4097 rounded, where 16-bit sums stop at 2048


def test_every_function_fits_on_a_page():
    import inspect

    for name, function in inspect.getmembers(loops, inspect.isfunction):
        if function.__module__ == loops.__name__:
            assert len(inspect.getsource(function).splitlines()) <= 25, name


@pytest.mark.parametrize("sparse", [False, True])
def test_a_mean_is_divided_in_the_dtype_of_the_accumulator(sparse):
    """float32 / int64 would be float64, and other bits."""
    weight, grad_output = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    call = make_call(np.zeros((1, 7), int), weight, mode="mean", sparse=sparse)
    gradient = loops.grad_weight(call, loops.forward(call)[1], grad_output)
    third = np.float32(1) / np.float32(7)
    expected = third if sparse else sum([third] * 7, np.float32(0))
    values = gradient.values if sparse else gradient
    assert (values == expected).all()
