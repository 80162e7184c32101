"""Leave no trace: everything a probe may disturb is put back bit for bit.

A probe runs the network forward and backward in the middle of somebody's training. What it may disturb: the random
generators of Python, NumPy and torch (and any generator a module owns), buffers such as batch norm's running
statistics, plain attributes that modules update in `forward`, training flags, the autocast state. Gradients need no
restoring: the probe asks autograd for values (`torch.autograd.grad`) and never writes `.grad`, so gradient hooks of
optimisers and of distributed wrappers do not fire either.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import nn

from hillock.randomness import derive_seed, generator, numpy_generator

__all__ = ["untouched", "unwrapped"]


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network itself, out of `torch.compile`, `DistributedDataParallel` and `DataParallel`."""
    while True:
        wrapper = isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel))
        inner = getattr(model, "module" if wrapper else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@contextlib.contextmanager
def untouched(model: nn.Module, *, seed: int = 0) -> Iterator[None]:
    """Run a block in which `model` and every generator may be used freely; afterwards all of it is as before.

    Inside, the generators start from `seed`, so the same probe gives the same result every time; gradients are
    enabled, autocast is off (the probe measures the network in the precision of its weights) and functions compiled
    by `torch.compile` run eagerly.

    **Arguments**

    - `model`: the network, unwrapped.
    - `seed`: where the generators start inside the block.
    """
    state = _State(model)
    devices = {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} | {"cpu"}
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            for kind in sorted(devices - {"meta"}):
                stack.enter_context(torch.autocast(kind, enabled=False))
            _start_generators(seed)
            yield
    finally:
        state.restore()


def _start_generators(seed: int) -> None:
    random.seed(derive_seed(seed, "probe", "python"))
    state = numpy_generator(seed, "probe").integers(0, 2**32, 624, dtype=numpy.uint32)
    numpy.random.set_state(("MT19937", state, 624, 0, 0.0))  # noqa: NPY002 - the user's network may draw from it
    torch.set_rng_state(generator(seed, "probe").get_state())
    for index in range(torch.cuda.device_count() if _cuda_runs() else 0):
        torch.cuda.set_rng_state(generator(seed, "probe", device=f"cuda:{index}").get_state(), index)


def _cuda_runs() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


class _State:
    """Everything outside the parameters that a forward and backward pass can change."""

    def __init__(self, model: nn.Module) -> None:
        self.python = random.getstate()
        self.numpy = numpy.random.get_state()  # noqa: NPY002 - saved, never drawn from
        self.torch = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if _cuda_runs() else []
        self.modules = [_ModuleState(module) for module in model.modules()]

    def restore(self) -> None:
        for module in self.modules:
            module.restore()
        random.setstate(self.python)
        numpy.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


# The dictionaries that nn.Module keeps for itself. Buffers are saved with their contents; parameters are never written.
_OWN = ("_parameters", "_modules", "_buffers")


class _ModuleState:
    """One module's buffers and attributes: the objects, and the contents of those that can change in place."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.buffers = {name: (buffer, _content(buffer)) for name, buffer in module._buffers.items()}
        self.attributes = {
            name: (value, _content(value))
            for name, value in vars(module).items()
            if name not in _OWN and not (name.startswith("_") and name.endswith("_hooks"))
        }

    def restore(self) -> None:
        buffers = self.module._buffers
        for name in set(buffers) - set(self.buffers):
            del buffers[name]
        for name, (buffer, content) in self.buffers.items():
            buffers[name] = buffer
            _put_back(buffer, content)
        attributes = vars(self.module)
        hooks = {name for name in attributes if name.startswith("_") and name.endswith("_hooks")}
        for name in set(attributes) - set(self.attributes) - set(_OWN) - hooks:
            del attributes[name]
        for name, (value, content) in self.attributes.items():
            attributes[name] = value
            _put_back(value, content)


def _content(value: Any) -> Any:
    """Return a copy of what can change inside `value` without the object changing; None where nothing can."""
    if isinstance(value, nn.Parameter):
        return None
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, (random.Random, numpy.random.Generator, numpy.random.RandomState)):
        return copy.deepcopy(value)
    if isinstance(value, (list, dict, set, bytearray)):
        return copy.copy(value)
    if isinstance(value, numpy.ndarray):
        return value.copy()
    return None


def _put_back(value: Any, content: Any) -> None:
    if content is None:
        return
    if isinstance(value, torch.Tensor):
        # Written only when it changed: an unneeded write would raise the version counter that autograd watches.
        if value.shape != content.shape or not torch.equal(_bits(value), _bits(content)):
            with torch.no_grad():
                value.resize_(content.shape).copy_(content) if value.shape != content.shape else value.copy_(content)
    elif isinstance(value, torch.Generator):
        value.set_state(content)
    elif isinstance(value, random.Random):
        value.setstate(content.getstate())
    elif isinstance(value, numpy.random.Generator):
        value.bit_generator.state = content.bit_generator.state
    elif isinstance(value, numpy.random.RandomState):
        value.set_state(content.get_state())
    elif isinstance(value, (list, bytearray)):
        if len(value) != len(content) or any(now is not then for now, then in zip(value, content, strict=True)):
            value[:] = content
    elif isinstance(value, dict):
        if list(value) != list(content) or any(value[key] is not then for key, then in content.items()):
            value.clear()
            value.update(content)
    elif isinstance(value, set):
        if value != content:
            value.clear()
            value.update(content)
    elif isinstance(value, numpy.ndarray):
        value[...] = content


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the raw bits, so that NaN equals NaN and 0.0 differs from -0.0."""
    return tensor.detach().contiguous().flatten().view(torch.uint8) if tensor.numel() else tensor.detach().flatten()
