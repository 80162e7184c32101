"""`hillock` as a caller sees it: complete, sorted, and every name explained."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types

import pytest

import hillock

# The public contract: what others build on.
CONTRACT = {
    "Activation",
    "Comparison",
    "Diagnosis",
    "Finding",
    "HillockError",
    "Recipe",
    "Run",
    "Study",
    "act_layer",
    "activation",
    "catalogue",
    "compare",
    "diagnose",
    "functional",
    "gain",
    "lean",
    "network",
    "replace_activations",
    "summarise",
    "train",
    "watch",
}


def test_all_is_sorted_and_is_what_is_visible() -> None:
    assert hillock.__all__ == sorted(set(hillock.__all__))
    assert dir(hillock) == hillock.__all__
    for name in hillock.__all__:
        assert getattr(hillock, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        hillock.no_such_name  # noqa: B018


def test_the_public_contract_is_there() -> None:
    assert set(hillock.__all__) >= CONTRACT


@pytest.mark.parametrize("name", hillock.__all__)
def test_every_public_name_is_explained(name: str) -> None:
    """A sentence for everything, and for functions and classes that are no errors an example or a source as well."""
    thing = getattr(hillock, name)
    text = inspect.getdoc(thing) or ""
    assert text.strip(), f"hillock.{name} has no docstring"
    assert text.splitlines()[0].rstrip().endswith((".", ":")), (
        f"the docstring of hillock.{name} begins without a sentence"
    )
    if isinstance(thing, types.ModuleType) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return
    assert ">>>" in text or "Source" in text, f"the docstring of hillock.{name} has neither example nor source"


def modules() -> list[str]:
    return [
        module.name for module in pkgutil.walk_packages(hillock.__path__, "hillock.") if "__main__" not in module.name
    ]


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_and_what_it_offers(name: str) -> None:
    """A module's docstring; `__all__` sorted (or grouped on purpose), real, and every name in it documented."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hillock"):
            raise
        pytest.skip(f"needs the extra package {error.name}")
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for public in getattr(module, "__all__", ()):
        thing = getattr(module, public)
        if inspect.isroutine(thing) or inspect.isclass(thing):
            assert (inspect.getdoc(thing) or "").strip(), f"{name}.{public} has no docstring"
