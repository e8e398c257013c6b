"""What `spec` says to a user of NumPy, as it is said to a user of torch."""

from __future__ import annotations

import re

IN_TORCH = (
    (r"\.astype\((\w+\.dtype)\)", r".to(\1)"),
    (r"\.astype\((?:np\.)?(\w+)\)", r".to(torch.\1)"),
    (r"np\.cumsum\(lengths\)", "lengths.cumsum(0)"),
    (r"np\.flatnonzero\(mask\)", "mask.nonzero().flatten()"),
    (r"np\.array\(", "torch.tensor("),
    (r"<class '(numpy|cupy)\.ndarray'>", "<class 'torch.Tensor'>"),
)


def in_torchs_terms(text: str) -> str:
    """The text of an error of `spec`, with torch's functions in place of NumPy's."""
    for numpys, torchs in IN_TORCH:
        text = re.sub(numpys, torchs, text)
    return text


def speak_of_tensors(error: BaseException) -> None:
    """Change what an error says, in place."""
    if isinstance(error, (RuntimeError, ValueError, TypeError, IndexError)):
        error.args = tuple(in_torchs_terms(a) if isinstance(a, str) else a for a in error.args)
