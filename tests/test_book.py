"""The form of the book: what nbval does not see.

nbval runs every cell and compares its text. It does not see a displayed False, a stripped output, a
cell that grew too long, a picture without a description, or a copy of the package's code that has
drifted from the package.
"""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import statistics
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]*_*.ipynb"))
SOLUTIONS = sorted((BOOK / "solutions").glob("*.ipynb"))
ALL = CHAPTERS + SOLUTIONS


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [c for c in read(path).cells if c.cell_type == "code" and c.source.strip()]


def text_of(path):
    return "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")


def name(path):
    return f"{path.parent.name}/{path.stem}"


chapters = pytest.mark.parametrize("path", CHAPTERS, ids=name)
notebooks = pytest.mark.parametrize("path", ALL, ids=name)


def test_there_are_chapters_and_exercises():
    assert [p.stem[:2] for p in CHAPTERS][:4] == ["00", "01", "02", "03"]
    assert {p.stem[:2] for p in SOLUTIONS} >= {"01", "02", "03"}


@notebooks
def test_executed_in_order_from_the_top(path):
    cells = code_cells(path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    errors = [o for c in cells for o in c.outputs if o.output_type == "error"]
    assert not errors


@notebooks
def test_valid_with_ids_and_a_plain_kernel(path):
    notebook = read(path)
    nbformat.validate(notebook)
    ids = [c.id for c in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"


@chapters
def test_cells_are_short(path):
    """But a kernel, or a helper of kernels, is shown whole."""
    cells = code_cells(path)
    of_cuda = [".cu" in c.metadata.get("embag_edu", {}).get("shows", "") for c in cells]
    lengths = [len(c.source.splitlines()) for c in cells]
    assert all(n <= (50 if whole else 25) for n, whole in zip(lengths, of_cuda, strict=True))
    assert statistics.median(lengths) <= 7


@chapters
def test_opens_and_closes_like_a_chapter(path):
    text = text_of(path)
    assert text.startswith("# ")
    for words in ("You will do", "You will learn", "You need", "Time"):
        assert words in text, words
    for words in ("In this chapter we", "?", "Further reading"):
        assert words in text[len(text) // 2 :], words


@notebooks
def test_claims_are_asserted_in_code(path):
    source = "\n".join(c.source for c in code_cells(path))
    assert "assert" in source or "check(" in source
    for cell in code_cells(path):
        assert not re.search(r"^\s*[!%]", cell.source, re.M), f"a magic in {cell.id}"


@notebooks
def test_no_cell_ends_in_a_displayed_truth(path):
    """A cell that displays a comparison claims something that nobody checks."""
    for cell in code_cells(path):
        last = ast.parse(cell.source).body[-1:]
        if last and isinstance(last[0], ast.Expr):
            assert not isinstance(last[0].value, (ast.Compare, ast.BoolOp)), cell.id
        shown = [o.get("data", {}).get("text/plain") for o in cell.outputs]
        assert not {"True", "False"} & set(shown), cell.id


def shown_code():
    for path in ALL:
        for cell in code_cells(path):
            target = cell.metadata.get("embag_edu", {}).get("shows")
            if target:
                yield pytest.param(cell, target, id=f"{path.stem}-{target}")


@pytest.mark.parametrize("cell, target", list(shown_code()))
def test_code_that_is_shown_is_the_packages_own(cell, target):
    if ".cu" in target:
        file, _, kernel = target.partition(":")
        assert kernel_in(cell) == kernels_of(BOOK.parent / file)[kernel]
        return
    source = textwrap.dedent(inspect.getsource(pkgutil.resolve_name(target)))  # or a method's
    assert cell.source.strip() == source.strip()


def kernel_in(cell):
    """The CUDA source that a cell shows: name = r\"\"\"...\"\"\", and nothing else."""
    (assignment,) = ast.parse(cell.source).body
    assert isinstance(assignment, ast.Assign) and isinstance(assignment.value, ast.Constant)
    assert 'r"""' in cell.source
    return assignment.value.value.strip()


KERNEL = r"__global__ void\s+(?:__launch_bounds__\((?:[^()]|\([^)]*\))*\)\s+)?(\w+)\("
HELPER = r"struct\s+(?:alignas\(.*\)\s+)?(\w+)|__device__ [\w ]+?(\w+)\("


def kernels_of(path):
    """The kernels of a .cu file, and their helpers, by name; each with the comment right above."""
    found = {}
    for part in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        match = re.search(KERNEL, part) or re.search(HELPER, part)
        if match:
            found[match[1] or match[2]] = part.strip()
    return found


@pytest.mark.parametrize("file", ["first", "forward"])
def test_the_kernels_are_shown_whole(file):
    """Every kernel and every helper of a chapter's file stands in the chapter, as it is."""
    shown = {param.values[1] for param in shown_code()}
    for kernel in kernels_of(BOOK.parent / "embag_edu" / "cuda" / f"{file}.cu"):
        assert f"embag_edu/cuda/{file}.cu:{kernel}" in shown, kernel


@pytest.mark.parametrize("implementation", ["loops", "vectorized"])
def test_an_implementation_is_shown_whole(implementation):
    """Every function of it stands in some chapter, as it is."""
    module = importlib.import_module(f"embag_edu.{implementation}")
    shown = {param.values[1] for param in shown_code()}
    for function, value in inspect.getmembers(module, inspect.isfunction):
        if value.__module__ == module.__name__:
            assert f"{module.__name__}.{function}" in shown, function


@notebooks
def test_pictures_have_descriptions(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "image/png" not in data and "image/svg+xml" not in data, (
                f"{cell.id}: show a Picture, which has a description"
            )
            for image in re.findall(r"<img [^>]*>", str(data.get("text/html", ""))):
                alt = re.search(r'alt="([^"]{20,})"', image)
                assert alt, f"{cell.id}: an image without a description"
    for image in re.findall(r"!\[([^\]]*)\]\(", text_of(path)):
        assert len(image) >= 20, "an image without a description"


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=name)
def test_each_chapter_has_a_control_and_still_pictures(path):
    cells = code_cells(path)
    assert any("_control(" in cell.source for cell in cells)
    stills = [o for c in cells for o in c.outputs if "<img " in str(o.get("data", {}))]
    assert len(stills) >= 2


@notebooks
def test_no_path_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    for place in (BOOK.parent, Path.home(), Path(sys.prefix)):
        assert len(place.parts) == 1 or f"{place}{os.sep}" not in text, place
    assert not re.search(r"/home/\w|/Users/\w|[A-Z]:\\\\Users|site-packages", text)


@notebooks
def test_links_between_pages_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)\)", text_of(path)):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).resolve().exists(), target
