"""What the page on adding an activation says is done, word for word: one declaration in one file, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

USE_IT = """
import sys
import torch
import hillock
from hillock.activations import find, moments
from hillock.activations.facts import facts

new = find("tanh_exp")
x = torch.linspace(-4, 4, 101, dtype=torch.float64)
assert torch.allclose(hillock.functional.tanh_exp(x), x * torch.tanh(torch.exp(x)))
assert hillock.activation("tanh_exp")(x).shape == x.shape
assert isinstance(hillock.act_layer("TanhExp")(inplace=True), torch.nn.Module)
assert 1 < hillock.gain("tanh_exp") < 2
assert facts(new)["source"].startswith("Liu")
sys.path.insert(0, sys.argv[1])
import laws
for dtype in (torch.float64, torch.float32):
    for order in (0, 1):
        laws.agreement_law(new, order, dtype)
for law in (laws.special_values_law, laws.kink_law, laws.traits_law, laws.moments_law):
    law(new)
print("done")
"""


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding-an-activation.md").read_text(), flags=re.DOTALL)


def test_one_declaration_in_one_file_is_enough(tmp_path: Path) -> None:
    copied = tmp_path / "hillock"
    shutil.copytree(ROOT / "hillock", copied, ignore=shutil.ignore_patterns("__pycache__"))
    family = copied / "activations" / "gated.py"
    text = family.read_text()
    declaration = python_blocks()[0]
    before, listed = text.rsplit("\nACTIVATIONS = (", 1)
    imports = "from hillock.activations.parts import Source\nfrom hillock.activations.stable import sech_squared\n"
    before = before.replace("\nINFINITY", f"\n{imports}\nINFINITY", 1)
    family.write_text(f"{before}\n{declaration}\nACTIVATIONS = (TANH_EXP, {listed}")
    done = subprocess.run(
        [sys.executable, "-c", USE_IT, str(ROOT / "tests" / "laws")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "done", done.stderr


def test_the_formula_alone_works_as_the_page_says() -> None:
    import hillock

    scope: dict[str, object] = {"hillock": hillock}
    exec(python_blocks()[1], scope)
    assert isinstance(scope["tanh_exp"], hillock.Activation)
