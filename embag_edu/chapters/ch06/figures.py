"""The pictures of chapter 06: how often each row is hit, the roofline, and the recorded times.

The pictures of times take a record, as `python -m embag_edu bench --json FILE` writes it, and draw
what is in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from embag_edu.chapters import style

LOOKS = {  # marker and color
    "uniform": ("o", style.BLUE),
    "zipf 1.05": ("s", style.RED),
    "reviews": ("^", style.dark(style.TEAL)),
}


# ---- skew -----------------------------------------------------------------------------------


def skew_picture(
    ids: Any, rows: int, skew: str, logical: int, compulsory: int, limit: int | None = None
) -> style.Picture:
    """How often each row is hit, from the most to the least frequent, and the bytes of a forward.

    ids: (N,) the row of each position; rows: V; limit: the top of the counts' axis.
    """
    counts = np.sort(np.bincount(ids, minlength=rows))[::-1]
    distinct, largest = int((counts > 0).sum()), int(counts[0])
    figure, (left, right) = style.figure(7.6, 2.9, 1, 2, width_ratios=(2.3, 1))
    figure.set_layout_engine("none")  # a layout costs as much as drawing; the control is to be fast
    left.set_position((0.09, 0.18, 0.54, 0.71))
    right.set_position((0.77, 0.18, 0.21, 0.71))
    ranks = np.arange(1, rows + 1)
    left.fill_between(ranks, np.where(counts, counts, 0.5), 0.5, step="mid", color=style.TEAL)
    left.loglog([1], [largest], "D", color=style.RED, ms=8, clip_on=False, zorder=5)
    left.axvline(distinct, color=style.INK, ls="--", lw=1.2)
    left.set(ylim=(0.5, limit or 1.5 * len(ids)), xlim=(0.9, rows), ylabel="positions of the row")
    left.set_xlabel("rank of the row: 1 is the most frequent")
    for axis, top in ((left.xaxis, rows), (left.yaxis, limit or len(ids))):
        ticks = [10**power for power in range(len(str(top)))]
        axis.set_ticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_ticks([], minor=True)
    left.set_title(f"{skew}: U = {distinct}; the hottest row is hit {largest:,} times")
    _two_bytes(right, logical, compulsory)
    return style.Picture(
        figure,
        f"Skew {skew}. Left: {len(ids):,} positions fall on {distinct} of {rows} rows, drawn from "
        f"the most frequent on; the first of them gets {largest:,} positions, "
        f"{100 * largest / len(ids):.1f} percent. Right: two bars, {logical:,} logical bytes, and "
        f"{compulsory:,} compulsory ones, {100 * compulsory / logical:.0f} percent of them.",
    )


def _two_bytes(ax: Axes, logical: int, compulsory: int) -> None:
    values = [logical / 1e3, compulsory / 1e3]
    ax.barh([0, 1], values, color=[style.PALE, style.BLUE], edgecolor=style.INK, height=0.6)
    for line, value in enumerate(values):
        ax.text(value + values[0] * 0.03, line, f"{value:,.0f}", va="center")
    ax.set(yticks=[0, 1], yticklabels=["logical", "compulsory"], ylim=(1.6, -0.6))
    ax.set(xlim=(0, values[0] * 1.3), xlabel="bytes of the forward / 1000")


# ---- the record -----------------------------------------------------------------------------


def entries_of(record: dict[str, Any], name: str, step: str) -> list[dict[str, Any]]:
    """What a record holds on one workload and step, the slowest implementation first."""
    found = [e for e in record["results"] if e["name"] == name and e["step"] == step]
    if not found:
        has = sorted(recorded(record))
        raise ValueError(f"name {name!r}, step {step!r} is not in this record; it has {has}")
    return sorted(found, key=lambda e: -e["median_ms"])


def recorded(record: dict[str, Any]) -> set[str]:
    """The names of the workloads in a record."""
    return {entry["name"] for entry in record["results"]}


def source_line(record: dict[str, Any]) -> str:
    """Device, threads and versions, for the foot of a picture or table."""
    device, versions = record["device"], record["versions"]
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{device['cpu']}, {record['threads']} thread; {packages}"


def ladder_picture(record: dict[str, Any], name: str) -> style.Picture:
    """The recorded times of all implementations, forward and backward, and the floor of the bytes.

    name: of a workload in the record, like "V=1M D=128 B=2048 L=50 uniform sum".
    """
    steps = ("forward", "backward")
    found = {step: entries_of(record, name, step) for step in steps}
    lines = max(len(entries) for entries in found.values())
    figure, axes = style.figure(8.6, 0.34 * lines + 1.5, 1, 2)
    told = []
    for ax, step in zip(axes, steps, strict=True):
        floor = _floor(record, found[step][0])
        _ladder(ax, found[step], floor)
        ax.set_title(f"{step}; floor {floor:.2g} ms")
        medians = ", ".join(f"{e['implementation']} {e['median_ms']:.3g}" for e in found[step])
        told.append(f"{step}: {medians}; a dashed line, the floor, at {floor:.2g}")
    dtype = found["forward"][0]["workload"]["dtype"]
    figure.supxlabel(f"{name}, {dtype}\n{source_line(record)}", fontsize=style.SMALL)
    return style.Picture(
        figure,
        f"Recorded medians in milliseconds for {name}, {dtype}, as dots on a logarithmic axis, "
        f"the slowest first. In the {'. In the '.join(told)}. Short whiskers show the quartiles. "
        f"{source_line(record)}.",
    )


def _floor(record: dict[str, Any], entry: dict[str, Any]) -> float:
    """The milliseconds in which this machine copies as many bytes as are compulsory."""
    return float(entry["bytes"]["compulsory"] / max(record["copy_GB_per_s"]) / 1e6)


def _ladder(ax: Axes, entries: Sequence[dict[str, Any]], floor: float) -> None:
    """A dot for each: a bar's length would mean nothing on a logarithmic axis."""
    own = {"vectorized": ("D", style.AMBER), "torch": ("o", style.BLUE)}
    for line, entry in enumerate(entries):
        marker, color = own.get(entry["implementation"], ("o", style.PALE))
        median, (low, high) = entry["median_ms"], entry["quartiles_ms"]
        ax.axhline(line, color=style.FAINT, lw=1, zorder=0)
        ax.plot([low, high], [line, line], color=style.INK, lw=2.2)
        ax.plot(median, line, marker, mfc=color, mec=style.INK, ms=8)
        ax.text(max(high, median) * 1.25, line, f"{median:.3g} ms", va="center",
                fontsize=style.SMALL)  # fmt: skip
    ax.axvline(floor, color=style.dark(style.RED), ls="--", lw=1.5)
    slowest = max(max(e["median_ms"], e["quartiles_ms"][1]) for e in entries)
    fastest = min(e["median_ms"] for e in entries)
    ax.set_xscale("log")
    ax.set(xlim=(min(floor, fastest) / 2, slowest * 6), ylim=(len(entries) - 0.4, -0.6))
    ax.set(yticks=range(len(entries)), yticklabels=[e["implementation"] for e in entries])


def roofline_picture(
    record: dict[str, Any], shape: str, implementations: Sequence[str] = ("torch", "vectorized")
) -> style.Picture:
    """Additions per second against additions per byte, below the roof that the copy rate makes.

    shape: the workload without its skew, like "V=1M D=128 B=2048 L=50"; mode sum, forward. The
    recorded reviews are drawn, too.
    Filled marks count logical bytes, hollow ones compulsory bytes.
    """
    rate = max(record["copy_GB_per_s"])
    figure, ax = style.figure(7.2, 3.7)
    xs: list[float] = [0.1]
    heights: list[float] = []
    told = []
    for skew, (marker, color) in LOOKS.items():
        for entry in _forwards(record, shape, skew):
            if entry["implementation"] not in implementations:
                continue
            additions = entry["counts"]["N"] * entry["counts"]["D"]
            speed = additions / entry["median_ms"] / 1e6
            x, x_once = (additions / entry["bytes"][k] for k in ("logical", "compulsory"))
            ax.plot([x, x_once], [speed] * 2, ":", color=color, lw=1)
            ax.plot(x, speed, marker, color=color, ms=8)
            ax.plot(x_once, speed, marker, mec=color, mfc=style.PAPER, ms=8, mew=1.6)
            ax.annotate(f"{entry['implementation']}, {skew}", (x_once, speed), (9, 0),
                        textcoords="offset points", va="center", fontsize=style.SMALL)  # fmt: skip
            xs, heights = [*xs, x, x_once], [*heights, speed]
            told.append(
                f"{entry['implementation']} {skew}: {speed:.2g} at {x:.2g} or {x_once:.2g} per byte"
            )
    if not heights:
        raise ValueError(f"shape {shape!r}: this record has no forward of it in mode sum")
    _roof(ax, rate, max(xs) * 5, min(heights))
    works = f"{shape} and the reviews, forward, sum, float32"
    figure.supxlabel(f"{works}\n{source_line(record)}", fontsize=style.SMALL)
    return style.Picture(
        figure,
        "A roofline, both axes logarithmic: billions of additions per second against additions "
        f"per byte. A slanted line is the roof of {rate:.3g} GB/s, the recorded copy rate. "
        f"{'; '.join(told)}. Counted with logical bytes a mark may lie above the roof; with "
        "compulsory bytes it moves right.",
    )


def _forwards(record: dict[str, Any], shape: str, skew: str) -> list[dict[str, Any]]:
    """The recorded forwards of a shape and skew; the reviews have a shape of their own."""
    names = recorded(record)
    name = f"{shape} {skew} sum"
    if skew == "reviews":
        name = next((n for n in names if n.endswith(" reviews sum")), "")
    return entries_of(record, name, "forward") if name in names else []


def _roof(ax: Axes, rate: float, end: float, lowest: float) -> None:
    xs = np.array([0.1, end])
    ax.loglog(xs, rate * xs, color=style.INK, lw=2)
    ax.text(1.0, rate * 0.62, f"roof: {rate:.3g} GB/s, copied", ha="left", va="top")
    ax.set(xlim=xs, ylim=(min(lowest / 2, rate * 0.1), rate * end * 1.2))
    ax.plot([], [], "o", color=style.INK, label="with logical bytes")
    ax.plot([], [], "o", mec=style.INK, mfc=style.PAPER, label="with compulsory bytes")
    ticks = [x for x in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if x < end]
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.set_xticks([], minor=True)
    ax.legend(loc="upper left", frameon=False, fontsize=style.SMALL)
    ax.set(xlabel="additions per byte (arithmetic intensity)", ylabel="additions per second / 10⁹")


def draw_bench(record: dict[str, Any], first: Any, folder: str) -> None:
    """`bench --draw`: ladder.svg of the first workload, roofline.svg of its shape, in a folder."""
    shape = first.work.name.removesuffix(f" {first.work.skew}").partition(" zipf")[0]
    try:
        ladder, roofline = ladder_picture(record, first.name), roofline_picture(record, shape)
    except ValueError as error:  # --only has left out what they show
        print(f"Nothing is drawn: {error}", file=sys.stderr)
        return
    print(ladder.save(Path(folder) / "ladder.svg"))
    print(roofline.save(Path(folder) / "roofline.svg"))
