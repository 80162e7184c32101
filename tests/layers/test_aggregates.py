"""Aggregates: what they compute, and the identities with pointwise functions."""

from __future__ import annotations

import importlib
import math

import pytest
import torch
from torch import nn

import hillock
from hillock.activations import CATALOGUE, Card, find
from hillock.errors import UsageError
from hillock.layers.crelu import CReLU, crelu
from hillock.layers.dynamic_relu import DynamicReLU
from hillock.layers.gate import Gate
from hillock.layers.maxout import Maxout, MaxoutConv2d, MaxoutLinear, maxout
from hillock.layers.softmax import LogSoftmax, Softmax
from hillock.randomness import generator

CARDS = [entry for entry in CATALOGUE if isinstance(entry, Card)]

# torch's own compiler and forward mode use something that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(0, "aggregates"), dtype=torch.float64)


@pytest.mark.parametrize("card", CARDS, ids=str)
def test_every_card_leads_to_its_layer(card: Card) -> None:
    module, _, name = card.layer.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    layer = kind(8, **card.options) if name == "DynamicReLU" else kind(**card.options)
    assert torch.isfinite(layer(torch.ones(2, 8, 3, 3))).all()
    if card.functional:
        function = getattr(hillock.functional, card.functional)
        dim = 1 if name != "Gate" else -3
        x = torch.ones(2, 8, 3, 3)
        expected = layer(x)
        got = function(x, dim=dim) if name != "Maxout" else function(x)
        if name in {"Softmax", "LogSoftmax"}:
            got = function(x)
        torch.testing.assert_close(got, expected)


def test_maxout_makes_relu_and_the_absolute_value() -> None:
    x = numbers(5, 3)
    zeros = torch.zeros_like(x)
    torch.testing.assert_close(maxout(torch.stack([x, zeros], 2).flatten(1)), find("relu").value(x))
    torch.testing.assert_close(maxout(torch.stack([x, -x], 2).flatten(1)), x.abs())
    torch.testing.assert_close(maxout(torch.stack([x, 0.1 * x], 2).flatten(1)), torch.maximum(x, 0.1 * x))
    assert torch.autograd.gradcheck(lambda x: maxout(x, 3), (numbers(2, 6).requires_grad_(True),))
    with pytest.raises(UsageError, match="divisible"):
        Maxout(pieces=4)(numbers(2, 6))


def test_dense_and_convolutional_maxout() -> None:
    dense = MaxoutLinear(4, 3, pieces=5)
    assert dense(torch.ones(7, 4)).shape == (7, 3)
    assert sum(p.numel() for p in dense.parameters()) == 5 * (4 + 1) * 3
    convolution = MaxoutConv2d(2, 3, 3, pieces=2, padding=1)
    assert convolution(torch.ones(1, 2, 8, 8)).shape == (1, 3, 8, 8)


def test_gates() -> None:
    x = numbers(4, 6)
    a, b = x.chunk(2, 1)
    torch.testing.assert_close(hillock.functional.glu(x, dim=1), torch.nn.functional.glu(x, dim=1))
    torch.testing.assert_close(hillock.functional.gtu(x, dim=1), torch.tanh(a) * torch.sigmoid(b))
    torch.testing.assert_close(hillock.functional.bilinear(x, dim=1), a * b)
    torch.testing.assert_close(hillock.functional.reglu(x, dim=1), a * torch.relu(b))
    torch.testing.assert_close(hillock.functional.geglu(x, dim=1), a * torch.nn.functional.gelu(b))
    torch.testing.assert_close(hillock.functional.swiglu(x, dim=1), a * torch.nn.functional.silu(b))
    # GLU with both halves equal is Swish: the remark on its card
    torch.testing.assert_close(Gate(dim=1)(torch.cat([a, a], 1)), torch.nn.functional.silu(a))
    assert torch.autograd.gradcheck(Gate("gelu", linear="tanh", dim=1), (x.clone().requires_grad_(True),))
    with pytest.raises(UsageError, match="even"):
        Gate(dim=1)(numbers(2, 3))


def test_crelu_loses_nothing() -> None:
    x = numbers(2, 3, 4, 4)
    y = crelu(x)
    assert y.shape == (2, 6, 4, 4)
    positive, negative = y.chunk(2, 1)
    torch.testing.assert_close(positive - negative, x)
    assert CReLU(dim=-1)(x).shape == (2, 3, 4, 8)


def test_softmax_of_the_notes() -> None:
    x = torch.tensor([2.0, 0.5, -3.0], dtype=torch.float64)
    probabilities = Softmax()(x)
    assert probabilities.tolist() == pytest.approx([0.81310, 0.18143, 0.00548], abs=5e-6)
    assert -LogSoftmax()(x)[0].item() == pytest.approx(0.206907, abs=1e-6)
    torch.testing.assert_close(Softmax()(x + 1000), probabilities)
    assert math.isfinite(LogSoftmax()(1e4 * x).min())


@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_dynamic_relu_starts_as_relu_and_learns(kind: str) -> None:
    layer = DynamicReLU(16, kind=kind).double()
    x = numbers(3, 16, 4, 4)
    torch.testing.assert_close(layer(x), x.clamp(min=0))
    outputs = {"A": 4, "B": 64, "C": 64}[kind]
    assert layer.excite.out_features == outputs
    nn.init.ones_(layer.squeeze.bias)
    nn.init.normal_(layer.excite.weight, std=0.5, generator=generator(0, "dynamic relu"))
    leaf = x.clone().requires_grad_(True)
    y = layer(leaf)
    assert (y - x.clamp(min=0)).abs().max() > 1e-3
    y.sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for name, p in layer.named_parameters() if "squeeze" in name
    )
    if kind == "B":  # slopes within 1 ± 1 and 0 ± 1, offsets within ± 0.5
        assert y.max() <= 2 * x.max() + 0.5
    with pytest.raises(UsageError, match="kind A, B or C"):
        DynamicReLU(4, kind="D")
    with pytest.raises(UsageError, match="16"):
        layer(numbers(3, 8, 4, 4))


@pytest.mark.parametrize("card", CARDS, ids=str)
def test_aggregates_compile(card: Card) -> None:
    module, _, name = card.layer.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    layer = kind(8, **card.options) if name == "DynamicReLU" else kind(**card.options)
    x = numbers(2, 8, 3, 3).float()
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(x), layer(x))
