"""Training: a plan, the loop of every torch program, and two measures of the result.

trained = train(Plan("recommended", implementation="vectorized"))
trained.history.losses, trained.accuracy, trained.auc
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from embag_edu.cuda import check_now
from embag_edu.data import Review, Vocabulary, reviews
from embag_edu.train.examples import Examples, Reader, collate, labels_of, read_with, split
from embag_edu.train.models import TextClassifier, check_implementation

LEARNING_RATES = {"sgd": 8.0, "adagrad": 0.1}
"""What each optimizer starts with. A mean's gradient is small, so SGD's rate is large."""


@dataclass(frozen=True)
class Plan:
    """All that decides a training; the same plan gives the same batches and the same first weights.

    task            "department" or "recommended"
    implementation  "torch", "loops", "vectorized", "cuda" or "auto"; or a class: "my_bag:MyBag"
    optimizer       "sgd" or "adagrad"; lr: its learning rate, LEARNING_RATES' by default
    epochs, batch_size, dim, seed
    buckets         rows for pairs of words, 0 for words alone
    sparse          sparse gradients of the table
    weighted        tf-idf as per_sample_weights, in mode sum
    max_norm        of a row of the table, or None
    limit           train on the first reviews only, or None for all of them
    device, double  "cpu" or "cuda"; float64 in place of float32
    """

    task: str = "department"
    implementation: str = "vectorized"
    optimizer: str = "adagrad"
    lr: float | None = None
    epochs: int = 3
    batch_size: int = 256
    dim: int = 16
    seed: int = 0
    buckets: int = 1 << 16
    sparse: bool = False
    weighted: bool = False
    max_norm: float | None = None
    limit: int | None = None
    device: str = "cpu"
    double: bool = False

    def __post_init__(self) -> None:
        labels_of(self.task)
        check_implementation(self.implementation)
        _one_of("optimizer", self.optimizer, tuple(LEARNING_RATES))
        _one_of("device", self.device, ("cpu", "cuda"))
        for name in ("epochs", "batch_size", "dim", "limit"):
            value = getattr(self, name)
            if not (value is None and name == "limit") and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed is {self.seed}; it must be 0 or more, and below 2 ** 63")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"lr is {self.lr}; it must be more than 0, such as {self._usual}")
        if self.max_norm is not None and not self.max_norm > 0:
            raise ValueError(f"max_norm is {self.max_norm}; it must be more than 0, such as 1.0")
        if self.device == "cuda" and self.implementation in ("loops", "vectorized"):
            raise ValueError(
                f"implementation {self.implementation!r} can't compute on device 'cuda'; take "
                "implementation 'cuda' or 'torch'"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is 'cuda', but torch sees no GPU here; take device 'cpu'")

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self._usual if self.lr is None else self.lr

    @property
    def _usual(self) -> float:
        return LEARNING_RATES[self.optimizer]

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        return torch.float64 if self.double else torch.float32


def _one_of(name: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(valid)}")


class Data(NamedTuple):
    """The examples of a plan: which to train on, which are held out, and who has read them."""

    reader: Reader
    train: Examples
    held_out: Examples


def data_of(plan: Plan, records: Sequence[Review] | None = None) -> Data:
    """Split, read and label the reviews. The reader knows the training texts only."""
    records = reviews() if records is None else records
    parts = split(records, seed=plan.seed)
    train, held_out = ([records[k] for k in part] for part in parts)
    train = train[: plan.limit]
    reader = read_with([record.text for record in train], plan.buckets)
    sets = (Examples(reader, part, plan.task, plan.weighted) for part in (train, held_out))
    return Data(reader, *sets)


# ---- the loop -------------------------------------------------------------------------------


@dataclass
class History:
    """What happened: the loss of each step, before it is taken, and the seconds of each epoch."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def fit(
    model: torch.nn.Module,
    batches: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    epochs: int,
    watch: Callable[[History], None] | None = None,
) -> History:
    """Train a model; `watch` is shown the history after each step."""
    history = History()
    for _ in range(epochs):
        begin = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(batch), batch.labels)
            loss.backward()
            optimizer.step()
            history.losses.append(loss.item())
            if watch is not None:
                watch(history)
        history.seconds.append(time.perf_counter() - begin)
    return history


class Batches:
    """The batches of a data set in an order drawn anew for each epoch, the same for each seed."""

    def __init__(self, examples: Examples, plan: Plan) -> None:
        order = torch.Generator().manual_seed(plan.seed)
        self.loader = DataLoader(
            examples, plan.batch_size, shuffle=True, generator=order, collate_fn=collate
        )
        self.where = plan.device, plan.dtype

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return (batch.to(*self.where) for batch in self.loader)


def model_of(plan: Plan, rows: int) -> TextClassifier:
    """The untrained model of a plan: the same weights for each implementation."""
    torch.manual_seed(plan.seed)
    model = TextClassifier(
        rows, plan.dim, len(labels_of(plan.task)), plan.weighted, plan.implementation,
        sparse=plan.sparse, max_norm=plan.max_norm, dtype=plan.dtype,
    )  # fmt: skip
    model.to(plan.device)
    return model


def optimizer_of(plan: Plan, model: torch.nn.Module) -> torch.optim.Optimizer:
    """SGD or Adagrad: both take dense and sparse gradients."""
    kind = torch.optim.SGD if plan.optimizer == "sgd" else torch.optim.Adagrad
    return kind(model.parameters(), lr=plan.rate)


@dataclass(frozen=True)
class Trained:
    """A trained model, with what it was trained by and how well it does on what was held out."""

    plan: Plan
    data: Data
    model: TextClassifier
    history: History
    scores: np.ndarray  # (held out, classes)

    @property
    def accuracy(self) -> float:
        """The part of the held-out reviews whose class has the highest score."""
        return accuracy(self.scores, self.data.held_out.labels)

    @property
    def auc(self) -> float:
        """Of two held-out reviews of different kinds, how often the right one scores higher."""
        if self.plan.task != "recommended":
            raise ValueError("auc is for two classes: take task 'recommended'")
        return auc(self.scores[:, 1] - self.scores[:, 0], self.data.held_out.labels == 1)


def train(
    plan: Plan,
    data: Data | None = None,
    watch: Callable[[History], None] | None = None,
    progress: bool | None = None,
) -> Trained:
    """Train a model by a plan, and judge it by what was held out.

    data: that of `data_of(plan)`, to read the reviews once for several plans.
    progress: a bar; by default where somebody looks, at a terminal or in a notebook.
    """
    data = data_of(plan) if data is None else data
    model = model_of(plan, data.reader.rows)
    batches = Batches(data.train, plan)
    with _bar(plan.epochs * len(batches), progress) as show:

        def after_step(history: History) -> None:
            show(history)
            if watch is not None:
                watch(history)

        with torch.sparse.check_sparse_tensor_invariants(False):  # else Adagrad's use of them warns
            history = fit(model, batches, optimizer_of(plan, model), plan.epochs, after_step)
    return Trained(plan, data, model, history, scores_of(model, data.held_out, plan))


@contextmanager
def _bar(steps: int, progress: bool | None) -> Iterator[Callable[[History], None]]:
    """A bar, and what shows it a history. By default where somebody looks."""
    notebook = _in_notebook()
    if notebook and progress is not False:
        yield _notebook_bar(steps)
        return
    from tqdm import tqdm

    shown = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=steps, unit="step", leave=False, disable=not shown) as bar:

        def show(history: History) -> None:
            bar.set_postfix(loss=f"{history.losses[-1]:.3f}", refresh=False)
            bar.update()

        yield show


def _notebook_bar(steps: int) -> Callable[[History], None]:
    """IPython's bar: its last state is stored with the page. Of tqdm's, the first one would be."""
    from IPython.display import ProgressBar

    bar, every = ProgressBar(steps), max(1, steps // 100)
    bar.display()

    def show(history: History) -> None:
        done = len(history.losses)
        if done % every == 0 or done == steps:
            bar.progress = done  # which draws it again

    return show


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@torch.no_grad()
def scores_of(model: torch.nn.Module, examples: Examples, plan: Plan) -> np.ndarray:
    """The scores (examples, classes), in the order of the examples.

    On a GPU, bad rows of these batches and of the training before are told here at the latest: no
    score of a model that skipped them is returned.
    """
    loader = DataLoader(examples, 1024, collate_fn=collate)
    found = [model(batch.to(plan.device, plan.dtype)) for batch in loader]
    scores = np.asarray(torch.cat(found).cpu())
    check_now()  # the host has waited: it costs nothing
    return scores


# ---- how well it does -----------------------------------------------------------------------


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """The part of the labels (n,) that have the highest of the scores (n, classes)."""
    return float((scores.argmax(axis=1) == labels).mean())


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """The part of all pairs (one true, one false) in which the true one scores higher; ties: half.

    scores (n,), truth (n,) bool. The ranks of the true ones say it without looking at all pairs
    (Mann and Whitney, 1947). Raises ValueError where one kind is missing.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    true, false = int(truth.sum()), int((~truth).sum())
    if not true or not false:
        raise ValueError("truth has one kind only; an AUC compares true ones with false ones")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]  # 1, 2, 3, ...; ties share their middle
    return float((ranks[truth].sum() - true * (true + 1) / 2) / (true * false))


# ---- keeping a model ------------------------------------------------------------------------


def save(trained: Trained, path: str | Path) -> None:
    """Write plan, words and weights to a file that `load` reads."""
    reader = trained.data.reader
    kept = {
        "plan": asdict(trained.plan),
        "words": list(reader.known.words),
        "counts": torch.from_numpy(reader.known.counts),
        "idf": torch.from_numpy(reader.idf),
        "state_dict": trained.model.state_dict(),
    }
    unfinished = Path(f"{path}.unfinished")  # a file that is there is replaced by a whole one only
    try:
        torch.save(kept, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: str | Path, implementation: str = "torch") -> tuple[TextClassifier, Reader, Plan]:
    """The model of a file, by torch's EmbeddingBag or by any of ours, with its reader and plan."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    plan = replace(Plan(**kept["plan"] | {"device": "cpu"}), implementation=implementation)
    known = Vocabulary(tuple(kept["words"]), kept["counts"].numpy())
    reader = Reader(known, plan.buckets, kept["idf"].numpy())
    model = model_of(plan, reader.rows)
    model.load_state_dict(kept["state_dict"])
    return model.eval(), reader, plan
