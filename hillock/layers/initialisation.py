"""How weights start: named, cited schemes that work for any activation through its gain.

Every parameter is drawn from its own generator, seeded by (seed, "initialise", the parameter's name). Two networks that
differ only in their activation therefore start from the same standard draws wherever their shapes agree, which is what
paired comparisons rest on; and adding a layer does not change the draws of the others.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hillock.activations import Activation, find, moments
from hillock.errors import UnknownNameError, UsageError
from hillock.layers.initialisation_residual import fixup, zero_gamma
from hillock.layers.local import LocallyConnected2d
from hillock.layers.recognise import recognise
from hillock.randomness import generator

__all__ = ["SCHEMES", "Fans", "Scheme", "fans", "gain_of", "initialise", "weight_layers"]

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, LocallyConnected2d)
NORMALISATIONS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


@runtime_checkable
class KnowsItsConstants(Protocol):
    """A module with start values that no random scheme sets, for example a gate's bias."""

    def initialise_constants(self) -> None: ...


@dataclass(frozen=True)
class Fans:
    """How many inputs a unit sums (`fan_in`) and how many units an input reaches (`fan_out`), groups respected."""

    fan_in: int
    fan_out: int


def fans(layer: nn.Module) -> Fans:
    """Return the fans of a linear or convolutional layer.

    >>> fans(nn.Conv2d(6, 8, 3, groups=2))
    Fans(fan_in=27, fan_out=36)
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(layer, LocallyConnected2d):  # [positions, outputs, inputs of one unit]
        return Fans(fan_in=weight.shape[2], fan_out=layer.out_channels * layer.kernel_size**2)
    window = math.prod(weight.shape[2:])
    return Fans(fan_in=weight.shape[1] * window, fan_out=weight.shape[0] // getattr(layer, "groups", 1) * window)


# The schemes: (shape, fans, gain, generator, options) -> the weight --------------------------------------------------


def _draw(shape: torch.Size, std: float, draws: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=draws) * std


def _uniform(shape: torch.Size, std: float, draws: torch.Generator) -> Tensor:
    # A uniform law on (-b, b) has standard deviation b / sqrt(3).
    return (torch.rand(shape, generator=draws) * 2 - 1) * (std * math.sqrt(3))


def normal(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator, *, std: float = 0.01) -> Tensor:
    """N(0, std²), the same in every layer. AlexNet: std 0.01 (Krizhevsky, Sutskever, Hinton 2012, section 5)."""
    return _draw(shape, std, draws)


def lecun(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """N(0, gain²/n_in) (LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp"); gain 1 unless asked for otherwise."""
    return _draw(shape, gain / math.sqrt(f.fan_in), draws)


def xavier_normal(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """N(0, 2·gain²/(n_in + n_out)) (Glorot & Bengio 2010, equation 12); gain 1 unless asked for otherwise."""
    return _draw(shape, gain * math.sqrt(2 / (f.fan_in + f.fan_out)), draws)


def xavier(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """U(±gain·sqrt(6/(n_in + n_out))) (Glorot & Bengio 2010, equation 16); gain 1 unless asked for otherwise."""
    return _uniform(shape, gain * math.sqrt(2 / (f.fan_in + f.fan_out)), draws)


def he(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """N(0, gain²/n_in): the signal keeps its size going forward (He et al. 2015, equation 10; ReLU has gain² = 2)."""
    return _draw(shape, gain / math.sqrt(f.fan_in), draws)


def he_out(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """N(0, gain²/n_out): the gradient keeps its size going backward (He et al. 2015, equation 14)."""
    return _draw(shape, gain / math.sqrt(f.fan_out), draws)


def he_uniform(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """U(±gain·sqrt(3/n_in)): the variance of `he` from a uniform law."""
    return _uniform(shape, gain / math.sqrt(f.fan_in), draws)


def orthogonal(shape: torch.Size, f: Fans, gain: float, draws: torch.Generator) -> Tensor:
    """gain times a matrix with orthonormal rows or columns, whichever are fewer (Saxe, McClelland, Ganguli 2014).

    A convolution's kernel is flattened to (outputs, inputs · window). Q of a QR decomposition with the signs of R's
    diagonal moved into it is uniform over the orthogonal matrices (Mezzadri 2007).
    """
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns), generator=draws))
    q = q * r.diagonal().sign()
    weight: Tensor = (q if rows >= columns else q.T).reshape(shape)
    return gain * weight


@dataclass(frozen=True)
class Scheme:
    """One way to fill the weights.

    fill: draws one layer's weight from (shape, fans, gain, generator). uses_gain: scale by the activation's gain unless
    told otherwise, else by 1. adjust: what the scheme does to the whole model afterwards.
    """

    name: str
    fill: Callable[..., Tensor]
    uses_gain: bool
    adjust: Callable[[nn.Module], None] | None = None


def weight_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, layer) for every linear and convolutional layer, in the order of definition."""
    for name, module in model.named_modules():
        if isinstance(module, WEIGHT_LAYERS):
            yield name, module


def _alexnet_biases(model: nn.Module) -> None:
    """1 in the second, fourth and fifth convolution and in every hidden linear layer, 0 elsewhere (section 5)."""
    layers = [layer for _, layer in weight_layers(model)]
    convolutions = [layer for layer in layers if not isinstance(layer, nn.Linear)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for layer in [convolutions[index] for index in (1, 3, 4) if index < len(convolutions)] + linear[:-1]:
        if isinstance(layer.bias, Tensor):
            nn.init.ones_(layer.bias)


def _alexnet_source(model: nn.Module) -> None:
    """As the paper, but conv3 to conv5 with standard deviation 0.03 (layers-145.cfg of the 2012 program)."""
    _alexnet_biases(model)
    convolutions = [layer for _, layer in weight_layers(model) if not isinstance(layer, nn.Linear)]
    for layer in convolutions[2:5]:
        assert isinstance(layer.weight, Tensor)
        layer.weight.mul_(3)


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("normal", normal, uses_gain=False),
        Scheme("lecun", lecun, uses_gain=False),
        Scheme("xavier", xavier, uses_gain=False),
        Scheme("xavier_normal", xavier_normal, uses_gain=False),
        Scheme("he", he, uses_gain=True),
        Scheme("he_out", he_out, uses_gain=True),
        Scheme("he_uniform", he_uniform, uses_gain=True),
        Scheme("orthogonal", orthogonal, uses_gain=True),
        Scheme("he_zero_gamma", he, uses_gain=True, adjust=zero_gamma),
        Scheme("fixup", he, uses_gain=True, adjust=fixup),
        Scheme("alexnet", normal, uses_gain=False, adjust=_alexnet_biases),
        Scheme("alexnet_source", normal, uses_gain=False, adjust=_alexnet_source),
    )
}


def gain_of(activation: str | Activation | nn.Module, **parameters: float) -> float:
    """Return 1/sqrt(E[φ(z)²]) for z ~ N(0, 1): of a catalogued activation, or of any module that acts elementwise.

    >>> round(gain_of("relu") ** 2, 6)
    2.0
    """
    if isinstance(activation, nn.Module):
        known = recognise(activation)
        if known is None:
            return _measured_gain(activation)
        # Learned parameters count as they are now, those of a channel by their mean; on the meta device by default.
        activation, values = known
        parameters = {
            name: float(value.detach().mean()) if isinstance(value, Tensor) else value
            for name, value in values.items()
            if not (isinstance(value, Tensor) and value.is_meta)
        }
    return moments.gain(find(activation), **parameters)


def _measured_gain(module: nn.Module) -> float:
    """Midpoint rule over z in ±8 (the tail beyond holds 1e-15 of the mass) with 2^14 points: kinks cost 1e-7."""
    z = (torch.arange(2**14, dtype=torch.float64) + 0.5) / 2**14 * 16 - 8
    with torch.no_grad():
        value = module(z.float().reshape(-1, 1)).double().reshape(-1)
    if value.shape != z.shape:
        raise UsageError(
            "an activation that acts elementwise, to compute its gain",
            got=type(module).__name__,
            instead="giving gain= a number",
        )
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float(1 / torch.sqrt((value**2 * density).sum() * (16 / 2**14)))


@torch.no_grad()
def initialise(
    model: nn.Module,
    scheme: str = "he",
    *,
    activation: str | Activation | nn.Module = "relu",
    seed: int = 0,
    gain: float | None = None,
    **options: float,
) -> None:
    """Fill every linear and convolutional weight by `scheme`, set their biases to 0 and normalisations to (1, 0).

    Arguments:
        model: any network; parameters of other kinds of layers stay as they are.
        scheme: a name in `SCHEMES`.
        activation: what follows the layers; its gain scales the schemes that use one.
        seed: with a parameter's name it fixes that parameter's draws; no global generator is read or moved.
        gain: use this number in place of the scheme's own: the activation's gain or 1; and 1 in the first layer of a
            model, whose inputs have not been through an activation (He et al. 2015, below equation 10).
        options: what the scheme itself takes, for example `std=0.01` for "normal".

    Raises `UnknownNameError` for an unknown scheme and `UsageError` for an option the scheme does not take.

    >>> layer = nn.Linear(400, 300)
    >>> initialise(layer, "he", activation="relu", seed=1)
    >>> round(float(layer.weight.detach().std() * 200**0.5), 2)
    1.0
    """
    chosen = _scheme(scheme, options)
    given = gain
    if gain is None:
        gain = gain_of(activation) if chosen.uses_gain else 1.0
    if not math.isfinite(gain):
        raise UsageError(
            "an activation that is not 0 everywhere, to scale the weights by its gain", got=str(activation)
        )
    first = next((name for name, _ in weight_layers(model)), "")
    for name, module in model.named_modules():
        if isinstance(module, WEIGHT_LAYERS):
            draws = generator(seed, "initialise", f"{name}.weight" if name else "weight")
            layer_gain = 1.0 if given is None and name and name == first else gain
            fill_weight(module, lambda shape, f, g=layer_gain, d=draws: chosen.fill(shape, f, g, d, **options))  # type: ignore[misc]
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            # N(0, 1), so that what an embedding feeds has the size that the schemes assume of a layer's input.
            if not module.weight.is_meta:
                draws = generator(seed, "initialise", f"{name}.weight")
                module.weight.copy_(torch.randn(module.weight.shape, generator=draws))
        elif isinstance(module, NORMALISATIONS):
            module.reset_parameters()
    for module in model.modules():  # after every bias is zero: modules that know their own constants set them
        if isinstance(module, KnowsItsConstants):
            module.initialise_constants()
    if chosen.adjust is not None:
        chosen.adjust(model)


def fill_weight(layer: nn.Module, fill: Callable[[torch.Size, Fans], Tensor]) -> None:
    """Give a layer the weight that `fill` draws, through its parametrisation (weight norm) if it has one."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if weight.is_meta:
        return
    drawn = fill(weight.shape, fans(layer)).to(weight)
    if isinstance(weight, nn.Parameter):
        weight.copy_(drawn)
    else:
        layer.weight = drawn


def _scheme(name: str, options: dict[str, float]) -> Scheme:
    if name not in SCHEMES:
        raise UnknownNameError("initialisation scheme", name, SCHEMES)
    taken = [p.name for p in inspect.signature(SCHEMES[name].fill).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in taken:
            offered = f"one of {', '.join(taken)}" if taken else "no option"
            raise UsageError(f"{offered} for the scheme {name!r}", got=repr(option))
    return SCHEMES[name]
