"""The page of a comparison: the answer in plain words, and everything that it rests on."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hillock.report import figures, wording
from hillock.report.document import write_page

if TYPE_CHECKING:
    from hillock.comparison import ArmResult, Comparison

__all__ = ["comparison_page"]

_VERDICTS = ("better", "worse", "equivalent", "undecided")
_FINDINGS_SHOWN = 3


def comparison_page(comparison: Comparison, path: Path | str) -> Path:
    """Write a comparison as one self-contained HTML file and return its path.

    The answer in plain words comes first, then the verdicts, every seed's difference, the curves, the health of the
    networks, the cost, how sure it is, and how to repeat it.

    >>> comparison_page(Comparison.load("runs/demo"), "runs/demo/report.html")  # doctest: +SKIP
    """
    study = comparison.study
    reference = comparison.arm(study.reference)
    others = len(study.arms) - 1
    rope = wording.margin(study.rope, study.metric)
    drawn = {
        "differences": figures.differences_figure(comparison),
        "error": figures.curves_figure(comparison, study.metric),
        "loss": figures.curves_figure(comparison, "train_loss"),
    }
    write_page(
        Path(path),
        "comparison.html",
        drawn,
        title=f"{wording.number(len(study.arms)).capitalize()} activations compared on {_data_name(study.recipe.data)}",
        lead=_lead(comparison),
        answers=wording.answers(comparison),
        warnings=_warnings(comparison),
        rows=[_verdict_row(comparison, arm) for arm in _sorted(comparison)],
        metric=wording.metric_name(study.metric),
        in_points=", in points" if wording.is_share(study.metric) else "",
        reference=reference.name,
        level=f"{study.level:.0%}",
        others=others,
        seeds=len(study.seeds),
        rope=rope,
        smallest_p=_smallest_p(comparison),
        interval_note=_interval_note(comparison),
        meanings=[(word, wording.MEANINGS[word].format(rope=rope)) for word in _VERDICTS],
        difference_height=110 + 52 * others,
        health=[_health_row(comparison, arm) for arm in comparison.arms],
        cost=[_cost_row(comparison, arm) for arm in comparison.arms],
        cost_note=_cost_note(comparison),
        target=wording.target_name(study),
        tuning=_tuning(comparison),
        tuning_note=_tuning_note(comparison),
        notes=_notes(comparison),
        raw_names=[arm.name for arm in comparison.arms],
        raw=_raw(comparison),
        ranks=[(name, [f"{share:.0%}" for share in row]) for name, row in comparison.rank_probabilities().items()],
        digest=study.digest[:16],
        design=study.to_toml(),
        facts=[(name, value) for name, value in comparison.provenance.items() if value is not None],
    )
    return Path(path)


def _data_name(data: str) -> str:
    return Path(data).name or data


def _lead(comparison: Comparison) -> str:
    study, recipe = comparison.study, comparison.study.recipe
    counts = [(recipe.epochs, "epoch"), (len(study.seeds), "paired seed"), (len(comparison.outcomes), "training")]
    date = str(comparison.provenance.get("date", ""))[:10]
    parts = [recipe.network, *(wording.counted(count, thing) for count, thing in counts), date]
    return " · ".join(part for part in parts if part)


def _sorted(comparison: Comparison) -> list[ArmResult]:
    return sorted(comparison.arms, key=lambda arm: (arm.verdict != "reference", arm.difference))


def _verdict_row(comparison: Comparison, arm: ArmResult) -> dict[str, Any]:
    study = comparison.study
    is_reference = arm.verdict == "reference"
    return {
        "name": arm.name,
        "colour": figures.series_colours(comparison)[arm.name],
        "mean": wording.score(arm.mean, study.metric),
        "difference": "" if is_reference else wording.difference(arm.difference, study.metric),
        "interval": "" if is_reference else wording.interval(arm.interval, study.metric),
        "verdict": arm.verdict,
        "missing": wording.seeds_missing(arm),
        "p": "" if is_reference else wording.p_value(arm.p_value),
        "health": wording.failures(arm) or wording.health(arm),
        "time": wording.time_ratio(arm),
    }


def _warnings(comparison: Comparison) -> list[str]:
    """Return what a reader must know before believing the table."""
    warnings = []
    if len(comparison.study.seeds) < 6:
        warnings.append("With fewer than 6 seeds the sign-flip test can never reach p < 0.05.")
    if len(comparison.looks) > 1:
        counts = wording.listed([str(look) for look in comparison.looks])
        warnings.append(
            f"The result was looked at with {counts} seeds. Adding seeds after looking makes false calls "
            f"more frequent than the intervals say."
        )
    for arm in comparison.arms:
        if arm.failures:
            warnings.append(f"{arm.name}: {wording.failures(arm)}; a failed training counts at chance.")
    return warnings


def _smallest_p(comparison: Comparison) -> str:
    """Return the rest of a sentence where the number of seeds limits p noticeably."""
    if comparison.smallest_p < 0.01:
        return ""
    seeds = wording.counted(len(comparison.study.seeds), "seed")
    return f"; with {seeds} it cannot be smaller than {wording.p_value(comparison.smallest_p)}"


def _interval_note(comparison: Comparison) -> str:
    level = f"{comparison.study.level:.0%}"
    if len(comparison.study.arms) == 2:
        return f"The interval holds the true mean difference with {level} confidence (paired t)."
    return f"All intervals together hold their true mean differences with {level} confidence (paired t, Bonferroni)."


def _health_row(comparison: Comparison, arm: ArmResult) -> dict[str, Any]:
    found = arm.health
    worst: dict[str, str] = {}
    for outcome in comparison.of(arm.name):
        for finding in outcome.health["findings"] if outcome.health is not None else ():
            if finding["severity"] != "note":
                worst.setdefault(finding["rule"], finding["explanation"])
    findings = [
        f"{rule.replace('_', ' ')} in {count} of {found.examined} runs: {worst[rule]}"
        for rule, count in list(found.rules.items())[:_FINDINGS_SHOWN]
    ]
    findings += [f"failed: {sentence}" for sentence in dict.fromkeys(arm.failures)]
    if found.examined == 0:
        return {"name": arm.name, "word": "undecided", "summary": "not examined", "findings": findings}
    word = "healthy" if found.healthy == found.examined and not arm.failures else "warning"
    summary = f"{found.healthy} of {found.examined}"
    return {"name": arm.name, "word": word, "summary": summary, "findings": findings}


def _cost_row(comparison: Comparison, arm: ArmResult) -> dict[str, Any]:
    outcomes = comparison.of(arm.name)
    speeds = [outcome.images_per_second for outcome in outcomes if outcome.images_per_second]
    bounds = arm.time_ratio_interval
    return {
        "name": arm.name,
        "seconds": wording.duration(arm.seconds),
        "ratio": wording.time_ratio(arm),
        "interval": "" if bounds is None or arm.verdict == "reference" else f"{bounds.low:.2f} to {bounds.high:.2f}×",
        "speed": f"{statistics.median(speeds):,.0f}" if speeds else "–",
        "target": wording.to_target(arm),
        "parameters": f"{outcomes[0].parameters:,}" if outcomes[0].parameters else "–",
    }


def _cost_note(comparison: Comparison) -> str:
    workers = comparison.provenance.get("workers", 0)
    beside = f"while {workers} trainings shared the machine" if workers and workers > 1 else "one training at a time"
    return (
        f"Medians over the seeds; training steps only, without evaluation and diagnosis, measured {beside}. "
        f"Relative times are paired by seed, and the activations take turns. For exact speed use hillock bench."
    )


def _notes(comparison: Comparison) -> list[str]:
    """Return what the numbers can and cannot say."""
    study = comparison.study
    treated = "every activation was trained with the same recipe and none was tuned"
    if comparison.choices:
        treated = "every activation was tuned with the same effort, and trained with seeds that tuning had not used"
    notes = [
        f"The unit of evidence is the seed: {len(study.seeds)} for each activation. The answer holds for this network, "
        f"this data and these settings; {treated}.",
    ]
    floors = [arm.sampling_error for arm in comparison.arms if arm.sampling_error is not None]
    if floors:
        floor = wording.margin(round(max(floors), 4), study.metric)
        count = comparison.test_pictures
        one = "" if not count else f" of {count:,} pictures"
        if count and wording.is_share(study.metric):
            one += f", one of which is {100 / count:.2g} points"
        notes.append(
            f"The verdicts are about this test set{one}. Other pictures of the same kind would move a difference by up "
            f"to {floor} (standard error), however many seeds were trained."
        )
    if len(study.arms) > 2:
        tested = [
            f"{arm.name} {wording.p_value(arm.p_adjusted)}" for arm in comparison.arms if arm.verdict != "reference"
        ]
        notes.append(
            f"The p of the table is each row's own. Corrected for {len(study.arms) - 1} comparisons (Holm): "
            f"{wording.listed(tested)}. The sign-flip test assumes nothing about the spread and needs more seeds "
            f"than the interval to be as sure."
        )
    undecided = [arm for arm in comparison.arms if arm.verdict == "undecided"]
    if undecided:
        plans = wording.listed([f"{arm.name} {wording.seeds_missing(arm)}" for arm in undecided])
        notes.append(
            f"If the differences seen so far are the true ones, a verdict with {study.power:.0%} probability "
            f"takes: {plans}."
        )
    return notes


def _tuning(comparison: Comparison) -> list[dict[str, Any]]:
    """Return what was chosen for each arm, and what the recipe as it stands would have given."""
    rows = []
    for arm, plain in zip(comparison.arms, comparison.untuned_arms, strict=False):
        choice = comparison.choices[arm.name]
        chosen = [f"{name.rpartition('.')[2].replace('_', ' ')} {value:g}" for name, value in choice.settings.items()]
        rows.append(
            {
                "name": arm.name,
                "settings": ", ".join(chosen) + (" (at the border of what was tried)" if choice.at_border else ""),
                "trials": len(choice.trials),
                "plain": wording.score(plain.mean, comparison.study.metric),
                "tuned": wording.score(arm.mean, comparison.study.metric),
                "verdict": plain.verdict,
            }
        )
    return rows


def _tuning_note(comparison: Comparison) -> str:
    if not comparison.choices:
        return ""
    trials = sum(len(choice.trials) for choice in comparison.choices.values())
    return (
        f"{wording.counted(trials, 'trial')} in all, the same settings for every activation, chosen by the error on "
        f"validation pictures. The columns on the right are the same seeds with the recipe as it stands."
    )


def _raw(comparison: Comparison) -> list[dict[str, Any]]:
    metric = comparison.study.metric
    return [
        {"seed": seed, "scores": [wording.score(arm.per_seed[index], metric) for arm in comparison.arms]}
        for index, seed in enumerate(comparison.study.seeds)
    ]
