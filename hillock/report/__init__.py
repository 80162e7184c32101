"""Results made readable: tables for the terminal, figures, and pages that are one file and need no network.

Here belongs: the words for verdicts and numbers (`wording.py`), terminal tables (`tables.py`), figures (`figures.py`,
`forest.py`), the frame of every page (`document.py`, `templates/`) and one function a page.

Here never belongs: arithmetic. A report is handed values (a record, a diagnosis, a comparison) and renders them; what
it shows can be recomputed from the files beside it.
"""

from __future__ import annotations

import importlib
from typing import Any

# Loaded on first use: a verb that prints one line must not wait for page templates.
_DEFINED_IN = {
    "activation_page": "hillock.report.of_activation",
    "comparison_page": "hillock.report.of_comparison",
    "run_page": "hillock.report.of_run",
}

__all__ = sorted(_DEFINED_IN)


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'hillock.report' has no attribute {name!r}")
    return getattr(importlib.import_module(_DEFINED_IN[name]), name)
