"""The pictures and the plot of chapter 13, and the record that it reads."""

import sys
from pathlib import Path

import numpy as np
import pytest

from embag_edu.chapters.ch13 import figures as pictures
from embag_edu.chapters.ch13.widgets import LivePlot, training_picture
from embag_edu.chapters.style import Picture
from embag_edu.train.fitting import History
from embag_edu.train.record import recorded, table

RECORD = Path(__file__).parents[1] / "book" / "results" / "train.json"


def test_the_kept_record_shows_what_the_book_says():
    record = recorded(RECORD)
    assert set(record["tasks"]) == {"department", "recommended"}
    for name, task in record["tasks"].items():
        runs = task["runs"]
        assert set(runs) == {"torch", "vectorized", "cuda", "loops"}
        assert task["plan"]["limit"] is None  # every run on all reviews, the loops' too
        torchs = np.array(runs["torch"]["losses"])
        for run in runs.values():
            apart = np.abs(np.array(run["losses"]) - torchs).max()
            assert len(run["losses"]) == 213 and apart == run["largest_difference"]
            assert apart < task["tolerance"] < 1e-4 and run["accuracy"] >= 0.80
            assert name == "department" or run["auc"] >= 0.93
    assert 0.40 < record["tasks"]["department"]["majority"] < 0.48
    assert len(table(record).splitlines()) == 9


def test_smoothed_is_a_mean_of_the_last_ones():
    losses = np.random.default_rng(0).random(50)
    expected = [losses[max(k - 19, 0) : k + 1].mean() for k in range(50)]
    assert np.allclose(pictures.smoothed(losses), expected, atol=1e-12)


def test_live_picture_says_where_it_is():
    alt = pictures.live_picture([2.0, 1.0], 10).alt
    assert "after 2 of 10 steps: it began at 2.00, and the mean of the last 2 is 1.50" in alt
    with pytest.raises(ValueError, match="losses is empty"):
        pictures.live_picture([], 10)


def test_curves_picture_tells_the_largest_difference():
    alt = pictures.curves_picture({"torch": [1.0, 0.5], "a": [1.0, 0.5 + 1e-6]}, 1e-5).alt
    assert "at most a by 1.0e-06" in alt and "All are below a dashed line at 1.0e-05" in alt
    alt = pictures.curves_picture({"torch": [1.0, 0.5], "a": [1.0, 0.6]}, 1e-5).alt
    assert "Not all are below" in alt and "All are below" not in alt


def test_pictures_of_what_was_learnt_name_it():
    flat = np.array([[0.0, 0], [0.1, 0], [3, 1]])
    alt = pictures.map_picture(flat, ["tee", "top", "coat"], ["Tops", "Tops", "Jackets"], 0.6).alt
    assert "3 words" in alt and "Tops: tee, top; Jackets: coat" in alt and "60%" in alt
    alt = pictures.effects_picture(["good", "poor", "so"], np.array([5.0, -7.0, 0.0]), "effect").alt
    assert "Lowest: poor" in alt and "Highest: good" in alt and "at -7" in alt
    alt = pictures.nearest_picture({"coat": [("jacket", 0.9), ("vest", 0.8)]}).alt
    assert "coat: jacket, vest" in alt
    assert (
        "are 3, 5: their sum is 8"
        in pictures.ranks_picture([0.9, 0.2, 0.4, 0.35, 0.7], [1, 0, 1, 0, 0]).alt
    )


def test_labels_of_a_crowded_map_lie_apart():
    flat = np.concatenate([np.zeros((5, 2)), [[10.0, 10.0]]])
    heights = np.sort(pictures._apart(flat, ["word"] * 6)[:5])
    assert np.diff(heights).min() >= 0.03 * 10 - 1e-9


def test_control_survives_a_rate_that_breaks_the_training():
    assert "after 72 of 72" in training_picture("sgd", 2.5).alt


def test_live_plot_draws_now_and_then_and_at_the_end(monkeypatch):
    shown = []
    plot = LivePlot(steps=50, every=1e9)
    monkeypatch.setattr(plot, "_show", shown.append)
    history = History()
    for step in range(50):
        history.losses.append(1.0 / (step + 1))
        plot(history)
    assert len(shown) == 2 and all(isinstance(picture, Picture) for picture in shown)
    assert "after 1 of 50" in shown[0].alt and "after 50 of 50" in shown[1].alt


def test_live_plot_is_silent_without_a_notebook(monkeypatch):
    plot = LivePlot(steps=1)
    plot(History([1.0], []))
    assert plot.drawn == 0  # no kernel here
    monkeypatch.setitem(sys.modules, "IPython", None)
    LivePlot(steps=1)(History([1.0], []))
