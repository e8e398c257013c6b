"""The control of chapter 01, without a browser (tests/test_browser.py has one)."""

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the controls are made with ipywidgets")

from embag_edu.chapters.ch01.widgets import BagControl, empties, moves, owners_of  # noqa: E402

WORDS = ["love", "this", "top", "great", "fit"]


@pytest.fixture
def control():
    weight = np.random.default_rng(0).standard_normal((10, 2)).astype(np.float32)
    return BagControl(np.array([5, 1, 7, 3, 2]), [0, 2, 3], weight, WORDS)


def test_a_step_moves_one_word_and_draws_anew(control):
    before = control.picture.value
    assert "Bag 0 holds the ids 5 1 (love this)" in before
    control.cuts[0].value = 1
    assert control.offsets == [0, 1, 3]
    assert "“this” went from bag 0 to bag 1." in control.told.value
    assert "np.array([0, 1, 3])" in control.told.value
    assert "Bag 0 holds the ids 5 (love)" in control.picture.value
    assert "data:image/svg+xml;base64," in control.picture.value


@pytest.mark.parametrize(
    ("slider", "to", "offsets"),
    [(0, 4, [0, 4, 4]), (0, 5, [0, 5, 5]), (1, 1, [0, 1, 1]), (1, 0, [0, 0, 0]), (1, 5, [0, 2, 5])],
)
def test_a_slider_takes_its_neighbor_along(control, slider, to, offsets):
    control.cuts[slider].value = to
    assert control.offsets == offsets


def test_each_change_draws_once(control):
    drawn = []
    control.picture.observe(drawn.append, "value")
    control.cuts[0].value = 5
    assert len(drawn) == 1


def test_equal_neighbors_are_an_empty_bag(control):
    control.cuts[1].value = 2
    assert "Bag 1 is empty: it begins and ends at 2" in control.told.value
    assert "Bag 1 is empty" in control.picture.value


def test_the_mode_is_drawn(control):
    for mode, said in (("mean", "(rows 5 + 1) / 2"), ("max", "largest of rows 5, 1")):
        control.mode.value = mode
        assert said in control.picture.value and "went" not in control.told.value


def test_sentences():
    assert owners_of([0, 0, 2], 4) == [1, 1, 2, 2]
    assert moves([0, 2], [0, 1], WORDS[:3]) == ["“this” went from bag 0 to bag 1."]
    assert moves([0, 5], [0, 0], WORDS) == ["5 words went to other bags."]
    assert [text[:14] for text in empties([0, 0, 5], 5)] == ["Bag 0 is empty", "Bag 2 is empty"]
