"""Modules of torch and timm are recognised with their parameters, and compute what the entry says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hillock import kernels
from hillock.layers.activation_layer import activation
from hillock.layers.recognise import recognise

MODULES = [
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.3), nn.PReLU(init=0.1), nn.PReLU(4, init=0.2), nn.RReLU(0.1, 0.3).eval(),
    nn.ELU(0.7), nn.SELU(), nn.CELU(1.3), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(),
    nn.Tanh(), nn.Softplus(2.0, 15.0), nn.Softsign(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Hardtanh(-2, 3),
    nn.Hardsigmoid(), nn.Hardswish(), nn.Hardshrink(0.3), nn.Softshrink(0.2), nn.Threshold(0.1, 5.0),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_torchs_modules(module: nn.Module) -> None:
    found = recognise(module)
    assert found is not None
    entry, constants = found
    x = torch.linspace(-5, 5, 44).reshape(11, 4)
    torch.testing.assert_close(kernels.apply(entry, x, constants), module(x), rtol=1e-5, atol=1e-6)


def test_our_own_and_what_is_none() -> None:
    layer = activation("prelu", num_channels=2)
    found = recognise(layer)
    assert found is not None
    assert found[0].name == "prelu"
    assert found[1]["negative_slope"] is layer.negative_slope

    class Doubled(nn.ReLU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    for module in (Doubled(), nn.Identity(), nn.Linear(1, 1), nn.Softmax(), nn.Sequential(nn.ReLU())):
        assert recognise(module) is None


def test_timms_modules(timm: Any) -> None:
    from timm.layers import create_act_layer

    x = torch.linspace(-4, 4, 33)
    for name in ("swish", "mish", "hard_swish", "hard_sigmoid", "gelu", "gelu_tanh", "quick_gelu", "sigmoid", "tanh"):
        module = create_act_layer(name)
        found = recognise(module)
        assert found is not None, f"{name}: {type(module)}"
        torch.testing.assert_close(kernels.apply(*((found[0], x, found[1]))), module(x), rtol=1e-4, atol=1e-5)
