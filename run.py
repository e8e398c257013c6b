"""The two commands of this project, and two more.

    python run.py book      open your copy of the book     (further words go to `jupyter lab`)
    python run.py test      run every test and notebook    (further words go to `pytest`)
    python run.py web       the book as web pages, in site/    (--build-only: and do not serve them)
    python run.py lint      check format, style and types

The first call makes an environment in the folder .venv, from the exact versions in constraints.txt.
Nothing outside this folder is changed. To start afresh, delete .venv.
"""

# Standard library only, and no syntax newer than Python 3.6, so that an old Python can say so.

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "embag_edu_stamp.txt"
LOG = VENV / "embag_edu_setup.log"
OLDEST, NEWEST = (3, 11), (3, 14)
UNFINISHED = "unfinished"

# What pip's log says -> the line that a reader gets. The first that fits is taken.
PIP_FAILURES = [
    (
        r"No space left on device|not enough space on the disk",
        "The disk is full: the environment needs about 2 GB. Make room and run this again.",
    ),
    (
        r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo|Network is unreachable"
        r"|ConnectTimeout|ReadTimeout|Read timed out|Connection (?:refused|aborted|broken|reset)"
        r"|ProxyError|SSLError",
        "No network: pip could not reach the package index. Check the connection (or the proxy)"
        " and run this again.",
    ),
    (
        r"No matching distribution found for (\S+)",
        "pip found no build of {0} for Python {python} on {system}."
        " book/pages/setup.md says which systems can run this.",
    ),
]


class Stop(Exception):
    """Something the reader can mend; the message is the one line that says how."""


def say(text):
    """Print at once, whatever stdout is."""
    print(text, flush=True)


# ---- Is this Python able to? ----


def check_python(version=tuple(sys.version_info[:2])):
    """Stop with one line when this Python is too old or too new for the pinned packages."""
    if OLDEST <= version <= NEWEST:
        return
    fault = "too old" if version < OLDEST else "newer than this project has been tried with"
    found = ".".join(map(str, version))
    raise Stop(f"Python {found} is {fault}. Start run.py with Python 3.11, 3.12, 3.13 or 3.14.")


def check_venv_module(find=importlib.util.find_spec):
    """Stop with one line where the modules that make an environment are missing."""
    if not all(find(name) for name in ("venv", "ensurepip")):
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        raise Stop(
            "This Python lacks its modules venv and ensurepip."
            f" On Debian or Ubuntu: sudo apt install {package}; then run this again."
        )


# ---- The environment ----


def venv_python():
    """The interpreter inside the environment."""
    windows = os.name == "nt"
    return VENV / ("Scripts" if windows else "bin") / ("python.exe" if windows else "python")


def wanted_stamp():
    """What the environment depends on, as one line: if it changes, the environment is renewed."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    inputs = b"\0".join([str(ROOT).encode(), *(f.read_bytes() for f in files)])
    return "python{}.{} {}".format(*sys.version_info[:2], hashlib.sha256(inputs).hexdigest())


def read_stamp():
    """The line that the last set-up left behind; '' where there is none."""
    return STAMP.read_text(encoding="utf-8").strip() if STAMP.is_file() else ""


def state_of(found, wanted, python_exists=True):
    """'ready', 'changed' (install again into it) or 'new' (make it from nothing)."""
    if not found or found == UNFINISHED or not python_exists:
        return "new"
    if found == wanted:
        return "ready"
    return "changed" if found.split()[0] == wanted.split()[0] else "new"


def set_up():
    """Make the environment, or bring it up to date; does nothing when it is ready."""
    wanted = wanted_stamp()
    state = state_of(read_stamp(), wanted, venv_python().exists())
    if state == "ready":
        return
    start = time.time()
    if state == "new":
        make_venv()
    else:
        say("pyproject.toml or constraints.txt has changed: bringing .venv up to date.")
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    install_project()
    install_cupy()
    STAMP.write_text(wanted, encoding="utf-8")
    say(f"Ready, after {time.time() - start:.0f} s. The next start takes seconds.\n")


def make_venv():
    """An empty environment; a half-made one is removed, one that is not ours is put aside."""
    check_venv_module()
    clear_venv()
    say("Making the environment in .venv: once, some minutes, about 2 GB of disk.")
    VENV.mkdir()
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    base = getattr(sys, "_base_executable", None) or sys.executable
    made = subprocess.run([base, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        output = (made.stdout + made.stderr).strip() or "no reason given"
        raise Stop(f"Python could not make an environment: {output.splitlines()[-1]}")


def clear_venv():
    """Leave no .venv behind."""
    if not VENV.exists():
        return
    try:
        if read_stamp():
            say("Removing the .venv of an earlier Python, or of a set-up that did not finish.")
            shutil.rmtree(VENV)
        else:
            aside = ROOT / time.strftime(".venv-%Y%m%d-%H%M%S")
            say(f"The .venv here was not finished by run.py: it is kept as {aside.name}.")
            VENV.rename(aside)
    except OSError as error:
        raise Stop(
            f"The old .venv could not be removed ({error}). Close what runs from it"
            " (deactivate it, stop JupyterLab), then run this again."
        ) from None


def install_project():
    """The project itself, editable, with what the book and its tests need."""
    words = ["-c", "constraints.txt", "-e", ".[test]"]
    index = os.environ.get("EMBAG_TORCH_INDEX")
    if index:
        words = ["--extra-index-url", index, *words]
    failed, output = pip_install(words)
    if failed:
        raise Stop(explain(output))


def install_cupy():
    """CuPy, for the chapters on the GPU. The rest works without it, so a failure is only told."""
    package = cupy_package(sys.platform, nvidia_smi())
    if package and pip_install(["-c", "constraints.txt", package])[0]:
        say(f"{package} could not be installed. All that needs no GPU works without it.")


def nvidia_smi():
    """What the NVIDIA driver says of itself; '' where there is none."""
    try:
        return subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def cupy_package(system, driver):
    """The build of CuPy that fits the driver; None on macOS, where there is none.

    Without a driver it is the newest one: it can be imported, and says that there is no GPU.
    """
    if system == "darwin":
        return None
    version = re.search(r"CUDA[A-Za-z ]*Version\s*:\s*(\d+)\.", driver)
    return "cupy-cuda12x" if version and int(version.group(1)) == 12 else "cupy-cuda13x"


def quiet_lab():
    """No question about news over the first page, and pages of text as they look, not as source."""
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "overrides.json").write_text(
        '{"@jupyterlab/apputils-extension:notification":'
        ' {"fetchNews": "false", "checkForUpdates": false},'
        ' "@jupyterlab/docmanager-extension:plugin":'
        ' {"defaultViewers": {"markdown": "Markdown Preview"}}}\n',
        encoding="utf-8",
    )


# ---- pip ----


def pip_install(words):
    """Run pip; its output goes to the log, and a short form of it to the screen."""
    # Not compiled: that would be all modules of all packages, 45 s; a reader imports a few of them.
    options = ["--no-input", "--no-compile", "--progress-bar=off"]
    command = [str(venv_python()), "-m", "pip", "install", *options]
    process = subprocess.Popen(
        [*command, *words],
        cwd=str(ROOT),
        env=dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    lines = []
    with LOG.open("a", encoding="utf-8") as log:
        for line in process.stdout:
            lines.append(line)
            log.write(line)
            progress(line)
    return process.wait(), "".join(lines)


def progress(line):
    """Of pip's many lines, those that tell a waiting reader why it takes long."""
    download = re.match(r"\s*Downloading (\S+?)-\d\S* .*?\(([\d.]+) (MB|GB)\)", line)
    if download and (download.group(3) == "GB" or float(download.group(2)) >= 5):
        say("  downloading {} ({} {})".format(*download.groups()))
    elif line.startswith("Collecting nvidia-cublas"):
        say(
            "  This torch brings several GB of CUDA libraries. For the small CPU build press Ctrl-C"
            " and see EMBAG_TORCH_INDEX in book/pages/settings.md."
        )
    elif line.startswith("Installing collected packages"):
        say(f"  installing {line.count(',') + 1} packages")


def explain(output):
    """One line on why pip failed and what to do."""
    system = f"{platform.system()} {platform.machine()}"
    facts = {"python": platform.python_version(), "system": system}
    errors = [line for line in output.splitlines() if "ERROR" in line] or ["it gave no reason"]
    line = f"pip failed: {errors[-1]}."
    for pattern, told in PIP_FAILURES:
        found = re.search(pattern, output)
        if found:
            line = told.format(*found.groups(), **facts)
            break
    return f"{line} pip's own words are in {LOG.relative_to(ROOT)}."


# ---- The commands ----


def call(words, cwd=ROOT, environ=None):
    """Run a program of the environment to its end; Ctrl-C is for the program, not for us."""
    process = subprocess.Popen([str(venv_python()), *words], cwd=str(cwd), env=environ)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def book(words):
    """JupyterLab on the reader's own copy, at the start page unless a notebook is named."""
    folder = working_copy()
    quiet_lab()
    sign_notebooks(folder)
    options = [f"--ServerApp.root_dir={folder}"]
    if not any((folder / word).exists() for word in words):
        options.append("--LabApp.default_url=/lab/tree/00_start_here.ipynb")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # inside a container everybody is root, and Lab would refuse
    return call(["-m", "jupyterlab", *options, *words], cwd=folder)


def working_copy():
    """The folder my_book/, made or renewed from book/ without touching what the reader wrote."""
    place = Path(__file__).resolve().parent / "embag_edu" / "course" / "workbook.py"
    spec = importlib.util.spec_from_file_location("workbook", str(place))
    workbook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(workbook)
    try:
        for line in workbook.renew(ROOT / "book", workbook.copy_of(ROOT)):
            say(line)
    except workbook.NotCopied as error:
        raise Stop(str(error)) from None
    return workbook.copy_of(ROOT)


def sign_notebooks(folder):
    """Mark the book's notebooks as trusted: Lab hides the pictures and controls of unknown ones."""
    book = ROOT / "book"
    names = sorted(str(path.relative_to(book)) for path in book.glob("**/*.ipynb"))
    names = [name for name in names if ".ipynb_checkpoints" not in name]
    notebooks = [str(folder / name) for name in names if (folder / name).exists()]
    command = [str(venv_python()), "-m", "nbformat.sign", *notebooks]
    if notebooks and subprocess.run(command, capture_output=True).returncode:
        say("The notebooks could not be marked as trusted. In Lab: Ctrl-Shift-C, Trust Notebook.")


def test(words):
    """Every test, notebooks included: all in parallel, or what `words` choose in one process."""
    threads = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    environ = dict(os.environ, **{name: "1" for name in threads})
    workers = min(4, os.cpu_count() or 1)
    parallel = [] if words or workers == 1 else ["-n", str(workers)]
    return call(["-m", "pytest", *parallel, *words], environ=environ)


def web(words):
    """The book as web pages."""
    return call(["-m", "embag_edu", "web", *words])


def lint(words):
    """Format and rules by ruff (notebooks included), then the types of the package by mypy."""
    paths = words or ["."]
    checks = [["ruff", "format", "--check", *paths], ["ruff", "check", *paths], ["mypy", *words]]
    return max(call(["-m", *check]) for check in checks)


COMMANDS = {"book": book, "test": test, "web": web, "lint": lint}


def main(words):
    """Set up, then do what the first word says; returns the exit status."""
    if not words or words[0] not in COMMANDS:
        say(__doc__.strip())
        return 0 if words in (["-h"], ["--help"]) else 2
    try:
        check_python()
        set_up()
        return COMMANDS[words[0]](words[1:])
    except Stop as stop:
        say(str(stop))
    except KeyboardInterrupt:
        say("\nStopped. The next start takes up from a clean state.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
