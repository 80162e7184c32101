"""Maxout (Goodfellow et al. 2013): the largest of k linear pieces.

    y_c = max(z_c1, ..., z_ck),   z = W x + b with k rows of W for every output

The pieces of one output lie next to each other: z has the channels c1's k pieces, then c2's k pieces, and so on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hillock.errors import UsageError

__all__ = ["Maxout", "MaxoutConv2d", "MaxoutLinear", "maxout"]


def maxout(x: Tensor, pieces: int = 2, dim: int = 1) -> Tensor:
    """Return the maximum over groups of `pieces` neighbouring channels; [N, C·pieces, ...] becomes [N, C, ...].

    The gradient goes to the largest piece, shared evenly between equal ones. Errors: `UsageError` when the channels do
    not divide into groups.

    >>> maxout(torch.tensor([[1.0, 3.0, -2.0, -5.0]]))
    tensor([[ 3., -2.]])
    """
    channels = x.shape[dim]
    if pieces < 1 or channels % pieces:
        raise UsageError(
            f"a number of channels divisible by pieces={pieces}",
            got=str(channels),
            instead=f"{pieces * channels} channels",
        )
    groups = torch.unflatten(x, dim, (channels // pieces, pieces))
    return groups.amax(dim if dim < 0 else dim + 1)


class Maxout(nn.Module):
    """The maximum over groups of neighbouring channels, after any layer that makes `pieces` times the channels.

    >>> Maxout(pieces=3)(torch.zeros(2, 12, 4, 4)).shape
    torch.Size([2, 4, 4, 4])
    """

    def __init__(self, pieces: int = 2, dim: int = 1) -> None:
        super().__init__()
        self.pieces = pieces
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return maxout(x, self.pieces, self.dim)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}, dim={self.dim}"


class MaxoutLinear(nn.Module):
    """A dense layer whose outputs are maxima of `pieces` linear functions: [..., in] -> [..., out].

    Other keywords go to `nn.Linear`. Parameters: pieces · (in + 1) · out.
    """

    def __init__(self, in_features: int, out_features: int, pieces: int = 2, **options: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features * pieces, **options)
        self.maxout = Maxout(pieces, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.maxout(self.linear(x))
        return result


class MaxoutConv2d(nn.Module):
    """A convolution whose output maps are maxima of `pieces` linear maps: [N, in, H, W] -> [N, out, H', W'].

    Other keywords (stride, padding, bias, ...) go to `nn.Conv2d`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, pieces: int = 2, **options: Any) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels * pieces, kernel_size, **options)
        self.maxout = Maxout(pieces, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.maxout(self.convolution(x))
        return result
