"""The design of a comparison, written down and hashed before anything is trained."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from hillock.activations import Activation
from hillock.activations.catalogue import find
from hillock.errors import UnknownNameError, UsageError
from hillock.training.recipe import Recipe, Settings
from hillock.training.toml_text import toml_text

__all__ = ["Arm", "Metric", "Range", "Study", "Tuning"]

Metric = Literal["test_error", "test_loss", "validation_error"]

# relu | leaky_relu(negative_slope=0.1) | mine=x*tanh(x)
_ARM = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)\s*(?:\((?P<parameters>[^()]*)\)|=(?P<formula>.+))?")


class Arm(Settings):
    """One of the things compared: the base recipe with some settings changed.

    >>> Arm.parse("leaky_relu(negative_slope=0.1)").changes
    {'activation': 'leaky_relu', 'activation_parameters': {'negative_slope': 0.1}}
    """

    name: Annotated[str, Field(min_length=1)]
    """What the tables call it."""
    changes: dict[str, Any]
    """Recipe settings by name; a dot reaches inside (`optimizer.learning_rate`)."""

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Read an activation as it is typed: `gelu`, `leaky_relu(negative_slope=0.1)`, or `mine=x*tanh(x)`.

        The last form is a formula in x of one's own. Names are looked up; aliases become the canonical name.
        """
        match = _ARM.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                "an activation", got=repr(text), instead="gelu, leaky_relu(negative_slope=0.1) or mine=x*tanh(x)"
            )
        if match["formula"] is not None:
            return cls.of(Activation(name=match["name"], formula=match["formula"].strip()))
        activation = find(match["name"])
        if not match["parameters"]:
            return cls.of(activation)
        given = dict(_assignment(part, text) for part in match["parameters"].split(","))
        activation.constants(**given)  # refuses unknown names and values out of bounds
        shown = ", ".join(f"{name}={value:g}" for name, value in given.items())
        changes = {"activation": activation.name, "activation_parameters": given}
        return cls(name=f"{activation.name}({shown})", changes=changes)

    @classmethod
    def of(cls, activation: Activation) -> Arm:
        """Return the arm that trains with this activation, from the catalogue or one's own."""
        recipe = Recipe.model_validate({"activation": activation})
        changes = {"activation": recipe.activation}
        if recipe.activation_formula is not None:
            changes["activation_formula"] = recipe.activation_formula
        return cls(name=activation.name, changes=changes)

    @property
    def folder(self) -> str:
        """The arm's name made fit for a folder."""
        return re.sub(r"[^\w.=-]+", "-", self.name).strip("-")


class Range(Settings):
    """What tuning may choose from, evenly on a logarithmic scale."""

    low: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    high: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise UsageError("a range from low to high", got=f"{self.low:g} to {self.high:g}")
        return self

    def at(self, share: float) -> float:
        """Return the value at a share (0 low, 1 high) of the range, to four digits."""
        return float(f"{self.low * (self.high / self.low) ** share:.4g}")


class Tuning(Settings):
    """How much every arm may be tuned, the same for all. Each trial is a whole training."""

    trials: Annotated[int, Field(ge=1)] = 8
    """Settings tried for each arm; half as many again where a best one lies at the border of the range."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Seeds of each trial; none of them is used for the comparison itself."""
    space: dict[str, Range] = Field(default_factory=dict)
    """Recipe settings and their ranges (empty: `optimizer.learning_rate` from a tenth to ten times the recipe's)."""


class Study(Settings):
    """What is compared, on what, how often, and what will count as a difference: fixed before the first training.

    >>> study = Study(arms=("relu", "gelu"), recipe=Recipe(data="digits", network="resnet8", epochs=6), seeds=6)
    >>> study.seeds, study.reference
    ((0, 1, 2, 3, 4, 5), 'relu')
    """

    arms: tuple[Arm, ...]
    """At least two. A string or an `Activation` stands for the arm that trains with it."""
    reference: str = ""
    """The arm that all others are compared with (empty: relu if it is among them, else the first)."""
    recipe: Recipe = Recipe()
    """What all arms share. Its own seed and activation are replaced by those of the run."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3, 4, 5)
    """Each seed trains every arm once. A number n stands for 0, ..., n-1. Fewer than 6 never reach p < 0.05."""
    metric: Metric = "test_error"
    """The score at the end of the training, lower is better; errors are shares (0.01 is one point)."""
    rope: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.002
    """Half-width of the region of practical equivalence: differences below it do not matter. In the metric's unit;
    0.002 is 0.2 points of accuracy."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence that all intervals of the table hold together."""
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Probability of a verdict that the number of missing seeds is computed for."""
    target: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """A score to be timed: the report says how soon each arm reached it. Fixed beforehand, as everything here."""
    target_quantity: Literal["", "train_error", "train_loss", "test_error", "test_loss", "validation_error"] = ""
    """What the target is a value of (empty: the metric)."""
    tuning: Tuning | None = None
    """Tune every arm first (None: all train with the recipe as it stands)."""

    @field_validator("arms", mode="before")
    @classmethod
    def _arms_from_names(cls, arms: Any) -> Any:
        if isinstance(arms, str) or not hasattr(arms, "__iter__"):
            raise UsageError("a list of activations", got=repr(arms), instead="arms=('relu', 'gelu')")
        return tuple(
            Arm.parse(arm) if isinstance(arm, str) else Arm.of(arm) if isinstance(arm, Activation) else arm
            for arm in arms
        )

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_from_number(cls, seeds: Any) -> Any:
        return tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds

    @model_validator(mode="before")
    @classmethod
    def _choose_reference(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("reference"):
            return values
        arms = cls._arms_from_names(values.get("arms", ()))
        names = [arm.name if isinstance(arm, Arm) else arm["name"] for arm in arms]
        return {**values, "arms": arms, "reference": "relu" if "relu" in names or not names else names[0]}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [arm.name for arm in self.arms]
        for name in names:
            if names.count(name) > 1:
                raise UsageError("each arm once", got=f"{name} {names.count(name)} times")
        if len(names) < 2:
            raise UsageError(
                "at least two arms to compare", got=", ".join(names) or "none", instead="--activations relu,gelu"
            )
        if len({arm.folder for arm in self.arms}) < len(names):
            raise UsageError("arms whose names differ in letters or digits", got=", ".join(names))
        if self.reference not in names:
            raise UnknownNameError("arm to compare with", self.reference, names)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError("at least one seed, and each once", got=str(list(self.seeds)), instead="--seeds 6")
        for arm in self.arms:
            self.recipe_for(arm, self.seeds[0])  # a change that no recipe can take is refused now
        for name, range_ in self.tuning_space.items():
            self.recipe.replace(**{name: range_.low})
        return self

    @property
    def tuning_space(self) -> dict[str, Range]:
        """What tuning chooses from; empty without tuning."""
        if self.tuning is None:
            return {}
        rate = self.recipe.optimizer.learning_rate
        return self.tuning.space or {"optimizer.learning_rate": Range(low=rate / 10, high=rate * 10)}

    def arm(self, name: str) -> Arm:
        """Return one arm by name."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UnknownNameError("arm", name, [arm.name for arm in self.arms])

    def recipe_for(self, arm: Arm, seed: int) -> Recipe:
        """Return the recipe of one run. Two arms with one seed differ in the arm's changes and in nothing else."""
        return self.recipe.replace(**{"name": "", **arm.changes, "seed": seed})

    def to_dict(self) -> dict[str, Any]:
        """Return the design as plain values."""
        fields = self.model_dump(mode="json", exclude={"recipe"}, exclude_none=True)
        return {**fields, "recipe": self.recipe.to_dict()}

    def to_toml(self) -> str:
        """Return the design as TOML; `Study.load` of it gives an equal study."""
        return toml_text(self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a design from a TOML file, or from the `study.toml` of a study's folder."""
        path = Path(path)
        path = path / "study.toml" if path.is_dir() else path
        try:
            return cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UsageError("the path of a study", got=str(path)) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"valid TOML in {path}", got=str(error)) from None

    @property
    def digest(self) -> str:
        """SHA-256 of the design without its seeds: what was fixed beforehand. More seeds may be added later."""
        design = {name: value for name, value in self.to_dict().items() if name != "seeds"}
        return hashlib.sha256(json.dumps(design, sort_keys=True).encode()).hexdigest()


def _assignment(part: str, text: str) -> tuple[str, float]:
    name, equals, value = part.partition("=")
    try:
        if not equals:
            raise ValueError
        return name.strip(), float(value)
    except ValueError:
        raise UsageError(
            "NAME=NUMBER for each parameter", got=repr(text), instead="leaky_relu(negative_slope=0.1)"
        ) from None
