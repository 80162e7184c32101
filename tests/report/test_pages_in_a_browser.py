"""Every page in a real browser: nothing fetched, nothing complained about, readable at every width and theme."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hillock import report
from hillock.cli import run as command
from hillock.comparison import Comparison
from hillock.diagnosis import Diagnosis, Finding, Profile
from hillock.training.run import Run

DIAGNOSIS = Diagnosis(
    findings=(
        Finding(
            "saturated", "warning", "act3", 0.25, (0.2, 0.3), 0.1, "share of units", "A <i>quarter</i>.", ("gain",)
        ),
    ),
    profiles=(
        Profile("forward_gain", "ratio", ("a", "b", "c"), (1.0, float("nan"), 100.0), (1.0, 1.0, 1.0)),
        Profile("cosine", "mean", ("a", "b", "c"), (0.1, 0.2, 0.3)),
    ),
    not_seen=("a layer written in another language",),
)

# The luminance contrast of text against its background, as WCAG 2 defines it.
CONTRAST = """(selector) => [...document.querySelectorAll(selector)].map(element => {
  const light = rgb => {
    const [r, g, b] = rgb.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = node => getComputedStyle(node).backgroundColor === 'rgba(0, 0, 0, 0)';
  let behind = element;
  while (clear(behind) && behind.parentElement) behind = behind.parentElement;
  const a = light(getComputedStyle(element).color), b = light(getComputedStyle(behind).backgroundColor);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})"""


@pytest.fixture(params=["comparison", "run", "cards"])
def page(request: pytest.FixtureRequest, make_comparison: Callable[..., Comparison], run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    if request.param == "cards":
        assert command(["activations", "--family", "gated", "--until", "2016", "--html", str(path)]) == 0
        return path
    if request.param == "comparison":
        return report.comparison_page(make_comparison(), path)
    return report.run_page(run, DIAGNOSIS, path)


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_the_page_stands_alone_and_is_readable(page: Path, width: int, scheme: str, visit: Callable[..., Any]) -> None:
    seen = visit(page, width=width, scheme=scheme)
    assert seen.complaints == []
    assert all(url.startswith(("file://", "data:")) for url in seen.requests)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, "no sideways scrolling"
    assert seen.page.locator("#answer, h1").first.is_visible()
    for figure in seen.page.locator("[data-figure]").all():
        assert figure.is_visible()
        assert figure.locator("path.js-line, path.point").count() > 0, "something is drawn"
    for selector in ("p", "td", "th", "h1", "h2", ".word", ".soft", "summary"):
        # 4.5 is WCAG's AA for ordinary text.
        assert min(seen.page.evaluate(CONTRAST, selector), default=9) >= 4.5, selector


def test_figures_follow_the_theme(page: Path, visit: Callable[..., Any]) -> None:
    colour = "getComputedStyle(document.querySelector('[data-figure] .xtick text')).fill"
    seen = visit(page)
    light = seen.page.evaluate(colour)
    seen.page.emulate_media(color_scheme="dark")
    seen.page.wait_for_function(f"{colour} !== '{light}'")
    assert seen.complaints == []


def test_the_verdicts_are_on_the_page(
    make_comparison: Callable[..., Comparison], tmp_path: Path, visit: Callable[..., Any]
) -> None:
    comparison = make_comparison()
    seen = visit(report.comparison_page(comparison, tmp_path / "report.html"))
    rows = {
        row.locator("td.name").inner_text(): row.inner_text() for row in seen.page.locator("#verdicts tbody tr").all()
    }
    assert set(rows) == {arm.name for arm in comparison.arms}
    for arm in comparison.arms:
        assert arm.verdict in rows[arm.name]
    assert "gelu is better than relu" in seen.page.locator("#answer").inner_text()
    assert "5 of 6 failed" in rows["elu"]


def test_names_in_the_legend_hide_and_show_their_line(
    make_comparison: Callable[..., Comparison], tmp_path: Path, visit: Callable[..., Any]
) -> None:
    seen = visit(report.comparison_page(make_comparison("relu", "gelu"), tmp_path / "report.html"))
    figure = seen.page.locator("[data-figure=error]")
    before = figure.locator("path.js-line").count()
    figure.locator(".legendtoggle").first.click()
    seen.page.wait_for_function(
        f"document.querySelectorAll('[data-figure=error] path.js-line').length < {before}", timeout=5000
    )
