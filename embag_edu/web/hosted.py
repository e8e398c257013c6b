"""Copies of the chapters for hosted machines, and the buttons that lead there."""

from __future__ import annotations

from pathlib import Path


def buttons(page: str) -> list[tuple[str, str]]:
    """(label, address) of each button on a page, named by its path: "book/01_bags"."""
    return []


def copies(site: Path) -> None:
    """Write the hosted copies into the site."""
