"""Which activation is better on this data, by how much, and how sure is that?

Here belongs: the pre-registered design of a comparison (`design.py`), the statistics of paired seeds as pure functions
(`statistics.py`), equal tuning for every arm (`tuning.py`), the engine that trains every arm with every seed in worker
processes and goes on where it was stopped (`engine.py`, `worker.py`), and the reading of what came back in four words
(`compare.py`): *better*, *worse*, *equivalent*, *undecided*.

Here never belongs: how one network is trained (`hillock.training`) or examined (`hillock.diagnosis`), and drawing
(`hillock.report`).

The unit of replication is the seed. A seed fixes the initial draws, the order of the data and the augmentation for
every arm alike, so that arms are compared in pairs; epochs, images and repeated evaluations are never counted as
independent evidence. A training that fails is a result, not a gap.
"""

from __future__ import annotations

from hillock.comparison.compare import compare
from hillock.comparison.design import Arm, Metric, Range, Study, Tuning
from hillock.comparison.engine import Progress
from hillock.comparison.outcome import Outcome
from hillock.comparison.result import ArmResult, Comparison, Curve, Health
from hillock.comparison.statistics import Interval, Verdict

__all__ = [
    "Arm",
    "ArmResult",
    "Comparison",
    "Curve",
    "Health",
    "Interval",
    "Metric",
    "Outcome",
    "Progress",
    "Range",
    "Study",
    "Tuning",
    "Verdict",
    "compare",
]
