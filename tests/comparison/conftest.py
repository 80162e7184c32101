"""A fake training that takes no time, so that the engine and the reading of results can be tested on known numbers."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hillock.comparison import Study
from hillock.training.recipe import Recipe

# As a module's text, because worker processes must be able to import it by name.
FAKE = '''
import math, os, signal, time
from hillock.comparison.outcome import pack_bits
from hillock.randomness import numpy_generator

LEVEL = {"relu": 0.10, "gelu": 0.05, "mish": 0.101, "elu": 0.10, "tanh": 0.10}

def train(recipe, folder, progress, /):
    """Scores that depend on the activation and the seed alone; a shared part makes seeds pair."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "begun").touch()
    shared = numpy_generator(recipe.seed, "fake").normal(0, 0.02)
    own = numpy_generator(recipe.seed, "fake", recipe.activation).normal(0, 0.001)
    error = LEVEL.get(recipe.activation, 0.2) + shared + own
    progress(1.0)
    curve = [{"epoch": e, "test_error": error + (recipe.epochs - e) * 0.1, "train_loss": 1.0 / e, "seconds": float(e)}
             for e in range(1, recipe.epochs + 1)]
    correct = numpy_generator(recipe.seed, "pictures", recipe.activation).random(200) > error
    result = {"scores": {"test_error": float(error), "test_loss": 0.3}, "curve": curve, "seconds": 2.0 + own,
              "parameters": 1234,
              "chance": {"test_error": 0.9, "test_loss": 2.3, "validation_error": 0.9}, "correct": pack_bits(correct),
              "health": {"healthy": recipe.activation != "tanh", "findings": [] if recipe.activation != "tanh" else
                         [{"rule": "saturated", "severity": "warning", "where": "act1", "explanation": "Too much."}]}}
    # Every activation has its own best rate: relu's is ten times the recipe's.
    rate, best = recipe.optimizer.learning_rate, {"relu": 1.0, "gelu": 0.1}.get(recipe.activation, 0.05)
    result["scores"]["validation_error"] = 0.1 + abs(math.log10(rate / best))
    if rate != 0.1:
        result["scores"]["test_error"] -= 0.01
    if recipe.activation == "elu":
        result |= {"scores": {}, "failure": "the loss was not finite at step 3", "curve": curve[:1]}
    return result

def crash(recipe, folder, progress, /):
    if recipe.activation == "gelu" and recipe.seed == 1:
        raise ZeroDivisionError("a fault of the program")
    return train(recipe, folder, progress)

def unusable(recipe, folder, progress, /):
    from hillock.errors import UsageError
    raise UsageError("a picture size of 32", got="8")

def die_once(recipe, folder, progress, /):
    """Killed in the middle of one run, as by the kernel when memory runs out; the second try succeeds."""
    if recipe.activation == "gelu" and recipe.seed == 1 and not (folder / "begun").exists():
        folder.mkdir(parents=True)
        (folder / "begun").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return train(recipe, folder, progress)

def die_always(recipe, folder, progress, /):
    os.kill(os.getpid(), signal.SIGKILL)

def slow(recipe, folder, progress, /):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"pid-{os.getpid()}").touch()
    time.sleep(60)
'''


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of fake runners, importable here and in worker processes."""
    folder = tmp_path_factory.mktemp("fake")
    (folder / "fake_training.py").write_text(textwrap.dedent(FAKE))
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("fake_training", None)
    import fake_training

    yield fake_training
    sys.modules.pop("fake_training", None)


@pytest.fixture
def make_study() -> Callable[..., Study]:
    def make(*arms: str, **fields: Any) -> Study:
        recipe = Recipe(data="digits", network="mlp2", epochs=3)
        return Study(**{"arms": arms or ("relu", "gelu", "mish"), "recipe": recipe, "seeds": 6, **fields})

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study"
