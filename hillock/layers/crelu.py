"""Concatenated ReLU (Shang et al. 2016): the positive and the negative part side by side.

y = [max(0, x), max(0, -x)]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock import kernels
from hillock.activations.rectifiers import RELU

__all__ = ["CReLU", "crelu"]


def crelu(x: Tensor, dim: int = 1) -> Tensor:
    """Return [ReLU(x), ReLU(-x)] joined along `dim`, which doubles: [N, C, ...] -> [N, 2C, ...].

    >>> crelu(torch.tensor([[1.0, -2.0]]))
    tensor([[1., 0., 0., 2.]])
    """
    return torch.cat([kernels.apply(RELU, x, {}), kernels.apply(RELU, -x, {})], dim)


class CReLU(nn.Module):
    """`crelu` as a module. The next layer has twice the input channels; `x` is the difference of the two halves."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return crelu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
