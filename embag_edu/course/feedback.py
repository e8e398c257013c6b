"""One page a student: `python -m embag_edu course feedback MARKS.csv... OUT [--by-hand TABLE]`.

A page says what holds; for what failed, what `check` tells of it (the smallest call that shows it,
and the likely cause), and a hint; for an answer that a person marked, the words and the comment. It
is one file without scripts, which loads nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path

from embag_edu.course import own
from embag_edu.course.by_hand import Full, gathered
from embag_edu.course.exercise import Exercise, UnknownExercise, find
from embag_edu.course.hand_ins import folder_name
from embag_edu.course.marks import HINT, clean, total

CAUSES = ("Likely cause:", "Perhaps:")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{student}: {points} of {out_of} points</title>
<style>
body {{ font: 1rem/1.5 sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ background: #f3f3f3; color: #111; padding: .7rem; white-space: pre-wrap }}
blockquote {{ border-left: .2rem solid #767676; margin-left: 0; padding-left: 1rem }}
</style></head><body><main>
<h1>{student}</h1>
<p>{points} of {out_of} points{unread}.</p>
{body}
</main></body></html>
"""


def page(student: str, own: Sequence[Full], out_of: int) -> str:
    """The page of one student, from all of their marks. out_of: the points that there are."""
    given = [full.mark for full in own]
    unread = sum(mark.out_of for mark in given if mark.points is None)
    return PAGE.format(
        student=escape(clean(student)),
        points=total(mark.points for mark in given),
        out_of=out_of,
        unread=f"; answers for {unread} points are still to be read" if unread else "",
        body="\n".join(_section(full) for full in own),
    )


def _section(full: Full) -> str:
    mark = full.mark
    if mark.missing:
        return f"<h2>{escape(mark.notebook) or 'Notebook'}</h2>\n<p>{escape(mark.remark)}</p>"
    asked = list(filter(None, map(_known, mark.exercise.split("+"))))
    title = "; ".join(exercise.title for exercise in asked)
    points = "to be read" if mark.points is None else f"{mark.points} of {mark.out_of}"
    head = f"{mark.exercise}{': ' * bool(title)}{title} ({points})"
    lines = [f"<h2>{escape(head)}</h2>"]
    if mark.points == mark.out_of and (asked or not mark.remark):
        shown = " ".join(exercise.unproved for exercise in asked)
        lines.append(f"<p>Right. {'Not shown by this: ' * bool(shown)}{escape(shown)}</p>")
    elif not mark.told:
        lines += [f"<p>{escape(mark.remark)}</p>"] if mark.remark else []
    else:
        lines += _failed(full)
    if full.words:
        lines.append(f"<p>You wrote:</p>\n<blockquote>{escape(full.words)}</blockquote>")
    if full.comment:
        lines.append(f"<p>Comment: {escape(full.comment)}</p>")
    return "\n".join(lines)


def _failed(full: Full) -> list[str]:
    """What was told: the call as it stands, a cause and a hint as sentences."""
    head, *parts = full.mark.told.split("\n\n")
    lines = [f"<p>{escape(head or full.mark.remark)}</p>"]
    for part in parts:
        if part.startswith(CAUSES):
            lines.append(f"<p><strong>{escape(part)}</strong></p>")
        elif part.startswith(HINT):
            lines.append(f"<p>{escape(part)}</p>")
        else:
            lines.append(f"<pre>{escape(part)}</pre>" if "\n" in part else f"<p>{escape(part)}</p>")
    return lines


def _known(name: str) -> Exercise | None:
    try:
        return find(name)
    except UnknownExercise:
        return None  # the id of an answer that a person marks


def write(found: Sequence[Full], out: Path) -> list[Path]:
    """The pages of all students, in a new folder."""
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    out_of = sum({full.mark.exercise: full.mark.out_of for full in found}.values())
    for student in dict.fromkeys(full.mark.student for full in found):
        name, taken = folder_name(student), {path.stem.casefold() for path in paths}
        name = f"{name} ({len(paths)})" if name.casefold() in taken else name
        paths.append(out / f"{name}.html")
        own = [full for full in found if full.mark.student == student]
        paths[-1].write_text(page(student, own, out_of), encoding="utf-8")
    return paths


def main(argv: list[str]) -> int:
    """`feedback MARKS.csv... OUT [--by-hand TABLE]`."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu course feedback")
    parser.add_argument("marks", nargs="+", help="tables that `grade --csv` wrote")
    parser.add_argument("out", type=Path, help="a new folder: one page a student")
    parser.add_argument("--by-hand", help="the table of `by-hand`, filled in")
    own.add_option(parser)
    options = parser.parse_args(argv)
    try:
        paths = write(gathered(options.marks, options.by_hand), options.out)
    except (OSError, ValueError) as error:
        print(f"Not written. {clean(str(error))}")
        return 2
    print(f"{len(paths)} pages in {options.out}")
    return 0
