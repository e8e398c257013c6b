"""embag_edu.nn beyond torch's own function: higher derivatives, vmap, compile, export."""

import functools
import itertools
import re
import shutil
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as TF
from torch.ao.quantization import quantize_fx
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state
from torch.utils._python_dispatch import TorchDispatchMode

import embag_edu.__main__ as command
from embag_edu import nn, vectorized
from embag_edu.check import transforms
from embag_edu.check.transforms import YES, TorchImplementation
from embag_edu.nn import functional as F
from embag_edu.nn import ops, versions

NAMES = ("loops", "vectorized", "cuda")
V, D, N = 6, 3, 8
INPUT = torch.tensor([0, 2, 2, 3, 1, 5, 0, 2])
OFFSETS = torch.tensor([0, 3, 3, 6])


@pytest.fixture(autouse=True)
def forget():
    torch._dynamo.reset()


def draw(*shape, dtype=torch.float32, seed=0, grad=False):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random).to(dtype).requires_grad_(grad)


def close(found, expected):
    torch.testing.assert_close(found, expected, equal_nan=False)


# ---- the table: must be shown ---------------------------------------------------------------


# Chapter 12 asks all of vectorized, and six of loops and cuda, each time the book is run. What is
# left of loops goes the way of vectorized, up to the implementation; so does jvp of cuda, which
# takes a kernel or two for each of its calls.
NOT_IN_THE_BOOK = [("cuda", column) for column in ("vmap", "compile")]


@pytest.mark.parametrize(
    "name, column",
    [
        pytest.param(*p, marks=[] if p in NOT_IN_THE_BOOK else [pytest.mark.adversary])
        for p in itertools.product(NAMES, transforms.TRANSFORMS)
    ],
)
def test_every_answer_of_ours_is_yes(name, column):
    implementation = transforms.implementations()[name]
    said = transforms.answer(transforms.COLUMNS[column], implementation)
    assert transforms.expected(column, said), said


def test_torchs_own_answers_and_the_form_of_the_table(capsys):
    columns = ["gradcheck", "gradgradcheck", "jvp", "vmap", "export", "pickle"]
    assert command.main(["transforms", "torch", "loops", "--only", *columns]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    answers = dict(line.replace("no (", "no(").split(maxsplit=1) for line in lines[:6])
    assert head.split() == ["torch", "loops"] and list(answers) == columns
    torchs, ours = zip(*(said.split() for said in answers.values()), strict=True)
    assert torchs == ("yes", "no(1)", "no(2)", "no(3)", "yes", "yes") and set(ours) == {"yes"}
    assert lines[9].startswith("(3) vmap: UserWarning: There is a performance drop")
    assert len(lines) == 10 and command.main(["transforms", "numpy"]) == 2


@pytest.mark.parametrize("column", transforms.TOOLS)
def test_tools_make_of_ours_what_they_make_of_torchs(column):
    torchs, ours = (transforms.implementations()[name] for name in ("torch", "vectorized"))
    said = transforms.answer(transforms.COLUMNS[column], ours)
    assert transforms.expected(column, said), said
    if column != "torchao":  # which has no operator for a bag
        in_torch = transforms.answer(transforms.COLUMNS[column], torchs)
        assert in_torch in (YES, transforms.NOT_INSTALLED), in_torch


def test_the_page_says_what_the_module_lacks():
    page = Path(__file__).parents[1] / "book" / "pages" / "uses.md"
    (lacks,) = re.findall(r"(?s)What it lacks.*?\n\n", page.read_text(encoding="utf-8"))
    assert [column for column in transforms.TOOLS if column in lacks] == [*transforms.LACKING]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_what_torchscript_does_not_take_it_refuses():
    def call(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(input, weight)

    subclass = type("Subclass", (nn.EmbeddingBag,), {})
    for refused, told in ((call, "keyword-only"), (subclass(V, D), "is_leaf")):
        with pytest.raises(Exception, match=told):
            torch.jit.script(refused)


def half_gradient(*words, **options):
    """Right values; the gradient is halved behind autograd's back."""
    out = F.with_vectorized(*words, **options)
    return out.detach() + (out - out.detach()) / 2


def first_order_only(input, weight, *words, **options):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            ctx.weight = weight.detach().requires_grad_()
            with torch.enable_grad():
                ctx.out = F.with_vectorized(input, ctx.weight, *words, **options)
            return ctx.out.detach()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return torch.autograd.grad(ctx.out, ctx.weight, g)[0]

    return Once.apply(weight)


def tangent_lost(input, weight, *words, **options):
    out = F.with_vectorized(input, weight, *words, **options)
    return torch.autograd.forward_ad.unpack_dual(out).primal


def first_member_only(input, weight, *words, **options):
    """Under vmap: every member gets the padding of none."""
    options.pop("padding_idx", None)
    return F.with_vectorized(input, weight, *words, **options)


def looks_at_data(input, weight, offsets=None, *words, **options):
    assert offsets is None or offsets.tolist()[0] == 0
    return F.with_vectorized(input, weight, offsets, *words, **options)


@torch.library.custom_op("embag_edu_tests::without_rows", mutates_args=())
def without_rows(weight: torch.Tensor) -> torch.Tensor:
    return weight.clone()


@without_rows.register_fake
def _(weight):
    return weight.new_empty(weight.shape[0])  # wrong: one dimension is missing


def wrong_fake(input, weight, *words, **options):
    with torch.no_grad():
        without_rows(weight)
    return F.with_vectorized(input, weight, *words, **options)


class Forgetful(nn.EmbeddingBag):
    def __deepcopy__(self, memo):
        return Forgetful(self.num_embeddings, self.embedding_dim)

    def __reduce__(self):
        return Forgetful, (self.num_embeddings, self.embedding_dim)


class Extra(nn.EmbeddingBag):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        self.register_buffer("calls", torch.zeros(()))


class Subclass(torch.nn.EmbeddingBag):
    """What FX looks into, and what torch.ao.quantization passes over without a word."""


class Bare(nn.EmbeddingBag):
    """Calls the operator itself, and so writes it into what is exported."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        bags = (input, offsets, False, None, "sum", False, False, "vectorized")
        return torch.ops.embag_edu.embedding_bag(self.weight, None, *bags)[0]


def marks_its_memory(input, weight, *words, **options):
    weight.detach().numpy()
    return F.with_vectorized(input, weight, *words, **options)


class LooksAtData(nn.EmbeddingBag):
    def forward(self, input, offsets=None, per_sample_weights=None):
        return super().forward(input[: offsets.tolist()[-1] + 1], offsets, per_sample_weights)


GOOD = F.with_vectorized, functools.partial(nn.EmbeddingBag, implementation="vectorized")
WRONG = {
    "clauses": (first_member_only, GOOD[1]),
    "gradcheck": (half_gradient, GOOD[1]),
    "gradgradcheck": (first_order_only, GOOD[1]),
    "jvp": (tangent_lost, GOOD[1]),
    "vmap": (TF.embedding_bag, GOOD[1]),
    "opcheck": (wrong_fake, GOOD[1]),
    "compile": (looks_at_data, GOOD[1]),
    "export": (GOOD[0], LooksAtData),
    "pickle": (GOOD[0], Forgetful),
    "state_dict": (GOOD[0], Extra),
    "resizable": (marks_its_memory, GOOD[1]),
    "fx": (GOOD[0], Subclass),
    "core_operators": (GOOD[0], Bare),
    "onnx": (GOOD[0], Bare),
    "jit.trace": (GOOD[0], LooksAtData),
    "jit.script": (GOOD[0], LooksAtData),
    "quantization": (GOOD[0], Subclass),
    "torchao": GOOD,
}


@pytest.mark.parametrize("column", list(transforms.COLUMNS))
def test_each_column_refuses_a_wrong_one(column):
    wrong = TorchImplementation("wrong", *WRONG[column])
    said = transforms.answer(transforms.COLUMNS[column], wrong)
    if said == transforms.NOT_INSTALLED:
        pytest.skip(f"{column} is not installed")
    assert said != YES and not said.startswith(("TypeError", "AttributeError", "NameError")), said


# ---- derivatives ----------------------------------------------------------------------------


def in_torch(weight, psw=None, mode="sum", padding_idx=None):
    """The operator from torch's indexing: all of its derivatives are torch's."""
    bags = torch.bucketize(torch.arange(N), OFFSETS, right=True) - 1
    kept = INPUT != (-1 if padding_idx is None else padding_idx)
    share = kept.to(weight.dtype) if psw is None else psw * kept
    if mode == "mean":
        sizes = torch.zeros(4, dtype=weight.dtype).index_add(0, bags, kept.to(weight.dtype))
        share = share / sizes.clamp(min=1)[bags]
    rows = weight[INPUT] * share[:, None]
    return torch.zeros(4, D, dtype=weight.dtype).index_add(0, bags, rows)


@pytest.mark.parametrize("mode, weighted", [("sum", True), ("sum", False), ("mean", False)])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_up_to_the_fourth(name, mode, weighted):
    """Reverse mode again and again, of a function whose derivatives do not end."""
    found = []
    for bag in (
        lambda w, s: F.embedding_bag(
            INPUT, w, OFFSETS, mode=mode, per_sample_weights=s, padding_idx=2, implementation=name
        ),
        lambda w, s: in_torch(w, s, mode, padding_idx=2),
    ):
        weight = draw(V, D, dtype=torch.float64, grad=True)
        psw = draw(N, dtype=torch.float64, seed=1, grad=True) if weighted else None
        leaves = [weight] if psw is None else [weight, psw]
        value, steps = bag(weight, psw).sin().sum(), []
        for order in range(4):
            grads = torch.autograd.grad(value, leaves, create_graph=True)
            steps += [g.detach() for g in grads]
            value = sum((g * draw(*g.shape, dtype=g.dtype, seed=order)).sum() for g in grads)
        found.append(steps)
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_transforms_of_transforms_agree(name):
    bag = functools.partial(F.embedding_bag, mode="sum", implementation=name)
    weight, psw = draw(V, D, dtype=torch.float64), draw(N, dtype=torch.float64, seed=1)

    def ours(w, s):
        return bag(INPUT, w, OFFSETS, per_sample_weights=s).sin().sum()

    def theirs(w, s):
        return in_torch(w, s).sin().sum()

    for transform in (hessian, lambda f, a: jacrev(jacfwd(f, a), a), lambda f, a: jacrev(f, a)):
        for one, other in zip(
            transform(ours, (0, 1))(weight, psw), transform(theirs, (0, 1))(weight, psw),
            strict=True,
        ):  # fmt: skip
            torch.testing.assert_close(one, other)
    hvp = [jvp(lambda w, f=f: grad(f)(w, psw), (weight,), (weight,))[1] for f in (ours, theirs)]
    close(*hvp)


@pytest.mark.parametrize("name", NAMES)
def test_the_winners_of_a_maximum_are_fixed(name):
    """With an empty bag, one of padding only, ties, and a table that is empty."""
    weight = torch.tensor([[1.0, 5.0], [1.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    input, offsets = torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 2, 2, 4])

    def bag(w):
        return F.embedding_bag(input, w, offsets, mode="max", padding_idx=2, implementation=name)

    winners = torch.zeros(4, 2, 3, 2, dtype=torch.float64)
    winners[0, 0, 0, 0] = winners[0, 1, 0, 1] = winners[3, 0, 1, 0] = winners[3, 1, 1, 1] = 1
    close(jacrev(bag)(weight), winners)
    close(jacfwd(bag)(weight), winners)
    cubes = hessian(lambda w: bag(w).pow(3).sum())(weight)
    expected = torch.autograd.functional.hessian(
        lambda w: (winners.reshape(8, 6) @ w.reshape(6)).pow(3).sum(), weight
    )
    close(cubes, expected)
    empty = torch.zeros(0, 2)

    def nothing(w):
        offsets = torch.tensor([0, 0])
        return F.embedding_bag(input[:0], w, offsets, mode="max", implementation=name)

    assert torch.equal(jvp(nothing, (empty,), (empty,))[1], torch.zeros(2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_second_derivative_sees_the_frequencies(dtype):
    """Each row of the first gradient is divided by its count; the gradient of that, too."""
    counts = torch.bincount(INPUT, minlength=V).clamp(min=1)
    weight, g = draw(V, D, dtype=dtype, grad=True), draw(4, D, dtype=dtype, grad=True)
    out = F.embedding_bag(INPUT, weight, OFFSETS, mode="sum", scale_grad_by_freq=True)
    (first,) = torch.autograd.grad(out, weight, g, create_graph=True)
    upstream = draw(V, D, dtype=dtype, seed=2)
    (second,) = torch.autograd.grad(first, g, upstream)
    expected = in_torch(upstream.double() / counts[:, None])
    torch.testing.assert_close(second.double(), expected, rtol=3e-3, atol=3e-3)
    assert second.dtype == dtype


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's own under vmap
@pytest.mark.parametrize("transform", [lambda f: f, grad, torch.vmap])
def test_functionalize(transform):
    """torch has no rule for a Function there: the call is that of torch's own operator."""

    def loss(table):
        return F.embedding_bag(INPUT, table.clone().mul_(2), OFFSETS).pow(2).sum()

    tables = draw(2, V, D) if transform is torch.vmap else draw(V, D)
    close(torch.func.functionalize(transform(loss))(tables), transform(loss)(tables))


def test_a_sparse_gradient_says_that_it_has_no_derivative():
    """In the class of error that torch's own raises."""
    weight = draw(V, D, grad=True)
    expected = TF.embedding_bag(INPUT, weight, OFFSETS).pow(2).sum()
    (expected,) = torch.autograd.grad(expected, weight)
    for bag, told in ((F.embedding_bag, "To mend it: sparse=False"), (TF.embedding_bag, "")):
        out = bag(INPUT, weight, OFFSETS, sparse=True).pow(2).sum()
        (first,) = torch.autograd.grad(out, weight, create_graph=True)
        close(first.to_dense(), expected)
        with pytest.raises(NotImplementedError, match=told):
            torch.autograd.grad(first.to_dense().sum(), weight)


# ---- vmap -----------------------------------------------------------------------------------


def test_vmap_makes_one_call_of_a_batch(monkeypatch):
    calls = []
    real = vectorized.forward
    monkeypatch.setattr(vectorized, "forward", lambda call: calls.append(call) or real(call))
    tables = draw(50, V, D)
    out = torch.vmap(lambda w: F.embedding_bag(INPUT, w, OFFSETS))(tables)
    assert out.shape == (50, 4, D) and len(calls) == 1
    assert calls[0].weight.shape == (V, 50 * D) and calls[0].num_positions == N  # side by side
    torch.vmap(lambda i, w: F.embedding_bag(i, w, OFFSETS))(INPUT.repeat(50, 1), tables)
    assert len(calls) == 2 and calls[1].num_bags == 200  # one after another


@pytest.mark.parametrize("dims", [(1, None), (2, None), (-1, 1)])
def test_members_may_stand_in_any_dimension(dims):
    tables, inputs = draw(4, V, D), torch.randint(V, (4, 2, 5))
    expected = torch.stack(
        [TF.embedding_bag(inputs[k if dims[1] else 0], tables[k], mode="max") for k in range(4)]
    )
    given = tables.movedim(0, dims[0]), inputs.movedim(0, 1) if dims[1] else inputs[0]
    found = torch.vmap(
        lambda w, i: F.embedding_bag(i, w, mode="max"), dims, out_dims=1
    )(*given)  # fmt: skip
    close(found.movedim(1, 0), expected)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_vmap_in_vmap_with_padding_counted_from_the_end(mode):
    tables, inputs = draw(3, V, D), torch.randint(V, (4, 2, 5)).int()
    bag = functools.partial(F.embedding_bag, mode=mode, padding_idx=-1)
    found = torch.vmap(lambda w: torch.vmap(lambda i: bag(i, w))(inputs))(tables)
    expected = [[TF.embedding_bag(i, w, mode=mode, padding_idx=-1) for i in inputs] for w in tables]
    close(found, torch.stack([torch.stack(row) for row in expected]))


REFUSED = {
    "an index of V": ({"input": (1, 2, V)}, "found idx to be -1"),
    "an index of -1": ({"input": (2, 0, -1)}, "found idx to be -1"),
    "a first offset of 1": ({"offsets": (1, 0, 1)}, "offsets"),
    "an offset beyond": ({"offsets": (1, 2, N + 1)}, "offsets must not decrease"),
    "the same in the last member": ({"offsets": (3, 2, N + 1)}, "greater than input's length"),
    "offsets that decrease": ({"offsets": (0, 1, 9)}, "offsets"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_no_member_reaches_into_its_neighbor(wrong):
    change, told = REFUSED[wrong]
    given = {
        "input": torch.randint(V, (4, N)), "weight": draw(4, V, D),
        "offsets": torch.tensor([[0, 3, 6]]).repeat(4, 1),
    }  # fmt: skip
    names = list(given)
    call = torch.vmap(lambda *a: F.embedding_bag(**dict(zip(names, a, strict=True))))
    call(*given.values())
    for name, (member, place, value) in change.items():
        given[name][member, place] = value
    with pytest.raises(RuntimeError, match=told):
        call(*given.values())


def test_members_with_the_end_in_their_offsets():
    inputs, offsets = torch.randint(V, (2, N)), torch.tensor([[0, 3, N], [0, 8, N]])
    weight = draw(V, D)
    call = torch.vmap(lambda i, o: F.embedding_bag(i, weight, o, include_last_offset=True))
    expected = [
        TF.embedding_bag(i, weight, o, include_last_offset=True)
        for i, o in zip(inputs, offsets, strict=True)
    ]
    close(call(inputs, offsets), torch.stack(expected))
    offsets[0, -1] = N - 1
    with pytest.raises(RuntimeError, match="offsets"):
        call(inputs, offsets)
    with pytest.raises(RuntimeError, match="padding_idx must be within.*-6 through 5"):
        torch.vmap(lambda i, w: F.embedding_bag(i, w, padding_idx=V))(
            inputs.reshape(2, 2, 4), draw(2, V, D)
        )


@pytest.mark.parametrize("batched", [(0, 0), (0, None)])
def test_max_norm_under_vmap(batched):
    inputs, tables = torch.randint(V, (3, 2, 4)), draw(3, V, D)
    tables = tables if batched[1] == 0 else tables[0]
    mine, theirs = tables.clone(), tables.clone()
    found = torch.vmap(lambda i, w: F.embedding_bag(i, w, max_norm=0.5), batched)(inputs, mine)
    expected = torch.stack([
        TF.embedding_bag(i, theirs[k] if batched[1] == 0 else theirs, max_norm=0.5)
        for k, i in enumerate(inputs)
    ])  # fmt: skip
    close(found, expected)
    close(mine, theirs)


def test_vmap_says_that_there_are_no_batches_of_sparse_gradients():
    one = grad(lambda w: F.embedding_bag(INPUT, w, OFFSETS, sparse=True).sum())
    assert one(draw(V, D)).is_sparse
    with pytest.raises(NotImplementedError, match="sparse=False"):
        torch.vmap(one)(draw(4, V, D))


@pytest.mark.parametrize("table", [torch.ones(0, 6, 3), torch.ones(6, 3)], ids=["tables", "bags"])
@pytest.mark.parametrize("implementation", ["loops", "vectorized"])
def test_vmap_over_nobody_is_told_so(table, implementation):
    inputs = torch.zeros(0, 2, 4, dtype=torch.int64)
    embedding_bag = functools.partial(F.embedding_bag, implementation=implementation)
    dims = (0, 0 if table.dim() == 3 else None)
    with pytest.raises(RuntimeError, match="size 0 has no call to make"):
        torch.vmap(embedding_bag, in_dims=dims)(inputs, table)
    with pytest.raises(RuntimeError, match="size 0 has no call to make"):
        torch.vmap(lambda w: embedding_bag(torch.zeros(2, 4).long(), w))(torch.ones(0, 6, 3))


def test_an_ensemble_of_modules():
    modules = [nn.EmbeddingBag(V, D, mode="mean", padding_idx=1) for _ in range(3)]
    weights, _ = stack_module_state(modules)
    found = torch.vmap(lambda w: functional_call(modules[0], w, (INPUT, OFFSETS)))(weights)
    close(found, torch.stack([module(INPUT, OFFSETS) for module in modules]))


# ---- operators, compile, export -------------------------------------------------------------

BAGS = (INPUT, OFFSETS, False, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_opcheck_of_each_operator(mode, name):
    ops, bags = torch.ops.embag_edu, (*BAGS, mode, False, False, name)
    weight, g = draw(V, D, grad=True), draw(4, D, grad=True)
    psw = draw(N, grad=True) if mode == "sum" else None
    saved = ops.embedding_bag(weight.detach(), None, *bags)[1]
    torch.library.opcheck(ops.embedding_bag, (weight, psw, *bags))
    torch.library.opcheck(ops.embedding_bag_grad_weight, (g, psw, saved, V, *bags))
    if mode == "sum":
        torch.library.opcheck(ops.embedding_bag_grad_per_sample_weights, (g, weight, saved, *bags))
    given = (g.detach(), None, saved, V, *bags[:5], False, True, name)
    if mode != "max":
        torch.library.opcheck(ops.embedding_bag_grad_weight_sparse, given)
    torch.library.opcheck(ops.embedding_bag_renorm_, (draw(V, D), None, 0.5, 2.0, *bags))


class Heard(TorchDispatchMode):
    """Writes down which operators of ours are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names += [func._opname] if func.namespace == "embag_edu" else []
        return func(*args, **(kwargs or {}))


STEP = ["embedding_bag", "embedding_bag_grad_weight"]


def test_modes_and_profilers_hear_of_each_operator():
    """An eager call goes round torch's dispatcher only where nobody listens there."""
    weight = draw(V, D, grad=True)
    with Heard() as heard:
        F.embedding_bag(INPUT, weight, OFFSETS).sum().backward()
    assert heard.names == STEP
    with torch.profiler.profile() as profile:
        F.embedding_bag(INPUT, weight, OFFSETS).sum().backward()
    names = [event.key for event in profile.key_averages()]
    assert {f"embag_edu::{name}" for name in STEP} <= set(names)


def test_where_nobody_listens_the_dispatcher_is_not_asked(monkeypatch):
    asked, kind = [], type(ops.embedding_bag)
    real = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda *given: asked.append(given) or real(*given))
    for options in ({"per_sample_weights": draw(N, grad=True)}, {"sparse": True}):
        out = F.embedding_bag(INPUT, draw(V, D, grad=True), OFFSETS, mode="sum", **options)
        out.sum().backward()
    assert not asked


def compiled(function, **options):
    return torch.compile(function, fullgraph=True, backend="aot_eager", **options)


def sparse_and_padded(weight):
    return F.embedding_bag(INPUT, weight, OFFSETS, mode="mean", sparse=True, padding_idx=2)


def test_a_sparse_gradient_without_padding_entries_compiles():
    """How many entries there are, only the data tells."""
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        grads = []
        for call in (compiled(sparse_and_padded), sparse_and_padded):
            weight = draw(V, D, grad=True)
            call(weight).sum().backward()
            grads.append(weight.grad)
    assert grads[0]._nnz() == 5 and not grads[0].is_coalesced()
    assert torch.equal(grads[0]._indices(), grads[1]._indices())
    close(grads[0]._values(), grads[1]._values())


def test_where_torch_compiles_no_sizes_from_data_it_is_told_how(monkeypatch):
    """As 2.7 does: there the exception of torch's comes without a way out."""

    def refuses():
        raise versions.DynamicOutputShapeException("an operator")

    context = types.SimpleNamespace(new_dynamic_size=refuses)
    monkeypatch.setattr(torch.library, "get_ctx", lambda: context)
    with pytest.raises(NotImplementedError, match="dynamic_output_shape_ops = True, or sparse=Fal"):
        versions.size_from_data()


def test_what_is_compiled_is_not_taken_for_an_export(monkeypatch):
    """As 2.7 and 2.11 take it: our call would become torch's own."""
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    output = F.with_loops(INPUT, draw(V, D, grad=True), OFFSETS)
    assert (
        output.grad_fn.name()
        != TF.embedding_bag(INPUT, draw(V, D, grad=True), OFFSETS).grad_fn.name()
    )


@pytest.mark.parametrize(
    "given, error",
    [
        ({"input": torch.tensor([0, V])}, RuntimeError),
        ({"offsets": torch.tensor([0, 2, 1])}, RuntimeError),
        ({"mode": "Sum"}, ValueError),
        ({"input": INPUT.reshape(2, 4)}, ValueError),
        ({"offsets": None}, ValueError),
        ({"per_sample_weights": draw(N)}, NotImplementedError),
        ({"padding_idx": V}, RuntimeError),
    ],
)
def test_a_compiled_call_raises_what_an_eager_one_raises(given, error):
    arguments = {"input": INPUT, "offsets": OFFSETS, "weight": draw(V, D)} | given
    with pytest.raises(error) as eager:
        F.embedding_bag(**arguments)
    with pytest.raises(error) as late:
        compiled(F.embedding_bag)(**arguments)
    assert str(eager.value).partition("\n")[0] in str(late.value)


def test_transforms_inside_a_compiled_function():
    weight = draw(V, D)

    def loss(w):
        return F.embedding_bag(INPUT, w, OFFSETS, mode="sum").pow(2).sum()

    tables = torch.stack([weight, -weight])
    for function, given in [
        (grad(loss), weight),
        (hessian(loss), weight),
        (lambda w: jvp(loss, (w,), (w,))[1], weight),
        (torch.vmap(grad(loss)), tables),
        (lambda w: torch.vmap(lambda i: F.embedding_bag(i, w))(INPUT.reshape(2, 2, 2)), weight),
    ]:
        torch._dynamo.reset()
        close(compiled(function)(given), function(given))


def test_jagged_input_compiled():
    input = torch.nested.nested_tensor_from_jagged(INPUT, torch.tensor([0, 3, 3, 8]))
    weight = draw(V, D)
    call = compiled(lambda i, w: F.embedding_bag(i, w, mode="max"))
    close(call(input, weight), TF.embedding_bag(input, weight, mode="max"))


def test_new_sizes_need_no_new_graph_than_with_torch():
    from torch._dynamo.testing import CompileCounterWithBackend

    counts = []
    for kind in (nn.EmbeddingBag, torch.nn.EmbeddingBag):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        call = torch.compile(kind(11, 13), fullgraph=True, backend=counter)
        for B, L in ((3, 4), (5, 6), (2, 9), (7, 2)):
            call(torch.randint(11, (B, L))).sum().backward()
        counts.append(counter.frame_count)
    assert counts[0] <= counts[1]


@pytest.mark.skipif(not shutil.which("g++"), reason="torch's inductor needs g++")
def test_inductor_trains_as_eager_does():
    ends = []
    for wrap in (functools.partial(torch.compile, fullgraph=True), lambda f: f):
        torch.manual_seed(0)
        model = torch.nn.Sequential(nn.EmbeddingBag(V, D, max_norm=1.0), torch.nn.Linear(D, 1))
        stepper = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = wrap(lambda i, m=model: m(i).sigmoid().pow(2).sum())
        for _ in range(3):
            stepper.zero_grad()
            loss(INPUT.reshape(2, 4)).backward()
            stepper.step()
        ends.append(model[0].weight.detach())
    close(*ends)
    assert not torch.equal(ends[0], nn.EmbeddingBag(V, D).weight)


def test_an_exported_program_still_checks_its_input():
    module = nn.EmbeddingBag(V, D)
    program = torch.export.export(module, (INPUT, OFFSETS)).module()
    bad = INPUT.clone()
    bad[3] = V
    with pytest.raises(RuntimeError, match="Expected i|valid range"):  # torch has several
        program(bad, OFFSETS)


# ---- tools ----------------------------------------------------------------------------------

of_old_tools = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
QUANTIZED = torch.ao.quantization.float_qparams_weight_only_qconfig
ASKED = {
    "by torch's class": {torch.nn.EmbeddingBag: QUANTIZED},
    "by its own class": {nn.EmbeddingBag: QUANTIZED},
    "by its name": {"0": QUANTIZED},
}


def bags_and_linear():
    return torch.nn.Sequential(nn.EmbeddingBag(V, D), torch.nn.Linear(D, 2)).eval()


@of_old_tools
@pytest.mark.parametrize("asked", ASKED)
def test_quantize_dynamic_is_refused_aloud(asked):
    """torch's class names no module of ours: torch.ao passes over it, and is heard to do so."""
    if asked == "by torch's class":
        with pytest.warns(UserWarning, match="stays in floating point"):
            torch.ao.quantization.quantize_dynamic(bags_and_linear(), ASKED[asked])
        return
    with pytest.raises(NotImplementedError, match="torch's, and loads this one's state_dict"):
        torch.ao.quantization.quantize_dynamic(bags_and_linear(), ASKED[asked])


@of_old_tools
def test_quantization_by_fx_is_refused_aloud_or_goes_round_the_bag():
    mapping = torch.ao.quantization.QConfigMapping()
    prepare, given = quantize_fx.prepare_fx, (INPUT.reshape(2, 4),)
    with pytest.warns(UserWarning, match="stays in floating point"):
        prepare(bags_and_linear(), mapping.set_object_type(torch.nn.EmbeddingBag, QUANTIZED), given)
    mapping.set_global(torch.ao.quantization.get_default_qconfig("fbgemm"))
    with pytest.raises(NotImplementedError, match="qconfig None"):
        prepare(bags_and_linear(), mapping, given)
    mapping.set_object_type(nn.EmbeddingBag, None)  # as the message advises
    with pytest.warns(UserWarning, match="stays in floating point"):
        assert type(getattr(prepare(bags_and_linear(), mapping, given), "0")) is nn.EmbeddingBag


def test_fx_looks_into_a_subclass_as_it_does_with_torchs():
    nets = []
    for kind in (nn.EmbeddingBag, torch.nn.EmbeddingBag):

        class Doubled(kind):
            def forward(self, input, offsets=None):
                return 2 * super().forward(input, offsets)

        net = torch.nn.Sequential(Doubled(V, D))
        traced = torch.fx.symbolic_trace(net)
        close(traced(INPUT.reshape(2, 4)), net(INPUT.reshape(2, 4)))
        nets.append([node.op for node in traced.graph.nodes])
    assert nets[0] == nets[1] and "call_module" not in nets[0]


@of_old_tools
@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_python_checks_and_computes_like_the_module(name):
    """Options, and an index out of range, in TorchScript and in an exported program."""
    module = nn.EmbeddingBag(V, D, mode="max", padding_idx=2, implementation=name)
    others = torch.tensor([1, 2, 2, 0, 5, 4]), torch.tensor([0, 1, 3])
    for written in (
        torch.jit.trace(module, (INPUT, OFFSETS)),
        torch.jit.script(module),
        torch.export.export(
            module, (INPUT, OFFSETS), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) * 2
        ).module(),
    ):
        close(written(*others), module(*others))
        with pytest.raises(RuntimeError, match=f"found idx to be {V}"):
            written(torch.full((4,), V), others[1])
