"""A convolution with stride that is right on maps smaller than its stride.

oneDNN 3.12 (in torch 2.13) computes the bfloat16 weight gradient with AMX from memory that nobody wrote when a padded
map is narrower than the stride: a 3x3 convolution of stride 2 on one pixel, which is ResNet-18's last stage on pictures
of 16 pixels, gave NaN or wrong numbers in 8 of 40 passes. There the filter stands in one place only, so that any
smaller stride is the same function; this layer uses one that fits into the map.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["StridedConv2d"]


class StridedConv2d(nn.Conv2d):
    """`nn.Conv2d`, with the stride cut to the size of the map where that changes nothing.

    >>> import torch
    >>> layer = StridedConv2d(1, 1, 3, stride=2, padding=1)
    >>> x = torch.ones(1, 1, 1, 1)
    >>> bool((layer(x) == nn.Conv2d.forward(layer, x)).all())
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            return super().forward(x)
        sizes = zip(x.shape[-2:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        stride = tuple(_fitting_stride(*of_one_side) for of_one_side in sizes)
        if stride == self.stride:
            return super().forward(x)
        return F.conv2d(x, self.weight, self.bias, stride, self.padding, self.dilation, self.groups)


def _fitting_stride(size: int, stride: int, padding: int, dilation: int, kernel: int) -> int:
    """Return the stride, or the map's size where that is smaller and the filter has only one place either way."""
    steps = size + 2 * padding - dilation * (kernel - 1) - 1
    return size if 0 <= steps < size < stride else stride
