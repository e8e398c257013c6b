"""Run notebooks from the top and store their outputs: python .ci/execute.py [NOTEBOOK ...]

Without names: all chapters and solutions. What changes with every run is left out: times, the ids
of controls, the version of the kernel. The readers' copies of the exercises are made again after.
In how many minutes a notebook ran is kept in its metadata (see embag_edu/course/minutes.py).
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from embag_edu.course import notebooks

BOOK = Path(__file__).resolve().parents[1] / "book"
CONTROL = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> None:
    """Run one notebook in place; raises at the first cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        timeout=600,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    begin = time.monotonic()
    client.execute()
    running = round((time.monotonic() - begin) / 60)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["embag_edu"] = {"running_minutes": running}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(CONTROL, None)
    nbformat.write(notebook, path)


def main(names: list[str]) -> None:
    """Execute the named notebooks, or all."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    every = sorted([*BOOK.glob("[0-9]*.ipynb"), *BOOK.glob("solutions/*.ipynb")])
    for path in [Path(name).resolve() for name in names] or every:
        print(path.name, flush=True)
        execute(path)
    notebooks.release(BOOK)


if __name__ == "__main__":
    main(sys.argv[1:])
