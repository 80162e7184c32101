"""Layers without drawn weights: construction that moves no global random generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["undrawn"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def undrawn(module_class: Callable[..., ModuleT], *arguments: Any, **options: Any) -> ModuleT:
    """Construct a layer without drawing its weights, so that no global random generator is moved.

    The memory is allocated and left as it is; `initialise` fills it.
    """
    device = torch.get_default_device()
    with torch.device("meta"):
        module = module_class(*arguments, **options)
    return module.to_empty(device=device)
