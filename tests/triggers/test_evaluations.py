"""The history of a trigger: pages, jobs, and each evaluation once however it comes."""

import asyncio
from datetime import timedelta
from random import Random
from uuid import UUID, uuid4

from retraining.jobs.records import JobCause
from retraining.store.database import Database
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.evaluation_log import EvaluationLog
from retraining.triggers.service import TriggerService
from tests.triggers.evaluating import START, an_evaluation
from tests.triggers.making import create, evaluation_rows


async def recorded(database: Database, count: int, trigger_id: UUID) -> list[Evaluation]:
    """Evaluations of a trigger, newest first; recorded in no order, a third of them at one moment."""
    found = [
        an_evaluation(
            trigger_id=trigger_id,
            id=UUID(int=Random(number).getrandbits(128)),
            at=START + timedelta(hours=0 if number % 3 else number),
        )
        for number in range(count)
    ]
    await EvaluationLog(database).record(Random(1).sample(found, count))
    return sorted(found, key=lambda one: (one.at, one.id), reverse=True)


async def test_pages_follow_each_other_newest_first(service: TriggerService, database: Database) -> None:
    trigger = await create(service)
    expected = await recorded(database, 20, trigger.id)
    await recorded(database, 3, (await create(service)).id)
    seen: list[Evaluation] = []
    cursor = None
    while True:
        page = await service.evaluations(trigger.id, limit=6, cursor=cursor)
        seen += page.evaluations
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == expected
    by_offset = await service.evaluations(trigger.id, limit=5, offset=15)
    assert (by_offset.evaluations, by_offset.next_cursor) == (expected[15:], None)


async def test_a_trigger_that_was_never_checked_has_an_empty_history(service: TriggerService) -> None:
    page = await service.evaluations((await create(service)).id)
    assert (page.evaluations, page.next_cursor) == ([], None)


async def test_an_evaluation_names_the_job_that_it_started_or_joined(
    service: TriggerService, database: Database
) -> None:
    trigger = await create(service)
    _, oldest = await recorded(database, 2, trigger.id)
    job_id = uuid4()
    async with database.write() as session:
        for run_id in (job_id, uuid4()):  # a repeated run joined the first one's job
            session.add(
                JobCause(run_id=run_id, job_id=job_id, trigger_id=trigger.id, evaluation_id=oldest.id)
            )
        session.add(JobCause(run_id=uuid4(), job_id=uuid4()))
    page = await service.evaluations(trigger.id)
    assert [one.job_id for one in page.evaluations] == [None, job_id]


async def test_an_evaluation_is_recorded_once_whoever_brings_it(
    database: Database, database_url: str
) -> None:
    """Two replicas, each from the event and from catching up."""
    replica = Database(database_url, busy_seconds=5)
    found = [an_evaluation(at=START + timedelta(minutes=number)) for number in range(30)]
    logs = [EvaluationLog(database), EvaluationLog(replica)] * 2
    new = await asyncio.gather(*(log.record([*found, *found]) for log in logs))
    assert sum(new) == 30
    assert [row.id for row in await evaluation_rows(database)] == [one.id for one in found]
    assert await logs[0].record(found) == 0
    await replica.close()


async def test_text_that_postgresql_refuses_is_recorded_without_it(
    service: TriggerService, database: Database
) -> None:
    trigger = await create(service)
    await EvaluationLog(database).record([an_evaluation(trigger_id=trigger.id, reason="a \x00 b")])
    assert [one.reason for one in (await service.evaluations(trigger.id)).evaluations] == ["a \ufffd b"]
