"""`Tables`: many tables by any of the three ways, the arguments checked first."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from embag_edu.beyond.fused import Optimizer, State
from embag_edu.beyond.fused_api import check_step
from embag_edu.beyond.tables import Jagged, Stored, call_of
from embag_edu.spec import INDEX_DTYPES

WAYS = {
    "loops": "embag_edu.beyond.tables_loops",
    "vectorized": "embag_edu.beyond.tables_numpy",
    "cuda": "embag_edu.beyond.tables_cuda",
}


class Tables(Stored):
    """T tables in one array, and what one call does with them.

    tables: as `Table`s, or a `Layout`. flat: (layout.size,) the memory of all; by default zeros in
        `dtype`: float16, float32 or float64.
    implementation, of each method: "loops" makes T calls; "vectorized" and "cuda" join the tables.

    ValueError for bags that do not fit, with the name of the feature. A call that raises has
    changed nothing.

    >>> from embag_edu.beyond import Table
    >>> tables = Tables([Table("a", 2, 1, ("a",)), Table("b", 3, 1, ("b",))], "float64")
    >>> tables.weight("b")[:] = [[10.0], [20.0], [30.0]]
    >>> tables.output(Jagged(np.array([1, 0, 2]), np.array([0, 1, 3])))
    array([[ 0., 40.]])
    """

    def state(self, optimizer: Optimizer) -> list[State]:
        """The optimizer's state before the first step: one for each width, of its joined tables."""
        return [optimizer.state(self.joined(width)) for width in self.layout.widths]

    def output(self, bags: Jagged, implementation: str = "vectorized") -> Any:
        """The bags of all features, (B, W)."""
        bags = self.checked(bags)
        return way(implementation).output(self, bags)

    def gradient(self, bags: Jagged, grad_output: Any, implementation: str = "vectorized") -> Any:
        """The dense gradient, as long as `flat` and laid out like it."""
        bags = self.checked(bags, grad_output)
        return way(implementation).gradient(self, bags, grad_output)

    def grad_weights(
        self, bags: Jagged, grad_output: Any, implementation: str = "vectorized"
    ) -> Any:
        """The gradient of bags.weights, (N,)."""
        bags = self.checked(bags, grad_output)
        return way(implementation).grad_weights(self, bags, grad_output)

    def step(
        self,
        bags: Jagged,
        grad_output: Any,
        optimizer: Optimizer,
        state: list[State],
        implementation: str = "vectorized",
    ) -> None:
        """The backward with one exact update of each row that some feature reads, in place.

        state: of `self.state(optimizer)`; its step counts go up by one.
        """
        bags = self.checked(bags, grad_output)
        chosen = way(implementation)
        if len(state) != len(self.layout.widths):
            raise ValueError(
                f"state has {len(state)} parts; these tables have {len(self.layout.widths)} widths."
                "\n  To mend it: tables.state(optimizer)."
            )
        for width, of_width in zip(self.layout.widths, state, strict=True):
            check_step(call_of(self.joined(width)), optimizer, of_width, implementation)
        for of_width in state:
            of_width.step += 1
        chosen.step(self, bags, grad_output, optimizer, state)

    def checked(self, bags: Jagged, grad_output: Any = None) -> Jagged:
        """The bags, offsets as int64. Raises ValueError for what does not fit these tables."""
        values, offsets, weights = bags
        F, N = len(self.layout.features), len(values)
        _check_dtypes(values, offsets)
        if (len(offsets) - 1) % F or not len(offsets):
            raise ValueError(
                f"offsets has {len(offsets)} numbers; valid: F * B + 1, and there are F = {F} "
                f"features: {', '.join(self.layout.features)}"
            )
        offsets = offsets.astype(np.int64, copy=False)
        if offsets[0] != 0 or offsets[-1] != N or (offsets[1:] < offsets[:-1]).any():
            raise ValueError(
                f"offsets begin at {offsets[0]} and end at {offsets[-1]}; valid: from 0 to N = "
                f"{N}, and none less than the one before"
            )
        self._check_rows(values, offsets)
        self._check_weights(weights, N)
        expected = ((len(offsets) - 1) // F, int(self.layout.columns[-1])), self.flat.dtype
        if grad_output is not None and (grad_output.shape, grad_output.dtype) != expected:
            raise ValueError(
                f"grad_output has shape {grad_output.shape} and dtype {grad_output.dtype}; the "
                f"output has {expected[0]} and {expected[1]}"
            )
        return Jagged(values, offsets, weights)

    def _check_rows(self, values: Any, offsets: Any) -> None:
        B, N = (len(offsets) - 1) // len(self.layout.features), len(values)
        ends, positions = offsets[max(B, 1) :: max(B, 1)], np.arange(N, like=offsets)
        feature = np.searchsorted(ends, positions, side="right")
        limits = np.asarray(self.layout.limits[self.layout.table_of], like=offsets)
        bad: Any = np.flatnonzero((values < 0) | (values >= limits[feature])) if N else ()
        if len(bad):
            at = int(bad[0])
            f = int(feature[at])
            table = self.layout.tables[self.layout.table_of[f]]
            raise ValueError(
                f"values[{at}], of feature {self.layout.features[f]!r}, is {int(values[at])}; "
                f"valid: 0 to {table.num_embeddings - 1}, a row of table {table.name!r} (rows are "
                "counted in each table anew)"
            )

    def _check_weights(self, weights: Any, N: int) -> None:
        if weights is None:
            return
        if weights.shape != (N,) or weights.dtype != self.flat.dtype:
            raise ValueError(
                f"weights has shape {weights.shape} and dtype {weights.dtype}; valid: {(N,)} and "
                f"{self.flat.dtype}, that of the tables"
            )
        for table in self.layout.tables:
            if table.mode == "mean":
                raise ValueError(
                    f"weights are given, and table {table.name!r} has mode 'mean'; valid: 'sum'. "
                    "(torch's EmbeddingBag has no weighted mean; FBGEMM's has wrong gradients.)"
                )


def _check_dtypes(values: Any, offsets: Any) -> None:
    for name, array in (("values", values), ("offsets", offsets)):
        if array.ndim != 1 or array.dtype.name not in INDEX_DTYPES:
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; valid: 1-D, int32 or "
                "int64"
            )


def way(implementation: str) -> Any:
    """The module of an implementation's name."""
    if implementation not in WAYS:
        valid = ", ".join(WAYS)
        raise ValueError(f"implementation must be one of {valid}, but got {implementation!r}")
    return importlib.import_module(WAYS[implementation])
