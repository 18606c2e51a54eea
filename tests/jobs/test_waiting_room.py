"""Runs that triggers made: the facade shows one job for all of them, and tells the others."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from retraining.errors import JobNotFound
from retraining.jobs.feed import JobFeed
from retraining.jobs.job import RetrainingRequest, TriggerType
from retraining.jobs.service import JobService
from retraining.jobs.status import RetrainingStatus
from retraining.jobs.sync import JobSync
from retraining.orchestrator.values import JobRun
from retraining.settings import Settings
from retraining.store.database import Database
from retraining.triggers.cause import Cause
from tests.jobs.looking import Condition, following, jobs, log, statuses
from tests.jobs.waiting import until
from tests.orchestrator.fake import FakeOrchestrator

TRIGGERS = [UUID(int=number) for number in range(1, 6)]


@pytest.fixture
def sync(database: Database, orchestrator: FakeOrchestrator, settings: Settings, feed: JobFeed) -> JobSync:
    return JobSync(database, orchestrator, settings, feed)


def breach(orchestrator: FakeOrchestrator, number: int = 0) -> JobRun:
    """An automation starts a run for a breach."""
    cause = Cause(
        type=TriggerType.DRIFT,
        trigger_id=TRIGGERS[number % 5],
        at=datetime.now(UTC),
        evaluation_id=uuid4(),
    )
    return orchestrator.trigger("churn", cause)


def due(orchestrator: FakeOrchestrator, seconds_ago: float = 0, rule: str = "latest") -> JobRun:
    """A schedule's run comes due, or came due then."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    cause = Cause.model_validate(
        {"type": "scheduled", "trigger_id": TRIGGERS[0], "at": at, "missed_runs": rule}
    )
    return orchestrator.trigger("churn", cause, at)


def has_causes(database: Database, job_id: UUID, count: int) -> Condition:
    async def holds() -> bool:
        job = (await jobs(database)).get(job_id)
        return job is not None and len(job.causes) == count

    return holds


async def test_nothing_joins_a_job_that_is_over_whatever_its_process_still_shows(
    database: Database, orchestrator: FakeOrchestrator, service: JobService, sync: JobSync
) -> None:
    """Cancelled while its process was starting: in Prefect it runs for a moment, until that has found out."""
    async with sync.running():
        job = await service.start(
            RetrainingRequest(model_name="churn"), triggered_by="ana", correlation_id="c"
        )
        await service.cancel(job.id, by="ana")
        orchestrator.runs[job.id] = replace(
            orchestrator.runs[job.id],
            status=RetrainingStatus.RUNNING,
            started_at=datetime.now(UTC),
            completed_at=None,
        )
        run = breach(orchestrator)
        await until(has_causes(database, run.id, 1))


def all_gone(orchestrator: FakeOrchestrator, but: UUID) -> Condition:
    """Whether all runs joined this one."""

    async def holds() -> bool:
        return all(run.joined == but for run in orchestrator.runs.values() if run.id != but)

    return holds


async def test_twenty_breaches_at_once_are_one_job_with_twenty_causes(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        runs = [breach(orchestrator, number) for number in range(20)]
        await until(has_causes(database, runs[0].id, 20))
    assert [*await jobs(database)] == [runs[0].id]
    assert {event.job_id for event in await log(database)} == {runs[0].id}
    messages = {orchestrator.runs[run.id].message for run in runs[1:]}
    assert messages == {f"joined job {runs[0].id}"}


async def test_one_read_of_prefect_decides_about_many_and_none_is_made_for_runs_by_hand(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        orchestrator.schedule("profitability", created_by=None)
        await until(statuses(database, pending=1))
        assert "runs_of" not in orchestrator.calls
        for number in range(20):
            breach(orchestrator, number)
        await until(statuses(database, pending=2))
    assert orchestrator.calls.count("runs_of") == 1


async def test_a_breach_joins_the_job_that_runs(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        job = orchestrator.start(orchestrator.schedule("churn", created_by=None).id)
        await until(statuses(database, running=1))
        run = breach(orchestrator)
        await until(has_causes(database, job.id, 2))
    assert orchestrator.runs[run.id].joined == job.id


async def test_a_run_that_joined_is_not_found_and_cannot_be_cancelled(
    sync: JobSync, service: JobService, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        job = orchestrator.start(orchestrator.schedule("churn", created_by=None).id)
        await until(statuses(database, running=1))
        run = breach(orchestrator)
        with pytest.raises(JobNotFound):
            await service.get(run.id)
        await until(has_causes(database, job.id, 2))
    for ask in (service.get(run.id), service.cancel(run.id, by="ops")):
        with pytest.raises(JobNotFound):
            await ask
    assert orchestrator.runs[run.id].joined == job.id


async def test_a_breach_that_is_told_again_starts_nothing_though_its_job_is_over(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        first = breach(orchestrator)
        await until(statuses(database, pending=1))
        orchestrator.finish(orchestrator.start(first.id).id)
        await until(statuses(database, completed=1))
        assert first.cause is not None
        again = orchestrator.trigger("churn", first.cause)
        await until(all_gone(orchestrator, first.id))
    assert orchestrator.runs[again.id].message == (
        f"joined job {first.id}: its breach had started it already"
    )
    assert await has_causes(database, first.id, 1)()


async def test_what_happened_while_the_facade_was_away_is_decided_at_its_start(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    """Some runs joined by themselves, the job is over, and others wait still."""
    first = orchestrator.start(breach(orchestrator).id)
    waiting = [breach(orchestrator, number) for number in range(3)]
    for number in range(3):
        run = breach(orchestrator, number)
        assert await orchestrator.end_waiting(run.id, "Joined", f"joined job {first.id}")
    orchestrator.finish(first.id)
    async with sync.running():
        await until(has_causes(database, first.id, 7))
    assert [*await jobs(database)] == [first.id]
    assert {orchestrator.runs[run.id].joined for run in waiting} == {first.id}


async def test_a_facade_that_dies_and_comes_back_loses_no_cause(
    orchestrator: FakeOrchestrator, database: Database, settings: Settings
) -> None:
    runs = [breach(orchestrator)]
    for number in range(1, 20):
        async with JobSync(database, orchestrator, settings).running():
            runs.append(breach(orchestrator, number))
            await asyncio.sleep(
                number % 5 / 10
            )  # not to wait for anything: it dies at another moment each time
    async with JobSync(database, orchestrator, settings).running():
        await until(has_causes(database, runs[0].id, 20))
    assert [*await jobs(database)] == [runs[0].id]


async def test_two_facades_decide_alike(
    orchestrator: FakeOrchestrator, database: Database, database_url: str, settings: Settings
) -> None:
    other = Database(database_url, busy_seconds=10)
    async with (
        JobSync(database, orchestrator, settings).running(),
        JobSync(other, orchestrator, settings).running(),
    ):
        runs = [breach(orchestrator, number) for number in range(20)]
        await until(has_causes(database, runs[0].id, 20))
    await other.close()
    assert [*await jobs(database)] == [runs[0].id]


async def test_a_run_that_a_worker_took_first_is_left_to_its_own_process(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        first, second = breach(orchestrator), breach(orchestrator)
        orchestrator.take(second.id)
        await until(statuses(database, pending=1))
        orchestrator.start(second.id)
        await asyncio.sleep(0)
        orchestrator.finish(second.id, RetrainingStatus.CANCELLED, f"joined job {first.id}", joined=first.id)
        await until(has_causes(database, first.id, 2))
    assert [*await jobs(database)] == [first.id]


async def test_a_run_whose_leader_is_cancelled_before_it_joined_becomes_the_job(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        first, second = breach(orchestrator), breach(orchestrator)
        orchestrator.take(second.id)
        await until(statuses(database, pending=1))
        await orchestrator.cancel_run(first.id)
        await until(statuses(database, pending=1, cancelled=1))
    assert second.id in await jobs(database)


async def test_a_run_that_tells_its_progress_is_a_job_whatever_one_thinks_of_it(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        job = orchestrator.start(orchestrator.schedule("churn", created_by=None).id)
        run = orchestrator.start(breach(orchestrator).id)
        orchestrator.progress(run.id, "loading")
        await until(statuses(database, running=2))
    assert {*await jobs(database)} == {job.id, run.id}


async def test_after_an_outage_one_run_of_a_schedule_is_left_and_the_others_are_cancelled_jobs(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    runs = [due(orchestrator, seconds_ago) for seconds_ago in (50, 40, 30, 20, 10)]
    async with sync.running():
        await until(statuses(database, pending=1, cancelled=4))
    found = await jobs(database)
    assert found[runs[4].id].status is RetrainingStatus.PENDING
    assert {str(found[run.id].error_message)[:56] for run in runs[:4]} == {
        f"superseded by run {runs[4].id}, "[:56]
    }


async def test_a_job_that_waits_makes_way_for_the_next_run_of_its_schedule_and_hands_its_causes_on(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        early = due(orchestrator, 10)
        await until(statuses(database, pending=1))
        breach(orchestrator)
        await until(has_causes(database, early.id, 2))
        late = due(orchestrator)
        await until(statuses(database, pending=1, cancelled=1))
        await until(has_causes(database, late.id, 2))
    assert [cause["type"] for cause in (await jobs(database))[late.id].causes] == ["scheduled", "drift"]


async def test_a_schedule_that_wants_all_gets_all(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    for seconds_ago in (30, 20, 10):
        due(orchestrator, seconds_ago, "all")
    async with sync.running():
        await until(statuses(database, pending=3))


async def test_a_schedule_that_skips_gets_none(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    for seconds_ago in (300, 200, 100):
        due(orchestrator, seconds_ago, "skip")
    async with sync.running():
        await until(statuses(database, cancelled=3))
    told = sorted(str(job.error_message).split(" ")[0] for job in (await jobs(database)).values())
    assert told == ["missed:", "superseded", "superseded"]


async def test_a_run_that_is_deleted_while_it_waits_is_forgotten(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        orchestrator.forget(breach(orchestrator).id)
        kept = breach(orchestrator)
        await until(statuses(database, pending=1))
    assert [*await jobs(database)] == [kept.id]


async def test_prefect_may_be_away_while_it_is_to_be_decided(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        runs = [breach(orchestrator, number) for number in range(5)]
        orchestrator.go_down()
        await asyncio.sleep(0.5)  # for as long as a decision takes: it fails
        orchestrator.come_back()
        await until(has_causes(database, runs[0].id, 5))
    assert [*await jobs(database)] == [runs[0].id]
