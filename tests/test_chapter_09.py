"""The pictures of chapter 09; tables of more than 2**31 elements."""

from pathlib import Path

import numpy as np
import pytest
import torch
from compiler import needs_compiler
from test_book import kernels_of, shown_code

from embag_edu import embedding_bag, loops
from embag_edu.chapters.ch09 import figures
from embag_edu.chapters.ch09.figures import PADDING, claims, contest
from embag_edu.chapters.ch09.widgets import CHOICES
from embag_edu.check.compare import difference
from embag_edu.cuda_on_cpu import settings
from embag_edu.spec import make_call

CUDA = Path(__file__).resolve().parents[1] / "embag_edu" / "cuda"
NAN, INF = float("nan"), float("inf")
SEEN_ELSEWHERE = {"Wide", "Pack", "bag_max_2"}  # in chapter 08; in the comparison of two kernels


def test_the_kernels_of_the_chapter_are_shown():
    shown = {param.values[1] for param in shown_code()}
    for file in ("max", "renorm", "indices"):
        for kernel in set(kernels_of(CUDA / f"{file}.cu")) - SEEN_ELSEWHERE:
            assert f"embag_edu/cuda/{file}.cu:{kernel}" in shown, kernel


# ---- who wins ---------------------------------------------------------------------------------


def bag_of(values):
    """A bag of one feature whose maximum is asked for: row i has values[i], the last is padding."""
    kept = [NAN if value is PADDING else value for value in values]
    weight = np.array([*kept, NAN], np.float32)[:, None]
    ids = [len(values) if v is PADDING else i for i, v in enumerate(values)]
    first = np.array([0])
    return make_call(np.array(ids), weight, first, mode="max", padding_idx=len(values))


@pytest.mark.parametrize("seed", range(40))
def test_a_contest_is_won_as_the_loops_and_torch_say(seed):
    random = np.random.default_rng(seed)
    pool = [PADDING, NAN, -INF, -1.0, -0.0, 0.0, 2.0, 2.0, INF]
    values = [pool[k] for k in random.integers(0, len(pool), random.integers(1, 7))]
    call, last = bag_of(values), contest(values)[-1]
    output, saved = loops.forward(call)
    assert not difference(output, np.array([[last.best]], np.float32))
    tensors = (torch.tensor(a) for a in (call.indices, call.weight, call.offsets[:-1]))
    theirs = torch.nn.functional.embedding_bag(*tensors, mode="max", padding_idx=len(values))
    assert not difference(theirs.numpy(), output)
    assert (saved.winners if hasattr(saved, "winners") else saved[-1]).item() == last.holder


def test_a_contest_says_why():
    steps = contest([PADDING, -1.0, NAN, 3.0, 3.0, 0.0])
    whys = ["skipped", "enters", "NaN: no", "larger", "a tie: no", "smaller"]
    assert [step.why for step in steps] == whys
    assert [step.holder for step in steps] == [-1, 1, 1, 3, 3, 3]


def test_the_picture_tells_the_winner_and_refuses_too_much():
    alt = figures.contest_picture(-1.0, 2.0, NAN, 2.0, PADDING).alt
    assert "The maximum is 2.0, won by the row at position 1." in alt and "(NaN) NaN: no" in alt
    assert "nobody has won" in figures.contest_picture(PADDING).alt
    for values in ([], [0.0] * 13):
        with pytest.raises(ValueError, match="1 to 12"):
            figures.contest_picture(*values)


@pytest.mark.parametrize("one", [value for _, value in CHOICES])
def test_of_two_the_first_leads_until_a_larger_comes(one):
    for _, two in CHOICES:
        first, last = contest([one, two])
        assert first.holder == (-1 if one is PADDING else 0)
        wins = two is not PADDING and (first.holder < 0 or two > one)
        assert last.holder == (1 if wins else first.holder)


# ---- who rescales -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_each_row_is_claimed_once_in_any_order(seed):
    random = np.random.default_rng(seed)
    rows = random.integers(0, 8, 12).tolist()
    made = claims(rows, random.permutation(12).tolist())
    assert sorted(claim.row for claim in made if not claim.found) == sorted(set(rows))
    assert made[-1].bits == sum(1 << row for row in set(rows))


def test_the_picture_of_claims_tells_who_leaves():
    alt = figures.claims_picture([2, 5, 2], order=[2, 1, 0]).alt
    assert "position 2 for row 2: sets the bit, and rescales" in alt
    assert "position 0 for row 2: the bit is set, it leaves" in alt


# ---- more than 2**31 elements -----------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_a_table_of_more_than_2_to_the_31_elements(index, monkeypatch):
    """Its memory is promised and not used: only one row is ever touched.

    A row's address in 32 bits would be negative, and the process would end.
    """
    monkeypatch.setenv("EMBAG_DEVICE", "cpu")
    D = 64
    V = 2**31 // D + 100
    try:
        weight = np.zeros((V, D), np.float16)
    except MemoryError:
        pytest.skip("this system does not promise 4 GiB that will not be used")
    last = V - 1
    weight[last] = np.arange(1, D + 1)
    ids, first = np.array([last, last], index), np.array([0])
    with settings(mode="fast"):  # checked mode would copy the table
        for mode, expected in (("sum", weight[last] * 2), ("max", weight[last])):
            found = embedding_bag(ids, weight, first, mode=mode, implementation="cuda")
            assert not difference(expected[None], found, name=mode)
        embedding_bag(ids, weight, first, mode="sum", max_norm=1.0, implementation="cuda")
    assert abs(np.linalg.norm(weight[last].astype(float)) - 1) < 1e-2
