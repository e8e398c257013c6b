"""What torch's transforms make of an EmbeddingBag: higher derivatives, vmap, compile, export; and
what its tools make of the module: FX, ONNX, TorchScript, quantization.

    python -m embag_edu transforms

The conformance table asks what a call gives. Here a column asks whether a transform gives the same:
derivatives against finite differences, a batch against a loop, compiled against eager, a module
read back against the one that was written. A column holds if its function raises nothing; else the
first line of what it raised is the reason.
"""

from __future__ import annotations

import argparse
import copy
import functools
import io
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from embag_edu import IMPLEMENTATIONS
from embag_edu.check.checker import check
from embag_edu.text import aligned, progress

YES, NOT_INSTALLED = "yes", "not installed"
BACKEND = "aot_eager"  # everything of torch.compile but the code generation, which is not ours
V, D = 5, 3
INPUT, OFFSETS = torch.tensor([0, 2, 2, 3, 1, 4, 0, 2]), torch.tensor([0, 3, 3, 6])

Function = Callable[..., Tensor]
Answers = dict[str, dict[str, str]]  # {implementation: {column: "yes" or why not}}


@dataclass(frozen=True)
class TorchImplementation:
    """An implementation as torch sees it: a function of torch's signature, and a module's class."""

    name: str
    function: Function
    module: Callable[..., torch.nn.Module]


Column = Callable[[TorchImplementation], None]


def table(
    implementations: Iterable[TorchImplementation], columns: Iterable[str] | None = None
) -> Answers:
    """Ask each implementation; columns are names of COLUMNS, by default all."""
    wanted = list(COLUMNS) if columns is None else list(columns)
    return {i.name: {c: answer(COLUMNS[c], i) for c in wanted} for i in implementations}


def answer(column: Column, implementation: TorchImplementation) -> str:
    """ "yes", "not installed", or the first line of why not."""
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, that its tools are old
            warnings.filterwarnings("error", "There is a performance drop", UserWarning)  # vmap
            column(implementation)
    except ModuleNotFoundError:
        return NOT_INSTALLED
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {said}"[:200]
    return YES


def as_text(answers: Answers) -> str:
    """A line for each column, with the reasons below; a reason that several have is said once."""
    rows, reasons = [["", *answers]], []
    for column in next(iter(answers.values())):
        row = [column]
        for own in answers.values():
            said = own[column]
            if said not in (YES, NOT_INSTALLED):
                reason = f"{column}: {said}"
                if reason not in reasons:
                    reasons.append(reason)
                said = f"no ({reasons.index(reason) + 1})"
            row.append(said)
        rows.append(row)
    return "\n".join(
        [aligned(rows), "", *(f"({k}) {r}" for k, r in enumerate(reasons, 1))]
    ).rstrip()


# ---- calls that the columns make ------------------------------------------------------------


def cases(implementation: TorchImplementation) -> dict[str, tuple[Function, tuple[Tensor, ...]]]:
    """Functions of floating-point tensors only, and arguments for them, in float64.

    Values are far from ties, so that a small step changes no winner.
    """
    random = torch.Generator().manual_seed(0)
    weight = torch.randperm(V * D, generator=random).reshape(V, D).double() / 4 - 2
    psw = torch.randn(len(INPUT), generator=random, dtype=torch.float64)

    def by_table(**options: Any) -> tuple[Function, tuple[Tensor, ...]]:
        return lambda w: implementation.function(INPUT, w, OFFSETS, **options), (weight.clone(),)

    def weighted(w: Tensor, s: Tensor) -> Tensor:
        options: dict[str, Any] = {"mode": "sum", "per_sample_weights": s, "padding_idx": 2}
        return implementation.function(INPUT, w, OFFSETS, **options)

    return {
        "sum": by_table(mode="sum"),
        "mean": by_table(mode="mean", padding_idx=2),
        "max": by_table(mode="max", padding_idx=-1),
        "weighted": (weighted, (weight.clone(), psw)),
    }


def leaves(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copies that want a gradient."""
    return tuple(a.detach().clone().requires_grad_() for a in arguments)


def close(actual: Any, expected: Any) -> None:
    """Raise AssertionError unless they are known to be close; sparse tensors as dense ones."""
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            close(one, other)
        return
    assert actual.layout == expected.layout
    torch.testing.assert_close(actual.to_dense(), expected.to_dense(), equal_nan=False)


# ---- columns --------------------------------------------------------------------------------


def clauses(implementation: TorchImplementation) -> None:
    """Every clause of the conformance table."""
    report = check(implementation.function, isolate=False, explain=False, raises=False)
    assert report.passed, report.headline()


def gradcheck(implementation: TorchImplementation) -> None:
    """Reverse mode against finite differences; a batch of upstream gradients, too."""
    for function, arguments in cases(implementation).values():
        torch.autograd.gradcheck(function, leaves(arguments), check_batched_grad=True)


def gradgradcheck(implementation: TorchImplementation) -> None:
    """The same for the derivatives of the gradients."""
    for function, arguments in cases(implementation).values():
        torch.autograd.gradgradcheck(function, leaves(arguments), check_batched_grad=True)


def jvp(implementation: TorchImplementation) -> None:
    """Forward mode against finite differences, alone and over reverse mode; compiled, too."""
    for function, arguments in cases(implementation).values():
        torch.autograd.gradcheck(
            function, leaves(arguments), check_forward_ad=True, check_backward_ad=False,
            check_batched_grad=False, check_batched_forward_grad=True,
        )  # fmt: skip
        torch.autograd.gradgradcheck(
            function, leaves(arguments), check_fwd_over_rev=True, check_rev_over_rev=False,
            check_undefined_grad=False,
        )  # fmt: skip
        _, tangent = torch.func.jvp(function, arguments, arguments)
        step = 1e-6
        moved = function(*(a * (1 + step) for a in arguments))
        assert torch.allclose(tangent, (moved - function(*arguments)) / step, atol=1e-4)
        quick = torch.compile(lambda *a, f=function: torch.func.jvp(f, a, a)[1], backend=BACKEND)
        close(quick(*arguments), tangent)


def vmap(implementation: TorchImplementation) -> None:
    """A batch of tables, inputs, offsets and weights, each alone and together, against a loop."""
    n, bag = 4, implementation.function
    random = torch.Generator().manual_seed(0)
    many = {
        "input": torch.randint(V, (n, 8), generator=random),
        "weight": torch.randn(n, V, D, generator=random),
        "offsets": torch.tensor([[0, 3, 3], [0, 0, 8], [0, 8, 8], [0, 1, 2]]),
        "psw": torch.randn(n, 8, generator=random),
    }

    def call(mode: str, input: Tensor, weight: Tensor, offsets: Tensor, psw: Tensor) -> Tensor:
        weights = psw if mode == "sum" else None
        return bag(input, weight, offsets, mode=mode, per_sample_weights=weights, padding_idx=-1)

    for mode in ("sum", "mean", "max"):
        for batched in range(1, 16):
            dims = tuple(0 if batched >> k & 1 else None for k in range(4))
            if mode != "sum" and dims[3] == 0:
                continue
            given = [m if d == 0 else m[0] for m, d in zip(many.values(), dims, strict=True)]
            alike_in_a_loop(lambda *a, mode=mode: call(mode, *a), dims, given)


def alike_in_a_loop(call: Function, dims: tuple[Any, ...], given: list[Tensor]) -> None:
    """vmap of a function, and of its gradient for the table, against a loop over the members."""

    def gradient(*arguments: Tensor) -> Tensor:
        return torch.func.grad(lambda *a: call(*a).pow(2).sum(), 1)(*arguments)

    for function in (call, gradient):
        members = [
            function(*(g if d is None else g[k] for g, d in zip(given, dims, strict=True)))
            for k in range(4)
        ]
        close(torch.vmap(function, dims)(*given), torch.stack(members))


def opcheck(implementation: TorchImplementation) -> None:
    """torch.library.opcheck of every custom operator that calls of all kinds meet."""
    with Met() as met:
        for function, arguments in cases(implementation).values():
            function(*leaves(arguments)).sum().backward()
        for options in ({"sparse": True}, {"max_norm": 0.5}):
            (weight,) = leaves((torch.randn(V, D),))
            implementation.function(INPUT, weight, OFFSETS, mode="sum", **options).sum().backward()
    assert met.calls, "there is no custom operator in it"
    for operator, arguments in met.calls:
        torch.library.opcheck(operator, arguments)


class Met(TorchDispatchMode):
    """Write down the custom operators that are called, and with which arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.namespace not in ("aten", "prim", "prims"):
            copies = [a.clone() if isinstance(a, Tensor) else a for a in args]
            self.calls.append((func, tuple(copies)))
        return func(*args, **(kwargs or {}))


def compiled(implementation: TorchImplementation) -> None:
    """torch.compile(fullgraph=True) against eager: all options, sizes that change, errors."""
    for options in COMPILED:
        torch._dynamo.reset()
        as_compiled(implementation.function, dict(options))
    _, (weight,) = cases(implementation)["mean"]
    call = torch.compile(implementation.function, fullgraph=True, backend=BACKEND)
    try:
        call(torch.tensor([[0, V]]), weight)
    except RuntimeError:
        return
    raise AssertionError("an index out of range was not refused")


COMPILED: tuple[dict[str, Any], ...] = (
    {"mode": "sum"},
    {"mode": "mean", "padding_idx": 1},
    {"mode": "max", "padding_idx": 1},
    {"mode": "sum", "weighted": True},
    {"mode": "sum", "sparse": True},
    {"mode": "sum", "max_norm": 0.7},
    {"mode": "mean", "scale_grad_by_freq": True},
)


def as_compiled(bag: Function, options: dict[str, Any]) -> None:
    """Output, gradients and table of compiled calls of several sizes against eager ones."""
    weighted = options.pop("weighted", False)

    def call(input: Tensor, weight: Tensor, offsets: Tensor, psw: Tensor) -> Tensor:
        weights = psw if weighted else None
        return bag(input, weight, offsets, per_sample_weights=weights, **options).relu()

    quick = torch.compile(call, fullgraph=True, dynamic=True, backend=BACKEND)
    for N, B in ((12, 4), (20, 6), (7, 2)):
        random = torch.Generator().manual_seed(N)
        input = torch.randint(V, (N,), generator=random)
        offsets = torch.arange(B) * (N // B)
        numbers = torch.randn(V, D, generator=random), torch.randn(N, generator=random)
        results = []
        for function in (quick, call):
            weight, psw = leaves(numbers)
            output = function(input, weight, offsets, psw)
            output.backward(torch.linspace(-1, 2, output.numel()).reshape(output.shape))
            results.append([output.detach(), weight.detach(), weight.grad, psw.grad])
        close(*([r for r in result if r is not None] for result in results))


def export(implementation: TorchImplementation) -> None:
    """torch.export with sizes that stay open, and read back from its file."""
    N, B = torch.export.Dim("N", min=2, max=1000), torch.export.Dim("B", min=2, max=100)
    for options in ({"mode": "sum"}, {"mode": "mean", "padding_idx": 1}, {"mode": "max"}):
        module = implementation.module(V, D, **options)
        sizes = ({0: N}, {0: B})
        program = torch.export.export(module, (INPUT, OFFSETS), dynamic_shapes=sizes)
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        again = torch.export.load(file).module()
        others = torch.arange(12) % V, torch.tensor([0, 0, 5, 9, 12])
        close(again(*others), module(*others))


def pickled(implementation: TorchImplementation) -> None:
    """A module through pickle, and copied by deepcopy, computes the same and shows the same."""
    module = implementation.module(V, D, mode="sum", padding_idx=-1, max_norm=1.5, norm_type=1.0)
    for other in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert repr(other) == repr(module) and other.__dict__.keys() == module.__dict__.keys()
        assert other.weight is not module.weight
        close(other(INPUT, OFFSETS), module(INPUT, OFFSETS))


def state_dict(implementation: TorchImplementation) -> None:
    """A state_dict through a file to torch's module, and from it."""
    pair = implementation.module(V, D, mode="sum"), torch.nn.EmbeddingBag(V, D, mode="sum")
    for writer, reader in (pair, pair[::-1]):
        torch.nn.init.normal_(writer.weight)
        file = io.BytesIO()
        torch.save(writer.state_dict(), file)
        file.seek(0)
        reader.load_state_dict(torch.load(file, weights_only=True))
        close(reader(INPUT, OFFSETS), writer(INPUT, OFFSETS))


# ---- tools: what they make of a module must be what they make of torch's ---------------------

MORE = torch.arange(12) % V, torch.tensor([0, 0, 5, 9, 12])  # other sizes than INPUT's


class Net(torch.nn.Module):
    """A module among others, as tools meet it."""

    def __init__(self, implementation: TorchImplementation) -> None:
        super().__init__()
        self.bag, self.last = implementation.module(V, D, mode="sum"), torch.nn.Linear(D, 2)

    def forward(self, input: Tensor, offsets: Tensor) -> Tensor:
        found: Tensor = self.last(self.bag(input, offsets))
        return found


def resizable(implementation: TorchImplementation) -> None:
    """FSDP2 resizes the memory of a table; a call must not forbid it for good."""
    weight = torch.randn(V, D, requires_grad=True)
    implementation.function(INPUT, weight, OFFSETS).sum().backward()
    assert weight.untyped_storage().resizable(), "the table's memory is not resizable after a call"


def fx(implementation: TorchImplementation) -> None:
    """torch.fx.symbolic_trace: the module is one node, and the graph computes the same."""
    net = Net(implementation)
    traced = torch.fx.symbolic_trace(net)
    assert ("call_module", "bag") in {(node.op, node.target) for node in traced.graph.nodes}
    close(traced(*MORE), net(*MORE))


def core_operators(implementation: TorchImplementation) -> None:
    """run_decompositions() of an exported module leaves operators of torch's own."""
    program = torch.export.export(Net(implementation), (INPUT, OFFSETS), strict=False)
    program = program.run_decompositions()
    targets = [n.target for n in program.graph.nodes if n.op == "call_function"]
    spaces = {t.namespace for t in targets if isinstance(t, torch._ops.OpOverload)}
    assert spaces == {"aten"}, f"operators of {', '.join(sorted(spaces))}"


def onnx(implementation: TorchImplementation) -> None:
    """torch.onnx.export(dynamo=True) with open sizes, against what onnxruntime makes of it."""
    import onnxruntime
    import onnxscript  # noqa: F401, torch.onnx asks for it

    net, sizes = Net(implementation), ({0: torch.export.Dim.DYNAMIC},) * 2
    given: Any = {"dynamo": True, "dynamic_shapes": sizes, "verbose": False}
    program = torch.onnx.export(net, (INPUT, OFFSETS), **given)
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    names = [i.name for i in session.get_inputs()]
    found = session.run(None, {n: t.numpy() for n, t in zip(names, MORE, strict=True)})
    close(torch.tensor(found[0]), net(*MORE).detach())


def traced(implementation: TorchImplementation) -> None:
    """torch.jit.trace, through a file."""
    net = Net(implementation)
    as_loaded(torch.jit.trace(net, (INPUT, OFFSETS)), net)


def scripted(implementation: TorchImplementation) -> None:
    """torch.jit.script, through a file."""
    net = Net(implementation)
    as_loaded(torch.jit.script(net), net)


def as_loaded(script: Any, net: torch.nn.Module) -> None:
    """Write TorchScript and read it back: it computes what the module does."""
    file = io.BytesIO()
    torch.jit.save(script, file)
    file.seek(0)
    close(torch.jit.load(file)(*MORE), net(*MORE))


def quantized(implementation: TorchImplementation) -> None:
    """torch.ao.quantization (dynamic, static, FX) does not leave the table in floating point."""
    from torch.ao import quantization as ao
    from torch.ao.quantization import quantize_fx

    config, kind = ao.float_qparams_weight_only_qconfig, torch.nn.EmbeddingBag
    found: list[Any] = [ao.quantize_dynamic(Net(implementation), {kind: config})]
    net = Net(implementation).eval()
    net.bag.qconfig = config
    found.append(ao.convert(ao.prepare(net)))
    mapping = ao.QConfigMapping().set_object_type(kind, config)
    prepared = quantize_fx.prepare_fx(Net(implementation).eval(), mapping, (INPUT, OFFSETS))
    found.append(quantize_fx.convert_fx(prepared))
    for net in found:
        assert not isinstance(net.bag, kind), "it stays in floating point"


def torchao(implementation: TorchImplementation) -> None:
    """torchao's quantize_ to 8 bits a number: the module computes about the same."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    net = Net(implementation)
    before = net(*MORE)
    quantize_(net, Int8WeightOnlyConfig(), filter_fn=lambda module, _: module is net.bag)
    torch.testing.assert_close(net(*MORE), before, rtol=0.05, atol=0.05)


TRANSFORMS: dict[str, Column] = {
    "clauses": clauses,
    "gradcheck": gradcheck,
    "gradgradcheck": gradgradcheck,
    "jvp": jvp,
    "vmap": vmap,
    "opcheck": opcheck,
    "compile": compiled,
    "export": export,
    "pickle": pickled,
    "state_dict": state_dict,
}
TOOLS: dict[str, Column] = {
    "resizable": resizable,
    "fx": fx,
    "core_operators": core_operators,
    "onnx": onnx,
    "jit.trace": traced,
    "jit.script": scripted,
    "quantization": quantized,
    "torchao": torchao,
}
COLUMNS = {**TRANSFORMS, **TOOLS}
LACKING = ("quantization", "torchao")  # ours refuse, by a NotImplementedError that says so


# ---- the command ----------------------------------------------------------------------------


def main(words: list[str]) -> int:
    """Exit status: 0 where each of our implementations answers as expected, else 1."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu transforms")
    parser.add_argument("names", nargs="*", help="torch, loops, vectorized, cuda; all by default")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="some of the columns")
    given = parser.parse_args(words)
    known, columns = implementations(), given.only or list(COLUMNS)
    names = given.names or list(known)
    for wrong in sorted({*names} - {*known} | {*columns} - {*COLUMNS}):
        print(f"there is no {wrong!r}; valid: {', '.join([*known, *COLUMNS])}", file=sys.stderr)
        return 2
    answers = table(progress([known[name] for name in names], "implementation"), columns)
    print(as_text(answers))
    ours = [answer for name in names if name != "torch" for answer in answers[name].items()]
    return 0 if all(expected(*answer) for answer in ours) else 1


def expected(column: str, said: str) -> bool:
    """Whether this is what one of ours should answer: yes, or a refusal of what it lacks."""
    refused = column in LACKING and said.startswith("NotImplementedError")
    return said in (YES, NOT_INSTALLED) or refused


def implementations() -> dict[str, TorchImplementation]:
    """torch's EmbeddingBag, and ours with each implementation."""
    from embag_edu import nn

    torchs = (torch.nn.functional.embedding_bag, torch.nn.EmbeddingBag)
    known = {"torch": TorchImplementation("torch", *torchs)}
    for name in IMPLEMENTATIONS:
        module = functools.partial(nn.EmbeddingBag, implementation=name)
        known[name] = TorchImplementation(name, getattr(nn.functional, f"with_{name}"), module)
    return known
