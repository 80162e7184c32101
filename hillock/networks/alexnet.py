"""AlexNet: the paper's network with two towers, and the variants that are called AlexNet.

Follows Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012, and the
published 2012 program (layers-145.cfg). The two graphics cards are grouped convolutions here: channels come as
[first card | second card]; conv2, conv4 and conv5 read their own card's maps only, conv3 and the linear layers read
both, and response normalisation stays within a card. `hillock.training.towers` runs the same on two processes.

224 or 227: the 2012 program rounds a size up, so a 224x224 picture gives 55x55 maps as if three rows and columns
of zeros stood below and to the right; that equals the 227x227 picture of later descriptions. `CeilPadding` adds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.response_norm import MapNorm, ResponseNorm
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["DESIGNS", "AlexNet", "CeilPadding", "Design", "Stage", "side_after"]


@dataclass(frozen=True)
class Stage:
    """One convolution and what follows it, in order: `act`, `norm` (across maps), `mapnorm` (within a map), `pool`."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    after: str = "act"


@dataclass(frozen=True)
class Design:
    """One variant of the network.

    ceil: sizes are rounded up, as in the 2012 program. alpha: of the response norm, in the paper's form (no division by
    the window). pooled: side of an adaptive average pooling before fc6, or None. dropout_first: dropout stands before
    fc6 and fc7 (torchvision) and not after them. initialisation: the default scheme.
    """

    stages: tuple[Stage, ...]
    ceil: bool = True
    towers: int = 2
    alpha: float = 1e-4
    pooled: int | None = None
    dropout_first: bool = False
    initialisation: str = "alexnet"


PAPER = Design(
    (
        Stage(96, 11, 4, after="act norm pool"),  # 3x227x227 -> 96x55x55 -> 96x27x27
        Stage(256, 5, padding=2, groups=2, after="act norm pool"),  # -> 256x27x27 -> 256x13x13
        Stage(384, 3, padding=1),  # reads both cards
        Stage(384, 3, padding=1, groups=2),
        Stage(256, 3, padding=1, groups=2, after="act pool"),  # -> 256x13x13 -> 256x6x6
    )
)
_first, _second, *_rest = PAPER.stages

DESIGNS: dict[str, Design] = {
    "paper": PAPER,
    # The program that made the paper's numbers: norm and pooling before conv1's activation, a second norm within maps
    # after conv2, alpha divided by the window (1e-4 / 5), wider draws in conv3 to conv5.
    "source": replace(
        PAPER,
        stages=(replace(_first, after="norm pool act"), replace(_second, after="act norm mapnorm pool"), *_rest),
        alpha=2e-5,
        initialisation="alexnet_source",
    ),
    # All connections: what the grouped convolutions leave out.
    "ungrouped": replace(PAPER, stages=tuple(replace(stage, groups=1) for stage in PAPER.stages), towers=1),
    # One card with half the maps everywhere but in conv5 (the paper's footnote on the one-GPU net).
    "half": Design(
        (
            replace(_first, channels=48),
            replace(_second, channels=128, groups=1),
            Stage(192, 3, padding=1),
            Stage(192, 3, padding=1),
            Stage(256, 3, padding=1, after="act pool"),
        ),
        towers=1,
    ),
    # "One weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014), as torchvision has it.
    "torchvision": Design(
        (
            Stage(64, 11, 4, padding=2, after="act pool"),
            Stage(192, 5, padding=2, after="act pool"),
            Stage(384, 3, padding=1),
            Stage(256, 3, padding=1),
            Stage(256, 3, padding=1, after="act pool"),
        ),
        ceil=False,
        towers=1,
        pooled=6,
        dropout_first=True,
        initialisation="he",
    ),
    # TensorFlow-Slim's alexnet_v2 on 224x224. Its fc6 to fc8 are 5x5 and 1x1 convolutions: the same weights as here.
    "slim": Design(
        (
            Stage(64, 11, 4, after="act pool"),
            Stage(192, 5, padding=2, after="act pool"),
            Stage(384, 3, padding=1),
            Stage(384, 3, padding=1),
            Stage(256, 3, padding=1, after="act pool"),
        ),
        ceil=False,
        towers=1,
        initialisation="xavier",
    ),
}


class CeilPadding(nn.Module):
    """Zeros below and to the right, as many as let a window of `kernel` and `stride` reach every pixel."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.steps = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        below, right = ((self.kernel - side) % self.steps for side in x.shape[-2:])
        return F.pad(x, (0, right, 0, below)) if below or right else x


class AlexNet(Network):
    """Five convolutions and three linear layers.

    Arguments:
        design: a name in `DESIGNS`.
        input_size: (channels, side, side); 227 or 224 give the paper's 55x55 first maps.
        width: share of the design's channels and hidden units to keep (1 is the paper; less for tests and small data).
        dropout: probability of zeroing a unit at fc6 and fc7.
        response_norm: False leaves the response normalisation out (the paper's and the program's ablation).
        overlapping: False pools with window 2 in place of 3 (the paper's ablation).
    """

    def __init__(
        self,
        design: str,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        width: float = 1.0,
        dropout: float = 0.5,
        response_norm: bool = True,
        overlapping: bool = True,
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        plan = DESIGNS[design]
        window = 3 if overlapping else 2
        self.design, self.default_initialisation = plan, plan.initialisation

        self.features = nn.Sequential()
        if plan.ceil:
            self.features.add_module("padding", CeilPadding(plan.stages[0].kernel, plan.stages[0].stride))
        channels, side = input_size[0], input_size[1]
        for number, stage in enumerate(plan.stages, 1):
            out = _scaled(stage.channels, width)
            convolution = undrawn(
                nn.Conv2d, channels, out, stage.kernel, stage.stride, stage.padding, groups=stage.groups
            )
            self.features.add_module(f"conv{number}", convolution)
            parts: dict[str, Callable[[], nn.Module | None]] = {
                "act": partial(sites, out),
                "norm": lambda: ResponseNorm(alpha=plan.alpha, towers=plan.towers) if response_norm else None,
                "mapnorm": lambda: MapNorm() if response_norm else None,
                "pool": lambda: nn.MaxPool2d(window, 2, ceil_mode=plan.ceil),
            }
            for part in stage.after.split():
                module = parts[part]()
                if module is not None:
                    self.features.add_module(f"{part}{number}", module)
            side = side_after(side, stage.kernel, stage.stride, stage.padding, plan.ceil)
            side = side_after(side, window, 2, 0, plan.ceil) if "pool" in stage.after.split() else side
            channels = out
        if side < 1 or input_size[1] != input_size[2]:
            smallest = 36 if plan.ceil else 67
            got = f"{input_size[1]}x{input_size[2]}"
            raise UsageError(f"square pictures of at least {smallest} pixels a side for AlexNet ({design})", got=got)
        if plan.pooled is not None:
            self.features.add_module("average", nn.AdaptiveAvgPool2d(plan.pooled))
            side = plan.pooled

        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential()
        units, hidden = channels * side * side, _scaled(4096, width)
        for number in (6, 7):
            layer = {f"fc{number}": undrawn(nn.Linear, units, hidden), f"act{number}": sites(hidden)}
            drop = {f"dropout{number}": nn.Dropout(dropout)}
            for name, module in {**drop, **layer}.items() if plan.dropout_first else {**layer, **drop}.items():
                self.classifier.add_module(name, module)
            units = hidden
        self.classifier.add_module("fc8", undrawn(nn.Linear, units, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.features(x)))
        return logits


def _scaled(channels: int, width: float) -> int:
    """A share of the channels, even, so that both towers get as many."""
    return max(2, 2 * round(channels * width / 2))


def side_after(side: int, kernel: int, stride: int, padding: int, ceil: bool) -> int:
    """1 + (side + 2·padding - kernel) / stride, rounded up or down; 0 where the window does not fit once."""
    reach = side + 2 * padding - kernel
    if reach < (1 - stride if ceil else 0):
        return 0
    return 1 + (-(-reach // stride) if ceil else reach // stride)
