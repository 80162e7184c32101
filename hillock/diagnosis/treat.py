"""Test the cure: short paired trainings with and without each remedy, and only what they show is claimed.

First every proposed intervention is *screened* on a few seeds. The best two, and both together, are then *confirmed* on
fresh seeds, paired with the untreated training (same seed: same draws where shapes allow, same order of pictures): the
answer is the mean difference in error with its t interval (95 % for all that were confirmed, together), in which seeds
and the pictures that judge are both a sample. Both changes are taken only if they err less than the better one by more
than a standard error. If no interval lies below 0, nothing helped, and that is said.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor, nn

from hillock.diagnosis.finding import Diagnosis, json_value
from hillock.diagnosis.interval import crossed_mean, t_quantile
from hillock.diagnosis.interventions import INTERVENTIONS, Intervention, Plan, proposed
from hillock.errors import UsageError
from hillock.randomness import generator

if TYPE_CHECKING:
    from hillock.data import DataSet
    from hillock.training import Recipe

__all__ = ["Effect", "Pictures", "Treatment", "recipe_builder", "short_run", "treat", "treat_plan"]

SCREENING_SEEDS = 2
CONFIRMED = 2  # the best of the screening go on to fresh seeds, one by one and together


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What short trainings learn from and are judged on: inputs [N, C, H, W], already normalised, and labels [N]."""

    inputs: Tensor
    labels: Tensor
    judged_inputs: Tensor
    judged_labels: Tensor


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one intervention did.

    **Arguments**

    - `difference`: mean over seeds of (error with - error without), a share; below 0 is better.
    - `interval`: paired t interval over seeds and pictures, 95 % for all confirmed interventions together; None for one
      only screened.
    - `errors`: with the intervention, by seed. `helps`: the whole interval lies below 0.
    """

    name: str
    what: str
    difference: float
    interval: tuple[float, float] | None
    errors: tuple[float, ...]

    @property
    def helps(self) -> bool:
        return self.interval is not None and self.interval[1] < 0


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What was tried and what came of it.

    **Arguments**

    - `untreated`: error by seed. `effects`: best first. `chosen`: the intervention that helps most, None if none does.
    - `plan`, `recipe`: the training that results, None if nothing helped; the recipe also if it cannot say it.
    """

    untreated: tuple[float, ...]
    effects: tuple[Effect, ...]
    chosen: Effect | None
    plan: Plan | None

    @property
    def recipe(self) -> Recipe | None:
        return None if self.plan is None else self.plan.recipe

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        fields: dict[str, Any] = {
            "untreated": list(self.untreated),
            "effects": [{**dataclasses.asdict(effect), "helps": effect.helps} for effect in self.effects],
            "chosen": None if self.chosen is None else self.chosen.name,
            "recipe": None if self.recipe is None else self.recipe.to_dict(),
        }
        found: dict[str, Any] = json_value(fields)
        return found

    @property
    def text(self) -> str:
        """The treatment as a person reads it."""
        lines = [f"untreated: error {numpy.mean(self.untreated):.1%} (mean of {len(self.untreated)} short trainings)"]
        for effect in self.effects:
            shown = "only screened"
            if effect.interval is not None:
                shown = f"95 % interval {effect.interval[0]:+.1%} to {effect.interval[1]:+.1%}"
                shown += ": helps" if effect.helps else ": not shown to help"
            lines.append(f"  {effect.name:22} {effect.difference:+.1%} error, {shown} ({effect.what})")
        if self.chosen is None:
            lines.append("nothing that was tried is shown to help")
        else:
            lines.append(f"do this: {self.chosen.name}, {self.chosen.what}")
        return "\n".join(lines)


def treat(
    recipe: Recipe,
    diagnosis: Diagnosis,
    *,
    seeds: int = 5,
    steps: int = 120,
    progress: Callable[[str], None] | None = None,
) -> Treatment:
    """Try what the diagnosis of a recipe's training proposes.

    **Arguments**

    - `seeds`: paired trainings that confirm an intervention; `steps`: length of each. A fifth of the training pictures
      is held back to judge by; the test pictures are never used.
    - `progress`: called with a line before each intervention.

    **Errors** `UsageError` if the diagnosis proposes nothing that can be tried, or with fewer than three seeds.
    """
    from hillock.training.materials import load_data

    plan = Plan(
        build=recipe_builder(recipe),
        rate=recipe.optimizer.learning_rate,
        activation=recipe.activation,
        momentum=recipe.optimizer.momentum,
        kind=recipe.optimizer.kind,
        weight_decay=recipe.optimizer.weight_decay,
        clip=recipe.clip_norm,
        recipe=recipe,
    )
    return treat_plan(
        plan, pictures(load_data(recipe)), proposed(diagnosis.findings), seeds=seeds, steps=steps, progress=progress
    )


def recipe_builder(recipe: Recipe) -> Callable[[int], nn.Module]:
    """Return the function that draws the recipe's network from a seed."""
    from hillock.training.materials import load_data
    from hillock.training.run import build_network

    facts = load_data(recipe).facts()
    return lambda seed: build_network(recipe.replace(seed=seed), facts)


def pictures(dataset: DataSet, most: int = 4096) -> Pictures:
    """Return up to `most` training pictures, a fifth of them to judge by."""
    from hillock import data

    count = min(most, len(dataset.train))
    batches = data.Batches(dataset.train, count, seed=0, dataset=dataset)
    inputs, labels = next(iter(batches.epoch(0)))
    cut = count - count // 5
    return Pictures(inputs[:cut], labels[:cut], inputs[cut:], labels[cut:])


def treat_plan(
    plan: Plan,
    shown: Pictures,
    interventions: Sequence[Intervention],
    *,
    seeds: int = 5,
    steps: int = 120,
    batch_size: int = 64,
    progress: Callable[[str], None] | None = None,
) -> Treatment:
    """Screen the interventions on a training plan, confirm the best on fresh seeds."""
    if seeds < 3:
        raise UsageError("at least 3 seeds, for an interval", got=str(seeds), instead="--seeds 5")
    changed = [(intervention, intervention.apply(plan)) for intervention in interventions]
    usable = [(intervention, new) for intervention, new in changed if new is not None]
    if not usable:
        raise UsageError("a finding with a remedy that can be tried", got="none", instead="hillock diagnose")

    def wrong(of: Plan, which: range) -> numpy.ndarray:
        return numpy.stack([wrong_pictures(of, shown, seed, steps=steps, batch_size=batch_size) for seed in which])

    screening, fresh = range(1000, 1000 + SCREENING_SEEDS), range(seeds)
    screened = []
    for intervention, new in usable:
        if progress is not None:
            progress(f"trying {intervention.name}: {intervention.what}")
        screened.append((float(wrong(new, screening).mean()), intervention, new))
    before = float(wrong(plan, screening).mean())
    screened.sort(key=lambda entry: entry[0])
    best = [(intervention, new) for error, intervention, new in screened[:CONFIRMED] if error < before]
    effects = [
        Effect(intervention.name, intervention.what, error - before, None, ())
        for error, intervention, _ in screened[len(best) :]
    ]
    untreated = wrong(plan, fresh)
    candidates = [*best, *_together(plan, [intervention for intervention, _ in best])]
    # All intervals together hold with 95 % (Bonferroni), as the best of them is what is claimed.
    quantile = t_quantile(1 - 0.05 / len(candidates) / 2, seeds - 1) if candidates else math.inf
    treated = {intervention.name: wrong(new, fresh) for intervention, new in candidates}
    for intervention, _ in candidates:
        answers = treated[intervention.name]
        difference, error = crossed_mean(answers - untreated)
        interval = (difference - quantile * error, difference + quantile * error)
        effects.append(
            Effect(intervention.name, intervention.what, difference, interval, tuple(answers.mean(1).tolist()))
        )
    ranked = sorted(effects, key=lambda effect: (effect.interval is None, effect.difference))
    chosen = _choice([effect for effect in ranked if effect.helps], [one.name for one, _ in best], treated)
    plans = {intervention.name: new for intervention, new in candidates}
    return Treatment(
        tuple(untreated.mean(1).tolist()), tuple(ranked), chosen, None if chosen is None else plans[chosen.name]
    )


def _choice(helping: Sequence[Effect], single: Collection[str], wrong: Mapping[str, numpy.ndarray]) -> Effect | None:
    """The single change that helps most; both together if they err less by more than a standard error.

    **Arguments** `helping`: best first. `single`: names of the single changes. `wrong`: answers by name.

    **Source** the one-standard-error rule of Breiman et al. 1984, Classification and Regression Trees, section 3.4.3.
    """
    simple = next((effect for effect in helping if effect.name in single), None)
    if simple is None or simple is helping[0]:
        return simple or next(iter(helping), None)
    difference, error = crossed_mean(wrong[helping[0].name] - wrong[simple.name])
    return helping[0] if difference + error < 0 else simple


def _together(plan: Plan, best: Sequence[Intervention]) -> list[tuple[Intervention, Plan]]:
    """The two best at once, if they change different things; in a fixed order, as a draw undoes a bias set before."""
    if len(best) != 2 or best[0].part == best[1].part:
        return []
    first, second = sorted(best, key=INTERVENTIONS.index)
    both = Intervention(f"{first.name} and {second.name}", f"{first.what}, and {second.what}", _after(first, second))
    changed = both.apply(plan)
    return [] if changed is None else [(both, changed)]


def _after(first: Intervention, second: Intervention) -> Callable[[Plan], Plan | None]:
    def apply(plan: Plan) -> Plan | None:
        changed = first.apply(plan)
        return None if changed is None else second.apply(changed)

    return apply


def short_run(plan: Plan, shown: Pictures, seed: int, *, steps: int, batch_size: int) -> float:
    """Train for a few steps and return the error on the pictures held back; a training that breaks down errs fully."""
    return float(wrong_pictures(plan, shown, seed, steps=steps, batch_size=batch_size).mean())


def wrong_pictures(plan: Plan, shown: Pictures, seed: int, *, steps: int, batch_size: int) -> numpy.ndarray:
    """Train for a few steps and return, for each picture held back, 1 if the answer is wrong, else 0."""
    network = plan.build(seed)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer: torch.optim.Optimizer
    if plan.kind == "adamw":
        optimizer = torch.optim.AdamW(weights, lr=plan.rate, weight_decay=plan.weight_decay)
    else:
        optimizer = torch.optim.SGD(weights, lr=plan.rate, momentum=plan.momentum, weight_decay=plan.weight_decay)
    order = torch.randperm(len(shown.inputs), generator=generator(seed, "treat", "order"))
    warm_up = max(1, steps // 8)
    network.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(1.0, (step + 1) / warm_up)
        chosen = order[(torch.arange(batch_size) + step * batch_size) % len(order)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(shown.inputs[chosen]), shown.labels[chosen])
        if not math.isfinite(float(loss.detach())):
            return numpy.ones(len(shown.judged_labels))
        loss.backward()  # type: ignore[no-untyped-call]
        if plan.clip is not None:
            nn.utils.clip_grad_norm_(weights, plan.clip)
        optimizer.step()
    network.eval()
    with torch.no_grad():
        scores = network(shown.judged_inputs)
    found: numpy.ndarray = (scores.argmax(1) != shown.judged_labels).double().numpy()
    return found


def treat_run(folder: Path | str, **options: Any) -> tuple[Diagnosis, Treatment | None]:
    """Diagnose a run and treat its recipe; the treatment is None if the run is healthy."""
    from hillock.diagnosis.examine import diagnose_run
    from hillock.training import Run

    diagnosis = diagnose_run(folder)
    if diagnosis.healthy:
        return diagnosis, None
    return diagnosis, treat(Run.open(folder).recipe, diagnosis, **options)
