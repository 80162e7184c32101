"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hillock.training import ScheduleSettings
from hillock.training.schedule import ScheduleState, after_error, after_evaluation, rate_factor

START = ScheduleState()


def factor(settings: ScheduleSettings, step: int, total: int = 100, state: ScheduleState = START) -> float:
    return rate_factor(settings, step, total_steps=total, steps_per_epoch=10, state=state)


@given(
    st.sampled_from(["cosine", "linear", "constant"]),
    st.integers(1, 300),
    st.floats(0, 1),
    st.floats(0, 1),
    st.data(),
)
def test_every_factor_is_a_share_and_the_first_is_not_zero(
    kind: Any, total: int, warm: float, final: float, data: Any
) -> None:
    settings = ScheduleSettings(kind=kind, warmup_share=warm, final_factor=final)
    step = data.draw(st.integers(0, total - 1))
    assert 0 <= factor(settings, step, total) <= 1
    assert factor(settings, 0, total) > 0


@pytest.mark.parametrize(("kind", "middle"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_the_way_down(kind: Any, middle: float) -> None:
    settings = ScheduleSettings(kind=kind, warmup_steps=0)
    assert factor(settings, 0) == 1
    assert math.isclose(factor(settings, 50), middle)
    assert factor(settings, 99) == pytest.approx({"cosine": 2.5e-4, "linear": 0.01, "constant": 1.0}[kind], rel=0.02)


def test_warm_up_climbs_in_equal_steps_to_the_peak() -> None:
    settings = ScheduleSettings(kind="constant", warmup_steps=4)
    assert [factor(settings, step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_milestones_in_steps_and_in_epochs() -> None:
    in_steps = ScheduleSettings(kind="steps", milestones=(20, 30), unit="steps", warmup_steps=0)
    in_epochs = ScheduleSettings(kind="steps", milestones=(2, 3), unit="epochs", warmup_steps=0)
    for settings in (in_steps, in_epochs):
        assert [factor(settings, step) for step in (19, 20, 29, 30)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_held_warm_up_ends_at_its_step() -> None:
    settings = ScheduleSettings(kind="constant", warmup_steps=400, warmup_factor=0.1)
    assert (factor(settings, 399), factor(settings, 400)) == (0.1, 1)


def test_a_waiting_warm_up_ends_when_the_error_is_low_enough() -> None:
    settings = ScheduleSettings(kind="constant", warmup_factor=0.1, warmup_until_error=0.8)
    state = after_error(settings, ScheduleState(), 7, 0.8)
    assert factor(settings, 7, state=state) == 0.1
    state = after_error(settings, state, 8, 0.79)
    assert state.warmup_ended == 8
    assert factor(settings, 8, state=state) == 1
    assert after_error(settings, state, 9, 0.95) == state


def test_a_plateau_drops_after_its_patience_and_at_most_so_often() -> None:
    settings = ScheduleSettings(kind="plateau", warmup_steps=0, patience=2, max_drops=2)
    state = ScheduleState()
    factors = []
    for error in (0.5, 0.4, 0.4, 0.4, 0.45, 0.3, 0.3, 0.3, 0.3, 0.3):
        state = after_evaluation(settings, state, error)
        factors.append(factor(settings, 50, state=state))
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
