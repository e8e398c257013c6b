"""The pictures and the plot of chapter 13, and the record that it reads."""

import sys
from bisect import bisect_left, bisect_right
from pathlib import Path

import numpy as np
import pytest
import torch

from embag_edu.chapters.ch13 import figures as pictures
from embag_edu.chapters.ch13.widgets import LivePlot, training_picture
from embag_edu.chapters.style import Picture
from embag_edu.course import check
from embag_edu.course.exercise import ExerciseFailed
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


# ---- exercises: other right answers, and wrong ones that nobody foresaw --------------------------


def by_torch(scores, truth):
    scores, truth = torch.from_numpy(scores), torch.from_numpy(truth)
    false, true = scores[~truth].sort().values, scores[truth]
    ends = torch.searchsorted(false, true), torch.searchsorted(false, true, right=True)
    return ((ends[0] + ends[1]).double().mean() / 2 / len(false)).item()


def by_lists(scores, truth):
    false, true = sorted(map(float, scores[~truth])), scores[truth].tolist()
    return sum(bisect_left(false, s) + bisect_right(false, s) for s in true) / (
        2 * len(false) * len(true)
    )


@pytest.mark.parametrize("mine", [by_torch, by_lists])
def test_an_auc_of_sorted_scores_is_right(mine, capsys):
    check("13.auc", mine)
    assert "13.auc: right." in capsys.readouterr().out


def looped(hold):
    """One true score after the other against all false ones, in what `hold` makes."""

    def mine(scores, truth):
        scores, truth = hold(scores), hold(truth)
        false, won = scores[~truth], 0.0
        for score in scores[truth]:
            won += (score > false).sum() + (score == false).sum() / 2
        return float(won / (truth.sum() * len(false)))

    return mine


def all_at_once(scores, truth):
    scores, truth = torch.from_numpy(scores), torch.from_numpy(truth)
    apart = scores[truth][:, None] - scores[~truth]
    return ((apart > 0).double() + (apart == 0) / 2).mean().item()


def found_in_a_list(scores, truth):
    ordered, n, t = sorted(scores.tolist()), len(scores), int(truth.sum())
    ranks = [ordered.index(s) + (ordered.count(s) + 1) / 2 for s in scores[truth].tolist()]
    return (sum(ranks) - t * (t + 1) / 2) / (t * (n - t))


ALL_PAIRS = {
    "asarray": looped(np.asarray), "copies": looped(np.copy), "torch": looped(torch.tensor),
    "torch, at once": all_at_once, "a list": found_in_a_list,
}  # fmt: skip


@pytest.mark.parametrize("mine", ALL_PAIRS.values(), ids=ALL_PAIRS)
def test_an_auc_of_all_pairs_is_refused(mine):
    with pytest.raises(ExerciseFailed, match="2,000 scores more than 400,000 times"):
        check("13.auc", mine)


def split(order, late=0):
    """Keys in an order of (keys, seed); `late` keys more than are asked for."""

    def mine(keys, part, seed):
        held_out, enough = np.zeros(len(keys), bool), 0
        for key in order(keys, np.random.default_rng(seed), seed):
            enough += held_out.sum() >= part * len(keys)
            if enough > late:
                break
            held_out[keys == key] = True
        return held_out

    return mine


SPLITS = {
    "one key too many": (split(lambda k, r, _: r.permutation(np.unique(k)), late=1), "Too many"),
    "reviews are drawn": (split(lambda k, r, _: r.permutation(k)), "the same chance"),
    "turned by the seed": (split(lambda k, r, n: np.roll(np.unique(k), n)), "the same chance"),
    "two splits for all": (split(lambda k, r, seed: np.random.default_rng(seed % 2).permutation(
        np.unique(k))), "the same chance"),
    "keys are shuffled": (split(lambda k, r, _: r.shuffle(k) or np.unique(k)), "its argument keys"),
}  # fmt: skip


@pytest.mark.parametrize(("mine", "told"), SPLITS.values(), ids=SPLITS)
def test_a_split_by_other_chances_is_refused(mine, told):
    with pytest.raises(ExerciseFailed, match=told):
        check("13.split", mine)
    check("13.split", split(lambda keys, random, _: random.permutation(np.unique(keys))))


def test_a_repair_may_return_its_table_as_a_tensor(capsys):
    from embag_edu.chapters.ch13.exercises import trained

    check("13.repair", lambda *a: (trained(*a)[0], torch.from_numpy(trained(*a)[1])))
    assert "13.repair: right." in capsys.readouterr().out
