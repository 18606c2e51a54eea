"""With which job each cause is: with the one it joined, or with a later one that took the place of that."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.jobs import repository
from retraining.jobs.following import cause_of
from retraining.jobs.job import RetrainingJob
from retraining.jobs.records import JobCause
from retraining.orchestrator.values import JobRun


async def keep_causes(
    session: AsyncSession, started: Sequence[JobRun], ended: Sequence[JobRun], now: datetime
) -> set[UUID]:
    """Write down what runs of triggers brought, inside the caller's transaction; repeating it adds nothing.

    `started`: runs that became jobs just now. `ended`: runs that joined a job, or that a later run
    superseded. Returns the unknown jobs that some of them joined: tell of those first, then of these again.
    """
    await session.flush()
    books = _Books(session, now)
    for run in _in_order(started):
        await books.start(run)
    unknown = set()
    for run in _in_order(ended):
        if run.superseded_by is not None:
            await books.supersede(run, run.superseded_by)
        elif run.joined is not None and not await books.join(run, run.joined):
            unknown.add(run.joined)
    return unknown


def _in_order(runs: Iterable[JobRun]) -> list[JobRun]:
    return sorted(runs, key=lambda run: (run.created_at, run.id))


class _Books:
    """`JobCause` says for each run where its cause went: itself, the job it joined, or its successor."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self._session = session
        self._now = now

    async def start(self, run: JobRun) -> None:
        """A run became a job."""
        await self._move(run, run.id)
        job = await repository.find_job(self._session, run.id)
        if job is not None:
            await self._inherit(run.id, job)

    async def join(self, run: JobRun, job_id: UUID) -> bool:
        """A run joined a job, which is with its successor if it was superseded; False if none is known."""
        known = await repository.find_cause(self._session, run.id)
        if known is not None and known.job_id != run.id:
            return True
        job = await self._keeper(job_id)
        if job is None:
            return False
        await self._move(run, job.id)
        self._append(job, [cause_of(run)])
        await self._hand_over(run.id, job)
        await self._inherit(run.id, job)
        return True

    async def supersede(self, run: JobRun, successor_id: UUID) -> None:
        """A later run took the place of a job, and takes what had joined it, as soon as it is known."""
        await self._move(run, successor_id)
        job = await self._keeper(successor_id)
        if job is not None:
            await self._hand_over(run.id, job)

    async def _keeper(self, run_id: UUID) -> RetrainingJob | None:
        """The last known job on the way from a run to where its cause went."""
        keeper, seen = None, set()
        while run_id not in seen:
            seen.add(run_id)
            keeper = await repository.find_job(self._session, run_id) or keeper
            went = await repository.find_cause(self._session, run_id)
            run_id = run_id if went is None else went.job_id
        return keeper

    async def _inherit(self, run_id: UUID, job: RetrainingJob) -> None:
        """Take over from the jobs that this run superseded before it was known."""
        for brought in await repository.causes_with(self._session, run_id):
            await self._hand_over(brought.run_id, job)

    async def _hand_over(self, old_id: UUID, job: RetrainingJob) -> None:
        """Move what had joined a job that a later run superseded; its own cause stays with it."""
        old = await repository.find_job(self._session, old_id)
        if old is None or old.id == job.id:
            return
        own = [cause for cause in old.causes if cause.get("run_id") == str(old_id)]
        self._append(job, [cause for cause in old.causes if cause not in own])
        old.causes = own
        for brought in await repository.causes_with(self._session, old_id):
            brought.job_id = job.id

    async def _move(self, run: JobRun, job_id: UUID) -> None:
        row = await repository.find_cause(self._session, run.id)
        if row is None:
            cause = run.cause
            row = JobCause(
                run_id=run.id,
                job_id=job_id,
                trigger_id=cause.trigger_id if cause else None,
                evaluation_id=cause.evaluation_id if cause else None,
            )
            self._session.add(row)
        elif row.job_id == run.id:
            row.job_id = job_id
        await self._session.flush()

    def _append(self, job: RetrainingJob, causes: Sequence[dict[str, Any]]) -> None:
        """Each once: a breach that was told twice is one cause."""
        for cause in causes:
            same = ("run_id", "evaluation_id")
            if not any(known.get(key) == cause[key] for known in job.causes for key in same if key in cause):
                job.causes = [*job.causes, cause]
                job.updated_at = self._now
