"""Real reviews, and the four steps from a text to the arguments of EmbeddingBag.

    reviews()                        22,628 records: text, department, rating, ...
    tokenize("I love it!")           ['i', 'love', 'it']
    vocabulary(texts).encode(words)  [5, 42, 6]: one row number of the table for each word
    bags(id_lists)                   (input, offsets): the bags end to end, and where each begins
    padded(id_lists)                 the same bags as one 2-D array, short rows filled up

Only NumPy and the standard library are used. Where the file comes from, and under which license
(CC0), is said in README.md beside this module.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["PAD", "UNK", "Review", "Vocabulary", "bags", "padded", "reviews", "tokenize"]
__all__ += ["vocabulary"]

PATH = Path(__file__).parent / "clothing_reviews.csv.gz"
REVIEW_COUNT = 22_628

PAD = 0
"""The id of "<pad>": it fills the short rows of a 2-D input and stands for no word."""
UNK = 1
"""The id of "<unk>": it stands for every word that is too rare to have a row of its own."""


class Review(NamedTuple):
    """One review of a piece of clothing, as its buyer wrote it.

    `recommended` is True or False; `rating` runs from 1 to 5; `item` is the number of the piece,
    and the same for all its reviews. The numbers are Python ints.
    """

    text: str
    department: str
    rating: int
    recommended: bool
    item: int
    age: int
    helpful: int
    division: str
    class_: str


@lru_cache(maxsize=1)
def reviews() -> tuple[Review, ...]:
    """All 22,628 reviews, in the order of the file. The file is read once, then kept.

    Raises FileNotFoundError where the data file is missing, and ValueError where it holds another
    number of reviews than it should.
    """
    if not PATH.exists():
        raise FileNotFoundError(
            f"the reviews are missing: there is no file {PATH}. It is part of the package; "
            "fetch it again with `git checkout -- embag_edu/data`, or install the package again."
        )
    with gzip.open(PATH) as packed:
        lines = io.TextIOWrapper(packed, encoding="utf-8", newline="")
        found = tuple(_review(row) for row in csv.DictReader(lines))
    if len(found) != REVIEW_COUNT:
        raise ValueError(
            f"{PATH.name} holds {len(found):,} reviews and should hold {REVIEW_COUNT:,}: "
            "the file is damaged. Fetch it again."
        )
    return found


def _review(row: dict[str, str]) -> Review:
    return Review(
        text=row["text"],
        department=row["department"],
        rating=int(row["rating"]),
        recommended=row["recommended"] == "1",
        item=int(row["item"]),
        age=int(row["age"]),
        helpful=int(row["helpful"]),
        division=row["division"],
        class_=row["class"],
    )


WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")  # letters; an apostrophe stays inside a word: don't


def tokenize(text: str) -> list[str]:
    """The words of a text, in lower case, in their order; repeats stay.

    A word is a run of the letters a to z, with apostrophes inside it kept. Digits, punctuation
    and all else only separate words.

    >>> tokenize("Don't buy it: I'm 5'8\\", it's TINY!")
    ["don't", 'buy', 'it', "i'm", "it's", 'tiny']
    """
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Which word has which id. An id is a row number of the embedding table.

    words   tuple of V strings: words[i] is the word with the id i
    counts  (V,) int64: how often it was seen. counts[UNK] counts all the rare words together,
            counts[PAD] is 0
    ids     dict: word -> id, the way back

    Two ids are no words: 0 is "<pad>" (PAD) and 1 is "<unk>" (UNK). Padding is first so that its
    id does not depend on how many words there are: `padding_idx=0` is right for every vocabulary.
    They are two ids because they mean two things. A padded position holds no word, and must not
    count; an unknown word was there, and does count. From 2 on the ids go by falling frequency, so
    a small id is a frequent word; words seen equally often are in alphabetical order.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    ids: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {word: i for i, word in enumerate(self.words)})

    def __len__(self) -> int:
        """V, the number of rows that a table for this vocabulary needs."""
        return len(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} ids: {', '.join(self.words[:6])}, ...)"

    def encode(self, text: str | Iterable[str]) -> list[int]:
        """The ids of a text's words, or of a list of words. An unknown word becomes UNK."""
        words = tokenize(text) if isinstance(text, str) else text
        return [self.ids.get(word, UNK) for word in words]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of some ids. Raises IndexError for an id outside 0 <= id < V."""
        return [self._word(int(i)) for i in ids]

    def _word(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(f"ids holds {i}, but this vocabulary's ids are 0 to {len(self) - 1}")
        return self.words[i]


def vocabulary(texts: Iterable[str], min_count: int = 3) -> Vocabulary:
    """The vocabulary of some texts: every word that is seen `min_count` times or more.

    Sorted by falling count, then by the alphabet, so equal texts give equal ids on any machine.

    >>> vocabulary(["a fine fit", "a fine dress"], min_count=2).words
    ('<pad>', '<unk>', 'a', 'fine')
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string; give a list of texts, such as [text]")
    counted = Counter(chain.from_iterable(tokenize(text) for text in texts))
    kept = sorted((-count, word) for word, count in counted.items() if count >= min_count)
    rare = sum(count for count in counted.values() if count < min_count)
    words = ("<pad>", "<unk>", *(word for _, word in kept))
    counts = np.array([0, rare, *(-negative for negative, _ in kept)], dtype=np.int64)
    return Vocabulary(words, counts)


def bags(
    id_lists: Sequence[Sequence[int]], dtype: Any = np.int64, include_last_offset: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Many lists of ids as the two flat arrays that EmbeddingBag takes.

    Returns input (N,), all lists end to end, and offsets (B,), the position in input at which each
    list begins. An empty list is an empty bag: its offset is the same as the next one's.
    With include_last_offset=True, offsets is (B + 1,) and ends with N. Both are of `dtype`.

    >>> bags([[7, 2], [], [2, 9, 4]])
    (array([7, 2, 2, 9, 4]), array([0, 2, 2]))
    """
    _check_lists(id_lists)
    lengths = [len(ids) for ids in id_lists]
    ends = np.zeros(len(lengths) + 1, dtype=_integer(dtype))
    np.cumsum(lengths, out=ends[1:])
    input = np.fromiter(chain.from_iterable(id_lists), dtype=dtype, count=int(ends[-1]))
    return input, ends if include_last_offset else ends[:-1]


def padded(
    id_lists: Sequence[Sequence[int]],
    length: int | None = None,
    padding_idx: int = PAD,
    dtype: Any = np.int64,
) -> np.ndarray:
    """Many lists of ids as one array (B, length): short lists filled up, long lists cut.

    The filling is `padding_idx`, at the end of a row. Without a `length`, the longest list's is
    taken, and nothing is cut. Give EmbeddingBag the same padding_idx, or the filling counts.

    >>> padded([[7, 2], [], [2, 9, 4]])
    array([[7, 2, 0],
           [0, 0, 0],
           [2, 9, 4]])
    """
    _check_lists(id_lists)
    if length is None:
        length = max((len(ids) for ids in id_lists), default=0)
    if length < 0:
        raise ValueError(f"length is {length}; it must be 0 or more")
    input = np.full((len(id_lists), length), padding_idx, dtype=_integer(dtype))
    for row, ids in zip(input, id_lists, strict=True):
        kept = ids[:length]
        row[: len(kept)] = kept
    return input


def _check_lists(id_lists: Sequence[Any]) -> None:
    for at, ids in enumerate(id_lists):
        if isinstance(ids, str) or not hasattr(ids, "__len__"):
            raise TypeError(
                f"id_lists[{at}] is {ids!r}; it must be a list of ids. "
                "Words become ids with vocabulary.encode(words); one list alone goes in as [ids]."
            )


def _integer(dtype: Any) -> np.dtype:
    wanted: np.dtype = np.dtype(dtype)
    if wanted not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise TypeError(f"dtype is {wanted}; indices and offsets are int32 or int64")
    return wanted
