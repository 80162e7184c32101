"""What a trained network says of pictures: class probabilities, averaged over views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hillock.data import Preprocessing
from hillock.data.views import views
from hillock.errors import UsageError

__all__ = ["probabilities"]

# Pictures a forward pass; more would leave the caches of a CPU (see EVALUATION_BATCH in assess.py).
BATCH = 200


@torch.no_grad()
def probabilities(
    model: nn.Module,
    pictures: Tensor,
    preprocessing: Preprocessing,
    *,
    view: str = "centre",
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return class probabilities float32 `[N, classes]` on the CPU for uint8 pictures `[N, C, S, S]`.

    The softmax is averaged over the views (`hillock.data.views`). The network is used in evaluation mode, which it is
    left in, on `device`.
    """
    model.eval().to(device)
    parts: list[Tensor] = [torch.empty(0, len(preprocessing.class_names))]
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        total = torch.zeros(len(some), len(preprocessing.class_names), device=device)
        for weight, window in views(view, some, preprocessing.image_size):
            inputs = preprocessing.normalise(window.to(device)).contiguous()
            total += weight * _scores(model, inputs, preprocessing.image_size).softmax(1)
        parts.append(total.cpu())
    return torch.cat(parts)


def _scores(model: nn.Module, inputs: Tensor, image_size: int) -> Tensor:
    try:
        scores: Tensor = model(inputs)
    except RuntimeError as error:
        if inputs.shape[-1] == image_size:
            raise
        raise UsageError(
            f"a network for any size for these views, {type(model).__name__} is for {image_size} pixels",
            got=f"{inputs.shape[-1]} pixels",
            instead="--views mirrored",
        ) from error
    return scores.float()
