"""The probe pass: the uncompiled network on fixed batches, forward and backward, and nothing left behind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hillock.diagnosis.evidence import Evidence, NormEvidence, ParameterEvidence
from hillock.diagnosis.input_statistics import InputStatistics, distinct
from hillock.diagnosis.interception import Interception, NormInput
from hillock.diagnosis.untouched import untouched, unwrapped
from hillock.errors import ModelError, UsageError
from hillock.layers.fused import unfused

__all__ = ["Batch", "LossFunction", "probe"]

LossFunction = Callable[[Any, Any], Tensor]
# (inputs, targets), or a mapping that the network takes as keywords (and answers with something that has `.loss`).
Batch = Any

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
    collector = _Collector(network, loss, classes)
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
    with (
        unfused(network),
        untouched(network),
    ):  # a block of its own: evaluation uses the running statistics as training left them
        collector.evaluate()
    return collector.evidence(optimizer, stage, history, time.perf_counter() - started)


def taken(batches: Iterable[Batch], samples: int) -> Iterable[Batch]:
    """Return whole batches until `samples` samples are reached; a single (inputs, targets) pair counts as one batch."""
    if isinstance(batches, tuple) and len(batches) == 2 and isinstance(batches[0], Tensor):
        batches = [batches]
    seen = 0
    for batch in batches:
        yield batch
        seen += batch_size(batch)
        if seen >= samples:
            return


def batch_size(batch: Batch) -> int:
    """Return the number of samples: the length of the first tensor found."""
    tensor = first_tensor(batch)
    if tensor is None or tensor.dim() == 0:
        raise UsageError("batches of (inputs, targets) tensors", got=type(batch).__name__)
    return len(tensor)


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor inside nested tuples, lists and mappings, or None."""
    if isinstance(value, Tensor):
        return value
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    found = (first_tensor(part) for part in parts)
    return next((tensor for tensor in found if tensor is not None), None)


class _Collector:
    """Runs the batches and gathers; turned into `Evidence` at the end."""

    def __init__(self, network: nn.Module, loss: LossFunction | None, classes: int | None) -> None:
        self.network = network
        self.loss_function = loss
        self.classes = classes
        self.interception = Interception(network)
        self.inputs = InputStatistics()
        self.samples = 0
        self.loss_sum = 0.0
        self.correct = 0
        self.judged = 0
        self.last_batch: Batch = None
        self.last_loss = math.nan
        self.loss_evaluating: float | None = None
        self.norm_inputs: dict[str, NormInput] = {}
        self.norm_flags: dict[str, tuple[bool, bool]] = {}
        self.trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self.squares: dict[str, float] = {}
        self.agreement: dict[str, float] = {}
        self.wrong_gradients: list[str] = []
        self.nonzero: set[str] = set()
        self.batches = 0
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
        self.batches += 1
        self.norm_inputs.update(self.interception.norm_inputs)
        self._see_gradients(gradients)
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
            value = nn.functional.cross_entropy(logits_of(output), targets)
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

    def _see_gradients(self, gradients: Mapping[str, Tensor | None]) -> None:
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            finite = bool(torch.isfinite(gradient).all())
            if not finite and name not in self.wrong_gradients:
                self.wrong_gradients.append(name)
            norm = float(gradient.double().square().sum()) if finite else math.nan
            self.squares[name] = self.squares.get(name, 0.0) + norm
            if norm != 0:
                self.nonzero.add(name)
            if gradient.dim() >= 2 and name not in self.agreement:
                self.agreement[name] = sign_agreement(gradient)

    def _see_answers(self, output: Any, batch: Batch) -> None:
        inputs = first_tensor(batch)
        targets = batch[1] if not isinstance(batch, Mapping) else batch.get("labels")
        if not isinstance(targets, Tensor) or targets.dim() != 1 or targets.is_floating_point():
            targets = None
        logits = logits_of(output, required=False)
        if targets is not None and logits is not None and logits.dim() == 2 and len(logits) == len(targets):
            self.classes = self.classes or logits.shape[1]
            self.correct += int((logits.detach().argmax(1) == targets).sum())
            self.judged += len(targets)
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
        wrong = [site for site in self.interception.sites.values() if site.gradient_not_finite]
        last = wrong[-1].name if wrong else (self.wrong_gradients[-1] if self.wrong_gradients else None)
        return Evidence(
            stage=stage,
            samples=self.samples,
            classes=self.classes,
            loss=self.loss_sum / self.samples,
            loss_evaluating=self.loss_evaluating,
            accuracy=self.correct / self.judged if self.judged else math.nan,
            sites=list(self.interception.sites.values()),
            parameters=self._parameters(optimizer),
            norms=[self._norm(name) for name in self.norm_inputs],
            inputs=self.inputs.evidence(),
            first_non_finite=self.first_non_finite,
            first_non_finite_gradient=last if self.first_non_finite is None else None,
            not_seen=self.interception.not_seen,
            history=history,
            seconds=seconds,
        )

    def _parameters(self, optimizer: torch.optim.Optimizer | None) -> list[ParameterEvidence]:
        rates = None
        if optimizer is not None:
            rates = {id(weight): float(group["lr"]) for group in optimizer.param_groups for weight in group["params"]}
        found = []
        for module_name, module in self.network.named_modules():
            for leaf, weight in module.named_parameters(recurse=False):
                name = f"{module_name}.{leaf}" if module_name else leaf
                bias = getattr(module, "bias", None) if leaf == "weight" else None
                found.append(self._parameter(name, type(module).__name__, weight.detach(), bias, weight, rates))
        return found

    def _parameter(
        self,
        name: str,
        owner: str,
        values: Tensor,
        bias: Any,
        weight: nn.Parameter,
        rates: Mapping[int, float] | None,
    ) -> ParameterEvidence:
        square = self.squares.get(name)
        return ParameterEvidence(
            name=name,
            owner=owner,
            shape=tuple(values.shape),
            weight_rms=float(values.double().square().mean().sqrt()) if values.numel() else 0.0,
            finite=bool(torch.isfinite(values).all()),
            gradient_norm=None if square is None else math.sqrt(square / self.batches),
            gradient_zero=square is not None and name not in self.nonzero,
            gradient_finite=name not in self.wrong_gradients,
            sign_agreement=self.agreement.get(name, math.nan),
            fan_in=values[0].numel() if values.dim() >= 2 else 1,
            twins=twins(values, bias) if values.dim() >= 2 else 0,
            requires_gradient=weight.requires_grad,
            in_optimizer=None if rates is None else rates.get(id(weight), 0.0) > 0,
        )

    def _norm(self, name: str) -> NormEvidence:
        module = self.network.get_submodule(name)
        assert isinstance(module, nn.modules.batchnorm._BatchNorm)
        seen = self.norm_inputs[name]
        training, parent = self.norm_flags[name]
        distance, ratio = math.nan, math.nan
        if isinstance(module.running_mean, Tensor) and isinstance(module.running_var, Tensor):
            # The probe moved the running values once per batch, but they have been put back by now.
            spread = seen.variance.clamp_min(1e-12)
            gap = (module.running_mean.double().cpu() - seen.mean) / spread.sqrt()
            distance = float(gap.square().mean().sqrt())
            quotient = module.running_var.double().cpu().clamp_min(1e-30) / spread
            ratio = float(quotient.log().mean().exp())
        scale = module.weight.detach().abs().double().cpu() if isinstance(module.weight, Tensor) else None
        counter = module.num_batches_tracked
        return NormEvidence(
            name=name,
            training=training,
            parent_training=parent,
            values_per_channel=seen.values_per_channel,
            mean_distance=distance,
            variance_ratio=ratio,
            scale_zero=float((scale == 0).double().mean()) if scale is not None else 0.0,
            scale_median=float(scale.median()) if scale is not None else math.nan,
            batches_tracked=int(counter) if isinstance(counter, Tensor) else None,
        )


def run(network: nn.Module, batch: Batch) -> Any:
    """Call the uncompiled network on one batch. What it raises is wrapped with the batch's shape."""
    # A module compiled in place carries the compiled call beside the plain one; take the plain one.
    call: Any = network._call_impl
    try:
        if isinstance(batch, Mapping):
            return call(**batch)
        inputs = batch[0]
        if isinstance(inputs, Mapping):
            return call(**inputs)
        return call(*inputs) if isinstance(inputs, (tuple, list)) else call(inputs)
    except (RuntimeError, TypeError, ValueError) as error:
        tensor = first_tensor(batch)
        shape = tuple(tensor.shape) if tensor is not None else "no tensor"
        raise ModelError(
            "a network that runs on the probe batch", got=f"inputs of shape {shape} and then: {error}"
        ) from error


def logits_of(output: Any, *, required: bool = True) -> Any:
    """Return the class scores of an output: the tensor, its `.logits`, or the first tensor of a tuple."""
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "logits", None)
    found = found if isinstance(found, Tensor) else first_tensor(output)
    if found is None and required:
        raise ModelError("an output with class scores", got=type(output).__name__, instead="loss=function")
    return found


def on_device(value: Any, network: nn.Module) -> Any:
    """Return nested tensors on the device (and, for real numbers, in the precision) of the network's weights."""
    weight = next((weight for weight in network.parameters() if weight.is_floating_point()), None)
    if weight is None:
        return value
    if isinstance(value, Tensor):
        value = value.clone() if value.is_inference() else value
        return value.to(weight.device, weight.dtype) if value.is_floating_point() else value.to(weight.device)
    if isinstance(value, Mapping):
        return {key: on_device(part, network) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(on_device(part, network) for part in value)
    return value


def sign_agreement(gradient: Tensor) -> float:
    """Return the mean over units of |Σ_j sign g_j| / fan-in: 1 if all weights of a unit must move the same way."""
    signs = gradient.flatten(1).sign().float()
    alive = signs.abs().sum(1) > 0
    if not bool(alive.any()):
        return math.nan
    return float((signs[alive].sum(1).abs() / signs.shape[1]).mean())


def twins(weight: Tensor, bias: Any) -> int:
    """Return how many units have the weights and bias of another unit, bit for bit (all-zero units excepted)."""
    rows: Any = weight.flatten(1).float().cpu()
    if isinstance(bias, Tensor) and bias.shape == (len(rows),):
        rows = torch.cat([rows, bias.detach().float().cpu()[:, None]], dim=1)
    rows = rows[(weight.flatten(1) != 0).any(1).cpu()]
    if len(rows) < 2:
        return 0
    return len(rows) - len(distinct(rows))
