"""One activation at one call site, as a module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hillock import kernels
from hillock.activations import Activation, resolve
from hillock.errors import UnknownNameError, UsageError
from hillock.layers.drawn import Draws

__all__ = ["ActivationLayer", "act_layer", "activation", "parameters_without_decay"]


class ActivationLayer(nn.Module):
    """φ(x), element by element, in the shape, dtype and layout of x.

    Args:
        activation: the declaration.
        num_channels: one learned parameter per channel instead of one for the layer; None for one.
        channel_dim: the dimension of x that holds the channels (1 for [N, C, H, W], -1 for [N, T, C]).
        learned: which parameters are trained: None for those that the paper trains, True or False for all or none, or
            their names.
        seed: for drawn parameters (RReLU): where the layer's own sequence of draws starts.
        parameters: numbers for the parameters; for a drawn one the range (low, high).

    Attributes: `activation`, the declaration; `constants`, every parameter by name, a float or an `nn.Parameter`.

    Errors: `UnknownNameError` for a parameter that the function does not have, `UsageError` for a number out of range.

    Example:
        >>> layer = activation("prelu", num_channels=3)
        >>> layer(-torch.ones(1, 3, 2, 2)).shape, layer.negative_slope.shape
        (torch.Size([1, 3, 2, 2]), torch.Size([3]))
    """

    def __init__(
        self,
        activation: Activation,
        *,
        num_channels: int | None = None,
        channel_dim: int = 1,
        learned: bool | Iterable[str] | None = None,
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if num_channels is not None and num_channels < 1:
            raise UsageError("num_channels to be 1 or more, or None for one parameter a layer", got=str(num_channels))
        self.activation = activation
        self.num_channels = num_channels
        self.channel_dim = channel_dim
        ranges = {name: parameters.pop(name) for name in activation.drawn if isinstance(parameters.get(name), tuple)}
        self._fixed = activation.constants(**parameters)
        self._learned = _learned_names(activation, learned)
        for name in self._learned:
            shape = () if num_channels is None else (num_channels,)
            self.register_parameter(name, nn.Parameter(torch.full(shape, self._fixed.pop(name))))
        self.draws: Draws | None = None
        if activation.drawn and not parameters.keys() & set(activation.drawn):
            self.draws = Draws(activation, ranges, seed)
            self._fixed |= self.draws.middles()

    @property
    def constants(self) -> dict[str, float | Tensor]:
        """Every parameter by name: a float, or the `nn.Parameter` that is trained."""
        learned: dict[str, Tensor] = {name: getattr(self, name) for name in self._learned}
        names = [parameter.name for parameter in self.activation.parameters]
        return {name: learned[name] if name in learned else self._fixed[name] for name in names}

    def constants_for(self, x: Tensor) -> dict[str, float | Tensor]:
        """Return every parameter so that it broadcasts against x: [C] becomes [C, 1, 1] for x of [N, C, H, W]."""
        if not self._learned:
            return dict(self._fixed)
        trailing = x.ndim - 1 - (self.channel_dim % x.ndim) if x.ndim else 0
        return {
            name: value.reshape(-1, *(1,) * trailing) if isinstance(value, Tensor) and value.ndim else value
            for name, value in self.constants.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        constants = self.constants_for(x)
        if self.draws is not None and self.training:
            constants |= self.draws(x)
        return kernels.apply(self.activation, x, constants)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the learned parameters on which weight decay, by their paper, does not act."""
        return {p.name for p in self.activation.parameters if p.name in self._learned and not p.weight_decay}

    def extra_repr(self) -> str:
        changed = {p.name: p.default for p in self.activation.parameters}
        fixed = [f"{name}={value:g}" for name, value in self._fixed.items() if value != changed[name]]
        learned = [f"{name} learned" for name in self._learned]
        channels = [f"num_channels={self.num_channels}"] if self.num_channels is not None else []
        return ", ".join([self.activation.name, *fixed, *learned, *channels])


def activation(
    name: str | Activation,
    *,
    num_channels: int | None = None,
    channel_dim: int = 1,
    learned: bool | Iterable[str] | None = None,
    seed: int = 0,
    **parameters: Any,
) -> ActivationLayer:
    """Return a new layer for an activation given by name, alias or declaration. Arguments as for `ActivationLayer`.

    >>> activation("gelu", approximate="tanh")
    ActivationLayer(gelu_tanh)
    >>> activation("leaky_relu", negative_slope=0.2)(torch.tensor(-1.0))
    tensor(-0.2000)
    """
    found, left = resolve(name, parameters)
    return ActivationLayer(
        found, num_channels=num_channels, channel_dim=channel_dim, learned=learned, seed=seed, **left
    )


def act_layer(name: str | Activation, **parameters: Any) -> type[nn.Module]:
    """Return a class for the `act_layer=` argument of timm's and torchvision's constructors.

    Called with or without `inplace=` (which is accepted and has no effect: what is kept for backward is decided by the
    kernels), it gives an `ActivationLayer`, so models made with it can be pickled.

    >>> act_layer("mish")(inplace=True)
    ActivationLayer(mish)
    """
    found, left = resolve(name, parameters)
    ActivationLayer(found, **left)  # wrong parameters are refused now, not when the model is built

    class ActLayer(nn.Module):
        def __new__(cls, inplace: bool = False, **more: Any) -> ActivationLayer:  # type: ignore[misc]
            return ActivationLayer(found, **(left | more))

    ActLayer.__name__ = ActLayer.__qualname__ = "".join(part.capitalize() for part in found.name.split("_"))
    return ActLayer


def parameters_without_decay(model: nn.Module) -> set[str]:
    """Return the full names of all learned activation parameters in a model on which weight decay must not act."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, ActivationLayer)
        for name in module.no_weight_decay()
    }


def _learned_names(activation: Activation, learned: bool | Iterable[str] | None) -> tuple[str, ...]:
    """Return which parameters are trained, in the order of the declaration."""
    possible = [parameter.name for parameter in activation.parameters if not parameter.drawn]
    if learned is None:
        return activation.learned
    if isinstance(learned, bool):
        return tuple(possible) if learned else ()
    names = set(learned)
    for name in names - set(possible):
        raise UnknownNameError(f"parameter of {activation.name} that can be learned", name, possible or ["none"])
    return tuple(name for name in possible if name in names)
