"""Which clauses a stage makes reachable: those that its model is the first to hold.

python -m embag_edu.chapters.my_bag.grouping    asks the models, and writes clauses.json
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

from embag_edu.chapters.my_bag import files
from embag_edu.chapters.my_bag.checking import GROUPS, held_by
from embag_edu.chapters.my_bag.stages import STAGES


def groups() -> dict[str, list[str]]:
    """The clauses of each stage, in the order of the table."""
    found: dict[str, list[str]] = {}
    for stage in STAGES:
        earlier = [s.name for s in STAGES if s.module == stage.module and s.name < stage.name]
        first = int(files.first_stage(f"{stage.module}.py"))
        before = earlier[-1] if earlier else f"{first - 1:02d}"
        held = _held(stage.module, before, stage.replaces)
        found[stage.name] = [n for n in _held(stage.module, stage.name) if n not in held]
    return found


@functools.cache
def _held(module: str, done: str, without: str = "") -> list[str]:
    """The clauses that a file of the model holds when the stage `done` is done."""
    with tempfile.TemporaryDirectory() as place:
        files.write_model(Path(place) / files.FOLDER, done, without=without)
        stage = next(s for s in STAGES if s.module == module)
        return held_by(stage, Path(place) / files.FOLDER)


if __name__ == "__main__":
    GROUPS.write_text(json.dumps(groups(), indent=1) + "\n", encoding="utf-8")
