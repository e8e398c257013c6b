"""Make a failing call smaller while it still fails.

Each move takes something away: a bag, a position, a feature, an option, a row that nobody uses, a
crooked number. A move is kept if the smaller call fails too. No move makes a call invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from embag_edu.check.cases import Arguments, count_bags

OPTIONS = (
    "layout",
    "protocol",
    "max_norm",
    "per_sample_weights",
    "padding_idx",
    "scale_grad_by_freq",
    "sparse",
)


def shrink(arguments: Arguments, fails: Callable[[Arguments], bool], tries: int = 400) -> Arguments:
    """The smallest call that the moves lead to, within a number of tries."""
    moved = True
    while moved and tries > 0:
        moved = False
        for smaller in _moves(arguments):
            tries -= 1
            if tries <= 0:
                break
            if fails(smaller):
                arguments, moved = smaller, True
                break
    return arguments


def _moves(arguments: Arguments) -> Iterator[Arguments]:
    """Smaller calls, the boldest first."""
    yield from (_without_bag(arguments, bag) for bag in range(count_bags(arguments)))
    for option in OPTIONS:
        if option in arguments:
            yield {k: v for k, v in arguments.items() if k != option}
    yield from _flattened(arguments)
    yield from (_without_position(arguments, i) for i in _removable(arguments))
    yield from _fewer_features(arguments)
    yield from _fewer_rows(arguments)
    yield from _plainer_numbers(arguments)


def _without_bag(arguments: Arguments, bag: int) -> Arguments:
    smaller = dict(arguments, grad_output=np.delete(arguments["grad_output"], bag, axis=0))
    if arguments["input"].ndim == 2:
        _delete(smaller, slice(bag, bag + 1))
        return smaller
    ends = np.append(arguments["offsets"], len(arguments["input"]))
    start, end = int(ends[bag]), int(ends[bag + 1])
    _delete(smaller, slice(start, end))
    offsets = np.delete(arguments["offsets"], bag)
    smaller["offsets"] = np.where(offsets >= end, offsets - (end - start), offsets).astype(
        arguments["offsets"].dtype
    )
    return smaller


def _delete(arguments: Arguments, positions: slice | int) -> None:
    for name in ("input", "per_sample_weights"):
        if arguments.get(name) is not None:
            arguments[name] = np.delete(arguments[name], positions, axis=0)


def _removable(arguments: Arguments) -> range:
    return range(len(arguments["input"]) if arguments["input"].ndim == 1 else 0)


def _without_position(arguments: Arguments, position: int) -> Arguments:
    offsets = arguments["offsets"]
    smaller = dict(arguments, offsets=offsets - (offsets > position).astype(offsets.dtype))
    _delete(smaller, position)
    return smaller


def _flattened(arguments: Arguments) -> Iterator[Arguments]:
    """A 2-D input as 1-D with offsets; offsets without their end; int64 indices."""
    input = arguments["input"]
    if input.ndim == 2:
        flat = dict(arguments, input=input.reshape(-1))
        flat["offsets"] = np.arange(len(input), dtype=np.int64) * input.shape[1]
        if arguments.get("per_sample_weights") is not None:
            flat["per_sample_weights"] = arguments["per_sample_weights"].reshape(-1)
        yield flat
    elif arguments.get("include_last_offset"):
        rest = {k: v for k, v in arguments.items() if k != "include_last_offset"}
        yield dict(rest, offsets=arguments["offsets"][:-1])
    if input.dtype != np.int64:
        wide = {k: arguments[k].astype(np.int64) for k in ("input", "offsets") if k in arguments}
        yield dict(arguments, **wide)


def _fewer_features(arguments: Arguments) -> Iterator[Arguments]:
    width = arguments["weight"].shape[1]
    keeps = [slice(0, width // 2), slice(width // 2, None), slice(0, width - 1), slice(1, None)]
    for keep in keeps if width > 1 else []:
        yield dict(
            arguments,
            weight=arguments["weight"][:, keep],
            grad_output=arguments["grad_output"][:, keep],
        )


def _fewer_rows(arguments: Arguments) -> Iterator[Arguments]:
    """Rows that nobody uses fall away, and the rest get new numbers."""
    rows = len(arguments["weight"])
    padding = arguments.get("padding_idx")
    used = set(arguments["input"].ravel().tolist())
    used |= set() if padding is None else {padding % rows}
    kept = sorted(used)
    if not kept or len(kept) == rows:
        return
    number = np.zeros(rows, arguments["input"].dtype)
    number[kept] = np.arange(len(kept))
    smaller = dict(arguments, weight=arguments["weight"][kept], input=number[arguments["input"]])
    if padding is not None:
        smaller["padding_idx"] = int(number[padding]) - (len(kept) if padding < 0 else 0)
    yield smaller


def _plainer_numbers(arguments: Arguments) -> Iterator[Arguments]:
    """Whole numbers instead of crooked ones, each different from the others."""
    for name, start in (("weight", 1), ("grad_output", 2), ("per_sample_weights", 2)):
        values = arguments.get(name)
        if values is None or not values.size or values.dtype.name == "bfloat16":
            continue
        plain = (np.arange(values.size) + start).reshape(values.shape).astype(values.dtype)
        if not np.array_equal(plain, values):
            yield dict(arguments, **{name: plain})
