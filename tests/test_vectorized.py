"""The vectorized bag beyond the table: pieces of every size, memory, and what a page holds."""

import inspect
import tracemalloc

import numpy as np
import pytest

import embag_edu
from embag_edu import loops, vectorized
from embag_edu.check.candidate import Candidate, run
from embag_edu.check.cases import random_calls
from embag_edu.check.oracle import expect, judge
from embag_edu.spec import make_call


def with_vectorized(function):
    return lambda *words, **options: function(*words, implementation="vectorized", **options)


VECTORIZED = Candidate(
    with_vectorized(embag_edu.embedding_bag),
    with_vectorized(embag_edu.embedding_bag_backward),
    "numpy",
)
GRIDS = [
    {},
    {"max_norm": True},
    {"sparse": True, "mode": "sum"},
    {"sparse": True, "mode": "mean"},
    {"mode": "max", "ties": True},
    {"mode": "max", "padding_idx": True},
    {"mode": "mean", "padding_idx": True},
    {"mode": "sum", "per_sample_weights": True, "padding_idx": True},
]


@pytest.mark.parametrize("block_bytes", [0, 700, 5000, vectorized.BLOCK_BYTES])
@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_random_calls_in_pieces_of_every_size(options, block_bytes, monkeypatch):
    """Pieces of one position, of a few, of some bags: the cuts fall everywhere."""
    monkeypatch.setattr(vectorized, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(vectorized, "CACHED_BYTES", block_bytes)  # with and without the sort
    parts = ["output", "grad_weight", "table", "inputs", "fresh"]
    for case in random_calls(f"pieces {options}", 40, **options):
        arguments = case.make()
        right, outcome = expect(arguments), run(VECTORIZED, arguments)
        for part in parts + ["grad_psw"] * ("per_sample_weights" in arguments):
            assert not judge(part, right, outcome), (case.name, judge(part, right, outcome))


@pytest.mark.parametrize("per_piece", [1, 2, 3, 100])
def test_a_maximum_that_is_cut_into_pieces(per_piece, monkeypatch):
    """NaN first, NaN at the start of a later piece, -inf, ties across pieces, padding first."""
    nan, inf = np.nan, np.inf
    weight = np.array([[nan], [-inf], [1.0], [1.0], [5.0], [inf]])
    bags = [[0, 4, 5], [1, 0, 0], [2, 3, 0, 4, 4], [], [5, 5, 0], [1, 1], [3, 2], [0, 0], [2, 0, 3]]
    input = np.concatenate(bags).astype(int)
    offsets = np.cumsum([0] + [len(bag) for bag in bags])[:-1]
    monkeypatch.setattr(vectorized, "positions_per_piece", lambda call: per_piece)
    for padding_idx in (None, 0, 1, 2, 4):
        call = make_call(input, weight, offsets, mode="max", padding_idx=padding_idx)
        expected, saved = loops.forward(call)
        output, mine = vectorized.forward(call)
        np.testing.assert_array_equal(output, expected)
        np.testing.assert_array_equal(mine.winners, saved.winners)


@pytest.mark.parametrize("p", [2.0, 1.0, 0.0, 0.5, 3.0, -1.0, np.inf, -np.inf, np.nan])
def test_norms_are_those_of_the_loops(p):
    random = np.random.default_rng(4)
    rows = random.normal(size=(9, 5)) * (random.random((9, 5)) < 0.7)
    rows[1, 2], rows[2, 3], rows[3] = np.nan, np.inf, 0.0
    expected = [loops.norm_of(row, p) for row in rows]
    np.testing.assert_allclose(vectorized.norms_of(rows, p), expected, rtol=1e-14)
    assert vectorized.norms_of(rows[:, :0], p).shape == (9,)


def call_of(bags, length, **options):
    random = np.random.default_rng(0)
    weight = np.ones((1000, 64), np.float32)
    input = random.integers(1000, size=bags * length)
    if options.pop("weighted", False):
        options["per_sample_weights"] = np.ones(bags * length, np.float32)
    return make_call(input, weight, np.arange(bags) * length, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "sum"},
        {"mode": "sum", "weighted": True, "padding_idx": 3},
        {"mode": "mean", "padding_idx": 3},
        {"mode": "max", "padding_idx": 3},
        {"mode": "mean", "max_norm": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("bags, length", [(1, 300_000), (300_000 // 7, 7), (100_000, 1)])
def test_the_forward_stays_within_its_block(bags, length, options):
    """NumPy tells tracemalloc of each of its arrays. (N, D) of them would be 77 MB here."""
    call = call_of(bags, length, **options)
    tracemalloc.start()
    try:
        result = vectorized.forward(call)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result and peak - kept <= vectorized.BLOCK_BYTES


def test_both_ways_of_the_backward_add_in_the_same_order(monkeypatch):
    random = np.random.default_rng(6)
    weight = random.normal(size=(40, 3)).astype(np.float32)
    input, offsets = random.integers(40, size=500), np.arange(0, 500, 9)
    call = make_call(input, weight, offsets, mode="mean", padding_idx=3, scale_grad_by_freq=True)
    grad_output = random.normal(size=(len(offsets), 3)).astype(np.float32)
    _, saved = vectorized.forward(call)
    direct = vectorized.grad_weight(call, saved, grad_output)
    monkeypatch.setattr(vectorized, "CACHED_BYTES", 0)
    np.testing.assert_array_equal(direct, vectorized.grad_weight(call, saved, grad_output))


def test_sixteen_bits_are_rounded_once():
    ones = np.zeros(4097, np.int64)
    weight = np.ones((1, 1), np.float16)
    call = make_call(ones, weight, np.array([0]), mode="sum")
    output, saved = vectorized.forward(call)
    gradient = vectorized.grad_weight(call, saved, np.ones((1, 1), np.float16))
    assert output.item() == gradient.item() == 4096  # where 16-bit sums stop at 2048


def test_what_is_imported():
    """embag_edu itself needs NumPy only; no implementation imports another."""
    import subprocess
    import sys

    code = "import sys, embag_edu; print('scipy' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.split() == ["False", "False"]
    assert "loops" not in vars(vectorized)


def test_every_function_fits_on_a_page():
    for name, function in inspect.getmembers(vectorized, inspect.isfunction):
        if function.__module__ == vectorized.__name__:
            assert len(inspect.getsource(function).splitlines()) <= 25, name
