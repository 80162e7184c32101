"""The page of all rules, made from their declarations: `python -m hillock.diagnosis.rules.page > docs/rules.md`."""

from __future__ import annotations

from hillock.diagnosis.rules import RULES, Rule

__all__ = ["rules_page"]

INTRODUCTION = """# The rules of `hillock diagnose`

Made from the declarations in `hillock/diagnosis/rules/` by `python -m hillock.diagnosis.rules.page`; do not edit.

A *warning* or *failure* makes a network not healthy (exit code 1); a *note* does not. Limits can be changed:
`hillock.diagnose(..., limits={"vanishing": {"warning": 10}})`. How often each rule finds what was planted, and how
often it cries wolf, is in [diagnosis.md](diagnosis.md#how-far-to-trust-it).
"""


def rules_page() -> str:
    """Return the page as Markdown."""
    contents = "\n".join(f"| [`{rule.id}`](#{rule.id}) | {rule.title} |" for rule in RULES)
    sections = "\n".join(_section(rule) for rule in RULES)
    return f"{INTRODUCTION}\n| rule | finds |\n|---|---|\n{contents}\n\n{sections}"


def _section(rule: Rule) -> str:
    shown = {name: f"{value:g}" for name, value in rule.limits.items()}
    limits = ", ".join(f"`{name}` {value}" for name, value in shown.items()) or "none"
    unit = f" ({rule.unit})" if rule.unit else ""
    remedies = "\n".join(f"* {remedy}" for remedy in rule.remedies)
    return (
        f"## {rule.id}\n\n"
        f"**{rule.title[0].upper()}{rule.title[1:]}.** {rule.definition.format(**shown)}\n\n{rule.why}\n\n"
        f"Limits{unit}: {limits}.  \nSource: {rule.source}.\n\nWhat to try:\n\n{remedies}\n"
    )


if __name__ == "__main__":
    print(rules_page(), end="")
