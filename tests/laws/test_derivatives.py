"""What autograd sees: first and second derivatives by finite differences, and the gradients of parameters."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch

from hillock import kernels
from hillock.activations import Activation
from hillock.activations import formula as formulas
from hillock.layers.activation_layer import ActivationLayer
from hillock.randomness import generator


def smooth_points(activation: Activation, count: int = 40) -> torch.Tensor:
    """Random points in [-4, 4], none within 0.01 of a kink or of 0 (where SMU bends within 1e-6)."""
    x = 8 * torch.rand(4 * count, generator=generator(0, "smooth points"), dtype=torch.float64) - 4
    for place in (0.0, *activation.kink_places()):
        x = x[(x - place).abs() > 0.01]
    return x[:count].clone().requires_grad_(True)


def test_gradcheck_and_gradgradcheck(activation: Activation) -> None:
    constants = activation.constants()
    x = smooth_points(activation)
    assert torch.autograd.gradcheck(lambda x: kernels.apply(activation, x, constants), (x,), atol=1e-6)
    assert torch.autograd.gradgradcheck(lambda x: kernels.apply(activation, x, constants), (x,), atol=1e-6)


def test_the_value_alone_has_the_same_gradient(activation: Activation) -> None:
    """Autograd through the value's own expression, as a compiler traces it, agrees with the slope; kinks included."""
    constants = activation.constants()
    x = torch.cat([smooth_points(activation).detach(), torch.tensor(activation.kink_places(), dtype=torch.float64)])
    x.requires_grad_(True)
    value = activation.value(x, **constants)
    if not value.requires_grad:
        assert activation.slope(x, **constants).abs().max() == 0  # a step: no gradient at all
        return
    (gradient,) = torch.autograd.grad(value.sum(), x)
    if activation.name in {"binary_step", "signum", "absolute"}:
        gradient, x = gradient[:-1], x[:-1]  # a number is declared there, not a side
    torch.testing.assert_close(gradient, activation.slope(x, **constants), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("num_channels", [None, 3])
def test_parameter_gradients(laws: ModuleType, activation: Activation, num_channels: int | None) -> None:
    names = [p.name for p in activation.parameters if not p.drawn and math.isfinite(p.default)]
    if not names:
        assert activation.drawn or not activation.parameters
        return
    x = smooth_points(activation, 12).detach().reshape(2, 3, 2)
    layer = ActivationLayer(activation, learned=names, num_channels=num_channels).double()
    layer(x).sum().backward()
    constants = {name: float(torch.as_tensor(value).detach().flatten()[0]) for name, value in layer.constants.items()}
    for name in names:
        oracle = formulas.Oracle(formulas.derivative(activation.expression, name), constants)
        exact = torch.tensor([float(oracle(number)) for number in x.flatten().tolist()]).double().reshape(x.shape)
        expected = exact.sum() if num_channels is None else exact.sum(dim=(0, 2))
        found = getattr(layer, name).grad
        torch.testing.assert_close(
            found, expected, rtol=1e-6, atol=1e-7, msg=lambda text, name=name: f"{activation} by {name}: {text}"
        )
