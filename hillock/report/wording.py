"""Numbers and verdicts in words, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hillock.comparison import ArmResult, Comparison, Interval, Metric, Study

__all__ = [
    "MEANINGS",
    "answers",
    "counted",
    "difference",
    "duration",
    "failures",
    "health",
    "interval",
    "is_share",
    "listed",
    "margin",
    "metric_name",
    "number",
    "p_value",
    "remarks",
    "score",
    "seeds_missing",
    "target_name",
    "time_ratio",
    "to_target",
]

MINUS = "−"

# What the four words mean, with the study's own numbers put in.
MEANINGS = {
    "better": "its whole interval lies more than {rope} below the reference: a real gain, large enough to matter",
    "worse": "its whole interval lies more than {rope} above the reference: a real loss, large enough to matter",
    "equivalent": "its whole interval lies within ±{rope} of the reference: any difference is too small to matter",
    "undecided": "its interval reaches across a border at ±{rope}: these seeds cannot tell; more of them are needed",
}

_METRICS = {
    "test_error": "test error",
    "validation_error": "validation error",
    "train_error": "training error",
    "test_loss": "test loss",
    "train_loss": "training loss",
}


def metric_name(metric: Metric | str) -> str:
    """Return a metric's name in words.

    >>> metric_name("test_error")
    'test error'
    """
    return _METRICS.get(metric, metric.replace("_", " "))


def is_share(metric: str) -> bool:
    """Return whether a metric is a share, shown in per cent and compared in points."""
    return metric.endswith("_error")


def score(value: float | None, metric: str) -> str:
    """Return a score as shown: errors in per cent, losses as they are.

    >>> score(0.0375, "test_error"), score(0.12345, "test_loss")
    ('3.75 %', '0.1235')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.2f} %" if is_share(metric) else f"{value:.4f}"


def difference(value: float, metric: str) -> str:
    """Return a difference with its sign: errors in points, losses as they are.

    >>> difference(-0.0042, "test_error"), difference(0.0, "test_error")
    ('−0.42', '0.00')
    """
    scaled, digits = (100 * value, 2) if is_share(metric) else (value, 4)
    text = f"{abs(scaled):.{digits}f}" if math.isfinite(scaled) else "∞"
    if float(text.replace("∞", "inf")) == 0:
        return text
    return (MINUS if scaled < 0 else "+") + text


def interval(bounds: Interval | Sequence[float], metric: str) -> str:
    """Return an interval for a difference, low to high."""
    low, high = bounds
    if not math.isfinite(low):
        return "unknown (one seed)"
    return f"{difference(low, metric)} to {difference(high, metric)}"


def margin(value: float, metric: str) -> str:
    """Return a margin with its unit.

    >>> margin(0.002, "test_error"), margin(0.01, "test_error"), margin(0.05, "test_loss")
    ('0.2 points', '1 point', '0.05')
    """
    if not is_share(metric):
        return f"{value:g}"
    return f"{100 * value:g} point" + ("" if math.isclose(100 * value, 1) else "s")


def p_value(value: float) -> str:
    """Return a p-value with as many digits as mean anything.

    >>> p_value(0.03125), p_value(0.00002), p_value(1.0)
    ('0.031', '< 0.001', '1')
    """
    if value < 0.001:
        return "< 0.001"
    return "1" if value >= 0.9995 else f"{value:.3f}"


def seeds_missing(arm: ArmResult) -> str:
    """Return for an undecided arm how many seeds more it probably takes."""
    if arm.verdict != "undecided":
        return ""
    if arm.seeds_needed is None:
        return "over 10,000 seeds"
    return f"about {arm.seeds_needed - len(arm.per_seed):,} more seeds"


def health(arm: ArmResult) -> str:
    """Return what the diagnosis of an arm's runs says, in a few words."""
    found = arm.health
    if found.examined == 0:
        return "not examined"
    if found.healthy == found.examined:
        return "healthy"
    rules = ", ".join(f"{rule.replace('_', ' ')} in {count}" for rule, count in list(found.rules.items())[:3])
    return f"{found.healthy} of {found.examined} healthy ({rules})"


def failures(arm: ArmResult) -> str:
    """Return how many trainings gave up, with the interval of their share; empty for none."""
    if not arm.failures:
        return ""
    low, high = arm.failure_share
    return f"{len(arm.failures)} of {len(arm.per_seed)} failed (95 % interval of the share {low:.0%} to {high:.0%})"


def time_ratio(arm: ArmResult) -> str:
    """Return an arm's training time relative to the reference."""
    return "–" if arm.time_ratio is None else f"{arm.time_ratio:.2f}×"


def target_name(study: Study) -> str:
    """Return what the target is in words, or nothing without one."""
    if study.target is None:
        return ""
    quantity = study.target_quantity or study.metric
    return f"{score(study.target, quantity)} {metric_name(quantity)}"


def to_target(arm: ArmResult) -> str:
    """Return how soon an arm reached the target, and how often."""
    if arm.reached is None or arm.epochs_to_target is None:
        return "–"
    often = f"{arm.reached} of {len(arm.per_seed)}"
    if not math.isfinite(arm.epochs_to_target):
        return f"reached by {often}"
    return f"{duration(arm.seconds_to_target)}, epoch {arm.epochs_to_target:g} ({often})"


def duration(seconds: float | None) -> str:
    """Return a time span in the unit that reads best.

    >>> duration(4.21), duration(93), duration(8000), duration(None)
    ('4.2 s', '1 min 33 s', '2 h 13 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["elu"]), listed(["elu", "gelu", "mish"])
    ('elu', 'elu, gelu and mish')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def remarks(comparison: Comparison) -> list[str]:
    """Return a sentence for every arm that failed or is ill, and for every verdict that is missing seeds."""
    found = []
    for arm in comparison.arms:
        if arm.failures:
            found.append(f"{arm.name}: {failures(arm)}; a failed training counts at chance.")
        elif arm.health.healthy < arm.health.examined:
            found.append(f"{arm.name}: {health(arm)}.")
    missing = [f"{arm.name} {seeds_missing(arm)}" for arm in comparison.arms if arm.verdict == "undecided"]
    if missing:
        found.append(f"To decide: {listed(missing)}.")
    return found


def number(count: int) -> str:
    """Return a small number as a word.

    >>> number(6), number(23)
    ('six', '23')
    """
    words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    return words[count] if count < len(words) else str(count)


def counted(count: int, thing: str) -> str:
    """Return a number of things.

    >>> counted(1, "epoch"), counted(6, "paired seed")
    ('1 epoch', '6 paired seeds')
    """
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def answers(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the outcome: for each verdict that was given the word and one plain sentence."""
    study = comparison.study
    reference, rope = study.reference, margin(study.rope, study.metric)
    found = []
    for word in ("better", "worse", "equivalent", "undecided"):
        arms = [arm for arm in comparison.arms if arm.verdict == word]
        if not arms:
            continue
        names = listed([arm.name for arm in arms])
        be = "is" if len(arms) == 1 else "are"
        if word in ("better", "worse"):
            sentence = f"{names} {be} {word} than {reference}."
        elif word == "equivalent":
            sentence = f"{names} {be} equivalent to {reference}: any difference is smaller than {rope}."
        else:
            verb = "differs" if len(arms) == 1 else "differ"
            sentence = (
                f"{names} {be} undecided: {len(study.seeds)} seeds cannot tell whether and which way "
                f"{'it' if len(arms) == 1 else 'they'} {verb} from {reference} by more than {rope}."
            )
        found.append((word, sentence))
    return found
