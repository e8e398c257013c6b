"""embag_edu.nn beside torch's: the interface, the module, memory, eager autograd."""

import ast
import copy
import gc
import inspect
import io
import subprocess
import sys
import types
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from embag_edu import nn, spec
from embag_edu.api import implementation_of
from embag_edu.arrays import to_array, to_tensor
from embag_edu.check import check
from embag_edu.check.promise import EVERYTHING
from embag_edu.check.refusals import REFUSALS
from embag_edu.nn import functional as F
from embag_edu.nn import implementations, on_cpu, on_cuda
from embag_edu.nn.bags import Bags

NAMES = ("loops", "vectorized", "cuda")
V, D, N = 6, 3, 8
INPUT = torch.tensor([0, 2, 2, 3, 1, 5, 0, 2])
OFFSETS = torch.tensor([0, 3, 3, 6])


def draw(*shape, dtype=torch.float32, seed=0, grad=False):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random).to(dtype).requires_grad_(grad)


def close(found, expected):
    torch.testing.assert_close(found, expected, equal_nan=False)


# ---- the table ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loops", "vectorized"])
def test_every_clause_holds(name):
    name = f"embag_edu.nn.functional:with_{name}"
    report = check(name, supports=EVERYTHING, same_errors=True, isolate=False, raises=False)
    assert {r.status for r in report.results} == {"holds"}, str(report)


@pytest.mark.parametrize(
    "group",
    ["sparse", "autograd", "backward.max", "max_norm"]
    + [pytest.param("together", marks=pytest.mark.adversary)],  # a kernel or two for each call
)
def test_clauses_with_kernels(group):
    """A part of the table: the kernels have the whole of it in test_cuda_implementation."""
    report = check("embag_edu.nn.functional:with_cuda", group, isolate=False, raises=False)
    assert {r.status for r in report.results} == {"holds"}, str(report)


# ---- signatures, the module -----------------------------------------------------------------


@pytest.mark.parametrize(
    "ours, torchs",
    [
        (F.embedding_bag, TF.embedding_bag),
        (nn.EmbeddingBag.__init__, torch.nn.EmbeddingBag.__init__),
        (nn.EmbeddingBag.forward, torch.nn.EmbeddingBag.forward),
        (nn.EmbeddingBag.from_pretrained, torch.nn.EmbeddingBag.from_pretrained),
    ],
)
def test_parameters_are_torchs_in_torchs_order(ours, torchs):
    mine = dict(inspect.signature(ours).parameters)
    extra = mine.pop("implementation", None)
    theirs = inspect.signature(torchs).parameters
    assert [(p.name, p.default, p.kind) for p in mine.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]
    assert extra is None or (extra.kind is extra.KEYWORD_ONLY and extra.default == "auto")


MADE = [
    {},
    {"max_norm": 1.5, "norm_type": 1.0, "padding_idx": -1},
    {"scale_grad_by_freq": True, "mode": "sum", "sparse": True, "include_last_offset": True},
    {"padding_idx": 0, "dtype": torch.float16},
    {"dtype": torch.bfloat16, "mode": "max"},
]


@pytest.mark.parametrize("options", MADE, ids=str)
def test_a_module_is_made_as_torchs_is(options):
    modules = []
    for kind in (nn.EmbeddingBag, torch.nn.EmbeddingBag):
        torch.manual_seed(3)
        modules.append(kind(V, D, **options))
        modules[-1].first = modules[-1].weight.detach().clone()
        modules[-1].reset_parameters()
    ours, theirs = modules
    assert torch.equal(ours.first, theirs.first) and torch.equal(ours.weight, theirs.weight)
    assert repr(ours) == repr(theirs) and isinstance(ours, torch.nn.EmbeddingBag)
    for name in ours.__constants__:
        assert getattr(ours, name) == getattr(theirs, name)
    assert list(ours.state_dict()) == ["weight"] and ours.weight.dtype == theirs.weight.dtype


def test_repr_shows_an_implementation_that_was_chosen():
    assert repr(nn.EmbeddingBag(3, 2)) == "EmbeddingBag(3, 2, mode='mean')"
    chosen = nn.EmbeddingBag(3, 2, implementation="loops")
    assert repr(chosen) == "EmbeddingBag(3, 2, mode='mean', implementation='loops')"
    assert copy.deepcopy(chosen).implementation == "loops"


def test_a_given_table_is_shared_and_left_as_it_is():
    table = draw(V, D)
    kept = table.clone()
    module = nn.EmbeddingBag.from_pretrained(table, padding_idx=1, implementation="loops")
    other = nn.EmbeddingBag(V, D, _weight=table, padding_idx=1)
    for made in (module, other):
        assert made.weight.data_ptr() == table.data_ptr() and torch.equal(made.weight, kept)
    assert not module.weight.requires_grad and other.weight.requires_grad
    assert module.implementation == "loops"
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False).weight.requires_grad
    renormed = nn.EmbeddingBag.from_pretrained(table, max_norm=0.1)
    renormed(INPUT, OFFSETS)
    assert not torch.equal(table, kept) and torch.equal(table[4], kept[4])


@pytest.mark.parametrize(
    "make",
    [
        lambda kind: kind(3, 2, padding_idx=3),
        lambda kind: kind(3, 2, padding_idx=-4),
        lambda kind: kind(3, 2, _weight=torch.zeros(2, 3)),
        lambda kind: kind.from_pretrained(torch.zeros(3)),
        lambda kind: kind(-1, 2),
        lambda kind: kind(3, 2, dtype=torch.int64),
        lambda kind: kind(3, 2).load_state_dict({}),
        lambda kind: kind(3, 2).load_state_dict({"weight": torch.zeros(2, 2)}),
    ],
)
def test_a_module_refuses_what_torchs_refuses(make):
    with pytest.raises(Exception) as torchs:
        make(torch.nn.EmbeddingBag)
    with pytest.raises(torchs.type) as ours:
        make(nn.EmbeddingBag)
    assert str(ours.value) == str(torchs.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda: nn.EmbeddingBag(3, 2, implementation="fast"),
        lambda: nn.EmbeddingBag.from_pretrained(torch.zeros(3, 2), implementation="fast"),
        lambda: F.embedding_bag(INPUT, draw(V, D), OFFSETS, implementation="fast"),
    ],
)
def test_an_unknown_implementation_is_named_with_the_valid_ones(use):
    with pytest.raises(ValueError, match="loops, vectorized, cuda, auto, but got 'fast'"):
        use()


def test_empty_tables_and_modules_without_data():
    assert nn.EmbeddingBag(0, 3)(INPUT[:0], torch.tensor([0, 0])).tolist() == [[0] * 3] * 2
    assert nn.EmbeddingBag(3, 0)(torch.tensor([[1, 2]])).shape == (1, 0)
    meta = nn.EmbeddingBag(V, D, device="meta")
    assert meta(INPUT, OFFSETS).shape == (4, D) and meta(INPUT, OFFSETS).is_meta
    real = meta.to_empty(device="cpu").to(torch.float64)
    assert real.weight.dtype == torch.float64 and real(INPUT, OFFSETS).dtype == torch.float64
    with pytest.raises(RuntimeError, match="input is on meta and weight is on cpu"):
        F.embedding_bag(INPUT.to("meta"), draw(V, D), OFFSETS)  # torch returns garbage


def test_fx_sees_one_call_and_checkpoint_works():
    module = nn.EmbeddingBag(V, D)
    traced = torch.fx.symbolic_trace(module)
    assert [n.target for n in traced.graph.nodes if n.op == "call_function"] == [F.embedding_bag]
    close(traced(INPUT, OFFSETS), module(INPUT, OFFSETS))
    expected = torch.autograd.grad(module(INPUT, OFFSETS).pow(2).sum(), module.weight)
    again = torch.utils.checkpoint.checkpoint(module, INPUT, OFFSETS, use_reentrant=False)
    close(torch.autograd.grad(again.pow(2).sum(), module.weight), expected)


# ---- arguments ------------------------------------------------------------------------------


def test_the_deprecated_order_warns_where_the_caller_is():
    table, bags = draw(V, D), torch.tensor([[0, 1], [2, 3]])
    with pytest.warns(UserWarning, match="Argument order of nn.functional.embedding_bag") as told:
        found = F.embedding_bag(table, bags)
    assert told[0].filename == __file__
    close(found, TF.embedding_bag(bags, table))
    with pytest.raises(RuntimeError, match="indices"):
        F.embedding_bag(table, bags.int())


@pytest.mark.parametrize("place", ["input", "weight", "offsets", "per_sample_weights"])
def test_torch_function_is_honored(place):
    class Mine(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func, len(args), kwargs

    given = {
        "input": INPUT, "weight": draw(V, D), "offsets": OFFSETS, "per_sample_weights": draw(N),
    }  # fmt: skip
    given[place] = given[place].as_subclass(Mine)
    func, count, kwargs = F.embedding_bag(**given, mode="sum", implementation="loops")
    assert func is F.embedding_bag and count == 11 and kwargs == {"implementation": "loops"}


def jagged(values, offsets):
    return torch.nested.nested_tensor_from_jagged(values, offsets)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_jagged_input(mode):
    input, weight = jagged(INPUT, torch.tensor([0, 3, 3, 8])), draw(V, D)
    close(F.embedding_bag(input, weight, mode=mode), TF.embedding_bag(input, weight, mode=mode))
    if mode == "sum":
        psw = draw(N, grad=True)
        weights = jagged(psw, input.offsets())
        ours, theirs = (
            torch.autograd.grad(
                bag(input, weight, mode=mode, per_sample_weights=weights)[0, 0], psw,
                retain_graph=True,
            )[0]
            for bag in (F.embedding_bag, TF.embedding_bag)
        )  # fmt: skip
        close(ours, theirs)


def test_jagged_input_with_other_weights():
    input = jagged(INPUT, torch.tensor([0, 3, 3, 8]))
    for given in (
        (input, draw(N)),
        (input, jagged(draw(N), torch.tensor([0, 3, 3, 8]))),
        (INPUT.reshape(2, 4), jagged(draw(N), torch.tensor([0, 3, 8]))),
    ):
        for bag in (F.embedding_bag, TF.embedding_bag):
            with pytest.raises(ValueError, match="per_sample_weights"):
                bag(given[0], draw(V, D), mode="sum", per_sample_weights=given[1])


def test_jagged_input_of_three_dimensions():
    for bag in (F.embedding_bag, TF.embedding_bag):
        with pytest.raises(ValueError, match="Tensor of dimension 3"):
            bag(jagged(INPUT.reshape(4, 2), torch.tensor([0, 1, 4])), draw(V, D))


@pytest.mark.parametrize("first, length", [([0, 1], [2, 3]), ([0, 0], [2, 4]), ([0, 2], [0, 1])])
def test_jagged_input_with_holes(first, length):
    """torch takes what stands between two bags for a part of the first."""
    grid, weight = INPUT.reshape(2, 4), draw(V, D)
    first, length = torch.tensor(first), torch.tensor(length)
    input = torch.nested.narrow(grid, 1, first, length, layout=torch.jagged)
    expected = [
        weight[row[i : i + n]].sum(0) for row, i, n in zip(grid, first, length, strict=True)
    ]
    close(F.embedding_bag(input, weight, mode="sum"), torch.stack(expected))


@pytest.mark.parametrize(
    ("refusal", "case"), [(r, case) for r in REFUSALS for case in r.calls if r.name != "not_arrays"]
)
def test_errors_speak_of_tensors(refusal, case):
    arguments = refusal.arguments(case)
    given = {k: to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(refusal.error) as refused:
        F.embedding_bag(**given)
    assert not [word for word in ("np.", "astype", "numpy", "array") if word in str(refused.value)]


@pytest.mark.parametrize(
    ("name", "dtype", "fix"),
    [
        ("input", torch.float32, "input.to(torch.int64)"),
        ("offsets", torch.float16, "offsets.to(torch.int64)"),
        ("weight", torch.int64, "weight.to(torch.float32)"),
        (
            "per_sample_weights",
            torch.float64,
            "per_sample_weights.to(weight.dtype), which is float",
        ),
    ],
)
def test_the_fix_names_the_argument_and_a_dtype(name, dtype, fix):
    given = {
        "input": INPUT, "offsets": OFFSETS, "weight": draw(V, D), "mode": "sum",
        "per_sample_weights": draw(len(INPUT)),
    }  # fmt: skip
    with pytest.raises(RuntimeError) as refused:
        F.embedding_bag(**given | {name: given[name].to(dtype)})
    assert f"To mend it: {fix}" in str(refused.value)


def test_what_is_no_tensor_is_named():
    with pytest.raises(AttributeError, match=r"weight must be a torch.Tensor, not a ndarray"):
        F.embedding_bag(INPUT, np.zeros((V, D)), OFFSETS)
    with pytest.raises(TypeError, match=r"torch.as_tensor\(offsets\)"):
        F.embedding_bag(INPUT, draw(V, D), [0, 3])


def test_options_of_other_types_are_read_as_spec_reads_them():
    weight = draw(V, D)
    found = F.embedding_bag(INPUT, weight, OFFSETS, mode=np.str_("sum"), padding_idx=np.int64(-4))
    close(found, TF.embedding_bag(INPUT, weight, OFFSETS, mode="sum", padding_idx=2))
    for wrong in ({"sparse": 1}, {"padding_idx": True}, {"max_norm": "1"}, {"norm_type": None}):
        options = {"max_norm": 1.0} | wrong
        with pytest.raises(TypeError, match=next(iter(wrong))):
            F.embedding_bag(INPUT, weight, OFFSETS, **options)


def test_a_tensor_of_no_dimension_is_a_number_as_for_torch():
    one, two = torch.tensor(1), torch.tensor(2.0)
    for options in ({"max_norm": one, "norm_type": two}, {"max_norm": two}, {"padding_idx": one}):
        (mine, found), (table, expected) = (
            (weight := draw(V, D), function(INPUT, weight, OFFSETS, **options))
            for function in (F.embedding_bag, TF.embedding_bag)
        )
        close(found, expected)
        close(mine, table)
    for wrong in (
        {"max_norm": two[None]},
        {"padding_idx": two},
        {"max_norm": two.requires_grad_()},
    ):
        for function in (F.embedding_bag, TF.embedding_bag):
            with pytest.raises(TypeError, match=next(iter(wrong))):
                function(INPUT, draw(V, D), OFFSETS, **wrong)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_may_put_ours_in_torchs_place(monkeypatch):
    expected = TF.embedding_bag(INPUT, weight := draw(V, D), OFFSETS)
    monkeypatch.setattr(torch.nn, "EmbeddingBag", nn.EmbeddingBag)
    script = torch.jit.script(torch.nn.EmbeddingBag.from_pretrained(weight))
    close(script(INPUT, OFFSETS), expected)
    monkeypatch.setattr(TF, "embedding_bag", F.embedding_bag)
    module = torch.nn.EmbeddingBag.from_pretrained(weight)
    for leaves in (torch.jit.trace(module, (INPUT, OFFSETS)),
                   torch.export.export(module, (INPUT, OFFSETS)).module()):  # fmt: skip
        close(leaves(INPUT, OFFSETS), expected)


@pytest.mark.parametrize("name", ["loops", "vectorized"])
def test_an_implementation_says_where_it_can_compute(name, monkeypatch):
    class Far:
        device, is_meta = torch.device("cuda:0"), False

    with pytest.raises(RuntimeError, match=f"(?s){name}' can't.* cuda:0.*'auto' or 'cuda'"):
        implementations.backend_of(Far(), {}, name)
    assert implementations.resolved("auto", on_gpu=True) == "cuda"
    assert implementations.backend_of(Far(), {}, "cuda") is on_cuda


# ---- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_arrays_and_tensors_share_their_memory(dtype):
    for tensor in (draw(4, 6, dtype=dtype), draw(4, 6, dtype=dtype).t()[::2], draw(4, dtype=dtype)):
        array = to_array(tensor.requires_grad_())
        assert array.ctypes.data == tensor.data_ptr() and array.shape == tensor.shape
        assert array.dtype.name == str(dtype).removeprefix("torch.")
        assert [s // array.itemsize for s in array.strides] == list(tensor.stride())
    whole = np.ascontiguousarray(to_array(draw(4, 6, dtype=dtype)))
    assert to_tensor(whole).data_ptr() == whole.ctypes.data
    assert to_tensor(whole).dtype == dtype
    wide = to_array(draw(3, dtype=dtype).expand(5, 3))
    assert wide.shape == (5, 3) and wide.strides[0] == 0


WRITEABLE = np.from_dlpack(torch.zeros(1)).flags.writeable
shares_without_a_mark = pytest.mark.skipif(
    not WRITEABLE, reason="this NumPy, before 2.3, or this torch shares memory for reading only"
)


@shares_without_a_mark
@pytest.mark.parametrize("mode", ["sum", "max"])
def test_the_callers_memory_can_still_be_resized(mode):
    weight, g = draw(V, D, grad=True), draw(4, D)
    psw = draw(len(INPUT), grad=True) if mode == "sum" else None
    taken = [t.clone() for t in (INPUT, OFFSETS)]
    out = F.embedding_bag(
        taken[0], weight, taken[1], mode=mode, per_sample_weights=psw, max_norm=1.0
    )
    out.backward(g)
    for tensor in (weight, g, *taken, *([] if psw is None else [psw])):
        assert tensor.untyped_storage().resizable()
    # What book/pages/uses.md says the module lacks.
    assert not any(ours.untyped_storage().resizable() for ours in (out, weight.grad))


@shares_without_a_mark
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", ["loops", "vectorized"])
def test_weights_may_lie_elsewhere_when_the_backward_comes(name, sparse):
    """FSDP2 frees the memory of a parameter after the forward, and gathers it anew."""
    grads, values = [], draw(N)
    for bag in (getattr(F, f"with_{name}"), TF.embedding_bag):
        weight, psw = draw(V, D, grad=True), values.clone().requires_grad_()
        out = bag(INPUT, weight, OFFSETS, mode="sum", per_sample_weights=psw, sparse=sparse)
        memory, size, before = psw.untyped_storage(), psw.nbytes, psw.data_ptr()
        memory.resize_(0)
        taken = [torch.full((N,), torch.nan) for _ in range(20)]
        memory.resize_(size)
        with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(psw):
            psw.copy_(values)
        assert taken and psw.data_ptr() != before
        out.backward(draw(4, D, seed=2))
        grads.append([weight.grad.to_dense(), psw.grad])
    close(*grads)


@shares_without_a_mark  # FSDP2 resizes the memory of parameters
def test_two_processes_train_as_torchs_own(tmp_path):
    script = Path(__file__).with_name("distributed.py")
    started = [
        subprocess.Popen(
            [sys.executable, script, str(rank), tmp_path / "meet"], stdout=-1, stderr=-1, text=True
        )
        for rank in range(2)
    ]
    told = [each.communicate(timeout=300) for each in started]
    assert [each.returncode for each in started] == [0, 0], told
    rows = [line.split("\t") for line in told[0][0].splitlines()]
    assert [name for name, *_ in rows] == ["DDP", "DDP, sparse", "FSDP2"]
    for name, apart, moved in rows:
        assert float(apart) <= 1e-6 < 1e-3 < float(moved), name


def test_a_negative_view_is_read_as_what_it_stands_for():
    weight = torch._neg_view(draw(V, D))
    close(F.embedding_bag(INPUT, weight, OFFSETS), TF.embedding_bag(INPUT, weight, OFFSETS))


def test_without_ml_dtypes_bfloat16_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        F.embedding_bag(INPUT, draw(V, D, dtype=torch.bfloat16), OFFSETS)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float8_e4m3fn, torch.complex64])
def test_a_weight_of_another_dtype_is_named(dtype):
    with pytest.raises(RuntimeError, match=f"'weight'.*got {str(dtype).removeprefix('torch.')}"):
        F.embedding_bag(INPUT, torch.zeros(V, D, dtype=dtype), OFFSETS)


class FakeCupy(types.SimpleNamespace):
    """What `on_cuda` asks of CuPy, on NumPy's arrays."""

    def __init__(self):
        super().__init__(
            from_dlpack=lambda t: t.numpy(), arange=np.arange, append=np.append, ndarray=np.ndarray
        )


CALLS = [
    {"offsets": OFFSETS},
    {"offsets": torch.tensor([0, 3, 8], dtype=torch.int32), "include_last_offset": True},
    {"input": INPUT.reshape(2, 4).int(), "mode": "max", "padding_idx": -1},
    {"input": INPUT.reshape(2, 4).t(), "mode": "sum", "psw": draw(4, 2)},
    {"offsets": OFFSETS[:1], "dtype": torch.bfloat16, "max_norm": 2.0, "norm_type": 1.0},
]


@pytest.mark.parametrize("given", CALLS, ids=range(len(CALLS)))
def test_a_call_of_tensors_on_a_gpu_is_the_call_of_the_same_on_the_cpu(given, monkeypatch):
    """All but the GPU itself: shapes and dtypes by spec, the rest on the arrays where they lie."""
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy())
    given = dict(given)
    weight = draw(V, D, dtype=given.pop("dtype", torch.float32))
    psw, renorm = (
        given.pop("psw", None),
        [given.pop(n) for n in ("max_norm", "norm_type") if n in given],
    )
    bags = Bags(
        **{"input": INPUT, "offsets": None, "include_last_offset": False, "padding_idx": None,
           "mode": "mean", "scale_grad_by_freq": False, "sparse": False, "implementation": "cuda"}
        | given
    )  # fmt: skip
    here, there = (backend.call_of(weight, psw, bags, *renorm) for backend in (on_cpu, on_cuda))
    for field in spec.Call.__dataclass_fields__:
        one, other = getattr(here, field), getattr(there, field)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other, field
    grad_output = to_array(weight.new_zeros(here.num_bags, D))
    on_cuda.check_upstream(there, grad_output)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        on_cuda.check_upstream(there, grad_output[:, :1])


def test_a_tensor_on_a_gpu_without_cupy_is_told_why():
    far = types.SimpleNamespace(device=torch.device("cuda:0"))
    if on_cuda.device().kind == "cpu":
        with pytest.raises(RuntimeError, match="weight is on cuda:0, but kernels do not run on"):
            on_cuda.session(far).__enter__()


def test_a_wrong_call_on_a_gpu_is_refused_by_spec(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy())
    good = Bags(INPUT, OFFSETS, False, None, "sum", False, False, "cuda")
    for wrong, error in [
        ({"mode": "Sum"}, ValueError),
        ({"padding_idx": V}, RuntimeError),
        ({"offsets": OFFSETS[None]}, ValueError),
        ({"input": INPUT.float()}, RuntimeError),
        ({"offsets": OFFSETS[:0], "include_last_offset": True}, RuntimeError),
    ]:
        with pytest.raises(error):
            on_cuda.call_of(draw(V, D), None, good._replace(**wrong))


# ---- autograd, as torch has it --------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch, name):
    """How often each gradient was computed by the implementation `name`."""
    calls, module = [], implementation_of(name)
    for function in ("grad_weight", "grad_per_sample_weights"):
        real = getattr(module, function)
        monkeypatch.setattr(
            module, function, lambda *a, f=function, real=real: calls.append(f) or real(*a)
        )
    return calls


@pytest.mark.parametrize("of_weight", [True, False])
@pytest.mark.parametrize("of_psw", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_only_the_gradients_that_are_wanted_are_computed(of_weight, of_psw, sparse, name, counted):
    results = []
    for bag in (getattr(F, f"with_{name}"), TF.embedding_bag):
        weight, psw = draw(V, D, grad=of_weight), draw(N, seed=1, grad=of_psw)
        out = bag(INPUT, weight, OFFSETS, mode="sum", per_sample_weights=psw, sparse=sparse)
        assert out.requires_grad == (of_weight or of_psw)
        if out.requires_grad:
            out.backward(draw(4, D, seed=2))
        grads = [weight.grad, psw.grad]
        results.append([None if g is None else g.to_dense() for g in grads])
    assert counted == ["grad_weight"] * of_weight + ["grad_per_sample_weights"] * of_psw
    for ours, theirs in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            close(ours, theirs)


def test_nothing_is_recorded_without_need():
    weight = draw(V, D, grad=True)
    with torch.no_grad():
        assert not F.embedding_bag(INPUT, weight, OFFSETS).requires_grad
    with torch.inference_mode():
        assert F.embedding_bag(INPUT, weight, OFFSETS).is_inference()
    assert F.embedding_bag(INPUT, weight.detach(), OFFSETS).grad_fn is None


UPSTREAMS = {
    "expanded": lambda: torch.tensor(2.0).expand(4, D),
    "row expanded": lambda: draw(1, D).expand(4, D),
    "turned": lambda: draw(D, 4).t(),
    "every second": lambda: draw(4, 2 * D)[:, ::2],
}


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("kind", UPSTREAMS)
@pytest.mark.parametrize("name", NAMES)
def test_upstream_gradients_of_any_strides(kind, mode, name):
    found = []
    for bag in (getattr(F, f"with_{name}"), TF.embedding_bag):
        weight = draw(V, D, grad=True)
        bag(INPUT, weight, OFFSETS, mode=mode).backward(UPSTREAMS[kind]())
        found.append(weight.grad)
    close(*found)


def test_upstream_gradients_of_another_dtype_and_a_wrong_shape():
    weight = draw(V, D, grad=True)
    out = F.embedding_bag(INPUT, weight, OFFSETS)
    close(*(torch.autograd.grad(out, weight, g, retain_graph=True)[0]
            for g in (draw(4, D), draw(4, D).double())))  # fmt: skip
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        out.backward(draw(3, D))
    out.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        out.sum().backward()


def test_autocast_changes_nothing():
    with torch.autocast("cpu", torch.bfloat16):
        assert F.embedding_bag(INPUT, draw(V, D), OFFSETS).dtype == torch.float32


# What is changed between forward and backward, and whether per_sample_weights want a gradient.
CHANGES = [
    (place, of_psw) for place in ("input", "offsets", "weight", "psw") for of_psw in (True, False)
]


@pytest.mark.parametrize("place, of_psw", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_change_before_the_backward_is_noticed_where_torch_notices_it(place, of_psw, name):
    answers = []
    for bag in (getattr(F, f"with_{name}"), TF.embedding_bag):
        given = {
            "input": INPUT.clone(), "weight": draw(V, D, grad=True), "offsets": OFFSETS.clone(),
            "psw": draw(N, grad=of_psw),
        }  # fmt: skip
        psw = given["psw"]
        out = bag(
            given["input"], given["weight"], given["offsets"], mode="sum", per_sample_weights=psw
        )
        with torch.no_grad():
            given[place].mul_(1)
        try:
            out.sum().backward()
            answers.append("passes")
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)
            answers.append("raises")
    assert answers[0] == answers[1]


def in_place(tensor, number):
    """Behind torch's back: no version of the tensor counts this."""
    np.from_dlpack(tensor)[-1] = number


@pytest.mark.parametrize("last", [None, 1, V, -1])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", ["loops", "vectorized"])
def test_indices_changed_behind_torch_are_looked_at_again(last, sparse, name):
    """The backward takes over the forward's checked call; a wrong index must not reach memory."""
    if last is not None and not WRITEABLE:
        pytest.skip("this NumPy, or this torch, shares memory for reading only")
    weight, taken = draw(V, D, grad=True), INPUT.clone()
    out = getattr(F, f"with_{name}")(taken, weight, OFFSETS, mode="sum", sparse=sparse)
    if last is not None:
        in_place(taken, last)
    if last in (V, -1):
        with pytest.raises(RuntimeError, match=f"found idx to be {last}"):
            out.sum().backward()
    else:
        out.sum().backward()
        expected = torch.bincount(taken, minlength=V)[:, None].expand(V, D)
        close(weight.grad.to_dense(), expected.to(weight.dtype))


def test_a_backward_checks_its_arguments_only_where_they_are_others(monkeypatch):
    made = []
    real = spec.make_call
    monkeypatch.setattr(spec, "make_call", lambda *a, **k: made.append(1) or real(*a, **k))
    weight, psw = draw(V, D, grad=True), draw(N, grad=True)
    F.embedding_bag(INPUT, weight, OFFSETS).sum().backward()
    assert len(made) == 1
    # Another table: the gradient of psw reads weight as it is now. A computed table is not kept.
    F.embedding_bag(INPUT, weight, OFFSETS, mode="sum", per_sample_weights=psw).sum().backward()
    assert len(made) == 3
    F.embedding_bag(INPUT, 2 * weight, OFFSETS).sum().backward()
    assert len(made) == 5
    # Unpacked as copies: others than those of the forward.
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda t: t):
        F.embedding_bag(INPUT, weight, OFFSETS).sum().backward()
    assert len(made) == 7


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_saved_tensors_can_be_kept_on_disk(mode):
    """As torch's tutorial of saved_tensors_hooks does: what is written is a tensor, and no more."""

    def write(tensor):
        torch.save(tensor, file := io.BytesIO())
        return file

    def read(file):
        file.seek(0)
        return torch.load(file)

    weight = draw(V, D, grad=True)
    with torch.autograd.graph.saved_tensors_hooks(write, read):
        out = F.embedding_bag(INPUT, weight, OFFSETS, mode=mode)
    with torch.autograd.graph.saved_tensors_hooks(copy.deepcopy, lambda tensor: tensor):
        again = F.embedding_bag(INPUT, weight, OFFSETS, mode=mode)
    (expected,) = torch.autograd.grad(
        TF.embedding_bag(INPUT, weight, OFFSETS, mode=mode).sum(), weight
    )
    for kept in (out, again):
        close(torch.autograd.grad(kept.sum(), weight)[0], expected)


def test_what_a_call_keeps_goes_with_its_graph():
    weight, psw = draw(V, D, grad=True), draw(N)
    out = F.embedding_bag(INPUT, weight, OFFSETS, mode="sum", per_sample_weights=psw)
    there = weakref.ref(psw)
    del psw
    gc.disable()
    try:
        assert there() is not None
        del out
        assert there() is None
    finally:
        gc.enable()


def test_everything_is_deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        for mode in ("sum", "mean", "max"):
            for name in NAMES:
                weight = draw(V, D, grad=True)
                F.embedding_bag(
                    INPUT, weight, OFFSETS, mode=mode, implementation=name
                ).sum().backward()
                assert weight.grad.isfinite().all()
    finally:
        torch.use_deterministic_algorithms(False)


# ---- max_norm -------------------------------------------------------------------------------


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
@pytest.mark.parametrize("name", NAMES)
def test_max_norm_counts_as_one_change_of_weight(max_norm, name):
    weight = draw(V, D, grad=True)
    theirs = draw(V, D, grad=True)
    before = weight._version
    F.embedding_bag(INPUT, weight, OFFSETS, max_norm, implementation=name).sum().backward()
    assert weight._version == before + 1
    TF.embedding_bag(INPUT, theirs, OFFSETS, max_norm).sum().backward()
    close(weight.detach(), theirs.detach())
    close(weight.grad, theirs.grad)


def test_max_norm_and_what_was_saved_before():
    for bag in (F.embedding_bag, TF.embedding_bag):
        weight, psw = draw(V, D, grad=True), draw(N, grad=True)
        twice = [bag(INPUT, weight, OFFSETS, 9.0) for _ in range(2)]
        sum(out.sum() for out in twice).backward()  # weight is not saved
        options = {"mode": "sum", "per_sample_weights": psw}
        twice = [bag(INPUT, weight, OFFSETS, 9.0, **options) for _ in range(2)]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            sum(out.sum() for out in twice).backward()


def test_a_refused_call_has_changed_nothing():
    weight = draw(V, D)
    kept = weight.clone()
    for wrong in ({"padding_idx": V}, {"mode": "mean", "per_sample_weights": draw(N)}):
        with pytest.raises((RuntimeError, NotImplementedError)):
            F.embedding_bag(INPUT, weight, OFFSETS, 0.1, **wrong)
        assert torch.equal(weight, kept)


# ---- sparse ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"mode": "sum"}, {"mode": "mean", "padding_idx": 2}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_sparse_gradient_has_torchs_form(options, name):
    grads = []
    for bag in (getattr(F, f"with_{name}"), TF.embedding_bag):
        weight = draw(V, D, grad=True)
        bag(INPUT.int(), weight, OFFSETS, sparse=True, **options).backward(draw(4, D))
        first = weight.grad.clone()
        bag(INPUT.int(), weight, OFFSETS, sparse=True, **options).backward(draw(4, D))
        grads.append((first, weight.grad))
    for ours, theirs in zip(*grads, strict=True):
        assert ours.layout == torch.sparse_coo and not ours.is_coalesced()
        assert torch.equal(ours._indices(), theirs._indices())
        close(ours._values(), theirs._values())


def test_sparse_gradients_with_frequencies_are_refused_at_the_backward():
    weight = draw(V, D, grad=True)
    out = F.embedding_bag(INPUT, weight, OFFSETS, sparse=True, scale_grad_by_freq=True)
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse"):
        out.sum().backward()


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("optimizer", ["SGD", "SparseAdam", "Adagrad", "Adam"])
@pytest.mark.parametrize("name", NAMES)
def test_optimizers_go_the_same_way(optimizer, sparse, name):
    if sparse != (optimizer == "SparseAdam") and optimizer in ("SparseAdam", "Adam"):
        return  # one takes sparse gradients only, the other dense ones only
    ends = []
    for make in (
        lambda: nn.EmbeddingBag(V, D, mode="sum", sparse=sparse, implementation=name),
        lambda: torch.nn.EmbeddingBag(V, D, mode="sum", sparse=sparse),
    ):
        torch.manual_seed(1)
        module = make()
        stepper = getattr(torch.optim, optimizer)(module.parameters(), lr=0.1)
        for _ in range(4):
            stepper.zero_grad()
            (module(INPUT, OFFSETS) - 1).pow(2).sum().backward()
            stepper.step()
        ends.append(module.weight.detach())
    close(*ends)


# ---- the house ------------------------------------------------------------------------------


def test_embag_edu_needs_no_torch():
    """Who may import nn, test_architecture asks."""
    code = "import sys, embag_edu; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    "file", sorted(Path(nn.__file__).parent.glob("*.py")), ids=lambda f: f.stem
)
def test_every_function_fits_on_a_page(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 25, f"{file.name}: {node.name} has {lines} lines"


def test_no_warning_is_given_without_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight = torch.tensor([[float("inf")], [float("nan")], [0.0]])
        input, zeros = torch.tensor([[0, 1, 2]]), torch.zeros(1, 3)
        for name in NAMES:
            for sparse in (True, False):
                options = {"sparse": sparse, "mode": "sum", "per_sample_weights": zeros}
                leaf = weight.clone().requires_grad_()
                out = F.embedding_bag(input, leaf, **options, implementation=name)
                out.sum().backward()
                assert out.isnan().all() and not leaf.grad.to_dense().any()


@pytest.mark.parametrize("which", ["input", "weight", "per_sample_weights"])
@pytest.mark.parametrize("form", ["to_sparse", "to_sparse_csr", "to_mkldnn", "quantized"])
def test_only_dense_tensors_are_taken(which, form):
    given = dict(input=INPUT.view(2, 4), weight=draw(V, D), per_sample_weights=draw(2, 4))
    if which == "input" and form in ("to_mkldnn", "quantized"):
        pytest.skip("whole numbers have no such form")
    turn = getattr(torch.Tensor, form, lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8))
    given[which] = turn(given[which])
    with pytest.raises(NotImplementedError, match=f"{which} is a .* must be a dense one"):
        F.embedding_bag(**given, mode="sum")


def test_a_padding_index_beyond_64_bits_is_out_of_range():
    with pytest.raises(
        RuntimeError, match="padding_idx must be within .* but got 1180591620717411"
    ):
        F.embedding_bag(INPUT, draw(V, D), OFFSETS, padding_idx=2**70)
