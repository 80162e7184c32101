"""Statistics of the probe's pictures and labels: are they scaled, do they vary, do the labels belong to them?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from hillock.diagnosis.evidence import InputEvidence

__all__ = ["InputStatistics", "distinct"]

# Each sample is reduced to at most this many numbers for the neighbour test (strided): enough to tell classes apart.
NEIGHBOUR_FEATURES = 1024


class InputStatistics:
    """Sums over the inputs of all probe batches."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | None = None
        self.squares: Tensor | None = None
        self.low, self.high = float("inf"), float("-inf")
        self.constant = 0
        self.samples = 0
        self.rows: list[Tensor] = []
        self.labels: list[Tensor] = []

    @torch.no_grad()
    def add(self, inputs: Tensor, labels: Tensor | None) -> None:
        """Add one batch: `inputs` [N, ...] real numbers (anything else is not examined), `labels` [N] or None."""
        if not inputs.is_floating_point() or inputs.dim() < 2:
            return
        values = inputs.detach().flatten(2) if inputs.dim() > 2 else inputs.detach()[:, None]
        if inputs.dim() > 2 and inputs.shape[1] > 64:  # features last (sequences): one group
            values = inputs.detach().flatten(1)[:, None]
        total, square = values.double().sum((0, 2)).cpu(), values.double().square().sum((0, 2)).cpu()
        self.sum = total if self.sum is None else self.sum + total
        self.squares = square if self.squares is None else self.squares + square
        self.count += values.shape[0] * values.shape[2]
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        flat = inputs.detach().flatten(1)
        self.constant += int((flat.amax(1) == flat.amin(1)).sum())
        self.samples += len(flat)
        step = -(-flat.shape[1] // NEIGHBOUR_FEATURES)
        self.rows.append(flat[:, ::step].float().cpu())
        if labels is not None:
            self.labels.append(labels.detach().cpu())

    def evidence(self) -> InputEvidence | None:
        """Return what the sums say, None if no input was made of real numbers."""
        if self.sum is None or self.squares is None:
            return None
        mean = self.sum / self.count
        spread = (self.squares / self.count - mean.square()).clamp_min(0).sqrt()
        rows = torch.cat(self.rows)
        labels = torch.cat(self.labels) if self.labels else None
        hits, trials, chance = self._neighbours(rows, labels)
        return InputEvidence(
            channel_mean=tuple(mean.tolist()),
            channel_std=tuple(spread.tolist()),
            low=self.low,
            high=self.high,
            constant_share=self.constant / self.samples,
            distinct_share=len(distinct(rows)) / len(rows),
            labels=dict(sorted(Counter(labels.tolist()).items())) if labels is not None else {},
            neighbour_hits=hits,
            neighbour_trials=trials,
            neighbour_chance=chance,
        )

    def _neighbours(self, rows: Tensor, labels: Tensor | None) -> tuple[int, int, float]:
        """Count samples whose nearest other sample (Euclidean, centred) has the same label."""
        if labels is None or len(labels) != len(rows) or len(rows) < 2 or not bool(torch.isfinite(rows).all()):
            return 0, 0, 0.0
        centred = rows - rows.mean(0)
        distances = torch.cdist(centred, centred).fill_diagonal_(torch.inf)
        hits = int((labels[distances.argmin(1)] == labels).sum())
        chance = sum((count / len(labels)) ** 2 for count in Counter(labels.tolist()).values())
        return hits, len(rows), chance


def distinct(rows: Tensor) -> Tensor:
    """Return the different rows of a matrix."""
    unique: Any = torch.unique
    found: Tensor = unique(rows, dim=0)
    return found
