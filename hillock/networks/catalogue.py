"""Every network by name: `network("resnet20", activation="gelu")`.

A family of names is one line of the table `FAMILIES`: a stem such as `resnet`, the depths it comes in, and the function
that builds it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hillock.errors import UnknownNameError, UsageError
from hillock.networks.alexnet import AlexNet
from hillock.networks.base import ActivationChoice, ActivationSites, MaxoutSites, Network
from hillock.networks.fast_cifar import FastCifar
from hillock.networks.four_layer import FourLayerNet
from hillock.networks.gated_conv import GatedConvNet
from hillock.networks.maxout_net import MaxoutNet
from hillock.networks.perceptron import Perceptron
from hillock.networks.resnet import IMAGENET_UNITS, ResNet, cifar_layout, imagenet_layout
from hillock.networks.self_normalising import SelfNormalisingNet

__all__ = ["FAMILIES", "Family", "names", "network"]

CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110, 164, 1001, 1202)


@dataclass(frozen=True)
class Family:
    """One family of networks.

    stem: the name without its number. build: (depth | None, common arguments, options) -> network.
    steps: the callables whose keyword-only arguments are the family's options, except those that are `fixed`.
    depths: the depths listed in `names`; others may work. image_size: pixels a side when none is given.
    bare: whether the stem alone is a name. fixed: options that the family's name decides.
    activation: the one the paper used.
    """

    stem: str
    build: Callable[..., Network]
    steps: tuple[Callable[..., Any], ...]
    depths: tuple[int, ...] = ()
    image_size: int = 32
    bare: bool = False
    fixed: tuple[str, ...] = ()
    activation: str = "relu"


def _perceptron(network_class: type[Perceptron | SelfNormalisingNet]) -> Callable[..., Network]:
    def build(depth: int | None, **options: Any) -> Network:
        if depth is not None and options.setdefault("depth", depth) != depth:
            raise UsageError(f"the depth once, as {depth} in the name", got=f"depth={options['depth']} as well")
        return network_class(**options)

    return build


def _resnet(depth: int, *, width: int | None = None, block: str = "auto", **options: Any) -> Network:
    if depth in IMAGENET_UNITS and block == "auto":
        layout = imagenet_layout(depth, width=width or 64)
    else:
        layout = cifar_layout(depth, block=block, width=width or 16)
    # Option A where the first paper uses it: CIFAR networks of basic units. B, projections, elsewhere.
    options.setdefault("fit", "B" if layout.imagenet_stem or layout.bottleneck else "A")
    return ResNet(layout, **options)


def _preresnet(depth: int, *, order: str = "preactivation", **options: Any) -> Network:
    return _resnet(depth, order=order, **options)


def _plain(depth: int, **options: Any) -> Network:
    return _resnet(depth, join=None, **options)


def _pictures(network_class: Callable[..., Network]) -> Callable[..., Network]:
    return lambda depth, **options: network_class(**options)


def _maxout(convolutional: bool) -> Callable[..., Network]:
    return lambda depth, **options: MaxoutNet(convolutional, **options)


def _alexnet(design: str) -> Callable[..., Network]:
    return lambda depth, **options: AlexNet(design, **options)


def _gated(layout: str) -> Callable[..., Network]:
    return lambda depth, **options: GatedConvNet(layout, **options)


IMAGENET_DEPTHS = tuple(IMAGENET_UNITS)
FAMILIES: tuple[Family, ...] = (
    Family("mlp", _perceptron(Perceptron), (Perceptron,), (2, 3, 5, 10, 20), 28, bare=True),
    Family("resnet", _resnet, (_resnet, ResNet), CIFAR_DEPTHS + IMAGENET_DEPTHS),
    Family("plain", _plain, (_resnet, ResNet), (8, 14, 20, 32, 44, 56, 110, 18, 34), fixed=("join", "fit")),
    Family("preresnet", _preresnet, (_resnet, ResNet), CIFAR_DEPTHS + IMAGENET_DEPTHS),
    Family("fast_cifar", _pictures(FastCifar), (FastCifar,), bare=True, activation="gelu"),
    Family("four_layer", _pictures(FourLayerNet), (FourLayerNet,), bare=True),
    Family(
        "selu", _perceptron(SelfNormalisingNet), (SelfNormalisingNet,), (8, 16, 32), 28, bare=True, activation="selu"
    ),
    Family("maxout", _maxout(False), (MaxoutNet,), (), 28, bare=True, activation="maxout"),
    Family("maxout_conv", _maxout(True), (MaxoutNet,), bare=True, activation="maxout"),
    Family("gcnn8", _gated("8"), (GatedConvNet,), bare=True, activation="sigmoid"),
    Family("gcnn13", _gated("13"), (GatedConvNet,), bare=True, activation="sigmoid"),
    Family("gcnn14", _gated("14"), (GatedConvNet,), bare=True, activation="sigmoid"),
    Family("gcnn14b", _gated("14b"), (GatedConvNet,), bare=True, activation="sigmoid"),
    Family("alexnet", _alexnet("paper"), (AlexNet,), (), 227, bare=True),
    Family("alexnet_source", _alexnet("source"), (AlexNet,), (), 224, bare=True),
    Family("alexnet_ungrouped", _alexnet("ungrouped"), (AlexNet,), (), 227, bare=True),
    Family("alexnet_half", _alexnet("half"), (AlexNet,), (), 227, bare=True),
    Family("alexnet_torchvision", _alexnet("torchvision"), (AlexNet,), (), 224, bare=True),
    Family("alexnet_slim", _alexnet("slim"), (AlexNet,), (), 224, bare=True),
)


def _papers_side(family: Family, depth: int | None, options: Mapping[str, Any]) -> int:
    """Return the side of the paper's pictures: ImageNet's residual networks share their families with CIFAR's."""
    imagenet = depth in IMAGENET_UNITS and _resnet in family.steps and options.get("block", "auto") == "auto"
    return 224 if imagenet else family.image_size


def names() -> list[str]:
    """Return the names of networks, in the order of the families and by depth. Depths between those listed work too.

    >>> "resnet20" in names() and "mlp" in names()
    True
    """
    listed = []
    for family in FAMILIES:
        listed += [family.stem] if family.bare else []
        listed += [f"{family.stem}{depth}" for depth in sorted(family.depths)]
    return listed


def network(
    name: str,
    *,
    activation: ActivationChoice | None = None,
    num_classes: int = 10,
    input_channels: int = 3,
    image_size: int | None = None,
    initialisation: str | None = None,
    seed: int = 0,
    activation_parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Network:
    """Build a network by name.

    Arguments:
        name: one of `names()`; the number is the depth, so `mlp7` or `resnet26` work as well.
        activation: a catalogued name, an `Activation`, or a callable that makes a new module for every site (default:
            the paper's, ReLU for most).
        num_classes: outputs; the vocabulary of a "gcnn".
        input_channels, image_size: of the pictures (default size: what the paper used). A "gcnn" reads `image_size`
            tokens and has no channels.
        initialisation: a scheme of `hillock.layers.initialisation` (default: the network's own, "he" for most).
        seed: fixes the initial weights; the same seed gives networks that differ only in activation the same draws.
        activation_parameters: constants of the activation, for example `{"alpha": 0.5}`.
        options: what the family takes, for example `depth=` and `width=` for "mlp", `fit="B"` for ResNets.

    Raises `UnknownNameError` for an unknown name or option, with the near misses.

    >>> net = network("resnet20", activation="gelu")
    >>> sum(parameter.numel() for parameter in net.parameters())
    269722
    >>> net.input_size
    (3, 32, 32)
    """
    family, depth = _family(name)
    activation = family.activation if activation is None else activation
    sites = _sites(name, family, activation, activation_parameters, seed)
    if num_classes < 1 or input_channels < 1 or (image_size is not None and image_size < 1):
        got = f"{num_classes} classes, {input_channels} channels, image size {image_size}"
        raise UsageError("at least one class, one channel and one pixel", got=got)
    side = image_size or _papers_side(family, depth, options)
    size = (input_channels, side, side)
    _check_options(name, family, options)
    built = family.build(depth, sites=sites, num_classes=num_classes, input_size=size, **options)
    built.name = name
    built.options = {
        "activation": activation,
        "num_classes": num_classes,
        "input_channels": input_channels,
        "image_size": side,
        "initialisation": initialisation,
        "seed": seed,
        "activation_parameters": dict(activation_parameters or {}),
        **options,
    }
    built.initialise(initialisation, sites=sites, seed=seed)
    return built


def _sites(
    name: str, family: Family, activation: ActivationChoice, parameters: Mapping[str, Any] | None, seed: int
) -> ActivationSites:
    if family.activation != "maxout":
        return ActivationSites(activation, parameters, seed)
    if activation != "maxout" or parameters:
        raise UsageError(f"no activation but maxout for {name}", got=str(activation), instead='activation="maxout"')
    return MaxoutSites()


def _family(name: str) -> tuple[Family, int | None]:
    for family in FAMILIES:
        if family.bare and name == family.stem:
            return family, None
        match = re.fullmatch(rf"{family.stem}([1-9]\d*)", name)
        if match and family.depths:
            return family, int(match[1])
    raise UnknownNameError("network", name, names())


def _check_options(name: str, family: Family, options: Mapping[str, Any]) -> None:
    """Refuse an option that no step of the family's construction takes."""
    supplied = {"sites", "num_classes", "input_size", *family.fixed}
    taken: set[str] = set()
    for step in family.steps:
        taken |= {p.name for p in inspect.signature(step).parameters.values() if p.kind is p.KEYWORD_ONLY}
    for option in options:
        if option not in taken - supplied:
            raise UnknownNameError(f"option of {name}", option, taken - supplied)
