"""The gradient of one batch: in parts, in the plan's precision, with draws that a resumed run repeats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hillock.randomness import derive_seed
from hillock.training.materials import Materials

__all__ = ["batch_gradient"]


def batch_gradient(materials: Materials, inputs: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Leave the mean gradient of a batch (on the device) in the parameters; return mean loss and wrong answers.

    `recipe.accumulate` parts are computed one after the other; what modules draw depends on seed, step and rank alone.
    """
    recipe = materials.recipe
    if recipe.small_side is not None and step < recipe.small_share * materials.total_steps:
        inputs = _shrunk(inputs, recipe.small_side)
    loss = torch.zeros((), device=materials.device)
    wrong = torch.zeros((), dtype=torch.int64, device=materials.device)
    parts = list(zip(inputs.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True))
    with _step_draws(recipe.seed, step, materials.world.rank, materials.device):
        for number, (some, answers) in enumerate(parts, 1):
            with _exchange(materials, number == len(parts)):
                part, missed = materials.objective(some, answers)
                if len(parts) > 1:
                    part = part * (len(answers) / len(targets))
                part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
            wrong += missed
    return loss, wrong


def _shrunk(inputs: Tensor, side: int) -> Tensor:
    """Return the pictures with `side` pixels a side; every old pixel counts (a plain interpolation would skip some)."""
    small = functional.interpolate(inputs, (side, side), mode="bilinear", antialias=True)
    laid_out = inputs.is_contiguous(memory_format=torch.channels_last)
    return small.contiguous(memory_format=torch.channels_last) if laid_out else small


def _exchange(materials: Materials, wanted: bool) -> contextlib.AbstractContextManager[Any]:
    """While gradients are still being accumulated, do not average them over the processes yet."""
    no_sync = getattr(materials.wrapped, "no_sync", None)
    return contextlib.nullcontext() if wanted or no_sync is None else no_sync()


@contextlib.contextmanager
def _step_draws(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Make what modules draw (dropout, RReLU) a function of seed, step and rank.

    Such modules of torch draw from the default generator and offer no other, so it is lent out for the step: seeded
    here, and put back as it was found.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(derive_seed(seed, "step", step, rank))
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
