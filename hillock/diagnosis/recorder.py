"""Health over the course of a training: small probes at intervals, within a budget of time, as plain lines.

Both `watch` (somebody else's loop) and `HealthObserver` (hillock's own) drive one `Recorder`. It probes at the start,
then every so many steps as long as all probes together stay within a share of the time that training has taken, and
once more at the end. Probes never change what is trained; how often they come only changes what is known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hillock.diagnosis.batch import Batch, LossFunction, batch_size, taken
from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.examine import birth_findings, findings_of, judge
from hillock.diagnosis.finding import Diagnosis, Finding, json_value, ordered
from hillock.diagnosis.probe import DEFAULT_SAMPLES, probe
from hillock.diagnosis.untouched import unwrapped

__all__ = ["Recorder"]

# Share of the training's time that probes may take.
BUDGET = 0.02
# Samples of a probe during training; the last one takes more, so that it can speak about rarely active units.
SAMPLES = 128
# A last probe of all samples may always take this long, in seconds; a longer one must fit the budget.
FREE_SECONDS = 2.0


class Recorder:
    """Probes a network that is being trained.

    **Arguments**

    - `model`: the network being trained, wrapped or not. `batches`: fixed probe batches; the first `SAMPLES` samples
      are used during training, up to 512 at the end.
    - `loss`: maps (output, targets) to a mean loss, None for cross entropy. `optimizer`: where update ratios come from.
    - `every`: steps between probes, at least. `budget`: share of the training time that probes may take.
    - `write`: called with each line as soon as it exists.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        loss: LossFunction | None = None,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        every: int = 50,
        budget: float = BUDGET,
        write: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.model = unwrapped(model)
        self.batches = list(batches)
        self.small = list(taken(self.batches, SAMPLES))
        self.loss = loss
        self.optimizer = optimizer
        self.every = every
        self.budget = budget
        self.write = write
        self.lines: list[dict[str, Any]] = []
        self.spent = 0.0  # seconds
        self.started = time.perf_counter()
        self.last_cost = 0.0
        self.losses: list[Tensor] = []
        self.before: dict[str, Tensor] | None = None
        self.updates: dict[str, float] = {}
        self.at_birth: tuple[Finding, ...] = ()
        self.evidence: Evidence | None = None  # of the latest probe

    @property
    def elapsed(self) -> float:
        """Seconds since the start, the probes' own left out."""
        return time.perf_counter() - self.started - self.spent

    @property
    def share(self) -> float:
        """Time spent on probes over time spent on everything else."""
        return self.spent / max(self.elapsed, 1e-9)

    def begin(self, step: int = 0) -> None:
        """The first probe: of the network as drawn, if no step was made."""
        self.started = time.perf_counter()
        self._probe(step, "initial" if step == 0 else "training", self.small)

    def after_step(self, step: int, loss: Tensor | None = None) -> None:
        """Called after update number `step`; probes if it is time and the budget allows."""
        if loss is not None:
            self.losses.append(loss.detach())
        if self.before is not None:
            self._compare(step)
        if step % self.every == 0 and self.spent + self.last_cost <= self.budget * self.elapsed:
            self._probe(step, "training", self.small)
        elif (step + 1) % self.every == 0 and self.spent + self.last_cost <= self.budget * self.elapsed:
            self._remember()

    def end(self, step: int) -> Diagnosis:
        """The last probe, and the judgement of everything seen."""
        samples = sum(batch_size(batch) for batch in self.small)
        wanted = min(DEFAULT_SAMPLES, sum(batch_size(batch) for batch in self.batches))
        cost = self.last_cost * wanted / max(samples, 1)
        whole = cost <= FREE_SECONDS or self.spent + cost <= self.budget * self.elapsed
        evidence = self._probe(step, "trained" if step else "initial", self.batches if whole else self.small)
        diagnosis = judge(evidence)
        facts = {**diagnosis.facts, "watching_share": round(self.share, 5), "watching_seconds": round(self.spent, 3)}
        facts["probes"] = len(self.lines)
        findings = ordered([*diagnosis.findings, *self.at_birth])
        return Diagnosis(findings, diagnosis.profiles, diagnosis.not_seen, facts)

    def _probe(self, step: int, stage: str, batches: Sequence[Batch]) -> Evidence:
        began = time.perf_counter()
        evidence = probe(self.model, batches, self.loss, optimizer=self.optimizer, stage=stage, history=self.lines)
        if stage == "initial":
            self.at_birth = birth_findings(findings_of(evidence))
        self.evidence = evidence
        line = self._line(step, evidence)
        self.lines.append(line)
        self.losses.clear()
        self.updates = {}
        self.last_cost = time.perf_counter() - began
        self.spent += self.last_cost
        if self.write is not None:
            # Before the first steps there is no training time yet that the probes could be a share of.
            self.write({**line, "watching_share": round(self.share, 5) if self.elapsed > self.spent else None})
        return evidence

    def _line(self, step: int, evidence: Evidence) -> dict[str, Any]:
        losses = torch.stack([loss.float().cpu() for loss in self.losses]).tolist() if self.losses else []
        line: dict[str, Any] = json_value(
            {
                "kind": "health",
                "step": step,
                "stage": evidence.stage,
                "samples": evidence.samples,
                "loss": evidence.loss,
                "loss_evaluating": evidence.loss_evaluating,
                "accuracy": evidence.accuracy,
                "training_loss": _summary(losses),
                "updates": self.updates,
                "findings": [finding.to_dict() for finding in findings_of(evidence)],
                "sites": [_site_line(site) for site in evidence.sites],
            }
        )
        return line

    def _remember(self) -> None:
        """Keep the weights of this step, to see the next step's real update (momentum and all)."""
        began = time.perf_counter()
        self.before = {name: weight.detach().clone() for name, weight in self._weights()}
        self.spent += time.perf_counter() - began

    def _compare(self, step: int) -> None:
        began = time.perf_counter()
        assert self.before is not None
        for name, weight in self._weights():
            before = self.before[name]
            size = float(before.norm())
            if size > 0:
                self.updates[name] = float((weight.detach() - before).norm()) / size
        self.before = None
        self.spent += time.perf_counter() - began

    def _weights(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.dim() >= 2]


def _summary(losses: list[float]) -> dict[str, float] | None:
    if not losses:
        return None
    return {"first": losses[0], "last": losses[-1], "mean": math.fsum(losses) / len(losses), "highest": max(losses)}


def _site_line(site: Any) -> dict[str, Any]:
    responding = site.responding / max(site.rows, 1)
    return {
        "name": site.name,
        "units": site.units,
        "dead": [unit for unit, share in enumerate(responding.tolist()) if share < 0.01],
        "slopes": [round(share, 4) for share in site.slope_shares.tolist()],
        "input_rms": site.z_rms,
        "gradient_norm": site.gradient_norm,
        "mean_shift": site.mean_shift,
        "cosine": site.cosine.mean,
        "effective_rank": site.rank.effective(centred=True),
    }
