"""The network of the recipe `fast-cifar`: the shortest way to a good CIFAR-10 classifier on a small machine.

After the network of airbench94 (Jordan 2024, arXiv:2404.00498; its Muon version: Jordan et al. 2024), which goes back
to Page 2018 ("How to train your ResNet"): a first layer that whitens patches and is never trained, three groups of two
3x3 convolutions, each convolution starting as the identity on its first channels.

Departures: the whitening layer has no shifts (the source trains them for three epochs), so nothing before the first
group needs a gradient; the division of the scores by the number of features is in the head's start and rate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.initialisation import initialise
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["FastCifar"]

WIDTHS = (64, 256, 256)
# Added to the eigenvalues of the patches' covariance, whose inputs have variance 1 (airbench94: 5e-4).
EPSILON = 5e-4
# Share of a batch in the running statistics, of airbench94 with batches of 2,000.
MOMENTUM = 0.4


class FastCifar(Network):
    """whiten - act - 3 x [conv - max pool - norm - act - conv - norm - act] - global max pool - linear.

    Arguments:
        width: factor on the channels of the groups (64, 256, 256).
        patch: side in pixels of the patches that are whitened.
        directions: leading eigenvectors of the patches (None: all of them); the first layer has each and its negative.

    The weights of the first layer are never trained, and meaningless until `look_at` has seen pictures, which a
    training lets it do before the first step.
    """

    def __init__(
        self,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        width: float = 1.0,
        patch: int = 2,
        directions: int | None = None,
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        channels = input_size[0]
        if min(input_size[1:]) < 10:
            raise UsageError("pictures of at least 10 pixels a side", got=f"{input_size[1]}x{input_size[2]}")
        directions = min(directions or patch**2 * channels, patch**2 * channels)
        self.whiten = undrawn(nn.Conv2d, channels, 2 * directions, patch, bias=False)
        self.whiten.weight.requires_grad_(False)
        self.act = sites(2 * directions)
        self.groups = nn.Sequential()
        channels = 2 * directions
        for number, base in enumerate(WIDTHS, 1):
            wide = max(1, round(base * width))
            self.groups.add_module(str(number), _group(channels, wide, sites))
            channels = wide
        self.pool, self.flatten = nn.AdaptiveMaxPool2d(1), nn.Flatten()
        self.head = undrawn(nn.Linear, channels, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(self.act(self.whiten(x)))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits

    @torch.no_grad()
    def initialise(self, scheme: str | None, *, sites: ActivationSites, seed: int) -> None:
        """Fill the weights by `scheme`, or: small and uniform, each convolution the identity on its first channels."""
        if scheme is not None:
            super().initialise(scheme, sites=sites, seed=seed)
            return
        initialise(self, "he_uniform", gain=3**-0.5, seed=seed)  # U(±1/sqrt(fan_in)), torch's own start
        self.head.weight.div_(self.head.weight.std() * self.head.in_features)
        for module in self.groups.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.dirac_(module.weight[: module.in_channels])

    @torch.no_grad()
    def look_at(self, inputs: Tensor) -> None:
        """Set the first layer to whiten the patches of `inputs` [N, C, H, W], some thousand training pictures.

        Its kernels are the leading eigenvectors of the patches' covariance, each divided by its standard deviation,
        then their negatives.
        """
        side = self.whiten.kernel_size[0]
        covariance = torch.zeros(self.whiten.weight[0].numel(), self.whiten.weight[0].numel(), dtype=torch.float64)
        for some in torch.split(inputs, 200):  # all patches at once would take gigabytes
            windows = some.double().unfold(2, side, 1).unfold(3, side, 1)
            patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
            covariance += patches.T @ patches / len(patches) * (len(some) / len(inputs))
        variances, vectors = torch.linalg.eigh(covariance)
        kernels = (vectors / (variances + EPSILON).sqrt()).T.flip(0)[: self.whiten.out_channels // 2]
        # An eigenvector has no sign; the largest element is made positive, so that machines agree.
        kernels = kernels * kernels.gather(1, kernels.abs().argmax(1, keepdim=True)).sign()
        shaped = kernels.view(-1, *self.whiten.weight.shape[1:])
        self.whiten.weight.copy_(torch.cat([shaped, -shaped]))


def _group(channels: int, wide: int, sites: ActivationSites) -> nn.Sequential:
    group = nn.Sequential()
    group.add_module("conv1", undrawn(nn.Conv2d, channels, wide, 3, padding=1, bias=False))
    group.add_module("pool", nn.MaxPool2d(2))
    group.add_module("norm1", _norm(wide))
    group.add_module("act1", sites(wide))
    group.add_module("conv2", undrawn(nn.Conv2d, wide, wide, 3, padding=1, bias=False))
    group.add_module("norm2", _norm(wide))
    group.add_module("act2", sites(wide))
    return group


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=MOMENTUM)
    norm.weight.requires_grad_(False)  # scales are left at 1, as in airbench94
    return norm
