"""What cuts positions into bags, as every operator takes it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Bags(NamedTuple):
    """What cuts positions into bags, and the options: every operator's last arguments."""

    input: Tensor
    offsets: Tensor | None
    include_last_offset: bool
    padding_idx: int | None
    mode: str
    scale_grad_by_freq: bool
    sparse: bool
    implementation: str  # one of `embag_edu.IMPLEMENTATIONS`

    def plain(self) -> Bags:
        """The same bags without the two options that change a gradient, not the operator."""
        return self._replace(scale_grad_by_freq=False, sparse=False)
