"""The learning rate over a run: a pure function of the step, the settings and, for two kinds, a small frozen state."""

from __future__ import annotations

import dataclasses
import math

from hillock.training.recipe import ScheduleSettings

__all__ = ["ScheduleState", "after_error", "after_evaluation", "milestone_steps", "rate_factor", "warmup_steps"]


@dataclasses.dataclass(frozen=True)
class ScheduleState:
    """What a schedule must remember: nothing for most kinds."""

    warmup_ended: int | None = None
    """The step at which a warm-up that waits for the training error was over."""
    drops: int = 0
    """plateau: how often the rate was dropped."""
    best_error: float = math.inf
    """plateau: the lowest error seen."""
    evaluations_since_best: int = 0


def warmup_steps(settings: ScheduleSettings, total_steps: int) -> int:
    """Return the length of the warm-up in steps."""
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    return 0 if settings.warmup_factor is not None else round(settings.warmup_share * total_steps)


def milestone_steps(settings: ScheduleSettings, steps_per_epoch: int) -> list[int]:
    """Return the milestones in steps."""
    return [milestone * (steps_per_epoch if settings.unit == "epochs" else 1) for milestone in settings.milestones]


def rate_factor(
    settings: ScheduleSettings,
    step: int,
    *,
    total_steps: int,
    steps_per_epoch: int,
    state: ScheduleState = ScheduleState(),
) -> float:
    """Return the factor of the peak rate for the update that follows `step` finished steps.

    Warm-up climbs as (step + 1) / warm-up, so no update has rate 0. With t the share of the remaining way:
    cosine: f + (1 - f) (1 + cos(pi t)) / 2; linear: 1 - (1 - f) t; with f = `final_factor`.

    >>> settings = ScheduleSettings(kind="linear", warmup_steps=2)
    >>> [round(rate_factor(settings, step, total_steps=6, steps_per_epoch=6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warm = warmup_steps(settings, total_steps)
    if settings.warmup_factor is not None:
        waiting = settings.warmup_until_error is not None and state.warmup_ended is None
        if step < warm or waiting:
            return settings.warmup_factor
    elif step < warm:
        return (step + 1) / warm
    if settings.kind == "plateau":
        return settings.drop**state.drops
    if settings.kind == "steps":
        return settings.drop ** sum(step >= milestone for milestone in milestone_steps(settings, steps_per_epoch))
    if settings.kind == "constant":
        return 1.0
    way = min(1.0, (step - warm) / max(1, total_steps - warm))
    if settings.kind == "linear":
        return 1.0 - (1.0 - settings.final_factor) * way
    return settings.final_factor + (1.0 - settings.final_factor) * (1.0 + math.cos(math.pi * way)) / 2.0


def after_error(settings: ScheduleSettings, state: ScheduleState, step: int, error: float) -> ScheduleState:
    """Return the state after `step` steps, the latest with this training error (a share): ends a waiting warm-up."""
    if settings.warmup_until_error is None or state.warmup_ended is not None or error >= settings.warmup_until_error:
        return state
    return dataclasses.replace(state, warmup_ended=step)


def after_evaluation(settings: ScheduleSettings, state: ScheduleState, error: float) -> ScheduleState:
    """Return the state after an evaluation with this error (a share): drops the rate when it no longer improves."""
    if settings.kind != "plateau":
        return state
    if error < state.best_error:
        return dataclasses.replace(state, best_error=error, evaluations_since_best=0)
    waited = state.evaluations_since_best + 1
    if waited < settings.patience or state.drops >= settings.max_drops:
        return dataclasses.replace(state, evaluations_since_best=waited)
    return dataclasses.replace(state, drops=state.drops + 1, evaluations_since_best=0)
