"""What the site is made from: the book's notebooks and pages, copied and changed for the page.

Each copy has its file's path in the repository, so that links between files hold. Nothing in the
repository is changed.
"""

from __future__ import annotations

import ast
import base64
import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from embag_edu.course.exercise import find
from embag_edu.course.notebooks import checked_names
from embag_edu.web import controls

ROOT = Path(__file__).parents[2]
PAGES = ("*.md", "book/*.ipynb", "book/exercises/*.ipynb", "book/**/*.md", "embag_edu/**/*.md")
SOURCES = (".py", ".cu", ".cuh", ".h", ".cpp")
LINK = re.compile(r"(?<=\]\()([^()\s#:]+)(?=[#)])")  # the file in [words](file#place)
IMAGE = re.compile(r'<img alt="([^"]*)" width="(\d+)" src="data:image/svg\+xml;base64,([^"]+)">')
DRAWN = re.compile(r"!\[([^\]]+)\]\(([^)\s]+\.svg)\)")  # an image of Markdown

COPY = "open your copy of the book: `python run.py book`.*"
HERE = (  # what a page cannot do
    f"*This page can be read anywhere. To run its cells and change them, {COPY}"
)
HERE_FIRST = (
    "*These pages are the whole book, to be read anywhere, on a phone too. Begin with"
    " [00 start here](book/00_start_here.ipynb), or choose from [the chapters](chapters.md).*"
)
HERE_EXERCISES = (
    "*On this page you can read the exercises; below each check its hints open one by one. To write"
    f" answers and have them checked, {COPY}"
)

Notebook = dict[str, Any]


def page_of(path: Path) -> Path:
    """The page that shows a file of the repository, as a path under the folder of copies."""
    inside = path.relative_to(ROOT)
    if inside == Path("README.md"):
        return Path("index.md")
    ours = path.suffix in SOURCES and inside.parts[0] == "embag_edu"
    return inside.with_name(f"{inside.name}.md") if ours else inside


def relinked(text: str, path: Path) -> str:
    """Markdown of the file `path` with its links to other files led to their pages."""

    def led(match: re.Match[str]) -> str:
        target = (path.parent / match[1]).resolve()
        if not target.is_file() or ROOT not in target.parents:
            return match[1]  # if it is broken, the proof of the site says so
        here = (ROOT / page_of(path)).parent
        return Path(os.path.relpath(ROOT / page_of(target), here)).as_posix()

    return LINK.sub(led, text)


def linked_files(text: str, path: Path) -> Iterator[Path]:
    """The files of the repository that Markdown of the file `path` links to."""
    for name in LINK.findall(text):
        target = (path.parent / name).resolve()
        if target.is_file() and ROOT in target.parents:
            yield target


def page(text: str, path: Path) -> str:
    """A page of Markdown for the site."""

    def drawn(image: re.Match[str]) -> str:
        svg = (path.parent / image[2]).read_text(encoding="utf-8")
        return inline(svg, escaped(image[1]), "46rem", 0)

    text = relinked(DRAWN.sub(drawn, text), path)
    if page_of(path) != Path("index.md"):
        return text
    parts = text.split("\n\n")
    return "\n\n".join([*parts[:3], HERE_FIRST, *parts[3:]])  # below the two that say what it is


# ---- notebooks ----


def chapter(notebook: Notebook, path: Path, states: Path) -> Notebook:
    """A chapter for the page: links, folded cells, pictures and controls inline, sources named.

    The scripts with all states of its controls are written into the folder `states`.
    """
    cells = []
    for cell in notebook["cells"]:
        if "not-on-the-web" in cell["metadata"].get("tags", ()):
            continue
        cells.append(cell)
        if cell["cell_type"] == "markdown":
            cell["source"] = relinked(cell["source"], path)
            continue
        if _is_set_up(cell["source"]):
            tags = {*cell["metadata"].get("tags", ()), "hide-input"}
            cell["metadata"]["tags"] = sorted(tags)
        for output in cell["outputs"]:
            _show(output.get("data", {}), states, len(cells))
        if shown := cell["metadata"].get("embag_edu", {}).get("shows"):
            cells.append(nbformat.v4.new_markdown_cell(_where(shown, path)))
    if (ROOT / "book" / "exercises" / path.name).is_file():
        tree = f"```{{toctree}}\n:hidden:\n\nexercises/{path.stem}\n```"
        cells.append(nbformat.v4.new_markdown_cell(tree))
    notebook["cells"] = [cells[0], nbformat.v4.new_markdown_cell(HERE), *cells[1:]]
    return notebook


def _show(data: dict[str, Any], states: Path, number: int) -> None:
    """An output for the page: a control lives, a picture takes the page's colors, links hold."""
    if bundle := data.pop(controls.MIME, None):
        controls.write(bundle, states)
        data["text/html"] = controls.html(bundle)
    elif shown := data.get("text/html"):
        shown = re.sub(r'href="([\w/]+)\.ipynb', r'href="\1.html', shown)
        data["text/html"] = IMAGE.sub(lambda image: _inline(image, number), shown)


def exercises(notebook: Notebook, path: Path) -> Notebook:
    """A notebook of exercises for the page: hints that open one by one, in place of `hint(...)`."""
    cells: list[Any] = []
    for cell in notebook["cells"]:
        code = cell["cell_type"] == "code"
        if code and cell["source"].startswith("hint("):
            if cells[-1]["cell_type"] == "markdown" and "<details" not in cells[-1]["source"]:
                cells.pop()  # the words that lead to it
            continue
        cells.append(cell)
        if not code:
            cell["source"] = relinked(cell["source"], path)
        elif _is_set_up(cell["source"]):
            cell["metadata"]["tags"] = ["hide-input"]
        for name in checked_names(cell) if code else ():
            cells.append(nbformat.v4.new_markdown_cell(_hints(find(name).hints)))
    notebook["cells"] = [cells[0], nbformat.v4.new_markdown_cell(HERE_EXERCISES), *cells[1:]]
    return notebook


def _hints(hints: tuple[str, ...]) -> str:
    """Each can be opened once the one before it is open (static/page.css)."""
    return "\n\n".join(
        f'<details class="hint"><summary>Hint {number} of {len(hints)}</summary>\n\n{hint}\n\n'
        "</details>"
        for number, hint in enumerate(hints, 1)
    )


def _is_set_up(source: str) -> bool:
    """A cell that imports, and makes nothing that a reader wants to see made."""
    statements = ast.parse(source).body
    imports = [s for s in statements if isinstance(s, (ast.Import, ast.ImportFrom))]
    return len(imports) > len(statements) / 2


def _where(shown: str, path: Path) -> str:
    """The line below a cell that shows code of the package: where the code stands."""
    file, name = place_of(shown)
    target = Path(os.path.relpath(ROOT / page_of(ROOT / file), path.parent)).as_posix()
    return f"{{.shown}}\n[`{name}` in {file}]({target}#{name.lower()})"


def place_of(shown: str) -> tuple[str, str]:
    """The file and the name of "package.module.function" or of "path/file.cu:kernel"."""
    if ":" in shown:
        file, _, name = shown.partition(":")
        return file, name
    parts = shown.split(".")
    for end in range(len(parts) - 1, 0, -1):
        inside = Path(*parts[:end]).with_suffix(".py")
        if (ROOT / inside).is_file():
            return inside.as_posix(), parts[end]
    raise ValueError(f"no file of the package holds {shown}")


def _inline(image: re.Match[str], number: int) -> str:
    alt, width, data = image.groups()
    return inline(base64.b64decode(data).decode("utf-8"), alt, f"{width}px", number)


def inline(svg: str, alt: str, width: str, number: int) -> str:
    """An SVG in the page itself, where it takes the page's colors. Its ids get a number."""
    drawn = re.sub(r"^.*?<svg", "<svg", svg, count=1, flags=re.S)
    drawn = re.sub(r"\s*<(title|metadata)>.*?</\1>", "", drawn, flags=re.S)
    drawn = re.sub(r'( id="|href="#|url\(#)', rf"\1p{number}-", drawn)
    head = re.sub(r' (width|height|role|aria-label)="[^"]*"', "", drawn[: drawn.index(">")])
    head = head.replace("<svg", f'<svg role="img" aria-label="{alt}" style="width: {width}"', 1)
    lines = (head + drawn[drawn.index(">") :]).splitlines()
    return f'<div class="picture">{controls.themed("".join(lines))}</div>'


def escaped(text: str) -> str:
    """Text that means itself in Markdown."""
    return html.escape(text, quote=False).translate({ord(c): f"\\{c}" for c in "\\`*_[]|{}$"})
