"""What one training of one arm with one seed left behind: the smallest piece of evidence, as a JSON file."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from hillock.comparison.statistics import NumberArray
from hillock.training.checkpoint import write_whole

__all__ = ["Outcome", "finite", "pack_bits", "unpack_bits"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of one run.

    **Arguments**

    - `scores`: the metrics at the end (`test_error`, `test_loss`, ...). Errors are shares. Without the failed ones.
    - `chance`: what guessing scores on the same metrics; it stands for the scores of a training that failed.
    - `curve`: the record's lines in order: `epoch`, `test_error`, `train_loss`, `seconds`, ...
    - `seconds`: training time without evaluation and diagnosis; `images_per_second`: of the last epoch.
    - `health`: the diagnosis as `Diagnosis.to_dict` writes it, or None where none was made.
    - `correct`: for each test picture in order 1 if its class was found, else 0, packed by `pack_bits`; or None.
    - `failure`: None, or the sentence with which the training gave up. A failure is a result.
    - `recipe_digest`: identifies the recipe that was run, so that a changed one is not mistaken for it.
    """

    arm: str
    seed: int
    recipe_digest: str
    scores: Mapping[str, float]
    chance: Mapping[str, float]
    curve: tuple[Mapping[str, Any], ...] = ()
    seconds: float | None = None
    images_per_second: float | None = None
    parameters: int | None = None
    health: Mapping[str, Any] | None = None
    correct: str | None = None
    failure: str | None = None

    def score(self, metric: str) -> float:
        """Return the metric at the end, at chance where the training failed or the number is not finite."""
        value = self.scores.get(metric)
        if self.failure is not None or value is None or not math.isfinite(value):
            return float(self.chance[metric])
        return float(value)

    @property
    def failed(self) -> bool:
        """True if the training gave up."""
        return self.failure is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON-ready values."""
        return {**dataclasses.asdict(self), "curve": [dict(line) for line in self.curve]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Outcome:
        """Return the outcome that `to_dict` wrote. Fields that a later version added are ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{**{key: value for key, value in fields.items() if key in known}, "curve": tuple(fields["curve"])})

    def write(self, path: Path) -> None:
        """Write the outcome whole or not at all."""
        write_whole(path, json.dumps(finite(self.to_dict()), indent=1, allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Read an outcome's file."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))


def pack_bits(bits: Sequence[bool] | NumberArray) -> str:
    """Return zeros and ones as `length:base64`, one bit each.

    >>> unpack_bits(pack_bits([True, False, True])).tolist()
    [1.0, 0.0, 1.0]
    """
    values = numpy.asarray(bits, dtype=numpy.uint8)
    return f"{len(values)}:{base64.b64encode(numpy.packbits(values).tobytes()).decode()}"


def unpack_bits(text: str) -> NumberArray:
    """Return what `pack_bits` packed, as an array of 0.0 and 1.0."""
    length, _, packed = text.partition(":")
    raw = numpy.frombuffer(base64.b64decode(packed), dtype=numpy.uint8)
    return numpy.unpackbits(raw, count=int(length)).astype(numpy.float64)


def finite(value: Any) -> Any:
    """Return nested values fit for JSON, which has no NaN: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
