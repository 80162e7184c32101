"""The laws as a fixture, and the whole catalogue as the subjects of every test that takes `activation`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    path = Path(__file__).with_name("laws.py")
    specification = importlib.util.spec_from_file_location("activation_laws", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["activation_laws"] = module
    specification.loader.exec_module(module)
    return module


_LAWS = _load()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `activation` runs for every pointwise function of the catalogue."""
    if "activation" in metafunc.fixturenames:
        metafunc.parametrize("activation", _LAWS.POINTWISE, ids=str)


@pytest.fixture(scope="session")
def laws() -> ModuleType:
    return _LAWS
