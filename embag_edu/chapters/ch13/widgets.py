"""The control of chapter 13, and a plot that is redrawn while a model trains."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from embag_edu.chapters.ch13.figures import live_picture
from embag_edu.chapters.control import Axis, Control, control
from embag_edu.chapters.style import Picture
from embag_edu.train.fitting import Data, History, Plan, data_of, train

TRIED = Plan("recommended", limit=1500, buckets=0, batch_size=64, epochs=3)
TOP = 1.5


class LivePlot:
    """Draws the losses while a model trains: `train(plan, watch=LivePlot(steps))`.

    steps: of the whole training, so that the plot does not jump. every: seconds between pictures.
    It uses IPython's display alone, and does nothing where there is none, as in a script.
    """

    def __init__(self, steps: int, every: float = 0.5) -> None:
        self.steps, self.every, self.drawn = steps, every, 0
        self._handle: Any = None
        self._last = float("-inf")

    def __call__(self, history: History) -> None:
        """Draw, if the last picture is old enough, or this is the last step."""
        now = time.monotonic()
        if now - self._last < self.every and len(history.losses) < self.steps:
            return
        self._last = now
        self._show(live_picture(history.losses, self.steps))

    def _show(self, picture: Picture) -> None:
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            return
        if get_ipython() is None:
            return
        self.drawn += 1
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


@lru_cache(maxsize=1)
def _data() -> Data:
    return data_of(TRIED)


def training_picture(optimizer: str, power: float) -> Picture:
    """A small training with the learning rate 10 ** power, on 1,500 reviews."""
    plan = Plan(**{**vars(TRIED), "optimizer": optimizer, "lr": 10.0**power})
    losses = train(plan, _data(), progress=False).history.losses
    shown = [min(loss, 2 * TOP) if loss == loss else 2 * TOP for loss in losses]  # NaN: off the top
    return live_picture(shown, len(losses), TOP)


@control
def training_control(optimizer: str = "adagrad", power: float = -1.0) -> Control:
    """An optimizer and its learning rate, as a power of ten; below, the losses it comes to."""
    powers = [half / 2 for half in range(-6, 6)]
    axes = (
        Axis("optimizer", ("sgd", "adagrad"), optimizer, "choice"),
        Axis("log10(rate)", powers, power),
    )
    return Control("13-rate", "Turn the learning rate", axes, training_picture)
