"""Lean mode: what can be recomputed from what is kept anyway is not kept.

A convolution or linear layer keeps its input, for the gradient of its weight. That input is usually the output of an
activation, φ(b), while the activation keeps b; and b is usually the output of a normalisation, which keeps *its* input.
So a block conv-norm-act-conv keeps four maps where two determine everything:

    x ── conv ── h ── norm ── b ── act ── y ── conv          kept: x  h  b  y     lean: x  h

Lean mode watches normalisations and activations as they are called and notes, for the memory their result lies in, a
*recipe*: the function and its packed inputs. When autograd is about to save a tensor that lies in such memory,
unchanged since, it is given the recipe instead, whatever operation asks and for whatever activation. Backward makes it
again with the same kernel from the same bits, so every gradient is identical to the bit. The price is one pass over
memory.

    recipe of y = (φ, recipe of b);  recipe of b = (norm, h and its statistics)

The recipe lives as long as its result or something saved from it; the notebook holds it weakly. Compiled code is left
alone: inside `torch.compile` the partitioner makes this choice, see `activation_memory_budget` in
`torch._functorch.config`.
"""

from __future__ import annotations

from contextlib import ContextDecorator, ExitStack
from types import TracebackType
from typing import Self

import torch
from torch.autograd.graph import saved_tensors_hooks

from hillock.kernels.notebook import pack, unpack
from hillock.kernels.watch import Watch

__all__ = ["lean"]


class lean(ContextDecorator):
    """Keep the least for backward: recompute activation and normalisation outputs that another layer would save.

    Use it around the forward pass (`with hillock.lean(): loss = criterion(model(x), y)`), or as a decorator. Backward
    may run inside or outside. Gradients are identical to the bit; a normalised convolution block keeps 2 maps instead
    of 4, a perceptron block with a fourfold hidden layer 5 instead of 9 or 10.

    Higher derivatives work as without it. A tensor that is changed in place between forward and backward raises, as
    autograd itself does. Under `torch.func` transforms, which refuse saved-tensor hooks, leave it off.

    Example:
        >>> import torch
        >>> layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.SiLU(), torch.nn.Linear(8, 2))
        >>> with lean():
        ...     loss = layers(torch.ones(3, 4)).sum()
        >>> loss.backward()  # the output of SiLU was not kept: it is made again here
    """

    def __init__(self) -> None:
        self._stacks: list[ExitStack] = []

    def __enter__(self) -> Self:
        stack = ExitStack()
        self._stacks.append(stack)
        if torch.compiler.is_compiling():
            return self
        stack.enter_context(saved_tensors_hooks(pack, unpack))
        stack.enter_context(Watch())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stacks.pop().close()
