"""The callbacks of the examples inside the real frameworks; skipped where those are not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

# What the frameworks and torch's data loader warn about is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def lightning(timm: Any) -> Any:  # both frameworks import torchvision where it is, which takes the fixture's help
    return pytest.importorskip("pytorch_lightning")


@pytest.fixture
def transformers(timm: Any) -> Any:
    pytest.importorskip("accelerate")
    return pytest.importorskip("transformers")


def test_lightning_trains_the_same_with_the_callback(lightning: Any, example: Any, digits: Any) -> None:
    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 10))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def trained(callbacks: list[Any]) -> Module:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=5, accelerator="cpu", callbacks=callbacks, **quiet)
        module = Module()
        trainer.fit(module, DataLoader(digits, batch_size=None))
        return module

    health = example("lightning_callback").HillockHealth(digits[0], every=5)
    plain, seen = trained([]), trained([health])
    assert health.diagnosis is not None
    assert health.diagnosis.facts["classes"] == 10
    assert health.diagnosis.facts["stage"] == "trained"
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), seen.parameters(), strict=True))


def test_lightning_is_stopped_by_what_the_callback_finds(
    lightning: Any, example: Any, perceptron: Any, digits: Any
) -> None:
    class Sick(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = perceptron(nn.Tanh, depth=2, gain=60.0)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return nn.functional.cross_entropy(self.body(batch[0]), batch[1])

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-4)

    health = example("lightning_callback").HillockHealth(digits[0], every=5, stop_on=("failure",))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=5, accelerator="cpu", callbacks=[health], **quiet)
    trainer.fit(Sick(), DataLoader(digits, batch_size=None))
    assert trainer.global_step < 5 * len(digits)
    assert health.diagnosis is not None
    assert not health.diagnosis.healthy


def test_transformers_trains_the_same_with_the_callback(transformers: Any, example: Any, tmp_path: Path) -> None:
    tokens = torch.randint(5, 60, (96, 8), generator=torch.Generator().manual_seed(0))
    examples = [{"input_ids": row, "labels": int(row[0] % 3)} for row in tokens]
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

    def trained(callbacks: list[Any]) -> Any:
        transformers.set_seed(0)
        model = transformers.BertForSequenceClassification(
            transformers.BertConfig(vocab_size=64, num_labels=3, max_position_embeddings=16, **sizes)
        )
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=12, logging_steps=6, report_to=[], use_cpu=True, disable_tqdm=True, seed=0
        )
        transformers.Trainer(model, arguments, train_dataset=examples, callbacks=callbacks).train()
        return model

    batch = {"input_ids": tokens, "labels": tokens[:, 0] % 3}
    health = example("huggingface_callback").HillockHealth(batch, every=4)
    plain, seen = trained([]), trained([health])
    assert health.diagnosis is not None
    assert health.diagnosis.facts["sites"] >= 2
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), seen.parameters(), strict=True))
