"""The control of chapter 01, without a browser (tests/test_browser.py has one)."""

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the controls are made with ipywidgets")

from embag_edu.chapters.ch01.widgets import bag_control, bags_in_words  # noqa: E402

WORDS = ["love", "this", "top", "great", "fit"]


@pytest.fixture
def widget():
    weight = np.random.default_rng(0).standard_normal((10, 2)).astype(np.float32)
    return bag_control(np.array([5, 1, 7, 3, 2]), [0, 2, 3], weight, WORDS).widget


def offsets(widget):
    return [slider.value for slider in widget.children[:2]]


def test_a_step_moves_one_word_and_draws_anew(widget):
    first, _, _, told, picture = widget.children
    assert "Bag 0 holds the ids 5 1 (love this)" in picture.value
    first.value = 1
    assert "np.array([0, 1, 3])" in told.value and "Bag 1: this top." in told.value
    assert 'opacity: 0.7">Bag 2: great fit.' in told.value  # this one has not changed
    assert "Bag 0 holds the ids 5 (love)" in picture.value
    assert "data:image/svg+xml;base64," in picture.value


@pytest.mark.parametrize(
    ("slider", "to", "after"),
    [(0, 4, [4, 4]), (0, 5, [5, 5]), (1, 1, [1, 1]), (1, 0, [0, 0]), (1, 5, [2, 5])],
)
def test_a_slider_takes_its_neighbor_along(widget, slider, to, after):
    widget.children[slider].value = to
    assert offsets(widget) == after


def test_each_change_draws_once(widget):
    drawn = []
    widget.children[-1].observe(drawn.append, "value")
    widget.children[0].value = 5
    assert len(drawn) == 1


def test_equal_neighbors_are_an_empty_bag(widget):
    widget.children[1].value = 2
    assert "Bag 1 is empty: it begins and ends at 2" in widget.children[3].value
    assert "Bag 1 is empty" in widget.children[4].value


def test_the_mode_is_drawn(widget):
    for mode, said in (("mean", "(rows 5 + 1) / 2"), ("max", "largest of rows 5, 1")):
        widget.children[2].value = mode
        assert (
            said in widget.children[4].value
            and f"mode=&quot;{mode}&quot;" in widget.children[3].value
        )


def test_sentences():
    assert bags_in_words([0, 1], WORDS[:3]) == ["Bag 0: love.", "Bag 1: this top."]
    assert [text[:14] for text in bags_in_words([0, 0, 5], WORDS)] == [
        "Bag 0 is empty",
        "Bag 1: love th",
        "Bag 2 is empty",
    ]
