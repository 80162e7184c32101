"""Evidence about parameters and batch normalisations: their values, and the gradients that reach them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hillock.diagnosis.evidence import NormEvidence, ParameterEvidence
from hillock.diagnosis.input_statistics import distinct
from hillock.diagnosis.interception import NormInput

__all__ = ["GradientSums", "norm_evidence", "parameter_evidence", "sign_agreement"]


class GradientSums:
    """What the gradients of each parameter were like, over the batches of a probe.

    - `wrong`: names of parameters whose gradient was not finite, in the order in which that was seen.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.squares: dict[str, float] = {}
        self.agreement: dict[str, float] = {}
        self.wrong: list[str] = []
        self.nonzero: set[str] = set()

    def add(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Add the gradients of one batch's mean loss; None where autograd had no path."""
        self.batches += 1
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            finite = bool(torch.isfinite(gradient).all())
            if not finite and name not in self.wrong:
                self.wrong.append(name)
            norm = float(gradient.double().square().sum()) if finite else math.nan
            self.squares[name] = self.squares.get(name, 0.0) + norm
            if norm != 0:
                self.nonzero.add(name)
            if gradient.dim() >= 2 and name not in self.agreement:
                self.agreement[name] = sign_agreement(gradient)


def parameter_evidence(
    network: nn.Module, gradients: GradientSums, optimizer: torch.optim.Optimizer | None
) -> list[ParameterEvidence]:
    """Return the evidence about every parameter, in the order of the modules."""
    rates = None
    if optimizer is not None:
        rates = {id(weight): float(group["lr"]) for group in optimizer.param_groups for weight in group["params"]}
    found = []
    for module_name, module in network.named_modules():
        for leaf, weight in module.named_parameters(recurse=False):
            name = f"{module_name}.{leaf}" if module_name else leaf
            bias = getattr(module, "bias", None) if leaf == "weight" else None
            found.append(_parameter(name, _layer_class(module), weight, bias, gradients, rates))
    return found


def _layer_class(module: nn.Module) -> str:
    """The class's name; of a class derived from one of torch's layers the name of that layer."""
    bases = [kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.") and kind is not nn.Module]
    return (bases[0] if bases else type(module)).__name__


def _parameter(
    name: str,
    owner: str,
    weight: nn.Parameter,
    bias: Any,
    gradients: GradientSums,
    rates: Mapping[int, float] | None,
) -> ParameterEvidence:
    values = weight.detach()
    square = gradients.squares.get(name)
    return ParameterEvidence(
        name=name,
        owner=owner,
        shape=tuple(values.shape),
        weight_rms=float(values.double().square().mean().sqrt()) if values.numel() else 0.0,
        finite=bool(torch.isfinite(values).all()),
        gradient_norm=None if square is None else math.sqrt(square / gradients.batches),
        gradient_zero=square is not None and name not in gradients.nonzero,
        gradient_finite=name not in gradients.wrong,
        sign_agreement=gradients.agreement.get(name, math.nan),
        fan_in=values[0].numel() if values.dim() >= 2 else 1,
        twins=twins(values, bias) if values.dim() >= 2 else 0,
        requires_gradient=weight.requires_grad,
        in_optimizer=None if rates is None else rates.get(id(weight), 0.0) > 0,
    )


def norm_evidence(
    network: nn.Module, name: str, seen: NormInput, training: bool, parent_training: bool
) -> NormEvidence:
    """Return the state of one batch normalisation against the batch that it received."""
    module = network.get_submodule(name)
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
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
        parent_training=parent_training,
        values_per_channel=seen.values_per_channel,
        mean_distance=distance,
        variance_ratio=ratio,
        scale_zero=float((scale == 0).double().mean()) if scale is not None else 0.0,
        scale_median=float(scale.median()) if scale is not None else math.nan,
        batches_tracked=int(counter) if isinstance(counter, Tensor) else None,
    )


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
