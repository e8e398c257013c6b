"""The pictures of chapter 08."""

from pathlib import Path

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.bench.recorded import recorded
from embag_edu.chapters.ch08 import figures as ladder
from embag_edu.chapters.ch08 import verdicts
from embag_edu.chapters.ch08.figures import flight_picture, lanes_picture
from embag_edu.cuda.counting import count_sum
from embag_edu.spec import make_call

RECORD = Path(__file__).parents[1] / "book" / "results" / "gpu.json"


def even(D, L, B=8, **options):
    """Bags of L positions, which look up rows 0, 1, 2, ..."""
    weight = np.random.default_rng(D).normal(size=(B * L, D)).astype(np.float32)
    return make_call(np.arange(B * L), weight, np.arange(0, B * L, L), mode="sum", **options)


@needs_compiler
def test_the_ladder_picture_tells_the_counts():
    call = even(16, 8)
    counted = {version: count_sum(call, version) for version in (3, 4)}
    N = call.num_positions
    alt = ladder.ladder_picture(counted, N, 16).alt
    for version, each in counted.items():
        assert f"version {version}: {each.total('requests') / N:.2f} and" in alt
    assert "need 2 sectors for each position" in alt


def test_lanes_picture_says_who_works():
    assert "4 of 32 lanes have features, 16 bytes a load; 8 warps for 8 bags" in (
        lanes_picture(3, 16, 20).alt
    )
    assert "32 of 32 lanes have features, 16 bytes a load; 1 warp for 8 bags" in (
        lanes_picture(4, 16, 20).alt
    )


def test_flight_picture_says_that_it_is_drawn():
    assert "drawn and not measured" in flight_picture().alt
    assert "8 waits" in flight_picture(8, 4).alt and "2 waits" in flight_picture(8, 4).alt


@pytest.mark.parametrize("U", [1, 2, 4, 8])
def test_a_ring_asks_when_a_place_is_free(U):
    for ring in (False, True):
        flight = ladder.fly(13, U, ring)
        _, under = flight.under_way()
        assert under.max() == U and (np.diff(flight.added) > 0).all()
        free = [r - U if ring else r // U * U - 1 for r in range(13)]
        for r, before in enumerate(free):
            assert before < 0 or flight.asked[r] >= flight.added[before]
    assert ladder.fly(13, U, True).added[-1] <= ladder.fly(13, U, False).added[-1]


def test_a_batch_drains_and_a_ring_does_not():
    for U in (4, 8):
        batch, ring = (ladder.fly(96, U, ring=ring).average() for ring in (False, True))
        assert 1 < batch < ring < U
    assert ladder.fly(5, 1, ring=True).average() == ladder.fly(5, 1, ring=False).average() < 1


LENGTHS = {
    "a piece with two long bags": ((3, 8, 7, 0, 2, 4), 4),
    "bags that begin with a piece": ((4, 8, 0, 5), 4),
    "all short": ((3, 4, 0, 1), 4),
    "one bag": ((23,), 3),
    "pieces of one": ((2, 0, 3), 1),
}


@needs_compiler
@pytest.mark.parametrize("name", LENGTHS)
def test_the_picture_cuts_as_version_7_does(name):
    lengths, P = LENGTHS[name]
    offsets = np.cumsum([0, *lengths])[:-1]
    weight = np.ones((sum(lengths), 32), np.float32)
    call = make_call(np.arange(len(weight)), weight, offsets, mode="sum")
    cuts = ladder.cuts_of(lengths, P)
    counted = count_sum(call, 7, piece=P)
    assert counted.total("moved", "parts", "write") == len(cuts) * 32 * 4
    assert len({(cut.piece, cut.row) for cut in cuts}) == len(cuts)
    long = sum(length for length in lengths if length > P)
    assert sum(cut.end - cut.begin for cut in cuts) == long


def test_cut_picture_says_what_is_cut_and_refuses_what_it_cannot_show():
    alt = ladder.cut_picture((3, 8, 7, 0, 2, 4), 4).alt
    assert "output of the short bags at once: 0, 3, 4, 5." in alt
    assert "positions 8 to 10 of bag 1 in row 0 of piece 2" in alt
    assert "positions 11 to 11 of bag 2 in row 1 of piece 2" in alt
    assert "partial sums: none" in ladder.cut_picture((2, 2), 4).alt
    for lengths, P in (((0, 0), 4), ((25,), 4), ((3, -1), 4), ((3,), 0)):
        with pytest.raises(ValueError, match="valid: 1 to 24 positions"):
            ladder.cut_picture(lengths, P)


def test_the_table_of_verdicts_follows_the_record():
    times = recorded(RECORD)
    found = list(verdicts.verdicts(times))
    rows = verdicts.table(times).splitlines()[2:]
    assert len(rows) == len(found) == len(verdicts.PREDICTIONS)
    for row, verdict, prediction in zip(rows, found, verdicts.PREDICTIONS, strict=True):
        assert f"**{verdict}**" in row and prediction.said in row and row.count("|") == 7


@pytest.mark.parametrize(
    "ratios, verdict, told",
    [
        ([0.5, 0.9], "right", "0.50 to 0.90 of it"),
        ([0.5, 1.2], "partly right", "0.50 to 1.20 of it"),
        ([1.1], "wrong", "1.10 of it"),
        ([], "not judged", "not recorded"),
        ([float("nan")], "wrong", "nan of it"),
    ],
)
def test_a_verdict(ratios, verdict, told):
    one = verdicts.Prediction("it gets faster", lambda times: ratios, "of it", "", high=1)
    assert (one.verdict(None), one.recorded(None)) == (verdict, told)


def test_the_table_has_the_limits_and_what_the_reader_expects():
    rows = verdicts.table(recorded(RECORD), {"6": "wrong"}).splitlines()
    cells = {row.split("|")[1].strip().partition(".")[0]: row.split("|") for row in rows}
    assert cells["6"][5].strip() == "wrong" and cells["1a"][5].strip() == "–"
    assert [cells[n][2].strip() for n in ("1a", "2a", "5b", "3")] == [
        "below 1",
        "above 1",
        "0.97 to 1.03",
        "",
    ]
    assert "saves 18 % of version 7's time on A, and 9 % on B" in cells["6"][3]


def test_ring_picture_tells_when_nothing_is_under_way():
    alt = ladder.ring_picture(rows=12, U=4).alt
    assert "drawn and not measured" in alt
    assert "nothing under way, before the end: 2." in alt and "Such moments: 0." in alt
