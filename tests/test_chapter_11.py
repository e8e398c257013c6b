"""The pictures, the counts and the control of chapter 11."""

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the control is made with ipywidgets")

from compiler import needs_compiler  # noqa: E402

from embag_edu import loops  # noqa: E402
from embag_edu.chapters.ch10.figures import skewed  # noqa: E402
from embag_edu.chapters.ch11 import exercises as ch11  # noqa: E402
from embag_edu.chapters.ch11.exercises import partials  # noqa: E402
from embag_edu.chapters.ch11.figures import (  # noqa: E402
    PIECE,
    balance_picture,
    count,
    loads,
    pieces_picture,
    watched,
)
from embag_edu.chapters.ch11.widgets import balance_control  # noqa: E402
from embag_edu.check.compare import difference  # noqa: E402
from embag_edu.cuda import source  # noqa: E402
from embag_edu.spec import make_call  # noqa: E402


def reviews_like(skew, N=1000, V=64, D=3, B=9, **options):
    """A call with skewed rows, and a random upstream gradient."""
    random = np.random.default_rng(11)
    weight = random.normal(size=(V, D)).astype(np.float32)
    offsets = np.sort(random.integers(0, N + 1, B - 1))
    call = make_call(skewed(N, V, skew), weight, np.append(0, offsets), **options)
    return call, random.normal(size=(B, D)).astype(np.float32)


# ---- counts ----------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_loads_are_what_launches_count(skew):
    call, G = reviews_like(skew, mode="sum")
    load, D = loads(call.indices), call.embedding_dim
    atomic = count(call, G, "add_elements").reports[-1]
    assert atomic.hot["grad_weight"][1] == load.hits == load.longest
    assert count(call, G, "add_joined").reports[-1].hot["grad_weight"][1] == load.joined
    cut = count(call, G, "piece_sums")
    assert cut.total("wanted", "partial", "write") == 2 * load.cuts * D * 4
    assert cut.total("wanted", "grad_weight", "write") == load.runs * D * 4
    walks = [line.requests for line in cut.reports[-1].lines if line.array == "partial"]
    assert sum(walks) == 2 * load.cuts >= load.walk


@needs_compiler
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_count_gives_the_gradient_of_loops_in_any_order(mode):
    call, G = reviews_like(1.0, mode=mode)
    right = loops.backward(call, loops.forward(call)[1], G).weight
    algorithms = ("run_sums", "piece_sums", "piece_packs") if mode != "max" else ("sorted_winners",)
    for algorithm in algorithms:
        found = [count(call, G, algorithm, order, block) for order, block in ((0, 256), (3, 64))]
        assert not difference(right, found[0].gradient, atol=1e-3)
        assert found[0].gradient.tobytes() == found[1].gradient.tobytes()
        assert found[0].total("operations") == 0 and found[0].reports


def test_another_piece_is_another_kernel():
    assert watched("run_sums", "float", "float", "int") is watched(
        "run_sums", "float", "float", "int"
    )
    assert f"const int PIECE = {PIECE};" in source("segments")  # what `watched` replaces
    assert watched("piece_sums", "float", "float", "int", piece=16) is not watched(
        "piece_sums", "float", "float", "int"
    )


@pytest.mark.parametrize("piece", [1, 3, 32])
def test_loads_agree_with_the_exercise(piece):
    for rows in ([4], [4, 4, 4, 1, 1, 7], skewed(300, 20, 1.5)):
        load = loads(rows, piece)
        finished, left, walk = partials(np.sort(rows), piece)
        assert (left, walk) == (2 * load.cuts, load.walk)
        assert load.longest == np.bincount(rows).max() and load.pieces == -(-len(rows) // piece)
        assert finished <= load.runs == len(set(np.asarray(rows).tolist()))


def test_loads_of_nothing_are_refused():
    with pytest.raises(ValueError, match="indices holds 0 rows; valid: one or more"):
        loads([])


# ---- pictures --------------------------------------------------------------------------------


def test_pictures_say_what_they_show():
    alt = pieces_picture([1, 2, 2, 2, 2, 2, 3, 3], piece=2).alt
    assert "3 runs, one for each row, and the longest has 5 entries" in alt
    assert "4 pieces of equal length" in alt
    assert "piece 0 for row 2; piece 1 for row 2; piece 2 for row 2." in alt
    assert "no run is cut" in pieces_picture([0, 1], piece=1).alt
    alt = balance_picture(0.0).alt
    assert "version 6 has 128 warps of 32 entries each" in alt and "where the mean is 8" in alt


@pytest.mark.parametrize("rows", [[], [2, 1], list(range(25))])
def test_a_picture_of_pieces_wants_sorted_rows_that_fit(rows):
    with pytest.raises(ValueError, match="valid: 1 to 24 rows, sorted"):
        pieces_picture(rows)


def test_control_redraws():
    slider, picture = balance_control(0.0).children
    before = picture.value
    slider.value = 2.0
    assert picture.value != before and "skew 2.00" in picture.value
    assert slider.description == "skew"


# ---- the kernels that readers repair -----------------------------------------------------------


@needs_compiler
def test_other_right_answers_pass():
    """A barrier before the fence of thread 0 orders as well; a run may be added from its end."""
    fix = "  __threadfence();\n  __syncthreads();\n"
    other = "  __syncthreads();\n  if (threadIdx.x == 0) __threadfence();\n"
    source = ch11.TWO_PASSES_RIGHT.replace(fix, other)
    assert source != ch11.TWO_PASSES_RIGHT and ch11.LAST_BLOCK.judge(source) == ""
    backwards = (
        "int end = i + 1;\n  while (end < n && keys[end] == keys[i]) end++;\n"
        "  while (end-- > i) sum += grad_output[sources[end] * D + d];"
    )
    source = ch11.SUM_RUNS_RIGHT.replace(ch11._LOOP, backwards)
    assert source != ch11.SUM_RUNS_RIGHT and ch11.DETERMINISTIC.judge(source) == ""
