"""Write what is stored about the diagnosis into docs/diagnosis.md, from its heading "How far to trust it" on.

python benchmarks/faults/report.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE, RESULTS = ROOT / "docs" / "diagnosis.md", ROOT / "benchmarks" / "results"
HEADING = "## How far to trust it\n"
NONE = "-"


def share(rate: dict[str, Any]) -> str:
    """`12 of 13 (92 %, 64 to 100 %)`."""
    if not rate["trials"]:
        return NONE
    low, high = (f"{100 * end:.{0 if end >= 0.1 or end == 0 else 1}f}" for end in rate["interval"])
    found = rate["hits"] / rate["trials"]
    digits = 1 if 0 < found < 0.1 else 0
    return f"{rate['hits']} of {rate['trials']} ({100 * found:.{digits}f} %, {low} to {high} %)"


def stored(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def calibration(found: dict[str, Any]) -> Iterator[str]:
    held, chosen = found["held_back"], found["chosen_on"]
    changed = "; ".join(f"`{rule}` {limits}" for rule, limits in found["limits_changed"].items()) or "none"
    yield (
        f"`benchmarks/faults/` plants {len(held['kinds'])} kinds of fault in small networks on scanned digits "
        "(`kinds.py`), and trains them beside healthy controls: every scalar activation of the catalogue, and other "
        "batch sizes, rates, optimisers, depths, widths, normalisations, inputs and data (`controls.py`). The cases "
        "fall into two halves that share neither an activation nor a seed: limits are chosen on one, what follows is "
        f"reported on the other. Stored are {found['cases']} cases (`benchmarks/results/calibration.json`); intervals "
        "are 95 % (Clopper & Pearson).\n"
    )
    before = found["before"]
    yield (
        f"The first half held back gave {before['named']['hits']} of {before['named']['trials']} faults named and "
        f"{before['false_alarms']['hits']} false alarms of {before['false_alarms']['trials']}, {before['alarmed']}. "
        f"{before['change']}. So that half was looked at; the half reported here was drawn after the change, of the "
        "same activations with other seeds, and every fault and variant has a network of its own (with the rule as it "
        f"was, {before['on_the_half_reported_now']}).\n"
    )
    yield "| | half to choose on | looked at | half to report |\n|---|---|---|---|"
    for name, text in (
        ("named", "faults named by a rule that describes them"),
        ("noticed", "faults noticed by any rule"),
        ("false_alarms", "false alarms on healthy controls"),
        ("false_alarms_by_draw", "the same, by networks drawn"),
    ):
        yield f"| {text} | {share(chosen[name])} | {share(found['looked_at'][name])} | {share(held[name])} |"
    yield (
        f"\nLimits that the choice changed from what the rules ship with: {changed}. A fault of the recipe counts only "
        "if accuracy fell below the 95 % prediction interval of healthy controls of the same network and activation; "
        f"{len(held['planted_without_harm']['cases'])} planted faults of the reported half did no harm and are left "
        f"out, as are {len(found['left_out']['cases'])} networks without a fault that did not learn. Both are listed "
        "in the file.\n"
    )
    yield f"Aims that the reported half misses: {', '.join(missed(held)) or 'none'}.\n"
    if held["alarmed"]:
        alarms = "; ".join(f"{name} ({', '.join(rules)})" for name, rules in held["alarmed"].items())
        yield f"False alarms of the reported half: {alarms}.\n"
    yield "| planted fault (reported half) | named | noticed |\n|---|---|---|"
    for kind, row in held["kinds"].items():
        yield f"| {kind} | {share(row['named'])} | {share(row['noticed'])} |"
    yield "\n### Rule by rule\n"
    yield (
        "How often each rule fires on the reported half's faults that it is listed for (a fault is usually listed for "
        "several), and on healthy controls.\n"
    )
    yield "| rule | fires on its faults | false alarms |\n|---|---|---|"
    for rule, row in held["rules"].items():
        yield f"| [`{rule}`](rules.md#{rule}) | {share(row['fires'])} | {share(row['false_alarms'])} |"


def missed(held: dict[str, Any]) -> list[str]:
    """The aims that a half misses, in words."""
    shares = [row["named"]["share"] for row in held["kinds"].values()]
    aims = (
        ("95 % of faults named", held["named"]["share"] >= 0.95),
        ("80 % of each kind", all(one is None or one >= 0.8 for one in shares)),
        ("at most 2 % false alarms", held["false_alarms"]["share"] <= 0.02),
    )
    return [text for text, met in aims if not met]


def peers(found: dict[str, Any]) -> Iterator[str]:
    rates = found["beside_peers"]["noticed"]
    if not rates:
        return
    yield "\n### Beside three packages\n"
    yield (
        "The same trainings of the reported half, as far as torch has the activation, with default settings "
        "(`peers.py`). None of the packages names kinds of fault that could be matched with these, so what counts is "
        "whether anything is reported. *Informedness* is detection minus false alarms: 0 for a tool that always "
        "cries.\n"
    )
    yield "| | faults noticed | false alarms | informedness |\n|---|---|---|---|"
    for name, row in rates.items():
        yield f"| {name} | {share(row['faults'])} | {share(row['controls'])} | {row['informedness']:.2f} |"
    first = rates["hillock"]
    behind = [
        name
        for name, row in rates.items()
        if name != "hillock"
        and not (
            row["faults"]["share"] < first["faults"]["share"] and row["controls"]["share"] > first["controls"]["share"]
        )
    ]
    yield (
        f"\nNot beaten in both figures: {', '.join(behind) or 'none'} (the other figure says at what price). Cases on "
        f"which a package broke: {len(found['beside_peers']['failed'])}."
    )


def treatments(found: dict[str, Any]) -> Iterator[str]:
    yield "\n### Does `treat` repair?\n"
    yield (
        f"`treatments.py`, {found['steps']} steps and {found['seeds']} confirming seeds, {found['done']} of "
        f"{found['planned']} planned cases in random order; a repair is judged by other pictures and fresh seeds.\n"
    )
    yield "| | |\n|---|---|"
    for name, text in (
        ("repaired", "planted faults of the recipe repaired (error back in the healthy controls' interval)"),
        ("claims_that_made_it_worse", "claimed remedies that did not lower the error on fresh seeds"),
        ("claims_where_nothing_helps", "claims where nothing can help (labels that mean nothing)"),
        ("false_claims_of_healthy", "claims for a healthy training that fresh seeds do not bear out"),
    ):
        yield f"| {text} | {share(found[name])} |"
    hurt = [answer for answer in found["faults"] if answer["hurt"]]
    left = [
        f"{answer['case']} (error {answer['untreated']:.1%} before, {answer.get('treated', answer['untreated']):.1%} "
        f"with {answer['chosen'] or 'nothing'}, bound {answer['healthy_bound']:.1%})"
        for answer in hurt
        if not answer["repaired"]
    ]
    yield f"\nNot repaired: {'; '.join(left) or 'none'}."


def initial_loss(found: dict[str, Any]) -> Iterator[str]:
    tried = found["tried"][f"{found['chosen']}"]
    yield (
        f"\nThe limit of `initial_loss` comes from networks before training alone ({tried['trials']} draws of eleven "
        f"networks, three layers to 110, `initial_loss.py`): the smallest of those tried that fires on at most 2 % of "
        f"them is {found['chosen']:g} ({share(tried)}); it finds {share(found['large_gain_found'])} of draws with four "
        "times the gain in perceptrons. What it misses are bounded functions, whose scores stay small."
    )


def watching() -> Iterator[str]:
    files = sorted(RESULTS.glob("watching_cost_*.json"))
    if not files:
        return
    yield "\n### What watching cost\n"
    yield (
        "Watched in turns with unwatched stretches of the same training (`watching_cost.py`), default settings: a "
        "probe every 50 steps if it fits into 2 % of the time, so the interval is longer where a probe takes as long "
        "as many steps. The first column is what the recorder's clock counted over the rest of the time, first probe "
        "included; the second what watching took beyond that (watched over unwatched stretches, without the counted "
        "time). The first probe comes before the first step: a training shorter than the steps of the third column "
        "pays more than 2 % for it. The own figure is what the run prints.\n"
    )
    yield (
        "| network | probes | beyond (median, 95 %) | within 2 % from step | steps between probes | own figure | "
        "in this measurement |\n|---|---|---|---|---|---|---|"
    )
    notes: list[str] = []
    for path in files:
        found = json.loads(path.read_text(encoding="utf-8"))
        beyond = found["outside"]
        low, high = beyond["median_interval"]
        yield (
            f"| {found['network']}, {found['image_size']} pixels, batch {found['batch']} | "
            f"{found['cost_with_first_probe']:.1%} | {beyond['median']:+.1%} ({low:+.1%} to {high:+.1%}) | "
            f"{found['within_budget_from_step']} | {found['steps_between_probes']} | {found['own_figure']:.1%} | "
            f"{found['probes']} probes in {found['watched_steps']} steps |"
        )
        notes += [f"{found['network']}: {found['note']}."] if "note" in found else []
    if notes:
        yield "\n" + " ".join(notes)


def section() -> str:
    found = stored("calibration.json")
    lines = [HEADING, *calibration(found), *initial_loss(stored("initial_loss.json")), *peers(found)]
    if (RESULTS / "treatments.json").exists():
        lines += treatments(stored("treatments.json"))
    lines += watching()
    return "\n".join(lines) + "\n"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page[: page.index(HEADING)] + section(), encoding="utf-8")


if __name__ == "__main__":
    main()
