"""Which activation is this module? Ours, torch.nn's and timm's modules are known, with their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hillock.activations import Activation, find
from hillock.layers.activation_layer import ActivationLayer

__all__ = ["recognise"]

Reading = tuple[str, dict[str, Any]]

# torch.nn class -> our name and where its parameters are. Subclasses are not the same function, so types are compared.
_TORCH: dict[type[nn.Module], Callable[[Any], Reading]] = {
    nn.ReLU: lambda m: ("relu", {}),
    nn.ReLU6: lambda m: ("relu6", {}),
    nn.LeakyReLU: lambda m: ("leaky_relu", {"negative_slope": m.negative_slope}),
    nn.PReLU: lambda m: ("prelu", {"negative_slope": m.weight}),
    nn.RReLU: lambda m: ("rrelu", {"negative_slope": (m.lower + m.upper) / 2}),
    nn.ELU: lambda m: ("elu", {"alpha": m.alpha}),
    nn.SELU: lambda m: ("selu", {}),
    nn.CELU: lambda m: ("celu", {"alpha": m.alpha}),
    nn.GELU: lambda m: ("gelu_tanh" if m.approximate == "tanh" else "gelu", {}),
    nn.SiLU: lambda m: ("silu", {}),
    nn.Mish: lambda m: ("mish", {}),
    nn.Sigmoid: lambda m: ("sigmoid", {}),
    nn.Tanh: lambda m: ("tanh", {}),
    nn.Softplus: lambda m: ("softplus", {"beta": m.beta, "threshold": m.threshold}),
    nn.Softsign: lambda m: ("softsign", {}),
    nn.LogSigmoid: lambda m: ("log_sigmoid", {}),
    nn.Tanhshrink: lambda m: ("tanh_shrink", {}),
    nn.Hardtanh: lambda m: ("hard_tanh", {"low": m.min_val, "high": m.max_val}),
    nn.Hardsigmoid: lambda m: ("hard_sigmoid", {}),
    nn.Hardswish: lambda m: ("hard_swish", {}),
    nn.Hardshrink: lambda m: ("hard_shrink", {"threshold": m.lambd}),
    nn.Softshrink: lambda m: ("soft_shrink", {"threshold": m.lambd}),
    nn.Threshold: lambda m: ("threshold", {"threshold": m.threshold, "replacement": m.value}),
}

# timm defines its own classes; they are known by name so that timm need not be there.
_TIMM_PACKAGE = "timm.layers.activations"
_TIMM: dict[str, str] = {
    "Swish": "silu",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSwish": "hard_swish",
    "HardSigmoid": "hard_sigmoid",
    "PReLU": "prelu",
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "QuickGELU": "gelu_sigmoid",
}


def recognise(module: nn.Module) -> tuple[Activation, dict[str, float | Tensor]] | None:
    """Return the activation of a module and its parameters, or None if the module is not a known activation.

    Learned parameters are returned as the tensors they are. A subclass of a torch module is not recognised: it may
    compute something else. `nn.Identity` is not an activation here: networks use it for layers that are switched off.

    >>> activation, constants = recognise(nn.LeakyReLU(0.2))
    >>> activation.name, constants
    ('leaky_relu', {'negative_slope': 0.2})
    >>> recognise(nn.Linear(1, 1)) is None
    True
    """
    if isinstance(module, ActivationLayer):
        return module.activation, module.constants
    kind = type(module)
    if kind in _TORCH:
        name, given = _TORCH[kind](module)
    elif kind.__module__.startswith(_TIMM_PACKAGE) and kind.__name__ in _TIMM:
        name = _TIMM[kind.__name__]
        given = {"negative_slope": module.weight} if name == "prelu" else {}
    else:
        return None
    activation = find(name)
    return activation, _completed(activation, given)


def _completed(activation: Activation, given: Mapping[str, Any]) -> dict[str, float | Tensor]:
    """Return all parameters; a PReLU weight that is one number becomes a scalar, as ours is."""
    numbers = {name: value for name, value in given.items() if not isinstance(value, Tensor)}
    tensors = {
        name: value.squeeze() if value.numel() == 1 else value
        for name, value in given.items()
        if isinstance(value, torch.Tensor)
    }
    return {**activation.constants(**numbers), **tensors}
