"""`python -m embag_edu web`: build the site from the book, prove it, and serve it here."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import webbrowser
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import torch
from sphinx.cmd.build import build_main

from embag_edu.web import copied, hosted, made, proof
from embag_edu.web.copied import ROOT, page_of

SITE = ROOT / "site"
LINKS = "links.txt"  # of the site: the addresses of other hosts that its pages link to
GROUPS = {  # the parts of the navigation, and which pages each has (patterns of paths)
    "The book": ("chapters", "book/[0-9]*"),
    "Look up": ("book/pages/words", "embag_edu/SPEC", "clauses", "ledger", "sources", "api"),
    "Use": ("book/pages/*", "embag_edu/cuda_on_cpu/README"),
    "Teach": ("book/pages/instructors", "book/teaching/*"),
    "The project": ("*", "embag_edu/*/README"),
}
NESTED = ("book/exercises/*", "api/*", "*.py", "*.cu", "*.cuh")  # a page of their own leads to them


def stage(folder: Path, states: Path) -> None:
    """Write all that Sphinx reads into `folder`, and the states of the controls into `states`."""
    states.mkdir(parents=True)
    paths = sorted({path for pattern in copied.PAGES for path in ROOT.glob(pattern)})
    # The states of a control take up to a minute. Those of chapter 13 are small trainings, which
    # take ten times as long where the threads of several processes fight for the cores.
    with ProcessPoolExecutor(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(partial(copy_page, folder=folder, states=states), paths))
    pages = {"ledger": made.ledger(), "clauses": made.clauses(), "chapters": made.chapter_list()}
    pages |= {f"api/{name}" if name else "api": text for name, text in made.api()}
    sources = sorted(made.sources())
    pages |= {page_of(path).with_suffix("").as_posix(): made.source(path) for path in sources}
    pages["sources"] = made.source_list(sources)
    for name, text in pages.items():
        write(folder / f"{name}.md", text)
    index = folder / "index.md"
    write(index, index.read_text(encoding="utf-8") + navigation(folder))


def copy_page(path: Path, folder: Path, states: Path) -> None:
    """One page of the repository, changed for the site, and the files that it links to."""
    target = folder / page_of(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        notebook = nbformat.reads(text, as_version=4)
        text = "".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")
        of_exercises = path.parent.name == "exercises"
        changed = (
            copied.exercises(notebook, path)
            if of_exercises
            else copied.chapter(notebook, path, states)
        )
        write(target, nbformat.writes(changed))
    else:
        write(target, copied.page(text, path))
    for file in copied.linked_files(text, path):
        if page_of(file) == file.relative_to(ROOT) and file.suffix not in (".md", ".ipynb"):
            copy = folder / file.relative_to(ROOT)  # it has no page: to be downloaded
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def write(path: Path, text: str) -> None:
    """Write a file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def navigation(folder: Path) -> str:
    """The tables of contents that the start page holds and the side of each page shows."""
    left = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".md", ".ipynb")
    }
    trees = []
    for caption, patterns in GROUPS.items():
        names = [n for pattern in patterns for n in left if fnmatch(n, pattern)]
        names = [
            n
            for n in dict.fromkeys(names)
            if n != "index" and not any(fnmatch(n, nested) for nested in NESTED)
        ]
        trees.append(
            "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"])
        )
        left = {name: path for name, path in left.items() if name not in names}
    return "\n\n" + "\n\n".join(trees) + "\n"


def sphinx(builder: str, source: Path, out: Path) -> int:
    """Run Sphinx; the exit status. Warnings are errors."""
    words = ["-q", "-W", "--keep-going", "-j", "auto", "-c", str(Path(__file__).parent)]
    trees = str(out.parent / "trees")
    return int(build_main(["-b", builder, *words, "-d", trees, str(source), str(out)]))


def build(site: Path) -> int:
    """Build the site into a folder, and prove it; the exit status. An older site is replaced."""
    if site.is_dir() and any(site.iterdir()) and not (site / "searchindex.js").exists():
        print(f"{site} holds something else than a site: move it away, then run this again.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        source, out, states = (Path(folder, name) for name in ("source", "site", "states"))
        stage(source, states)
        if sphinx("html", source, out):
            return 1
        shutil.move(states, out / "_static" / "controls")
        hosted.copies(out)
        pages = proof.read(out)
        if faults := proof.faults(out, pages):
            print("\n".join(faults))
            return 1
        write(out / LINKS, "\n".join(proof.outside(pages)))
        shutil.rmtree(site, ignore_errors=True)
        shutil.move(out, site)
    return 0


def main(words: list[str] | None = None) -> int:
    """`web [--build-only | --links]`: build, then serve until Ctrl-C, or ask the linked sites."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu web", description=__doc__)
    parser.add_argument("--build-only", action="store_true", help="build, for hosting")
    parser.add_argument("--links", action="store_true", help="ask the sites that are linked to")
    options = parser.parse_args(words)
    begin = time.monotonic()
    if build(SITE):
        return 1
    files = [path for path in SITE.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    pages = sum(path.suffix == ".html" for path in files)
    print(f"{pages} pages, {size:.1f} MB, in {time.monotonic() - begin:.0f} s: site/index.html")
    if options.links:
        return ask((SITE / LINKS).read_text(encoding="utf-8").splitlines())
    return 0 if options.build_only else serve(SITE)


def ask(addresses: list[str]) -> int:
    """Say which addresses of other sites do not answer; the exit status."""
    silent = proof.unreached(addresses)
    if len(silent) == len(addresses):
        print(f"None of {len(addresses)} links could be tried: is there a network?")
        return 0
    print("\n".join(silent) or f"All {len(addresses)} links to other sites answer.")
    return 1 if silent else 0


def serve(site: Path) -> int:
    """Serve the site to this machine's browser, until Ctrl-C."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address}   (Ctrl-C ends it)", flush=True)
        webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    return 0
