"""A treatment claims only what a paired test shows."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch import nn

from hillock.diagnosis import Finding
from hillock.diagnosis.interventions import Intervention, Plan, find, normalised, proposed
from hillock.diagnosis.treat import Effect, Pictures, _choice, short_run, treat_plan
from hillock.errors import UnknownNameError, UsageError
from hillock.networks import network


@pytest.fixture(scope="module")
def shown(digits: Any) -> Pictures:
    inputs = torch.cat([batch[0] for batch in digits])
    labels = torch.cat([batch[1] for batch in digits])
    return Pictures(inputs[:384], labels[:384], inputs[384:], labels[384:])


def builder(activation: str = "relu") -> Any:
    return lambda seed: network("mlp3", activation=activation, input_channels=1, image_size=8, seed=seed, width=32)


def test_a_rate_a_hundred_times_too_high_is_repaired_by_a_lower_one(shown: Pictures) -> None:
    plan = Plan(builder(), rate=5.0)
    tried = [find(name) for name in ("rate/3", "rate/100", "clipping")]
    treatment = treat_plan(plan, shown, tried, seeds=4, steps=40)
    assert treatment.chosen is not None
    assert treatment.chosen.name == "rate/100"
    assert treatment.chosen.interval is not None
    assert treatment.chosen.interval[1] < 0
    assert "do this: rate/100" in treatment.text


def test_what_takes_two_changes_is_repaired_by_both_together(shown: Pictures) -> None:
    def build(seed: int) -> nn.Module:
        model = builder()(seed)
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(0.05)
        return model

    treatment = treat_plan(Plan(build, rate=0.0005), shown, [find("rate*100"), find("gain")], seeds=4, steps=40)
    assert treatment.chosen is not None
    assert treatment.chosen.name == "rate*100 and gain"
    assert treatment.plan is not None
    assert treatment.plan.changes == ("rate*100", "gain")
    assert treatment.plan.rate == pytest.approx(0.05)
    same_part = treat_plan(Plan(build, rate=0.0005), shown, [find("rate*100"), find("rate*10")], seeds=3, steps=20)
    assert all(" and " not in effect.name for effect in same_part.effects)


def test_a_second_change_has_to_earn_its_place() -> None:
    one, both = (Effect(name, "", -0.5, (-0.6, -0.4), ()) for name in ("one", "one and two"))
    draws = numpy.random.default_rng(0)
    alone = (draws.random((4, 200)) < 0.20).astype(float)
    alike = (draws.random((4, 200)) < 0.19).astype(float)
    assert _choice([both, one], ["one"], {"one": alone, "one and two": alike}) is one
    assert _choice([both, one], ["one"], {"one": alone, "one and two": alone * (draws.random((4, 200)) < 0.5)}) is both
    assert _choice([both], ["one"], {}) is both
    assert _choice([], ["one"], {}) is None


def test_what_every_training_does_to_the_same_few_pictures_proves_nothing(shown: Pictures) -> None:
    # Whoever answers with one class alone is right on as many pictures as that class happens to have, with every seed.
    class Constant(nn.Module):
        def __init__(self, answer: int) -> None:
            super().__init__()
            self.scores = nn.Parameter(nn.functional.one_hot(torch.tensor(answer), 10) * 50.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scores.expand(len(x), 10)

    counts = torch.bincount(shown.judged_labels, minlength=10)
    plan = Plan(lambda seed: Constant(int(counts.argmin())), rate=1e-9)
    other = Intervention("other", "", lambda old: old.changed("other", edit=lambda *_: Constant(int(counts.argmax()))))
    treatment = treat_plan(plan, shown, [other], seeds=3, steps=1)
    assert treatment.effects[0].difference < 0
    assert treatment.chosen is None


def test_nothing_helps_a_training_that_has_nothing_wrong(shown: Pictures) -> None:
    plan = Plan(builder(), rate=0.05)
    treatment = treat_plan(plan, shown, [find("rate/100"), find("rate/10")], seeds=3, steps=40)
    assert treatment.chosen is None
    assert "nothing that was tried is shown to help" in treatment.text


def test_labels_that_mean_nothing_cannot_be_treated(shown: Pictures) -> None:
    order = torch.randperm(384, generator=torch.Generator().manual_seed(0))
    shuffled = Pictures(shown.inputs, shown.labels[order], shown.judged_inputs, shown.judged_labels)
    treatment = treat_plan(Plan(builder(), rate=0.05), shuffled, [find("rate/10"), find("gain")], seeds=3, steps=30)
    assert treatment.chosen is None


def test_short_runs_are_repeatable_and_paired(shown: Pictures) -> None:
    plan = Plan(builder(), rate=0.05)
    once = [short_run(plan, shown, seed, steps=20, batch_size=64) for seed in range(3)]
    again = [short_run(plan, shown, seed, steps=20, batch_size=64) for seed in range(3)]
    assert once == again
    assert len(set(once)) > 1


def test_findings_propose_their_remedies_in_all_strengths() -> None:
    finding = Finding("x", "failure", "a", 1.0, None, 1.0, "", "", ("rate/3", "advice in words", "clipping"))
    note = Finding("y", "note", "a", 1.0, None, 1.0, "", "", ("gain",))
    assert [one.name for one in proposed([finding, note])] == ["rate/3", "rate/10", "rate/100", "clipping"]


def test_normalisation_is_put_after_every_hidden_layer() -> None:
    model = normalised(network("mlp5", activation="tanh", input_channels=1, image_size=8, width=16))
    assert sum(isinstance(module, nn.BatchNorm1d) for module in model.modules()) == 4
    model(torch.randn(8, 1, 8, 8))


@pytest.mark.parametrize("name", ["plain8", "resnet8"])
def test_normalisation_reaches_layers_whose_activation_comes_later(name: str) -> None:
    # The second layer of a block is activated only after the sum, outside of its sequence.
    whole = network(name, activation="relu", input_channels=1, image_size=8, width=8)
    count = sum(isinstance(module, nn.BatchNorm2d) for module in whole.modules())
    assert count >= 7
    for module in list(whole.modules()):
        for child, old in list(module.named_children()):
            if isinstance(old, nn.BatchNorm2d):
                setattr(module, child, nn.Identity())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in normalised(whole).modules()) == count
    assert sum(isinstance(module, nn.BatchNorm2d) for module in normalised(whole).modules()) == count
    whole(torch.randn(8, 1, 8, 8))


def test_wrong_requests_are_refused(shown: Pictures) -> None:
    with pytest.raises(UnknownNameError, match="rate/3"):
        find("rate/4")
    with pytest.raises(UsageError, match="at least 3 seeds"):
        treat_plan(Plan(builder(), rate=0.1), shown, [find("gain")], seeds=2)
    with pytest.raises(UsageError, match="a remedy that can be tried"):
        treat_plan(Plan(builder(), rate=0.1, clip=1.0), shown, [find("clipping")])
