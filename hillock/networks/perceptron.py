"""The multilayer perceptron: any depth, any width, with or without batch normalisation."""

from __future__ import annotations

import math

from torch import Tensor, nn

from hillock.errors import UnknownNameError, UsageError
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["Perceptron"]


class Perceptron(Network):
    """`depth` linear layers, the output layer included, with an activation after each but the last.

        x -> flatten -> (linear -> [batch norm] -> activation) × (depth - 1) -> linear

    Arguments:
        depth: layers of weights, 1 or more (1 is softmax regression).
        width: units of a hidden layer.
        normalisation: "none" or "batch" (between the linear layer and the activation).
    """

    def __init__(
        self,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        depth: int = 3,
        width: int = 128,
        normalisation: str = "none",
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        if depth < 1 or width < 1:
            raise UsageError("a depth and a width of at least 1", got=f"depth {depth}, width {width}")
        if normalisation not in ("none", "batch"):
            raise UnknownNameError("normalisation", normalisation, ("none", "batch"))
        self.flatten = nn.Flatten()
        units = math.prod(input_size)
        self.hidden = nn.Sequential()
        for number in range(1, depth):
            self.hidden.add_module(f"linear{number}", undrawn(nn.Linear, units, width))
            if normalisation == "batch":
                self.hidden.add_module(f"norm{number}", nn.BatchNorm1d(width))
            self.hidden.add_module(f"act{number}", sites(width))
            units = width
        self.head = undrawn(nn.Linear, units, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(self.flatten(x)))
        return logits
