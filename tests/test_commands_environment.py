"""The environment report: it tells versions, nothing private, and survives a broken machine."""

import getpass
import platform
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from embag_edu import __version__, environment


def facts(text):
    return dict(re.split(r"\s+", line, maxsplit=1) for line in text.splitlines())


def test_it_tells_what_a_bug_report_needs():
    told = facts(environment.report())
    assert list(told) == [
        *("embag_edu", "Python", "system", "processors", "numpy", "torch", "matplotlib"),
        *("jupyterlab", "ipywidgets", "ml_dtypes", "compiler", "cupy", "GPU"),
    ]
    assert told["embag_edu"] == __version__
    assert told["Python"].startswith(platform.python_version())
    assert told["numpy"] == metadata.version("numpy")
    assert int(told["processors"].split(",")[0]) >= 1


def test_it_tells_nothing_private():
    text = environment.report()
    assert "/home" not in text and "\\" not in text and str(Path.home()) not in text
    assert not re.search(r"(^|\s)/\w", text)
    for private in (getpass.getuser(), socket.gethostname()):
        assert len(private) < 3 or not re.search(rf"\b{re.escape(private)}\b", text)


def test_missing_packages_and_broken_drivers_are_told(monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    def broken():
        raise OSError("/usr/lib/libcuda.so: no such driver")

    monkeypatch.setattr(environment.metadata, "version", missing)
    monkeypatch.setattr(environment, "_gpus_of_cupy", broken)
    monkeypatch.setattr(environment, "_gpus_of_torch", lambda: "")
    told = facts(environment.report())
    assert told["torch"] == "not installed" and told["cupy"].startswith("not installed")
    assert told["GPU"].startswith("none that can be used")


def test_gpus_are_told_by_who_sees_them(monkeypatch):
    monkeypatch.setattr(environment, "_gpus_of_cupy", lambda: "Big GPU, Big GPU")
    monkeypatch.setattr(environment, "_gpus_of_torch", lambda: "")
    assert facts(environment.report())["GPU"] == "Big GPU, Big GPU (seen by CuPy)"


@pytest.mark.parametrize(
    ("system", "said"), [("Darwin", "macOS"), ("Windows", "Windows"), ("Plan9", "Plan9")]
)
def test_other_systems(monkeypatch, system, said):
    monkeypatch.setattr(platform, "system", lambda: system)
    assert environment._system().startswith(said)


def test_it_can_be_called_without_torch():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['cupy'] = None\n"
        "from embag_edu import environment; print(environment.report())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "none that can be used" in done.stdout
