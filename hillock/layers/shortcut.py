"""The other way round a residual branch: how the input is fitted to the branch's output, and how the two are joined.

Fitting (where the number of channels or the resolution changes) is named as in the ResNet paper (He et al. 2015,
section 4.1): A = subsample and pad with zero channels, no parameters; B = a 1x1 convolution there, identity elsewhere;
C = a 1x1 convolution at every shortcut. Joining is, named as in the pre-activation paper (He et al. 2016, table 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hillock.layers.activation_layer import activation
from hillock.layers.undrawn import undrawn

__all__ = ["Addition", "ExclusiveGate", "PaddedShortcut", "ScaledAddition", "ShortcutDropout", "ShortcutGate"]


class PaddedShortcut(nn.Module):
    """Option A: every `stride`-th pixel, then zero channels after the existing ones. No parameters, no multiply-adds.

    The official Torch code appends the zero channels; many ports split them before and after, which is the same class
    of functions with permuted channels.

    >>> PaddedShortcut(16, 32, stride=2)(torch.ones(1, 16, 8, 8)).shape
    torch.Size([1, 32, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        assert out_channels >= in_channels, "option A cannot drop channels"
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # Inductor fuses a slice with its neighbours
            x = x[:, :, :: self.stride, :: self.stride]
        elif self.stride > 1:
            # A pooling over single pixels, as the official code does it: the gradient of a strided slice would be a map
            # in the other memory layout (measured on [128, 16, 32, 32] bfloat16: backward 5.7 ms, this 1.3 ms).
            x = F.avg_pool2d(x, 1, self.stride)
        return F.pad(x, (0, 0, 0, 0, 0, self.out_channels - self.in_channels))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


class Addition(nn.Module):
    """shortcut + branch: the identity shortcut."""

    def forward(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        return shortcut + branch


class ScaledAddition(nn.Module):
    """λ · shortcut + μ · branch, both constants. Table 1 tries λ = 0.5 with μ = 1 and 0.5, and λ = 0 (a plain net)."""

    def __init__(self, shortcut_scale: float = 0.5, branch_scale: float = 1.0) -> None:
        super().__init__()
        self.shortcut_scale, self.branch_scale = shortcut_scale, branch_scale

    def forward(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        return self.shortcut_scale * shortcut + self.branch_scale * branch

    def extra_repr(self) -> str:
        return f"shortcut_scale={self.shortcut_scale}, branch_scale={self.branch_scale}"


class _Gate(nn.Module):
    """g(x) = σ(W x + b) from a 1x1 convolution; `bias` is b's first value, W is drawn as every other weight."""

    def __init__(self, channels: int, bias: float) -> None:
        super().__init__()
        self.first_bias = bias
        self.gate = undrawn(nn.Conv2d, channels, channels, 1)
        self.sigmoid = activation("sigmoid")

    def initialise_constants(self) -> None:
        """Set what no random scheme sets: the gate's bias."""
        with torch.no_grad():
            assert self.gate.bias is not None
            self.gate.bias.fill_(self.first_bias)

    def extra_repr(self) -> str:
        return f"first_bias={self.first_bias}"


class ExclusiveGate(_Gate):
    """(1 - g(x)) · x + g(x) · branch, the Highway form: what one path gains the other loses."""

    def __init__(self, channels: int, bias: float = -6.0) -> None:
        super().__init__(channels, bias)

    def forward(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        opened: Tensor = self.sigmoid(self.gate(shortcut))
        return (1 - opened) * shortcut + opened * branch


class ShortcutGate(_Gate):
    """(1 - g(x)) · x + branch: only the shortcut is gated."""

    def __init__(self, channels: int, bias: float = -6.0) -> None:
        super().__init__(channels, bias)

    def forward(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        opened: Tensor = self.sigmoid(self.gate(shortcut))
        return (1 - opened) * shortcut + branch


class ShortcutDropout(nn.Module):
    """dropout(shortcut) + branch; the paper drops half, which on average scales the shortcut as λ = 0.5 does."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(share)

    def forward(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        kept: Tensor = self.dropout(shortcut)
        return kept + branch
