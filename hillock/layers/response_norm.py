"""Local response normalisation as AlexNet has it: across neighbouring maps, and within each map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.kernels.response_norm import Window, composite

__all__ = ["MapNorm", "ResponseNorm"]


class ResponseNorm(nn.Module):
    """Divide each activity by a power of the summed squares of its neighbours in the channel direction.

        b_i = a_i / (k + alpha · Σ_{j = max(0, i - n/2)}^{min(C - 1, i + n/2)} a_j²)^beta

    The sum is not divided by n: `torch.nn.LocalResponseNorm(size, alpha)` divides alpha by the size and so needs
    alpha = 5e-4 to equal the paper's 1e-4 at n = 5; the original 2012 program divides as well. The window is clipped at
    the first and last map of a tower, and the maps of one tower never see those of another.

    Arguments:
        size: n, the number of neighbouring maps in the sum, odd.
        alpha, beta, k: the constants; the defaults are the paper's.
        towers: channels are normalised within this many equal groups.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012, section 3.3.

    >>> import torch
    >>> float(ResponseNorm(size=1, alpha=1.0, beta=1.0, k=1.0)(torch.full((1, 1, 1, 1), 2.0)))
    0.4000000059604645
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, *, towers: int = 1
    ) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise UsageError("an odd, positive window size", got=str(size))
        self.size, self.alpha, self.beta, self.k, self.towers = size, alpha, beta, k, towers

    @property
    def window(self) -> Window:
        """The constants as the kernels take them."""
        return Window(self.size, self.alpha, self.beta, self.k, self.towers)

    def forward(self, x: Tensor) -> Tensor:
        return composite(x, self.window)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, towers={self.towers}"


class MapNorm(nn.Module):
    """Divide each activity by a power of the mean square around it in its own map.

        b = a / (k + alpha / size² · Σ over the size x size window of a²)^beta, zeros outside the map

    The published 2012 program has one after conv2's response norm, with the constants below; the paper does not mention
    it. k is 1, as in that program's documentation of the layer (its configuration does not set it).

    Arguments:
        size: side of the window, odd. alpha, beta, k: the constants.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-3, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise UsageError("an odd, positive window size", got=str(size))
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        mean_square = F.avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)  # divides by size² at edges too
        return x / (self.k + self.alpha * mean_square) ** self.beta

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
