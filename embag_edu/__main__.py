"""The commands: `python -m embag_edu COMMAND`; where the package is installed, `embag-edu COMMAND`.

Each command is a function in a room of its own: main(words) does it and returns the exit status.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from embag_edu.text import aligned

COMMANDS = {  # name: (what it does, where it is done, what it needs: embag_edu[...])
    "check": ("hold an EmbeddingBag against the conformance table",
              "embag_edu.check.command:main", "check"),
    "transforms": ("derivatives, vmap, compile, export, pickle of torch's module and of ours",
                   "embag_edu.check.transforms:main", "check"),
    "ledger": ("where torch departs from its documentation, or from itself",
               "embag_edu.check.ledger:main", "check"),
    "bench": ("measure the arrays beside torch, and what bytes allow",
              "embag_edu.bench.command:main", "book"),
    "train": ("train a classifier on the real reviews, with torch's EmbeddingBag or any of ours",
              "embag_edu.train.command:main", "check"),
    "gpu": ("try everything on this machine's NVIDIA GPU, and write what was found",
            "embag_edu.gpu.command:main", "book"),
    "cache": ("show how much the compiled kernels take, or remove them",
              "embag_edu.cuda_on_cpu.cache:main", "book"),
    "report": ("this machine and its packages, to paste into a bug report",
               "embag_edu.environment:main", "book"),
    "book": ("make or renew your own copy of the book, and print its folder",
             "embag_edu.course.workbook:main", "book"),
    "progress": ("how far you are: exercises passed, and what comes next",
                 "embag_edu.course.progress:main", "book"),
    "my_bag": ("your own EmbeddingBag: its stages, and how far you are",
               "embag_edu.chapters.my_bag.reading:main", "book"),
    "exercises": ("make the readers' copies of the exercises from their solutions",
                  "embag_edu.course.notebooks:main", "book"),
    "minutes": ("how long each chapter takes to read, and its exercises to do, by one rule",
                "embag_edu.course.minutes:main", "book"),
    "web": ("build the book as web pages, in the folder site, and serve it on this machine",
            "embag_edu.web.build:main", "web"),
    "course": ("for instructors: marks, and what else a course needs",
               "embag_edu.course.command:main", "book"),
    "grade": ("marks for notebooks that were handed in: the same as `course grade`",
              "embag_edu.course.grading:main", "book"),
}  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Do what the first of the words says (by default the command line's); the exit status."""
    if words is None:
        return _of_the_command_line()
    if not words or words[0] not in COMMANDS:
        listed = aligned((f"  {name}", does) for name, (does, _, _) in COMMANDS.items())
        print(f"python -m embag_edu COMMAND ...   (COMMAND --help says more)\n\n{listed}")
        return 0 if words in (["-h"], ["--help"]) else 2
    _, place, extra = COMMANDS[words[0]]
    try:
        given: dict[str, Any] = {"draw": _draw} if words[0] == "bench" else {}
        if words[0] in ("train", "check"):
            _find_the_readers_files()
        return int(resolve_name(place)(words[1:], **given))
    except ImportError as error:
        print(f"This command needs the package {error.name}: pip install 'embag_edu[{extra}]'")
        return 2


def _find_the_readers_files() -> None:
    """A module of the reader's own, such as my_bag, is found here and in the copy of the book."""
    copy = resolve_name("embag_edu.course.workbook:folder")() or Path("my_book")
    sys.path += [os.getcwd(), str(copy.resolve())]


def _draw(*arguments: Any) -> None:
    """The bench, a room of the library, knows no pictures: it is handed those of chapter 06."""
    resolve_name("embag_edu.chapters.ch06.figures:draw_bench")(*arguments)


def _of_the_command_line() -> int:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
