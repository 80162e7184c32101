"""Initialisation that looks at data: layer-sequential unit variance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hillock.errors import ModelError, UsageError
from hillock.layers.initialisation import initialise, weight_layers

__all__ = ["lsuv"]


def lsuv(
    model: nn.Module, batch: Tensor, *, seed: int = 0, tolerance: float = 0.02, attempts: int = 10
) -> dict[str, float]:
    """Scale every layer so that its outputs on a batch have variance 1, from the first layer to the last.

    First all weights are drawn orthogonal with gain 1. Then, layer by layer in the order in which they run, the weight
    is divided by the standard deviation of the layer's outputs until that is within `tolerance` of 1 (or `attempts` are
    used up). It holds for any activation, because what the activation does to the data has been measured.

    Arguments:
        model: any network. It is run in training mode without gradients; its mode and buffers are restored.
        batch: inputs of the network, as in training; some hundred examples are plenty.

    Returns the standard deviation of every layer's outputs at the end. A layer that outputs nothing but one number
    cannot be scaled: `ModelError` names it.

    Source: Mishkin & Matas, "All you need is a good init", 2016.

    >>> net = nn.Sequential(nn.Linear(50, 40), nn.Tanh(), nn.Linear(40, 30))
    >>> found = lsuv(net, torch.randn(500, 50, generator=torch.Generator().manual_seed(0)))
    >>> all(abs(deviation - 1) < 0.02 for deviation in found.values())
    True
    """
    if attempts < 1 or tolerance <= 0:
        raise UsageError("a tolerance above 0 and at least one attempt", got=f"{tolerance} and {attempts}")
    initialise(model, "orthogonal", gain=1.0, seed=seed)
    layers = dict(weight_layers(model))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    modes = [(module, module.training) for module in model.modules()]
    found: dict[str, float] = {}
    model.train()
    try:
        with torch.random.fork_rng(), torch.no_grad():  # dropout may draw; the caller's generator stays where it is
            for name in _order_of_running(model, layers, batch):
                for _ in range(attempts):
                    found[name] = _deviation(model, layers[name], batch)
                    if not found[name] > 0:
                        raise ModelError("layers whose outputs vary, for lsuv", got=f"constant outputs of {name}")
                    if abs(found[name] - 1) < tolerance:
                        break
                    weight = layers[name].weight
                    assert isinstance(weight, Tensor)
                    weight.div_(found[name])
                    found[name] = _deviation(model, layers[name], batch)
    finally:
        for module, training in modes:
            module.training = training
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return found


def _order_of_running(model: nn.Module, layers: dict[str, nn.Module], batch: Tensor) -> list[str]:
    order: list[str] = []

    def noting(name: str) -> Any:
        def note(module: nn.Module, given: Any, output: Any) -> None:
            if name not in order:
                order.append(name)

        return note

    hooks = [layer.register_forward_hook(noting(name)) for name, layer in layers.items()]
    try:
        model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return order


class _Reached(Exception):
    """Ends a pass at the layer that is being measured."""


def _deviation(model: nn.Module, layer: nn.Module, batch: Tensor) -> float:
    """Return the standard deviation of a layer's outputs; what comes after the layer is not run."""
    measured: list[float] = []

    def measure(module: nn.Module, given: Any, output: Tensor) -> None:
        measured.append(float(output.std()))
        raise _Reached

    hook = layer.register_forward_hook(measure)
    try:
        model(batch)
    except _Reached:
        pass
    finally:
        hook.remove()
    return measured[0]
