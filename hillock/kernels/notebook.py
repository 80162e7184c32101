"""Recipes: how to make a tensor again from tensors that are kept anyway, and which memory holds the result of which.

    Kept(tensor)              a saved tensor and the version of its memory, checked when it is used
    Recipe(make, inputs)      a function of saved tensors
    View(recipe, geometry)    a view into what a recipe makes

`pack` and `unpack` are the pair that lean mode gives to autograd; `remember` writes a recipe down.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

__all__ = ["Kept", "Recipe", "View", "is_remade", "pack", "remember", "unpack"]

_PLAIN = frozenset({Tensor, torch.nn.Parameter, torch.nn.Buffer})


class Kept:
    """A saved tensor and the version of its memory, checked when it is used (with hooks autograd leaves that to us)."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.version = _version(tensor)

    def restore(self) -> Tensor:
        """Return the tensor, or raise as autograd does when its memory was changed in the meantime."""
        if _version(self.tensor) != self.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[{self.tensor.type()} {list(self.tensor.shape)}] is at version {_version(self.tensor)}; expected "
                f"version {self.version} instead"
            )
        return self.tensor


class Recipe:
    """How to make a tensor again, to the bit: a function of saved tensors."""

    __slots__ = ("__weakref__", "inputs", "make", "version")

    def __init__(self, make: Callable[..., Tensor], inputs: tuple[Any, ...], version: int) -> None:
        self.make = make
        self.inputs = inputs
        self.version = version

    def restore(self) -> Tensor:
        """Make the tensor again."""
        with torch.no_grad():
            return self.make(*(unpack(part) for part in self.inputs))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a tensor that is pickled or saved leaves its recipe behind


class View:
    """A view into a tensor that a recipe makes."""

    __slots__ = ("offset", "recipe", "size", "stride")

    def __init__(self, recipe: Recipe, tensor: Tensor) -> None:
        self.recipe = recipe
        self.size, self.stride, self.offset = tensor.size(), tensor.stride(), tensor.storage_offset()

    def restore(self) -> Tensor:
        """Make the tensor again and return the view into it."""
        return self.recipe.restore().as_strided(self.size, self.stride, self.offset)


class _Notebook:
    """Which memory holds the result of which recipe.

    The key is the address of the storage object. The weak storage reference keeps that address from being given to
    another storage while the entry stands; the entry goes when its recipe does.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Recipe], StorageWeakRef]] = {}

    def write(self, result: Tensor, recipe: Recipe) -> None:
        """Note the recipe of the memory in which `result` lies."""
        storage = StorageWeakRef(result.untyped_storage())  # type: ignore[no-untyped-call]
        key = storage.cdata

        def forget(_: object, entries: dict[int, Any] = self._entries) -> None:
            entries.pop(key, None)

        self._entries[key] = (weakref.ref(recipe, forget), storage)
        result._hillock_recipe = recipe  # type: ignore[attr-defined]  # alive as long as the result, or what saved it

    def read(self, tensor: Tensor) -> Recipe | None:
        """Return the recipe of the memory in which `tensor` lies, if it is unchanged since."""
        entry = self._entries.get(tensor.untyped_storage()._cdata)
        recipe = None if entry is None else entry[0]()
        return recipe if recipe is not None and _version(tensor) == recipe.version else None

    def __len__(self) -> int:
        return len(self._entries)


_notebook = _Notebook()


def remember(result: Tensor, make: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Note that `result` is `make(*inputs)`, to the bit, so that nobody needs to keep it while the inputs are kept."""
    _notebook.write(result, Recipe(make, tuple(pack(tensor) for tensor in inputs), _version(result)))


def is_remade(tensor: Tensor) -> bool:
    """Whether saving this tensor now would cost nothing, because a recipe for it is at hand."""
    return len(_notebook) > 0 and _notebook.read(tensor) is not None


def pack(tensor: Tensor) -> Kept | View | Tensor:
    """Return what stands for a tensor that autograd is about to save."""
    if type(tensor) not in _PLAIN or tensor.layout is not torch.strided or tensor.is_inference():
        return tensor
    recipe = _notebook.read(tensor)
    return Kept(tensor) if recipe is None else View(recipe, tensor)


def unpack(packed: Kept | View | Tensor) -> Tensor:
    """Return the tensor for which `packed` stands, made again if need be."""
    return packed if isinstance(packed, Tensor) else packed.restore()


def _version(tensor: Tensor) -> int:
    return tensor._version
