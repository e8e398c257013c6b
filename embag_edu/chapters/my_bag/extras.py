"""What no clause asks: that a version has no loops, gives the same bits, is a torch module."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from embag_edu.chapters.my_bag import files
from embag_edu.check.compare import difference
from embag_edu.course.tools import work_of
from embag_edu.cuda_on_cpu import settings

LINES = 500  # of Python that a version without loops may run for N positions
N = 2000


def of(stage: str, place: Path) -> str:
    """What is wrong with a stage whose clauses hold; '' where nothing is."""
    asked = EXTRAS.get(stage)
    if asked is None:
        return ""
    sys.path.insert(0, str(place.parent))
    forget()
    try:
        return asked(lambda name: import_module(f"my_bag.{name}"))
    finally:
        sys.path.remove(str(place.parent))
        forget()


def forget() -> None:
    """Let the next import of my_bag read its files again."""
    for name in [n for n in sys.modules if n.split(".")[0] == files.FOLDER]:
        del sys.modules[name]


Load = Callable[[str], Any]


def _call(mode: str, psw: bool = False) -> dict[str, Any]:
    """N positions in bags of 1 to 7, some empty, and some of them padding."""
    random = np.random.default_rng(0)
    starts = np.sort(random.integers(0, N + 1, N // 4))
    call: dict[str, Any] = {
        "input": random.integers(0, 50, N),
        "weight": random.normal(size=(50, 3)).astype(np.float32),
        "offsets": np.append(0, starts),
        "mode": mode,
        "padding_idx": 3,
    }
    if psw:
        call["per_sample_weights"] = random.normal(size=N).astype(np.float32)
    return call


def _forward_without_loops(load: Load) -> str:
    return _without_loops(load("vectorized"), backward=False)


def _backward_without_loops(load: Load) -> str:
    return _without_loops(load("vectorized"), backward=True)


def _without_loops(mine: Any, backward: bool) -> str:
    failed = []
    for mode, psw in (("sum", False), ("mean", False), ("max", False), ("sum", True)):
        call = _call(mode, psw) | ({} if backward else {"max_norm": 1.0})
        upstream = np.ones((len(call["offsets"]), 3), np.float32)
        function = mine.backward if backward else mine.embedding_bag
        given = (upstream,) if backward else ()
        try:
            # The model, too, takes ends_of from loops.py: a loop over bags, but one without rows.
            with patch.multiple(mine, ends_of=_ends_of, create=True):
                lines = work_of(function, *given, **call).lines
        except Exception as error:  # the other modes may have loops all the same
            failed.append(error)
            continue
        if lines > LINES:
            which = "backward" if backward else "forward"
            return (
                f"the results are right, but the {which} ran {lines:,} lines of my_bag for "
                f"{N:,} positions, mode {mode}: a loop over positions or bags. At most {LINES} "
                "are allowed here: let NumPy work on whole arrays."
            )
    if failed:
        raise failed[0]
    return ""


def _ends_of(starts: Any, positions: int) -> np.ndarray:
    """`loops.ends_of` without a loop."""
    return np.append(np.asarray(starts)[1:], positions)


def _same_bits(load: Load) -> str:
    """The gradient of the table does not depend on the order in which threads run."""
    mine, call = load("cuda"), _call("sum")
    upstream = np.random.default_rng(1).normal(size=(len(call["offsets"]), 3)).astype(np.float32)
    found = []
    for order in (0, 1, 2):
        with settings(mode="checked", order=order):
            found.append(mine.backward(upstream, **call)[0])
    message = difference(found[0], found[1]) or difference(found[0], found[2])
    if not message:
        return ""
    return (
        "the gradient of the table changes with the order in which threads run. Sorted sums have "
        f"no atomicAdd: one thread adds all that belongs to an element.\n{message}"
    )


def _as_a_module(load: Load) -> str:
    """MyBag beside torch's module: its table, its state, and one step of training."""
    try:
        return _beside_torchs(load("module").MyBag)
    except Exception as error:
        return f"MyBag can't be used as torch's module is: {type(error).__name__}: {error}"


def _beside_torchs(MyBag: Any) -> str:
    import torch

    options: dict[str, Any] = {"mode": "mean", "padding_idx": 2}
    mine, theirs = MyBag(6, 3, **options), torch.nn.EmbeddingBag(6, 3, **options)
    if not (isinstance(mine, torch.nn.Module) and list(mine.state_dict()) == ["weight"]):
        return "MyBag's state_dict must hold one key, 'weight': self.weight is a Parameter."
    if tuple(mine.weight.shape) != (6, 3) or not mine.weight.requires_grad:
        return "self.weight must be a Parameter of shape (V, D) that requires a gradient."
    if mine.weight[2].abs().max() > 0 or mine.weight[3].abs().max() == 0:
        return "only row padding_idx of a new table is zero."
    theirs.load_state_dict(mine.state_dict())
    bags = torch.tensor([[0, 1, 2], [4, 4, 5]])
    tables = []
    for bag in (mine, theirs):
        optimizer = torch.optim.SGD(bag.parameters(), 0.5)
        for _ in range(2):
            optimizer.zero_grad()
            bag(bags).pow(2).sum().backward()
            optimizer.step()
        tables.append(bag.weight.detach().numpy())
    message = difference(tables[1], tables[0], atol=1e-6, name="weight")
    return f"after two steps of SGD it is not what torch's module is.\n{message}" if message else ""


EXTRAS: dict[str, Callable[[Load], str]] = {
    "04": _forward_without_loops,
    "05": _backward_without_loops,
    "11": _same_bits,
    "12": _as_a_module,
}
