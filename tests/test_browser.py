"""Chapter 01 in a real browser: JupyterLab runs it to its end, and its control moves its picture.

Needs Chromium (or Chrome) and the package playwright; without them it is skipped.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat comes with Jupyter")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")

ROOT = Path(__file__).parents[1]
CHAPTER = "01_bags.ipynb"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS = {
    # no question about news over the page; all cells in the page, not only those in sight
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
START, RUN, MOVE = 120, 420, 30  # seconds that a slow machine may take for each

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that serves a copy of chapter 01 without its outputs."""
    home = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(ROOT / "book" / CHAPTER, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    (home / "book").mkdir()
    nbformat.write(notebook, home / "book" / CHAPTER)
    with (home / "log.txt").open("w") as log:
        server = subprocess.Popen(command(home), env=environment(home), stdout=log, stderr=log)
        try:
            yield address(server, home)
        finally:
            stop(server)


def command(home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    options += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={home / 'book'}"]
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        *options,
        "--IdentityProvider.token=token-of-a-test",
    ]


def environment(home):
    """The server and its kernel find this repository's package, and write into `home` only."""
    for name, setting in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(setting), encoding="utf-8")
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {k: str(home / v) for k, v in places.items()} | {"PYTHONPATH": path}


def address(server, home):
    """Wait until the server answers. It may have taken another port than the one asked for."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        for path in (home / "runtime").glob("jpserver-*.json"):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
                with urllib.request.urlopen(f"{about['url']}api", timeout=5):
                    return f"{about['url']}lab/tree/{CHAPTER}?token={about['token']}"
            except (OSError, ValueError):
                pass
        time.sleep(0.3)
    log = (home / "log.txt").read_text(encoding="utf-8", errors="replace")
    pytest.fail(f"JupyterLab did not start within {START} s:\n{log[-3000:]}")


def stop(server):
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def page(lab):
    """Chapter 01, open in the browser and run from top to bottom. Nothing outside can be asked."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.route(lambda url: not url.startswith(lab[: lab.index("/lab")]), refuse)
            page.goto(lab, timeout=START * 1000)
            wait_for_kernel(page, lab)
            run_all(page)
            yield page
        finally:
            browser.close()


def refuse(route):
    route.abort() if route.request.url.startswith("http") else route.continue_()


def wait_for_kernel(page, lab):
    """Lab may start two kernels for a notebook and drop one: wait until one is left, and ready."""
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for(timeout=START * 1000)
    asked = lab.replace(f"lab/tree/{CHAPTER}", "api/kernels")
    deadline = time.monotonic() + START
    kernels = []
    while time.monotonic() < deadline:
        kernels = page.request.get(asked).json()
        ready = [k["execution_state"] == "idle" and k["connections"] > 0 for k in kernels]
        if ready == [True] and page.locator(IDLE).count():
            return
        page.wait_for_timeout(500)
    pytest.fail(f"after {START} s the notebook's kernel is not ready: {kernels}")


def run_all(page):
    """Choose Run All Cells from the menu, and wait for the end or for an error."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(FINISHED, timeout=RUN * 1000, polling=500)


IDLE = ".jp-NotebookPanel-toolbar [data-status='idle']"
ERRORS = "[data-mime-type='application/vnd.jupyter.error']"
FINISHED = f"""() => {{
    const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")];
    const done = prompts.every((p) => /^\\[\\d+\\]:$/.test(p.textContent.trim()));
    return (prompts.length > 0 && done) || document.querySelector("{ERRORS}") !== null;
}}"""


def code_cells():
    cells = nbformat.read(ROOT / "book" / CHAPTER, 4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_the_chapter_runs_from_top_to_bottom(page, tmp_path):
    page.screenshot(path=tmp_path / "chapter.png")
    errors = page.locator(ERRORS).all_inner_texts()
    assert errors == []
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert prompts == [f"[{number + 1}]:" for number in range(len(code_cells()))]


def test_its_control_moves_its_picture_by_keyboard(page, tmp_path):
    control = page.locator(".jp-OutputArea-output", has=page.locator(".widget-hslider"))
    picture = control.locator("img")
    seen = sync_api.expect(picture)
    seen.to_have_attribute("alt", contains("Bag 1 holds the ids 3 22 8 19"), timeout=MOVE * 1000)
    control.scroll_into_view_if_needed()
    before = picture.get_attribute("src")
    control.screenshot(path=tmp_path / "before.png")

    first = control.get_by_role("slider").first
    first.focus()
    first.press("ArrowRight")
    seen.to_have_attribute("alt", contains("Bag 1 holds the ids 22 8 19"), timeout=MOVE * 1000)
    assert picture.get_attribute("src") != before
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    control.screenshot(path=tmp_path / "one_step.png")

    for _ in range(3):
        first.press("ArrowRight")
    seen.to_have_attribute("alt", contains("Bag 1 is empty"), timeout=MOVE * 1000)
    sync_api.expect(control).to_contain_text("[0, 7, 7]", timeout=MOVE * 1000)
    control.screenshot(path=tmp_path / "empty.png")


def contains(text):
    return re.compile(re.escape(text))
