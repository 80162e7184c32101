"""Loss and error of a network over one part of the data, and the line they make in the record."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hillock.data.feeding import evaluated_parts, evaluation_batches
from hillock.data.views import views
from hillock.networks.gated_conv import GatedConvNet
from hillock.training.averaging import recompute_batch_norm
from hillock.training.materials import Materials
from hillock.training.objective import TextLoss
from hillock.training.state import TrainingState

__all__ = ["assess", "evaluate", "recompute_running_statistics"]

# Pictures in an evaluation batch: on a CPU 200 is 1.5 times as fast as 2,000, whose maps do not fit the caches
# (airbench94's network, two cores of an AVX512/AMX Xeon, torch 2.13).
EVALUATION_BATCH = 200
# Batches averaged for the running statistics. He et al. 2015 say "sufficiently large"; at batch 256: 12,800 pictures.
STATISTICS_BATCHES = 50


@torch.no_grad()
def assess(materials: Materials, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return [sum of cross-entropies in nats, wrong answers, pictures] in evaluation mode.

    Without label smoothing, so that losses compare over recipes. The network's mode is put back.
    """
    model = materials.model
    was_training = model.training
    model.eval()
    totals = torch.zeros(3, dtype=torch.float64, device=materials.device)
    try:
        for batch in batches:
            inputs, targets = materials.to_device(*batch)
            loss, wrong = _judged(materials, inputs, targets)
            totals[0] += loss
            totals[1] += wrong
            totals[2] += targets.numel()
    finally:
        model.train(was_training)
    return totals


def _judged(materials: Materials, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of losses and the number of wrong answers."""
    if isinstance(materials.model, GatedConvNet):
        with materials.plan.autocast():
            loss, wrong = TextLoss(materials.model)(inputs, targets)
        return loss.double() * targets.numel(), wrong
    scores = _scores(materials, inputs)
    return functional.cross_entropy(scores, targets, reduction="sum"), (scores.argmax(1) != targets).sum()


def _scores(materials: Materials, inputs: Tensor) -> Tensor:
    """Return scores, float32; with several views the logarithm of their mean probability."""
    recipe = materials.recipe
    with materials.plan.autocast():
        if recipe.views == "centre":
            return materials.model(inputs).float()  # type: ignore[no-any-return]
        seen = views(recipe.views, inputs, materials.dataset.image_size)
        format = materials.memory_format
        likely = [
            weight * materials.model(view.contiguous(memory_format=format)).float().softmax(1) for weight, view in seen
        ]
    return torch.stack(likely).sum(0).log()


def evaluate(materials: Materials, state: TrainingState) -> dict[str, Any]:
    """Return a line of the record: training since the last one, and the whole validation and test parts.

    Every process measures its share. Losses are means in nats, errors shares of wrong answers.
    """
    world, sums = materials.world, state.sums
    count = torch.tensor(float(sums.count), dtype=torch.float64, device=materials.device)
    loss, wrong, count = world.sum(torch.stack([sums.loss, sums.wrong.double(), count])).unbind()
    line: dict[str, Any] = {
        "epoch": round(state.step / materials.steps_per_epoch, 4),
        "step": state.step,
        "train_loss": float(loss / count),
        "train_error": float(wrong / count),
        "validation_loss": None,
        "validation_error": None,
    }
    with materials.averaged():
        for name in evaluated_parts(materials.dataset):
            batches = evaluation_batches(
                materials.dataset,
                name,
                EVALUATION_BATCH,
                rank=world.rank,
                world_size=world.size,
                channels_last=materials.batches.channels_last,
            )
            lost, missed, seen = world.sum(assess(materials, batches)).tolist()
            line |= {f"{name}_loss": lost / seen, f"{name}_error": missed / seen}
    return line | {
        "learning_rate": state.learning_rate,
        "rate_scale": state.rate_scale,
        "images_per_second": sums.images_per_second,
        "waiting_share": sums.waiting_share,
    }


def recompute_running_statistics(materials: Materials, epoch: int) -> None:
    """Average batch norm's statistics anew over training batches, with the weights that will be used."""
    batches = itertools.islice(materials.batches.epoch(epoch), STATISTICS_BATCHES)
    with materials.averaged(), materials.plan.autocast():
        recompute_batch_norm(materials.model, (materials.to_device(*batch)[0] for batch in batches))
