"""Making, finding, changing, deleting and checking triggers."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from retraining.catalog.discovery import Catalog
from retraining.errors import (
    InvalidCondition,
    InvalidRequest,
    NotDeployed,
    NothingToCheck,
    OrchestratorUnavailable,
    TriggerNotFound,
    UnknownModel,
)
from retraining.orchestrator.values import TriggerOrder
from retraining.store.database import Database
from retraining.triggers.condition import DriftCondition
from retraining.triggers.service import TriggerService
from retraining.triggers.sync import TriggerSync
from retraining.triggers.trigger import TriggerChange, TriggerFilter, TriggerPhase
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.making import DAILY, create, fire, held, rows

ALL = TriggerFilter()


# Create


async def test_a_trigger_is_in_the_store_and_in_prefect(
    service: TriggerService, orchestrator: FakeTriggers, database: Database
) -> None:
    made = await create(service, condition={"window": "P30D", "patience": 2}, by="ci")
    assert (made.model_name, made.trigger_type, made.enabled, made.created_by, made.origin) == (
        "churn",
        "drift",
        True,
        "ci",
        "api",
    )
    assert made.trigger_condition["window"] == "30d"
    assert made.trigger_condition["cooldown"] == "0s"
    assert made.created_at == made.updated_at
    assert await service.get(made.id) == made
    assert orchestrator.orders == {
        made.id: TriggerOrder(
            made.id, "churn", DriftCondition(window=timedelta(days=30), patience=2), True, made.created_at
        )
    }
    assert (await rows(database))[made.id].phase is TriggerPhase.LIVE


async def test_the_next_runs_of_a_schedule_keep_its_local_time(service: TriggerService) -> None:
    made = await create(service, "scheduled", condition={"cron": "0 12 * * *", "timezone": "Europe/Berlin"})
    assert len(made.next_runs) == 5
    assert made.next_runs == sorted(made.next_runs)
    assert made.next_runs[0] > datetime.now(UTC)
    assert {run.tzinfo for run in made.next_runs} == {UTC}
    assert {run.hour for run in made.next_runs} <= {10, 11}


async def test_the_next_runs_of_a_monitor_are_those_of_its_checks(service: TriggerService) -> None:
    made = await create(service, condition={"check_every": "6h"})
    gaps = {later - sooner for sooner, later in pairwise(made.next_runs)}
    assert gaps == {timedelta(hours=6)}


async def test_a_disabled_trigger_has_no_next_runs_and_is_paused_in_prefect(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service, enabled=False)
    assert (made.enabled, made.next_runs) == (False, [])
    assert [one.active for one in orchestrator.schedules.values()] == [False]
    assert orchestrator.automations == {made.id: False}


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"condition": {"columns": ["age", "shoe_size"]}}, "trigger_condition.columns", "shoe_size is no"),
        ({"condition": {"patience": 0}}, "trigger_condition.patience", "greater than or equal to 1"),
        (
            {"trigger_type": "performance", "condition": {"metric": "mae"}},
            "trigger_condition.metric",
            "'mae' does not fit the task; for binary models: accuracy",
        ),
        (
            {"trigger_type": "performance", "condition": {"metric": "luck"}},
            "trigger_condition.metric",
            "unknown",
        ),
        ({"trigger_type": "scheduled", "condition": {}}, "trigger_condition", "exactly one"),
        ({"trigger_type": "manual"}, "trigger_type", "start a job instead"),
    ],
)
async def test_a_condition_that_cannot_be_is_refused_before_anything_is_done(
    service: TriggerService,
    orchestrator: FakeTriggers,
    database: Database,
    fields: dict[str, Any],
    field: str,
    problem: str,
) -> None:
    with pytest.raises(InvalidCondition) as raised:
        await create(service, **fields)
    assert raised.value.problems[0][0] == field
    assert problem in raised.value.problems[0][1]
    assert orchestrator.calls == []
    assert await rows(database) == {}


async def test_a_metric_of_the_teams_own_is_taken(service: TriggerService) -> None:
    made = await create(service, "performance", condition={"metric": "profit"})
    assert made.trigger_condition["metric"] == "profit"


async def test_an_unknown_model_is_refused(service: TriggerService, orchestrator: FakeTriggers) -> None:
    with pytest.raises(UnknownModel, match="known models: churn, profitability"):
        await create(service, model_name="weather")
    assert orchestrator.calls == []


async def test_a_model_without_deployment_leaves_nothing_behind(
    service: TriggerService, orchestrator: FakeTriggers, database: Database
) -> None:
    del orchestrator.deployed_at["monitor/churn"]
    with pytest.raises(NotDeployed, match="retraining deploy"):
        await create(service)
    assert (held(orchestrator), await rows(database)) == (set(), {})


async def test_prefect_failing_half_way_leaves_nothing_behind(
    service: TriggerService, orchestrator: FakeTriggers, database: Database
) -> None:
    orchestrator.break_put()
    with pytest.raises(OrchestratorUnavailable):
        await create(service)
    assert held(orchestrator) == set()
    assert (await service.list(ALL)).triggers == []
    # A late answer of Prefect's may still make something of it: until then it is remembered as to be removed.
    assert [row.phase for row in (await rows(database)).values()] == [TriggerPhase.ABANDONED]


async def test_prefect_going_down_half_way_shows_nothing(
    service: TriggerService, orchestrator: FakeTriggers, database: Database
) -> None:
    orchestrator.go_down()
    with pytest.raises(OrchestratorUnavailable):
        await create(service)
    assert (await service.list(ALL)).triggers == []
    [left] = (await rows(database)).values()
    with pytest.raises(TriggerNotFound):
        await service.get(left.id)
    with pytest.raises(TriggerNotFound):
        await service.delete(left.id, by="ci")
    with pytest.raises(TriggerNotFound):
        await service.evaluations(left.id)


# Find


async def test_an_unknown_trigger_is_not_found(service: TriggerService) -> None:
    unknown = uuid4()
    for asking in (
        service.get(unknown),
        service.change(unknown, TriggerChange(enabled=False), by="ci"),
        service.delete(unknown, by="ci"),
        service.check(unknown, as_of=None, report=False, by="ci", correlation_id=None),
        service.evaluations(unknown),
    ):
        with pytest.raises(TriggerNotFound):
            await asking


async def test_pages_follow_each_other_newest_first(service: TriggerService) -> None:
    ids = [(await create(service)).id for _ in range(5)]
    seen: list[UUID] = []
    cursor = None
    while True:
        page = await service.list(ALL, limit=2, cursor=cursor)
        seen += [trigger.id for trigger in page.triggers]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids[::-1]
    by_offset = await service.list(ALL, limit=2, offset=3)
    assert [trigger.id for trigger in by_offset.triggers] == ids[1::-1]


async def test_filters_choose_by_model_and_type(service: TriggerService) -> None:
    drift = await create(service)
    scheduled = await create(service, "scheduled")
    other = await create(service, model_name="profitability")

    async def found(**wanted: Any) -> list[UUID]:
        return [trigger.id for trigger in (await service.list(TriggerFilter(**wanted))).triggers]

    assert await found() == [other.id, scheduled.id, drift.id]
    assert await found(model_name="churn") == [scheduled.id, drift.id]
    assert await found(trigger_type="drift") == [other.id, drift.id]
    assert await found(model_name="churn", trigger_type="drift") == [drift.id]
    assert await found(model_name="weather") == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ({"limit": 0}, "limit: 0 is not between 1 and 1000"),
        ({"limit": 1001}, "limit: 1001"),
        ({"offset": -1}, "offset: -1"),
        ({"cursor": "tampered"}, "cursor: .* start again without it"),
        ({"cursor": "x", "offset": 1}, "either a cursor or an offset"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    service: TriggerService, page: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        await service.list(ALL, **page)
    with pytest.raises(InvalidRequest, match=problem):
        await service.evaluations(uuid4(), **page)


# Change


async def test_disabling_pauses_in_prefect_and_enabling_resumes(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service)
    off = await service.change(made.id, TriggerChange(enabled=False), by="ci")
    assert (off.enabled, off.next_runs, off.trigger_condition) == (False, [], made.trigger_condition)
    assert off.updated_at > made.updated_at
    assert orchestrator.automations == {made.id: False}
    on = await service.change(made.id, TriggerChange(enabled=True), by="ci")
    assert on.enabled
    assert [one.active for one in orchestrator.schedules.values()] == [True]


async def test_a_new_condition_replaces_the_whole_of_the_old(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service, condition={"patience": 3, "window": "30d"})
    changed = await service.change(made.id, TriggerChange(trigger_condition={"cooldown": "2d"}), by="ci")
    assert (changed.trigger_condition["cooldown"], changed.trigger_condition["patience"]) == ("2d", 1)
    assert changed.trigger_condition["window"] is None
    assert orchestrator.orders[made.id].condition == DriftCondition(cooldown=timedelta(days=2))
    assert orchestrator.orders[made.id].created_at == made.created_at


async def test_a_change_of_nothing_changes_nothing(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service)
    orchestrator.calls.clear()
    assert await service.change(made.id, TriggerChange(), by="ci") == made
    assert orchestrator.calls == []


async def test_a_condition_of_another_type_is_refused(service: TriggerService) -> None:
    made = await create(service)
    with pytest.raises(InvalidCondition, match=r"trigger_condition\.cron"):
        await service.change(made.id, TriggerChange(trigger_condition=DAILY), by="ci")
    assert await service.get(made.id) == made


async def test_a_change_that_prefect_does_not_take_is_taken_back(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service, condition={"check_every": "1d"})
    orchestrator.break_put()
    change = TriggerChange(enabled=False, trigger_condition={"check_every": "2d"})
    with pytest.raises(OrchestratorUnavailable):
        await service.change(made.id, change, by="ci")
    found = await service.get(made.id)
    assert (found.enabled, found.trigger_condition) == (True, made.trigger_condition)
    [schedule] = orchestrator.schedules.values()
    assert (schedule.active, schedule.condition["every"]) == (True, "1d")


async def test_a_trigger_whose_model_left_the_catalog_can_be_disabled_and_deleted(
    service: TriggerService, database: Database, orchestrator: FakeTriggers
) -> None:
    made = await create(service)
    poorer = TriggerService(database, orchestrator, Catalog([]))
    assert not (await poorer.change(made.id, TriggerChange(enabled=False), by="ci")).enabled
    with pytest.raises(UnknownModel):
        await poorer.change(made.id, TriggerChange(trigger_condition={}), by="ci")
    await poorer.delete(made.id, by="ci")


# Schedules that people made in Prefect


async def test_a_schedule_made_in_prefect_can_be_switched_and_deleted_but_not_given_a_condition(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers
) -> None:
    schedule = orchestrator.add_schedule("churn", DAILY)
    await sync.compare()
    found = await service.get(schedule.schedule_id)
    assert (found.origin, found.created_by, found.trigger_condition) == ("prefect", "prefect", DAILY)
    assert len(found.next_runs) == 5
    with pytest.raises(InvalidRequest, match="made in Prefect"):
        await service.change(found.id, TriggerChange(trigger_condition={"every": "1d"}), by="ci")
    off = await service.change(found.id, TriggerChange(enabled=False), by="ci")
    assert not off.enabled
    assert not orchestrator.schedules[schedule.schedule_id].active
    await service.delete(found.id, by="ci")
    assert orchestrator.schedules == {}
    with pytest.raises(TriggerNotFound):
        await service.get(found.id)


async def test_a_schedule_that_says_what_nobody_can_read_is_listed_without_next_runs(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers
) -> None:
    orchestrator.add_schedule("churn", {"cron": "@reboot", "timezone": "UTC"})
    await sync.compare()
    assert [trigger.next_runs for trigger in (await service.list(ALL)).triggers] == [[]]


# Delete


async def test_deleting_removes_it_in_prefect_and_keeps_its_history(
    service: TriggerService, orchestrator: FakeTriggers, database: Database
) -> None:
    made = await create(service)
    await fire(service, made.id)
    await service.delete(made.id, by="ci")
    assert held(orchestrator) == set()
    assert (await service.list(ALL)).triggers == []
    for asking in (service.get(made.id), service.delete(made.id, by="ci")):
        with pytest.raises(TriggerNotFound):
            await asking
    assert (await rows(database))[made.id].phase is TriggerPhase.DELETED
    assert [one.trigger_id for one in (await service.evaluations(made.id)).evaluations] == [made.id]


async def test_a_delete_that_prefect_did_not_answer_can_be_asked_again(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service)
    orchestrator.go_down()
    with pytest.raises(OrchestratorUnavailable):
        await service.delete(made.id, by="ci")
    orchestrator.come_back()
    await service.delete(made.id, by="ci")
    assert held(orchestrator) == set()
    with pytest.raises(TriggerNotFound):
        await service.delete(made.id, by="ci")


# Check


async def test_a_check_is_a_run_of_the_monitor(service: TriggerService, orchestrator: FakeTriggers) -> None:
    made = await create(service, enabled=False)
    as_of = datetime(1998, 4, 1, tzinfo=UTC)
    check_id = await service.check(made.id, as_of=as_of, report=True, by="ops", correlation_id="c-1")
    [check] = orchestrator.checks
    assert check.run_id == check_id
    assert (check.order.trigger_id, check.order.enabled) == (made.id, False)
    assert (check.as_of, check.report, check.by, check.correlation_id) == (as_of, True, "ops", "c-1")


async def test_a_schedule_has_nothing_to_check_or_to_fire(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    made = await create(service, "scheduled")
    with pytest.raises(NothingToCheck):
        await service.check(made.id, as_of=None, report=False, by="ops", correlation_id=None)
    with pytest.raises(NothingToCheck):
        await fire(service, made.id)
    assert orchestrator.checks == []


async def test_a_check_of_the_future_is_refused(service: TriggerService, orchestrator: FakeTriggers) -> None:
    made = await create(service)
    with pytest.raises(InvalidRequest, match=r"as_of: .* lies in the future"):
        await service.check(
            made.id,
            as_of=datetime.now(UTC) + timedelta(days=1),
            report=False,
            by="ops",
            correlation_id=None,
        )
    assert orchestrator.checks == []
