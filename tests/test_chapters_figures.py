"""Every picture draws, says in words what it shows, and gives the same file each time."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the pictures are drawn with matplotlib")

from embag_edu.chapters import style  # noqa: E402
from embag_edu.chapters.ch01.figures import bag_picture  # noqa: E402
from embag_edu.chapters.style import Picture  # noqa: E402
from embag_edu.figures import PICTURES, main  # noqa: E402

IMAGES = Path(__file__).parents[1] / "book" / "images"
ALT = "Three boxes hold the numbers of one bag."
WEIGHT = np.arange(40.0).reshape(10, 4) / 8 - 2
CALLS = {
    "three bags": ([5, 3, 8, 1], [0, 2, 3]),
    "an empty bag": ([5, 3], [0, 2, 2]),
    "only empty bags": ([], [0, 0]),
    "no bag": ([], []),
    "two dimensions": ([[5, 3], [8, 1]], None),
    "eight bags": (list(range(10)), [0, 1, 2, 3, 4, 5, 6, 9]),
}


def boxes(height=2):
    figure, ax = style.board(4, height)
    style.cells(ax, [1, 2.5, None], x=0.5, y=-0.5)
    return figure


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("name", CALLS)
def test_bag_picture_draws(name, mode):
    input, offsets = CALLS[name]
    input = np.array(input, dtype=np.int64)
    for weight in (None, WEIGHT) if mode == "sum" else (WEIGHT,):  # without one, modes look alike
        picture = bag_picture(input, offsets, weight, mode, padding_idx=5)
        assert picture.svg().count("<svg") == 1
    if name == "three bags":
        assert picture.png().startswith(b"\x89PNG")


def test_bag_picture_says_what_it_shows():
    words = ["red", "dress", "pad", "red"]
    picture = bag_picture([4, 2, 0, 4], [0, 0], WEIGHT, "mean", words, padding_idx=0)
    assert "Bag 0 is empty; its output is no rows: zeros." in picture.alt
    assert "ids 4 2 0 4 (red dress pad red)" in picture.alt
    assert "its output is (rows 4 + 2 + 4) / 3." in picture.alt
    assert "Id 0 is padding" in picture.alt


def test_bag_picture_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="mode is 'avg'"):
        bag_picture([1], [0], mode="avg")
    with pytest.raises(ValueError, match="24 positions in 8 bags"):
        bag_picture(np.zeros(99, dtype=np.int64), [0])
    with pytest.raises(ValueError, match="with offsets"):
        bag_picture([1, 2])


def test_a_picture_needs_a_sentence():
    for alt in ("", "boxes", "a plot of five boxes"):
        with pytest.raises(ValueError, match="whole sentence"):
            Picture(boxes(), alt)


def test_in_a_notebook_the_image_has_its_alt_text():
    shown = Picture(boxes(), 'Two "boxes" are < three\n   boxes here.')._repr_mimebundle_()
    assert shown["text/plain"] == 'Two "boxes" are < three boxes here.'
    assert 'alt="Two &quot;boxes&quot; are &lt; three boxes here."' in shown["text/html"]
    assert re.search(
        r'width="\d+" src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+">', shown["text/html"]
    )


def test_files_are_the_same_each_time(tmp_path):
    first, second = Picture(boxes(), ALT), Picture(boxes(), ALT)
    assert first.svg() == first.svg() == second.svg()
    assert first.png() == second.png()
    assert ALT in first.svg() and "<dc:date>" not in first.svg()
    outlines = first.save(tmp_path / "a.svg").read_text(encoding="utf-8")
    assert outlines == second.save(tmp_path / "b.svg").read_text(encoding="utf-8")
    assert ALT in outlines and "<text" not in outlines  # a file looks the same without our font
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        first.save(tmp_path / "a.gif")


@pytest.mark.parametrize("name", PICTURES)
def test_kept_pictures_are_there_and_can_be_drawn_again(name, tmp_path):
    assert main([str(tmp_path)]) == 0
    drawn, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, IMAGES))
    title = re.compile("<title>.*?</title>|<dc:title>.*?</dc:title>", re.DOTALL)
    assert title.findall(drawn) == title.findall(kept)  # the outlines vary with matplotlib


def test_colors_differ_in_lightness():
    def lightness(color):
        linear = [((c + 0.055) / 1.055) ** 2.4 for c in style.to_rgb(color)]
        return 116 * float(np.dot((0.2126, 0.7152, 0.0722), linear)) ** (1 / 3) - 16

    levels = sorted(map(lightness, style.COLORS[:5]))
    assert min(np.diff(levels)) > 9
    for color in style.COLORS:
        ink, ground = lightness(style.ink_on(color)), lightness(color)
        assert abs(ink - ground) > 40
        assert lightness(style.dark(color)) < 63


def test_without_matplotlib_one_sentence_says_what_to_do():
    code = "import sys; sys.modules['matplotlib'] = None; import embag_edu.figures"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError:") and "python -m pip install matplotlib" in last
