"""Believable mistakes: EmbeddingBag in small steps, and for each mistake one step gone wrong.

`Steps` is correct. Each `Fault` below overrides one of its steps, and says in one sentence what is
wrong and which clauses of the table must notice. They serve twice: the tests ask that the checker
rejects every one of them, and the checker itself, when a call fails, looks for the mistake that
would give the very same answer, to name it as the likely cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from embag_edu.check.cases import DEFAULTS, Arguments
from embag_edu.spec import Call, Gradients, SparseGradient, check_backward, make_call

Members = list[int]


class Steps:
    """The correct forward and backward, in steps that are small enough to break one at a time."""

    # ---- the way through ----

    def forward(self, input: Any, weight: Any, **options: Any) -> np.ndarray:
        """torch's signature, NumPy arrays."""
        call = self.understand({"input": input, "weight": weight, **options})
        if call.max_norm is not None:
            self.renorm(call)
        output = np.zeros((call.num_bags, call.embedding_dim), call.accumulator)
        for bag in range(call.num_bags):
            output[bag] = self.row_of_bag(call, bag)
        return self.finish(call, output.astype(call.weight.dtype))

    def backward(self, grad_output: Any, input: Any, weight: Any, **options: Any) -> Gradients:
        """torch's gradients, given the table as the forward left it."""
        arguments = {"input": input, "weight": weight, **options}
        arguments.pop("max_norm", None)
        call = self.understand(arguments)
        check_backward(call, grad_output)
        upstream = self.upstream(call, grad_output.astype(call.accumulator))
        if call.sparse:
            grad_weight: Any = self.finish_sparse(call, self.entries(call, upstream))
        else:
            grad_weight = self.start_gradient(call)
            for row, share in self.entries(call, upstream):
                self.scatter(grad_weight, row, share)
            grad_weight = self.finish_gradient(call, grad_weight.astype(call.weight.dtype))
        psw = call.per_sample_weights
        return Gradients(grad_weight, None if psw is None else self.grad_psw(call, upstream))

    # ---- the steps of both ----

    def understand(self, arguments: Arguments) -> Call:
        """What the call means."""
        return make_call(**self.read(arguments))

    def read(self, arguments: Arguments) -> Arguments:
        """The arguments as they are taken."""
        return arguments

    def members(self, call: Call, bag: int) -> Members:
        """The positions of a bag that count."""
        return _without_padding(call, _all_positions(call, bag))

    def factor(self, call: Call, position: int) -> Any:
        """The weight of a position."""
        psw = call.per_sample_weights
        return call.accumulator.type(1 if psw is None else psw[position])

    def divisor(self, call: Call, bag: int, members: Members) -> int:
        """What the mean divides by."""
        return len(members)

    # ---- the steps of the forward ----

    def renorm(self, call: Call) -> None:
        """max_norm, in place."""
        for row in self.rows_to_rescale(call):
            norm = self.norm(call.weight[row], call.norm_type)
            if self.is_long(norm, call):
                call.weight[row] *= call.weight.dtype.type(self.scale(norm, call))

    def rows_to_rescale(self, call: Call) -> Any:
        """Each row that occurs, once."""
        return np.unique(call.indices)

    def norm(self, row: np.ndarray, p: float) -> float:
        """The p-norm."""
        return float(np.linalg.norm(row.astype(np.float64), p))

    def is_long(self, norm: float, call: Call) -> bool:
        """Whether a row is rescaled."""
        return norm > float(call.max_norm or 0.0)

    def scale(self, norm: float, call: Call) -> float:
        """What a row is multiplied with."""
        return float(call.max_norm or 0.0) / (norm + 1e-7)

    def row_of_bag(self, call: Call, bag: int) -> Any:
        """One row of the output."""
        members = self.members(call, bag)
        if not members:
            return self.empty(call, bag)
        rows = call.weight[call.indices[members]].astype(call.accumulator)
        if call.mode == "max":
            return self.maximum(call, members, rows)
        factors = np.array([self.factor(call, i) for i in members])[:, None]
        total = self.add(rows * factors)
        return total / self.divisor(call, bag, members) if call.mode == "mean" else total

    def add(self, terms: np.ndarray) -> np.ndarray:
        """The sum of the rows, in order."""
        total = np.zeros(terms.shape[1], terms.dtype)
        for term in terms:
            total = total + term
        return total

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        """The largest value of each feature."""
        best = self.winner_of_rows(rows)
        return rows[best, np.arange(rows.shape[1])]

    def winner_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Which row has the largest value of each feature: the first of equals."""
        best = np.zeros(rows.shape[1], int)
        for number, row in enumerate(rows):
            best[row > rows[best, np.arange(rows.shape[1])]] = number
        return best

    def empty(self, call: Call, bag: int) -> Any:
        """The row of an empty bag."""
        return np.zeros(call.embedding_dim)

    def finish(self, call: Call, output: np.ndarray) -> Any:
        """What is returned."""
        return output

    # ---- the steps of the backward ----

    def upstream(self, call: Call, grad_output: np.ndarray) -> np.ndarray:
        """grad_output as it is used."""
        return grad_output

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """(row, gradient) of every position that counts, in order."""
        found = []
        for bag in range(call.num_bags):
            members = self.members(call, bag)
            if call.mode == "max":
                found += self.entries_of_max(call, members, upstream[bag])
                continue
            for i in members:
                share = upstream[bag] * self.factor(call, i)
                share = share / self.divisor(call, bag, members) if call.mode == "mean" else share
                found.append((call.indices[i], share / self.frequency(call, bag, call.indices[i])))
        return found

    def entries_of_max(self, call: Call, members: Members, upstream: Any) -> list[Any]:
        """The winners' gradients."""
        if not members:
            return []
        best = self.winner_of_rows(call.weight[call.indices[members]].astype(call.accumulator))
        return [
            (call.indices[i], np.where(best == number, upstream, 0))
            for number, i in enumerate(members)
        ]

    def frequency(self, call: Call, bag: int, row: int) -> Any:
        """What scale_grad_by_freq divides by."""
        count = int((call.indices == row).sum()) if call.scale_grad_by_freq else 1
        return call.accumulator.type(count)

    def start_gradient(self, call: Call) -> np.ndarray:
        """The gradient before anything is added."""
        return np.zeros(call.weight.shape, call.accumulator)

    def scatter(self, grad_weight: np.ndarray, row: int, share: np.ndarray) -> None:
        """Hand a gradient to a row. A winner of no feature must not turn inf into NaN."""
        grad_weight[row] += share

    def finish_gradient(self, call: Call, grad_weight: np.ndarray) -> Any:
        """The dense gradient that is returned."""
        return grad_weight

    def finish_sparse(self, call: Call, entries: list[tuple[int, np.ndarray]]) -> Any:
        """The sparse gradient that is returned."""
        entries = entries if call.embedding_dim else []
        rows = np.array([row for row, _ in entries], np.int64).reshape(1, -1)
        values = np.array([v for _, v in entries]).reshape(len(entries), call.embedding_dim)
        return SparseGradient(rows, values.astype(call.weight.dtype), call.weight.shape)

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        """The gradient of per_sample_weights."""
        found = np.zeros(call.num_positions, call.accumulator)
        for bag in range(call.num_bags):
            for i in self.members(call, bag):
                found[i] = self.dot(call, upstream[bag], call.indices[i])
        return found.astype(call.weight.dtype).reshape(call.input_shape)

    def dot(self, call: Call, upstream: np.ndarray, row: int) -> Any:
        """The gradient of one weight."""
        return upstream @ call.weight[row].astype(call.accumulator)


class Fault(Steps):
    """A mistake. The class keyword `caught_by` names the clauses that must notice it."""

    caught_by: ClassVar[tuple[str, ...]]
    steps: ClassVar[set[str]]  # those that are wrong

    def __init_subclass__(cls, caught_by: str) -> None:
        cls.caught_by = tuple(caught_by.split())
        cls.steps = {name for name, step in vars(Steps).items() if getattr(cls, name) is not step}
        FAULTS.append(cls)

    @classmethod
    def mistake(cls) -> str:
        """The mistake in one sentence."""
        return str(cls.__doc__).strip()

    @classmethod
    def touches(cls, part: str, arguments: Arguments) -> bool:
        """Whether a step that is wrong is gone through for this part of a call."""
        return bool(steps_of(part, arguments) & cls.steps)


FAULTS: list[type[Fault]] = []


def steps_of(part: str, arguments: Arguments) -> set[str]:
    """The steps that may change this part of a call: see `embag_edu.check.oracle.judge`."""
    given = DEFAULTS | arguments
    steps = {"understand", "read", "forward", "backward"}
    if part in ("refused", "untouched"):
        return steps
    if given["max_norm"] is not None:
        steps |= {"renorm", "rows_to_rescale", "norm", "is_long", "scale"}
    if part == "table":
        return steps - {"backward"} | {"finish"}
    steps |= {"members", "winner_of_rows" if given["mode"] == "max" else "factor", "finish"}
    steps |= {"divisor"} if given["mode"] == "mean" else set()
    if part == "output":
        steps |= {"maximum"} if given["mode"] == "max" else {"add"}
        return steps - {"backward"} | {"row_of_bag", "empty"}
    steps |= {"upstream"}
    if part == "grad_psw":
        return steps | {"grad_psw", "dot"}
    steps |= {"frequency"} if given["scale_grad_by_freq"] else set()
    steps |= {"entries_of_max"} if given["mode"] == "max" else set()
    dense = {"start_gradient", "scatter", "finish_gradient"}
    return steps | {"entries"} | ({"finish_sparse"} if given["sparse"] else dense)


def _all_positions(call: Call, bag: int) -> Members:
    return list(range(call.offsets[bag], call.offsets[bag + 1]))


def _without_padding(call: Call, positions: Iterable[int]) -> Members:
    return [i for i in positions if call.indices[i] != call.padding_idx]


def _with(arguments: Arguments, name: str, change: Callable[..., Any]) -> Arguments:
    """The arguments with one of them changed, where it is an array of numbers."""
    array = arguments.get(name)
    if not isinstance(array, np.ndarray) or array.dtype == bool:
        return arguments
    return arguments | {name: change(array)}


# ---- which positions belong to a bag --------------------------------------------------------


class PaddingCounts(Fault, caught_by="padding.sum padding.mean padding.max backward.padding"):
    """padding_idx is not looked at: padding positions count like any other"""

    def members(self, call: Call, bag: int) -> Members:
        return _all_positions(call, bag)


class PaddingInTheMean(Fault, caught_by="padding.mean backward.padding"):
    """padding is counted in the number that the mean divides by"""

    def divisor(self, call: Call, bag: int, members: Members) -> int:
        return len(_all_positions(call, bag))


class PaddingNotWrapped(Fault, caught_by="padding.negative"):
    """a negative padding_idx is not counted from the end, so it matches no row"""

    def understand(self, arguments: Arguments) -> Call:
        call = make_call(**arguments)
        if arguments.get("padding_idx") is not None and arguments["padding_idx"] < 0:
            object.__setattr__(call, "padding_idx", None)
        return call


class PaddingIsRowZero(Fault, caught_by="padding.sum padding.mean"):
    """padding_idx=0 is taken for no padding_idx (0 is false)"""

    def members(self, call: Call, bag: int) -> Members:
        return super().members(call, bag) if call.padding_idx else _all_positions(call, bag)


class PaddingTimesZero(Fault, caught_by="padding.poison"):
    """padding rows are multiplied by zero instead of being skipped: NaN and infinity leak"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        row = super().row_of_bag(call, bag)
        padding = {*_all_positions(call, bag)} - {*self.members(call, bag)}
        return row + sum(call.weight[call.indices[i]] * 0.0 for i in padding)


class PaddingWeightTimesZero(Fault, caught_by="weights.padding"):
    """the weight of a padding position is multiplied by zero instead of being skipped"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        row = super().row_of_bag(call, bag)
        padding = {*_all_positions(call, bag)} - {*self.members(call, bag)}
        return row + sum(self.factor(call, i) * 0.0 for i in padding)


class PaddingFindsZeroMaximum(Fault, caught_by="padding.max"):
    """padding takes part in a maximum as zeros"""

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        best = super().maximum(call, members, rows)
        return np.maximum(best, 0) if call.padding_idx in call.indices else best


class LastBagDropped(Fault, caught_by="bags.offsets forward.sum"):
    """the last bag is not computed"""

    def members(self, call: Call, bag: int) -> Members:
        return super().members(call, bag) if bag < call.num_bags - 1 else []


class LastPositionDropped(Fault, caught_by="bags.offsets forward.sum"):
    """the last position of the last bag is left out"""

    def members(self, call: Call, bag: int) -> Members:
        last = call.num_positions - (bag == call.num_bags - 1)
        return [i for i in super().members(call, bag) if i < last]


class FirstPositionDropped(Fault, caught_by="bags.offsets forward.sum"):
    """the first position of each bag is left out"""

    def members(self, call: Call, bag: int) -> Members:
        return [i for i in super().members(call, bag) if i > call.offsets[bag]]


class OneTooMany(Fault, caught_by="bags.offsets forward.sum"):
    """each bag takes the first position of the next bag too (<= instead of <)"""

    def members(self, call: Call, bag: int) -> Members:
        end = min(call.offsets[bag + 1] + 1, call.num_positions)
        return _without_padding(call, range(call.offsets[bag], end))


class OffsetsAreLengths(Fault, caught_by="bags.offsets"):
    """offsets are taken for the lengths of the bags"""

    def members(self, call: Call, bag: int) -> Members:
        start = int(call.offsets[:bag].sum())
        every = range(call.num_positions)[start : start + call.offsets[bag]]
        return _without_padding(call, every)


class EverythingInOneBag(Fault, caught_by="bags.offsets forward.sum"):
    """every bag holds all positions: offsets are not used"""

    def members(self, call: Call, bag: int) -> Members:
        return _without_padding(call, range(call.num_positions))


class RepeatsCountOnce(Fault, caught_by="forward.sum.repeated_row backward.repeated_row"):
    """a row that is repeated in a bag counts once"""

    def members(self, call: Call, bag: int) -> Members:
        seen: dict[int, int] = {}
        for i in super().members(call, bag):
            seen.setdefault(int(call.indices[i]), i)
        return list(seen.values())


class LastOffsetDropped(Fault, caught_by="bags.include_last_offset"):
    """with include_last_offset, the last bag is lost"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return output[:-1] if self._with_end else output

    def understand(self, arguments: Arguments) -> Call:
        self._with_end = bool(arguments.get("include_last_offset"))
        return make_call(**arguments)


class LastOffsetIsABag(Fault, caught_by="bags.include_last_offset"):
    """include_last_offset is not looked at: the end is taken for one more, empty bag"""

    def read(self, arguments: Arguments) -> Arguments:
        return arguments | {"include_last_offset": False}


class TwoDimensionalLosesARow(Fault, caught_by="bags.two_dimensional.include_last_offset"):
    """include_last_offset is applied to a 2-D input, whose last bag is lost"""

    def read(self, arguments: Arguments) -> Arguments:
        if not arguments.get("include_last_offset") or np.ndim(arguments["input"]) < 2:
            return arguments
        return arguments | {"input": arguments["input"][:-1]}


class TwoDimensionalTurned(Fault, caught_by="bags.two_dimensional"):
    """a 2-D input is read by columns: each column is a bag"""

    def read(self, arguments: Arguments) -> Arguments:
        if np.ndim(arguments["input"]) < 2 or not arguments["input"].size:
            return arguments
        turned = _with(arguments, "input", np.transpose)
        return _with(turned, "per_sample_weights", np.transpose)


# ---- empty bags -----------------------------------------------------------------------------


class EmptyTakesNeighbor(Fault, caught_by="bags.empty"):
    """an empty bag takes the next row, as np.add.reduceat does"""

    def empty(self, call: Call, bag: int) -> Any:
        start = call.offsets[bag]
        return call.weight[call.indices[start]] if start < call.num_positions else 0


class EmptySumTakesNeighbor(EmptyTakesNeighbor, caught_by="bags.empty"):
    """an empty bag takes the next row, as np.add.reduceat does, in modes sum and mean"""

    def empty(self, call: Call, bag: int) -> Any:
        return 0 if call.mode == "max" else super().empty(call, bag)


class EmptyIsNaN(Fault, caught_by="bags.empty padding.only"):
    """an empty bag gives 0 / 0 = NaN in mode mean"""

    def empty(self, call: Call, bag: int) -> Any:
        return np.nan if call.mode == "mean" else 0


class EmptyIsMinusInfinity(Fault, caught_by="bags.empty padding.only"):
    """an empty bag gives -inf in mode max, the start of the search"""

    def empty(self, call: Call, bag: int) -> Any:
        return -np.inf if call.mode == "max" else 0


class EmptyTakesRowZero(Fault, caught_by="bags.empty"):
    """an empty bag gives row 0 of the table"""

    def empty(self, call: Call, bag: int) -> Any:
        return call.weight[0] if call.num_embeddings else 0


class EmptyRepeatsBefore(Fault, caught_by="bags.empty"):
    """an empty bag repeats the row of the bag before: the accumulator was not cleared"""

    def empty(self, call: Call, bag: int) -> Any:
        return self.row_of_bag(call, bag - 1) if bag else 0


class EmptyBagsVanish(Fault, caught_by="bags.empty"):
    """empty bags have no row in the output"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return output[[bag for bag in range(call.num_bags) if len(_all_positions(call, bag))]]


# ---- the reduction --------------------------------------------------------------------------


class MeanIsSum(Fault, caught_by="forward.mean backward.mean"):
    """mode mean does not divide"""

    def divisor(self, call: Call, bag: int, members: Members) -> int:
        return 1


class MaxIsSum(Fault, caught_by="forward.max forward.max.negative"):
    """mode max adds up, as sum does"""

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        return self.add(rows)


class MeanOfDistinct(Fault, caught_by="forward.mean"):
    """mode mean divides by the number of distinct rows"""

    def divisor(self, call: Call, bag: int, members: Members) -> int:
        return len({int(call.indices[i]) for i in members})


class MeanOverEverything(Fault, caught_by="forward.mean backward.mean"):
    """mode mean divides by the number of all positions, not by the bag's"""

    def divisor(self, call: Call, bag: int, members: Members) -> int:
        return call.num_positions


class SumByDefault(Fault, caught_by="forward.mean.is_the_default"):
    """without a mode, the mode is taken to be sum"""

    def read(self, arguments: Arguments) -> Arguments:
        return {"mode": "sum"} | arguments


class MaximumFromZero(Fault, caught_by="forward.max.negative"):
    """the maximum starts at zero, so it is never negative"""

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        return np.maximum(super().maximum(call, members, rows), 0)


class MaximumOfSizes(Fault, caught_by="forward.max forward.max.negative"):
    """the maximum goes by the size of the values, without their sign"""

    def winner_of_rows(self, rows: np.ndarray) -> np.ndarray:
        return super().winner_of_rows(np.abs(rows))


class WholeRowWins(Fault, caught_by="forward.max backward.max"):
    """the maximum takes one whole row (the largest first feature), not each feature's own"""

    def winner_of_rows(self, rows: np.ndarray) -> np.ndarray:
        return np.repeat(super().winner_of_rows(rows[:, :1]), rows.shape[1])


class AnyNaNWins(Fault, caught_by="forward.max.nan_later backward.max.nan"):
    """any NaN wins a maximum, as in torch.max and np.max"""

    def winner_of_rows(self, rows: np.ndarray) -> np.ndarray:
        return np.argmax(rows, axis=0)


class NoNaNWins(Fault, caught_by="forward.max.nan_first"):
    """a NaN never wins a maximum, as in np.fmax"""

    def winner_of_rows(self, rows: np.ndarray) -> np.ndarray:
        return super().winner_of_rows(np.where(np.isnan(rows), -np.inf, rows))


class MinusInfinityIsEmpty(Fault, caught_by="forward.max.neg_inf"):
    """a maximum of -inf is taken for an empty bag and set to zero"""

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        best = super().maximum(call, members, rows)
        return np.where(np.isneginf(best), 0, best)


class NaNToNumber(Fault, caught_by="forward.sum.nan_and_inf"):
    """NaN is replaced by zero"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return np.where(np.isnan(output), output.dtype.type(0), output)


class Accumulates16(Fault, caught_by="numbers.float16 numbers.bfloat16"):
    """16-bit sums are kept in 16 bits and rounded at every step"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        if call.weight.dtype.itemsize > 2 or call.mode == "max":
            return super().row_of_bag(call, bag)
        total = np.zeros(call.embedding_dim, call.weight.dtype)
        members = self.members(call, bag)
        for i in members:
            row = call.weight[call.indices[i]] * self.factor(call, i).astype(call.weight.dtype)
            total = total + row
        return total / max(len(members), 1) if call.mode == "mean" else total


class DoubleInSingle(Fault, caught_by="numbers.float64"):
    """float64 is computed in float32"""

    def add(self, terms: np.ndarray) -> np.ndarray:
        return super().add(terms.astype(np.float32)).astype(terms.dtype)


# ---- per_sample_weights ---------------------------------------------------------------------


class WeightsNotUsed(Fault, caught_by="weights.sum backward.weights"):
    """per_sample_weights are not used"""

    def factor(self, call: Call, position: int) -> Any:
        return call.accumulator.type(1)


class WeightsOfTheBag(Fault, caught_by="weights.sum backward.weights"):
    """per_sample_weights are looked up by the place within the bag, not by the position"""

    def factor(self, call: Call, position: int) -> Any:
        start = call.offsets[np.searchsorted(call.offsets, position, "right") - 1]
        return super().factor(call, position - int(start))


class WeightsOfTheRow(Fault, caught_by="weights.sum"):
    """per_sample_weights are looked up by the row number, not by the position"""

    def factor(self, call: Call, position: int) -> Any:
        row = int(call.indices[position])
        return super().factor(call, row % max(call.num_positions, 1))


class WeightedMean(Fault, caught_by="weights.sum"):
    """the weighted sum is divided by the sum of the weights"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        total = sum(self.factor(call, i) for i in self.members(call, bag))
        row = super().row_of_bag(call, bag)
        return row / total if call.per_sample_weights is not None and total else row


class WeightsAdded(Fault, caught_by="weights.sum"):
    """per_sample_weights are added to the rows instead of multiplied"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        if call.per_sample_weights is None:
            return super().row_of_bag(call, bag)
        members = self.members(call, bag)
        return sum(call.weight[call.indices[i]] + self.factor(call, i) for i in members)


class WeightsByColumn(Fault, caught_by="weights.two_dimensional"):
    """2-D per_sample_weights are read by columns"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "per_sample_weights", lambda psw: psw.T.reshape(psw.shape))


# ---- max_norm -------------------------------------------------------------------------------


class NoRenorm(Fault, caught_by="max_norm.output max_norm.in_place"):
    """max_norm is not looked at"""

    def renorm(self, call: Call) -> None:
        pass


class RenormOfACopy(Fault, caught_by="max_norm.in_place"):
    """max_norm rescales a copy: the table itself stays as it was"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "weight", np.array)


class RenormEverything(Fault, caught_by="max_norm.in_place"):
    """max_norm rescales rows that do not occur, too"""

    def rows_to_rescale(self, call: Call) -> Any:
        return range(call.num_embeddings)


class RenormPerOccurrence(Fault, caught_by="max_norm.in_place"):
    """max_norm scales a row once per occurrence, by the norm it had at first"""

    def renorm(self, call: Call) -> None:
        norms = {row: self.norm(call.weight[row], call.norm_type) for row in set(call.indices)}
        for row in call.indices:
            if self.is_long(norms[row], call):
                call.weight[row] *= call.weight.dtype.type(self.scale(norms[row], call))


class RenormSkipsPadding(Fault, caught_by="max_norm.padding_row"):
    """max_norm leaves the padding row alone"""

    def rows_to_rescale(self, call: Call) -> Any:
        return [row for row in np.unique(call.indices) if row != call.padding_idx]


class RenormWithoutEpsilon(Fault, caught_by="max_norm.formula"):
    """the scale is max_norm / norm, without the 1e-7"""

    def scale(self, norm: float, call: Call) -> float:
        return float(call.max_norm or 0.0) / norm


class RenormAtTheEdge(Fault, caught_by="max_norm.edge"):
    """a row exactly as long as max_norm is rescaled too (>= instead of >)"""

    def is_long(self, norm: float, call: Call) -> bool:
        return norm >= float(call.max_norm or 0.0)


class RenormAlways(Fault, caught_by="max_norm.in_place max_norm.edge"):
    """short rows are stretched to max_norm too"""

    def is_long(self, norm: float, call: Call) -> bool:
        return norm > 0 and np.isfinite(float(call.max_norm or 0.0))


class RenormSquared(Fault, caught_by="max_norm.in_place"):
    """the square root of the norm was forgotten"""

    def norm(self, row: np.ndarray, p: float) -> float:
        return super().norm(row, p) ** 2 if p == 2 else super().norm(row, p)


class RenormOnlyTwo(Fault, caught_by="max_norm.norm_type"):
    """norm_type is not looked at: it is always 2"""

    def norm(self, row: np.ndarray, p: float) -> float:
        return super().norm(row, 2.0)


class RenormWithoutAbs(Fault, caught_by="max_norm.norm_type"):
    """the norm takes powers of the values without their absolute value"""

    def norm(self, row: np.ndarray, p: float) -> float:
        if not np.isfinite(p) or p in (0, 2):
            return super().norm(row, p)
        return float(np.sum(row.astype(np.float64) ** p) ** (1 / p))


class RenormOfSize(Fault, caught_by="max_norm.special"):
    """a negative max_norm is taken for a positive one"""

    def scale(self, norm: float, call: Call) -> float:
        return abs(super().scale(norm, call))


# ---- what is returned -----------------------------------------------------------------------


class FeaturesReversed(Fault, caught_by="forward.sum forward.max"):
    """the features of the output stand in reverse order"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return np.ascontiguousarray(output[:, ::-1])


class BagsReversed(Fault, caught_by="forward.sum bags.offsets"):
    """the bags of the output stand in reverse order"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return np.ascontiguousarray(output[::-1])


class OutputTurned(Fault, caught_by="forward.sum"):
    """the output is transposed, (D, B)"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return np.ascontiguousarray(output.T)


class OutputInDouble(Fault, caught_by="forward.sum numbers.float16"):
    """the output is float64, whatever weight is"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return output.astype(np.float64)


class OutputIsNaN(Fault, caught_by="forward.sum forward.mean forward.max"):
    """the output is NaN"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return np.full_like(output, np.nan)


class OutputIsZero(Fault, caught_by="forward.sum forward.mean forward.max"):
    """the output is zero"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        return np.zeros_like(output)


class WeightScaled(Fault, caught_by="always.weight_unchanged"):
    """weight is overwritten with the rows times their weights"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        if call.per_sample_weights is not None and call.max_norm is None:
            call.weight[call.indices] *= call.per_sample_weights[:, None]
        return output


def _as_if_contiguous(array: np.ndarray) -> np.ndarray:
    """What the memory of an array holds from its first number on."""
    if array.base is None or array.base.size < array.size:
        return array
    memory = np.lib.stride_tricks.as_strided(array, (array.size,), (array.itemsize,))
    return np.array(memory).reshape(array.shape)


class StridesIgnored(Fault, caught_by="bags.strides"):
    """weight is read as if it lay contiguous in memory"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "weight", _as_if_contiguous)


class InputStridesIgnored(Fault, caught_by="bags.strides"):
    """input is read as if it lay contiguous in memory"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "input", _as_if_contiguous)


class OffsetsStridesIgnored(Fault, caught_by="bags.strides"):
    """offsets are read as if they lay contiguous in memory"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "offsets", _as_if_contiguous)


class WeightsStridesIgnored(Fault, caught_by="bags.strides"):
    """per_sample_weights are read as if they lay contiguous in memory"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "per_sample_weights", _as_if_contiguous)


# ---- the backward ---------------------------------------------------------------------------


class NeighborsGradient(Fault, caught_by="backward.sum backward.max backward.psw"):
    """each bag uses the upstream gradient of the next bag"""

    def upstream(self, call: Call, grad_output: np.ndarray) -> np.ndarray:
        return np.roll(grad_output, -1, axis=0)


class FirstBagsGradient(Fault, caught_by="backward.sum backward.mean"):
    """every bag uses the upstream gradient of the first bag"""

    def upstream(self, call: Call, grad_output: np.ndarray) -> np.ndarray:
        return np.repeat(grad_output[:1], len(grad_output), axis=0)


class GradientFeaturesReversed(Fault, caught_by="backward.sum backward.max"):
    """the features of the upstream gradient are read in reverse order"""

    def upstream(self, call: Call, grad_output: np.ndarray) -> np.ndarray:
        return grad_output[:, ::-1]


class GradientOfOnes(Fault, caught_by="backward.sum backward.mean backward.max"):
    """the upstream gradient is taken to be all ones"""

    def upstream(self, call: Call, grad_output: np.ndarray) -> np.ndarray:
        return np.ones_like(grad_output)


class SumsOfOnes(Fault, caught_by="backward.sum backward.mean"):
    """in modes sum and mean, the upstream gradient is taken to be all ones"""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return super().entries(call, upstream if call.mode == "max" else np.ones_like(upstream))


class LastWriteWins(Fault, caught_by="backward.repeated_row"):
    """a repeated row keeps its last gradient only: = instead of +="""

    def scatter(self, grad_weight: np.ndarray, row: int, share: np.ndarray) -> None:
        grad_weight[row] = share


class MaximumsLastWriteWins(Fault, caught_by="backward.max.repeated_row"):
    """in mode max, a repeated row keeps its last gradient only: = instead of +="""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        self._is_max = call.mode == "max"
        return super().entries(call, upstream)

    def scatter(self, grad_weight: np.ndarray, row: int, share: np.ndarray) -> None:
        if not self._is_max:
            return super().scatter(grad_weight, row, share)
        grad_weight[row] = np.where(share == 0, grad_weight[row], share)


class GradientOfFirst(Fault, caught_by="backward.sum backward.mean"):
    """only the first position of each bag gets a gradient"""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        firsts = {self.members(call, bag)[0] for bag in self._full_bags(call)}
        counted = [i for bag in self._full_bags(call) for i in self.members(call, bag)]
        found = super().entries(call, upstream)
        return [entry for i, entry in zip(counted, found, strict=True) if i in firsts]

    def _full_bags(self, call: Call) -> list[int]:
        return [bag for bag in range(call.num_bags) if self.members(call, bag)]


class MeanGradientNotDivided(Fault, caught_by="backward.mean sparse.mean"):
    """the gradient of a mean is not divided by the number of positions"""

    def backward(self, grad_output: Any, input: Any, weight: Any, **options: Any) -> Gradients:
        if options.get("mode", DEFAULTS["mode"]) == "mean":
            options["mode"] = "sum"
        return super().backward(grad_output, input, weight, **options)


class MeanGradientWithPadding(Fault, caught_by="backward.padding"):
    """the gradient of a mean is divided by a number that counts padding"""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return PaddingInTheMean().entries(call, upstream)


class PaddingGetsGradient(Fault, caught_by="backward.padding"):
    """the padding row gets a gradient"""

    def finish_gradient(self, call: Call, grad_weight: np.ndarray) -> Any:
        if call.padding_idx is not None and call.padding_idx in call.indices:
            grad_weight[call.padding_idx] += 1
        return grad_weight


class GradientNotStarted(Fault, caught_by="backward.untouched_rows"):
    """rows that do not occur are never written: they hold what the memory held"""

    def start_gradient(self, call: Call) -> np.ndarray:
        grad_weight = np.empty(call.weight.shape, call.accumulator)
        grad_weight[call.indices] = 0
        return grad_weight


class WeightsNotInGradient(Fault, caught_by="backward.weights"):
    """the gradient of a row is not multiplied by the weight of its position"""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return WeightsNotUsed().entries(call, upstream)


class NoFrequency(Fault, caught_by="backward.frequency"):
    """scale_grad_by_freq is not looked at"""

    def frequency(self, call: Call, bag: int, row: int) -> Any:
        return call.accumulator.type(1)


class FrequencyPerBag(Fault, caught_by="backward.frequency"):
    """scale_grad_by_freq counts within the bag, not in the whole input"""

    def frequency(self, call: Call, bag: int, row: int) -> Any:
        inside = call.indices[call.offsets[bag] : call.offsets[bag + 1]]
        count = int((inside == row).sum()) if call.scale_grad_by_freq else 1
        return call.accumulator.type(count)


class FrequencyMultiplies(Fault, caught_by="backward.frequency"):
    """scale_grad_by_freq multiplies by the count instead of dividing"""

    def frequency(self, call: Call, bag: int, row: int) -> Any:
        return 1 / super().frequency(call, bag, row)


class FrequencyOfWeights(Fault, caught_by="backward.psw.frequency"):
    """the gradient of per_sample_weights is divided by the frequency too"""

    def dot(self, call: Call, upstream: np.ndarray, row: int) -> Any:
        return super().dot(call, upstream, row) / self.frequency(call, 0, row)


class Gradient16(Fault, caught_by="backward.psw backward.sum"):
    """gradients are kept in float16 while they are added up"""

    def upstream(self, call: Call, grad_output: np.ndarray) -> np.ndarray:
        return grad_output.astype(np.float16).astype(call.accumulator)


class GradientThroughRenorm(Fault, caught_by="backward.max_norm"):
    """the gradient is scaled down where the call has a max_norm"""

    def backward(self, grad_output: Any, input: Any, weight: Any, **options: Any) -> Gradients:
        gradients = super().backward(grad_output, input, weight, **options)
        if options.get("max_norm") is not None:
            return Gradients(gradients.weight / 2, gradients.per_sample_weights)
        return gradients


class TiesToTheLast(Fault, caught_by="backward.max.ties"):
    """ties go to the last position (>= instead of >)"""

    def winner_of_rows(self, rows: np.ndarray) -> np.ndarray:
        best = np.zeros(rows.shape[1], int)
        for number, row in enumerate(rows):
            best[row >= rows[best, np.arange(rows.shape[1])]] = number
        return best


class TiesAreSplit(Fault, caught_by="backward.max.ties"):
    """ties share the gradient evenly, as in torch.amax"""

    def entries_of_max(self, call: Call, members: Members, upstream: Any) -> list[Any]:
        if not members:
            return []
        rows = call.weight[call.indices[members]].astype(call.accumulator)
        equal = rows == self.maximum(call, members, rows)
        shares = np.where(equal, upstream / np.maximum(equal.sum(0), 1), 0)
        return list(zip(call.indices[members], shares, strict=True))


class TiesAllWin(Fault, caught_by="backward.max.ties backward.max.repeated_row"):
    """every position that equals the maximum gets the whole gradient"""

    def entries_of_max(self, call: Call, members: Members, upstream: Any) -> list[Any]:
        if not members:
            return []
        rows = call.weight[call.indices[members]].astype(call.accumulator)
        shares = np.where(rows == self.maximum(call, members, rows), upstream, 0)
        return list(zip(call.indices[members], shares, strict=True))


class MaximumGradientToAll(Fault, caught_by="backward.max"):
    """the gradient of a maximum goes to every position of the bag"""

    def entries_of_max(self, call: Call, members: Members, upstream: Any) -> list[Any]:
        return [(call.indices[i], upstream) for i in members]


class EmptyWinnerIsRowZero(Fault, caught_by="backward.max.empty_bags backward.empty_bags"):
    """the gradient of an empty bag goes to row 0, where its winner's place was left at 0"""

    def entries_of_max(self, call: Call, members: Members, upstream: Any) -> list[Any]:
        return super().entries_of_max(call, members, upstream) or [(0, upstream)]


class WeightGradientIsSum(Fault, caught_by="backward.psw"):
    """the gradient of a per_sample_weight is the sum of the row, without grad_output"""

    def dot(self, call: Call, upstream: np.ndarray, row: int) -> Any:
        return call.weight[row].astype(call.accumulator).sum()


class WeightGradientOfOutput(Fault, caught_by="backward.psw"):
    """the gradient of a per_sample_weight is the sum of grad_output, without the row"""

    def dot(self, call: Call, upstream: np.ndarray, row: int) -> Any:
        return upstream.sum()


class WeightGradientAtPadding(Fault, caught_by="backward.psw.padding"):
    """the gradient of per_sample_weights is not zero at padding"""

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        return PaddingCounts().grad_psw(call, upstream)


class WeightGradientFlat(Fault, caught_by="backward.psw"):
    """the gradient of 2-D per_sample_weights is 1-D"""

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        return super().grad_psw(call, upstream).reshape(-1)


class NoWeightGradient(Fault, caught_by="backward.psw"):
    """per_sample_weights get no gradient"""

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        return None


# ---- sparse gradients -----------------------------------------------------------------------


class SparseIsDense(Fault, caught_by="sparse.sum sparse.mean"):
    """sparse=True gives a dense gradient"""

    def backward(self, grad_output: Any, input: Any, weight: Any, **options: Any) -> Gradients:
        understood = self.understand({"input": input, "weight": weight, **options})
        check_backward(understood, grad_output)
        return super().backward(grad_output, input, weight, **(options | {"sparse": False}))


class SparseCoalesced(Fault, caught_by="sparse.sum"):
    """the entries of a sparse gradient are sorted and repeated rows added up"""

    def finish_sparse(self, call: Call, entries: list[tuple[int, np.ndarray]]) -> Any:
        added: dict[int, np.ndarray] = {}
        for row, share in entries:
            added[int(row)] = added.get(int(row), 0) + share
        return super().finish_sparse(call, sorted(added.items()))


class SparseSorted(Fault, caught_by="sparse.sum"):
    """the entries of a sparse gradient are sorted by row"""

    def finish_sparse(self, call: Call, entries: list[tuple[int, np.ndarray]]) -> Any:
        return super().finish_sparse(call, sorted(entries, key=lambda entry: int(entry[0])))


class SparseKeepsPadding(Fault, caught_by="sparse.padding"):
    """padding positions have entries of zeros in a sparse gradient"""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        if not call.sparse or call.padding_idx is None:
            return super().entries(call, upstream)
        shares = iter(super().entries(call, upstream))
        zero = np.zeros(call.embedding_dim)
        return [(row, zero) if row == call.padding_idx else next(shares) for row in call.indices]


class SparseIndices32(Fault, caught_by="sparse.sum"):
    """the indices of a sparse gradient have the input's dtype instead of int64"""

    def finish_sparse(self, call: Call, entries: list[tuple[int, np.ndarray]]) -> Any:
        found = super().finish_sparse(call, entries)
        return found._replace(indices=found.indices.astype(call.indices.dtype))


class SparseFlatIndices(Fault, caught_by="sparse.sum sparse.nothing"):
    """the indices of a sparse gradient have shape (nnz,) instead of (1, nnz)"""

    def finish_sparse(self, call: Call, entries: list[tuple[int, np.ndarray]]) -> Any:
        found = super().finish_sparse(call, entries)
        return found._replace(indices=found.indices[0])


# ---- refusals -------------------------------------------------------------------------------


class NegativeIndicesWrap(Fault, caught_by="errors.index_range"):
    """negative indices count from the end of the table"""

    def read(self, arguments: Arguments) -> Arguments:
        rows = np.shape(arguments["weight"])[0]
        return _with(arguments, "input", lambda input: np.where(input < 0, input + rows, input))


class IndicesClamped(Fault, caught_by="errors.index_range errors.max_norm_range"):
    """indices out of range are moved to the nearest row"""

    def read(self, arguments: Arguments) -> Arguments:
        last = np.shape(arguments["weight"])[0] - 1
        return _with(arguments, "input", lambda input: np.clip(input, 0, last))


class OffsetsLevelled(Fault, caught_by="errors.offsets_decrease"):
    """offsets that decrease are raised to the one before, without a word"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "offsets", np.maximum.accumulate)


class FirstOffsetForced(Fault, caught_by="errors.first_offset"):
    """the first bag starts at 0 whatever offsets[0] says"""

    def read(self, arguments: Arguments) -> Arguments:
        return _with(arguments, "offsets", lambda offsets: np.append(offsets[:1] * 0, offsets[1:]))


# ---- sizes, special numbers, calls in a row -------------------------------------------------


class FirstFeaturesOnly(Fault, caught_by="sizes.features sizes.max_norm"):
    """features beyond the 32nd are not computed"""

    block = 32

    def row_of_bag(self, call: Call, bag: int) -> Any:
        row = np.array(np.broadcast_to(super().row_of_bag(call, bag), call.embedding_dim))
        row[self.block :] = 0
        return row

    def norm(self, row: np.ndarray, p: float) -> float:
        return super().norm(row[: self.block], p)


class FirstBagsOnly(Fault, caught_by="sizes.bags"):
    """bags beyond the 64th are not computed"""

    def members(self, call: Call, bag: int) -> Members:
        return super().members(call, bag) if bag < 64 else []


class RowsInAByte(Fault, caught_by="sizes.rows sizes.backward"):
    """row numbers are kept in 8 bits"""

    def understand(self, arguments: Arguments) -> Call:
        call = make_call(**arguments)
        object.__setattr__(call, "indices", call.indices & 0xFF)
        return call


class CountsInAByte(Fault, caught_by="sizes.backward.frequency sizes.backward"):
    """counts are kept in 8 bits"""

    def divisor(self, call: Call, bag: int, members: Members) -> int:
        return max(len(members) & 0xFF, 1)

    def frequency(self, call: Call, bag: int, row: int) -> Any:
        return call.accumulator.type(max(int(super().frequency(call, bag, row)) & 0xFF, 1))


class MeanOfMeans(Fault, caught_by="sizes.bags"):
    """a long bag is cut into parts of 256, and the mean of their means taken"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        members = self.members(call, bag)
        if call.mode != "mean" or len(members) <= 256:
            return super().row_of_bag(call, bag)
        parts = [members[i : i + 256] for i in range(0, len(members), 256)]
        table = call.weight.astype(call.accumulator)
        return np.mean([table[call.indices[part]].mean(axis=0) for part in parts], axis=0)


class ZeroWeightSkipped(Fault, caught_by="special.weights"):
    """a position of weight zero is skipped, so that zero times infinity is lost"""

    def members(self, call: Call, bag: int) -> Members:
        psw = call.per_sample_weights
        return [i for i in super().members(call, bag) if psw is None or psw[i] != 0]


class MaskTimesGradient(Fault, caught_by="special.backward"):
    """the gradient of a maximum is multiplied by a mask: infinity times 0 reaches the losers"""

    def entries_of_max(self, call: Call, members: Members, upstream: Any) -> list[Any]:
        found = super().entries_of_max(call, members, upstream)
        return [(row, (share != 0) * upstream) for row, share in found]


class NaNWeightGradientLost(Fault, caught_by="special.backward.psw"):
    """NaN in the gradient of per_sample_weights is replaced by zero"""

    def dot(self, call: Call, upstream: np.ndarray, row: int) -> Any:
        return np.nan_to_num(super().dot(call, upstream, row))


class Saturates(Fault, caught_by="special.range"):
    """sums too large for the dtype become its largest number instead of infinity"""

    def forward(self, input: Any, weight: Any, **options: Any) -> np.ndarray:
        output = super().forward(input, weight, **options)
        if output.dtype != np.float16:
            return output
        return np.where(np.isinf(output), np.float16(65504) * np.sign(output), output)


class TinyIsZero(Fault, caught_by="special.range"):
    """numbers too small for the normal range become zero"""

    def finish(self, call: Call, output: np.ndarray) -> Any:
        if output.dtype.name == "bfloat16":
            return output
        return np.where(np.abs(output) < np.finfo(output.dtype).tiny, output.dtype.type(0), output)


class MaximumFromMinus65504(Fault, caught_by="special.max"):
    """the maximum starts at -65504, the smallest number of float16"""

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        best = super().maximum(call, members, rows)
        return np.where(best < -65504, best.dtype.type(-65504), best)


class FirstMayBePadding(Fault, caught_by="special.max"):
    """the first-NaN rule looks at the first position of the bag, even if it is padding"""

    def maximum(self, call: Call, members: Members, rows: np.ndarray) -> np.ndarray:
        start = members[0] - 1
        padded = start >= 0 and call.padding_idx == call.indices[start]
        return np.fmax.reduce(rows, axis=0) if padded else super().maximum(call, members, rows)


class SparseLosesWeights(Fault, caught_by="together.backward.psw"):
    """with sparse=True, per_sample_weights get no gradient"""

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        return None if call.sparse else super().grad_psw(call, upstream)


class RememberedByInput(Fault, caught_by="again.weight_updated"):
    """results are remembered by input and offsets, without a look at weight"""

    def forward(self, input: Any, weight: Any, **options: Any) -> np.ndarray:
        seen = self.__dict__.setdefault("_seen", {})
        key = (np.asarray(input).tobytes(), np.shape(weight), str(options))
        if key not in seen:
            seen[key] = super().forward(input, weight, **options)
        return seen[key].copy()


class BackwardOfTheLast(Fault, caught_by="again.backward.between"):
    """the backward uses the indices of the last forward, whichever that was"""

    def understand(self, arguments: Arguments) -> Call:
        call = make_call(**arguments)
        kept = self.__dict__.setdefault("_kept", call)
        if kept.indices.shape == call.indices.shape and self.__dict__.get("_in_backward"):
            if kept.num_embeddings == call.num_embeddings:
                object.__setattr__(call, "indices", kept.indices)
        self.__dict__["_kept"] = call
        return call

    def backward(self, grad_output: Any, input: Any, weight: Any, **options: Any) -> Gradients:
        self.__dict__["_in_backward"] = True
        try:
            return super().backward(grad_output, input, weight, **options)
        finally:
            self.__dict__["_in_backward"] = False


class WideInputIsZero(Fault, caught_by="sizes.columns"):
    """a 2-D input of more than 8 columns gives zeros"""

    def row_of_bag(self, call: Call, bag: int) -> Any:
        row = super().row_of_bag(call, bag)
        return row * 0 if len(call.input_shape) == 2 and call.input_shape[1] > 8 else row


class FirstThousandFeatures(
    FirstFeaturesOnly, caught_by="sizes.features sizes.backward sizes.max_norm"
):
    """features beyond the 1024th, one block of threads, are not computed"""

    block = 1024

    def finish_gradient(self, call: Call, grad_weight: np.ndarray) -> Any:
        grad_weight[:, 1024:] = 0
        return grad_weight


class FullWarpIsShort(Fault, caught_by="sizes.features sizes.bags sizes.backward"):
    """where a size is a multiple of 32, the last feature and the last position are lost"""

    def members(self, call: Call, bag: int) -> Members:
        members = super().members(call, bag)
        return members[:-1] if members and len(members) % 32 == 0 else members

    def row_of_bag(self, call: Call, bag: int) -> Any:
        row = np.array(np.broadcast_to(super().row_of_bag(call, bag), call.embedding_dim))
        if row.size % 32 == 0:
            row[-1:] = 0
        return row


class WeightsOfTheFirst256(Fault, caught_by="sizes.bags sizes.backward"):
    """per_sample_weights beyond the 256th position of a bag are taken to be 1"""

    def factor(self, call: Call, position: int) -> Any:
        bag = int(np.searchsorted(call.offsets, position, "right")) - 1
        beyond = position - call.offsets[bag] >= 256
        return call.accumulator.type(1) if beyond else super().factor(call, position)


class WeightGradientsOfTheFirst256(Fault, caught_by="sizes.backward.psw"):
    """per_sample_weights beyond the 256th position get no gradient"""

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        found = super().grad_psw(call, upstream)
        found.reshape(-1)[256:] = 0
        return found


class PaddingZeroInTheBackward(Fault, caught_by="together.backward.padding"):
    """the backward takes padding_idx=0 for no padding_idx (0 is false)"""

    def entries(self, call: Call, upstream: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return PaddingIsRowZero().entries(call, upstream)

    def grad_psw(self, call: Call, upstream: np.ndarray) -> Any:
        return PaddingIsRowZero().grad_psw(call, upstream)


# ---- what is remembered from an earlier call ------------------------------------------------


class Remembers(Steps):
    """Results are remembered by what `key` says of the arguments. Each fault has a key."""

    def key(self, name: str, value: Any) -> Any:
        """What tells one argument from another."""
        if not isinstance(value, np.ndarray):
            return value
        return value.shape, value.dtype, value.tobytes()

    def _remembered(self, step: str, arguments: Arguments, make: Any) -> Any:
        table = self.__dict__.setdefault("_table", {})
        key = (step, *((n, self.key(n, v)) for n, v in sorted(arguments.items())))
        if key not in table:
            table[key] = make(), list(arguments.values())  # arrays that live keep their identity
        return table[key][0]

    def forward(self, input: Any, weight: Any, **options: Any) -> np.ndarray:
        if options.get("max_norm") is not None:  # then the call has to change weight
            return super().forward(input, weight, **options)
        given = {"input": input, "weight": weight, **options}
        make = super().forward
        return np.array(self._remembered("forward", given, lambda: make(input, weight, **options)))

    def backward(self, grad_output: Any, input: Any, weight: Any, **options: Any) -> Gradients:
        given = {"grad_output": grad_output, "input": input, "weight": weight, **options}
        make = super().backward
        return Gradients(
            *self._remembered(
                "backward", given, lambda: make(grad_output, input, weight, **options)
            )
        )


EVERY_UPDATE = (
    "again.weight_updated again.indices_updated again.backward.updated again.backward.psw_updated"
)


class RememberedByIdentity(Remembers, Fault, caught_by=EVERY_UPDATE):
    """results of an earlier call come back: an update of the arrays in place is not seen"""

    def key(self, name: str, value: Any) -> Any:
        return id(value) if isinstance(value, np.ndarray) else value


class RememberedByOffsets(Remembers, Fault, caught_by="again.indices_updated"):
    """the bags are remembered by the identity of offsets: stale where the buffer is used again"""

    def key(self, name: str, value: Any) -> Any:
        return id(value) if name == "offsets" else super().key(name, value)


class RememberedByUpstream(Remembers, Fault, caught_by="again.backward.updated"):
    """gradients are remembered by the identity of grad_output"""

    def key(self, name: str, value: Any) -> Any:
        return id(value) if name == "grad_output" else super().key(name, value)
