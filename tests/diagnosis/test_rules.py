"""Each rule finds its phenomenon where it was planted, and keeps quiet on the network it was planted in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hillock.diagnosis import Diagnosis, diagnose, rules, watch
from hillock.errors import UnknownNameError, UsageError


def test_a_deep_sigmoid_perceptron_vanishes(digits: Any, perceptron: Any) -> None:
    found = diagnose(perceptron(nn.Sigmoid, depth=20), digits)
    (finding,) = found.of("vanishing")
    assert finding.severity == "failure"
    assert finding.interval[0] < finding.value < finding.interval[1]
    assert not found.healthy


def test_a_large_gain_explodes_and_a_proper_one_does_neither(digits: Any, perceptron: Any) -> None:
    assert diagnose(perceptron(nn.ReLU, depth=12, gain=4.0), digits).of("exploding")
    proper = diagnose(perceptron(nn.ReLU, depth=12, gain=2**0.5), digits)
    assert not proper.of("exploding")
    assert not proper.of("vanishing")


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Sigmoid])
def test_a_bias_of_minus_thirty_kills_units_of_any_activation(digits: Any, perceptron: Any, activation: Any) -> None:
    network = perceptron(activation, gain=1.4)
    assert not diagnose(network, digits).of("gradient_dead")
    with torch.no_grad():
        network[3].bias[:40] = -30
    (finding,) = diagnose(network, digits).of("gradient_dead")
    assert (finding.where, finding.severity) == ("4", "failure")
    assert 40 / 64 <= finding.value < 50 / 64
    assert bool(diagnose(network, digits).of("never_active")) == (activation is nn.ReLU)


def test_few_samples_make_a_note_and_say_how_many_it_takes(digits: Any, perceptron: Any) -> None:
    network = perceptron(nn.ReLU)
    with torch.no_grad():
        network[3].bias[:40] = -30
    (finding,) = diagnose(network, digits[:1]).of("gradient_dead")
    assert finding.severity == "note"
    assert "299 samples" in finding.explanation
    assert finding.interval == (0.0, finding.value)


def test_large_weights_saturate_tanh_on_both_sides_but_never_relu(digits: Any, perceptron: Any) -> None:
    found = diagnose(perceptron(nn.Tanh, gain=30.0), digits).of("saturated")
    assert found
    assert found[0].severity == "failure"
    assert not diagnose(perceptron(nn.ReLU, gain=30.0), digits).of("saturated")
    assert not diagnose(perceptron(nn.Tanh, gain=1.0), digits).of("saturated")


def test_a_function_that_is_flat_early_is_compared_with_its_own_healthy_input(digits: Any, perceptron: Any) -> None:
    # Hard tanh is flat for a third of N(0, 1), and units differ by what all samples have in common.
    network = perceptron(nn.Hardtanh, gain=2.0)
    found = diagnose(network, digits)
    assert not found.of("saturated")
    assert diagnose(network, digits, limits={"saturated": {"responsive": 0.5, "warning": 0.05}}).of("saturated")
    (first, *_) = diagnose(perceptron(nn.Hardtanh, gain=60.0), digits).of("saturated")
    assert first.severity == "failure"
    assert "of healthy inputs 31 % of the values" in first.explanation


def test_few_samples_do_not_make_a_unit_saturated(digits: Any, perceptron: Any) -> None:
    (inputs, targets), *_ = digits
    network = perceptron(nn.Tanh, gain=60.0)
    few = diagnose(network, [(inputs[:24], targets[:24])]).of("saturated")
    assert few
    assert {finding.severity for finding in few} == {"note"}
    assert "too few to be sure" in few[0].explanation


def test_the_first_producer_of_nan_is_named(digits: Any, perceptron: Any) -> None:
    network = perceptron(nn.ReLU)
    with torch.no_grad():
        network[3].weight[0, 0] = torch.nan
    (finding,) = diagnose(network, digits).of("non_finite")
    assert finding.where == "the weights 3.weight"

    class Dividing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / (x - x)

    network[5] = Dividing()
    with torch.no_grad():
        network[3].weight[0, 0] = 0.0
    (finding,) = diagnose(network, digits).of("non_finite")
    assert finding.where.startswith("5 (Dividing)")


def test_a_diagnosis_survives_json(digits: Any, perceptron: Any) -> None:
    found = diagnose(perceptron(nn.Sigmoid, depth=20), digits)
    import json

    again = Diagnosis.from_dict(json.loads(found.to_json()))
    assert again.findings == found.findings
    assert again.to_json() == found.to_json()
    with pytest.raises(UsageError, match="a diagnosis in the form"):
        Diagnosis.from_dict({"schema": "hillock-diagnosis/9.0"})


def test_limits_can_be_changed_and_wrong_names_are_refused(digits: Any, perceptron: Any) -> None:
    network = perceptron(nn.Sigmoid, depth=20)
    assert not diagnose(network, digits, limits={"vanishing": {"warning": 1e30, "failure": 1e40}}).of("vanishing")
    with pytest.raises(UnknownNameError, match="the name of a rule"):
        diagnose(network, digits, limits={"vanish": {}})
    with pytest.raises(UsageError, match="limits of the rule vanishing"):
        diagnose(network, digits, limits={"vanishing": {"warn": 1}})


@pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.id)
def test_every_rule_explains_itself(rule: Any) -> None:
    text = rule.explain()
    assert rule.id in text
    assert len(rule.definition) > 60
    assert len(rule.why) > 20
    assert rule.source
    assert rule.remedies


def test_a_layer_of_a_derived_class_counts_as_a_layer(digits: Any, perceptron: Any) -> None:
    class Own(nn.Linear):
        pass

    network = perceptron(nn.ReLU)
    network[3].__class__ = Own
    network[3].weight.requires_grad_(False)
    assert [finding.where for finding in diagnose(network, digits).of("not_trained")] == ["3.weight"]


def test_a_watched_training_that_breaks_down_is_still_judged(digits: Any, perceptron: Any) -> None:
    network = perceptron(nn.ReLU)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    with watch(network, digits, every=2, budget=100.0) as health:
        for step in range(8):
            if step == 3:
                with torch.no_grad():
                    network[3].weight[0, 0] = torch.nan
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(digits[0][0]), digits[0][1]).backward()
            optimizer.step()
    assert health.diagnosis.of("non_finite")
    assert any(value == "nan" for line in health.lines for value in line["updates"].values())
