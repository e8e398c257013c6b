"""Functions that raise, hang, die, or answer with what can't be read. Without torch, which takes
seconds to import: each one that dies or hangs is started again, call by call.
"""

import os
import time

import numpy as np

import embag_edu


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


def returns_what_breaks_when_unpickled(*arguments, **options):
    return Breaks()


class Breaks:
    def __reduce__(self):
        return int, ("no number",)
