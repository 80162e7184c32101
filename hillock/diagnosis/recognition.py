"""What counts as an activation: functions by name, modules by what they do, and what to call them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hillock.diagnosis.site import Response

__all__ = [
    "FUNCTION_LABELS",
    "FUSED",
    "NONLINEAR_PARTS",
    "POINTWISE",
    "RECURRENT",
    "SCALE_CHANGING",
    "UNIT_AXIS",
    "is_activation_call",
    "is_elementwise",
    "may_be_activation",
    "module_label",
]

# Functions that are activations wherever they are called. A trailing underscore (in place) is stripped before looking.
POINTWISE = frozenset(
    (
        *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold", "elu", "selu", "celu", "gelu", "silu", "mish"),
        *("sigmoid", "expit", "logsigmoid", "log_sigmoid", "tanh", "tanhshrink", "softplus", "softsign"),
        *("hardtanh", "hardswish", "hardsigmoid", "hardshrink", "softshrink"),
    )
)
# Which axis holds the units after these calls: 1 for channels first, -1 for features last.
UNIT_AXIS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "batch_norm", "group_norm", "instance_norm"), 1),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
    **dict.fromkeys(("linear", "layer_norm", "rms_norm", "lstm", "gru", "embedding", "bilinear"), -1),
}
RECURRENT = frozenset(
    ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
)
# Nonlinear operators that are not activations by themselves: alone in a place, they are listed as not looked into.
NONLINEAR_PARTS = frozenset(
    ("exp", "expm1", "log", "log1p", "erf", "erfc", "sin", "cos", "atan", "sinh", "cosh", "maximum", "minimum", "where")
)
# Functions between two activations after which the next input's scale is not the weights' alone.
SCALE_CHANGING = frozenset(
    ("add", "iadd", "cat", "mul", "imul", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean", "dropout", "bmm")
)
# Fused operators with nonlinearities inside that nothing can look into.
FUSED = frozenset({"mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "miopen_rnn"})

# What a person would call these functions.
FUNCTION_LABELS = {
    **dict.fromkeys(("clamp", "clamp_min", "clip"), "relu"),
    "expit": "sigmoid",
    "log_sigmoid": "logsigmoid",
}


def is_activation_call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for an activation; a clamp counts if it cuts at 0 from below (that is what ReLU is)."""
    if name in POINTWISE:
        return True
    if name == "clamp_min":
        return _is_zero(args[1] if len(args) > 1 else kwargs.get("min"))
    if name in ("clamp", "clip"):
        return _is_zero(args[1] if len(args) > 1 else kwargs.get("min"))
    return False


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


def may_be_activation(module: nn.Module) -> bool:
    """True for a leaf that is not one of torch's own layers (those call functions that are seen by themselves)."""
    return not any(True for _ in module.children()) and not type(module).__module__.startswith("torch.nn.")


def is_elementwise(response: Response, z: Tensor) -> bool:
    """True if each output depends on the input at its own place alone, by moving one half and watching the other."""
    if z.dim() < 2 or not z.numel() or not z.is_floating_point():
        return False
    try:
        with torch.no_grad():
            # Values of its own making: those of a dead network would not move anything.
            shape = (min(len(z), 4), *z.shape[1:])
            sample = torch.linspace(-4, 4, math.prod(shape), device=z.device, dtype=z.dtype).reshape(shape)
            moved = sample.clone()
            moved.view(-1)[::2] += 1.0
            before, after = response(sample.clone()), response(moved.clone())
    except (RuntimeError, TypeError, ValueError):  # it needs the whole batch: not a pointwise function
        return False
    if not isinstance(before, Tensor) or before.shape != sample.shape:
        return False
    kept = slice(1, None, 2)
    same = torch.equal(before.reshape(-1)[kept].nan_to_num(), after.reshape(-1)[kept].nan_to_num())
    return same and not torch.equal(before.reshape(-1).nan_to_num(), after.reshape(-1).nan_to_num())


def module_label(module: nn.Module) -> str:
    """The name a person would use: the activation's for hillock's own layer, else the class in lower case."""
    activation = getattr(module, "activation", None)
    name = getattr(activation, "name", None)
    return name if isinstance(name, str) else type(module).__name__.lower()
