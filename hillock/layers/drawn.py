"""Random parameters from a counter: every element of every call gets its own number, and the state is two integers.

A `torch.Generator` can be neither compiled nor put into a state dict. Here the numbers are a hash of (seed, how many
calls so far, index of the element), made of integer operations that compile, run alike on every device, and depend on
nothing global. Resuming from a state dict continues the sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock.activations import Activation
from hillock.errors import UsageError
from hillock.randomness import derive_seed

__all__ = ["Draws"]

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2^64 divided by the golden ratio, as a signed number: the step of splitmix64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64  # the two multipliers of splitmix64 (Steele, Lea and Flood 2014)
_SECOND = 0x94D049BB133111EB - 2**64


class Draws(nn.Module):
    """Uniform draws for the drawn parameters of one activation.

    Args:
        ranges: (low, high) by parameter name, in place of the declared ranges.
        seed: the start of the sequence; layers with different seeds draw independently.
    """

    seed: Tensor
    count: Tensor

    def __init__(self, activation: Activation, ranges: dict[str, tuple[float, float]], seed: int) -> None:
        super().__init__()
        self.ranges: dict[str, tuple[float, float]] = {}
        for parameter in activation.parameters:
            if parameter.drawn:
                low, high = ranges.get(parameter.name, (parameter.low, parameter.high))
                if not 0 < low <= high:
                    raise UsageError(f"a range of {parameter.name} with 0 < low <= high", got=f"({low}, {high})")
                self.ranges[parameter.name] = (float(low), float(high))
        self.register_buffer("seed", torch.tensor(derive_seed(seed, "drawn parameters", activation.name)))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def middles(self) -> dict[str, float]:
        """Return the middle of every range: the parameters outside training."""
        return {name: (low + high) / 2 for name, (low, high) in self.ranges.items()}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return a tensor of the shape of x for every drawn parameter, and step the counter."""
        start = _mixed(self.seed + _GOLDEN * self.count)
        drawn = {}
        for index, (name, (low, high)) in enumerate(self.ranges.items()):
            places = torch.arange(x.numel(), device=x.device).reshape(x.shape)
            bits = _mixed(start + index + _GOLDEN * (places + 1))
            share = ((bits >> 11) & (2**53 - 1)).to(torch.float64) * 2.0**-53
            drawn[name] = (low + (high - low) * share).to(x.dtype)
        self.count += 1
        return drawn


def _mixed(z: Tensor) -> Tensor:
    """Return 64 well mixed bits of an integer (splitmix64's finaliser; shifts are made logical by the masks)."""
    z = (z ^ ((z >> 30) & (2**34 - 1))) * _FIRST
    z = (z ^ ((z >> 27) & (2**37 - 1))) * _SECOND
    return z ^ ((z >> 31) & (2**33 - 1))
