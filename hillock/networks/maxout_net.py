"""Maxout networks, dense and convolutional, with dropout.

Follows Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout networks" (1302.4389), section 5, with the layer
sizes of the authors' published configurations for permutation-invariant MNIST and for CIFAR-10. Departures: weights are
drawn from a normal law with the variance of their uniform one; the limit on the norm of weight vectors is the
optimiser's business and not the network's.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.initialisation import initialise
from hillock.layers.maxout import Maxout
from hillock.layers.undrawn import undrawn
from hillock.networks.alexnet import side_after
from hillock.networks.base import ActivationSites, Network

__all__ = ["MaxoutNet"]

# (maps, pieces, kernel, padding, window of the pooling); every pooling has stride 2 and rounds its size up.
CONVOLUTIONS = ((96, 2, 8, 4, 4), (192, 2, 8, 3, 4), (192, 2, 5, 3, 2))
STANDARD_DEVIATION = 0.005 / math.sqrt(3)  # of the configurations' uniform law on ±0.005


class MaxoutNet(Network):
    """[convolution -> maxout -> pool] × 3 or nothing, then maxout layers and a classifier, dropout before each.

    Arguments:
        convolutional: False: two dense layers of 240 units and 5 pieces; True: the CIFAR-10 network, whose one dense
            layer has 500 units and 5 pieces.
        pieces: linear functions under each maximum (default: the paper's, 5 dense and 2 convolutional).
        width: share of the paper's maps and units to keep. dropout: of hidden layers; the input loses 20 %.
    """

    def __init__(
        self,
        convolutional: bool,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        pieces: int | None = None,
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        if pieces is not None and pieces < 1:
            raise UsageError("at least one piece", got=str(pieces))
        channels, side = input_size[0], input_size[1]
        self.features = nn.Sequential()
        self.features.add_module("dropout0", nn.Dropout(0.2))
        for number, (maps, k, kernel, padding, window) in enumerate(CONVOLUTIONS if convolutional else (), 1):
            k, maps = pieces or k, max(1, round(maps * width))
            self.features.add_module(f"conv{number}", undrawn(nn.Conv2d, channels, k * maps, kernel, 1, padding))
            self.features.add_module(f"maxout{number}", Maxout(k))
            self.features.add_module(f"pool{number}", nn.MaxPool2d(window, 2, ceil_mode=True))
            self.features.add_module(f"dropout{number}", nn.Dropout(dropout))
            side = side_after(side_after(side, kernel, 1, padding, False), window, 2, 0, True)
            channels = maps
        if side < 1 or input_size[1] != input_size[2]:
            raise UsageError("square pictures of at least 2 pixels a side", got=f"{input_size[1]}x{input_size[2]}")

        self.flatten, self.classifier = nn.Flatten(), nn.Sequential()
        units, hidden, k = channels * side * side, max(1, round((500 if convolutional else 240) * width)), pieces or 5
        for number in (1,) if convolutional else (1, 2):
            self.classifier.add_module(f"linear{number}", undrawn(nn.Linear, units, k * hidden))
            self.classifier.add_module(f"maxout{number}", Maxout(k))
            self.classifier.add_module(f"dropout{number}", nn.Dropout(dropout))
            units = hidden
        self.head = undrawn(nn.Linear, units, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.classifier(self.flatten(self.features(x))))
        return logits

    def initialise(self, scheme: str | None, *, sites: ActivationSites, seed: int) -> None:
        """Fill the weights by `scheme` with gain 1 (exact for two pieces: E[max(z1, z2)²] = 1), or as the paper did."""
        if scheme is None:
            initialise(self, "normal", seed=seed, std=STANDARD_DEVIATION)
        else:
            initialise(self, scheme, gain=1.0, seed=seed)
