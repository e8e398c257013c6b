"""What a checked launch counted, per source line; and two launches side by side.

A model, not a measurement: what a compiler emits at -O1, with a warp's lanes brought together where
their program counters meet. Times are not in it, and caches are not.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from embag_edu.cuda_on_cpu import source, tokens
from embag_edu.cuda_on_cpu.faults import STEP, KernelFault, shown_alone, tell, tell_note
from embag_edu.cuda_on_cpu.launched import Launched, unravel

KINDS = ("read", "write", "atomic")


@dataclass
class LineCount:
    """One kind of access in one line to one array.

    requests:   times that a warp asked. lanes: of all requests together; partial: requests in which
                not all lanes took part.
    sectors:    pieces of 32 bytes moved (global memory). wanted: bytes asked for, each address of a
                request once.
    passes:     rounds that the 32 banks of shared memory took; best: the fewest possible.
    operations: atomics. addresses: different ones in each request, added up; worst: most lanes of
                one request on one address.
    example:    the byte that each of the 32 lanes asked for in one request, from the start of the
                array; -1 for a lane that did not take part.
    """

    line: int
    text: str
    array: str
    shared: bool
    kind: str
    bytes: int
    requests: int = 0
    lanes: int = 0
    partial: int = 0
    sectors: int = 0
    wanted: int = 0
    passes: int = 0
    best: int = 0
    operations: int = 0
    addresses: int = 0
    worst: int = 0
    example: tuple[int, ...] = ()

    @property
    def moved(self) -> int:
        """Bytes moved: 32 for each sector."""
        return 32 * self.sectors

    @property
    def sectors_per_request(self) -> float:
        """1 is the least, 32 (for 4-byte accesses) the most."""
        return self.sectors / self.requests if self.requests else 0.0

    @property
    def used(self) -> float:
        """The share of the bytes moved that was asked for, 0 to 1."""
        return self.wanted / self.moved if self.moved else 0.0


@dataclass(frozen=True)
class Branch:
    """A line that a warp ran with a part of its lanes only.

    steps: times that a warp came by; partial: of them, with a part of the lanes; lanes: how many
    lanes those had on average.
    """

    line: int
    text: str
    steps: int
    partial: int
    lanes: float


@dataclass(frozen=True)
class Access:
    """One access of one thread (settings(log=...) keeps them); offset: bytes into the array."""

    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    line: int
    kind: str
    array: str
    offset: int
    bytes: int


class Report:
    """All that is known of one checked launch. `print(report)` is its table."""

    def __init__(self, launched: Launched, found: dict):
        self.launched, self.found = launched, found
        launched.shared_arrays = found.get("shared_arrays", [])

    @property
    def faults(self) -> list[str]:
        """The kinds of the faults that were found."""
        return [f["kind"] for f in self.found["faults"]]

    @property
    def notes(self) -> list[str]:
        """The kinds of what looked like a fault and is none; `print(report)` tells more."""
        return [f["kind"] for f in self.found.get("notes", [])]

    @property
    def unchecked(self) -> list[str]:
        """Where races were not looked for: "the last 50 % of `x`", for want of memory."""
        told = []
        for span, covered in self.found.get("unchecked", []):
            array, name = self.launched.array(span), self.launched.place(span)
            share = 1 - covered / array.nbytes if array is not None else 1.0
            told.append(f"`{name}`" if share == 1 else f"the last {100 * share:.0f} % of `{name}`")
        return told

    @property
    def verdict(self) -> str:
        """One sentence: what was found, and where was not looked."""
        faults, notes = len(self.faults) + self.found.get("more_faults", 0), len(self.notes)
        text = f"{faults} fault{'s' * (faults != 1)}" if faults else "no fault found"
        text += f", {notes} note{'s' * (notes != 1)}" if notes else ""
        if self.unchecked:
            text += f"; races were not looked for in {', '.join(self.unchecked)} (too large)"
        return text

    @property
    def lines(self) -> list[LineCount]:
        """The counts, in the order of the source lines."""
        sums: dict[tuple, LineCount] = {}
        for s in sorted(self.found.get("sites", []), key=lambda s: (s["line"], s["pc"])):
            if s["access"] == STEP:
                continue
            array = self.launched.place(s["span"])
            key = (s["line"], array, s["access"], s["bytes"])
            count = sums.setdefault(
                key,
                LineCount(
                    s["line"],
                    self.launched.text(s["line"]),
                    array,
                    s["span"] < 0,
                    KINDS[s["access"]],
                    s["bytes"],
                    example=tuple(s["example"]),
                ),
            )
            for name in SUMMED:
                setattr(count, name, getattr(count, name) + s[name])
            count.worst = max(count.worst, s["worst"])
        return list(sums.values())

    @property
    def branches(self) -> list[Branch]:
        """The lines that ran with a part of a warp's lanes."""
        sums: dict[int, list[int]] = {}
        for s in self.found.get("sites", []):
            if s["access"] == STEP and s["line"]:
                total = sums.setdefault(s["line"], [0, 0, 0])
                for i, name in enumerate(("requests", "partial", "partial_lanes")):
                    total[i] += s[name]
        return [
            Branch(line, self.launched.text(line), steps, partial, lanes / partial)
            for line, (steps, partial, lanes) in sorted(sums.items())
            if partial
        ]

    @property
    def accesses(self) -> list[Access]:
        """The single accesses, as many as settings(log=...) asked for, warp by warp."""
        return [
            Access(
                unravel(block, self.launched.grid),
                self.launched.thread(thread),
                line,
                KINDS[kind],
                self.launched.place(span),
                offset,
                size,
            )
            for block, thread, line, kind, span, offset, size in self.found.get("log", [])
        ]

    @property
    def hot(self) -> dict[str, tuple[int, int]]:
        """For each array that atomics hit: (byte offset of the most hit address, its hits)."""
        return {
            self.launched.place(h["span"]): (h["offset"], h["hits"])
            for h in self.found.get("hot", [])
        }

    def total(self, name: str, shared: bool = False) -> int:
        """The sum of one count over all lines: total("sectors"), total("passes", shared=True)."""
        return sum(getattr(line, name) for line in self.lines if line.shared == shared)

    def line(
        self, text_or_number: int | str, kind: str | None = None, array: str | None = None
    ) -> LineCount:
        """The one count of a line, by its number or a piece of its text.

        Raises LookupError where there is none, or more than one.
        """
        fits = [
            c
            for c in self.lines
            if (
                c.line == text_or_number
                if isinstance(text_or_number, int)
                else text_or_number in c.text
            )
            and kind in (None, c.kind)
            and array in (None, c.array)
        ]
        if len(fits) != 1:
            raise LookupError(
                f"{len(fits)} counts fit {text_or_number!r}, kind {kind!r}, array {array!r}; "
                "there are: " + "; ".join(f"line {c.line} {c.kind} {c.array}" for c in self.lines)
            )
        return fits[0]

    def table(self) -> list[list[str]]:
        """The rows of the table; the first one holds the headings."""
        return [list(HEADINGS), *(_row(c) for c in self.lines)]

    def __str__(self) -> str:
        parts = [f"{self.launched.kernel}: grid {self.launched.grid}, block {self.launched.block}"]
        parts += [_aligned(self.table(), left={1, 2, len(HEADINGS) - 1})] if self.lines else []
        parts += [
            f"line {b.line}: {b.partial:,} of {b.steps:,} steps of warps ran with a part of the "
            f"lanes ({b.lanes:.1f} of 32 on average): {b.text}"
            for b in self.branches
        ]
        parts += [
            f"most hit by atomics in {name}: byte {at}, {hits:,} times"
            for name, (at, hits) in self.hot.items()
        ]
        if self.found.get("counts_cut"):
            parts.append("(some threads made more accesses than are counted: launch on less data)")
        parts += ["", tell(self.launched, self.found)] if self.found["faults"] else []
        for note in self.found.get("notes", []):
            parts += ["", tell_note(note, self.launched)]
        parts += ["", self.verdict] if self.notes or self.unchecked else []
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        text = html.escape(str(self).partition("\n")[0])
        rest = (
            "\n".join(str(self).split("\n")[1 + len(self.table()) :]) if self.lines else str(self)
        )
        return f"<p>{text}</p>{_html(self.table())}<pre>{html.escape(rest)}</pre>"


def fault_of(report: Report) -> KernelFault:
    """The first fault of a launch that had one; its text tells of all."""
    found, launched = report.found, report.launched
    return KernelFault(tell(launched, found), found["faults"][0], launched, report)


def raise_for(report: Report) -> None:
    """Raise KernelFault if something was found."""
    if report.found["faults"]:
        raise fault_of(report)


SUMMED = (
    "requests",
    "lanes",
    "partial",
    "sectors",
    "wanted",
    "passes",
    "best",
    "operations",
    "addresses",
)
HEADINGS = (
    "line",
    "access",
    "array",
    "requests",
    "lanes",
    "sectors",
    "a request",
    "bytes used",
    "passes",
    "atomics",
    "source",
)


def _row(c: LineCount) -> list[str]:
    """One line of the table."""
    lanes = f"{c.lanes / c.requests:.1f}"
    what = f"{c.kind} {c.bytes} B"
    row = [str(c.line or "?"), what, c.array, f"{c.requests:,}", lanes]
    if c.shared:
        row += ["", "", "", f"{c.passes:,}" + (f" (best {c.best:,})" if c.passes > c.best else "")]
    else:
        row += [f"{c.sectors:,}", f"{c.sectors_per_request:.2f}", f"{100 * c.used:.3g} %", ""]
    same = f"{c.operations:,}" if c.operations else ""
    if c.worst > 1:
        same += f" (up to {c.worst} lanes on one)"
    return [*row, same, c.text[:60]]


def _aligned(rows: Sequence[Sequence[str]], left: set[int]) -> str:
    """Columns of equal width: those in `left` hold words, the others numbers."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i in left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _html(rows: Sequence[Sequence[str]], code: bool = False) -> str:
    """A table; `code`: all its cells are lines of source."""
    words = {i for i, heading in enumerate(rows[0]) if heading in ("access", "array", "source")}

    # Long lines of two kernels side by side are wrapped: the page is not as wide as both.
    style = "text-align: left; white-space: pre"
    style += "-wrap; font-family: monospace; font-size: 85%; vertical-align: top" if code else ""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} style="{style}">{html.escape(cell)}</{tag}>'
            if i in words or code
            else f"<{tag}>{html.escape(cell)}</{tag}>"
            for i, cell in enumerate(row)
        ).replace("<th></th>", "<td></td>")  # a head without words is none

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows[1:])
    return f"<table><thead><tr>{cells(rows[0], 'th')}</tr></thead><tbody>{body}</tbody></table>"


class Comparison:
    """Two launches side by side: the changed lines of source, and the counts that changed."""

    def __init__(self, a: Report, b: Report):
        self.a, self.b = a, b

    def source(self) -> list[tuple[str, str]]:
        """Pairs of source lines that differ; "" where a side has none."""
        one, two = (_body(r) for r in (self.a, self.b))
        pairs: list[tuple[str, str]] = []
        for tag, i, j, k, m in SequenceMatcher(a=one, b=two, autojunk=False).get_opcodes():
            if tag != "equal":
                left, right = one[i:j], two[k:m]
                n = max(len(left), len(right))
                pairs += zip(
                    left + [""] * (n - len(left)), right + [""] * (n - len(right)), strict=True
                )
        return pairs

    def totals(self) -> list[tuple[str, int, int]]:
        """(what, in a, in b) of everything that was counted in one of them."""
        rows = [
            (
                f"{name} ({'shared' if shared else 'global'})",
                self.a.total(count, shared),
                self.b.total(count, shared),
            )
            for name, count, shared in TOTALS
        ]
        return [row for row in rows if row[1] or row[2]]

    def __str__(self) -> str:
        a, b = self.a.launched.kernel, self.b.launched.kernel
        changed = [
            ["- " + left if left else "", "+ " + right if right else ""]
            for left, right in self.source()
        ]
        counts = [["", a, b, ""]] + [
            [what, f"{x:,}", f"{y:,}", _times(x, y)] for what, x, y in self.totals()
        ]
        return _two_columns([[a, b], *changed]) + "\n\n" + _aligned(counts, left={0})

    __repr__ = __str__

    def _repr_html_(self) -> str:
        a, b = self.a.launched.kernel, self.b.launched.kernel
        left = [[x, y] for x, y in self.source()]
        counts = [[what, f"{x:,}", f"{y:,}", _times(x, y)] for what, x, y in self.totals()]
        return _html([[a, b], *left], code=True) + _html([["", a, b, ""], *counts])


TOTALS = (
    ("requests", "requests", False),
    ("sectors of 32 bytes", "sectors", False),
    ("bytes moved", "moved", False),
    ("bytes asked for", "wanted", False),
    ("atomics", "operations", False),
    ("requests", "requests", True),
    ("bank passes", "passes", True),
    ("atomics", "operations", True),
)


def compare(a: Report | object, b: Report | object) -> Comparison:
    """Two kernels side by side, after a checked launch of each.

    a, b: kernels (their last `report` counts) or reports. Raises ValueError where there is none.
    """
    reports = []
    for which, given in (("a", a), ("b", b)):
        report = given if isinstance(given, Report) else getattr(given, "report", None)
        if not isinstance(report, Report):
            said = f"{which}: {given!r} has no report yet; launch it once in checked mode"
            raise shown_alone(ValueError(said))
        reports.append(report)
    return Comparison(*reports)


def _body(report: Report) -> list[str]:
    """The source lines of the kernel itself: from its __global__ line to the brace that ends it."""
    lines = report.launched.code.split("\n")
    first = source.kernels(report.launched.code)[report.launched.kernel.split("<")[0].strip()].line
    depth, begun, plain = 0, False, tokens.strip(report.launched.code).split("\n")
    for i in range(first - 1, len(lines)):
        depth += plain[i].count("{") - plain[i].count("}")
        begun = begun or "{" in plain[i]
        if begun and depth <= 0:
            return [text.rstrip() for text in lines[first - 1 : i + 1]]
    return [text.rstrip() for text in lines[first - 1 :]]


def _times(x: int, y: int) -> str:
    if x == y:
        return "the same"
    return f"{y / x:.3g} times" if x else "new"


def _two_columns(rows: Sequence[Sequence[str]]) -> str:
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{left.ljust(width)}  |  {right}".rstrip() for left, right in rows)
