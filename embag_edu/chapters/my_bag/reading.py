"""What the reader calls beside the check: files to begin with, hints, and how far one is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from embag_edu.chapters.my_bag import files
from embag_edu.chapters.my_bag.checking import StageFailed, folder, own_parts, told
from embag_edu.chapters.my_bag.stages import STAGES, Stage, UnknownStage, find
from embag_edu.course import workbook
from embag_edu.course.progress import link, show
from embag_edu.text import aligned

_given: dict[str, int] = {}  # how many hints of a stage this process has shown
STATES = {
    "stub": "not started",
    "own": "written",
    "model": "the model's",
}


def start_my_bag(stage: str) -> None:
    """Write the files that a stage needs and that are not there yet, and say what to write.

    Files are only written in the reader's working copy, never in the book itself.
    """
    name = find(stage).name
    if workbook.folder() is None:
        print("Your files are made in your own copy of the book: python run.py book opens it.")
        return
    made = files.start(folder(), name)
    if made:
        print(f"Made in {files.FOLDER}/: {', '.join(made)}.")
    print(_waiting(find(stage), folder()))
    _show_the_way(find(stage), folder())


def _show_the_way(stage: Stage, place: Path) -> None:
    """What to do now, with links to the files in a notebook; nothing where all is written."""
    names = list(dict.fromkeys(stub.partition(": ")[0] for stub in _stubs(stage, place)))
    if not names:
        return
    lines = [
        "`// your code here`" if n.endswith(".cu") else "`raise NotSupported(...)`" for n in names
    ]
    then = (
        f"write your code in the place of each line {' and '.join(lines)}, save the file "
        "(Ctrl+S, on a Mac Cmd+S), and run the check."
    )
    plain = " and ".join(f"{files.FOLDER}/{name}" for name in names)
    linked = " and ".join(f"[{files.FOLDER}/{name}]({link(place / name)})" for name in names)
    show(f"Open {plain}, {then}", f"Open {linked}, {then}")


def _stubs(stage: Stage, place: Path) -> list[str]:
    return [name for name, kind in own_parts(stage, place).items() if kind == "stub"]


def _waiting(stage: Stage, place: Path) -> str:
    stubs = _stubs(stage, place)
    if not stubs:
        return f"All parts of stage {stage.name} are written."
    return "\n".join(["These wait for your code:", *(f"  {files.FOLDER}/{n}" for n in stubs)])


def hint_my_bag(stage: str, number: int | None = None) -> None:
    """Print the next hint for a stage, or hint `number` (1, 2 or 3)."""
    asked = find(stage)
    number = min(_given.get(asked.name, 0) + 1, 3) if number is None else number
    if number not in (1, 2, 3):
        raise ValueError(f"number is {number!r}; the hints of a stage are 1 to 3")
    _given[asked.name] = max(number, _given.get(asked.name, 0))
    print(f"my_bag, stage {asked.name}, hint {number} of 3: {asked.hints[number - 1]}")


# -------------------------------------------------------------------------- the command


def main(words: list[str]) -> int:
    """python -m embag_edu my_bag. Exit status: 0; 1 a stage fails; 2 the call was wrong."""
    given = _parse(words)
    place = Path(given.folder) / files.FOLDER if given.folder else folder()
    try:
        if given.check:
            print(told(find(given.check), place))
        elif given.begin:
            print(_taken(place, find(given.begin), given.all))
        else:
            print(overview(place))
    except StageFailed as failed:
        print(failed)
        return 1
    except (UnknownStage, files.NotReadable) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m embag_edu my_bag",
        description="Your own EmbeddingBag: the stages, and how far you are.",
    )
    parser.add_argument("--check", metavar="STAGE", help="check a stage, such as 01")
    parser.add_argument(
        "--from", dest="begin", metavar="STAGE",
        help="begin with a stage: what is not written of those before is taken from the model",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="with --from: your own parts, too")
    parser.add_argument("--folder", help=f"where {files.FOLDER} lies, or is to lie")
    return parser.parse_args(words)


def _taken(place: Path, stage: Stage, everything: bool) -> str:
    """Begin with a stage, and say what was done."""
    taken, copy = files.fill(place, stage.name, everything)
    lines = [f"Stage {stage.name} ({stage.title}) can begin, in {place}."]
    if taken:
        lines.append(f"Taken from the model, and marked as not your own: {len(taken)} parts.")
    if copy is not None:
        lines.append(f"What was there before is kept in {copy}.")
    return "\n".join([*lines, _waiting(stage, place)])


def overview(place: Path) -> str:
    """The stages, and what of each is written."""
    rows = [("stage", "minutes", "what", "parts")]
    for stage in STAGES:
        rows.append((stage.name, str(stage.minutes), stage.title, _state(stage, place)))
    where = f"Your files: {place}" if place.exists() else f"Not started: {place} is not there yet."
    return f"{where}\n\n{aligned(rows, '<><')}"


def _state(stage: Stage, place: Path) -> str:
    try:
        kinds = list(own_parts(stage, place).values())
    except files.NotReadable as error:
        return f"can't be read: {error}"
    counts = {word: kinds.count(kind) for kind, word in STATES.items()}
    told = [f"{number} {word}" for word, number in counts.items() if number]
    return ", ".join(told) if set(kinds) - {"stub"} else "not started"
