"""What was recorded on a GPU: read from the file that `python -m embag_edu gpu` writes.

    times = recorded("results/gpu.json")
    print(times.table("forward", "A"))
    times.times("forward", "A", "zipf 1.05")["version 8"]["median_ms"]

Every time of a GPU in the book comes from such a file; none is typed in.

    python -m embag_edu.bench.recorded book/results/gpu.json     the table of book/pages/gpu.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embag_edu.bench import traffic

SHAPES = {"A": (5_000_000, 128, 2_048, 150), "B": (1_000_000, 128, 65_536, 20)}
SKEWS = ("uniform", "zipf 1.05", "zipf 1.15")
DTYPES = ("float32", "bfloat16")
TORCH = "torch"
BEST = {"forward": "version 8", "backward": "piece_packs", "sparse": "ours"}


def recorded(path: str | Path) -> Recorded:
    """The record of a run. Raises FileNotFoundError, and ValueError for a file of another kind."""
    return Recorded(read(path, "python -m embag_edu gpu"))


def read(path: str | Path, made_by: str) -> dict[str, Any]:
    """A record that this command has written. Raises FileNotFoundError, ValueError for another."""
    record: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    if record.get("made by") != made_by:
        raise ValueError(f"{Path(path).name} was not written by: {made_by} --json ...")
    return record


def write(path: str | Path, record: dict[str, Any]) -> None:
    """Write a record that `read` reads. Whoever stops this program finds the old one or the new."""
    half = Path(f"{path}.half")
    half.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    half.replace(path)


def plain(value: Any, digits: int = 6) -> Any:
    """The value as JSON holds it: Python's numbers, floats rounded, NaN and infinity as words."""
    if isinstance(value, dict):
        return {str(key): plain(inner, digits) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, digits) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item(), digits)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if np.isfinite(value) else str(value)
    return value


@dataclass(frozen=True)
class Recorded:
    """One run of the GPU command."""

    record: dict[str, Any]

    @property
    def device(self) -> str:
        """The GPU's name."""
        return str(self.record["device"]["name"])

    @property
    def about(self) -> str:
        """The device, the versions and the copy rate, in a line."""
        versions = self.record["versions"]
        return (
            f"{self.device}, torch {versions['torch']}, CuPy {versions['cupy']}, "
            f"NVRTC {versions['NVRTC']}; it copies {self.copy_rate / 1e12:.2f} TB a second"
        )

    @property
    def copy_rate(self) -> float:
        """Bytes a second, read and written, of a copy of 1 GiB in the same run."""
        return float(self.result("ladder", "copy")["bytes_per_second"])

    def step(self, name: str) -> list[dict[str, Any]]:
        """The results of a step; none if it was not reached."""
        found = [step["results"] for step in self.record["steps"] if step["name"] == name]
        return found[0] if found else []

    def result(self, step: str, name: str) -> dict[str, Any]:
        """One result by its name. Raises KeyError, with the names that there are."""
        results = {result["name"]: result for result in self.step(step)}
        if name not in results:
            raise KeyError(f"step {step!r} has no {name!r}; there are: {', '.join(results)}")
        return results[name]

    def times(
        self, step: str, shape: str, skew: str = "uniform", dtype: str = "float32"
    ) -> dict[str, dict[str, Any]]:
        """Who did a step ("forward", "backward", "sparse") at shape A or B, by name."""
        return dict(self._at(step, shape, skew, dtype)["implementations"])

    def distinct_rows(
        self, step: str, shape: str, skew: str = "uniform", dtype: str = "float32"
    ) -> int:
        """U, the number of different rows that the recorded call looks up."""
        return int(self._at(step, shape, skew, dtype)["distinct_rows"])

    def _at(self, step: str, shape: str, skew: str, dtype: str) -> dict[str, Any]:
        for result in self.step("ladder"):
            work = result.get("workload")
            if work is None or result["step"] != step or result["dtype"] != dtype:
                continue
            at = (work["rows"], work["features"], work["bags"], work["length"])
            if at == SHAPES[shape] and skew_of(work) == skew:
                return result
        raise KeyError(f"nothing is recorded for {step}, shape {shape}, {skew}, {dtype}")

    def copy_rate_at(self, shape: str, dtype: str = "float32") -> float:
        """The copy rate, in bytes a second, of a copy that moves about as many bytes as the shape.

        A copy of few bytes is over before the memory is at full speed; so is a forward.
        """
        rates = self.result("ladder", "copy")["rates"]
        of_a = {"float32": "copy of 161 MB", "bfloat16": "of 82 MB"}
        return float(rates[of_a[dtype]] if shape == "A" else rates["copy"])

    def swept(self, dtype: str = "float32") -> Iterator[tuple[int, int, dict[str, Any]]]:
        """D, L and result of each call of the sweep; all bags together have 2**18 positions."""
        for result in self.step("sweep"):
            work = result["workload"]
            if work["bags"] * work["length"] == 1 << 18 and work["dtype"] == dtype:
                yield work["features"], work["length"], result

    def sweep(self, step: str = "forward", dtype: str = "float32") -> dict[tuple[int, int], float]:
        """Ours in parts of torch's time, by (D, L)."""
        return {(D, L): float(r[step]["of_torch"]) for D, L, r in self.swept(dtype)}

    def shares(self) -> dict[tuple[int, int], float]:
        """Our forward's logical bytes a second, in parts of the copy rate, by (D, L); float32."""
        found = {}
        for D, L, result in self.swept():
            moved = traffic.forward_logical(D, 1 << 18, (1 << 18) // L, w=4)
            seconds = 1e-3 * result["forward"]["ours_ms"]
            found[D, L] = moved / seconds / self.copy_rate
        return found

    # ---- as text ---------------------------------------------------------------------------------

    def table(
        self, step: str, shape: str, dtype: str = "float32", only: Collection[str] = ()
    ) -> str:
        """Each implementation's median at each skew, in microseconds and in parts of torch's time.

        only: the names to show, in the record's order; all if there is none.
        """
        columns = {skew: self.times(step, shape, skew, dtype) for skew in SKEWS}
        names = list(dict.fromkeys(name for column in columns.values() for name in column))
        names = [name for name in names if not only or name in only]
        lines = ["".join([f"{'us (in parts of torch)':26}", *(f"{skew:>20}" for skew in SKEWS)])]
        lines += [
            "".join([f"{name:26}", *(_cell(columns[s].get(name)) for s in SKEWS)]) for name in names
        ]
        return "\n".join(lines)

    def readme_table(self) -> str:
        """Ours against torch, in Markdown."""
        head = ["work", *(f"{shape}, {skew}" for shape in SHAPES for skew in SKEWS)]
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        for step in BEST:
            for dtype in DTYPES:
                cells = [
                    _ratio(self.times(step, shape, skew, dtype).get(BEST[step]))
                    for shape in SHAPES
                    for skew in SKEWS
                ]
                lines.append(f"| {WORDS[step]}, {dtype} | {' | '.join(cells)} |")
        return "\n".join(lines)


WORDS = {
    "forward": "forward",
    "backward": "dense backward, the same bits always",
    "sparse": "forward and backward, sparse gradient",
}


def skew_of(work: dict[str, Any]) -> str:
    """ "uniform" or "zipf 1.05", as the tables say it."""
    return work["skew"] if work["skew"] != "zipf" else f"zipf {work['exponent']:g}"


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return f"{'-':>20}"
    return f"{1e3 * found['median_ms']:,.1f} ({found['of_torch']:.2f})".rjust(20)


def _ratio(found: dict[str, Any] | None) -> str:
    return "-" if found is None else f"{found['of_torch']:.2f}"


if __name__ == "__main__":
    print(recorded(sys.argv[1]).readme_table())
