"""The jobs table follows Prefect: by its events, and by comparing after every gap."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from retraining.errors import OrchestratorRefused, OrchestratorUnavailable
from retraining.jobs import repository
from retraining.jobs.feed import JobFeed
from retraining.jobs.following import DELETED
from retraining.jobs.service import JobService
from retraining.jobs.status import RetrainingStatus
from retraining.jobs.sync import FINISHED_MARK, OVERLAP, JobSync
from retraining.orchestrator.values import JobRun, RunEvent
from retraining.settings import Settings
from retraining.store.database import Database
from tests.jobs.looking import following, jobs, log, shows, statuses
from tests.jobs.news import a_run, ended, started
from tests.jobs.waiting import until
from tests.orchestrator.fake import FakeOrchestrator


@pytest.fixture
def sync(database: Database, orchestrator: FakeOrchestrator, settings: Settings, feed: JobFeed) -> JobSync:
    return JobSync(database, orchestrator, settings, feed)


# Events


async def test_a_run_started_in_prefect_becomes_a_job_and_follows_to_its_end(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        run = orchestrator.schedule("churn", parameters={"iterations": 7})
        await until(statuses(database, pending=1))
        orchestrator.start(run.id)
        await until(statuses(database, running=1))
        orchestrator.progress(run.id, "training", 0.4)
        await until(shows(database, run.id, progress=0.4))
        orchestrator.label(run.id, challenger_version="4", promoted="false", decision="kept the champion")
        orchestrator.finish(run.id)
        await until(statuses(database, completed=1))
    job = (await jobs(database))[run.id]
    assert (job.trigger_type, job.parameters, job.stage) == ("scheduled", {"iterations": 7}, "training")
    assert (job.challenger_version, job.promoted, job.decision) == ("4", False, "kept the champion")
    assert [event.kind for event in await log(database)] == ["state", "state", "progress", "state"]


async def test_a_planned_run_is_no_job_until_it_is_due(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    planned = orchestrator.schedule("churn", due=False)
    cancelled = orchestrator.schedule("churn", due=False)
    orchestrator.finish(cancelled.id, RetrainingStatus.CANCELLED)
    async with sync.running():
        marker = orchestrator.schedule("churn")
        await until(statuses(database, pending=1))
        assert [*await jobs(database)] == [marker.id]
        orchestrator.start(planned.id)
        await until(statuses(database, pending=1, running=1))


async def test_progress_of_a_run_that_was_missed_brings_the_run(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        await until(following(orchestrator))
        run = started(a_run())
        orchestrator.runs[run.id] = run  # nobody is told
        orchestrator.progress(run.id, "training", 0.5)
        await until(shows(database, run.id, status="running", progress=0.5))


async def test_a_run_deleted_while_it_is_followed_ends_its_job(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        run = orchestrator.schedule("churn")
        await until(statuses(database, pending=1))
        orchestrator.forget(run.id)
        orchestrator._tell(RunEvent(uuid4(), run.id, datetime.now(UTC), "state"))
        await until(statuses(database, cancelled=1))


async def test_news_that_cannot_be_written_does_not_keep_others_from_being_written(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    orchestrator.add(a_run(parameters={"not": object()}))
    good = orchestrator.schedule("churn")
    async with sync.running():
        await until(statuses(database, pending=1))
        orchestrator.finish(good.id)
        await until(statuses(database, completed=1))


async def test_events_wait_while_the_database_is_locked(
    orchestrator: FakeOrchestrator, settings: Settings, migrated_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "retraining.db"
    shutil.copy(migrated_file, path)
    database = Database(f"sqlite+aiosqlite:///{path}", busy_seconds=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with JobSync(database, orchestrator, settings).running():
            await until(following(orchestrator))
            run = orchestrator.start(orchestrator.schedule("churn").id)
            orchestrator.progress(run.id, "training", 0.5)
            with pytest.raises(TimeoutError):
                await until(statuses(database, running=1), seconds=0.3)
            other.execute("ROLLBACK")
            await until(shows(database, run.id, status="running", progress=0.5))
    assert [event.kind for event in await log(database)] == ["state", "state", "progress"]
    await database.close()


class RefusesOne(FakeOrchestrator):
    """Will not talk about one run."""

    refused: UUID | None = None

    async def read_run(self, run_id: UUID) -> JobRun | None:
        if run_id == self.refused:
            raise OrchestratorRefused("read a run", "not this one")
        return await super().read_run(run_id)


async def test_a_run_that_prefect_refuses_to_show_holds_up_no_other(
    database: Database, settings: Settings
) -> None:
    orchestrator = RefusesOne()
    async with JobSync(database, orchestrator, settings).running():
        await until(following(orchestrator))
        run = started(a_run())
        orchestrator.runs[run.id] = run
        orchestrator.refused = run.id
        orchestrator.progress(run.id, "training")
        orchestrator.finish(orchestrator.schedule("churn").id)
        await until(statuses(database, running=1, completed=1))


# Gaps


async def test_what_happened_while_nobody_followed_is_found_at_the_start(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        kept, ending = (orchestrator.schedule("churn") for _ in range(2))
        deleted = orchestrator.schedule("profitability")
        await until(statuses(database, pending=3))
    orchestrator.start(kept.id)
    orchestrator.finish(ending.id, RetrainingStatus.FAILED, "no data")
    orchestrator.forget(deleted.id)
    came_and_went = orchestrator.finish(orchestrator.start(orchestrator.schedule("churn").id).id)
    async with sync.running():
        await until(statuses(database, running=1, failed=1, cancelled=1, completed=1))
    found = await jobs(database)
    assert found[ending.id].error_message == "no data"
    assert found[deleted.id].error_message == DELETED
    assert found[came_and_went.id].status is RetrainingStatus.COMPLETED


async def test_what_happened_while_prefect_was_away_is_found_when_it_is_back(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        run = orchestrator.schedule("churn")
        await until(statuses(database, pending=1))
        orchestrator.go_down()
        orchestrator.start(run.id)
        orchestrator.finish(run.id)
        orchestrator.schedule("profitability")
        orchestrator.come_back()
        await until(statuses(database, completed=1, pending=1))
        await until(following(orchestrator))


async def test_a_cut_stream_is_opened_again(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    async with sync.running():
        for number in range(1, 4):
            await until(following(orchestrator))
            orchestrator.schedule("churn")
            await until(statuses(database, pending=number))
            orchestrator.cut_events()


async def test_prefect_and_the_database_may_be_away_at_the_start(
    orchestrator: FakeOrchestrator, settings: Settings, migrated_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "retraining.db"
    database = Database(f"sqlite+aiosqlite:///{path}", busy_seconds=0.05)
    orchestrator.go_down()
    orchestrator.add(a_run())
    async with JobSync(database, orchestrator, settings).running():
        await until(lambda: asyncio.sleep(0, "events" in orchestrator.calls))
        shutil.copy(migrated_file, path)
        orchestrator.come_back()
        await until(statuses(database, pending=1))
    await database.close()


class Recording(FakeOrchestrator):
    """Remembers from when on finished runs were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_since: list[datetime | None] = []

    async def finished_runs(self, since: datetime | None) -> AsyncIterator[JobRun]:
        self.asked_since.append(since)
        async for run in super().finished_runs(since):
            yield run


async def test_finished_runs_are_read_from_where_the_last_time_ended(
    database: Database, settings: Settings
) -> None:
    orchestrator = Recording()
    ends = [datetime.now(UTC) - timedelta(hours=hours) for hours in (5, 3, 4)]
    for end in ends:
        orchestrator.add(replace(ended(started(a_run())), completed_at=end))
    await JobSync(database, orchestrator, settings).reconcile()
    await JobSync(database, orchestrator, settings).reconcile()
    assert orchestrator.asked_since == [None, ends[1] - OVERLAP]
    assert len(await jobs(database)) == 3


async def test_a_run_from_a_clock_that_is_ahead_does_not_hide_what_comes(
    database: Database, orchestrator: FakeOrchestrator, settings: Settings
) -> None:
    before = datetime.now(UTC)
    orchestrator.add(replace(ended(a_run()), completed_at=before + timedelta(days=1)))
    await JobSync(database, orchestrator, settings).reconcile()
    async with database.session() as session:
        mark = await repository.read_mark(session, FINISHED_MARK)
    assert mark is not None
    assert mark <= datetime.now(UTC)


async def test_an_interrupted_reconciliation_loses_nothing(database: Database, settings: Settings) -> None:
    class Interrupted(FakeOrchestrator):
        async def finished_runs(self, since: datetime | None) -> AsyncIterator[JobRun]:
            async for run in super().finished_runs(since):
                yield run
                if self.calls.count("finished_runs") == 3:
                    raise OrchestratorUnavailable("read flow runs")

    orchestrator = Interrupted()
    for _ in range(5):
        orchestrator.finish(orchestrator.schedule("churn").id)
    sync = JobSync(database, orchestrator, settings)
    with pytest.raises(OrchestratorUnavailable):
        await sync.reconcile()
    await sync.reconcile()
    assert await statuses(database, completed=5)()


async def test_reconciling_again_writes_nothing(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    orchestrator.start(orchestrator.schedule("churn").id)
    orchestrator.finish(orchestrator.schedule("churn").id)
    await sync.reconcile()
    first = ({job.id: job.model_dump() for job in (await jobs(database)).values()}, await log(database))
    await sync.reconcile()
    assert first == (
        {job.id: job.model_dump() for job in (await jobs(database)).values()},
        await log(database),
    )


# Cancels


async def test_a_cancel_that_takes_too_long_is_forced(
    sync: JobSync, service: JobService, orchestrator: FakeOrchestrator, database: Database
) -> None:
    run = orchestrator.start(orchestrator.schedule("churn").id)
    async with sync.running():
        await service.cancel(run.id, by="ops")
        await until(statuses(database, cancelled=1))
    job = (await jobs(database))[run.id]
    assert (job.error_message, job.cancelled_by) == ("it did not stop within 0.2 s", "ops")


async def test_a_cancel_asked_for_in_prefect_is_forced_too(
    sync: JobSync, orchestrator: FakeOrchestrator, database: Database
) -> None:
    run = orchestrator.start(orchestrator.schedule("churn").id)
    async with sync.running():
        await orchestrator.cancel_run(run.id)
        await until(statuses(database, cancelled=1))


async def test_a_cancel_within_its_grace_is_left_alone(
    service: JobService, orchestrator: FakeOrchestrator, database: Database
) -> None:
    run = orchestrator.start(orchestrator.schedule("churn").id)
    sync = JobSync(database, orchestrator, Settings(cancel_grace_seconds=3_600))
    await service.cancel(run.id, by="ops")
    await sync._force_cancels()
    assert "force_cancelled" not in orchestrator.calls


async def test_a_cancel_that_prefect_never_heard_of_is_told_and_gets_its_grace(
    sync: JobSync, database: Database, orchestrator: FakeOrchestrator, feed: JobFeed
) -> None:
    """Whoever asked died between writing it down and telling Prefect."""
    run = orchestrator.start(orchestrator.schedule("churn").id)
    await sync.reconcile()
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    async with database.write() as session:
        job = await repository.find_job(session, run.id)
        assert job is not None
        job.cancel_requested_at = long_ago
    await sync._force_cancels()
    assert orchestrator.runs[run.id].cancelling
    assert "force_cancelled" not in orchestrator.calls
    asked_at = (await jobs(database))[run.id].cancel_requested_at
    assert asked_at is not None
    assert asked_at > long_ago


async def test_a_job_that_ends_while_its_cancel_is_forced_keeps_its_end(
    sync: JobSync, service: JobService, database: Database, settings: Settings
) -> None:
    class EndsMeanwhile(FakeOrchestrator):
        async def force_cancelled(self, run_id: UUID, reason: str) -> JobRun:
            self.finish(run_id)
            return await super().force_cancelled(run_id, reason)

    orchestrator = EndsMeanwhile()
    run = orchestrator.start(orchestrator.schedule("churn").id)
    async with JobSync(database, orchestrator, settings).running():
        await orchestrator.cancel_run(run.id)
        await until(statuses(database, completed=1))


async def test_a_cancel_that_cannot_be_forced_holds_up_no_other(
    database: Database, settings: Settings
) -> None:
    orchestrator = RefusesOne()
    runs = [orchestrator.start(orchestrator.schedule("churn").id) for _ in range(2)]
    async with JobSync(database, orchestrator, settings).running():
        await until(statuses(database, running=2))
        orchestrator.refused = runs[0].id
        for run in runs:
            await orchestrator.cancel_run(run.id)
        await until(statuses(database, running=1, cancelled=1))


# Many


class CountingFeed(JobFeed):
    """Counts the transactions that wrote news."""

    written = 0

    def notify(self) -> None:
        self.written += 1
        super().notify()


async def test_news_that_arrive_while_others_are_written_are_written_together(
    orchestrator: FakeOrchestrator, database: Database, settings: Settings
) -> None:
    """600 state changes and 600 progress events cost few transactions, however quick or slow those are."""
    feed = CountingFeed(database)
    async with JobSync(database, orchestrator, settings, feed).running():
        await until(following(orchestrator))
        before = feed.written
        for _ in range(200):
            run = orchestrator.start(orchestrator.schedule("churn").id)
            for step in range(3):
                orchestrator.progress(run.id, "training", step / 3)
            orchestrator.finish(run.id)
            await asyncio.sleep(0)
        await until(statuses(database, completed=200))
        assert feed.written - before <= 60
    assert len(await log(database)) >= 600
