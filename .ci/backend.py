"""setuptools, and the book goes into the wheel: as embag_edu/_book, beside the package.

So the book's notebooks, and the marks that need its solutions, are there without a clone.
"""

import shutil
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401 (pip looks for them here)
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

KEPT = (
    "*.ipynb", "images/*", "pages/*.md", "results/*", "solutions/*.ipynb", "exercises/*.ipynb",
    "teaching/AGENTS.md",
)  # fmt: skip


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """The wheel, with the book."""
    book, copy = Path("book"), Path("embag_edu", "_book")
    try:
        for path in (path for pattern in KEPT for path in book.glob(pattern)):
            place = copy / path.relative_to(book)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
