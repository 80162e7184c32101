"""What a training leaves in its folder to go on from: checkpoint, weights, a record without loose ends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from hillock.errors import CheckpointError
from hillock.training import run_folder
from hillock.training.checkpoint import load_checkpoint, save_checkpoint, write_whole
from hillock.training.materials import Materials
from hillock.training.run import build_network, load_weights
from hillock.training.state import TrainingState

__all__ = ["forget_lines_after", "restore", "save", "save_weights", "start_again"]

log = logging.getLogger(__name__)

_FORMAT = 1


def save(materials: Materials, state: TrainingState) -> None:
    """Write the checkpoint of this moment. Every process calls this; the first one writes."""
    world, sums = materials.world, state.sums
    shares = world.gather(torch.stack([sums.loss, sums.wrong, torch.tensor(float(sums.count)).to(sums.loss)]))
    if not world.is_first:
        return
    content = {
        "format": _FORMAT,
        "model": materials.model.state_dict(),
        "optimizer": materials.optimizer.state_dict(),
        "average": None if materials.average is None else materials.average.average,
        "state": state.to_dict(),
        "shares": shares,
        "fingerprint": materials.dataset.fingerprint,
        "batch_size": materials.batch_size,
        "processes": world.size,
        "plan": materials.plan.choices(),
    }
    save_checkpoint(materials.folder, content)


def restore(materials: Materials) -> TrainingState | None:
    """Put the folder's checkpoint into network, optimiser and average; return where it stands, or None without one.

    The first process reads; the others are sent the content.
    """
    world = materials.world
    content = world.from_first(_find(materials) if world.is_first else None)
    if content is None:
        return None
    materials.model.load_state_dict(content["model"])
    materials.optimizer.load_state_dict(content["optimizer"])
    if materials.average is not None:
        materials.average.load(content["average"])
    state = TrainingState.from_dict(content["state"])
    # Each process takes back its own sums; where their number has changed, the first one takes those of all.
    shares = torch.stack(content["shares"])
    if len(shares) == world.size:
        loss, wrong, count = shares[world.rank]
    else:
        loss, wrong, count = shares.sum(0) * float(world.is_first)
    state.sums.loss = loss.to(materials.device)
    state.sums.wrong = wrong.to(materials.device)
    state.sums.count = int(count)
    return state


def _find(materials: Materials) -> dict[str, Any] | None:
    found = load_checkpoint(materials.folder)
    if found is None:
        return None
    content, warning = found
    if warning is not None:
        log.warning("%s", warning)
    if content.get("format") != _FORMAT:
        raise CheckpointError(f"a checkpoint of format {_FORMAT}", got=str(content.get("format")))
    if content["fingerprint"] != materials.dataset.fingerprint:
        raise CheckpointError("the data that the run was started with", got="other pictures, labels or split")
    if content["batch_size"] != materials.batch_size:
        raise CheckpointError(f"the batch size that the run was started with, {content['batch_size']}")
    before, now = content["plan"], materials.plan.choices()
    before["processes"], now["processes"] = str(content["processes"]), str(materials.world.size)
    for name in now:
        if before.get(name) != now[name]:
            was = before.get(name, "not known yet")
            log.warning("%s was %s and is now %s: the run goes on, but not bit for bit", name, was, now[name])
    return content


def start_again(materials: Materials) -> None:
    """Put network, optimiser and average back to where the run began."""
    fresh = build_network(materials.recipe, materials.dataset.facts())
    if materials.recipe.weights is not None:
        load_weights(fresh, materials.recipe.weights)
    materials.model.load_state_dict(fresh.state_dict())
    materials.optimizer.state.clear()
    if materials.average is not None:
        materials.average.load([weight.detach() for weight in materials.model.parameters()])


def save_weights(materials: Materials, name: str) -> None:
    """Write the weights that the run would be used with: the averaged ones where the recipe averages."""
    with materials.averaged():
        weights = {
            key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for key, value in materials.model.state_dict().items()
        }
    write_whole(materials.folder / name, safetensors.torch.save(weights, {"format": "pt"}))


def forget_lines_after(folder: Path, state: TrainingState) -> None:
    """Take back the record's and the health log's lines of what will be done again."""
    run_folder.drop_lines_after(folder / run_folder.RECORD, state.evaluated_step)
    run_folder.drop_lines_after(folder / run_folder.HEALTH, state.step)
