"""Sphinx's settings for the site, and what we add to Sphinx."""

from __future__ import annotations

import re
from html import escape
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from pygments.formatters import HtmlFormatter
from pygments.lexers.special import TextLexer
from pygments.token import Name, Punctuation, Text, Whitespace
from sphinx.addnodes import pending_xref
from sphinx.highlighting import PygmentsBridge
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

from embag_edu import __version__
from embag_edu.check import all_clauses
from embag_edu.web import hosted, made
from embag_edu.web.copied import ROOT, page_of

project = "embag_edu"
author = "The embag_edu authors"
release = __version__
html_title = "EmbeddingBag from plain loops up"
html_theme = "furo"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["colors.css", "controls.css", "page.css"]
html_js_files = [(name, {"defer": ""}) for name in ("controls.js", "page.js")]
html_use_index = False
html_domain_indices = False  # api.html leads to the modules
language = "en"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx.ext.autodoc", "sphinx.ext.linkcode"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4
# Links are proved on the finished pages, with the ids that stand there as HTML.
suppress_warnings = ["myst.xref_missing"]
copybutton_selector = "div.cell_input pre, div.highlight:not(.cell_output div) > pre"

autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"


def paragraphs(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A docstring of ours as reStructuredText: what is aligned stays as it is, `x` is code."""
    kept = []
    for block in "\n".join(lines).strip().split("\n\n"):
        if re.search(r"^\s|\S {2,}\S|^>>>", block, re.M):
            kept += ["::", "", *("    " + line for line in block.split("\n")), ""]
        else:
            words = re.split(r"(`[^`]+`)", block)
            words[1::2] = [f"`{code}`" for code in words[1::2]]
            words[::2] = [re.sub(r"([*_|\\])", r"\\\1", word) for word in words[::2]]
            kept += ["".join(words), ""]
    lines[:] = "\n".join(kept).split("\n")


# ---- Cross-references: a name in `code` leads to its page, a documented thing to its source ----

SOURCES = made.sources()
NAMED = {
    **{
        path.relative_to(ROOT).as_posix(): page_of(path).with_suffix("").as_posix()
        for path in SOURCES
    },
    **{clause.name: f"clauses#{made.place(clause.name)}" for clause in all_clauses()},
    **{name: f"api/{name}#module-{name}" for name in made.API},
    "SPEC.md": "embag_edu/SPEC",
}
INSIDE = (nodes.reference, nodes.title, pending_xref)  # where no link can stand


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """The place of a documented function or class on the page of its source."""
    thing: Any = import_module(info["module"])
    first = info["fullname"].partition(".")[0]
    file = made.source_file(getattr(thing, first, None))
    if file not in SOURCES:
        return None
    place = getattr(thing, first).__name__.replace("_", "-").strip("-").lower()
    return f"../{page_of(file).with_suffix('').as_posix()}.html#{place}"


class Named(SphinxPostTransform):
    """In the book and in the pages, `code` that names a file, a clause or a module leads there."""

    default_priority = 400

    def run(self, **_: Any) -> None:
        for literal in self.document.findall(nodes.literal):
            page, _sign, place = NAMED.get(literal.astext(), "").partition("#")
            linked = any(
                isinstance(node, INSIDE) for node in (literal.parent, literal.parent.parent)
            )
            if not page or linked or page == self.env.docname:
                continue
            address = self.app.builder.get_relative_uri(self.env.docname, page)
            link = nodes.reference("", "", literal.deepcopy(), internal=True)
            link["refuri"] = f"{address}#{place}" if place else address
            literal.replace_self(link)


class Anchored(SphinxTransform):
    """Each line of a page of source has an address of its own: loops.py.html#L-12."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        for block in self.document.findall(nodes.literal_block):
            if "source" in block["classes"]:
                block.setdefault("highlight_args", {})["lineanchors"] = "L"


class Short(HtmlFormatter):
    """Names and punctuation have the color of the text: a mark on each would be 2.6 MB of site."""

    plain = (Name, Punctuation, Whitespace)

    def format_unencoded(self, tokensource: Any, outfile: Any) -> None:
        tokens = ((Text if kind in self.plain else kind, text) for kind, text in tokensource)
        super().format_unencoded(tokens, outfile)


# ---- Formulas, made when the site is built: no script, no font, no network ----


def formula(self: Any, node: Any) -> None:
    """Writes a formula as MathML."""
    tex = node.astext().replace(r"\dots", r"\ldots")  # the converter knows only this one
    self.body.append(tex2mathml(tex, as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


# ---- Around a page ----


def finished(app: Any, page: str, template: str, context: Any, tree: Any) -> None:
    """The buttons of hosted machines, below the title; what templates lack for screen readers."""
    menu = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = menu.replace(
        'role="heading"', 'role="heading" aria-level="2"'
    )
    body = context.get("body", "").replace(' aria-label="Toggle hidden content"', "")
    links = "".join(
        f'<a href="{escape(to)}">{escape(label)}</a>' for label, to in hosted.buttons(page)
    )
    if links:
        body = body.replace("</h1>", f'</h1><p class="hosted">{links}</p>', 1)
    context["body"] = body


def setup(app: Any) -> dict[str, bool]:
    """Add it all."""
    app.connect("autodoc-process-docstring", paragraphs)
    app.connect("html-page-context", finished, priority=900)  # after the theme
    app.add_post_transform(Named)
    app.add_transform(Anchored)
    app.add_lexer("mermaid", TextLexer)
    PygmentsBridge.html_formatter = Short
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    return {"parallel_read_safe": True}
