"""What a network is asked: the class of a picture, or the next token at every place of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from hillock.networks.gated_conv import GatedConvNet

__all__ = ["Objective", "TextLoss", "of_pictures", "of_text", "token_loss"]


class Objective(Protocol):
    """(inputs, targets) -> mean loss with its graph, and the number of wrong answers."""

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Answer for a batch."""


def of_pictures(
    forward: Callable[[Tensor], Tensor], loss_function: Callable[[Tensor, Tensor], Tensor], autocast: Callable[[], Any]
) -> Objective:
    """Return the objective of a classifier, whose scores `forward` gives."""

    def objective(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with autocast():
            scores = forward(inputs)
        loss = loss_function(scores.float(), targets)
        return loss, (scores.detach().argmax(1) != targets).sum()

    return objective


def of_text(forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], autocast: Callable[[], Any]) -> Objective:
    """Return the objective of a language model, whose loss `forward` (a `TextLoss`, maybe wrapped) gives."""

    def objective(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with autocast():
            return forward(inputs, targets)

    return objective


class TextLoss(nn.Module):
    """A language model and its loss as one module: (tokens, targets) [N, T] -> mean loss, wrong guesses.

    The adaptive softmax visits the targets' clusters only, where the table of all probabilities would have N T V
    numbers. In a module of its own, so that DistributedDataParallel sees the forward pass that is trained.
    """

    def __init__(self, model: GatedConvNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss in nats and how often the likeliest token is another."""
        features, answers = self.model.features(tokens).flatten(0, 1), targets.flatten()
        loss: Tensor = self.model.softmax(features, answers).loss
        with torch.no_grad():
            wrong = (self.model.softmax.predict(features) != answers).sum()
        return loss.float(), wrong


def token_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of scores [N, T, V] for targets [N, T], for observers that look at scores."""
    return functional.cross_entropy(scores.flatten(0, -2), targets.flatten())
