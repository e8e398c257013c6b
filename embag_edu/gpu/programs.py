"""What readers run, as whole programs on the GPU: training, a sharded table, tests, chapters.

Each is a process of its own with a time limit, so one that fails harms no other. Tests and chapters
are those of a checkout; where the package is installed alone, they are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from embag_edu.gpu.steps import FAILED, PASSED, SKIPPED, Attempt, Probe, without_folders

ROOT = Path(__file__).parents[2]
LIMIT = 120.0  # seconds for one program
NEEDS = {"tests/": "pytest", "book/": "nbclient"}  # which module runs a checkout's file
TRAIN = ("-m", "embag_edu", "train", "--device", "cuda", "--implementation", "cuda")
PYTEST = ("-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider")
SHARDED = "from embag_edu.gpu import programs; programs.one_shard('nccl', 'cuda')"
CHAPTER = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=100, resources={"metadata": {"path": "book"}}).execute()
"""
PROGRAMS: dict[str, tuple[str, ...]] = {
    "training": (*TRAIN, "--limit", "4000", "--epochs", "1"),
    "training, sparse gradients": (*TRAIN, "--limit", "4000", "--epochs", "1", "--sparse"),
    "a sharded table over NCCL, one process": ("-c", SHARDED),
    "nn on tensors of the GPU": (*PYTEST, "tests/test_nn_cuda.py"),
    "fused modules on the GPU": (*PYTEST, "tests/test_beyond_fused.py", "-k", "on_a_gpu"),
}
CHAPTERS = ("07", "08a", "08b", "08c", "09", "10", "11")


def programs(probe: Probe) -> Iterator[Attempt]:
    """Each program; then chapters 07 to 11, in which every cell must run."""
    for name, words in PROGRAMS.items():
        yield probe.attempt(name, partial(run, probe, name, words))
    for number in CHAPTERS:
        found = sorted(ROOT.glob(f"book/{number}_*.ipynb"))
        file = str(found[0].relative_to(ROOT)) if found else f"book/{number}_*.ipynb"
        name = f"chapter {number}"
        yield probe.attempt(name, partial(run, probe, name, ("-c", CHAPTER, file)))


def run(probe: Probe, name: str, words: tuple[str, ...]) -> Attempt:
    """One program, from the checkout's folder. It has as long as LIMIT and the command allow."""
    of_checkout = [word for word in words if word.startswith(tuple(NEEDS))]
    if missing := [why for word in of_checkout if (why := missing_for(word))]:
        return Attempt(name, SKIPPED, f"needs {', '.join(missing)}")
    begin, most = time.monotonic(), min(LIMIT, max(probe.until - probe.clock(), 1.0))
    environment = os.environ | {"EMBAG_DEVICE": probe.gpu.kind}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT if of_checkout else None,
            env=environment,
            capture_output=True,
            text=True,
            timeout=most,
        )
    except subprocess.TimeoutExpired:
        return Attempt(name, FAILED, f"not done after {most:.0f} seconds")
    lines = (done.stdout if done.returncode == 0 else done.stdout + done.stderr).split("\n")
    told = [without_folders(line.strip()) for line in lines if line.strip()][-3:]
    data = {"seconds": time.monotonic() - begin, "told": told}
    status = FAILED if done.returncode else PASSED
    return Attempt(name, status, " / ".join(told) if done.returncode else "", data)


def missing_for(file: str) -> str:
    """What is not here, of a checkout's file and what runs it; '' if nothing is."""
    if not (ROOT / file).is_file():
        return f"a checkout, with {file}"
    module = NEEDS[file[: file.index("/") + 1]]
    return "" if find_spec(module) else module


def one_shard(backend: str, device: str) -> None:
    """A sharded table whose one process has it all, beside torch's; AssertionError if they differ.

    (NCCL allows one process a GPU.)
    """
    import torch
    import torch.distributed as dist

    from embag_edu.beyond.sharded.module import ShardedEmbeddingBag
    from embag_edu.beyond.sharded.wire import Wire

    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    weight, input, offsets = torch.randn(50, 8), torch.randint(50, (40,)), torch.arange(0, 40, 4)
    theirs = torch.nn.EmbeddingBag.from_pretrained(weight.clone(), freeze=False, mode="mean")
    expected = theirs(input, offsets)
    expected.sum().backward()
    for sharding in ("row", "column", "table"):
        wire = Wire(device=device)
        ours = ShardedEmbeddingBag(50, 8, mode="mean", sharding=sharding, wire=wire, weight=weight)
        output = ours(input.to(device), offsets.to(device))
        output.sum().backward()
        torch.testing.assert_close(output.cpu(), expected, equal_nan=False)
        torch.testing.assert_close(ours.weight.grad.cpu(), theirs.weight.grad, equal_nan=False)
    dist.destroy_process_group()
