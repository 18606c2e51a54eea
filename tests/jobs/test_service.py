"""Finding and cancelling jobs."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from retraining.errors import (
    JobAlreadyFinished,
    JobNotFound,
    OrchestratorUnavailable,
    StoreUnavailable,
)
from retraining.jobs.job import JobFilter
from retraining.jobs.service import JobService
from retraining.jobs.status import RetrainingStatus
from retraining.settings import Settings
from retraining.store.database import Database
from tests.jobs.asking import locked, start
from tests.jobs.looking import told
from tests.jobs.models import SmallCatalog
from tests.orchestrator.fake import FakeOrchestrator

ALL = JobFilter()


# Find


async def test_an_unknown_job_is_not_found(service: JobService) -> None:
    with pytest.raises(JobNotFound):
        await service.get(uuid4())
    with pytest.raises(JobNotFound):
        await service.cancel(uuid4(), by="ci")
    with pytest.raises(JobNotFound):
        await service.logs(uuid4())


async def test_a_run_that_only_prefect_knows_is_found(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    run = orchestrator.start(orchestrator.schedule("churn").id)
    job = await service.get(run.id)
    assert (job.id, job.status, job.trigger_type) == (run.id, "running", "scheduled")


async def test_a_run_planned_for_the_future_is_no_job_yet(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    run = orchestrator.schedule("churn", due=False)
    with pytest.raises(JobNotFound):
        await service.get(run.id)
    with pytest.raises(JobNotFound):
        await service.cancel(run.id, by="ci")


async def test_pages_follow_each_other(service: JobService) -> None:
    ids = [(await start(service)).id for _ in range(5)]
    seen: list[UUID] = []
    cursor = None
    while True:
        page = await service.list(ALL, limit=2, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids[::-1]
    by_offset = await service.list(ALL, limit=2, offset=3)
    assert [job.id for job in by_offset.jobs] == ids[1::-1]
    assert by_offset.next_cursor is None


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ({"limit": 0}, "limit: 0 is not between 1 and 500"),
        ({"limit": 501}, "limit: 501"),
        ({"offset": -1}, "offset: -1"),
        ({"offset": 10**30}, "offset: 1"),
        ({"cursor": "tampered"}, "cursor: .* start again without it"),
        ({"cursor": "x", "offset": 1}, "either a cursor or an offset"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    service: JobService, page: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        await service.list(ALL, **page)


async def test_logs_are_those_of_the_run(service: JobService, orchestrator: FakeOrchestrator) -> None:
    job = await start(service)
    for number in range(4):
        orchestrator.log(job.id, f"line {number}")
    lines = await service.logs(job.id, limit=2, offset=1)
    assert [line.message for line in lines] == ["line 1", "line 2"]


# Cancel


async def test_a_waiting_job_is_cancelled_at_once(
    service: JobService, orchestrator: FakeOrchestrator, database: Database
) -> None:
    job = await service.cancel((await start(service)).id, by="ops")
    assert (job.status, job.cancelled_by) == (RetrainingStatus.CANCELLED, "ops")
    assert job.error_message == "cancelled by ops"
    assert job.cancel_requested_at is not None
    assert await told(database) == ["state:pending", "state:cancelled"]


async def test_a_running_job_is_asked_to_stop(
    service: JobService, orchestrator: FakeOrchestrator, database: Database
) -> None:
    started = await start(service)
    orchestrator.start(started.id)
    job = await service.cancel(started.id, by="ops")
    assert (job.status, job.cancelled_by) == (RetrainingStatus.RUNNING, "ops")
    assert job.cancel_requested_at is not None
    assert orchestrator.runs[job.id].cancelling
    assert await told(database) == ["state:pending", "state:running", "cancelling:running"]


async def test_a_second_cancel_is_harmless(service: JobService, orchestrator: FakeOrchestrator) -> None:
    started = await start(service)
    orchestrator.start(started.id)
    first = await service.cancel(started.id, by="ops")
    second = await service.cancel(started.id, by="somebody else")
    assert (second.cancelled_by, second.cancel_requested_at) == ("ops", first.cancel_requested_at)
    orchestrator.finish(started.id, RetrainingStatus.CANCELLED)
    assert (await service.cancel(started.id, by="ops")).status is RetrainingStatus.CANCELLED
    assert (await service.cancel(started.id, by="ops")).status is RetrainingStatus.CANCELLED


@pytest.mark.parametrize("status", [RetrainingStatus.COMPLETED, RetrainingStatus.FAILED])
async def test_a_finished_job_cannot_be_cancelled(
    service: JobService, orchestrator: FakeOrchestrator, status: RetrainingStatus
) -> None:
    """Whether the store has heard of its end or not."""
    started = await start(service)
    orchestrator.finish(started.id, status, "over")
    for _ in range(2):
        with pytest.raises(JobAlreadyFinished, match=f"already {status}"):
            await service.cancel(started.id, by="ops")
    assert (await service.get(started.id)).status is status


async def test_a_run_that_only_prefect_knows_can_be_cancelled(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    run = orchestrator.schedule("churn")
    assert (await service.cancel(run.id, by="ops")).status is RetrainingStatus.CANCELLED
    assert [job.id for job in (await service.list(ALL)).jobs] == [run.id]


async def test_a_job_whose_run_was_deleted_is_cancelled(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    started = await start(service)
    orchestrator.forget(started.id)
    job = await service.cancel(started.id, by="ops")
    assert (job.status, job.error_message) == ("cancelled", "its flow run was deleted in Prefect")


async def test_a_cancel_that_prefect_does_not_hear_leaves_no_trace(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    started = await start(service)
    orchestrator.go_down()
    with pytest.raises(OrchestratorUnavailable):
        await service.cancel(started.id, by="ops")
    job = await service.get(started.id)
    assert (job.cancel_requested_at, job.cancelled_by) == (None, None)


async def test_a_locked_database_cancels_nothing(
    sqlite: Database, locked_path: Path, orchestrator: FakeOrchestrator, settings: Settings
) -> None:
    service = JobService(sqlite, orchestrator, SmallCatalog(), settings)
    started = await start(service)
    with locked(locked_path), pytest.raises(StoreUnavailable, match="locked"):
        await service.cancel(started.id, by="ops")
    assert "cancel_run" not in orchestrator.calls
    assert (await service.cancel(started.id, by="ops")).status is RetrainingStatus.CANCELLED
