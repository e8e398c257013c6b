"""The commands: python -m embag_edu, with one of the words below."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import Any

from embag_edu import IMPLEMENTATIONS
from embag_edu.text import aligned

COMMANDS = {
    "check": "hold an EmbeddingBag against the conformance table",
    "transforms": "derivatives, vmap, compile, export, pickle of torch's module and of ours",
    "ledger": "where torch departs from its documentation, or from itself",
    "bench": "measure the arrays beside torch, and what bytes allow",
    "train": "train a classifier on the real reviews, with torch's EmbeddingBag or any of ours",
    "gpu": "try everything on this machine's NVIDIA GPU, and write what was found",
    "report": "this machine and its packages, to paste into a bug report",
    "exercises": "make the readers' copies of the exercises from their solutions",
    "grade": "marks for exercise notebooks that were handed in",
}


def main(words: list[str]) -> int:
    """Do what the first word says; returns the exit status."""
    if not words or words[0] not in COMMANDS:
        listed = "\n".join(f"  {name:10} {says}" for name, says in COMMANDS.items())
        print(f"python -m embag_edu COMMAND ...   (COMMAND --help says more)\n\n{listed}")
        return 0 if words in (["-h"], ["--help"]) else 2
    try:
        return RUN[words[0]](words[1:])
    except ImportError as error:
        extra = "check" if words[0] in ("check", "transforms", "ledger", "train") else "book"
        print(f"This command needs the package {error.name}: pip install 'embag_edu[{extra}]'")
        return 2


def run_check(words: list[str]) -> int:
    """Exit status: 0 all clauses hold, 1 some fail, 2 the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu check")
    parser.add_argument("implementation", nargs="?", help="module:function, or loops")
    parser.add_argument("backward", nargs="?", help="module:function of its backward, if separate")
    parser.add_argument("--only", help="one clause or group: forward.sum, backward")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON ('-': print it)")
    parser.add_argument("--arrays", choices=["numpy", "torch"], help="what the function takes")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for one call (10)")
    parser.add_argument("--list", action="store_true", help="list the clauses and end")
    given = parser.parse_args(words)
    from embag_edu.check import check
    from embag_edu.check.clauses import find

    try:
        if given.list or not given.implementation:
            print(aligned((c.name, c.says) for c in find(given.only)))
            return 0 if given.list else 2
        pair = [f for f in (given.implementation, given.backward) if f]
        report = check(
            pair[0] if len(pair) == 1 else tuple(pair),
            given.only,
            arrays=given.arrays,
            limit=given.limit,
            raises=False,
            progress=_progress,
        )
    except ValueError as error:  # no such clause, or no such function
        print(error, file=sys.stderr)
        return 2
    if given.json == "-":
        print(report.to_json())
    elif given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            file.write(report.to_json())
    if given.json != "-":
        print(report)
    return 0 if report.passed else 1


def _progress(clauses: Iterable, unit: str = "clause") -> Iterable:
    try:
        from tqdm import tqdm
    except ImportError:
        return clauses
    return tqdm(clauses, unit=unit, leave=False, disable=None)  # None: not where it is piped


def run_transforms(words: list[str]) -> int:
    """Exit status: 0 where each of our implementations has "yes" in each column, else 1."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu transforms")
    parser.add_argument("names", nargs="*", help="torch, loops, vectorized, cuda; all by default")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="some of the columns")
    given = parser.parse_args(words)
    from embag_edu.check import transforms

    known, columns = entrants(), given.only or list(transforms.COLUMNS)
    names = given.names or list(known)
    for wrong in sorted({*names} - {*known} | {*columns} - {*transforms.COLUMNS}):
        valid = ", ".join([*known, *transforms.COLUMNS])
        print(f"there is no {wrong!r}; valid: {valid}", file=sys.stderr)
        return 2
    found = transforms.table(_progress([known[name] for name in names], "implementation"), columns)
    print(transforms.as_text(found))
    ours = [said for name in names if name != "torch" for said in found[name].values()]
    return 0 if all(said == transforms.YES for said in ours) else 1


def entrants() -> dict[str, Any]:
    """torch's EmbeddingBag, and ours with each implementation."""
    import functools

    import torch

    from embag_edu import nn
    from embag_edu.check.transforms import Entrant

    found = [Entrant("torch", torch.nn.functional.embedding_bag, torch.nn.EmbeddingBag)]
    for name in IMPLEMENTATIONS:
        module = functools.partial(nn.EmbeddingBag, implementation=name)
        found.append(Entrant(name, getattr(nn.functional, f"with_{name}"), module))
    return {entrant.name: entrant for entrant in found}


def run_ledger(words: list[str]) -> int:
    """Print the entries; with --run, whether the installed torch still shows each."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu ledger")
    parser.add_argument(
        "--run", action="store_true", help="run the programs on the installed torch"
    )
    parser.add_argument("--code", action="store_true", help="print the programs too")
    given = parser.parse_args(words)
    from embag_edu.check.ledger import LEDGER, describe, still_shown

    shown = still_shown(LEDGER) if given.run else [None] * len(LEDGER)
    print("\n\n".join(describe(e, s, given.code) for e, s in zip(LEDGER, shown, strict=True)))
    return 0


def run_bench(words: list[str]) -> int:
    """Measure, print a table."""
    from embag_edu.bench import command

    return command.main(words)


def run_train(words: list[str]) -> int:
    """Exit status: 0, or 2 where the call was wrong."""
    from embag_edu.train import command

    return command.main(words)


def run_gpu(words: list[str]) -> int:
    """Exit status: 0 nothing failed, 1 something did, 2 there is no GPU that can be used."""
    from embag_edu.gpu import command

    return command.main(words)


def run_report(words: list[str]) -> int:
    """Print the environment report."""
    from embag_edu.environment import report

    print(report())
    return 0


def run_exercises(words: list[str]) -> int:
    """Make, or with --check compare, the readers' copies."""
    from embag_edu.course import notebooks

    return notebooks.main(words)


def run_grade(words: list[str]) -> int:
    """Print marks."""
    from embag_edu.course import grading

    return grading.main(words)


RUN = {
    "check": run_check,
    "transforms": run_transforms,
    "ledger": run_ledger,
    "bench": run_bench,
    "train": run_train,
    "gpu": run_gpu,
    "report": run_report,
    "exercises": run_exercises,
    "grade": run_grade,
}

if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`
        sys.stdout = open(os.devnull, "w")
        status = 1
    sys.exit(status)
