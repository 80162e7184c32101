"""The plan of what backward keeps: found from the declaration, and right at every kink in every dtype."""

from __future__ import annotations

import pytest
import torch

from hillock import kernels
from hillock.activations import Activation, catalogue
from hillock.kernels.bound import bind
from hillock.kernels.plan import SMALLEST, make_plan

POINTWISE = {name: found for name, found in catalogue().items() if isinstance(found, Activation)}
TWO_SLOPES = [name for name, a in POINTWISE.items() if make_plan(a, a.constants()).kind == "bits"]


def test_the_piecewise_linear_functions_are_found() -> None:
    expected = {"relu", "leaky_relu", "prelu", "relu6", "hard_tanh", "hard_sigmoid", "threshold", "soft_shrink"}
    assert expected <= set(TWO_SLOPES)
    assert kernels.saved_plan(POINTWISE["identity"]) == "nothing"
    for name in ("gelu", "silu", "hard_swish", "squared_relu", "absolute"):  # |x| has three slopes: 0 at 0
        assert kernels.saved_plan(POINTWISE[name]) == "input"


def test_a_learned_parameter_needs_the_input() -> None:
    assert kernels.saved_plan(POINTWISE["prelu"]) == "input"
    assert kernels.saved_plan(POINTWISE["leaky_relu"], {"negative_slope": torch.tensor(0.1)}) == "input"


def test_a_user_formula_gets_its_plan() -> None:
    ramp = Activation(name="ramp", formula="Piecewise((0, x < 2), (3*(x - 2), True))")
    assert kernels.saved_plan(ramp) == "bits"
    assert kernels.saved_plan(Activation(name="wave", formula="x*cos(x)")) == "input"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", TWO_SLOPES)
def test_bits_give_the_gradient_of_the_input_to_the_bit(name: str, dtype: torch.dtype) -> None:
    activation = POINTWISE[name]
    constants = activation.constants()
    kinks = torch.tensor(activation.kink_places(constants), dtype=torch.float64).to(dtype)
    far = torch.full_like(kinks, torch.inf)
    special = [
        kinks,
        torch.nextafter(kinks, far),
        torch.nextafter(kinks, -far),
        torch.tensor([0.0, -0.0, torch.inf]),  # with -inf beside it the sum is NaN, and the input would be kept
    ]
    spread = torch.randn(SMALLEST + 3, generator=torch.Generator().manual_seed(0)) * 4
    x = torch.cat([*special, spread]).to(dtype)
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    for form in (x, x[: SMALLEST // 8 * 8], torch.stack([x, x]).t(), torch.stack([x, x])[:, ::2]):
        weight = g[: form.numel()].view(form.shape) if form.numel() <= g.numel() else torch.ones_like(form)
        leaf = form.clone(memory_format=torch.preserve_format).requires_grad_()
        y = kernels.apply(activation, leaf, constants)
        assert y.grad_fn is not None
        assert y.grad_fn.geometry is not None, "the bits were not used"  # type: ignore[attr-defined]
        (found,) = torch.autograd.grad(y, leaf, weight)
        expected = bind(activation, constants)[0].backward(weight, form)
        assert torch.equal(found, expected)
        assert torch.equal(found.signbit(), expected.signbit())


def test_bits_survive_double_backward() -> None:
    x = torch.linspace(-2, 2, 2 * SMALLEST, requires_grad=True)
    w = torch.tensor(3.0, requires_grad=True)
    y = kernels.apply(POINTWISE["relu"], x * w, {})
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (found,) = torch.autograd.grad(slope.sum(), w)
    assert found == SMALLEST


def test_odd_parameters_fall_back_to_the_input_or_are_right() -> None:
    activation = POINTWISE["threshold"]
    for threshold in (1e6, 1e-30, -7.3, 70000.0):
        constants = {**activation.constants(), "threshold": threshold}
        x = torch.cat([torch.linspace(-3, 3, SMALLEST), torch.tensor([threshold, 2 * threshold, 0.5 * threshold])])
        leaf = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(kernels.apply(activation, leaf, constants).sum(), leaf)
        assert torch.equal(found, kernels.slope(activation, x, constants))
