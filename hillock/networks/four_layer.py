"""The four-layer CIFAR-10 network of AlexNet's figure 1 (ReLU against tanh).

The paper does not specify it. This is the network that its authors call four-layer elsewhere (a footnote: 13 % test
error without, 11 % with response normalisation), layers-conv-local-13pct.cfg of the cuda-convnet program: two
convolutions, two locally connected layers, a classifier. Departure: response normalisation is an option.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.initialisation import initialise, weight_layers
from hillock.layers.local import LocallyConnected2d
from hillock.layers.response_norm import ResponseNorm
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["FourLayerNet"]

STANDARD_DEVIATIONS = (1e-4, 0.01, 0.04, 0.04, 0.01)  # initW of the five layers with weights, in order


class FourLayerNet(Network):
    """conv 5x5 - pool - conv 5x5 - pool - local 3x3 - local 3x3 - linear; an activation after each of the first four.

    Arguments:
        channels: of the convolutions (64); the local layers have half as many.
        response_norm: normalise across maps after each pooling (size 9, alpha 5e-5 before division, beta 0.75, k 1).
    """

    def __init__(
        self,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        channels: int = 64,
        response_norm: bool = False,
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        side = input_size[1]
        if input_size[1] != input_size[2] or side < 4:
            raise UsageError("square pictures of at least 4 pixels a side", got=f"{input_size[1]}x{input_size[2]}")
        half = max(1, channels // 2)
        self.features = nn.Sequential()
        add = self.features.add_module
        previous = input_size[0]
        for number in (1, 2):
            add(f"conv{number}", undrawn(nn.Conv2d, previous, channels, 5, 1, 2))
            add(f"act{number}", sites(channels))
            add(f"pool{number}", nn.MaxPool2d(3, 2, ceil_mode=True))  # 32 -> 16 -> 8
            if response_norm:
                add(f"norm{number}", ResponseNorm(9, 5e-5, 0.75, 1.0))
            previous, side = channels, -(-(side - 3) // 2) + 1
        for number in (3, 4):
            add(f"local{number}", LocallyConnected2d(previous, half, (side, side), 3, padding=1))
            add(f"act{number}", sites(half))
            previous = half
        self.flatten = nn.Flatten()
        self.head = undrawn(nn.Linear, half * side * side, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.flatten(self.features(x)))
        return logits

    @torch.no_grad()
    def initialise(self, scheme: str | None, *, sites: ActivationSites, seed: int) -> None:
        """Fill the weights by `scheme`, or as the original configuration does: N(0, σ²) with a σ for each layer."""
        if scheme is not None:
            super().initialise(scheme, sites=sites, seed=seed)
            return
        initialise(self, "normal", seed=seed, std=1.0)
        for (_, layer), std in zip(weight_layers(self), STANDARD_DEVIATIONS, strict=True):
            assert isinstance(layer.weight, Tensor)
            layer.weight.mul_(std)
