"""Seeded, stratified splits: every class is divided in the same proportion."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from hillock.randomness import numpy_generator

__all__ = ["stratified_limit", "stratified_split"]

Rows = NDArray[numpy.int64]


def stratified_split(labels: Rows, share: float, seed: int, purpose: str) -> tuple[Rows, Rows]:
    """Divide the rows of `labels` in two: `(kept, split off)`, both ascending.

    `share` (0 to 1) of every class is split off, rounded to whole pictures; a class of two or more pictures keeps at
    least one and gives at least one.

    >>> kept, split_off = stratified_split(numpy.repeat([0, 1], 10), 0.2, seed=0, purpose="test")
    >>> len(kept), len(split_off)
    (16, 4)
    """
    draw = numpy_generator(seed, "split", purpose)
    split_off: list[Rows] = []
    for label in numpy.unique(labels):
        rows = draw.permutation(numpy.flatnonzero(labels == label))
        count = round(share * len(rows))
        if len(rows) >= 2:
            count = min(max(count, 1), len(rows) - 1)
        split_off.append(rows[:count])
    chosen = numpy.sort(numpy.concatenate(split_off)) if split_off else numpy.empty(0, dtype=numpy.int64)
    return numpy.setdiff1d(numpy.arange(len(labels)), chosen), chosen


def stratified_limit(labels: Rows, limit: int) -> Rows:
    """Return at most `limit` rows, ascending, each class in proportion (always the same ones)."""
    if limit >= len(labels):
        return numpy.arange(len(labels))
    # Rank every row within its class, as a share of that class; taking the smallest ranks takes each class in
    # proportion, and the draw breaks ties so that small classes are not favoured.
    draw = numpy_generator(0, "limit")
    rank = numpy.empty(len(labels))
    for label in numpy.unique(labels):
        rows = draw.permutation(numpy.flatnonzero(labels == label))
        rank[rows] = (numpy.arange(len(rows)) + draw.random()) / len(rows)
    return numpy.sort(numpy.argsort(rank, kind="stable")[:limit])
