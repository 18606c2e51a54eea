"""Starting a job once, and not at all if something is wrong."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from retraining.errors import (
    IdempotencyKeyReused,
    InvalidParameters,
    InvalidRequest,
    JobRunning,
    NotDeployed,
    OrchestratorUnavailable,
    StoreUnavailable,
    UnknownModel,
)
from retraining.jobs.job import JobFilter, JobSnapshot, TriggerType
from retraining.jobs.records import StartRequest
from retraining.jobs.service import JobService
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun, RunRequest
from retraining.settings import Settings
from retraining.store.database import Database
from tests.jobs.asking import locked, start
from tests.jobs.looking import told
from tests.jobs.models import SmallCatalog
from tests.orchestrator.fake import FakeOrchestrator

ALL = JobFilter()


async def reservations(database: Database) -> list[StartRequest]:
    async with database.session() as session:
        return list(await session.exec(select(StartRequest)))


# Start


async def test_a_started_job_is_a_run_and_a_row_with_the_same_id(
    service: JobService, orchestrator: FakeOrchestrator, database: Database
) -> None:
    job = await start(service, parameters={"iterations": 7}, as_of="1998-04-01")
    run = orchestrator.runs[job.id]
    assert run.labels == {"triggered_by": "ci", "trigger_type": "manual", "correlation_id": "c-1"}
    assert (run.parameters, run.as_of) == ({"iterations": 7}, datetime(1998, 4, 1, tzinfo=UTC))
    stored = await service.get(job.id)
    assert (stored.status, stored.triggered_by, stored.trigger_type) == ("pending", "ci", TriggerType.MANUAL)
    assert (stored.parameters, stored.as_of, stored.correlation_id) == ({"iterations": 7}, run.as_of, "c-1")
    assert (await service.list(ALL)).jobs == [stored]
    assert await told(database) == ["state:pending"]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"model_name": "chrun"}, UnknownModel, "known models: churn, profitability"),
        ({"parameters": {"iterations": 0}}, InvalidParameters, "iterations: .* greater than or equal to 1"),
        ({"parameters": {"iteration": 5}}, InvalidParameters, "iteration: Extra inputs"),
        ({"as_of": "9998-01-01"}, InvalidRequest, "as_of: 9998-01-01T00:00:00.00:00 lies in the future"),
    ],
)
async def test_a_bad_request_does_nothing(
    service: JobService,
    orchestrator: FakeOrchestrator,
    database: Database,
    fields: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        await start(service, "key", **fields)
    assert orchestrator.calls == []
    assert await reservations(database) == []


async def test_parameters_of_another_json_type_are_refused(service: JobService) -> None:
    """Text is no number: what a caller mistyped is not guessed."""
    with pytest.raises(InvalidParameters, match="iterations: Input should be a valid integer"):
        await start(service, parameters={"iterations": "7"})


async def test_as_of_may_be_now_on_a_clock_that_is_a_little_ahead(service: JobService) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert (await start(service, as_of=soon)).as_of == soon


async def test_a_locked_database_starts_nothing(
    sqlite: Database, locked_path: Path, orchestrator: FakeOrchestrator, settings: Settings
) -> None:
    service = JobService(sqlite, orchestrator, SmallCatalog(), settings)
    with locked(locked_path), pytest.raises(StoreUnavailable, match="locked"):
        await start(service)
    assert orchestrator.calls == []
    assert (await start(service)).status is RetrainingStatus.PENDING, "the next good request works"


class LocksOnCreate(FakeOrchestrator):
    """Somebody locks the database just after the run was made."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._other = sqlite3.connect(path, isolation_level=None)

    async def create_run(self, request: RunRequest) -> JobRun:
        run = await super().create_run(request)
        if self.calls.count("create_run") == 1:
            self._other.execute("BEGIN IMMEDIATE")
        return run

    def unlock(self) -> None:
        self._other.close()


async def test_a_run_that_cannot_be_recorded_is_answered_all_the_same(
    sqlite: Database, locked_path: Path, settings: Settings
) -> None:
    """And a repetition of the request finds it."""
    orchestrator = LocksOnCreate(locked_path)
    service = JobService(sqlite, orchestrator, SmallCatalog(), settings)
    job = await start(service, "key")
    assert (job.id, job.status, job.triggered_by) == (*orchestrator.runs, "pending", "ci")
    assert (await service.get(job.id)).id == job.id, "found in Prefect"
    assert (await service.list(ALL)).jobs == []
    orchestrator.unlock()
    assert (await start(service, "key")).id == job.id
    assert [one.id for one in (await service.list(ALL)).jobs] == [job.id]
    assert len(orchestrator.runs) == 1


async def test_prefect_down_starts_nothing_and_the_next_request_works(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.go_down()
    with pytest.raises(OrchestratorUnavailable):
        await start(service)
    orchestrator.come_back()
    job = await start(service)
    assert [one.id for one in (await service.list(ALL)).jobs] == [job.id]


async def test_a_model_without_a_deployment_says_so(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.deployed.clear()
    with pytest.raises(NotDeployed, match="retrain/churn"):
        await start(service)


# The same request again


async def test_the_same_key_returns_the_same_job(service: JobService, orchestrator: FakeOrchestrator) -> None:
    first = await start(service, "key", parameters={"iterations": 7})
    orchestrator.start(first.id)
    again = await start(service, "key", parameters={"iterations": 7})
    assert again.id == first.id
    assert len(orchestrator.runs) == 1


async def test_requests_without_a_key_are_different_jobs(service: JobService) -> None:
    assert (await start(service)).id != (await start(service)).id


async def test_the_same_key_at_the_same_time_makes_one_job(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    jobs = await asyncio.gather(*(start(service, "key") for _ in range(8)))
    assert len({job.id for job in jobs}) == len(orchestrator.runs) == 1
    assert len((await service.list(ALL)).jobs) == 1


@pytest.mark.parametrize(
    "other", [{"parameters": {"iterations": 8}}, {"model_name": "profitability"}, {"as_of": "1998-01-01"}]
)
async def test_the_same_key_with_another_request_is_refused(
    service: JobService, orchestrator: FakeOrchestrator, other: dict[str, Any]
) -> None:
    await start(service, "key")
    with pytest.raises(IdempotencyKeyReused, match="'key'"):
        await start(service, "key", **other)
    assert len(orchestrator.runs) == 1


async def test_the_same_key_of_another_caller_is_another_job(service: JobService) -> None:
    assert (await start(service, "key", by="ci")).id != (await start(service, "key", by="ops")).id


async def test_a_key_that_failed_can_be_tried_again(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.go_down()
    with pytest.raises(OrchestratorUnavailable):
        await start(service, "key")
    orchestrator.come_back()
    job = await start(service, "key")
    assert [*orchestrator.runs] == [job.id]


class LosesTheAnswer(FakeOrchestrator):
    """The run is made, and the answer never arrives."""

    async def create_run(self, request: RunRequest) -> JobRun:
        run = await super().create_run(request)
        if self.calls.count("create_run") == 1:
            raise OrchestratorUnavailable("create a run: no answer")
        return run


async def test_a_repetition_finds_the_run_whose_answer_was_lost(
    database: Database, settings: Settings
) -> None:
    orchestrator = LosesTheAnswer()
    service = JobService(database, orchestrator, SmallCatalog(), settings)
    with pytest.raises(OrchestratorUnavailable):
        await start(service, "key", if_running="reject")
    job = await start(service, "key", if_running="reject")
    assert [*orchestrator.runs] == [job.id], "not refused because of itself"


async def test_a_key_is_forgotten_after_a_day(service: JobService, database: Database) -> None:
    first = await start(service, "key")
    async with database.write() as session:
        for reservation in await session.exec(select(StartRequest)):
            reservation.reserved_at -= timedelta(hours=25)
    assert (await start(service, "key")).id != first.id
    assert len(await reservations(database)) == 1


# One job at a time


async def test_reject_refuses_while_a_job_of_the_model_is_unfinished(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    running = await start(service)
    with pytest.raises(JobRunning, match=str(running.id)) as refused:
        await start(service, if_running="reject")
    assert refused.value.job_id == str(running.id)
    await start(service, model_name="profitability", if_running="reject")
    assert len(orchestrator.runs) == 2


async def test_reject_sees_a_run_that_only_prefect_knows(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    run = orchestrator.schedule("churn")
    with pytest.raises(JobRunning, match=str(run.id)):
        await start(service, if_running="reject")


async def test_reject_is_not_stopped_by_finished_or_future_runs(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.schedule("churn", due=False)
    orchestrator.finish(orchestrator.schedule("churn").id)
    await start(service, if_running="reject")


async def test_of_many_rejecting_requests_at_once_one_wins(
    service: JobService, orchestrator: FakeOrchestrator
) -> None:
    outcomes = await asyncio.gather(
        *(start(service, if_running="reject") for _ in range(6)), return_exceptions=True
    )
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, JobSnapshot)]
    assert [*orchestrator.runs] == [winner.id]
    assert {str(outcome.job_id) for outcome in outcomes if isinstance(outcome, JobRunning)} == {
        str(winner.id)
    }
