"""Every picture of the book, drawn by code. Each comes with a text that says what it shows.

Drawing needs matplotlib; nothing else in embag_edu does.
"""

try:
    import matplotlib  # noqa: F401  (only asked for here, so that the message below is the one seen)
except ImportError:
    raise ImportError(
        "The pictures of embag_edu are drawn with matplotlib, which is not installed here: "
        "run `python -m pip install matplotlib`."
    ) from None

from embag_edu.figures.bags import bag_picture
from embag_edu.figures.style import Picture

__all__ = ["Picture", "bag_picture"]
