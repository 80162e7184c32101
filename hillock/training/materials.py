"""What a training works with, made from a recipe and its data: network, optimiser, batches, hardware plan."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hillock.data import Augmentation, Batches, DataSet
from hillock.errors import UsageError
from hillock.layers.fused import fuse
from hillock.training.averaging import MovingAverage
from hillock.training.distributed import World, synchronise_batch_norm
from hillock.training.hardware import Plan, choose, device_of
from hillock.training.observer import TrainingContext
from hillock.training.optimisers import build_optimizer
from hillock.training.recipe import Recipe
from hillock.training.run import build_network, load_weights

__all__ = ["Materials", "load_data", "prepare"]


def load_data(recipe: Recipe) -> DataSet:
    """Return the recipe's data. The split is the data's own: its seed stays 0, so that runs share the test pictures."""
    from hillock import data

    return data.load(
        recipe.data,
        image_size=recipe.image_size,
        validation_share=recipe.validation_share,
        limit=recipe.limit,
        broken=recipe.broken,
        augmentation=None if isinstance(recipe.augmentation, str) else recipe.augmentation,
    )


@dataclasses.dataclass
class Materials:
    """The parts of one training in one process."""

    recipe: Recipe
    dataset: DataSet
    folder: Path
    world: World
    device: torch.device
    batches: Batches
    batch_size: int
    """Pictures a step over all processes."""
    total_steps: int
    plan: Plan
    model: nn.Module
    """The network itself."""
    forward: Callable[[Tensor], Tensor]
    """The network as the loop calls it: compiled, and averaging gradients over processes."""
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    loss_function: Callable[[Tensor, Tensor], Tensor]
    memory_format: torch.memory_format

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training part."""
        return len(self.batches)

    def to_device(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch on the device, in the plan's memory layout."""
        inputs = inputs.to(self.device, non_blocking=True)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=self.memory_format)
        return inputs, targets.to(self.device, non_blocking=True)

    def averaged(self) -> AbstractContextManager[None]:
        """Return the context in which the network holds the averaged weights, where the recipe averages."""
        return contextlib.nullcontext() if self.average is None else self.average.in_place()

    def context(self) -> TrainingContext:
        """Return what observers see, before the first step."""
        return TrainingContext(
            model=self.model,
            optimizer=self.optimizer,
            recipe=self.recipe,
            dataset=self.dataset,
            folder=self.folder,
            loss_function=self.loss_function,
            autocast=self.plan.autocast,
            device=self.device,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
        )


def prepare(recipe: Recipe, dataset: DataSet, folder: Path, world: World) -> Materials:
    """Make everything a training needs; `UsageError` when the settings do not fit the data."""
    device = device_of(recipe.device)
    if world.size > 1 and device.type == "cuda":
        device = torch.device("cuda", world.local_rank)
    batch_size = _batch_size(recipe, len(dataset.train))
    _check(recipe, dataset, batch_size, world)
    batches = Batches(
        dataset.train,
        batch_size,
        seed=recipe.seed,
        dataset=dataset,
        augmentation=augmentation_of(recipe, dataset),
        drop_last=True,
        rank=world.rank,
        world_size=world.size,
    )
    total_steps = recipe.steps or recipe.epochs * len(batches)
    model = build_network(recipe, dataset.facts())
    if recipe.weights is not None:
        load_weights(model, recipe.weights)
    size = (dataset.channels, dataset.image_size, dataset.image_size)
    plan = choose(recipe, model, size, total_steps * batch_size, processes=world.size)
    memory_format = torch.channels_last if plan.channels_last.value == "on" else torch.contiguous_format
    batches.channels_last = memory_format == torch.channels_last  # laid out so from the start, not copied later
    _place(model, device, memory_format)
    if world.size > 1 and recipe.batch_norm == "synchronised":
        synchronise_batch_norm(model)
    if plan.fused.value == "on":
        fuse(model)
    forward: Callable[[Tensor], Tensor] = world.wrap(model, device)
    if plan.compile.value == "on":
        forward = torch.compile(forward)
    return Materials(
        recipe=recipe,
        dataset=dataset,
        folder=folder,
        world=world,
        device=device,
        batches=batches,
        batch_size=batch_size,
        total_steps=total_steps,
        plan=plan,
        model=model,
        forward=forward,
        optimizer=build_optimizer(model, recipe.optimizer),
        average=None if recipe.ema_decay is None else MovingAverage(model, recipe.ema_decay),
        loss_function=nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing),
        memory_format=memory_format,
    )


def _place(model: nn.Module, device: torch.device, memory_format: torch.memory_format) -> None:
    """Move the network, its four-dimensional weights in the given layout."""
    model.to(device)
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=memory_format)


def _check(recipe: Recipe, dataset: DataSet, batch_size: int, world: World) -> None:
    if recipe.early_stopping is not None and dataset.validation is None:
        raise UsageError("validation pictures for early_stopping", got="none", instead="--validation-share 0.1")
    if batch_size % (world.size * recipe.accumulate):
        parts = f"{world.size} processes times {recipe.accumulate} parts"
        raise UsageError(f"a batch_size that {parts} can share evenly", got=str(batch_size))


def _batch_size(recipe: Recipe, pictures: int) -> int:
    """Return the pictures a step; small sets need more steps than large batches give.

    ResNet-20 on re-compressed CIFAR-10, 10 epochs, one seed each: 83.1 % with 128 (the papers' batch), 83.9 % with 64.
    """
    if recipe.batch_size != "auto":
        return min(recipe.batch_size, pictures)
    return min(64 if pictures >= 20_000 else 32, pictures)


def augmentation_of(recipe: Recipe, dataset: DataSet) -> Augmentation | None:
    """Return how training pictures are varied; digits are not, since a mirrored digit is another sign."""
    if recipe.augmentation == "none" or (recipe.augmentation == "auto" and dataset.name == "digits"):
        return None
    if recipe.augmentation == "auto":
        return Augmentation(crop_padding=dataset.image_size // 8, flip="random")
    return recipe.augmentation


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Use this many CPU threads for a while (None: as it is)."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lean(wanted: bool) -> AbstractContextManager[Any]:
    """Return the context in which activations keep the least for their backward pass."""
    if not wanted:
        return contextlib.nullcontext()
    from hillock import kernels

    return kernels.lean()
