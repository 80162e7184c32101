"""AlexNet's variants: the order of their parts, and why 224 and 227 pixels are the same network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hillock.networks import network

TINY = {"width": 0.05, "initialisation": "he"}


def features(name: str, **options: object) -> str:
    return " ".join(dict(network(name, width=0.05, **options).features.named_children()))


def test_parts_stand_in_the_paper_s_order() -> None:
    assert features("alexnet") == (
        "padding conv1 act1 norm1 pool1 conv2 act2 norm2 pool2 conv3 act3 conv4 act4 conv5 act5 pool5"
    )


def test_parts_stand_in_the_program_s_order() -> None:
    assert features("alexnet_source").startswith("padding conv1 norm1 pool1 act1 conv2 act2 norm2 mapnorm2 pool2 conv3")
    net = network("alexnet_source", width=0.05)
    assert net.features.norm1.alpha == pytest.approx(1e-4 / 5)


def test_ablations_leave_parts_out() -> None:
    assert "norm" not in features("alexnet_source", response_norm=False)
    assert network("alexnet", width=0.05, overlapping=False).features.pool1.kernel_size == 2


def test_torchvision_drops_before_its_linear_layers() -> None:
    parts = " ".join(network("alexnet_torchvision", width=0.05).classifier._modules)
    assert parts == "dropout6 fc6 act6 dropout7 fc7 act7 fc8"


def test_224_pixels_are_227_with_zeros_below_and_to_the_right() -> None:
    small, large = (network("alexnet", image_size=side, seed=3, **TINY).eval() for side in (224, 227))
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert small.features[:2](x).shape == (1, small.features.conv1.out_channels, 55, 55)
        assert torch.equal(small(x), large(F.pad(x, (0, 3, 0, 3))))
        assert not torch.allclose(small(x), large(F.pad(x, (3, 0, 3, 0))))


def test_conv2_reads_its_own_card_and_conv3_reads_both() -> None:
    net = network("alexnet", image_size=67, **TINY)
    conv2, conv3 = net.features.conv2, net.features.conv3
    for layer, alone in ((conv2, True), (conv3, False)):
        x = torch.randn(1, layer.in_channels, 9, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()
        layer(x)[:, : layer.out_channels // 2].sum().backward()  # the first card's outputs
        assert x.grad is not None
        assert (x.grad[:, layer.in_channels // 2 :].abs().max() == 0) == alone
