"""The layer table: the study notes' own table cell by cell, published receptive fields, other people's networks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hillock.errors import ModelError
from hillock.networks import LayerTable, network, summarise
from hillock.networks.saved_bytes import saved_bytes

# The notes' table of AlexNet (layer, kernel, depth, strides, padding, input, output, parameters); it stops at pool2.
NOTES = [
    ("conv1", [11, 11], 96, 4, "VALID", [227, 227, 3], [55, 55, 96], (11 * 11 * 3 + 1) * 96),
    ("pool1", [3, 3], 96, 2, "VALID", [55, 55, 96], [27, 27, 96], None),
    ("conv2_1", [5, 5], 128, 1, "SAME", [27, 27, 48], [27, 27, 128], (5 * 5 * 48 + 1) * 128),
    ("conv2_2", [5, 5], 128, 1, "SAME", [27, 27, 48], [27, 27, 128], (5 * 5 * 48 + 1) * 128),
    ("concate", None, None, None, None, None, [27, 27, 256], None),
    ("pool2", [3, 3], 256, 2, "VALID", [27, 27, 256], [13, 13, 256], None),
]


def as_in_the_notes(table: LayerTable) -> list[tuple[Any, ...]]:
    """A grouped convolution is one row a group in the notes, and the concatenation of the groups is a row too."""
    rows: list[tuple[Any, ...]] = []
    for row in table.rows:
        if row.kind not in ("convolution", "pooling"):
            continue
        assert row.kernel is not None
        assert row.stride is not None
        assert row.padding is not None
        groups, name = row.groups or 1, row.name.rpartition(".")[2]
        padding = "VALID" if row.padding[0] == 0 else "SAME"
        (channels, *side), (depth, *out_side) = row.input, row.output
        for group in range(groups):
            rows.append(
                (
                    name if groups == 1 else f"{name}_{group + 1}",
                    list(row.kernel),
                    depth // groups,
                    row.stride[0],
                    padding,
                    [*side, channels // groups],
                    [*out_side, depth // groups],
                    row.parameters // groups or None,
                )
            )
        if groups > 1:
            rows.append(("concate", None, None, None, None, None, [*out_side, depth], None))
    return rows


def test_the_notes_table_is_reproduced_cell_by_cell() -> None:
    with torch.device("meta"):
        table = summarise(network("alexnet", num_classes=1000))
    rows = as_in_the_notes(table)
    assert rows[: len(NOTES)] == NOTES
    # The notes print an equality in their formula of connections; a product is meant: F² · (K² · C/groups + 1) · O.
    for row in table.rows:
        if row.kind == "convolution":
            assert row.kernel is not None
            per_unit = row.kernel[0] ** 2 * row.input[0] // (row.groups or 1) + 1
            assert row.connections == row.output[1] ** 2 * per_unit * row.output[0]


@pytest.mark.parametrize(
    ("name", "fields"),
    [  # distances written out by hand: field grows by (kernel - 1) times the product of the strides before
        ("alexnet", {"conv1": 11, "pool1": 19, "conv2": 51, "pool2": 67, "conv3": 99, "conv5": 163, "pool5": 195}),
        ("four_layer", {"conv1": 5, "pool1": 7, "conv2": 15, "pool2": 19, "local3": 27, "local4": 35}),
    ],
)
def test_receptive_fields_are_the_published_ones(name: str, fields: dict[str, int]) -> None:
    with torch.device("meta"):
        table = summarise(network(name))
    found = {row.name.rpartition(".")[2]: row.receptive_field for row in table.rows}
    assert {layer: found[layer] for layer in fields} == {layer: (side, side) for layer, side in fields.items()}


@pytest.mark.parametrize("fit", ["A", "B"])
def test_a_receptive_field_is_what_a_gradient_reaches(fit: str) -> None:
    net = network("resnet8", fit=fit, image_size=64, normalisation="none", activation="sigmoid").double()
    table = summarise(net)
    before_pooling = next(row for row in table.rows if row.name == "stages.3.0.after.act2")
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    maps = net.stages(net.stem(x))
    maps[0, :, 8, 8].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(0).sum(0).nonzero().flatten()
    assert (touched.max() - touched.min() + 1).item() == before_pooling.receptive_field[0]


def test_table_leaves_the_network_as_it_was() -> None:
    net = network("resnet8", image_size=16)
    net.stem.eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    summarise(net, memory=True)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert net.training
    assert not net.stem.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_saved_bytes_are_exact_for_a_network_worked_out_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 4, 1))
    x = torch.ones(2, 3, 10, 10)
    one_map = 2 * 8 * 10 * 10 * 4
    eager, lean = saved_bytes(net, x), saved_bytes(net, x, lean=True)
    # conv: its input; norm: its input, mean and 1/deviation; SiLU: its input; conv: its input.
    assert eager == {"0": 2 * 3 * 100 * 4, "1": one_map + 2 * 8 * 4, "2": one_map, "3": one_map}
    # lean: the second convolution's input is made again from the norm's input, kept once; scale of the norm: 8 numbers.
    assert sum(lean.values()) == 2 * 3 * 100 * 4 + one_map + 3 * 8 * 4


@pytest.mark.parametrize("name", ["resnet20", "preresnet20"])
def test_lean_mode_keeps_less(name: str) -> None:
    table = summarise(network(name, activation="gelu", image_size=16), memory=True)
    assert table.saved_bytes_eager is not None
    assert table.saved_bytes_lean is not None
    assert table.saved_bytes_lean < 0.6 * table.saved_bytes_eager


class Functional(nn.Module):
    """A network that computes outside of layers, as users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.weight = nn.Parameter(torch.ones(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(self.conv(x)).mean((2, 3)), self.weight)


def test_what_runs_outside_of_layers_has_rows() -> None:
    table = summarise(Functional(), (3, 9, 9), memory=True)
    outside = {row.name: row for row in table.rows if row.kind == "outside"}
    assert outside["(mm)"].multiply_adds == 30
    assert outside["(parameters)"].parameters == 30
    assert sum(row.parameters for row in table.rows) == table.parameters
    assert table.rows[0].output == (6, 4, 4)


@pytest.mark.parametrize(
    ("name", "multiply_adds"),  # independent counts of the same networks: facts of the papers, in 10^9
    [("resnet18", 1.814), ("resnet50", 4.089)],
)
def test_timm_networks_have_tables_too(timm: Any, name: str, multiply_adds: float) -> None:
    table = summarise(timm.create_model(name), (3, 224, 224))
    assert round(table.multiply_adds / 1e9, 3) == multiply_adds
    assert sum(row.parameters for row in table.rows) == table.parameters
    ours = {row.output for row in summarise(network(name, num_classes=1000, image_size=224)).rows}
    assert {row.output for row in table.rows if row.kind == "convolution"} <= ours


def test_attention_sees_the_whole_picture(timm: Any) -> None:
    table = summarise(timm.create_model("vit_tiny_patch16_224", depth=2), (3, 224, 224))
    fields = {row.name: row.receptive_field for row in table.rows}
    assert fields["blocks.0.attn.qkv"] == (16, 16)
    assert fields["blocks.0.attn.proj"] == (224, 224)
    assert next(row for row in table.rows if row.name == "(bmm)").multiply_adds == 2 * 2 * 197 * 197 * 192


def test_the_three_forms_agree() -> None:
    table = summarise(network("resnet8"), memory=True)
    assert json.loads(json.dumps(table.to_dict()))["parameters"] == table.parameters
    lines = table.to_markdown().splitlines()
    assert len(lines) == len(table.rows) + 3
    assert len({line.count("|") for line in lines}) == 1
    assert f"{table.parameters:,}" in lines[-1]


def test_tokens_have_a_table() -> None:
    table = summarise(network("gcnn8", num_classes=50, width=0.05, image_size=12), memory=True)
    assert table.parameters == sum(row.parameters for row in table.rows)


def test_a_wrong_input_size_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="fits ResNet"):
        summarise(network("resnet8"), (4, 32, 32))
    with pytest.raises(ModelError, match="input size"):
        summarise(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="memory of its own"):
        summarise(nn.Linear(2, 2, device="meta"), (2,), memory=True)
