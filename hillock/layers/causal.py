"""Convolution over time that never looks ahead."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hillock.layers.undrawn import undrawn

__all__ = ["CausalConv1d"]


class CausalConv1d(nn.Module):
    """A convolution over the last dimension of [N, C, T] whose output at t reads the inputs t - kernel + 1 ... t.

    Arguments:
        in_channels, out_channels, kernel: as for `torch.nn.Conv1d`.
        weight_normalised: keep the weight as direction times length (Salimans & Kingma 2016), as the GCNN paper does.

    >>> import torch
    >>> CausalConv1d(3, 5, kernel=4)(torch.zeros(2, 3, 7)).shape
    torch.Size([2, 5, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, weight_normalised: bool = False) -> None:
        super().__init__()
        self.past = kernel - 1
        self.conv = undrawn(nn.Conv1d, in_channels, out_channels, kernel)
        if weight_normalised:
            weight_norm(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.pad(x, (self.past, 0)))
        return y
