"""The layer: learned, fixed and drawn parameters, and how it is saved."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from hillock.activations import Activation, Parameter
from hillock.errors import UnknownNameError, UsageError
from hillock.layers.activation_layer import act_layer, activation, parameters_without_decay

OWN = Activation(name="own_layer_gate", formula="x*sigmoid(b*x)", parameters=(Parameter("b", 1.0),))


def test_learned_parameters_start_where_the_papers_start_them() -> None:
    names = ("prelu", "swish", "srelu", "acon_c", "smu", "apl")
    starts = {name: {n: p.item() for n, p in activation(name).named_parameters()} for name in names}
    assert starts["prelu"] == {"negative_slope": 0.25}
    assert starts["swish"] == {"beta": 1.0}
    assert starts["srelu"] == pytest.approx({"t_left": 0.0, "a_left": 0.2, "t_right": 1.0, "a_right": 1.0})
    assert starts["acon_c"] == {"p1": 1.0, "p2": 0.0, "beta": 1.0}
    assert starts["smu"] == {"mu": 1e6}
    assert starts["apl"] == {"a1": 0.0, "b1": -0.5, "a2": 0.0, "b2": 0.5}
    assert sum(p.numel() for p in activation("pau").parameters()) == 10


def test_which_parameters_are_learned() -> None:
    assert not list(activation("prelu", learned=False).parameters())
    assert [name for name, _ in activation("leaky_relu", learned=True).named_parameters()] == ["negative_slope"]
    assert [name for name, _ in activation("acon_c", learned=["beta"]).named_parameters()] == ["beta"]
    with pytest.raises(UnknownNameError, match="beta"):
        activation("acon_c", learned=["gamma"])
    with pytest.raises(UnknownNameError):
        activation("rrelu", learned=["negative_slope"])
    with pytest.raises(UsageError, match="num_channels"):
        activation("prelu", num_channels=0)


def test_weight_decay_spares_prelu_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), activation("prelu"), nn.Sequential(activation("swish")))
    assert parameters_without_decay(model) == {"1.negative_slope"}
    assert activation("swish").no_weight_decay() == set()


@pytest.mark.parametrize(("shape", "channel_dim"), [((2, 3, 4, 4), 1), ((5, 3), 1), ((2, 7, 3), -1)])
def test_one_parameter_a_channel(shape: tuple[int, ...], channel_dim: int) -> None:
    layer = activation("prelu", num_channels=3, channel_dim=channel_dim)
    with torch.no_grad():
        layer.negative_slope.copy_(torch.tensor([1.0, 2.0, 3.0]))
    result = layer(-torch.ones(shape)).movedim(channel_dim, 0)
    assert [channel.unique().tolist() for channel in result] == [[-1.0], [-2.0], [-3.0]]


def test_training_moves_the_parameter_downhill() -> None:
    layer = activation("prelu")
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = torch.linspace(-2, 2, 101)
    for _ in range(100):
        loss = (layer(x) - torch.where(x > 0, x, -0.5 * x)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert layer.negative_slope.item() == pytest.approx(-0.5, abs=1e-3)  # PReLU may leave [0, 1]


def test_draws_are_uniform_repeatable_and_nobody_elses() -> None:
    x = -torch.ones(200, 100)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    layer = activation("rrelu", seed=3)
    first, second = -layer(x), -layer(x)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(first, second)
    again = activation("rrelu", seed=3)
    assert torch.equal(first, -again(x))
    assert not torch.equal(first, -activation("rrelu", seed=4)(x))
    assert 1 / 8 <= first.min() < 0.1252
    assert 0.3331 < first.max() <= 1 / 3
    assert first.mean().item() == pytest.approx(11 / 48, abs=2e-3)
    assert first.var().item() == pytest.approx((1 / 3 - 1 / 8) ** 2 / 12, rel=0.03)
    assert abs(torch.corrcoef(torch.stack([first.flatten()[:-1], first.flatten()[1:]]))[0, 1].item()) < 0.03
    assert layer.eval()(x).unique().item() == pytest.approx(-11 / 48)


def test_the_papers_interval_divides() -> None:
    layer = activation("rrelu", interval="paper")
    drawn = -1 / layer(-torch.ones(1000))
    assert 3 <= drawn.min() < drawn.max() <= 8
    assert layer.eval()(torch.tensor([-5.5])).item() == pytest.approx(-1.0)
    narrow = activation("rrelu", negative_slope=(0.4, 0.5))
    assert 0.4 <= -narrow(-torch.ones(1000)).max() <= 0.5
    assert not list(activation("rrelu", negative_slope=0.3).buffers())  # a number instead of a range: nothing is drawn
    with pytest.raises(UsageError, match="range"):
        activation("rrelu", negative_slope=(0.5, 0.4))


def test_gradient_goes_through_the_drawn_slope() -> None:
    layer = activation("rrelu")
    x = torch.full((50,), -1.0, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, -y.detach())


def test_state_dict_continues_the_draws() -> None:
    layer = activation("rrelu", seed=1)
    x = -torch.ones(64)
    layer(x)
    other = activation("rrelu", seed=99)
    other.load_state_dict(layer.state_dict())
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other):
        assert torch.equal(copied(x), copy.deepcopy(layer)(x))


@pytest.mark.parametrize("name", ["gelu", "prelu", "rrelu", "pau", OWN], ids=str)
def test_saving_and_copying(name: str | Activation) -> None:
    layer = activation(name, num_channels=None)
    x = torch.linspace(-3, 3, 13)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    expected = copy.deepcopy(layer)(x)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), expected)
    fresh = activation(name)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), expected)


def test_a_class_for_other_libraries() -> None:
    kind = act_layer("leaky_relu", negative_slope=0.3)
    assert isinstance(kind, type)
    assert issubclass(kind, nn.Module)
    for layer in (kind(), kind(inplace=True), kind(negative_slope=0.3)):
        assert layer(torch.tensor(-1.0)).item() == pytest.approx(-0.3)
        assert pickle.loads(pickle.dumps(layer))(torch.tensor(-1.0)).item() == pytest.approx(-0.3)
    assert kind.__name__ == "LeakyRelu"
    with pytest.raises(UnknownNameError):
        act_layer("leaky_relu", slope=0.3)
    with pytest.raises(UnknownNameError, match="tanh"):
        activation("gelu", approximate="tan")


def test_what_it_prints() -> None:
    assert repr(activation("gelu")) == "ActivationLayer(gelu)"
    assert repr(activation("elu", alpha=0.5)) == "ActivationLayer(elu, alpha=0.5)"
    assert "negative_slope learned, num_channels=4" in repr(activation("prelu", num_channels=4))
