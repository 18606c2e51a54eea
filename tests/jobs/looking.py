"""What the tests look at in the store, and what they wait for."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlmodel import select

from retraining.jobs import repository
from retraining.jobs.job import RetrainingJob
from retraining.jobs.records import JobEvent
from retraining.store.database import Database
from tests.orchestrator.fake import FakeOrchestrator

Condition = Callable[[], Awaitable[bool]]


async def jobs(database: Database) -> dict[UUID, RetrainingJob]:
    """Every job, by id."""
    async with database.session() as session:
        return {job.id: job for job in await session.exec(select(RetrainingJob))}


async def log(database: Database) -> list[JobEvent]:
    """Every event, in order."""
    async with database.session() as session:
        return list(await repository.events_after(session, 0, None, 1_000_000))


async def told(database: Database) -> list[str]:
    """Every event's kind and status."""
    return [f"{event.kind}:{event.status}" for event in await log(database)]


def statuses(database: Database, **expected: int) -> Condition:
    """Whether the jobs are these, in any order: `pending=2, running=1`."""

    async def holds() -> bool:
        found = [str(job.status) for job in (await jobs(database)).values()]
        return {status: found.count(status) for status in found} == expected

    return holds


def shows(database: Database, job_id: UUID, **facts: Any) -> Condition:
    """Whether the job is there and has these facts."""

    async def holds() -> bool:
        job = (await jobs(database)).get(job_id)
        return job is not None and job.model_dump(include=set(facts)) == facts

    return holds


def following(orchestrator: FakeOrchestrator) -> Condition:
    """Whether somebody follows the orchestrator's events."""

    async def holds() -> bool:
        return orchestrator.followers > 0

    return holds
