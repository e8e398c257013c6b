"""A device that is never waited for: its arrays tell the host nothing but their shape.

On a GPU the host waits wherever Python needs a number out of an array: bool(), int(), item(), a
copy to NumPy, a selection by truth values, and functions whose result has as many elements as the
numbers say. Here all these raise `Waited`. Kernels run on the CPU.

Within `capture()` it also refuses what may not happen while a GPU's stream is captured in a graph:
a copy from the host's memory, a kernel that must first be compiled and loaded, and a sort of CuPy,
which waits at its end before version 14. (New arrays may be made: CuPy's pool gives them, without a
wait.)
"""

from contextlib import contextmanager

import numpy as np

from embag_edu.cuda_on_cpu import Device

SIZED_BY_NUMBERS = {"flatnonzero", "nonzero", "argwhere", "unique", "compress", "extract"}


SORTS = {"sort", "argsort", "lexsort"}


class Waited(AssertionError):
    """The host would have waited for the GPU."""


class NotCaptured(AssertionError):
    """A graph can't hold this."""


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

    capturing, sized_by_numbers = False, SIZED_BY_NUMBERS

    def __getattr__(self, name):
        if self.capturing and name in SORTS:
            raise NotCaptured(f"xp.{name} waits for a stream that is being captured")
        if name in self.sized_by_numbers:
            raise Waited(f"xp.{name} tells the host how many there are")
        function = getattr(np, name)

        def called(*arguments, **others):
            return on_device(function(*arguments, **others))

        return function if isinstance(function, type) else called


class Event:
    """Of a copy to the host. To wait for it is no error: who does has asked for it."""

    done = False

    def synchronize(self):
        self.done = True


class Unwaiting(Device):
    """The device."""

    def __init__(self):
        super().__init__("nobody may wait for it")
        self.xp, self.events = Functions(), []

    @contextmanager
    def capture(self):
        """Within it, what is done would become a graph."""
        self.xp.capturing = True
        try:
            yield
        finally:
            self.xp.capturing = False

    def coming(self, array):
        """A copy that has not come until `arrive()`."""
        if self.xp.capturing:
            return None
        self.events.append(Event())
        return in_numpy(array).copy(), self.events[-1]

    def arrive(self):
        """All copies that were on their way have come."""
        for event in self.events:
            event.done = True

    def RawModule(self, **given):
        if self.xp.capturing:
            raise NotCaptured("a kernel is compiled and loaded")
        return super().RawModule(**given)

    def asarray(self, array, dtype=None):
        if self.xp.capturing and on_host(array):
            raise NotCaptured("a copy from the host's memory")
        return super().asarray(array, dtype)

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
