"""Parameters, multiply-adds and connections against the papers' and an independent count, to the digit."""

from __future__ import annotations

import pytest
import torch

from hillock.networks import network, summarise

IMAGENET = {"num_classes": 1000, "image_size": 224}


def built(name: str, **options: object) -> torch.nn.Module:
    with torch.device("meta"):
        return network(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        # He et al. 2015, table 6 gives these rounded (0.27M, 0.46M, ... 19.4M).
        ("resnet20", {}, 269_722),
        ("resnet32", {}, 464_154),
        ("resnet44", {}, 658_586),
        ("resnet56", {}, 853_018),
        ("resnet110", {}, 1_727_962),
        ("resnet1202", {}, 19_421_274),
        ("resnet20", {"fit": "B"}, 269_722 + 2_752),
        ("plain20", {}, 269_722),
        ("plain56", {}, 853_018),
        # He et al. 2016, table 4: 1.7M and 10.2M.
        ("preresnet164", {}, 1_703_258),
        ("preresnet1001", {}, 10_327_706),
        # ImageNet, projections where the size changes; torchvision's and timm's networks have the same.
        ("resnet18", IMAGENET, 11_689_512),
        ("resnet34", IMAGENET, 21_797_672),
        ("resnet50", IMAGENET, 25_557_032),
        ("resnet101", IMAGENET, 44_549_160),
        ("resnet152", IMAGENET, 60_192_808),
        ("resnet200", IMAGENET, 64_673_832),
        ("resnet18", {**IMAGENET, "fit": "A"}, 11_515_688),
        ("resnet34", {**IMAGENET, "fit": "A"}, 21_623_848),
        ("resnet34", {**IMAGENET, "fit": "C"}, 22_716_840),
        ("plain18", IMAGENET, 11_515_688),
        ("plain34", IMAGENET, 21_623_848),
        ("resnet50", {**IMAGENET, "stride_on": "first"}, 25_557_032),
    ],
)
def test_residual_network_has_the_published_number_of_parameters(
    name: str, options: dict[str, object], parameters: int
) -> None:
    assert sum(parameter.numel() for parameter in built(name, **options).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "options", "multiply_adds", "unit"),
    [
        ("resnet20", {}, 40.55, 1e6),
        ("resnet32", {}, 68.86, 1e6),
        ("resnet44", {}, 97.17, 1e6),
        ("resnet56", {}, 125.49, 1e6),
        ("resnet110", {}, 252.89, 1e6),
        ("resnet1202", {}, 2.829, 1e9),
        ("resnet18", IMAGENET, 1.814, 1e9),
        ("resnet34", IMAGENET, 3.664, 1e9),
        ("resnet34", {**IMAGENET, "fit": "A"}, 3.644, 1e9),
        ("resnet50", {**IMAGENET, "stride_on": "first"}, 3.858, 1e9),
        ("resnet50", IMAGENET, 4.089, 1e9),
        ("resnet101", {**IMAGENET, "stride_on": "first"}, 7.570, 1e9),
        ("resnet101", IMAGENET, 7.801, 1e9),
        ("resnet152", {**IMAGENET, "stride_on": "first"}, 11.282, 1e9),
        ("resnet152", IMAGENET, 11.514, 1e9),
    ],
)
def test_residual_network_has_the_published_multiply_adds(
    name: str, options: dict[str, object], multiply_adds: float, unit: float
) -> None:
    digits = 2 if unit == 1e6 else 3
    assert round(summarise(built(name, **options)).multiply_adds / unit, digits) == multiply_adds


# layer: parameters, multiply-adds, connections of the two-tower network on a 227x227 picture
ALEXNET = {
    "conv1": (34_944, 105_415_200, 105_705_600),
    "conv2": (307_456, 223_948_800, 224_135_424),
    "conv3": (885_120, 149_520_384, 149_585_280),
    "conv4": (663_936, 112_140_288, 112_205_184),
    "conv5": (442_624, 74_760_192, 74_803_456),
    "fc6": (37_752_832, 37_748_736, 37_752_832),
    "fc7": (16_781_312, 16_777_216, 16_781_312),
    "fc8": (4_097_000, 4_096_000, 4_097_000),
}


def test_alexnet_has_the_paper_s_counts_in_every_layer() -> None:
    table = summarise(built("alexnet", num_classes=1000))
    rows = {row.name.rpartition(".")[2]: row for row in table.rows}
    assert {name: (rows[name].parameters, rows[name].multiply_adds, rows[name].connections) for name in ALEXNET} == (
        ALEXNET
    )
    assert (table.parameters, table.multiply_adds, table.connections) == (60_965_224, 724_406_816, 725_066_088)
    # Fig. 2 of the paper: neurons of each layer, with 55·55·96 for the first (the paper's 253,440 is 55·48·96).
    sizes = [torch.Size(rows[name].output).numel() for name in ALEXNET]
    assert sizes == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]


@pytest.mark.parametrize(
    ("name", "image_size", "parameters", "multiply_adds"),
    [
        ("alexnet", 224, 60_965_224, 724_406_816),  # the program's input: sizes rounded up
        ("alexnet_source", 224, 60_965_224, 724_406_816),
        ("alexnet_ungrouped", 227, 62_378_344, 1_135_256_096),
        ("alexnet_half", 227, 59_798_312, None),
        ("alexnet_torchvision", 224, 61_100_840, 714_188_480),
        ("alexnet_slim", 224, 50_303_912, None),
    ],
)
def test_alexnet_variants_have_their_counts(
    name: str, image_size: int, parameters: int, multiply_adds: int | None
) -> None:
    table = summarise(built(name, num_classes=1000, image_size=image_size))
    assert table.parameters == parameters
    assert multiply_adds is None or table.multiply_adds == multiply_adds


def test_slim_maps_have_its_sides() -> None:
    table = summarise(built("alexnet_slim", num_classes=1000))
    sides = [row.output[-1] for row in table.rows if row.kind in ("convolution", "pooling")]
    assert sides == [54, 26, 26, 12, 12, 12, 12, 5]
