"""Initialisations that know where a network's residual branches end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock.errors import ModelError
from hillock.layers.residual import ResidualUnit

__all__ = ["fixup", "zero_gamma"]


def _units(model: nn.Module) -> list[ResidualUnit]:
    units = [module for module in model.modules() if isinstance(module, ResidualUnit) and module.join is not None]
    if not units:
        raise ModelError("a network of hillock's residual units", got=type(model).__name__)
    return units


@torch.no_grad()
def zero_gamma(model: nn.Module) -> None:
    """Set γ = 0 in the last normalisation of every residual branch, so that every unit starts as its shortcut.

    Source: Goyal et al., "Accurate, large minibatch SGD", 2017, section 5.1.
    """
    for unit in _units(model):
        last = unit.branch[-1]
        if not isinstance(last, nn.BatchNorm2d):
            raise ModelError("branches that end in batch normalisation", got=f"one that ends in {type(last).__name__}")
        nn.init.zeros_(last.weight)


@torch.no_grad()
def fixup(model: nn.Module) -> None:
    """Turn He's draws into Fixup's: no normalisation, and yet updates of the same size at every depth.

    With L branches of m convolutions: all but the last convolution of a branch are divided by L^(1/(2m - 2)), the last
    one and the classifier start at 0. The scalar shifts and factors are the network's (`normalisation="fixup"`).

    Source: Zhang, Dauphin, Ma, "Fixup initialization", 2019, the three rules of section 3.
    """
    units = _units(model)
    for unit in units:
        convolutions = [module for module in unit.branch.modules() if isinstance(module, nn.Conv2d)]
        shrink = len(units) ** (-1 / (2 * len(convolutions) - 2))
        for convolution in convolutions[:-1]:
            convolution.weight.mul_(shrink)
        nn.init.zeros_(convolutions[-1].weight)
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.zeros_(head.weight)
    assert isinstance(head.bias, Tensor)
    nn.init.zeros_(head.bias)
