"""Each cause is with one job, in whatever order it is heard of what became of the runs."""

from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

from retraining.jobs.feed import JobFeed
from retraining.jobs.job import RetrainingJob
from retraining.jobs.ledger import JobLedger
from retraining.jobs.records import JobCause
from retraining.orchestrator.values import JobRun
from retraining.store.database import Database
from tests.jobs.looking import jobs, log
from tests.jobs.news import a_run, after, ended, started
from tests.jobs.triggered import DRIFTING, breach, due, joined, superseded


@pytest.fixture
def ledger(database: Database, feed: JobFeed) -> JobLedger:
    return JobLedger(database, feed)


def brought_by(job: RetrainingJob) -> list[str]:
    """The runs that brought the job's causes."""
    return [cause["run_id"] for cause in job.causes]


def ids(runs: Sequence[JobRun]) -> list[str]:
    return [str(run.id) for run in runs]


async def where(database: Database) -> dict[UUID, UUID]:
    """By run: the job that its cause is with."""
    async with database.session() as session:
        return {row.run_id: row.job_id for row in await session.exec(select(JobCause))}


async def test_a_job_by_hand_has_one_cause_who_asked_and_when(ledger: JobLedger, database: Database) -> None:
    run = a_run(labels={"triggered_by": "ci", "trigger_type": "manual"})
    await ledger.follow([run])
    job = (await jobs(database))[run.id]
    assert job.causes == [{"type": "manual", "at": "2026-05-04T08:00:00.120000Z", "by": "ci"}]
    assert await where(database) == {}


async def test_a_breach_that_starts_a_job_is_its_first_cause(ledger: JobLedger, database: Database) -> None:
    run = breach()
    assert run.cause is not None
    await ledger.follow([run], admitted={run.id})
    job = (await jobs(database))[run.id]
    assert (job.trigger_type, job.triggered_by) == ("drift", f"trigger:{DRIFTING}")
    assert job.causes == [
        {
            "type": "drift",
            "trigger_id": str(DRIFTING),
            "at": "2026-05-04T08:00:00.120000Z",
            "evaluation_id": str(run.cause.evaluation_id),
            "reason": "half of the columns drifted",
            "scores": {"age": 0.4},
            "run_id": str(run.id),
        }
    ]
    async with database.session() as session:
        row = (await session.exec(select(JobCause))).one()
    assert (row.trigger_id, row.evaluation_id) == (DRIFTING, run.cause.evaluation_id)


async def test_a_run_of_a_trigger_is_no_job_until_it_is_admitted(
    ledger: JobLedger, database: Database
) -> None:
    run = breach()
    assert (await ledger.follow([run])).undecided == [run]
    assert await jobs(database) == {}
    assert (await ledger.follow([run], admitted={run.id})).undecided == []
    assert [*await jobs(database)] == [run.id]
    assert (await ledger.follow([started(run)])).undecided == []


@pytest.mark.parametrize("make", [breach, due])
async def test_a_run_that_is_over_was_a_job_unless_it_joined_one(
    ledger: JobLedger, database: Database, make: Any
) -> None:
    """The facade was away for all of its life."""
    run = ended(started(make()))
    other = joined(breach(2), run, seconds=3)
    await ledger.follow([run, other])
    assert [*await jobs(database)] == [run.id]


async def test_causes_that_join_are_appended_in_their_order_once(
    ledger: JobLedger, database: Database
) -> None:
    job, others = breach(), [joined(breach(seconds), a_run()) for seconds in (3, 1, 2)]
    others = [joined(run, job) for run in others]
    await ledger.follow([job], admitted={job.id})
    for _ in range(2):
        await ledger.follow(others)
    found = await jobs(database)
    assert brought_by(found[job.id]) == ids([job, others[1], others[2], others[0]])
    assert [*found] == [job.id]
    assert {event.job_id for event in await log(database)} == {job.id}
    assert await where(database) == dict.fromkeys([job.id, *(run.id for run in others)], job.id)


async def test_a_breach_that_was_told_twice_is_one_cause(ledger: JobLedger, database: Database) -> None:
    job = breach()
    assert job.cause is not None
    again = joined(breach(5, evaluation_id=job.cause.evaluation_id), job)
    await ledger.follow([job], admitted={job.id})
    await ledger.follow([again])
    assert brought_by((await jobs(database))[job.id]) == [str(job.id)]


async def test_a_cause_reaches_a_job_that_is_over(ledger: JobLedger, database: Database) -> None:
    job, late = ended(started(a_run())), breach(3)
    await ledger.follow([job])
    await ledger.follow([joined(late, job, seconds=12)])
    found = (await jobs(database))[job.id]
    assert [cause["type"] for cause in found.causes] == ["manual", "drift"]
    assert found.completed_at == after(9)


async def test_a_job_that_is_not_known_yet_is_asked_for(ledger: JobLedger, database: Database) -> None:
    job = breach()
    other = joined(breach(1), job)
    assert (await ledger.follow([other])).jobs == {job.id}
    assert await where(database) == {}
    await ledger.follow([job, other], admitted={job.id})
    assert brought_by((await jobs(database))[job.id]) == ids([job, other])


async def test_what_joined_a_superseded_job_moves_to_its_successor(
    ledger: JobLedger, database: Database
) -> None:
    early, late = due(0), due(10)
    other = joined(breach(5), early, seconds=6)
    await ledger.follow([early], admitted={early.id})
    await ledger.follow([other])
    await ledger.follow([superseded(early, late, seconds=11)])
    assert brought_by((await jobs(database))[early.id]) == ids([early, other]), "nobody to take it yet"
    await ledger.follow([late], admitted={late.id})
    found = await jobs(database)
    assert brought_by(found[early.id]) == [str(early.id)]
    assert brought_by(found[late.id]) == ids([late, other])
    assert (found[early.id].status, found[late.id].status) == ("cancelled", "pending")


async def test_what_joined_a_superseded_job_moves_on_with_a_successor_that_joins(
    ledger: JobLedger, database: Database
) -> None:
    job = started(a_run(created_at=after(8)))
    early, late = due(0), due(10)
    other = joined(breach(5), early, seconds=6)
    await ledger.follow([early, job], admitted={early.id})
    await ledger.follow([other])
    await ledger.follow([superseded(early, late, seconds=11)])
    await ledger.follow([joined(late, job, seconds=12)])
    found = await jobs(database)
    assert brought_by(found[early.id]) == [str(early.id)]
    assert [cause.get("run_id") for cause in found[job.id].causes] == [None, *ids([late, other])]


async def test_any_order_of_news_ends_with_the_same_causes(ledger: JobLedger, database: Database) -> None:
    """One life of four schedule's runs, three breaches and a job by hand, heard of in eight orders."""
    for seed in range(8):
        random = Random(seed)
        runs = [due(seconds, UUID(int=1_000 + seed)) for seconds in (0, 10, 20, 30)]
        by_hand = ended(started(a_run(created_at=after(25)), seconds=31), seconds=40)
        gone = [superseded(one, runs[3], seconds=30) for one in runs[:3]]
        brought = [
            joined(breach(2), runs[0], seconds=3),
            joined(breach(12), runs[1], seconds=13),
            joined(breach(13), gone[0], seconds=31),
            joined(breach(33), by_hand, seconds=34),
        ]
        life = [*gone, joined(runs[3], by_hand, seconds=30), by_hand, *brought]
        news = random.sample(life, len(life))
        for _ in range(2):
            batch = random.randint(1, 3)
            for start in range(0, len(news), batch):
                left = await ledger.follow(news[start : start + batch])
                missed = [run for run in life if run.id in left.jobs]
                await ledger.follow([*missed, *news[start : start + batch]])
        found = await jobs(database)
        for one in gone:
            assert brought_by(found[one.id]) == [str(one.id)]
        told = {cause["run_id"] for cause in found[by_hand.id].causes if "run_id" in cause}
        assert told == {*ids(brought), str(runs[3].id)}, seed
        assert len(found[by_hand.id].causes) == 6
