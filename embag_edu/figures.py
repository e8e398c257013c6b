"""`python -m embag_edu.figures [FOLDER]`: draw again the pictures that are kept as files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from embag_edu.chapters import style  # first: it says what to do where matplotlib is missing
from embag_edu.chapters.ch01.figures import readme_picture

IMAGES = Path(__file__).parents[1] / "book" / "images"
Draw = Callable[[], style.Picture]
PICTURES: dict[str, Draw] = {"bag.svg": readme_picture}  # file name -> what draws it


def main(argv: list[str] | None = None) -> int:
    """Write every picture of PICTURES into FOLDER (book/images of this repository by default)."""
    argv = sys.argv[1:] if argv is None else argv
    folder = Path(argv[0]) if argv else IMAGES
    if not folder.is_dir():
        print(f"There is no folder {folder}. Name an existing one: python -m embag_edu.figures .")
        return 1
    for name, draw in PICTURES.items():
        print(draw().save(folder / name))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
