"""What a training works with, made from a recipe and its data: network, optimiser, batches, hardware plan."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hillock.data import Augmentation, DataSet, StreamedData, TextData, TrainingData
from hillock.data.feeding import Feed, training_batches, training_size
from hillock.data.views import views
from hillock.errors import DataError, UsageError
from hillock.layers.fused import fuse
from hillock.networks.gated_conv import GatedConvNet
from hillock.training.averaging import MovingAverage
from hillock.training.distributed import World, synchronise_batch_norm
from hillock.training.hardware import Plan, choose, device_of
from hillock.training.objective import Objective, TextLoss, of_pictures, of_text, token_loss
from hillock.training.observer import TrainingContext
from hillock.training.optimisers import build_optimizer
from hillock.training.recipe import Recipe
from hillock.training.run import build_network, load_weights

__all__ = ["Materials", "load_data", "load_training_data", "prepare"]

log = logging.getLogger(__name__)


# Pictures shown to a network that sets weights by its data (airbench94: 5,000).
PICTURES_LOOKED_AT = 5000


@runtime_checkable
class LooksAtData(Protocol):
    """A network that sets some of its weights by training pictures before the first step."""

    def look_at(self, inputs: Tensor) -> None: ...


def load_data(recipe: Recipe) -> DataSet:
    """Return the recipe's pictures (of streamed ones: the first, as a sample).

    The split is the data's own: its seed stays 0, so that runs share the test pictures.
    """
    loaded = load_training_data(recipe)
    if isinstance(loaded, TextData):
        raise DataError("pictures", got=f"the text {recipe.data}")
    return loaded.sample if isinstance(loaded, StreamedData) else loaded


def load_training_data(recipe: Recipe) -> TrainingData:
    """Return what the recipe trains on: pictures, streamed pictures or a text."""
    from hillock import data
    from hillock.data import streamed, text

    augmentation = None if isinstance(recipe.augmentation, str) else recipe.augmentation
    if text.looks_like_text(recipe.data):
        _say_unused(recipe, "a text", ("validation_share", "limit"))
        return data.load_text(recipe.data, **(recipe.text or data.TextSettings()).model_dump())
    if recipe.data.startswith(streamed.PREFIX):
        _say_unused(recipe, "streamed pictures", ("validation_share",))
        return streamed.open_streamed(
            recipe.data, image_size=recipe.image_size, limit=recipe.limit, augmentation=augmentation
        )
    return data.load(
        recipe.data,
        image_size=recipe.image_size,
        validation_share=recipe.validation_share,
        limit=recipe.limit,
        broken=recipe.broken,
        augmentation=augmentation,
    )


def _say_unused(recipe: Recipe, kind: str, names: tuple[str, ...]) -> None:
    """Warn of settings that the recipe has and this kind of data cannot follow."""
    unused = [name for name in names if getattr(recipe, name) is not None]
    if unused:
        log.warning("%s: not used for %s", ", ".join(unused), kind)


@dataclasses.dataclass
class Materials:
    """The parts of one training in one process."""

    recipe: Recipe
    dataset: TrainingData
    folder: Path
    world: World
    device: torch.device
    batches: Feed
    batch_size: int
    """Pictures (or windows of text) a step over all processes."""
    total_steps: int
    plan: Plan
    model: nn.Module
    """The network itself."""
    wrapped: Callable[..., Any]
    """The network as the loop calls it: compiled, and averaging gradients over processes."""
    objective: Objective
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
            dataset=self.dataset.sample if isinstance(self.dataset, StreamedData) else self.dataset,
            folder=self.folder,
            loss_function=self.loss_function,
            autocast=self.plan.autocast,
            device=self.device,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
        )


def prepare(recipe: Recipe, dataset: TrainingData, folder: Path, world: World) -> Materials:
    """Make everything a training needs; `UsageError` when the settings do not fit the data."""
    device = device_of(recipe.device)
    if world.size > 1 and device.type == "cuda":
        device = torch.device("cuda", world.local_rank)
    batch_size = _batch_size(recipe, training_size(dataset))
    _check(recipe, dataset, batch_size, world)
    batches = training_batches(
        dataset,
        batch_size,
        seed=recipe.seed,
        augmentation=augmentation_of(recipe, dataset),
        rank=world.rank,
        world_size=world.size,
    )
    total_steps = recipe.steps or recipe.epochs * len(batches)
    facts = dataset.facts()
    model = build_network(recipe, facts)
    _check_network(recipe, model, dataset)
    if recipe.weights is not None:
        load_weights(model, recipe.weights)
    else:
        _let_look(model, dataset)
    size = (facts["channels"], facts["image_size"], facts["image_size"])
    plan = choose(recipe, model, size, total_steps * batch_size, processes=world.size)
    memory_format = torch.channels_last if plan.channels_last.value == "on" else torch.contiguous_format
    batches.channels_last = memory_format == torch.channels_last  # laid out so from the start, not copied later
    _place(model, device, memory_format)
    if world.size > 1 and recipe.batch_norm == "synchronised":
        synchronise_batch_norm(model)
    if plan.fused.value == "on":
        fuse(model)
    is_text = isinstance(dataset, TextData)
    wrapped: Callable[..., Any] = world.wrap(
        TextLoss(model) if isinstance(model, GatedConvNet) else model, device, partly=is_text
    )
    if plan.compile.value == "on":
        wrapped = torch.compile(wrapped)
    loss_function = token_loss if is_text else nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
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
        wrapped=wrapped,
        objective=of_text(wrapped, plan.autocast) if is_text else of_pictures(wrapped, loss_function, plan.autocast),
        optimizer=build_optimizer(model, recipe.optimizer),
        average=None if recipe.ema_decay is None else MovingAverage(model, recipe.ema_decay),
        loss_function=loss_function,
        memory_format=memory_format,
    )


def _let_look(model: nn.Module, dataset: TrainingData) -> None:
    """Show training pictures, from all over the part, to a network that sets weights by them."""
    sample = dataset.sample if isinstance(dataset, StreamedData) else dataset
    if isinstance(model, LooksAtData) and isinstance(sample, DataSet):
        images = sample.train.images
        rows = torch.linspace(0, len(images) - 1, min(len(images), PICTURES_LOOKED_AT)).long()
        ((_, pictures),) = views("centre", images[rows], sample.image_size)
        model.look_at(sample.preprocessing.normalise(pictures))


def _place(model: nn.Module, device: torch.device, memory_format: torch.memory_format) -> None:
    """Move the network, its four-dimensional weights in the given layout."""
    model.to(device)
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=memory_format)


def _check(recipe: Recipe, dataset: TrainingData, batch_size: int, world: World) -> None:
    has_validation = not isinstance(dataset, StreamedData) and dataset.validation is not None
    if recipe.early_stopping is not None and not has_validation:
        raise UsageError("validation pictures for early_stopping", got="none", instead="--validation-share 0.1")
    if batch_size % (world.size * recipe.accumulate):
        parts = f"{world.size} processes times {recipe.accumulate} parts"
        raise UsageError(f"a batch_size that {parts} can share evenly", got=str(batch_size))
    if isinstance(dataset, TextData) and recipe.label_smoothing:
        raise UsageError("label_smoothing = 0 for text", got=str(recipe.label_smoothing))
    if recipe.text is not None and not isinstance(dataset, TextData):
        raise UsageError("a text for the settings [text]", got=recipe.data, instead="--data FILE.txt")


def _check_network(recipe: Recipe, model: nn.Module, dataset: TrainingData) -> None:
    """Refuse pictures for a network that reads tokens, and the other way round."""
    if isinstance(dataset, TextData) and not isinstance(model, GatedConvNet):
        raise UsageError("a network that reads tokens", got=recipe.network, instead="--network gcnn8")
    if isinstance(model, GatedConvNet) and not isinstance(dataset, TextData):
        raise UsageError(f"a text for {recipe.network}", got=recipe.data, instead="--data FILE.txt")


def _batch_size(recipe: Recipe, pictures: int) -> int:
    """Return the pictures a step; small sets need more steps than large batches give.

    ResNet-20 on re-compressed CIFAR-10, 10 epochs, one seed each: 83.1 % with 128 (the papers' batch), 83.9 % with 64.
    """
    if recipe.batch_size != "auto":
        return min(recipe.batch_size, pictures)
    return min(64 if pictures >= 20_000 else 32, pictures)


def augmentation_of(recipe: Recipe, dataset: TrainingData) -> Augmentation | None:
    """Return how training pictures are varied; digits are not, since a mirrored digit is another sign."""
    pictures = dataset.sample if isinstance(dataset, StreamedData) else dataset
    if recipe.augmentation == "none":
        return None
    if recipe.augmentation == "auto":
        if isinstance(pictures, TextData) or pictures.name == "digits":
            return None
        return Augmentation(crop_padding=pictures.image_size // 8, flip="random")
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
