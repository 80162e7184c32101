"""Replacing activations in models of other people, and saying what could not be seen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hillock
from hillock.activations import Activation
from hillock.errors import UnknownNameError, UsageError
from hillock.layers.activation_layer import ActivationLayer, activation
from hillock.layers.replace import replace_activations
from hillock.layers.unseen import Unseen

# torch's own compiler and forward mode use something that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


class Mixed(nn.Module):
    """A model with modules, a shared module, function calls and a method call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.act = nn.ReLU(inplace=True)
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.again = self.act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        x = F.gelu(self.inner(x))
        return self.again(x).sigmoid()


def test_what_is_replaced_kept_and_not_seen() -> None:
    model = Mixed()
    report = replace_activations(model, {"ReLU": "mish"})
    assert [(one.path, one.old, one.new) for one in report.replaced] == [
        ("act", "relu", "mish"),
        ("again", "relu", "mish"),
    ]
    assert model.act is model.again
    assert report.kept == (("inner.1", "tanh"),)
    assert {(one.name, one.where) for one in report.unseen} == {
        ("gelu", "torch.nn.functional.gelu"),
        ("sigmoid", "Tensor.sigmoid"),
    }
    assert not report.not_traced
    assert "act: relu -> mish" in str(report)
    x = torch.ones(2, 4)
    expected = torch.sigmoid(F.mish(F.gelu(torch.tanh(model.inner[0](F.mish(model.first(x)))))))
    torch.testing.assert_close(model(x), expected)


def test_everything_else_stays_attached() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).double().eval()
    model[0].train()
    calls: list[str] = []
    model[1].register_forward_hook(lambda *_: calls.append("forward"))
    model[1].register_forward_pre_hook(lambda *_: calls.append("before"))
    model[1].register_full_backward_hook(lambda *_: calls.append("backward"))
    replace_activations(model, {"relu": "prelu"})
    assert not model[1].training
    assert model[0].training
    assert model[1].negative_slope.dtype == torch.float64
    model(torch.ones(1, 2, dtype=torch.float64)).sum().backward()
    assert calls == ["before", "forward", "backward"]


def test_targets_of_every_kind() -> None:
    own = Activation(name="own_replacement", formula="x*sigmoid(2*x)")
    model = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.PReLU(3), nn.GELU())
    report = replace_activations(
        model,
        {
            "relu": own,
            "prelu": lambda old: activation("prelu", num_channels=old.num_parameters),
            "*": "selu",
        },
    )
    assert [one.new for one in report.replaced] == ["own_replacement", "selu", "prelu", "selu"]
    assert model[2].negative_slope.shape == (3,)
    alone = replace_activations(nn.ReLU(), {"relu": "gelu"})
    assert isinstance(alone.model, ActivationLayer)


def test_names_are_checked_before_anything_is_touched() -> None:
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(UnknownNameError, match="relu"):
        replace_activations(model, {"rellu": "gelu"})
    with pytest.raises(UsageError, match="layer of its own"):
        replace_activations(model, {"relu": "maxout"})
    with pytest.raises(UsageError, match="mapping"):
        replace_activations(model, {})
    assert isinstance(model[0], nn.ReLU)


class DependsOnValues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) if x.sum() > 0 else x


def test_what_cannot_be_traced_is_said() -> None:
    model = nn.Sequential(DependsOnValues(), Mixed())
    report = replace_activations(model, {"relu": "gelu"})
    assert [path for path, _ in report.not_traced] == ["", "0"]
    assert Unseen("1", "sigmoid", "Tensor.sigmoid") in report.unseen


def test_a_transformer_keeps_a_function_in_an_attribute() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
    report = replace_activations(model, {"relu": "gelu"})
    assert Unseen("layers.0", "relu", "the function in attribute activation") in report.unseen


def _one_step(model: nn.Module, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    F.cross_entropy(model(x), target).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("name", "size", "old"), [("resnet18", 64, "relu"), ("vit_tiny_patch16_224", 32, "gelu")])
def test_timm_networks_train_with_the_right_gradients_eager_and_compiled(
    timm: Any, name: str, size: int, old: str
) -> None:
    torch.manual_seed(0)
    stock = timm.create_model(name, num_classes=10, **({"img_size": size} if name.startswith("vit") else {}))
    reference = copy.deepcopy(stock)
    for path, module in list(reference.named_modules()):  # the same function, as torch computes it
        if type(module) in (nn.ReLU, nn.GELU):
            parent, _, attribute = path.rpartition(".")
            setattr(reference.get_submodule(parent), attribute, nn.SiLU())
    report = replace_activations(stock, {old: "silu"})
    assert report.replaced
    assert not any(one.old == old for one in report.unseen)
    x, target = torch.randn(4, 3, size, size), torch.tensor([0, 1, 2, 3])
    expected = _one_step(reference, x, target)
    found = _one_step(stock, x, target)
    assert expected.keys() == found.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=1e-5)
    torch._dynamo.reset()
    compiled = _one_step(torch.compile(stock), x, target)
    for key in expected:
        torch.testing.assert_close(compiled[f"_orig_mod.{key}"], expected[key], rtol=1e-2, atol=1e-4)


def test_in_timms_constructors(timm: Any) -> None:
    model = timm.create_model("resnet18", act_layer=hillock.act_layer("mish"), num_classes=3)
    assert sum(isinstance(module, ActivationLayer) for module in model.modules()) == 17
    vit = timm.create_model(
        "vit_tiny_patch16_224", act_layer=hillock.act_layer("gelu", approximate="tanh"), depth=1, img_size=32
    )
    assert any(
        isinstance(module, ActivationLayer) and module.activation.name == "gelu_tanh" for module in vit.modules()
    )
    assert vit(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
