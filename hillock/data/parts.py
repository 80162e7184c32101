"""Which rows of a source are train, validation and test: its own parts where it has them, seeded ones where not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy

from hillock.data.splitting import Rows, stratified_limit, stratified_split

__all__ = ["TEST_SHARE", "rows_of_parts"]

# Without an official test part this share of every class becomes one.
TEST_SHARE = 0.2


def rows_of_parts(
    labels: Rows, parts: Mapping[str, range], *, seed: int, validation_share: float | None, limit: int | None
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Return the ascending rows of train, validation (maybe) and test, and notes about the parts made here.

    * `parts`: the source's own parts, or `{"all": ...}`.
    * `limit`: keep at most this many rows of each part, classes in proportion.

    >>> rows, notes = rows_of_parts(
    ...     numpy.repeat([0, 1], 50), {"all": range(100)}, seed=0, validation_share=None, limit=None
    ... )
    >>> {name: len(part) for name, part in rows.items()}
    {'train': 80, 'test': 20}
    """
    rows = {name: numpy.arange(part.start, part.stop) for name, part in parts.items()}
    notes: tuple[str, ...] = ()
    if "all" in rows:
        rows = {"train": rows["all"]}
    if "test" not in rows and "validation" in rows:
        rows["test"] = rows.pop("validation")
        notes += ("there is no test part: the validation part is used as test part",)
    elif "test" not in rows:
        rows |= _split_off(labels, rows["train"], TEST_SHARE, seed, "test")
        notes += (f"there is no test part: {TEST_SHARE:.0%} of every class of train became one (seed {seed})",)
    if validation_share is not None and "validation" not in rows:
        rows |= _split_off(labels, rows["train"], validation_share, seed, "validation")
        notes += (f"{validation_share:.0%} of every class of train became the validation part (seed {seed})",)
    if limit is not None:
        rows = {name: part[stratified_limit(labels[part], limit)] for name, part in rows.items()}
    return {name: rows[name] for name in ("train", "validation", "test") if name in rows}, notes


def _split_off(labels: Rows, train: Rows, share: float, seed: int, purpose: str) -> dict[str, Rows]:
    kept, split_off = stratified_split(labels[train], share, seed, purpose)
    return {"train": train[kept], purpose: train[split_off]}
