"""Settings for nbconvert: which cells of a chapter become slides, where no tag says so.

jupyter nbconvert --to slides --config book/teaching/slides.py book/01_bags.ipynb
"""

from nbconvert.preprocessors import Preprocessor


class Slides(Preprocessor):
    """A heading begins a slide, code stands on it or below it, other text is for the speaker."""

    def preprocess(self, notebook, resources):
        """Give each cell the slide type that it has not yet."""
        before = ""
        for cell in notebook.cells:
            slideshow = cell.metadata.setdefault("slideshow", {})
            slideshow.setdefault("slide_type", kind(cell, before))
            before = cell.source if cell.cell_type == "markdown" else ""
        return notebook, resources


def kind(cell, before):
    """The slide type of a cell; `before` is the text right above it, if that is text."""
    if cell.cell_type == "code":
        if "hide-input" in cell.metadata.get("tags", ()) or before.startswith("# "):
            return "skip"  # folded away, or the imports below the title
        return "-" if before.startswith("#") else "subslide"
    if cell.source.startswith("### "):
        return "subslide"
    return "slide" if cell.source.startswith("#") else "notes"


c.SlidesExporter.preprocessors = [Slides]  # noqa: F821 (nbconvert gives the name)
c.SlidesExporter.reveal_width, c.SlidesExporter.reveal_height = "1120", "800"  # noqa: F821
c.SlidesExporter.reveal_scroll = True  # noqa: F821
