"""The native weight gradient of a 3x3 convolution against float64, and what it leaves to torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hillock.kernels import weight_gradient as module
from hillock.kernels.weight_gradient import convolution, gains
from hillock.randomness import generator

# One tile, odd numbers of tiles, maps of a few pixels and larger than a chunk, more parts than pictures, large sums,
# parts of two chunks whose last one is short (for either stride).
SHAPES = [(5, 16, 16, 7, 9), (3, 16, 32, 32, 32), (7, 64, 16, 16, 16), (4, 48, 80, 5, 3), (130, 64, 64, 3, 3),
          (2, 352, 352, 3, 3), (1, 16, 16, 1, 1), (1, 32, 48, 90, 70), (41, 32, 32, 32, 32),
          (90, 32, 32, 32, 32)]  # fmt: skip


def _draw(shape: tuple[int, ...], purpose: str) -> torch.Tensor:
    x = torch.randn(shape, generator=generator(0, purpose, *shape)).bfloat16()
    return x.to(memory_format=torch.channels_last) if len(shape) == 4 else x


def _needs_tiles(x: torch.Tensor, weight: torch.Tensor) -> None:
    if not gains(x, weight):
        pytest.skip("needs a processor with AMX and the native library")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels-last"])
def test_it_is_the_gradient(shape, stride, layout):
    pictures, inputs, outputs, height, width = shape
    x = _draw((pictures, inputs, height, width), "x")
    dy = _draw((pictures, outputs, -(-height // stride), -(-width // stride)), "dy")
    weight = _draw((outputs, inputs, 3, 3), "w").float().contiguous(memory_format=layout)
    _needs_tiles(x, weight)
    leaves = [x.double().requires_grad_(), weight.double().requires_grad_()]
    expected_y = F.conv2d(*leaves, stride=stride, padding=1)
    expected = torch.autograd.grad(expected_y, leaves, dy.double())
    x.requires_grad_()
    weight.requires_grad_()
    y = convolution(x, weight, stride)
    assert torch.equal(y, F.conv2d(x, weight.bfloat16(), stride=stride, padding=1))
    dx, d_weight = torch.autograd.grad(y, [x, weight], dy)
    # Inputs are exact in bfloat16, so only float32 sums of the products remain: nothing is rounded to bfloat16.
    assert d_weight.dtype == torch.float32
    assert (d_weight.double() - expected[1]).norm() < 1e-6 * expected[1].norm()
    assert (dx.double() - expected[0]).norm() < 2.0**-8 * expected[0].norm()


def test_the_number_of_threads_changes_nothing():
    x, dy, weight = _draw((37, 32, 9, 9), "x"), _draw((37, 64, 9, 9), "dy"), _draw((64, 32, 3, 3), "w").float()
    _needs_tiles(x, weight)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(module.weight_gradient(x, dy, weight, 1))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_can_be_differentiated(stride):
    x, weight = _draw((2, 16, 4, 4), "x").requires_grad_(), _draw((16, 16, 3, 3), "w").float().requires_grad_()
    _needs_tiles(x, weight)

    def second(run):
        (dx,) = torch.autograd.grad(run(x, weight, stride).float().square().sum(), x, create_graph=True)
        return torch.autograd.grad(dx.float().square().sum(), weight)[0]

    got = second(convolution)
    expected = second(lambda x, weight, stride: F.conv2d(x, weight.bfloat16(), None, stride, 1))
    assert (got - expected).norm() < 1e-2 * expected.norm()


def test_a_frozen_weight_or_input_costs_nothing():
    x, weight = _draw((2, 16, 4, 4), "x"), _draw((16, 16, 3, 3), "w").float()
    _needs_tiles(x, weight)
    convolution(x, weight.clone().requires_grad_()).sum().backward()
    assert x.grad is None
    leaf = x.clone().requires_grad_()
    convolution(leaf, weight).sum().backward()
    assert leaf.grad is not None


@pytest.mark.parametrize(("x", "weight"), [
    ((2, 24, 8, 8), (16, 24, 3, 3)), ((2, 16, 8, 8), (24, 16, 3, 3)), ((2, 16, 8, 8), (16, 16, 1, 1)),
], ids=str)  # fmt: skip
def test_other_shapes_stay_with_torch(x, weight):
    assert not gains(_draw(x, "x"), _draw(weight, "w"))


def test_other_layouts_and_dtypes_stay_with_torch():
    x, weight = _draw((2, 16, 8, 8), "x"), _draw((16, 16, 3, 3), "w")
    assert not gains(x.float(), weight)
    assert not gains(x.contiguous(), weight)
