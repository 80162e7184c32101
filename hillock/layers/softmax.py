"""Softmax and log-softmax over the classes.

softmax(x)_i = e^(x_i - m) / Σ_j e^(x_j - m),   m = max x,   so nothing overflows
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LogSoftmax", "Softmax", "log_softmax", "softmax"]


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return probabilities along `dim`: positive, summing to 1, the same when a constant is added to all inputs.

    >>> softmax(torch.tensor([2.0, 0.5, -3.0])).mul(1e5).round().int().tolist()
    [81310, 18143, 548]
    """
    return torch.softmax(x, dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return the logarithms of the probabilities, right also where the probability itself underflows.

    >>> log_softmax(torch.tensor([0.0, 1000.0])).tolist()
    [-1000.0, 0.0]
    """
    return torch.log_softmax(x, dim)


class Softmax(nn.Module):
    """`softmax` as a module."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """`log_softmax` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return log_softmax(x, self.dim)
