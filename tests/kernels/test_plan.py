"""The plan of what backward keeps: found from the declaration, and right at every kink in every dtype."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hillock import kernels
from hillock.activations import Activation, catalogue
from hillock.kernels import native, plan
from hillock.kernels.bound import bind
from hillock.kernels.plan import SMALLEST, make_plan
from hillock.randomness import generator

POINTWISE = {name: found for name, found in catalogue().items() if isinstance(found, Activation)}
needs_native = pytest.mark.skipif(not native.available(), reason=f"no native kernels: {native.reason()}")
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


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@given(count=st.integers(1, 9000), low=st.sampled_from([-math.inf, -1.0, 0.0]), high=st.sampled_from([1.0, math.inf]))
@settings(max_examples=30, deadline=None)
def test_the_native_bits_are_those_of_tensor_operations(
    dtype: torch.dtype, count: int, low: float, high: float
) -> None:
    x = torch.randn(count, generator=generator(count, "bits")).to(dtype)
    x[::5] = low
    x[::7] = high
    packed, has_nan = native.region_bits(x, low, high)
    assert not has_nan
    assert torch.equal(packed, plan._pack((x >= low) & (x <= high)))
    x[count // 2] = math.nan
    assert native.region_bits(x, low, high)[1]


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", TWO_SLOPES)
def test_the_gradient_of_bits_is_that_of_the_stand_in(name: str, dtype: torch.dtype) -> None:
    """Also where the gradient lies otherwise than the input did."""
    activation = POINTWISE[name]
    bound, _ = bind(activation, activation.constants())
    x = torch.randn(6, 5, 31, 7, generator=generator(0, "stand-in")).mul(3).to(dtype)
    g = torch.randn(x.shape, generator=generator(1, "stand-in")).to(dtype)
    for input_ in (x, x.to(memory_format=torch.channels_last), x.transpose(0, 3)):
        bits = bound.plan.keep(input_)
        assert bits is not None
        direct = bound.backward_of_bits(g.reshape(input_.shape), bits.packed, bits.geometry)
        by_stand_in = bound.backward(g.reshape(input_.shape), bound.plan.stand_in(bits.packed, bits.geometry))
        assert direct.stride() == by_stand_in.stride()
        assert torch.equal(direct, by_stand_in)
