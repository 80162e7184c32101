"""Results made readable: tables for the terminal, figures, and pages that are one file and need no network.

Here belongs: the words for verdicts and numbers (`wording.py`), terminal tables (`tables.py`), figures (`figures.py`,
`forest.py`), the frame of every page (`document.py`, `templates/`) and one function a page.

Here never belongs: arithmetic. A report is handed values (a record, a diagnosis, a comparison) and renders them; what
it shows can be recomputed from the files beside it.
"""

from __future__ import annotations

from hillock.report.pages import comparison_page

__all__ = ["comparison_page"]
