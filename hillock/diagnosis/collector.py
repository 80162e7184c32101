"""Gathers what one examination sees, batch by batch, and turns it into evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hillock.diagnosis.batch import Batch, LossFunction, batch_size, first_tensor, logits_of, on_device, run
from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.input_statistics import InputStatistics
from hillock.diagnosis.interception import Interception, NormInput
from hillock.diagnosis.parameters import GradientSums, norm_evidence, parameter_evidence
from hillock.errors import ModelError, UsageError

__all__ = ["Collector"]


class Collector:
    """Runs the batches and gathers; turned into `Evidence` at the end."""

    def __init__(self, network: nn.Module, loss: LossFunction | None, classes: int | None) -> None:
        self.network = network
        self.loss_function = loss
        self.classes = classes
        self.interception = Interception(network)
        self.inputs = InputStatistics()
        self.samples = 0
        self.loss_sum = 0.0
        self.last_batch: Batch = None
        self.last_loss = math.nan
        self.loss_evaluating: float | None = None
        self.norm_inputs: dict[str, NormInput] = {}
        self.norm_flags: dict[str, tuple[bool, bool]] = {}
        self.trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self.gradients = GradientSums()
        self.right: list[Tensor] = []
        self.first_non_finite: str | None = None

    @property
    def not_finite(self) -> bool:
        return not math.isfinite(self.loss_sum) or any(site.not_finite for site in self.interception.sites.values())

    def add(self, batch: Batch, was_training: bool) -> None:
        """Forward, backward, and the sums of one batch."""
        size = batch_size(batch)
        batch = on_device(batch, self.network)
        for name, module in self.network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                self.norm_flags[name] = (module.training, was_training)
        with self.interception.watching(size):
            output = run(self.network, batch)
        value = self._loss(output, batch)
        gradients = self._gradients(value)
        self.last_batch, self.last_loss = batch, float(value.detach())
        self.loss_sum += self.last_loss * size
        self.samples += size
        self.norm_inputs.update(self.interception.norm_inputs)
        self.gradients.add(gradients)
        self._see_answers(output, batch)

    def _loss(self, output: Any, batch: Batch) -> Tensor:
        if isinstance(batch, Mapping):
            value = self.loss_function(output, batch) if self.loss_function else getattr(output, "loss", None)
            if not isinstance(value, Tensor):
                raise ModelError("a network that answers keyword batches with a .loss", instead="loss=function")
            return value
        targets = batch[1]
        if self.loss_function is not None:
            value = self.loss_function(output, targets)
        else:
            value = _cross_entropy(logits_of(output), targets)
        if value.dim() != 0:
            raise UsageError("a loss that is one number (a mean over the batch)", got=f"shape {tuple(value.shape)}")
        return value

    def _gradients(self, value: Tensor) -> dict[str, Tensor | None]:
        names, weights = list(self.trained), list(self.trained.values())
        if not value.requires_grad:
            return dict.fromkeys(names)
        inner = [site for site in self.interception.sites.values() if site.expects_gradient]
        if not weights and not inner:
            return {}
        found = torch.autograd.grad(value, weights, allow_unused=True)
        return dict(zip(names, found, strict=True))

    def _see_answers(self, output: Any, batch: Batch) -> None:
        inputs = first_tensor(batch)
        targets = batch[1] if not isinstance(batch, Mapping) else batch.get("labels")
        if not isinstance(targets, Tensor) or targets.dim() != 1 or targets.is_floating_point():
            targets = None
        logits = logits_of(output, required=False)
        if targets is not None and logits is not None and logits.dim() == 2 and len(logits) == len(targets):
            self.classes = self.classes or logits.shape[1]
            self.right.append((logits.detach().argmax(1) == targets).cpu())
        if inputs is not None:
            self.inputs.add(inputs, targets)

    def trace_non_finite(self) -> None:
        """Run the last batch again, looking at every intermediate result."""
        tracer = Interception(self.network, trace_non_finite=True)
        with torch.no_grad(), tracer.watching(batch_size(self.last_batch)):
            run(self.network, self.last_batch)
        wrong = [name for name, weight in self.network.named_parameters() if not bool(torch.isfinite(weight).all())]
        inputs = first_tensor(self.last_batch)
        if inputs is not None and inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
            self.first_non_finite = "the input batch"
        elif wrong:
            self.first_non_finite = f"the weights {wrong[0]}"
        else:
            self.first_non_finite = tracer.producer or "the loss"

    def evaluate(self) -> None:
        """The last batch once more, with the network in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            value = float(self._loss(run(self.network, self.last_batch), self.last_batch))
        self.loss_evaluating = value

    def evidence(
        self,
        optimizer: torch.optim.Optimizer | None,
        stage: str,
        history: Sequence[Mapping[str, Any]],
        seconds: float,
    ) -> Evidence:
        """Return everything gathered."""
        right = torch.cat(self.right) if self.right else torch.zeros(0)
        wrong = [site for site in self.interception.sites.values() if site.gradient_not_finite]
        last = wrong[-1].name if wrong else (self.gradients.wrong[-1] if self.gradients.wrong else None)
        return Evidence(
            stage=stage,
            samples=self.samples,
            classes=self.classes,
            loss=self.loss_sum / self.samples,
            loss_evaluating=self.loss_evaluating,
            accuracy=float(right.float().mean()) if len(right) else math.nan,
            right=tuple(right.tolist()),
            sites=list(self.interception.sites.values()),
            parameters=parameter_evidence(self.network, self.gradients, optimizer),
            norms=[
                norm_evidence(self.network, name, seen, *self.norm_flags[name])
                for name, seen in self.norm_inputs.items()
            ],
            inputs=self.inputs.evidence(),
            first_non_finite=self.first_non_finite,
            first_non_finite_gradient=last if self.first_non_finite is None else None,
            not_seen=self.interception.not_seen,
            history=history,
            seconds=seconds,
        )


def _cross_entropy(scores: Tensor, targets: Any) -> Tensor:
    try:
        return nn.functional.cross_entropy(scores, targets)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            "class scores [samples, classes] and a label below the number of classes for each",
            got=f"scores of shape {tuple(scores.shape)} and then: {error}",
            instead="loss=function",
        ) from error
