"""Many tables in one call: row i of table t is the global row base[t] + i.

    tables = Tables([Table("shop", 50, 16, ("shop",)),
                     Table("word", 900, 16, ("title", "text"), mode="mean")])
    bags = Jagged(values, offsets)              # first all bags of "shop", then of "title", ...
    output = tables.output(bags)                # (B, 48): the three features side by side
    tables.step(bags, G, RowWiseAdagrad(0.1), state)

All tables lie in one array, `flat`. Those of one width D lie together, so that they are one table
of rows (R, D) at a time; widths follow one another from the narrowest. A table may have several
readers: "title" and "text" read the same rows, and each row has one base, whoever reads it.

Letters: T tables; F features, each of which reads one table; B bags of each feature, of which bag b
is number f * B + b; N positions; W numbers of an output row; R rows of all tables of a width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from embag_edu.beyond.fused import accumulator
from embag_edu.spec import Call

ALIGNED = 8  # elements: a width begins at a multiple, so that its rows can be read in packs


@dataclass(frozen=True)
class Table:
    """One table, (num_embeddings, embedding_dim), and the features that read it.

    mode: "sum" or "mean", of all bags that read the table.
    """

    name: str
    num_embeddings: int
    embedding_dim: int
    feature_names: Sequence[str]
    mode: str = "sum"

    def __post_init__(self) -> None:
        for name in ("num_embeddings", "embedding_dim"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} of table {self.name!r} is {value!r}; valid: 1, 2, ...")
        if self.mode not in ("sum", "mean"):
            raise ValueError(
                f"mode of table {self.name!r} is {self.mode!r}; valid: 'sum' and 'mean'"
            )
        if isinstance(self.feature_names, str) or not self.feature_names:
            raise ValueError(
                f"feature_names of table {self.name!r} is {self.feature_names!r}; valid: a tuple "
                "of one name or more, such as ('item',)"
            )
        for name in self.feature_names:
            if self.feature_names.count(name) > 1:
                raise ValueError(f"table {self.name!r} has the feature {name!r} twice")


class Jagged(NamedTuple):
    """The bags of all features, one feature after the other, as in torchrec's KeyedJaggedTensor."""

    values: Any  # (N,) int32 or int64: rows, each counted in the table that its feature reads
    offsets: Any  # (F * B + 1,) int64: bag f * B + b is values[offsets[f*B+b] : offsets[f*B+b+1]]
    weights: Any = None  # (N,) in the tables' dtype; all tables must be of mode "sum" then


class Width(NamedTuple):
    """All tables of one D, which are one table of rows (R, D)."""

    D: int
    features: np.ndarray  # the numbers of the features that read them
    rows: int  # R
    row: int  # the global row of its first
    element: int  # where it begins in `flat`


class Layout:
    """Where everything is. All arrays are int64: base * D leaves 32 bits soon.

    features: (F,) names, table by table. table_of: (F,) the number of the table that each reads.
    base:   (T,) the global row of row 0 of each table.
    first:  (T,) the element of `flat` at which it begins.
    columns: (F + 1,) where each feature begins in a row of the output, and its end W.
    means:  (F,) bool.
    widths: from the narrowest. width_of: (T,) the number of each table's.
    size:   the elements of `flat`.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tuple(tables)
        names = [table.name for table in self.tables]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tables have the name {name!r}; each needs one of its own")
        if not names:
            raise ValueError("tables is empty; valid: one table or more")
        read = [(t, name) for t, table in enumerate(self.tables) for name in table.feature_names]
        self.features = tuple(name for _, name in read)
        self.table_of = np.array([t for t, _ in read], np.int64)
        self.dims = np.array([table.embedding_dim for table in self.tables], np.int64)
        self.limits = np.array([table.num_embeddings for table in self.tables], np.int64)
        self.columns = np.append(0, np.cumsum(self.dims[self.table_of]))
        self.means = np.array([self.tables[t].mode == "mean" for t, _ in read])
        self.base, self.first = np.zeros_like(self.dims), np.zeros_like(self.dims)
        self.widths = self._place()
        self.width_of = np.searchsorted([width.D for width in self.widths], self.dims)
        self.size = self.widths[-1].element + self.widths[-1].rows * self.widths[-1].D

    def _place(self) -> list[Width]:
        """Give each table its base and its first element, width by width."""
        widths, row, element = [], 0, 0
        for D in sorted({int(D) for D in self.dims}):
            element += -element % ALIGNED
            begin, features = (row, element), np.flatnonzero(self.dims[self.table_of] == D)
            for t in np.flatnonzero(self.dims == D):
                self.base[t], self.first[t] = row, element
                row += int(self.limits[t])
                element += int(self.limits[t]) * D
            widths.append(Width(D, features, row - begin[0], *begin))
        return widths

    def table(self, name: str) -> int:
        """The number of a table. ValueError for a name that is not there."""
        names = [table.name for table in self.tables]
        if name not in names:
            raise ValueError(f"name is {name!r}; there are: {', '.join(names)}")
        return names.index(name)


class Stored:
    """T tables in one array, `flat`: (layout.size,), of float16, float32 or float64."""

    def __init__(
        self, tables: Sequence[Table] | Layout, dtype: Any = "float32", flat: Any = None
    ) -> None:
        self.layout = tables if isinstance(tables, Layout) else Layout(tables)
        self.flat = np.zeros(self.layout.size, dtype) if flat is None else flat

    def weight(self, table: int | str) -> Any:
        """A table of `flat`'s memory, (V, D), by its number or name."""
        t = self.layout.table(table) if isinstance(table, str) else table
        V, D = int(self.layout.limits[t]), int(self.layout.dims[t])
        first = int(self.layout.first[t])
        return self.flat[first : first + V * D].reshape(V, D)

    def joined(self, width: Width) -> Any:
        """All tables of a width as one, (R, D), on `flat`'s memory."""
        end = width.element + width.rows * width.D
        return self.flat[width.element : end].reshape(width.rows, width.D)


def call_of(weight: Any, indices: Any = None, offsets: Any = None, psw: Any = None) -> Call:
    """A sum of rows (R, D) as the rooms below take it; its arguments have been checked."""
    empty = np.zeros(1, np.int64)
    indices = empty[:0] if indices is None else indices
    offsets = empty if offsets is None else offsets
    return Call(indices, offsets, weight, psw, "sum", None, None, 2.0, False, False, indices.shape)


def upstream_of(layout: Layout, features: Any, grad_output: Any) -> Any:
    """The columns of some features of one width, one below the other: (features * B, D)."""
    of_features = [grad_output[:, slice(*layout.columns[f : f + 2])] for f in features]
    return np.concatenate(of_features)


def shares(layout: Layout, bags: Jagged, dtype: Any) -> np.ndarray | None:
    """What each position multiplies its bag's gradient with, (N,); None where all are 1.

    Its weight; in a mean 1 / the size of its bag. In the accumulator's dtype.
    """
    wide = accumulator(np.dtype(dtype))
    if bags.weights is not None:
        weights: np.ndarray = bags.weights.astype(wide, copy=False)
        return weights
    if not layout.means.any():
        return None
    lengths = np.diff(bags.offsets)
    means = np.repeat(layout.means, len(lengths) // len(layout.means))
    sizes = np.where(means, np.maximum(lengths, 1), 1)
    found: np.ndarray = 1 / np.repeat(sizes, lengths).astype(wide)
    return found
