"""Implementations that nobody here wrote, each with its promise and its expected failures."""

from pathlib import Path

import pytest

from embag_edu.check.command import main

FOLDER = Path(__file__).with_name("backends")
QUICK = {"scipy": "scipy", "fbgemm": "fbgemm_gpu", "torchrec": "torchrec"}
COMPILES = {"jax": "jax", "torch_compile": "torch"}  # minutes
SLOW = [pytest.param(*row, marks=pytest.mark.adversary) for row in COMPILES.items()]


@pytest.mark.parametrize("name, package", [*QUICK.items(), *SLOW])
def test_what_a_backend_promises_holds_but_for_what_is_expected(name, package, monkeypatch, capfd):
    pytest.importorskip(package)
    monkeypatch.syspath_prepend(FOLDER)
    status = main(["--config", str(FOLDER / f"on_{name}.toml")])
    assert status == 0, capfd.readouterr().out


def test_every_backend_is_tried():
    assert {path.stem for path in FOLDER.glob("on_*.py")} == {
        f"on_{name}" for name in (*QUICK, *COMPILES)
    }
