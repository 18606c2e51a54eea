"""The table of triggers and their evaluations follow Prefect, and Prefect follows the table."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from retraining.errors import OrchestratorRefused, OrchestratorUnavailable
from retraining.orchestrator.values import TriggerOrder, TriggersSeen
from retraining.store.database import Database
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.ledger import TriggerLedger
from retraining.triggers.service import TriggerService
from retraining.triggers.sync import OVERLAP, TriggerSync
from retraining.triggers.trigger import TriggerChange, TriggerPhase
from tests.jobs.waiting import until
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.evaluating import an_evaluation
from tests.triggers.looking import following, leave, nothing, recorded, shown, shows
from tests.triggers.making import DAILY, create, evaluation_rows, fire, held, rows
from tests.triggers.models import CATALOG

# People in Prefect


async def test_what_people_do_in_prefect_shows(
    service: TriggerService, orchestrator: FakeTriggers, database: Database
) -> None:
    async with TriggerSync(database, orchestrator, shortest_interval=0.02).running():
        made = orchestrator.add_schedule("churn", DAILY)
        await until(shows(service, id=made.schedule_id, origin="prefect", enabled=True))
        orchestrator.pause(made.schedule_id)
        await until(shows(service, enabled=False, next_runs=[]))
        orchestrator.pause(made.schedule_id, active=True)
        await until(shows(service, enabled=True))
        orchestrator.delete_schedule(made.schedule_id)
        await until(nothing(service))


async def test_pausing_a_trigger_of_ours_in_prefect_shows(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service, "scheduled")
    orchestrator.pause(trigger.id)
    await sync.compare()
    assert not (await service.get(trigger.id)).enabled
    orchestrator.pause(trigger.id, active=True)
    await sync.compare()
    assert (await service.get(trigger.id)).enabled


@pytest.mark.parametrize("trigger_type", ["scheduled", "drift"])
async def test_pausing_a_whole_deployment_shows_and_switches_no_trigger(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, trigger_type: str
) -> None:
    trigger = await create(service, trigger_type)
    orchestrator.paused.add("churn")
    await sync.compare()
    shown_paused = await service.get(trigger.id)
    assert (shown_paused.enabled, shown_paused.paused, shown_paused.next_runs) == (False, True, [])
    condition = {"cron": "0 4 * * *"} if trigger_type == "scheduled" else {"patience": 2}
    for change in ({"trigger_condition": condition}, {"enabled": True}):
        changed = await service.change(trigger.id, TriggerChange(**change), by="ci")
        assert (changed.enabled, changed.paused) == (False, True)
    assert [one.active for one in orchestrator.schedules.values()] == [True]
    orchestrator.paused.clear()
    await sync.compare()
    resumed = await service.get(trigger.id)
    assert (resumed.enabled, resumed.paused, len(resumed.next_runs)) == (True, False, 5)


async def test_both_halves_of_a_monitor_are_switched_together(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service)
    orchestrator.automations[trigger.id] = False  # a person, in Prefect
    await sync.compare()
    assert not (await service.get(trigger.id)).enabled
    assert [one.active for one in orchestrator.schedules.values()] == [False]
    orchestrator.pause(trigger.id, active=True)
    await sync.compare()
    assert (await service.get(trigger.id)).enabled
    assert orchestrator.automations == {trigger.id: True}


@pytest.mark.parametrize("half", ["schedule", "automation"])
async def test_a_trigger_that_a_person_deleted_in_prefect_is_deleted_and_its_history_stays(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, half: str
) -> None:
    trigger, other = await create(service), await create(service)
    await fire(service, trigger.id)
    await sync.compare()
    if half == "schedule":
        orchestrator.delete_schedule(trigger.id)
    else:
        orchestrator.delete_automation(trigger.id)
    await sync.compare()
    await sync.compare()
    assert [*await shown(service)] == [other.id]
    assert held(orchestrator) == {other.id}
    assert len((await service.evaluations(trigger.id)).evaluations) == 1


async def test_deploying_again_puts_our_triggers_back_and_forgets_the_schedules_that_people_made(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers
) -> None:
    drift = await create(service, enabled=False)
    scheduled = await create(service, "scheduled")
    other = await create(service, model_name="profitability")
    orchestrator.add_schedule("churn", DAILY)
    await sync.compare()
    assert len(await shown(service)) == 4
    orchestrator.redeploy("churn")
    assert held(orchestrator) == {drift.id, other.id}  # its automation alone
    await sync.compare()
    assert await shown(service) == {trigger.id: trigger for trigger in (drift, scheduled, other)}
    assert held(orchestrator) == {drift.id, scheduled.id, other.id}
    active = {one.trigger_id: one.active for one in orchestrator.schedules.values()}
    assert active == {drift.id: False, scheduled.id: True, other.id: True}


async def test_deploying_again_while_the_facade_was_away_is_no_deletion(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    trigger = await create(service)
    await sync.compare()
    orchestrator.redeploy("churn")
    later = TriggerSync(database, orchestrator)
    await later.compare()
    await later.compare()
    assert held(orchestrator) == {trigger.id} == {*await shown(service)}
    # And deleting it in Prefect after that is one.
    orchestrator.delete_schedule(trigger.id)
    await later.compare()
    await later.compare()
    assert await shown(service) == {}


@pytest.mark.parametrize("phase", [TriggerPhase.CREATING, TriggerPhase.CHANGING])
async def test_deploying_again_while_a_trigger_is_being_put_is_no_deletion(
    service: TriggerService,
    sync: TriggerSync,
    orchestrator: FakeTriggers,
    database: Database,
    phase: TriggerPhase,
) -> None:
    trigger = await create(service)
    await sync.compare()
    await leave(database, trigger.id, phase, seconds=5)
    orchestrator.redeploy("churn")
    await sync.compare()
    await leave(database, trigger.id, TriggerPhase.LIVE)
    for _ in range(3):
        await sync.compare()
    assert held(orchestrator) == {trigger.id} == {*await shown(service)}
    assert len(orchestrator.schedules) == 1


async def test_a_trigger_without_its_deployment_stays_and_comes_back_with_it(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service)
    await sync.compare()
    orchestrator.redeploy("churn")
    gone = dict(orchestrator.deployed_at)
    orchestrator.deployed_at.clear()
    for _ in range(3):
        await sync.compare()
    assert [*await shown(service)] == [trigger.id]
    orchestrator.deployed_at.update(gone)
    await sync.compare()
    assert held(orchestrator) == {trigger.id}


# What was left half done


async def test_a_creation_that_died_is_cleaned_up_on_both_sides(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    trigger = await create(service)
    await leave(database, trigger.id, TriggerPhase.CREATING, seconds=5)
    await sync.compare()
    assert held(orchestrator) == {trigger.id}  # somebody may be at it
    await leave(database, trigger.id, TriggerPhase.CREATING)
    await sync.compare()
    assert (held(orchestrator), await rows(database)) == (set(), {})


async def test_a_creation_that_prefect_answered_too_late_is_cleaned_up(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    orchestrator.break_put()
    with pytest.raises(OrchestratorUnavailable):
        await create(service)
    [row] = (await rows(database)).values()
    orchestrator.automations[row.id] = True  # what was asked for and not answered
    await leave(database, row.id, TriggerPhase.ABANDONED)
    await sync.compare()
    assert (held(orchestrator), await rows(database)) == (set(), {})


async def test_an_abandoned_creation_is_forgotten_in_the_end(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    orchestrator.break_put()
    with pytest.raises(OrchestratorUnavailable):
        await create(service)
    [row] = (await rows(database)).values()
    await leave(database, row.id, TriggerPhase.ABANDONED, seconds=601)
    await sync.compare()
    assert await rows(database) == {}


async def test_a_removal_that_died_is_ended(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    trigger = await create(service)
    await leave(database, trigger.id, TriggerPhase.REMOVING)
    await sync.compare()
    assert held(orchestrator) == set()
    assert (await rows(database))[trigger.id].phase is TriggerPhase.DELETED


async def test_a_change_that_died_is_made(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    trigger = await create(service)
    await leave(database, trigger.id, TriggerPhase.CHANGING)
    orchestrator.pause(trigger.id)
    orchestrator.automations[trigger.id] = False
    await sync.compare()
    assert [one.active for one in orchestrator.schedules.values()] == [True]
    assert (await service.get(trigger.id)).enabled
    assert (await rows(database))[trigger.id].phase is TriggerPhase.LIVE


# Several at once


class Interrupted(FakeTriggers):
    """Something happens right before or after Prefect tells what it holds."""

    before: Callable[[], Awaitable[object]] | None = None
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def triggers_seen(self) -> TriggersSeen:
        if self.before is not None:
            await self.before()
        seen = await super().triggers_seen()
        if self.meanwhile is not None:
            await self.meanwhile()
        return seen


async def test_what_happens_during_a_comparison_is_not_undone_by_it(database: Database) -> None:
    orchestrator = Interrupted()
    service, sync = TriggerService(database, orchestrator, CATALOG), TriggerSync(database, orchestrator)
    switched, deleted = await create(service), await create(service)
    theirs = orchestrator.add_schedule("churn", DAILY)
    await sync.compare()
    made: list[UUID] = []

    async def meanwhile() -> None:
        orchestrator.meanwhile = None
        await service.change(switched.id, TriggerChange(enabled=False), by="ci")
        await service.delete(deleted.id, by="ci")
        await service.delete(theirs.schedule_id, by="ci")
        made.append((await create(service)).id)

    for _ in range(2):
        orchestrator.meanwhile = meanwhile if not made else None
        await sync.compare()
        assert {*await shown(service)} == held(orchestrator) == {switched.id, *made}
        assert not (await service.get(switched.id)).enabled


async def test_a_trigger_made_during_a_comparison_is_no_stranger(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    orchestrator = Interrupted()
    service, sync = TriggerService(database, orchestrator, CATALOG), TriggerSync(database, orchestrator)
    lost = (await create(service)).id
    await leave(database, lost, TriggerPhase.ABANDONED, seconds=601)
    await TriggerLedger(database).forget(lost)
    orchestrator.before = lambda: create(service)
    for _ in range(2):
        await sync.compare()
    told = [record.__dict__["trigger_id"] for record in caplog.records if "does not know" in record.message]
    assert told == [str(lost)]


async def test_replicas_put_back_once(
    service: TriggerService, orchestrator: FakeTriggers, database: Database, database_url: str
) -> None:
    replica = Database(database_url, busy_seconds=5)
    syncs = [TriggerSync(database, orchestrator), TriggerSync(replica, orchestrator)]
    triggers = [await create(service) for _ in range(5)]
    orchestrator.add_schedule("churn", DAILY)
    await syncs[0].compare()
    orchestrator.redeploy("churn")
    made = orchestrator.add_schedule("churn", DAILY)
    orchestrator.calls.clear()
    await asyncio.gather(*(sync.compare() for sync in syncs))
    assert orchestrator.calls.count("put_trigger") == 5
    assert {*await shown(service)} == {made.schedule_id, *(trigger.id for trigger in triggers)}
    await replica.close()


class RefusesOne(FakeTriggers):
    """Will not take one trigger."""

    refused: UUID | None = None

    async def put_trigger(self, order: TriggerOrder) -> None:
        if order.trigger_id == self.refused:
            raise OrchestratorRefused("put the trigger", "not this one")
        await super().put_trigger(order)


async def test_a_trigger_that_prefect_refuses_holds_up_no_other(database: Database) -> None:
    orchestrator = RefusesOne()
    service, sync = TriggerService(database, orchestrator, CATALOG), TriggerSync(database, orchestrator)
    first, refused, last = [(await create(service, "scheduled")).id for _ in range(3)]
    await sync.compare()
    orchestrator.redeploy("churn")
    orchestrator.refused = refused
    for _ in range(3):
        await sync.compare()
    assert held(orchestrator) == {first, last}
    assert {*await shown(service)} == {first, refused, last}
    await leave(database, refused, TriggerPhase.CHANGING)
    orchestrator.refused = None
    await sync.compare()
    assert held(orchestrator) == {first, refused, last}


# Evaluations


async def test_evaluations_arrive_as_events_and_by_catching_up_once_each(
    sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    missed, live, gap = (an_evaluation(at=datetime.now(UTC)) for _ in range(3))
    await orchestrator.keep_evaluation(missed)
    async with sync.running():
        await until(following(orchestrator))
        await until(recorded(database, missed.id))
        await orchestrator.keep_evaluation(live)
        await until(recorded(database, missed.id, live.id))
        orchestrator.cut_events()
        await orchestrator.keep_evaluation(gap)
        await until(recorded(database, missed.id, live.id, gap.id))
    await sync.catch_up()
    assert len(await evaluation_rows(database)) == 3


async def test_what_the_monitor_found_while_prefect_was_away_is_found_when_it_is_back(
    sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        orchestrator.go_down()
        orchestrator.come_back()
        found = an_evaluation(at=datetime.now(UTC))
        await orchestrator.keep_evaluation(found)
        await until(recorded(database, found.id))


async def test_catching_up_reads_again_from_before_the_mark_only(
    database: Database, sync: TriggerSync
) -> None:
    clock = [datetime.now(UTC) - OVERLAP * 3]
    orchestrator = FakeTriggers(clock=lambda: clock[0])
    sync = TriggerSync(database, orchestrator)
    old, late, new = (an_evaluation() for _ in range(3))
    await orchestrator.keep_evaluation(old)
    await sync.catch_up()
    clock[0] = datetime.now(UTC) - OVERLAP / 2
    await orchestrator.keep_evaluation(late)  # by a clock that is behind
    clock[0] = datetime.now(UTC)
    await orchestrator.keep_evaluation(new)
    orchestrator.calls.clear()
    await sync.catch_up()
    assert {row.id for row in await evaluation_rows(database)} == {old.id, late.id, new.id}
    assert orchestrator.calls.count("kept_evaluations") == 3  # the request, and two evaluations


class Unwritable(Evaluation):
    """One that has no JSON."""

    def model_dump(self, **options: object) -> dict[str, object]:  # type: ignore[override]  # a test's
        raise ValueError("no JSON")


async def test_an_evaluation_that_cannot_be_written_holds_up_no_other(
    sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    good = an_evaluation()
    async with sync.running():
        await until(following(orchestrator))
        await orchestrator.keep_evaluation(Unwritable(**{**dict(an_evaluation()), "id": uuid4()}))
        await orchestrator.keep_evaluation(good)
        await until(recorded(database, good.id))


async def test_an_evaluation_of_the_facades_own_is_recorded_once(
    service: TriggerService, sync: TriggerSync, orchestrator: FakeTriggers, database: Database
) -> None:
    trigger = await create(service)
    async with sync.running():
        await until(following(orchestrator))
        evaluation = await fire(service, trigger.id)
        marker = an_evaluation()
        await orchestrator.keep_evaluation(marker)
        await until(recorded(database, evaluation.id, marker.id))
