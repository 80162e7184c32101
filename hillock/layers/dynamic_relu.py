"""Dynamic ReLU (Chen et al. 2020): a maximum of lines whose slopes and offsets the input itself decides.

    y_c = max_k (a_c^k x_c + b_c^k),   a = (1, 0, ...) + λ_a Δa,   b = λ_b Δb,   Δ = 2σ(W₂ ReLU(W₁ pooled x)) - 1

With Δ = 0, as at the start here (W₂ and its bias are 0), it is ReLU. Kinds: A shares slopes and offsets over channels,
B has them per channel, C has them per channel and weighs Δ by an attention over places, π = min(γ softmax(z/τ), 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.layers.activation_layer import activation

__all__ = ["DynamicReLU"]

SLOPE_SHARE = 1.0  # λ_a, Chen et al. section 3.2
OFFSET_SHARE = 0.5  # λ_b
TEMPERATURE = 10.0  # τ of the spatial attention, section 3.3
GAMMA_PLACES = 3.0  # γ = H·W/3


class DynamicReLU(nn.Module):
    """Dynamic ReLU on [N, C, H, W].

    Args:
        channels: C of the input.
        kind: "A" (spatial and channel-shared), "B" (spatial-shared, per channel) or "C" (per place and channel).
        pieces: number of lines K.
        reduction: the hidden layer has C/reduction units, at least one. The paper uses 8.

    Departs from the authors' code in starting with W₂ = 0, so a new layer is exactly ReLU.

    Errors: `UsageError` for another kind or an input with other channels.

    >>> layer = DynamicReLU(4)
    >>> x = torch.tensor([-1.0, 2.0]).reshape(1, 1, 1, 2).expand(1, 4, 1, 2)
    >>> layer(x)[0, 0, 0].tolist()
    [0.0, 2.0]
    """

    initial: Tensor

    def __init__(self, channels: int, kind: str = "B", pieces: int = 2, reduction: int = 8) -> None:
        super().__init__()
        if kind not in {"A", "B", "C"}:
            raise UsageError("kind A, B or C", got=repr(kind), instead="kind='B'")
        if channels < 1 or pieces < 1 or reduction < 1:
            raise UsageError("channels, pieces and reduction of 1 or more", got=f"{channels}, {pieces}, {reduction}")
        self.channels, self.kind, self.pieces = channels, kind, pieces
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.between = activation("relu")
        self.excite = nn.Linear(hidden, 2 * pieces * (1 if kind == "A" else channels))
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)
        self.attention = nn.Conv2d(channels, 1, 1) if kind == "C" else None
        self.register_buffer("initial", torch.tensor([1.0, *[0.0] * (2 * pieces - 1)]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise UsageError(f"an input of [N, {self.channels}, H, W]", got=str(list(x.shape)))
        pooled = x.mean(dim=(2, 3))
        delta = 2 * torch.sigmoid(self.excite(self.between(self.squeeze(pooled)))) - 1
        delta = delta.reshape(len(x), -1, 2 * self.pieces, 1, 1)  # [N, C or 1, 2K, 1, 1]
        if self.attention is not None:
            delta = delta * self._attention(x)
        scale = torch.tensor([SLOPE_SHARE] * self.pieces + [OFFSET_SHARE] * self.pieces, dtype=x.dtype, device=x.device)
        shape = self.initial.to(x.dtype).reshape(1, 1, -1, 1, 1) + scale.reshape(1, 1, -1, 1, 1) * delta
        slopes, offsets = shape.chunk(2, dim=2)
        return (slopes * x.unsqueeze(2) + offsets).amax(dim=2)

    def _attention(self, x: Tensor) -> Tensor:
        """Return how much every place counts, [N, 1, 1, H, W], each at most 1."""
        assert self.attention is not None
        height, width = x.shape[2:]
        logits = self.attention(x).flatten(1) / TEMPERATURE
        weights = torch.softmax(logits, dim=1) * (height * width / GAMMA_PLACES)
        return weights.clamp(max=1.0).reshape(-1, 1, 1, height, width)

    def extra_repr(self) -> str:
        return f"{self.channels}, kind={self.kind}, pieces={self.pieces}"
