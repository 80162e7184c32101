"""A strided convolution on maps smaller than its stride: torch's function, and a gradient of written memory only."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from hillock.layers.convolution import StridedConv2d


def layer_of(kernel: int, stride: int, padding: int) -> StridedConv2d:
    layer = StridedConv2d(16, 32, kernel, stride, padding, bias=False)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(1))
    return layer


def spoil_freed_memory() -> None:
    """Leave NaN in the blocks that the allocator hands out next, so that reading what nobody wrote is seen."""
    for power in range(8, 22, 2):
        torch.full((2**power,), math.nan)


def weight_gradient(layer: nn.Conv2d, x: Tensor) -> Tensor:
    spoil_freed_memory()
    y = layer(x)
    (gradient,) = torch.autograd.grad(y, layer.weight, torch.ones_like(y))
    return gradient.float()


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "padding"),
    [
        (size, stride, kernel, padding)
        for size in (1, 2, 3, 5)
        for stride in (1, 2, 3, 4)
        for kernel, padding in ((1, 0), (3, 1), (3, 0), (5, 2), (5, 1), (7, 3))
        if size + 2 * padding >= kernel
    ],
)
def test_it_is_torchs_function_with_a_right_gradient(size: int, stride: int, kernel: int, padding: int) -> None:
    layer = layer_of(kernel, stride, padding)
    x = torch.randn(4, 16, size, size, generator=torch.Generator().manual_seed(size))
    torch.testing.assert_close(layer(x), nn.Conv2d.forward(layer, x), rtol=0, atol=1e-4)
    exact = weight_gradient(layer, x)
    layer = layer.to(torch.bfloat16, memory_format=torch.channels_last)
    for _ in range(5):
        got = weight_gradient(layer, x.to(torch.bfloat16, memory_format=torch.channels_last))
        assert ((got - exact).norm() / exact.norm()).item() < 0.01  # bfloat16 rounds by up to 2^-9 = 0.002
