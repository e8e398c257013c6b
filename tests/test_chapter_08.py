"""The pictures and the control of chapter 08."""

import re

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the controls are made with ipywidgets")

from compiler import needs_compiler  # noqa: E402

from embag_edu.chapters.ch08 import figures as ladder  # noqa: E402
from embag_edu.chapters.ch08.figures import flight_picture, lanes_picture  # noqa: E402
from embag_edu.chapters.ch08.widgets import WIDTHS, lanes_control  # noqa: E402
from embag_edu.cuda.counting import count_sum  # noqa: E402
from embag_edu.spec import make_call  # noqa: E402


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


def test_the_control_redraws_in_all_corners():
    control = lanes_control(version=3, D=16, L=20)
    version, D, L, picture = control.children
    assert "4 of 32 lanes" in picture.value
    version.value = 4
    assert "32 of 32 lanes" in picture.value
    for version.value in (1, 4):
        for D.value in (WIDTHS[0], WIDTHS[-1]):
            for L.value in (1, 64):
                assert re.search(r'<img alt="The 32 lanes of a warp', picture.value)
    assert all(part.description for part in (version, D, L))


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


def test_ring_picture_tells_when_nothing_is_under_way():
    alt = ladder.ring_picture(rows=12, U=4).alt
    assert "drawn and not measured" in alt
    assert "nothing under way, before the end: 2." in alt and "Such moments: 0." in alt
