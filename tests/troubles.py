"""Functions that raise, hang, die, or answer with what can't be read. Without torch, which takes
seconds to import: each one that dies or hangs is started again, call by call.
"""

import ctypes
import os
import sys
import time

import numpy as np

import embag_edu
import embag_edu.check


def right(input, weight, offsets=None, **options):
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def wrong(input, weight, offsets=None, **options):
    return np.zeros((len(input), weight.shape[1]), weight.dtype)


def lacks_max(input, weight, offsets=None, **options):
    if options.get("mode") == "max":
        raise embag_edu.check.NotSupported("max")
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def raises_on_empty_bags(input, weight, offsets=None, **options):
    if offsets is not None and (np.diff(np.append(offsets, len(input))) == 0).any():
        raise ZeroDivisionError("empty bag")
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def hangs_on_empty_bags(input, weight, offsets=None, **options):
    while offsets is not None and (np.diff(np.append(offsets, len(input))) == 0).any():
        time.sleep(0.1)
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def dies_on_empty_bags(input, weight, offsets=None, **options):
    if offsets is not None and (np.diff(np.append(offsets, len(input))) == 0).any():
        os._exit(11)
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def compiles_for_each_shape(input, weight, offsets=None, *, _seen=set(), **options):  # noqa: B006
    if (input.shape, weight.shape) not in _seen:
        _seen.add((input.shape, weight.shape))
        time.sleep(1.1)
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def slow_first_backward(grad_output, input, weight, offsets=None, *, _warm=[], **options):  # noqa: B006
    if not _warm:
        _warm.append(time.sleep(0.6))
    return embag_edu.embedding_bag_backward(grad_output, input, weight, offsets, **options)


def warms_up_then_hangs(input, weight, offsets=None, *, _warm=[], **options):  # noqa: B006
    if not _warm:
        _warm.append(time.sleep(1.1))
    while options.get("mode") == "max":
        time.sleep(0.1)
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def crashes_in_c(input, weight, offsets=None, **options):
    if np.isnan(weight).any():
        print("out of luck", file=sys.stderr)
        ctypes.string_at(0)
    return embag_edu.embedding_bag(input, weight, offsets, **options)


def returns_what_breaks_when_unpickled(*arguments, **options):
    return Breaks()


class Breaks:
    def __reduce__(self):
        return int, ("no number",)


def aborts(*arguments, **options):
    if options["mode"] == "sum":  # as in the first call
        os.abort()
    os.abort()
