"""The conformance check: point it at any EmbeddingBag.

>>> from embag_edu.check import check  # doctest: +SKIP
>>> check(my_embedding_bag, "forward.sum")  # doctest: +SKIP
"""

from embag_edu.check.candidate import NotSupported
from embag_edu.check.checker import check, replay
from embag_edu.check.clauses import all_clauses
from embag_edu.check.data import check_answers, export_cases
from embag_edu.check.ledger import LEDGER
from embag_edu.check.report import CheckFailed, Report

__all__ = [
    "LEDGER",
    "CheckFailed",
    "NotSupported",
    "Report",
    "all_clauses",
    "check",
    "check_answers",
    "export_cases",
    "replay",
]
