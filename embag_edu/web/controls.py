"""A control on a static page: every state is drawn when the site is built, and packed.

`html` makes the figure for the page, in its start state; `write` the script with all states, which
the page loads when a reader first touches the control (`static/controls.js` shows a state).

How they are packed: each part of a picture (an element of SVG, a piece of its description, a line
below it) is stored once and has a number. A state is a viewBox and three lists of numbers, each
stored as its difference from the state before: how many numbers stay at the front, how many at the
end, and what stands between.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from embag_edu.chapters import style
from embag_edu.chapters.control import MIME as MIME
from embag_edu.chapters.control import Axis, Control

PLACE = re.compile(r"embag_edu\.chapters\.[\w.]+:\w+")  # where a control may come from
VARIABLES = {  # the colors that a page swaps in the dark, by the names of its CSS variables
    style.INK: "ink",
    "#000000": "ink",  # matplotlib's own
    style.QUIET: "quiet",
    style.PAPER: "paper",
    style.FAINT: "faint",
} | {
    style.to_hex(shade): f"l{number}"
    for number, color in enumerate(style.COLORS)
    for shade in (color, style.dark(color))
}
PAINTS = {color: f"f{number}" for number, color in enumerate(style.COLORS)}
PAINTED = re.compile(r'(<text[^>]*>)|(fill: |<rect [^>]*fill=")(#[0-9a-f]{6})\b')
SAME = 'autocomplete="off"'  # a page that is loaded again begins at the start
SWAPPED = re.compile(r"#[0-9a-f]{6}\b")  # in lower case: see `embag_edu.chapters.board`


class State(NamedTuple):
    """What a control shows for one choice of its values."""

    box: tuple[float, ...]  # the viewBox
    parts: list[str]  # elements of SVG
    words: list[str]  # pieces of the description of the picture
    told: list[str]  # lines below the picture


class Packed(NamedTuple):
    """A control with its start and the script of all its states."""

    control: Control
    start: State
    script: str
    states: int


@cache
def themed(svg: str) -> str:
    """SVG whose colors follow the page's theme.

    What matplotlib has painted (bars, marks) gets other variables than lines and letters: those of
    the light theme are the colors themselves, where letters need darker ones.
    """
    svg = PAINTED.sub(lambda found: found[1] or found[2] + _variable(found, 3, PAINTS), svg)
    svg = svg.replace(f'stroke="{style.PAPER}"', 'stroke="var(--e-edge)"')
    return SWAPPED.sub(_variable, svg)


def _variable(found: re.Match[str], group: int = 0, names: Mapping[str, str] = VARIABLES) -> str:
    name = names.get(found[group])
    return f"var(--e-{name})" if name else found[group]


def control_of(bundle: Mapping[str, Any]) -> Control:
    """The control that a notebook's output names, made again by the same call."""
    if not PLACE.fullmatch(bundle["of"]):
        raise ValueError(f"of is {bundle['of']!r}; valid: a function of embag_edu.chapters")
    made: Control = pkgutil.resolve_name(bundle["of"])(**bundle["arguments"])
    return made


def state_of(control: Control, values: Sequence[Any]) -> State:
    """Draws one state."""
    picture = control.draw(*values)
    box, parts = picture.parts()
    words = re.split(r"(?<=[.;:,]) ", picture.alt)
    return State(box, [themed(part) for part in parts], words, control.lines(*values))


def places(control: Control) -> Iterator[tuple[int, ...]]:
    """Every state, as the place of each value in its axis; the last axis runs fastest."""
    for at in itertools.product(*(range(len(axis.values)) for axis in control.axes)):
        rising = [at[k] for k in control.rising]
        if rising == sorted(rising):
            yield at


def values_at(control: Control, at: Sequence[int]) -> list[Any]:
    """The values of a state."""
    return [axis.values[k] for axis, k in zip(control.axes, at, strict=True)]


def pack(control: Control) -> Packed:
    """Draws every state. Takes from a moment to a minute: most of it in the figures' own code."""
    known: dict[str, int] = {}
    boxes: dict[tuple[float, ...], int] = {}
    before: list[list[int]] = [[], [], []]
    packed, start = [], None
    begin = tuple(axis.begin for axis in control.axes)
    for at in places(control):
        state = state_of(control, values_at(control, at))
        start = state if at == begin else start
        lists = [[known.setdefault(part, len(known)) for part in parts] for parts in state[1:]]
        changes = [_change(*pair) for pair in zip(before, lists, strict=True)]
        packed.append([boxes.setdefault(state.box, len(boxes)), *changes])
        before = lists
    if start is None:
        raise ValueError(f"{control.name} begins in a state that its rising axes exclude: {begin}")
    data = {
        "sizes": [len(axis.values) for axis in control.axes],
        "rising": list(control.rising),
        "parts": list(known),
        "boxes": list(boxes),
        "states": packed,
    }
    data_json = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    script = f"embagControl({json.dumps(control.name)},{data_json});\n"
    return Packed(control, start, script, len(packed))


def _change(old: list[int], new: list[int]) -> list[int]:
    """The numbers that stay at the front, at the end, and those that stand between in `new`."""
    most = min(len(old), len(new))
    front = next((k for k in range(most) if old[k] != new[k]), most)
    end = next((k for k in range(most - front) if old[-1 - k] != new[-1 - k]), most - front)
    return [front, end, *new[front : len(new) - end]]


@cache
def _packed(bundle: str) -> Packed:
    return pack(control_of(json.loads(bundle)))


def _of(bundle: Mapping[str, Any]) -> Packed:
    return _packed(json.dumps(bundle, sort_keys=True))


def write(bundle: Mapping[str, Any], folder: Path) -> Path:
    """Writes the script with all states of a control into a folder; returns its path.

    bundle: what the notebook's output has under MIME. ValueError where another control of the same
    name lies there already.
    """
    control, _, script, _ = _of(bundle)
    path = folder / f"{control.name}.js"
    text = compressed(script)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(f"two controls have the name {control.name!r}")
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def compressed(script: str) -> str:
    """The same script, a tenth as long: its data as gzip, in base64. The page unpacks it."""
    call, comma, data = script.partition(",")
    short = gzip.compress(data.removesuffix(");\n").encode("utf-8"), mtime=0)
    return f'{call}{comma}"{base64.b64encode(short).decode("ascii")}");\n'


def html(bundle: Mapping[str, Any], prefix: str = "../") -> str:
    """The figure of a control in its start state, whole without a script.

    prefix: from the page to the root of the site, where _static/controls/NAME.js lies.
    """
    return figure(_of(bundle), prefix)


def figure(packed: Packed, prefix: str = "../") -> str:
    """The same of a control that was packed."""
    control, start = packed.control, packed.start
    name, title = escape(control.name), escape(control.title)
    fields = "".join(_field(control.name, n, axis) for n, axis in enumerate(control.axes))
    alt = " ".join(start.words)
    look = f' role="img" aria-label="{escape(alt)}"'
    picture = style.wrapped(start.box, start.parts, look=look)
    lines = "".join(f"<span>{escape(line)}</span>" for line in start.told)
    return (
        f'<figure class="embag-control" data-control="{name}" '
        f'data-states="{prefix}_static/controls/{name}.js">'
        f'<figcaption id="{name}-title">{title}</figcaption>'
        f'<div class="e-fields" role="group" aria-labelledby="{name}-title">{fields}</div>'
        f'<div class="e-picture" tabindex="0" role="region" aria-label="Picture: {title}">'
        f"{picture}</div>"
        f'<p class="e-told{"" if control.told else " e-heard"}" role="status">{lines}</p>'
        f'<details class="e-words"><summary>The picture in words</summary><p>{escape(alt)}</p>'
        "</details></figure>\n"
    )


def _field(control: str, number: int, axis: Axis) -> str:
    """The native inputs of one choice. Their value is the place among the axis's values."""
    place, name, begin = f"{control}-{number}", escape(axis.name), axis.begin
    labels = [escape(label) for label in axis.labels]
    checked = [
        f' checked="checked" {SAME}' if k == begin else f" {SAME}" for k in range(len(labels))
    ]
    if axis.kind == "switch":
        box = f'<input type="checkbox" id="{place}"{checked[True]}/>'
        return f'<div class="e-field e-choice"><label>{box} {name}</label></div>'
    if axis.kind == "choice":
        options = "".join(
            f'<label><input type="radio" name="{place}" value="{k}"{checked[k]}/> {label}</label>'
            for k, label in enumerate(labels)
        )
        return f'<fieldset class="e-field e-choice"><legend>{name}</legend>{options}</fieldset>'
    return (
        f'<div class="e-field"><label for="{place}">{name}</label>'
        f'<input type="range" id="{place}" min="0" max="{len(labels) - 1}" value="{begin}" '
        f'aria-valuetext="{labels[begin]}" data-labels="{"|".join(labels)}" {SAME}/>'
        f'<span class="e-value" aria-hidden="true">{labels[begin]}</span></div>'
    )
