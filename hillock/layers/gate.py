"""Gated linear units: half of the channels, times a function of the other half.

    y = a ⊗ gate(b),   [a, b] = x split in two

GLU (Dauphin et al. 2016) gates by σ; GTU has tanh(a) ⊗ σ(b); bilinear no function; ReGLU, GEGLU, SwiGLU (Shazeer 2020)
ReLU, GELU, SiLU. The first half is the linear one in all of them, as in `torch.nn.GLU`.
"""

from __future__ import annotations

from torch import Tensor, nn

from hillock import kernels
from hillock.activations import Activation, find
from hillock.errors import UsageError

__all__ = ["Gate", "bilinear", "geglu", "glu", "gtu", "reglu", "swiglu"]


def _gated(x: Tensor, dim: int, gate: Activation, linear: Activation | None = None) -> Tensor:
    if x.shape[dim] % 2:
        raise UsageError("an even number of channels to split in two", got=f"{x.shape[dim]} along dimension {dim}")
    a, b = x.chunk(2, dim)
    if linear is not None:
        a = kernels.apply(linear, a, linear.constants())
    return a * kernels.apply(gate, b, gate.constants())


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """Return a ⊗ σ(b) for the two halves of x along `dim`.

    >>> import torch
    >>> glu(torch.tensor([2.0, 0.0]))
    tensor([1.])
    """
    return _gated(x, dim, find("sigmoid"))


def gtu(x: Tensor, dim: int = -1) -> Tensor:
    """Return tanh(a) ⊗ σ(b) for the two halves of x along `dim`."""
    return _gated(x, dim, find("sigmoid"), find("tanh"))


def bilinear(x: Tensor, dim: int = -1) -> Tensor:
    """Return a ⊗ b for the two halves of x along `dim`."""
    return _gated(x, dim, find("identity"))


def reglu(x: Tensor, dim: int = -1) -> Tensor:
    """Return a ⊗ ReLU(b) for the two halves of x along `dim`."""
    return _gated(x, dim, find("relu"))


def geglu(x: Tensor, dim: int = -1) -> Tensor:
    """Return a ⊗ GELU(b) for the two halves of x along `dim`; the exact GELU."""
    return _gated(x, dim, find("gelu"))


def swiglu(x: Tensor, dim: int = -1) -> Tensor:
    """Return a ⊗ SiLU(b) for the two halves of x along `dim`."""
    return _gated(x, dim, find("silu"))


class Gate(nn.Module):
    """y = linear(a) ⊗ gate(b) for the two halves of the input: [N, 2C, ...] -> [N, C, ...].

    Args:
        gate: name or declaration of the gating function; "sigmoid" is GLU.
        linear: a function for the other half, "tanh" for GTU; None leaves it as it is.
        dim: the dimension that is halved: 1 for [N, C, H, W], -1 for [N, T, C].

    >>> import torch
    >>> Gate("silu", dim=-1)(torch.ones(3, 8)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self, gate: str | Activation = "sigmoid", *, linear: str | Activation | None = None, dim: int = 1
    ) -> None:
        super().__init__()
        self.gate = find(gate)
        self.linear = None if linear is None else find(linear)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return _gated(x, self.dim, self.gate, self.linear)

    def extra_repr(self) -> str:
        linear = f", linear={self.linear}" if self.linear is not None else ""
        return f"{self.gate}{linear}, dim={self.dim}"
