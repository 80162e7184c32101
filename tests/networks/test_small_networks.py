"""The four-layer CIFAR net, the self-normalising net and the gated convolutional net against their papers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hillock.errors import UsageError
from hillock.layers.causal import CausalConv1d
from hillock.layers.local import LocallyConnected2d
from hillock.networks import network


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_four_layer_net_has_the_original_s_parameters_and_draws() -> None:
    net = network("four_layer")
    layers = [*(module for module in net.features if any(True for _ in module.parameters())), net.head]
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    assert counts == [4_864, 102_464, 1_181_696, 591_872, 20_490]
    spreads = [layer.weight.std().item() for layer in layers]
    assert spreads == pytest.approx([1e-4, 0.01, 0.04, 0.04, 0.01], rel=0.05)


def test_a_locally_connected_layer_with_equal_kernels_is_a_convolution() -> None:
    x = drawn(3, 4, 6, 5)
    convolution, local = nn.Conv2d(4, 7, 3, padding=1), LocallyConnected2d(4, 7, (6, 5), 3, padding=1)
    with torch.no_grad():
        local.weight.copy_(convolution.weight.flatten(1).expand_as(local.weight))
        local.bias.copy_(convolution.bias.expand_as(local.bias))
        torch.testing.assert_close(local(x), convolution(x), rtol=1e-5, atol=1e-5)
        local.weight[0].zero_()  # one position alone
        changed = (local(x) - convolution(x)).abs().amax((0, 1)) > 1e-4
    assert changed.nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize(("scheme", "stays"), [(None, True), ("xavier", True), ("he_out", True), ("normal", False)])
def test_selu_keeps_mean_0_and_variance_1_through_31_layers(scheme: str | None, stays: bool) -> None:
    net = network("selu32", input_channels=1, initialisation=scheme).eval()
    with torch.no_grad():
        deep = net.hidden(net.flatten(drawn(200, 1, 28, 28)))
    normalised = abs(float(deep.mean())) < 0.1 and abs(float(deep.var()) - 1) < 0.2
    assert normalised == stays


def test_alpha_dropout_belongs_to_selu_alone() -> None:
    assert isinstance(network("selu8").hidden.dropout1, nn.AlphaDropout)
    assert type(network("selu8", activation="relu").hidden.dropout1) is nn.Dropout


@pytest.mark.parametrize("weight_normalised", [False, True])
def test_a_causal_convolution_sees_its_window_of_the_past_and_nothing_else(weight_normalised: bool) -> None:
    layer = CausalConv1d(2, 3, kernel=4, weight_normalised=weight_normalised)
    nn.init.ones_(layer.conv.bias)
    with torch.no_grad():
        layer.conv.weight = drawn(3, 2, 4) if weight_normalised else nn.Parameter(drawn(3, 2, 4))
    x = drawn(1, 2, 12).requires_grad_()
    layer(x)[0, :, 7].sum().backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum(0).nonzero().flatten().tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("name", ["gcnn8", "gcnn13", "gcnn14", "gcnn14b"])
def test_gated_net_predicts_a_distribution_from_the_past_alone(name: str) -> None:
    net = network(name, num_classes=60, image_size=9, width=0.03)
    tokens = torch.randint(60, (2, 9), generator=torch.Generator().manual_seed(0))
    logarithms = net(tokens)
    torch.testing.assert_close(logarithms.exp().sum(-1), torch.ones(2, 9))
    later = tokens.clone()
    later[:, 5:] = (later[:, 5:] + 1) % 60
    torch.testing.assert_close(net(later)[:, :5], logarithms[:, :5], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(net(later)[:, 5:], logarithms[:, 5:])
    targets = tokens.roll(-1, 1)
    expected = -logarithms.gather(2, targets.unsqueeze(-1)).mean()
    torch.testing.assert_close(net.loss(tokens, targets), expected, rtol=1e-5, atol=1e-5)
    net.loss(tokens, targets).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(("name", "layers"), [("gcnn8", 8), ("gcnn13", 13), ("gcnn14", 14), ("gcnn14b", 40)])
def test_gated_net_has_its_layers(name: str, layers: int) -> None:
    with torch.device("meta"):
        net = network(name, num_classes=250_000)
    gates = [module for module in net.modules() if isinstance(module, CausalConv1d)]
    assert len(gates) == layers
    assert net.softmax.cutoffs[-2] == 200_000


def test_a_gated_layer_with_its_gate_tied_to_its_values_is_swish() -> None:
    net = network("gcnn8", num_classes=10, width=0.02)
    layer = net.blocks[0].branch[0]
    half = layer.conv.conv.weight.shape[0] // 2
    with torch.no_grad():
        weight, bias = layer.conv.conv.weight.clone(), layer.conv.conv.bias
        weight[half:] = weight[:half]
        layer.conv.conv.weight = weight
        bias[half:] = bias[:half]
        x = drawn(2, weight.shape[1], 8)
        values = layer.conv(x)[:, :half]
        torch.testing.assert_close(layer(x), nn.functional.silu(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("maxout", [(1200, 784), (1200, 240), (10, 240)]),
        ("maxout_conv", [(192, 3, 8, 8), (384, 96, 8, 8), (384, 192, 5, 5), (2500, 4800), (10, 500)]),
    ],
)
def test_maxout_nets_have_the_authors_layers(name: str, sizes: list[tuple[int, ...]]) -> None:
    net = network(name, input_channels=1 if name == "maxout" else 3)
    weights = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    assert [tuple(weight.shape) for weight in weights] == sizes
    assert all(weight.std().item() == pytest.approx(0.005 / 3**0.5, rel=0.05) for weight in weights)
    logits = net(drawn(2, *net.input_size))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_maxout_of_two_pieces_one_of_them_zero_is_relu() -> None:
    maxout = network("maxout", input_channels=1, image_size=4, width=0.1, pieces=2).eval()
    relu = network("mlp3", input_channels=1, image_size=4, width=24)
    x = drawn(5, 1, 4, 4)
    with torch.no_grad():
        pairs = zip(
            (maxout.classifier.linear1, maxout.classifier.linear2),
            (relu.hidden.linear1, relu.hidden.linear2),
            strict=True,
        )
        for two, one in pairs:
            two.weight.zero_()
            two.weight[::2] = one.weight
            two.bias[::2] = one.bias
        maxout.head.weight.copy_(relu.head.weight)
        torch.testing.assert_close(maxout(x), relu(x))


def test_maxout_nets_have_no_place_for_another_activation() -> None:
    assert network("maxout", activation="maxout", image_size=4).activation == "maxout"
    with pytest.raises(UsageError, match="maxout"):
        network("maxout_conv", activation="relu")


def test_embedding_is_drawn_from_its_own_generator() -> None:
    one, other = (
        network("gcnn8", num_classes=300, width=0.2, seed=1),
        network("gcnn8", num_classes=300, width=0.2, seed=1),
    )
    assert torch.equal(one.embedding.weight, other.embedding.weight)
    assert one.embedding.weight.std().item() == pytest.approx(1, rel=5 / math.sqrt(2 * one.embedding.weight.numel()))
