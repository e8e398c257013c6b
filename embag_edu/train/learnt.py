"""What a trained table holds: neighbors, a map in two dimensions, the effect of a word.

nearest(table, known, "jeans")      the words whose rows point the same way
flat = plane(table[rows])           (n, 2): where to draw them
effects(model)                      (V, classes): what a row adds to each score
"""

from __future__ import annotations

import numpy as np
import torch

from embag_edu.data import UNK, Vocabulary
from embag_edu.train.models import TextClassifier


def table_of(model: TextClassifier) -> np.ndarray:
    """The rows (V, D) of a model, as an array of its own."""
    return np.asarray(model.bag.weight.detach().cpu()).copy()


def nearest(
    table: np.ndarray, known: Vocabulary, word: str, count: int = 8, least: int = 50
) -> list[tuple[str, float]]:
    """The words whose rows have the largest cosine with the row of a word, and the cosines.

    Only words that were seen `least` times or more: a rare word's row is hardly trained. Raises
    KeyError for a word that is not known.
    """
    if word not in known.ids:
        raise KeyError(f"word is {word!r}, which is not in the vocabulary: it is rare, or misspelt")
    at = known.ids[word]
    rows = table[: len(known)].astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    cosines = rows @ rows[at] / np.maximum(lengths * lengths[at], 1e-30)
    allowed = (known.counts >= least) & (np.arange(len(known)) > UNK)
    allowed[at] = False
    order = [k for k in np.argsort(-cosines, kind="stable") if allowed[k]]
    return [(known.words[k], float(cosines[k])) for k in order[:count]]


def plane(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Rows (n, D) in the plane in which they spread most, (n, 2), and the part of variance kept.

    Principal components by the singular value decomposition of the centered rows. The sign of an
    axis is a matter of taste: here its largest entry is positive.
    """
    centered = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centered.astype(np.float64), full_matrices=False)
    flat = left[:, :2] * sizes[:2]
    signs = np.sign(flat[np.abs(flat).argmax(axis=0), [0, 1]])
    return flat * signs, float((sizes[:2] ** 2).sum() / (sizes**2).sum())


@torch.no_grad()
def effects(model: TextClassifier) -> np.ndarray:
    """(V, classes): the scores of a bag that holds one row alone, without the bias.

    A linear layer of a mean is the mean of the linear layer: the scores of a text are the mean of
    the effects of its rows, and the bias.
    """
    return (model.bag.weight @ model.linear.weight.T).cpu().numpy()
