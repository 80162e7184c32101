"""The native max pooling against torch's, to the bit, and against float64 where gradients overlap."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hillock.kernels import native
from hillock.kernels.max_pool import max_pool, takes
from hillock.randomness import generator

pytestmark = pytest.mark.skipif(not native.available(), reason=f"needs the native library: {native.reason()}")

# (side, stride, padding): apart, global, overlapping, with padding, with gaps.
WINDOWS = [(2, 2, 0), (3, 3, 0), (3, 2, 1), (3, 2, 0), (5, 1, 2), (1, 2, 0), (2, 3, 1)]
SHAPES = [(3, 24, 9, 11), (2, 17, 5, 6), (1, 1, 5, 5), (2, 64, 31, 31)]


def _map(shape: tuple[int, ...], dtype: torch.dtype, purpose: str) -> torch.Tensor:
    # Quarters: many equal values, and sums that are exact.
    x = (4 * torch.randn(shape, generator=generator(0, purpose, *shape))).round() / 4
    return x.to(dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_is_torchs_pooling(window, shape, dtype):
    x = _map(shape, dtype, "x").requires_grad_()
    assert takes(x.detach(), window[0], window[2])
    y = max_pool(x, *window)
    expected = F.max_pool2d(x, *window)
    assert torch.equal(y, expected)
    dy = _map(tuple(y.shape), dtype, "dy")
    (dx,) = torch.autograd.grad(y, x, dy)
    exact = x.detach().double().requires_grad_()
    F.max_pool2d(exact, *window).backward(dy.double())
    assert torch.equal(dx, exact.grad.to(dtype))  # summed in float32, rounded once


def test_a_nan_wins_and_the_first_of_equals_too():
    x = torch.tensor([[1.0, float("nan"), 2.0, 2.0], [3.0, 0.0, -1.0, 2.0]]).view(1, 1, 2, 4)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    y = max_pool(x, 2, 2)
    assert y[0, 0, 0, 0].isnan()
    y.sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_everything_minus_infinity():
    x = torch.full((1, 2, 2, 2), -torch.inf).to(memory_format=torch.channels_last)
    assert torch.equal(max_pool(x, 2, 2), F.max_pool2d(x, 2, 2))


def test_the_gradient_can_be_differentiated():
    # Values far apart, so that small steps change no winner.
    x = torch.randperm(2 * 3 * 25, generator=generator(0, "order")).double().view(2, 3, 5, 5).float()
    x = x.to(memory_format=torch.channels_last).requires_grad_()

    def third(run):
        y = run(x)
        (dx,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(dx.pow(2).sum(), x)[0]

    got = third(lambda x: max_pool(x, 3, 2, 1))
    assert torch.allclose(got, third(lambda x: F.max_pool2d(x, 3, 2, 1)), rtol=1e-5)


def test_it_keeps_one_byte_a_result():
    x = _map((4, 16, 8, 8), torch.bfloat16, "x").requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.nbytes) or t, lambda t: t):
        y = max_pool(x, 2, 2)
    assert sum(saved) == y.numel()


def test_what_it_leaves_to_torch():
    assert not takes(torch.zeros(2, 3, 8, 8), 2, 0)  # planes
    assert not takes(_map((2, 3, 8, 8), torch.float32, "x").double(), 2, 0)
    assert not takes(_map((2, 3, 2, 2), torch.float32, "x"), 3, 0)
