"""A finished (or interrupted) run, read back from its folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from torch import Tensor, nn

from hillock.errors import CheckpointError, ModelError, UsageError
from hillock.networks import network
from hillock.training import run_folder
from hillock.training.checkpoint import load_checkpoint
from hillock.training.recipe import Recipe

__all__ = ["Run", "build_network", "load_weights"]


def build_network(recipe: Recipe, facts: Mapping[str, Any]) -> nn.Module:
    """Return the recipe's network for data with these facts (`DataSet.facts()`), with fresh initial weights."""
    activation: Any = recipe.activation
    if recipe.activation_formula is not None:
        from hillock.activations import Activation

        activation = Activation(name=recipe.activation, formula=recipe.activation_formula)
    return network(
        recipe.network,
        activation=activation,
        activation_parameters=recipe.activation_parameters,
        num_classes=len(facts["class_names"]),
        input_channels=facts["channels"],
        image_size=facts["image_size"],
        initialisation=recipe.initialisation,
        seed=recipe.seed,
        **recipe.network_options,
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder as a value.

    >>> run = Run.open("runs/digits-resnet8-relu")  # doctest: +SKIP
    >>> run.final["test_error"], run.load_model()  # doctest: +SKIP
    """

    folder: Path
    recipe: Recipe
    record: list[dict[str, Any]]
    """The lines of record.jsonl, one an evaluation."""

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Read a run; `CheckpointError` when the folder holds none."""
        folder = Path(folder)
        if not (folder / run_folder.RECIPE).is_file():
            raise CheckpointError(f"a run's folder (with {run_folder.RECIPE})", got=str(folder), instead="hillock runs")
        return cls(folder, Recipe.load(folder / run_folder.RECIPE), run_folder.read_lines(folder / run_folder.RECORD))

    @property
    def final(self) -> dict[str, Any]:
        """The last line of the record."""
        if not self.record:
            raise CheckpointError(f"a run that was evaluated at least once, at {self.folder}", instead="--resume")
        return self.record[-1]

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end (early stopping included)."""
        return (self.folder / run_folder.WEIGHTS).is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """What `DataSet.facts()` said of the data (data.json)."""
        path = self.folder / run_folder.DATA
        if not path.is_file():
            raise CheckpointError(f"a run that got as far as its data, at {self.folder}", instead="--resume")
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return facts

    def load_model(self, weights: Literal["last", "best"] = "last") -> nn.Module:
        """Return the network with the run's weights, in evaluation mode.

        last: those at the end (of an interrupted run: at its last checkpoint). best: those with the lowest validation
        error, which only a run with validation pictures has; choosing by the test error would spoil it.
        """
        model = build_network(self.recipe, self.facts)
        if weights == "best":
            path = self.folder / run_folder.BEST
            if not path.is_file():
                raise UsageError('weights="last"', got='"best" of a run without validation pictures')
            model.load_state_dict(_weights(path))
        elif self.is_finished:
            model.load_state_dict(_weights(self.folder / run_folder.WEIGHTS))
        else:
            found = load_checkpoint(self.folder)
            if found is None:
                raise CheckpointError(f"a run with weights or a checkpoint, at {self.folder}", instead="--resume")
            model.load_state_dict(found[0]["model"])
        return model.eval()


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"a safetensors file that is whole, {path}", got=str(error), instead="--resume"
        ) from error


def load_weights(model: nn.Module, source: str) -> list[str]:
    """Start `model` from a safetensors file or a run's folder; return the names that keep their fresh values.

    Those are the names whose shape differs: the head, when the classes are others. Errors: `ModelError` when fewer than
    half of the parameters fit, which is another network and no fine-tuning.
    """
    path = Path(source)
    path = path / run_folder.WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise ModelError("a safetensors file or the folder of a finished run", got=source)
    given: dict[str, Tensor] = safetensors.torch.load_file(path)
    own = model.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if 2 * len(fitting) < len(own):
        raise ModelError(f"weights of a {type(model).__name__}", got=f"{len(fitting)} of {len(own)} that fit in {path}")
    model.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]
