"""Find what is wrong with a network, say how sure that is, and try what helps.

A *probe* runs the uncompiled network forward and backward on a fixed batch and leaves no trace (`probe.py`,
`untouched.py`); every activation is seen, whoever wrote it (`interception.py`, `site.py`); *rules*, one phenomenon a
file, turn the evidence into *findings* (`rules/`, `finding.py`); `watch.py` does so during training, `treat.py` tests
the cure in short paired runs.

What never belongs here: drawing (that is `hillock.report`), training loops (`hillock.training`), and any number that a
rule uses without saying where it comes from.
"""

from __future__ import annotations

from hillock.diagnosis.examine import diagnose, diagnose_run
from hillock.diagnosis.finding import Diagnosis, Finding, Profile
from hillock.diagnosis.rules import Rule, rules
from hillock.diagnosis.treat import Treatment, treat
from hillock.diagnosis.watch import HealthObserver, watch

__all__ = [
    "Diagnosis",
    "Finding",
    "HealthObserver",
    "Profile",
    "Rule",
    "Treatment",
    "diagnose",
    "diagnose_run",
    "rules",
    "treat",
    "watch",
]
