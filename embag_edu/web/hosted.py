"""Copies of the chapters for hosted machines, and the buttons that lead there.

One setting holds the repository's address: Repository under [project.urls] in pyproject.toml. While
it is unset there is no button. The copies are read by the hosts from the branch gh-pages, to which
the workflow pages.yml publishes the site.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from embag_edu import __version__
from embag_edu.web.copied import ROOT

FIRST = """\
# This page was made for embag_edu {version}. Where that is not there, this cell installs it, with
# what the chapters import. Then it makes your own copy of the book, the folder my_book, and works
# there, so that the chapter finds its files.
import os, subprocess, sys
from importlib import metadata

try:
    there = metadata.version("embag_edu")
except metadata.PackageNotFoundError:
    there = None
if there != "{version}":
    install = [sys.executable, "-m", "pip", "install", "--quiet", "embag_edu[chapters]=={version}"]
    subprocess.run(install, check=True)
make = [sys.executable, "-m", "embag_edu", "book"]
made = subprocess.run(make, check=True, capture_output=True, encoding="utf-8")
os.chdir(os.path.join(made.stdout.strip(), "{folder}"))
"""
HOSTS: dict[str, Callable[[str, str], str]] = {  # label: address of (owner/name, page)
    "Open in Colab": lambda name, page: (
        f"https://colab.research.google.com/github/{name}/blob/gh-pages/hosted/{page}.ipynb"
    ),
    "Open in Kaggle": lambda name, page: (
        "https://www.kaggle.com/kernels/welcome"
        f"?src=https://github.com/{name}/blob/gh-pages/hosted/{page}.ipynb"
    ),
    "Open in Binder": lambda name, page: (
        f"https://mybinder.org/v2/gh/{name}/v{__version__}?urlpath=lab/tree/book/{page}.ipynb"
    ),
    "Open a dev container": lambda name, page: f"https://codespaces.new/{name}",
}


def repository() -> str:
    """owner/name of the repository on GitHub; "" while its address is unset.

    Raises ValueError where the address is one of another kind.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository", "")
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    if address and not found:
        raise ValueError(
            f"Repository in pyproject.toml is {address!r}; it must be https://github.com/OWNER/NAME"
        )
    return found[1] if found else ""


def buttons(page: str, name: str | None = None) -> list[tuple[str, str]]:
    """(label, address) of each button on a page, named by its path: "book/01_bags".

    name: owner/name of the repository, by default the one of the setting. Pages that are no
    notebooks have no button.
    """
    name = repository() if name is None else name
    path = page.removeprefix("book/")
    if not name or not re.fullmatch(r"(exercises/)?\d\d\w*", path):
        return []
    return [(label, address(name, path)) for label, address in HOSTS.items()]


def hosted(notebook: Any, folder: str, name: str) -> Any:
    """A copy of a notebook that installs the package and goes to its place in the book.

    folder: where in the book the notebook lies: "" or "exercises"
    name:   owner/name: links to other pages then lead to the published site
    """
    made = copy.deepcopy(notebook)
    source = FIRST.format(version=__version__, folder=folder)
    made.cells.insert(1, nbformat.v4.new_code_cell(source.strip(), id="embag-edu-install"))
    made.metadata["accelerator"] = "GPU"
    for cell in made.cells if name else []:
        if cell.cell_type == "markdown":
            cell.source = _absolute(cell.source, folder, name)
    return made


def _absolute(text: str, folder: str, name: str) -> str:
    """Links to pages of the book as links to the published site."""
    owner, _, project = name.partition("/")
    site = f"https://{owner.lower()}.github.io/{project}/"

    def to_site(link: re.Match[str]) -> str:
        path, suffix, place = link.groups()
        parts = ["book", *filter(None, [folder]), *path.split("/")]
        while ".." in parts:
            at = parts.index("..")
            del parts[at - 1 : at + 1]
        page = re.sub(r"^README$", "index", "/".join(parts))
        return f"]({site}{page}.html{place or ''})"

    return re.sub(r"\]\(([\w./-]+)\.(ipynb|md)(#[\w-]*)?\)", to_site, text)


def copies(site: Path) -> None:
    """Write the hosted copies into the site, as hosted/01_bags.ipynb and hosted/exercises/..."""
    name = repository()
    for folder in ("", "exercises"):
        for path in sorted((ROOT / "book" / folder).glob("[0-9]*.ipynb")):
            target = site / "hosted" / folder / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(hosted(nbformat.read(path, as_version=4), folder, name), target)
