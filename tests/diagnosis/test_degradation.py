"""Degradation is judged by pairs of trainings, on the same samples, and only if depth is all that differs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hillock.cli import run
from hillock.diagnosis import Diagnosis
from hillock.diagnosis.depths import depth_pair
from hillock.diagnosis.evidence import DepthPair
from hillock.diagnosis.probe import probe
from hillock.diagnosis.rules.degradation import RULE, excess_error
from hillock.errors import UsageError


def pair(deeper: int, shallower: int, samples: int = 512) -> DepthPair:
    return DepthPair("the other", 56, 20, samples, deeper, shallower)


def test_one_pair_is_judged_by_the_samples_on_which_they_differ() -> None:
    excess, (low, high) = excess_error([pair(60, 10)])
    assert excess == 50 / 512
    assert 0 < low < excess < high
    excess, (low, high) = excess_error([pair(12, 9)])
    assert low < 0 < excess < high
    assert excess_error([pair(0, 0)]) == (0.0, (0.0, 0.0))


def test_several_pairs_are_judged_by_how_they_vary() -> None:
    _, (low, _) = excess_error([pair(60, 10), pair(62, 9), pair(55, 12)])
    assert low > 0
    _, (low, _) = excess_error([pair(60, 10), pair(5, 40), pair(55, 12)])
    assert low < 0


@pytest.mark.parametrize(
    ("found", "severity"),
    [(pair(90, 5), "failure"), (pair(40, 10), "warning"), (pair(12, 9), None), (pair(0, 0), None)],
)
def test_the_rule_fires_only_if_the_interval_lies_above_0(
    digits: Any, perceptron: Any, found: DepthPair, severity: str | None
) -> None:
    from torch import nn

    evidence = dataclasses.replace(probe(perceptron(nn.ReLU), digits[:1]), depth_pairs=(found,))
    assert [finding.severity for finding in RULE.examine(evidence)] == ([severity] if severity else [])


def test_answers_to_other_samples_or_a_network_that_is_not_shallower_are_refused(digits: Any, perceptron: Any) -> None:
    from torch import nn

    deep, shallow = (probe(perceptron(nn.ReLU, depth=depth), digits[:1]) for depth in (5, 3))
    assert depth_pair(deep, shallow, "shallow").shallower_layers == 3
    with pytest.raises(UsageError, match="fewer than 3 layers"):
        depth_pair(shallow, deep, "deep")
    with pytest.raises(UsageError, match="the same samples"):
        depth_pair(deep, probe(perceptron(nn.ReLU, depth=3), digits[:2]), "shallow")


def trained(folder: Path, name: str, **options: Any) -> Path:
    from hillock.training import Recipe, train

    recipe = Recipe(data="digits", network=name, batch_size=32, compile="off", **options)
    return train(recipe, out=folder / name, quiet=True).folder


def test_a_plain_network_of_20_layers_is_worse_than_one_of_8(tmp_path: Path, capsys: Any) -> None:
    deep, shallow = (trained(tmp_path, name, network_options={"width": 4}, steps=30) for name in ("plain20", "plain8"))
    against = ["--against", str(shallow), "--samples", "320", "--json"]
    assert run(["diagnose", str(deep), *against, "--fail-on", "degradation"]) == 1
    (finding,) = Diagnosis.from_dict(json.loads(capsys.readouterr().out)).of("degradation")
    assert finding.interval is not None
    assert finding.interval[0] > 0
    assert "which has 8" in finding.explanation


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path, capsys: Any) -> None:
    shallow, deep = (trained(tmp_path, name, steps=2) for name in ("mlp2", "mlp3"))
    assert run(["diagnose", str(shallow), "--against", str(deep)]) == 2
    assert "fewer than" in capsys.readouterr().err
    other = trained(tmp_path / "other", "mlp2", steps=3)
    assert run(["diagnose", str(deep), "--against", str(other)]) == 2
    assert "differ in depth alone" in capsys.readouterr().err
    assert run(["diagnose", "model.py:build", "--data", "digits", "--against", str(other)]) == 2
    assert "--against" in capsys.readouterr().err
