"""The native response normalisation against the formula in float64."""

from __future__ import annotations

import pytest
import torch

from hillock.kernels import native
from hillock.kernels.response_norm import Window, composite, response_norm, takes
from hillock.randomness import generator

pytestmark = pytest.mark.skipif(not native.available(), reason=f"needs the native library: {native.reason()}")

# Towers of whole vectors, of a few lanes, one of many; windows wider than a tower; one channel; more than one task.
SHAPES = [((2, 96, 5, 3), 2), ((3, 24, 4, 4), 4), ((2, 7, 3, 5), 1), ((1, 101, 2, 2), 1), ((2, 4, 3, 3), 4),
          ((2, 1, 9, 8), 1), ((1, 51, 13, 12), 3)]  # fmt: skip


def _map(shape: tuple[int, ...], dtype: torch.dtype, purpose: str) -> torch.Tensor:
    x = 3 * torch.randn(shape, generator=generator(0, purpose, *shape))
    return x.to(dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(("shape", "towers"), SHAPES, ids=str)
@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_is_the_formula_and_its_gradient(shape, towers, size, dtype):
    window = Window(size, alpha=0.3, beta=0.75, k=2.0, towers=towers)
    x, dy = _map(shape, dtype, "x").requires_grad_(), _map(shape, dtype, "dy")
    assert takes(x.detach(), window)
    y = response_norm(x, window)
    (dx,) = torch.autograd.grad(y, x, dy)
    exact = x.detach().double().requires_grad_()
    right = composite(exact, window)
    (right_dx,) = torch.autograd.grad(right, exact, dy.double())
    # One rounding to the format, 8 or 24 bits, on top of a few in float32; the gradient is a difference.
    unit = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-20
    assert ((y.double() - right).abs() <= unit * right.abs()).all()
    assert (dx.double() - right_dx).norm() < unit * right_dx.norm()
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_an_infinite_value_leaves_its_neighbours_zero():
    x = torch.ones(1, 8, 1, 1)
    x[0, 2] = 1e30  # whose square is infinite
    window = Window(5, 1.0, 0.75, 1.0, 1)
    assert torch.equal(response_norm(x, window)[0, :, 0, 0] == 0, torch.tensor([True] * 5 + [False] * 3))
    x[0, 2] = float("nan")
    assert torch.equal(response_norm(x, window)[0, :, 0, 0].isnan(), torch.tensor([True] * 5 + [False] * 3))


def test_the_gradient_can_be_differentiated():
    x, window = _map((2, 6, 2, 3), torch.float32, "x").requires_grad_(), Window(3, 0.1, 0.75, 1.0, 2)

    def second(run):
        (dx,) = torch.autograd.grad(run(x, window).pow(2).sum(), x, create_graph=True)
        return torch.autograd.grad(dx.pow(3).sum(), x)[0]

    assert torch.allclose(second(response_norm), second(composite), rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_changes_nothing():
    x, dy, found = _map((4, 24, 9, 9), torch.bfloat16, "x"), _map((4, 24, 9, 9), torch.bfloat16, "dy"), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            leaf = x.clone().requires_grad_()
            y = response_norm(leaf, Window(5, 1e-2, 0.75, 2.0, 1))
            found.append([y, *torch.autograd.grad(y, leaf, dy)])
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


def test_what_it_leaves_to_torch():
    x, window = _map((2, 8, 3, 3), torch.float32, "x"), Window(5, 1e-4, 0.75, 2.0, 1)
    assert not takes(x.double(), window)
    assert not takes(x.contiguous(), window)
    assert not takes(x, window._replace(beta=0.5))
    assert not takes(x, window._replace(towers=3))
