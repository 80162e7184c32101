"""Launches the generated Triton kernels: forward and backward of any pointwise declaration, on any dense layout.

Used for CUDA tensors where Triton is installed. `TRITON_INTERPRET=1` (set before the first import of triton) runs the
same kernels on CPU tensors, slowly; that is how they are tested without a GPU.
"""

from __future__ import annotations

import functools
import importlib.util
import linecache
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hillock.kernels.triton_source import module_source

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["available", "backward", "forward"]

BLOCK = 1024
"""Elements a program: 8 KiB of float64 over 4 warps. Not tuned: no GPU was at hand when this was written."""


@functools.cache
def available() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def forward(activation: Activation, x: Tensor, constants: Mapping[str, float]) -> Tensor:
    """Return φ(x), in the dtype and dense layout of x."""
    y = torch.empty_like(x)
    _launch(_module(activation, tuple(constants.items())).forward, y, x)
    return y


def backward(activation: Activation, gradient: Tensor, x: Tensor, constants: Mapping[str, float]) -> Tensor:
    """Return gradient · φ'(x), rounded once, in the dtype and dense layout of x."""
    y = torch.empty_like(x)
    _launch(_module(activation, tuple(constants.items())).backward, y, gradient, x)
    return y


def _launch(kernel: Any, result: Tensor, *inputs: Tensor) -> None:
    from hillock.kernels.triton_launch import launch  # imports Triton

    count = result.numel()
    if count == 0:
        return
    flat = [_like(tensor, result) for tensor in inputs]
    launch(kernel, (-(-count // BLOCK),), *flat, result, count, BLOCK=BLOCK)


def _like(tensor: Tensor, result: Tensor) -> Tensor:
    """Return a tensor with the memory order of `result`, so that both can be walked as one dimension."""
    tensor = tensor.detach()
    return tensor if tensor.stride() == result.stride() else torch.empty_like(result, dtype=tensor.dtype).copy_(tensor)


@functools.cache
def _module(activation: Activation, constants: tuple[tuple[str, float], ...]) -> types.ModuleType:
    """Return the generated module; its source is put where Triton, which reads it back, finds it."""
    source = module_source(activation, dict(constants))
    place = f"<hillock triton {activation.name} {constants}>"
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
    module = types.ModuleType(f"hillock_triton_{activation.name}")
    exec(compile(source, place, "exec"), module.__dict__)  # the text is ours, made from the declaration
    return module
