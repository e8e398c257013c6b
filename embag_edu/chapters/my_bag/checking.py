"""Checks a stage of the reader's my_bag: its clauses, in a process of its own, told in words.

The files are read anew each time: what was just saved is what is checked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from embag_edu.chapters.my_bag import extras, files
from embag_edu.chapters.my_bag.stages import STAGES, Stage, find
from embag_edu.check.checker import Rules, Trial
from embag_edu.check.clauses import Clause, all_clauses
from embag_edu.check.promise import EVERYTHING
from embag_edu.check.report import (
    FAILS,
    NOT_ASKED,
    NOT_SUPPORTED,
    ClauseResult,
)
from embag_edu.check.worker import NotLoadable, Worker
from embag_edu.course import workbook
from embag_edu.course.notebooks import BOOK
from embag_edu.course.progress import Row
from embag_edu.cuda_on_cpu import CompileError, device
from embag_edu.text import Short

LIMIT = 5.0  # seconds for one call; kernels take longer on the CPU
RULES = Rules(supports=EVERYTHING, same_errors=True, explain=False)  # `explain` does it, later
CHECKED = "checked.json"  # in the reader's folder
GROUPS = Path(__file__).with_name("clauses.json")


class StageFailed(Short, AssertionError):
    """Something of a stage is wrong. The text says what, on the smallest call, and perhaps why."""


def folder() -> Path:
    """The reader's my_bag: in the working copy, or where there is none in the current folder."""
    copy = workbook.folder()
    if copy is None and (Path("my_book") / workbook.RECORD).is_file():  # at the root of the clone
        copy = Path("my_book").resolve()
    return (copy or Path.cwd()) / files.FOLDER


def clauses_of(stage: str) -> list[Clause]:
    """The clauses that this stage makes reachable: its model is the first to hold them."""
    groups = json.loads(GROUPS.read_text(encoding="utf-8"))
    mine = set(groups[stage])
    return [clause for clause in all_clauses() if clause.name in mine]


def own_parts(stage: Stage, place: Path) -> dict[str, str]:
    """Each part of a stage in the reader's files: "stub", "model" or "own"."""
    found = {}
    for name in files.names():
        path = place / name
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        theirs = {
            p.name for p in files.parts(name, files.model_text(name)) if p.stage == stage.name
        }
        for part in files.parts(name, text) if theirs else ():
            if part.name in theirs:
                body = files.body_of(name, text, part)
                kind = "stub" if files.is_stub(name, text, part) else "own"
                found[f"{name}: {part.name}"] = "model" if files.NOT_OWN in body else kind
    return found


def check_my_bag(stage: str) -> None:
    """Check one stage, such as "01": prints how many clauses hold.

    Raises StageFailed where something is wrong; what is not built yet is not wrong.
    """
    print(told(find(stage), folder()))


def told(stage: Stage, place: Path) -> str:
    """What the check of a stage says, in words. Raises StageFailed where something is wrong."""
    return examined(stage, place)[0]


def examined(stage: Stage, place: Path) -> tuple[str, bool]:
    """What the check of a stage says, and whether the stage is complete. Raises StageFailed."""
    head = f"my_bag, stage {stage.name} ({stage.title})"
    try:
        parts = own_parts(stage, place)
    except files.NotReadable as error:
        raise StageFailed(f"{head}: Python can't read a file.\n\n{error}") from None
    if not parts:
        return f'{head}: not started. start_my_bag("{stage.name}") makes its files.', False
    if set(parts.values()) == {"stub"}:
        listed = "\n".join(f"  {files.FOLDER}/{part}" for part in parts)
        return f"{head}: not started. These parts wait for your code:\n{listed}", False
    results = run(stage, place)
    _keep(stage, place, results)
    failed = [result for result in results if result.status == FAILS]
    if failed:
        explained = next((r for r in failed if r.failure and r.failure.snippet), failed[0])
        raise StageFailed(f"{head}: {counts(results)}\n\n{_failure(explained, stage)}")
    missing = [result for result in results if result.status == NOT_SUPPORTED]
    stubs = [name for name, kind in parts.items() if kind == "stub"]
    if missing or stubs:
        return f"{head}: {counts(results)}\nNot built yet:\n{not_built(missing, stubs)}", False
    complaint = extras.of(stage.name, place)
    if complaint:
        raise StageFailed(f"{head}: {counts(results)} But:\n\n{complaint}")
    return f"{head}: {counts(results)}{_borrowed(parts)}\n{_next(stage)}", True


def run(stage: Stage, place: Path, only: Iterable[str] | None = None) -> list[ClauseResult]:
    """The clauses of a stage, or those of them that are named. The first failure is explained."""
    clauses = [c for c in clauses_of(stage.name) if only is None or c.name in set(only)]
    with _trial(stage, place) as trial:
        results = [_asked(trial, clause) for clause in clauses]
        explain(trial, results, 1)
    return results


def explain(trial: Trial, results: list[ClauseResult], most: int) -> None:
    """Look for the smallest call and the likely cause of so many failures, the plainest first."""
    failed = [i for i, r in enumerate(results) if r.status == FAILS]
    for number in sorted(failed, key=lambda i: _how_odd(results[i]))[:most]:
        results[number] = trial.explained(results[number])


def _asked(trial: Trial, clause: Clause) -> ClauseResult:
    """A clause; not asked where two calls have hung or crashed: each costs seconds."""
    if trial.runner.losses.total() >= 2:
        return ClauseResult(clause, NOT_ASKED)
    return trial.result(clause)


def held_by(stage: Stage, place: Path) -> list[str]:
    """The names of all clauses that the file of a stage holds as it is in `place`."""
    with _trial(stage, place) as trial:
        return [c.name for c in all_clauses() if trial.result(c).held]


@contextmanager
def _trial(stage: Stage, place: Path) -> Iterator[Trial]:
    """The functions of a stage's file before the table, in a process that reads the file anew."""
    source = tuple(f"{files.FOLDER}.{stage.module}:{name}" for name in stage.functions)
    sys.path.insert(0, str(place.parent))
    try:
        if stage.module == "cuda":
            compile_kernels((place / "kernels.cu").read_text(encoding="utf-8"))
        with _worker(source, stage) as worker:
            yield Trial(worker, source, RULES)
    finally:
        sys.path.remove(str(place.parent))
        extras.forget()


def compile_kernels(code: str) -> None:
    """Compile for float and for double at a time, before the clock of the first call runs."""

    def once(kind: str) -> None:
        with suppress(CompileError):  # it comes again, in a call, with its words
            device().RawModule(code=f"typedef {kind} T; {code}").compile()

    with ThreadPoolExecutor() as pool:
        list(pool.map(once, ("float", "double")))


def _worker(source: tuple[str, ...], stage: Stage) -> Worker:
    limit = limit_of(stage)
    try:
        return Worker(source, stage.arrays, limit, 2 * limit)  # the first call may import more
    except NotLoadable as error:
        raise StageFailed(f"my_bag could not be loaded. {error}") from None


def limit_of(stage: Stage) -> float:
    """Seconds that one call may take."""
    return LIMIT * (4 if stage.module == "cuda" else 1)


def _how_odd(result: ClauseResult) -> tuple[bool, bool]:
    """A failing call is better to read if it was made by hand, and is made once, as calls are."""
    assert result.failure is not None
    name, arguments = result.failure.case, result.failure.arguments
    is_random = any(case.shrinks for case in result.clause.cases if case.name == name)
    return is_random, bool({"layout", "protocol"} & set(arguments))


# -------------------------------------------------------------------------- how far one is


def _keep(stage: Stage, place: Path, results: list[ClauseResult]) -> None:
    """Write down how many clauses held when a stage was last checked."""
    held = checked(place) | {stage.name: sum(result.held for result in results)}
    with suppress(OSError):  # a folder that can't be written to can be checked
        (place / CHECKED).write_text(json.dumps(held, sort_keys=True) + "\n", encoding="utf-8")


def checked(place: Path | None) -> dict[str, int]:
    """For each stage how many clauses held when it was last checked."""
    try:
        kept = json.loads((place / CHECKED).read_text(encoding="utf-8")) if place else {}
        return {str(stage): int(number) for stage, number in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def rows(home: Path | None) -> Iterator[Row]:
    """For the table of progress: the clauses of each stage."""
    held = checked(home / files.FOLDER if home else None)
    for stage in STAGES:
        done, total = held.get(stage.name, 0), len(clauses_of(stage.name))
        next_ = "" if done == total else f"my_bag, stage {stage.name}: {stage.title}"
        (page,) = BOOK.glob(f"{stage.chapter}_*.ipynb")
        where = page.name if next_ else ""
        yield Row(stage.chapter, "clauses of my_bag", min(done, total), total, next_, where)


# -------------------------------------------------------------------------- in words


def counts(results: list[ClauseResult]) -> str:
    """How many clauses hold, fail, and wait, as a sentence."""
    held, failed = sum(r.held for r in results), sum(r.status == FAILS for r in results)
    if held == len(results):
        return f"all {len(results)} clauses hold."
    wrong = f", {failed} fail" + "s" * (failed == 1) if failed else ""
    left = len(results) - held - failed
    rest = f", {left} can't be asked yet" if left else ""
    return f"{held} of {len(results)} clauses hold{wrong}{rest}."


def _failure(result: ClauseResult, stage: Stage) -> str:
    return f'{in_full(result)}\n\nStuck? hint_my_bag("{stage.name}")'


def in_full(result: ClauseResult) -> str:
    """A failing clause: its rule, and its call below."""
    lines = [f"{result.clause.name}: {result.clause.rule}"]
    return "\n".join(lines + ["  " + line for line in str(result.failure).splitlines()])


def not_built(results: list[ClauseResult], stubs: list[str]) -> str:
    """What is not built: what clauses wait for, and the stage's parts that none waits for."""
    notes = [result.note for result in results]
    lines = [
        f"  {note} ({notes.count(note)} clause{'s wait' if notes.count(note) > 1 else ' waits'})"
        for note in dict.fromkeys(notes)
    ]
    waiting = " ".join(notes)
    return "\n".join(lines + [f"  {p}" for p in stubs if p.split(": ")[1] not in waiting])


def _borrowed(parts: dict[str, str]) -> str:
    taken = [name for name, kind in parts.items() if kind == "model"]
    return f"\nThe model's, not your own: {', '.join(taken)}." if taken else ""


def _next(stage: Stage) -> str:
    later = [each for each in STAGES if each.name > stage.name]
    if not later:
        return "Your EmbeddingBag is complete: loops, arrays, kernels and a torch module."
    return f"Next: stage {later[0].name} ({later[0].title}), in chapter {later[0].chapter}."
