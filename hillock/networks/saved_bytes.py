"""What the forward pass keeps for the backward pass, measured: one run, with a look at everything autograd saves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from hillock.kernels import lean as lean_mode
from hillock.kernels.notebook import Kept, View, pack, unpack

__all__ = ["saved_bytes"]


def saved_bytes(model: nn.Module, inputs: Tensor, *, lean: bool = False) -> dict[str, int]:
    """Return the bytes that a training forward pass on `inputs` keeps, by the layer that caused each to be kept.

    Every piece of memory counts once, with the layer that first saves it; parameters and buffers do not count, the
    input does. Layers are those without children; "" is what runs outside of them. In lean mode what is kept in
    place of a tensor counts, with the layer that would have saved the tensor. The model, its mode, its buffers and the
    global random generator are left as they were.

    >>> layers = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid(), nn.Linear(20, 5))
    >>> saved_bytes(layers, torch.ones(3, 10))
    {'0': 120, '1': 240}
    """
    own = {_key(tensor) for tensor in (*model.parameters(), *model.buffers())}
    seen: set[tuple[int, int]] = set()
    found: dict[str, int] = {}
    alive: list[Any] = []  # an address is one piece of memory only while it is alive
    running: list[str] = [""]

    def note(packed: Any) -> None:
        if isinstance(packed, View):
            for part in packed.recipe.inputs:
                note(part)
            return
        tensor = packed.tensor if isinstance(packed, Kept) else packed
        key = _key(tensor)
        if key not in own and key not in seen:
            seen.add(key)
            found[running[-1]] = found.get(running[-1], 0) + tensor.untyped_storage().nbytes()

    def keep(tensor: Tensor) -> Any:
        packed = pack(tensor) if lean else tensor
        note(packed)
        alive.append(packed)
        return packed

    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    own |= {_key(buffer) for buffer in buffers.values()}
    with _as_training(model), _layers_noted(model, running), torch.random.fork_rng(), torch.enable_grad():
        mode = lean_mode() if lean else contextlib.nullcontext()
        with mode, saved_tensors_hooks(keep, unpack):
            output = functional_call(model, buffers, (inputs,))
    del output
    return found


def _key(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


@contextlib.contextmanager
def _as_training(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    needs = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.train()
    for parameter, _ in needs:
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, needed in needs:
            parameter.requires_grad_(needed)


@contextlib.contextmanager
def _layers_noted(model: nn.Module, running: list[str]) -> Iterator[None]:
    hooks = []
    for name, module in model.named_modules():
        if not any(True for _ in module.children()) or type(module).__name__ == "ActivationLayer":
            hooks.append(module.register_forward_pre_hook(lambda module, given, name=name: running.append(name)))
            hooks.append(
                module.register_forward_hook(lambda module, given, output: running.pop() and None, always_call=True)
            )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
