"""The reviews, and the way from a text to the arguments of EmbeddingBag."""

import doctest
import hashlib

import numpy as np
import pytest

import embag_edu.data
from embag_edu.data import PAD, UNK, bags, padded, reviews, tokenize, vocabulary


@pytest.fixture(scope="module")
def known():
    return vocabulary(review.text for review in reviews())


def test_examples_in_docstrings():
    assert doctest.testmod(embag_edu.data) == (0, 4)


def test_file_is_the_one_that_the_readme_describes():
    readme = (embag_edu.data.PATH.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(embag_edu.data.PATH.read_bytes()).hexdigest() in readme
    assert "CC0" in readme and "22,628" in readme


def test_reviews_are_all_there_typed_and_read_once():
    found = reviews()
    assert found is reviews() and len(found) == 22_628
    assert found[0].text == "Absolutely wonderful - silky and sexy and comfortable"
    assert found[0][1:] == ("Intimate", 4, True, 767, 33, 0, "Initmates", "Intimates")
    assert {type(value) for review in found[:99] for value in review} == {str, int, bool}
    assert {review.rating for review in found} == {1, 2, 3, 4, 5}
    assert len({review.item for review in found}) == 1172  # the README says so
    assert all(len(tokenize(review.text)) >= 2 for review in found)


def test_missing_and_damaged_files_say_so(monkeypatch, tmp_path):
    read = reviews.__wrapped__
    monkeypatch.setattr(embag_edu.data, "PATH", tmp_path / "none.csv.gz")
    with pytest.raises(FileNotFoundError, match="the reviews are missing.*none.csv.gz"):
        read()
    monkeypatch.undo()
    monkeypatch.setattr(embag_edu.data, "REVIEW_COUNT", 5)
    with pytest.raises(ValueError, match="holds 22,628 reviews and should hold 5"):
        read()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("...", []),
        ("I LOVE it!", ["i", "love", "it"]),
        ("don't 'quote' dogs'", ["don't", "quote", "dogs"]),
        ("5'8\", 115lbs top-notch", ["lbs", "top", "notch"]),
    ],
)
def test_tokenize(text, words):
    assert tokenize(text) == words


def test_vocabulary_sorts_by_count_then_alphabet_and_counts_the_rare():
    found = vocabulary(["b a c b a", "d b"], min_count=1)
    assert found.words == ("<pad>", "<unk>", "b", "a", "c", "d")
    assert found.counts.tolist() == [0, 0, 3, 2, 1, 1] and found.counts.dtype == np.int64
    fewer = vocabulary(["b a c b a", "d b"], min_count=2)
    assert fewer.words == ("<pad>", "<unk>", "b", "a") and fewer.counts[UNK] == 2
    assert fewer.encode("a z b") == [3, UNK, 2] and fewer.encode(["a"]) == [3]
    assert fewer.decode([0, 1, 2]) == ["<pad>", "<unk>", "b"]
    with pytest.raises(IndexError, match="ids are 0 to 3"):
        fewer.decode([4])
    with pytest.raises(TypeError, match="list of texts"):
        vocabulary("one text")


def test_vocabulary_of_the_reviews(known):
    assert len(known) == 6356 and known.words[PAD] == "<pad>" and known.words[UNK] == "<unk>"
    assert known.words[2:5] == ("the", "i", "and")
    assert all(known.ids[word] == i for i, word in enumerate(known.words))
    assert known.counts[2:].min() == 3 and known.counts.sum() == 1_350_486
    assert (np.diff(known.counts[2:]) <= 0).all()


def test_all_reviews_as_bags(known):
    lists = [known.encode(review.text) for review in reviews()]
    input, offsets = bags(lists)
    assert input.shape == (1_350_486,) and offsets.shape == (22_628,)
    assert input.min() == UNK and input.max() < len(known)
    for at in (0, 1, 5000, 22_627):
        end = offsets[at + 1] if at + 1 < len(offsets) else len(input)
        assert input[offsets[at] : end].tolist() == lists[at]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_bags_and_padded_keep_empty_lists(dtype):
    lists = [[], [4, 4], [], [1], []]
    input, offsets = bags(lists, dtype)
    assert input.tolist() == [4, 4, 1] and offsets.tolist() == [0, 0, 2, 2, 3]
    assert input.dtype == offsets.dtype == dtype
    assert bags(lists, dtype, include_last_offset=True)[1].tolist() == [0, 0, 2, 2, 3, 3]
    rows = padded(lists, padding_idx=9, dtype=dtype)
    assert rows.tolist() == [[9, 9], [4, 4], [9, 9], [1, 9], [9, 9]] and rows.dtype == dtype
    assert padded(lists, 1).tolist() == [[0], [4], [0], [1], [0]]
    assert padded(lists, 0).shape == (5, 0) and padded([]).shape == (0, 0)
    assert [part.shape for part in bags([])] == [(0,), (0,)]


def test_bad_lists_are_named():
    with pytest.raises(TypeError, match=r"id_lists\[0\] is 3.*\[ids\]"):
        bags([3, 4])
    with pytest.raises(TypeError, match=r"id_lists\[1\] is 'fit'.*encode"):
        padded([[1], "fit"])
    with pytest.raises(TypeError, match="dtype is float64"):
        bags([[1]], np.float64)
    with pytest.raises(ValueError, match="length is -1"):
        padded([[1]], -1)
