"""Imports point one way, cost nothing, and leave no trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Run in a fresh process: import every module and report what changed in the process.
IMPORT_EVERYTHING = """
import json, os, pkgutil, random, sys, threading, warnings
import numpy, torch
import scipy.stats, sympy, sklearn.datasets, pydantic, rich.progress, typer  # what they change is theirs

def state():
    return {
        "torch generator": torch.get_rng_state().sum().item(),
        "numpy generator": str(numpy.random.get_state()[1][:4]),
        "python generator": hash(random.getstate()),
        "torch threads": torch.get_num_threads(),
        "threads": threading.active_count(),
        "environment": hash(tuple(sorted(os.environ.items()))),
        "default dtype": str(torch.get_default_dtype()),
        "grad mode": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "working folder": os.getcwd(),
        "warning filters": len(warnings.filters),
    }

before = state()
import hillock
import importlib
skipped = []
for module in pkgutil.walk_packages(hillock.__path__, "hillock."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hillock"):
            raise
        skipped.append((module.name, error.name))
after = state()
print(json.dumps({"changed": [name for name in before if before[name] != after[name]], "skipped": skipped}))
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tree_is_the_data_flow() -> None:
    """The layers contract of pyproject.toml, with every package in it."""
    tool = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([tool, "--no-cache"], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_an_upward_import_is_caught(tmp_path: Path) -> None:
    """The contract bites: a copy in which the errors import the command line is refused."""
    import shutil

    shutil.copytree(ROOT / "hillock", tmp_path / "hillock", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    errors = tmp_path / "hillock" / "errors.py"
    errors.write_text(errors.read_text() + "\nfrom hillock.cli import door\n")
    tool = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [tool, "--no-cache"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert done.returncode != 0
    assert "hillock.errors -> hillock.cli" in done.stdout


def test_importing_every_module_changes_nothing_in_the_process() -> None:
    """Extras that are not installed may be missing; anything else must import."""
    report = json.loads(run(IMPORT_EVERYTHING).splitlines()[-1])
    assert report["changed"] == []
    extras = {"ray", "tensorboard", "onnx", "onnxscript", "onnxruntime", "timm", "torchvision", "triton"}
    assert {missing.split(".")[0] for _, missing in report["skipped"]} <= extras


def test_import_hillock_waits_for_nothing() -> None:
    heavy = run("import sys, hillock; print([n for n in ('torch', 'numpy', 'sympy', 'scipy') if n in sys.modules])")
    assert heavy.strip() == "[]"
