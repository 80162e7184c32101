"""What every network has: a name, the options it was built from, its input size, a module for each activation site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from hillock.activations import Activation, find, resolve
from hillock.errors import UsageError
from hillock.layers.activation_layer import activation as activation_layer
from hillock.layers.initialisation import initialise
from hillock.randomness import derive_seed

__all__ = ["ActivationChoice", "ActivationSites", "MaxoutSites", "Network"]

ActivationChoice = str | Activation | Callable[[], nn.Module]


class ActivationSites:
    """Makes one fresh activation module for every site of a network: called with the site's number of channels.

    Learned parameters are one a channel, as in PReLU's paper; randomised activations draw independently at every site.

    Arguments:
        choice: a catalogued name, an `Activation`, or a callable without arguments that returns a new module.
        parameters: constants of the activation, for example `{"alpha": 0.5}`; not for a callable.
        seed: of the network; fixes the draws of randomised activations.
    """

    def __init__(self, choice: ActivationChoice, parameters: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.choice, self.parameters = choice, dict(parameters or {})
        self.seed, self.made = seed, 0
        if isinstance(choice, nn.Module):
            raise UsageError(
                "a name, an Activation, or a callable that makes a new module for every site",
                got=f"one {type(choice).__name__} module",
                instead=f"lambda: {type(choice).__name__}(...)",
            )
        if isinstance(choice, str):
            find(choice)  # a misspelt name is refused here, before anything is built
        elif not isinstance(choice, Activation) and self.parameters:
            raise UsageError("no activation parameters beside a callable", got=", ".join(self.parameters))

    def __call__(self, channels: int) -> nn.Module:
        if isinstance(self.choice, str | Activation):
            self.made += 1
            seed = derive_seed(self.seed, "activation site", self.made)
            return activation_layer(self.choice, num_channels=channels, seed=seed, **self.parameters)
        return self.choice()

    @property
    def name(self) -> str:
        """The activation's name, or the class of the module that the callable makes."""
        if isinstance(self.choice, str | Activation):
            return resolve(self.choice, self.parameters)[0].name
        return type(self.choice()).__name__


class MaxoutSites(ActivationSites):
    """For networks whose nonlinearity is maxout: they have no site for another activation."""

    def __init__(self) -> None:
        self.choice, self.parameters = "maxout", {}

    def __call__(self, channels: int) -> nn.Module:
        raise AssertionError("a maxout network makes its own layers")

    @property
    def name(self) -> str:
        return "maxout"


class Network(nn.Module):
    """The base of every network here.

    Attributes:
        name, options: `network(name, **options)` builds an equal one.
        input_size: (channels, height, width) of one input picture.
        num_classes: how many outputs.
        activation: the name of the function at the activation sites.
        input_dtype: float32 for pictures, int64 for the numbers of tokens.
        default_initialisation: the scheme used when none is asked for.
    """

    default_initialisation = "he"
    input_dtype = torch.float32

    def __init__(self, *, input_size: tuple[int, ...], num_classes: int, sites: ActivationSites) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.options: dict[str, Any] = {}
        self.input_size, self.num_classes = input_size, num_classes
        self.activation = sites.name

    def initialise(self, scheme: str | None, *, sites: ActivationSites, seed: int) -> None:
        """Fill the weights by `scheme`, or by this network's own."""
        initialise(self, scheme or self.default_initialisation, gain=None, activation=sites(1), seed=seed)
