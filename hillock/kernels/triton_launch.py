"""Starting a Triton kernel on the device where its tensors are. Import only where Triton is."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

__all__ = ["launch"]


def launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *others: Any, **constants: Any) -> None:
    """Run `kernel` once for every place of the grid, on the device of its first argument.

    Triton itself takes the current device, which is another one where a network lives on the second GPU.
    """
    with torch.cuda.device(first.device) if first.is_cuda else contextlib.nullcontext():
        kernel[grid](first, *others, **constants)
