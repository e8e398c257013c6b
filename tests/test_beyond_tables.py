"""Many tables in one call: loops, NumPy, CUDA and the module, against torch, FBGEMM, torchrec."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from compiler import needs_compiler

from embag_edu import beyond
from embag_edu.beyond import (
    SGD,
    Adagrad,
    Adam,
    EmbeddingBags,
    Jagged,
    RowWiseAdagrad,
    Table,
    Tables,
)
from embag_edu.beyond import tables_bytes as model
from embag_edu.beyond.tables import Layout
from embag_edu.beyond.tables_cases import CASES, WIDE, batch_of, check_tables, fixed, layout_of
from embag_edu.cuda.launcher import recording
from embag_edu.cuda_on_cpu import settings

torch.set_num_threads(1)
WAYS = ("loops", "vectorized", pytest.param("cuda", marks=needs_compiler))
OPTIMIZERS = (SGD(0.1), Adagrad(0.1), RowWiseAdagrad(0.1), Adam(0.1))


# ---- The cases, in each of the ways -------------------------------------------------------------


def test_numpy():
    assert check_tables(fixed("vectorized")) == []


@needs_compiler
def test_cuda():
    assert check_tables(fixed("cuda"), CASES, [RowWiseAdagrad(0.3)]) == []


@needs_compiler
@pytest.mark.adversary
def test_cuda_in_fast_launches():
    with settings(mode="fast"):
        assert check_tables(fixed("cuda"), (*CASES, *WIDE), OPTIMIZERS) == []


@needs_compiler
@pytest.mark.adversary
@pytest.mark.parametrize("way", ["vectorized", "cuda"])
def test_wide_rows_and_many_tables(way):
    assert check_tables(fixed(way), WIDE, [*OPTIMIZERS]) == []


CHECKED = [case for case in CASES if case.name in ("a shared mean", "widths, modes, weights")]


@needs_compiler
def test_cuda_in_checked_launches():
    with recording(order=7) as reports:
        found = check_tables(fixed("cuda"), CHECKED, [RowWiseAdagrad(0.3)])
    assert found == [] and not any(report.faults for report in reports)


# ---- The same bits as T calls -------------------------------------------------------------------


def drawn(case, seed=0):
    """Tables full of numbers, bags and grad_output of a case."""
    random, layout = np.random.default_rng(seed), layout_of(case)
    bags, G = batch_of(case, layout, random)
    flat = random.standard_normal(layout.size).astype(case.dtype)
    return Tables(layout, flat=flat), bags, np.nan_to_num(G)


BITWISE = [case for case in CASES if case.dtype != "float16"]


@pytest.mark.parametrize("case", BITWISE, ids=lambda case: case.name)
def test_joined_tables_give_the_bits_of_t_calls(case):
    """In the order of additions of the loops: output, gradient, and a step of SGD."""
    tables, bags, G = drawn(case)
    one, other = (Tables(tables.layout, flat=tables.flat.copy()) for _ in range(2))
    assert np.array_equal(one.output(bags, "loops"), other.output(bags))
    assert np.array_equal(one.gradient(bags, G, "loops"), other.gradient(bags, G))
    one.step(bags, G, SGD(0.1), one.state(SGD(0.1)), "loops")
    other.step(bags, G, SGD(0.1), other.state(SGD(0.1)))
    assert np.array_equal(one.flat, other.flat)


@needs_compiler
def test_one_launch_gives_the_bits_of_t_calls_in_every_order():
    tables, bags, G = drawn(next(case for case in CASES if case.name == "float32"))
    results = set()
    for order in range(3):
        copy = Tables(tables.layout, flat=tables.flat.copy())
        with recording(order):
            output = copy.output(bags, "cuda")
            copy.step(bags, G, SGD(0.1), copy.state(SGD(0.1)), "cuda")
        results.add(output.tobytes() + copy.flat.tobytes())
    assert len(results) == 1 and np.array_equal(output, tables.output(bags, "loops"))


# ---- Against T bags of torch --------------------------------------------------------------------

MIXED = replace(CASES[0], tables=[(9, 8, 2), (5, 4, 1, "mean"), (7, 8)], B=6, longest=5)


def torchs(tables):
    """A module for each table, in float64."""
    made = []
    for t, table in enumerate(tables.layout.tables):
        kept = torch.tensor(tables.weight(t))
        options = {"mode": table.mode, "include_last_offset": True}
        made.append(torch.nn.EmbeddingBag(*kept.shape, _weight=kept, **options))
    return made


def outputs_of(modules, layout, bags, weights=None):
    """Feature by feature, side by side."""
    offsets, found = torch.tensor(bags.offsets), []
    B = (len(offsets) - 1) // len(layout.features)
    for f, t in enumerate(layout.table_of):
        starts = offsets[f * B : (f + 1) * B + 1]
        part = slice(int(starts[0]), int(starts[-1]))
        psw = None if weights is None else weights[part]
        found.append(modules[t](torch.tensor(bags.values[part]), starts - starts[0], psw))
    return torch.cat(found, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [MIXED, replace(CASES[10], B=6)], ids=["modes", "weights"])
def test_output_and_gradients_are_those_of_torch(way, case):
    tables, bags, G = drawn(case)
    modules = torchs(tables)
    psw = None if bags.weights is None else torch.tensor(bags.weights, requires_grad=True)
    theirs = outputs_of(modules, tables.layout, bags, psw)
    theirs.backward(torch.tensor(G))
    assert np.abs(tables.output(bags, way) - theirs.detach().numpy()).max() < 1e-14
    grads = Tables(tables.layout, flat=tables.gradient(bags, G, way))
    for t, module in enumerate(modules):
        assert np.abs(grads.weight(t) - module.weight.grad.numpy()).max() < 1e-14
    if psw is not None:
        assert np.abs(tables.grad_weights(bags, G, way) - psw.grad.numpy()).max() < 1e-14


PEERS = {
    "SGD": (SGD(0.1), torch.optim.SGD),
    "Adagrad": (Adagrad(0.1), torch.optim.Adagrad),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEERS)
def test_steps_are_those_of_torch(way, peer):
    optimizer, of_torch = PEERS[peer]
    tables, _, _ = drawn(MIXED)
    modules, state = torchs(tables), tables.state(optimizer)
    other = of_torch([module.weight for module in modules], lr=0.1)
    for seed in range(3):
        _, bags, G = drawn(MIXED, seed)
        other.zero_grad()
        outputs_of(modules, tables.layout, bags).backward(torch.tensor(G))
        other.step()
        tables.step(bags, G, optimizer, state, way)
        for t, module in enumerate(modules):
            assert np.abs(tables.weight(t) - module.weight.detach().numpy()).max() < 1e-14


# ---- Where things are ---------------------------------------------------------------------------


def test_the_layout_of_three_tables():
    layout = Layout(
        [Table("a", 5, 4, ("x",)), Table("b", 3, 2, ("y", "z")), Table("c", 7, 4, ("w",))]
    )
    assert layout.features == ("x", "y", "z", "w")
    assert layout.base.tolist() == [3, 0, 8] and layout.first.tolist() == [8, 0, 28]
    assert layout.columns.tolist() == [0, 4, 6, 8, 12] and layout.size == 56
    tables = Tables(layout)
    for t in range(3):
        tables.weight(t)[:] = t
    assert [np.unique(tables.joined(width)).tolist() for width in layout.widths] == [[1], [0, 2]]


@pytest.mark.parametrize("way", ["vectorized", pytest.param("cuda", marks=needs_compiler)])
def test_tables_of_more_than_2_to_the_31_numbers(way):
    """4 GB of zeros, of which nobody touches more than some pages."""
    tables = Tables([Table("large", 1 << 25, 64, ("a",)), Table("last", 9, 64, ("b",))], "float16")
    assert tables.layout.first[1] == 1 << 31 > np.iinfo(np.int32).max
    tables.weight("large")[[0, -1]], tables.weight("last")[:] = 1, np.arange(9)[:, None]
    bags = Jagged(np.array([0, (1 << 25) - 1, 8, 8, 5]), np.array([0, 2, 5]))
    adagrad = RowWiseAdagrad(1.0, eps=1e-30)
    with settings(mode="fast"):
        output = tables.output(bags, way)
        tables.step(bags, np.ones((1, 128), np.float16), adagrad, tables.state(adagrad), way)
    assert (output == np.repeat([2.0, 21.0], 64)).all()
    assert (tables.weight("large")[[0, 1, -1]] == 0).all()
    assert (tables.weight("last")[[4, 5, 8]] == [[4], [4], [7]]).all()


# ---- Launches, sorts and bytes ----------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("widths", [(128, 128, 128), (128, 256, 128)], ids=["one", "two widths"])
@pytest.mark.parametrize("optimizer", [SGD(0.1), RowWiseAdagrad(0.1)], ids=["SGD", "row-wise"])
def test_launches_sorts_and_bytes_are_the_models(widths, optimizer):
    tables = [(30, widths[0], 2), (20, widths[1]), (40, widths[2])]
    case = replace(CASES[0], tables=tables, B=8, longest=8, dtype="float32")
    tables, bags, G = drawn(case)
    found = model.counted(tables, bags, G, optimizer)
    assert found == model.modelled(tables, bags, optimizer)
    assert found.launches == (1, 4 if len(set(widths)) == 1 else 6, 1)
    apart = model.counted_apart(tables, bags, G, optimizer)
    assert apart == model.apart(tables, bags) == (3, 12, 3)


# ---- Wrong implementations ----------------------------------------------------------------------


class Plain:
    """Many tables position by position, in small steps, each of which a fault changes."""

    def __init__(self, layout, flat):
        self.layout, self.flat = layout, flat
        self.wide = np.float64 if flat.dtype == np.float64 else np.float32

    def bags_of(self, bags):
        return (len(bags.offsets) - 1) // len(self.layout.features)

    def positions(self, bags):
        """(position, feature, bag of the feature) of all."""
        B = self.bags_of(bags)
        for f in range(len(self.layout.features)):
            for b in range(B):
                for i in self.bag(bags, f, b, B):
                    yield i, f, b

    def bag(self, bags, f, b, B):
        return range(bags.offsets[f * B + b], bags.offsets[f * B + b + 1])

    def place(self, f, row):
        """Where the row of a feature's table lies in flat."""
        t = self.layout.table_of[f]
        begin = self.first(f, t) + row * self.layout.dims[t]
        return np.arange(begin, begin + self.layout.dims[t])

    def first(self, f, t):
        return self.layout.first[t]

    def columns(self, f):
        return slice(*self.layout.columns[f : f + 2])

    def share(self, bags, f, b, i):
        return self.weight(bags, f, i) / (self.size(bags, f, b) if self.mean(f) else 1)

    def weight(self, bags, f, i):
        return 1.0 if bags.weights is None else float(bags.weights[i])

    def mean(self, f):
        return self.layout.means[f]

    def size(self, bags, f, b):
        B = self.bags_of(bags)
        return max(int(bags.offsets[f * B + b + 1] - bags.offsets[f * B + b]), 1)

    def output(self, bags):
        found = np.zeros((self.bags_of(bags), self.layout.columns[-1]), self.wide)
        for i, f, b in self.positions(bags):
            row = self.flat[self.place(f, bags.values[i])].astype(self.wide)
            found[b, self.columns(f)] += self.share(bags, f, b, i) * row
        return found.astype(self.flat.dtype)

    def entries(self, bags, G):
        """(feature, place, gradient) of each position."""
        for i, f, b in self.positions(bags):
            upstream = G[b, self.columns(f)].astype(self.wide)
            yield f, self.place(f, bags.values[i]), self.backward_share(bags, f, b, i) * upstream

    def backward_share(self, bags, f, b, i):
        return self.share(bags, f, b, i)

    def gradient(self, bags, G):
        found = np.zeros(len(self.flat), self.wide)
        for place, g in self.sums(self.entries(bags, G)):
            found[place] += g
        return found.astype(self.flat.dtype)

    def sums(self, entries):
        sums = {}
        for f, place, g in entries:
            key = self.key(f, place)
            sums[key] = place, sums.get(key, (0, 0))[1] + g
        return list(sums.values())

    def key(self, f, place):
        return int(place[0])

    def grad_weights(self, bags, G):
        found = np.zeros(len(bags.values), self.wide)
        for i, f, b in self.positions(bags):
            found[i] = G[b, self.columns(f)] @ self.flat[self.place(f, bags.values[i])]
        return found.astype(self.flat.dtype)

    def step(self, bags, G, optimizer, state):
        for one in state:
            one.step += self.counts
        for place, g in self.sums(self.entries(bags, G)):
            t = self.owner(place)
            row = (place[0] - self.layout.first[t]) // len(place)
            k = self.layout.width_of[t]
            self.update(place, g, optimizer, state[k], self.state_row(t, row, k))

    counts = 1

    def owner(self, place):
        ends = self.layout.first + self.layout.limits * self.layout.dims
        return int(np.flatnonzero((self.layout.first <= place[0]) & (place[0] < ends))[0])

    def state_row(self, t, row, k):
        return self.layout.base[t] - self.layout.widths[k].row + row

    def update(self, place, g, optimizer, state, row):
        w = self.flat[place][None].astype(self.wide)
        slots = [array[[row]] for array in state.arrays.values()]
        optimizer.update(w, g[None], slots, state.step)
        self.flat[place] = w[0]
        for array, slot in zip(state.arrays.values(), slots, strict=True):
            array[row] = slot[0]


class SortedByFeatureAndRow(Plain):
    """The trap of the chapter: a shared row gets a step for each reader."""

    def key(self, f, place):
        return f, int(place[0])


class TheLastReaderWins(Plain):
    def gradient(self, bags, G):
        found = np.zeros(len(self.flat), self.wide)
        both = SortedByFeatureAndRow(self.layout, self.flat)
        for place, g in both.sums(self.entries(bags, G)):
            found[place] = g
        return found.astype(self.flat.dtype)


class BaseOfTheFeature(Plain):
    def first(self, f, t):
        return self.layout.first[f % len(self.layout.first)]


class NoBase(Plain):
    def first(self, f, t):
        return 0


class BaseOfTheNext(Plain):
    def first(self, f, t):
        return self.layout.first[min(t + 1, len(self.layout.first) - 1)]


class BaseInTheOrderGiven(Plain):
    """Forgets that tables lie in the order of their widths."""

    def first(self, f, t):
        sizes = self.layout.limits * self.layout.dims
        return sizes[:t].sum()


class BaseTimesTheOwnWidth(Plain):
    """base[t] * D, as if all tables were as wide as this one."""

    def first(self, f, t):
        return min(
            self.layout.base[t] * self.layout.dims[t], self.layout.size - self.layout.dims[t]
        )

    def place(self, f, row):
        return np.minimum(super().place(f, row), len(self.flat) - 1)


class FeaturesOfOneWidth(Plain):
    def columns(self, f):
        D = self.layout.dims[self.layout.table_of[f]]
        begin = min(f * self.layout.dims[self.layout.table_of[0]], self.layout.columns[-1] - D)
        return slice(begin, begin + D)


class FeatureMajorOutput(Plain):
    """(F * B, D) was called (B, F * D), and not transposed."""

    def output(self, bags):
        found = super().output(bags)
        parts = [found[:, self.columns(f)] for f in range(len(self.layout.features))]
        return np.concatenate([part.reshape(-1) for part in parts]).reshape(found.shape)


class BagsOfTheFirstFeature(Plain):
    def size(self, bags, f, b):
        return super().size(bags, 0, b)


class ModeOfTheFirstTable(Plain):
    def mean(self, f):
        return self.layout.means[0]


class MeanOnlyInTheForward(Plain):
    def backward_share(self, bags, f, b, i):
        return self.weight(bags, f, i)


class WeightsAreForgotten(Plain):
    def weight(self, bags, f, i):
        return 1.0


class WeightsCountedFromEachFeature(Plain):
    def weight(self, bags, f, i):
        if bags.weights is None:
            return 1.0
        return float(bags.weights[i - bags.offsets[f * self.bags_of(bags)]])


class WeightsStartAnewInTheirGradient(Plain):
    def grad_weights(self, bags, G):
        return np.roll(super().grad_weights(bags, G), 1)


class OffsetsOfTheFirstFeature(Plain):
    def bag(self, bags, f, b, B):
        return range(bags.offsets[b], bags.offsets[b + 1]) if f else super().bag(bags, f, b, B)

    def place(self, f, row):
        return super().place(f, min(row, self.layout.limits[self.layout.table_of[f]] - 1))


class TheLastBagIsForgotten(Plain):
    def bag(self, bags, f, b, B):
        last = f == len(self.layout.features) - 1 and b == B - 1
        return range(0) if last else super().bag(bags, f, b, B)


class EmptyBagsTakeTheNextRow(Plain):
    """np.add.reduceat, with equal neighbors among the offsets."""

    def bag(self, bags, f, b, B):
        found = super().bag(bags, f, b, B)
        empty = not found and found.start < bags.offsets[(f + 1) * B]
        return range(found.start, found.start + 1) if empty else found


class RowZeroIsPadding(Plain):
    def bag(self, bags, f, b, B):
        return [i for i in super().bag(bags, f, b, B) if bags.values[i] != 0]


class StateWithoutBase(Plain):
    def state_row(self, t, row, k):
        return row


class StepsCountTables(Plain):
    @property
    def counts(self):
        return len(self.layout.tables)


class RowsOfAllTablesAreUpdated(Plain):
    def sums(self, entries):
        found = super().sums(entries)
        there, rows = {int(place[0]) for place, _ in found}, []
        for f, t in enumerate(self.layout.table_of):
            for row in range(self.layout.limits[t]):
                place = self.place(f, row)
                if int(place[0]) not in there:
                    there.add(int(place[0]))
                    rows.append((place, 0 * self.flat[place].astype(self.wide)))
        return found + rows


class GlobalRowsAreWrittenIntoTheInput(Plain):
    def output(self, bags):
        found = super().output(bags)
        bags.values[:] += self.bases(bags)
        return found

    def gradient(self, bags, G):
        return super().gradient(bags._replace(values=bags.values - self.bases(bags)), G)

    def bases(self, bags):
        features = [f for _, f, _ in self.positions(bags)]
        return self.layout.base[self.layout.table_of[features]] if features else 0


class SumsInHalf(Plain):
    def output(self, bags):
        return super().output(bags).astype(np.float16).astype(self.flat.dtype)


FAULTS = {  # a fault -> a case that refuses it
    SortedByFeatureAndRow: "a shared table, RowWiseAdagrad",
    TheLastReaderWins: "a shared table",
    BaseOfTheFeature: "a shared table",
    NoBase: "two tables",
    BaseOfTheNext: "two tables",
    BaseInTheOrderGiven: "widths that fall",
    BaseTimesTheOwnWidth: "widths",
    FeaturesOfOneWidth: "widths",
    FeatureMajorOutput: "two tables",
    BagsOfTheFirstFeature: "means",
    ModeOfTheFirstTable: "sum and mean",
    MeanOnlyInTheForward: "means",
    WeightsAreForgotten: "weights",
    WeightsCountedFromEachFeature: "weights",
    WeightsStartAnewInTheirGradient: "weights",
    OffsetsOfTheFirstFeature: "two tables",
    TheLastBagIsForgotten: "one bag",
    EmptyBagsTakeTheNextRow: "empty bags",
    RowZeroIsPadding: "one table",
    StateWithoutBase: "two tables, RowWiseAdagrad",
    StepsCountTables: "two tables, Adam",
    RowsOfAllTablesAreUpdated: "five tables",
    GlobalRowsAreWrittenIntoTheInput: "two tables: an argument was changed",
    SumsInHalf: "two tables",
}


def test_what_is_plain_is_right():
    assert check_tables(Plain) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_wrong_tables_are_refused(fault):
    refused = FAULTS[fault]
    name = re.split(", |: ", refused)[0]
    case = next(case for case in CASES if case.name == name)
    found = check_tables(fault, [case])
    assert any(said.startswith(refused) for said in found), found


# ---- Bad input ----------------------------------------------------------------------------------

TWO = [Table("shop", 3, 4, ("shop",)), Table("word", 5, 4, ("title", "text"), "mean")]
VALUES, OFFSETS = np.array([2, 1, 0, 4]), np.array([0, 1, 2, 2, 3, 3, 4])


@pytest.mark.parametrize(
    ("values", "offsets", "weights", "message"),
    [
        (VALUES + 1, OFFSETS, None, r"values\[0\], of feature 'shop', is 3; valid: 0 to 2, a row"),
        ([2, 2, 0, 5], OFFSETS, None, r"values\[3\], of feature 'text', is 5; valid: 0 to 4"),
        ([2, 2, -1, 4], OFFSETS, None, r"values\[2\], of feature 'title', is -1"),
        (VALUES, OFFSETS[:-1], None, r"offsets has 6 numbers; valid: F \* B \+ 1, and there are F"),
        (VALUES, OFFSETS[::-1], None, "offsets begin at 4 and end at 0; valid: from 0 to N = 4"),
        (VALUES, [0, 1, 0, 2, 3, 3, 4], None, "none less than the one before"),
        (VALUES * 1.0, OFFSETS, None, "values has shape .* dtype float64; valid: 1-D, int32 or"),
        (VALUES, OFFSETS, np.ones(4, np.float32), "table 'word' has mode 'mean'; valid: 'sum'"),
        (VALUES, OFFSETS, np.ones(4), "weights has shape .* float64; valid: .* float32"),
    ],
)
def test_bags_that_do_not_fit(values, offsets, weights, message):
    tables = Tables(TWO)
    values = np.asarray(values)
    values = np.minimum(values, 4) if message.startswith("offsets") else values
    with pytest.raises(ValueError, match=message):
        tables.output(Jagged(values, np.asarray(offsets), weights))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table("a", 0, 4, ("a",)), "num_embeddings of table 'a' is 0; valid: 1, 2"),
        (lambda: Table("a", 3, 4, ("a",), "max"), "mode of table 'a' is 'max'; valid: 'sum' and"),
        (lambda: Table("a", 3, 4, "a"), "feature_names of table 'a' is 'a'; valid: a tuple"),
        (lambda: Table("a", 3, 4, ("a", "a")), "table 'a' has the feature 'a' twice"),
        (lambda: Tables([TWO[0], TWO[0]]), "two tables have the name 'shop'"),
        (lambda: Tables([]), "tables is empty"),
        (lambda: Tables(TWO).weight("w"), "name is 'w'; there are: shop, word"),
        (lambda: Tables(TWO).output(Jagged(VALUES % 3, OFFSETS), "gpu"), "must be one of loops"),
    ],
)
def test_tables_that_can_not_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"G": np.ones((2, 8), np.float32)}, r"shape \(2, 8\) .*; the output has \(2, 12\)"),
        ({"G": np.ones((2, 12))}, "dtype float64; the output has .* float32"),
        ({"state": []}, "state has 0 parts; these tables have 1 widths"),
        ({"optimizer": Adam(0.1)}, "Adam of this table needs"),
    ],
)
def test_a_step_that_raises_has_changed_nothing(change, message):
    tables = Tables(TWO)
    state = tables.state(SGD(0.1))
    words = {"G": np.ones((2, 12), np.float32), "optimizer": SGD(0.1), "state": state, **change}
    bags = Jagged(np.array([2, 1, 0, 4]), OFFSETS)
    with pytest.raises(ValueError, match=message):
        tables.step(bags, words["G"], words["optimizer"], words["state"])
    assert not tables.flat.any() and state[0].step == 0


# ---- The module ---------------------------------------------------------------------------------

THREE = [
    Table("shop", 9, 4, ("shop",)),
    Table("word", 20, 8, ("title", "text"), "mean"),
    Table("age", 6, 4, ("age",)),
]


def module(tables=THREE, **options):
    torch.manual_seed(0)
    return EmbeddingBags(tables, dtype=torch.float64, **options)


def features(seed=0, B=5, weighted=False, tables=THREE):
    """What EmbeddingBag takes, for each feature."""
    random, made = np.random.default_rng(seed), {}
    for table in tables:
        for name in table.feature_names:
            ends = np.append(0, np.cumsum(random.integers(0, 5, B)))
            ids = torch.tensor(random.integers(0, table.num_embeddings * 2 // 3, ends[-1]))
            psw = (torch.tensor(random.random(ends[-1])),) if weighted else ()
            made[name] = (ids, torch.tensor(ends[:-1]), *psw)
    return made


def bags_of_torch(many):
    """A module of torch's for each table, on copies of the tables."""
    made = {}
    for table in many.layout.tables:
        kept = many.embedding_bags[table.name].weight.detach().clone()
        made[table.name] = torch.nn.EmbeddingBag(*kept.shape, _weight=kept, mode=table.mode)
    return made


def squares(outputs):
    return sum((output**2).sum() for output in outputs)


STEPS = {"SGD": (SGD(0.1), torch.optim.SGD), "Adagrad": (Adagrad(0.1), torch.optim.Adagrad)}


@pytest.mark.parametrize("fused", [False, True], ids=["dense", "fused"])
@pytest.mark.parametrize("peer", STEPS)
@pytest.mark.parametrize("way", WAYS)
def test_the_module_trains_as_t_bags_of_torch(way, peer, fused):
    mine, of_torch = STEPS[peer]
    many = module(optimizer=mine if fused else None, implementation=way)
    theirs = bags_of_torch(many)
    own = None if fused else of_torch(many.parameters(), lr=0.1)
    others = of_torch([bag.weight for bag in theirs.values()], lr=0.1)
    readers = [(name, table.name) for table in THREE for name in table.feature_names]
    for seed in range(3):
        batch = features(seed)
        many.zero_grad()
        others.zero_grad()
        outputs = many(batch)
        expected = {name: theirs[table](*batch[name]) for name, table in readers}
        for name in expected:
            assert (outputs[name] - expected[name]).abs().max() < 1e-13
        squares(outputs.values()).backward()
        squares(expected.values()).backward()
        others.step()
        if own:
            own.step()
        for name, bag in theirs.items():
            assert (many.embedding_bags[name].weight - bag.weight).abs().max() < 1e-13
    assert many.steps == (3 if fused else 0)


def test_weights_have_gradients_of_the_tables_before_the_step():
    tables = [THREE[0], THREE[2]]
    many = module(tables, optimizer=SGD(0.1), is_weighted=True)
    batch = features(1, weighted=True, tables=tables)
    theirs = bags_of_torch(many)
    pairs = []
    for name, (ids, offsets, psw) in batch.items():
        mine, other = (psw.clone().requires_grad_() for _ in range(2))
        batch[name] = ids, offsets, mine
        theirs[name].mode = "sum"
        pairs.append((mine, other, theirs[name](ids, offsets, other)))
    squares(many(batch).values()).backward()
    squares([output for _, _, output in pairs]).backward()
    for mine, other, _ in pairs:
        assert len(mine) and (mine.grad - other.grad).abs().max() < 1e-13


def test_a_feature_may_be_read_by_two_tables():
    tables = [Table("one", 9, 4, ("shop",)), Table("two", 9, 8, ("shop", "age"))]
    many = module(tables)
    batch = {name: torch.tensor([[1, 2], [3, 3]]) for name in ("age", "unread", "shop")}
    found = many(batch)
    assert list(found) == ["shop@one", "shop@two", "age"]
    assert torch.equal(found["shop@one"], many.weights[0][batch["shop"]].sum(1))
    assert torch.equal(found["shop@two"], found["age"])


def test_tables_stay_joined():
    """Through `.to`, a load, a copy: the parameters are always where the call reads them."""
    many = module(optimizer=RowWiseAdagrad(0.1))
    first, batch = many(features())["text"], features()
    assert many.joined("weight").data_ptr() == many.weights[0].data_ptr()
    many.float()
    assert many(batch)["text"].dtype == torch.float32
    many.double()
    copied = copy.deepcopy(many)
    with torch.no_grad():
        many.weights[1].mul_(2)
    assert torch.allclose(many(batch)["text"], 2 * first, atol=1e-6)
    assert torch.allclose(copied(batch)["text"], first, atol=1e-6)
    many.load_state_dict(copied.state_dict(), assign=True)
    assert torch.equal(many(batch)["text"], copied(batch)["text"])


def test_a_checkpoint_goes_on_where_it_was(tmp_path):
    def train(many, seeds):
        for seed in seeds:
            many.zero_grad()
            squares(many(features(seed)).values()).backward()

    whole, first, second = (module(optimizer=Adam(0.1)) for _ in range(3))
    train(whole, range(4))
    train(first, range(2))
    torch.save(first.state_dict(), tmp_path / "kept.pt")
    second.load_state_dict(torch.load(tmp_path / "kept.pt", weights_only=True))
    train(second, range(2, 4))
    assert second.steps == 4
    assert all(torch.equal(*both) for both in zip(second.weights, whole.weights, strict=True))
    assert not torch.equal(first.weights[0], whole.weights[0])


REFUSED = {
    "accumulation": (lambda m: [squares(m(features()).values()).backward() for _ in range(2)], 1),
    "two uses": (
        lambda m: squares([*m(features()).values(), *m(features(1)).values()]).backward(),
        0,
    ),
    "clipping": (
        lambda m: [
            squares(m(features()).values()).backward(),
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0),
        ],
        1,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_is_refused_aloud(what):
    act, steps = REFUSED[what]
    many, once = module(optimizer=Adagrad(0.1)), module(optimizer=Adagrad(0.1))
    if steps:
        squares(once(features()).values()).backward()
    with pytest.raises(RuntimeError, match="accumulate|several uses|can't be clipped"):
        act(many)
    assert many.steps == steps
    assert all(torch.equal(*both) for both in zip(many.weights, once.weights, strict=True))


def test_frozen_tables_take_no_step():
    many = module(optimizer=SGD(0.1), is_weighted=True, tables=[THREE[0], THREE[2]])
    batch = features(1, weighted=True, tables=[THREE[0], THREE[2]])
    before, psw = [w.detach().clone() for w in many.weights], batch["shop"][2].requires_grad_()
    many.requires_grad_(False)
    squares(many(batch).values()).backward()
    assert psw.grad.abs().max() > 0 and many.steps == 0
    assert all(torch.equal(*both) for both in zip(before, many.weights, strict=True))
    many.weights[1].requires_grad_()
    with pytest.raises(ValueError, match="table 'shop' has requires_grad=False"):
        many(batch)


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("optimizer", [None, SGD(0.1)])
def test_second_derivatives_are_refused(optimizer):
    loss = squares(module(optimizer=optimizer)(features()).values())
    with pytest.raises(RuntimeError, match="create_graph=True"):
        loss.backward(create_graph=True)


def test_dense_parameters_are_the_others():
    model = torch.nn.Sequential(module(optimizer=SGD(0.1)), torch.nn.Linear(4, 2), module())
    shapes = [tuple(p.shape) for p in beyond.dense_parameters(model)]
    assert shapes == [(2, 4), (2,), (9, 4), (20, 8), (6, 4)]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: EmbeddingBags([torch.nn.EmbeddingBag(3, 4)]),
            "tables holds a EmbeddingBag; valid",
        ),
        (lambda: EmbeddingBags(THREE, optimizer=torch.optim.SGD), "optimizer is a type; valid: No"),
        (lambda: EmbeddingBags(THREE, implementation="gpu"), "implementation must be one of loops"),
        (lambda: module()({"shop": IDS}), "features has .*; 'age', 'text', 'title' is missing"),
        (
            lambda: module()(dict.fromkeys(NAMES, IDS) | {"age": IDS[:1]}),
            "numbers of bags: .*'age'",
        ),
        (lambda: module()(dict.fromkeys(NAMES, IDS[0])), "feature 'shop' is Tensor; valid: .input"),
        (lambda: module()(dict.fromkeys(NAMES, IDS + 5)), r"of feature 'age', is 6; valid: 0 to 5"),
        (
            lambda: module()(dict.fromkeys(NAMES, (IDS[0], torch.tensor([1])))),
            "offsets of feature 'shop' begin at 1; valid: 0",
        ),
    ],
)
def test_a_call_of_the_module_that_can_not_be(act, message):
    with pytest.raises(ValueError, match=message):
        act()


IDS, NAMES = torch.tensor([[1, 0], [1, 1]]), ("shop", "title", "text", "age")


# ---- FBGEMM and torchrec ------------------------------------------------------------------------


def keyed(batch, names, weighted=False):
    """A KeyedJaggedTensor of features as `features` makes them."""
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

    lengths = [torch.diff(batch[n][1], append=torch.tensor([len(batch[n][0])])) for n in names]
    return KeyedJaggedTensor(
        keys=list(names),
        values=torch.cat([batch[n][0] for n in names]),
        lengths=torch.cat(lengths),
        weights=(
            torch.cat([batch[n][2] for n in names]).float().requires_grad_() if weighted else None
        ),
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]])
def test_outputs_and_gradients_are_those_of_torchrec(order, weighted):
    pytest.importorskip("torchrec", reason="needs pip install torchrec")
    from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
    from torchrec.modules.embedding_modules import EmbeddingBagCollection

    configs = [
        EmbeddingBagConfig(
            name=table.name,
            num_embeddings=table.num_embeddings,
            embedding_dim=table.embedding_dim,
            feature_names=list(table.feature_names),
            pooling=PoolingType["SUM" if weighted else table.mode.upper()],
        )
        for table in THREE
    ]
    theirs = EmbeddingBagCollection(tables=configs, is_weighted=weighted)
    mine = EmbeddingBags(configs, is_weighted=weighted)
    mine.load_state_dict(theirs.state_dict())
    both = [keyed(features(3, weighted=weighted), order, weighted) for _ in range(2)]
    expected, found = theirs(both[0]), mine(both[1])
    assert type(found) is type(expected) and found.keys() == expected.keys()
    assert (found.values() - expected.values()).abs().max() < 1e-6
    for one in (expected, found):
        (one.values() ** 2).sum().backward()
    for name, parameter in theirs.named_parameters():
        assert (mine.get_parameter(name).grad - parameter.grad).abs().max() < 1e-5
    if weighted:
        one, other = (kjt.weights().grad for kjt in both)
        assert (one - other).abs().max() < 1e-5


FUSED = [SGD(0.1), Adagrad(0.1, eps=1e-8), RowWiseAdagrad(0.1)]


@pytest.mark.parametrize("optimizer", FUSED, ids=lambda one: type(one).__name__)
def test_fused_steps_are_those_of_fbgemm(optimizer):
    """Three tables of two widths, one of them with two readers."""
    pytest.importorskip("fbgemm_gpu", reason="needs pip install fbgemm-gpu-cpu")
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    kinds = {SGD: "EXACT_SGD", Adagrad: "EXACT_ADAGRAD", RowWiseAdagrad: "EXACT_ROWWISE_ADAGRAD"}
    case = replace(MIXED, tables=[(9, 8, 2), (5, 4), (7, 8)], dtype="float32")
    tables, _, _ = drawn(case)
    theirs = SplitTableBatchedEmbeddingBagsCodegen(
        [(V, D, EmbeddingLocation.HOST, ComputeDevice.CPU) for V, D, *_ in case.tables],
        feature_table_map=tables.layout.table_of.tolist(),
        optimizer=EmbOptimType[kinds[type(optimizer)]],
        learning_rate=optimizer.lr,
        eps=1e-8,
        stochastic_rounding=False,
    )
    for t, weight in enumerate(theirs.split_embedding_weights()):
        weight.copy_(torch.tensor(tables.weight(t)))
    state = tables.state(optimizer)
    for seed in range(3):
        _, bags, G = drawn(case, seed)
        output = theirs(torch.tensor(bags.values), torch.tensor(bags.offsets))
        assert np.abs(tables.output(bags) - output.detach().numpy()).max() < 1e-6
        output.backward(torch.tensor(G))
        tables.step(bags, G, optimizer, state)
        for t, weight in enumerate(theirs.split_embedding_weights()):
            assert np.abs(tables.weight(t) - weight.numpy()).max() < 2e-6
