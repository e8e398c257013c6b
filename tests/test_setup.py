"""The set-up: run.py, the lists of packages, and what importing the package brings in.

Nothing is installed here and nothing is fetched: pip is replaced by a fake.
"""

import ast
import fnmatch
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OFFLINE = (
    "WARNING: Retrying (Retry(total=0, ...)) after connection broken by 'NewConnectionError("
    "'<HTTPSConnection object>: Failed to establish a new connection')': /simple/setuptools/\n"
    "ERROR: Could not find a version that satisfies the requirement setuptools>=77\n"
    "ERROR: No matching distribution found for setuptools>=77\n"
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run.py as a module, at work in a project of its own whose pip is a fake that succeeds."""
    spec = importlib.util.spec_from_file_location("run_under_test", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "STAMP": tmp_path / ".venv" / "embag_edu_stamp.txt",
        "LOG": tmp_path / ".venv" / "embag_edu_setup.log",
    }.items():
        monkeypatch.setattr(module, name, path)
    monkeypatch.delenv("EMBAG_BOOK", raising=False)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text(f"# {name}\n", encoding="utf-8")
    (tmp_path / "book").mkdir()
    module.installs = []
    module.result = (0, "")

    def pip_install(words):
        module.installs.append(words)
        return module.result

    def make_venv(command, **_):
        python = module.venv_python()
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module, "pip_install", pip_install)
    monkeypatch.setattr(module, "nvidia_smi", lambda: "")
    monkeypatch.setattr(module.subprocess, "run", make_venv)
    return module


# ---- The Python that starts run.py ----


def test_old_pythons_can_read_run_py():
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize(
    ("version", "word"), [((3, 8), "too old"), ((3, 10), "too old"), ((3, 15), "newer")]
)
def test_other_pythons_are_told_in_one_line(run, monkeypatch, capsys, version, word):
    check = run.check_python
    monkeypatch.setattr(run, "check_python", lambda: check(version))
    assert run.main(["book"]) == 1
    message = capsys.readouterr().out
    assert word in message and "3.11" in message and message.count("\n") == 1
    assert not run.VENV.exists()


def test_the_pythons_of_run_py_are_those_of_pyproject(run):
    newest = ".".join(map(str, (run.NEWEST[0], run.NEWEST[1] + 1)))
    oldest = ".".join(map(str, run.OLDEST))
    assert PROJECT["project"]["requires-python"] == f">={oldest},<{newest}"
    run.check_python(run.OLDEST)
    run.check_python(run.NEWEST)


def test_a_python_without_ensurepip_is_told_what_to_install(run):
    with pytest.raises(run.Stop, match=r"apt install python3\.\d+-venv"):
        run.check_venv_module(find=lambda name: None if name == "ensurepip" else "found")


# ---- The environment: new, ready, changed, broken off ----


def test_the_first_start_makes_it_and_the_second_does_nothing(run):
    run.set_up()
    assert run.installs[0] == ["-c", "constraints.txt", "-e", ".[test]"]
    assert run.read_stamp() == run.wanted_stamp()
    run.installs.clear()
    run.set_up()
    assert run.installs == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_packages_installs_again_into_the_same_environment(run, name, capsys):
    run.set_up()
    kept = run.VENV / "kept"
    kept.touch()
    run.installs.clear()
    (run.ROOT / name).write_text("# changed\n", encoding="utf-8")
    run.set_up()
    assert run.installs and kept.exists()
    assert "has changed" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["KeyboardInterrupt", "no python", "other python", "no network"])
def test_a_set_up_that_did_not_finish_starts_again_from_nothing(run, monkeypatch, how):
    if how == "KeyboardInterrupt":
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(run, "install_cupy", Mock(side_effect=KeyboardInterrupt))
            run.set_up()
        assert run.read_stamp() == run.UNFINISHED
    elif how == "no network":
        run.result = (1, OFFLINE)
        assert run.main(["book"]) == 1
        assert run.read_stamp() == run.UNFINISHED
        run.result = (0, "")
    else:
        run.set_up()
        if how == "no python":
            run.venv_python().unlink()
        else:
            run.STAMP.write_text("python3.9 " + "0" * 64, encoding="utf-8")
    half_made = run.VENV / "half made"
    half_made.touch()
    run.set_up()
    assert not half_made.exists()
    assert run.read_stamp() == run.wanted_stamp()


def test_an_environment_of_the_readers_own_is_put_aside_not_removed(run, capsys):
    run.VENV.mkdir()
    (run.VENV / "precious").touch()
    run.set_up()
    assert not (run.VENV / "precious").exists()
    assert len(list(run.ROOT.glob(".venv-*/precious"))) == 1
    assert "kept as .venv-" in capsys.readouterr().out


def test_python_that_cannot_make_an_environment_gives_its_reason(run, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "a traceback\nError: no space\n")
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(run.Stop, match="Error: no space$"):
        run.set_up()


# ---- What pip says, and what the reader is told ----


def test_no_network_gives_one_line_and_no_traceback(run, capsys):
    run.result = (1, OFFLINE)
    assert run.main(["book"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("No network: pip could not reach the package index.")
    assert "run this again" in lines[-1]
    assert not any("Retry" in line or "Traceback" in line for line in lines)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "no build of torch==2.13.0 for Python 3",
        ),
        ("WARNING: what?\nERROR: something else\n", "pip failed: ERROR: something else."),
        ("", "pip failed: it gave no reason."),
    ],
)
def test_other_failures_of_pip(run, log, told):
    assert told in run.explain(log)
    assert "\n" not in run.explain(log)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("  Downloading torch-2.13.0-cp313-cp313-win_amd64.whl (122.5 MB)", "torch (122.5 MB)"),
        ("Downloading nvidia_x-1.2.whl (1.1 GB)", "nvidia_x (1.1 GB)"),
        ("Downloading six-1.17.0-py2.py3-none-any.whl (11 kB)", ""),
        ("Collecting nvidia-cublas==13 (from torch)", "EMBAG_TORCH_INDEX"),
        ("Installing collected packages: a, b, c", "installing 3 packages"),
        ("Requirement already satisfied: numpy", ""),
    ],
)
def test_progress_says_what_takes_long(run, capsys, line, told):
    run.progress(line + "\n")
    said = capsys.readouterr().out
    assert told in said if told else said == ""


def test_torch_can_come_from_another_index(run, monkeypatch):
    monkeypatch.setenv("EMBAG_TORCH_INDEX", "file:///wheels")
    run.install_project()
    assert run.installs[0][:2] == ["--extra-index-url", "file:///wheels"]


# ---- CuPy ----


@pytest.mark.parametrize(
    ("system", "driver", "package"),
    [
        ("linux", "| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4  |", "12x"),
        ("win32", "| NVIDIA-SMI 580.65   Driver Version: 580.65   CUDA Version: 13.0  |", "13x"),
        ("linux", "| NVIDIA-SMI 999.0    Driver Version: 999.0    CUDA Version: 14.1  |", "13x"),
        ("linux", "NVIDIA-SMI has failed because it couldn't communicate with the driver.", "13x"),
        ("win32", "", "13x"),
    ],
)
def test_cupy_fits_the_driver(run, system, driver, package):
    assert run.cupy_package(system, driver) == f"cupy-cuda{package}"


def test_no_cupy_on_macos(run):
    assert run.cupy_package("darwin", "") is None


def test_without_cupy_the_set_up_still_succeeds(run, monkeypatch, capsys):
    monkeypatch.setattr(run, "pip_install", lambda words: ("cupy" in words[-1], OFFLINE))
    monkeypatch.setattr(run.sys, "platform", "linux")
    run.set_up()
    assert run.read_stamp() == run.wanted_stamp()
    assert "cupy-cuda13x could not be installed" in capsys.readouterr().out


# ---- The commands ----


@pytest.fixture
def calls(run, monkeypatch):
    """The programs that run.py would start, as lists of words."""
    seen = []
    monkeypatch.setattr(run, "set_up", lambda: None)
    monkeypatch.setattr(run, "call", lambda words, **_: seen.append(words) or 0)
    return seen


def test_words_pass_through_to_jupyterlab(run, calls):
    assert run.main(["book", "--no-browser", "--port=9999"]) == 0
    (words,) = calls
    assert words[:2] == ["-m", "jupyterlab"] and words[-2:] == ["--no-browser", "--port=9999"]
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in words
    assert f"--ServerApp.root_dir={run.ROOT / 'my_book'}" in words


def test_a_notebook_that_is_named_takes_the_place_of_the_start_page(run, calls):
    (run.ROOT / "book" / "01.ipynb").touch()
    run.main(["book", "01.ipynb"])
    assert (run.ROOT / "my_book" / "01.ipynb").is_file()
    assert calls[0][-1] == "01.ipynb"
    assert not any("default_url" in word for word in calls[0])


def test_pages_of_text_are_shown_as_they_look(run, calls):
    run.main(["book"])
    (text,) = [path.read_text() for path in run.VENV.rglob("overrides.json")]
    viewers = json.loads(text)["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers == {"markdown": "Markdown Preview"}


def test_a_copy_that_cannot_be_written_is_told_in_one_line(run, calls, capsys):
    (run.ROOT / "my_book").touch()
    assert run.main(["book"]) == 1
    assert capsys.readouterr().out.count("\n") == 1 and not calls


def test_only_notebooks_of_the_book_are_marked_as_trusted(run, monkeypatch):
    for name in ("book/01.ipynb", "my_book/01.ipynb", "my_book/from_somebody.ipynb"):
        (run.ROOT / name).parent.mkdir(exist_ok=True)
        (run.ROOT / name).touch()
    signed = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(run.subprocess, "run", lambda words, **_: signed.append(words) or done)
    run.sign_notebooks(run.ROOT / "my_book")
    assert signed[0][-1:] == [str(run.ROOT / "my_book" / "01.ipynb")] and len(signed[0]) == 4


def test_words_pass_through_to_pytest(run, calls):
    run.main(["test", "-k", "offsets"])
    assert calls == [["-m", "pytest", "-k", "offsets"]]


def test_the_whole_suite_runs_in_parallel(run, calls, monkeypatch):
    monkeypatch.setattr(run.os, "cpu_count", lambda: 2)
    run.main(["test"])
    assert calls == [["-m", "pytest", "-n", "2"]]


def test_the_exit_status_is_that_of_the_program(run, calls, monkeypatch):
    monkeypatch.setattr(run, "call", lambda words, **_: 3 if "check" in words else 0)
    assert run.main(["test"]) == 0
    assert run.main(["lint"]) == 3


@pytest.mark.parametrize(("words", "status"), [([], 2), (["read"], 2), (["--help"], 0)])
def test_anything_else_shows_the_commands(run, capsys, words, status):
    assert run.main(words) == status
    assert "python run.py book" in capsys.readouterr().out


# ---- The lists of packages ----


def extras(name):
    """The packages of an extra, those that it takes from other extras included."""
    found = []
    for package in PROJECT["project"]["optional-dependencies"][name]:
        inner = re.fullmatch(r"embag_edu\[(\w+)\]", package)
        found += extras(inner.group(1)) if inner else [package]
    return found


def conda_lists():
    """environment.yml as two lists: conda's packages and pip's."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    return re.findall(r"^  - ([^:\n]+)$", text, re.M), re.findall(r"^      - (.+)$", text, re.M)


def test_environment_yml_holds_the_packages_of_pyproject():
    conda, pip = conda_lists()
    wanted = PROJECT["project"]["dependencies"] + extras("test") + extras("gpu")
    assert pip[0] == "-c constraints.txt" and pip[-1] == "-e ."
    assert sorted(pip[1:-1]) == sorted(wanted)
    assert f"python{PROJECT['project']['requires-python']}" in conda


def imported_by(notebook):
    """The first names of what the cells of a notebook import."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                names = [alias.name for alias in node.names] if type(node) is ast.Import else []
                names += [node.module] if type(node) is ast.ImportFrom else []
                yield from (name.partition(".")[0] for name in names)


def test_the_extra_book_has_what_the_notebooks_import():
    needed = {name for path in (ROOT / "book").rglob("*.ipynb") for name in imported_by(path)}
    needed -= {*sys.stdlib_module_names, "embag_edu"}
    needed -= {"IPython"}  # comes with Jupyter, as its kernel
    needed -= {"torchrec"}  # in a branch of chapter 15, for those who have it
    needed -= {"cupy"}  # in a function that chapter 12 shows: for tensors on a GPU only
    packages = PROJECT["project"]["dependencies"] + extras("book")
    assert {"numpy", "torch", "ml_dtypes"} <= needed
    assert needed <= {re.match(r"[\w-]+", package).group() for package in packages}
    assert set(extras("compiler")) <= set(packages), "chapters 07 to 13 compile kernels"


def test_every_package_is_pinned():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w-]+)==[\d.]+(?:b\d+)?(?: ;.*)?$", text, re.M)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(pins) == len(lines), "a line of constraints.txt is no plain pin"
    wanted = (
        PROJECT["project"]["dependencies"]
        + extras("test")
        + extras("gpu")
        + extras("gpu12")
        + extras("nbgrader")
    )
    names = {re.match(r"[\w-]+", package).group().replace("_", "-") for package in wanted}
    assert names <= set(pins)
    assert "torch==2.13.0" in lines


def test_every_data_file_would_be_installed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["embag_edu"]
    package = ROOT / "embag_edu"
    files = [path.relative_to(package) for path in package.glob("**/*") if path.is_file()]
    data = [f for f in files if f.suffix not in (".py", ".pyc") and f.name != ".DS_Store"]
    flat = [pattern.replace("**/", "*") for pattern in patterns]
    left_out = [str(f) for f in data if not any(fnmatch.fnmatch(f.as_posix(), p) for p in flat)]
    assert data and not left_out


# ---- Importing the package ----


def test_import_brings_in_numpy_only_and_little_else():
    code = (
        "import sys, numpy, typing, dataclasses, importlib; before = set(sys.modules)\n"
        "import embag_edu; print(*(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    brought = output.split()
    outside = {name.split(".")[0] for name in brought} - set(sys.stdlib_module_names)
    assert outside == {"embag_edu"}
    # A count instead of a time, which would depend on the machine: a module costs about 1 ms.
    assert len(brought) <= 40
