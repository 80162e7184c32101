"""One residual unit: y = after(join(shortcut(x), branch(x))), with every order of its parts that has been studied.

Where normalisation and activation stand is data, one line an order (He et al. 2016, "Identity mappings in deep residual
networks", figure 4), so that a network's definition reads the same whichever is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hillock.errors import UnknownNameError, UsageError
from hillock.layers.convolution import StridedConv2d
from hillock.layers.shortcut import (
    Addition,
    ExclusiveGate,
    PaddedShortcut,
    ScaledAddition,
    ShortcutDropout,
    ShortcutGate,
)
from hillock.layers.undrawn import undrawn

__all__ = ["JOINS", "NORMALISATIONS", "ORDERS", "Order", "Parts", "ResidualUnit", "Scale", "Shift"]


@dataclass(frozen=True)
class Order:
    """Where the parts stand, each field a sequence of `conv`, `norm` and `act`.

    stem: around the first convolution of the network; each: around every convolution of a branch but the last;
    last: around the last one; after: after the addition; head: between the last unit and the pooling.
    """

    stem: str
    each: str
    last: str
    after: str = ""
    head: str = ""

    @property
    def common(self) -> str:
        """What comes before the first convolution of a branch. A stage's first unit shares it with its shortcut."""
        return self.each.partition("conv")[0]


ORDERS: dict[str, Order] = {
    "original": Order(stem="conv norm act", each="conv norm act", last="conv norm", after="act"),
    "norm_after_addition": Order(stem="conv norm act", each="conv norm act", last="conv", after="norm act"),
    "act_before_addition": Order(stem="conv norm act", each="conv norm act", last="conv norm act"),
    "act_only_preactivation": Order(stem="conv norm", each="act conv norm", last="act conv norm", head="act"),
    "preactivation": Order(stem="conv", each="norm act conv", last="norm act conv", head="norm act"),
}

JOINS: dict[str, Callable[[int], nn.Module]] = {  # channels -> what joins shortcut and branch
    "identity": lambda channels: Addition(),
    "scaling": lambda channels: ScaledAddition(0.5, 1.0),
    "scaling_both": lambda channels: ScaledAddition(0.5, 0.5),
    "none": lambda channels: ScaledAddition(0.0, 1.0),
    "exclusive_gate": ExclusiveGate,
    "shortcut_gate": ShortcutGate,
    "dropout": lambda channels: ShortcutDropout(0.5),
}

NORMALISATIONS = ("batch", "none", "skipinit", "fixup")


class Scale(nn.Module):
    """One learned factor for a whole branch: first 0 in SkipInit (De & Smith 2020), 1 in Fixup (Zhang et al. 2019)."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start = start
        self.factor = nn.Parameter(torch.full((), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def initialise_constants(self) -> None:
        nn.init.constant_(self.factor, self.start)

    def extra_repr(self) -> str:
        return f"start={self.start}"


class Shift(nn.Module):
    """One learned number added to all activities, 0 at the start: Fixup's scalar bias (Zhang et al. 2019, rule 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias

    def initialise_constants(self) -> None:
        nn.init.zeros_(self.bias)


@dataclass(frozen=True)
class Parts:
    """Makes the parts that an order names: `act` is given the number of channels, `norm` is one of `NORMALISATIONS`.

    Without normalisation convolutions have biases; with Fixup scalar shifts stand before each convolution and each
    activation instead.
    """

    act: Callable[[int], nn.Module]
    norm: str = "batch"

    def __post_init__(self) -> None:
        if self.norm not in NORMALISATIONS:
            raise UnknownNameError("normalisation", self.norm, NORMALISATIONS)

    def conv(self, channels: int, out: int, kernel: int, stride: int = 1, *, padding: int | None = None) -> nn.Conv2d:
        padding = kernel // 2 if padding is None else padding
        biased = self.norm in ("none", "skipinit")
        layer = nn.Conv2d if stride == 1 else StridedConv2d
        return undrawn(layer, channels, out, kernel, stride, padding, bias=biased)

    def add(
        self, target: nn.Sequential, tokens: str, number: int, channels: int, conv: nn.Conv2d | None = None
    ) -> nn.Sequential:
        """Append the parts that `tokens` name, as conv1, norm1, act1 and so on."""
        for token in tokens.split():
            if token == "conv":
                assert conv is not None
                if self.norm == "fixup":
                    target.add_module(f"shift{number}", Shift())
                target.add_module(f"conv{number}", conv)
                channels = conv.out_channels
            elif token == "act":
                target.add_module(f"act{number}", self.act(channels))
            elif self.norm == "batch":
                target.add_module(f"norm{number}", nn.BatchNorm2d(channels))
            elif self.norm == "fixup":
                target.add_module(f"norm{number}", Shift())
        return target

    def finish(self, branch: nn.Sequential) -> None:
        """Append what ends a branch of a network without normalisation: its learned factor."""
        if self.norm == "skipinit":
            branch.add_module("scale", Scale(0.0))
        elif self.norm == "fixup":
            branch.add_module("scale", Scale(1.0))
            branch.add_module("shift", Shift())


class ResidualUnit(nn.Module):
    """A branch of convolutions beside a shortcut.

        y = after(join(shortcut(c), branch(c))),   c = common(x)

    Arguments:
        in_channels, out_channels: of the unit. stride: of the unit, 1 or 2.
        kernels: the branch's convolutions, (3, 3) basic or (1, 3, 1) bottleneck.
        width: channels inside the branch.
        strided: which convolution of the branch carries the stride, counted from 0.
        parts, order: how the pieces are made and where they stand.
        fit: shortcut option "A", "B" or "C". join: a name in `JOINS`, or None for a plain unit without a shortcut.
        first: whether the unit is the first of its stage; it then shares a pre-activation with its shortcut.

    A plain unit is the same without shortcut and join: y = after(branch(x)), with as many parameters as option A has.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        kernels: tuple[int, ...],
        width: int,
        strided: int,
        parts: Parts,
        order: Order,
        fit: str,
        join: str | None,
        first: bool,
    ) -> None:
        super().__init__()
        self.common, self.branch, self.after = nn.Sequential(), nn.Sequential(), nn.Sequential()
        if first:
            parts.add(self.common, order.common, 1, in_channels)
        channels = in_channels
        for index, kernel in enumerate(kernels):
            last = index == len(kernels) - 1
            tokens = order.last if last else order.each
            if first and index == 0:
                tokens = tokens.removeprefix(order.common)
            out = out_channels if last else width
            conv = parts.conv(channels, out, kernel, stride if index == strided else 1)
            parts.add(self.branch, tokens, index + 1, channels, conv)
            channels = out
        self.shortcut: nn.Module | None = None
        self.join: nn.Module | None = None
        if join is not None:
            if join not in JOINS:
                raise UnknownNameError("shortcut join", join, JOINS)
            parts.finish(self.branch)
            self.shortcut = _fitted(in_channels, out_channels, stride, fit, parts, order)
            self.join = JOINS[join](out_channels)
        parts.add(self.after, order.after, len(kernels), out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.common(x)
        y: Tensor = self.branch(x)
        if self.join is not None and self.shortcut is not None:
            y = self.join(self.shortcut(x), y)
        result: Tensor = self.after(y)
        return result


def _fitted(in_channels: int, out_channels: int, stride: int, fit: str, parts: Parts, order: Order) -> nn.Module:
    if fit not in ("A", "B", "C"):
        raise UsageError("a shortcut option A, B or C", got=repr(fit))
    changes = stride != 1 or in_channels != out_channels
    if fit == "A" and changes:
        return PaddedShortcut(in_channels, out_channels, stride)
    projection = nn.Sequential()
    if changes or fit == "C":
        # A projection is normalised where the branch's last convolution is; Fixup's has no shift of its own after it.
        tokens = "conv norm" if "conv norm" in order.last and parts.norm != "fixup" else "conv"
        parts.add(projection, tokens, 1, in_channels, parts.conv(in_channels, out_channels, 1, stride))
    return projection
