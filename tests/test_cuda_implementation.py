"""The kernels against the whole conformance table, as the others are."""

import pytest

from embag_edu.check import check
from embag_edu.cuda_on_cpu import settings


@pytest.mark.parametrize(
    "chosen", [{"mode": "fast"}, {"mode": "checked"}, {"mode": "checked", "order": 2}], ids=str
)
def test_every_clause_holds(chosen):
    """Checked mode also says that no kernel races or leaves its arrays."""
    with settings(**chosen):
        report = check("cuda", raises=False, isolate=False)  # here, where the settings hold
    assert report.passed, str(report)
