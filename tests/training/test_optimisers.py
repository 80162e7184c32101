"""Update rules against their formulas, and which parameter falls into which group."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hillock.errors import UsageError
from hillock.layers.activation_layer import activation
from hillock.training import OptimizerSettings
from hillock.training.optimisers import CaffeSGD, Muon, build_optimizer, orthogonal, parameter_groups, set_rate
from hillock.training.recipe import GroupRule


def test_the_caffe_form_follows_its_formula_when_the_rate_drops() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = CaffeSGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    expected, velocity = weight.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for rate in (0.1, 0.1, 0.01, 0.01):
        set_rate(optimizer, rate)
        weight.grad = torch.tensor([0.3, 0.7], dtype=torch.float64)
        optimizer.step()
        velocity = 0.9 * velocity - 0.01 * rate * expected - rate * torch.tensor([0.3, 0.7], dtype=torch.float64)
        expected = expected + velocity
    assert torch.allclose(weight, expected, rtol=0, atol=1e-15)


def paths(rates: list[float]) -> list[torch.Tensor]:
    """Weights after the same gradients under both forms of momentum."""
    ends = []
    for form in (CaffeSGD, torch.optim.SGD):
        weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = form([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
        for rate in rates:
            set_rate(optimizer, rate)
            weight.grad = weight.detach() * 2
            optimizer.step()
        ends.append(weight.detach())
    return ends


def test_both_forms_agree_while_the_rate_is_constant_and_differ_after_a_drop() -> None:
    caffe, torch_form = paths([0.1] * 8)
    assert torch.allclose(caffe, torch_form, rtol=1e-12)
    caffe, torch_form = paths([0.1] * 4 + [0.01])
    assert not torch.allclose(caffe, torch_form, rtol=1e-3)


def test_a_group_can_have_a_momentum_of_its_own() -> None:
    rule = GroupRule(match="biases", momentum=0.5)
    # Two gradients of 1: velocities 1 and 1.5; with Nesterov's look ahead steps of 1 + 0.5 and 1 + 0.75.
    for kind, momentum, nesterov, moved in [
        ("sgd", 0.9, False, 2.5), ("muon", 0.9, False, 2.5), ("sgd", 0.0, True, 3.25), ("muon", 0.0, True, 3.25),
    ]:  # fmt: skip
        layer = nn.Linear(2, 3)
        settings = OptimizerSettings(kind=kind, momentum=momentum, nesterov=nesterov, weight_decay=0, groups=(rule,))
        optimizer = build_optimizer(layer, settings)
        start = layer.bias.detach().clone()
        for _ in range(2):
            layer.weight.grad, layer.bias.grad = torch.ones(3, 2), torch.ones(3)
            optimizer.step()
        assert torch.allclose(start - layer.bias, torch.full((3,), 0.1 * moved))
    with pytest.raises(UsageError, match="adamw"):
        OptimizerSettings(kind="adamw", groups=(rule,))


def test_groups_take_the_first_rule_that_matches() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), activation("prelu", num_channels=2), nn.Linear(2, 3))
    settings = OptimizerSettings(
        groups=(
            GroupRule(match="activations", weight_decay=0),
            GroupRule(match="normalisation", weight_decay=0.25),
            GroupRule(match="biases", weight_decay=0, learning_rate_scale=2),
            GroupRule(match="name:^3", learning_rate_scale=10),
        )
    )
    groups = {group["match"]: group for group in parameter_groups(model, settings)}
    counts = {match: len(group["params"]) for match, group in groups.items()}
    assert counts == {"activations": 1, "normalisation": 2, "biases": 2, "name:^3": 1, "name:": 1}
    assert groups["normalisation"]["weight_decay"] == 0.25
    optimizer = build_optimizer(model, settings)
    set_rate(optimizer, 0.5)
    assert {group["match"]: group["lr"] for group in optimizer.param_groups}["biases"] == 1.0


def test_nesterov_has_no_caffe_form() -> None:
    with pytest.raises(UsageError, match="nesterov = false"):
        build_optimizer(nn.Linear(1, 1), OptimizerSettings(momentum_form="caffe"))


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_muons_update_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator)
    singular = torch.linalg.svdvals(orthogonal(matrix))
    # The quintic's fixed interval is about 0.68 .. 1.13 (Jordan et al. 2024); small singular values rise more slowly.
    assert singular.max() < 1.25
    assert singular.median() > 0.6
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert ((left @ right) * orthogonal(matrix)).sum() / min(shape) > 0.6


def test_muon_learns_a_linear_map() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, truth = torch.randn(64, 8, generator=generator), torch.randn(8, 4, generator=generator)
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    optimizer = Muon(model.parameters(), lr=0.02, momentum=0.9, head=model[1].weight)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = (model(inputs) - inputs @ truth).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


def test_muons_fixed_norm_makes_the_scale_of_a_weight_irrelevant() -> None:
    draws = torch.Generator().manual_seed(0)
    start, head = torch.randn(8, 6, generator=draws), torch.randn(3, 8, generator=draws)
    inputs = torch.randn(16, 6, generator=draws)
    ends = []
    for scale in (1.0, 10.0):
        weight, last = nn.Parameter(scale * start), nn.Parameter(head.clone())
        optimizer = Muon([weight, last], lr=0.1, momentum=0.0, fixed_norm=True, head=last)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.normalize(inputs @ weight.T).matmul(last.T).square().sum().backward()
            optimizer.step()
        ends.append(weight.detach())
    assert torch.allclose(ends[0], ends[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rules", [(), (GroupRule(match="name:^1"),), (GroupRule(match="name:^0"),)])
def test_muon_leaves_the_head_to_plain_steps_whatever_the_groups(rules: tuple[GroupRule, ...]) -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    settings = OptimizerSettings(
        kind="muon", learning_rate=0.5, momentum=0.0, weight_decay=0.0, fixed_norm=True, groups=rules
    )
    optimizer = build_optimizer(model, settings)
    before = [layer.weight.detach().clone() for layer in model]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.125)
    optimizer.step()
    assert torch.equal(model[1].weight, before[1] - 0.0625)
    change = model[0].weight - before[0] * (6**0.5 / before[0].norm())
    assert torch.linalg.matrix_norm(change, 2) > 0.3


def test_a_large_matrix_is_made_orthogonal_too() -> None:
    matrix = torch.randn(128, 160, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonal(matrix))
    assert singular.max() < 1.25
    assert singular.median() > 0.6
    assert orthogonal(matrix).dtype == torch.float32
