"""What the pages and tables say, without a browser."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from hillock import report
from hillock.comparison import Comparison, Tuning
from hillock.comparison.tuning import Choice, Trial
from hillock.report import figures, tables, wording
from hillock.report.document import write_page
from hillock.training.run import Run

MakeComparison = Callable[..., Comparison]


def visible(path: Path) -> str:
    """The page's text as a reader sees it, one space between words."""
    text = re.sub(r"<script.*?</script>|<style.*?</style>", " ", path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_every_verdict_is_said_in_a_sentence(make_comparison: MakeComparison, tmp_path: Path) -> None:
    comparison = make_comparison()
    said = visible(report.comparison_page(comparison, tmp_path / "report.html"))
    words = {arm.name: arm.verdict for arm in comparison.arms}
    assert words == {
        "relu": "reference",
        "gelu": "better",
        "mish": "undecided",
        "silu": "equivalent",
        "tanh": "worse",
        "elu": "worse",
    }
    assert "gelu is better than relu." in said
    assert "tanh and elu are worse than relu." in said
    assert "silu is equivalent to relu: any difference is smaller than 0.2 points." in said
    assert "mish is undecided: 6 seeds cannot tell whether and which way it differs from relu" in said
    assert re.search(r"mish about [\d,]+ more seeds", said)


def test_failures_and_illness_are_said(make_comparison: MakeComparison, tmp_path: Path) -> None:
    said = visible(report.comparison_page(make_comparison(), tmp_path / "report.html"))
    assert "elu: 5 of 6 failed (95 % interval of the share 36% to 100%); a failed training counts at chance." in said
    assert "saturated in 6 of 6 runs: A &lt;b&gt;quarter&lt;/b&gt; of all." in said
    assert "failed: the loss was not finite at step 3" in said


def test_what_comes_from_outside_is_escaped(make_comparison: MakeComparison, tmp_path: Path) -> None:
    page = report.comparison_page(make_comparison(), tmp_path / "report.html").read_text()
    assert "<b>quarter" not in page
    assert "a <script> of" not in page


def test_a_figure_cannot_end_its_script(tmp_path: Path) -> None:
    figure = {"data": [{"name": "</script><script>alert(1)</script>"}], "layout": {}}
    write_page(
        tmp_path / "page.html",
        "base.html",
        {"bad": figure},
    )
    text = (tmp_path / "page.html").read_text()
    assert "alert(1)</script>" not in text
    kept = re.search(r'id="figure-bad">(.*?)</script>', text, flags=re.DOTALL)
    assert kept is not None
    assert json.loads(kept[1]) == figure


def test_the_page_names_no_host(make_comparison: MakeComparison, run: Run, tmp_path: Path) -> None:
    for path in (
        report.comparison_page(make_comparison(), tmp_path / "a.html"),
        report.run_page(run, None, tmp_path / "b.html"),
    ):
        text = path.read_text()
        assert text.count("plotly.js v") == 1, "the library is there, once"
        own = re.sub(r"<script>/\*\*.*?</script>", "", text, count=1, flags=re.DOTALL)
        assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", own)
        assert "http" not in own.replace("http-equiv", "")


def test_tuning_is_shown_beside_the_recipe_as_it_stands(make_comparison: MakeComparison, tmp_path: Path) -> None:
    plain = make_comparison("relu", "gelu", tuning=Tuning(trials=2))
    trials = tuple(Trial({"optimizer.learning_rate": rate}, error) for rate, error in ((0.1, 0.2), (0.3, 0.1)))
    choices = {arm.name: Choice(trials[1].settings, trials, at_border=arm.name == "gelu") for arm in plain.arms}
    tuned = dataclasses.replace(plain, choices=choices, untuned=plain.outcomes)
    said = visible(report.comparison_page(tuned, tmp_path / "tuned.html"))
    assert "learning rate 0.3 (at the border of what was tried)" in said
    assert "4 trials in all" in said
    assert "every activation was tuned with the same effort" in said
    assert "Tuned and untuned" not in visible(report.comparison_page(make_comparison(), tmp_path / "plain.html"))


def test_a_target_is_timed_and_misses_are_counted(make_comparison: MakeComparison, tmp_path: Path) -> None:
    """Curves fall by 10 points an epoch to the level of the arm; tanh ends near 20 %, above the target."""
    comparison = make_comparison("relu", "gelu", "tanh", target=0.165)
    relu, gelu, tanh = comparison.arms
    assert (relu.reached, relu.epochs_to_target, relu.seconds_to_target) == (6, 4.0, 4.0)
    assert (gelu.reached, gelu.epochs_to_target) == (6, 3.0)
    assert (tanh.reached, tanh.epochs_to_target) == (0, float("inf"))
    said = visible(report.comparison_page(comparison, tmp_path / "target.html"))
    assert "to 16.50 % test error" in said
    assert "4.0 s, epoch 4 (6 of 6)" in said
    assert "reached by 0 of 6" in said


def test_few_seeds_and_later_looks_are_warned_of(make_comparison: MakeComparison, tmp_path: Path) -> None:
    few = make_comparison("relu", "gelu", seeds=3)
    assert "With fewer than 6 seeds" in visible(report.comparison_page(few, tmp_path / "few.html"))
    looked = dataclasses.replace(make_comparison("relu", "gelu"), looks=(3, 6))
    assert "looked at with 3 and 6 seeds" in visible(report.comparison_page(looked, tmp_path / "looked.html"))


def test_one_seed_makes_a_page_too(make_comparison: MakeComparison, tmp_path: Path) -> None:
    said = visible(report.comparison_page(make_comparison("relu", "gelu", seeds=1), tmp_path / "one.html"))
    assert "unknown (one seed)" in said


def test_a_page_is_the_same_every_time(make_comparison: MakeComparison, tmp_path: Path) -> None:
    first = report.comparison_page(make_comparison(), tmp_path / "a.html").read_bytes()
    assert report.comparison_page(make_comparison(), tmp_path / "b.html").read_bytes() == first


def test_the_table_fits_a_terminal_of_80_columns(make_comparison: MakeComparison) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tables.comparison_table(make_comparison()))
    console.file.close()
    text = console.export_text()
    assert "…" not in text
    for word in ("better", "worse", "equivalent", "undecided", "reference", "−0.", "5 failed", "95% interval"):
        assert word in text


def test_an_arm_off_the_scale_does_not_squeeze_the_others(make_comparison: MakeComparison) -> None:
    figure = figures.differences_figure(make_comparison())
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["+66.7 points →"] or figure["layout"][
        "annotations"
    ]
    drawn = [abs(value) for trace in figure["data"] for value in trace["x"]]
    assert max(drawn) < 20


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.0042, "−0.42"), (0.0042, "+0.42"), (-0.00001, "0.00"), (float("inf"), "+∞")]
)
def test_differences_carry_their_sign(value: float, shown: str) -> None:
    assert wording.difference(value, "test_error") == shown


def test_losses_are_not_called_points(make_comparison: MakeComparison, tmp_path: Path) -> None:
    said = visible(report.comparison_page(make_comparison("relu", "gelu", metric="test_loss"), tmp_path / "loss.html"))
    assert "points" not in said


def test_a_run_without_diagnosis_says_so(run: Run, tmp_path: Path) -> None:
    said = visible(report.run_page(run, None, tmp_path / "run.html"))
    assert "Its health was not examined: hillock diagnose" in said
    assert "names 85.0% of the test pictures correctly" in said
