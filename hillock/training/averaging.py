"""An exponential moving average of the weights, and batch-norm statistics averaged anew at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage", "recompute_batch_norm"]


class MovingAverage:
    """average <- decay average + (1 - decay) weights after every step; running statistics stay the network's own.

    In the first steps the decay is at most (1 + step) / (10 + step), so that the draws of the start are soon forgotten
    (TensorFlow's ExponentialMovingAverage does the same).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = list(model.parameters())
        self.average = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [weight.detach() for weight in self._weights], 1.0 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the network for a while; the weights come back bit for bit."""
        kept = [weight.detach().clone() for weight in self._weights]
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)

    @torch.no_grad()
    def load(self, values: list[Tensor]) -> None:
        """Take the average from a checkpoint."""
        for mine, value in zip(self.average, values, strict=True):
            mine.copy_(value)


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace every batch norm's running statistics by plain averages over the batches of inputs given.

    Source: He et al. 2015, ImageNet models ("strictly averaged ... on a sufficiently large training batch").
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way of saying: plain average over all batches since the reset
    was_training = model.training
    model.train()
    try:
        for inputs in batches:
            model(inputs)
    finally:
        model.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
