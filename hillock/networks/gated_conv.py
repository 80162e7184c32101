"""Gated convolutional networks for sequences of tokens: GCNN-8, GCNN-13, GCNN-14 and GCNN-14B.

Follows Dauphin, Fan, Auli, Grangier, "Language modeling with gated convolutional networks" (1612.08083), table 1, with
the layer lists that its authors published with their toolkit. Each layer is h(X) = (X*W + b) ⊗ φ(X*V + c), φ = sigmoid
(the gated linear unit) unless another activation is chosen; residual blocks add their input; the output layer is an
adaptive softmax (Grave et al. 2016). Departures: a block's residual path is projected by a 1x1 convolution where the
width changes; blocks of a single layer have a residual path too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.causal import CausalConv1d
from hillock.layers.initialisation import SCHEMES, gain_of
from hillock.layers.shortcut import ScaledAddition
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["GATED_LAYOUTS", "GatedConvNet", "GatedLayout"]

Block = tuple[tuple[int, int], ...]  # (kernel, channels) of each gated layer in a residual block


@dataclass(frozen=True)
class GatedLayout:
    """One row group of table 1: embedding width, residual blocks of (kernel, channels), cut-offs of the softmax."""

    embedding: int
    blocks: tuple[Block, ...]
    cutoffs: tuple[int, ...]


def _bottleneck(inner: int, kernel: int, outer: int) -> Block:
    return ((1, inner), (kernel, inner), (1, outer))


GATED_LAYOUTS: dict[str, GatedLayout] = {
    "8": GatedLayout(280, (((4, 900),),) * 8, (10_000, 20_000, 200_000)),
    "13": GatedLayout(128, (((4, 1268),),) * 13, (10_000, 40_000, 200_000)),
    "14": GatedLayout(
        280,
        (
            *(((6, 850),),) * 3,
            ((1, 850),),
            *(((5, 850),),) * 4,
            ((1, 850),),
            *(((4, 850),),) * 3,
            ((4, 1024),),
            ((4, 2048),),
        ),
        (10_000, 20_000, 200_000),
    ),
    "14b": GatedLayout(
        128,
        (
            ((5, 512),),
            *(_bottleneck(128, 5, 512),) * 3,
            *(_bottleneck(512, 5, 1024),) * 3,
            *(_bottleneck(1024, 5, 2048),) * 6,
            _bottleneck(1024, 5, 4096),
        ),
        (4_000, 40_000, 200_000),
    ),
}


class GatedLayer(nn.Module):
    """(X*W + b) ⊗ φ(X*V + c), both convolutions causal and computed as one."""

    def __init__(self, channels: int, out: int, kernel: int, sites: ActivationSites) -> None:
        super().__init__()
        self.conv = CausalConv1d(channels, 2 * out, kernel, weight_normalised=True)
        self.act = sites(out)

    def forward(self, x: Tensor) -> Tensor:
        linear, gate = self.conv(x).chunk(2, dim=1)
        gated: Tensor = linear * self.act(gate)
        return gated


class GatedBlock(nn.Module):
    """(x + layers(x)) / √2, with a 1x1 projection of x where the width changes.

    The division keeps the variance over many blocks; the paper does not mention it, its authors' code has it.
    """

    def __init__(self, channels: int, block: Block, sites: ActivationSites) -> None:
        super().__init__()
        self.branch, self.shortcut = nn.Sequential(), nn.Sequential()
        self.join = ScaledAddition(math.sqrt(0.5), math.sqrt(0.5))
        width = channels
        for kernel, out in block:
            self.branch.append(GatedLayer(width, out, kernel, sites))
            width = out
        if width != channels:
            self.shortcut.add_module("projection", undrawn(nn.Conv1d, channels, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.join(self.shortcut(x), self.branch(x))
        return y


class GatedConvNet(Network):
    """Token numbers [N, T] -> logarithms of the next token's probabilities [N, T, vocabulary].

    Arguments:
        layout: a name in `GATED_LAYOUTS`. num_classes: the vocabulary. input_size: (T,), a length; any length runs.
        width: share of the layout's channels to keep (1 is the paper).

    `loss(tokens, targets)` costs less than the full table of probabilities: it visits the targets' clusters only.
    Cut-offs of the adaptive softmax that the vocabulary does not reach are left out.
    """

    input_dtype = torch.int64

    def __init__(
        self,
        layout: str,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, ...],
        width: float = 1.0,
    ) -> None:
        super().__init__(input_size=input_size[-1:], num_classes=num_classes, sites=sites)
        plan = GATED_LAYOUTS[layout]
        if num_classes < 3:
            raise UsageError("a vocabulary of at least 3 tokens", got=str(num_classes))

        def scaled(channels: int) -> int:
            return max(1, round(channels * width))

        self.embedding = undrawn(nn.Embedding, num_classes, scaled(plan.embedding))
        channels = scaled(plan.embedding)
        self.blocks = nn.Sequential()
        for block in plan.blocks:
            block = tuple((kernel, scaled(out)) for kernel, out in block)
            self.blocks.append(GatedBlock(channels, block, sites))
            channels = block[-1][1]
        cutoffs = [cutoff for cutoff in plan.cutoffs if cutoff < num_classes - 1] or [max(1, num_classes // 2)]
        self.softmax = undrawn(nn.AdaptiveLogSoftmaxWithLoss, channels, num_classes, cutoffs)

    def forward(self, tokens: Tensor) -> Tensor:
        logarithms: Tensor = self.softmax.log_prob(self.features(tokens).flatten(0, 1))
        return logarithms.reshape(*tokens.shape, self.num_classes)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean negative log probability of targets [N, T] (natural logarithm; e^loss is the perplexity)."""
        loss: Tensor = self.softmax(self.features(tokens).flatten(0, 1), targets.flatten()).loss
        return loss

    @torch.no_grad()
    def initialise(self, scheme: str | None, *, sites: ActivationSites, seed: int) -> None:
        """Fill the weights; the gates' half of a scheme with a gain is drawn without it.

        Then the gates' inputs have the variance of the layer's, E[(A · φ(B))²] = gain² · E[x²] · E[φ(z)²] = E[x²], and
        signals keep their size.
        """
        super().initialise(scheme, sites=sites, seed=seed)
        if SCHEMES[scheme or self.default_initialisation].uses_gain:
            gain = gain_of(sites(1))
            for layer in self.modules():
                if isinstance(layer, GatedLayer):
                    weight = layer.conv.conv.weight.clone()
                    if not weight.is_meta:
                        weight[weight.shape[0] // 2 :] /= gain
                        layer.conv.conv.weight = weight

    def features(self, tokens: Tensor) -> Tensor:
        """Return what the output layer reads, [N, T, channels]."""
        x = self.embedding(tokens).transpose(1, 2)  # [N, T, C] -> [N, C, T]
        y: Tensor = self.blocks(x)
        return y.transpose(1, 2)
