"""Beyond torch's operator: fused optimizers, many tables, short rows, a table on many machines.

fused.py and fused_*.py    optimizers that step in the backward (chapter 14)
tables.py and tables_*.py  many tables in one call (chapter 15)
rows.py and rows_*.py      tables in 16, 8 and 4 bits, and bags over them (chapter 16)
sharded/                   a table over many processes (chapter 17)
"""

from __future__ import annotations

import importlib
from typing import Any

# Public names, and the file of each: torch and CuPy are imported by those that need them.
NAMES = {
    "SGD": "embag_edu.beyond.fused",
    "Adagrad": "embag_edu.beyond.fused",
    "RowWiseAdagrad": "embag_edu.beyond.fused",
    "Adam": "embag_edu.beyond.fused",
    "State": "embag_edu.beyond.fused",
    "fused_step": "embag_edu.beyond.fused_api",
    "FusedEmbeddingBag": "embag_edu.beyond.fused_module",
    "dense_parameters": "embag_edu.beyond.fused_module",
    "Table": "embag_edu.beyond.tables",
    "Tables": "embag_edu.beyond.tables_api",
    "Jagged": "embag_edu.beyond.tables",
    "EmbeddingBags": "embag_edu.beyond.tables_module",
    "Rows": "embag_edu.beyond.rows",
    "pack": "embag_edu.beyond.rows",
    "unpack": "embag_edu.beyond.rows",
    "stochastic_round": "embag_edu.beyond.rows_training",
    "sgd_step": "embag_edu.beyond.rows_training",
    "ShardedEmbeddingBag": "embag_edu.beyond.sharded.module",
    "Wire": "embag_edu.beyond.sharded.wire",
    "PeerError": "embag_edu.beyond.sharded.wire",
}


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(NAMES)
