"""Put other activations into any model, and say what was done and what could not be seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from hillock.activations import Activation, find
from hillock.activations.catalogue import lookup
from hillock.errors import UsageError
from hillock.layers.activation_layer import ActivationLayer
from hillock.layers.recognise import recognise
from hillock.layers.unseen import Unseen, find_unseen

__all__ = ["Replaced", "ReplacementReport", "replace_activations"]

Target = str | Activation | Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Replaced:
    """One call site: its path in the model, the activation it had and the one it has."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class ReplacementReport:
    """What `replace_activations` did.

    Attributes:
        model: the model; the same object, except when it was itself an activation.
        replaced: the call sites that were changed.
        kept: (path, activation) of the call sites that the mapping did not name.
        unseen: activations that are called as functions, so no module could be replaced.
        not_traced: (path, reason) of modules in which function calls could not be looked for.
    """

    model: nn.Module
    replaced: tuple[Replaced, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    unseen: tuple[Unseen, ...] = ()
    not_traced: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        lines = [f"replaced {len(self.replaced)}, kept {len(self.kept)}, not replaceable {len(self.unseen)}"]
        lines += [f"  {one.path or 'the model'}: {one.old} -> {one.new}" for one in self.replaced]
        lines += [f"  {path}: {name} kept" for path, name in self.kept]
        lines += [
            f"  {one.path or 'the model'}: {one.name} is called as a function ({one.where})" for one in self.unseen
        ]
        lines += [
            f"  {path or 'the model'}: not looked into for function calls ({reason})"
            for path, reason in self.not_traced
        ]
        return "\n".join(lines)


def replace_activations(model: nn.Module, mapping: Mapping[str, Target]) -> ReplacementReport:
    """Replace activation modules of a model in place, by name.

    Args:
        model: any module: a network of this library, of torchvision or timm, or your own.
        mapping: old name or alias -> new name, declaration, or a function from the old module to a new one. "*" stands
            for every activation that is not named otherwise.

    A new layer takes over the old one's hooks, training mode, device and dtype. A module that is used at several places
    stays one module used at several places. Only modules can be replaced: calls such as `F.relu(x)` are listed in
    `unseen`, found by tracing with `torch.fx` where the model can be traced.

    Errors: `UnknownNameError` for a name that no activation has; `UsageError` for an aggregate such as softmax.

    >>> report = replace_activations(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), {"relu": "gelu"})
    >>> report.replaced
    (Replaced(path='1', old='relu', new='gelu'),)
    """
    targets = _checked(mapping)
    places: OrderedDict[str, nn.Module] = OrderedDict(model.named_modules(remove_duplicate=False))
    made: dict[nn.Module, nn.Module] = {}
    replaced, kept = [], []
    for path, module in places.items():
        found = recognise(module)
        if found is None:
            continue
        name = found[0].name
        target = targets.get(name, targets.get("*"))
        if target is None:
            kept.append((path, name))
            continue
        if module not in made:
            made[module] = _successor(module, target, next(model.parameters(), None))
        new = made[module]
        replaced.append(Replaced(path, name, _name(new)))
        if path:
            parent, _, attribute = path.rpartition(".")
            model.get_submodule(parent)._modules[attribute] = new
        else:
            model = new
    unseen, not_traced = find_unseen(model)
    return ReplacementReport(model, tuple(replaced), tuple(kept), unseen, not_traced)


def _checked(mapping: Mapping[str, Target]) -> dict[str, Target]:
    """Return the mapping by canonical name, with every name known and every target an activation."""
    if not mapping:
        raise UsageError("a mapping from old to new activations", got="an empty one", instead="{'relu': 'gelu'}")
    targets: dict[str, Target] = {}
    for old, new in mapping.items():
        key = old if old == "*" else lookup(old).name
        targets[key] = find(new) if isinstance(new, str) else new
    return targets


def _successor(old: nn.Module, target: Target, like: torch.Tensor | None) -> nn.Module:
    """Return the new module, with everything that was attached to the old one."""
    if isinstance(target, Activation):
        new: nn.Module = ActivationLayer(target)
    else:
        assert callable(target)
        new = target(old)
    own = next(old.parameters(), like)
    if own is not None:
        new.to(device=own.device, dtype=own.dtype if own.is_floating_point() else None)
    new.train(old.training)
    for kind in _HOOKS:
        getattr(new, kind).update(getattr(old, kind, {}))
    new._is_full_backward_hook = old._is_full_backward_hook
    return new


_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)


def _name(module: nn.Module) -> str:
    found = recognise(module)
    return found[0].name if found is not None else type(module).__name__
