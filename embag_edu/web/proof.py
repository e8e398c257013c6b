"""Proves a built site: links, anchors and images lead somewhere, and nothing is asked of others."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

FETCHED = {"src", "poster", "data", "xlink:href"}  # attributes that a browser follows by itself
PIXELS = re.compile(r"^data:image/(?!svg)|\.(png|jpe?g|gif|webp)$", re.I)
IN_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(https?:)?//")


class Page(HTMLParser):
    """The ids, links and images of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []  # that a reader follows
        self.fetched: list[str] = []  # that the browser follows
        self.bare: list[str] = []  # pictures without words
        self.pixels: list[str] = []  # pictures that are no drawings: bright in the dark
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag holds."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical",):
            self.fetched.append(given["href"])
        self.fetched += [given[name] for name in FETCHED if name in given]
        words = given.get("alt") or given.get("aria-label") or given.get("aria-labelledby")
        pictured = tag == "img" or (tag == "svg" and given.get("role") == "img")
        source = given.get("src", "")
        named = words and not (source and words.endswith(source.rpartition("/")[2]))
        if pictured and not named and given.get("aria-hidden") != "true":
            self.bare.append(self.get_starttag_text() or tag)
        if tag == "img" and PIXELS.search(source):
            self.pixels.append(self.get_starttag_text() or tag)


def read(site: Path) -> dict[Path, Page]:
    """The pages of a built site, by their paths."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def faults(site: Path, pages: dict[Path, Page]) -> list[str]:
    """What is wrong with a site and its pages, a line for each; [] when all is well."""
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: a picture without words: {tag[:80]}" for tag in page.bare]
        found += [f"{name}: a picture in pixels, not SVG: {tag[:80]}" for tag in page.pixels]
        found += [
            f"{name}: asks another host for {address}"
            for address in page.fetched
            if urlsplit(address).netloc
        ]
        for address in {*page.links, *page.fetched}:
            if not led(address, path, pages):
                found.append(f"{name}: {address} leads nowhere")
    for path in site.rglob("*.css"):
        if IN_CSS.search(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(site)}: asks another host for something")
    return found


def led(address: str, path: Path, pages: dict[Path, Page]) -> bool:
    """Whether an address on the page `path` leads somewhere; one of another host is believed."""
    split = urlsplit(address)
    if split.scheme or split.netloc:
        return bool(split.netloc) or split.scheme in ("mailto", "data")
    target = (path.parent / unquote(split.path)).resolve() if split.path else path
    if not split.fragment:
        return target.exists()
    return target in pages and unquote(split.fragment) in pages[target].ids | {""}


def outside(pages: dict[Path, Page]) -> list[str]:
    """The addresses of other hosts that the pages link to, in order."""
    found = {address for page in pages.values() for address in page.links}
    return sorted(address for address in found if urlsplit(address).scheme in ("http", "https"))


def unreached(addresses: list[str]) -> list[str]:
    """Those of the addresses that do not answer, with the reason. It takes a network."""
    with ThreadPoolExecutor(8) as pool:
        reasons = list(pool.map(_reason, addresses))
    return [f"{a}: {reason}" for a, reason in zip(addresses, reasons, strict=True) if reason]


def _reason(address: str) -> str:
    try:
        with urlopen(Request(address, headers={"User-Agent": "embag_edu"}), timeout=30):
            return ""
    except HTTPError as error:  # some sites answer only to browsers
        return "" if error.code in (403, 405, 429) else str(error)
    except OSError as error:
        return str(error)
