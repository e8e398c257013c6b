"""The section "Your turn: my_bag" at the end of a chapter, made from what stages.py says.

python -m embag_edu.chapters.my_bag.pages    writes it into the notebooks of the book

Its cells are the last ones with code before the chapter's summary. In the book itself nobody has
begun, and so their outputs are known: the notebooks need not be run for them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embag_edu.chapters.my_bag.stages import STAGES, Stage
from embag_edu.course.notebooks import BOOK, read, source

CLOSING = ("end", "summary", "close")  # the cell that follows, by its id
MADE = "Your files are made in your own copy of the book: python run.py book opens it.\n"


def page_of(stage: Stage) -> Path:
    """The notebook that a stage closes."""
    (page,) = BOOK.glob(f"{stage.chapter}_*.ipynb")
    return page


def section(stage: Stage) -> list[dict[str, Any]]:
    """The cells of a stage: what to build, files to begin with, help, the check."""
    name = stage.name
    begin = "from embag_edu.chapters.my_bag import check_my_bag, hint_my_bag, start_my_bag\n\n"
    none = f'my_bag, stage {name} ({stage.title}): not started. start_my_bag("{name}")'
    return [
        _text("capstone", f"## Your turn: my_bag, stage {name}\n\n{stage.task}\n\n"
              f"**{stage.minutes} minutes.** First, the files and what waits in them."),
        _code("capstone-start", f'{begin}start_my_bag("{name}")', MADE),
        _text("capstone-hints", f'Write, save, and run the check below. `hint_my_bag("{name}")` '
              "gives the next of three hints."),
        _code("capstone-check", f'check_my_bag("{name}")', f"{none} makes its files.\n"),
    ]  # fmt: skip


def _text(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": _lines(text)}


def _code(name: str, text: str, printed: str) -> dict[str, Any]:
    output = {"name": "stdout", "output_type": "stream", "text": _lines(printed)}
    return {
        "cell_type": "code", "execution_count": None, "id": name, "metadata": {},
        "outputs": [output], "source": _lines(text),
    }  # fmt: skip


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def with_section(notebook: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """The notebook with the section as it should be."""
    cells = [c for c in notebook["cells"] if not c["id"].startswith("capstone")]
    at = next(i for i, cell in enumerate(cells) if cell["id"] in CLOSING)
    cells[at:at] = section(stage)
    count = 0
    for cell in cells:
        if cell["cell_type"] == "code" and source(cell).strip():
            count += 1
            if cell["id"].startswith("capstone"):
                cell["execution_count"] = count
    return notebook | {"cells": cells}


if __name__ == "__main__":
    for each in STAGES:
        path = page_of(each)
        text = json.dumps(with_section(read(path), each), indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
