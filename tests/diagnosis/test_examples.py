"""The examples run: the plain loop as it is, the callbacks in the order of their framework's hooks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn


def test_the_plain_loop_is_watched(example: Any, capsys: Any) -> None:
    diagnosis = example("plain_loop").main(steps=60)
    assert diagnosis.facts["stage"] == "trained"
    assert "plain loop: " in capsys.readouterr().out


class Answering(nn.Module):
    """Takes keywords and answers with a loss, as Hugging Face's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 10))

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> Any:
        logits = self.body(pixel_values)
        return SimpleNamespace(logits=logits, loss=nn.functional.cross_entropy(logits, labels))


def steps(model: nn.Module, loss: Any, count: int = 6) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(count):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def test_the_hugging_face_callback_watches(example: Any, digits: Any) -> None:
    batch = {"pixel_values": digits[0][0], "labels": digits[0][1]}
    callback = example("huggingface_callback").HillockHealth(batch, every=2)
    model, logs = Answering(), {"loss": 1.0}
    callback.on_train_begin(None, None, None, model=model)
    steps(model, lambda: model(**batch).loss)
    callback.on_log(None, None, None, logs=logs)
    callback.on_train_end(None, None, None)
    assert callback.diagnosis.facts["classes"] == 10
    assert logs["health_loss"] > 0


def test_the_lightning_callback_watches_and_can_stop(example: Any, digits: Any) -> None:
    callback = example("lightning_callback").HillockHealth(digits[0], every=2, stop_on=("failure",))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    trainer = SimpleNamespace(should_stop=False)
    callback.on_train_start(trainer, model)
    steps(model, lambda: nn.functional.cross_entropy(model(digits[0][0]), digits[0][1]))
    callback.on_train_batch_end(trainer, model, None, None, 0)
    callback.on_train_end(trainer, model)
    assert callback.diagnosis is not None
    assert trainer.should_stop is False
