"""Timing ways of training: what comes out, not how fast it is."""

from __future__ import annotations

import json

import pytest

from hillock.errors import UnknownNameError, UsageError
from hillock.training.step_timing import Setting, time_ways


def test_two_ways_take_turns_and_ratios_refer_to_the_last():
    said: list[str] = []
    result = time_ways(
        Setting("resnet8", "relu", image_size=8, batch_size=4),
        ["eager", "hillock"],
        rounds=2,
        steps=1,
        progress=said.append,
    )
    json.dumps(result)
    ways = result["ways"]
    assert list(ways) == ["eager", "hillock"]
    assert ways["hillock"]["time_over_hillock"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    eager = [a / b for a, b in zip(*(ways[w]["seconds_per_step"] for w in ways), strict=True)]
    assert ways["eager"]["time_over_hillock"]["low"] == pytest.approx(min(eager))
    assert result["provenance"]["torch"]
    assert len(said) == 4  # two warm-ups, two rounds


def test_a_wrong_way_is_named():
    with pytest.raises(UnknownNameError, match="'stock'"):
        time_ways(Setting(), ["stok", "hillock"])
    with pytest.raises(UsageError, match="two ways"):
        time_ways(Setting(), ["hillock"])
