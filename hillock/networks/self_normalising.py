"""The self-normalising perceptron: SELU, LeCun's initialisation, alpha dropout, no normalisation layers.

Follows Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks" (1706.02515), section 3 and its
tables of hyper-parameters (units 256 to 1024, 2 to 32 layers, dropout 0 to 0.1). Departure: every layer is as wide.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["SelfNormalisingNet"]


class SelfNormalisingNet(Network):
    """flatten -> (linear -> activation -> dropout) × (depth - 1) -> linear.

    Arguments:
        depth: layers of weights, the output layer included. width: units of a hidden layer.
        dropout: share of units dropped. With SELU alpha dropout, which sets them to SELU's limit -λα and rescales so
            that mean and variance stay; ordinary dropout with any other activation, for which that limit is nothing.
    """

    default_initialisation = "lecun"

    def __init__(
        self,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        depth: int = 8,
        width: int = 256,
        dropout: float = 0.05,
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        if depth < 1 or width < 1:
            raise UsageError("a depth and a width of at least 1", got=f"depth {depth}, width {width}")
        dropped = nn.AlphaDropout if self.activation == "selu" else nn.Dropout
        self.flatten = nn.Flatten()
        units = math.prod(input_size)
        self.hidden = nn.Sequential()
        for number in range(1, depth):
            self.hidden.add_module(f"linear{number}", undrawn(nn.Linear, units, width))
            self.hidden.add_module(f"act{number}", sites(width))
            self.hidden.add_module(f"dropout{number}", dropped(dropout))
            units = width
        self.head = undrawn(nn.Linear, units, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(self.flatten(x)))
        return logits
