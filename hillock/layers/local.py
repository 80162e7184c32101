"""A locally connected layer: a convolution whose kernel is another one at every position."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LocallyConnected2d"]


class LocallyConnected2d(nn.Module):
    """y[n, o, p] = bias[p, o] + Σ_k weight[p, o, k] · patch[n, k, p] for every position p. Stride 1, zero padding.

    Arguments:
        in_channels, out_channels: maps. side: (height, width) of the input; kernel and padding in pixels.

    Source: LeCun 1989, "Generalization and network design strategies"; the "local" layers of the 2012 AlexNet program.

    >>> LocallyConnected2d(64, 32, (8, 8), 3, padding=1)(torch.zeros(2, 64, 8, 8)).shape
    torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, side: tuple[int, int], kernel: int, *, padding: int = 0
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size, self.padding = in_channels, out_channels, kernel, padding
        self.stride = 1
        self.output_side = tuple(length + 2 * padding - kernel + 1 for length in side)
        positions = math.prod(self.output_side)
        self.weight = nn.Parameter(torch.zeros(positions, out_channels, in_channels * kernel * kernel))
        self.bias = nn.Parameter(torch.zeros(positions, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, self.kernel_size, padding=self.padding)  # [N, inputs of a unit, positions]
        y = torch.baddbmm(self.bias.unsqueeze(-1), self.weight, patches.permute(2, 1, 0))  # [positions, outputs, N]
        return y.permute(2, 1, 0).reshape(x.shape[0], self.out_channels, *self.output_side)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, padding={self.padding}"
