"""A comparison and a training made of known numbers, and an installed Chromium to look at pages with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from hillock.comparison import Comparison, Outcome, Study
from hillock.comparison.outcome import pack_bits
from hillock.randomness import numpy_generator
from hillock.training.recipe import Recipe
from hillock.training.run import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

# Final test error of each arm, before a part that seeds share (0.02) and one of each run's own (0.0005).
LEVELS = {"relu": 0.10, "gelu": 0.05, "mish": 0.1004, "silu": 0.10, "tanh": 0.2, "elu": 0.9}
SATURATED = {
    "rule": "saturated",
    "severity": "warning",
    "where": "act1",
    "explanation": "A <b>quarter</b> of all.",
}


def outcome(arm: str, seed: int) -> Outcome:
    draw = numpy_generator(seed, "report test", arm)
    own = float(draw.normal(0, 0.004 if arm == "mish" else 0.0005))
    error = LEVELS[arm] + float(numpy_generator(seed, "report test").normal(0, 0.02)) + own
    failed = arm == "elu" and seed != 0
    curve = [
        {"epoch": float(e), "test_error": error + 0.1 * (4 - e), "train_loss": 1.0 / e, "seconds": float(e)}
        for e in range(1, 2 if failed else 5)
    ]
    ill = arm == "tanh"
    return Outcome(
        arm=arm,
        seed=seed,
        recipe_digest="",
        scores={} if failed else {"test_error": error, "test_loss": 0.3},
        chance={"test_error": 0.9, "test_loss": 2.3},
        curve=tuple(curve),
        seconds=None if failed else 4.0 + own,
        images_per_second=None if failed else 1500.0,
        parameters=77_754,
        health=None if failed else {"healthy": not ill, "findings": [SATURATED] if ill else []},
        correct=pack_bits((draw.random(300) > error).astype(numpy.uint8)),
        failure="the loss was not finite at step 3" if failed else None,
    )


@pytest.fixture
def make_comparison() -> Callable[..., Comparison]:
    def make(*arms: str, seeds: int = 6, **fields: Any) -> Comparison:
        names = arms or tuple(LEVELS)
        recipe = Recipe(data="digits", network="resnet8", epochs=4)
        study = Study(arms=names, recipe=recipe, seeds=seeds, **fields)  # type: ignore[arg-type]
        outcomes = tuple(outcome(arm, seed) for arm in names for seed in range(seeds))
        facts = {
            "date": "2026-01-02T03:04:05+00:00",
            "torch": "2.13.0",
            "processor": "a <script> of silicon",
            "workers": 2,
        }
        return Comparison(study, outcomes, facts, looks=(seeds,))

    return make


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "provenance.json").write_text(json.dumps({"torch": "2.13.0", "gpu": None}))
    record = [
        {"epoch": float(e), "train_loss": 1.0 / e, "train_error": 0.5 / e, "test_loss": 1.1 / e, "test_error": 0.6 / e}
        | {"validation_error": None, "learning_rate": 0.1, "images_per_second": 1234.5, "seconds": 2.0 * e}
        for e in range(1, 5)
    ]
    return Run(folder, Recipe(data="digits", network="resnet8", epochs=4), record)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """An installed Chromium. Without one the test is skipped, or fails where HILLOCK_REQUIRE_BROWSER=1."""
    path = next((found for name in BROWSERS if (found := shutil.which(name)) is not None), None)
    if path is None:
        reason = f"needs an installed Chromium (looked for {', '.join(BROWSERS)})"
        if os.environ.get("HILLOCK_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Visit:
    """A page as a reader has it open, with all that it complained about and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Open a page at a width (1200: desktop, 390: phone) in a colour scheme, offline."""
    contexts = []

    def open_page(path: Path, *, width: int = 1200, scheme: str = "light") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        contexts.append(context)
        seen = Visit(context.new_page())
        seen.page.goto(path.resolve().as_uri())
        seen.page.wait_for_function(
            "[...document.querySelectorAll('[data-figure]')].every(f => f.querySelector('svg'))"
        )
        return seen

    yield open_page
    for context in contexts:
        context.close()
