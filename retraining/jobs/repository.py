"""The jobs' SQL. Every function works inside the caller's transaction."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, literal
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.jobs.job import RetrainingJob, StatusWord
from retraining.jobs.records import EventKind, EventWord, JobCause, JobEvent, StartRequest, SyncMark
from retraining.jobs.status import FINAL, RetrainingStatus

# Part of the statements, no parameters: only then the indexes that hold nothing else can be used.
UNFINISHED = bindparam(
    "unfinished",
    sorted(set(RetrainingStatus) - FINAL),
    StatusWord(),
    expanding=True,
    literal_execute=True,
)
PROGRESS = literal(EventKind.PROGRESS, EventWord(), literal_execute=True)


async def find_job(session: AsyncSession, job_id: UUID) -> RetrainingJob | None:
    """The job of this id."""
    return await session.get(RetrainingJob, job_id)


async def find_jobs(session: AsyncSession, job_ids: Collection[UUID]) -> dict[UUID, RetrainingJob]:
    """The jobs among these ids, by id."""
    found = await session.exec(select(RetrainingJob).where(col(RetrainingJob.id).in_(job_ids)))
    return {job.id: job for job in found}


async def finished_among(session: AsyncSession, job_ids: Collection[UUID]) -> set[UUID]:
    """Which of these jobs are over."""
    finished = select(RetrainingJob.id).where(
        col(RetrainingJob.id).in_(job_ids), col(RetrainingJob.status).in_(FINAL)
    )
    return set(await session.exec(finished))


async def find_cause(session: AsyncSession, run_id: UUID) -> JobCause | None:
    """With which job the run's cause is."""
    return await session.get(JobCause, run_id)


async def causes_among(session: AsyncSession, run_ids: Collection[UUID]) -> set[UUID]:
    """Which of these runs brought a cause that is with a job."""
    return set(await session.exec(select(JobCause.run_id).where(col(JobCause.run_id).in_(run_ids))))


async def causes_with(session: AsyncSession, job_id: UUID) -> Sequence[JobCause]:
    """The causes that other runs than its own brought to a job, or to a run that is to become one."""
    query = select(JobCause).where(col(JobCause.job_id) == job_id, col(JobCause.run_id) != job_id)
    return (await session.exec(query)).all()


async def unfinished_ids(session: AsyncSession) -> set[UUID]:
    """Every job that waits or runs."""
    return set(await session.exec(select(RetrainingJob.id).where(col(RetrainingJob.status).in_(UNFINISHED))))


async def unfinished_job_of(session: AsyncSession, model_name: str) -> UUID | None:
    """A job of the model that waits or runs."""
    query = select(RetrainingJob.id).where(
        col(RetrainingJob.model_name) == model_name, col(RetrainingJob.status).in_(UNFINISHED)
    )
    return (await session.exec(query.limit(1))).first()


async def overdue_cancels(session: AsyncSession, asked_before: datetime) -> Sequence[UUID]:
    """Jobs that were asked to stop before this moment and have not."""
    query = select(RetrainingJob.id).where(
        col(RetrainingJob.status).in_(UNFINISHED), col(RetrainingJob.cancel_requested_at) <= asked_before
    )
    return (await session.exec(query)).all()


async def log(session: AsyncSession, events: Sequence[JobEvent]) -> int:
    """Append the events that are not in the log yet; returns how many were new."""
    if not events:
        return 0
    sources = [event.source for event in events]
    known = set(await session.exec(select(JobEvent.source).where(col(JobEvent.source).in_(sources))))
    new = {event.source: event for event in events if event.source not in known}
    session.add_all(new.values())
    return len(new)


async def last_event_id(session: AsyncSession) -> int:
    """The id of the newest event, 0 without any."""
    return (await session.exec(select(func.max(JobEvent.id)))).one() or 0


async def events_after(
    session: AsyncSession, after: int, job_id: UUID | None, limit: int
) -> Sequence[JobEvent]:
    """Events in order, of one job or all."""
    query = select(JobEvent).where(col(JobEvent.id) > after).order_by(col(JobEvent.id)).limit(limit)
    if job_id is not None:
        query = query.where(col(JobEvent.job_id) == job_id)
    return (await session.exec(query)).all()


async def ended_until(session: AsyncSession, job_id: UUID, event_id: int) -> bool:
    """Whether the job's last event is at or before this one."""
    query = select(JobEvent.id).where(
        col(JobEvent.job_id) == job_id,
        col(JobEvent.id) <= event_id,
        col(JobEvent.kind) == EventKind.STATE,
        col(JobEvent.status).in_(FINAL),
    )
    return (await session.exec(query.limit(1))).first() is not None


async def forget_progress(session: AsyncSession, before: datetime) -> None:
    """Delete progress events from before this moment; what a job went through stays."""
    old = delete(JobEvent).where(col(JobEvent.at) < before, col(JobEvent.kind) == PROGRESS)
    await session.exec(old)


async def find_request(session: AsyncSession, caller: str, key: str) -> StartRequest | None:
    """The reservation of this caller's key."""
    return await session.get(StartRequest, (caller, key))


async def request_under_way(session: AsyncSession, model_name: str, now: datetime) -> bool:
    """Whether somebody is just now asking Prefect for a job of the model."""
    query = select(StartRequest.key).where(
        col(StartRequest.model_name) == model_name,
        col(StartRequest.job_id).is_(None),
        col(StartRequest.open_until) > now,
    )
    return (await session.exec(query.limit(1))).first() is not None


async def forget_requests(session: AsyncSession, before: datetime) -> None:
    """Delete the reservations made before this moment."""
    await session.exec(delete(StartRequest).where(col(StartRequest.reserved_at) < before))


async def read_mark(session: AsyncSession, name: str) -> datetime | None:
    """How far the sync has read."""
    mark = await session.get(SyncMark, name)
    return mark.at if mark else None


async def move_mark(session: AsyncSession, name: str, at: datetime) -> None:
    """Move the mark, forwards only."""
    mark = await session.get(SyncMark, name)
    if mark is None:
        session.add(SyncMark(name=name, at=at))
    elif at > mark.at:
        mark.at = at
