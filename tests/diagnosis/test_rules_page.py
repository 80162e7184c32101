"""The page of rules is made from the rules."""

from __future__ import annotations

from pathlib import Path

from hillock.diagnosis.rules.page import rules_page


def test_the_page_of_rules_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
    assert page.read_text(encoding="utf-8") == rules_page(), "python -m hillock.diagnosis.rules.page > docs/rules.md"
