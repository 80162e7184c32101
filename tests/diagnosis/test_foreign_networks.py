"""Five foreign networks, unchanged: every activation is seen, what is not is listed, nothing is left behind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hillock.diagnosis import diagnose
from hillock.diagnosis.probe import probe
from hillock.randomness import generator


def photos(count: int = 16, side: int = 64) -> list[tuple[Tensor, Tensor]]:
    draws = generator(0, "photos")
    return [(torch.randn(count, 3, side, side, generator=draws), torch.randint(10, (count,), generator=draws))]


def unchanged(model: nn.Module, batches: Any) -> Any:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evidence = probe(model, batches)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(weight.grad is None for weight in model.parameters())
    return evidence


def test_timm_resnet18(timm: Any) -> None:
    evidence = unchanged(timm.create_model("resnet18", num_classes=10), photos())
    assert [site.activation for site in evidence.sites] == ["relu"] * 17
    assert evidence.not_seen == ()
    assert len(evidence.norms) == 20


def test_timm_vit_tiny(timm: Any) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64)
    evidence = unchanged(model, photos())
    assert [site.name for site in evidence.sites] == [f"blocks.{block}.mlp.act" for block in range(12)]
    assert {site.units for site in evidence.sites} == {768}
    (line,) = evidence.not_seen
    assert line.startswith("blocks.0.attn and 11 more (Attention): the softmax of attention")


class InPlaceAlexNet(nn.Module):
    """AlexNet in torchvision's layout at half width, with ReLUs as in-place function calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 11, 4, 2)
        self.conv2 = nn.Conv2d(32, 96, 5, padding=2)
        self.conv3 = nn.Conv2d(96, 192, 3, padding=1)
        self.conv4 = nn.Conv2d(192, 128, 3, padding=1)
        self.conv5 = nn.Conv2d(128, 128, 3, padding=1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(128, 256), nn.Linear(256, 256), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x), inplace=True), 3, 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x), inplace=True), 3, 2)
        x = functional.relu_(self.conv3(x))
        x = self.conv4(x).relu_()
        x = functional.relu(self.conv5(x), True)
        x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        x = functional.relu(self.fc1(functional.dropout(x, 0.5, self.training)), inplace=True)
        x = functional.relu(self.fc2(functional.dropout(x, 0.5, self.training)), inplace=True)
        return self.fc3(x)


def test_alexnet_with_in_place_functions() -> None:
    evidence = unchanged(InPlaceAlexNet(), photos())
    assert [site.units for site in evidence.sites] == [32, 96, 192, 128, 128, 256, 256]
    assert all(site.gradient_norm for site in evidence.sites)
    assert evidence.not_seen == ()


class TextClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(48, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0].mean(1))


def test_an_lstm_classifier() -> None:
    draws = generator(0, "tokens")
    batch = (torch.randint(50, (320, 9), generator=draws), torch.randint(4, (320,), generator=draws))
    evidence = unchanged(TextClassifier(), [batch])
    assert [(site.name, site.units, site.samples) for site in evidence.sites] == [
        ("lstm:sigmoid", 24, 320),
        ("lstm:tanh", 24, 320),
    ]
    assert evidence.inputs is None
    assert diagnose(TextClassifier(), [batch]).healthy


def test_a_network_with_one_activation_module_used_everywhere() -> None:
    class ReUsing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 12, 3)])
            self.act = nn.ReLU(inplace=True)
            self.head = nn.Linear(12, 10)

        def forward(self, x: Tensor) -> Tensor:
            for conv in self.convs:
                x = self.act(conv(x))
            return self.head(x.mean((2, 3)))

    evidence = unchanged(ReUsing(), photos())
    assert [(site.name, site.units) for site in evidence.sites] == [("act", 8), ("act#2", 8), ("act#3", 12)]
