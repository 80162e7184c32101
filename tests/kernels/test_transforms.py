"""Every transform, by value: derivatives of representative functions against SymPy's, eager and through each compiler.

"It ran" proves nothing here: the obvious designs run and return wrong numbers (see test_traps.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy
import pytest
import sympy
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from hillock import kernels
from hillock.activations import Activation, find
from hillock.layers.activation_layer import ActivationLayer

pytestmark = [
    # torch scripts its own forward-mode decompositions and advises on vectorisation; neither is our business.
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:torch"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:torch"),
]

FUNCTIONS = {"silu": {}, "gelu": {}, "elu": {"alpha": 1.3}, "softplus": {"beta": 1.0}, "leaky_relu": {}}
POINTS = torch.tensor([-9.0, -3.5, -1.25, -0.5, -0.01, 0.02, 0.75, 2.0, 6.0])


def function(name: str) -> Callable[[Tensor], Tensor]:
    activation = find(name)
    constants = activation.constants(**FUNCTIONS[name])
    return lambda x: kernels.apply(activation, x, constants)


@functools.cache
def derivative(name: str, order: int) -> Tensor:
    """SymPy's derivative at POINTS, evaluated with 30 digits."""
    activation = find(name)
    x = sympy.Symbol("x")
    constants = {
        key: value if numpy.isfinite(value) else sympy.oo
        for key, value in activation.constants(**FUNCTIONS[name]).items()
    }
    expression = activation.expression
    symbols = {symbol.name: symbol for symbol in expression.free_symbols}
    expression = expression.subs({symbols[k]: v for k, v in constants.items() if k in symbols})
    expression = expression.subs(symbols["x"], x)
    if order:
        expression = sympy.diff(expression, x, order)
    values = [float(sympy.N(expression.subs(x, sympy.Float(point, 30)), 30)) for point in POINTS.double().tolist()]
    return torch.tensor(values, dtype=torch.float64)


def second(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return vmap(grad(grad(f)))


# name -> (what to do with the function, which derivative it has to give, whether it comes as a diagonal matrix)
TRANSFORMS: dict[str, tuple[Callable[..., Callable[[Tensor], Tensor]], int, bool]] = {
    "value": (lambda f: f, 0, False),
    "grad": (lambda f: grad(lambda x: f(x).sum()), 1, False),
    "vmap(grad)": (lambda f: vmap(grad(f)), 1, False),
    "jacrev": (jacrev, 1, True),
    "jacfwd": (jacfwd, 1, True),
    "jvp": (lambda f: lambda x: jvp(f, (x,), (torch.ones_like(x),))[1], 1, False),
    "gradgrad": (second, 2, False),
    "hessian": (lambda f: hessian(lambda x: f(x).sum()), 2, True),
}


def check(name: str, found: Tensor, order: int, is_diagonal: bool, *, epsilons: float = 16) -> None:
    expected = derivative(name, order)
    if is_diagonal:
        expected = torch.diag(expected)
    scale = torch.finfo(found.dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=epsilons * scale, atol=epsilons * scale)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eager(name: str, transform: str, dtype: torch.dtype) -> None:
    apply, order, is_diagonal = TRANSFORMS[transform]
    check(name, apply(function(name))(POINTS.to(dtype)), order, is_diagonal)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_eager_third_order_and_mixed_modes(name: str) -> None:
    f, x = function(name), POINTS.double()
    check(name, vmap(grad(grad(grad(f))))(x), 3, False, epsilons=1000)
    check(name, jacfwd(jacrev(f))(x).diagonal().diagonal(), 2, False)
    check(name, jacrev(jacfwd(f))(x).diagonal().diagonal(), 2, False)
    check(name, vmap(vmap(grad(f)))(x.view(3, 3)).flatten(), 1, False)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_autograd_of_any_order(name: str) -> None:
    x = POINTS.double().requires_grad_()
    assert torch.autograd.gradcheck(function(name), x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function(name), x)


def test_second_derivative_at_zero_where_the_slope_is_written_with_a_magnitude() -> None:
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for name, expected in (("silu", 0.5), ("gelu", 0.7978845608028654), ("softplus", 0.25)):
        (first,) = torch.autograd.grad(function(name)(x).sum(), x, create_graph=True)
        (found,) = torch.autograd.grad(first.sum(), x)
        torch.testing.assert_close(found, torch.full_like(found, expected))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", ["silu", "elu"])
def test_traced(name: str, backend: str) -> None:
    for apply, order, is_diagonal in TRANSFORMS.values():
        torch._dynamo.reset()
        compiled = torch.compile(apply(function(name)), backend=backend, fullgraph=True)
        check(name, compiled(POINTS), order, is_diagonal)


@pytest.mark.parametrize("name", ["silu", "elu"])
def test_inductor(name: str) -> None:
    """All transforms in one graph, so that one compilation pays for all of them."""
    torch._dynamo.reset()
    f = function(name)
    everything = torch.compile(lambda x: [apply(f)(x) for apply, _, _ in TRANSFORMS.values()], fullgraph=True)
    for found, (_, order, is_diagonal) in zip(everything(POINTS), TRANSFORMS.values(), strict=True):
        check(name, found, order, is_diagonal)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_training_step_has_the_right_slope(backend: str) -> None:
    """Forward and backward of a compiled function, with dynamic shapes, in float32 and bfloat16."""
    torch._dynamo.reset()
    compiled = torch.compile(function("silu"), backend=backend, fullgraph=True, dynamic=True)
    for dtype in (torch.float32, torch.bfloat16):
        for x in (POINTS, torch.cat([POINTS, POINTS])):
            x = x.to(dtype).requires_grad_()
            y = compiled(x)
            assert y.dtype == dtype
            (found,) = torch.autograd.grad(y, x, torch.ones_like(y))
            eager = x.detach().double().requires_grad_()
            (expected,) = torch.autograd.grad(function("silu")(eager).sum(), eager)
            torch.testing.assert_close(found, expected.to(dtype), rtol=8 * torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_network_uses_the_declared_slope(backend: str) -> None:
    """A declaration whose slope is none of its value's tells which of the two the compiler has used."""
    telltale = Activation(
        name="telltale", formula="x", value=torch.square, slope=lambda x: torch.where(x > 0, 3.0, 5.0), trusted=True
    )
    torch._dynamo.reset()
    network = torch.nn.Sequential(torch.nn.Linear(9, 9, bias=False), ActivationLayer(telltale))
    torch.nn.init.eye_(network[0].weight)
    for way in (network, torch.compile(network, backend=backend, fullgraph=True)):
        x = torch.tensor([-200.0, -3.5, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, 200.0], requires_grad=True)
        y = way(x)
        torch.testing.assert_close(y, x.square())
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [5.0, 5.0, 5.0, 5.0, 5.0, 3.0, 3.0, 3.0, 3.0]


def test_learned_parameters_under_transforms() -> None:
    activation = find("prelu")

    def f(x: Tensor, weight: Tensor) -> Tensor:
        return kernels.apply(activation, x, {"negative_slope": weight[:, None]})

    x = torch.linspace(-3, 3, 8, dtype=torch.float64).view(2, 4)
    weight = torch.tensor([0.25, 0.5], dtype=torch.float64)
    expected = torch.where(x > 0, 0, x).sum(1)
    torch.testing.assert_close(grad(lambda w: f(x, w).sum())(weight), expected)
    torch.testing.assert_close(jacfwd(lambda w: f(x, w).sum())(weight), expected)
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    leaf = weight.clone().requires_grad_()
    compiled(x, leaf).sum().backward()
    torch.testing.assert_close(leaf.grad, expected)
    wants = (x.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(f, wants)
    assert torch.autograd.gradgradcheck(f, wants)
