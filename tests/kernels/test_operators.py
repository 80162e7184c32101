"""The fused layers as operators: what a tracer is told of them is true, and compiled networks train as eager ones."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.library import opcheck

import hillock
from hillock.activations import Activation
from hillock.kernels import native, operators, traced
from hillock.kernels import weight_gradient as tiles
from hillock.layers.fused import fuse
from hillock.networks import network
from hillock.randomness import generator

pytestmark = [
    pytest.mark.skipif(not native.available(), reason=f"needs the native library: {native.reason()}"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # the compiler's own
    pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning"),
]


def _draw(shape: tuple[int, ...], purpose: str, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    x = torch.randn(shape, generator=generator(0, purpose, *shape)).to(dtype)
    return x.to(memory_format=torch.channels_last) if x.dim() == 4 else x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("by_batch", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("name", "constants"), [("relu", []), ("leaky_relu", [0.2])])
@pytest.mark.parametrize("with_residual", [True, False], ids=["residual", "alone"])
def test_the_normalisation_is_a_proper_operator(dtype, by_batch, name, constants, with_residual):
    x, dy = (_draw((2, 5, 3, 4), purpose, dtype) for purpose in ("x", "dy"))
    residual = _draw((2, 5, 3, 4), "residual", dtype) if with_residual else None
    gamma, beta = _draw((5,), "gamma", torch.float32), _draw((5,), "beta", torch.float32)
    opcheck(operators.norm_statistics, (x,))
    settings = (*operators.norm_statistics(x).unbind(), 1e-5, by_batch, name, constants)
    opcheck(operators.norm_activation_backward, (dy, x, residual, gamma, beta, *settings))
    leaves = [None if t is None else t.clone().requires_grad_() for t in (x, residual, gamma, beta)]
    opcheck(operators.norm_activation, (*leaves, *settings))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_pooling_is_a_proper_operator(dtype):
    x = _draw((2, 5, 7, 6), "x", dtype)
    opcheck(operators.max_pool_with_places, (x.clone().requires_grad_(), 3, 2, 1))
    y, where = operators.max_pool_with_places(x, 3, 2, 1)
    opcheck(operators.max_pool_backward, (torch.ones_like(y), where, x.shape, 3, 2, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_response_norm_is_a_proper_operator(dtype):
    x, dy = (_draw((2, 6, 3, 4), purpose, dtype) for purpose in ("x", "dy"))
    opcheck(operators.response_norm, (x.clone().requires_grad_(), 3, 0.1, 0.75, 1.0, 2))
    opcheck(operators.response_norm_backward, (dy, x, 3, 0.1, 0.75, 1.0, 2))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_weight_gradient_is_a_proper_operator_and_linear(stride):
    if not tiles.available():
        pytest.skip("needs a processor with AMX")
    x, dy = _draw((2, 16, 4, 5), "x"), _draw((2, 32, 4 // stride, -(-5 // stride)), "dy")
    weight = _draw((32, 16, 3, 3), "w", torch.float32)
    leaves = [x.requires_grad_(), dy.requires_grad_()]
    opcheck(operators.weight_gradient, (*leaves, weight, stride))
    outer = _draw((32, 16, 3, 3), "outer")  # already rounded, so that only sums differ
    got = torch.autograd.grad(operators.weight_gradient(*leaves, weight, stride), leaves, outer.float())
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = torch.autograd.grad((F.conv2d(exact[0], outer.double(), None, stride, 1) * exact[1]).sum(), exact)
    for found, right in zip(got, expected, strict=True):
        assert (found.double() - right).norm() < 2.0**-8 * right.norm()


def _stack() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.MaxPool2d(3, 2), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


def _resnet() -> nn.Module:
    return network("resnet8", activation="relu", num_classes=10)


def _train(run, model, bfloat16):
    """Return all gradients and all running statistics of one step, in float64."""
    x = _draw((8, 3, 16, 16), "pictures", next(model.parameters()).dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = F.cross_entropy(run(x).double(), torch.arange(8) % 10)
    loss.backward()
    return [torch.cat([t.double().flatten() for t in of])
            for of in ([p.grad for p in model.parameters()], list(model.buffers()))]  # fmt: skip


def _relative(found, right):
    return [float((a - b).norm() / b.norm()) for a, b in zip(found, right, strict=True)]


@pytest.mark.parametrize(("make", "bfloat16", "backend"), [
    (_stack, False, "aot_eager"), (_stack, True, "aot_eager"), (_stack, True, "inductor"),
    (_resnet, True, "aot_eager"),
])  # fmt: skip
def test_a_compiled_network_trains_as_the_eager_one(make, bfloat16, backend, monkeypatch):
    plain = make().to(memory_format=torch.channels_last)
    exact, fused = copy.deepcopy(plain).double(), fuse(copy.deepcopy(plain))
    compiled = copy.deepcopy(fused)
    right = _train(exact, exact, bfloat16=False)
    off = {"plain": _relative(_train(plain, plain, bfloat16), right)}
    eager = _train(fused, fused, bfloat16)
    passes, statistics = [], operators.norm_passes.statistics
    monkeypatch.setattr(operators.norm_passes, "statistics", lambda x: passes.append(x.shape) or statistics(x))
    found = _train(torch.compile(compiled, fullgraph=True, backend=backend), compiled, bfloat16)
    assert len(passes) == sum(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    off["compiled"] = _relative(found, right)
    assert off["compiled"][0] < 1.25 * off["plain"][0] + 1e-6, off
    assert off["compiled"][1] < 1.25 * off["plain"][1] + 1e-6, off
    # Eager fused layers round the sum of a fork's two gradients once less; Inductor fuses casts away.
    assert max(_relative(found, eager)) < (2.0**-6 if bfloat16 else 1e-6)


def test_a_compiled_network_evaluates_as_the_eager_one():
    model = fuse(_stack().to(memory_format=torch.channels_last))
    _train(model, model, bfloat16=False)
    model.eval()
    x = _draw((3, 3, 16, 16), "pictures", torch.float32)
    with torch.no_grad():
        assert torch.equal(torch.compile(model, fullgraph=True, backend="aot_eager")(x), model(x))


def test_what_an_operator_cannot_do_is_traced_and_said_once(caplog, monkeypatch):
    monkeypatch.setattr(traced, "_SAID", set())
    model = fuse(nn.Sequential(nn.BatchNorm2d(16), nn.PReLU(), nn.BatchNorm2d(16), nn.PReLU()))
    x = _draw((2, 16, 4, 4), "x", torch.float32)
    with caplog.at_level(logging.INFO, "hillock"):
        assert torch.allclose(torch.compile(model, backend="eager", fullgraph=True)(x), model(x), atol=1e-6)
    assert ["learns its parameters" in record.message for record in caplog.records] == [True]


def test_function_transforms_inside_compiled_code_see_plain_operations():
    model = fuse(_stack().to(memory_format=torch.channels_last)).eval()
    parameters = dict(model.named_parameters())
    x = _draw((2, 3, 16, 16), "pictures", torch.float32)

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (x,)).square().mean()

    got = torch.compile(torch.func.grad(loss), backend="aot_eager", fullgraph=True)(parameters)
    expected = dict(zip(parameters, torch.autograd.grad(loss(parameters), list(parameters.values())), strict=True))
    for name, value in expected.items():
        assert torch.allclose(got[name], value, rtol=1e-3, atol=1e-4), name


def test_a_declaration_of_ones_own_with_a_known_name_is_not_mistaken_in_compiled_code():
    own = hillock.activation(Activation(name="relu", formula="x*cos(x)"))
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), own).to(memory_format=torch.channels_last).eval()
    x = _draw((2, 3, 8, 8), "own", torch.float32)
    normalised = model[1](model[0](x))
    with torch.no_grad():
        got = torch.compile(fuse(copy.deepcopy(model)), fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(got, normalised * normalised.cos(), rtol=1e-4, atol=1e-5)
