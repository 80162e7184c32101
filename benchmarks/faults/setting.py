"""A small training that can be spoiled: its parts, its data, and the loop that runs it."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from hillock.activations.moments import gain
from hillock.networks import network
from hillock.randomness import generator

STEPS = 60
BATCH = 64
TRAINED_ON = 1200  # of 1,797 digits; the rest is judged on
CLASSES = 10
HEALTHY = "healthy"

# Name -> (network, options, learning rate of SGD with momentum 0.9).
NETWORKS: dict[str, tuple[str, dict[str, Any], float]] = {
    "mlp6": ("mlp6", {"width": 48}, 0.02),
    "plain8": ("plain8", {"width": 8}, 0.05),
    "resnet8": ("resnet8", {"width": 8}, 0.05),
}
# Half of the activations is there to choose limits on, the other half to report; they share no activation and no seed.
# The first half held back was looked at, and a rule was changed for what it showed: what is reported since then comes
# from networks drawn after that, of the same activations.
CHOSEN_ON = ("leaky_relu", "selu", "silu", "tanh")
REPORTED_ON = ("relu", "elu", "gelu", "hard_tanh")
FIRST_SEED = {"chosen": 0, "looked_at": 100, "reported": 200}


@dataclasses.dataclass(frozen=True)
class Case:
    """One network to be built, spoiled, trained and examined; `variant` names another healthy way to train it."""

    kind: str
    network: str
    activation: str
    seed: int
    variant: str = ""

    @property
    def name(self) -> str:
        return "/".join(
            part for part in (self.kind, self.variant, self.network, self.activation, str(self.seed)) if part
        )

    @property
    def half(self) -> str:
        return max((first, half) for half, first in FIRST_SEED.items() if first <= self.seed)[1]


@dataclasses.dataclass
class Setting:
    """A training about to start; faults change it.

    **Arguments**

    - `inputs`, `targets`: the first `trained_on` are trained on, the others judged on. `learned`: accuracy from which
      a training without a fault counts as a healthy control.
    - `excluded`: parameters that are not handed to the optimiser. `before_step`: called with (setting, step).
    """

    case: Case
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    rate: float
    excluded: tuple[nn.Parameter, ...] = ()
    before_step: Callable[[Setting, int], None] = lambda setting, step: None
    batch: int = BATCH
    steps: int = STEPS
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    cosine: bool = False
    trained_on: int = TRAINED_ON
    learned: float = 0.5


@functools.lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Normalised pictures [N, 1, 8, 8], labels [N], and the pictures on the scale from 0 to 1."""
    pictures, labels = load_digits(return_X_y=True)
    raw = torch.tensor(pictures, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    order = torch.randperm(len(raw), generator=generator(0, "digits"))
    raw, targets = raw[order], torch.tensor(labels)[order]
    return (raw - raw.mean()) / raw.std(), targets, raw


def photographs_folder() -> Path | None:
    """The development data with 32x32 photographs, None where it is not there."""
    folder = Path(os.environ.get("HILLOCK_DATA", "")) / "cifar10-jpeg"
    return folder if os.environ.get("HILLOCK_DATA") and folder.exists() else None


@functools.lru_cache(maxsize=1)
def photographs() -> tuple[Tensor, Tensor]:
    """4,096 normalised photographs, halved to [N, 3, 16, 16], and their labels."""
    from hillock import data

    folder = photographs_folder()
    assert folder is not None, "photographs need HILLOCK_DATA"
    dataset = data.load(str(folder))
    inputs, labels = next(iter(data.Batches(dataset.train, 4096, seed=0, dataset=dataset).epoch(0)))
    return nn.functional.avg_pool2d(inputs.float(), 2), labels


@functools.cache
def proper_rate(activation: str) -> float:
    """A large gain means weights and gradients larger than ReLU's; the step is reduced in proportion."""
    return min(1.0, math.sqrt(2) / gain(activation))


def healthy_setting(case: Case) -> Setting:
    """The training of a case before anything is done to it."""
    name, options, rate = NETWORKS[case.network]
    model = network(
        name, activation=case.activation, num_classes=CLASSES, input_channels=1, image_size=8, seed=case.seed, **options
    )
    inputs, targets, _ = digits()
    return Setting(case, model, inputs, targets, rate * proper_rate(case.activation))


def train(setting: Setting, *, begin: Any = None, observe: Any = None) -> None:
    """Train with ten steps of warm-up on the first pictures.

    `begin(optimizer)` is called before the first step, `observe(step, loss)` after each.
    """
    excluded = {id(weight) for weight in setting.excluded}
    weights = [w for w in setting.model.parameters() if id(w) not in excluded and w.requires_grad]
    optimizer: torch.optim.Optimizer
    if setting.optimizer == "adamw":
        optimizer = torch.optim.AdamW(weights, lr=setting.rate, weight_decay=setting.weight_decay)
    else:
        optimizer = torch.optim.SGD(weights, lr=setting.rate, momentum=0.9, weight_decay=setting.weight_decay)
    count = setting.trained_on
    order = torch.randperm(count, generator=generator(setting.case.seed, "order"))
    setting.model.train()
    if begin is not None:
        begin(optimizer)
    for step in range(setting.steps):
        setting.before_step(setting, step)
        for group in optimizer.param_groups:
            group["lr"] = setting.rate * _schedule(setting, step)
        chosen = order[(torch.arange(setting.batch) + step * setting.batch) % count]
        optimizer.zero_grad()
        scores = setting.model(setting.inputs[chosen])
        loss = nn.functional.cross_entropy(scores, setting.targets[chosen])
        if loss.requires_grad:
            loss.backward()
        optimizer.step()
        if observe is not None:
            observe(step, float(loss.detach()))


def _schedule(setting: Setting, step: int) -> float:
    warm = min(1.0, (step + 1) / 10)
    return warm * (0.5 + 0.5 * math.cos(math.pi * step / setting.steps)) if setting.cosine else warm


@torch.no_grad()
def judged(setting: Setting) -> tuple[float, float]:
    """Accuracy and loss on pictures that were not trained on, in evaluation mode."""
    setting.model.eval()
    scores = setting.model(setting.inputs[setting.trained_on :])
    targets = setting.targets[setting.trained_on :]
    loss = float(nn.functional.cross_entropy(scores, targets))
    return float((scores.argmax(1) == targets).float().mean()), loss
