"""embag_edu.nn on tensors on a GPU. Needs an NVIDIA GPU, torch's build for it, and CuPy."""

import functools
import importlib.util

import pytest
import torch
import torch.nn.functional as TF

from embag_edu import nn
from embag_edu.check import check, transforms
from embag_edu.check.promise import EVERYTHING
from embag_edu.check.transforms import YES, TorchImplementation
from embag_edu.nn import functional as F

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and importlib.util.find_spec("cupy")),
    reason="needs an NVIDIA GPU, torch's build for it, and CuPy",
)
V, D, N = 1000, 24, 4096


class ToGpu(torch.autograd.Function):
    """tensor.cuda(), whose own backward takes no sparse gradient."""

    @staticmethod
    def forward(ctx, tensor):
        return tensor.cuda()

    @staticmethod
    def backward(ctx, grad):
        return grad.cpu()


def moved(value):
    if not isinstance(value, torch.Tensor):
        return value
    return ToGpu.apply(value) if value.requires_grad and value.is_leaf else value.cuda()


def on_gpu(input, weight, *rest, **options):
    """The call on copies on the GPU; what max_norm does there is copied back."""
    if not isinstance(weight, torch.Tensor) or not isinstance(input, torch.Tensor):
        return F.embedding_bag(input, weight, *rest, **options)
    table = moved(weight)
    options = {name: moved(value) for name, value in options.items()}
    output = F.embedding_bag(moved(input), table, *map(moved, rest), **options)
    if options.get("max_norm") is not None and weight.is_floating_point():
        weight.detach().copy_(table.detach())
    return output.cpu()


def test_every_clause_holds():
    report = check(on_gpu, supports=EVERYTHING, arrays="torch", isolate=False, raises=False)
    assert {r.status for r in report.results} == {"holds"}, str(report)


@pytest.mark.parametrize("column", ["gradcheck", "gradgradcheck", "jvp", "vmap", "compile"])
def test_transforms(column):
    implementation = TorchImplementation("on a GPU", on_gpu, nn.EmbeddingBag)
    assert transforms.answer(transforms.COLUMNS[column], implementation) == YES


def batch(seed=0):
    torch.manual_seed(seed)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(N, (99,)).sort().values])
    return torch.randint(V, (N,)).cuda(), offsets.cuda()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_beside_torchs_own(mode, dtype):
    input, offsets = batch()
    table = torch.randn(V, D, device="cuda").to(dtype)
    outputs, grads = [], []
    for bag in (F.embedding_bag, TF.embedding_bag):
        if (bag, mode, dtype) == (TF.embedding_bag, "max", torch.bfloat16):
            table = table.float()  # torch has no backward for these
        weight = table.clone().requires_grad_()
        out = bag(input, weight, offsets, mode=mode)
        out.backward(torch.ones_like(out))
        outputs.append(out.detach().double())
        grads.append(weight.grad.double())
    eps = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(*outputs, rtol=eps, atol=eps * 30, equal_nan=False)
    torch.testing.assert_close(*grads, rtol=eps, atol=eps * 30, equal_nan=False)


def test_it_runs_on_torchs_current_stream():
    """A slow kernel writes the table just before, on a side stream; nobody waits in between."""
    input, offsets = batch()
    expected = TF.embedding_bag(input, torch.ones(V, D, device="cuda"), offsets, mode="sum")
    weight, large = torch.zeros(V, D, device="cuda"), torch.randn(4096, 4096, device="cuda")
    F.embedding_bag(input, weight, offsets, mode="sum")  # kernels are compiled here
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(20):
            large = large @ large
            large = large / large.norm()
        weight.copy_(torch.ones_like(weight) + 0 * large[0, 0])
        found = F.embedding_bag(input, weight, offsets, mode="sum")
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(found, expected, equal_nan=False)


def test_max_norm_changes_a_strided_table_in_place():
    input, offsets = batch()
    wide = torch.randn(V, 2 * D, device="cuda")
    kept, weight = wide.clone(), wide[:, ::2]
    F.embedding_bag(input, weight, offsets, max_norm=0.5)
    norms = weight[input].norm(dim=1)
    assert (norms < 0.5 + 1e-3).all() and torch.equal(wide[:, 1::2], kept[:, 1::2])


def test_a_model_trains_and_a_wrong_index_is_an_error():
    ends = []
    for make in (nn.EmbeddingBag, torch.nn.EmbeddingBag):
        torch.manual_seed(0)
        model = torch.nn.Sequential(make(V, D, mode="sum"), torch.nn.Linear(D, 1)).cuda()
        stepper = torch.optim.SGD(model.parameters(), lr=0.01)
        for step in range(5):
            input = torch.randint(V, (64, 8), generator=torch.Generator().manual_seed(step))
            stepper.zero_grad()
            model(input.cuda()).pow(2).mean().backward()
            stepper.step()
        ends.append(model[0].weight.detach())
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5, equal_nan=False)
    bag = functools.partial(F.embedding_bag, weight=ends[0], offsets=torch.tensor([0]).cuda())
    with pytest.raises(RuntimeError, match=f"found idx to be {V}"):
        bag(torch.tensor([0, V]).cuda())  # and the GPU can still be used:
    assert bag(torch.tensor([0]).cuda()).shape == (1, D)
    with pytest.raises(RuntimeError, match="'vectorized' can't compute on cuda:0"):
        bag(torch.tensor([0]).cuda(), implementation="vectorized")
    with pytest.raises(RuntimeError, match="input is on cpu and weight is on cuda:0"):
        bag(torch.tensor([0]))
