"""Run three packages from PyPI on the fault library: torchmortem 0.1.1, torch-audit 0.3.0, torchdiag 0.1.0.

    PYTHONPATH=. PEERS/bin/python benchmarks/faults/peers.py MINUTES > peers.json

They are no dependency of hillock; PEERS is a virtual environment of their own beside the same torch. Each sees the same
trainings through its documented interface, with its default settings, on torch's own activation modules (none of them
knows others). A package *notices* a case if it reports anything of its level warning or above. None of them names kinds
of faults that can be matched with ours, so the fair comparison is with what hillock notices.

Only the held-back half (odd seeds) is run, in a fixed random order, until the time is up.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torchdiag
from library import HEALTHY, STEPS, Case, build, faulty_cases, healthy_cases, judged, train
from torch import nn
from torch_audit import autopatch
from torch_audit.core import Severity as AuditSeverity
from torchmortem import Autopsy
from torchmortem.types import Severity as MortemSeverity

from hillock.layers.replace import replace_activations

PLAIN = {"relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU}
PLAIN |= {"leaky_relu": nn.LeakyReLU, "softplus": nn.Softplus, "mish": nn.Mish, "hard_tanh": nn.Hardtanh}


def noticed(case: Case) -> tuple[dict[str, bool], float]:
    """Which packages report a warning or worse, and the accuracy reached."""
    setting = build(case)
    replace_activations(setting.model, {case.activation: lambda old: PLAIN[case.activation]()})
    answers: dict[str, bool] = {}
    watching: dict[str, object] = {}

    def begin(optimizer: torch.optim.Optimizer) -> None:
        watching["audit"] = autopatch(
            setting.model, optimizer=optimizer, every_n_steps=10, run_static=True, run_init=True
        )
        watching["mortem"] = autopsy = Autopsy(setting.model, optimizer=optimizer)
        autopsy.attach()

    train(setting, STEPS, begin=begin, observe=lambda step, loss: watching["mortem"].step(loss=loss))
    # torchdiag looks at the gradients that the last step left, and at one batch.
    gradients = torchdiag.check_gradients(setting.model)
    dead = torchdiag.check_dead_neurons(setting.model, setting.inputs[:384])
    wrong = any(entry.get("status") not in ("OK", None) for entry in gradients.values())
    answers["torchdiag"] = wrong or any(entry["dead_pct"] >= 20 for entry in dead.values())
    result = watching["audit"].finish(report=False)
    answers["torch-audit"] = any(not finding.severity < AuditSeverity.WARN for finding in result.findings)
    watching["audit"].unpatch()
    watching["mortem"].detach()
    with TemporaryDirectory() as folder:
        report = watching["mortem"].report(Path(folder) / "report.json", fmt="json")
    answers["torchmortem"] = any(finding.severity >= MortemSeverity.WARNING for finding in report.findings)
    return answers, judged(setting)[0]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    ends = time.monotonic() + 60 * float(sys.argv[1])
    cases = [case for case in [*faulty_cases(2), *healthy_cases(2, tuple(PLAIN))] if case.seed % 2 == 1]
    cases = [case for case in cases if case.activation in PLAIN]
    random.Random(1).shuffle(cases)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    failed: dict[str, str] = {}
    for case in cases:
        if time.monotonic() > ends:
            break
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                answers, accuracy = noticed(case)
        except Exception as error:  # a peer that breaks on a case is counted, not hidden
            failed[case.name] = f"{type(error).__name__}: {error}"[:200]
            continue
        if case.kind == HEALTHY and accuracy < 0.5:
            continue
        group = "controls" if case.kind == HEALTHY else "faults"
        for name, answer in answers.items():
            counts[name][group] += 1
            counts[name][f"{group}_noticed"] += answer
        print(case.name, answers, file=sys.stderr, flush=True)
    print(json.dumps({"counts": counts, "failed": failed}, indent=1))


if __name__ == "__main__":
    main()
