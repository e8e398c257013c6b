"""A device that is never waited for: its arrays tell the host nothing but their shape.

On a GPU the host waits wherever Python needs a number out of an array: bool(), int(), item(), a
copy to NumPy, a selection by truth values, and functions whose result has as many elements as the
numbers say. Here all these raise `Waited`. Kernels run on the CPU.
"""

import numpy as np

from embag_edu.cuda_on_cpu import Device

SIZED_BY_NUMBERS = {"flatnonzero", "nonzero", "argwhere", "unique", "compress", "extract"}


class Waited(AssertionError):
    """The host would have waited for the GPU."""


class Array(np.ndarray):
    """An array on the device."""

    def _waits(self, *arguments, **others):
        raise Waited("the host asked for numbers")

    __bool__ = __int__ = __float__ = __index__ = __iter__ = __contains__ = _waits
    item = tolist = nonzero = tobytes = compress = _waits

    @property
    def data(self):
        return type("Pointer", (), {"ptr": self.ctypes.data})

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array.view(Array)  # a number stays on the device, too

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        if any(getattr(k, "dtype", np.dtype(int)).kind == "b" for k in keys):
            self._waits()
        return np.asarray(super().__getitem__(key)).view(Array)


class Functions:
    """numpy, for arrays on the device."""

    def __getattr__(self, name):
        if name in SIZED_BY_NUMBERS:
            raise Waited(f"xp.{name} tells the host how many there are")
        function = getattr(np, name)

        def called(*arguments, **others):
            return on_device(function(*arguments, **others))

        return function if isinstance(function, type) else called


class Unwaiting(Device):
    """The device."""

    def __init__(self):
        super().__init__("nobody may wait for it")
        self.xp = Functions()

    def asnumpy(self, array):
        raise Waited("the host asked for an array")

    def synchronize(self):
        raise Waited("the host waits")


def on_device(array):
    """The array, as one of the device; the same memory."""
    return array.view(Array) if isinstance(array, np.ndarray) else array


def on_host(array):
    """What `launcher.on_host` asks: arrays of this device are no arrays of NumPy."""
    return type(array) is np.ndarray


def in_numpy(array):
    """The array for the host, after all has been done."""
    return array.view(np.ndarray)
