"""Two trainings of different depth against each other: the same samples, which of the two is wrong where."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hillock.diagnosis.evidence import DepthPair, Evidence
from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.training import Run

__all__ = ["check_comparable", "depth_pair", "with_depth_pairs"]

# What may differ between two runs of different depth; everything else must be the same for depth to be the cause.
MAY_DIFFER = frozenset({"name", "about", "network", "seed", "checkpoint_minutes"})


def weighted_layers(evidence: Evidence) -> int:
    """Return the number of linear and convolution layers."""
    return sum(parameter.is_matrix for parameter in evidence.parameters)


def depth_pair(deeper: Evidence, shallower: Evidence, name: str) -> DepthPair:
    """Compare two examinations of the same samples.

    **Errors** `UsageError` if they did not see equally many samples with classes, or the first is not deeper.
    """
    if not deeper.right or len(deeper.right) != len(shallower.right):
        raise UsageError(
            "two examinations of the same samples, with classes",
            got=f"{len(deeper.right)} and {len(shallower.right)} answers",
        )
    layers = weighted_layers(deeper), weighted_layers(shallower)
    if layers[0] <= layers[1]:
        raise UsageError(f"a network with fewer than {layers[0]} layers of weights", got=f"{name} with {layers[1]}")
    both = list(zip(deeper.right, shallower.right, strict=True))
    return DepthPair(
        shallower=name,
        layers=layers[0],
        shallower_layers=layers[1],
        samples=len(both),
        only_deeper_wrong=sum(other and not own for own, other in both),
        only_shallower_wrong=sum(own and not other for own, other in both),
    )


def with_depth_pairs(evidence: Evidence, pairs: Sequence[DepthPair]) -> Evidence:
    """Return the evidence with the comparisons in it, for the rule `degradation`."""
    return dataclasses.replace(evidence, depth_pairs=tuple(pairs))


def check_comparable(run: Run, other: Run) -> None:
    """Refuse two runs that differ in more than depth (and draws): the difference would not be depth's.

    **Errors** `UsageError` naming the first setting that differs.
    """
    own, others = _settings(run), _settings(other)
    for name in own:
        if own[name] != others.get(name):
            raise UsageError(
                f"two runs that differ in depth alone, {run.folder} and {other.folder}",
                got=f"{name} {own[name]} and {others.get(name)}",
            )


def _settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.recipe.to_dict().items() if name not in MAY_DIFFER}
