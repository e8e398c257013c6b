"""What the clauses ask, as numbers that change with it: python tests/clauses.py --write"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from embag_edu.check import rounding
from embag_edu.check.clauses import VERSION, of_version

STORED = Path(__file__).with_name("clauses.json")


def digests():
    """For each version: a digest of each clause's calls, and of the tolerances."""
    bounds = [rounding.bound(dtype, 7, 3.0, 2.0) for dtype in rounding.UNITS]
    found = {"tolerances": digest([*bounds, rounding.of_rescaled("float32", 5)])}
    return {
        str(version): found | {c.name: digest(_calls(c)) for c in of_version(version)}
        for version in range(1, VERSION + 1)
    }


def digest(value):
    return hashlib.sha256(_text(value).encode()).hexdigest()[:8]


def _calls(clause):
    return [clause.part, *(case.make() for case in clause.cases)]


def _text(value):
    if isinstance(value, dict):
        return _text(sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    return repr(value)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    STORED.write_text(json.dumps(digests(), indent=1) + "\n", encoding="utf-8")
