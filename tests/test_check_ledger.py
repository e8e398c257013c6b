"""Every entry of the ledger is shown by the installed torch, or this says that it was mended."""

import pytest
import torch

from embag_edu.check.clauses import all_clauses
from embag_edu.check.ledger import LEDGER, PEERS, PROBED, describe, notice, still_shown


@pytest.fixture(scope="module")
def shown():
    return dict(zip((e.name for e in LEDGER), still_shown(LEDGER), strict=True))


@pytest.mark.parametrize("entry", LEDGER, ids=lambda entry: entry.name)
def test_the_installed_torch_still_shows_it(entry, shown):
    if shown[entry.name] is None:
        pytest.skip(f"needs a {entry.device} device")
    if torch.__version__.startswith(PROBED):
        assert shown[entry.name] == (entry.versions == PROBED)  # others: mended before this torch
    elif torch.__version__.startswith(entry.versions):
        assert shown[entry.name], "not shown by the torch it was seen on"
    elif not shown[entry.name]:
        pytest.skip(f"mended in torch {torch.__version__}: say so in the entry")


@pytest.fixture(scope="module")
def shown_by_peers():
    pytest.importorskip("fbgemm_gpu", reason="needs pip install fbgemm-gpu-cpu")
    return dict(zip((e.name for e in PEERS), still_shown(PEERS), strict=True))


@pytest.mark.parametrize("entry", PEERS, ids=lambda entry: entry.name)
def test_the_installed_peer_still_shows_it(entry, shown_by_peers):
    assert shown_by_peers[entry.name], "mended: say so in the entry"


def test_entries_are_complete():
    names = {clause.name for clause in all_clauses()}
    everything = (*LEDGER, *PEERS)
    assert len({entry.name for entry in everything}) == len(everything)
    for entry in everything:
        assert set(entry.clauses) <= names, entry.name
        assert entry.says and entry.instead and entry.issue and "shown" in entry.repro


def test_a_broken_program_is_an_error_not_an_answer():
    from dataclasses import replace

    with pytest.raises(RuntimeError, match="did not run to its end"):
        still_shown([replace(LEDGER[0], repro="shown = no_such_name")])


def test_a_mended_entry_is_told():
    from dataclasses import replace

    mended = replace(LEDGER[0], repro="shown = False")
    assert still_shown([mended]) == [False]
    assert "MENDED" in describe(mended, False)


def test_a_notice_is_printed_only_where_torch_does_something_else(capsys):
    notice(True)
    assert capsys.readouterr().out == ""
    notice(False)
    assert capsys.readouterr().out.startswith(f"torch {torch.__version__} does not do this")
