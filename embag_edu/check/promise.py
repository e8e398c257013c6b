"""What an implementation promises, and what a call needs. A call that needs more is not made."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from embag_edu.check.cases import DEFAULTS, Arguments, Case
from embag_edu.text import Short

OLD_ORDER = "old_order"  # is asked for only where it is promised
WORDS: dict[str, tuple[str, ...]] = {
    "modes": ("sum", "mean", "max"),
    "dtypes": ("float16", "bfloat16", "float32", "float64"),  # of weight
    "index_dtypes": ("int32", "int64", "mixed"),  # mixed: input and offsets have two dtypes
    "options": (
        "include_last_offset",
        "max_norm",
        "padding_idx",
        "per_sample_weights",
        "scale_grad_by_freq",
        "sparse",
    ),
    "forms": ("two_dimensional", "strided", "zero_sizes", "gradients", "refusals", OLD_ORDER),
}
USUAL = {group: tuple(w for w in words if w != OLD_ORDER) for group, words in WORDS.items()}


class WrongPromise(Short, ValueError):
    """A promise names something that no call needs."""


@dataclass(frozen=True)
class Promise:
    """What an implementation says that it can do: words of `WORDS`, by group; by default, all.

    forms: "two_dimensional" inputs, "strided" arrays, "zero_sizes" (no position, no row, no
        feature), "gradients", "refusals" of what must be refused, and "old_order", the deprecated
        order (weight, input), which is no part of the default.
    """

    modes: tuple[str, ...] = USUAL["modes"]
    dtypes: tuple[str, ...] = USUAL["dtypes"]
    index_dtypes: tuple[str, ...] = USUAL["index_dtypes"]
    options: tuple[str, ...] = USUAL["options"]
    forms: tuple[str, ...] = USUAL["forms"]

    def lacking(self, needed: Iterable[str]) -> list[str]:
        """What is needed and not promised."""
        promised = {word for group in WORDS for word in getattr(self, group)}
        return sorted(set(needed) - promised)

    def __str__(self) -> str:
        told = (f"{g.replace('_', ' ')} {', '.join(getattr(self, g)) or 'none'}" for g in WORDS)
        return "; ".join(told)


EVERYTHING = Promise(forms=WORDS["forms"])


def promise(supports: Promise | Mapping[str, Iterable[str]] | None) -> Promise:
    """A promise from a table of its groups, as in `pyproject.toml`; without one, the default.

    Raises WrongPromise where a group or a word in it is not known.
    """
    if supports is None or isinstance(supports, Promise):
        return supports or Promise()
    for group, words in supports.items():
        _known(group, [field.name for field in fields(Promise)], "supports")
        if isinstance(words, str):
            raise WrongPromise(f"{group} must be a list of words, such as [{words!r}]")
        for word in words:
            _known(word, WORDS[group], group)
    return Promise(**{group: tuple(words) for group, words in supports.items()})


def _known(word: str, known: Iterable[str], group: str) -> None:
    if word in known:
        return
    near = difflib.get_close_matches(str(word), known, 1)
    meant = f"; perhaps {near[0]!r} is meant" if near else ""
    raise WrongPromise(f"{group} has no {word!r}. It takes {', '.join(known)}{meant}")


@functools.cache
def needs(case: Case) -> frozenset[str]:
    """What the arguments of a call need of an implementation: words of a promise."""
    try:
        return needed(case.make())
    except ImportError:  # no ml_dtypes
        return frozenset({"bfloat16"})


def needed(arguments: Arguments) -> frozenset[str]:
    """The same, of arguments."""
    before = arguments.get("before", {})
    return frozenset(
        _arrays(arguments)
        | _options(arguments)
        | _options({"mode": arguments.get("mode")} | before)
    )


def _arrays(arguments: Arguments) -> set[str]:
    arrays = {n: v for n, v in arguments.items() if isinstance(v, np.ndarray)}
    names = {name: array.dtype.name for name, array in arrays.items()}
    nothing = np.zeros(0, bool)
    input, weight = arrays.get("input", nothing), arrays.get("weight", nothing)
    if input.ndim == 2 and weight.dtype.kind == "i" and input.dtype.kind == "f":
        return {OLD_ORDER, "two_dimensional", input.dtype.name, weight.dtype.name}
    indices = {names[n] for n in ("input", "offsets") if n in names and "int" in names[n]}
    found = (indices & set(WORDS["index_dtypes"])) | ({"mixed"} if len(indices) > 1 else set())
    found |= {weight.dtype.name} & set(WORDS["dtypes"])
    found |= {"two_dimensional"} if input.ndim == 2 else set()
    empty = any(array.size == 0 for name, array in arrays.items() if name != "grad_output")
    return found | ({"zero_sizes"} if empty else set())


def _options(arguments: Arguments) -> set[str]:
    """The mode, and what is given and not as it is by default."""
    given = {n for n in WORDS["options"] if arguments.get(n, DEFAULTS[n]) is not DEFAULTS[n]}
    given |= {"strided"} if arguments.get("layout") else set()
    mode = arguments.get("mode", DEFAULTS["mode"])
    return given | ({mode} if mode in WORDS["modes"] else set())
