"""The control of chapter 03: an upstream gradient to play with, and faults that it may not see."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import numpy as np

from embag_edu.chapters.ch03.figures import gradient_picture
from embag_edu.chapters.style import Picture
from embag_edu.check import faults

INPUT = np.array([0, 2, 2, 3, 2, 1, 3])
OFFSETS = np.array([0, 2, 5])  # bags of rows 0 2, 2 3 2 and 1 3
WEIGHT = np.array([[1.0, 5.0], [2.0, -4.0], [4.0, 3.0], [0.0, 9.0]])
PADDING_ROW = 3
BAGS, FEATURES = 3, 2

UPSTREAMS = ("all ones", "one-hot", "random", "my own")
FAULTS: dict[str, type[faults.Fault]] = {
    "the next bag's gradient": faults.NeighborsGradient,
    "features reversed": faults.GradientFeaturesReversed,
    "ones instead of grad_output": faults.GradientOfOnes,
    "= instead of +=": faults.LastWriteWins,
    "mean not divided": faults.MeanGradientNotDivided,
    "padding counts": faults.PaddingCounts,
}


def state_picture(grad_output: Any, fault: str, mode: str = "sum", padding: bool = True) -> Picture:
    """One state of the control, for readers without a running kernel.

    grad_output: (3, 2); fault: one of `FAULTS`; padding: whether row 3 is the padding row.
    """
    grad_output = np.asarray(grad_output, np.float64)
    padding_idx = PADDING_ROW if padding else None
    options: dict[str, Any] = {"offsets": OFFSETS, "mode": mode, "padding_idx": padding_idx}
    wrong = FAULTS[fault]().backward(grad_output, INPUT, WEIGHT, **options).weight
    return gradient_picture(
        INPUT, OFFSETS, WEIGHT, grad_output, mode, padding_idx, wrong, FAULTS[fault].mistake()
    )


def upstream_explorer() -> widgets.VBox:
    """The control: choose or type grad_output, a mode, padding and a fault; the picture follows."""
    return _Explorer().box


class _Explorer:
    """The parts of the control, and what happens when one of them changes."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        self.kind = _choice("Upstream:", UPSTREAMS)
        self.mode = _choice("Mode:", ("sum", "mean", "max"))
        self.fault = _choice("Fault:", tuple(FAULTS))
        self.padding = widgets.Checkbox(True, description="row 3 is padding", indent=False)
        self.bag = widgets.IntSlider(0, 0, BAGS - 1, description="one at bag")
        self.feature = widgets.IntSlider(0, 0, FEATURES - 1, description="feature")
        self.again = widgets.Button(description="draw again")
        self.fields = [_field(bag, d) for bag in range(BAGS) for d in range(FEATURES)]
        self.picture = widgets.HTML()
        self.filling = False
        self.box = self.laid_out()
        for control in (self.kind, self.bag, self.feature):
            control.observe(self.fill, "value")
        for control in (self.mode, self.fault, self.padding):
            control.observe(self.draw, "value")
        for field in self.fields:
            field.observe(self.typed, "value")
        self.again.on_click(self.fill)
        self.fill()

    def laid_out(self) -> widgets.VBox:
        """Choices above, the grid of grad_output below them, the picture last."""
        lines = [
            widgets.HBox(self.fields[bag * FEATURES : (bag + 1) * FEATURES]) for bag in range(BAGS)
        ]
        grid = widgets.VBox([widgets.HTML("<b>grad_output</b>, one line for each bag:"), *lines])
        one_hot = widgets.VBox([self.bag, self.feature, self.again])
        choices = widgets.HBox([self.kind, self.mode, self.fault, self.padding])
        choices.layout.flex_flow = "row wrap"
        return widgets.VBox([choices, widgets.HBox([grid, one_hot]), self.picture])

    def fill(self, _: Any = None) -> None:
        """Write the chosen kind of upstream gradient into the grid."""
        kind = self.kind.value
        for control in (self.bag, self.feature):
            control.disabled = kind != "one-hot"
        self.again.disabled = kind != "random"
        values = self.values()
        if kind == "all ones":
            values = np.ones((BAGS, FEATURES))
        elif kind == "one-hot":
            values = np.zeros((BAGS, FEATURES))
            values[self.bag.value, self.feature.value] = 1
        elif kind == "random":
            values = np.round(self.random.normal(size=(BAGS, FEATURES)) * 2, 1)
        self.filling = True
        for field, value in zip(self.fields, values.ravel(), strict=True):
            field.value = float(value)
        self.filling = False
        self.draw()

    def typed(self, _: Any) -> None:
        """A number of the grid was changed: by the reader, unless we are filling it."""
        if self.filling:
            return
        if self.kind.value != "my own":
            self.kind.value = "my own"  # draws
        else:
            self.draw()

    def values(self) -> np.ndarray:
        """The grid, (B, D)."""
        return np.array([field.value for field in self.fields]).reshape(BAGS, FEATURES)

    def draw(self, _: Any = None) -> None:
        """Draw the picture of the present state."""
        shown = state_picture(
            self.values(), self.fault.value, self.mode.value, bool(self.padding.value)
        )
        self.picture.value = shown._repr_mimebundle_()["text/html"]


def _choice(label: str, options: tuple[str, ...]) -> widgets.Dropdown:
    return widgets.Dropdown(options=options, description=label)


def _field(bag: int, feature: int) -> widgets.FloatText:
    name = f"bag {bag}, d {feature}"
    return widgets.FloatText(1.0, step=0.5, description=name, layout={"width": "170px"})
