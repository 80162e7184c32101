"""From a network or a run folder to a diagnosis: probe, apply every rule, keep the depth profiles."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hillock.diagnosis.batch import Batch, LossFunction
from hillock.diagnosis.depths import check_comparable, depth_pair, with_depth_pairs
from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Diagnosis, Finding, Profile, ordered
from hillock.diagnosis.mean_field import predict
from hillock.diagnosis.probe import DEFAULT_SAMPLES, probe
from hillock.diagnosis.rules import RULES, find
from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.training import Run

__all__ = ["diagnose", "diagnose_run", "judge"]

STAGES = ("initial", "training", "trained")
# Rules about the weights as they were drawn: what they say of the first probe still holds after training.
BIRTH_RULES = ("initialisation", "initial_loss", "equal_units")


def diagnose(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: LossFunction | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    stage: str = "trained",
    samples: int = DEFAULT_SAMPLES,
    expected_classes: int | None = None,
    limits: Mapping[str, Mapping[str, float]] | None = None,
) -> Diagnosis:
    """Examine any network on some of its data and say what is wrong with it.

    One forward and one backward pass over `samples` samples; nothing of the network, of its optimiser or of any random
    generator is changed.

    **Arguments**

    - `model`: any `nn.Module`; compiled and distributed wrappers are taken off.
    - `batches`: iterable of (inputs, targets), or of keyword mappings for networks that answer with a `.loss`.
    - `loss`: maps (output, targets) to a mean loss; default cross entropy.
    - `optimizer`: lets the rules see which parameters are trained.
    - `stage`: `initial` for weights as drawn (rules about initialisation apply), `training` or `trained`.
    - `samples`: how many to look at. 299 are needed to call a unit dead with 95 % confidence.
    - `expected_classes`: C, if the network's output does not say it.
    - `limits`: other limits, by rule and name, for example `{"vanishing": {"warning": 10}}`.

    **Errors** `UsageError` for an unknown stage, rule or limit, or without a batch; `ModelError` if the network does
    not run on a batch.

    **Example**

    >>> from torch import nn, randn, randint
    >>> network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3))
    >>> found = diagnose(network, [(randn(400, 20), randint(3, (400,)))], stage="initial")
    >>> found.facts["sites"]
    1
    """
    if stage not in STAGES:
        raise UsageError("a stage: " + ", ".join(STAGES), got=repr(stage))
    evidence = probe(
        model,
        batches,
        loss,
        optimizer=optimizer,
        stage=stage,
        samples=samples,
        classes=expected_classes,
    )
    return judge(evidence, limits=limits)


def judge(evidence: Evidence, *, limits: Mapping[str, Mapping[str, float]] | None = None) -> Diagnosis:
    """Apply every rule to what a probe found."""
    return Diagnosis(
        findings=findings_of(evidence, limits=limits),
        profiles=profiles(evidence),
        not_seen=evidence.not_seen,
        facts={
            "stage": evidence.stage,
            "samples": evidence.samples,
            "classes": evidence.classes,
            "loss": evidence.loss,
            "accuracy": evidence.accuracy,
            "sites": len(evidence.sites),
            "parameters": len(evidence.parameters),
            "probe_seconds": round(evidence.seconds, 3),
        },
    )


def findings_of(evidence: Evidence, *, limits: Mapping[str, Mapping[str, float]] | None = None) -> tuple[Finding, ...]:
    """Return the findings of all rules, worst first."""
    given = {find(identifier).id: numbers for identifier, numbers in (limits or {}).items()}
    return ordered([finding for rule in RULES for finding in rule.examine(evidence, given.get(rule.id))])


def birth_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return what was wrong before the first step and stays a cause whatever the weights became since."""
    return tuple(finding for finding in findings if finding.rule in BIRTH_RULES)


def profiles(evidence: Evidence) -> tuple[Profile, ...]:
    """Return the curves over depth."""
    sites = list(evidence.sites)
    names = tuple(site.name for site in sites)
    norms = [math.nan if site.gradient_norm is None else site.gradient_norm for site in sites]
    expected = predict(sites)
    inputs = [site.z_rms for site in sites]
    forward = [after / before if before > 0 else math.nan for before, after in itertools.pairwise(inputs)]
    backward = [one / after if after > 0 else math.nan for one, after in itertools.pairwise(norms)]
    expected_forward = [one / start if start > 0 else math.nan for start, one in itertools.pairwise(expected.z_rms)]
    curves: Sequence[tuple[str, str, list[float], Sequence[float] | None]] = (
        ("input_rms", "root mean square of z", inputs, expected.z_rms),
        ("output_rms", "root mean square of h", [site.h_rms for site in sites], None),
        ("forward_gain", "rms of z over that one site earlier", [math.nan, *forward], [math.nan, *expected_forward]),
        ("gradient_norm", "norm of d(loss of a sample)/dh, root mean square over samples", norms, None),
        (
            "backward_gain",
            "gradient norm one site earlier over that here",
            [math.nan, *backward],
            expected.gain_backward,
        ),
        ("mean_shift", "share of E[h²] that is the mean", [site.mean_shift for site in sites], expected.cosine),
        ("cosine", "mean cosine between samples", [_number(site.cosine.mean) for site in sites], expected.cosine),
        ("effective_rank", "of the units", [site.rank.effective(centred=False) for site in sites], None),
        (
            "effective_rank_centred",
            "of the units, centred",
            [site.rank.effective(centred=True) for site in sites],
            None,
        ),
    )
    return tuple(
        Profile(name, unit, names, tuple(values), None if predicted is None else tuple(predicted))
        for name, unit, values, predicted in curves
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def diagnose_run(
    folder: Path | str,
    *,
    weights: str = "last",
    samples: int = DEFAULT_SAMPLES,
    limits: Any = None,
    against: Path | str | None = None,
) -> Diagnosis:
    """Examine the network of a finished or interrupted run on its own training data.

    **Arguments**

    - `folder`: a run folder, or in one the file of the weights meant (`checkpoint.pt`, `best.safetensors`).
      `weights`: `last` or `best`, for a folder.
    - `against`: the run of a shallower network trained alike, to judge `degradation`.

    **Errors** `CheckpointError` if the folder holds no run that can be opened; `UsageError` if the two runs differ in
    more than depth.
    """
    from hillock.training import Run

    run, model = _opened(Path(folder), weights)
    evidence = probe(model, run_batches(run), None, stage="trained", samples=samples, history=run_history(run))
    if against is not None:
        other = Run.open(Path(against))
        check_comparable(run, other)
        shallower = probe(other.load_model(weights=weights), run_batches(run), None, samples=samples)
        evidence = with_depth_pairs(evidence, [depth_pair(evidence, shallower, str(against))])
    diagnosis = judge(evidence, limits=limits)
    first = next((line for line in evidence.history if line.get("stage") == "initial"), {})
    born = [Finding.from_dict(fields) for fields in first.get("findings", ()) if fields["rule"] in BIRTH_RULES]
    kept = [finding for finding in born if _still_counts(finding)]
    return dataclasses.replace(diagnosis, findings=ordered([*diagnosis.findings, *kept]))


def _opened(path: Path, weights: str) -> tuple[Run, nn.Module]:
    """Return a run and its network with the weights that the folder, or the file in it, stands for."""
    from hillock.training import Run
    from hillock.training.checkpoint import CURRENT, load_checkpoint
    from hillock.training.run import build_network
    from hillock.training.run_folder import BEST, WEIGHTS

    if not path.is_file():
        run = Run.open(path)
        return run, run.load_model(weights=weights)
    run = Run.open(path.parent)
    if path.name == CURRENT and (found := load_checkpoint(path.parent)) is not None:
        model = build_network(run.recipe, run.facts)
        model.load_state_dict(found[0]["model"])
        return run, model.eval()
    if path.name not in (WEIGHTS, BEST):
        raise UsageError(
            f"a run's {CURRENT}, {WEIGHTS} or {BEST}", got=str(path), instead=f"hillock diagnose {path.parent}"
        )
    return run, run.load_model(weights="best" if path.name == BEST else "last")


def _still_counts(finding: Finding) -> bool:
    """False for a stored finding that today's limits would not make (a run keeps what its own day's limits found)."""
    return finding.value >= find(finding.rule).limits.get("warning", -math.inf)


def run_batches(run: Run) -> Iterable[Batch]:
    """Return batches of the run's own training pictures, prepared as in training but not augmented."""
    from hillock import data
    from hillock.training.materials import load_data

    recipe = run.recipe
    dataset = load_data(recipe)
    size = recipe.batch_size if isinstance(recipe.batch_size, int) else 128
    # Its own seed: the probe is a fixed set of pictures, whatever the run's order was.
    batches = data.Batches(dataset.train, min(size, 256, len(dataset.train)), seed=0, dataset=dataset)
    return batches.epoch(0)


def run_history(run: Run) -> list[dict[str, Any]]:
    """Return the lines of `record.jsonl` and `health.jsonl` by step, oldest first."""
    import json

    lines = [{"kind": "evaluation", **line} for line in run.record]
    health = run.folder / "health.jsonl"
    if health.exists():
        lines += [{"kind": "health", **json.loads(line)} for line in health.read_text().splitlines() if line.strip()]
    return sorted(lines, key=lambda line: int(line.get("step", 0)))
