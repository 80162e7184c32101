"""Small real data and small networks for the tests of the diagnosis."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from hillock.randomness import generator

Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="session")
def digits() -> list[Batch]:
    """Four batches of 128 scanned digits [128, 1, 8, 8], normalised."""
    pictures, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pictures, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    inputs = (inputs - inputs.mean()) / inputs.std()
    targets = torch.tensor(labels)
    return [(inputs[start : start + 128], targets[start : start + 128]) for start in range(0, 512, 128)]


def redraw(network: nn.Module, gain: float, seed: int = 0) -> nn.Module:
    """Draw every matrix from N(0, gain²/fan-in) and set every bias to 0."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() >= 2:
                weight.normal_(0, gain / weight[0].numel() ** 0.5, generator=generator(seed, name))
            elif name.endswith("bias"):
                weight.zero_()
    return network


@pytest.fixture(scope="session")
def perceptron() -> Callable[..., nn.Sequential]:
    """A builder of perceptrons for the digits: perceptron(nn.Tanh, depth=5, gain=1.0)."""

    def build(activation: Callable[[], nn.Module], *, depth: int = 4, width: int = 64, gain: float = 1.0) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        units = 64
        for _ in range(depth - 1):
            layers += [nn.Linear(units, width), activation()]
            units = width
        return redraw(nn.Sequential(*layers, nn.Linear(units, 10)), gain)

    return build


@pytest.fixture(scope="session")
def example() -> Callable[[str], Any]:
    """Loads one of the examples as a module: example("plain_loop")."""

    def load(name: str) -> Any:
        path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.py"
        specification = importlib.util.spec_from_file_location(name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load
