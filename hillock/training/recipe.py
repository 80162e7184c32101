"""The recipe: everything that decides a training's outcome, as one frozen, validated value, TOML in and out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hillock.data import Augmentation, TextSettings
from hillock.data.views import ViewName
from hillock.errors import UnknownNameError, UsageError
from hillock.training.toml_text import toml_text

__all__ = ["About", "GroupRule", "OptimizerSettings", "Recipe", "ScheduleSettings", "recipe_names"]

_RECIPES = Path(__file__).parent / "recipes"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Choice = Literal["auto", "on", "off"]
Scalar = bool | int | float | str


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown names and says in one sentence what is wrong with a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _usage_error(error, type(self)) from None


def _usage_error(error: ValidationError, settings: type[BaseModel]) -> UsageError:
    """Turn pydantic's first complaint into hillock's sentence: what was expected, what came."""
    first = error.errors()[0]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, UsageError):
        return inner
    field = ".".join(str(part) for part in first["loc"]) or settings.__name__
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        kind = settings.__name__.removesuffix("Settings").lower()
        return UnknownNameError(f"{kind} setting", field, settings.model_fields)
    message = first["msg"].removeprefix("Value error, ")
    if message.startswith("Input should be "):
        return UsageError(f"{field} to be {message.removeprefix('Input should be ')}", got=repr(first["input"]))
    return UsageError(f"a usable value for {field} ({message[0].lower() + message[1:]})", got=repr(first["input"]))


class GroupRule(Settings):
    """How one kind of parameter is treated apart from the rest. The first rule that matches a parameter wins."""

    match: str
    """`biases`, `normalisation` (scale, shift of batch norm, layer norm, ...), `activations` (learned: PReLU's slope),
    or `name:REGEX`, searched for in the parameter's name (`name:^head`)."""
    learning_rate_scale: NotNegative = 1.0
    """Multiplies the learning rate; 0 freezes."""
    weight_decay: NotNegative | None = None
    """Replaces the weight decay (None: as for all others)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Replaces the momentum (None: as for all others); not with AdamW, which has none."""

    @field_validator("match")
    @classmethod
    def _known(cls, match: str) -> str:
        if match not in ("biases", "normalisation", "activations") and not match.startswith("name:"):
            raise UsageError("match = biases, normalisation, activations or name:REGEX", got=repr(match))
        return match


class OptimizerSettings(Settings):
    """The update rule and its constants."""

    kind: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: Positive = 0.1
    """The peak rate, before schedule and group scales. SGD with batch 128: 0.1 (He et al. 2015, section 4.2)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    momentum_form: Literal["torch", "caffe"] = "torch"
    """Where the rate stands. torch: v = m v + g, w -= rate v. caffe (and AlexNet): v = m v + rate g, w -= v.
    Equal while the rate is constant; they differ for about 1/(1-m) steps after a drop."""
    nesterov: bool = True
    fixed_norm: bool = False
    """muon: before each update scale every matrix to the norm sqrt(outputs), so that the rate is a relative one."""
    orthogonal_rounds: Annotated[int, Field(ge=1)] = 5
    """muon: rounds of the iteration that lifts singular values towards 1; fewer leave the small ones small."""
    weight_decay: NotNegative = 5e-4
    """Added to the gradient as weight_decay * w (adamw and muon: decoupled, w -= rate * weight_decay * w)."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """adamw's averaging constants, also for what muon leaves to it."""
    epsilon: Positive = 1e-8
    groups: tuple[GroupRule, ...] = (GroupRule(match="activations", weight_decay=0.0),)
    """Learned activation parameters are never decayed (He et al. 2015, PReLU: decay would pull towards ReLU)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "adamw" and any(group.momentum is not None for group in self.groups):
            raise UsageError("no momentum in the groups of adamw", instead="betas, or kind = sgd or muon")
        return self


class ScheduleSettings(Settings):
    """The learning rate over the run, as a factor of the optimizer's rate: a function of the step alone, save `plateau`
    and `warmup_until_error`, whose small state is kept in the checkpoint."""

    kind: Literal["cosine", "linear", "steps", "constant", "plateau"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps in which the rate climbs linearly to its peak (None: `warmup_share` of the run)."""
    warmup_share: Share = 0.15
    """Share of the run to climb in; only used where `warmup_steps` is not given."""
    warmup_factor: NotNegative | None = None
    """Hold this factor of the peak during the warm-up instead of climbing (He et al. 2015: 0.1 for ResNet-110)."""
    warmup_until_error: Share | None = None
    """End a held warm-up once the training error of the last 50 steps is below this share (He et al. 2015: 0.80)."""
    final_factor: NotNegative = 0.0
    """cosine, linear: the factor reached at the last step."""
    milestones: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """steps: after this many steps (see `unit`) the rate is multiplied by `drop`."""
    unit: Literal["steps", "epochs"] = "epochs"
    """What `milestones` count."""
    drop: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """steps, plateau: the factor at each drop."""
    patience: Annotated[int, Field(ge=1)] = 5
    """plateau: drop after this many evaluations without a lower validation error (else training error)."""
    max_drops: Annotated[int, Field(ge=0)] = 3
    """plateau: drop at most this often (Krizhevsky et al. 2012: three times)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "steps" and list(self.milestones) != sorted(set(self.milestones)):
            raise UsageError("schedule.milestones in rising order", got=str(list(self.milestones)))
        if self.warmup_until_error is not None and self.warmup_factor is None:
            raise UsageError("schedule.warmup_factor together with warmup_until_error", instead="warmup_factor = 0.1")
        return self


class About(Settings):
    """Where a recipe comes from and what it should give. Every shipped recipe has one."""

    source: str
    """Paper, code and section."""
    expected: str
    """The result the source reports for it."""
    departures: tuple[str, ...] = ()
    """Where this recipe departs from its source, and why."""


class Recipe(Settings):
    """Everything that decides a training's outcome.

    Recipes are values: two equal recipes with the same data give the same weights on the same machine. Derive one from
    another with `replace`; write it with `to_toml`; read it with `Recipe.load`.

    >>> recipe = Recipe(data="digits", network="resnet8", epochs=6)
    >>> recipe.replace(activation="gelu", **{"optimizer.learning_rate": 0.05}).optimizer.learning_rate
    0.05
    """

    name: str = ""
    """Used for the run's folder; empty: data-network-activation."""
    about: About | None = None
    data: str = "digits"
    """digits, shapes, a folder of class folders, Parquet files, a hub id, `stream:` and one of these, or a text."""
    network: str = "resnet8"
    network_options: dict[str, Scalar] = {}
    """Further arguments of the network's builder (`width = 64`)."""
    activation: str = "relu"
    activation_formula: str | None = None
    """The formula in x of an activation of one's own; `activation` is then its name."""
    activation_parameters: dict[str, float] = {}
    initialisation: str | None = None
    """The scheme's name (None: the network's own)."""
    weights: str | None = None
    """A weights file or run folder to start from (finetune); what does not fit in shape, the head, starts afresh."""
    image_size: Annotated[int, Field(ge=1)] | None = None
    """Side of the pictures in pixels (None: as the data has them)."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the training pictures set aside for validation (None: only what the data itself sets aside)."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Use at most this many training pictures."""
    broken: Literal["refuse", "skip"] = "refuse"
    """Pictures that cannot be read: refuse the data, naming them, or leave them out and say so."""
    seed: int = 0
    epochs: Annotated[int, Field(ge=1)] = 10
    steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after exactly this many steps (None: after `epochs`). Papers count steps."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Pictures a step over all processes (auto: 64 from 20,000 training pictures on, else 32)."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Parts a batch is computed in, one after the other, to save memory. Batch norm then sees one part at a time."""
    small_side: Annotated[int, Field(ge=1)] | None = None
    """Shrink the training pictures to this side in pixels at first: less work a step, much the same lesson."""
    small_share: Share = 0.5
    """Share of the steps with small pictures; only used where `small_side` is given."""
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: Augmentation | Literal["auto", "none"] = "auto"
    """auto: crop after padding an eighth of the side, and mirror (He et al. 2015: 4 of 32 pixels); digits: none."""
    text: TextSettings | None = None
    """How a text is read, where `data` is one (None: as `TextSettings` has it)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    """Scale the gradient down to this 2-norm where it is longer."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Evaluate and save an exponential moving average of the weights, with this decay a step."""
    recompute_batch_norm: bool = False
    """At the end replace the running statistics by plain averages over training batches (He et al. 2015, ImageNet)."""
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many evaluations without a better validation error."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations; the end is always evaluated."""
    views: ViewName = "centre"
    """How a picture is seen in evaluations: see `hillock.data.views`."""
    retries: Annotated[int, Field(ge=0)] = 0
    """When the loss is not finite: go back to the last checkpoint and halve the rate, at most this often. 0: stop."""
    checkpoint_minutes: Positive = 5.0
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Checkpoint also every so many steps."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: Choice = "auto"
    compile: Choice = "auto"
    fused: Choice = "auto"
    """Normalisation, addition and activation as one operation, and faster weight gradients of small maps (CPU)."""
    memory: Literal["eager", "lean"] = "eager"
    """lean: keep the least for the backward pass."""
    batch_norm: Literal["synchronised", "per_process"] = "synchronised"
    """With several processes: statistics over the whole batch (equal to one process), or each its own (faster)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads (None: what torch chooses)."""

    @model_validator(mode="before")
    @classmethod
    def _name_of_activation(cls, values: Any) -> Any:
        """Accept an Activation where its name stands: a catalogue entry becomes its name, another its formula."""
        given = values.get("activation") if isinstance(values, dict) else None
        if given is None or isinstance(given, str):
            return values
        from hillock.activations.catalogue import catalogue

        changed = {**values, "activation": given.name}
        if catalogue().get(given.name) is not given:
            changed["activation_formula"] = str(given.formula)
        return changed

    @classmethod
    def load(cls, source: str | Path) -> Recipe:
        """Read a recipe: the name of a shipped one (`resnet-cifar-2015`) or a TOML file.

        Errors: `UnknownNameError` when it is neither, `UsageError` when a value cannot be used.
        """
        path = Path(source)
        if path.is_dir():
            path = path / "recipe.toml"
        if not path.is_file():
            path = _RECIPES / f"{source}.toml"
        if not path.is_file():
            raise UnknownNameError("recipe", str(source), recipe_names())
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"valid TOML in {path}", got=str(error)) from None
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, without those that are None."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """Return the recipe as TOML; `Recipe.load` of it gives an equal recipe."""
        return toml_text(self.to_dict())

    def replace(self, **changes: Any) -> Recipe:
        """Return this recipe with some settings changed; a dot reaches inside: `optimizer.learning_rate`."""
        values = self.model_dump()
        for name, value in changes.items():
            *outer, last = name.split(".")
            table = values
            for part in outer:
                inner = table.get(part)
                if not isinstance(inner, dict):
                    inner = _open_table(part, inner)
                table[part] = table = inner
            table[last] = value.model_dump() if isinstance(value, BaseModel) else value
        return type(self)(**values)

    def shortened(self, epochs: int) -> Recipe:
        """Return the recipe for another length: steps and milestones shrink in proportion, so the shape stays.

        A recipe that counts steps is taken to last its own `epochs`. Warm-up steps keep their number.
        """
        share = epochs / self.epochs
        changes: dict[str, Any] = {"epochs": epochs}
        if self.steps is not None:
            changes["steps"] = max(1, round(self.steps * share))
        if self.schedule.milestones:
            scaled = (max(1, round(milestone * share)) for milestone in self.schedule.milestones)
            changes["schedule.milestones"] = tuple(dict.fromkeys(scaled))
        return self.replace(**changes)

    @property
    def title(self) -> str:
        """The run's name: `name`, or data-network-activation."""
        return self.name or f"{Path(self.data).stem or 'data'}-{self.network}-{self.activation}"


def _open_table(name: str, value: Any) -> dict[str, Any]:
    """Return the empty table that a dotted change of `name` starts from when it held none yet."""
    if name not in ("augmentation", "about", "text") or isinstance(value, Mapping):
        raise UsageError(f"a recipe setting with settings inside, {name} has none", got=repr(value))
    return {}


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml"))
