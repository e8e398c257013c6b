"""A control: a few choices, and below them the picture of their state.

One description, a `Control`, serves the notebook, where a running kernel draws, and a web page,
where every state was drawn before (`embag_edu.web.controls`).
"""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from embag_edu.chapters.board import Board
from embag_edu.chapters.style import Picture

MIME = "application/vnd.embag.control+json"  # what a page is built from, in a notebook's output
ROOM = 24  # letters of all labels together that still stand side by side


@dataclass(frozen=True)
class Axis:
    """One choice of a control: its name, its values in their order, and the one it begins with.

    kind: "slider", or "choice" for values without an order. Two values, False and True, are a
    switch. labels: how the values are shown; by default as `str` shows them.
    """

    name: str
    values: Sequence[Any]
    start: Any
    kind: str = "slider"
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "labels", tuple(self.labels) or tuple(map(str, self.values)))
        if self.start not in self.values:
            raise ValueError(
                f"{self.name} is {self.start!r}; valid: {', '.join(map(repr, self.values))}"
            )
        if self.values == (False, True):
            object.__setattr__(self, "kind", "switch")

    @property
    def begin(self) -> int:
        """The place of the start among the values."""
        return self.values.index(self.start)


@dataclass(frozen=True)
class Control:
    """Choices, and a picture of each state.

    name:   of the file that holds the states of it, such as "07-grid".
    title:  what the reader does with it, in a few words.
    draw:   a Picture, from a value of each axis.
    told:   lines of text below the picture, from the same.
    rising: axes (their places) that may not decrease: one that is moved takes the others along.

    A notebook shows a Control that is the last value of a cell, with ipywidgets where they are
    installed; its output also says by which call it was made, for the builder of a page.
    """

    name: str
    title: str
    axes: Sequence[Axis]
    draw: Callable[..., Picture]
    told: Callable[..., Iterable[str]] | None = None
    rising: Sequence[int] = ()
    made_by: Mapping[str, Any] = field(default_factory=dict)  # `control` fills this in

    def lines(self, *values: Any) -> list[str]:
        """What is told below the picture."""
        return [] if self.told is None else list(self.told(*values))

    @functools.cached_property
    def widget(self) -> Any:
        """The control for a notebook: its choices, the lines, the picture (an ipywidgets VBox)."""
        return _View(self).box

    def __repr__(self) -> str:
        start = [axis.start for axis in self.axes]
        choices = [f"  {axis.name}: {axis.labels[axis.begin]}  (of {_range(axis.labels)})"
                   for axis in self.axes]  # fmt: skip
        shown = [f"  {line}" for line in [*self.lines(*start), self.draw(*start).alt]]
        return "\n".join([f"A control: {self.title}. Run this cell to move it.", *choices, *shown])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        if self.made_by:
            bundle |= {MIME: {"name": self.name, **self.made_by}}
        try:
            return self.widget._repr_mimebundle_() | bundle
        except ImportError:  # without ipywidgets: the start, which does not move
            start = [axis.start for axis in self.axes]
            return {"text/html": self.draw(*start).image()} | bundle


def control(make: Callable[..., Control]) -> Callable[..., Control]:
    """Decorates a function that makes a Control: notes down the call, for the builder of a page.

    The arguments must be what JSON can hold.
    """

    @functools.wraps(make)
    def made(*given: Any, **named: Any) -> Control:
        call = inspect.signature(make).bind(*given, **named)
        call.apply_defaults()
        of = f"{make.__module__}:{make.__qualname__}"
        return replace(make(*call.args, **call.kwargs),
                       made_by={"of": of, "arguments": dict(call.arguments)})  # fmt: skip

    return made


def skews(start: float) -> Axis:
    """The skew of a law of Zipf's: from 0, all rows alike, to 2, in steps of 0.05."""
    values = [round(0.05 * step, 2) for step in range(41)]
    return Axis("skew", values, start, labels=[f"{value:.2f}" for value in values])


def rows_in_use(weight: Any, ids: Iterable[int]) -> dict[str, list[float]]:
    """The rows of a table (V, D) that occur among the ids, as JSON can hold them."""
    return {str(row): exactly(np.asarray(weight)[row]) for row in sorted({int(i) for i in ids})}


def table_of(rows: Mapping[str, Sequence[float]]) -> np.ndarray:
    """(V, D) float32: the rows of `rows_in_use` at their places, zeros elsewhere."""
    table = np.zeros((max(map(int, rows)) + 1, len(next(iter(rows.values())))), np.float32)
    table[[int(row) for row in rows]] = list(rows.values())
    return table


def exactly(values: Any) -> list[float]:
    """Numbers (n,) of any float type as the shortest decimals that give the same again."""
    return [float(str(value)) for value in np.asarray(values)]


def _range(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 6 else f"{labels[0]} to {labels[-1]}"


class _View:
    """A control as widgets of a notebook, and what happens when one of them is moved."""

    def __init__(self, control: Control) -> None:
        import ipywidgets as widgets

        self.control, self.pushing, self.before = control, False, list[str]()
        self.fields = [_field(axis) for axis in control.axes]
        self.told, self.picture = widgets.HTML(), widgets.HTML()
        for one in self.fields:
            one.observe(self.moved, "value")
        self.redraw()
        light = isinstance(self.drawn.figure, Board)
        for one in self.fields:  # what takes long to draw is drawn when the slider is let go
            if not light and hasattr(one, "continuous_update"):
                one.continuous_update = False
        below = [self.told] if control.told else []
        self.box = widgets.VBox([*self.fields, *below, self.picture])

    def moved(self, change: Any) -> None:
        """A choice was moved: it takes along those that it ran into; then all is drawn once."""
        if self.pushing:
            return
        self.pushing = True
        try:
            at, rising = self.fields.index(change["owner"]), self.control.rising
            for other in rising if at in rising else ():
                push = max if other > at else min
                self.fields[other].value = push(self.fields[other].value, change["new"])
        finally:
            self.pushing = False
        self.redraw()

    def redraw(self) -> None:
        values = [one.value for one in self.fields]
        lines = self.control.lines(*values)
        self.told.value = "".join(
            f'<p style="margin: 0.3em 0; opacity: {0.7 if line in self.before else 1}">'
            f"{html.escape(line)}</p>"
            for line in lines
        )
        self.before = lines
        self.drawn = self.control.draw(*values)
        self.picture.value = self.drawn.image()


def _field(axis: Axis) -> Any:
    """The widget of one choice; its `value` is one of the axis."""
    import ipywidgets as widgets

    style, values = {"description_width": "12em"}, axis.values
    named: dict[str, Any] = {"description": axis.name, "style": style}
    wide = named | {"layout": widgets.Layout(width="36em")}
    options = list(zip(axis.labels, axis.values, strict=True))
    if axis.kind == "switch":
        return widgets.Checkbox(axis.start, **named)
    if axis.kind == "choice":
        short = sum(map(len, axis.labels)) <= ROOM
        kind = widgets.ToggleButtons if short else widgets.Dropdown
        style |= {"button_width": "6em"} if short else {}
        return kind(options=options, value=axis.start, **named)
    if all(isinstance(value, int) for value in values):
        step = values[1] - values[0]
        if list(values) == list(range(values[0], values[-1] + 1, step)):
            return widgets.IntSlider(axis.start, values[0], values[-1], step, **wide)
    return widgets.SelectionSlider(options=options, value=axis.start, **wide)
