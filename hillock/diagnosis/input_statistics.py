"""Statistics of the probe's pictures and labels: are they scaled, do they vary, do the labels belong to them?"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hillock.diagnosis.evidence import InputEvidence

__all__ = ["InputStatistics", "Neighbours", "distinct", "like_neighbours"]

# Each sample is reduced to at most this many numbers for the neighbour test (strided): enough to tell classes apart.
NEIGHBOUR_FEATURES = 1024
# More neighbours make the share steadier; those further away tell less about a sample.
MOST_NEIGHBOURS = 10


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
        near = like_neighbours(rows, labels)
        return InputEvidence(
            channel_mean=tuple(mean.tolist()),
            channel_std=tuple(spread.tolist()),
            low=self.low,
            high=self.high,
            constant_share=self.constant / self.samples,
            distinct_share=len(distinct(rows)) / len(rows),
            labels=dict(sorted(Counter(labels.tolist()).items())) if labels is not None else {},
            neighbours=near.nearest,
            neighbour_share=near.share,
            neighbour_chance=near.chance,
            neighbour_deviation=near.deviation,
        )


class Neighbours(NamedTuple):
    """Of the `nearest` neighbours of each sample, the share with its label, and what random ones give."""

    nearest: int
    share: float
    chance: float
    deviation: float


def like_neighbours(rows: Tensor, labels: Tensor | None) -> Neighbours:
    """Compare the labels of samples [N, F] with those of their nearest neighbours (Euclidean, centred).

    The mean and the standard deviation are those of labels handed out at random with the frequencies seen, the graph of
    neighbours being what it is: of two of its edges those that share one sample, or both, vary together.

    **Source** Schilling 1986 (JASA 81:799), Henze 1988 (Annals of Statistics 16:772): tests by nearest neighbours.
    """
    nothing = Neighbours(0, 0.0, 0.0, 0.0)
    if labels is None or len(labels) != len(rows) or len(rows) < 2 or not bool(torch.isfinite(rows).all()):
        return nothing
    shares = torch.tensor([count / len(labels) for count in Counter(labels.tolist()).values()])
    # A quarter of the samples that a class has on average: the others of the class must be among the nearest at all.
    count = min(MOST_NEIGHBOURS, max(1, len(rows) // (4 * len(shares))))
    centred = rows - rows.mean(0)
    nearest = torch.cdist(centred, centred).fill_diagonal_(torch.inf).topk(count, largest=False).indices
    same = labels[nearest] == labels[:, None]
    edges = torch.zeros(len(rows), len(rows)).scatter_(1, nearest, 1.0)
    both = edges + edges.T
    pairs, triples = float(shares.square().sum()), float(shares.pow(3).sum())
    single = float(both.triu(1).square().sum()) * (pairs - pairs**2)
    shared = float((both.sum(1).square() - both.square().sum(1)).sum()) * (triples - pairs**2)
    deviation = max(single + shared, 0.0) ** 0.5 / same.numel()
    return Neighbours(count, float(same.double().mean()), pairs, deviation)


def distinct(rows: Tensor) -> Tensor:
    """Return the different rows of a matrix."""
    unique: Any = torch.unique
    found: Tensor = unique(rows, dim=0)
    return found
