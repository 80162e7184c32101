"""Run three packages from PyPI on the fault library: torchmortem 0.1.1, torch-audit 0.3.0, torchdiag 0.1.0.

    PYTHONPATH=. PEERS/bin/python benchmarks/faults/peers.py PEERS.json MINUTES FOLDER

They are no dependency of hillock; PEERS is a virtual environment of their own beside the same torch. Each sees the same
trainings through its documented interface, with its default settings, on torch's own activation modules (none of them
knows others). What each reports is kept with its level. None of them names kinds of faults that can be matched with
ours, so the fair comparison is with what hillock notices: anything of the level warning or above.

Only cases of the half to report that `collect.py` left in FOLDER are run, in a fixed random order, until the time is
up; another call goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torchdiag
from library import build, faulty_cases, healthy_cases
from setting import Case, judged, train
from torch import nn
from torch_audit import autopatch
from torch_audit.core import Severity as AuditSeverity
from torchmortem import Autopsy

from hillock.layers.replace import replace_activations

LEVELS = {AuditSeverity.INFO: 0, AuditSeverity.WARN: 1, AuditSeverity.ERROR: 2, AuditSeverity.FATAL: 2}
PLAIN = {"relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU}
PLAIN |= {"leaky_relu": nn.LeakyReLU, "softplus": nn.Softplus, "mish": nn.Mish, "hard_tanh": nn.Hardtanh}


def noticed(case: Case) -> tuple[dict[str, dict[str, int]], float]:
    """What each package reports (rule or category: 0 information, 1 warning, 2 worse), and the accuracy reached."""
    setting = build(case)
    replace_activations(setting.model, {case.activation: lambda old: PLAIN[case.activation]()})
    found: dict[str, list[tuple[str, int]]] = {}
    watching: dict[str, object] = {}

    def begin(optimizer: torch.optim.Optimizer) -> None:
        watching["audit"] = autopatch(
            setting.model, optimizer=optimizer, every_n_steps=10, run_static=True, run_init=True
        )
        watching["mortem"] = autopsy = Autopsy(setting.model, optimizer=optimizer)
        autopsy.attach()

    train(setting, begin=begin, observe=lambda step, loss: watching["mortem"].step(loss=loss))
    # torchdiag looks at the gradients that the last step left, and at one batch.
    gradients = torchdiag.check_gradients(setting.model)
    dead = torchdiag.check_dead_neurons(setting.model, setting.inputs[:384])
    found["torchdiag"] = [("gradients", 2) for entry in gradients.values() if entry["status"] in ("EXPLODE", "VANISH")]
    found["torchdiag"] += [("dead", 1 + (entry["dead_pct"] > 50)) for entry in dead.values() if entry["dead_pct"] > 20]
    result = watching["audit"].finish(report=False)
    found["torch-audit"] = [(finding.rule_id, LEVELS[finding.severity]) for finding in result.findings]
    watching["audit"].unpatch()
    watching["mortem"].detach()
    with TemporaryDirectory() as folder:
        report = watching["mortem"].report(Path(folder) / "report.json", fmt="json")
    found["torchmortem"] = [(finding.category, int(finding.severity)) for finding in report.findings]
    worst = {
        name: {rule: max(level for one, level in of if one == rule) for rule, _ in of} for name, of in found.items()
    }
    return worst, judged(setting)[0]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    path, ends = Path(sys.argv[1]), time.monotonic() + 60 * float(sys.argv[2])
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for case in cases():
        if case.name in known or not (Path(sys.argv[3]) / (case.name.replace("/", "-") + ".pickle")).exists():
            continue
        if time.monotonic() > ends:
            break
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found, accuracy = noticed(case)
            known[case.name] = {"found": found, "accuracy": accuracy}
        except Exception as error:  # a peer that breaks on a case is counted, not hidden
            known[case.name] = {"failed": f"{type(error).__name__}: {error}"[:200]}
        path.write_text(json.dumps(known, indent=1))
        print(case.name, known[case.name], file=sys.stderr, flush=True)


def cases() -> list[Case]:
    """The half to report, as far as torch has the activation, in a fixed random order."""
    found = [*faulty_cases(), *healthy_cases()]
    found = [case for case in found if case.half == "reported" and case.activation in PLAIN]
    random.Random(1).shuffle(found)
    return found


if __name__ == "__main__":
    main()
