"""python -m embag_edu train."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embag_edu.bench.recorded import write
from embag_edu.cuda_on_cpu import CompilerMissing
from embag_edu.cuda_on_cpu import device as cuda_device
from embag_edu.text import aligned
from embag_edu.train import record
from embag_edu.train.examples import LABELS, labels_of
from embag_edu.train.fitting import LEARNING_RATES, Plan, Trained, load, save, scores_of, train
from embag_edu.train.models import IMPLEMENTATIONS


def main(words: list[str]) -> int:
    """Exit status: 0; 2 where the call was wrong; 130 where Ctrl-C has stopped it."""
    torch.set_num_threads(1)
    given = parser().parse_args(words)
    try:
        check_files(given)
        if given.compare:
            return compare(given)
        print(report(plan_of(given), given.save))
        return 0
    except (ValueError, CompilerMissing) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the end: what was not finished is not written", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The arguments; what they mean is said at `embag_edu.train.Plan`, which checks them."""
    made = argparse.ArgumentParser(
        prog="python -m embag_edu train", description="Train a classifier on the reviews."
    )
    usual = Plan()
    made.add_argument("--task", help=f"{' or '.join(LABELS)} ({usual.task})")
    made.add_argument(
        "--implementation",
        default=usual.implementation,
        help=f"{', '.join(IMPLEMENTATIONS)}, or a class of your own: my_bag:MyBag",
    )
    made.add_argument(
        "--optimizer", default=usual.optimizer, help=f"{' or '.join(LEARNING_RATES)} (adagrad)"
    )
    made.add_argument("--lr", type=float, help=f"learning rate ({LEARNING_RATES})")
    for name in ("epochs", "batch_size", "dim", "seed", "buckets"):
        value = getattr(usual, name)
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"({value})")
    made.add_argument("--sparse", action="store_true", help="sparse gradients of the table")
    made.add_argument("--weighted", action="store_true", help="tf-idf as per_sample_weights")
    made.add_argument("--max-norm", type=float, help="of the table's rows (none)")
    made.add_argument("--limit", type=int, help="train on the first reviews only (all)")
    made.add_argument("--device", default=usual.device, help="cpu or cuda (cpu)")
    made.add_argument("--save", metavar="FILE", help="write the model there, and load it by torch")
    made.add_argument(
        "--compare", action="store_true", help="every implementation; both tasks without --task"
    )
    made.add_argument("--json", metavar="FILE", help="with --compare: write the record there")
    return made


def plan_of(given: argparse.Namespace, task: str | None = None) -> Plan:
    """The plan that the arguments ask for."""
    names = {field.name for field in dataclasses.fields(Plan)} & vars(given).keys()
    options = {name: getattr(given, name) for name in names - {"task"}}
    return Plan(task or given.task or Plan.task, **options)


def check_files(given: argparse.Namespace) -> None:
    """What would only go wrong after the training is found before it."""
    if given.json and not given.compare:
        raise ValueError("--json is for --compare; a single training has --save")
    if given.save and given.compare:
        raise ValueError("--save is for a single training: leave --compare away")
    if given.compare and given.device == "cuda":
        raise ValueError("--compare trains with the loops, too, on the CPU: leave --device away")
    for name in ("save", "json"):
        path = getattr(given, name)
        if path is not None and not _writable(Path(path)):
            raise ValueError(f"--{name} is {path!r}; it must be a file in a folder that exists")


def _writable(path: Path) -> bool:
    return not path.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)


def report(plan: Plan, path: str | None) -> str:
    """Train, save, and say what was done, a line for each fact."""
    trained = train(plan)
    facts = described(trained)
    if path:
        save(trained, path)
        model, _, kept = load(path)
        again = scores_of(model, trained.data.held_out, kept)
        apart = float(np.abs(again - trained.scores).max())
        facts["saved"] = (
            f"{path}; loaded by torch.nn.EmbeddingBag, scores differ by at most {apart:.0e}"
        )
    return aligned(facts.items())


def described(trained: Trained) -> dict[str, str]:
    """What was trained, on what, and how well it does."""
    plan, data = trained.plan, trained.data
    sizes = record.shapes(plan, data)
    majority = np.bincount(data.held_out.labels).max() / len(data.held_out)
    gradients = "sparse" if plan.sparse else "dense"
    bag = "weighted sum (tf-idf)" if plan.weighted else "mean"
    bag += f", max_norm {plan.max_norm:g}" if plan.max_norm is not None else ""
    steps = len(trained.history.losses) // plan.epochs
    auc = f", AUC {trained.auc:.4f}" if plan.task == "recommended" else ""
    return {
        "task": f"{plan.task}, {len(labels_of(plan.task))} classes",
        "device": f"{_device(plan)}; implementation {plan.implementation}",
        "reviews": f"{sizes['train']:,} to train on, {sizes['held_out']:,} held out "
        f"(seed {plan.seed})",
        "table": f"{sizes['V']:,} rows of {plan.dim}: {sizes['words']:,} words, "
        f"{plan.buckets:,} buckets for pairs",
        "bags": bag,
        "optimizer": f"{plan.optimizer}, lr {plan.rate:g}, {gradients} gradients, "
        f"{plan.epochs} x {steps} steps of {plan.batch_size}",
        "loss": f"{trained.history.losses[0]:.4f} at first, {trained.history.losses[-1]:.4f} last",
        "seconds/epoch": " ".join(f"{s:.2f}" for s in trained.history.seconds),
        "held out": f"accuracy {trained.accuracy:.4f}{auc} (the commonest class: {majority:.4f})",
    }


def _device(plan: Plan) -> str:
    if plan.device == "cuda":
        return str(torch.cuda.get_device_name())
    where = f"cpu, {torch.get_num_threads()} thread"
    return where + (f", kernels on: {cuda_device()}" * (plan.implementation == "cuda"))


def compare(given: argparse.Namespace) -> int:
    """Train with every implementation, print the table, write the record."""
    tasks: Any = [given.task] if given.task else list(LABELS)
    found = record.compare([plan_of(given, task) for task in tasks])
    print(record.table(found))
    if given.json:
        write(given.json, found)
    return 0
