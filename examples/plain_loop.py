"""Watch a plain torch training loop: two lines around the loop, nothing inside it.

python examples/plain_loop.py
"""

from __future__ import annotations

import torch
from torch import nn

import hillock
from hillock.data import load
from hillock.report.health import diagnosis_text


def main(steps: int = 200) -> hillock.Diagnosis:
    digits = load("digits").train
    inputs = digits.images.float() / 255
    inputs, labels = (inputs - inputs.mean()) / inputs.std(), digits.labels
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with hillock.watch(model, (inputs[:512], labels[:512]), every=50) as health:
        for step in range(steps):
            chosen = torch.arange(64 * step, 64 * (step + 1)) % len(inputs)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
    assert health.diagnosis is not None
    print(diagnosis_text(health.diagnosis, title="plain loop"))
    return health.diagnosis


if __name__ == "__main__":
    main()
