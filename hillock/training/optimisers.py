"""Optimisers: parameter groups by rule, torch's fused SGD and AdamW, the Caffe form of momentum, and Muon."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hillock.errors import UsageError
from hillock.training.recipe import GroupRule, OptimizerSettings

__all__ = ["CaffeSGD", "Muon", "build_optimizer", "parameter_groups", "set_rate"]

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameter_groups(model: nn.Module, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Return torch parameter groups: one for each rule that matched, and the rest; each with its `rate_scale`."""
    rules = [*settings.groups, GroupRule(match="name:")]  # the last one matches every name
    members: list[list[Tensor]] = [[] for _ in rules]
    for owner, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full_name = f"{owner}.{name}" if owner else name
            if parameter.requires_grad:
                first = next(i for i, rule in enumerate(rules) if _matches(rule.match, full_name, name, module))
                members[first].append(parameter)
    groups = []
    for rule, parameters in zip(rules, members, strict=True):
        decay = settings.weight_decay if rule.weight_decay is None else rule.weight_decay
        if parameters:
            group = {"params": parameters, "rate_scale": rule.learning_rate_scale, "weight_decay": decay}
            groups.append(group | {"match": rule.match} | _own_momentum(settings, rule))
    if not groups:
        raise UsageError("a network with parameters to train", got=type(model).__name__)
    return groups


def _own_momentum(settings: OptimizerSettings, rule: GroupRule) -> dict[str, Any]:
    if rule.momentum is None:
        return {}
    return {"momentum": rule.momentum, "nesterov": settings.nesterov and rule.momentum > 0}


def _matches(match: str, full_name: str, name: str, module: nn.Module) -> bool:
    if match == "biases":
        return name == "bias" or name.endswith("_bias")
    if match == "normalisation":
        return isinstance(module, _NORMALISATIONS)
    if match == "activations":
        from hillock.layers.activation_layer import ActivationLayer

        return isinstance(module, (ActivationLayer, nn.PReLU))
    return re.search(match.removeprefix("name:"), full_name) is not None


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name, over `parameter_groups`."""
    groups = parameter_groups(model, settings)
    rate = settings.learning_rate
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=settings.betas, eps=settings.epsilon, fused=True)
    if settings.kind == "muon":
        # The groups are sorted by rule, so which matrix is the network's last is known here alone.
        matrices = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim >= 2]
        head = matrices[-1] if len(matrices) > 1 else None
        return Muon(
            groups, lr=rate, momentum=settings.momentum, nesterov=settings.nesterov,
            fixed_norm=settings.fixed_norm, rounds=settings.orthogonal_rounds, head=head,
        )  # fmt: skip
    if settings.momentum_form == "caffe":
        if settings.nesterov:
            raise UsageError("nesterov = false with the Caffe form of momentum", instead='momentum_form = "torch"')
        return CaffeSGD(groups, lr=rate, momentum=settings.momentum)
    nesterov = settings.nesterov and settings.momentum > 0
    return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=nesterov, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group: `rate` times the group's scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_scale", 1.0)


class CaffeSGD(torch.optim.Optimizer):
    """SGD with the rate inside the momentum, as AlexNet's source and Caffe have it:

        v <- momentum v - weight_decay rate w - rate g,    w <- w + v

    Differs from torch.optim.SGD (v <- momentum v + g, w <- w - rate v) for a few steps after the rate changes, and not
    otherwise. Source: Krizhevsky, Sutskever, Hinton 2012, section 5.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one update. A closure is not used."""
        assert closure is None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            velocities = [_buffer(self, parameter) for parameter in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
            torch._foreach_add_(velocities, parameters, alpha=-group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, velocities)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for weight matrices and convolution kernels; SGD for everything else.

    For a weight seen as a matrix [outputs, inputs * kernel]: v <- momentum v + g; u = g + momentum v (Nesterov);
    w <- (1 - rate decay) w - rate sqrt(max(1, outputs / inputs)) orthogonal(u). Vectors and scalars take plain Nesterov
    SGD steps with the same rate, and so does `head`, the weight whose rows are class scores.

    fixed_norm: before each update w is scaled to the norm sqrt(outputs), which is that of an orthogonal matrix, so that
    the rate is a relative one; for weights whose scale a normalisation undoes. rounds: of `orthogonal`.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        fixed_norm: bool = False,
        rounds: int = 5,
        head: Tensor | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0})
        self.fixed_norm = fixed_norm
        self.rounds = rounds
        self._head = head

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one update. A closure is not used."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                velocity = _buffer(self, parameter)
                velocity.mul_(group["momentum"]).add_(parameter.grad)
                update = velocity
                if group["nesterov"]:
                    update = parameter.grad.add(velocity, alpha=group["momentum"])
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                if parameter.ndim >= 2 and parameter is not self._head:
                    if self.fixed_norm:
                        parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                    matrix = update.reshape(len(update), -1)
                    scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                    update = orthogonal(matrix, self.rounds).view(parameter.shape) * scale
                parameter.add_(update, alpha=-group["lr"])


# Coefficients of x -> a x + b x^3 + c x^5 that lift singular values in (0, 1] towards 1; five rounds lift all.
# Source: Jordan et al. 2024, as above.
_QUINTIC = (3.4445, -4.7750, 2.0315)
# Elements from which bfloat16 products repay their casts.
_LARGE = 2**14


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Return a nearly orthogonal matrix with the singular vectors of `matrix` [m, n], singular values near 1.

    After n rounds, singular values below about 3.4445^-n of the matrix's norm are not there yet.

    Large matrices are multiplied in bfloat16 where the processor or GPU has it, as the source does.
    """
    a, b, c = _QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    if wide.numel() >= _LARGE and (wide.is_cuda or _has_matrix_unit()):
        wide = wide.bfloat16()
    for _ in range(rounds):
        square = wide @ wide.T
        inner = torch.addmm(square, square, square, beta=b, alpha=c)
        wide = torch.addmm(wide, inner, wide, beta=a)
    result: Tensor = wide if matrix.shape[0] <= matrix.shape[1] else wide.T
    return result.to(matrix.dtype)


@functools.cache
def _has_matrix_unit() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _buffer(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Tensor:
    state = optimizer.state[parameter]
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(parameter)
    velocity: Tensor = state["momentum_buffer"]
    return velocity
