"""The probe pass: the uncompiled network on fixed batches, forward and backward, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from hillock.diagnosis.batch import Batch, LossFunction, taken
from hillock.diagnosis.collector import Collector
from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.untouched import untouched, unwrapped
from hillock.errors import UsageError
from hillock.layers.fused import unfused

__all__ = ["DEFAULT_SAMPLES", "probe"]

# Enough that a unit which never fires can be called dead below 1 % with 95 % confidence (299), with room to spare.
DEFAULT_SAMPLES = 512


def probe(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: LossFunction | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    stage: str = "trained",
    samples: int = DEFAULT_SAMPLES,
    classes: int | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> Evidence:
    """Run `model` forward and backward on the first `samples` samples of `batches` and return what was seen.

    The network is examined in training mode (as it trains: batch statistics, dropout), in the precision of its weights.
    Generators, buffers, gradients, flags and attributes are afterwards as they were, bit for bit.

    **Arguments**

    - `batches`: iterable of (inputs, targets) or of keyword mappings; whole batches are taken up to `samples`.
    - `loss`: maps (output, targets) to a scalar mean loss; default cross entropy on `output`, `output.logits` or the
      first tensor of a tuple.
    - `optimizer`: lets the rules see which parameters are really trained.

    **Errors** `UsageError` without a batch; `ModelError` if the network cannot be run on a batch.
    """
    started = time.perf_counter()
    network = unwrapped(model)
    collector = Collector(network, loss, classes)
    was_training = network.training
    with unfused(network), untouched(network):
        if not was_training:
            network.train()
        for batch in taken(batches, samples):
            collector.add(batch, was_training)
        if collector.samples == 0:
            raise UsageError("at least one batch to probe the network with", got="none")
        if collector.not_finite:
            collector.trace_non_finite()
    # A block of its own: evaluation uses the running statistics as training left them.
    with unfused(network), untouched(network):
        collector.evaluate()
    return collector.evidence(optimizer, stage, history, time.perf_counter() - started)
