"""Residual networks and their plain twins: CIFAR depth 6n+2 and 9n+2, ImageNet 18 to 200, original and pre-activation.

Follows He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (1512.03385), tables 1 and 6, and "Identity
mappings in deep residual networks" (1603.05027), figure 4 and table 1, with the official Torch code of the latter
(resnet-1k-layers). Departures: any input size (global average pooling takes what is left); ImageNet networks put the
stride on the 3x3 convolution ("v1.5", as fb.resnet.torch and torchvision do) unless `stride_on="first"` asks for the
first paper's version; the classifier is drawn by the same scheme as the convolutions; weights are drawn by fan-in as in
the first paper, while the 1001-layer code draws by fan-out: `initialisation="he_out"`. In ImageNet pre-activation
networks the first normalisation and activation stand after the stem's pooling, in fb.resnet.torch before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hillock.errors import UnknownNameError, UsageError
from hillock.layers.residual import ORDERS, Parts, ResidualUnit
from hillock.layers.undrawn import undrawn
from hillock.networks.base import ActivationSites, Network

__all__ = ["IMAGENET_UNITS", "Layout", "ResNet", "cifar_layout", "imagenet_layout"]

# Units in each of the four stages (1512.03385 table 1; 200: 1603.05027 section 4).
IMAGENET_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


@dataclass(frozen=True)
class Layout:
    """How large a residual network is: units in each stage, channels inside their branches, kind of unit, and stem."""

    units: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck: bool
    stem_width: int
    imagenet_stem: bool = False

    @property
    def expansion(self) -> int:
        """Channels of a unit's output for each channel inside its branch."""
        return 4 if self.bottleneck else 1


def cifar_layout(depth: int, *, block: str = "auto", width: int = 16) -> Layout:
    """Three stages of n units: depth 6n+2 with basic units, 9n+2 with bottlenecks (from 164 on, as in the papers)."""
    if block not in ("auto", "basic", "bottleneck"):
        raise UnknownNameError("kind of block", block, ("auto", "basic", "bottleneck"))
    bottleneck = block == "bottleneck" or (block == "auto" and depth >= 164 and depth % 9 == 2)
    step = 9 if bottleneck else 6
    if depth < step + 2 or depth % step != 2:
        lower = max(step + 2, (depth - 2) // step * step + 2)
        raise UsageError(
            f"a depth of {step}n+2 for a three-stage residual network",
            got=str(depth),
            instead=f"{lower} or {lower + step}",
        )
    return Layout((depth // step,) * 3, (width, 2 * width, 4 * width), bottleneck, stem_width=width)


def imagenet_layout(depth: int, *, width: int = 64) -> Layout:
    """Four stages after a 7x7 convolution and a pooling, both of stride 2; bottlenecks from 50 layers on."""
    if depth not in IMAGENET_UNITS:
        raise UsageError(f"an ImageNet depth of {', '.join(map(str, IMAGENET_UNITS))}", got=str(depth))
    widths = (width, 2 * width, 4 * width, 8 * width)
    return Layout(IMAGENET_UNITS[depth], widths, depth >= 50, stem_width=width, imagenet_stem=True)


class ResNet(Network):
    """stem -> stages of residual units -> [head parts] -> global average pooling -> linear.

    Arguments:
        layout: sizes. order: a name in `ORDERS`.
        fit: shortcut option "A", "B", "C". join: a name in `JOINS`, or None for the plain twin without shortcuts.
        normalisation: "batch", "none", or without normalisation but with "skipinit" or "fixup".
        stride_on: "first" (v1) or "spatial" (v1.5): the convolution of a bottleneck that carries the stride.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        sites: ActivationSites,
        num_classes: int,
        input_size: tuple[int, int, int],
        order: str = "original",
        fit: str = "A",
        join: str | None = "identity",
        normalisation: str = "batch",
        stride_on: str = "spatial",
    ) -> None:
        super().__init__(input_size=input_size, num_classes=num_classes, sites=sites)
        if order not in ORDERS:
            raise UnknownNameError("order of a residual unit", order, ORDERS)
        if stride_on not in ("first", "spatial"):
            raise UnknownNameError("place of the stride", stride_on, ("first", "spatial"))
        self.layout = layout
        if normalisation == "fixup":
            self.default_initialisation = "fixup"
        parts, chosen = Parts(sites, normalisation), ORDERS[order]

        self.stem = nn.Sequential()
        kernel, stride = (7, 2) if layout.imagenet_stem else (3, 1)
        stem_conv = parts.conv(input_size[0], layout.stem_width, kernel, stride)
        parts.add(self.stem, chosen.stem, 1, layout.stem_width, stem_conv)
        if layout.imagenet_stem:
            self.stem.add_module("pool", nn.MaxPool2d(3, 2, 1))

        self.stages = nn.Sequential()
        channels = layout.stem_width
        for stage, (units, width) in enumerate(zip(layout.units, layout.widths, strict=True)):
            members = nn.Sequential()
            for unit in range(units):
                members.append(
                    ResidualUnit(
                        channels,
                        width * layout.expansion,
                        stride=2 if stage > 0 and unit == 0 else 1,
                        kernels=(1, 3, 1) if layout.bottleneck else (3, 3),
                        width=width,
                        strided=1 if layout.bottleneck and stride_on == "spatial" else 0,
                        parts=parts,
                        order=chosen,
                        fit=fit,
                        join=join,
                        first=unit == 0,
                    )
                )
                channels = width * layout.expansion
            self.stages.add_module(str(stage + 1), members)

        self.final = parts.add(nn.Sequential(), chosen.head, 1, channels)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = undrawn(nn.Linear, channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.final(self.stages(self.stem(x)))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits

    def residual_units(self) -> list[ResidualUnit]:
        """Every unit, from the input to the output."""
        return [module for module in self.modules() if isinstance(module, ResidualUnit)]
