"""`hillock activations` as typed: the list and its filters, one card in every form, and wrong names in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hillock.activations import CATALOGUE, Activation
from hillock.cli import run


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what a command line prints on standard output, having checked that it ends well."""

    def call(*words: str) -> str:
        assert run(["activations", *words]) == 0
        return capsys.readouterr().out

    return call


def test_the_list_holds_the_whole_catalogue(typed: Any) -> None:
    names = [entry["name"] for entry in json.loads(typed("--json"))]
    assert names == [entry.name for entry in CATALOGUE]
    table = typed()
    assert all(name in table for name in names)


@pytest.mark.parametrize(
    ("flags", "belongs"),
    [
        (["--monotone"], lambda a: a.traits.monotone),
        (["--not-monotone"], lambda a: not a.traits.monotone),
        (["--zero-centred"], lambda a: a.traits.zero_centred),
        (["--saturating", "both"], lambda a: a.traits.saturating == "both"),
        (["--learned"], lambda a: bool(a.learned)),
        (["--fixed", "--monotone"], lambda a: not a.learned and a.traits.monotone),
    ],
)
def test_a_filter_keeps_exactly_what_it_names(flags: list[str], belongs: Any, typed: Any) -> None:
    kept = {entry["name"] for entry in json.loads(typed(*flags, "--json"))}
    assert kept == {a.name for a in CATALOGUE if isinstance(a, Activation) and belongs(a)}
    assert 0 < len(kept) < len(CATALOGUE)


def test_filters_on_year_and_family_join(typed: Any) -> None:
    kept = json.loads(typed("--family", "gated", "--since", "2016", "--until", "2018", "--json"))
    sources = {entry.name: entry.source for entry in CATALOGUE}
    assert kept
    for entry in kept:
        source = sources[entry["name"]]
        assert entry["family"] == "gated"
        assert source is not None
        assert 2016 <= source.year <= 2018


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_every_entry_has_a_card(entry: Any, typed: Any) -> None:
    shown = typed(entry.name)
    assert entry.name in shown
    if isinstance(entry, Activation):
        assert "φ(x)  =" in shown
        assert "φ'(x) =" in shown


def test_an_alias_shows_the_same_card(typed: Any) -> None:
    assert json.loads(typed("swish-1", "--json")) == json.loads(typed("silu", "--json"))


def test_ones_own_formula_gets_a_card(typed: Any) -> None:
    card = json.loads(typed("bump=x*exp(-x^2)", "--json"))
    assert card["properties"]["turning"] == pytest.approx([-(0.5**0.5), 0.5**0.5])


def test_bibtex_is_nothing_but_entries(typed: Any) -> None:
    text = typed("gelu", "--bibtex")
    assert text.startswith("@")
    assert text.rstrip().endswith("}")
    assert "Hendrycks" in text
    everything = typed("--bibtex")
    keys = [line.split("{")[1] for line in everything.splitlines() if line.startswith("@")]
    assert len(keys) == len(set(keys)) > 20


def test_a_page_of_cards_is_one_file(tmp_path: Path, typed: Any) -> None:
    page = tmp_path / "cards.html"
    typed("--family", "gated", "--until", "2016", "--html", str(page))
    text = page.read_text()
    assert all(f"<h1>{name}" in text or f">{name}<" in text for name in ("gelu", "gelu_tanh", "gelu_sigmoid"))
    assert "<script src" not in text
    assert 'rel="stylesheet"' not in text


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["gelo"], "gelu"),
        (["--family", "gatd"], "gated"),
        (["--since", "2100"], "fewer filters"),
        (["pole=1/x"], "finite everywhere"),
        (["mine=x*("], "formula"),
    ],
)
def test_a_wrong_value_is_answered_in_one_sentence(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["activations", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert hint in shown.err
    assert "Traceback" not in shown.err
