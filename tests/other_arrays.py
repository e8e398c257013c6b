"""Arrays of a module that is not NumPy: they speak DLPack, and nothing else."""

import numpy as np


class Array:
    def __init__(self, host):
        self.host = host

    def __dlpack__(self, **options):
        return self.host.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.host.__dlpack_device__()


def asarray(array):
    return Array(np.array(array))
