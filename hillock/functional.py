"""Every activation as a plain function: `hillock.functional.mish(x)`, parameters as keywords.

The pointwise functions are made from the catalogue on first use, one for each canonical name and alias; nothing is
written twice. The aggregates that need no weights (glu and its kin, maxout, crelu, softmax, log_softmax) are here too.

>>> import torch
>>> leaky_relu(torch.tensor([-1.0, 2.0]), negative_slope=0.5)
tensor([-0.5000,  2.0000])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from hillock import kernels
from hillock.activations import Activation, Card, resolve
from hillock.activations import catalogue as _catalogue
from hillock.activations.catalogue import lookup
from hillock.errors import UnknownNameError
from hillock.layers.crelu import crelu
from hillock.layers.gate import bilinear, geglu, glu, gtu, reglu, swiglu
from hillock.layers.maxout import maxout
from hillock.layers.softmax import log_softmax, softmax

__all__ = ["bilinear", "crelu", "geglu", "glu", "gtu", "log_softmax", "maxout", "reglu", "softmax", "swiglu"]


def __getattr__(name: str) -> Callable[..., Tensor]:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        entry = lookup(name)
    except UnknownNameError as error:
        raise AttributeError(str(error)) from None
    if isinstance(entry, Card):
        raise AttributeError(f"{name} is a layer with weights, not a plain function; use {entry.layer}")
    function = _function(entry)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name, entry in _catalogue().items() if isinstance(entry, Activation))})


def _function(activation: Activation) -> Callable[..., Tensor]:
    """Return the plain function of one declaration, with its parameters in its signature and its card as docstring."""
    plain = kernels.settled(activation, activation.constants())

    def with_parameters(x: Tensor, **parameters: Any) -> Tensor:
        if not parameters:
            return plain(x)
        found, left = resolve(activation, parameters)
        tensors = {name: value for name, value in left.items() if isinstance(value, Tensor)}
        numbers = found.constants(**{name: value for name, value in left.items() if name not in tensors})
        if unknown := tensors.keys() - numbers.keys():
            raise UnknownNameError(f"parameter of {found.name}", unknown.pop(), numbers or ["no parameter at all"])
        return kernels.apply(found, x, {**numbers, **tensors})

    function = with_parameters if activation.parameters or activation.variants else plain
    kind = inspect.Parameter.KEYWORD_ONLY
    function.__name__ = function.__qualname__ = activation.name
    function.__doc__ = "\n\n".join(
        [
            f"Return {activation.name}(x) = {activation.formula}, element by element.",
            *activation.remarks,
            f"Source: {activation.source.text}" if activation.source else "",
        ]
    ).rstrip()
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(inspect.Parameter(p.name, kind, default=p.default) for p in activation.parameters),
        ]
    )
    return function
