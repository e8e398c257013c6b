"""Fused optimizers: loops, NumPy, CUDA and the module, against torch; wrong ones are refused."""

import copy
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from compiler import needs_compiler

from embag_edu import beyond
from embag_edu.beyond import (
    SGD,
    Adagrad,
    Adam,
    FusedEmbeddingBag,
    RowWiseAdagrad,
    fused_cuda,
    fused_numpy,
    fused_step,
)
from embag_edu.beyond import fused_bytes as model
from embag_edu.beyond.fused import Optimizer
from embag_edu.beyond.fused_cases import CASES, OPTIMIZERS, WIDE, check_fused
from embag_edu.cuda.launcher import recording
from embag_edu.cuda_on_cpu import KernelFault
from embag_edu.spec import bag_sizes, make_call

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")


# ---- The cases, in each of the ways -----------------------------------------------------------


def test_numpy():
    assert check_fused(partial(fused_step, implementation="vectorized")) == []


@needs_compiler
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_cuda(optimizer):
    assert check_fused(partial(fused_step, implementation="cuda"), CASES, [optimizer]) == []


@needs_compiler
@pytest.mark.adversary
@pytest.mark.parametrize("way", ["vectorized", "cuda"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_wide_rows(way, optimizer):
    assert check_fused(partial(fused_step, implementation=way), WIDE, [optimizer]) == []


def in_checked_launches(*words, order=0, version=None, **given):
    with recording(order) as reports:
        step = partial(fused_cuda.step, version=version)
        result = with_step(step, *words, **given)
    assert not any(report.faults for report in reports)
    return result


def with_step(step, grad_output, input, weight, offsets, *, optimizer, state, **options):
    call = make_call(input, weight, offsets, **options)
    state.step += 1
    return step(call, fused_numpy.Saved(bag_sizes=bag_sizes(call)), grad_output, optimizer, state)


CHECKED = [case for case in CASES if case.name in ("mean with padding", "float32")]


@needs_compiler
@pytest.mark.parametrize("version", [1, 2])
def test_cuda_in_checked_launches(version):
    step = partial(in_checked_launches, order=7, version=version)
    assert check_fused(step, CHECKED, [RowWiseAdagrad(0.3), Adam(0.3)]) == []


@needs_compiler
def test_cuda_gives_the_same_bits_in_every_order():
    random = np.random.default_rng(3)
    rows, G = random.integers(0, 3, 200), random.standard_normal((20, 8)).astype(np.float32)
    results = set()
    for order in range(4):
        weight, sgd = np.ones((3, 8), np.float32), RowWiseAdagrad(0.1)
        words = (G, rows, weight, np.arange(0, 200, 10))
        in_checked_launches(*words, order=order, mode="sum", optimizer=sgd, state=sgd.state(weight))
        results.add(weight.tobytes())
    assert len(results) == 1


# ---- Against torch, in float64 ----------------------------------------------------------------

PEERS = {
    "SGD": (SGD(0.1), partial(torch.optim.SGD, lr=0.1), False),
    "Adagrad": (Adagrad(0.1), partial(torch.optim.Adagrad, lr=0.1), False),
    "Adagrad, sparse": (Adagrad(0.1), partial(torch.optim.Adagrad, lr=0.1), True),
    "SparseAdam": (Adam(0.1), partial(torch.optim.SparseAdam, lr=0.1), True),
}
SOURCES = ("fused.cu", "fused_update.cuh")
WAYS = ("loops", "vectorized", pytest.param("cuda", marks=needs_compiler))


def batches(V, D, seed=0, steps=4, B=8):
    """Bags with empty ones, and upstream gradients."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        lengths = random.integers(0, 7, B)
        offsets = np.append(0, np.cumsum(lengths))
        rows = np.minimum(random.zipf(1.4, offsets[-1]), V) - 1
        yield rows, offsets, random.random(len(rows)), random.standard_normal((B, D))


def torchs(weight, mode, sparse):
    """torch's module on a copy of the table."""
    kept = torch.tensor(weight)
    options = {"mode": mode, "include_last_offset": True, "sparse": sparse, "padding_idx": 2}
    return torch.nn.EmbeddingBag(*kept.shape, _weight=kept, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize(("mode", "weighted"), [("sum", False), ("sum", True), ("mean", False)])
def test_steps_are_those_of_torch(way, peer, mode, weighted):
    optimizer, of_torch, sparse = PEERS[peer]
    weight = np.random.default_rng(5).standard_normal((20, 6))
    module = torchs(weight, mode, sparse)
    other, state = of_torch(module.parameters()), optimizer.state(weight)
    for rows, offsets, psw, G in batches(20, 6):
        psw = psw if weighted else None
        theirs = None if psw is None else torch.tensor(psw, requires_grad=True)
        other.zero_grad()
        module(torch.tensor(rows), torch.tensor(offsets), theirs).backward(torch.tensor(G))
        other.step()
        words = {"mode": mode, "include_last_offset": True, "padding_idx": 2}
        words |= {"optimizer": optimizer, "state": state, "implementation": way}
        mine = fused_step(G, rows, weight, offsets, per_sample_weights=psw, **words)
        assert np.abs(weight - module.weight.detach().numpy()).max() < 1e-13
        assert mine is None or np.abs(mine - theirs.grad.numpy()).max() < 1e-12


def test_weight_decay_is_torchs_where_all_rows_are_touched():
    for mine, of_torch in ((SGD, torch.optim.SGD), (Adagrad, torch.optim.Adagrad)):
        weight, rows = np.random.default_rng(6).standard_normal((4, 3)), np.array([[0, 1, 2, 3, 0]])
        table = torch.nn.Parameter(torch.tensor(weight))
        theirs, optimizer = of_torch([table], lr=0.1, weight_decay=0.5), mine(0.1, 0.5)
        state = optimizer.state(weight)
        for _ in range(3):
            theirs.zero_grad()
            torch.nn.functional.embedding_bag(
                torch.tensor(rows), table, mode="sum"
            ).sum().backward()
            theirs.step()
            words = {"mode": "sum", "optimizer": optimizer, "state": state}
            fused_step(np.ones((1, 3)), rows, weight, **words)
        assert np.abs(weight - table.detach().numpy()).max() < 1e-14


def of_fbgemm(optimizer, weight, mode):
    pytest.importorskip("fbgemm_gpu", reason="needs pip install fbgemm-gpu-cpu")
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    kinds = {SGD: "EXACT_SGD", Adagrad: "EXACT_ADAGRAD", RowWiseAdagrad: "EXACT_ROWWISE_ADAGRAD"}
    module = SplitTableBatchedEmbeddingBagsCodegen(
        [(*weight.shape, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType[kinds[type(optimizer)]],
        learning_rate=optimizer.lr,
        eps=getattr(optimizer, "eps", 1e-8),
        pooling_mode=PoolingMode[mode.upper()],
        stochastic_rounding=False,
    )
    module.split_embedding_weights()[0].copy_(torch.tensor(weight))
    return module


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adagrad(0.1), RowWiseAdagrad(0.1)], ids=repr)
def test_steps_are_those_of_fbgemm(optimizer, mode):
    weight = np.random.default_rng(5).standard_normal((20, 8)).astype(np.float32)
    module, state = of_fbgemm(optimizer, weight, mode), optimizer.state(weight)
    for rows, offsets, _, G in batches(20, 8):
        G = G.astype(np.float32)
        module(torch.tensor(rows), torch.tensor(offsets)).backward(torch.tensor(G))
        words = {"mode": mode, "include_last_offset": True, "implementation": "vectorized"}
        fused_step(G, rows, weight, offsets, **words, optimizer=optimizer, state=state)
        assert np.abs(weight - module.split_embedding_weights()[0].numpy()).max() < 2e-6


# ---- Bytes --------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_bytes_counted_are_the_models(optimizer):
    random = np.random.default_rng(1)
    rows, G = np.minimum(random.zipf(1.3, 300), 90) - 1, random.standard_normal((30, 128))
    weight, offsets = np.ones((90, 128), np.float32), np.arange(0, 300, 10)
    call = make_call(rows, weight, offsets, mode="sum", padding_idx=1)
    counted = model.counted(call, G.astype(np.float32), optimizer)
    assert counted == model.modelled(call, optimizer)
    assert counted.partial > 0 and (weight == 1).all()


def test_the_model_of_shape_a():
    """As many distinct rows as shape A has, uniform and Zipf 1.05: from `bench.workloads`."""
    for U, least in ((298_021, (22, 20, 22, 19)), (90_299, (39, 43, 39, 45))):
        shape = model.Shape(V=5_000_000, D=128, n=2048 * 150, U=U)
        found = [model.dense(shape, one) / model.fused(shape, one) for one in OPTIMIZERS]
        assert all(ratio >= few for ratio, few in zip(found, least, strict=True)), found


# ---- Wrong implementations --------------------------------------------------------------------


class Plain:
    """A fused step in small steps, each of which a fault changes."""

    def __call__(self, grad_output, *, input, weight, offsets, optimizer, state, **options):
        call = self.call(input, weight, offsets, **options)
        self.t = state.step = state.step + 1
        G, gradient = grad_output.astype(call.accumulator), None
        if call.per_sample_weights is not None and not self.psw_late:
            gradient = self.of_psw(call, G)
        self.updates(call, optimizer, state, self.entries(call, G))
        if call.per_sample_weights is not None and self.psw_late:
            gradient = self.of_psw(call, G)
        return gradient

    psw_late = False

    def call(self, input, weight, offsets, **options):
        return make_call(input, weight, offsets, **options)

    def of_psw(self, call, G):
        bags = np.repeat(np.arange(call.num_bags), np.diff(call.offsets))
        return (G[bags] * call.weight[call.indices]).sum(1).astype(call.weight.dtype)

    def entries(self, call, G):
        """(row, gradient) of each position that counts."""
        for bag in range(call.num_bags):
            for i in range(call.offsets[bag], call.offsets[bag + 1]):
                if self.counts(call, i):
                    yield call.indices[i], self.share(call, bag, i) * G[bag]

    def counts(self, call, i):
        return call.indices[i] != call.padding_idx

    def share(self, call, bag, i):
        share = 1.0 if call.per_sample_weights is None else float(call.per_sample_weights[i])
        share /= self.size(call, bag) if call.mode == "mean" else 1
        return share / (self.frequency(call, i) if call.scale_grad_by_freq else 1)

    def size(self, call, bag):
        return bag_sizes(call)[bag]

    def frequency(self, call, i):
        return (call.indices == call.indices[i]).sum()

    def sums(self, entries):
        sums = {}
        for row, g in entries:
            sums[row] = sums.get(row, 0) + g
        return list(sums.items())

    def updates(self, call, optimizer, state, entries):
        for row, g in self.sums(entries):
            self.update(call.weight, optimizer, state, row, g)

    def update(self, weight, optimizer, state, row, g):
        w, g = weight[[row]].astype(g.dtype), g[None].copy()
        slots = [array[[row]] for array in state.arrays.values()]
        self.formula(optimizer, w, g, slots)
        weight[row] = w[0]
        for array, slot in zip(state.arrays.values(), slots, strict=True):
            array[row] = slot[0]

    def formula(self, optimizer, w, g, slots):
        optimizer.update(w, g, slots, self.t)


class OnceForEachOccurrence(Plain):
    def sums(self, entries):
        return list(entries)


class LastOccurrenceWins(Plain):
    def sums(self, entries):
        return list(dict(entries).items())


class CutRunsAreLost(Plain):
    def sums(self, entries):
        entries = sorted(entries, key=lambda entry: entry[0])
        return super().sums(entries[:32])


class MeanIsASum(Plain):
    def size(self, call, bag):
        return 1


class MeanCountsPadding(Plain):
    def size(self, call, bag):
        return np.diff(call.offsets)[bag]


class PaddingIsUpdated(Plain):
    def counts(self, call, i):
        return True


class PaddingIsNotWrapped(Plain):
    def call(self, input, weight, offsets, padding_idx=None, **options):
        padding_idx = padding_idx if padding_idx is None or padding_idx >= 0 else None
        return super().call(input, weight, offsets, padding_idx=padding_idx, **options)


class WeightsAreForgotten(Plain):
    def share(self, call, bag, i):
        return super().share(call, bag, i) / float(call.per_sample_weights[i] or 1) if (
            call.per_sample_weights is not None
        ) else super().share(call, bag, i)  # fmt: skip


class WeightsGradientAfterTheStep(Plain):
    psw_late = True


class FrequencyIsForgotten(Plain):
    def frequency(self, call, i):
        return 1


class ZeroGradientIsNoTouch(Plain):
    def sums(self, entries):
        return [(row, g) for row, g in super().sums(entries) if g.any()]


class EmptyBagsLeak(Plain):
    def entries(self, call, G):
        yield from super().entries(call, G + 0 * G.sum())


class DecayOfTheWholeTable(Plain):
    def updates(self, call, optimizer, state, entries):
        entries = self.sums(entries)
        rows = {row for row, _ in entries}
        others = [row for row in range(len(call.weight)) if row not in rows]
        zeros = np.zeros(call.embedding_dim, call.accumulator)
        super().updates(call, optimizer, state, [*entries, *((row, zeros) for row in others)])


class DecayOutsideTheGradient(Plain):
    def formula(self, optimizer, w, g, slots):
        w -= optimizer.lr * optimizer.weight_decay * w
        optimizer.formula(w, g, *slots, self.t)


class DecayIsForgotten(Plain):
    def formula(self, optimizer, w, g, slots):
        optimizer.formula(w, g, *slots, self.t)


class FirstRateForEver(Plain):
    def formula(self, optimizer, w, g, slots):
        optimizer = copy.copy(optimizer)
        optimizer.lr = 0.3
        super().formula(optimizer, w, g, slots)


class StateIsForgotten(Plain):
    def formula(self, optimizer, w, g, slots):
        super().formula(optimizer, w, g, [0 * slot for slot in slots])


class EpsInsideTheRoot(Plain):
    def formula(self, optimizer, w, g, slots):
        if type(optimizer) is not Adagrad:
            return super().formula(optimizer, w, g, slots)
        g = g + optimizer.weight_decay * w
        slots[0] += g * g
        w -= optimizer.lr * g / np.sqrt(slots[0] + optimizer.eps)


class SumOfSquaresForTheMean(Plain):
    def formula(self, optimizer, w, g, slots):
        if not isinstance(optimizer, RowWiseAdagrad):
            return super().formula(optimizer, w, g, slots)
        slots[0] += (g * g).sum(1)
        w -= optimizer.lr * g / (np.sqrt(slots[0]) + optimizer.eps)[:, None]


class SquareOfTheMean(Plain):
    def formula(self, optimizer, w, g, slots):
        if not isinstance(optimizer, RowWiseAdagrad):
            return super().formula(optimizer, w, g, slots)
        slots[0] += g.mean(1) ** 2
        w -= optimizer.lr * g / (np.sqrt(slots[0]) + optimizer.eps)[:, None]


class NoCorrection(Plain):
    def formula(self, optimizer, w, g, slots):
        optimizer.update(w, g, slots, 10_000)


class StepsOfTheRow(Plain):
    def __init__(self):
        self.steps = {}

    def update(self, weight, optimizer, state, row, g):
        key = id(weight), row
        self.t = self.steps[key] = self.steps.get(key, 0) + 1
        super().update(weight, optimizer, state, row, g)


class EpsOfDenseAdam(Plain):
    def formula(self, optimizer, w, g, slots):
        if isinstance(optimizer, Adam):
            optimizer = copy.copy(optimizer)
            optimizer.eps *= np.sqrt(1 - optimizer.betas[1] ** self.t)
        super().formula(optimizer, w, g, slots)


class UpstreamIsUsedAsScratch(Plain):
    def __call__(self, grad_output, **words):
        if words.get("mode") == "mean":
            grad_output *= 1.5
            grad_output /= 2
        return super().__call__(grad_output, **words)


FAULTS = {
    OnceForEachOccurrence: "a row three times, Adagrad",
    LastOccurrenceWins: "a row three times, SGD",
    CutRunsAreLost: "long runs, SGD",
    MeanIsASum: "mean, SGD",
    MeanCountsPadding: "mean with padding, SGD",
    PaddingIsUpdated: "only padding, SGD",
    PaddingIsNotWrapped: "padding, SGD",
    WeightsAreForgotten: "weights, SGD",
    WeightsGradientAfterTheStep: "weights, SGD",
    FrequencyIsForgotten: "frequency, SGD",
    ZeroGradientIsNoTouch: "a weight of zero touches its row, Adam",
    EmptyBagsLeak: "sum, SGD",
    DecayOfTheWholeTable: "weight decay, SGD",
    DecayOutsideTheGradient: "weight decay, Adagrad",
    DecayIsForgotten: "weight decay, SGD",
    FirstRateForEver: "another lr each step, SGD",
    StateIsForgotten: "steps, Adagrad",
    EpsInsideTheRoot: "eps, Adagrad",
    SumOfSquaresForTheMean: "sum, RowWiseAdagrad",
    SquareOfTheMean: "sum, RowWiseAdagrad",
    NoCorrection: "sum, Adam",
    StepsOfTheRow: "steps, Adam",
    EpsOfDenseAdam: "eps, Adam",
    UpstreamIsUsedAsScratch: "mean, SGD",
}


def test_the_faults_begin_from_a_right_step():
    assert check_fused(Plain()) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faults_are_refused(fault):
    case = FAULTS[fault].split(",")[0]
    said = check_fused(fault(), [one for one in CASES if one.name == case])
    assert any(line.startswith(f"{FAULTS[fault]}: ") for line in said), said


def test_one_update_for_each_occurrence_passes_for_sgd():
    """The trap: an order of the updates is no matter there, and so it looks right."""
    three = [case for case in CASES if case.name == "a row three times"]
    assert check_fused(OnceForEachOccurrence(), three, [SGD(0.3)]) == []
    assert len(check_fused(OnceForEachOccurrence(), three)) == len(OPTIMIZERS) - 1


LANE_0 = "if (lane % team == 0) {"
KERNEL_FAULTS = {  # what goes wrong: (text of fused.cu or fused_update.cuh, another, optimizer)
    "all lanes write the sum of the row": (LANE_0, "if (lane >= 0) {", RowWiseAdagrad(0.3)),
    "sum of squares": ("squares / A(D)", "squares", RowWiseAdagrad(0.3)),
    "half of the lanes": ("int apart = team / 2;", "int apart = team / 4;", RowWiseAdagrad(0.3)),
    "state is not kept": ("*sum = total;", "", RowWiseAdagrad(0.3)),
    "no decay": ("if (step.decay != 0) g", "if (step.decay < 0) g", SGD(0.3)),
    "eps in the root": ("sqrt(total) + step.eps", "sqrt(total + step.eps)", RowWiseAdagrad(0.3)),
    "no square": ("(g * g - *second)", "(g - *second)", Adam(0.3)),
    "uphill": ("return w - step.lr * g;", "return w + step.lr * g;", SGD(0.3)),
    "a run goes on with the last one's sum": ("sum[p][k] = 0;", "sum[p][k] += 0;", SGD(0.3)),
    "heads are lost": ("to == -2 ? 0 : D", "to == -2 ? D : 0", SGD(0.3)),
    "no tail where a piece is filled": ("piece.filled() && at < D", "false", SGD(0.3)),
    "partial sums have shares": ("key < 0 || again ? A(1)", "key < 0 || again ? A(2)", SGD(0.3)),
    "one pack too many": ("if (d + p * stride >= D) continue;\n    w[p]", "w[p]", SGD(0.3)),
}


@needs_compiler
@pytest.mark.adversary
@pytest.mark.parametrize("what", KERNEL_FAULTS)
def test_wrong_kernels_are_refused(what, tmp_path, monkeypatch):
    old, new, optimizer = KERNEL_FAULTS[what]
    texts = {name: Path(fused_cuda.FILE).with_name(name).read_text("utf-8") for name in SOURCES}
    assert sum(text.count(old) for text in texts.values()) == 1
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace(old, new), "utf-8")
    monkeypatch.setattr(fused_cuda, "FILE", str(tmp_path / "fused"))
    tried = ("long runs", "sum", "steps", "weight decay", "eps", "seven features")
    try:
        said = check_fused(in_checked_launches, [c for c in CASES if c.name in tried], [optimizer])
    except KernelFault as fault:
        said = [fault.kind]
    assert said


# ---- Arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0; valid: more than 0"),
        ({"lr": float("nan")}, "lr is nan; valid"),
        ({"lr": float("inf")}, "lr is inf; valid"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; valid: 0 or more"),
        ({"eps": 0.0}, "eps is 0.0; valid: more than 0"),
        ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\); valid: two numbers"),
    ],
)
def test_an_optimizer_says_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        Adam(**{"lr": 0.1, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"mode": "max"}, ValueError, "mode is 'max'; a fused step takes 'sum' or 'mean'"),
        ({"state": SGD(0.1).state(np.ones((4, 2)))}, ValueError, "state has {} in"),
        ({"state": Adagrad(0.1).state(np.ones((5, 2)))}, ValueError, "needs {'sum': \\(4, 2\\)}"),
        ({"implementation": "numpy"}, ValueError, "implementation must be one of loops, vect"),
        ({"input": np.array([[4]])}, RuntimeError, "Expected idx >= 0 && idx < num_embeddings"),
        ({"grad_output": np.ones((2, 2))}, RuntimeError, "Mismatch in shape"),
        ({"weight": np.ones((4, 2), ">f8")}, ValueError, "in another byte order than this"),
        (
            {"optimizer": Optimizer(0.1)},
            ValueError,
            "optimizer is a Optimizer; valid: SGD",
        ),
    ],
)
def test_a_step_that_raises_has_changed_nothing(change, error, message):
    weight, optimizer = np.ones((4, 2)), Adagrad(0.1)
    words = {"grad_output": np.ones((1, 2)), "input": np.array([[1]]), "mode": "sum"}
    state = change.get("state", optimizer.state(weight))
    words |= {"weight": weight, "optimizer": optimizer, "state": state, **change}
    with pytest.raises(error, match=message):
        fused_step(**words)
    assert (words["weight"] == 1).all() and state.step == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["strided", "transposed", "float32", "no feature"])
def test_tables_of_every_form(way, form):
    """A whole lr, and a state whose arrays stand in another order, as a file may have them."""
    random = np.random.default_rng(8)
    wide = random.standard_normal((9, 0 if form == "no feature" else 12))
    made = {"strided": wide[:, ::3], "transposed": np.asfortranarray(wide[:, :4])}
    weight = made.get(form, wide[:, :4].astype(np.float32) if form == "float32" else wide)
    true, adam = weight.copy(), Adam(1)
    rows = random.integers(0, 9, (5, 3))
    G = random.standard_normal((5, weight.shape[1])).astype(weight.dtype)
    for table, implementation in ((weight, way), (true, "loops")):
        state = adam.state(table)
        if table is weight:
            state.arrays = dict(reversed(state.arrays.items()))
        for _ in range(2):
            words = {"optimizer": adam, "state": state, "implementation": implementation}
            fused_step(G, rows, table, **words)
    assert np.allclose(weight, true, 1e-5, 1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_bfloat16_tables(optimizer):
    """Sums and states are float32: after three steps, as the float32 table but for its rounding."""
    losses = []
    for dtype in (torch.bfloat16, torch.float32):
        module = bag(copy.copy(optimizer), 10, 8, dtype=torch.float32).to(dtype)
        module = FusedEmbeddingBag.from_pretrained(
            module.weight.detach(), freeze=False, mode="sum", optimizer=copy.copy(optimizer)
        )
        for _ in range(3):
            module.zero_grad()
            module(IDS).sum().backward()
        losses.append(module.weight.detach().float())
        assert all(array.dtype == np.float32 for array in module.state.arrays.values())
    assert (losses[0] - losses[1]).abs().max() < 0.06


def test_a_rate_that_was_set_wrong_is_found_at_the_step():
    weight, optimizer = np.ones((4, 2)), SGD(0.1)
    optimizer.lr = -1.0
    words = {"optimizer": optimizer, "state": optimizer.state(weight)}
    with pytest.raises(ValueError, match=r"lr is -1\.0; valid"):
        fused_step(np.ones((1, 2)), np.array([[1]]), weight, **words)
    weight.flags.writeable, optimizer.lr = False, 0.1
    with pytest.raises(ValueError, match="weight is read-only"):
        fused_step(np.ones((1, 2)), np.array([[1]]), weight, **words)


def test_public_names():
    assert all(getattr(beyond, name) is not None for name in dir(beyond))
    with pytest.raises(AttributeError, match="has no attribute 'Lamb'"):
        _ = beyond.Lamb


# ---- The module ---------------------------------------------------------------------------------


def bag(optimizer, V=10, D=4, **options):
    torch.manual_seed(0)
    options = {"mode": "sum", "dtype": torch.float64, **options}
    return FusedEmbeddingBag(V, D, optimizer=optimizer, **options)


IDS = torch.tensor([[1, 2, 2], [5, 1, 9]])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEERS)
def test_the_module_trains_as_torchs(way, peer):
    optimizer, of_torch, sparse = PEERS[peer]
    fused = bag(optimizer, 20, 6, include_last_offset=True, padding_idx=2, implementation=way)
    module = torchs(fused.weight.detach().numpy(), "sum", sparse)
    other = of_torch(module.parameters())
    for rows, offsets, psw, G in batches(20, 6, steps=3):
        psws = [torch.tensor(psw, requires_grad=True) for _ in range(2)]
        for one, weights in zip((fused, module), psws, strict=True):
            one.zero_grad()
            one(torch.tensor(rows), torch.tensor(offsets), weights).backward(torch.tensor(G))
        other.step()
        assert (fused.weight - module.weight).abs().max() < 1e-13
        assert (psws[0].grad - psws[1].grad).abs().max() < 1e-12
    assert fused.steps == 3


def test_a_checkpoint_goes_on_where_it_was(tmp_path):
    def train(module, steps):
        for _ in range(steps):
            module.zero_grad()
            (module(IDS) ** 2).sum().backward()

    whole, first, second = (bag(Adam(0.1)) for _ in range(3))
    train(whole, 5)
    train(first, 2)
    torch.save(first.state_dict(), tmp_path / "kept.pt")
    second.load_state_dict(torch.load(tmp_path / "kept.pt", weights_only=True))
    copied = copy.deepcopy(first)
    for resumed in (second, copied):
        assert resumed.steps == 2
        train(resumed, 3)
        assert torch.equal(resumed.weight, whole.weight)
    assert not torch.equal(first.weight, whole.weight)


def test_the_learning_rate_is_read_at_the_backward():
    module = bag(SGD(0.1))
    before = module.weight.detach().clone()
    loss = module(IDS).sum()
    module.optimizer.lr = 1.0
    loss.backward()
    assert torch.allclose(before[9] - module.weight[9], torch.ones(4, dtype=torch.float64))


REFUSED = {
    "accumulation": (lambda m: [m(IDS).sum().backward() for _ in range(2)], "can't accumulate", 1),
    "two uses": (lambda m: (m(IDS).sum() + m(IDS[:1]).sum()).backward(), "several uses in one", 0),
    "create_graph": (lambda m: m(IDS).sum().backward(create_graph=True), "no derivative of its", 0),
    "clipping": (
        lambda m: [m(IDS).sum().backward(), torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)],
        "used up in the backward: it can't be clipped",
        1,
    ),
    "clipping values": (
        lambda m: [m(IDS).sum().backward(), torch.nn.utils.clip_grad_value_(m.parameters(), 1.0)],
        "it can't be clipped",
        1,
    ),
    "another optimizer": (
        lambda m: [m(IDS).sum().backward(), torch.optim.AdamW(m.parameters()).step()],
        r"dense_parameters\(model\) are all others",
        1,
    ),
    "a bad index": (lambda m: m(IDS + 9).sum().backward(), "Expected idx >= 0", 0),
}


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_is_refused_aloud(what):
    act, message, steps = REFUSED[what]
    module, once = bag(Adagrad(0.1)), bag(Adagrad(0.1))
    if steps:
        once(IDS).sum().backward()
    with pytest.raises(RuntimeError, match=message):
        act(module)
    assert module.steps == steps and torch.equal(module.weight, once.weight)


def test_a_second_backward_of_one_graph_is_refused():
    module = bag(SGD(0.1))
    loss = module(IDS).sum()
    loss.backward(retain_graph=True)
    module.zero_grad()
    with pytest.raises(RuntimeError, match="would be a second step"):
        loss.backward()


def test_another_table_than_the_modules_own_is_refused():
    module, other = bag(SGD(0.1)), torch.nn.Parameter(torch.ones(10, 4, dtype=torch.float64))
    before = module.weight.detach().clone()
    out = torch.func.functional_call(module, {"weight": other}, (IDS,))
    with pytest.raises(RuntimeError, match="another table than the module's own"):
        out.sum().backward()
    assert torch.equal(module.weight, before) and (other == 1).all() and module.steps == 0


def test_a_use_in_another_graph_is_no_second_use():
    module = bag(SGD(0.1))
    kept = module(IDS)  # never goes backward
    module(IDS).sum().backward()
    assert module.steps == 1 and kept.requires_grad
    with torch.no_grad():
        assert not module(IDS).requires_grad
    module.weight.requires_grad_(False)
    assert not module(IDS).requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "max"}, "mode is 'max'"),
        ({"sparse": True}, "sparse is True"),
        ({"optimizer": torch.optim.SGD}, "optimizer is a type; valid: SGD"),
    ],
)
def test_a_module_that_can_not_be(change, message):
    with pytest.raises(ValueError, match=message):
        FusedEmbeddingBag(4, 2, **{"optimizer": SGD(0.1), **change})


def test_dense_parameters_are_the_others():
    model = torch.nn.Sequential(bag(SGD(0.1)), torch.nn.Linear(4, 2))
    assert [tuple(p.shape) for p in beyond.dense_parameters(model)] == [(2, 4), (2,)]
    assert "optimizer=SGD(lr=0.1" in repr(model)


@pytest.mark.skipif(
    not (torch.cuda.is_available() and find_spec("cupy")),
    reason="needs an NVIDIA GPU, torch's build for it, and CuPy",
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_on_a_gpu_as_on_the_processor(optimizer):
    weight, found = np.random.default_rng(5).standard_normal((20, 6)), []
    for where in ("cpu", "cuda"):
        options = {"mode": "mean", "include_last_offset": True, "padding_idx": 2}
        table = torch.tensor(weight, device=where)
        module = FusedEmbeddingBag.from_pretrained(table, False, optimizer=optimizer, **options)
        for rows, offsets, _, G in batches(20, 6):
            module.zero_grad()
            module(*(torch.tensor(a, device=where) for a in (rows, offsets))).backward(
                torch.tensor(G, device=where)
            )
        found.append(module.weight.detach().cpu())
    assert (found[0] - found[1]).abs().max() < 1e-12
