"""`python -m embag_edu course COMMAND ...`: what an instructor does, one command for each step."""

from __future__ import annotations

import sys
from pkgutil import resolve_name

from embag_edu.text import aligned

COMMANDS = {  # name: (what it does, where it is done)
    "list": ("the assignments: points, minutes, and what each teaches",
             "embag_edu.course.assignments:main"),
    "guide": ("the wrong answers to each exercise, and what they show, as a page",
              "embag_edu.course.guide:main"),
    "validate": ("try a file of your own exercises, hidden cases and points",
                 "embag_edu.course.validate:main"),
    "release": ("a folder or zip file for students", "embag_edu.course.release:main"),
    "collect": ("from downloads to one folder a student", "embag_edu.course.collect:main"),
    "grade": ("marks for notebooks that were handed in", "embag_edu.course.grading:main"),
    "by-hand": ("a table of the answers that a person reads", "embag_edu.course.by_hand:main"),
    "feedback": ("one page for each student", "embag_edu.course.feedback:main"),
    "export": ("tables of marks: students, questions, for Canvas, for Moodle",
               "embag_edu.course.export:main"),
    "similar": ("answers that are alike, with the places: a hint", "embag_edu.course.similar:main"),
}  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Do what the first of the words says; the exit status."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] not in COMMANDS:
        listed = aligned((f"  {name}", does) for name, (does, _) in COMMANDS.items())
        print(f"python -m embag_edu course COMMAND ...   (COMMAND --help says more)\n\n{listed}")
        return 0 if words in (["-h"], ["--help"]) else 2
    return int(resolve_name(COMMANDS[words[0]][1])(words[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
