"""Breaches whose automation did nothing are announced again, until their job is there."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from retraining.errors import OrchestratorUnavailable
from retraining.jobs.records import JobCause
from retraining.store.database import Database
from retraining.triggers.evaluation import Action
from retraining.triggers.lost_breaches import GIVEN_UP, INTERVAL, PATIENCE, LostBreaches
from retraining.triggers.service import TriggerService
from retraining.triggers.trigger import TriggerChange
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.making import create, fire

SECOND = timedelta(seconds=1)


@pytest.fixture
def lost(database: Database, orchestrator: FakeTriggers) -> LostBreaches:
    return LostBreaches(database, orchestrator)


async def caused(database: Database, evaluation_id: UUID) -> None:
    """A job came of it."""
    async with database.write() as session:
        session.add(JobCause(run_id=uuid4(), job_id=uuid4(), evaluation_id=evaluation_id))


async def test_a_breach_without_job_is_announced_again_once_a_minute(
    service: TriggerService, orchestrator: FakeTriggers, lost: LostBreaches, database: Database
) -> None:
    breach = await fire(service, (await create(service)).id)
    due = breach.at + PATIENCE + SECOND
    counts = []
    for now in (due - 2 * SECOND, due, due + 5 * SECOND, due + INTERVAL, breach.at + GIVEN_UP + SECOND):
        await lost.announce(now)
        counts.append(len(orchestrator.breaches))
    assert counts == [1, 2, 2, 3, 3]
    assert {one.id for one in orchestrator.breaches} == {breach.id}


async def test_two_replicas_announce_one_event(
    service: TriggerService, orchestrator: FakeTriggers, lost: LostBreaches, database: Database
) -> None:
    breach = await fire(service, (await create(service)).id)
    for replica in (lost, LostBreaches(database, orchestrator)):
        await replica.announce(breach.at + PATIENCE + SECOND)
    assert len(orchestrator.breaches) == 2


async def test_a_breach_with_a_job_or_that_did_not_fire_is_left_alone(
    service: TriggerService, orchestrator: FakeTriggers, lost: LostBreaches, database: Database
) -> None:
    trigger = await create(service, condition={"cooldown": "1d"})
    breach, held = [await fire(service, trigger.id) for _ in range(2)]
    await caused(database, breach.id)
    await lost.announce(datetime.now(UTC) + PATIENCE + SECOND)
    assert held.action is Action.HELD_BY_COOLDOWN
    assert orchestrator.breaches == [breach]


async def test_the_breach_of_a_trigger_that_was_switched_off_or_deleted_is_left_alone(
    service: TriggerService, orchestrator: FakeTriggers, lost: LostBreaches
) -> None:
    off, gone = await create(service), await create(service)
    for trigger in (off, gone):
        await fire(service, trigger.id)
    await service.change(off.id, TriggerChange(enabled=False), by="ci")
    await service.delete(gone.id, by="ci")
    await lost.announce(datetime.now(UTC) + PATIENCE + SECOND)
    assert len(orchestrator.breaches) == 2


async def test_while_prefect_is_away_nothing_is_lost(
    service: TriggerService, orchestrator: FakeTriggers, lost: LostBreaches
) -> None:
    breach = await fire(service, (await create(service)).id)
    due = breach.at + PATIENCE + SECOND
    orchestrator.go_down()
    with pytest.raises(OrchestratorUnavailable):
        await lost.announce(due)
    orchestrator.come_back()
    await lost.announce(due)
    assert orchestrator.breaches == [breach, breach]
