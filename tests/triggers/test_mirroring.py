"""The table of triggers against what Prefect holds: what follows from each difference. Plain values."""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from retraining.jobs.job import TriggerType
from retraining.orchestrator.values import ScheduleSeen, TriggersSeen
from retraining.triggers.mirroring import (
    LATE,
    Action,
    Appear,
    Follow,
    Forget,
    Mirroring,
    Put,
    Remove,
    Vanish,
    mirror,
)
from retraining.triggers.trigger import STALE, RetrainingTrigger, TriggerPhase
from tests.triggers.evaluating import START, after

NOW = after(hours=2)
JUST_NOW, LONG_AGO = NOW - STALE / 2, NOW - STALE * 2
DAILY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
STORED_DAILY = {**DAILY, "every": None, "missed_runs": "latest"}
BOTH = ("retrain/churn", "monitor/churn")
SCHEDULED, DRIFT = TriggerType.SCHEDULED, TriggerType.DRIFT
OURS, THEIRS = UUID(int=1), UUID(int=2)


def ours(trigger_type: TriggerType = DRIFT, **facts: Any) -> RetrainingTrigger:
    """A trigger of `churn` made through the facade an hour ago, live."""
    condition = STORED_DAILY if trigger_type is SCHEDULED else {"check_every": "1d"}
    return RetrainingTrigger(
        **{
            "id": OURS,
            "model_name": "churn",
            "trigger_type": trigger_type,
            "trigger_condition": condition,
            "created_by": "ci",
            "created_at": after(hours=1),
            "updated_at": after(hours=1),
            "phase": TriggerPhase.LIVE,
            "phase_since": after(hours=1),
            **facts,
        }
    )


def theirs(**facts: Any) -> RetrainingTrigger:
    """A schedule that people made in Prefect, as the table has it."""
    given = {"id": THEIRS, "origin": "prefect", "created_by": "prefect", "trigger_condition": DAILY}
    return ours(SCHEDULED, **{**given, **facts})


def schedule(trigger: RetrainingTrigger, **facts: Any) -> ScheduleSeen:
    """Its schedule in Prefect, as it should be."""
    mine = trigger.origin == "api"
    calendar = DAILY if trigger.trigger_type is SCHEDULED else {"every": "1d", "anchor": START.isoformat()}
    seen = ScheduleSeen(
        schedule_id=UUID(int=99) if mine else trigger.id,
        model_name=trigger.model_name,
        trigger_id=trigger.id if mine else None,
        condition=calendar,
        active=trigger.enabled,
        created_at=trigger.created_at,
    )
    return replace(seen, **facts)


def seen(
    *schedules: ScheduleSeen,
    automations: Mapping[UUID, bool] | None = None,
    deployed_at: Mapping[str, datetime] | None = None,
) -> TriggersSeen:
    return TriggersSeen(
        schedules, automations or {}, dict.fromkeys(BOTH, START) if deployed_at is None else deployed_at
    )


def compared(
    triggers: list[RetrainingTrigger],
    prefect: TriggersSeen,
    *,
    suspects: Set[UUID] = frozenset(),
    deployed_before: Mapping[str, datetime] | None = None,
) -> Mirroring:
    before = dict.fromkeys(BOTH, START) if deployed_before is None else deployed_before
    return mirror(triggers, prefect, deployed_before=before, suspects=suspects, now=NOW)


def actions(trigger: RetrainingTrigger, prefect: TriggersSeen, **more: Any) -> tuple[Action, ...]:
    return compared([trigger], prefect, **more).actions


def whole(trigger: RetrainingTrigger, **facts: Any) -> TriggersSeen:
    """Prefect holds all of it."""
    automations = {} if trigger.trigger_type is SCHEDULED else {trigger.id: trigger.enabled}
    return seen(schedule(trigger, **facts), automations=automations)


@pytest.mark.parametrize("trigger", [ours(), ours(SCHEDULED), ours(enabled=False), theirs()])
def test_where_both_say_the_same_there_is_nothing_to_do(trigger: RetrainingTrigger) -> None:
    assert compared([trigger], whole(trigger)) == Mirroring(())


# Schedules that people made in Prefect


def test_a_schedule_that_people_made_appears() -> None:
    made = schedule(theirs())
    assert compared([], seen(made)).actions == (Appear(made),)


def test_a_schedule_that_people_deleted_vanishes_with_its_deployment_too() -> None:
    trigger = theirs()
    assert actions(trigger, seen()) == (Vanish(trigger),)
    assert actions(trigger, seen(deployed_at={})) == (Vanish(trigger),)


@pytest.mark.parametrize(
    "change",
    [{"active": False}, {"condition": {"rrule": "FREQ=DAILY", "timezone": "UTC"}}],
)
def test_a_schedule_that_people_changed_is_followed(change: dict[str, Any]) -> None:
    trigger = theirs()
    changed = schedule(trigger, **change)
    assert actions(trigger, seen(changed)) == (Follow(trigger, changed.active, changed.condition),)


def test_a_schedule_that_was_missed_once_comes_back() -> None:
    trigger = theirs(phase=TriggerPhase.DELETED, enabled=False)
    assert actions(trigger, seen(schedule(trigger, active=True))) == (Follow(trigger, True, DAILY),)
    assert actions(trigger, seen()) == ()


# Ours, switched or changed in Prefect


@pytest.mark.parametrize("trigger_type", [SCHEDULED, DRIFT])
@pytest.mark.parametrize("enabled", [True, False])
def test_pausing_and_resuming_in_prefect_shows(trigger_type: TriggerType, enabled: bool) -> None:
    trigger = ours(trigger_type, enabled=enabled)
    automations = {} if trigger_type is SCHEDULED else {trigger.id: not enabled}
    switched = seen(schedule(trigger, active=not enabled), automations=automations)
    assert actions(trigger, switched) == (Follow(trigger, not enabled, trigger.trigger_condition),)


@pytest.mark.parametrize("make", [ours, theirs])
def test_what_is_paused_with_its_deployment_stays_switched_as_it_was(
    make: Callable[..., RetrainingTrigger],
) -> None:
    trigger = make()
    paused = whole(trigger, paused_with_deployment=True)
    assert actions(trigger, paused) == (Follow(trigger, True, trigger.trigger_condition, paused=True),)
    assert actions(make(paused=True), paused) == ()
    [resumed] = actions(make(paused=True), whole(trigger))
    assert isinstance(resumed, Follow)
    assert (resumed.enabled, resumed.paused) == (True, False)


def test_a_monitor_whose_schedule_is_paused_is_disabled() -> None:
    """Its automation has nothing to wait for."""
    trigger = ours()
    paused = seen(schedule(trigger, active=False), automations={trigger.id: True})
    assert actions(trigger, paused) == (Follow(trigger, False, trigger.trigger_condition),)
    assert actions(ours(enabled=False), paused) == ()


def test_a_monitor_whose_automation_is_disabled_checks_no_more() -> None:
    trigger = ours()
    half = seen(schedule(trigger), automations={trigger.id: False})
    assert actions(trigger, half) == (Put(trigger, enabled=False),)


def test_a_disabled_monitor_whose_schedule_is_resumed_can_fire_again() -> None:
    trigger = ours(enabled=False)
    half = seen(schedule(trigger, active=True), automations={trigger.id: False})
    assert actions(trigger, half) == (Put(trigger, enabled=True),)


@pytest.mark.parametrize(
    ("trigger_type", "calendar", "changes"),
    [
        (SCHEDULED, {"cron": "0 4 * * 1", "timezone": "Europe/Berlin"}, {"cron": "0 4 * * 1"}),
        (SCHEDULED, {"cron": DAILY["cron"], "timezone": None}, {"timezone": "UTC"}),
        (
            SCHEDULED,
            {"every": "12h", "anchor": START.isoformat()},
            {"cron": None, "timezone": "UTC", "every": "12h"},
        ),
    ],
)
def test_new_times_of_a_schedule_of_ours_are_followed(
    trigger_type: TriggerType, calendar: dict[str, Any], changes: dict[str, Any]
) -> None:
    trigger = ours(trigger_type)
    found = actions(trigger, whole(trigger, condition=calendar))
    assert found == (Follow(trigger, True, {**trigger.trigger_condition, **changes}),)


def test_a_new_interval_of_a_monitor_is_followed() -> None:
    trigger = ours()
    [found] = actions(trigger, whole(trigger, condition={"every": "6h", "anchor": START.isoformat()}))
    assert isinstance(found, Follow)
    assert found.condition["check_every"] == "6h"


@pytest.mark.parametrize(
    ("trigger_type", "calendar"),
    [
        (SCHEDULED, {"rrule": "FREQ=DAILY", "timezone": "UTC"}),
        (SCHEDULED, {"every": "1s", "anchor": START.isoformat()}),
        (SCHEDULED, {"cron": "@daily", "timezone": "UTC"}),
        (DRIFT, DAILY),
        (DRIFT, {"every": "24h", "anchor": after(days=1).isoformat()}),
    ],
)
def test_times_that_no_condition_can_say_or_that_are_the_same_change_nothing(
    trigger_type: TriggerType, calendar: dict[str, Any]
) -> None:
    trigger = ours(trigger_type)
    assert actions(trigger, whole(trigger, condition=calendar)) == ()


# Ours, missing in Prefect


@pytest.mark.parametrize("trigger", [ours(), ours(SCHEDULED), ours(enabled=False)])
def test_what_a_deployment_dropped_is_put_back(trigger: RetrainingTrigger) -> None:
    deployed = seen(deployed_at=dict.fromkeys(BOTH, after(minutes=90)))
    assert actions(trigger, deployed) == (Put(trigger, trigger.enabled),)


def test_what_is_missing_at_the_first_comparison_of_all_is_put_back() -> None:
    assert actions(ours(), seen(), deployed_before={}) == (Put(ours(), enabled=True),)


@pytest.mark.parametrize(
    ("trigger", "left"),
    [
        (ours(), seen()),
        (ours(SCHEDULED), seen()),
        (ours(), seen(automations={OURS: True})),
        (ours(), seen(schedule(ours()))),
    ],
)
def test_what_a_person_deleted_in_prefect_is_deleted_here_when_it_is_seen_twice(
    trigger: RetrainingTrigger, left: TriggersSeen
) -> None:
    first = compared([trigger], left)
    assert first == Mirroring((), suspects=frozenset({trigger.id}))
    assert compared([trigger], left, suspects=first.suspects).actions == (Remove(trigger),)


def test_one_that_is_whole_again_is_no_suspect() -> None:
    trigger = ours()
    assert compared([trigger], whole(trigger), suspects={trigger.id}).suspects == frozenset()


@pytest.mark.parametrize("gone", [*BOTH, None])
def test_without_its_deployment_a_trigger_waits_until_there_is_one_again(gone: str | None) -> None:
    left = {name: START for name in BOTH if gone is not None and name != gone}
    trigger = ours()
    assert actions(trigger, seen(deployed_at=left), suspects={trigger.id}) == ()
    again = dict.fromkeys(BOTH, after(minutes=90))
    assert actions(trigger, seen(deployed_at=again), suspects={trigger.id}) == (Put(trigger, enabled=True),)


def test_what_a_deployment_left_in_place_is_left_alone() -> None:
    for trigger in (ours(), ours(SCHEDULED)):
        deployed = replace(whole(trigger), deployed_at=dict.fromkeys(BOTH, after(minutes=90)))
        assert actions(trigger, deployed) == ()


def test_a_deployment_of_another_model_says_nothing() -> None:
    deployed_at = {**dict.fromkeys(BOTH, START), "retrain/other": after(minutes=90)}
    assert compared([ours()], seen(deployed_at=deployed_at)).suspects == {OURS}


# What was left half done


@pytest.mark.parametrize("phase", [TriggerPhase.CREATING, TriggerPhase.REMOVING, TriggerPhase.CHANGING])
@pytest.mark.parametrize("trigger_type", [DRIFT, SCHEDULED])
def test_a_step_under_way_is_left_alone(phase: TriggerPhase, trigger_type: TriggerType) -> None:
    trigger = ours(trigger_type, phase=phase, phase_since=JUST_NOW)
    assert compared([trigger], seen(), suspects={trigger.id}) == Mirroring(())
    assert compared([trigger], whole(ours(trigger_type))) == Mirroring(())


@pytest.mark.parametrize("prefect", [seen(), whole(ours())])
@pytest.mark.parametrize("phase", [TriggerPhase.CREATING, TriggerPhase.REMOVING])
def test_a_step_that_was_left_is_undone_or_ended(phase: TriggerPhase, prefect: TriggersSeen) -> None:
    trigger = ours(phase=phase, phase_since=LONG_AGO)
    assert actions(trigger, prefect) == (Remove(trigger),)


def test_a_change_that_was_left_is_made() -> None:
    trigger = ours(phase=TriggerPhase.CHANGING, phase_since=LONG_AGO, enabled=False)
    assert actions(trigger, whole(ours())) == (Put(trigger, enabled=False),)
    switched = theirs(phase=TriggerPhase.CHANGING, phase_since=LONG_AGO, enabled=False)
    assert actions(switched, whole(theirs())) == (Follow(switched, True, DAILY),)


def test_an_abandoned_creation_is_removed_where_it_shows_and_forgotten_when_it_cannot_any_more() -> None:
    trigger = ours(phase=TriggerPhase.ABANDONED, phase_since=LONG_AGO)
    assert actions(trigger, seen()) == ()
    assert actions(trigger, seen(automations={OURS: True})) == (Remove(trigger),)
    old = ours(phase=TriggerPhase.ABANDONED, phase_since=NOW - LATE - timedelta(seconds=1))
    assert actions(old, seen()) == (Forget(old),)
    assert actions(old, whole(ours())) == (Remove(old),)


def test_a_deleted_trigger_that_shows_in_prefect_is_removed_again() -> None:
    trigger = ours(phase=TriggerPhase.DELETED, phase_since=LONG_AGO)
    assert actions(trigger, whole(ours())) == (Remove(trigger),)
    assert actions(trigger, seen()) == ()


def test_triggers_that_the_table_does_not_know_are_left_alone() -> None:
    lost, half = schedule(ours()), UUID(int=7)
    found = compared([], seen(lost, automations={OURS: True, half: True}))
    assert found == Mirroring((), strangers=frozenset({OURS, half}))
