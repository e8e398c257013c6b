"""The kernels against the whole conformance table, as the others are."""

import pytest

from embag_edu.check import check
from embag_edu.cuda_on_cpu import settings

WAYS = {
    "checked": {"mode": "checked"},
    "fast": {"mode": "fast"},
    "another order": {"mode": "checked", "order": 2},
}


def holds(way, only=None):
    with settings(**WAYS[way]):
        report = check("cuda", only, raises=False, isolate=False)  # here, where the settings hold
    assert report.passed, str(report)


# Fast kernels of the whole table take a minute to compile, and run the same lines.
@pytest.mark.parametrize(
    "way", [pytest.param(w, marks=[pytest.mark.adversary] if w != "checked" else []) for w in WAYS]
)
def test_every_clause_holds(way):
    """Checked mode also says that no kernel races or leaves its arrays."""
    holds(way)


@pytest.mark.parametrize("way", ["fast", "another order"])
@pytest.mark.parametrize("group", ["max_norm", "backward.max"])
def test_clauses_of_kernels_that_share(way, group):
    """Those whose threads claim rows and hand over winners: an order may show."""
    holds(way, group)
